"""Accuracy of shared trees beside dedicated models and other libraries, on many data sets.

    python -m benchmarks.quality --results quality.jsonl --seeds 5
    python -m benchmarks.quality --results tried.jsonl --sets agree scarce --ours 'reg_lambda=5'
    python -m benchmarks.quality --report quality.jsonl --rst docs/quality_table.rst

For each seed a set is cut into training, validation and test rows (`benchmarks/quality_sets.py`;
--list names the sets), string columns become out-of-fold risks, and every contender gets the same
table (`benchmarks/quality_contenders.py` says what each does with it). All have learning rate 0.1,
31 leaves, at most 1000 rounds, and stop after 30 rounds without a better validation log loss;
everything else is their default.

Each measurement is a line of JSON in the file of results, written as soon as it is made, and what
the file holds is not measured again: a run that was cut goes on. The file does not know the code
that made it; after a change of the code take a new one. Where a set asks for it, mtgbm also learns
some of the tasks without the others, on the same table, for the verdicts.

Fit seconds are for orientation: several libraries share the process, so that their threads must
not spin (OMP_WAIT_POLICY=passive). `benchmarks.peers` measures time.
"""

import argparse
import os
import shlex
import sys
from pathlib import Path

from benchmarks.measure import append_record, read_records
from benchmarks.quality_contenders import CONTENDERS, OURS, PEERS, is_ours, variant
from benchmarks.quality_report import Results, print_report, write_rst
from benchmarks.quality_sets import SETS
from mtgbm.metrics import average_precision, calibration_error, log_loss, roc_auc

METRICS = {
    "auc": roc_auc,
    "average_precision": average_precision,
    "log_loss": log_loss,
    "calibration_error": calibration_error,
}
LEARNING_RATE, LEAVES, ROUNDS, SEEDS = 0.1, 31, 1000, 5


def measure(table, contender, shared):
    """One contender on one table.

    Parameters
    ----------
    table : Table
    contender : callable
    shared : dict
        Parameters of all contenders.

    Returns
    -------
    dict
        Numbers of each task under the names of `METRICS`, rounds, seconds, and the table's size.
    """
    probabilities, rounds, seconds = contender(table.parts, shared)
    Y = table.parts[2][1]
    return {
        "train_rows": len(table.parts[0][0]),
        "tasks": table.task_names,
        **{name: metric(Y, probabilities).tolist() for name, metric in METRICS.items()},
        "rounds": rounds,
        "seconds": seconds,
    }


#: What makes a record one of its kind.
KEY = ("set", "seed", "contender", "learned")


def missing_keys(name, seed, contenders, done):
    """What the file of results lacks of one cut, contender by contender."""
    planned = [
        (name, seed, contender, learned)
        for contender in contenders
        for learned in (SETS[name].learned if is_ours(contender) else ("all",))
    ]
    return [key for key in planned if key not in done]


def run_cut(keys, contenders, shared):
    """Yield a record for each key; all are of one cut of a set."""
    name, seed, *_ = keys[0]
    table = SETS[name].make(seed)
    kept = table.keep(SETS[name].kept_tasks(table.task_names))
    for key in keys:
        *_, contender, learned = key
        measured = measure(table if learned == "all" else kept, contenders[contender], shared)
        limits = {"most_rounds": shared["n_estimators"]}
        yield {**dict(zip(KEY, key, strict=True)), **limits, **measured}


def run_all(arguments, contenders):
    """Add what the file of results lacks."""
    done = {tuple(record[name] for name in KEY) for record in read_records(arguments.results)}
    for name in arguments.sets:
        for seed in range(arguments.seeds):
            keys = missing_keys(name, seed, contenders, done)
            shared = shared_parameters(arguments, seed)
            for record in run_cut(keys, contenders, shared) if keys else ():
                append_record(arguments.results, record)
                say(record)


