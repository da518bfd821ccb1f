"""The data in the artists, against scikit-learn's curves on the labelled rows."""

import sys
from typing import ClassVar

import matplotlib
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mtgbm.plotting import (
    MultiTaskCalibrationDisplay,
    MultiTaskPrecisionRecallDisplay,
    MultiTaskRocDisplay,
    TaskAffinityDisplay,
    TaskImportanceDisplay,
    TrainingCurvesDisplay,
    TreeDisplay,
    TreeNode,
    WeightEvolutionDisplay,
)

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.colors import same_color

NAMES = ["click", "buy", "return"]
CURVE_DISPLAYS = [MultiTaskRocDisplay, MultiTaskPrecisionRecallDisplay]


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def noisy():
    """Labels of three tasks, some missing, `return` of one class only; scores."""
    rng = np.random.default_rng(0)
    scores = rng.random((150, 3))
    labels = (rng.random((150, 3)) < scores).astype(float)
    labels[rng.random((150, 3)) < 0.3] = np.nan
    labels[labels[:, 2] == 1, 2] = 0
    return labels, scores


def legend_of(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


def assert_inside_figure(display):
    """Nothing drawn, the legend included, reaches beyond the edge of the figure."""
    display.figure_.canvas.draw()
    drawn = display.figure_.get_tightbbox()
    width, height = display.figure_.get_size_inches()
    assert min(drawn.x0, drawn.y0) > -0.02
    assert drawn.x1 < width + 0.02
    assert drawn.y1 < height + 0.02


# ROC and precision-recall -------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_roc_curves_are_those_of_the_labelled_rows(weighted, noisy):
    labels, scores = noisy
    weight = np.random.default_rng(1).random(len(labels)) if weighted else None
    display = MultiTaskRocDisplay.from_predictions(
        labels, scores, task_names=NAMES, sample_weight=weight
    )
    assert list(display.lines_) == NAMES
    for t, name in enumerate(NAMES[:2]):
        rows = ~np.isnan(labels[:, t])
        kept = None if weight is None else weight[rows]
        fpr, tpr, _ = roc_curve(labels[rows, t], scores[rows, t], sample_weight=kept)
        np.testing.assert_allclose(display.lines_[name].get_data(), (fpr, tpr))
        area = roc_auc_score(labels[rows, t], scores[rows, t], sample_weight=kept)
        assert display.curves[t].score == pytest.approx(area)
        assert legend_of(display)[t] == f"{name} (AUC = {area:.3f})"
    assert [line.get_xydata().tolist() for line in display.chance_level_] == [[[0, 0], [1, 1]]]


def test_precision_recall_curves_are_those_of_the_labelled_rows(noisy):
    labels, scores = noisy
    display = MultiTaskPrecisionRecallDisplay.from_predictions(labels, scores, task_names=NAMES)
    for t, name in enumerate(NAMES[:2]):
        rows = ~np.isnan(labels[:, t])
        precision, recall, _ = precision_recall_curve(labels[rows, t], scores[rows, t])
        np.testing.assert_allclose(display.lines_[name].get_data(), (recall, precision))
        assert display.lines_[name].get_drawstyle() == "steps-post"
        expected = average_precision_score(labels[rows, t], scores[rows, t])
        assert legend_of(display)[t] == f"{name} (AP = {expected:.3f})"
        chance = display.chance_level_[t]
        np.testing.assert_allclose(chance.get_ydata(), labels[rows, t].mean())
        assert same_color(chance.get_color(), display.lines_[name].get_color())
    assert len(display.chance_level_) == 2


@pytest.mark.parametrize("display_class", CURVE_DISPLAYS)
def test_a_task_without_a_curve_is_listed_as_such(display_class, noisy):
    labels, scores = noisy
    display = display_class.from_predictions(labels, scores, task_names=NAMES)
    assert legend_of(display)[2] == "return (only class 0)"
    assert display.lines_["return"].get_xdata().size == 0
    assert np.isnan(display.curves[2].score)


@pytest.mark.parametrize("display_class", CURVE_DISPLAYS)
def test_from_estimator_predicts_and_finds_names(display_class, noisy):
    labels, _ = noisy
    rng = np.random.default_rng(2)
    X = rng.normal(size=(150, 3))
    targets = (X + rng.normal(size=X.shape) > 0).astype(int)
    model = make_pipeline(StandardScaler(), MultiOutputClassifier(LogisticRegression()))
    model.fit(X, targets)
    scores = np.column_stack([pairs[:, 1] for pairs in model.predict_proba(X)])
    expected = display_class.from_predictions(labels, scores, task_names=NAMES)

    by_columns = display_class.from_estimator(model, X, pd.DataFrame(labels, columns=NAMES))
    model[-1].task_names_ = NAMES
    by_model = display_class.from_estimator(model, X, labels)
    for display in (by_columns, by_model):
        assert legend_of(display) == legend_of(expected)
        for name in NAMES:
            actual, wanted = display.lines_[name], expected.lines_[name]
            np.testing.assert_array_equal(actual.get_data(), wanted.get_data())
    renamed = display_class.from_estimator(model, X, labels, task_names=["a", "b", "c"])
    assert list(renamed.lines_) == ["a", "b", "c"]


@pytest.mark.parametrize("display_class", CURVE_DISPLAYS)
def test_curves_can_be_drawn_again_into_given_axes(display_class, noisy):
    labels, scores = noisy
    display = display_class.from_predictions(labels, scores, linewidth=3)
    assert {line.get_linewidth() for line in display.lines_.values()} == {3}
    figure, (_, right) = plt.subplots(1, 2)
    assert display.plot(right, plot_chance_level=False, color="black") is display
    assert display.ax_ is right
    assert display.figure_ is figure
    assert display.chance_level_ == []
    assert len(right.lines) == 3
    assert {line.get_color() for line in right.lines} == {"black"}


@pytest.mark.parametrize("display_class", CURVE_DISPLAYS)
@pytest.mark.parametrize("n_tasks", [1, 3, 10, 14])
def test_colours_differ_and_the_legend_fits(display_class, n_tasks):
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, size=(60, n_tasks))
    names = [f"a_rather_long_name_{t}" for t in range(n_tasks)]
    display = display_class.from_predictions(labels, rng.random((60, n_tasks)), task_names=names)
    assert len({tuple(line.get_color()) for line in display.lines_.values()}) == n_tasks
    assert len(legend_of(display)) == n_tasks + 1
    assert_inside_figure(display)


