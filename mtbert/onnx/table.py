"""Columns of a table of any kind as the arrays that an ONNX file takes.

What is missing and which cells are equal is as in :mod:`mtgbm.columns`, which needs scikit-learn.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real

import numpy as np


class Table:
    """Columns by name.

    Parameters
    ----------
    table : dict of columns, list of dicts, or DataFrame of pandas or polars
        A list holds a dict for each row.
    names : list of str
        The columns that are read; others are ignored.

    Raises
    ------
    TypeError
        If the table is something else.
    ValueError
        If it lacks a column, has no row, or columns of unequal length.
    """

    def __init__(self, table, names: Sequence[str]):
        self._columns = _columns_of(table, names)
        lengths = {name: len(column) for name, column in self._columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the columns have unequal lengths: {lengths}.")
        self._n_rows = next(iter(lengths.values()))
        if self._n_rows == 0:
            raise ValueError("the table has no row; give one at least.")

    def __len__(self):
        return self._n_rows

    def cells(self, name: str):
        """Return a column as it came."""
        return self._columns[name]

    def numbers(self, name: str) -> np.ndarray:
        """Return a numeric column: float64 of shape (n, 1), NaN where missing."""
        column = np.asarray(self._columns[name])
        if column.dtype.kind not in "biuf":
            column = np.array([_number(cell, name) for cell in column.astype(object)])
        column = column.astype(np.float64)
        if np.isinf(column).any():
            raise ValueError(
                f"column {name!r} contains infinity; replace it by a number or by NaN."
            )
        return column.reshape(-1, 1)

    def categories(self, name: str, missing: str) -> np.ndarray:
        """Return a column of categories: text, object of shape (n, 1).

        Parameters
        ----------
        name : str
        missing : str
            What stands for missing cells, and for numbers, which are no text that `fit` has seen.
        """
        cells = [_category(cell, missing, name) for cell in self._columns[name]]
        return np.array(cells, dtype=object).reshape(-1, 1)

    def numbered_categories(self, name: str) -> np.ndarray:
        """Return a column whose categories are numbers; text, which `fit` has not seen, is NaN."""
        cells = [np.nan if isinstance(cell, str) else cell for cell in self._columns[name]]
        return np.array([_number(cell, name) for cell in cells]).reshape(-1, 1)


def _columns_of(table, names):
    if isinstance(table, Sequence) and not isinstance(table, str):
        return _columns_of_rows(table, names)
    if isinstance(table, Mapping):
        present = list(table)
    elif hasattr(table, "columns") and hasattr(table, "__getitem__"):
        present = list(table.columns)
    else:
        raise TypeError(
            "table must be a dict of columns, a list with a dict for each row, or a DataFrame, "
            f"got {type(table).__name__}."
        )
    _check_present(names, present, "the table")
    return {name: _sized(table[name], name) for name in names}


def _columns_of_rows(rows, names):
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise TypeError(f"row {number} must be a dict, got {type(row).__name__}.")
        _check_present(names, row, f"row {number}")
    return {name: [row[name] for row in rows] for name in names}


def _check_present(names, present, where):
    for name in names:
        if name not in present:
            close = difflib.get_close_matches(name, [str(other) for other in present], n=1)
            hint = f"; did you call it {close[0]!r}?" if close else "."
            raise ValueError(
                f"{where} has no column {name!r}{hint} The model reads {', '.join(names)}."
            )


def _sized(column, name):
    if isinstance(column, (str, bytes)) or not isinstance(column, Iterable):
        raise TypeError(
            f"column {name!r} must hold a cell for each row, got {type(column).__name__}; "
            "put a single cell into a list."
        )
    return column if hasattr(column, "__len__") else list(column)


def _number(cell, name):
    if _is_missing(cell):
        return np.nan
    if isinstance(cell, (Real, np.bool_)):
        return float(cell)
    raise ValueError(f"column {name!r} must hold numbers, got {cell!r}.")


def _category(cell, missing, name):
    if isinstance(cell, str):
        return str(cell)
    if _is_missing(cell) or isinstance(cell, (Real, np.bool_)):
        return missing
    raise TypeError(
        f"column {name!r}: each category must be a string or a number, got {type(cell).__name__}."
    )


def _is_missing(cell):
    if cell is None or (isinstance(cell, (float, np.floating)) and np.isnan(cell)):
        return True
    pandas = sys.modules.get("pandas")  # its NA exists only where it was imported
    return pandas is not None and (cell is pandas.NA or cell is pandas.NaT)
