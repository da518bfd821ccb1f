"""Missing labels: what stands behind them must not matter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtgbm.objectives import Task

QUICK = settings(deadline=None, max_examples=25)
SEEDS = st.integers(0, 2**32 - 1)
#: Without labels a row still counts for min_child_samples and for the side of the larger child.
COUNTLESS = {"min_child_samples": 1, "num_leaves": 8, "n_rounds": 3}


def problem(seed, n_tasks=2, n_rows=80):
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 12, size=(n_rows, 3)).astype(float)
    X[rng.random(X.shape) < 0.1] = np.nan
    signal = np.nan_to_num(X[:, :1]) + rng.normal(size=(n_rows, n_tasks)) * 4
    return rng, X, (signal > 6).astype(np.int16)


def assert_equal_forests(forest, other):
    np.testing.assert_array_equal(forest.base_score, other.base_score)
    assert len(forest.trees) == len(other.trees)
    for tree, twin in zip(forest.trees, other.trees, strict=True):
        np.testing.assert_array_equal(tree.nodes, twin.nodes)
        np.testing.assert_array_equal(tree.values, twin.values)


@QUICK
@given(SEEDS)
def test_weight_zero_equals_a_missing_label(boost, seed):
    """The label of a row that weighs nothing is as good as none."""
    rng, X, labels = problem(seed)
    hidden = rng.random(labels.shape) < 0.3
    masked = np.where(hidden, -1, labels)
    weights = np.where(hidden, 0, 1).astype(np.float32)
    forest, _ = boost(X, masked, **COUNTLESS)
    weighted, _ = boost(X, labels, row_weights=weights, **COUNTLESS)
    assert_equal_forests(forest, weighted)


@QUICK
@given(SEEDS, st.integers(-30_000, -1))
def test_any_negative_label_is_missing(boost, seed, other):
    """Whatever value and weight stand behind the missing labels of one task."""
    rng, X, labels = problem(seed)
    hidden = rng.random(len(X)) < 0.4
    labels[hidden, 1] = -1
    behind = labels.copy()
    behind[hidden, 1] = rng.integers(other, 0, size=hidden.sum())
    weights = np.ones(labels.shape, np.float32)
    weights[hidden, 1] = rng.random(hidden.sum()) * 100
    forest, _ = boost(X, labels, **COUNTLESS)
    arbitrary, _ = boost(X, behind, row_weights=weights, **COUNTLESS)
    assert_equal_forests(forest, arbitrary)


@QUICK
@given(SEEDS)
def test_rows_without_label_of_a_single_task_might_as_well_not_be_there(grow, seed):
    """On gradients whose sums are exact, or ties would be broken by rounding."""
    rng, X, _ = problem(seed)
    g = rng.integers(-8, 9, size=(80, 1)).astype(np.float32)
    h = rng.integers(1, 5, size=(80, 1)).astype(np.float32)
    known = rng.random(80) < 0.6
    whole = grow(X, np.where(known[:, None], g, 0), np.where(known[:, None], h, 0), num_leaves=12)
    kept = grow(X[known], g[known], h[known], mapper=whole.mapper, num_leaves=12)
    np.testing.assert_array_equal(
        whole.tree.values[whole.leaf_of_rows()[known]], kept.tree.values[kept.leaf_of_rows()]
    )
    assert whole.tree.n_leaves == kept.tree.n_leaves > 1


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("min_child_weight", [0.0, 1e-3])
def test_no_rounding_error_votes_in_place_of_labels(grow, seed, min_child_weight):
    """All labelled rows share one bin of each feature, so that there is nothing to split."""
    rng = np.random.default_rng(seed)
    X = rng.integers(1, 5, size=(20_000, 3)).astype(float)
    X[:12_000] = 0
    known = np.arange(20_000)[:, None] < 12_000
    g, h = (np.where(known, rng.random((20_000, 1)), 0) for _ in range(2))
    assert grow(X, g, h, min_child_weight=min_child_weight).tree.n_leaves == 1


@QUICK
@given(SEEDS)
def test_a_task_without_labels_changes_nothing(boost, seed):
    _, X, labels = problem(seed)
    labels = np.insert(labels, 1, -1, axis=1)
    three, _ = boost(X, labels, **COUNTLESS)
    two, _ = boost(X, labels[:, [0, 2]], **COUNTLESS)
    assert three.base_score[1] == 0
    for tree, twin in zip(three.trees, two.trees, strict=True):
        np.testing.assert_array_equal(tree.nodes, twin.nodes)
        np.testing.assert_array_equal(tree.values[:, [0, 2]], twin.values)
        np.testing.assert_array_equal(tree.values[:, 1], 0)


@pytest.mark.parametrize("criterion", ["gain_sum", "gradient_sum"])
def test_disjoint_labels_are_learnt_side_by_side(boost, criterion):
    """No row is labelled for both tasks, and each task is learnt from its own rows."""
    _, X, labels = problem(3, n_rows=400)
    labels[::2, 0] = labels[1::2, 1] = -1
    forest, _ = boost(X, labels, criterion=criterion, n_rounds=20, min_child_samples=5)
    scores = forest.raw_predict(X, 1)
    for task in range(2):
        known = labels[:, task] >= 0
        positive = labels[known, task] == 1
        assert scores[known, task][positive].mean() > scores[known, task][~positive].mean() + 1


def test_no_labels_at_all_grow_no_tree(boost):
    _, X, labels = problem(0)
    forest, _ = boost(X, np.full_like(labels, -1), **COUNTLESS)
    assert forest.trees == []
    np.testing.assert_array_equal(forest.raw_predict(X, 1), np.zeros(labels.shape))


def test_missing_classes_of_a_multiclass_task(boost):
    rng, X, _ = problem(1, n_rows=200)
    tasks = [Task("a"), Task("m", "multiclass", 3)]
    labels = np.stack([rng.integers(0, 2, 200), rng.integers(0, 3, 200)], axis=1)
    hidden = rng.random(200) < 0.5
    weights = np.ones((200, 2), np.float32)
    weights[hidden, 1] = 0
    weighted, _ = boost(X, labels, tasks=tasks, row_weights=weights, **COUNTLESS)
    labels[hidden, 1] = -1
    masked, _ = boost(X, labels, tasks=tasks, **COUNTLESS)
    assert_equal_forests(masked, weighted)
