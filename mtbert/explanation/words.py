"""Which words of a text its tokens belong to."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from mtbert.text.encoding import encodable
from mtbert.text.rows import messages_of, read_rows

#: Tokenizers cut at apostrophes; a reader does not.
CONTRACTION = re.compile(r"\w+(?:['’]\w+)+")


@dataclass(frozen=True, eq=False)
class ReadText:
    """The text of one row as the network reads it: cleaned, in chunks, as tokens.

    Attributes
    ----------
    text : str
        The cleaned text; the chunks of it with a space between them.
    chunks : list of ndarray of int64
        Token ids, exactly those that the network is given.
    is_special : list of ndarray of bool
        Tokens that the tokenizer added, such as ``[CLS]``; for each chunk.
    word_of : list of ndarray of int
        The word of each token, -1 for special ones; for each chunk.
    spans : ndarray of int of shape (n_words, 2)
        Start and end of each word in `text`, half-open.
    chunk_of : ndarray of int of shape (n_words,)
        The chunk in which each word begins.
    """

    text: str
    chunks: list[np.ndarray]
    is_special: list[np.ndarray]
    word_of: list[np.ndarray]
    spans: np.ndarray
    chunk_of: np.ndarray

    def sum_words(self, token_values) -> np.ndarray:
        """Add up values of tokens, an array for each chunk, to those of words: (n_words,)."""
        totals = np.zeros(len(self.spans))
        for words, values in zip(self.word_of, token_values, strict=True):
            known = words >= 0
            np.add.at(totals, words[known], values[known])
        return totals


def read_words(pipeline, rows) -> list[ReadText]:
    """Run the text steps of a column and keep track of words.

    Parameters
    ----------
    pipeline : Pipeline
        As in ``TextFields.pipelines_``; it ends with a fitted Tokenizer.
    rows : list of str or list of list of str

    Returns
    -------
    list of ReadText
    """
    if len(pipeline) > 1:
        rows = pipeline[:-1].transform(rows)
    tokenizer = pipeline[-1].tokenizer_
    return [_read_row(tokenizer, messages_of(row) or [""]) for row in read_rows(rows)]


def _read_row(tokenizer, texts) -> ReadText:
    parts = list(_encode(tokenizer, texts))
    text = " ".join(texts)
    tokens = [
        (chunk, span, key)
        for chunk, part in enumerate(parts)
        for span, key in zip(part.spans, part.keys, strict=True)
    ]
    number_of, spans, chunk_of = _find_words(text, tokens)
    return ReadText(
        text,
        [part.ids for part in parts],
        [part.is_special for part in parts],
        [np.array([number_of.get(key, -1) for key in part.keys], dtype=int) for part in parts],
        np.array(spans, dtype=int).reshape(-1, 2),
        np.array(chunk_of, dtype=int),
    )


@dataclass(frozen=True, eq=False)
class _Part:
    """A chunk: ids, spans in the row's text, and what tokens of one word have in common."""

    ids: np.ndarray
    is_special: np.ndarray
    spans: list[tuple[int, int]]
    keys: list


def _encode(tokenizer, texts):
    start = 0
    for number, text in enumerate(texts):
        encoding = tokenizer.encode(encodable(text))
        for overflow, part in enumerate((encoding, *encoding.overflowing)):
            is_special = np.array(part.special_tokens_mask, dtype=bool)
            keys = [
                None if special else (number, word) if word is not None else (number, overflow, i)
                for i, (special, word) in enumerate(zip(is_special, part.word_ids, strict=True))
            ]
            spans = [(start + first, start + end) for first, end in part.offsets]
            yield _Part(np.array(part.ids, dtype=np.int64), is_special, spans, keys)
        start += len(text) + 1


def _find_words(text, tokens):
    """The number of each word by its key, and where the words are."""
    within = [match.span() for match in CONTRACTION.finditer(text)]
    number_of: dict = {}
    spans: list[list[int]] = []
    chunk_of: list[int] = []
    for chunk, (start, end), key in tokens:
        if key is None:
            continue
        start, end = _without_space(text, start, end)
        if key not in number_of:
            if not (spans and _in_one(within, spans[-1][0], start)):
                spans.append([start, end])
                chunk_of.append(chunk)
            number_of[key] = len(spans) - 1
        word = spans[number_of[key]]
        word[:] = min(word[0], start), max(word[1], end)
    return number_of, spans, chunk_of


def _without_space(text, start, end):
    """Byte-level tokens begin with the space before their word."""
    while start < end and text[start].isspace():
        start += 1
    return start, end


def _in_one(stretches, first, second):
    return any(start <= first and second < end for start, end in stretches)
