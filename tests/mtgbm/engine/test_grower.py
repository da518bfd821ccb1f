"""Growth of one tree: known trees by hand, leaf values and sums against numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtgbm.engine.criteria import GainSum
from mtgbm.engine.grower import GrowthRules, TreeGrower
from mtgbm.engine.tree import Forest

QUICK = settings(deadline=None, max_examples=25)


def column(*values):
    return np.array(values, dtype=float)[:, None]


def splits_of(tree):
    """(feature, threshold) of the inner nodes in the order in which they were made."""
    inner = tree.nodes[tree.nodes["leaf"] < 0]
    return list(zip(inner["feature"].tolist(), inner["threshold"].tolist(), strict=True))


def integer_gradients(rng, n_rows, n_outputs):
    """Gradients and hessians whose sums are exact in any order."""
    g = rng.integers(-8, 9, size=(n_rows, n_outputs)).astype(np.float32)
    return g, rng.integers(1, 5, size=(n_rows, n_outputs)).astype(np.float32)


@pytest.fixture
def noisy():
    """A table with numbers, categories and missing values, and gradients that depend on it."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 4))
    X[:, 3] = rng.integers(0, 12, size=400)
    X[rng.random(X.shape) < 0.05] = np.nan
    g, h = integer_gradients(rng, 400, 3)
    g[:, 0] += np.rint(4 * np.nan_to_num(X[:, 0]))
    g[:, 1] += np.where(np.isin(X[:, 3], [1, 4, 7]), 3, -3)
    return X, g, h


GROUPS = {"cat_smooth": 1.0, "min_data_per_group": 1}


# Trees by hand ------------------------------------------------------------------------------


def test_one_obvious_split(grow):
    """Left of 2.5 the gradients sum to -4, right to 6; every hessian is 1."""
    grown = grow(column(1, 2, 3, 4, 5), [[-2], [-2], [2], [2], [2]])
    tree = grown.tree
    assert splits_of(tree) == [(0, 2.5)]
    np.testing.assert_array_equal(tree.values, [[2], [-2]])
    np.testing.assert_array_equal(tree.gradients, [[2], [-4], [6]])
    np.testing.assert_array_equal(tree.hessians, [[5], [2], [3]])
    np.testing.assert_array_equal(tree.counts, [5, 2, 3])
    np.testing.assert_allclose(tree.gains, [[16 / 2 + 36 / 3 - 4 / 5], [0], [0]])
    np.testing.assert_array_equal(tree.nodes["depth"], [0, 1, 1])
    np.testing.assert_array_equal(grown.leaf_of_rows(), [0, 0, 1, 1, 1])


def test_present_against_missing(grow):
    """All that is present is below an infinite threshold, also what fit did not see."""
    grown = grow(column(1, 2, np.nan, np.nan), [[-1], [-1], [1], [1]])
    assert splits_of(grown.tree) == [(0, np.inf)]
    forest = Forest(np.zeros(1), 1, [grown.tree])
    X = column(-1e9, 1.5, 1e9, np.nan)
    np.testing.assert_array_equal(forest.raw_predict(X, 1), [[1], [1], [1], [-1]])


def test_regularisation_by_hand(grow):
    X, g = column(1, 2, 3, 4), [[-2], [-2], [2], [2]]
    assert grow(X, g, reg_lambda=2.0).tree.values.tolist() == [[1], [-1]]
    assert grow(X, g, reg_alpha=1.0).tree.values.tolist() == [[1.5], [-1.5]]
    assert grow(X, g, max_delta_step=0.5).tree.values.tolist() == [[0.5], [-0.5]]
    assert grow(X, g, learning_rate=0.25).tree.values.tolist() == [[0.5], [-0.5]]


def test_xor_needs_two_levels(grow):
    """Nearly even, so that the first split gains a little and the second nearly everything."""
    X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=float)
    g = [[-1.0], [1.0], [1.0], [-1.5]]
    grown = grow(X, g)
    assert grown.tree.n_leaves == 4
    np.testing.assert_array_equal(np.sort(grown.tree.nodes["depth"]), [0, 1, 1, 2, 2, 2, 2])
    np.testing.assert_array_equal(grown.tree.values[grown.leaf_of_rows()], -np.array(g))


def test_xor_without_a_first_gain_is_not_found(grow):
    X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=float)
    assert grow(X, [[-1.0], [1.0], [1.0], [-1.0]]).tree.n_leaves == 1


