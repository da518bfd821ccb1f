"""Distillation: the formula, whose predictions teach, which rows learn, and what stays the same."""

import copy
import json
import pickle
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit, log_softmax, logit, softmax
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.svm import LinearSVC
from sklearn.utils.validation import check_is_fitted

import mtgbm
from mtgbm import MultiTaskLGBMClassifier
from mtgbm.engine._isa import load_kernel
from mtgbm.engine.vectors import empty_vectors
from mtgbm.io.model_header import distilled_from_header
from mtgbm.objectives import Task, TaskObjectives
from mtgbm.weighting import MainTaskDistillation, SelfDistillation, TeacherDistillation
from mtgbm.weighting.distillation import StallWatch, corrections, soft_probabilities

_gradients = load_kernel("mtgbm.objectives._gradients")
VERSION_1 = Path(__file__).parent / "io" / "files" / "version_1.mtgbm"


class Table:
    """A teacher that gives one table, whatever it is asked about."""

    def __init__(self, table):
        self.table = table

    def predict_proba(self, X):
        return self.table


@pytest.fixture(scope="module")
def rows(make_data):
    """Training and validation rows of three tasks, with so much noise that scores stall."""
    X, Y = make_data(n_rows=500, seed=3)
    noisy = np.random.default_rng(0).random(Y.shape) < 0.2
    Y = np.where(noisy, 1 - Y, Y)
    return X[:300], Y[:300], X[300:], Y[300:]


@pytest.fixture(scope="module")
def fit(rows, make_model):
    """Fits with validation rows; returns the model."""
    X, Y, X_val, y_val = rows

    def build(distillation, Y=Y, sample_weight=None, **params):
        model = make_model(**({"n_estimators": 25, "learning_rate": 0.4} | params))
        model.set_params(distillation=distillation)
        return model.fit(X, Y, sample_weight, X_val=X_val, y_val=y_val)

    return build


def curve_of(model, task, part="validation"):
    return np.array(model.evals_result_[part][f"{model.task_names_[task]}:logloss"])


def naive_stall(losses, patience):
    """Rounds before the swap and the best of them, or None."""
    for n_rounds in range(1, len(losses) + 1):
        best = int(np.argmin(losses[:n_rounds])) + 1
        if n_rounds - best >= patience:
            return n_rounds, best
    return None


def staged(model, X):
    """Scores after 0, 1, 2, ... rounds."""
    start = np.tile(model.forest_.base_score, (len(X), 1))
    return [start, *model.staged_raw_predict(X)]


def root_sums(model, n_rounds):
    """Sums of gradients and hessians in the tree that follows `n_rounds`."""
    tree = model.forest_.trees[n_rounds]
    return tree.gradients[0], tree.hessians[0]


# The formula --------------------------------------------------------------------------------------


def correct(objective, task, labels, weights, teacher, *, mixing, temperature=1.0):
    soft = soft_probabilities(objective, task, np.array(teacher, dtype=float), temperature)
    labels = np.array(labels, dtype=np.int16)
    if weights is not None:
        weights = np.array(weights, dtype=np.float32)
    return corrections(objective, task, labels, weights, soft, mixing)


def test_a_binary_correction_by_hand():
    """t is 1/2, and 9/10 for log odds of ln 9; w m (y - t)."""
    objective = TaskObjectives([Task("a"), Task("b")], np.array([1.0, 3.0]))
    labels = [[0, 1], [0, 0], [1, -1], [0, 1]]
    weights = [[1, 2], [1, 1], [1, 5], [1, 0]]
    teacher = np.array([[0.0], [np.log(9)], [0.0], [0.0]])
    found = correct(objective, 1, labels, weights, teacher, mixing=0.5)
    assert found.dtype == np.float32
    assert_allclose(found, [[2 * 3 * 0.5 * 0.5, 0.5 * (0 - 0.9), 0, 0]], rtol=1e-6)
    unweighted = correct(objective, 0, labels, None, teacher, mixing=1.0)
    assert_allclose(unweighted, [[-0.5, -0.9, 0.5, -0.5]], rtol=1e-6)


def test_temperature_divides_the_scores():
    """The log odds 2 ln 9 at temperature 2 are ln 9; ln 3 at temperature 1/2 are ln 9 too."""
    objective = TaskObjectives([Task("a")], np.ones(1))
    for score, temperature in ((2 * np.log(9), 2.0), (np.log(3), 0.5)):
        found = correct(objective, 0, [[0]], None, [[score]], mixing=1.0, temperature=temperature)
        assert_allclose(found, [[-0.9]], rtol=1e-6)


