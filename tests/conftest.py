"""What all tests share: the switch that scikit-learn's array API checks need, and labelled data."""

import os

# scipy reads this once, when it is first imported; without it scikit-learn skips those checks.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

import numpy as np
import pytest

from mtgbm import MultiTaskLGBMClassifier


def pytest_runtest_setup(item):
    """Seed what `random_state=None` draws from, before fixtures: a test is the same each time."""
    np.random.seed(0)  # noqa: NPY002 - the global generator is what None means


@pytest.fixture(scope="session")
def make_data():
    """Builds X (n, 5) and Y (n, T) of related tasks; a share of the labels may be missing."""

    def build(n_rows=300, n_tasks=3, missing=0.0, seed=0):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(n_rows, 5))
        own = X[:, np.arange(n_tasks) % 5] + 0.5 * rng.normal(size=(n_rows, n_tasks))
        Y = (X[:, [0]] + own > 0.3).astype(float)
        Y[rng.random(Y.shape) < missing] = np.nan
        return X, Y

    return build


@pytest.fixture(scope="session")
def make_model():
    """Builds a small classifier that learns fast, by trees of all tasks; parameters as keywords."""

    def build(**params):
        small = {"n_estimators": 8, "num_leaves": 6, "min_child_samples": 5, "n_jobs": 1}
        fast = {"random_state": 0, "reg_lambda": 0.0, "sketch_outputs": None}
        return MultiTaskLGBMClassifier(**(fast | small | params))

    return build
