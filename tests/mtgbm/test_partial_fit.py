"""Learning from more rows: added rounds, added tasks, and files of such models."""

import re

import numpy as np
import pandas as pd
import pytest
from lightgbm import Booster
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logit
from sklearn.metrics import log_loss, roc_auc_score

import mtgbm
from mtgbm.datasets import load_flights
from mtgbm.engine.boosting import Boosting
from mtgbm.io.lightgbm_text import read_lightgbm, write_lightgbm


@pytest.fixture(scope="module")
def parts(make_data):
    """Two parts of a table of three tasks with names."""
    X, Y = make_data(n_rows=900)
    Y = pd.DataFrame(Y, columns=["one", "two", "three"])
    return (X[:500], Y[:500]), (X[500:], Y[500:])


@pytest.fixture(scope="module")
def grown(parts, make_model):
    """A model of two tasks to which the second part added a third."""
    (X, Y), (X_more, Y_more) = parts
    model = make_model(n_estimators=4).fit(X, Y[["one", "two"]])
    return model.set_params(n_estimators=6).partial_fit(X_more, Y_more)


@pytest.fixture
def fails_early(monkeypatch):
    """`partial_fit` of a test that takes this must raise before training begins."""

    def forbid():
        monkeypatch.setattr(Boosting, "run", lambda *args: pytest.fail("training began"))

    return forbid


# More rounds


def test_the_first_call_is_fit(parts, make_model):
    (X, Y), _ = parts
    weight = np.linspace(0.5, 1.5, len(X))
    fitted = make_model().fit(X, Y, weight)
    assert_array_equal(make_model().partial_fit(X, Y, weight).raw_predict(X), fitted.raw_predict(X))


def test_the_same_rows_again_are_a_warm_start(parts, make_model):
    (X, Y), _ = parts
    twice = make_model(n_estimators=5).partial_fit(X, Y).partial_fit(X, Y)
    once = make_model(n_estimators=10).fit(X, Y)
    assert twice.best_iteration_ == 10
    assert_array_equal(twice.raw_predict(X), once.raw_predict(X))
    assert_array_equal(twice.weight_evolution_, once.weight_evolution_)


def test_old_trees_stay_and_new_ones_learn_from_the_new_rows(parts, make_model):
    (X, Y), (X_more, Y_more) = parts
    model = make_model(n_estimators=3).fit(X, Y)
    before = model.forest_
    model.set_params(n_estimators=4).partial_fit(X_more, Y_more)
    assert [a is b for a, b in zip(model.forest_.trees, before.trees, strict=False)] == [True] * 3
    assert len(before.trees) == 3  # the old forest is nobody else's
    assert [tree.counts[0] for tree in model.forest_.trees] == [500] * 3 + [400] * 4
    assert_array_equal(model.forest_.base_score, before.base_score)


def test_more_rows_make_better_models(make_model):
    X, Y = load_flights(return_X_y=True)
    rows = np.linspace(0, len(X) - 1, 4500).astype(int)
    X, Y = X.iloc[rows].select_dtypes("number"), Y.iloc[rows]
    rng = np.random.default_rng(0)
    first, second, held = np.split(rng.permutation(4500), [1500, 3000])
    model = make_model(n_estimators=20).partial_fit(X.iloc[first], Y.iloc[first])
    truth = Y.iloc[held]

    def loss():
        proba = pd.DataFrame(model.predict_proba(X.iloc[held]), truth.index, truth.columns)
        return np.mean(
            [log_loss(truth[task].dropna(), proba[task][truth[task].notna()]) for task in truth]
        )

    once = loss()
    model.partial_fit(X.iloc[second], Y.iloc[second])
    assert loss() < once


def test_draws_differ_from_call_to_call(parts, make_model):
    """With the same draws every call would see the same single feature."""
    (X, Y), (X_more, Y_more) = parts
    model = make_model(n_estimators=1, colsample_bytree=0.2).fit(X, Y)
    for _ in range(12):
        model.partial_fit(X_more, Y_more)
    roots = {int(tree.nodes["feature"][0]) for tree in model.forest_.trees[1:]}
    assert len(roots) > 2


def test_a_batch_of_one_class_still_teaches(parts, make_model):
    (X, Y), (X_more, Y_more) = parts
    model = make_model().fit(X, Y)
    before = model.predict_proba(X_more)[:, 1].mean()
    model.partial_fit(X_more, Y_more.assign(two=1.0))
    assert model.predict_proba(X_more)[:, 1].mean() > before + 0.1


