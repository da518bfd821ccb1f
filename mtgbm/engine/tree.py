"""What training leaves behind: trees whose structure all outputs share."""

from dataclasses import dataclass, field, replace

import numpy as np

from mtgbm.engine._isa import load_kernel
from mtgbm.engine.packed_trees import BITSET_WORDS, PackedTrees, at_least_one
from mtgbm.engine.threads import threads_for

_predictor = load_kernel("mtgbm.engine._predictor")


@dataclass
class Tree:
    """One tree: nodes that every output shares, values that each has of its own.

    Attributes
    ----------
    nodes : ndarray of NODE_DTYPE of shape (n_nodes,)
        The root first.
    bitsets : ndarray of uint32 of shape (n_category_splits, 8)
        The category bins that go left.
    values : ndarray of float64 of shape (n_leaves, n_outputs)
        Already scaled by the learning rate.
    gradients, hessians : ndarray of float64 of shape (n_nodes, n_outputs)
        Sums over the training rows of each node.
    counts : ndarray of int64 of shape (n_nodes,)
        Training rows of each node.
    gains : ndarray of float64 of shape (n_nodes, n_outputs)
        What each output gained by the split of each inner node, unweighted; 0 in leaves.
    """

    nodes: np.ndarray
    bitsets: np.ndarray
    values: np.ndarray
    gradients: np.ndarray
    hessians: np.ndarray
    counts: np.ndarray
    gains: np.ndarray

    @property
    def n_leaves(self):
        return len(self.values)

    def standardized_gradients(self):
        """Gradient sums of the leaves in units of their noise.

        Returns
        -------
        ndarray of float64 of shape (n_leaves, n_outputs)
            G / sqrt(H), whose square is what the leaf gains without a penalty; 0 where an output
            has no labelled rows.
        """
        is_leaf = self.nodes["leaf"] >= 0
        hessians = self.hessians[is_leaf]
        return self.gradients[is_leaf] / np.sqrt(np.where(hessians > 0, hessians, np.inf))

    def check(self, n_features, n_outputs):
        """Raise ValueError if a kernel could leave the tree's arrays or never end."""
        nodes = self.nodes
        inner = nodes["leaf"] < 0
        place = np.arange(len(nodes))
        children = np.concatenate([nodes[side][inner] for side in ("left", "right")])
        sound = (
            len(nodes) > 0
            and self.values.shape == (np.sum(~inner), n_outputs)
            and np.isfinite(self.values).all()
            and self.bitsets.shape[1:] == (BITSET_WORDS,)
            and np.array_equal(np.sort(nodes["leaf"][~inner]), np.arange(self.n_leaves))
            and _within(nodes["feature"][inner], 0, n_features)
            and _within(nodes["bitset"][inner], -1, len(self.bitsets))
            and np.array_equal(np.sort(children), place[1:])
            and (children > np.tile(place[inner], 2)).all()
            and not np.isnan(nodes["threshold"]).any()
            and (nodes["missing_left"] <= 1).all()
        )
        if not sound:
            raise ValueError("the saved model is corrupt: one of its trees does not hold together.")

    def add_binned(self, by_row, scores, n_threads):
        """Add the values of binned rows to `scores`, (n_rows, n_outputs), in place."""
        threads = threads_for(10 * len(by_row), n_threads)
        _predictor.add_tree_binned(
            by_row, self.nodes, at_least_one(self.bitsets), self.values, scores, threads
        )


