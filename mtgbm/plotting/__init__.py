"""Figures of several tasks at once, as scikit-learn's Display objects draw one (needs matplotlib).

Each class computes its numbers in `from_estimator` or `from_predictions`, keeps them, and draws
them with `plot`.
"""

from mtgbm.plotting.curves import (
    MultiTaskPrecisionRecallDisplay,
    MultiTaskRocDisplay,
    TaskCurve,
)
from mtgbm.plotting.importance import TaskImportanceDisplay
from mtgbm.plotting.training import TrainingCurvesDisplay

__all__ = [
    "MultiTaskPrecisionRecallDisplay",
    "MultiTaskRocDisplay",
    "TaskCurve",
    "TaskImportanceDisplay",
    "TrainingCurvesDisplay",
]
