"""Checks of the estimator's parameters, run at the start of `fit`."""

from __future__ import annotations

from numbers import Integral, Real

from mtbert.tabular import CATEGORY_ENCODINGS, SCALINGS
from mtbert.validation import BINARY
from mtgbm.parameters import check_number, choose

# name: (type, least, most); an open end is written as a tuple of one.
NUMBERS = {
    "vocab_size": (Integral, 6, None),
    "epochs": (Integral, 1, None),
    "batch_size": (Integral, 1, None),
    "accumulate": (Integral, 1, None),
    "learning_rate": (Real, (0,), None),
    "encoder_learning_rate": (Real, (0,), None),
    "layer_decay": (Real, (0,), 1),
    "weight_decay": (Real, 0, None),
    "warmup_share": (Real, 0, (1,)),
    "validation_fraction": (Real, (0,), (1,)),
    "verbose": (Integral, None, None),
}
OPTIONAL_NUMBERS = {
    "max_sen_len": (Integral, 3, None),
    "max_total_chunks": (Integral, 1, None),
    "gradient_clip": (Real, (0,), None),
    "early_stopping_patience": (Integral, 1, None),
}
CHOICES = {
    "scaling": tuple(SCALINGS),
    "category_encoding": tuple(CATEGORY_ENCODINGS),
    "schedule": ("linear", "cosine"),
    "eval_metric": tuple(BINARY),
    "precision": ("fp32", "bf16", "fp16"),
}


def check_parameters(estimator) -> None:
    """Check what can be checked without data.

    Raises
    ------
    TypeError
        If a value is of the wrong type.
    ValueError
        If a value is out of its range, or is no option; the text names those there are.
    """
    parameters = estimator.get_params(deep=False)
    for name, limits in NUMBERS.items():
        check_number(name, parameters[name], *limits)
    for name, limits in OPTIONAL_NUMBERS.items():
        if parameters[name] is not None:
            check_number(name, parameters[name], *limits)
    for name, options in CHOICES.items():
        choose(name, parameters[name], dict.fromkeys(options))
    options = parameters["network_options"]
    if options is not None and not isinstance(options, dict):
        raise TypeError(f"network_options must be a dict or None, got {options!r}.")
