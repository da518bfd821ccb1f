"""Build: parsed rounds become a Forest and the bins on which it can grow.

LightGBM numbers inner nodes and leaves apart; here they share one array, the root first, level by
level:

    LightGBM      0            ours        0
                 / \\                      / \\
               ~0   1                    1   2
                   / \\                      / \\
                 ~1   ~2                   3   4

A category split there sends what is missing or unknown to the right. Thresholds say `<=` in both.
"""

import numpy as np

from mtgbm.engine._common import NODE_DTYPE
from mtgbm.engine.packed_trees import BITSET_WORDS
from mtgbm.engine.tree import Forest, Tree
from mtgbm.io._lightgbm_parse import (
    DEFAULT_LEFT,
    MISSING_NONE,
    MISSING_SHIFT,
    MISSING_ZERO,
)
from mtgbm.io._lightgbm_scan import LightGBMFormatError

#: Bins beside the missing one.
MOST_BINS = 255
#: Bytes of the table of all thresholds, which is as wide as its longest row.
MOST_TABLE_BYTES = 2**31


def build_forest(rounds, mapper, base_score):
    """The forest of a text model, its base scores still in the leaves of the first round.

    Parameters
    ----------
    rounds : list of list of TextTree
    mapper : BinMapper
        With the thresholds and categories of all splits among its own.
    base_score : ndarray of float64 of shape (n_outputs,)

    Returns
    -------
    Forest
        Its gradients, which LightGBM does not write, are 0.
    """
    trees = [_build_tree(outputs, mapper) for outputs in rounds]
    forest = Forest(base_score, len(mapper.is_categorical), trees)
    forest.check()
    return forest


def node_order(tree):
    """LightGBM's numbers of the nodes, leaves as ``~leaf``, in our order.

    Parameters
    ----------
    tree : TextTree

    Returns
    -------
    order, depths, first_child : ndarray of int64 of shape (n_nodes,)
        Where the left child stands, 0 for leaves; the right one is next to it.
    """
    if tree.n_leaves == 1:
        return np.array([-1]), np.zeros(1, int), np.zeros(1, int)
    left, right = tree.left, tree.right
    children = np.sort(np.concatenate([left, right]))
    expected = np.setdiff1d(np.arange(-tree.n_leaves, tree.n_inner), [0])
    if not np.array_equal(children, expected):
        raise tree.section["left_child"].error(
            "with 'right_child', expected every node but the root as a child exactly once."
        )
    order, depths, first_child = [0], [0], []
    # Each node is the child of one, so those that the root leads to are met once, and it ends.
    for position, node in enumerate(order):
        first_child.append(len(order) if node >= 0 else 0)
        if node >= 0:
            order += [left[node], right[node]]
            depths += [depths[position] + 1] * 2
    if len(order) != tree.n_leaves + tree.n_inner:
        raise tree.section["left_child"].error(
            "with 'right_child', some nodes are children of each other in a circle."
        )
    return np.array(order), np.array(depths), np.array(first_child)


def _build_tree(outputs, mapper):
    """One Tree of the trees of a round."""
    first = outputs[0]
    order, depths, first_child = node_order(first)
    is_inner = order >= 0
    nodes = np.zeros(len(order), dtype=NODE_DTYPE)
    nodes["leaf"] = np.where(is_inner, -1, ~order)
    nodes["bitset"] = nodes["feature"] = -1
    nodes["depth"] = depths
    nodes["left"][is_inner] = first_child[is_inner]
    nodes["right"][is_inner] = first_child[is_inner] + 1
    bitsets = np.zeros((0, BITSET_WORDS), dtype=np.uint32)
    if first.n_inner:
        bitsets = _fill_splits(nodes, is_inner, first, order[is_inner], mapper)
    # Sums come as inner nodes, then leaves, which is where ~leaf counts from the end.
    place = np.where(is_inner, order, first.n_inner + ~order)
    gains = np.zeros((len(nodes), len(outputs)))
    if first.n_inner:
        gains[is_inner] = np.column_stack([tree.gains for tree in outputs])[order[is_inner]]
    return Tree(
        nodes=nodes,
        bitsets=bitsets,
        values=np.column_stack([tree.values for tree in outputs]),
        gradients=np.zeros_like(gains),
        hessians=np.column_stack([tree.weights() for tree in outputs])[place],
        counts=first.counts()[place],
        gains=gains,
    )


def _fill_splits(nodes, is_inner, tree, order, mapper):
    """Features, thresholds, bins and missing sides of the inner nodes; returns their bitsets."""
    feature = tree.feature[order]
    categorical = tree.is_categorical[order]
    if not np.array_equal(categorical, mapper.is_categorical[feature] != 0):
        raise tree.section["decision_type"].error(
            "a feature is split by threshold here and by category elsewhere; expected one kind."
        )
    threshold = tree.threshold[order]
    inner = nodes[is_inner]
    inner["feature"] = feature
    inner["missing_bin"] = mapper.n_bins_[feature]
    inner["missing_left"] = _missing_left(tree)[order]
    inner["threshold"] = np.where(categorical, 0.0, threshold)
    inner["bitset"][categorical] = np.arange(categorical.sum())
    numeric = np.flatnonzero(~categorical)
    inner["bin_threshold"][numeric] = [
        _find_bin(tree, mapper, feature[node], threshold[node]) for node in numeric
    ]
    nodes[is_inner] = inner
    bitsets = np.zeros((int(categorical.sum()), BITSET_WORDS), dtype=np.uint32)
    for bitset, node in zip(bitsets, np.flatnonzero(categorical), strict=True):
        bins = _find_categories(
            tree, mapper.categories_[int(feature[node])], tree.categories[int(threshold[node])]
        )
        np.bitwise_or.at(bitset, bins >> 5, np.uint32(1) << (bins & 31).astype(np.uint32))
    return bitsets


