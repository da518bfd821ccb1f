"""Figures of explanations (needs matplotlib)."""

from mtbert.plotting.ablation import plot_modality_ablation
from mtbert.plotting.attribution import plot_attribution

__all__ = ["plot_attribution", "plot_modality_ablation"]
