"""Which tasks help a main one: forward selection against fits by hand, and the quick way."""

import re

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline

from mtgbm import RiskTableEncoder
from mtgbm.datasets import load_flights
from mtgbm.metrics import make_task_scorer
from mtgbm.task_selection import select_tasks


def some_labels(n_rows, seed):
    """A task with few labels, one that says the same with many, and two that say nothing of it."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 8))
    score = X[:, 0] + X[:, 1] * X[:, 2]
    Y = pd.DataFrame(
        {
            "coin": rng.random(n_rows) > 0.5,
            "main": score + rng.normal(size=n_rows) > 0,
            "twin": score + rng.normal(size=n_rows) > 0,
            "other": X[:, 5] > 0,
        }
    ).astype(float)
    Y.loc[rng.random(n_rows) < 0.85, "main"] = np.nan
    return X, Y


@pytest.fixture(scope="module")
def table():
    return some_labels(1500, seed=0)


@pytest.fixture(scope="module")
def forward(table, make_model):
    return select_tasks(make_model(n_estimators=15), *table, main_task="main", cv=4)


def test_the_task_that_helps_is_selected_first(forward):
    assert forward.main_task == "main"
    assert forward.selected[0] == "twin"
    assert "coin" not in forward.selected
    assert forward.tasks[:2] == ["main", "twin"]


def test_scores_are_those_of_fits_by_hand(table, forward, make_model):
    X, Y = table
    strata = Y["main"].fillna(-1)
    alone, with_twin = [], []
    for training, test in StratifiedKFold(4).split(X, strata):
        known = training[Y["main"].notna().to_numpy()[training]]
        scored = test[Y["main"].notna().to_numpy()[test]]
        one = make_model(n_estimators=15).fit(X[known], Y["main"].iloc[known])
        alone.append(-log_loss(Y["main"].iloc[scored], one.predict_proba(X[scored])[:, 1]))
        both = make_model(n_estimators=15).fit(X[training], Y[["main", "twin"]].iloc[training])
        with_twin.append(-log_loss(Y["main"].iloc[scored], both.predict_proba(X[scored])[:, 0]))
    gains = np.subtract(with_twin, alone)
    first, twin = forward.rows[0], next(row for row in forward.rows if row.task == "twin")
    assert (first.step, first.task) == (0, "main")
    assert_allclose(first.score, np.mean(alone))
    assert_allclose(twin.score, np.mean(with_twin))
    assert_allclose(twin.improvement, gains.mean())
    assert_allclose(twin.needed, gains.std(ddof=1) / 2)
    assert (twin.step, twin.verdict) == (1, "selected")


def test_each_step_goes_on_from_the_last(forward):
    """The winner of a step is the best of those above what is needed; the last step has none."""
    best = forward.rows[0].score
    for step, name in enumerate([*forward.selected, None], start=1):
        trials = [row for row in forward.rows if row.step == step]
        for row in trials:
            assert_allclose(row.improvement, row.score - best)
        better = [row for row in trials if row.improvement > row.needed]
        winner = max(better, key=lambda row: row.improvement, default=None)
        assert (winner and winner.task) == name
        best = winner.score if winner else best


def test_it_prints_as_a_table(forward):
    lines = str(forward).splitlines()
    assert lines[0].split() == ["step", "task", "score", "improvement", "needed", "verdict"]
    assert len(lines) == len(forward.rows) + 2
    assert lines[-1].startswith("main with twin")
    frame = forward.to_frame()
    assert list(frame["task"]) == [row.task for row in forward.rows]


def test_affinity_finds_it_in_one_fit(table, make_model):
    X, Y = table
    found = select_tasks(
        make_model(n_estimators=15), X, Y, "main", method="affinity", threshold=0.2
    )
    assert found.selected == ["twin"]
    affinity = make_model(n_estimators=15).fit(X, Y[["main", "coin", "twin", "other"]])
    expected = dict(zip(["coin", "twin", "other"], affinity.task_affinity_[0, 1:], strict=True))
    assert {row.task: row.affinity for row in found.rows} == expected
    assert [row.affinity for row in found.rows] == sorted(expected.values(), reverse=True)
    assert "main with twin" in str(found)


def test_rows_to_score_take_the_place_of_folds(table, make_model):
    X_val, Y_val = some_labels(800, seed=1)
    model = make_model(n_estimators=15, main_task="main")
    found = select_tasks(model, *table, X_val=X_val, y_val=Y_val, scoring="roc_auc")
    assert found.main_task == "main"
    assert found.selected[0] == "twin"
    assert {row.needed for row in found.rows[1:]} == {0.0}
    X, Y = table
    both = make_model(n_estimators=15).fit(X, Y[["main", "twin"]])
    known = Y_val["main"].notna()
    auc = roc_auc_score(Y_val["main"][known], both.predict_proba(X_val)[known, 0])
    assert_allclose(next(row.score for row in found.rows if row.task == "twin"), auc)


def test_a_large_improvement_may_be_asked_for(table, make_model):
    found = select_tasks(
        make_model(n_estimators=3), *table, "main", min_improvement=10.0, cv=KFold(2)
    )
    assert found.selected == []
    assert str(found).endswith("main with no other task")
    assert len(found.rows) == 4


def test_a_metric_object_is_a_scorer(table, make_model):
    metric = make_task_scorer("average_precision").metric
    found = select_tasks(make_model(n_estimators=3), *table, "main", cv=2, scoring=metric)
    assert 0 < found.rows[0].score < 1


def test_arrays_have_numbered_tasks(table, make_model):
    X, Y = table
    found = select_tasks(make_model(n_estimators=5), X, Y.to_numpy(), 1, cv=2)
    named = select_tasks(make_model(n_estimators=5), X, Y, "main", cv=2)
    assert found.main_task == "task_1"
    assert [row.score for row in found.rows] == [row.score for row in named.rows]


def test_a_multiclass_main_task(make_model):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 4))
    kind = np.array(["a", "b", "c"], dtype=object)[np.digitize(X[:, 0], [-0.5, 0.5])]
    Y = pd.DataFrame({"kind": kind, "side": (X[:, 0] > 0).astype(float)})
    model = make_model(objective={"kind": "multiclass"}, n_estimators=5)
    found = select_tasks(model, X, Y, "kind", cv=2)
    assert -0.7 < found.rows[0].score < 0
    with pytest.raises(ValueError, match="scoring='roc_auc' scores binary tasks only"):
        select_tasks(model, X, Y, "kind", scoring="roc_auc")


def test_progress_is_silent_unless_asked_for(table, make_model, capsys):
    select_tasks(make_model(n_estimators=2), *table, "main", cv=2)
    assert capsys.readouterr() == ("", "")
    found = select_tasks(make_model(n_estimators=2), *table, "main", cv=2, verbose=True)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == len(found.rows)
    assert printed.err.startswith("step 0, task main, score -0.")


def test_parameters_by_task_are_cut_down(table, make_model):
    """With names of all tasks in them, none of the smaller models may stumble."""
    model = make_model(
        n_estimators=3,
        sketch_outputs=None,
        objective={"coin": "binary"},
        scale_pos_weight=[1.0, 2.0, 1.0, 1.0],
        monotone_constraints={"main": [1] + [0] * 7, "coin": [0] * 8},
        early_stopping_rounds=2,
        early_stopping_task={"main": 1.0, "other": 1.0},
        task_hierarchy={"coin": "other", "main": "twin"},
    )
    X, Y = table
    with pytest.warns(UserWarning, match="contradicts task_hierarchy"):
        found = select_tasks(model, X, Y, "main", cv=2)
    assert np.isfinite([row.score for row in found.rows]).all()


def test_a_pipeline_of_flights(make_model):
    X, Y = load_flights(return_X_y=True)
    rows = np.linspace(0, len(X) - 1, 3000).astype(int)
    X, Y = X.iloc[rows], Y.iloc[rows]
    pipeline = make_pipeline(RiskTableEncoder(random_state=0), make_model(n_estimators=10))
    weight = np.linspace(0.5, 1.5, 3000)
    found = select_tasks(
        pipeline, X, Y, "arr_late_60", method="affinity", sample_weight=weight, threshold=0.3
    )
    assert found.selected[0] == "dep_late_60"


# Bad input


@pytest.mark.parametrize(
    ("params", "error", "text"),
    [
        ({"main_task": "mian"}, ValueError, "unknown main_task 'mian'; did you mean 'main'?"),
        ({"method": "forwards"}, ValueError, "unknown method 'forwards'; did you mean 'forward'?"),
        ({"scoring": "auc"}, ValueError, "unknown scoring 'auc'; did you mean 'roc_auc'?"),
        ({"cv": 1}, ValueError, "cv must be at least 2"),
        ({"X_val": np.zeros((3, 8))}, ValueError, "X_val and y_val belong together"),
        ({"threshold": 2}, ValueError, "threshold must be at least -1 and at most 1"),
        ({"min_improvement": "0"}, TypeError, "min_improvement must be a number"),
        ({"sample_weight": [1.0]}, ValueError, "inconsistent numbers of samples"),
    ],
)
def test_bad_parameters_are_refused(table, make_model, params, error, text):
    with pytest.raises(error, match=re.escape(text)):
        select_tasks(make_model(), *table, **{"main_task": "main"} | params)


def test_folds_without_labels_of_the_main_task_are_refused(table, make_model):
    X, Y = table
    Y = Y.assign(main=np.where(np.arange(len(Y)) < 700, Y["main"], np.nan))
    with pytest.raises(ValueError, match=r"fold 0 has no row to learn from .* main task 'main'"):
        select_tasks(make_model(), X, Y, "main", cv=KFold(2))


def test_rows_that_give_no_score_are_refused(table, make_model):
    X, Y = table
    model = make_model(n_estimators=2)
    with pytest.raises(ValueError, match="roc_auc of the main task 'main' has no value"):
        select_tasks(model, X, Y, "main", X_val=X, y_val=Y.assign(main=1.0), scoring="roc_auc")
