"""Checkpoints: the training in a file every few rounds, so that an interrupted fit can go on.

A checkpoint is a file as `mtgbm.io.container` describes it. Beside the `TrainingState` it says to
which fit it belongs:

    "model": "TrainingState"
    "checkpoint_format": 1
    "state": {...}              see TrainingState.to_dict
    "parameters": {...}         of the estimator, as far as the model depends on them
    "fingerprint": {...}        checksums of the data
    "start": null               the checksum of the forest from which a warm start went on

To change the form: raise `CHECKPOINT_FORMAT` and teach `_read` the older one, or let it refuse that
with a reason: a checkpoint need not outlive its training.
"""

import os
from inspect import signature
from pathlib import Path
from reprlib import repr as short

from mtgbm.callbacks import Callback
from mtgbm.fingerprint import comparable, forest_fingerprint
from mtgbm.io.container import read_file
from mtgbm.io.container_writer import remove_leftovers, temporary_name, write_file
from mtgbm.io.header_fields import corrupt, field, integer
from mtgbm.model_state import installed_version
from mtgbm.training_state import TrainingState

CHECKPOINT_FORMAT = 1
KIND = "TrainingState"
#: Parameters on which the trees do not depend; `start` says what became of a warm start.
FREE_PARAMETERS = ("n_jobs", "verbose", "warm_start", "checkpoint_path", "checkpoint_interval")
ADVICE = "Delete the file to start anew, or give another checkpoint_path."


def open_checkpoint(estimator, seed):
    """The checkpoint of a fit that is about to begin, or to go on.

    Parameters
    ----------
    estimator : MultiTaskLGBMClassifier
    seed : int
        For the random numbers of the fit if it begins.

    Returns
    -------
    Checkpoint or None
        None if the estimator has no `checkpoint_path`.

    Raises
    ------
    TypeError
        If `checkpoint_path` is no path, or a parameter cannot be compared.
    ValueError
        If nothing can be written there, or the file there cannot be read or is that of another fit;
        the file is left as it is.
    """
    if estimator.checkpoint_path is None:
        return None
    path = prepare_path(estimator.checkpoint_path)
    identity = {
        "parameters": _parameters(estimator),
        "start": forest_fingerprint(estimator.forest_) if _goes_on(estimator) else None,
    }
    checkpoint = Checkpoint(path, estimator.checkpoint_interval, identity, seed)
    if path.exists():
        checkpoint.resume(estimator)
    return checkpoint


def _goes_on(estimator):
    return estimator.warm_start and hasattr(estimator, "forest_")


def _parameters(estimator):
    return {
        name: comparable(value, name)
        for name, value in estimator.get_params(deep=False).items()
        if name not in FREE_PARAMETERS
    }


