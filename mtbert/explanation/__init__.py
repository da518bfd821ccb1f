"""Why a model of text and tables says what it says.

:func:`explain` shares the score of a row among its words and columns, :func:`modality_ablation`
measures what the model owes to each text column, to the numbers and to the categories. The
estimator has both as methods; :mod:`mtbert.plotting` draws them.
"""

from mtbert.explanation.ablation import ModalityAblation, modality_ablation
from mtbert.explanation.attribution import (
    Attribution,
    AttributionWarning,
    TextAttribution,
    explain,
)

__all__ = [
    "Attribution",
    "AttributionWarning",
    "ModalityAblation",
    "TextAttribution",
    "explain",
    "modality_ablation",
]
