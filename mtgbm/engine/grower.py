"""Growth of one tree, best split first, over histograms."""

from dataclasses import dataclass, field

import numpy as np

from mtgbm.engine._common import FEATURE_DTYPE, NODE_DTYPE
from mtgbm.engine._growth import Growth, sum_upwards
from mtgbm.engine._isa import load_kernel
from mtgbm.engine._partition import RowPartition
from mtgbm.engine.profile import Profile
from mtgbm.engine.threads import threads_for
from mtgbm.engine.tree import Tree
from mtgbm.engine.vectors import aligned_zeros

_histogram = load_kernel("mtgbm.engine._histogram")
_leaves = load_kernel("mtgbm.engine._leaves")
_splitting = load_kernel("mtgbm.engine._splitting")

#: A hessian below this is no hessian, as in LightGBM; it keeps 0 / 0 out of the leaves.
SMALLEST_HESSIAN = 1e-15

#: Rows per bin from which threads share out rows, not features: then what they save by reading
#: each row once is more than the adding up of their histograms costs.
ROWS_TO_SHARE = 32


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
class Structure:
    """A grown tree before its leaves have values.

    Attributes
    ----------
    rows : ndarray of int32
        The rows of the tree, leaf by leaf.
    starts, stops : ndarray of int of shape (n_nodes,)
        The part of `rows` of each node. Nodes are in order of creation.
    depths : ndarray of int of shape (n_nodes,)
    left : ndarray of int of shape (n_nodes,)
        Number of the left child, -1 in a leaf; the right child comes next to it.
    splits : ndarray of SPLIT_DTYPE of shape (n_nodes,)
    bounds : ndarray of float64 of shape (n_nodes, 2, n_outputs)
        Limits of leaf values.
    """

    rows: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    depths: np.ndarray
    left: np.ndarray
    splits: np.ndarray
    bounds: np.ndarray
    inner: np.ndarray = field(init=False)
    leaves: np.ndarray = field(init=False)

    def __post_init__(self):
        self.inner = np.flatnonzero(self.left >= 0)
        leaves = np.flatnonzero(self.left < 0)
        self.leaves = leaves[np.argsort(self.starts[leaves], kind="stable")]

    @property
    def leaf_starts(self):
        """Where the rows of each leaf start, and the end."""
        return np.append(self.starts[self.leaves], len(self.rows))

    def add_values(self, scores, values, n_threads):
        """Add the values of each leaf to the scores of its rows, in place."""
        threads = threads_for(len(self.rows), n_threads)
        _leaves.add_leaf_values(scores, self.rows, self.leaf_starts, values, threads)


