"""The stack of a classifier as files: trees in their own format, terms as JSON, arrays."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np

from mtbert.stacking.options import StackingOptions
from mtbert.stacking.stack import Stack
from mtbert.targets import Targets
from mtgbm import load_model

TREES, TERMS, ARRAYS = "trees.mtgbm", "terms.json", "stack.safetensors"
STACK_FILES = (TREES, TERMS, ARRAYS)
#: Fitted arrays of the parts of a stack; of the first two there may be several.
LEARNED = {
    "terms_": ("idf_",),
    "text_scores_": ("coef_", "intercept_"),
    "text_topics_": ("components_",),
    "axes_": ("mean_", "axes_"),
    "trees_": ("losses_",),
    "blend_": ("factors_", "bias_"),
}


def stack_content(stack: Stack | None) -> dict | None:
    """What JSON can hold of a stack, None for a net alone."""
    if stack is None:
        return None
    return {"options": asdict(stack.options), "seed": stack.seed, "losses": stack.losses_}


def write_stack(stack: Stack, folder) -> None:
    """Write the rest of a stack to a folder.

    Parameters
    ----------
    stack : Stack
    folder : Path
    """
    from safetensors.numpy import save_file

    stack.trees_.model_.save_model(folder / TREES)
    terms = [terms.terms_ for terms in stack.terms_]
    (folder / TERMS).write_text(json.dumps(terms, ensure_ascii=False), encoding="utf-8")
    save_file({key: np.ascontiguousarray(a) for key, a in _arrays(stack).items()}, folder / ARRAYS)


def _arrays(stack):
    return {f"{key}.{name}": getattr(part, name) for key, part, name in _learned(stack)}


def _learned(stack):
    """Key, part and attribute of each fitted array."""
    for name, attributes in LEARNED.items():
        part = getattr(stack, name)
        parts = enumerate(part) if isinstance(part, list) else [("", part)]
        for number, each in parts:
            for attribute in () if each is None else attributes:
                yield f"{name}{number}", each, attribute


def read_stack(content, folder, targets: Targets, text_columns) -> Stack | None:
    """Return the stack that was written.

    Parameters
    ----------
    content : dict or None
        What `stack_content` returned.
    folder : Path
    targets : Targets
    text_columns : tuple of str

    Raises
    ------
    ValueError
        If a file is damaged, or they do not belong together.
    """
    if content is None:
        return None
    options = StackingOptions.read(content["options"])
    stack = Stack(options, targets, content["seed"]).prepare(text_columns)
    stack.losses_ = content["losses"]
    stack.trees_.model_ = load_model(folder / TREES)
    _read_terms(stack, folder / TERMS)
    _read_arrays(stack, folder / ARRAYS)
    return stack


def _read_terms(stack, file):
    written = json.loads(file.read_text(encoding="utf-8"))
    if len(written) != len(stack.terms_):
        raise ValueError(
            f"{file} has the terms of {len(written)} texts, and the model {len(stack.terms_)}; "
            "they are of different models."
        )
    for part, terms in zip(stack.terms_, written, strict=True):
        part.terms_ = terms


def _read_arrays(stack, file):
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays = load_file(file)
        for key, part, name in _learned(stack):
            setattr(part, name, arrays[f"{key}.{name}"])
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"{file} is damaged or of another model: {error}") from error
    _check_terms(stack, file)


def _check_terms(stack, file):
    """Raise unless all arrays are of as many terms as have names."""
    of_terms = [(terms, terms.idf_) for terms in stack.terms_]
    of_terms += zip(stack.terms_, (scores.coef_ for scores in stack.text_scores_), strict=False)
    if stack.text_topics_ is not None:
        of_terms.append((stack.terms_[0], stack.text_topics_.components_))
    for terms, array in of_terms:
        if array.shape[-1] != len(terms.terms_):
            raise ValueError(
                f"{file} has numbers of {array.shape[-1]} terms, but {TERMS} names "
                f"{len(terms.terms_)}; they are of different models."
            )
