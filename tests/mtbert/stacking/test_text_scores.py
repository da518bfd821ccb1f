"""A linear model of words."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline

from mtbert.stacking.folds import deal_folds
from mtbert.stacking.terms import TERM, TermFrequencies
from mtbert.stacking.text_scores import TextScores


class TextModel:
    """Frequencies of terms, and the scores learned from them."""

    def __init__(self, targets, max_features):
        self.terms = TermFrequencies(("review",), ngram_range=(1, 2), max_features=max_features)
        self.scores = TextScores(targets, C=4.0)

    def transform(self, X):
        return self.scores.transform(self.terms.transform(X))


def learn(X, labels, targets, fold_of, max_features=500):
    model = TextModel(targets, max_features)
    weights = (labels >= 0).astype(np.float32)
    frequencies = model.terms.fit_transform(X)
    return model, model.scores.fit_transform(frequencies, labels, weights, fold_of)


def held_out(labels):
    return deal_folds(labels, 3, seed=0)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_scikit_learns_pipeline_gives_the_same(
    make_reviews, make_targets, in_library, library, n_classes
):
    X, y = make_reviews(90, n_classes=n_classes)
    targets, labels = make_targets(y)
    table = in_library[library](X)
    scores, apart = learn(table, labels, targets, held_out(labels))
    vectorizer = TfidfVectorizer(
        token_pattern=TERM, ngram_range=(1, 2), max_features=500, sublinear_tf=True
    )
    oracle = make_pipeline(vectorizer, LogisticRegression(C=4.0, max_iter=1000))
    expected = oracle.fit(X["review"], y).decision_function(X["review"]).reshape(90, -1)
    assert_allclose(scores.transform(table), expected, atol=1e-8)
    assert apart.shape == expected.shape == (90, 1 if n_classes == 2 else 3)


def test_scores_do_not_depend_on_the_labels_of_their_own_fold(make_reviews, make_targets):
    X, y = make_reviews(60)
    targets, labels = make_targets(y)
    fold_of = held_out(labels)
    turned = np.where((fold_of == 1)[:, None], 1 - labels, labels)
    first, second = (learn(X, each, targets, fold_of)[1] for each in (labels, turned))
    assert_array_equal(first[fold_of == 1], second[fold_of == 1])
    assert (first[fold_of != 1] != second[fold_of != 1]).all()


def test_noise_has_no_skill_out_of_fold(make_targets):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"review": [f"word{i} of{i % 40} row" for i in range(300)]})
    y = rng.integers(0, 2, 300)
    targets, labels = make_targets(y)
    scores, apart = learn(X, labels, targets, held_out(labels), max_features=5000)
    assert roc_auc_score(y, scores.transform(X)[:, 0]) > 0.95  # learned by heart
    assert roc_auc_score(y, apart[:, 0]) < 0.58


def test_several_tasks_with_missing_labels(make_reviews, make_targets, several_tasks):
    X, _ = make_reviews(90)
    several_tasks[:, 2] = np.where(np.arange(90) % 2, 1, np.nan)  # one class only
    with pytest.warns(UserWarning, match="single class"):
        targets, labels = make_targets(several_tasks)
    scores, apart = learn(X, labels, targets, held_out(labels))
    known = labels[:, 1] >= 0
    vectorizer = TfidfVectorizer(
        token_pattern=TERM, ngram_range=(1, 2), max_features=500, sublinear_tf=True
    )
    frequencies = vectorizer.fit_transform(X["review"])
    oracle = LogisticRegression(C=4.0, max_iter=1000).fit(frequencies[known], labels[known, 1])
    found = scores.transform(X)
    assert_allclose(found[:, 1], oracle.decision_function(frequencies), atol=1e-8)
    assert (found[:, 2] > 3).all()
    assert np.isfinite(apart).all()


@pytest.mark.parametrize("classes", [["a", "b", "unseen"], ["unseen", "a", "b", "c"]])
def test_a_class_that_no_row_has(make_reviews, make_targets, classes):
    X, y = make_reviews(90, n_classes=len(classes) - 1)
    targets, labels = make_targets(np.array(["a", "b", "c"])[y], classes)
    scores, _ = learn(X, labels, targets, held_out(labels))
    found = scores.transform(X)
    unseen = classes.index("unseen")
    assert (found[:, unseen] < np.delete(found, unseen, axis=1).min(axis=1)).all()
    assert (found.argmax(axis=1) == labels[:, 0]).mean() > 0.95


def test_texts_without_any_pair_of_words():
    terms = TermFrequencies(("title",), ngram_range=(2, 2), max_features=9)
    with pytest.raises(ValueError, match="no text of 'title' has 2 words"):
        terms.fit_transform(pd.DataFrame({"title": ["soft", None, "warm"]}))


def test_missing_texts_messages_and_signs(make_targets):
    X = pd.DataFrame({"review": [["!!!", "great"], None, "…", ["great"], "", "!?"] * 5})
    targets, labels = make_targets([1, 0, 0, 1, 0, 0] * 5)
    scores, _ = learn(X, labels, targets, held_out(labels))
    assert "!" in scores.terms.terms_
    assert "great" in scores.terms.terms_
    found = scores.transform(X)[:6, 0]
    assert found[[0, 3]].min() > 0 > found[[1, 2, 4, 5]].max()
