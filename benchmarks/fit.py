"""Seconds and memory of `fit`: one model of several tasks beside LightGBM models of one task.

    python -m benchmarks.fit --rows 1000000 --features 50 --tasks 3 --rounds 100 --threads 2

Every run has a process of its own, which makes the same float32 table from the same seed, resets
the high-water mark of its memory and fits. The contenders take turns, so that a change of the
machine's mood meets all of them. Both bin the table inside `fit`, with LightGBM's default
parameters. "mtgbm" learns all tasks, "lightgbm" the first one, "lightgbm, each task" (with
--all-tasks) a model for each of them. Memory is what `fit` takes above what the process held
before, the table included in the latter. The AUC is of the first task, on rows not trained on.
"""

import argparse
import json
import subprocess
import sys
from statistics import median

import numpy as np

from benchmarks.measure import PeakMemory, print_table, timed, write_json

HELD_OUT = 20_000
TEACHERS = 10


def make_table(rows, features, tasks, seed=0):
    """Standard normal features; tasks with a signal in common and one of their own.

    Returns
    -------
    X : ndarray of float32 of shape (rows, features)
    Y : ndarray of float64 of shape (rows, tasks)
    """
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((rows, features), dtype=np.float32)
    n_teachers = min(TEACHERS, features)
    common = rng.normal(size=n_teachers)
    Y = np.empty((rows, tasks))
    for task in range(tasks):
        own = common + rng.normal(size=n_teachers)
        signal = np.maximum(X[:, :n_teachers], 0) @ own + X[:, 0] * X[:, n_teachers - 1]
        noise = rng.logistic(size=rows)
        Y[:, task] = signal + noise > np.quantile(signal, 0.8)
    return X, Y


def prepare_mtgbm(parameters):
    """All tasks in one model. Returns a function that trains and one that scores the first task."""
    from mtgbm import MultiTaskLGBMClassifier

    model = MultiTaskLGBMClassifier(**parameters)
    # A Y of one column still gives one column of probabilities.
    return lambda X, Y: model.fit(X, Y), lambda X: model.raw_predict(X)[:, 0]


def prepare_lightgbm(parameters):
    """The first task alone."""
    from lightgbm import LGBMClassifier

    model = LGBMClassifier(**parameters, verbose=-1)
    return lambda X, Y: model.fit(X, Y[:, 0]), lambda X: model.predict(X, raw_score=True)


def prepare_lightgbm_each_task(parameters):
    """A model for each task, one after the other."""
    from lightgbm import LGBMClassifier

    models = []

    def train(X, Y):
        models.extend(LGBMClassifier(**parameters, verbose=-1).fit(X, y) for y in Y.T)

    return train, lambda X: models[0].predict(X, raw_score=True)


CONTENDERS = {
    "mtgbm": prepare_mtgbm,
    "lightgbm": prepare_lightgbm,
    "lightgbm, each task": prepare_lightgbm_each_task,
}


def run_here(contender, arguments):
    """Fit one contender in this process; a dict of what was measured."""
    from sklearn.metrics import roc_auc_score

    parameters = {"n_estimators": arguments.rounds, "n_jobs": arguments.threads, "random_state": 0}
    train, score = CONTENDERS[contender](parameters)
    n_held = min(HELD_OUT, arguments.rows)
    X, Y = make_table(arguments.rows + n_held, arguments.features, arguments.tasks)
    rest, X, Y = (X[:n_held], Y[:n_held, 0]), X[n_held:], Y[n_held:]
    with PeakMemory() as memory:
        seconds = timed(train, X, Y)[1]
    return {
        "seconds": seconds,
        "megabytes": memory.megabytes,
        "auc": roc_auc_score(rest[1], score(rest[0])),
    }


def run_apart(contender, arguments):
    """`run_here` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.fit", "--only", contender]
    for name in ("rows", "features", "tasks", "rounds", "threads"):
        command += [f"--{name}", str(getattr(arguments, name))]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def compare(arguments):
    """Run all contenders in turns: a list of measurements for each."""
    names = [name for name in CONTENDERS if arguments.all_tasks or name != "lightgbm, each task"]
    runs = {name: [] for name in names}
    for _ in range(arguments.repeats):
        for name in names:
            runs[name].append(run_apart(name, arguments))
    return runs


def summarize(runs):
    """One table of the runs, one of the ratios of seconds."""
    header = ("", "fit s min", "median", "max", "peak MB above", "AUC")
    rows = []
    for name, results in runs.items():
        seconds = [result["seconds"] for result in results]
        spread = (min(seconds), median(seconds), max(seconds))
        megabytes = max(result["megabytes"] for result in results)
        rows.append(
            (name, *(f"{s:.2f}" for s in spread), f"{megabytes:.0f}", f"{results[0]['auc']:.4f}")
        )
    print_table(header, rows)
    print()
    print_table(("mtgbm's seconds / those of", "of medians", "of each pair"), list(ratios(runs)))


def ratios(runs):
    ours = [result["seconds"] for result in runs["mtgbm"]]
    for name in runs.keys() - {"mtgbm"}:
        theirs = [result["seconds"] for result in runs[name]]
        pairs = " ".join(f"{a / b:.2f}" for a, b in zip(ours, theirs, strict=True))
        yield name, f"{median(ours) / median(theirs):.2f}", pairs


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=50)
    parser.add_argument("--tasks", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--all-tasks", action="store_true", help="also a LightGBM model per task")
    parser.add_argument("--json", metavar="FILE", help="write all measurements to this file")
    parser.add_argument("--only", choices=CONTENDERS, help="run one contender here, print JSON")
    return parser.parse_args(argv)


def main():
    arguments = parse_arguments()
    if arguments.only:
        print(json.dumps(run_here(arguments.only, arguments)))
        return
    size = arguments.rows * arguments.features * 4 / 1e6
    print(
        f"{arguments.rows} rows x {arguments.features} features (float32, {size:.0f} MB), "
        f"{arguments.tasks} tasks, {arguments.rounds} rounds, {arguments.threads} threads\n"
    )
    runs = compare(arguments)
    summarize(runs)
    write_json(arguments.json, {"arguments": vars(arguments), "runs": runs})


if __name__ == "__main__":
    main()
