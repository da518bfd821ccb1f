"""Bins: the kernel against its twin and searchsorted, and what every mapper must keep."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

from mtgbm.engine.binning import BLOCK_ROWS, quantile_thresholds

QUICK = settings(deadline=None, max_examples=50)
FLOATS = [np.float32, np.float64]


def numbers(width):
    """Any number but infinity; some of them often, so that values repeat."""
    finite = st.floats(width=width, allow_infinity=False, allow_nan=True)
    return finite | st.sampled_from([0.0, -0.0, 1.0, 2.0, 1e-45, 1e30, -1e30, np.nan])


@st.composite
def columns(draw):
    """A column of up to 60 float32 or float64 values."""
    width = draw(st.sampled_from([32, 64]))
    with np.errstate(over="ignore"):
        return draw(hnp.arrays(f"f{width // 8}", st.integers(1, 60), elements=numbers(width)))


# The kernel ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n_thresholds", [0, 1, 2, 3, 7, 8, 100, 254])
def test_kernel_equals_its_twin_and_searchsorted(variant, dtype, n_thresholds):
    kernel = variant("mtgbm.engine._binning")
    rng = np.random.default_rng(n_thresholds)
    thresholds = np.unique(rng.normal(size=n_thresholds).astype(dtype)).astype(float)
    column = rng.normal(size=700).astype(dtype)
    column[:n_thresholds] = thresholds
    column[300:320] = np.nan
    bins = np.empty((1, 700), dtype=np.uint8)
    kernel.map_to_bins(
        column[:, None],
        np.append(thresholds, np.inf)[None],
        np.array([n_thresholds + 1], np.int32),
        np.zeros(1, np.uint8),
        np.empty((700, 1), np.uint8),
        bins,
        2,
    )
    naive = kernel.map_to_bins_naive(column, thresholds, n_thresholds + 1)
    np.testing.assert_array_equal(bins[0], naive)
    present = ~np.isnan(column)
    np.testing.assert_array_equal(bins[0, present], np.searchsorted(thresholds, column[present]))
    assert (bins[0, ~present] == n_thresholds + 1).all()


@pytest.mark.parametrize("n_threads", [1, 2, 7])
@pytest.mark.parametrize("dtype", FLOATS)
def test_layout_of_the_table_does_not_matter(fit_mapper, dtype, n_threads):
    """C, F, strided, reversed: the same bins, in both copies, for any number of threads."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1001, 5)).astype(dtype)
    X[rng.random(X.shape) < 0.1] = np.nan
    mapper = fit_mapper(X, n_threads=n_threads)
    wide = np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)
    backwards = np.ascontiguousarray(X[::-1, ::-1])
    expected = mapper.transform(X)
    assert expected.by_row.flags.c_contiguous
    np.testing.assert_array_equal(expected.by_column, expected.by_row.T)
    for same in (np.asfortranarray(X), wide[::2, ::3], backwards[::-1, ::-1]):
        found = mapper.transform(same)
        np.testing.assert_array_equal(found.by_row, expected.by_row)
        np.testing.assert_array_equal(found.by_column, expected.by_column)
    single = fit_mapper(X)
    np.testing.assert_array_equal(mapper.thresholds_, single.thresholds_)
    np.testing.assert_array_equal(single.transform(X).by_row, expected.by_row)


def test_copy_by_columns_is_made_only_on_request(fit_mapper):
    X = np.arange(12.0).reshape(6, 2)
    binned = fit_mapper(X).transform(X, by_column=False)
    assert binned.by_row.shape == (6, 2)
    assert binned.by_column.shape == (2, 0)


def test_read_only_tables_are_binned(fit_mapper):
    X = np.arange(6.0).reshape(3, 2)
    X.flags.writeable = False
    np.testing.assert_array_equal(fit_mapper(X).transform(X).by_row[:, 0], [0, 1, 2])


@pytest.mark.parametrize("categorical", [(), (1,)])
@pytest.mark.parametrize("dtype", FLOATS)
def test_csr_equals_dense(fit_mapper, dtype, categorical):
    rng = np.random.default_rng(0)
    X = rng.integers(-3, 4, size=(500, 4)).astype(dtype)
    X[rng.random(X.shape) < 0.7] = 0
    X[7, 2] = np.nan
    dense, csr = fit_mapper(X, categorical), fit_mapper(sparse.csr_matrix(X), categorical)
    np.testing.assert_array_equal(csr.thresholds_, dense.thresholds_)
    np.testing.assert_array_equal(csr.has_missing_, [False, False, True, False])
    expected, found = dense.transform(X), csr.transform(sparse.csr_matrix(X))
    np.testing.assert_array_equal(found.by_row, expected.by_row)
    np.testing.assert_array_equal(found.by_column, expected.by_column)


def test_blocks_of_a_sparse_table_are_put_together(fit_mapper):
    n_rows = BLOCK_ROWS + 5
    X = np.zeros((n_rows, 2))
    X[[0, BLOCK_ROWS - 1, BLOCK_ROWS, n_rows - 1], [0, 1, 0, 1]] = [1, 2, 3, np.nan]
    X[5, 0] = np.nan
    mapper = fit_mapper(X)
    binned = mapper.transform(sparse.csr_matrix(X))
    np.testing.assert_array_equal(binned.by_row, mapper.transform(X).by_row)
    np.testing.assert_array_equal(binned.by_column, binned.by_row.T)
    np.testing.assert_array_equal(mapper.has_missing_, [True, True])


