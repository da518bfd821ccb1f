"""From the feature table of a user to one float matrix, categories numbered."""

from numbers import Integral

import numpy as np
from sklearn.utils.validation import check_array, validate_data

from mtgbm.columns import (
    check_distinct,
    column_values,
    factorize,
    frame_library,
    has_numeric_dtype,
)
from mtgbm.engine._infinity import has_infinity
from mtgbm.engine.threads import threads_for_jobs
from mtgbm.parameters import suggest

FLOATS = [np.float64, np.float32]


class FeatureReader:
    """Reads X into float32 or float64, NaN where missing.

    Arrays and sparse matrices are taken as they are. Of a pandas or polars DataFrame the columns
    of categorical dtype, or those named in `categorical_feature`, become numbers: the position of
    the category among those seen in `fit`, NaN for others.

    Parameters
    ----------
    categorical_feature : "auto" or list of int or str
        LightGBM's name. "auto" takes the columns of categorical dtype.

    Attributes
    ----------
    is_categorical_ : ndarray of bool of shape (n_features,)
    categories_ : dict
        Position of a DataFrame's categorical column: its categories.
    """

    def __init__(self, categorical_feature="auto"):
        self.categorical_feature = categorical_feature

    def fit_transform(self, estimator, X):
        """Learn the categories of X, record its names on `estimator`, and read it."""
        self.categories_ = {}
        if frame_library(X) is None:
            matrix = _read_array(estimator, X, reset=True)
            self.is_categorical_ = self._chosen(X, matrix.shape[1])
            return matrix
        check_distinct(X.columns, "Two columns of X share a name")
        validate_data(estimator, X, reset=True, skip_check_array=True)
        self.is_categorical_ = self._chosen(X, X.shape[1])
        self._refuse_text(X)
        return self._read_frame(X, fit=True)

    def transform(self, estimator, X):
        """Read other rows; names and number of columns must be those of `fit`."""
        if _passes_unchanged(estimator, X):
            return X
        # After an array, whose categories are numbers already, those of a DataFrame are too.
        if frame_library(X) is None or (self.is_categorical_.any() and not self.categories_):
            return _read_array(estimator, X, reset=False)
        validate_data(estimator, X, reset=False, skip_check_array=True)
        return self._read_frame(X, fit=False)

    def _read_frame(self, X, fit):
        if self.is_categorical_.any() or not _all_numeric(X):
            X = self._number_categories(X, fit)
        return check_array(X, dtype=FLOATS, ensure_all_finite="allow-nan", input_name="X")

    def _chosen(self, X, n_features):
        """Which features are categorical."""
        chosen = np.zeros(n_features, dtype=bool)
        names = list(X.columns) if frame_library(X) else []
        if isinstance(self.categorical_feature, str):
            if self.categorical_feature != "auto":
                raise ValueError(self._expected())
            chosen[[i for i in range(len(names)) if _is_category(X, i)]] = True
            return chosen
        if not hasattr(self.categorical_feature, "__iter__"):
            raise TypeError(self._expected())
        for feature in self.categorical_feature:
            chosen[_position(feature, names, n_features)] = True
        return chosen

    def _expected(self):
        return (
            "categorical_feature must be 'auto' or a list of names or positions, got "
            f"{self.categorical_feature!r}."
        )

    def _refuse_text(self, X):
        text = [
            str(name)
            for position, name in enumerate(X.columns)
            if not self.is_categorical_[position] and not has_numeric_dtype(X, position)
        ]
        if text:
            raise ValueError(
                f"columns {text} do not hold numbers; give them a categorical dtype, name them in "
                "categorical_feature, or put a RiskTableEncoder in front."
            )

    def _number_categories(self, X, fit):
        columns = []
        for position, name in enumerate(X.columns):
            values = column_values(X, position)
            if self.is_categorical_[position]:
                values = self._numbers(position, values, str(name), fit)
            columns.append(np.asarray(values, dtype=np.float64))
        return np.column_stack(columns)

    def _numbers(self, position, values, name, fit):
        codes, categories = factorize(values, f"column {name!r}")
        if fit:
            self.categories_[position] = categories
        known = {category: code for code, category in enumerate(self.categories_[position])}
        table = np.array([known.get(category, np.nan) for category in categories] + [np.nan])
        return table[codes]


def _passes_unchanged(estimator, X):
    """Whether X is an array that scikit-learn's checks would return as it is, without a word.

    They take several times as long as the prediction of one row, and use one thread for many. All
    that they would refuse, convert or warn of is left to them.
    """
    return (
        type(X) is np.ndarray
        and X.dtype in FLOATS
        and X.flags.c_contiguous
        and X.ndim == 2
        and len(X) > 0
        and X.shape[1] == estimator.n_features_in_
        and not hasattr(estimator, "feature_names_in_")
        and not has_infinity(X, threads_for_jobs(X.size // 8, estimator.n_jobs))
    )


def _read_array(estimator, X, reset):
    """An array or sparse matrix as scikit-learn checks it."""
    return validate_data(
        estimator,
        X,
        reset=reset,
        dtype=FLOATS,
        accept_sparse="csr",
        ensure_all_finite="allow-nan",
    )


def _all_numeric(X):
    return all(has_numeric_dtype(X, position) for position in range(X.shape[1]))


def _is_category(X, position):
    """Whether a column's dtype is the library's categorical one."""
    return type(
        X.dtypes.iloc[position] if hasattr(X.dtypes, "iloc") else X.dtypes[position]
    ).__name__ in (
        "CategoricalDtype",
        "Categorical",
        "Enum",
    )


def _position(feature, names, n_features):
    """Position of a feature given by name or position."""
    if isinstance(feature, str):
        if not names:
            raise ValueError(
                f"categorical_feature names {feature!r}, but X has no column names; give positions "
                "or a DataFrame."
            )
        if feature not in names:
            raise ValueError(
                f"categorical_feature names {feature!r}, which is no column of X; "
                f"{suggest(feature, names)}"
            )
        return names.index(feature)
    if not isinstance(feature, Integral) or not 0 <= feature < n_features:
        raise ValueError(
            f"categorical_feature has {feature}, but X has {n_features} features, numbered from 0."
        )
    return feature
