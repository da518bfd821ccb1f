"""A head for the text alone and one for the table alone, so that each learns what it can say."""

from __future__ import annotations

from numbers import Real

import torch
from torch import nn

from mtgbm.parameters import check_number


class ModalityHeads(nn.Module):
    """Linear layers from each modality's own vectors to logits, for training alone.

    Where one modality says most, a network that is trained by the loss of its fused logits alone
    leaves the other modality half learned [1]_. The losses of these logits, times `loss_weight`,
    are added to it; predictions know nothing of them. The text's vector knows what its encoder was
    told of the table (:class:`mtbert.modules.table_context.TableContext`), if anything.

    Parameters
    ----------
    text_dims : list of int
        Width of each text's vector.
    table_dim : int
        Width of the table's vector.
    n_outputs : int
    loss_weight : float, default=0.5
        With 0 there are no such heads.

    References
    ----------
    .. [1] Wang, Tran and Feiszli, "What Makes Training Multi-Modal Classification Networks Hard?",
       CVPR 2020.
    """

    def __init__(self, text_dims, table_dim, n_outputs, *, loss_weight=0.5):
        super().__init__()
        check_number("loss_weight", loss_weight, Real, 0, None)
        self.loss_weight = loss_weight
        self.text = nn.Linear(sum(text_dims), n_outputs)
        self.table = nn.Linear(table_dim, n_outputs)

    def forward(self, texts, table) -> list[torch.Tensor]:
        """Return the logits of all texts together, and those of the table.

        Parameters
        ----------
        texts : list of Encoded
        table : Encoded

        Returns
        -------
        logits : list of two tensors of shape (n, n_outputs)
        """
        vectors = torch.cat([text.vector for text in texts], dim=-1)
        return [self.text(vectors), self.table(table.vector)]
