"""Arrays in memory or, if they are large, mapped from temporary files.

The files have no name: the system frees them as soon as nothing uses the array, even if the process
is killed. They are where :func:`tempfile.gettempdir` says; set the environment variable TMPDIR to a
disk if that is a file system in memory.
"""

from __future__ import annotations

import math
import os
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np

#: The most bytes of one array that are kept in memory.
MOST_BYTES_IN_MEMORY = 256 * 2**20


def concatenate(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """Return blocks one behind the other; neither blocks nor result are in memory twice.

    Parameters
    ----------
    blocks : iterable of ndarray of int32 of shape (n_i,)

    Returns
    -------
    joined : ndarray of int32 of shape (n,)
        Mapped and read-only if it is large.
    """
    held, blocks = array("i"), iter(blocks)
    for block in blocks:
        held.frombytes(np.asarray(block, dtype=np.int32).tobytes())
        if len(held) * held.itemsize > MOST_BYTES_IN_MEMORY:
            return _map(chain([np.frombuffer(held, np.int32)], blocks))
    return np.frombuffer(held, np.int32)


def _map(blocks: Iterator[np.ndarray]):
    with tempfile.TemporaryFile() as file:
        for block in blocks:
            file.write(np.asarray(block, dtype=np.int32).tobytes())
        file.flush()
        return np.asarray(np.memmap(file, np.int32, mode="r"))


def allocate(shape, dtype) -> np.ndarray:
    """Return an array to be filled.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype

    Raises
    ------
    OSError
        If it is large and the disk has no room for it.
    """
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if n_bytes <= MOST_BYTES_IN_MEMORY:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile() as file:
        os.posix_fallocate(file.fileno(), 0, n_bytes)  # a full disk is an error here, not a crash
        return np.asarray(np.memmap(file, dtype, mode="r+", shape=shape))
