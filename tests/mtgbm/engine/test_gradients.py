"""Gradients: finite differences of the losses, missing labels, weights, and the kernel's exp."""

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.metrics import log_loss

from mtgbm.engine.vectors import empty_vectors
from mtgbm.objectives import Task, TaskObjectives

BINARY = [Task("a"), Task("b"), Task("c")]
MULTICLASS = [Task("m", "multiclass", 4)]
MIXED = [Task("a"), Task("m", "multiclass", 3), Task("b"), Task("n", "multiclass", 5)]
TASKS = {"binary": BINARY, "multiclass": MULTICLASS, "mixed": MIXED}
#: The relative error of one rounding to float32.
SINGLE = 6e-8


@pytest.fixture(params=TASKS, scope="module")
def tasks(request):
    return TASKS[request.param]


def problem(tasks, n_rows=40, missing=0.3):
    """Objective, scores, labels with some missing, and weights with some 0."""
    rng = np.random.default_rng(len(tasks))
    objective = TaskObjectives(tasks, np.ones(len(tasks)))
    raw = rng.normal(size=(n_rows, objective.n_outputs)) * 2
    labels = np.stack([rng.integers(0, task.n_classes, n_rows) for task in tasks], axis=1)
    labels[rng.random(labels.shape) < missing] = -1
    weights = rng.integers(0, 4, size=labels.shape).astype(np.float32)
    return objective, raw, labels.astype(np.int16), weights


def differentiate(objective, raw, labels, weights=None, n_threads=2):
    """Gradients and hessians, (n_rows, n_outputs) each; the other lanes must stay as they are."""
    vectors = empty_vectors(len(raw), objective.n_outputs)
    vectors[:, : 2 * objective.n_outputs] = np.nan
    objective.gradients(raw, labels, weights, vectors, n_threads)
    rest = vectors[:, 2 * objective.n_outputs :]
    np.testing.assert_array_equal(rest, np.eye(1, rest.shape[1]).repeat(len(raw), axis=0))
    return (
        vectors[:, : objective.n_outputs],
        vectors[:, objective.n_outputs : 2 * objective.n_outputs],
    )


def loss_of_row(objective, raw, labels, weights, row):
    """Sum of the tasks' losses of one row, weighted."""
    losses = objective.losses(raw[row : row + 1], labels[row : row + 1], None)
    return np.nansum(losses * weights[row])


@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_are_the_slopes_of_the_losses(tasks, weighted):
    objective, raw, labels, weights = problem(tasks)
    g, _ = differentiate(objective, raw, labels, weights if weighted else None)
    if not weighted:
        weights = np.ones_like(weights)
    step = 1e-5
    slopes = np.empty_like(raw)
    for row, output in np.ndindex(raw.shape):
        sides = []
        for sign in (1, -1):
            moved = raw.copy()
            moved[row, output] += sign * step
            sides.append(loss_of_row(objective, moved, labels, weights, row))
        slopes[row, output] = (sides[0] - sides[1]) / (2 * step)
    np.testing.assert_allclose(g, slopes, rtol=1e-5, atol=1e-7)


def test_hessians_are_the_slopes_of_the_gradients(tasks):
    """Of several classes times n / (n - 1), the scale of Friedman (2001)."""
    objective, raw, labels, weights = problem(tasks)
    _, h = differentiate(objective, raw, labels, weights)
    step = 0.01
    slopes = np.empty_like(raw)
    for output in range(objective.n_outputs):
        up, down = raw.copy(), raw.copy()
        up[:, output] += step
        down[:, output] -= step
        g_up, g_down = (differentiate(objective, at, labels, weights)[0] for at in (up, down))
        slopes[:, output] = (g_up[:, output].astype(float) - g_down[:, output]) / (2 * step)
    for task, outputs in zip(tasks, objective.outputs_of_task, strict=True):
        if task.kind == "multiclass":
            slopes[:, outputs] *= task.n_classes / (task.n_classes - 1)
    np.testing.assert_allclose(h, slopes, rtol=1e-3, atol=1e-4)


def test_gradients_equal_the_closed_formula(tasks):
    objective, raw, labels, weights = problem(tasks, n_rows=700)
    g, h = differentiate(objective, raw, labels, weights)
    for number, (task, outputs) in enumerate(zip(tasks, objective.outputs_of_task, strict=True)):
        scores, label = raw[:, outputs], labels[:, number, None]
        weight = np.where(label >= 0, weights[:, number, None], 0.0)
        if task.kind == "binary":
            p, y, factor = expit(scores), label, 1.0
        else:
            p, y = softmax(scores, axis=1), label == np.arange(task.n_classes)
            factor = task.n_classes / (task.n_classes - 1)
        np.testing.assert_allclose(g[:, outputs], weight * (p - y), rtol=2 * SINGLE)
        np.testing.assert_allclose(h[:, outputs], weight * factor * p * (1 - p), rtol=2 * SINGLE)


