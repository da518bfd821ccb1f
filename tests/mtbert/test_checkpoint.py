"""An interrupted fit goes on to the same bits; a checkpoint of another fit is refused."""

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import f1_score, make_scorer
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import FunctionTransformer

from mtbert import MultimodalTextTabularClassifier
from mtbert.checkpoint import Checkpoint
from mtbert.net import TrainingNet
from mtbert.training_state import TrainingState
from mtgbm.io.container import read_file
from mtgbm.io.container_writer import write_file

ROOT = Path(__file__).parents[2]
N_STEPS = 9  # of the model below: three epochs of three steps
CNN = "multimodal_cnn"
SMALL = {"text__embedding_dim": 8, "text__n_filters": 4, "text__kernel_widths": (1, 2)}


@pytest.fixture
def make(make_model):
    """A model with dropout that writes a checkpoint after every step."""

    def make(**parameters):
        small = {
            "batch_size": 16,
            "epochs": 3,
            "network_options": SMALL if parameters.get("architecture", CNN) == CNN else None,
            "checkpoint_interval": 1,
        }
        return make_model(**small | parameters)

    return make


@pytest.fixture
def data(make_reviews):
    return make_reviews(48)


@contextmanager
def steps_of_fits(until=None):
    """The numbers of the steps that are done; one of them, from 1, is interrupted."""
    numbers = []
    train_step = TrainingNet.train_step

    def note(net, group):
        if net.n_steps + 1 == until:
            raise KeyboardInterrupt
        numbers.append(net.n_steps + 1)
        return train_step(net, group)

    with mock.patch.object(TrainingNet, "train_step", note):
        yield numbers


def interrupt(model, until, *data, **named):
    """Start a fit that gets as far as before a step."""
    with steps_of_fits(until), pytest.raises(KeyboardInterrupt):
        model.fit(*data, **named)


def go_on(model, *data, **named):
    """Fit, and return the numbers of the steps it took."""
    with steps_of_fits() as numbers:
        model.fit(*data, **named)
    return numbers


def assert_same_model(model, expected, X):
    found, wanted = (each.network_.state_dict() for each in (model, expected))
    assert {k: t.numpy().tobytes() for k, t in found.items()} == {
        k: t.numpy().tobytes() for k, t in wanted.items()
    }
    assert repr(model.history_) == repr(expected.history_)
    assert model.best_epoch_ == expected.best_epoch_
    assert model.n_epochs_ == expected.n_epochs_
    assert model.predict_proba(X).tobytes() == expected.predict_proba(X).tobytes()


OPTIONS = {
    "plain": {},
    "bert_bf16": {"architecture": "multimodal_bert", "precision": "bf16"},
    "accumulate": {"batch_size": 6, "accumulate": 3, "gradient_clip": 0.05, "schedule": "cosine"},
    "early": {"early_stopping_patience": 1, "learning_rate": 0.3, "epochs": 8, "batch_size": 20},
    "auc": {"early_stopping_patience": 2, "eval_metric": "auc", "batch_size": 20},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_interrupted_fit_goes_on_to_the_same_model(name, make, data, tmp_path):
    """Within an epoch, between two epochs and before the last step."""
    whole = make(**OPTIONS[name])
    steps = go_on(whole, *data)
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) > 3
    per_epoch = len(steps) // len(whole.history_)
    for until in {2, per_epoch + 1, len(steps)}:
        model = make(**OPTIONS[name], checkpoint_path=tmp_path / f"before_{until}")
        interrupt(clone(model), until, *data)
        assert go_on(model, *data) == steps[until - 1 :]
        assert_same_model(model, whole, data[0])


