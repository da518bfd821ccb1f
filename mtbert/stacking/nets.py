"""Nets that learn from all folds but one, and score that one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mtbert.batching import Rows
from mtbert.labelled_table import LabelledTable
from mtbert.stacking.embedding import EmbeddingAxes
from mtbert.table_reader import TableReader


@dataclass(frozen=True)
class TrainedNet:
    """A net, and how it reads tables.

    Attributes
    ----------
    reader : TableReader
    rows : Rows
        Those it has learned from, as it has read them: the risks of their categories know nothing
        of their own labels.
    run : callable
        ``run(rows)`` returns logits, (n, n_outputs); ``run(rows, embed=True)`` the fused
        embedding, (n, output_dim).
    """

    reader: TableReader
    rows: Rows
    run: Callable[..., np.ndarray]


class CrossFittedNets:
    """What nets say of rows that they have not learned from.

    Parameters
    ----------
    train : callable
        ``train(table, number)`` returns the :class:`TrainedNet` of a table, the same for the same
        number.
    axes : EmbeddingAxes or None
        Of the net that learned from all rows, if embeddings are asked for.

    Attributes
    ----------
    scores_ : ndarray of float32 of shape (n, n_outputs)
    places_ : ndarray of float64 of shape (n, n_axes)
        On the axes, if there are any.
    """

    def __init__(self, train, axes: EmbeddingAxes | None = None):
        self.train = train
        self.axes = axes

    def fit(self, table: LabelledTable, fold_of, net: TrainedNet, say) -> CrossFittedNets:
        """Train a net for each fold.

        Parameters
        ----------
        table : LabelledTable
        fold_of : ndarray of int of shape (n,)
        net : TrainedNet
            The one that learned from all rows.
        say : callable
            Gets a line of text before each net.
        """
        n_folds = int(fold_of.max()) + 1
        embedding = None if self.axes is None else net.run(net.rows, embed=True)
        parts = []
        for fold in range(n_folds):
            say(f"stacking: net {fold + 1} of {n_folds}, for the scores of rows it does not see")
            others, held = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
            other_net = self.train(table.take(others), fold)
            rows = other_net.reader.transform(table.take(held).X)
            places = None if embedding is None else self._lay(other_net, rows, embedding[others])
            parts.append((held, other_net.run(rows), places))
        self.scores_ = _in_table_order([(held, scores) for held, scores, _ in parts])
        if embedding is not None:
            self.places_ = _in_table_order([(held, places) for held, _, places in parts])
        return self

    def _lay(self, other_net, rows, shared_here):
        shared = other_net.run(other_net.rows, embed=True)
        return self.axes.lay(other_net.run(rows, embed=True), shared, shared_here)


def score_share(table: LabelledTable, share, seed, train) -> tuple[np.ndarray, np.ndarray]:
    """Train a net without a share of the rows, and let it score them.

    Parameters
    ----------
    table : LabelledTable
    share : float
    seed : int
        The share is the same for the same seed.
    train : callable
        As :class:`CrossFittedNets` takes it.

    Returns
    -------
    held : ndarray of int of shape (n_held,)
        The rows.
    scores : ndarray of float32 of shape (n_held, n_outputs)
    """
    others, held = table.deal(share, seed)
    net = train(table.take(others), 0)
    return held, net.run(net.reader.transform(table.take(held).X))


def _in_table_order(parts):
    """One array of all rows from (positions, rows) of each fold."""
    positions = np.concatenate([held for held, _ in parts])
    return np.concatenate([values for _, values in parts])[np.argsort(positions)]
