"""Reliability curves: how often what was given p comes true, a panel for each task."""

from dataclasses import dataclass
from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.calibration import calibration_curve

from mtgbm.metrics.labelled import LabelledTask, labelled_tasks
from mtgbm.metrics.predictions import positive_probabilities, task_names_of
from mtgbm.metrics.scores import CALIBRATION_ERROR
from mtgbm.parameters import check_number, choose
from mtgbm.plotting.canvas import given_axes, new_panels

STRATEGIES = {name: name for name in ("quantile", "uniform")}
SCALES = {name: name for name in ("auto", "linear", "log")}
NORMAL_QUANTILE = 1.96
"""Of a two-sided interval that holds with 95 % confidence."""


@dataclass(frozen=True)
class TaskCalibration:
    """The reliability curve of one task.

    Attributes
    ----------
    name : str
    y_prob : ndarray of shape (m,)
        Probabilities of the labelled rows.
    prob_pred, prob_true : ndarray of shape (k,)
        Mean probability and share of positives of each bin that holds rows.
    n_rows : ndarray of shape (k,), int
        Rows of each bin.
    error : float
        Expected calibration error, as :func:`mtgbm.metrics.calibration_error`; NaN without rows.
    note : str
        What is missing: a class, or all labels; empty where both classes occur.
    """

    name: str
    y_prob: np.ndarray
    prob_pred: np.ndarray
    prob_true: np.ndarray
    n_rows: np.ndarray
    error: float
    note: str = ""

    def interval(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper end of Wilson's 95 % interval of each bin's share of positives.

        References
        ----------
        E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference",
        Journal of the American Statistical Association 22 (1927).
        """
        square = NORMAL_QUANTILE**2 / self.n_rows
        middle = (self.prob_true + square / 2) / (1 + square)
        variance = self.prob_true * (1 - self.prob_true) + square / 4
        half = np.sqrt(square * variance) / (1 + square)
        return np.clip(middle - half, 0, self.prob_true), np.clip(middle + half, self.prob_true, 1)


class MultiTaskCalibrationDisplay:
    """Reliability curves of all tasks, in a panel each.

    Make it with `from_estimator` or `from_predictions`. Probabilities of a rare and of a frequent
    task differ by orders of magnitude, so every panel has axes of its own, cut to the range of
    its curve, and logarithmic where that range spans more than a factor of ten. Bars are 95 %
    intervals of the observed share; the strip above a panel says how many rows have which
    probability. On logarithmic axes a bin without a positive row is an open triangle at the
    bottom.

    Parameters
    ----------
    curves : list of T TaskCalibration

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : dict of str to matplotlib Axes
        Panel of each task.
    lines_ : dict of str to matplotlib Line2D
        Curve of each task; empty for a task without labelled rows.
    intervals_ : dict of str to matplotlib LineCollection
        The bars.
    strips_ : dict of str to matplotlib Axes
        The histograms.
    """

    def __init__(self, curves: list[TaskCalibration]):
        self.curves = curves

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_prob: Any,
        *,
        n_bins: int = 10,
        strategy: str = "quantile",
        task_names: Any = None,
        ax: Any = None,
        **line_kwargs: Any,
    ) -> Self:
        """Compute and draw the curve of every task.

        Parameters
        ----------
        y_true, y_prob, task_names
            As `y_true`, `y_score` and `task_names` in :func:`mtgbm.metrics.calibration_error`;
            unlabelled rows are left out, task by task.
        n_bins : int, default=10
        strategy : {"quantile", "uniform"}, default="quantile"
            Bins that hold equally many rows, or that are equally wide, as in
            :func:`sklearn.calibration.calibration_curve`.
        ax : sequence of T matplotlib Axes, optional
            Where to draw; by default a new figure.
        **line_kwargs
            Passed to `ax.plot` for every task's curve.

        Returns
        -------
        MultiTaskCalibrationDisplay

        Raises
        ------
        ValueError
            If shapes disagree, a probability of a labelled row is outside [0, 1], or no task has
            a labelled row.
        """
        check_number("n_bins", n_bins, Integral, 1, None)
        strategy = choose("strategy", strategy, STRATEGIES)
        tasks = labelled_tasks(y_true, y_prob, task_names=task_names)
        if not any(task.n_rows for task in tasks):
            raise ValueError(
                "y_true has no labelled row for any task (all are NaN), so there is no curve to "
                "draw; pass rows whose labels are known."
            )
        return cls([_curve(task, n_bins, strategy) for task in tasks]).plot(ax=ax, **line_kwargs)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        n_bins: int = 10,
        strategy: str = "quantile",
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
        n_bins, strategy, ax, **line_kwargs
            As in `from_predictions`.

        Returns
        -------
        MultiTaskCalibrationDisplay
        """
        return cls.from_predictions(
            y,
            positive_probabilities(estimator, X),
            n_bins=n_bins,
            strategy=strategy,
            task_names=task_names_of(estimator, y) if task_names is None else task_names,
            ax=ax,
            **line_kwargs,
        )

    def plot(self, ax: Any = None, *, scale: str = "auto", **line_kwargs: Any) -> Self:
        """Draw a panel for each task.

        Parameters
        ----------
        ax : sequence of T matplotlib Axes, optional
            By default those of a new figure.
        scale : {"auto", "linear", "log"}, default="auto"
            Of both axes. "auto" decides panel by panel.
        **line_kwargs
            Passed to `ax.plot` for every task's curve.

        Returns
        -------
        MultiTaskCalibrationDisplay
            Itself, with `figure_`, `axes_`, `lines_`, `intervals_` and `strips_` set.
        """
        scale = choose("scale", scale, SCALES)
        n_tasks = len(self.curves)
        panels = new_panels(n_tasks, 2.1) if ax is None else given_axes(ax, n_tasks)
        self.figure_ = panels[0].figure
        self.axes_: dict[str, Any] = {}
        self.lines_: dict[str, Any] = {}
        self.intervals_: dict[str, Any] = {}
        self.strips_: dict[str, Any] = {}
        for curve, panel in zip(self.curves, panels, strict=True):
            self._draw_panel(panel, curve, scale, line_kwargs)
        x_label, y_label = "Mean predicted probability", "Observed share of positives"
        if ax is None:
            self.figure_.supxlabel(x_label, fontsize="medium")
            self.figure_.supylabel(y_label, fontsize="medium")
        else:
            for panel in panels:
                panel.set(xlabel=x_label, ylabel=y_label)
        return self

    def _draw_panel(self, ax: Any, curve: TaskCalibration, scale: str, style: Any) -> None:
        scale = _panel_scale(curve) if scale == "auto" else scale
        low, high = _panel_range(curve, scale)
        ax.set(xscale=scale, yscale=scale, xlim=(low, high), ylim=(low, high))
        ax.plot([low, high], [low, high], color="0.5", linestyle="--", linewidth=1)
        # Logarithmic axes cannot show the value 0: the line has a gap there, and a mark below.
        seen = (curve.prob_true > 0) | (scale != "log")
        bars = ax.vlines(curve.prob_pred, *_above(low, *curve.interval()), color="C0", alpha=0.4)
        (line,) = ax.plot(
            curve.prob_pred,
            np.where(seen, curve.prob_true, np.nan),
            **{"color": "C0", "marker": "o", "markersize": 4, "linewidth": 1.2} | style,
        )
        none_seen = curve.prob_pred[~seen]
        ax.plot(none_seen, np.full(len(none_seen), low), "^", color="C0", mfc="w", clip_on=False)
        _write_ticks(ax, scale)
        name = curve.name
        self.axes_[name], self.lines_[name], self.intervals_[name] = ax, line, bars
        self.strips_[name] = _draw_strip(ax, curve, scale)


def _curve(task: LabelledTask, n_bins: int, strategy: str) -> TaskCalibration:
    if task.n_rows == 0:
        nothing, none = np.empty(0), np.empty(0, dtype=int)
        return TaskCalibration(task.name, nothing, nothing, nothing, none, np.nan, task.note)
    # First, because it says which probabilities are wrong and what to pass.
    error = CALIBRATION_ERROR.of_task(task, n_bins=n_bins, strategy=strategy)
    prob_true, prob_pred = calibration_curve(
        task.y_true, task.y_score, pos_label=1, n_bins=n_bins, strategy=strategy
    )
    n_rows = _rows_per_bin(task.y_score, n_bins, strategy)
    return TaskCalibration(task.name, task.y_score, prob_pred, prob_true, n_rows, error, task.note)


def _rows_per_bin(y_prob: np.ndarray, n_bins: int, strategy: str) -> np.ndarray:
    """Rows in each bin of `calibration_curve` that holds any; it does not return them."""
    edges = np.linspace(0, 1, n_bins + 1)
    if strategy == "quantile":
        edges = np.percentile(y_prob, edges * 100)
    counts = np.bincount(np.searchsorted(edges[1:-1], y_prob))
    return counts[counts > 0]


def _panel_scale(curve: TaskCalibration) -> str:
    """Logarithmic where the bins' probabilities span more than a factor of ten."""
    pred = curve.prob_pred
    return "log" if len(pred) and 0 < 10 * pred.min() < pred.max() else "linear"


def _panel_range(curve: TaskCalibration, scale: str) -> tuple[float, float]:
    """Ends of both axes: the range of the curve and a margin."""
    values = np.concatenate([curve.prob_pred, curve.prob_true])
    if scale == "log":
        values = values[values > 0]
        return (values.min() / 1.5, values.max() * 1.5) if len(values) else (0.01, 1.0)
    if not len(values):
        return 0.0, 1.0
    margin = 0.06 * (np.ptp(values) or 1)
    return values.min() - margin, values.max() + margin


def _above(low: float, *ends: np.ndarray) -> list[np.ndarray]:
    """The ends of bars, moved up to the edge of the panel where they are below it."""
    return [np.maximum(end, low) for end in ends]


def _write_ticks(ax: Any, scale: str) -> None:
    """Few and plain numbers: a panel has room for about four."""
    if scale == "linear":
        ax.locator_params(nbins=4)
    else:
        for axis in (ax.xaxis, ax.yaxis):
            axis.get_major_locator().set_params(numticks=4)
            axis.set_major_formatter("{x:g}")
        ax.minorticks_off()
    ax.tick_params(labelsize="small")


def _draw_strip(ax: Any, curve: TaskCalibration, scale: str) -> Any:
    """Histogram of the probabilities above a panel, on the same horizontal axis."""
    strip = ax.inset_axes((0, 1.03, 1, 0.16), sharex=ax)
    spacing: Any = np.geomspace if scale == "log" else np.linspace
    counts, edges = np.histogram(curve.y_prob, bins=spacing(*ax.get_xlim(), 31))
    strip.stairs(counts, edges, fill=True, color="0.7")
    peak = counts.max()
    strip.set_yticks([peak] if peak else [], [f"{peak:,}"] if peak else [])
    strip.tick_params(labelsize="x-small", labelbottom=False, length=2)
    strip.spines[["top", "right"]].set_visible(False)
    strip.set_title(_title(curve), fontsize="small")
    return strip


def _title(curve: TaskCalibration) -> str:
    if not len(curve.y_prob):
        return f"{curve.name}\n{curve.note}"
    note = f", {curve.note}" if curve.note else ""
    return f"{curve.name}\n{len(curve.y_prob):,} rows, ECE = {curve.error:.2g}{note}"
