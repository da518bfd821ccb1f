"""Integrated gradients: complete, exact where the network is linear, and as captum has them."""

import numpy as np
import pytest
import torch
from captum.attr import LayerIntegratedGradients
from numpy.testing import assert_allclose
from torch import nn

from mtbert.explanation.integrated_gradients import integrated_gradients
from mtbert.modules import (
    Concatenation,
    Encoded,
    Head,
    TextEncoder,
    TextFieldSpec,
    build_network,
)
from mtbert.modules.network import FusionNet
from mtbert.modules.tabular import ColumnTokens

TINY_BERT = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 16,
}
SPECIAL = 5  # ids below are special


def network_of(architecture, n_fields=2, shared_encoder=False):
    torch.manual_seed(0)
    fields = {name: TextFieldSpec(40) for name in ("title", "review")[:n_fields]}
    network = build_network(
        architecture,
        text_fields=fields,
        n_outputs=2,
        n_numeric=3,
        cardinalities=[3, 4],
        encoder=TINY_BERT,
        shared_encoder=shared_encoder,
    )
    for parameter in network.parameters():  # drawn wide, so that the path is not straight
        parameter.data.mul_(1.5)
    return network


def row_and_baseline(seed=0, title_lengths=(4,), review_lengths=(8, 3)):
    rng = np.random.default_rng(seed)
    row, baseline = {}, {}
    for name, lengths in (("title", title_lengths), ("review", review_lengths)):
        ids = torch.from_numpy(rng.integers(SPECIAL, 40, (1, len(lengths), max(lengths))))
        mask = torch.arange(max(lengths)) < torch.tensor(lengths)[None, :, None]
        ids[:, :, 0] = 2
        row |= {f"{name}_ids": ids.masked_fill(~mask, 0), f"{name}_mask": mask}
        baseline |= {f"{name}_ids": torch.where(ids < SPECIAL, ids, 0) * mask, f"{name}_mask": mask}
    row["numeric"] = torch.from_numpy(rng.normal(size=(1, 3)).astype(np.float32))
    row["categorical"] = torch.tensor([[2, 1]])
    baseline |= {"numeric": torch.zeros(1, 3), "categorical": torch.zeros(1, 2, dtype=torch.int64)}
    return row, baseline


def first_logit(logits):
    return logits[:, 0]


def explain(network, row, baseline, n_steps=50, batch_size=16, score=first_logit):
    return integrated_gradients(
        network, row, baseline, score, n_steps=n_steps, batch_size=batch_size
    )


def total(result):
    return sum(values.sum() for values in result.tokens.values()) + result.columns.sum()


@pytest.mark.parametrize("shared_encoder", [False, True])
def test_contributions_explain_the_difference(architecture, shared_encoder):
    network = network_of(architecture, shared_encoder=shared_encoder)
    for seed in range(2):
        row, baseline = row_and_baseline(seed)
        result = explain(network, row, baseline, n_steps=64, batch_size=64)
        with torch.no_grad():
            ends = [network(**batch)[0, 0].item() for batch in (row, baseline)]
        assert_allclose([result.score, result.baseline_score], ends, rtol=1e-4, atol=1e-5)
        size = sum(np.abs(v).sum() for v in result.tokens.values()) + np.abs(result.columns).sum()
        assert size > 1e-3
        assert abs(ends[0] - ends[1] - total(result)) < 0.01 * size
        assert result.tokens["review"].shape == (2, 8)
        assert (result.tokens["review"][~row["review_mask"][0].numpy()] == 0).all()
        assert (result.tokens["review"][:, 0] == 0).all()  # special tokens stay as they are


def test_what_the_words_are_told_of_the_table_counts_for_the_columns():
    """The head is made deaf to the table's own vector: only the text's encoder knows of it."""
    network = network_of("multimodal_bert", shared_encoder=True)
    torch.nn.init.normal_(network.text_encoders[0].table_context.linear.weight, std=0.5)
    network.fusion.mlp[0].weight.data[:, -network.tabular.output_dim :] = 0
    row, baseline = row_and_baseline()
    result = explain(network, row, baseline, n_steps=256, batch_size=64)
    assert np.abs(result.columns).sum() > 1e-3
    size = sum(np.abs(v).sum() for v in result.tokens.values()) + np.abs(result.columns).sum()
    assert abs(result.score - result.baseline_score - total(result)) < 0.01 * size


def test_more_steps_more_exact():
    network = network_of("multimodal_gate_fusion")
    row, baseline = row_and_baseline()
    results = [explain(network, row, baseline, n_steps) for n_steps in (1, 8, 256)]
    gaps = [abs(r.score - r.baseline_score - total(r)) for r in results]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 1e-4


class LinearText(TextEncoder):
    """The mean of the embeddings."""

    def __init__(self):
        super().__init__(4, "mean")
        self.embedding = nn.Embedding(40, 4)

    @property
    def token_embedding(self):
        return self.embedding

    def encode_chunks(self, ids, mask):
        return self.embedding(ids)


