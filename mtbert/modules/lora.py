"""Low-rank adapters, trained in place of an encoder's own weights, then added to them."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real

import torch

from mtgbm.parameters import check_number


@dataclass(frozen=True)
class Lora:
    """How adapters are made [1]_.

    Parameters
    ----------
    rank : int
        Of the update of a matrix.
    alpha : float or None
        The update is scaled by alpha / rank; None stands for 2 * rank.
    dropout : float
        Of what goes into an adapter.
    target_modules : sequence of str or None
        Names of the linear layers with adapters; None for those that peft proposes for the kind of
        model, "query" and "value" of BERT.

    References
    ----------
    .. [1] Hu, Shen, Wallis, Allen-Zhu, Li, Wang, Wang and Chen, "LoRA: Low-Rank Adaptation of Large
       Language Models", ICLR 2022.
    """

    rank: int
    alpha: float | None = None
    dropout: float = 0.0
    target_modules: Sequence[str] | None = None

    def __post_init__(self):
        check_number("lora_rank", self.rank, Integral, 1, None)
        if self.alpha is not None:
            check_number("lora_alpha", self.alpha, Real, (0,), None)
        check_number("lora_dropout", self.dropout, Real, 0, (1,))
        names = self.target_modules
        if isinstance(names, str) or not all(isinstance(name, str) for name in names or ()):
            raise TypeError(f"lora_target_modules must be a list of names or None, got {names!r}.")

    def to_config(self):
        """The config of peft."""
        names = self.target_modules
        return require_peft().LoraConfig(
            r=self.rank,
            lora_alpha=2 * self.rank if self.alpha is None else self.alpha,
            lora_dropout=self.dropout,
            target_modules=None if names is None else list(names),
        )


def add_adapters(network, seed: int) -> None:
    """Give the encoders their adapters, if their options say so; torch's generator is as before.

    Parameters
    ----------
    network : FusionNet
        Changed in place.
    seed : int
        Of the weights that are drawn.

    Raises
    ------
    ImportError
        If peft is missing.
    ValueError
        If the encoder has no module of the target's name.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for encoder in network.text_encoders:
            if getattr(encoder, "lora", None) is not None:
                _adapt(encoder)


def _adapt(encoder):
    require_peft().inject_adapter_in_model(encoder.lora.to_config(), encoder.model)
    for part in encoder.anew:
        part.requires_grad_(True)  # peft has frozen all but the adapters


def merge_adapters(network) -> None:
    """Add the adapters to the weights, so that the network is as if it never had any.

    Parameters
    ----------
    network : FusionNet
        Changed in place; one without adapters stays as it is.
    """
    for encoder in network.text_encoders:
        if getattr(encoder, "lora", None) is not None:
            _merge(encoder.model)


def _merge(model):
    from peft.tuners.tuners_utils import BaseTunerLayer

    adapted = [(n, m) for n, m in model.named_modules() if isinstance(m, BaseTunerLayer)]
    for name, layer in adapted:
        layer.merge()
        parent, _, child = name.rpartition(".")
        owner = operator.attrgetter(parent)(model) if parent else model
        setattr(owner, child, layer.get_base_layer())
    if hasattr(model, "peft_config"):
        del model.peft_config


def require_peft():
    """Return the package peft, or raise an ImportError that says how to get it."""
    try:
        import peft
    except ImportError as error:
        raise ImportError(
            "text__lora_rank needs the package peft: pip install 'mtgbm[lora]'"
        ) from error
    return peft
