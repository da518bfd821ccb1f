"""Which task helps which, as a map."""

from typing import Any, Self

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform
from sklearn.utils.validation import check_is_fitted

from mtgbm.metrics.predictions import fitted_core
from mtgbm.plotting.canvas import new_axes, slant_column_labels, write_cells


class TaskAffinityDisplay:
    """Map of the affinities between tasks: blue where one helps the other, red where it harms.

    Make it with `from_estimator`, or from any square matrix, such as the correlations of labels.
    Colours reach from the negative to the positive of the largest absolute value off the
    diagonal, so white is always 0.

    Parameters
    ----------
    affinity : array-like of shape (n_tasks, n_tasks)
        Mostly in [-1, 1]; NaN where not known. Of a matrix that is not symmetric the row is the
        task that is helped and the column the task that helps, and the axes say so.
    task_names : sequence of n_tasks str

    Attributes
    ----------
    order_ : ndarray of shape (n_tasks,), int
        Position in `task_names` of each row and column, as drawn.
    figure_ : matplotlib Figure
    ax_ : matplotlib Axes
    image_ : matplotlib AxesImage
    texts_ : list of matplotlib Text
        The numbers in the cells, row by row.
    """

    def __init__(self, affinity: Any, task_names: Any):
        self.affinity = affinity
        self.task_names = task_names

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, cluster: bool = True, ax: Any = None, **image_kwargs: Any
    ) -> Self:
        """Read `task_affinity_` of a fitted model and draw it.

        Parameters
        ----------
        estimator : fitted MultiTaskLGBMClassifier, or a pipeline or search that ends in one
        cluster, ax, **image_kwargs
            As in `plot`.

        Returns
        -------
        TaskAffinityDisplay

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError
            If the model knows no affinities.
        """
        model = fitted_core(estimator)
        check_is_fitted(model)
        affinity = getattr(model, "task_affinity_", None)
        if affinity is None:
            raise ValueError(
                f"{type(model).__name__} has no task_affinity_, so it does not know which task "
                "helps which. Fit a MultiTaskLGBMClassifier, or draw a matrix of your own with "
                "TaskAffinityDisplay(affinity, task_names).plot()."
            )
        return cls(affinity, model.task_names_).plot(cluster=cluster, ax=ax, **image_kwargs)

    def plot(self, ax: Any = None, *, cluster: bool = True, **image_kwargs: Any) -> Self:
        """Draw the map.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            By default those of a new figure, as large as the map needs.
        cluster : bool, default=True
            Whether tasks that help each other stand side by side, in the order of a hierarchical
            clustering (average linkage of one minus the mean of both directions); else in the
            given order.
        **image_kwargs
            Passed to `ax.imshow`, such as `cmap`, `vmin` and `vmax`.

        Returns
        -------
        TaskAffinityDisplay
            Itself, with `order_`, `figure_`, `ax_`, `image_` and `texts_` set.

        Raises
        ------
        ValueError
            If the matrix is not square, holds infinity, or has not as many rows as there are
            names.
        """
        names = np.array([str(name) for name in self.task_names], dtype=object)
        affinity = _checked(self.affinity, len(names))
        order = cluster_order(affinity) if cluster else np.arange(len(names))
        cells = affinity[np.ix_(order, order)]
        if ax is None:
            ax = new_axes(3.2 + 0.55 * len(names), 2 + 0.45 * len(names))
        limit = _color_limit(cells)
        style = {"aspect": "auto", "cmap": "RdBu", "vmin": -limit, "vmax": limit} | image_kwargs
        image = ax.imshow(cells, **style)
        ax.set_facecolor("0.9")  # what shows where nothing was measured
        self._label_axes(ax, image, names[order])
        texts = write_cells(ax, image, cells, f"z.{_decimals(limit)}f")
        self.order_, self.figure_, self.ax_ = order, ax.figure, ax
        self.image_, self.texts_ = image, texts
        return self

    def _label_axes(self, ax: Any, image: Any, names: np.ndarray) -> None:
        slant_column_labels(ax, names)
        ax.set_yticks(range(len(names)), names)
        ax.tick_params(length=0)
        cells = np.ma.filled(image.get_array(), np.nan)
        if not np.allclose(cells, cells.T, equal_nan=True):
            ax.set(xlabel="task that helps", ylabel="task that is helped")
        ax.figure.colorbar(image, ax=ax, label="affinity")


def cluster_order(affinity: np.ndarray) -> np.ndarray:
    """Order in which tasks of high affinity are neighbours.

    Parameters
    ----------
    affinity : ndarray of shape (n_tasks, n_tasks)
        A pair of which one direction is NaN counts by the other; of which both are, as 0.

    Returns
    -------
    ndarray of shape (n_tasks,), int

    References
    ----------
    Z. Bar-Joseph, D. K. Gifford, T. S. Jaakkola, "Fast optimal leaf ordering for hierarchical
    clustering", Bioinformatics 17 (2001).
    """
    if len(affinity) < 3:
        return np.arange(len(affinity))
    both = np.stack([affinity, affinity.T])
    known = np.isfinite(both)
    mean = np.where(known, both, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    # Distances must not be negative, and affinities may exceed 1: count from the largest.
    distance = max(1.0, mean.max()) - mean
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=True)
    return leaves_list(tree)


def _checked(affinity: Any, n_tasks: int) -> np.ndarray:
    affinity = np.asarray(affinity, dtype=np.float64)
    if affinity.shape != (n_tasks, n_tasks):
        raise ValueError(
            f"affinity must have shape ({n_tasks}, {n_tasks}), a row and a column for each task "
            f"name; got shape {affinity.shape}."
        )
    if np.isinf(affinity).any():
        raise ValueError("affinity must be finite, or NaN where not measured; it holds infinity.")
    return affinity


def _color_limit(cells: np.ndarray) -> float:
    """Largest absolute value off the diagonal, where a task's affinity to itself says nothing."""
    others = cells[~np.eye(len(cells), dtype=bool)]
    return float(np.nanmax(np.abs(others), initial=0)) or 1.0


def _decimals(limit: float) -> int:
    """Digits after the point with which the largest number has two that count."""
    return int(np.clip(2 - np.ceil(np.log10(limit)), 2, 5))
