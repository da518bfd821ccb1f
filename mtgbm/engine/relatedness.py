"""Which outputs have something in common, as the leaves of the trees so far show it."""

import numpy as np

#: Share of its weight that a tree keeps from round to round: a memory of about a hundred trees.
MEMORY = 0.99
#: Standard deviations from which two outputs begin to count as related, and wholly do.
DOUBTFUL, SURE = 2.0, 4.0


class Relatedness:
    r"""Whether two outputs move together, or against each other, by more than chance.

    With :math:`x_{li} = G_{li} / \sqrt{H_{li}}`, the gradient sum of output *i* in leaf *l* in
    units of its noise, and :math:`d_l` = 0.99 to the power of the number of trees since,

    .. math::

        z_{ij} = \Big|\sum_l d_l x_{li} x_{lj}\Big| \Big/
                 \sqrt{\sum_l d_l^2 x_{li}^2 x_{lj}^2}, \qquad
        r_{ij} = \min(\max((z_{ij} - 2) / 2, 0), 1).

    If i and j have nothing in common, the signs of the products are by chance and z is about the
    size of a standard normal number, whatever the sizes of the products: White, "A
    Heteroskedasticity-Consistent Covariance Matrix Estimator", Econometrica 48 (1980). Leaves in
    which an output has no labelled rows say nothing about it.

    Parameters
    ----------
    n_outputs : int
    """

    def __init__(self, n_outputs):
        self._products = np.zeros((n_outputs, n_outputs))
        self._variances = np.zeros((n_outputs, n_outputs))

    def observe(self, tree):
        """Learn from the leaves of the latest tree."""
        steps = tree.standardized_gradients()
        squares = steps**2
        self._products = MEMORY * self._products + steps.T @ steps
        self._variances = MEMORY**2 * self._variances + squares.T @ squares

    def to(self, output):
        """How related each output is to this one.

        Returns
        -------
        ndarray of float64 of shape (n_outputs,)
            From 0 to 1; 1 for the output itself.
        """
        deviations = np.sqrt(self._variances[output])
        z = np.zeros(len(deviations))
        np.divide(np.abs(self._products[output]), deviations, out=z, where=deviations > 0)
        related = np.minimum(np.maximum((z - DOUBTFUL) / (SURE - DOUBTFUL), 0.0), 1.0)
        related[output] = 1.0
        return related

    def get_state(self):
        """Return what was learned: a dict of ndarrays."""
        return {"products": self._products, "variances": self._variances}

    def set_state(self, state):
        """Go on from a dict of `get_state`."""
        self._products, self._variances = state["products"], state["variances"]