ENCODERS = {
    "frozen": {"text__frozen_layers": "all"},
    "adapters": {"text__lora_rank": 2, "text__lora_dropout": 0.1},
}


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_that_are_not_trained_whole(name, make, data, tmp_path):
    chosen = {"architecture": "multimodal_bert", "network_options": ENCODERS[name]}
    whole = make(**chosen).fit(*data)
    model = make(**chosen, checkpoint_path=tmp_path / "training")
    interrupt(clone(model), 5, *data)
    assert go_on(model, *data) == [5, 6, 7, 8, 9]
    assert_same_model(model, whole, data[0])


def test_scaled_losses_of_16_bits_go_on_with_their_scale(make, data, tmp_path, monkeypatch):
    """Allowed on a GPU only, but the scaler is the same."""
    monkeypatch.setattr("mtbert.net.check_precision", lambda precision, device: None)
    scales = []
    train_step = TrainingNet.train_step

    def shrink(net, group):
        if net.n_steps == 2:
            net.scaler_.update(64.0)
        scales.append(net.scaler_.get_scale())
        return train_step(net, group)

    monkeypatch.setattr(TrainingNet, "train_step", shrink)
    whole = make(precision="fp16").fit(*data)
    assert scales == [65536.0] * 2 + [64.0] * 7
    model = make(precision="fp16", checkpoint_path=tmp_path / "training")
    interrupt(clone(model), 5, *data)
    assert_same_model(model.fit(*data), whole, data[0])
    assert scales[-5:] == [64.0] * 5


def test_the_progress_bar_begins_where_the_training_does(make, data, tmp_path, capfd):
    model = make(checkpoint_path=tmp_path / "training", verbose=1)
    interrupt(clone(model), 5, *data)
    capfd.readouterr()
    model.fit(*data)
    shown = capfd.readouterr().err
    assert "9/9" in shown
    assert "1/9" not in shown


def test_early_stopping_was_tried(make, data):
    """Or the test above would not say that the best weights survive."""
    model = make(**OPTIONS["early"]).fit(*data)
    assert model.best_epoch_ < len(model.history_) < 8