# Training curves ----------------------------------------------------------------------------


class Fitted:
    """The fitted attributes of a model that the displays read."""

    task_names_ = ("click", "buy:late")
    evals_result_: ClassVar = {
        "training": {
            "click:logloss": [0.6, 0.5, 0.4, 0.3],
            "buy:late:logloss": [0.5, 0.4, 0.3, 0.2],
            "click:auc": [0.5, 0.6, 0.7, 0.8],
            "mean:logloss": [9.0, 9.0, 9.0, 9.0],
        },
        "validation": {
            "click:logloss": [0.6, 0.5, 0.55, 0.6],
            "buy:late:logloss": [0.5, 0.45, 0.4, 0.6],
        },
    }
    best_iteration_ = 3
    best_iteration_per_task_: ClassVar = {"click": 2, "buy:late": 3}
    importances = np.array([[1.0, 0, 6, 3], [0, 0, 1, 1]])

    def task_importances(self, importance_type="gain"):
        return self.importances if importance_type == "gain" else self.importances[:, ::-1]


def test_training_curves_hold_the_recorded_values():
    display = TrainingCurvesDisplay.from_estimator(make_pipeline(Fitted()))
    assert display.ax_.get_ylabel() == "logloss"
    for part, style in (("training", "--"), ("validation", "-")):
        assert list(display.lines_[part]) == ["click", "buy:late"]
        for name, line in display.lines_[part].items():
            values = Fitted.evals_result_[part][f"{name}:logloss"]
            assert line.get_xdata().tolist() == [1, 2, 3, 4]
            assert line.get_ydata().tolist() == values
            assert line.get_linestyle() == style
    for name in Fitted.task_names_:
        one_task = [display.lines_[part][name] for part in ("training", "validation")]
        assert same_color(*[line.get_color() for line in one_task])


def test_best_rounds_are_marked_on_the_validation_line():
    display = TrainingCurvesDisplay.from_estimator(Fitted())
    points = {name: line.get_xydata().tolist() for name, line in display.best_points_.items()}
    assert points == {"click": [[2, 0.5]], "buy:late": [[3, 0.4]]}
    assert display.best_line_.get_xdata() == [3, 3]
    assert legend_of(display) == ["click", "buy:late", "training", "validation", "rounds kept (3)"]
    assert_inside_figure(display)


def test_a_metric_recorded_in_training_alone():
    display = TrainingCurvesDisplay.from_estimator(Fitted(), "auc")
    assert list(display.lines_) == ["training"]
    assert display.lines_["training"]["click"].get_ydata().tolist() == [0.5, 0.6, 0.7, 0.8]
    assert display.best_points_["click"].get_xydata().tolist() == [[2, 0.6]]
    assert "validation" not in legend_of(display)


