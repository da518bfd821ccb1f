"""MissingValueImputer: SimpleImputer as oracle, DataFrames kept, fills in and out as a dict."""

import json
import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.utils.estimator_checks import parametrize_with_checks

from mtgbm.preprocessing import MissingValueImputer


@parametrize_with_checks(
    [
        MissingValueImputer(),
        MissingValueImputer("median", categorical_strategy="constant", add_indicator=True),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.fixture
def trips():
    return pd.DataFrame(
        {
            "carrier": ["UA", None, "AA", "UA", "AA", "UA"],
            "distance": [1.0, np.nan, 4.0, 4.0, np.nan, 7.0],
            "seats": [10, 20, 30, 40, 50, 60],
            "origin": pd.Categorical(["JFK", "LGA", None, "LGA", "JFK", "JFK"]),
        },
        index=[5, 3, 1, 9, 8, 2],
    )


@given(X=arrays(np.float64, (7, 3), elements=st.sampled_from([np.nan, -2.0, 0.0, 1.5, 9.0])))
@settings(max_examples=40, deadline=None)
def test_numbers_equal_simple_imputer(X):
    X[0] = [1.0, 2.0, 3.0]
    for strategy in ("mean", "median", "most_frequent", "constant"):
        ours = MissingValueImputer(strategy, fill_value=-7.0).fit_transform(X)
        oracle = SimpleImputer(strategy=strategy, fill_value=-7.0).fit_transform(X)
        assert_allclose(ours, oracle, rtol=1e-14, strict=True)


@given(cells=st.lists(st.sampled_from(["b", "a", "c", np.nan]), min_size=2, max_size=12))
@settings(max_examples=40, deadline=None)
def test_categories_equal_simple_imputer(cells):
    X = np.array(["c", *cells], dtype=object).reshape(-1, 1)
    oracle = SimpleImputer(strategy="most_frequent").fit_transform(X)
    assert_array_equal(MissingValueImputer().fit_transform(X), oracle, strict=True)


def test_mixed_frame_by_hand(trips):
    imputer = MissingValueImputer().fit(trips)
    assert imputer.impute_dict_ == {
        "carrier": "UA",
        "distance": 4.0,
        "seats": 35.0,
        "origin": "JFK",
    }
    filled = imputer.transform(trips)
    expected = trips.copy()
    expected.loc[3, ["carrier", "distance"]] = ["UA", 4.0]
    expected.loc[8, "distance"] = 4.0
    expected.loc[1, "origin"] = "JFK"
    pd.testing.assert_frame_equal(filled, expected)


def test_the_input_is_left_alone(trips):
    before = trips.copy()
    MissingValueImputer(categorical_strategy="constant").fit(trips).transform(trips)
    pd.testing.assert_frame_equal(trips, before)


def test_unknown_for_categories(trips):
    filled = MissingValueImputer(categorical_strategy="constant").fit_transform(trips)
    assert filled.loc[3, "carrier"] == "Unknown"
    assert filled.loc[1, "origin"] == "Unknown"
    assert filled["origin"].dtype == pd.CategoricalDtype(["JFK", "LGA", "Unknown"])


def test_a_column_without_values_is_kept_and_said():
    X = pd.DataFrame({"n": [np.nan, np.nan], "full": [1.0, 2.0], "s": [None, None]})
    X["s"] = X["s"].astype(object)
    with pytest.warns(UserWarning, match=r"\['n', 's'\] have no value at all"):
        imputer = MissingValueImputer().fit(X)
    assert imputer.impute_dict_ == {"n": 0.0, "full": 1.5, "s": "Unknown"}
    expected = pd.DataFrame({"n": [0.0, 0.0], "full": [1.0, 2.0], "s": ["Unknown"] * 2})
    pd.testing.assert_frame_equal(imputer.transform(X), expected, check_dtype=False)


def test_complete_columns_are_silent(trips):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MissingValueImputer().fit_transform(trips)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float_arrays_keep_their_dtype(dtype):
    X = np.array([[1, np.nan], [2, 3]], dtype=dtype)
    assert_array_equal(
        MissingValueImputer().fit_transform(X), np.array([[1, 3], [2, 3]], dtype), strict=True
    )


def test_object_arrays():
    X = np.array([[1, "a"], [None, pd.NA], [3, "b"], [2, "b"]], dtype=object)
    expected = np.array([[1.0, "a"], [2.0, "b"], [3.0, "b"], [2.0, "b"]], dtype=object)
    assert_array_equal(MissingValueImputer().fit_transform(X), expected, strict=True)
    numbers = MissingValueImputer().fit_transform(X[:, :1])
    assert_array_equal(numbers, [[1.0], [2.0], [3.0], [2.0]], strict=True)


def test_text_arrays_are_not_cut_short():
    imputer = MissingValueImputer.from_dict({"x0": "a long fill"})
    filled = imputer.transform(np.array([["a"], [None]], dtype=object))
    assert filled.tolist() == [["a"], ["a long fill"]]
    assert imputer.transform(np.array([["a"]])).tolist() == [["a"]]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.array([1, None, 4], dtype="Int64"), [1.0, 2.5, 4.0]),
        (pd.array([True, None, False], dtype="boolean"), [1.0, 0.5, 0.0]),
        (pd.Series([1, None, 4], dtype=object), [1.0, 2.5, 4.0]),
        (pd.array(["u", None, "u"], dtype="string"), ["u", "u", "u"]),
        (pd.Series(["u", np.nan, 7], dtype=object), ["u", 7, 7]),
        (pd.Categorical([3, None, 3]), [3, 3, 3]),
    ],
)
def test_pandas_dtypes(column, expected):
    filled = MissingValueImputer().fit_transform(pd.DataFrame({"a": column}))["a"]
    assert filled.tolist() == expected


