"""Two processes that torchrun starts: what comes of their fits, and of one that goes wrong.

A start takes as long as all the rest, so many fits share one, and a test compares many things.
"""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import mtbert

ROOT = Path(mtbert.__file__).parents[1]
HERE = Path(__file__).parent
BERT = {
    "architecture": "multimodal_bert",
    "encoder": {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 64,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    },
}
NO_DROPOUT = {f"{part}dropout": 0.0 for part in ("text__token_", "tabular__", "fusion__", "head__")}
NAMES = ["0.pickle", "1.pickle"]
SECONDS = 180  # after which they hang


@pytest.fixture
def start(tmp_path):
    """Starts two processes of a program; gives what they and the launcher say, and its status."""

    def run(program, *arguments):
        variables = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        launcher = subprocess.Popen(
            [*torchrun, "--nproc_per_node", "2", str(program), *map(str, arguments)],
            env=os.environ | variables,
            stderr=subprocess.PIPE,
            text=True,
        )
        with launcher:
            try:
                return launcher.communicate(timeout=SECONDS)[1], launcher.returncode
            finally:
                launcher.terminate()  # which ends its processes too

    return run


@pytest.fixture
def make_case(make_reviews, make_model):
    """A fit of two tasks, of whose labels some are missing; `changes` are parameters.

    21 rows in batches of 2 * 5: the last batch has a row for one process and none for the other.
    """

    def make(trouble=None, n_fits=1, data=None, **changes):
        X, y = make_reviews(n=21)
        Y = np.column_stack([y, y[::-1]]).astype(float)
        Y[::4, 1] = np.nan
        weights = np.linspace(0.5, 2, 21)
        own = {"X": X, "y": Y, "sample_weight": weights, "X_val": X[:3], "y_val": Y[:3]}
        chosen = BERT | {
            "network_options": NO_DROPOUT,
            "batch_size": 5,
            "accumulate": 2,
            "epochs": 2,
            "gradient_clip": 0.05,
            "learning_rate": 0.003,
            "encoder_learning_rate": 0.0015,
        }
        model = make_model(**(chosen | changes))
        return {
            "parameters": model.get_params(deep=False),
            "data": [own, own] if data is None else data,
            "n_fits": n_fits,
            "trouble": trouble or {},
        }

    return make


@pytest.fixture
def fit_alone(make_model):
    """The same fit in this process, with batches as large as those of two."""

    def fit(case):
        together = {"batch_size": 2 * case["parameters"]["batch_size"], "distributed": None}
        model = make_model(**(case["parameters"] | together))
        for _ in range(case["n_fits"]):
            model.fit(**case["data"][0])
        return model

    return fit


def cut_and_resumed(make_case, folder):
    """Fits that end in the middle of the second epoch, the same ones again, and whole ones."""
    given = {}
    for kind in ("ddp", "fsdp"):
        options = {"distributed": kind, "accumulate": 1, "network_options": None}
        kept = {"checkpoint_path": str(folder / kind), "checkpoint_interval": 1}
        given |= {
            f"{kind} cut": make_case(trouble={1: "nan"}, **options, **kept),
            f"{kind} resumed": make_case(**options, **kept),
            f"{kind} whole": make_case(**options),
        }
    return given


def cases(make_case, make_reviews, folder):
    X, y = make_reviews(n=40)
    stopping = {
        "data": [{"X": X, "y": y}] * 2,
        "random_state": None,
        "early_stopping_patience": 1,
        "validation_fraction": 0.25,
        "learning_rate": 0.3,
        "encoder_learning_rate": 0.3,
        "epochs": 8,
        "network_options": None,
    }
    checkpointed = {"text__gradient_checkpointing": True, "text__frozen_layers": 1}
    lstm = {"architecture": "lstm", "network_options": LSTM}
    adapters = NO_DROPOUT | {"text__lora_rank": 2, "text__lora_dropout": 0.0}
    frozen = NO_DROPOUT | {"text__frozen_layers": "all"}
    other = {"X": X[::-1], "y": y}
    return {
        "ddp": make_case(distributed="ddp"),
        "fsdp": make_case(distributed="fsdp"),
        "ddp again": make_case(distributed="ddp", warm_start=True, n_fits=2),
        "fsdp checkpointing": make_case(
            distributed="fsdp", network_options=NO_DROPOUT | checkpointed, epochs=1
        ),
        "fsdp lstm": make_case(distributed="fsdp", epochs=1, **lstm),
        "ddp stacked": make_case(distributed="ddp", epochs=1, stacking="gbdt"),
        "fsdp adapters": make_case(distributed="fsdp", epochs=1, network_options=adapters),
        "ddp frozen": make_case(
            distributed="ddp", epochs=1, network_options=frozen, encoder_cache=str(folder / "cache")
        ),
        "ddp stopping": make_case(distributed="ddp", **stopping),
        "fsdp stopping": make_case(
            distributed="fsdp", **(stopping | {"architecture": "multimodal_cross_attn"})
        ),
        "nan": make_case(distributed="ddp", trouble={1: "nan"}),
        "nan fsdp": make_case(distributed="fsdp", trouble={0: "nan"}),
        "other rows": make_case(distributed="ddp", data=[stopping["data"][0], other]),
        "ddp after errors": make_case(distributed="ddp", epochs=1),
        "error": make_case(distributed="ddp", trouble={1: "error"}),
    }


