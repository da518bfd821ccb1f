"""Weights from what the tasks have to give to the main task, which may be nothing."""

from numbers import Integral, Real

import numpy as np

from mtgbm.parameters import check_number, choose
from mtgbm.weighting.affinity_measures import MEASURES
from mtgbm.weighting.base import Weighting
from mtgbm.weighting.periodic import from_lists, to_lists


class AffinityWeighting(Weighting):
    r"""A task has the weight of its affinity to the main task, 0 if that is negative.

    With :math:`a_{ij}` in [-1, 1] what task *i* gains from task *j*, observed every few rounds and
    averaged over them, and *m* the main task,

    .. math:: w_m = 1, \qquad w_j = \max(0, a_{mj}).

    The average gives the *k*-th observation a share of
    :math:`\max(\text{learning\_rate}, 1 / k)`: a mean at first, later an exponential one. A task of
    which nothing has been seen yet has weight 1; in the end the main task may be alone.

    Parameters
    ----------
    affinity : {"leaf_cosine", "gradient_cosine", "lookahead"}, default="leaf_cosine"
        What is observed.

        "leaf_cosine": the cosine between the tasks' vectors of :math:`g_l / \sqrt{h_l}`, over the
        leaves *l* of the latest `update_frequency` trees; :math:`g_l^2 / h_l` is the gain of the
        leaf. Sums over the rows of a leaf keep what trees can learn and average out the noise of
        single labels. Touches no rows.

        "gradient_cosine": the cosine between the tasks' gradients over a sample of rows, the usual
        measure of conflict between tasks. Of noisy labels it sees mostly whether the noise of one
        is that of the other.

        "lookahead": by how much the validation loss of *i* falls in a round whose structure is
        chosen for *j*, divided by the mean fall of the two ordinary rounds before, clipped to
        [-1, 1]; nothing is seen while the loss of *i* does not fall in ordinary rounds. Needs
        validation rows and ``eval_metric="logloss"``. Few and noisy observations, one every
        `update_frequency` rounds, but of the very thing that one wants to know.

        The cosines have a sign: an opposed task, whose label is the main task's negated, gets
        weight 0. With ``split_criterion="gain_sum"`` such a task would do as well as an agreeing
        one, and only "lookahead" sees that. The cosine with a multiclass task has no sign; see
        :func:`mtgbm.weighting.task_cosines.task_cosines`.
    learning_rate : float, default=0.1
        Least share of a new observation in the average, above 0 and at most 1.
    update_frequency : int, default=10
        Rounds from one observation to the next; at least 3 for "lookahead".
    strength : float, default=50.0
        Of "lookahead": the weight of the task for which a round is, beside 1 for each other task.
    sample_rows : int, default=10000
        Of "gradient_cosine": most rows of the sample; of the n rows labelled for two tasks or more
        those at positions floor(k n / sample_rows). Tasks are compared on the rows of the sample
        that are labelled for both.

    Attributes
    ----------
    affinity_ : ndarray of float64 of shape (n_tasks, n_tasks)
        Averages so far, while training; NaN where nothing was seen.

    References
    ----------
    Du et al., "Adapting Auxiliary Losses Using Gradient Similarity" (2018), arXiv:1812.02224: the
    cosine as a weight. Fifty et al., "Efficiently Identifying Task Groupings for Multi-Task
    Learning", NeurIPS 2021, arXiv:2109.04617: looking ahead.

    Examples
    --------
    >>> from mtgbm import MultiTaskLGBMClassifier
    >>> from mtgbm.weighting import AffinityWeighting
    >>> model = MultiTaskLGBMClassifier(weighting=AffinityWeighting("lookahead"))
    """

    def __init__(
        self,
        affinity="leaf_cosine",
        learning_rate=0.1,
        update_frequency=10,
        strength=50.0,
        sample_rows=10_000,
    ):
        self.affinity = affinity
        self.learning_rate = learning_rate
        self.update_frequency = update_frequency
        self.strength = strength
        self.sample_rows = sample_rows

    needs_log_loss = True

    @property
    def needs_validation(self):
        return self.affinity == "lookahead"

    def check(self, tasks, main_task):
        """Raise if a parameter is unknown or out of range."""
        choose("affinity", self.affinity, MEASURES)
        least = 3 if self.affinity == "lookahead" else 1
        check_number("learning_rate", self.learning_rate, Real, (0,), 1)
        check_number("update_frequency", self.update_frequency, Integral, least, None)
        check_number("strength", self.strength, Real, 1, None)
        check_number("sample_rows", self.sample_rows, Integral, 1, None)

    def start(self, round):
        """Forget all affinities."""
        shape = (len(round.tasks), len(round.tasks))
        self.affinity_ = np.full(shape, np.nan)
        self._n_seen = np.zeros(shape, dtype=np.int64)
        self._measure = MEASURES[self.affinity](self)
        self._measure.start(round)

    def weights(self, round):
        """Affinities to the main task; in a round of exploration one task leads."""
        seen = self._measure.observe(round)
        if seen is not None:
            self._average(seen)
        explored = self._measure.explored(round)
        if explored is not None:
            return self._leading(explored)
        # np.maximum keeps NaN, which says that nothing is known against the task.
        weights = np.nan_to_num(np.maximum(self.affinity_[round.main_task], 0.0), nan=1.0)
        weights[round.main_task] = 1.0
        return weights

    def _average(self, seen):
        new = ~np.isnan(seen)
        self._n_seen += new
        share = np.maximum(self.learning_rate, 1 / np.maximum(self._n_seen, 1))
        average = (1 - share) * np.nan_to_num(self.affinity_) + share * seen
        self.affinity_ = np.where(new, average, self.affinity_)

    def _leading(self, task):
        weights = np.ones(len(self.affinity_))
        weights[task] = self.strength
        return weights * len(weights) / weights.sum()

    def get_state(self):
        """The affinities and how often each was seen."""
        return {"affinity": to_lists(self.affinity_), "n_seen": self._n_seen.tolist()}

    def set_state(self, state):
        self.affinity_ = from_lists(state["affinity"])
        self._n_seen = np.array(state["n_seen"], dtype=np.int64)
