"""The rows of a node, split between its children in place.

`rows` holds every row of the tree, node by node. A split rewrites the part of its node; both sides
keep their order, so the result cannot depend on the number of threads:

    rows        | a b c d | e f g h |      two chunks, one per thread; left = {a, c, d, g}
    1. sort     | a c d . | g . . . |      each thread writes its left rows to the first half of
                | b . . . | e f h . |      the buffer, its right rows to the second half
    2. offsets    left of chunk 0 goes to 0, of chunk 1 to 3; right to 4 and to 5
    3. copy     | a c d g | b e f h |      each thread copies its own two runs
"""

from cython.parallel cimport prange
from libc.string cimport memcpy

from mtgbm.engine._common cimport MAX_BINS, int32_t, uint8_t, uint32_t

import numpy as np

cdef enum:
    MAX_CHUNKS = 256


cdef inline bint _goes_left(
    int bin, int bin_threshold, bint missing_left, int missing_bin,
    bint is_categorical, const uint32_t *bitset,
) noexcept nogil:
    """The rule of a split on binned data; _predictor.pyx has the same on raw data."""
    if bin == missing_bin:
        return missing_left
    if is_categorical:
        return (bitset[bin >> 5] >> (bin & 31)) & 1
    return bin <= bin_threshold


cdef Py_ssize_t _sort_chunk(
    const uint8_t *column,             # IN
    const uint8_t *goes_left,          # IN for each bin
    const int32_t *rows,               # IN (n,)
    int32_t *left,                     # OUT (n,), as many as are returned
    int32_t *right,                    # OUT (n,), the others
    Py_ssize_t n,
) noexcept nogil:
    """Sort a chunk. Both writes always happen and only the positions move: no branch to predict."""
    cdef:
        Py_ssize_t i, n_left = 0
        int32_t row
    for i in range(n):
        row = rows[i]
        left[n_left] = row
        right[i - n_left] = row
        n_left += goes_left[column[row]]
    return n_left


def partition_rows(
    const uint8_t[::1] column,         # IN the bins of the split's feature, one per row of X
    int32_t[::1] rows,                 # IN OUT the node's rows
    int32_t[:, ::1] buffer,            # scratch (2, at least len(rows))
    int bin_threshold,
    bint missing_left,
    int missing_bin,
    bint is_categorical,
    const uint32_t[::1] bitset,
    int n_threads,
):
    """Put the rows that go left first, both sides in their old order; return how many those are."""
    cdef:
        Py_ssize_t n = rows.shape[0]
        int n_chunks = min(n_threads, MAX_CHUNKS)
        int chunk, bin
        Py_ssize_t left_at = 0, right_at
        Py_ssize_t starts[MAX_CHUNKS + 1]
        Py_ssize_t n_left[MAX_CHUNKS]
        Py_ssize_t left_to[MAX_CHUNKS]
        Py_ssize_t right_to[MAX_CHUNKS]
        uint8_t goes_left[MAX_BINS]
    if n == 0:
        return 0
    for bin in range(MAX_BINS):
        goes_left[bin] = _goes_left(bin, bin_threshold, missing_left, missing_bin,
                                    is_categorical, &bitset[0])
    for chunk in range(n_chunks + 1):
        starts[chunk] = n * chunk // n_chunks
    with nogil:
        for chunk in prange(n_chunks, schedule="static", num_threads=n_threads):
            n_left[chunk] = _sort_chunk(
                &column[0], goes_left, &rows[0] + starts[chunk], &buffer[0, 0] + starts[chunk],
                &buffer[1, 0] + starts[chunk], starts[chunk + 1] - starts[chunk])
        for chunk in range(n_chunks):
            left_to[chunk] = left_at
            left_at += n_left[chunk]
        right_at = left_at
        for chunk in range(n_chunks):
            right_to[chunk] = right_at
            right_at += starts[chunk + 1] - starts[chunk] - n_left[chunk]
        for chunk in prange(n_chunks, schedule="static", num_threads=n_threads):
            memcpy(&rows[0] + left_to[chunk], &buffer[0, 0] + starts[chunk],
                   n_left[chunk] * sizeof(int32_t))
            memcpy(&rows[0] + right_to[chunk], &buffer[1, 0] + starts[chunk],
                   (starts[chunk + 1] - starts[chunk] - n_left[chunk]) * sizeof(int32_t))
    return left_at


def partition_rows_naive(column, rows, left_bins):
    """Twin of `partition_rows` for the tests: `left_bins` is the set of bins that go left."""
    goes_left = np.isin(column[rows], list(left_bins))
    rows[:] = np.concatenate([rows[goes_left], rows[~goes_left]])
    return int(goes_left.sum())
