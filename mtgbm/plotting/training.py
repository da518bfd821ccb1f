"""A task's metric over boosting rounds, on training and validation rows."""

from typing import Any, Self

import numpy as np

from mtgbm.metrics.predictions import fitted_core
from mtgbm.plotting.canvas import LEGEND_INSIDE, draw_legend, new_axes, task_colors


class TrainingCurvesDisplay:
    """Curves of a metric over boosting rounds: one colour per task, training rows dashed.

    Make it with `from_estimator`. A dot marks each task's best round, a vertical line the number
    of rounds the model keeps. The vertical axis is logarithmic where positive values span more
    than a factor of ten.

    Parameters
    ----------
    metric : str
    training, validation : dict of str to sequence of float
        Value of the metric after each round, per task; `validation` may be empty.
    best_iteration : int, optional
        Rounds the model keeps.
    best_iteration_per_task : dict of str to int, optional
        Best round of each task, counted from 1.

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : matplotlib Axes
    lines_ : dict of str to dict of str to matplotlib Line2D
        `lines_["training"][task]`, `lines_["validation"][task]`.
    best_points_ : dict of str to matplotlib Line2D
        The dots.
    best_line_ : matplotlib Line2D or None
        The vertical line.
    """

    def __init__(
        self,
        metric: str,
        training: dict[str, Any],
        validation: dict[str, Any],
        *,
        best_iteration: int | None = None,
        best_iteration_per_task: dict[str, int] | None = None,
    ):
        self.metric = metric
        self.training = training
        self.validation = validation
        self.best_iteration = best_iteration
        self.best_iteration_per_task = best_iteration_per_task

    @classmethod
    def from_estimator(
        cls, estimator: Any, metric: str | None = None, *, ax: Any = None, **line_kwargs: Any
    ) -> Self:
        """Read `evals_result_` of a fitted model and draw it.

        Parameters
        ----------
        estimator : fitted MultiTaskLGBMClassifier, or a pipeline or search that ends in one
        metric : str, optional
            Such as "logloss"; by default the first recorded one.
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.
        **line_kwargs
            Passed to `ax.plot` for every line.

        Returns
        -------
        TrainingCurvesDisplay

        Raises
        ------
        ValueError
            If the model recorded no such metric, or none at all.
        """
        model = fitted_core(estimator)
        recorded = model.evals_result_
        names = _recorded_metrics(recorded, model.task_names_)
        metric = _chosen_metric(metric, names)
        display = cls(
            metric,
            _curves_of(recorded.get("training", {}), metric, model.task_names_),
            _curves_of(recorded.get("validation", {}), metric, model.task_names_),
            best_iteration=getattr(model, "best_iteration_", None),
            best_iteration_per_task=getattr(model, "best_iteration_per_task_", None),
        )
        return display.plot(ax=ax, **line_kwargs)

    def plot(self, ax: Any = None, **line_kwargs: Any) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            By default those of a new figure.
        **line_kwargs
            Passed to `ax.plot` for every line.

        Returns
        -------
        TrainingCurvesDisplay
            Itself, with `figure_`, `ax_`, `lines_`, `best_points_` and `best_line_` set.
        """
        names = list(dict.fromkeys([*self.training, *self.validation]))
        if ax is None:
            ax = new_axes(6.5 if len(names) + 2 <= LEGEND_INSIDE else 8.5, 4.5)
        colors = dict(zip(names, task_colors(len(names)), strict=True))
        styles = _line_styles(self.training, self.validation)
        lines = {
            part: _plot_part(ax, getattr(self, part), colors, {"linestyle": style} | line_kwargs)
            for part, style in styles.items()
        }
        best_points = self._mark_best_rounds(ax, colors)
        ax.set(xlabel="Boosting round", ylabel=self.metric, yscale=self._scale())
        n_entries = _label_lines(ax, colors, styles)
        best_line = self._mark_kept_rounds(ax)
        draw_legend(ax, n_entries + (best_line is not None))
        self.figure_, self.ax_, self.lines_ = ax.figure, ax, lines
        self.best_points_, self.best_line_ = best_points, best_line
        return self

    def _scale(self) -> str:
        """Logarithmic where values span more than a factor of ten, as losses of rare tasks do."""
        curves = [*self.training.values(), *self.validation.values()]
        values = np.concatenate([np.asarray(curve, dtype=float) for curve in curves])
        return "log" if 0 < 10 * values.min() < values.max() else "linear"

    def _mark_best_rounds(self, ax: Any, colors: dict[str, Any]) -> dict[str, Any]:
        points = {}
        for name, best in (self.best_iteration_per_task or {}).items():
            values = self.validation.get(name, self.training.get(name, ()))
            # No round kept means the base score alone, for which nothing was recorded.
            if 1 <= best <= len(values):
                (points[name],) = ax.plot(
                    best, values[best - 1], marker="o", markersize=5, color=colors[name]
                )
        return points

    def _mark_kept_rounds(self, ax: Any) -> Any:
        if self.best_iteration is None:
            return None
        label = f"rounds kept ({self.best_iteration})"
        return ax.axvline(self.best_iteration, color="0.5", linestyle="-.", lw=1, label=label)


def _recorded_metrics(recorded: dict[str, dict[str, Any]], task_names: Any) -> list[str]:
    """Metrics recorded per task, in order; keys read "<task>:<metric>"."""
    keys = [key for part in recorded.values() for key in part]
    parts = [key.rpartition(":") for key in keys]
    return list(dict.fromkeys(metric for task, _, metric in parts if task in task_names))


def _chosen_metric(metric: str | None, names: list[str]) -> str:
    if not names:
        raise ValueError("evals_result_ holds no metric of a task, so there is no curve to draw.")
    if metric is not None and metric not in names:
        raise ValueError(f"metric must be one of the recorded {names}; got {metric!r}.")
    return metric or names[0]


def _curves_of(part: dict[str, Any], metric: str, task_names: Any) -> dict[str, Any]:
    keys = {name: f"{name}:{metric}" for name in task_names}
    return {name: part[key] for name, key in keys.items() if key in part}


def _line_styles(training: dict[str, Any], validation: dict[str, Any]) -> dict[str, str]:
    styles = {"training": "--", "validation": "-"}
    parts = {"training": training, "validation": validation}
    return {part: styles[part] for part, curves in parts.items() if curves}


def _plot_part(
    ax: Any, curves: dict[str, Any], colors: dict[str, Any], style: dict[str, Any]
) -> dict[str, Any]:
    lines = {}
    for name, values in curves.items():
        rounds = np.arange(1, len(values) + 1)
        (lines[name],) = ax.plot(rounds, values, **{"color": colors[name]} | style)
    return lines


def _label_lines(ax: Any, colors: dict[str, Any], styles: dict[str, str]) -> int:
    """Legend entries for colours (tasks) and line styles (rows); returns their number."""
    for name, color in colors.items():
        ax.plot([], [], color=color, label=name)
    for part, style in styles.items():
        ax.plot([], [], color="0.3", linestyle=style, label=part)
    return len(colors) + len(styles)
