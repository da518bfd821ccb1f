"""Tables and labels in every container they come in; names, categories, missing values."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

NAMES = list("abcde")


@pytest.fixture(scope="module")
def data(make_data):
    """Cells and labels are missing here and there."""
    X, Y = make_data(missing=0.2)
    X[np.random.default_rng(1).random(X.shape) < 0.1] = np.nan
    return X, Y


# Features


@pytest.mark.parametrize(
    "container",
    [
        lambda X: X.tolist(),
        np.asfortranarray,
        lambda X: X.astype(object),
        lambda X: pd.DataFrame(X, columns=NAMES),
        lambda X: pd.DataFrame(X, columns=NAMES).convert_dtypes(),
        lambda X: pl.DataFrame(X, schema=NAMES),
        lambda X: pl.DataFrame(X, schema=NAMES).fill_nan(None),
        sparse.csr_array,
        sparse.csc_matrix,
    ],
    ids=["list", "fortran", "object", "pandas", "nullable", "polars", "null", "csr", "csc"],
)
def test_every_container_gives_the_same_model(data, make_model, container):
    X, Y = data
    expected = make_model().fit(X, Y)
    model = make_model().fit(container(X), Y)
    assert_array_equal(model.predict_proba(container(X)), expected.predict_proba(X))
    assert_array_equal(
        list(model.staged_predict_proba(container(X)))[-1], expected.predict_proba(X)
    )


def test_sparse_zeros_are_zeros(make_model):
    X = sparse.random_array((400, 6), density=0.1, rng=0, format="csr")
    Y = np.column_stack([X[:, [0]].toarray() > 0, X[:, [1]].toarray() > 0.5]).astype(float)
    model = make_model().fit(X, Y)
    dense = make_model().fit(X.toarray(), Y)
    assert model.best_iteration_ > 0
    assert_array_equal(model.predict_proba(X.toarray()), dense.predict_proba(X))


def test_sparse_rows_are_made_dense_block_by_block(make_model, monkeypatch):
    X = sparse.random_array((400, 6), density=0.3, rng=0, format="csr")
    Y = np.column_stack([X[:, [0]].toarray() > 0, X[:, [1]].toarray() > 0.5]).astype(float)
    expected = make_model().fit(X.toarray(), Y)
    monkeypatch.setattr("mtgbm.engine.binning.BLOCK_ROWS", 64)
    model = make_model().fit(X, Y)
    assert_array_equal(model.raw_predict(X), expected.raw_predict(X.toarray()))
    stages = zip(model.staged_raw_predict(X), expected.staged_raw_predict(X.toarray()), strict=True)
    for stage, other in stages:
        assert_array_equal(stage, other)


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.int64, np.uint16, bool])
def test_the_dtype_of_the_same_values_does_not_matter(make_data, make_model, dtype):
    X, Y = make_data()
    X = np.abs(np.round(X * 4)).astype(dtype)
    model = make_model().fit(X, Y)
    expected = make_model().fit(X.astype(np.float64), Y)
    assert_array_equal(model.predict_proba(X), expected.predict_proba(X.astype(np.float64)))
    assert_array_equal(model.predict_proba(X.astype(np.float64)), expected.predict_proba(X))


def test_float32_and_float64_of_the_same_values(make_data, make_model):
    X, Y = make_data()
    single = X.astype(np.float32)
    model = make_model().fit(single, Y)
    expected = make_model().fit(single.astype(np.float64), Y)
    assert_array_equal(model.raw_predict(single), expected.raw_predict(single))
    assert_array_equal(model.raw_predict(X), expected.raw_predict(X))


def test_names_of_features_are_kept_and_compared(data, make_model):
    X, Y = data
    frame = pd.DataFrame(X, columns=NAMES)
    model = make_model().fit(frame, Y)
    assert_array_equal(model.feature_names_in_, NAMES)
    assert model.n_features_in_ == 5
    assert not hasattr(make_model().fit(X, Y), "feature_names_in_")
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        assert_array_equal(model.predict(X), model.predict(frame))


@pytest.fixture(scope="module")
def coloured():
    """A column of colours decides the label, in no order of their names or codes."""
    rng = np.random.default_rng(0)
    colour = rng.choice(["red", "green", "blue", "grey", "pink", "teal"], 600)
    noise = rng.normal(size=600)
    Y = np.column_stack([np.isin(colour, ["red", "blue", "teal"]), noise > 0]).astype(float)
    return colour, noise, Y


def as_pandas(colour, noise):
    return pd.DataFrame({"colour": pd.Categorical(colour), "noise": noise})


def as_polars(colour, noise):
    return pl.DataFrame({"colour": pl.Series(colour, dtype=pl.Categorical), "noise": noise})


def as_enum(colour, noise):
    kinds = pl.Enum(sorted(set(colour)))
    return pl.DataFrame({"colour": pl.Series(colour, dtype=kinds), "noise": noise})


@pytest.mark.parametrize("table", [as_pandas, as_polars, as_enum])
def test_columns_of_categorical_dtype_are_found(coloured, make_model, table):
    colour, noise, Y = coloured
    X = table(colour, noise)
    model = make_model(n_estimators=3, learning_rate=1.0, max_cat_to_onehot=1, cat_smooth=0.0)
    model.set_params(min_data_per_group=1).fit(X, Y)
    assert (model.forest_.trees[0].nodes["bitset"] >= 0).any()
    assert_array_equal(model.predict(X), Y)
    named = pd.DataFrame({"colour": colour, "noise": noise})
    by_name = make_model(n_estimators=3, learning_rate=1.0, max_cat_to_onehot=1, cat_smooth=0.0)
    by_name.set_params(min_data_per_group=1, categorical_feature=["colour"]).fit(named, Y)
    assert_array_equal(model.predict_proba(X), by_name.predict_proba(named))


def test_the_order_of_categories_in_the_dtype_does_not_matter(coloured, make_model):
    colour, noise, Y = coloured
    X = as_pandas(colour, noise)
    model = make_model().fit(X, Y)
    other = X.assign(colour=X["colour"].cat.reorder_categories(sorted(set(colour))[::-1]))
    assert_array_equal(model.predict_proba(other), model.predict_proba(X))
    some = X[:10].assign(colour=X["colour"][:10].cat.remove_unused_categories())
    assert_array_equal(model.predict_proba(some), model.predict_proba(X)[:10])


def test_an_unseen_category_is_missing(coloured, make_model):
    colour, noise, Y = coloured
    known = colour.astype(object)
    known[::7] = None
    model = make_model().fit(as_pandas(known, noise), Y)
    unseen = as_pandas(np.full(20, "ultraviolet"), noise[:20])
    missing = as_pandas(np.full(20, None, dtype=object), noise[:20])
    assert_array_equal(model.predict_proba(unseen), model.predict_proba(missing))
    red = as_pandas(np.full(20, "red"), noise[:20])
    assert (model.predict_proba(red) != model.predict_proba(missing)).any()


def test_categories_of_an_array_are_named_by_position(coloured, make_model):
    colour, noise, Y = coloured
    codes = np.unique(colour, return_inverse=True)[1]
    model = make_model(categorical_feature=[0]).fit(np.column_stack([codes * 10, noise]), Y)
    expected = make_model().fit(as_pandas(colour, noise), Y)
    found = model.predict_proba(np.column_stack([codes * 10, noise]))
    assert_array_equal(found, expected.predict_proba(as_pandas(colour, noise)))
    unseen, missing = (np.column_stack([np.full(5, value), noise[:5]]) for value in (15.0, np.nan))
    assert_array_equal(model.predict_proba(unseen), model.predict_proba(missing))


@pytest.mark.filterwarnings("ignore:X has feature names")
def test_categories_of_an_array_are_numbers_in_a_frame_too(coloured, make_model):
    colour, noise, Y = coloured
    X = np.column_stack([np.unique(colour, return_inverse=True)[1] * 10, noise])
    model = make_model(categorical_feature=[0]).fit(X, Y)
    for frame in (pd.DataFrame(X), pl.DataFrame(X)):
        assert_array_equal(model.predict_proba(frame), model.predict_proba(X))
    with pytest.raises(ValueError, match="could not convert string to float"):
        model.predict_proba(as_pandas(colour, noise))


def test_position_and_name_are_the_same_column(coloured, make_model):
    colour, noise, Y = coloured
    X = pd.DataFrame({"noise": noise, "colour": colour})
    by_name = make_model(categorical_feature=["colour"]).fit(X, Y)
    by_position = make_model(categorical_feature=[1]).fit(X, Y)
    assert_array_equal(by_name.predict_proba(X), by_position.predict_proba(X))


# Labels


@pytest.mark.parametrize(
    "container",
    [
        lambda Y: pd.DataFrame(Y, columns=["x", "y", "z"]),
        lambda Y: pd.DataFrame(Y, columns=["x", "y", "z"]).astype("Int64"),
        lambda Y: pd.DataFrame(Y, columns=["x", "y", "z"]).astype("boolean"),
        lambda Y: pl.DataFrame(Y, schema=["x", "y", "z"]),
        lambda Y: pl.DataFrame(Y, schema=["x", "y", "z"]).fill_nan(None).cast(pl.Int8),
    ],
    ids=["pandas", "Int64", "boolean", "polars", "null"],
)
def test_label_tables_keep_their_names(data, make_model, container):
    X, Y = data
    model = make_model().fit(X, container(Y))
    assert model.task_names_ == ["x", "y", "z"]
    assert_array_equal(model.predict_proba(X), make_model().fit(X, Y).predict_proba(X))


def test_label_arrays_get_numbered_names(data, make_model):
    X, Y = data
    assert make_model().fit(X, Y).task_names_ == ["task_0", "task_1", "task_2"]
    assert make_model().fit(X, pd.Series(Y[:, 0], name="late")).task_names_ == ["late"]


@pytest.mark.parametrize(
    "container",
    [
        lambda y: y,
        lambda y: pd.Series(y),
        lambda y: pd.Series(y).astype("Int64"),
        lambda y: pd.Series(y).astype("boolean"),
        lambda y: pl.Series(y).fill_nan(None).cast(pl.Int8),
        lambda y: np.array([None if v != v else int(v) for v in y], dtype=object),
        lambda y: np.array([None if v != v else ["no", "yes"][int(v)] for v in y], dtype=object),
        lambda y: pd.Series([None if v != v else ["no", "yes"][int(v)] for v in y]),
    ],
    ids=["float", "series", "Int64", "boolean", "polars", "objects", "strings", "str series"],
)
def test_one_task_with_missing_labels(data, make_model, container):
    X, Y = data
    y = Y[:, 0]
    model = make_model().fit(X, container(y))
    known = ~np.isnan(y)
    assert_allclose(model.forest_.base_score, np.log(y[known].mean() / (1 - y[known].mean())))
    assert_array_equal(model.predict_proba(X), make_model().fit(X, y).predict_proba(X))
    assert len(model.classes_) == 2


def test_one_column_is_one_task_with_a_warning(make_data, make_model):
    X, Y = make_data(n_tasks=1)
    with pytest.warns(match="column-vector y was passed"):
        model = make_model().fit(X, pd.DataFrame({"late": Y[:, 0]}))
    assert model.task_names_ == ["late"]
    assert model.predict(X).shape == (len(X),)


def test_classes_of_a_multiclass_task_are_its_own(data, make_model):
    X, _ = data
    labels = np.array([["a", "10"], ["b", "20"], ["b", "30"]])[np.arange(len(X)) % 3]
    model = make_model(objective="multiclass").fit(X, labels)
    assert [list(classes) for classes in model.classes_] == [["a", "b"], ["10", "20", "30"]]
    assert set(model.predict(X)[:, 1]) <= {"10", "20", "30"}


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from([0.0, 1.0, np.nan]), min_size=120, max_size=120))
def test_any_pattern_of_missing_labels_keeps_base_scores(make_data, make_model, column):
    X, Y = make_data(n_rows=120, n_tasks=2)
    y = np.array(column)
    y[:2] = [0.0, 1.0]
    model = make_model(n_estimators=2).fit(X, np.column_stack([y, Y[:, 1]]))
    share = np.array([np.nanmean(y), Y[:, 1].mean()])
    assert_allclose(model.forest_.base_score, np.log(share / (1 - share)), rtol=1e-9, atol=1e-12)
    assert np.isfinite(model.predict_proba(X)).all()
