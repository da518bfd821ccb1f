"""The training loop: losses, groups of batches, clipping, the course of the learning rate."""

import io

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from skorch.callbacks import Callback, LRScheduler
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from mtbert.batching import Rows
from mtbert.callbacks import EarlyStopping, GradientClipping, LearningRateCourse, Progress
from mtbert.net import EpochBatches, MaskedLoss, TrainingNet, check_precision, compute, find_device
from mtbert.token_store import TokenStore
from mtbert.validation import ValidationMetric


class Linear(nn.Module):
    """Scores from the numbers alone, so that results can be worked out by hand."""

    def __init__(self, n_numeric=3, n_outputs=2):
        super().__init__()
        self.layer = nn.Linear(n_numeric, n_outputs)

    def forward(self, numeric, **batch):
        return self.layer(numeric)


def make_rows(n=24, seed=0, missing=0.3):
    rng = np.random.default_rng(seed)
    labels = np.where(rng.random((n, 2)) < missing, -1, rng.integers(0, 2, (n, 2)))
    labels[:, 0] = rng.integers(0, 2, n)
    weights = np.where(labels >= 0, rng.uniform(0.5, 2, (n, 2)), 0).astype(np.float32)
    text = {"text_0": TokenStore.of_rows([[np.array([2, 3])]] * n)}
    numeric = rng.normal(size=(n, 3)).astype(np.float32)
    return Rows(text, numeric, np.zeros((n, 0), np.int64), labels.astype(np.int16), weights)


def make_net(rows, *, batch_size=24, accumulate=1, epochs=1, rate=0.1, callbacks=(), module=None):
    torch.manual_seed(0)
    module = Linear() if module is None else module
    return TrainingNet(
        module,
        MaskedLoss,
        criterion__is_multiclass=False,
        parameter_groups=[{"params": list(module.parameters()), "lr": rate}],
        batches=EpochBatches(rows, batch_size, accumulate, seed=0),
        metric=ValidationMetric("logloss", False),
        precision="fp32",
        max_epochs=epochs,
        callbacks=list(callbacks),
        verbose=0,
    )


class Recorder(Callback):
    """Keeps the gradients that the optimizer sees, and its learning rates."""

    def on_train_begin(self, net, **kwargs):
        self.gradients, self.rates = [], []

    def on_grad_computed(self, net, named_parameters, **kwargs):
        self.gradients.append([p.grad.clone() for _, p in named_parameters])
        self.rates.append(net.optimizer_.param_groups[0]["lr"])


def test_binary_loss_is_that_of_numpy_on_labelled_cells():
    rows = make_rows()
    z = np.random.default_rng(1).normal(size=rows.labels.shape)
    y, w = rows.labels, rows.weights
    expected = (w * (np.log1p(np.exp(z)) - np.maximum(y, 0) * z)).sum()
    loss = MaskedLoss(False)(torch.tensor(z), torch.tensor(y.astype(int)), torch.tensor(w))
    assert_allclose(loss.item(), expected, rtol=1e-6)


def test_multiclass_loss_is_that_of_numpy():
    rng = np.random.default_rng(0)
    z, y, w = rng.normal(size=(9, 4)), rng.integers(0, 4, 9), rng.random(9).astype(np.float32)
    y[0], w[0] = -1, 0
    expected = (w * (np.log(np.exp(z).sum(axis=1)) - z[np.arange(9), y])).sum()
    loss = MaskedLoss(True)(torch.tensor(z), torch.tensor(y[:, None]), torch.tensor(w[:, None]))
    assert_allclose(loss.item(), expected, rtol=1e-6)


@pytest.mark.parametrize(("batch_size", "accumulate"), [(12, 2), (8, 3), (5, 5), (1, 24)])
def test_a_step_of_k_batches_is_that_of_one_large_batch(batch_size, accumulate):
    """Labels are missing and weights differ, so a mean of the batches' means would differ."""
    one, many = Recorder(), Recorder()
    large = make_net(make_rows(), callbacks=[one])
    large.train(None)
    small = make_net(make_rows(), batch_size=batch_size, accumulate=accumulate, callbacks=[many])
    small.train(None)
    assert len(many.gradients) == len(one.gradients) == 1
    for found, expected in zip(many.gradients[0], one.gradients[0], strict=True):
        assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    assert_allclose(small.history[-1, "train_loss"], large.history[-1, "train_loss"], rtol=1e-5)


def test_the_gradient_is_that_of_the_weighted_mean_by_hand():
    recorder, rows = Recorder(), make_rows()
    net = make_net(rows, callbacks=[recorder])
    weight, bias = (p.detach().numpy().copy() for p in net.module.parameters())
    net.train(None)
    p = 1 / (1 + np.exp(-(rows.numeric @ weight.T + bias)))
    errors = rows.weights * (p - np.maximum(rows.labels, 0)) / (rows.weights > 0).sum()
    assert_allclose(recorder.gradients[0][0], errors.T @ rows.numeric, rtol=1e-4, atol=1e-6)
    assert_allclose(recorder.gradients[0][1], errors.sum(axis=0), rtol=1e-4, atol=1e-6)


