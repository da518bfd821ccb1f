"""Files of fitted models."""

from mtbert.io.folder import load_model, save_model

__all__ = ["load_model", "save_model"]
