"""The benchmarks of mtbert's training run and print what they promise, with a tiny encoder."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from benchmarks import text_memory, text_speed
from mtbert.datasets import load_reviews
from mtbert.modules import BertText
from mtbert.text import Tokenizer

ROOT = Path(__file__).parents[1]
ROWS = 40


def run(module, *arguments):
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def reviews():
    X, _ = load_reviews(return_X_y=True)
    return X[:ROWS]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory, reviews):
    """A folder as those of pretrained encoders."""
    folder = tmp_path_factory.mktemp("encoder")
    tokenizer = Tokenizer(vocab_size=300).fit(reviews["Review Text"].fillna("")).tokenizer_
    tokenizer.save(str(folder / "tokenizer.json"))
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        max_position_embeddings=256,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    return folder


def test_speed_of_all_contenders(tmp_path, encoder, reviews):
    file = tmp_path / "speed.json"
    printed = run(
        *("text_speed", "--rows", ROWS, "--repeats", 2, "--threads", 1, "--batch-size", 16),
        *("--encoder", encoder, "--json", file),
    )
    runs = json.loads(file.read_text())["runs"]
    names = ["mtbert", "padded to 256", "transformers"]
    assert [r["contender"] for r in runs] == names * 2
    assert all(r["epoch_seconds"] > 0 and r["epoch_cpu_seconds"] > 0 for r in runs)
    by_name = {name: [r for r in runs if r["contender"] == name] for name in names}
    ratios = [
        theirs["epoch_seconds"] / ours["epoch_seconds"]
        for ours, theirs in zip(by_name["mtbert"], by_name["transformers"], strict=True)
    ]
    assert f"{min(ratios):.3f} {np.median(ratios):.3f} {max(ratios):.3f}" in printed
    tokenizer = Tokenizer(encoder, max_sen_len=256).fit([""])
    texts = [*reviews["Title"].fillna(""), *reviews["Review Text"].fillna("")]
    expected = sum(len(ids) for (ids,) in tokenizer.transform(texts))
    # The text steps drop markup and repeated spaces, which are few.
    assert runs[0]["tokens"] == runs[1]["tokens"] == pytest.approx(expected, rel=0.01)
    assert runs[2]["tokens"] > expected  # the other columns are written into the text


def test_the_padded_twin_is_padded(encoder, monkeypatch):
    lengths = []
    encode_chunks = BertText.encode_chunks

    def spy(self, ids, *others):
        lengths.append(ids.shape[1])
        return encode_chunks(self, ids, *others)

    monkeypatch.setattr(BertText, "encode_chunks", spy)
    options = {"rows": ROWS, "source": None, "encoder": str(encoder), "one_text": True}
    case = text_speed.read_case(options | {"batch_size": 16, "precision": "fp32"})
    text_speed.train_padded(case)
    assert set(lengths) == {256}
    lengths.clear()
    text_speed.train_mtbert(case)
    assert len(set(lengths)) > 1


def test_one_text_is_the_title_and_the_review(encoder):
    options = {"rows": ROWS, "source": None, "encoder": str(encoder)}
    options |= {"batch_size": 16, "precision": "fp32"}
    apart, together = (
        text_speed.train_mtbert(text_speed.read_case(options | {"one_text": joined}))["tokens"]
        for joined in (False, True)
    )
    assert apart - together == 2 * ROWS  # special tokens of the second text


def test_memory(tmp_path, encoder):
    file = tmp_path / "memory.json"
    printed = run(
        *("text_memory", "--rows", ROWS, "--threads", 1, "--only", "mtbert"),
        *("--encoder", encoder, "--json", file),
    )
    (found,) = json.loads(file.read_text())["runs"]
    assert found["contender"] == "mtbert"
    assert found["megabytes"] >= 0
    assert 0.01 < found["table_megabytes"] < 1
    assert "\nmtbert  " in printed


@pytest.mark.parametrize("module", [text_speed, text_memory])
def test_help_says_how_to_run_it(module, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark", "--help"])
    with pytest.raises(SystemExit):
        module.parse_arguments()
    assert f"python -m {module.__name__} " in capsys.readouterr().out
