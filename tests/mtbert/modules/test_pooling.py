"""Pooling against loops over rows."""

import pytest
import torch

from mtbert.modules.pooling import POOLINGS, first_token, masked_max, masked_mean


def rows():
    values = torch.randn(6, 4, 3)
    mask = ["1111", "1000", "0000", "1100", "0101", "1111"]
    return values, torch.tensor([[place == "1" for place in row] for row in mask])


def test_mean_and_largest_of_the_real_vectors():
    values, mask = rows()
    for row, (mean, largest) in enumerate(
        zip(masked_mean(values, mask), masked_max(values, mask), strict=True)
    ):
        real = values[row, mask[row]]
        expected = (real.mean(0), real.amax(0)) if len(real) else (torch.zeros(3),) * 2
        torch.testing.assert_close((mean, largest), expected)


def test_first_token():
    values, mask = rows()
    first = first_token(values, mask)
    assert torch.equal(first[0], values[0, 0])
    assert first[2].tolist() == first[4].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("filler", [float("nan"), float("inf"), 1e30])
def test_padding_may_hold_anything(name, filler):
    values, mask = rows()
    values.requires_grad_()
    spoilt = values.masked_fill(~mask.unsqueeze(-1), filler)
    pooled = POOLINGS[name](spoilt, mask)
    assert torch.equal(pooled, POOLINGS[name](values, mask))
    pooled.sum().backward()
    assert values.grad.isfinite().all()
    assert not values.grad[~mask].any()
