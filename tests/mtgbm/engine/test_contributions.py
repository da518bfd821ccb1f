"""Shapley values: by integrals and by their definition, for any tree, row and number of threads."""

import math
import pickle
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtgbm.engine._common import NODE_DTYPE
from mtgbm.engine.contributions import contributions, expected_scores, gauss_rules
from mtgbm.engine.tree import Forest, Tree

FLOATS = [np.float32, np.float64]
N_FEATURES = 6
CATEGORICAL = 5
BLOCK = 256


def goes_left(tree, node, x):
    if np.isnan(x):
        return node["missing_left"]
    if node["bitset"] < 0:
        return float(x) <= node["threshold"]
    words = tree.bitsets[node["bitset"]]
    return 0 <= x < 256 and words[int(x) // 32] >> np.uint32(int(x) % 32) & 1


def naive_value(tree, row, known, number=0):
    """The mean of the leaf values where a row may end of which only some features are known."""
    node = tree.nodes[number]
    if node["leaf"] >= 0:
        return tree.values[node["leaf"]]
    if node["feature"] in known:
        side = "left" if goes_left(tree, node, row[node["feature"]]) else "right"
        return naive_value(tree, row, known, node[side])
    return sum(
        tree.counts[child] / tree.counts[number] * naive_value(tree, row, known, child)
        for child in (node["left"], node["right"])
    )


def naive_contributions(forest, X):
    """The definition: the mean gain from a feature over all orders in which they become known."""
    n = forest.n_features
    out = np.zeros((len(X), forest.n_outputs, n + 1))
    out[:, :, n] = forest.base_score
    subsets = [frozenset(s) for size in range(n + 1) for s in combinations(range(n), size)]
    for row, place in zip(X, out, strict=True):
        for tree in forest.trees:
            value = {known: naive_value(tree, row, known) for known in subsets}
            place[:, n] += value[frozenset()]
            for known in subsets:
                for j in known:
                    size = len(known) - 1
                    share = 1 / (n * math.comb(n - 1, size))
                    place[:, j] += share * (value[known] - value[known - {j}])
    return out


def random_tree(
    rng, n_leaves, n_outputs, *, n_features=N_FEATURES, category_share=0.2, chain=False
):
    """Leaves are split at random, or the last one always; both children hold training rows."""
    nodes = np.zeros(2 * n_leaves - 1, dtype=NODE_DTYPE)
    nodes["leaf"] = nodes["bitset"] = -1
    bitsets, leaves = [], [0]
    for count in range(1, 2 * n_leaves - 1, 2):
        node = nodes[leaves.pop(-1 if chain else rng.integers(len(leaves)))]
        node["left"], node["right"] = rng.permutation([count, count + 1])
        node["feature"] = (count // 2) % n_features if chain else rng.integers(n_features)
        node["missing_left"] = rng.integers(2)
        node["threshold"] = round(rng.normal(), 1)
        if rng.random() < category_share:
            node["feature"], node["bitset"] = CATEGORICAL, len(bitsets)
            bitsets.append(rng.integers(2**32, size=8, dtype=np.uint32))
        leaves += [count, count + 1]
    nodes["leaf"][leaves] = rng.permutation(n_leaves)
    values = rng.normal(size=(n_leaves, n_outputs))
    bitsets = np.array(bitsets, dtype=np.uint32).reshape(-1, 8)
    sums = np.zeros((len(nodes), n_outputs))
    tree = Tree(nodes, bitsets, values, sums, sums, random_counts(rng, nodes), sums)
    tree.check(n_features, n_outputs)
    return tree


def random_counts(rng, nodes):
    counts = rng.integers(1, 50, size=len(nodes))
    for number in reversed(np.flatnonzero(nodes["leaf"] < 0)):
        counts[number] = counts[nodes["left"][number]] + counts[nodes["right"][number]]
    return counts


def random_forest(rng, sizes, n_outputs=3, **options):
    trees = [random_tree(rng, size, n_outputs, **options) for size in sizes]
    n_features = options.get("n_features", N_FEATURES)
    return Forest(rng.normal(size=n_outputs), n_features, trees)


def random_rows(rng, n_rows, dtype=np.float64, n_features=N_FEATURES):
    X = rng.normal(size=(n_rows, n_features)).round(1).astype(dtype)
    X[:, CATEGORICAL] = rng.choice([-1, 0, 0.5, 31, 32, 200, 255, 256, 1e30, -np.inf], n_rows)
    X[rng.random(X.shape) < 0.15] = np.nan
    return X


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n_leaves", [1, 2, 3, 7, 16, 40])
def test_values_are_those_of_the_definition(n_leaves, dtype):
    rng = np.random.default_rng(n_leaves)
    forest = random_forest(rng, [n_leaves] * 2)
    X = random_rows(rng, 12, dtype)
    expected = naive_contributions(forest, X)
    np.testing.assert_allclose(contributions(forest, X, 1), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("n_outputs", [1, 2, 5])
def test_any_number_of_outputs(n_outputs):
    rng = np.random.default_rng(n_outputs)
    forest = random_forest(rng, [9, 1, 5], n_outputs)
    X = random_rows(rng, 10)
    expected = naive_contributions(forest, X)
    np.testing.assert_allclose(contributions(forest, X, 1), expected, rtol=0, atol=1e-13)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 20), min_size=1, max_size=3))
