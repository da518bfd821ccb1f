"""What the split sees: from every output's own gradients to the vectors that choose a structure.

A criterion is the one seam between weighting and growth. It turns row vectors of K outputs and the
weights of the round into row vectors of S outputs and S weights; the grower sums and scores those.
Leaves never see them: their values always come from every output's own gradients.
"""

from dataclasses import dataclass

import numpy as np

from mtgbm.engine._isa import load_kernel
from mtgbm.engine.threads import threads_for
from mtgbm.engine.vectors import empty_vectors, lane_count

_histogram = load_kernel("mtgbm.engine._histogram")


@dataclass(frozen=True)
class SplitGradients:
    """What chooses the structure of a tree.

    Attributes
    ----------
    vectors : ndarray of float32 of shape (n_rows, lanes)
        Row vectors of `n_outputs` outputs.
    n_outputs : int
    outputs : ndarray of int of shape (n_chosen,)
        Those that are heard, ascending.
    weights : ndarray of float64 of shape (n_chosen,)
        What each of them counts.
    is_sample : bool
        Whether outputs with a weight were left out.
    """

    vectors: np.ndarray
    n_outputs: int
    outputs: np.ndarray
    weights: np.ndarray
    is_sample: bool = False


class GainSum:
    """Every output scores the split itself; the weighted gains are added.

    A split that helps two tasks in opposite directions counts for both.

    Of many outputs some may be drawn in each round, which is cheaper in proportion and, as the
    trees differ more, no less accurate: Iosipoi & Vakhrushev, "SketchBoost: Fast Gradient Boosted
    Decision Tree for Multioutput Problems", NeurIPS 2022, section 3.2, random sampling (there
    with probabilities by the norms of gradients, here all the same, so that rare tasks get their
    turn).

    With a `relatedness` one output leads, drawn with a probability by its weight: the others follow
    with probabilities and weights by how related they are to it. So an output that has nothing in
    common with the others gets trees of its own, and the trees of the others do not bend to it.

    Parameters
    ----------
    positions : ndarray of int32 of shape (n_outputs,)
        Position of each output in its task; not used here.
    most_outputs : int or None
        Outputs to draw in each round; None for all, whatever they have in common.
    rng : numpy.random.Generator or None
    relatedness : Relatedness or None
        None: all are drawn alike. Not used without `most_outputs`.
    """

    name = "gain_sum"

    def __init__(self, positions, most_outputs=None, rng=None, relatedness=None):
        self.most_outputs = most_outputs
        self.rng = rng
        self.relatedness = relatedness

    def structure(self, vectors, weights, n_threads, sampled=True):
        """Return the SplitGradients of a round: of a sample of the outputs, if there is to be one.

        With ``sampled=False`` all that have a weight are heard.
        """
        weighty = np.flatnonzero(weights)
        if sampled and self.most_outputs is not None:
            weights = weights * self._shares(weights, weighty)
        heard = outputs = np.flatnonzero(weights)
        if lane_count(len(heard)) == lane_count(len(weights)):
            outputs = np.arange(len(weights))  # no narrower without those that are not heard
        is_sample = len(heard) < len(weighty)
        return SplitGradients(vectors, len(weights), outputs, weights[outputs], is_sample)

    def _shares(self, weights, weighty):
        """Which of the outputs with a weight are heard, 0 to 1: (n_outputs,)."""
        shares = np.zeros(len(weights))
        if self.relatedness is None:
            shares[self._choice(weighty, self.most_outputs)] = 1.0
            return shares
        leader = self._leader(weights, weighty)
        related = self.relatedness.to(leader)
        others = weighty[(weighty != leader) & (related[weighty] > 0)]
        drawn = np.append(self._choice(others, self.most_outputs - 1, related[others]), leader)
        shares[drawn] = related[drawn]
        return shares

    def _leader(self, weights, weighty):
        """An output, with a probability by its weight: one is drawn until it is accepted."""
        most = weights.max()
        while True:
            leader = weighty[self.rng.integers(len(weighty))]
            if weights[leader] == most or self.rng.random() < weights[leader] / most:
                return leader

    def _choice(self, outputs, most, odds=None):
        """Some of the outputs, or all if there are no more than `most`."""
        if len(outputs) <= most:
            return outputs
        probabilities = None if odds is None else odds / odds.sum()
        return self.rng.choice(outputs, most, replace=False, p=probabilities)

    def observe(self, tree):
        """Learn from the tree of the round what the outputs have in common."""
        if self.relatedness is not None:
            self.relatedness.observe(tree)

    def get_state(self):
        """Return what the outputs of later rounds are drawn from: ndarrays, and what JSON holds."""
        state = {} if self.rng is None else {"generator": self.rng.bit_generator.state}
        return state if self.relatedness is None else state | self.relatedness.get_state()

    def set_state(self, state):
        """Go on from a dict of `get_state`."""
        if self.rng is not None:
            self.rng.bit_generator.state = state["generator"]
        if self.relatedness is not None:
            self.relatedness.set_state(state)


class GradientSum:
    """MT-GBM's criterion: the gain of the weighted sum of all tasks' gradients.

    For binary tasks the histogram holds one output however many they are, but tasks with opposite
    gradients cancel. The gradients of one row over the classes of a task always cancel, so they
    are kept apart: the first outputs of all tasks are added, then the second, and so on.

    Ying et al., "MT-GBM: A Multi-Task Gradient Boosting Machine with Shared Decision Trees"
    (2022), arXiv:2201.06239.

    Parameters
    ----------
    positions : ndarray of int32 of shape (n_outputs,)
        Position of each output in its task: 0 for a binary one.
    most_outputs, rng, relatedness :
        As in `GainSum`; not used here.
    """

    name = "gradient_sum"

    def __init__(self, positions, most_outputs=None, rng=None, relatedness=None):
        self.positions = positions
        self._vectors = None

    def structure(self, vectors, weights, n_threads, sampled=True):
        """Return the SplitGradients of a round: combined outputs that count 1 each."""
        n_combined = int(self.positions.max()) + 1
        if self._vectors is None or len(self._vectors) != len(vectors):
            self._vectors = empty_vectors(len(vectors), n_combined)
        threads = threads_for(vectors.size, n_threads)
        _histogram.combine_outputs(
            vectors, weights, self.positions, n_combined, self._vectors, threads
        )
        outputs = np.arange(n_combined)
        return SplitGradients(self._vectors, n_combined, outputs, np.ones(n_combined))

    def observe(self, tree):
        """Learn nothing."""

    def get_state(self):
        """Return nothing: rounds do not depend on earlier ones."""
        return {}

    def set_state(self, state):
        """Go on from a dict of `get_state`."""


CRITERIA = {criterion.name: criterion for criterion in (GainSum, GradientSum)}
