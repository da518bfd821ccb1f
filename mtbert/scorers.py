"""Scorers of scikit-learn, which ask a classifier, on rows whose logits are known."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import get_scorer

from mtgbm.labels import MISSING


class KnownScores(ClassifierMixin, BaseEstimator):
    """Stands for a fitted classifier whose probabilities of some rows are known.

    Parameters
    ----------
    probabilities : ndarray of float64 of shape (n, n_classes)

    Attributes
    ----------
    classes_ : ndarray of int of shape (n_classes,)
        Numbers from 0.
    """

    def __init__(self, probabilities):
        self.probabilities = probabilities

    @property
    def classes_(self):
        return np.arange(self.probabilities.shape[1])

    def predict_proba(self, X):
        """The probabilities, whatever X is."""
        return self.probabilities

    def predict(self, X):
        """The most probable class of each row."""
        return self.probabilities.argmax(axis=1)


class MeanScorer:
    """The mean of a scorer over tasks, each on its labelled rows.

    Parameters
    ----------
    scorer : str or callable
        A name of :func:`sklearn.metrics.get_scorer_names`, or ``scorer(estimator, X, y)``, larger
        is better. It sees class numbers as y, and numbers of rows as X.
    is_multiclass : bool
        Whether there is one task with a column of logits for each class.
    """

    def __init__(self, scorer, is_multiclass):
        self.scorer = get_scorer(scorer)
        self.is_multiclass = is_multiclass

    def __call__(self, logits, labels) -> float:
        """Score logits of shape (n, n_outputs) by labels of shape (n, n_tasks)."""
        if self.is_multiclass:
            return self._score(softmax(logits, axis=1), labels[:, 0])
        scores = []
        for column, task in zip(expit(logits).T, labels.T, strict=True):
            if (task != MISSING).any():
                scores.append(self._score(np.column_stack([1 - column, column]), task))
        return np.mean(scores)

    def _score(self, probabilities, labels):
        rows = np.flatnonzero(labels != MISSING)
        return self.scorer(KnownScores(probabilities[rows]), rows[:, np.newaxis], labels[rows])
