"""Walks: raw, binned and a naive one in Python must meet in the same leaf."""

import pickle

import numpy as np
import pytest

from mtgbm.engine._common import NODE_DTYPE
from mtgbm.engine.tree import Forest, Tree

FLOATS = [np.float32, np.float64]
CATEGORICAL = (1, 3)


def naive_leaf(tree, row):
    """The definition: NaN as the node says, categories by their bit, numbers by the threshold."""
    node = tree.nodes[0]
    while node["leaf"] < 0:
        x = row[node["feature"]]
        if np.isnan(x):
            left = node["missing_left"]
        elif node["bitset"] < 0:
            left = float(x) <= node["threshold"]
        else:
            words = tree.bitsets[node["bitset"]]
            left = 0 <= x < 256 and words[int(x) // 32] >> np.uint32(int(x) % 32) & 1
        node = tree.nodes[node["left"] if left else node["right"]]
    return node["leaf"]


def naive_leaves(forest, X):
    leaves = [[naive_leaf(tree, row) for tree in forest.trees] for row in X]
    return np.array(leaves, dtype=int).reshape(len(X), len(forest.trees))


def naive_scores(forest, X):
    scores = np.tile(forest.base_score, (len(X), 1))
    for tree, leaves in zip(forest.trees, naive_leaves(forest, X).T, strict=True):
        scores += tree.values[leaves]
    return scores


def table(dtype, n_rows=300):
    """Numbers and categories, a tenth of them missing."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, 5)).round(1)
    X[:, CATEGORICAL] = rng.integers(0, 40, size=(n_rows, 2))
    X[rng.random(X.shape) < 0.1] = np.nan
    return X.astype(dtype)


@pytest.fixture(scope="module", params=FLOATS)
def model(request, boost):
    """A forest with splits on numbers and categories, its mapper, raw rows and encoded rows."""
    X = table(request.param)
    rng = np.random.default_rng(1)
    z = np.nan_to_num(X[:, 0]) + np.isin(X[:, 1], [3, 5, 17, 31, 32]) + np.isnan(X[:, 2])
    labels = (z[:, None] + rng.normal(size=(len(X), 3)) > 0.5).astype(int)
    rules = {"cat_smooth": 1.0, "min_data_per_group": 1, "max_cat_to_onehot": 2, "cat_l2": 0.0}
    forest, mapper = boost(X, labels, categorical=CATEGORICAL, n_rounds=6, **rules)
    return forest, mapper, X, mapper.encode_categories(X)


def test_the_model_uses_all_kinds_of_splits(model):
    forest = model[0]
    nodes = np.concatenate([tree.nodes for tree in forest.trees])
    inner = nodes[nodes["leaf"] < 0]
    assert (inner["bitset"] >= 0).sum() > 3
    assert (inner["bitset"] < 0).sum() > 3
    assert set(inner["missing_left"]) == {0, 1}


@pytest.mark.parametrize("n_threads", [1, 3])
def test_raw_binned_and_naive_walks_agree(model, n_threads):
    forest, mapper, X, encoded = model
    expected = naive_scores(forest, encoded)
    np.testing.assert_array_equal(forest.raw_predict(encoded, n_threads), expected)
    binned = np.tile(forest.base_score, (len(X), 1))
    for tree in forest.trees:
        tree.add_binned(mapper.transform(X).by_row, binned, n_threads)
    np.testing.assert_array_equal(binned, expected)


def test_rows_unseen_at_fit_too(model):
    """Values beyond the thresholds, NaN in every column, categories that fit never saw."""
    forest, mapper, X, _ = model
    rng = np.random.default_rng(7)
    new = (rng.normal(size=(200, 5)) * 4).astype(X.dtype)
    new[:, CATEGORICAL] = rng.integers(-5, 60, size=(200, 2))
    new[rng.random(new.shape) < 0.2] = np.nan
    encoded = mapper.encode_categories(new)
    expected = naive_scores(forest, encoded)
    np.testing.assert_array_equal(forest.raw_predict(encoded, 2), expected)
    binned = np.tile(forest.base_score, (200, 1))
    for tree in forest.trees:
        tree.add_binned(mapper.transform(new).by_row, binned, 2)
    np.testing.assert_array_equal(binned, expected)


def test_apply_names_the_leaves_whose_values_are_summed(model):
    forest, _, _, encoded = model
    leaves = forest.apply(encoded, 2)
    np.testing.assert_array_equal(leaves, naive_leaves(forest, encoded))
    scores = forest.base_score + sum(
        tree.values[column] for tree, column in zip(forest.trees, leaves.T, strict=True)
    )
    np.testing.assert_allclose(forest.raw_predict(encoded, 1), scores, rtol=1e-13, atol=1e-15)


def reversed_memory(X):
    return np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1]


def every_other(X):
    return np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3]


def field_of_records(X):
    """Rows that lie apart by a number of bytes that is no multiple of the item size."""
    records = np.zeros(len(X), dtype=[("features", X.dtype, X.shape[1]), ("flag", np.uint8)])
    records["features"] = X
    return records["features"]


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


@pytest.mark.parametrize(
    "layout", [np.asfortranarray, every_other, reversed_memory, field_of_records, read_only]
)
def test_layout_of_the_table_does_not_matter(model, layout):
    forest, _, _, encoded = model
    same = layout(encoded)
    np.testing.assert_array_equal(same, encoded)
    np.testing.assert_array_equal(forest.raw_predict(same, 2), forest.raw_predict(encoded, 1))
    np.testing.assert_array_equal(forest.apply(same, 2), forest.apply(encoded, 1))


@pytest.mark.parametrize("n_rows", [0, 1, 127, 128, 129, 300])
def test_any_number_of_rows(model, n_rows):
    forest, _, _, encoded = model
    scores = forest.raw_predict(encoded[:n_rows], 3)
    assert scores.shape == (n_rows, 3)
    np.testing.assert_array_equal(scores, naive_scores(forest, encoded[:n_rows]))
    assert forest.apply(encoded[:n_rows], 3).shape == (n_rows, len(forest.trees))


def test_stages_end_at_the_prediction(model):
    forest, _, _, encoded = model
    stages = list(forest.staged_raw_predict(encoded, 2))
    assert len(stages) == len(forest.trees)
    np.testing.assert_array_equal(stages[-1], forest.raw_predict(encoded, 2))
    first = Forest(forest.base_score, forest.n_features, forest.trees[:1])
    np.testing.assert_array_equal(stages[0], naive_scores(first, encoded))


def test_pickled_forests_predict_the_same(model):
    forest, _, _, encoded = model
    expected = forest.raw_predict(encoded, 1)
    copy = pickle.loads(pickle.dumps(forest))
    np.testing.assert_array_equal(copy.raw_predict(encoded, 1), expected)


# By hand ------------------------------------------------------------------------------------


def stump(*, threshold=np.inf, missing_left=0, left_categories=None, n_outputs=1):
    """A tree of one split on feature 0: left 1, 10, ..., right 2, 20, ..."""
    nodes = np.zeros(3, dtype=NODE_DTYPE)
    nodes["leaf"] = [-1, 0, 1]
    nodes["bitset"] = -1
    bitsets = np.zeros((0, 8), np.uint32)
    if left_categories is not None:
        nodes["bitset"][0] = 0
        bitsets = np.zeros((1, 8), np.uint32)
        for category in left_categories:
            bitsets[0, category // 32] |= np.uint32(1 << category % 32)
    nodes["left"][0], nodes["right"][0] = 1, 2
    nodes["threshold"][0] = threshold
    nodes["missing_left"][0] = missing_left
    values = np.outer([1.0, 2.0], 10.0 ** np.arange(n_outputs))
    sums = np.zeros((3, n_outputs))
    return Tree(nodes, bitsets, values, sums, sums, np.zeros(3, np.int64), sums)


def predict_one(tree, values, dtype=np.float64):
    X = np.array(values, dtype=dtype)[:, None]
    return Forest(np.zeros(1), 1, [tree]).raw_predict(X, 1)[:, 0].tolist()


@pytest.mark.parametrize("dtype", FLOATS)
def test_values_at_the_threshold_go_left(dtype):
    assert predict_one(stump(threshold=0.5), [0.5, np.nextafter(dtype(0.5), dtype(1))], dtype) == [
        1,
        2,
    ]


def test_float32_is_compared_in_float64():
    """float32(0.1) is above the float64 0.1."""
    assert predict_one(stump(threshold=0.1), [0.1], np.float32) == [2]
    assert predict_one(stump(threshold=0.1), [0.1], np.float64) == [1]


@pytest.mark.parametrize(("missing_left", "value"), [(0, 2), (1, 1)])
def test_missing_values_go_where_the_node_says(missing_left, value):
    assert predict_one(stump(threshold=1e300, missing_left=missing_left), [np.nan]) == [value]
    subset = stump(left_categories=[0], missing_left=missing_left)
    assert predict_one(subset, [np.nan]) == [value]


def test_infinite_threshold_parts_present_from_missing():
    assert predict_one(stump(), [-1e308, 0, 1e308, np.inf, np.nan]) == [1, 1, 1, 1, 2]


@pytest.mark.parametrize("dtype", FLOATS)
def test_categories_out_of_range_go_right(dtype):
    tree = stump(left_categories=[0, 31, 32, 254, 255])
    inside = predict_one(tree, [0, 31, 32, 254, 255], dtype)
    assert inside == [1] * 5
    outside = predict_one(tree, [1, 30, 33, -1, 256, 1e30, -1e30, 4294967296, np.inf], dtype)
    assert outside == [2] * 9


def test_a_forest_without_trees_predicts_its_base_score():
    forest = Forest(np.array([0.5, -1.0]), 3)
    X = np.zeros((2, 3))
    np.testing.assert_array_equal(forest.raw_predict(X, 2), [[0.5, -1.0]] * 2)
    assert forest.apply(X, 2).shape == (2, 0)
    assert list(forest.staged_raw_predict(X, 2)) == []


def test_bitsets_of_several_trees_are_not_confused():
    trees = [stump(left_categories=[number]) for number in range(3)]
    trees.insert(1, stump(threshold=0.5))
    leaves = Forest(np.zeros(1), 1, trees).apply(np.arange(4.0)[:, None], 1)
    np.testing.assert_array_equal(leaves, [[0, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 0], [1, 1, 1, 1]])


def test_kept_rounds_bind_each_output_by_itself():
    forest = Forest(np.zeros(2), 1, [stump(threshold=0.5, n_outputs=2) for _ in range(5)])
    forest.keep_rounds(np.array([1, 3]))
    assert len(forest.trees) == 3
    np.testing.assert_array_equal(forest.raw_predict(np.zeros((1, 1)), 1), [[1, 30]])


def test_kept_rounds_bind_a_forest_that_has_predicted_before():
    forest = Forest(np.zeros(2), 1, [stump(threshold=0.5, n_outputs=2) for _ in range(3)])
    X = np.zeros((1, 1))
    np.testing.assert_array_equal(forest.raw_predict(X, 1), [[3, 30]])
    forest.keep_rounds(np.array([1, 3]))
    np.testing.assert_array_equal(forest.raw_predict(X, 1), [[1, 30]])


def test_importances_by_hand():
    trees = [stump(n_outputs=2), stump(n_outputs=2)]
    for tree, feature, gains in zip(trees, [0, 2], [[3.0, 1.0], [2.0, -1.0]], strict=True):
        tree.nodes["feature"][0] = feature
        tree.gains = np.array([gains, [0, 0], [0, 0]])
    forest = Forest(np.zeros(2), 3, trees)
    np.testing.assert_array_equal(forest.importances("gain"), [[3, 0, 2], [1, 0, -1]])
    np.testing.assert_array_equal(forest.importances("split"), [[1, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(forest.split_counts(), [1, 0, 1])