def test_a_multiclass_correction_by_hand():
    objective = TaskObjectives([Task("a"), Task("m", "multiclass", 3)], np.ones(2))
    teacher = np.log([[0.5, 0.25, 0.25]] * 2) + 7.0
    found = correct(objective, 1, [[0, 1], [0, -1]], [[1, 2], [1, 1]], teacher, mixing=1.0)
    assert_allclose(found, 2 * np.array([[-0.5, 0], [0.75, 0], [-0.25, 0]]), rtol=1e-6)
    squares = correct(
        objective, 1, [[0, 1]] * 2, None, 2 * np.log([[1, 2, 1]] * 2), mixing=1, temperature=2
    )
    assert_allclose(squares[:, 0], [-0.25, 0.5, -0.25], rtol=1e-6)


def soft_loss(scores, target):
    """Of one row and task: the cross entropy of the target distribution."""
    if len(scores) == 1:
        return np.logaddexp(0, scores[0]) - target[0] * scores[0]
    return -(target * log_softmax(scores)).sum()


@pytest.mark.parametrize("mixing", [0.0, 0.3, 1.0])
def test_corrected_gradients_are_the_slopes_of_the_soft_loss(mixing):
    rng = np.random.default_rng(1)
    tasks = [Task("a"), Task("m", "multiclass", 3), Task("b")]
    positive = np.array([2.0, 1.0, 1.0])
    objective = TaskObjectives(tasks, positive)
    n_rows, step = 30, 1e-5
    raw, teacher = rng.normal(size=(2, n_rows, objective.n_outputs)) * 2
    labels = np.stack([rng.integers(-1, task.n_classes, n_rows) for task in tasks], axis=1)
    labels = labels.astype(np.int16)
    weights = rng.integers(0, 4, labels.shape).astype(np.float32)
    vectors = empty_vectors(n_rows, objective.n_outputs)
    objective.gradients(raw, labels, weights, vectors, 1)
    hessians = vectors[:, objective.n_outputs :].copy()
    for task, outputs in enumerate(objective.outputs_of_task):
        columns = correct(
            objective, task, labels, weights, teacher[:, outputs], mixing=mixing, temperature=1.5
        )
        _gradients.add_corrections(columns, np.array(outputs, np.int32), vectors, 1)
        for row in range(n_rows):
            label, scores = labels[row, task], teacher[row, outputs] / 1.5
            if label < 0:
                assert (vectors[row, outputs] == 0).all()
                continue
            binary = len(outputs) == 1
            hard = np.array([label]) if binary else np.eye(tasks[task].n_classes)[label]
            soft = expit(scores) if binary else softmax(scores)
            target = (1 - mixing) * hard + mixing * soft
            weight = weights[row, task] * (positive[task] if binary and label == 1 else 1.0)
            for place, output in enumerate(outputs):
                move = step * np.eye(len(outputs))[place]
                up, down = raw[row, outputs] + move, raw[row, outputs] - move
                slope = weight * (soft_loss(up, target) - soft_loss(down, target)) / (2 * step)
                assert_allclose(vectors[row, output], slope, rtol=1e-4, atol=1e-6)
    assert_array_equal(vectors[:, objective.n_outputs :], hessians)


@pytest.mark.parametrize("n_rows", [0, 1, 511, 512, 513, 3000])
@pytest.mark.parametrize("outputs", [[], [0], [4], [3, 0, 1]])
def test_the_kernel_adds_columns_to_lanes(n_rows, outputs):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(n_rows, 16)).astype(np.float32)
    columns = rng.normal(size=(len(outputs), n_rows)).astype(np.float32)
    expected = vectors.copy()
    expected[:, outputs] += columns.T
    for n_threads in (1, 3):
        found = vectors.copy()
        _gradients.add_corrections(columns, np.array(outputs, np.int32), found, n_threads)
        assert_array_equal(found, expected)


# A task's own best round --------------------------------------------------------------------------


class Recording(SelfDistillation):
    """Keeps what each task learned from."""

    seen: ClassVar[dict] = {}

    def _teacher_scores(self, round, task, best, n_rounds):
        scores = super()._teacher_scores(round, task, best, n_rounds)
        assert task not in self.seen
        self.seen[task] = scores
        return scores


