"""With one task and equal bins the model is LightGBM's.

Bins are made equal by features of few distinct values and ``min_data_in_bin=1``; LightGBM gets a
larger ``max_bin`` because it counts the missing bin and sets zero apart.

Permitted differences, each of which these tests name, avoid, or reproduce:

- Rows of a child. We count them. LightGBM estimates them from hessians, as
  round(h * n_node / h_node), which is exact only while all hessians are equal: in the first tree
  of an unweighted model. Elsewhere the tests use min_child_samples=1, and min_child_weight=1 to
  keep leaves apart from rounding; min_data_per_group and cat_smooth, which are also compared with
  a number of rows, are treated alike.
- Features without gain. Where no threshold of a feature gains anything, LightGBM does not try the
  feature below that node; we always do. Without regularisation every split gains, so it shows only
  with reg_alpha, reg_lambda, max_delta_step, min_split_gain or constraints.
- Monotone constraints. LightGBM takes from the gain of a split the score of its node at the free
  optimum; we take the score at the value that the constraints allow the node.
- Categories. LightGBM's leaves below a split by sorted categories keep cat_l2; ours are each
  task's optimum under reg_lambda. LightGBM counts its bin for unknown categories against
  max_cat_to_onehot; we count the categories, as its documentation says.
- Positive weights. Our base score counts scale_pos_weight, LightGBM's does not.
- Rounding. With use_quantized_grad=False, as in these tests, both sum float gradients in double,
  each in its own order: leaf values are equal to the last bits of a double. By default we choose
  splits by integers, and equals may be decided otherwise.
- Ties. Empty bins give several thresholds of one gain, and LightGBM takes the last where we take
  the first; hence predictions are compared on training rows. In pure or tiny nodes whole features
  tie; the data here have none.
"""

import functools
from dataclasses import dataclass

import lightgbm
import numpy as np
import pytest

from mtgbm.datasets import load_flights, load_movies
from mtgbm.engine.binning import BinMapper
from mtgbm.estimators import MultiTaskLGBMClassifier

PEER = {"min_data_in_bin": 1, "max_bin": 300, "verbose": -1}
COMMON = {"n_estimators": 20, "min_child_samples": 1, "min_child_weight": 1.0, "n_jobs": 1}
EXACT = {"use_quantized_grad": False}
#: The project promises 1e-4; where the trees are the same only rounding is left.
CLOSE = 1e-6
REGULARISED = [
    {"reg_lambda": 5.0},
    {"reg_alpha": 2.0},
    {"max_delta_step": 0.5},
    {"min_split_gain": 3.0},
    {"reg_lambda": 3.0, "reg_alpha": 1.0, "max_delta_step": 0.5, "min_split_gain": 1.0},
    {"monotone_constraints": [1, 0, -1, 1, 0, 0]},
]


@functools.cache
def interactions():
    """Six features, of which four matter, two of them only together."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 60, (6000, 6)).astype(float)
    z = X / 15 - 2
    signal = z[:, 0] * z[:, 1] + np.sin(2 * z[:, 2]) + z[:, 3] / 2
    return X, (signal + rng.normal(size=len(X)) > 0.7).astype(float)


@functools.cache
def strong_effects():
    """Four features that all matter in every node, so that none runs out of gain."""
    rng = np.random.default_rng(3)
    X = rng.integers(0, 40, (8000, 4)).astype(float)
    z = X / 20 - 1
    signal = z @ [1.5, -1.2, 1.0, 0.8] + z[:, 0] * z[:, 1]
    return X, (signal + rng.logistic(0, 0.5, len(X)) > 0).astype(float)


@functools.cache
def holes():
    """`interactions` with missing values, which are positive more often in feature 1 only."""
    X, y = interactions()
    rng = np.random.default_rng(1)
    missing = rng.random(X.shape) < 0.2
    missing[:, 1] |= (y == 1) & (rng.random(len(y)) < 0.3)
    return np.where(missing, np.nan, X), y


@functools.cache
def flights():
    sample = load_flights()
    numbers = sample.data.select_dtypes("number").to_numpy(np.float64)
    y = sample.target["arr_late_15"].to_numpy()
    rows = np.flatnonzero(~np.isnan(y))[::4]
    return as_bins(numbers[rows]), y[rows]


@functools.cache
def movies():
    films = load_movies()
    numbers = films.data.select_dtypes("number").to_numpy(np.float64)[::6]
    return as_bins(numbers), films.target["Drama"].to_numpy()[::6]


@functools.cache
def categories(n_categories):
    """Two categorical features and two numeric ones."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, n_categories, (8000, 2))
    effects = rng.normal(size=(2, n_categories))
    numbers = rng.integers(0, 30, (8000, 2))
    signal = effects[0, codes[:, 0]] + effects[1, codes[:, 1]] + numbers[:, 0] / 10
    y = signal + rng.logistic(0, 0.6, 8000) > 1.8
    return np.column_stack([codes, numbers]).astype(float), y.astype(float)


