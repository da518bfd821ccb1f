"""Bad input: an error of one sentence that says what is wrong and what to do, before any work."""

import re
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.exceptions import NotFittedError

from mtgbm.engine.boosting import Boosting
from mtgbm.weighting import FixedWeighting


@pytest.fixture
def no_training(monkeypatch):
    """A context in which a test fails when training begins."""

    @contextmanager
    def context():
        with monkeypatch.context() as patch:
            patch.setattr(Boosting, "run", lambda *args: pytest.fail("training began"))
            yield

    return context


@pytest.fixture
def refuses(make_data, make_model, no_training):
    """``refuses(text, error, fit=..., **params)``: `fit` raises, with `text`, before training."""
    X, Y = make_data()

    def check(text, error=ValueError, fit=None, **params):
        given = {"X": X, "Y": Y, **(fit or {})}
        with no_training(), pytest.raises(error, match=re.escape(text)):
            make_model(**params).fit(given.pop("X"), given.pop("Y"), **given)

    return check


# Parameters


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("num_leaves", 1, "num_leaves must be at least 2, got 1."),
        ("max_bin", 256, "max_bin must be at least 2 and at most 255, got 256."),
        ("max_bin", 1, "max_bin must be at least 2 and at most 255, got 1."),
        ("n_estimators", 0, "n_estimators must be at least 1, got 0."),
        ("learning_rate", 0.0, "learning_rate must be above 0, got 0.0."),
        ("learning_rate", np.nan, "learning_rate must be finite and above 0, got nan."),
        ("learning_rate", np.inf, "learning_rate must be finite and above 0, got inf."),
        ("reg_lambda", -1, "reg_lambda must be at least 0, got -1."),
        ("reg_alpha", -0.5, "reg_alpha must be at least 0, got -0.5."),
        ("min_child_samples", -1, "min_child_samples must be at least 0, got -1."),
        ("min_child_weight", -1, "min_child_weight must be at least 0, got -1."),
        ("max_delta_step", -1, "max_delta_step must be at least 0, got -1."),
        ("subsample", 0, "subsample must be above 0 and at most 1, got 0."),
        ("colsample_bytree", 1.5, "colsample_bytree must be above 0 and at most 1, got 1.5."),
        ("validation_fraction", 1.0, "validation_fraction must be above 0 and below 1, got 1.0."),
        ("early_stopping_rounds", 0, "early_stopping_rounds must be at least 1, got 0."),
        ("n_jobs", 0, "n_jobs must not be 0; use 1 for one thread, -1 or None for all cores."),
        ("scale_pos_weight", 0, "scale_pos_weight must be above 0"),
        ("scale_pos_weight", [1, 2], "scale_pos_weight has 2 values for 3 tasks (task_0, task_1,"),
        ("sketch_outputs", 0, "sketch_outputs must be at least 1, got 0."),
        ("sketch_outputs", -1, "sketch_outputs must be at least 1, got -1."),
        ("sketch_outputs", "foo", "unknown sketch_outputs 'foo'; Expected one of 'auto'."),
        ("best_round_per_task", True, "best_round_per_task needs early_stopping_rounds; set it"),
        ("main_task", 3, "main_task=3 but there are 3 tasks, numbered from 0: task_0, task_1,"),
        ("objective", ["binary"], "objective has 1 values for 3 tasks (task_0, task_1, task_2);"),
    ],
)
def test_values_out_of_range(refuses, name, value, text):
    refuses(text, **{name: value})


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("num_leaves", 2.5, "num_leaves must be an integer, got 2.5."),
        ("num_leaves", "31", "num_leaves must be an integer, got '31'."),
        ("learning_rate", "fast", "learning_rate must be a number, got 'fast'."),
        ("n_estimators", True, "n_estimators must be an integer, got True."),
        ("n_jobs", 1.5, "n_jobs must be an integer, got 1.5."),
        ("sketch_outputs", 1.5, "sketch_outputs must be an integer, got 1.5."),
        ("sketch_outputs", True, "sketch_outputs must be an integer, got True."),
        ("categorical_feature", 1, "categorical_feature must be 'auto' or a list of names or"),
    ],
)
def test_values_of_the_wrong_type(refuses, name, value, text):
    refuses(text, TypeError, **{name: value})


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("weighting", "fixd", "fixed"),
        ("split_criterion", "gain-sum", "gain_sum"),
        ("sketch_outputs", "atuo", "auto"),
        ("main_task", "tsk_1", "task_1"),
        ("objective", "binry", "binary"),
        ("eval_metric", "log_loss", "logloss"),
        ("importance_type", "gains", "gain"),
        ("reg_lambda", "atuo", "auto"),
        ("early_stopping_task", "task1", "task_1"),
        ("scale_pos_weight", {"task2": 2.0}, "task_2"),
        ("objective", {"tusk_2": "binary"}, "task_2"),
        ("monotone_constraints", {"task2": [0, 0, 0, 0, 1]}, "task_2"),
    ],
)
def test_a_misspelt_name_gets_a_suggestion(refuses, name, value, meant):
    wrong = next(iter(value)) if isinstance(value, dict) else value
    refuses(f"unknown {name} {wrong!r}; did you mean {meant!r}? Expected one of ", **{name: value})


