"""A model's forest and bins as flat arrays, and back, with all that kernels rely on checked.

The trees stand end to end, so that a thousand of them are read as quickly as one:

    trees/sizes             (n_trees, 3)        nodes, leaves and category splits of each tree
    nodes/threshold, ...    (n_nodes,)          a column for each field of a node
    nodes/counts            (n_nodes,)
    nodes/gradients, hessians, gains            (n_nodes, n_outputs)
    leaves/values           (n_leaves, n_outputs)
    splits/bitsets          (n_category_splits, 8)
    base_score              (n_outputs,)
    bins/n_bins, is_categorical, has_missing    (n_features,)
    bins/thresholds         (n_features, most thresholds), filled up with infinity
    bins/categories         (categories of all features,), those of a feature after another

Children, leaves and category splits are counted from the first of their tree.
"""

import numpy as np

from mtgbm.engine._common import NODE_DTYPE
from mtgbm.engine.binning import BinMapper
from mtgbm.engine.packed_trees import BITSET_WORDS
from mtgbm.engine.threads import effective_n_threads
from mtgbm.engine.tree import Forest, Tree
from mtgbm.io.header_fields import corrupt

#: On file they are columns: nodes may be laid out otherwise without a new format.
NODE_FIELDS = tuple(name for name in NODE_DTYPE.names if name != "padding")
NODE_SUMS = ("gradients", "hessians", "gains")
MOST_BINS = 255
#: What int32 counts.
MOST_NODES = 2**31 - 1


def take(arrays, name, dtype, *shape):
    """Return an array that must have this dtype and shape; None stands for any length."""
    array = arrays.get(name)
    if array is None:
        raise corrupt(f"expected an array {name!r}, found none")
    fits = array.ndim == len(shape) and all(
        wanted in (None, length) for wanted, length in zip(shape, array.shape, strict=True)
    )
    if array.dtype != dtype or not fits:
        lengths = ", ".join("any" if length is None else str(length) for length in shape)
        raise corrupt(
            f"expected array {name!r} to be {np.dtype(dtype)} of shape ({lengths}), found "
            f"{array.dtype} of shape {array.shape}"
        )
    return array


def require(condition, text):
    """Raise the error for a corrupt file unless the condition holds."""
    if not condition:
        raise corrupt(f"expected {text}, found otherwise")


# Forest -----------------------------------------------------------------------------------------


def forest_to_arrays(forest):
    """Lay the trees end to end.

    Returns
    -------
    dict of ndarray
    """
    trees = forest.trees
    sizes = [(len(tree.nodes), tree.n_leaves, len(tree.bitsets)) for tree in trees]

    def join(parts, dtype, *row_shape):
        return np.concatenate([np.empty((0, *row_shape), dtype), *parts]).astype(dtype, copy=False)

    nodes = join([tree.nodes for tree in trees], NODE_DTYPE)
    return {
        "base_score": np.array(forest.base_score, dtype=np.float64),
        "trees/sizes": np.array(sizes, dtype=np.int64).reshape(-1, 3),
        **{f"nodes/{name}": np.ascontiguousarray(nodes[name]) for name in NODE_FIELDS},
        "nodes/counts": join([tree.counts for tree in trees], np.int64),
        **{
            f"nodes/{name}": join(
                [getattr(tree, name) for tree in trees], np.float64, forest.n_outputs
            )
            for name in NODE_SUMS
        },
        "leaves/values": join([tree.values for tree in trees], np.float64, forest.n_outputs),
        "splits/bitsets": join([tree.bitsets for tree in trees], np.uint32, BITSET_WORDS),
    }


def forest_from_arrays(arrays, n_outputs, mapper):
    """Cut the arrays into trees.

    Parameters
    ----------
    arrays : dict of ndarray
        From any file.
    n_outputs : int
    mapper : BinMapper
        Of this model.

    Raises
    ------
    ValueError
        If anything is missing, or such that a kernel could read beyond its arrays.
    """
    sizes = take(arrays, "trees/sizes", np.int64, None, 3)
    require(((sizes >= (1, 1, 0)) & (sizes <= MOST_NODES)).all(), "a node and a leaf in each tree")
    n_nodes, n_leaves, n_splits = sizes.sum(axis=0).tolist()
    require(n_nodes <= MOST_NODES, f"up to {MOST_NODES} nodes")
    nodes = _nodes_from_arrays(arrays, n_nodes)
    sums = [take(arrays, f"nodes/{name}", np.float64, n_nodes, n_outputs) for name in NODE_SUMS]
    counts = take(arrays, "nodes/counts", np.int64, n_nodes)
    values = take(arrays, "leaves/values", np.float64, n_leaves, n_outputs)
    bitsets = take(arrays, "splits/bitsets", np.uint32, n_splits, BITSET_WORDS)
    require((counts >= 0).all(), "no negative count of rows")
    require(all(np.isfinite(table).all() for table in sums), "finite gradients and gains")
    forest = Forest(
        take(arrays, "base_score", np.float64, n_outputs),
        len(mapper.n_bins_),
        _cut(sizes, nodes, values, bitsets, counts, *sums),
    )
    forest.check()
    _check_depths(nodes, sizes[:, 0])
    _check_splits(nodes, mapper)
    return forest


