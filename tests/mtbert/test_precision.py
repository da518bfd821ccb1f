"""precision="auto": which numbers a network computes with, in training and in prediction."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from torch import nn

import mtbert.net
from mtbert import MultimodalTextTabularClassifier
from mtbert.net import check_precision, has_bf16_instructions, inference_precision
from mtbert.net import training_precision as find

CPU = torch.device("cpu")


@pytest.fixture(params=[True, False], ids=["with bf16", "without bf16"])
def has_bf16(request, monkeypatch):
    monkeypatch.setattr(mtbert.net, "has_bf16_instructions", lambda device: request.param)
    return request.param


@pytest.fixture
def bert(make_model, make_reviews):
    return make_model(architecture="bert", epochs=1).fit(*make_reviews(16)).network_


def test_bert_is_trained_in_what_the_device_has(bert, has_bf16):
    assert find("auto", bert, CPU) == ("bf16" if has_bf16 else "fp32")


@pytest.mark.usefixtures("has_bf16")
def test_what_trains_no_bert_computes_in_fp32(bert):
    assert find("auto", nn.Linear(2, 2), CPU) == "fp32"
    assert find("auto", bert.requires_grad_(False), CPU) == "fp32"


@pytest.mark.usefixtures("has_bf16")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_what_the_user_says_holds(bert, precision):
    assert find(precision, bert, CPU) == precision
    assert inference_precision(precision) == precision


def test_a_cpu_has_what_its_flags_say():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    flags = next(line for line in lines if line.startswith("flags")).split()
    assert has_bf16_instructions(CPU) == ("avx512_bf16" in flags)


def test_auto_can_be_checked_and_others_cannot():
    check_precision("auto", CPU)
    with pytest.raises(ValueError, match="unknown precision 'fp64'"):
        check_precision("fp64", CPU)


def test_auto_is_the_default_and_predicts_in_fp32(make_model, make_reviews, has_bf16):
    """The weights are those of the precision that was found; the scores are those of fp32."""
    assert MultimodalTextTabularClassifier().precision == "auto"
    X, y = make_reviews(32)
    auto = make_model(architecture="bert", precision="auto", epochs=1).fit(X, y)
    named = "bf16" if has_bf16 else "fp32"
    same = make_model(architecture="bert", precision=named, epochs=1).fit(X, y)
    for found, expected in zip(
        auto.network_.state_dict().values(), same.network_.state_dict().values(), strict=True
    ):
        assert_array_equal(found.numpy(), expected.numpy())
    scores = same.set_params(precision="fp32").predict_proba(X)
    assert_array_equal(auto.predict_proba(X), scores)
    assert np.isfinite(scores).all()
