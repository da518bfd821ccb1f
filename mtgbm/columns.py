"""Columns of tables: which library they come in, which cells are missing, which are equal.

A table is a pandas or polars DataFrame or a 2-d array. What counts as a missing cell and which
cells are the same category is decided here and nowhere else.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

NUMERIC_KINDS = "biuf"


def frame_library(X) -> str | None:
    """Return "pandas" or "polars" for a DataFrame of that library, None for anything else."""
    for library in ("pandas", "polars"):
        # A frame exists only if its library was imported, so nothing is imported to ask.
        module = sys.modules.get(library)
        if module is not None and isinstance(X, module.DataFrame):
            return library
    return None


def validate_table(estimator, X, *, reset: bool):
    """Return X as a checked DataFrame or 2-d array; record or compare its feature names."""
    if frame_library(X) is None:
        return _validate_array(estimator, X, reset)
    _check_frame(X)
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    return X


def _validate_array(estimator, X, reset):
    checks = {"reset": reset, "ensure_all_finite": "allow-nan"}
    array = validate_data(estimator, X, dtype=None, **checks)
    if array.dtype.kind == "U":
        # numpy turns the 1 of [1, "a"] into "1" and cuts a longer fill: keep the cells themselves.
        return validate_data(estimator, X, dtype=object, **checks)
    return array


def _check_frame(X):
    check_distinct(X.columns, "Two columns of X share a name")
    if 0 in X.shape:
        raise ValueError(f"Expected at least one row and one column, got shape {X.shape}.")


def raw_column(X, position: int):
    """Return one column as the table has it: a Series of its library or a 1-d array."""
    library = frame_library(X)
    if library is None:
        return X[:, position]
    return X.iloc[:, position] if library == "pandas" else X.to_series(position)


def column_values(X, position: int) -> np.ndarray:
    """Return one column as a 1-d array whose cells keep their type."""
    library = frame_library(X)
    column = raw_column(X, position)
    if library is None:
        return column
    if library == "polars":
        # polars turns integers beside a null into floats, which merges large ids.
        return np.array(column.to_list(), object) if column.null_count() else column.to_numpy()
    is_plain = isinstance(column.dtype, np.dtype)
    return column.to_numpy() if is_plain else column.to_numpy(dtype=object)


def has_numeric_dtype(X, position: int) -> bool:
    """Whether the column is declared as numbers or booleans (a pandas category is not)."""
    library = frame_library(X)
    if library is None:
        return X.dtype.kind in NUMERIC_KINDS
    if library == "polars":
        import polars as pl

        dtype = X.dtypes[position]
        return dtype.is_numeric() or dtype == pl.Boolean
    import pandas as pd

    return pd.api.types.is_numeric_dtype(X.dtypes.iloc[position])


def factorize(values: np.ndarray, name: str) -> tuple[np.ndarray, list]:
    """Number the distinct cells of a column.

    Cells compare as Python compares them: 1 and 1.0 (and True) are one category, 1 and "1" two.
    None, NaN, pandas' NA and NaT are missing.

    Parameters
    ----------
    values : ndarray of shape (n,)
    name : str
        What to call the column in an error.

    Returns
    -------
    codes : ndarray of shape (n,), dtype intp
        Position of each cell in `categories`; -1 where the cell is missing.
    categories : list of bool, int, float or str
        In ascending order, numbers before strings.

    Raises
    ------
    TypeError
        If a cell is neither a string nor a number.
    ValueError
        If a cell is infinite.
    """
    if values.dtype.kind in NUMERIC_KINDS:
        codes, categories = _factorize_numbers(values)
    elif values.dtype.kind in "OUT":
        codes, categories = _factorize_cells(values.tolist(), name)
    else:
        raise _unsupported_cell(name, values.dtype)
    if math.inf in categories or -math.inf in categories:
        raise ValueError(f"{name} contains infinity; replace it by a number or by NaN.")
    return codes, categories


def _factorize_numbers(values):
    present = ~np.isnan(values)
    categories, positions = np.unique(values[present], return_inverse=True)
    codes = np.full(len(values), -1, dtype=np.intp)
    codes[present] = positions
    return codes, categories.tolist()


def _factorize_cells(cells, name):
    # Hashing finds the distinct cells in C; Python only looks at those.
    try:
        distinct = list(dict.fromkeys(cells))
    except TypeError as error:
        raise _unsupported_cell(name, "an unhashable object") from error
    nulls = _null_objects()
    plain = [_plain_cell(cell, nulls, name) for cell in distinct]
    categories = sorted(
        {cell for cell in plain if cell is not None},
        key=lambda cell: (isinstance(cell, str), cell),
    )
    position = {category: code for code, category in enumerate(categories)} | {None: -1}
    code_of = {cell: position[key] for cell, key in zip(distinct, plain, strict=True)}
    return np.fromiter(map(code_of.__getitem__, cells), np.intp, len(cells)), categories


def _null_objects():
    pandas = sys.modules.get("pandas")
    return (None,) if pandas is None else (None, pandas.NA, pandas.NaT)


def _plain_cell(cell, nulls, name):
    """Return the cell as a Python str, bool, int or float, or None where it is missing."""
    if isinstance(cell, np.generic):
        cell = cell.item()
    if isinstance(cell, str):
        return str(cell)
    if isinstance(cell, (int, float)):
        return None if math.isnan(cell) else cell
    if any(cell is null for null in nulls):
        return None
    raise _unsupported_cell(name, type(cell).__name__)


def _unsupported_cell(name, found):
    return TypeError(
        f"{name}: each category argument must be a string or a number, got {found}; "
        "convert the column, to strings for instance."
    )


def missing_mask(values: np.ndarray, name: str) -> np.ndarray:
    """Return where a column has no value, as a boolean array of its shape."""
    if values.dtype.kind in NUMERIC_KINDS:
        return np.isnan(values)
    return factorize(values, name)[0] < 0


def as_floats(values: np.ndarray, name: str) -> np.ndarray:
    """Return a column of numbers as float64, NaN where missing; refuse text."""
    if values.dtype.kind in NUMERIC_KINDS:
        return values.astype(np.float64)
    codes, categories = factorize(values, name)
    text = [category for category in categories if isinstance(category, str)]
    if text:
        raise ValueError(f"{name} must hold numbers, but it holds text such as {text[0]!r}.")
    return np.array([*categories, np.nan], dtype=np.float64)[codes]


def like_input(X, columns: Mapping[str, Any]):
    """Return the named columns in the container X came in; an array gets them side by side."""
    library = frame_library(X)
    if library == "pandas":
        import pandas as pd

        return pd.DataFrame(dict(columns), index=X.index)
    if library == "polars":
        import polars as pl

        return pl.DataFrame(dict(columns))
    return np.column_stack(list(columns.values()))


def check_distinct(names: Iterable, problem: str) -> None:
    """Raise ValueError, `problem` and the names, if some name occurs twice."""
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(f"{problem}: {repeated}.")


def check_choice(name: str, value, choices: tuple[str, ...]) -> None:
    """Raise ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {list(choices)}, got {value!r}.")


def is_finite_number(value) -> bool:
    """Whether `value` is a finite number; a bool is not."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
