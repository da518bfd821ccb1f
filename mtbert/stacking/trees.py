"""Trees that learn from features, for as many rounds as serve rows they have not seen."""

from __future__ import annotations

from itertools import islice, repeat

import numpy as np

from mtbert.stacking.blend import weighted_logloss
from mtbert.table_reader import as_floats
from mtbert.targets import Targets
from mtgbm import MultiTaskLGBMClassifier


class CrossFittedTrees:
    """A :class:`mtgbm.MultiTaskLGBMClassifier` whose number of rounds is found out of fold.

    For each fold, trees learn from the other folds; the number of rounds is the one with the
    smallest log loss of all rows together. Trees of that many rounds then learn from all rows.

    Parameters
    ----------
    parameters : dict
        Of the trees; n_estimators is the most rounds.
    targets : Targets
    seed : int

    Attributes
    ----------
    model_ : MultiTaskLGBMClassifier
    losses_ : ndarray of float64 of shape (n_estimators,)
        Mean log loss of unseen rows after each round.
    """

    def __init__(self, parameters, targets: Targets, seed=0):
        self.parameters = parameters
        self.targets = targets
        self.seed = seed

    def fit_transform(self, features, n_categorical, labels, weights, fold_of) -> np.ndarray:
        """Learn, and return scores of each row by trees that did not learn from its fold.

        Parameters
        ----------
        features : ndarray of float64 of shape (n, n_features)
        n_categorical : int
            How many of the last features are codes of categories.
        labels : ndarray of int16 of shape (n, n_tasks)
            -1 where missing.
        weights : ndarray of float32 of shape (n, n_tasks)
        fold_of : ndarray of int of shape (n,)

        Returns
        -------
        ndarray of float64 of shape (n, n_outputs)
            Logits.
        """
        most, folds = self.parameters["n_estimators"], range(fold_of.max() + 1)
        models, losses = [], np.zeros(most)
        for fold in folds:
            held = fold_of == fold
            model = self._train(most, features[~held], n_categorical, labels[~held], weights[~held])
            models.append(model)
            stages = islice(_stages(model, features[held]), most)
            losses += [self._loss(stage, labels[held], weights[held]) for stage in stages]
        self.losses_ = losses / weights.sum()
        n_rounds = int(self.losses_.argmin()) + 1
        scores = np.empty((len(labels), self.targets.n_outputs_))
        for fold, model in zip(folds, models, strict=True):
            held = fold_of == fold
            scores[held] = next(islice(_stages(model, features[held]), n_rounds - 1, None))
        self.model_ = self._train(n_rounds, features, n_categorical, labels, weights)
        return scores

    def transform(self, features) -> np.ndarray:
        """Return logits of other rows, float64 of shape (n, n_outputs)."""
        return self.model_.raw_predict(features)

    def _train(self, n_rounds, features, n_categorical, labels, weights):
        n_features = features.shape[1]
        parameters = self.parameters | {"n_estimators": n_rounds}
        model = MultiTaskLGBMClassifier(
            **parameters,
            categorical_feature=list(range(n_features - n_categorical, n_features)),
            random_state=self.seed,
        )
        if not self.targets.encoder_.is_1d_:
            return model.fit(features, as_floats(labels), task_weight=weights)
        # The first partial_fit is fit, with classes that need not all be among these rows.
        classes = np.arange(len(self.targets.classes_))
        return model.partial_fit(features, labels[:, 0], classes=classes, task_weight=weights)

    def _loss(self, scores, labels, weights):
        return weighted_logloss(scores, labels, weights, self.targets.is_multiclass_)


def _stages(model, features):
    """Scores after each round, without end: the trees end where nothing is left to split."""
    yield from model.staged_raw_predict(features)
    yield from repeat(model.raw_predict(features))
