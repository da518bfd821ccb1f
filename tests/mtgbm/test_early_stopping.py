"""Early stopping: which score decides, which rounds are kept, what is recorded."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score


@pytest.fixture(scope="module")
def split(make_data):
    """Training and validation rows; the last task is noisy, so tasks are best at other rounds."""
    X, Y = make_data(n_rows=500, seed=3)
    noisy = np.random.default_rng(0).random(len(Y)) < 0.4
    Y[noisy, 2] = 1 - Y[noisy, 2]
    return (X[:300], Y[:300]), (X[300:], Y[300:])


@pytest.fixture(scope="module")
def fit(split, make_model):
    """Fits with the validation rows; returns the model."""
    (X, Y), (X_val, Y_val) = split

    def build(**params):
        settings = {"n_estimators": 60, "learning_rate": 0.4, "early_stopping_rounds": 4}
        return make_model(**(settings | params)).fit(X, Y, X_val=X_val, y_val=Y_val)

    return build


def curves_of(model, part="validation"):
    """Scores of all rounds, (n_rounds, n_tasks)."""
    return np.array(list(model.evals_result_[part].values())).T


def naive_stop(curve, patience, min_delta=0.0):
    """Rounds run and rounds kept of a falling score, by reading it from the left."""
    best, kept = np.inf, 0
    for number, loss in enumerate(curve, start=1):
        if loss < best - min_delta:
            best, kept = loss, number
        if number - kept >= patience:
            return number, kept
    return len(curve), kept


@pytest.fixture(scope="module")
def full_curves(fit):
    """What every round would score, were there no stopping."""
    return curves_of(fit(early_stopping_rounds=None))


@pytest.mark.parametrize(
    ("task", "weights"),
    [
        (None, [1, 0, 0]),
        ("task_2", [0, 0, 1]),
        (1, [0, 1, 0]),
        ("mean", [1 / 3, 1 / 3, 1 / 3]),
        ({"task_0": 1.0, "task_2": 3.0}, [0.25, 0, 0.75]),
    ],
)
def test_the_chosen_score_decides(fit, full_curves, task, weights):
    model = fit(early_stopping_task=task)
    run, kept = naive_stop(full_curves @ np.array(weights), patience=4)
    assert run < 60
    assert len(curves_of(model)) == run
    assert model.best_iteration_ == len(model.forest_.trees) == kept
    assert model.best_iteration_per_task_ == dict.fromkeys(model.task_names_, kept)


def test_the_main_task_decides_by_default(fit):
    by_main = fit(main_task="task_2")
    named = fit(early_stopping_task="task_2")
    assert by_main.best_iteration_ == named.best_iteration_
    assert by_main.best_iteration_ != fit().best_iteration_


def test_small_improvements_do_not_count(fit, full_curves):
    run, kept = naive_stop(full_curves[:, 0], patience=4, min_delta=0.01)
    model = fit(early_stopping_min_delta=0.01)
    assert (len(curves_of(model)), model.best_iteration_) == (run, kept)
    assert kept < fit().best_iteration_


def test_the_kept_forest_is_that_of_so_many_rounds(fit, split):
    model = fit()
    (X, _), (X_val, _) = split
    shorter = fit(early_stopping_rounds=None, n_estimators=model.best_iteration_)
    assert_array_equal(model.predict_proba(X_val), shorter.predict_proba(X_val))
    assert_array_equal(model.predict_proba(X), shorter.predict_proba(X))


def test_each_task_keeps_its_own_best_round(fit, full_curves, split):
    X_val, Y_val = split[1]
    model = fit(best_round_per_task=True, early_stopping_task="mean")
    n_run = len(curves_of(model))
    own = full_curves[:n_run].argmin(axis=0) + 1
    assert len(set(own)) > 1
    assert list(model.best_iteration_per_task_.values()) == own.tolist()
    assert model.best_iteration_ == own.max()
    stages = list(fit(early_stopping_rounds=None).staged_raw_predict(X_val))
    expected = np.column_stack([stages[kept - 1][:, task] for task, kept in enumerate(own)])
    assert_allclose(model.raw_predict(X_val), expected, rtol=1e-12, atol=1e-12)
    losses = [log_loss(Y_val[:, t], expit(expected[:, t])) for t in range(3)]
    assert_allclose(losses, full_curves[:n_run].min(axis=0), rtol=1e-9)


def test_rounds_per_task_wait_for_every_deciding_task(fit, full_curves):
    model = fit(best_round_per_task=True, early_stopping_task="mean")
    last_best = max(naive_stop(curve, 60)[1] for curve in full_curves[: len(curves_of(model))].T)
    combined = naive_stop(full_curves[: len(curves_of(model))].mean(axis=1), 60)[1]
    assert len(curves_of(model)) == max(last_best, combined) + 4


@pytest.mark.parametrize(
    ("metric", "oracle"),
    [
        ("logloss", lambda y, raw: log_loss(y, expit(raw))),
        ("auc", roc_auc_score),
        ("average_precision", average_precision_score),
    ],
)
def test_recorded_scores_are_those_of_scikit_learn(fit, split, metric, oracle):
    (X, Y), (X_val, Y_val) = split
    model = fit(
        early_stopping_rounds=None, n_estimators=4, eval_metric=metric, track_training_score=True
    )
    names = [f"task_{number}:{metric}" for number in range(3)]
    for part, rows, labels in (("training", X, Y), ("validation", X_val, Y_val)):
        assert list(model.evals_result_[part]) == names
        expected = [
            [oracle(labels[:, task], raw[:, task]) for task in range(3)]
            for raw in model.staged_raw_predict(rows)
        ]
        assert_allclose(curves_of(model, part), expected, rtol=1e-9)


def test_larger_is_better_for_a_ranking_metric(fit):
    model = fit(eval_metric="auc")
    assert model.best_iteration_ == curves_of(model)[:, 0].argmax() + 1


def test_recorded_scores_of_a_multiclass_task(make_data, make_model):
    X, Y = make_data(n_tasks=2)
    Y[:, 1] += X[:, 2] > 0
    model = make_model(n_estimators=3, objective={"task_1": "multiclass"})
    model.fit(X, Y, X_val=X, y_val=Y)
    expected = [
        [log_loss(Y[:, task], probability[task]) for task in range(2)]
        for probability in model.staged_predict_proba(X)
    ]
    assert_allclose(curves_of(model), expected, rtol=1e-9)


def test_missing_validation_labels_are_left_out(fit, split, make_model):
    (X, Y), (X_val, Y_val) = split
    known = np.random.default_rng(0).random(Y_val.shape) < 0.6
    model = make_model().fit(X, Y, X_val=X_val, y_val=np.where(known, Y_val, np.nan))
    final = model.predict_proba(X_val)
    expected = [
        log_loss(Y_val[known[:, task], task], final[known[:, task], task]) for task in range(3)
    ]
    assert_allclose(curves_of(model)[-1], expected, rtol=1e-9)


def test_without_stopping_or_validation_nothing_is_recorded(make_data, make_model):
    assert make_model().fit(*make_data()).evals_result_ == {}


def test_a_task_without_score_is_nan_and_does_not_stop(split, make_model, recwarn):
    (X, Y), (X_val, Y_val) = split
    one_class = Y_val * [1, 1, 0]
    model = make_model(early_stopping_rounds=3, eval_metric="auc", best_round_per_task=True)
    model.fit(X, Y, X_val=X_val, y_val=one_class)
    assert np.isnan(curves_of(model)[:, 2]).all()
    rounds = model.best_iteration_per_task_
    assert rounds["task_2"] == curves_of(model)[:, 0].argmax() + 1
    assert not recwarn.list


def test_a_fraction_of_the_rows_is_held_out(make_data, make_model):
    X, Y = make_data(missing=0.2)
    model = make_model(early_stopping_rounds=3, validation_fraction=0.25, random_state=0)
    model.fit(X, Y)
    assert model.forest_.trees[0].counts[0] == 225
    assert len(curves_of(model)) >= 1
    again = make_model(early_stopping_rounds=3, validation_fraction=0.25, random_state=0)
    assert_array_equal(model.predict_proba(X), again.fit(X, Y).predict_proba(X))


def test_the_hold_out_is_stratified_by_the_main_task(make_model):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    Y = np.column_stack([np.arange(400) < 40, rng.random(400) < 0.5]).astype(float)
    model = make_model(early_stopping_rounds=3, validation_fraction=0.25, random_state=0)
    base = model.fit(X, Y).forest_.base_score[0]
    assert_allclose(expit(base), 0.1, rtol=1e-12)


def test_a_class_that_is_only_held_out_makes_its_task_constant(make_data, make_model):
    """Laplace's rule applies to the rows that are trained on, about half of them here."""
    X, Y = make_data()
    Y[:, 1] = 0
    Y[5, 1] = 1
    split = {"early_stopping_rounds": 3, "validation_fraction": 0.5}
    constant = 0
    for seed in range(6):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = make_model(random_state=seed, **split).fit(X, Y)
        if caught:
            assert "task 'task_1' has a single class" in str(caught[0].message)
            assert_allclose(model.predict_proba(X)[:, 1], 1 / 152, rtol=1e-12)
            constant += 1
    assert 0 < constant < 6


