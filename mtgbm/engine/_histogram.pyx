"""Histograms: for each feature and bin, the sums of the row vectors that fall into it.

One row vector holds all that a split needs to know of a row, in float32 lanes:

    lanes  | g of output 0 .. S-1 | h of output 0 .. S-1 | 1 (the row) | zeros to the padded width |

so that a cell of the histogram is updated by one or a few vector additions for all outputs:

    binned row    [ 3 | 0 | 7 ]              uint8, one per feature
                    |   |   |
    histogram   f0: bin 3 += v, f1: bin 0 += v, f2: bin 7 += v        float64 lanes

Sums are float64 and each feature is summed in row order by one thread, hence the same bits for any
number of threads.
"""

from cython.parallel cimport prange
from libc.string cimport memset

from mtgbm.engine._common cimport int32_t, uint8_t

import numpy as np

cdef extern from *:
    """
    #define MTGBM_PREFETCH(address) __builtin_prefetch(address)
    /* Vectors of 4 and 8 lanes: left to itself, the compiler unrolls short loops over lanes into
       scalar code. Histograms are aligned to whole cells, row vectors to theirs. */
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

# Rows ahead: about the latency of main memory at a few dozen cells a row.
cdef enum:
    PREFETCH_ROWS = 12
    MOST_BLOCKS = 4


# What one thread fills: some features, over all rows of the node.
cdef struct group_t:
    const uint8_t *binned
    Py_ssize_t row_stride
    const int32_t *rows
    Py_ssize_t n_rows
    const float *vectors
    const int32_t *features
    const int32_t *offsets
    int n_features
    double *histogram


cdef inline const uint8_t *_fetch_row(const group_t *group, Py_ssize_t i, int lanes) noexcept nogil:
    """The bins of the group's i-th row, while those of a later row are on their way."""
    cdef Py_ssize_t ahead = group.rows[min(i + PREFETCH_ROWS, group.n_rows - 1)]
    MTGBM_PREFETCH(&group.binned[ahead * group.row_stride + group.features[0]])
    MTGBM_PREFETCH(&group.vectors[ahead * lanes])
    return &group.binned[group.rows[i] * group.row_stride]


cdef void _fill_4_lanes(const group_t *group) noexcept nogil:
    cdef:
        Py_ssize_t i
        int j
        const uint8_t *bins
        lanes4_t vector
        lanes4_t *cells = <lanes4_t *> group.histogram
        const int32_t *features = group.features
        const int32_t *offsets = group.offsets
        int n_features = group.n_features
    for i in range(group.n_rows):
        bins = _fetch_row(group, i, 4)
        vector = MTGBM_WIDEN4(&group.vectors[<Py_ssize_t> group.rows[i] * 4])
        for j in range(n_features):
            cells[offsets[j] + bins[features[j]]] += vector


cdef inline void _fill_blocks(const group_t *group, const int n_blocks) noexcept nogil:
    """Rows of `n_blocks` blocks of 8 lanes; `n_blocks` is a literal, so they stay in registers."""
    cdef:
        Py_ssize_t i
        int j, b
        const uint8_t *bins
        const float *source
        lanes8_t vector[MOST_BLOCKS]
        lanes8_t *cell
        lanes8_t *cells = <lanes8_t *> group.histogram
        const int32_t *features = group.features
        const int32_t *offsets = group.offsets
        int n_features = group.n_features
    for i in range(group.n_rows):
        bins = _fetch_row(group, i, 8 * n_blocks)
        source = &group.vectors[<Py_ssize_t> group.rows[i] * 8 * n_blocks]
        for b in range(n_blocks):
            vector[b] = MTGBM_WIDEN8(source + 8 * b)
        for j in range(n_features):
            cell = cells + n_blocks * <Py_ssize_t> (offsets[j] + bins[features[j]])
            for b in range(n_blocks):
                cell[b] += vector[b]


