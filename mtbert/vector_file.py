"""Vectors by key in one file, which several processes may read and write at once."""

from __future__ import annotations

import sqlite3
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

SECONDS_TO_WAIT = 60.0  # until another process has written
KEYS_AT_ONCE = 500
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
TABLE = (
    "CREATE TABLE IF NOT EXISTS vectors "
    "(key BLOB PRIMARY KEY, checksum INTEGER NOT NULL, vector BLOB NOT NULL)"
)


class VectorFile:
    """A file of SQLite: a key finds its vector, and what was not written to its end is not there.

    A file that is damaged is started anew, with a warning; a vector that is damaged counts as
    missing.

    Parameters
    ----------
    path : Path
        Made by the first use.
    width : int
        Length of each vector.
    """

    def __init__(self, path: Path, width: int):
        self.path = Path(path)
        self.width = width

    def read(self, keys: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        """Return the vectors of those keys that there are: float32 of shape (width,).

        Parameters
        ----------
        keys : list of bytes
        """
        try:
            return self._read(keys)
        except sqlite3.DatabaseError as error:
            self._start_anew(error)
            return {}

    def write(self, keys: Sequence[bytes], vectors: np.ndarray) -> None:
        """Keep vectors; those of keys that are there already are replaced.

        Parameters
        ----------
        keys : list of bytes of length n
        vectors : ndarray of float32 of shape (n, width)
        """
        blobs = [vector.astype("<f4").tobytes() for vector in vectors]
        rows = [(key, zlib.crc32(blob), blob) for key, blob in zip(keys, blobs, strict=True)]
        try:
            self._write(rows)
        except sqlite3.DatabaseError as error:
            self._start_anew(error)
            self._write(rows)

    def _read(self, keys):
        found = {}
        with self._connect() as connection:
            for first in range(0, len(keys), KEYS_AT_ONCE):
                part = keys[first : first + KEYS_AT_ONCE]
                marks = ",".join("?" * len(part))
                rows = connection.execute(f"SELECT * FROM vectors WHERE key IN ({marks})", part)
                found |= {key: np.frombuffer(b, "<f4") for key, c, b in rows if self._fits(c, b)}
        return found

    def _write(self, rows):
        with self._connect() as connection, connection:
            connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=SECONDS_TO_WAIT)) as connection:
            connection.execute(TABLE)
            yield connection

    def _fits(self, checksum, blob):
        return len(blob) == 4 * self.width and zlib.crc32(blob) == checksum

    def _start_anew(self, error):
        if error.sqlite_errorcode & 0xFF not in DAMAGED:
            raise error
        warnings.warn(
            f"{self.path} is damaged ({error}); it is removed, and its vectors computed again.",
            RuntimeWarning,
            stacklevel=2,
        )
        for path in (self.path, Path(f"{self.path}-journal")):
            path.unlink(missing_ok=True)
