"""A multilayer perceptron."""

from itertools import pairwise

from torch import nn

from mtbert.modules.dropout import Dropout


class Mlp(nn.Sequential):
    """Linear layers, each followed by ReLU and dropout.

    Parameters
    ----------
    input_dim : int
    hidden_dims : tuple of int
        Width of each layer; without any, the input is returned.
    dropout : float, default=0.0

    Attributes
    ----------
    output_dim : int
    """

    def __init__(self, input_dim, hidden_dims, dropout=0.0):
        dims = [input_dim, *hidden_dims]
        layers: list[nn.Module] = []
        for wide, narrow in pairwise(dims):
            layers += [nn.Linear(wide, narrow), nn.ReLU(), Dropout(dropout)]
        super().__init__(*layers)
        self.output_dim = dims[-1]
