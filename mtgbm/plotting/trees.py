"""One tree of a model, with a value for every task in its leaves."""

from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from mtgbm.metrics.predictions import fitted_core
from mtgbm.parameters import check_number
from mtgbm.plotting.canvas import load_pyplot, task_colors
from mtgbm.plotting.tree_nodes import TreeNode, chosen_outputs, is_end, place_nodes, read_tree

# Inches; the axes of a new figure have inches as their unit.
COLUMN, LEVEL, BAR, HEADER, MARGIN = 1.3, 0.95, 0.12, 0.36, 0.15
CHART = COLUMN - 0.2
"""Width of the frame of a leaf."""
CHIP = 0.09
"""Edge of the squares that say which bar is whose."""
REACH = CHART / 2 - CHIP - 0.04
"""Length of the longest bar."""
QUESTION_WIDTH = 40
"""Characters of a question: a box of so many is narrower than the two columns below it."""


class TreeDisplay:
    """One tree: splits as boxes, leaves as small bar charts of their values for all tasks.

    Make it with `from_estimator`. Bars of all leaves have the same scale: to the right and blue
    what adds to a task's score, to the left and red what takes from it. The small squares in
    front of them have the tasks' colours, which the legend explains. Where the drawing is cut, a
    dashed frame says how many leaves are below, and shows the mean of their values, weighted by
    training rows. The width of a line between nodes is the share of training rows that take it.

    Parameters
    ----------
    nodes : list of TreeNode
        The root first, children behind their parents.
    output_names : sequence of n_outputs str
        Tasks, or "task=class" for multiclass tasks.
    value_name : str, default="score"
        What the values are parts of.

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : matplotlib Axes
    boxes_ : dict of int to matplotlib Text
        Questions of the splits drawn, by position in `nodes`.
    bars_ : dict of int to matplotlib BarContainer
        Bars of leaves and of cut splits, the first output first; one data unit is `scale_`.
    headers_ : dict of int to matplotlib Text
        Number of rows, and of leaves that are not drawn, above the bars.
    scale_ : float
        Value that a bar one data unit long stands for.
    """

    def __init__(self, nodes: list[TreeNode], output_names: Any, *, value_name: str = "score"):
        self.nodes = nodes
        self.output_names = output_names
        self.value_name = value_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        tree_index: int = 0,
        tasks: Any = None,
        max_depth: int = 3,
        probability: bool = False,
        *,
        ax: Any = None,
    ) -> Self:
        """Draw one tree of a fitted model.

        Parameters
        ----------
        estimator : fitted MultiTaskLGBMClassifier, or a pipeline or search that ends in one
        tree_index : int, default=0
            The round, from 0; negative ones count from the last.
        tasks : str, int or sequence of them, optional
            Names or positions of the tasks whose values are drawn; by default all.
        max_depth : int, default=3
            Levels of splits that are drawn.
        probability : bool, default=False
            Draw by how much a leaf alone moves the probabilities that the model starts from, and
            not its part of the scores (log-odds of binary tasks).
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure, as large as the tree needs.

        Returns
        -------
        TreeDisplay

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError
            If there is no such tree or task.
        """
        model = fitted_core(estimator)
        check_is_fitted(model, "forest_")
        outputs, names = chosen_outputs(model, tasks)
        nodes = read_tree(model, tree_index, outputs, probability=probability)
        value_name = "probability" if probability else "score"
        return cls(nodes, names, value_name=value_name).plot(ax=ax, max_depth=max_depth)

    def plot(self, ax: Any = None, *, max_depth: int = 3) -> Self:
        """Draw the tree.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            By default those of a new figure. Given axes should be as large as that would be: text
            does not shrink.
        max_depth : int, default=3
            Levels of splits that are drawn.

        Returns
        -------
        TreeDisplay
            Itself, with `figure_`, `ax_`, `boxes_`, `bars_`, `headers_` and `scale_` set.
        """
        check_number("max_depth", max_depth, Integral, 0, None)
        columns = place_nodes(self.nodes, max_depth)
        ends = [place for place in columns if is_end(self.nodes[place], max_depth)]
        largest = max(np.abs(self.nodes[place].values).max() for place in ends) or 1.0
        self.scale_ = float(largest / REACH)
        self.ax_ = self._new_axes(columns, len(ends)) if ax is None else ax
        self.figure_ = self.ax_.figure
        self._set_limits(columns, len(ends))
        self.boxes_: dict[int, Any] = {}
        self.bars_: dict[int, Any] = {}
        self.headers_: dict[int, Any] = {}
        for place, column in columns.items():
            if place in ends:
                self._draw_end(place, column * COLUMN)
            else:
                self._draw_split(place, columns)
        self._draw_key(len(ends) * COLUMN - COLUMN / 2 + MARGIN, largest)
        return self

    def to_dot(self) -> str:
        """The whole tree in DOT, the language of Graphviz.

        Returns
        -------
        str
            For ``dot -Tsvg``, or ``graphviz.Source`` in a notebook; neither is needed here.
        """
        lines = ["digraph tree {", '  node [shape=box, style=rounded, fontname="sans-serif"];']
        for place, node in enumerate(self.nodes):
            lines.append(f"  {place} [label={_quoted(self._dot_label(node))}];")
            if not node.is_leaf:
                lines.append(f'  {place} -> {node.yes} [label="yes"];')
                lines.append(f'  {place} -> {node.no} [label="no"];')
        return "\n".join([*lines, "}"]) + "\n"

    def _dot_label(self, node: TreeNode) -> str:
        if not node.is_leaf:
            return f"{node.question()}\n{_rows(node)}, missing: {node.missing}"
        values = zip(self.output_names, node.values, strict=True)
        return "\n".join([_rows(node), *(f"{name}: {value:+.4g}" for name, value in values)])

    @property
    def _chart_height(self) -> float:
        return HEADER + BAR * len(self.output_names) + 0.06

    @property
    def _key_width(self) -> float:
        """A letter is about 0.075 inches wide."""
        return max(1.4, 0.5 + 0.075 * max(len(name) for name in self.output_names))

    def _extent(self, columns: dict[int, float], n_columns: int) -> tuple[float, float]:
        """Width and height of the drawing, in inches."""
        levels = max(self.nodes[place].depth for place in columns)
        tree_height = levels * LEVEL + self._chart_height
        key_height = 0.9 + 0.16 * len(self.output_names)
        width = n_columns * COLUMN + self._key_width + 2 * MARGIN
        return width, max(tree_height, key_height) + 2 * MARGIN

    def _new_axes(self, columns: dict[int, float], n_columns: int) -> Any:
        figure = load_pyplot().figure(figsize=self._extent(columns, n_columns))
        return figure.add_axes((0, 0, 1, 1))

    def _set_limits(self, columns: dict[int, float], n_columns: int) -> None:
        width, height = self._extent(columns, n_columns)
        left, top = -COLUMN / 2 - MARGIN, HEADER / 2 + MARGIN
        self.ax_.set(xlim=(left, left + width), ylim=(top - height, top))
        self.ax_.axis("off")

    def _draw_split(self, place: int, columns: dict[int, float]) -> None:
        node = self.nodes[place]
        x, y = columns[place] * COLUMN, -node.depth * LEVEL
        text = f"{node.question(QUESTION_WIDTH)}\n{_rows(node)}, missing: {node.missing}"
        box = {"boxstyle": "round", "facecolor": "0.96", "edgecolor": "0.4"}
        style = {"ha": "center", "va": "center", "fontsize": 7.5, "bbox": box, "zorder": 3}
        self.boxes_[place] = self.ax_.text(x, y, text, **style)
        for answer, child in (("yes", node.yes), ("no", node.no)):
            self._draw_edge(x, y, columns[child] * COLUMN, answer, child)

    def _draw_edge(self, x: float, y: float, x_child: float, answer: str, child: int) -> None:
        """Down, across, and down to the child; the answer stands at the corner."""
        bend, end = y - 0.45 * LEVEL, y - LEVEL
        share = self.nodes[child].n_rows / max(self.nodes[0].n_rows, 1)
        width = 0.6 + 3.4 * share
        path = [(x, y), (x, bend), (x_child, bend), (x_child, end)]
        self.ax_.plot(*zip(*path, strict=True), color="0.6", linewidth=width, zorder=1)
        paper = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        self.ax_.text(
            x_child, bend, answer, ha="center", va="center", fontsize=7, bbox=paper, zorder=2
        )

    def _draw_end(self, place: int, x: float) -> None:
        """A leaf, or a split below which the drawing is cut: a frame, a header and the bars."""
        node = self.nodes[place]
        top = -node.depth * LEVEL + HEADER / 2
        style = {"facecolor": "white", "edgecolor": "0.4", "linestyle": "-", "zorder": 2}
        if not node.is_leaf:
            style |= {"facecolor": "0.96", "linestyle": "--"}
        size = (CHART, self._chart_height)
        frame = load_pyplot().Rectangle((x - CHART / 2, top - size[1]), *size, **style)
        self.ax_.add_patch(frame)
        what = "leaf" if node.is_leaf else f"… {node.n_leaves} leaves"
        self.headers_[place] = self.ax_.text(
            x, top - HEADER / 2, f"{what}\n{_rows(node)}", ha="center", va="center", fontsize=7
        )
        self.bars_[place] = self._draw_bars(x, top - HEADER, node.values)

    def _draw_bars(self, x: float, top: float, values: np.ndarray) -> Any:
        middle = x + CHIP
        y = top - BAR * (np.arange(len(values)) + 0.5)
        chips = np.full(len(values), CHIP)
        self.ax_.barh(y, chips, CHIP, x - CHART / 2 + 0.03, color=task_colors(len(y)), zorder=3)
        ends = [top, top - BAR * len(values)]
        self.ax_.plot([middle, middle], ends, color="0.4", linewidth=0.6, zorder=4)
        style = {"color": self._bar_colors(values), "edgecolor": "0.4", "linewidth": 0.3}
        return self.ax_.barh(y, values / self.scale_, 0.8 * BAR, middle, zorder=3, **style)

    def _bar_colors(self, values: np.ndarray) -> Any:
        """Red below zero, blue above, strongest at the largest value of the figure."""
        share = values / self.scale_ / REACH
        return load_pyplot().colormaps["RdBu"](0.5 + 0.42 * share)

    def _draw_key(self, left: float, largest: float) -> None:
        """Names and colours of the tasks, and what the longest bar stands for."""
        top = HEADER / 2
        style = {"va": "center", "fontsize": 7.5}
        for row, (name, color) in enumerate(
            zip(self.output_names, task_colors(len(self.output_names)), strict=True)
        ):
            y = top - 0.16 * (row + 0.5)
            self.ax_.barh(y, CHIP, CHIP, left, color=[color])
            self.ax_.text(left + 0.16, y, name, **style)
        y = top - 0.16 * len(self.output_names) - 0.35
        longest = np.array([-largest, largest])
        middle, reach = left + 0.6, longest / self.scale_
        self.ax_.barh([y, y], reach, 0.8 * BAR, middle, color=self._bar_colors(longest))
        for value, x in zip(longest, middle + reach, strict=True):
            self.ax_.text(x, y - 0.14, f"{value:+.2g}", ha="center", **style)
        self.ax_.text(middle, y + 0.14, self.value_name, ha="center", **style)


def _rows(node: TreeNode) -> str:
    return f"{node.n_rows:,} rows"


def _quoted(text: str) -> str:
    """A string of DOT: backslashes and quotes escaped, a line break as it writes one."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
