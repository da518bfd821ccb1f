"""Words are read in the light of the table."""

import pytest
import torch
from torch import nn

from mtbert.modules import TextFieldSpec, build_network
from mtbert.modules.table_context import TableContext, add_context


@pytest.fixture
def build(tiny_bert):
    def build(
        architecture="multimodal_bert",
        shared_encoder=True,
        encoder=tiny_bert,
        has_learned=True,
        **options,
    ):
        torch.manual_seed(0)
        network = build_network(
            architecture,
            text_fields=dict.fromkeys(("review", "title"), TextFieldSpec(tiny_bert["vocab_size"])),
            n_outputs=4,
            n_numeric=3,
            cardinalities=[3, 5],
            encoder=encoder,
            shared_encoder=shared_encoder,
            **options,
        ).eval()
        for context in contexts_of(network) if has_learned else ():
            nn.init.normal_(context.linear.weight)
        return network

    return build


def contexts_of(network):
    return [module for module in network.modules() if isinstance(module, TableContext)]


def vectors_of(network, batch):
    """What the fusion sees of each text."""
    texts, _ = network._encode(batch)
    return {f: text.vector for f, text in zip(network.field_names, texts, strict=True)}


def test_only_the_first_token_of_a_chunk_is_told():
    embedded, context = torch.randn(4, 3, 2), torch.randn(4, 2)
    expected = embedded.clone()
    for chunk in range(4):
        expected[chunk, 0] += context[chunk]
    assert torch.equal(add_context(embedded, context), expected)


def test_it_starts_with_nothing_to_say(build, batch):
    plain = vectors_of(build(text__table_context=False), batch)
    for field, vector in vectors_of(build(has_learned=False), batch).items():
        torch.testing.assert_close(vector, plain[field])


@pytest.mark.parametrize("architecture", ["multimodal_bert", "multimodal_cross_attn"])
@pytest.mark.parametrize("shared", [True, False])
def test_each_text_hears_of_its_own_row(build, batch, architecture, shared):
    network = build(architecture, shared)
    assert len(contexts_of(network)) == (1 if shared else 2)
    before = vectors_of(network, batch)
    numeric = batch["numeric"].clone()
    numeric[3] += 1
    for field, vector in vectors_of(network, batch | {"numeric": numeric}).items():
        has_text = batch[f"{field}_mask"].flatten(1).any(1)
        moved = (vector != before[field]).any(1)
        assert torch.equal(moved, has_text & (torch.arange(5) == 3))
        assert not vector[~has_text].any()


def test_a_row_does_not_depend_on_its_batch(build, batch):
    network = build()
    together = network(**batch)
    for row in range(5):
        alone = network(**{name: values[[row]] for name, values in batch.items()})
        torch.testing.assert_close(alone[0], together[row], atol=1e-5, rtol=0)


def test_encoders_of_other_widths(build, batch, tiny_bert):
    encoders = {"review": tiny_bert, "title": tiny_bert | {"hidden_size": 8}}
    network = build(shared_encoder=False, encoder=encoders)
    assert [context.linear.out_features for context in contexts_of(network)] == [16, 8]
    assert network(**batch).shape == (5, 4)


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("multimodal_bert", {"text__table_context": False}),
        ("multimodal_bert", {"text__frozen_layers": 1}),
        ("multimodal_bert", {"text__frozen_layers": "all"}),
        ("multimodal_cnn", {}),
        ("bert", {}),
    ],
)
def test_who_is_not_told(build, architecture, options):
    assert not contexts_of(build(architecture, **options))
