"""Explanations of fitted estimators, whatever they learned from; scikit-learn's inspection."""

import sys

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.calibration import calibration_curve
from sklearn.exceptions import NotFittedError
from sklearn.inspection import partial_dependence, permutation_importance

from mtgbm import MultiTaskLGBMClassifier
from mtgbm.explanation import SingleTask, output_names, pred_contrib, shap_explainer
from mtgbm.metrics import make_task_scorer


@pytest.fixture(scope="module")
def data(make_data):
    return make_data(n_rows=400)


@pytest.fixture(scope="module")
def model(data, make_model):
    return make_model().fit(*data)


def check_sums(model, X):
    values = pred_contrib(model, X)
    raw = model.raw_predict(X)
    assert values.shape == (*raw.shape, model.n_features_in_ + 1)
    assert_allclose(values.sum(axis=2), raw, rtol=0, atol=1e-9)
    return values


def test_contributions_sum_to_the_scores(model, data):
    values = check_sums(model, data[0])
    assert np.ptp(values[:, :, :-1], axis=0).max(axis=1).min() > 0


@pytest.mark.parametrize("n_jobs", [1, 2, -1])
def test_threads_change_nothing(model, data, n_jobs):
    expected = pred_contrib(model, data[0])
    other = MultiTaskLGBMClassifier(**(model.get_params() | {"n_jobs": n_jobs}))
    other.__dict__.update({k: v for k, v in vars(model).items() if k.endswith("_") or k[0] == "_"})
    assert_array_equal(pred_contrib(other, data[0]), expected)


def test_one_binary_target(data, make_model):
    X, Y = data
    model = make_model().fit(X, np.where(Y[:, 0] > 0, "yes", "no"))
    assert check_sums(model, X).shape == (len(X), 1, 6)
    assert output_names(model) == ["task_0"]


def test_a_multiclass_task_among_others(data, make_model):
    X, Y = data
    Y = pd.DataFrame({"late": Y[:, 0], "cause": np.digitize(X[:, 1], [-0.5, 0.5])})
    model = make_model(objective={"cause": "multiclass"}).fit(X, Y)
    assert check_sums(model, X).shape == (len(X), 4, 6)
    assert output_names(model) == ["late", "cause=0.0", "cause=1.0", "cause=2.0"]


def test_a_frame_with_categories(data, make_model):
    X, Y = data
    frame = pd.DataFrame(X, columns=list("abcde"))
    frame["c"] = pd.Categorical(np.where(Y[:, 0] + X[:, 3] > 0.5, "red", "blue"))
    frame.iloc[:50, 1] = np.nan
    model = make_model().fit(frame, Y)
    values = check_sums(model, frame)
    unknown = frame.assign(c=pd.Categorical(["green"] * len(frame)))
    check_sums(model, unknown)
    assert values[:, 0, 2].any()


def test_sparse_rows(data, make_model):
    X, Y = data
    X = np.where(np.abs(X) < 0.5, 0.0, X)
    model = make_model().fit(X, Y)
    assert_array_equal(pred_contrib(model, sparse.csr_matrix(X)), pred_contrib(model, X))


def test_tasks_that_stopped_earlier(make_data, make_model):
    X, Y = make_data(n_rows=400)
    Y[:, 2] = np.random.default_rng(0).integers(0, 2, len(Y))
    model = make_model(
        n_estimators=40, early_stopping_rounds=3, best_round_per_task=True, random_state=0
    ).fit(X, Y)
    assert len(set(model.best_iteration_per_task_.values())) > 1
    check_sums(model, X)


def test_a_model_without_trees(make_model):
    X = np.zeros((30, 2))
    Y = np.tile([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]], (10, 1))
    model = make_model().fit(X, Y)
    assert not model.forest_.trees
    assert not check_sums(model, X)[:, :, :-1].any()