@pytest.mark.parametrize("params", [{}, {"subsample": 0.7, "subsample_freq": 1}, {"n_jobs": 2}])
def test_a_stalled_task_learns_from_exactly_its_best_round(fit, rows, params):
    Recording.seen.clear()
    model = fit(Recording(patience=4), **params)
    scores = staged(model, rows[0])
    expected = {}
    for task, name in enumerate(model.task_names_):
        n_rounds, best = naive_stall(curve_of(model, task), 4)
        expected[name] = n_rounds
        assert n_rounds < 25
        assert_allclose(Recording.seen[task][:, 0], scores[best][:, task], atol=1e-9)
        for other in (best - 1, best + 1):
            assert np.abs(Recording.seen[task][:, 0] - scores[other][:, task]).max() > 0.01
    assert model.distilled_rounds_ == expected


def test_the_next_tree_is_the_first_of_the_soft_targets(fit, rows):
    X, Y, *_ = rows
    model = fit(SelfDistillation(patience=4, mixing=0.6, temperature=2.0))
    scores = staged(model, X)
    for task, name in enumerate(model.task_names_):
        n_rounds, best = naive_stall(curve_of(model, task), 4)
        assert n_rounds == model.distilled_rounds_[name]
        target = 0.4 * Y[:, task] + 0.6 * expit(scores[best][:, task] / 2)
        for number, aim in ((n_rounds - 1, Y[:, task]), (n_rounds, target), (n_rounds + 1, target)):
            p = expit(scores[number][:, task])
            g, h = root_sums(model, number)
            assert_allclose(g[task], (p - aim).sum(), atol=1e-3)
            assert_allclose(h[task], (p * (1 - p)).sum(), rtol=1e-5)


def test_a_stalled_multiclass_task_learns_from_its_best_round(rows, make_model):
    X, Y, X_val, y_val = (table.copy() for table in rows)
    for x, y in ((X, Y), (X_val, y_val)):
        y[:, 1] += (x[:, 2] > 0.5) * (y[:, 1] > 0)
    model = make_model(
        n_estimators=20,
        learning_rate=0.4,
        objective=["binary", "multiclass", "binary"],
        distillation=SelfDistillation(patience=3),
    ).fit(X, Y, X_val=X_val, y_val=y_val)
    n_rounds, best = naive_stall(curve_of(model, 1), 3)
    assert model.distilled_rounds_["task_1"] == n_rounds
    scores = staged(model, X)
    change = softmax(scores[n_rounds][:, 1:4], axis=1) - softmax(scores[best][:, 1:4], axis=1)
    assert_allclose(root_sums(model, n_rounds)[0][1:4], change.sum(axis=0), atol=1e-3)


@given(
    st.integers(1, 4),
    st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4, np.nan]), max_size=12),
)
def test_the_watch_finds_the_first_stall(patience, losses):
    watch = StallWatch(patience, 1)
    found = None
    for number, loss in enumerate(losses, start=1):
        stalled = watch.observe(-np.array([loss]))[0]
        if stalled and found is None:
            found = number, int(watch.best_round[0])
    filled = [np.inf if np.isnan(loss) else loss for loss in losses]
    first = next((place for place, loss in enumerate(losses) if loss == loss), len(losses))
    expected = naive_stall(filled[first:], patience)
    assert found == (expected and (expected[0] + first, expected[1] + first))


def test_ranking_scores_stall_when_they_do_not_rise(fit):
    model = fit(SelfDistillation(patience=3), eval_metric="auc")
    for name in model.task_names_:
        curve = np.array(model.evals_result_["validation"][f"{name}:auc"])
        stall = naive_stall(-curve, 3)
        assert model.distilled_rounds_.get(name) == (stall and stall[0])


def test_a_task_without_validation_labels_keeps_its_labels(rows, make_model):
    X, Y, X_val, y_val = rows
    hidden = y_val.copy()
    hidden[:, 1] = np.nan
    model = make_model(n_estimators=20, learning_rate=0.4, distillation=SelfDistillation(2))
    model.fit(X, Y, X_val=X_val, y_val=hidden)
    assert set(model.distilled_rounds_) == {"task_0", "task_2"}


@pytest.mark.filterwarnings("ignore:task 'task_1' has a single class")
def test_a_task_of_one_class_stays_constant(rows, make_model):
    X, Y, X_val, y_val = rows
    Y = Y.copy()
    Y[:, 1] = 1.0
    teachers = TeacherDistillation(Table(np.full((len(X), 3), 0.3)), unlabelled=True)
    for distillation in (SelfDistillation(2), MainTaskDistillation(2), teachers):
        model = make_model(n_estimators=10, learning_rate=0.4, distillation=distillation)
        model.fit(X, Y, X_val=X_val, y_val=y_val)
        assert "task_1" not in model.distilled_rounds_
        assert "task_2" in model.distilled_rounds_
        assert np.ptp(model.predict_proba(X)[:, 1]) == 0


