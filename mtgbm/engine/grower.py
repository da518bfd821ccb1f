"""Growth of one tree, best split first, over histograms."""

import heapq
from dataclasses import dataclass, field

import numpy as np

from mtgbm.engine._common import FEATURE_DTYPE, NODE_DTYPE, SPLIT_DTYPE
from mtgbm.engine._isa import load_kernel
from mtgbm.engine._partition import partition_rows
from mtgbm.engine.threads import threads_for
from mtgbm.engine.tree import BITSET_WORDS, Tree
from mtgbm.engine.vectors import aligned_zeros

_histogram = load_kernel("mtgbm.engine._histogram")
_leaves = load_kernel("mtgbm.engine._leaves")
_splitting = load_kernel("mtgbm.engine._splitting")

#: A hessian below this is no hessian, as in LightGBM; it keeps 0 / 0 out of the leaves.
SMALLEST_HESSIAN = 1e-15


@dataclass(frozen=True)
class GrowthRules:
    """When a node may be split and what a leaf is worth. Names and defaults are LightGBM's."""

    num_leaves: int = 31
    max_depth: int = -1
    min_child_samples: int = 20
    min_child_weight: float = 1e-3
    min_split_gain: float = 0.0
    reg_alpha: float = 0.0
    reg_lambda: float = 0.0
    max_delta_step: float = 0.0
    cat_smooth: float = 10.0
    cat_l2: float = 10.0
    max_cat_threshold: int = 32
    max_cat_to_onehot: int = 4
    min_data_per_group: int = 100

    def as_record(self, *, constrained):
        """The rules as the split kernel reads them."""
        record = np.zeros(1, dtype=_splitting.RULES_DTYPE)
        record["l1"] = self.reg_alpha
        record["l2"] = self.reg_lambda
        record["max_delta_step"] = self.max_delta_step
        record["min_child_weight"] = self.least_hessian
        record["min_split_gain"] = self.min_split_gain
        record["min_child_samples"] = max(1, self.min_child_samples)
        for name in ("cat_l2", "cat_smooth", "max_cat_threshold", "max_cat_to_onehot"):
            record[name] = getattr(self, name)
        record["min_data_per_group"] = self.min_data_per_group
        record["plain"] = not (self.reg_alpha or self.max_delta_step or constrained)
        return record

    @property
    def least_hessian(self):
        return max(self.min_child_weight, SMALLEST_HESSIAN)

    def leaf_values(self, g, h, bounds=None):
        """The step of each output that minimises its regularised loss, to second order.

        value = -soft(g, reg_alpha) / (max(h, min_child_weight) + reg_lambda), limited by
        `max_delta_step` and `bounds`. The floor keeps an output without hessian in a leaf, one
        whose rows are all but decided, from an unbounded step.

        Parameters
        ----------
        g, h : ndarray of shape (..., n_outputs)
        bounds : ndarray of shape (..., 2, n_outputs) or None
        """
        shrunk = np.sign(g) * np.maximum(np.abs(g) - self.reg_alpha, 0.0)
        values = -shrunk / (np.maximum(h, self.least_hessian) + self.reg_lambda)
        if self.max_delta_step > 0:
            values = np.clip(values, -self.max_delta_step, self.max_delta_step)
        if bounds is not None:
            values = np.clip(values, bounds[..., 0, :], bounds[..., 1, :])
        return values

    def scores(self, g, h, values):
        """Twice the loss that leaves with these values take away, per output."""
        shrunk = np.sign(g) * np.maximum(np.abs(g) - self.reg_alpha, 0.0)
        return -(2.0 * shrunk * values + (h + self.reg_lambda) * values**2)


class LocalReducer:
    """Sums over all rows, when all rows are here. A cluster's sums over its workers instead."""

    def sum(self, array):
        """Return the sum of `array` over all workers, in place."""
        return array


@dataclass
class GrowingNode:
    """A node while its tree grows: its rows, its sums, its best split."""

    number: int
    start: int
    stop: int
    depth: int
    total: np.ndarray
    bounds: np.ndarray
    histogram: np.ndarray | None = None
    split: np.void | None = None
    left_total: np.ndarray | None = None
    children: tuple["GrowingNode", "GrowingNode"] | None = None

    @property
    def n_rows(self):
        return self.stop - self.start

    def __lt__(self, other):
        """Largest gain first; of equals the older node, so that the order is always the same."""
        return (-self.split["gain"], self.number) < (-other.split["gain"], other.number)