def test_bad_input(model):
    with pytest.raises(NotFittedError):
        pred_contrib(MultiTaskLGBMClassifier(), np.zeros((1, 5)))
    with pytest.raises(ValueError, match="X has 3 features"):
        pred_contrib(model, np.zeros((1, 3)))
    with pytest.raises(ValueError, match="infinity"):
        pred_contrib(model, np.full((1, 5), np.inf))


def test_shap_is_asked_for_by_name(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "shap", None)
    with pytest.raises(ImportError, match="shap_explainer needs shap: pip install shap"):
        shap_explainer(model)


# One task -----------------------------------------------------------------------------------


def test_a_single_task_is_a_binary_classifier(model, data):
    X, Y = data
    for task in (1, "task_1"):
        single = SingleTask(model, task)
        assert_array_equal(single.classes_, [0, 1])
        proba = single.predict_proba(X)
        assert_array_equal(proba[:, 1], model.predict_proba(X)[:, 1])
        assert_array_equal(proba.sum(axis=1), 1.0)
        assert_array_equal(single.predict(X), model.predict(X)[:, 1])
        assert single.score(X, Y[:, 1]) > 0.7
    with pytest.raises(ValueError, match="task_2"):
        SingleTask(model, "task_3").predict(X)


def test_a_single_multiclass_task(data, make_model):
    X, Y = data
    Y = np.column_stack([Y[:, 0], np.digitize(X[:, 1], [-0.5, 0.5])])
    model = make_model(objective=["binary", "multiclass"]).fit(X, Y)
    single = SingleTask(model, 1)
    assert_array_equal(single.classes_, [0, 1, 2])
    assert single.predict_proba(X).shape == (len(X), 3)
    assert single.score(X, Y[:, 1]) > 0.7


def test_the_only_task(data, make_model):
    X, Y = data
    labels = np.where(Y[:, 0] > 0, "yes", "no")
    model = make_model().fit(X, labels)
    single = SingleTask(model).fit(X, labels)
    assert_array_equal(single.classes_, ["no", "yes"])
    assert_array_equal(single.predict(X), model.predict(X))
    assert_array_equal(single.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("task", [0, 1, 2])
def test_partial_dependence(model, data, task):
    """Of the task's own feature on its probability: the mean over the rows, by hand."""
    X, _ = data
    result = partial_dependence(SingleTask(model, task), X, [task], grid_resolution=5)
    for value, average in zip(result["grid_values"][0], result["average"][0], strict=True):
        changed = X.copy()
        changed[:, task] = value
        assert_allclose(average, model.predict_proba(changed)[:, task].mean(), rtol=1e-12)
    assert result["average"][0][-1] > result["average"][0][0]


def test_partial_dependence_by_name(data, make_model):
    X = pd.DataFrame(data[0], columns=list("abcde"))
    single = SingleTask(make_model().fit(X, data[1]), 2)
    assert_array_equal(single.feature_names_in_, X.columns)
    by_name = partial_dependence(single, X, ["c"], grid_resolution=5)["average"]
    by_place = partial_dependence(single, X, [2], grid_resolution=5)["average"]
    assert_array_equal(by_name, by_place)


@pytest.mark.parametrize("task", [0, 1, 2])
def test_permutation_importance(model, data, task):
    """A task's own feature and the one in common matter; features of no task do not."""
    X, Y = data
    scorer = make_task_scorer("roc_auc", task=task)
    result = permutation_importance(model, X, Y, scoring=scorer, n_repeats=3, random_state=0)
    means = result.importances_mean
    assert means[[0, task]].min() > 3 * np.abs(means[3:]).max()


def test_permutation_importance_of_all_tasks(model, data):
    X, Y = data
    scoring = {f"task {t}": make_task_scorer("roc_auc", task=t) for t in range(3)}
    results = permutation_importance(model, X, Y, scoring=scoring, n_repeats=2, random_state=0)
    assert list(results) == list(scoring)


def test_calibration_of_a_single_task(model, data):
    X, Y = data
    shares, means = calibration_curve(Y[:, 0], SingleTask(model).predict_proba(X)[:, 1], n_bins=5)
    assert np.corrcoef(shares, means)[0, 1] > 0.8
