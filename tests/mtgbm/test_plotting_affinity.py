"""The map of affinities: cells, colours and the order of the tasks."""

import matplotlib
import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from mtgbm import MultiTaskLGBMClassifier
from mtgbm.plotting import TaskAffinityDisplay

matplotlib.use("Agg")
from matplotlib import pyplot as plt

NAMES = ["a1", "b1", "a2", "b2"]
AFFINITY = np.array(
    [
        [1.0, -0.2, 0.7, -0.3],
        [-0.1, 1.0, 0.0, 0.5],
        [0.6, -0.4, 1.0, np.nan],
        [-0.2, 0.4, -0.1, 1.0],
    ]
)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def labels_of(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def test_cells_in_the_given_order():
    display = TaskAffinityDisplay(AFFINITY, NAMES).plot(cluster=False)
    np.testing.assert_array_equal(display.image_.get_array(), AFFINITY)
    assert labels_of(display.ax_.xaxis) == labels_of(display.ax_.yaxis) == NAMES
    texts = [text.get_text() for text in display.texts_]
    assert texts[:4] == ["1.00", "-0.20", "0.70", "-0.30"]
    assert texts[11] == "n/a"
    # Row helped, column helper: written on the axes, so the figure explains itself.
    assert display.ax_.get_ylabel() == "task that is helped"
    assert display.ax_.get_xlabel() == "task that helps"


def test_white_is_zero_and_the_diagonal_does_not_set_the_scale():
    display = TaskAffinityDisplay(AFFINITY, NAMES).plot()
    assert display.image_.get_clim() == (-0.7, 0.7)
    red, green, blue, _ = display.image_.cmap(display.image_.norm(0.0))
    assert min(red, green, blue) > 0.95
    helped, harmed = (display.image_.cmap(display.image_.norm(value)) for value in (0.7, -0.4))
    assert helped[2] > helped[0]
    assert harmed[0] > harmed[2]


def test_clustering_puts_groups_side_by_side():
    display = TaskAffinityDisplay(AFFINITY, NAMES).plot()
    shown = [NAMES[t] for t in display.order_]
    assert labels_of(display.ax_.yaxis) == shown
    assert {shown[0][0], shown[1][0]} in ({"a"}, {"b"})
    assert shown[2][0] == shown[3][0]
    cells = AFFINITY[np.ix_(display.order_, display.order_)]
    np.testing.assert_array_equal(display.image_.get_array(), cells)


def test_hidden_blocks_are_found():
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1, 2], 4)
    shuffled = rng.permutation(group)
    affinity = np.where(shuffled[:, None] == shuffled, 0.6, -0.1) + rng.normal(0, 0.1, (12, 12))
    display = TaskAffinityDisplay(affinity, [f"t{t}" for t in range(12)]).plot()
    found = shuffled[display.order_]
    assert np.count_nonzero(np.diff(found)) == 2


@pytest.mark.parametrize("n_tasks", [1, 2, 3])
def test_few_tasks_and_nothing_measured(n_tasks):
    affinity = np.full((n_tasks, n_tasks), np.nan)
    display = TaskAffinityDisplay(affinity, NAMES[:n_tasks]).plot()
    assert {text.get_text() for text in display.texts_} == {"n/a"}
    assert sorted(display.order_) == list(range(n_tasks))
    assert display.image_.get_clim() == (-1, 1)


def test_small_affinities_keep_two_digits():
    affinity = AFFINITY / 100
    display = TaskAffinityDisplay(affinity, NAMES).plot(cluster=False)
    assert display.texts_[2].get_text() == "0.0070"


def test_from_estimator_reads_the_fitted_attribute():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(200, 3))
    model = MultiTaskLGBMClassifier(n_estimators=2)
    with pytest.raises(NotFittedError):
        TaskAffinityDisplay.from_estimator(model)
    model.fit(X, (X > 0).astype(int))
    display = TaskAffinityDisplay.from_estimator(
        model, cluster=False, ax=plt.figure().subplots(), vmin=-1, vmax=1
    )
    np.testing.assert_allclose(display.image_.get_array(), model.task_affinity_)
    assert labels_of(display.ax_.yaxis) == ["task_0", "task_1", "task_2"]
    assert display.image_.get_clim() == (-1, 1)
    # Affinities of this model are the same in both directions, so no direction is named.
    assert display.ax_.get_xlabel() == display.ax_.get_ylabel() == ""


def test_other_models_know_no_affinity():
    model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    with pytest.raises(ValueError, match=r"LogisticRegression has no task_affinity_"):
        TaskAffinityDisplay.from_estimator(model)


def test_numbers_are_legible_on_their_colours():
    values = np.linspace(-1, 1, 100).reshape(10, 10)
    display = TaskAffinityDisplay(values, [f"t{t}" for t in range(10)]).plot(cluster=False)
    for text, value in zip(display.texts_, values.ravel(), strict=True):
        luma = np.dot(display.image_.cmap(display.image_.norm(value))[:3], [0.299, 0.587, 0.114])
        assert (text.get_color() == "white") == (luma < 0.5)
    display.figure_.canvas.draw()
    edges = np.array([text.get_window_extent().extents for text in display.texts_])
    edges = edges.reshape(10, 10, 4)
    assert (edges[:, 1:, 0] > edges[:, :-1, 2]).all()  # a number ends before the next begins


@pytest.mark.parametrize(
    ("affinity", "message"),
    [
        (AFFINITY[:3], r"shape \(4, 4\), a row and a column.* got shape \(3, 4\)"),
        (np.full((4, 4), np.inf), "it holds infinity"),
    ],
)
def test_bad_matrices(affinity, message):
    with pytest.raises(ValueError, match=message):
        TaskAffinityDisplay(affinity, NAMES).plot()
