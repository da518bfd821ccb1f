"""One fit: from rows as numbers to a trained network."""

from __future__ import annotations

import math

import torch
from skorch.callbacks import LRScheduler
from torch.optim.lr_scheduler import LambdaLR

from mtbert.batching import rows_of_batch
from mtbert.callbacks import (
    EarlyStopping,
    GradientClipping,
    LearningRateCourse,
    Progress,
    TensorBoardLog,
)
from mtbert.distributed import SingleProcess
from mtbert.modules import layerwise_parameter_groups
from mtbert.net import EpochBatches, MaskedLoss, TrainingNet, training_precision
from mtbert.targets import Targets
from mtbert.training_state import plain_history
from mtbert.validation import ValidationMetric

#: The learning rate of BERT for a step of so many rows.
ENCODER_RATE, ROWS_OF_ENCODER_RATE = 1e-4, 32


def encoder_rate(encoder_learning_rate, rows_of_step) -> float:
    """Return the learning rate of BERT.

    Parameters
    ----------
    encoder_learning_rate : float or "auto"
        "auto" grows with the root of the rows of a step, as suits optimizers like Adam [1]_.
    rows_of_step : int

    References
    ----------
    .. [1] Malladi, Lyu, Panigrahi and Arora, "On the SDEs and Scaling Rules for Adaptive Gradient
       Algorithms", NeurIPS 2022.
    """
    if encoder_learning_rate != "auto":
        return encoder_learning_rate
    return ENCODER_RATE * math.sqrt(rows_of_step / ROWS_OF_ENCODER_RATE)


class Training:
    """Trains a network in place.

    Parameters
    ----------
    estimator : MultimodalTextTabularClassifier
        Its parameters say how.
    network : Module
    targets : Targets
    device : torch.device
    seed : int
        Of the batches and of dropout.
    processes : SingleProcess, default=None
        Those that train together; None: this one alone.
    checkpoint : mtbert.checkpoint.Checkpoint, default=None
    log_dir : str or path-like, default=None
        For TensorBoard.

    Attributes
    ----------
    history_ : list of dict
        For each epoch its number, train_loss and, with validation rows, the metric.
    best_epoch_ : int
        Counted from 1; the last without early stopping.
    """

    def __init__(
        self,
        estimator,
        network,
        targets: Targets,
        device,
        seed,
        processes=None,
        checkpoint=None,
        log_dir=None,
    ):
        self.estimator = estimator
        self.network = network
        self.targets = targets
        self.device = device
        self.seed = seed
        self.processes = SingleProcess() if processes is None else processes
        self.checkpoint = checkpoint
        self.log_dir = log_dir
        self.metric = ValidationMetric(estimator.eval_metric, targets.is_multiclass_)

    def run(self, rows, validation=None) -> Training:
        """Train on rows with labels and weights.

        Parameters
        ----------
        rows : Rows
        validation : Rows or None

        Raises
        ------
        FloatingPointError
            If the loss, its gradient or a weight is not finite.
        MemoryError
            If there is not memory enough for one row.
        ValueError
            If the metric has no value on the validation rows.
        """
        if validation is not None:
            self.metric.check_defined(validation.labels, self.targets.n_outputs_)
        batches = EpochBatches(
            rows,
            rows_of_batch(self.estimator.batch_size, len(rows) // self.processes.n_processes),
            self.estimator.accumulate,
            self.seed,
            self.processes,
        )
        net = self._net(batches, validation)
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):  # dropout must not touch the user's generator
            torch.manual_seed(self.processes.dropout_seed(self.seed))
            self._train(net, validation)
        self.processes.unwrap(net.module_, self.network)
        self.history_ = plain_history(net)
        stopping = dict(net.callbacks_).get("early_stopping")
        self.best_epoch_ = len(self.history_) if stopping is None else stopping.best_epoch_
        return self

    def _train(self, net, validation):
        try:
            net.train(validation)
        except FloatingPointError as error:
            if self.checkpoint is None:
                raise
            raise FloatingPointError(f"{error}{self.checkpoint.describe()}") from error

    def _net(self, batches, validation):
        estimator = self.estimator
        module = self.processes.wrap(self.network)
        groups = layerwise_parameter_groups(
            self.processes.plain(module),
            learning_rate=estimator.learning_rate,
            encoder_learning_rate=encoder_rate(
                estimator.encoder_learning_rate, batches.rows_of_step
            ),
            layer_decay=estimator.layer_decay,
            weight_decay=estimator.weight_decay,
        )
        return TrainingNet(
            module,
            MaskedLoss,
            criterion__is_multiclass=self.targets.is_multiclass_,
            parameter_groups=groups,
            batches=batches,
            metric=self.metric,
            precision=training_precision(estimator.precision, self.network, self.device),
            processes=self.processes,
            max_epochs=estimator.epochs,
            device=self.device,
            callbacks=self._callbacks(estimator.epochs * len(batches), validation is not None),
            verbose=0,
        )

    def _callbacks(self, n_steps, has_validation):
        estimator = self.estimator
        course = LearningRateCourse(n_steps, estimator.warmup_share, estimator.schedule)
        scheduler = LRScheduler(LambdaLR, lr_lambda=course, step_every="batch")
        callbacks = [
            ("clipping", GradientClipping(estimator.gradient_clip)),
            ("scheduler", scheduler),
        ]
        key = f"valid_{self.metric.name}"
        if estimator.early_stopping_patience is not None:
            patience = estimator.early_stopping_patience
            callbacks.append(("early_stopping", EarlyStopping(patience, key, self.metric.sign)))
        if estimator.verbose > 0 and self.processes.is_writer:
            shown = ["train_loss", key] if has_validation else ["train_loss"]
            callbacks.append(("progress", Progress(n_steps, shown)))
        if self.log_dir is not None and self.processes.is_writer:
            callbacks.append(("log", TensorBoardLog(self.log_dir)))
        if self.checkpoint is not None:
            callbacks.append(("checkpoint", self.checkpoint))
        return callbacks
