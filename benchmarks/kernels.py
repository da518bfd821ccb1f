"""Each kernel alone, as a share of what this machine can do at most.

    python -m benchmarks.kernels --rows 1000000 --features 50 --threads 1 2

Rates are those of the fastest of several calls. A cell is one feature of one row (of one bin in the
split search). The rooflines come from benchmarks/roofline.c, which is compiled for the purpose with
the C compiler that CC names, `cc` by default. Histograms are compared with the bare loop
that adds vectors of this width to random cells, rows in order, nothing else; everything else
with the bandwidth of memory, a[i] = b[i] + 3 c[i]. "GB/s" is the least that has to move for the
result; a kernel far below the roofline waits for something else than memory.

    histogram   reads bins (1 byte a cell), rows (4) and row vectors (2 or 4 a lane); its sums stay
                in the cache
    partition   reads rows (4) and the split's bins (1), writes rows and, of one side, twice (6)
    split scan  reads the histogram (4 or 8 a lane and bin)
    gradients   reads scores (8 a task) and labels (2 a task), writes row vectors (4 a lane)
    quantize    reads row vectors twice (4 a lane), writes integers (2 a lane)
    predictor   reads raw rows (4 or 8 a cell); its blocks of rows and trees stay in the cache
    binning     reads raw rows (4 a cell), writes two copies of the bins (2 a cell)
"""

import argparse
import os
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.measure import least_seconds, print_table, write_json
from mtgbm import MultiTaskLGBMClassifier
from mtgbm.engine._isa import INSTRUCTION_SET
from mtgbm.engine.binning import BinMapper, BinnedMatrix
from mtgbm.engine.criteria import SplitGradients
from mtgbm.engine.grower import GrowthRules, TreeGrower
from mtgbm.engine.quantization import ExactGradients, QuantizedGradients
from mtgbm.engine.vectors import empty_vectors
from mtgbm.objectives import Task, TaskObjectives

#: Tasks whose row vectors have 4, 8 and 16 lanes; of more tasks, seven are drawn.
TASKS = (1, 3, 7)
FOREST_ROWS, FOREST_TASKS, FOREST_TREES = 20_000, 3, 50
#: Share of the cells in one bin, in the skewed table.
SKEW = 0.7


@dataclass
class Table:
    """Binned rows on which kernels run, and their raw values."""

    X: np.ndarray
    mapper: BinMapper
    binned: object

    @classmethod
    def make(cls, rows, features):
        X = np.random.default_rng(0).standard_normal((rows, features), dtype=np.float32)
        numeric = np.zeros(features, dtype=bool)
        mapper = BinMapper(255, 200_000, numeric, np.random.default_rng(0), n_threads=2).fit(X)
        return cls(X, mapper, mapper.transform(X))

    @property
    def cells(self):
        return self.X.size

    def skewed(self):
        """The same with most cells of each feature in one bin."""
        by_row = self.binned.by_row.copy()
        by_row[np.random.default_rng(6).random(by_row.shape) < SKEW] = 7
        binned = BinnedMatrix(by_row, np.ascontiguousarray(by_row.T))
        return Table(self.X, self.mapper, binned)


@dataclass
class Rate:
    """One line: how much work was done in the fastest call.

    Attributes
    ----------
    moved : float
        Bytes that had to move.
    roof : float or None
        The highest rate there could be; None where memory is the limit.
    """

    kernel: str
    threads: int
    amount: float
    unit: str
    seconds: float
    moved: float
    roof: float | None = None

    @property
    def per_second(self):
        return self.amount / self.seconds

    @property
    def bandwidth(self):
        return self.moved / self.seconds / 1e9

    @property
    def share(self):
        """Of the roofline."""
        if self.roof is not None:
            return self.per_second / self.roof
        return self.bandwidth / triad_roof(self.threads)

    def cells(self):
        return (
            self.kernel,
            self.threads,
            f"{self.per_second:.3g} {self.unit}/s",
            f"{self.bandwidth:.1f}",
            f"{self.share:.2f}",
        )


@cache
def build_folder():
    """Is removed at exit."""
    return tempfile.TemporaryDirectory(prefix="mtgbm-roofline-")


