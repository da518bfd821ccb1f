"""One case: a contender trained and asked on a made table, in a process of its own.

``python -m benchmarks.cases '{"contender": "mtgbm", "rows": 10000, ...}'`` measures the case, given
as the fields of `Case`, and prints a line of JSON. `Case.run_apart` calls that.
"""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist, median

import numpy as np

from benchmarks.contenders import CONTENDERS
from benchmarks.measure import PeakMemory, timed

HELD_OUT = 20_000
TEACHERS = 10
WARM_UP_ROWS = 500
#: Calls with one row: the first ones warm up, the median is of the others.
WARM_UP_CALLS, TIMED_CALLS = 30, 300


@dataclass(frozen=True)
class Case:
    """What is run.

    Attributes
    ----------
    contender : str
        One of `CONTENDERS`.
    rows, features, tasks, rounds, threads, bins : int
    predict_rows : int
        Rows predicted at once, at most the table's own.
    skew, missing : float
        As in `make_table`.
    """

    contender: str
    rows: int
    features: int
    tasks: int
    rounds: int
    threads: int
    bins: int
    predict_rows: int
    skew: float = 0.0
    missing: float = 0.0

    def run_apart(self):
        """`run` in a process of its own."""
        command = [sys.executable, "-m", "benchmarks.cases", json.dumps(asdict(self))]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return json.loads(done.stdout.splitlines()[-1])

    def run(self):
        """Measure in this process.

        Returns
        -------
        dict of str to float or None
            None where the library has no such step of its own.
        """
        n_held = min(HELD_OUT, self.rows)
        table = make_table(
            self.rows + n_held, self.features, self.tasks, skew=self.skew, missing=self.missing
        )
        held, (X, Y) = ([part[:n_held] for part in table], [part[n_held:] for part in table])
        replace(self, rounds=2).make().fit(X[:WARM_UP_ROWS], Y[:WARM_UP_ROWS])
        contender = self.make()
        with PeakMemory() as memory:
            fit_seconds = timed(contender.fit, X, Y)[1]
        return {
            "fit_seconds": fit_seconds,
            "fit_megabytes": memory.megabytes,
            **prediction_seconds(contender, X[: self.predict_rows], held[0]),
            "binning_seconds": contender.bin and timed(contender.bin, X, Y)[1],
            **held_out_auc(contender, *held),
        }

    def make(self):
        return CONTENDERS[self.contender].make(self.rounds, self.bins, self.threads)


def prediction_seconds(contender, X, held):
    """Many rows at once, and rows alone: by the public method and by the barest one."""
    rows = [held[[i % len(held)]] for i in range(WARM_UP_CALLS + TIMED_CALLS)]
    contender.predict_proba(held[:WARM_UP_ROWS])
    seconds = timed(contender.predict_proba, X)[1]
    return {
        "predict_rows": len(X),
        "predict_seconds": seconds,
        "predict_rows_per_second": len(X) / seconds,
        "one_row_seconds": median_seconds(contender.predict_proba, rows),
        "bare_row_seconds": contender.score_row and median_seconds(contender.score_row, rows),
    }


def median_seconds(predict, rows):
    return median([timed(predict, row)[1] for row in rows][WARM_UP_CALLS:])


def held_out_auc(contender, X, Y):
    """The first task's AUC, and the mean over the tasks that the contender learned."""
    # Imported last: scikit-learn brings an OpenMP library, and the first one loaded stays.
    from sklearn.metrics import roc_auc_score

    probabilities = contender.predict_proba(X)
    auc = [roc_auc_score(y, p) for y, p in zip(Y.T, probabilities.T, strict=False)]
    return {"auc_first_task": auc[0], "auc_mean": sum(auc) / len(auc)}


def make_table(rows, features, tasks, *, skew=0.0, missing=0.0, seed=0):
    """Standard normal features; tasks with a signal in common and one of their own.

    Parameters
    ----------
    rows, features, tasks : int
    skew : float in [0, 1)
        The lowest cells of each feature, this share of them, get one value, as in columns of
        counts that are mostly zero.
    missing : float in [0, 1)
        Share of the cells that are NaN, drawn after the labels are made.

    Returns
    -------
    X : ndarray of float32 of shape (rows, features)
    Y : ndarray of float64 of shape (rows, tasks)
        A fifth of the labels or a little more is 1.
    """
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((rows, features), dtype=np.float32)
    if skew > 0:
        np.maximum(X, np.float32(NormalDist().inv_cdf(skew)), out=X)
    n_teachers = min(TEACHERS, features)
    common = rng.normal(size=n_teachers)
    Y = np.empty((rows, tasks))
    for task in range(tasks):
        own = common + rng.normal(size=n_teachers)
        signal = np.maximum(X[:, :n_teachers], 0) @ own + X[:, 0] * X[:, n_teachers - 1]
        noise = rng.logistic(size=rows)
        Y[:, task] = signal + noise > np.quantile(signal, 0.8)
    if missing > 0:
        for column in X.T:
            column[rng.random(rows, dtype=np.float32) < missing] = np.nan
    return X, Y


if __name__ == "__main__":
    print(json.dumps(Case(**json.loads(sys.argv[1])).run()))
