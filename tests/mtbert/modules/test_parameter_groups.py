"""Learning rates by depth."""

import pytest
import torch

from mtbert.modules import TextFieldSpec, build_network, layerwise_parameter_groups

RATES = {"learning_rate": 1e-2, "encoder_learning_rate": 1e-4}


@pytest.fixture
def build(tiny_bert):
    def build(architecture="multimodal_bert", **arguments):
        specs = dict.fromkeys(("review", "title"), TextFieldSpec(tiny_bert["vocab_size"]))
        arguments = {"n_outputs": 2, "n_numeric": 3, "encoder": tiny_bert, **arguments}
        return build_network(architecture, text_fields=specs, **arguments)

    return build


def by_name(network, groups, key):
    value_of = {id(p): group[key] for group in groups for p in group["params"]}
    return {n: value_of[id(p)] for n, p in network.named_parameters() if id(p) in value_of}


@pytest.mark.parametrize("shared", [False, True])
def test_rates_shrink_with_depth(build, shared):
    network = build(shared_encoder=shared, text__pooling="pooler")
    rates = by_name(network, layerwise_parameter_groups(network, **RATES, layer_decay=0.5), "lr")
    for name, rate in rates.items():
        if ".embeddings." in name:
            expected = 0.25e-4
        elif ".layer.0." in name:
            expected = 0.5e-4
        else:
            is_pretrained = ".model." in name
            expected = 1e-4 if is_pretrained else 1e-2
        assert rate == pytest.approx(expected), name


@pytest.mark.parametrize("architecture", ["multimodal_cnn", "lstm", "multimodal_bert"])
@pytest.mark.parametrize("shared", [False, True])
def test_every_weight_is_in_one_group(build, architecture, shared):
    network = build(architecture, shared_encoder=shared)
    groups = layerwise_parameter_groups(network, **RATES)
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in network.parameters())
    torch.optim.AdamW(groups)  # refuses a parameter that comes twice


def test_encoders_that_start_here_learn_at_the_full_rate(build):
    groups = layerwise_parameter_groups(build("lstm"), **RATES)
    assert {group["lr"] for group in groups} == {1e-2}


def test_frozen_weights_are_left_out(build):
    network = build(text__frozen_layers="all")
    names = by_name(network, layerwise_parameter_groups(network, **RATES), "lr")
    assert names
    assert not [name for name in names if name.startswith("text_encoders.")]


def test_biases_and_norms_do_not_decay(build):
    network = build()
    decays = by_name(network, layerwise_parameter_groups(network, **RATES), "weight_decay")
    assert decays["head.linear.weight"] == 0.01
    norms = [name for name in decays if name.endswith("bias") or "Norm" in name]
    assert len(norms) > 10
    assert "tabular.columns.bias" in norms  # a matrix, a bias for each numeric column
    assert {decays[name] for name in norms} == {0.0}


@pytest.mark.parametrize("layer_decay", [0, 1.5])
def test_bad_decay(build, layer_decay):
    with pytest.raises(ValueError, match="layer_decay must be above 0 and at most 1"):
        layerwise_parameter_groups(build("lstm"), **RATES, layer_decay=layer_decay)
