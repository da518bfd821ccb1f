"""A row of a table as tokens, one for each column, and as a vector."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from mtbert.modules.mlp import Mlp
from mtbert.modules.text_encoder import Encoded


class ColumnTokens(nn.Module):
    """One token for each column: a feature tokenizer [1]_.

    A numeric column has a weight and a bias vector, a categorical column an embedding of its codes.

    Parameters
    ----------
    n_numeric : int
    cardinalities : list of int
        Number of codes of each categorical column, the code 0 of unknown categories included.
    token_dim : int

    Attributes
    ----------
    output_dim : int
        `token_dim`.

    Notes
    -----
    The embedding of code 0 starts at zero and stays there unless `fit` meets that code.

    References
    ----------
    .. [1] Gorishniy, Rubachev, Khrulkov and Babenko, "Revisiting Deep Learning Models for Tabular
       Data", NeurIPS 2021.
    """

    def __init__(self, n_numeric, cardinalities, token_dim):
        super().__init__()
        self.output_dim = token_dim
        self.n_columns = n_numeric + len(cardinalities)
        if n_numeric:
            self.weight = nn.Parameter(torch.empty(n_numeric, token_dim))
            self.bias = nn.Parameter(torch.empty(n_numeric, token_dim))
        else:
            self.weight = self.bias = None
        self.embeddings = nn.ModuleList(nn.Embedding(k, token_dim) for k in cardinalities)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew."""
        limit = 1 / math.sqrt(self.output_dim)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -limit, limit)
        for embedding in self.embeddings:
            nn.init.zeros_(embedding.weight.data[0])

    def forward(self, numeric, categorical) -> torch.Tensor:
        """Return the tokens.

        Parameters
        ----------
        numeric : tensor of shape (n, n_numeric), dtype float32, or None
            Ignored without numeric columns.
        categorical : tensor of shape (n, n_categorical), dtype int64, or None
            Ignored without categorical columns.

        Returns
        -------
        tokens : tensor of shape (n, n_columns, token_dim)
            The numeric columns first.
        """
        tokens = []
        if self.weight is not None:
            tokens.append(numeric.unsqueeze(-1) * self.weight + self.bias)
        for column, embedding in enumerate(self.embeddings):
            tokens.append(embedding(categorical[:, column]).unsqueeze(1))
        return torch.cat(tokens, dim=1)


class TabularEncoder(nn.Module):
    """Tokens of the columns, and a multilayer perceptron over all of them [1]_.

    Parameters
    ----------
    n_numeric : int
        Columns that come imputed and scaled.
    cardinalities : list of int
        Number of codes of each categorical column, the code 0 of unknown categories included.
    token_dim : int, default=16
    hidden_dims : tuple of int, default=(128, 64)
    dropout : float, default=0.1

    Attributes
    ----------
    output_dim : int
        The last of `hidden_dims`.
    n_columns : int
        Number of tokens.
    token_dim : int

    References
    ----------
    .. [1] Gorishniy, Rubachev and Babenko, "On Embeddings for Numerical Features in Tabular Deep
       Learning", NeurIPS 2022.

    Examples
    --------
    >>> import torch
    >>> from mtbert.modules import TabularEncoder
    >>> encoder = TabularEncoder(n_numeric=2, cardinalities=[4])
    >>> encoded = encoder(torch.zeros(3, 2), torch.tensor([[0], [1], [3]]))
    >>> encoded.vector.shape, encoded.tokens.shape
    (torch.Size([3, 64]), torch.Size([3, 3, 16]))
    """

    def __init__(
        self,
        n_numeric: int,
        cardinalities: Sequence[int],
        *,
        token_dim=16,
        hidden_dims=(128, 64),
        dropout=0.1,
    ):
        super().__init__()
        self.columns = ColumnTokens(n_numeric, cardinalities, token_dim)
        self.mlp = Mlp(self.columns.n_columns * token_dim, hidden_dims, dropout)
        self.n_columns = self.columns.n_columns
        self.token_dim = token_dim
        self.output_dim = self.mlp.output_dim

    def forward(self, numeric=None, categorical=None) -> Encoded:
        """Encode rows.

        Parameters
        ----------
        numeric : tensor of shape (n, n_numeric), dtype float32, or None
        categorical : tensor of shape (n, n_categorical), dtype int64, or None
            Each may be None if there are no such columns.

        Returns
        -------
        encoded : Encoded
            Every token is real.
        """
        tokens = self.columns(numeric, categorical)
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return Encoded(self.mlp(tokens.relu().flatten(1)), tokens, mask)
