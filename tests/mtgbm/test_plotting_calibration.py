"""Reliability curves against scikit-learn's on the labelled rows, bin counts against pandas'."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve

from mtgbm import MultiTaskLGBMClassifier
from mtgbm.metrics import calibration_error
from mtgbm.plotting import MultiTaskCalibrationDisplay

matplotlib.use("Agg")
from matplotlib import pyplot as plt

NAMES = ["frequent", "rare", "never"]


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def noisy():
    """Labels of three tasks, a third of them missing: frequent, rare, and of one class only."""
    rng = np.random.default_rng(0)
    prob = np.column_stack([rng.beta(2, 2, 3000), rng.beta(0.5, 20, 3000), rng.random(3000)])
    labels = (rng.random(prob.shape) < prob).astype(float)
    labels[:, 2] = 0
    labels[rng.random(prob.shape) < 0.33] = np.nan
    return labels, prob


def drawn(display, name):
    return display.lines_[name].get_xydata()


@pytest.mark.parametrize("strategy", ["quantile", "uniform"])
def test_curves_are_those_of_the_labelled_rows(strategy, noisy):
    labels, prob = noisy
    display = MultiTaskCalibrationDisplay.from_predictions(
        labels, prob, n_bins=7, strategy=strategy, task_names=NAMES
    )
    display.plot(scale="linear")
    errors = calibration_error(labels, prob, n_bins=7, strategy=strategy)
    for t, name in enumerate(NAMES):
        rows = ~np.isnan(labels[:, t])
        true, pred = calibration_curve(
            labels[rows, t], prob[rows, t], pos_label=1, n_bins=7, strategy=strategy
        )
        np.testing.assert_allclose(drawn(display, name), np.column_stack([pred, true]))
        assert display.curves[t].error == pytest.approx(errors[t])
        title = display.strips_[name].get_title()
        assert title.startswith(f"{name}\n{rows.sum():,} rows, ECE = {errors[t]:.2g}")
        assert title.endswith("only class 0") == (name == "never")


@pytest.mark.parametrize("strategy", ["quantile", "uniform"])
def test_rows_per_bin(strategy):
    prob = np.round(np.random.default_rng(1).beta(1, 3, 500), 2)  # ties, and empty bins
    labels = (prob > 0.4).astype(int)
    (curve,) = MultiTaskCalibrationDisplay.from_predictions(labels, prob, strategy=strategy).curves
    edges = np.linspace(0, 1, 11)
    if strategy == "quantile":
        edges = np.unique(np.percentile(prob, 100 * edges))
    expected = pd.cut(prob, edges, include_lowest=True).value_counts().to_numpy()
    assert curve.n_rows.tolist() == expected[expected > 0].tolist()
    assert curve.n_rows @ curve.prob_pred == pytest.approx(prob.sum())
    assert curve.n_rows @ curve.prob_true == pytest.approx(labels.sum())


def test_bars_are_wilson_intervals(noisy):
    labels, prob = noisy
    display = MultiTaskCalibrationDisplay.from_predictions(labels, prob, task_names=NAMES)
    curve = display.curves[0]
    bars = display.intervals_["frequent"].get_segments()
    for bar, n_rows, share in zip(bars, curve.n_rows, curve.prob_true, strict=True):
        expected = binomtest(round(share * n_rows), n_rows).proportion_ci(method="wilson")
        np.testing.assert_allclose(bar[:, 1], [expected.low, expected.high], rtol=1e-4)
    # Of a bin without positives the interval starts at 0, and never misses the share itself.
    low, high = display.curves[2].interval()
    assert (low == 0).all()
    assert ((high > 0) & (high < 0.05)).all()


def test_a_panel_is_cut_to_its_own_curve(noisy):
    labels, prob = noisy
    display = MultiTaskCalibrationDisplay.from_predictions(labels, prob, task_names=NAMES)
    scales = [display.axes_[name].get_xscale() for name in NAMES]
    assert scales == ["linear", "log", "log"]
    for curve in display.curves[:2]:
        panel = display.axes_[curve.name]
        assert panel.get_xlim() == panel.get_ylim()
        low, high = panel.get_xlim()
        assert low < min(curve.prob_pred.min(), curve.prob_true[curve.prob_true > 0].min())
        assert max(curve.prob_pred.max(), curve.prob_true.max()) < high
    assert display.axes_["rare"].get_xlim()[1] < 0.3 < display.axes_["frequent"].get_xlim()[1]


def test_bins_without_positives_are_marked_on_logarithmic_axes():
    prob = np.repeat([0.01, 0.15, 0.25, 0.55], 100)
    labels = np.concatenate([np.zeros(100), np.arange(300) % 10 == 0])
    display = MultiTaskCalibrationDisplay.from_predictions(labels, prob, strategy="uniform")
    expected = [[0.01, np.nan], [0.15, 0.1], [0.25, 0.1], [0.55, 0.1]]
    np.testing.assert_allclose(drawn(display, "task_0"), expected)
    panel = display.axes_["task_0"]
    (marked,) = [line for line in panel.lines if line.get_marker() == "^"]
    np.testing.assert_allclose(marked.get_xydata(), [[0.01, panel.get_ylim()[0]]])


def test_the_strip_counts_rows(noisy):
    labels, prob = noisy
    display = MultiTaskCalibrationDisplay.from_predictions(labels, prob, task_names=NAMES)
    for curve in display.curves:
        strip = display.strips_[curve.name]
        (steps,) = strip.patches
        counts, edges, _ = steps.get_data()
        low, high = display.axes_[curve.name].get_xlim()
        assert strip.get_xlim() == (low, high)
        assert counts.sum() == np.sum((curve.y_prob >= edges[0]) & (curve.y_prob <= edges[-1]))
        assert [text.get_text() for text in strip.get_yticklabels()] == [f"{counts.max():,}"]
        np.testing.assert_allclose(edges[[0, -1]], [low, high])


def test_from_estimator_predicts_and_finds_names(noisy):
    labels, prob = noisy
    model = MultiTaskLGBMClassifier(n_estimators=3).fit(prob, labels)
    frame = pd.DataFrame(labels, columns=NAMES)
    expected = MultiTaskCalibrationDisplay.from_predictions(frame, model.predict_proba(prob))
    display = MultiTaskCalibrationDisplay.from_estimator(model, prob, frame)
    assert list(display.lines_) == NAMES
    for name in NAMES:
        np.testing.assert_array_equal(drawn(display, name), drawn(expected, name))
    assert list(MultiTaskCalibrationDisplay.from_estimator(model, prob, labels).axes_) == [
        "task_0",
        "task_1",
        "task_2",
    ]


def test_given_axes_are_used(noisy):
    labels, prob = noisy
    figure, panels = plt.subplots(1, 3)
    display = MultiTaskCalibrationDisplay.from_predictions(
        labels, prob, task_names=NAMES, ax=panels, color="black"
    )
    assert list(display.axes_.values()) == list(panels)
    assert display.figure_ is figure
    assert panels[0].get_xlabel() == "Mean predicted probability"
    assert {line.get_color() for line in display.lines_.values()} == {"black"}
    with pytest.raises(ValueError, match="ax must hold 3 axes, one for each task; got 1"):
        display.plot(panels[0])


def test_a_task_without_labels_has_an_empty_panel(noisy):
    labels, prob = noisy
    labels[:, 1] = np.nan
    display = MultiTaskCalibrationDisplay.from_predictions(labels, prob, task_names=NAMES)
    assert display.lines_["rare"].get_xdata().size == 0
    assert display.strips_["rare"].get_title() == "rare\nno labelled rows"
    assert np.isnan(display.curves[1].error)


def test_ten_tasks_fit_without_overlap():
    rng = np.random.default_rng(2)
    prob = rng.beta(0.4, 5 * np.arange(1, 11), size=(2000, 10))
    labels = rng.random(prob.shape) < prob
    names = [f"rather_long_task_{t}" for t in range(10)]
    display = MultiTaskCalibrationDisplay.from_predictions(labels, prob, task_names=names)
    figure = display.figure_
    boxes = [panel.get_tightbbox().extents for panel in display.axes_.values()]
    for number, (x0, y0, x1, y1) in enumerate(boxes):
        assert min(x0, y0) >= 0
        assert x1 <= figure.bbox.width
        assert y1 <= figure.bbox.height
        for left, low, right, high in boxes[:number]:
            assert right <= x0 or x1 <= left or high <= y0 or y1 <= low


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_prob": [0.1, 1.2, 0.3]}, r"probabilities in \[0, 1\].*predict_proba"),
        ({"y_prob": np.ones((3, 3))}, "y_score must have 1 column"),
        ({"y_true": [np.nan] * 3}, "no labelled row for any task"),
        ({"strategy": "quantiles"}, "unknown strategy 'quantiles'; did you mean 'quantile'"),
        ({"n_bins": 0}, "n_bins must be at least 1, got 0"),
    ],
)
def test_bad_input(change, message):
    good = {"y_true": [0, 1, 1], "y_prob": [0.1, 0.2, 0.3]}
    with pytest.raises(ValueError, match=message):
        MultiTaskCalibrationDisplay.from_predictions(**good | change)


def test_unknown_scale():
    display = MultiTaskCalibrationDisplay.from_predictions([0, 1, 1], [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="unknown scale 'logarithmic'"):
        display.plot(scale="logarithmic")
