"""What the estimator promises: shapes, weights, criteria, warm starts, importances, threads."""

import numpy as np
import pytest
from joblib import cpu_count
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit, logit, softmax
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from mtgbm import MultiTaskLGBMClassifier
from mtgbm.engine.threads import effective_n_threads
from mtgbm.weighting import FixedWeighting


def structure(model):
    """Nodes of all trees, without their padding."""
    nodes = np.concatenate([tree.nodes for tree in model.forest_.trees])
    return {name: nodes[name] for name in nodes.dtype.names if name != "padding"}


def assert_same_structure(one, other):
    for name, values in structure(one).items():
        assert_array_equal(values, structure(other)[name], err_msg=name)


# Predictions and their shapes


def test_several_binary_tasks(make_data, make_model):
    X, Y = make_data()
    model = make_model(n_estimators=30).fit(X, Y)
    assert model.predict_proba(X).shape == model.predict(X).shape == Y.shape
    assert_array_equal(model.predict_proba(X), expit(model.raw_predict(X)))
    assert_array_equal(model.predict(X), model.predict_proba(X) > 0.5)
    assert_array_equal(model.classes_, np.tile([0, 1], (3, 1)))
    assert roc_auc_score(Y, model.predict_proba(X)) > 0.95


def test_one_binary_task_is_an_ordinary_classifier(make_data, make_model):
    X, Y = make_data(n_tasks=1)
    model = make_model().fit(X, Y[:, 0])
    probability = expit(model.raw_predict(X)[:, 0])
    assert_array_equal(model.predict_proba(X), np.column_stack([1 - probability, probability]))
    assert_array_equal(model.classes_, [0, 1])
    assert_array_equal(model.predict(X), probability > 0.5)


def test_one_multiclass_task_of_strings(make_data, make_model):
    X, Y = make_data()
    y = np.array(["none", "one", "two", "three"])[Y.sum(axis=1).astype(int)]
    model = make_model(n_estimators=30).fit(X, y)
    assert_array_equal(model.classes_, ["none", "one", "three", "two"])
    assert_array_equal(model.predict_proba(X), softmax(model.raw_predict(X), axis=1))
    assert_array_equal(model.predict(X), model.classes_[model.predict_proba(X).argmax(axis=1)])
    assert model.score(X, y) > 0.8


def test_two_classes_of_any_kind(make_data, make_model):
    X, Y = make_data(n_tasks=1)
    y = Y[:, 0]
    numbers = make_model().fit(X, y)
    for labels in (np.array([-7, 3]), np.array(["no", "yes"]), np.array([False, True])):
        other = make_model().fit(X, labels[y.astype(int)])
        assert_array_equal(other.predict_proba(X), numbers.predict_proba(X))
        assert_array_equal(other.predict(X), labels[numbers.predict(X).astype(int)])


def test_a_binary_and_a_multiclass_task_in_one_model(make_data, make_model):
    X, Y = make_data(n_tasks=2)
    Y[:, 1] += X[:, 2] > 0
    model = make_model(n_estimators=30, objective={"task_1": "multiclass"}).fit(X, Y)
    binary, multiclass = model.predict_proba(X)
    raw = model.raw_predict(X)
    assert raw.shape == (len(X), 4)
    assert_array_equal(binary[:, 1], expit(raw[:, 0]))
    assert_array_equal(multiclass, softmax(raw[:, 1:], axis=1))
    assert [list(classes) for classes in model.classes_] == [[0, 1], [0, 1, 2]]
    assert_array_equal(
        model.predict(X), np.column_stack([binary.argmax(axis=1), multiclass.argmax(axis=1)])
    )
    assert np.mean(model.predict(X) == Y) > 0.85


def test_gradient_sum_learns_a_multiclass_task(make_data, make_model):
    """The gradients of its outputs sum to zero in every row, so they must not be added up."""
    X, Y = make_data()
    y = Y.sum(axis=1)
    one_by_one, summed = (
        make_model(n_estimators=30, split_criterion=criterion).fit(X, y)
        for criterion in ("gain_sum", "gradient_sum")
    )
    assert summed.score(X, y) > one_by_one.score(X, y) - 0.05


