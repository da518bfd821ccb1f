"""LightGBM reads our text models, and we read LightGBM's; both predict the same numbers.

Raw scores are compared for equality: both add the same numbers in the same order. Probabilities
pass through each one's own exp, so they are compared within 1e-12.

Permitted differences: values nearer to 0 than 1e-35, and numbers in categorical columns that are
not whole; see `write_lightgbm`.
"""

import re

import lightgbm
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mtgbm import MultiTaskLGBMClassifier, load_model
from mtgbm.io.lightgbm_text import (
    LightGBMFormatError,
    from_lightgbm,
    read_lightgbm,
    to_lightgbm,
    write_lightgbm,
)

CATEGORIES = np.array([0, 1, 3, 7, 31, 32, 33, 64, 200, 999])
COMMON = {"num_leaves": 12, "min_child_samples": 5, "n_jobs": 1, "random_state": 0}
CATEGORY_RULES = {"min_data_per_group": 5, "cat_smooth": 1.0}


def make_rows(n_rows, seed, known=None):
    """Four numbers and two categorical columns, a tenth of all missing."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 6)).round(3)
    X[:, 4] = rng.choice(CATEGORIES if known is None else known, n_rows)
    X[:, 5] = rng.integers(0, 3, n_rows)
    missing = rng.random(X.shape) < 0.1
    missing[:, 3] = False
    return np.where(missing, np.nan, X)


def make_scores(X, n_tasks, seed=0):
    """Scores of related tasks, to which each column matters."""
    rng = np.random.default_rng(seed)
    present = np.nan_to_num(X, nan=1.5)
    effect = rng.normal(size=len(CATEGORIES))[
        np.searchsorted(CATEGORIES, present[:, 4].round()) % 10
    ]
    common = present[:, 0] + effect + (present[:, 5] == 1)
    own = present[:, np.arange(n_tasks) % 4] * rng.normal(size=n_tasks)
    return common[:, None] + own + rng.normal(size=(len(X), n_tasks))


def make_labels(X, n_tasks):
    labels = (make_scores(X, n_tasks) > 0.5).astype(float)
    return labels[:, 0] if n_tasks == 1 else labels


@pytest.fixture(scope="module")
def train():
    return make_rows(3000, 0)


@pytest.fixture(scope="module")
def rows():
    """10,000 other rows, some with categories that were not seen, or negative."""
    return make_rows(10_000, 1, known=[*CATEGORIES, -1, 2, 50, 10_000, 2**31])


@pytest.fixture(scope="module")
def fit(train):
    """Fits models, with categorical columns by default."""

    def build(Y, X=train, **parameters):
        categorical = {"categorical_feature": [4, 5], **CATEGORY_RULES}
        return MultiTaskLGBMClassifier(**(COMMON | categorical | parameters)).fit(X, Y)

    return build


def booster_probabilities(booster, X):
    found = booster.predict(X)
    return np.column_stack([1 - found, found]) if found.ndim == 1 else found


def assert_equal_models(model, booster, X):
    """Raw scores to the last bit, leaves, probabilities, and contributions that add up."""
    raw = model.raw_predict(X)
    assert_array_equal(booster.predict(X, raw_score=True).reshape(raw.shape), raw)
    assert_allclose(booster_probabilities(booster, X), model.predict_proba(X), rtol=0, atol=1e-12)
    few = X[:200]
    parts = booster.predict(few, pred_contrib=True).reshape(200, raw.shape[1], -1)
    assert_allclose(parts.sum(axis=2), raw[:200], rtol=0, atol=1e-9)


@pytest.mark.parametrize("n_tasks", [1, 3, 10])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_missing_values_and_categories(fit, train, rows, n_tasks, dtype):
    model = fit(make_labels(train, n_tasks), train.astype(dtype), n_estimators=30)
    splits = np.concatenate([tree.nodes for tree in model.forest_.trees])
    assert sum(splits["bitset"] >= 0) > 30
    assert 0 < splits["missing_left"][splits["feature"] < 4].mean() < 1
    assert_equal_models(model, to_lightgbm(model), rows.astype(dtype))


def test_missing_values_that_go_left_with_categories(fit, train, rows):
    """Our splits can say so, though `fit` finds none such; LightGBM's cannot."""
    model = fit(make_labels(train, 3))
    before = model.raw_predict(rows)
    for tree in model.forest_.trees[::2]:
        tree.nodes["missing_left"][tree.nodes["bitset"] >= 0] = 1
    model.forest_.__dict__.pop("_cache")
    assert (model.raw_predict(rows) != before).any()
    assert_equal_models(model, to_lightgbm(model), rows)
    read = read_lightgbm(write_lightgbm(model))
    assert_array_equal(read.raw_predict(rows), model.raw_predict(rows))


