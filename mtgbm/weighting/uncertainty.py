"""Weights from the noise of each task, as multi-task networks are weighted."""

from numbers import Integral

import numpy as np

from mtgbm.parameters import check_number
from mtgbm.weighting.periodic import PeriodicWeighting
from mtgbm.weighting.samples import evenly_spaced

#: Losses below this count as this, so that a task learned by heart does not take all the weight.
LEAST_LOSS = 1e-3


class UncertaintyWeighting(PeriodicWeighting):
    r"""A task has the less weight, the larger its loss: homoscedastic uncertainty.

    Kendall, Gal and Cipolla give each task a variance :math:`\sigma_i^2` and minimise, with
    :math:`s_i = \ln \sigma_i^2` and :math:`L_i` the log loss of task *i*,

    .. math:: \sum_i e^{-s_i} L_i + s_i / 2.

    They learn :math:`s_i` by gradient steps with the network, as its losses cost a pass. Here the
    losses are at hand, and for given losses the minimum is known: the derivative
    :math:`-e^{-s_i} L_i + 1/2` is 0 at :math:`e^{-s_i} = 1 / (2 L_i)`. So the weights are

    .. math:: w_i = \frac{1 / L_i}{\frac{1}{T} \sum_j 1 / L_j},

    with a mean of 1. The gain of a split, a fall of :math:`L_i`, then counts in proportion to what
    is left of the loss. The losses are mean log losses of training rows (weighted by the sample
    weights), at least 0.001; rare tasks have small losses and so large weights. No task is
    preferred: `main_task` plays no part.

    Parameters
    ----------
    update_frequency : int, default=10
        Rounds from one update to the next.
    sample_rows : int, default=10000
        Most rows of the sample: of n rows those at positions floor(k n / sample_rows). A task
        with no label in the sample has weight 1.

    References
    ----------
    Kendall, Gal & Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses for Scene
    Geometry and Semantics", CVPR 2018, arXiv:1705.07115.

    Examples
    --------
    >>> from mtgbm import MultiTaskLGBMClassifier
    >>> from mtgbm.weighting import UncertaintyWeighting
    >>> model = MultiTaskLGBMClassifier(weighting=UncertaintyWeighting())
    """

    def __init__(self, update_frequency=10, sample_rows=10_000):
        self.update_frequency = update_frequency
        self.sample_rows = sample_rows

    def check(self, tasks, main_task):
        """Raise if a parameter is out of range."""
        super().check(tasks, main_task)
        check_number("sample_rows", self.sample_rows, Integral, 1, None)

    def start(self, round):
        """Choose the sample."""
        super().start(round)
        table = round.training
        rows = evenly_spaced(np.arange(len(table.labels)), self.sample_rows)
        self._rows = rows
        self._labels = table.labels[rows]
        self._row_weights = None if table.weights is None else table.weights[rows]

    def updated(self, round):
        """One over the losses of this round, with a mean of 1."""
        losses = round.objective.losses(round.raw[self._rows], self._labels, self._row_weights)
        known = ~np.isnan(losses)
        weights = np.ones(len(losses))
        if known.any():
            precisions = 1 / np.maximum(losses[known], LEAST_LOSS)
            weights[known] = precisions / precisions.mean()
        return weights