def test_a_second_fit_goes_on_where_the_first_one_was(rows, fit):
    X, Y, X_val, y_val = rows
    once = fit(SelfDistillation(patience=4), n_estimators=24)
    twice = fit(SelfDistillation(patience=4), n_estimators=14, warm_start=True)
    assert twice.distilled_rounds_
    twice.set_params(n_estimators=24).fit(X, Y, X_val=X_val, y_val=y_val)
    assert twice.distilled_rounds_ == once.distilled_rounds_
    assert_allclose(twice.raw_predict(X), once.raw_predict(X), rtol=1e-5, atol=1e-5)


class Interrupted(SelfDistillation):
    """Forgets everything before one round, and goes on from its state."""

    swaps = 0

    def soften(self, round):
        if round.number == 16:
            state = copy.deepcopy(self.get_state())
            plain = {k: v for k, v in state.items() if not isinstance(v, np.ndarray)}
            assert json.loads(json.dumps(plain)) == plain
            self.start(round)
            self.set_state(state | json.loads(json.dumps(plain)))
        super().soften(round)

    def _swap(self, *args):
        type(self).swaps += 1
        super()._swap(*args)


def test_training_that_goes_on_from_a_state_is_the_same(fit, rows):
    whole = fit(SelfDistillation(patience=4))
    Interrupted.swaps = 0
    resumed = fit(Interrupted(patience=4))
    assert sum(rounds < 16 for rounds in whole.distilled_rounds_.values()) >= 2
    assert Interrupted.swaps == len(whole.distilled_rounds_)
    assert resumed.distilled_rounds_ == whole.distilled_rounds_
    assert_array_equal(resumed.raw_predict(rows[0]), whole.raw_predict(rows[0]))


@pytest.mark.parametrize(
    ("distilled", "shape"), [([[1, 5]], (1, 99)), ([[1, 5]], (2, 300)), ([[3, 5]], (1, 300))]
)
def test_a_state_of_other_rows_or_tasks_is_refused(fit, distilled, shape):
    class Resumed(SelfDistillation):
        def start(self, round):
            super().start(round)
            self.set_state({"distilled": distilled, "columns": np.zeros(shape, np.float32)})

    with pytest.raises(ValueError, match=r"does not fit 3 tasks and 300 rows"):
        fit(Resumed())


# The main task ------------------------------------------------------------------------------------


def test_a_stalled_task_learns_from_the_main_task(fit, rows):
    X, Y, *_ = rows
    model = fit(MainTaskDistillation(4, mixing=0.5, temperature=1.5), main_task=1)
    scores = staged(model, X)
    assert "task_1" not in model.distilled_rounds_
    for task in (0, 2):
        n_rounds, _ = naive_stall(curve_of(model, task), 4)
        assert model.distilled_rounds_[f"task_{task}"] == n_rounds
        target = 0.5 * Y[:, task] + 0.5 * expit(scores[n_rounds][:, 1] / 1.5)
        p = expit(scores[n_rounds][:, task])
        assert_allclose(root_sums(model, n_rounds)[0][task], (p - target).sum(), atol=1e-3)


# A teacher ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("unlabelled", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_first_tree_learns_from_the_teacher(rows, make_model, unlabelled, weighted):
    X, Y = rows[0], rows[1].copy()
    rng = np.random.default_rng(2)
    Y[rng.random(Y.shape) < 0.4] = np.nan
    weight = rng.integers(1, 4, len(X)).astype(float) if weighted else np.ones(len(X))
    teacher = rng.uniform(0.01, 0.99, Y.shape)
    distillation = TeacherDistillation(
        Table(teacher), mixing=0.3, temperature=2.0, unlabelled=unlabelled
    )
    model = make_model(distillation=distillation, scale_pos_weight=[1.0, 2.0, 1.0])
    model.fit(X, Y, weight if weighted else None)
    assert model.distilled_rounds_ == {"task_0": 0, "task_1": 0, "task_2": 0}
    g, h = root_sums(model, 0)
    for task, factor in enumerate([1.0, 2.0, 1.0]):
        y, soft = Y[:, task], expit(logit(teacher[:, task]) / 2)
        known = ~np.isnan(y)
        target = np.where(known, 0.7 * y + 0.3 * soft, soft)
        w = weight * np.where(y == 1, factor, 1.0) * np.where(known, 1.0, unlabelled)
        p = expit(model.forest_.base_score[task])
        assert_allclose(g[task], (w * (p - target)).sum(), atol=2e-3)
        assert_allclose(h[task], w.sum() * p * (1 - p), rtol=1e-5)