@pytest.mark.parametrize("value", [3, object, FixedWeighting])
def test_a_weighting_must_be_a_name_or_an_object(refuses, value):
    refuses("unknown weighting", weighting=value)


@pytest.mark.parametrize(
    ("weighting", "text"),
    [
        (FixedWeighting(sub_weight=-1.0), "task weights must be finite, not negative and not all"),
        (FixedWeighting(0.0, 0.0), "task weights must be finite, not negative and not all 0, got"),
        (FixedWeighting(np.nan), "task weights must be finite, not negative and not all 0, got"),
        (FixedWeighting(1.0, np.inf), "task weights must be finite, not negative and not all 0,"),
        (FixedWeighting(1.0, [1, 1, 1]), "sub_weight has 3 values but there are 2 sub tasks;"),
    ],
)
def test_weights_of_tasks(refuses, weighting, text):
    refuses(text, weighting=weighting)


@pytest.mark.parametrize("task", [{"task_0": -1.0}, {"task_0": 0.0}, {}, {"task_0": np.nan}])
def test_weights_of_early_stopping(refuses, task):
    refuses(
        "early_stopping_task weights must be finite, not negative and not all 0, got",
        early_stopping_rounds=3,
        early_stopping_task=task,
    )


@pytest.mark.parametrize("constraints", [[1, 0], [2, 0, 0, 0, 0], [[1, 0, 0, 0, 0]]])
def test_monotone_constraints_that_do_not_fit(refuses, constraints):
    text = "monotone_constraints"
    refuses(text, monotone_constraints=constraints)


def test_monotone_constraints_need_binary_tasks_and_the_sum_of_gains(refuses, make_data):
    text = "monotone_constraints need split_criterion='gain_sum' and binary tasks only."
    constraints = [1, 0, 0, 0, 0]
    refuses(text, monotone_constraints=constraints, split_criterion="gradient_sum")
    refuses(text, monotone_constraints=constraints, objective={"task_1": "multiclass"})


def test_monotone_constraints_need_all_outputs_in_every_tree(refuses):
    text = "sketch_outputs=2: with monotone_constraints every output must be heard in every tree;"
    refuses(text, monotone_constraints=[1, 0, 0, 0, 0], sketch_outputs=2)


def test_a_ranking_metric_needs_binary_tasks(refuses):
    refuses("eval_metric='auc' ranks binary tasks only", eval_metric="auc", objective="multiclass")


# Labels


@pytest.mark.parametrize("label", [2.0, -1.0, 0.5, np.inf])
def test_labels_outside_zero_one_and_nan(refuses, make_data, label):
    _, Y = make_data(missing=0.1)
    Y[7, 1] = label
    refuses(
        "task 'task_1' is binary: expected labels 0, 1 or NaN (missing), got",
        fit={"Y": Y},
    )
    refuses("set objective={'task_1': 'multiclass'}.", fit={"Y": Y})


def test_labels_of_text_in_a_binary_task(refuses):
    refuses("is binary: expected labels 0, 1 or NaN", fit={"Y": np.array([["no", "yes"]] * 300)})


@pytest.mark.parametrize("label", [np.nan, 0.5])
def test_a_continuous_target(refuses, make_data, label):
    X, _ = make_data()
    y = X[:, 0].copy()
    y[3] = label
    refuses("Unknown label type: continuous", fit={"Y": y})


