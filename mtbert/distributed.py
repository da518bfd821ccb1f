"""Several processes train one network, each on its share of every batch.

A launcher such as torchrun starts the same script N times, and each process reads the same table
and draws the same batches. :func:`join_processes` connects them for one fit and hands out an object
that knows what one process must do for all to stay alike; for a process alone it does nothing.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import os
import sys
import threading
import warnings
from dataclasses import replace
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from mtbert.batching import Rows
from mtbert.modules import BertText
from mtbert.modules.layers import find_layers

#: What a launcher tells a process: its number, how many there are, where they meet.
LAUNCH_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
#: Small sums go through the memory of the host, where the end of another process is noticed.
BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}
#: How long a process waits for the others; all do the same work, so it is never long.
TIMEOUT = timedelta(minutes=10)
#: How often a process looks whether another has stopped, and what it then has to notice by itself.
WATCH_SECONDS, GRACE_SECONDS = 1, 5
NOTE, STOPPED = "stopped", "this process stops because another did: {}"


class SingleProcess:
    """A process alone: nothing to share out, to sum or to wait for.

    Parameters
    ----------
    device : torch.device, default=None
        Where it computes.

    Attributes
    ----------
    rank : int
        Which of the processes this is, from 0.
    n_processes : int
    is_writer : bool
        Whether this one writes files and shows progress: one of them does.
    """

    rank = 0
    n_processes = 1

    def __init__(self, device=None):
        self.device = device

    @property
    def is_writer(self):
        return self.rank == 0

    def share(self, batch) -> np.ndarray:
        """The own ones of a batch's positions."""
        return batch

    def take(self, rows: Rows, batch) -> Rows:
        """The own rows of a batch, but one at least: the work is the same for all processes."""
        return rows.take(batch)

    def sum(self, value):
        """The sum of everyone's number or array."""
        return value

    def broadcast(self, value):
        """What the first process has."""
        return value

    def gather(self, value) -> list:
        """What each process has, by rank."""
        return [value]

    def dropout_seed(self, seed) -> int:
        """A seed of torch's generator that no other process has."""
        return seed

    def wrap(self, network):
        """The module to train for a network."""
        return network

    def plain(self, module):
        """The network in a module of `wrap`, with the parameters that are trained."""
        return module

    def unwrap(self, module, network) -> None:
        """Give a network the weights of the module that was trained for it."""

    def accumulating(self, module, is_last):
        """A context for the backward pass of one batch of a step; the last sums the gradients."""
        return contextlib.nullcontext()

    def full(self, tensor) -> torch.Tensor:
        """A parameter, or what the optimizer keeps for it, as if there were one process."""
        return tensor

    def part(self, tensor, like) -> torch.Tensor:
        """The reverse of `full`: what this process keeps of a tensor, given the parameter."""
        return tensor

    def check_alike(self, fingerprints) -> None:
        """Raise ValueError unless all processes have the same.

        Parameters
        ----------
        fingerprints : dict of str to str
            What it is, and its checksum.
        """


class ProcessGroup(SingleProcess):
    """One of several processes, connected by torch.distributed [1]_.

    Parameters
    ----------
    device : torch.device
        Where this process computes.

    Notes
    -----
    Each batch is cut once for all processes, from which follows its `share`. Networks are trained
    on the sum of the losses over the number of labels of all; what torch averages over the
    processes is multiplied by their number first.

    References
    ----------
    .. [1] Li et al., "PyTorch Distributed: Experiences on Accelerating Data Parallel Training",
       VLDB 2020.
    """

    def __init__(self, device):
        super().__init__(device)
        self.rank = dist.get_rank()
        self.n_processes = dist.get_world_size()
        self._meeting_place = "cpu" if "cpu" in dist.get_backend_config() else device

    def share(self, batch):
        """Each n-th position: batches are sorted by length, so shares are about as long."""
        return batch[self.rank :: self.n_processes]

    def take(self, rows, batch):
        """The own rows of a batch; without any, one that weighs nothing."""
        own = self.share(batch)
        if len(own):
            return rows.take(own)
        guest = rows.take(batch[:1])
        return guest if guest.weights is None else replace(guest, weights=guest.weights * 0)

    def sum(self, value):
        """The sum of everyone's number or array, the same bits for all."""
        array = np.array(value)
        tensor = torch.from_numpy(array).to(self._meeting_place)
        dist.all_reduce(tensor)
        return tensor.cpu().numpy() if array.ndim else tensor.item()

    def broadcast(self, value):
        """What the first process has, by pickle."""
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]

    def gather(self, value):
        """What each process has, by rank and by pickle."""
        everyone = [None] * self.n_processes
        dist.all_gather_object(everyone, value)
        return everyone

    def dropout_seed(self, seed):
        """The first process has that of a process alone."""
        if self.rank == 0:
            return seed
        return int(np.random.SeedSequence([seed, self.rank]).generate_state(1)[0])

    def check_alike(self, fingerprints):
        """Raise ValueError, in every process, with the names of what differs."""
        everyone = self.gather(fingerprints)
        differing = [name for name in fingerprints if len({own[name] for own in everyone}) > 1]
        if differing:
            raise ValueError(
                f"the {self.n_processes} processes of this fit differ in: {', '.join(differing)}. "
                "Start the same script in all of them, with the same table and parameters; fit "
                "shares the rows out."
            )


