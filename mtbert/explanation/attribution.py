"""What the words and the columns of a row add to its score."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.utils.validation import check_is_fitted

from mtbert.batching import rows_of_batch
from mtbert.columns import cells_of, require_frame
from mtbert.explanation.words import ReadText, read_words
from mtbert.text import pad_chunks
from mtbert.text_fields import read_texts
from mtgbm.columns import validate_table
from mtgbm.parameters import check_number, find_task

#: A gap is worth a warning above this share of the sum of absolute attributions, and above so many
#: log odds.
LARGEST_GAP, SMALLEST_GAP = 0.05, 1e-3


class AttributionWarning(UserWarning):
    """Attributions that do not add up to the difference of the scores."""


@dataclass(frozen=True, eq=False)
class TextAttribution:
    """What each word of a text adds to the score.

    Attributes
    ----------
    text : str
        What the network read of the column: cleaned by the text steps, cut at `max_total_chunks`.
    spans : ndarray of int of shape (n_words, 2)
        Start and end of each word in `text`, half-open. Punctuation marks are words too.
    values : ndarray of float64 of shape (n_words,)
    chunks : ndarray of int of shape (n_words,)
        The chunk in which each word begins, from 0.
    """

    text: str = field(repr=False)
    spans: np.ndarray = field(repr=False)
    values: np.ndarray = field(repr=False)
    chunks: np.ndarray = field(repr=False)

    @property
    def words(self) -> list[str]:
        """The words of the text, in order."""
        return [self.text[start:end] for start, end in self.spans]

    @property
    def total(self) -> float:
        """What the whole text adds."""
        return float(self.values.sum())


@dataclass(frozen=True, eq=False)
class Attribution:
    """Why one row has its score: what each word and each column adds to that of a baseline.

    Attributes
    ----------
    target : object
        The class, or the name of the task, whose score is explained.
    score : float
        Log odds of the target: ``log(p / (1 - p))`` for its probability p.
    baseline_score : float
        Log odds of the target for a row about which nothing is known.
    texts : dict of str to TextAttribution
        By text column.
    columns : dict of str to float
        By the other columns, as the user's table has them; empty for an architecture that reads
        text only.
    cells : dict of str to object
        What the row holds in them.
    """

    target: Any
    score: float
    baseline_score: float
    texts: dict[str, TextAttribution] = field(repr=False)
    columns: dict[str, float] = field(repr=False)
    cells: dict[str, Any] = field(repr=False)

    @property
    def probability(self) -> float:
        """Probability of the target, as `predict_proba` gives it."""
        return float(expit(self.score))

    @property
    def total(self) -> float:
        """Sum of all attributions."""
        return sum(text.total for text in self.texts.values()) + sum(self.columns.values())

    @property
    def gap(self) -> float:
        """Error of the integral: how far the sum is from the difference of the two scores."""
        return self.score - self.baseline_score - self.total

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with a row for each word and each column.

        Returns
        -------
        DataFrame
            With the columns kind ("word" or "column"), column, item (the word, or what the cell
            holds), start and end (of a word in the text; missing for columns), value.

        Raises
        ------
        ImportError
            If pandas is missing.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("to_frame needs pandas: pip install 'mtgbm[data]'") from error
        words = [
            ("word", name, word, *span, value)
            for name, text in self.texts.items()
            for word, span, value in zip(text.words, text.spans, text.values, strict=True)
        ]
        columns = [
            ("column", name, self.cells[name], None, None, value)
            for name, value in self.columns.items()
        ]
        names = ["kind", "column", "item", "start", "end", "value"]
        frame = pd.DataFrame(words + columns, columns=names)
        return frame.astype({"start": "Int64", "end": "Int64", "value": "float64"})


def explain(estimator, X, *, target=None, n_steps=50) -> list[Attribution]:
    """Explain the scores of some rows by integrated gradients [1]_ of their embeddings.

    The embeddings of tokens, numbers and categories move in a straight line from those of a
    baseline to those of the row; what each adds to the score on the way is its attribution. The
    baseline is a row about which nothing is known: each token that is not special is padding, each
    number is the mean of the training rows, each category is an unknown one. So a text keeps its
    length, to which no attribution goes.

    Parameters
    ----------
    estimator : fitted MultimodalTextTabularClassifier
    X : DataFrame of shape (n_rows, n_features)
    target : object, default=None
        The class whose score to explain, or for several tasks the name or position of a task. None:
        the predicted class of each row.
    n_steps : int, default=50
        Points of the quadrature. It costs a pass forward and back through the network for each.

    Returns
    -------
    list of Attribution
        One for each row.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If X is not a DataFrame.
    ValueError
        If there is no such target, if there are several tasks and `target` names none, or if
        `n_steps` is below 1.

    Warns
    -----
    AttributionWarning
        If a sum of attributions is off by more than 5 % of the sum of their absolute values.

    Notes
    -----
    What the network makes of a column, such as its scaled value, the indicator that it is missing,
    the risks and the embedding of a category, counts for that column; pieces of a word count for
    the word. With stacking it is the network alone that is explained.

    References
    ----------
    .. [1] Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML 2017.
    """
    check_is_fitted(estimator, "network_")
    require_frame(X, "X")
    validate_table(estimator, X, reset=False)
    check_number("n_steps", n_steps, Integral, 1, None)
    scores = _scores_of_rows(estimator, X, target)
    explainer = _Explainer(estimator, n_steps)
    attributions = explainer.explain(X, scores)
    _warn_of_gaps(attributions)
    return attributions


@dataclass(frozen=True)
class LogOdds:
    """Log odds of one class or task, from logits.

    Parameters
    ----------
    target : object
        What to call it.
    output : int
        Its column of the logits.
    is_multiclass : bool
        Whether the other columns are those of the other classes.
    sign : int
        -1 for the first of two classes, which have one column between them.
    """

    target: Any
    output: int
    is_multiclass: bool
    sign: int = 1

    def __call__(self, logits):
        """From a tensor of shape (n, n_outputs) to one of shape (n,)."""
        own = logits[:, self.output]
        if not self.is_multiclass:
            return self.sign * own
        others = [column for column in range(logits.shape[1]) if column != self.output]
        return own - logits[:, others].logsumexp(dim=1)


def _scores_of_rows(estimator, X, target) -> list[LogOdds]:
    targets = estimator._targets
    if not targets.encoder_.is_1d_:
        return [_score_of_task(target, estimator.task_names_)] * len(X)
    classes = estimator.classes_.tolist()
    if target is not None and target not in classes:
        raise ValueError(f"unknown target {target!r}; the classes are {classes}.")
    labels = estimator.predict(X).tolist() if target is None else [target] * len(X)
    positions = [classes.index(label) for label in labels]
    if targets.is_multiclass_:
        return [LogOdds(classes[position], position, True) for position in positions]
    return [LogOdds(classes[position], 0, False, 2 * position - 1) for position in positions]


def _score_of_task(target, names) -> LogOdds:
    if target is None:
        raise ValueError(
            f"the model has several tasks; say by target which to explain: {', '.join(names)}."
        )
    position = find_task("target", target, names)
    return LogOdds(names[position], position, False)


class _Explainer:
    """Explains rows one by one: the points of a path are what fills a batch."""

    def __init__(self, estimator, n_steps):
        self.device = estimator._find_device()
        self.network = estimator.network_.to(self.device)
        self.reader = estimator._reader
        self.batch_size = rows_of_batch(estimator.batch_size)
        self.n_steps = n_steps

    def explain(self, X, scores):
        tabular = self.reader.tabular
        self.baseline_table = tabular.baseline()
        table = tabular.transform(X)
        texts = {
            name: read_words(pipeline, read_texts(X, name))
            for name, pipeline in self.reader.text_fields.pipelines_.items()
        }
        has_table = self.network.tabular is not None
        cells = {name: cells_of(X, name) for name in (tabular.columns_ if has_table else ())}
        return [
            self._explain_row(
                score,
                {name: rows[i] for name, rows in texts.items()},
                tuple(matrix[i : i + 1] for matrix in table),
                {name: column[i] for name, column in cells.items()},
            )
            for i, score in enumerate(scores)
        ]

    def _explain_row(self, score, texts, table, cells):
        from mtbert.explanation.integrated_gradients import integrated_gradients

        result = integrated_gradients(
            self.network,
            self._tensors(texts, table, is_baseline=False),
            self._tensors(texts, self.baseline_table, is_baseline=True),
            score,
            n_steps=self.n_steps,
            batch_size=self.batch_size,
        )
        return Attribution(
            score.target,
            result.score,
            result.baseline_score,
            {name: self._of_text(name, text, result.tokens) for name, text in texts.items()},
            self._of_columns(result.columns, cells),
            cells,
        )

    def _tensors(self, texts, table, is_baseline):
        import torch

        arrays = dict(zip(("numeric", "categorical"), table, strict=True))
        for name, text in texts.items():
            pad_id = self.reader.text_fields.pad_ids_[name]
            chunks = _without_words(text, pad_id) if is_baseline else text.chunks
            ids, mask, _ = pad_chunks([[chunk for chunk in chunks if len(chunk)]], pad_id)
            field = self.reader.fields_[name]
            arrays |= {f"{field}_ids": ids, f"{field}_mask": mask.astype(bool)}
        return {name: torch.from_numpy(array).to(self.device) for name, array in arrays.items()}

    def _of_text(self, name, text, tokens):
        padded = iter(tokens.get(self.reader.fields_[name], ()))
        values = [next(padded)[: len(ids)] if len(ids) else np.zeros(0) for ids in text.chunks]
        return TextAttribution(text.text, text.spans, text.sum_words(values), text.chunk_of)

    def _of_columns(self, values, cells):
        totals = dict.fromkeys(cells, 0.0)
        for name, value in zip(self.reader.tabular.sources_ if cells else (), values, strict=True):
            totals[name] += float(value)
        return totals


def _without_words(text: ReadText, pad_id):
    return [
        np.where(is_special, ids, pad_id)
        for ids, is_special in zip(text.chunks, text.is_special, strict=True)
    ]


def _warn_of_gaps(attributions):
    for attribution in attributions:
        texts = [text.values for text in attribution.texts.values()]
        size = sum(np.abs(values).sum() for values in [*texts, list(attribution.columns.values())])
        if abs(attribution.gap) > max(LARGEST_GAP * size, SMALLEST_GAP):
            warnings.warn(
                f"attributions add up to {attribution.total:.3g}, but the scores differ by "
                f"{attribution.score - attribution.baseline_score:.3g}; raise n_steps.",
                AttributionWarning,
                stacklevel=4,
            )
            return
