"""Seconds, memory and AUC of mtgbm beside other libraries, on one machine.

    python -m benchmarks.peers --rows 1000000 --features 50 --tasks 3 --json out.json
    python -m benchmarks.peers --sweep rows 10000 100000 1000000 --plot rows.png

Every run has a process of its own, which makes the same float32 table from the same seed, imports
one library, fits a few rows to warm up, and is then measured. The contenders take turns, so that a
change of the machine's mood meets all of them: the runs of one turn make a pair, and ratios are
taken within pairs. What each contender does is in `benchmarks/contenders.py`.

fit s         `fit` of all models of the contender, binning included
predict       million rows a second: the public `predict_proba`, all tasks the contender learned
one row       microseconds of `predict_proba` for a single row, the median of some hundred calls
bare row      the same with the library's barest predictor
binning s     the part of `fit` before trees grow, repeated apart, once for each model
MB            what `fit` takes at its peak above what the process, with its table, held before
AUC           on rows not trained on: the mean of the tasks learned, and the first task

Keep the machine idle, with a free core for each thread: most libraries let their threads spin while
they wait, and where something else holds a core, milliseconds become seconds.
Beside a contender of one task, the ratios say what all tasks cost for mtgbm in units of one task.
Libraries that are not installed are left out: pip install 'mtgbm[peers]' brings them all.
"""

import argparse
import os
import platform
import sys
from dataclasses import asdict, fields
from importlib import metadata
from pathlib import Path

from benchmarks.cases import Case
from benchmarks.contenders import CONTENDERS
from benchmarks.measure import write_json
from benchmarks.reports import draw, print_report

SWEPT = ("rows", "features", "tasks", "threads")


def installed(names):
    """The contenders that can run; says on stderr which cannot."""
    missing = [name for name in names if not CONTENDERS[name].is_installed()]
    if missing:
        packages = sorted({CONTENDERS[name].package for name in missing})
        print(
            f"left out, because {' and '.join(packages)} cannot be imported: "
            f"{'; '.join(missing)}\n(pip install 'mtgbm[peers]' brings all peers)",
            file=sys.stderr,
        )
    if len(missing) == len(names):
        sys.exit("no contender is left")
    return [name for name in names if name not in missing]


def cases(arguments):
    """Yield (turn, case) as they run: for each swept value, in each turn, all contenders."""
    names = installed(arguments.only)
    shared = {
        field.name: getattr(arguments, field.name)
        for field in fields(Case)
        if field.name != "contender"
    }
    swept, values = arguments.sweep or ("rows", [arguments.rows])
    for value in values:
        for turn in range(arguments.repeats):
            for name in names:
                yield turn, Case(**{**shared, "contender": name, swept: value})


def run_all(arguments, report):
    """Add every run to the report, and keep its file up to date: later runs may take hours."""
    planned = list(cases(arguments))
    for number, (turn, case) in enumerate(planned, start=1):
        run = {**asdict(case), "turn": turn, **case.run_apart()}
        report["runs"].append(run)
        write_json(arguments.json, report)
        if not arguments.quiet:
            size = f"{case.rows} x {case.features}, {case.tasks} tasks, {case.threads} threads"
            print(
                f"{number}/{len(planned)} ({size}) {case.contender}: "
                f"fit {run['fit_seconds']:.2f} s",
                file=sys.stderr,
            )


def machine():
    """What the numbers depend on besides the code."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def versions():
    """Of each contender's package and of numpy; the package's name is not always the module's."""
    modules = {contender.package for contender in CONTENDERS.values()} | {"numpy"}
    packages = metadata.packages_distributions()
    return {
        packages[module][0]: metadata.version(packages[module][0])
        for module in sorted(modules & packages.keys())
    }


def describe(arguments):
    """The sizes, those that are swept as a list."""
    sizes = dict(vars(arguments))
    if arguments.sweep:
        sizes[arguments.sweep[0]] = ", ".join(map(str, arguments.sweep[1]))
    return (
        "{rows} rows x {features} features, {tasks} tasks, {rounds} rounds, {threads} threads, "
        "{bins} bins, {skew:.0%} of the cells one value, {missing:.0%} missing".format(**sizes)
    )


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=50)
    parser.add_argument("--tasks", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bins", type=int, default=255, help="per feature, at most 255")
    parser.add_argument("--skew", type=share, default=0.0, help="share of cells with one value")
    parser.add_argument("--missing", type=share, default=0.0, help="share of cells that are NaN")
    parser.add_argument("--predict-rows", type=int, default=1_000_000, help="at most all rows")
    parser.add_argument("--repeats", type=int, default=3, help="turns of all contenders")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=CONTENDERS,
        default=list(CONTENDERS),
        metavar="NAME",
        help=f"some of: {'; '.join(CONTENDERS)}",
    )
    parser.add_argument(
        "--sweep",
        nargs="+",
        metavar=("NAME", "VALUE"),
        help=f"compare at each value of {', '.join(SWEPT)}",
    )
    parser.add_argument("--json", metavar="FILE", help="write all measurements to this file")
    parser.add_argument("--plot", metavar="FILE", help="draw fit seconds (needs matplotlib)")
    parser.add_argument("--quiet", action="store_true", help="no line for each run on stderr")
    arguments = parser.parse_args(argv)
    if arguments.sweep:
        arguments.sweep = read_sweep(parser, *arguments.sweep)
    return arguments


def share(text):
    number = float(text)
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"takes a share, at least 0 and below 1; got {text}")
    return number


def read_sweep(parser, name, *values):
    """(name, numbers)"""
    numbers = sorted({int(value) for value in values if value.isdecimal()})
    if name not in SWEPT or len(numbers) < 2 or len(numbers) < len(values) or numbers[0] < 1:
        parser.error(
            f"--sweep takes one of {', '.join(SWEPT)} and two or more different numbers, "
            f"as in --sweep rows 10000 100000; got {' '.join((name, *values))}"
        )
    return name, numbers


def main():
    arguments = parse_arguments()
    report = {
        "arguments": vars(arguments),
        "machine": machine(),
        "versions": versions(),
        "runs": [],
    }
    run_all(arguments, report)
    print(f"{describe(arguments)}; {report['machine']['cpu']}\n")
    print_report(report["runs"], arguments.sweep)
    if arguments.plot:
        draw(arguments.plot, report["runs"], arguments.sweep)


if __name__ == "__main__":
    main()
