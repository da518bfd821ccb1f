"""Multi-task gradient boosting with shared trees.

Several related labels of the same rows are learned by one model: all tasks share the structure of
each tree, and every leaf holds one value per task.
"""

from mtgbm.estimators import MultiTaskLGBMClassifier
from mtgbm.io.native import load_model
from mtgbm.model_state import installed_version
from mtgbm.preprocessing import MissingValueImputer, RiskTableEncoder

__version__ = installed_version()

__all__ = ["MissingValueImputer", "MultiTaskLGBMClassifier", "RiskTableEncoder", "load_model"]
