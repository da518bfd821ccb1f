"""Weights by uncertainty: by hand, and by minimising what Kendall, Gal and Cipolla minimise."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.optimize import minimize_scalar

from mtgbm.weighting import UncertaintyWeighting
from mtgbm.weighting.uncertainty import LEAST_LOSS


def test_by_hand(make_round, begin):
    # Losses ln 2 = .693147 and -ln .8 = .223144; one over them 1.442695, 4.481420, mean 2.962058.
    round = make_round([[1, 1], [0, 0]], [[0.5, 0.8], [0.5, 0.2]])
    assert_allclose(begin(UncertaintyWeighting(), round), [0.487058, 1.512942], rtol=1e-5)


@given(st.floats(0.55, 0.95), st.floats(0.55, 0.95))
@settings(max_examples=20)
def test_weights_are_where_the_published_loss_is_least(make_round, begin, sure, surer):
    losses = -np.log([sure, surer])
    log_variances = [
        minimize_scalar(lambda s, loss=loss: np.exp(-s) * loss + s / 2).x for loss in losses
    ]
    precisions = np.exp(-np.array(log_variances))
    weights = begin(UncertaintyWeighting(), make_round([[1, 1]] * 3, [sure, surer]))
    assert_allclose(weights, precisions / precisions.mean(), rtol=1e-3)


def test_sample_weights_count(make_round, begin):
    round = make_round([[1, 1], [0, 1]], [[0.8, 0.8], [0.8, 0.8]])
    round.training.weights = np.array([[3, 1], [1, 1]], dtype=np.float32)
    # Losses (3 * -ln .8 - ln .2) / 4 = .569717 and -ln .8 = .223144.
    expected = 1 / np.array([0.569717, 0.223144])
    assert_allclose(begin(UncertaintyWeighting(), round), expected / expected.mean(), rtol=1e-5)


def test_a_task_without_labels_has_weight_one(make_round, begin):
    round = make_round([[1, -1, 1], [0, -1, 0]], [[0.5, 0.5, 0.8], [0.5, 0.5, 0.2]])
    assert_allclose(begin(UncertaintyWeighting(), round), [0.487058, 1, 1.512942], rtol=1e-5)
    nothing = make_round([[-1, -1]])
    assert_allclose(begin(UncertaintyWeighting(), nothing), [1.0, 1.0])


def test_a_task_learned_by_heart_has_a_finite_weight(make_round, begin):
    round = make_round([[1, 1]], [[0.5, 1 - 1e-12]])
    precisions = 1 / np.array([np.log(2), LEAST_LOSS])
    assert_allclose(begin(UncertaintyWeighting(), round), precisions / precisions.mean())


def test_only_the_sample_counts(make_round, begin):
    labels, probabilities = np.ones((4, 2)), np.full((4, 2), 0.8)
    probabilities[[1, 3], 0] = 0.1  # rows that a sample of two leaves out
    weights = begin(UncertaintyWeighting(sample_rows=2), make_round(labels, probabilities))
    assert_allclose(weights, [1.0, 1.0])
