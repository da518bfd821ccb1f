"""What each modality says alone, for training."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mtbert.modules import TextFieldSpec, build_network
from mtbert.net import MaskedLoss

NONE = {"modalities__loss_weight": 0.0}


@pytest.fixture
def build(tiny_bert):
    def build(architecture="multimodal_bert", n_numeric=3, **options):
        torch.manual_seed(0)
        specs = dict.fromkeys(("review", "title"), TextFieldSpec(tiny_bert["vocab_size"]))
        return build_network(
            architecture,
            text_fields=specs,
            n_outputs=4,
            n_numeric=n_numeric,
            cardinalities=[3, 5] if n_numeric else [],
            encoder=tiny_bert,
            shared_encoder=True,
            **options,
        ).eval()

    return build


@pytest.mark.parametrize("architecture", ["multimodal_bert", "multimodal_cnn", "multimodal_moe"])
def test_predictions_know_nothing_of_them(build, batch, architecture):
    plain, network = build(architecture, **NONE), build(architecture)
    assert plain.modality_heads is None
    logits, of_modalities = network(with_modalities=True, **batch)
    assert torch.equal(logits, plain(**batch))
    assert torch.equal(network(**batch), logits)
    assert [own.shape for own in of_modalities] == [(5, 4), (5, 4)]
    assert plain(with_modalities=True, **batch)[1] == []


def test_each_head_sees_its_own_modality(build, batch):
    network = build("multimodal_cross_attn", text__table_context=False)
    text, table = network(with_modalities=True, **batch)[1]
    for name, of_text in (("review_ids", True), ("title_ids", True), ("numeric", False)):
        changed = batch | {name: batch[name].roll(1, 0)}
        new_text, new_table = network(with_modalities=True, **changed)[1]
        assert torch.equal(new_text, text) is not of_text
        assert torch.equal(new_table, table) is of_text


def test_gradient_reaches_them(build, batch):
    network = build().train()
    logits, of_modalities = network(with_modalities=True, **batch)
    sum(
        F.cross_entropy(z, torch.tensor([0, 1, 2, 3, 0])) for z in (logits, *of_modalities)
    ).backward()
    assert all(parameter.grad.any() for parameter in network.modality_heads.parameters())


def test_one_modality_has_none(build):
    assert build(n_numeric=0).modality_heads is None
    with pytest.raises(ValueError, match="bert has no option 'modalities__loss_weight'"):
        build("bert", **NONE)


@pytest.mark.parametrize(("weight", "error"), [(-0.1, ValueError), ("much", TypeError)])
def test_bad_weights(build, weight, error):
    with pytest.raises(error, match="loss_weight must be"):
        build(modalities__loss_weight=weight)


def test_their_losses_are_added(make_model, make_reviews, monkeypatch):
    """The gradient of a step is that of the weighted sum of the three losses."""
    X, y = make_reviews(32)
    losses = []
    forward = MaskedLoss.forward
    monkeypatch.setattr(
        MaskedLoss, "forward", lambda *args: losses.append(forward(*args)) or losses[-1]
    )
    model = make_model(
        epochs=1,
        batch_size=32,
        network_options={"modalities__loss_weight": 0.25},
    ).fit(X, y)
    fused, text, table = (loss.item() for loss in losses)
    expected = (fused + 0.25 * (text + table)) / 32
    assert model.history_[0]["train_loss"] == pytest.approx(expected, rel=1e-6)


def test_a_model_with_them_survives_files(make_model, make_reviews, tmp_path):
    X, y = make_reviews(40)
    model = make_model(epochs=1, network_options={"modalities__loss_weight": 1.0}).fit(X, y)
    without = make_model(epochs=1, network_options=NONE).fit(X, y)
    model.save(tmp_path / "model")
    restored = type(model).load(tmp_path / "model")
    np.testing.assert_array_equal(restored.predict_proba(X), model.predict_proba(X))
    assert isinstance(restored.network_.modality_heads.text, nn.Linear)
    assert (without.predict_proba(X) != model.predict_proba(X)).any()
