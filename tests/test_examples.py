"""The examples and the README's code run as a newcomer runs them, only smaller."""

import os
import re
import subprocess
import sys
from pathlib import Path

import joblib
import matplotlib.image
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline

from mtgbm import MissingValueImputer, MultiTaskLGBMClassifier, RiskTableEncoder
from mtgbm.datasets import load_flights
from mtgbm.io.onnx import to_onnx

ROOT = Path(__file__).parents[1]
TASKS = ["arr_late_15", "dep_late_15", "arr_late_60", "dep_late_60", "cancelled"]
PLOTS = {
    "flights": ["roc", "precision_recall", "training", "importance"],
    "reviews": ["roc", "precision_recall", "training", "explanation", "ablation"],
    "plots": [
        *("ranking", "learning", "importance", "calibration", "rounds"),
        *("tree", "weights", "affinity"),
    ],
}


def run_example(name, *arguments, **environment):
    command = [sys.executable, ROOT / "examples" / f"{name}.py", *map(str, arguments)]
    environment = os.environ | {"MPLBACKEND": "agg"} | environment
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    return run.stdout


def rows_of_table(output):
    """The words of each line that starts with a task's name, by that name."""
    lines = [line.split() for line in output.splitlines()]
    return {words[0]: words[1:] for words in lines if words and words[0] in TASKS}


def assert_is_picture(path):
    pixels = matplotlib.image.imread(path)
    assert min(pixels.shape[:2]) > 300
    assert pixels.std() > 0.02  # not blank


@pytest.fixture(scope="module")
def flights(tmp_path_factory):
    """Output and folder of the small run that all tests of the example look at."""
    folder = tmp_path_factory.mktemp("flights")
    output = run_example("flights", "--rows", 4000, "--rounds", 8, "--grid", "--out", folder)
    return output, folder


def test_flights_prints_both_ways_for_every_task(flights):
    output, _ = flights
    table = rows_of_table(output)
    assert list(table) == TASKS
    for auc, dedicated_auc, *_ in table.values():
        assert 0.5 < float(auc) < 1
        assert 0.5 < float(dedicated_auc) < 1


def test_flights_searches_a_grid(flights):
    output, _ = flights
    assert re.search(r"best: \{'model__reg_lambda': \d+, 'model__weighting__sub_weight'", output)


@pytest.mark.parametrize("name", PLOTS["flights"])
def test_flights_saves_its_plots(flights, name):
    _, folder = flights
    assert_is_picture(folder / f"flights_{name}.png")


def test_flights_saves_a_model_that_another_process_can_use(flights):
    _, folder = flights
    pipeline = joblib.load(folder / "flights.joblib")
    X, _ = load_flights(return_X_y=True)
    assert pipeline["model"].task_names_ == TASKS
    assert pipeline.predict_proba(X[:10]).shape == (10, 5)


def test_partial_labels_prints_a_line_for_each_share():
    output = run_example("partial_labels", "--rows", 8000, "--rounds", 10)
    rows = [line.split() for line in output.splitlines() if "%" in line.split()[0]]
    assert [row[0] for row in rows] == ["100%", "30%", "10%", "3%"]
    counts = [int(row[1]) for row in rows]
    assert counts == sorted(counts, reverse=True)
    assert all(0.4 < float(auc) < 1 for row in rows for auc in row[2:])


def test_plots_draws_every_figure(tmp_path):
    output = run_example("plots", OUT=str(tmp_path), ROWS="4000", ROUNDS="8")
    assert list(rows_of_table(output)) == TASKS
    for name in PLOTS["plots"]:
        assert_is_picture(tmp_path / f"{name}.png")


def test_which_tasks_help_compares_and_selects(tmp_path):
    output = run_example("which_tasks_help", OUT=str(tmp_path), ROWS="3000", ROUNDS="5")
    assert list(rows_of_table(output)) == TASKS
    assert re.search(r"^arr_late_60 with (no other task|\w+)", output, re.MULTILINE)
    assert_is_picture(tmp_path / "affinity_of_flights.png")


#: Runs a script where nothing of these can be imported.
WITHOUT_THE_LIBRARIES = """
import runpy, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"mtgbm", "sklearn", "pandas", "scipy", "joblib", "onnx"}:
            raise ImportError(f"{name} is not there")
sys.meta_path.insert(0, Refuse())
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_score_onnx_needs_onnxruntime_and_numpy_only(tmp_path):
    X, Y = load_flights(return_X_y=True)
    # A file holds decimals: read as doubles they are not the 32-bit floats that they came from.
    floats = X.select_dtypes("float32").columns
    score = X[30_000:].astype(dict.fromkeys(floats, "float64"))
    pipeline = make_pipeline(
        MissingValueImputer(add_indicator=True),
        RiskTableEncoder(random_state=0),
        MultiTaskLGBMClassifier(n_estimators=10, n_jobs=1),
    ).fit(X[:4000], Y[:4000])
    to_onnx(pipeline, tmp_path / "flights.onnx")
    score.to_csv(tmp_path / "rows.csv", index=False)
    script = ROOT / "examples" / "score_onnx.py"
    files = [tmp_path / name for name in ("flights.onnx", "rows.csv", "scores.csv")]
    command = [sys.executable, "-c", WITHOUT_THE_LIBRARIES, script, *files]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    header, *lines = files[2].read_text().splitlines()
    assert header.split(",") == TASKS
    found = np.array([line.split(",") for line in lines], dtype=float)
    np.testing.assert_allclose(found, pipeline.predict_proba(score), rtol=0, atol=1e-12)


def test_reviews_scores_three_ways_saves_and_explains(tmp_path):
    output = run_example("reviews", "--rows", 300, "--epochs", 1, "--out", tmp_path)
    for way in ("text and columns", "text", "columns"):
        row = re.search(rf"^{way} +([\d.]+) +([\d.]+) +[\d.]+ +[\d.]+$", output, re.MULTILINE)
        assert 0.3 < float(row[1]) < 1
        assert 0.2 < float(row[2]) < 1
    differences = re.findall(r"probabilities differ by (\S+)", output)
    assert len(differences) == 2
    assert max(map(float, differences)) < 1e-5
    assert re.search(r"^Review Text +-?\d", output, re.MULTILINE)  # of the ablation
    assert (tmp_path / "reviews_model").is_dir()
    assert (tmp_path / "reviews.onnx").is_file()
    for name in PLOTS["reviews"]:
        assert_is_picture(tmp_path / f"reviews_{name}.png")


def code_of_the_readme(number):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    scope = {}
    exec(compile(blocks[number], "README.md", "exec"), scope)
    return scope


def test_the_code_of_the_readme_runs(capsys):
    scope = code_of_the_readme(0)
    assert scope["probabilities"].shape == (10_000, 5)
    assert list(rows_of_table(capsys.readouterr().out)) == TASKS


def test_the_code_of_the_readme_with_text_runs():
    scope = code_of_the_readme(1)
    probabilities, y = scope["probabilities"], scope["y"]
    assert probabilities.shape == (1000, 5)
    assert roc_auc_score(y[2000:], probabilities, multi_class="ovr") > 0.7
