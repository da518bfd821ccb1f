"""ROC and precision-recall curves of all tasks in one figure."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from mtgbm.metrics.labelled import LabelledTask, labelled_tasks
from mtgbm.metrics.predictions import positive_probabilities, task_names_of
from mtgbm.metrics.scores import AVERAGE_PRECISION, ROC_AUC
from mtgbm.plotting.canvas import LEGEND_INSIDE, draw_legend, new_axes, task_colors


@dataclass(frozen=True)
class TaskCurve:
    """The curve of one task.

    Attributes
    ----------
    name : str
    x, y : ndarray of shape (k,)
        Empty where the labelled rows hold a single class.
    score : float
        The number in the legend; NaN where there is none.
    prevalence : float
        Share of positives among labelled rows; NaN without any.
    note : str
        Why there is no curve; empty where there is one.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    score: float
    prevalence: float
    note: str = ""


class _CurvesDisplay:
    """What the two kinds of curve share: computing them per task, and one figure for all."""

    _axis_labels: tuple[str, str]
    _score_name: str
    _legend_loc: str
    _line_style: ClassVar[dict[str, Any]]

    def __init__(self, curves: list[TaskCurve]):
        self.curves = curves

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_score: Any,
        *,
        sample_weight: Any = None,
        task_names: Any = None,
        ax: Any = None,
        **line_kwargs: Any,
    ) -> Self:
        """Compute and draw the curve of every task.

        Parameters
        ----------
        y_true, y_score, sample_weight, task_names
            As in :func:`mtgbm.metrics.roc_auc`; unlabelled rows are left out, task by task.
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.
        **line_kwargs
            Passed to `ax.plot` for every task's line.

        Returns
        -------
        display
        """
        tasks = labelled_tasks(y_true, y_score, sample_weight=sample_weight, task_names=task_names)
        return cls([cls._curve(task) for task in tasks]).plot(ax=ax, **line_kwargs)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        task_names: Any = None,
        ax: Any = None,
        **line_kwargs: Any,
    ) -> Self:
        """Predict with a fitted classifier, then draw the curve of every task.

        Parameters
        ----------
        estimator : fitted classifier with predict_proba
        X : array-like of shape (n, n_features)
        y : array-like of shape (n,) or (n, T)
            0, 1, or missing (NaN, None).
        task_names : sequence of T str, optional
            By default the columns of `y`, else the classifier's `task_names_`.
        sample_weight, ax, **line_kwargs
            As in `from_predictions`.

        Returns
        -------
        display
        """
        return cls.from_predictions(
            y,
            positive_probabilities(estimator, X),
            sample_weight=sample_weight,
            task_names=task_names_of(estimator, y) if task_names is None else task_names,
            ax=ax,
            **line_kwargs,
        )

    @classmethod
    def _curve(cls, task: LabelledTask) -> TaskCurve:
        if not task.has_both_classes:
            nothing = np.empty(0)
            return TaskCurve(task.name, nothing, nothing, np.nan, task.prevalence, task.note)
        return TaskCurve(task.name, *cls._points(task), task.prevalence)

    def plot(self, ax: Any = None, *, plot_chance_level: bool = True, **line_kwargs: Any) -> Self:
        """Draw all curves into one axes.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            By default those of a new figure.
        plot_chance_level : bool, default=True
            Whether to draw what a random score would reach.
        **line_kwargs
            Passed to `ax.plot` for every task's line.

        Returns
        -------
        display
            Itself, with `figure_`, `ax_`, `lines_` and `chance_level_` set.
        """
        if ax is None:
            ax = new_axes(5.5 if len(self.curves) < LEGEND_INSIDE else 7.5, 5)
        colors = task_colors(len(self.curves))
        lines = {}
        for curve, color in zip(self.curves, colors, strict=True):
            style = {"color": color, "label": self._label(curve), **self._line_style}
            (lines[curve.name],) = ax.plot(curve.x, curve.y, **style | line_kwargs)
        chance_level = self._plot_chance_level(ax, lines) if plot_chance_level else []
        x_label, y_label = self._axis_labels
        ax.set(xlabel=x_label, ylabel=y_label, xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        draw_legend(ax, len(self.curves) + 1, loc=self._legend_loc)
        self.figure_, self.ax_, self.lines_ = ax.figure, ax, lines
        self.chance_level_ = chance_level
        return self

    def _label(self, curve: TaskCurve) -> str:
        if curve.note:
            return f"{curve.name} ({curve.note})"
        return f"{curve.name} ({self._score_name} = {curve.score:.3f})"

    @classmethod
    def _points(cls, task: LabelledTask) -> tuple[np.ndarray, np.ndarray, float]:
        """x, y and score of a task with both classes."""
        raise NotImplementedError

    def _plot_chance_level(self, ax: Any, lines: dict[str, Any]) -> list[Any]:
        raise NotImplementedError


class MultiTaskRocDisplay(_CurvesDisplay):
    """ROC curves of all tasks in one figure.

    Make it with `from_estimator` or `from_predictions`. The legend holds the area under each
    task's curve; a task whose labelled rows hold a single class has no curve and is listed as
    such.

    Parameters
    ----------
    curves : list of T TaskCurve
        x is the false positive rate, y the true positive rate, score the area.

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : matplotlib Axes
    lines_ : dict of str to matplotlib Line2D
        Line of each task; empty for a task without a curve.
    chance_level_ : list of matplotlib Line2D
        The diagonal.
    """

    _axis_labels = ("False positive rate", "True positive rate")
    _score_name = "AUC"
    _legend_loc = "lower right"
    _line_style: ClassVar = {}

    @classmethod
    def _points(cls, task: LabelledTask) -> tuple[np.ndarray, np.ndarray, float]:
        fpr, tpr, _ = roc_curve(task.y_true, task.y_score, sample_weight=task.sample_weight)
        return fpr, tpr, ROC_AUC.of_task(task)

    def _plot_chance_level(self, ax: Any, lines: dict[str, Any]) -> list[Any]:
        return ax.plot([0, 1], [0, 1], color="0.5", linestyle="--", label="chance")


class MultiTaskPrecisionRecallDisplay(_CurvesDisplay):
    """Precision-recall curves of all tasks in one figure.

    Make it with `from_estimator` or `from_predictions`. The legend holds each task's average
    precision; a task whose labelled rows hold a single class has no curve and is listed as such.

    Parameters
    ----------
    curves : list of T TaskCurve
        x is the recall, y the precision, score the average precision.

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : matplotlib Axes
    lines_ : dict of str to matplotlib Line2D
        Line of each task; empty for a task without a curve.
    chance_level_ : list of matplotlib Line2D
        A dotted line at each task's prevalence, for tasks with a curve.
    """

    _axis_labels = ("Recall", "Precision")
    _score_name = "AP"
    _legend_loc = "best"
    _line_style: ClassVar = {"drawstyle": "steps-post"}

    @classmethod
    def _points(cls, task: LabelledTask) -> tuple[np.ndarray, np.ndarray, float]:
        precision, recall, _ = precision_recall_curve(
            task.y_true, task.y_score, sample_weight=task.sample_weight
        )
        return recall, precision, AVERAGE_PRECISION.of_task(task)

    def _plot_chance_level(self, ax: Any, lines: dict[str, Any]) -> list[Any]:
        chance_level = []
        for curve in self.curves:
            if not curve.note:
                style = {"color": lines[curve.name].get_color(), "linestyle": ":", "linewidth": 1}
                chance_level += ax.plot([0, 1], [curve.prevalence] * 2, **style)
        ax.plot([], [], color="0.5", linestyle=":", linewidth=1, label="chance (prevalence)")
        return chance_level
