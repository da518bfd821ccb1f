"""Checkpoints: a training in a file every few steps, so that an interrupted fit can go on."""

from __future__ import annotations

import warnings

from skorch.callbacks import Callback

from mtbert.fingerprint import comparable_parameters, weights_fingerprint
from mtbert.training_state import TrainingState
from mtgbm.checkpoint_file import CheckpointFile, describe_changes, prepare_path
from mtgbm.model_state import installed_version

#: Parameters on which the network does not depend; `start` says what became of a warm start.
FREE_PARAMETERS = (
    "checkpoint_path",
    "checkpoint_interval",
    "device",
    "distributed",
    "encoder_cache",
    "log_dir",
    "verbose",
    "warm_start",
)
#: What may be changed to go on with a training that is not finished, as after a loss of NaN.
STEERING_PARAMETERS = ("encoder_learning_rate", "gradient_clip", "learning_rate", "precision")


def open_checkpoint(estimator, seed, start, processes):
    """The checkpoint of a fit that is about to begin, or to go on.

    Parameters
    ----------
    estimator : MultimodalTextTabularClassifier
    seed : int
        For the random numbers of the fit if it begins.
    start : {"anew", "again", "further"}
        Whether the fit begins with a new network, or goes on with the one of the estimator.
    processes : SingleProcess
        Those that train together.

    Returns
    -------
    Checkpoint or None
        None without `checkpoint_path`, and if `partial_fit` goes "further": it has none.

    Raises
    ------
    TypeError
        If `checkpoint_path` is no path, or a parameter cannot be compared.
    ValueError
        If nothing can be written there, or the file there cannot be read or is that of another fit;
        the file is left as it is.
    """
    if estimator.checkpoint_path is None or start == "further":
        return None
    path = prepare_path(estimator.checkpoint_path)
    began_with = None if start == "anew" else weights_fingerprint(estimator.network_.state_dict())
    parameters = comparable_parameters(estimator, FREE_PARAMETERS)
    parameters["number of processes"] = processes.n_processes
    identity = {"parameters": parameters, "start": began_with}
    checkpoint = Checkpoint(path, estimator.checkpoint_interval, identity, seed)
    if processes.broadcast(path.exists()):
        checkpoint.resume()
    return checkpoint


class Checkpoint(CheckpointFile, Callback):
    """Writes the training to a file. Comes last in the list of callbacks, to see what they did.

    Parameters
    ----------
    path : Path
    interval : int
        Write after every so many steps, and after every epoch.
    identity, seed :
        As of `CheckpointFile`.

    Attributes
    ----------
    n_steps_written : int or None
        Steps of the training in the file, None as long as there is no file of this fit.
    """

    kind = "NetworkTraining"
    format = 1
    model_noun = "network"

    def __init__(self, path, interval, identity, seed):
        super().__init__(path, identity, seed)
        self.interval = interval
        self.n_steps_written = None

    def resume(self):
        """Read the file, and go on from it if it is of a fit like this one."""
        state = super().resume()
        if self.resumed is not None:
            self.n_steps_written = state.n_steps
        return state

    def read_state(self, state, arrays):
        """Return the TrainingState."""
        return TrainingState.from_dict(state, arrays)

    def model_checksum(self, state):
        """Return the checksum of the weights of the best epoch."""
        return state.kept_fingerprint()

    def check_parameters(self, old, state):
        """Refuse other parameters, except for those with which an unfinished fit may go on."""
        new = self.identity["parameters"]
        if old.keys() != new.keys():
            raise ValueError(
                f"its fit had the parameters {sorted(old)}, those of this mtgbm "
                f"{installed_version()} are {sorted(new)}."
            )
        differ, changes = describe_changes(old, new)
        if state.is_finished and differ:
            raise ValueError(f"its fit is finished and had other parameters: {changes}.")
        if not set(differ) <= set(STEERING_PARAMETERS):
            raise ValueError(
                f"its fit had other parameters: {changes}. To go on, use the old ones; only "
                f"{', '.join(STEERING_PARAMETERS)} may be changed on the way."
            )
        if changes:
            warnings.warn(
                f"going on from the checkpoint {self.path} of step {state.n_steps} with other "
                f"parameters: {changes}. What was learned by then is of the old ones.",
                stacklevel=6,
            )

    def on_train_begin(self, net, **kwargs):
        """Bring the net to where the file says it was."""
        if self.resumed is not None:
            try:
                self.resumed.restore(net)
            except ValueError as error:
                raise self.error(error) from None
        self.resumed = None  # its tensors take three times the memory of the network

    def on_batch_end(self, net, **kwargs):
        """Write if it is time."""
        if net.n_steps % self.interval == 0:
            self._write(net, len(net.history) - 1)

    def on_epoch_end(self, net, **kwargs):
        """Write, so that no validation has to be done again."""
        self._write(net, len(net.history))

    def _write(self, net, n_epochs):
        state = TrainingState.capture(net, self.seed, n_epochs)
        _check_finite(net, state)
        if net.processes.is_writer:
            self.write(state)
        self.n_steps_written = net.n_steps

    def describe(self) -> str:
        """One sentence on how to go on after an error, empty if there is nothing to go on from."""
        if self.n_steps_written is None:
            return ""
        return (
            f" The last good checkpoint, of step {self.n_steps_written}, is {self.path}: the same "
            "fit with one of these changes goes on from there."
        )


def _check_finite(net, state):
    """Raise rather than write what cannot be gone on from."""
    name = state.find_not_finite()
    if name is not None:
        raise net.not_finite(f"weight {name}, or its mean in the optimizer,", "infinite or NaN")
