"""onnxruntime computes from our ONNX files what the estimators compute.

Permitted difference: 1e-12. Both add doubles, but in an order of their own, and take another exp.
"""

import itertools

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from onnxruntime import InferenceSession, SessionOptions
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline, make_pipeline

from mtgbm import MissingValueImputer, MultiTaskLGBMClassifier, RiskTableEncoder
from mtgbm.datasets import load_flights
from mtgbm.io.lightgbm_text import from_lightgbm
from mtgbm.io.onnx import to_onnx

TOLERANCE = {"rtol": 0, "atol": 1e-12}


def start(estimator, **options):
    single = SessionOptions()
    single.intra_op_num_threads = 1
    return InferenceSession(to_onnx(estimator, **options).SerializeToString(), single)


def named_inputs(session, X):
    """The columns that a session reads, from a DataFrame or from the columns of an array."""
    names = list(X.columns) if hasattr(X, "columns") else [f"x{i}" for i in range(X.shape[1])]
    cells = X.to_numpy() if hasattr(X, "columns") else X
    return {
        column.name: as_input(cells[:, names.index(column.name)], column.type)
        for column in session.get_inputs()
    }


def as_input(cells, kind):
    if kind == "tensor(string)":
        cells = np.array(["" if pd.isna(cell) else cell for cell in cells], dtype=object)
        return cells.reshape(-1, 1)
    width = np.float32 if kind == "tensor(float)" else np.float64
    return np.asarray(cells, dtype=object).astype(width).reshape(-1, 1)


def assert_same(session, inputs, estimator, X):
    """Probabilities, and scores if the estimator itself takes X."""
    outputs = [output.name for output in session.get_outputs()]
    found = dict(zip(outputs, session.run(outputs, inputs), strict=True))
    expected = estimator.predict_proba(X)
    if isinstance(expected, list):
        tasks = estimator.task_names_
        expected = {f"probabilities_{t}": p for t, p in zip(tasks, expected, strict=True)}
    else:
        expected = {"probabilities": expected}
    assert list(found) == [*expected, "scores"]
    for name, probabilities in expected.items():
        assert found[name].shape == probabilities.shape
        assert_allclose(found[name], probabilities, **TOLERANCE)
    if hasattr(estimator, "raw_predict"):
        assert_allclose(found["scores"], estimator.raw_predict(X), **TOLERANCE)


# Models of arrays -------------------------------------------------------------------------------


NAMES = ["1 task", "3 tasks", "10 tasks", "a multiclass task", "own best rounds"]


@pytest.mark.parametrize("name", NAMES)
def test_missing_values_and_categories(format_models, other_rows, name):
    model = format_models[name]
    splits = np.concatenate([tree.nodes for tree in model.forest_.trees])
    assert sum(splits["bitset"] >= 0) > 30
    assert 0 < splits["missing_left"][splits["leaf"] < 0].mean() < 1
    assert_same(start(model), {"X": other_rows}, model, other_rows)


def test_the_models_are_what_their_names_say(format_models):
    assert list(format_models) == NAMES
    assert len(set(format_models["own best rounds"].best_iteration_per_task_.values())) > 1


@pytest.mark.parametrize("n_rows", [1, 2, 50, 51, 5000])
def test_any_number_of_rows(format_models, other_rows, n_rows):
    """onnxruntime has several loops and chooses by this number."""
    model = format_models["3 tasks"]
    assert_same(start(model), {"X": other_rows[:n_rows]}, model, other_rows[:n_rows])


@pytest.mark.parametrize("categorical", [True, False])
def test_float32(format_models, other_rows, categorical):
    """The estimator compares the same float32 values with its float64 thresholds."""
    model = format_models["3 tasks"]
    X = other_rows.astype(np.float32)
    if not categorical:
        rng = np.random.default_rng(0)
        X = rng.integers(0, 30, size=(2000, 4)).astype(np.float32) / np.float32(10)
        Y = (X[:, :2] > X[:, 2:]).astype(float)
        model = MultiTaskLGBMClassifier(n_estimators=5, n_jobs=1).fit(X, Y)
    assert_same(start(model, dtype="float32"), {"X": X}, model, X)


