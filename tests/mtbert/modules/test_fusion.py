"""Each fusion against another way to compute it."""

import pytest
import torch

from mtbert.modules import Concatenation, CrossAttention, Encoded, GateFusion, MixtureOfExperts
from mtbert.modules.cross_attention import Attention

DIMS = [3, 5, 2]


@pytest.fixture
def vectors():
    return [torch.randn(4, dim) for dim in DIMS]


def test_concatenation_alone(vectors):
    fusion = Concatenation(DIMS, hidden_dims=())
    assert fusion.output_dim == sum(DIMS)
    assert torch.equal(fusion.fuse(vectors), torch.cat(vectors, dim=1))


def test_concatenation_with_a_layer(vectors):
    fusion = Concatenation(DIMS, hidden_dims=(7,)).eval()
    expected = fusion.mlp[0](torch.cat(vectors, dim=1)).clamp(min=0)
    torch.testing.assert_close(fusion.fuse(vectors), expected)
    assert expected.shape == (4, fusion.output_dim)


def test_texts_come_before_the_table(vectors):
    fusion = Concatenation(DIMS, hidden_dims=())
    first, second, table = (Encoded(vector) for vector in vectors)
    assert torch.equal(fusion([first, second], table), torch.cat(vectors, dim=1))
    assert torch.equal(fusion([first, second], None), torch.cat(vectors[:2], dim=1))


def test_experts_are_mixed_by_the_gate(vectors):
    fusion = MixtureOfExperts(DIMS, n_experts=3, expert_dim=6).eval()
    joined = torch.cat(vectors, dim=1)
    expected = torch.zeros(4, 6)
    scores = fusion.gate(joined).exp()
    for position, expert in enumerate(fusion.experts):
        share = scores[:, position] / scores.sum(1)
        expected += share.unsqueeze(1) * expert(joined)
    torch.testing.assert_close(fusion.fuse(vectors), expected)


def test_a_sure_gate_leaves_one_expert(vectors):
    fusion = MixtureOfExperts(DIMS, n_experts=3, expert_dim=6).eval()
    torch.nn.init.zeros_(fusion.gate.weight)
    fusion.gate.bias.data = torch.tensor([0.0, 100.0, 0.0])
    expected = fusion.experts[1](torch.cat(vectors, dim=1))
    torch.testing.assert_close(fusion.fuse(vectors), expected)


def test_gates_open_and_shut_modalities(vectors):
    fusion = GateFusion(DIMS, dim=6)
    for gate, opening in zip(fusion.gates, (100.0, -100.0, 0.0), strict=True):
        torch.nn.init.zeros_(gate.weight)
        torch.nn.init.constant_(gate.bias, opening)
    open_part, half_open_part = (torch.tanh(fusion.projections[i](vectors[i])) for i in (0, 2))
    torch.testing.assert_close(fusion.fuse(vectors), open_part + 0.5 * half_open_part)


def test_every_gate_sees_every_modality(vectors):
    fusion = GateFusion(DIMS, dim=6)
    before = [gate(torch.cat(vectors, dim=1)) for gate in fusion.gates]
    fused = fusion.fuse(vectors)
    vectors[1] = vectors[1] + 1
    after = [gate(torch.cat(vectors, dim=1)) for gate in fusion.gates]
    assert all(not torch.equal(a, b) for a, b in zip(after, before, strict=True))
    assert not torch.equal(fusion.fuse(vectors), fused)


def lookup(n_keys=6):
    mask = torch.arange(n_keys) < torch.tensor([[6], [1], [0], [3]])
    return torch.randn(4, 3, 8), torch.randn(4, n_keys, 8), mask


@pytest.mark.parametrize("n_heads", [1, 2, 4])
def test_attention_equals_that_of_torch(n_heads):
    """torch appends its key of zeros after the projections too, if it is told to."""
    attention = Attention(8, n_heads, 0.0)
    twin = torch.nn.MultiheadAttention(8, n_heads, batch_first=True, add_zero_attn=True)
    parts = (attention.query, attention.key, attention.value)
    twin.in_proj_weight.data = torch.cat([part.weight for part in parts]).detach()
    twin.in_proj_bias.data = torch.cat([part.bias for part in parts]).detach()
    twin.out_proj.load_state_dict(attention.output.state_dict())
    sequence, other, mask = lookup()
    context = attention.key_norm(other)
    expected, _ = twin(attention.query_norm(sequence), context, context, key_padding_mask=~mask)
    torch.testing.assert_close(attention(sequence, other, mask), sequence + expected)


def test_attention_does_not_see_padding():
    attention = Attention(8, 2, 0.0)
    sequence, other, mask = lookup()
    spoilt = other.masked_fill(~mask.unsqueeze(-1), 1e4)
    torch.testing.assert_close(attention(sequence, spoilt, mask), attention(sequence, other, mask))


def test_attention_over_nothing_finds_nothing():
    attention = Attention(8, 2, 0.0)
    sequence, other, mask = lookup()
    nothing = (sequence + attention.output.bias)[2]
    torch.testing.assert_close(attention(sequence, other, mask)[2], nothing)


def test_attention_over_one_token_is_no_linear_map():
    """How much of a single token is taken depends on who looks."""
    attention = Attention(8, 2, 0.0)
    sequence, other, _ = lookup(n_keys=1)
    mask = torch.ones(4, 1, dtype=torch.bool)
    found = attention(sequence, other, mask) - sequence
    assert not torch.allclose(found[:, 0], found[:, 1])


def modalities(n_texts):
    mask = torch.arange(6) < torch.tensor([[6], [1], [0], [3]])
    texts = [Encoded(torch.randn(4, 5), torch.randn(4, 6, 5), mask) for _ in range(n_texts)]
    table = Encoded(torch.randn(4, 3), torch.randn(4, 2, 7), torch.ones(4, 2, dtype=torch.bool))
    return texts, table


@pytest.mark.parametrize("n_texts", [1, 2])
def test_cross_attention_looks_both_ways(n_texts):
    """With the encoders' own vectors held fixed, tokens of either side still matter."""
    fusion = CrossAttention([5] * n_texts, 3, 7, dim=8, n_heads=2).eval()
    texts, table = modalities(n_texts)
    fused = fusion(texts, table)
    assert fused.shape == (4, fusion.output_dim) == (4, 8)
    words = torch.randn(4, 6, 5)
    for position, text in enumerate(texts):
        others = [*texts[:position], text._replace(tokens=words), *texts[position + 1 :]]
        differs = (fusion(others, table) != fused).any(-1)
        assert differs.tolist() == [True, True, False, True]  # row 2 has no real token
    columns = table._replace(tokens=torch.randn(4, 2, 7))
    assert (fusion(texts, columns) != fused).any(-1).all()


def test_cross_attention_without_a_table():
    fusion = CrossAttention([5], 0, 0, dim=8, n_heads=2).eval()
    texts, _ = modalities(1)
    fusion(texts, None).sum().backward()
    assert all(parameter.grad is not None for parameter in fusion.parameters())


@pytest.mark.parametrize("n_heads", [3, 0, 200])
def test_heads_that_do_not_divide(n_heads):
    with pytest.raises(ValueError, match=f"must divide dim=100, got {n_heads}; .* 1, 2, 4, 5, 10"):
        CrossAttention([5], 3, 7, dim=100, n_heads=n_heads)