def shared_parameters(arguments, seed):
    """Under LightGBM's names."""
    return {
        "n_estimators": arguments.rounds,
        "learning_rate": LEARNING_RATE,
        "num_leaves": LEAVES,
        "n_jobs": arguments.threads,
        "random_state": seed,
    }


def say(record):
    """A line on stderr: a run may take hours."""
    mean = sum(record["auc"]) / len(record["auc"])
    print(
        f"{record['set']}, seed {record['seed']}, {record['contender']}, {record['learned']} "
        f"tasks: AUC {mean:.4f}, {record['seconds']:.1f} s",
        file=sys.stderr,
        flush=True,
    )


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--results", metavar="FILE", help="measure what this file lacks, then report")
    what.add_argument("--report", metavar="FILE", help="only print what this file holds")
    what.add_argument("--list", action="store_true", help="name the sets and contenders")
    parser.add_argument("--sets", nargs="+", choices=SETS, metavar="SET", help="default: all")
    parser.add_argument(
        "--seeds", type=int, default=SEEDS, help=f"cuts of each set (default: {SEEDS})"
    )
    parser.add_argument(
        "--contenders",
        nargs="*",
        choices=CONTENDERS,
        metavar="NAME",
        help=f"default: {', '.join((*PEERS, OURS))}; with --report, all in the file",
    )
    parser.add_argument(
        "--ours",
        action="append",
        default=[],
        metavar="OPTIONS",
        help="one more contender: mtgbm with these options, as in 'reg_lambda=5, max_bin=127'",
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="most rounds of every model")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rst", metavar="FILE", help="write the table of the documentation")
    arguments = parser.parse_args(argv)
    check_rounds(parser, arguments)
    return arguments, chosen_contenders(parser, arguments)


def check_rounds(parser, arguments):
    """One file is of one number of rounds."""
    records = read_records(arguments.results) if arguments.results else []
    others = {record["most_rounds"] for record in records} - {arguments.rounds}
    if others:
        parser.error(
            f"{arguments.results} holds runs of at most {min(others)} rounds, not "
            f"{arguments.rounds}. Name another file, or pass --rounds {min(others)}."
        )


def chosen_contenders(parser, arguments):
    """Contenders by name; None for all that a report finds."""
    if arguments.report and arguments.contenders is None and not arguments.ours:
        return None
    names = (*PEERS, OURS) if arguments.contenders is None else arguments.contenders
    try:
        return {name: CONTENDERS[name] for name in names} | dict(map(variant, arguments.ours))
    except ValueError as error:
        parser.error(f"--ours: {error}")


def chosen_records(arguments, contenders):
    """Of the file, in the order of the contenders."""
    records = [
        record
        for record in read_records(arguments.results or arguments.report)
        if record["set"] in (arguments.sets or SETS) and record["seed"] < arguments.seeds
    ]
    if contenders is None:
        return records
    return [record for name in contenders for record in records if record["contender"] == name]


def print_list():
    print(f"sets: {', '.join(SETS)}\ncontenders: {', '.join(CONTENDERS)}")


def command_of(arguments):
    """The command that measured what a report shows."""
    words = [
        "--results",
        Path(arguments.results or arguments.report).name,
        "--seeds",
        str(arguments.seeds),
    ]
    if arguments.sets:
        words += ["--sets", *arguments.sets]
    if arguments.contenders is not None:
        words += ["--contenders", *arguments.contenders]
    for options in arguments.ours or []:
        words += ["--ours", options]
    return f"python -m benchmarks.quality {shlex.join(words)}"


def main(argv=None):
    arguments, contenders = parse_arguments(argv)
    if arguments.list:
        print_list()
        return
    if arguments.results:
        arguments.sets = arguments.sets or list(SETS)
        run_all(arguments, contenders)
    results = Results(chosen_records(arguments, contenders))
    if not results.sets:
        sys.exit("no cut of a set was measured for all contenders; choose fewer of them")
    print_report(results)
    if arguments.rst:
        write_rst(arguments.rst, results, command_of(arguments))


if __name__ == "__main__":
    main()
