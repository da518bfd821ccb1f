"""Each text column with an encoder and a tokenizer of its own."""

import json
import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from tokenizers import Tokenizer

from mtbert import MultimodalTextTabularClassifier
from mtbert.network_plan import choose_tokenizers, encoders_by_column

SMALL = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "max_position_embeddings": 24,
}
LARGE = SMALL | {"hidden_size": 16, "num_hidden_layers": 2, "max_position_embeddings": 48}
COLUMNS = ["review", "title"]


@pytest.fixture
def table(make_reviews):
    X, y = make_reviews(64)
    X["title"] = [f"About the {word}" for word in X["review"].str.split().str[0]]
    return X, y


@pytest.fixture
def pretrained(make_model, table, tmp_path):
    """The folder of an encoder of width 8 and 24 positions, with its tokenizer."""
    X, y = table
    model = make_model(
        architecture="bert", encoder=SMALL, text_columns="title", max_sen_len=20, epochs=1
    ).fit(X, y)
    folder = tmp_path / "pretrained"
    model.network_.text_encoders[0].model.save_pretrained(folder)
    model._reader.text_fields.tokenizers_["title"].save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def make_trimodal(make_model, pretrained):
    def make(**parameters):
        chosen = {
            "architecture": "multimodal_bert",
            "encoder": {"title": pretrained, "review": LARGE},
            "shared_encoder": False,
            "text_columns": COLUMNS,
            "max_sen_len": None,
            "epochs": 2,
        }
        return make_model(**(chosen | parameters))

    return make


def test_each_column_has_the_encoder_that_names_it(make_trimodal, table, pretrained):
    X, y = table
    model = make_trimodal(epochs=12).fit(X, y)
    network, texts = model.network_, model._reader.text_fields
    widths = {c: network.encoder_of(f).output_dim for c, f in model._reader.fields_.items()}
    assert widths == {"review": 16, "title": 8}
    assert texts.max_sen_len == {"review": 48, "title": 24}
    given = Tokenizer.from_file(str(pretrained / "tokenizer.json"))
    assert texts.tokenizers_["title"].get_vocab() == given.get_vocab()
    trained = texts.tokenizers_["review"].get_vocab()
    assert "lovely" in trained
    assert "about" not in trained  # the words of the other column
    assert model.score(X, y) > 0.9


def test_the_order_of_the_dict_does_not_matter(make_trimodal, table, pretrained):
    X, y = table
    first = make_trimodal().fit(X, y)
    second = make_trimodal(encoder={"review": LARGE, "title": pretrained}).fit(X, y)
    assert_array_equal(first.predict_proba(X), second.predict_proba(X))


def test_long_text_is_cut_for_the_encoder_of_its_column(make_trimodal, table):
    X, y = table
    X.loc[0, COLUMNS] = "word " * 300
    rows = make_trimodal(epochs=1).fit(X, y)._reader.transform(X)
    longest = {field: int(store.lengths.max()) for field, store in rows.text.items()}
    assert longest == {"text_0": 48, "text_1": 24}


@pytest.mark.parametrize("architecture", ["multimodal_cnn", "multimodal_bert"])
def test_own_encoders_have_own_vocabularies(make_model, table, architecture):
    X, y = table
    options = {"architecture": architecture, "text_columns": COLUMNS, "epochs": 1}
    own = make_model(shared_encoder=False, **options).fit(X, y)._reader.text_fields
    assert "about" in own.tokenizers_["title"].get_vocab()
    assert "about" not in own.tokenizers_["review"].get_vocab()
    shared = make_model(**options).fit(X, y)._reader.text_fields
    assert "about" in shared.tokenizers_["review"].get_vocab()
    assert len({t.to_str() for t in shared.tokenizers_.values()}) == 1


