"""From whole label and score matrices to each task's labelled rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import check_consistent_length


@dataclass(frozen=True)
class LabelledTask:
    """The rows of one task that can be scored: labelled, and of positive weight.

    Attributes
    ----------
    name : str
    y_true : ndarray of shape (m,), int
        0 or 1.
    y_score : ndarray of shape (m,), float64
    sample_weight : ndarray of shape (m,), float64, or None
    """

    name: str
    y_true: np.ndarray
    y_score: np.ndarray
    sample_weight: np.ndarray | None = None

    @property
    def n_rows(self) -> int:
        return len(self.y_true)

    @property
    def has_both_classes(self) -> bool:
        return np.unique(self.y_true).size == 2

    @property
    def prevalence(self) -> float:
        """Weighted share of positive rows; NaN without labelled rows."""
        if self.n_rows == 0:
            return np.nan
        return float(np.average(self.y_true, weights=self.sample_weight))

    @property
    def note(self) -> str:
        """What keeps the task from being ranked; empty where both classes occur."""
        if self.n_rows == 0:
            return "no labelled rows"
        return "" if self.has_both_classes else f"only class {self.y_true[0]}"


def labelled_tasks(
    y_true: Any, y_score: Any, *, sample_weight: Any = None, task_names: Any = None
) -> list[LabelledTask]:
    """Split labels and scores into one :class:`LabelledTask` per task.

    Parameters
    ----------
    y_true : array-like or frame of shape (n,) or (n, T)
        0, 1, or missing (NaN, None).
    y_score : array-like of shape (n,), (n, T) or, for one task, (n, 2); or list of T (n, 2) arrays
        Score of class 1. With two columns per task, as `predict_proba` of a binary or a
        multi-output scikit-learn classifier returns them, the second column is taken. Scores of
        unlabelled rows are not looked at.
    sample_weight : array-like of shape (n,) or (n, T), optional
        Non-negative. A row of weight zero counts as unlabelled.
    task_names : sequence of T str, optional
        By default the column names of `y_true`, else `task_0`, `task_1`, ...

    Returns
    -------
    list of T LabelledTask

    Raises
    ------
    ValueError
        If shapes disagree, a label is none of 0, 1 and missing, a labelled row has a score that
        is not finite, two frames name the same columns in another order, a weight is negative or
        not finite, or names are repeated.
    """
    _check_same_column_order(y_true, y_score)
    labels = _label_columns(y_true)
    scores = _score_columns(y_score, n_tasks=labels.shape[1])
    weights = _weight_columns(sample_weight, labels)
    check_consistent_length(labels, scores, weights)
    names = _task_names(task_names, y_true, n_tasks=labels.shape[1])

    has_label = ~np.isnan(labels)
    if weights is not None:
        has_label &= weights > 0
    tasks = []
    for t, name in enumerate(names):
        rows = has_label[:, t]
        weight = None if weights is None else weights[rows, t]
        tasks.append(LabelledTask(name, labels[rows, t].astype(int), scores[rows, t], weight))
    _check_scores_finite(tasks)
    return tasks


def _label_columns(y_true: Any) -> np.ndarray:
    labels = _float_columns(y_true, "y_true")
    stray = np.unique(labels[~np.isnan(labels) & (labels != 0) & (labels != 1)])
    if stray.size:
        raise ValueError(
            f"y_true must hold 0, 1 or NaN (not labelled), but holds {stray[:5].tolist()}. "
            "These metrics score binary tasks; recode the labels, or score a multiclass target "
            "with sklearn.metrics."
        )
    return labels


def _score_columns(y_score: Any, n_tasks: int) -> np.ndarray:
    if isinstance(y_score, list | tuple) and y_score and np.ndim(y_score[0]) == 2:
        return np.column_stack([_second_column(part, t) for t, part in enumerate(y_score)])
    scores = _float_columns(y_score, "y_score")
    if n_tasks == 1 and scores.shape[1] == 2:
        return scores[:, 1:]
    if scores.shape[1] != n_tasks:
        raise ValueError(
            f"y_true has {n_tasks} task(s), so y_score must have {n_tasks} column(s), one per "
            f"task; it has shape {np.shape(y_score)}."
        )
    return scores


def _second_column(probabilities: Any, t: int) -> np.ndarray:
    probabilities = np.asarray(probabilities, dtype=float)
    if probabilities.shape[1] != 2:
        raise ValueError(
            f"Each array in the list y_score must have shape (n, 2), the probabilities of class "
            f"0 and class 1; number {t} has shape {probabilities.shape}."
        )
    return probabilities[:, 1]


def _weight_columns(sample_weight: Any, labels: np.ndarray) -> np.ndarray | None:
    if sample_weight is None:
        return None
    weights = _float_columns(sample_weight, "sample_weight")
    if weights.shape[1] not in (1, labels.shape[1]):
        raise ValueError(
            f"sample_weight must have shape (n,) or (n, {labels.shape[1]}); "
            f"it has shape {np.shape(sample_weight)}."
        )
    if not np.all(np.isfinite(weights) & (weights >= 0)):
        raise ValueError("sample_weight must be finite and non-negative.")
    return np.broadcast_to(weights, (len(weights), labels.shape[1]))


def _float_columns(values: Any, what: str) -> np.ndarray:
    """`values` as a float64 matrix; a vector becomes its only column."""
    if hasattr(values, "columns"):
        # Column by column, because nullable pandas columns convert alone but not as a frame.
        columns = [np.asarray(values[name], dtype=float) for name in values.columns]
        return np.column_stack(columns)
    matrix = np.asarray(values, dtype=float)
    if matrix.ndim == 1:
        matrix = matrix[:, np.newaxis]
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise ValueError(f"{what} must have shape (n,) or (n, T); it has shape {matrix.shape}.")
    return matrix


def _task_names(task_names: Any, y_true: Any, n_tasks: int) -> Sequence[str]:
    if task_names is None:
        task_names = getattr(y_true, "columns", [f"task_{t}" for t in range(n_tasks)])
    names = [task_names] if isinstance(task_names, str) else [str(name) for name in task_names]
    if len(names) != n_tasks:
        raise ValueError(f"Expected {n_tasks} task name(s), one per task; got {names}.")
    if len(set(names)) != n_tasks:
        raise ValueError(f"Task names must differ from each other; got {names}.")
    return names


def _check_same_column_order(y_true: Any, y_score: Any) -> None:
    if hasattr(y_true, "columns") and hasattr(y_score, "columns"):
        labels, scores = list(y_true.columns), list(y_score.columns)
        if labels != scores and set(labels) == set(scores):
            raise ValueError(
                f"y_true and y_score name the same columns in another order, {labels} and "
                f"{scores}; columns are matched by position, so reorder one of them."
            )


def _check_scores_finite(tasks: list[LabelledTask]) -> None:
    bad = [task.name for task in tasks if not np.isfinite(task.y_score).all()]
    if bad:
        raise ValueError(
            f"y_score must be finite wherever y_true is labelled; it is NaN or infinite for "
            f"task(s) {bad}."
        )
