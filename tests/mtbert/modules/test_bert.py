"""What is trained, what is drawn anew, what is refused."""

import copy
import pickle
from types import SimpleNamespace

import pytest
import torch

from mtbert.modules import BertText
from mtbert.pretrained import load_encoder


@pytest.fixture
def model(tiny_bert):
    """As if pretrained: no bias is zero and no scale one, so a new draw shows."""
    model = load_encoder(tiny_bert).model
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


def changed(before, encoder):
    """Names of the parts whose weights all differ from those before."""
    after = encoder.model.state_dict()
    names = {"pooler": "pooler.", "embeddings": "embeddings."}
    names |= {f"layer {i}": f"encoder.layer.{i}." for i in range(2)}
    differs = {key: not torch.equal(value, before[key]) for key, value in after.items()}
    found = set()
    for name, prefix in names.items():
        flags = {flag for key, flag in differs.items() if key.startswith(prefix)}
        assert len(flags) <= 1, f"{name} is drawn anew in part"
        if flags == {True}:
            found.add(name)
    return found


@pytest.mark.parametrize("reinit_pooler", [False, True])
@pytest.mark.parametrize("reinit_layers", [0, 1, 2])
def test_layers_and_pooler_are_drawn_anew_independently(model, reinit_layers, reinit_pooler):
    before = copy.deepcopy(model.state_dict())
    encoder = BertText(
        model, pooling="pooler", reinit_layers=reinit_layers, reinit_pooler=reinit_pooler
    )
    expected = {f"layer {i}" for i in range(2 - reinit_layers, 2)}
    assert changed(before, encoder) == expected | ({"pooler"} if reinit_pooler else set())


def test_new_weights_are_drawn_as_bert_draws_them(model):
    BertText(model, reinit_layers=2)
    layer = model.encoder.layer[1]
    assert 0.01 < layer.output.dense.weight.std() < 0.03
    assert not layer.output.dense.bias.any()
    assert (layer.output.LayerNorm.weight == 1).all()
    assert not layer.output.LayerNorm.bias.any()


@pytest.mark.parametrize(
    ("frozen_layers", "trained"),
    [
        (0, {"embeddings", "layer 0", "layer 1", "pooler"}),
        (1, {"layer 1", "pooler"}),
        (2, {"pooler"}),
        ("all", set()),
    ],
)
def test_frozen_layers_do_not_move(model, text, frozen_layers, trained):
    encoder = BertText(model, pooling="pooler", frozen_layers=frozen_layers)
    before = copy.deepcopy(model.state_dict())
    assert train_a_step(encoder, text) == bool(trained)
    assert changed(before, encoder) == trained


def train_a_step(encoder, text) -> bool:
    """Take a step uphill; False if there is nothing to train."""
    parameters = [p for p in encoder.parameters() if p.requires_grad]
    if not parameters:
        return False
    encoder.train()(*text).vector.square().sum().backward()
    with torch.no_grad():
        for parameter in parameters:
            parameter += parameter.grad + 1e-3
    return True


def test_what_is_drawn_anew_is_trained_even_if_all_is_frozen(model):
    encoder = BertText(
        model, pooling="pooler", frozen_layers="all", reinit_layers=1, reinit_pooler=True
    )
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    expected = {n for n, _ in model.named_parameters() if "layer.1." in n or "pooler" in n}
    assert trained == expected
    encoder.train()
    assert model.encoder.layer[1].training
    assert not model.encoder.layer[0].training


def test_frozen_layers_have_no_dropout(model, text):
    encoder = BertText(model, frozen_layers="all", token_dropout=0.5).train()
    assert torch.equal(encoder(*text).vector, encoder(*text).vector)
    encoder = BertText(copy.deepcopy(model), frozen_layers=1).train()
    assert not torch.equal(encoder(*text).vector, encoder(*text).vector)


def test_gradient_checkpointing_gives_the_same_gradients(model, text):
    gradients = []
    for checkpointing in (False, True):
        encoder = BertText(copy.deepcopy(model), gradient_checkpointing=checkpointing).train()
        torch.manual_seed(1)
        encoder(*text).vector.square().sum().backward()
        gradients.append([p.grad for p in encoder.parameters()])
        assert encoder.model.is_activation_checkpointing is checkpointing
    torch.testing.assert_close(*gradients)


def test_an_encoder_with_gradient_checkpointing_can_be_pickled(model, text):
    encoder = BertText(model, gradient_checkpointing=True, frozen_layers=1).eval()
    twin = pickle.loads(pickle.dumps(encoder))
    assert torch.equal(twin(*text).vector, encoder(*text).vector)


def test_the_config_rebuilds_the_model(model, text):
    encoder = BertText(model).eval()
    twin = BertText(load_encoder(encoder.config).model).eval()
    twin.load_state_dict(encoder.state_dict())
    assert torch.equal(twin(*text).vector, encoder(*text).vector)


def test_an_unused_pooler_is_dropped(model):
    assert not [name for name, _ in BertText(model).named_parameters() if "pooler" in name]


@pytest.mark.parametrize("model_type", ["distilbert", "roberta", "electra"])
def test_relatives_of_bert(model_type, text, small_config):
    config = small_config(model_type)
    encoder = BertText(load_encoder(config).model, frozen_layers=1, reinit_layers=1).train()
    encoder(*text).vector.sum().backward()
    depths = encoder.parameters_by_depth()
    assert [any(p.requires_grad for p in depth) for depth in depths][1:] == [False, True]
    assert all(p.grad is not None for p in depths[2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reinit_pooler": True}, "pooling='mean' does not use the pooler"),
        ({"reinit_layers": 3}, "reinit_layers must be at least 0 and at most 2, got 3"),
        ({"frozen_layers": 3}, "frozen_layers must be at least 0 and at most 2, got 3"),
    ],
)
def test_bad_options(model, options, message):
    with pytest.raises(ValueError, match=message):
        BertText(model, **options)


@pytest.mark.parametrize("value", ["some", 1.5, True])
def test_numbers_of_layers_are_integers(model, value):
    with pytest.raises(TypeError, match="frozen_layers must be an integer"):
        BertText(model, frozen_layers=value)


def test_a_model_without_pooler(model):
    model.pooler = None
    with pytest.raises(ValueError, match="BertModel has no pooler; give pooling='cls'"):
        BertText(model, pooling="pooler")


class Unlayered(torch.nn.Module):
    """A model that repeats one layer, as ALBERT does."""

    config = SimpleNamespace(hidden_size=4)


def test_a_model_without_layers():
    with pytest.raises(TypeError, match="Unlayered has no list of layers at"):
        BertText(Unlayered())


def test_chunks_longer_than_the_model_has_positions(model):
    ids = torch.ones(1, 1, 33, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"up to 33 tokens, .* numbers 32; give max_sen_len=32"):
        BertText(model).eval()(ids, ids > 0)  # in training some may be left out
