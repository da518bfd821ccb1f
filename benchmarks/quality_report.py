"""Tables, ranks, sign tests and verdicts of what `benchmarks.quality` measured.

A record is a dict: set, seed, contender, learned ("all" tasks, or those "kept" without the others),
train_rows, tasks (names), seconds, and one number a task under each name of `MEASURES`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import binomtest, rankdata

from benchmarks.measure import print_table
from benchmarks.quality_contenders import OURS, PEERS, is_ours
from benchmarks.quality_sets import SETS

#: Title, key, whether more is better.
MEASURES = (
    ("AUC", "auc", True),
    ("average precision", "average_precision", True),
    ("log loss", "log_loss", False),
    ("calibration error", "calibration_error", False),
)
REFERENCE = "lightgbm"
SMALL_ROWS = 8000
#: More contenders than this stand in the lines of a table of the documentation.
MOST_COLUMNS = 6


class Results:
    """Records of some contenders on the cuts that all of them were measured on.

    Parameters
    ----------
    records : list of dict

    Attributes
    ----------
    sets, contenders : list of str
        In the order of `SETS`, and of the records.
    n_left_out : int
        Cuts (set, seed) that some contender lacks.
    """

    def __init__(self, records):
        self.contenders = list(dict.fromkeys(record["contender"] for record in records))
        cuts = {(record["set"], record["seed"]) for record in records}
        self._found = {
            (record["set"], record["seed"], record["contender"], record["learned"]): record
            for record in records
        }
        self._cuts = sorted(
            cut
            for cut in cuts
            if all((*cut, contender, "all") in self._found for contender in self.contenders)
        )
        self.n_left_out = len(cuts) - len(self._cuts)
        used = {name for name, _ in self._cuts}
        self.sets = [name for name in SETS if name in used]

    @property
    def peers(self):
        return [name for name in self.contenders if name in PEERS]

    @property
    def ours(self):
        return [name for name in self.contenders if is_ours(name)]

    def seeds(self, name):
        return [seed for set_, seed in self._cuts if set_ == name]

    def tasks(self, name, learned="all"):
        return self._records(name, self.contenders, learned)[0]["tasks"]

    def train_rows(self, name):
        return self._records(name, self.contenders, "all")[0]["train_rows"]

    def _records(self, name, contenders, learned):
        keys = [(name, seed, who, learned) for seed in self.seeds(name) for who in contenders]
        return [self._found[key] for key in keys if key in self._found]

    def of_tasks(self, name, contender, key="auc", learned="all"):
        """What was measured: (n_seeds, n_tasks); no rows where nothing was."""
        return np.array([record[key] for record in self._records(name, [contender], learned)])

    def has_kept(self, name, contender):
        """Whether the kept tasks were learned without the others, in every cut."""
        return len(self.of_tasks(name, contender, learned="kept")) == len(self.seeds(name))

    def mean(self, name, contender, key="auc"):
        return self.of_tasks(name, contender, key).mean()

    def difference(self, name, contender, other=REFERENCE, key="auc"):
        """Less the other's: (n_seeds, n_tasks)."""
        return self.of_tasks(name, contender, key) - self.of_tasks(name, other, key)


def print_report(results):
    """Everything, the verdicts last."""
    if results.n_left_out:
        print(f"left out: {results.n_left_out} cuts that some contender has not been measured on\n")
    for title, key, _ in MEASURES:
        print_measure(results, title, key)
    print_measure(results, "fit seconds", "seconds", digits=1)
    print_ranks(results)
    if REFERENCE in results.contenders:
        print_differences(results)
        print_tasks(results)
    print_sign_tests(results)
    print_verdicts(results)


def print_measure(results, title, key, digits=4):
    """The mean over tasks and seeds of each set."""
    lines = [
        (name, *(f"{results.mean(name, who, key):.{digits}f}" for who in results.contenders))
        for name in results.sets
    ]
    means = [mean_over_sets(results, who, key) for who in results.contenders]
    lines.append(("mean", *(f"{mean:.{digits}f}" for mean in means)))
    print_table((title, *results.contenders), lines)
    print()


def mean_over_sets(results, contender, key="auc"):
    return float(np.mean([results.mean(name, contender, key) for name in results.sets]))


def average_ranks(results, key, more_is_better):
    """Of each contender over the sets; 1 is the best."""
    means = np.array(
        [[results.mean(s, who, key) for who in results.contenders] for s in results.sets]
    )
    return rankdata(-means if more_is_better else means, axis=1).mean(axis=0)


def print_ranks(results):
    lines = [
        (title, *(f"{rank:.2f}" for rank in average_ranks(results, key, more_is_better)))
        for title, key, more_is_better in MEASURES
    ]
    print_table(("average rank over the sets", *results.contenders), lines)


