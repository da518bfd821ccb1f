"""The layers of a model of transformers: where they are, and how they are drawn anew."""

from __future__ import annotations

import operator

from torch import nn

LAYERS_AT = ("encoder.layer", "transformer.layer", "layers")  # BERT, DistilBERT, ModernBERT


def find_layers(model) -> list[nn.Module]:
    """Return the layers of an encoder, the lowest first.

    Parameters
    ----------
    model : PreTrainedModel

    Raises
    ------
    TypeError
        If the model is not built like BERT.
    """
    for path in LAYERS_AT:
        try:
            return list(operator.attrgetter(path)(model))
        except AttributeError:
            continue
    raise TypeError(
        f"{type(model).__name__} has no list of layers at {' or '.join(LAYERS_AT)}; "
        "give an encoder built like BERT."
    )


def draw_anew(module: nn.Module, config) -> None:
    """Draw weights as BERT draws them before its training.

    Parameters
    ----------
    module : Module
        Changed in place: normal weights, zeros for biases, ones for the scale of a norm.
    config : PretrainedConfig
        For the standard deviation, `initializer_range`.
    """
    std = getattr(config, "initializer_range", 0.02)
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            if name == "bias":
                nn.init.zeros_(parameter)
            elif isinstance(part, (nn.Linear, nn.Embedding)):
                nn.init.normal_(parameter, std=std)
            else:
                nn.init.ones_(parameter)
