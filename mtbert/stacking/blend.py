"""A weighted sum of scores, with the weights that serve labelled rows best."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, softmax

from mtgbm.labels import MISSING

#: Of 200 rows, a tenth of a small table, 30 gave the smallest log loss of 1, 10, 30 and 100.
PULL = 30.0


class ScoreBlend:
    """Logits of several sources become one: ``sum of factor * logits + bias``.

    A factor for each source and task, not negative, and a bias for each output minimise the log
    loss. They are drawn, with the force of `PULL` rows, to the plain mean: so few or easily
    separated rows cannot make them large.

    Parameters
    ----------
    is_multiclass : bool
        Whether there is one task of three classes or more, a column of logits each.

    Attributes
    ----------
    factors_ : ndarray of float64 of shape (n_sources, n_outputs)
        Of several classes, which have them in common, all columns are equal.
    bias_ : ndarray of float64 of shape (n_outputs,)
    """

    def __init__(self, is_multiclass):
        self.is_multiclass = is_multiclass

    def take_mean(self, n_sources, n_outputs) -> ScoreBlend:
        """Weigh all sources alike.

        Parameters
        ----------
        n_sources, n_outputs : int
        """
        self.factors_ = np.full((n_sources, n_outputs), 1 / n_sources)
        self.bias_ = np.zeros(n_outputs)
        return self

    def fit(self, sources, labels, weights) -> ScoreBlend:
        """Learn from rows from which no source has learned.

        Parameters
        ----------
        sources : ndarray of shape (n_sources, n, n_outputs)
        labels : ndarray of int16 of shape (n, n_tasks)
            -1 where missing.
        weights : ndarray of shape (n, n_tasks)
            0 where a label does not count.
        """
        sources = np.asarray(sources, dtype=np.float64)
        n_tasks = labels.shape[1]
        outputs = np.array_split(np.arange(sources.shape[2]), n_tasks)
        self.factors_ = np.empty(sources.shape[::2])
        self.bias_ = np.empty(sources.shape[2])
        for task, columns in enumerate(outputs):
            factors, bias = self._fit_task(
                sources[:, :, columns], labels[:, [task]], weights[:, [task]]
            )
            self.factors_[:, columns], self.bias_[columns] = factors[:, None], bias
        return self

    def _fit_task(self, sources, labels, weights):
        n_sources, _, n_outputs = sources.shape
        start = np.concatenate([np.full(n_sources, 1 / n_sources), np.zeros(n_outputs)])

        def objective(point):
            factors, bias = point[:n_sources], point[n_sources:]
            joined = np.tensordot(factors, sources, axes=1) + bias
            loss = weighted_logloss(joined, labels, weights, self.is_multiclass)
            slope = _residuals(joined, labels, weights, self.is_multiclass)
            gradient = np.concatenate([np.tensordot(sources, slope, axes=2), slope.sum(axis=0)])
            pull = point - start
            return loss + PULL * pull @ pull / 2, gradient + PULL * pull

        bounds = [(0, None)] * n_sources + [(None, None)] * n_outputs
        found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds)
        return found.x[:n_sources], found.x[n_sources:]

    def __call__(self, sources) -> np.ndarray:
        """Return joint logits, float64 of shape (n, n_outputs)."""
        sources = np.asarray(sources, dtype=np.float64)
        return np.einsum("snk,sk->nk", sources, self.factors_) + self.bias_


def weighted_logloss(logits, labels, weights, is_multiclass) -> float:
    """Sum of the weighted log losses of the labels that there are.

    Parameters
    ----------
    logits : ndarray of float64 of shape (n, n_outputs)
    labels : ndarray of int16 of shape (n, n_tasks)
    weights : ndarray of shape (n, n_tasks)
    is_multiclass : bool
    """
    known = np.where(labels == MISSING, 0, labels)  # any class does where the weight is 0
    if is_multiclass:
        losses = -np.take_along_axis(log_softmax(logits, axis=1), known, axis=1)
    else:
        losses = np.logaddexp(0, logits) - known * logits
    return float((losses * _counting(labels, weights)).sum())


def mean_logloss(logits, labels, weights, is_multiclass) -> float:
    """`weighted_logloss` for each unit of weight."""
    total = weighted_logloss(np.asarray(logits, np.float64), labels, weights, is_multiclass)
    return total / float(_counting(labels, weights).sum())


def _residuals(logits, labels, weights, is_multiclass):
    """The slope of `weighted_logloss` in each logit."""
    known = np.where(labels == MISSING, 0, labels)
    if is_multiclass:
        slope = softmax(logits, axis=1) - (known == np.arange(logits.shape[1]))
    else:
        slope = expit(logits) - known
    return slope * _counting(labels, weights)


def _counting(labels, weights):
    return np.where(labels == MISSING, 0.0, weights)
