"""Categories as risks: the smoothed mean label of each category, learned without leakage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.model_selection import KFold
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from mtgbm.columns import (
    as_floats,
    check_distinct,
    column_values,
    factorize,
    frame_library,
    has_numeric_dtype,
    is_finite_number,
    like_input,
    raw_column,
    validate_table,
)
from mtgbm.preprocessing._artifact import FileArtifact

_FORMAT = "mtgbm.risk_table_map"
_VERSION = 1


class RiskTableEncoder(FileArtifact, OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Replace each category by its smoothed risk, one column a task.

    The risk of a category is the mean label of its rows, drawn towards the mean of all rows (the
    prior) as if S more rows with that mean had been seen::

        risk(c) = (n_c * mean_c + S * prior) / (n_c + S),    S = int(n * smooth_factor)

    where n counts the rows with a label for the task, n_c those of them in category c, and the
    means are taken over these rows. A category with ``n_c <= count_threshold`` gets the prior, and
    so do missing cells and categories not seen by `fit`. This is target encoding with additive
    smoothing [1]_, repeated for each task.

    ``fit(X, y).transform(X)`` and ``fit_transform(X, y)`` differ on purpose. A row's own label is
    part of the full tables, so training on ``fit(X, y).transform(X)`` leaks it. `fit_transform`
    encodes each row with tables learned from the other folds; `transform` uses the full tables and
    is for rows that took no part in `fit`.

    Parameters
    ----------
    columns : list of str or int, default=None
        The columns to encode, by name or position. None encodes every column of an array and the
        string, category and object columns of a DataFrame. The other columns must be numeric and
        are passed through.
    tasks : str, int or list of these, default=None
        The tasks whose risk is learned, by name or position in `y`; ``tasks=0`` keeps to the
        first. None takes all of them.
    smooth_factor : float, default=0.01
        S as a share of the labelled rows. 0 is the plain mean.
    count_threshold : int, default=0
        Categories with at most this many labelled rows get the prior.
    cv : int, default=5
        Number of folds of `fit_transform`, at least 2.
    shuffle : bool, default=True
        Whether `fit_transform` shuffles the rows before it cuts the folds.
    random_state : int, RandomState instance or None, default=None
        Seed of that shuffling.

    Attributes
    ----------
    risk_tables_ : dict
        ``risk_tables_[column][output][category]`` is a risk. An output is a task, or
        ``{task}_{class}`` for each class of a multiclass task (``{class}`` if it is the only task).
    prior_ : dict
        ``prior_[output]`` is the mean label.
    task_names_ : list of str
        The columns of a DataFrame `y`, the name of a Series, or task0, task1, ...
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)
        Only if X had string column names.

    Notes
    -----
    Categories are strings, numbers or booleans and compare as in Python: 1 and 1.0 (and True) are
    the same, 1 and "1" are not.

    An encoded column takes the place of its source and is called ``{column}_risk``, or
    ``{column}_risk_{output}`` if there is more than one output.

    References
    ----------
    .. [1] D. Micci-Barreca, "A preprocessing scheme for high-cardinality categorical attributes in
       classification and prediction problems", SIGKDD Explorations 3(1), 2001.

    Examples
    --------
    >>> from mtgbm.preprocessing import RiskTableEncoder
    >>> X = [["AA"], ["AA"], ["UA"], ["UA"]]
    >>> encoder = RiskTableEncoder(smooth_factor=0.5).fit(X, [1, 1, 1, 0])
    >>> encoder.transform([["AA"], ["UA"], ["new"]])
    array([[0.875],
           [0.625],
           [0.75 ]])
    """

    _artifact_name = "risk_table_map"

    def __init__(
        self,
        columns=None,
        *,
        tasks=None,
        smooth_factor=0.01,
        count_threshold=0,
        cv=5,
        shuffle=True,
        random_state=None,
    ):
        self.columns = columns
        self.tasks = tasks
        self.smooth_factor = smooth_factor
        self.count_threshold = count_threshold
        self.cv = cv
        self.shuffle = shuffle
        self.random_state = random_state

    def fit(self, X, y) -> RiskTableEncoder:
        """Learn the tables from all rows.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_features)
        y : array-like or DataFrame of shape (n,) or (n, n_tasks)
            A task with labels 0 and 1 is binary, with any other set of integers or strings
            multiclass. NaN or None is no label: the row does not count for that task.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If a cell of an encoded column is neither a string nor a number.
        ValueError
            If `y` is None, continuous, of another length than X or without a label for some task;
            if a parameter is out of range or names a column or task that is not there; if a column
            that is passed through is not numeric.
        """
        self._learn(X, y)
        return self

    def fit_transform(self, X, y):
        """Learn the tables from all rows and encode each row from the other folds only.

        Each fold is encoded exactly as if `fit` had seen only the other folds.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_features)
        y : array-like or DataFrame of shape (n,) or (n, n_tasks)
            As for `fit`.

        Returns
        -------
        X_encoded : DataFrame or ndarray of shape (n, n_features_out)
            A pandas or polars DataFrame if X is one, else float64.

        Raises
        ------
        ValueError
            Also if there are fewer rows than folds, or a task has all its labels in one fold.
        """
        X, bins, labels = self._learn(X, y)
        fold_of = _deal_folds(self, labels)
        return self._assemble(
            X,
            {
                name: _out_of_fold_risks(*column, fold_of, labels, self._smooth)
                for name, column in bins.items()
            },
        )

    def transform(self, X):
        """Encode rows that took no part in `fit`, with the full tables.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_features)

        Returns
        -------
        X_encoded : DataFrame or ndarray of shape (n, n_features_out)
            A pandas or polars DataFrame if X is one, else float64.

        Raises
        ------
        TypeError
            If a cell of an encoded column is neither a string nor a number.
        ValueError
            If the features are not those of `fit`.
        """
        check_is_fitted(self, "risk_tables_")
        X = validate_table(self, X, reset=False)
        risks = {
            name: self._look_up(name, column_values(X, position))
            for position, name in enumerate(self._input_names())
            if name in self.risk_tables_
        }
        return self._assemble(X, risks)

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
        check_is_fitted(self, "risk_tables_")
        fitted_names = self._input_names()
        shown_names = super().get_feature_names_out(input_features)
        names: list[str] = []
        for fitted, shown in zip(fitted_names, shown_names, strict=True):
            is_encoded = fitted in self.risk_tables_
            names += _risk_names(shown, self.prior_) if is_encoded else [shown]
        return np.array(names, dtype=object)

    def to_dict(self) -> dict:
        """Return the tables as plain lists, dicts, strings and numbers.

        A table is a list of ``[category, risk]`` pairs, because the keys of a JSON object are
        strings and would lose the type of a category. The folds' parameters are left out.

        Returns
        -------
        content : dict
            Keys format, version, smooth_factor, count_threshold, n_features, feature_names,
            task_names, prior, risk_tables.
        """
        check_is_fitted(self, "risk_tables_")
        names = getattr(self, "feature_names_in_", None)
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "smooth_factor": float(self.smooth_factor),
            "count_threshold": int(self.count_threshold),
            "n_features": self.n_features_in_,
            "feature_names": None if names is None else list(names),
            "task_names": list(self.task_names_),
            "prior": dict(self.prior_),
            "risk_tables": {
                column: {
                    output: [list(pair) for pair in table.items()]
                    for output, table in tables.items()
                }
                for column, tables in self.risk_tables_.items()
            },
        }

    @classmethod
    def from_dict(cls, content: Mapping) -> RiskTableEncoder:
        """Return a fitted encoder with the tables of `to_dict`.

        Parameters
        ----------
        content : dict

        Returns
        -------
        encoder : RiskTableEncoder
            Its `columns` are those of the tables; the folds' parameters are the defaults.

        Raises
        ------
        ValueError
            If `content` has another format or version, or lacks a key.
        """
        _check_content(content)
        tables = content["risk_tables"]
        encoder = cls(
            list(tables),
            smooth_factor=content["smooth_factor"],
            count_threshold=content["count_threshold"],
        )
        encoder.n_features_in_ = content["n_features"]
        if content["feature_names"] is not None:
            encoder.feature_names_in_ = np.array(content["feature_names"], dtype=object)
        encoder.task_names_ = list(content["task_names"])
        encoder.prior_ = dict(content["prior"])
        encoder.risk_tables_ = {
            column: {output: dict(pairs) for output, pairs in outputs.items()}
            for column, outputs in tables.items()
        }
        return encoder

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        tags.input_tags.allow_nan = True
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        return tags

    def _learn(self, X, y):
        """Set the fitted attributes; return X, {column: (bins, number of bins)} and the labels."""
        _check_parameters(self)
        if y is None:
            validate_data(self, X, y, skip_check_array=True)  # raises what scikit-learn says here
        X = validate_table(self, X, reset=True)
        labels = _read_labels(y, self.tasks)
        check_consistent_length(X, labels.hits.T)
        columns = {
            name: factorize(column_values(X, position), f"Column {name!r}")
            for name, position in self._columns_to_encode(X).items()
        }
        self._check_output(X, columns, labels.outputs)

        bins = {name: _bin(codes, categories) for name, (codes, categories) in columns.items()}
        self.task_names_ = labels.task_names
        self.prior_ = dict(zip(labels.outputs, labels.prior().tolist(), strict=True))
        self.risk_tables_ = {
            name: self._tables(*bins[name], categories, labels)
            for name, (_, categories) in columns.items()
        }
        return X, bins, labels

    def _tables(self, bins, n_bins, categories, labels):
        risks = self._smooth(*labels.count(bins, n_bins))[:, :-1]
        return {
            output: dict(zip(categories, row.tolist(), strict=True))
            for output, row in zip(labels.outputs, risks, strict=True)
        }

    def _smooth(self, counts, hits):
        return _smoothed_risks(counts, hits, self.smooth_factor, self.count_threshold)

    def _look_up(self, name, values):
        """Return the risks of a column's cells from the full tables, (n_outputs, n)."""
        codes, categories = factorize(values, f"Column {name!r}")
        risks = [
            [*(table.get(category, prior) for category in categories), prior]
            for table, prior in zip(
                self.risk_tables_[name].values(), self.prior_.values(), strict=True
            )
        ]
        return np.array(risks)[:, codes]  # the code -1 of a missing cell reads the prior

    def _assemble(self, X, risks):
        columns = {}
        for position, name in enumerate(self._input_names()):
            if name in risks:
                columns |= dict(zip(_risk_names(name, self.prior_), risks[name], strict=True))
            else:
                columns[name] = _numeric_column(X, position, name)
        return like_input(X, columns)

    def _input_names(self):
        return super().get_feature_names_out().tolist()

    def _columns_to_encode(self, X):
        """Return {name: position} in the order of X."""
        names = self._input_names()
        if self.columns is not None:
            positions = sorted(_positions(self.columns, names, "columns"))
        elif frame_library(X) is None:
            positions = range(len(names))
        else:
            positions = [i for i in range(len(names)) if not has_numeric_dtype(X, i)]
        return {names[position]: position for position in positions}

    def _check_output(self, X, encoded, outputs):
        names = []
        for position, name in enumerate(self._input_names()):
            if name in encoded:
                names += _risk_names(name, outputs)
            else:
                _numeric_column(X, position, name)  # raises if it holds text
                names.append(name)
        check_distinct(names, "Two output columns would share a name; rename an input or a task")


