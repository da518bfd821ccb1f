"""What a file says of itself, as metadata: enough to score raw tables with the file alone.

Its entries are ``format`` and ``format_version``, ``mtgbm_version``, ``description`` in JSON, and
``tokenizer_0``, ``tokenizer_1``, ... in the format of tokenizer.json. The description holds

- ``text_fields``: for each text column its name, its inputs ``ids`` and ``mask``, ``pad_id``, the
  name of its ``tokenizer`` among the entries, and its ``steps``, which
  :mod:`mtbert.onnx.text_steps` applies; `max_sen_len` and `max_total_chunks` are among them;
- ``words``: for each of the inputs ``text_words_0``, ``text_words_1``, ... the text ``columns``,
  ``pattern`` and ``vocabulary`` from which :class:`mtbert.onnx.words.WordNumbers` makes it;
- ``numeric_columns``: names; ``categorical_columns``: name, kind ("text" or "number") and, for
  text, what stands for a missing cell;
- ``targets``: is_1d, task_names, classes and their dtype;
- ``architecture``, ``quantize`` and the ``packages`` that wrote the file.
"""

from __future__ import annotations

import json

from mtbert.text import NAMED_STEPS, Tokenizer
from mtbert.text.tokenizer import load_tokenizer


def describe_text(reader, inputs_of) -> tuple[list[dict], dict[str, str]]:
    """Describe the text columns that a reader of tables has.

    Parameters
    ----------
    reader : TableReader
    inputs_of : callable
        From the network's name of a field to the names of its two inputs.

    Returns
    -------
    fields : list of dict
    tokenizers : dict of str to str
        By entry, each once.

    Raises
    ------
    ValueError
        If a step is not one of `NAMED_STEPS`, or counts tokens in a way of its own.
    """
    fields: list[dict] = []
    entry_of: dict[str, str] = {}
    for column, field in reader.fields_.items():
        pipeline = reader.text_fields.pipelines_[column]
        tokenizer = load_tokenizer(pipeline[-1].tokenizer_).to_str()
        entry = entry_of.setdefault(tokenizer, f"tokenizer_{len(entry_of)}")
        ids, mask = inputs_of(field)
        fields.append(
            {
                "column": column,
                "ids": ids,
                "mask": mask,
                "pad_id": pipeline[-1].pad_token_id_,
                "tokenizer": entry,
                "steps": [
                    _describe_step(column, name, step, tokenizer) for name, step in pipeline.steps
                ],
            }
        )
    return fields, {entry: tokenizer for tokenizer, entry in entry_of.items()}


def _describe_step(column, name, step, tokenizer):
    """[name among NAMED_STEPS, what its function takes]."""
    kind = next((kind for kind, own in NAMED_STEPS.items() if type(step) is own), None)
    if kind is None:
        raise ValueError(
            f"the step {name!r} of text column {column!r} is a {type(step).__name__}, which an "
            f"ONNX file cannot hold; it holds {', '.join(NAMED_STEPS)}. Apply your own steps to "
            "the table, before fit and before scoring."
        )
    if kind == "tokenizer":
        return [kind, {"max_sen_len": step.max_sen_len}]
    if kind == "dialogue_chunker":
        _check_same_tokenizer(column, name, step, tokenizer)
        limits = {"max_total_chunks": step.max_total_chunks, "truncate": step.truncate}
        return [kind, {"room": step.room_} | limits]
    return [kind, step.get_params(deep=False)]


def _check_same_tokenizer(column, name, chunker, tokenizer):
    counter = chunker.token_counter_
    if not hasattr(counter, "to_str") or load_tokenizer(counter).to_str() != tokenizer:
        raise ValueError(
            f"the step {name!r} of text column {column!r} counts tokens in a way of its own, which "
            f"an ONNX file cannot hold; give it the tokenizer of the {Tokenizer.__name__}."
        )


def as_metadata(description: dict, tokenizers: dict[str, str], versions: dict) -> dict[str, str]:
    """Return the entries of the file."""
    from mtbert.onnx.scorer import FORMAT, VERSION

    return {
        "format": FORMAT,
        "format_version": str(VERSION),
        "mtgbm_version": versions["mtgbm"],
        "description": json.dumps(description | {"packages": versions}, allow_nan=False),
        **tokenizers,
    }
