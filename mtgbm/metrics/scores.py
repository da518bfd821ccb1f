"""The metrics: each is one function of a task's labelled rows, applied to every task."""

from numbers import Real
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from sklearn.metrics import log_loss as sklearn_log_loss

from mtgbm.metrics.per_task import TaskMetric


def roc_auc(
    y_true: Any,
    y_score: Any,
    *,
    sample_weight: Any = None,
    task_names: Any = None,
    average: Any = None,
) -> Any:
    """Area under the ROC curve of each task.

    The chance that a random positive row scores above a random negative one, ties counting one
    half. It has no value for a task whose labelled rows hold a single class.

    Parameters
    ----------
    y_true : array-like or frame of shape (n,) or (n, T)
        0, 1, or missing (NaN, None). A row counts for the tasks it is labelled for.
    y_score : array-like of shape (n,) or (n, T), or list of T arrays of shape (n, 2)
        Score of class 1. With two columns per task, as `predict_proba` of a binary or a
        multi-output scikit-learn classifier returns them, the second column is taken.
    sample_weight : array-like of shape (n,) or (n, T), optional
        Non-negative. A row of weight zero counts as unlabelled.
    task_names : sequence of T str, optional
        By default the column names of `y_true`, else `task_0`, `task_1`, ...
    average : {None, "mean", "median"}, array-like of shape (T,) or dict, default=None
        None returns every task's value. An array, or a dict from task name to number, weights
        the mean. Tasks without a value are left out, and the remaining weights rescaled.

    Returns
    -------
    ndarray of shape (T,), float64, or float
        Every task's value, NaN where there is none; the average if one is asked for.

    Raises
    ------
    ValueError
        If the inputs disagree, or an average is asked for and no task has a value.

    Warns
    -----
    SingleClassWarning
        Names the tasks without a value.

    Examples
    --------
    >>> import numpy as np
    >>> y = np.array([[0, 1], [1, np.nan], [0, 0], [1, 1]])
    >>> p = np.array([[0.1, 0.9], [0.8, 0.5], [0.3, 0.7], [0.2, 0.6]])
    >>> roc_auc(y, p)
    array([0.75, 0.5 ])
    >>> roc_auc(y, p, average="mean")
    0.625
    """
    return ROC_AUC(
        y_true, y_score, sample_weight=sample_weight, task_names=task_names, average=average
    )


def average_precision(
    y_true: Any,
    y_score: Any,
    *,
    sample_weight: Any = None,
    task_names: Any = None,
    average: Any = None,
) -> Any:
    r"""Average precision of each task, :math:`\sum_k (R_k - R_{k-1}) P_k`.

    :math:`P_k` and :math:`R_k` are precision and recall at the k-th highest threshold. A
    constant score has the task's prevalence. There is no value for a task whose labelled rows
    hold a single class.

    Parameters, returned value, errors and warnings are those of :func:`roc_auc`.
    """
    return AVERAGE_PRECISION(
        y_true, y_score, sample_weight=sample_weight, task_names=task_names, average=average
    )


def f1(
    y_true: Any,
    y_score: Any,
    *,
    threshold: float = 0.5,
    sample_weight: Any = None,
    task_names: Any = None,
    average: Any = None,
) -> Any:
    r"""F1 of each task, :math:`2 TP / (2 TP + FP + FN)`, at a chosen threshold.

    It is 0 for a task with both classes of which no positive row reaches the threshold, and has
    no value for a task whose labelled rows hold a single class.

    Parameters
    ----------
    threshold : float, default=0.5
        A row is called positive if its score is at least this. The best threshold of a rare
        task is mostly far below 0.5.

    The other parameters, the returned value, errors and warnings are those of :func:`roc_auc`.
    """
    return F1(
        y_true,
        y_score,
        sample_weight=sample_weight,
        task_names=task_names,
        average=average,
        threshold=threshold,
    )


def log_loss(
    y_true: Any,
    y_score: Any,
    *,
    sample_weight: Any = None,
    task_names: Any = None,
    average: Any = None,
) -> Any:
    r"""Mean of :math:`-y \log p - (1 - y) \log(1 - p)` over each task's labelled rows.

    `y_score` must hold probabilities; 0 and 1 are moved inwards by the float64 epsilon. The loss
    compares a probability with an outcome, so a task of a single class has one too: only a task
    without labelled rows has no value.

    Parameters, returned value, errors and warnings are those of :func:`roc_auc`; ValueError also
    for a score outside [0, 1].
    """
    return LOG_LOSS(
        y_true, y_score, sample_weight=sample_weight, task_names=task_names, average=average
    )


