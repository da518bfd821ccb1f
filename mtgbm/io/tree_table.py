"""The trees of a model as one table, a row a node, for people and notebooks."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from mtgbm.explanation import output_names


def trees_to_dataframe(estimator):
    """List every node of every tree.

    Parameters
    ----------
    estimator : MultiTaskLGBMClassifier
        Fitted.

    Returns
    -------
    pandas.DataFrame
        A row for each node, tree by tree, the root first. Columns:

        tree, node, depth
            The round, from 0; the position in the tree, from 0, the root; splits above the node.
        left, right
            Nodes to which a split leads; NA in leaves.
        leaf
            Number of the leaf, as `Forest.apply` gives it; NA in splits.
        feature
            Its name, or position if features have none; None in leaves.
        threshold
            ``x <= threshold`` goes left; NaN where nothing is compared.
        categories
            Those that go left, as the DataFrame of `fit` has them; None in other nodes.
        missing
            Where missing values and unknown categories go, "left" or "right"; None in leaves.
        count
            Training rows.
        gain_<output>, hessian_<output>, value_<output>
            What each output gained by the split, 0 in leaves; the sum of its hessians; its leaf
            value, NaN in splits. An output is a task, or "task=class" for multiclass tasks. The
            base score is not in the values.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    """
    import pandas as pd

    check_is_fitted(estimator)
    tables = [
        pd.DataFrame(_columns(estimator, number, tree))
        for number, tree in enumerate(estimator.forest_.trees)
    ]
    if not tables:
        raise ValueError("the model has no trees, only base scores; there is nothing to list.")
    return pd.concat(tables, ignore_index=True)


def _columns(estimator, number, tree):
    """The columns of one tree."""
    nodes = tree.nodes
    is_leaf = nodes["leaf"] >= 0
    by_category = nodes["bitset"] >= 0
    values = np.full(tree.gains.shape, np.nan)
    values[is_leaf] = tree.values[nodes["leaf"][is_leaf]]
    columns = {
        "tree": number,
        "node": np.arange(len(nodes)),
        "depth": nodes["depth"].copy(),
        "left": _where(~is_leaf, nodes["left"]),
        "right": _where(~is_leaf, nodes["right"]),
        "leaf": _where(is_leaf, nodes["leaf"]),
        "feature": _feature_column(estimator, nodes),
        "threshold": np.where(is_leaf | by_category, np.nan, nodes["threshold"]),
        "categories": category_column(estimator, tree),
        "missing": np.where(is_leaf, None, np.where(nodes["missing_left"] > 0, "left", "right")),
        "count": tree.counts,
    }
    tables = {"gain": tree.gains, "hessian": tree.hessians, "value": values}
    for kind, table in tables.items():
        for output, name in enumerate(output_names(estimator)):
            columns[f"{kind}_{name}"] = table[:, output]
    return columns


def _where(present, numbers):
    """Integers of pandas, NA where there is none."""
    import pandas as pd

    return pd.arrays.IntegerArray(numbers.astype(np.int64), ~present)


def _feature_column(estimator, nodes):
    names = getattr(estimator, "feature_names_in_", np.arange(estimator.n_features_in_))
    column = np.empty(len(nodes), dtype=object)
    for node in np.flatnonzero(nodes["leaf"] < 0):
        column[node] = names[nodes["feature"][node]]
    return column


def category_column(estimator, tree):
    """The left categories of each category split, as the user knows them."""
    column = np.empty(len(tree.nodes), dtype=object)
    for node in np.flatnonzero(tree.nodes["bitset"] >= 0):
        feature = int(tree.nodes["feature"][node])
        known = estimator._mapper.categories_[feature]
        bins = np.arange(len(known))
        words = tree.bitsets[tree.nodes["bitset"][node]]
        left = known[(words[bins >> 5] >> (bins & 31).astype(np.uint32)) & 1 != 0]
        labels = estimator._reader.categories_.get(feature)
        column[node] = left.tolist() if labels is None else [labels[int(own)] for own in left]
    return column
