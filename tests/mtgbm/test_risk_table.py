"""RiskTableEncoder: the formula by hand, scikit-learn and a naive twin as oracles, no leakage."""

import json
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import TargetEncoder
from sklearn.utils.estimator_checks import parametrize_with_checks

from mtgbm.preprocessing import RiskTableEncoder


@parametrize_with_checks(
    [
        RiskTableEncoder(),
        RiskTableEncoder(tasks=0, smooth_factor=0.0),
        RiskTableEncoder(columns=[0], count_threshold=1),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.fixture
def flights():
    """Mixed columns, missing cells, and two tasks with missing labels."""
    rng = np.random.default_rng(0)
    n = 400
    X = pd.DataFrame(
        {
            "carrier": rng.choice(["AA", "UA", "DL", None], n, p=[0.5, 0.3, 0.15, 0.05]),
            "distance": rng.normal(size=n),
            "origin": pd.Categorical(rng.choice(["JFK", "LGA", "EWR"], n)),
        },
        index=np.arange(n) * 3 + 7,
    )
    Y = pd.DataFrame({"delay": rng.integers(0, 2, n), "cancel": rng.integers(0, 2, n)}, X.index)
    Y = Y.astype(float).mask(rng.random((n, 2)) < 0.2)
    return X, Y


def naive_risk(column, labels, smooth_factor, count_threshold):
    """Return a function from a category to its risk, row by row from the definition."""
    rows = [(c, label) for c, label in zip(column, labels, strict=True) if label == label]
    prior = sum(label for _, label in rows) / len(rows)
    strength = int(len(rows) * smooth_factor)

    def risk(category):
        own = [label for c, label in rows if c == category]
        if category is None or len(own) <= count_threshold:
            return prior
        return (sum(own) + strength * prior) / (len(own) + strength)

    return risk


def test_formula_by_hand():
    X = np.array([["a"], ["a"], ["a"], ["b"], ["b"], ["c"], [None], ["a"]], dtype=object)
    y = [1, 1, 0, 0, 0, 1, 1, np.nan]
    encoder = RiskTableEncoder(smooth_factor=0.3, count_threshold=1).fit(X, y)
    # 7 labelled rows, 4 of them positive: prior 4/7 and S = int(2.1) = 2.
    prior = 4 / 7
    assert encoder.prior_ == {"task0": prior}
    expected = {"a": (2 + 2 * prior) / 5, "b": (0 + 2 * prior) / 4, "c": prior}
    assert encoder.risk_tables_["x0"]["task0"] == pytest.approx(expected, rel=1e-15)
    unknown_and_missing = np.array([["z"], [None], [np.nan], [pd.NA]], dtype=object)
    assert_array_equal(encoder.transform(unknown_and_missing), np.full((4, 1), prior))


@pytest.mark.parametrize(("count", "is_prior"), [(2, True), (3, False)])
def test_a_category_at_the_threshold_gets_the_prior(count, is_prior):
    X = np.array([["rare"]] * count + [["usual"]] * 5, dtype=object)
    y = [1] * count + [0, 0, 0, 0, 1]
    encoder = RiskTableEncoder(smooth_factor=0, count_threshold=2).fit(X, y)
    assert encoder.transform(X)[0, 0] == (encoder.prior_["task0"] if is_prior else 1.0)


def test_unlabelled_rows_do_not_count_for_the_threshold():
    X = np.array([["a"], ["a"], ["b"], ["b"]], dtype=object)
    encoder = RiskTableEncoder(smooth_factor=0, count_threshold=1).fit(X, [1, np.nan, 0, 1])
    assert encoder.transform([["a"]])[0, 0] == 2 / 3


@given(
    cells=st.lists(st.sampled_from(["a", "b", 1, 2.5, None]), min_size=4, max_size=30),
    smooth_factor=st.floats(0, 2),
    count_threshold=st.integers(0, 4),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_tables_equal_the_naive_twin(cells, smooth_factor, count_threshold, data):
    size = {"min_size": len(cells), "max_size": len(cells)}
    labels = [1.0, *data.draw(st.lists(st.sampled_from([0.0, 1.0, np.nan]), **size))[1:]]
    X = np.array(cells, dtype=object).reshape(-1, 1)
    encoder = RiskTableEncoder(smooth_factor=smooth_factor, count_threshold=count_threshold)
    encoded = encoder.fit(X, labels).transform(X)[:, 0]
    risk = naive_risk(cells, labels, smooth_factor, count_threshold)
    assert_allclose(encoded, [risk(cell) for cell in cells], rtol=1e-12, atol=1e-15)
    assert encoded.min() >= 0
    assert encoded.max() <= 1


@pytest.mark.parametrize("labels", [[0, 1], ["early", "late", "lost"]])
def test_tables_equal_target_encoder(labels):
    rng = np.random.default_rng(1)
    X = rng.integers(0, 6, (300, 2))
    y = rng.choice(labels, 300)
    encoded = RiskTableEncoder(smooth_factor=0.05).fit(X, y).transform(X)
    assert_allclose(encoded, TargetEncoder(smooth=15).fit(X, y).transform(X), rtol=1e-12)


@pytest.mark.parametrize("shuffle", [True, False])
def test_fit_transform_encodes_each_fold_from_the_others(flights, shuffle):
    X, Y = flights
    seed = 3 if shuffle else None
    encoder = RiskTableEncoder(smooth_factor=0.1, cv=4, shuffle=shuffle, random_state=3)
    encoded = encoder.fit_transform(X, Y)
    for rest, held_out in KFold(4, shuffle=shuffle, random_state=seed).split(X):
        twin = clone(encoder).fit(X.iloc[rest], Y.iloc[rest])
        pd.testing.assert_frame_equal(
            encoded.iloc[held_out], twin.transform(X.iloc[held_out]), rtol=1e-13
        )
    full = clone(encoder).fit(X, Y)
    assert encoder.risk_tables_ == full.risk_tables_
    assert encoder.prior_ == full.prior_


def test_fit_transform_does_not_leak_the_label():
    # Every row its own category: the full tables hold the label, the other folds nothing of it.
    n = 200
    X = np.array([[f"id{i}"] for i in range(n)], dtype=object)
    y = np.random.default_rng(0).integers(0, 2, n)
    encoder = RiskTableEncoder(smooth_factor=0, random_state=0)
    held_out = encoder.fit_transform(X, y)[:, 0]
    assert_array_equal(encoder.transform(X)[:, 0], y)
    assert len(np.unique(held_out)) <= encoder.cv  # a prior a fold
    assert abs(np.corrcoef(held_out, y)[0, 1]) < 0.2


@given(flipped=st.integers(0, 39))
@settings(max_examples=20, deadline=None)
def test_a_row_does_not_see_its_own_label(flipped):
    rng = np.random.default_rng(5)
    X, y = rng.integers(0, 4, (40, 1)), rng.integers(0, 2, 40)
    other = y.copy()
    other[flipped] = 1 - other[flipped]
    encoder = RiskTableEncoder(random_state=0)
    before, after = encoder.fit_transform(X, y), encoder.fit_transform(X, other)
    assert before[flipped] == after[flipped]
    assert (before != after).any()


def test_numbers_and_strings_are_different_keys():
    X = np.array([[1], ["1"], [2.0], [1.0], ["1.0"], ["1"]], dtype=object)
    encoder = RiskTableEncoder(smooth_factor=0).fit(X, [1, 0, 0, 1, 1, 0])
    assert encoder.risk_tables_["x0"]["task0"] == {1: 1.0, 2: 0.0, "1": 0.0, "1.0": 1.0}
    asked = np.array([[1], [1.0], [np.int64(1)], [np.float32(1)], ["1"], ["1.0"]], dtype=object)
    assert_array_equal(encoder.transform(asked)[:, 0], [1, 1, 1, 1, 0, 1])
    assert_array_equal(encoder.transform(np.array([[1.0], [2.0]]))[:, 0], [1, 0])


def test_a_list_of_numbers_and_strings_keeps_its_types():
    encoder = RiskTableEncoder(smooth_factor=0).fit([[1, "a"], [2, "a"]], [1, 0])
    assert list(encoder.risk_tables_["x0"]["task0"]) == [1, 2]


def test_column_names_and_order(flights):
    X, Y = flights
    encoder = RiskTableEncoder().fit(X, Y)
    expected = [
        "carrier_risk_delay",
        "carrier_risk_cancel",
        "distance",
        "origin_risk_delay",
        "origin_risk_cancel",
    ]
    assert encoder.get_feature_names_out().tolist() == expected
    assert encoder.transform(X).columns.tolist() == expected
    assert encoder.task_names_ == ["delay", "cancel"]


@pytest.mark.parametrize("tasks", ["cancel", 1, ["cancel"]])
def test_one_task_can_be_chosen(flights, tasks):
    X, Y = flights
    encoded = RiskTableEncoder(tasks=tasks).fit(X, Y).transform(X)
    assert encoded.columns.tolist() == ["carrier_risk", "distance", "origin_risk"]
    alone = RiskTableEncoder().fit(X, Y["cancel"]).transform(X)
    pd.testing.assert_frame_equal(encoded, alone)


def test_each_task_is_encoded_as_if_alone(flights):
    X, Y = flights
    encoded = RiskTableEncoder().fit(X, Y.to_numpy()).transform(X)
    for t in range(2):
        alone = RiskTableEncoder().fit(X, Y.iloc[:, t]).transform(X)
        assert_array_equal(encoded[f"carrier_risk_task{t}"], alone["carrier_risk"])


def test_a_multiclass_task_gives_a_column_a_class():
    X = np.array([["a"], ["a"], ["b"], ["b"]], dtype=object)
    Y = np.array([[0, 1], [1, 3], [1, 7], [0, np.nan]])
    encoder = RiskTableEncoder(smooth_factor=0).fit(X, Y)
    assert encoder.get_feature_names_out(["c"]).tolist() == [
        "c_risk_task0",
        "c_risk_task1_1",
        "c_risk_task1_3",
        "c_risk_task1_7",
    ]
    assert_array_equal(encoder.transform(X[[0, 2]]), [[0.5, 0.5, 0.5, 0], [0.5, 0, 0, 1]])
    single = RiskTableEncoder().fit(X, ["x", "y", "z", None])
    assert single.get_feature_names_out().tolist() == ["x0_risk_x", "x0_risk_y", "x0_risk_z"]


def test_dataframes_come_back_as_they_were(flights):
    X, Y = flights
    encoded = RiskTableEncoder().fit(X, Y).transform(X)
    assert encoded.index.equals(X.index)
    pd.testing.assert_series_equal(encoded["distance"], X["distance"])
    counts = pd.DataFrame({"a": ["u", "v"], "n": pd.array([2**60 + 1, None], dtype="Int64")})
    passed = RiskTableEncoder().fit(counts, [0, 1]).transform(counts)["n"]
    pd.testing.assert_series_equal(passed, counts["n"])


def test_pandas_polars_and_arrays_agree(flights):
    X, Y = flights
    encoded = RiskTableEncoder(random_state=0).fit_transform(X, Y)
    frame = pl.DataFrame(
        {
            "carrier": X["carrier"].astype(object).where(X["carrier"].notna(), None).tolist(),
            "distance": X["distance"].tolist(),
            "origin": pl.Series(X["origin"].tolist(), dtype=pl.Categorical),
        }
    )
    frame_encoded = RiskTableEncoder(random_state=0).fit_transform(frame, pl.DataFrame(Y))
    assert isinstance(frame_encoded, pl.DataFrame)
    assert frame_encoded.columns == encoded.columns.tolist()
    assert_array_equal(frame_encoded.to_numpy(), encoded.to_numpy())
    array = RiskTableEncoder([0, 2], random_state=0).fit_transform(X.to_numpy(object), Y.to_numpy())
    assert array.dtype == np.float64
    assert_array_equal(array, encoded.to_numpy())


def test_set_output_overrides_the_container(flights):
    X, Y = flights
    encoder = RiskTableEncoder().set_output(transform="polars").fit(X, Y)
    assert isinstance(encoder.transform(X), pl.DataFrame)
    assert encoder.transform(X).columns == encoder.get_feature_names_out().tolist()


@pytest.mark.parametrize(
    "dtype", ["object", "str", "category", "string", "Int64", "float64", "boolean"]
)
def test_missing_cells_of_every_dtype_get_the_prior(dtype):
    values = ["1", "0", None, "1"] if dtype in ("object", "str", "string", "category") else None
    values = values or [1, 0, None, 1]
    X = pd.DataFrame({"a": pd.Series(values, dtype=dtype)})
    encoder = RiskTableEncoder(["a"], smooth_factor=0).fit(X, [1, 0, 1, 1])
    assert_array_equal(encoder.transform(X)["a_risk"], [1, 0, 0.75, 1])


def test_works_in_pipelines_and_column_transformer(flights):
    X, Y = flights
    y = Y["delay"].fillna(0)
    pipeline = make_pipeline(RiskTableEncoder(random_state=0), LogisticRegression())
    assert pipeline.fit(X, y).predict_proba(X).shape == (400, 2)
    split = ColumnTransformer([("risk", RiskTableEncoder(random_state=0), ["carrier"])])
    alone = RiskTableEncoder(random_state=0).fit_transform(X[["carrier"]], y)
    assert_array_equal(split.fit_transform(X, y), alone.to_numpy())
    assert split.get_feature_names_out().tolist() == ["risk__carrier_risk"]


def test_pickle_and_row_order(flights):
    X, Y = flights
    encoder = RiskTableEncoder().fit(X, Y)
    encoded = encoder.transform(X)
    pd.testing.assert_frame_equal(pickle.loads(pickle.dumps(encoder)).transform(X), encoded)
    reversed_fit = RiskTableEncoder().fit(X[::-1], Y[::-1])
    assert json.dumps(reversed_fit.to_dict()) == json.dumps(encoder.to_dict())
    pd.testing.assert_frame_equal(encoder.transform(X[::-1])[::-1], encoded)


def test_files_keep_the_types_of_categories(tmp_path):
    X = np.array([[1, "é"], ["1", None], [True, "b"], [2.5, "b"], ["1.0", "b"]], dtype=object)
    encoder = RiskTableEncoder(smooth_factor=0.4, count_threshold=0).fit(X, [1, 0, 0, 1, 1])
    encoder.to_files(tmp_path / "model")
    loaded = RiskTableEncoder.from_files(tmp_path / "model")
    assert loaded.risk_tables_ == encoder.risk_tables_
    kinds = [type(category) for category in loaded.risk_tables_["x0"]["task0"]]
    assert kinds == [type(category) for category in encoder.risk_tables_["x0"]["task0"]]
    assert_array_equal(loaded.transform(X), encoder.transform(X))
    assert loaded.to_dict() == encoder.to_dict()
    pickled = pickle.loads((tmp_path / "model" / "risk_table_map.pkl").read_bytes())
    assert pickled == encoder.to_dict()


def test_files_of_a_frame(tmp_path, flights):
    X, Y = flights
    encoder = RiskTableEncoder().fit(X, Y)
    encoder.to_files(tmp_path)
    loaded = RiskTableEncoder.from_files(tmp_path)
    pd.testing.assert_frame_equal(loaded.transform(X), encoder.transform(X))
    with pytest.raises(ValueError, match="feature names should match"):
        loaded.transform(X.rename(columns={"carrier": "airline"}))


def test_from_dict_wants_a_dict():
    with pytest.raises(ValueError, match="got list"):
        RiskTableEncoder.from_dict([])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "'version': 2"),
        ({"format": "other"}, "other"),
        ({"prior": None}, "prior"),
    ],
)
def test_from_dict_says_what_is_wrong(change, message):
    content = RiskTableEncoder().fit([["a"], ["b"]], [0, 1]).to_dict() | change
    content = {key: value for key, value in content.items() if value is not None or key != "prior"}
    with pytest.raises(ValueError, match=message):
        RiskTableEncoder.from_dict(content)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"smooth_factor": -0.1}, "smooth_factor"),
        ({"smooth_factor": np.nan}, "smooth_factor"),
        ({"smooth_factor": "auto"}, "smooth_factor"),
        ({"count_threshold": -1}, "count_threshold"),
        ({"count_threshold": 0.5}, "count_threshold"),
        ({"cv": 1}, "cv must be"),
        ({"cv": True}, "cv must be"),
        ({"columns": ["airline"]}, "airline"),
        ({"columns": [3]}, "names or positions"),
        ({"columns": ["carrier", 0]}, "twice"),
        ({"columns": ["distance"]}, "carrier"),
        ({"tasks": "arrival"}, "arrival"),
        ({"tasks": []}, "at least one"),
    ],
)
def test_bad_parameters(flights, params, message):
    with pytest.raises(ValueError, match=message):
        RiskTableEncoder(**params).fit(*flights)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "requires y"),
        ([0.5, 1.0, 0.0], "Unknown label type"),
        ([np.nan] * 3, "no label"),
        ([0, 1], "inconsistent"),
        (np.zeros((3, 1, 1)), "shape"),
        (pd.DataFrame([[0, 1]] * 3, columns=["a", "a"]), "share a name"),
        (pd.DataFrame({"a_1": [0, 1, 0], "a": [1, 2, 2]}), "share a name"),
    ],
)
def test_bad_labels(y, message):
    with pytest.raises(ValueError, match=message):
        RiskTableEncoder().fit([["a"], ["b"], ["a"]], y)


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (pd.DataFrame({"d": pd.to_datetime(["2024-01-01"] * 3)}), TypeError, "'d'.*datetime64"),
        (pd.DataFrame({"d": [(1, 2), "a", "b"]}), TypeError, "got tuple"),
        (pd.DataFrame({"d": [[1], "a", "b"]}), TypeError, "unhashable"),
        (pd.DataFrame({"d": [np.inf, "a", "b"]}), ValueError, "infinity"),
        (pd.DataFrame([["a", 1]] * 3, columns=["d", "d"]), ValueError, "share a name"),
        (pd.DataFrame({"d": ["a"] * 3, "d_risk": [1, 2, 3]}), ValueError, "output columns"),
        (pd.DataFrame({"d": []}), ValueError, "at least one row"),
    ],
)
def test_bad_tables(X, error, message):
    with pytest.raises(error, match=message):
        RiskTableEncoder().fit(X, [0, 1, 0])


def test_labels_that_fall_in_one_fold():
    Y = np.array([[0, 1], [1, np.nan], [0, np.nan], [1, np.nan]])
    X = np.array([["a"], ["b"], ["a"], ["b"]], dtype=object)
    RiskTableEncoder(cv=2).fit(X, Y)
    with pytest.raises(ValueError, match="'task1' fall in one fold"):
        RiskTableEncoder(cv=2).fit_transform(X, Y)


def test_tables_are_in_ascending_order_numbers_first():
    X = np.array([["b"], [10], ["1"], [2]], dtype=object)
    tables = RiskTableEncoder().fit(X, [0, 1, 0, 1]).risk_tables_
    assert list(tables["x0"]["task0"]) == [2, 10, "1", "b"]


def test_large_polars_ids_beside_a_null_stay_apart():
    X = pl.DataFrame({"id": [2**60, 2**60 + 1, None]})
    encoder = RiskTableEncoder(["id"], smooth_factor=0).fit(X, [0, 1, 0])
    assert encoder.transform(X)["id_risk"].to_list() == [0, 1, 1 / 3]
