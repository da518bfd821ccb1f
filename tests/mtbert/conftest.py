"""Small tables with text in which there is something to learn, and networks that fit in no time."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from mtbert import MultimodalTextTabularClassifier

TINY_BERT = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
}
TINY_CNN = {
    "text__embedding_dim": 8,
    "text__n_filters": 4,
    "text__kernel_widths": (1, 2),
    "text__dropout": 0.0,
}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_reviews():
    return reviews


@pytest.fixture
def in_library():
    """The same table in another library."""
    return {"pandas": lambda X: X, "polars": to_polars}


@pytest.fixture
def make_model():
    return tiny_model


def tiny_model(**parameters):
    """A classifier that fits in a fraction of a second; `parameters` replace its own."""
    chosen = {
        "architecture": "multimodal_cnn",
        "vocab_size": 200,
        "max_sen_len": 32,
        "epochs": 4,
        "batch_size": 24,
        "learning_rate": 0.03,
        "encoder_learning_rate": 0.015,
        "precision": "fp32",
        "stacking": None,
        "random_state": 0,
    } | parameters
    if chosen["architecture"] == "multimodal_cnn":
        chosen.setdefault("network_options", TINY_CNN)
    else:
        chosen.setdefault("encoder", TINY_BERT)
    return MultimodalTextTabularClassifier(**chosen)


def to_polars(X):
    """A polars table with the cells of a pandas one, null where missing."""
    cells = X.astype(object).where(X.notna(), None)
    return pl.DataFrame({name: cells[name].tolist() for name in X.columns})


def reviews(n=96, seed=0, n_classes=2):
    """A table and labels 0 .. n_classes - 1, which one word of the review gives away."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % n_classes
    telling = np.array(["lovely", "dull", "torn", "late"])[y]
    filler = rng.choice(["coat", "dress", "shirt", "very", "it", "is", "soft"], size=(n, 6))
    texts = [
        " ".join(rng.permutation([word, *words]).tolist()[: rng.integers(7, 8)])
        for word, words in zip(telling, filler, strict=True)
    ]
    price = rng.normal(20, 5, n).round(2)
    price[::7] = np.nan
    table = pd.DataFrame(
        {
            "review": texts,
            "price": price,
            "age": rng.integers(18, 80, n),
            "shop": rng.choice(["north", "south", None], n),
        }
    )
    return table, y
