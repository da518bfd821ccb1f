"""A frozen encoder reads each distinct text once: in a fit, over folds, sessions and processes."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from mtbert import MultimodalTextTabularClassifier, encoder_cache, temporary_arrays
from mtbert.encoder_cache import (
    TextVectors,
    cache_folder,
    encode_once,
    fingerprint,
    is_frozen,
)
from mtbert.modules import BertText
from mtbert.modules.text_encoder import TextEncoder
from mtbert.net import compute
from mtbert.pretrained import load_encoder
from mtbert.token_store import TokenStore
from mtbert.vector_file import VectorFile

FROZEN = {"text__frozen_layers": "all"}
CPU = torch.device("cpu")


@pytest.fixture
def encoder_folder(make_model, make_reviews, tmp_path):
    """A small encoder with its tokenizer, as if pretrained."""
    folder = tmp_path / "encoder"
    X, _ = make_reviews()
    model = make_model(architecture="bert", epochs=1).fit(X, np.arange(len(X)) % 2)
    model.network_.text_encoders[0].model.save_pretrained(folder)
    model._reader.text_fields.tokenizers_["review"].save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def make_frozen(make_model, encoder_folder):
    def make(**parameters):
        chosen = {"architecture": "multimodal_bert", "encoder": encoder_folder, "epochs": 2}
        return make_model(**{**chosen, "network_options": FROZEN, **parameters})

    return make


@pytest.fixture
def encoded(monkeypatch):
    """The texts that went through an encoder, one entry for each time."""
    seen = []
    encode_chunks = BertText.encode_chunks

    def record(self, ids, mask):
        seen.extend(tuple(i[m].tolist()) for i, m in zip(ids, mask, strict=True))
        return encode_chunks(self, ids, mask)

    monkeypatch.setattr(BertText, "encode_chunks", record)
    return seen


@pytest.fixture
def table(make_reviews):
    """Reviews of which each comes twice or more, of one chunk or several."""
    X, y = make_reviews(40)
    X.loc[5, "review"] = "lovely " * 60
    X = pd.concat([X, X], ignore_index=True)
    X.loc[[3, 60], "review"] = None
    return X, np.concatenate([y, y])


def chunks_of_distinct_texts(model, X):
    """Sorted token ids of the chunks of each distinct row."""
    store = model._reader.transform(X).text["text_0"]
    distinct = {tuple(tuple(ids.tolist()) for ids in row) for row in store}
    return sorted(ids for row in distinct for ids in row)


def vector_files(folder):
    return sorted(Path(folder).rglob("*.sqlite"))


def test_a_fit_encodes_each_text_once(make_frozen, table, encoded):
    """Also without a cache, however many epochs there are."""
    X, y = table
    model = make_frozen(epochs=5).fit(X, y)
    assert sorted(encoded) == chunks_of_distinct_texts(model, X)


def test_training_on_vectors_is_training_on_texts(make_frozen, table, monkeypatch):
    X, y = table
    found = make_frozen(epochs=4, batch_size=16).fit(X, y)
    network = found.network_
    rows = found._reader.transform(X)
    vectors = encode_once(network, rows, batch_size=7, device=CPU)
    assert_allclose(compute(network, vectors, 16, CPU), compute(network, rows, 16, CPU), atol=1e-5)
    # Batches of all rows, in orders that differ; so there must be no dropout.
    options = FROZEN | {"fusion__dropout": 0.0, "head__dropout": 0.0, "tabular__dropout": 0.0}
    model = make_frozen(epochs=2, batch_size=len(X), network_options=options)
    found = clone(model).fit(X, y)
    monkeypatch.setattr(encoder_cache, "is_frozen", lambda network: False)
    expected = clone(model).fit(X, y)
    # The second loss is that after one step. Weights may part: of a gradient that is nothing but
    # rounding, which processors do differently, Adam makes a whole step.
    before, after = (epoch["train_loss"] for epoch in found.history_)
    assert [before, after] == pytest.approx(
        [epoch["train_loss"] for epoch in expected.history_], abs=1e-5
    )
    assert abs(after - before) > 0.01


def test_a_search_encodes_each_text_once(make_frozen, table, encoded, tmp_path):
    """Three folds, two candidates, and the refit; without a cache all are encoded ever again."""
    X, y = table
    grid = {"learning_rate": [0.01, 0.03]}
    search = GridSearchCV(make_frozen(encoder_cache=tmp_path / "c"), grid, cv=3).fit(X, y)
    expected = chunks_of_distinct_texts(search.best_estimator_, X)
    assert sorted(encoded) == expected
    encoded.clear()
    plain = GridSearchCV(make_frozen(), grid, cv=3).fit(X, y)
    assert len(encoded) > 6 * len(expected)
    for key in ("split0_test_score", "split2_test_score"):
        assert_allclose(search.cv_results_[key], plain.cv_results_[key])
    assert_allclose(search.predict_proba(X), plain.predict_proba(X), atol=1e-5)


def test_two_processes_at_once(tmp_path, monkeypatch):
    """Both get all vectors, and this process then finds what they have written."""

    class Embedding(TextEncoder):  # here, so that the processes get it with its code
        config = "a small one"

        def __init__(self):
            super().__init__(4, "mean")
            self.embedding = torch.nn.Embedding(50, 4)

        def encode_chunks(self, ids, mask):
            return self.embedding(ids)

    rng = np.random.default_rng(0)
    tokens = TokenStore.of_rows([[rng.integers(0, 50, 3 + i % 7)] for i in range(400)])
    vectors = TextVectors(Embedding(), 0, 2, CPU, "fp32")
    expected = vectors.encode(tokens).to_array()
    tasks = [joblib.delayed(vectors.encode)(tokens, tmp_path)] * 2
    for found in joblib.Parallel(n_jobs=2)(tasks):
        assert_allclose(found.to_array(), expected, atol=1e-6)
    encoded = []
    monkeypatch.setattr(TextVectors, "_run", encoded.append)
    assert_allclose(vectors.encode(tokens, tmp_path).to_array(), expected, atol=1e-6)
    assert encoded == []


def test_a_restored_model_reads_what_was_written(make_frozen, table, encoded, tmp_path):
    X, y = table
    model = make_frozen(encoder_cache=tmp_path / "c").fit(X, y)
    model.save(tmp_path / "model")
    expected = model.predict_proba(X)
    encoded.clear()
    restored = MultimodalTextTabularClassifier.load(tmp_path / "model")
    assert restored.encoder_cache is None  # it is no part of a model
    assert_allclose(restored.predict_proba(X), expected, atol=1e-6)
    assert encoded
    encoded.clear()
    restored.set_params(encoder_cache=str(tmp_path / "c"))
    assert_array_equal(restored.predict_proba(X), expected)
    assert encoded == []


def test_new_rows_are_added(make_frozen, table, make_reviews, encoded, tmp_path):
    X, y = table
    model = make_frozen(encoder_cache=tmp_path / "c").fit(X, y)
    encoded.clear()
    model.predict(X)
    assert encoded == []
    other, _ = make_reviews(20, seed=7)
    expected = clone(model).set_params(encoder_cache=None).fit(X, y).predict_proba(other)
    encoded.clear()
    assert_allclose(model.predict_proba(other), expected, atol=1e-5)
    n_new = len(encoded)
    assert 0 < n_new <= 20
    assert_allclose(model.transform(other), model.transform(other))
    assert len(encoded) == n_new


def test_clearing_the_memory_clears_the_vectors(make_frozen, table, encoded, tmp_path):
    X, y = table
    memory = joblib.Memory(tmp_path / "c", verbose=0)
    model = make_frozen(encoder_cache=memory).fit(X, y)
    assert len(vector_files(tmp_path / "c")) == 1
    memory.clear(warn=False)
    assert vector_files(tmp_path / "c") == []
    encoded.clear()
    model.predict(X)
    assert encoded


def test_what_a_file_is_of(tiny_encoder):
    """Weights, pooling and precision; not the mode, nor where the weights are."""
    base = fingerprint(tiny_encoder(), "fp32")
    assert fingerprint(tiny_encoder().train(), "fp32") == base
    assert fingerprint(tiny_encoder(), "bf16") != base
    assert fingerprint(tiny_encoder(pooling="cls"), "fp32") != base
    changed = tiny_encoder()
    assert fingerprint(changed, "fp32") == base
    with torch.no_grad():
        next(changed.parameters())[0, 0] += 1e-3
    other = fingerprint(changed, "fp32")
    assert other != base
    changed.load_state_dict(tiny_encoder().state_dict())
    assert fingerprint(changed, "fp32") == base


@pytest.fixture
def tiny_encoder():
    config = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}

    def make(**options):
        torch.manual_seed(0)
        model = load_encoder({**config, "intermediate_size": 8}, vocab_size=30).model
        return BertText(model, frozen_layers="all", **options)

    return make


def test_changed_weights_are_another_encoder(make_frozen, table, encoder_folder, tmp_path):
    X, y = table
    model = make_frozen(encoder_cache=tmp_path / "c").fit(X, y)
    encoder = load_encoder(encoder_folder).model
    with torch.no_grad():
        encoder.embeddings.word_embeddings.weight.mul_(1.5)
    encoder.save_pretrained(encoder_folder)
    again = clone(model).fit(X, y)
    assert len(vector_files(tmp_path / "c")) == 2
    expected = clone(model).set_params(encoder_cache=None).fit(X, y)
    assert_allclose(again.predict_proba(X), expected.predict_proba(X), atol=1e-5)
    assert abs(again.predict_proba(X) - model.predict_proba(X)).max() > 1e-3


def cut(file):
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def overwrite(file):
    file.write_bytes(b"no database at all" * 100)


@pytest.mark.parametrize("damage", [cut, overwrite])
def test_a_damaged_file_is_started_anew(make_frozen, table, encoded, tmp_path, damage):
    X, y = table
    model = make_frozen(encoder_cache=tmp_path / "c").fit(X, y)
    expected = model.predict_proba(X)
    n_distinct = len(encoded)
    damage(vector_files(tmp_path / "c")[0])
    encoded.clear()
    with pytest.warns(RuntimeWarning, match="is damaged .* computed again"):
        found = model.predict_proba(X)
    assert_allclose(found, expected, atol=1e-6)
    assert len(encoded) == n_distinct
    assert_array_equal(model.predict_proba(X), found)


def test_a_damaged_vector_is_computed_again(make_frozen, table, encoded, tmp_path):
    X, y = table
    model = make_frozen(encoder_cache=tmp_path / "c").fit(X, y)
    expected = model.predict_proba(X)
    with sqlite3.connect(vector_files(tmp_path / "c")[0]) as connection:
        connection.execute("UPDATE vectors SET checksum = checksum + 1 WHERE rowid <= 3")
    encoded.clear()
    assert_allclose(model.predict_proba(X), expected, atol=1e-6)
    assert 3 <= len(encoded) <= 6
    encoded.clear()
    model.predict_proba(X)
    assert encoded == []


def test_an_error_that_is_no_damage_is_raised(tmp_path):
    (tmp_path / "vectors.sqlite").mkdir()
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        VectorFile(tmp_path / "vectors.sqlite", 3).read([b"key"])


def test_a_file_of_many_vectors(tmp_path):
    file = VectorFile(tmp_path / "vectors.sqlite", 3)
    keys = [number.to_bytes(16, "little") for number in range(1300)]
    vectors = np.random.default_rng(0).normal(size=(1300, 3)).astype(np.float32)
    assert file.read(keys) == {}
    file.write(keys[:700], vectors[:700])
    file.write(keys[600:1200], vectors[600:1200])
    found = file.read(keys)
    assert set(found) == set(keys[:1200])
    assert_array_equal(np.stack([found[key] for key in keys[:1200]]), vectors[:1200])


def test_a_file_that_many_use_at_once(tmp_path):
    file = VectorFile(tmp_path / "vectors.sqlite", 2)
    keys = [bytes([number]) * 16 for number in range(40)]

    def use(start):
        for number in range(start, start + 10):
            file.write(keys[number : number + 1], np.full((1, 2), number, np.float32))
            file.read(keys)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(use, range(0, 40, 10)))
    assert {key: vector.tolist() for key, vector in file.read(keys).items()} == {
        key: [number, number] for number, key in enumerate(keys)
    }


def test_what_another_process_has_done_meanwhile_is_not_done_again(
    make_frozen, table, tmp_path, monkeypatch
):
    X, y = table
    model = make_frozen(epochs=1).fit(X, y)
    rows = model._reader.transform(X)
    n_filled = []
    fill = TextVectors._fill

    def encode():
        return encode_once(model.network_, rows, batch_size=4, device=CPU, folder=tmp_path)

    def record(self, values, tokens, rows):
        n_filled.append(len(rows))
        if len(n_filled) == 1:
            encode()  # as by another process, while this one has taken its first block
        fill(self, values, tokens, rows)

    monkeypatch.setattr(encoder_cache, "BATCHES_AT_ONCE", 1)
    monkeypatch.setattr(TextVectors, "_fill", record)
    encode()
    n_distinct = len(set(rows.text["text_0"].digests()))
    n_blocks = -(-n_distinct // 4)
    assert sum(n_filled) == n_distinct + n_filled[0]
    assert n_filled[1 + n_blocks :] == [0] * (n_blocks - 1)


def test_batches_are_halved_if_memory_runs_out(make_frozen, table, monkeypatch):
    X, y = table
    expected = make_frozen().fit(X, y).predict_proba(X)
    encode_chunks = BertText.encode_chunks

    def fail(self, ids, mask):
        if len(ids) > 14:
            raise torch.OutOfMemoryError("no memory")
        return encode_chunks(self, ids, mask)

    model = make_frozen()
    monkeypatch.setattr(BertText, "encode_chunks", fail)
    with pytest.warns(UserWarning, match="with 24 rows at once; going on with 12") as warned:
        model.fit(X, y)
    assert len(warned) == 1
    monkeypatch.undo()
    assert_allclose(model.predict_proba(X), expected, atol=1e-5)


def test_many_vectors_are_mapped_from_a_file(make_frozen, table, monkeypatch):
    X, y = table
    expected = make_frozen().fit(X, y).predict_proba(X)
    monkeypatch.setattr(temporary_arrays, "MOST_BYTES_IN_MEMORY", 100)
    assert_array_equal(make_frozen().fit(X, y).predict_proba(X), expected)


def test_two_columns_and_validation_rows(make_frozen, table, encoded, tmp_path):
    X, y = table
    X = X.assign(title=X["review"].str[:7].fillna("nothing"))
    parameters = {
        "text_columns": ["review", "title"],
        "shared_encoder": False,
        "early_stopping_patience": 2,
    }
    model = make_frozen(encoder_cache=tmp_path / "c", **parameters).fit(X, y)
    assert len(vector_files(tmp_path / "c")) == 1  # the same weights
    encoded.clear()
    plain = make_frozen(**parameters).fit(X, y)
    assert_allclose(model.predict_proba(X), plain.predict_proba(X), atol=1e-5)


def test_only_frozen_encoders_are_run_once(make_model, make_frozen, table):
    X, y = table
    assert is_frozen(make_frozen(epochs=1).fit(X, y).network_)
    attending = make_frozen(architecture="multimodal_cross_attn", epochs=1).fit(X, y)
    assert not is_frozen(attending.network_)
    for options in ({"text__frozen_layers": 0}, {**FROZEN, "text__reinit_layers": 1}):
        assert not is_frozen(make_frozen(epochs=1, network_options=options).fit(X, y).network_)
    assert not is_frozen(make_model(epochs=1).fit(X, y).network_)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"network_options": None}, ValueError, r"set network_options=\{'text__frozen_layers': 'a"),
        ({"network_options": {"text__frozen_layers": 1}}, ValueError, "set network_options="),
        (
            {"network_options": {**FROZEN, "text__reinit_layers": 1}},
            ValueError,
            "text__reinit_layers=1 trains a part of it",
        ),
        ({"architecture": "multimodal_cnn"}, ValueError, "'multimodal_cnn' learns an encoder of"),
        ({"architecture": "multimodal_cross_attn"}, ValueError, "attends over tokens; set encoder"),
        ({"encoder_cache": 3}, TypeError, "must be None, a folder or a joblib.Memory"),
    ],
)
def test_bad_parameters(make_model, make_reviews, tmp_path, parameters, error, message):
    X, y = make_reviews(24)
    chosen = {"architecture": "bert", "network_options": FROZEN, "encoder_cache": tmp_path / "c"}
    model = make_model(**{**chosen, **parameters})
    with pytest.raises(error, match=message):
        model.fit(X, y)
    assert not hasattr(model, "network_")


def test_a_folder_that_cannot_be_made(make_frozen, make_reviews, tmp_path):
    X, y = make_reviews(24)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        make_frozen(encoder_cache=tmp_path / "file" / "c").fit(X, y)


def test_a_memory_that_keeps_nothing():
    assert cache_folder(None) is None
    assert cache_folder(joblib.Memory(None)) is None
