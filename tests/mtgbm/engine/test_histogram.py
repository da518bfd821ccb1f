"""Histograms and row vectors: the kernel against its naive twin, bit by bit."""

import numpy as np
import pytest

from mtgbm.engine.grower import lay_out_histograms
from mtgbm.engine.vectors import ALIGNMENT, aligned_zeros, empty_vectors, lane_count

LANES = [4, 8, 16, 24, 32, 40, 104]
N_ROWS, N_FEATURES, N_BINS = 230, 6, 256


@pytest.fixture(params=["uniform", "skewed"])
def binned(request):
    """Bins of a table; skewed: nearly all cells of a feature in one bin."""
    rng = np.random.default_rng(0)
    bins = rng.integers(0, N_BINS, size=(N_ROWS, N_FEATURES), dtype=np.uint8)
    if request.param == "skewed":
        bins[rng.random(bins.shape) < 0.95] = 17
    return bins


def random_vectors(lanes):
    """Vectors whose every lane holds something, of very different sizes."""
    vectors = aligned_zeros((N_ROWS, lanes), np.float32)
    rng = np.random.default_rng(lanes)
    vectors[:] = rng.normal(size=vectors.shape) * 10.0 ** rng.integers(-6, 6, size=vectors.shape)
    return vectors


def fill(kernel, binned, vectors, rows, features, n_threads=1):
    """The kernel's histogram, over memory that was in use before: 7 in all cells."""
    rows, features = np.array(rows, np.int32), np.array(features, np.int32)
    offsets = (features * (N_BINS + 2)).astype(np.int32)
    shape = (N_FEATURES * (N_BINS + 2), vectors.shape[1])
    histogram = aligned_zeros(shape, np.float64)
    histogram[:] = 7.0
    ends = offsets + np.int32(N_BINS)
    kernel.fill_histogram(binned, rows, vectors, features, offsets, ends, histogram, n_threads)
    return histogram


def fill_naively(kernel, binned, vectors, rows, features):
    """Its twin, in float64 like the kernel, 7 in the cells of no feature."""
    features = np.array(features, np.int32)
    offsets = features * (N_BINS + 2)
    sums = np.empty((N_FEATURES * (N_BINS + 2), vectors.shape[1]))
    kernel.fill_histogram_naive(binned, rows, vectors, features, offsets, sums)
    filled = np.isin(np.arange(len(sums)), offsets[:, None] + np.arange(N_BINS))
    return np.where(filled[:, None], sums, 7.0)


def both(kernel, binned, vectors, rows, features, n_threads=1):
    """The histogram of the kernel and that of its twin."""
    return (
        fill(kernel, binned, vectors, rows, features, n_threads),
        fill_naively(kernel, binned, vectors, rows, features),
    )


@pytest.mark.parametrize("lanes", LANES)
def test_histogram_equals_its_twin(variant, binned, lanes):
    kernel = variant("mtgbm.engine._histogram")
    fast, naive = both(kernel, binned, random_vectors(lanes), range(N_ROWS), range(N_FEATURES), 3)
    np.testing.assert_array_equal(fast, naive)


@pytest.mark.parametrize("lanes", [4, 8, 40])
@pytest.mark.parametrize("n_threads", [1, 2, 7])
@pytest.mark.parametrize("features", [[0], [5], [1, 2, 4], range(N_FEATURES)])
def test_some_features(variant, binned, lanes, n_threads, features):
    kernel = variant("mtgbm.engine._histogram")
    rows = range(0, N_ROWS, 3)
    fast, naive = both(kernel, binned, random_vectors(lanes), rows, features, n_threads)
    np.testing.assert_array_equal(fast, naive)


@pytest.mark.parametrize("lanes", [4, 16, 40])
@pytest.mark.parametrize(
    "rows",
    [[], [0], [N_ROWS - 1], [5, 3, 200, 4], range(11), range(12), range(13), range(N_ROWS)[::-1]],
    ids=["none", "first", "last", "shuffled", "11", "12", "13", "backwards"],
)
def test_some_rows(variant, binned, lanes, rows):
    kernel = variant("mtgbm.engine._histogram")
    fast, naive = both(kernel, binned, random_vectors(lanes), rows, range(N_FEATURES))
    np.testing.assert_array_equal(fast, naive)


