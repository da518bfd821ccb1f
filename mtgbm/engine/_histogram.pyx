"""Histograms: for each feature and bin, the sums of the row vectors that fall into it.

One row vector holds all that a split needs to know of a row:

    lanes  | g of output 0 .. S-1 | h of output 0 .. S-1 | 1 (the row) | zeros to the padded width |

so that a cell of the histogram is updated by one or a few vector additions for all outputs:

    binned row    [ 3 | 0 | 7 ]              uint8, one per feature
                    |   |   |
    histogram   f0: bin 3 += v, f1: bin 0 += v, f2: bin 7 += v

Every feature of the tree has a strip of `stride` cells. There are two kinds of cells:

    exact        float32 lanes are summed in float64. Each feature is summed in row order by one
                 thread, hence the same bits for any number of threads. (Float32 sums would not do:
                 equal gradients, as the first round has, make their rounding errors add up.)
    quantized    int16 lanes are summed in int32, half the width and the faster for it. Integer
                 sums have no rounding and no order, so the rows of a large node are shared out
                 between threads, each with strips of its own, which are added up at the end.
"""

from cython.parallel cimport prange
from libc.string cimport memset

from mtgbm.engine._common cimport int16_t, int32_t, uint8_t

import numpy as np

cdef extern from *:
    """
    #define MTGBM_PREFETCH(address) __builtin_prefetch(address)
    /* Blocks of 4 and 8 lanes: left to itself, the compiler unrolls short loops over lanes into
       scalar code. Row vectors and histograms are aligned to whole blocks. */
    typedef double doubles4_t __attribute__((vector_size(32), may_alias));
    typedef double doubles8_t __attribute__((vector_size(64), may_alias));
    typedef int ints4_t __attribute__((vector_size(16), may_alias));
    typedef int ints8_t __attribute__((vector_size(32), may_alias));
    typedef float mtgbm_float4 __attribute__((vector_size(16), may_alias));
    typedef float mtgbm_float8 __attribute__((vector_size(32), may_alias));
    typedef short mtgbm_short4 __attribute__((vector_size(8), may_alias));
    typedef short mtgbm_short8 __attribute__((vector_size(16), may_alias));
    #define MTGBM_WIDEN(source, narrow, wide) \\
        __builtin_convertvector(*(const narrow *)(source), wide)
    #define MTGBM_DOUBLE4(source) MTGBM_WIDEN(source, mtgbm_float4, doubles4_t)
    #define MTGBM_DOUBLE8(source) MTGBM_WIDEN(source, mtgbm_float8, doubles8_t)
    #define MTGBM_INT4(source) MTGBM_WIDEN(source, mtgbm_short4, ints4_t)
    #define MTGBM_INT8(source) MTGBM_WIDEN(source, mtgbm_short8, ints8_t)
    """
    void MTGBM_PREFETCH(const void *address) noexcept nogil
    # To Cython these are numbers, of different types so that it can tell them apart; in C they add
    # lane by lane.
    ctypedef double doubles4_t
    ctypedef long double doubles8_t
    ctypedef int ints4_t
    ctypedef long long ints8_t
    doubles4_t MTGBM_DOUBLE4(const void *source) noexcept nogil
    doubles8_t MTGBM_DOUBLE8(const void *source) noexcept nogil
    ints4_t MTGBM_INT4(const void *source) noexcept nogil
    ints8_t MTGBM_INT8(const void *source) noexcept nogil

# One block of lanes of a cell.
ctypedef fused block_t:
    doubles4_t
    doubles8_t
    ints4_t
    ints8_t

ctypedef fused cell_t:
    double
    int32_t

cdef enum:
    PREFETCH_ROWS = 24      # rows of scattered nodes come from main memory: send for them early
    UNROLL = 4              # cells in flight; of different features, hence never the same one
    MOST_BLOCKS = 4         # blocks of 8 lanes that stay in registers


# What one thread fills: some features, some of the node's rows.
cdef struct share_t:
    const uint8_t *binned
    Py_ssize_t n_columns        # of the binned table
    const int32_t *rows
    Py_ssize_t n_rows
    const char *vectors
    Py_ssize_t vector_bytes
    const int32_t *features     # columns of the binned table
    int n_features
    bint contiguous             # they are neighbours: no look-up of their columns
    Py_ssize_t stride           # cells of a feature's strip
    int n_blocks                # blocks of a row vector and of a cell


cdef inline void _widen(const char *source, block_t *block) noexcept nogil:
    if block_t is doubles4_t:
        block[0] = MTGBM_DOUBLE4(source)
    elif block_t is doubles8_t:
        block[0] = MTGBM_DOUBLE8(source)
    elif block_t is ints4_t:
        block[0] = MTGBM_INT4(source)
    else:
        block[0] = MTGBM_INT8(source)


