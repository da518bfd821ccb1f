"""Memory that is free but not given back."""

cdef extern from *:
    """
    #ifdef __GLIBC__
    #include <malloc.h>
    static int mtgbm_trim(void) { return malloc_trim(0); }
    #else
    static int mtgbm_trim(void) { return 0; }
    #endif
    """
    int mtgbm_trim() nogil


def release_free_memory():
    """Give memory that is free back to the system, where the C library lets it be asked to.

    GNU's allocator keeps for each thread what its arrays have used, tens of megabytes after the
    sorting of samples, and does not use it for the large arrays that come next.
    """
    with nogil:
        mtgbm_trim()
