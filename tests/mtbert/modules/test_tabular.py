"""Columns as tokens and as a vector."""

import pytest
import torch

from mtbert.modules import ColumnTokens, TabularEncoder


def test_tokens_of_numeric_and_categorical_columns():
    columns = ColumnTokens(2, [3, 5], token_dim=4)
    numeric, categorical = torch.tensor([[2.0, -1.0]]), torch.tensor([[1, 4]])
    tokens = columns(numeric, categorical)
    assert tokens.shape == (1, 4, 4)
    torch.testing.assert_close(tokens[0, 0], 2 * columns.weight[0] + columns.bias[0])
    torch.testing.assert_close(tokens[0, 1], -columns.weight[1] + columns.bias[1])
    assert torch.equal(tokens[0, 2], columns.embeddings[0].weight[1])
    assert torch.equal(tokens[0, 3], columns.embeddings[1].weight[4])


def test_the_unknown_category_starts_at_zero_and_can_be_learned():
    columns = ColumnTokens(0, [3], token_dim=4)
    codes = torch.tensor([[0], [2]])
    assert not columns(None, codes)[0].any()
    assert columns(None, codes)[1].any()
    columns(None, codes).sum().backward()
    assert columns.embeddings[0].weight.grad.any(-1).tolist() == [True, False, True]


@pytest.mark.parametrize(("n_numeric", "cardinalities"), [(2, []), (0, [3, 5]), (2, [3, 5])])
def test_columns_of_one_kind(n_numeric, cardinalities):
    encoder = TabularEncoder(n_numeric, cardinalities, token_dim=4, hidden_dims=(8, 6))
    numeric = torch.randn(7, n_numeric) if n_numeric else None
    categorical = torch.ones(7, len(cardinalities), dtype=torch.int64) if cardinalities else None
    encoded = encoder(numeric, categorical)
    assert encoded.vector.shape == (7, encoder.output_dim) == (7, 6)
    assert encoded.tokens.shape == (7, n_numeric + len(cardinalities), encoder.token_dim)
    assert encoded.mask.all()
    assert encoded.mask.shape == encoded.tokens.shape[:2]
    encoded.vector.square().sum().backward()
    assert all(parameter.grad.any() for parameter in encoder.parameters())


def test_a_code_beyond_the_cardinality_is_no_other_columns_code():
    encoder = TabularEncoder(0, [3, 5])
    with pytest.raises(IndexError):
        encoder(None, torch.tensor([[3, 0]]))