def as_bins(X):
    """Each value replaced by the number of its bin, missing ones kept."""
    numeric = np.zeros(X.shape[1], dtype=bool)
    mapper = BinMapper(255, 200_000, numeric, np.random.default_rng(0), n_threads=1).fit(X)
    return np.where(np.isnan(X), np.nan, mapper.transform(X).by_row)


def fit_ours(data, *, sample_weight=None, categorical=(), **parameters):
    model = MultiTaskLGBMClassifier(
        categorical_feature=categorical, **(EXACT | COMMON | parameters)
    )
    return model.fit(*data, sample_weight=sample_weight)


def fit_lightgbm(data, *, categorical=(), init_score=None, sample_weight=None, **parameters):
    model = lightgbm.LGBMClassifier(**(PEER | COMMON | parameters))
    return model.fit(
        *data,
        sample_weight=sample_weight,
        init_score=init_score,
        categorical_feature=list(categorical),
    )


def positive(model, data):
    return model.predict_proba(data[0])[:, 1]


def mean_difference(data, **options):
    ours, theirs = fit_ours(data, **options), fit_lightgbm(data, **options)
    return np.abs(positive(ours, data) - positive(theirs, data)).mean()


def same_partition(one, other):
    """Whether two columns of leaf numbers put the same rows together, whatever the numbers."""
    pairs = len(set(zip(one, other, strict=True)))
    return pairs == len(set(one)) == len(set(other))


def same_first_tree(data, **options):
    """Whether the first trees put the same rows into the same leaves."""
    ours = fit_ours(data, n_estimators=1, **options)
    theirs = fit_lightgbm(data, n_estimators=1, **options)
    ours = ours.forest_.apply(ours._mapper.encode_categories(data[0]), 1)
    return same_partition(ours[:, 0], theirs.predict(data[0], pred_leaf=True).ravel())


@pytest.mark.parametrize("load", [interactions, holes, strong_effects, flights, movies])
def test_predictions_are_equal(load):
    assert mean_difference(load()) < CLOSE


@pytest.mark.parametrize("load", [interactions, holes, flights, movies])
def test_first_tree_is_equal_with_the_default_min_child_samples(load):
    # All hessians are equal, so that LightGBM's estimate of a child's rows is exact.
    assert same_first_tree(load(), min_child_samples=20, min_child_weight=1e-3)


def test_min_child_samples_counts_rows_where_lightgbm_estimates_them():
    ours = fit_ours(interactions(), min_child_samples=20, min_child_weight=1e-3)
    theirs = fit_lightgbm(interactions(), min_child_samples=20, min_child_weight=1e-3)
    fewest = min(tree.counts[tree.nodes["leaf"] >= 0].min() for tree in ours.forest_.trees)
    leaves = theirs.predict(interactions()[0], pred_leaf=True)
    their_fewest = min(np.bincount(column)[np.unique(column)].min() for column in leaves.T)
    assert fewest >= 20 > their_fewest


@pytest.mark.parametrize(
    "parameters",
    [
        {"num_leaves": 7},
        {"num_leaves": 127},
        {"max_depth": 3},
        {"min_child_weight": 30.0},
        {"learning_rate": 0.5, "min_child_weight": 10.0},
        {"num_leaves": 16, "reg_lambda": 5.0},
        {"num_leaves": 16, "reg_alpha": 1.0},
        {"num_leaves": 8, "max_delta_step": 0.5},
        {"num_leaves": 8, "min_split_gain": 1.0},
        {"num_leaves": 8, "monotone_constraints": [1, -1, 0, 0]},
        {"num_leaves": 16, "monotone_constraints": [0, 0, 1, 0]},
    ],
    ids=str,
)
def test_growth_rules(parameters):
    assert mean_difference(strong_effects(), **parameters) < CLOSE