def test_missing_labels_give_nothing(tasks):
    objective, raw, labels, weights = problem(tasks)
    g, h = differentiate(objective, raw, labels, weights)
    missing = (labels < 0)[:, objective.task_of_output]
    assert missing.any()
    assert (g[missing] == 0).all()
    assert (h[missing] == 0).all()
    positive = (weights > 0)[:, objective.task_of_output] & ~missing
    assert (h[positive] > 0).all()


def test_rows_do_not_depend_on_each_other(tasks):
    """Around the borders of the kernel's blocks of rows, for any number of threads."""
    objective, raw, labels, weights = problem(tasks, n_rows=513)
    whole = differentiate(objective, raw, labels, weights, n_threads=3)
    for rows in (slice(0, 1), slice(165, 171), slice(511, 513)):
        parts = [np.ascontiguousarray(array[rows]) for array in (raw, labels, weights)]
        np.testing.assert_array_equal(differentiate(objective, *parts), [a[rows] for a in whole])


def binary_gradients_naive(kernel, raw, labels, weights, positive_weights, tasks, outputs):
    """Twin of `binary_gradients`: the same operations, column by column."""
    n_outputs = raw.shape[1]
    vectors = empty_vectors(len(raw), n_outputs)
    for task, output in zip(tasks, outputs, strict=True):
        p = 1.0 / (1.0 + kernel.exp_blockwise(-raw[:, output]))
        y = labels[:, task].astype(np.float64)
        w = 1.0 if weights is None else weights[:, task].astype(np.float64)
        w = w * np.where(y > 0, positive_weights[task], 1.0)
        w = np.where(y < 0, 0.0, w)
        vectors[:, output] = w * (p - y)
        vectors[:, n_outputs + output] = w * p * (1.0 - p)
    return vectors


def assert_binary_bits(kernel, n_rows, n_tasks, n_outputs, chosen, *, weighted, n_threads):
    """Compare with the twin for tasks `chosen`, whose outputs are the last ones in order."""
    rng = np.random.default_rng(n_tasks)
    raw = rng.normal(size=(n_rows, n_outputs)) * 3
    labels = rng.integers(-1, 2, size=(n_rows, n_tasks)).astype(np.int16)
    weights = rng.random((n_rows, n_tasks), dtype=np.float32) if weighted else None
    tasks = np.array(chosen, dtype=np.int32)
    outputs = np.arange(n_outputs - len(tasks), n_outputs, dtype=np.int32)
    arguments = raw, labels, weights, rng.random(n_tasks), tasks, outputs
    vectors = empty_vectors(n_rows, n_outputs)
    kernel.binary_gradients(*arguments, vectors, n_threads)
    np.testing.assert_array_equal(vectors, binary_gradients_naive(kernel, *arguments))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_tasks", [1, 2, 3, 4, 5, 6, 8, 9, 17, 64, 100])
def test_binary_tasks_alone_have_the_bits_of_the_naive_twin(variant, n_tasks, weighted):
    """Each number of outputs that has a loop of its own, and others; rows that fill no block."""
    kernel = variant("mtgbm.objectives._gradients")
    for n_rows, n_threads in ((1, 1), (7, 2), (1003, 1), (1003, 3)):
        assert_binary_bits(
            kernel,
            n_rows,
            n_tasks,
            n_tasks,
            range(n_tasks),
            weighted=weighted,
            n_threads=n_threads,
        )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("chosen", [[0], [3], [0, 2], [1, 2, 3], [3, 0, 1, 2]])
def test_binary_tasks_among_others_have_the_bits_of_the_naive_twin(variant, chosen, weighted):
    """Any tasks, in any order, with more outputs than tasks or as many."""
    kernel = variant("mtgbm.objectives._gradients")
    for n_outputs in (4, 7):
        assert_binary_bits(kernel, 605, 4, n_outputs, chosen, weighted=weighted, n_threads=3)


def test_more_tasks_than_fit_a_block(variant):
    kernel = variant("mtgbm.objectives._gradients")
    for n_tasks in (512, 513, 1100):
        assert_binary_bits(kernel, 9, n_tasks, n_tasks, range(n_tasks), weighted=True, n_threads=2)


def test_no_rows_have_no_gradients(variant):
    kernel = variant("mtgbm.objectives._gradients")
    assert_binary_bits(kernel, 0, 3, 3, range(3), weighted=False, n_threads=2)