def test_leaves_have_the_same_numbers(fit, train, rows):
    model = fit(make_labels(train, 3))
    leaves = to_lightgbm(model).predict(rows, pred_leaf=True).reshape(len(rows), -1, 3)
    own = model.forest_.apply(model._mapper.encode_categories(rows), 1)
    assert_array_equal(leaves, np.repeat(own[:, :, None], 3, axis=2))


def test_a_column_without_a_value_above_its_bins(rows):
    """Splits between missing and present have no threshold: all that is present is below it."""
    X = rows[:, :4].copy()
    Y = np.isnan(X[:, :2]).astype(float)
    model = MultiTaskLGBMClassifier(n_estimators=3, **COMMON).fit(X, Y)
    assert any(np.isinf(tree.nodes["threshold"]).any() for tree in model.forest_.trees)
    largest = np.finfo(np.float64).max
    X[::2] = [largest, -largest, 1e300, np.nan]
    assert_equal_models(model, to_lightgbm(model), X)


def test_each_task_keeps_its_own_rounds(fit, train, rows):
    model = fit(
        make_labels(train, 3), n_estimators=200, early_stopping_rounds=3, best_round_per_task=True
    )
    assert len(set(model.best_iteration_per_task_.values())) > 1
    assert_equal_models(model, to_lightgbm(model), rows)


def test_a_model_of_no_tree(rows):
    X, Y = np.zeros((50, 6)), np.tile([[0.0, 1, 1]], (50, 1))
    Y[:9] = 1 - Y[:9]
    model = MultiTaskLGBMClassifier(n_estimators=5).fit(X, Y)
    assert not model.forest_.importances("split").any()
    assert_equal_models(model, to_lightgbm(model), rows)


def test_one_multiclass_task(fit, train, rows):
    classes = np.digitize(make_scores(train, 1)[:, 0], [-0.5, 1])
    assert_equal_models(model := fit(classes), to_lightgbm(model), rows)


def test_several_tasks_of_which_one_is_multiclass_give_raw_scores(fit, train, rows):
    Y = make_labels(train, 3)
    Y[:, 1] = np.digitize(make_scores(train, 3)[:, 1], [-0.5, 1])
    model = fit(Y, objective={"task_1": "multiclass"})
    booster = to_lightgbm(model)
    assert_array_equal(booster.predict(rows), model.raw_predict(rows))
    assert model.raw_predict(rows).shape[1] == 5


def make_frame(X):
    names = np.array(["a b", "é", "x", "y", "z"])
    frame = pd.DataFrame(X[:, :4], columns=["net, gross", "Größe", 'a:"b"', "=d"])
    frame["word"] = pd.Categorical(
        np.where(np.isnan(X[:, 4]), None, names[X[:, 4].astype(int) % 5])
    )
    frame["number"] = pd.Categorical(X[:, 5])
    return frame


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
def test_a_data_frame_with_categories(fit, train):
    frame, other = make_frame(train), make_frame(make_rows(500, 2))
    model = fit(make_labels(train, 2), frame, categorical_feature="auto")
    booster = to_lightgbm(model)
    assert booster.feature_name()[:4] == ["net__gross", "Größe", "a__b_", "_d"]
    unseen = other.assign(word=other["word"].cat.rename_categories({"x": "new"}))
    for rows in (frame, other, unseen):
        assert_array_equal(booster.predict(rows, raw_score=True), model.raw_predict(rows))
    taken = from_lightgbm(booster)
    renamed = other.set_axis(booster.feature_name(), axis=1)
    assert_array_equal(taken.raw_predict(renamed), model.raw_predict(other))


def test_names_that_become_equal(fit, train):
    frame = pd.DataFrame(train, columns=["a b", "a_b", "a,b", "\\d", "d\u2028\x00", ""])
    booster = to_lightgbm(fit(make_labels(train, 1), frame, categorical_feature=[4, 5]))
    assert booster.feature_name() == ["a_b", "a_b_1", "a_b_2", "_d", "d__", "Column_5"]
    assert booster.dump_model()["feature_names"] == booster.feature_name()


