"""Checkpoints: the training in a file every few rounds, so that an interrupted fit can go on."""

from inspect import signature
from reprlib import repr as short

from mtgbm.callbacks import Callback
from mtgbm.checkpoint_file import CheckpointFile, describe_changes, prepare_path
from mtgbm.fingerprint import comparable, forest_fingerprint
from mtgbm.io.header_fields import corrupt
from mtgbm.training_state import TrainingState

#: Parameters on which the trees do not depend; `start` says what became of a warm start.
FREE_PARAMETERS = ("n_jobs", "verbose", "warm_start", "checkpoint_path", "checkpoint_interval")


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
    checkpoint = Checkpoint(
        path, estimator.checkpoint_interval, identity, seed, type(estimator), estimator.n_jobs
    )
    if path.exists():
        checkpoint.resume()
    return checkpoint


def _goes_on(estimator):
    return estimator.warm_start and hasattr(estimator, "forest_")


def _parameters(estimator):
    return {
        name: comparable(value, name)
        for name, value in estimator.get_params(deep=False).items()
        if name not in FREE_PARAMETERS
    }


class Checkpoint(CheckpointFile, Callback):
    """Writes the training to a file. Comes last in the list of callbacks, to see if it ended.

    Parameters
    ----------
    path : Path
    interval : int
        Write after every so many rounds, and at the end.
    identity, seed :
        As of `CheckpointFile`.
    cls : type
        The estimator's class: its defaults stand for parameters that the file does not know.
    n_jobs : int or None
        For the forest that is read.

    Attributes
    ----------
    capture : callable
        ``capture(round) -> TrainingState``; to be set before the first round.
    """

    kind = "TrainingState"
    format = 1
    model_noun = "model"

    def __init__(self, path, interval, identity, seed, cls, n_jobs):
        super().__init__(path, identity, seed)
        self.interval = interval
        self.cls = cls
        self.n_jobs = n_jobs
        self.capture = None
        self._written = None

    def resume(self):
        """Read the file, and go on from it if it is of a fit like this one."""
        state = super().resume()
        if self.resumed is None:
            self._written = len(state.kept_forest().trees), False
        else:
            self._written = len(state.forest.trees), state.ended
        return state

    def read_state(self, state, arrays):
        """Return the TrainingState."""
        return TrainingState.from_dict(state, arrays, self.n_jobs)

    def model_checksum(self, state):
        """Return the checksum of the forest up to its best round."""
        return forest_fingerprint(state.kept_forest())

    def check_parameters(self, old, state):
        """Refuse parameters with which the rounds in the file would have been others."""
        new = self.identity["parameters"]
        unknown = sorted(old.keys() - new.keys())
        if unknown:
            raise ValueError(
                f"its fit had the parameters {unknown}, which this mtgbm does not have."
            )
        defaults = signature(self.cls).parameters
        old = {name: comparable(defaults[name].default, name) for name in new} | old
        rounds = old["n_estimators"]
        if type(rounds) is not int:
            raise corrupt(f"expected a number of rounds, found {short(rounds)}")
        if new["n_estimators"] >= rounds:
            old = old | {"n_estimators": new["n_estimators"]}
        differ, changes = describe_changes(old, new)
        if differ:
            raise ValueError(
                f"its fit had other parameters: {changes}. To go on, use the old ones."
            )

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
        self.write(self.capture(round))
        self._written = len(round.forest.trees), round.ended
