"""The file gives the probabilities of `predict_proba`, whatever rows it is given."""

import json
import os
import sys

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError

from mtbert import OnnxScorer
from mtbert.modules import ARCHITECTURES
from mtbert.text import NAMED_STEPS, EmojiRemover, TextNormalizer
from mtgbm.model_state import installed_version

EIGHT_BITS = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)


def assert_same(scorer, model, X):
    """All at once, one by one, and in blocks of other sizes than the file was made with."""
    want = model.predict_proba(X)
    assert_allclose(scorer.predict_proba(X), want, rtol=0, atol=1e-5)
    for rows in ([0], [3], [1, 0], [2, 3, 4, 5, 6, 7, 8]):
        some = X.iloc[rows]
        assert_allclose(scorer.predict_proba(some), want[rows], rtol=0, atol=1e-5)
    assert scorer.classes_.tolist() == model.classes_.tolist()
    assert_array_equal(scorer.predict(X), model.predict(X))


# Parity -----------------------------------------------------------------------------------------


def with_missing(y):
    """Two tasks, one with labels of some rows only."""
    return pd.DataFrame({"kept": y > 0, "torn": np.where(y == 1, np.nan, y == 2)}, dtype=float)


NAMES = ["late", "ok", "bäd"]
OTHER_STEPS = {
    "review": ["dialogue_splitter", "dialogue_chunker", "html_normalizer", "tokenizer"],
    "title": [("lower", TextNormalizer(lower=True, form="NFKC")), "dialogue_chunker", "tokenizer"],
}
#: One for each architecture: an export takes seconds, so each has something else to show too.
CASES = {
    "multimodal_bert": {"texts": ["review"], "labels": with_missing},
    "multimodal_cnn": {"labels": lambda y: np.array(NAMES)[y], "classes": NAMES},
    "multimodal_moe": {"texts": ["review"], "scaling": "standard", "shared_encoder": False},
    "multimodal_gate_fusion": {"shared_encoder": False, "category_encoding": "embedding"},
    "multimodal_cross_attn": {"category_encoding": "risk"},
    "bert": {"network_options": {"text__pooling": "cls"}},
    "lstm": {"text_steps": OTHER_STEPS, "max_total_chunks": 2, "max_sen_len": 9},
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture(architecture, fit, written, others):
    model = fit(architecture, **CASES[architecture])
    assert_same(written(model), model, others)


def test_a_table_of_texts_alone(make_model, make_parcels, written, others):
    X, y = make_parcels()
    model = make_model(epochs=1).fit(X[["review"]], np.array(NAMES, dtype=object)[y])
    scorer = written(model)
    assert scorer.column_names_ == ["review"]
    assert scorer.classes_.dtype == model.classes_.dtype == object
    assert_same(scorer, model, others[["review"]])


# int8 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["multimodal_bert", "lstm"])
def test_int8_is_close_and_smaller(architecture, fit, others, tmp_path):
    model = fit(architecture, texts=["review"])
    path = tmp_path / "model.onnx"
    model.to_onnx(path, quantize="int8")
    assert os.listdir(tmp_path) == ["model.onnx"]
    scorer = OnnxScorer(path, n_threads=1)
    difference = np.abs(scorer.predict_proba(others) - model.predict_proba(others)).max()
    assert 0 < difference < 0.02
    assert scorer.description_["quantize"] == "int8"
    rounded = [own for own in onnx.load(path).graph.initializer if own.data_type in EIGHT_BITS]
    encoder = model.network_.text_encoders[0]
    if architecture == "multimodal_bert":
        least = 0.8 * sum(weights.numel() for weights in encoder.model.parameters())
    else:
        least = encoder.embedding.weight.numel()
    assert sum(np.prod(own.dims) for own in rounded) >= least


# The file ---------------------------------------------------------------------------------------


def test_what_is_in_the_file(fit, tmp_path):
    """It replaces an older one, and the model stays as it was."""
    model = fit("multimodal_cnn", labels=lambda y: y)
    weights = {name: values.clone() for name, values in model.network_.state_dict().items()}
    path = tmp_path / "model.onnx"
    path.write_bytes(b"old")
    model.to_onnx(path)
    assert os.listdir(tmp_path) == ["model.onnx"]
    for name, values in model.network_.state_dict().items():
        assert torch.equal(values, weights[name])
    proto = onnx.load(path)
    onnx.checker.check_model(proto, full_check=True)
    assert proto.ir_version == 10
    text = {
        f"text_{n}_{kind}": ["n_rows", f"text_{n}_chunks", f"text_{n}_length"]
        for n in (0, 1)
        for kind in ("ids", "mask")
    }
    columns = {name: ["n_rows", 1] for name in ("price", "weight", "shop", "size")}
    assert shapes_of(proto.graph) == text | columns | {"probabilities": ["n_rows", 3]}
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    assert metadata["mtgbm_version"] == installed_version()
    description = json.loads(metadata["description"])
    assert [step for step, _ in description["text_fields"][0]["steps"]] == list(NAMED_STEPS)
    assert description["text_fields"][1]["column"] == "title"
    assert json.loads(metadata["tokenizer_0"])["model"]["type"] == "WordPiece"


def shapes_of(graph):
    return {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }


# Refused ----------------------------------------------------------------------------------------


@pytest.fixture
def no_export(monkeypatch):
    """Work is a failure."""

    def build_model(*arguments):
        raise AssertionError("work before the check")

    monkeypatch.setattr("mtbert.onnx.export.build_model", build_model)


def test_a_path_that_cannot_be_written(fit, no_export, tmp_path):
    model = fit("multimodal_cnn")
    (tmp_path / "file").write_text("")
    with pytest.raises(IsADirectoryError, match="it is a folder; name a file"):
        model.to_onnx(tmp_path)
    with pytest.raises(FileNotFoundError, match="name a file in a folder that exists"):
        model.to_onnx(tmp_path / "absent" / "model.onnx")
    with pytest.raises(NotADirectoryError, match="may be written to"):
        model.to_onnx(tmp_path / "file" / "model.onnx")
    assert os.listdir(tmp_path) == ["file"]


def test_a_failed_export_leaves_the_older_file(fit, tmp_path, monkeypatch):
    model = fit("multimodal_cnn")
    path = tmp_path / "model.onnx"
    path.write_bytes(b"old")
    monkeypatch.setattr("mtbert.onnx.export.build_model", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model.to_onnx(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model.onnx"]


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_a_missing_package(package, fit, no_export, tmp_path, monkeypatch):
    model = fit("multimodal_cnn")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"{package}: pip install 'mtgbm\[onnx\]'"):
        model.to_onnx(tmp_path / "model.onnx")


def test_onnxruntime_is_needed_to_quantize_alone(fit, no_export, tmp_path, monkeypatch):
    model = fit("multimodal_cnn")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"onnxruntime: pip install 'mtgbm\[onnx\]'"):
        model.to_onnx(tmp_path / "model.onnx", quantize="int8")
    with pytest.raises(AssertionError, match="work before the check"):
        model.to_onnx(tmp_path / "model.onnx")


def test_another_quantization(fit, no_export, tmp_path):
    with pytest.raises(ValueError, match="unknown quantize 'int4'; did you mean 'int8'"):
        fit("multimodal_cnn").to_onnx(tmp_path / "model.onnx", quantize="int4")


def test_before_fit(make_model, tmp_path):
    with pytest.raises(NotFittedError):
        make_model().to_onnx(tmp_path / "model.onnx")
    assert os.listdir(tmp_path) == []


class Shouting(EmojiRemover):
    """A step that a file cannot hold."""


def test_a_step_of_ones_own(fit, tmp_path):
    model = fit("multimodal_cnn", text_steps=[("shouting", Shouting()), "tokenizer"])
    with pytest.raises(ValueError, match="'shouting' of text column 'review' is a Shouting"):
        model.to_onnx(tmp_path / "model.onnx")
    assert os.listdir(tmp_path) == []
