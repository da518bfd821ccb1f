"""Columns look at words, and words at columns."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from mtbert.modules.dropout import Dropout
from mtbert.modules.mlp import Mlp
from mtbert.modules.pooling import masked_mean


class Attention(nn.Module):
    """Multi-head attention of one sequence over another, added to the first [1]_.

    Parameters
    ----------
    dim : int
    n_heads : int
        A divisor of `dim`.
    dropout : float

    Notes
    -----
    Beside the tokens there is a key of zeros, whose value is zeros: a query may look at nothing.
    So a row without a token is no special case, and a single token does not get all the weight.

    References
    ----------
    .. [1] Vaswani et al., "Attention Is All You Need", NeurIPS 2017.
    """

    def __init__(self, dim, n_heads, dropout):
        super().__init__()
        self.n_heads = n_heads
        self.query_norm = nn.LayerNorm(dim)
        self.key_norm = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.output = nn.Linear(dim, dim)
        self.dropout = Dropout(dropout)

    def forward(self, sequence, other, mask) -> torch.Tensor:
        """Return `sequence`, to which is added what it found in `other`.

        Parameters
        ----------
        sequence : tensor of shape (n, n_queries, dim)
        other : tensor of shape (n, n_keys, dim)
        mask : tensor of shape (n, n_keys), dtype bool
            True for real tokens of `other`.

        Returns
        -------
        sequence : tensor of shape (n, n_queries, dim)
        """
        context = self.key_norm(other)
        found = F.scaled_dot_product_attention(
            self._split(self.query(self.query_norm(sequence))),
            _append_zeros(self._split(self.key(context))),
            _append_zeros(self._split(self.value(context))),
            attn_mask=F.pad(mask, (0, 1), value=True)[:, None, None, :],
        )
        return sequence + self.dropout(self.output(found.transpose(1, 2).flatten(2)))

    def _split(self, values):
        """(n, length, dim) to (n, n_heads, length, dim / n_heads)."""
        return values.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)


def _append_zeros(keys):
    return F.pad(keys, (0, 0, 0, 1))


class CrossAttention(nn.Module):
    """Tokens of the table attend over those of each text, and the text's over the table's [1]_.

    The means of both, and the encoders' own vectors, are concatenated and reduced to one vector.

    Parameters
    ----------
    text_dims : list of int
        Width of each text's vector and tokens.
    table_dim : int
        Width of the table's vector; 0 without a table, then nothing attends over anything.
    token_dim : int
        Width of the table's tokens.
    dim : int, default=128
        Width of the attention and of the result.
    n_heads : int, default=4
        A divisor of `dim`.
    dropout : float, default=0.1

    Attributes
    ----------
    output_dim : int
        `dim`.

    Raises
    ------
    ValueError
        If `n_heads` does not divide `dim`.

    References
    ----------
    .. [1] Tsai et al., "Multimodal Transformer for Unaligned Multimodal Language Sequences", ACL
       2019.
    """

    needs_tokens = True

    def __init__(self, text_dims, table_dim, token_dim, *, dim=128, n_heads=4, dropout=0.1):
        super().__init__()
        check_heads(dim, n_heads)
        attended = text_dims if table_dim else []
        self.text_projections = nn.ModuleList(nn.Linear(d, dim) for d in attended)
        self.table_projection = nn.Linear(token_dim, dim) if table_dim else None
        self.table_over_text = nn.ModuleList(Attention(dim, n_heads, dropout) for _ in attended)
        self.text_over_table = nn.ModuleList(Attention(dim, n_heads, dropout) for _ in attended)
        joined_dim = sum(text_dims) + table_dim + 2 * dim * len(attended)
        self.norm = nn.LayerNorm(joined_dim)
        self.mlp = Mlp(joined_dim, (dim,), dropout)
        self.output_dim = dim

    @classmethod
    def for_encoders(cls, text_encoders, tabular, **options):
        """Return the fusion of these encoders.

        Parameters
        ----------
        text_encoders : list of Module
            One for each text field.
        tabular : Module or None
        **options
            Keyword arguments of the class.
        """
        text_dims = [encoder.output_dim for encoder in text_encoders]
        if tabular is None:
            return cls(text_dims, 0, 0, **options)
        return cls(text_dims, tabular.output_dim, tabular.token_dim, **options)

    def forward(self, texts, table) -> torch.Tensor:
        """Fuse the modalities.

        Parameters
        ----------
        texts : list of Encoded
            With tokens.
        table : Encoded or None

        Returns
        -------
        embedding : tensor of shape (n, output_dim)
        """
        vectors = [text.vector for text in texts]
        if table is not None:
            vectors.append(table.vector)
            for position, text in enumerate(texts):
                vectors += self._attend(position, text, table)
        return self.mlp(self.norm(torch.cat(vectors, dim=-1)))

    def _attend(self, position, text, table):
        words = self.text_projections[position](text.tokens)
        columns = self.table_projection(table.tokens)
        informed_columns = self.table_over_text[position](columns, words, text.mask)
        informed_words = self.text_over_table[position](words, columns, table.mask)
        return masked_mean(informed_columns, table.mask), masked_mean(informed_words, text.mask)


def check_heads(dim: int, n_heads: int) -> None:
    """Raise ValueError unless the heads divide the dimension.

    Parameters
    ----------
    dim : int
    n_heads : int
    """
    if n_heads < 1 or dim % n_heads:
        divisors = [str(d) for d in range(1, min(dim, 16) + 1) if dim % d == 0]
        raise ValueError(
            f"n_heads must divide dim={dim}, got {n_heads}; choose one of {', '.join(divisors)}."
        )