def test_the_booster_explains_as_we_count(fit, train):
    # With a penalty a task may lose by a split; LightGBM adds up gains above 0 only.
    model = fit(make_labels(train, 3), reg_lambda=0.0)
    booster = to_lightgbm(model)
    for kind in ("split", "gain"):
        own = model.task_importances(kind).sum(axis=0)
        assert_allclose(booster.feature_importance(kind), own, rtol=1e-5)
    tree = booster.trees_to_dataframe().query("tree_index == 2")
    own = model.forest_.trees[0]
    root = tree.iloc[0]
    assert root["count"] == len(train) == own.counts[0]
    assert_allclose(root["split_gain"], own.gains[0, 2], rtol=1e-5)
    assert_allclose(root["weight"], own.hessians[0, 2], rtol=1e-5)
    mean = model.forest_.base_score[2] + own.values[:, 2] @ leaf_counts(own) / len(train)
    assert_allclose(root["value"], mean, rtol=1e-5)


def leaf_counts(tree):
    is_leaf = tree.nodes["leaf"] >= 0
    return tree.counts[is_leaf][np.argsort(tree.nodes["leaf"][is_leaf])]


@pytest.mark.parametrize("n_tasks", [1, 3])
def test_what_lightgbm_saves_again(fit, train, rows, n_tasks, tmp_path):
    """It drops our lines; the trees stay."""
    model = fit(make_labels(train, n_tasks))
    (tmp_path / "ours.txt").write_text(write_lightgbm(model))
    booster = lightgbm.Booster(model_file=tmp_path / "ours.txt")
    assert_equal_models(model, booster, rows)
    booster.save_model(tmp_path / "again.txt")
    taken = from_lightgbm(tmp_path / "again.txt")
    assert_array_equal(taken.raw_predict(rows), model.raw_predict(rows))
    assert_array_equal(taken.predict_proba(rows), model.predict_proba(rows))
    assert_allclose(taken.task_importances("gain"), model.task_importances("gain"), rtol=1e-5)


def test_lightgbm_finds_nothing_to_warn_of(fit, train, capfd):
    to_lightgbm(fit(make_labels(train, 2))).predict(train)
    lightgbm.Booster(model_str=write_lightgbm(fit(make_labels(train, 2)))).predict(train)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


# Models that LightGBM trained -------------------------------------------------------------------


def train_lightgbm(X, y, categorical="auto", **parameters):
    data = lightgbm.Dataset(X, y, categorical_feature=categorical)
    common = {"objective": "binary", "verbose": -1, "num_leaves": 15, "seed": 0, "num_threads": 1}
    return lightgbm.train(common | {"min_data_per_group": 5} | parameters, data, num_boost_round=20)


BINARY = {
    "missing": {},
    "categories": {"categorical": [4, 5]},
    "nothing missing": {"use_missing": False},
    "dart": {"boosting": "dart"},
    "unbalanced": {"is_unbalance": True},
    "no start": {"boost_from_average": False},
    "quantized": {"use_quantized_grad": True},
    "one category against the rest": {"categorical": [5], "max_cat_to_onehot": 10},
}


@pytest.mark.parametrize("parameters", BINARY.values(), ids=BINARY)
@pytest.mark.parametrize("has_missing", [False, True])
def test_binary_models_of_lightgbm(train, rows, parameters, has_missing):
    X = train if has_missing else np.nan_to_num(train)
    booster = train_lightgbm(X, make_labels(train, 1), **parameters)
    taken = from_lightgbm(booster)
    assert_equal_models(taken, booster, rows)
    assert_equal_models(taken, booster, np.where(rows < 0.5, 0.0, rows))
    assert_equal_models(taken, to_lightgbm(taken), rows)
    assert_array_equal(taken.feature_importances_, booster.feature_importance())
    assert taken.best_iteration_ == booster.num_trees()


