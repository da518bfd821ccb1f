"""Monotone constraints hold for every task of a whole forest."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

QUICK = settings(deadline=None, max_examples=60)
#: Feature 0 rises in the first task and falls in the second; feature 1 binds only the second.
DIRECTIONS = np.array([[1, -1, 0], [0, 1, 0], [0, 0, 0]], dtype=np.int32)
ROWS = hnp.arrays(float, (8, 3), elements=st.floats(-3, 3) | st.just(np.nan))


@pytest.fixture(scope="module")
def forests(boost):
    """A forest with constraints and one without, on labels that defy them in places."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 3))
    z = np.stack([np.sin(3 * X[:, 0]), np.cos(2 * X[:, 0]) + X[:, 1] ** 2, X.sum(axis=1)], axis=1)
    labels = (z + 0.3 * rng.normal(size=z.shape) > 0.3).astype(int)
    labels[rng.random(labels.shape) < 0.2] = -1
    options = {"n_rounds": 15, "min_child_samples": 5, "reg_lambda": 1.0}
    free, _ = boost(X, labels, **options)
    bound, _ = boost(X, labels, monotone=DIRECTIONS, **options)
    return bound, free


def violations(forest, X, feature):
    """Tasks whose score goes against its direction as one feature grows from -4 to 4."""
    steps = np.linspace(-4, 4, 60)
    grid = np.repeat(X, len(steps), axis=0)
    grid[:, feature] = np.tile(steps, len(X))
    scores = forest.raw_predict(grid, 1).reshape(len(X), len(steps), -1)
    against = np.diff(scores, axis=1) * DIRECTIONS[feature] < -1e-12
    return set(np.flatnonzero(against.any(axis=(0, 1))))


@QUICK
@given(ROWS, st.sampled_from([0, 1]))
def test_scores_follow_the_directions_of_each_task(forests, X, feature):
    assert violations(forests[0], X, feature) == set()


@QUICK
@given(ROWS, st.lists(st.floats(-5, 5), min_size=8, max_size=8))
def test_random_pairs_are_in_order(forests, X, other):
    """Rows that differ in feature 0 only."""
    low, high = X.copy(), X.copy()
    low[:, 0], high[:, 0] = np.sort([np.nan_to_num(X[:, 0]), other], axis=0)
    rise = forests[0].raw_predict(high, 1) - forests[0].raw_predict(low, 1)
    assert (rise[:, 0] >= -1e-12).all()
    assert (rise[:, 1] <= 1e-12).all()


def test_the_labels_defy_the_constraints(forests):
    """Without them every bound task goes the other way somewhere: the tests above can fail."""
    X = np.random.default_rng(1).normal(size=(50, 3))
    assert violations(forests[1], X, 0) == {0, 1}
    assert violations(forests[1], X, 1) == {1}
    values = [tree.values.any() for tree in forests[0].trees]
    assert all(values)


def test_leaves_of_one_tree_by_hand(grow):
    """The free values, 1 and -1, would fall: of a rising task nothing is left to gain."""
    X = np.array([[1.0], [2.0], [3.0]])
    rising = np.ones((1, 1), dtype=np.int32)
    assert grow(X, [[-1], [1], [1]], monotone=rising).tree.n_leaves == 1
    tree = grow(X, [[-1], [1], [1]], monotone=-rising).tree
    np.testing.assert_array_equal(tree.values, [[1], [-1]])


def test_later_splits_stay_on_their_side_of_the_middle(grow):
    """The root parts the rows at -4 and 4. Below 0 no leaf may rise, above it none may fall."""
    X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=float)
    g = np.array([[14.0], [-6.0], [-9.0], [1.0]])
    rising = np.array([[1], [0]], dtype=np.int32)
    free, bound = grow(X, g), grow(X, g, monotone=rising)
    np.testing.assert_array_equal(free.tree.values[free.leaf_of_rows(), 0], [-14, 6, 9, -1])
    np.testing.assert_array_equal(bound.tree.values[bound.leaf_of_rows(), 0], [-14, 0, 9, 0])
