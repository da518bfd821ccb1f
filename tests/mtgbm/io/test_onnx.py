"""What is in an ONNX file, and what cannot be in one; tests/oracles has onnxruntime score it."""

import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from onnx.reference import ReferenceEvaluator
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mtgbm import MissingValueImputer, MultiTaskLGBMClassifier, RiskTableEncoder
from mtgbm.io.onnx import to_onnx
from mtgbm.model_state import installed_version


@pytest.fixture(scope="module")
def fitted(make_data, make_model):
    X, Y = make_data()
    return make_model().fit(X, Y)


def fit_risks(make_model, frame, **parameters):
    y = np.arange(len(frame)) % 2
    return make_pipeline(RiskTableEncoder(random_state=0, **parameters), make_model()).fit(frame, y)


def shapes(values):
    return {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in values
    }


# Content ----------------------------------------------------------------------------------------


def test_inputs_and_outputs(fitted):
    graph = fitted.to_onnx().graph
    assert shapes(graph.input) == {"X": ["n_rows", 5]}
    assert shapes(graph.output) == {"probabilities": ["n_rows", 3], "scores": ["n_rows", 3]}


def test_outputs_of_several_tasks_of_which_one_is_multiclass(make_data, make_model):
    X, Y = make_data(n_tasks=2)
    Y = pd.DataFrame({"late": Y[:, 0], "kind": Y.sum(axis=1)})
    model = make_model(objective={"kind": "multiclass"}).fit(X, Y)
    assert shapes(model.to_onnx().graph.output) == {
        "probabilities_late": ["n_rows", 2],
        "probabilities_kind": ["n_rows", 3],
        "scores": ["n_rows", 4],
    }


def test_versions_that_older_readers_know(fitted):
    model = fitted.to_onnx()
    assert model.ir_version == 10
    assert {own.domain: own.version for own in model.opset_import} == {"": 21, "ai.onnx.ml": 5}


def test_metadata(make_model):
    frame = pd.DataFrame({"distance": np.arange(60.0), "carrier": ["AA", "UA", "é"] * 20})
    labels = pd.Series(np.where(np.arange(60) % 2, "late", "on time"), name="arrival")
    pipeline = make_pipeline(RiskTableEncoder(random_state=0), make_model()).fit(frame, labels)
    found = {entry.key: entry.value for entry in to_onnx(pipeline).metadata_props}
    assert found.pop("mtgbm_version") == installed_version()
    assert {key: json.loads(value) for key, value in found.items()} == {
        "task_names": ["arrival"],
        "classes": [["late", "on time"]],
        "feature_names": ["distance", "carrier"],
    }


def test_trees_behind_a_tasks_last_round_are_left_out(make_data, make_model):
    X, Y = make_data(n_rows=1000)
    model = make_model(
        n_estimators=100, early_stopping_rounds=3, best_round_per_task=True, early_stopping_task=0
    ).fit(X, Y)
    rounds = [*model.best_iteration_per_task_.values()]
    assert len(set(rounds)) > 1
    (node,) = [node for node in model.to_onnx().graph.node if node.op_type == "TreeEnsemble"]
    (roots,) = [entry.ints for entry in node.attribute if entry.name == "tree_roots"]
    assert len(roots) == sum(rounds)


def test_columns_that_nothing_reads_are_no_inputs(make_model):
    frame = pd.DataFrame({"a": np.arange(60.0), "b": ["x", "y"] * 30, "c": np.arange(60.0)})
    parts = [("c", "passthrough", ["c"]), ("b", "drop", ["b"]), ("a", "passthrough", ["a"])]
    pipeline = make_pipeline(ColumnTransformer(parts), make_model()).fit(frame, frame["c"] > 30)
    assert shapes(to_onnx(pipeline).graph.input) == {"a": ["n_rows", 1], "c": ["n_rows", 1]}


def test_a_reader_written_in_python(fitted, make_data):
    """onnx's own, which follows the text of the standard."""
    X, _ = make_data(n_rows=30, seed=1)
    X[::4, :3] = np.nan
    probabilities, scores = ReferenceEvaluator(fitted.to_onnx()).run(None, {"X": X})
    assert_allclose(scores, fitted.raw_predict(X), rtol=0, atol=1e-12)
    assert_allclose(probabilities, fitted.predict_proba(X), rtol=0, atol=1e-12)


# Files ------------------------------------------------------------------------------------------


def test_the_file_holds_what_is_returned(fitted, tmp_path):
    returned = fitted.to_onnx(tmp_path / "model.onnx")
    assert onnx.load(tmp_path / "model.onnx") == returned == to_onnx(fitted)
    assert os.listdir(tmp_path) == ["model.onnx"]


def test_an_older_file_stays_if_the_new_one_cannot_be_made(fitted, make_model, tmp_path):
    path = tmp_path / "model.onnx"
    fitted.to_onnx(path)
    before = path.read_bytes()
    with pytest.raises(NotFittedError):
        make_model().to_onnx(path)
    assert path.read_bytes() == before
    with pytest.raises(IsADirectoryError, match="it is a folder"):
        fitted.to_onnx(tmp_path)


# Refused ----------------------------------------------------------------------------------------


