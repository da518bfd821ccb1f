"""Row vectors in integers: 16 bits a lane instead of 32, to be summed in 32.

    vectors     | g 0.137 | g -0.500 | h 0.118 | h 0.250 | 1 |      float32
    factors     |    2^14 |     2^15 |    2^16 |    2^16 | 1 |      a power of 2 for each lane
    integers    |    2245 |   -16384 |    7734 |   16384 | 1 |      int16: floor(v * factor + u)

u is a number between 0 and 1 that differs from row to row, so that roundings up and down balance in
every sum: the fractions of i times the golden ratio, which fill the interval more evenly than
random numbers do.
"""

from cython.parallel cimport prange
from libc.string cimport memcpy, memset

from mtgbm.engine._common cimport int16_t, int32_t, uint32_t

import numpy as np

cdef extern from *:
    """
    /* Blocks of 4 and 8 lanes: left to itself, the compiler unrolls short loops over lanes into
       scalar code. Neither row vectors nor sums need be aligned to blocks. */
    typedef double doubles4_t __attribute__((vector_size(32), aligned(8), may_alias));
    typedef double doubles8_t __attribute__((vector_size(64), aligned(8), may_alias));
    typedef int mtgbm_int4 __attribute__((vector_size(16), aligned(4), may_alias));
    typedef int mtgbm_int8 __attribute__((vector_size(32), aligned(4), may_alias));
    typedef float mtgbm_float4 __attribute__((vector_size(16)));
    typedef float mtgbm_float8 __attribute__((vector_size(32)));
    /* A float without its sign bit is its size. */
    #define MTGBM_SIZES(source, ints, floats, doubles) \\
        __builtin_convertvector((floats) (*(const ints *) (source) & 0x7fffffff), doubles)
    #define MTGBM_SIZES4(source) MTGBM_SIZES(source, mtgbm_int4, mtgbm_float4, doubles4_t)
    #define MTGBM_SIZES8(source) MTGBM_SIZES(source, mtgbm_int8, mtgbm_float8, doubles8_t)
    /* Lane by lane the larger of two, by a mask of all bits or none. */
    #define MTGBM_RAISE(largest, sizes) do { \\
        __typeof__(*(largest) < *(sizes)) mask = *(largest) < *(sizes); \\
        *(largest) = (__typeof__(*(largest))) ( \\
            ((__typeof__(mask)) *(sizes) & mask) | ((__typeof__(mask)) *(largest) & ~mask)); \\
    } while (0)
    """
    # To Cython these are numbers, of different types so that it can tell them apart; in C they add
    # lane by lane.
    ctypedef double doubles4_t
    ctypedef long double doubles8_t
    doubles4_t MTGBM_SIZES4(const float *source) noexcept nogil
    doubles8_t MTGBM_SIZES8(const float *source) noexcept nogil
    void MTGBM_RAISE(void *largest, const void *sizes) noexcept nogil

ctypedef fused block_t:
    doubles4_t
    doubles8_t

cdef enum:
    CHUNK_ROWS = 8192
    MOST_BLOCKS = 3         # blocks of 8 lanes that are measured in registers
    TILE_LANES = 16         # lanes that are rounded at a time

cdef:
    uint32_t GOLDEN_RATIO = 2654435769  # of 2^32
    float PER_2_24 = 1.0 / 16777216


# How lanes are rounded, for some rows of 4 or 8 lanes as if they were one of 16.
cdef struct tile_t:
    float factors[TILE_LANES]
    float spread[TILE_LANES]
    uint32_t phases[TILE_LANES]


cdef inline void _measure_blocks(
    const float *vectors, Py_ssize_t n, block_t *sums, float *largest, const int n_blocks,
) noexcept nogil:
    """`n_blocks` is a literal, so that the sums stay in registers."""
    cdef:
        Py_ssize_t i
        int b, k, block_lanes = sizeof(block_t) // sizeof(double), lanes = n_blocks * block_lanes
        const float *vector
        block_t size
        block_t sum[MOST_BLOCKS]
        block_t most[MOST_BLOCKS]
        double most_of_lane[MOST_BLOCKS * 8]
    memset(sum, 0, sizeof(sum))
    memset(most, 0, sizeof(most))
    for i in range(n):
        vector = vectors + i * lanes
        for b in range(n_blocks):
            if block_t is doubles4_t:
                size = MTGBM_SIZES4(vector + b * block_lanes)
            else:
                size = MTGBM_SIZES8(vector + b * block_lanes)
            sum[b] += size
            MTGBM_RAISE(&most[b], &size)
    for b in range(n_blocks):
        sums[b] = sum[b]
    memcpy(most_of_lane, most, lanes * sizeof(double))
    for k in range(lanes):
        largest[k] = <float> most_of_lane[k]


cdef void _measure_wide(
    const float *vectors, Py_ssize_t n, int lanes, double *sums, float *largest,
) noexcept nogil:
    """`_measure_blocks` for any number of lanes, with the sums in the cache."""
    cdef:
        Py_ssize_t i
        int k
        float size
    memset(sums, 0, lanes * sizeof(double))
    memset(largest, 0, lanes * sizeof(float))
    for i in range(n):
        for k in range(lanes):
            size = vectors[i * lanes + k]
            size = -size if size < 0 else size
            sums[k] += size
            largest[k] = size if size > largest[k] else largest[k]


