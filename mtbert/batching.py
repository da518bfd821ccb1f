"""Rows to batches of tensors: rows of like length together, so that little is padding."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from mtbert.token_store import TokenStore

#: Batches' worth of shuffled rows within which rows are sorted by length. More save little
#: padding, fewer make the batches more random.
BATCHES_SORTED_TOGETHER = 50
#: What ``batch_size="auto"`` is: so many rows that an epoch has about so many batches, within these
#: bounds.
BATCHES_OF_EPOCH = 300
FEWEST_ROWS, MOST_ROWS = 8, 32


@dataclass(frozen=True)
class SharedVectors:
    """A vector for each row; rows of the same text have the same one.

    Attributes
    ----------
    values : ndarray of float32 of shape (n_distinct, d)
    rows : ndarray of int64 of shape (n,)
        Which of `values` each row has.
    """

    values: np.ndarray
    rows: np.ndarray

    def take(self, rows) -> SharedVectors:
        """Some of these rows, by position."""
        return SharedVectors(self.values, self.rows[rows])

    def to_array(self) -> np.ndarray:
        """The vectors of all rows: float32 of shape (n, d)."""
        return self.values[self.rows]


@dataclass(frozen=True)
class Rows:
    """Rows as numbers, tokenised once.

    Attributes
    ----------
    text : dict of str to TokenStore
        Field to token ids.
    numeric : ndarray of float32 of shape (n, n_numeric)
    categorical : ndarray of int64 of shape (n, n_categorical)
    labels : ndarray of int16 of shape (n, n_tasks), or None
        Class numbers, -1 where missing.
    weights : ndarray of float32 of shape (n, n_tasks), or None
        0 where a label is missing.
    pad_ids : dict of str to int
        Field to the id of padding, 0 for those that are not in it.
    vectors : dict of str to SharedVectors
        Fields that are not in `text`, because a frozen encoder has made vectors of them.
    """

    text: dict[str, TokenStore]
    numeric: np.ndarray
    categorical: np.ndarray
    labels: np.ndarray | None = None
    weights: np.ndarray | None = None
    pad_ids: dict[str, int] = field(default_factory=dict)
    vectors: dict[str, SharedVectors] = field(default_factory=dict)

    def __len__(self):
        return len(self.numeric)

    def take(self, rows) -> Rows:
        """Some of these rows, by position."""
        return replace(
            self,
            text={name: tokens.take(rows) for name, tokens in self.text.items()},
            numeric=self.numeric[rows],
            categorical=self.categorical[rows],
            labels=None if self.labels is None else self.labels[rows],
            weights=None if self.weights is None else self.weights[rows],
            vectors={name: vectors.take(rows) for name, vectors in self.vectors.items()},
        )

    def sizes(self) -> np.ndarray:
        """Tokens that each row takes when its chunks are padded to its longest: (n,)."""
        sizes = (tokens.sizes() for tokens in self.text.values())
        return sum(sizes, start=np.zeros(len(self), dtype=np.int64))

    def inputs(self) -> dict[str, np.ndarray]:
        """Arrays for the network, padded to the longest row.

        Returns
        -------
        dict of str to ndarray
            ``{field}_ids`` int64 and ``{field}_mask`` bool of shape (n, n_chunks, length), or
            ``{field}_vector`` float32 of shape (n, d); numeric and categorical.
        """
        arrays = {"numeric": self.numeric, "categorical": self.categorical}
        for name, tokens in self.text.items():
            ids, mask = tokens.pad(self.pad_ids.get(name, 0))
            arrays |= {f"{name}_ids": ids, f"{name}_mask": mask}
        return arrays | {f"{name}_vector": v.to_array() for name, v in self.vectors.items()}


def rows_of_batch(batch_size, n_rows=None) -> int:
    """Return how many rows a batch has.

    Parameters
    ----------
    batch_size : int or "auto"
        "auto": a power of two, the smaller the fewer rows there are to learn from.
    n_rows : int or None, default=None
        Those of an epoch. None: nothing is learned, so more at a time are only faster.

    Returns
    -------
    int

    Examples
    --------
    >>> from mtbert.batching import rows_of_batch
    >>> [rows_of_batch("auto", n_rows) for n_rows in (1000, 5000, 100_000)]
    [8, 16, 32]
    """
    if batch_size != "auto":
        return batch_size
    if n_rows is None:
        return MOST_ROWS
    wanted = max(1, n_rows // BATCHES_OF_EPOCH)
    return min(max(FEWEST_ROWS, 1 << (wanted.bit_length() - 1)), MOST_ROWS)


def sorted_batches(sizes, batch_size) -> list[np.ndarray]:
    """Rows in batches of like size, for prediction.

    Parameters
    ----------
    sizes : ndarray of shape (n,)
    batch_size : int

    Returns
    -------
    list of ndarray of int
        Positions of rows; each row is in one batch.
    """
    return _cut(np.argsort(sizes, kind="stable"), batch_size)


def shuffled_batches(sizes, batch_size, rng) -> list[np.ndarray]:
    """Rows in batches of like size, at random: for one epoch of training.

    All rows are shuffled; within each stretch of `BATCHES_SORTED_TOGETHER` batches they are then
    sorted by size and cut, and the batches shuffled. Only one batch may be smaller than the rest.

    Parameters
    ----------
    sizes : ndarray of shape (n,)
    batch_size : int
    rng : numpy.random.Generator

    Returns
    -------
    list of ndarray of int
        Positions of rows; each row is in one batch.
    """
    shuffled = rng.permutation(len(sizes))
    batches: list[np.ndarray] = []
    for rows in _cut(shuffled, batch_size * BATCHES_SORTED_TOGETHER):
        batches += _cut(rows[np.argsort(sizes[rows], kind="stable")], batch_size)
    return [batches[number] for number in rng.permutation(len(batches))]


def _cut(rows, size):
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def padding_share(rows: Rows, batches) -> float:
    """Return which share of the tokens of some batches is padding, from 0 to 1."""
    real = sum(tokens.n_tokens for tokens in rows.text.values())
    padded = sum(
        mask.size
        for batch in batches
        for name, mask in rows.take(batch).inputs().items()
        if name.endswith("_mask")
    )
    return 1 - real / padded
