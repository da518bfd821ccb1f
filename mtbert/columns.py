"""Which columns of a table are text, which are numbers and which are categories."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtgbm.columns import (
    check_distinct,
    column_values,
    frame_library,
    has_numeric_dtype,
    missing_mask,
)
from mtgbm.parameters import suggest

#: A column of strings with fewer distinct ones is a category unless nearly all differ.
FEWEST_TEXTS = 50
#: A column of that many strings is text if they have so many words on average.
FEWEST_WORDS = 5


@dataclass(frozen=True)
class ColumnRoles:
    """Names of the columns by their role, each in the order of the table.

    Attributes
    ----------
    text, numeric, categorical : tuple of str
        No column is in two of them; one in none of them is not used.
    """

    text: tuple[str, ...]
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]


def require_frame(X, name="X") -> None:
    """Raise TypeError unless X is a DataFrame of pandas or polars with strings as names."""
    if frame_library(X) is None:
        raise TypeError(
            f"{name} must be a pandas or polars DataFrame, got {type(X).__name__}; columns are "
            "found by name and type, so give the table itself."
        )
    strange = [name for name in X.columns if not isinstance(name, str)]
    if strange:
        raise TypeError(f"the names of the columns of {name} must be strings, got {strange[0]!r}.")


def assign_roles(X, text_columns, numeric_columns, categorical_columns) -> ColumnRoles:
    """Find out what each column is.

    Named columns are what the user says. With "auto", of the columns that are not named: those of
    numeric or boolean dtype are numbers; of those of strings the ones that look like text are text
    and the others categories, and so are columns of a categorical dtype. Strings look like text if
    more than half of them are distinct, or if more than 50 are and they have five words or more on
    average. Columns with lists of messages are text.

    Parameters
    ----------
    X : DataFrame
    text_columns, numeric_columns, categorical_columns : "auto", str or list of str

    Returns
    -------
    ColumnRoles

    Raises
    ------
    TypeError
        If a parameter is something else.
    ValueError
        If a column is not there, is named twice or cannot have its role; if there is no text
        column; if "auto" meets a column of another kind, such as dates.
    """
    names = list(X.columns)
    chosen = {
        "text_columns": _named("text_columns", text_columns, names),
        "numeric_columns": _named("numeric_columns", numeric_columns, names),
        "categorical_columns": _named("categorical_columns", categorical_columns, names),
    }
    named = [name for columns in chosen.values() for name in columns or ()]
    check_distinct(named, "A column has two roles")
    automatic = {role for role, columns in chosen.items() if columns is None}
    found: dict[str, list[str]] = {role: list(columns or ()) for role, columns in chosen.items()}
    for position, name in enumerate(names):
        if name not in named and automatic:
            role = _guess_role(X, position, name, automatic)
            found[role] += [name] if role in automatic else []
    roles = ColumnRoles(*(tuple(columns) for columns in found.values()))
    _check_roles(X, names, roles)
    return roles


def _named(parameter, value, names) -> list[str] | None:
    """The columns that the user named, None for "auto"."""
    if isinstance(value, str) and value == "auto":
        return None
    columns = [value] if isinstance(value, str) else value
    if not isinstance(columns, (list, tuple)) or not all(isinstance(c, str) for c in columns):
        raise TypeError(f"{parameter} must be 'auto', a name or a list of names, got {value!r}.")
    for column in columns:
        if column not in names:
            raise ValueError(
                f"{parameter} names {column!r}, which is no column of X; {suggest(column, names)}"
            )
    return sorted(columns, key=names.index)


def _guess_role(X, position, name, automatic):
    if has_numeric_dtype(X, position):
        return "numeric_columns"
    values = column_values(X, position)
    kind = _kind_of_cells(values)
    if kind == "lists":
        return "text_columns"
    if kind == "other":
        raise ValueError(
            f"column {name!r} holds neither text nor numbers nor categories, but "
            f"{type(values[0]).__name__}; convert it, or name the columns of "
            f"{' and '.join(sorted(automatic))} and leave it out."
        )
    is_category = _is_declared_category(X, position)
    return "text_columns" if not is_category and _looks_like_text(values) else "categorical_columns"


def _is_declared_category(X, position):
    dtype = list(X.dtypes)[position]
    return type(dtype).__name__ in ("CategoricalDtype", "Categorical", "Enum")


def _kind_of_cells(values):
    """ "cells" where strings and numbers are, "lists" of messages, "other" for dates and so on."""
    if values.dtype.kind not in "OUT":
        return "cells" if values.dtype.kind in "biuf" else "other"
    if any(isinstance(cell, (list, tuple, np.ndarray)) for cell in values):
        return "lists"
    try:
        missing_mask(values, "a column")
    except TypeError:
        return "other"
    return "cells"


def _looks_like_text(values):
    present = values[~missing_mask(values, "a column")]
    if not all(isinstance(cell, str) for cell in present):
        return False
    n_distinct = len(set(present.tolist()))
    if n_distinct > len(present) / 2 and n_distinct > 1:
        return True
    if n_distinct <= FEWEST_TEXTS:
        return False
    return sum(len(cell.split()) for cell in present) >= FEWEST_WORDS * len(present)


def _check_roles(X, names, roles):
    if not roles.text:
        raise ValueError(
            f"X has no text column among {names}; name one in text_columns. Tables without text "
            "are better served by mtgbm.MultiTaskLGBMClassifier."
        )
    for name in roles.text:
        if has_numeric_dtype(X, names.index(name)):
            raise ValueError(
                f"text column {name!r} holds numbers; name it in numeric_columns or "
                "categorical_columns, or turn it into text first, for instance with .astype(str)."
            )


def take_rows(X, rows: np.ndarray):
    """Return some rows of a DataFrame, by position."""
    return X.iloc[rows] if frame_library(X) == "pandas" else X[rows]


def take_columns(X, names):
    """Return some columns of a DataFrame, in the order of `names`."""
    return X[list(names)]


def cells_of(X, name: str) -> np.ndarray:
    """Return one column as a 1-d array whose cells keep their type."""
    return column_values(X, list(X.columns).index(name))
