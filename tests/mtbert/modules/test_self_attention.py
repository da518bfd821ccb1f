"""Attention by plain products of matrices gives what that of torch gives."""

import copy
import pickle
import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

from mtbert.modules import self_attention
from mtbert.modules.bert import BertText
from mtbert.modules.self_attention import NAME, attend
from mtbert.pretrained import load_encoder


class Layer:
    is_causal = False


def heads(dtype, length=7, requires_grad=True):
    return [torch.randn(3, 2, length, 4, dtype=dtype).requires_grad_(requires_grad) for _ in "qkv"]


def fused(query, key, value, mask, **options):
    found = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, **options)
    return found.transpose(1, 2)


@pytest.fixture
def mask():
    """Rows of 7, 4 and 1 tokens."""
    real = torch.arange(7) < torch.tensor([[7], [4], [1]])
    return real[:, None, None, :].expand(3, 1, 7, 7)


@pytest.mark.parametrize("has_mask", [True, False])
@pytest.mark.parametrize("scaling", [None, 0.3])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.bfloat16, 0.03)])
def test_the_same_values_and_gradients_as_the_fused_kernel(
    mask, has_mask, scaling, dtype, tolerance
):
    mask = mask if has_mask else None
    ours = heads(dtype)
    theirs = [values.detach().double().requires_grad_() for values in ours]
    found, weights = attend(Layer, *ours, mask, scaling=scaling)
    expected = fused(*theirs, mask, scale=scaling)
    assert weights is None
    assert found.dtype is dtype
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)
    slope = torch.randn_like(found)
    found.backward(slope)
    expected.backward(slope.double())
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad.double(), other.grad, rtol=tolerance, atol=tolerance)


def test_dropped_weights_leave_the_mean_as_it_is(mask):
    torch.manual_seed(0)
    tokens = heads(torch.float32)
    drawn = torch.stack([attend(Layer, *tokens, mask, dropout=0.4)[0] for _ in range(2000)])
    expected = fused(*tokens, mask)
    error = drawn.std(dim=0) / len(drawn) ** 0.5
    assert ((drawn.mean(dim=0) - expected).abs() <= 6 * error + 1e-5).all()
    assert (error > 0).any()


@pytest.mark.parametrize(
    "asked",
    [{"is_causal": True}, {"position_bias": torch.randn(1, 2, 7, 7)}],
    ids=["causal", "bias"],
)
def test_what_else_a_model_asks_is_left_to_torch(asked):
    tokens = heads(torch.bfloat16)
    found = attend(Layer, *tokens, None, **asked)[0]
    if "is_causal" in asked:
        expected = fused(*tokens, None, is_causal=True)
    else:
        expected = fused(*tokens, asked["position_bias"].to(torch.bfloat16))
    torch.testing.assert_close(found, expected, rtol=0.03, atol=0.03)


@pytest.mark.parametrize(
    ("dtype", "dropout", "is_training", "is_plain"),
    [
        (torch.bfloat16, 0.0, True, True),
        (torch.float32, 0.1, True, True),
        (torch.float32, 0.0, True, False),
        (torch.bfloat16, 0.0, False, False),
    ],
)
def test_the_plain_way_is_taken_where_it_is_faster(
    monkeypatch, dtype, dropout, is_training, is_plain
):
    calls = []
    plain = self_attention._attend
    monkeypatch.setattr(self_attention, "_attend", lambda *a: calls.append(a) or plain(*a))
    attend(Layer, *heads(dtype, requires_grad=is_training), None, dropout)
    assert bool(calls) is is_plain


def test_encoders_attend_by_it_and_say_the_same(tiny_bert, text):
    model = load_encoder(tiny_bert).model
    twin = copy.deepcopy(model)
    encoder = BertText(model)
    assert model.config._attn_implementation == NAME
    ids, mask = text[0].flatten(0, 1)[:2], text[1].flatten(0, 1)[:2]
    expected = twin(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    torch.testing.assert_close(encoder.eval().encode_chunks(ids, mask), expected)


def test_a_pickled_encoder_attends_in_a_fresh_process(tiny_bert, text, tmp_path):
    encoder = BertText(load_encoder(tiny_bert).model).train()
    file = tmp_path / "encoder.pkl"
    file.write_bytes(pickle.dumps((encoder, text)))
    code = (
        "import pickle, sys\n"
        "encoder, text = pickle.load(open(sys.argv[1], 'rb'))\n"
        "encoder(*text).vector.sum().backward()\n"
        "print(encoder.model.config._attn_implementation)\n"
    )
    command = [sys.executable, "-c", code, str(file)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == NAME


def test_a_model_whose_attention_was_chosen_keeps_it(tiny_bert):
    model = load_encoder(tiny_bert).model
    model.set_attn_implementation("eager")
    BertText(model)
    assert model.config._attn_implementation == "eager"
