"""Rows to batches of tensors: rows of like length together, so that little is padding."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mtbert.text import pad_chunks

#: Batches' worth of shuffled rows within which rows are sorted by length. More save little
#: padding, fewer make the batches more random.
BATCHES_SORTED_TOGETHER = 50


@dataclass(frozen=True)
class Rows:
    """Rows as numbers, tokenised once.

    Attributes
    ----------
    text : dict of str to list
        Field to token ids: for each row a list of chunks, integer arrays.
    numeric : ndarray of float32 of shape (n, n_numeric)
    categorical : ndarray of int64 of shape (n, n_categorical)
    labels : ndarray of int16 of shape (n, n_tasks), or None
        Class numbers, -1 where missing.
    weights : ndarray of float32 of shape (n, n_tasks), or None
        0 where a label is missing.
    pad_id : int
    """

    text: dict[str, list]
    numeric: np.ndarray
    categorical: np.ndarray
    labels: np.ndarray | None = None
    weights: np.ndarray | None = None
    pad_id: int = 0

    def __len__(self):
        return len(self.numeric)

    def take(self, rows) -> Rows:
        """Some of these rows, by position."""
        return replace(
            self,
            text={field: [chunks[row] for row in rows] for field, chunks in self.text.items()},
            numeric=self.numeric[rows],
            categorical=self.categorical[rows],
            labels=None if self.labels is None else self.labels[rows],
            weights=None if self.weights is None else self.weights[rows],
        )

    def sizes(self) -> np.ndarray:
        """Tokens that each row takes when its chunks are padded to its longest: (n,)."""
        return sum(
            (np.array([len(row) * max(map(len, row)) for row in rows]) for rows in self.fields()),
            start=np.zeros(len(self), dtype=np.int64),
        )

    def fields(self):
        """The rows of chunks of each field."""
        return self.text.values()

    def inputs(self) -> dict[str, np.ndarray]:
        """Arrays for the network, padded to the longest row.

        Returns
        -------
        dict of str to ndarray
            ``{field}_ids`` int64 and ``{field}_mask`` bool of shape (n, n_chunks, length), numeric
            and categorical.
        """
        arrays = {"numeric": self.numeric, "categorical": self.categorical}
        for field, rows in self.text.items():
            ids, mask, _ = pad_chunks(rows, self.pad_id)
            arrays |= {f"{field}_ids": ids, f"{field}_mask": mask.astype(bool)}
        return arrays


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
    real = sum(len(chunk) for field in rows.fields() for row in field for chunk in row)
    padded = sum(
        mask.size
        for batch in batches
        for name, mask in rows.take(batch).inputs().items()
        if name.endswith("_mask")
    )
    return 1 - real / padded