def test_an_infinite_label_of_one_task(refuses, make_data):
    _, Y = make_data()
    refuses("contains infinity", fit={"Y": np.where(Y[:, 0] == 1, np.inf, 0.0)})


def test_three_classes_are_not_binary(refuses, make_data):
    _, Y = make_data()
    text = "objective='binary' but y has 4 classes; use objective='multiclass' or None."
    refuses(text, fit={"Y": Y.sum(axis=1)}, objective="binary")


def test_a_task_without_any_label(refuses, make_data):
    _, Y = make_data()
    Y[:, 2] = np.nan
    text = "task 'task_2' has no label: all its rows are missing or masked. Drop the task, or add"
    refuses(text, fit={"Y": Y})
    refuses("task 'task_0' has no label", fit={"Y": np.full(300, np.nan)})


def test_a_task_that_is_masked_or_weighs_nothing(refuses):
    kept = np.tile([True, False, True], (300, 1))
    refuses("task 'task_1' has no label", fit={"label_mask": kept})
    refuses("task 'task_1' has no label", fit={"task_weight": kept.astype(float)})


def test_two_tasks_of_one_name(refuses, make_data):
    _, Y = make_data()
    named = pd.DataFrame(Y, columns=["a", "b", "a"])
    refuses("Two tasks of Y share a name: ['a'].", fit={"Y": named})


def test_no_labels_or_labels_twice(refuses, make_data):
    _, Y = make_data()
    refuses("requires y to be passed, but the target y is None", fit={"Y": None})
    refuses("fit got both Y and y, which mean the same", TypeError, fit={"y": Y})


@pytest.mark.parametrize(
    "mask",
    [np.ones(300, bool), np.ones((300, 2), bool), np.ones((300, 3)), np.ones((200, 3), bool)],
    ids=["1-d", "two tasks", "float", "rows"],
)
def test_a_mask_that_does_not_fit(refuses, mask):
    text = "label_mask must be boolean of the shape of Y, (300, 3), got"
    refuses(text, fit={"label_mask": mask})


@pytest.mark.parametrize(
    ("label", "probability"),
    [(0.0, 1 / 302), (1.0, 301 / 302)],
)
def test_a_task_of_one_class_is_constant_and_calibrated(make_data, make_model, label, probability):
    """Laplace's rule; the other tasks train as if it were not there."""
    X, Y = make_data()
    Y[:, 1] = label
    with pytest.warns(UserWarning, match="task 'task_1' has a single class") as caught:
        model = make_model().fit(X, Y)
    assert len(caught) == 1
    assert_allclose(model.predict_proba(X)[:, 1], probability, rtol=1e-12)
    others = make_model().fit(X, Y[:, [0, 2]])
    assert_array_equal(model.raw_predict(X)[:, [0, 2]], others.raw_predict(X))


def test_one_task_of_one_class(make_data, make_model):
    X, _ = make_data()
    with pytest.warns(UserWarning, match="task 'task_0' has a single class"):
        model = make_model().fit(X, np.full(len(X), "yes"))
    assert set(model.predict(X)) == {"yes"}
    assert_array_equal(model.predict_proba(X), np.ones((len(X), 1)))


def test_a_multiclass_task_of_one_class(make_data, make_model):
    X, Y = make_data(n_tasks=2)
    labels = np.column_stack([Y[:, 0] + Y[:, 1], np.full(len(X), 7.0)])
    with pytest.warns(UserWarning, match="task 'task_1' has a single class"):
        model = make_model(objective="multiclass").fit(X, labels)
    assert_array_equal(model.predict_proba(X)[1], np.ones((len(X), 1)))
    assert set(model.predict(X)[:, 1]) == {7.0}


# Features


@pytest.mark.parametrize(
    "container",
    [
        np.asarray,
        lambda X: X.astype(np.float32),
        sparse.csr_array,
        lambda X: pd.DataFrame(X, columns=list("abcde")),
        lambda X: pd.DataFrame(X, columns=list("abcde")).assign(z=pd.Categorical(["u"] * len(X))),
    ],
    ids=["float64", "float32", "csr", "pandas", "categories"],
)
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_features(refuses, make_data, make_model, container, value):
    X, Y = make_data()
    bad = X.copy()
    bad[5, 2] = value
    refuses("contains infinity", fit={"X": container(bad)})
    model = make_model().fit(container(X), Y)
    with pytest.raises(ValueError, match="contains infinity"):
        model.predict(container(bad))