def test_staged_predictions_end_at_the_final_one(make_data, make_model):
    X, Y = make_data()
    model = make_model(n_estimators=5).fit(X, Y)
    for staged, final in (
        (model.staged_raw_predict, model.raw_predict),
        (model.staged_predict_proba, model.predict_proba),
        (model.staged_predict, model.predict),
    ):
        stages = list(staged(X))
        assert len(stages) == 5
        assert_array_equal(stages[-1], final(X))
    for number, stage in enumerate(model.staged_raw_predict(X), start=1):
        assert_array_equal(stage, make_model(n_estimators=number).fit(X, Y).raw_predict(X))


def test_the_structure_is_shared_and_the_leaves_are_each_tasks_own(make_data, make_model):
    """Leaf values of the first tree by hand: -G / H of every task over the rows of the leaf."""
    X, Y = make_data(missing=0.3)
    model = make_model(n_estimators=1, learning_rate=0.3, reg_lambda=2.0).fit(X, Y)
    leaves = model.forest_.apply(X, 1)[:, 0]
    base = np.nanmean(Y, axis=0)
    assert_allclose(model.forest_.base_score, logit(base), rtol=1e-12)
    for leaf in range(model.forest_.trees[0].n_leaves):
        labels = Y[leaves == leaf]
        g = np.nansum(base - labels, axis=0)
        h = np.sum(~np.isnan(labels), axis=0) * base * (1 - base)
        expected = -0.3 * g / (h + 2.0)
        assert_allclose(model.forest_.trees[0].values[leaf], expected, rtol=1e-4, atol=1e-6)


# Labels that are missing


def test_missing_labels_leave_the_other_tasks_alone(make_data, make_model):
    """With the structure left to task 0, nothing of task 0 depends on the labels of task 1."""
    X, Y = make_data(n_tasks=2)
    partial = Y.copy()
    partial[::3, 1] = np.nan
    weighting = FixedWeighting(sub_weight=0.0)
    full = make_model(weighting=weighting).fit(X, Y)
    some = make_model(weighting=weighting).fit(X, partial)
    assert_array_equal(some.raw_predict(X)[:, 0], full.raw_predict(X)[:, 0])
    assert (some.raw_predict(X)[:, 1] != full.raw_predict(X)[:, 1]).any()


def test_a_mask_and_nan_are_the_same(make_data, make_model):
    X, Y = make_data()
    mask = np.random.default_rng(1).random(Y.shape) < 0.7
    by_mask = make_model().fit(X, Y, label_mask=mask)
    by_nan = make_model().fit(X, np.where(mask, Y, np.nan))
    assert_array_equal(by_mask.raw_predict(X), by_nan.raw_predict(X))


def test_a_mask_for_one_task_of_strings(make_data, make_model):
    X, Y = make_data(n_tasks=1)
    y = np.array(["no", "yes"])[Y[:, 0].astype(int)]
    mask = np.random.default_rng(1).random(len(y)) < 0.7
    by_mask = make_model().fit(X, y, label_mask=mask)
    by_none = make_model().fit(X, np.where(mask, y.astype(object), None))
    assert_array_equal(by_mask.predict(X), by_none.predict(X))
    assert_array_equal(by_mask.raw_predict(X), by_none.raw_predict(X))


# Weights


def test_rows_of_weight_zero_are_not_there(make_data, make_model):
    X, Y = make_data()
    kept = np.random.default_rng(1).random(len(X)) < 0.7
    X_outliers = np.where(kept[:, None], X, 1e6)
    weighted = make_model().fit(X_outliers, Y, sample_weight=kept.astype(float))
    dropped = make_model().fit(X[kept], Y[kept])
    assert_array_equal(weighted.raw_predict(X), dropped.raw_predict(X))


def test_labels_of_weight_zero_are_missing(make_data, make_model):
    X, Y = make_data()
    kept = np.random.default_rng(1).random(Y.shape) < 0.7
    kept[~kept.any(axis=1), 0] = True  # a row that weighs nothing for any task would be dropped
    weighted = make_model().fit(X, Y, task_weight=kept.astype(float))
    missing = make_model().fit(X, np.where(kept, Y, np.nan))
    assert_array_equal(weighted.raw_predict(X), missing.raw_predict(X))


def test_whole_weights_are_repetitions(make_data, make_model):
    """Exactly for base scores and leaf sums; the count of rows in a leaf must not matter."""
    X, Y = make_data(missing=0.2)
    X = np.round(X, 1)  # so few values that each has its own bin either way
    weight = np.random.default_rng(1).integers(1, 4, len(X))
    exact = {"min_child_samples": 1, "use_quantized_grad": False}
    weighted = make_model(**exact).fit(X, Y, sample_weight=weight)
    repeated = make_model(**exact).fit(np.repeat(X, weight, axis=0), np.repeat(Y, weight, axis=0))
    assert_allclose(weighted.forest_.base_score, repeated.forest_.base_score, rtol=1e-12)
    assert_allclose(weighted.raw_predict(X), repeated.raw_predict(X), rtol=1e-3, atol=1e-4)