def _check_parameters(encoder):
    smooth_factor = encoder.smooth_factor
    if not is_finite_number(smooth_factor) or smooth_factor < 0:
        raise ValueError(f"smooth_factor must be a finite number >= 0, got {smooth_factor!r}.")
    for name, least in (("count_threshold", 0), ("cv", 2)):
        value = getattr(encoder, name)
        if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name} must be an integer >= {least}, got {value!r}.")


def _positions(selection, names, what):
    """Turn names and positions, one or a list, into distinct positions in `names`."""
    items = [selection] if isinstance(selection, (str, Integral)) else list(selection)
    positions = []
    for item in items:
        if isinstance(item, str) and item in names:
            positions.append(names.index(item))
        elif isinstance(item, Integral) and not isinstance(item, bool) and 0 <= item < len(names):
            positions.append(int(item))
        else:
            raise ValueError(
                f"{what} must hold names or positions among {names}, got {item!r}, "
                "which is neither."
            )
    check_distinct([names[i] for i in positions], f"{what} names one twice")
    return positions


def _risk_names(column, outputs):
    if len(outputs) == 1:
        return [f"{column}_risk"]
    return [f"{column}_risk_{output}" for output in outputs]


def _numeric_column(X, position, name):
    """Return a column that is passed through: as it is in a DataFrame, as float64 in an array."""
    if frame_library(X) is None:
        return as_floats(X[:, position], f"Column {name!r}, which is not encoded,")
    if not has_numeric_dtype(X, position):
        raise ValueError(
            f"Column {name!r} is passed through and must be numeric, but its type is "
            f"{list(X.dtypes)[position]}; add it to columns= or drop it."
        )
    return raw_column(X, position)