cdef void _measure_rows(
    const float *vectors, Py_ssize_t n, int lanes, double *sums, float *largest,
) noexcept nogil:
    """Choose the loop compiled for this number of lanes."""
    if lanes == 4:
        _measure_blocks(vectors, n, <doubles4_t *> sums, largest, 1)
    elif lanes == 8:
        _measure_blocks(vectors, n, <doubles8_t *> sums, largest, 1)
    elif lanes == 16:
        _measure_blocks(vectors, n, <doubles8_t *> sums, largest, 2)
    elif lanes == 24:
        _measure_blocks(vectors, n, <doubles8_t *> sums, largest, 3)
    else:
        _measure_wide(vectors, n, lanes, sums, largest)


def measure_lanes(
    const float[:, ::1] vectors,       # IN (n_rows, lanes)
    int n_threads,
):
    """Sum and largest of the absolute values of each lane: two arrays of (lanes,)."""
    cdef:
        Py_ssize_t n_rows = vectors.shape[0], first
        int n_chunks = (n_rows + CHUNK_ROWS - 1) // CHUNK_ROWS, chunk, lanes = vectors.shape[1]
        double[:, ::1] sums = np.zeros((n_chunks, lanes))
        float[:, ::1] largest = np.zeros((n_chunks, lanes), dtype=np.float32)
    for chunk in prange(n_chunks, nogil=True, schedule="static", num_threads=n_threads):
        first = chunk * <Py_ssize_t> CHUNK_ROWS
        _measure_rows(&vectors[first, 0], min(<Py_ssize_t> CHUNK_ROWS, n_rows - first), lanes,
                      &sums[chunk, 0], &largest[chunk, 0])
    return np.asarray(sums).sum(axis=0), np.asarray(largest).max(axis=0, initial=0.0)


cdef inline void _round_row(
    const float *vector, const int32_t *sources, const float *factors, const float *spread,
    const uint32_t *phases, uint32_t row, int16_t *out, const int lanes,
) noexcept nogil:
    cdef:
        int k
        int32_t down
        float u, x
    for k in range(lanes):
        u = <float> ((row * GOLDEN_RATIO + phases[k]) >> 8) * PER_2_24 * spread[k]
        x = vector[k if sources == NULL else sources[k]] * factors[k] + u
        down = <int32_t> x
        down -= 1 if <float> down > x else 0
        out[k] = <int16_t> down


cdef void _repeat(
    const float *factors, const float *spread, const uint32_t *phases, int lanes, tile_t *tile,
) noexcept nogil:
    """Fill a tile; a row further is the golden ratio further in the sequence of a lane."""
    cdef int k
    for k in range(TILE_LANES):
        tile.factors[k] = factors[k % lanes]
        tile.spread[k] = spread[k % lanes]
        tile.phases[k] = phases[k % lanes] + (k // lanes) * GOLDEN_RATIO


def quantize(
    const float[:, ::1] vectors,       # IN (n_rows, any lanes)
    const int32_t[::1] sources,        # IN (lanes,) of them to take; None for all
    const float[::1] factors,          # IN (lanes,) by which each is multiplied
    const float[::1] spread,           # IN (lanes,) 1, or 0 for a lane that holds integers already
    const uint32_t[::1] phases,        # IN (lanes,) where the sequence of each lane starts
    int16_t[:, ::1] integers,          # OUT (n_rows, lanes)
    int n_threads,
):
    """Take some lanes, multiply and round, up or down."""
    cdef:
        Py_ssize_t n_rows = vectors.shape[0], done = 0, i
        int lanes = integers.shape[1], tile_rows
        const int32_t *source = NULL if sources is None else &sources[0]
        tile_t tile
    if source == NULL and TILE_LANES % lanes == 0:
        _repeat(&factors[0], &spread[0], &phases[0], lanes, &tile)
        tile_rows = TILE_LANES // lanes
        done = n_rows // tile_rows * tile_rows
        for i in prange(n_rows // tile_rows, nogil=True, schedule="static", num_threads=n_threads):
            _round_row(&vectors[i * tile_rows, 0], NULL, tile.factors, tile.spread, tile.phases,
                       i * tile_rows, &integers[i * tile_rows, 0], TILE_LANES)
    for i in prange(done, n_rows, nogil=True, schedule="static", num_threads=n_threads):
        if source == NULL and lanes == 24:
            _round_row(&vectors[i, 0], NULL, &factors[0], &spread[0], &phases[0], i,
                       &integers[i, 0], 24)
        else:
            _round_row(&vectors[i, 0], source, &factors[0], &spread[0], &phases[0], i,
                       &integers[i, 0], lanes)


def quantize_naive(vectors, sources, factors, spread, phases):
    """Twin of `quantize` for the tests."""
    rows = np.arange(len(vectors), dtype=np.uint32)[:, None]
    u = ((rows * np.uint32(GOLDEN_RATIO) + phases) >> 8).astype(np.float32) * np.float32(2.0**-24)
    taken = vectors if sources is None else vectors[:, sources]
    return np.floor(taken * factors + u * spread).astype(np.int16)
