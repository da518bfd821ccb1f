"""Kill training networks at random moments; what they go on to must be the uninterrupted network.

    python scripts/kill_and_resume_text.py --trials 20

As `kill_and_resume.py`, with small networks whose rounds are epochs of eight steps: all weights,
the history and the scores must be equal bit for bit.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from kill_and_resume import Trials, main

from mtbert import MultimodalTextTabularClassifier
from mtgbm.io.container import read_file

BERT = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
}
#: What the networks of the trials depend on, in turn; all have dropout.
OPTIONS = [
    {"architecture": "multimodal_cnn"},
    {"architecture": "multimodal_bert", "precision": "bf16", "checkpoint_interval": 3},
    {"architecture": "multimodal_cnn", "accumulate": 3, "early_stopping_patience": 2},
    {"architecture": "multimodal_gate_fusion", "gradient_clip": 0.1, "schedule": "cosine"},
    {"architecture": "lstm", "early_stopping_patience": 1, "checkpoint_interval": 2},
]


def make_data():
    """A table of reviews and prices, and labels that depend on both."""
    rng = np.random.default_rng(0)
    words = rng.choice(["soft", "warm", "small", "thin", "lovely", "torn", "coat"], (64, 6))
    price = rng.normal(20, 5, 64)
    y = (words == "torn").any(axis=1) ^ (price > 22)
    return pd.DataFrame({"review": [" ".join(row) for row in words], "price": price}), y


def train(options, epochs, checkpoint, result):
    """Fit, and leave the checksum of the model in the file `result`."""
    torch.set_num_threads(1)
    X, y = make_data()
    model = MultimodalTextTabularClassifier(
        **{
            "encoder": BERT,
            "epochs": epochs,
            "batch_size": 8,
            "max_sen_len": 16,
            "random_state": 1,
            "device": "cpu",
            "stacking": None,  # whose other nets have checkpoints of their own
            "checkpoint_path": checkpoint,
            "checkpoint_interval": 1,
        }
        | options
    ).fit(X, y)
    Path(result).write_text(describe(model, X))


def describe(model, X):
    """The checksum of everything that training leaves."""
    total = hashlib.sha256()
    for name, tensor in model.network_.state_dict().items():
        total.update(name.encode() + tensor.numpy().tobytes())
    total.update(repr((model.history_, model.best_epoch_, model.n_epochs_)).encode())
    total.update(model.predict_proba(X).tobytes())
    return total.hexdigest()


def steps_in(checkpoint):
    """Steps in a checkpoint, 0 without one."""
    return read_file(checkpoint)[0]["state"]["n_steps"] if checkpoint.exists() else 0


class TextTrials(Trials):
    """Trials with networks."""

    modules = ("mtbert.training", "mtbert.checkpoint", "transformers.models.bert.modeling_bert")
    unit = "step"
    train = staticmethod(train)
    count = staticmethod(steps_in)


if __name__ == "__main__":
    sys.exit(not main(TextTrials, OPTIONS, __doc__, rounds=6))