@dataclass(frozen=True)
class _Labels:
    """The labels of the chosen tasks as 0/1 outputs: one a binary task, one a class otherwise."""

    task_names: list[str]
    outputs: list[str]
    hits: np.ndarray  # (n_outputs, n): 1.0 where the row is labelled with the output's class
    labelled: np.ndarray  # (n_outputs, n): 1.0 where the row has a label for the output's task

    def prior(self):
        return self.hits.sum(axis=1) / self.labelled.sum(axis=1)

    def count(self, groups, n_groups):
        """Return the labelled rows and the hits of each group, two (n_outputs, n_groups)."""
        return tuple(
            np.array([np.bincount(groups, weights=row, minlength=n_groups) for row in rows])
            for rows in (self.labelled, self.hits)
        )


def _read_labels(y, tasks):
    columns = _label_columns(y)
    names = list(columns)
    chosen = names if tasks is None else [names[i] for i in _positions(tasks, names, "tasks")]
    if not chosen:
        raise ValueError(f"tasks must choose at least one of {names}, got {tasks!r}.")
    outputs, hits, labelled = [], [], []
    for name in chosen:
        codes, classes = _read_task(columns[name], name)
        for label in [1] if set(classes) <= {0, 1} else classes:
            outputs.append(_output_name(name, label, classes, alone=len(chosen) == 1))
            hits.append(codes == (classes.index(label) if label in classes else len(classes)))
            labelled.append(codes >= 0)
    check_distinct(outputs, "Two outputs would share a name; rename a task or a class")
    return _Labels(chosen, outputs, np.array(hits, float), np.array(labelled, float))