@pytest.mark.parametrize("lanes", [4, 8, 40])
def test_sums_are_float64(variant, lanes):
    """Equal vectors: in float32 the rounding errors of 50,000 additions would all add up."""
    n_rows = 50_000
    binned = np.zeros((n_rows, N_FEATURES), dtype=np.uint8)
    vectors = aligned_zeros((n_rows, lanes), np.float32)
    vectors[:] = 0.0475
    histogram = fill(variant("mtgbm.engine._histogram"), binned, vectors, range(n_rows), [0, 2], 2)
    for feature in (0, 2):
        cell = histogram[feature * (N_BINS + 2)]
        np.testing.assert_allclose(cell, n_rows * np.float64(np.float32(0.0475)), rtol=1e-11)


def test_subtraction_gives_the_other_child(variant, binned):
    kernel = variant("mtgbm.engine._histogram")
    vectors = random_vectors(8)
    np.rint(vectors * 100, out=vectors)
    vectors %= 1000
    rows = np.arange(N_ROWS)
    parent, smaller, larger = (
        fill(kernel, binned, vectors, part, range(N_FEATURES))
        for part in (rows, rows[::5], rows[rows % 5 > 0])
    )
    kernel.subtract_histogram(parent, smaller, 3)
    filled = np.arange(len(parent)) % (N_BINS + 2) < N_BINS
    np.testing.assert_array_equal(parent[filled], larger[filled])


@pytest.mark.parametrize("into", [[0], [0, 0, 0], [0, 1, 2, 0, 0, 1]])
def test_combined_outputs_are_weighted_sums(variant, into):
    """The last case: a task of three classes, a binary one, a task of two outputs."""
    n_outputs, n_combined = len(into), max(into) + 1
    rng = np.random.default_rng(n_outputs)
    vectors, combined = empty_vectors(50, n_outputs), empty_vectors(50, n_combined)
    vectors[:, : 2 * n_outputs] = rng.normal(size=(50, 2 * n_outputs))
    weights = rng.random(n_outputs)
    variant("mtgbm.engine._histogram").combine_outputs(
        vectors, weights, np.array(into, np.int32), n_combined, combined, 2
    )
    table = weights[:, None] * (np.array(into)[:, None] == np.arange(n_combined))
    g, h = vectors[:, :n_outputs], vectors[:, n_outputs : 2 * n_outputs]
    np.testing.assert_allclose(combined[:, :n_combined], g @ table, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        combined[:, n_combined : 2 * n_combined], h @ table, rtol=1e-5, atol=1e-6
    )
    assert (combined[:, 2 * n_combined] == 1).all()


@pytest.mark.parametrize(
    ("n_outputs", "lanes"), [(1, 4), (2, 8), (3, 8), (4, 16), (7, 16), (8, 24), (50, 104)]
)
def test_lanes_hold_all_outputs_in_whole_registers(n_outputs, lanes):
    assert lane_count(n_outputs) == lanes
    vectors = empty_vectors(3, n_outputs)
    expected = np.zeros((3, lanes))
    expected[:, 2 * n_outputs] = 1
    np.testing.assert_array_equal(vectors, expected)
    assert vectors.ctypes.data % ALIGNMENT == 0


@pytest.mark.parametrize("lanes", LANES)
def test_layout_neither_overlaps_nor_repeats_a_page(fit_mapper, lanes):
    X = np.tile(np.arange(255.0)[:, None], 8)
    X[:, 2] = 1.0
    X[0, 4:] = np.nan
    features, n_cells = lay_out_histograms(fit_mapper(X), lanes)
    ends = features["offset"] + features["n_bins"] + features["has_missing"]
    assert features["offset"][0] == 0
    assert (ends[:-1] < features["offset"][1:]).all()
    assert ends[-1] < n_cells + 1
    np.testing.assert_array_equal(features["n_bins"], [255, 255, 1, 255, 254, 254, 254, 254])
    np.testing.assert_array_equal(features["has_missing"], [0, 0, 0, 0, 1, 1, 1, 1])
    # Of the float32 sums that the inner loop writes.
    distance = np.diff(features["offset"]) * lanes * 4
    assert (distance % 4096 != 0).all()
