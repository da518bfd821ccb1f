"""Tokens come back to the words that they are pieces of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtbert.explanation.words import read_words
from mtbert.text import Tokenizer, make_text_pipeline

TEXTS = ["don't wash it, it shrinks!", "well-made (soft) coat; 5'4 fits", "mañana 漢字 it's"] * 3


@pytest.fixture(scope="module")
def tokenizer():
    """So small a vocabulary that most words are several pieces."""
    return Tokenizer(vocab_size=60).fit(TEXTS).tokenizer_


def fitted(tokenizer, steps, max_sen_len=16):
    step = Tokenizer(tokenizer, max_sen_len=max_sen_len)
    return make_text_pipeline(steps, tokenizer=step).fit([""])


def words_of(read):
    return [read.text[start:end] for start, end in read.spans]


def test_pieces_become_words(tokenizer):
    (read,) = read_words(fitted(tokenizer, ["tokenizer"], 60), [TEXTS[0]])
    assert read.text == TEXTS[0]
    assert words_of(read) == ["don't", "wash", "it", ",", "it", "shrinks", "!"]
    assert len(read.chunks[0]) > len(read.spans) + 2  # so some words are several pieces
    assert read.is_special[0].tolist() == [True, *[False] * (len(read.chunks[0]) - 2), True]
    assert read.word_of[0][[0, -1]].tolist() == [-1, -1]


def test_other_scripts_and_numbers_with_apostrophes(tokenizer):
    (read, other) = read_words(fitted(tokenizer, ["tokenizer"], 60), TEXTS[1:3])
    assert words_of(read) == ["well", "-", "made", "(", "soft", ")", "coat", ";", "5'4", "fits"]
    assert words_of(other) == ["mañana", "漢", "字", "it's"]


def test_spans_count_in_the_cleaned_text(tokenizer):
    pipeline = fitted(tokenizer, ["html_normalizer", "text_normalizer", "tokenizer"], 60)
    (read,) = read_words(pipeline, ["<p>wash &amp;  it</p>"])
    assert read.text == "wash & it"
    assert read.spans.tolist() == [[0, 4], [5, 6], [7, 9]]


@pytest.mark.parametrize("steps", [["tokenizer"], ["dialogue_chunker", "tokenizer"]])
def test_several_chunks(tokenizer, steps):
    """Also a word that two chunks share is one word."""
    text = " ".join(TEXTS)
    (read,) = read_words(fitted(tokenizer, steps), [text])
    (whole,) = read_words(fitted(tokenizer, ["tokenizer"], 600), [text])
    assert words_of(read) == words_of(whole)
    assert len(read.chunks) > 3
    assert (np.diff(read.chunk_of) >= 0).all()
    assert read.chunk_of.max() == len(read.chunks) - 1
    assert (
        read.sum_words([np.ones(len(chunk)) for chunk in read.chunks]).sum()
        == len(np.concatenate(whole.chunks)) - 2
    )


def test_messages_of_a_dialogue(tokenizer):
    pipeline = fitted(tokenizer, ["dialogue_splitter", "dialogue_chunker", "tokenizer"])
    (read,) = read_words(pipeline, ["[bom]wash it[eom][bom]fits![eom]"])
    assert words_of(read) == ["wash", "it", "fits", "!"]


@pytest.mark.parametrize(
    "steps", [["tokenizer"], ["text_normalizer", "dialogue_chunker", "tokenizer"]]
)
def test_no_text(tokenizer, steps):
    (read,) = read_words(fitted(tokenizer, steps), [""])
    assert read.text == ""
    assert read.spans.shape == (0, 2)
    assert read.sum_words([np.ones(len(chunk)) for chunk in read.chunks]).shape == (0,)


def test_sums_are_those_of_the_pieces(tokenizer):
    (read,) = read_words(fitted(tokenizer, ["tokenizer"], 60), ["it, it"])
    values = np.arange(len(read.chunks[0]), dtype=float)
    assert len(values) == 5
    assert read.sum_words([values]).tolist() == [1.0, 2.0, 3.0]


@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
    | st.text("it's -!\n ab", max_size=60)
)
def test_any_text(tokenizer, text):
    """The tokens are those that the network gets; words are in order and hold no white space."""
    pipeline = fitted(tokenizer, ["text_normalizer", "dialogue_chunker", "tokenizer"])
    (read,) = read_words(pipeline, [text])
    (chunks,) = pipeline.transform([text])
    assert [chunk.tolist() for chunk in read.chunks] == [chunk.tolist() for chunk in chunks]
    assert (read.spans[1:, 0] >= read.spans[:-1, 1]).all()
    assert not any(word.split() != [word] for word in words_of(read))
    n_real = sum((~special).sum() for special in read.is_special)
    totals = read.sum_words([np.ones(len(chunk)) for chunk in read.chunks])
    assert totals.sum() == n_real
    assert (totals >= 1).all()
