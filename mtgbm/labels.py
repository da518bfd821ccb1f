"""From the label table of a user to class numbers per task, and back."""

import warnings

import numpy as np
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite, check_array, column_or_1d

from mtgbm.columns import check_distinct, missing_mask
from mtgbm.objectives import Task
from mtgbm.parameters import choose, per_task

MISSING = -1
KINDS = {"binary": "binary", "multiclass": "multiclass"}


class LabelEncoder:
    """Learns the tasks and classes of Y and numbers its labels.

    A 1-d Y is one task with any two or more classes, as in every scikit-learn classifier. A 2-d Y
    has one task per column: binary with labels {0, 1, NaN} unless `objective` says "multiclass".

    Parameters
    ----------
    objective : None, {"binary", "multiclass"}, list or dict
        The kind of every task, of each in order, or of some by name.

    Attributes
    ----------
    is_1d_ : bool
    task_names_ : list of str
    classes_ : list of ndarray
        The classes of each task, ascending.
    tasks_ : list of Task
    """

    def __init__(self, objective=None):
        self.objective = objective

    def fit_transform(self, Y, label_mask=None, classes=None):
        """Number the labels.

        Parameters
        ----------
        Y : array-like of shape (n_rows,) or (n_rows, n_tasks)
        label_mask : array-like of bool of the shape of Y, optional
            False where the label is to be treated as missing.
        classes : array-like, or list of array-like, optional
            All classes of a 1-d Y, or of each task, where rows to come may hold others than Y.

        Returns
        -------
        ndarray of int16 of shape (n_rows, n_tasks)
            Class numbers, -1 where missing.
        """
        columns = self._columns(Y)
        self.is_1d_ = columns.ndim == 1
        self.task_names_ = task_names(Y, 1 if self.is_1d_ else columns.shape[1])
        self._is_named = hasattr(Y, "columns")
        check_distinct(self.task_names_, "Two tasks of Y share a name")
        columns = columns.reshape(len(columns), -1)
        masked = _apply_mask(columns, label_mask)
        seen = list(columns.T) if classes is None else self._told(classes)
        kinds = self._kinds(seen)
        self.classes_ = [
            np.array([0, 1]) if kind == "binary" and not self.is_1d_ else _classes(labels)
            for kind, labels in zip(kinds, seen, strict=True)
        ]
        self._name_tasks(kinds)
        return self._number(masked)

    def _told(self, classes):
        """The classes that the user gave, an array for each task."""
        told = [classes] if self.is_1d_ else list(classes)
        if len(told) != len(self.task_names_):
            raise ValueError(
                f"classes has {len(told)} entries, expected the classes of each of the tasks "
                f"{', '.join(self.task_names_)}."
            )
        return [_plain(column_or_1d(labels)) for labels in told]

    def _name_tasks(self, kinds):
        self.tasks_ = [
            Task(name, kind, max(2, len(classes)))
            for name, kind, classes in zip(self.task_names_, kinds, self.classes_, strict=True)
        ]

    def with_tasks(self, names, columns, objective):
        """A copy that knows further tasks, after its own.

        Parameters
        ----------
        names : list of str
        columns : ndarray of shape (n_rows, n_new)
            Their labels.
        objective : None, str, list or dict
            The kinds of all tasks; those of old ones do not change.

        Returns
        -------
        LabelEncoder
        """
        wider = LabelEncoder(objective)
        wider.is_1d_, wider._is_named = self.is_1d_, self._is_named
        wider.task_names_ = [*self.task_names_, *names]
        kinds = [task.kind for task in self.tasks_] + wider._kinds(None)[len(self.tasks_) :]
        wider.classes_ = self.classes_ + [
            np.array([0, 1]) if kind == "binary" else _classes(labels)
            for kind, labels in zip(kinds[len(self.tasks_) :], columns.T, strict=True)
        ]
        wider._name_tasks(kinds)
        return wider

    def transform(self, Y, label_mask=None):
        """Number the labels of other rows, with the tasks and classes learned."""
        columns = self._columns(Y)
        columns = columns.reshape(len(columns), -1)
        if columns.shape[1] != len(self.tasks_):
            raise ValueError(
                f"y_val has {columns.shape[1]} tasks, Y has {len(self.tasks_)}: "
                f"{', '.join(self.task_names_)}."
            )
        names = task_names(Y, len(self.tasks_))
        if self._is_named and hasattr(Y, "columns") and names != self.task_names_:
            raise ValueError(f"y_val has the tasks {names}, expected {self.task_names_}.")
        return self._number(_apply_mask(columns, label_mask))

    def _columns(self, Y):
        """Y as an array, (n,) or (n, T) with T > 1; floats where labels may be missing."""
        table = np.asarray(Y)
        if table.ndim == 1 or (table.ndim == 2 and table.shape[1] == 1):
            column = _plain(column_or_1d(table, warn=True))
            assert_all_finite(column, allow_nan=True, input_name="Y")
            check_classification_targets(column[~_missing(column)])
            return column
        return check_array(
            table,
            dtype=None if table.dtype.kind in "OU" else np.float64,
            ensure_all_finite=False,
            input_name="Y",
        )

    def _kinds(self, seen):
        """The kind of each task; that of a 1-d Y may follow from the labels seen."""
        if not self.is_1d_:
            kinds = per_task("objective", self.objective, self.task_names_, "binary")
            return [choose("objective", kind, KINDS) for kind in kinds]
        n_classes = len(_classes(seen[0]))
        found = "multiclass" if n_classes > 2 else "binary"
        kind = found if self.objective is None else choose("objective", self.objective, KINDS)
        if kind == "binary" and n_classes > 2:
            raise ValueError(
                f"objective='binary' but y has {n_classes} classes; use objective='multiclass' "
                "or None."
            )
        return [kind]

    def _number(self, columns):
        numbers = np.full(columns.shape, MISSING, dtype=np.int16)
        for task, classes in enumerate(self.classes_):
            column = columns[:, task]
            known = ~_missing(column)
            found = np.isin(column[known], classes)
            if not found.all():
                raise self._unknown_label(task, column[known][~found][0])
            numbers[known, task] = np.searchsorted(classes, column[known].astype(classes.dtype))
        return numbers

    def _unknown_label(self, task, label):
        name = self.task_names_[task]
        if self.tasks_[task].kind == "binary" and not self.is_1d_:
            return ValueError(
                f"task {name!r} is binary: expected labels 0, 1 or NaN (missing), got {label!r}; "
                f"for more classes set objective={{{name!r}: 'multiclass'}}."
            )
        return ValueError(f"task {name!r}: label {label!r} was not seen in the training labels.")

    def decode(self, task, numbers):
        """Class labels of class numbers."""
        return self.classes_[task][numbers]


