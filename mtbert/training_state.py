"""What a training is made of after some step: enough to go on as if it had never stopped."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from skorch.history import History
from torch.optim.lr_scheduler import LambdaLR

from mtbert.fingerprint import as_bytes, weights_fingerprint
from mtgbm.io.header_fields import corrupt, field, integer
from mtgbm.io.json_values import from_json, to_json

MOST = 2**63 - 1
DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.float64,
        torch.float32,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.uint8,
        torch.bool,
    )
}


@dataclass
class TrainingState:
    """A training between two steps.

    Attributes
    ----------
    seed : int
        From which all random numbers of the fit come.
    n_steps : int
        Steps of the optimizer that are done, in all epochs.
    is_finished : bool
        Whether the last epoch or early stopping ended it.
    epoch_sums : tuple of float and int
        Sum of the losses of the labels, and their number, of the epoch that is not complete.
    history : list of dict
        Of each complete epoch.
    rows_at_once : int
        How many rows go through the network at once.
    scaler : dict
        State of the gradient scaler; empty unless the precision is fp16.
    best : tuple of int and float, or None
        Epoch and score to which early stopping would go back.
    tensors : dict of str to tensor
        ``weights/{name}``; ``optimizer/{what}/{name}``; ``best/{name}``, the weights of the best
        epoch; ``random/{rank}/{device}``, the states of each process's generators.
    """

    seed: int
    n_steps: int
    is_finished: bool
    epoch_sums: tuple[float, int]
    history: list[dict]
    rows_at_once: int
    scaler: dict
    best: tuple[int, float] | None = None
    tensors: dict[str, torch.Tensor] = dataclasses.field(default_factory=dict)

    # From and to a net --------------------------------------------------------------------------

    @classmethod
    def capture(cls, net, seed, n_epochs) -> TrainingState:
        """The state of a net, of whose epochs so many are complete; its tensors are no copies."""
        state = cls(
            seed=seed,
            n_steps=net.n_steps,
            is_finished=net.is_finished or n_epochs == net.max_epochs,
            epoch_sums=net.epoch_sums,
            history=plain_history(net)[:n_epochs],
            rows_at_once=net.memory.n_rows,
            scaler=net.scaler_.state_dict(),
        )
        state._add("weights", net.weights())
        for name, kept in net.optimizer_state().items():
            state.tensors |= {f"optimizer/{what}/{name}": t for what, t in kept.items()}
        stopping = dict(net.callbacks_).get("early_stopping")
        if stopping is not None:
            *state.best, weights = stopping.get_state()
            state._add("best", weights)
        for rank, states in enumerate(net.processes.gather(_generator_states(net.device))):
            state._add(f"random/{rank}", states)
        return state

    def _add(self, kind, tensors):
        self.tensors |= {f"{kind}/{name}": tensor for name, tensor in tensors.items()}

    def of_kind(self, kind) -> dict[str, torch.Tensor]:
        """The tensors of a kind, by the rest of their names."""
        start = f"{kind}/"
        return {
            name.removeprefix(start): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(start)
        }

    def restore(self, net) -> None:
        """Bring a net, whose callbacks have begun a training, to this state.

        Raises
        ------
        ValueError
            If its network is of another shape.
        """
        weights = self.of_kind("weights")
        _check_same_shapes(weights, net.weights())
        net.load_weights(weights)
        net.load_optimizer_state(self._optimizer_state())
        if self.scaler and net.scaler_.is_enabled():
            net.scaler_.load_state_dict(self.scaler)
        net.history = History(self.history)
        net.n_steps, net.epoch_sums = self.n_steps, self.epoch_sums
        net.is_finished = self.is_finished
        net.memory.n_rows = self.rows_at_once
        net.batches.n_epochs = len(self.history)
        net.batches.n_done = self.n_steps - len(self.history) * len(net.batches)
        self._restore_callbacks(net)
        _set_generators(self.of_kind(f"random/{net.processes.rank}"), net.device)

    def _optimizer_state(self):
        state: dict[str, dict] = {}
        for path, tensor in self.of_kind("optimizer").items():
            what, _, name = path.partition("/")
            state.setdefault(name, {})[what] = tensor
        return state

    def _restore_callbacks(self, net):
        callbacks = dict(net.callbacks_)
        if self.best is not None:
            callbacks["early_stopping"].set_state(*self.best, self.of_kind("best"))
        if self.n_steps:
            # The rates of the step that comes next, whatever the rates were before.
            scheduler, last = callbacks["scheduler"], self.n_steps - 1
            scheduler.lr_scheduler_ = LambdaLR(net.optimizer_, scheduler.lr_lambda, last)

    # What it tells ------------------------------------------------------------------------------

    def kept_fingerprint(self) -> str:
        """The checksum of the weights that the model has if training ends here."""
        return weights_fingerprint(self.of_kind("best") or self.of_kind("weights"))

    def find_not_finite(self) -> str | None:
        """A weight that is trained and not finite, or whose state in the optimizer is not."""
        weights = self.of_kind("weights")
        for name, kept in self._optimizer_state().items():
            if not all(torch.isfinite(tensor).all() for tensor in (weights[name], *kept.values())):
                return name
        return None

    # From and to a file -------------------------------------------------------------------------

    def to_dict(self) -> dict:
        """What JSON can hold: all but the content of the tensors."""
        return {
            "seed": self.seed,
            "n_steps": self.n_steps,
            "is_finished": self.is_finished,
            "epoch_sums": [float(self.epoch_sums[0]), int(self.epoch_sums[1])],
            "history": to_json(self.history, "history"),
            "rows_at_once": self.rows_at_once,
            "scaler": self.scaler,
            "best": None if self.best is None else to_json(list(self.best), "best"),
            "tensors": {
                name: [str(tensor.dtype).removeprefix("torch."), list(tensor.shape)]
                for name, tensor in self.tensors.items()
            },
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """The bytes of the tensors, by name."""
        return {name: as_bytes(tensor) for name, tensor in self.tensors.items()}

    @classmethod
    def from_dict(cls, content, arrays) -> TrainingState:
        """The state that `to_dict` and `arrays` describe.

        Raises
        ------
        ValueError
            If they contradict themselves.
        """

        def read(name, *kinds):
            return field(content, name, *kinds, where="the state")

        total, n_labels = read("epoch_sums", list)
        shapes, best = read("tensors", dict), read("best", list, type(None))
        if shapes.keys() != arrays.keys():
            raise corrupt("the tensors of the state are not those of the file")
        return cls(
            seed=integer(content, "seed", 0, MOST, where="the state"),
            n_steps=integer(content, "n_steps", 0, MOST, where="the state"),
            is_finished=read("is_finished", bool),
            epoch_sums=(float(total), int(n_labels)),
            history=from_json(read("history", list), "history"),
            rows_at_once=integer(content, "rows_at_once", 1, MOST, where="the state"),
            scaler=read("scaler", dict),
            best=None if best is None else tuple(from_json(best, "best")),
            tensors={name: _tensor(name, arrays[name], *shape) for name, shape in shapes.items()},
        )


def plain_history(net) -> list[dict]:
    """What a net recorded of its epochs, without what it recorded of their steps."""
    epochs = net.history.to_list()
    return [{key: value for key, value in e.items() if key != "batches"} for e in epochs]


def _generator_states(device):
    states = {"cpu": torch.get_rng_state()}
    if torch.device(device).type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _set_generators(states, device):
    torch.set_rng_state(states["cpu"])
    if torch.device(device).type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def _check_same_shapes(found, own):
    for name in [*own, *found]:
        shapes = [tuple(t[name].shape) if name in t else None for t in (found, own)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"its network is another one: the weights {name} have the shape {shapes[0]}, those "
                f"of this fit {shapes[1]}."
            )


def _tensor(name, array, dtype, shape):
    """A tensor with memory of its own."""
    if dtype not in DTYPES:
        raise corrupt(f"expected a dtype of torch for {name!r}, found {dtype!r}")
    try:
        return torch.from_numpy(array.copy()).view(DTYPES[dtype]).reshape(shape)
    except (RuntimeError, TypeError) as error:
        raise corrupt(f"the bytes of {name!r} are no {dtype} of shape {shape}") from error
