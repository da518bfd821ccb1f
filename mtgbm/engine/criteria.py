"""What the split sees: from every output's own gradients to the vectors that choose a structure.

A criterion is the one seam between weighting and growth. It turns row vectors of K outputs and the
weights of the round into row vectors of S outputs and S weights; the grower sums and scores those.
Leaves never see them: their values always come from every output's own gradients.
"""

import numpy as np

from mtgbm.engine._isa import load_kernel
from mtgbm.engine.threads import threads_for
from mtgbm.engine.vectors import empty_vectors

_histogram = load_kernel("mtgbm.engine._histogram")


class GainSum:
    """Every output scores the split itself; the weighted gains are added.

    A split that helps two tasks in opposite directions counts for both.

    Parameters
    ----------
    positions : ndarray of int32 of shape (n_outputs,)
        Position of each output in its task; not used here.
    """

    name = "gain_sum"

    def __init__(self, positions):
        pass

    def structure(self, vectors, weights, n_threads):
        """Return the row vectors to histogram and the weights of their outputs."""
        return vectors, weights


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
    """

    name = "gradient_sum"

    def __init__(self, positions):
        self.positions = positions
        self._vectors = None

    def structure(self, vectors, weights, n_threads):
        """Return the row vectors of the combined outputs, and their weights, 1 each."""
        n_combined = int(self.positions.max()) + 1
        if self._vectors is None or len(self._vectors) != len(vectors):
            self._vectors = empty_vectors(len(vectors), n_combined)
        threads = threads_for(vectors.size, n_threads)
        _histogram.combine_outputs(
            vectors, weights, self.positions, n_combined, self._vectors, threads
        )
        return self._vectors, np.ones(n_combined)


CRITERIA = {criterion.name: criterion for criterion in (GainSum, GradientSum)}
