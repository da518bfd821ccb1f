"""From raw values to bins: a binary search a cell.

    thresholds of a feature      t0    t1    t2            bin b holds t[b-1] < x <= t[b]
    bins                       0  |  1  |  2  |  3         NaN: bin number n_bins
"""

from cython.parallel cimport prange

from mtgbm.engine._common cimport int32_t, raw_t, uint8_t

import numpy as np

cdef enum:
    BLOCK_ROWS = 256


cdef inline int _search(double x, const double *thresholds, int n) noexcept nogil:
    """How many thresholds are below x, by halving without a branch."""
    cdef:
        int low = 0, half
    while n > 0:
        half = (n + 1) >> 1
        low += half if thresholds[low + half - 1] < x else 0
        n -= half
    return low


cdef inline uint8_t _bin_of(
    double x, const double *thresholds, int n_bins, bint is_categorical,
) noexcept nogil:
    if x != x:
        return n_bins
    if is_categorical:
        return <uint8_t> x if 0 <= x < n_bins else n_bins
    return _search(x, thresholds, n_bins - 1)


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
        Py_ssize_t block, i, f
        uint8_t bin
        bint keep_columns = by_column.shape[1] > 0
    for block in prange(n_blocks, nogil=True, schedule="static", num_threads=n_threads):
        for f in range(n_features):
            for i in range(block * BLOCK_ROWS, min(n_rows, (block + 1) * BLOCK_ROWS)):
                bin = _bin_of(X[i, f], &thresholds[f, 0], n_bins[f], is_categorical[f])
                by_row[i, f] = bin
                if keep_columns:
                    by_column[f, i] = bin


def map_to_bins_naive(column, thresholds, n_bins):
    """Twin of `map_to_bins` for the tests: one numeric column."""
    bins = np.searchsorted(thresholds, column, side="left")
    return np.where(np.isnan(column), n_bins, bins).astype(np.uint8)
