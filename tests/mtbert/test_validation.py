"""Validation scores beside those of scikit-learn."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    f1_score,
    log_loss,
    make_scorer,
    matthews_corrcoef,
    roc_auc_score,
)

from mtbert.validation import ValidationMetric, probabilities

RNG = np.random.default_rng(0)
BINARY_LOGITS = RNG.normal(size=(50, 2)).astype(np.float32)
BINARY_LABELS = RNG.integers(-1, 2, (50, 2)).astype(np.int16)
CLASS_LOGITS = RNG.normal(size=(60, 3)).astype(np.float32)
CLASS_LABELS = RNG.integers(-1, 3, (60, 1)).astype(np.int16)

ORACLES = {
    "logloss": lambda y, p: log_loss(y, p),
    "auc": lambda y, p: roc_auc_score(y, p, multi_class="ovr"),
    "average_precision": lambda y, p: average_precision_score(y, p),
    "accuracy": lambda y, p: accuracy_score(y, p.argmax(axis=1) if np.ndim(p) == 2 else p > 0.5),
}


@pytest.mark.parametrize("name", ORACLES)
def test_several_tasks_are_the_mean_of_their_labelled_rows(name):
    found = ValidationMetric(name, False)(BINARY_LOGITS, BINARY_LABELS)
    p = probabilities(BINARY_LOGITS, False)
    per_task = [
        ORACLES[name](labels[labels >= 0], scores[labels >= 0])
        for labels, scores in zip(BINARY_LABELS.T, p.T, strict=True)
    ]
    assert_allclose(found, np.mean(per_task), rtol=1e-12)


@pytest.mark.parametrize("name", ORACLES)
def test_several_classes(name):
    known = CLASS_LABELS[:, 0] >= 0
    found = ValidationMetric(name, True)(CLASS_LOGITS, CLASS_LABELS)
    p = probabilities(CLASS_LOGITS, True)
    assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
    assert_allclose(found, ORACLES[name](CLASS_LABELS[known, 0], p[known]), rtol=1e-12)


@pytest.mark.parametrize(
    ("labels", "n_outputs", "is_multiclass"),
    [
        ([[1], [1]], 1, False),
        ([[1, -1], [1, 0]], 2, False),
        ([[0], [1], [1]], 3, True),
    ],
)
def test_rows_without_a_ranking(labels, n_outputs, is_multiclass):
    labels = np.array(labels, dtype=np.int16)
    with pytest.raises(ValueError, match="'auc' has no value on the validation rows"):
        ValidationMetric("auc", is_multiclass).check_defined(labels, n_outputs)
    ValidationMetric("logloss", is_multiclass).check_defined(labels, n_outputs)


def test_one_task_with_both_classes_is_enough():
    labels = np.array([[1, 0], [-1, 1]], dtype=np.int16)
    ValidationMetric("auc", False).check_defined(labels, 2)
    logits = np.array([[0.0, -1.0], [0.0, 1.0]])
    assert ValidationMetric("auc", False)(logits, labels) == 1


SCORERS = {
    "f1_macro": lambda y, p: f1_score(y, p.argmax(axis=1), average="macro"),
    "balanced_accuracy": lambda y, p: balanced_accuracy_score(y, p.argmax(axis=1)),
    "matthews_corrcoef": lambda y, p: matthews_corrcoef(y, p.argmax(axis=1)),
    "neg_log_loss": lambda y, p: -log_loss(y, p),
    "roc_auc_ovr": lambda y, p: roc_auc_score(
        y, p[:, 1] if p.shape[1] == 2 else p, multi_class="ovr"
    ),
}


@pytest.mark.parametrize("name", SCORERS)
def test_scorers_of_scikit_learn(name):
    metric = ValidationMetric(name, True)
    metric.check_defined(CLASS_LABELS, 3)
    known = CLASS_LABELS[:, 0] >= 0
    p = probabilities(CLASS_LOGITS, True)[known]
    found = metric(CLASS_LOGITS, CLASS_LABELS)
    assert_allclose(found, SCORERS[name](CLASS_LABELS[known, 0], p), rtol=1e-12)
    assert (metric.name, metric.sign) == (name, 1)


@pytest.mark.parametrize("name", [*SCORERS, "f1", "neg_brier_score"])
def test_scorers_of_several_tasks_are_the_mean_of_their_labelled_rows(name):
    oracles = SCORERS | {
        "f1": lambda y, p: f1_score(y, p[:, 1] > 0.5),
        "neg_brier_score": lambda y, p: -brier_score_loss(y, p[:, 1]),
    }
    metric = ValidationMetric(name, False)
    metric.check_defined(BINARY_LABELS, 2)
    per_task = [
        oracles[name](labels[labels >= 0], np.column_stack([1 - q, q])[labels >= 0])
        for labels, q in zip(BINARY_LABELS.T, probabilities(BINARY_LOGITS, False).T, strict=True)
    ]
    assert_allclose(metric(BINARY_LOGITS, BINARY_LABELS), np.mean(per_task), rtol=1e-12)


def share_of_the_first_row(estimator, X, y):
    """A scorer of one's own, which is told which rows it scores."""
    return estimator.predict_proba(X)[0, y[0]] + X[0, 0]


def test_a_scorer_of_ones_own():
    labels = np.array([[-1], [1], [0]], dtype=np.int16)
    metric = ValidationMetric(share_of_the_first_row, False)
    assert metric.name == "share_of_the_first_row"
    assert_allclose(metric(np.array([[0.0], [2.0], [0.0]]), labels), 1 + 1 / (1 + np.exp(-2)))
    own = ValidationMetric(make_scorer(f1_score, average="micro"), False)
    assert own.name == "score"
    assert own(np.array([[1.0], [2.0], [3.0]]), labels) == 0.5


@pytest.mark.parametrize("name", ["roc_auc", "f1"])
def test_a_scorer_that_cannot_score_the_rows(name):
    """Three classes, and a scorer of two."""
    with pytest.raises(ValueError, match=rf"'{name}' cannot score the validation rows.* raises"):
        ValidationMetric(name, True).check_defined(CLASS_LABELS, 3)


def test_a_scorer_that_gives_no_number():
    metric = ValidationMetric(lambda estimator, X, y: np.nan, False)
    with pytest.raises(ValueError, match="cannot score the validation rows, it gives nan"):
        metric.check_defined(BINARY_LABELS, 2)


def test_unknown_metric():
    with pytest.raises(ValueError, match="unknown eval_metric 'acuracy'; did you mean 'accuracy'"):
        ValidationMetric("acuracy", False)