class ReplicatedProcesses(ProcessGroup):
    """Every process has the whole network; gradients are summed (DDP)."""

    def wrap(self, network):
        """A DistributedDataParallel; it gives all the first one's weights."""
        return DistributedDataParallel(network)

    def plain(self, module):
        """The network itself, which is trained in place."""
        return module.module

    def accumulating(self, module, is_last):
        """Gradients stay in their process up to the last batch of a step."""
        return contextlib.nullcontext() if is_last else module.no_sync()


class ShardedProcesses(ProcessGroup):
    """Every process keeps a part of each parameter, its gradient and its moments (FSDP) [1]_.

    A layer of a BERT encoder is put together when it is needed and taken apart again; what is
    beside these layers counts as one more.

    References
    ----------
    .. [1] Zhao et al., "PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel", VLDB
       2023.
    """

    def wrap(self, network):
        """A copy that is taken apart; the network itself leaves the GPU until `unwrap`."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        for tensor in network.state_dict().values():
            dist.broadcast(tensor, src=0)
        module = copy.deepcopy(network.cpu())
        mesh = init_device_mesh(self.device.type, (self.n_processes,))
        for part in list(module.modules()):
            if isinstance(part, BertText):
                for layer in find_layers(part.model):
                    fully_shard(layer, mesh=mesh)
        return fully_shard(module, mesh=mesh)

    def unwrap(self, module, network):
        """Put the parameters together, one after another, in every process."""
        trained = module.state_dict()
        for name, tensor in network.state_dict().items():
            tensor.copy_(self.full(trained[name]))
        network.to(self.device)

    def accumulating(self, module, is_last):
        """Gradients stay whole, and in their process, up to the last batch of a step."""
        module.set_requires_gradient_sync(is_last)
        return contextlib.nullcontext()

    def full(self, tensor):
        """All parts of a tensor together, on the CPU; every process has to ask for it."""
        from torch.distributed.tensor import DTensor

        return tensor.full_tensor().cpu() if isinstance(tensor, DTensor) else tensor

    def part(self, tensor, like):
        """The own part of a tensor, laid out as the parameter `like`."""
        from torch.distributed.tensor import DTensor, distribute_tensor

        if not isinstance(like, DTensor) or tensor.shape != like.shape:
            return tensor
        # Everyone has the tensor: None spares a message that one who stops would wait for.
        return distribute_tensor(
            tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None
        )


KINDS = {"ddp": ReplicatedProcesses, "fsdp": ShardedProcesses}
_groups_opened = itertools.count()


def check_launch(distributed) -> None:
    """Check that there are processes to train with if, and only if, that is wanted.

    Parameters
    ----------
    distributed : {"ddp", "fsdp"} or None

    Raises
    ------
    RuntimeError
        If no launcher has started this process.

    Warns
    -----
    UserWarning
        If a launcher has started several that would not know of each other.
    """
    is_launched = dist.is_initialized() or all(name in os.environ for name in LAUNCH_VARIABLES)
    if distributed is not None and not is_launched:
        raise RuntimeError(
            f"distributed={distributed!r} needs several processes, but no launcher has started "
            "this one; start the script by: torchrun --nproc_per_node 2 --standalone script.py"
        )
    if distributed is None and is_launched and int(os.environ.get("WORLD_SIZE", 1)) > 1:
        warnings.warn(
            f"this is one of {os.environ['WORLD_SIZE']} processes, and with distributed=None each "
            "trains a model of its own; give distributed='ddp' to train one together.",
            UserWarning,
            stacklevel=2,
        )


def own_device(device) -> torch.device:
    """The device of this process: of several GPUs the one with its number on this machine.

    It becomes torch's current device, so that what follows the fit runs there too.

    Parameters
    ----------
    device : torch.device
        What all processes were given.

    Raises
    ------
    ValueError
        If two processes would have the same GPU, or processes cannot be connected there.
    """
    if device.type not in BACKENDS or device.index is not None:
        raise ValueError(
            f"device='{device}' cannot be that of several processes; give 'cpu', or 'cuda' or "
            "'auto' for a GPU each."
        )
    if device.type == "cpu":
        return device
    number = int(os.environ.get("LOCAL_RANK", os.environ.get("RANK", 0)))
    n_devices = torch.cuda.device_count()
    if number >= n_devices:
        raise ValueError(
            f"process {number} of this machine has no GPU of its own, as there are {n_devices}; "
            f"start at most {n_devices} processes here, or give device='cpu'."
        )
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


@contextlib.contextmanager
def join_processes(distributed, device):
    """A context in which a fit has its processes.

    They are connected, and separated at the end, unless the user has connected them already.

    Parameters
    ----------
    distributed : {"ddp", "fsdp"} or None
    device : torch.device
        What all processes were given, see :func:`own_device`.

    Yields
    ------
    SingleProcess or ProcessGroup

    Raises
    ------
    RuntimeError
        If no launcher has started the process, or if another one has stopped; the text says which
        and why.
    ValueError
        If two processes would have the same GPU.
    """
    check_launch(distributed)
    if distributed is None:
        yield SingleProcess(device)
        return
    device = own_device(device)
    with contextlib.nullcontext() if dist.is_initialized() else _connection(device):
        yield KINDS[distributed](device)


@contextlib.contextmanager
def _connection(device):
    hook = sys.excepthook  # torch puts its own around it each time
    store = _connect(device)
    is_over = threading.Event()
    threading.Thread(target=_watch, args=(store, is_over), daemon=True).start()
    try:
        yield
    except BaseException as error:
        note = _leave_note(store, error)
        if device.type == "cpu":  # NCCL would wait for the others
            dist.destroy_process_group()
        if note is not None and isinstance(error, RuntimeError):  # as are all of lost connections
            raise RuntimeError(STOPPED.format(note)) from error
        raise
    finally:
        is_over.set()
    dist.destroy_process_group()
    sys.excepthook = hook


def _connect(device):
    """Connect the processes; returns what they can leave notes in for each other."""
    from torch.distributed.rendezvous import rendezvous

    common, rank, n_processes = next(rendezvous("env://", timeout=TIMEOUT))
    # Its notes outlive a fit: the next one must not read them.
    store = dist.PrefixStore(f"mtbert_{next(_groups_opened)}", common)
    backend = BACKENDS[device.type]
    dist.init_process_group(
        backend, store=store, rank=rank, world_size=n_processes, timeout=TIMEOUT
    )
    return store


def _leave_note(store, error):
    """Say why this process stops; returns the note of one that stopped before it, if any."""
    own = f"process {dist.get_rank()}: {type(error).__name__}: {error}"
    try:
        first = store.compare_set(NOTE, "", own).decode()
    except dist.DistError:  # where notes are kept has gone; the error itself says enough
        return None
    return None if first == own else first


def _watch(store, is_over):
    """End this process if another one has stopped and this one goes on waiting for it.

    It waits inside of torch, which no exception can reach. A launcher would end it just so, but
    does not hear of an error that the other script catches.
    """
    while not is_over.wait(WATCH_SECONDS):
        try:
            has_stopped = store.check([NOTE])
        except dist.DistError:
            return
        if has_stopped and not is_over.wait(GRACE_SECONDS):
            print(STOPPED.format(store.get(NOTE).decode()), file=sys.stderr, flush=True)
            os._exit(1)
