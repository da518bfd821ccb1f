"""Text as the states of an LSTM that reads it in both directions."""

from __future__ import annotations

import torch
from torch import nn

from mtbert.modules.dropout import Dropout
from mtbert.modules.text_encoder import TextEncoder


class LstmText(TextEncoder):
    """A forward and a backward LSTM over learned token embeddings [1]_ [2]_.

    Parameters
    ----------
    vocab_size : int
    pad_id : int, default=0
    embedding_dim : int, default=128
    hidden_dim : int, default=128
        Width of the state of one direction.
    n_layers : int, default=1
    dropout : float, default=0.1
        Of the embeddings, and between layers.
    pooling : {"mean", "max", "cls"}, default="mean"
    token_dropout : float, default=0.0
        The share of tokens that are left out at random in training; see
        :class:`mtbert.modules.token_dropout.TokenDropout`.

    Attributes
    ----------
    output_dim : int
        ``2 * hidden_dim``.

    Notes
    -----
    The backward LSTM is given the tokens in reverse and the padding still behind them, so neither
    sees padding before a token, and no lengths have to leave the device.

    References
    ----------
    .. [1] Hochreiter and Schmidhuber, "Long Short-Term Memory", Neural Computation 1997.
    .. [2] Schuster and Paliwal, "Bidirectional Recurrent Neural Networks", IEEE Transactions on
       Signal Processing 1997.

    Examples
    --------
    >>> import torch
    >>> from mtbert.modules import LstmText
    >>> encoder = LstmText(vocab_size=50)
    >>> ids = torch.tensor([[[2, 7, 3]], [[2, 3, 0]]])
    >>> encoder(ids, ids > 0).vector.shape
    torch.Size([2, 256])
    """

    def __init__(
        self,
        vocab_size,
        pad_id=0,
        *,
        embedding_dim=128,
        hidden_dim=128,
        n_layers=1,
        dropout=0.1,
        pooling="mean",
        token_dropout=0.0,
    ):
        super().__init__(2 * hidden_dim, pooling, token_dropout)
        self.embedding = nn.Embedding(vocab_size, embedding_dim, padding_idx=pad_id)
        self.dropout = Dropout(dropout)
        between = dropout if n_layers > 1 else 0.0  # torch warns of dropout between no layers
        shape = {"num_layers": n_layers, "batch_first": True, "dropout": between}
        self.forward_lstm = nn.LSTM(embedding_dim, hidden_dim, **shape)
        self.backward_lstm = nn.LSTM(embedding_dim, hidden_dim, **shape)

    @property
    def token_embedding(self) -> nn.Module:
        """The embedding that is learned here."""
        return self.embedding

    def encode_chunks(self, ids, mask) -> torch.Tensor:
        """Return the states of both directions at each token.

        Parameters
        ----------
        ids : tensor of shape (n_chunks, length), dtype int64
        mask : tensor of shape (n_chunks, length), dtype bool

        Returns
        -------
        tokens : tensor of shape (n_chunks, length, output_dim)
        """
        embedded = self.dropout(self.embedding(ids))
        order = _reversed_places(mask)
        forward, _ = self.forward_lstm(embedded)
        backward, _ = self.backward_lstm(_reorder(embedded, order))
        return torch.cat([forward, _reorder(backward, order)], dim=-1)


def _reversed_places(mask):
    """For a chunk of three tokens and padding: 2 1 0 3 4. Its own inverse."""
    places = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
    last = mask.sum(-1, keepdim=True) - 1
    return torch.where(mask, last - places, places)


def _reorder(values, order):
    return values.gather(1, order.unsqueeze(-1).expand_as(values))
