"""Jensen-Shannon similarity and the samples of rows, by hand and by scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import entropy

from mtgbm.objectives import Task
from mtgbm.weighting.samples import evenly_spaced, paired_rows
from mtgbm.weighting.similarity import (
    as_distribution,
    jensen_shannon,
    predicted_shares,
    similarities,
)

probabilities = arrays(np.float64, st.integers(1, 8), elements=st.floats(1e-3, 1.0))


def test_the_divergence_by_hand():
    # p = (1, 0), q = (1/2, 1/2), m = (3/4, 1/4):
    # KL(p, m) = ln(4/3) = .287682, KL(q, m) = (ln(2/3) + ln 2) / 2 = .143841,
    # their mean .215762, in bits .311278.
    assert_allclose(jensen_shannon(np.array([1.0, 0]), np.array([0.5, 0.5])), 0.311278, rtol=1e-5)


def test_a_distribution_by_hand():
    # (.2 + 1e-10) / (.5 + 2e-10) and (.3 + 1e-10) / (.5 + 2e-10)
    expected = [0.2000000001 / 0.5000000002, 0.3000000001 / 0.5000000002]
    assert_allclose(as_distribution([0.2, 0.3]), expected, rtol=1e-15)


def test_rows_of_probability_zero_are_a_uniform_distribution():
    assert_array_equal(as_distribution(np.zeros(4)), [0.25] * 4)


@given(st.integers(2, 8).flatmap(lambda n: arrays(float, (2, n), elements=st.floats(1e-3, 1.0))))
def test_the_divergence_is_that_of_scipy(values):
    p, q = map(as_distribution, values)
    middle = (p + q) / 2  # scipy's own distance is the root of this, NaN where it rounds below 0
    expected = (entropy(p, middle, base=2) + entropy(q, middle, base=2)) / 2
    assert_allclose(jensen_shannon(p, q), expected, atol=1e-12)
    assert jensen_shannon(p, q) == jensen_shannon(q, p)


@given(probabilities)
def test_the_divergence_is_bounded(values):
    p = as_distribution(values)
    assert jensen_shannon(p, p) == 0.0
    assert 0.0 <= jensen_shannon(p, as_distribution(values[::-1])) <= 1.0


@given(probabilities, st.floats(1.0, 100.0), st.randoms())
def test_scale_and_order_of_rows_do_not_count(values, scale, random):
    other = as_distribution(np.arange(1.0, len(values) + 1))
    expected = jensen_shannon(as_distribution(values), other)
    assert_allclose(jensen_shannon(as_distribution(scale * values), other), expected, atol=1e-6)
    order = np.array(random.sample(range(len(values)), len(values)))
    assert_allclose(
        jensen_shannon(as_distribution(values[order]), other[order]), expected, atol=1e-12
    )


def test_tasks_are_compared_on_the_rows_of_both():
    shares = np.array([[0.8, 0.4, 0.1], [0.2, 0.1, 0.9], [0.5, 0.9, 0.5]])
    known = np.array([[True, True, False], [True, True, False], [True, False, False]])
    # Without the last row the second task is the first, halved. The third shares no row with it.
    assert_allclose(similarities(shares, known, main_task=0), [1.0, 1.0, np.nan], atol=1e-9)


def test_a_multiclass_task_is_the_probability_not_to_be_of_its_first_class(make_round):
    tasks = [Task("a"), Task("b", "multiclass", 3)]
    round = make_round([[0, 2]], [[0.3, 0.5, 0.5, 0.5]], tasks=tasks)
    round.raw[:, 1:] = np.log([[0.2, 0.3, 0.5]])
    assert_allclose(predicted_shares(round, np.array([0])), [[0.3, 0.8]])


@given(st.integers(1, 500), st.integers(1, 60))
def test_samples_are_ascending_and_evenly_spaced(n_rows, most):
    rows = evenly_spaced(np.arange(n_rows), most)
    assert len(rows) == min(n_rows, most)
    steps = np.diff(rows)
    assert (steps >= n_rows // most).all()
    assert (steps <= max(1, -(-n_rows // most))).all()


@pytest.mark.parametrize(("most", "rows"), [(5, [1, 2, 4]), (2, [1, 2])])
def test_pairs_need_two_labels(most, rows):
    labels = np.array([[0, -1, -1], [0, 1, -1], [1, 1, 1], [-1, -1, -1], [-1, 0, 0]])
    assert_array_equal(paired_rows(labels, most), rows)
