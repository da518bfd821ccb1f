"""Quality on real flights: one model of five tasks beside five LightGBM models.

    python -m benchmarks.flights --full --seeds 3

For each seed the flights are cut at random into training (70 %), validation (10 %) and test rows
(20 %). String columns become out-of-fold risks of all tasks (RiskTableEncoder, learned on the
training rows), numbers stay as they are; everyone gets the same table. A LightGBM model sees the
labelled rows of its task and stops by its validation log loss. The joint model sees all rows,
missing labels as NaN, stops by the mean log loss, and each task keeps its own best round. Learning
rate, leaves and penalty are equal.

The test rows are scored where they are labelled. Differences are the joint model less the dedicated
ones: above 0 is better for AUC, below 0 for log loss. The seconds of the dedicated models add up.
"""

import argparse

import numpy as np

from benchmarks.measure import print_table, timed, write_json
from benchmarks.parts import cut_rows, encode_parts, labelled
from mtgbm import MultiTaskLGBMClassifier
from mtgbm.datasets import load_flights
from mtgbm.metrics import log_loss, roc_auc

PATIENCE = 30
#: How the joint model stops.
STOPPING = {
    "early_stopping_rounds": PATIENCE,
    "early_stopping_task": "mean",
    "best_round_per_task": True,
}
#: A task may not lose more AUC than this.
TOLERANCE = 0.002


def make_parts(data, target, seed):
    """Encoded features and labels of the three parts, as [(X, Y), ...]."""
    ends = [int(share * len(data)) for share in (0.7, 0.8, 1)]
    return encode_parts(data, target, cut_rows(len(data), ends, seed), seed)


def fit_joint(parts, shared):
    """One model of all tasks: test probabilities, rounds of each task, seconds."""
    (X, Y), (X_val, Y_val), (X_test, _) = parts
    model = MultiTaskLGBMClassifier(**{**STOPPING, **shared})
    seconds = timed(model.fit, X, Y, X_val=X_val, y_val=Y_val)[1]
    return model.predict_proba(X_test), list(model.best_iteration_per_task_.values()), seconds


def fit_dedicated(parts, shared):
    """A LightGBM model for each task; the same three, seconds of all models together."""
    columns, rounds, total = [], [], 0.0
    for task in range(parts[0][1].shape[1]):
        train, validation = (labelled(*part, task) for part in parts[:2])
        model, seconds = timed(fit_lightgbm, train, validation, shared)
        columns.append(model.predict_proba(parts[2][0])[:, 1])
        rounds.append(model.best_iteration_)
        total += seconds
    return np.column_stack(columns), rounds, total


def fit_lightgbm(train, validation, shared):
    import lightgbm

    model = lightgbm.LGBMClassifier(**shared, verbose=-1)
    stop = lightgbm.early_stopping(PATIENCE, verbose=False)
    X_val, y_val = validation
    return model.fit(*train, eval_X=X_val, eval_y=y_val, callbacks=[stop])


def run_seed(flights, seed, shared):
    """Both contenders on one split: a dict of what was measured, per task where it is a list."""
    parts = make_parts(flights.data, flights.target, seed)
    Y_test = parts[2][1]
    result = {"seed": seed}
    for name, fit in (("joint", fit_joint), ("dedicated", fit_dedicated)):
        probabilities, rounds, seconds = fit(parts, {**shared, "random_state": seed})
        result[name] = {
            "auc": roc_auc(Y_test, probabilities).tolist(),
            "log_loss": log_loss(Y_test, probabilities).tolist(),
            "rounds": rounds,
            "seconds": seconds,
        }
    return result


def mean_of(results):
    """The mean of each number over the seeds."""
    return {
        name: {
            key: np.mean([result[name][key] for result in results], axis=0).tolist()
            for key in results[0][name]
        }
        for name in ("joint", "dedicated")
    }


MEASURES = ("auc", "log_loss", "rounds")
HEADER = (
    *("", "AUC joint", "dedicated", "difference", "log loss joint", "dedicated", "difference"),
    *("rounds joint", "dedicated"),
)


def print_result(title, task_names, result):
    """Print a line for each task and their mean, and the seconds."""
    joint, dedicated = result["joint"], result["dedicated"]
    table = np.array([side[key] for key in MEASURES for side in (joint, dedicated)])
    lines = [row(name, *column) for name, column in zip(task_names, table.T, strict=True)]
    lines.append(row("mean", *table.mean(axis=1)))
    print(f"\n{title}")
    print_table(HEADER, lines)
    print(
        f"fit seconds: joint {joint['seconds']:.1f}, dedicated {dedicated['seconds']:.1f}, "
        f"ratio {joint['seconds'] / dedicated['seconds']:.2f}",
        flush=True,
    )


def row(name, auc, their_auc, loss, their_loss, rounds, their_rounds):
    scores = (
        *(f"{auc:.4f}", f"{their_auc:.4f}", f"{auc - their_auc:+.4f}"),
        *(f"{loss:.4f}", f"{their_loss:.4f}", f"{loss - their_loss:+.4f}"),
    )
    return name, *scores, f"{rounds:.0f}", f"{their_rounds:.0f}"


def print_verdict(task_names, result):
    """Whether the joint model is at least as good on average, and nowhere much worse."""
    difference = np.subtract(result["joint"]["auc"], result["dedicated"]["auc"])
    worst = difference.argmin()
    mean_holds, worst_holds = difference.mean() >= 0, difference[worst] >= -TOLERANCE
    print(f"\nmean AUC difference {difference.mean():+.4f}, at least 0: {yes_no(mean_holds)}")
    print(
        f"worst task {task_names[worst]} {difference[worst]:+.4f}, "
        f"at least -{TOLERANCE}: {yes_no(worst_holds)}"
    )


def yes_no(holds):
    return "yes" if holds else "NO"


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.flights",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--full", action="store_true", help="all flights, not the shipped sample")
    parser.add_argument("--rows", type=int, help="only so many flights, drawn at random")
    parser.add_argument("--seeds", type=int, default=3, help="number of random splits")
    parser.add_argument("--rounds", type=int, default=1000, help="most rounds of every model")
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--num-leaves", type=int, default=31)
    parser.add_argument("--reg-lambda", type=float, default=0.0)
    parser.add_argument("--threads", type=int, default=-1)
    parser.add_argument("--json", metavar="FILE", help="write all numbers to this file")
    return parser.parse_args()


def load(arguments):
    flights = load_flights(full=arguments.full)
    if arguments.rows is not None:
        kept = np.random.default_rng(0).permutation(len(flights.data))[: arguments.rows]
        flights.data, flights.target = flights.data.iloc[kept], flights.target.iloc[kept]
    return flights


def main():
    arguments = parse_arguments()
    flights = load(arguments)
    shared = {
        "n_estimators": arguments.rounds,
        "learning_rate": arguments.learning_rate,
        "num_leaves": arguments.num_leaves,
        "reg_lambda": arguments.reg_lambda,
        "n_jobs": arguments.threads,
    }
    print(f"{len(flights.data)} flights, {shared}")
    results = []
    for seed in range(arguments.seeds):
        results.append(run_seed(flights, seed, shared))
        print_result(f"seed {seed}", flights.target_names, results[-1])
    mean = mean_of(results)
    print_result(f"mean of {arguments.seeds} seeds", flights.target_names, mean)
    print_verdict(flights.target_names, mean)
    write_json(arguments.json, {"arguments": vars(arguments), "seeds": results, "mean": mean})


if __name__ == "__main__":
    main()
