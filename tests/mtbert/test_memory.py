"""When memory runs out, half the rows go through the network at once; steps stay the same."""

import re
import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn

from mtbert.batching import Rows
from mtbert.memory import RowsAtOnce, is_out_of_memory
from mtbert.modules import FusionNet
from mtbert.net import EpochBatches, MaskedLoss, TrainingNet, compute
from mtbert.validation import ValidationMetric

pytestmark = pytest.mark.filterwarnings("ignore:memory ran out")  # those beside the awaited one

CPU_ERROR = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you "
    "tried to allocate 4000000000000 bytes. Error code 12 (Cannot allocate memory)"
)
ERRORS = {
    "gpu": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "cpu": RuntimeError(CPU_ERROR),
    "python": MemoryError(),
}


class Limited(nn.Module):
    """Scores from the numbers alone, and has memory for so many rows."""

    def __init__(self, most, error=ERRORS["cpu"]):
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.most, self.error, self.seen = most, error, []

    def forward(self, numeric, **batch):
        self.seen.append(len(numeric))
        if len(numeric) > self.most:
            raise self.error
        return self.layer(numeric)


def make_rows(n=24):
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 2, (n, 2)).astype(np.int16)
    weights = np.where(labels >= 0, rng.uniform(0.5, 2, (n, 2)), 0).astype(np.float32)
    numeric = rng.normal(size=(n, 3)).astype(np.float32)
    return Rows({}, numeric, np.zeros((n, 0), np.int64), labels, weights)


def make_net(most, *, batch_size=16, accumulate=1, error=ERRORS["cpu"], epochs=2):
    torch.manual_seed(0)
    module = Limited(most, error)
    return TrainingNet(
        module,
        MaskedLoss,
        criterion__is_multiclass=False,
        parameter_groups=[{"params": list(module.parameters()), "lr": 0.1}],
        batches=EpochBatches(make_rows(), batch_size, accumulate, seed=0),
        metric=ValidationMetric("logloss", False),
        precision="fp32",
        max_epochs=epochs,
        verbose=0,
    )


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize(("most", "accumulate"), [(9, 1), (3, 1), (5, 2), (1, 3)])
def test_steps_are_the_same_with_smaller_batches(kind, most, accumulate):
    whole = make_net(99, accumulate=accumulate)
    whole.train(None)
    net = make_net(most, accumulate=accumulate, error=ERRORS[kind])
    with pytest.warns(UserWarning, match="memory ran out with 16 rows at once"):
        net.train(None)
    assert net.n_steps == whole.n_steps
    for found, expected in zip(net.module_.parameters(), whole.module_.parameters(), strict=True):
        assert_allclose(found.detach(), expected.detach(), rtol=1e-4, atol=1e-6)
    assert_allclose(net.history[:, "train_loss"], whole.history[:, "train_loss"], rtol=1e-5)


def test_each_halving_warns_once_with_its_numbers():
    net = make_net(5, accumulate=3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        net.train(None)
    found = [re.findall(r"(\w+)=(\d+)", str(warning.message)) for warning in caught]
    assert found == [
        [("accumulate", "6"), ("batch_size", "8"), ("accumulate", "6")],
        [("accumulate", "12"), ("batch_size", "4"), ("accumulate", "12")],
    ]
    tried_too_many = [n for n in net.module_.seen if n > 5]
    assert tried_too_many == [16, 8]  # later steps begin with what went well
    assert max(net.module_.seen[3:]) == 4


def test_a_small_batch_is_halved_by_its_own_rows():
    memory = RowsAtOnce(100)

    def work(pieces):
        if max(map(len, pieces)) > 3:
            raise MemoryError
        return [len(piece) for piece in pieces]

    with pytest.warns(
        UserWarning, match=r"with 7 rows at once; going on with 4\. Set batch_size=4"
    ):
        assert memory.run(work, [make_rows(7)]) == [2, 2, 2, 1]


def test_pieces_are_the_rows_in_order():
    memory, rows = RowsAtOnce(5), make_rows(12)
    pieces = memory.run(list, [rows])
    assert [len(piece) for piece in pieces] == [5, 5, 2]
    assert np.array_equal(np.concatenate([piece.numeric for piece in pieces]), rows.numeric)


@pytest.mark.parametrize("kind", ERRORS)
def test_a_single_row_that_does_not_fit_is_an_error(kind):
    net = make_net(0, batch_size=4, error=ERRORS[kind])
    with (
        pytest.warns(UserWarning, match="going on with 1"),
        pytest.raises(MemoryError, match=r"for a single row: lower max_total_chunks") as raised,
    ):
        net.train(None)
    assert raised.value.__cause__ is ERRORS[kind]


def test_other_errors_are_not_caught():
    net = make_net(3, error=RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        net.train(None)
    assert net.module_.seen == [16]


def test_one_of_several_processes_does_not_halve_alone():
    net = make_net(3)
    net.memory.may_halve = False
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        net.train(None)


@pytest.mark.parametrize("kind", ERRORS)
def test_prediction_halves_too(kind):
    torch.manual_seed(0)
    rows, module = make_rows(40), Limited(6, ERRORS[kind])
    expected = module.layer(torch.from_numpy(rows.numeric)).detach()
    with pytest.warns(UserWarning, match="going on with 4"):
        found = compute(module, rows, 16, torch.device("cpu"))
    assert_allclose(found, expected, rtol=1e-5)
    assert max(module.seen[3:]) <= 4


def test_what_torch_itself_raises_is_known():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(raised.value)


def test_an_estimator_goes_on_with_fewer_rows(make_model, make_reviews, monkeypatch):
    """The scores are those of a fit that began so; nothing is random within its network."""
    forward = FusionNet.forward

    def limited(network, **batch):
        if len(batch["numeric"]) > 10:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(network, **batch)

    X, y = make_reviews(64)
    parts = ("head", "fusion", "tabular", "text")
    options = {"text__embedding_dim": 8, "text__n_filters": 4, "text__kernel_widths": (1, 2)}
    options |= {f"{part}__dropout": 0.0 for part in parts}
    whole = make_model(batch_size=16, epochs=2, network_options=options).fit(X, y)
    monkeypatch.setattr(FusionNet, "forward", limited)
    with pytest.warns(UserWarning, match=r"Set batch_size=8, accumulate=2"):
        model = make_model(batch_size=16, epochs=2, network_options=options).fit(X, y)
    losses = [[epoch["train_loss"] for epoch in each.history_] for each in (model, whole)]
    assert_allclose(*losses, rtol=1e-4)
    with pytest.warns(UserWarning, match="going on with 8"):
        assert_allclose(model.predict_proba(X).sum(axis=1), 1)
