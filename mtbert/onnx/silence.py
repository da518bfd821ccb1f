"""What exporters say about their own workings is kept from the user."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager


@contextmanager
def silenced(logger_name: str | None):
    """Let no warning pass, neither of Python nor of a logger; None means the root.

    Parameters
    ----------
    logger_name : str or None
    """
    logger = logging.getLogger(logger_name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