def three_classes(rows):
    """The training rows with a multiclass task amid binary ones, some labels missing."""
    X, Y = rows[0], rows[1].copy()
    Y[:, 1] = np.digitize(X[:, 1], [-0.5, 0.5])
    Y[::3, 1] = np.nan
    return X, Y


@pytest.mark.parametrize("form", ["list", "dict"])
def test_a_multiclass_task_learns_from_the_teacher(rows, make_model, form):
    X, Y = three_classes(rows)
    rng = np.random.default_rng(0)
    binary = rng.uniform(0.1, 0.9, (2, len(X), 1))
    soft = softmax(rng.normal(size=(len(X), 3)), axis=1)
    tables = [np.hstack([1 - binary[0], binary[0]]), soft, np.hstack([1 - binary[1], binary[1]])]
    names = ["task_0", "task_1", "task_2"]
    teachers = {
        "list": Table(tables),
        "dict": {name: Table(table) for name, table in zip(names, tables, strict=True)},
    }
    model = make_model(
        objective=["binary", "multiclass", "binary"],
        distillation=TeacherDistillation(teachers[form], mixing=1.0, unlabelled=True),
    ).fit(X, Y)
    g, h = root_sums(model, 0)
    base = model.forest_.base_score
    p = softmax(base[1:4])
    assert_allclose(g[1:4], (p - soft).sum(axis=0), atol=2e-3)
    assert_allclose(h[1:4], len(X) * 1.5 * p * (1 - p), rtol=1e-5)
    for output, table in ((0, binary[0]), (4, binary[1])):
        assert_allclose(g[output], (expit(base[output]) - table).sum(), atol=2e-3)


def test_a_one_dimensional_y_has_teachers_too(rows, make_model):
    X, Y, *_ = rows
    words = np.array(["no", "yes"])[Y[:, 0].astype(int)]
    teacher = LogisticRegression().fit(X, words)
    model = make_model(distillation=TeacherDistillation(teacher, mixing=1.0)).fit(X, words)
    p = expit(model.forest_.base_score[0])
    expected = (p - teacher.predict_proba(X)[:, 1]).sum()
    assert_allclose(root_sums(model, 0)[0][0], expected, atol=2e-3)


def test_a_model_of_this_library_can_teach(rows, make_model):
    X, Y = three_classes(rows)
    teacher = make_model(objective={"task_1": "multiclass"}).fit(X, Y)
    student = clone(teacher).set_params(distillation=TeacherDistillation(teacher)).fit(X, Y)
    assert set(student.distilled_rounds_) == {"task_0", "task_1", "task_2"}
    binary = make_model().fit(X, Y[:, [0, 2]])
    student = clone(binary).set_params(distillation=TeacherDistillation(binary, tasks="task_1"))
    assert student.fit(X, Y[:, [0, 2]]).distilled_rounds_ == {"task_1": 0}


def test_the_teacher_says_nothing_about_rows_without_labels_unless_asked(rows, make_model):
    X, Y = rows[0], rows[1].copy()
    rng = np.random.default_rng(5)
    Y[rng.random(Y.shape) < 0.5] = np.nan
    one, other = rng.uniform(0.1, 0.9, (2, *Y.shape))
    other[~np.isnan(Y)] = one[~np.isnan(Y)]

    def scores(table, unlabelled):
        distillation = TeacherDistillation(Table(table), unlabelled=unlabelled)
        return make_model(distillation=distillation).fit(X, Y).raw_predict(X)

    assert_array_equal(scores(one, False), scores(other, False))
    assert np.abs(scores(one, True) - scores(other, True)).max() > 0.1


class Watched(TeacherDistillation):
    """Keeps which probabilities came to which labels."""

    seen: ClassVar[list] = []

    def start(self, round):
        tables = [self._probabilities[task][:, 0] for task in range(len(round.tasks))]
        self.seen.append((np.column_stack(tables), round.training.labels.copy()))
        super().start(round)


@pytest.mark.parametrize("sparse", [False, True])
def test_probabilities_follow_their_rows(rows, make_model, sparse):
    """Through the hold-out, rows without weight, and both at once."""
    from scipy.sparse import csr_matrix

    X, Y, *_ = rows
    weight = (np.random.default_rng(1).random(len(X)) < 0.7).astype(float)
    told = np.where(Y == 1, 0.9, 0.1)
    for stopping in (None, 3):
        for weights in (None, weight):
            Watched.seen.clear()
            model = make_model(
                distillation=Watched(Table(told)), early_stopping_rounds=stopping, n_estimators=3
            )
            model.fit(csr_matrix(X) if sparse else X, Y, weights)
            ((found, labels),) = Watched.seen
            kept = len(X) if weights is None else int(weight.sum())
            assert len(labels) == (kept if stopping is None else kept - int(np.ceil(kept * 0.1)))
            assert_allclose(found, np.where(labels == 1, 0.9, 0.1))