def test_a_fit_that_ended_before_its_last_write_validates_again(make, data, tmp_path):
    """It is interrupted after the last step of an epoch, before the epoch's end."""
    held_out = dict(zip(("X_val", "y_val"), data, strict=True))
    whole = make().fit(*data, **held_out)
    model = make(checkpoint_path=tmp_path / "training")
    with (
        mock.patch.object(TrainingNet, "_validate", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        clone(model).fit(*data, **held_out)
    assert go_on(model, *data, **held_out) == list(range(4, N_STEPS + 1))
    assert_same_model(model, whole, data[0])


def test_what_was_done_since_the_last_write_is_done_again(make, data, tmp_path):
    whole = make().fit(*data)
    model = make(checkpoint_interval=2, checkpoint_path=str(tmp_path / "training"))
    interrupt(model, 6, *data)
    assert go_on(model, *data) == [5, 6, 7, 8, 9]
    assert_same_model(model, whole, data[0])


def test_several_labels_with_missing_ones(make, data, tmp_path):
    X, y = data
    Y = pd.DataFrame({"dull": y.astype(float), "north": (X["shop"] == "north").astype(float)})
    Y.iloc[::3, 1] = np.nan
    whole = make().fit(X, Y)
    model = make(checkpoint_path=tmp_path / "training")
    interrupt(model, 5, X, Y)
    assert_same_model(model.fit(X, Y), whole, X)


def test_a_warm_start_goes_on_too_and_replaces_the_file_of_the_fit_before(make, data, tmp_path):
    whole = make(warm_start=True).fit(*data).fit(*data)
    path = tmp_path / "training"
    model = make(warm_start=True, checkpoint_path=path).fit(*data)
    interrupt(model, 5, *data)
    other = make(warm_start=True).fit(*data).set_params(checkpoint_path=path)
    assert go_on(other, *data) == [5, 6, 7, 8, 9]
    assert_same_model(other, whole, data[0])
    with pytest.raises(ValueError, match=r"its fit began from a network .*from a new network"):
        make(checkpoint_path=path).fit(*data)


def test_partial_fit_writes_in_its_first_call_only(make, data, tmp_path):
    path = tmp_path / "training"
    model = make(checkpoint_path=path).partial_fit(*data)
    written = path.read_bytes()
    with steps_of_fits() as numbers:
        model.partial_fit(*data)
    assert len(numbers) == N_STEPS
    assert path.read_bytes() == written


def test_the_seed_of_the_first_start_is_kept(make, data, tmp_path):
    """Without random_state each fit draws its own."""
    model = make(random_state=None, checkpoint_path=tmp_path / "training")
    interrupt(model, 5, *data)
    copy = tmp_path / "copy"
    copy.write_bytes((tmp_path / "training").read_bytes())
    again = clone(model).set_params(checkpoint_path=copy).fit(*data)
    assert_same_model(model.fit(*data), again, data[0])


def test_a_finished_fit_is_read_and_left_alone(make, data, tmp_path):
    model = make(**OPTIONS["early"], checkpoint_path=tmp_path / "training").fit(*data)
    written = (tmp_path / "training").read_bytes()
    again = clone(model)
    assert go_on(again, *data) == []
    assert_same_model(again, model, data[0])
    assert (tmp_path / "training").read_bytes() == written
    assert os.listdir(tmp_path) == ["training"]


def test_it_is_written_at_the_interval_and_at_the_end_of_epochs(make, data, tmp_path):
    steps = []

    def note(path, header, arrays):
        steps.append((header["state"]["n_steps"], header["state"]["is_finished"]))
        write_file(path, header, arrays)

    with mock.patch("mtgbm.checkpoint_file.write_file", note):
        make(checkpoint_interval=4, checkpoint_path=tmp_path / "a").fit(*data)
    ends = [(3, False), (4, False), (6, False), (8, False), (9, True)]
    assert steps == ends


@pytest.mark.parametrize("step", ["os.replace", "os.fsync"])
def test_an_interrupted_write_leaves_the_file_before(step, make, data, tmp_path):
    path = tmp_path / "training"
    interrupt(make(checkpoint_path=path), 4, *data)
    written = path.read_bytes()
    with mock.patch(step, side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        make(checkpoint_path=path).fit(*data)
    assert path.read_bytes() == written
    assert go_on(make(checkpoint_path=path), *data) == [4, 5, 6, 7, 8, 9]
    assert os.listdir(tmp_path) == ["training"]


def test_without_a_path_nothing_is_hashed_or_written(make, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with mock.patch("mtbert.fitting.data_fingerprint", side_effect=AssertionError):
        make().fit(*data)
    assert os.listdir(tmp_path) == []


# Numbers that are not finite --------------------------------------------------------------------


@contextmanager
def loss_is_nan_in_step(number):
    loss = TrainingNet._loss

    def note(net, batch):
        return loss(net, batch) * (np.nan if net.n_steps + 1 == number else 1)

    with mock.patch.object(TrainingNet, "_loss", note):
        yield


def last_good(path, n_steps):
    return (
        rf"lower learning_rate.* The last good checkpoint, of step {n_steps}, is {re.escape(path)}"
    )


def test_a_loss_of_nan_leaves_a_checkpoint_from_which_a_lower_rate_goes_on(make, data, tmp_path):
    path = str(tmp_path / "training")
    model = make(checkpoint_path=path)
    with loss_is_nan_in_step(6), pytest.raises(FloatingPointError, match=last_good(path, 5)):
        model.fit(*data)
    model.set_params(learning_rate=0.004, gradient_clip=0.5)
    rates = []
    train_step = TrainingNet.train_step

    def note(net, group):
        rates.append(net.optimizer_.param_groups[0]["lr"])
        return train_step(net, group)

    with (
        mock.patch.object(TrainingNet, "train_step", note),
        pytest.warns(UserWarning, match=r"of step 5 with .*learning_rate was 0\.03 and is 0\.004"),
    ):
        model.fit(*data)
    np.testing.assert_allclose(rates, 0.004 * np.array([0.5, 0.375, 0.25, 0.125]), rtol=1e-12)
    assert all(np.isfinite(epoch["train_loss"]) for epoch in model.history_)
    assert go_on(clone(model), *data) == []  # without a warning, as these now are its parameters


def test_a_gradient_of_nan_is_no_step(make, data, tmp_path):
    path = str(tmp_path / "training")
    norm = mock.Mock(side_effect=[1.0, 1.0, np.nan])
    message = "norm of the gradient became nan.*" + last_good(path, 2)
    with (
        mock.patch.object(TrainingNet, "_find_gradient_norm", norm),
        pytest.raises(FloatingPointError, match=message),
    ):
        make(checkpoint_path=path).fit(*data)


@pytest.mark.parametrize("what", ["weight", "moment"])
def test_bad_weights_are_not_written(what, make, data, tmp_path):
    """As if the optimizer had overflowed in its third step, unseen by loss and gradient."""
    path = str(tmp_path / "training")
    step = torch.optim.AdamW.step

    def overflow(optimizer, *arguments):
        step(optimizer, *arguments)
        parameter = optimizer.param_groups[0]["params"][0]
        state = optimizer.state[parameter]
        if state["step"] == 3:
            tensor = parameter if what == "weight" else state["exp_avg_sq"]
            with torch.no_grad():
                tensor.view(-1)[0] = torch.inf

    message = r"the weight .* became infinite or NaN in epoch 1.*" + last_good(path, 2)
    with (
        mock.patch.object(torch.optim.AdamW, "step", overflow),
        pytest.raises(FloatingPointError, match=message),
    ):
        make(checkpoint_path=path).fit(*data)
    assert go_on(make(checkpoint_path=path), *data) == list(range(3, N_STEPS + 1))


def test_without_a_checkpoint_none_is_named(make, data, tmp_path):
    for parameters in ({}, {"checkpoint_path": tmp_path / "training"}):
        with loss_is_nan_in_step(1), pytest.raises(FloatingPointError) as error:
            make(**parameters).fit(*data)
        assert "checkpoint" not in str(error.value)


# Other fits -------------------------------------------------------------------------------------


@pytest.fixture
def path(make, data, tmp_path):
    """A checkpoint of two steps."""
    path = tmp_path / "training"
    interrupt(make(checkpoint_path=path), 3, *data)
    return path


def assert_refused(model, path, message, *data, **named):
    """No work is done, the file is named and stays as it is."""
    written = path.read_bytes()
    model.set_params(checkpoint_path=path)
    with steps_of_fits() as numbers, pytest.raises(ValueError, match=message) as raised:
        model.fit(*data, **named)
    assert numbers == []
    assert str(path) in str(raised.value)
    assert "Delete the file" in str(raised.value)
    assert path.read_bytes() == written


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"architecture": "lstm"}, "architecture was 'multimodal_cnn' and is 'lstm'"),
        ({"epochs": 4, "weight_decay": 0.1}, r"epochs was 3 and is 4; weight_decay was 0\.01"),
        ({"learning_rate": 0.1, "batch_size": 8}, "batch_size was 16 and is 8; learning_rate was"),
        ({"random_state": None}, "random_state was 0 and is None"),
        ({"network_options": {"head__dropout": 0.5}}, "network_options was .* and is .*dropout"),
        ({"encoder": Path("a/b")}, "encoder was 'auto' and is 'a/b'"),
        ({"eval_metric": "f1"}, "eval_metric was 'logloss' and is 'f1'"),
        ({"eval_metric": make_scorer(f1_score)}, r"and is .make_scorer\(f1_score"),
    ],
)
def test_other_parameters_are_named(make, data, path, parameters, message):
    assert_refused(make(**parameters), path, message, *data)


