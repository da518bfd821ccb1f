"""Weights of rows and of single labels."""

import numpy as np
from sklearn.utils.validation import check_array

from mtgbm.labels import MISSING


def row_weights(sample_weight, task_weight, shape):
    """One weight per label from weights per row and per label.

    Parameters
    ----------
    sample_weight : array-like of shape (n_rows,), number, or None
    task_weight : array-like of shape (n_rows, n_tasks) or None
    shape : tuple
        (n_rows, n_tasks).

    Returns
    -------
    ndarray of float32 of shape (n_rows, n_tasks), or None if there are no weights

    Raises
    ------
    ValueError
        If a weight is negative or not finite, or a shape does not fit.
    """
    if sample_weight is None and task_weight is None:
        return None
    weights = np.ones(shape, dtype=np.float32)
    if sample_weight is not None:
        weights *= _check_sample_weight(sample_weight, shape)
    if task_weight is not None:
        weights *= _check_task_weight(task_weight, shape)
    if (weights < 0).any():
        raise ValueError("weights must not be negative; use 0 to leave a row out.")
    if not weights.any():
        raise ValueError("all weights are zero: there is nothing to learn from.")
    return weights


def _check_sample_weight(sample_weight, shape):
    weights = np.asarray(sample_weight)
    if weights.ndim == 0:
        weights = np.full(shape[0], weights)
    if weights.ndim == 2:
        raise ValueError(
            f"Sample weights must be 1D, one per row, got shape {weights.shape}; for a weight per "
            "row and task use task_weight."
        )
    weights = check_array(weights, ensure_2d=False, dtype=np.float32, input_name="sample_weight")
    if weights.shape != (shape[0],):
        raise ValueError(
            f"sample_weight has shape {weights.shape}, expected ({shape[0]},): one per row."
        )
    return weights[:, None]


def _check_task_weight(task_weight, shape):
    weights = check_array(
        task_weight, ensure_2d=False, dtype=np.float32, input_name="task_weight"
    ).reshape(len(task_weight), -1)
    if weights.shape != shape:
        raise ValueError(
            f"task_weight has shape {weights.shape}, expected {shape}: one per row and task."
        )
    return weights


def without_weightless_rows(table):
    """Leave out what weighs nothing, which must not count in any way: rows, and single labels.

    Parameters
    ----------
    table : LabelledRows

    Returns
    -------
    LabelledRows
    """
    weights = table.weights
    if weights is None:
        return table
    table = table._replace(labels=np.where(weights > 0, table.labels, np.int16(MISSING)))
    counts = weights.any(axis=1)
    return table if counts.all() else table.take(np.flatnonzero(counts))
