"""A training in a file, and the fit to which it belongs: what all checkpoints have in common.

The file is one as `mtgbm.io.container` describes it: replaced in one step, under checksums, without
pickle. Beside the state of the training, whose arrays are its arrays, the header says:

    "model": "TrainingState"    the kind of checkpoint
    "checkpoint_format": 1
    "state": {...}              of the training
    "parameters": {...}         of the estimator, as far as the model depends on them
    "fingerprint": {...}        checksums of the data
    "start": null               the checksum of the model with which a warm start began

To change the form: raise `format` and read the older one too, or let it be refused with a reason: a
checkpoint need not outlive its training.
"""

import os
from pathlib import Path
from reprlib import repr as short

from mtgbm.io.container import read_file
from mtgbm.io.container_writer import remove_leftovers, temporary_name, write_file
from mtgbm.io.header_fields import field, integer
from mtgbm.model_state import installed_version

ADVICE = "Delete the file to start anew, or give another checkpoint_path."


class CheckpointFile:
    """Reads the training from a file, if it is of a fit like this one, and writes it.

    Parameters
    ----------
    path : Path
    identity : dict
        ``parameters`` and ``start``: what tells this fit from others, beside its data.
    seed : int

    Attributes
    ----------
    seed : int
        That of the first start, once `resume` has read it.
    resumed : object or None
        The state of the training to go on from.
    kind, format, model_noun : str, int, str
        Class attributes: what the file is, and how errors name the model in it.
    """

    kind: str
    format: int
    model_noun: str

    def __init__(self, path, identity, seed):
        self.path = path
        self.identity = identity
        self.seed = seed
        self.resumed = None
        self._fingerprint = None

    # For the kinds of checkpoints ---------------------------------------------------------------

    def read_state(self, state, arrays):
        """Return the state of the training, which has a `seed`.

        Parameters
        ----------
        state : dict
            What ``to_dict()`` of the state gave.
        arrays : dict of ndarray
            What its ``arrays()`` gave.
        """
        raise NotImplementedError

    def model_checksum(self, state):
        """Return the checksum, as in ``start``, of the model that the fit keeps."""
        raise NotImplementedError

    def check_parameters(self, old, state):
        """Raise ValueError, with the changes, unless the fit may go on with its own parameters.

        Parameters
        ----------
        old : dict
            Those of the file.
        state : object
        """
        raise NotImplementedError

    # Reading ------------------------------------------------------------------------------------

    def resume(self):
        """Read the file, and go on from it if it is of a fit like this one.

        The file of a finished fit whose model a warm start now goes on from is done with.

        Returns
        -------
        state : object
            What was read, whether or not it is to be gone on from.
        """
        try:
            state, found = self._read()
            if self._begins_where_it_ended(state, found["start"]):
                return state
            self._check_start(found["start"])
            self.check_parameters(found["parameters"], state)
        except RecursionError:
            raise self.error("it is nested too deeply.") from None
        except ValueError as error:
            raise self.error(error) from None
        self.resumed, self.seed = state, state.seed
        self._fingerprint = found["fingerprint"]
        return state

    def error(self, reason) -> ValueError:
        """Return the error for a file from which this fit cannot go on."""
        return ValueError(f"cannot go on from the checkpoint {self.path}: {reason} {ADVICE}")

    def _read(self):
        """The state in the file, and the header that says to which fit it belongs."""
        header, arrays = read_file(self.path)
        kind = field(header, "model", str)
        if kind != self.kind:
            raise ValueError(
                f"expected a checkpoint of a {self.model_noun}'s training, found a {short(kind)}."
            )
        if field(header, "checkpoint_format", int) > self.format:
            raise ValueError(
                f"it was written by {field(header, 'written_by', str)} in checkpoint format "
                f"{header['checkpoint_format']}; mtgbm {installed_version()} reads formats up to "
                f"{self.format}. Upgrade mtgbm to go on from it."
            )
        integer(header, "checkpoint_format", 1, self.format)
        field(header, "start", str, type(None))
        for name in ("parameters", "fingerprint"):
            field(header, name, dict)
        return self.read_state(field(header, "state", dict), arrays), header

    def _begins_where_it_ended(self, state, start):
        """Whether this fit begins from the model that the other one made."""
        own = self.identity["start"]
        return own not in (None, start) and self.model_checksum(state) == own

    def _check_start(self, found):
        own, noun = self.identity["start"], self.model_noun
        if found != own:
            kinds = [
                f"a new {noun}" if start is None else f"a {noun} with the checksum {start[:8]}"
                for start in (found, own)
            ]
            raise ValueError(
                f"its fit began from {kinds[0]}, this one begins from {kinds[1]} (warm_start)."
            )

    def check_data(self, own):
        """Note the checksums of the data; those of the file must be the same.

        Parameters
        ----------
        own : dict of str

        Raises
        ------
        ValueError
            If the file is of a fit with other data.
        """
        old = self._fingerprint
        if self.resumed is not None and own != old:
            differ = sorted(name for name in own | old if own.get(name) != old.get(name))
            raise self.error(
                f"its fit had other data; different are the {', the '.join(differ)}. Every fit "
                "needs a file of its own, so a search over parameters or cross-validation, which "
                "fits several times, needs checkpoint_path=None."
            )
        self._fingerprint = own

    # Writing ------------------------------------------------------------------------------------

    def write(self, state):
        """Replace the file.

        Parameters
        ----------
        state : object with ``to_dict()`` and ``arrays()``
        """
        header = {
            "model": self.kind,
            "checkpoint_format": self.format,
            "state": state.to_dict(),
            **self.identity,
            "fingerprint": self._fingerprint,
        }
        write_file(self.path, header, state.arrays())


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


def describe_changes(old, new):
    """Return the names of parameters that differ, and a text of how."""
    differ = [name for name in new if old[name] != new[name]]
    return differ, "; ".join(f"{name} was {old[name]!r} and is {new[name]!r}" for name in differ)
