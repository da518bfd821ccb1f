"""What the table says, for the words to be read in its light."""

from __future__ import annotations

import torch
from torch import nn


class TableContext(nn.Module):
    """The table's vector as an addition to the embedding of the first token of each chunk.

    A fusion behind the encoder sees a text as one vector, which was made without the table. Where
    the table decides which words count, that is too late; words that attend to the first token can
    tell them apart. ::

        tokens     [CLS]  far  too  small  [SEP]
                     +
        table      linear(vector)

    The layer starts at zero, so that a pretrained encoder begins as it was trained.

    Parameters
    ----------
    table_dim : int
        Width of the table's vector.
    token_dim : int
        Width of a token's embedding.
    """

    def __init__(self, table_dim, token_dim):
        super().__init__()
        self.linear = nn.Linear(table_dim, token_dim)
        for parameter in self.linear.parameters():
            nn.init.zeros_(parameter)

    def forward(self, table) -> torch.Tensor:
        """Return what is added.

        Parameters
        ----------
        table : Encoded

        Returns
        -------
        context : tensor of shape (n, token_dim)
        """
        return self.linear(table.vector)


def add_context(embedded, context) -> torch.Tensor:
    """Add a vector to the first token of each chunk.

    Parameters
    ----------
    embedded : tensor of shape (n_chunks, length, token_dim)
    context : tensor of shape (n_chunks, token_dim)

    Returns
    -------
    embedded : tensor of the same shape
    """
    is_first = torch.arange(embedded.shape[1], device=embedded.device).eq(0).unsqueeze(-1)
    return embedded + context.unsqueeze(1).to(embedded.dtype) * is_first