def test_reg_lambda_on_real_data():
    assert mean_difference(flights(), reg_lambda=1.0, num_leaves=16) < CLOSE


def test_missing_values_are_learned_on_both_sides():
    theirs = fit_lightgbm(holes()).booster_.trees_to_dataframe()
    assert set(theirs["missing_direction"].dropna()) == {"left", "right"}
    rng = np.random.default_rng(2)
    # New combinations of values and holes: the side must be right, not only the training rows'.
    X = np.where(rng.random((4000, 6)) < 0.5, np.nan, holes()[0][:4000, rng.permutation(6)])
    ours, theirs = fit_ours(holes(), num_leaves=8), fit_lightgbm(holes(), num_leaves=8)
    assert np.abs(ours.predict_proba(X) - theirs.predict_proba(X)).mean() < CLOSE


def test_sample_weight():
    weight = np.random.default_rng(0).exponential(size=6000).astype(np.float32)
    assert mean_difference(interactions(), sample_weight=weight) < CLOSE


def test_scale_pos_weight_is_a_weight_of_positive_rows():
    data = interactions()
    weighted = fit_lightgbm(data, sample_weight=np.where(data[1] > 0, 3.0, 1.0))
    ours = fit_ours(data, scale_pos_weight=3.0)
    assert np.abs(positive(ours, data) - positive(weighted, data)).mean() < CLOSE


def test_scale_pos_weight_differs_from_lightgbm_only_in_the_base_score():
    data = interactions()
    ours = fit_ours(data, scale_pos_weight=3.0)
    base = ours.forest_.base_score[0]
    theirs = fit_lightgbm(data, scale_pos_weight=3.0, init_score=np.full(len(data[1]), base))
    raw = base + theirs.predict(data[0], raw_score=True)
    assert np.abs(ours.raw_predict(data[0])[:, 0] - raw).mean() < CLOSE


@pytest.mark.parametrize("n_categories", [2, 3, 4])
def test_few_categories_are_split_one_against_the_rest(n_categories):
    options = {"categorical": (0, 1)}
    ours = fit_ours(categories(n_categories), **options)
    # 4 categories are 5 bins to LightGBM.
    theirs = fit_lightgbm(categories(n_categories), max_cat_to_onehot=5, **options)
    data = categories(n_categories)
    assert np.abs(positive(ours, data) - positive(theirs, data)).mean() < CLOSE


@pytest.mark.parametrize("n_categories", [12, 40])
def test_sorted_categories(n_categories):
    rules = {"cat_l2": 0.0, "cat_smooth": 1.0, "min_data_per_group": 1, "categorical": (0, 1)}
    assert mean_difference(categories(n_categories), **rules) < CLOSE


@pytest.mark.parametrize("n_categories", [12, 40])
def test_first_tree_on_sorted_categories_is_equal_with_default_rules(n_categories):
    # With more leaves cat_l2 leaves some features without gain.
    assert same_first_tree(categories(n_categories), categorical=(0, 1), num_leaves=8)


def test_only_lightgbm_keeps_cat_l2_in_leaves():
    X, y = categories(12)
    data = X[:, :2], y
    options = {"n_estimators": 1, "num_leaves": 2, "categorical": (0, 1), "learning_rate": 1.0}
    ours, theirs = fit_ours(data, **options), fit_lightgbm(data, cat_l2=10.0, **options)
    tree = ours.forest_.trees[0]
    assert tree.nodes["bitset"][0] == 0  # the root is a split by sorted categories
    leaves = tree.nodes["leaf"] >= 0
    g, h = tree.gradients[leaves, 0], tree.hessians[leaves, 0]
    base = ours.forest_.base_score[0]
    raw = theirs.predict(data[0], raw_score=True)
    np.testing.assert_allclose(np.unique(raw - base), np.sort(-g / (h + 10.0)), rtol=1e-6)
    np.testing.assert_allclose(np.sort(tree.values[:, 0]), np.sort(-g / h), rtol=1e-6)