def _nodes_from_arrays(arrays, n_nodes):
    """The node records. Room is made for them only once all columns are known to be so long."""
    columns = {
        name: take(arrays, f"nodes/{name}", NODE_DTYPE[name], n_nodes) for name in NODE_FIELDS
    }
    nodes = np.zeros(n_nodes, dtype=NODE_DTYPE)
    for name, column in columns.items():
        nodes[name] = column
    return nodes


def _cut(sizes, nodes, values, bitsets, counts, gradients, hessians, gains):
    """The trees, each of parts of the arrays."""
    ends = np.cumsum(sizes, axis=0)
    return [
        Tree(
            nodes=nodes[node:node_end],
            bitsets=bitsets[split:split_end],
            values=values[leaf:leaf_end],
            gradients=gradients[node:node_end],
            hessians=hessians[node:node_end],
            counts=counts[node:node_end],
            gains=gains[node:node_end],
        )
        for (node, leaf, split), (node_end, leaf_end, split_end) in zip(
            (ends - sizes).tolist(), ends.tolist(), strict=True
        )
    ]


def _check_depths(nodes, lengths):
    """Whether each node says how far it is from its root; children are known to be sound."""
    roots = np.cumsum(lengths) - lengths
    root_of = np.repeat(roots, lengths)
    inner = np.flatnonzero(nodes["leaf"] < 0)
    expected = np.zeros(len(nodes), dtype=np.int64)
    for side in ("left", "right"):
        expected[root_of[inner] + nodes[side][inner]] = nodes["depth"][inner].astype(np.int64) + 1
    require((nodes["depth"] == expected).all(), "the distance from the root in 'nodes/depth'")


def _check_splits(nodes, mapper):
    """What `Forest.check` cannot see: whether splits and bins belong together."""
    inner = nodes[nodes["leaf"] < 0]
    feature = inner["feature"]
    categorical = mapper.is_categorical[feature] > 0
    require(((inner["bitset"] >= 0) == categorical).all(), "subsets where features are categorical")
    require((inner["missing_bin"] == mapper.n_bins_[feature]).all(), "missing values in a last bin")


# Bins -------------------------------------------------------------------------------------------


def bins_to_arrays(mapper):
    """The arrays of a fitted mapper."""
    return {
        "bins/n_bins": np.array(mapper.n_bins_, dtype=np.int32),
        "bins/is_categorical": np.array(mapper.is_categorical, dtype=np.uint8),
        "bins/has_missing": np.array(mapper.has_missing_, dtype=np.uint8),
        "bins/thresholds": np.ascontiguousarray(mapper.thresholds_, dtype=np.float64),
        "bins/categories": np.concatenate([np.empty(0), *mapper.categories_.values()]),
    }


def bins_from_arrays(arrays, n_features, max_bin, subsample, n_jobs):
    """A fitted mapper. It draws no more samples, so it gets no random numbers.

    Raises
    ------
    ValueError
        If anything is missing, or such that a kernel could read beyond its arrays.
    """
    n_bins = take(arrays, "bins/n_bins", np.int32, n_features)
    categorical = take(arrays, "bins/is_categorical", np.uint8, n_features)
    missing = take(arrays, "bins/has_missing", np.uint8, n_features)
    thresholds = take(arrays, "bins/thresholds", np.float64, n_features, None)
    require((categorical <= 1).all() and (missing <= 1).all(), "0 or 1 as flags of features")
    least = np.where(categorical > 0, 0, 1)
    require(((n_bins >= least) & (n_bins <= MOST_BINS)).all(), f"1 to {MOST_BINS} bins")
    enough = n_bins - 1 <= thresholds.shape[1]
    require((enough | (categorical > 0)).all(), "a threshold between any two bins")
    # Comparisons with NaN are false.
    require((thresholds[:, :1] <= np.inf).all(), "no NaN among thresholds")
    require((thresholds[:, :-1] <= thresholds[:, 1:]).all(), "ascending thresholds")
    mapper = BinMapper(max_bin, subsample, categorical, None, effective_n_threads(n_jobs))
    mapper.n_bins_ = n_bins
    mapper.has_missing_ = missing > 0
    mapper.thresholds_ = thresholds
    mapper.categories_ = _categories_from_arrays(arrays, n_bins, categorical)
    return mapper


def _categories_from_arrays(arrays, n_bins, categorical):
    features = np.flatnonzero(categorical).tolist()
    ends = np.cumsum(n_bins[features]).tolist()
    values = take(arrays, "bins/categories", np.float64, max(ends, default=0))
    require(np.isfinite(values).all(), "finite categories")
    return {
        feature: values[end - n_bins[feature] : end]
        for feature, end in zip(features, ends, strict=True)
    }
