"""Do the tasks of a model help each other? Their affinity, and each one beside a model of its own.

:func:`task_affinity` reads a fitted forest and costs nothing; :func:`negative_transfer` trains a
model for each task and compares scores.
"""

import math
import warnings
from dataclasses import asdict, astuple, dataclass, fields
from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils.validation import check_consistent_length

from mtgbm.labels import MISSING
from mtgbm.metrics.report import aligned_table, number_text
from mtgbm.metrics.scores import LOG_LOSS, ROC_AUC
from mtgbm.parameters import check_number
from mtgbm.task_subset import TaskTable, core_of, task_score

LOSES, GAINS, EVEN = "negative transfer", "gains", "even"


# Affinity ---------------------------------------------------------------------------------------


def task_affinity(forest: Any, outputs_of_task: list[list[int]]) -> np.ndarray:
    r"""How far the tasks of a forest want the same of its leaves.

    In leaf l output i holds a gradient :math:`G_{il}` and a hessian :math:`H_{il}`. Its Newton step
    is :math:`-G_{il} / H_{il}`, and :math:`d_{il} = G_{il} / \sqrt{H_{il}}` is that step in units
    in which half its square is the loss it takes away. The affinity of two tasks of one output each
    is the cosine of their steps over all leaves of all trees,

    .. math:: \frac{\sum_l d_{il} d_{jl}}{\sqrt{\sum_l d_{il}^2 \sum_l d_{jl}^2}}

    where only leaves count in which both have hessian: rows labelled for them. It is 1 for two
    tasks with the same labels, -1 for opposite ones, and near 0 for tasks that have nothing to do
    with each other.

    A multiclass task has a step for each class, which have no common sign with those of another
    task. With :math:`C_{ij} = \sum_l d_{il} d_{jl}^T`, a matrix of classes by classes, the affinity
    is then the square root of the RV coefficient,
    :math:`\|C_{ij}\| / \sqrt{\|C_{ii}\| \|C_{jj}\|}` with Frobenius norms: from 0 to 1, and the
    absolute value of the cosine if both have one output.

    Parameters
    ----------
    forest : Forest
    outputs_of_task : list of list of int
        The outputs of each task.

    Returns
    -------
    ndarray of float64 of shape (n_tasks, n_tasks)
        Symmetric, in [-1, 1], 1 on the diagonal; NaN for a task without gradients, such as one of a
        single class, and for two tasks that share no leaf.

    References
    ----------
    Robert & Escoufier, "A unifying tool for linear multivariate statistical methods: the
    RV-coefficient", Applied Statistics 25 (1976). Fifty et al., "Efficiently identifying task
    groupings for multi-task learning", NeurIPS 2021, measures affinity during training instead.

    Examples
    --------
    >>> import numpy as np
    >>> from mtgbm import MultiTaskLGBMClassifier
    >>> X = np.random.default_rng(0).normal(size=(500, 3))
    >>> Y = np.column_stack([X[:, 0] > 0, X[:, 0] <= 0]).astype(float)
    >>> MultiTaskLGBMClassifier(n_estimators=5).fit(X, Y).task_affinity_.round(3)
    array([[ 1., -1.],
           [-1.,  1.]])
    """
    steps = _newton_steps(forest)
    n_tasks = len(outputs_of_task)
    affinity = np.full((n_tasks, n_tasks), np.nan)
    for i, own in enumerate(outputs_of_task):
        for j, other in enumerate(outputs_of_task[: i + 1]):
            affinity[i, j] = affinity[j, i] = _cosine(steps[:, own], steps[:, other])
    return affinity


def _newton_steps(forest):
    """G / sqrt(H) of each leaf and output, NaN without hessian: (n_leaves, n_outputs)."""
    steps = [np.empty((0, forest.n_outputs))]
    for tree in forest.trees:
        is_leaf = tree.nodes["leaf"] >= 0
        hessians = tree.hessians[is_leaf]
        scale = np.sqrt(np.where(hessians > 0, hessians, np.nan))
        steps.append(tree.gradients[is_leaf] / scale)
    return np.concatenate(steps)


def _cosine(one, other):
    """The affinity of two tasks from their steps, (n_leaves, n_outputs) each."""
    shared = ~(np.isnan(one).any(axis=1) | np.isnan(other).any(axis=1))
    one, other = one[shared], other[shared]
    products = one.T @ other
    norm = math.sqrt(np.linalg.norm(one.T @ one) * np.linalg.norm(other.T @ other))
    if norm == 0:
        return np.nan
    size = products[0, 0] if products.size == 1 else np.linalg.norm(products)
    return np.clip(size / norm, -1.0, 1.0)


# Negative transfer ------------------------------------------------------------------------------


class NegativeTransferWarning(UserWarning):
    """Tasks that a model of their own would serve better."""


@dataclass(frozen=True)
class TransferRow:
    """One line of a :class:`TransferReport`; a score without a value is NaN.

    Differences are shared minus dedicated: a task gains where that of `auc` is above 0 and that of
    `log_loss` below.
    """

    task: str
    labelled_rows: int
    auc_shared: float
    auc_dedicated: float
    auc_difference: float
    log_loss_shared: float
    log_loss_dedicated: float
    log_loss_difference: float
    verdict: str


