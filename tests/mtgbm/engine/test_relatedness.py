"""Which outputs have something in common: a naive twin, what chance shows, who leads a round."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from mtgbm.engine.criteria import GainSum
from mtgbm.engine.relatedness import Relatedness
from mtgbm.engine.vectors import empty_vectors


class Leaves:
    """A tree of which only the leaves' standardized gradients are known."""

    def __init__(self, steps):
        self.steps = np.asarray(steps, dtype=float)

    def standardized_gradients(self):
        return self.steps


def related_by(trees):
    """What some trees, arrays (n_leaves, n_outputs), show."""
    found = Relatedness(trees[0].shape[1])
    for steps in trees:
        found.observe(Leaves(steps))
    return found


def naive_share(trees, i, j):
    """The formula of the docstring, leaf by leaf."""
    if i == j:
        return 1.0
    total, variance = 0.0, 0.0
    for age, steps in enumerate(reversed(trees)):
        for step in steps:
            product = 0.99**age * step[i] * step[j]
            total += product
            variance += product**2
    z = abs(total) / np.sqrt(variance) if variance > 0 else 0.0
    return min(max((z - 2) / 2, 0.0), 1.0)


def random_trees(seed, n_trees=12, n_leaves=8, n_outputs=4, common=0.0):
    rng = np.random.default_rng(seed)
    shape = (n_trees, n_leaves, n_outputs)
    return list(rng.normal(size=shape) + common * rng.normal(size=(n_trees, n_leaves, 1)))


@given(st.integers(0, 1000), st.integers(1, 6), st.floats(0, 2))
def test_shares_are_those_of_the_formula(seed, n_trees, common):
    trees = random_trees(seed, n_trees, n_leaves=5, n_outputs=3, common=common)
    found = related_by(trees)
    for i in range(3):
        assert_allclose(found.to(i), [naive_share(trees, i, j) for j in range(3)], atol=1e-9)


@given(st.integers(0, 1000), st.lists(st.sampled_from([-3.0, -1.0, 0.5, 2.0]), min_size=4))
def test_only_what_is_common_counts_not_sign_or_size(seed, factors):
    trees = random_trees(seed, common=0.7)
    scaled = [steps * factors[:4] for steps in trees]
    assert_allclose(related_by(scaled).to(1), related_by(trees).to(1), atol=1e-9)


def test_chance_relates_few_outputs_and_none_wholly():
    found = related_by(random_trees(0, n_trees=100, n_leaves=31, n_outputs=50))
    shares = np.array([found.to(output) for output in range(50)])
    others = shares[~np.eye(50, dtype=bool)]
    assert 0 < (others > 0).mean() < 0.07  # two standard deviations: 4.6 %
    assert others.max() < 1
    assert_array_equal(shares, shares.T)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_small_part_in_common_is_found(sign):
    """Correlations of .1, of which the first trees alone say nothing."""
    trees = random_trees(1, n_trees=100, n_leaves=31, n_outputs=6, common=1 / 3)
    trees = [steps * [1, 1, 1, sign, sign, sign] for steps in trees]
    assert related_by(trees[:1]).to(0)[1:].mean() < 0.3
    assert related_by(trees).to(0).min() > 0.5


def test_outputs_are_strangers_before_the_first_tree():
    assert_array_equal(Relatedness(3).to(1), [0, 1, 0])


def test_leaves_without_labels_say_nothing():
    trees = random_trees(2, n_outputs=2, common=3.0)
    alone = [steps * [1, 0] for steps in trees]
    assert_array_equal(related_by(alone).to(0), [1, 0])
    assert_allclose(related_by(trees + alone[:1]).to(0), related_by(trees).to(0), atol=1e-9)


def test_what_was_long_ago_is_forgotten():
    once = random_trees(3, n_trees=10, common=2.0)
    later = random_trees(4, n_trees=1000)
    assert related_by(once).to(0).min() > 0.5
    assert related_by(once + later).to(0)[1:].max() < 0.7


# Who is heard in a round ---------------------------------------------------------------------


class Known:
    """Shares that are given: [leader, output]."""

    def __init__(self, shares):
        self.shares = np.asarray(shares, dtype=float)

    def to(self, output):
        return self.shares[output]


def rounds_of(shares, weights, most, n_rounds=2000):
    """The weights of all outputs in some rounds: (n_rounds, n_outputs)."""
    criterion = GainSum(None, most, np.random.default_rng(0), Known(shares))
    vectors = empty_vectors(2, len(weights))
    found = np.zeros((n_rounds, len(weights)))
    for number in range(n_rounds):
        gradients = criterion.structure(vectors, np.array(weights), 1)
        found[number, gradients.outputs] = gradients.weights
    return found


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0]])
def test_strangers_choose_alone_as_often_as_their_weights_say(weights):
    found = rounds_of(np.eye(4), weights, most=2)
    assert ((found > 0).sum(axis=1) == 1).all()
    assert_array_equal(found.max(axis=0), weights)
    expected = 2000 * np.array(weights) / sum(weights)
    assert np.abs((found > 0).sum(axis=0) - expected).max() < 110  # five standard deviations


def test_relatives_share_a_round_by_how_related_they_are():
    """Output 0 leads in 10 of 13 rounds, and hears 1 three times as often as 2."""
    shares = np.eye(4)
    shares[0] = [1.0, 0.6, 0.2, 0.0]
    found = rounds_of(shares, [10.0, 1.0, 1.0, 1.0], most=2)
    led = found[found[:, 0] > 0]
    assert abs(len(led) - 2000 * 10 / 13) < 100
    assert set(map(tuple, led)) == {(10.0, 0.6, 0.0, 0.0), (10.0, 0.0, 0.2, 0.0)}
    assert abs((led[:, 1] > 0).mean() - 0.75) < 0.1


def test_all_relatives_are_heard_where_there_is_room():
    found = rounds_of(np.full((3, 3), 0.5) + 0.5 * np.eye(3), [1.0, 1.0, 2.0], most=3, n_rounds=50)
    assert set(map(tuple, found)) == {(1, 0.5, 1), (0.5, 1, 1), (0.5, 0.5, 2)}


@given(st.integers(0, 1000), st.integers(1, 8))
def test_never_too_many_and_none_without_a_weight(seed, most):
    rng = np.random.default_rng(seed)
    shares = rng.random((8, 8)) * (rng.random((8, 8)) < 0.5)
    np.fill_diagonal(shares, 1.0)
    weights = rng.random(8) * (rng.random(8) < 0.7)
    weights[rng.integers(8)] = 1.0
    heard = rounds_of(shares, weights, most, n_rounds=20)
    assert ((heard > 0).sum(axis=1) >= 1).all()
    assert ((heard > 0).sum(axis=1) <= most).all()
    assert (heard <= weights).all()
    assert (heard == weights)[:, weights > 0].any(axis=1).all()
