"""Every row once an epoch, in batches of like length."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from mtbert.batching import (
    Rows,
    SharedVectors,
    padding_share,
    rows_of_batch,
    shuffled_batches,
    sorted_batches,
)
from mtbert.token_store import TokenStore


def rows_of_lengths(lengths):
    chunks = [[np.arange(length) + 5 for length in row] for row in lengths]
    text = {"text_0": TokenStore.of_rows(chunks)}
    n = len(lengths)
    return Rows(text, np.arange(n, dtype=np.float32)[:, None], np.zeros((n, 0), np.int64))


@given(st.integers(1, 300), st.integers(1, 40), st.integers(0, 3))
def test_every_row_is_in_one_batch_of_the_right_size(n, batch_size, seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 20, n)
    for batches in (shuffled_batches(sizes, batch_size, rng), sorted_batches(sizes, batch_size)):
        assert_array_equal(np.sort(np.concatenate(batches)), np.arange(n))
        lengths = sorted(map(len, batches), reverse=True)
        assert lengths[:-1] == [batch_size] * (len(batches) - 1)


@given(st.integers(1, 100_000))
def test_an_epoch_has_about_as_many_batches_for_few_rows_as_for_many(n):
    size = rows_of_batch("auto", n)
    assert size in (8, 16, 32)
    if 8 * 300 <= n < 64 * 300:
        assert 300 <= n / size < 600
    else:
        assert size == (8 if n < 2400 else 32)


def test_a_given_batch_size_is_taken():
    assert rows_of_batch(5, 100_000) == rows_of_batch(5) == 5
    assert rows_of_batch("auto") == 32


def test_little_is_padding():
    """Lengths as of reviews: in random batches 4 of 10 tokens are padding."""
    rng = np.random.default_rng(0)
    rows = rows_of_lengths(rng.lognormal(4.2, 0.6, (2000, 1)).astype(int) + 2)
    at_random = [part for part in np.array_split(rng.permutation(2000), 63)]
    assert padding_share(rows, at_random) > 0.4
    assert padding_share(rows, shuffled_batches(rows.sizes(), 32, rng)) < 0.08
    assert padding_share(rows, sorted_batches(rows.sizes(), 32)) < 0.08


def test_padding_share_by_hand():
    rows = rows_of_lengths([[2], [4, 1]])
    assert rows.sizes().tolist() == [2, 8]
    assert padding_share(rows, [np.array([0, 1])]) == pytest.approx(1 - 7 / 16)
    assert padding_share(rows, [np.array([0]), np.array([1])]) == pytest.approx(1 - 7 / 10)


def test_batches_differ_from_epoch_to_epoch_and_repeat_with_the_seed():
    sizes = np.random.default_rng(0).integers(1, 50, 500)
    rng = np.random.default_rng(1)
    first, second = (shuffled_batches(sizes, 32, rng) for _ in range(2))
    assert {frozenset(b) for b in map(tuple, first)} != {frozenset(b) for b in map(tuple, second)}
    again = shuffled_batches(sizes, 32, np.random.default_rng(1))
    assert all(map(np.array_equal, first, again))


def test_inputs_are_padded_to_the_longest_row():
    inputs = rows_of_lengths([[2], [3, 1]]).inputs()
    assert inputs["text_0_ids"].tolist() == [[[5, 6, 0], [0, 0, 0]], [[5, 6, 7], [5, 0, 0]]]
    assert inputs["text_0_mask"].tolist()[0] == [[True, True, False], [False] * 3]
    assert inputs["text_0_mask"].dtype == bool
    assert inputs["numeric"].tolist() == [[0.0], [1.0]]
    assert inputs["categorical"].shape == (2, 0)


def test_vectors_come_in_place_of_tokens():
    """Rows of one text share a vector, and cost nothing in a batch."""
    values = np.array([[1, 2], [3, 4]], dtype=np.float32)
    rows = Rows(
        {},
        np.zeros((3, 1), np.float32),
        np.zeros((3, 0), np.int64),
        vectors={"text_0": SharedVectors(values, np.array([1, 0, 1]))},
    )
    assert rows.sizes().tolist() == [0, 0, 0]
    inputs = rows.take(np.array([2, 1])).inputs()
    assert inputs["text_0_vector"].tolist() == [[3, 4], [1, 2]]
    assert set(inputs) == {"text_0_vector", "numeric", "categorical"}
