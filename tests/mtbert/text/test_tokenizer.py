"""Token ids: trained here or loaded, bounded length, nothing cut off, the same every time."""

import builtins
import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtbert.text import Tokenizer, pad_chunks

CLS, SEP = 2, 3


def without_special(chunks):
    return [i for chunk in chunks for i in chunk if i not in (CLS, SEP)]


def test_ids_are_those_of_the_package(trained, dialogues):
    rows = trained.transform(dialogues)
    assert all(chunk.dtype == np.int32 for row in rows for chunk in row)
    expected = [trained.tokenizer_.encode(text or "").ids for text in dialogues]
    assert [[chunk.tolist() for chunk in row] for row in rows] == [[ids] for ids in expected]


def test_whole_words_are_found(trained):
    tokens = trained.tokenizer_.encode("It was SENT on Monday").tokens
    assert tokens == ["[CLS]", "it", "was", "sent", "on", "monday", "[SEP]"]
    assert trained.tokenizer_.decode(trained.transform(["my parcel"])[0][0]) == "my parcel"


def test_empty_texts_are_special_tokens_only(trained):
    rows = trained.transform(["", None, [], ["", None]])
    chunks = [[chunk.tolist() for chunk in row] for row in rows]
    assert chunks == [[[CLS, SEP]], [[CLS, SEP]], [[CLS, SEP]], [[CLS, SEP], [CLS, SEP]]]


@given(st.lists(st.sampled_from(["parcel", "sent", "dress", "5", "?!", "漢"]), max_size=20))
@settings(deadline=None)
def test_longer_texts_become_several_chunks(trained, words):
    text = " ".join(words)
    short = Tokenizer(trained.tokenizer_, max_sen_len=7).fit_transform([[text, "sent"]])[0]
    (whole,) = trained.transform([[text, "sent"]])
    assert without_special(short) == without_special(whole)
    assert all(len(chunk) <= 7 and chunk[0] == CLS and chunk[-1] == SEP for chunk in short)


def test_more_texts_than_one_block(trained, monkeypatch):
    monkeypatch.setattr("mtbert.text.encoding.ENCODED_AT_ONCE", 3)
    texts = [["sent"] * (i % 4) for i in range(11)]
    rows = trained.transform(texts)
    assert [len(row) for row in rows] == [max(1, i % 4) for i in range(11)]


def test_training_is_the_same_every_time():
    """The trainer's hash tables have another order in each run, within a process too."""
    words = [f"{a}{b}{c}" for a in "abcxyzé" for b in "defuvw漢" for c in "ghi"]
    texts = [" ".join(words[i::7]) for i in range(100)]
    steps = [Tokenizer(vocab_size=90, min_frequency=1).fit(texts) for _ in range(5)]
    assert len({step.tokenizer_.to_str() for step in steps}) == 1
    vocabulary = json.loads(steps[0].tokenizer_.to_str())["model"]["vocab"]
    assert len(vocabulary) == 90
    assert list(vocabulary)[:6] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"]


def test_case_is_kept_or_ignored():
    texts = ["Été", "été"]
    cased = Tokenizer(lower=False, min_frequency=1).fit(texts)
    uncased = Tokenizer(min_frequency=1).fit(texts)
    assert cased.transform(["Été"])[0][0].tolist() != cased.transform(["été"])[0][0].tolist()
    assert uncased.transform(["Été"])[0][0].tolist() == uncased.transform(["ete"])[0][0].tolist()


def test_rare_characters_are_unknown_and_frequent_ones_are_not(monkeypatch):
    monkeypatch.setattr("mtbert.text.wordpiece.ALPHABET_SIZE", 2)
    step = Tokenizer(min_frequency=9).fit(["a a a b b c"])
    assert step.tokenizer_.encode("a b c ab").tokens[1:-1] == ["a", "b", "[UNK]", "[UNK]"]


def test_texts_without_any_word_train_a_tokenizer():
    rows = Tokenizer().fit([None, ""]).transform(["word"])
    assert rows[0][0].tolist() == [CLS, 1, SEP]


