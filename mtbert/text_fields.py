"""The text columns become token ids, each through steps of its own, all with one vocabulary."""

from __future__ import annotations

from sklearn.pipeline import Pipeline

from mtbert.columns import cells_of
from mtbert.text import NAMED_STEPS, Tokenizer, make_text_pipeline
from mtbert.text.rows import messages_of, read_rows
from mtgbm.parameters import suggest

CUTTING_STEPS = ("dialogue_chunker", "tokenizer")


class TextFields:
    """One pipeline of text steps for each text column.

    Parameters
    ----------
    steps : None, list or dict
        The steps of all columns, or of some by column name; None for all named ones.
    max_sen_len : int
        The most tokens of a chunk, special ones included.
    max_total_chunks : int or None
        The most chunks of a row.
    vocab_size : int
        Most entries of a vocabulary that is trained here.

    Attributes
    ----------
    pipelines_ : dict
        Column to Pipeline, in the order of the columns.
    tokenizer_ : tokenizers.Tokenizer
        The one of all columns.
    pad_id_ : int
    """

    def __init__(self, steps=None, *, max_sen_len, max_total_chunks=None, vocab_size=30_000):
        self.steps = steps
        self.max_sen_len = max_sen_len
        self.max_total_chunks = max_total_chunks
        self.vocab_size = vocab_size

    def fit(self, X, columns, tokenizer=None):
        """Train a tokenizer on the texts of all columns, unless there is one.

        Parameters
        ----------
        X : DataFrame
        columns : tuple of str
        tokenizer : str, path-like, tokenizers.Tokenizer or None

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a column has no text in any row, or the steps cannot be used.
        """
        steps = self._steps_of(columns)
        texts = {name: read_texts(X, name) for name in columns}
        _refuse_empty(texts)
        if tokenizer is None:
            cleaned = [
                row
                for name, rows in texts.items()
                for row in _cleaning(steps[name]).fit_transform(rows)
            ]
            trained = Tokenizer(max_sen_len=None, vocab_size=self.vocab_size).fit(cleaned)
            tokenizer = trained.tokenizer_
        return self._make_pipelines(texts, tokenizer)

    def restore(self, columns, tokenizer):
        """Make the pipelines of steps that learn nothing from texts, with a trained tokenizer.

        Parameters
        ----------
        columns : tuple of str
        tokenizer : str, path-like or tokenizers.Tokenizer
        """
        return self._make_pipelines({name: [""] for name in columns}, tokenizer)

    def _make_pipelines(self, texts, tokenizer):
        steps = self._steps_of(tuple(texts))
        self.pipelines_ = {
            name: self._pipeline(name, steps[name], tokenizer).fit(rows)
            for name, rows in texts.items()
        }
        last = next(iter(self.pipelines_.values()))[-1]
        self.tokenizer_, self.pad_id_ = last.tokenizer_, last.pad_token_id_
        return self

    def transform(self, X):
        """Return the token ids of each column: a list, for each row its chunks.

        Returns
        -------
        dict of str to list
            Of lists of int32 arrays, as :class:`mtbert.text.Tokenizer` gives them.
        """
        return {
            name: pipeline.transform(read_texts(X, name))
            for name, pipeline in self.pipelines_.items()
        }

    def _steps_of(self, columns):
        if not isinstance(self.steps, dict):
            chosen = tuple(NAMED_STEPS) if self.steps is None else self.steps
            return dict.fromkeys(columns, chosen)
        for name in self.steps:
            if name not in columns:
                raise ValueError(
                    f"text_steps names {name!r}, which is no text column; {suggest(name, columns)}"
                )
        return {name: self.steps.get(name, tuple(NAMED_STEPS)) for name in columns}

    def _pipeline(self, name, steps, tokenizer):
        pipeline = make_text_pipeline(
            steps, tokenizer=Tokenizer(tokenizer, max_sen_len=self.max_sen_len)
        )
        if not isinstance(pipeline[-1], Tokenizer):
            raise ValueError(
                f"the steps of text column {name!r} must end with 'tokenizer', got {steps!r}."
            )
        if "dialogue_chunker" in pipeline.named_steps and self.max_total_chunks is not None:
            pipeline.set_params(dialogue_chunker__max_total_chunks=self.max_total_chunks)
        return pipeline


def read_texts(X, name):
    """Rows of a text column; the error of one that holds no text names the column."""
    try:
        return read_rows(cells_of(X, name))
    except TypeError as error:
        raise TypeError(f"text column {name!r}: {error}") from error


def _refuse_empty(texts):
    for name, rows in texts.items():
        if not any(text.strip() for row in rows for text in messages_of(row)):
            raise ValueError(
                f"text column {name!r} has no text in any row; leave it out of text_columns."
            )


def _cleaning(steps):
    """The steps before those that cut text into tokens."""
    kept = [
        step
        for step in make_text_pipeline(steps).steps
        if step[0] not in CUTTING_STEPS and not isinstance(step[1], Tokenizer)
    ]
    return Pipeline(kept or [("unchanged", "passthrough")])
