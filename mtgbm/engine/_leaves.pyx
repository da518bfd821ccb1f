"""What happens to rows once the structure of a tree is known: leaf sums and score updates.

The rows of leaf l are rows[starts[l] : starts[l + 1]]. Leaves are cut into chunks of fixed length,
which are summed in parallel and then added in order: the same bits for any number of threads.

    leaf 0              leaf 1      leaf 2
    | chunk 0 | chunk 1 | chunk 2 | chunk 3 |
"""

from cython.parallel cimport prange
from libc.string cimport memset

from mtgbm.engine._common cimport int32_t

import numpy as np

cdef enum:
    CHUNK_ROWS = 8192


def _chunks(starts):
    """First row, last row and leaf of each chunk, as an (n_chunks, 3) array."""
    table = []
    for leaf in range(len(starts) - 1):
        for first in range(starts[leaf], starts[leaf + 1], CHUNK_ROWS):
            table.append((first, min(first + CHUNK_ROWS, starts[leaf + 1]), leaf))
    return np.array(table, dtype=np.int32).reshape(-1, 3)


cdef void _sum_rows(
    const int32_t *rows, Py_ssize_t n, const float *vectors, int lanes, double *out,
) noexcept nogil:
    cdef:
        Py_ssize_t i
        int k
        const float *vector
    memset(out, 0, lanes * sizeof(double))
    for i in range(n):
        vector = &vectors[<Py_ssize_t> rows[i] * lanes]
        for k in range(lanes):
            out[k] += vector[k]


def sum_leaves(
    const float[:, ::1] vectors,       # IN (n_rows, lanes)
    const int32_t[::1] rows,           # IN the rows, leaf by leaf
    starts,                            # IN (n_leaves + 1,) where each leaf's rows start
    int n_threads,
):
    """Sum the row vectors of each leaf: (n_leaves, lanes) float64."""
    cdef:
        const int32_t[:, ::1] chunks = _chunks(starts)
        double[:, ::1] partial = np.empty((chunks.shape[0], vectors.shape[1]))
        int lanes = vectors.shape[1]
        int c, k
    out = np.zeros((len(starts) - 1, lanes))
    cdef double[:, ::1] sums = out
    for c in prange(chunks.shape[0], nogil=True, schedule="dynamic", num_threads=n_threads):
        _sum_rows(&rows[0] + chunks[c, 0], chunks[c, 1] - chunks[c, 0], &vectors[0, 0], lanes,
                  &partial[c, 0])
    for c in range(chunks.shape[0]):
        for k in range(lanes):
            sums[chunks[c, 2], k] += partial[c, k]
    return out


cdef void _add_value(
    const int32_t *rows, Py_ssize_t n, const double *value, int n_outputs, double *scores,
) noexcept nogil:
    cdef:
        Py_ssize_t i
        int k
        double *score
    for i in range(n):
        score = &scores[<Py_ssize_t> rows[i] * n_outputs]
        for k in range(n_outputs):
            score[k] += value[k]


def add_leaf_values(
    double[:, ::1] scores,             # IN OUT (n_rows, n_outputs)
    const int32_t[::1] rows,           # IN the rows, leaf by leaf
    starts,                            # IN (n_leaves + 1,)
    const double[:, ::1] values,       # IN (n_leaves, n_outputs)
    int n_threads,
):
    """Add to each row's scores the values of its leaf."""
    cdef:
        const int32_t[:, ::1] chunks = _chunks(starts)
        int n_outputs = values.shape[1]
        int c
    for c in prange(chunks.shape[0], nogil=True, schedule="dynamic", num_threads=n_threads):
        _add_value(&rows[0] + chunks[c, 0], chunks[c, 1] - chunks[c, 0],
                   &values[chunks[c, 2], 0], n_outputs, &scores[0, 0])
