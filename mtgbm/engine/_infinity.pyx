"""Whether a table holds an infinity, which no model takes; missing values (NaN) are none."""

from cython.parallel cimport prange
from libc.math cimport INFINITY, fabs

from mtgbm.engine._common cimport raw_t

import numpy as np

cdef enum:
    BLOCK = 8192


cdef inline bint _block_has_infinity(const raw_t *x, Py_ssize_t n) noexcept nogil:
    cdef:
        Py_ssize_t i
        int found = 0
    for i in range(n):
        found |= fabs(x[i]) == INFINITY
    return found


def has_infinity(
    const raw_t[:, ::1] X,             # IN (n_rows, n_features)
    int n_threads,
):
    """True if any element is infinite."""
    cdef:
        Py_ssize_t size = X.shape[0] * X.shape[1], block
        int found = 0
    if size == 0:
        return False
    for block in prange((size + BLOCK - 1) // BLOCK, nogil=True, schedule="static",
                        num_threads=n_threads):
        found += _block_has_infinity(&X[0, 0] + block * BLOCK,
                                     min(<Py_ssize_t> BLOCK, size - block * BLOCK))
    return found > 0


def has_infinity_naive(X):
    """Twin of `has_infinity` for the tests: the definition."""
    return bool(np.isinf(X).any())
