"""The text steps that a file names, as functions of rows: no scikit-learn is needed for them."""

from __future__ import annotations

from functools import partial

from mtbert.text.characters import normalize_characters
from mtbert.text.dialogue import split_messages
from mtbert.text.emoji import remove_emoji
from mtbert.text.encoding import encode_rows, token_spans
from mtbert.text.markup import remove_markup
from mtbert.text.packing import pack_rows


class Encoder:
    """Rows of one text column to token ids, as the pipeline of the estimator makes them.

    Parameters
    ----------
    steps : list of [str, dict]
        Names of :data:`mtbert.text.NAMED_STEPS` and what the functions here take.
    tokenizer_json : str
        A tokenizer in the format of tokenizer.json.
    """

    def __init__(self, steps, tokenizer_json: str):
        self._steps = [
            partial(STEPS[name], tokenizer_json=tokenizer_json)(**parameters)
            for name, parameters in steps
        ]

    def __call__(self, rows) -> list:
        """Return a list of chunks, int32 arrays, for each row of :func:`read_rows`."""
        for step in self._steps:
            rows = step(rows)
        return rows


def _on_messages(function):
    """A step that changes each message by itself."""

    def make(*, tokenizer_json, **parameters):
        change = partial(function, **parameters)
        return lambda rows: [
            change(row) if isinstance(row, str) else [change(message) for message in row]
            for row in rows
        ]

    return make


def _splitter(*, tokenizer_json, min_length):
    return lambda rows: [split_messages(row, min_length) for row in rows]


def _chunker(*, tokenizer_json, **parameters):
    find_spans = partial(token_spans, load_tokenizer(tokenizer_json))
    return lambda rows: pack_rows(rows, find_spans, **parameters)


def _tokenizer(*, tokenizer_json, max_sen_len):
    tokenizer = load_tokenizer(tokenizer_json)
    if max_sen_len is not None:
        tokenizer.enable_truncation(max_length=max_sen_len)
    return partial(encode_rows, tokenizer)


STEPS = {
    "dialogue_splitter": _splitter,
    "html_normalizer": _on_messages(remove_markup),
    "emoji_remover": _on_messages(remove_emoji),
    "text_normalizer": _on_messages(normalize_characters),
    "dialogue_chunker": _chunker,
    "tokenizer": _tokenizer,
}


def load_tokenizer(text: str):
    """Return a `tokenizers.Tokenizer` that neither truncates nor pads, from its JSON."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(text)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
