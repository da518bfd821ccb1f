"""Weighting: how much each task has to say about the structure of the next tree.

A weighting is a scikit-learn style object: its parameters can be searched as
``weighting__main_weight``. Leaves do not depend on it. `Weighting` is the protocol.
"""

from mtgbm.weighting.adaptive import AdaptiveWeighting, InverseDistanceWeighting
from mtgbm.weighting.affinity import AffinityWeighting
from mtgbm.weighting.base import Distillation, Weighting
from mtgbm.weighting.distillation import MainTaskDistillation, SelfDistillation
from mtgbm.weighting.fixed import FixedWeighting
from mtgbm.weighting.focus import FocusWeighting
from mtgbm.weighting.teacher import TeacherDistillation
from mtgbm.weighting.uncertainty import UncertaintyWeighting

#: What the estimator's `weighting` accepts as a name; names of one class are aliases, except that
#: "adaptive_kd" and "auto_weight_KD" also let tasks learn from themselves: `SelfDistillation`.
NAMED_WEIGHTINGS = {
    "auto": FixedWeighting,
    "fixed": FixedWeighting,
    "adaptive": AdaptiveWeighting,
    "auto_weight": AdaptiveWeighting,
    "adaptive_kd": AdaptiveWeighting,
    "auto_weight_KD": AdaptiveWeighting,
    "inverse_distance": InverseDistanceWeighting,
    "affinity": AffinityWeighting,
    "uncertainty": UncertaintyWeighting,
    "focus": FocusWeighting,
}
#: What the estimator's `distillation` accepts as a name.
NAMED_DISTILLATIONS = {"self": SelfDistillation, "main_task": MainTaskDistillation}

__all__ = [
    "NAMED_DISTILLATIONS",
    "NAMED_WEIGHTINGS",
    "AdaptiveWeighting",
    "AffinityWeighting",
    "Distillation",
    "FixedWeighting",
    "FocusWeighting",
    "InverseDistanceWeighting",
    "MainTaskDistillation",
    "SelfDistillation",
    "TeacherDistillation",
    "UncertaintyWeighting",
    "Weighting",
]