def prepare_path(path):
    """The path of the file itself, in a folder that can be written and has no leftovers.

    Parameters
    ----------
    path : str or path-like
        A symbolic link is followed.

    Raises
    ------
    TypeError
        If it is no path.
    ValueError
        If it is a folder, or nothing can be written there.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"checkpoint_path must be a path or None, got {path!r}.")
    path = Path(os.path.realpath(path))
    if path.is_dir():
        raise ValueError(f"checkpoint_path must name a file, got the folder {path}.")
    probe = temporary_name(path)
    try:
        probe.touch(exist_ok=False)
        remove_leftovers(path)
    except OSError as error:
        raise ValueError(
            f"checkpoint_path={str(path)!r} cannot be written ({error.strerror}); give a file in a "
            "folder that exists and may be written to."
        ) from error
    return path


class Checkpoint(Callback):
    """Writes the training to a file. Comes last in the list of callbacks, to see if it ended.

    Parameters
    ----------
    path : Path
    interval : int
        Write after every so many rounds, and at the end.
    identity : dict
        ``parameters`` and ``start``: what tells this fit from others, beside its data.
    seed : int

    Attributes
    ----------
    seed : int
        That of the first start, once `resume` has read it.
    resumed : TrainingState or None
        What to go on from.
    capture : callable
        ``capture(round) -> TrainingState``; to be set before the first round.
    """

    def __init__(self, path, interval, identity, seed):
        self.path = path
        self.interval = interval
        self.identity = identity
        self.seed = seed
        self.resumed = None
        self.capture = None
        self._fingerprint = None
        self._written = None

    # Reading ------------------------------------------------------------------------------------

    def resume(self, estimator):
        """Read the file, and go on from it if it is of a fit like this one.

        The file of a finished fit whose model a warm start now goes on from is done with.
        """
        try:
            state, found = _read(self.path, estimator.n_jobs)
            if self._continues(state, found["start"]):
                self._written = len(state.kept_forest().trees), False
                return
            self._check_start(found["start"])
            _check_parameters(found["parameters"], self.identity["parameters"], type(estimator))
        except RecursionError:
            raise self._error("it is nested too deeply.") from None
        except ValueError as error:
            raise self._error(error) from None
        self.resumed, self.seed = state, state.seed
        self._fingerprint = found["fingerprint"]
        self._written = len(state.forest.trees), state.ended

    def _error(self, reason):
        return ValueError(f"cannot go on from the checkpoint {self.path}: {reason} {ADVICE}")

    def _continues(self, state, start):
        """Whether this fit begins from the model that the other one made."""
        own = self.identity["start"]
        return own not in (None, start) and forest_fingerprint(state.kept_forest()) == own

    def _check_start(self, found):
        if found != self.identity["start"]:
            kinds = [
                "a new model" if start is None else f"a model with the checksum {start[:8]}"
                for start in (found, self.identity["start"])
            ]
            raise ValueError(
                f"its fit began from {kinds[0]}, this one begins from {kinds[1]} (warm_start)."
            )

    def check_data(self, own):
        """Note the checksums of the data; those of the file must be the same.

        Parameters
        ----------
        own : dict of str
            See `mtgbm.fingerprint.data_fingerprint`.

        Raises
        ------
        ValueError
            If the file is of a fit with other data.
        """
        if self.resumed is not None and own != self._fingerprint:
            old = self._fingerprint
            differ = sorted(name for name in own | old if own.get(name) != old.get(name))
            raise self._error(
                f"its fit had other data; different are the {', the '.join(differ)}. Every fit "
                "needs a file of its own, so a search over parameters or cross-validation, which "
                "fits several times, needs checkpoint_path=None."
            )
        self._fingerprint = own

    # Writing ------------------------------------------------------------------------------------

    def on_round_end(self, round):
        """Write if it is time; the end of the training has its own turn."""
        if not round.ended and (round.number + 1) % self.interval == 0:
            self._write(round)
        return False

    def on_train_end(self, round):
        """Write what was done since the last time."""
        if self._written != (len(round.forest.trees), round.ended):
            self._write(round)

    def _write(self, round):
        state = self.capture(round)
        header = {
            "model": KIND,
            "checkpoint_format": CHECKPOINT_FORMAT,
            "state": state.to_dict(),
            **self.identity,
            "fingerprint": self._fingerprint,
        }
        write_file(self.path, header, state.arrays())
        self._written = len(round.forest.trees), round.ended


def _read(path, n_jobs):
    """The state in a file, and the header that says to which fit it belongs."""
    header, arrays = read_file(path)
    kind = field(header, "model", str)
    if kind != KIND:
        raise ValueError(f"expected a checkpoint, found a saved {short(kind)}.")
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
    return TrainingState.from_dict(field(header, "state", dict), arrays, n_jobs), header


def _check_parameters(old, new, cls):
    """Refuse parameters with which the rounds in the file would have been others."""
    unknown = sorted(old.keys() - new.keys())
    if unknown:
        raise ValueError(f"its fit had the parameters {unknown}, which this mtgbm does not have.")
    defaults = signature(cls).parameters
    old = {name: comparable(defaults[name].default, name) for name in new} | old
    rounds = old["n_estimators"]
    if type(rounds) is not int:
        raise corrupt(f"expected a number of rounds, found {short(rounds)}")
    differ = [name for name in new if old[name] != new[name] and name != "n_estimators"]
    if new["n_estimators"] < rounds:
        differ.append("n_estimators")
    if differ:
        changes = "; ".join(f"{name} was {old[name]!r} and is {new[name]!r}" for name in differ)
        raise ValueError(f"its fit had other parameters: {changes}. To go on, use the old ones.")
