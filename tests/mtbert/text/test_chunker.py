"""Chunks: order kept, nothing lost, every chunk fits, and no packing in order needs fewer."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtbert.text import DialogueChunker, Tokenizer

WORDS = st.text("abc", min_size=1, max_size=4)
MESSAGES = st.lists(st.lists(WORDS, max_size=6).map(" ".join), max_size=8)


def find_words(text):
    return [match.span() for match in re.finditer(r"\S+", text)]


def find_characters(text):
    return [(i, i + 1) for i in range(len(text))]


def chunk(messages, tokenizer=find_words, **parameters):
    return DialogueChunker(tokenizer, **parameters).fit_transform([messages])[0]


def least_chunks(lengths, room):
    """Naive twin: the best of all ways to cut the sequence of messages into chunks that fit."""
    if not lengths:
        return 0
    firsts = (n for n in range(1, len(lengths) + 1) if sum(lengths[:n]) <= room)
    return min(1 + least_chunks(lengths[n:], room) for n in firsts)


@pytest.mark.parametrize(
    ("messages", "parameters", "chunks"),
    [
        (["a b", "c", "d e"], {"max_tokens": 3}, ["a b c", "d e"]),
        (["a", "b c d", "e"], {"max_tokens": 3}, ["a", "b c d", "e"]),
        (["a", "b c d e f", "g"], {"max_tokens": 3}, ["a", "b c d", "e f g"]),
        (["a b", "c"], {"max_tokens": 4, "n_special_tokens": 2}, ["a b", "c"]),
        (["a", "b", "c"], {"max_tokens": 1, "max_total_chunks": 2}, ["a", "b"]),
        (
            ["a", "b", "c"],
            {"max_tokens": 1, "max_total_chunks": 2, "truncate": "oldest"},
            ["b", "c"],
        ),
        (["a"], {"max_tokens": 1, "max_total_chunks": 5, "truncate": "oldest"}, ["a"]),
        (["", "a", " ", "b"], {}, ["a b"]),
        (["", " "], {}, [""]),
        ([], {}, [""]),
        ("a b c", {"max_tokens": 2}, ["a b", "c"]),
        (None, {}, [""]),
    ],
)
def test_messages_are_packed(messages, parameters, chunks):
    assert chunk(messages, **parameters) == chunks


def test_a_word_is_cut_only_if_it_is_longer_than_a_chunk():
    cut = chunk(["ab cde", "fghijkl mn"], find_characters, max_tokens=4)
    assert cut == ["ab", "cde", "fghi", "jkl", "mn"]


def test_the_space_between_messages_counts_if_it_is_a_token():
    assert chunk(["ab", "c", "d"], find_characters, max_tokens=4) == ["ab c", "d"]


def test_a_character_of_several_tokens_is_never_cut():
    def two_for_each(text):
        return [span for span in find_characters(text) for _ in range(2)]

    assert chunk(["abc"], two_for_each, max_tokens=3) == ["a", "b", "c"]
    assert chunk(["abc"], two_for_each, max_tokens=1) == ["a", "b", "c"]


def test_a_token_may_begin_with_the_space_before_its_word():
    def words_with_space(text):
        return [match.span() for match in re.finditer(r" ?\S+", text)]

    assert chunk(["a b", "c d e", "f"], words_with_space, max_tokens=3) == ["a b", "c d e", "f"]
    assert chunk(["a b c d", "e"], words_with_space, max_tokens=3) == ["a b c", "d e"]


@given(MESSAGES, st.integers(1, 7), st.sampled_from([find_words, find_characters]))
@settings(max_examples=300)
def test_chunks_fit_and_lose_nothing(messages, room, tokenizer):
    chunks = chunk(messages, tokenizer, max_tokens=room)
    assert "".join(chunks).replace(" ", "") == "".join(messages).replace(" ", "")
    assert all(len(tokenizer(text)) <= room for text in chunks)


@given(MESSAGES, st.integers(6, 9))
@settings(max_examples=200)
def test_there_are_no_fewer_chunks_in_order(messages, room):
    lengths = [len(message.split()) for message in messages if message]
    chunks = chunk(messages, max_tokens=room)
    assert len(chunks) == max(1, least_chunks(lengths, room))
    assert " ".join(chunks).split() == " ".join(messages).split()


@given(MESSAGES, st.integers(1, 5), st.integers(1, 4))
def test_truncation_keeps_one_end(messages, room, most):
    everything = chunk(messages, max_tokens=room)
    parameters = {"max_tokens": room, "max_total_chunks": most}
    assert chunk(messages, truncate="newest", **parameters) == everything[:most]
    assert chunk(messages, truncate="oldest", **parameters) == everything[-most:]


@given(st.lists(st.lists(st.sampled_from(["parcel", "was", "sent", "é", "漢字"]), max_size=9)))
@settings(max_examples=50, deadline=None)
def test_wordpiece_chunks_fit(trained, rows):
    messages = [" ".join(words) for words in rows]
    chunks = chunk(messages, trained.tokenizer_, max_tokens=12)
    assert " ".join(chunks).split() == " ".join(messages).split()
    ids = Tokenizer(trained.tokenizer_, max_sen_len=None).fit_transform([chunks])[0]
    assert all(len(chunk_ids) <= 12 for chunk_ids in ids)


@pytest.fixture(scope="module")
def bytes_tokenizer():
    """Tokens are bytes and pairs of bytes; most characters beyond ASCII are several tokens."""
    from tokenizers import Tokenizer as Plain
    from tokenizers import models, pre_tokenizers, trainers

    plain = Plain(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=270, initial_alphabet=alphabet, show_progress=False)
    plain.train_from_iterator(["a parcel was sent"] * 5, trainer)
    return plain


@given(st.lists(st.text("a parcel😀漢é", max_size=12), max_size=5), st.integers(4, 9))
@settings(deadline=None)
def test_byte_level_tokens_lose_nothing_and_stay_bounded(bytes_tokenizer, messages, most):
    chunks = chunk(messages, bytes_tokenizer, max_tokens=most)
    assert "".join("".join(chunks).split()) == "".join("".join(messages).split())
    rows = Tokenizer(bytes_tokenizer, max_sen_len=most).fit_transform([chunks])[0]
    assert all(len(ids) <= most for ids in rows)


def test_every_kind_of_tokenizer_counts_the_same(tmp_path, trained, dialogues):
    trained.tokenizer_.save(str(tmp_path / "tokenizer.json"))
    sources = [trained.tokenizer_, tmp_path, str(tmp_path / "tokenizer.json")]
    steps = [*sources, Tokenizer(tmp_path, max_sen_len=5)]
    rows = [DialogueChunker(step, max_tokens=16).fit_transform(dialogues) for step in steps]
    assert rows[0] == rows[1] == rows[2] == rows[3]
    assert max(map(len, rows[0])) > 1


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"max_tokens": 0}, ValueError, "max_tokens must be at least 1, got 0"),
        ({"max_tokens": 2.5}, TypeError, "max_tokens must be an integer"),
        ({"max_tokens": 2}, ValueError, "max_tokens must be at least 3, .* 2 special ones, got 2"),
        ({"max_tokens": 4, "n_special_tokens": 4}, ValueError, "max_tokens must be at least 5"),
        ({"n_special_tokens": -1}, ValueError, "n_special_tokens must be at least 0, got -1"),
        ({"max_total_chunks": -1}, ValueError, "max_total_chunks must be at least 1, got -1"),
        ({"truncate": "oldset"}, ValueError, "unknown truncate 'oldset'; did you mean 'oldest'"),
        ({"tokenizer": 5}, TypeError, "tokenizer must be a path, .* or None, got int"),
        ({"tokenizer": "nowhere"}, FileNotFoundError, "No tokenizer at nowhere; give a folder"),
    ],
)
def test_bad_parameters(trained, parameters, error, message):
    chunker = DialogueChunker(**({"tokenizer": trained.tokenizer_} | parameters))
    with pytest.raises(error, match=message):
        chunker.fit(["a"])


def test_a_callable_must_give_spans():
    with pytest.raises(TypeError, match=r"must return a \(start, end\) pair .* got \['a', 'b'\]"):
        chunk(["a b"], str.split)
    with pytest.raises(ValueError, match="must return tokens in order"):
        chunk(["a b"], lambda text: [(2, 3), (0, 1)])
