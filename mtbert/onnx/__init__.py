"""A fitted classifier as one ONNX file, and a scorer that needs neither torch nor scikit-learn.

`MultimodalTextTabularClassifier.to_onnx` writes: `export.py` joins what `columns.py` makes of raw
columns to the network of `network.py`, which `int8.py` may round, and to what `description.py` says
of it. :class:`OnnxScorer` reads, with onnxruntime, tokenizers and numpy alone.
"""

from mtbert.onnx.scorer import OnnxScorer

__all__ = ["OnnxScorer"]
