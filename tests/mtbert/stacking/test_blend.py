"""Weights of the sources."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import approx_fprime
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from mtbert.stacking.blend import ScoreBlend, _residuals, mean_logloss, weighted_logloss


def binary_rows(n=3000, seed=0):
    """Two sources that know a part of the truth each."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(2, n))
    labels = (rng.random(n) < expit(truth[0] * 1.5 + truth[1] * 0.5 + 0.3)).astype(np.int16)
    return truth[:, :, None], labels[:, None]


def class_rows(n=600, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(2, n, 3))
    p = softmax(truth[0] + 0.5 * truth[1], axis=1)
    return truth, np.array([[rng.choice(3, p=row)] for row in p], dtype=np.int16)


def test_logistic_regression_finds_the_same():
    sources, labels = binary_rows()
    blend = ScoreBlend(is_multiclass=False).fit(sources, labels, np.full(labels.shape, 100.0))
    oracle = LogisticRegression(C=np.inf).fit(sources[:, :, 0].T, labels[:, 0])
    assert_allclose(blend.factors_[:, 0], oracle.coef_[0], atol=0.01)
    assert_allclose(blend.bias_, oracle.intercept_, atol=0.01)
    assert_allclose(blend(sources)[:, 0], oracle.decision_function(sources[:, :, 0].T), atol=0.05)


@pytest.mark.parametrize("rows", [binary_rows, class_rows])
def test_no_other_weights_near_by_are_better(rows):
    sources, labels = rows()
    multiclass = sources.shape[2] > 1
    blend = ScoreBlend(multiclass).fit(sources, labels, np.full(labels.shape, 100.0))
    best = mean_logloss(blend(sources), labels, np.ones(labels.shape), multiclass)
    for factor in blend.factors_:
        assert (factor == factor[0]).all()  # of all classes the same
    for change in np.eye(2):
        for step in (-0.1, 0.1):
            other = np.einsum("snk,s->nk", sources, blend.factors_[:, 0] + step * change)
            other = other + blend.bias_
            assert mean_logloss(other, labels, np.ones(labels.shape), multiclass) > best


@pytest.mark.parametrize("multiclass", [False, True])
def test_residuals_are_the_slope_of_the_loss(multiclass):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4, 3))
    labels = rng.integers(-1, 3 if multiclass else 2, (4, 1 if multiclass else 3)).astype(np.int16)
    weights = rng.random(labels.shape)
    slope = approx_fprime(
        logits.ravel(), lambda z: weighted_logloss(z.reshape(4, 3), labels, weights, multiclass)
    )
    assert_allclose(_residuals(logits, labels, weights, multiclass).ravel(), slope, atol=1e-6)


def test_the_loss_is_that_of_scikit_learn():
    sources, labels = class_rows()
    weights = np.random.default_rng(1).random(labels.shape)
    expected = log_loss(labels[:, 0], softmax(sources[0], axis=1), sample_weight=weights[:, 0])
    assert_allclose(mean_logloss(sources[0], labels, weights, True), expected)


def test_a_source_that_misleads_has_no_weight():
    sources, labels = binary_rows()
    sources[1] *= -1
    blend = ScoreBlend(is_multiclass=False).fit(sources, labels, np.ones(labels.shape))
    assert blend.factors_[1] == 0
    assert blend.factors_[0] > 1


def test_weights_are_repetitions():
    sources, labels = class_rows(100)
    repeats = np.arange(100) % 3
    weighted = ScoreBlend(True).fit(sources, labels, repeats[:, None])
    repeated = ScoreBlend(True).fit(
        np.repeat(sources, repeats, axis=1), np.repeat(labels, repeats, axis=0), np.ones((99, 1))
    )
    assert_allclose(weighted.factors_, repeated.factors_, atol=1e-4)
    assert_allclose(weighted.bias_, repeated.bias_, atol=1e-4)


def test_few_rows_that_are_easily_told_apart():
    sources = np.array([[[-9.0], [9.0]]] * 2)
    blend = ScoreBlend(False).fit(sources, np.array([[0], [1]], np.int16), np.ones((2, 1)))
    assert_allclose(blend.factors_, 0.5, atol=0.05)


def test_each_task_has_weights_of_its_own_and_one_without_labels_the_mean():
    sources, labels = binary_rows()
    both = np.concatenate([sources, sources[::-1], sources], axis=2)
    missing = np.full_like(labels, -1)
    columns = np.hstack([labels, labels, missing])
    blend = ScoreBlend(False).fit(both, columns, np.ones(columns.shape))
    assert_allclose(blend.factors_[:, 0], blend.factors_[::-1, 1], atol=1e-4)
    assert_array_equal(blend.factors_[:, 2], [0.5, 0.5])
    assert blend.bias_[2] == 0
