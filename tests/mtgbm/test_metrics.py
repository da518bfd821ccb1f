"""Metrics against scikit-learn on the labelled rows, brute force, and hand-computed examples."""

import pickle
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sk
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mtgbm import metrics
from mtgbm.metrics import SingleClassWarning, TaskMetric, make_task_scorer, task_report

QUICK = settings(deadline=None, max_examples=60)
PER_TASK = {
    "roc_auc": sk.roc_auc_score,
    "average_precision": sk.average_precision_score,
    "f1": lambda y, p, sample_weight=None: sk.f1_score(y, p >= 0.5, sample_weight=sample_weight),
    "log_loss": sk.log_loss,
}
RANKING = ["roc_auc", "average_precision", "f1"]
PROPER = ["log_loss", "calibration_error"]


@pytest.fixture
def noisy():
    """Labels of three tasks, 30 % of them missing, probabilities, and weights with zeros."""
    rng = np.random.default_rng(0)
    scores = rng.random((200, 3))
    labels = (rng.random((200, 3)) < scores).astype(float)
    labels[rng.random((200, 3)) < 0.3] = np.nan
    return labels, scores, rng.integers(0, 4, size=(200, 3)).astype(float)


@pytest.fixture
def one_class():
    """Task a has both classes, b only class 1, c no label at all."""
    labels = np.array([[0, 1, np.nan], [1, np.nan, np.nan], [1, 1, np.nan], [0, 1, np.nan]])
    scores = np.array([[0.2, 0.9, 0.5], [0.8, 0.9, 0.5], [0.1, 0.8, 0.5], [0.3, 0.5, 0.5]])
    return labels, scores


# Values -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PER_TASK)
@pytest.mark.parametrize("weighted", [False, True])
def test_each_task_is_scored_on_its_labelled_rows(name, weighted, noisy):
    labels, scores, weights = noisy
    expected = []
    for t in range(3):
        rows = ~np.isnan(labels[:, t])
        weight = weights[rows, t] if weighted else None
        expected.append(PER_TASK[name](labels[rows, t], scores[rows, t], sample_weight=weight))
    values = getattr(metrics, name)(labels, scores, sample_weight=weights if weighted else None)
    np.testing.assert_allclose(values, expected, rtol=1e-12)


@QUICK
@given(
    hnp.arrays(float, (12, 2), elements=st.sampled_from([0.0, 1.0, np.nan])),
    hnp.arrays(float, (12, 2), elements=st.sampled_from([0.1, 0.2, 0.5, 0.9])),
)
def test_roc_auc_counts_ordered_pairs(labels, scores):
    def by_pairs(y, p):
        pairs = [(a > b) + 0.5 * (a == b) for a in p[y == 1] for b in p[y == 0]]
        return np.mean(pairs) if pairs else np.nan

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SingleClassWarning)
        values = metrics.roc_auc(labels, scores)
    expected = [by_pairs(labels[:, t], scores[:, t]) for t in range(2)]
    np.testing.assert_allclose(values, expected, atol=1e-12)


@pytest.mark.parametrize("name", [*PER_TASK, "calibration_error"])
def test_whole_weights_repeat_rows_and_zero_weights_drop_them(name, noisy):
    labels, scores, weights = noisy
    metric = getattr(metrics, name)
    for t in range(3):
        times = weights[:, t].astype(int)
        repeated = metric(np.repeat(labels[:, t], times), np.repeat(scores[:, t], times))
        weighted = metric(labels[:, t], scores[:, t], sample_weight=weights[:, t])
        np.testing.assert_allclose(weighted, repeated, rtol=1e-12)


def test_threshold_of_f1_is_inclusive():
    # At 0.3 three rows are called positive, two of them rightly, none missed: 4 / (4 + 1).
    labels, scores = [1, 0, 1, 0], [0.3, 0.3, 0.9, 0.1]
    assert metrics.f1(labels, scores, threshold=0.3)[0] == pytest.approx(0.8)
    assert metrics.f1(labels, scores, threshold=0.95)[0] == 0
    with pytest.raises(TypeError, match="threshold must be a number"):
        metrics.f1(labels, scores, threshold=[0.3])