def test_files_of_own_tokenizers(make_trimodal, table, tmp_path):
    X, y = table
    model = make_trimodal().fit(X, y)
    model.save(tmp_path / "model")
    moved = (tmp_path / "model").rename(tmp_path / "moved")
    names = {file.name for file in moved.iterdir()}
    assert names == {"model.json", "tokenizer_0.json", "tokenizer_1.json", "weights.safetensors"}
    restored = MultimodalTextTabularClassifier.load(moved)
    assert_array_equal(restored.predict_proba(X), model.predict_proba(X))
    assert_allclose(
        pickle.loads(pickle.dumps(model)).predict_proba(X), model.predict_proba(X), atol=1e-7
    )
    restored.set_params(warm_start=True).fit(X, y)
    (moved / "tokenizer_1.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no tokenizer_1\.json; give a folder"):
        MultimodalTextTabularClassifier.load(moved)


def test_one_text_column(make_model, table, pretrained):
    X, y = table
    model = make_model(
        architecture="bert", text_columns="title", encoder={"title": pretrained}, max_sen_len=None
    )
    assert model.fit(X, y).network_.encoder_of("text_0").output_dim == 8


def test_a_config_is_no_dict_of_columns(make_model, table):
    X, y = table
    model = make_model(architecture="bert", encoder=SMALL, text_columns=COLUMNS, max_sen_len=20)
    assert len(model.fit(X, y).network_.text_encoders) == 1
    assert encoders_by_column({}, COLUMNS, True) == {"review": {}, "title": {}}
    by_type = {"model_type": "electra"}
    assert encoders_by_column(by_type, COLUMNS, True) == {"review": by_type, "title": by_type}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"encoder": {"titel": "tiny", "review": "tiny"}}, "'titel', which .* mean 'title'"),
        ({"encoder": {"Titles": "tiny", "Reviews": "tiny"}}, "'Titles', which is no text column"),
        ({"encoder": {"review": "tiny"}}, "no encoder for the text column 'title'; give one"),
        ({"shared_encoder": True}, "shared_encoder=True gives all columns the same; set shared_"),
        ({"max_sen_len": 30}, "text column 'title': .* 30 tokens, .* numbers 24; give max_sen_len"),
    ],
)
def test_bad_parameters(make_trimodal, table, parameters, message):
    X, y = table
    model = make_trimodal(**parameters)
    with pytest.raises(ValueError, match=message):
        model.fit(X, y)
    assert not hasattr(model, "network_")


def test_each_source_is_looked_up_once(monkeypatch, pretrained):
    looked_up = []
    original = __import__("mtbert.pretrained", fromlist=["find_encoder"]).find_encoder

    def record(source):
        looked_up.append(source)
        return original(source)

    monkeypatch.setattr("mtbert.pretrained.find_encoder", record)
    tokenizers, lengths = choose_tokenizers("bert", dict.fromkeys(COLUMNS, pretrained), None)
    assert looked_up == [pretrained]
    assert tokenizers == {"review": pretrained, "title": pretrained}
    assert lengths == {"review": 24, "title": 24}


def test_gradient_reaches_both_encoders(make_trimodal, table):
    X, y = table
    model = make_trimodal(epochs=1).fit(X, y)
    before = {name: weight.clone() for name, weight in model.network_.state_dict().items()}
    after = model.set_params(warm_start=True).fit(X, y).network_.state_dict()
    moved = {name.split(".")[1] for name in before if not torch.equal(before[name], after[name])}
    assert {"0", "1"} <= moved


def test_the_plan_of_a_saved_model(make_trimodal, table, tmp_path):
    X, y = table
    make_trimodal(epochs=1).fit(X, y).save(tmp_path / "model")
    content = json.loads((tmp_path / "model" / "model.json").read_text())
    assert content["tokenizers"] == {"review": "tokenizer_0.json", "title": "tokenizer_1.json"}
    sizes = {field: config["hidden_size"] for field, config in content["encoder_config"].items()}
    assert sizes == {"text_0": 16, "text_1": 8}
    assert np.unique([size for size, _ in content["plan"]["fields"].values()]).size == 2
