"""Partitions against their naive twin: the same rows in the same order."""

import numpy as np
import pytest

from mtgbm.engine._common import FEATURE_DTYPE, SPLIT_DTYPE
from mtgbm.engine._partition import RowPartition, partition_rows_naive

MISSING_BIN = 9
#: Rows of the tree that belong to other nodes, before and after the node that is split.
OTHERS_BEFORE, OTHERS_AFTER = 5, 3


def bitset_of(bins):
    bitset = np.zeros(8, dtype=np.uint32)
    for bin in bins:
        bitset[bin // 32] |= np.uint32(1 << bin % 32)
    return bitset


def check(column, rows, left_bins, n_threads, *, missing_bin=MISSING_BIN, **split):
    """Partition `rows`, those of node 2 of a tree, by the kernel and by its twin."""
    by_column = np.stack([np.zeros_like(column), column])
    features = np.zeros(2, dtype=FEATURE_DTYPE)
    features["n_bins"] = [1, missing_bin]
    splits = np.zeros(3, dtype=SPLIT_DTYPE)
    splits["feature"][2] = 1
    for name, value in split.items():
        splits[name][2] = value
    all_rows = np.full(OTHERS_BEFORE + len(rows) + OTHERS_AFTER, -1, dtype=np.int32)
    start, stop = OTHERS_BEFORE, OTHERS_BEFORE + len(rows)
    all_rows[start:stop] = rows
    naive = all_rows.copy()
    buffer = np.full(len(all_rows), -1, dtype=np.int32)
    partition = RowPartition(by_column, all_rows, buffer, features, splits)
    n_left = partition.split(2, start, stop, n_threads)
    assert n_left == partition_rows_naive(column, naive[start:stop], left_bins)
    np.testing.assert_array_equal(all_rows, naive)
    return n_left


@pytest.fixture
def column():
    return np.random.default_rng(0).integers(0, MISSING_BIN + 1, size=1000, dtype=np.uint8)


@pytest.fixture
def rows():
    """Most rows of the table, in an order of their own."""
    return np.random.default_rng(1).permutation(1000)[:700]


@pytest.mark.parametrize("n_threads", [1, 2, 3, 7, 16, 300])
@pytest.mark.parametrize("missing_left", [False, True])
@pytest.mark.parametrize("threshold", [0, 4, 8])
def test_numeric(column, rows, threshold, missing_left, n_threads):
    left = {*range(threshold + 1)} | ({MISSING_BIN} if missing_left else set())
    n_left = check(
        column, rows, left, n_threads, bin_threshold=threshold, missing_left=missing_left
    )
    assert 0 < n_left <= len(rows)


@pytest.mark.parametrize("n_threads", [1, 2, 7])
@pytest.mark.parametrize("missing_left", [False, True])
@pytest.mark.parametrize("left", [{0}, {1, 31, 32, 33}, {63, 64, 200}, {*range(254)}, set()])
def test_categorical(left, missing_left, n_threads):
    """Bins on both sides of the 32-bit words; 254 is the missing bin."""
    column = np.random.default_rng(2).integers(0, 255, size=3000, dtype=np.uint8)
    check(
        column, range(3000), left | ({254} if missing_left else set()), n_threads,
        is_categorical=True, bitset=bitset_of(left), missing_left=missing_left, missing_bin=254,
    )  # fmt: skip


def test_the_missing_bin_ignores_its_own_bit(column, rows):
    bitset = bitset_of({2, MISSING_BIN})
    check(column, rows, {2}, 1, is_categorical=True, bitset=bitset, missing_left=False)


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("rows", [[], [4], [4, 2], [0, 1, 2]])
def test_small_nodes(column, rows, n_threads):
    check(column, rows, {*range(5)}, n_threads, bin_threshold=4, missing_left=False)


@pytest.mark.parametrize(("threshold", "n_left"), [(MISSING_BIN - 1, 700), (0, 0)])
def test_one_side_may_stay_empty(rows, threshold, n_left):
    column = np.full(1000, 3, dtype=np.uint8)
    left = {*range(threshold + 1)}
    assert check(column, rows, left, 4, bin_threshold=threshold, missing_left=False) == n_left


def test_node_after_node(column):
    """The children of a node are partitioned in their turn, each in its own part of the rows."""
    features = np.zeros(1, dtype=FEATURE_DTYPE)
    features["n_bins"] = MISSING_BIN
    splits = np.zeros(3, dtype=SPLIT_DTYPE)
    splits["bin_threshold"] = [4, 2, 7]
    rows = np.arange(1000, dtype=np.int32)
    buffer = np.empty(1000, dtype=np.int32)
    partition = RowPartition(column[None], rows, buffer, features, splits)
    middle = partition.split(0, 0, 1000, 2)
    ends = partition.split(1, 0, middle, 2), middle + partition.split(2, middle, 1000, 2)
    parts = np.split(rows, [ends[0], middle, ends[1]])
    for part, (least, most) in zip(parts, [(0, 2), (3, 4), (5, 7), (8, 9)], strict=True):
        expected = np.flatnonzero((column >= least) & (column <= most))
        np.testing.assert_array_equal(part, expected)
