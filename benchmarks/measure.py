"""Seconds, memory and tables, as all benchmarks take and print them."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path


def timed(function, *args, **options):
    """Return what the call returns and the seconds it took."""
    start = time.perf_counter()
    result = function(*args, **options)
    return result, time.perf_counter() - start


def run_apart(module, name, arguments):
    """Return what ``python -m module --run name '{arguments}'`` prints last, read as JSON."""
    command = [sys.executable, "-m", module, "--run", name, json.dumps(arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def least_seconds(function, budget, least_runs=3):
    """Seconds of the fastest of several calls, the one that others disturbed least.

    Parameters
    ----------
    function : callable without arguments
    budget : float
        Calls are repeated until this many seconds are spent.
    least_runs : int
        But no fewer than this.
    """
    runs = []
    while len(runs) < least_runs or sum(runs) < budget:
        runs.append(timed(function)[1])
    return min(runs)


class PeakMemory:
    """Measures by how much resident memory rises above where it was at entry (Linux).

    The kernel's own high-water mark is set back and read again. Where that is not allowed, a thread
    looks every few milliseconds, and may miss a short peak.

    Attributes
    ----------
    megabytes : float
        Set at exit.
    """

    def __enter__(self):
        self._exact = reset_high_water_mark()
        self._before = self._highest = memory_status("VmRSS")
        if not self._exact:
            self._done = threading.Event()
            self._sampler = threading.Thread(target=self._sample, daemon=True)
            self._sampler.start()
        return self

    def _sample(self):
        while not self._done.wait(0.005):
            self._highest = max(self._highest, memory_status("VmRSS"))

    def __exit__(self, *exception):
        if self._exact:
            self._highest = memory_status("VmHWM")
        else:
            self._done.set()
            self._sampler.join()
        self.megabytes = max(0.0, self._highest - self._before)


def reset_high_water_mark():
    """Set VmHWM of this process back to its resident memory; False where that is not allowed."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except PermissionError:
        return False
    return True


def memory_status(field):
    """A line of /proc/self/status in megabytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024 / 1e6
    raise KeyError(field)


def print_table(header, rows):
    """Columns aligned, the first to the left, the others to the right."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for first, *others in cells:
        aligned = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        print("  ".join([first.ljust(widths[0]), *aligned]))


def write_json(path, results):
    """Write results to a file, if a path was given."""
    if path is not None:
        Path(path).write_text(json.dumps(results, indent=1) + "\n")


def read_records(path):
    """The records of a file with one in each line; none if there is no such file."""
    if not Path(path).exists():
        return []
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def append_record(path, record):
    """Add a line to a file; a run that is cut keeps what it has measured."""
    with Path(path).open("a") as file:
        file.write(json.dumps(record) + "\n")
