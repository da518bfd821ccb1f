"""The models that several formats are compared on, fitted once, and rows to score."""

import pytest

from benchmarks.formats import make_models, make_other_rows


@pytest.fixture(scope="session")
def format_models():
    """Fitted models by name: 1, 3 and 10 tasks, a multiclass one, own best rounds."""
    return make_models()


@pytest.fixture(scope="session")
def other_rows():
    """10,000 rows, some with categories that were not seen."""
    return make_other_rows()
