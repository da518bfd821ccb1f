"""The classifier as an ONNX file beside the classifier: probabilities, accuracy, latency, size.

    python -m benchmarks.text_onnx --rows 800 --epochs 2 --json out.json

The default architecture, with the default encoder, learns from some reviews whether a customer
recommends the piece (without the rating, which tells it); --stacking gbdt adds trees. 1,000 other
reviews are scored by `predict_proba`, and by OnnxScorer with a file of 32-bit floats and one of
8-bit integers.

Latency is that of one row, by turns, each with the same threads: of the network alone, from token
ids and columns that are ready, and of the whole call, from a table or dict to probabilities. Ratios
are medians of those of single rows, to torch.
"""

import argparse
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.measure import print_table, timed, write_json
from mtbert import MultimodalTextTabularClassifier, OnnxScorer
from mtbert.datasets import load_reviews

TORCH = "torch"
FILES = {"onnx fp32": None, "onnx int8": "int8"}
SCORED_ROWS = 1000
LARGEST_DIFFERENCE = 1e-5


def main(argv=None):
    arguments = parse_arguments(argv)
    model, X, y = fit(arguments)
    with tempfile.TemporaryDirectory() as folder:
        scorers, results = write_files(model, Path(folder), arguments.threads)
    compare(results, model, scorers, X, y)
    time_rows(results, model, scorers, X, arguments)
    report(results)
    write_json(arguments.json, results)
    if results["onnx fp32"]["largest difference"] > LARGEST_DIFFERENCE:
        raise SystemExit("the file of 32-bit floats differs by more than 1e-5")


def parse_arguments(argv):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.text_onnx",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=800, help="to learn from (at most 2,000)")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--turns", type=int, default=300, help="rows that are timed one by one")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--stacking", choices=["gbdt"], help="trees beside the network")
    parser.add_argument("--json", metavar="FILE", help="write the figures")
    return parser.parse_args(argv)


def fit(arguments):
    """The model, and rows that it has not seen."""
    import torch

    torch.set_num_threads(arguments.threads)
    X, y = load_reviews(target="Recommended", return_X_y=True)
    X = X.drop(columns="Rating")
    order = np.random.default_rng(0).permutation(len(X))
    learned, scored = order[SCORED_ROWS:][: arguments.rows], order[:SCORED_ROWS]
    model = MultimodalTextTabularClassifier(
        text_columns=["Title", "Review Text"],
        epochs=arguments.epochs,
        random_state=0,
        stacking=arguments.stacking,
        device="cpu",
        verbose=1,
    )
    model.fit(X.iloc[learned], y.iloc[learned])
    return model, X.iloc[scored], y.iloc[scored]


def write_files(model, folder, n_threads):
    """The scorer of each file, and what is known of it."""
    n_weights = sum(weights.numel() for weights in model.network_.parameters())
    scorers, results = {}, {TORCH: {"MB": 4 * n_weights / 1e6}}
    for name, quantize in FILES.items():
        path = folder / "model.onnx"
        _, seconds = timed(model.to_onnx, path, quantize=quantize)
        scorers[name] = OnnxScorer(path, n_threads=n_threads)
        results[name] = {"MB": path.stat().st_size / 1e6, "export s": seconds}
    return scorers, results


def compare(results, model, scorers, X, y):
    """Probabilities beside those of the model."""
    expected = model.predict_proba(X)
    found = {TORCH: expected} | {name: own.predict_proba(X) for name, own in scorers.items()}
    for name, probabilities in found.items():
        results[name]["largest difference"] = float(np.abs(probabilities - expected).max())
        results[name]["AUC"] = roc_auc_score(y, probabilities[:, 1])
        results[name]["AUC loss"] = results[TORCH]["AUC"] - results[name]["AUC"]


def time_rows(results, model, scorers, X, arguments):
    """Seconds of each row, contender after contender, in another order each time."""
    calls = {name: [] for name in results}
    networks = {name: [] for name in results}
    rng = np.random.default_rng(0)
    rows = rng.choice(len(X), arguments.turns + 5)
    for row in rows:
        table = X.iloc[[row]]
        cells = [{name: table[name].iloc[0] for name in table}]
        for name in rng.permutation(list(results)):
            if name == TORCH:
                whole, network = torch_calls(model, table)
            else:
                whole, network = scorer_calls(scorers[name], cells)
            calls[name].append(timed(whole)[1])
            networks[name].append(timed(network)[1])
    for name in results:
        for what, seconds in (("network", networks), ("call", calls)):
            own, base = seconds[name][5:], seconds[TORCH][5:]  # the first ones warm up
            ratio = median(a / b for a, b in zip(own, base, strict=True))
            results[name] |= {f"{what} ms": 1e3 * median(own), f"{what} / torch": ratio}


def torch_calls(model, table):
    """From a table, and from tensors, by torch."""
    import torch

    from mtbert.net import to_tensors

    inputs = to_tensors(model._reader.transform(table), "cpu")

    def run():
        with torch.inference_mode():
            return model.network_(**inputs)

    return lambda: model.predict_proba(table), run


def scorer_calls(scorer, cells):
    """From a dict, and from arrays, by onnxruntime."""
    inputs = scorer.inputs(cells)
    return lambda: scorer.predict_proba(cells), lambda: scorer.session_.run(None, inputs)


COLUMNS = {
    "largest difference": ".1e",
    "AUC": ".4f",
    "AUC loss": ".4f",
    "network ms": ".2f",
    "network / torch": ".3f",
    "call ms": ".2f",
    "call / torch": ".3f",
    "MB": ".1f",
    "export s": ".1f",
}


def report(results):
    lines = [
        (name, *(format(own[key], digits) if key in own else "" for key, digits in COLUMNS.items()))
        for name, own in results.items()
    ]
    print_table(("", *COLUMNS), lines)


if __name__ == "__main__":
    main()