def test_half_a_surrogate_pair_is_a_character_like_others(trained):
    trained.transform(["a\ud83d"])
    Tokenizer().fit(["a\ud83d"])


def test_files_and_objects(tmp_path, trained, dialogues):
    """A file's own truncation and padding are lifted, and the object that was given is kept."""
    copy = pickle.loads(pickle.dumps(trained.tokenizer_))
    copy.enable_truncation(4)
    copy.enable_padding(length=64)
    before = copy.to_str()
    copy.save(str(tmp_path / "tokenizer.json"))
    expected = trained.transform(dialogues)
    for source in (copy, tmp_path, str(tmp_path), tmp_path / "tokenizer.json"):
        rows = Tokenizer(source).fit_transform(dialogues)
        for row, expected_row in zip(rows, expected, strict=True):
            assert [c.tolist() for c in row] == [c.tolist() for c in expected_row]
    assert copy.to_str() == before


@pytest.mark.parametrize(("token", "expected"), [("[PAD]", 0), ("<pad>", 1), ("x", 0)])
def test_the_id_for_padding(token, expected):
    from tokenizers import Tokenizer as Plain
    from tokenizers.models import WordLevel

    plain = Plain(WordLevel({token: 0, "b": 1} if expected == 0 else {"b": 0, token: 1}, "b"))
    assert Tokenizer(plain).fit([]).pad_token_id_ == expected


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"max_sen_len": 2}, ValueError, "max_sen_len must be at least 3, .* got 2"),
        ({"max_sen_len": 0}, ValueError, "max_sen_len must be at least 1, got 0"),
        ({"max_sen_len": "9"}, TypeError, "max_sen_len must be an integer"),
        ({"vocab_size": 5}, ValueError, "vocab_size must be at least 6"),
        ({"min_frequency": 0}, ValueError, "min_frequency must be at least 1"),
        ({"lower": None}, TypeError, "lower must be True or False, got None"),
        ({"tokenizer": "bert-base-uncased"}, FileNotFoundError, "Names of models on a hub are not"),
        ({"tokenizer": ["a"]}, TypeError, "must be a path, a tokenizers.Tokenizer or None"),
    ],
)
def test_bad_parameters(parameters, error, message):
    with pytest.raises(error, match=message):
        Tokenizer(**parameters).fit(["a"])


def test_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No tokenizer at .*tokenizer\.json; give a fold"):
        Tokenizer(tmp_path).fit(["a"])
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(ValueError, match=r"tokenizer\.json holds no tokenizer in the format"):
        Tokenizer(tmp_path / "tokenizer.json").fit(["a"])


def test_no_rows_train_nothing():
    with pytest.raises(ValueError, match="X has no row to train a tokenizer on"):
        Tokenizer().fit([])


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    original = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "tokenizers":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"pip install 'mtgbm\[text\]'"):
        Tokenizer().fit(["a"])


CHUNKS = st.lists(st.integers(1, 99), min_size=1, max_size=5).map(np.array)


@given(st.lists(st.lists(CHUNKS, max_size=4), max_size=5), st.sampled_from([0, 7]))
def test_padding_keeps_every_id_and_masks_the_rest(rows, pad_id):
    ids, attention_mask, chunk_mask = pad_chunks(rows, pad_id)
    n_chunks = max(map(len, rows), default=0)
    length = max((len(chunk) for row in rows for chunk in row), default=0)
    assert ids.shape == attention_mask.shape == (len(rows), n_chunks, length)
    assert chunk_mask.shape == (len(rows), n_chunks)
    assert chunk_mask.dtype == bool
    assert ids.dtype == attention_mask.dtype == np.int64
    for i, row in enumerate(rows):
        assert chunk_mask[i].tolist() == [j < len(row) for j in range(n_chunks)]
        for j, chunk in enumerate(row):
            assert ids[i, j, : len(chunk)].tolist() == chunk.tolist()
            assert attention_mask[i, j].tolist() == [k < len(chunk) for k in range(length)]
    assert np.all(ids[attention_mask == 0] == pad_id)
