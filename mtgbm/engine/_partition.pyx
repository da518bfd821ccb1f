"""The rows of a node, split between its children in place.

`rows` holds every row of the tree, node by node. A split rewrites the part of its node; both sides
keep their order, so the result cannot depend on the number of threads:

    rows        | a b c d | e f g h |      two chunks, one per thread; left = {a, c, d, g}
    1. sort     | a c d . | g . . . |      each thread moves its left rows to the front of its
    buffer      | b . . . | e f h . |      chunk, which it has read by then, its right rows out
    2. left     | a c d g | . . . . |      the left runs move up, one after the other
    3. right    | a c d g | b e f h |      each thread copies its right run back
"""

from cython.parallel cimport prange
from libc.string cimport memcpy, memmove

from mtgbm.engine._common cimport MAX_BINS, feature_t, int32_t, split_t, uint8_t

import numpy as np

cdef enum:
    MAX_CHUNKS = 256


cdef inline bint _goes_left(int bin, const split_t *split, int missing_bin) noexcept nogil:
    """The rule of a split on binned data; _predictor.pyx has the same on raw data."""
    if bin == missing_bin:
        return split.missing_left
    if split.is_categorical:
        return (split.bitset[bin >> 5] >> (bin & 31)) & 1
    return bin <= split.bin_threshold


cdef Py_ssize_t _sort_chunk(
    const uint8_t *column,             # IN
    const uint8_t *goes_left,          # IN for each bin
    int32_t *rows,                     # IN (n,) OUT as many as are returned
    int32_t *right,                    # OUT (n,), the others
    Py_ssize_t n,
) noexcept nogil:
    """Sort a chunk. Both writes always happen and only the positions move: no branch to predict."""
    cdef:
        Py_ssize_t i, n_left = 0
        int32_t row
    for i in range(n):
        row = rows[i]
        rows[n_left] = row
        right[i - n_left] = row
        n_left += goes_left[column[row]]
    return n_left


cdef class RowPartition:
    """Splits the rows of one tree, node by node.

    Parameters
    ----------
    by_column : ndarray of uint8 of shape (n_features, n_rows)
        The bins.
    rows : ndarray of int32
        The rows of the tree; reordered in place.
    buffer : ndarray of int32 of shape (at least len(rows),)
        Scratch.
    features : ndarray of FEATURE_DTYPE of shape (n_features,)
    splits : ndarray of SPLIT_DTYPE of shape (n_nodes,)
    """
    cdef:
        const uint8_t[:, ::1] by_column
        int32_t[::1] rows
        int32_t[::1] buffer
        const feature_t[::1] features
        const split_t[::1] splits

    def __init__(self, const uint8_t[:, ::1] by_column, int32_t[::1] rows, int32_t[::1] buffer,
                 const feature_t[::1] features, const split_t[::1] splits):
        self.by_column, self.rows, self.buffer = by_column, rows, buffer
        self.features, self.splits = features, splits

    def split(self, int node, Py_ssize_t start, Py_ssize_t stop, int n_threads):
        """Put those of rows[start:stop] first that go left by the split of `node`.

        Both sides keep their order. Returns how many go left.
        """
        cdef:
            uint8_t goes_left[MAX_BINS]
            const split_t *split = &self.splits[node]
            int bin, missing_bin = self.features[split.feature].n_bins
        if start == stop:
            return 0
        for bin in range(MAX_BINS):
            goes_left[bin] = _goes_left(bin, split, missing_bin)
        return _partition(&self.by_column[split.feature, 0], goes_left, &self.rows[start],
                          &self.buffer[0], stop - start, min(n_threads, MAX_CHUNKS))


cdef Py_ssize_t _partition(
    const uint8_t *column,             # IN the bins of the split's feature, one per row of X
    const uint8_t *goes_left,          # IN for each bin
    int32_t *rows,                     # IN OUT (n,)
    int32_t *buffer,                   # scratch (n,)
    Py_ssize_t n,
    int n_chunks,
) noexcept:
    cdef:
        int chunk
        Py_ssize_t left_at = 0, right_at
        Py_ssize_t starts[MAX_CHUNKS + 1]
        Py_ssize_t n_left[MAX_CHUNKS]
        Py_ssize_t right_to[MAX_CHUNKS]
    for chunk in range(n_chunks + 1):
        starts[chunk] = n * chunk // n_chunks
    with nogil:
        for chunk in prange(n_chunks, schedule="static", num_threads=n_chunks):
            n_left[chunk] = _sort_chunk(
                column, goes_left, rows + starts[chunk], buffer + starts[chunk],
                starts[chunk + 1] - starts[chunk])
        for chunk in range(n_chunks):
            memmove(rows + left_at, rows + starts[chunk], n_left[chunk] * sizeof(int32_t))
            left_at += n_left[chunk]
        right_at = left_at
        for chunk in range(n_chunks):
            right_to[chunk] = right_at
            right_at += starts[chunk + 1] - starts[chunk] - n_left[chunk]
        for chunk in prange(n_chunks, schedule="static", num_threads=n_chunks):
            memcpy(rows + right_to[chunk], buffer + starts[chunk],
                   (starts[chunk + 1] - starts[chunk] - n_left[chunk]) * sizeof(int32_t))
    return left_at


def partition_rows_naive(column, rows, left_bins):
    """Twin of `RowPartition.split` for the tests: `left_bins` is the set of bins that go left."""
    goes_left = np.isin(column[rows], list(left_bins))
    rows[:] = np.concatenate([rows[goes_left], rows[~goes_left]])
    return int(goes_left.sum())
