"""What "auto" takes for text, numbers and categories, and which choices are refused."""

import re

import numpy as np
import pandas as pd
import pytest

from mtbert.columns import ColumnRoles, assign_roles, require_frame

AUTO = ("auto", "auto", "auto")


def table(n=120):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "title": [f"text number {i}" if i % 3 else None for i in range(n)],
            "city": rng.choice(["Rome", "Oslo"], n),
            "price": rng.normal(size=n),
            "returned": rng.random(n) < 0.5,
            "size": pd.Categorical(rng.choice(["S", "M"], n)),
        }
    )


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_auto_finds_every_role(in_library, library):
    roles = assign_roles(in_library[library](table()), *AUTO)
    assert roles == ColumnRoles(("title",), ("price", "returned"), ("city", "size"))


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["a b"] * 10 + ["c d"] * 10, "categorical"),
        ([f"id{i}" for i in range(20)], "text"),
        ([f"town {i}" for i in range(60)] * 5, "categorical"),
        ([f"we sold it to customer {i}" for i in range(60)] * 5, "text"),
        ([f"we sold it to customer {i}" for i in range(50)] * 5, "categorical"),
        ([None] * 20, "categorical"),
        ([1, "a", "b"], "categorical"),
        ([["hello", "there"], [], None], "text"),
    ],
)
def test_what_looks_like_text(cells, expected):
    X = pd.DataFrame({"text": [f"row {i}" for i in range(len(cells))], "cells": cells})
    roles = assign_roles(X, *AUTO)
    assert "cells" in getattr(roles, expected)


def test_named_columns_are_what_the_user_says_in_the_order_of_the_table():
    roles = assign_roles(table(), ["city", "title"], "returned", ["price"])
    assert roles == ColumnRoles(("title", "city"), ("returned",), ("price",))


def test_an_explicit_empty_list_leaves_columns_out():
    assert assign_roles(table(), "title", [], []) == ColumnRoles(("title",), (), ())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("titel", "auto", "auto"), ValueError, "'titel', which is no column.*mean 'title'"),
        (("price", "auto", "auto"), ValueError, "text column 'price' holds numbers"),
        (("city", "auto", "city"), ValueError, r"two roles: \['city'\]"),
        ((3, "auto", "auto"), TypeError, "text_columns must be 'auto', a name or a list"),
        (([], "auto", "auto"), ValueError, "no text column among"),
    ],
)
def test_bad_choices(arguments, error, message):
    with pytest.raises(error, match=message):
        assign_roles(table(), *arguments)


def test_a_table_without_text_is_refused():
    with pytest.raises(ValueError, match=re.escape("['city', 'price']; name one in text_columns")):
        assign_roles(table()[["city", "price"]], *AUTO)


def test_dates_are_refused_unless_left_out():
    X = table().assign(day=pd.Timestamp("2026-01-01"))
    with pytest.raises(ValueError, match="column 'day' holds neither text nor numbers"):
        assign_roles(X, *AUTO)
    assert assign_roles(X, "title", "price", "city").numeric == ("price",)


@pytest.mark.parametrize("X", [np.zeros((3, 2)), [["a", 1]], {"text": ["a"]}, None])
def test_only_frames_are_tables(X):
    with pytest.raises(TypeError, match="X must be a pandas or polars DataFrame, got"):
        require_frame(X)


def test_names_of_columns_are_strings():
    with pytest.raises(TypeError, match="names of the columns of X must be strings, got 0"):
        require_frame(pd.DataFrame([["a", 1]]))
