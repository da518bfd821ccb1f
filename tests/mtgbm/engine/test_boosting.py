"""The rounds: scores that keep up with the forest, bags, and when training ends."""

from itertools import pairwise

import numpy as np
import pytest

from mtgbm.callbacks import Callback
from mtgbm.engine.boosting import Sampling
from mtgbm.engine.criteria import GainSum, GradientSum
from mtgbm.engine.vectors import empty_vectors


class Scores(Callback):
    """Keeps the training and validation scores of every round."""

    def __init__(self, last=None):
        self.last = last
        self.events, self.raw, self.validation_raw = [], [], []

    def on_train_begin(self, round):
        self.events.append("begin")

    def on_round_end(self, round):
        self.events.append(round.number)
        self.raw.append(round.raw.copy())
        if round.validation is not None:
            self.validation_raw.append(round.validation_raw.copy())
        return round.number == self.last

    def on_train_end(self, round):
        self.events.append("end")


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    X[rng.random(X.shape) < 0.1] = np.nan
    labels = (np.nan_to_num(X[:, :2]) + rng.normal(size=(300, 2)) > 0).astype(np.int16)
    labels[rng.random(labels.shape) < 0.2] = -1
    return X, labels


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(0.4, 1), Sampling(0.4, 2, 0.5)])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_scores_are_those_of_the_forest_so_far(boost, problem, sampling, n_threads):
    """Of all rows, also those outside the bag, and of the validation rows."""
    X, labels = problem
    new = np.random.default_rng(1).normal(size=(50, 4))
    scores = Scores()
    forest, _ = boost(
        X,
        labels,
        sampling=sampling,
        callbacks=[scores],
        validation=(new, labels[:50]),
        n_threads=n_threads,
    )
    assert len(scores.raw) == 5
    for kept, rows in ((scores.raw, X), (scores.validation_raw, new)):
        np.testing.assert_allclose(kept, list(forest.staged_raw_predict(rows, 1)), atol=1e-13)


def test_every_round_lowers_the_training_loss(boost, problem):
    X, labels = problem
    scores = Scores()
    boost(X, labels, n_rounds=10, callbacks=[scores])
    known = labels >= 0
    losses = [np.logaddexp(0, -(2.0 * labels - 1) * raw)[known].mean() for raw in scores.raw]
    assert (np.diff(losses) < 0).all()


def test_a_callback_ends_the_training(boost, problem):
    scores, witness = Scores(last=2), Scores()
    forest, _ = boost(*problem, n_rounds=10, callbacks=[scores, witness])
    assert len(forest.trees) == 3
    assert scores.events == witness.events == ["begin", 0, 1, 2, "end"]


def test_training_ends_where_no_split_is_left(boost):
    X = np.ones((50, 2))
    scores = Scores()
    labels = np.arange(50)[:, None] % 2
    forest, _ = boost(X, labels, callbacks=[scores])
    assert forest.trees == []
    assert scores.events == ["begin", "end"]


# Sampling -----------------------------------------------------------------------------------


def test_all_rows_and_columns_without_sampling():
    rng = np.random.default_rng(0)
    for sampling in (Sampling(), Sampling(subsample=0.5), Sampling(subsample_freq=3)):
        assert sampling.bag(0, 5, rng, None) is None
        np.testing.assert_array_equal(sampling.columns(4, rng), range(4))


def test_bags_are_drawn_anew_every_so_many_rounds():
    rng = np.random.default_rng(0)
    sampling = Sampling(subsample=0.5, subsample_freq=3)
    bags = [None]
    for number in range(7):
        bags.append(sampling.bag(number, 100, rng, bags[-1]))
    bags = [bag.tolist() for bag in bags[1:]]
    assert all(len(set(bag)) == 50 and bag == sorted(bag) for bag in bags)
    same = [bag == previous for previous, bag in pairwise(bags)]
    assert same == [True, True, False, True, True, False]


@pytest.mark.parametrize(("share", "size"), [(0.01, 1), (0.5, 5), (0.66, 7), (1.0, 10)])
def test_columns_are_a_share_of_the_features(share, size):
    columns = Sampling(colsample_bytree=share).columns(10, np.random.default_rng(0))
    assert columns.dtype == np.int32
    assert len(set(columns.tolist())) == size
    assert (np.diff(columns) > 0).all()


