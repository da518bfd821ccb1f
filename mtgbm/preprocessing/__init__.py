"""Transformers that turn raw columns into numbers: risk tables and the imputer."""

from mtgbm.preprocessing._imputer import MissingValueImputer
from mtgbm.preprocessing._risk_table import RiskTableEncoder

__all__ = ["MissingValueImputer", "RiskTableEncoder"]
