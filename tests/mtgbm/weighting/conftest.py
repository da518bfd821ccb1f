"""What the tests of weightings share: rounds made by hand, and every strategy once."""

import numpy as np
import pytest
from scipy.special import logit

from mtgbm.engine.boosting import LabelledTable, Round
from mtgbm.engine.tree import Forest, Tree
from mtgbm.engine.vectors import empty_vectors
from mtgbm.objectives import Task, TaskObjectives
from mtgbm.weighting import (
    AdaptiveWeighting,
    AffinityWeighting,
    FixedWeighting,
    FocusWeighting,
    InverseDistanceWeighting,
    UncertaintyWeighting,
)

STRATEGIES = {
    "fixed": FixedWeighting(2.0, 0.5),
    "standard": AdaptiveWeighting(update_frequency=2, learning_rate=0.5),
    "tenIters": AdaptiveWeighting("tenIters", sub_weight=0.2),
    "sqrt": AdaptiveWeighting("sqrt", update_frequency=3),
    "delta": AdaptiveWeighting("delta", learning_rate=5.0, update_frequency=1),
    "inverse_distance": InverseDistanceWeighting(update_frequency=2),
    "leaf_cosine": AffinityWeighting("leaf_cosine", update_frequency=2),
    "gradient_cosine": AffinityWeighting("gradient_cosine", update_frequency=2, sample_rows=100),
    "lookahead": AffinityWeighting("lookahead", update_frequency=3),
    "uncertainty": UncertaintyWeighting(update_frequency=2, sample_rows=50),
    "random": FocusWeighting("random", strength=20.0, share=0.7),
    "round_robin": FocusWeighting("round_robin", share=1.0),
    "validation_loss": FocusWeighting("validation_loss", share=0.5),
}


@pytest.fixture(params=STRATEGIES)
def strategy(request):
    """Each strategy, with parameters that make it act within a few rounds."""
    return STRATEGIES[request.param]


def round_by_hand(labels, probabilities=0.5, tasks=None, main_task=0, number=0, **more):
    """A Round of some rows: labels (n_rows, n_tasks), -1 missing; P(1) of every binary task."""
    labels = np.array(labels, dtype=np.int16, order="C")
    tasks = tasks or [Task(f"task_{number}") for number in range(labels.shape[1])]
    objective = TaskObjectives(tasks, np.ones(len(tasks)))
    shape = (len(labels), objective.n_outputs)
    raw = np.array(np.broadcast_to(logit(probabilities), shape), order="C")
    vectors = empty_vectors(*shape)
    objective.gradients(raw, labels, None, vectors, 1)
    return Round(
        number=number,
        objective=objective,
        main_task=main_task,
        forest=Forest(np.zeros(shape[1]), n_features=1),
        training=LabelledTable(None, labels),
        raw=raw,
        vectors=vectors,
        rng=np.random.default_rng(0),
        **more,
    )


@pytest.fixture(scope="session")
def make_round():
    """`round_by_hand`."""
    return round_by_hand


@pytest.fixture(scope="session")
def begin():
    """Starts a weighting and returns the weights of its first round."""

    def weights(weighting, round):
        weighting.check(round.tasks, round.main_task)
        weighting.start(round)
        return weighting.weights(round)

    return weights


@pytest.fixture(scope="session")
def stump():
    """What the cosine of leaves reads of a tree of two leaves: their sums, (2, n_outputs) each."""

    def build(gradients, hessians):
        root = np.full((1, np.shape(gradients)[1]), 99.0)
        return Tree(
            nodes={"leaf": np.array([-1, 0, 1])},
            bitsets=None,
            values=np.zeros_like(gradients, dtype=float),
            gradients=np.vstack([root, gradients]),
            hessians=np.vstack([root, hessians]),
            counts=None,
            gains=None,
        )

    return build


@pytest.fixture(scope="session")
def kin_data():
    """X (6000, 12) and four tasks: main, kin with noise of its own, pure noise, main negated."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(6000, 12))
    signal = X[:, 0] + 0.7 * X[:, 1] * X[:, 2]
    main, kin = (signal + rng.normal(size=6000) > 0 for _ in range(2))
    return X, np.column_stack([main, kin, rng.random(6000) < 0.5, ~main]).astype(float)
