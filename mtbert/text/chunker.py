"""Messages become chunks of bounded length."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral

from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils.validation import check_is_fitted

from mtbert.text.encoding import token_spans
from mtbert.text.packing import TRUNCATE, pack_rows, read_spans
from mtbert.text.row_transformer import describe_input
from mtbert.text.rows import read_rows
from mtbert.text.tokenizer import Tokenizer, check_room, count_special_tokens
from mtgbm.parameters import check_number, choose


class DialogueChunker(TransformerMixin, BaseEstimator):
    """Pack the messages of a row, in order, into chunks of at most `max_tokens` tokens.

    A chunk takes messages, with a space between them, until the next would not fit: in order there
    are no fewer chunks. A message longer than a chunk is cut between words, and a word longer than
    a chunk between tokens.

    Parameters
    ----------
    tokenizer : Tokenizer, str, path-like, tokenizers.Tokenizer, callable or None, default=None
        Counts the tokens. A callable takes a text and returns the (start, end) positions of its
        tokens, in order. Anything else is what :class:`Tokenizer` takes as `tokenizer`, or a
        Tokenizer, of which `fit` fits a copy; None stands for ``Tokenizer()``, trained on the
        messages of `fit`.
    max_tokens : int, default=512
        The most tokens of a chunk, special tokens included.
    n_special_tokens : int or None, default=None
        For how many special tokens a chunk leaves room. None: as many as the tokenizer adds, which
        is none for a callable.
    max_total_chunks : int or None, default=None
        The most chunks of a row; None sets no limit.
    truncate : {"newest", "oldest"}, default="newest"
        Which chunks of a longer row are dropped: those at its end or those at its beginning.

    Attributes
    ----------
    token_counter_ : tokenizers.Tokenizer or callable
    room_ : int
        Tokens of text that a chunk can hold.

    Notes
    -----
    Blank messages are left out; a row without any other is one empty chunk. A row that is a text is
    one message. A tokenizer that reads a word differently at the start of a text, as byte-level
    ones do, may find a token more in a chunk than there was in the row; :class:`Tokenizer` then
    makes two of it.

    Examples
    --------
    >>> import re
    >>> from mtbert.text import DialogueChunker
    >>> def find_words(text):
    ...     return [word.span() for word in re.finditer(r"\\S+", text)]
    >>> chunker = DialogueChunker(find_words, max_tokens=3)
    >>> chunker.fit_transform([["no", "not yet", "it was sent on Monday", "ok"]])
    [['no not yet', 'it was sent', 'on Monday ok']]
    """

    def __init__(
        self,
        tokenizer=None,
        *,
        max_tokens=512,
        n_special_tokens=None,
        max_total_chunks=None,
        truncate="newest",
    ):
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.n_special_tokens = n_special_tokens
        self.max_total_chunks = max_total_chunks
        self.truncate = truncate

    def fit(self, X, y=None) -> DialogueChunker:
        """Load the tokenizer, or train it on all messages of X.

        Parameters
        ----------
        X : sequence, Series or array of length n
            Texts, or lists of messages.
        y : None
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If X is not one column of texts or lists of messages, or a parameter has a wrong type.
        ValueError
            If a parameter is out of its range, or `max_tokens` leaves no room for text.
        FileNotFoundError, ImportError
            As `Tokenizer.fit`.
        """
        self._check_parameters()
        counter, n_special = self._find_counter(read_rows(X))
        if self.n_special_tokens is not None:
            n_special = self.n_special_tokens
        check_room("max_tokens", self.max_tokens, n_special)
        self.room_ = self.max_tokens - n_special
        self.token_counter_ = counter
        return self

    def transform(self, X) -> list[list[str]]:
        """Return the chunks of each row.

        Parameters
        ----------
        X : sequence, Series or array of length n
            Texts, or lists of messages.

        Returns
        -------
        rows : list of length n
            Of lists of chunks, one or more.

        Raises
        ------
        TypeError
            If X is not one column of texts or lists of messages.
        """
        check_is_fitted(self, "token_counter_")
        rows = read_rows(X)
        return pack_rows(rows, self._spans, self.room_, self.max_total_chunks, self.truncate)

    def _check_parameters(self):
        check_number("max_tokens", self.max_tokens, Integral, 1, None)
        if self.n_special_tokens is not None:
            check_number("n_special_tokens", self.n_special_tokens, Integral, 0, None)
        if self.max_total_chunks is not None:
            check_number("max_total_chunks", self.max_total_chunks, Integral, 1, None)
        choose("truncate", self.truncate, TRUNCATE)

    def _find_counter(self, rows):
        """Return what counts tokens, and how many special ones it adds."""
        if callable(self.tokenizer):
            return self.tokenizer, 0
        is_step = isinstance(self.tokenizer, Tokenizer)
        step = clone(self.tokenizer) if is_step else Tokenizer(self.tokenizer)
        # Counting must see the whole text, so the limit of the step is lifted.
        counter = step.set_params(max_sen_len=None).fit(rows).tokenizer_
        return counter, count_special_tokens(counter)

    def _spans(self, texts) -> Iterator[list[tuple[int, int]]]:
        if callable(self.token_counter_):
            return (read_spans(self.token_counter_(text)) for text in texts)
        return token_spans(self.token_counter_, texts)

    def __sklearn_tags__(self):
        return describe_input(super().__sklearn_tags__())
