"""Native model files: the same model comes back, and nothing else does, whatever is in the file."""

import copy
import json
import os
import pickle
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

import mtgbm
from mtgbm import MultiTaskLGBMClassifier
from mtgbm.engine._common import NODE_DTYPE
from mtgbm.engine.tree import Tree
from mtgbm.io import container, container_writer
from mtgbm.io.json_values import from_json, to_json
from mtgbm.io.native import load_model, save_model
from mtgbm.weighting import FixedWeighting

FILES = Path(__file__).parent / "files"
MAGIC = b"\x89MTGBM\r\n"


@pytest.fixture(scope="session")
def make_model(make_model):
    return partial(make_model, random_state=0)


# Round trips ------------------------------------------------------------------------------------


def floats(n_tasks=3, missing=0.2):
    def build(make_data):
        X, Y = make_data(n_tasks=n_tasks, missing=missing)
        return X, Y if n_tasks > 1 else Y.ravel()

    return build


def labels(convert):
    """X and a 1-d y of two or three classes."""

    def build(make_data):
        X, _ = make_data()
        return X, convert(np.digitize(X[:, 0], [-0.5, 0.5]))

    return build


def mixed(make_data):
    X, Y = make_data(missing=0.1)
    Y[:, 1] = np.digitize(X[:, 1], [-0.5, 0.5])
    return X, Y


def texts(make_data):
    """Two tasks of text labels, one with more classes."""
    X, _ = make_data()
    first = np.where(X[:, 0] > 0, "yes", "no")
    second = np.array(["low", "mid", "höchst"])[np.digitize(X[:, 1], [-0.5, 0.5])]
    return X, np.column_stack([first, second]).astype(object)


def pandas_table(make_data):
    X, Y = make_data(missing=0.2)
    frame = pd.DataFrame(X, columns=["a", "b b", "ç", "d", "e"])
    frame["text"] = pd.Categorical(np.where(X[:, 0] > 0, "red", "blü"))
    frame["number"] = pd.Categorical(np.digitize(X[:, 1], [-1, 0, 1]))
    frame["float"] = pd.Categorical(np.digitize(X[:, 2], [0]) / 2)
    frame["flag"] = pd.Categorical(X[:, 1] > 0)
    frame.loc[::9, "text"] = None
    return frame, pd.DataFrame(Y, columns=["x", "y y", "ž"])


def numbered_columns(make_data):
    X, Y = make_data()
    return pd.DataFrame(X).assign(**{"5": 1.0}).set_axis(range(6), axis=1).astype(
        {0: "category"}
    ), Y


def polars_table(make_data):
    X, Y = make_data()
    kind = pl.Series("kind", ["red" if x > 0 else "blue" for x in X[:, 0]], dtype=pl.Categorical)
    return pl.DataFrame(X, schema=list("abcde")).with_columns(kind), pl.DataFrame(Y)


def numbered_categories(make_data):
    X, Y = make_data()
    X[:, 1] = np.digitize(X[:, 0] + X[:, 1], [-1, 0, 1]) * 1.5
    return X, Y


def constant(make_data):
    X, Y = make_data()
    return np.zeros_like(X), Y


CASES = {
    "one task": (floats(1, 0.0), {}),
    "tasks": (
        floats(),
        {"early_stopping_rounds": 3, "track_training_score": True, "eval_metric": "auc"},
    ),
    "own best rounds": (floats(), {"early_stopping_rounds": 2, "best_round_per_task": True}),
    "ten tasks": (floats(10, 0.3), {"subsample": 0.5, "subsample_freq": 1}),
    "text": (labels(lambda y: np.where(y > 0, "late", "on time")), {}),
    "wide text": (labels(lambda y: np.array(["a", "b"], dtype="<U9")[np.minimum(y, 1)]), {}),
    "objects": (labels(lambda y: np.array(["ä", "b", "c"], dtype=object)[y]), {}),
    "bool": (labels(lambda y: y > 0), {}),
    "int8": (labels(lambda y: y.astype(np.int8) - 7), {}),
    "uint64": (labels(lambda y: y.astype(np.uint64) + np.uint64(2**63)), {}),
    "float32": (labels(lambda y: y.astype(np.float32) * 3), {}),
    "one class": (labels(lambda y: np.where(y < 9, "all", "none")), {}),
    "mixed": (mixed, {"objective": ["binary", "multiclass", "binary"]}),
    "texts": (texts, {"objective": "multiclass"}),
    "pandas": (pandas_table, {"weighting": FixedWeighting(2.0, (0.5, np.float32(0.25)))}),
    "numbered columns": (numbered_columns, {}),
    "polars": (polars_table, {"main_task": 1}),
    "categories by position": (numbered_categories, {"categorical_feature": (1,)}),
    "constraints": (floats(2), {"monotone_constraints": np.array([1, 0, 0, 0, -1])}),
    "weights by name": (
        floats(2),
        {"scale_pos_weight": {"task_1": 2.5}, "reg_alpha": np.float64(1)},
    ),
    "no trees": (constant, {}),
}


