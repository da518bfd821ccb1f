"""Axes, colours and legends shared by the displays; matplotlib is imported here, when drawing."""

from typing import Any

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
