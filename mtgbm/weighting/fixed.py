"""The same weights in every round."""

import numpy as np

from mtgbm.weighting.base import Weighting


class FixedWeighting(Weighting):
    """One weight for the main task and one, or one each, for the others.

    Parameters
    ----------
    main_weight : float, default=1.0
    sub_weight : float or sequence of float, default=1.0
        The weight of every other task, or one each in their order.

    Examples
    --------
    >>> from mtgbm.weighting import FixedWeighting
    >>> FixedWeighting(main_weight=1.0, sub_weight=[0.5, 0.2]).resolve(n_tasks=3, main_task=1)
    array([0.5, 1. , 0.2])
    """

    def __init__(self, main_weight=1.0, sub_weight=1.0):
        self.main_weight = main_weight
        self.sub_weight = sub_weight

    def resolve(self, n_tasks, main_task):
        """The weights of all tasks.

        Parameters
        ----------
        n_tasks : int
        main_task : int
            Position of the main task.

        Returns
        -------
        ndarray of float64 of shape (n_tasks,)

        Raises
        ------
        ValueError
            If there are not as many sub weights as sub tasks, or a weight is negative or not
            finite, or all are 0.
        """
        sub = np.atleast_1d(np.asarray(self.sub_weight, dtype=np.float64))
        if sub.shape not in ((1,), (n_tasks - 1,)):
            raise ValueError(
                f"sub_weight has {sub.size} values but there are {n_tasks - 1} sub tasks; give "
                "one number for all, or one for each task that is not the main task."
            )
        weights = np.insert(np.broadcast_to(sub, n_tasks - 1), main_task, self.main_weight)
        if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
            raise ValueError(
                f"task weights must be finite, not negative and not all 0, got {weights.tolist()}; "
                "set main_weight and sub_weight accordingly."
            )
        return weights

    def check(self, tasks, main_task):
        """Raise as `resolve` does."""
        self.resolve(len(tasks), main_task)

    def start(self, round):
        """Compute the weights of all rounds."""
        self._weights = self.resolve(len(round.tasks), round.main_task)

    def weights(self, round):
        """The same weights in every round."""
        return self._weights