@pytest.fixture(scope="module")
def fitted(make_data, make_model):
    """Fits the model of a case once, and returns it with its rows and labels."""
    models = {}

    def fit(name):
        if name not in models:
            build, parameters = CASES[name]
            X, Y = build(make_data)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # "one class" says what it is
                models[name] = make_model(**parameters).fit(X, Y), X, Y
        return models[name]

    return fit


@pytest.fixture
def reload(tmp_path):
    """Saves a model and loads it."""

    def save_and_load(model):
        save_model(model, tmp_path / "model.mtgbm")
        return load_model(tmp_path / "model.mtgbm")

    return save_and_load


def assert_same(loaded, model, X):
    """The two models are told apart by nothing."""
    assert set(vars(loaded)) == set(vars(model))
    assert repr(loaded.get_params()) == repr(model.get_params())
    for method in ("raw_predict", "predict", "predict_proba"):
        found, expected = (tables(getattr(each, method)(X)) for each in (loaded, model))
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_array_equal(one, other, strict=True)
    for kind in ("split", "gain"):
        assert_array_equal(loaded.task_importances(kind), model.task_importances(kind))
    assert_array_equal(loaded.feature_importances_, model.feature_importances_)
    assert repr(loaded.classes_) == repr(model.classes_)
    assert repr(getattr(loaded, "feature_names_in_", 0)) == repr(
        getattr(model, "feature_names_in_", 0)
    )
    for name in ("task_names_", "n_tasks_", "n_features_in_", "best_iteration_"):
        assert getattr(loaded, name) == getattr(model, name)
    assert loaded.best_iteration_per_task_ == model.best_iteration_per_task_
    assert repr(loaded.evals_result_) == repr(model.evals_result_)  # nan is nan
    assert_array_equal(loaded.weight_evolution_, model.weight_evolution_, strict=True)
    assert_same_trees(loaded.forest_, model.forest_)


def tables(prediction):
    return prediction if isinstance(prediction, list) else [prediction]


def assert_same_trees(loaded, forest):
    assert len(loaded.trees) == len(forest.trees)
    for found, expected in zip(loaded.trees, forest.trees, strict=True):
        for name, array in vars(expected).items():
            assert_array_equal(getattr(found, name), array, strict=True)


def test_the_estimator_saves_itself(make_data, make_model, tmp_path):
    X, Y = make_data()
    model = make_model().fit(X, Y)
    model.save_model(tmp_path / "model.mtgbm")
    loaded = mtgbm.load_model(tmp_path / "model.mtgbm")
    assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("name", CASES)
def test_a_loaded_model_is_the_same(fitted, reload, name):
    model, X, _ = fitted(name)
    assert_same(reload(model), model, X)


@pytest.mark.parametrize("name", ["one task", "tasks", "texts", "pandas", "polars"])
def test_a_loaded_model_can_be_saved_copied_and_refitted(fitted, reload, name):
    model, X, Y = fitted(name)
    loaded = reload(reload(model))
    assert_same(loaded, model, X)
    assert_same(pickle.loads(pickle.dumps(loaded)), model, X)
    assert_same(copy.deepcopy(loaded), model, X)
    assert_same(clone(loaded).fit(X, Y), model, X)


@pytest.mark.parametrize("name", ["tasks", "mixed", "pandas", "categories by position"])
def test_a_loaded_model_can_be_continued(fitted, reload, make_model, name):
    """As the model itself can: bins, curves and weights are all there."""
    _, X, Y = fitted(name)
    _, parameters = CASES[name]
    start = {"n_estimators": 4, "warm_start": True, "use_quantized_grad": False}
    model = make_model(**(parameters | start)).fit(X, Y)
    loaded = reload(model)
    for each in (model, loaded):
        each.set_params(n_estimators=9).fit(X, Y)
    assert_same(loaded, model, X)
    assert loaded.best_iteration_ > 4


