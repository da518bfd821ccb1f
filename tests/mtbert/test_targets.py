"""Class numbers in the user's order, and weights of labels."""

import json

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils.class_weight import compute_sample_weight

from mtbert.targets import Targets, label_weights

STRINGS = np.array(["low", "high", "mid", "low", "high", "low"])
SEVERAL = pd.DataFrame({"view": [1, 0, 1, 1], "buy": [0, np.nan, 1, 0]})


def weights_of(y, sample_weight=None, class_weight=None, classes=None):
    targets = Targets(classes)
    return label_weights(targets, targets.fit_transform(y), sample_weight, class_weight)


def test_classes_are_sorted_unless_told():
    targets = Targets()
    assert targets.fit_transform(STRINGS)[:, 0].tolist() == [1, 0, 2, 1, 0, 1]
    assert targets.classes_.tolist() == ["high", "low", "mid"]
    assert targets.n_outputs_ == 3
    assert targets.is_multiclass_


def test_the_given_order_is_kept():
    targets = Targets(["low", "mid", "high"])
    assert targets.fit_transform(STRINGS)[:, 0].tolist() == [0, 2, 1, 0, 2, 0]
    assert targets.classes_.tolist() == ["low", "mid", "high"]
    assert targets.transform(["mid", "low"])[:, 0].tolist() == [1, 0]


def test_a_given_class_may_be_absent():
    targets = Targets([2, 0, 1])
    assert targets.fit_transform([0, 1, 1])[:, 0].tolist() == [1, 2, 2]
    assert targets.n_outputs_ == 3


def test_several_tasks_keep_missing_labels():
    targets = Targets()
    assert targets.fit_transform(SEVERAL).tolist() == [[1, 0], [0, -1], [1, 1], [1, 0]]
    assert targets.classes_.tolist() == [[0, 1], [0, 1]]
    assert targets.n_outputs_ == 2
    assert not targets.is_multiclass_


@pytest.mark.parametrize(
    ("classes", "y", "message"),
    [
        (["low", "mid"], STRINGS, "y holds 'high' too"),
        (["low", "low", "mid"], STRINGS, "must name each class once"),
        ([0, 1], SEVERAL, "classes is for a 1-d y; each of the 2 tasks"),
        (None, ["a", "a"], r"got 1 class: \['a'\]; there is nothing to tell apart"),
        (None, [[np.nan, 1], [np.nan, 0]], "task 'task_0' has no label"),
        (None, [[2, 1], [0, 0]], "is binary: expected labels 0, 1 or NaN"),
    ],
)
def test_labels_that_cannot_be_learned(classes, y, message):
    with pytest.raises(ValueError, match=message):
        Targets(classes).fit_transform(y)


@pytest.mark.parametrize("y", [STRINGS, np.array([0, 1, 1, 1]), SEVERAL], ids=["str", "int", "2d"])
def test_state_survives_json(y):
    targets = Targets()
    expected = targets.fit_transform(y)
    restored = Targets.from_state(json.loads(json.dumps(targets.to_state())))
    assert_array_equal(restored.transform(y), expected)
    assert_array_equal(restored.classes_, targets.classes_)
    assert restored.classes_.dtype == targets.classes_.dtype
    assert restored.n_outputs_ == targets.n_outputs_


def test_a_given_order_survives_json():
    targets = Targets(["low", "mid", "high"])
    targets.fit_transform(STRINGS)
    restored = Targets.from_state(json.loads(json.dumps(targets.to_state())))
    assert restored.classes_.tolist() == ["low", "mid", "high"]
    assert restored.transform(["mid"]).tolist() == [[1]]


def test_weights_are_1_on_average_and_0_where_a_label_is_missing():
    weights = weights_of(SEVERAL, sample_weight=[1, 1, 1, 5])
    assert weights.tolist()[1][1] == 0
    assert_allclose(weights[weights > 0].mean(), 1, rtol=1e-6)
    assert_allclose(weights[3, 0] / weights[0, 0], 5, rtol=1e-6)


def test_balanced_weights_are_those_of_scikit_learn():
    expected = compute_sample_weight("balanced", STRINGS)
    found = weights_of(STRINGS, class_weight="balanced")[:, 0]
    assert_allclose(found, expected / expected.mean(), rtol=1e-6)


@pytest.mark.parametrize(
    ("class_weight", "classes", "expected"),
    [
        ({"low": 2.0}, None, [2, 1, 1, 2, 1, 2]),
        ([1, 2, 4], None, [2, 1, 4, 2, 1, 2]),
        ([1, 2, 4], ["low", "mid", "high"], [1, 4, 2, 1, 4, 1]),
    ],
)
def test_given_class_weights(class_weight, classes, expected):
    found = weights_of(STRINGS, class_weight=class_weight, classes=classes)[:, 0]
    assert_allclose(found, np.array(expected) / np.mean(expected), rtol=1e-6)


def test_class_weights_of_several_tasks_are_those_of_label_1():
    found = weights_of(SEVERAL, class_weight={"buy": 3.0})
    assert_allclose(found / found[0, 0], [[1, 1], [1, 0], [1, 3], [1, 1]], rtol=1e-6)


@pytest.mark.parametrize(
    ("y", "class_weight", "message"),
    [
        (STRINGS, [1, 2], "2 values, expected one for each of the 3 classes"),
        (STRINGS, {"tall": 1}, r"names 'tall'; the classes are \['high', 'low', 'mid'\]"),
        (STRINGS, "equal", "None, 'balanced', a dict or a list, got 'equal'"),
        (STRINGS, [1, 2, -1], "finite and above 0"),
        (SEVERAL, [1, 2, 3], "3 values for 2 tasks"),
        (SEVERAL, {"bye": 2}, "did you mean 'buy'"),
    ],
)
def test_bad_class_weights(y, class_weight, message):
    with pytest.raises(ValueError, match=message):
        weights_of(y, class_weight=class_weight)


@pytest.mark.filterwarnings("ignore:task .* has a single class")
def test_weights_that_leave_no_label():
    y = pd.DataFrame({"view": [1, np.nan], "buy": [0, np.nan]})
    with pytest.raises(ValueError, match="no label has a weight above 0"):
        weights_of(y, sample_weight=[0, 1])
