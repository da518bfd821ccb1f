"""Progress, history of weights, and scikit-learn's own callbacks."""

import builtins

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV

from mtgbm.weighting import FixedWeighting, Weighting

# Progress


@pytest.fixture
def without_tqdm(monkeypatch):
    """As if tqdm were not installed."""
    real_import = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.startswith("tqdm"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)


def test_progress_goes_to_stderr(make_data, make_model, capsys):
    X, Y = make_data()
    model = make_model(n_estimators=5, verbose=1).fit(X, Y, X_val=X, y_val=Y)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "5/5" in shown.err
    assert f"task_0:logloss {model.evals_result_['validation']['task_0:logloss'][-1]:.4f}" in (
        shown.err
    )


@pytest.mark.usefixtures("without_tqdm")
def test_progress_is_lines_without_tqdm(make_data, make_model, capsys):
    X, Y = make_data()
    model = make_model(n_estimators=20, verbose=1, main_task=1).fit(X, Y, X_val=X, y_val=Y)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    final = model.evals_result_["validation"]["task_1:logloss"][-1]
    assert lines[-1] == f"round 20 of 20 validation task_1:logloss {final:.4f}"


def test_silence_by_default(make_data, make_model, capfd):
    X, Y = make_data()
    make_model(early_stopping_rounds=2).fit(X, Y)
    assert capfd.readouterr() == ("", "")


# History


def test_the_weights_of_every_round_are_kept(make_data, make_model):
    X, Y = make_data()
    model = make_model(weighting=FixedWeighting(1.0, [0.2, 0.3]), n_estimators=4).fit(X, Y)
    assert_array_equal(model.weight_evolution_, np.tile([1.0, 0.2, 0.3], (4, 1)))


class Halving(Weighting):
    """A weighting of a user's own: the sub tasks fade."""

    def weights(self, round):
        weights = np.full(len(round.tasks), 0.5**round.number)
        weights[round.main_task] = 1.0
        return weights


def test_weights_may_change_from_round_to_round(make_data, make_model):
    X, Y = make_data()
    model = make_model(weighting=Halving(), main_task=1, n_estimators=3).fit(X, Y)
    assert_array_equal(model.weight_evolution_, [[1, 1, 1], [0.5, 1, 0.5], [0.25, 1, 0.25]])


# scikit-learn's callbacks


@pytest.fixture
def sklearn_callback():
    return pytest.importorskip("sklearn.callback", reason="scikit-learn has them from 1.9 on")


class Recorder:
    """Notes what it is told; stops after `last` rounds."""

    def __init__(self, last=None):
        self.last = last
        self.begun, self.ended, self.predictions, self.models = [], [], [], []
        self.set_up = self.torn_down = 0

    def setup(self, estimator, context):
        self.set_up += 1

    def teardown(self, estimator, context):
        self.torn_down += 1

    def on_fit_task_begin(self, estimator, context):
        self.begun.append(context.task_name)

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        self.ended.append(context.task_name)
        self.models.append(fitted_estimator)
        self.predictions.append(fitted_estimator.predict_proba(X))
        return self.last is not None and len(self.ended) >= self.last


@pytest.mark.usefixtures("sklearn_callback")
def test_callbacks_see_every_round_and_a_usable_model(make_data, make_model):
    X, Y = make_data()
    recorder = Recorder()
    model = make_model(n_estimators=3).set_callbacks(recorder).fit(X, Y)
    assert recorder.begun == ["fit", "round 0", "round 1", "round 2"]
    assert recorder.ended == ["round 0", "round 1", "round 2", "fit"]
    assert (recorder.set_up, recorder.torn_down) == (1, 1)
    stages = list(model.staged_predict_proba(X))
    for seen, expected in zip(recorder.predictions, [*stages, stages[-1]], strict=True):
        assert_array_equal(seen, expected)


@pytest.mark.usefixtures("sklearn_callback")
def test_a_model_that_a_callback_keeps_does_not_grow(make_data, make_model):
    X, Y = make_data()
    recorder = Recorder()
    make_model(n_estimators=3).set_callbacks(recorder).fit(X, Y)
    assert_array_equal(recorder.models[0].predict_proba(X), recorder.predictions[0])
    assert recorder.models[0].best_iteration_ == 1


@pytest.mark.usefixtures("sklearn_callback")
def test_a_callback_can_end_the_training(make_data, make_model):
    X, Y = make_data()
    model = make_model(n_estimators=8).set_callbacks(Recorder(last=2)).fit(X, Y)
    assert_array_equal(
        model.predict_proba(X), make_model(n_estimators=2).fit(X, Y).predict_proba(X)
    )


@pytest.mark.usefixtures("sklearn_callback")
def test_callbacks_change_nothing(make_data, make_model):
    X, Y = make_data()
    sampled = {"subsample": 0.7, "subsample_freq": 1, "random_state": 0}
    watched = make_model(**sampled).set_callbacks(Recorder()).fit(X, Y)
    assert_array_equal(watched.predict_proba(X), make_model(**sampled).fit(X, Y).predict_proba(X))


@pytest.mark.usefixtures("sklearn_callback")
def test_callbacks_are_torn_down_after_an_error(make_data, make_model):
    class Failing(Recorder):
        def on_fit_task_end(self, estimator, context):
            raise RuntimeError("from the callback")

    X, Y = make_data()
    failing = Failing()
    with pytest.raises(RuntimeError, match="from the callback"):
        make_model().set_callbacks(failing).fit(X, Y)
    assert (failing.set_up, failing.torn_down) == (1, 1)


def test_scoring_monitor_logs_every_round(make_data, make_model, sklearn_callback):
    X, Y = make_data()
    monitor = sklearn_callback.ScoringMonitor(scoring="roc_auc")
    model = make_model(n_estimators=3).set_callbacks(monitor).fit(X, Y)
    logged = [row for row in monitor.get_logs().data if row["task_name"] != "fit"]
    expected = [roc_auc_score(Y, p) for p in model.staged_predict_proba(X)]
    assert [row["task_name"] for row in logged] == ["round 0", "round 1", "round 2"]
    assert_allclose([row["roc_auc"] for row in logged], expected, rtol=1e-12)


def test_scoring_monitor_inside_a_search(make_data, make_model, sklearn_callback):
    X, Y = make_data()
    monitor = sklearn_callback.ScoringMonitor(scoring="roc_auc")
    model = make_model(n_estimators=2).set_callbacks(monitor)
    search = GridSearchCV(model, {"num_leaves": [3, 6]}, scoring="roc_auc", cv=2).fit(X, Y)
    runs = monitor.get_logs(select="all")
    rounds = [row for run in runs for row in run.data if row["task_name"].startswith("round")]
    assert len(rounds) == 2 * (2 * 2 + 1)
    assert search.best_score_ > 0.7


def test_progress_bar_counts_the_rounds(make_data, make_model, sklearn_callback, capsys):
    pytest.importorskip("rich")
    X, Y = make_data()
    make_model(n_estimators=3).set_callbacks(sklearn_callback.ProgressBar()).fit(X, Y)
    shown = capsys.readouterr().out
    assert "MultiTaskLGBMClassifier" in shown
    assert "100%" in shown