def test_categories_keep_their_numbers_and_new_ones_are_missing(parts, make_model):
    (X, Y), _ = parts
    colour = pd.Categorical(np.where(X[:, 0] > 0, "red", "blue"))
    frame = pd.DataFrame({"x": X[:, 1], "colour": colour})
    other = frame.assign(colour=pd.Categorical(np.where(X[:, 0] > 0, "red", "green")))
    model = make_model(min_child_samples=2, min_data_per_group=1).fit(frame, Y)
    model.partial_fit(other, Y)
    missing = other.assign(colour=other["colour"].cat.remove_categories("green"))
    assert_array_equal(model.raw_predict(other), model.raw_predict(missing))
    assert model.forest_.trees[-1].nodes["feature"].max() == 1


def test_a_1d_y_whose_classes_are_told(make_model):
    X = np.random.default_rng(0).normal(size=(400, 3))
    y = np.array(["low", "mid", "top"])[np.digitize(X[:, 0], [-0.5, 0.5])]
    first = y != "top"
    model = make_model().partial_fit(X[first], y[first], classes=["top", "low", "mid"])
    assert list(model.classes_) == ["low", "mid", "top"]
    model.partial_fit(X, y).partial_fit(X, y)
    assert model.score(X, y) > 0.9


def test_classes_of_several_tasks_may_be_told(make_model):
    X = np.random.default_rng(0).normal(size=(400, 3))
    Y = np.column_stack([X[:, 1] > 0, np.digitize(X[:, 0], [-0.5, 0.5])]).astype(float)
    first = Y[:, 1] < 2
    model = make_model(objective=["binary", "multiclass"])
    model.partial_fit(X[first], Y[first], classes=[[0, 1], [0, 1, 2]]).partial_fit(X, Y)
    assert_array_equal(model.classes_[1], [0, 1, 2])
    assert model.predict_proba(X)[1].shape == (400, 3)


# More tasks


def test_a_new_task_has_nothing_in_old_trees(grown, parts):
    _, (X_more, Y_more) = parts
    assert grown.task_names_ == ["one", "two", "three"]
    assert grown.predict_proba(X_more).shape == (400, 3)
    for tree in grown.forest_.trees[:4]:
        for table in (tree.values, tree.gradients, tree.hessians, tree.gains):
            assert table.shape[1] == 3
            assert not table[:, 2].any()
            assert table[:, :2].any()
    assert_allclose(grown.forest_.base_score[2], logit(Y_more["three"].mean()))
    assert all(tree.gains[:, 2].any() for tree in grown.forest_.trees[4:])
    assert grown.best_iteration_per_task_ == dict.fromkeys(grown.task_names_, 10)
    assert_array_equal(grown.weight_evolution_[:4, 2], 0)
    assert grown.weight_evolution_.shape == (10, 3)
    grown.forest_.check()


def test_old_tasks_are_as_if_the_new_one_had_no_say(parts, make_model):
    """Of the last part only the new task is labelled: old scores do not move."""
    (X, Y), (X_more, Y_more) = parts
    model = make_model(n_estimators=4).fit(X, Y[["one", "two"]])
    before = model.raw_predict(X)
    with pytest.warns(UserWarning, match="no column for one, two, which learn nothing"):
        model.partial_fit(X_more, Y_more[["three"]])
    assert_array_equal(model.raw_predict(X)[:, :2], before)
    assert roc_auc_score(Y["three"], model.predict_proba(X)[:, 2]) > 0.85


def test_names_bring_columns_in_any_order(grown, parts, make_model):
    (X, Y), (X_more, Y_more) = parts
    other = make_model(n_estimators=4).fit(X, Y[["one", "two"]]).set_params(n_estimators=6)
    other.partial_fit(X_more, Y_more[["three", "two", "one"]])
    assert other.task_names_ == grown.task_names_
    assert_array_equal(other.raw_predict(X), grown.raw_predict(X))


def test_arrays_are_matched_by_position(grown, parts, make_model):
    (X, Y), (X_more, Y_more) = parts
    Y, Y_more = Y.to_numpy(), Y_more.to_numpy()
    model = make_model(n_estimators=4).fit(X, Y[:, :2]).set_params(n_estimators=6)
    model.partial_fit(X_more, Y_more)
    assert model.task_names_ == ["task_0", "task_1", "task_2"]
    assert_array_equal(model.raw_predict(X), grown.raw_predict(X))


def test_a_missing_column_is_one_without_labels(parts, make_model):
    (X, Y), (X_more, Y_more) = parts
    without, unlabelled = make_model().fit(X, Y), make_model().fit(X, Y)
    without.partial_fit(X_more, Y_more[["three", "one"]])
    unlabelled.partial_fit(X_more, Y_more.assign(two=np.nan))
    assert_array_equal(without.raw_predict(X), unlabelled.raw_predict(X))