@dataclass
class Reference:
    """Boosting on integer features below 60, written for the eye, with LightGBM's ways or ours.

    Attributes
    ----------
    like_lightgbm : bool
        Leave out features that gained nothing in the parent, and score nodes without their bounds.
    """

    like_lightgbm: bool
    reg_alpha: float = 0.0
    reg_lambda: float = 0.0
    max_delta_step: float = 0.0
    min_split_gain: float = 0.0
    monotone_constraints: tuple = (0,) * 6

    def shrink(self, g):
        return np.sign(g) * np.maximum(np.abs(g) - self.reg_alpha, 0)

    def value(self, g, h, bounds):
        limit = self.max_delta_step or np.inf
        value = np.clip(-self.shrink(g) / (h + self.reg_lambda), -limit, limit)
        return np.clip(value, *bounds)

    def score(self, g, h, value):
        return -(2 * self.shrink(g) * value + (h + self.reg_lambda) * value**2)

    def best_threshold(self, x, g, h, bounds, direction):
        """Gain beyond the least one, threshold and leaf values of a feature's best split."""
        left = [np.cumsum(np.bincount(x, of_row, 60))[:-1] for of_row in (g, h)]
        sides = left, [g.sum() - left[0], h.sum() - left[1]]
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.array([self.value(*side, bounds) for side in sides])
            gain = sum(self.score(*side, value) for side, value in zip(sides, values, strict=True))
        allowed = (sides[0][1] >= 1) & (sides[1][1] >= 1)
        allowed &= ~(direction * (values[1] - values[0]) < 0)
        free = (-np.inf, np.inf) if self.like_lightgbm else bounds
        node = self.score(g.sum(), h.sum(), self.value(g.sum(), h.sum(), free))
        gain = np.where(allowed, gain - node - self.min_split_gain, -np.inf)
        best = gain.argmax()
        return gain[best], best, values[:, best]

    def search(self, X, g, h, rows, bounds, features):
        """A leaf: its rows and bounds, its best split, the features that gain anything in it."""
        found = {
            feature: self.best_threshold(
                X[rows, feature], g[rows], h[rows], bounds, self.monotone_constraints[feature]
            )
            for feature in features
        }
        useful = [feature for feature in features if found[feature][0] > 0]
        best = max(useful, key=lambda feature: found[feature][0], default=None)
        split = (-np.inf,) if best is None else (*found[best], best)
        return rows, bounds, split, useful if self.like_lightgbm else features

    def grow(self, X, g, h):
        """The step of every row."""
        leaves = [self.search(X, g, h, np.arange(len(X)), (-np.inf, np.inf), range(X.shape[1]))]
        step = np.zeros(len(X))
        while len(leaves) < 31:
            at = max(range(len(leaves)), key=lambda leaf: leaves[leaf][2][0])
            rows, bounds, split, features = leaves[at]
            if split[0] <= 0:
                break
            _, threshold, values, feature = split
            del leaves[at]
            goes_left = X[rows, feature] <= threshold
            limits = self.child_bounds(bounds, values.mean(), self.monotone_constraints[feature])
            for side, value, limit in zip((goes_left, ~goes_left), values, limits, strict=True):
                step[rows[side]] = value
                leaves.append(self.search(X, g, h, rows[side], limit, features))
        return step

    def child_bounds(self, bounds, middle, direction):
        below, above = (bounds[0], middle), (middle, bounds[1])
        return {0: (bounds, bounds), 1: (below, above), -1: (above, below)}[direction]

    def predict_proba(self, X, y, n_rounds):
        X, score = X.astype(int), np.full(len(y), np.log(y.mean() / (1 - y.mean())))
        for _ in range(n_rounds):
            p = 1 / (1 + np.exp(-score))
            g, h = np.float32(p - y), np.float32(p * (1 - p))
            score += 0.1 * self.grow(X, g.astype(np.float64), h.astype(np.float64))
        return 1 / (1 + np.exp(-score))


@pytest.mark.parametrize("parameters", REGULARISED, ids=str)
def test_the_named_differences_are_the_only_ones(parameters):
    """Where trees run out of gain the two models differ, and the reference explains both."""
    data = interactions()
    for fit, like_lightgbm in ((fit_ours, False), (fit_lightgbm, True)):
        expected = Reference(like_lightgbm, **parameters).predict_proba(*data, n_rounds=5)
        actual = positive(fit(data, n_estimators=5, **parameters), data)
        assert np.abs(actual - expected).mean() < 1e-4
    assert mean_difference(data, n_estimators=5, **parameters) > 1e-3