def test_a_finished_fit_had_its_rates(make, data, path):
    make(checkpoint_path=path).fit(*data)
    message = r"is finished and had other parameters: learning_rate was 0\.03 and is 0\.1"
    assert_refused(make(learning_rate=0.1), path, message, *data)


def test_other_data_are_named(make, data, path):
    X, y = data
    others = X.assign(review=X["review"] + " soft")
    assert_refused(make(), path, "different are the .*text of the training rows", others, y)
    assert_refused(make(), path, "columns, scales and categ", X.assign(price=X["price"] * 2), y)
    assert_refused(make(), path, "labels of the training rows", X, np.roll(y, 1))
    assert_refused(make(), path, "the tasks and classes", X, np.array(["a", "b"])[y])
    assert_refused(make(), path, "weights of the training rows", X, y, sample_weight=1.0 + y)
    assert_refused(make(), path, "text of the validation rows", X, y, X_val=X, y_val=y)


def test_another_vocabulary_is_other_data(make, data, path):
    """Its token ids are the same."""
    X, y = data
    renamed = X.assign(review=X["review"].str.translate(str.maketrans("abc", "bca")))
    assert_refused(make(), path, "different are the .*tokenizers", renamed, y)


def test_another_network_of_the_same_name(make, data, path):
    """Its weights have other shapes, as those of an encoder that was exchanged on the disk."""
    header, arrays = read_file(path)
    name = next(name for name in arrays if name.startswith("weights/") and len(arrays[name]) > 64)
    arrays[name] = arrays[name][:64]
    header["state"]["tensors"][name] = ["float32", [16]]
    _rewrite(path, header, arrays)
    assert_refused(make(), path, r"another one: the weights .* have the shape \(16,\)", *data)


