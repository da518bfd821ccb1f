"""What happens to rows once the structure of a tree is known: leaf sums and score updates.

The rows of leaf l are rows[starts[l] : starts[l + 1]]. Leaves are cut into chunks of fixed length,
which are summed in parallel and then added in order: the same bits for any number of threads.

    leaf 0              leaf 1      leaf 2
    | chunk 0 | chunk 1 | chunk 2 | chunk 3 |

The rows of a leaf lie scattered over the table, too far apart for the processor to foresee: every
loop sends for a later row while it works on this one.
"""

from cython.parallel cimport prange
from libc.string cimport memset

from mtgbm.engine._common cimport int32_t, int64_t

import numpy as np

cdef extern from *:
    """
    #define MTGBM_PREFETCH(address) __builtin_prefetch(address)
    #define MTGBM_PREFETCH_TO_WRITE(address) __builtin_prefetch(address, 1)
    /* Blocks of 4 and 8 lanes: left to itself, the compiler unrolls short loops over lanes into
       scalar code. Neither row vectors nor sums need be aligned to blocks. */
    typedef double doubles4_t __attribute__((vector_size(32), aligned(8), may_alias));
    typedef double doubles8_t __attribute__((vector_size(64), aligned(8), may_alias));
    typedef float mtgbm_float4 __attribute__((vector_size(16), aligned(4), may_alias));
    typedef float mtgbm_float8 __attribute__((vector_size(32), aligned(4), may_alias));
    #define MTGBM_DOUBLE4(source) \\
        __builtin_convertvector(*(const mtgbm_float4 *)(source), doubles4_t)
    #define MTGBM_DOUBLE8(source) \\
        __builtin_convertvector(*(const mtgbm_float8 *)(source), doubles8_t)
    """
    void MTGBM_PREFETCH(const void *address) noexcept nogil
    void MTGBM_PREFETCH_TO_WRITE(const void *address) noexcept nogil
    # To Cython these are numbers, of different types so that it can tell them apart; in C they add
    # lane by lane.
    ctypedef double doubles4_t
    ctypedef long double doubles8_t
    doubles4_t MTGBM_DOUBLE4(const void *source) noexcept nogil
    doubles8_t MTGBM_DOUBLE8(const void *source) noexcept nogil

ctypedef fused block_t:
    doubles4_t
    doubles8_t

cdef enum:
    CHUNK_ROWS = 8192
    PREFETCH_ROWS = 32      # enough to hide main memory, few enough to stay in the cache
    MOST_BLOCKS = 3         # blocks of 8 lanes that are summed in registers
    MOST_VALUES = 8         # values of a leaf that stay in registers


