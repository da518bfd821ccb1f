"""A few axes of the net's embedding, in which the embeddings of other nets can be laid."""

from __future__ import annotations

import numpy as np

#: Penalty of the map between two embeddings, as a share of the mean square of a column.
RIDGE = 1e-3


class EmbeddingAxes:
    """The principal axes of the fused embedding of one net.

    Two nets that learned apart have no axis in common. `lay` maps the embedding of another net
    onto these axes by least squares, over rows that both nets have learned from.

    Parameters
    ----------
    n_components : int
        Most axes.

    Attributes
    ----------
    mean_ : ndarray of float64 of shape (output_dim,)
    axes_ : ndarray of float64 of shape (n_axes, output_dim)
    """

    def __init__(self, n_components):
        self.n_components = n_components

    def fit(self, embedding) -> EmbeddingAxes:
        """Find the axes of an embedding of shape (n, output_dim)."""
        embedding = embedding.astype(np.float64)
        self.mean_ = embedding.mean(axis=0)
        axes = np.linalg.svd(embedding - self.mean_, full_matrices=False)[2]
        # The sign of an axis is a matter of rounding; its largest entry is made positive.
        largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
        self.axes_ = (axes * np.sign(largest))[: self.n_components]
        return self

    def transform(self, embedding) -> np.ndarray:
        """Return the place of each row on the axes, (n, n_axes)."""
        return (embedding - self.mean_) @ self.axes_.T

    def lay(self, embedding, shared, shared_here) -> np.ndarray:
        """Return the place of rows that another net has embedded.

        Parameters
        ----------
        embedding : ndarray of shape (n, other_dim)
            By the other net.
        shared : ndarray of shape (m, other_dim)
            Rows that both nets have learned from, embedded by the other.
        shared_here : ndarray of shape (m, output_dim)
            The same, embedded by this one.

        Returns
        -------
        ndarray of float64 of shape (n, n_axes)
        """
        places = self.transform(shared_here)
        centre, middle = shared.mean(axis=0, dtype=np.float64), places.mean(axis=0)
        known = shared - centre
        gram = known.T @ known
        penalty = max(RIDGE * np.trace(gram) / len(gram), np.finfo(np.float64).eps)
        found = np.linalg.solve(gram + penalty * np.eye(len(gram)), known.T @ (places - middle))
        return (embedding - centre) @ found + middle