def test_a_search_says_that_each_fit_needs_a_file(make, data, tmp_path):
    model = make(checkpoint_path=tmp_path / "training", epochs=1)
    search = GridSearchCV(model, {"learning_rate": [0.1]}, cv=2, error_score="raise")
    with pytest.raises(ValueError, match=r"cross-validation.*needs checkpoint_path=None"):
        search.fit(*data)


def test_what_cannot_be_compared(make, data, tmp_path):
    upper = FunctionTransformer(str.upper)
    model = make(text_steps=[upper, "tokenizer"], checkpoint_path=tmp_path / "training")
    with pytest.raises(TypeError, match=r"text_steps__func.* a checkpoint cannot compare"):
        model.fit(*data)


def test_an_encoder_is_known_by_its_weights(data, tmp_path):
    from transformers import BertConfig, BertModel

    X, y = data
    config = BertConfig(
        vocab_size=300,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=40,
    )
    encoders = [BertModel(config), BertModel(config)]
    path = tmp_path / "training"

    def make(encoder):
        return MultimodalTextTabularClassifier(
            encoder=encoder, epochs=1, batch_size=16, random_state=0, checkpoint_path=path
        )

    make(encoders[0]).fit(X, y)
    assert go_on(make(encoders[0]), X, y) == []
    assert_refused(make(encoders[1]), path, "encoder was {'BertModel': .*and is {'BertModel'", X, y)


# Other files ------------------------------------------------------------------------------------


def _rewrite(path, header, arrays):
    """Write a header and arrays with checksums that fit."""
    write_file(path, {k: v for k, v in header.items() if k not in ("arrays", "data")}, arrays)


def test_a_damaged_checkpoint_is_refused(make, data, path):
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    assert_refused(make(), path, "truncated", *data)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert_refused(make(), path, "checksum", *data)
    path.write_bytes(b"\x80")
    assert_refused(make(), path, "a pickle", *data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"checkpoint_format": Checkpoint.format + 1}, "in checkpoint format 2; .*Upgrade mtgbm"),
        ({"model": "TrainingState"}, "expected a checkpoint of a network's training, found a 'Tr"),
        ({"state": {}}, "corrupt"),
        ({"parameters": {"telepathy": 1}}, r"had the parameters \['telepathy'\]"),
    ],
)
def test_other_files_are_refused(make, data, path, change, message):
    header, arrays = read_file(path)
    _rewrite(path, header | change, arrays)
    assert_refused(make(), path, message, *data)


