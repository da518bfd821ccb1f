"""Weights that are worked out anew every few rounds."""

from numbers import Integral

import numpy as np

from mtgbm.parameters import check_number
from mtgbm.weighting.base import Weighting


class PeriodicWeighting(Weighting):
    """Asks `updated` for new weights every `update_frequency` rounds, first before the first tree.

    A subclass has a parameter `update_frequency` and overrides `updated`.
    """

    def check(self, tasks, main_task):
        """Raise if `update_frequency` is not an integer of at least 1."""
        check_number("update_frequency", self.update_frequency, Integral, 1, None)

    def start(self, round):
        """Have no weights until the next round."""
        self._weights = None

    def period(self):
        """Rounds from one update to the next."""
        return self.update_frequency

    def updated(self, round):
        """Return new weights, an array that nobody changes later; see `weights`."""
        raise NotImplementedError

    def weights(self, round):
        """The weights of the latest update: float64 (n_tasks,)."""
        if self._weights is None or round.number % self.period() == 0:
            self._weights = self.updated(round)
        return self._weights

    def get_state(self):
        """The weights."""
        return {"weights": self._weights.tolist()}

    def set_state(self, state):
        self._weights = np.array(state["weights"])


def to_lists(values):
    """An array as nested lists with None for NaN, which JSON cannot hold."""
    return np.where(np.isnan(values), None, values).tolist()


def from_lists(lists):
    """The array of which `to_lists` gave the lists."""
    return np.array(lists, dtype=np.float64)