# Numeric features ---------------------------------------------------------------------------


@QUICK
@given(columns(), st.integers(2, 12))
def test_bins_follow_the_order_of_values(fit_mapper, column, max_bin):
    mapper = fit_mapper(column[:, None], max_bin=max_bin)
    bins = mapper.transform(column[:, None]).by_column[0].astype(int)
    present = ~np.isnan(column)
    assert mapper.n_bins_[0] <= max_bin
    assert (bins[~present] == mapper.n_bins_[0]).all()
    assert mapper.has_missing_[0] == (not present.all())
    if present.any():
        assert sorted(set(bins[present])) == [*range(mapper.n_bins_[0])]
        assert (np.diff(bins[present][np.argsort(column[present])]) >= 0).all()


@QUICK
@given(columns(), st.integers(2, 12), st.data())
def test_raw_and_binned_rules_agree(fit_mapper, column, max_bin, data):
    """x <= thresholds[b] exactly where bin <= b, also for values that fit never saw."""
    mapper = fit_mapper(column[:, None], max_bin=max_bin)
    width = 8 * column.itemsize
    unseen = data.draw(hnp.arrays(column.dtype, 20, elements=numbers(width)))
    values = np.concatenate([column, unseen])
    values = values[~np.isnan(values)]
    bins = mapper.transform(values[:, None]).by_column[0]
    for bin, threshold in enumerate(mapper.thresholds_[0, : mapper.n_bins_[0] - 1]):
        np.testing.assert_array_equal(values.astype(np.float64) <= threshold, bins <= bin)


@QUICK
@given(columns(), st.integers(2, 12))
def test_bins_equal_the_twin(fit_mapper, variant, column, max_bin):
    mapper = fit_mapper(column[:, None], max_bin=max_bin)
    n_bins = mapper.n_bins_[0]
    thresholds = mapper.thresholds_[0, : n_bins - 1]
    assert (np.diff(thresholds) > 0).all()
    naive = variant("mtgbm.engine._binning").map_to_bins_naive(column, thresholds, n_bins)
    np.testing.assert_array_equal(mapper.transform(column[:, None]).by_row[:, 0], naive)


@QUICK
@given(columns())
def test_few_values_get_a_bin_each(fit_mapper, column):
    mapper = fit_mapper(column[:, None])
    present = column[~np.isnan(column)]
    bins = mapper.transform(present[:, None]).by_column[0]
    np.testing.assert_array_equal(bins, np.unique(present, return_inverse=True)[1])


@pytest.mark.parametrize("dtype", FLOATS)
def test_constant_and_missing_columns(fit_mapper, dtype):
    X = np.array([[5, np.nan, np.nan, 1], [5, np.nan, 3, 2]], dtype=dtype)
    mapper = fit_mapper(X)
    np.testing.assert_array_equal(mapper.n_bins_, [1, 1, 1, 2])
    np.testing.assert_array_equal(mapper.has_missing_, [False, True, True, False])
    np.testing.assert_array_equal(mapper.transform(X).by_row, [[0, 1, 1, 0], [0, 1, 0, 1]])


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (0.0, 5e-324),
        (5e-324, 1e-323),
        (-5e-324, 5e-324),
        (1.0, 1.0 + 2.0**-52),
        (1.0 + 2.0**-52, 1.0 + 2.0**-51),
        (-np.finfo(float).max, np.finfo(float).max),
        (np.nextafter(np.inf, 0), np.finfo(float).max / 2),
    ],
)
def test_neighbours_at_the_ends_of_float64_are_told_apart(fit_mapper, low, high):
    X = np.sort([[low], [high]], axis=0)
    mapper = fit_mapper(X)
    assert np.isfinite(mapper.thresholds_[0, 0])
    np.testing.assert_array_equal(mapper.transform(X).by_row, [[0], [1]])


def test_thresholds_lie_in_the_middle():
    thresholds = quantile_thresholds(np.array([1.0, 2.0, 4.0, 8.0]), np.ones(4, int), 255)
    np.testing.assert_array_equal(thresholds, [1.5, 3.0, 6.0])


@pytest.mark.parametrize("max_bin", [2, 3, 16, 255])
@pytest.mark.parametrize("n_rows", [1000, 5003])
def test_continuous_values_fill_bins_evenly(fit_mapper, n_rows, max_bin):
    X = np.random.default_rng(n_rows).lognormal(size=(n_rows, 1))
    mapper = fit_mapper(X, max_bin=max_bin)
    counts = np.bincount(mapper.transform(X).by_column[0])
    assert len(counts) == max_bin
    assert np.abs(counts - n_rows / max_bin).max() <= 1