def test_a_teacher_of_the_labels_changes_next_to_nothing(fit, rows):
    X, Y, *_ = rows
    plain = fit(None, n_estimators=8)
    taught = fit(TeacherDistillation(Table(Y), mixing=1.0), n_estimators=8)
    assert_allclose(taught.predict_proba(X), plain.predict_proba(X), atol=1e-4)


def test_a_teacher_helps_a_task_that_has_lost_most_labels():
    """The teacher saw no more labels; but it is smooth, and all rows can learn from it."""
    gains = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(6000, 8))
        Y = (X[:, :2] + X[:, 2:4] + rng.normal(size=(6000, 2)) > 0.5).astype(float)
        train, test = slice(3000), slice(3000, None)
        partial = Y[train].copy()
        partial[rng.random(3000) < 0.95, 1] = np.nan
        known = ~np.isnan(partial[:, 1])
        teacher = LogisticRegression().fit(X[train][known], partial[known, 1])
        aucs = []
        for distillation in (
            None,
            TeacherDistillation({"task_1": teacher}, unlabelled=True),
        ):
            model = MultiTaskLGBMClassifier(
                n_estimators=40, distillation=distillation, random_state=0, n_jobs=1
            ).fit(X[train], partial)
            aucs.append(roc_auc_score(Y[test, 1], model.predict_proba(X[test])[:, 1]))
        gains.append(aucs[1] - aucs[0])
    assert min(gains) > 0.03


# What stays the same ------------------------------------------------------------------------------


def no_mixing(rows):
    table = np.random.default_rng(0).random(rows[1].shape)
    return {
        "self": SelfDistillation(3, mixing=0.0),
        "main_task": MainTaskDistillation(3, mixing=0.0),
        "teacher": TeacherDistillation(Table(table), mixing=0.0),
    }


@pytest.mark.parametrize("name", ["self", "main_task", "teacher"])
def test_without_mixing_nothing_changes(fit, rows, name):
    plain, taught = fit(None), fit(no_mixing(rows)[name])
    assert plain.distilled_rounds_ == {}
    assert len(taught.distilled_rounds_) >= 2
    assert_array_equal(taught.raw_predict(rows[0]), plain.raw_predict(rows[0]))


@pytest.mark.parametrize(
    "params",
    [
        {"split_criterion": "gradient_sum"},
        {"sketch_outputs": 1},
        {"subsample": 0.6, "subsample_freq": 2},
        {"use_quantized_grad": False},
        {"early_stopping_rounds": 8, "best_round_per_task": True, "early_stopping_task": "mean"},
    ],
)
def test_it_goes_with_the_other_options_on_any_number_of_threads(fit, rows, params):
    one, two, plain = (
        fit(distillation, n_jobs=n_jobs, **params)
        for distillation, n_jobs in ((SelfDistillation(4), 1), (SelfDistillation(4), 2), (None, 1))
    )
    assert_array_equal(one.raw_predict(rows[0]), two.raw_predict(rows[0]))
    assert one.distilled_rounds_ == two.distilled_rounds_ != {}
    rounds = min(one.distilled_rounds_.values())
    n_common = min(len(one.forest_.trees), len(plain.forest_.trees), rounds)
    for ours, theirs in zip(one.forest_.trees[:n_common], plain.forest_.trees, strict=False):
        assert_array_equal(ours.nodes, theirs.nodes)


def test_scores_are_those_of_the_labels(fit, rows):
    X, Y, X_val, y_val = rows
    partial = Y.copy()
    partial[::2, 1] = np.nan
    teacher = Table(np.random.default_rng(0).random(Y.shape))
    for distillation in (
        SelfDistillation(patience=3),
        TeacherDistillation(teacher, mixing=1.0, unlabelled=True),
    ):
        model = fit(distillation, Y=partial, track_training_score=True)
        for part, table, labels in (("training", X, partial), ("validation", X_val, y_val)):
            known = ~np.isnan(labels[:, 1])
            expected = [
                log_loss(labels[known, 1], expit(raw[known, 1]))
                for raw in model.staged_raw_predict(table)
            ]
            assert_allclose(curve_of(model, 1, part), expected, rtol=1e-6)


