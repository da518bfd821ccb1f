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

from mtgbm.engine._common cimport int32_t, uint8_t

import numpy as np

cdef extern from *:
    """
    #define MTGBM_PREFETCH(address) __builtin_prefetch(address)
    """
    void MTGBM_PREFETCH(const void *address) noexcept nogil

# Rows ahead: about the latency of main memory at a few dozen cells a row.
cdef enum:
    PREFETCH_ROWS = 12
    BLOCK_LANES = 8


cdef inline void _fill(
    const uint8_t *binned,
    Py_ssize_t row_stride,
    const int32_t *rows,
    Py_ssize_t n_rows,
    const float *vectors,
    const int32_t *features,
    const int32_t *offsets,
    int n_features,
    double *histogram,
    const int lanes,
) noexcept nogil:
    """Add the row vectors of `rows` to the histograms of some features; `lanes` is a literal."""
    cdef:
        Py_ssize_t i, ahead
        int j, k
        const uint8_t *bins
        const float *source
        double *cell
        double vector[32]
    for i in range(n_rows):
        ahead = i + PREFETCH_ROWS
        if ahead < n_rows:
            MTGBM_PREFETCH(&binned[rows[ahead] * row_stride + features[0]])
            MTGBM_PREFETCH(&vectors[<Py_ssize_t> rows[ahead] * lanes])
        bins = &binned[rows[i] * row_stride]
        source = &vectors[<Py_ssize_t> rows[i] * lanes]
        for k in range(lanes):
            vector[k] = source[k]
        for j in range(n_features):
            cell = &histogram[<Py_ssize_t> (offsets[j] + bins[features[j]]) * lanes]
            for k in range(lanes):
                cell[k] += vector[k]


cdef inline void _fill_wide(
    const uint8_t *binned,
    Py_ssize_t row_stride,
    const int32_t *rows,
    Py_ssize_t n_rows,
    const float *vectors,
    const int32_t *features,
    const int32_t *offsets,
    int n_features,
    double *histogram,
    int lanes,
) noexcept nogil:
    """`_fill` for any multiple of BLOCK_LANES lanes."""
    cdef:
        Py_ssize_t i
        int j, k, block
        const uint8_t *bins
        const float *source
        double *cell
    for i in range(n_rows):
        bins = &binned[rows[i] * row_stride]
        source = &vectors[<Py_ssize_t> rows[i] * lanes]
        for j in range(n_features):
            cell = &histogram[<Py_ssize_t> (offsets[j] + bins[features[j]]) * lanes]
            for block in range(lanes // BLOCK_LANES):
                for k in range(BLOCK_LANES):
                    cell[block * BLOCK_LANES + k] += source[block * BLOCK_LANES + k]


cdef void _fill_group(
    const uint8_t *binned,
    Py_ssize_t row_stride,
    const int32_t *rows,
    Py_ssize_t n_rows,
    const float *vectors,
    const int32_t *features,
    const int32_t *offsets,
    int n_features,
    double *histogram,
    int lanes,
) noexcept nogil:
    """Choose the loop compiled for this number of lanes."""
    if lanes == 4:
        _fill(binned, row_stride, rows, n_rows, vectors, features, offsets, n_features,
              histogram, 4)
    elif lanes == 8:
        _fill(binned, row_stride, rows, n_rows, vectors, features, offsets, n_features,
              histogram, 8)
    elif lanes == 16:
        _fill(binned, row_stride, rows, n_rows, vectors, features, offsets, n_features,
              histogram, 16)
    elif lanes == 24:
        _fill(binned, row_stride, rows, n_rows, vectors, features, offsets, n_features,
              histogram, 24)
    else:
        _fill_wide(binned, row_stride, rows, n_rows, vectors, features, offsets, n_features,
                   histogram, lanes)


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
        int n_features = features.shape[0]
        int lanes = vectors.shape[1]
        int n_groups = min(n_threads, n_features)
        Py_ssize_t n_rows = rows.shape[0]
        Py_ssize_t total = histogram.shape[0] * lanes
        int group, first, last
        Py_ssize_t chunk
        double *out = &histogram[0, 0]

    with nogil:
        for chunk in range(total):
            out[chunk] = 0.0
        if n_rows > 0:
            for group in prange(n_groups, schedule="static", num_threads=n_threads):
                first = group * n_features // n_groups
                last = (group + 1) * n_features // n_groups
                _fill_group(&binned[0, 0], binned.shape[1], &rows[0], n_rows, &vectors[0, 0],
                            &features[first], &offsets[first], last - first, out, lanes)


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
