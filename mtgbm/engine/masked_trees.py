"""Trees as masks over their leaves, which `_scorer.pyx` reads."""

import numpy as np

from mtgbm.engine._isa import load_kernel
from mtgbm.engine.vectors import aligned_zeros

_scorer = load_kernel("mtgbm.engine._scorer")

#: Leaves for which there are bits, beside float64 and float32 columns.
MOST_LEAVES, MOST_NARROW_LEAVES = 64, 32
#: Kinds of splits: missing values go right, left, or the split is on categories.
RIGHT, LEFT, CATEGORIES = range(3)


class MaskedTrees:
    """Several trees, each a list of splits with the leaves that they rule out.

    Parameters
    ----------
    packed : PackedTrees
        Of trees with at most 64 leaves.
    """

    def __init__(self, packed):
        nodes = packed.nodes
        tree = np.repeat(np.arange(len(packed.roots)), np.diff(packed.roots, append=len(nodes)))
        first, count = _leaf_ranges(nodes, packed.roots, tree)
        kind = np.where(nodes["bitset"] >= 0, CATEGORIES, nodes["missing_left"])
        inner = np.flatnonzero(nodes["leaf"] < 0)
        splits = inner[np.lexsort((kind[inner], tree[inner]))]
        per_kind = np.bincount(3 * tree[inner] + kind[inner], minlength=3 * len(packed.roots))
        self.ends = np.cumsum(per_kind).astype(np.int32).reshape(-1, 3)
        self.first_leaf = packed.first_leaf
        self.values = _ordered_values(packed, tree, first)
        self.bitsets = _extended_bitsets(packed, splits[kind[splits] == CATEGORIES])
        below = np.uint64(1) << count[nodes["left"][splits] + packed.roots[tree[splits]]]
        masks = ~((below - np.uint64(1)) << first[splits])
        self._number_columns(nodes[splits], kind[splits] == CATEGORIES)
        self.wide = self._tests(np.float64, nodes["threshold"][splits], masks)
        narrow = packed.most_leaves <= MOST_NARROW_LEAVES
        self.narrow = (
            self._tests(np.float32, floor_to_float32(nodes["threshold"][splits]), masks)
            if narrow
            else None
        )

    def _number_columns(self, splits, categorical):
        """The kernel sees only the features that occur, categories in columns of their own."""
        self.columns = np.zeros(len(splits), dtype=np.int32)
        self.bitset_rows = np.cumsum(categorical) - 1
        self.features, numbers = np.unique(splits["feature"][~categorical], return_inverse=True)
        self.columns[~categorical] = numbers
        self.categorical, numbers = np.unique(splits["feature"][categorical], return_inverse=True)
        self.columns[categorical] = numbers

    def _tests(self, dtype, thresholds, masks):
        """The kernel's struct for thresholds of this type."""
        bits = np.dtype(f"u{np.dtype(dtype).itemsize}")
        fields = [("threshold", dtype), ("mask", bits), ("column", "i4"), ("bitset", "i4")]
        tests = np.empty(len(masks), dtype=fields)
        tests["threshold"] = thresholds
        tests["mask"] = masks.astype(bits)
        tests["column"] = self.columns
        tests["bitset"] = self.bitset_rows
        return tests

    def add_to(self, X, scores, n_threads):
        """Add the values of raw rows to `scores` in place."""
        narrow = self.narrow is not None and X.dtype == np.float32
        width = self.values.shape[1] + 2 + len(self.features) + len(self.categorical)
        _scorer.score_forest(
            X,
            self.narrow if narrow else self.wide,
            self.ends,
            self.first_leaf,
            self.features,
            self.categorical,
            self.bitsets,
            self.values,
            aligned_zeros((n_threads, _scorer.BLOCK * width), np.float64),
            scores,
            n_threads,
        )


def floor_to_float32(thresholds):
    """The largest float32 not above each: x <= threshold says the same of every float32 x."""
    with np.errstate(over="ignore"):
        nearest = thresholds.astype(np.float32)
        below = np.nextafter(nearest, np.float32(-np.inf))
    return np.where(nearest > thresholds, below, nearest)


def _leaf_ranges(nodes, roots, tree):
    """The leaves below each node, numbered from left to right in its tree.

    Returns
    -------
    first, count : ndarray of uint64 of shape (n_nodes,)
    """
    left, right = nodes["left"] + roots[tree], nodes["right"] + roots[tree]
    levels = []
    level = roots
    while len(level):
        level = level[nodes["leaf"][level] < 0]
        levels.append(level)
        level = np.concatenate([left[level], right[level]])
    first = np.zeros(len(nodes), dtype=np.uint64)
    count = np.ones(len(nodes), dtype=np.uint64)
    for level in reversed(levels):
        count[level] = count[left[level]] + count[right[level]]
    for level in levels:
        first[left[level]] = first[level]
        first[right[level]] = first[level] + count[left[level]]
    return first, count


def _ordered_values(packed, tree, first):
    """Leaf values from left to right, padded to 1, 2 or a multiple of 4 lanes."""
    n_outputs = packed.values.shape[1]
    lanes = n_outputs if n_outputs <= 2 else -(-n_outputs // 4) * 4
    values = aligned_zeros((len(packed.values), lanes), np.float64)
    leaves = np.flatnonzero(packed.nodes["leaf"] >= 0)
    start = packed.first_leaf[tree[leaves]]
    values[start + first[leaves].astype(np.intp), :n_outputs] = packed.values[
        start + packed.nodes["leaf"][leaves]
    ]
    return values


def _extended_bitsets(packed, splits):
    """Room for two bits more in each: 256 is that of no category, 257 that of missing values."""
    bitsets = aligned_zeros((max(1, len(splits)), _scorer.WORDS), np.uint32)
    used = packed.bitsets[packed.nodes["bitset"][splits]]
    bitsets[: len(splits), : used.shape[1]] = used
    bitsets[: len(splits), used.shape[1]] = packed.nodes["missing_left"][splits] << 1
    return bitsets
