"""The file of a stacked model: words are counted and trees asked as the estimator does it."""

import json

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from onnx import TensorProto, helper

from mtbert import OnnxScorer
from mtbert.onnx.names import words_input
from mtbert.onnx.stack import _add_frequencies, describe_words
from mtbert.onnx.words import WordNumbers, pad_words
from mtbert.stacking import Stack
from mtbert.stacking.terms import TermFrequencies
from mtgbm.io._onnx_graph import IR_VERSION, OPSETS, Graph

NAMES = ["late", "ok", "bäd"]
WORDS = words_input(0)
SMALL_TREES = {"n_estimators": 12, "min_child_samples": 4}


def several_tasks(y):
    return pd.DataFrame({"kept": y > 0, "torn": np.where(y == 1, np.nan, y == 2)}, dtype=float)


CASES = {
    "multimodal_cnn": ({"join": "mean"}, {"labels": lambda y: np.array(NAMES)[y]}),
    "multimodal_bert": ({"join": "blend", "n_topics": 4}, {"texts": ["review"]}),
    "multimodal_cross_attn": (
        {"join": "trees", "folds": 2, "features": ["net_scores", "net_embedding", "columns"]},
        {"labels": several_tasks, "texts": ["review"]},
    ),
    # The trees alone see the columns.
    "bert": (
        {"join": "mean", "features": ["text_scores", "columns"], "text_model": {"max_features": 9}},
        {"labels": lambda y: np.array(NAMES)[y], "texts": ["title"]},
    ),
    "lstm": (
        {"join": "mean", "features": ["text_topics"], "text_model": {"ngram_range": (2, 3)}},
        {"labels": several_tasks},
    ),
}


@pytest.mark.parametrize("architecture", CASES)
def test_every_kind_of_stack(architecture, fit, written, others):
    options, parameters = CASES[architecture]
    options = options | {"trees": SMALL_TREES}
    model = fit(architecture, stacking="gbdt", stacking_options=options, **parameters)
    want = model.predict_proba(others)
    net = model.network_
    scorer = written(model)
    assert_allclose(scorer.predict_proba(others), want, rtol=0, atol=1e-5)
    for rows in ([3], [2, 0]):
        found = scorer.predict_proba(others.iloc[rows])
        assert_allclose(found, want[rows], rtol=0, atol=1e-5)
    assert model.network_ is net
    # The trees say something: without them, the answer is another one.
    model.stack_ = None
    assert np.abs(model.predict_proba(others) - want).max() > 1e-3


def test_words_without_columns(make_model, make_parcels, written, others):
    X, y = make_parcels()
    model = make_model(epochs=1, stacking="gbdt", stacking_options={"join": "mean"})
    model.fit(X[["review"]], y > 0)
    scorer = written(model)
    assert scorer.column_names_ == ["review"]
    table = others[["review"]]
    assert_allclose(scorer.predict_proba(table), model.predict_proba(table), rtol=0, atol=1e-5)
    feed = scorer.inputs(table)
    assert feed[WORDS].dtype == np.int64
    assert len(feed[WORDS]) == len(table)
    assert words_input(1) not in feed  # one text column is all text


def test_int8_leaves_the_trees_alone(fit, others, tmp_path):
    options = {"join": "trees", "folds": 2, "features": ["text_scores", "columns"]}
    model = fit(
        "multimodal_bert",
        texts=["review"],
        stacking="gbdt",
        stacking_options=options | {"trees": SMALL_TREES},
    )
    model.to_onnx(tmp_path / "model.onnx", quantize="int8")
    found = OnnxScorer(tmp_path / "model.onnx").predict_proba(others)
    assert_allclose(found, model.predict_proba(others), rtol=0, atol=1e-9)


def test_columns_named_like_tensors(make_model, make_parcels, written):
    X, y = make_parcels()
    names = ["one", "logits", "add", "constant"]
    X = X[["review"]].assign(**{name: X["price"] + i for i, name in enumerate(names)})
    model = make_model(epochs=1, stacking="gbdt", stacking_options={"join": "mean"}).fit(X, y > 0)
    want = model.predict_proba(X)
    assert_allclose(written(model).predict_proba(X), want, rtol=0, atol=1e-5)


def test_a_column_named_like_the_input_of_words(make_model, make_parcels, tmp_path):
    X, y = make_parcels()
    X = X[["review", "price"]].rename(columns={"price": WORDS})
    model = make_model(epochs=1, stacking="gbdt", stacking_options={"join": "mean"}).fit(X, y > 0)
    with pytest.raises(ValueError, match="'text_words_0' cannot be an input"):
        model.to_onnx(tmp_path / "model.onnx")


# Words ------------------------------------------------------------------------------------------

TEXTS = st.lists(st.text(alphabet="abAB é!漢 \n_0", max_size=12), min_size=1, max_size=6)


def counter(terms, words):
    """A file that gives the frequencies of terms for the input of words."""
    graph = Graph(None, 0, "float64", ["frequencies"])
    graph.add("Identity", _add_frequencies(graph, WORDS, terms), output="frequencies")
    _, nodes, constants = graph.parts()
    made = helper.make_graph(
        nodes,
        "words",
        [helper.make_tensor_value_info(WORDS, TensorProto.INT64, ["n", "m"])],
        [helper.make_tensor_value_info("frequencies", TensorProto.DOUBLE, ["n", "t"])],
        initializer=constants,
    )
    opsets = [helper.make_opsetid(*opset) for opset in OPSETS.items()]
    model = helper.make_model(made, opset_imports=opsets, ir_version=IR_VERSION)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {WORDS: words})[0]


@settings(max_examples=60, deadline=None)
@given(
    learned=TEXTS,
    seen=TEXTS,
    shortest=st.integers(1, 2),
    more=st.integers(0, 2),
    most=st.integers(1, 9),
)
def test_terms_are_counted_as_the_trees_saw_them(learned, seen, shortest, more, most):
    learned = [*learned, "a b ab ! é", "a b a b"]  # so that there are terms of every length
    terms = TermFrequencies(("text",), ngram_range=(shortest, shortest + more), max_features=most)
    terms.fit_transform(pd.DataFrame({"text": learned}))
    stack = Stack.__new__(Stack)
    stack.terms_ = [terms]
    (described,) = json.loads(json.dumps(describe_words(stack)))
    assert described.pop("columns") == ["text"]
    words = pad_words(WordNumbers(**described)([seen]))
    want = terms.transform(pd.DataFrame({"text": seen})).toarray()
    assert_allclose(counter(terms, words), want, rtol=1e-12, atol=1e-15)


def test_words_of_all_columns_follow_each_other():
    numbers = WordNumbers(r"\w+", ["coat", "soft"])
    assert numbers([["Soft coat", ["a", "COAT"]], ["", "soft"]]) == [[2, 1], [0, 1, 2]]
    assert pad_words([[2, 1], [], [1]]).tolist() == [[2, 1], [0, 0], [1, 0]]
    assert pad_words([[]]).tolist() == [[0]]
