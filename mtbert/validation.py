"""Scores of validation rows, by name."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.special import expit, log_softmax, softmax
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import average_precision_score, get_scorer_names, roc_auc_score

from mtbert.scorers import MeanScorer
from mtgbm.labels import MISSING
from mtgbm.metrics import SingleClassWarning, average_precision, roc_auc
from mtgbm.parameters import choose


class ValidationMetric:
    """A score of logits, the mean over tasks with missing labels left out.

    Parameters
    ----------
    metric : {"logloss", "auc", "average_precision", "accuracy"}, str or callable
        For three classes or more "auc" and "average_precision" are the mean of each class against
        the rest. Others are scorers of scikit-learn, see :class:`mtbert.scorers.MeanScorer`.
    is_multiclass : bool
        Whether there is one task of three classes or more, a column of logits each.

    Attributes
    ----------
    name : str
    sign : int
        1 if larger is better, else -1.
    """

    def __init__(self, metric, is_multiclass):
        check_metric(metric)
        self.name = metric if isinstance(metric, str) else getattr(metric, "__name__", "score")
        own = MULTICLASS if is_multiclass else BINARY
        is_own = isinstance(metric, str) and metric in own
        self._score = own[metric] if is_own else MeanScorer(metric, is_multiclass)
        self.sign = -1 if metric == "logloss" else 1

    def __call__(self, logits, labels) -> float:
        """Score logits of shape (n, n_outputs) by labels of shape (n, n_tasks)."""
        with warnings.catch_warnings():
            # check_defined has said already which rows have no score.
            for category in (SingleClassWarning, UndefinedMetricWarning):
                warnings.simplefilter("ignore", category)
            return float(self._score(logits.astype(np.float64), labels))

    def check_defined(self, labels, n_outputs) -> None:
        """Raise ValueError if no model could have a score on these rows."""
        if isinstance(self._score, MeanScorer):
            self._check_scorer(labels, n_outputs)
            return
        labelled = [column[column != MISSING] for column in labels.T]
        if self.name in ("auc", "average_precision"):
            n_needed = 2 if len(labelled) > 1 else max(2, n_outputs)
            is_defined = any(len(np.unique(column)) >= n_needed for column in labelled)
        else:
            is_defined = any(map(len, labelled))
        if not is_defined:
            raise ValueError(
                f"eval_metric={self.name!r} has no value on the validation rows, which lack a "
                "class or any label; give more or other ones, or take 'logloss'."
            )

    def _check_scorer(self, labels, n_outputs):
        """Whether the scorer gives the rows a number if all their scores are alike."""
        reason = None
        try:
            score = self(np.zeros((len(labels), n_outputs)), labels)
        except (TypeError, ValueError) as error:
            reason = error
        if reason is not None or not np.isfinite(score):
            found = f"raises {type(reason).__name__}: {reason}" if reason else f"gives {score}"
            raise ValueError(
                f"eval_metric={self.name!r} cannot score the validation rows, it {found}. Give "
                "rows of all classes, or take 'logloss'."
            ) from reason


def check_metric(metric) -> None:
    """Raise ValueError unless it is the name of a metric, or a scorer."""
    if not callable(metric):
        choose("eval_metric", metric, dict.fromkeys([*BINARY, *get_scorer_names()]))


def _binary_logloss(logits, labels):
    known = labels != MISSING
    losses = np.logaddexp(0, logits) - np.where(known, labels, 0) * logits
    return _mean_over_tasks(losses, known)


def _binary_accuracy(logits, labels):
    return _mean_over_tasks((logits > 0) == (labels == 1), labels != MISSING)


def _mean_over_tasks(values, known):
    per_task = [v[k].mean() for v, k in zip(values.T, known.T, strict=True) if k.any()]
    return np.mean(per_task)


def _ranking_of_tasks(metric):
    def score(logits, labels):
        return metric(np.where(labels == MISSING, np.nan, labels), logits, average="mean")

    return score


def _of_labelled(score):
    """A score of the labelled rows of one task with several classes."""

    def of_labelled(logits, labels):
        known = labels[:, 0] != MISSING
        return score(logits[known], labels[known, 0])

    return of_labelled


@_of_labelled
def _multiclass_logloss(logits, labels):
    return -np.take_along_axis(log_softmax(logits, axis=1), labels[:, None], axis=1).mean()


@_of_labelled
def _multiclass_auc(logits, labels):
    return roc_auc_score(labels, softmax(logits, axis=1), multi_class="ovr")


@_of_labelled
def _multiclass_average_precision(logits, labels):
    hits = labels[:, None] == np.arange(logits.shape[1])
    return average_precision_score(hits, softmax(logits, axis=1), average="macro")


@_of_labelled
def _multiclass_accuracy(logits, labels):
    return (logits.argmax(axis=1) == labels).mean()


BINARY = {
    "logloss": _binary_logloss,
    "auc": _ranking_of_tasks(roc_auc),
    "average_precision": _ranking_of_tasks(average_precision),
    "accuracy": _binary_accuracy,
}
MULTICLASS = {
    "logloss": _multiclass_logloss,
    "auc": _multiclass_auc,
    "average_precision": _multiclass_average_precision,
    "accuracy": _multiclass_accuracy,
}


def probabilities(logits, is_multiclass) -> np.ndarray:
    """Probabilities of logits, float64 of their shape (n, n_outputs); those of classes add to 1."""
    logits = logits.astype(np.float64)
    return softmax(logits, axis=1) if is_multiclass else expit(logits)
