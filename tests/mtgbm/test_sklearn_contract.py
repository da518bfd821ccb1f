"""The scikit-learn contract: its checks, its searches, its routing, its pipelines."""

from unittest import SkipTest

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import get_scorer, roc_auc_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr
from sklearn.utils.estimator_checks import parametrize_with_checks

import mtgbm
from mtgbm import MultiTaskLGBMClassifier
from mtgbm.metrics import (
    masked_average_precision_scorer,
    masked_log_loss_scorer,
    masked_roc_auc_scorer,
)
from mtgbm.weighting import FixedWeighting

NO_DECISION_FUNCTION = "check_classifiers_multilabel_output_format_decision_function"
WEIGHTS_AS_REPETITIONS = (
    "check_sample_weight_equivalence_on_dense_data",
    "check_sample_weight_equivalence_on_sparse_data",
)


def configuration(**params):
    return MultiTaskLGBMClassifier(n_estimators=8, n_jobs=1, **params)


def name_of(check):
    return check.func.__name__


@pytest.mark.filterwarnings("ignore:task 'task_0' has a single class")
@parametrize_with_checks(
    [
        configuration(),
        configuration(split_criterion="gradient_sum"),
        configuration(subsample=0.7, subsample_freq=1, colsample_bytree=0.7, random_state=0),
        configuration(early_stopping_rounds=3, best_round_per_task=True),
        configuration(weighting=FixedWeighting(sub_weight=0.3), track_training_score=True),
        configuration(max_bin=15, reg_lambda=1.0, reg_alpha=0.1, max_depth=3),
    ]
)
def test_scikit_learn_checks(estimator, check):
    if name_of(check) == NO_DECISION_FUNCTION:
        # Decisions of several tasks would have to be indices into classes_, of shape (T, 2).
        with pytest.raises(SkipTest, match="does not have a decision_function"):
            check(estimator)
    elif name_of(check) in WEIGHTS_AS_REPETITIONS and estimator.early_stopping_rounds:
        # A random hold-out puts the repetitions of a row on both sides, a weighted row on one.
        with pytest.raises(AssertionError, match="not equivalent to fitting with removed or rep"):
            check(estimator)
    else:
        check(estimator)


def test_every_public_name_is_there():
    assert all(hasattr(mtgbm, name) for name in mtgbm.__all__)


def one_or_many(Y):
    return Y[:, 0] if Y.shape[1] == 1 else Y


@pytest.mark.parametrize("n_tasks", [1, 2, 3, 5])
def test_grid_search_with_roc_auc_is_the_mean_of_the_folds(make_data, make_model, n_tasks):
    X, Y = make_data(n_tasks=n_tasks)
    y = one_or_many(Y)
    cv = KFold(3)
    search = GridSearchCV(
        make_model(n_estimators=4), {"num_leaves": [3, 8]}, scoring="roc_auc", cv=cv
    ).fit(X, y)

    def of_fold(leaves, train, test):
        model = make_model(n_estimators=4, num_leaves=leaves).fit(X[train], y[train])
        scores = model.predict_proba(X[test])
        return roc_auc_score(y[test], scores[:, 1] if n_tasks == 1 else scores)

    expected = [np.mean([of_fold(leaves, *fold) for fold in cv.split(X)]) for leaves in (3, 8)]
    assert_allclose(search.cv_results_["mean_test_score"], expected, rtol=1e-12)
    assert search.best_score_ > 0.8


@pytest.mark.parametrize("n_tasks", [1, 2, 3, 5])
def test_cross_val_predict_is_every_folds_own_prediction(make_data, make_model, n_tasks):
    X, Y = make_data(n_tasks=n_tasks)
    y = one_or_many(Y)
    cv = KFold(3)
    found = cross_val_predict(make_model(), X, y, cv=cv, method="predict_proba")
    assert found.shape == (len(X), max(2, n_tasks))
    for train, test in cv.split(X):
        assert_array_equal(found[test], make_model().fit(X[train], y[train]).predict_proba(X[test]))