def test_task_weight_multiplies_sample_weight(make_data, make_model):
    X, Y = make_data()
    rng = np.random.default_rng(1)
    rows, labels = rng.integers(1, 4, len(X)), rng.integers(1, 4, Y.shape)
    both = make_model().fit(X, Y, sample_weight=rows, task_weight=labels)
    product = make_model().fit(X, Y, task_weight=rows[:, None] * labels)
    assert_array_equal(both.raw_predict(X), product.raw_predict(X))
    share = np.average(Y[:, 1], weights=rows * labels[:, 1])
    assert_allclose(both.forest_.base_score[1], logit(share), rtol=1e-6)


@pytest.mark.parametrize("factor", [[1.0, 3.0], {"task_1": 3.0}])
def test_positive_weights_shift_the_base_rate_of_their_task(make_data, make_model, factor):
    X, Y = make_data(n_tasks=2)
    model = make_model(scale_pos_weight=factor).fit(X, Y)
    positive = Y.sum(axis=0)
    expected = np.log([1.0, 3.0] * positive / (len(Y) - positive))
    assert_allclose(model.forest_.base_score, expected, rtol=1e-12)


# Which tasks choose the structure


@pytest.mark.parametrize("main", [0, "task_2"])
def test_without_sub_weights_the_main_task_chooses_alone(make_data, make_model, main):
    X, Y = make_data(missing=0.2)
    exact = {"use_quantized_grad": False}  # roundings depend on the place of a task in its row
    weighting = FixedWeighting(sub_weight=0.0)
    together = make_model(weighting=weighting, main_task=main, **exact).fit(X, Y)
    position = together.task_names_.index(main) if isinstance(main, str) else main
    alone = make_model(**exact).fit(X, Y[:, position])
    assert_same_structure(together, alone)
    assert_array_equal(together.raw_predict(X)[:, position], alone.raw_predict(X)[:, 0])


def test_sub_weights_change_the_structure(make_data, make_model):
    X, Y = make_data()
    alone = make_model(weighting=FixedWeighting(sub_weight=0.0)).fit(X, Y)
    together = make_model().fit(X, Y)
    assert (alone.feature_importances_ != together.feature_importances_).any()


def test_weights_follow_the_main_task(make_data, make_model):
    X, Y = make_data()
    weighting = FixedWeighting(main_weight=2.0, sub_weight=[0.5, 0.1])
    model = make_model(weighting=weighting, main_task=-2, n_estimators=3).fit(X, Y)
    assert_array_equal(model.weight_evolution_, np.tile([0.5, 2.0, 0.1], (3, 1)))


def test_both_criteria_are_the_same_for_one_task(make_data, make_model):
    X, Y = make_data(n_tasks=1)
    by_gain = make_model().fit(X, Y[:, 0])
    by_gradient = make_model(split_criterion="gradient_sum").fit(X, Y[:, 0])
    assert_same_structure(by_gain, by_gradient)
    assert_array_equal(by_gain.raw_predict(X), by_gradient.raw_predict(X))


def test_opposed_tasks_cancel_in_the_sum_of_gradients_only(make_data, make_model):
    X, Y = make_data(n_tasks=1)
    opposed = np.column_stack([Y[:, 0], 1 - Y[:, 0]])
    by_gain = make_model().fit(X, opposed)
    by_gradient = make_model(split_criterion="gradient_sum").fit(X, opposed)
    assert roc_auc_score(opposed, by_gain.predict_proba(X)) > 0.9
    assert by_gradient.best_iteration_ < 8
    assert roc_auc_score(opposed, by_gradient.predict_proba(X)) < 0.7


@pytest.mark.parametrize("as_dict", [False, True])
def test_monotone_constraints_hold_per_task(make_data, make_model, as_dict):
    X, Y = make_data(n_tasks=2)
    down = [-1, 0, 0, 0, 0]
    constraints = {"task_1": down} if as_dict else down
    model = make_model(n_estimators=20, monotone_constraints=constraints).fit(X, Y)
    free = make_model(n_estimators=20).fit(X, Y)
    grid = np.repeat(X[:30, None, :], 25, axis=1)
    grid[:, :, 0] = np.linspace(-3, 3, 25)

    def steps(fitted):
        raw = fitted.raw_predict(grid.reshape(-1, 5)).reshape(30, 25, 2)
        return np.diff(raw, axis=1)

    assert (steps(free) > 0).any(axis=(0, 1)).all()
    assert (steps(model)[:, :, 1] <= 1e-12).all()
    assert (steps(model)[:, :, 0] > 0).any() == as_dict