cdef inline const uint8_t *_fetch_row(const share_t *share, Py_ssize_t i) noexcept nogil:
    """The bins of the i-th row from the first feature on; those of a later row are sent for."""
    cdef:
        Py_ssize_t ahead = share.rows[min(i + PREFETCH_ROWS, share.n_rows - 1)]
        int origin = share.features[0], last = share.features[share.n_features - 1]
    MTGBM_PREFETCH(&share.binned[ahead * share.n_columns + origin])
    MTGBM_PREFETCH(&share.binned[ahead * share.n_columns + last])
    MTGBM_PREFETCH(&share.vectors[ahead * share.vector_bytes])
    return &share.binned[share.rows[i] * share.n_columns + origin]


cdef inline Py_ssize_t _bin(
    const share_t *share, const uint8_t *bins, Py_ssize_t j, const bint contiguous,
) noexcept nogil:
    return bins[j if contiguous else share.features[j] - share.features[0]]


cdef inline void _add_to_cells(
    block_t *strip, Py_ssize_t step, const share_t *share, const uint8_t *bins, Py_ssize_t first,
    const int n_cells, const block_t *vector, const int n_blocks, const bint contiguous,
) noexcept nogil:
    """Add a row vector to one cell of each of `n_cells` features, whose strips are `step` apart.

    All are read before any is written, so that none waits for another.
    """
    cdef:
        block_t *cell[UNROLL]
        block_t sums[UNROLL * MOST_BLOCKS]
        int u, b
    for u in range(n_cells):
        cell[u] = strip + n_blocks * _bin(share, bins, first + u, contiguous)
        strip += step
    for u in range(n_cells):
        for b in range(n_blocks):
            sums[u * MOST_BLOCKS + b] = cell[u][b] + vector[b]
    for u in range(n_cells):
        for b in range(n_blocks):
            cell[u][b] = sums[u * MOST_BLOCKS + b]


