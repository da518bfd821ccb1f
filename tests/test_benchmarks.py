"""Every benchmark runs and prints what it promises, at a tiny size."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mtgbm.datasets import load_flights

ROOT = Path(__file__).parents[1]


def run(module, *arguments):
    """The standard output of ``python -m benchmarks.<module>``."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("module", ["flights", "fit", "kernels"])
def test_help_says_how_to_run_it(module):
    assert f"python -m benchmarks.{module} " in run(module, "--help")


def test_flights(tmp_path):
    file = tmp_path / "flights.json"
    printed = run(
        *("flights", "--rows", 3000, "--seeds", 2, "--rounds", 5, "--threads", 1, "--json", file)
    )
    assert "mean of 2 seeds" in printed
    assert "worst task" in printed
    results = json.loads(file.read_text())
    assert len(results["seeds"]) == 2
    for name in load_flights().target_names:
        assert printed.count(name) >= 3
    for side in ("joint", "dedicated"):
        auc = [seed[side]["auc"] for seed in results["seeds"]]
        np.testing.assert_allclose(results["mean"][side]["auc"], np.mean(auc, axis=0))
        assert np.min(auc) > 0.5
        assert max(results["mean"][side]["rounds"]) <= 5


def test_fit(tmp_path):
    file = tmp_path / "fit.json"
    printed = run(
        *("fit", "--rows", 3000, "--features", 6, "--tasks", 2, "--rounds", 5, "--threads", 1),
        *("--repeats", 1, "--all-tasks", "--json", file),
    )
    runs = json.loads(file.read_text())["runs"]
    assert set(runs) == {"mtgbm", "lightgbm", "lightgbm, each task"}
    for name, results in runs.items():
        assert f"\n{name}  " in printed
        assert len(results) == 1
        assert results[0]["auc"] > 0.6
        assert results[0]["seconds"] > 0
    ratio = runs["mtgbm"][0]["seconds"] / runs["lightgbm"][0]["seconds"]
    assert f"{ratio:.2f}" in printed


def test_kernels(tmp_path):
    file = tmp_path / "kernels.json"
    printed = run(
        *("kernels", "--rows", 2000, "--features", 4, "--threads", 1, "--budget", 0.001),
        *("--json", file),
    )
    rates = {rate["kernel"]: rate for rate in json.loads(file.read_text())}
    assert all(rate["seconds"] > 0 and name in printed for name, rate in rates.items())
    for lanes in (4, 8, 16, 24, 32):
        assert any(name.startswith(f"histogram, {lanes} lanes") for name in rates)


def test_peak_memory_is_that_of_the_block_alone():
    script = (
        "import numpy as np\n"
        "from benchmarks.measure import PeakMemory\n"
        "np.ones(20_000_000)\n"  # 160 MB, given back before the block starts
        "with PeakMemory() as memory:\n"
        "    np.ones(5_000_000)\n"
        "print(memory.megabytes)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert 35 < float(done.stdout) < 60