def test_values_at_and_beside_the_thresholds(format_models):
    model = format_models["3 tasks"]
    thresholds = np.concatenate(
        [tree.nodes["threshold"][tree.nodes["leaf"] < 0] for tree in model.forest_.trees]
    )
    values = np.unique(thresholds)
    values = np.concatenate([values, np.nextafter(values, -np.inf), np.nextafter(values, np.inf)])
    X = np.tile(values[:, None], model.n_features_in_)
    assert_same(start(model), {"X": X}, model, X)


def test_cells_of_every_kind(format_models):
    """Every feature holds each of these once, others are missing."""
    cells = [0.0, -0.0, 0.5, 1.0, 2.5, 31.0, 31.5, 32.0, 63.0, 64.0, 199.5, 200.0, -1.0, 255.0]
    cells += [256.0, 2.0**31, 2.0**53, 1e300, -1e300, 5e-324, np.nan, 4.0000001, 1 + 2**-52]
    n_features = format_models["3 tasks"].n_features_in_
    X = np.full((len(cells) * n_features, n_features), np.nan)
    for feature in range(n_features):
        X[feature * len(cells) :][: len(cells), feature] = cells
    model = format_models["10 tasks"]
    assert_same(start(model), {"X": X}, model, X)


def test_every_category_with_every_other(format_models):
    """Small categories, for which onnxruntime has a way of its own, and large ones."""
    model = format_models["3 tasks"]
    known = list(model._mapper.categories_.values())
    pairs = np.array(list(itertools.product([*known[0], 4, np.nan], [*known[1], 9, np.nan])))
    X = np.column_stack([np.zeros((len(pairs), 5)), pairs])
    assert_same(start(model), {"X": X}, model, X)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_category_splits_of_any_kind(data):
    """Few or many categories, whole or not, negative or large; missing values go either way."""
    seed = data.draw(st.integers(0, 2**16))
    pool = data.draw(st.sampled_from([(0, 5), (0, 40), (1, 29), (-20, 20), (25, 90), (0, 250)]))
    scale = data.draw(st.sampled_from([1.0, 0.5, 1000.0]))
    rng = np.random.default_rng(seed)
    X = rng.integers(*pool, size=(400, 2)) * scale
    y = (rng.normal(size=(pool[1] - pool[0], 2))[(X[:, 0] / scale - pool[0]).astype(int)] > 0) * 1.0
    y[:2] = [[0, 0], [1, 1]]  # both classes
    X[rng.random(X.shape) < 0.1] = np.nan
    model = MultiTaskLGBMClassifier(
        n_estimators=3, num_leaves=8, min_data_per_group=1, cat_smooth=0.1, max_cat_threshold=60,
        min_child_samples=2, categorical_feature=[0, 1], n_jobs=1, random_state=0,
    ).fit(X, y)  # fmt: skip
    for tree in model.forest_.trees:  # `fit` never sends them left
        tree.nodes["missing_left"] = rng.integers(0, 2, len(tree.nodes))
    model.forest_.__dict__.pop("_cache", None)
    other = rng.integers(pool[0] - 2, pool[1] + 2, size=(300, 2)) * scale
    other[::7] += 0.25
    other[::5] = np.nan
    assert_same(start(model), {"X": other}, model, other)


def test_a_subset_of_all_categories_or_of_none(format_models, other_rows):
    model = format_models["1 task"]
    changed = from_lightgbm(model.to_lightgbm())  # a copy to change
    for tree in changed.forest_.trees:
        tree.bitsets[::2] = 0xFFFFFFFF
        tree.bitsets[1::2] = 0
        tree.nodes["missing_left"][::2] = 1
    changed.forest_.__dict__.pop("_cache", None)
    assert_same(start(changed), {"X": other_rows}, changed, other_rows)


@pytest.mark.parametrize("n_tasks", [1, 3])
def test_a_model_without_splits(n_tasks):
    X = np.zeros((40, 2))
    Y = np.tile([1.0, 0, 0, 0], 10)
    Y = Y if n_tasks == 1 else np.column_stack([Y] * n_tasks)
    model = MultiTaskLGBMClassifier(n_estimators=3, n_jobs=1).fit(X, Y)
    assert_same(start(model), {"X": X}, model, X)


@pytest.mark.filterwarnings("ignore:task .* has a single class")
@pytest.mark.parametrize("objective", ["binary", "multiclass"])
def test_a_task_of_one_class(objective):
    X = np.arange(60.0).reshape(-1, 1)
    model = MultiTaskLGBMClassifier(n_estimators=3, objective=objective, n_jobs=1)
    model.fit(X, np.full(60, "only"))
    assert model.predict_proba(X).shape == (60, 1)
    assert_same(start(model), {"X": X}, model, X)


