"""Rows of unequal length become arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def pad_chunks(
    rows: Sequence[Sequence[np.ndarray]], pad_id: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows of token ids as arrays, filled up to the most chunks and the longest one.

    Parameters
    ----------
    rows : list of length n
        Of lists of chunks, integer arrays of shape (n_tokens,), as :class:`Tokenizer` gives them.
    pad_id : int, default=0
        The id to fill with, such as `pad_token_id_` of the tokenizer.

    Returns
    -------
    ids : ndarray of shape (n, n_chunks, length), dtype int64
    attention_mask : ndarray of shape (n, n_chunks, length), dtype int64
        1 for a token, 0 for padding.
    chunk_mask : ndarray of shape (n, n_chunks), dtype bool
        False for a chunk of nothing but padding. A mean over chunks must leave it out, else the
        result for a row depends on the other rows of its batch.

    Examples
    --------
    >>> import numpy as np
    >>> from mtbert.text import pad_chunks
    >>> rows = [[np.array([2, 7, 3])], [np.array([2, 3]), np.array([2, 3])]]
    >>> ids, attention_mask, chunk_mask = pad_chunks(rows)
    >>> ids[0].tolist(), chunk_mask.tolist()
    ([[2, 7, 3], [0, 0, 0]], [[True, False], [True, True]])
    """
    n_chunks = np.array([len(row) for row in rows], dtype=np.intp)
    chunks = [np.asarray(chunk) for row in rows for chunk in row]
    lengths = np.zeros((len(rows), n_chunks.max(initial=0)), dtype=np.intp)
    exists = np.arange(lengths.shape[1]) < n_chunks[:, np.newaxis]
    lengths[exists] = [len(chunk) for chunk in chunks]
    attended = np.arange(lengths.max(initial=0)) < lengths[:, :, np.newaxis]
    ids = np.full(attended.shape, pad_id, dtype=np.int64)
    ids[attended] = np.concatenate(chunks) if chunks else []
    return ids, attended.astype(np.int64), lengths > 0
