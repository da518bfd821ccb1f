"""Missing cells filled by a value a column, which is all the imputer remembers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.impute import SimpleImputer
from sklearn.utils.validation import check_is_fitted

from mtgbm.columns import (
    NUMERIC_KINDS,
    as_floats,
    check_choice,
    column_values,
    factorize,
    frame_library,
    has_numeric_dtype,
    is_finite_number,
    like_input,
    missing_mask,
    raw_column,
    validate_table,
)
from mtgbm.preprocessing._artifact import FileArtifact


class MissingValueImputer(FileArtifact, OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Fill the missing cells of numeric and categorical columns, one value a column.

    The fill values are learned by :class:`sklearn.impute.SimpleImputer`; this class finds out which
    columns are numbers, keeps DataFrames, and exchanges the fills as a plain dict. None, NaN and
    pandas' NA are missing.

    A column is numeric if its dtype is, or if it is of object dtype and all its present cells are
    numbers; any other is categorical, a pandas category included.

    Parameters
    ----------
    strategy : {"mean", "median", "most_frequent", "constant"}, default="mean"
        How the fill of a numeric column is found.
    fill_value : float, default=0.0
        The fill of numeric columns when ``strategy="constant"``.
    categorical_strategy : {"most_frequent", "constant"}, default="most_frequent"
        How the fill of a categorical column is found. The first in ascending order wins a tie.
    categorical_fill_value : str, default="Unknown"
        The fill of categorical columns when ``categorical_strategy="constant"``, and of those
        without a single value.
    add_indicator : bool, default=False
        Whether to append a column ``missingindicator_{column}`` of 0.0 and 1.0 for every input
        column, with or without missing cells in `fit`, so the width never depends on the rows.

    Attributes
    ----------
    impute_dict_ : dict
        Column name to fill value, in the order of the columns.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)
        Only if X had string column names.

    Notes
    -----
    A column with nothing but missing cells is kept: filled with 0 (or `fill_value`) if numeric,
    with `categorical_fill_value` otherwise, and named in a UserWarning.

    A column keeps its dtype where that can hold the fill: pandas categories gain it as a category,
    nullable integers and numbers of object dtype become float64, polars Categorical and Enum become
    String. An array with numeric columns only comes back as floats, any other with object dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from mtgbm.preprocessing import MissingValueImputer
    >>> MissingValueImputer().fit_transform([[1.0, 5.0], [3.0, np.nan]])
    array([[1., 5.],
           [3., 5.]])
    """

    _artifact_name = "impute_dict"

    def __init__(
        self,
        strategy="mean",
        *,
        fill_value=0.0,
        categorical_strategy="most_frequent",
        categorical_fill_value="Unknown",
        add_indicator=False,
    ):
        self.strategy = strategy
        self.fill_value = fill_value
        self.categorical_strategy = categorical_strategy
        self.categorical_fill_value = categorical_fill_value
        self.add_indicator = add_indicator

    def fit(self, X, y=None) -> MissingValueImputer:
        """Learn the fill of each column.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_features)
        y : None
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If a cell is neither a string nor a number.
        ValueError
            If a parameter is not one of its choices, or X is empty or holds infinity.
        """
        self._check_parameters()
        X = validate_table(self, X, reset=True)
        fills, empty = {}, []
        for position, name in enumerate(self._input_names()):
            fills[name], is_empty = self._learn_fill(X, position, f"Column {name!r}")
            empty += [name] if is_empty else []
        if empty:
            warnings.warn(
                f"Columns {empty} have no value at all; they are kept and filled with "
                f"{[fills[name] for name in empty]}.",
                UserWarning,
                stacklevel=2,
            )
        self.impute_dict_ = fills
        return self

    def transform(self, X):
        """Fill the missing cells.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_features)

        Returns
        -------
        X_filled : DataFrame or ndarray of shape (n, n_features_out)
            A pandas or polars DataFrame if X is one.

        Raises
        ------
        TypeError
            If a cell is neither a string nor a number.
        ValueError
            If the features are not those of `fit`.
        """
        check_is_fitted(self, "impute_dict_")
        X = validate_table(self, X, reset=False)
        columns, indicators = {}, {}
        for position, (name, fill) in enumerate(self.impute_dict_.items()):
            columns[name], missing = _fill_column(X, position, fill, f"Column {name!r}")
            indicators[_indicator_name(name)] = missing.astype(np.float64)
        return like_input(X, columns | indicators if self.add_indicator else columns)

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        """Return the names of the columns of `transform`.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names for the columns of X, if it had none; else they must be `feature_names_in_`.

        Returns
        -------
        feature_names_out : ndarray of str objects
        """
        check_is_fitted(self, "impute_dict_")
        names = super().get_feature_names_out(input_features).tolist()
        if self.add_indicator:
            names += [_indicator_name(name) for name in names]
        return np.array(names, dtype=object)

    def to_dict(self) -> dict:
        """Return column name to fill value, a copy of `impute_dict_`."""
        check_is_fitted(self, "impute_dict_")
        return dict(self.impute_dict_)

    @classmethod
    def from_dict(cls, impute_dict: Mapping, **params) -> MissingValueImputer:
        """Return a fitted imputer with these fill values.

        Parameters
        ----------
        impute_dict : dict
            Column name to fill value (a string or a finite number), for every column of the tables
            to come, in their order. Names x0, x1, ... stand for columns without a name.
        **params
            Parameters of the class; of these only `add_indicator` matters to `transform`.

        Returns
        -------
        imputer : MissingValueImputer

        Raises
        ------
        ValueError
            If the dict is empty, or has a name or a fill of another kind.
        """
        _check_impute_dict(impute_dict)
        imputer = cls(**params)
        imputer.n_features_in_ = len(impute_dict)
        if list(impute_dict) != [f"x{i}" for i in range(len(impute_dict))]:
            imputer.feature_names_in_ = np.array(list(impute_dict), dtype=object)
        imputer.impute_dict_ = dict(impute_dict)
        return imputer

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _check_parameters(self):
        numeric = ("mean", "median", "most_frequent", "constant")
        check_choice("strategy", self.strategy, numeric)
        check_choice("categorical_strategy", self.categorical_strategy, numeric[2:])
        if not is_finite_number(self.fill_value):
            raise ValueError(f"fill_value must be a finite number, got {self.fill_value!r}.")
        if not isinstance(self.categorical_fill_value, str):
            raise ValueError(
                f"categorical_fill_value must be a string, got {self.categorical_fill_value!r}."
            )

    def _input_names(self):
        return super().get_feature_names_out().tolist()

    def _learn_fill(self, X, position, name):
        """Return the fill of a column and whether the column has no value at all."""
        values = column_values(X, position)
        if has_numeric_dtype(X, position):
            return self._numeric_fill(as_floats(values, name))
        codes, categories = factorize(values, name)
        if categories and _are_undeclared_numbers(X, position, categories):
            return self._numeric_fill(as_floats(values, name))
        if not categories or self.categorical_strategy == "constant":
            return self.categorical_fill_value, not categories
        # Ascending codes stand for the categories, so scikit-learn never meets mixed types.
        mode = _learned_statistic(np.where(codes < 0, np.nan, codes), "most_frequent")
        return categories[int(mode)], False

    def _numeric_fill(self, floats):
        fill = _learned_statistic(floats, self.strategy, self.fill_value)
        return fill, bool(np.isnan(floats).all())


