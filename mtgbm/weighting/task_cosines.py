"""Cosines between the gradients of tasks."""

import numpy as np


def task_cosines(values, known, outputs_of_task):
    r"""The cosine between every two tasks' columns, over the rows known of both.

    For two tasks of one output each it is :math:`x^T y / (\lVert x \rVert \lVert y \rVert)`, in
    [-1, 1]. A multiclass task has a column for each class. No direction of its columns means yes,
    so there is no sign, and the cosine becomes the root of Escoufier's RV coefficient, in [0, 1]:

    .. math:: \frac{\lVert X^T Y \rVert_F}{\sqrt{\lVert X^T X \rVert_F \lVert Y^T Y \rVert_F}},

    which for single columns is the cosine's absolute value.

    Parameters
    ----------
    values : ndarray of float64 of shape (n_rows, n_outputs)
        0 where a row is not known of the task.
    known : ndarray of bool of shape (n_rows, n_tasks)
    outputs_of_task : list of list of int

    Returns
    -------
    ndarray of float64 of shape (n_tasks, n_tasks)
        Symmetric; NaN where the tasks share no row, or one of them is 0 on all that they share.

    References
    ----------
    Robert & Escoufier, "A Unifying Tool for Linear Multivariate Statistical Methods: The
    RV-Coefficient", Applied Statistics 25 (1976).
    """
    cosines = _column_cosines(values, known[:, np.repeat(*_sizes(outputs_of_task))])
    first = [outputs[0] for outputs in outputs_of_task]
    cosines = cosines[np.ix_(first, first)]
    for task, outputs in enumerate(outputs_of_task):
        for other, others in enumerate(outputs_of_task[: task + 1]):
            if len(outputs) > 1 or len(others) > 1:
                both = known[:, task] & known[:, other]
                cosine = _block_cosine(values[both][:, outputs], values[both][:, others])
                cosines[task, other] = cosines[other, task] = cosine
    return cosines


def _sizes(outputs_of_task):
    return np.arange(len(outputs_of_task)), [len(outputs) for outputs in outputs_of_task]


def _column_cosines(values, known):
    """Of every two columns, each normed over the rows known of the other."""
    squares = np.square(values).T @ known
    return _divide(values.T @ values, np.sqrt(squares * squares.T))


def _block_cosine(values, others):
    norms = np.linalg.norm(values.T @ values) * np.linalg.norm(others.T @ others)
    return _divide(np.linalg.norm(values.T @ others), np.sqrt(norms))


def _divide(products, norms):
    """Quotients in [-1, 1], NaN where the norm is 0."""
    quotients = np.divide(products, norms, out=np.full_like(products, np.nan), where=norms > 0)
    return np.clip(quotients, -1.0, 1.0)