@pytest.mark.parametrize("n_tasks", [1, 2, 3, 5])
@pytest.mark.parametrize(
    "scorer",
    [masked_roc_auc_scorer, masked_average_precision_scorer, masked_log_loss_scorer],
    ids=["roc_auc", "average_precision", "log_loss"],
)
def test_masked_scorers_search_over_missing_labels(make_data, make_model, n_tasks, scorer):
    X, Y = make_data(n_tasks=n_tasks, missing=0.3)
    y = one_or_many(Y)
    search = GridSearchCV(
        make_model(), {"n_estimators": [1, 8]}, scoring=scorer, cv=KFold(3), error_score="raise"
    ).fit(X, y)
    assert search.best_params_ == {"n_estimators": 8}
    folds = cross_val_score(make_model(), X, y, scoring=scorer, cv=KFold(3))
    assert_allclose(folds.mean(), search.best_score_, rtol=1e-12)


def test_search_in_parallel_finds_the_same(make_data, make_model):
    X, Y = make_data()
    grid = {"num_leaves": [3, 8]}
    alone, together = (
        GridSearchCV(make_model(n_jobs=None), grid, scoring="roc_auc", cv=3, n_jobs=n).fit(X, Y)
        for n in (1, 2)
    )
    assert_array_equal(
        alone.cv_results_["mean_test_score"], together.cv_results_["mean_test_score"]
    )
    assert_array_equal(alone.predict_proba(X), together.predict_proba(X))


def test_parameters_of_the_weighting_can_be_searched(make_data, make_model):
    X, Y = make_data()
    weighting = FixedWeighting()
    search = GridSearchCV(
        make_model(weighting=weighting),
        {"weighting__sub_weight": [0.0, 1.0]},
        scoring="roc_auc",
        cv=3,
    ).fit(X, Y)
    first, second = search.cv_results_["mean_test_score"]
    assert first != second
    assert weighting.sub_weight == 1.0
    model = make_model(weighting=weighting).set_params(weighting__sub_weight=0.25).fit(X, Y)
    assert_array_equal(model.weight_evolution_, np.tile([1.0, 0.25, 0.25], (8, 1)))


def test_fit_leaves_the_weighting_object_alone(make_data, make_model):
    X, Y = make_data()
    weighting = FixedWeighting(sub_weight=0.5)
    before = dict(vars(weighting))
    model = make_model(weighting=weighting).fit(X, Y)
    assert model.weighting is weighting
    assert vars(weighting) == before


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.usefixtures("routing")
def test_weights_and_masks_are_routed_through_a_search(make_data, make_model):
    X, Y = make_data()
    rng = np.random.default_rng(1)
    weight = rng.integers(1, 5, len(X)).astype(float)
    mask = rng.random(Y.shape) < 0.7
    cv = KFold(3)
    model = make_model().set_fit_request(sample_weight=True, label_mask=True)
    scorer = get_scorer("roc_auc").set_score_request(sample_weight=False)
    search = GridSearchCV(model, {"num_leaves": [6]}, scoring=scorer, cv=cv)
    search.fit(X, Y, sample_weight=weight, label_mask=mask)
    expected = [
        roc_auc_score(
            Y[test],
            make_model()
            .fit(X[train], Y[train], sample_weight=weight[train], label_mask=mask[train])
            .predict_proba(X[test]),
        )
        for train, test in cv.split(X)
    ]
    assert_allclose(search.best_score_, np.mean(expected), rtol=1e-12)
    refit = make_model().fit(X, Y, sample_weight=weight, label_mask=mask)
    assert_array_equal(search.predict_proba(X), refit.predict_proba(X))


