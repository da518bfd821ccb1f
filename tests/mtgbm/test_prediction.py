"""Predictions of one row and of many: the short way round the checks changes nothing."""

import copy

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from mtgbm import MultiTaskLGBMClassifier, features
from mtgbm.engine import threads

N_FEATURES = 4


def make_table(n_rows=400):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, N_FEATURES)).astype(np.float32)
    X[rng.random(X.shape) < 0.05] = np.nan
    Y = (np.nan_to_num(X[:, :3]) + rng.normal(size=(n_rows, 3)) > 0).astype(float)
    return X, Y


def make_model(X, Y, **options):
    return MultiTaskLGBMClassifier(n_estimators=5, num_leaves=6, **options).fit(X, Y)


@pytest.fixture(scope="module")
def model():
    return make_model(*make_table())


@pytest.fixture(scope="module")
def multiclass():
    X, Y = make_table()
    Y[:, 1] = np.digitize(np.nan_to_num(X[:, 1]), [-0.5, 0.5])
    return make_model(X, Y, objective=["binary", "multiclass", "binary"])


@pytest.fixture
def checks(monkeypatch):
    """What scikit-learn's checks were asked about."""
    seen = []
    original = features.validate_data

    def spy(estimator, X, **options):
        seen.append(X)
        return original(estimator, X, **options)

    monkeypatch.setattr(features, "validate_data", spy)
    return seen


METHODS = ["raw_predict", "predict_proba", "predict"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_rows", [1, 30, 400])
def test_plain_arrays_take_the_short_way_to_the_same_result(
    model, checks, n_rows, dtype, method, monkeypatch
):
    X = make_table()[0][:n_rows].astype(dtype)
    short = getattr(model, method)(X)
    assert checks == []
    monkeypatch.setattr(features, "_passes_unchanged", lambda estimator, X: False)
    np.testing.assert_array_equal(getattr(model, method)(X), short)
    assert len(checks) == 1


class Subclass(np.ndarray):
    pass


@pytest.mark.parametrize(
    "convert",
    [
        lambda X: X.tolist(),
        np.asfortranarray,
        lambda X: X.view(Subclass),
        lambda X: X.astype(">f4"),
        lambda X: X.astype(np.float16),
        lambda X: X.astype(object),
        lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    ],
)
def test_everything_else_is_checked(model, checks, convert):
    X = make_table()[0][:5].astype(np.float16).astype(np.float32)
    expected = model.predict_proba(X)
    assert checks == []
    np.testing.assert_array_equal(model.predict_proba(convert(X)), expected)
    assert len(checks) == 1


def too_wide(X):
    return np.hstack([X, X])


def infinite(X):
    return np.full_like(X, -np.inf)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (infinite, "Input X contains infinity or a value too large for dtype..float32"),
        (too_wide, "X has 8 features, but MultiTaskLGBMClassifier is expecting 4 features"),
        (np.ravel, "Expected 2D array, got 1D array instead"),
        (lambda X: X[:0], "Found array with 0 sample"),
        (lambda X: X[None], "Found array with dim 3"),
        (lambda X: X + 1j, "Complex data not supported"),
    ],
)
@pytest.mark.parametrize("n_rows", [1, 300])
def test_errors_are_those_of_scikit_learn(model, n_rows, spoil, message):
    with pytest.raises(ValueError, match=message):
        model.predict_proba(spoil(make_table()[0][:n_rows]))


def test_missing_names_are_warned_of(checks):
    X, Y = make_table()
    model = make_model(pd.DataFrame(X, columns=list("abcd")), Y)
    checks.clear()
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        model.predict_proba(X[:1])
    assert len(checks) == 1


def test_an_estimator_that_was_not_fitted_says_so():
    with pytest.raises(NotFittedError):
        MultiTaskLGBMClassifier().predict_proba(np.zeros((1, N_FEATURES)))


def test_a_second_fit_on_other_features_is_what_counts():
    X, Y = make_table()
    model = make_model(X, Y)
    model.predict_proba(X[:1])
    model.fit(X[:, :2], Y)
    assert model.predict_proba(X[:1, :2].copy()).shape == (1, 3)
    with pytest.raises(ValueError, match="X has 4 features"):
        model.predict_proba(X[:1])


# Threads ------------------------------------------------------------------------------------


def test_cores_are_not_counted_for_one_row(model, monkeypatch):
    def fail(n_jobs):
        raise AssertionError

    monkeypatch.setattr(threads, "effective_n_threads", fail)
    assert model.predict_proba(make_table()[0][:1]).shape == (1, 3)


def test_zero_jobs_are_refused_for_one_row_too():
    X, Y = make_table()
    model = make_model(X, Y).set_params(n_jobs=0)
    with pytest.raises(ValueError, match="n_jobs must not be 0"):
        model.predict_proba(X[:1])


@pytest.mark.parametrize("n_jobs", [2, 3])
@pytest.mark.parametrize("name", ["model", "multiclass"])
def test_threads_change_no_bit(request, monkeypatch, name, n_jobs):
    """Parts of the link, of unequal length, are put together in their order."""
    monkeypatch.setattr("mtgbm.estimators.LINK_ROWS", 1000)
    model = copy.copy(request.getfixturevalue(name))
    X = make_table(20_500)[0]
    one, many = (model.set_params(n_jobs=n).predict_proba(X) for n in (1, n_jobs))
    assert type(one) is type(many)
    for expected, probabilities in zip(one, many, strict=True):
        np.testing.assert_array_equal(probabilities, expected)


@pytest.mark.parametrize("name", ["model", "multiclass"])
def test_rows_one_by_one_and_together(request, name):
    model = request.getfixturevalue(name)
    X = make_table(100)[0]
    together = model.raw_predict(X)
    alone = np.vstack([model.raw_predict(X[[i]]) for i in range(len(X))])
    np.testing.assert_array_equal(alone, together)
