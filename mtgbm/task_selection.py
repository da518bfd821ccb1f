"""Which other tasks help a main task?"""

import sys
from dataclasses import asdict, astuple, dataclass, fields
from numbers import Real
from typing import Any

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold, check_cv
from sklearn.utils.validation import check_consistent_length

from mtgbm.labels import MISSING
from mtgbm.metrics.per_task import TaskMetric
from mtgbm.metrics.report import aligned_table, number_text
from mtgbm.metrics.scores import LOG_LOSS, METRICS
from mtgbm.parameters import check_number, choose, find_task
from mtgbm.task_subset import TaskTable, core_of, task_score


@dataclass(frozen=True)
class Trial:
    """A model of the main task, the tasks selected so far and one more.

    Attributes
    ----------
    step : int
        0 for the main task alone.
    task : str
        The one more.
    score : float
        The main task's, mean over the folds.
    improvement : float
        What it is better by than the tasks selected so far; NaN in step 0.
    needed : float
        What the improvement had to be above.
    verdict : str
        "selected", or empty.
    """

    step: int
    task: str
    score: float
    improvement: float
    needed: float
    verdict: str


@dataclass(frozen=True)
class AffineTask:
    """A task and its affinity with the main task; verdict is "selected", or empty."""

    task: str
    affinity: float
    needed: float
    verdict: str


@dataclass(frozen=True)
class TaskSelection:
    """What :func:`select_tasks` found; print it for a table.

    Attributes
    ----------
    main_task : str
    selected : list of str
        The tasks that help, the most helpful first.
    rows : list of Trial, or list of AffineTask
    """

    main_task: str
    selected: list[str]
    rows: list[Any]

    @property
    def tasks(self) -> list[str]:
        """The main task and those that help: the columns of Y to learn from."""
        return [self.main_task, *self.selected]

    def to_frame(self) -> Any:
        """The rows as a pandas DataFrame (needs pandas)."""
        import pandas as pd

        return pd.DataFrame([asdict(row) for row in self.rows])

    def __str__(self) -> str:
        header = [field.name for field in fields(self.rows[0])]
        body = [[number_text(value) for value in astuple(row)] for row in self.rows]
        helpers = ", ".join(self.selected) or "no other task"
        return f"{aligned_table([header, *body])}\n{self.main_task} with {helpers}"


