"""Texts that are a little different in every epoch."""

from __future__ import annotations

from numbers import Real

import torch
from torch import nn

from mtgbm.parameters import check_number


class TokenDropout(nn.Module):
    """Leaves tokens out of each chunk, at random and in training only [1]_.

    A network that is trained for a few epochs on a few thousand texts learns some of them by heart;
    it cannot where a text is never twice the same. ::

        ids     [CLS]  far  too  small  [SEP]    .      .
        kept      1     1    0     1      1      0      0
        out     [CLS]  far  small [SEP]                       the longest chunk sets the length

    Parameters
    ----------
    p : float
        The probability of each token but the first and the last of a chunk, which are the special
        ones. From 0 to below 1.

    References
    ----------
    .. [1] Iyyer, Manjunatha, Boyd-Graber and Daumé, "Deep Unordered Composition Rivals Syntactic
       Methods for Text Classification", ACL 2015, who call it word dropout.
    """

    def __init__(self, p):
        super().__init__()
        check_number("token_dropout", p, Real, 0, (1,))
        self.p = p

    def forward(self, ids, mask) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what is left, which may be shorter.

        Parameters
        ----------
        ids : tensor of shape (n, n_chunks, length), dtype int64
        mask : tensor of shape (n, n_chunks, length), dtype bool
            True for tokens, which come first in a chunk.

        Returns
        -------
        ids : tensor of shape (n, n_chunks, new_length)
        mask : tensor of shape (n, n_chunks, new_length)
        """
        if not self.training or self.p == 0:
            return ids, mask
        place = torch.arange(mask.shape[-1], device=mask.device)
        is_end = (place == 0) | (place == mask.sum(-1, keepdim=True) - 1)
        drawn = torch.rand(mask.shape, device=mask.device)
        kept = mask & (is_end | (drawn >= self.p))
        length = max(1, int(kept.sum(-1).max()))
        kept_first = kept.logical_not().to(torch.uint8).argsort(dim=-1, stable=True)[..., :length]
        return ids.gather(-1, kept_first), kept.gather(-1, kept_first)

    def extra_repr(self) -> str:
        """Return what `repr` shows."""
        return f"p={self.p}"
