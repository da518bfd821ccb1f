"""Many vectors become one, padding left out. A row without any real vector gives zeros."""

from __future__ import annotations

import torch


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean of the real vectors.

    Parameters
    ----------
    values : tensor of shape (..., n, d)
    mask : tensor of shape (..., n), dtype bool
        False for padding, whose values may be anything.

    Returns
    -------
    mean : tensor of shape (..., d)
        Zeros where no vector is real.

    Examples
    --------
    >>> import torch
    >>> values = torch.tensor([[[1.0], [3.0], [9.0]]])
    >>> masked_mean(values, torch.tensor([[True, True, False]])).tolist()
    [[2.0]]
    """
    total = _fill(values, mask, 0.0).sum(-2)
    return total / mask.sum(-1, keepdim=True).clamp(min=1)


def masked_max(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the largest real value of each dimension.

    Parameters
    ----------
    values : tensor of shape (..., n, d)
    mask : tensor of shape (..., n), dtype bool

    Returns
    -------
    largest : tensor of shape (..., d)
        Zeros where no vector is real.
    """
    largest = _fill(values, mask, -torch.inf).amax(-2)
    return _fill(largest, mask.any(-1), 0.0)


def first_token(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the vector of the first place, where BERT has its token ``[CLS]``.

    Parameters
    ----------
    values : tensor of shape (..., n, d)
    mask : tensor of shape (..., n), dtype bool

    Returns
    -------
    first : tensor of shape (..., d)
        Zeros where the first vector is padding.
    """
    return _fill(values[..., 0, :], mask[..., 0], 0.0)


def _fill(values, mask, filler):
    return values.masked_fill(~mask.unsqueeze(-1), filler)


POOLINGS = {"mean": masked_mean, "max": masked_max, "cls": first_token}