@pytest.mark.parametrize("missing", ["seed", "n_steps", "history", "best", "tensors", "scaler"])
def test_a_state_with_a_gap_is_refused(make, data, path, missing):
    header, arrays = read_file(path)
    del header["state"][missing]
    _rewrite(path, header, arrays)
    assert_refused(make(), path, f"'{missing}'.*corrupt", *data)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (["float99", [16]], "expected a dtype of torch"),
        (["float32", [7, 7, 7]], "no float32 of shape"),
    ],
)
def test_tensors_that_cannot_be_are_refused(make, data, path, entry, message):
    header, arrays = read_file(path)
    header["state"]["tensors"]["random/0/cpu"] = entry
    _rewrite(path, header, arrays)
    assert_refused(make(), path, message, *data)


@pytest.mark.parametrize("name", ["missing/training", "file/training", "/proc/self/training"])
def test_a_path_that_cannot_be_written_is_refused_before_any_work(name, make, data, tmp_path):
    (tmp_path / "file").touch()
    model = make(checkpoint_path=tmp_path / name)
    with (
        mock.patch.object(TrainingNet, "train", side_effect=AssertionError),
        mock.patch("mtbert.fitting.validate_table", side_effect=AssertionError),
        pytest.raises(ValueError, match=r"cannot be written.*a folder that exists"),
    ):
        model.fit(*data)


def test_other_paths_are_refused(make, data, tmp_path):
    with pytest.raises(ValueError, match="checkpoint_path must name a file, got the folder"):
        make(checkpoint_path=tmp_path).fit(*data)
    with pytest.raises(TypeError, match="checkpoint_path must be a path or None, got 3"):
        make(checkpoint_path=3).fit(*data)
    with pytest.raises(ValueError, match="checkpoint_interval must be at least 1, got 0"):
        make(checkpoint_path=tmp_path / "a", checkpoint_interval=0).fit(*data)


def test_a_saved_model_carries_no_paths(make, data, tmp_path):
    model = make(checkpoint_path=tmp_path / "training", log_dir=tmp_path / "log", epochs=1)
    model.fit(*data).save(tmp_path / "model")
    assert str(tmp_path) not in (tmp_path / "model" / "model.json").read_text()
    loaded = MultimodalTextTabularClassifier.load(tmp_path / "model")
    assert loaded.checkpoint_path is loaded.log_dir is None


# The state itself -------------------------------------------------------------------------------


def test_a_state_survives_the_file(make, data, path):
    header, arrays = read_file(path)
    state = TrainingState.from_dict(header["state"], arrays)
    assert (state.n_steps, state.is_finished, state.history) == (2, False, [])
    assert state.to_dict() == header["state"]
    assert {k: a.tobytes() for k, a in state.arrays().items()} == {
        k: a.tobytes() for k, a in arrays.items()
    }


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.bool, torch.float16, torch.int8])
def test_tensors_of_any_type_survive(dtype):
    tensors = {"weights/a": torch.arange(6).reshape(2, 1, 3).to(dtype), "weights/b": torch.ones(())}
    state = TrainingState(0, 1, False, (0.5, 3), [{"valid": np.inf}], 4, {}, None, tensors)
    again = TrainingState.from_dict(state.to_dict(), state.arrays())
    for name, tensor in tensors.items():
        assert again.tensors[name].dtype == tensor.dtype
        assert torch.equal(again.tensors[name], tensor)
    assert again.history == [{"valid": np.inf}]


def test_killed_processes_go_on_to_the_same_network():
    script = ROOT / "scripts" / "kill_and_resume_text.py"
    done = subprocess.run(
        [sys.executable, script, "--trials", "2", "--rounds", "3"],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 models equal" in done.stdout
    assert int(re.search(r"2 trials, (\d+) kills", done.stdout)[1]) >= 2
