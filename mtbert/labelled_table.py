"""A table with numbered labels, on its way from `fit` to the rows that the net learns from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mtbert.batching import Rows
from mtbert.columns import take_rows
from mtgbm.labelled_rows import LabelledRows
from mtgbm.labels import MISSING
from mtgbm.validation import hold_out


@dataclass(frozen=True)
class LabelledTable:
    """A DataFrame and its labels.

    Attributes
    ----------
    X : DataFrame
    labels : ndarray of int16 of shape (n, n_tasks)
        -1 where missing.
    weights : ndarray of float32 of shape (n, n_tasks), or None for rows that only are scored
        0 where a label does not count.
    """

    X: Any
    labels: np.ndarray
    weights: np.ndarray | None = None

    def take(self, rows) -> LabelledTable:
        """Some of these rows, by position."""
        weights = None if self.weights is None else self.weights[rows]
        return LabelledTable(take_rows(self.X, rows), self.labels[rows], weights)

    def counting(self) -> LabelledTable:
        """The rows with a label that has a weight; labels without one are missing."""
        labels = np.where(np.asarray(self.weights) > 0, self.labels, np.int16(MISSING))
        rows = np.flatnonzero((labels != MISSING).any(axis=1))
        return replace(self, labels=labels).take(rows)

    def hold_out(self, fraction, seed) -> tuple[LabelledTable, LabelledTable]:
        """Split at random, stratified by the first task: training and validation rows."""
        training, held_out = map(self.take, self.deal(fraction, seed))
        return training, held_out

    def deal(self, fraction, seed) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of the rows that `hold_out` leaves, and of those that it holds out."""
        numbers = np.arange(len(self.labels))
        left, held = hold_out(LabelledRows(numbers, self.labels), fraction, 0, seed)
        return left.matrix, held.matrix

    def attach_to(self, rows: Rows) -> Rows:
        """The same rows, read, with these labels and weights."""
        return replace(rows, labels=self.labels, weights=self.weights)
