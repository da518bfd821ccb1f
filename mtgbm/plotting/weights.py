"""The weights of the tasks over boosting rounds."""

from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from mtgbm.metrics.predictions import fitted_core
from mtgbm.plotting.canvas import given_axes, load_pyplot, task_colors


class WeightEvolutionDisplay:
    """The weight of each task in each round, in strips above each other.

    Make it with `from_estimator`, or from an array of weights. Every task has a strip of its own,
    because equal weights would lie on top of each other and weights that jump would hide one
    another. All strips have the same axes. The pale line is the weight of every round; the bold
    one its mean over a window of a twentieth of the rounds, which leaves fixed and slowly moving
    weights as they are and shows the level of jumping ones. The vertical axis is logarithmic
    where positive weights span more than a factor of ten.

    Parameters
    ----------
    weights : array-like of shape (n_rounds, n_tasks)
    task_names : sequence of n_tasks str

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : dict of str to matplotlib Axes
        Strip of each task.
    lines_ : dict of str to matplotlib Line2D
        Weight in every round.
    mean_lines_ : dict of str to matplotlib Line2D
        Moving mean.
    window_ : int
        Rounds of which the moving mean is taken; fewer at both ends.
    """

    def __init__(self, weights: Any, task_names: Any):
        self.weights = weights
        self.task_names = task_names

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, share: bool = False, ax: Any = None, **line_kwargs: Any
    ) -> Self:
        """Read `weight_evolution_` of a fitted model and draw it.

        Parameters
        ----------
        estimator : fitted MultiTaskLGBMClassifier, or a pipeline or search that ends in one
        share, ax, **line_kwargs
            As in `plot`.

        Returns
        -------
        WeightEvolutionDisplay

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        """
        model = fitted_core(estimator)
        check_is_fitted(model, "weight_evolution_")
        display = cls(model.weight_evolution_, model.task_names_)
        return display.plot(share=share, ax=ax, **line_kwargs)

    def plot(self, ax: Any = None, *, share: bool = False, **line_kwargs: Any) -> Self:
        """Draw a strip for each task.

        Parameters
        ----------
        ax : sequence of n_tasks matplotlib Axes, optional
            By default those of a new figure.
        share : bool, default=False
            Draw each weight's share of the sum of its round. A common factor on all weights
            mostly changes no split, so shares compare rounds and models of different weightings.
        **line_kwargs
            Passed to `ax.plot` for the moving means.

        Returns
        -------
        WeightEvolutionDisplay
            Itself, with `figure_`, `axes_`, `lines_`, `mean_lines_` and `window_` set.

        Raises
        ------
        ValueError
            If the weights have another shape than the names ask for, no round, or are not finite
            and non-negative.
        """
        names = [str(name) for name in self.task_names]
        weights = _checked(self.weights, len(names))
        if share:
            weights = weights / weights.sum(axis=1, keepdims=True)
        strips = _new_strips(len(names)) if ax is None else given_axes(ax, len(names))
        window = len(weights) // 20 | 1
        rounds = np.arange(1, len(weights) + 1)
        lines, mean_lines = {}, {}
        for name, strip, values, color in zip(
            names, strips, weights.T, task_colors(len(names)), strict=True
        ):
            pale = {"color": color, "alpha": 0.35, "linewidth": 0.7}
            bold = {"color": color, "linewidth": 1.8} | line_kwargs
            (lines[name],) = strip.plot(rounds, values, **pale)
            (mean_lines[name],) = strip.plot(rounds, moving_mean(values, window), **bold)
            _label_strip(strip, name, values.mean())
        _scale_strips(strips, weights)
        _title_strips(strips, window, share)
        self.figure_, self.axes_ = strips[0].figure, dict(zip(names, strips, strict=True))
        self.lines_, self.mean_lines_, self.window_ = lines, mean_lines, window
        return self


def moving_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Mean of the `window` values around each; of those there are, near both ends.

    Parameters
    ----------
    values : ndarray of shape (n,)
    window : int
        Odd.

    Returns
    -------
    ndarray of float64 of shape (n,)
    """
    sums = np.concatenate([[0.0], np.cumsum(values)])
    place = np.arange(len(values))
    first = np.maximum(place - window // 2, 0)
    end = np.minimum(place + window // 2 + 1, len(values))
    return (sums[end] - sums[first]) / (end - first)


def _checked(weights: Any, n_tasks: int) -> np.ndarray:
    weights = np.asarray(weights, dtype=np.float64)
    if weights.ndim != 2 or weights.shape[1] != n_tasks or len(weights) == 0:
        raise ValueError(
            f"weights must have shape (n_rounds, {n_tasks}), a row for each of one or more rounds "
            f"and a column for each task name; got shape {weights.shape}."
        )
    if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any(axis=1).all():
        raise ValueError(
            "weights must be finite and not negative, with one above 0 in every round."
        )
    return weights


def _new_strips(n_tasks: int) -> list[Any]:
    height = np.clip(4 / n_tasks, 0.6, 1.4)
    _, axes = load_pyplot().subplots(
        n_tasks,
        1,
        figsize=(8, 1 + height * n_tasks),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    return list(axes[:, 0])


def _label_strip(strip: Any, name: str, mean: float) -> None:
    """The name to the left, the mean of all rounds to the right."""
    strip.set_ylabel(name, rotation=0, ha="right", va="center")
    strip.text(1.01, 0.5, f"{mean:.3g}", transform=strip.transAxes, va="center", fontsize="small")
    strip.spines[["top", "right"]].set_visible(False)
    strip.tick_params(labelsize="small")


def _scale_strips(strips: list[Any], weights: np.ndarray) -> None:
    """One vertical axis for all: as wide as the weights, but never so narrow that noise is tall."""
    low, high = weights.min(), weights.max()
    is_log = 0 < 10 * low < high
    margin = max(0.1 * (high - low), 0.1 * high)
    for strip in strips:
        if is_log:
            strip.set(yscale="log", ylim=(low / 1.4, high * 1.4))
            strip.yaxis.set_major_formatter("{x:g}")
            strip.minorticks_off()
        else:
            strip.set_ylim(max(low - margin, -0.05 * high), high + margin)
            strip.locator_params(axis="y", nbins=3)


def _title_strips(strips: list[Any], window: int, share: bool) -> None:
    what = "Share of each task's weight" if share else "Weight of each task"
    bold = f" (bold: mean of {window} rounds)" if window > 1 else ""
    strips[0].set_title(what + bold, loc="left", fontsize="medium")
    strips[0].set_title("mean", loc="right", fontsize="small")
    strips[-1].set_xlabel("Boosting round")
