"""The files for TensorBoard, read back."""

import importlib
from unittest import mock

import numpy as np
import pytest
from numpy.testing import assert_allclose
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mtbert.net import TrainingNet


def read_log(folder):
    """``{tag: {step: value}}``."""
    events = EventAccumulator(str(folder)).Reload()
    return {
        tag: {event.step: event.value for event in events.Scalars(tag)}
        for tag in events.Tags()["scalars"]
    }


@pytest.fixture
def fit(make_model, make_reviews, tmp_path):
    """Fit a model of three epochs of three steps that logs, and return it."""

    def fit(**parameters):
        X, y = make_reviews(48)
        chosen = {"batch_size": 16, "epochs": 3, "log_dir": tmp_path / "log"} | parameters
        return make_model(**chosen).fit(X, y, X_val=X, y_val=y)

    return fit


def test_losses_rates_norms_and_scores_are_there(fit, tmp_path):
    norms = []
    find_norm = TrainingNet._find_gradient_norm

    def note(net):
        norms.append(find_norm(net))
        return norms[-1]

    with mock.patch.object(TrainingNet, "_find_gradient_norm", note):
        model = fit(gradient_clip=0.01, architecture="multimodal_bert")
    log = read_log(tmp_path / "log")
    steps = list(range(1, 10))
    assert sorted(log) == [
        "epoch/train_loss",
        "epoch/valid_logloss",
        "learning_rate/0.015",
        "learning_rate/0.03",
        "step/gradient_norm",
        "step/train_loss",
    ]
    for tag in ("train_loss", "valid_logloss"):
        scores = [epoch[tag] for epoch in model.history_]
        assert_allclose([log[f"epoch/{tag}"][step] for step in (3, 6, 9)], scores, rtol=1e-6)
    course = np.concatenate([[1], 1 - np.arange(8) / 8])
    for rate in (0.015, 0.03):
        found = log[f"learning_rate/{rate}"]
        assert list(found) == steps
        assert_allclose(list(found.values()), rate * course, rtol=1e-6)
    assert list(log["step/gradient_norm"]) == steps
    assert_allclose(list(log["step/gradient_norm"].values()), norms, rtol=1e-6)
    assert min(norms) > 0.01  # those before clipping
    by_epoch = np.reshape(list(log["step/train_loss"].values()), (3, 3)).mean(axis=1)
    assert_allclose(by_epoch, list(log["epoch/train_loss"].values()), rtol=1e-5)


def test_a_fit_that_goes_on_hides_what_it_does_again(fit, tmp_path):
    train_step = TrainingNet.train_step

    def interrupt(net, group):
        if net.n_steps == 6:
            raise KeyboardInterrupt
        return train_step(net, group)

    checkpoint = {"checkpoint_path": tmp_path / "training", "checkpoint_interval": 4}
    with (
        mock.patch.object(TrainingNet, "train_step", interrupt),
        mock.patch("mtbert.checkpoint.Checkpoint.on_epoch_end"),
        pytest.raises(KeyboardInterrupt),
    ):
        fit(**checkpoint)
    model = fit(**checkpoint)
    assert len(model.history_) == 3
    events = EventAccumulator(str(tmp_path / "log"), purge_orphaned_data=True).Reload()
    assert [event.step for event in events.Scalars("step/train_loss")] == list(range(1, 10))


def test_a_finished_fit_writes_nothing(fit, tmp_path):
    fit(checkpoint_path=tmp_path / "training", log_dir=None)
    fit(checkpoint_path=tmp_path / "training")
    assert list((tmp_path / "log").iterdir()) == []


def test_a_missing_package_is_an_error_before_training(fit, monkeypatch):
    there = importlib.import_module

    def import_module(name, *arguments):
        if name == "tensorboard":
            raise ImportError(name)
        return there(name, *arguments)

    monkeypatch.setattr(importlib, "import_module", import_module)
    monkeypatch.setattr(TrainingNet, "train", mock.Mock(side_effect=AssertionError))
    with pytest.raises(ImportError, match=r"tensorboard: pip install 'mtgbm\[tensorboard\]'"):
        fit()


def test_a_folder_that_cannot_be_written(fit, tmp_path, monkeypatch):
    monkeypatch.setattr(TrainingNet, "train", mock.Mock(side_effect=AssertionError))
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "log", "/proc/self/log"):
        with pytest.raises(ValueError, match=r"log_dir=.* cannot be written"):
            fit(log_dir=folder)
    with pytest.raises(TypeError, match="log_dir must be a path or None, got 3"):
        fit(log_dir=3)
