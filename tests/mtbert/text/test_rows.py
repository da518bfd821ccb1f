"""What is a row, what is missing, and what the transformers owe scikit-learn."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import (
    check_get_params_invariance,
    check_no_attributes_set_in_init,
    check_parameters_default_constructible,
    check_set_params,
)

from mtbert.text import NAMED_STEPS, EmojiRemover, TextNormalizer
from mtbert.text.rows import read_rows

TEXTS = ["one", None, "three"]
STEPS = list(NAMED_STEPS.values())


@pytest.mark.parametrize(
    "X",
    [
        TEXTS,
        tuple(TEXTS),
        ["one", np.nan, "three"],
        ["one", np.float32("nan"), "three"],
        ["one", pd.NA, "three"],
        ["one", pd.NaT, np.str_("three")],
        np.array(TEXTS, dtype=object),
        pd.Series(TEXTS, index=[7, 5, 3]),
        pd.Series(TEXTS, dtype="string"),
        pd.Series(TEXTS, dtype="category"),
        pl.Series(TEXTS),
    ],
    ids=lambda X: type(X).__name__,
)
def test_containers_of_texts(X):
    rows = read_rows(X)
    assert rows == ["one", "", "three"]
    assert {type(row) for row in rows} == {str}


@pytest.mark.parametrize(
    "X",
    [
        [["a", None], ["b"], []],
        [("a", np.nan), ["b"], ()],
        pd.Series([np.array(["a", None], dtype=object), ["b"], np.array([], dtype=str)]),
        pl.Series([["a", None], ["b"], []]),
    ],
)
def test_containers_of_messages(X):
    assert read_rows(X) == [["a", ""], ["b"], []]


def test_texts_and_messages_can_be_mixed():
    assert TextNormalizer().transform([" a ", [" b", "c "]]) == ["a", ["b", "c"]]


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ("a text", TypeError, "got str; put a single text into a list"),
        (b"a text", TypeError, "got bytes"),
        (5, TypeError, "got int"),
        ({"a": 1}, TypeError, "got dict"),
        ({"a"}, TypeError, "got set"),
        (iter(["a"]), TypeError, "got list_iterator"),
        (pd.DataFrame({"a": ["x"]}), ValueError, r"DataFrame of shape \(1, 1\); take the column"),
        (pl.DataFrame({"a": ["x"]}), ValueError, r"DataFrame of shape \(1, 1\)"),
        (np.array([["x"]]), ValueError, r"ndarray of shape \(1, 1\)"),
        (["a", 5], TypeError, r"Row 1 must be text or a list of messages, got int 5; .*astype"),
        (pd.Series([1.5]), TypeError, "Row 0 must be text or a list of messages, got float 1.5"),
        ([b"a"], TypeError, "Row 0 .* got bytes"),
        ([["a"], ["b", 3]], TypeError, "Row 1, message 1 must be text, got int 3"),
        ([[["a"]]], TypeError, "Row 0, message 0 must be text, got list"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "transform"])
def test_what_is_not_text_is_refused(method, X, error, message):
    with pytest.raises(error, match=message):
        getattr(EmojiRemover(), method)(X)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "check",
    [
        check_get_params_invariance,
        check_no_attributes_set_in_init,
        check_parameters_default_constructible,
        check_set_params,
    ],
)
def test_scikit_learn_checks(step, check):
    check(step.__name__, step())


@pytest.mark.parametrize("step", STEPS)
def test_a_clone_and_a_pickle_do_the_same(step, dialogues):
    fitted = step().fit(dialogues)
    expected = repr(fitted.transform(dialogues))
    assert repr(pickle.loads(pickle.dumps(fitted)).transform(dialogues)) == expected
    assert repr(clone(fitted).fit_transform(dialogues)) == expected


@pytest.mark.parametrize("step", STEPS)
def test_no_rows_give_no_rows(step):
    assert step().fit(["some text"]).transform([]) == []
