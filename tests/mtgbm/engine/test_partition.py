"""Partitions against their naive twin: the same rows in the same order."""

import numpy as np
import pytest

from mtgbm.engine._partition import partition_rows, partition_rows_naive

MISSING_BIN = 9
NO_BITSET = np.zeros(8, dtype=np.uint32)


def bitset_of(bins):
    bitset = np.zeros(8, dtype=np.uint32)
    for bin in bins:
        bitset[bin // 32] |= np.uint32(1 << bin % 32)
    return bitset


def check(column, rows, left_bins, n_threads, **split):
    """Partition `rows` by the kernel and by its twin."""
    rows = np.array(rows, dtype=np.int32)
    naive = rows.copy()
    buffer = np.full((2, max(1, len(rows))), -1, dtype=np.int32)
    split = {"bin_threshold": 0, "is_categorical": False, "bitset": NO_BITSET} | split
    n_left = partition_rows(column, rows, buffer, n_threads=n_threads, **split)
    assert n_left == partition_rows_naive(column, naive, left_bins)
    np.testing.assert_array_equal(rows, naive)
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
        column, rows, left, n_threads,
        bin_threshold=threshold, missing_left=missing_left, missing_bin=MISSING_BIN,
    )  # fmt: skip
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
    check(
        column, rows, {2}, 1,
        is_categorical=True, bitset=bitset_of({2, MISSING_BIN}), missing_left=False,
        missing_bin=MISSING_BIN,
    )  # fmt: skip


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("rows", [[], [4], [4, 2], [0, 1, 2]])
def test_small_nodes(column, rows, n_threads):
    check(
        column, rows, {*range(5)}, n_threads,
        bin_threshold=4, missing_left=False, missing_bin=MISSING_BIN,
    )  # fmt: skip


@pytest.mark.parametrize(("threshold", "n_left"), [(MISSING_BIN - 1, 700), (0, 0)])
def test_one_side_may_stay_empty(rows, threshold, n_left):
    column = np.full(1000, 3, dtype=np.uint8)
    found = check(
        column, rows, {*range(threshold + 1)}, 4,
        bin_threshold=threshold, missing_left=False, missing_bin=MISSING_BIN,
    )  # fmt: skip
    assert found == n_left
