"""Adapters are trained in place of the weights, then merged: what moves, and what is left."""

import copy

import pytest
import torch
from torch.testing import assert_close

from mtbert.modules import BertText, TextFieldSpec, build_network
from mtbert.modules.lora import add_adapters, merge_adapters

LORA = {"text__lora_rank": 2}


@pytest.fixture
def make_network(tiny_bert):
    def make(architecture="bert", **options):
        torch.manual_seed(0)
        specs = {"review": TextFieldSpec(60)}
        return build_network(
            architecture, text_fields=specs, n_outputs=1, encoder=tiny_bert, **options
        )

    return make


def trained_names(network):
    return {name for name, p in network.named_parameters() if p.requires_grad}


def base_weights(network):
    """By the names that they have without adapters."""
    state = network.state_dict().items()
    return {n.replace(".base_layer", ""): w.clone() for n, w in state if "lora_" not in n}


def train(network, batch, n_steps=40):
    network.train()
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=0.03)
    losses = []
    for _ in range(n_steps):
        optimizer.zero_grad()
        target = torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0])
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            network(**batch).squeeze(1), target
        )
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_the_adapters_and_the_head_are_all_that_is_trained(make_network):
    """Two layers, two matrices of 16 x 16 each: 2 * 2 * (16 * 2 + 2 * 16) numbers."""
    network = make_network(**LORA)
    add_adapters(network, seed=0)
    names = trained_names(network)
    adapters = {name for name in names if "lora_" in name}
    assert names - adapters == {n for n, _ in network.named_parameters() if n.startswith("head.")}
    sizes = [p.numel() for n, p in network.named_parameters() if n in adapters]
    assert sum(sizes) == 2 * 2 * (16 * 2 + 2 * 16)
    assert all(".query." in name or ".value." in name for name in adapters)


def test_new_adapters_change_nothing(make_network, batch):
    network = make_network(**LORA).eval()
    expected = network(**batch)
    add_adapters(network, seed=0)
    assert_close(network(**batch), expected)
    merge_adapters(network)
    assert_close(network(**batch), expected)


def test_training_moves_adapters_only_and_merging_keeps_the_function(make_network, batch):
    plain = make_network(**LORA)
    network = copy.deepcopy(plain)
    add_adapters(network, seed=0)
    before = base_weights(network)
    losses = train(network, batch)
    assert losses[-1] < 0.8 * losses[0]
    for name, parameter in network.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        assert parameter.grad is None or parameter.grad.any(), name
    after = base_weights(network)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if name.startswith("head.")}
    expected = network.eval()(**batch)
    merge_adapters(network)
    assert_close(network(**batch), expected)
    assert list(network.state_dict()) == list(plain.state_dict())
    assert {type(m) for m in network.modules()} == {type(m) for m in plain.modules()}
    merged = network.state_dict()
    encoder = {name for name in before if not torch.equal(merged[name], before[name])} - moved
    assert encoder == {n for n in before if ".query.weight" in n or ".value.weight" in n}


def test_options_of_adapters(make_network):
    options = {"text__lora_alpha": 3.0, "text__lora_dropout": 0.2}
    network = make_network(**LORA, **options, text__lora_target_modules=("key", "dense"))
    add_adapters(network, seed=0)
    layer = network.text_encoders[0].model.encoder.layer[0]
    adapted = layer.attention.self.key
    assert adapted.scaling["default"] == 3.0 / 2
    assert adapted.lora_dropout["default"].p == 0.2
    assert hasattr(layer.intermediate.dense, "lora_A")
    assert not hasattr(layer.attention.self.query, "lora_A")


def test_what_is_drawn_anew_is_trained_beside_the_adapters(make_network):
    network = make_network(**LORA, text__reinit_layers=1)
    add_adapters(network, seed=0)
    names = {name for name in trained_names(network) if "lora_" not in name}
    assert any(".layer.1." in name for name in names)
    assert not any(".layer.0." in name or "embeddings" in name for name in names)


def test_dropout_stays_on(make_network, batch):
    network = make_network(**LORA)
    add_adapters(network, seed=0)
    network.train()
    assert not torch.equal(network(**batch), network(**batch))


def test_the_seed_draws_the_adapters(make_network):
    networks = [make_network(**LORA) for _ in range(3)]
    state = torch.get_rng_state()
    for network, seed in zip(networks, (0, 0, 1), strict=True):
        add_adapters(network, seed)
    assert torch.equal(torch.get_rng_state(), state)
    first, same, other = (
        torch.cat([p.flatten() for n, p in network.named_parameters() if "lora_A" in n])
        for network in networks
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_networks_without_adapters_are_left_alone(make_network, batch):
    for network in (make_network(), make_network("lstm")):
        names = list(network.state_dict())
        add_adapters(network, seed=0)
        merge_adapters(network)
        assert list(network.state_dict()) == names


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"lora_rank": 0}, ValueError, "lora_rank must be at least 1"),
        ({"lora_rank": 2.0}, TypeError, "lora_rank must be an integer"),
        ({"lora_rank": 2, "lora_alpha": 0}, ValueError, "lora_alpha must be above 0"),
        ({"lora_rank": 2, "lora_dropout": 1.0}, ValueError, "lora_dropout must be at least 0 and"),
        ({"lora_rank": 2, "lora_target_modules": "key"}, TypeError, "must be a list of names"),
        ({"lora_rank": 2, "frozen_layers": 1}, ValueError, "but frozen_layers=1; leave one"),
    ],
)
def test_bad_options(make_network, options, error, message):
    with pytest.raises(error, match=message):
        make_network(**{f"text__{name}": value for name, value in options.items()})


def test_the_encoder_remembers_its_adapters(make_network):
    encoder = make_network(**LORA).text_encoders[0]
    assert isinstance(encoder, BertText)
    assert encoder.lora.to_config().r == 2
    assert encoder.lora.to_config().lora_alpha == 4
