"""Token ids of many rows in one flat array, tokenised once.

::

    tokens    2 7 9 3 2 3 2 8 3      all tokens
    starts    0       4   6          where each chunk starts
    lengths   4       2   3          how many tokens it has
    offsets   0           2     3    which chunks a row has: the first row two, the second one

Some of the rows are other starts, lengths and offsets over the same tokens, so taking them copies
no token. Many tokens are not in memory, but mapped from a temporary file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from mtbert.temporary_arrays import concatenate

#: Bytes of a row's digest; two of a million texts have the same one with a chance of 1e-27.
DIGEST_SIZE = 16


@dataclass(frozen=True, eq=False)
class TokenStore:
    """Rows of chunks of token ids.

    Parameters
    ----------
    tokens : ndarray of int32 of shape (n_tokens,)
    starts, lengths : ndarray of int64 of shape (n_chunks,)
        Where in `tokens` a chunk is.
    offsets : ndarray of int64 of shape (n_rows + 1,)
        Row i has the chunks ``offsets[i]`` to ``offsets[i + 1] - 1``.

    Notes
    -----
    A pickle holds the tokens of these rows only, those of a mapped file too.
    """

    tokens: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of_rows(cls, rows: Sequence[Sequence[np.ndarray]]) -> TokenStore:
        """Hold rows, lists of chunks as :class:`mtbert.text.Tokenizer` gives them.

        Parameters
        ----------
        rows : list of lists of integer arrays of shape (n_tokens,)
        """
        return cls.of_blocks([rows])

    @classmethod
    def of_blocks(cls, blocks: Iterable[Sequence[Sequence[np.ndarray]]]) -> TokenStore:
        """Hold blocks of rows one behind the other; of an iterator, one block at a time.

        Parameters
        ----------
        blocks : iterable of lists of rows
        """
        counts, lengths = [], []

        def tokens_of(block):
            chunks = [chunk for row in block for chunk in row]
            counts.append(np.array([len(row) for row in block], dtype=np.int64))
            lengths.append(np.array([len(chunk) for chunk in chunks], dtype=np.int64))
            return np.concatenate([np.empty(0, np.int32), *chunks], dtype=np.int32)

        tokens = concatenate(tokens_of(block) for block in blocks)
        return cls._of_parts(tokens, _join(lengths), _join(counts))

    @classmethod
    def _of_parts(cls, tokens, lengths, counts):
        offsets = np.concatenate([[0], np.cumsum(counts)])
        return cls(tokens, np.cumsum(lengths) - lengths, lengths, offsets)

    def __len__(self):
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> list[np.ndarray]:
        """The chunks of a row."""
        row = range(len(self))[row]
        chunks = range(self.offsets[row], self.offsets[row + 1])
        return [self.tokens[self.starts[c] : self.starts[c] + self.lengths[c]] for c in chunks]

    def __iter__(self) -> Iterator[list[np.ndarray]]:
        return (self[row] for row in range(len(self)))

    @property
    def n_chunks(self) -> np.ndarray:
        """Chunks of each row: int64 of shape (n_rows,)."""
        return np.diff(self.offsets)

    @property
    def n_tokens(self) -> int:
        """Tokens of all rows."""
        return int(self.lengths.sum())

    def take(self, rows) -> TokenStore:
        """Some of these rows, by position, 0 or more: array of int of shape (n,)."""
        rows = np.asarray(rows, dtype=np.int64)
        counts = self.offsets[rows + 1] - self.offsets[rows]
        chunks = _ranges(self.offsets[rows], counts)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        return TokenStore(self.tokens, self.starts[chunks], self.lengths[chunks], offsets)

    def sizes(self) -> np.ndarray:
        """Tokens of each row, its chunks padded to its longest: int64 of shape (n_rows,)."""
        counts = self.n_chunks
        filled = np.flatnonzero(counts)  # reduceat reads on where a row has nothing
        longest = np.zeros(len(self), dtype=np.int64)
        if len(filled):
            longest[filled] = np.maximum.reduceat(self.lengths, self.offsets[filled])
        return counts * longest

    def pad(self, pad_id=0) -> tuple[np.ndarray, np.ndarray]:
        """Arrays filled up to the most chunks and the longest one.

        Parameters
        ----------
        pad_id : int, default=0

        Returns
        -------
        ids : ndarray of int64 of shape (n_rows, n_chunks, length)
        mask : ndarray of bool of that shape
            True for a token, False for padding.
        """
        counts = self.n_chunks
        exists = np.arange(counts.max(initial=0)) < counts[:, np.newaxis]
        starts, lengths = np.zeros((2, *exists.shape, 1), dtype=np.int64)
        starts[exists, 0], lengths[exists, 0] = self.starts, self.lengths
        places = np.arange(lengths.max(initial=0))
        mask = places < lengths
        ids = self.tokens.take(starts + places, mode="clip")  # padding reads what stands behind
        return np.where(mask, ids, np.int64(pad_id)), mask

    def digests(self) -> list[bytes]:
        """A digest of the chunks of each row, equal for equal rows only."""
        return [_digest(chunks) for chunks in self]

    def _joined(self):
        """The tokens of these rows one behind the other."""
        return self.tokens[_ranges(self.starts, self.lengths)]

    def __reduce__(self):
        return _restore, (self._joined(), self.lengths, self.n_chunks)


def _restore(tokens, lengths, counts):
    return TokenStore._of_parts(concatenate([tokens]), lengths, counts)


def _ranges(starts, counts):
    """The numbers from each start on, so many as its count, one range behind the other."""
    ends = np.cumsum(counts)
    return np.repeat(starts - ends + counts, counts) + np.arange(counts.sum())


def _digest(chunks):
    digest = blake2b(digest_size=DIGEST_SIZE)
    for chunk in chunks:
        digest.update(len(chunk).to_bytes(4, "little"))
        digest.update(np.ascontiguousarray(chunk, dtype="<i4"))
    return digest.digest()


def _join(arrays):
    return np.concatenate([np.empty(0, dtype=np.int64), *arrays])
