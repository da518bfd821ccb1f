"""Checkpoints: a training in a file every few steps, so that an interrupted fit can go on.

A checkpoint is a file as `mtgbm.io.container` describes it: replaced in one step, under checksums,
without pickle. Beside the `TrainingState`, whose tensors are its arrays, it says to which fit it
belongs:

    "model": "NetworkTraining"
    "checkpoint_format": 1
    "state": {...}              see TrainingState.to_dict
    "parameters": {...}         of the estimator, as far as the network depends on them
    "fingerprint": {...}        checksums of the data
    "start": null               the checksum of the network with which a warm start began

To change the form: raise `CHECKPOINT_FORMAT`; a checkpoint need not outlive its training, so the
older form may be refused.
"""

from __future__ import annotations

import warnings

from skorch.callbacks import Callback

from mtbert.fingerprint import comparable_parameters, weights_fingerprint
from mtbert.training_state import TrainingState
from mtgbm.checkpoint import ADVICE, prepare_path
from mtgbm.io.container import read_file
from mtgbm.io.container_writer import write_file
from mtgbm.io.header_fields import field, integer
from mtgbm.model_state import installed_version

CHECKPOINT_FORMAT = 1
KIND = "NetworkTraining"
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


class Checkpoint(Callback):
    """Writes the training to a file. Comes last in the list of callbacks, to see what they did.

    Parameters
    ----------
    path : Path
    interval : int
        Write after every so many steps, and after every epoch.
    identity : dict
        ``parameters`` and ``start``: what tells this fit from others, beside its data.
    seed : int

    Attributes
    ----------
    seed : int
        That of the first start, once `resume` has read it.
    resumed : TrainingState or None
        What to go on from.
    n_steps_written : int or None
        Steps of the training in the file, None as long as there is no file of this fit.
    """

    def __init__(self, path, interval, identity, seed):
        self.path = path
        self.interval = interval
        self.identity = identity
        self.seed = seed
        self.resumed = None
        self.n_steps_written = None
        self._fingerprint = None

    # Reading ------------------------------------------------------------------------------------

    def resume(self):
        """Read the file, and go on from it if it is of a fit like this one.

        The file of a finished fit whose network a warm start now goes on with is done with.
        """
        try:
            state, found = _read(self.path)
            if self._begins_where_it_ended(state, found["start"]):
                return
            self._check_start(found["start"])
            changes = self._check_parameters(found["parameters"], state.is_finished)
        except RecursionError:
            raise self._error("it is nested too deeply.") from None
        except ValueError as error:
            raise self._error(error) from None
        if changes:
            warnings.warn(
                f"going on from the checkpoint {self.path} of step {state.n_steps} with other "
                f"parameters: {changes}. What was learned by then is of the old ones.",
                stacklevel=5,
            )
        self.resumed, self.seed = state, state.seed
        self._fingerprint = found["fingerprint"]
        self.n_steps_written = state.n_steps

    def _error(self, reason):
        return ValueError(f"cannot go on from the checkpoint {self.path}: {reason} {ADVICE}")

    def _begins_where_it_ended(self, state, start):
        own = self.identity["start"]
        return own not in (None, start) and state.kept_fingerprint() == own

    def _check_start(self, found):
        own = self.identity["start"]
        if found != own:
            kinds = [
                "a new network" if start is None else f"a network with the checksum {start[:8]}"
                for start in (found, own)
            ]
            raise ValueError(
                f"its fit began with {kinds[0]}, this one begins with {kinds[1]} (warm_start)."
            )

    def _check_parameters(self, old, is_finished):
        """Refuse other parameters, except for those with which an unfinished fit may go on.

        Returns
        -------
        str
            What is to be changed on the way.
        """
        new = self.identity["parameters"]
        if old.keys() != new.keys():
            raise ValueError(
                f"its fit had the parameters {sorted(old)}, those of this mtgbm "
                f"{installed_version()} are {sorted(new)}."
            )
        differ = [name for name in new if old[name] != new[name]]
        changes = "; ".join(f"{name} was {old[name]!r} and is {new[name]!r}" for name in differ)
        if is_finished and differ:
            raise ValueError(f"its fit is finished and had other parameters: {changes}.")
        if not set(differ) <= set(STEERING_PARAMETERS):
            raise ValueError(
                f"its fit had other parameters: {changes}. To go on, use the old ones; only "
                f"{', '.join(STEERING_PARAMETERS)} may be changed on the way."
            )
        return changes

    def check_data(self, own):
        """Note the checksums of the data; those of the file must be the same.

        Parameters
        ----------
        own : dict of str
            See `mtbert.fingerprint.data_fingerprint`.

        Raises
        ------
        ValueError
            If the file is of a fit with other data.
        """
        old = self._fingerprint
        if self.resumed is not None and own != old:
            differ = sorted(name for name in own | old if own.get(name) != old.get(name))
            raise self._error(
                f"its fit had other data; different are the {', the '.join(differ)}. Every fit "
                "needs a file of its own, so a search over parameters or cross-validation, which "
                "fits several times, needs checkpoint_path=None."
            )
        self._fingerprint = own

    def on_train_begin(self, net, **kwargs):
        """Bring the net to where the file says it was."""
        if self.resumed is not None:
            try:
                self.resumed.restore(net)
            except ValueError as error:
                raise self._error(error) from None
        self.resumed = None  # its tensors take three times the memory of the network

    # Writing ------------------------------------------------------------------------------------

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
            header = {
                "model": KIND,
                "checkpoint_format": CHECKPOINT_FORMAT,
                "state": state.to_dict(),
                **self.identity,
                "fingerprint": self._fingerprint,
            }
            write_file(self.path, header, state.arrays())
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


def _read(path):
    """The state in a file, and the header that says to which fit it belongs."""
    header, arrays = read_file(path)
    kind = field(header, "model", str)
    if kind != KIND:
        raise ValueError(f"expected a checkpoint of a network's training, found a {kind}.")
    if field(header, "checkpoint_format", int) > CHECKPOINT_FORMAT:
        raise ValueError(
            f"it was written by {field(header, 'written_by', str)} in checkpoint format "
            f"{header['checkpoint_format']}; mtgbm {installed_version()} reads formats up to "
            f"{CHECKPOINT_FORMAT}. Upgrade mtgbm to go on from it."
        )
    integer(header, "checkpoint_format", 1, CHECKPOINT_FORMAT)
    field(header, "start", str, type(None))
    for name in ("parameters", "fingerprint"):
        field(header, name, dict)
    return TrainingState.from_dict(field(header, "state", dict), arrays), header
