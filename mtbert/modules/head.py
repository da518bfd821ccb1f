"""From the fused embedding to logits."""

from __future__ import annotations

import torch
from torch import nn

from mtbert.modules.dropout import Dropout


class Head(nn.Module):
    """Dropout, then a linear layer.

    Parameters
    ----------
    input_dim : int
    n_outputs : int
    dropout : float, default=0.1

    Attributes
    ----------
    output_dim : int
        `n_outputs`.
    """

    def __init__(self, input_dim, n_outputs, *, dropout=0.1):
        super().__init__()
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(input_dim, n_outputs)
        self.output_dim = n_outputs

    def forward(self, embedding) -> torch.Tensor:
        """Return logits.

        Parameters
        ----------
        embedding : tensor of shape (n, input_dim)

        Returns
        -------
        logits : tensor of shape (n, n_outputs)
        """
        return self.linear(self.dropout(embedding))
