"""The steps by name, and a pipeline of them."""

from __future__ import annotations

from sklearn.base import clone
from sklearn.pipeline import Pipeline

from mtbert.text.chunker import DialogueChunker
from mtbert.text.emoji_remover import EmojiRemover
from mtbert.text.html_normalizer import HtmlNormalizer
from mtbert.text.splitter import DialogueSplitter
from mtbert.text.text_normalizer import TextNormalizer
from mtbert.text.tokenizer import Tokenizer
from mtgbm.parameters import choose

NAMED_STEPS = {
    "dialogue_splitter": DialogueSplitter,
    "html_normalizer": HtmlNormalizer,
    "emoji_remover": EmojiRemover,
    "text_normalizer": TextNormalizer,
    "dialogue_chunker": DialogueChunker,
    "tokenizer": Tokenizer,
}


def make_text_pipeline(steps=tuple(NAMED_STEPS), *, tokenizer=None, **parameters) -> Pipeline:
    """Return a pipeline of text steps, in the order given.

    Parameters
    ----------
    steps : list of str and of (str, transformer), default=all named steps
        Names of `NAMED_STEPS`, or a name of your own and a transformer. The tokenizer comes last.
    tokenizer : Tokenizer, str, path-like, tokenizers.Tokenizer or None, default=None
        For the steps "tokenizer" and "dialogue_chunker", which count with the same one. Anything
        but a :class:`Tokenizer` is its parameter `tokenizer`. The `max_sen_len` of the Tokenizer is
        the `max_tokens` of the chunker.
    **parameters
        Further parameters, ``step__parameter=value``.

    Returns
    -------
    pipeline : :class:`~sklearn.pipeline.Pipeline`

    Raises
    ------
    TypeError
        If `steps` is a single name.
    ValueError
        If a step is unknown or comes twice, or one follows the tokenizer.

    Notes
    -----
    A tokenizer that is still to be trained is trained twice by `fit`: on the messages to count, and
    on the chunks, which may lack what `max_total_chunks` cut off. Train one beforehand and give its
    `tokenizer_`, or its file, to do it once.

    Examples
    --------
    >>> from mtbert.text import make_text_pipeline
    >>> cleaning = make_text_pipeline(
    ...     ["html_normalizer", "emoji_remover", "text_normalizer"], text_normalizer__lower=True
    ... )
    >>> cleaning.fit_transform(["<p>Love it 😍</p><p>Fits &amp; flatters</p>"])
    ['love it fits & flatters']
    """
    if isinstance(steps, str):
        raise TypeError(f"steps must be a list, got the name {steps!r}; write [{steps!r}].")
    shared = clone(tokenizer) if isinstance(tokenizer, Tokenizer) else Tokenizer(tokenizer)
    built = [_build(step, shared) for step in steps]
    _check_order(built)
    return Pipeline(built).set_params(**parameters)


def _build(step, tokenizer):
    """Return the name and the transformer of a step."""
    if isinstance(step, tuple):
        return step
    step_class = choose("text step", step, NAMED_STEPS)
    if step_class is Tokenizer:
        return step, clone(tokenizer)
    if step_class is DialogueChunker:
        limit = {} if tokenizer.max_sen_len is None else {"max_tokens": tokenizer.max_sen_len}
        return step, DialogueChunker(clone(tokenizer), **limit)
    return step, step_class()


def _check_order(steps):
    if not steps:
        raise ValueError(f"steps is empty; name some of {', '.join(NAMED_STEPS)}.")
    names = [name for name, _ in steps]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(
            f"The step {repeated[0]!r} comes twice; give one as (other name, transformer)."
        )
    for name, step in steps[:-1]:
        if isinstance(step, Tokenizer):
            raise ValueError(f"The step {name!r} must come last: what it gives is no longer text.")