@pytest.mark.parametrize("n_classes", [2, 5])
def test_one_multiclass_task(other_rows, n_classes):
    y = np.digitize(np.nan_to_num(other_rows[:, 0]), np.linspace(-1, 1, n_classes - 1))
    model = MultiTaskLGBMClassifier(n_estimators=5, objective="multiclass", n_jobs=1)
    model.fit(other_rows, y)
    assert_same(start(model), {"X": other_rows}, model, other_rows)


@pytest.mark.parametrize("objective", [None, {"task_3": "multiclass"}])
def test_tasks_that_imply_each_other(other_rows, objective):
    X = other_rows[:2000]
    Y = np.nan_to_num(X[:, :4]) > [[-0.5, 0.2, 0.4, 0]]
    model = MultiTaskLGBMClassifier(
        n_estimators=5,
        n_jobs=1,
        objective=objective,
        task_hierarchy={"task_2": "task_1", "task_1": "task_0"},
    )
    with pytest.warns(UserWarning, match="contradicts task_hierarchy"):
        model.fit(X, Y.astype(float))
    assert_same(start(model), {"X": X}, model, X)


def test_split_between_missing_and_present():
    """Its threshold is infinite."""
    X = np.where(np.arange(300).reshape(-1, 1) % 3, np.nan, np.arange(300.0).reshape(-1, 1))
    X = np.hstack([X, np.zeros((300, 1))])
    model = MultiTaskLGBMClassifier(n_estimators=3, n_jobs=1).fit(X, np.isnan(X[:, 0]) * 1)
    assert any(np.isinf(tree.nodes["threshold"]).any() for tree in model.forest_.trees)
    X[:3, 0] = [1.7e308, -1.7e308, 0]
    assert_same(start(model), {"X": X}, model, X)


# Frames and pipelines ---------------------------------------------------------------------------


def make_frame(n_rows=600, seed=0):
    """Numbers, text, and categories of numbers, booleans and text; all with missing cells."""
    rng = np.random.default_rng(seed)
    words = np.array(["a b", "é", "x", "1", "NaN", "new"], dtype=object)
    frame = pd.DataFrame(
        {
            "net, gross": rng.normal(size=n_rows).round(2),
            "Größe": rng.integers(0, 5, n_rows).astype(float),
            "word": words[rng.integers(0, 5 + (seed > 0), n_rows)],
            "code": rng.choice([0.5, 1.0, 7.0, 1e9] + [3.25] * (seed > 0), n_rows),
            "flag": rng.random(n_rows) > 0.5,
        }
    ).astype({"flag": object})
    frame[rng.random(frame.shape) < 0.1] = None
    Y = (
        frame["net, gross"].fillna(0).to_numpy()[:, None]
        + frame["word"].isin(["é", "1"]).to_numpy()[:, None]
        + (frame["code"] == 7).to_numpy()[:, None]
        + rng.normal(size=(n_rows, 2))
        > 0.5
    )
    return frame, Y.astype(float)


def as_categories(frame):
    return frame.astype({"word": "category", "code": "category", "flag": "category"})


SMALL = {"n_estimators": 10, "n_jobs": 1, "random_state": 0, "min_data_per_group": 5}


def test_a_model_of_a_frame_with_categories():
    frame, Y = make_frame()
    other, _ = make_frame(seed=1)
    model = MultiTaskLGBMClassifier(**SMALL).fit(as_categories(frame), Y)
    session = start(model)
    assert {column.name: column.type for column in session.get_inputs()} == {
        "net, gross": "tensor(double)",
        "Größe": "tensor(double)",
        "word": "tensor(string)",
        "code": "tensor(double)",
        "flag": "tensor(double)",
    }
    assert any((tree.nodes["bitset"] >= 0).any() for tree in model.forest_.trees)
    other = as_categories(other)
    assert_same(session, named_inputs(session, other), model, other)


def test_a_model_of_a_polars_frame():
    frame, Y = make_frame()
    words = [None if pd.isna(word) else word for word in frame["word"]]
    frame = pl.DataFrame({"number": frame["net, gross"].to_numpy(), "word": words})
    frame = frame.cast({"word": pl.Categorical})
    model = MultiTaskLGBMClassifier(**SMALL).fit(frame, Y)
    session = start(model)
    assert_same(session, named_inputs(session, frame), model, frame)