@pytest.mark.parametrize("heavy", [0.0, 0.5, 1.0])
def test_a_heavy_value_gets_its_own_bin_and_leaves_the_others_theirs(fit_mapper, heavy):
    x = np.random.default_rng(0).random(4000)
    x[:3000] = heavy
    mapper = fit_mapper(x[:, None], max_bin=20)
    bins = mapper.transform(x[:, None]).by_column[0]
    counts = np.bincount(bins)
    own = bins[0]
    assert counts[own] == 3000
    others = np.delete(counts, own)
    assert 17 <= len(others) <= 19
    # One bin on either side of the heavy value takes what is left over there.
    assert np.median(others) == pytest.approx(1000 / 18, rel=0.05)
    assert others.max() <= 1.1 * 1000 / 18


def test_several_heavy_values_get_their_own_bins(fit_mapper):
    rng = np.random.default_rng(0)
    x = np.concatenate([np.repeat([0.0, 1.0, 7.0], 500), rng.uniform(-5, 10, size=1000)])
    mapper = fit_mapper(x[:, None], max_bin=16)
    bins = mapper.transform(x[:, None]).by_column[0]
    for heavy in (0.0, 1.0, 7.0):
        own = bins[x == heavy][0]
        assert set(x[bins == own]) == {heavy}


@QUICK
@given(st.lists(st.integers(1, 500), min_size=2, max_size=60), st.integers(2, 20))
def test_never_more_than_max_bin_bins(counts, max_bin):
    values = np.arange(len(counts), dtype=float)
    thresholds = quantile_thresholds(values, np.array(counts), max_bin)
    assert len(thresholds) <= max_bin - 1
    assert len(thresholds) >= min(2, len(counts)) - 1
    assert (np.diff(thresholds) > 0).all()


def test_subsample_is_drawn_but_missing_values_are_found_everywhere(fit_mapper):
    X = np.random.default_rng(0).random((5000, 2))
    X[4321, 1] = np.nan
    mapper = fit_mapper(X, max_bin=10, subsample=300)
    again = fit_mapper(X, max_bin=10, subsample=300)
    np.testing.assert_array_equal(mapper.thresholds_, again.thresholds_)
    np.testing.assert_array_equal(mapper.has_missing_, [False, True])
    counts = np.bincount(mapper.transform(X).by_column[0])
    assert np.abs(counts / 5000 - 0.1).max() < 0.06
    assert (mapper.thresholds_ != fit_mapper(X, max_bin=10).thresholds_).any()


# Categorical features -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
def test_categories_are_numbered_by_frequency(fit_mapper, dtype):
    column = np.array([7, 3, 3, 9, 9, 9, 100, 100, 100, 100, np.nan, 5], dtype=dtype)
    mapper = fit_mapper(column[:, None], categorical=[0])
    np.testing.assert_array_equal(mapper.categories_[0], [100, 9, 3, 5, 7])
    expected = [4, 2, 2, 1, 1, 1, 0, 0, 0, 0, 5, 3]
    np.testing.assert_array_equal(mapper.transform(column[:, None]).by_column[0], expected)
    assert mapper.n_bins_[0] == 5


def test_rare_and_unknown_categories_count_as_missing(fit_mapper):
    column = np.repeat([4.0, 2.0, 8.0], [5, 3, 1])[:, None]
    mapper = fit_mapper(column, categorical=[0], max_bin=2)
    assert mapper.n_bins_[0] == 2
    assert mapper.has_missing_[0]
    new = np.array([[4.0], [2.0], [8.0], [-1.0], [2.5], [np.nan], [1e9]])
    np.testing.assert_array_equal(mapper.transform(new).by_column[0], [0, 1, 2, 2, 2, 2, 2])


def test_encoded_categories_leave_the_table_alone(fit_mapper):
    X = np.array([[5.0, 1.5], [9.0, 2.5], [9.0, np.nan]])
    original = X.copy()
    mapper = fit_mapper(X, categorical=[0])
    np.testing.assert_array_equal(mapper.encode_categories(X), [[1, 1.5], [0, 2.5], [0, np.nan]])
    np.testing.assert_array_equal(X, original)
    assert fit_mapper(X).encode_categories(X) is X


def test_a_category_feature_without_values(fit_mapper):
    X = np.full((4, 1), np.nan)
    mapper = fit_mapper(X, categorical=[0])
    assert mapper.n_bins_[0] == 0
    np.testing.assert_array_equal(mapper.transform(np.array([[1.0], [np.nan]])).by_row, [[0], [0]])


@QUICK
@given(
    hnp.arrays(np.float64, st.integers(1, 60), elements=st.sampled_from([*range(9), np.nan])),
    st.integers(2, 6),
)
def test_category_bins_descend_in_frequency(fit_mapper, column, max_bin):
    mapper = fit_mapper(column[:, None], categorical=[0], max_bin=max_bin)
    bins = mapper.transform(column[:, None]).by_column[0]
    counts = [int((column == category).sum()) for category in mapper.categories_[0]]
    assert counts == sorted(counts, reverse=True)
    assert len(counts) == min(max_bin, len(set(column[~np.isnan(column)])))
    np.testing.assert_array_equal(np.bincount(bins, minlength=len(counts))[: len(counts)], counts)
