"""Affinity of tasks against its definition; shared models beside dedicated ones."""

import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import mtgbm
from mtgbm import RiskTableEncoder
from mtgbm.datasets import load_flights
from mtgbm.diagnostics import NegativeTransferWarning, negative_transfer
from mtgbm.weighting import FixedWeighting


@pytest.fixture(scope="module")
def opposed(make_model):
    """A model of a task, its opposite, one that has nothing to do with it, and a related one."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 5))
    one = X[:, 0] + 0.5 * rng.normal(size=4000) > 0
    other = X[:, 1] + 0.5 * rng.normal(size=4000) > 0
    related = X[:, 0] + X[:, 2] + 0.5 * rng.normal(size=4000) > 0
    Y = np.column_stack([one, ~one, other, related]).astype(float)
    return X, Y, make_model(n_estimators=20).fit(X, Y)


def naive_affinity(model, i, j):
    """The definition for two binary tasks, leaf by leaf."""
    products, squares_i, squares_j = 0.0, 0.0, 0.0
    for tree in model.forest_.trees:
        for node in np.flatnonzero(tree.nodes["leaf"] >= 0):
            g, h = tree.gradients[node], tree.hessians[node]
            if h[i] > 0 and h[j] > 0:
                products += g[i] * g[j] / np.sqrt(h[i] * h[j])
                squares_i += g[i] ** 2 / h[i]
                squares_j += g[j] ** 2 / h[j]
    return products / np.sqrt(squares_i * squares_j)


# Affinity


def test_affinity_is_the_cosine_of_newton_steps(make_data, make_model):
    model = make_model().fit(*make_data(n_tasks=3, missing=0.6))
    expected = [[naive_affinity(model, i, j) for j in range(3)] for i in range(3)]
    assert_allclose(model.task_affinity_, expected, rtol=1e-9)


def test_opposite_tasks_have_minus_one_and_unrelated_ones_nothing(opposed):
    _, _, model = opposed
    affinity = model.task_affinity_
    assert_array_equal(affinity, affinity.T)
    assert_allclose(np.diag(affinity), 1)
    assert affinity[0, 1] < -0.99
    assert abs(affinity[0, 2]) < 0.15
    assert 0.3 < affinity[0, 3] < 0.95


def test_a_task_of_a_single_class_has_no_affinity(make_data, make_model):
    X, Y = make_data()
    Y[:, 1] = 0
    with pytest.warns(UserWarning, match="single class"):
        affinity = make_model().fit(X, Y).task_affinity_
    assert np.isnan(affinity[1]).all()
    assert np.isnan(affinity[:, 1]).all()
    assert np.isfinite(affinity[np.ix_([0, 2], [0, 2])]).all()


def test_only_leaves_with_labels_of_both_tasks_count(make_data, make_model):
    X, Y = make_data(n_tasks=2)
    model = make_model(n_estimators=1).fit(X, Y)
    before = model.task_affinity_
    tree = model.forest_.trees[0]
    (node, *_) = np.flatnonzero(tree.nodes["leaf"] >= 0)
    tree.gradients[node] = [1e6, 0]
    tree.hessians[node] = [1.0, 0]
    others = np.delete(np.flatnonzero(tree.nodes["leaf"] >= 0), 0)
    steps = tree.gradients[others] / np.sqrt(tree.hessians[others])
    cosine = steps[:, 0] @ steps[:, 1] / np.linalg.norm(steps, axis=0).prod()
    assert_allclose(model.task_affinity_[0, 1], cosine)
    assert model.task_affinity_[0, 1] != before[0, 1]


def test_a_multiclass_task_has_affinity_without_a_sign(make_model):
    """As one of two classes and as a binary task, labels are the same in other clothes."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(3000, 4))
    one = (X[:, 0] + 0.3 * rng.normal(size=3000) > 0).astype(float)
    three = np.digitize(X[:, 0] + 0.3 * rng.normal(size=3000), [-0.5, 0.5])
    unrelated = np.digitize(X[:, 1], [-0.5, 0.5])
    Y = np.column_stack([one, 1 - one, three, unrelated])
    kinds = ["binary", "multiclass", "multiclass", "multiclass"]
    affinity = make_model(objective=kinds, n_estimators=10).fit(X, Y).task_affinity_
    assert_allclose(np.diag(affinity), 1)
    assert affinity[0, 1] > 0.98
    assert 0.5 < affinity[0, 2] < 1
    assert 0 <= affinity[0, 3] < 0.2


def test_a_forest_without_trees_has_no_affinity(make_model):
    X, Y = np.zeros((50, 1)), np.tile([[0.0, 1], [1, 0]], (25, 1))
    assert np.isnan(make_model().fit(X, Y).task_affinity_).all()


