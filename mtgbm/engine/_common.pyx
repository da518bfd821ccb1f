"""Numpy twins of the C structs in _common.pxd, and what the processor can run."""

import numpy as np

cdef extern from *:
    """
    #if defined(__x86_64__)
    static int mtgbm_has_avx2(void) {
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    }
    static int mtgbm_has_avx512(void) {
        return mtgbm_has_avx2() && __builtin_cpu_supports("avx512f")
            && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")
            && __builtin_cpu_supports("avx512vl");
    }
    #else
    static int mtgbm_has_avx2(void) { return 0; }
    static int mtgbm_has_avx512(void) { return 0; }
    #endif
    """
    int mtgbm_has_avx2()
    int mtgbm_has_avx512()


NODE_DTYPE = np.dtype([
    ("threshold", np.float64),
    ("feature", np.int32),
    ("left", np.int32),
    ("right", np.int32),
    ("leaf", np.int32),
    ("bitset", np.int32),
    ("depth", np.int32),
    ("bin_threshold", np.uint8),
    ("missing_left", np.uint8),
    ("missing_bin", np.uint8),
    ("padding", np.uint8, 5),
])
SPLIT_DTYPE = np.dtype([
    ("gain", np.float64),
    ("feature", np.int32),
    ("bin_threshold", np.int32),
    ("n_left", np.int32),
    ("missing_left", np.int32),
    ("is_categorical", np.int32),
    ("bitset", np.uint32, BITSET_WORDS),
    ("padding", np.int32),
])
FEATURE_DTYPE = np.dtype([
    ("n_bins", np.int32),
    ("has_missing", np.int32),
    ("is_categorical", np.int32),
])

assert NODE_DTYPE.itemsize == sizeof(node_t)
assert SPLIT_DTYPE.itemsize == sizeof(split_t)
assert FEATURE_DTYPE.itemsize == sizeof(feature_t)


def supported_instruction_sets():
    """Names of the instruction sets this machine runs, narrowest first."""
    names = ["baseline"]
    if mtgbm_has_avx2():
        names.append("avx2")
    if mtgbm_has_avx512():
        names.append("avx512")
    return names
