"""Weights by affinity: cosines and looking ahead, by hand, by naive twins and on real fits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from mtgbm.objectives import Task
from mtgbm.weighting import AdaptiveWeighting, AffinityWeighting, InverseDistanceWeighting
from mtgbm.weighting.affinity_measures import Lookahead
from mtgbm.weighting.task_cosines import task_cosines

# Main task, one that agrees on three rows of four, one that agrees where labelled, one opposed.
LABELS = [[1, 1, 1, 0], [1, 0, -1, 0], [0, 0, 0, 1], [0, 0, 0, 1]]


def test_cosine_of_gradients_by_hand(make_round, begin):
    weighting = AffinityWeighting("gradient_cosine")
    weights = begin(weighting, make_round(LABELS))
    # At p = 1/2 gradients are p - y: (-, -, +, +) / 2 and (-, +, +, +) / 2, whose product is
    # (1 - 1 + 1 + 1) / 4 = 1/2 and whose norms are 1.
    assert_allclose(weights, [1.0, 0.5, 1.0, 0.0])
    assert_allclose(weighting.affinity_[0], [1.0, 0.5, 1.0, -1.0])
    assert_allclose(weighting.affinity_, weighting.affinity_.T)


@pytest.mark.parametrize(
    ("rate", "expected"),
    # Cosines .5, -1, -1. First a mean: .5, then -.25, then -.5. With .8: .2 * .5 - .8 = -.7,
    # then .2 * -.7 - .8 = -.94.
    [(0.1, [0.5, -0.25, -0.5]), (0.8, [0.5, -0.7, -0.94])],
)
def test_the_average_by_hand(make_round, rate, expected):
    weighting = AffinityWeighting("gradient_cosine", learning_rate=rate, update_frequency=5)
    first = make_round(np.array(LABELS)[:, :2])
    weighting.start(first)
    averages = []
    for number in (0, 5, 10):
        round = make_round(np.array(LABELS)[:, :2], number=number)
        if number:
            round.vectors[:, 1] = -round.vectors[:, 0]
        weights = weighting.weights(round)
        averages.append(weighting.affinity_[0, 1])
        assert_allclose(weights, [1.0, max(0.0, averages[-1])])
    assert_allclose(averages, expected)


def test_nothing_is_observed_between_updates(make_round, begin):
    weighting = AffinityWeighting("gradient_cosine", update_frequency=5)
    first = begin(weighting, make_round(LABELS))
    opposed = make_round(1 - np.array(LABELS), number=4)
    opposed.vectors[:, 1] = 0
    assert_array_equal(weighting.weights(opposed), first)


def test_cosine_of_leaves_by_hand(make_round, begin, stump):
    weighting = AffinityWeighting("leaf_cosine", update_frequency=2)
    round = make_round(LABELS)
    assert_array_equal(begin(weighting, round), np.ones(4))  # no tree yet
    # g / sqrt(h): main (3, 4), second (8, 6) / sqrt(4) = (4, 3), third (-3, -4), the last without
    # hessian. Cosine of main and second: (12 + 12) / 25 = .96.
    tree = stump([[3, 8, -6, 0], [4, 6, -8, 0]], [[1, 4, 4, 0], [1, 4, 4, 0]])
    round.forest.trees += [stump(np.ones((2, 4)), np.ones((2, 4))), tree, tree]
    round.number = 2
    assert_allclose(weighting.weights(round), [1.0, 0.96, 0.0, 1.0])
    assert_allclose(weighting.affinity_[0], [1.0, 0.96, -1.0, np.nan])


def naive_cosines(values, known):
    """Of every two columns, by the definition."""
    n_tasks = known.shape[1]
    cosines = np.full((n_tasks, n_tasks), np.nan)
    for i in range(n_tasks):
        for j in range(n_tasks):
            both = known[:, i] & known[:, j]
            x, y = values[both, i], values[both, j]
            if x.any() and y.any():
                cosines[i, j] = x @ y / (np.linalg.norm(x) * np.linalg.norm(y))
    return cosines


@given(st.integers(1, 30), st.integers(1, 4), st.integers(0, 10**6))
def test_cosines_are_those_of_the_definition(n_rows, n_tasks, seed):
    rng = np.random.default_rng(seed)
    known = rng.random((n_rows, n_tasks)) < 0.7
    values = np.where(known, rng.normal(size=(n_rows, n_tasks)), 0.0)
    cosines = task_cosines(values, known, [[task] for task in range(n_tasks)])
    assert_allclose(cosines, naive_cosines(values, known), atol=1e-12)


@given(st.floats(0.01, 100.0), st.integers(0, 10**6))
def test_scale_and_order_of_rows_do_not_count(scale, seed):
    rng = np.random.default_rng(seed)
    values, known = rng.normal(size=(20, 4)), np.ones((20, 3), dtype=bool)
    outputs = [[0], [1, 2], [3]]
    expected = task_cosines(values, known, outputs)
    order = rng.permutation(20)
    scaled = values[order] * [1.0, scale, scale, 1.0]
    assert_allclose(task_cosines(scaled, known, outputs), expected, atol=1e-10)


def test_a_multiclass_task_has_no_sign_and_no_axes():
    rng = np.random.default_rng(0)
    values, known = rng.normal(size=(400, 5)), np.ones((400, 3), dtype=bool)
    values[:, 3] = values[:, 0] + values[:, 1]
    outputs = [[0, 1], [2], [3, 4]]
    cosines = task_cosines(values, known, outputs)
    assert_allclose(np.diag(cosines), 1.0)
    assert 0.4 < cosines[0, 2] < 0.8  # one direction of two in common
    assert 0.0 <= cosines[0, 1] < 0.1
    turn = np.linalg.qr(rng.normal(size=(2, 2)))[0]
    turned = values.copy()
    turned[:, :2] = values[:, :2] @ turn
    assert_allclose(task_cosines(turned, known, outputs), cosines, atol=1e-12)


def test_a_multiclass_task_of_two_classes_is_a_binary_one(make_round, begin):
    """Its gradients are those of the binary task and their negatives."""
    rng = np.random.default_rng(0)
    labels = rng.random((60, 2)) < 0.4
    binary = AffinityWeighting("gradient_cosine")
    begin(binary, make_round(labels))
    both = AffinityWeighting("gradient_cosine")
    begin(both, make_round(labels, tasks=[Task("a"), Task("b", "multiclass", 2)]))
    assert_allclose(both.affinity_[0, 1], abs(binary.affinity_[0, 1]), atol=1e-6)


def test_looking_ahead_by_hand(make_round):
    measure = Lookahead(AffinityWeighting("lookahead", update_frequency=5))
    explored = [measure.explored(make_round(LABELS, number=number)) for number in range(25)]
    assert [(n, task) for n, task in enumerate(explored) if task is not None] == [
        (4, 0),
        (9, 1),
        (14, 2),
        (19, 3),
        (24, 0),
    ]
    # Before round 10 the last round, 9, was for the second task. Usual falls, mean of two rounds:
    # .1, 0, .05, -.1. Falls in round 9: .05, .1, -.2, .1. Their quotients: 1/2, nothing to divide
    # by, -4 clipped, nothing.
    scores = [[9, 9, 9, 9]] * 6 + [
        [1.0, 0.5, 1.0, 1.0],
        [0.9, 0.5, 0.9, 1.1],
        [0.8, 0.5, 0.9, 1.2],
        [0.75, 0.4, 1.1, 1.1],
    ]
    round = make_round(LABELS, number=10, scores=list(map(np.array, scores)))
    seen = measure.observe(round)
    assert_allclose(seen[:, 1], [0.5, np.nan, -1.0, np.nan])
    assert np.isnan(np.delete(seen, 1, axis=1)).all()


def test_a_round_that_looks_ahead_is_led_by_one_task(make_round, begin):
    weighting = AffinityWeighting("lookahead", update_frequency=3, strength=8.0)
    round = make_round(LABELS)
    assert_array_equal(begin(weighting, round), np.ones(4))
    round.number = 2
    # (8, 1, 1, 1), scaled to a mean of 1.
    assert_allclose(weighting.weights(round), np.array([32, 4, 4, 4]) / 11)


def test_if_nobody_helps_the_main_task_is_alone(make_round, begin):
    labels = np.array(LABELS)[:, [0, 3, 3]]
    assert_array_equal(
        begin(AffinityWeighting("gradient_cosine"), make_round(labels)), [1.0, 0.0, 0.0]
    )


@pytest.fixture(scope="module")
def usual_weights(kin_data, make_model):
    """Median weights after the first rounds, of main, kin, noise and opposed task."""
    X, Y = kin_data

    def fit(weighting):
        model = make_model(n_estimators=60, learning_rate=0.05, weighting=weighting)
        model.fit(X[:3000], Y[:3000], X_val=X[3000:], y_val=Y[3000:])
        return np.median(model.weight_evolution_[20:], axis=0)

    return fit


def test_leaves_tell_kin_from_noise_and_opposition(usual_weights):
    main, kin, noise, opposed = usual_weights(AffinityWeighting("leaf_cosine"))
    assert main == 1.0
    assert kin > 0.5
    assert noise < 0.2
    assert opposed == 0.0


def test_gradients_tell_kin_from_noise_and_opposition(usual_weights):
    _, kin, noise, opposed = usual_weights(AffinityWeighting("gradient_cosine"))
    assert kin > 0.1 > 0.05 > noise
    assert opposed == 0.0


def test_looking_ahead_tells_noise_from_the_others(usual_weights):
    """An opposed task chooses the trees that the main task needs, which a sign cannot show."""
    weighting = AffinityWeighting("lookahead", update_frequency=4)
    _, kin, noise, opposed = usual_weights(weighting)
    assert min(kin, opposed) > 0.5 > 0.3 > noise


def test_distances_between_distributions_cannot_tell(usual_weights):
    """What the docstrings say of the older strategies: noise is not told from kin."""
    _, kin, noise, opposed = usual_weights(InverseDistanceWeighting())
    assert noise > 0.7 * kin
    assert opposed > 0.6 * kin
    _, kin, noise, opposed = usual_weights(AdaptiveWeighting())
    assert min(noise, opposed) > kin
