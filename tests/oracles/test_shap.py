"""Contributions are those of shap and of LightGBM, where both know the trees.

LightGBM explains our models as exported; trees of its own, grown by other rules, are rebuilt
from its dump. shap takes our trees in the form in which it takes those of strangers.
"""

import lightgbm
import matplotlib
import numpy as np
import pytest
import shap

from mtgbm import MultiTaskLGBMClassifier
from mtgbm.engine._common import NODE_DTYPE
from mtgbm.engine.contributions import contributions
from mtgbm.engine.tree import Forest, Tree
from mtgbm.explanation import pred_contrib, shap_explainer, shap_trees
from mtgbm.io.lightgbm_text import to_lightgbm

CLOSE = 1e-8
N_FEATURES = 8


def make_table(n_rows=1500, n_tasks=1, missing=0.1):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, N_FEATURES))
    own = X[:, np.arange(n_tasks) % N_FEATURES]
    signal = np.sin(2 * X[:, [1]]) + X[:, [2]] * X[:, [3]] + own
    Y = (signal + rng.normal(size=(n_rows, n_tasks)) > 0.5).astype(float)
    X[rng.random(X.shape) < missing] = np.nan
    return X, Y


def fit(n_tasks, **options):
    X, Y = make_table(n_tasks=n_tasks)
    parameters = {"n_estimators": 15, "n_jobs": 1, "random_state": 0} | options
    return MultiTaskLGBMClassifier(**parameters).fit(X, Y if n_tasks > 1 else Y[:, 0]), X


def fit_categories():
    X, Y = make_table(n_tasks=2)
    X[:, 0] = np.random.default_rng(1).integers(0, 20, len(X))
    Y[:, 0] = np.isin(X[:, 0], [3, 7, 11, 13])
    X[:100, 0] = np.nan
    model = MultiTaskLGBMClassifier(n_estimators=8, categorical_feature=[0], random_state=0)
    return model.fit(X, Y), X


# shap ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_tasks", "options"),
    [
        (1, {}),
        (3, {}),
        (10, {}),
        (3, {"num_leaves": 100, "min_child_samples": 3}),
        (3, {"early_stopping_rounds": 3, "best_round_per_task": True, "n_estimators": 40}),
    ],
)
def test_values_are_those_of_shap(n_tasks, options):
    model, X = fit(n_tasks, **options)
    X = X[:60]
    explainer = shap.TreeExplainer(
        shap_trees(model.forest_), feature_perturbation="tree_path_dependent"
    )
    theirs = explainer.shap_values(X).reshape(len(X), N_FEATURES, n_tasks)
    ours = pred_contrib(model, X)
    np.testing.assert_allclose(np.moveaxis(ours[:, :, :-1], 1, 2), theirs, rtol=0, atol=CLOSE)
    np.testing.assert_allclose(ours.sum(axis=2), model.raw_predict(X), rtol=0, atol=1e-9)


@pytest.mark.parametrize("n_tasks", [1, 3])
def test_an_explanation_holds_the_contributions(n_tasks):
    model, X = fit(n_tasks)
    values = pred_contrib(model, X[:20])
    explanation = shap_explainer(model)(X[:20])
    assert explanation.output_names == [f"task_{t}" for t in range(n_tasks)]
    assert explanation.feature_names == [f"x{j}" for j in range(N_FEATURES)]
    np.testing.assert_array_equal(explanation.values, np.moveaxis(values[:, :, :-1], 1, 2))
    np.testing.assert_array_equal(explanation.base_values, values[:, :, -1])
    np.testing.assert_array_equal(explanation.data, X[:20])


def test_one_task_alone():
    model, X = fit(3)
    values = pred_contrib(model, X[:20])
    explainer = shap_explainer(model)
    for task in (1, "task_1", -2):
        explanation = explainer(X[:20], task=task)
        np.testing.assert_array_equal(explanation.values, values[:, 1, :-1])
        np.testing.assert_array_equal(explanation.base_values, values[:, 1, -1])
        assert explanation.output_names == "task_1"
    by_name = explainer(X[:20])[:, :, "task_1"]
    np.testing.assert_array_equal(by_name.values, explanation.values)
    with pytest.raises(ValueError, match="task_0"):
        explainer(X[:20], task="task_7")


@pytest.mark.parametrize("plot", ["bar", "beeswarm"])
def test_plots_of_shap_draw_a_task(plot):
    matplotlib.use("Agg")
    from matplotlib import pyplot

    model, X = fit(3)
    explanation = shap_explainer(model)(X[:30], task="task_2")
    axes = getattr(shap.plots, plot)(explanation, show=False)
    assert any(label.get_text() == "x2" for label in axes.get_yticklabels())
    pyplot.close(axes.figure)


