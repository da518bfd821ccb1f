"""A table with everything an ONNX file must deal with, and models that fit in no time."""

import numpy as np
import pandas as pd
import pytest

from mtbert import OnnxScorer

TINY_LSTM = {"text__embedding_dim": 8, "text__hidden_dim": 8, "text__n_layers": 2}


def parcels(n=60, seed=0):
    """Two texts, numbers with holes and ties, categories of text and of numbers, labels."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    words = rng.choice(["coat", "dress", "shirt", "very", "it", "is", "soft"], size=(n, 6))
    telling = np.array(["lovely", "dull", "torn"])[y]
    numbers = rng.normal(size=(n, 2)).round(1)
    numbers[::7, 0] = np.nan
    table = pd.DataFrame(
        {
            "review": [" ".join([own, *row]) for own, row in zip(telling, words, strict=True)],
            "title": [None if i % 5 == 0 else telling[i] for i in range(n)],
            "price": numbers[:, 0],
            "weight": numbers[:, 1],
            "shop": rng.choice(["north", "south", None], n),
            "size": rng.choice([36, 38, 40], n),
        }
    )
    # Of these, strings of pandas could hold no halves of surrogate pairs.
    return table.astype(dict.fromkeys(["review", "title", "shop"], object)), y


def other_parcels(n=41):
    """Rows unlike those of a fit: unseen words, categories and numbers, and much is missing."""
    table, _ = parcels(n, seed=1)
    table.loc[0, "review"] = "word " * 70  # several chunks
    table.loc[1, "review"] = "<b>Lovely</b>&nbsp;coat 😀 [bom] one [eom][bom] two [eom]"
    table.loc[2, "review"] = "漢字 \ud800 été"
    table.loc[3, ["review", "title", "price", "weight", "shop"]] = None
    table.loc[4, ["price", "weight", "shop", "size"]] = [1e6, -1e6, "west", 52]
    table.loc[5, ["price", "weight", "shop"]] = [0.05, 1.234567, ""]
    return table


COLUMNS = {
    "numeric_columns": ["price", "weight"],
    "categorical_columns": ["shop", "size"],
}


@pytest.fixture(scope="session")
def make_parcels():
    return parcels


@pytest.fixture(scope="session")
def others():
    return other_parcels()


@pytest.fixture
def fit(make_model):
    """A model that has seen the parcels; `labels` turns the numbers of the classes into y."""

    def fit(architecture, texts=("review", "title"), labels=lambda y: y > 0, **parameters):
        X, y = parcels()
        if architecture == "lstm":
            parameters["network_options"] = TINY_LSTM
        model = make_model(
            architecture=architecture,
            text_columns=list(texts),
            epochs=1,
            **COLUMNS,
            **parameters,
        )
        return model.fit(X, labels(y))

    return fit


@pytest.fixture
def written(tmp_path):
    """The scorer of a model's file."""

    def written(model):
        model.to_onnx(tmp_path / "model.onnx")
        return OnnxScorer(tmp_path / "model.onnx", n_threads=1)

    return written