@cache
def roofline_program(lanes, cell, row):
    """Path of the compiled benchmarks/roofline.c."""
    source = Path(__file__).with_name("roofline.c")
    program = Path(build_folder().name, f"{cell}{lanes}")
    compiler = os.environ.get("CC", "cc").split()
    flags = ["-O3", "-march=native", "-fopenmp"]
    macros = [f"-DLANES={lanes}", f"-DCELL={cell}", f"-DROW={row}"]
    subprocess.run([*compiler, *flags, *macros, source, "-o", program], check=True)
    return program


@cache
def cell_roof(kind, lanes, rows, features, n_threads):
    """G cells a second of the bare loop."""
    types = ("int32_t", "int16_t") if kind == "int" else ("double", "float")
    return run(roofline_program(lanes, *types), "cells", rows, features, n_threads)


@cache
def triad_roof(n_threads):
    """GB a second, of arrays larger than the caches."""
    return run(roofline_program(8, "int32_t", "int16_t"), "triad", 10_000_000, n_threads)


def run(program, *arguments):
    """The number that a program prints."""
    command = [program, *map(str, arguments)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def prepared_growth(table, n_tasks, n_threads, rows, precision):
    """A tree about to grow from random gradients, and what its histograms sum."""
    vectors = empty_vectors(len(table.X), n_tasks)
    rng = np.random.default_rng(1)
    vectors[:, :n_tasks] = rng.standard_normal((len(table.X), n_tasks), dtype=np.float32)
    vectors[:, n_tasks : 2 * n_tasks] = 0.25
    gradients = SplitGradients(vectors, n_tasks, np.arange(n_tasks), np.ones(n_tasks))
    grower = TreeGrower(table.binned, table.mapper, GrowthRules(), n_threads)
    columns = np.arange(table.X.shape[1], dtype=np.int32)
    row_vectors = precision.row_vectors(gradients, n_threads)
    return grower.begin(row_vectors, gradients, rows, columns), row_vectors


def precisions():
    return {"int": QuantizedGradients(), "float": ExactGradients()}


def histograms(table, n_threads, budget):
    """Every row, a random quarter of them, and every row of a skewed table."""
    n_rows, n_features = table.X.shape
    every = np.arange(n_rows, dtype=np.int32)
    quarter = np.sort(np.random.default_rng(2).permutation(every)[: n_rows // 4])
    cases = [
        (table, every, "all rows"),
        (table, quarter, "random 25 %"),
        (table.skewed(), every, f"{SKEW:.0%} in one bin"),
    ]
    for n_tasks in TASKS:
        for kind, precision in precisions().items():
            for case, rows, which in cases:
                growth, vectors = prepared_growth(case, n_tasks, n_threads, rows.copy(), precision)
                lanes, width = vectors.n_lanes, vectors.lanes.itemsize
                cells = len(rows) * n_features
                yield Rate(
                    f"histogram, {lanes} {kind} lanes ({n_tasks} tasks), {which}",
                    n_threads,
                    cells / 1e9,
                    "G cells",
                    least_seconds(lambda growth=growth: growth.fill(0), budget),
                    moved=cells + len(rows) * (4 + width * lanes),
                    roof=cell_roof(kind, lanes, n_rows, n_features, n_threads),
                )


def split_scans(table, n_threads, budget):
    bins = int(table.mapper.n_bins_.sum())
    for n_tasks in TASKS:
        for kind, precision in precisions().items():
            rows = np.arange(len(table.X), dtype=np.int32)
            growth, vectors = prepared_growth(table, n_tasks, n_threads, rows, precision)
            growth.search_root()
            seconds = least_seconds(
                lambda growth=growth: growth.search.find(0, growth.slots[0], n_threads), budget
            )
            moved = bins * vectors.n_lanes * np.dtype(vectors.cell_dtype).itemsize
            name = f"split scan, {n_tasks} tasks, {kind}"
            yield Rate(name, n_threads, bins / 1e6, "M bins", seconds, moved)


def partitions(table, n_threads, budget):
    """The root is split again and again, its rows as the last split left them."""
    n_rows = len(table.X)
    for start, which in ((np.arange(n_rows), "in order"), (shuffled(n_rows), "shuffled")):
        rows = start.astype(np.int32)
        growth, _ = prepared_growth(table, 1, n_threads, rows, ExactGradients())
        growth.search_root()
        seconds = least_seconds(
            lambda growth=growth: growth.partition.split(0, 0, n_rows, n_threads), budget
        )
        name = f"partition, rows {which}"
        yield Rate(name, n_threads, n_rows / 1e6, "M rows", seconds, n_rows * 11)


def shuffled(n_rows):
    return np.random.default_rng(3).permutation(n_rows)


def gradients(table, n_threads, budget):
    n_rows = len(table.X)
    for n_tasks in (1, 3, 7):
        rng = np.random.default_rng(4)
        raw = rng.normal(size=(n_rows, n_tasks))
        labels = (raw > 1).astype(np.int16)
        objective = TaskObjectives([Task(f"task {t}") for t in range(n_tasks)], np.ones(n_tasks))
        vectors = empty_vectors(n_rows, n_tasks)

        def differentiate(arguments=(raw, labels, None, vectors, n_threads), objective=objective):
            objective.gradients(*arguments)

        moved = n_rows * (n_tasks * (8 + 2) + vectors.shape[1] * 4)
        seconds = least_seconds(differentiate, budget)
        yield Rate(f"gradients, {n_tasks} tasks", n_threads, n_rows / 1e6, "M rows", seconds, moved)


def quantizations(table, n_threads, budget):
    n_rows = len(table.X)
    for n_tasks in (1, 3, 7):
        vectors = empty_vectors(n_rows, n_tasks)
        vectors[:, : 2 * n_tasks] = np.random.default_rng(7).random((n_rows, 2 * n_tasks))
        gradients = SplitGradients(vectors, n_tasks, np.arange(n_tasks), np.ones(n_tasks))
        precision = QuantizedGradients()
        seconds = least_seconds(
            lambda precision=precision, gradients=gradients: precision.row_vectors(
                gradients, n_threads
            ),
            budget,
        )
        moved = n_rows * vectors.shape[1] * 10
        yield Rate(f"quantize, {n_tasks} tasks", n_threads, n_rows / 1e6, "M rows", seconds, moved)


def predictions(table, n_threads, budget):
    """Trees grown on the first rows predict all of them: by masks, and by walks one by one."""
    X = table.X[:FOREST_ROWS]
    Y = X[:, :FOREST_TASKS] + np.random.default_rng(5).normal(size=(len(X), FOREST_TASKS)) > 0
    forest = MultiTaskLGBMClassifier(n_estimators=FOREST_TREES).fit(X, Y.astype(float)).forest_
    name = f"predictor, {FOREST_TREES} trees, {FOREST_TASKS} tasks"
    for rows, which in ((table.X, "float32"), (table.X.astype(np.float64), "float64")):
        seconds = least_seconds(lambda rows=rows: forest.raw_predict(rows, n_threads), budget)
        million = len(rows) / 1e6
        yield Rate(f"{name}, {which}", n_threads, million, "M rows", seconds, rows.nbytes)
    alone = [table.X[i : i + 1] for i in range(min(1000, len(table.X)))]
    seconds = least_seconds(lambda: [forest.raw_predict(row, 1) for row in alone], budget)
    moved = sum(row.nbytes for row in alone)
    yield Rate(f"{name}, row by row", 1, len(alone) / 1e6, "M rows", seconds, moved)


def binning(table, n_threads, budget):
    table.mapper.n_threads = n_threads
    seconds = least_seconds(lambda: table.mapper.transform(table.X), budget)
    yield Rate("binning", n_threads, table.cells / 1e9, "G cells", seconds, table.cells * 6)


KERNELS = {
    "histogram": histograms,
    "split": split_scans,
    "partition": partitions,
    "gradients": gradients,
    "quantize": quantizations,
    "predictor": predictions,
    "binning": binning,
}


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kernels",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=50)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", choices=KERNELS, nargs="+", default=list(KERNELS))
    parser.add_argument("--budget", type=float, default=0.5, help="seconds for each line")
    parser.add_argument("--json", metavar="FILE", help="write all rates to this file")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    table = Table.make(arguments.rows, arguments.features)
    print(f"{arguments.rows} rows x {arguments.features} features, kernels for {INSTRUCTION_SET}\n")
    rates = [
        rate
        for kernel in arguments.only
        for n_threads in arguments.threads
        for rate in KERNELS[kernel](table, n_threads, arguments.budget)
    ]
    header = ("", "threads", "rate", "GB/s", "of the roofline")
    print_table(header, [rate.cells() for rate in rates])
    for n_threads in arguments.threads:
        print(f"memory, {n_threads} threads: {triad_roof(n_threads):.1f} GB/s")
    write_json(arguments.json, [{**vars(rate), "share": rate.share} for rate in rates])


if __name__ == "__main__":
    main()
