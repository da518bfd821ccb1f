"""Multiclass tasks: log loss of a softmax link, one output a class."""

import numpy as np
from scipy.special import log_softmax, softmax

from mtgbm.engine._isa import load_kernel
from mtgbm.objectives.binary import LEAST_PROBABILITY, average

_gradients = load_kernel("mtgbm.objectives._gradients")


class MulticlassObjective:
    """-log p_y with p the softmax of the task's scores.

    Parameters
    ----------
    task : int
        Column of the labels, which hold class numbers.
    outputs : list of int
        Its columns of the scores, consecutive, one per class.
    """

    def __init__(self, task, outputs):
        self.task = task
        self.tasks = np.array([task], dtype=np.int32)
        self.outputs = np.array(outputs, dtype=np.int32)

    def base_scores(self, labels, weights):
        """The log of each class's weighted share."""
        label = labels[:, self.task]
        known = label >= 0
        weight = None if weights is None else weights[known, self.task]
        totals = np.bincount(label[known], weight, minlength=len(self.outputs))
        if totals.sum() == 0:
            return np.zeros(len(self.outputs))
        return np.log(np.maximum(totals / totals.sum(), LEAST_PROBABILITY))

    def targets(self, task, labels):
        """What the probabilities should be: 1 for the class of the label, (n_rows, n_classes)."""
        return (labels[:, [task]] == np.arange(len(self.outputs))).astype(np.float64)

    def label_weights(self, task, labels, weights):
        """What each label counts in the gradients: (n_rows,), 0 where it is missing."""
        weight = 1.0 if weights is None else weights[:, task].astype(np.float64)
        return np.where(labels[:, task] >= 0, weight, 0.0)

    def gradients(self, raw, labels, weights, vectors, n_threads):
        _gradients.multiclass_gradients(
            raw,
            labels[:, self.task],
            None if weights is None else weights[:, self.task],
            self.outputs[0],
            len(self.outputs),
            vectors,
            n_threads,
        )

    def probabilities(self, raw):
        return softmax(raw, axis=1)

    def losses(self, raw, labels, weights):
        """Mean log loss, in an array of one; NaN without labels."""
        label = labels[:, self.task]
        known = label >= 0
        log_p = log_softmax(raw[known][:, self.outputs], axis=1)
        loss = -np.take_along_axis(log_p, label[known, None].astype(np.intp), axis=1)[:, 0]
        return np.array([average(loss, None if weights is None else weights[known, self.task])])
