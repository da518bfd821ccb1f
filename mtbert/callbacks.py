"""What happens around steps and epochs: clipping, early stopping, the learning rate's course, logs.

All are callbacks of skorch and see the :class:`mtbert.net.TrainingNet`.
"""

from __future__ import annotations

import math
import sys

import torch
from skorch.callbacks import Callback, GradientNormClipping
from torch import nn

SCHEDULES = {
    "linear": lambda share: 1 - share,
    "cosine": lambda share: (1 + math.cos(math.pi * share)) / 2,
}


class LearningRateCourse:
    """Factor on the learning rates at each step: up from 0, then down to 0.

    Parameters
    ----------
    n_steps : int
        Steps of the optimizer in all epochs.
    warmup_share : float
        Share of them in which the factor rises to 1 in equal steps.
    schedule : {"linear", "cosine"}
        How it falls afterwards.
    """

    def __init__(self, n_steps, warmup_share, schedule):
        self.n_steps = n_steps
        self.n_warmup = round(n_steps * warmup_share)
        self.decay = SCHEDULES[schedule]

    def __call__(self, step):
        """Factor at a step, counted from 0."""
        if step < self.n_warmup:
            return (step + 1) / self.n_warmup
        return self.decay((step - self.n_warmup) / max(1, self.n_steps - self.n_warmup))


class GradientClipping(GradientNormClipping):
    """Clips the gradient of a step by its norm, as skorch's, which the net has computed already.

    Parameters
    ----------
    gradient_clip_value : float or None
        Largest norm; None for no limit.
    """

    def __init__(self, gradient_clip_value=None):
        super().__init__(gradient_clip_value)

    def on_grad_computed(self, net, named_parameters, **kwargs):
        if self.gradient_clip_value is not None:
            parameters = [parameter for _, parameter in named_parameters]
            norm = torch.tensor(net.gradient_norm, device=parameters[0].device)
            nn.utils.clip_grads_with_norm_(parameters, self.gradient_clip_value, norm)


class EarlyStopping(Callback):
    """Ends the training when the validation score stops improving, and goes back to the best.

    skorch's own of this name stops by an exception that it takes for Ctrl-C; here Ctrl-C remains
    the user's.

    Parameters
    ----------
    patience : int
        Epochs without improvement after which to stop.
    key : str
        The score in the history of the net.
    sign : int
        1 if larger is better, else -1.

    Attributes
    ----------
    best_epoch_ : int
        Counted from 1.
    """

    def __init__(self, patience, key, sign):
        self.patience = patience
        self.key = key
        self.sign = sign

    def on_train_begin(self, net, **kwargs):
        self.best_epoch_, self._best, self._weights = 0, -math.inf, None

    def on_epoch_end(self, net, **kwargs):
        epoch, score = len(net.history), self.sign * net.history[-1, self.key]
        if score > self._best:
            self.best_epoch_, self._best = epoch, score
            self._weights = {name: tensor.clone() for name, tensor in net.weights().items()}
        net.is_finished = epoch - self.best_epoch_ >= self.patience

    def on_train_end(self, net, **kwargs):
        if self._weights is not None:
            net.load_weights(self._weights)
        self._weights = None

    def get_state(self):
        """What was found so far.

        Returns
        -------
        best_epoch : int
            0 before the end of the first epoch.
        best : float
            Its score, larger is better.
        weights : dict of str to tensor
            Those of the best epoch; empty if there is none.
        """
        return self.best_epoch_, self._best, self._weights or {}

    def set_state(self, best_epoch, best, weights):
        """Go on from what `get_state` gave."""
        self.best_epoch_, self._best, self._weights = best_epoch, best, weights or None


class Progress(Callback):
    """A tqdm progress bar with the losses; a line for each epoch without tqdm.

    Parameters
    ----------
    n_steps : int
        Steps of the optimizer in all epochs.
    keys : list of str
        What to show of each finished epoch.
    file : file-like, default=sys.stderr
    """

    def __init__(self, n_steps, keys, file=None):
        self.n_steps = n_steps
        self.keys = keys
        self.file = file

    def on_train_begin(self, net, **kwargs):
        try:
            from tqdm.auto import tqdm
        except ImportError:
            self._bar = None
        else:
            self._bar = tqdm(total=self.n_steps, unit="step", file=self.file)

    def on_epoch_begin(self, net, **kwargs):
        if self._bar is not None:  # behind, if the training goes on from a checkpoint
            self._bar.update(net.n_steps - self._bar.n)

    def on_batch_end(self, net, **kwargs):
        if self._bar is not None:
            self._bar.update()

    def on_epoch_end(self, net, **kwargs):
        scores = [f"{key} {net.history[-1, key]:.4f}" for key in self.keys]
        text = ", ".join([f"epoch {len(net.history)}", *scores])
        if self._bar is None:
            print(text, file=self.file or sys.stderr)
        else:
            self._bar.set_postfix_str(text)

    def on_train_end(self, net, **kwargs):
        if self._bar is not None:
            self._bar.close()


class TensorBoardLog(Callback):
    """Writes losses, learning rates and the norm of the gradient for TensorBoard.

    Of each step, counted from 1: ``step/train_loss``, ``step/gradient_norm`` (before clipping) and
    the ``learning_rate/{r}`` of all weights whose learning rate rises to r. Of each epoch, at its
    last step: ``epoch/train_loss`` and, with validation rows, ``epoch/valid_{metric}``.

    Parameters
    ----------
    log_dir : path-like
        What is there of steps that are still to be done, by this training before it was
        interrupted or by another one, is hidden from then on.
    """

    def __init__(self, log_dir):
        self.log_dir = log_dir

    def on_train_begin(self, net, **kwargs):
        self._writer = None

    def on_epoch_begin(self, net, **kwargs):
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(self.log_dir, purge_step=net.n_steps + 1)

    def on_grad_computed(self, net, **kwargs):
        groups = net.optimizer_.param_groups
        self._rates = {group["initial_lr"]: group["lr"] for group in groups}

    def on_batch_end(self, net, loss, **kwargs):
        values = {"step/train_loss": loss, "step/gradient_norm": net.gradient_norm}
        values |= {f"learning_rate/{rate:g}": now for rate, now in self._rates.items()}
        self._write(values, net.n_steps)

    def on_epoch_end(self, net, **kwargs):
        scores = net.history[-1].items()
        values = {f"epoch/{name}": value for name, value in scores if "_" in name}
        self._write(values, net.n_steps)
        self._writer.flush()

    def on_train_end(self, net, **kwargs):
        if self._writer is not None:
            self._writer.close()

    def _write(self, values, step):
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