def print_differences(results):
    """AUC less that of dedicated LightGBM: the mean over tasks, and the worst task."""
    print(f"\nAUC less that of {REFERENCE}; mean over the seeds +- its standard error")
    lines = []
    for name in results.sets:
        for who in results.contenders:
            if who != REFERENCE:
                difference = results.difference(name, who)
                worst = difference.mean(axis=0).argmin()
                lines.append(
                    (
                        name,
                        who,
                        with_error(difference.mean(axis=1)),
                        results.tasks(name)[worst],
                        with_error(difference[:, worst]),
                    )
                )
    print_table(("set", "contender", "mean of tasks", "worst task", "its difference"), lines)


def with_error(values):
    """The mean of values, one a seed, and its standard error if there are several."""
    if len(values) == 1:
        return f"{values[0]:+.4f}"
    return f"{values.mean():+.4f} +- {values.std(ddof=1) / np.sqrt(len(values)):.4f}"


def print_tasks(results):
    """AUC of every task: dedicated LightGBM's, and what the others have more."""
    others = [who for who in results.contenders if who != REFERENCE]
    lines = []
    for name in results.sets:
        theirs = results.of_tasks(name, REFERENCE).mean(axis=0)
        differences = [results.difference(name, who).mean(axis=0) for who in others]
        for task, auc, *more in zip(results.tasks(name), theirs, *differences, strict=True):
            lines.append((f"{name}: {task}", f"{auc:.4f}", *(f"{value:+.4f}" for value in more)))
    print(f"\nAUC of every task, mean over the seeds; the others less {REFERENCE}")
    print_table(("", REFERENCE, *others), lines)


@dataclass(frozen=True)
class SignTest:
    """How often one contender's AUC of a task, its mean over the seeds, is above another's."""

    wins: int
    losses: int

    @property
    def p_value(self):
        """Two-sided, if wins and losses were equally likely; ties do not count."""
        decided = self.wins + self.losses
        return binomtest(self.wins, decided).pvalue if decided else 1.0


def sign_test(results, contender, other):
    differences = np.concatenate(
        [results.difference(name, contender, other).mean(axis=0) for name in results.sets]
    )
    return SignTest(int((differences > 0).sum()), int((differences < 0).sum()))


def print_sign_tests(results):
    lines = []
    for ours in results.ours:
        for other in results.contenders:
            if other != ours:
                test = sign_test(results, ours, other)
                lines.append((ours, other, test.wins, test.losses, f"{test.p_value:.2g}"))
    print("\nsign test over the tasks of all sets, by AUC")
    print_table(("contender", "beside", "wins", "losses", "p"), lines)


@dataclass(frozen=True)
class Verdict:
    """A number that was promised to be at least some bound."""

    text: str
    value: float
    least: float

    @property
    def holds(self):
        return self.value >= self.least


def print_verdicts(results):
    for ours in results.ours:
        print(f"\n{ours}: is it as good as it should be?")
        print_verdict_table(verdicts(results, ours))


def print_verdict_table(found):
    """A line for each `Verdict`."""
    lines = [
        (
            verdict.text,
            f"{verdict.value:+.4f}",
            f"{verdict.least:+.3f}",
            "yes" if verdict.holds else "NO",
        )
        for verdict in found
    ]
    print_table(("", "measured", "at least", "holds"), lines)


def verdicts(results, ours):
    """All that the measured sets and contenders allow.

    Parameters
    ----------
    results : Results
    ours : str
        A contender.

    Returns
    -------
    list of Verdict
    """
    found = []
    if results.sets and results.peers:
        found += best_peer_verdict(results, ours)
    if results.sets and REFERENCE in results.contenders:
        found += [*dedicated_verdicts(results, ours), *scarce_verdict(results, ours)]
        found += probability_verdicts(results, ours)
    return found + noise_verdicts(results, ours) + main_task_verdicts(results, ours)


def best_peer_verdict(results, ours):
    means = {peer: mean_over_sets(results, peer) for peer in results.peers}
    best = max(means, key=means.get)
    difference = mean_over_sets(results, ours) - means[best]
    return [Verdict(f"AUC, mean of all sets, less the best peer's ({best})", difference, 0.001)]


def dedicated_verdicts(results, ours):
    """AUC beside models of one task: all sets, small ones, whole tables, and the worst task."""
    gains = {name: results.difference(name, ours) for name in results.sets}
    small = [name for name in gains if results.train_rows(name) <= SMALL_ROWS]
    whole = [name for name in gains if SETS[name].is_whole]
    found = []
    for text, names, least in (
        ("all sets", list(gains), 0.0),
        (f"sets of at most {SMALL_ROWS:,} training rows", small, 0.010),
        ("whole tables", whole, 0.001),
    ):
        if names:
            mean = np.mean([gains[name].mean() for name in names])
            found.append(Verdict(f"AUC, {text}, less {REFERENCE}'s", mean, least))
    worst = {name: gain.mean(axis=0) for name, gain in gains.items()}
    name = min(worst, key=lambda name: worst[name].min())
    task = results.tasks(name)[worst[name].argmin()]
    text = f"AUC of the worst task ({name}: {task}), less {REFERENCE}'s"
    return [*found, Verdict(text, worst[name].min(), -0.002)]


