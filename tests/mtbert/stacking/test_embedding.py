"""Axes of an embedding."""

import numpy as np
from numpy.testing import assert_allclose
from sklearn.decomposition import PCA

from mtbert.stacking.embedding import EmbeddingAxes


def embedding(n=80, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, 5)) * [5, 3, 2, 1, 0.5] + 7).astype(np.float32)


def test_they_are_the_principal_components():
    values = embedding()
    found = EmbeddingAxes(3).fit(values).transform(values)
    expected = PCA(3).fit_transform(values.astype(float))
    assert_allclose(np.abs(found), np.abs(expected), atol=1e-4)


def test_another_net_that_sees_the_same_in_other_axes_is_laid_over_them():
    rng = np.random.default_rng(1)
    here, unseen = embedding(), embedding(20, seed=2)
    turned = np.linalg.qr(rng.normal(size=(5, 5)))[0] * 4
    axes = EmbeddingAxes(3).fit(here)
    laid = axes.lay(unseen @ turned - 3, here @ turned - 3, here)
    assert_allclose(laid, axes.transform(unseen), rtol=0.01, atol=0.05)


def test_fewer_dimensions_than_axes_and_an_embedding_that_is_constant():
    flat = np.ones((10, 4), np.float32)
    axes = EmbeddingAxes(16).fit(flat)
    assert axes.axes_.shape == (4, 4)
    assert_allclose(axes.lay(flat, flat, flat), 0)
