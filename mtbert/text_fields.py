"""The text columns become token ids, each through steps of its own, with one vocabulary or more."""

from __future__ import annotations

from sklearn.pipeline import Pipeline

from mtbert.columns import cells_of
from mtbert.text import NAMED_STEPS, Tokenizer, make_text_pipeline
from mtbert.text.rows import messages_of, read_rows
from mtbert.token_store import TokenStore
from mtgbm.parameters import suggest

CUTTING_STEPS = ("dialogue_chunker", "tokenizer")
#: Rows that go through the steps together: what they give takes far more memory than its tokens.
ROWS_AT_ONCE = 4096


class TextFields:
    """One pipeline of text steps for each text column.

    Parameters
    ----------
    steps : None, list or dict
        The steps of all columns, or of some by column name; None for all named ones.
    max_sen_len : dict of str to int
        The most tokens of a chunk of each column, special ones included.
    max_total_chunks : int or None
        The most chunks of a row.
    vocab_size : int
        Most entries of a vocabulary that is trained here.
    shared_vocabulary : bool
        Whether the tokenizers that are trained here are one, of the texts of all their columns.

    Attributes
    ----------
    pipelines_ : dict
        Column to Pipeline, in the order of the columns.
    tokenizers_ : dict of str to tokenizers.Tokenizer
    pad_ids_ : dict of str to int
    """

    def __init__(
        self,
        steps=None,
        *,
        max_sen_len,
        max_total_chunks=None,
        vocab_size=30_000,
        shared_vocabulary=True,
    ):
        self.steps = steps
        self.max_sen_len = max_sen_len
        self.max_total_chunks = max_total_chunks
        self.vocab_size = vocab_size
        self.shared_vocabulary = shared_vocabulary

    def fit(self, X, columns, tokenizers=None):
        """Train the tokenizers that there are not yet.

        Parameters
        ----------
        X : DataFrame
        columns : tuple of str
        tokenizers : dict of str to str, path-like, tokenizers.Tokenizer or None
            By column; for those without one, or with None, one is trained.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a column has no text in any row, or the steps cannot be used.
        """
        texts = {name: read_texts(X, name) for name in columns}
        _refuse_empty(texts)
        given = {name: (tokenizers or {}).get(name) for name in columns}
        return self._make_pipelines(texts, given | self._train(texts, given))

    def restore(self, tokenizers):
        """Make the pipelines of steps that learn nothing from texts, with trained tokenizers.

        Parameters
        ----------
        tokenizers : dict of str to str, path-like or tokenizers.Tokenizer
            By column.
        """
        return self._make_pipelines({name: [""] for name in tokenizers}, tokenizers)

    def transform(self, X) -> dict[str, TokenStore]:
        """Return the token ids of each column."""
        return {
            name: TokenStore.of_blocks(_in_blocks(pipeline, read_texts(X, name)))
            for name, pipeline in self.pipelines_.items()
        }

    def _train(self, texts, given):
        """A tokenizer for each column without one."""
        steps = self._steps_of(tuple(texts))
        missing = [name for name, tokenizer in given.items() if tokenizer is None]
        groups = [missing] if self.shared_vocabulary and missing else [[name] for name in missing]
        trained = {}
        for names in groups:
            cleaned = [row for n in names for row in _cleaning(steps[n]).fit_transform(texts[n])]
            step = Tokenizer(max_sen_len=None, vocab_size=self.vocab_size).fit(cleaned)
            trained |= dict.fromkeys(names, step.tokenizer_)
        return trained

    def _make_pipelines(self, texts, tokenizers):
        steps = self._steps_of(tuple(texts))
        self.pipelines_ = {
            name: self._pipeline(name, steps[name], tokenizers[name]).fit(
                rows if _may_learn(steps[name]) else [""]
            )
            for name, rows in texts.items()
        }
        last = {name: pipeline[-1] for name, pipeline in self.pipelines_.items()}
        self.tokenizers_ = {name: step.tokenizer_ for name, step in last.items()}
        self.pad_ids_ = {name: step.pad_token_id_ for name, step in last.items()}
        return self

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
            steps, tokenizer=Tokenizer(tokenizer, max_sen_len=self.max_sen_len[name])
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


def _in_blocks(pipeline, rows):
    for start in range(0, len(rows), ROWS_AT_ONCE):
        yield pipeline.transform(rows[start : start + ROWS_AT_ONCE])


def _may_learn(steps):
    """Whether there is a step of the user's own; ours need no texts once there is a tokenizer."""
    return not all(isinstance(step, str) for step in steps)


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