def naive_interventional(forest, row, background):
    """Mean over the background of the scores with some features of the row: the Shapley values."""
    from itertools import combinations
    from math import comb

    n = len(row)
    value = {}
    for size in range(n + 1):
        for known in combinations(range(n), size):
            mixed = background.copy()
            mixed[:, known] = row[list(known)]
            value[frozenset(known)] = forest.raw_predict(mixed, 1).mean(axis=0)
    out = np.zeros((n, forest.n_outputs))
    for known, mean in value.items():
        for j in known:
            share = 1 / (n * comb(n - 1, len(known) - 1))
            out[j] += share * (mean - value[known - {j}])
    return out


def test_background_data_are_shaps_business():
    model, X = fit(3, n_estimators=4)
    explainer = shap_explainer(model, X[:25])
    explanation = explainer(X[100:104])
    expected = [naive_interventional(model.forest_, row, X[:25]) for row in X[100:104]]
    np.testing.assert_allclose(explanation.values, expected, rtol=0, atol=CLOSE)
    mean = model.raw_predict(X[:25]).mean(axis=0)
    np.testing.assert_allclose(explainer.expected_value, mean, rtol=0, atol=CLOSE)


def test_background_data_and_categories_do_not_go_together():
    model, X = fit_categories()
    assert shap_explainer(model)(X[:3]).values.shape == (3, N_FEATURES, 2)
    with pytest.raises(ValueError, match="no splits on sets of categories; leave out `data`"):
        shap_explainer(model, X[:10])


# LightGBM -----------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda: fit(1), lambda: fit(3), lambda: fit(10), fit_categories])
def test_values_are_those_of_the_exported_model(make):
    model, X = make()
    ours = pred_contrib(model, X)
    theirs = to_lightgbm(model).predict(X, pred_contrib=True).reshape(ours.shape)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=CLOSE)


def rebuilt(booster, n_outputs=1):
    """LightGBM's trees as a forest of ours: tree i belongs to output i modulo their number."""
    trees = []
    for number, info in enumerate(booster.dump_model()["tree_info"]):
        nodes, bitsets, values, counts = [], [], [], []
        _add_node(info["tree_structure"], nodes, bitsets, values, counts)
        table = np.zeros((len(values), n_outputs))
        table[:, number % n_outputs] = values
        bitsets = np.array(bitsets, dtype=np.uint32).reshape(-1, 8)
        trees.append(
            Tree(np.concatenate(nodes), bitsets, table, None, None, np.array(counts), None)
        )
    return Forest(np.zeros(n_outputs), booster.num_feature(), trees)


def _add_node(source, nodes, bitsets, values, counts):
    node = np.zeros(1, dtype=NODE_DTYPE)
    node["leaf"] = node["bitset"] = node["feature"] = -1
    nodes.append(node)
    if "split_feature" not in source:
        node["leaf"] = len(values)
        values.append(source["leaf_value"])
        counts.append(source["leaf_count"])
        return
    counts.append(source["internal_count"])
    node["feature"] = source["split_feature"]
    if source["decision_type"] == "==":
        node["bitset"] = len(bitsets)
        bitset = np.zeros(8, dtype=np.uint32)
        for category in map(int, source["threshold"].split("||")):
            bitset[category // 32] |= np.uint32(1) << np.uint32(category % 32)
        bitsets.append(bitset)
    else:
        assert source["missing_type"] == "NaN"
        node["threshold"] = source["threshold"]
        node["missing_left"] = source["default_left"]
    for side in ("left", "right"):
        node[side] = len(nodes)
        _add_node(source[f"{side}_child"], nodes, bitsets, values, counts)


def fit_lightgbm(y, *, categorical=(), **options):
    X, _ = make_table()
    X[:, list(categorical)] = np.random.default_rng(2).integers(0, 40, (len(X), len(categorical)))
    parameters = {"n_estimators": 20, "verbose": -1, "n_jobs": 1} | options
    model = lightgbm.LGBMClassifier(**parameters)
    return model.fit(X, y, categorical_feature=list(categorical)), X


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_leaves": 4},
        {"num_leaves": 127, "min_child_samples": 2},
        {"subsample": 0.5, "subsample_freq": 1},
        {"categorical": (0, 4), "min_data_per_group": 5, "cat_smooth": 1.0},
    ],
    ids=str,
)
def test_values_are_those_of_lightgbm(options):
    y = make_table()[1][:, 0]
    model, X = fit_lightgbm(y, **options)
    forest = rebuilt(model.booster_)
    if "categorical" in options:
        assert any(len(tree.bitsets) for tree in forest.trees)
    np.testing.assert_allclose(
        forest.raw_predict(X, 1)[:, 0], model.predict(X, raw_score=True), rtol=0, atol=1e-12
    )
    theirs = model.predict(X[:200], pred_contrib=True)
    ours = contributions(forest, X[:200], 1)[:, 0]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=CLOSE)


def test_values_are_those_of_lightgbm_with_several_outputs():
    y = np.digitize(np.nan_to_num(make_table()[0][:, 1]), [-0.5, 0.5])
    model, X = fit_lightgbm(y, objective="multiclass")
    theirs = model.predict(X[:100], pred_contrib=True).reshape(100, 3, N_FEATURES + 1)
    ours = contributions(rebuilt(model.booster_, 3), X[:100], 1)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=CLOSE)
