"""Checks of the estimator's parameters, run at the start of `fit`."""

from __future__ import annotations

import importlib
import os
import tempfile
from numbers import Integral, Real

from mtbert.stacking.options import STACKINGS, StackingOptions
from mtbert.tabular import CATEGORY_ENCODINGS, SCALINGS
from mtbert.validation import check_metric
from mtgbm.parameters import check_number, choose

# name: (type, least, most); an open end is written as a tuple of one.
NUMBERS = {
    "vocab_size": (Integral, 6, None),
    "epochs": (Integral, 1, None),
    "accumulate": (Integral, 1, None),
    "learning_rate": (Real, (0,), None),
    "layer_decay": (Real, (0,), 1),
    "weight_decay": (Real, 0, None),
    "warmup_share": (Real, 0, (1,)),
    "validation_fraction": (Real, (0,), (1,)),
    "checkpoint_interval": (Integral, 1, None),
    "verbose": (Integral, None, None),
}
NUMBERS_OR_AUTO = {
    "batch_size": (Integral, 1, None),
    "encoder_learning_rate": (Real, (0,), None),
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
    "precision": ("auto", "fp32", "bf16", "fp16"),
}
OPTIONAL_CHOICES = {"distributed": ("ddp", "fsdp"), "stacking": STACKINGS}


def plain_parameters(estimator) -> dict:
    """The parameters by which training takes its course: numbers and choices, by name."""
    names = {**NUMBERS, **NUMBERS_OR_AUTO, **OPTIONAL_NUMBERS, **CHOICES, **OPTIONAL_CHOICES}
    parameters = estimator.get_params(deep=False)
    return {name: parameters[name] for name in names if name != "verbose"}


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
    for name, limits in NUMBERS_OR_AUTO.items():
        if isinstance(parameters[name], str):
            choose(name, parameters[name], {"auto": None})
        else:
            check_number(name, parameters[name], *limits)
    for name, limits in OPTIONAL_NUMBERS.items():
        if parameters[name] is not None:
            check_number(name, parameters[name], *limits)
    for name, options in CHOICES.items():
        choose(name, parameters[name], dict.fromkeys(options))
    for name, options in OPTIONAL_CHOICES.items():
        if parameters[name] is not None:
            choose(name, parameters[name], dict.fromkeys(options))
    check_metric(parameters["eval_metric"])
    if parameters["log_dir"] is not None:
        check_log_dir(parameters["log_dir"])
    options = parameters["network_options"]
    if options is not None and not isinstance(options, dict):
        raise TypeError(f"network_options must be a dict or None, got {options!r}.")
    StackingOptions.read(parameters["stacking_options"])
    if parameters["warm_start"]:
        refuse_to_go_on(estimator, "warm_start")


def check_log_dir(folder) -> None:
    """Check that TensorBoard's files can be written to a folder, and make it.

    Raises
    ------
    ImportError
        If the package tensorboard is missing.
    TypeError
        If it is no path.
    ValueError
        If nothing can be written there.
    """
    if not isinstance(folder, (str, os.PathLike)):
        raise TypeError(f"log_dir must be a path or None, got {folder!r}.")
    try:
        importlib.import_module("tensorboard")
    except ImportError as error:
        raise ImportError(
            "log_dir needs the package tensorboard: pip install 'mtgbm[tensorboard]'"
        ) from error
    try:
        os.makedirs(folder, exist_ok=True)
        tempfile.TemporaryFile(dir=os.fspath(folder)).close()
    except OSError as error:
        raise ValueError(
            f"log_dir={os.fspath(folder)!r} cannot be written ({error.strerror}); give a folder "
            "that may be written to."
        ) from error


def refuse_to_go_on(estimator, how) -> None:
    """Raise ValueError if trees, which learn from all rows at once, stand on the net."""
    if estimator.stacking == "gbdt":
        raise ValueError(
            f"{how} goes on with the net alone, and stacking='gbdt' learns from all rows at once; "
            "set stacking to None or 'auto', or fit anew with all rows."
        )
