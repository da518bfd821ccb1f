"""What can be chosen, and what is refused."""

import pytest

from mtbert.stacking import StackingOptions
from mtbert.stacking.options import TREES


def test_defaults():
    options = StackingOptions.read(None)
    assert (options.folds, options.join) == (None, "blend")
    assert options.features == ("text_scores", "text_topics", "columns")
    assert options.trees == TREES
    by_trees = StackingOptions.read({"join": "trees"})
    assert by_trees.features == ("net_scores", "text_scores", "text_topics", "columns")


@pytest.mark.parametrize(
    ("given", "n_rows", "has_validation", "folds"),
    [
        ({}, 4799, False, 1),
        ({}, 4800, False, 0),
        ({}, 100, True, 0),
        ({"join": "mean"}, 100, False, 0),
        ({"join": "mean", "features": ["net_embedding"]}, 9000, True, 3),
        ({"join": "trees"}, 9000, True, 3),
        ({"join": "trees", "features": ["columns"]}, 9000, True, 3),
        ({"folds": 0}, 100, False, 0),
        ({"folds": 1}, 9000, True, 1),
        ({"folds": 7, "join": "mean"}, 9000, True, 7),
    ],
)
def test_folds_are_chosen_for_the_rows(given, n_rows, has_validation, folds):
    settled = StackingOptions.read(given).settle(n_rows, has_validation)
    assert settled.folds == folds
    assert settled.needs_validation == (folds == 0 and given.get("join") != "mean")


def test_given_options_replace_single_defaults():
    given = {
        "folds": 5,
        "features": ["columns", "net_embedding"],
        "trees": {"num_leaves": 5},
        "text_model": {"C": 3},
    }
    options = StackingOptions.read(given)
    assert options.features == ("net_embedding", "columns")
    assert options.trees == TREES | {"num_leaves": 5}
    assert options.text_model == {"ngram_range": (1, 2), "max_features": 20_000, "C": 3}
    assert given["trees"] == {"num_leaves": 5}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (["folds"], TypeError, "stacking_options must be a dict or None"),
        ({"fold": 3}, ValueError, "did you mean 'folds'"),
        ({"folds": -2}, ValueError, r"\['folds'\] must be at least 0"),
        ({"folds": 2.0}, TypeError, r"\['folds'\] must be an integer"),
        ({"join": "blnd"}, ValueError, "did you mean 'blend'"),
        ({"features": "columns"}, TypeError, "must be a list of names"),
        ({"features": []}, ValueError, "is empty; name some of net_scores"),
        ({"features": ["column"]}, ValueError, "did you mean 'columns'"),
        ({"n_components": 0}, ValueError, "must be at least 1"),
        ({"n_topics": 2.5}, TypeError, r"\['n_topics'\] must be an integer"),
        (
            {"folds": 0, "join": "trees"},
            ValueError,
            "set folds to 2 or more, or join=",
        ),
        ({"folds": 1, "join": "trees"}, ValueError, "folds=1 gives them for few; set folds"),
        ({"folds": 0, "features": ["net_embedding"]}, ValueError, "is learned out of fold"),
        ({"folds": 1, "features": ["net_scores"]}, ValueError, "'net_scores' is learned out of"),
        ({"trees": 5}, TypeError, r"stacking_options\['trees'\] must be a dict"),
        ({"trees": {"num_leafs": 5}}, ValueError, "did you mean 'num_leaves'"),
        ({"trees": {"num_leaves": 1}}, ValueError, "num_leaves must be at least 2"),
        ({"trees": {"warm_start": True}}, ValueError, "may not set warm_start"),
        ({"text_model": {"c": 1}}, ValueError, "Expected one of 'ngram_range'"),
        ({"text_model": {"C": 0}}, ValueError, "C of .* must be above 0"),
        ({"text_model": {"max_features": 0}}, ValueError, "max_features of .* at least 1"),
        ({"text_model": {"ngram_range": (2, 1)}}, ValueError, r"such as \(1, 2\), got \(2, 1\)"),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        StackingOptions.read(options)
