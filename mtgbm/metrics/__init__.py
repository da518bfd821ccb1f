"""Scores of several binary tasks whose labels may be missing.

Every metric is computed task by task, on the rows labelled for that task. A task for which a
metric has no value is NaN and is named in a :class:`SingleClassWarning`; averages run over the
other tasks.
"""

from mtgbm.metrics.per_task import SingleClassWarning, TaskMetric
from mtgbm.metrics.report import TaskReport, TaskRow, task_report
from mtgbm.metrics.scorers import (
    TaskScorer,
    make_task_scorer,
    masked_average_precision_scorer,
    masked_log_loss_scorer,
    masked_roc_auc_scorer,
)
from mtgbm.metrics.scores import average_precision, calibration_error, f1, log_loss, roc_auc

__all__ = [
    "SingleClassWarning",
    "TaskMetric",
    "TaskReport",
    "TaskRow",
    "TaskScorer",
    "average_precision",
    "calibration_error",
    "f1",
    "log_loss",
    "make_task_scorer",
    "masked_average_precision_scorer",
    "masked_log_loss_scorer",
    "masked_roc_auc_scorer",
    "roc_auc",
    "task_report",
]
