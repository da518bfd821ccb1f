"""Histograms and row vectors: the kernel against its naive twin, bit by bit.

In both precisions: float32 lanes in float64 cells, int16 lanes in int32 cells.
"""

import numpy as np
import pytest

from mtgbm.engine.grower import HistogramPool, strip_length
from mtgbm.engine.vectors import ALIGNMENT, aligned_zeros, empty_vectors, lane_count

LANES = [4, 8, 16, 24, 32, 40, 104]
CELLS = {np.float32: np.float64, np.int16: np.int32}
#: Bins of the columns of the table; strips are longer.
N_BINS = np.array([256, 100, 256, 17, 1, 200], dtype=np.int32)
N_ROWS, STRIDE = 230, 258
ALL = range(len(N_BINS))


@pytest.fixture(params=list(CELLS), ids=["exact", "quantized"])
def dtype(request):
    """Of the row vectors."""
    return request.param


@pytest.fixture(params=["uniform", "skewed"])
def binned(request):
    """Bins of a table; skewed: nearly all cells of a feature in one bin."""
    rng = np.random.default_rng(0)
    bins = rng.integers(0, N_BINS, size=(N_ROWS, len(N_BINS))).astype(np.uint8)
    if request.param == "skewed":
        bins[rng.random(bins.shape) < 0.95] = 0
    return bins


def random_vectors(lanes, dtype):
    """Vectors whose every lane holds something: floats of very different sizes, any integers."""
    vectors = aligned_zeros((N_ROWS, lanes), dtype)
    rng = np.random.default_rng(lanes)
    if dtype is np.int16:
        vectors[:] = rng.integers(-(2**15), 2**15, size=vectors.shape)
    else:
        sizes = 10.0 ** rng.integers(-6, 6, size=vectors.shape)
        vectors[:] = rng.normal(size=vectors.shape) * sizes
    return vectors


def fill(kernel, binned, vectors, rows, features, n_threads=1, *, share_rows=False):
    """The kernel's histogram, over memory that was in use before: 7 in all cells.

    The rows are those of the second of three nodes.
    """
    features = np.array(features, np.int32)
    shape = (len(features), STRIDE, vectors.shape[1])
    pool = HistogramPool(shape, CELLS[vectors.dtype.type], 3)
    slots = [pool.take() for _ in range(3)]
    spare = aligned_zeros((n_threads - 1, *shape), np.int32) if share_rows else None
    for array in [*pool.arrays, *([spare] if share_rows else [])]:
        array[:] = 7
    tree_rows = np.array([1, 2, *rows, 3], np.int32)
    filler = kernel.HistogramFiller(
        binned, tree_rows, vectors, features, N_BINS[features], pool.addresses, STRIDE
    )
    filler.fill(slots[1], 2, 2 + len(rows), spare, n_threads)
    assert all((pool.arrays[slot] == 7).all() for slot in (slots[0], slots[2]))
    return pool.arrays[slots[1]]


def fill_naively(kernel, binned, vectors, rows, features):
    """Its twin, 7 in the cells that no bin has."""
    sums = np.empty((len(features), STRIDE, vectors.shape[1]), CELLS[vectors.dtype.type])
    kernel.fill_histogram_naive(binned, rows, vectors, features, sums)
    for strip, feature in zip(sums, features, strict=True):
        strip[N_BINS[feature] :] = 7
    return sums


def check(kernel, binned, vectors, rows, features, n_threads=1, **options):
    """The histogram of the kernel and that of its twin are the same."""
    fast = fill(kernel, binned, vectors, rows, features, n_threads, **options)
    naive = fill_naively(kernel, binned, vectors, rows, features)
    np.testing.assert_array_equal(fast, naive)


@pytest.mark.parametrize("lanes", LANES)
def test_histogram_equals_its_twin(variant, binned, lanes, dtype):
    kernel = variant("mtgbm.engine._histogram")
    check(kernel, binned, random_vectors(lanes, dtype), range(N_ROWS), ALL, 3)


