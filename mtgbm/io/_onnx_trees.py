"""A forest as one `TreeEnsemble` node, a copy of each tree for each output.

The node adds up doubles with double thresholds, which the older `TreeEnsembleRegressor` does not:
its scores are floats. In return each of its leaves has one value, so outputs cannot share a tree.

    x <= threshold, NaN as the node says     BRANCH_LEQ, and whether NaN takes the true branch
    x in a set of categories                 BRANCH_MEMBER, which missing and unknown ones fail;
                                             where ours take them left, sides are swapped and the
                                             set is the rest

Categories arrive as bin numbers, missing and unknown ones as the number behind them: onnxruntime
cuts fractions off before it looks a number up in a small set, so there must be none, and no NaN.
"""

from dataclasses import dataclass

import numpy as np

from mtgbm.io._onnx_graph import tensor

LEQ, MEMBER = 0, 6
SUM = 1


@dataclass
class Splits:
    """The inner nodes of one tree, in the terms of ONNX.

    Attributes
    ----------
    true_id, false_id : ndarray of int64 of shape (n_splits,)
        Number of the child among inner nodes, or among leaves.
    true_is_leaf, false_is_leaf : ndarray of bool of shape (n_splits,)
    members : list of ndarray of float64
        The bins of each BRANCH_MEMBER, in the order of the nodes.
    """

    feature: np.ndarray
    mode: np.ndarray
    threshold: np.ndarray
    missing_true: np.ndarray
    true_id: np.ndarray
    true_is_leaf: np.ndarray
    false_id: np.ndarray
    false_is_leaf: np.ndarray
    members: list


def add_scores(graph, forest, n_categories, matrix, output=None):
    """Append the nodes that compute the scores, (n_rows, n_outputs) in float64.

    Parameters
    ----------
    graph : Graph
    forest : Forest
    n_categories : dict of int
        Bins of each categorical feature.
    matrix : str
        The features: bin numbers of categories, and NaN where other numbers are missing.
    output : str, optional
        The name that the scores get.

    Returns
    -------
    str
        Their name.
    """
    trees = [tree for tree in forest.trees if tree.n_leaves > 1]
    stumps = [tree.values[0] for tree in forest.trees if tree.n_leaves == 1]
    base = np.sum([forest.base_score, *stumps], axis=0)
    parts = [
        (splits, tree.values[:, column], column)
        for tree, splits in ((tree, _splits(tree, n_categories)) for tree in trees)
        for column in range(forest.n_outputs)
        if tree.values[:, column].any()  # else the task stopped before this round
    ] or [_constant()]
    attributes = _tree_attributes(parts)
    sums = graph.add(
        "TreeEnsemble", matrix, domain="ai.onnx.ml", n_targets=forest.n_outputs, **attributes
    )
    return graph.add("Add", sums, graph.constant(base[None]), output=output)


def _splits(tree, n_categories):
    """The splits of a tree of two or more leaves."""
    is_leaf = tree.nodes["leaf"] >= 0
    nodes = tree.nodes[~is_leaf]
    number = np.where(is_leaf, tree.nodes["leaf"], np.cumsum(~is_leaf) - 1)
    by_category = nodes["bitset"] >= 0
    missing_left = nodes["missing_left"] != 0
    swapped = by_category & missing_left
    members = {
        position: _members(nodes[position], tree.bitsets, n_categories, swapped[position])
        for position in np.flatnonzero(by_category)
    }
    # A set of nothing is a comparison that no finite number passes: readers need a member.
    empty = [position for position, own in members.items() if not len(own)]
    threshold = np.where(by_category, 0.0, nodes["threshold"])
    threshold[empty] = -np.inf
    mode = np.where(by_category, MEMBER, LEQ)
    mode[empty] = LEQ
    yes = np.where(swapped, nodes["right"], nodes["left"])
    no = np.where(swapped, nodes["left"], nodes["right"])
    return Splits(
        feature=nodes["feature"].astype(np.int64),
        mode=mode.astype(np.uint8),
        threshold=threshold,
        missing_true=missing_left & ~by_category,
        true_id=number[yes],
        true_is_leaf=is_leaf[yes],
        false_id=number[no],
        false_is_leaf=is_leaf[no],
        members=[own for own in members.values() if len(own)],
    )


def _members(node, bitsets, n_categories, swapped):
    """The bins that take the true branch."""
    bins = np.arange(n_categories[int(node["feature"])])
    words = bitsets[node["bitset"]]
    is_left = (words[bins >> 5] >> (bins & 31).astype(np.uint32)) & 1 != 0
    return bins[is_left != swapped].astype(np.float64)


def _constant():
    """A tree that adds nothing, for forests without splits: the operator needs a node."""
    zero, one = np.zeros(1, dtype=np.int64), np.ones(1, dtype=bool)
    splits = Splits(zero, zero.astype(np.uint8), np.zeros(1), ~one, zero, one, zero, one, [])
    return splits, np.zeros(1), 0


def _tree_attributes(parts):
    """Attributes of the node.

    Parameters
    ----------
    parts : list of (Splits, leaf values, output)
        A tree each.
    """
    trees = [splits for splits, _, _ in parts]
    n_splits = np.array([len(splits.feature) for splits in trees])
    n_leaves = np.array([len(values) for _, values, _ in parts])
    first_split = np.cumsum(n_splits) - n_splits
    first_leaf = np.cumsum(n_leaves) - n_leaves

    def join(name):
        return np.concatenate([getattr(splits, name) for splits in trees])

    def children(side):
        is_leaf = join(f"{side}_is_leaf")
        first = np.where(is_leaf, np.repeat(first_leaf, n_splits), np.repeat(first_split, n_splits))
        return {
            f"nodes_{side}nodeids": (join(f"{side}_id") + first).tolist(),
            f"nodes_{side}leafs": is_leaf.astype(np.int64).tolist(),
        }

    members = [own for splits in trees for own in splits.members]
    sets = [np.append(own, np.nan) for own in members]  # NaN ends a set
    return {
        "aggregate_function": SUM,
        "tree_roots": first_split.tolist(),
        "nodes_featureids": join("feature").tolist(),
        "nodes_modes": tensor(join("mode")),
        "nodes_splits": tensor(join("threshold")),
        "nodes_missing_value_tracks_true": join("missing_true").astype(np.int64).tolist(),
        **children("true"),
        **children("false"),
        "leaf_targetids": np.repeat([output for _, _, output in parts], n_leaves).tolist(),
        "leaf_weights": tensor(np.concatenate([values for _, values, _ in parts])),
        **({"membership_values": tensor(np.concatenate(sets))} if sets else {}),
    }
