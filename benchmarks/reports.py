"""Tables and figures of the runs that `benchmarks.peers` makes.

A run is a dict: the fields of its `Case`, its turn, and the numbers that `Case.run` measured.
"""

from statistics import median

import numpy as np

from benchmarks.measure import print_table

#: The contender whose ratios to all others are printed.
REFERENCE = "mtgbm"
#: Column, what was measured, its unit, digits.
MEASURES = (
    ("fit s", "fit_seconds", 1, ".2f"),
    ("predict M rows/s", "predict_rows_per_second", 1e6, ".2f"),
    ("one row µs", "one_row_seconds", 1e-6, ".0f"),
    ("bare row µs", "bare_row_seconds", 1e-6, ".1f"),
    ("binning s", "binning_seconds", 1, ".2f"),
    ("MB", "fit_megabytes", 1, ".0f"),
    ("AUC mean", "auc_mean", 1, ".4f"),
    ("AUC first", "auc_first_task", 1, ".4f"),
)
RATIOS = (
    ("fit", "fit_seconds"),
    ("predict", "predict_seconds"),
    ("one row", "one_row_seconds"),
    ("bare row", "bare_row_seconds"),
    ("binning", "binning_seconds"),
    ("memory", "fit_megabytes"),
)


def print_report(runs, sweep):
    """Tables of each swept value, then the scaling."""
    if not sweep:
        print_medians(runs)
        print_ratios(runs)
        return
    swept, values = sweep
    for value in values:
        print(f"{swept}: {value}\n")
        same = [run for run in runs if run[swept] == value]
        print_medians(same)
        print_ratios(same)
        print()
    print_scaling(runs, swept)


def by_contender(runs):
    """Runs of each contender, in order of the turns."""
    names = dict.fromkeys(run["contender"] for run in runs)
    return {name: [run for run in runs if run["contender"] == name] for name in names}


def median_of(runs, key):
    """None where the contender has no such number."""
    values = [run[key] for run in runs]
    return None if None in values else median(values)


def print_medians(runs):
    lines = []
    for name, own in by_contender(runs).items():
        medians = [(median_of(own, key), unit, digits) for _, key, unit, digits in MEASURES]
        cells = (
            "" if value is None else format(value / unit, digits) for value, unit, digits in medians
        )
        lines.append((name, *cells))
    print_table(("medians", *(column for column, *_ in MEASURES)), lines)


def ratios(ours, theirs, key):
    """Ours over theirs for each pair of runs; none where one has no such number, or 0."""
    pairs = [(our[key], their[key]) for our, their in zip(ours, theirs, strict=True)]
    return [our / their for our, their in pairs if our is not None and their]


def print_ratios(runs):
    """Of the reference to every other contender: least, median and greatest of the pairs."""
    groups = by_contender(runs)
    ours = groups.pop(REFERENCE, None)
    if not ours or not groups:
        return
    lines = []
    for name, theirs in groups.items():
        found = [ratios(ours, theirs, key) for _, key in RATIOS]
        lines.append((name, *(spread(values) for values in found)))
    print(
        f"\n{REFERENCE} / contender: least, median, greatest of the pairs; below 1 is in its favour"
    )
    print_table(("", *(column for column, _ in RATIOS)), lines)


def spread(values):
    if not values:
        return ""
    return " ".join(f"{value:.3f}" for value in (min(values), median(values), max(values)))


def scaling(runs, swept):
    """Median fit seconds at each swept value: {contender: (values, seconds)}."""
    curves = {}
    for name, own in by_contender(runs).items():
        values = sorted({run[swept] for run in own})
        seconds = [
            median_of([run for run in own if run[swept] == value], "fit_seconds")
            for value in values
        ]
        curves[name] = values, seconds
    return curves


def exponent(values, seconds):
    """p of seconds = c * values**p, fitted to the logarithms by least squares."""
    return np.polyfit(np.log(values), np.log(seconds), 1)[0]


def print_scaling(runs, swept):
    curves = scaling(runs, swept)
    values = next(iter(curves.values()))[0]
    print(f"\nfit seconds by {swept}; seconds grow as {swept} to the power of the exponent")
    print_table(
        ("", *values, "exponent"),
        [
            (name, *(f"{s:.2f}" for s in seconds), f"{exponent(values, seconds):.2f}")
            for name, (values, seconds) in curves.items()
        ],
    )


def draw(path, runs, sweep):
    """Fit seconds against the swept value, or for each contender; mtgbm stands out."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot()
    if sweep:
        draw_scaling(axes, scaling(runs, sweep[0]), sweep[0])
    else:
        draw_spreads(axes, by_contender(runs))
    figure.savefig(path, dpi=150)


def draw_scaling(axes, curves, swept):
    from matplotlib.ticker import NullLocator

    for number, (name, (values, seconds)) in enumerate(curves.items()):
        label = f"{name} (exponent {exponent(values, seconds):.2f})"
        width = 3 if name == REFERENCE else 1.5
        marker = "osD^v<>PX*"[number % 10]
        axes.loglog(values, seconds, marker=marker, linewidth=width, label=label)
    axes.set_xticks(values, labels=[f"{value:,}" for value in values])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(lambda y, _: f"{y:g}" if f"{y:e}"[0] in "25" else "")
    axes.set_xlabel(swept)
    axes.set_ylabel("fit seconds (median)")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1), borderaxespad=0, fontsize="small")


def draw_spreads(axes, groups):
    for place, (name, own) in enumerate(groups.items()):
        seconds = [run["fit_seconds"] for run in own]
        axes.barh(place, median(seconds), color="C0" if name == REFERENCE else "0.7")
        axes.plot(seconds, [place] * len(seconds), "k|")
    axes.set_yticks(range(len(groups)), labels=list(groups))
    axes.invert_yaxis()
    axes.set_xlabel("fit seconds (bar: median; strokes: runs)")