def test_given_validation_rows_leave_all_rows_to_training(split, fit):
    (X, _), _ = split
    assert fit().forest_.trees[0].counts[0] == len(X)


def test_weights_of_the_hold_out_weigh_its_score(make_data, make_model):
    """Negative rows that weigh next to nothing leave a loss of next to nothing."""
    X, Y = make_data()
    Y = Y[:, :1].repeat(2, axis=1)
    weight = np.where(Y[:, 0] == 1, 1.0, 0.01)
    model = make_model(n_estimators=2, early_stopping_rounds=2, random_state=0)
    assert curves_of(model.fit(X, Y, sample_weight=weight))[0, 0] < 0.1
    assert curves_of(model.fit(X, Y))[0, 0] > 0.3


# Warm starts


def test_a_warm_start_can_stop_early_from_its_own_round_on(split, make_model):
    """The first fit has no validation scores; its rounds are counted and kept all the same."""
    (X, Y), (X_val, Y_val) = split
    model = make_model(n_estimators=5, learning_rate=0.4, warm_start=True).fit(X, Y)
    model.set_params(n_estimators=60, early_stopping_rounds=4)
    model.fit(X, Y, X_val=X_val, y_val=Y_val)
    scores = curves_of(model)[:, 0]
    new = scores[np.isfinite(scores)]
    assert model.best_iteration_ == 5 + new.argmin() + 1
    losses = [log_loss(Y_val[:, 0], p[:, 0]) for p in model.staged_predict_proba(X_val)]
    assert_allclose(losses[-1], new.min(), rtol=1e-9)


def test_a_warm_start_after_stopping_forgets_the_rounds_that_were_cut(split, make_model, fit):
    (X, Y), (X_val, Y_val) = split
    model = fit(warm_start=True)
    first = model.best_iteration_
    model.set_params(n_estimators=first + 2, early_stopping_rounds=None)
    model.fit(X, Y, X_val=X_val, y_val=Y_val)
    losses = [
        [log_loss(Y_val[:, task], p[:, task]) for task in range(3)]
        for p in model.staged_predict_proba(X_val)
    ]
    assert len(losses) == first + 2
    assert_allclose(curves_of(model), losses, rtol=1e-9)


def test_a_warm_start_may_watch_another_metric(split, make_model):
    (X, Y), (X_val, Y_val) = split
    model = make_model(n_estimators=5, warm_start=True).fit(X, Y, X_val=X_val, y_val=Y_val)
    model.set_params(n_estimators=30, early_stopping_rounds=3, eval_metric="auc")
    model.fit(X, Y, X_val=X_val, y_val=Y_val)
    auc = [roc_auc_score(Y_val[:, 0], p[:, 0]) for p in model.staged_predict_proba(X_val)]
    assert np.argmax(auc[5:]) == len(auc) - 6
