"""Rounds that favour one task each, so that tasks take turns to shape the trees."""

from numbers import Real

import numpy as np

from mtgbm.parameters import check_number, choose
from mtgbm.weighting.base import Weighting
from mtgbm.weighting.periodic import from_lists, to_lists

ORDERS = ("random", "round_robin", "validation_loss")


class FocusWeighting(Weighting):
    r"""In a share of the rounds one task counts many times as much as the others.

    A round of focus on task *i* of *T* has the weights

    .. math:: w_i = c \, \text{strength}, \qquad w_j = c, \qquad c = T / (T - 1 + \text{strength}),

    with a mean of 1, so that `min_split_gain` and `reg_lambda` keep their meaning; other rounds
    have weights of 1. Round *n*, counted from 0, is one of focus if
    :math:`\lfloor (n + 1) \, \text{share} \rfloor > \lfloor n \, \text{share} \rfloor`, which
    spreads them evenly.

    ``order="random"`` with ``share=1.0`` and a strength of 10 to 100 is the rule of the MT-GBM
    paper, together with ``split_criterion="gradient_sum"``. It keeps tasks from cancelling: in each
    round one of them decides.

    Parameters
    ----------
    order : {"random", "round_robin", "validation_loss"}, default="random"
        Which task a round of focus favours.

        "random": each with the same probability.

        "round_robin": the first, the second, and so on.

        "validation_loss": the task with the largest :math:`L_i / L_i^0`, its validation log loss
        now over that before the first round of this fit: the one that has improved least. A task
        that cannot be learned stays that task in most rounds; leave such a task out, or use
        another order. Needs validation rows and ``eval_metric="logloss"``.
    strength : float, default=50.0
        How many times the weight of another task, at least 1.
    share : float, default=0.5
        Share of the rounds that focus, above 0 and at most 1.

    References
    ----------
    Ying et al., "MT-GBM: A Multi-Task Gradient Boosting Machine with Shared Decision Trees"
    (2022), arXiv:2201.06239.

    Examples
    --------
    The rule of the paper:

    >>> from mtgbm import MultiTaskLGBMClassifier
    >>> from mtgbm.weighting import FocusWeighting
    >>> model = MultiTaskLGBMClassifier(
    ...     weighting=FocusWeighting("random", strength=50.0, share=1.0),
    ...     split_criterion="gradient_sum",
    ... )
    """

    def __init__(self, order="random", strength=50.0, share=0.5):
        self.order = order
        self.strength = strength
        self.share = share

    needs_log_loss = True

    @property
    def needs_validation(self):
        return self.order == "validation_loss"

    def check(self, tasks, main_task):
        """Raise if a parameter is unknown or out of range."""
        choose("order", self.order, {order: order for order in ORDERS})
        check_number("strength", self.strength, Real, 1, None)
        check_number("share", self.share, Real, (0,), 1)

    def start(self, round):
        """Note the validation losses before the first tree; get a generator of one's own."""
        self._rng = round.rng.spawn(1)[0]
        self._first_losses = np.full(len(round.tasks), np.nan)
        if self.order == "validation_loss":
            held = round.validation
            self._first_losses = round.objective.losses(
                round.validation_raw, held.labels, held.weights
            )

    def weights(self, round):
        """Ones, or the weights of a round of focus."""
        weights = np.ones(len(round.tasks))
        n_before, n_now = (int(n * self.share) for n in (round.number, round.number + 1))
        if n_now > n_before:
            weights[self._favourite(round, n_before)] = self.strength
            weights *= len(weights) / weights.sum()
        return weights

    def _favourite(self, round, turn):
        if self.order == "random":
            return self._rng.integers(len(round.tasks))
        if self.order == "round_robin":
            return turn % len(round.tasks)
        now = round.scores[-1] if round.number else self._first_losses
        left = now / self._first_losses
        return np.argmax(np.nan_to_num(left, nan=-np.inf))

    def get_state(self):
        """Where the random numbers stand, and the losses before the first tree."""
        return {
            "generator": self._rng.bit_generator.state,
            "first_losses": to_lists(self._first_losses),
        }

    def set_state(self, state):
        self._rng.bit_generator.state = state["generator"]
        self._first_losses = from_lists(state["first_losses"])