def select_tasks(
    estimator: Any,
    X: Any,
    Y: Any,
    main_task: Any = None,
    method: str = "forward",
    *,
    cv: Any = 3,
    X_val: Any = None,
    y_val: Any = None,
    scoring: Any = "log_loss",
    min_improvement: float | None = None,
    threshold: float = 0.0,
    sample_weight: Any = None,
    verbose: bool = False,
) -> TaskSelection:
    """Find the tasks whose labels make the main task's predictions better.

    "forward" starts with the main task alone, adds the task that improves its validation score
    most, and goes on until none improves it by more than noise. With T tasks of which k are
    selected that takes about ``T * (k + 1)`` fits for each fold. "affinity" fits all tasks once and
    keeps those whose leaves go the main task's way, see :func:`mtgbm.diagnostics.task_affinity`:
    quick, but it cannot know whether a related task has anything to add.

    Parameters
    ----------
    estimator : MultiTaskLGBMClassifier, or a Pipeline that ends in one
        It is cloned. Its parameters by task are cut down to the tasks of each model; weighting and
        distillation objects are not, so they must suit any number of tasks.
    X : array-like, CSR matrix or DataFrame of shape (n_rows, n_features)
    Y : array-like or DataFrame of shape (n_rows, n_tasks)
    main_task : int or str, optional
        The estimator's by default.
    method : {"forward", "affinity"}, default="forward"
    cv : int, splitter or iterable of (training rows, test rows), default=3
        Folds of "forward"; a number makes folds with equal shares of the main task's classes.
    X_val, y_val : optional
        Rows to score instead of folds.
    scoring : str or TaskMetric, default="log_loss"
        A metric of :mod:`mtgbm.metrics` for the main task; a loss is negated, so that larger is
        better. Multiclass main tasks have the log loss only.
    min_improvement : float, optional
        A task must improve the score by more than this. By default the standard error of the mean
        improvement over the folds, so that it has to show in more folds than one; 0 with `X_val`.
    threshold : float, default=0.0
        "affinity" keeps the tasks above this. The affinity of a multiclass task has no sign and is
        always above 0.
    sample_weight : array-like of shape (n_rows,), optional
        Weight of each training row.
    verbose : bool, default=False
        Print each trial to stderr.

    Returns
    -------
    TaskSelection
        Prints as a table; `selected` and `rows` hold what was found.

    Raises
    ------
    ValueError
        If there is one task only, a name is unknown, tables do not fit together, or a fold has no
        score for the main task.

    Examples
    --------
    >>> import numpy as np
    >>> from mtgbm import MultiTaskLGBMClassifier
    >>> from mtgbm.task_selection import select_tasks
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1000, 3))
    >>> related = X[:, [0]] + 0.5 * rng.normal(size=(1000, 2)) > 0
    >>> Y = np.column_stack([related, X[:, 1] > 0]).astype(float)
    >>> model = MultiTaskLGBMClassifier(n_estimators=20, num_leaves=4)
    >>> select_tasks(model, X, Y, main_task=0, method="affinity", threshold=0.5).selected
    ['task_1']
    """
    choose("method", method, {"forward": "forward", "affinity": "affinity"})
    if (X_val is None) != (y_val is None):
        raise ValueError("X_val and y_val belong together: give both or neither.")
    if min_improvement is not None:
        check_number("min_improvement", min_improvement, Real, None, None)
    check_number("threshold", threshold, Real, -1, 1)
    core = core_of(estimator)
    table = TaskTable(X, Y, core.objective, sample_weight)
    main = find_task("main_task", core.main_task if main_task is None else main_task, table.names)
    report = _printed if verbose else _silent
    if method == "affinity":
        return _by_affinity(estimator, table, main, threshold, report)
    held = None if X_val is None else (X_val, table.numbers_of(y_val))
    judge = Judge(estimator, table, main, _metric(scoring, table.tasks[main]), cv, held)
    return _forward(judge, min_improvement, report)


def _metric(scoring, main_task):
    metric = scoring if isinstance(scoring, TaskMetric) else choose("scoring", scoring, METRICS)
    if main_task.kind == "multiclass" and metric is not LOG_LOSS:
        raise ValueError(
            f"scoring={metric.name!r} scores binary tasks only; use 'log_loss' for the multiclass "
            f"main task {main_task.name!r}."
        )
    return metric


def _silent(row):
    """Say nothing."""


def _printed(row):
    names = [field.name for field in fields(row)]
    cells = [number_text(value) for value in astuple(row)]
    text = ", ".join(f"{name} {cell}" for name, cell in zip(names, cells, strict=True) if cell)
    print(text, file=sys.stderr)


# One fit ----------------------------------------------------------------------------------------


def _by_affinity(estimator, table, main, threshold, report):
    others = _others(table, main)
    model = table.fit(estimator, [main, *others])
    affinity = dict(zip(others, core_of(model).task_affinity_[0, 1:], strict=True))
    rows = []
    for task in sorted(affinity, key=lambda task: -np.nan_to_num(affinity[task], nan=-np.inf)):
        verdict = "selected" if affinity[task] > threshold else ""
        rows.append(AffineTask(table.names[task], float(affinity[task]), float(threshold), verdict))
        report(rows[-1])
    selected = [row.task for row in rows if row.verdict]
    return TaskSelection(table.names[main], selected, rows)


def _others(table, main):
    return [task for task in range(len(table.tasks)) if task != main]


# Forward selection ------------------------------------------------------------------------------


