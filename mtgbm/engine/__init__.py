"""The engine: arrays in, forest out. It knows neither scikit-learn nor pandas.

In the order in which data flows: `binning`, `grower` (one tree), `boosting` (the rounds), `tree`
(what comes out).
"""

from mtgbm.engine import _spinning

_spinning.load_openmp()
