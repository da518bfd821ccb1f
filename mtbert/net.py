"""The training loop: a skorch net whose batches are groups of rows of like length."""

from __future__ import annotations

import contextlib

import numpy as np
import torch
from skorch import NeuralNet
from torch import nn

from mtbert.batching import Rows, shuffled_batches, sorted_batches
from mtbert.distributed import SingleProcess
from mtbert.memory import RowsAtOnce
from mtbert.modules import BertText
from mtgbm.parameters import choose

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class MaskedLoss(nn.Module):
    """Sum of the weighted losses of the labels that there are.

    Binary tasks: ``w * (log(1 + exp(z)) - y * z)``; one task of several classes, a logit each:
    ``w * (log(sum(exp(z))) - z_y)``.

    Parameters
    ----------
    is_multiclass : bool
    """

    def __init__(self, is_multiclass):
        super().__init__()
        self.is_multiclass = is_multiclass

    def forward(self, logits, labels, weights):
        """Return a scalar.

        Parameters
        ----------
        logits : tensor of float32 of shape (n, n_outputs)
        labels : tensor of int64 of shape (n, n_tasks)
            -1 where missing.
        weights : tensor of float32 of shape (n, n_tasks)
            0 where a label is missing.
        """
        known = labels.clamp(min=0)  # any class does where the weight is 0
        if self.is_multiclass:
            losses = nn.functional.cross_entropy(logits, known[:, 0], reduction="none")
            return (losses * weights[:, 0]).sum()
        return nn.functional.binary_cross_entropy_with_logits(
            logits, known.to(logits.dtype), weight=weights, reduction="sum"
        )


