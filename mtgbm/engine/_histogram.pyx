"""Histograms: for each feature and bin, the sums of the row vectors that fall into it.

One row vector holds all that a split needs to know of a row, in float32 lanes:

    lanes  | g of output 0 .. S-1 | h of output 0 .. S-1 | 1 (the row) | zeros to the padded width |

so that a cell of the histogram is updated by one or a few vector additions for all outputs:

    binned row    [ 3 | 0 | 7 ]              uint8, one per feature
                    |   |   |
    histogram   f0: bin 3 += v, f1: bin 0 += v, f2: bin 7 += v        float64 lanes

Sums are float64 and each feature is summed in row order by one thread, hence the same bits for any
number of threads. (Float32 sums would be up to twice as fast, but equal gradients, as the first
round has, make their rounding errors add up instead of cancelling.)
"""

from cython.parallel cimport prange
from libc.string cimport memset

from mtgbm.engine._common cimport int32_t, uint8_t

import numpy as np

cdef extern from *:
    """
    #define MTGBM_PREFETCH(address) __builtin_prefetch(address)
    /* Vectors of 4 and 8 lanes: left to itself, the compiler unrolls short loops over lanes into
       scalar code. Row vectors and histograms are aligned to whole vectors. */
    typedef double lanes4_t __attribute__((vector_size(32), may_alias));
    typedef double lanes8_t __attribute__((vector_size(64), may_alias));
    typedef float mtgbm_float4 __attribute__((vector_size(16), may_alias));
    typedef float mtgbm_float8 __attribute__((vector_size(32), may_alias));
    #define MTGBM_WIDEN4(source) __builtin_convertvector(*(const mtgbm_float4 *)(source), lanes4_t)
    #define MTGBM_WIDEN8(source) __builtin_convertvector(*(const mtgbm_float8 *)(source), lanes8_t)
    """
    void MTGBM_PREFETCH(const void *address) noexcept nogil
    # To Cython these are numbers; in C they add lane by lane.
    ctypedef double lanes4_t
    ctypedef double lanes8_t
    lanes4_t MTGBM_WIDEN4(const float *source) noexcept nogil
    lanes8_t MTGBM_WIDEN8(const float *source) noexcept nogil

cdef enum:
    PREFETCH_ROWS = 12      # about the latency of main memory at a few dozen cells a row
    MOST_BLOCKS = 4         # blocks of 8 lanes that stay in registers


# What one thread fills: some features, over the node's rows.
cdef struct share_t:
    const uint8_t *binned
    Py_ssize_t row_stride
    const int32_t *rows
    Py_ssize_t n_rows
    const float *vectors
    const int32_t *features
    const int32_t *offsets      # where the histogram of each feature starts, in cells
    int n_features
    bint contiguous             # the features are neighbours: no look-up of their columns
    double *histogram           # all cells of all features


cdef inline const uint8_t *_fetch_row(const share_t *share, Py_ssize_t i, int lanes) noexcept nogil:
    """The bins of the i-th row from the first feature on; those of a later row are sent for."""
    cdef Py_ssize_t ahead = share.rows[min(i + PREFETCH_ROWS, share.n_rows - 1)]
    MTGBM_PREFETCH(&share.binned[ahead * share.row_stride + share.features[0]])
    MTGBM_PREFETCH(&share.vectors[ahead * lanes])
    return &share.binned[share.rows[i] * share.row_stride + share.features[0]]


cdef inline void _sum_4_lanes(const share_t *share, const bint contiguous) noexcept nogil:
    """Rows of 4 lanes; `contiguous` is a literal."""
    cdef:
        Py_ssize_t i
        int j
        const uint8_t *bins
        lanes4_t vector
        lanes4_t *cells = <lanes4_t *> share.histogram
        const int32_t *features = share.features
        const int32_t *offsets = share.offsets
        int n_features = share.n_features, origin = share.features[0]
    for i in range(share.n_rows):
        bins = _fetch_row(share, i, 4)
        vector = MTGBM_WIDEN4(share.vectors + <Py_ssize_t> share.rows[i] * 4)
        for j in range(n_features):
            cells[offsets[j] + bins[j if contiguous else features[j] - origin]] += vector


cdef inline void _sum_blocks(
    const share_t *share, const int n_blocks, const bint contiguous,
) noexcept nogil:
    """Rows of `n_blocks` blocks of 8 lanes; it is a literal, so they stay in registers."""
    cdef:
        Py_ssize_t i
        int j, b
        const uint8_t *bins
        lanes8_t vector[MOST_BLOCKS]
        lanes8_t *cells = <lanes8_t *> share.histogram
        lanes8_t *cell
        const int32_t *features = share.features
        const int32_t *offsets = share.offsets
        int n_features = share.n_features, origin = share.features[0]
    for i in range(share.n_rows):
        bins = _fetch_row(share, i, 8 * n_blocks)
        for b in range(n_blocks):
            vector[b] = MTGBM_WIDEN8(
                share.vectors + 8 * (<Py_ssize_t> share.rows[i] * n_blocks + b))
        for j in range(n_features):
            cell = cells + n_blocks * <Py_ssize_t> (
                offsets[j] + bins[j if contiguous else features[j] - origin])
            for b in range(n_blocks):
                cell[b] += vector[b]