def _label_columns(y):
    """Return {task name: values}, in the order of y's columns."""
    if frame_library(y) is not None:
        names = [str(name) for name in y.columns]
        check_distinct(names, "Two tasks share a name")
        return {name: column_values(y, i) for i, name in enumerate(names)}
    name = getattr(y, "name", None)
    values = np.asarray(y)
    if values.ndim == 1:
        return {name if isinstance(name, str) and name else "task0": values}
    if values.ndim != 2 or values.shape[1] == 0:
        raise ValueError(f"y must be of shape (n,) or (n, n_tasks), got shape {values.shape}.")
    return {f"task{t}": values[:, t] for t in range(values.shape[1])}


def _read_task(values, name):
    codes, classes = factorize(values, f"Task {name!r}")
    if not classes:
        raise ValueError(f"Task {name!r} has no label: every value is missing; drop the task.")
    continuous = [label for label in classes if isinstance(label, float) and label % 1]
    if continuous:
        raise ValueError(
            f"Unknown label type: task {name!r} must hold class labels (integers or strings), "
            f"got {continuous[0]!r}."
        )
    return codes, classes


def _output_name(task, label, classes, alone):
    if set(classes) <= {0, 1}:
        return task
    label = label if isinstance(label, str) else int(label)
    return str(label) if alone else f"{task}_{label}"