@dataclass
class Forest:
    """Trees in the order of their rounds, one a round.

    Attributes
    ----------
    base_score : ndarray of float64 of shape (n_outputs,)
        The scores of a forest without trees.
    n_features : int
    trees : list of Tree
    """

    base_score: np.ndarray
    n_features: int
    trees: list[Tree] = field(default_factory=list)

    @property
    def n_outputs(self):
        return len(self.base_score)

    def check(self):
        """Raise ValueError if the forest, read from a file, does not hold together."""
        if self.base_score.ndim != 1 or not np.isfinite(self.base_score).all():
            raise ValueError("the saved model is corrupt: its base scores are not finite.")
        for tree in self.trees:
            tree.check(self.n_features, self.n_outputs)

    def keep_rounds(self, rounds):
        """Keep, for each output, only its first rounds.

        Trees beyond all of them are dropped; in the others the values of an output that stops
        earlier become 0, so that every reader of the forest sees the same model.

        Parameters
        ----------
        rounds : ndarray of int of shape (n_outputs,)
        """
        self.__dict__.pop("_cache", None)
        rounds = np.asarray(rounds)
        kept = self.trees[: int(rounds.max())]
        self.trees[:] = [
            replace(tree, values=np.where(number < rounds, tree.values, 0.0))
            for number, tree in enumerate(kept)
        ]

    def raw_predict(self, X, n_threads, out=None):
        """Scores of raw rows.

        Parameters
        ----------
        X : ndarray of shape (n_rows, n_features)
            float32 or float64; categorical features hold bin numbers.
        n_threads : int
        out : ndarray of float64 of shape (n_rows, n_outputs), optional
            Where to write the scores, in C order.

        Returns
        -------
        ndarray of float64 of shape (n_rows, n_outputs)
        """
        X = _whole_strides(X)
        scores = np.empty((X.shape[0], self.n_outputs)) if out is None else out
        scores[:] = self.base_score
        self._packed(0, len(self.trees)).add_to(X, scores, n_threads)
        return scores

    def prediction_steps(self, n_rows):
        """What `raw_predict` of so many rows costs, in nanoseconds or so."""
        return self._packed(0, len(self.trees)).steps(n_rows)

    def staged_raw_predict(self, X, n_threads, blocks=None):
        """Scores after each round; each array is yielded once and not changed later.

        Parameters
        ----------
        X : as in `raw_predict`, or whatever `blocks` takes
        n_threads : int
        blocks : callable, optional
            ``blocks(X)`` yields (rows, part of X as in `raw_predict`); X in one part by default.
        """
        scores = np.tile(self.base_score, (X.shape[0], 1))
        for number in range(len(self.trees)):
            packed = self._packed(number, number + 1)
            for rows, block in [(slice(None), X)] if blocks is None else blocks(X):
                packed.add_to(_whole_strides(block), scores[rows], n_threads)
            yield scores.copy()

    def apply(self, X, n_threads):
        """The leaf each raw row reaches in each tree: int32 (n_rows, n_trees)."""
        return self._packed(0, len(self.trees)).leaves(_whole_strides(X), n_threads)

    def importances(self, kind):
        """What each feature did for each output.

        Parameters
        ----------
        kind : {"gain", "split"}
            The summed gains, or the number of splits from which the output gained.

        Returns
        -------
        ndarray of float64 of shape (n_outputs, n_features)
        """
        table = np.zeros((self.n_features, self.n_outputs))
        for tree in self.trees:
            inner = tree.nodes["leaf"] < 0
            gains = tree.gains[inner]
            np.add.at(table, tree.nodes["feature"][inner], gains if kind == "gain" else gains > 0)
        return table.T

    def split_counts(self):
        """How often each feature was chosen: int64 (n_features,)."""
        features = [tree.nodes["feature"][tree.nodes["leaf"] < 0] for tree in self.trees]
        return np.bincount(
            np.concatenate([np.empty(0, np.int32), *features]), minlength=self.n_features
        )

    def _packed(self, first, last):
        """Trees first .. last - 1 in the arrays the predictor walks; all of them are kept."""
        if (first, last) != (0, len(self.trees)):
            return PackedTrees.pack(self.trees[first:last], self.n_outputs)
        cached = self.__dict__.get("_cache")
        if cached is None or len(cached.roots) != last:
            self._cache = PackedTrees.pack(self.trees, self.n_outputs)
        return self._cache

    def __getstate__(self):
        return {name: value for name, value in self.__dict__.items() if name != "_cache"}


def _whole_strides(X):
    """X, copied if its strides are no whole number of elements, as in a packed record array."""
    odd = any(stride % X.itemsize for stride in X.strides)
    return np.ascontiguousarray(X) if odd else X


def _within(positions, least, end):
    return bool(((positions >= least) & (positions < end)).all())