# Sketches: outputs that choose the structure ------------------------------------------------


def drawn(weights, most, rounds=1, seed=0):
    """The outputs and weights of some rounds."""
    criterion = GainSum(None, most, np.random.default_rng(seed))
    vectors = empty_vectors(3, len(weights))
    found = [criterion.structure(vectors, np.array(weights), 1) for _ in range(rounds)]
    assert all(gradients.vectors is vectors for gradients in found)
    assert {gradients.n_outputs for gradients in found} == {len(weights)}
    return [(gradients.outputs.tolist(), gradients.weights.tolist()) for gradients in found]


@pytest.mark.parametrize("most", [None, 3, 4])
def test_all_outputs_are_heard_if_there_are_no_more(most):
    assert drawn([1.0, 0.0, 0.5], most) == [([0, 1, 2], [1.0, 0.0, 0.5])]


@pytest.mark.parametrize("most", [2, 3])
def test_outputs_stay_in_without_weight_where_that_is_no_wider(most):
    """Four outputs take 16 lanes, two and three take 8: of three, two are no narrower."""
    weights = [1.0, 2.0, 3.0] if most == 2 else [1.0, 2.0, 3.0, 4.0, 0.0]
    heard = set()
    for outputs, their_weights in drawn(weights, most, rounds=50):
        chosen = [output for output, w in zip(outputs, their_weights, strict=True) if w]
        assert len(chosen) == most
        assert [w for w in their_weights if w] == [weights[output] for output in chosen]
        assert outputs == ([0, 1, 2] if most == 2 else chosen)
        heard.add(tuple(chosen))
    assert len(heard) > 1


def test_a_criterion_draws_by_default_nothing():
    gradients = GainSum(None).structure(empty_vectors(3, 50), np.ones(50), 1)
    assert gradients.outputs.tolist() == list(range(50))


@pytest.mark.parametrize("most", [1, 3, 6])
def test_outputs_without_weight_are_never_drawn(most):
    weights = [0.0, 1.0, 2.0, 0.0, 3.0, 4.0, 5.0, 6.0, 7.0, 0.0]
    for outputs, their_weights in drawn(weights, most, rounds=100):
        assert len(set(outputs)) == most
        assert outputs == sorted(outputs)
        assert their_weights == [weights[output] for output in outputs]
        assert all(their_weights)


def test_outputs_are_drawn_equally_often_whatever_they_weigh():
    weights = np.linspace(0.1, 10, 10)
    outputs = [output for outputs, _ in drawn(weights, 4, rounds=2000) for output in outputs]
    counts = np.bincount(outputs, minlength=10)
    assert np.abs(counts - 800).max() < 110  # five standard deviations


def test_the_generator_decides_what_is_drawn():
    first, same, other = (drawn(np.ones(20), 3, rounds=5, seed=seed) for seed in (0, 0, 1))
    assert first == same != other


def test_the_sum_of_gradients_needs_no_sketch():
    criterion = GradientSum(np.zeros(9, np.int32), 2, np.random.default_rng(0))
    vectors = empty_vectors(3, 9)
    vectors[:, :18] = 1.0
    gradients = criterion.structure(vectors, np.arange(9.0), 1)
    assert gradients.outputs.tolist() == [0]
    np.testing.assert_array_equal(gradients.vectors[:, :3], np.tile([36.0, 36.0, 1.0], (3, 1)))


@pytest.mark.parametrize("most_outputs", [1, 2])
def test_leaves_of_a_sketch_are_those_of_every_output(boost, problem, most_outputs):
    X, labels = problem
    labels = np.hstack([labels, 1 - labels[:, :1].clip(0)])
    scores = Scores()
    boost(X, labels, n_rounds=10, most_outputs=most_outputs, callbacks=[scores])
    assert len(scores.raw) == 10
    known = labels >= 0
    losses = [
        [np.logaddexp(0, -(2.0 * labels - 1) * raw)[known[:, t], t].mean() for t in range(3)]
        for raw in scores.raw
    ]
    assert (np.diff(losses, axis=0) < 1e-12).all()
