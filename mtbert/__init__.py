"""Labels learned from text and tables together.

The estimator is :class:`MultimodalTextTabularClassifier`; the text steps of :mod:`mtbert.text` can
be used without it.
"""

from mtbert.estimator import MultimodalTextTabularClassifier

__all__ = ["MultimodalTextTabularClassifier"]