LSTM = {"text__dropout": 0.0, "text__embedding_dim": 8, "text__hidden_dim": 8} | {
    "fusion__dropout": 0.0,
    "head__dropout": 0.0,
}
EQUAL = (
    *("ddp", "fsdp", "ddp again", "fsdp checkpointing", "fsdp lstm", "ddp after errors"),
    *("ddp stacked", "fsdp adapters", "ddp frozen"),
)


def test_fits_of_two_processes(start, make_case, make_reviews, fit_alone, tmp_path):
    given = cut_and_resumed(make_case, tmp_path) | cases(make_case, make_reviews, tmp_path)
    (tmp_path / "cases.pickle").write_bytes(pickle.dumps(given))
    said, status = start(HERE / "fit_cases.py", tmp_path)
    assert sorted(file.name for file in tmp_path.glob("?.pickle")) == NAMES, said
    assert status != 0
    first, second = (pickle.loads((tmp_path / name).read_bytes()) for name in NAMES)
    for name in EQUAL:
        check_same_as_alone(first[name], fit_alone(given[name]), given[name])
    for name in (*EQUAL, "ddp stopping", "fsdp stopping"):
        check_alike(first[name], second[name])
    for name in ("ddp stopping", "fsdp stopping"):
        check_stopped(first[name])
    for kind in ("ddp", "fsdp"):
        check_resumed(*(first[f"{kind} {name}"] for name in ("cut", "resumed", "whole")))
    for name in ("nan", "nan fsdp"):
        assert first[name] == second[name]
        assert first[name]["error"].startswith("FloatingPointError: the training loss became nan")
    assert first["other rows"] == second["other rows"]
    differing = first["other rows"]["error"]
    assert differing.startswith("ValueError: the 2 processes of this fit differ in: ")
    assert "text of the training rows, numbers of the training rows" in differing
    assert second["error"] == {"error": "OSError: the disk is gone"}
    assert "error" not in first
    note = "this process stops because another did: process 1: OSError: the disk is gone"
    assert note in said


def check_same_as_alone(found, model, case):
    """One process with the same rows in a batch learns the same."""
    for name, weights in model.network_.state_dict().items():
        assert_allclose(found["weights"][name], weights, rtol=1e-5, atol=4e-6, err_msg=name)
    expected = model.predict_proba(case["data"][0]["X"])
    assert_allclose(found["probabilities"], expected, rtol=1e-5, atol=1e-6)
    assert [e.keys() for e in found["history"]] == [e.keys() for e in model.history_]
    for epoch, expected in zip(found["history"], model.history_, strict=True):
        assert_allclose(list(epoch.values()), list(expected.values()), rtol=1e-5)


def check_alike(found, other):
    """Both processes have the same plain network, down to the bits, and are on their own again."""
    assert found["network"] == "FusionNet"
    assert found["parameter"] == "Parameter"
    assert not found["is_connected"]
    for name, weights in found["weights"].items():
        assert_array_equal(weights, other["weights"][name], err_msg=name)
    for key in ("history", "best_epoch", "warnings"):
        assert found[key] == other[key], key
    assert_array_equal(found["probabilities"], other["probabilities"])


def check_resumed(cut, resumed, whole):
    """Dropout and all, as if nothing had happened."""
    assert "The last good checkpoint, of step 4, is" in cut["error"]
    for name, weights in whole["weights"].items():
        assert_array_equal(resumed["weights"][name], weights, err_msg=name)
    assert resumed["history"] == whole["history"]


def check_stopped(found):
    scores = [epoch["valid_logloss"] for epoch in found["history"]]
    assert found["best_epoch"] == 1 + int(np.argmin(scores))
    assert len(scores) == min(8, found["best_epoch"] + 1)