def _bin(codes, categories):
    """Give missing cells the bin after the last category; return the bins and their number."""
    return np.where(codes < 0, len(categories), codes), len(categories) + 1


def _smoothed_risks(counts, hits, smooth_factor, count_threshold):
    """Return the smoothed risk of each bin.

    Parameters
    ----------
    counts, hits : ndarray of shape (..., n_bins)
        Labelled rows, and those of them with label 1; the last bin is that of missing cells.
    smooth_factor : float
    count_threshold : int

    Returns
    -------
    risks : ndarray of shape (..., n_bins)
        The prior in the last bin.
    """
    n = counts.sum(axis=-1, keepdims=True)
    prior = hits.sum(axis=-1, keepdims=True) / n
    strength = np.floor(n * smooth_factor)
    is_learned = counts > count_threshold
    is_learned[..., -1] = False
    weight = np.where(is_learned, counts + strength, 1.0)  # 1: no 0/0 in bins that get the prior
    return np.where(is_learned, (hits + strength * prior) / weight, prior)


def _deal_folds(encoder, labels):
    """Return the fold of each row, 0 to cv - 1."""
    random_state = encoder.random_state if encoder.shuffle else None
    folds = KFold(encoder.cv, shuffle=encoder.shuffle, random_state=random_state)
    fold_of = np.empty(labels.hits.shape[1], dtype=np.intp)
    for fold, (_, held_out) in enumerate(folds.split(fold_of)):
        fold_of[held_out] = fold
    inside, _ = labels.count(fold_of, encoder.cv)
    alone = (inside == inside.sum(axis=1, keepdims=True)).any(axis=1)
    if alone.any():
        output = labels.outputs[int(np.argmax(alone))]
        raise ValueError(
            f"All labels of {output!r} fall in one fold, which leaves none to learn from; "
            "use fewer folds, shuffle=True or drop the task."
        )
    return fold_of


def _out_of_fold_risks(bins, n_bins, fold_of, labels, smooth):
    """Return each row's risks learned from the other folds, (n_outputs, n)."""
    n_folds = fold_of.max() + 1
    inside = [
        counted.reshape(-1, n_folds, n_bins)
        for counted in labels.count(fold_of * n_bins + bins, n_folds * n_bins)
    ]
    # What the other folds hold is what all hold less the fold's own: one pass over the rows.
    outside = [counted.sum(axis=1, keepdims=True) - counted for counted in inside]
    return smooth(*outside)[:, fold_of, bins]


def _check_content(content):
    if not isinstance(content, Mapping):
        raise ValueError(f"Expected the dict of to_dict, got {type(content).__name__}.")
    expected = {"format": _FORMAT, "version": _VERSION}
    found = {key: content.get(key) for key in expected}
    if found != expected:
        raise ValueError(f"Expected the content of to_dict with {expected}, got {found}.")
    required = {
        "smooth_factor",
        "count_threshold",
        "n_features",
        "feature_names",
        "task_names",
        "prior",
        "risk_tables",
    }
    missing = sorted(required - set(content))
    if missing:
        raise ValueError(f"The content of to_dict must have the keys {missing}, which it lacks.")
