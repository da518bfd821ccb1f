"""Learning rates by depth: what was learned elsewhere changes less than what starts here."""

from __future__ import annotations

from numbers import Real

from torch import nn

from mtbert.modules.bert import BertText
from mtgbm.parameters import check_number


def layerwise_parameter_groups(
    network: nn.Module,
    *,
    learning_rate: float,
    encoder_learning_rate: float,
    layer_decay: float = 1.0,
    weight_decay: float = 0.01,
) -> list[dict]:
    """Return parameter groups for an optimizer of torch [1]_ [2]_.

    Parameters
    ----------
    network : FusionNet
    learning_rate : float
        Of everything but BERT.
    encoder_learning_rate : float
        Of BERT's highest layer.
    layer_decay : float, default=1.0
        By which factor the learning rate shrinks from a layer to the one below it, and from the
        lowest layer to the embeddings.
    weight_decay : float, default=0.01
        Of weights; biases and norms have none.

    Returns
    -------
    groups : list of dict
        With the keys ``"params"``, ``"lr"`` and ``"weight_decay"``. Every parameter that is to be
        trained is in one group.

    Raises
    ------
    TypeError
        If a rate is no number.
    ValueError
        If a rate is out of its range.

    References
    ----------
    .. [1] Howard and Ruder, "Universal Language Model Fine-tuning for Text Classification", ACL
       2018.
    .. [2] Clark, Luong, Le and Manning, "ELECTRA: Pre-training Text Encoders as Discriminators
       Rather Than Generators", ICLR 2020.
    """
    check_number("learning_rate", learning_rate, Real, 0, None)
    check_number("encoder_learning_rate", encoder_learning_rate, Real, 0, None)
    check_number("layer_decay", layer_decay, Real, (0,), 1)
    check_number("weight_decay", weight_decay, Real, 0, None)
    rates = _encoder_rates(network, encoder_learning_rate, layer_decay)
    groups: dict[tuple[float, float], list] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            decay = 0.0 if parameter.ndim < 2 or name.endswith("bias") else weight_decay
            rate = rates.get(id(parameter), learning_rate)
            groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": p, "lr": rate, "weight_decay": d} for (rate, d), p in groups.items()]


def _encoder_rates(network, highest, layer_decay):
    """Learning rate by identity of the parameter."""
    rates = {}
    for encoder in network.modules():
        if isinstance(encoder, BertText):
            for height, parameters in enumerate(reversed(encoder.parameters_by_depth())):
                rates |= {id(p): highest * layer_decay**height for p in parameters}
    return rates