def test_names_are_objects_with_defaults(fit, rows):
    for name, distillation in (("self", SelfDistillation()), ("main_task", MainTaskDistillation())):
        named, given = fit(name), fit(distillation)
        assert named.distilled_rounds_
        assert_array_equal(named.raw_predict(rows[0]), given.raw_predict(rows[0]))


@pytest.mark.parametrize("name", ["adaptive_kd", "auto_weight_KD"])
def test_a_weighting_may_bring_a_distillation(fit, rows, make_model, name):
    brought, given = fit(None, weighting=name), fit("self", weighting="adaptive")
    assert brought.distilled_rounds_
    assert_array_equal(brought.raw_predict(rows[0]), given.raw_predict(rows[0]))
    other = SelfDistillation(patience=3)
    brought, given = fit(other, weighting=name), fit(other, weighting="adaptive")
    assert_array_equal(brought.raw_predict(rows[0]), given.raw_predict(rows[0]))
    assert fit(None, weighting="adaptive").distilled_rounds_ == {}
    with pytest.raises(ValueError, match="no validation rows"):
        make_model(weighting=name).fit(*rows[:2])


def test_fit_does_not_change_what_it_is_given(fit):
    for distillation in (SelfDistillation(3), TeacherDistillation(Table(np.full((300, 3), 0.2)))):
        before = dict(vars(distillation))
        fit(distillation)
        assert vars(distillation) == before


def test_a_clone_keeps_the_fitted_teacher(rows):
    teacher = LogisticRegression().fit(rows[0], rows[1][:, 0])
    model = MultiTaskLGBMClassifier(distillation=TeacherDistillation({"task_0": teacher}))
    copied = clone(model)
    assert copied.distillation is not model.distillation
    check_is_fitted(copied.distillation.teacher["task_0"])


def test_grid_search_over_the_mixing(rows, make_model):
    X, Y, *_ = rows
    teacher = LogisticRegression().fit(X, Y[:, 0])
    search = GridSearchCV(
        make_model(distillation=TeacherDistillation(teacher)),
        {"distillation__mixing": [0.0, 1.0]},
        scoring="neg_log_loss",
        cv=KFold(3),
    ).fit(X, Y[:, 0])
    zero, one = search.cv_results_["mean_test_score"]
    assert abs(zero - one) > 1e-3
    assert search.best_estimator_.distilled_rounds_ == {"task_0": 0}


# Files --------------------------------------------------------------------------------------------


def test_a_model_file_knows_the_distilled_rounds(fit, rows, tmp_path):
    model = fit(SelfDistillation(patience=4, mixing=0.5))
    model.save_model(tmp_path / "model.mtgbm")
    loaded = mtgbm.load_model(tmp_path / "model.mtgbm")
    assert model.distilled_rounds_
    assert loaded.distilled_rounds_ == model.distilled_rounds_
    assert repr(loaded.distillation) == repr(model.distillation)
    assert_array_equal(loaded.raw_predict(rows[0]), model.raw_predict(rows[0]))


def test_a_file_from_before_distillation_says_that_there_was_none():
    assert mtgbm.load_model(VERSION_1).distilled_rounds_ == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([["late", -1]], "name and rounds of a distilled task"),
        ([["late", 1.5]], "name and rounds of a distilled task"),
        ([["late", True]], "name and rounds of a distilled task"),
        ([["late"]], "name and rounds of a distilled task"),
        ([["late", 1], ["late", 2]], "distinct names of distilled tasks"),
        ([["lost", 1]], "distinct names of distilled tasks"),
        ({"late": 1}, "'distilled' of the header to be a list"),
    ],
)
def test_a_forged_file_is_refused(content, message):
    with pytest.raises(ValueError, match=message):
        distilled_from_header({"distilled": content}, ["late", "cancelled"])


def test_a_model_file_holds_no_teacher(rows, make_model, tmp_path):
    teacher = LogisticRegression().fit(rows[0], rows[1][:, 0])
    model = make_model(distillation=TeacherDistillation({"task_0": teacher})).fit(*rows[:2])
    with pytest.raises(TypeError, match=r"parameter distillation\.teacher"):
        model.save_model(tmp_path / "model.mtgbm")
    model.set_params(distillation=None).save_model(tmp_path / "model.mtgbm")
    assert mtgbm.load_model(tmp_path / "model.mtgbm").distilled_rounds_ == {"task_0": 0}


