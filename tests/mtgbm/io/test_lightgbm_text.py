"""LightGBM text models: ours come back as they were, and damaged ones give our error."""

import copy
import importlib.util
import os
import re
import tracemalloc
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError

import mtgbm
from mtgbm.engine._common import NODE_DTYPE
from mtgbm.engine.tree import Tree
from mtgbm.io import native
from mtgbm.io._lightgbm_scan import scan
from mtgbm.io.lightgbm_text import (
    LightGBMFormatError,
    from_lightgbm,
    read_lightgbm,
    to_lightgbm,
    write_lightgbm,
)
from mtgbm.io.tree_table import trees_to_dataframe
from mtgbm.weighting import FixedWeighting

SCRIPT = Path(mtgbm.__file__).parents[1] / "scripts" / "fuzz_models.py"


@pytest.fixture(scope="session")
def make_model(make_model):
    return partial(make_model, random_state=0)


@pytest.fixture(scope="session")
def fuzz():
    """The script that damages files."""
    spec = importlib.util.spec_from_file_location("fuzz_models", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Round trips ------------------------------------------------------------------------------------


def floats(n_tasks=3, missing=0.2):
    return lambda make_data: make_data(n_tasks=n_tasks, missing=missing)


def holes(make_data):
    X, Y = make_data()
    X[np.random.default_rng(1).random(X.shape) < 0.2] = np.nan
    return X, Y


def classes(make_data):
    X, _ = make_data()
    return X, np.array(["low", "mid", "höchst"])[np.digitize(X[:, 0], [-0.5, 0.5])]


def mixed(make_data):
    X, Y = make_data(missing=0.1)
    Y[:, 1] = np.digitize(X[:, 1], [-0.5, 0.5])
    return X, Y


def table(make_data):
    X, Y = make_data(missing=0.2)
    frame = pd.DataFrame(X, columns=["a b", 'b,"{', "ç", "=", "a_b"])
    words = np.array(["red", "blü", "x y", "red", "c", "blü", "d"])
    frame["text"] = pd.Categorical(words[np.digitize(X[:, 0], [-1, -0.5, 0, 0.3, 0.6, 1])])
    frame["a b"] = 0.0
    frame["number"] = pd.Categorical(np.digitize(X[:, 1], [-1, 0, 1]) * 1.5)
    frame.loc[::9, "text"] = None
    return frame, pd.DataFrame(Y, columns=["x", "y y", "ž"])


def numbered_categories(make_data):
    X, Y = make_data()
    X[:, 1] = np.array([0, 31, 32, 1000])[np.digitize(X[:, 0] + X[:, 1], [-1, 0, 1])]
    X[::7, 1] = np.nan
    return X, Y


def constant(make_data):
    X, Y = make_data()
    return np.zeros_like(X), Y


CASES = {
    "one task": (floats(1, 0.0), {}),
    "tasks": (floats(), {"early_stopping_rounds": 3, "track_training_score": True}),
    "own best rounds": (floats(), {"early_stopping_rounds": 2, "best_round_per_task": True}),
    "ten tasks": (floats(10), {"subsample": 0.5, "subsample_freq": 1}),
    "missing": (holes, {}),
    "classes": (classes, {}),
    "mixed": (mixed, {"objective": ["binary", "multiclass", "binary"]}),
    "pandas": (table, {"weighting": FixedWeighting(2.0, (0.5, 0.25)), "min_data_per_group": 5}),
    "categories": (numbered_categories, {"categorical_feature": [1], "min_data_per_group": 5}),
    "no trees": (constant, {}),
}


@pytest.fixture(scope="module")
def fitted(make_data, make_model):
    """Fits the model of a case once, and returns it with its rows and labels."""
    models = {}

    def fit(name):
        if name not in models:
            build, parameters = CASES[name]
            X, Y = build(make_data)
            models[name] = make_model(**parameters).fit(X, Y), X, Y
        return models[name]

    return fit


def assert_same(loaded, model, X):
    """Told apart by nothing but the order of the nodes, and the sides of category splits."""
    assert set(vars(loaded)) == set(vars(model))
    assert repr(loaded.get_params()) == repr(model.get_params())
    for method in ("raw_predict", "predict", "predict_proba"):
        for found, expected in zip(
            *(getattr(each, method)(X) for each in (loaded, model)), strict=True
        ):
            assert_array_equal(found, expected, strict=True)
    for kind in ("split", "gain"):
        assert_array_equal(loaded.task_importances(kind), model.task_importances(kind))
    assert loaded.task_names_ == model.task_names_
    assert loaded.best_iteration_per_task_ == model.best_iteration_per_task_
    assert repr(loaded.evals_result_) == repr(model.evals_result_)
    assert_array_equal(loaded.weight_evolution_, model.weight_evolution_, strict=True)
    assert_array_equal(loaded.forest_.base_score, model.forest_.base_score)
    assert len(loaded.forest_.trees) == len(model.forest_.trees)
    for found, expected in zip(loaded.forest_.trees, model.forest_.trees, strict=True):
        assert_array_equal(found.values, expected.values)
        assert_array_equal(described_nodes(found), described_nodes(expected))


def described_nodes(tree):
    """What each node holds, in an order that does not depend on that of the nodes."""
    parts = [tree.counts, tree.nodes["depth"], tree.nodes["leaf"], tree.nodes["threshold"]]
    rows = np.column_stack([*parts, tree.hessians, tree.gains, tree.gradients])
    return rows[np.lexsort(rows.T[::-1])]


@pytest.mark.parametrize("name", CASES)
def test_a_model_comes_back(fitted, name, tmp_path):
    model, X, _ = fitted(name)
    text = write_lightgbm(model, tmp_path / "model.txt")
    assert (tmp_path / "model.txt").read_bytes().decode() == text
    for source in (text, tmp_path / "model.txt", str(tmp_path / "model.txt")):
        assert_same(read_lightgbm(source), model, X)
    assert_same(from_lightgbm(text), model, X)
    again = read_lightgbm(write_lightgbm(read_lightgbm(text)))
    assert_same(again, model, X)


@pytest.mark.parametrize("name", ["tasks", "mixed", "pandas", "categories"])
def test_a_model_that_came_back_can_be_continued_and_refitted(fitted, make_model, name):
    _, X, Y = fitted(name)
    start = {"n_estimators": 4, "warm_start": True, "use_quantized_grad": False}
    model = make_model(**(CASES[name][1] | start)).fit(X, Y)
    loaded = read_lightgbm(write_lightgbm(model))
    for each in (model, loaded):
        each.set_params(n_estimators=9).fit(X, Y)
    assert_array_equal(loaded.raw_predict(X), model.raw_predict(X))
    assert loaded.best_iteration_ > 4
    refitted = clone(loaded).fit(X, Y)
    assert_array_equal(refitted.raw_predict(X), clone(model).fit(X, Y).raw_predict(X))


@pytest.mark.parametrize("name", ["pandas", "no trees"])
def test_a_model_that_came_back_can_be_saved_natively(fitted, name, tmp_path):
    model, X, _ = fitted(name)
    native.save_model(read_lightgbm(write_lightgbm(model)), tmp_path / "model.mtgbm")
    assert_same(native.load_model(tmp_path / "model.mtgbm"), model, X)


@pytest.mark.parametrize("position", [0, 1])
def test_trees_of_one_leaf(fitted, position):
    """`fit` leaves none, but other ways to a model may."""
    model, X, _ = fitted("tasks")
    model = copy.deepcopy(model)
    node = np.zeros(1, dtype=NODE_DTYPE)
    node[["feature", "bitset"]] = -1
    sums = np.ones((1, 3))
    values = np.array([[0.1, -0.2, 1 / 3]])
    leaf = Tree(node, np.empty((0, 8), np.uint32), values, sums, sums, np.array([300]), 0 * sums)
    model.forest_.trees.insert(position, leaf)
    model.forest_.__dict__.pop("_cache", None)
    text = write_lightgbm(model)
    assert "num_leaves=1\n" in text
    assert_same(read_lightgbm(text), model, X)


def test_without_our_lines_the_trees_are_left(fitted):
    """As LightGBM's own files are; gradients, curves and names of tasks are gone."""
    model, X, _ = fitted("tasks")
    taken = from_lightgbm(plain(write_lightgbm(model)))
    assert_array_equal(taken.raw_predict(X), model.raw_predict(X))
    assert_array_equal(taken.predict_proba(X), model.predict_proba(X))
    assert taken.task_names_ == ["task_0", "task_1", "task_2"]
    assert_array_equal(taken.forest_.base_score, np.zeros(3))
    with pytest.raises(LightGBMFormatError, match="read LightGBM's own models with from_lightgbm"):
        read_lightgbm(plain(write_lightgbm(model)))


def plain(text):
    """A text without the lines that only we read."""
    return re.sub(r"^mtgbm:.*^end of mtgbm\n\n", "", text, flags=re.DOTALL | re.MULTILINE)


def test_a_mixed_model_has_no_link_of_lightgbm(fitted):
    text = write_lightgbm(fitted("mixed")[0])
    assert "\nobjective=" not in text
    with pytest.raises(LightGBMFormatError, match="the header has no field 'objective'"):
        from_lightgbm(plain(text))


# What is written --------------------------------------------------------------------------------


def test_the_sizes_of_trees_are_those_of_their_bytes(fitted):
    text = write_lightgbm(fitted("pandas")[0])
    sizes = list(map(int, re.search("tree_sizes=(.*)", text)[1].split()))
    content = text.encode()
    end = content.index(b"Tree=0\n")
    for number, size in enumerate(sizes):
        assert content[end:].startswith(f"Tree={number}\n".encode())
        end += size
    assert content[end:].startswith(b"end of trees\n")


def test_names_are_what_lightgbm_takes(fitted):
    text = write_lightgbm(fitted("pandas")[0])
    names = re.search("feature_names=(.*)", text)[1].split(" ")
    assert names == ["a_b", "b___", "ç", "_", "a_b_4", "text", "number"]
    assert (
        'pandas_categorical:[["bl\\u00fc", "c", "d", "red", "x y"], [0.0, 1.5, 3.0, 4.5]]\n' in text
    )


class Halving(BaseEstimator):
    """A weighting of the user's own."""

    def weights(self, round):
        return np.full(len(round.tasks), 0.5**round.number)


def test_models_that_cannot_be_written_are_refused(fitted, make_model, make_data):
    with pytest.raises(NotFittedError):
        write_lightgbm(make_model())
    model = copy.deepcopy(fitted("tasks")[0]).set_params(weighting=Halving())
    with pytest.raises(TypeError, match="parameter weighting is Halving"):
        write_lightgbm(model)
    X, Y = make_data()
    for value in (0.5, -1, 100_001):
        X[:, 1] = np.where(X[:, 0] > 0, value, 3)
        odd = make_model(categorical_feature=[1]).fit(X, Y)
        with pytest.raises(ValueError, match=f"0 to 100000 in categorical feature 1, got {value}"):
            write_lightgbm(odd)
    broken = copy.deepcopy(fitted("tasks")[0])
    broken.forest_.trees[0].values[0] = np.nan
    with pytest.raises(ValueError, match="one of its trees does not hold together"):
        to_lightgbm(broken)


def test_to_lightgbm_says_what_is_missing(fitted, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "lightgbm", None)
    with pytest.raises(ImportError, match=r"pip install 'mtgbm\[lightgbm\]'"):
        to_lightgbm(fitted("tasks")[0])


# Bad files --------------------------------------------------------------------------------------


HAND_WRITTEN = """tree
version=v4
num_class=1
num_tree_per_iteration=1
label_index=0
max_feature_idx=1
objective=binary sigmoid:1
feature_names=Column_0 kind
feature_infos=[-1:1] 0:1:4
tree_sizes=SIZE

Tree=0
num_leaves=3
num_cat=1
split_feature=0 1
split_gain=2 1
threshold=0.5 0
decision_type=8 1
left_child=-1 -2
right_child=1 -3
leaf_value=0.25 -1 2
leaf_weight=1 2 3
leaf_count=10 20 30
internal_value=0 0
internal_weight=6 5
internal_count=60 50
cat_boundaries=0 1
cat_threshold=17
is_linear=0
shrinkage=1


end of trees
"""


@pytest.fixture(scope="module")
def model_of(fuzz):
    """Reads the small model above with some texts replaced."""

    def build(*replacements, sizes=True):
        text = HAND_WRITTEN
        for old, new in replacements:
            assert text.count(old) == 1
            text = text.replace(old, new)
        return from_lightgbm(fuzz.fit_tree_sizes(text) if sizes else text)

    return build


def test_a_model_written_by_hand(model_of):
    """Column 0 at most 0.5: 0.25; else category 0 or 4: -1; others, and missing ones: 2."""
    X = np.array([[0.5, 9], [np.nan, 0], [0.6, 4], [1, 1], [1, 5], [1, np.nan], [1, -3]])
    model = model_of()
    assert_array_equal(model.raw_predict(X)[:, 0], [0.25, -1, -1, 2, 2, 2, 2])
    assert_array_equal(model.forest_.trees[0].counts, [60, 10, 50, 20, 30])
    left = model_of(("decision_type=8 1", "decision_type=10 1"))
    assert left.raw_predict(X)[1] == 0.25
    as_zero = model_of(("decision_type=8 1", "decision_type=0 1"))
    assert as_zero.raw_predict(X)[1] == 0.25
    above = model_of(("decision_type=8 1", "decision_type=2 1"), ("0.5 0", "-0.5 0"))
    assert above.raw_predict(X)[1] == -1


DAMAGE = [
    ("tree\nversion", "lightgbm\nversion", "line 1: expected 'tree'"),
    ("version=v4", "version=v2", "line 2, field 'version': expected one of v3, v4, got 'v2'"),
    ("version=v4\n", "", "line 1: the header has no field 'version'; the file is incomplete"),
    ("num_class=1\n", "", "the header has no field 'num_class'"),
    ("num_class=1\n", "num_class=0\n", "field 'num_class': expected an integer from 1"),
    ("num_class=1\n", "num_class=2\n", "'num_tree_per_iteration': expected num_class, 2"),
    ("num_class=1\n", "num_class=2147483647\n", "'num_tree_per_iteration': expected num_class"),
    ("idx=1", "idx=1000000000", "'feature_names': expected 1000000001 words, one per feature, got"),
    ("idx=1", "idx=-1", "'max_feature_idx': expected an integer from 0 to"),
    ("idx=1", "idx=\u0661", "'max_feature_idx': expected an integer from 0 to"),
    ("Column_0 kind", "Column_0  kind", "'feature_names': expected 2 words"),
    ("[-1:1] 0:1:4", "[-1:1]", "'feature_infos': expected 2 words"),
    ("binary sigmoid:1", "lambdarank", "'objective': expected a binary, multiclassova or multi"),
    ("binary sigmoid:1", "regression", "other objectives have no counterpart"),
    ("binary sigmoid:1", "binary sigmoid:0.5", "'objective': expected 'binary' with sigmoid:1"),
    ("binary sigmoid:1", "binary", "'objective': expected 'binary' with sigmoid:1"),
    ("objective=binary sigmoid:1\n", "", "the header has no field 'objective'"),
    ("label_index=0", "average_output", "'average_output': a random forest averages"),
    ("label_index=0\n", "", "the header has no field 'label_index'"),
    ("label_index=0", "num_class=1", "line 5: the header has the field 'num_class' twice"),
    ("tree_sizes=SIZE\n", "", "the header has no field 'tree_sizes'"),
    ("Tree=0", "Tree=1", "line 12: expected 'Tree=0', got 'Tree=1'"),
    ("end of trees\n", "", "the file ends before 'end of trees'; it is truncated"),
    ("num_leaves=3\n", "", "line 12: tree 0 has no field 'num_leaves'"),
    ("num_leaves=3", "num_leaves=1000000000", "'leaf_value': expected 1000000000 numbers, got 3"),
    ("num_leaves=3", "num_leaves=0", "'num_leaves': expected an integer from 1"),
    ("num_leaves=3", "num_leaves=3.0", "'num_leaves': expected an integer from 1 .*, got '3.0'"),
    ("num_cat=1", "num_cat=3", "'num_cat': expected an integer from 0 to 2"),
    ("num_cat=1", "num_cat=0", "'threshold': expected category splits numbered from 0 to -1"),
    ("num_cat=1", "num_cat=2", "'cat_boundaries': expected 3 integers, got 2"),
    (
        "split_feature=0 1",
        "split_feature=0 2",
        "'split_feature': expected integers from 0 to 1, got 2",
    ),
    ("split_feature=0 1", "split_feature=0 -1", "'split_feature': expected integers from 0 to 1"),
    ("split_feature=0 1", "split_feature=1 1", "'decision_type': a feature is split by threshold"),
    ("split_feature=0 1\n", "", "tree 0 has no field 'split_feature'"),
    ("split_gain=2 1", "split_gain=nan 1", "'split_gain': expected numbers, got 'nan'"),
    ("threshold=0.5 0", "threshold=nan 0", "'threshold': expected numbers, got 'nan'"),
    ("threshold=0.5 0", "threshold=-inf 0", "'threshold': expected thresholds above -inf"),
    ("threshold=0.5 0", "threshold=0.5 0.5", "'threshold': expected category splits numbered"),
    ("threshold=0.5 0", "threshold=0_5 0", "'threshold': expected numbers, got '0_5'"),
    ("type=8 1", "type=8 16", "'decision_type': expected integers from 0 to 15, got 16"),
    ("type=8 1", "type=12 1", "'decision_type': no kind of missing values has number 3"),
    ("type=8 1", "type=4 1", r"'decision_type': .*\(zero_as_missing\)"),
    ("decision_type=8 1\n", "", "tree 0 has no field 'decision_type'"),
    (
        "left_child=-1 -2",
        "left_child=-1 0",
        "'left_child': with 'right_child', expected every node",
    ),
    (
        "left_child=-1 -2",
        "left_child=-1 1",
        "'left_child': with 'right_child', expected every node",
    ),
    ("left_child=-1 -2", "left_child=-1 -1", "expected every node but the root as a child exactly"),
    (
        "left_child=-1 -2",
        "left_child=-1 -4",
        "'left_child': expected integers from -3 to 1, got -4",
    ),
    ("left_child=-1 -2", "left_child=-1 2", "'left_child': expected integers from -3 to 1, got 2"),
    ("leaf_value=0.25 -1 2", "leaf_value=nan -1 2", "'leaf_value': expected numbers, got 'nan'"),
    ("leaf_value=0.25 -1 2", "leaf_value=1e999 -1 2", "'leaf_value': expected finite numbers"),
    (
        "leaf_value=0.25 -1 2",
        "leaf_value=0.25 -1",
        "line 21, field 'leaf_value': expected 3 numbers",
    ),
    ("leaf_value=0.25 -1 2\n", "", "tree 0 has no field 'leaf_value'"),
    ("leaf_count=10 20 30", "leaf_count=10 20 -30", "'leaf_count': expected integers from 0"),
    ("leaf_count=10 20 30\n", "", "tree 0 has no field 'leaf_count'"),
    ("internal_count=60 50\n", "", "tree 0 has no field 'internal_count'"),
    (
        "cat_boundaries=0 1",
        "cat_boundaries=0 2147483647",
        "'cat_threshold': expected 2147483647 int",
    ),
    (
        "cat_boundaries=0 1",
        "cat_boundaries=1 0",
        "'cat_boundaries': expected ascending numbers from 0",
    ),
    (
        "cat_threshold=17",
        "cat_threshold=4294967296",
        "'cat_threshold': expected integers from 0 to",
    ),
    ("cat_threshold=17\n", "", "tree 0 has no field 'cat_threshold'"),
    ("is_linear=0", "is_linear=1", "'is_linear': trees with linear leaves cannot be read"),
    ("is_linear=0", "\nis_linear=0", "line 30: expected a field of tree 0 or an empty line"),
    ("internal_value=0 0", "internal_value=0 =", "'internal_value': expected numbers, got '='"),
    ("shrinkage=1", "shrinkage=x", "'shrinkage': expected numbers, got 'x'"),
    ("is_linear=0", "a=\nb=\nc=\nd=\ne=\nis_linear=0", "line 12: expected tree 0 to have up to 22"),
    ("shrinkage=1\n\n\n", "shrinkage=1\n", "and then an empty line, got 18 fields"),
    ("is_linear=0", "linear", "line 29: expected a field of tree 0 or an empty line, got 'linear'"),
    (
        "end of trees\n",
        "end of trees\npandas_categorical:[[1]",
        "line 34.*: expected lists in JSON",
    ),
    (
        "end of trees\n",
        "end of trees\npandas_categorical:[[[]]]\n",
        "lists of distinct numbers and",
    ),
    ("end of trees\n", "end of trees\npandas_categorical:[[1, 1]]\n", "lists of distinct numbers"),
    (
        "end of trees\n",
        "end of trees\npandas_categorical:[[1], [2]]\n",
        "the categories of 2 columns",
    ),
]


@pytest.mark.parametrize(("old", "new", "message"), DAMAGE)
def test_each_check(model_of, old, new, message):
    with pytest.raises(LightGBMFormatError, match=message):
        model_of((old, new))


def test_nodes_in_a_circle(model_of):
    """Each is the child of one, but none of them of the root."""
    tree = [
        ("num_leaves=3\nnum_cat=1", "num_leaves=4\nnum_cat=0"),
        ("split_feature=0 1", "split_feature=0 0 0"),
        ("split_gain=2 1", "split_gain=1 1 1"),
        ("threshold=0.5 0", "threshold=1 2 3"),
        ("decision_type=8 1", "decision_type=8 8 8"),
        ("left_child=-1 -2", "left_child=-1 2 1"),
        ("right_child=1 -3", "right_child=-2 -3 -4"),
        ("leaf_value=0.25 -1 2", "leaf_value=0 1 2 3"),
        ("leaf_weight=1 2 3", "leaf_weight=1 2 3 4"),
        ("leaf_count=10 20 30", "leaf_count=10 20 30 40"),
        ("internal_value=0 0", "internal_value=0 0 0"),
        ("internal_weight=6 5", "internal_weight=6 5 4"),
        ("internal_count=60 50", "internal_count=60 50 40"),
    ]
    with pytest.raises(LightGBMFormatError, match=r"'left_child': .* of each other in a circle"):
        model_of(*tree)


def test_a_model_whose_trees_have_other_sizes(model_of, fuzz):
    text = fuzz.fit_tree_sizes(HAND_WRITTEN).replace("leaf_value=0.25", "leaf_value=0.250")
    with pytest.raises(
        LightGBMFormatError, match="line 10, field 'tree_sizes': tree 0 should have"
    ):
        from_lightgbm(text)
    with pytest.raises(LightGBMFormatError, match="line 10, field 'tree_sizes': expected integers"):
        model_of(sizes=False)


def test_other_line_ends(fuzz):
    """Such a file is read if its sizes are true: they count bytes."""
    text = fuzz.fit_tree_sizes(HAND_WRITTEN.replace("\n", "\r\n"))
    assert from_lightgbm(text).raw_predict([[0, 0]]) == 0.25
    with pytest.raises(LightGBMFormatError, match="transferred with other line ends"):
        from_lightgbm(fuzz.fit_tree_sizes(HAND_WRITTEN).replace("\n", "\r\n"))


OWN_DAMAGE = [
    ("header={", "header=[", "field 'header': "),
    ("header={", 'header={"model": NaN, ', "field 'header': NaN is not JSON"),
    (
        '"model": "MultiTask',
        '"model": "Other',
        "field 'header': expected a MultiTaskLGBMClassifier",
    ),
    ("end of mtgbm\n", "", "the file ends before 'end of mtgbm'"),
    ("\nn_bins=", "\nn_bin=", r"the section 'mtgbm:' has no field 'n_bins'"),
    ("\nn_bins=", "\nn_bins=7 ", "field 'n_bins': expected 5 integers, got 6"),
    ("\nthresholds=", "\nthresholds=7 ", "field 'thresholds': expected"),
    ("\nfirst_values=", "\nlast_values=", "without 'first_values', expected a model of no tree"),
    ("\ngradients=", "\ngradients=1 ", "field 'gradients': expected"),
    ("\nweights_history=", "\nweights_history=1 ", "'weights_history': expected rows of 3"),
    ("\ncurves=", "\ncurves=1 ", "field 'header': expected .* scores of distinct curves"),
]


@pytest.mark.parametrize(("old", "new", "message"), OWN_DAMAGE)
def test_each_check_of_our_own_lines(fitted, old, new, message):
    text = write_lightgbm(fitted("tasks")[0])
    assert text.count(old) == 1
    with pytest.raises(LightGBMFormatError, match=message):
        read_lightgbm(text.replace(old, new))


@pytest.mark.parametrize("name", ["base_score", "first_values"])
def test_our_own_lines_must_fit_the_trees(fitted, name):
    text = write_lightgbm(fitted("tasks")[0])
    changed = re.sub(rf"(\n{name}=-?)", r"\g<1>7", text)
    with pytest.raises(LightGBMFormatError, match="it does not give the leaf values of the first"):
        read_lightgbm(changed)


def test_bins_and_trees_must_fit(fitted):
    text = write_lightgbm(fitted("tasks")[0])
    nodes = fitted("tasks")[0].forest_.trees[0].nodes
    threshold = float(nodes["threshold"][0])
    end_of_bins = re.search(rf"\nthresholds=.*{re.escape(repr(threshold))}", text).end()
    start = end_of_bins - len(repr(threshold))
    other = repr(float(np.nextafter(threshold, -np.inf)))
    changed = text[:start] + other + text[end_of_bins:]
    with pytest.raises(LightGBMFormatError, match="is none of the bins of feature"):
        read_lightgbm(changed)


FILES = {
    "nothing": (Path.touch, "the model is empty"),
    "blanks": (lambda path: path.write_text(" \n\n"), "the model is empty"),
    "folder": (Path.mkdir, "expected a file, found a folder"),
    "pipe": (os.mkfifo, "expected a file, found a pipe or device"),
    "JSON": (lambda path: path.write_text('{"name": "tree"}'), "line 1: expected 'tree'"),
    "pickle": (lambda path: path.write_bytes(b"\x80\x04K\x01."), "line 1: expected 'tree'"),
    "latin-1": (lambda path: path.write_bytes(b"tree\nfeature_names=\xe9\n"), "line 2: .* 0xe9"),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("read", [read_lightgbm, from_lightgbm])
def test_files_that_are_no_model(tmp_path, name, read):
    make, message = FILES[name]
    make(tmp_path / "model.txt")
    with pytest.raises(LightGBMFormatError, match=f"cannot read .*model.txt: {message}"):
        read(tmp_path / "model.txt")


def test_sources_that_are_none(tmp_path):
    with pytest.raises(LightGBMFormatError, match="the model is empty"):
        read_lightgbm("")
    with pytest.raises(LightGBMFormatError, match="line 2: expected text in UTF-8"):
        read_lightgbm("tree\n\ud800")
    with pytest.raises(FileNotFoundError):
        read_lightgbm(tmp_path / "none.txt")
    with pytest.raises(TypeError, match=r"expected a path or the text .* got list"):
        from_lightgbm([1])


def test_what_is_declared_takes_no_memory(model_of):
    tracemalloc.start()
    try:
        for old, new, _ in DAMAGE:
            with pytest.raises(LightGBMFormatError):
                model_of((old, new))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**20


@pytest.fixture(scope="module")
def valid_files(fitted):
    names = ["one task", "own best rounds", "classes", "categories"]
    texts = [write_lightgbm(fitted(name)[0]) for name in names]
    return [text.encode() for text in [*texts, *map(plain, texts)]]


def test_valid_files_are_read(valid_files):
    for content in valid_files:
        assert from_lightgbm(content.decode()).n_features_in_ == 5


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_damaged_files_give_our_error_or_a_usable_model(valid_files, fuzz, data):
    content = data.draw(st.sampled_from(valid_files))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    damaged = fuzz.mutate_text(content, rng)
    try:
        model = from_lightgbm(damaged.decode(errors="surrogateescape") + "\n")
    except LightGBMFormatError:
        return
    rows = np.array([[np.nan] * model.n_features_in_, [1.0] * model.n_features_in_])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.isfinite(model.raw_predict(rows)).all()


@settings(max_examples=100, deadline=None)
@given(st.integers(0))
def test_a_truncated_file_is_refused_or_whole(valid_files, length):
    content = valid_files[1]
    length %= len(content)
    whole = content.index(b"end of mtgbm") + len(b"end of mtgbm")
    if length < whole:
        with pytest.raises(LightGBMFormatError):
            read_lightgbm(content[:length].decode(errors="replace") + "\n")


def test_the_fuzz_script_runs(fuzz, tmp_path):
    kind = fuzz.lightgbm_format()
    found, _ = fuzz.fuzz(kind, 30, seed=0, keep=tmp_path)
    assert found.total() == 30
    assert found["refused"] > 10
    assert not list(tmp_path.iterdir())


def test_scanning_changes_nothing(fitted):
    text = write_lightgbm(fitted("tasks")[0])
    scanned = scan(text.encode())
    fields = [field for section in scanned.trees for field in section.fields.values()]
    lines = text.split("\n")
    assert all(lines[field.line - 1] == f"{field.name}={field.text}" for field in fields)


# The table of trees -----------------------------------------------------------------------------


def test_the_table_of_trees(fitted):
    model, X, _ = fitted("pandas")
    table = trees_to_dataframe(model)
    trees = model.forest_.trees
    assert len(table) == sum(len(tree.nodes) for tree in trees)
    assert set(table["tree"]) == set(range(len(trees)))
    roots = table[table["node"] == 0]
    assert (roots["count"] == len(X)).all()
    splits, leaves = table[table["leaf"].isna()], table[table["leaf"].notna()]
    assert set(splits["feature"]) <= set(X.columns)
    assert set(splits["missing"]) <= {"left", "right"}
    assert (
        leaves[["left", "right", "threshold", "feature", "categories", "missing"]]
        .isna()
        .all(axis=None)
    )
    by_category = splits["categories"].notna()
    assert by_category.any()
    assert (splits["threshold"].isna() == by_category).all()
    known = set(X["text"].cat.categories)
    assert all(set(own) <= known for own in splits[splits["feature"] == "text"]["categories"])
    for number, task in enumerate(model.task_names_):
        gains = splits.groupby("feature")[f"gain_{task}"].sum().reindex(X.columns, fill_value=0)
        np.testing.assert_allclose(gains, model.task_importances("gain")[number])
        values = np.concatenate([tree.values[:, number] for tree in trees])
        assert_array_equal(np.sort(leaves[f"value_{task}"]), np.sort(values))
    assert splits[[f"value_{task}" for task in model.task_names_]].isna().all(axis=None)


def test_the_table_of_trees_walked_by_hand(fitted):
    model, X, _ = fitted("missing")
    table = trees_to_dataframe(model).set_index(["tree", "node"])
    for row in X[:20]:
        raw = model.forest_.base_score.copy()
        for tree in range(model.best_iteration_):
            node = table.loc[tree, 0]
            while node["leaf"] is pd.NA:
                x = row[node["feature"]]
                left = node["missing"] == "left" if np.isnan(x) else x <= node["threshold"]
                node = table.loc[tree, node["left"] if left else node["right"]]
            raw += node[[f"value_{task}" for task in model.task_names_]].to_numpy(float)
        assert_array_equal(raw, model.raw_predict(row[None])[0])


def test_the_table_names_classes_and_positions(fitted):
    table = trees_to_dataframe(fitted("mixed")[0])
    gains = [name for name in table if name.startswith("gain_")]
    assert gains == [
        "gain_task_0",
        "gain_task_1=0.0",
        "gain_task_1=1.0",
        "gain_task_1=2.0",
        "gain_task_2",
    ]
    assert set(table["feature"].dropna()) <= set(range(5))


def test_models_without_a_table(fitted, make_model):
    with pytest.raises(NotFittedError):
        trees_to_dataframe(make_model())
    empty = copy.deepcopy(fitted("tasks")[0])
    empty.forest_.trees.clear()
    with pytest.raises(ValueError, match="the model has no trees"):
        trees_to_dataframe(empty)
