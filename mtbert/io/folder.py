"""A fitted classifier as a folder: JSON, the tokenizer's own file, weights as safetensors.

Nothing in it is a pickle, nothing is a path, so it can be moved, and loading runs no code of
whoever wrote it. Raise `VERSION` by one when the content changes so that an older mtbert would
misread it, and teach `load_model` to read the older form.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from mtbert.io.stack_files import STACK_FILES, read_stack, stack_content, write_stack
from mtbert.network_plan import NetworkPlan, encoder_config
from mtbert.table_reader import TableReader
from mtbert.tabular import TabularEncoder
from mtbert.targets import Targets
from mtbert.text_fields import TextFields
from mtgbm.model_state import installed_version

FORMAT = "mtbert-classifier"
VERSION = 1
MODEL, TOKENIZER, WEIGHTS = "model.json", "tokenizer.json", "weights.safetensors"
#: Parameters that say where something came from; the folder holds the thing itself.
SOURCES = (
    "encoder",
    "encoder_cache",
    "checkpoint_path",
    "log_dir",
    "random_state",
    "classes",
)


def save_model(estimator, folder) -> None:
    """Write a fitted classifier to a folder.

    Parameters
    ----------
    estimator : MultimodalTextTabularClassifier
    folder : str or path-like
        Made if it does not exist; older files of the same names are replaced.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    OSError
        If the folder cannot be written to.
    TypeError
        If a parameter cannot be written as JSON, such as a text step of your own; use joblib.
    """
    from safetensors.torch import save_file
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(estimator, "network_")
    text = _to_json(_content(estimator))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in estimator.network_.state_dict().items()
    }
    save_file(weights, folder / WEIGHTS)
    text_fields = estimator._reader.text_fields
    for column, file in _tokenizer_files(text_fields).items():
        text_fields.tokenizers_[column].save(str(folder / file))
    if estimator.stack_ is not None:
        write_stack(estimator.stack_, folder)
    (folder / MODEL).write_text(text, encoding="utf-8")


def load_model(cls, folder):
    """Read a classifier that `save_model` wrote.

    Its `encoder`, `classes` and `random_state` are the defaults; the network, the classes and the
    tokenizer are those of the fit.

    Parameters
    ----------
    cls : type
        The estimator's class.
    folder : str or path-like

    Returns
    -------
    estimator

    Raises
    ------
    FileNotFoundError
        If one of the files is missing.
    ValueError
        If the folder is of another kind or a newer version, or the weights do not fit the network.
    """
    folder = Path(folder)
    content = _read_content(folder)
    estimator = cls(**content["parameters"])
    estimator._reader = _read_reader(estimator, content, folder)
    estimator._targets = Targets.from_state(content["targets"])
    estimator._plan = NetworkPlan(**content["plan"])
    network = estimator._plan.build(content["encoder_config"], seed=0)
    _read_weights(network, folder / WEIGHTS)
    estimator.stack_ = read_stack(
        content["stack"], folder, estimator._targets, estimator._reader.roles_.text
    )
    _set_attributes(estimator, content, network)
    return estimator


def _content(estimator):
    parameters = estimator.get_params(deep=False)
    for name in SOURCES:
        parameters.pop(name)
    names = getattr(estimator, "feature_names_in_", None)
    return {
        "format": FORMAT,
        "version": VERSION,
        "packages": package_versions(),
        "parameters": parameters,
        "feature_names": names.tolist(),
        "tabular": estimator._reader.tabular.to_state(),
        "tokenizers": _tokenizer_files(estimator._reader.text_fields),
        "max_sen_len": estimator._reader.text_fields.max_sen_len,
        "targets": estimator._targets.to_state(),
        "plan": asdict(estimator._plan),
        "encoder_config": encoder_config(estimator.network_),
        "history": estimator.history_,
        "best_epoch": estimator.best_epoch_,
        "n_epochs": estimator.n_epochs_,
        "stack": stack_content(estimator.stack_),
    }


def _tokenizer_files(text_fields):
    """Text column to the name of its tokenizer's file, one for all columns that share it."""
    columns = list(text_fields.tokenizers_)
    if text_fields.shared_vocabulary or len(columns) == 1:
        return dict.fromkeys(columns, TOKENIZER)
    return {column: f"tokenizer_{number}.json" for number, column in enumerate(columns)}


def package_versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of those that a model depends on."""
    names = ("torch", "transformers", "tokenizers", "scikit-learn", "numpy")
    python = ".".join(map(str, sys.version_info[:3]))
    return {"python": python, "mtgbm": installed_version()} | {n: version(n) for n in names}


def _to_json(content):
    try:
        return json.dumps(content, indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"the model holds something that JSON cannot: {error}. Parameters must be numbers, "
            "text, lists and dicts of these; write a model with objects of your own by joblib.dump."
        ) from error


def _read_content(folder):
    _require_files(folder, (MODEL, WEIGHTS))
    content = json.loads((folder / MODEL).read_text(encoding="utf-8"))
    found = (content.get("format"), content.get("version"))
    if found[0] != FORMAT or not isinstance(found[1], int) or found[1] > VERSION:
        raise ValueError(
            f"{folder / MODEL} is of format {found[0]!r}, version {found[1]}; this is mtgbm "
            f"{installed_version()}, which reads {FORMAT!r} up to version {VERSION}."
        )
    _require_files(folder, content["tokenizers"].values())
    _require_files(folder, STACK_FILES if content["stack"] is not None else ())
    return content


def _require_files(folder, names):
    for name in names:
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} holds no {name}; give a folder written by save().")


def _read_reader(estimator, content, folder):
    text_fields = TextFields(
        estimator.text_steps,
        max_sen_len=content["max_sen_len"],
        max_total_chunks=estimator.max_total_chunks,
        vocab_size=estimator.vocab_size,
        shared_vocabulary=estimator.shared_encoder,
    )
    tabular = TabularEncoder.from_state(content["tabular"])
    reader = TableReader(text_fields, tabular)
    reader.roles_ = tabular.roles_
    files = content["tokenizers"]
    text_fields.restore({column: folder / files[column] for column in tabular.roles_.text})
    return reader


def _read_weights(network, file):
    from safetensors.torch import load_file

    try:
        network.load_state_dict(load_file(file))
    except RuntimeError as error:
        raise ValueError(f"{file} does not fit the network of {MODEL}: {error}") from error


def _set_attributes(estimator, content, network):
    import numpy as np

    names = content["feature_names"]
    estimator.feature_names_in_ = np.array(names, dtype=object)
    estimator.n_features_in_ = len(names)
    estimator.roles_ = estimator._reader.roles_
    estimator.task_names_ = estimator._targets.encoder_.task_names_
    estimator.classes_ = estimator._targets.classes_
    estimator.history_, estimator.best_epoch_ = content["history"], content["best_epoch"]
    estimator.n_epochs_ = content["n_epochs"]
    estimator.network_ = network