def test_log_loss_and_calibration_error_are_defined_on_one_class(one_class):
    labels, scores = one_class
    with pytest.warns(SingleClassWarning, match=r"log_loss has no value for 'task_2' \(no label"):
        loss = metrics.log_loss(labels, scores)
    assert loss[1] == pytest.approx(-np.mean(np.log([0.9, 0.8, 0.5])))
    with pytest.warns(SingleClassWarning):
        error = metrics.calibration_error(labels, scores, n_bins=1)
    assert error[1] == pytest.approx(1 - np.mean([0.9, 0.8, 0.5]))
    assert np.isnan([loss[2], error[2]]).all()


# Calibration error --------------------------------------------------------------------------


def test_calibration_error_by_hand():
    # Two bins of two rows: |1/2 - 0.15| and |2/2 - 0.7|, each half of the weight.
    labels, scores = [0, 1, 1, 1], [0.1, 0.2, 0.6, 0.8]
    assert metrics.calibration_error(labels, scores, n_bins=2)[0] == pytest.approx(0.325)
    # Of equal width: the 0.6 and 0.8 rows stay together here too, at 0.55 they would not.
    uneven = [0.1, 0.6, 0.7, 0.8]
    by_width = metrics.calibration_error(labels, uneven, n_bins=2, strategy="uniform")[0]
    assert by_width == pytest.approx(0.25 * 0.1 + 0.75 * 0.3)


@QUICK
@given(
    hnp.arrays(int, 40, elements=st.integers(0, 1)),
    hnp.arrays(float, 40, elements=st.sampled_from(np.linspace(0, 1, 23))),
    st.integers(1, 12),
)
def test_uniform_bins_are_those_of_calibration_curve(labels, scores, n_bins):
    from sklearn.calibration import calibration_curve

    share, mean_score = calibration_curve(labels, scores, n_bins=n_bins)
    inner = np.linspace(0, 1, n_bins + 1)[1:-1]
    counts = np.bincount(np.searchsorted(inner, scores))
    expected = np.sum(counts[counts > 0] * np.abs(share - mean_score)) / 40
    value = metrics.calibration_error(labels, scores, n_bins=n_bins, strategy="uniform")[0]
    assert value == pytest.approx(expected, abs=1e-12)


@QUICK
@given(st.permutations(range(30)), st.integers(1, 8))
def test_quantile_bins_ignore_the_order_of_rows(order, n_bins):
    scores = np.repeat([0.1, 0.1, 0.3, 0.6, 0.9], 6)
    labels = np.tile([0, 1, 1], 10)
    value = metrics.calibration_error(labels, scores, n_bins=n_bins)
    shuffled = metrics.calibration_error(labels[order], scores[order], n_bins=n_bins)
    np.testing.assert_allclose(value, shuffled, atol=1e-12)


@pytest.mark.parametrize("n_bins", [1, 4, 10])
def test_quantile_bins_of_distinct_scores_hold_equally_many(n_bins):
    rng = np.random.default_rng(1)
    scores = np.sort(rng.random(20 * n_bins))
    labels = (rng.random(scores.size) < 0.5).astype(int)
    gaps = (labels - scores).reshape(n_bins, 20).mean(axis=1)
    value = metrics.calibration_error(labels, scores, n_bins=n_bins)[0]
    assert value == pytest.approx(np.abs(gaps).mean())


def test_calibration_error_of_calibrated_scores_is_small_and_of_shifted_ones_is_the_shift():
    rng = np.random.default_rng(2)
    scores = rng.uniform(0.2, 0.7, size=200_000)
    labels = rng.random(scores.size) < scores
    assert metrics.calibration_error(labels, scores)[0] < 0.01
    assert metrics.calibration_error(labels, scores + 0.2)[0] == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("params", [{"strategy": "kmeans"}, {"n_bins": 0}])
def test_calibration_error_rejects_unknown_binning(params):
    with pytest.raises(ValueError, match=next(iter(params))):
        metrics.calibration_error([0, 1], [0.2, 0.4], **params)


@pytest.mark.parametrize("name", PROPER)
def test_probabilities_are_asked_for(name):
    with pytest.raises(
        ValueError, match=r"task 'late': .*probabilities in \[0, 1\].*predict_proba"
    ):
        getattr(metrics, name)([0, 1], [-0.5, 2.0], task_names=["late"])


# Undefined tasks and averages ---------------------------------------------------------------


@pytest.mark.parametrize("name", RANKING)
def test_single_class_tasks_are_nan_and_named(name, one_class):
    labels, scores = one_class
    message = rf"{name} .*'b' \(only class 1\), 'c' \(no labelled rows\)"
    with pytest.warns(SingleClassWarning, match=message) as caught:
        values = getattr(metrics, name)(labels, scores, task_names=["a", "b", "c"])
    assert caught[0].filename == __file__
    assert np.isfinite(values[0])
    assert np.isnan(values[1:]).all()