@dataclass(frozen=True)
class TransferReport:
    """Scores of each task in the shared and in its dedicated model; print it for a table.

    Attributes
    ----------
    rows : list of T TransferRow
    tolerance : float
    """

    rows: list[TransferRow]
    tolerance: float

    @property
    def harmed(self) -> list[str]:
        """Names of the tasks that lose more than the tolerance."""
        return [row.task for row in self.rows if row.verdict == LOSES]

    def to_frame(self) -> Any:
        """The rows as a pandas DataFrame indexed by task (needs pandas)."""
        import pandas as pd

        return pd.DataFrame([asdict(row) for row in self.rows]).set_index("task")

    def __str__(self) -> str:
        header = [field.name.replace("_", " ") for field in fields(TransferRow)]
        body = [[number_text(value) for value in astuple(row)] for row in self.rows]
        return aligned_table([header, *body])


def negative_transfer(
    estimator: Any,
    X: Any,
    Y: Any,
    X_val: Any,
    y_val: Any,
    *,
    sample_weight: Any = None,
    tolerance: float = 0.002,
) -> TransferReport:
    """Score each task in the shared model and in a model of its own.

    The dedicated model of a task has the same parameters (except those that say how tasks share
    trees) and learns from the rows labelled for that task. No model sees the validation rows: with
    `early_stopping_rounds` each holds out a part of its own training rows.

    Parameters
    ----------
    estimator : MultiTaskLGBMClassifier, or a Pipeline that ends in one
        Fitted on `X` and `Y`: it is the shared model. Not fitted: a clone of it is fitted.
    X : array-like, CSR matrix or DataFrame of shape (n_rows, n_features)
    Y : array-like or DataFrame of shape (n_rows, n_tasks)
    X_val, y_val : as `X` and `Y`
        Rows to score.
    sample_weight : array-like of shape (n_rows,), optional
        Weight of each training row.
    tolerance : float, default=0.002
        A task that loses more than this much AUC suffers negative transfer. Of a multiclass task,
        which has no AUC, the log loss is compared. Few validation rows cannot show so little: the
        standard error of an AUC of 0.7 with m positive rows is about ``0.2 / sqrt(m)`` (Hanley &
        McNeil, Radiology 143, 1982).

    Returns
    -------
    TransferReport
        Prints as a table; `rows`, `harmed` and `to_frame()` hold the numbers.

    Raises
    ------
    ValueError
        If there is one task only, the tables do not fit together, or the tasks of `Y` are not those
        of the fitted estimator.

    Warns
    -----
    NegativeTransferWarning
        Names the tasks that lose more than `tolerance`.

    Examples
    --------
    >>> import numpy as np
    >>> from mtgbm import MultiTaskLGBMClassifier
    >>> from mtgbm.diagnostics import negative_transfer
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1000, 3))
    >>> Y = (X[:, [0]] + rng.normal(size=(1000, 2)) > 0).astype(float)
    >>> model = MultiTaskLGBMClassifier(n_estimators=20, num_leaves=4)
    >>> report = negative_transfer(model, X[:600], Y[:600], X[600:], Y[600:], tolerance=0.05)
    >>> [row.verdict for row in report.rows]
    ['even', 'even']
    """
    check_number("tolerance", tolerance, Real, 0, None)
    table = TaskTable(X, Y, core_of(estimator).objective, sample_weight)
    held = table.numbers_of(y_val)
    check_consistent_length(X_val, held)
    shared = _shared_model(estimator, table)
    rows = []
    for task in range(len(table.tasks)):
        dedicated = table.fit(estimator, [task])
        probabilities = (
            table.probabilities(shared, X_val, task, position=task),
            table.probabilities(dedicated, X_val, task, position=0),
        )
        rows.append(_transfer_row(table, task, held[:, task], probabilities, tolerance))
    report = TransferReport(rows, tolerance)
    _warn_of_harmed(report)
    return report


def _shared_model(estimator, table):
    """The fitted estimator itself, or a clone fitted to all tasks."""
    core = core_of(estimator)
    if not hasattr(core, "forest_"):
        return table.fit(estimator, list(range(len(table.tasks))))
    if core._encoder.tasks_ != table.tasks:
        raise ValueError(
            f"Y has the tasks {table.names}, the fitted estimator {core.task_names_}; names, kinds "
            "and numbers of classes must be the same: give the Y that it was fitted to."
        )
    return estimator


def _transfer_row(table, task, numbers, probabilities, tolerance):
    """Compare the probabilities of the shared model with those of the dedicated one."""
    auc, own_auc = (task_score(ROC_AUC, table.tasks[task], p, numbers) for p in probabilities)
    loss, own_loss = (task_score(LOG_LOSS, table.tasks[task], p, numbers) for p in probabilities)
    gain = auc - own_auc if table.tasks[task].kind == "binary" else own_loss - loss
    return TransferRow(
        task=table.names[task],
        labelled_rows=int((table.numbers[:, task] != MISSING).sum()),
        auc_shared=auc,
        auc_dedicated=own_auc,
        auc_difference=auc - own_auc,
        log_loss_shared=loss,
        log_loss_dedicated=own_loss,
        log_loss_difference=loss - own_loss,
        verdict=_verdict(gain, tolerance),
    )


def _verdict(gain, tolerance):
    if math.isnan(gain):
        return "no score"
    return LOSES if gain < -tolerance else GAINS if gain > tolerance else EVEN


def _warn_of_harmed(report):
    if report.harmed:
        warnings.warn(
            f"{', '.join(report.harmed)}: a model of its own scores more than {report.tolerance:g} "
            "higher than the shared one. Try more leaves, another weighting, or leave the task "
            "out; mtgbm.task_selection finds the tasks that help.",
            NegativeTransferWarning,
            stacklevel=3,
        )