def test_variants_give_the_same_bits(variant):
    """Through the kernels themselves, one for each instruction set."""
    _, raw, labels, weights = problem(BINARY, n_rows=600)
    everything = np.arange(3, dtype=np.int32)

    def lanes(kernel):
        vectors = empty_vectors(600, 3)
        kernel.binary_gradients(
            raw, labels, weights, np.ones(3), everything, everything, vectors, 2
        )
        return vectors

    objective = TaskObjectives(BINARY, np.ones(3))
    expected = empty_vectors(600, 3)
    objective.gradients(raw, labels, weights, expected, 1)
    np.testing.assert_array_equal(lanes(variant("mtgbm.objectives._gradients")), expected)


def test_positive_weights_scale_positive_rows_of_their_task():
    _, raw, labels, _ = problem(BINARY)
    plain = np.array(differentiate(TaskObjectives(BINARY, np.ones(3)), raw, labels))
    weighted = TaskObjectives(BINARY, np.array([1.0, 5.0, 0.5]))
    factors = np.where(labels > 0, [1.0, 5.0, 0.5], 1.0)
    found = np.array(differentiate(weighted, raw, labels))
    np.testing.assert_allclose(found, plain * factors, rtol=2 * SINGLE)


def test_extreme_scores_stay_finite(tasks):
    objective, raw, labels, _ = problem(tasks, missing=0)
    raw = np.where(raw > 0, 1e4, -1e4)
    g, h = differentiate(objective, raw, labels)
    assert np.isfinite(g).all()
    assert (np.abs(g) <= 1).all()
    assert ((h >= 0) & (h <= 1)).all()
    assert np.isfinite(objective.losses(raw, labels, None)).all()


# Links, losses, base scores -----------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_losses_equal_scikit_learn_on_labelled_rows(tasks, weighted):
    objective, raw, labels, weights = problem(tasks, n_rows=200)
    probabilities = objective.probabilities(raw)
    losses = objective.losses(raw, labels, weights if weighted else None)
    for number, (task, outputs) in enumerate(zip(tasks, objective.outputs_of_task, strict=True)):
        known = labels[:, number] >= 0
        p = probabilities[known][:, outputs]
        expected = log_loss(
            labels[known, number],
            p[:, 0] if task.kind == "binary" else p,
            sample_weight=weights[known, number] if weighted else None,
            labels=range(task.n_classes),
        )
        assert losses[number] == pytest.approx(expected, rel=1e-9)


def test_base_scores_have_no_slope(tasks):
    """They are the best constants: all gradients add up to nothing."""
    objective, raw, labels, weights = problem(tasks, n_rows=300)
    base = objective.base_scores(labels, weights)
    g, _ = differentiate(objective, np.tile(base, (len(raw), 1)), labels, weights)
    np.testing.assert_allclose(g.sum(axis=0, dtype=float), 0, atol=1e-4)


def test_base_scores_count_positive_weights():
    labels = np.array([[1], [0], [0], [-1]], dtype=np.int16)
    base = TaskObjectives([Task("a")], np.array([6.0])).base_scores(labels, None)
    assert base == pytest.approx(np.log(6 / 2))


def test_tasks_without_labels_start_at_zero_and_lose_nothing(tasks):
    objective, raw, labels, weights = problem(tasks, missing=1)
    np.testing.assert_array_equal(objective.base_scores(labels, weights), 0)
    assert np.isnan(objective.losses(raw, labels, weights)).all()


def test_one_class_has_a_finite_base_score(tasks):
    objective, _, labels, _ = problem(tasks, missing=0)
    base = objective.base_scores(np.ones_like(labels), None)
    assert np.isfinite(base).all()
    p = objective.probabilities(base[None])[0]
    for task, outputs in zip(tasks, objective.outputs_of_task, strict=True):
        ones = p[outputs][0 if task.kind == "binary" else 1]
        assert ones == pytest.approx(1, abs=1e-5)


# exp ----------------------------------------------------------------------------------------


def test_exp_is_right_to_two_units_in_the_last_place(variant):
    x = np.concatenate([np.linspace(-700, 700, 200_001), np.linspace(-1, 1, 20_001), [0.0]])
    found = variant("mtgbm.objectives._gradients").exp_blockwise(x)
    exact = np.exp(x)
    assert (np.abs(found - exact) <= 2 * np.spacing(exact)).all()


def test_exp_beyond_its_range_stays_at_the_end(variant):
    x = np.array([-np.inf, -1e300, -701.0, 701.0, 1e300, np.inf])
    found = variant("mtgbm.objectives._gradients").exp_blockwise(x)
    np.testing.assert_allclose(found, np.exp([-700.0] * 3 + [700.0] * 3), rtol=1e-15)


def test_exp_of_zero_is_one(variant):
    assert variant("mtgbm.objectives._gradients").exp_blockwise(np.zeros(1))[0] == 1.0
