"""How alike two tasks' predictions are: the Jensen-Shannon divergence over rows."""

import numpy as np
from scipy.special import rel_entr

#: Added to every value before it is divided by their sum, so that no row has probability 0.
EPSILON = 1e-10


def as_distribution(values):
    """Values of some rows as a distribution over these rows: plus `EPSILON`, divided by the sum."""
    raised = np.asarray(values, dtype=np.float64) + EPSILON
    return raised / raised.sum()


def jensen_shannon(p, q):
    """The Jensen-Shannon divergence in bits: 0 if p is q, 1 if they share no row.

    With m = (p + q) / 2 it is ``(KL(p, m) + KL(q, m)) / 2``, here by the natural logarithm and
    divided by ln 2. Lin, "Divergence measures based on the Shannon entropy", IEEE Transactions on
    Information Theory 37 (1991).

    Parameters
    ----------
    p, q : ndarray of float64 of shape (n_rows,)
        Not negative, each summing to 1.

    Returns
    -------
    float in [0, 1]

    Examples
    --------
    >>> jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    1.0
    """
    middle = (p + q) / 2
    divergence = (rel_entr(p, middle).sum() + rel_entr(q, middle).sum()) / (2 * np.log(2))
    return float(np.clip(divergence, 0.0, 1.0))


def predicted_shares(round, rows):
    """Each task's probability that a row is not of its first class.

    Of a binary task that is P(label = 1). A multiclass task is reduced to one number a row, since
    a distribution over rows needs one.

    Parameters
    ----------
    round : mtgbm.engine.boosting.Round
    rows : ndarray of int of shape (n_sample_rows,)

    Returns
    -------
    ndarray of float64 of shape (n_sample_rows, n_tasks)
    """
    objective = round.objective
    probabilities = objective.probabilities(round.raw[rows])
    outputs = objective.outputs_of_task
    shares = probabilities[:, [first for first, *_ in outputs]]
    multiclass = [len(others) > 0 for _, *others in outputs]
    shares[:, multiclass] = 1 - shares[:, multiclass]
    return shares


def similarities(shares, known, main_task):
    """One minus the Jensen-Shannon divergence between the main task and each task.

    Parameters
    ----------
    shares : ndarray of float64 of shape (n_rows, n_tasks)
        As of `predicted_shares`.
    known : ndarray of bool of shape (n_rows, n_tasks)
        Where a row is labelled. Two tasks are compared on the rows labelled for both.
    main_task : int

    Returns
    -------
    ndarray of float64 of shape (n_tasks,)
        In [0, 1]: 1 for the main task itself, NaN for a task that shares no row with it.
    """
    similarity = np.full(shares.shape[1], np.nan)
    for task in range(shares.shape[1]):
        both = known[:, main_task] & known[:, task]
        if both.any():
            p, q = as_distribution(shares[both, main_task]), as_distribution(shares[both, task])
            similarity[task] = 1 - jensen_shannon(p, q)
    similarity[main_task] = 1.0
    return similarity
