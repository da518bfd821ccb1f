"""Models of some of the tasks: which labels, which rows, which of the parameters.

What compares models of several task sets (:mod:`mtgbm.diagnostics`, :mod:`mtgbm.task_selection`)
fits them all through a :class:`TaskTable`.
"""

import numpy as np
from sklearn.base import clone
from sklearn.metrics import log_loss
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_consistent_length, column_or_1d

from mtgbm.labels import MISSING, LabelEncoder
from mtgbm.metrics.labelled import LabelledTask
from mtgbm.metrics.scores import LOG_LOSS
from mtgbm.parameters import find_task, per_task, resolve_reg_lambda


class TaskTable:
    """X and Y, of which models of some tasks learn.

    Parameters
    ----------
    X : array-like, CSR matrix or DataFrame of shape (n_rows, n_features)
    Y : array-like or DataFrame of shape (n_rows, n_tasks)
    objective : None, str, list or dict
        The estimator's.
    sample_weight : array-like of shape (n_rows,) or None

    Attributes
    ----------
    tasks : list of Task
    numbers : ndarray of int16 of shape (n_rows, n_tasks)
        Class numbers, -1 where missing.

    Raises
    ------
    ValueError
        If there is one task only, or the tables do not fit together.
    """

    def __init__(self, X, Y, objective, sample_weight=None):
        self._encoder = LabelEncoder(objective)
        self.numbers = self._encoder.fit_transform(Y)
        self.tasks = self._encoder.tasks_
        if len(self.tasks) < 2:
            raise ValueError(
                "Y has one task only; tasks can be compared where there are two or more columns."
            )
        check_consistent_length(X, self.numbers, sample_weight)
        self.X = X
        self.sample_weight = None if sample_weight is None else column_or_1d(sample_weight)
        self._labels = np.asarray(Y)

    @property
    def names(self):
        return self._encoder.task_names_

    def numbers_of(self, Y):
        """Class numbers of the labels of other rows."""
        return self._encoder.transform(Y)

    def fit(self, estimator, chosen, rows=None):
        """Fit a clone of the estimator to some tasks, the first of them the main task.

        A model of one task learns from the rows labelled for it: for others it has no use.

        Parameters
        ----------
        estimator : MultiTaskLGBMClassifier or Pipeline
        chosen : list of int
            Positions of the tasks.
        rows : ndarray of int, optional
            Learn from these rows only.

        Returns
        -------
        fitted estimator
        """
        rows = np.arange(len(self.numbers)) if rows is None else rows
        if len(chosen) == 1:
            rows = rows[self.numbers[rows, chosen[0]] != MISSING]
            if not len(rows):
                raise ValueError(f"task {self.names[chosen[0]]!r} has no label to learn from.")
            # A column of a table of objects may hold plain numbers.
            labels = np.array(self._labels[rows, chosen[0]].tolist())
        else:
            labels = self._labels[np.ix_(rows, chosen)]
        model = for_tasks(estimator, chosen, self.tasks)
        return model.fit(self.rows_of_X(rows), labels, **self._weights(model, rows))

    def rows_of_X(self, rows):
        """Some rows of X, by position."""
        return _safe_indexing(self.X, rows)

    def _weights(self, model, rows):
        """The argument by which `fit` takes weights: that of a pipeline names the step."""
        if self.sample_weight is None:
            return {}
        step = f"{model.steps[-1][0]}__" if hasattr(model, "steps") else ""
        return {f"{step}sample_weight": self.sample_weight[rows]}

    def probabilities(self, model, X, task, position):
        """What a model says of a task.

        Parameters
        ----------
        model : fitted estimator
        X : array-like of shape (n_rows, n_features)
        task : int
            Position among the tasks of this table.
        position : int
            Position among the tasks of the model.

        Returns
        -------
        ndarray of float64 of shape (n_rows, n_classes)
            0 for a class of which the model saw no row.
        """
        found = model.predict_proba(X)
        core = core_of(model)
        if isinstance(found, list):
            found = found[position]
        elif not core._encoder.is_1d_:
            found = np.column_stack([1 - found[:, position], found[:, position]])
        every = np.zeros((len(found), self.tasks[task].n_classes))
        known = self._encoder.classes_[task]
        every[:, np.searchsorted(known, core._encoder.classes_[position])] = found
        return every