@pytest.mark.parametrize("lanes", [4, 8, 40])
@pytest.mark.parametrize("n_threads", [1, 2, 7])
@pytest.mark.parametrize("features", [[0], [5], [1, 2, 4], ALL])
def test_some_features(variant, binned, lanes, n_threads, features, dtype):
    kernel = variant("mtgbm.engine._histogram")
    rows = range(0, N_ROWS, 3)
    check(kernel, binned, random_vectors(lanes, dtype), rows, features, n_threads)


SOME_ROWS = pytest.mark.parametrize(
    "rows",
    [[], [0], [N_ROWS - 1], [5, 3, 200, 4], range(11), range(12), range(13), range(N_ROWS)[::-1]],
    ids=["none", "first", "last", "shuffled", "11", "12", "13", "backwards"],
)


@pytest.mark.parametrize("lanes", [4, 16, 40])
@SOME_ROWS
def test_some_rows(variant, binned, lanes, rows, dtype):
    kernel = variant("mtgbm.engine._histogram")
    check(kernel, binned, random_vectors(lanes, dtype), rows, ALL)


@pytest.mark.parametrize("n_threads", [1, 2, 3, 7])
@SOME_ROWS
def test_threads_may_share_the_rows_of_integers(variant, binned, rows, n_threads):
    """Also more threads than rows; what was in the spare memory before does not matter."""
    kernel = variant("mtgbm.engine._histogram")
    for lanes, features in ((4, ALL), (16, [1, 3]), (40, ALL)):
        vectors = random_vectors(lanes, np.int16)
        check(kernel, binned, vectors, rows, features, n_threads, share_rows=True)


@pytest.mark.parametrize("lanes", [4, 8, 40])
def test_sums_are_float64(variant, lanes):
    """Equal vectors: in float32 the rounding errors of 50,000 additions would all add up."""
    n_rows = 50_000
    binned = np.zeros((n_rows, len(N_BINS)), dtype=np.uint8)
    vectors = aligned_zeros((n_rows, lanes), np.float32)
    vectors[:] = 0.0475
    histogram = fill(variant("mtgbm.engine._histogram"), binned, vectors, range(n_rows), [0, 2], 2)
    cells = histogram[:, 0]
    np.testing.assert_allclose(cells, n_rows * np.float64(np.float32(0.0475)), rtol=1e-11)


@pytest.mark.parametrize("lanes", [4, 8, 40])
@pytest.mark.parametrize("share_rows", [False, True])
def test_sums_of_integers_fill_32_bits(variant, lanes, share_rows):
    """The largest and the smallest sum there can be."""
    n_rows = 65_536
    binned = np.zeros((n_rows, len(N_BINS)), dtype=np.uint8)
    vectors = aligned_zeros((n_rows, lanes), np.int16)
    vectors[:, ::2], vectors[:, 1::2] = 2**15 - 1, -(2**15)
    kernel = variant("mtgbm.engine._histogram")
    cells = fill(kernel, binned, vectors, range(n_rows), [0, 2], 2, share_rows=share_rows)[:, 0]
    assert (cells[:, ::2] == n_rows * (2**15 - 1)).all()
    assert (cells[:, 1::2] == -(2**31)).all()


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


@pytest.mark.parametrize("cell_bytes", [lanes * width for lanes in LANES for width in (4, 8)])
def test_strips_neither_overlap_nor_repeat_a_page(cell_bytes):
    for longest in range(1, 257):
        stride = strip_length(longest, cell_bytes)
        assert (stride - longest) * cell_bytes >= ALIGNMENT
        assert stride - longest <= 1 + max(1, ALIGNMENT // cell_bytes)
        assert stride * cell_bytes % 4096 != 0


def test_slots_are_numbered_zeroed_aligned_and_reused():
    pool = HistogramPool((2, 3, 4), np.int32, 3)
    first, second = pool.take(), pool.take()
    assert first != second
    for slot in (first, second):
        array = pool.arrays[slot]
        assert (array.shape, array.dtype, array.any()) == ((2, 3, 4), np.int32, False)
        assert pool.addresses[slot] == array.ctypes.data
        assert pool.addresses[slot] % ALIGNMENT == 0
    pool.give(first)
    assert pool.take() == first
    assert pool.take() not in (first, second)
    assert len(pool.arrays) == 3
