"""Trees end to end in arrays, as the kernels read them, and the choice between two ways to score.

A walk follows a row from the root to its leaf. It costs a branch that cannot be foreseen at each
level, but asks for nothing except the row. Masks (see `_scorer.pyx`) test all splits of a tree,
many rows at a time; they take over where there are enough rows and no tree is too large.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mtgbm.engine._isa import load_kernel
from mtgbm.engine.masked_trees import MOST_LEAVES, MaskedTrees
from mtgbm.engine.threads import threads_for

_predictor = load_kernel("mtgbm.engine._predictor")

BITSET_WORDS = 8

#: Rows from which a block of the scorer, which always has 128, costs less than as many walks.
LEAST_ROWS = 16
#: Walks that cost as much as making the masks.
LEAST_WALKS = 2000


@dataclass
class PackedTrees:
    """Several trees end to end.

    Attributes
    ----------
    nodes : ndarray of NODE_DTYPE of shape (n_nodes,)
        Children are counted from the root of their tree, bitsets from the first of all.
    roots : ndarray of int32 of shape (n_trees,)
        Where in `nodes` each tree starts.
    first_leaf : ndarray of int32 of shape (n_trees,)
        Where in `values` the leaves of each tree start.
    bitsets : ndarray of uint32 of shape (n_category_splits or 1, 8)
    values : ndarray of float64 of shape (n_leaves, n_outputs)
    """

    nodes: np.ndarray
    roots: np.ndarray
    first_leaf: np.ndarray
    bitsets: np.ndarray
    values: np.ndarray

    @classmethod
    def pack(cls, trees, n_outputs):
        nodes = [tree.nodes.copy() for tree in trees]
        first_bitset = 0
        for copy, tree in zip(nodes, trees, strict=True):
            copy["bitset"][copy["bitset"] >= 0] += first_bitset
            first_bitset += len(tree.bitsets)
        return cls(
            nodes=np.concatenate(nodes) if nodes else np.empty(0),
            roots=_starts([len(tree.nodes) for tree in trees]),
            first_leaf=_starts([tree.n_leaves for tree in trees]),
            bitsets=at_least_one(
                np.concatenate(
                    [np.empty((0, BITSET_WORDS), np.uint32)] + [t.bitsets for t in trees]
                )
            ),
            values=np.concatenate([np.empty((0, n_outputs))] + [t.values for t in trees]),
        )

    @cached_property
    def most_leaves(self):
        """Leaves of the largest tree."""
        return int(np.diff(self.first_leaf, append=len(self.values)).max(initial=0))

    @cached_property
    def masked(self):
        return MaskedTrees(self)

    def steps(self, n_rows):
        """What the scores of so many rows cost, in nanoseconds or so."""
        return (2 if self._masks_pay(n_rows) else 10) * n_rows * len(self.roots)

    def _masks_pay(self, n_rows):
        return (
            n_rows >= LEAST_ROWS
            and n_rows * len(self.roots) >= LEAST_WALKS
            and self.most_leaves <= MOST_LEAVES
        )

    def add_to(self, X, scores, n_threads):
        """Add the values of raw rows to `scores` in place."""
        if not scores.size or not len(self.roots):
            return
        method = self.masked.add_to if self._masks_pay(len(X)) else self.walk
        method(X, scores, threads_for(self.steps(len(X)), n_threads))

    def walk(self, X, scores, n_threads):
        """`add_to` by walks."""
        _predictor.add_forest(
            X,
            self.nodes,
            self.roots,
            self.first_leaf,
            self.bitsets,
            self.values,
            scores,
            n_threads,
        )

    def leaves(self, X, n_threads):
        """The leaf each raw row reaches in each tree: int32 (n_rows, n_trees)."""
        leaves = np.zeros((len(X), len(self.roots)), dtype=np.int32)
        if leaves.size:
            threads = threads_for(10 * leaves.size, n_threads)
            _predictor.predict_leaves(X, self.nodes, self.roots, self.bitsets, leaves, threads)
        return leaves


def at_least_one(bitsets):
    """Kernels take the address of the first row, so there must be one."""
    return bitsets if len(bitsets) else np.zeros((1, BITSET_WORDS), dtype=np.uint32)


def _starts(lengths):
    return np.concatenate([[0], np.cumsum(lengths)])[:-1].astype(np.int32)