def test_a_batch_may_lack_every_value_of_a_column(trips):
    imputer = MissingValueImputer().fit(trips)
    row = pd.DataFrame([{"carrier": np.nan, "distance": None, "seats": None, "origin": None}])
    filled = imputer.transform(row)
    assert filled.iloc[0].to_dict() == imputer.impute_dict_
    assert filled["distance"].dtype == filled["seats"].dtype == np.float64


def test_polars_frames(trips):
    X = pl.DataFrame(
        {
            "carrier": ["UA", None, "AA", "UA", "AA", "UA"],
            "distance": [1.0, None, 4.0, 4.0, float("nan"), 7.0],
            "seats": [10, None, 30, 40, 50, 60],
            "origin": pl.Series(["JFK", "LGA", None, "LGA", "JFK", "JFK"], dtype=pl.Categorical),
        }
    )
    imputer = MissingValueImputer().fit(X)
    assert imputer.impute_dict_ == {
        "carrier": "UA",
        "distance": 4.0,
        "seats": 38.0,
        "origin": "JFK",
    }
    filled = imputer.transform(X)
    assert filled.to_dict(as_series=False) == {
        "carrier": ["UA", "UA", "AA", "UA", "AA", "UA"],
        "distance": [1.0, 4.0, 4.0, 4.0, 4.0, 7.0],
        "seats": [10.0, 38.0, 30.0, 40.0, 50.0, 60.0],
        "origin": ["JFK", "LGA", "JFK", "LGA", "JFK", "JFK"],
    }


def test_indicator(trips):
    imputer = MissingValueImputer(add_indicator=True).fit(trips)
    filled = imputer.transform(trips)
    names = [*trips.columns, *(f"missingindicator_{name}" for name in trips.columns)]
    assert filled.columns.tolist() == imputer.get_feature_names_out().tolist() == names
    assert_array_equal(filled.iloc[:, 4:].to_numpy(), trips.isna().to_numpy().astype(float))
    X = np.array([[1.0, np.nan], [2.0, 3.0]])
    oracle = SimpleImputer(add_indicator=True).fit_transform(X)
    ours = MissingValueImputer(add_indicator=True).fit_transform(X)
    assert_array_equal(ours[:, [0, 1, 3]], oracle)  # scikit-learn leaves out complete columns
    assert_array_equal(ours[:, 2], [0.0, 0.0])


def test_files(tmp_path, trips):
    imputer = MissingValueImputer().fit(trips)
    imputer.to_files(tmp_path)
    content = json.loads((tmp_path / "impute_dict.json").read_text(encoding="utf-8"))
    assert content == imputer.impute_dict_ == imputer.to_dict()
    assert pickle.loads((tmp_path / "impute_dict.pkl").read_bytes()) == content
    loaded = MissingValueImputer.from_files(tmp_path, add_indicator=True)
    pd.testing.assert_frame_equal(
        loaded.transform(trips), imputer.set_params(add_indicator=True).transform(trips)
    )
    with pytest.raises(ValueError, match="feature names should match"):
        loaded.transform(trips[["distance", "carrier", "seats", "origin"]])


def test_from_dict_without_names_takes_arrays():
    imputer = MissingValueImputer.from_dict({"x0": 1.0, "x1": 2.0})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        filled = imputer.transform(np.array([[np.nan, 5.0]]))
    assert_array_equal(filled, [[1.0, 5.0]])


@pytest.mark.parametrize(
    "impute_dict", [{}, {"a": None}, {"a": np.nan}, {"a": [1.0]}, {0: 1.0}, ["a"], None]
)
def test_from_dict_says_what_is_wrong(impute_dict):
    with pytest.raises(ValueError, match=r"impute_dict (must|names)|fill of 'a'"):
        MissingValueImputer.from_dict(impute_dict)


def test_in_a_column_transformer(trips):
    split = ColumnTransformer([("fill", MissingValueImputer(), ["distance", "seats"])])
    assert_array_equal(split.fit_transform(trips)[:, 0], [1, 4, 4, 4, 4, 7])
    assert split.get_feature_names_out().tolist() == ["fill__distance", "fill__seats"]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"strategy": "mode"}, "strategy must be one of"),
        ({"categorical_strategy": "mean"}, "categorical_strategy must be one of"),
        ({"fill_value": np.nan}, "fill_value"),
        ({"categorical_fill_value": 0}, "categorical_fill_value"),
    ],
)
def test_bad_parameters(trips, params, message):
    with pytest.raises(ValueError, match=message):
        MissingValueImputer(**params).fit(trips)


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (pd.DataFrame({"d": pd.to_datetime(["2024-01-01"])}), TypeError, "'d'.*datetime64"),
        (pd.DataFrame({"d": [{"a": 1}]}), TypeError, "unhashable"),
        (pd.DataFrame({"d": [np.inf]}), ValueError, "infinity"),
        (pd.DataFrame([["a", 1]], columns=["d", "d"]), ValueError, "share a name"),
    ],
)
def test_bad_tables(X, error, message):
    with pytest.raises(error, match=message):
        MissingValueImputer().fit(X)
