"""A saved model is a folder without pickle and without paths."""

import json
import os
import shutil
import socket
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import FunctionTransformer

from mtbert import MultimodalTextTabularClassifier
from mtbert.modules import ARCHITECTURES

load = MultimodalTextTabularClassifier.load


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(self, address):
        raise AssertionError(f"tried to reach {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def moved(folder, tmp_path):
    """The folder under another name; the old one is gone."""
    return shutil.move(folder, tmp_path / "elsewhere")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_moved_folder_gives_the_same_scores(make_model, make_reviews, tmp_path, architecture):
    X, y = make_reviews(48)
    model = make_model(architecture=architecture, epochs=1).fit(X, np.where(y, "b", "a"))
    model.save(tmp_path / "model")
    restored = load(moved(tmp_path / "model", tmp_path))
    assert_array_equal(restored.predict_proba(X), model.predict_proba(X))
    assert_array_equal(restored.predict(X), model.predict(X))
    assert_array_equal(restored.transform(X), model.transform(X))
    assert restored.history_ == model.history_
    assert restored.roles_ == model.roles_
    assert restored.architecture == architecture


def test_several_labels_and_two_texts(make_model, make_reviews, tmp_path):
    X, y = make_reviews(48)
    X["title"] = [f"about number {i}" for i in range(48)]
    Y = pd.DataFrame({"good": y, "bad": np.where(y, np.nan, 1 - y)})
    Y.loc[1, "bad"] = 0
    model = make_model(epochs=1, shared_encoder=False).fit(X, Y)
    model.save(tmp_path / "model")
    restored = load(tmp_path / "model")
    assert_array_equal(restored.predict_proba(X), model.predict_proba(X))
    assert restored.task_names_ == ["good", "bad"]


def test_the_given_class_order_is_kept(make_model, make_reviews, tmp_path):
    X, y = make_reviews(60, n_classes=3)
    model = make_model(epochs=1, classes=[2, 0, 1]).fit(X, y)
    model.save(tmp_path / "model")
    assert load(tmp_path / "model").classes_.tolist() == [2, 0, 1]


def test_training_can_go_on(make_model, make_reviews, tmp_path):
    X, y = make_reviews(48)
    model = make_model(epochs=1, random_state=3).fit(X, y)
    model.save(tmp_path / "model")
    restored = load(tmp_path / "model").set_params(random_state=3)
    first, second = (m.partial_fit(X, y).predict_proba(X) for m in (model, restored))
    assert_array_equal(first, second)


def test_another_process_without_network(make_model, make_reviews, tmp_path):
    X, y = make_reviews(48)
    model = make_model(epochs=1).fit(X, y)
    model.save(tmp_path / "model")
    X.to_pickle(tmp_path / "table.pkl")
    program = (
        "import socket, sys\n"
        "def refuse(*args, **kwargs): raise AssertionError('network')\n"
        "socket.socket.connect = refuse\n"
        "import pandas as pd, numpy as np\n"
        "from mtbert import MultimodalTextTabularClassifier\n"
        "model = MultimodalTextTabularClassifier.load(sys.argv[1])\n"
        "np.save(sys.argv[3], model.predict_proba(pd.read_pickle(sys.argv[2])))\n"
    )
    paths = [tmp_path / "model", tmp_path / "table.pkl", tmp_path / "p.npy"]
    subprocess.run([sys.executable, "-c", program, *map(str, paths)], check=True)
    np.testing.assert_allclose(np.load(paths[2]), model.predict_proba(X), atol=1e-6)


def test_what_is_in_the_folder(make_model, make_reviews, tmp_path):
    X, y = make_reviews(48)
    make_model(epochs=1).fit(X, y).save(tmp_path / "model")
    names = sorted(file.name for file in (tmp_path / "model").iterdir())
    assert names == ["model.json", "tokenizer.json", "weights.safetensors"]
    content = json.loads((tmp_path / "model" / "model.json").read_text())
    assert content["packages"]["torch"] == version("torch")
    assert content["packages"]["mtgbm"]
    assert str(tmp_path) not in json.dumps(content)


@pytest.mark.parametrize("name", ["model.json", "tokenizer.json", "weights.safetensors"])
def test_a_missing_file(make_model, make_reviews, tmp_path, name):
    X, y = make_reviews(48)
    make_model(epochs=1).fit(X, y).save(tmp_path / "model")
    os.remove(tmp_path / "model" / name)
    with pytest.raises(FileNotFoundError, match=f"holds no {name}; give a folder written by save"):
        load(tmp_path / "model")


def test_weights_of_another_architecture(make_model, make_reviews, tmp_path):
    X, y = make_reviews(48)
    for architecture in ("multimodal_cnn", "lstm"):
        make_model(architecture=architecture, epochs=1).fit(X, y).save(tmp_path / architecture)
    weights = "weights.safetensors"
    shutil.copy(tmp_path / "lstm" / weights, tmp_path / "multimodal_cnn" / weights)
    with pytest.raises(ValueError, match=r"does not fit the network of model\.json"):
        load(tmp_path / "multimodal_cnn")


@pytest.mark.parametrize("change", [{"version": 2}, {"format": "other"}, {"version": None}])
def test_folders_of_another_kind(make_model, make_reviews, tmp_path, change):
    X, y = make_reviews(48)
    make_model(epochs=1).fit(X, y).save(tmp_path / "model")
    file = tmp_path / "model" / "model.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(ValueError, match="reads 'mtbert-classifier' up to version 1"):
        load(tmp_path / "model")


def test_steps_of_ones_own_need_joblib(make_model, make_reviews, tmp_path):
    X, y = make_reviews(48)
    lower = FunctionTransformer(lambda rows: [row.lower() for row in rows])
    steps = [("lower", lower), "tokenizer"]
    model = make_model(epochs=1, text_steps=steps).fit(X, y)
    with pytest.raises(TypeError, match=r"something that JSON cannot.*joblib\.dump"):
        model.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_only_fitted_models_are_saved(make_model, tmp_path):
    with pytest.raises(NotFittedError):
        make_model().save(tmp_path / "model")


def test_a_folder_that_cannot_be_written(make_model, make_reviews, tmp_path):
    """A file stands where the folder should be: like a read-only place, also for root."""
    X, y = make_reviews(48)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        make_model(epochs=1).fit(X, y).save(tmp_path / "file" / "model")
