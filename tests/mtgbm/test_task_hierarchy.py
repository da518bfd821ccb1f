"""A positive child implies a positive parent: predictions follow it, scores stay raw."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy.special import expit

import mtgbm
from mtgbm.datasets import load_flights
from mtgbm.engine.boosting import Boosting
from mtgbm.io.lightgbm_text import read_lightgbm, write_lightgbm
from mtgbm.objectives import Task
from mtgbm.task_hierarchy import TaskHierarchy

CHAIN = {"task_2": "task_1", "task_1": "task_0"}


@pytest.fixture
def fails_early(monkeypatch):
    """`fit` of a test that takes this must raise before training begins."""
    monkeypatch.setattr(Boosting, "run", lambda *args: pytest.fail("training began"))


@pytest.fixture(scope="module")
def nested():
    """Labels of which each implies the one before it; each is known for other rows."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 5))
    score = X[:, 0] + rng.normal(size=600)
    Y = np.column_stack([score > bound for bound in (0.0, 0.1, 0.2)]).astype(float)
    Y[rng.random(Y.shape) < 0.4] = np.nan
    return X, Y


@pytest.fixture(scope="module")
def model(nested, make_model):
    return make_model(n_estimators=40, task_hierarchy=CHAIN).fit(*nested)


def test_probabilities_are_those_of_the_scores_and_no_larger_than_the_parents(nested, model):
    X, _ = nested
    free = expit(model.raw_predict(X))
    first = free[:, 0]
    second = np.minimum(free[:, 1], first)
    expected = np.column_stack([first, second, np.minimum(free[:, 2], second)])
    assert (expected != free).any(axis=0)[1:].all()  # there was something to correct
    assert_array_equal(model.predict_proba(X), expected)
    assert_array_equal(model.predict(X), expected > 0.5)


def test_the_order_of_the_links_plays_no_part(nested, model, make_model):
    reversed_links = dict(reversed(CHAIN.items()))
    other = make_model(n_estimators=40, task_hierarchy=reversed_links).fit(*nested)
    assert_array_equal(other.predict_proba(nested[0]), model.predict_proba(nested[0]))


def test_positions_name_tasks_too(nested, model, make_model):
    other = make_model(n_estimators=40, task_hierarchy={2: 1, 1: 0}).fit(*nested)
    assert_array_equal(other.predict_proba(nested[0]), model.predict_proba(nested[0]))


def test_training_and_scores_stay_as_they_are(nested, model, make_model):
    X, Y = nested
    free = make_model(n_estimators=40).fit(X, Y)
    assert_array_equal(free.raw_predict(X), model.raw_predict(X))
    assert (free.predict_proba(X) >= model.predict_proba(X)).all()


def test_stages_follow_it(nested, model):
    X, _ = nested
    for probabilities in model.staged_predict_proba(X):
        assert (np.diff(probabilities, axis=1) <= 0).all()
    assert_array_equal(probabilities, model.predict_proba(X))
    *_, labels = model.staged_predict(X)
    assert_array_equal(labels, model.predict(X))


def test_many_rows_are_corrected_in_all_parts(nested, model):
    many = np.tile(nested[0], (60, 1))
    few = model.predict_proba(nested[0])
    assert_array_equal(model.predict_proba(many), np.tile(few, (60, 1)))


def test_a_multiclass_task_may_stand_beside_it(nested, make_model):
    X, Y = nested
    Y = np.column_stack([Y, np.nansum(Y, axis=1)])
    objective = {"task_3": "multiclass"}
    model = make_model(n_estimators=30, objective=objective, task_hierarchy=CHAIN).fit(X, Y)
    first, second, third, _ = (part[:, 1] for part in model.predict_proba(X))
    assert (second <= first).all()
    assert (third <= second).all()
    for part in model.predict_proba(X):
        np.testing.assert_allclose(part.sum(axis=1), 1)


