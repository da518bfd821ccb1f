"""Leaf sums and score updates against numpy, across the borders of the kernel's chunks."""

from itertools import pairwise

import numpy as np
import pytest

from mtgbm.engine.vectors import aligned_zeros

CHUNK_ROWS = 8192
SIZES = [
    [10],
    [1, 0, 5, 0],
    [CHUNK_ROWS, CHUNK_ROWS + 1, CHUNK_ROWS - 1],
    [3 * CHUNK_ROWS + 7, 2],
]


def leaves_of(sizes, seed=0):
    """Shuffled rows, leaf by leaf, of a table with some rows more; where the leaves start."""
    rng = np.random.default_rng(seed)
    n_rows = sum(sizes)
    rows = rng.permutation(n_rows + 20)[:n_rows].astype(np.int32)
    return rows, [0, *np.cumsum(sizes).tolist()]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("lanes", [4, 8, 40])
def test_sums_are_exact_for_integers(variant, sizes, lanes):
    rows, starts = leaves_of(sizes)
    vectors = aligned_zeros((len(rows) + 20, lanes), np.float32)
    vectors[:] = np.random.default_rng(1).integers(-1000, 1000, size=vectors.shape)
    sums = variant("mtgbm.engine._leaves").sum_leaves(vectors, rows, starts, 3)
    expected = [
        vectors[rows[first:last]].sum(axis=0, dtype=np.float64) for first, last in pairwise(starts)
    ]
    np.testing.assert_array_equal(sums, expected)


@pytest.mark.parametrize("n_threads", [2, 3, 7])
def test_sums_do_not_depend_on_the_number_of_threads(variant, n_threads):
    kernel = variant("mtgbm.engine._leaves")
    rows, starts = leaves_of(SIZES[-1])
    vectors = aligned_zeros((len(rows) + 20, 4), np.float32)
    vectors[:] = np.random.default_rng(1).normal(size=vectors.shape)
    one = kernel.sum_leaves(vectors, rows, starts, 1)
    np.testing.assert_array_equal(kernel.sum_leaves(vectors, rows, starts, n_threads), one)
    first = vectors[rows[: starts[1]]].sum(axis=0, dtype=np.float64)
    np.testing.assert_allclose(one[0], first, rtol=1e-9, atol=1e-9)


def test_no_rows_sum_to_nothing(variant):
    vectors = aligned_zeros((3, 4), np.float32)
    sums = variant("mtgbm.engine._leaves").sum_leaves(vectors, np.empty(0, np.int32), [0, 0], 2)
    np.testing.assert_array_equal(sums, np.zeros((1, 4)))


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("n_threads", [1, 3])
def test_every_row_gets_the_value_of_its_leaf(variant, sizes, n_threads):
    rows, starts = leaves_of(sizes)
    rng = np.random.default_rng(2)
    scores = rng.normal(size=(len(rows) + 20, 3))
    values = rng.normal(size=(len(sizes), 3))
    expected = scores.copy()
    expected[rows] += np.repeat(values, sizes, axis=0)
    variant("mtgbm.engine._leaves").add_leaf_values(scores, rows, starts, values, n_threads)
    np.testing.assert_array_equal(scores, expected)
