"""The training loop: a skorch net whose batches are groups of rows of like length."""

from __future__ import annotations

import contextlib

import numpy as np
import torch
from skorch import NeuralNet
from torch import nn

from mtbert.batching import Rows, shuffled_batches, sorted_batches
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
    seed : int
        The n-th epoch is the same for the same seed.
    """

    def __init__(self, rows: Rows, batch_size, accumulate, seed):
        self.rows = rows
        self.batch_size = batch_size
        self.accumulate = accumulate
        self.seed = seed
        self.sizes = rows.sizes()
        self.n_epochs = 0

    def __len__(self):
        return -(-len(self.rows) // (self.batch_size * self.accumulate))

    def __iter__(self):
        rng = np.random.default_rng([self.seed, self.n_epochs])
        self.n_epochs += 1
        batches = shuffled_batches(self.sizes, self.batch_size, rng)
        for first in range(0, len(batches), self.accumulate):
            yield [self.rows.take(b) for b in batches[first : first + self.accumulate]]


class TrainingNet(NeuralNet):
    """Trains a network on :class:`mtbert.batching.Rows`.

    Parameters
    ----------
    module : Module
        ``module(**inputs)`` gives logits.
    criterion : type
        A loss like :class:`MaskedLoss`, a sum; a step minimises it divided by the number of labels
        in all its batches. So a step of k batches is that of one batch of all their rows.
    parameter_groups : list of dict
        What the optimizer, AdamW, takes.
    batches : EpochBatches
    metric : ValidationMetric
    precision : {"fp32", "bf16", "fp16"}
        Of the forward pass; weights stay 32-bit floats.
    **kwargs
        Of `skorch.NeuralNet`.

    Attributes
    ----------
    history : skorch.history.History
        For each epoch train_loss and, with validation rows, the metric as ``valid_{name}``.
    is_finished : bool
        Set by a callback to end the training after the epoch.
    """

    def __init__(
        self, module, criterion, *, parameter_groups, batches, metric, precision, **kwargs
    ):
        self.parameter_groups = parameter_groups
        self.batches = batches
        self.metric = metric
        self.precision = precision
        self.is_finished = False
        super().__init__(module, criterion, **kwargs)

    @property
    def _default_callbacks(self):
        return []

    def initialize_optimizer(self, triggered_directly=None):
        """Make AdamW, and what scales losses so that 16-bit floats hold their gradients."""
        self.optimizer_ = torch.optim.AdamW(self.parameter_groups)
        kind = torch.device(self.device).type
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
        for _ in range(self.max_epochs if epochs is None else epochs):
            self.notify("on_epoch_begin")
            self.run_single_epoch(self.batches, True, "train", self.train_step)
            if X is not None:
                self._validate(X)
            self.notify("on_epoch_end")
            if self.is_finished:
                break
        return self

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        """One step for each group of batches; records the mean loss of the labels."""
        total, n_labels = 0.0, 0
        for group in iterator:
            self.notify("on_batch_begin", batch=group, training=training)
            step = step_fn(group)
            total += step["loss"] * step["n_labels"]
            n_labels += step["n_labels"]
            self.notify("on_batch_end", batch=group, training=training, **step)
        self.history.record(f"{prefix}_loss", total / n_labels)

    def train_step(self, group, **fit_params):
        """One step of the optimizer for all batches of a group.

        Returns
        -------
        dict
            The mean loss of the labels, and their number.

        Raises
        ------
        FloatingPointError
            If the loss is not finite.
        """
        self.module_.train()
        self.optimizer_.zero_grad()
        n_labels = sum(int((batch.weights > 0).sum()) for batch in group)
        loss = 0.0
        for batch in group:
            part = self._loss(batch) / n_labels
            loss += part.item()
            self._check_finite(loss)
            self.scaler_.scale(part).backward()
        self.scaler_.unscale_(self.optimizer_)
        self.notify("on_grad_computed", named_parameters=list(self.module_.named_parameters()))
        self.scaler_.step(self.optimizer_)
        self.scaler_.update()
        return {"loss": loss, "n_labels": n_labels}

    def _loss(self, batch):
        with autocast(self.precision, self.device):
            logits = self.module_(**to_tensors(batch, self.device))
        labels = torch.from_numpy(batch.labels.astype(np.int64)).to(self.device)
        weights = torch.from_numpy(batch.weights).to(self.device)
        return self.criterion_(logits.float(), labels, weights)

    def _check_finite(self, loss):
        if not np.isfinite(loss):
            rates = sorted({group["lr"] for group in self.optimizer_.param_groups})
            raise FloatingPointError(
                f"the training loss became {loss} in epoch {len(self.history)}, at learning rates "
                f"{', '.join(f'{rate:.3g}' for rate in rates)}; lower learning_rate and "
                "encoder_learning_rate, set gradient_clip, or use precision='fp32'."
            )

    def _validate(self, rows):
        batch_size = self.batches.batch_size
        logits = compute(self.module_, rows, batch_size, self.device, self.precision)
        key = f"valid_{self.metric.name}"
        self.history.record(key, self.metric(logits, rows.labels))


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
    """Raise ValueError unless the device computes in the precision."""
    choose("precision", precision, PRECISIONS)
    if precision == "fp16" and device.type == "cpu":
        raise ValueError("precision='fp16' needs a GPU; use 'bf16' or 'fp32' on a CPU.")


def autocast(precision, device):
    """A context in which the network computes in the precision."""
    dtype = PRECISIONS[precision]
    if dtype is None:
        return contextlib.nullcontext()
    return torch.autocast(torch.device(device).type, dtype=dtype)


def to_tensors(rows: Rows, device) -> dict[str, torch.Tensor]:
    """The inputs of a network, on a device."""
    return {name: torch.from_numpy(array).to(device) for name, array in rows.inputs().items()}


def compute(network, rows: Rows, batch_size, device, precision="fp32", embed=False) -> np.ndarray:
    """Return the logits, or the fused embedding, of each row.

    Parameters
    ----------
    network : Module
        On the device.
    rows : Rows
    batch_size : int
    device : torch.device
    precision : {"fp32", "bf16", "fp16"}
    embed : bool

    Returns
    -------
    ndarray of float32 of shape (n, n_outputs) or (n, output_dim)
    """
    network.eval()
    batches = sorted_batches(rows.sizes(), batch_size)
    run = network.embed if embed else network
    with torch.inference_mode(), autocast(precision, device):
        parts = [run(**to_tensors(rows.take(batch), device)).float().cpu() for batch in batches]
    outputs = torch.cat(parts).numpy()
    result = np.empty_like(outputs)
    result[np.concatenate(batches)] = outputs
    return result
