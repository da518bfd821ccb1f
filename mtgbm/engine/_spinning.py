"""How long OpenMP's threads spin while they wait for each other.

GNU's OpenMP lets a waiting thread spin for milliseconds before it sleeps. Growing a tree meets
thousands of barriers, and where another process holds a core (a second fit, a busy notebook
server) each of them then costs a time slice: a fit of a second has taken a minute. Twenty thousand
turns, a fraction of a millisecond, bridge the gaps between kernels on an idle machine, which is a
fifth of the time of small fits, and cost little on a busy one.

The library reads its settings once, when it is loaded, so they are in the environment only while
the first kernel is imported. They have no effect if another package has loaded it before, nor
where the user has chosen.
"""

import importlib
import os

SPIN_COUNT = "20000"
USER_SETTINGS = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def load_openmp():
    """Load the OpenMP library with short spinning, unless the user set it otherwise."""
    if any(name in os.environ for name in USER_SETTINGS):
        importlib.import_module("mtgbm.engine._openmp")
        return
    os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT
    try:
        importlib.import_module("mtgbm.engine._openmp")
    finally:
        del os.environ["GOMP_SPINCOUNT"]