cdef void _fill_wide(const group_t *group, int n_blocks) noexcept nogil:
    """`_fill_blocks` for more lanes than there are registers."""
    cdef:
        Py_ssize_t i
        int j, b
        const uint8_t *bins
        const float *source
        lanes8_t *cell
        lanes8_t *cells = <lanes8_t *> group.histogram
        const int32_t *features = group.features
        const int32_t *offsets = group.offsets
        int n_features = group.n_features
    for i in range(group.n_rows):
        bins = _fetch_row(group, i, 8 * n_blocks)
        source = &group.vectors[<Py_ssize_t> group.rows[i] * 8 * n_blocks]
        for j in range(n_features):
            cell = cells + n_blocks * <Py_ssize_t> (offsets[j] + bins[features[j]])
            for b in range(n_blocks):
                cell[b] += MTGBM_WIDEN8(source + 8 * b)


cdef void _fill_group(const group_t *group, int lanes) noexcept nogil:
    """Choose the loop compiled for this number of lanes."""
    if lanes == 4:
        _fill_4_lanes(group)
    elif lanes == 8:
        _fill_blocks(group, 1)
    elif lanes == 16:
        _fill_blocks(group, 2)
    elif lanes == 24:
        _fill_blocks(group, 3)
    elif lanes == 32:
        _fill_blocks(group, 4)
    else:
        _fill_wide(group, lanes // 8)


cdef void _fill_share(group_t group, int number, int n_groups, int lanes) noexcept nogil:
    """One thread's share of the features; `group` comes with all of them."""
    cdef:
        int first = number * group.n_features // n_groups
        int last = (number + 1) * group.n_features // n_groups
    group.features += first
    group.offsets += first
    group.n_features = last - first
    _fill_group(&group, lanes)


def fill_histogram(
    const uint8_t[:, ::1] binned,      # IN (n_rows, n_features)
    const int32_t[::1] rows,           # IN rows of this node
    const float[:, ::1] vectors,       # IN (n_rows, lanes)
    const int32_t[::1] features,       # IN columns to fill
    const int32_t[::1] offsets,        # IN where the histogram of each of them starts, in bins
    double[:, ::1] histogram,          # OUT (total bins, lanes)
    int n_threads,
):
    """Sum the row vectors of `rows` by feature and bin. Histograms of other features are zeroed."""
    cdef:
        int lanes = vectors.shape[1]
        int n_groups = min(n_threads, <int> features.shape[0])
        int number
        group_t group
    memset(&histogram[0, 0], 0, histogram.shape[0] * lanes * sizeof(double))
    if rows.shape[0] == 0:
        return
    group.binned = &binned[0, 0]
    group.row_stride = binned.shape[1]
    group.rows = &rows[0]
    group.n_rows = rows.shape[0]
    group.vectors = &vectors[0, 0]
    group.features = &features[0]
    group.offsets = &offsets[0]
    group.n_features = features.shape[0]
    group.histogram = &histogram[0, 0]
    for number in prange(n_groups, nogil=True, schedule="static", num_threads=n_threads):
        _fill_share(group, number, n_groups, lanes)


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
    float[:, ::1] combined,            # OUT (n_rows, lanes of one output): sum w g, sum w h
    int n_threads,
):
    """The row vectors of one output that stands for all of them."""
    cdef:
        int n_outputs = weights.shape[0], k
        Py_ssize_t i
        double g, h
    for i in prange(vectors.shape[0], nogil=True, schedule="static", num_threads=n_threads):
        g = 0.0
        h = 0.0
        for k in range(n_outputs):
            g = g + weights[k] * vectors[i, k]
            h = h + weights[k] * vectors[i, n_outputs + k]
        combined[i, 0] = <float> g
        combined[i, 1] = <float> h


def fill_histogram_naive(binned, rows, vectors, features, offsets, histogram):
    """Twin of `fill_histogram` for the tests: the definition, cell by cell."""
    histogram[:] = 0.0
    for row in rows:
        for feature, offset in zip(features, offsets, strict=True):
            histogram[offset + binned[row, feature]] += vectors[row].astype(np.float64)
