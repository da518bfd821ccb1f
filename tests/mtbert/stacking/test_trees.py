"""Trees, and how many."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import log_loss, roc_auc_score

from mtbert.stacking.folds import deal_folds
from mtbert.stacking.trees import CrossFittedTrees
from mtgbm import MultiTaskLGBMClassifier

PARAMETERS = {"n_estimators": 30, "learning_rate": 0.2, "num_leaves": 5, "n_jobs": 1}


def rows(n=240, n_classes=2, seed=0):
    rng = np.random.default_rng(seed)
    features = np.column_stack([rng.normal(size=(n, 3)), rng.integers(0, 6, n)])
    y = np.digitize(features[:, 0] + rng.normal(size=n), np.linspace(-1, 1, n_classes + 1)[1:-1])
    return features, y


def learn(features, labels, targets, n_folds=3, n_categorical=1, **parameters):
    fold_of = deal_folds(labels, n_folds, seed=0)
    trees = CrossFittedTrees(PARAMETERS | parameters, targets, seed=1)
    weights = (labels >= 0).astype(np.float32)
    return trees, trees.fit_transform(features, n_categorical, labels, weights, fold_of), fold_of


@pytest.mark.parametrize("n_classes", [2, 3])
def test_rounds_are_those_with_the_smallest_loss_of_unseen_rows(make_targets, n_classes):
    features, y = rows(n_classes=n_classes)
    targets, labels = make_targets(y)
    trees, scores, fold_of = learn(features, labels, targets)
    losses, staged = np.zeros(30), np.empty((30, *scores.shape))
    for fold in range(3):
        held = fold_of == fold
        model = MultiTaskLGBMClassifier(**PARAMETERS, categorical_feature=[3], random_state=1)
        model.fit(features[~held], y[~held])
        for stage, p in enumerate(model.staged_predict_proba(features[held])):
            losses[stage] += log_loss(y[held], p) * held.sum() / len(y)
        staged[:, held] = list(model.staged_raw_predict(features[held]))
    assert_allclose(trees.losses_, losses, rtol=1e-6)
    best = losses.argmin()
    assert 0 < best < 29
    assert trees.model_.best_iteration_ == best + 1
    assert_array_equal(scores, staged[best])
    assert_array_equal(trees.transform(features), trees.model_.raw_predict(features))


def test_noise_has_no_skill_out_of_fold(make_targets):
    features, _ = rows(400)
    y = np.random.default_rng(5).integers(0, 2, 400)
    targets, labels = make_targets(y)
    trees, scores, _ = learn(features, labels, targets)
    assert roc_auc_score(y, scores[:, 0]) < 0.58
    assert trees.model_.best_iteration_ <= 5


def test_several_tasks_with_missing_labels(make_targets, several_tasks):
    features, _ = rows(90)
    targets, labels = make_targets(several_tasks)
    trees, scores, _ = learn(features, labels, targets, min_child_samples=5)
    assert scores.shape == (90, 3)
    assert_array_equal(trees.model_.classes_, [[0, 1]] * 3)


def test_a_class_that_no_row_has(make_targets):
    features, y = rows()
    targets, labels = make_targets(np.array(["a", "b"])[y], ["a", "unseen", "b"])
    _, scores, _ = learn(features, labels, targets)
    assert scores.shape == (240, 3)
    assert (scores[:, 1] < scores[:, [0, 2]].min(axis=1)).all()


def test_codes_are_categories(make_targets):
    """Every other code of many: a threshold cannot, a category can tell them apart."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 20, 600)
    targets, labels = make_targets(codes % 2)
    aucs = [
        roc_auc_score(
            codes % 2,
            learn(
                codes[:, None].astype(float),
                labels,
                targets,
                n_categorical=n,
                n_estimators=3,
                num_leaves=2,
                min_data_per_group=1,
            )[1],
        )
        for n in (0, 1)
    ]
    assert aucs[0] < 0.7 < 0.99 < aucs[1]


def test_features_that_tell_nothing(make_targets):
    targets, labels = make_targets(np.arange(60) % 2)
    _, scores, _ = learn(np.ones((60, 1)), labels, targets, n_categorical=0)
    assert_allclose(scores, 0, atol=0.01)