def test_the_best_leaf_is_split_first(grow):
    """Feature 0 parts the rows in halves; the right half then gains more from feature 1."""
    X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=float)
    g = [[-21.0], [-19.0], [12.0], [28.0]]
    leaves = {n: grow(X, g, num_leaves=n).tree for n in (2, 3, 4)}
    assert splits_of(leaves[2]) == [(0, 0.5)]
    np.testing.assert_array_equal(leaves[3].values, [[20], [-12], [-28]])
    np.testing.assert_array_equal(leaves[4].values, [[21], [19], [-12], [-28]])
    np.testing.assert_array_equal(leaves[4].nodes["left"][:3], [1, 5, 3])
    assert leaves[4].gains[2] > leaves[4].gains[1]


@pytest.mark.parametrize("num_leaves", [1, 2, 5, 31])
def test_num_leaves(grow, noisy, num_leaves):
    tree = grow(*noisy, num_leaves=num_leaves).tree
    assert tree.n_leaves == num_leaves
    assert len(tree.nodes) == 2 * num_leaves - 1


@pytest.mark.parametrize("max_depth", [1, 2, 3])
def test_max_depth(grow, noisy, max_depth):
    tree = grow(*noisy, max_depth=max_depth, num_leaves=100).tree
    assert tree.nodes["depth"].max() == max_depth
    assert tree.n_leaves == 2**max_depth


def test_no_limit_on_leaves_but_the_rows(grow):
    """As many leaves as distinct rows, each with its own value."""
    g = np.array([[3.0], [-1.0], [4.0], [-1.5], [5.0], [-9.0]])
    grown = grow(column(1, 2, 3, 4, 5, 6), g, num_leaves=100)
    np.testing.assert_array_equal(grown.tree.values[grown.leaf_of_rows()], -g)


def test_min_split_gain_is_a_floor(grow, noisy):
    gains = np.sort(grow(*noisy, num_leaves=40).tree.gains.sum(axis=1))
    floor = gains[-8]
    tree = grow(*noisy, num_leaves=40, min_split_gain=floor).tree
    assert 1 < tree.n_leaves < 40
    inner = tree.nodes["leaf"] < 0
    assert (tree.gains[inner].sum(axis=1) > floor).all()


@pytest.mark.parametrize("least", [1, 7, 50, 201])
def test_min_child_samples(grow, noisy, least):
    tree = grow(*noisy, num_leaves=200, min_child_samples=least).tree
    assert tree.counts.min() >= least or tree.n_leaves == 1
    assert (tree.n_leaves == 1) == (least > 200)


def test_min_child_weight_of_one_output(grow, noisy):
    X, g, h = noisy
    tree = grow(X, g[:, :1], h[:, :1], num_leaves=200, min_child_weight=40.0).tree
    assert tree.n_leaves > 3
    assert tree.hessians.min() >= 40


def test_rows_and_columns_of_a_bag(grow, noisy):
    X, g, h = noisy
    rows, columns = np.arange(0, 400, 3), [1, 2]
    bagged = grow(X, g, h, rows=rows, columns=columns)
    assert set(bagged.tree.nodes["feature"]) <= {-1, 1, 2}
    np.testing.assert_array_equal(np.sort(bagged.structure.rows), rows)
    alone = grow(X[rows], g[rows], h[rows], mapper=bagged.mapper, columns=columns)
    np.testing.assert_array_equal(bagged.tree.nodes, alone.tree.nodes)
    np.testing.assert_array_equal(bagged.tree.values, alone.tree.values)


@pytest.mark.parametrize(("sign", "left"), [(-1, {0, 3}), (1, {1, 2, 4})])
def test_categories_are_parted_by_their_gradients(grow, sign, left):
    """The smaller side of the sorted categories goes left; unknown categories go right."""
    categories = np.repeat(np.arange(5.0), 20)
    g = np.where(np.isin(categories, [0, 3]), -1.0, 1.0)[:, None]
    grown = grow(categories[:, None], sign * g, categorical=[0], num_leaves=2, **GROUPS)
    side = grown.leaf_of_rows() == 0
    assert {*categories[side]} in (left, {*range(5)} - left)
    assert not grown.tree.nodes["missing_left"][0]
    np.testing.assert_array_equal(np.sign(grown.tree.values[:, 0]), -sign * np.sign(
        [g[side].sum(), g[~side].sum()]))  # fmt: skip


