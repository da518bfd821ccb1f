"""Text to token ids."""

from __future__ import annotations

import os
from numbers import Integral
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from mtbert.text.encoding import encodable, encode_rows
from mtbert.text.row_transformer import describe_input
from mtbert.text.rows import messages_of, read_rows
from mtbert.text.wordpiece import SPECIAL_TOKENS, train_wordpiece
from mtgbm.parameters import check_number

FILE_NAME = "tokenizer.json"


class Tokenizer(TransformerMixin, BaseEstimator):
    """Turn each text of a row into token ids, with a trained tokenizer or one trained here.

    Parameters
    ----------
    tokenizer : str, path-like, tokenizers.Tokenizer or None, default=None
        A file in the format of tokenizer.json, a folder with a file of that name, or the object.
        None trains a WordPiece tokenizer on the texts of `fit`; the same texts give the same one.
    max_sen_len : int or None, default=512
        The most tokens of a chunk, special tokens included. A longer text becomes several chunks;
        nothing is cut off. None sets no limit.
    vocab_size : int, default=30_000
        Most entries of a vocabulary that is trained here, though all frequent characters are in it
        in any case. This and the next two matter only if `tokenizer` is None.
    lower : bool, default=True
        Whether the tokenizer trained here ignores case, and with it accents.
    min_frequency : int, default=2
        How often a pair of pieces must occur to become a piece itself.

    Attributes
    ----------
    tokenizer_ : tokenizers.Tokenizer
        A copy that cuts at `max_sen_len` and does not pad, whatever its file says of that.
    pad_token_id_ : int
        The id with which :func:`pad_chunks` may fill.

    Notes
    -----
    An empty text is one chunk of special tokens only, ``[CLS] [SEP]`` for BERT, and so is a row
    without messages. Nothing is read from a network. Needs the package tokenizers.

    Examples
    --------
    >>> from mtbert.text import Tokenizer
    >>> texts = ["soft and warm", "warm and soft", None]
    >>> rows = Tokenizer().fit_transform(texts)
    >>> [chunk.shape for chunks in rows for chunk in chunks]
    [(5,), (5,), (2,)]
    """

    def __init__(
        self, tokenizer=None, *, max_sen_len=512, vocab_size=30_000, lower=True, min_frequency=2
    ):
        self.tokenizer = tokenizer
        self.max_sen_len = max_sen_len
        self.vocab_size = vocab_size
        self.lower = lower
        self.min_frequency = min_frequency

    def fit(self, X, y=None) -> Tokenizer:
        """Load the tokenizer, or train it on all texts of X.

        Parameters
        ----------
        X : sequence, Series or array of length n
            Texts, or lists of texts.
        y : None
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        FileNotFoundError
            If `tokenizer` names no file, or a folder without a tokenizer.json.
        ImportError
            If the package tokenizers is missing.
        TypeError
            If X is not one column of texts or lists of texts, or a parameter has a wrong type.
        ValueError
            If the file holds no tokenizer, a parameter is out of its range, or there is no row to
            train on.
        """
        self._check_parameters()
        rows = read_rows(X)
        tokenizer = self._train(rows) if self.tokenizer is None else load_tokenizer(self.tokenizer)
        if self.max_sen_len is not None:
            check_room("max_sen_len", self.max_sen_len, count_special_tokens(tokenizer))
            tokenizer.enable_truncation(max_length=self.max_sen_len)
        self.pad_token_id_ = _find_pad_token(tokenizer)
        self.tokenizer_ = tokenizer
        return self

    def transform(self, X) -> list[list[np.ndarray]]:
        """Return the token ids of each row.

        Parameters
        ----------
        X : sequence, Series or array of length n
            Texts, or lists of texts.

        Returns
        -------
        rows : list of length n
            Of lists of chunks, one or more; a chunk is an int32 array of shape (n_tokens,).

        Raises
        ------
        TypeError
            If X is not one column of texts or lists of texts.
        """
        check_is_fitted(self, "tokenizer_")
        return encode_rows(self.tokenizer_, read_rows(X))

    def _check_parameters(self):
        if self.max_sen_len is not None:
            check_number("max_sen_len", self.max_sen_len, Integral, 1, None)
        check_number("vocab_size", self.vocab_size, Integral, len(SPECIAL_TOKENS) + 1, None)
        check_number("min_frequency", self.min_frequency, Integral, 1, None)
        if not isinstance(self.lower, bool):
            raise TypeError(f"lower must be True or False, got {self.lower!r}.")

    def _train(self, rows):
        if not rows:
            raise ValueError("X has no row to train a tokenizer on; give texts, or a tokenizer.")
        require_tokenizers()
        texts = [encodable(text) for row in rows for text in messages_of(row)]
        return train_wordpiece(texts, self.vocab_size, self.lower, self.min_frequency)

    def __sklearn_tags__(self):
        return describe_input(super().__sklearn_tags__())


def _find_pad_token(tokenizer) -> int:
    ids = (tokenizer.token_to_id(token) for token in ("[PAD]", "<pad>"))
    return next((i for i in ids if i is not None), 0)  # a mask hides it, so any id will do


def count_special_tokens(tokenizer) -> int:
    """Return how many tokens a tokenizers.Tokenizer adds to a single text."""
    return tokenizer.num_special_tokens_to_add(is_pair=False)


def check_room(name: str, most_tokens: int, n_special_tokens: int) -> None:
    """Raise ValueError unless a chunk has room for a token besides the special ones."""
    if most_tokens <= n_special_tokens:
        raise ValueError(
            f"{name} must be at least {n_special_tokens + 1}, room for a token besides "
            f"{n_special_tokens} special ones, got {most_tokens}."
        )


def load_tokenizer(source):
    """Return a `tokenizers.Tokenizer` that neither truncates nor pads.

    Parameters
    ----------
    source : str, path-like or tokenizers.Tokenizer
        An object is copied, a folder must hold a tokenizer.json.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If the package tokenizers is missing.
    TypeError
        If `source` is something else.
    ValueError
        If the file holds no tokenizer.
    """
    tokenizers = require_tokenizers()
    if isinstance(source, tokenizers.Tokenizer):
        text = source.to_str()
    elif isinstance(source, (str, os.PathLike)):
        text = _find_file(Path(source)).read_text(encoding="utf-8")
    else:
        raise TypeError(
            "tokenizer must be a path, a tokenizers.Tokenizer or None, "
            f"got {type(source).__name__}."
        )
    try:
        tokenizer = tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the package raises nothing more special
        raise ValueError(
            f"{source} holds no tokenizer in the format of {FILE_NAME}: {error}."
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _find_file(path: Path) -> Path:
    file = path / FILE_NAME if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(
            f"No tokenizer at {file}; give a folder that holds {FILE_NAME}, or such a file. "
            "Names of models on a hub are not looked up."
        )
    return file


def require_tokenizers():
    """Return the package tokenizers, or raise an ImportError that says how to get it."""
    try:
        import tokenizers
    except ImportError as error:
        raise ImportError(
            "Tokenizer needs the package tokenizers: pip install 'mtgbm[text]'"
        ) from error
    return tokenizers
