"""A few axes of the frequencies of words."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_matrix

from mtbert.stacking.terms import TermFrequencies
from mtbert.stacking.text_topics import TextTopics


@pytest.fixture
def frequencies(make_reviews):
    X, _ = make_reviews(90)
    terms = TermFrequencies(("review",), ngram_range=(1, 2), max_features=500)
    return terms.fit_transform(X)


def test_places_are_those_of_the_singular_value_decomposition(frequencies):
    """The subspace is found at random and by few steps, so its last axes are near to the truth."""
    topics = TextTopics(12)
    places = topics.fit_transform(frequencies)
    left, values, right = np.linalg.svd(frequencies.toarray(), full_matrices=False)
    signs = np.sign((topics.components_ * right[:12]).sum(axis=1))[:2]
    assert_allclose(topics.components_[:2] * signs[:, None], right[:2], atol=1e-3)
    assert_allclose(places[:, :2] * signs, left[:, :2] * values[:2], atol=1e-3)
    assert_allclose(np.linalg.norm(places, axis=0), values[:12], rtol=0.03)
    assert_array_equal(topics.transform(frequencies[:7]), places[:7])


def test_a_seed_gives_the_same_axes_again(frequencies):
    assert_array_equal(
        TextTopics(5, seed=1).fit_transform(frequencies),
        TextTopics(5, seed=1).fit_transform(frequencies),
    )


def test_there_are_no_more_axes_than_dimensions():
    """Rows of two kinds: a third axis would be a rounding error, and trees could split by it."""
    rows = np.random.default_rng(0).choice([0, 1], 40)
    frequencies = csr_matrix(np.array([[0.6, 0.8, 0, 0, 0], [0, 0, 0, 0.6, 0.8]])[rows])
    places = TextTopics(60).fit_transform(frequencies)
    assert places.shape == (40, 2)
    assert_allclose(np.abs(places).max(axis=1), 1)
    assert TextTopics(60).fit_transform(csr_matrix(np.ones((6, 1)))).shape == (6, 1)
