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
#: Each width that has a loop of its own, and some that share the general one.
LANES = [4, 8, 16, 24, 32, 40]
OUTPUTS = [1, 2, 3, 4, 5, 6, 8, 9, 17]


def leaves_of(sizes, seed=0):
    """Shuffled rows, leaf by leaf, of a table with some rows more; where the leaves start."""
    rng = np.random.default_rng(seed)
    n_rows = sum(sizes)
    rows = rng.permutation(n_rows + 20)[:n_rows].astype(np.int32)
    return rows, [0, *np.cumsum(sizes).tolist()]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("lanes", LANES)
def test_sums_are_exact_for_integers(variant, sizes, lanes):
    rows, starts = leaves_of(sizes)
    vectors = aligned_zeros((len(rows) + 20, lanes), np.float32)
    vectors[:] = np.random.default_rng(1).integers(-1000, 1000, size=vectors.shape)
    sums = variant("mtgbm.engine._leaves").sum_leaves(vectors, rows, starts, 3)
    expected = [
        vectors[rows[first:last]].sum(axis=0, dtype=np.float64) for first, last in pairwise(starts)
    ]
    np.testing.assert_array_equal(sums, expected)


def rounding_vectors(vectors):
    """Fill with numbers of such different sizes that float64 sums depend on their order."""
    rng = np.random.default_rng(1)
    vectors[:] = rng.normal(size=vectors.shape) * 10.0 ** rng.uniform(-12, 12, vectors.shape)
    return vectors


def sum_leaves_naive(vectors, rows, starts):
    """Twin of `sum_leaves`: row after row in chunks, chunk after chunk in leaves."""
    sums = np.zeros((len(starts) - 1, vectors.shape[1]))
    for leaf, (first, last) in enumerate(pairwise(starts)):
        for chunk in range(first, last, CHUNK_ROWS):
            taken = vectors[rows[chunk : min(chunk + CHUNK_ROWS, last)]].astype(np.float64)
            sums[leaf] += np.add.accumulate(taken)[-1]
    return sums


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("n_threads", [1, 2, 3, 7])
def test_sums_have_the_bits_of_the_naive_twin(variant, lanes, n_threads):
    """Rounded sums, which depend on the order of the rows, for any number of threads."""
    rows, starts = leaves_of(SIZES[-1])
    vectors = rounding_vectors(aligned_zeros((len(rows) + 20, lanes), np.float32))
    sums = variant("mtgbm.engine._leaves").sum_leaves(vectors, rows, starts, n_threads)
    np.testing.assert_array_equal(sums, sum_leaves_naive(vectors, rows, starts))


@pytest.mark.parametrize("lanes", LANES)
def test_vectors_may_start_anywhere_in_a_cache_line(variant, lanes):
    rows, starts = leaves_of([1000, 7])
    table = aligned_zeros((len(rows) + 20) * lanes + 1, np.float32)
    vectors = rounding_vectors(table[1:].reshape(-1, lanes))
    sums = variant("mtgbm.engine._leaves").sum_leaves(vectors, rows, np.array(starts), 2)
    np.testing.assert_array_equal(sums, sum_leaves_naive(vectors, rows, starts))


def test_no_rows_sum_to_nothing(variant):
    vectors = aligned_zeros((3, 4), np.float32)
    sums = variant("mtgbm.engine._leaves").sum_leaves(vectors, np.empty(0, np.int32), [0, 0], 2)
    np.testing.assert_array_equal(sums, np.zeros((1, 4)))


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("n_outputs", OUTPUTS)
@pytest.mark.parametrize("n_threads", [1, 3])
def test_every_row_gets_the_value_of_its_leaf(variant, sizes, n_outputs, n_threads):
    rows, starts = leaves_of(sizes)
    rng = np.random.default_rng(2)
    scores = rng.normal(size=(len(rows) + 20, n_outputs))
    values = rng.normal(size=(len(sizes), n_outputs))
    expected = scores.copy()
    expected[rows] += np.repeat(values, sizes, axis=0)
    variant("mtgbm.engine._leaves").add_leaf_values(scores, rows, starts, values, n_threads)
    np.testing.assert_array_equal(scores, expected)
