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
#: Fitted arrays of the parts of a stack.
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
    terms = [] if stack.terms_ is None else stack.terms_.terms_
    (folder / TERMS).write_text(json.dumps(terms, ensure_ascii=False), encoding="utf-8")
    save_file({key: np.ascontiguousarray(a) for key, a in _arrays(stack).items()}, folder / ARRAYS)


def _arrays(stack):
    return {
        f"{part}.{name}": getattr(getattr(stack, part), name)
        for part, names in LEARNED.items()
        if getattr(stack, part) is not None
        for name in names
    }


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
    if stack.terms_ is not None:
        stack.terms_.terms_ = json.loads((folder / TERMS).read_text(encoding="utf-8"))
    _read_arrays(stack, folder / ARRAYS)
    return stack


def _read_arrays(stack, file):
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays = load_file(file)
        for part, names in LEARNED.items():
            for name in names if getattr(stack, part) is not None else ():
                setattr(getattr(stack, part), name, arrays[f"{part}.{name}"])
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"{file} is damaged or of another model: {error}") from error
    _check_terms(stack, file)


def _check_terms(stack, file):
    """Raise unless all arrays are of as many terms as have names."""
    if stack.terms_ is None:
        return
    of_terms = [stack.terms_.idf_]
    of_terms += [] if stack.text_scores_ is None else [stack.text_scores_.coef_]
    of_terms += [] if stack.text_topics_ is None else [stack.text_topics_.components_]
    for array in of_terms:
        if array.shape[-1] != len(stack.terms_.terms_):
            raise ValueError(
                f"{file} has numbers of {array.shape[-1]} terms, but {TERMS} names "
                f"{len(stack.terms_.terms_)}; they are of different models."
            )
