"""Weights that follow how similar the tasks' predictions are to the main task's."""

from numbers import Integral, Real

import numpy as np

from mtgbm.parameters import check_number, choose
from mtgbm.weighting.fixed import FixedWeighting
from mtgbm.weighting.periodic import PeriodicWeighting, from_lists, to_lists
from mtgbm.weighting.samples import evenly_spaced, paired_rows
from mtgbm.weighting.similarity import (
    EPSILON,
    as_distribution,
    jensen_shannon,
    predicted_shares,
    similarities,
)

#: Rounds between the updates of the method "tenIters".
TEN_ITERATIONS = 10


def _distance(similarity, earlier):
    return 1 - similarity


def _root_distance(similarity, earlier):
    return np.sqrt(1 - similarity)


def _change(similarity, earlier):
    return similarity - earlier


METHODS = {
    "standard": _distance,
    "tenIters": _distance,
    "sqrt": _root_distance,
    "delta": _change,
}


class AdaptiveWeighting(PeriodicWeighting):
    r"""A task gains weight as its predictions depart from the main task's.

    With :math:`p_i` the predicted probabilities of task *i* over a sample of rows, 1e-10 added to
    each and then divided by their sum, the similarity to the main task *m* is

    .. math:: s_i = 1 - \mathrm{JSD}(p_i, p_m), \qquad
        \mathrm{JSD}(p, q) = \frac{1}{2 \ln 2}
        \Big(\sum p \ln \frac{p}{(p + q) / 2} + \sum q \ln \frac{q}{(p + q) / 2}\Big),

    1 for the same distribution over rows, 0 for two that share no row. An update does

    .. math:: w_i \leftarrow w_i + \eta \, d_i, \qquad
        w_i \leftarrow \frac{\max(w_i, 0)}{\sum_j \max(w_j, 0)},

    and the split search gets :math:`T w_i` of *T* tasks: only the proportions of weights decide
    between splits, and a mean of 1 keeps the meaning of `min_split_gain` and `reg_lambda`. The
    main task has :math:`d = 0`, so that its share can only shrink under the first three methods.

    A divergence between distributions over rows sees neither whether two labels agree nor what
    either can teach: a pure noise task looks much like an opposed one.
    :class:`AffinityWeighting` can tell.

    Parameters
    ----------
    method : {"standard", "tenIters", "sqrt", "delta"}, default="standard"
        "standard": :math:`d_i = 1 - s_i`.

        "tenIters": the same, but every 10 rounds whatever `update_frequency` says.

        "sqrt": :math:`d_i = \sqrt{1 - s_i}`, which moves faster while tasks are still alike.

        "delta": :math:`d_i = s_i - \bar s_i`, with :math:`\bar s_i` the mean of all earlier
        similarities, 0 at the first update. The plain difference of successive similarities
        telescopes: its sum after *t* updates is :math:`s_t - s_0`, whatever came between, so the
        weights would stay within :math:`\eta` of the first ones. Against the mean, a task that
        goes on approaching the main task goes on gaining.
    learning_rate : float, default=0.1
        :math:`\eta`, above 0.
    update_frequency : int, default=10
        Rounds from one update to the next.
    main_weight, sub_weight :
        The weights before the first update, as in :class:`FixedWeighting`.
    sample_rows : int, default=10000
        Most rows of the sample: of the n rows that are labelled for two tasks or more those at
        positions floor(k n / sample_rows). Task and main task are compared on the rows of the
        sample that are labelled for both; a task without such rows keeps its weight.

    See Also
    --------
    InverseDistanceWeighting : Compares with the main task's labels, not its predictions.

    References
    ----------
    Lin, "Divergence measures based on the Shannon entropy", IEEE Transactions on Information
    Theory 37 (1991).

    Examples
    --------
    >>> from mtgbm import MultiTaskLGBMClassifier
    >>> from mtgbm.weighting import AdaptiveWeighting
    >>> model = MultiTaskLGBMClassifier(weighting=AdaptiveWeighting("sqrt", learning_rate=0.05))
    """

    def __init__(
        self,
        method="standard",
        learning_rate=0.1,
        update_frequency=10,
        main_weight=1.0,
        sub_weight=1.0,
        sample_rows=10_000,
    ):
        self.method = method
        self.learning_rate = learning_rate
        self.update_frequency = update_frequency
        self.main_weight = main_weight
        self.sub_weight = sub_weight
        self.sample_rows = sample_rows

    def check(self, tasks, main_task):
        """Raise if a parameter is unknown, out of range or does not fit the number of tasks."""
        super().check(tasks, main_task)
        choose("method", self.method, METHODS)
        check_number("learning_rate", self.learning_rate, Real, (0,), None)
        check_number("sample_rows", self.sample_rows, Integral, 1, None)
        FixedWeighting(self.main_weight, self.sub_weight).check(tasks, main_task)

    def start(self, round):
        """Choose the sample and forget all similarities."""
        super().start(round)
        n_tasks = len(round.tasks)
        first = FixedWeighting(self.main_weight, self.sub_weight)
        weights = first.resolve(n_tasks, round.main_task)
        self._shares = weights / weights.sum()
        self._mean_similarity = np.full(n_tasks, np.nan)
        self._n_updates = 0
        labels = round.training.labels
        self._rows = paired_rows(labels, self.sample_rows)
        self._known = labels[self._rows] >= 0

    def period(self):
        return TEN_ITERATIONS if self.method == "tenIters" else self.update_frequency

    def updated(self, round):
        """Update the shares; return them times the number of tasks."""
        similarity = similarities(predicted_shares(round, self._rows), self._known, round.main_task)
        change = METHODS[self.method](similarity, self._mean_similarity)
        weights = self._shares + self.learning_rate * np.nan_to_num(change)
        weights = np.maximum(weights, 0.0)
        if weights.any():
            self._shares = weights / weights.sum()
        self._remember(similarity)
        return len(weights) * self._shares

    def _remember(self, similarity):
        earlier = self._mean_similarity if self._n_updates else similarity
        self._n_updates += 1
        self._mean_similarity = earlier + (similarity - earlier) / self._n_updates

    def get_state(self):
        """The shares, and what the method "delta" compares with."""
        return super().get_state() | {
            "shares": self._shares.tolist(),
            "mean_similarity": to_lists(self._mean_similarity),
            "n_updates": self._n_updates,
        }

    def set_state(self, state):
        super().set_state(state)
        self._shares = np.array(state["shares"])
        self._mean_similarity = from_lists(state["mean_similarity"])
        self._n_updates = state["n_updates"]