class LinearTable(nn.Module):
    """The tokens of all columns side by side."""

    def __init__(self):
        super().__init__()
        self.columns = ColumnTokens(3, [3, 4], 2)
        self.output_dim = 10

    def forward(self, numeric, categorical):
        return Encoded(self.columns(numeric, categorical).flatten(1))


@pytest.mark.parametrize("n_steps", [1, 7])
def test_exact_where_the_network_is_linear(n_steps):
    """Worked out by hand: a token's share of the mean, times the weights, minus padding's."""
    torch.manual_seed(0)
    text, table = LinearText(), LinearTable()
    fusion = Concatenation([4, 4, 10], hidden_dims=())
    network = FusionNet(["title", "review"], [text], table, fusion, Head(18, 2))
    row, baseline = row_and_baseline()
    result = explain(network, row, baseline, n_steps)
    weight = network.head.linear.weight[0].detach()
    step = text.embedding.weight.detach() - text.embedding.weight[0].detach()
    step[:SPECIAL] = 0
    title = step[row["title_ids"][0]] @ weight[:4] / 4
    review = step[row["review_ids"][0]] @ weight[4:8] / torch.tensor([[8], [3]]) / 2
    assert_allclose(result.tokens["title"], title, atol=1e-6)
    assert_allclose(result.tokens["review"], review, atol=1e-6)
    by_column = weight[8:].reshape(5, 2)
    numbers = (row["numeric"][0][:, None] * table.columns.weight.detach() * by_column[:3]).sum(1)
    codes = [
        (embedding.weight[code] - embedding.weight[0]) @ weights
        for embedding, code, weights in zip(
            table.columns.embeddings, row["categorical"][0], by_column[3:], strict=True
        )
    ]
    assert_allclose(result.columns, [*numbers, *(c.item() for c in codes)], atol=1e-6)


@pytest.mark.filterwarnings("ignore:Multiple layers provided")
@pytest.mark.parametrize("name", ["multimodal_bert", "multimodal_cnn", "multimodal_moe"])
def test_equals_captum(name):
    network = network_of(name, n_fields=1).eval()
    row, baseline = row_and_baseline(title_lengths=(6,))
    ours = explain(network, row, baseline, n_steps=20)

    def score(ids, numeric, categorical, mask):
        batch = {"title_ids": ids, "title_mask": mask}
        return network(**batch, numeric=numeric, categorical=categorical)[:, 0]

    keys = ("title_ids", "numeric", "categorical")
    layers = [network.encoder_of("title").token_embedding, network.tabular.columns]
    tokens, columns = LayerIntegratedGradients(score, layers).attribute(
        tuple(row[key] for key in keys),
        tuple(baseline[key] for key in keys),
        additional_forward_args=(row["title_mask"],),
        n_steps=20,
    )
    assert_allclose(ours.tokens["title"][0], tokens[0].sum(-1).detach(), atol=1e-5)
    assert_allclose(ours.columns, columns[0].sum(-1).detach(), atol=1e-5)


def test_a_field_without_tokens_in_a_shared_encoder(architecture):
    """It is not confused with the next field; chunks as a tokenizer without special ones gives."""
    network = network_of(architecture, shared_encoder=True)
    row, baseline = row_and_baseline()
    empty = {"title_ids": row["title_ids"][..., :0], "title_mask": row["title_mask"][..., :0]}
    result = explain(network, row | empty, baseline | empty, n_steps=64, batch_size=64)
    assert list(result.tokens) == ["review"]
    size = np.abs(result.tokens["review"]).sum() + np.abs(result.columns).sum()
    assert abs(result.score - result.baseline_score - total(result)) < 0.01 * size


def test_only_empty_texts():
    network = network_of("lstm", n_fields=1)
    row, baseline = row_and_baseline()
    empty = {"title_ids": row["title_ids"][..., :0], "title_mask": row["title_mask"][..., :0]}
    result = explain(network, row | empty, baseline | empty)
    assert result.score == result.baseline_score
    assert (result.tokens, result.columns.shape) == ({}, (0,))


def test_batches_of_points_change_nothing():
    network = network_of("multimodal_cross_attn")
    row, baseline = row_and_baseline()
    one, all_at_once = (explain(network, row, baseline, batch_size=size) for size in (1, 100))
    for name in one.tokens:
        assert_allclose(one.tokens[name], all_at_once.tokens[name], atol=1e-6)
    assert_allclose(one.columns, all_at_once.columns, atol=1e-6)


def test_the_network_is_left_as_it_was():
    network = network_of("multimodal_bert").train()
    row, baseline = row_and_baseline()
    before = network.eval()(**row)
    with pytest.raises(ZeroDivisionError):
        explain(network, row, baseline, score=lambda logits: logits / (1 // 0))
    explain(network, row, baseline)
    assert torch.equal(network(**row), before)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())