def test_a_frame_model_that_lightgbm_trained():
    """Its categories are in an order of their own."""
    import lightgbm

    frame, Y = make_frame()
    frame = pd.DataFrame(
        {
            "number": frame["net, gross"],
            "word": pd.Categorical(frame["word"], ["x", "a b", "é", "NaN", "1"]),
        }
    )
    data = lightgbm.Dataset(frame, Y[:, 0], params={"verbose": -1})
    model = from_lightgbm(lightgbm.train({"objective": "binary", "verbose": -1}, data, 5))
    session = start(model)
    assert_same(session, named_inputs(session, frame), model, frame)


PIPELINES = {
    "risks": [RiskTableEncoder(["word", "code", "flag"], random_state=0)],
    "fills": [
        MissingValueImputer(add_indicator=True),
        RiskTableEncoder(["word", "flag"], random_state=0),
    ],
    "fills behind": [
        RiskTableEncoder(["word", "code", "flag"], random_state=0),
        MissingValueImputer("median", add_indicator=True),
    ],
    "constants": [
        MissingValueImputer("constant", fill_value=-1, categorical_strategy="constant"),
        "passthrough",
        RiskTableEncoder(["word", "flag"], tasks=[1], smooth_factor=0.1, random_state=0),
    ],
    "parts": [
        ColumnTransformer(
            [
                ("risks", RiskTableEncoder(random_state=0), ["word", "code"]),
                ("dropped", "drop", ["flag"]),
                (
                    "both",
                    Pipeline([("fill", MissingValueImputer()), ("none", "passthrough")]),
                    [1],
                ),
                ("none", "passthrough", slice(0, 0)),
                ("mask", "passthrough", np.array([True, True, False, False, False])),
            ],
            remainder="passthrough",
        ),
    ],
}


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_pipelines_score_raw_rows(name, dtype):
    frame, Y = make_frame()
    other, _ = make_frame(seed=1)
    other = other.astype({"net, gross": "float32", "Größe": "float32"}) if "32" in dtype else other
    pipeline = make_pipeline(*PIPELINES[name], MultiTaskLGBMClassifier(**SMALL)).fit(frame, Y)
    session = start(pipeline, dtype=dtype)
    assert_same(session, named_inputs(session, other), pipeline, other)


def test_a_pipeline_of_an_array_of_text():
    """Columns without names are x0, x1, ..."""
    frame, Y = make_frame()
    X = frame[["word", "net, gross"]].to_numpy()
    steps = RiskTableEncoder([0], random_state=0), MultiTaskLGBMClassifier(**SMALL)
    pipeline = make_pipeline(*steps).fit(X, Y)
    session = start(pipeline)
    assert [column.name for column in session.get_inputs()] == ["x0", "x1"]
    assert_same(session, named_inputs(session, X), pipeline, X)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_pipeline_of_an_array_of_numbers_has_one_input(format_models, other_rows, dtype):
    X = other_rows[:1000].astype(dtype)
    Y = (np.nan_to_num(X[:, :2]) > 0.3).astype(float)
    steps = MissingValueImputer(add_indicator=True), MultiTaskLGBMClassifier(**SMALL)
    pipeline = make_pipeline(*steps).fit(X, Y)
    assert_same(start(pipeline, dtype=dtype), {"X": X}, pipeline, X)


def test_the_empty_text_as_a_category():
    X = np.array(["", "a", "b", None] * 50, dtype=object).reshape(-1, 1)
    y = np.array([1, 0, 0, 1, 1, 0, 1, 0] * 25)
    pipeline = make_pipeline(
        RiskTableEncoder(random_state=0), MultiTaskLGBMClassifier(**SMALL, min_child_samples=5)
    ).fit(X, y)
    known = np.array(["", "a", "b"], dtype=object).reshape(-1, 1)
    assert_same(start(pipeline), {"x0": known}, pipeline, known)


def test_flights():
    X, Y = load_flights(return_X_y=True)
    learn, score = slice(0, 4000), slice(30_000, 40_000)
    pipeline = make_pipeline(
        RiskTableEncoder(random_state=0), MultiTaskLGBMClassifier(**SMALL)
    ).fit(X[learn], Y[learn])
    session = start(pipeline)
    assert {"tensor(string)", "tensor(double)"} == {i.type for i in session.get_inputs()}
    assert_same(session, named_inputs(session, X[score]), pipeline, X[score])
