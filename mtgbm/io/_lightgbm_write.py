"""Write: a forest as the trees of a LightGBM text model, one copy of each tree for each output.

Leaf values are written so that LightGBM adds up the same numbers in the same order as we do: the
base score is in the leaves of the first round, and every number has the digits that bring back its
bits. What LightGBM calls otherwise:

    x <= threshold, NaN as the node says     decision_type 8, and 2 more if NaN goes left
    x in a set of categories                 decision_type 9; missing and unknown go right, so where
                                             ours go left, sides are swapped and the set is the rest
"""

import json
import re

import numpy as np

from mtgbm.engine._common import NODE_DTYPE
from mtgbm.engine.packed_trees import BITSET_WORDS
from mtgbm.engine.tree import Tree

#: Bits of an exported category are numbered by the category itself, in each split.
MOST_CATEGORY = 100_000
#: Characters that divide LightGBM's lines and lists, or that its JSON cannot take in a name.
NOT_IN_NAMES = re.compile(r'[\s",:\[\]{}=\\\x00-\x1f\x7f\ud800-\udfff]')
LARGEST = np.finfo(np.float64).max
NUMERIC, NAN_LEFT, CATEGORY = 8, 2, 9


def text_model(estimator, extra=""):
    """The text model of a fitted estimator.

    Parameters
    ----------
    estimator : MultiTaskLGBMClassifier
        Whose forest holds together.
    extra : str
        Lines after the parameters, which LightGBM does not read.
    """
    categories = _exported_categories(estimator)
    trees = list(_tree_texts(estimator.forest_, categories))
    names = feature_names(estimator)
    objective = _objective(estimator._objective.tasks)
    header = [
        "tree",
        "version=v4",
        f"num_class={estimator.forest_.n_outputs}",
        f"num_tree_per_iteration={estimator.forest_.n_outputs}",
        "label_index=0",
        f"max_feature_idx={len(names) - 1}",
        *([f"objective={objective}"] if objective else []),
        f"feature_names={' '.join(names)}",
        f"feature_infos={' '.join(_feature_infos(len(names), categories))}",
        f"tree_sizes={' '.join(str(len(tree)) for tree in trees)}",
        "\n",
    ]
    used = estimator.forest_.importances("split").sum(axis=0).astype(int)
    frame_categories = [known for _, known in sorted(estimator._reader.categories_.items())]
    trailer = [
        "end of trees\n",
        "feature_importances:",
        *(f"{names[j]}={used[j]}" for j in np.argsort(-used, kind="stable") if used[j]),
        "\nparameters:",
        "[boosting: gbdt]",
        f"[num_class: {estimator.forest_.n_outputs}]",
        "end of parameters\n",
        f"{extra}pandas_categorical:{json.dumps(frame_categories or None)}\n",
    ]
    return "\n".join(header) + "".join(trees) + "\n".join(trailer)


def feature_names(estimator):
    """Names that LightGBM takes: without blanks and JSON's signs, not empty, all different."""
    given = getattr(estimator, "feature_names_in_", None)
    if given is None:
        given = [f"Column_{number}" for number in range(estimator.n_features_in_)]
    names, taken = [], set()
    for number, name in enumerate(given):
        clean = NOT_IN_NAMES.sub("_", str(name)) or f"Column_{number}"
        while clean in taken:
            clean += f"_{number}"
        taken.add(clean)
        names.append(clean)
    return names


def _objective(tasks):
    """LightGBM's objective with the links of these tasks, None if it has none."""
    if len(tasks) == 1:
        multiclass = tasks[0].kind == "multiclass"
        return f"multiclass num_class:{tasks[0].n_outputs}" if multiclass else "binary sigmoid:1"
    if any(task.kind == "multiclass" for task in tasks):
        return None
    return f"multiclassova num_class:{len(tasks)} sigmoid:1"


def _exported_categories(estimator):
    """The categories of each bin as LightGBM must know them: dict of int64 arrays by feature."""
    exported = {}
    for feature, known in estimator._mapper.categories_.items():
        foreign = (known != np.floor(known)) | (known < 0) | (known > MOST_CATEGORY)
        if foreign.any():
            raise ValueError(
                f"LightGBM's categories are whole numbers; expected 0 to {MOST_CATEGORY} in "
                f"categorical feature {feature}, got {known[foreign][0]}. Number the categories "
                "from 0, or give them as a DataFrame's categorical column, and fit again."
            )
        exported[feature] = known.astype(np.int64)
    return exported


def _feature_infos(n_features, categories):
    """What values a feature may have; a model does not know the range of its numbers."""
    for feature in range(n_features):
        if feature in categories:
            yield ":".join(map(str, np.sort(categories[feature]))) or "none"
        else:
            yield "[-inf:inf]"


