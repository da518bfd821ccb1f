"""Texts to ids, and to the places of their tokens, by a `tokenizers.Tokenizer`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from mtbert.text.rows import Row, messages_of

UNPAIRED_SURROGATE = re.compile("[\ud800-\udfff]")
ENCODED_AT_ONCE = 1024  # texts; an encoding takes far more memory than its ids


def encode_rows(tokenizer, rows: Sequence[Row]) -> list[list[np.ndarray]]:
    """Return the token ids of each row.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
        A text longer than it truncates at becomes several chunks.
    rows : list of length n
        As :func:`mtbert.text.rows.read_rows` gives them.

    Returns
    -------
    list of length n
        Of lists of chunks, one or more; a chunk is an int32 array of shape (n_tokens,).
    """
    texts_of = [messages_of(row) or [""] for row in rows]
    texts = (encodable(text) for row in texts_of for text in row)
    encodings = _encode_in_blocks(tokenizer.encode_batch_fast, texts)
    return [
        [ids for encoding in islice(encodings, len(row)) for ids in _chunks_of(encoding)]
        for row in texts_of
    ]


def _chunks_of(encoding) -> Iterator[np.ndarray]:
    for part in (encoding, *encoding.overflowing):
        yield np.array(part.ids, dtype=np.int32)


def _encode_in_blocks(encode, texts):
    texts = iter(texts)
    while block := list(islice(texts, ENCODED_AT_ONCE)):
        yield from encode(block)


def encodable(text: str) -> str:
    """Return a text that UTF-8 can hold, of the same length: no halves of surrogate pairs."""
    return text if text.isascii() else UNPAIRED_SURROGATE.sub("\ufffd", text)


def token_spans(tokenizer, texts: Sequence[str]) -> Iterator[list[tuple[int, int]]]:
    """Yield where the tokens of each text start and end, special tokens not counted.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
        One that does not truncate.
    texts : list of str
    """

    def encode(block):
        return tokenizer.encode_batch(block, add_special_tokens=False)

    for encoding in _encode_in_blocks(encode, map(encodable, texts)):
        yield encoding.offsets