def test_an_empty_table(refuses, make_data):
    X, Y = make_data()
    refuses("Found array with 0 sample(s)", fit={"X": X[:0], "Y": Y[:0]})
    refuses("Found array with 0 sample(s)", fit={"X": pd.DataFrame(X[:0]), "Y": Y[:0]})
    refuses("Found array with 0 feature(s)", fit={"X": X[:, :0]})


def test_tables_of_different_length(refuses, make_data):
    X, Y = make_data()
    text = "inconsistent numbers of samples: [300, 200]"
    refuses(text, fit={"Y": Y[:200]})
    refuses(text, fit={"X_val": X, "y_val": Y[:200]})


def test_columns_of_text(refuses, make_data):
    X, _ = make_data()
    frame = pd.DataFrame(X, columns=list("abcde")).assign(f="u", g="v")
    text = "columns ['f', 'g'] do not hold numbers; give them a categorical dtype, name them in"
    refuses(text, fit={"X": frame})
    refuses("could not convert string to float", fit={"X": frame.to_numpy()})


def test_two_columns_of_one_name(refuses, make_data):
    X, _ = make_data()
    frame = pd.DataFrame(X, columns=list("abcda"))
    refuses("Two columns of X share a name: ['a'].", fit={"X": frame})


def test_categorical_features_that_are_not_there(refuses, make_data):
    X, _ = make_data()
    frame = pd.DataFrame(X, columns=["late", "early", "c", "d", "e"])
    refuses(
        "categorical_feature names 'erly', which is no column of X; did you mean 'early'?",
        fit={"X": frame},
        categorical_feature=["erly"],
    )
    refuses("but X has no column names; give positions", categorical_feature=["a"])
    refuses("categorical_feature has 5, but X has 5 features", categorical_feature=[5])
    refuses("categorical_feature has 0.5, but X has 5 features", categorical_feature=[0.5])
    refuses("categorical_feature must be 'auto' or a list", categorical_feature="all")


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_other_columns_at_predict(make_data, make_model):
    X, Y = make_data()
    frame = pd.DataFrame(X, columns=list("abcde"))
    model = make_model().fit(frame, Y)
    for other, text in (
        (frame.rename(columns={"a": "z"}), "feature names should match"),
        (frame[list("bacde")], "must be in the same order"),
        (frame[list("abcd")], "missing"),
        (X[:, :4], "X has 4 features, but MultiTaskLGBMClassifier is expecting 5"),
        (sparse.csr_array(X[:, :4]), "X has 4 features, but MultiTaskLGBMClassifier is expecting"),
    ):
        for method in (model.predict, model.predict_proba, model.raw_predict):
            with pytest.raises(ValueError, match=text):
                method(other)
        with pytest.raises(ValueError, match=text):
            list(model.staged_raw_predict(other))


def test_use_before_fit(make_data, make_model):
    X, _ = make_data()
    model = make_model()
    for use in (
        model.predict,
        model.predict_proba,
        model.raw_predict,
        model.decision_function,
        lambda X: list(model.staged_predict(X)),
        lambda X: model.task_importances(),
        lambda X: model.feature_importances_,
    ):
        with pytest.raises(NotFittedError, match="not fitted yet"):
            use(X)


def test_unknown_kind_of_importance(make_data, make_model):
    model = make_model().fit(*make_data())
    with pytest.raises(ValueError, match=r"unknown importance_type 'gian'; did you mean 'gain'\?"):
        model.task_importances("gian")


# Weights of rows


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        ({"sample_weight": np.ones((300, 3))}, "for a weight per row and task use task_weight."),
        ({"sample_weight": np.ones(200)}, "sample_weight has shape (200,), expected (300,)"),
        ({"sample_weight": -np.ones(300)}, "weights must not be negative; use 0 to leave a row"),
        ({"sample_weight": np.zeros(300)}, "all weights are zero: there is nothing to learn from"),
        ({"sample_weight": np.full(300, np.nan)}, "Input sample_weight contains NaN"),
        ({"sample_weight": np.full(300, np.inf)}, "Input sample_weight contains infinity"),
        ({"task_weight": np.ones(300)}, "task_weight has shape (300, 1), expected (300, 3)"),
        ({"task_weight": np.ones((300, 2))}, "task_weight has shape (300, 2), expected (300, 3)"),
        ({"task_weight": -np.ones((300, 3))}, "weights must not be negative; use 0 to leave"),
        ({"task_weight": np.zeros((300, 3))}, "all weights are zero: there is nothing to learn"),
    ],
)
def test_weights_that_do_not_fit(refuses, weights, text):
    refuses(text, fit=weights)


