"""Tables and verdicts of what `benchmarks.text_quality` measured.

A record is a dict: set, cut (the number of a fold or a seed), contender, net (parameters that all
nets were given, None for others), train_rows, test_rows, classes, seconds, and a number under each
name of `METRICS`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.measure import print_table
from benchmarks.quality_report import Verdict, print_verdict_table, rst_table, with_error
from benchmarks.text_contenders import ALL_TEXT, ARCHITECTURES, TABLE_ONLY, TEXT_ONLY, is_ours
from benchmarks.text_sets import SETS

#: Title, key, digits.
MEASURES = (
    ("AUC, one class against the others", "auc", 4),
    ("average precision", "average_precision", 4),
    ("F1 at 0.5", "f1", 4),
    ("accuracy", "accuracy", 4),
    ("log loss", "log_loss", 4),
    ("seconds", "seconds", 1),
)
TITLES = {key: title for title, key, _ in MEASURES}
#: What is promised: set, key, at least.
PROMISES = (
    ("multabench", "auc", 0.912),
    ("toolkit", "f1", 0.968),
    ("toolkit", "average_precision", 0.996),
    ("toolkit_no_rating", "f1", 0.951),
    ("toolkit_no_rating", "average_precision", 0.990),
)


class TextResults:
    """Records by set, contender and cut; a contender need not be measured on every cut.

    Parameters
    ----------
    records : list of dict

    Attributes
    ----------
    sets, contenders : list of str
        In the order of `SETS`, and of the records.
    """

    def __init__(self, records):
        self._found = {
            (record["set"], record["contender"], record["cut"]): record for record in records
        }
        used = {record["set"] for record in records}
        self.sets = [name for name in SETS if name in used]
        self.contenders = list(dict.fromkeys(record["contender"] for record in records))

    def cuts(self, name, contender):
        """Numbers of the cuts on which a contender was measured, in order."""
        return sorted(cut for set_, who, cut in self._found if (set_, who) == (name, contender))

    def has(self, name, contender):
        return bool(self.cuts(name, contender))

    def scores(self, name, contender, key, cuts=None):
        """One number for each cut."""
        cuts = self.cuts(name, contender) if cuts is None else cuts
        return np.array([self._found[name, contender, cut][key] for cut in cuts])

    def net(self, name):
        """Parameters that the nets were given on a set; None if there are none."""
        nets = (record["net"] for (set_, *_), record in self._found.items() if set_ == name)
        return next((net for net in nets if net is not None), None)

    def mean(self, name, contender, key):
        return float(self.scores(name, contender, key).mean())

    def difference(self, name, contender, other, key):
        """Less the other's, on the cuts that both were measured on."""
        both = sorted({*self.cuts(name, contender)} & {*self.cuts(name, other)})
        return self.scores(name, contender, key, both) - self.scores(name, other, key, both)

    def best(self, name, contenders, key):
        """The contender with the greatest mean, None if none was measured."""
        measured = [who for who in contenders if self.has(name, who)]
        return max(measured, key=lambda who: self.mean(name, who, key), default=None)


def print_report(results):
    """Everything, the verdicts last."""
    for title, key, digits in MEASURES:
        print_lines(score_lines(results, title, key, digits))
    print_lines(fusion_lines(results))
    print_lines(architecture_lines(results))
    for ours in filter(is_ours, results.contenders):
        found = verdicts(results, ours)
        if found:
            print(f"{ours}: is it as good as it should be?")
            print_verdict_table(found)
            print()


def print_lines(lines):
    header, *rows = lines
    if rows:
        print_table(header, rows)
        print()


def score_lines(results, title, key, digits=4):
    """A contender a line, a set a column."""
    lines = [
        (who, *(score_text(results, name, who, key, digits) for name in results.sets))
        for who in results.contenders
    ]
    return [(title, *results.sets), *lines]


def score_text(results, name, contender, key, digits=4):
    """The mean over the cuts and their standard deviation; empty where nothing was measured."""
    if not results.has(name, contender):
        return ""
    scores = results.scores(name, contender, key)
    mean = f"{scores.mean():.{digits}f}"
    return mean if len(scores) == 1 else f"{mean} +- {scores.std(ddof=1):.{digits}f}"