def test_masks_and_weights_belong_to_the_columns_of_y(parts, make_model):
    (X, Y), (X_more, Y_more) = parts
    kept = np.random.default_rng(0).random((400, 2)) < 0.7
    columns = ["three", "one"]
    masked, weighted, missing = (make_model().fit(X, Y[["one", "two"]]) for _ in range(3))
    for model in (masked, weighted, missing):
        model.set_params(n_estimators=3)
    with pytest.warns(UserWarning, match="no column for two"):
        masked.partial_fit(X_more, Y_more[columns], label_mask=kept)
    with pytest.warns(UserWarning, match="no column for two"):
        weighted.partial_fit(X_more, Y_more[columns], task_weight=kept.astype(float))
    with pytest.warns(UserWarning, match="no column for two"):
        missing.partial_fit(X_more, Y_more[columns].where(kept))
    assert_array_equal(masked.raw_predict(X), missing.raw_predict(X))
    assert_allclose(weighted.raw_predict(X), missing.raw_predict(X))


def test_a_new_task_may_be_multiclass(parts, make_model):
    (X, Y), (X_more, Y_more) = parts
    wider = Y_more.assign(kind=np.digitize(X_more[:, 0], [-0.5, 0.5]))
    model = make_model(n_estimators=4).fit(X, Y).set_params(objective={"kind": "multiclass"})
    model.partial_fit(X_more, wider)
    assert model.forest_.n_outputs == 6
    assert_array_equal(model.classes_[3], [0, 1, 2])
    accuracy = (model.predict(X_more)[:, 3] == wider["kind"]).mean()
    assert accuracy > 0.9


def test_a_warm_start_takes_new_tasks_too(parts, make_model):
    (X, Y), _ = parts
    held = {"X_val": X, "y_val": Y[["one", "two"]]}
    model = make_model(n_estimators=4, warm_start=True).fit(X, Y[["one", "two"]], **held)
    before = model.evals_result_["validation"]["one:logloss"]
    model.set_params(n_estimators=10).fit(X, Y, X_val=X, y_val=Y)
    assert model.best_iteration_ == 10
    curves = model.evals_result_["validation"]
    assert curves["one:logloss"][:4] == before
    assert list(curves) == ["one:logloss", "two:logloss", "three:logloss"]
    assert np.isnan(curves["three:logloss"][:4]).all()
    assert_allclose(curves["three:logloss"][-1], log_loss(Y["three"], model.predict_proba(X)[:, 2]))


def test_early_stopping_compares_this_calls_rounds_only(parts, make_model):
    """Scores of an easier validation set in the first call are no measure for the second."""
    (X, Y), (X_more, Y_more) = parts
    stop = {"early_stopping_rounds": 3, "best_round_per_task": True}
    model = make_model(n_estimators=30, learning_rate=0.3, **stop)
    model.fit(X, Y[["one", "two"]], X_val=X, y_val=Y[["one", "two"]])
    first = model.best_iteration_
    model.partial_fit(X_more, Y_more, X_val=X[:200], y_val=Y[:200])
    curves = model.evals_result_["validation"]
    lengths = {len(curve) for curve in curves.values()}
    assert len(lengths) == 1
    for name, rounds in model.best_iteration_per_task_.items():
        assert rounds == first + 1 + np.argmin(curves[f"{name}:logloss"])
    loss = log_loss(Y["three"][:200], model.predict_proba(X[:200])[:, 2])
    assert_allclose(loss, min(curves["three:logloss"]))


def test_validation_labels_may_leave_tasks_out(parts, make_model):
    (X, Y), (X_more, Y_more) = parts
    model = make_model().fit(X, Y)
    model.partial_fit(X_more, Y_more, X_val=X, y_val=Y[["three"]])
    curves = model.evals_result_["validation"]
    assert np.isnan(curves["one:logloss"]).all()
    assert np.isfinite(curves["three:logloss"]).all()


def test_only_the_first_call_writes_checkpoints(parts, make_model, tmp_path):
    (X, Y), (X_more, Y_more) = parts
    path = tmp_path / "checkpoint"
    model = make_model(checkpoint_path=path).partial_fit(X, Y)
    written = path.read_bytes()
    model.partial_fit(X_more, Y_more)
    assert path.read_bytes() == written
    free = make_model().partial_fit(X, Y).partial_fit(X_more, Y_more)
    assert_array_equal(model.raw_predict(X), free.raw_predict(X))


@pytest.mark.parametrize("weighting", ["adaptive", "inverse_distance", "focus"])
def test_weightings_meet_tasks_without_earlier_scores(parts, make_model, weighting):
    """The rounds before a task was there have NaN for its score."""
    (X, Y), _ = parts
    old = Y[["one", "two"]]
    model = make_model(n_estimators=6, warm_start=True, weighting=weighting)
    model.fit(X, old, X_val=X, y_val=old)
    model.set_params(n_estimators=12).fit(X, Y, X_val=X, y_val=Y)
    assert model.weight_evolution_.shape == (12, 3)
    assert (model.weight_evolution_[6:] > 0).all()
    assert roc_auc_score(Y["three"], model.predict_proba(X)[:, 2]) > 0.85