# Leaves and sums ----------------------------------------------------------------------------


@pytest.mark.parametrize("criterion", ["gain_sum", "gradient_sum"])
@pytest.mark.parametrize("reg_lambda", [0.0, 5.0])
def test_every_leaf_has_its_own_newton_step(grow, noisy, criterion, reg_lambda):
    X, g, h = noisy
    grown = grow(
        X, g, h, criterion=criterion, categorical=[3], reg_lambda=reg_lambda,
        learning_rate=0.1, **GROUPS,
    )  # fmt: skip
    leaf_of_rows = grown.leaf_of_rows()
    g, h = g.astype(float), h.astype(float)
    assert grown.tree.n_leaves == 31
    for leaf, value in enumerate(grown.tree.values):
        rows = leaf_of_rows == leaf
        step = -g[rows].sum(axis=0) / (h[rows].sum(axis=0) + reg_lambda)
        np.testing.assert_allclose(value, 0.1 * step, rtol=1e-12)


def test_structure_and_records_send_rows_to_the_same_leaves(grow, noisy):
    grown = grow(*noisy, categorical=[3], **GROUPS)
    scores = np.zeros((400, 3))
    grown.tree.add_binned(grown.binned.by_row, scores, 1)
    np.testing.assert_array_equal(scores, grown.tree.values[grown.leaf_of_rows()])
    updated = np.zeros((400, 3))
    grown.structure.add_values(updated, grown.tree.values, 2)
    np.testing.assert_array_equal(updated, scores)


def test_sums_of_a_node_are_those_of_its_children(grow, noisy):
    X, g, h = noisy
    tree = grow(X, g, h, categorical=[3], **GROUPS).tree
    np.testing.assert_array_equal(tree.gradients[0], g.sum(axis=0))
    np.testing.assert_array_equal(tree.hessians[0], h.sum(axis=0))
    assert tree.counts[0] == 400
    inner = tree.nodes["leaf"] < 0
    left, right = tree.nodes["left"][inner], tree.nodes["right"][inner]
    for sums in (tree.gradients, tree.hessians, tree.counts):
        np.testing.assert_array_equal(sums[inner], sums[left] + sums[right])


def test_gains_are_those_of_the_closed_formula(grow, noisy):
    tree = grow(*noisy, reg_lambda=1.5).tree
    score = tree.gradients**2 / (tree.hessians + 1.5)
    expected = np.zeros_like(score)
    for number, node in enumerate(tree.nodes):
        if node["leaf"] < 0:
            expected[number] = score[node["left"]] + score[node["right"]] - score[number]
    np.testing.assert_allclose(tree.gains, expected, rtol=1e-9, atol=1e-9)


def test_a_task_without_labels_stays_at_zero(grow, noisy):
    X, g, h = noisy
    g[:, 2] = h[:, 2] = 0
    tree = grow(X, g, h).tree
    np.testing.assert_array_equal(tree.values[:, 2], 0)
    np.testing.assert_array_equal(tree.gains[:, 2], 0)
    alone = grow(X, g[:, :2], h[:, :2]).tree
    np.testing.assert_array_equal(tree.nodes, alone.nodes)
    np.testing.assert_array_equal(tree.values[:, :2], alone.values)


def test_an_output_without_hessian_in_a_leaf_takes_a_bounded_step():
    values = GrowthRules(min_child_weight=0.5).leaf_values(np.array([-3.0, 0.0]), np.zeros(2))
    np.testing.assert_array_equal(values, [6, 0])


# Criteria -----------------------------------------------------------------------------------


def test_gradient_sum_grows_the_tree_of_the_combined_gradient(grow, noisy):
    X, g, h = noisy
    weights = np.array([1.0, 0.5, 2.0])
    summed = grow(X, g, h, weights=weights, criterion="gradient_sum").tree
    alone = grow(X, (g @ weights)[:, None], (h @ weights)[:, None]).tree
    np.testing.assert_array_equal(summed.nodes, alone.nodes)
    np.testing.assert_array_equal(summed.counts, alone.counts)
    assert summed.values.shape == (alone.n_leaves, 3)


def test_opposed_tasks_cancel_in_the_gradient_sum_only(grow):
    X, g = column(1, 2, 3, 4), [[-1, 1], [-1, 1], [1, -1], [1, -1]]
    assert grow(X, g, criterion="gradient_sum").tree.n_leaves == 1
    assert splits_of(grow(X, g, criterion="gain_sum", num_leaves=2).tree) == [(0, 2.5)]