def test_random_trees_and_rows(seed, sizes):
    rng = np.random.default_rng(seed)
    forest = random_forest(rng, sizes, n_outputs=2, category_share=rng.random() / 2)
    X = random_rows(rng, 3)
    actual = contributions(forest, X, 1)
    np.testing.assert_allclose(actual, naive_contributions(forest, X), rtol=0, atol=1e-12)
    np.testing.assert_allclose(actual.sum(axis=2), forest.raw_predict(X, 1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("sizes", [[31] * 20, [255] * 3])
def test_contributions_sum_to_the_score(sizes):
    rng = np.random.default_rng(0)
    forest = random_forest(rng, sizes, n_features=40)
    X = random_rows(rng, 700, n_features=40)
    total = contributions(forest, X, 2).sum(axis=2)
    np.testing.assert_allclose(total, forest.raw_predict(X, 2), rtol=0, atol=1e-11)


# Long paths ---------------------------------------------------------------------------------


def paths(tree):
    """For each leaf its value and the splits above it: (node, child, goes left)."""

    def visit(number, above):
        node = tree.nodes[number]
        if node["leaf"] >= 0:
            yield tree.values[node["leaf"]], above
            return
        for side in ("left", "right"):
            child = int(node[side])
            yield from visit(child, [*above, (number, child, side == "left")])

    return visit(0, [])


def exact_contributions(tree, row, n_features):
    """Leaf by leaf in fractions: the known features of each size by products of polynomials."""
    out = np.zeros((n_features, tree.values.shape[1]))
    for value, above in paths(tree):
        share, fits = {}, {}
        for number, child, left in above:
            feature = int(tree.nodes[number]["feature"])
            rows = Fraction(int(tree.counts[child]), int(tree.counts[number]))
            share[feature] = share.get(feature, 1) * rows
            same = bool(goes_left(tree, tree.nodes[number], row[feature])) == left
            fits[feature] = fits.get(feature, True) and same
        for j in share:
            sizes = [Fraction(1)]  # by how many features are known
            for i in share.keys() - {j}:
                taken = [Fraction(0), *(term * fits[i] for term in sizes)]
                sizes = [a + b * share[i] for a, b in zip(taken, [*sizes, 0], strict=True)]
            weight = sum(
                term / (len(share) * math.comb(len(share) - 1, size))
                for size, term in enumerate(sizes)
            )
            out[j] += float(weight * (fits[j] - share[j])) * value
    return out


def test_the_exact_values_are_those_of_the_definition():
    rng = np.random.default_rng(1)
    forest = random_forest(rng, [12])
    X = random_rows(rng, 4)
    expected = naive_contributions(forest, X)[:, :, :-1]
    actual = [exact_contributions(forest.trees[0], row, N_FEATURES).T for row in X]
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("n_features", [7, 13, 20])
def test_paths_of_many_features(n_features):
    """From 7 features on, rules of 4 points and more; some features come twice."""
    rng = np.random.default_rng(2)
    sizes = [n_features + 6]
    forest = random_forest(rng, sizes, 2, n_features=n_features, chain=True, category_share=0)
    X = random_rows(rng, 3, n_features=n_features)
    actual = contributions(forest, X, 1)
    expected = [exact_contributions(forest.trees[0], row, n_features).T for row in X]
    np.testing.assert_allclose(actual[:, :, :-1], expected, rtol=0, atol=1e-13)


def test_a_path_of_200_features():
    rng = np.random.default_rng(3)
    forest = random_forest(rng, [255], n_features=200, chain=True, category_share=0)
    X = random_rows(rng, 50, n_features=200)
    total = contributions(forest, X, 1).sum(axis=2)
    np.testing.assert_allclose(total, forest.raw_predict(X, 1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("number", [1, 2, 5, 40])
def test_gauss_rules_integrate_polynomials(number):
    points, weights = gauss_rules(number)[number]
    assert np.all((points > 0) & (points < 1))
    for degree in range(2 * number):
        np.testing.assert_allclose(points**degree @ weights, 1 / (degree + 1), rtol=1e-12)


# What changes no bit ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(4)
    return random_forest(rng, [31, 12, 31, 1, 40]), random_rows(rng, 3 * BLOCK + 5, np.float32)


@pytest.fixture(scope="module")
def expected(problem):
    return contributions(*problem, 1)


@pytest.mark.parametrize("n_threads", [2, 3, 7])
def test_threads_change_no_bit(problem, expected, n_threads):
    np.testing.assert_array_equal(contributions(*problem, n_threads), expected)


def test_instruction_sets_change_no_bit(problem, expected, variant, monkeypatch):
    kernel = variant("mtgbm.engine._contributions")
    monkeypatch.setattr("mtgbm.engine.contributions._contributions", kernel)
    np.testing.assert_array_equal(contributions(*problem, 2), expected)


@pytest.mark.parametrize("n_rows", [0, 1, 7, 8, 9, BLOCK - 1, BLOCK, BLOCK + 1])
def test_a_row_does_not_depend_on_the_others(problem, expected, n_rows):
    forest, X = problem
    np.testing.assert_array_equal(contributions(forest, X[:n_rows], 2), expected[:n_rows])


def reversed_memory(X):
    return np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1]


def every_other(X):
    return np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3]


@pytest.mark.parametrize("layout", [np.asfortranarray, every_other, reversed_memory])
def test_layout_of_the_table_does_not_matter(problem, expected, layout):
    forest, X = problem
    np.testing.assert_array_equal(contributions(forest, layout(X), 1), expected)


def test_rows_of_records(problem, expected):
    """They lie apart by a number of bytes that is no multiple of the item size."""
    forest, X = problem
    records = np.zeros(len(X), dtype=[("features", X.dtype, X.shape[1]), ("flag", np.uint8)])
    records["features"] = X
    np.testing.assert_array_equal(contributions(forest, records["features"], 1), expected)


def test_wide_floats_of_the_same_value(problem, expected):
    forest, X = problem
    np.testing.assert_array_equal(contributions(forest, X.astype(np.float64), 1), expected)


def test_outputs_do_not_mix(problem, expected):
    """Each output's values are those of a forest of that output alone."""
    forest, X = problem
    for k in range(forest.n_outputs):
        trees = [
            Tree(t.nodes, t.bitsets, t.values[:, [k]], None, None, t.counts, None)
            for t in forest.trees
        ]
        alone = Forest(forest.base_score[[k]], forest.n_features, trees)
        np.testing.assert_array_equal(contributions(alone, X, 1)[:, 0], expected[:, k])


def test_values_go_where_they_are_wanted(problem, expected):
    forest, X = problem
    out = np.full((len(X) + 20, *expected.shape[1:]), 7.0)
    returned = contributions(forest, X, 2, out=out[10:-10])
    np.testing.assert_array_equal(returned, expected)
    np.testing.assert_array_equal(out[10:-10], expected)
    assert (out[:10] == 7).all()
    assert (out[-10:] == 7).all()


# Forests ------------------------------------------------------------------------------------


def test_features_without_a_split_contribute_nothing():
    rng = np.random.default_rng(5)
    forest = random_forest(rng, [20] * 3, n_features=N_FEATURES, category_share=0)
    forest.n_features = N_FEATURES + 3
    X = np.hstack([random_rows(rng, 30), np.full((30, 3), 5.0)])
    values = contributions(forest, X, 1)
    assert values.shape == (30, 3, N_FEATURES + 4)
    assert not values[:, :, N_FEATURES:-1].any()
    np.testing.assert_allclose(values.sum(axis=2), forest.raw_predict(X, 1), atol=1e-12)


def test_trees_add_up(problem, expected):
    forest, X = problem
    zero = np.zeros(forest.n_outputs)
    parts = [contributions(Forest(zero, N_FEATURES, [tree]), X, 1) for tree in forest.trees]
    total = sum(parts)
    total[:, :, -1] += forest.base_score
    np.testing.assert_allclose(total, expected, rtol=0, atol=1e-13)


def test_a_trained_forest(boost):
    """Missing values, categories, several rounds: the definition, and the mean training score."""
    rng = np.random.default_rng(6)
    X = rng.normal(size=(300, N_FEATURES)).round(1)
    X[:, CATEGORICAL] = rng.integers(0, 30, size=300)
    X[rng.random(X.shape) < 0.1] = np.nan
    z = np.nan_to_num(X[:, 0]) + np.isin(X[:, CATEGORICAL], [3, 5, 17]) + np.isnan(X[:, 2])
    labels = (z[:, None] + rng.normal(size=(300, 3)) > 0.5).astype(int)
    rules = {"cat_smooth": 1.0, "min_data_per_group": 1, "num_leaves": 12}
    forest, mapper = boost(X, labels, categorical=[CATEGORICAL], n_rounds=3, **rules)
    encoded = mapper.encode_categories(X)
    values = contributions(forest, encoded, 2)
    np.testing.assert_allclose(
        values[:10], naive_contributions(forest, encoded[:10]), rtol=0, atol=1e-13
    )
    mean = forest.raw_predict(encoded, 1).mean(axis=0)
    np.testing.assert_allclose(expected_scores(forest), mean, rtol=1e-12)


def test_a_forest_without_trees():
    forest = Forest(np.array([0.5, -1.0]), 3)
    values = contributions(forest, np.zeros((2, 3)), 2)
    np.testing.assert_array_equal(values, [[[0, 0, 0, 0.5], [0, 0, 0, -1.0]]] * 2)
    np.testing.assert_array_equal(expected_scores(forest), [0.5, -1.0])


def test_trees_of_one_leaf():
    forest = random_forest(np.random.default_rng(7), [1, 1], n_outputs=1)
    values = contributions(forest, np.zeros((2, N_FEATURES)), 1)
    assert not values[:, :, :-1].any()
    total = forest.base_score + sum(tree.values[0] for tree in forest.trees)
    np.testing.assert_allclose(values[:, :, -1], [total, total], rtol=1e-14)


def test_kept_rounds_and_new_trees_are_seen():
    rng = np.random.default_rng(8)
    forest = random_forest(rng, [8] * 5, n_outputs=2)
    X = random_rows(rng, 20)
    contributions(forest, X, 1)
    forest.keep_rounds(np.array([1, 3]))
    shorter = contributions(forest, X, 1)
    np.testing.assert_allclose(shorter, naive_contributions(forest, X), rtol=0, atol=1e-13)
    forest.trees.append(random_tree(rng, 8, 2))
    longer = contributions(forest, X, 1)
    np.testing.assert_allclose(longer.sum(axis=2), forest.raw_predict(X, 1), atol=1e-12)


def test_tables_stay_out_of_pickles(problem, expected):
    forest, X = problem
    contributions(forest, X, 1)
    fresh = Forest(forest.base_score, forest.n_features, forest.trees)
    assert len(pickle.dumps(forest)) == len(pickle.dumps(fresh))
    copy = pickle.loads(pickle.dumps(forest))
    np.testing.assert_array_equal(contributions(copy, X, 1), expected)


def test_children_without_training_rows():
    rng = np.random.default_rng(9)
    forest = random_forest(rng, [10])
    tree = forest.trees[0]
    empty = tree.nodes["leaf"] == 4
    tree.counts[empty] = 0
    for number in reversed(np.flatnonzero(tree.nodes["leaf"] < 0)):
        children = [tree.nodes[side][number] for side in ("left", "right")]
        tree.counts[number] = tree.counts[children].sum()
    X = random_rows(rng, 40)
    np.testing.assert_allclose(
        contributions(forest, X, 1), naive_contributions(forest, X), rtol=0, atol=1e-13
    )


@pytest.mark.parametrize(
    "damage", [lambda counts: counts * 0, lambda counts: -counts, lambda counts: counts[:-1]]
)
def test_unknown_counts_are_refused(damage):
    forest = random_forest(np.random.default_rng(10), [5, 5])
    forest.trees[1].counts = damage(forest.trees[1].counts)
    with pytest.raises(ValueError, match="need the number of training rows of each node"):
        contributions(forest, np.zeros((1, N_FEATURES)), 1)