def test_clipping_bounds_the_norm_of_the_whole_step():
    free, clipped = Recorder(), Recorder()
    make_net(make_rows(), accumulate=3, batch_size=8, callbacks=[free]).train(None)
    clipping = ("clipping", GradientClipping(0.01))
    make_net(
        make_rows(), accumulate=3, batch_size=8, callbacks=[clipping, ("seen", clipped)]
    ).train(None)
    norm = torch.cat([g.flatten() for g in free.gradients[0]]).norm()
    assert norm > 0.02
    for found, expected in zip(clipped.gradients[0], free.gradients[0], strict=True):
        assert_allclose(found, expected * 0.01 / norm, rtol=1e-3)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("linear", [0.5, 1, 1, 0.75, 0.5, 0.25]),
        ("cosine", [0.5, 1, 1, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2]),
    ],
)
def test_the_learning_rate_rises_and_falls_step_by_step(schedule, expected):
    """Six steps in two epochs, a third of them to warm up."""
    recorder = Recorder()
    course = LearningRateCourse(6, 1 / 3, schedule)
    scheduler = LRScheduler(LambdaLR, lr_lambda=course, step_every="batch")
    net = make_net(make_rows(), batch_size=8, epochs=2, callbacks=[scheduler, recorder])
    net.train(None)
    assert_allclose(recorder.rates, np.array(expected) * 0.1, rtol=1e-9)


def test_no_warmup_starts_at_the_full_rate():
    assert [LearningRateCourse(2, 0, "linear")(step) for step in range(2)] == [1, 0.5]


class Worsening(Callback):
    """Gives each epoch a score, and weights by which it can be told apart."""

    def __init__(self, scores):
        self.scores = scores

    def on_epoch_end(self, net, **kwargs):
        epoch = len(net.history)
        net.history.record("score", self.scores[epoch - 1])
        nn.init.constant_(net.module_.layer.bias, float(epoch))


@pytest.mark.parametrize(
    ("scores", "sign", "patience", "n_epochs", "best"),
    [
        ([3, 1, 2, 2, 0, 0], -1, 2, 4, 2),
        ([3, 1, 2, 2, 0, 0], -1, 3, 6, 5),
        ([1, 2, 3, 4, 5, 6], 1, 2, 6, 6),
        ([5, 5, 5, 5, 5, 5], 1, 2, 3, 1),
    ],
)
def test_early_stopping_returns_to_the_best_epoch(scores, sign, patience, n_epochs, best):
    stopping = EarlyStopping(patience, "score", sign)
    net = make_net(make_rows(), epochs=6, callbacks=[Worsening(scores), stopping])
    net.train(None)
    assert len(net.history) == n_epochs
    assert stopping.best_epoch_ == best
    assert net.module_.layer.bias.tolist() == [best, best]


class Interrupting(Callback):
    def on_batch_begin(self, net, **kwargs):
        raise KeyboardInterrupt


def test_ctrl_c_is_not_swallowed():
    with pytest.raises(KeyboardInterrupt):
        make_net(make_rows(), callbacks=[Interrupting()]).train(None)


def test_a_loss_that_is_not_finite_stops_with_advice():
    module = Linear()
    nn.init.constant_(module.layer.weight, torch.inf)
    with pytest.raises(FloatingPointError, match=r"loss became .* in epoch 1, at learning rates 0"):
        make_net(make_rows(), module=module).train(None)


def test_epochs_differ_and_repeat_with_the_seed():
    rows = make_rows()
    first, second = (EpochBatches(rows, 5, 2, seed=3) for _ in range(2))
    epochs = [[[b.numeric for b in group] for group in batches] for batches in (first, first)]
    assert [len(group) for group in epochs[0]] == [2, 2, 1]
    assert len(first) == 3
    assert not np.array_equal(epochs[0][0][0], epochs[1][0][0])
    again = [[b.numeric for b in group] for group in second]
    for group, expected in zip(again, epochs[0], strict=True):
        assert all(map(np.array_equal, group, expected))


def test_predictions_are_in_the_order_of_the_rows():
    rows = make_rows()
    rows.text["text_0"] = TokenStore.of_rows([[np.arange(1 + i % 5)] for i in range(len(rows))])
    module = Linear()
    found = compute(module, rows, 4, torch.device("cpu"))
    expected = module(torch.from_numpy(rows.numeric)).detach().numpy()
    assert_array_equal(found.argsort(axis=0), expected.argsort(axis=0))
    assert_allclose(found, expected, rtol=1e-6)


def test_progress_counts_steps_and_shows_scores():
    shown = io.StringIO()
    net = make_net(
        make_rows(), batch_size=8, epochs=2, callbacks=[Progress(6, ["train_loss"], shown)]
    )
    net.train(None)
    assert "6/6" in shown.getvalue()
    assert "epoch 2, train_loss" in shown.getvalue()


@pytest.mark.parametrize("name", ["cudda", "cuda:99", 3.5])
def test_a_device_that_is_not_there(name):
    with pytest.raises(ValueError, match=r"(?s)cannot be used here.*Use 'auto', 'cpu' or 'cuda'"):
        find_device(name)


def test_precision_of_a_cpu():
    check_precision("bf16", torch.device("cpu"))
    with pytest.raises(ValueError, match="precision='fp16' needs a GPU"):
        check_precision("fp16", torch.device("cpu"))