def test_no_warning_where_all_tasks_have_a_value(noisy):
    labels, scores, _ = noisy
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in [*RANKING, *PROPER]:
            getattr(metrics, name)(labels, scores, average="mean")


def test_averages_of_defined_tasks(noisy):
    labels, scores, _ = noisy
    labels[labels[:, 1] == 1, 1] = np.nan
    with pytest.warns(SingleClassWarning):
        first, undefined, last = metrics.roc_auc(labels, scores)
    assert np.isnan(undefined)

    def averaged(average):
        with pytest.warns(SingleClassWarning):
            return metrics.roc_auc(labels, scores, task_names=list("abc"), average=average)

    assert averaged("mean") == pytest.approx((first + last) / 2)
    assert averaged("median") == pytest.approx((first + last) / 2)
    assert averaged([1, 5, 3]) == pytest.approx((first + 3 * last) / 4)
    assert averaged({"c": 3, "b": 5, "a": 1}) == pytest.approx((first + 3 * last) / 4)
    with pytest.raises(ValueError, match="no task of positive weight"):
        averaged([0, 1, 0])


def test_median_is_the_middle_task(noisy):
    labels, scores, _ = noisy
    scores[:, 0] = 1 - scores[:, 0]
    values = metrics.roc_auc(labels, scores)
    assert metrics.roc_auc(labels, scores, average="median") == sorted(values)[1]
    assert metrics.roc_auc(labels, scores, average="mean") == pytest.approx(values.mean())
    assert values.mean() != pytest.approx(sorted(values)[1])


def test_average_without_any_defined_task_raises():
    with (
        pytest.warns(SingleClassWarning),
        pytest.raises(ValueError, match=r"roc_auc cannot be averaged.*'task_0' \(only class 1\)"),
    ):
        metrics.roc_auc([1, 1], [0.2, 0.4], average="mean")


@pytest.mark.parametrize(
    "average", ["macro", [1, 2], [1, 1, -1], [1, 1, np.nan], {"task_0": 1}, {"other": 1}]
)
def test_malformed_averages_are_rejected(average, noisy):
    labels, scores, _ = noisy
    with pytest.raises(ValueError, match="average must"):
        metrics.roc_auc(labels, scores, average=average)


# Inputs -------------------------------------------------------------------------------------


def test_shapes_of_labels_and_scores(noisy):
    labels, scores, weights = noisy
    pairs = [np.column_stack([1 - column, column]) for column in scores.T]
    expected = metrics.roc_auc(labels, scores)
    np.testing.assert_array_equal(metrics.roc_auc(labels, pairs), expected)
    for one in (scores[:, 0], scores[:, :1], pairs[0]):
        assert metrics.roc_auc(labels[:, 0], one) == expected[0]
        assert metrics.roc_auc(labels[:, :1], one) == expected[0]
    shared = metrics.roc_auc(labels, scores, sample_weight=weights[:, 0])
    repeated = metrics.roc_auc(labels, scores, sample_weight=weights[:, [0, 0, 0]])
    np.testing.assert_array_equal(shared, repeated)


@pytest.mark.parametrize("dtype", [float, "Float64", "boolean", object])
def test_frames_bring_names_and_missing_values(dtype, noisy):
    labels, scores, _ = noisy
    frame = pd.DataFrame(labels, columns=["click", "buy", "return"])
    frame = frame.astype("boolean").astype(dtype) if dtype == "boolean" else frame.astype(dtype)
    np.testing.assert_array_equal(metrics.roc_auc(frame, scores), metrics.roc_auc(labels, scores))
    report = task_report(frame, pd.DataFrame(scores))
    assert [row.task for row in report.rows] == ["click", "buy", "return"]


def test_frames_in_another_column_order_are_rejected(noisy):
    labels, scores, _ = noisy
    with pytest.raises(ValueError, match="in another order"):
        metrics.roc_auc(
            pd.DataFrame(labels, columns=list("abc")), pd.DataFrame(scores, columns=list("acb"))
        )