# Warm starts


def test_a_warm_start_goes_on_where_it_stopped(make_data, make_model):
    X, Y = make_data(missing=0.2)
    X_val, Y_val = make_data(seed=1)
    once = make_model(n_estimators=12).fit(X, Y, X_val=X_val, y_val=Y_val)
    twice = make_model(n_estimators=5, warm_start=True).fit(X, Y, X_val=X_val, y_val=Y_val)
    first = list(twice.forest_.trees)
    twice.set_params(n_estimators=12).fit(X, Y, X_val=X_val, y_val=Y_val)
    assert all(a is b for a, b in zip(first, twice.forest_.trees, strict=False))
    assert_same_structure(once, twice)
    assert_array_equal(once.raw_predict(X), twice.raw_predict(X))
    assert once.evals_result_ == twice.evals_result_
    assert_array_equal(once.weight_evolution_, twice.weight_evolution_)
    assert twice.best_iteration_ == 12


def test_a_warm_start_learns_a_side_for_values_that_were_never_missing_before(
    make_data, make_model
):
    X, Y = make_data()
    model = make_model(n_estimators=2, warm_start=True).fit(X, Y)
    holes = X.copy()
    holes[Y[:, 0] == 1, 0] = np.nan
    model.set_params(n_estimators=30).fit(holes, Y)
    later = np.concatenate([tree.counts[:1] for tree in model.forest_.trees])
    assert_array_equal(later, len(X))
    for tree in model.forest_.trees[2:]:
        inner = tree.nodes["leaf"] < 0
        left, right = tree.nodes["left"][inner], tree.nodes["right"][inner]
        assert_array_equal(tree.counts[left] + tree.counts[right], tree.counts[inner])
    assert roc_auc_score(Y[:, 0], model.predict_proba(holes)[:, 0]) > 0.999


def test_without_warm_start_a_second_fit_starts_anew(make_data, make_model):
    X, Y = make_data()
    model = make_model().fit(X[:, :3], Y[:, :2])
    assert_array_equal(model.fit(X, Y).predict_proba(X), make_model().fit(X, Y).predict_proba(X))
    assert len(model.forest_.trees) == 8


def test_a_warm_start_without_new_rounds_changes_nothing(make_data, make_model):
    X, Y = make_data()
    model = make_model(warm_start=True).fit(X, Y)
    before = model.predict_proba(X)
    assert_array_equal(model.fit(X, Y).predict_proba(X), before)


# Importances


@pytest.mark.parametrize("criterion", ["gain_sum", "gradient_sum"])
def test_importances_of_tasks_sum_to_the_total(make_data, make_model, criterion):
    X, Y = make_data()
    model = make_model(split_criterion=criterion, importance_type="gain").fit(X, Y)
    per_task = model.task_importances()
    assert per_task.shape == (3, 5)
    assert_allclose(per_task.sum(axis=0), model.feature_importances_, rtol=1e-12)
    assert (model.feature_importances_ > 0).any()


def test_split_importances_count_the_nodes(make_data, make_model):
    X, Y = make_data()
    model = make_model().fit(X, Y)
    nodes = structure(model)
    counts = np.bincount(nodes["feature"][nodes["leaf"] < 0], minlength=5)
    assert_array_equal(model.feature_importances_, counts)
    assert (model.task_importances("split") <= counts).all()
    assert_array_equal(model.task_importances("split").argmax(axis=0).shape, (5,))


def test_a_task_gains_most_from_the_feature_that_makes_it(make_model):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 4))
    Y = (X[:, [1, 3]] > 0).astype(float)
    importances = make_model().fit(X, Y).task_importances("gain")
    assert_array_equal(importances.argmax(axis=1), [1, 3])


def test_a_multiclass_task_has_one_row_of_importances(make_data, make_model):
    X, Y = make_data(n_tasks=2)
    Y[:, 1] += X[:, 2] > 0
    model = make_model(objective=["binary", "multiclass"]).fit(X, Y)
    assert model.task_importances("gain").shape == (2, 5)
    total = model.set_params(importance_type="gain").feature_importances_
    assert_allclose(model.task_importances("gain").sum(axis=0), total, rtol=1e-12)


