"""One tree as a list of nodes that can be drawn: questions in words, a value for every output."""

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from mtgbm.explanation import output_names
from mtgbm.io.tree_table import category_column
from mtgbm.parameters import find_task
from mtgbm.plotting.importance import feature_names_of


@dataclass(frozen=True)
class TreeNode:
    """A split, which asks a question, or a leaf, which answers.

    Attributes
    ----------
    depth : int
        Splits above the node.
    n_rows : int
        Training rows.
    n_leaves : int
        Leaves below a split; 1 for a leaf.
    values : ndarray of shape (n_outputs,)
        Of a leaf; of a split the mean of the leaves below, weighted by their training rows.
    yes, no : int
        Positions of the nodes a split leads to; -1 in leaves.
    feature : str
        Empty in leaves.
    threshold : float
        Of ``feature <= threshold``; infinite where present is told from missing, NaN where nothing
        is compared.
    categories : tuple of str, or None
        Of ``feature in categories``.
    missing : str
        The answer for missing values, "yes" or "no"; empty in leaves.
    """

    depth: int
    n_rows: int
    n_leaves: int
    values: np.ndarray
    yes: int = -1
    no: int = -1
    feature: str = ""
    threshold: float = np.nan
    categories: tuple[str, ...] | None = None
    missing: str = ""

    @property
    def is_leaf(self) -> bool:
        return self.yes < 0

    def question(self, width: int | None = None) -> str:
        """What a split asks; of more than `width` characters some are left out."""
        rule = self._rule(width)
        room = None if width is None else max(width - len(rule), 8)
        return shortened(self.feature, room) + rule

    def _rule(self, width: int | None) -> str:
        if self.categories is None:
            return " is present" if np.isposinf(self.threshold) else f" <= {self.threshold:.4g}"
        # " in " and ", +123" take 10 characters, the feature's name up to a third of the width.
        room = None if width is None else width - 10 - min(len(self.feature), width // 3)
        shown = list(_that_fit(self.categories, room))
        n_more = len(self.categories) - len(shown)
        return f" in {', '.join([*shown, f'+{n_more}'] if n_more else shown)}"


def shortened(text: str, width: int | None) -> str:
    """`text`, cut in its second half to `width` characters: names often differ at their ends."""
    if width is None or len(text) <= width:
        return text
    tail = width // 3
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"


def _that_fit(categories: tuple[str, ...], room: int | None) -> Iterator[str]:
    """The first categories, abbreviated, that have `room`, one at least; all if it is None."""
    if room is None:
        yield from categories
        return
    used = 0
    for number, category in enumerate(categories):
        short = shortened(category, 10)
        used += len(short) + 2
        if number and used > room + 2:
            return
        yield short


def read_tree(
    model: Any, tree_index: int, outputs: list[int], *, probability: bool = False
) -> list[TreeNode]:
    """The nodes of one tree of a fitted model, the root first.

    Parameters
    ----------
    model : fitted MultiTaskLGBMClassifier
    tree_index : int
        Negative ones count from the last tree.
    outputs : list of int
        Whose values to read.
    probability : bool, default=False
        Whether values are what the leaf alone adds to the probabilities of the base score, and
        not what it adds to the score.

    Returns
    -------
    list of TreeNode
    """
    tree = model.forest_.trees[_checked_index(tree_index, len(model.forest_.trees))]
    names = feature_names_of(model, model.n_features_in_)
    categories = category_column(model, tree)
    leaf_values = _probability_steps(model, tree.values) if probability else tree.values
    n_leaves, values = _below(tree, leaf_values[:, outputs])
    nodes = []
    for place, node in enumerate(tree.nodes):
        own = (int(node["depth"]), int(tree.counts[place]), int(n_leaves[place]), values[place])
        if node["leaf"] >= 0:
            nodes.append(TreeNode(*own))
            continue
        left = categories[place]
        nodes.append(
            TreeNode(
                *own,
                yes=int(node["left"]),
                no=int(node["right"]),
                feature=names[node["feature"]],
                threshold=float(node["threshold"]) if left is None else np.nan,
                categories=None if left is None else tuple(map(str, left)),
                missing="yes" if node["missing_left"] else "no",
            )
        )
    return nodes


def _checked_index(tree_index: int, n_trees: int) -> int:
    if n_trees == 0:
        raise ValueError("the model has no trees, only base scores; there is nothing to draw.")
    if not isinstance(tree_index, Integral) or not -n_trees <= tree_index < n_trees:
        raise ValueError(
            f"tree_index must be an integer from 0 to {n_trees - 1}, the model having {n_trees} "
            f"tree(s), or from -{n_trees} to -1, counted from the last; got {tree_index!r}."
        )
    return int(tree_index)


def _probability_steps(model: Any, values: np.ndarray) -> np.ndarray:
    base = model.forest_.base_score[np.newaxis]
    link = model._objective.probabilities
    return link(base + values) - link(base)


def _below(tree: Any, leaf_values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of every node, the number of leaves below and the mean of their values."""
    is_leaf = tree.nodes["leaf"] >= 0
    leaf_of = tree.nodes["leaf"][is_leaf]
    n_leaves = is_leaf.astype(int)
    # Files of other programs may not hold the rows; all leaves then count the same.
    rows = np.where(is_leaf, tree.counts if tree.counts[is_leaf].any() else 1, 0).astype(float)
    sums = np.zeros((len(tree.nodes), leaf_values.shape[1]))
    sums[is_leaf] = rows[is_leaf, np.newaxis] * leaf_values[leaf_of]
    for place in np.flatnonzero(~is_leaf)[::-1]:  # children stand behind their parent
        children = [tree.nodes["left"][place], tree.nodes["right"][place]]
        for table in (n_leaves, rows, sums):
            table[place] = table[children].sum(axis=0)
    means = sums / np.maximum(rows, 1)[:, np.newaxis]
    means[is_leaf] = leaf_values[leaf_of]
    return n_leaves, means


def chosen_outputs(model: Any, tasks: Any) -> tuple[list[int], list[str]]:
    """Positions and names of the outputs of some tasks, in the order asked for; None for all."""
    names = output_names(model)
    if tasks is None:
        return list(range(len(names))), names
    wanted = [tasks] if isinstance(tasks, str | Integral) else list(tasks)
    if not wanted:
        raise ValueError("tasks is empty; name at least one, or leave it out to draw all.")
    known = [str(name) for name in model.task_names_]
    positions = [find_task("tasks", task, known) for task in wanted]
    outputs = [output for t in positions for output in model._objective.outputs_of_task[t]]
    return outputs, [names[output] for output in outputs]


def place_nodes(nodes: list[TreeNode], max_depth: int) -> dict[int, float]:
    """The column of each node that is drawn.

    Leaves, and splits at `max_depth`, where the drawing is cut, stand in columns 0, 1, ... from
    left to right; every other node stands in the middle between its two children.

    Parameters
    ----------
    nodes : list of TreeNode
    max_depth : int

    Returns
    -------
    dict of int to float
        Column by position in `nodes`, parents before children, left before right.
    """
    columns: dict[int, float] = {}
    waiting, n_columns = [0], 0
    while waiting:
        place = waiting.pop()
        node = nodes[place]
        columns[place] = n_columns
        if is_end(node, max_depth):
            n_columns += 1
        else:
            waiting += [node.no, node.yes]
    for place in reversed(columns):
        node = nodes[place]
        if not is_end(node, max_depth):
            columns[place] = (columns[node.yes] + columns[node.no]) / 2
    return columns


def is_end(node: TreeNode, max_depth: int) -> bool:
    """Whether nothing is drawn below the node."""
    return node.is_leaf or node.depth >= max_depth