def test_affinity_survives_a_model_file(opposed, tmp_path):
    _, _, model = opposed
    model.save_model(tmp_path / "model")
    loaded = mtgbm.load_model(tmp_path / "model")
    assert_array_equal(loaded.task_affinity_, model.task_affinity_)


# Negative transfer


def test_scores_are_those_of_the_two_models(make_data, make_model):
    X, Y = make_data(n_rows=800, missing=0.3)
    X_val, Y_val = make_data(n_rows=400, missing=0.3, seed=1)
    shared = make_model().fit(X, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NegativeTransferWarning)
        report = negative_transfer(shared, X, Y, X_val, Y_val)
    for task, row in enumerate(report.rows):
        known, scored = ~np.isnan(Y[:, task]), ~np.isnan(Y_val[:, task])
        dedicated = make_model().fit(X[known], Y[known, task])
        truth = Y_val[scored, task]
        ours, own = (
            shared.predict_proba(X_val)[scored, task],
            dedicated.predict_proba(X_val)[scored, 1],
        )
        assert row.task == f"task_{task}"
        assert row.labelled_rows == known.sum()
        assert_allclose(row.auc_shared, roc_auc_score(truth, ours))
        assert_allclose(row.auc_dedicated, roc_auc_score(truth, own))
        assert_allclose(row.log_loss_shared, log_loss(truth, ours))
        assert_allclose(row.log_loss_dedicated, log_loss(truth, own))
        assert_allclose(row.auc_difference, row.auc_shared - row.auc_dedicated)
        assert_allclose(row.log_loss_difference, row.log_loss_shared - row.log_loss_dedicated)


def conflicting(rng, n_rows):
    """A hard task beside an easy one on other features, which takes all splits."""
    X = rng.normal(size=(n_rows, 6))
    easy = X[:, 0] + X[:, 1] > 0
    hard = np.sin(3 * X[:, 2]) + 1.5 * rng.normal(size=n_rows) > 0
    return X, pd.DataFrame({"easy": easy, "hard": hard}).astype(float)


def test_a_task_that_loses_is_named(make_model):
    rng = np.random.default_rng(0)
    X, Y = conflicting(rng, 2000)
    X_val, Y_val = conflicting(rng, 2000)
    model = make_model(
        n_estimators=10, num_leaves=4, weighting=FixedWeighting(main_weight=1.0, sub_weight=0.0)
    )
    with pytest.warns(NegativeTransferWarning, match=r"^hard: a model of its own"):
        report = negative_transfer(model, X, Y, X_val, Y_val)
    assert report.harmed == ["hard"]
    easy, hard = report.rows
    assert easy.verdict == "even"
    assert hard.auc_difference < -0.02
    frame = report.to_frame()
    assert list(frame.index) == ["easy", "hard"]
    assert frame.loc["hard", "verdict"] == "negative transfer"
    lines = str(report).splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("hard")
    assert lines[2].endswith("negative transfer")


def test_a_wide_tolerance_finds_everything_even(make_data, make_model):
    X, Y = make_data(n_rows=400)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = negative_transfer(make_model(), X, Y, X, Y, tolerance=1.0)
    assert [row.verdict for row in report.rows] == ["even"] * 3


def test_few_labels_gain_from_tasks_with_many(make_model):
    rng = np.random.default_rng(3)
    X, X_val = rng.normal(size=(2, 3000, 8))

    def labels(X):
        score = X[:, 0] + X[:, 1] * X[:, 2]
        return np.column_stack([score + rng.normal(size=3000) > 0 for _ in range(2)]).astype(float)

    Y, Y_val = labels(X), labels(X_val)
    Y[150:, 1] = np.nan
    report = negative_transfer(make_model(n_estimators=40), X, Y, X_val, Y_val, tolerance=0.01)
    assert report.rows[1].labelled_rows == 150
    assert report.rows[1].verdict == "gains"


def test_a_fitted_estimator_is_not_fitted_again(make_data, make_model):
    X, Y = make_data()
    model = make_model(n_estimators=3).fit(X, Y)
    forest = model.forest_
    negative_transfer(model, X, Y, X, Y, tolerance=1)
    assert model.forest_ is forest