# Sketches


def many_tasks(n_rows=1500, seed=0):
    """X and 12 tasks, each with a feature of its own beside one that they share."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 12))
    return X, (X + X[:, :1] + 0.5 * rng.normal(size=X.shape) > 0.3).astype(float)


def test_a_sketch_learns_many_tasks_as_well_as_all_outputs_do(make_model):
    X, Y = many_tasks()
    X_test, Y_test = many_tasks(seed=1)
    sketched, full = (
        make_model(n_estimators=60, sketch_outputs=most).fit(X, Y) for most in ("auto", None)
    )
    assert (sketched.raw_predict(X) != full.raw_predict(X)).any()
    scores = [
        roc_auc_score(Y_test, m.predict_proba(X_test), average=None) for m in (sketched, full)
    ]
    assert (scores[1] > 0.85).all()
    assert abs(np.mean(scores[0]) - np.mean(scores[1])) < 0.01
    assert np.abs(scores[0] - scores[1]).max() < 0.03


@pytest.mark.parametrize("most", ["auto", 1])
def test_every_task_has_leaf_values_whoever_chose_the_structure(make_model, most):
    X, Y = many_tasks(n_rows=300)
    model = make_model(sketch_outputs=most).fit(X, Y)
    for tree in model.forest_.trees:
        assert tree.values.shape == (tree.n_leaves, 12)
        assert tree.values.any(axis=0).all()
        leaves = tree.nodes["leaf"] >= 0
        step = -0.1 * tree.gradients[leaves] / tree.hessians[leaves]
        assert_allclose(tree.values[tree.nodes["leaf"][leaves]], step, rtol=1e-12)


@pytest.mark.parametrize(("most", "other"), [("auto", 6), (12, 50)])
def test_sketches_that_are_the_same(make_model, most, other):
    X, Y = many_tasks(n_rows=300)
    one, two = (make_model(sketch_outputs=outputs).fit(X, Y) for outputs in (most, other))
    assert_array_equal(one.raw_predict(X), two.raw_predict(X))


@pytest.mark.parametrize(("n_tasks", "drawn"), [(1, None), (2, 2), (3, 2), (4, 2), (16, 7)])
def test_half_of_the_tasks_are_drawn(make_data, make_model, n_tasks, drawn):
    X, Y = make_data(n_tasks=n_tasks)
    automatic, given = (make_model(sketch_outputs=most).fit(X, Y) for most in ("auto", drawn))
    assert_array_equal(automatic.raw_predict(X), given.raw_predict(X))


@pytest.mark.parametrize("n_tasks", [2, 5])
def test_tasks_with_nothing_in_common_get_trees_of_their_own(make_model, n_tasks):
    """Each task has a feature of its own; of a hundred trees hardly any splits by two features."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, n_tasks))
    Y = (X + rng.logistic(size=X.shape) > 0).astype(float)
    own, mixed = (
        share_of_main_feature(
            make_model(n_estimators=100, num_leaves=4, sketch_outputs=most).fit(X, Y)
        )
        for most in ("auto", None)
    )
    assert own > 0.8
    assert mixed < own - 0.1


def share_of_main_feature(model):
    """What share of a tree's splits is by its most frequent feature, in the mean of the trees."""
    features = [tree.nodes["feature"][tree.nodes["leaf"] < 0] for tree in model.forest_.trees]
    return np.mean([np.bincount(numbers).max() / len(numbers) for numbers in features])


@pytest.mark.filterwarnings("ignore:task 'task_1' has a single class")
@pytest.mark.parametrize("most", [1, 2, "auto"])
@pytest.mark.parametrize("kind", ["of one class", "learned at once"])
def test_a_task_without_splits_ends_no_training(make_model, most, kind):
    """When it leads its round, or is drawn alone, all are heard."""
    X, Y = many_tasks(n_rows=300)
    Y[:, 1] = 1.0 if kind == "of one class" else X[:, 1] > 0
    model = make_model(n_estimators=60, learning_rate=1.0, sketch_outputs=most, num_leaves=3)
    assert len(model.fit(X, Y[:, :3]).forest_.trees) == 60