def _indicator_name(name):
    return f"missingindicator_{name}"


def _learned_statistic(values, strategy, fill_value=None):
    imputer = SimpleImputer(strategy=strategy, fill_value=fill_value, keep_empty_features=True)
    return float(imputer.fit(values.reshape(-1, 1)).statistics_[0])


def _are_undeclared_numbers(X, position, categories):
    """Whether a column without a numeric dtype holds numbers that nobody declared categories."""
    if frame_library(X) == "pandas" and X.dtypes.iloc[position] == "category":
        return False
    return not any(isinstance(category, str) for category in categories)


def _fill_column(X, position, fill, name):
    """Return the filled column and where it was missing."""
    values = column_values(X, position)
    if has_numeric_dtype(X, position):
        missing = missing_mask(values, name)
        if not isinstance(fill, str):
            return _fill_numbers(X, position, missing, fill, name), missing
    else:
        codes, categories = factorize(values, name)
        missing = codes < 0
        if not isinstance(fill, str) and _are_undeclared_numbers(X, position, categories):
            return np.where(missing, fill, as_floats(values, name)), missing
    return _fill_cells(X, position, missing, fill), missing


def _fill_numbers(X, position, missing, fill, name):
    if frame_library(X) and not missing.any():
        return raw_column(X, position)
    values = column_values(X, position)
    floats = values if values.dtype.kind == "f" else as_floats(values, name)
    return np.where(missing, fill, floats)


def _fill_cells(X, position, missing, fill):
    library = frame_library(X)
    column = raw_column(X, position)
    if library is None:
        return np.where(missing, fill, column.astype(object))
    return (_fill_pandas if library == "pandas" else _fill_polars)(column, missing, fill)


def _fill_pandas(series, missing, fill):
    if not missing.any():
        return series
    if series.dtype == "category":
        if fill not in series.cat.categories:
            series = series.cat.add_categories([fill])
    elif series.dtype.kind in NUMERIC_KINDS:
        series = series.astype(object)
    filled = series.copy()
    filled[missing] = fill
    return filled


def _fill_polars(series, missing, fill):
    import polars as pl

    return series.cast(pl.String).scatter(np.flatnonzero(missing), str(fill))


def _check_impute_dict(impute_dict):
    if not isinstance(impute_dict, Mapping) or not impute_dict:
        raise ValueError(f"impute_dict must name a fill for each column, got {impute_dict!r}.")
    for name, fill in impute_dict.items():
        if not isinstance(name, str):
            raise ValueError(f"impute_dict names columns by strings, got {name!r}.")
        if not isinstance(fill, (str, bool)) and not is_finite_number(fill):
            raise ValueError(
                f"The fill of {name!r} must be a string or a finite number, got {fill!r}."
            )
