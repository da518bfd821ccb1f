"""Texts in a few axes along which words go together."""

from __future__ import annotations

import numpy as np
from sklearn.utils.extmath import randomized_svd

#: Axes whose singular value is a smaller share of the largest are rounding errors.
SMALLEST = 1e-6


class TextTopics:
    """Latent semantic analysis [1]_: the largest singular vectors of the frequencies of terms.

    They know no labels.

    Parameters
    ----------
    n_topics : int
        Most axes; there are as many as the frequencies have dimensions.
    seed : int

    Attributes
    ----------
    components_ : ndarray of float32 of shape (n_axes, n_terms)

    References
    ----------
    .. [1] Deerwester, Dumais, Furnas, Landauer and Harshman, "Indexing by Latent Semantic
       Analysis", Journal of the American Society for Information Science 41(6), 1990.
    """

    def __init__(self, n_topics, seed=0):
        self.n_topics = n_topics
        self.seed = seed

    def fit_transform(self, frequencies) -> np.ndarray:
        """Find the axes of sparse frequencies, (n, n_terms), and the place of each row on them."""
        n_axes = min(self.n_topics, *frequencies.shape)
        _, values, axes = randomized_svd(frequencies, n_axes, n_iter=5, random_state=self.seed)
        self.components_ = axes[values > SMALLEST * values[0]].astype(np.float32)
        return self.transform(frequencies)

    def transform(self, frequencies) -> np.ndarray:
        """Return the place of each row on the axes, float64 of shape (n, n_axes)."""
        return np.asarray(frequencies @ self.components_.T)