class HistogramPool:
    """Memory for the histograms of the nodes of a tree, in numbered slots; trees reuse it.

    Parameters
    ----------
    shape : tuple
        (n_columns, stride, lanes) of a histogram.
    dtype : dtype
    most : int
        Slots there can be.

    Attributes
    ----------
    addresses : ndarray of uintp of shape (most,)
        Where each slot lies, for the kernels.
    arrays : list of ndarray
        The slots that were needed so far.
    """

    def __init__(self, shape, dtype, most):
        self.shape = shape
        self.dtype = dtype
        self.addresses = np.zeros(most, dtype=np.uintp)
        self.arrays = []
        self._free = []

    def take(self):
        """Return the number of a free slot."""
        if not self._free:
            self._free.append(len(self.arrays))
            self.arrays.append(aligned_zeros(self.shape, self.dtype))
            self.addresses[len(self.arrays) - 1] = self.arrays[-1].ctypes.data
        return self._free.pop()

    def give(self, slot):
        """Take back a slot."""
        self._free.append(slot)


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
    profile : Profile, optional
        Is told where the time goes.
    """

    def __init__(self, binned, mapper, rules, n_threads, monotone=None, reducer=None, profile=None):
        self.binned = binned
        self.mapper = mapper
        self.rules = rules
        self.n_threads = n_threads
        self.monotone = monotone
        self.reducer = reducer or LocalReducer()
        self.profile = profile or Profile()
        self.features = feature_records(mapper)
        self.buffer = np.empty(len(binned.by_row), dtype=np.int32)
        self.pool = None
        self.spare = None

    def grow(self, vectors, gradients, rows, columns):
        """Choose the structure of a tree.

        Parameters
        ----------
        vectors : RowVectors
            What histograms sum.
        gradients : SplitGradients
            Whence they come: the outputs that are heard and their weights.
        rows : ndarray of int32
            The rows of this tree; reordered in place.
        columns : ndarray of int32
            The features of this tree.

        Returns
        -------
        Structure
        """
        growth = self.begin(vectors, gradients, rows, columns)
        growth.run()
        n = growth.n_nodes
        return Structure(
            rows=rows,
            starts=growth.starts[:n],
            stops=growth.stops[:n],
            depths=growth.depths[:n],
            left=growth.left[:n],
            splits=growth.search.splits[:n],
            bounds=growth.search.bounds[:n],
        )

    def begin(self, vectors, gradients, rows, columns):
        """Return the Growth that `grow` runs."""
        self._lay_out(len(columns), vectors)
        stride, most_nodes = self.pool.shape[1], 2 * min(self.rules.num_leaves, len(rows)) + 1
        weights = np.ascontiguousarray(gradients.weights, dtype=np.float64)
        lengths = (self.features["n_bins"] + self.features["has_missing"])[columns]
        monotone = self.monotone
        if monotone is None:
            monotone = np.zeros((len(self.features), len(weights)), dtype=np.int32)
        addresses = self.pool.addresses
        filler = _histogram.HistogramFiller(
            self.binned.by_row, rows, vectors.lanes, columns, lengths, addresses, stride
        )
        search = _splitting.SplitSearch(
            addresses,
            vectors.cell_dtype == np.float64,
            stride,
            vectors.scales,
            self.features,
            columns,
            lengths,
            weights,
            monotone,
            self.rules.as_record(constrained=self.monotone is not None),
            most_nodes,
            self.n_threads,
        )
        return Growth(
            self.rules,
            rows,
            self.pool,
            filler,
            search,
            RowPartition(self.binned.by_column, rows, self.buffer, self.features, search.splits),
            root_total=lambda growth: self._root_total(growth, vectors, lengths[0]),
            count_lane=2 * len(weights),
            n_outputs=len(weights),
            rows_to_share=ROWS_TO_SHARE * stride,
            spare=self.spare,
            n_threads=self.n_threads,
            reduce=None if isinstance(self.reducer, LocalReducer) else self.reducer.sum,
            limit_children=None
            if self.monotone is None
            else monotone_limits(search, self.rules, monotone),
            profile=self.profile,
        )

    def _root_total(self, growth, vectors, length):
        """Integers may be added up from the cells of any feature; floats are summed row by row."""
        if vectors.cell_dtype == np.int32:
            cells = self.pool.arrays[growth.slots[0]][0, :length]
            return cells.sum(axis=0, dtype=np.int64) * vectors.scales
        threads = self.threads_for(len(growth.rows))
        sums = _leaves.sum_leaves(vectors.lanes, growth.rows, [0, len(growth.rows)], threads)
        return self.reducer.sum(sums[0])

    def _lay_out(self, n_columns, vectors):
        """Memory for the histograms; trees reuse it while they have the same shape."""
        cell_bytes = np.dtype(vectors.cell_dtype).itemsize * vectors.n_lanes
        longest = int((self.features["n_bins"] + self.features["has_missing"]).max())
        shape = (n_columns, strip_length(longest, cell_bytes), vectors.n_lanes)
        if self.pool is not None and (self.pool.shape, self.pool.dtype) == (
            shape,
            vectors.cell_dtype,
        ):
            return
        most = min(self.rules.num_leaves, len(self.binned.by_row)) + 1
        self.pool = HistogramPool(shape, vectors.cell_dtype, most)
        self.spare = None
        if self.n_threads > 1 and vectors.cell_dtype == np.int32:
            self.spare = aligned_zeros((self.n_threads - 1, *shape), np.int32)

    def threads_for(self, steps):
        return threads_for(steps, self.n_threads)

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
        threads = self.threads_for(len(structure.rows))
        sums = _leaves.sum_leaves(vectors, structure.rows, structure.leaf_starts, threads)
        self.reducer.sum(sums)
        sums = sum_upwards(structure.left, structure.leaves, sums)
        g, h = sums[:, :n_outputs], sums[:, n_outputs : 2 * n_outputs]
        bounds = None if self.monotone is None else structure.bounds
        values = self.rules.leaf_values(g, h, bounds)
        nodes, bitsets = self._node_records(structure)
        return Tree(
            nodes=nodes,
            bitsets=bitsets,
            values=np.ascontiguousarray(values[structure.leaves] * learning_rate),
            gradients=g.copy(),
            hessians=h.copy(),
            counts=np.rint(sums[:, 2 * n_outputs]).astype(np.int64),
            gains=split_gains(structure, self.rules.scores(g, h, values)),
        )

    def _node_records(self, structure):
        """The nodes as predictors walk them, and the bitsets of the category splits."""
        nodes = np.zeros(len(structure.starts), dtype=NODE_DTYPE)
        nodes["leaf"] = nodes["bitset"] = nodes["feature"] = -1
        nodes["depth"] = structure.depths
        nodes["leaf"][structure.leaves] = range(len(structure.leaves))
        inner = structure.inner
        splits = structure.splits[inner]
        feature = splits["feature"]
        nodes["feature"][inner] = feature
        nodes["left"][inner] = structure.left[inner]
        nodes["right"][inner] = structure.left[inner] + 1
        nodes["missing_left"][inner] = splits["missing_left"]
        nodes["missing_bin"][inner] = self.mapper.n_bins_[feature]
        by_category = splits["is_categorical"] != 0
        nodes["bitset"][inner[by_category]] = range(by_category.sum())
        numeric, bins = ~by_category, splits["bin_threshold"]
        nodes["bin_threshold"][inner[numeric]] = bins[numeric]
        thresholds = self._raw_thresholds(feature[numeric], bins[numeric])
        nodes["threshold"][inner[numeric]] = thresholds
        return nodes, np.ascontiguousarray(splits["bitset"][by_category])

    def _raw_thresholds(self, features, bins):
        """The last bin has no upper threshold: everything present is on its left."""
        table = self.mapper.thresholds_
        inside = bins < self.mapper.n_bins_[features] - 1
        return np.where(inside, table[features, np.minimum(bins, table.shape[1] - 1)], np.inf)


def monotone_limits(search, rules, monotone):
    """Return what keeps the children's values of a monotone split on either side of their middle.

    Parameters
    ----------
    search : SplitSearch
    rules : GrowthRules
    monotone : ndarray of int32 of shape (n_features, n_outputs)

    Returns
    -------
    function
        ``limit(node, left)`` sets the bounds of the two children of a node.
    """

    def limit(node, left):
        bounds = search.bounds
        bounds[left : left + 2] = bounds[node]
        direction = monotone[search.splits["feature"][node]]
        output = np.flatnonzero(direction)
        n = len(direction)
        totals = search.totals[left : left + 2]
        values = rules.leaf_values(totals[:, :n], totals[:, n : 2 * n], bounds[node])
        middle = values.mean(axis=0)
        low_side, high_side = np.where(direction > 0, [[0], [1]], [[1], [0]])
        bounds[left + low_side[output], 1, output] = middle[output]
        bounds[left + high_side[output], 0, output] = middle[output]

    return limit


def feature_records(mapper):
    """What the split search must know of each feature: FEATURE_DTYPE of shape (n_features,)."""
    features = np.zeros(len(mapper.n_bins_), dtype=FEATURE_DTYPE)
    features["n_bins"] = mapper.n_bins_
    features["has_missing"] = mapper.has_missing_
    features["is_categorical"] = mapper.is_categorical
    return features


def strip_length(longest, cell_bytes):
    """Cells of the strip of one feature in a histogram.

    At least a cache line more than the longest feature needs, and never a multiple of 4096 bytes:
    there the frequent bins of skewed features would share an address modulo 4096, and the processor
    would take each load to depend on the store before it.
    """
    length = longest + max(1, 64 // cell_bytes)
    return length + ((length * cell_bytes) % 4096 == 0)


def split_gains(structure, scores):
    """What each output gained by each split: its children's scores less its own."""
    gains = np.zeros_like(scores)
    left = structure.left[structure.inner]
    gains[structure.inner] = scores[left] + scores[left + 1] - scores[structure.inner]
    return gains