@dataclass(frozen=True)
class Rival:
    """Who is to be beaten on a set.

    Attributes
    ----------
    title : str
    contenders : tuple of str
        The best of them counts.
    """

    title: str
    contenders: tuple


RIVALS = (
    Rival("the better single modality", (*TEXT_ONLY, *TABLE_ONLY)),
    Rival("all columns as text", (ALL_TEXT,)),
)


def fusion_lines(results):
    """Each set, ours, and by how much it is above its rivals; none without a rival."""
    lines = []
    for name in results.sets:
        key = SETS[name].metric
        for ours in filter(is_ours, results.contenders):
            for rival in RIVALS:
                best = results.best(name, rival.contenders, key)
                if best is None or not results.difference(name, ours, best, key).size:
                    continue
                gain = with_error(results.difference(name, ours, best, key))
                lines.append((name, ours, rival.title, best, TITLES[key], gain))
    return [("set", "contender", "less", "which is", "by", "gain"), *lines]


def architecture_lines(results):
    """The architectures that were measured, by the metric of each set."""
    measured = {
        architecture: who
        for architecture, who in ARCHITECTURES.items()
        if who in results.contenders
    }
    lines = [
        (
            architecture,
            *(score_text(results, name, who, SETS[name].metric) for name in results.sets),
        )
        for architecture, who in measured.items()
    ]
    return [("architecture", *map(set_title, results.sets)), *lines]


def set_title(name):
    return f"{name}, {TITLES[SETS[name].metric].partition(',')[0]}"


def verdicts(results, ours):
    """Published bounds, and that two modalities are better than one.

    Parameters
    ----------
    results : TextResults
    ours : str
        A contender.

    Returns
    -------
    list of Verdict
        Of what was measured.
    """
    promised = [
        Verdict(f"{name}: {TITLES[key]}", results.mean(name, ours, key), least)
        for name, key, least in PROMISES
        if results.has(name, ours)
    ]
    return promised + [
        verdict
        for name in results.sets
        for rival in RIVALS
        for verdict in rival_verdict(results, name, ours, rival)
    ]


def rival_verdict(results, name, ours, rival):
    """One verdict, or none if the two have no cut in common."""
    key = SETS[name].metric
    best = results.best(name, rival.contenders, key)
    gain = [] if best is None else results.difference(name, ours, best, key)
    if len(gain) == 0:
        return []
    return [Verdict(f"{name}: {TITLES[key]} less {rival.title} ({best})", gain.mean(), 0.0)]


def write_rst(path, results, command):
    """The tables of the documentation."""
    tables = [
        [("contender", *map(set_title, results.sets)), *own_metric_rows(results)],
        *f1_table(results),
        fusion_lines(results),
        architecture_lines(results),
    ]
    text = "\n".join(rst_table(header, rows) for header, *rows in tables if rows)
    Path(path).write_text(
        f"Test rows, mean over the cuts +- their standard deviation ({cuts_text(results)})."
        f"{nets_text(results)} ::\n\n    {command}\n\n{text}"
    )


def own_metric_rows(results):
    return [
        (who, *(score_text(results, name, who, SETS[name].metric) for name in results.sets))
        for who in results.contenders
    ]


def f1_table(results):
    """F1 of the sets that were published with it; no table if none of them was measured."""
    sets = [name for name in results.sets if SETS[name].metric == "average_precision"]
    if not sets:
        return []
    rows = [
        (who, *(score_text(results, name, who, "f1") for name in sets))
        for who in results.contenders
        if any(results.has(name, who) for name in sets)
    ]
    return [[("contender", *(f"{name}, F1 at 0.5" for name in sets)), *rows]]


def cuts_text(results):
    """How many cuts of each set."""
    counts = {
        name: max(len(results.cuts(name, who)) for who in results.contenders)
        for name in results.sets
    }
    return ", ".join(f"{name}: {count}" for name, count in counts.items())


def nets_text(results):
    """A sentence with what the nets of each set were given; none without nets."""
    nets = {name: results.net(name) for name in results.sets}
    given = "; ".join(f"{name} {options_text(net)}" for name, net in nets.items() if net)
    return f"\nThe nets have their defaults but for: {given}." if given else ""


def options_text(options):
    return ", ".join(f"{name}={value!r}" for name, value in options.items())
