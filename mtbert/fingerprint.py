"""Whether two fits are the same: what they learn from as checksums, parameters as plain values."""

from __future__ import annotations

import json
import os

import numpy as np

from mtbert.batching import Rows
from mtgbm.fingerprint import comparable, digest_array


def data_fingerprint(reader, targets, tables) -> dict[str, str]:
    """Checksums of everything that a fit learns from.

    Parameters
    ----------
    reader : TableReader
        Fitted.
    targets : Targets
        Fitted.
    tables : dict of str to Rows or None
        By what to call them, as "training" and "validation".

    Returns
    -------
    dict of str
        ``{"labels of the training rows": "a0..", ...}``; what there is none of is "none".
    """
    prints = {
        "tasks and classes": _digest_text(json.dumps(targets.to_state())),
        "tokenizers": _digest_tokenizers(reader.text_fields.tokenizers_),
        "columns, scales and categories": _digest_text(json.dumps(reader.tabular.to_state())),
    }
    for name, rows in tables.items():
        prints[f"text of the {name} rows"] = "none" if rows is None else _digest_texts(rows)
        for field in ("numeric", "categorical", "labels", "weights"):
            noun = {"numeric": "numbers", "categorical": "categories"}.get(field, field)
            prints[f"{noun} of the {name} rows"] = digest_array(getattr(rows, field, None))
    return prints


def weights_fingerprint(weights) -> str:
    """The checksum of tensors by name, wherever they are."""
    arrays = [as_bytes(weights[name]) for name in sorted(weights)]
    return digest_array(*arrays)


def as_bytes(tensor) -> np.ndarray:
    """The bytes of a tensor of any type: uint8 of shape (n_bytes,); no copy if it is on the CPU."""
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy()


def comparable_parameters(estimator, left_out) -> dict:
    """What JSON can hold of an estimator's parameters, enough to tell whether they are the same.

    Parameters
    ----------
    estimator : MultimodalTextTabularClassifier
    left_out : container of str
        Parameters that do not matter.

    Raises
    ------
    TypeError
        If an object cannot be compared with one of another process.
    """
    values = {k: v for k, v in estimator.get_params(deep=False).items() if k not in left_out}
    readers = {"encoder": _source, "eval_metric": _metric}
    return {
        name: readers[name](value) if name in readers else comparable(_plain(value), name)
        for name, value in values.items()
    }


def _source(encoder):
    """Where an encoder comes from; a model is known by its weights."""
    if isinstance(encoder, dict):
        return {str(key): _source(value) for key, value in encoder.items()}
    if hasattr(encoder, "state_dict"):
        return {type(encoder).__qualname__: weights_fingerprint(encoder.state_dict())}
    if isinstance(encoder, os.PathLike):
        return os.fspath(encoder)
    return comparable(encoder, "encoder")


def _metric(scorer):
    """A metric by its name."""
    return scorer if isinstance(scorer, str) else getattr(scorer, "__qualname__", repr(scorer))


def _plain(value):
    """Arrays of objects, such as names of classes, as lists."""
    return value.tolist() if isinstance(value, np.ndarray) else value


def _digest_text(text):
    return digest_array(np.frombuffer(text.encode(errors="replace"), np.uint8))


def _digest_tokenizers(tokenizers):
    parts = [f"{column} {tokenizer.to_str()}" for column, tokenizer in tokenizers.items()]
    return _digest_text(" ".join(parts))


def _digest_texts(rows: Rows):
    digests = [digest for tokens in rows.text.values() for digest in tokens.digests()]
    return digest_array(np.frombuffer(b"".join(digests), np.uint8))
