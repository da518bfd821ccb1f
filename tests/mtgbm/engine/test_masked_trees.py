"""Masks instead of walks: the same bits for any tree, any row and any instruction set."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mtgbm.engine import packed_trees
from mtgbm.engine._common import NODE_DTYPE
from mtgbm.engine._infinity import has_infinity, has_infinity_naive
from mtgbm.engine.masked_trees import MOST_LEAVES, MaskedTrees, floor_to_float32
from mtgbm.engine.packed_trees import PackedTrees
from mtgbm.engine.tree import Forest, Tree

FLOATS = [np.float32, np.float64]
N_FEATURES = 6
CATEGORICAL = 5
THRESHOLDS = np.array([-np.inf, -1e300, -1.0, -1e-50, 0.0, 0.1, 0.5, 1.0, 3e38, 1e300, np.inf])


def random_tree(rng, n_leaves, n_outputs, *, category_share=0.2):
    """A tree grown by splitting leaves at random; leaves and nodes are numbered as they come."""
    nodes = np.zeros(2 * n_leaves - 1, dtype=NODE_DTYPE)
    nodes["leaf"] = nodes["bitset"] = -1
    bitsets, leaves = [], [0]
    for count in range(1, 2 * n_leaves - 1, 2):
        node = nodes[leaves.pop(rng.integers(len(leaves)))]
        node["left"], node["right"] = rng.permutation([count, count + 1])
        node["feature"] = rng.integers(N_FEATURES)
        node["missing_left"] = rng.integers(2)
        node["threshold"] = rng.choice(THRESHOLDS) if rng.random() < 0.5 else rng.normal()
        if rng.random() < category_share:
            node["feature"], node["bitset"] = CATEGORICAL, len(bitsets)
            bitsets.append(rng.integers(2**32, size=8, dtype=np.uint32))
        leaves += [count, count + 1]
    nodes["leaf"][leaves] = rng.permutation(n_leaves)
    values = rng.normal(size=(n_leaves, n_outputs))
    sums = np.zeros((len(nodes), n_outputs))
    bitsets = np.array(bitsets, dtype=np.uint32).reshape(-1, 8)
    tree = Tree(nodes, bitsets, values, sums, sums, np.zeros(len(nodes), np.int64), sums)
    tree.check(N_FEATURES, n_outputs)
    return tree


def random_forest(rng, sizes, n_outputs=3, **options):
    trees = [random_tree(rng, size, n_outputs, **options) for size in sizes]
    return Forest(rng.normal(size=n_outputs), N_FEATURES, trees)


def random_rows(rng, n_rows, dtype):
    """Values at, beside and far from thresholds, categories in and out of range, NaN."""
    with np.errstate(over="ignore"):
        special = THRESHOLDS.astype(dtype)
    special = np.concatenate([special, np.nextafter(special, dtype(0)), special + dtype(1)])
    X = rng.normal(size=(n_rows, N_FEATURES)).astype(dtype)
    chosen = rng.random(X.shape) < 0.5
    X[chosen] = rng.choice(special, chosen.sum())
    X[:, CATEGORICAL] = rng.choice([-1, 0, 0.5, 31, 32, 200, 255, 256, 1e30, -np.inf], n_rows)
    X[rng.random(X.shape) < 0.15] = np.nan
    return X


def walked(forest, X):
    scores = np.tile(forest.base_score, (len(X), 1))
    PackedTrees.pack(forest.trees, forest.n_outputs).walk(X, scores, 1)
    return scores


def masked(forest, X, n_threads=1):
    scores = np.tile(forest.base_score, (len(X), 1))
    packed = PackedTrees.pack(forest.trees, forest.n_outputs)
    MaskedTrees(packed).add_to(X, scores, n_threads)
    return scores


def naive_masked(forest, row):
    """The definition: rule out the left side of every split that sends the row right."""
    scores = forest.base_score.copy()
    for tree in forest.trees:
        order, below = leaf_order(tree.nodes)
        alive = set(range(tree.n_leaves))
        for number, node in enumerate(tree.nodes):
            if node["leaf"] < 0 and not goes_left(tree, node, row[node["feature"]]):
                alive -= below[node["left"]]
            assert alive, number
        scores += tree.values[order[min(alive)]]
    return scores


def leaf_order(nodes):
    """The leaves from left to right, and for each node the positions of those below it."""
    order, below = [], {}

    def visit(number):
        node, start = nodes[number], len(order)
        if node["leaf"] >= 0:
            order.append(node["leaf"])
        else:
            visit(node["left"])
            visit(node["right"])
        below[number] = set(range(start, len(order)))

    visit(0)
    return order, below


def goes_left(tree, node, x):
    if np.isnan(x):
        return node["missing_left"]
    if node["bitset"] < 0:
        return float(x) <= node["threshold"]
    words = tree.bitsets[node["bitset"]]
    return 0 <= x < 256 and words[int(x) // 32] >> np.uint32(int(x) % 32) & 1


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n_leaves", [1, 2, 3, 31, 32, 33, 40, 63, 64])
def test_masks_and_walks_agree(n_leaves, dtype):
    rng = np.random.default_rng(n_leaves)
    forest = random_forest(rng, [n_leaves] * 5)
    X = random_rows(rng, 500, dtype)
    np.testing.assert_array_equal(masked(forest, X), walked(forest, X))


@pytest.mark.parametrize("dtype", FLOATS)
def test_masks_agree_with_their_definition(dtype):
    rng = np.random.default_rng(0)
    forest = random_forest(rng, [1, 7, 12, 2])
    X = random_rows(rng, 60, dtype)
    expected = [naive_masked(forest, row) for row in X]
    np.testing.assert_array_equal(masked(forest, X), expected)
    assert len(np.unique(expected, axis=0)) > 20


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n_outputs", [*range(1, 10), 13, 17])
def test_any_number_of_outputs(n_outputs, dtype):
    rng = np.random.default_rng(n_outputs)
    forest = random_forest(rng, [20, 5, 40], n_outputs)
    X = random_rows(rng, 200, dtype)
    np.testing.assert_array_equal(masked(forest, X, 2), walked(forest, X))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_splits_of_one_kind_alone(share):
    rng = np.random.default_rng(3)
    forest = random_forest(rng, [16] * 4, category_share=share)
    X = random_rows(rng, 300, np.float32)
    np.testing.assert_array_equal(masked(forest, X), walked(forest, X))


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_any_number_of_rows_and_threads(n_threads):
    rng = np.random.default_rng(4)
    forest = random_forest(rng, [31] * 3)
    X = random_rows(rng, 5000, np.float32)
    expected = walked(forest, X)
    for n_rows in [*range(1, 301, 13), 127, 128, 129, 300, 5000]:
        np.testing.assert_array_equal(masked(forest, X[:n_rows], n_threads), expected[:n_rows])


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda X: X[::-1, ::-1][::-2, ::-1]])
def test_layout_of_the_table_does_not_matter(layout):
    rng = np.random.default_rng(5)
    forest = random_forest(rng, [31] * 3)
    X = layout(random_rows(rng, 600, np.float64))
    assert not X.flags.c_contiguous
    np.testing.assert_array_equal(masked(forest, X), walked(forest, np.ascontiguousarray(X)))


@pytest.mark.parametrize("dtype", FLOATS)
def test_instruction_sets_change_no_bit(variant, monkeypatch, dtype):
    rng = np.random.default_rng(6)
    forest = random_forest(rng, [31, 32, 4] * 3)
    X = random_rows(rng, 700, dtype)
    monkeypatch.setattr("mtgbm.engine.masked_trees._scorer", variant("mtgbm.engine._scorer"))
    np.testing.assert_array_equal(masked(forest, X), walked(forest, X))


@settings(max_examples=200, deadline=None)
@given(
    st.floats(allow_nan=False),
    st.integers(0, 1),
    st.sampled_from(FLOATS),
    arrays.arrays(np.float64, 4, elements=st.floats()),
)
def test_float32_neighbours_of_a_threshold(threshold, missing_left, dtype, others):
    """One split, rows at the threshold, beside it and anywhere."""
    nodes = np.zeros(3, dtype=NODE_DTYPE)
    nodes["leaf"], nodes["bitset"] = [-1, 1, 0], -1
    nodes["left"][0], nodes["right"][0] = 1, 2
    nodes["threshold"][0], nodes["missing_left"][0] = threshold, missing_left
    sums = np.zeros((3, 1))
    values = np.array([[2.0], [1.0]])
    tree = Tree(nodes, np.zeros((0, 8), np.uint32), values, sums, sums, np.zeros(3, int), sums)
    with np.errstate(over="ignore"):
        at = dtype(threshold)
        sides = [np.nextafter(at, dtype(side)) for side in (-np.inf, np.inf)]
        X = np.array([at, *sides, np.nan, *others]).astype(dtype)[:, None]
    left = np.where(np.isnan(X), missing_left, X.astype(np.float64) <= threshold)
    forest = Forest(np.zeros(1), 1, [tree])
    np.testing.assert_array_equal(masked(forest, X), 2.0 - left)
    np.testing.assert_array_equal(walked(forest, X), 2.0 - left)


def test_thresholds_rounded_down():
    above, below = np.nextafter(np.float32(0.1), np.float32([1, 0]))
    largest = np.finfo(np.float32).max
    thresholds = np.array([0.5, float(above) - 1e-12, 0.1, 1e300, -1e300, np.inf, -np.inf, 1e-60])
    expected = np.float32([0.5, 0.1, below, largest, -np.inf, np.inf, -np.inf, 0])
    rounded = floor_to_float32(thresholds)
    assert rounded.dtype == np.float32
    np.testing.assert_array_equal(rounded, expected)


# Which of the two scores --------------------------------------------------------------------


@pytest.fixture
def calls(monkeypatch):
    """Names of the methods that scored."""
    seen = []
    for owner, name in [(MaskedTrees, "add_to"), (PackedTrees, "walk")]:
        original = getattr(owner, name)

        def spy(self, *args, owner=owner, original=original):
            seen.append(owner.__name__)
            return original(self, *args)

        monkeypatch.setattr(owner, name, spy)
    return seen


@pytest.mark.parametrize(
    ("n_rows", "n_trees", "n_leaves", "scorer"),
    [
        (1, 200, 4, "PackedTrees"),
        (packed_trees.LEAST_ROWS - 1, 400, 4, "PackedTrees"),
        (packed_trees.LEAST_ROWS, 400, 4, "MaskedTrees"),
        (100, 1, 4, "PackedTrees"),
        (packed_trees.LEAST_WALKS, 1, MOST_LEAVES, "MaskedTrees"),
        (packed_trees.LEAST_WALKS, 1, MOST_LEAVES + 1, "PackedTrees"),
    ],
)
def test_masks_score_where_they_pay(calls, n_rows, n_trees, n_leaves, scorer):
    rng = np.random.default_rng(7)
    forest = random_forest(rng, [n_leaves] + [2] * (n_trees - 1))
    X = random_rows(rng, n_rows, np.float32)
    scores = forest.raw_predict(X, 2)
    assert calls == [scorer]
    np.testing.assert_array_equal(scores, walked(forest, X))


def test_scores_go_where_they_are_wanted():
    rng = np.random.default_rng(8)
    forest = random_forest(rng, [8] * 30)
    X = random_rows(rng, 200, np.float32)
    out = np.full((300, 3), 7.0)
    returned = forest.raw_predict(X, 2, out=out[50:250])
    np.testing.assert_array_equal(returned, walked(forest, X))
    np.testing.assert_array_equal(out[50:250], returned)
    assert (out[:50] == 7).all()
    assert (out[250:] == 7).all()


def test_stages_of_many_rows_end_at_the_prediction(calls):
    rng = np.random.default_rng(9)
    forest = random_forest(rng, [8] * 3)
    X = random_rows(rng, packed_trees.LEAST_WALKS, np.float32)
    *_, last = forest.staged_raw_predict(X, 2)
    assert calls == ["MaskedTrees"] * 3
    np.testing.assert_array_equal(last, walked(forest, X))


# Corrupt trees that would lead a kernel astray ----------------------------------------------


def shared_child(tree):
    tree.nodes["left"][0] = tree.nodes["right"][0]


def threshold_that_is_no_number(tree):
    tree.nodes["threshold"][0] = np.nan


def short_bitsets(tree):
    tree.bitsets = np.zeros((3, 7), np.uint32)


@pytest.mark.parametrize("damage", [shared_child, threshold_that_is_no_number, short_bitsets])
def test_corrupt_trees_are_refused(damage):
    tree = random_tree(np.random.default_rng(0), 8, 2, category_share=0.0)
    damage(tree)
    with pytest.raises(ValueError, match="the saved model is corrupt"):
        tree.check(N_FEATURES, 2)


# Infinities ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_an_infinity_is_found_wherever_it_is(value, n_threads, dtype):
    X = np.random.default_rng(0).normal(size=(5000, 7)).astype(dtype)
    X[::3] = np.nan
    X[1::3, 2] = np.finfo(dtype).max
    assert not has_infinity(X, n_threads)
    for place in [0, 8191, 8192, 20_000, X.size - 1]:
        Z = X.copy()
        Z.flat[place] = value
        assert has_infinity(Z, n_threads)
        assert has_infinity_naive(Z)
    assert not has_infinity(X[:0], n_threads)