def test_a_classifier_of_lightgbm_with_text_labels(train, rows):
    y = np.where(make_labels(train, 1) > 0, "late", "early")
    classifier = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1).fit(train, y)
    taken = from_lightgbm(classifier)
    assert_array_equal(taken.classes_, ["early", "late"])
    assert_array_equal(taken.predict(rows), classifier.predict(rows))


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
def test_a_frame_model_of_lightgbm(train, tmp_path):
    frame, other = make_frame(train), make_frame(make_rows(500, 3))
    names = {name: f"column {number}" for number, name in enumerate(frame)}
    frame, other = frame.rename(columns=names), other.rename(columns=names)
    reverse = frame["column 4"].cat.categories[::-1]
    frame["column 4"] = frame["column 4"].cat.set_categories(reverse)
    booster = train_lightgbm(frame, make_labels(train, 1))
    taken = from_lightgbm(booster)
    other = other.rename(columns=lambda name: name.replace(" ", "_"))
    assert booster.feature_name() == list(other)
    assert_array_equal(taken.raw_predict(other)[:, 0], booster.predict(other, raw_score=True))
    taken.save_model(tmp_path / "taken.mtgbm")  # whose categories are in another order
    loaded = load_model(tmp_path / "taken.mtgbm")
    assert_array_equal(loaded.raw_predict(other), taken.raw_predict(other))


def test_a_constant_categorical_column_of_a_frame(train):
    frame = pd.DataFrame(train[:, :4]).set_axis(list("abcd"), axis=1)
    frame["same"] = pd.Categorical(["one"] * len(frame))
    frame["kind"] = pd.Categorical(train[:, 5])
    booster = train_lightgbm(frame, make_labels(train, 1))
    taken = from_lightgbm(booster)
    assert_array_equal(taken.raw_predict(frame)[:, 0], booster.predict(frame, raw_score=True))


def test_a_model_of_lightgbm_can_be_continued(train, rows):
    y = make_labels(train, 1)
    booster = train_lightgbm(train, y, categorical=[4, 5])
    taken = from_lightgbm(booster).set_params(
        warm_start=True, n_estimators=30, categorical_feature=[4, 5], n_jobs=1
    )
    before = taken.predict_proba(train)
    taken.fit(train, y)
    assert taken.best_iteration_ == 30
    first = list(taken.staged_raw_predict(rows))[19]
    assert_array_equal(first[:, 0], booster.predict(rows, raw_score=True))
    loss = [
        -np.log(p[np.arange(len(y)), y.astype(int)]).mean()
        for p in (before, taken.predict_proba(train))
    ]
    assert loss[1] < 0.98 * loss[0]


REFUSED = {
    "regression": ({"objective": "regression"}, "field 'objective': expected a binary, multicla"),
    "ranking": ({"objective": "lambdarank"}, "field 'objective': expected a binary, multiclas"),
    "sigmoid": ({"sigmoid": 2.0}, "field 'objective': expected 'binary' with sigmoid:1"),
    "random forest": (
        {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
        "field 'average_output': a random forest averages",
    ),
    "linear leaves": ({"linear_tree": True}, "field 'is_linear': trees with linear leaves"),
    "zero as missing": ({"zero_as_missing": True}, r"'decision_type': .*\(zero_as_missing\)"),
    "many bins": ({"max_bin": 1000, "min_data_in_bin": 1}, "is split by .* thresholds; mtgbm has"),
    "multiclass": (
        {"objective": "multiclass", "num_class": 3},
        "of round 0, have different splits",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_models_without_a_counterpart_are_refused(name):
    parameters, message = REFUSED[name]
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 3)).round(2)
    X[rng.random(X.shape) < 0.4] = 0
    if name == "many bins":
        X = rng.normal(size=(20_000, 1))
        parameters = parameters | {"num_leaves": 200}
    y = np.digitize(np.sin(20 * X[:, 0]) + X.sum(axis=1) + rng.normal(size=len(X)), [0, 2])
    y = y if name in ("multiclass", "ranking") else np.minimum(y, 1)
    data = lightgbm.Dataset(X, y, group=[100] * (len(X) // 100) if name == "ranking" else None)
    common = {"objective": "binary", "verbose": -1, "num_threads": 1}
    booster = lightgbm.train(common | parameters, data, num_boost_round=10)
    with pytest.raises(LightGBMFormatError, match=message):
        from_lightgbm(booster)


def test_lightgbms_text_is_what_it_was(fit, train):
    """We write the fields that LightGBM writes itself, so that other readers find them."""
    booster = train_lightgbm(train, make_labels(train, 1), categorical=[4, 5])
    theirs = set(re.findall(r"^(\w+)=", booster.model_to_string(), re.MULTILINE))
    ours = set(re.findall(r"^(\w+)=", to_text(fit(make_labels(train, 1))), re.MULTILINE))
    assert theirs <= ours | set(booster.feature_name())


def to_text(model):
    return write_lightgbm(model).partition("mtgbm:")[0]