class InverseDistanceWeighting(PeriodicWeighting):
    r"""A task has the more weight, the closer its predictions are to the main task's labels.

    The rule of the code that first weighted MT-GBM's tasks by similarity. With *y* the labels of
    the main task and :math:`p_j` the predicted probabilities of subtask *j* over a sample of
    rows, both raised by 1e-10 and divided by their sum,

    .. math:: d_j = \sqrt{\mathrm{JSD}(p_j, y)}, \qquad s_j = 1 / d_j, \qquad
        w_j = \eta \, s_j / \lVert s \rVert_2, \qquad w_m = 1.

    The weights are the same in all rounds, nearly: with rare positives every distance to the
    labels is about as large, be the task related, independent or opposed. It is here to be
    compared with; see :class:`AffinityWeighting` for one that tells tasks apart.

    Parameters
    ----------
    learning_rate : float, default=0.1
        :math:`\eta`, above 0: the length of the vector of the subtasks' weights.
    update_frequency : int, default=10
        Rounds from one update to the next; 1 is the rule as published.
    sample_rows : int, default=10000
        Most rows of the sample: of the n rows labelled for the main task those at positions
        floor(k n / sample_rows). A multiclass main task's label is 1 unless it is its first class.

    Examples
    --------
    >>> from mtgbm import MultiTaskLGBMClassifier
    >>> from mtgbm.weighting import InverseDistanceWeighting
    >>> model = MultiTaskLGBMClassifier(weighting=InverseDistanceWeighting(learning_rate=0.2))
    """

    def __init__(self, learning_rate=0.1, update_frequency=10, sample_rows=10_000):
        self.learning_rate = learning_rate
        self.update_frequency = update_frequency
        self.sample_rows = sample_rows

    def check(self, tasks, main_task):
        """Raise if a parameter is out of range."""
        super().check(tasks, main_task)
        check_number("learning_rate", self.learning_rate, Real, (0,), None)
        check_number("sample_rows", self.sample_rows, Integral, 1, None)

    def start(self, round):
        """Choose the sample."""
        super().start(round)
        labels = round.training.labels[:, round.main_task]
        self._rows = evenly_spaced(np.flatnonzero(labels >= 0), self.sample_rows)
        self._labels = as_distribution(labels[self._rows] > 0)

    def updated(self, round):
        """Weights by the distances of this round."""
        shares = predicted_shares(round, self._rows)
        divergences = [
            jensen_shannon(as_distribution(column), self._labels)
            for task, column in enumerate(shares.T)
            if task != round.main_task
        ]
        similarity = 1 / np.maximum(np.sqrt(divergences), EPSILON)
        weights = self.learning_rate * similarity / np.linalg.norm(similarity)
        return np.insert(weights, round.main_task, 1.0)
