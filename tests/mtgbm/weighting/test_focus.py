"""Rounds of focus: how often, on whom, with which weights."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logit
from scipy.stats import chisquare

from mtgbm.engine.boosting import LabelledTable
from mtgbm.weighting import FocusWeighting

LABELS = [[1, 1, 1]]


@pytest.fixture(scope="module")
def evolution(make_round):
    """Weights of the first rounds, (n_rounds, n_tasks)."""

    def run(weighting, n_rounds, labels=LABELS):
        weighting.check(make_round(labels).tasks, 0)
        weighting.start(make_round(labels))
        return np.array([weighting.weights(make_round(labels, number=n)) for n in range(n_rounds)])

    return run


def test_weights_by_hand(evolution):
    # (1, 50, 1) has the sum 52; times 3 / 52 its mean is 1.
    weights = evolution(FocusWeighting("round_robin", strength=50.0, share=0.5), 4)
    focus = np.array([[50, 1, 1], [1, 50, 1]]) * 3 / 52
    assert_allclose(weights, [[1, 1, 1], focus[0], [1, 1, 1], focus[1]])


@given(st.floats(0.01, 1.0), st.integers(1, 40))
@settings(max_examples=50)
def test_the_share_of_rounds_is_kept_from_the_start(evolution, share, n_rounds):
    weights = evolution(FocusWeighting("round_robin", share=share), n_rounds)
    focused = (weights.max(axis=1) > 1).cumsum()
    assert_array_equal(focused, (np.arange(1, n_rounds + 1) * share).astype(int))


def test_random_tasks_are_drawn_evenly(evolution):
    weights = evolution(FocusWeighting("random", share=1.0), 600)
    assert chisquare(np.bincount(weights.argmax(axis=1))).pvalue > 0.001
    assert (weights.argmax(axis=1)[1:] == weights.argmax(axis=1)[:-1]).any()  # not in turns


def test_random_tasks_depend_on_the_seed_only(make_round, evolution):
    weighting = FocusWeighting("random", share=1.0)
    assert_array_equal(evolution(weighting, 30), evolution(weighting, 30))
    other = make_round(LABELS)
    other.rng = np.random.default_rng(1)
    weighting.start(other)
    weights = [weighting.weights(make_round(LABELS, number=n)) for n in range(30)]
    assert np.any(weights != evolution(weighting, 30))


def test_a_strength_of_one_is_no_focus(evolution):
    assert_array_equal(evolution(FocusWeighting(strength=1.0), 5), np.ones((5, 3)))


def test_the_task_that_improved_least_is_favoured(make_round):
    labels = np.array([[1, 1, -1]], dtype=np.int16)
    # Losses before the first tree ln 2 and -ln .9; the third task has no validation label.
    held = {"validation": LabelledTable(None, labels), "validation_raw": logit([[0.5, 0.9, 0.5]])}
    weighting = FocusWeighting("validation_loss", share=1.0)
    weighting.start(make_round(LABELS, **held))
    favourites = [weighting.weights(make_round(LABELS, **held)).argmax()]
    # .5 / .693147 = .72 and .1 / .105361 = .95; then .5 / .693147 and .05 / .105361 = .47.
    for number, losses in enumerate([[0.5, 0.1, np.nan], [0.5, 0.05, np.nan]], start=1):
        round = make_round(LABELS, number=number, scores=[np.array(losses)], **held)
        favourites.append(weighting.weights(round).argmax())
    assert favourites == [0, 1, 0]
