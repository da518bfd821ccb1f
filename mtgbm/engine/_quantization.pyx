"""Row vectors in integers: 16 bits a lane instead of 32, to be summed in 32.

    vectors     | g 0.137 | g -0.500 | h 0.118 | h 0.250 | 1 |      float32
    factors     |    2^14 |     2^15 |    2^16 |    2^16 | 1 |      a power of 2 for each lane
    integers    |    2245 |   -16384 |    7734 |   16384 | 1 |      int16: floor(v * factor + u)

u is a number between 0 and 1 that differs from row to row, so that roundings up and down balance in
every sum: the fractions of i times the golden ratio, which fill the interval more evenly than
random numbers do.
"""

from cython.parallel cimport prange

from mtgbm.engine._common cimport int16_t, int32_t, uint32_t

import numpy as np

cdef enum:
    CHUNK_ROWS = 8192

cdef:
    uint32_t GOLDEN_RATIO = 2654435769  # of 2^32
    float PER_2_24 = 1.0 / 16777216


cdef void _measure_rows(
    const float *vectors, Py_ssize_t n, int lanes, double *sums, float *largest,
) noexcept nogil:
    cdef:
        Py_ssize_t i
        int k
        float size
    for k in range(lanes):
        sums[k] = 0.0
        largest[k] = 0.0
    for i in range(n):
        for k in range(lanes):
            size = vectors[i * lanes + k]
            size = -size if size < 0 else size
            sums[k] += size
            largest[k] = size if size > largest[k] else largest[k]


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
        Py_ssize_t i
        int lanes = integers.shape[1]
        const int32_t *source = NULL if sources is None else &sources[0]
    for i in prange(vectors.shape[0], nogil=True, schedule="static", num_threads=n_threads):
        if source == NULL and lanes == 4:
            _round_row(&vectors[i, 0], NULL, &factors[0], &spread[0], &phases[0], i,
                       &integers[i, 0], 4)
        elif source == NULL and lanes == 8:
            _round_row(&vectors[i, 0], NULL, &factors[0], &spread[0], &phases[0], i,
                       &integers[i, 0], 8)
        else:
            _round_row(&vectors[i, 0], source, &factors[0], &spread[0], &phases[0], i,
                       &integers[i, 0], lanes)


def quantize_naive(vectors, sources, factors, spread, phases):
    """Twin of `quantize` for the tests."""
    rows = np.arange(len(vectors), dtype=np.uint32)[:, None]
    u = ((rows * np.uint32(GOLDEN_RATIO) + phases) >> 8).astype(np.float32) * np.float32(2.0**-24)
    taken = vectors if sources is None else vectors[:, sources]
    return np.floor(taken * factors + u * spread).astype(np.int16)
