"""Started by torchrun in each process: fits the models of a file, writes what came of each.

    torchrun ... fit_cases.py FOLDER

FOLDER/cases.pickle is a dict of cases, a case a dict:

    parameters      of the classifier
    data            a list, one entry for each process: the arguments of fit
    n_fits          how often to fit
    trouble         a dict of rank to "nan" or "error": what happens to its loss in the fifth batch

What came of them is written to FOLDER/{rank}.pickle. In the last case the second process catches an
error of its own and is idle from then on.
"""

import os
import pickle
import sys
import time
import warnings
from pathlib import Path

import torch

from mtbert import MultimodalTextTabularClassifier
from mtbert.net import TrainingNet

LOSS = TrainingNet._loss
KEPT: list[Exception] = []  # they hold what connects the processes, which so goes on to exist


def main(folder):
    rank, results = int(os.environ["RANK"]), {}
    for name, case in pickle.loads((folder / "cases.pickle").read_bytes()).items():
        TrainingNet._loss = troubled(case["trouble"].get(rank))
        results[name] = outcome(case, case["data"][rank])
        (folder / f"{rank}.pickle").write_bytes(pickle.dumps(results))
    if rank == 1:
        time.sleep(60)


def outcome(case, data):
    """What a test can compare."""
    model = MultimodalTextTabularClassifier(**case["parameters"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            for _ in range(case["n_fits"]):
                model.fit(**data)
        except (ArithmeticError, RuntimeError, OSError, ValueError) as error:
            KEPT.append(error)
            return {"error": f"{type(error).__name__}: {error}"}
    return {
        "warnings": sorted({str(warning.message) for warning in caught}),
        "weights": {name: w.numpy() for name, w in model.network_.state_dict().items()},
        "network": type(model.network_).__name__,
        "parameter": type(next(model.network_.parameters())).__name__,
        "history": model.history_,
        "best_epoch": model.best_epoch_,
        "probabilities": pickle.loads(pickle.dumps(model)).predict_proba(data["X"]),
        "is_connected": torch.distributed.is_initialized(),
    }


def troubled(kind):
    """A loss that goes wrong in the fifth batch, and one as ever for None."""
    n_batches = 0

    def loss(net, batch):
        nonlocal n_batches
        n_batches += 1
        if n_batches == 5 and kind == "error":
            raise OSError("the disk is gone")
        return LOSS(net, batch) * (float("nan") if n_batches == 5 and kind == "nan" else 1)

    return loss


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