@dataclass
class Structure:
    """A grown tree before its leaves have values.

    Attributes
    ----------
    nodes : list of GrowingNode
        In order of creation; parents before children.
    rows : ndarray of int32
        The rows of the tree, leaf by leaf.
    """

    nodes: list[GrowingNode]
    rows: np.ndarray
    leaves: list[GrowingNode] = field(init=False)

    def __post_init__(self):
        leaves = [node for node in self.nodes if node.children is None]
        self.leaves = sorted(leaves, key=lambda node: node.start)

    @property
    def starts(self):
        """Where the rows of each leaf start, and the end."""
        return [leaf.start for leaf in self.leaves] + [len(self.rows)]

    def add_values(self, scores, values, n_threads):
        """Add the values of each leaf to the scores of its rows, in place."""
        threads = threads_for(len(self.rows), n_threads)
        _leaves.add_leaf_values(scores, self.rows, self.starts, values, threads)


class TreeGrower:
    """Grows trees on one binned table.

    Parameters
    ----------
    binned : BinnedMatrix
    mapper : BinMapper
        The one that made `binned`.
    rules : GrowthRules
    n_threads : int
    monotone : ndarray of int32 of shape (n_features, n_outputs), optional
        -1, 0 or 1 for each feature and output.
    reducer : object with ``sum(array)``
    """

    def __init__(self, binned, mapper, rules, n_threads, monotone=None, reducer=None):
        self.binned = binned
        self.mapper = mapper
        self.rules = rules
        self.n_threads = n_threads
        self.monotone = monotone
        self.reducer = reducer or LocalReducer()
        self._buffer = np.empty((2, len(binned.by_row)), dtype=np.int32)
        self._pool = []
        self._lanes = 0

    def grow(self, vectors, weights, rows, columns):
        """Choose the structure of a tree.

        Parameters
        ----------
        vectors : ndarray of float32 of shape (n_rows, lanes)
            The row vectors that the criterion hands over.
        weights : ndarray of float64 of shape (n_outputs,)
        rows : ndarray of int32
            The rows of this tree; reordered in place.
        columns : ndarray of int32
            The features of this tree.

        Returns
        -------
        Structure
        """
        self._prepare(vectors, weights, rows, columns)
        nodes = [self._root()]
        heap = [nodes[0]] if self._search(nodes[0]) else []
        n_leaves = 1
        while heap and n_leaves < self.rules.num_leaves:
            node = heapq.heappop(heap)
            children = self._split(node, first_number=len(nodes))
            nodes.extend(children)
            n_leaves += 1
            if n_leaves < self.rules.num_leaves:
                self._fill_children(node)
                for child in children:
                    if self._search(child):
                        heapq.heappush(heap, child)
            self._release(node)
        for node in nodes:
            self._release(node)
        return Structure(nodes, rows)

    def _prepare(self, vectors, weights, rows, columns):
        """Lay out the histograms of this tree; they are reused while the layout stays the same."""
        self._vectors, self._rows, self._columns = vectors, rows, columns
        self._weights = np.ascontiguousarray(weights, dtype=np.float64)
        self._left_sums = np.zeros((len(columns), vectors.shape[1]))
        self._splits = np.zeros(len(columns), dtype=SPLIT_DTYPE)
        n_outputs = len(weights)
        if self.monotone is None:
            self._monotone = np.zeros((self.binned.by_row.shape[1], n_outputs), dtype=np.int32)
        else:
            self._monotone = self.monotone
        self._record = self.rules.as_record(constrained=self.monotone is not None)
        if self._lanes != vectors.shape[1]:
            self._lanes = vectors.shape[1]
            self._pool.clear()
            self._features, self._n_cells = lay_out_histograms(self.mapper, self._lanes)
        chosen = self._features[columns]
        self._offsets = np.ascontiguousarray(chosen["offset"])
        self._ends = chosen["offset"] + chosen["n_bins"] + chosen["has_missing"]

    def _root(self):
        n_outputs = len(self._weights)
        starts = [0, len(self._rows)]
        threads = self._threads_for(len(self._rows))
        total = _leaves.sum_leaves(self._vectors, self._rows, starts, threads)[0]
        bounds = np.repeat([[-np.inf], [np.inf]], n_outputs, axis=1)
        root = GrowingNode(0, 0, len(self._rows), 0, self.reducer.sum(total), bounds)
        if self._may_split(root):
            self._fill(root)
        return root

    def _may_split(self, node):
        count = node.total[2 * len(self._weights)]
        deep = 0 < self.rules.max_depth <= node.depth
        return not deep and count >= 2 * max(1, self.rules.min_child_samples)

    def _threads_for(self, steps):
        return threads_for(steps, self.n_threads)

    def _fill(self, node):
        """Sum the node's rows into a histogram of its own."""
        node.histogram = self._pool.pop() if self._pool else self._new_histogram()
        _histogram.fill_histogram(
            self.binned.by_row,
            self._rows[node.start : node.stop],
            self._vectors,
            self._columns,
            self._offsets,
            self._ends,
            node.histogram,
            self._threads_for(node.n_rows * len(self._columns)),
        )
        self.reducer.sum(node.histogram)

    def _new_histogram(self):
        return aligned_zeros((self._n_cells, self._lanes), np.float64)

    def _release(self, node):
        if node.histogram is not None:
            self._pool.append(node.histogram)
            node.histogram = None

    def _fill_children(self, node):
        """Sum the smaller child; the larger is the parent less the smaller."""
        smaller, larger = sorted(node.children, key=lambda child: child.n_rows)
        if not (self._may_split(smaller) or self._may_split(larger)):
            return
        self._fill(smaller)
        if self._may_split(larger):
            threads = self._threads_for(self._n_cells * self._lanes // 8)
            _histogram.subtract_histogram(node.histogram, smaller.histogram, threads)
            larger.histogram, node.histogram = node.histogram, None

    def _search(self, node):
        """Find the node's best split; False, and no histogram kept, if there is none."""
        best = -1
        if node.histogram is not None and self._may_split(node):
            best = _splitting.find_splits(
                node.histogram,
                node.total,
                self._features,
                self._columns,
                self._weights,
                node.bounds,
                self._monotone,
                self._record,
                self._splits,
                self._left_sums,
                self._threads_for(self._n_cells * len(self._weights)),
            )
        if best < 0:
            self._release(node)
            return False
        node.split = self._splits[best].copy()
        node.left_total = self._left_sums[best].copy()
        return True

    def _split(self, node, first_number):
        """Move the node's rows to two children."""
        split = node.split
        feature = split["feature"]
        n_left = partition_rows(
            self.binned.by_column[feature],
            self._rows[node.start : node.stop],
            self._buffer,
            split["bin_threshold"],
            split["missing_left"],
            self._features["n_bins"][feature],
            split["is_categorical"],
            split["bitset"],
            self._threads_for(node.n_rows),
        )
        middle = node.start + n_left
        right_total = node.total - node.left_total
        left_bounds, right_bounds = self._child_bounds(node, right_total)
        depth = node.depth + 1
        node.children = (
            GrowingNode(first_number, node.start, middle, depth, node.left_total, left_bounds),
            GrowingNode(first_number + 1, middle, node.stop, depth, right_total, right_bounds),
        )
        return node.children

    def _child_bounds(self, node, right_total):
        """On a monotone feature the children's values must stay on either side of their middle."""
        direction = self._monotone[node.split["feature"]]
        if not direction.any():
            return node.bounds, node.bounds
        n = len(self._weights)
        left, right = (
            self.rules.leaf_values(total[:n], total[n : 2 * n], node.bounds)
            for total in (node.left_total, right_total)
        )
        middle = (left + right) / 2
        bounds = np.array([node.bounds, node.bounds])
        low_side, high_side = np.where(direction > 0, [[0], [1]], [[1], [0]])
        output = np.flatnonzero(direction)
        bounds[low_side[output], 1, output] = middle[output]
        bounds[high_side[output], 0, output] = middle[output]
        return bounds[0], bounds[1]

    def finish(self, structure, vectors, n_outputs, learning_rate):
        """Give the leaves their values: from each output's own sums over the leaf's rows.

        Parameters
        ----------
        structure : Structure
        vectors : ndarray of float32 of shape (n_rows, lanes)
            Row vectors of every output, whatever the structure was chosen from.
        n_outputs : int
        learning_rate : float

        Returns
        -------
        Tree
        """
        threads = self._threads_for(len(structure.rows))
        sums = _leaves.sum_leaves(vectors, structure.rows, structure.starts, threads)
        self.reducer.sum(sums)
        sums = sum_upwards(structure, sums)
        g, h = sums[:, :n_outputs], sums[:, n_outputs : 2 * n_outputs]
        leaves = [leaf.number for leaf in structure.leaves]
        bounds = None
        if self.monotone is not None:
            bounds = np.array([node.bounds for node in structure.nodes])
        values = self.rules.leaf_values(g, h, bounds)
        nodes, bitsets = self._node_records(structure)
        return Tree(
            nodes=nodes,
            bitsets=bitsets,
            values=np.ascontiguousarray(values[leaves] * learning_rate),
            gradients=g.copy(),
            hessians=h.copy(),
            counts=np.rint(sums[:, 2 * n_outputs]).astype(np.int64),
            gains=split_gains(structure, self.rules.scores(g, h, values)),
        )

    def _node_records(self, structure):
        nodes = np.zeros(len(structure.nodes), dtype=NODE_DTYPE)
        nodes["leaf"] = nodes["bitset"] = nodes["feature"] = -1
        bitsets = []
        for record, node in zip(nodes, structure.nodes, strict=True):
            record["depth"] = node.depth
            if node.children is None:
                continue
            feature = node.split["feature"]
            record["feature"] = feature
            record["left"], record["right"] = (child.number for child in node.children)
            record["missing_left"] = node.split["missing_left"]
            record["missing_bin"] = self.mapper.n_bins_[feature]
            if node.split["is_categorical"]:
                record["bitset"] = len(bitsets)
                bitsets.append(node.split["bitset"])
            else:
                record["bin_threshold"] = node.split["bin_threshold"]
                record["threshold"] = self._raw_threshold(feature, node.split["bin_threshold"])
        nodes["leaf"][[leaf.number for leaf in structure.leaves]] = range(len(structure.leaves))
        return nodes, np.array(bitsets, dtype=np.uint32).reshape(-1, BITSET_WORDS)

    def _raw_threshold(self, feature, bin_threshold):
        """The last bin has no upper threshold: everything present is on its left."""
        if bin_threshold >= self.mapper.n_bins_[feature] - 1:
            return np.inf
        return self.mapper.thresholds_[feature, bin_threshold]


def lay_out_histograms(mapper, lanes):
    """Where each feature's histogram starts.

    A cache line is left free after each feature, and one more if it would still start a multiple
    of 4096 bytes after the one before. There the frequent bins of skewed features share an address
    modulo 4096, and the processor takes each load to depend on the store before it.

    Returns
    -------
    features : ndarray of FEATURE_DTYPE of shape (n_features,)
    n_cells : int
        Length of all histograms together, in bins.
    """
    cell = 8 * lanes
    features = np.zeros(len(mapper.n_bins_), dtype=FEATURE_DTYPE)
    features["n_bins"] = mapper.n_bins_
    features["has_missing"] = mapper.has_missing_
    features["is_categorical"] = mapper.is_categorical
    used = mapper.n_bins_ + mapper.has_missing_
    lengths = used + max(1, 64 // cell)
    lengths += (lengths * cell) % 4096 == 0
    features["offset"] = np.cumsum(lengths) - lengths
    return features, int(lengths.sum())


def sum_upwards(structure, leaf_sums):
    """Sums of every node from those of the leaves; parents have smaller numbers than children."""
    sums = np.zeros((len(structure.nodes), leaf_sums.shape[1]))
    sums[[leaf.number for leaf in structure.leaves]] = leaf_sums
    for node in reversed(structure.nodes):
        if node.children is not None:
            left, right = node.children
            sums[node.number] = sums[left.number] + sums[right.number]
    return sums


def split_gains(structure, scores):
    """What each output gained by each split: its children's scores less its own."""
    gains = np.zeros_like(scores)
    for node in structure.nodes:
        if node.children is not None:
            left, right = node.children
            gains[node.number] = scores[left.number] + scores[right.number] - scores[node.number]
    return gains
