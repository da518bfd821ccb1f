"""Weights over rounds: what is drawn against the array, its moving mean against pandas'."""

from itertools import pairwise

import matplotlib
import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mtgbm import MultiTaskLGBMClassifier
from mtgbm.plotting import WeightEvolutionDisplay
from mtgbm.weighting import FixedWeighting

matplotlib.use("Agg")
from matplotlib import pyplot as plt


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def jumping():
    """Weights that are 1 or 50, anew in each of 200 rounds, of four tasks."""
    return np.random.default_rng(0).choice([1.0, 50.0], size=(200, 4))


def test_lines_hold_the_weights_and_their_moving_mean(jumping):
    names = ["a", "b", "c", "d"]
    display = WeightEvolutionDisplay(jumping, names).plot()
    assert display.window_ == 11
    frame = pd.DataFrame(jumping, columns=names)
    means = frame.rolling(11, center=True, min_periods=1).mean()
    for name in names:
        line, mean = display.lines_[name], display.mean_lines_[name]
        assert line.get_xdata().tolist() == list(range(1, 201))
        np.testing.assert_array_equal(line.get_ydata(), frame[name])
        np.testing.assert_allclose(mean.get_ydata(), means[name])
        assert display.axes_[name].get_ylabel() == name
        (text,) = display.axes_[name].texts
        assert text.get_text() == f"{frame[name].mean():.3g}"
    assert {strip.get_yscale() for strip in display.axes_.values()} == {"log"}


def test_shares_add_up_to_one(jumping):
    display = WeightEvolutionDisplay(jumping, ["a", "b", "c", "d"]).plot(share=True)
    drawn = np.array([line.get_ydata() for line in display.lines_.values()])
    np.testing.assert_allclose(drawn.sum(axis=0), 1)
    np.testing.assert_allclose(drawn.T * jumping.sum(axis=1, keepdims=True), jumping)
    assert "Share" in display.axes_["a"].get_title(loc="left")


def test_fixed_weights_of_a_model_are_flat_lines():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(300, 3))
    Y = pd.DataFrame((X + rng.normal(size=X.shape) > 0).astype(int), columns=["a", "b", "c"])
    weighting = FixedWeighting(main_weight=2, sub_weight=[0.5, 0])
    model = MultiTaskLGBMClassifier(n_estimators=30, weighting=weighting)
    display = WeightEvolutionDisplay.from_estimator(
        make_pipeline(StandardScaler(), model).fit(X, Y)
    )
    for name, weight in {"a": 2, "b": 0.5, "c": 0}.items():
        for line in (display.lines_[name], display.mean_lines_[name]):
            np.testing.assert_allclose(line.get_ydata(), np.full(30, weight), atol=1e-12)
    # Zero has no place on a logarithmic axis, and is not hidden below a linear one.
    strip = display.axes_["c"]
    assert strip.get_yscale() == "linear"
    assert strip.get_ylim()[0] < 0


def test_slow_weights_are_drawn_as_they_are():
    weights = np.linspace([1.0, 1.0], [1.3, 0.8], 400)
    display = WeightEvolutionDisplay(weights, ["up", "down"]).plot()
    inner = slice(10, -10)
    for t, name in enumerate(["up", "down"]):
        np.testing.assert_allclose(display.mean_lines_[name].get_ydata()[inner], weights[inner, t])
    low, high = display.axes_["up"].get_ylim()
    assert low < 0.8
    assert high > 1.3
    assert high - low < 1


def test_ten_long_names_fit():
    names = [f"a_rather_long_name_{t}" for t in range(10)]
    display = WeightEvolutionDisplay(np.ones((5, 10)), names).plot()
    display.figure_.canvas.draw()
    drawn = display.figure_.get_tightbbox()
    width, height = display.figure_.get_size_inches()
    assert min(drawn.x0, drawn.y0) > -0.02
    assert drawn.x1 < width + 0.02
    assert drawn.y1 < height + 0.02
    labels = [strip.yaxis.label.get_window_extent() for strip in display.axes_.values()]
    assert all(above.y0 > below.y1 for above, below in pairwise(labels))


def test_given_axes_and_style(jumping):
    _, strips = plt.subplots(4, 1)
    display = WeightEvolutionDisplay(jumping, list("abcd")).plot(strips, linewidth=5)
    assert list(display.axes_.values()) == list(strips)
    assert {line.get_linewidth() for line in display.mean_lines_.values()} == {5}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, 2.0], r"shape \(n_rounds, 2\).* got shape \(2,\)"),
        (np.ones((5, 3)), r"shape \(n_rounds, 2\).* got shape \(5, 3\)"),
        (np.ones((0, 2)), "one or more rounds"),
        ([[1, np.nan]], "finite and not negative"),
        ([[1, -1]], "finite and not negative"),
        ([[1, 1], [0, 0]], "one above 0 in every round"),
    ],
)
def test_bad_weights(weights, message):
    with pytest.raises(ValueError, match=message):
        WeightEvolutionDisplay(weights, ["a", "b"]).plot()


def test_a_model_must_be_fitted():
    with pytest.raises(NotFittedError):
        WeightEvolutionDisplay.from_estimator(MultiTaskLGBMClassifier())
