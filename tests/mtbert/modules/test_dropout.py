"""Dropout with cheap noise is dropout."""

import numpy as np
import pytest
import torch
from torch import nn

from mtbert.modules.dropout import LEVELS, Dropout, drop, replace_dropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.93])
def test_a_share_p_is_dropped_and_the_others_are_scaled(p, dtype):
    values = torch.ones(300, 701, dtype=dtype)
    dropped = drop(values, p)
    assert dropped.dtype is dtype
    kept = dropped[dropped != 0]
    expected = torch.full_like(kept, LEVELS / (LEVELS - round(p * LEVELS)))
    torch.testing.assert_close(kept, expected, rtol=0, atol=0)
    assert kept[0].item() == pytest.approx(
        1 / (1 - p), rel=1e-2 if dtype is torch.bfloat16 else 2e-4
    )
    error = np.sqrt(p * (1 - p) / values.numel())
    assert 1 - len(kept) / values.numel() == pytest.approx(p, abs=5 * error)


def test_elements_are_dropped_independently():
    """Also those that share a draw of 64 bits: neighbours, and rows and columns of the tensor."""
    dropped = (drop(torch.ones(400, 400), 0.3) == 0).double() - 0.3
    for distance in (1, 2, 3, 4, 400, 401):
        flat = dropped.flatten()
        correlation = (flat[distance:] * flat[:-distance]).mean() / (0.3 * 0.7)
        assert abs(correlation) < 5 / np.sqrt(len(flat))


@pytest.mark.parametrize("shape", [(), (1,), (3,), (5, 7), (2, 3, 5), (0, 4)])
def test_any_shape(shape):
    values = torch.full(shape, 2.0)
    dropped = drop(values, 0.5)
    assert dropped.shape == values.shape
    assert torch.isin(dropped, torch.tensor([0.0, 4.0])).all()


def test_a_seed_gives_the_same_noise_again():
    values = torch.ones(1000)
    torch.manual_seed(3)
    first, second = drop(values, 0.5), drop(values, 0.5)
    torch.manual_seed(3)
    assert torch.equal(drop(values, 0.5), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("p", [0.0, 0.4, 1.0])
def test_the_gradient_has_the_noise_of_the_values(p):
    values = torch.ones(50, 20, requires_grad=True)
    dropped = drop(values, p)
    dropped.sum().backward()
    assert torch.equal(values.grad, dropped.detach())
    assert p not in (0.0, 1.0) or torch.equal(values.grad, torch.full((50, 20), 1 - p))


def test_a_module_drops_in_training_only():
    values = torch.ones(100)
    module = Dropout(0.5)
    assert (module(values) == 0).any()
    assert torch.equal(module.eval()(values), values)


def test_all_dropout_of_a_module_is_replaced():
    inner = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.25)).eval()
    network = nn.Sequential(inner, nn.Dropout(0.75), nn.Dropout1d(0.5))
    replace_dropout(network)
    assert [type(network[i]) for i in (1, 2)] == [Dropout, nn.Dropout1d]
    assert (type(inner[1]), inner[1].p, inner[1].training) == (Dropout, 0.25, False)
    assert (network[1].p, network[1].training) == (0.75, True)
