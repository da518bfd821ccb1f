"""The rows at which a weighting looks: the same few in every round, spread over the table."""

import numpy as np


def evenly_spaced(rows, most):
    """All rows, or `most` of them: of n rows those at positions floor(k n / most).

    Parameters
    ----------
    rows : ndarray of int of shape (n_rows,)
    most : int

    Examples
    --------
    >>> evenly_spaced(np.arange(10, 17), most=3)
    array([10, 12, 14])
    """
    if len(rows) <= most:
        return rows
    return rows[np.arange(most) * len(rows) // most]


def paired_rows(labels, most):
    """Rows labelled for two tasks or more, at most so many.

    A row with one label says nothing about how two tasks relate.

    Parameters
    ----------
    labels : ndarray of int of shape (n_rows, n_tasks)
        -1 where missing.
    most : int

    Returns
    -------
    ndarray of int of shape (n_sample_rows,), ascending
    """
    n_known = np.count_nonzero(labels >= 0, axis=1)
    return evenly_spaced(np.flatnonzero(n_known >= 2), most)