def test_weights_choose_whose_split_comes_first(grow):
    X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=float)
    g = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])
    for weights, feature in (((2, 1), 0), ((1, 2), 1), ((1, 0), 0)):
        assert grow(X, g, weights=weights).tree.nodes["feature"][0] == feature


def test_weights_do_not_touch_the_leaves(grow):
    X, g = column(1, 2, 3, 4), np.array([[-1, -2], [-1, -2], [1, 2], [1, 2]])
    for weights in ((1, 1), (5, 0), (0.1, 3)):
        np.testing.assert_array_equal(grow(X, g, weights=weights).tree.values, [[1, 2], [-1, -2]])


# Invariances --------------------------------------------------------------------------------


@QUICK
@given(st.integers(0, 2**32 - 1))
def test_order_of_rows_does_not_matter(grow, seed):
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 9, size=(120, 3)).astype(float)
    X[rng.random(X.shape) < 0.1] = np.nan
    g, h = integer_gradients(rng, 120, 2)
    order = rng.permutation(120)
    options = {"categorical": [2], "num_leaves": 12, **GROUPS}
    tree = grow(X, g, h, **options).tree
    shuffled = grow(X[order], g[order], h[order], **options).tree
    np.testing.assert_array_equal(tree.nodes, shuffled.nodes)
    np.testing.assert_array_equal(tree.bitsets, shuffled.bitsets)
    np.testing.assert_array_equal(tree.values, shuffled.values)


@QUICK
@given(st.integers(0, 2**32 - 1))
def test_strictly_increasing_maps_of_a_feature_do_not_matter(grow, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(100, 2))
    g, h = integer_gradients(rng, 100, 2)
    tree, mapped = grow(X, g, h).tree, grow(np.exp(X), g, h).tree
    for name in ("feature", "bin_threshold", "left", "right"):
        np.testing.assert_array_equal(tree.nodes[name], mapped.nodes[name])
    np.testing.assert_array_equal(tree.values, mapped.values)


@pytest.fixture
def grow_all(make_precision):
    """Grows a tree of all rows and columns with a given grower, every output heard."""

    def build(grower, vectors, n_outputs):
        seen = GainSum(None).structure(vectors, np.ones(n_outputs), 1)
        numbers = make_precision().row_vectors(seen, 1)
        n_rows, n_columns = grower.binned.by_row.shape
        rows = np.arange(n_rows, dtype=np.int32)
        structure = grower.grow(numbers, seen, rows, np.arange(n_columns, dtype=np.int32))
        return grower.finish(structure, vectors, n_outputs, 1.0)

    return build


@pytest.mark.parametrize("n_threads", [1, 3])
def test_one_grower_grows_tree_after_tree(noisy, fit_mapper, row_vectors, grow_all, n_threads):
    """Also when the number of lanes changes between them: memory is reused, results are not."""
    X, g, h = noisy
    mapper = fit_mapper(X)
    rules = GrowthRules(min_child_samples=1)

    def nodes_of(grower, outputs):
        return grow_all(grower, row_vectors(g[:, outputs], h[:, outputs]), len(outputs)).nodes

    reused = TreeGrower(mapper.transform(X), mapper, rules, n_threads)
    for outputs in ([0, 1, 2], [1], [2, 0], [0, 1, 2]):
        fresh = TreeGrower(mapper.transform(X), mapper, rules, n_threads)
        np.testing.assert_array_equal(nodes_of(reused, outputs), nodes_of(fresh, outputs))


def test_sums_go_through_the_reducer(noisy, fit_mapper, row_vectors, grow_all):
    """Two equal workers: twice the sums, the same structure and, without penalty, values."""

    class Doubled:
        def sum(self, array):
            array *= 2
            return array

    X, g, h = noisy
    mapper, vectors = fit_mapper(X), row_vectors(g, h)

    def grown(reducer):
        grower = TreeGrower(mapper.transform(X), mapper, GrowthRules(), 1, reducer=reducer)
        return grow_all(grower, vectors, 3)

    alone, cluster = grown(None), grown(Doubled())
    np.testing.assert_array_equal(cluster.counts[0], 800)
    np.testing.assert_array_equal(cluster.gradients[0], 2 * g.sum(axis=0))
    np.testing.assert_array_equal(cluster.nodes[:1], alone.nodes[:1])