def task_names(Y, n_tasks):
    """Column names of a DataFrame, the name of a Series, else task_0, task_1, ..."""
    columns = getattr(Y, "columns", None)
    if columns is not None:
        return [str(column) for column in columns]
    name = getattr(Y, "name", None)
    if n_tasks == 1 and isinstance(name, str) and name:
        return [name]
    return [f"task_{number}" for number in range(n_tasks)]


def _missing(column):
    """Where a column holds NaN; None, NaN and pandas' NA in columns of objects."""
    if column.dtype.kind == "f":
        return np.isnan(column)
    if column.dtype.kind == "O":
        return missing_mask(column, "Y")
    return np.zeros(len(column), dtype=bool)


def _plain(column):
    """Numbers among missing objects as floats, so that they count as numbers."""
    if column.dtype.kind != "O":
        return column
    missing = _missing(column)
    if not missing.any() or any(isinstance(label, str) for label in column[~missing]):
        return column
    numbers = np.full(len(column), np.nan)
    numbers[~missing] = column[~missing].astype(np.float64)
    return numbers


def _classes(column):
    return np.unique(column[~_missing(column)])


def _apply_mask(columns, label_mask):
    """The label table with NaN, or None, where the mask says that a label is missing."""
    if label_mask is None:
        return columns
    mask = np.asarray(label_mask)
    mask = mask.reshape(len(mask), -1)
    if mask.shape != columns.shape or mask.dtype != bool:
        raise ValueError(
            f"label_mask must be boolean of the shape of Y, {columns.shape}, got {mask.dtype} of "
            f"shape {mask.shape}; True marks the labels to learn from."
        )
    masked = columns.astype(object if columns.dtype.kind in "OU" else np.float64)
    masked[~mask] = np.nan
    return masked


def check_tasks(numbers, tasks):
    """Refuse tasks without labels and find those that cannot be learned.

    Parameters
    ----------
    numbers : ndarray of int16 of shape (n_rows, n_tasks)
    tasks : list of Task

    Returns
    -------
    ndarray of bool of shape (n_tasks,)
        True where all labels are of one class; a warning names these tasks.

    Raises
    ------
    ValueError
        If a task has no label at all.
    """
    lowest = np.where(numbers == MISSING, np.iinfo(np.int16).max, numbers).min(axis=0)
    highest = numbers.max(axis=0)
    for task, top in zip(tasks, highest, strict=True):
        if top == MISSING:
            raise ValueError(
                f"task {task.name!r} has no label: all its rows are missing or masked. Drop the "
                "task, or add rows that are labelled for it."
            )
    constant = lowest == highest
    for task, number, is_constant in zip(tasks, highest, constant, strict=True):
        if is_constant:
            warnings.warn(
                f"task {task.name!r} has a single class (number {number}): its prediction will "
                "be constant.",
                UserWarning,
                stacklevel=5,
            )
    return constant
