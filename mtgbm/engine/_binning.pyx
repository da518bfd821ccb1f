"""From raw values to bins: a binary search a cell.

    thresholds of a feature      t0    t1    t2            bin b holds t[b-1] < x <= t[b]
    bins                       0  |  1  |  2  |  3         NaN: bin number n_bins
"""

from cython.parallel cimport prange

from mtgbm.engine._common cimport int32_t, raw_t, uint8_t

import numpy as np

cdef enum:
    BLOCK_ROWS = 256


cdef inline void _search_block(
    const double *x, const double *thresholds, int n_thresholds, int32_t *bins,
) noexcept nogil:
    """How many thresholds are below each x of a block.

    All searches halve in step, so that each step is one loop without a branch over the block,
    which the compiler turns into vector code.
    """
    cdef:
        int i, half, left = n_thresholds
    for i in range(BLOCK_ROWS):
        bins[i] = 0
    while left > 0:
        half = (left + 1) >> 1
        for i in range(BLOCK_ROWS):
            bins[i] += half if thresholds[bins[i] + half - 1] < x[i] else 0
        left -= half


cdef inline void _bin_block(
    const double *x, const double *thresholds, int n_bins, bint is_categorical, int32_t *bins,
) noexcept nogil:
    cdef int i
    if is_categorical:
        for i in range(BLOCK_ROWS):
            bins[i] = <int32_t> x[i] if 0 <= x[i] < n_bins else n_bins
    else:
        _search_block(x, thresholds, n_bins - 1, bins)
    for i in range(BLOCK_ROWS):
        bins[i] = n_bins if x[i] != x[i] else bins[i]


cdef void _map_block(
    const raw_t *X, Py_ssize_t row_bytes, Py_ssize_t n_rows, const double *thresholds, int n_bins,
    bint is_categorical, uint8_t *by_row, Py_ssize_t n_features, uint8_t *by_column,
) noexcept nogil:
    """One feature of a block of rows; the block is filled up with zeros at the end of the table."""
    cdef:
        double x[BLOCK_ROWS]
        int32_t bins[BLOCK_ROWS]
        Py_ssize_t i
    for i in range(n_rows):
        x[i] = (<const raw_t *> (<const char *> X + i * row_bytes))[0]
    for i in range(n_rows, BLOCK_ROWS):
        x[i] = 0.0
    _bin_block(x, thresholds, n_bins, is_categorical, bins)
    for i in range(n_rows):
        by_row[i * n_features] = bins[i]
    if by_column != NULL:
        for i in range(n_rows):
            by_column[i] = bins[i]


def map_to_bins(
    const raw_t[:, :] X,               # IN (n_rows, n_features), any strides
    const double[:, ::1] thresholds,   # IN (n_features, most thresholds), padded
    const int32_t[::1] n_bins,         # IN bins of present values of each feature
    const uint8_t[::1] is_categorical,  # IN (n_features,); these hold bin numbers already
    uint8_t[:, ::1] by_row,            # OUT (n_rows, n_features)
    uint8_t[:, :] by_column,           # OUT (n_features, n_rows), or no columns: not wanted
    int n_threads,
):
    """Bin every cell, into a copy by rows (for histograms) and one by columns (for partitions)."""
    cdef:
        Py_ssize_t n_rows = X.shape[0], n_features = X.shape[1]
        Py_ssize_t n_blocks = (n_rows + BLOCK_ROWS - 1) // BLOCK_ROWS
        Py_ssize_t block, first, f
        bint keep_columns = by_column.shape[1] > 0
    for block in prange(n_blocks, nogil=True, schedule="static", num_threads=n_threads):
        first = block * BLOCK_ROWS
        for f in range(n_features):
            _map_block(
                &X[first, f], X.strides[0], min(<Py_ssize_t> BLOCK_ROWS, n_rows - first),
                &thresholds[f, 0], n_bins[f], is_categorical[f], &by_row[first, f], n_features,
                &by_column[f, first] if keep_columns else NULL)


def map_to_bins_naive(column, thresholds, n_bins):
    """Twin of `map_to_bins` for the tests: one numeric column."""
    bins = np.searchsorted(thresholds, column, side="left")
    return np.where(np.isnan(column), n_bins, bins).astype(np.uint8)
