"""Rows with their labels, on their way from the tables of `fit` to the engine."""

from typing import NamedTuple

import numpy as np
from scipy import sparse


class LabelledRows(NamedTuple):
    """Some rows of the tables that `fit` was given.

    Attributes
    ----------
    matrix : ndarray or CSR matrix of shape (n_rows, n_features)
    labels : ndarray of int16 of shape (n_rows, n_tasks)
    weights : ndarray of float32 of shape (n_rows, n_tasks) or None
    numbers : ndarray of int of shape (n_rows,) or None
        Which rows of X these are; None for validation rows with a table of their own.
    """

    matrix: object
    labels: np.ndarray
    weights: np.ndarray | None = None
    numbers: np.ndarray | None = None

    def take(self, rows):
        """Some of these rows, by position."""
        matrix = self.matrix
        return LabelledRows(
            matrix[rows] if sparse.issparse(matrix) else np.take(matrix, rows, axis=0),
            self.labels[rows],
            None if self.weights is None else self.weights[rows],
            None if self.numbers is None else self.numbers[rows],
        )
