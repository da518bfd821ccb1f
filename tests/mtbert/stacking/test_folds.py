"""How rows are dealt."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from mtbert.stacking.folds import check_enough_rows, deal_folds, fewest_of_a_class


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(1, 40), min_size=2, max_size=5),
    n_folds=st.integers(2, 6),
    seed=st.integers(0, 2**31),
)
def test_each_class_of_one_task_is_spread_evenly(counts, n_folds, seed):
    labels = np.repeat(np.arange(len(counts)), counts)[:, None].astype(np.int16)
    fold_of = deal_folds(labels, n_folds, seed)
    held = [np.bincount(fold_of[labels[:, 0] == c], minlength=n_folds) for c in range(len(counts))]
    assert np.ptp(held, axis=1).max() <= 1
    assert np.ptp(np.sum(held, axis=0)) <= 1
    assert fold_of.min() >= 0


def test_each_class_of_several_tasks_is_in_each_fold():
    rng = np.random.default_rng(0)
    labels = (rng.random((400, 4)) < [0.5, 0.1, 0.04, 0.9]).astype(np.int16)
    labels[rng.random(labels.shape) < 0.3] = -1
    labels[:, 0] = np.arange(400) % 2
    fold_of = deal_folds(labels, 5, seed=3)
    for column in labels.T:
        for number in (0, 1):
            n_rows = np.bincount(fold_of[column == number], minlength=5)
            assert n_rows.min() >= max(1, int(0.7 * n_rows.mean()))


def test_the_seed_decides():
    labels = np.tile([[0], [1]], (50, 1)).astype(np.int16)
    assert_array_equal(deal_folds(labels, 3, 1), deal_folds(labels, 3, 1))
    assert (deal_folds(labels, 3, 1) != deal_folds(labels, 3, 2)).any()


def test_a_class_with_fewer_rows_than_folds(make_targets, several_tasks):
    targets, labels = make_targets(["a"] * 9 + ["b"] * 2 + ["c"] * 9)
    check_enough_rows(labels, targets, 2)
    with pytest.raises(ValueError, match=r"3 folds, but the class 'b' has only 2; set.*fewer fo"):
        check_enough_rows(labels, targets, 3)
    several_tasks[:, 1] = np.nan
    several_tasks[:4, 1] = [0, 1, 1, 1]
    targets, labels = make_targets(several_tasks)
    with pytest.raises(ValueError, match="the class 0 of task 'task_1' has only 1"):
        check_enough_rows(labels, targets, 2)
    assert fewest_of_a_class(labels) == 1
