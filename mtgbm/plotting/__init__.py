"""Figures of several tasks at once, as scikit-learn's Display objects draw one (needs matplotlib).

Each class computes its numbers in `from_estimator` or `from_predictions`, keeps them, and draws
them with `plot`.
"""

from mtgbm.plotting.affinity import TaskAffinityDisplay
from mtgbm.plotting.calibration import MultiTaskCalibrationDisplay, TaskCalibration
from mtgbm.plotting.curves import (
    MultiTaskPrecisionRecallDisplay,
    MultiTaskRocDisplay,
    TaskCurve,
)
from mtgbm.plotting.importance import TaskImportanceDisplay
from mtgbm.plotting.training import TrainingCurvesDisplay
from mtgbm.plotting.tree_nodes import TreeNode
from mtgbm.plotting.trees import TreeDisplay
from mtgbm.plotting.weights import WeightEvolutionDisplay

__all__ = [
    "MultiTaskCalibrationDisplay",
    "MultiTaskPrecisionRecallDisplay",
    "MultiTaskRocDisplay",
    "TaskAffinityDisplay",
    "TaskCalibration",
    "TaskCurve",
    "TaskImportanceDisplay",
    "TrainingCurvesDisplay",
    "TreeDisplay",
    "TreeNode",
    "WeightEvolutionDisplay",
]
