"""The same probabilities from every file format: the largest differences on other rows.

    python -m benchmarks.formats --rows 10000 --json out.json

Five models of 1, 3 and 10 tasks, one with a multiclass task, one that keeps each task's own best
rounds, all with missing values and categories, are written in each format, read by whoever reads
it, and compared with `predict_proba` on rows that also have categories which `fit` did not see. The
command fails if a difference is larger than the format's limit.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.measure import print_table, write_json
from mtgbm import MultiTaskLGBMClassifier, load_model
from mtgbm.io.lightgbm_text import read_lightgbm, write_lightgbm

N_NUMBERS = 5
CATEGORIES = np.array([0, 1, 2, 3, 5, 8, 13, 31, 32, 33, 64, 200])
#: Largest difference of a probability that each format may have.
LIMITS = {
    "native file": 0.0,
    "LightGBM text": 0.0,
    "LightGBM": 1e-12,
    "treelite": 1e-6,
    "onnxruntime": 1e-6,
}


def make_rows(n_rows, seed, known=CATEGORIES):
    """Numbers and two categorical columns, a tenth of all cells missing."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, N_NUMBERS + 2)).round(3)
    X[:, -2] = rng.choice(known, n_rows)
    X[:, -1] = rng.integers(0, 4, n_rows)
    return np.where(rng.random(X.shape) < 0.1, np.nan, X)


def make_scores(X, n_tasks):
    """What related labels depend on: a common part, an own part, and noise."""
    rng = np.random.default_rng(0)
    present = np.nan_to_num(X, nan=1.5)
    effect = rng.normal(size=len(CATEGORIES))
    place = np.searchsorted(CATEGORIES, present[:, -2]) % len(CATEGORIES)
    common = present[:, 0] + effect[place] + (present[:, -1] == 2)
    own = present[:, np.arange(n_tasks) % N_NUMBERS] * rng.normal(size=n_tasks)
    return common[:, None] + own + rng.normal(size=(len(X), n_tasks))


def make_models(n_rows=3000):
    """The fitted models by name."""
    X = make_rows(n_rows, seed=0)
    scores = make_scores(X, 10)
    Y = (scores > 0.5).astype(float)
    mixed = Y[:, :3].copy()
    mixed[:, 1] = np.digitize(scores[:, 1], [-0.5, 1])
    cases = {
        "1 task": (Y[:, 0], {}),
        "3 tasks": (Y[:, :3], {}),
        "10 tasks": (Y, {}),
        "a multiclass task": (mixed, {"objective": {"task_1": "multiclass"}}),
        "own best rounds": (
            Y[:, :3],
            {"n_estimators": 200, "early_stopping_rounds": 3, "best_round_per_task": True},
        ),
    }
    common = {
        "n_estimators": 30,
        "num_leaves": 15,
        "min_data_per_group": 5,
        "cat_smooth": 1.0,
        "categorical_feature": [N_NUMBERS, N_NUMBERS + 1],
        "random_state": 0,
        "n_jobs": 1,
    }
    return {
        name: MultiTaskLGBMClassifier(**(common | own)).fit(X, labels)
        for name, (labels, own) in cases.items()
    }


def make_other_rows(n_rows=10_000):
    """Rows to score: some of their categories are new, negative or large."""
    return make_rows(n_rows, seed=1, known=[*CATEGORIES, -1, 4, 50, 10_000, 2**31])


# Readers ----------------------------------------------------------------------------------------


def with_native_file(model, X, folder):
    model.save_model(folder / "model.mtgbm")
    return load_model(folder / "model.mtgbm").predict_proba(X)


def with_lightgbm_text(model, X, folder):
    write_lightgbm(model, folder / "model.txt")
    return read_lightgbm(folder / "model.txt").predict_proba(X)


def with_lightgbm(model, X, folder):
    return shaped(model, model.to_lightgbm().predict(X, num_threads=1))


def with_treelite(model, X, folder):
    import treelite

    mixed = isinstance(model.classes_, list)
    text = model.to_lightgbm().model_to_string()
    if mixed:  # treelite wants an objective, and then gives scores before its link
        objective = f"objective=multiclassova num_class:{model.forest_.n_outputs} sigmoid:1"
        text = text.replace("feature_names=", f"{objective}\nfeature_names=", 1)
    (folder / "lightgbm.txt").write_text(text)
    trees = treelite.frontend.load_lightgbm_model(folder / "lightgbm.txt")
    return shaped(model, treelite.gtil.predict(trees, X, nthread=1, pred_margin=mixed))


def with_onnxruntime(model, X, folder):
    from onnxruntime import InferenceSession, SessionOptions

    model.to_onnx(folder / "model.onnx")
    options = SessionOptions()
    options.intra_op_num_threads = 1
    session = InferenceSession(folder / "model.onnx", options)
    names = [output.name for output in session.get_outputs() if output.name != "scores"]
    found = session.run(names, {"X": X})
    return found if isinstance(model.classes_, list) else found[0]


READERS = {
    "native file": with_native_file,
    "LightGBM text": with_lightgbm_text,
    "LightGBM": with_lightgbm,
    "treelite": with_treelite,
    "onnxruntime": with_onnxruntime,
}


def shaped(model, found):
    """What LightGBM predicts, in the shape of `predict_proba`.

    It has no link for several tasks of which one is multiclass and gives scores then.
    """
    found = found.reshape(len(found), -1)
    if isinstance(model.classes_, list):
        return model._probabilities(found)
    return np.hstack([1 - found, found]) if found.shape[1] == 1 else found


def largest_difference(expected, found):
    """Between two arrays, or two lists of arrays."""
    if not isinstance(expected, list):
        expected, found = [expected], [found]
    return max(float(np.abs(own - other).max()) for own, other in zip(expected, found, strict=True))


def differences(models, X):
    """Largest differences by model and format."""
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, model in models.items():
            expected = model.predict_proba(X)
            results[name] = {
                reader: largest_difference(expected, read(model, X, Path(folder)))
                for reader, read in READERS.items()
            }
    return results


def main():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.formats",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=10_000, help="rows that are scored")
    parser.add_argument("--json", metavar="FILE", help="write all differences to this file")
    arguments = parser.parse_args()
    results = differences(make_models(), make_other_rows(arguments.rows))
    write_json(arguments.json, results)
    print(f"largest difference of a probability, {arguments.rows:,} rows")
    rows = [(name, *map("{:.1e}".format, found.values())) for name, found in results.items()]
    print_table(("", *READERS), [*rows, ("limit", *map("{:.0e}".format, LIMITS.values()))])
    exceeded = [
        f"{name}, {reader}"
        for name, found in results.items()
        for reader, difference in found.items()
        if difference > LIMITS[reader]
    ]
    if exceeded:
        sys.exit(f"above the limit: {'; '.join(exceeded)}")


if __name__ == "__main__":
    main()