def test_a_model_continued_on_rows_of_which_more_is_missing(fitted, reload):
    model, X, Y = fitted("one task")
    loaded = reload(model).set_params(n_estimators=10, warm_start=True)
    X = np.where(X > 1, np.nan, X)
    loaded.fit(X, Y)
    assert_same(reload(loaded), loaded, X)


def test_trees_of_one_leaf(fitted, reload):
    """`fit` leaves none, but other ways to a model may."""
    model, X, _ = fitted("tasks")
    model = copy.deepcopy(model)
    node = np.zeros(1, dtype=NODE_DTYPE)
    node[["feature", "left", "right", "bitset"]] = -1
    sums = np.ones((1, 3))
    leaf = Tree(node, np.empty((0, 8), np.uint32), sums, sums, sums, np.array([300]), 0 * sums)
    model.forest_.trees.insert(1, leaf)
    model.forest_.__dict__.pop("_cache", None)
    model.best_iteration_ += 1
    assert_same(reload(model), model, X)


def test_rows_from_other_libraries_and_dtypes(fitted, reload):
    model, X, _ = fitted("pandas")
    loaded = reload(model)
    unseen = X.assign(text=pd.Categorical(["green"] * len(X)))
    assert_array_equal(loaded.predict_proba(unseen), model.predict_proba(unseen))
    loaded, (model, X, _) = reload(fitted("one task")[0]), fitted("one task")
    assert_array_equal(loaded.predict_proba(X.astype("f4")), model.predict_proba(X.astype("f4")))


# Values -----------------------------------------------------------------------------------------


NUMBERS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
SCALARS = NUMBERS | st.sampled_from(
    [np.float32(0.1), np.int8(-3), np.bool_(True), np.str_("ä"), np.float16(np.inf)]
)
ARRAYS = st.sampled_from(
    [np.arange(6).reshape(2, 3), np.array([]), np.array([["a", "bcd"]]), np.array(2.5)]
    + [np.array([1.5, np.nan], dtype=">f4"), np.array(["x", 1, None, np.inf], dtype=object)]
    + [np.empty((0, 3), dtype=np.uint8), np.array([True, False])]
)
VALUES = st.recursive(
    SCALARS | ARRAYS | st.sets(st.integers(), max_size=1) | st.frozensets(st.text(), max_size=1),
    lambda item: (
        st.lists(item)
        | st.lists(item).map(tuple)
        | st.dictionaries(NUMBERS | st.tuples(NUMBERS), item)
    ),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(VALUES)
def test_values_come_back_from_json(value):
    content = to_json(value, "value")
    read = from_json(json.loads(json.dumps(content, allow_nan=False)), "value")
    assert repr(read) == repr(value)
    assert to_json(read, "value") == content


def test_sets_come_back_from_json():
    for value in ({3, 1, "a", None}, frozenset({(1, 2.5), "b"})):
        read = from_json(to_json(value, "value"), "value")
        assert read == value
        assert type(read) is type(value)


class Halving(BaseEstimator):
    """A weighting of the user's own."""

    def weights(self, round):
        return np.full(len(round.tasks), 0.5**round.number)


class FixedWeightingTwin(FixedWeighting):
    pass


FixedWeightingTwin.__name__ = "FixedWeighting"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"weighting": Halving()}, r"parameter weighting is Halving\(\) of class .*test_native"),
        ({"weighting": FixedWeightingTwin()}, "parameter weighting is FixedWeighting"),
        ({"weighting": FixedWeighting(sub_weight=len)}, "parameter weighting.sub_weight is <built"),
        ({"random_state": np.random.RandomState(0)}, "parameter random_state is RandomState"),
        ({"objective": {"a": [print]}}, "parameter objective: an item.* is <built-in"),
        ({"main_task": np.datetime64("2020-01-01")}, "parameter main_task is an array of datetime"),
        ({"main_task": np.array([{}])}, "parameter main_task is an array with {} of class dict"),
    ],
)
def test_parameters_that_cannot_be_stored_are_refused(fitted, tmp_path, parameters, message):
    model = copy.deepcopy(fitted("tasks")[0]).set_params(**parameters)
    with pytest.raises(TypeError, match=message):
        save_model(model, tmp_path / "model.mtgbm")
    assert not list(tmp_path.iterdir())


