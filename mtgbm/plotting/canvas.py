"""Axes, colours and legends shared by the displays; matplotlib is imported here, when drawing."""

import math
from typing import Any

import numpy as np

LEGEND_INSIDE = 4
"""Up to this many entries a legend fits inside the axes; longer ones go to the right of them."""


def load_pyplot() -> Any:
    """Import matplotlib.pyplot, or say how to get it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "mtgbm.plotting draws with matplotlib, which cannot be imported. "
            "Install it with: pip install mtgbm[plot]"
        ) from error
    return plt


def new_axes(width: float, height: float) -> Any:
    """Axes of a new figure that makes room for labels and legends by itself."""
    _, ax = load_pyplot().subplots(figsize=(width, height), layout="constrained")
    return ax


def task_colors(n_tasks: int) -> list[Any]:
    """One colour per task: the ten of tab10 while they last, else evenly along turbo."""
    colormaps = load_pyplot().colormaps
    if n_tasks <= 10:
        return list(colormaps["tab10"].colors[:n_tasks])
    turbo = colormaps["turbo"]
    return [turbo(t / (n_tasks - 1)) for t in range(n_tasks)]


def draw_legend(ax: Any, n_entries: int, loc: str = "best") -> None:
    """Legend inside the axes if it is short, else to the right of them."""
    if n_entries <= LEGEND_INSIDE:
        ax.legend(loc=loc, fontsize="small")
    else:
        ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1), borderaxespad=0, fontsize="small")


def new_panels(n_panels: int, size: float) -> list[Any]:
    """Square axes of a new figure, in rows of up to five, `size` inches wide each.

    There is room for short tick labels around each, for 0.8 inches above it, and for a label of
    the figure below and to the left; so the layout needs no solver.
    """
    n_rows = 1 if n_panels <= 3 else max(2, math.ceil(n_panels / 5))
    n_columns = math.ceil(n_panels / n_rows)
    between, above, edge = 0.65, 1.15, 0.95
    width = n_columns * (size + between) + edge - 0.3
    height = n_rows * (size + above) + 0.3
    figure = load_pyplot().figure(figsize=(width, height))
    panels = []
    for number in range(n_panels):
        row, column = divmod(number, n_columns)
        left, bottom = edge + column * (size + between), height - (row + 1) * (size + above) + 0.3
        position = (left / width, bottom / height, size / width, size / height)
        panels.append(figure.add_axes(position))
    return panels


def given_axes(ax: Any, n_axes: int) -> list[Any]:
    """The user's axes as a list, one per task, or an error that says how many are needed."""
    axes = list(np.ravel(np.asarray(ax, dtype=object)))
    if len(axes) != n_axes:
        raise ValueError(
            f"ax must hold {n_axes} axes, one for each task; got {len(axes)}. "
            "Leave it out to have a figure made."
        )
    return axes


def slant_column_labels(ax: Any, names: Any) -> None:
    """Name the columns of a map, at an angle at which long names do not meet."""
    ax.set_xticks(range(len(names)), names)
    load_pyplot().setp(ax.get_xticklabels(), rotation=40, ha="right", rotation_mode="anchor")


def write_cells(ax: Any, image: Any, cells: np.ndarray, number_format: str) -> list[Any]:
    """Write the numbers of a map into its cells, row by row, "n/a" where there is none."""
    texts = []
    for (row, column), value in np.ndenumerate(cells):
        known = bool(np.isfinite(value))
        texts.append(
            ax.text(
                column,
                row,
                format(value, number_format) if known else "n/a",
                ha="center",
                va="center",
                fontsize="x-small",
                color="white" if known and _is_dark(image, value) else "black",
            )
        )
    return texts


def _is_dark(image: Any, value: float) -> bool:
    """Whether black on the colour of `value` is hard to read, by the colour's luma."""
    red, green, blue, _ = image.cmap(image.norm(value))
    return bool(0.299 * red + 0.587 * green + 0.114 * blue < 0.5)