def test_parameters_by_task_follow_their_task(make_data, make_model):
    """Constraints of task_1 reach its dedicated model, and only that."""
    X, Y = make_data(n_rows=600)
    constraints = {"task_1": [0, -1, 0, 0, 0]}
    model = make_model(
        monotone_constraints=constraints, scale_pos_weight={"task_2": 5.0}, sketch_outputs=None
    )
    report = negative_transfer(model, X, Y, X, Y, tolerance=1)
    by_hand = [
        make_model(sketch_outputs=None),
        make_model(sketch_outputs=None, monotone_constraints=constraints["task_1"]),
        make_model(sketch_outputs=None, scale_pos_weight=5.0),
    ]
    for task, own in enumerate(by_hand):
        probability = own.fit(X, Y[:, task]).predict_proba(X)[:, 1]
        assert_allclose(report.rows[task].log_loss_dedicated, log_loss(Y[:, task], probability))


def test_a_multiclass_task_is_compared_by_log_loss(make_data, make_model):
    X, Y = make_data(n_rows=600)
    y = np.array(["none", "one", "two", "three"], dtype=object)[Y.sum(axis=1).astype(int)]
    y[:30] = None
    table = pd.DataFrame({"first": Y[:, 0], "count": y})
    model = make_model(objective={"count": "multiclass"}).fit(X, table)
    first, count = negative_transfer(model, X, table, X, table, tolerance=1).rows
    assert np.isnan(count.auc_shared)
    assert count.verdict == "even"
    known = np.arange(len(X)) >= 30
    expected = log_loss(y[known].tolist(), model.predict_proba(X)[1][known])
    assert_allclose(count.log_loss_shared, expected)
    assert 0 < count.log_loss_dedicated < 1.2
    assert np.isfinite(first.auc_dedicated)


def test_a_pipeline_learns_its_encoding_for_each_model(make_model):
    X, Y = load_flights(return_X_y=True)
    rows = np.linspace(0, len(X) - 1, 3000).astype(int)
    X, Y = X.iloc[rows], Y.iloc[rows]
    pipeline = make_pipeline(RiskTableEncoder(random_state=0), make_model(n_estimators=10))
    weight = np.linspace(0.5, 1.5, 2000)
    report = negative_transfer(
        pipeline, X[:2000], Y[:2000], X[2000:], Y[2000:], tolerance=1, sample_weight=weight
    )
    assert [row.task for row in report.rows] == list(Y.columns)
    assert all(0.5 < row.auc_shared < 1 for row in report.rows)
    known = Y[:2000]["cancelled"].notna().to_numpy()
    own = make_pipeline(RiskTableEncoder(random_state=0), make_model(n_estimators=10))
    own.fit(
        X[:2000][known],
        Y[:2000]["cancelled"][known],
        multitasklgbmclassifier__sample_weight=weight[known],
    )
    auc = roc_auc_score(Y[2000:]["cancelled"], own.predict_proba(X[2000:])[:, 1])
    assert_allclose(report.rows[-1].auc_dedicated, auc)


def test_a_task_without_validation_labels_has_no_score(make_data, make_model):
    X, Y = make_data()
    Y_val = Y.copy()
    Y_val[:, 1] = np.nan
    report = negative_transfer(make_model(), X, Y, X, Y_val, tolerance=1)
    assert report.rows[1].verdict == "no score"
    assert np.isnan(report.rows[1].log_loss_shared)


# Bad input


def test_a_single_task_has_nothing_to_be_compared_with(make_data, make_model):
    X, Y = make_data()
    with pytest.raises(ValueError, match="Y has one task only"):
        negative_transfer(make_model(), X, Y[:, 0], X, Y[:, 0])


def test_other_tasks_than_those_of_the_model_are_refused(make_data, make_model):
    X, Y = make_data()
    model = make_model().fit(X, Y)
    table = pd.DataFrame(Y, columns=list("abc"))
    with pytest.raises(ValueError, match=r"Y has the tasks \['a', 'b', 'c'\]"):
        negative_transfer(model, X, table, X, table)


@pytest.mark.parametrize("estimator", [StandardScaler(), make_pipeline(StandardScaler())])
def test_other_estimators_are_refused(make_data, estimator):
    X, Y = make_data()
    with pytest.raises(TypeError, match="expected a MultiTaskLGBMClassifier or a Pipeline"):
        negative_transfer(estimator, X, Y, X, Y)


def test_a_task_without_labels_has_no_dedicated_model(make_data, make_model):
    X, Y = make_data()
    model = make_model().fit(X, Y)
    Y[:, 1] = np.nan
    with pytest.raises(ValueError, match="task 'task_1' has no label to learn from"):
        negative_transfer(model, X, Y, X, Y)


def test_a_negative_tolerance_is_refused(make_data, make_model):
    X, Y = make_data()
    with pytest.raises(ValueError, match="tolerance must be at least 0"):
        negative_transfer(make_model(), X, Y, X, Y, tolerance=-1)
