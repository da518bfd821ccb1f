"""Text as the strongest answers of convolution filters."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from mtbert.modules.dropout import Dropout
from mtbert.modules.text_encoder import TextEncoder


class CnnText(TextEncoder):
    """Convolutions of several widths over learned token embeddings [1]_.

    Parameters
    ----------
    vocab_size : int
    pad_id : int, default=0
    embedding_dim : int, default=128
    n_filters : int, default=100
        Filters of each width.
    kernel_widths : tuple of int, default=(3, 4, 5)
        How many tokens a filter sees.
    dropout : float, default=0.1
        Of the embeddings.
    pooling : {"max", "mean", "cls"}, default="max"
    token_dropout : float, default=0.0
        The share of tokens that are left out at random in training; see
        :class:`mtbert.modules.token_dropout.TokenDropout`.

    Attributes
    ----------
    output_dim : int
        ``n_filters * len(kernel_widths)``.

    References
    ----------
    .. [1] Kim, "Convolutional Neural Networks for Sentence Classification", EMNLP 2014.

    Examples
    --------
    >>> import torch
    >>> from mtbert.modules import CnnText
    >>> encoder = CnnText(vocab_size=50)
    >>> ids = torch.tensor([[[2, 7, 3]], [[2, 3, 0]]])
    >>> encoder(ids, ids > 0).vector.shape
    torch.Size([2, 300])
    """

    def __init__(
        self,
        vocab_size,
        pad_id=0,
        *,
        embedding_dim=128,
        n_filters=100,
        kernel_widths=(3, 4, 5),
        dropout=0.1,
        pooling="max",
        token_dropout=0.0,
    ):
        super().__init__(n_filters * len(kernel_widths), pooling, token_dropout)
        self.embedding = nn.Embedding(vocab_size, embedding_dim, padding_idx=pad_id)
        self.dropout = Dropout(dropout)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(embedding_dim, n_filters, width) for width in kernel_widths
        )

    @property
    def token_embedding(self) -> nn.Module:
        """The embedding that is learned here."""
        return self.embedding

    def encode_chunks(self, ids, mask) -> torch.Tensor:
        """Return the answers of the filters centred at each token.

        Parameters
        ----------
        ids : tensor of shape (n_chunks, length), dtype int64
        mask : tensor of shape (n_chunks, length), dtype bool

        Returns
        -------
        tokens : tensor of shape (n_chunks, length, output_dim)
        """
        embedded = self.dropout(self.embedding(ids)).masked_fill(~mask.unsqueeze(-1), 0.0)
        signal = embedded.transpose(1, 2)
        answers = [_convolve(signal, convolution) for convolution in self.convolutions]
        return torch.cat(answers, dim=1).relu().transpose(1, 2)


def _convolve(signal, convolution):
    """As many answers as places; beyond either end there are zeros, as there is padding."""
    (width,) = convolution.kernel_size
    return convolution(F.pad(signal, ((width - 1) // 2, width // 2)))
