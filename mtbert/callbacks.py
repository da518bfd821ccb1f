"""What happens around the epochs: early stopping, the learning rate's course, progress.

All are callbacks of skorch and see the :class:`mtbert.net.TrainingNet`.
"""

from __future__ import annotations

import math
import sys

from skorch.callbacks import Callback

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
            state = net.module_.state_dict().items()
            self._weights = {name: tensor.detach().clone() for name, tensor in state}
        net.is_finished = epoch - self.best_epoch_ >= self.patience

    def on_train_end(self, net, **kwargs):
        if self._weights is not None:
            net.module_.load_state_dict(self._weights)
        self._weights = None


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