cdef inline void _sum_blocks(
    const share_t *share, block_t *histogram, const int n_blocks, const int unroll,
    const bint contiguous,
) noexcept nogil:
    """Rows of `n_blocks` blocks; what is const is a literal, so that all stays in registers."""
    cdef:
        Py_ssize_t i, j, n_features = share.n_features, step = n_blocks * share.stride
        int b
        const uint8_t *bins
        const char *source
        block_t vector[MOST_BLOCKS]
        block_t *strip
    for i in range(share.n_rows):
        bins = _fetch_row(share, i)
        source = share.vectors + share.rows[i] * share.vector_bytes
        for b in range(n_blocks):
            _widen(source + b * (sizeof(block_t) // 2), &vector[b])
        strip = histogram
        j = 0
        while j + unroll <= n_features:
            _add_to_cells(strip, step, share, bins, j, unroll, vector, n_blocks, contiguous)
            strip += unroll * step
            j += unroll
        while j < n_features:
            _add_to_cells(strip, step, share, bins, j, 1, vector, n_blocks, contiguous)
            strip += step
            j += 1


cdef void _sum_wide(const share_t *share, block_t *histogram) noexcept nogil:
    """`_sum_blocks` for more lanes than there are registers."""
    cdef:
        Py_ssize_t i
        int j, b
        const uint8_t *bins
        const char *source
        block_t block
        block_t *cell
    for i in range(share.n_rows):
        bins = _fetch_row(share, i)
        source = share.vectors + share.rows[i] * share.vector_bytes
        for j in range(share.n_features):
            cell = histogram + share.n_blocks * (j * share.stride + _bin(share, bins, j, False))
            for b in range(share.n_blocks):
                _widen(source + b * (sizeof(block_t) // 2), &block)
                cell[b] += block


cdef inline void _sum_rows(const share_t *share, block_t *histogram) noexcept nogil:
    """Choose the loop compiled for this number of blocks."""
    if share.n_blocks == 1 and share.contiguous:
        _sum_blocks(share, histogram, 1, 4, True)
    elif share.n_blocks == 1:
        _sum_blocks(share, histogram, 1, 4, False)
    elif share.n_blocks == 2 and share.contiguous:
        _sum_blocks(share, histogram, 2, 2, True)
    elif share.n_blocks == 2:
        _sum_blocks(share, histogram, 2, 2, False)
    elif share.n_blocks == 3:
        _sum_blocks(share, histogram, 3, 2, False)
    elif share.n_blocks == 4:
        _sum_blocks(share, histogram, 4, 1, False)
    else:
        _sum_wide(share, histogram)


cdef void _fill_share(
    share_t share, cell_t *histogram, int lanes, const int32_t *lengths,
) noexcept nogil:
    """Clear and sum the strips of some features."""
    cdef int j
    share.contiguous = (
        share.features[share.n_features - 1] - share.features[0] == share.n_features - 1)
    for j in range(share.n_features):
        memset(histogram + j * share.stride * lanes, 0, lengths[j] * lanes * sizeof(cell_t))
    if share.n_rows == 0:
        return
    if cell_t is double:
        if lanes == 4:
            _sum_rows(&share, <doubles4_t *> histogram)
        else:
            _sum_rows(&share, <doubles8_t *> histogram)
    else:
        if lanes == 4:
            _sum_rows(&share, <ints4_t *> histogram)
        else:
            _sum_rows(&share, <ints8_t *> histogram)


cdef void _fill_features(
    share_t share, cell_t *histogram, int lanes, const int32_t *lengths, int n_threads,
) noexcept nogil:
    """Every thread sums all rows, for some of the features."""
    cdef:
        share_t part = share
        int n_parts = min(n_threads, share.n_features), number, first
    for number in prange(n_parts, schedule="static", num_threads=n_threads):
        first = number * share.n_features // n_parts
        part = share
        part.features = share.features + first
        part.n_features = (number + 1) * share.n_features // n_parts - first
        _fill_share(part, histogram + first * share.stride * lanes, lanes, lengths + first)


cdef void _fill_rows(
    share_t share, int32_t *histogram, int32_t *spare, int lanes, const int32_t *lengths,
    int n_threads,
) noexcept nogil:
    """Every thread sums some of the rows, the first into `histogram`, the others into `spare`."""
    cdef:
        share_t part = share
        Py_ssize_t size = share.n_features * share.stride * lanes, start, i
        int number, j
    for number in prange(n_threads, schedule="static", num_threads=n_threads):
        start = number * share.n_rows // n_threads
        part = share
        part.rows = share.rows + start
        part.n_rows = (number + 1) * share.n_rows // n_threads - start
        _fill_share(part, histogram if number == 0 else spare + (number - 1) * size, lanes, lengths)
    for j in prange(share.n_features, schedule="static", num_threads=n_threads):
        for number in range(n_threads - 1):
            for i in range(lengths[j] * lanes):
                histogram[j * share.stride * lanes + i] += (
                    spare[number * size + j * share.stride * lanes + i])


cdef class HistogramFiller:
    """Fills the histograms of one tree.

    Parameters
    ----------
    binned : ndarray of uint8 of shape (n_rows, n_columns)
    rows : ndarray of int32
        The rows of the tree, node by node.
    vectors : ndarray of shape (n_rows, lanes)
        float32 for float64 cells, int16 for int32 cells.
    features : ndarray of int32 of shape (n_features,)
        Columns of `binned` that the tree may split on, ascending.
    lengths : ndarray of int32 of shape (n_features,)
        The cells that each of them uses.
    slots : ndarray of uintp
        Addresses of histograms of shape (n_features, stride, lanes).
    stride : int
    """
    cdef:
        share_t share
        int lanes
        bint exact
        const int32_t[::1] lengths
        const size_t[::1] slots
        tuple memory                    # keeps alive what the pointers point to

    def __init__(self, const uint8_t[:, ::1] binned, const int32_t[::1] rows, vectors,
                 const int32_t[::1] features, const int32_t[::1] lengths,
                 const size_t[::1] slots, Py_ssize_t stride):
        self.memory = (binned, rows, vectors, features)
        self.lengths, self.slots = lengths, slots
        self.lanes = vectors.shape[1]
        self.exact = vectors.dtype == np.float32
        self.share.binned = &binned[0, 0]
        self.share.n_columns = binned.shape[1]
        self.share.rows = &rows[0]
        self.share.vectors = _first_byte(vectors)
        self.share.vector_bytes = self.lanes * (sizeof(float) if self.exact else sizeof(int16_t))
        self.share.features = &features[0]
        self.share.n_features = features.shape[0]
        self.share.stride = stride
        self.share.n_blocks = max(1, self.lanes // 8)

    def fill(self, int slot, Py_ssize_t start, Py_ssize_t stop, int32_t[:, :, :, ::1] spare,
             int n_threads):
        """Sum the row vectors of rows[start:stop] by feature and bin.

        Cells beyond the lengths of the features stay as they are.

        Parameters
        ----------
        slot : int
        start, stop : int
        spare : ndarray of int32 of shape (n_threads - 1, n_features, stride, lanes) or None
            With it, which only integer sums may have, threads share the rows, else the features.
            Aligned to a cache line, as histograms are.
        n_threads : int
        """
        cdef:
            share_t share = self.share
            const int32_t *lengths = &self.lengths[0]
            void *histogram = <void *> self.slots[slot]
            int32_t *spares = NULL if spare is None else &spare[0, 0, 0, 0]
        share.rows += start
        share.n_rows = stop - start
        with nogil:
            if self.exact:
                _fill_features(share, <double *> histogram, self.lanes, lengths, n_threads)
            elif spares == NULL:
                _fill_features(share, <int32_t *> histogram, self.lanes, lengths, n_threads)
            else:
                _fill_rows(share, <int32_t *> histogram, spares, self.lanes, lengths, n_threads)


cdef const char *_first_byte(vectors) except NULL:
    cdef:
        const float[:, ::1] floats
        const int16_t[:, ::1] integers
    if vectors.dtype == np.float32:
        floats = vectors
        return <const char *> &floats[0, 0]
    integers = vectors
    return <const char *> &integers[0, 0]


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


def fill_histogram_naive(binned, rows, vectors, features, histogram):
    """Twin of `HistogramFiller.fill` for the tests: the definition, cell by cell."""
    histogram[:] = 0
    for row in rows:
        for strip, feature in zip(histogram, features, strict=True):
            strip[binned[row, feature]] += vectors[row].astype(histogram.dtype)
