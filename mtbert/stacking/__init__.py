"""Gradient-boosted trees beside the net, and what joins their scores.

`options.py` says what can be chosen, `folds.py` deals the rows, `nets.py` scores each by a net that
has not seen it; `terms.py`, `text_scores.py`, `text_topics.py` and `embedding.py` make features,
`trees.py` learns from them, `blend.py` weighs; `stack.py` does it in this order.
"""

from mtbert.stacking.options import StackingOptions
from mtbert.stacking.stack import Stack

__all__ = ["Stack", "StackingOptions"]
