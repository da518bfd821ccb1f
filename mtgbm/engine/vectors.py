"""Row vectors: what one row adds to the sums of its node, in float32 lanes.

    | g of output 0 .. K-1 | h of output 0 .. K-1 | 1 (the row) | zeros |

The width is padded so that a vector is a whole number of registers.
"""

import numpy as np

#: Bytes on which row vectors and histograms start, those of a cache line.
ALIGNMENT = 64


def lane_count(n_outputs):
    """Lanes of a row vector: 4, or a multiple of 8."""
    used = 2 * n_outputs + 1
    return 4 if used <= 4 else -(-used // 8) * 8


def empty_vectors(n_rows, n_outputs):
    """Aligned row vectors with the count lane set and all others 0."""
    vectors = aligned_zeros((n_rows, lane_count(n_outputs)), np.float32)
    vectors[:, 2 * n_outputs] = 1.0
    return vectors


def aligned_zeros(shape, dtype):
    """A zeroed array that starts on a cache line."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.zeros(size + ALIGNMENT, dtype=np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)
