"""Vectors of several modalities become one."""

from __future__ import annotations

import torch
from torch import nn

from mtbert.modules.mlp import Mlp


class VectorFusion(nn.Module):
    """Base of the fusions that see one vector of each modality; a subclass defines `fuse`.

    Attributes
    ----------
    output_dim : int
    needs_tokens : bool
        Whether the encoders have to return tokens.
    """

    needs_tokens = False
    output_dim: int

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
        encoders = [*text_encoders] if tabular is None else [*text_encoders, tabular]
        return cls([encoder.output_dim for encoder in encoders], **options)

    def forward(self, texts, table) -> torch.Tensor:
        """Fuse the modalities.

        Parameters
        ----------
        texts : list of Encoded
        table : Encoded or None

        Returns
        -------
        embedding : tensor of shape (n, output_dim)
        """
        modalities = texts if table is None else [*texts, table]
        return self.fuse([modality.vector for modality in modalities])

    def fuse(self, vectors) -> torch.Tensor:
        """Return one vector a row.

        Parameters
        ----------
        vectors : list of tensors of shape (n, d), d as in the constructor's `input_dims`

        Returns
        -------
        embedding : tensor of shape (n, output_dim)
        """
        raise NotImplementedError


class Concatenation(VectorFusion):
    """The vectors side by side, then a multilayer perceptron.

    Parameters
    ----------
    input_dims : list of int
        Width of each modality's vector.
    hidden_dims : tuple of int, default=(128,)
        Without any, the concatenation itself is the embedding.
    dropout : float, default=0.1
    """

    def __init__(self, input_dims, *, hidden_dims=(128,), dropout=0.1):
        super().__init__()
        self.mlp = Mlp(sum(input_dims), hidden_dims, dropout)
        self.output_dim = self.mlp.output_dim

    def fuse(self, vectors) -> torch.Tensor:
        """Return one vector a row.

        Parameters
        ----------
        vectors : list of tensors of shape (n, d)

        Returns
        -------
        embedding : tensor of shape (n, output_dim)
        """
        return self.mlp(torch.cat(vectors, dim=-1))


class MixtureOfExperts(VectorFusion):
    """Small networks that all see all modalities, mixed by a gate that sees them too [1]_.

    The gate is a softmax over all experts, none of which is left out.

    Parameters
    ----------
    input_dims : list of int
        Width of each modality's vector.
    n_experts : int, default=4
    expert_dim : int, default=128
        Width of an expert's hidden layer and of its answer.
    dropout : float, default=0.1

    References
    ----------
    .. [1] Shazeer et al., "Outrageously Large Neural Networks: The Sparsely-Gated
       Mixture-of-Experts Layer", ICLR 2017, without its sparsity.
    """

    def __init__(self, input_dims, *, n_experts=4, expert_dim=128, dropout=0.1):
        super().__init__()
        dim = sum(input_dims)
        self.gate = nn.Linear(dim, n_experts)
        self.experts = nn.ModuleList(
            nn.Sequential(Mlp(dim, (expert_dim,), dropout), nn.Linear(expert_dim, expert_dim))
            for _ in range(n_experts)
        )
        self.output_dim = expert_dim

    def fuse(self, vectors) -> torch.Tensor:
        """Return one vector a row.

        Parameters
        ----------
        vectors : list of tensors of shape (n, d)

        Returns
        -------
        embedding : tensor of shape (n, output_dim)
        """
        joined = torch.cat(vectors, dim=-1)
        answers = torch.stack([expert(joined) for expert in self.experts], dim=-1)
        shares = self.gate(joined).softmax(-1)
        return (answers * shares.unsqueeze(1)).sum(-1)


class GateFusion(VectorFusion):
    """Gated multimodal unit: each modality enters each dimension as far as a gate lets it [1]_.

    Parameters
    ----------
    input_dims : list of int
        Width of each modality's vector.
    dim : int, default=128
        Width of the common space.

    References
    ----------
    .. [1] Arevalo, Solorio, Montes-y-Gómez and González, "Gated Multimodal Units for Information
       Fusion", ICLR workshop 2017, in its form for any number of modalities.
    """

    def __init__(self, input_dims, *, dim=128):
        super().__init__()
        self.projections = nn.ModuleList(nn.Linear(d, dim) for d in input_dims)
        self.gates = nn.ModuleList(nn.Linear(sum(input_dims), dim) for _ in input_dims)
        self.output_dim = dim

    def fuse(self, vectors) -> torch.Tensor:
        """Return one vector a row.

        Parameters
        ----------
        vectors : list of tensors of shape (n, d)

        Returns
        -------
        embedding : tensor of shape (n, output_dim)
        """
        joined = torch.cat(vectors, dim=-1)
        parts = [
            gate(joined).sigmoid() * projection(vector).tanh()
            for gate, projection, vector in zip(self.gates, self.projections, vectors, strict=True)
        ]
        return torch.stack(parts).sum(0)
