"""What the table says, for the words to be read in its light."""

from __future__ import annotations

import torch
from torch import nn

#: With "auto", so many columns are read at most. More would outnumber the words of a short text.
MOST_COLUMNS = 8


class TableContext(nn.Module):
    """The columns as further tokens of each chunk, which its words can attend to [1]_.

    A fusion behind the encoder sees a text as one vector, which was made without the table. Where
    the table decides which words count, that is too late. ::

        token        [CLS]   far   too  small  [SEP]    .    |  price   shop
        embedding      word embeddings, of a vocabulary      |  linear(token of the column)
        position       0      3     4     5      6      7    |    1      2
        attended to    1      1     1     1      1      0    |    1      1

    They are numbered as if they stood behind the first word, so that a row is the same however far
    its batch is padded; in a chunk that fills all positions, the last words share the last one. The
    layer starts at zero.

    Parameters
    ----------
    column_dim : int
        Width of a column's token.
    word_dim : int
        Width of a word's embedding.

    References
    ----------
    .. [1] Kiela, Bhooshan, Firooz, Perez and Testuggine, "Supervised Multimodal Bitransformers for
       Classifying Images and Text", 2019, who put an image among the words.
    """

    def __init__(self, column_dim, word_dim):
        super().__init__()
        self.linear = nn.Linear(column_dim, word_dim)
        for parameter in self.linear.parameters():
            nn.init.zeros_(parameter)

    def forward(self, table) -> torch.Tensor:
        """Return the tokens.

        Parameters
        ----------
        table : Encoded

        Returns
        -------
        context : tensor of shape (n, n_columns, word_dim)
        """
        return self.linear(table.tokens)