def calibration_error(
    y_true: Any,
    y_score: Any,
    *,
    n_bins: int = 10,
    strategy: str = "quantile",
    sample_weight: Any = None,
    task_names: Any = None,
    average: Any = None,
) -> Any:
    r"""Expected calibration error of each task.

    Rows are binned by their probability; the error is
    :math:`\sum_b \frac{W_b}{W} |\bar y_b - \bar p_b|`, with :math:`W_b` the weight of bin b and
    :math:`\bar y_b, \bar p_b` the weighted means of labels and probabilities in it. As for
    :func:`log_loss`, only a task without labelled rows has no value.

    Parameters
    ----------
    n_bins : int, default=10
    strategy : {"quantile", "uniform"}, default="quantile"
        "quantile" gives bins of nearly equal weight; rows of equal probability stay together, so
        the order of rows does not matter. "uniform" cuts [0, 1] into intervals of equal width,
        closed on the right: nearly all rows of a rare task then fall into the first.

    The other parameters, the returned value, errors and warnings are those of :func:`roc_auc`;
    ValueError also for a score outside [0, 1].

    References
    ----------
    M. P. Naeini, G. F. Cooper, M. Hauskrecht. "Obtaining Well Calibrated Probabilities Using
    Bayesian Binning", AAAI 2015.
    """
    return CALIBRATION_ERROR(
        y_true,
        y_score,
        sample_weight=sample_weight,
        task_names=task_names,
        average=average,
        n_bins=n_bins,
        strategy=strategy,
    )


def _f1_of_rows(y_true, y_score, sample_weight=None, threshold=0.5):
    if not isinstance(threshold, Real):
        raise TypeError(f"threshold must be a number; got {threshold!r}.")
    called = y_score >= threshold
    return f1_score(y_true, called, sample_weight=sample_weight, zero_division=0)


def _log_loss_of_rows(y_true, y_score, sample_weight=None):
    _check_probabilities(y_score)
    # The labels are given because a task may hold only one of them.
    return sklearn_log_loss(y_true, y_score, labels=[0, 1], sample_weight=sample_weight)


def _calibration_error_of_rows(y_true, y_score, sample_weight=None, n_bins=10, strategy="quantile"):
    _check_probabilities(y_score)
    if strategy not in _BINNINGS:
        raise ValueError(f"strategy must be one of {list(_BINNINGS)}; got {strategy!r}.")
    if n_bins < 1:
        raise ValueError(f"n_bins must be at least 1; got {n_bins!r}.")
    weight = np.ones(len(y_true)) if sample_weight is None else sample_weight
    bins = _BINNINGS[strategy](y_score, weight, n_bins)
    # W_b |mean y - mean p| is the absolute value of the bin's weighted sum of y - p.
    surplus = np.bincount(bins, weights=weight * (y_true - y_score))
    return np.abs(surplus).sum() / weight.sum()


def _equal_mass_bins(y_score, weight, n_bins):
    """A score's bin is the place of the middle of its weight among all weight, sorted by score."""
    _, group = np.unique(y_score, return_inverse=True)
    mass = np.bincount(group, weights=weight)
    middle = np.cumsum(mass) - mass / 2
    return np.floor(n_bins * middle / mass.sum()).astype(int)[group]


def _equal_width_bins(y_score, weight, n_bins):
    inner_edges = np.linspace(0, 1, n_bins + 1)[1:-1]
    return np.searchsorted(inner_edges, y_score)


_BINNINGS = {"quantile": _equal_mass_bins, "uniform": _equal_width_bins}


def _check_probabilities(y_score):
    low, high = y_score.min(), y_score.max()
    if low < 0 or high > 1:
        raise ValueError(
            f"y_score must hold probabilities in [0, 1]; it spans [{low:.6g}, {high:.6g}]. "
            "Pass predict_proba, not raw scores."
        )


ROC_AUC = TaskMetric("roc_auc", roc_auc_score)
AVERAGE_PRECISION = TaskMetric("average_precision", average_precision_score)
F1 = TaskMetric("f1", _f1_of_rows)
LOG_LOSS = TaskMetric(
    "log_loss", _log_loss_of_rows, needs_both_classes=False, greater_is_better=False
)
CALIBRATION_ERROR = TaskMetric(
    "calibration_error",
    _calibration_error_of_rows,
    needs_both_classes=False,
    greater_is_better=False,
)
METRICS = {
    metric.name: metric for metric in (ROC_AUC, AVERAGE_PRECISION, F1, LOG_LOSS, CALIBRATION_ERROR)
}
