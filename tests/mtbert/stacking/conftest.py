"""Targets without an estimator around them."""

import numpy as np
import pytest

from mtbert.targets import Targets


@pytest.fixture
def make_targets():
    return targets_of


def targets_of(y, classes=None):
    """The targets of some labels, and the labels as class numbers."""
    targets = Targets(classes)
    return targets, targets.fit_transform(y)


@pytest.fixture
def several_tasks():
    """Labels of three tasks, half of them missing in the second."""
    rng = np.random.default_rng(0)
    Y = rng.integers(0, 2, (90, 3)).astype(float)
    Y[::2, 1] = np.nan
    return Y