def test_a_pickle_holds_the_teacher(rows, make_model):
    teacher = LogisticRegression().fit(rows[0], rows[1][:, 0])
    model = make_model(distillation=TeacherDistillation({"task_0": teacher})).fit(*rows[:2])
    loaded = pickle.loads(pickle.dumps(model))
    assert loaded.distilled_rounds_ == {"task_0": 0}
    again = loaded.fit(*rows[:2])
    assert_array_equal(again.raw_predict(rows[0]), model.raw_predict(rows[0]))


# Bad input ----------------------------------------------------------------------------------------


def probabilities(shape=(300, 3), value=0.5):
    return np.full(shape, value)


@pytest.mark.parametrize(
    ("distillation", "error", "message"),
    [
        ("sefl", ValueError, "unknown distillation 'sefl'; did you mean 'self'"),
        (7, ValueError, "unknown distillation 7"),
        (SelfDistillation, ValueError, "Expected one of 'self', 'main_task'"),
        (SelfDistillation(patience=0), ValueError, "patience .* at least 1, got 0"),
        (SelfDistillation(patience=2.5), TypeError, "patience .* must be an integer"),
        (SelfDistillation(mixing=1.1), ValueError, "mixing .* at least 0 and at most 1, got 1.1"),
        (SelfDistillation(mixing=-0.1), ValueError, "mixing .* got -0.1"),
        (SelfDistillation(mixing=np.nan), ValueError, "mixing .* finite"),
        (MainTaskDistillation(temperature=0), ValueError, "temperature .* above 0, got 0"),
        (MainTaskDistillation(temperature="hot"), TypeError, "temperature .* must be a number"),
        (TeacherDistillation(None), TypeError, "with predict_proba, .* got None"),
        (TeacherDistillation(LinearSVC()), TypeError, "with predict_proba, .* got LinearSVC"),
        (TeacherDistillation({}), ValueError, "the distillation has no tasks"),
        (TeacherDistillation({"task_9": Table(0)}), ValueError, "unknown task of the teacher"),
        (TeacherDistillation(Table(0), tasks=["task9"]), ValueError, "did you mean 'task_"),
        (
            TeacherDistillation({"task_0": Table(0)}, tasks=["task_1"]),
            ValueError,
            "teacher has no model for task_1",
        ),
        (TeacherDistillation(Table(0), unlabelled="yes"), TypeError, "unlabelled must be True"),
        (
            TeacherDistillation(Table(probabilities((300, 2)))),
            ValueError,
            r"array of shape \(300, 2\), expected a column for each of the 3 tasks",
        ),
        (
            TeacherDistillation(Table([probabilities((300, 2))] * 2)),
            ValueError,
            "teacher predicts 2 tasks, Y has 3",
        ),
        (
            TeacherDistillation(Table(probabilities((299, 3)))),
            ValueError,
            r"task 'task_0' gives an array of shape \(299, 1\), expected \(300, 2\)",
        ),
        (
            TeacherDistillation({"task_1": Table(probabilities((300, 3)))}),
            ValueError,
            r"task 'task_1' gives an array of shape \(300, 3\)",
        ),
        (
            TeacherDistillation(Table(probabilities(value=1.5))),
            ValueError,
            "values from 1.5 to 1.5, expected probabilities",
        ),
        (
            TeacherDistillation(Table(probabilities(value=np.nan))),
            ValueError,
            "values from nan to nan, expected probabilities",
        ),
    ],
)
def test_what_cannot_teach_is_refused(fit, distillation, error, message):
    with pytest.raises(error, match=message):
        fit(distillation)


def test_two_classes_are_not_two_tasks(rows, make_model):
    X, Y, *_ = rows
    teacher = LogisticRegression().fit(X, Y[:, 0])
    with pytest.raises(ValueError, match="looks like the classes of one task"):
        make_model(distillation=TeacherDistillation(teacher)).fit(X, Y[:, :2])


@pytest.mark.parametrize("name", ["self", "main_task"])
def test_without_validation_rows_nothing_can_stall(rows, make_model, name):
    with pytest.raises(ValueError, match=r"no validation rows; give fit X_val and y_val"):
        make_model(distillation=name).fit(*rows[:2])
    held_out = make_model(distillation=name, early_stopping_rounds=3).fit(*rows[:2])
    assert held_out.distilled_rounds_ == {}


def test_the_main_task_teaches_binary_tasks_only(rows, make_model):
    X, Y = three_classes(rows)
    model = make_model(objective={"task_1": "multiclass"}, distillation="main_task")
    with pytest.raises(ValueError, match="binary tasks only, but 'task_1' is multiclass"):
        model.fit(X, Y)
    with pytest.raises(ValueError, match="needs a second task to learn from it"):
        make_model(distillation="main_task").fit(X, Y[:, 0])
