"""Seconds of exact Shapley values beside LightGBM and shap, on one machine.

    python -m benchmarks.explain --tasks 3 --rows 1000 10000 --json out.json

mtgbm               `mtgbm.explanation.pred_contrib` of one model of all tasks
lightgbm, each task `predict(X, pred_contrib=True)` of a model for each task, one after the other
shap, one task      `shap.TreeExplainer` (tree_path_dependent) of a model of the first task, by
                    shap's own code, which has one thread; a sample of the rows

All models have the same number of trees of the same number of leaves. Every run has a process of
its own, which trains on the same made table and then explains rows, the fewest first, after a few
to warm up; of several calls the fastest counts. The contenders take turns: the runs of one turn
make a pair, and ratios are taken within pairs, below 1 in favour of mtgbm. Beside shap they are
ratios of the time a row takes, and compare all tasks with one.
"""

import argparse
import json
import sys
from statistics import median

from benchmarks.cases import make_table
from benchmarks.contenders import CONTENDERS, LEAVES, Contender, Mtgbm, first_task
from benchmarks.measure import least_seconds, print_table, run_apart, write_json
from benchmarks.peers import machine, versions
from benchmarks.reports import REFERENCE, by_contender, spread

WARM_UP_ROWS = 20
CALLS = 3


def explain_with_mtgbm(library):
    from mtgbm.explanation import pred_contrib

    return lambda X: [pred_contrib(model, X) for model in library.models]


def explain_with_lightgbm(library):
    return lambda X: [model.predict(X, pred_contrib=True) for model in library.models]


def explain_with_shap(library):
    import shap

    from mtgbm.explanation import shap_trees

    explainer = shap.TreeExplainer(
        shap_trees(library.models[0].forest_), feature_perturbation="tree_path_dependent"
    )
    return lambda X: explainer.shap_values(X.astype(float), check_additivity=False)


#: What is trained, and what explains it.
EXPLAINERS = {
    REFERENCE: (CONTENDERS["mtgbm"], explain_with_mtgbm),
    "lightgbm, each task": (CONTENDERS["lightgbm, each task"], explain_with_lightgbm),
    "shap, one task": (Contender(Mtgbm, first_task, {}), explain_with_shap),
}


def run_here(contender, arguments):
    """Microseconds that a row takes, by number of rows."""
    trained, explain_with = EXPLAINERS[contender]
    rows = sorted(arguments["rows"])
    X, Y = make_table(
        max(arguments["train_rows"], rows[-1]), arguments["features"], arguments["tasks"]
    )
    library = trained.make(arguments["rounds"], 255, arguments["threads"])
    library.fit(X[: arguments["train_rows"]], Y[: arguments["train_rows"]])
    explain = explain_with(library)
    explain(X[:WARM_UP_ROWS])
    microseconds = {}
    for wanted in rows:
        sample = X[: min(wanted, arguments["shap_rows"]) if "shap" in contender else wanted]
        seconds = least_seconds(lambda sample=sample: explain(sample), 0, CALLS)
        microseconds[wanted] = 1e6 * seconds / len(sample)
    return microseconds


def run_all(arguments):
    """One dict a run: contender, turn, and microseconds a row by number of rows."""
    runs = []
    for turn in range(arguments["repeats"]):
        for contender in arguments["only"]:
            microseconds = run_apart("benchmarks.explain", contender, arguments)
            runs.append({"contender": contender, "turn": turn, "microseconds": microseconds})
    return runs


def print_report(runs):
    groups = by_contender(runs)
    rows = list(runs[0]["microseconds"])
    columns = [f"{int(number):,} rows" for number in rows]
    lines = [
        (name, *(f"{median(run['microseconds'][n] for run in own):.1f}" for n in rows))
        for name, own in groups.items()
    ]
    print_table(("µs a row (medians)", *columns), lines)
    ours = groups.pop(REFERENCE, None)
    if not ours or not groups:
        return
    print(f"\n{REFERENCE} / contender: least, median, greatest of the pairs")
    lines = [
        (name, *(spread(pair_ratios(ours, theirs, number)) for number in rows))
        for name, theirs in groups.items()
    ]
    print_table(("", *columns), lines)


def pair_ratios(ours, theirs, rows):
    pairs = zip(ours, theirs, strict=True)
    return [our["microseconds"][rows] / their["microseconds"][rows] for our, their in pairs]


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.explain",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--train-rows", type=int, default=20_000)
    parser.add_argument("--features", type=int, default=50)
    parser.add_argument("--tasks", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5, help="turns of all contenders")
    parser.add_argument("--shap-rows", type=int, default=500, help="shap explains at most so many")
    parser.add_argument(
        "--only", nargs="+", choices=EXPLAINERS, default=list(EXPLAINERS), metavar="NAME"
    )
    parser.add_argument("--json", metavar="FILE", help="write all measurements to this file")
    return vars(parser.parse_args())


def main():
    if sys.argv[1:2] == ["--run"]:
        print(json.dumps(run_here(sys.argv[2], json.loads(sys.argv[3]))))
        return
    arguments = parse_arguments()
    report = {"arguments": arguments, "machine": machine(), "versions": versions()}
    report["runs"] = run_all(arguments)
    write_json(arguments["json"], report)
    print(
        "{tasks} tasks, {rounds} trees of {leaves} leaves, {features} features, {threads} threads; "
        "{cpu}\n".format(leaves=LEAVES, cpu=report["machine"]["cpu"], **arguments)
    )
    print_report(report["runs"])


if __name__ == "__main__":
    main()