class Subclass(MultiTaskLGBMClassifier):
    pass


def with_attribute(model):
    model.note_ = "mine"
    return model


def with_callbacks(model):
    model._skl_callbacks = [print]
    return model


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (clone, NotFittedError, "not fitted yet"),
        (lambda model: LogisticRegression(), TypeError, "holds a MultiTaskLGBMClassifier, got a"),
        (lambda model: Subclass(), TypeError, r"got a .*Subclass; use joblib\.dump"),
        (with_attribute, TypeError, "attributes note_, which fit does not set"),
        (with_callbacks, TypeError, "cannot hold callbacks; take them off"),
        (lambda model: model.set_params(n_estimators=0), ValueError, "n_estimators must be at"),
        (lambda model: model.set_params(n_jobs=0), ValueError, "n_jobs must not be 0"),
        (lambda model: model.set_params(objective="\ud800"), ValueError, r"is none: '\\ud800'"),
    ],
)
def test_models_that_cannot_be_stored_are_refused(fitted, tmp_path, change, error, message):
    with pytest.raises(error, match=message):
        save_model(change(copy.deepcopy(fitted("tasks")[0])), tmp_path / "model.mtgbm")
    assert not list(tmp_path.iterdir())


def test_a_header_that_is_too_long_is_refused(fitted, tmp_path, monkeypatch):
    monkeypatch.setattr(container_writer, "MOST_HEADER_BYTES", 1000)
    with pytest.raises(ValueError, match=r"of this model take \d+ bytes; a model file holds up to"):
        save_model(fitted("tasks")[0], tmp_path / "model.mtgbm")
    assert not list(tmp_path.iterdir())


# Writing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["replace", "fsync"])
def test_an_interrupted_save_leaves_the_old_file(fitted, tmp_path, monkeypatch, name):
    path = tmp_path / "model.mtgbm"
    save_model(fitted("one task")[0], path)
    old = path.read_bytes()

    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, name, interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_model(fitted("tasks")[0], path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_a_save_replaces_the_file_behind_a_link(fitted, tmp_path):
    (tmp_path / "model").write_text("old")
    (tmp_path / "link").symlink_to("model")
    save_model(fitted("one task")[0], str(tmp_path / "link"))
    assert (tmp_path / "link").is_symlink()
    assert load_model(tmp_path / "model").n_tasks_ == 1


def test_a_folder_is_no_place_for_a_model(fitted, tmp_path):
    with pytest.raises(IsADirectoryError, match="it is a folder; name a file"):
        save_model(fitted("one task")[0], tmp_path)
    with pytest.raises(FileNotFoundError):
        save_model(fitted("one task")[0], tmp_path / "none" / "model.mtgbm")


def test_the_header_can_be_read_by_eye(fitted, tmp_path):
    save_model(fitted("pandas")[0], tmp_path / "model.mtgbm")
    content = (tmp_path / "model.mtgbm").read_bytes()
    lines = content[32:].split(b"\n")
    assert b'"format": 1,' in lines
    assert any('[5, ["blü", "red"]]'.encode() in line for line in lines)
    assert any(line.startswith(b'"weighting": {"weighting": {"class": "Fix') for line in lines)


# Old files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(FILES.glob("*.mtgbm")), ids=lambda path: path.stem)
def test_a_file_of_every_format_is_read(path):
    rows = pd.read_csv(path.with_suffix(".csv"), dtype=object)
    numbers = rows.drop(columns="carrier").map(float)  # exact in every version of pandas
    scores = numbers.filter(like="score_").to_numpy()
    X = numbers[["distance", "hour of day"]].assign(carrier=rows["carrier"].astype("category"))
    model = load_model(path)
    assert_array_equal(model.raw_predict(X), scores)
    assert model.task_names_ == ["late", "gate"]
    assert set(model.evals_result_) == {"training", "validation"}
    assert len(model.predict_proba(X)) == 2
    assert (model.feature_importances_ > 0).all()


def test_there_is_a_file_of_every_format():
    names = {path.stem for path in FILES.glob("*.mtgbm")}
    assert names == {f"version_{number}" for number in range(1, container.FORMAT + 1)}
