"""What single words say about the labels: a linear model of TF-IDF."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression

from mtbert.targets import Targets
from mtgbm.labels import MISSING

#: Most steps of the solver.
MOST_STEPS = 1000


class TextScores:
    """Logistic regression on the frequencies of terms, one model for each task.

    Parameters
    ----------
    targets : Targets
    C : float
        Inverse of the penalty on the coefficients.

    Attributes
    ----------
    coef_ : ndarray of float64 of shape (n_outputs, n_terms)
    intercept_ : ndarray of float64 of shape (n_outputs,)
    """

    def __init__(self, targets: Targets, C):
        self.targets = targets
        self.C = C

    def fit_transform(self, frequencies, labels, weights, fold_of) -> np.ndarray:
        """Learn from all rows, and return scores of each that were learned without its fold.

        Parameters
        ----------
        frequencies : sparse matrix of shape (n, n_terms)
        labels : ndarray of int16 of shape (n, n_tasks)
            -1 where missing.
        weights : ndarray of float32 of shape (n, n_tasks)
        fold_of : ndarray of int of shape (n,)

        Returns
        -------
        ndarray of float64 of shape (n, n_outputs)
            Logits.
        """
        scores = np.empty((len(labels), self.targets.n_outputs_))
        for fold in range(fold_of.max() + 1):
            held = fold_of == fold
            learned = self._learn(frequencies[~held], labels[~held], weights[~held])
            scores[held] = _scores(frequencies[held], *learned)
        self.coef_, self.intercept_ = self._learn(frequencies, labels, weights)
        return scores

    def transform(self, frequencies) -> np.ndarray:
        """Return logits of other rows, float64 of shape (n, n_outputs)."""
        return _scores(frequencies, self.coef_, self.intercept_)

    def _learn(self, frequencies, labels, weights):
        """Coefficients and intercepts of all outputs."""
        learned = []
        for numbers, row_weights in zip(labels.T, weights.T, strict=True):
            rows = (numbers != MISSING) & (row_weights > 0)
            learned.append(self._learn_task(frequencies[rows], numbers[rows], row_weights[rows]))
        coefficients, intercepts = zip(*learned, strict=True)
        return np.vstack(coefficients), np.concatenate(intercepts)

    def _learn_task(self, frequencies, numbers, weights):
        classes = np.unique(numbers)
        if len(classes) == 1:
            return _of_one_class(classes[0], len(numbers), frequencies.shape[1])
        model = LogisticRegression(C=self.C, max_iter=MOST_STEPS)
        model.fit(frequencies, numbers, sample_weight=weights)
        if not self.targets.is_multiclass_:
            return model.coef_, model.intercept_
        return _of_all_classes(model, classes, self.targets.n_outputs_)


def _of_one_class(number, n_rows, n_terms):
    """A binary task: the odds are as if half a row of the other class were there too."""
    odds = np.log(2 * n_rows + 1) * (1 if number == 1 else -1)
    return np.zeros((1, n_terms)), np.array([odds])


def _of_all_classes(model, classes, n_classes):
    """A row for each class; those that the model has not met are most improbable."""
    coefficients = np.zeros((n_classes, model.coef_.shape[1]))
    intercepts = np.full(n_classes, model.intercept_.min() - np.log(1e3))
    if len(classes) == 2:  # of which scikit-learn has the coefficients of the second
        coefficients[classes[1]], intercepts[classes] = model.coef_[0], [0, model.intercept_[0]]
    else:
        coefficients[classes], intercepts[classes] = model.coef_, model.intercept_
    return coefficients, intercepts


def _scores(frequencies, coefficients, intercepts):
    return np.asarray(frequencies @ coefficients.T) + intercepts