def test_other_estimators():
    with pytest.raises(TypeError, match=r"takes a MultiTaskLGBMClassifier, or .* Logistic"):
        to_onnx(LogisticRegression())


def test_a_pipeline_that_ends_in_another_estimator():
    with pytest.raises(TypeError, match="got a pipeline that ends in a LogisticRegression"):
        to_onnx(make_pipeline(MissingValueImputer(), LogisticRegression()))


def test_other_steps_are_named(make_data, make_model):
    X, Y = make_data()
    pipeline = make_pipeline(MissingValueImputer(), StandardScaler(), make_model()).fit(X, Y)
    with pytest.raises(TypeError, match="step 'standardscaler' is a StandardScaler, which has no"):
        to_onnx(pipeline)


def test_other_steps_within_a_column_transformer(make_data, make_model):
    X, Y = make_data()
    parts = ColumnTransformer([("scaled", StandardScaler(), [0, 1])], remainder="passthrough")
    pipeline = make_pipeline(parts, make_model()).fit(X, Y)
    with pytest.raises(TypeError, match="step 'columntransformer__scaled' is a StandardScaler"):
        to_onnx(pipeline)


def test_other_dtypes(fitted):
    with pytest.raises(ValueError, match=r"unknown dtype 'float16'; did you mean 'float64'\? Ex"):
        fitted.to_onnx(dtype="float16")


REFUSED_CATEGORIES = {
    "numbers and text": ([1, "a"], "column 'a' has numbers and text as categories"),
    "numbers that float64 merges": ([2**53 + 1, 2], "has the category 9007199254740993, which"),
}


@pytest.mark.parametrize("name", REFUSED_CATEGORIES)
def test_categories_that_a_column_of_onnx_cannot_hold(make_model, name):
    categories, message = REFUSED_CATEGORIES[name]
    frame = pd.DataFrame({"a": pd.Series(categories * 20, dtype=object)})
    with pytest.raises(ValueError, match=message):
        to_onnx(fit_risks(make_model, frame))


@pytest.mark.parametrize("name", ["scores", "probabilities", ""])
def test_names_that_inputs_cannot_have(make_model, name):
    frame = pd.DataFrame({name: ["a", "b"] * 20})
    with pytest.raises(ValueError, match=f"a column named '{name}' cannot be an input of an ONNX"):
        to_onnx(fit_risks(make_model, frame))


def test_a_column_that_is_text_to_one_step_and_numbers_to_another(make_model):
    frame = pd.DataFrame({"a": pd.Categorical([1, 2, None, 2] * 10)})
    imputer = MissingValueImputer(categorical_strategy="constant")
    steps = imputer, RiskTableEncoder(random_state=0), make_model()
    pipeline = make_pipeline(*steps).fit(frame, np.arange(40) % 2)
    with pytest.raises(ValueError, match="column 'a' has numbers and text as categories"):
        to_onnx(pipeline)
    known = pipeline.set_params(risktableencoder=fit_encoder(frame.astype("float64")))
    with pytest.raises(ValueError, match="'a' holds text here, but step 'risktableencoder' reads"):
        to_onnx(known)


def fit_encoder(frame):
    return RiskTableEncoder(["a"]).fit(frame, np.arange(len(frame)) % 2)


def test_names_within_the_graph_give_way_to_columns(make_model):
    """Columns may be called as the graph would call its own tensors."""
    names = ["X", "X_float64", "concat", "constant", "treeensemble", "X_column", "cast"]
    X = np.random.default_rng(0).normal(size=(60, len(names)))
    model = make_model().fit(pd.DataFrame(X, columns=names), X[:, 0] > 0)
    for dtype, width in {"float64": np.float64, "float32": np.float32}.items():
        proto = model.to_onnx(dtype=dtype)
        assert [value.name for value in proto.graph.input] == names
        inputs = dict(zip(names, X.astype(width)[:10].T[:, :, None], strict=True))
        found = ReferenceEvaluator(proto).run(["probabilities"], inputs)[0]
        frame = pd.DataFrame(X[:10].astype(width), columns=names)
        assert_allclose(found, model.predict_proba(frame), rtol=0, atol=1e-12)


# Dependencies -----------------------------------------------------------------------------------


def test_without_onnx_the_error_says_what_to_install(fitted, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'mtgbm\[onnx\]'"):
        fitted.to_onnx()


def test_onnx_is_imported_when_it_is_needed_and_onnxruntime_never():
    program = (
        "import sys, mtgbm, mtgbm.io.onnx\n"
        "print('onnx' in sys.modules)\n"
        "X = [[float(i)] for i in range(60)]\n"
        "mtgbm.MultiTaskLGBMClassifier(n_estimators=1).fit(X, [0, 1] * 30).to_onnx()\n"
        "print('onnx' in sys.modules, 'onnxruntime' in sys.modules)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout.split() == ["False", "True", "False"], run.stderr


def test_the_estimator_is_not_changed(fitted, make_data):
    X, _ = make_data(seed=2)
    before = fitted.raw_predict(X)
    fitted.to_onnx()
    assert isinstance(fitted, MultiTaskLGBMClassifier)
    np.testing.assert_array_equal(fitted.raw_predict(X), before)
