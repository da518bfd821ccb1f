"""Flat tokens against lists of chunks, in memory and mapped from a file."""

import copy
import os
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from mtbert import temporary_arrays
from mtbert.text import pad_chunks
from mtbert.token_store import TokenStore

chunk = st.lists(st.integers(0, 2**31 - 1), max_size=6).map(lambda ids: np.array(ids, np.int32))
tables = st.lists(st.lists(chunk, max_size=4), max_size=8)


@pytest.fixture
def all_mapped(monkeypatch):
    """No array is small enough for the memory."""
    monkeypatch.setattr(temporary_arrays, "MOST_BYTES_IN_MEMORY", 0)


def to_lists(rows):
    return [[ids.tolist() for ids in row] for row in rows]


def is_mapped(array):
    while array is not None and not isinstance(array, np.memmap):
        array = array.base if isinstance(array, np.ndarray) else None
    return array is not None


@given(tables, st.integers(0, 5))
def test_the_same_as_lists(rows, pad_id):
    store = TokenStore.of_rows(rows)
    assert len(store) == len(rows)
    assert to_lists(store) == to_lists(rows)
    ids, mask, _ = pad_chunks(rows, pad_id)
    found_ids, found_mask = store.pad(pad_id)
    assert_array_equal(found_ids, ids)
    assert_array_equal(found_mask, mask.astype(bool))
    assert (found_ids.dtype, found_mask.dtype) == (np.int64, np.bool_)
    assert found_ids.shape == ids.shape
    sizes = [len(row) * max(map(len, row), default=0) for row in rows]
    assert store.sizes().tolist() == sizes
    assert store.n_tokens == sum(len(ids) for row in rows for ids in row)


@given(tables.filter(len), st.data())
def test_some_of_the_rows_are_as_if_built_of_them(rows, data):
    numbers = st.lists(st.integers(0, len(rows) - 1), max_size=10)
    first = data.draw(numbers)
    taken, expected = TokenStore.of_rows(rows).take(first), [rows[i] for i in first]
    assert taken.tokens is not None
    assert to_lists(taken) == to_lists(expected)
    assert_array_equal(taken.pad(7)[0], pad_chunks(expected, 7)[0])
    if first:
        again = data.draw(st.lists(st.integers(0, len(first) - 1), max_size=5))
        assert to_lists(taken.take(again)) == to_lists([expected[i] for i in again])


@given(tables, st.integers(1, 4))
def test_blocks_make_the_same_store(rows, size):
    blocks = (rows[start : start + size] for start in range(0, len(rows), size))
    assert to_lists(TokenStore.of_blocks(blocks)) == to_lists(rows)


@given(tables)
def test_digests_are_equal_for_equal_rows_only(rows):
    digests = TokenStore.of_rows(rows).digests()
    keys = [repr(row) for row in to_lists(rows)]
    for i, key in enumerate(keys):
        assert [d == digests[i] for d in digests] == [k == key for k in keys]


def test_taking_rows_copies_no_token():
    store = TokenStore.of_rows([[np.arange(5)], [np.arange(3)]])
    assert store.take([1]).tokens is store.tokens


@pytest.mark.parametrize(
    "clone", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))]
)
def test_a_copy_holds_the_tokens_of_its_rows_only(clone):
    store = TokenStore.of_rows([[np.arange(1000)], [np.arange(3), np.arange(2)]])
    part = clone(store.take([1]))
    assert to_lists(part) == [[[0, 1, 2], [0, 1]]]
    assert len(part.tokens) == 5


def test_large_stores_are_mapped_from_files_without_a_name(all_mapped, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    rows = [[np.arange(n), np.arange(2)] for n in range(40)]
    store = TokenStore.of_blocks(rows[i : i + 7] for i in range(0, 40, 7))
    assert is_mapped(store.tokens)
    assert os.listdir(tmp_path) == []
    assert to_lists(store) == to_lists(rows)
    assert_array_equal(store.take([3, 9]).pad(1)[0], pad_chunks([rows[3], rows[9]], 1)[0])
    other = pickle.loads(pickle.dumps(store))
    assert is_mapped(other.tokens)
    assert to_lists(other) == to_lists(rows)


def test_only_what_is_above_the_limit_is_mapped(monkeypatch):
    monkeypatch.setattr(temporary_arrays, "MOST_BYTES_IN_MEMORY", 40)
    for n, mapped in ((10, False), (11, True)):
        array = temporary_arrays.concatenate([np.arange(n - 3), np.arange(3)])
        assert is_mapped(array) is mapped
        assert array.tolist() == [*range(n - 3), 0, 1, 2]
        assert is_mapped(temporary_arrays.allocate((n, 1), np.float32)) is mapped


def test_mapped_arrays_can_be_filled(all_mapped):
    array = temporary_arrays.allocate((3, 2), np.float32)
    array[[2, 0]] = [[1, 2], [3, 4]]
    assert array.tolist() == [[3, 4], [0, 0], [1, 2]]


def test_a_fit_with_mapped_tokens_is_the_same(make_model, make_reviews, monkeypatch):
    X, y = make_reviews(48)
    expected = make_model(epochs=2).fit(X, y).predict_proba(X)
    monkeypatch.setattr(temporary_arrays, "MOST_BYTES_IN_MEMORY", 64)
    monkeypatch.setattr("mtbert.text_fields.ROWS_AT_ONCE", 5)
    assert_array_equal(make_model(epochs=2).fit(X, y).predict_proba(X), expected)
