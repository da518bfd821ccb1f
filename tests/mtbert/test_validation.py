"""Validation scores beside those of scikit-learn."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.metrics import accuracy_score, average_precision_score, log_loss, roc_auc_score

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


def test_unknown_metric():
    with pytest.raises(ValueError, match="unknown eval_metric 'acuracy'; did you mean 'accuracy'"):
        ValidationMetric("acuracy", False)
