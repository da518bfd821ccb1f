"""Kill training processes at random moments; what they go on to must be the uninterrupted model.

    python scripts/kill_and_resume.py --trials 100

Each trial trains with a checkpoint after every round in a process of its own, which gets SIGKILL at
a moment drawn uniformly over the time that a training takes. The next process goes on from the
file, and may be killed likewise, until one finishes in time. Its model must equal the uninterrupted
one bit for bit.
"""

import argparse
import hashlib
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from mtgbm import MultiTaskLGBMClassifier
from mtgbm.io.container import read_file
from mtgbm.io.model_arrays import forest_to_arrays

#: What the rounds of the trials depend on, in turn.
OPTIONS = [
    {},
    {"subsample": 0.6, "subsample_freq": 3, "colsample_bytree": 0.5},
    {"use_quantized_grad": False, "sketch_outputs": 2},
    {"early_stopping_rounds": 10, "best_round_per_task": True},
    {"weighting": "focus", "sketch_outputs": 2},
]
BUSY_SECONDS = 120


def make_data():
    """A table of three tasks: X (600, 5) and Y (600, 3)."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 5))
    Y = (X[:, :3] + X[:, 1:4] + rng.normal(size=(600, 3)) > 0).astype(float)
    Y[rng.random(Y.shape) < 0.2] = np.nan
    return X, Y


def train(options, rounds, checkpoint, result):
    """Fit, and leave the checksum of the model in the file `result`."""
    model = MultiTaskLGBMClassifier(
        n_estimators=rounds,
        num_leaves=8,
        n_jobs=1,
        random_state=1,
        checkpoint_path=checkpoint,
        checkpoint_interval=1,
        **options,
    ).fit(*make_data())
    Path(result).write_text(describe(model))


def describe(model):
    """The checksum of everything that training leaves."""
    total = hashlib.sha256()
    for array in forest_to_arrays(model.forest_).values():
        total.update(array.tobytes())
    total.update(model.weight_evolution_.tobytes())
    total.update(repr((model.evals_result_, model.best_iteration_per_task_)).encode())
    return total.hexdigest()


def rounds_in(checkpoint):
    """Rounds in a checkpoint, 0 without one."""
    return read_file(checkpoint)[0]["state"]["iteration"] if checkpoint.exists() else 0


class Trials:
    """Starts training processes and kills them.

    Parameters
    ----------
    folder : Path
    rounds : int
        Of each training.
    rng : numpy.random.Generator
        For the moments.

    Attributes
    ----------
    modules : tuple of str
        What is imported once for all processes.
    unit : str
        Of what a checkpoint counts.
    train : callable
        ``train(options, rounds, checkpoint, result)``, the work of a process.
    count : callable
        ``count(checkpoint)`` says how far the training in a file is, 0 without one.
    """

    modules = ("mtgbm",)
    unit = "round"
    train = staticmethod(train)
    count = staticmethod(rounds_in)

    def __init__(self, folder, rounds, rng):
        self.folder = folder
        self.rounds = rounds
        self.rng = rng
        # A server that has imported everything, and has not run a parallel loop, forks each.
        self.processes = multiprocessing.get_context("forkserver")
        self.processes.set_forkserver_preload(list(self.modules))
        self.resumed_from = Counter()
        self.kills = self.kills_in_a_write = 0

    def expect(self, options):
        """The checksum without interruption, and the seconds of a training with checkpoints."""
        self._finish(options, None)
        expected = self._result()
        started = time.perf_counter()
        self._finish(options, self.folder / "whole.checkpoint")
        seconds = time.perf_counter() - started
        if self._result() != expected:
            raise RuntimeError(f"checkpoints alone change the model: {options}")
        (self.folder / "whole.checkpoint").unlink()
        return expected, seconds

    def _start(self, options, checkpoint):
        (self.folder / "result").unlink(missing_ok=True)
        arguments = (options, self.rounds, checkpoint, self.folder / "result")
        process = self.processes.Process(target=self.train, args=arguments)
        process.start()
        return process

    def _finish(self, options, checkpoint):
        process = self._start(options, checkpoint)
        process.join(BUSY_SECONDS)
        if process.exitcode != 0:
            raise RuntimeError(f"a training ended with {process.exitcode}: {options}")

    def _result(self):
        return (self.folder / "result").read_text()

    def run(self, number, options, seconds):
        """One trial, with one kill at least; returns the checksum of the model."""
        checkpoint = self.folder / f"trial_{number}.checkpoint"
        before = self.kills
        while True:
            process = self._start(options, checkpoint)
            process.join(self.rng.uniform(0, seconds))
            process.kill()
            process.join()
            if process.exitcode > 0:
                raise RuntimeError(f"a training ended with {process.exitcode}: {options}")
            if process.exitcode < 0:
                self.kills += 1
                self.kills_in_a_write += any(self.folder.glob(f".{checkpoint.name}.*.tmp"))
                self.resumed_from[self.count(checkpoint)] += 1
            elif self.kills > before:
                return self._result()
            else:  # it finished in time, so this was no trial yet
                checkpoint.unlink()


def main(kind=Trials, options=OPTIONS, description=__doc__, rounds=40):
    """Run the trials; return whether all models were equal.

    Parameters
    ----------
    kind : type
        Of the trials.
    options : list of dict
        What the models of the trials depend on, in turn.
    description : str
    rounds : int
        Of each training, unless the command line says otherwise.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=rounds, help="of each training")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    equal = 0
    with tempfile.TemporaryDirectory() as folder:
        trials = kind(Path(folder), arguments.rounds, np.random.default_rng(arguments.seed))
        used = options[: arguments.trials]
        expected = [trials.expect(chosen) for chosen in used]
        for number in range(arguments.trials):
            which = number % len(used)
            whole, seconds = expected[which]
            same = trials.run(number, used[which], seconds) == whole
            equal += same
            if not same:
                print(f"trial {number}: another model, with {used[which]}")
    report(trials, arguments.trials, equal)
    return equal == arguments.trials


def report(trials, n_trials, equal):
    """Print what happened."""
    resumed = sum(n for done, n in trials.resumed_from.items() if done)
    print(f"{n_trials} trials, {trials.kills} kills")
    print(f"{trials.kills_in_a_write} kills in the middle of writing a checkpoint")
    begun = trials.kills - resumed
    print(f"{begun} times begun anew, {resumed} times resumed, from {trials.unit}:")
    for done, n in sorted(trials.resumed_from.items()):
        if done:
            print(f"  {done:4d} {'#' * n}")
    print(f"{equal} of {n_trials} models equal the uninterrupted one bit for bit")


if __name__ == "__main__":
    sys.exit(not main())
