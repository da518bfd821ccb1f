"""What OpenMP would use: the one question Python has to ask it."""

cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    static int mtgbm_max_threads(void) { return omp_get_max_threads(); }
    static int mtgbm_has_openmp(void) { return 1; }
    #else
    static int mtgbm_max_threads(void) { return 1; }
    static int mtgbm_has_openmp(void) { return 0; }
    #endif
    """
    int mtgbm_max_threads() nogil
    int mtgbm_has_openmp() nogil


def max_threads():
    """Threads a parallel region would get now.

    Follows OMP_NUM_THREADS, which joblib's workers set, and threadpoolctl's limits.
    """
    return mtgbm_max_threads()


def has_openmp():
    """Whether the kernels were built with OpenMP."""
    return bool(mtgbm_has_openmp())