def _tree_texts(forest, categories):
    """The trees round by round, those of a round by output; ASCII, so lengths are bytes."""
    rounds = forest.trees or [_constant_tree(forest.n_outputs)]
    number = 0
    for tree in rounds:
        structure = _structure(tree, categories)
        base = forest.base_score if number == 0 else np.zeros(forest.n_outputs)
        for output in range(forest.n_outputs):
            # Adding 0 would turn -0.0 into 0.0, which adds up to the same scores.
            own = _output(tree, output, tree.values[:, output] + base[output])
            fields = structure | own | {"is_linear": "0", "shrinkage": "1"}
            lines = "".join(f"{name}={text}\n" for name, text in fields.items())
            yield f"Tree={number}\n{lines}\n\n"
            number += 1


def _constant_tree(n_outputs):
    """A tree of one leaf that adds nothing: LightGBM has no base score, and no empty model."""
    nodes = np.zeros(1, dtype=NODE_DTYPE)
    nodes["feature"] = nodes["bitset"] = -1
    nothing = np.zeros((1, n_outputs))
    return Tree(
        nodes=nodes,
        bitsets=np.zeros((0, BITSET_WORDS), dtype=np.uint32),
        values=nothing,
        gradients=nothing,
        hessians=nothing,
        counts=np.zeros(1, dtype=np.int64),
        gains=nothing,
    )


def _structure(tree, categories):
    """The fields that a round's trees share."""
    inner = np.flatnonzero(tree.nodes["leaf"] < 0)
    splits = tree.nodes[inner]
    by_category = splits["bitset"] >= 0
    swapped = by_category & (splits["missing_left"] != 0)
    number = np.cumsum(tree.nodes["leaf"] < 0) - 1
    reference = np.where(tree.nodes["leaf"] < 0, number, ~tree.nodes["leaf"])
    left, right = reference[splits["left"]], reference[splits["right"]]
    decision = np.where(by_category, CATEGORY, NUMERIC + NAN_LEFT * (splits["missing_left"] != 0))
    sets = [
        _words(_left_categories(split, tree.bitsets, categories), flip)
        for split, flip in zip(splits[by_category], swapped[by_category], strict=True)
    ]
    return {
        "num_leaves": str(tree.n_leaves),
        "num_cat": str(len(sets)),
        "split_feature": join_numbers(splits["feature"]),
        "threshold": _thresholds(splits["threshold"], by_category),
        "decision_type": join_numbers(decision),
        "left_child": join_numbers(np.where(swapped, right, left)),
        "right_child": join_numbers(np.where(swapped, left, right)),
        "leaf_count": join_numbers(tree.counts[leaf_nodes(tree)]),
        "internal_count": join_numbers(tree.counts[inner]),
        **(_set_fields(sets) if sets else {}),
    }


def _thresholds(thresholds, by_category):
    """A category split has the position of its set there."""
    texts = list(map(repr, np.minimum(thresholds, LARGEST).tolist()))
    for position, node in enumerate(np.flatnonzero(by_category)):
        texts[node] = str(position)
    return " ".join(texts)


def _left_categories(split, bitsets, categories):
    """The feature's categories, and which of them go left."""
    known = categories[int(split["feature"])]
    bins = np.arange(len(known))
    words = bitsets[split["bitset"]]
    return known, (words[bins >> 5] >> (bins & 31).astype(np.uint32)) & 1 != 0


def _words(known_and_left, flip):
    """A set of categories, or the rest of them, as 32-bit words."""
    known, is_left = known_and_left
    members = known[is_left != flip]
    words = np.zeros(members.max(initial=0) // 32 + 1, dtype=np.uint32)
    np.bitwise_or.at(words, members >> 5, np.uint32(1) << (members & 31).astype(np.uint32))
    return words


def _set_fields(sets):
    ends = np.cumsum([0, *map(len, sets)])
    return {
        "cat_boundaries": join_numbers(ends),
        "cat_threshold": join_numbers(np.concatenate(sets)),
    }


def _output(tree, output, values):
    """The fields of one output's copy of a tree."""
    inner = tree.nodes["leaf"] < 0
    hessians = tree.hessians[:, output]
    return {
        "split_gain": join_numbers(tree.gains[inner, output]),
        "leaf_value": join_numbers(values),
        "leaf_weight": join_numbers(hessians[leaf_nodes(tree)]),
        "internal_value": join_numbers(_node_means(tree, values)[inner]),
        "internal_weight": join_numbers(hessians[inner]),
    }


def leaf_nodes(tree):
    """Where each leaf stands among the nodes."""
    leaves = np.flatnonzero(tree.nodes["leaf"] >= 0)
    return leaves[np.argsort(tree.nodes["leaf"][leaves])]


def _node_means(tree, values):
    """The mean value of the training rows of each node, which is what SHAP expects there."""
    means = np.zeros(len(tree.nodes))
    means[leaf_nodes(tree)] = values
    for node in np.flatnonzero(tree.nodes["leaf"] < 0)[::-1]:
        sides = [tree.nodes["left"][node], tree.nodes["right"][node]]
        counts = tree.counts[sides]
        means[node] = means[sides] @ counts / max(1, counts.sum())
    return means


def join_numbers(numbers):
    """Numbers with the digits that bring back their bits."""
    return " ".join(map(repr, np.asarray(numbers).tolist()))
