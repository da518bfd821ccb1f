"""Real tables with several related labels per row, as the loaders of scikit-learn return them."""

from mtgbm.datasets._flights import load_flights
from mtgbm.datasets._movies import load_movies

__all__ = ["load_flights", "load_movies"]
