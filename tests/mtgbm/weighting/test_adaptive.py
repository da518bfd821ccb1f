"""Weights by similarity: every formula against numbers worked out by hand."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mtgbm.weighting import AdaptiveWeighting, InverseDistanceWeighting

BOTH = np.zeros((2, 3))
# Over two rows the main task's shares are (.8, .2), the second task's the same, halved; the third
# task's are (.5, .5). With m = (.65, .35): KL(p, m) = .8 ln(.8/.65) + .2 ln(.2/.35) = .054188,
# KL(q, m) = .5 ln(.5/.65) + .5 ln(.5/.35) = .047155, their mean .050672, / ln 2 = .073104.
LIKE, UNLIKE = [0.4, 0.1], [0.5, 0.5]
PROBABILITIES = np.column_stack([[0.8, 0.2], LIKE, UNLIKE])
DISTANCE = 0.073104
ROOT = 0.270377


def after(weighting, rounds):
    """Weights of each of some rounds."""
    weighting.check(rounds[0].tasks, rounds[0].main_task)
    weighting.start(rounds[0])
    return [weighting.weights(round) for round in rounds]


def by_shares(*shares):
    """What the split search gets: shares of 1, times the number of tasks."""
    return len(shares) * np.array(shares) / np.sum(shares)


@pytest.mark.parametrize(
    ("method", "gain"), [("standard", DISTANCE), ("tenIters", DISTANCE), ("sqrt", ROOT)]
)
def test_distance_adds_weight(make_round, begin, method, gain):
    weights = begin(AdaptiveWeighting(method, 0.5), make_round(BOTH, PROBABILITIES))
    # standard: the third share becomes 1/3 + .5 * .073104 = .369885, the sum 1.036552.
    # sqrt: 1/3 + .5 * .270377 = .468522, the sum 1.135189.
    assert_allclose(weights, by_shares(1 / 3, 1 / 3, 1 / 3 + 0.5 * gain), rtol=1e-5)
    assert_allclose(weights.sum(), 3)


def test_updates_add_up_on_normalised_shares(make_round):
    rounds = [make_round(BOTH, PROBABILITIES, number=number) for number in range(2)]
    _, weights = after(AdaptiveWeighting("standard", 0.5, update_frequency=1), rounds)
    # After the first update .321579, .321579, .356842; the second adds .036552 to the last.
    assert_allclose(weights, by_shares(0.321579, 0.321579, 0.393394), rtol=1e-5)


def test_delta_by_hand(make_round):
    rounds = [
        make_round(BOTH[:, :2], np.column_stack([[0.8, 0.2], shares]), number=number)
        for number, shares in enumerate([UNLIKE, LIKE, LIKE])
    ]
    first, second, third = after(AdaptiveWeighting("delta", 1.0, 1), rounds)
    # Similarities .926896, 1, 1; their means before each update: none, .926896, .963448.
    assert_allclose(first, [1.0, 1.0])
    # .5 + (1 - .926896) = .573104, the sum 1.073104: shares .465938, .534062.
    assert_allclose(second, by_shares(0.5, 0.573104), rtol=1e-5)
    # .534062 + (1 - .963448) = .570614. The plain difference of similarities would add nothing.
    assert_allclose(third, by_shares(0.465938, 0.570614), rtol=1e-5)


def test_delta_does_not_telescope(make_round):
    """Two ways to the same similarity end at different weights; plain differences would not."""

    def last_of(*path):
        rounds = [
            make_round(BOTH[:, :2], np.column_stack([[0.8, 0.2], shares]), number=number)
            for number, shares in enumerate(path)
        ]
        return after(AdaptiveWeighting("delta", 0.1, 1), rounds)[-1]

    there_and_back, stayed = last_of(LIKE, UNLIKE, UNLIKE, LIKE), last_of(LIKE, LIKE, LIKE, LIKE)
    assert_allclose(stayed, [1.0, 1.0])
    assert abs(there_and_back[1] - 1.0) > 1e-3


def test_weights_do_not_fall_below_zero(make_round):
    rounds = [
        make_round(BOTH[:, :2], np.column_stack([[0.8, 0.2], shares]), number=number)
        for number, shares in enumerate([LIKE, UNLIKE])
    ]
    # .5 - 100 * .073104 is far below 0.
    _, weights = after(AdaptiveWeighting("delta", 100.0, 1), rounds)
    assert_allclose(weights, [2.0, 0.0])


def test_if_all_would_fall_to_zero_the_weights_stay(make_round):
    rounds = [
        make_round(BOTH[:, :2], np.column_stack([[0.8, 0.2], shares]), number=number)
        for number, shares in enumerate([LIKE, UNLIKE])
    ]
    _, weights = after(AdaptiveWeighting("delta", 100.0, 1, main_weight=0.0), rounds)
    assert_allclose(weights, [0.0, 2.0])


@pytest.mark.parametrize(("method", "updates"), [("standard", 4), ("tenIters", 2), ("sqrt", 4)])
def test_how_often(make_round, method, updates):
    rounds = [make_round(BOTH, PROBABILITIES, number=number) for number in range(20)]
    weights = after(AdaptiveWeighting(method, update_frequency=5), rounds)
    assert len(np.unique(weights, axis=0)) == updates


def test_first_weights(make_round, begin):
    weighting = AdaptiveWeighting("delta", main_weight=2.0, sub_weight=[0.5, 1.5])
    round = make_round(BOTH, PROBABILITIES, main_task=2)
    assert_allclose(begin(weighting, round), 3 * np.array([0.5, 1.5, 2.0]) / 4.0)


def test_a_task_without_rows_in_common_keeps_its_weight(make_round, begin):
    labels = [[0, -1, 0], [0, -1, 0]]
    weights = begin(AdaptiveWeighting("standard", 0.5), make_round(labels, PROBABILITIES[:, ::-1]))
    # Main task (.5, .5), no label of the second, third (.8, .2).
    assert_allclose(weights, by_shares(1 / 3, 1 / 3, 1 / 3 + 0.5 * DISTANCE), rtol=1e-5)


def test_inverse_distance_by_hand(make_round, begin):
    labels = [[1, 0, 0], [0, 0, 0]]
    probabilities = np.column_stack([[0.5, 0.5], UNLIKE, [0.8, 0.2]])
    # The labels are (1, 0). To (.5, .5): JSD .311278, d = .557923, s = 1.792362.
    # To (.8, .2), m = (.9, .1): KL ln(1/.9) = .105361 and .8 ln(.8/.9) + .2 ln 2 = .044403,
    # JSD .074882 / .693147 = .108032, d = .328682, s = 3.042455.
    # |s| = 3.531161: .1 s / |s| = .0507584, .0861602.
    weights = begin(InverseDistanceWeighting(0.1), make_round(labels, probabilities))
    assert_allclose(weights, [1.0, 0.0507584, 0.0861602], rtol=1e-5)


def test_inverse_distance_has_weights_of_a_given_length(make_round, begin):
    rng = np.random.default_rng(0)
    labels, probabilities = rng.random((50, 4)) < 0.1, rng.random((50, 4))
    round = make_round(labels, probabilities, main_task=2)
    weights = begin(InverseDistanceWeighting(learning_rate=0.3), round)
    assert weights[2] == 1.0
    assert_allclose(np.linalg.norm(np.delete(weights, 2)), 0.3)


def test_a_perfect_subtask_has_a_finite_weight(make_round, begin):
    labels = [[1, 1], [0, 0]]
    probabilities = [[0.5, 1 - 1e-15], [0.5, 1e-15]]
    assert_allclose(begin(InverseDistanceWeighting(), make_round(labels, probabilities)), [1, 0.1])
