"""What a model owes to its modalities, as bars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mtbert.explanation import ModalityAblation
from mtgbm.plotting.canvas import draw_legend, new_axes, task_colors

#: Share of the room between two modalities that their bars take.
FILLED = 0.75


def plot_modality_ablation(
    ablation: ModalityAblation | Mapping[str, ModalityAblation], ax: Any = None, **bar_kwargs: Any
) -> Any:
    """Draw by how much a score drops without each modality.

    Parameters
    ----------
    ablation : ModalityAblation or dict of str to ModalityAblation
        As ``model.modality_ablation(X, y)`` gives it; several scores, such as those of several
        tasks, stand side by side.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.
    **bar_kwargs
        Passed to `ax.barh`.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ImportError
        If matplotlib is missing.
    """
    results = dict(ablation) if isinstance(ablation, Mapping) else {ablation.scoring: ablation}
    names = list(next(iter(results.values())).modalities)
    if ax is None:
        ax = new_axes(6.4, 1.2 + 0.18 * len(names) * (1 + len(results)))
    height = FILLED / len(results)
    colors = task_colors(len(results))
    for number, ((name, result), color) in enumerate(zip(results.items(), colors, strict=True)):
        places = np.arange(len(names)) + (number - (len(results) - 1) / 2) * height
        is_repeated = result.importances.shape[1] > 1
        style = {
            "height": height,
            "color": color,
            "label": f"{name} ({result.score:.3f} with all)",
            "xerr": result.importances_std if is_repeated else None,
            "ecolor": "0.3",
        } | bar_kwargs
        ax.barh(places, result.importances_mean, **style)
    _label_axes(ax, names, results)
    return ax


def _label_axes(ax, names, results):
    ax.set_yticks(range(len(names)), [f"without {name}" for name in names])
    ax.invert_yaxis()
    ax.axvline(0, color="0.4", linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)
    if len(results) > 1:
        ax.set_xlabel("drop of the score")
        draw_legend(ax, len(results))
    else:
        ((name, result),) = results.items()
        ax.set_xlabel(f"drop of {name}, which is {result.score:.3f} with all columns")
