"""An interrupted fit goes on to the same bits; a checkpoint of another fit is refused."""

import json
import os
import pickle
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from mtgbm import MultiTaskLGBMClassifier, load_model
from mtgbm.callbacks import History
from mtgbm.checkpoint import Checkpoint, open_checkpoint
from mtgbm.io.container import FORMAT, MAGIC, PREFIX_BYTES, digest, read_file
from mtgbm.io.container_writer import write_file
from mtgbm.io.model_arrays import forest_to_arrays
from mtgbm.training_state import TrainingState, write_training_state
from mtgbm.weighting import (
    FixedWeighting,
    MainTaskDistillation,
    SelfDistillation,
    TeacherDistillation,
    Weighting,
)

ROOT = Path(__file__).parents[2]
N_ROUNDS = 6


def make_data(seed=0, n_rows=200):
    """Three tasks, some labels missing; the last feature is one of few whole numbers."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 4))
    X[:, 3] = rng.integers(0, 6, n_rows)
    X[rng.random(n_rows) < 0.1, 1] = np.nan
    Y = (np.nan_to_num(X[:, :3]) + rng.normal(size=(n_rows, 3)) > 0).astype(float)
    Y[rng.random(Y.shape) < 0.2] = np.nan
    return X, Y


X, Y = make_data()
X_VAL, Y_VAL = make_data(1)


def make_model(**parameters):
    """A small model."""
    small = {
        "n_estimators": N_ROUNDS,
        "num_leaves": 5,
        "min_child_samples": 5,
        "n_jobs": 1,
        "random_state": 3,
        "checkpoint_interval": 1,
    }
    return MultiTaskLGBMClassifier(**small | parameters)


class WanderingWeighting(Weighting):
    """Adds random numbers up, so that every weight depends on all rounds before."""

    def start(self, round):
        self._rng = np.random.Generator(np.random.MT19937(5))  # its state has an array within
        self._sum = np.ones(len(round.tasks))

    def weights(self, round):
        self._sum += self._rng.random(len(self._sum))
        return self._sum / self._sum.mean()

    def get_state(self):
        return {"generator": self._rng.bit_generator.state, "sum": self._sum}

    def set_state(self, state):
        self._rng.bit_generator.state = state["generator"]
        self._sum = state["sum"].copy()


def assert_same_model(model, expected):
    arrays, wanted = (forest_to_arrays(each.forest_) for each in (model, expected))
    assert {k: a.tobytes() for k, a in arrays.items()} == {
        k: a.tobytes() for k, a in wanted.items()
    }
    assert repr(model.evals_result_) == repr(expected.evals_result_)
    assert model.weight_evolution_.tobytes() == expected.weight_evolution_.tobytes()
    assert model.best_iteration_ == expected.best_iteration_
    assert model.best_iteration_per_task_ == expected.best_iteration_per_task_
    assert model.distilled_rounds_ == expected.distilled_rounds_
    assert model.raw_predict(X_VAL).tobytes() == expected.raw_predict(X_VAL).tobytes()


@contextmanager
def rounds_of_fits(until=None):
    """The numbers of the rounds that are run; the one with the number `until` is interrupted."""
    numbers = []
    on_round_end = History.on_round_end

    def note(history, round):
        numbers.append(round.number)
        if round.number == until:
            raise KeyboardInterrupt
        return on_round_end(history, round)

    with mock.patch.object(History, "on_round_end", note):
        yield numbers


def interrupt(model, until, *data, **named):
    """Start a fit that gets as far as before the end of round `until`."""
    with rounds_of_fits(until), pytest.raises(KeyboardInterrupt):
        model.fit(*data, **named)


def go_on(model, *data, **named):
    """Fit, and return the numbers of the rounds it took."""
    with rounds_of_fits() as numbers:
        model.fit(*data, **named)
    return numbers


VALIDATION = {"X_val": X_VAL, "y_val": Y_VAL}
OPTIONS = {
    "plain": ({}, {}),
    "bags": ({"subsample": 0.6, "subsample_freq": 4, "colsample_bytree": 0.5}, {}),
    "sketch": ({"sketch_outputs": 1}, {}),
    "float": ({"use_quantized_grad": False, "sketch_outputs": 2}, {}),
    "gradient_sum": ({"split_criterion": "gradient_sum", "subsample_for_bin": 50}, {}),
    "weights": ({}, {"sample_weight": np.arange(200) % 3}),
    "validation": (
        {"eval_metric": "auc", "track_training_score": True, "n_estimators": 4},
        VALIDATION,
    ),
    "early": ({"early_stopping_rounds": 2, "learning_rate": 1.0}, {}),
    "early_per_task": (
        {"early_stopping_rounds": 2, "learning_rate": 1.0, "best_round_per_task": True},
        VALIDATION,
    ),
    "no_split_left": ({"min_split_gain": 6.0, "learning_rate": 0.5, "n_estimators": 40}, {}),
    "categories": ({"categorical_feature": [3]}, {}),
    "multiclass": ({"objective": ["binary", "binary", "multiclass"]}, {}),
    "two_threads": ({"n_jobs": 2}, {}),
    "own_weighting": ({"weighting": WanderingWeighting()}, {}),
    "numpy_parameters": ({"weighting": FixedWeighting(2, (np.float32(0.5), 1))}, {}),
    "adaptive": ({"weighting": "adaptive"}, VALIDATION),
    "adaptive_kd": (
        {"weighting": "adaptive_kd", "learning_rate": 1.0},
        VALIDATION,
    ),
    "inverse_distance": ({"weighting": "inverse_distance"}, {}),
    "affinity": ({"weighting": "affinity"}, {}),
    "uncertainty": ({"weighting": "uncertainty"}, VALIDATION),
    "focus": ({"weighting": "focus"}, {}),
    "self": ({"distillation": SelfDistillation(patience=1), "learning_rate": 1.0}, VALIDATION),
    "main_task": (
        {"distillation": MainTaskDistillation(patience=1), "learning_rate": 1.0},
        VALIDATION,
    ),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_after_every_round_an_interrupted_fit_goes_on_to_the_same_model(name, tmp_path):
    parameters, named = OPTIONS[name]
    whole = make_model(**parameters)
    rounds = go_on(whole, X, Y, **named)
    assert len(rounds) > 2
    assert any(whole.distilled_rounds_.values()) == ("distillation" in parameters)
    for until in rounds:
        model = make_model(**parameters, checkpoint_path=tmp_path / f"after_{until}")
        interrupt(clone(model), until, X, Y, **named)
        assert go_on(model, X, Y, **named) == rounds[until:]
        assert_same_model(model, whole)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "subsample": st.sampled_from([0.5, 0.9]),
            "subsample_freq": st.integers(0, 4),
            "colsample_bytree": st.sampled_from([0.5, 1.0]),
            "sketch_outputs": st.sampled_from([1, 2, None]),
            "split_criterion": st.sampled_from(["gain_sum", "gradient_sum"]),
            "use_quantized_grad": st.booleans(),
            "early_stopping_rounds": st.integers(1, 5),
            "weighting": st.sampled_from(["fixed", "focus", WanderingWeighting()]),
            "checkpoint_interval": st.integers(1, 4),
            "n_jobs": st.integers(1, 2),
        },
    ),
    st.lists(st.integers(0, N_ROUNDS - 1), max_size=4),
    st.booleans(),
)
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_however_often_a_fit_is_interrupted_the_model_is_the_same(
    tmp_path_factory, parameters, interruptions, plain
):
    path = tmp_path_factory.mktemp("checkpoints") / "training"
    whole = make_model(**parameters).fit(X, Y)
    for until in interruptions:
        with rounds_of_fits(until), suppress(KeyboardInterrupt):
            make_model(**parameters, checkpoint_path=path).fit(X, Y)
    assert_same_model(make_model(**parameters, checkpoint_path=str(path)).fit(X, Y), whole)


@pytest.mark.parametrize("until", range(4))
def test_a_warm_start_goes_on_too(until, tmp_path):
    def first_fit():
        return make_model(warm_start=True, subsample=0.6, subsample_freq=2, **early).fit(X, Y)

    early = {"early_stopping_rounds": 50, "sketch_outputs": 1}
    whole = first_fit().set_params(n_estimators=10).fit(X, Y)
    path = tmp_path / "second"
    second = first_fit().set_params(n_estimators=10, checkpoint_path=path)
    start = len(second.forest_.trees)
    interrupt(second, until, X, Y)
    again = first_fit().set_params(n_estimators=10, checkpoint_path=path)
    assert go_on(again, X, Y) == list(range(until, 10 - start))
    assert_same_model(again, whole)


def test_a_warm_start_replaces_the_checkpoint_of_the_fit_before(tmp_path):
    path = tmp_path / "training"
    plain = make_model(warm_start=True).fit(X, Y).set_params(n_estimators=9).fit(X, Y)
    model = make_model(warm_start=True, checkpoint_path=path).fit(X, Y)
    written = path.read_bytes()
    assert go_on(model, X, Y) == []
    assert path.read_bytes() == written
    assert go_on(model.set_params(n_estimators=9, learning_rate=0.1), X, Y) == [0, 1, 2]
    assert_same_model(model, plain)
    assert path.read_bytes() != written
    with pytest.raises(ValueError, match=r"its fit began from a model with .*from a new model"):
        make_model(n_estimators=9, checkpoint_path=path).fit(X, Y)


@pytest.mark.parametrize("explicit", [False, True])
def test_the_seed_of_the_first_start_is_kept(explicit, tmp_path):
    path = tmp_path / "training"
    bags = {"subsample": 0.5, "subsample_freq": 1}

    def generator(seed):
        return np.random.RandomState(seed) if explicit else None

    def all_draw_from(seed):
        return mock.patch("numpy.random.mtrand._rand", np.random.RandomState(seed))

    with all_draw_from(7):
        whole = make_model(**bags, random_state=generator(7)).fit(X, Y)
    with all_draw_from(7):
        first = make_model(**bags, random_state=generator(7), checkpoint_path=path)
        interrupt(first, 3, X, Y)
    with all_draw_from(8):
        again = make_model(**bags, random_state=generator(8), checkpoint_path=path)
        assert_same_model(again.fit(X, Y), whole)
        other = make_model(**bags, random_state=generator(8)).fit(X, Y)
    assert other.raw_predict(X_VAL).tobytes() != whole.raw_predict(X_VAL).tobytes()


@pytest.mark.parametrize("name", ["plain", "early", "no_split_left", "main_task"])
def test_a_finished_fit_is_read_and_left_alone(name, tmp_path):
    parameters, named = OPTIONS[name]
    model = make_model(**parameters, checkpoint_path=tmp_path / "training").fit(X, Y, **named)
    written = (tmp_path / "training").read_bytes()
    again = clone(model)
    assert go_on(again, X, Y, **named) == []
    assert_same_model(again, model)
    assert (tmp_path / "training").read_bytes() == written
    assert os.listdir(tmp_path) == ["training"]


@pytest.mark.parametrize("name", ["bags", "early_per_task", "no_split_left"])
def test_more_rounds_may_be_asked_for(name, tmp_path):
    parameters, named = OPTIONS[name]
    more = parameters | {"n_estimators": 60, "verbose": 0, "n_jobs": 2, "checkpoint_interval": 3}
    whole = make_model(**more).fit(X, Y, **named)
    path = tmp_path / "training"
    done = go_on(make_model(**parameters, checkpoint_path=path), X, Y, **named)
    model = make_model(**more, checkpoint_path=path)
    assert go_on(model, X, Y, **named) == list(range(len(done), len(whole.weight_evolution_)))
    assert_same_model(model, whole)


def test_it_is_written_at_the_interval_and_at_the_end(tmp_path):
    path = tmp_path / "training"
    iterations = []
    model = make_model(n_estimators=8, checkpoint_interval=3, checkpoint_path=path)

    def note(path, header, arrays):
        iterations.append(header["state"]["iteration"])
        write_file(path, header, arrays)

    with mock.patch("mtgbm.checkpoint_file.write_file", note):
        model.fit(X, Y)
    assert iterations == [3, 6, 8]


def test_without_a_path_nothing_is_hashed_or_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with mock.patch("mtgbm.training.data_fingerprint", side_effect=AssertionError):
        make_model().fit(X, Y)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("step", ["os.replace", "os.fsync"])
def test_an_interrupted_write_leaves_the_file_before(step, tmp_path):
    path = tmp_path / "training"
    make_model(n_estimators=2, checkpoint_path=path).fit(X, Y)
    written = path.read_bytes()
    with mock.patch(step, side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        make_model(checkpoint_path=path).fit(X, Y)
    assert path.read_bytes() == written
    assert go_on(make_model(checkpoint_path=path), X, Y) == [2, 3, 4, 5]
    assert os.listdir(tmp_path) == ["training"]


def test_what_killed_writes_left_is_removed(tmp_path):
    path = tmp_path / "training"
    left = tmp_path / ".training.0123abcd.tmp"
    others = [tmp_path / name for name in (".training.tmp", ".other.0123abcd.tmp", "training.tmp")]
    for each in (left, *others):
        each.write_text("half of a file")
    make_model(checkpoint_path=path).fit(X, Y)
    assert not left.exists()
    assert all(other.exists() for other in others)


# Other fits -------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path):
    """A checkpoint of two rounds."""
    path = tmp_path / "training"
    interrupt(make_model(checkpoint_path=path), 2, X, Y, **VALIDATION)
    return path


def assert_refused(path, message, *data, parameters=None, error=ValueError, **named):
    """No work is done, the file is named and stays as it is."""
    written = path.read_bytes()
    model = make_model(**parameters or {}, checkpoint_path=path)
    with rounds_of_fits() as numbers, pytest.raises(error, match=message) as raised:
        model.fit(*data or (X, Y), **named or VALIDATION)
    assert numbers == []
    assert str(path) in str(raised.value)
    assert "Delete the file" in str(raised.value)
    assert path.read_bytes() == written


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"learning_rate": 0.3}, r"learning_rate was 0\.1 and is 0\.3"),
        ({"num_leaves": 6, "reg_lambda": 1.0}, "num_leaves was 5 and is 6; reg_lambda was 'auto'"),
        ({"n_estimators": 5}, "n_estimators was 6 and is 5"),
        ({"random_state": None}, "random_state was 3 and is None"),
        ({"weighting": FixedWeighting(2.0)}, "weighting was 'auto' and is .*main_weight': 2.0"),
        ({"monotone_constraints": np.ones(4)}, "monotone_constraints was None and is .*checksum"),
    ],
)
def test_other_parameters_are_named(path, parameters, message):
    assert_refused(path, message, parameters=parameters)


@pytest.mark.parametrize(
    ("data", "named", "message"),
    [
        ((X + 1, Y), VALIDATION, "different are the features of the training rows"),
        ((np.float32(X), Y), VALIDATION, "the features of the training rows"),
        ((X, np.nan_to_num(Y)), VALIDATION, "different are the labels of the training rows"),
        ((X, pd.DataFrame(Y, columns=list("abc"))), VALIDATION, "different are the tasks and cl"),
        ((X, Y), {"sample_weight": 2 * np.ones(200), **VALIDATION}, "weights of the training"),
        ((X, Y), {"X_val": X_VAL + 1, "y_val": Y_VAL}, "features of the validation rows"),
        ((X, Y), {"X_val": X_VAL, "y_val": 0 * Y_VAL}, "labels of the validation rows"),
    ],
)
def test_other_data_are_named(path, data, named, message):
    assert_refused(path, message, *data, **named)


@pytest.mark.parametrize("layout", [np.asfortranarray, sparse.csr_matrix, pd.DataFrame])
def test_the_same_data_are_the_same(layout, tmp_path):
    path = tmp_path / "training"
    parts = np.nan_to_num(X)
    interrupt(make_model(checkpoint_path=path), 2, layout(parts), Y)
    assert go_on(make_model(checkpoint_path=path), layout(parts), Y) == [2, 3, 4, 5]


def test_another_teacher_is_another_fit(tmp_path):
    known = ~np.isnan(X).any(axis=1) & ~np.isnan(Y[:, 0])
    rows, labels = X[known], Y[known]
    teachers = [LogisticRegression().fit(rows, target) for target in (labels[:, 0], rows[:, 0] > 1)]
    models = [
        make_model(
            checkpoint_path=tmp_path / "training",
            distillation=TeacherDistillation({"task_0": teacher}),
        )
        for teacher in teachers
    ]
    whole = clone(models[0]).set_params(checkpoint_path=None).fit(rows, labels)
    interrupt(models[0], 3, rows, labels)
    with pytest.raises(ValueError, match="different are the predictions of the teacher"):
        models[1].fit(rows, labels)
    assert_same_model(models[0].fit(rows, labels), whole)


def test_a_search_says_that_each_fit_needs_a_file(tmp_path):
    search = GridSearchCV(
        make_model(checkpoint_path=tmp_path / "training"),
        {"learning_rate": [0.1]},
        cv=2,
        error_score="raise",
    )
    rows = ~np.isnan(Y[:, 0])
    with pytest.raises(ValueError, match=r"cross-validation.*needs checkpoint_path=None"):
        search.fit(X[rows], Y[rows, 0])
    search.set_params(estimator__checkpoint_path=None).fit(X[rows], Y[rows, 0])


# Other files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [0, 5, PREFIX_BYTES, 500, -1])
def test_a_truncated_checkpoint_is_refused(path, kept):
    path.write_bytes(path.read_bytes()[:kept])
    assert_refused(path, "truncated|an empty file")


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 7))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_bit_is_found(path, where, bit):
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 1 << bit
    damaged = path.with_name("damaged")
    damaged.write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot go on from the checkpoint .*damaged.*Delete"):
        open_checkpoint(make_model(checkpoint_path=damaged), 0)


def rewrite(path, **changes):
    """Change the header, with checksums that fit."""
    header, arrays = read_file(path)
    own = {key: value for key, value in header.items() if key not in ("arrays", "data")}
    write_file(path, own | changes, arrays)


def test_a_newer_checkpoint_is_refused(path):
    rewrite(path, checkpoint_format=Checkpoint.format + 1, written_by="mtgbm 99.0")
    assert_refused(path, r"written by mtgbm 99\.0 in checkpoint format 2; .*Upgrade mtgbm")


def test_a_newer_container_is_refused(path):
    text = json.dumps({"format": FORMAT + 1, "written_by": "mtgbm 99.0"}).encode()
    text += b" " * (-(PREFIX_BYTES + len(text)) % 64)
    path.write_bytes(MAGIC + len(text).to_bytes(8, "little") + digest(text) + text)
    assert_refused(path, r"mtgbm 99\.0 in format 2; .*Upgrade mtgbm")


def test_a_checkpoint_with_unknown_parameters_is_refused(path):
    rewrite(path, parameters=read_file(path)[0]["parameters"] | {"telepathy": True})
    assert_refused(path, r"parameters \['telepathy'\], which this mtgbm does not have")


def test_parameters_that_are_younger_than_a_checkpoint_had_their_defaults(path):
    old = read_file(path)[0]["parameters"]
    del old["subsample"], old["learning_rate"]
    rewrite(path, parameters=old)
    assert go_on(make_model(checkpoint_path=path), X, Y, **VALIDATION) == [2, 3, 4, 5]


@pytest.mark.parametrize("missing", ["state", "parameters", "fingerprint", "start", "model"])
def test_a_header_with_a_gap_is_refused(path, missing):
    header, arrays = read_file(path)
    own = {k: v for k, v in header.items() if k not in ("arrays", "data", missing)}
    write_file(path, own, arrays)
    assert_refused(path, f"'{missing}'.*corrupt")


def test_other_files_are_refused(path):
    model = make_model().fit(X, Y)
    model.save_model(path)
    assert_refused(path, "expected a checkpoint of a model's training, found a 'MultiTaskLGBM")
    path.write_bytes(pickle.dumps(model))
    assert_refused(path, "a pickle")


def test_a_checkpoint_is_no_model(path):
    with pytest.raises(ValueError, match=r"expected a MultiTaskLGBMClassifier.*'TrainingState'"):
        load_model(path)


@pytest.mark.parametrize("name", ["missing/training", "file/training", "/proc/self/training"])
def test_a_path_that_cannot_be_written_is_refused_before_any_work(name, tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / name
    with rounds_of_fits() as numbers, pytest.raises(ValueError, match="cannot be written") as error:
        make_model(checkpoint_path=path).fit("not even looked at", None, y=Y)
    assert os.path.realpath(path) in str(error.value)
    assert "a folder that exists" in str(error.value)
    assert numbers == []


def test_other_paths_are_refused(tmp_path):
    with pytest.raises(ValueError, match="checkpoint_path must name a file, got the folder"):
        make_model(checkpoint_path=tmp_path).fit(X, Y)
    with pytest.raises(TypeError, match="checkpoint_path must be a path or None, got 3"):
        make_model(checkpoint_path=3).fit(X, Y)
    with pytest.raises(ValueError, match="checkpoint_interval must be at least 1, got 0"):
        make_model(checkpoint_path=tmp_path / "a", checkpoint_interval=0).fit(X, Y)
    with pytest.raises(TypeError, match=r"monotone_constraints.* a checkpoint cannot compare"):
        make_model(checkpoint_path=tmp_path / "a", monotone_constraints={"a": object()}).fit(X, Y)


def test_a_model_with_a_path_can_be_saved(tmp_path):
    model = make_model(checkpoint_path=tmp_path / "training").fit(X, Y)
    model.save_model(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert loaded.checkpoint_path == str(tmp_path / "training")
    assert go_on(loaded, X, Y) == []


# The state itself -------------------------------------------------------------------------------


def test_the_state_says_how_far_training_is(tmp_path):
    model = make_model(
        checkpoint_path=tmp_path / "a", early_stopping_rounds=2, learning_rate=1.0, n_estimators=50
    ).fit(X, Y, **VALIDATION)
    state = open_checkpoint(model, 0).resumed
    assert (state.iteration, state.ended) == (len(model.weight_evolution_), True)
    assert state.kept_rounds.tolist() == [model.best_iteration_] * 3
    stopping = state.parts["EarlyStopping"]
    assert stopping["rounds_without_improvement"][0] == 2
    curves = np.array(list(model.evals_result_["validation"].values()))
    assert stopping["best_rounds"][1:] == (curves.argmin(axis=1) + 1).tolist()
    assert stopping["best_scores"][1:] == (-curves.min(axis=1)).tolist()
    assert len(state.kept_forest().trees) == model.best_iteration_ < len(state.forest.trees)


def test_a_state_survives_json():
    header = {}

    def note(path, *content):
        header["a"] = content

    with mock.patch("mtgbm.checkpoint_file.write_file", note):
        make_model(checkpoint_path="training", weighting="focus").fit(X, Y, **VALIDATION)
    content, arrays = header["a"]
    told = json.loads(json.dumps(content["state"]))
    state = TrainingState.from_dict(told, arrays)
    assert state.to_dict() == told
    assert {key: a.tobytes() for key, a in state.arrays().items()} == {
        key: a.tobytes() for key, a in arrays.items()
    }


def test_the_history_of_a_model_is_written_as_json(tmp_path):
    model = make_model(early_stopping_rounds=2, learning_rate=1.0, weighting=WanderingWeighting())
    model.fit(X, pd.DataFrame(Y, columns=["late", "broken", "lost"]), X_val=X_VAL, y_val=Y_VAL)
    path = tmp_path / "training_state.json"
    write_training_state(model, path)
    told = json.loads(path.read_text())
    assert told["task_names"] == ["late", "broken", "lost"]
    assert told["weight_evolution"] == model.weight_evolution_.tolist()
    assert told["n_rounds"] == len(model.weight_evolution_)
    assert told["best_iteration_per_task"] == model.best_iteration_per_task_
    assert told["evals_result"] == model.evals_result_
    best = model.best_iteration_ - 1
    assert told["best_score_per_task"] == {
        name: model.evals_result_["validation"][f"{name}:logloss"][best]
        for name in told["task_names"]
    }


def test_a_history_without_scores_has_none(tmp_path):
    write_training_state(make_model().fit(X, Y), tmp_path / "state.json")
    told = json.loads((tmp_path / "state.json").read_text())
    assert told["best_score_per_task"] == dict.fromkeys(["task_0", "task_1", "task_2"])
    assert told["evals_result"] == {}


def test_killed_processes_go_on_to_the_same_model():
    script = ROOT / "scripts" / "kill_and_resume.py"
    done = subprocess.run(
        [sys.executable, script, "--trials", "3", "--rounds", "12"],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 of 3 models equal" in done.stdout
