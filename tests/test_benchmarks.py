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


@pytest.mark.parametrize("module", ["flights", "peers", "kernels", "explain", "formats"])
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


TINY = ("--features", 6, "--rounds", 5, "--threads", 1, "--repeats", 1)


def test_peers(tmp_path):
    """Every kind of contender that needs no peer beyond those of the tests."""
    file, plot = tmp_path / "peers.json", tmp_path / "peers.png"
    names = (
        *("mtgbm", "mtgbm, float", "lightgbm, one task", "lightgbm quantised, each task"),
        "sklearn, each task",
    )
    printed = run(
        *("peers", *TINY, "--rows", 3000, "--tasks", 2, "--skew", 0.5, "--missing", 0.1, "--quiet"),
        *("--only", *names, "--json", file, "--plot", plot),
    )
    report = json.loads(file.read_text())
    assert report["versions"]["lightgbm"]
    assert [run["contender"] for run in report["runs"]] == list(names)
    for result in report["runs"]:
        assert printed.count(f"\n{result['contender']}  ") >= 1
        assert min(result["auc_mean"], result["auc_first_task"]) > 0.6
        no_such_step = {key for key, value in result.items() if value is None}
        learns_one = result["auc_mean"] == result["auc_first_task"]
        assert learns_one == (result["contender"] == "lightgbm, one task")
        if result["contender"].startswith("sklearn"):
            assert no_such_step == {"bare_row_seconds", "binning_seconds"}
        else:
            assert not no_such_step
    ours, _, theirs, *_ = report["runs"]
    assert f"{ours['fit_seconds'] / theirs['fit_seconds']:.3f}" in printed
    assert plot.stat().st_size > 0


def test_peers_sweep(tmp_path):
    """One line a value, and an exponent that can be worked out from the runs."""
    file, plot = tmp_path / "sweep.json", tmp_path / "sweep.png"
    printed = run(
        *("peers", *TINY, "--tasks", 1, "--only", "mtgbm", "--sweep", "rows", 1000, 4000),
        *("--json", file, "--plot", plot),
    )
    small, large = json.loads(file.read_text())["runs"]
    assert (small["rows"], large["rows"]) == (1000, 4000)
    exponent = np.log(large["fit_seconds"] / small["fit_seconds"]) / np.log(4)
    assert printed.rstrip().endswith(f"{exponent:.2f}")
    assert plot.stat().st_size > 0


def test_peers_that_are_missing_are_named():
    script = (
        "import runpy, sys\n"
        "sys.modules['catboost'] = None\n"
        "sys.argv[1:] = ['--only', 'catboost, one model']\n"
        "runpy.run_module('benchmarks.peers', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "catboost cannot be imported: catboost, one model" in done.stderr
    assert "pip install 'mtgbm[peers]'" in done.stderr


@pytest.mark.parametrize("sweep", [["rows", "10"], ["rows", "10", "ten"], ["leaves", "7", "31"]])
def test_peers_refuses_other_sweeps(sweep):
    command = [sys.executable, "-m", "benchmarks.peers", "--sweep", *sweep]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"got {' '.join(sweep)}" in done.stderr


def test_made_table_is_as_skewed_and_incomplete_as_asked():
    script = (
        "import numpy as np\n"
        "from benchmarks.cases import make_table\n"
        "X, Y = make_table(20_000, 5, 2, skew=0.7, missing=0.2)\n"
        "least = np.nanmin(X, axis=0)\n"
        "print(*np.isnan(X).mean(axis=0), *np.nanmean(X == least, axis=0) / 0.8, *Y.mean(axis=0))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    shares = np.array(done.stdout.split(), dtype=float)
    np.testing.assert_allclose(shares[:5], 0.2, atol=0.02)
    np.testing.assert_allclose(shares[5:10], 0.7, atol=0.02)
    assert np.all((shares[10:] > 0.1) & (shares[10:] < 0.5))


def test_kernels(tmp_path):
    file = tmp_path / "kernels.json"
    printed = run(
        *("kernels", "--rows", 2000, "--features", 4, "--threads", 1, "--budget", 0.001),
        *("--json", file),
    )
    rates = {rate["kernel"]: rate for rate in json.loads(file.read_text())}
    assert all(rate["seconds"] > 0 and name in printed for name, rate in rates.items())
    assert all(rate["share"] > 0 for rate in rates.values())
    for lanes in (4, 8, 16):
        for kind in ("int", "float"):
            assert any(name.startswith(f"histogram, {lanes} {kind} lanes") for name in rates)


def test_explain(tmp_path):
    file = tmp_path / "explain.json"
    printed = run(
        *("explain", *TINY, "--rows", 30, 60, "--train-rows", 500, "--tasks", 2, "--json", file)
    )
    ours, theirs, of_one = json.loads(file.read_text())["runs"]
    assert [ours["contender"], of_one["contender"]] == ["mtgbm", "shap, one task"]
    for rows in ("30", "60"):
        assert f"{ours['microseconds'][rows]:.1f}" in printed
        assert f"{ours['microseconds'][rows] / theirs['microseconds'][rows]:.3f}" in printed


def test_formats(tmp_path):
    file = tmp_path / "formats.json"
    printed = run("formats", "--rows", 200, "--json", file)
    results = json.loads(file.read_text())
    assert len(results) == 5
    for name, found in results.items():
        assert f"\n{name}  " in printed
        assert found["native file"] == found["LightGBM text"] == 0
        assert max(found.values()) < 1e-6


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
