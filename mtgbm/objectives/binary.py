"""Binary tasks: log loss of a logistic link, one output a task."""

import numpy as np
from scipy.special import expit

from mtgbm.engine._isa import load_kernel

_gradients = load_kernel("mtgbm.objectives._gradients")

#: Base scores stay within the logit of this, so that a task with one class has a finite one.
LEAST_PROBABILITY = 1e-6


class BinaryObjective:
    """-y log p - (1 - y) log(1 - p) with p = 1 / (1 + exp(-score)), for several tasks at once.

    Parameters
    ----------
    tasks : list of int
        Columns of the labels.
    outputs : list of int
        Columns of the scores, one per task.
    positive_weights : ndarray of float64 of shape (n_tasks in all,)
        Factor on the positive rows of each task.
    """

    def __init__(self, tasks, outputs, positive_weights):
        self.tasks = np.array(tasks, dtype=np.int32)
        self.outputs = np.array(outputs, dtype=np.int32)
        self.positive_weights = np.ascontiguousarray(positive_weights, dtype=np.float64)

    def base_scores(self, labels, weights):
        """The log odds of the weighted share of positives, a task without labels 0."""
        odds = []
        for task in self.tasks:
            weight = self.label_weights(task, labels, weights)
            total, positive = weight.sum(), weight[labels[:, task] > 0].sum()
            share = positive / total if total > 0 else 0.5
            share = np.clip(share, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
            odds.append(np.log(share / (1 - share)))
        return np.array(odds)

    def gradients(self, raw, labels, weights, vectors, n_threads):
        _gradients.binary_gradients(
            raw,
            labels,
            weights,
            self.positive_weights,
            self.tasks,
            self.outputs,
            vectors,
            n_threads,
        )

    def probabilities(self, raw):
        return expit(raw)

    def losses(self, raw, labels, weights):
        """Mean log loss per task, NaN for a task without labels; positive weights do not count."""
        losses = []
        for task, output in zip(self.tasks, self.outputs, strict=True):
            known = labels[:, task] >= 0
            # log(1 + exp(-m)) of the margin m, without overflow for any score.
            margin = raw[known, output] * (2.0 * labels[known, task] - 1.0)
            loss = np.logaddexp(0.0, -margin)
            losses.append(average(loss, None if weights is None else weights[known, task]))
        return np.array(losses)

    def targets(self, task, labels):
        """What the probabilities of a task should be: its labels, (n_rows, 1)."""
        return labels[:, [task]].astype(np.float64)

    def label_weights(self, task, labels, weights):
        """What each label of a task counts in its gradient: (n_rows,), 0 where it is missing."""
        label = labels[:, task]
        weight = np.where(label >= 0, 1.0 if weights is None else weights[:, task], 0.0)
        return weight * np.where(label > 0, self.positive_weights[task], 1.0)


def average(values, weights):
    """Weighted mean, NaN where there is nothing to average."""
    if not len(values) or (weights is not None and not weights.any()):
        return np.nan
    return np.average(values, weights=weights)
