"""What can be seen of several processes in one."""

import numpy as np
import pytest
import torch
import torch.distributed as dist
from numpy.testing import assert_array_equal

from mtbert.batching import Rows
from mtbert.distributed import ProcessGroup, SingleProcess, check_launch, own_device
from mtbert.token_store import TokenStore

CPU = torch.device("cpu")


@pytest.fixture
def group():
    """A group of one, connected by the user."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture
def as_process(group):
    """The number-th of n processes, as far as it needs no other."""

    def make(rank, n_processes):
        processes = ProcessGroup(CPU)
        processes.rank, processes.n_processes = rank, n_processes
        return processes

    return make


@pytest.fixture
def rows():
    text = {"text_0": TokenStore.of_rows([[np.array([2, 3])]] * 11)}
    numeric = np.arange(11, dtype=np.float32)[:, None]
    labels = np.zeros((11, 1), np.int16)
    return Rows(text, numeric, np.zeros((11, 0), np.int64), labels, np.ones((11, 1), np.float32))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 11])
def test_shares_are_a_partition_of_the_batch(as_process, rows, n):
    batch = np.random.default_rng(0).permutation(11)[:10]
    processes = [as_process(rank, n) for rank in range(n)]
    shares = [p.share(batch) for p in processes]
    assert sorted(np.concatenate(shares)) == sorted(batch)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    taken = [p.take(rows, batch) for p in processes]
    assert all(len(own) >= 1 for own in taken)
    assert sum(own.weights.sum() for own in taken) == 10
    for own, share in zip(taken, shares, strict=True):
        assert_array_equal(own.numeric[: len(share), 0], share)


def test_each_process_has_a_dropout_of_its_own(as_process):
    seeds = [as_process(rank, 4).dropout_seed(7) for rank in range(4)]
    assert seeds[0] == SingleProcess().dropout_seed(7) == 7
    assert len(set(seeds)) == 4
    assert seeds == [as_process(rank, 4).dropout_seed(7) for rank in range(4)]


def test_sums_keep_their_type(as_process):
    processes = as_process(0, 1)
    assert processes.sum(3) == 3
    assert isinstance(processes.sum(3), int)
    assert isinstance(processes.sum(0.5), float)
    values = np.arange(4, dtype=np.float32)
    assert processes.sum(values).dtype == np.float32
    assert_array_equal(processes.sum(values), values)


@pytest.mark.parametrize("distributed", ["ddp", "fsdp"])
def test_a_group_of_the_user_is_used_and_left(group, make_model, make_reviews, distributed):
    """A group of one learns what a process alone does, dropout included."""
    X, y = make_reviews(n=40)
    options = {"architecture": "multimodal_bert", "epochs": 2, "early_stopping_patience": 1}
    alone = make_model(**options).fit(X, y)
    together = make_model(distributed=distributed, **options).fit(X, y)
    assert dist.is_initialized()
    assert_array_equal(together.predict_proba(X), alone.predict_proba(X))
    assert together.history_ == alone.history_


def test_without_a_launcher_it_says_how_to_start(make_model, make_reviews, monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(RuntimeError, match=r"torchrun --nproc_per_node 2 --standalone script\.py"):
        make_model(distributed="ddp").fit(*make_reviews())


def test_a_kind_that_there_is_not(make_model, make_reviews):
    with pytest.raises(ValueError, match="unknown distributed 'fdsp'; did you mean 'fsdp'"):
        make_model(distributed="fdsp").fit(*make_reviews())


@pytest.fixture
def launched(monkeypatch):
    launch = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}
    for name, value in (launch | {"MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}).items():
        monkeypatch.setenv(name, value)


def test_processes_that_do_not_know_of_each_other(launched):
    with pytest.warns(UserWarning, match="one of 2 processes, and with distributed=None each"):
        check_launch(None)


def test_no_warning_if_they_do(launched, recwarn):
    check_launch("ddp")
    assert not recwarn


@pytest.mark.parametrize("name", ["cuda:0", "cuda:1", "mps"])
def test_a_device_that_all_would_share(name):
    with pytest.raises(ValueError, match="cannot be that of several processes; give 'cpu'"):
        own_device(torch.device(name))


def test_more_processes_than_gpus(launched, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="process 1 of this machine has no GPU of its own"):
        own_device(torch.device("cuda"))


def test_the_cpu_is_everyones(launched):
    assert own_device(CPU) == CPU
