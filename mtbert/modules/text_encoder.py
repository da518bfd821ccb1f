"""What all text encoders share: chunks are encoded one by one, then pooled to a vector a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from mtbert.modules.pooling import POOLINGS, masked_mean
from mtbert.modules.table_context import TableContext
from mtbert.modules.token_dropout import TokenDropout
from mtgbm.parameters import choose


@dataclass(frozen=True)
class TextFieldSpec:
    """What a network must know of one text field.

    Parameters
    ----------
    vocab_size : int
        Number of token ids.
    pad_id : int, default=0
        The id of padding.
    """

    vocab_size: int
    pad_id: int = 0


class Encoded(NamedTuple):
    """One modality of a batch, as a vector a row and, where a fusion needs them, as tokens.

    Parameters
    ----------
    vector : tensor of shape (n, d)
    tokens : tensor of shape (n, n_tokens, d_token) or None
    mask : tensor of shape (n, n_tokens), dtype bool, or None
        True for real tokens.
    """

    vector: torch.Tensor
    tokens: torch.Tensor | None = None
    mask: torch.Tensor | None = None


class TextEncoder(nn.Module):
    """Base of the text encoders: encode the real chunks, pool their tokens, average the chunks.

    A subclass defines `encode_chunks`. What it makes of a token must not depend on the padding
    behind it; then a row's result does not depend on its batch.

    Parameters
    ----------
    output_dim : int
        Width of a token's vector, and of a row's.
    pooling : {"mean", "max", "cls"}
        How the tokens of a chunk become one vector.
    token_dropout : float, default=0.0
        The share of tokens that are left out at random in training.

    Attributes
    ----------
    output_dim : int
    table_context : TableContext or None
        What makes of a table's columns what is said of them to `encode_chunks`.
    """

    poolings = tuple(POOLINGS)

    def __init__(self, output_dim, pooling, token_dropout=0.0):
        super().__init__()
        choose("pooling", pooling, dict.fromkeys(self.poolings))
        self.output_dim = output_dim
        self.pooling = pooling
        self.token_dropout = TokenDropout(token_dropout)
        self.table_context: TableContext | None = None

    @classmethod
    def for_field(cls, spec, source, **options):
        """Return the encoder of a text field.

        Parameters
        ----------
        spec : TextFieldSpec
        source : object
            Where a pretrained encoder comes from; ignored by those that learn their own.
        **options
            Keyword arguments of the class.
        """
        return cls(spec.vocab_size, spec.pad_id, **options)

    @property
    def token_embedding(self) -> nn.Module:
        """The module that makes vectors of token ids, and that `encode_chunks` calls once."""
        raise NotImplementedError

    def encode_chunks(self, ids, mask) -> torch.Tensor:
        """Return a vector for each token.

        An encoder with a `table_context` takes what it makes of the table, or None, as a third
        argument of shape (n_chunks, n_context, token_dim).

        Parameters
        ----------
        ids : tensor of shape (n_chunks, length), dtype int64
        mask : tensor of shape (n_chunks, length), dtype bool
            The first place is True in every chunk.

        Returns
        -------
        tokens : tensor of shape (n_chunks, length, output_dim)
        """
        raise NotImplementedError

    def pool_tokens(self, tokens, mask) -> torch.Tensor:
        """Return a vector for each chunk.

        Parameters
        ----------
        tokens : tensor of shape (n_chunks, length, output_dim)
        mask : tensor of shape (n_chunks, length), dtype bool

        Returns
        -------
        vectors : tensor of shape (n_chunks, output_dim)
        """
        return POOLINGS[self.pooling](tokens, mask)

    def read_table(self, tabular) -> None:
        """Make ready to be told what the table says, if the encoder can make use of it.

        Parameters
        ----------
        tabular : TabularEncoder
        """

    def forward(self, ids, mask, with_tokens=False, table=None) -> Encoded:
        """Encode rows of chunks.

        Parameters
        ----------
        ids : tensor of shape (n, n_chunks, length), dtype int64
        mask : tensor of shape (n, n_chunks, length), dtype bool
            True for tokens, which come first in a chunk; a padding chunk has none.
        with_tokens : bool, default=False
            Whether to return the tokens too.
        table : Encoded or None, default=None
            The other columns of the rows.

        Returns
        -------
        encoded : Encoded
            The tokens of a row's chunks one behind the other. A row without a token is zeros.
        """
        ids, mask = self.token_dropout(*_with_a_place(ids, mask))
        told = []
        if self.table_context is not None and table is not None:
            context = self.table_context(table).unsqueeze(1)
            told.append(context.expand(-1, mask.shape[1], -1, -1).flatten(0, 1))
        vectors, tokens = self._encode_real_chunks(ids.flatten(0, 1), mask.flatten(0, 1), told)
        vector = masked_mean(vectors.unflatten(0, mask.shape[:2]), mask.any(-1))
        if not with_tokens:
            return Encoded(vector)
        return Encoded(vector, tokens.unflatten(0, mask.shape[:2]).flatten(1, 2), mask.flatten(1))

    def _encode_real_chunks(self, ids, mask, told):
        """Vectors and tokens of all chunks, zeros for padding chunks, which cost nothing.

        `told` holds what the encoder is told of the table, if anything.

        An exported graph has no shapes that depend on data, so there they are encoded too.
        """
        if torch.compiler.is_exporting():
            return self._encode(ids, mask, told)
        real = mask.any(-1)
        real[0] |= ~real.any()  # one at least: every step then reaches all weights
        chosen = real.nonzero().squeeze(-1)
        vectors, tokens = self._encode(ids[chosen], mask[chosen], [c[chosen] for c in told])
        return _put_back(vectors, chosen, len(ids)), _put_back(tokens, chosen, len(ids))

    def _encode(self, ids, mask, told):
        attended = mask.clone()
        attended[:, 0] |= ~mask.any(-1)  # attention over nothing is NaN
        tokens = self.encode_chunks(ids, attended, *told)
        return self.pool_tokens(tokens, mask), tokens


def _with_a_place(ids, mask):
    """At least one chunk of one place, so that a batch without tokens has a shape to encode."""
    missing = [0, max(0, 1 - ids.shape[2]), 0, max(0, 1 - ids.shape[1])]
    return (F.pad(ids, missing), F.pad(mask, missing)) if any(missing) else (ids, mask)


def _put_back(values, positions, n):
    return values.new_zeros(n, *values.shape[1:]).index_copy(0, positions, values)