def task_score(metric, task, probabilities, numbers):
    """The value of a metric for one task on the rows labelled for it.

    Parameters
    ----------
    metric : TaskMetric
    task : Task
    probabilities : ndarray of shape (n_rows, n_classes)
    numbers : ndarray of int of shape (n_rows,)
        Class numbers, -1 where missing.

    Returns
    -------
    float
        NaN where the metric has none: all but the log loss for multiclass tasks.
    """
    known = numbers != MISSING
    if task.kind == "binary":
        labelled = LabelledTask(task.name, numbers[known].astype(int), probabilities[known, 1])
        return metric.of_task(labelled)
    if metric is not LOG_LOSS or not known.any():
        return np.nan
    return log_loss(numbers[known], probabilities[known], labels=np.arange(task.n_classes))


def core_of(estimator):
    """The classifier itself, or the last step of a pipeline.

    Raises
    ------
    TypeError
        If that is no MultiTaskLGBMClassifier.
    """
    core = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    if "task_hierarchy" not in getattr(core, "__dict__", {}):
        raise TypeError(
            "expected a MultiTaskLGBMClassifier or a Pipeline that ends in one, got "
            f"{type(core).__name__}."
        )
    return core


def for_tasks(estimator, chosen, tasks):
    """A clone of the estimator whose parameters by task are those of some tasks.

    Parameters
    ----------
    estimator : MultiTaskLGBMClassifier or Pipeline
    chosen : list of int
        Positions of the tasks; the first becomes the main task. A model of one task gets no
        parameter that says how tasks share trees, but the penalty of its leaves is that of a model
        of all: else models would differ in it as well as in their tasks.
    tasks : list of Task
        All tasks of the estimator.

    Returns
    -------
    estimator, not fitted
    """
    model = clone(estimator)
    core = core_of(model)
    names = [task.name for task in tasks]
    kinds = [tasks[position].kind for position in chosen]
    scale = per_task("scale_pos_weight", core.scale_pos_weight, names, 1.0)
    parameters = {
        "main_task": 0,
        "reg_lambda": resolve_reg_lambda(core.reg_lambda, len(tasks)),
        "objective": kinds if len(chosen) > 1 else kinds[0],
        "scale_pos_weight": [scale[position] for position in chosen],
        "monotone_constraints": _monotone(core.monotone_constraints, chosen, names),
        "early_stopping_task": _early_stopping(core.early_stopping_task, chosen, names),
        "task_hierarchy": _hierarchy(core.task_hierarchy, chosen, names),
        "warm_start": False,
        "checkpoint_path": None,
    }
    if len(chosen) == 1:
        parameters |= {"weighting": "fixed", "distillation": None}
    core.set_params(**parameters)
    return model


def _monotone(constraints, chosen, names):
    if not isinstance(constraints, dict):
        return constraints
    by_position = _by_position("monotone_constraints", constraints, names)
    kept = {chosen.index(task): item for task, item in by_position.items() if task in chosen}
    return kept or None


def _early_stopping(choice, chosen, names):
    """The same tasks decide; the main task if none of them is left."""
    if choice is None or (choice == "mean" and "mean" not in names):
        return choice
    weights = choice if isinstance(choice, dict) else {choice: 1.0}
    by_position = _by_position("early_stopping_task", weights, names)
    kept = {
        chosen.index(task): weight
        for task, weight in by_position.items()
        if task in chosen and weight > 0
    }
    return kept or None


def _hierarchy(links, chosen, names):
    """The links between tasks that are left."""
    if links is None:
        return None
    by_position = {
        child: find_task("task_hierarchy", parent, names)
        for child, parent in _by_position("task_hierarchy", links, names).items()
    }
    kept = {
        chosen.index(child): chosen.index(parent)
        for child, parent in by_position.items()
        if child in chosen and parent in chosen
    }
    return kept or None


def _by_position(name, values, names):
    return {find_task(name, task, names): value for task, value in values.items()}
