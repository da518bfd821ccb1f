"""Saved models: the same bits in another process, and refusal of what is corrupt or too new."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

import mtgbm
from mtgbm import MultiTaskLGBMClassifier
from mtgbm.model_state import FORMAT
from mtgbm.weighting import FixedWeighting

ROUND_TRIPS = [lambda model: pickle.loads(pickle.dumps(model)), copy.deepcopy]


@pytest.fixture(scope="module")
def table(make_data):
    X, Y = make_data(missing=0.2)
    colours = pd.Categorical(np.where(X[:, 0] > 0, "red", "blue"))
    return pd.DataFrame(X, columns=list("abcde")).assign(colour=colours), pd.DataFrame(
        Y, columns=["x", "y", "z"]
    )


@pytest.fixture(scope="module")
def model(table, make_model):
    X, Y = table
    weighting = FixedWeighting(sub_weight=0.5)
    return make_model(weighting=weighting, early_stopping_rounds=3, random_state=0).fit(X, Y)


@pytest.mark.parametrize("round_trip", ROUND_TRIPS, ids=["pickle", "deepcopy"])
def test_a_copy_is_the_same_model(model, table, round_trip):
    X, _ = table
    copied = round_trip(model)
    assert_array_equal(copied.predict_proba(X), model.predict_proba(X))
    assert_array_equal(copied.predict(X), model.predict(X))
    assert_array_equal(copied.feature_importances_, model.feature_importances_)
    assert copied.evals_result_ == model.evals_result_
    assert copied.task_names_ == model.task_names_
    assert repr(copied) == repr(model)


@pytest.mark.parametrize("round_trip", ROUND_TRIPS, ids=["pickle", "deepcopy"])
def test_a_copy_can_be_warm_started(table, make_model, round_trip):
    X, Y = table
    copied = round_trip(make_model(n_estimators=4, warm_start=True).fit(X, Y))
    copied.set_params(n_estimators=8).fit(X, Y)
    assert_array_equal(copied.predict_proba(X), make_model().fit(X, Y).predict_proba(X))


def test_an_unfitted_model_can_be_pickled(make_model):
    assert pickle.loads(pickle.dumps(make_model())).get_params() == make_model().get_params()


def test_another_process_predicts_the_same_bits(model, table, tmp_path):
    X, _ = table
    joblib.dump((model, X), tmp_path / "model.joblib")
    program = (
        "import joblib, numpy, sys\n"
        "model, X = joblib.load(sys.argv[1])\n"
        "numpy.save(sys.argv[2], model.predict_proba(X))\n"
    )
    subprocess.run(
        [sys.executable, "-c", program, tmp_path / "model.joblib", tmp_path / "found.npy"],
        check=True,
        cwd=Path(mtgbm.__file__).parents[1],
    )
    assert_array_equal(np.load(tmp_path / "found.npy"), model.predict_proba(X))


def test_the_prediction_cache_is_not_saved(model, table):
    size = len(pickle.dumps(model))
    model.predict(table[0])
    assert len(pickle.dumps(model)) == size


# What must not be loaded


def load(state):
    MultiTaskLGBMClassifier.__new__(MultiTaskLGBMClassifier).__setstate__(state)


@pytest.fixture
def state(model):
    """The state of a saved model, to be spoiled."""
    return copy.deepcopy(model.__getstate__())


def test_a_sound_state_is_accepted(state):
    load(state)


def test_a_newer_format_is_refused(state):
    state["_mtgbm_format"] = FORMAT + 1
    state["_mtgbm_version"] = "99.0"
    with pytest.raises(ValueError, match=r"saved by mtgbm 99\.0 in format 2.*Upgrade mtgbm"):
        load(state)


@pytest.mark.parametrize("found", [{}, {"n_estimators": 3}, None, [1, 2]])
def test_a_state_without_stamp_is_refused(found):
    with pytest.raises(ValueError, match="not the saved state of a MultiTaskLGBMClassifier"):
        load(found)


def spoil_child(forest):
    inner = np.flatnonzero(forest.trees[1].nodes["leaf"] < 0)[-1]
    forest.trees[1].nodes["left"][inner] = 10_000


def spoil_loop(forest):
    forest.trees[1].nodes["right"][0] = 0


def spoil_feature(forest):
    forest.trees[0].nodes["feature"][0] = forest.n_features


def spoil_values(forest):
    forest.trees[0].values[0, 0] = np.nan


def spoil_outputs(forest):
    forest.trees[0].values = forest.trees[0].values[:, :2]


def spoil_leaf(forest):
    leaves = forest.trees[0].nodes["leaf"]
    leaves[leaves == 0] = 1


def spoil_bitset(forest):
    forest.trees[0].nodes["bitset"][0] = 1_000_000


def spoil_missing_left(forest):
    forest.trees[0].nodes["missing_left"][0] = 2


def drop_nodes(forest):
    forest.trees[0].nodes = forest.trees[0].nodes[:0]


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_child,
        spoil_loop,
        spoil_feature,
        spoil_values,
        spoil_outputs,
        spoil_leaf,
        spoil_bitset,
        spoil_missing_left,
        drop_nodes,
    ],
)
def test_a_corrupt_tree_is_refused(state, spoil):
    spoil(state["forest_"])
    with pytest.raises(ValueError, match="the saved model is corrupt: one of its trees"):
        load(state)


def test_a_corrupt_base_score_is_refused(state):
    state["forest_"].base_score[0] = np.inf
    with pytest.raises(ValueError, match="the saved model is corrupt: its base scores"):
        load(state)


@pytest.mark.parametrize("name", ["_mapper", "_encoder", "_reader", "_objective", "forest_"])
def test_a_fitted_state_with_a_part_missing_is_refused(state, name):
    del state[name]
    with pytest.raises(ValueError, match=f"the saved model is corrupt: it has no {name}"):
        load(state)


def test_a_truncated_file_is_refused(model):
    saved = pickle.dumps(model)
    with pytest.raises((pickle.UnpicklingError, EOFError)):
        pickle.loads(saved[: len(saved) // 2])