@pytest.mark.usefixtures("routing")
def test_masked_scorers_work_with_metadata_routing(make_data, make_model):
    X, Y = make_data(missing=0.2)
    mask = np.random.default_rng(1).random(Y.shape) < 0.7
    model = make_model().set_fit_request(label_mask=True)
    search = GridSearchCV(
        model,
        {"n_estimators": [1, 8]},
        scoring=masked_roc_auc_scorer,
        cv=KFold(3),
        error_score="raise",
    ).fit(X, Y, label_mask=mask)
    assert search.best_params_ == {"n_estimators": 8}


@pytest.mark.usefixtures("routing")
def test_validation_rows_reach_fit_through_pipeline_and_search(make_data, make_model):
    X, Y = make_data()
    X_val, Y_val = make_data(n_rows=80, seed=1)
    X_val = X_val * 3 + 5  # on the scale of X only once the scaler has seen them
    X = X * 3 + 5
    model = make_model(n_estimators=30, learning_rate=0.5, early_stopping_rounds=3)
    pipeline = Pipeline(
        [
            ("scale", StandardScaler()),
            ("model", model.set_fit_request(X_val=True, y_val=True)),
        ],
        transform_input=["X_val"],
    )
    search = GridSearchCV(pipeline, {"model__num_leaves": [4]}, scoring="roc_auc", cv=KFold(3))
    search.fit(X, Y, X_val=X_val, y_val=Y_val)
    scaler = StandardScaler().fit(X)
    alone = make_model(
        n_estimators=30, learning_rate=0.5, early_stopping_rounds=3, num_leaves=4
    ).fit(scaler.transform(X), Y, X_val=scaler.transform(X_val), y_val=Y_val)
    best = search.best_estimator_
    assert best["model"].evals_result_ == alone.evals_result_
    assert_array_equal(best.predict_proba(X), alone.predict_proba(scaler.transform(X)))


def test_names_from_set_output_reach_the_model(make_data, make_model):
    X, Y = make_data()
    frame = pd.DataFrame(X, columns=list("abcde"))
    pipeline = Pipeline([("scale", StandardScaler()), ("model", make_model())])
    pipeline.set_output(transform="pandas").fit(frame, Y)
    assert_array_equal(pipeline["model"].feature_names_in_, list("abcde"))
    plain = make_model().fit(StandardScaler().fit_transform(X), Y)
    assert_array_equal(
        pipeline.predict_proba(frame), plain.predict_proba(StandardScaler().fit_transform(X))
    )


def test_clone_keeps_parameters_and_drops_what_was_learned(make_data, make_model):
    X, Y = make_data()
    model = make_model(weighting=FixedWeighting(sub_weight=[0.5, 0.1]), main_task="task_1")
    copied = clone(model.fit(X, Y))
    parameters, weighting = copied.get_params(deep=False), copied.weighting
    assert parameters.pop("weighting") is not model.weighting
    assert parameters.items() <= model.get_params(deep=False).items()
    assert weighting.get_params() == model.weighting.get_params()
    with pytest.raises(NotFittedError):
        copied.predict(X)


def test_html_representation(make_data, make_model):
    model = make_model(num_leaves=7)
    assert "MultiTaskLGBMClassifier" in estimator_html_repr(model)
    fitted = estimator_html_repr(model.fit(*make_data()))
    assert "MultiTaskLGBMClassifier" in fitted
    assert "num_leaves" in fitted


def test_decision_function_is_that_of_one_task(make_data, make_model):
    X, Y = make_data()
    assert not hasattr(make_model().fit(X, Y), "decision_function")
    binary = make_model().fit(X, Y[:, 0])
    assert_array_equal(binary.decision_function(X), binary.raw_predict(X)[:, 0])
    three = make_model().fit(X, Y[:, 0] + Y[:, 1])
    assert_array_equal(three.decision_function(X), three.raw_predict(X))


def test_score_is_the_share_of_rows_with_all_labels_right(make_data, make_model):
    X, Y = make_data()
    model = make_model().fit(X, Y)
    assert model.score(X, Y) == np.mean((model.predict(X) == Y).all(axis=1))