class Judge:
    """Scores the main task in models of several tasks, on the same rows each time.

    Parameters
    ----------
    estimator : MultiTaskLGBMClassifier or Pipeline
    table : TaskTable
    main : int
    metric : TaskMetric
    cv : int, splitter or iterable
    held : None, or (X, class numbers)
        Rows to score instead of folds.
    """

    def __init__(self, estimator, table, main, metric, cv, held):
        self.estimator = estimator
        self.table = table
        self.main = main
        self.metric = metric
        if held is not None:
            check_consistent_length(*held)
        self.held = held
        self.folds = None if held is not None else _folds(cv, table, main)

    def scores(self, tasks):
        """The main task's score in each fold; larger is better.

        Parameters
        ----------
        tasks : list of int
            Those that help it.

        Returns
        -------
        ndarray of float64 of shape (n_folds,)
        """
        chosen = [self.main, *tasks]
        if self.held is not None:
            X, numbers = self.held
            return np.array([self._score(self.table.fit(self.estimator, chosen), X, numbers)])
        return np.array(
            [
                self._score(
                    self.table.fit(self.estimator, chosen, training),
                    self.table.rows_of_X(test),
                    self.table.numbers[test],
                )
                for training, test in self.folds
            ]
        )

    def _score(self, model, X, numbers):
        task = self.table.tasks[self.main]
        probabilities = self.table.probabilities(model, X, self.main, position=0)
        value = task_score(self.metric, task, probabilities, numbers[:, self.main])
        if np.isnan(value):
            raise ValueError(
                f"{self.metric.name} of the main task {task.name!r} has no value on some rows to "
                "score: no labels, or one class. Give other rows, or fewer folds."
            )
        return value if self.metric.greater_is_better else -value


def _folds(cv, table, main):
    """Rows to learn from and rows to score, as many pairs as there are folds."""
    strata = table.numbers[:, main]
    if isinstance(cv, int):
        check_number("cv", cv, int, 2, len(strata))
        counts = np.unique(strata, return_counts=True)[1]
        cv = StratifiedKFold(cv) if counts.min() >= cv else KFold(cv)
    folds = [(np.asarray(a), np.asarray(b)) for a, b in check_cv(cv).split(strata, strata)]
    for number, parts in enumerate(folds):
        for rows, purpose in zip(parts, ("learn from", "score"), strict=True):
            if (strata[rows] == MISSING).all():
                raise ValueError(
                    f"fold {number} has no row to {purpose} that is labelled for the main task "
                    f"{table.names[main]!r}; give other folds, such as cv=3."
                )
    return folds


def _forward(judge, min_improvement, report):
    names = judge.table.names
    best = judge.scores([])
    rows = [Trial(0, names[judge.main], float(best.mean()), np.nan, np.nan, "")]
    report(rows[0])
    selected = []
    left = _others(judge.table, judge.main)
    while left:
        trials = {task: judge.scores([*selected, task]) for task in left}
        gains = {task: scores - best for task, scores in trials.items()}
        needed = {task: _needed(gain, min_improvement) for task, gain in gains.items()}
        better = [task for task in left if gains[task].mean() > needed[task]]
        winner = max(better, key=lambda task: gains[task].mean(), default=None)
        for task in left:
            row = Trial(
                step=len(selected) + 1,
                task=names[task],
                score=float(trials[task].mean()),
                improvement=float(gains[task].mean()),
                needed=needed[task],
                verdict="selected" if task == winner else "",
            )
            rows.append(row)
            report(row)
        if winner is None:
            break
        selected.append(winner)
        left.remove(winner)
        best = trials[winner]
    return TaskSelection(names[judge.main], [names[task] for task in selected], rows)


def _needed(gains, min_improvement):
    """What the mean of the gains must be above: its standard error, 0 if there is one gain."""
    if min_improvement is not None:
        return float(min_improvement)
    return float(gains.std(ddof=1) / np.sqrt(len(gains))) if len(gains) > 1 else 0.0