cdef void _sum_wide(const share_t *share, int n_blocks) noexcept nogil:
    """`_sum_blocks` for more lanes than there are registers."""
    cdef:
        Py_ssize_t i
        int j, b
        const uint8_t *bins
        const float *vector
        lanes8_t *cells = <lanes8_t *> share.histogram
        lanes8_t *cell
        const int32_t *features = share.features
        const int32_t *offsets = share.offsets
        int n_features = share.n_features, origin = share.features[0]
    for i in range(share.n_rows):
        bins = _fetch_row(share, i, 8 * n_blocks)
        vector = share.vectors + <Py_ssize_t> share.rows[i] * n_blocks * 8
        for j in range(n_features):
            cell = cells + n_blocks * <Py_ssize_t> (offsets[j] + bins[features[j] - origin])
            for b in range(n_blocks):
                cell[b] += MTGBM_WIDEN8(vector + 8 * b)


cdef void _sum_rows(const share_t *share, int lanes) noexcept nogil:
    """Choose the loop compiled for this number of lanes."""
    if lanes == 4 and share.contiguous:
        _sum_4_lanes(share, True)
    elif lanes == 4:
        _sum_4_lanes(share, False)
    elif lanes == 8 and share.contiguous:
        _sum_blocks(share, 1, True)
    elif lanes == 8:
        _sum_blocks(share, 1, False)
    elif lanes == 16 and share.contiguous:
        _sum_blocks(share, 2, True)
    elif lanes == 16:
        _sum_blocks(share, 2, False)
    elif lanes == 24:
        _sum_blocks(share, 3, False)
    elif lanes == 32:
        _sum_blocks(share, 4, False)
    else:
        _sum_wide(share, lanes // 8)


cdef void _fill_share(
    share_t share, int number, int n_shares, const int32_t *ends, int lanes,
) noexcept nogil:
    """One thread's share of the features; `share` comes with all of them."""
    cdef:
        int first = number * share.n_features // n_shares
        int last = (number + 1) * share.n_features // n_shares
        int j
    share.features += first
    share.offsets += first
    share.n_features = last - first
    share.contiguous = share.features[last - first - 1] - share.features[0] == last - first - 1
    for j in range(last - first):
        memset(share.histogram + <Py_ssize_t> share.offsets[j] * lanes, 0,
               (ends[first + j] - share.offsets[j]) * lanes * sizeof(double))
    if share.n_rows > 0:
        _sum_rows(&share, lanes)


def fill_histogram(
    const uint8_t[:, ::1] binned,      # IN (n_rows, n_features)
    const int32_t[::1] rows,           # IN rows of this node
    const float[:, ::1] vectors,       # IN (n_rows, lanes)
    const int32_t[::1] features,       # IN columns to fill, ascending
    const int32_t[::1] offsets,        # IN where the histogram of each of them starts, in cells
    const int32_t[::1] ends,           # IN where it ends
    double[:, ::1] histogram,          # OUT (total cells, lanes); other cells stay as they are
    int n_threads,
):
    """Sum the row vectors of `rows` by feature and bin."""
    cdef:
        int lanes = vectors.shape[1]
        int n_shares = min(n_threads, <int> features.shape[0])
        int number
        share_t share
    share.binned = &binned[0, 0]
    share.row_stride = binned.shape[1]
    share.rows = &rows[0] if rows.shape[0] else NULL
    share.n_rows = rows.shape[0]
    share.vectors = &vectors[0, 0]
    share.features = &features[0]
    share.offsets = &offsets[0]
    share.n_features = features.shape[0]
    share.histogram = &histogram[0, 0]
    for number in prange(n_shares, nogil=True, schedule="static", num_threads=n_threads):
        _fill_share(share, number, n_shares, &ends[0], lanes)


def subtract_histogram(
    double[:, ::1] parent,             # IN the parent's sums, OUT those of the larger child
    const double[:, ::1] smaller,      # IN
    int n_threads,
):
    """The other child by subtraction, in the parent's memory."""
    cdef:
        Py_ssize_t n = parent.shape[0] * parent.shape[1]
        Py_ssize_t i
        double *out = &parent[0, 0]
        const double *less = &smaller[0, 0]
    for i in prange(n, nogil=True, schedule="static", num_threads=n_threads):
        out[i] -= less[i]


def combine_outputs(
    const float[:, ::1] vectors,       # IN (n_rows, lanes of all outputs)
    const double[::1] weights,         # IN (n_outputs,)
    const int32_t[::1] into,           # IN (n_outputs,) the combined output each is added to
    int n_combined,
    float[:, ::1] combined,            # OUT (n_rows, lanes of the combined outputs)
    int n_threads,
):
    """The row vectors of few outputs that stand for all: sums of w g and of w h."""
    cdef:
        int n_outputs = weights.shape[0], k
        Py_ssize_t i
    for i in prange(vectors.shape[0], nogil=True, schedule="static", num_threads=n_threads):
        for k in range(2 * n_combined):
            combined[i, k] = 0.0
        for k in range(n_outputs):
            combined[i, into[k]] += <float> (weights[k] * vectors[i, k])
            combined[i, n_combined + into[k]] += <float> (weights[k] * vectors[i, n_outputs + k])


def fill_histogram_naive(binned, rows, vectors, features, offsets, histogram):
    """Twin of `fill_histogram` for the tests: the definition, cell by cell."""
    histogram[:] = 0.0
    for row in rows:
        for feature, offset in zip(features, offsets, strict=True):
            histogram[offset + binned[row, feature]] += vectors[row].astype(np.float64)