def scarce_verdict(results, ours):
    return [
        Verdict(
            f"AUC of a task with few labels ({name}), less {REFERENCE}'s",
            gains_of(results, name, ours, [SETS[name].scarce_task])[0],
            0.02,
        )
        for name in results.sets
        if SETS[name].scarce_task is not None
    ]


def gains_of(results, name, ours, tasks):
    columns = [results.tasks(name).index(task) for task in tasks]
    return results.difference(name, ours).mean(axis=0)[columns]


def probability_verdicts(results, ours):
    """Signs turned, so that more is better."""
    return [
        Verdict(
            f"{title}, mean of all sets: {REFERENCE}'s less ours",
            mean_over_sets(results, REFERENCE, key) - mean_over_sets(results, ours, key),
            0.0,
        )
        for title, key, more_is_better in MEASURES
        if not more_is_better
    ]


def gain_over_kept(results, name, ours):
    """AUC of the kept tasks as learned with the others, less AUC without: one a task."""
    kept = results.tasks(name, "kept")
    columns = [results.tasks(name).index(task) for task in kept]
    together = results.of_tasks(name, ours)[:, columns]
    return (together - results.of_tasks(name, ours, learned="kept")).mean(axis=0)


def noise_verdicts(results, ours):
    """The other tasks, with and without a task of noise."""
    found = []
    for name in results.sets:
        if SETS[name].noise_task is not None and results.has_kept(name, ours):
            gains = gain_over_kept(results, name, ours)
            worst = results.tasks(name, "kept")[gains.argmin()]
            text = f"AUC with a task of noise ({name}) less without"
            found.append(Verdict(f"{text}, mean of the others", gains.mean(), -0.001))
            found.append(Verdict(f"{text}, worst of the others ({worst})", gains.min(), -0.001))
    return found


def main_task_verdicts(results, ours):
    return [
        Verdict(
            f"AUC of {SETS[name].main_task} ({name}) with the other tasks, less without",
            gain_over_kept(results, name, ours)[0],
            0.0,
        )
        for name in results.sets
        if SETS[name].main_task is not None and results.has_kept(name, ours)
    ]


def write_rst(path, results, command):
    """The table of the documentation: AUC of each set, and the means of everything."""
    wide = len(results.contenders) > MOST_COLUMNS
    header, lines = options_table(results) if wide else sets_table(results)
    text = (
        f"AUC on test rows, the mean over the tasks; seeds of each set: {seeds_text(results)}::\n\n"
        f"    {command}\n\n{rst_table(header, lines)}{rst_signs(results)}"
    )
    Path(path).write_text(text)


def seeds_text(results):
    """How many seeds each set was cut with, and which sets with fewer."""
    counts = {name: len(results.seeds(name)) for name in results.sets}
    most = max(counts.values())
    fewer = [f"{name}: {count}" for name, count in counts.items() if count < most]
    return f"{most} ({', '.join(fewer)})" if fewer else str(most)


def sets_table(results):
    """Header and lines with a set a line, a contender a column."""
    lines = [
        (
            name,
            f"{results.train_rows(name):,}",
            str(len(results.tasks(name))),
            *(f"{results.mean(name, who):.4f}" for who in results.contenders),
        )
        for name in results.sets
    ]
    for title, key, more_is_better in MEASURES:
        means = (f"{mean_over_sets(results, who, key):.4f}" for who in results.contenders)
        lines.append((f"{title}, mean of the sets", "", "", *means))
        ranks = (f"{rank:.2f}" for rank in average_ranks(results, key, more_is_better))
        lines.append((f"{title}, average rank", "", "", *ranks))
    return ("set", "training rows", "tasks", *results.contenders), lines


def options_table(results):
    """Header and lines with a contender a line, for many contenders; a set a column."""
    ranks = average_ranks(results, "auc", True)
    lines = [
        (
            who,
            *(f"{results.mean(name, who):.4f}" for name in results.sets),
            f"{mean_over_sets(results, who, 'auc'):.4f}",
            f"{rank:.2f}",
            f"{mean_over_sets(results, who, 'log_loss'):.4f}",
        )
        for who, rank in zip(results.contenders, ranks, strict=True)
    ]
    return ("contender", *results.sets, "mean", "rank", "log loss"), lines


def rst_table(header, rows):
    """A simple table of reStructuredText; a cell of the first column is never empty."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    cells = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    ]
    return "\n".join([rule, cells[0], rule, *cells[1:], rule, ""])


def rst_signs(results):
    """A sentence for each peer, beside the default."""
    if OURS not in results.contenders:
        return ""
    sentences = []
    for peer in results.peers:
        test = sign_test(results, OURS, peer)
        sentences.append(
            f"{OURS} is above {peer} on {test.wins} tasks and below on {test.losses} "
            f"(sign test, p = {test.p_value:.2g})."
        )
    return "\n".join(["", *sentences, ""])