# Validation rows


def test_validation_rows_without_labels(refuses, make_data):
    X, Y = make_data()
    text = "X_val and y_val belong together: give both or neither."
    refuses(text, fit={"X_val": X})
    refuses(text, fit={"y_val": Y})


def test_validation_rows_that_do_not_fit(refuses, make_data):
    X, Y = make_data()
    refuses("X has 4 features, but", fit={"X_val": X[:, :4], "y_val": Y})
    refuses("y_val has 2 tasks, Y has 3: task_0, task_1", fit={"X_val": X, "y_val": Y[:, :2]})
    refuses("task 'task_0' is binary: expected", fit={"X_val": X, "y_val": Y + 1})
    unseen = {"Y": np.array(["a", "b"])[Y[:, 0].astype(int)], "y_val": np.full(300, "c")}
    refuses("label np.str_('c') was not seen in the training labels", fit={"X_val": X, **unseen})


def test_validation_tasks_in_another_order(refuses, make_data):
    X, Y = make_data()
    named = pd.DataFrame(Y, columns=["x", "y", "z"])
    text = "y_val has the tasks ['z', 'y', 'x'], expected ['x', 'y', 'z']."
    refuses(text, fit={"Y": named, "X_val": X, "y_val": named[["z", "y", "x"]]})


def test_validation_rows_that_cannot_decide(refuses, make_data):
    X, Y = make_data()
    unlabelled = np.where([False, True, False], np.nan, Y)
    text = "early stopping watches logloss of task 'task_1', which the validation rows do not"
    refuses(
        text,
        fit={"X_val": X, "y_val": unlabelled},
        early_stopping_rounds=3,
        early_stopping_task="mean",
    )
    refuses(
        "early stopping watches auc of task 'task_0'",
        fit={"X_val": X, "y_val": np.ones_like(Y)},
        early_stopping_rounds=3,
        eval_metric="auc",
    )


# A second fit


def test_a_failed_fit_leaves_the_model_as_it_was(make_data, make_model):
    X, Y = make_data()
    model = make_model().fit(X, Y)
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match="unknown weighting"):
        model.set_params(weighting="adaptve").fit(X, Y[:, :2])
    assert_array_equal(model.predict_proba(X), before)
    assert model.n_tasks_ == 3


@pytest.mark.parametrize(
    ("change", "params"),
    [
        ({"Y": lambda X, Y: Y[:, :2]}, {}),
        ({"Y": lambda X, Y: pd.DataFrame(Y, columns=list("abc"))}, {}),
        ({"Y": lambda X, Y: Y[:, 0] + Y[:, 1]}, {}),
        ({}, {"objective": "multiclass"}),
        ({"X": lambda X, Y: X[:, :4]}, {}),
        ({}, {"categorical_feature": [0]}),
    ],
    ids=["fewer tasks", "other names", "other classes", "other kind", "fewer features", "category"],
)
def test_a_warm_start_needs_the_same_tasks_and_features(
    make_data, make_model, no_training, change, params
):
    X, Y = make_data()
    model = make_model(n_estimators=2, warm_start=True).fit(X, Y)
    given = {"X": X, "Y": Y} | {name: make(X, Y) for name, make in change.items()}
    model.set_params(n_estimators=4, **params)
    with no_training(), pytest.raises(ValueError, match="warm_start"):
        model.fit(given["X"], given["Y"])


def test_a_warm_start_cannot_shrink(make_data, make_model):
    X, Y = make_data()
    model = make_model(n_estimators=4, warm_start=True).fit(X, Y)
    text = "warm_start: n_estimators=2 is less than the 4 rounds the model has; raise it."
    with pytest.raises(ValueError, match=re.escape(text)):
        model.set_params(n_estimators=2).fit(X, Y)