class EpochBatches:
    """The batches of an epoch, drawn anew each time it is iterated over.

    Yields one list for each step of the optimizer, of up to `accumulate` batches.

    Parameters
    ----------
    rows : Rows
    batch_size, accumulate : int
        Of several processes, `batch_size` is the share of one in a batch.
    seed : int
        The n-th epoch is the same for the same seed.
    processes : SingleProcess, default=None
        Those that share the batches; None: this one alone.

    Attributes
    ----------
    n_epochs : int
        How often it was iterated over.
    n_done : int
        Steps of the next epoch that were done earlier, before an interruption, and are left out.
    """

    def __init__(self, rows: Rows, batch_size, accumulate, seed, processes=None):
        self.rows = rows
        self.batch_size = batch_size
        self.accumulate = accumulate
        self.seed = seed
        self.processes = SingleProcess() if processes is None else processes
        self.sizes = rows.sizes()
        self.n_epochs = self.n_done = 0

    def __len__(self):
        return -(-len(self.rows) // self.rows_of_step)

    def __iter__(self):
        rng = np.random.default_rng([self.seed, self.n_epochs])
        self.n_epochs += 1
        batches = shuffled_batches(self.sizes, self._rows_of_all(), rng)
        begin, self.n_done = self.n_done * self.accumulate, 0
        for first in range(begin, len(batches), self.accumulate):
            group = batches[first : first + self.accumulate]
            yield [self.processes.take(self.rows, batch) for batch in group]

    @property
    def rows_of_step(self) -> int:
        """Rows of all batches of a step, of all processes."""
        return self._rows_of_all() * self.accumulate

    def _rows_of_all(self):
        return self.batch_size * self.processes.n_processes


class TrainingNet(NeuralNet):
    """Trains a network on :class:`mtbert.batching.Rows`.

    Parameters
    ----------
    module : Module
        ``module(**inputs)`` gives logits; if it has `modality_heads`, so does
        ``module(with_modalities=True, **inputs)``, with a list of those of each modality alone.
    criterion : type
        A loss like :class:`MaskedLoss`, a sum; a step minimises it divided by the number of labels
        in all its batches. So a step of k batches is that of one batch of all their rows.
    parameter_groups : list of dict
        What the optimizer, AdamW, takes.
    batches : EpochBatches
    metric : ValidationMetric
    precision : {"fp32", "bf16", "fp16"}
        Of the forward pass; weights stay 32-bit floats.
    processes : SingleProcess, default=None
        Those that train together, which have made `module`; None: this one alone.
    **kwargs
        Of `skorch.NeuralNet`.

    Attributes
    ----------
    history : skorch.history.History
        For each epoch train_loss and, with validation rows, the metric as ``valid_{name}``.
    is_finished : bool
        Set by a callback to end the training after the epoch.
    n_steps : int
        Steps of the optimizer in all epochs so far.
    epoch_sums : tuple of float and int
        Sum of the losses of the labels, and their number, in the epoch so far.
    gradient_norm : float
        Of the last step, before any clipping.
    memory : mtbert.memory.RowsAtOnce
        How many rows go through the network at once.
    """

    def __init__(
        self,
        module,
        criterion,
        *,
        parameter_groups,
        batches,
        metric,
        precision,
        processes=None,
        **kwargs,
    ):
        self.parameter_groups = parameter_groups
        self.batches = batches
        self.metric = metric
        self.precision = precision
        self.processes = SingleProcess() if processes is None else processes
        self.is_finished = False
        self.n_steps, self.epoch_sums = 0, (0.0, 0)
        self.memory = RowsAtOnce(batches.batch_size, batches.accumulate)
        # The others would wait while one does its rows again.
        self.memory.may_halve = self.processes.n_processes == 1
        super().__init__(module, criterion, **kwargs)

    @property
    def _default_callbacks(self):
        return []

    def initialize_optimizer(self, triggered_directly=None):
        """Make AdamW, and what scales losses so that 16-bit floats hold their gradients."""
        kind = torch.device(self.device).type
        # On a CPU torch takes several passes over the weights unless it is told not to.
        self.optimizer_ = torch.optim.AdamW(self.parameter_groups, fused=kind == "cpu" or None)
        self.scaler_ = torch.amp.GradScaler(kind, enabled=self.precision == "fp16")
        return self

    def train(self, validation: Rows | None):
        """Run all epochs. Ctrl-C is raised, unlike by `fit` of skorch."""
        self.initialize()
        self.notify("on_train_begin", X=None, y=None)
        try:
            self.fit_loop(validation)
        finally:
            self.notify("on_train_end", X=None, y=None)

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        """Train on the batches, epoch by epoch; X are the validation rows, if any."""
        n_epochs = self.max_epochs if epochs is None else epochs
        while len(self.history) < n_epochs and not self.is_finished:
            self.notify("on_epoch_begin")
            self.run_single_epoch(self.batches, True, "train", self.train_step)
            if X is not None:
                self._validate(X)
            self.notify("on_epoch_end")
        return self

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        """One step for each group of batches; records the mean loss of the labels."""
        for group in iterator:
            self.notify("on_batch_begin", batch=group, training=training)
            step = step_fn(group)
            total, n_labels = self.epoch_sums
            n_new = step["n_labels"]
            self.epoch_sums = total + step["loss"] * n_new, n_labels + n_new
            self.n_steps += 1
            self.notify("on_batch_end", batch=group, training=training, **step)
        total, n_labels = self.epoch_sums
        self.history.record(f"{prefix}_loss", total / n_labels)
        self.epoch_sums = 0.0, 0

    def train_step(self, group, **fit_params):
        """One step of the optimizer for all batches of a group.

        Returns
        -------
        dict
            The mean loss of the labels, and their number.

        Raises
        ------
        FloatingPointError
            If the loss or its gradient is not finite.
        MemoryError
            If there is not memory enough for one row.
        """
        self.module_.train()
        n_labels = self.processes.sum(sum(int((batch.weights > 0).sum()) for batch in group))
        loss = self.memory.run(lambda pieces: self._differentiate(pieces, n_labels), group)
        loss = self.processes.sum(loss)
        self._check_finite("training loss", loss)
        self.scaler_.unscale_(self.optimizer_)
        self.gradient_norm = self._find_gradient_norm()
        if not self.scaler_.is_enabled():  # which leaves out a step of 16-bit floats by itself
            self._check_finite("norm of the gradient", self.gradient_norm)
        self.notify("on_grad_computed", named_parameters=list(self.module_.named_parameters()))
        self.scaler_.step(self.optimizer_)
        self.scaler_.update()
        return {"loss": loss, "n_labels": n_labels}

    def _differentiate(self, batches, n_labels):
        """The own part of the mean loss; the gradient of the whole is left with the parameters."""
        self.optimizer_.zero_grad()
        loss = 0.0
        for number, batch in enumerate(batches, start=1):
            with self.processes.accumulating(self.module_, number == len(batches)):
                part = self._loss(batch) / n_labels
                loss += part.item()
                # torch takes the mean over the processes, but the parts are to be added.
                self.scaler_.scale(part * self.processes.n_processes).backward()
        return loss

    def _find_gradient_norm(self):
        gradients = [p.grad for p in self.module_.parameters() if p.grad is not None]
        return self.processes.full(nn.utils.get_total_norm(gradients)).item()

    def _loss(self, batch):
        heads = getattr(self.network, "modality_heads", None)
        inputs = to_tensors(batch, self.device)
        with autocast(self.precision, self.device):
            if heads is None:
                logits, of_modalities = self.module_(**inputs), []
            else:
                logits, of_modalities = self.module_(with_modalities=True, **inputs)
        labels = torch.from_numpy(batch.labels.astype(np.int64)).to(self.device)
        weights = torch.from_numpy(batch.weights).to(self.device)
        loss = self.criterion_(logits.float(), labels, weights)
        for own in of_modalities:
            loss = loss + heads.loss_weight * self.criterion_(own.float(), labels, weights)
        return loss

    def _check_finite(self, noun, value):
        if not np.isfinite(value):
            raise self.not_finite(noun, value)

    def not_finite(self, noun, value) -> FloatingPointError:
        """The error for a number with which training cannot go on."""
        rates = sorted({group["lr"] for group in self.optimizer_.param_groups})
        return FloatingPointError(
            f"the {noun} became {value} in epoch {len(self.history)}, at learning rates "
            f"{', '.join(f'{rate:.3g}' for rate in rates)}; lower learning_rate and "
            "encoder_learning_rate, set gradient_clip, or use precision='fp32'."
        )

    def weights(self) -> dict[str, torch.Tensor]:
        """The weights and buffers of the network, by name; not copies."""
        state = self.network.state_dict()
        return {name: self.processes.full(tensor.detach()) for name, tensor in state.items()}

    def load_weights(self, weights: dict[str, torch.Tensor]) -> None:
        """Set what `weights` gave."""
        network, part = self.network, self.processes.part
        state = network.state_dict()
        network.load_state_dict({name: part(w, state[name]) for name, w in weights.items()})

    def optimizer_state(self) -> dict[str, dict[str, torch.Tensor]]:
        """What the optimizer keeps of each parameter, by the parameter's name; not copies."""
        full = self.processes.full
        return {
            name: {key: full(tensor) for key, tensor in self.optimizer_.state[parameter].items()}
            for name, parameter in self.network.named_parameters()
            if parameter in self.optimizer_.state
        }

    def load_optimizer_state(self, state: dict[str, dict[str, torch.Tensor]]) -> None:
        """Set what `optimizer_state` gave; learning rates are not part of it."""
        part = self.processes.part
        for name, parameter in self.network.named_parameters():
            if name in state:
                moved = {key: tensor.to(parameter.device) for key, tensor in state[name].items()}
                kept = {key: part(tensor, parameter) for key, tensor in moved.items()}
                # The count of steps stays where AdamW has put it, on the CPU.
                self.optimizer_.state[parameter] = kept | {"step": state[name]["step"]}

    def _validate(self, rows):
        batch_size = self.memory.n_rows
        logits = compute(
            self.network,
            rows,
            batch_size,
            self.device,
            self.precision,
            processes=self.processes,
        )
        score = self.processes.broadcast(self.metric(logits, rows.labels))
        self.history.record(f"valid_{self.metric.name}", score)

    @property
    def network(self):
        """The network that is trained, out of what connects its processes."""
        return self.processes.plain(self.module_)


def find_device(name) -> torch.device:
    """Return the device of a name; "auto" is a GPU if there is one.

    Raises
    ------
    ValueError
        If there is no such device.
    """
    if isinstance(name, str) and name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(
            f"device={name!r} cannot be used here: {error}. Use 'auto', 'cpu' or 'cuda'."
        ) from error
    return device


def check_precision(precision, device) -> None:
    """Raise ValueError unless the device computes in the precision; "auto" is any that it has."""
    choose("precision", precision, {"auto": None} | PRECISIONS)
    if precision == "fp16" and device.type == "cpu":
        raise ValueError("precision='fp16' needs a GPU; use 'bf16' or 'fp32' on a CPU.")


def training_precision(precision, network, device) -> str:
    """What "auto" is in training: bf16 where BERT is trained on a device with instructions for it.

    Smaller networks gain nothing by it.
    """
    if precision != "auto":
        return precision
    trains_bert = any(
        isinstance(part, BertText) and any(p.requires_grad for p in part.parameters())
        for part in network.modules()
    )
    return "bf16" if trains_bert and has_bf16_instructions(device) else "fp32"


def inference_precision(precision) -> str:
    """What "auto" is elsewhere: fp32, so that scores are the same on all machines."""
    return "fp32" if precision == "auto" else precision


def has_bf16_instructions(device) -> bool:
    """Whether a device multiplies 16-bit brain floats without making 32-bit ones of them."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


def autocast(precision, device):
    """A context in which the network computes in the precision."""
    dtype = PRECISIONS[precision]
    if dtype is None:
        return contextlib.nullcontext()
    return torch.autocast(torch.device(device).type, dtype=dtype)


def to_tensors(rows: Rows, device) -> dict[str, torch.Tensor]:
    """The inputs of a network, on a device."""
    return {name: torch.from_numpy(array).to(device) for name, array in rows.inputs().items()}


def compute(
    network, rows: Rows, batch_size, device, precision="fp32", embed=False, processes=None
) -> np.ndarray:
    """Return the logits, or the fused embedding, of each row.

    Parameters
    ----------
    network : Module
        On the device.
    rows : Rows
    batch_size : int
        Halved, with a warning, if memory runs out.
    device : torch.device
    precision : {"fp32", "bf16", "fp16"}
    embed : bool
    processes : SingleProcess, default=None
        Those that share the rows, and all get the whole result; None: this one alone.

    Returns
    -------
    ndarray of float32 of shape (n, n_outputs) or (n, output_dim)

    Raises
    ------
    MemoryError
        If there is not memory enough for one row.
    """
    processes = SingleProcess() if processes is None else processes
    network.eval()
    batches = sorted_batches(rows.sizes(), batch_size * processes.n_processes)
    shares = [processes.share(batch) for batch in batches]
    run = network.embed if embed else network
    memory = RowsAtOnce(batch_size)
    memory.may_halve = processes.n_processes == 1

    def score(pieces):
        return torch.cat([run(**to_tensors(piece, device)).float().cpu() for piece in pieces])

    with torch.inference_mode(), autocast(precision, device):
        parts = [memory.run(score, [processes.take(rows, batch)]) for batch in batches]
    own = [part[: len(share)] for part, share in zip(parts, shares, strict=True)]
    outputs = torch.cat(own).numpy()
    result = np.zeros((len(rows), *outputs.shape[1:]), outputs.dtype)
    result[np.concatenate(shares)] = outputs
    return processes.sum(result)
