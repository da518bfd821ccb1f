"""A classifier that learns by adapters, and is left without them."""

import pickle
import sys

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.metrics import roc_auc_score

from mtbert import MultimodalTextTabularClassifier
from mtbert.training import Training

LORA = {"text__lora_rank": 8, "text__lora_target_modules": ["query", "value", "dense"]}


@pytest.fixture
def fitted(make_model, make_reviews):
    return make_model(
        architecture="bert",
        network_options=LORA,
        epochs=12,
        encoder_learning_rate=0.03,
    ).fit(*make_reviews(128))


def test_a_classifier_learns_by_adapters(fitted, make_reviews):
    X, y = make_reviews(64, seed=1)
    assert roc_auc_score(y, fitted.predict_proba(X)[:, 1]) > 0.9
    assert "lora" not in " ".join(fitted.network_.state_dict())


def test_a_fitted_model_needs_no_peft(fitted, make_reviews, tmp_path, monkeypatch):
    X, _ = make_reviews(16)
    fitted.save(tmp_path / "model")
    text = pickle.dumps(fitted)
    assert b"peft" not in text
    monkeypatch.setitem(sys.modules, "peft", None)
    for model in (MultimodalTextTabularClassifier.load(tmp_path / "model"), pickle.loads(text)):
        assert_allclose(model.predict_proba(X), fitted.predict_proba(X), atol=1e-6)


def test_going_on_starts_with_new_adapters_on_the_merged_weights(fitted, make_reviews):
    X, y = make_reviews(64)
    model = pickle.loads(pickle.dumps(fitted)).set_params(epochs=1)
    model.partial_fit(X, y)
    before, after = fitted.network_.state_dict(), model.network_.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    encoder = {name for name in moved if name.startswith("text_encoders")}
    assert any("query.weight" in name for name in encoder)
    assert not any("embeddings" in name or "LayerNorm" in name for name in encoder)
    assert np.mean(model.predict(X) == y) > 0.8


def test_peft_is_missing(make_model, make_reviews, monkeypatch):
    def refuse(self, *arguments):
        raise AssertionError("training began")

    X, y = make_reviews(24)
    monkeypatch.setattr(Training, "run", refuse)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ImportError, match=r"needs the package peft: pip install 'mtgbm\[lora\]'"):
        make_model(architecture="bert", network_options=LORA).fit(X, y)


def test_a_target_that_is_not_there(make_model, make_reviews):
    X, y = make_reviews(24)
    options = {"text__lora_rank": 2, "text__lora_target_modules": ["no_such_layer"]}
    model = make_model(architecture="bert", network_options=options)
    with pytest.raises(ValueError, match="no_such_layer"):
        model.fit(X, y)