def test_scores_of_unlabelled_rows_do_not_matter(noisy):
    labels, scores, _ = noisy
    expected = metrics.log_loss(labels, scores)
    scores[np.isnan(labels)] = np.nan
    np.testing.assert_array_equal(metrics.log_loss(labels, scores), expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_true": [[0, 2], [1, 3], [0, 1]]}, r"0, 1 or NaN .* holds \[2.0, 3.0\]"),
        ({"y_true": [0, 1, 0], "y_score": np.ones((3, 4))}, r"1 task.*shape \(3, 4\)"),
        ({"y_score": np.ones((2, 2))}, "inconsistent numbers of samples"),
        ({"y_score": [np.ones((3, 2)), np.ones((3, 3))]}, r"number 1 has shape \(3, 3\)"),
        ({"y_score": np.full((3, 2), np.inf)}, r"finite wherever .*\['a', 'b'\]"),
        ({"y_true": np.zeros((3, 2, 2))}, r"shape \(n,\) or \(n, T\)"),
        ({"task_names": ["a"]}, "Expected 2 task name"),
        ({"task_names": ["a", "a"]}, "must differ"),
        ({"sample_weight": [1, -1, 1]}, "non-negative"),
        ({"sample_weight": np.ones((3, 3))}, r"\(n, 2\)"),
        ({"sample_weight": [1, 1]}, "inconsistent numbers of samples"),
    ],
)
def test_inputs_that_disagree_are_rejected(changes, message):
    good = {
        "y_true": [[0, 1], [1, 0], [0, 1]],
        "y_score": [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]],
        "task_names": ["a", "b"],
    }
    metrics.roc_auc(**good)
    with pytest.raises(ValueError, match=message):
        metrics.roc_auc(**good | changes)


def test_a_metric_of_ones_own(noisy):
    labels, scores, _ = noisy
    brier = TaskMetric("brier", sk.brier_score_loss, False, greater_is_better=False)
    assert brier(labels, scores, average="mean") == pytest.approx(
        np.mean(np.nanmean((labels - scores) ** 2, axis=0))
    )


# Report -------------------------------------------------------------------------------------


def test_report_holds_every_metric(one_class):
    labels, scores = one_class
    report = task_report(labels, scores, task_names=["a", "b", "c"], threshold=0.15)
    a, b, c = report.rows
    assert (a.labelled_rows, a.prevalence, a.note) == (4, 0.5, "")
    assert (b.labelled_rows, b.prevalence, b.note) == (3, 1.0, "only class 1")
    assert (c.labelled_rows, c.note) == (0, "no labelled rows")
    assert a.auc == pytest.approx(0.5)
    # Called positive: all rows but the third, of which one is positive; one positive is missed.
    assert a.f1 == pytest.approx(2 / (2 + 2 + 1))
    assert np.isnan([b.auc, b.average_precision, b.f1, c.auc, c.log_loss, c.prevalence]).all()
    assert report.mean["auc"] == a.auc
    assert report.mean["log_loss"] == pytest.approx((a.log_loss + b.log_loss) / 2)


def test_report_prints_as_an_aligned_table(one_class):
    labels, scores = one_class
    table = str(task_report(labels, scores, task_names=["a", "b", "c"], threshold=0.3))
    lines = [line.ljust(200) for line in table.split("\n")]
    assert len(lines) == 5
    assert lines[0].split("  ")[0] == "task"
    assert "f1 at 0.3" in lines[0]
    assert lines[2].rstrip().endswith("only class 1")
    assert lines[2].split()[3:6] == ["n/a"] * 3
    assert lines[4].startswith("mean")
    assert lines[4].rstrip().endswith("auc, average precision, f1: 1 of 3 tasks")
    for column in ("labelled rows", "auc", "log loss", "calibration error"):
        end = lines[0].index(f" {column} ") + len(column) + 1
        assert {line[end] for line in lines} == {" "}
        assert {line[end - 1] for line in lines[:-1]}.isdisjoint({" "})


def test_report_as_a_frame_and_weighted(noisy):
    labels, scores, weights = noisy
    report = task_report(labels, scores, sample_weight=weights)
    frame = report.to_frame()
    assert frame.index.tolist() == ["task_0", "task_1", "task_2"]
    auc = metrics.roc_auc(labels, scores, sample_weight=weights)
    np.testing.assert_array_equal(frame["auc"], auc)
    labelled = ~np.isnan(labels)
    prevalence = np.nansum(labels * weights, axis=0) / (weights * labelled).sum(axis=0)
    np.testing.assert_allclose(frame["prevalence"], prevalence)
    np.testing.assert_array_equal(frame["labelled_rows"], (labelled & (weights > 0)).sum(axis=0))
    assert report.mean["auc"] == pytest.approx(auc.mean())