@given(st.lists(st.integers(0, 5), min_size=6, max_size=6), st.integers(0, 2**32 - 1))
def test_any_tree_of_tasks_becomes_consistent_and_nothing_more(parents, seed):
    """Parents come before their children here; the result is the largest consistent one below."""
    tasks = [Task(str(number)) for number in range(6)]
    links = {child: parent for child, parent in enumerate(parents) if parent < child}
    free = np.random.default_rng(seed).random((4, 6))
    found = free.copy()
    TaskHierarchy(links, tasks).correct(found, [[number] for number in range(6)])
    for task in range(6):
        ancestors = [task]
        while ancestors[-1] in links:
            ancestors.append(links[ancestors[-1]])
        assert_array_equal(found[:, task], free[:, ancestors].min(axis=1))


def test_flights_an_hour_late_are_late(make_model):
    X, Y = load_flights(return_X_y=True)
    rows = np.linspace(0, len(X) - 1, 3000).astype(int)
    X, Y = X.iloc[rows].select_dtypes("number"), Y.iloc[rows]
    links = {"arr_late_60": "arr_late_15", "dep_late_60": "dep_late_15"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = make_model(n_estimators=20, task_hierarchy=links).fit(X, Y)
    frame = pd.DataFrame(model.predict_proba(X), columns=Y.columns)
    for child, parent in links.items():
        assert (frame[child] <= frame[parent]).all()


# Files


def test_model_files_keep_it(nested, model, tmp_path):
    model.save_model(tmp_path / "model")
    loaded = mtgbm.load_model(tmp_path / "model")
    assert loaded.task_hierarchy == CHAIN
    assert_array_equal(loaded.predict_proba(nested[0]), model.predict_proba(nested[0]))
    again = read_lightgbm(write_lightgbm(model))
    assert_array_equal(again.predict_proba(nested[0]), model.predict_proba(nested[0]))


def test_lightgbm_predicts_without_it(nested, model):
    """What the docstring of write_lightgbm says."""
    predicted = model.to_lightgbm().predict(nested[0])
    np.testing.assert_allclose(predicted, expit(model.raw_predict(nested[0])), rtol=1e-12)


# Labels and parameters that do not fit


def test_contradictions_are_counted_in_one_warning(nested, make_model):
    X, Y = nested
    Y = Y.copy()
    Y[:7, 0], Y[:7, 1] = 0, 1
    Y[7:10, 1], Y[7:10, 2] = 0, 1
    Y[3, 0] = np.nan  # no contradiction: it may well be 1
    text = "6 rows are 'task_1' but not 'task_0'"
    with pytest.warns(UserWarning, match="contradicts task_hierarchy") as caught:
        make_model(n_estimators=2, task_hierarchy={"task_1": "task_0"}).fit(X, Y)
    assert len(caught) == 1
    assert text in str(caught[0].message)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("links", "text"),
    [
        ({"task_1": "tsk_0"}, "unknown task_hierarchy 'tsk_0'; did you mean 'task_0'?"),
        ({"task_9": "task_0"}, "unknown task_hierarchy 'task_9'; did you mean"),
        ({7: 0}, "task_hierarchy=7 but there are 3 tasks"),
        ({"task_0": "task_0"}, "task_hierarchy has a cycle, task_0 -> task_0:"),
        (
            {"task_0": "task_1", "task_1": "task_2", "task_2": "task_0"},
            "task_hierarchy has a cycle, task_0 -> task_1 -> task_2 -> task_0:",
        ),
        (
            {"task_0": "task_1", "task_1": "task_2", "task_2": "task_1"},
            "task_hierarchy has a cycle, task_1 -> task_2 -> task_1:",
        ),
    ],
)
def test_impossible_links_are_refused(nested, make_model, fails_early, links, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        make_model(task_hierarchy=links).fit(*nested)


def test_multiclass_tasks_are_refused(nested, make_model, fails_early):
    model = make_model(objective={"task_1": "multiclass"}, task_hierarchy={"task_1": "task_0"})
    with pytest.raises(ValueError, match="'task_1', which is multiclass"):
        model.fit(*nested)


@pytest.mark.parametrize("links", ["task_0", [("task_1", "task_0")], 3])
def test_other_things_than_a_dict_are_refused(nested, make_model, fails_early, links):
    with pytest.raises(TypeError, match="task_hierarchy must be a dict"):
        make_model(task_hierarchy=links).fit(*nested)