def _missing_left(tree):
    """Where NaN goes: LightGBM may say so, or take it for 0."""
    kind = tree.decision >> MISSING_SHIFT
    default_left = (tree.decision & DEFAULT_LEFT) != 0
    zero_left = tree.threshold >= 0
    numeric = ~tree.is_categorical
    if (numeric & (kind == MISSING_ZERO) & (zero_left != default_left)).any():
        raise tree.section["decision_type"].error(
            "a split sends zeros elsewhere than its threshold does (zero_as_missing), which mtgbm "
            "cannot; train with zero_as_missing=false and NaN for what is missing."
        )
    return numeric & np.where(kind == MISSING_NONE, zero_left, default_left)


def _find_bin(tree, mapper, feature, threshold):
    """The last bin on the left of a threshold."""
    last = mapper.n_bins_[feature] - 1
    if threshold == np.inf:
        return last
    bin = int(np.searchsorted(mapper.thresholds_[feature, :last], threshold))
    if bin == last or mapper.thresholds_[feature, bin] != threshold:
        raise tree.section["threshold"].error(
            f"the threshold {threshold!r} is none of the bins of feature {feature}."
        )
    return bin


def _find_categories(tree, known, wanted):
    """The bins of categories."""
    order = np.argsort(known)
    at = np.minimum(np.searchsorted(known, wanted, sorter=order), max(len(known) - 1, 0))
    if len(wanted) and (not len(known) or not np.array_equal(known[order[at]], wanted)):
        raise tree.section["cat_threshold"].error("a category is none of the bins of its feature.")
    return order[at] if len(wanted) else np.empty(0, dtype=np.intp)


def threshold_table(thresholds):
    """Rows of different lengths as one table, filled up with infinity."""
    width = max(1, *map(len, thresholds))
    if 8 * len(thresholds) * width > MOST_TABLE_BYTES:
        raise LightGBMFormatError(
            f"{len(thresholds)} features with up to {width} thresholds need a table of more than "
            f"{MOST_TABLE_BYTES} bytes; expected a smaller model."
        )
    table = np.full((len(thresholds), width), np.inf)
    for row, own in zip(table, thresholds, strict=True):
        row[: len(own)] = own
    return table


def bins_of_splits(rounds, n_features, categorical=()):
    """Bins between the thresholds, and of the categories, that occur in the splits of a model.

    Parameters
    ----------
    rounds : list of list of TextTree
    n_features : int
    categorical : list of int
        Features that have categories, split or not.

    Returns
    -------
    dict of ndarray
        As `mtgbm.io.model_arrays` lays out the bins.
    """
    thresholds, categories = _values_of_splits(rounds)
    categories = {feature: set() for feature in categorical} | categories
    is_categorical = np.isin(np.arange(n_features), list(categories)).astype(np.uint8)
    for noun, values in [("thresholds", thresholds), ("categories", categories)]:
        most = MOST_BINS - (noun == "thresholds")
        for feature, own in values.items():
            if len(own) > most:
                raise LightGBMFormatError(
                    f"feature {feature} is split by {len(own)} {noun}; mtgbm has bins for {most}. "
                    f"Train with max_bin={MOST_BINS}, and with rare categories as one."
                )
    rows = [np.sort([*thresholds.get(j, ())]) for j in range(n_features)]
    return {
        "bins/n_bins": np.array(
            [
                len(categories[j]) if j in categories else len(rows[j]) + 1
                for j in range(n_features)
            ],
            dtype=np.int32,
        ),
        "bins/is_categorical": is_categorical,
        "bins/has_missing": np.zeros(n_features, dtype=np.uint8),
        "bins/thresholds": threshold_table(rows),
        "bins/categories": np.array(
            [float(own) for j in sorted(categories) for own in sorted(categories[j])]
        ),
    }


def _values_of_splits(rounds):
    """Sets of the thresholds and of the categories of each feature that is split."""
    thresholds, categories = {}, {}
    for tree in (outputs[0] for outputs in rounds if outputs[0].n_inner):
        for feature, threshold, by_category in zip(
            tree.feature.tolist(), tree.threshold.tolist(), tree.is_categorical, strict=True
        ):
            if by_category:
                own = tree.categories[int(threshold)].tolist()
                categories.setdefault(feature, set()).update(own)
            elif threshold < np.inf:
                thresholds.setdefault(feature, set()).add(threshold)
    return thresholds, categories
