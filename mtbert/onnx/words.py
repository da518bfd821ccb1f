"""Words of texts as numbers, which a file counts for its trees."""

from __future__ import annotations

import re

import numpy as np

from mtbert.text.rows import as_one_text

#: Of words that the trees do not know, and behind the last word of a row.
UNKNOWN = 0


class WordNumbers:
    """Finds words, as :class:`mtbert.stacking.terms.TermFrequencies` does, and numbers them.

    Parameters
    ----------
    pattern : str
        A regular expression for words.
    vocabulary : list of str
        Words in lower case, which get the numbers 1, 2, ...
    """

    def __init__(self, pattern: str, vocabulary: list[str]):
        self._find_words = re.compile(pattern).findall
        self._numbers = {word: number for number, word in enumerate(vocabulary, start=1)}

    def __call__(self, columns) -> list[list[int]]:
        """Return the numbers of the words of each row, in their order.

        Parameters
        ----------
        columns : list of lists of Row
            As :func:`mtbert.text.rows.read_rows` returns them.
        """
        return [
            [self._numbers.get(word, UNKNOWN) for word in self._find_words(text.lower())]
            for text in as_one_text(columns)
        ]


def pad_words(rows) -> np.ndarray:
    """Return rows of numbers as one array, int64 of shape (n, longest), at least one wide."""
    padded = np.full((len(rows), max(1, *map(len, rows))), UNKNOWN, dtype=np.int64)
    for numbers, row in zip(rows, padded, strict=True):
        row[: len(numbers)] = numbers
    return padded