def test_a_model_without_best_rounds_has_no_marks():
    display = TrainingCurvesDisplay("logloss", {"click": [0.6, 0.5]}, {})
    display.plot(plt.figure().subplots(), alpha=0.5)
    assert display.best_points_ == {}
    assert display.best_line_ is None
    assert display.lines_["training"]["click"].get_alpha() == 0.5
    # A task that kept no round has no recorded value to mark.
    none_kept = TrainingCurvesDisplay(
        "logloss", {"click": [0.6, 0.7]}, {}, best_iteration_per_task={"click": 0}
    )
    assert none_kept.plot().best_points_ == {}


@pytest.mark.parametrize(
    ("values", "scale"), [([0.9, 0.01], "log"), ([0.9, 0.3], "linear"), ([0.9, 0.0], "linear")]
)
def test_values_of_different_magnitude_get_a_logarithmic_axis(values, scale):
    display = TrainingCurvesDisplay("logloss", {"click": values}, {}).plot()
    assert display.ax_.get_yscale() == scale


def test_unknown_metrics_are_rejected():
    with pytest.raises(ValueError, match=r"recorded \['logloss', 'auc'\]; got 'f1'"):
        TrainingCurvesDisplay.from_estimator(Fitted(), "f1")
    model = Fitted()
    model.evals_result_ = {"training": {}}
    with pytest.raises(ValueError, match="holds no metric of a task"):
        TrainingCurvesDisplay.from_estimator(model)


# Importance ---------------------------------------------------------------------------------


def test_importance_cells_are_shares_sorted_by_their_mean():
    display = TaskImportanceDisplay.from_estimator(Fitted())
    assert display.shown_features_ == ["x2", "x3", "x0", "x1"]
    expected = [[0.6, 0.5], [0.3, 0.5], [0.1, 0], [0, 0]]
    np.testing.assert_allclose(display.shares_, expected)
    np.testing.assert_allclose(display.image_.get_array(), 100 * np.array(expected))
    texts = [text.get_text() for text in display.texts_]
    assert texts == ["60", "50", "30", "50", "10", "0", "0", "0"]
    assert [label.get_text() for label in display.ax_.get_xticklabels()] == ["click", "buy:late"]
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert labels == display.shown_features_


def test_importance_options():
    model = Fitted()
    model.feature_names_in_ = np.array(["a", "b", "c", "d"], dtype=object)
    display = TaskImportanceDisplay.from_estimator(
        model, "split", max_features=2, ax=plt.figure().subplots(), cmap="Greens"
    )
    assert display.shown_features_ == ["b", "a"]
    assert display.ax_.get_ylabel() == "2 of 4 features"
    assert display.image_.get_cmap().name == "Greens"
    with pytest.raises(ValueError, match="max_features must be at least 1"):
        display.plot(max_features=0)


def test_a_task_without_importance_is_not_shown_as_zero():
    display = TaskImportanceDisplay([[0, 0], [1, 3]], ["a", "b"], ["none", "some"]).plot()
    np.testing.assert_array_equal(display.shares_, [[np.nan, 0.75], [np.nan, 0.25]])
    assert [text.get_text() for text in display.texts_] == ["n/a", "75", "n/a", "25"]


def test_importance_is_readable_at_ten_tasks():
    importances = np.random.default_rng(4).gamma(0.5, size=(10, 40))
    features = [f"transaction_feature_{f}" for f in range(40)]
    tasks = [f"rather_long_task_{t}" for t in range(10)]
    display = TaskImportanceDisplay(importances, features, tasks).plot()
    assert_inside_figure(display)
    assert display.shares_.shape == (20, 10)
    cells = np.array([text.get_window_extent().extents for text in display.texts_])
    width = cells.reshape(20, 10, 4)
    assert (width[:, 1:, 0] > width[:, :-1, 2]).all()  # a number ends before the next begins


# matplotlib ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "draw",
    [
        lambda: MultiTaskRocDisplay.from_predictions([0, 1], [0.2, 0.4]),
        lambda: MultiTaskPrecisionRecallDisplay.from_predictions([0, 1], [0.2, 0.4]),
        lambda: TrainingCurvesDisplay.from_estimator(Fitted()),
        lambda: TaskImportanceDisplay.from_estimator(Fitted()),
        lambda: MultiTaskCalibrationDisplay.from_predictions([0, 1], [0.2, 0.4]),
        lambda: WeightEvolutionDisplay([[1, 2]], ["click", "buy"]).plot(),
        lambda: TaskAffinityDisplay([[1]], ["click"]).plot(),
        lambda: TreeDisplay([TreeNode(0, 1, 1, np.ones(1))], ["click"]).plot(),
    ],
)
def test_without_matplotlib_the_error_says_how_to_get_it(draw, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install mtgbm\[plot\]"):
        draw()
