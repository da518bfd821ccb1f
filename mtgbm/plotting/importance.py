"""Feature importances of every task side by side."""

from typing import Any, Self

import numpy as np

from mtgbm.metrics.predictions import fitted_core
from mtgbm.plotting.canvas import new_axes, slant_column_labels, write_cells


class TaskImportanceDisplay:
    """Map of features (rows) by tasks (columns); a cell is the feature's share within its task.

    Make it with `from_estimator`. Importances of tasks differ in scale, so each task's are
    divided by the sum of their absolute values and shown in percent. Features are sorted by
    their mean share.

    Parameters
    ----------
    importances : ndarray of shape (T, n_features)
    feature_names : sequence of n_features str
    task_names : sequence of T str
    importance_type : str, default="gain"
        Names the colour bar.

    Attributes
    ----------
    shares_ : ndarray of shape (n_shown, T)
        The cells, in the order drawn; NaN for a task without any importance.
    shown_features_ : list of n_shown str
    figure_ : matplotlib Figure
    ax_ : matplotlib Axes
    image_ : matplotlib AxesImage
    texts_ : list of matplotlib Text
        The numbers in the cells, row by row.
    """

    def __init__(
        self,
        importances: Any,
        feature_names: Any,
        task_names: Any,
        *,
        importance_type: str = "gain",
    ):
        self.importances = importances
        self.feature_names = feature_names
        self.task_names = task_names
        self.importance_type = importance_type

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        importance_type: str = "gain",
        max_features: int = 20,
        *,
        ax: Any = None,
        **image_kwargs: Any,
    ) -> Self:
        """Draw the importances of a fitted model.

        Parameters
        ----------
        estimator : fitted MultiTaskLGBMClassifier, or a pipeline or search that ends in one
        importance_type : {"gain", "split"}, default="gain"
        max_features : int, default=20
            Number of features shown, the ones with the largest mean share.
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.
        **image_kwargs
            Passed to `ax.imshow`, such as `cmap`.

        Returns
        -------
        TaskImportanceDisplay
        """
        model = fitted_core(estimator)
        importances = np.asarray(model.task_importances(importance_type=importance_type))
        names = feature_names_of(model, importances.shape[1])
        display = cls(importances, names, model.task_names_, importance_type=importance_type)
        return display.plot(ax=ax, max_features=max_features, **image_kwargs)

    def plot(self, ax: Any = None, *, max_features: int = 20, **image_kwargs: Any) -> Self:
        """Draw the map.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            By default those of a new figure, as large as the map needs.
        max_features : int, default=20
        **image_kwargs
            Passed to `ax.imshow`.

        Returns
        -------
        TaskImportanceDisplay
            Itself, with `shares_`, `shown_features_`, `figure_`, `ax_`, `image_` and `texts_` set.
        """
        if max_features < 1:
            raise ValueError(f"max_features must be at least 1; got {max_features!r}.")
        shares = _shares(np.asarray(self.importances, dtype=float))
        shown = _largest_first(shares)[:max_features]
        cells = shares[:, shown].T
        features = [str(self.feature_names[f]) for f in shown]
        if ax is None:
            ax = new_axes(3 + 0.6 * len(self.task_names), 1.8 + 0.28 * len(features))
        style = {"aspect": "auto", "cmap": "Blues", "vmin": 0} | image_kwargs
        image = ax.imshow(100 * cells, **style)
        self._label_axes(ax, image, features)
        texts = write_cells(ax, image, 100 * cells, ".0f")
        self.shares_, self.shown_features_ = cells, features
        self.figure_, self.ax_, self.image_, self.texts_ = ax.figure, ax, image, texts
        return self

    def _label_axes(self, ax: Any, image: Any, features: list[str]) -> None:
        slant_column_labels(ax, self.task_names)
        ax.set_yticks(range(len(features)), features)
        ax.tick_params(length=0)
        if len(features) < len(self.feature_names):
            ax.set_ylabel(f"{len(features)} of {len(self.feature_names)} features")
        ax.figure.colorbar(image, ax=ax, label=f"share of the task's {self.importance_type} (%)")


def feature_names_of(model: Any, n_features: int) -> list[str]:
    """Names of the features a model was fitted with, x0, x1, ... where it knows none."""
    numbered = [f"x{f}" for f in range(n_features)]
    return [str(name) for name in getattr(model, "feature_names_in_", numbered)]


def _shares(importances: np.ndarray) -> np.ndarray:
    """Each task's importances over the sum of their absolute values; NaN where that is zero."""
    total = np.abs(importances).sum(axis=1, keepdims=True)
    return np.divide(importances, total, out=np.full_like(importances, np.nan), where=total > 0)


def _largest_first(shares: np.ndarray) -> np.ndarray:
    """Features by falling mean share over tasks; ties in the order of the columns."""
    return np.argsort(-np.nan_to_num(shares).mean(axis=0), kind="stable")
