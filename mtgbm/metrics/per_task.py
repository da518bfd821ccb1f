"""One mechanism for every metric: a value per task, NaN where there is none, then an average."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning

from mtgbm.metrics.labelled import LabelledTask, labelled_tasks


class SingleClassWarning(UndefinedMetricWarning):
    """A task has no value, because its labelled rows hold one class only, or there are none."""


@dataclass(frozen=True)
class TaskMetric:
    """A metric of one binary task, made into a metric of several with missing labels.

    Calling the object scores every task on its own labelled rows.

    Parameters
    ----------
    name : str
    of_rows : callable
        `of_rows(y_true, y_score, sample_weight=None, **params) -> float` on fully labelled
        vectors, as the functions of `sklearn.metrics` are.
    needs_both_classes : bool, default=True
        Whether the metric has no value on rows of a single class.
    greater_is_better : bool, default=True

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.metrics import brier_score_loss
    >>> brier = TaskMetric("brier", brier_score_loss, needs_both_classes=False)
    >>> y = np.array([[1, 0], [0, np.nan]])
    >>> brier(y, np.array([[0.5, 0.5], [0.5, 0.5]]), average="mean")
    0.25
    """

    name: str
    of_rows: Callable[..., float]
    needs_both_classes: bool = True
    greater_is_better: bool = True

    def __call__(
        self,
        y_true: Any,
        y_score: Any,
        *,
        sample_weight: Any = None,
        task_names: Any = None,
        average: Any = None,
        **params: Any,
    ) -> Any:
        """Score all tasks; see :func:`mtgbm.metrics.roc_auc` for the parameters."""
        tasks = labelled_tasks(y_true, y_score, sample_weight=sample_weight, task_names=task_names)
        return self.over_tasks(tasks, average, **params)

    def over_tasks(self, tasks: list[LabelledTask], average: Any = None, **params: Any) -> Any:
        """Values of all tasks (`average=None`) or their average; warns of tasks without one."""
        weights = _task_weights(average, [task.name for task in tasks])
        values = np.array([self.of_task(task, **params) for task in tasks])
        self._warn_of_undefined(tasks)
        return values if weights is None else self._average(values, weights, average, tasks)

    def is_defined(self, task: LabelledTask) -> bool:
        """Whether the metric has a value on this task's labelled rows."""
        return task.has_both_classes or (task.n_rows > 0 and not self.needs_both_classes)

    def of_task(self, task: LabelledTask, **params: Any) -> float:
        """Value of one task; NaN where the metric has none."""
        if not self.is_defined(task):
            return np.nan
        try:
            value = self.of_rows(
                task.y_true, task.y_score, sample_weight=task.sample_weight, **params
            )
        except ValueError as error:
            raise ValueError(f"{self.name} of task {task.name!r}: {error}") from error
        return float(value)

    def _warn_of_undefined(self, tasks: list[LabelledTask]) -> None:
        undefined = [task for task in tasks if not self.is_defined(task)]
        if undefined:
            warnings.warn(
                f"{self.name} has no value for {_names_and_notes(undefined)}: "
                "NaN per task, left out of averages.",
                SingleClassWarning,
                stacklevel=5,  # the caller of roc_auc() and its like
            )

    def _average(
        self, values: np.ndarray, weights: np.ndarray, average: Any, tasks: list[LabelledTask]
    ) -> float:
        counted = (weights > 0) & [self.is_defined(task) for task in tasks]
        if not counted.any():
            raise ValueError(
                f"{self.name} cannot be averaged, because no task of positive weight has a value: "
                f"{_names_and_notes(tasks)}. Score more labelled rows, for instance larger folds."
            )
        if isinstance(average, str) and average == "median":
            return float(np.median(values[counted]))
        return float(np.average(values[counted], weights=weights[counted]))


def _task_weights(average: Any, names: list[str]) -> np.ndarray | None:
    """Weight of each task in the average; None where none is asked for."""
    if average is None:
        return None
    if isinstance(average, str):
        if average not in ("mean", "median"):
            raise ValueError(
                "average must be None, 'mean', 'median', an array of task weights or a dict "
                f"from task name to weight; got {average!r}."
            )
        return np.ones(len(names))
    if isinstance(average, Mapping):
        if set(average) != set(names):
            raise ValueError(f"average must weight the tasks {names}; got {sorted(average)}.")
        average = [average[name] for name in names]
    weights = np.asarray(average, dtype=float)
    if weights.shape != (len(names),) or not np.all(np.isfinite(weights) & (weights >= 0)):
        raise ValueError(
            f"average must hold {len(names)} finite weights >= 0, one per task; got {average!r}."
        )
    return weights


def _names_and_notes(tasks: list[LabelledTask]) -> str:
    return ", ".join(f"{task.name!r} ({task.note or 'both classes'})" for task in tasks)
