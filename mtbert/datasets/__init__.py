"""Real tables with text, as the loaders of scikit-learn return them."""

from mtbert.datasets._reviews import load_reviews

__all__ = ["load_reviews"]
