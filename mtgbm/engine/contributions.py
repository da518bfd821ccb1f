"""Shapley values of the scores of a forest: what each feature of a row adds to each output.

`_contributions.pyx` says what they are and how they are found. They are those of LightGBM's
``pred_contrib`` and of shap's ``tree_path_dependent``: features that are not known are stood in for
by the training rows of the nodes.
"""

from dataclasses import dataclass

import numpy as np

from mtgbm.engine._common import NODE_DTYPE
from mtgbm.engine._isa import load_kernel
from mtgbm.engine.threads import threads_for
from mtgbm.engine.tree import _whole_strides
from mtgbm.engine.vectors import aligned_zeros

_contributions = load_kernel("mtgbm.engine._contributions")

#: Nanoseconds or so that a row takes in a leaf.
STEPS_PER_LEAF = 5
#: Rows of a block: with more, what is done once for each leaf is shared by more of them, until the
#: sums, of which each row has one for each used feature and output, no longer fit the cache.
LEAST_BLOCK, MOST_BLOCK, CACHED_SUMS = 32, 256, 32_768


@dataclass
class ContributionTables:
    """What the kernel needs to know about a forest besides its packed trees.

    Attributes
    ----------
    shares : ndarray of float64 of shape (n_nodes,)
        Training rows of each node, as a share of its parent's; 1 in roots.
    expected : ndarray of float64 of shape (n_outputs,)
        The score of a row of which nothing is known.
    features : ndarray of int32 of shape (n_columns,)
        The features that occur in splits.
    column_of : ndarray of int32 of shape (n_features,)
        Position of each in `features`; 0 for those that do not occur.
    longest_path : int
        Most splits above a leaf.
    rules : ndarray of float64 of shape (most_points + 1, 2, most_points)
        For each number of points: Gauss' points on (0, 1), then their weights.
    """

    shares: np.ndarray
    expected: np.ndarray
    features: np.ndarray
    column_of: np.ndarray
    longest_path: int
    rules: np.ndarray

    @classmethod
    def of(cls, forest, packed):
        """Tables of a forest and its packed trees.

        Raises
        ------
        ValueError
            If the nodes do not say how many training rows they hold.
        """
        nodes = packed.nodes if len(packed.roots) else np.empty(0, dtype=NODE_DTYPE)
        levels = _levels(nodes, packed.roots)
        counts = np.concatenate([np.empty(0), *(tree.counts for tree in forest.trees)])
        _check_counts(counts, nodes)
        shares = np.ones(len(nodes))
        for parents, *sides in levels:
            for children in sides:
                shares[children] = counts[children] / counts[parents]
        features = np.unique(nodes["feature"][nodes["leaf"] < 0]).astype(np.int32)
        column_of = np.zeros(forest.n_features, dtype=np.int32)
        column_of[features] = np.arange(len(features))
        return cls(
            shares=shares,
            expected=forest.base_score + _expected(packed, nodes, levels, shares),
            features=features,
            column_of=column_of,
            longest_path=len(levels),
            rules=gauss_rules((min(len(levels), len(features)) + 1) // 2),
        )


def contributions(forest, X, n_threads, out=None):
    """Shapley values of the scores of raw rows.

    Parameters
    ----------
    forest : Forest
    X : ndarray of shape (n_rows, n_features)
        float32 or float64; categorical features hold bin numbers.
    n_threads : int
        The result does not depend on it.
    out : ndarray of float64 of shape (n_rows, n_outputs, n_features + 1), optional
        Where to write, in C order.

    Returns
    -------
    ndarray of float64 of shape (n_rows, n_outputs, n_features + 1)
        The last column is the expected score; the sum over the last axis is the score.

    Raises
    ------
    ValueError
        If the nodes do not say how many training rows they hold.
    """
    packed, tables = _prepared(forest)
    if out is None:
        out = np.zeros((X.shape[0], forest.n_outputs, forest.n_features + 1))
    else:
        out[:] = 0.0
    out[:, :, -1] = tables.expected
    if not len(tables.features) or not len(X):
        return out
    threads = threads_for(STEPS_PER_LEAF * len(X) * len(packed.values), n_threads)
    rows = _block_rows(len(X), len(tables.features) * forest.n_outputs, threads)
    size = _contributions.scratch_size(
        rows, len(tables.features), forest.n_outputs, tables.longest_path, tables.rules.shape[2]
    )
    _contributions.write_contributions(
        _whole_strides(X),
        packed.nodes,
        tables.shares,
        packed.roots,
        packed.first_leaf,
        packed.bitsets,
        packed.values,
        tables.features,
        tables.column_of,
        tables.rules,
        tables.longest_path,
        rows,
        aligned_zeros((threads, size), np.float64),
        out,
        threads,
    )
    return out


def expected_scores(forest):
    """The scores of a row of which nothing is known: float64 (n_outputs,)."""
    return _prepared(forest)[1].expected.copy()


def _block_rows(n_rows, n_sums, n_threads):
    """As many rows as leave the sums in the second cache, and something for every thread."""
    fitting = min(max(CACHED_SUMS // n_sums, LEAST_BLOCK), MOST_BLOCK)
    vectors = -(-min(fitting, -(-n_rows // n_threads)) // _contributions.VECTOR_ROWS)
    return vectors * _contributions.VECTOR_ROWS


def gauss_rules(most_points):
    """Gauss-Legendre rules on (0, 1): (most_points + 1, 2, most_points), points then weights."""
    rules = np.zeros((most_points + 1, 2, most_points))
    for number in range(1, most_points + 1):
        points, weights = np.polynomial.legendre.leggauss(number)
        rules[number, :, :number] = (1 + points) / 2, weights / 2
    return rules


def _prepared(forest):
    """The packed trees and, kept beside them, the tables.

    The forest forgets its packed trees when it changes or is pickled, and the tables with them.
    """
    packed = forest._packed(0, len(forest.trees))
    kept = vars(packed)
    if "contribution_tables" not in kept:
        kept["contribution_tables"] = ContributionTables.of(forest, packed)
    return packed, kept["contribution_tables"]


def _levels(nodes, roots):
    """The splits of all trees, level by level: positions in `nodes` of splits, left, right."""
    root = np.repeat(roots, np.diff(roots, append=len(nodes)))
    left, right = nodes["left"] + root, nodes["right"] + root
    levels = []
    level = roots
    while len(level := level[nodes["leaf"][level] < 0]):
        levels.append((level, left[level], right[level]))
        level = np.concatenate(levels[-1][1:])
    return levels


def _check_counts(counts, nodes):
    if counts.shape != nodes.shape or (counts < 0).any() or (counts[nodes["leaf"] < 0] == 0).any():
        raise ValueError(
            "contributions need the number of training rows of each node (Tree.counts), at least 1 "
            "where there is a split, but this model does not hold them; train it anew or import it "
            "from a file that does."
        )


def _expected(packed, nodes, levels, shares):
    """The mean of the leaf values, weighted by the share of training rows that get there.

    The weight is the product of the shares on the path, so that contributions add up to the score
    even where the counts of two children are not quite that of their parent.
    """
    reached = np.ones(len(nodes))
    for parents, *sides in levels:
        for children in sides:
            reached[children] = reached[parents] * shares[children]
    leaves = np.flatnonzero(nodes["leaf"] >= 0)
    tree = np.searchsorted(packed.roots, leaves, side="right") - 1
    values = packed.values[packed.first_leaf[tree] + nodes["leaf"][leaves]]
    return (np.ascontiguousarray(values.T) * reached[leaves]).sum(axis=1)
