"""Labels learned from text and tables together.

The estimator is :class:`MultimodalTextTabularClassifier`; the text steps of :mod:`mtbert.text` can
be used without it. :class:`OnnxScorer` runs what `to_onnx` wrote.
"""

from typing import TYPE_CHECKING

from mtbert.lazy_names import import_on_demand

if TYPE_CHECKING:
    from mtbert.estimator import MultimodalTextTabularClassifier
    from mtbert.onnx.scorer import OnnxScorer

__all__ = ["MultimodalTextTabularClassifier", "OnnxScorer"]

__getattr__ = import_on_demand(
    __name__, {"MultimodalTextTabularClassifier": "estimator", "OnnxScorer": "onnx.scorer"}
)