# Other readers of such a model


def test_native_files_hold_it(grown, parts, tmp_path):
    (X, Y), _ = parts
    grown.save_model(tmp_path / "model")
    loaded = mtgbm.load_model(tmp_path / "model")
    assert_array_equal(loaded.predict_proba(X), grown.predict_proba(X))
    assert loaded.partial_fit(X, Y.assign(four=Y["one"])).task_names_[-1] == "four"


def test_lightgbm_agrees(grown, parts):
    (X, _), _ = parts
    text = write_lightgbm(grown)
    assert_array_equal(Booster(model_str=text).predict(X, raw_score=True), grown.raw_predict(X))
    assert_array_equal(read_lightgbm(text).raw_predict(X), grown.raw_predict(X))


def test_contributions_add_up(grown, parts):
    (X, _), _ = parts
    values = grown.pred_contrib(X)
    assert_allclose(values.sum(axis=2), grown.raw_predict(X), atol=1e-12)
    lightgbm = grown.to_lightgbm().predict(X, pred_contrib=True)
    assert_allclose(values.reshape(len(X), -1), lightgbm, atol=1e-9)


def test_stages_and_importances_know_all_tasks(grown, parts):
    (X, _), _ = parts
    stages = list(grown.staged_raw_predict(X))
    assert_array_equal(stages[3][:, 2], grown.forest_.base_score[2])
    assert_array_equal(stages[-1], grown.raw_predict(X))
    assert grown.task_importances("gain").shape == (3, 5)
    assert grown.task_affinity_.shape == (3, 3)


# Bad input


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda X, Y: (X, Y.to_numpy()[:, :2]), "partial_fit got a Y of 2 columns, but the model"),
        (lambda X, Y: (X, Y["one"]), "partial_fit got a Y of shape (400,), expected a column"),
        (lambda X, Y: (X, Y * np.nan), "Y has no label"),
        (lambda X, Y: (X, Y + 1), "task 'one' is binary: expected labels 0, 1 or NaN"),
        (lambda X, Y: (X[:, :4], Y), "X has 4 features, but MultiTaskLGBMClassifier is expecting"),
        (lambda X, Y: (X[:9], Y), "inconsistent numbers of samples"),
        (lambda X, Y: (X, Y.assign(four=np.nan)), "task 'four' has no label"),
        (lambda X, Y: (X, Y.rename(columns={"one": "two"})), "Two tasks of Y share a name"),
    ],
)
def test_rows_that_do_not_fit_are_refused(parts, make_model, fails_early, change, text):
    (X, Y), (X_more, Y_more) = parts
    model = make_model().fit(X, Y)
    before = model.raw_predict(X)
    fails_early()
    with pytest.raises(ValueError, match=re.escape(text)):
        model.partial_fit(*change(X_more, Y_more))
    assert_array_equal(model.raw_predict(X), before)
    assert model.task_names_ == ["one", "two", "three"]


def test_a_1d_y_takes_no_more_tasks(parts, make_model):
    (X, Y), (X_more, Y_more) = parts
    model = make_model().fit(X, Y["one"])
    with pytest.raises(ValueError, match="the model was fitted to a 1-d y"):
        model.partial_fit(X_more, Y_more)


def test_a_class_that_was_not_told_is_refused(make_model):
    X, y = np.arange(90.0)[:, None], np.repeat(["a", "b", "c"], 30)
    model = make_model().fit(X[:60], y[:60])
    with pytest.raises(ValueError, match=r"'c'.* was not seen in the training labels"):
        model.partial_fit(X, y)


def test_validation_tasks_must_be_known(parts, make_model):
    (X, Y), (X_more, Y_more) = parts
    model = make_model().fit(X, Y)
    with pytest.raises(ValueError, match="y_val has the tasks four, which Y does not have"):
        model.partial_fit(X_more, Y_more, X_val=X, y_val=Y.assign(four=0.0))


def test_a_mask_of_another_shape_is_refused(parts, make_model):
    (X, Y), (X_more, Y_more) = parts
    model = make_model().fit(X, Y)
    with pytest.raises(ValueError, match="expected 3 columns, one for each column of Y"):
        model.partial_fit(X_more, Y_more, label_mask=np.ones((400, 2), dtype=bool))


def test_classes_for_other_tasks_are_refused(parts, make_model):
    (X, Y), _ = parts
    with pytest.raises(ValueError, match="classes has 1 entries, expected the classes of each"):
        make_model().partial_fit(X, Y, classes=[[0, 1]])
