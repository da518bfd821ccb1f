"""The pickled form of an estimator: stamped when written, checked when read.

Raise `FORMAT` by one when fitted attributes change so that an older mtgbm would misread them, and
teach `check` to read the older form; pickles of every format stay in the tests.
"""

from importlib.metadata import PackageNotFoundError, version

FORMAT = 1
#: What a fitted estimator predicts with: all of it or none.
PARTS = ("forest_", "_mapper", "_reader", "_encoder", "_objective", "classes_")


def stamp(state):
    """Return the state with the format and the version that wrote it."""
    return {**state, "_mtgbm_format": FORMAT, "_mtgbm_version": installed_version()}


def check(state, name):
    """Return the state without its stamp.

    Raises
    ------
    ValueError
        If it is not the state of an mtgbm estimator, was written by a newer one, a part of it is
        missing, or its forest does not hold together.
    """
    if not isinstance(state, dict) or "_mtgbm_format" not in state:
        raise ValueError(f"this is not the saved state of a {name}: it has no format stamp.")
    state = dict(state)
    written, by = state.pop("_mtgbm_format"), state.pop("_mtgbm_version", "unknown")
    if not isinstance(written, int) or written > FORMAT:
        raise ValueError(
            f"this {name} was saved by mtgbm {by} in format {written}; mtgbm {installed_version()} "
            f"reads formats up to {FORMAT}. Upgrade mtgbm to load it."
        )
    missing = [part for part in PARTS if part not in state]
    if missing and len(missing) < len(PARTS):
        raise ValueError(f"the saved model is corrupt: it has no {', '.join(missing)}.")
    if not missing:
        state["forest_"].check()
    return state


def installed_version():
    """Version of the installed distribution, "unknown" in a bare checkout."""
    try:
        return version("mtgbm")
    except PackageNotFoundError:
        return "unknown"