def test_all_tasks_are_heard_where_leaves_are_monotone(make_model):
    X, Y = many_tasks(n_rows=300)
    constraints = {"monotone_constraints": [1] + [0] * 11}
    automatic, full = (
        make_model(sketch_outputs=most, **constraints).fit(X, Y) for most in ("auto", None)
    )
    assert_array_equal(automatic.raw_predict(X), full.raw_predict(X))


def test_the_seed_draws_the_sketches(make_model):
    X, Y = many_tasks(n_rows=300)

    def fit(seed):
        return make_model(random_state=seed, sketch_outputs="auto").fit(X, Y).raw_predict(X)

    assert_array_equal(fit(3), fit(3))
    assert (fit(3) != fit(4)).any()


def test_classes_of_a_task_are_drawn_like_tasks(make_model):
    """9 classes, of which 7 choose each structure."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 2))
    y = 3 * np.digitize(X[:, 0], [-0.4, 0.4]) + np.digitize(X[:, 1], [-0.4, 0.4])
    model = make_model(n_estimators=30, num_leaves=9, sketch_outputs="auto")
    model.fit(X[:1000], y[:1000])
    assert model.score(X[1000:], y[1000:]) > 0.95


@pytest.mark.parametrize("most", [1, 2, "auto"])
def test_tasks_of_weight_zero_never_choose(make_model, most):
    """Their features are used by no tree, though they would be the best ones for them."""
    X, Y = many_tasks()
    Y[:] = X > 0
    weighting = FixedWeighting(sub_weight=[0.0] * 10 + [1.0])
    model = make_model(sketch_outputs=most, weighting=weighting, num_leaves=2, n_estimators=20).fit(
        X, Y
    )
    assert set(np.flatnonzero(model.feature_importances_)) == {0, 11}


# Chance and threads


SAMPLED = {"subsample": 0.6, "subsample_freq": 1, "colsample_bytree": 0.6}


def test_the_same_seed_gives_the_same_model(make_data, make_model):
    X, Y = make_data()

    def fit(seed):
        return make_model(random_state=seed, **SAMPLED).fit(X, Y).raw_predict(X)

    assert_array_equal(fit(3), fit(3))
    assert_array_equal(fit(np.random.RandomState(3)), fit(np.random.RandomState(3)))
    assert (fit(3) != fit(4)).any()


def test_without_sampling_chance_plays_no_part(make_data, make_model):
    X, Y = make_data()
    one, other = (make_model(random_state=seed).fit(X, Y) for seed in (0, 1))
    assert_array_equal(one.raw_predict(X), other.raw_predict(X))


@pytest.mark.parametrize(
    "params",
    [
        {},
        SAMPLED,
        {"split_criterion": "gradient_sum"},
        {"sketch_outputs": 2},
        {"use_quantized_grad": False},
    ],
    ids=str,
)
def test_any_number_of_threads_gives_the_same_bits(make_data, make_model, params):
    X, Y = make_data(n_rows=3000, missing=0.2)
    one, two, three = (
        make_model(n_estimators=3, n_jobs=n, random_state=0, **params).fit(X, Y) for n in (1, 2, 3)
    )
    assert_array_equal(one.raw_predict(X), two.raw_predict(X))
    assert_array_equal(one.raw_predict(X), three.raw_predict(X))


def test_threadpoolctl_limits_the_threads(make_data, make_model):
    with threadpool_limits(2):
        assert effective_n_threads(None) == min(2, cpu_count())
    with threadpool_limits(1):
        assert effective_n_threads(None) == 1
        assert effective_n_threads(-1) == 1
        X, Y = make_data()
        limited = make_model(n_jobs=None).fit(X, Y)
    assert_array_equal(limited.raw_predict(X), make_model().fit(X, Y).raw_predict(X))


def test_negative_n_jobs_leave_cores_free():
    available = effective_n_threads(None)
    assert effective_n_threads(-1) == available
    assert effective_n_threads(-2) == max(1, available - 1)
    assert effective_n_threads(-1000) == 1


@pytest.mark.parametrize(("n_tasks", "penalty"), [(1, 0.0), (3, 10.0)])
def test_the_automatic_penalty_is_for_several_tasks(make_data, make_model, n_tasks, penalty):
    X, Y = make_data(n_tasks=n_tasks)
    automatic = make_model(reg_lambda="auto").fit(X, Y)
    given = make_model(reg_lambda=penalty).fit(X, Y)
    assert_array_equal(automatic.raw_predict(X), given.raw_predict(X))


def test_the_automatic_penalty_is_the_default():
    assert MultiTaskLGBMClassifier().reg_lambda == "auto"
