"""Numbers and codes beside the text."""

import json

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.preprocessing import StandardScaler

from mtbert.columns import ColumnRoles
from mtbert.tabular import TabularEncoder

ROLES = ColumnRoles((), ("price", "age"), ("shop", "size"))


def table(n=60, seed=0):
    rng = np.random.default_rng(seed)
    price = rng.lognormal(size=n)
    price[::5] = np.nan
    return pd.DataFrame(
        {
            "price": price,
            "age": rng.integers(20, 60, n),
            "shop": rng.choice(["a", "b", None], n),
            "size": pd.Categorical(rng.choice(["S", "M", "L"], n)),
        }
    )


def labels(n=60):
    y = (np.arange(n) % 2).astype(float)
    return np.column_stack([y, np.where(np.arange(n) % 3, 1 - y, np.nan)])


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_layout_of_the_numbers(in_library, library):
    X = in_library[library](table())
    encoder = TabularEncoder("standard")
    numeric, codes = encoder.fit_transform(X, ROLES, labels())
    assert numeric.dtype == np.float32
    assert numeric.shape == (60, 2 + 1 + 4)  # two scaled, one indicator, two risks of two columns
    filled = table()[["price", "age"]].fillna(table()["price"].mean())
    assert_allclose(numeric[:, :2], StandardScaler().fit_transform(filled), atol=1e-6)
    assert_array_equal(numeric[:, 2], table()["price"].isna())
    assert codes.dtype == np.int64
    assert encoder.cardinalities_ == [3, 4]
    expected = table()["shop"].map({"a": 1, "b": 2}).fillna(0)
    assert_array_equal(codes[:, 0], expected)


@pytest.mark.parametrize(
    ("category_encoding", "n_numeric", "cardinalities"),
    [("risk", 5, []), ("embedding", 3, [3, 4]), ("both", 5, [3, 4])],
)
def test_ways_to_encode_categories(category_encoding, n_numeric, cardinalities):
    encoder = TabularEncoder(category_encoding=category_encoding)
    numeric, codes = encoder.fit_transform(table(), ROLES, labels()[:, :1])
    assert encoder.n_numeric_ == numeric.shape[1] == n_numeric
    assert encoder.cardinalities_ == cardinalities
    assert codes.shape == (60, len(cardinalities))


def test_risks_of_training_rows_do_not_hold_their_own_label():
    """A category of its own for each row tells nothing; its full table would tell the label."""
    n = 200
    X = pd.DataFrame({"id": [f"row {i}" for i in range(n)]})
    y = np.random.default_rng(0).integers(0, 2, (n, 1)).astype(float)
    encoder = TabularEncoder(category_encoding="risk")
    learned, _ = encoder.fit_transform(X, ColumnRoles((), (), ("id",)), y)
    full, _ = encoder.transform(X)
    assert abs(np.corrcoef(full[:, 0], y[:, 0])[0, 1]) > 0.99
    assert abs(np.corrcoef(learned[:, 0], y[:, 0])[0, 1]) < 0.5
    again, _ = encoder.transform_training(X, y)
    assert_array_equal(again, learned)


def test_unseen_rare_and_missing_categories_share_the_code_0():
    X = pd.DataFrame({"shop": ["a", "a", "b", "b", "rare", None]})
    encoder = TabularEncoder(category_encoding="embedding")
    _, codes = encoder.fit_transform(X, ColumnRoles((), (), ("shop",)), labels(6))
    assert codes[:, 0].tolist() == [1, 1, 2, 2, 0, 0]
    assert encoder.transform(pd.DataFrame({"shop": ["new", "b"]}))[1][:, 0].tolist() == [0, 2]


def test_outliers_do_not_stretch_quantiles():
    X = table(200).assign(price=np.r_[np.arange(199.0), 1e9])
    numeric, _ = TabularEncoder("quantile").fit_transform(X, ROLES, labels(200))
    assert 0.5 < numeric[:198, 0].std() < 1.5


def test_no_columns_at_all():
    encoder = TabularEncoder()
    numeric, codes = encoder.fit_transform(table(), ColumnRoles((), (), ()), labels())
    assert numeric.shape == (60, 0)
    assert codes.shape == (60, 0)


@pytest.mark.parametrize("scaling", ["quantile", "standard"])
def test_state_survives_json(scaling):
    encoder = TabularEncoder(scaling)
    encoder.fit_transform(table(), ROLES, labels())
    restored = TabularEncoder.from_state(json.loads(json.dumps(encoder.to_state())))
    others = table(seed=1)
    for found, expected in zip(restored.transform(others), encoder.transform(others), strict=True):
        assert_array_equal(found, expected)
    assert restored.cardinalities_ == encoder.cardinalities_


def test_numbers_that_are_text_are_refused_by_name():
    X = table().assign(price="dear")
    with pytest.raises(ValueError, match=r"'price'.* must hold numbers, but it holds text"):
        TabularEncoder().fit_transform(X, ROLES, labels())


def test_infinity_is_refused():
    X = table().assign(price=np.inf)
    with pytest.raises(ValueError, match="infinity"):
        TabularEncoder().fit_transform(X, ROLES, labels())
