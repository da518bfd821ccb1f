"""Weighting: how much each task has to say about the structure of the next tree.

A weighting is a scikit-learn style object (its parameters can be searched as
``weighting__main_weight``) with one method, ``weights(round)``, which returns one weight per task.
It sees a `mtgbm.engine.boosting.Round`. Leaves do not depend on it.
"""

from mtgbm.weighting.fixed import FixedWeighting

#: What the estimator's `weighting` accepts as a name.
NAMED_WEIGHTINGS = {"fixed": FixedWeighting}

__all__ = ["NAMED_WEIGHTINGS", "FixedWeighting"]