def test_optional_packages_stay_out_of_the_import():
    program = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('pandas', 'matplotlib'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from mtgbm.metrics import task_report\n"
        "import mtgbm.plotting\n"
        "print(task_report([0, 1], [0.2, 0.7]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("task ")


# Scorers ------------------------------------------------------------------------------------


class PerTaskLogistic(ClassifierMixin, BaseEstimator):
    """A logistic regression per task on its labelled rows; `predict_proba` is (n, T)."""

    def __init__(self, C=1.0, task_names=None):
        self.C = C
        self.task_names = task_names

    def fit(self, X, Y):
        Y = np.asarray(Y, dtype=float)
        labelled = ~np.isnan(Y)
        self.models_ = [
            LogisticRegression(C=self.C).fit(X[rows], y[rows])
            for rows, y in zip(labelled.T, Y.T, strict=True)
        ]
        self.task_names_ = self.task_names or [f"y{t}" for t in range(Y.shape[1])]
        return self

    def predict_proba(self, X):
        return np.column_stack([model.predict_proba(X)[:, 1] for model in self.models_])


@pytest.fixture
def learnable():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(240, 4))
    Y = (X @ rng.normal(size=(4, 3)) + rng.normal(size=(240, 3)) > 0).astype(float)
    partly = Y.copy()
    partly[rng.random(Y.shape) < 0.3] = np.nan
    return X, Y, partly


SCORERS = {
    "roc_auc": metrics.masked_roc_auc_scorer,
    "average_precision": metrics.masked_average_precision_scorer,
    "log_loss": metrics.masked_log_loss_scorer,
}


@pytest.mark.parametrize("name", SCORERS)
@pytest.mark.parametrize(
    "classifier",
    [
        MultiOutputClassifier(LogisticRegression()),
        RandomForestClassifier(n_estimators=10, min_samples_leaf=5, random_state=0),
    ],
)
def test_scorers_read_a_list_of_probabilities(name, classifier, learnable):
    X, Y, partly = learnable
    fitted = clone(classifier).fit(X[:120], Y[:120])
    expected = np.mean(
        [
            PER_TASK[name](partly[120:, t][rows], pairs[rows, 1])
            for t, pairs in enumerate(fitted.predict_proba(X[120:]))
            for rows in [~np.isnan(partly[120:, t])]
        ]
    )
    sign = -1 if name == "log_loss" else 1
    value = SCORERS[name](fitted, X[120:], partly[120:])
    assert isinstance(value, float)
    assert value == pytest.approx(sign * expected)


@pytest.mark.parametrize("name", SCORERS)
def test_scorers_of_one_task(name, learnable):
    X, Y, partly = learnable
    fitted = LogisticRegression().fit(X, Y[:, 0])
    rows = ~np.isnan(partly[:, 0])
    expected = PER_TASK[name](partly[rows, 0], fitted.predict_proba(X[rows])[:, 1])
    sign = -1 if name == "log_loss" else 1
    assert SCORERS[name](fitted, X, partly[:, 0]) == pytest.approx(sign * expected)


def test_a_class_never_seen_in_training_has_probability_zero(learnable):
    X, Y, _ = learnable
    train = Y.copy()
    train[:, 1], train[:, 2] = 0, 1
    forest = RandomForestClassifier(n_estimators=3, random_state=0).fit(X, train)
    assert [part.shape[1] for part in forest.predict_proba(X)] == [2, 1, 1]
    for task, constant in ((1, 0.0), (2, 1.0)):
        scorer = make_task_scorer("log_loss", task=task)
        expected = -metrics.log_loss(Y[:, task], np.full(len(Y), constant))[0]
        assert scorer(forest, X, Y) == pytest.approx(expected)
    alone = RandomForestClassifier(n_estimators=3, random_state=0).fit(X, train[:, 1])
    expected = -metrics.log_loss(Y[:, 1], np.zeros(len(Y)))[0]
    assert metrics.masked_log_loss_scorer(alone, X, Y[:, 1]) == pytest.approx(expected)


