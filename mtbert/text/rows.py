"""Rows of text. A row is one text, or the messages of one dialogue.

What counts as text and what as missing is decided here and nowhere else.
"""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Mapping, Set

import numpy as np

Row = str | list[str]


def read_rows(X) -> list[Row]:
    """Return every row as a text, or as a list of its messages.

    Parameters
    ----------
    X : sequence, Series or array of length n
        Of texts, or of lists, tuples or arrays of messages. None, NaN and pandas' NA and NaT stand
        for an empty text.

    Returns
    -------
    rows : list of length n
        Of str and of list of str.

    Raises
    ------
    TypeError
        If X is a single text or no sequence, or a row or message is something other than text.
    ValueError
        If X has two dimensions.
    """
    _check_container(X)
    return [row if type(row) is str else _read_row(row, i) for i, row in enumerate(X)]


def messages_of(row: Row) -> list[str]:
    """Return the messages of a row; a text is one message."""
    return [row] if isinstance(row, str) else row


def as_one_text(columns) -> list[str]:
    """Return for each row the messages of all its text columns, a line each.

    Parameters
    ----------
    columns : list of lists of Row
        As :func:`read_rows` returns them.
    """
    return [
        "\n".join(text for row in rows for text in messages_of(row))
        for rows in zip(*columns, strict=True)
    ]


def _check_container(X):
    if len(getattr(X, "shape", (0,))) != 1:
        raise ValueError(
            f"X must be one column of texts, got {type(X).__name__} of shape {X.shape}; "
            "take the column, for instance frame['review']."
        )
    is_sequence = hasattr(X, "__len__") and hasattr(X, "__iter__")
    if not is_sequence or isinstance(X, (str, bytes, Mapping, Set)):
        raise TypeError(
            f"X must be a list, Series or array of texts, got {type(X).__name__}; "
            "put a single text into a list."
        )


def _read_row(row, position):
    if isinstance(row, (list, tuple)) or len(getattr(row, "shape", ())) == 1:
        return [
            _read_text(message, f"Row {position}, message {number}", "text")
            for number, message in enumerate(row)
        ]
    return _read_text(row, f"Row {position}", "text or a list of messages")


def _read_text(value, where, expected):
    if isinstance(value, str):
        return str(value)
    if _is_missing(value):
        return ""
    raise TypeError(
        f"{where} must be {expected}, got {type(value).__name__} {reprlib.repr(value)}; "
        "write other values as text first, for instance with .astype(str)."
    )


def _is_missing(value):
    if value is None:
        return True
    if isinstance(value, (float, np.floating)):
        return bool(np.isnan(value))
    pandas = sys.modules.get("pandas")  # its NA exists only where it was imported
    return pandas is not None and (value is pandas.NA or value is pandas.NaT)
