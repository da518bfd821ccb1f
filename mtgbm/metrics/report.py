"""All metrics of all tasks in one table."""

import math
from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass, fields
from typing import Any

import numpy as np

from mtgbm.metrics.labelled import LabelledTask, labelled_tasks
from mtgbm.metrics.scores import AVERAGE_PRECISION, CALIBRATION_ERROR, F1, LOG_LOSS, ROC_AUC


@dataclass(frozen=True)
class TaskRow:
    """One line of a :class:`TaskReport`; a metric without a value is NaN and `note` says why."""

    task: str
    labelled_rows: int
    prevalence: float
    auc: float
    average_precision: float
    f1: float
    log_loss: float
    calibration_error: float
    note: str


@dataclass(frozen=True)
class TaskReport:
    """Scores of every task; print it for a table.

    Attributes
    ----------
    rows : list of T TaskRow
    threshold : float
        Threshold of the column f1.
    """

    rows: list[TaskRow]
    threshold: float

    @property
    def mean(self) -> dict[str, float]:
        """Mean of each metric over the tasks that have a value; NaN if none has."""
        return {name: _mean_of_defined(getattr(row, name) for row in self.rows) for name in MEANS}

    def to_frame(self) -> Any:
        """The rows as a pandas DataFrame indexed by task (needs pandas)."""
        import pandas as pd

        return pd.DataFrame([asdict(row) for row in self.rows]).set_index("task")

    def __str__(self) -> str:
        header = [field.name.replace("_", " ") for field in fields(TaskRow)]
        header[header.index("f1")] = f"f1 at {self.threshold:g}"
        mean = ["mean", "", *map(number_text, self.mean.values()), self._mean_note()]
        body = [[number_text(value) for value in astuple(row)] for row in self.rows]
        return aligned_table([header, *body, mean])

    def _mean_note(self) -> str:
        ranked = sum(not row.note for row in self.rows)
        if ranked == len(self.rows):
            return ""
        return f"auc, average precision, f1: {ranked} of {len(self.rows)} tasks"


MEANS = ("prevalence", "auc", "average_precision", "f1", "log_loss", "calibration_error")


def task_report(
    y_true: Any,
    y_score: Any,
    *,
    task_names: Any = None,
    threshold: float = 0.5,
    sample_weight: Any = None,
) -> TaskReport:
    """Score every task with every metric.

    Parameters
    ----------
    y_true, y_score, task_names, sample_weight
        As in :func:`mtgbm.metrics.roc_auc`; `y_score` must hold probabilities.
    threshold : float, default=0.5
        A row is called positive for F1 if its probability is at least this.

    Returns
    -------
    TaskReport
        Prints as a table; `rows`, `mean` and `to_frame()` hold the numbers.

    Raises
    ------
    ValueError
        If the inputs disagree or a score of a labelled row is outside [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> y = np.array([[0, 0], [1, np.nan], [0, 0], [1, 0]])
    >>> p = np.array([[0.1, 0.1], [0.8, 0.5], [0.3, 0.1], [0.2, 0.1]])
    >>> report = task_report(y, p, task_names=["click", "buy"])
    >>> report.mean["auc"]
    0.75
    >>> report.rows[1].note
    'only class 0'
    """
    tasks = labelled_tasks(y_true, y_score, sample_weight=sample_weight, task_names=task_names)
    return TaskReport([_row(task, threshold) for task in tasks], threshold)


def _row(task: LabelledTask, threshold: float) -> TaskRow:
    return TaskRow(
        task=task.name,
        labelled_rows=task.n_rows,
        prevalence=task.prevalence,
        auc=ROC_AUC.of_task(task),
        average_precision=AVERAGE_PRECISION.of_task(task),
        f1=F1.of_task(task, threshold=threshold),
        log_loss=LOG_LOSS.of_task(task),
        calibration_error=CALIBRATION_ERROR.of_task(task),
        note=task.note,
    )


def _mean_of_defined(values: Iterable[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan


def number_text(value: Any) -> str:
    """A float with four decimals, n/a for NaN; any other value as it prints."""
    if isinstance(value, float):
        return "n/a" if math.isnan(value) else f"{value:.4f}"
    return f"{value}"


def aligned_table(rows: list[list[str]]) -> str:
    """Columns aligned: the first and the last to the left, the numbers between to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *numbers, last in rows:
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(numbers, widths[1:-1], strict=True)]
        lines.append("  ".join([*cells, last]).rstrip())
    return "\n".join(lines)