def test_cross_val_score_with_missing_labels(learnable):
    X, _, partly = learnable
    folds = KFold(3)
    expected = []
    for train, test in folds.split(X):
        fitted = PerTaskLogistic().fit(X[train], partly[train])
        scores = fitted.predict_proba(X[test])
        expected.append(metrics.roc_auc(partly[test], scores, average="mean"))
    values = cross_val_score(
        PerTaskLogistic(), X, partly, cv=folds, scoring=metrics.masked_roc_auc_scorer
    )
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("as_frame", [False, True])
def test_grid_search_by_several_scorers(as_frame, learnable):
    X, _, partly = learnable
    names = ["click", "buy", "return"]
    target = pd.DataFrame(partly, columns=names) if as_frame else partly
    scoring = {"loss": metrics.masked_log_loss_scorer, "buy": make_task_scorer("f1", task="buy")}
    model = make_pipeline(StandardScaler(), PerTaskLogistic(task_names=names))
    grid = {"pertasklogistic__C": [1e-6, 1.0]}
    search = GridSearchCV(model, grid, scoring=scoring, refit="loss", cv=KFold(3))
    search.fit(X, target)
    assert search.best_params_ == {"pertasklogistic__C": 1.0}
    assert np.isfinite(search.cv_results_["mean_test_buy"]).all()
    expected = -metrics.log_loss(partly, search.predict_proba(X), average="mean")
    assert search.score(X, target) == pytest.approx(expected)


def test_one_task_by_name_or_index(learnable):
    X, _, partly = learnable
    fitted = PerTaskLogistic(task_names=["click", "buy", "return"]).fit(X, partly)
    values = metrics.roc_auc(partly, fitted.predict_proba(X))
    assert make_task_scorer("roc_auc", task="buy")(fitted, X, partly) == values[1]
    assert make_task_scorer("roc_auc", task=2)(fitted, X, partly) == values[2]
    # The names of the columns at hand come before those of training.
    renamed = pd.DataFrame(partly, columns=["buy", "x", "y"])
    assert make_task_scorer("roc_auc", task="buy")(fitted, X, renamed) == values[0]
    for unknown in ("bye", 3, -1):
        with pytest.raises(ValueError, match=r"one of \['click', 'buy', 'return'\] or an index"):
            make_task_scorer("roc_auc", task=unknown)(fitted, X, partly)


def test_scorer_options_reach_the_metric(learnable):
    X, _, partly = learnable
    fitted = PerTaskLogistic().fit(X, partly)
    scores = fitted.predict_proba(X)
    weight = np.random.default_rng(0).random(len(X))
    scorer = make_task_scorer("f1", average={"y0": 1, "y1": 0, "y2": 2}, threshold=0.2)
    expected = metrics.f1(partly, scores, threshold=0.2, average=[1, 0, 2], sample_weight=weight)
    assert scorer(fitted, X, partly, sample_weight=weight) == expected
    brier = TaskMetric("brier", sk.brier_score_loss, greater_is_better=False)
    assert make_task_scorer(brier)(fitted, X, partly) == -brier(partly, scores, average="mean")


@pytest.mark.filterwarnings("ignore::mtgbm.metrics.SingleClassWarning")
def test_a_fold_of_one_class_is_recorded_as_failed_not_as_a_number(learnable):
    X, _, partly = learnable
    partly[:80, 0] = np.where(np.isnan(partly[:80, 0]), np.nan, 1)
    scorer = make_task_scorer("roc_auc", task=0)
    with pytest.warns(UserWarning, match="cannot be averaged"):
        values = cross_val_score(PerTaskLogistic(), X, partly, cv=KFold(3), scoring=scorer)
    assert np.isnan(values).tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (["auc"], {}, ValueError, "one of .*'roc_auc'"),
        (["roc_auc"], {"average": None}, ValueError, "must not be None"),
        (["f1"], {"treshold": 0.2}, TypeError, "treshold"),
    ],
)
def test_malformed_scorers_fail_when_made(arguments, options, error, message):
    with pytest.raises(error, match=message):
        make_task_scorer(*arguments, **options)


def test_scorers_pickle_and_print(learnable):
    X, _, partly = learnable
    fitted = PerTaskLogistic().fit(X, partly)
    scorer = make_task_scorer("f1", average="median", threshold=0.3)
    copy = pickle.loads(pickle.dumps(scorer))
    assert copy(fitted, X, partly) == scorer(fitted, X, partly)
    assert repr(copy) == "make_task_scorer('f1', average='median', threshold=0.3)"
    assert repr(metrics.masked_log_loss_scorer) == "make_task_scorer('log_loss', average='mean')"