cdef const int32_t[:, ::1] _chunks(starts):
    """First row, last row and leaf of each chunk: (n_chunks, 3)."""
    cdef:
        const int64_t[::1] start = np.asarray(starts, dtype=np.int64)
        Py_ssize_t n_leaves = start.shape[0] - 1, leaf
        int64_t n_rows = start[n_leaves] - start[0], first
        int32_t[:, ::1] table = np.empty((n_rows // CHUNK_ROWS + n_leaves, 3), dtype=np.int32)
        int n_chunks = 0
    for leaf in range(n_leaves):
        first = start[leaf]
        while first < start[leaf + 1]:
            table[n_chunks, 0] = first
            first = min(first + CHUNK_ROWS, start[leaf + 1])
            table[n_chunks, 1] = first
            table[n_chunks, 2] = leaf
            n_chunks += 1
    return table[:n_chunks]


cdef inline void _send_for_vector(const float *vector, int lanes) noexcept nogil:
    """Row vectors start on a line or, if they are an odd number of halves long, on its middle."""
    cdef int lane
    for lane in range(0, lanes, 16):
        MTGBM_PREFETCH(vector + lane)


cdef inline void _send_for_scores(const double *scores, int n_outputs) noexcept nogil:
    """Scores start anywhere in a line, so that the last may lie on one more."""
    cdef int k
    for k in range(0, n_outputs, 8):
        MTGBM_PREFETCH_TO_WRITE(scores + k)
    MTGBM_PREFETCH_TO_WRITE(scores + n_outputs - 1)


cdef inline void _widen(const float *source, block_t *block) noexcept nogil:
    if block_t is doubles4_t:
        block[0] = MTGBM_DOUBLE4(source)
    else:
        block[0] = MTGBM_DOUBLE8(source)


cdef inline void _sum_blocks(
    const int32_t *rows, Py_ssize_t n, const float *vectors, block_t *out, const int n_blocks,
) noexcept nogil:
    """`n_blocks` is a literal, so that the sums stay in registers."""
    cdef:
        Py_ssize_t i
        int b, block_lanes = sizeof(block_t) // sizeof(double), lanes = n_blocks * block_lanes
        const float *vector
        block_t block
        block_t sums[MOST_BLOCKS]
    memset(sums, 0, n_blocks * sizeof(block_t))
    for i in range(n):
        vector = vectors + <Py_ssize_t> rows[min(i + PREFETCH_ROWS, n - 1)] * lanes
        _send_for_vector(vector, lanes)
        vector = vectors + <Py_ssize_t> rows[i] * lanes
        for b in range(n_blocks):
            _widen(vector + b * block_lanes, &block)
            sums[b] += block
    for b in range(n_blocks):
        out[b] = sums[b]


cdef void _sum_wide(
    const int32_t *rows, Py_ssize_t n, const float *vectors, int lanes, double *out,
) noexcept nogil:
    """`_sum_blocks` for any number of lanes, with the sums in the cache."""
    cdef:
        Py_ssize_t i
        int k
        const float *vector
    memset(out, 0, lanes * sizeof(double))
    for i in range(n):
        vector = vectors + <Py_ssize_t> rows[min(i + PREFETCH_ROWS, n - 1)] * lanes
        _send_for_vector(vector, lanes)
        vector = vectors + <Py_ssize_t> rows[i] * lanes
        for k in range(lanes):
            out[k] += vector[k]


cdef void _sum_rows(
    const int32_t *rows, Py_ssize_t n, const float *vectors, int lanes, double *out,
) noexcept nogil:
    """Choose the loop compiled for this number of lanes."""
    if lanes == 4:
        _sum_blocks(rows, n, vectors, <doubles4_t *> out, 1)
    elif lanes == 8:
        _sum_blocks(rows, n, vectors, <doubles8_t *> out, 1)
    elif lanes == 16:
        _sum_blocks(rows, n, vectors, <doubles8_t *> out, 2)
    elif lanes == 24:
        _sum_blocks(rows, n, vectors, <doubles8_t *> out, 3)
    else:
        _sum_wide(rows, n, vectors, lanes, out)


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


cdef inline void _add_values(
    const int32_t *rows, Py_ssize_t n, const double *values, double *scores, const int n_outputs,
) noexcept nogil:
    """`n_outputs` is a literal up to MOST_VALUES, so that the values stay in registers."""
    cdef:
        Py_ssize_t i
        int k
        double *score
        double value[MOST_VALUES]
    for k in range(n_outputs):
        value[k] = values[k]
    for i in range(n):
        score = scores + <Py_ssize_t> rows[min(i + PREFETCH_ROWS, n - 1)] * n_outputs
        _send_for_scores(score, n_outputs)
        score = scores + <Py_ssize_t> rows[i] * n_outputs
        for k in range(n_outputs):
            score[k] += value[k]


cdef void _add_wide(
    const int32_t *rows, Py_ssize_t n, const double *values, double *scores, int n_outputs,
) noexcept nogil:
    """`_add_values` for any number of outputs."""
    cdef:
        Py_ssize_t i
        int k
        double *score
    for i in range(n):
        score = scores + <Py_ssize_t> rows[min(i + PREFETCH_ROWS, n - 1)] * n_outputs
        _send_for_scores(score, n_outputs)
        score = scores + <Py_ssize_t> rows[i] * n_outputs
        for k in range(n_outputs):
            score[k] += values[k]


cdef void _add_to_rows(
    const int32_t *rows, Py_ssize_t n, const double *values, double *scores, int n_outputs,
) noexcept nogil:
    """Choose the loop compiled for this number of outputs."""
    if n_outputs == 1:
        _add_values(rows, n, values, scores, 1)
    elif n_outputs == 2:
        _add_values(rows, n, values, scores, 2)
    elif n_outputs == 3:
        _add_values(rows, n, values, scores, 3)
    elif n_outputs == 4:
        _add_values(rows, n, values, scores, 4)
    elif n_outputs == 5:
        _add_values(rows, n, values, scores, 5)
    elif n_outputs == 8:
        _add_values(rows, n, values, scores, 8)
    else:
        _add_wide(rows, n, values, scores, n_outputs)


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
        _add_to_rows(&rows[0] + chunks[c, 0], chunks[c, 1] - chunks[c, 0],
                     &values[chunks[c, 2], 0], &scores[0, 0], n_outputs)
