"""Words are read in the light of the table."""

import pytest
import torch
from torch import nn

from mtbert.modules import BertText, TextFieldSpec, build_network
from mtbert.modules.table_context import MOST_COLUMNS, TableContext
from mtbert.modules.text_encoder import Encoded


@pytest.fixture
def build(tiny_bert):
    def build(
        architecture="multimodal_bert",
        shared_encoder=True,
        encoder=tiny_bert,
        has_learned=True,
        n_numeric=3,
        **options,
    ):
        torch.manual_seed(0)
        network = build_network(
            architecture,
            text_fields=dict.fromkeys(("review", "title"), TextFieldSpec(tiny_bert["vocab_size"])),
            n_outputs=4,
            n_numeric=n_numeric,
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


def test_a_column_is_read_as_a_word_behind_the_first(tiny_bert):
    encoder = BertText.for_field(TextFieldSpec(tiny_bert["vocab_size"]), tiny_bert).eval()
    ids = torch.tensor([[2, 11, 12, 3], [2, 13, 3, 0]])
    mask = ids != 0
    columns = torch.tensor([[21, 22], [23, 24]])
    told = encoder.encode_chunks(ids, mask, encoder.token_embedding(columns))
    ids_with_columns = torch.cat([ids[:, :1], columns, ids[:, 1:]], dim=1)
    as_words = encoder.encode_chunks(ids_with_columns, ids_with_columns != 0)
    expected = torch.cat([as_words[:, :1], as_words[:, 3:]], dim=1)
    torch.testing.assert_close(told[mask], expected[mask])


@pytest.mark.parametrize("model_type", ["bert", "roberta", "distilbert", "electra"])
def test_a_chunk_may_fill_all_positions(model_type, small_config):
    config = small_config(model_type) | {"max_position_embeddings": 12}
    encoder = BertText.for_field(TextFieldSpec(config["vocab_size"]), config).eval()
    ids = torch.full((1, 10), 7)
    columns = torch.zeros(1, MOST_COLUMNS, encoder.token_embedding.embedding_dim)
    hidden = encoder.encode_chunks(ids, ids != 0, columns)
    assert hidden.shape[:2] == (1, 10)
    assert hidden.isfinite().all()


@pytest.mark.parametrize("n_columns", [1, MOST_COLUMNS + 5])
def test_each_column_is_a_token(n_columns):
    context = TableContext(4, 6)
    nn.init.normal_(context.linear.weight)
    tokens = torch.randn(3, n_columns, 4)
    told = context(Encoded(torch.zeros(3, 2), tokens))
    assert told.shape == (3, n_columns, 6)
    for column in range(n_columns):
        other = tokens.clone()
        other[1, column] += 1
        moved = (context(Encoded(torch.zeros(3, 2), other)) != told).any(-1)
        assert moved.nonzero().tolist() == [[1, column]]


@pytest.mark.parametrize("n_numeric", [MOST_COLUMNS - 2, MOST_COLUMNS - 1])
@pytest.mark.parametrize("asked", ["auto", True, False])
def test_a_wide_table_is_read_if_asked_for(build, n_numeric, asked):
    is_read = asked is True or (asked == "auto" and n_numeric + 2 <= MOST_COLUMNS)
    network = build(n_numeric=n_numeric, text__table_context=asked)
    assert bool(contexts_of(network)) == is_read


def test_neither_asked_for_nor_not(build):
    with pytest.raises(ValueError, match="table_context must be"):
        build(text__table_context="always")


def test_it_starts_with_nothing_to_say(build, batch):
    other = batch | {"numeric": batch["numeric"] + 1}
    network = build(has_learned=False)
    before = vectors_of(network, batch)
    for field, vector in vectors_of(network, other).items():
        assert torch.equal(vector, before[field])


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
