"""Each kernel alone, beside what the memory of this machine can do.

    python -m benchmarks.kernels --rows 1000000 --features 50 --threads 1 2

Rates are those of the fastest of several calls. A cell is one feature of one row (of one bin in the
split search). "GB/s" is the least that has to move for the result, so that it can be compared with
the triad below it; a kernel far below the triad waits for something else than memory.

    histogram   reads bins (1 byte a cell), rows (4) and row vectors (4 a lane); its sums stay in
                the cache, where each cell reads and writes one vector: "cache GB/s"
    partition   reads rows (4) and the split's bins (1), writes rows twice (8, with the buffer)
    split scan  reads the histogram (8 a lane and bin)
    gradients   reads scores (8 a task) and labels (2 a task), writes row vectors (4 a lane)
    predictor   reads raw rows (4 or 8 a cell); its blocks of rows and trees stay in the cache
    binning     reads raw rows (4 a cell), writes two copies of the bins (2 a cell)

The triad a = b + 3 c over float64 arrays larger than the caches is the machine's own measure: two
calls of numpy for each piece that fits the cache. Its threads are Python's, which numpy lets run.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from benchmarks.measure import least_seconds, print_table, write_json
from mtgbm import MultiTaskLGBMClassifier
from mtgbm.engine._isa import INSTRUCTION_SET
from mtgbm.engine.binning import BinMapper
from mtgbm.engine.grower import GrowthRules, TreeGrower
from mtgbm.engine.vectors import empty_vectors
from mtgbm.objectives import Task, TaskObjectives

#: Tasks whose row vectors have 4, 8, 16, 24 and 32 lanes.
TASKS = (1, 3, 7, 11, 15)
FOREST_ROWS, FOREST_TASKS, FOREST_TREES = 20_000, 3, 50
TRIAD_PIECE = 8192


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


@dataclass
class Rate:
    """One line: how much work was done in the fastest call."""

    kernel: str
    threads: int
    amount: float
    unit: str
    seconds: float
    moved: float
    cached: float = 0.0

    @property
    def per_second(self):
        return self.amount / self.seconds

    def cells(self):
        bandwidths = (bytes / self.seconds / 1e9 for bytes in (self.moved, self.cached))
        return (
            self.kernel,
            self.threads,
            f"{self.per_second:.3g} {self.unit}/s",
            *(f"{bandwidth:.1f}" if bandwidth else "" for bandwidth in bandwidths),
        )


def prepared_grower(table, n_tasks, n_threads, rows):
    """A grower that holds the gradients of random labels, and its root."""
    vectors = empty_vectors(len(table.X), n_tasks)
    rng = np.random.default_rng(1)
    vectors[:, :n_tasks] = rng.standard_normal((len(table.X), n_tasks), dtype=np.float32)
    vectors[:, n_tasks : 2 * n_tasks] = 0.25
    grower = TreeGrower(table.binned, table.mapper, GrowthRules(), n_threads)
    columns = np.arange(table.X.shape[1], dtype=np.int32)
    grower._prepare(vectors, np.ones(n_tasks), rows, columns)
    return grower, grower._root()


def histograms(table, n_threads, budget):
    """Every row, then a random quarter of them, for each number of lanes."""
    n_rows, n_features = table.X.shape
    every = np.arange(n_rows, dtype=np.int32)
    quarter = np.sort(np.random.default_rng(2).permutation(every)[: n_rows // 4])
    for n_tasks in TASKS:
        for rows, which in ((every, "all rows"), (quarter, "random 25 %")):
            grower, root = prepared_grower(table, n_tasks, n_threads, rows.copy())
            lanes = grower._lanes

            def fill(grower=grower, root=root):
                grower._release(root)
                grower._fill(root)

            cells = len(rows) * n_features
            yield Rate(
                f"histogram, {lanes} lanes ({n_tasks} tasks), {which}",
                n_threads,
                cells / 1e9,
                "G cells",
                least_seconds(fill, budget),
                moved=cells + len(rows) * (4 + 4 * lanes),
                cached=cells * 2 * 4 * lanes,
            )


def split_scans(table, n_threads, budget):
    for n_tasks in TASKS:
        rows = np.arange(len(table.X), dtype=np.int32)
        grower, root = prepared_grower(table, n_tasks, n_threads, rows)
        bins = int(table.mapper.n_bins_.sum())
        seconds = least_seconds(lambda grower=grower, root=root: grower._search(root), budget)
        moved = bins * grower._lanes * 8
        name = f"split scan, {n_tasks} tasks"
        yield Rate(name, n_threads, bins / 1e6, "M bins", seconds, moved)


def partitions(table, n_threads, budget):
    """The root is split again and again, its rows as the last split left them."""
    n_rows = len(table.X)
    for start, which in ((np.arange(n_rows), "in order"), (shuffled(n_rows), "shuffled")):
        rows = start.astype(np.int32)
        grower, root = prepared_grower(table, 1, n_threads, rows)
        grower._search(root)
        seconds = least_seconds(lambda grower=grower, root=root: grower._split(root, 1), budget)
        name = f"partition, rows {which}"
        yield Rate(name, n_threads, n_rows / 1e6, "M rows", seconds, n_rows * 13)


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


def triads(table, n_threads, budget):
    """a = b + 3 c by pieces, of which the product stays in the cache."""
    size = max(len(table.X) * 4, 1_000_000)
    a, b, c = np.zeros(size), np.ones(size), np.ones(size)
    bounds = np.linspace(0, size, n_threads + 1, dtype=int)

    def share(number):
        for start in range(bounds[number], bounds[number + 1], TRIAD_PIECE):
            piece = slice(start, min(start + TRIAD_PIECE, bounds[number + 1]))
            np.multiply(c[piece], 3.0, out=a[piece])
            np.add(a[piece], b[piece], out=a[piece])

    with ThreadPoolExecutor(n_threads) as pool:
        seconds = least_seconds(lambda: list(pool.map(share, range(n_threads))), budget)
    # Two arrays are read; the one that is written is read into the cache first.
    yield Rate("triad of the machine", n_threads, size / 1e9, "G numbers", seconds, size * 32)


KERNELS = {
    "histogram": histograms,
    "split": split_scans,
    "partition": partitions,
    "gradients": gradients,
    "predictor": predictions,
    "binning": binning,
    "triad": triads,
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
    print_table(("", "threads", "rate", "GB/s", "cache GB/s"), [rate.cells() for rate in rates])
    write_json(arguments.json, [vars(rate) for rate in rates])


if __name__ == "__main__":
    main()
