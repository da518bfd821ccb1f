"""Integer gradients: no overflow, roundings that balance, and models as good as the exact ones."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import roc_auc_score

from mtgbm import MultiTaskLGBMClassifier
from mtgbm.datasets import load_flights
from mtgbm.engine import quantization
from mtgbm.engine.criteria import SplitGradients
from mtgbm.engine.quantization import ExactGradients, QuantizedGradients, lane_factors
from mtgbm.engine.vectors import aligned_zeros, empty_vectors, lane_count

QUICK = settings(deadline=None, max_examples=60)
KERNEL = "mtgbm.engine._quantization"
CHUNK_ROWS = 8192
#: Ordinary values and extreme ones, of which every column may hold all.
MAGNITUDES = st.sampled_from([0.0, 1e-30, 1e-12, 1e-3, 0.5, 1.0, 7.0, 1e6, 1e30])
VALUES = st.builds(
    lambda size, factor: np.float32(size * factor), MAGNITUDES, st.floats(-1, 1, width=32)
)
#: Numbers of rows, as far as 31 bits can count.
ROW_COUNTS = st.integers(1, 10**6) | st.integers(10**9, 2 * 10**9)


def gradients_of(g, h, outputs=None):
    """What a criterion hands over: row vectors of g and h, of which some outputs are heard."""
    n_rows, n_outputs = np.shape(g)
    vectors = empty_vectors(n_rows, n_outputs)
    vectors[:, :n_outputs], vectors[:, n_outputs : 2 * n_outputs] = g, h
    outputs = np.arange(n_outputs) if outputs is None else np.array(outputs)
    return SplitGradients(vectors, n_outputs, outputs, np.ones(len(outputs)))


def quantized(gradients, first_round=0, n_threads=1):
    return QuantizedGradients(first_round).row_vectors(gradients, n_threads)


# The kernel ---------------------------------------------------------------------------------


def quantize(kernel, vectors, sources, lanes, n_threads):
    """The kernel's integers and those of its twin."""
    rng = np.random.default_rng(lanes)
    factors = 2.0 ** rng.integers(-3, 9, size=lanes).astype(np.float32)
    spread = (rng.random(lanes) < 0.8).astype(np.float32)
    phases = rng.integers(2**32, size=lanes, dtype=np.uint32)
    integers = aligned_zeros((len(vectors), lanes), np.int16)
    integers[:] = 7
    kernel.quantize(vectors, sources, factors, spread, phases, integers, n_threads)
    return integers, kernel.quantize_naive(vectors, sources, factors, spread, phases)


@pytest.mark.parametrize("n_threads", [1, 2, 3, 7])
@pytest.mark.parametrize("lanes", [4, 8, 16, 24, 40])
def test_integers_equal_their_twin(variant, lanes, n_threads):
    rng = np.random.default_rng(0)
    vectors = aligned_zeros((501, lanes), np.float32)
    vectors[:] = rng.normal(size=vectors.shape) * 10
    vectors[rng.random(vectors.shape) < 0.2] = 0
    vectors[:, -1] = np.rint(vectors[:, -1])
    integers, naive = quantize(variant(KERNEL), vectors, None, lanes, n_threads)
    np.testing.assert_array_equal(integers, naive)
    assert (integers < 0).any()


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_integers_of_some_lanes_equal_their_twin(variant, lanes, n_threads):
    rng = np.random.default_rng(1)
    vectors = aligned_zeros((300, 24), np.float32)
    vectors[:] = rng.normal(size=vectors.shape) * 10
    sources = rng.integers(24, size=lanes).astype(np.int32)
    integers, naive = quantize(variant(KERNEL), vectors, sources, lanes, n_threads)
    np.testing.assert_array_equal(integers, naive)


@pytest.mark.parametrize("n_rows", [0, 1, CHUNK_ROWS - 1, CHUNK_ROWS, 2 * CHUNK_ROWS + 5])
@pytest.mark.parametrize("lanes", [4, 40])
def test_sums_and_largest_of_absolute_values(variant, n_rows, lanes):
    kernel = variant(KERNEL)
    vectors = aligned_zeros((n_rows, lanes), np.float32)
    vectors[:] = np.random.default_rng(2).normal(size=vectors.shape)
    vectors[:, 2] = -np.abs(vectors[:, 2])
    sums, largest = kernel.measure_lanes(vectors, 1)
    sizes = np.abs(vectors.astype(np.float64))
    np.testing.assert_allclose(sums, sizes.sum(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(largest, sizes.max(axis=0, initial=0))
    for n_threads in (2, 3, 7):
        for one, many in zip(
            (sums, largest), kernel.measure_lanes(vectors, n_threads), strict=True
        ):
            np.testing.assert_array_equal(one, many)


# Factors ------------------------------------------------------------------------------------


def assert_powers_of_two(factors):
    np.testing.assert_array_equal(np.frexp(factors)[0], 0.5)


@QUICK
@given(st.floats(1e-36, 1e30), st.sampled_from([0.0, 0.001, 0.9, 1.0]), ROW_COUNTS)
@example(1.0, 1.0, 10**9)
def test_factors_are_the_largest_that_cannot_overflow(largest, share, n_rows):
    """Every row may be rounded up by one, and the mean may be any share of the largest row."""
    sums = largest * (1 + share * (n_rows - 1))
    [factor] = lane_factors(np.array([sums]), np.array([largest]), n_rows)
    assert_powers_of_two(factor)
    assert largest * factor + 1 <= 2**15 - 1
    assert sums * factor + n_rows <= 2**31 - 1
    if factor < 2.0**126:
        double = 2 * factor
        assert largest * double > 2**15 - 2 or sums * double > (2**31 - 1 - n_rows) * (1 - 1e-15)


def test_factors_of_lanes_do_not_depend_on_each_other():
    sums, largest = np.array([0.0, 8.0, 1e12]), np.array([0.0, 1.0, 3.0])
    factors = lane_factors(sums, largest, 1000)
    alone = [lane_factors(sums[[k]], largest[[k]], 1000)[0] for k in range(3)]
    assert factors.tolist() == alone == [1.0, 2.0**14, 2.0**-9]


@QUICK
@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 40), st.just(2)), elements=VALUES))
def test_rows_and_sums_of_any_gradients_fit(values):
    """Each integer is the scaled value rounded up or down."""
    numbers = quantized(gradients_of(values[:, :1], np.abs(values[:, 1:])))
    assert (numbers.lanes.dtype, numbers.cell_dtype) == (np.int16, np.int32)
    assert numbers.n_lanes == 4
    assert_powers_of_two(numbers.scales)
    integers = numbers.lanes.astype(np.int64)
    assert np.abs(integers).max() < 2**15
    assert np.abs(integers).sum(axis=0).max() < 2**31
    scaled = np.column_stack([values[:, 0], np.abs(values[:, 1])]) / numbers.scales[:2]
    # A float32 has 24 bits for the value and its fraction, so 16384.9995 is rounded up once more.
    off = integers[:, :2] - scaled
    assert (off > -1).all()
    assert (off < 1 + 2**-9).all()
    np.testing.assert_array_equal(integers[:, 2:], [[1, 0]] * len(values))
    np.testing.assert_array_equal(integers[:, :2][scaled == 0], 0)


def test_sums_of_many_rows_fit_even_if_all_are_rounded_up():
    """So many rows that their sum, not the largest, limits the factor."""
    n_rows = 300_000
    g = np.full((n_rows, 1), 0.9, np.float32)
    numbers = quantized(gradients_of(-g, g))
    assert np.abs(numbers.lanes.astype(np.int64)).sum(axis=0).max() < 2**31
    assert n_rows * np.ceil(0.9 / numbers.scales[0]) < 2**31
    assert n_rows * np.ceil(0.9 / numbers.scales[0]) * 2 > 2**31
    assert numbers.lanes[:, 1].max() < 2**14


def test_one_huge_row_takes_the_resolution_of_the_others():
    """They are rounded to 0 or 1, and still their sum is right."""
    g = np.full((20_000, 1), 1e-3, np.float32)
    g[-1] = 32.0
    numbers = quantized(gradients_of(g, g))
    small = numbers.lanes[:-1, 0]
    assert set(small.tolist()) <= {0, 1, 2}
    assert small.sum() * numbers.scales[0] == pytest.approx(g[:-1].sum(), rel=1e-2)


# Roundings ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("alike", [False, True])
def test_roundings_balance(seed, alike):
    """In contiguous runs and in random subsets, in each lane by itself.

    Rounding down would be off by half a unit a row. Where gradients are alike, random rounding too
    would be off by more than a few units in long runs.
    """
    rng = np.random.default_rng(seed)
    n_rows = 4000
    g = np.tile(rng.normal(size=3), (n_rows, 1)) if alike else rng.normal(size=(n_rows, 3))
    g[0] = [900.0, 70.0, -3000.0]
    h = np.abs(g) * 0.2
    numbers = quantized(gradients_of(g, h), seed)
    exact = np.hstack([g, h]).astype(np.float32) / numbers.scales[:6]
    off = numbers.lanes[:, :6] - exact
    assert np.abs(off).max() > 0.4
    for first, last in rng.integers(1, n_rows, size=(30, 2)):
        run = off[min(first, last) : max(first, last)]
        allowed = 5.0 if alike else 2.1 * np.sqrt(len(run))
        assert np.abs(run.sum(axis=0)).max() <= allowed
    for size in (50, 500, 3000):
        some = rng.choice(n_rows, size, replace=False)
        assert np.abs(off[some].sum(axis=0)).max() < 2.6 * np.sqrt(size)


def test_rounds_and_lanes_start_their_roundings_at_different_places():
    g = np.full((50, 2), 0.3)
    g[0] = 1000.0
    precision = QuantizedGradients()
    first = precision.row_vectors(gradients_of(g, g), 1).lanes.copy()
    second = precision.row_vectors(gradients_of(g, g), 1).lanes
    assert (first != second).any()
    assert all((first[:, 0] != first[:, lane]).any() for lane in (1, 2, 3))
    np.testing.assert_array_equal(first, quantized(gradients_of(g, g)).lanes)


@pytest.mark.parametrize("unit", [2.0**-20, 1.0, 2.0**9])
def test_multiples_of_the_unit_are_kept(unit):
    """The largest row sets the unit; next to it small multiples leave a float32 its fraction."""
    rng = np.random.default_rng(0)
    g = rng.integers(-100, 101, size=(3000, 2)) * unit
    g[0] = 32_766 * unit
    numbers = quantized(gradients_of(g, np.abs(g)))
    np.testing.assert_array_equal(numbers.scales[:4], unit)
    np.testing.assert_array_equal(numbers.lanes[1:, :4] * unit, np.hstack([g, np.abs(g)])[1:])


def test_large_multiples_of_the_unit_are_nearly_always_kept():
    """Above 2^14 the fraction has 9 bits left, and 2^-10 of all are next to 1."""
    g = np.random.default_rng(0).integers(2**14, 2**15 - 2, size=(4000, 1)).astype(np.float32)
    off = quantized(gradients_of(g, g)).lanes[:, :2] - g
    assert set(np.unique(off)) <= {0, 1}
    assert off.mean() < 2**-9


@pytest.mark.parametrize("n_outputs", [1, 2, 3, 7, 9])
def test_rows_are_counted_exactly(n_outputs):
    g = np.random.default_rng(0).normal(size=(1000, n_outputs))
    numbers = quantized(gradients_of(g, np.abs(g)))
    count = 2 * n_outputs
    assert (numbers.lanes[:, count] == 1).all()
    assert not numbers.lanes[:, count + 1 :].any()
    np.testing.assert_array_equal(numbers.scales[count:], 1)


@QUICK
@given(st.integers(0, 2**32 - 1), st.floats(-12, 12))
def test_sums_are_those_of_the_gradients_to_a_unit_a_row(seed, exponent):
    rng = np.random.default_rng(seed)
    g = (rng.normal(size=(200, 2)) * 10.0**exponent).astype(np.float32)
    numbers = quantized(gradients_of(g, np.abs(g)), seed)
    some = rng.random(200) < 0.4
    sums = numbers.lanes[some].sum(axis=0, dtype=np.int32) * numbers.scales
    exact = np.hstack([g, np.abs(g)])[some].sum(axis=0, dtype=np.float64)
    assert (np.abs(sums[:4] - exact) <= numbers.scales[:4] * some.sum()).all()
    assert sums[4] == some.sum()


# Some of the outputs ------------------------------------------------------------------------


@pytest.mark.parametrize("outputs", [[0], [4], [1, 3], [0, 2, 4], [0, 1, 2, 3, 4]], ids=str)
def test_chosen_outputs_are_those_of_a_model_without_the_others(outputs):
    rng = np.random.default_rng(0)
    g, h = rng.normal(size=(500, 5)), rng.random((500, 5))
    chosen, alone = gradients_of(g, h, outputs), gradients_of(g[:, outputs], h[:, outputs])
    for find in (quantized, ExactGradients().row_vectors):
        some, expected = find(chosen, n_threads=1), find(alone, n_threads=1)
        assert some.n_lanes == lane_count(len(outputs))
        np.testing.assert_array_equal(some.lanes, expected.lanes)
        np.testing.assert_array_equal(some.scales, expected.scales)


def test_exact_gradients_of_all_outputs_are_not_copied():
    gradients = gradients_of(np.ones((5, 2)), np.ones((5, 2)))
    numbers = ExactGradients().row_vectors(gradients, 1)
    assert numbers.lanes is gradients.vectors
    assert numbers.cell_dtype is np.float64
    np.testing.assert_array_equal(numbers.scales, np.ones(8))


@pytest.mark.parametrize("outputs", [None, [1, 2]])
def test_threads_change_no_integer(outputs):
    """Enough rows to be shared out."""
    rng = np.random.default_rng(0)
    gradients = gradients_of(rng.normal(size=(9000, 4)), rng.random((9000, 4)), outputs)
    one = quantized(gradients)
    for n_threads in (2, 3, 7):
        many = quantized(gradients, n_threads=n_threads)
        np.testing.assert_array_equal(many.lanes, one.lanes)
        np.testing.assert_array_equal(many.scales, one.scales)


def test_memory_is_reused_and_results_are_not():
    """Also when the number of outputs changes, as it does with the weights of a sketch."""
    rng = np.random.default_rng(0)
    g, h = rng.normal(size=(100, 5)), rng.random((100, 5))
    reused = QuantizedGradients()
    for number, outputs in enumerate(([0, 1, 2, 3, 4], [1, 4], [3], [0, 2], None)):
        gradients = gradients_of(g, h, outputs)
        fresh = quantized(gradients, first_round=number)
        again = reused.row_vectors(gradients, 1)
        np.testing.assert_array_equal(again.lanes, fresh.lanes)


# Models -------------------------------------------------------------------------------------

ROWS = 8000


def three_tasks(seed):
    """Half, a fifth and a hundredth of the rows are positive; as many rows again to test."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(2 * ROWS, 8))
    shared = X[:, 0] * X[:, 1] + np.sin(2 * X[:, 2]) + X[:, 3]
    signals = [shared, shared + X[:, 4], X[:, 0] + X[:, 5] + X[:, 3] * X[:, 2]]
    noisy = np.column_stack(signals) + rng.logistic(0, 0.7, size=(len(X), 3))
    return X, (noisy > np.quantile(noisy, [0.5, 0.8, 0.99], axis=0).diagonal()).astype(float)


def flights(seed):
    """The numbers of the sample that comes with the package, some labels missing."""
    sample = load_flights()
    X = sample.data.select_dtypes("number").to_numpy(np.float64)
    rows = np.random.default_rng(seed).permutation(len(X))[: 2 * ROWS]
    return X[rows], sample.target.to_numpy(np.float64)[rows]


def scores_of_tasks(table, seed, **params):
    """The AUC of each task on the second half of the rows."""
    X, Y = table
    model = MultiTaskLGBMClassifier(n_estimators=30, n_jobs=1, random_state=seed, **params)
    found = model.fit(X[:ROWS], Y[:ROWS]).predict_proba(X[ROWS:])
    Y = Y[ROWS:]
    known = ~np.isnan(Y)
    return [roc_auc_score(Y[k, t], found[k, t]) for t, k in enumerate(known.T)]


@pytest.mark.parametrize("load", [three_tasks, flights])
def test_models_are_as_good_as_exact_ones(load, monkeypatch):
    """Task by task, also the rare ones. With three levels of either sign they would differ."""
    tables = [load(seed) for seed in range(3)]
    exact = [
        scores_of_tasks(table, seed, use_quantized_grad=False) for seed, table in enumerate(tables)
    ]

    def distance():
        found = [scores_of_tasks(table, seed) for seed, table in enumerate(tables)]
        return np.abs(np.subtract(found, exact)).mean()

    assert distance() < 0.0005
    monkeypatch.setattr(quantization, "LARGEST_ROW", 3)
    assert distance() > 0.001


@pytest.mark.parametrize("n_tasks", [1, 3, 9])
def test_leaf_values_never_see_the_roundings(n_tasks, monkeypatch):
    """Trees of one split, which even crude integers choose alike: the same values, bit by bit."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 9)).round()
    Y = (X[:, :1] > 0.2) ^ (rng.random((2000, n_tasks)) < 0.1)
    stumps = {"num_leaves": 2, "n_estimators": 10, "random_state": 0, "sketch_outputs": None}

    def trees(**params):
        model = MultiTaskLGBMClassifier(**stumps, **params)
        return model.fit(X, Y.astype(float) if n_tasks > 1 else Y[:, 0]).forest_.trees

    exact = trees(use_quantized_grad=False)
    assert len(exact) == 10
    for largest_row in (2**15 - 2, 31):
        monkeypatch.setattr(quantization, "LARGEST_ROW", largest_row)
        found = trees()
        for tree, twin in zip(found, exact, strict=True):
            np.testing.assert_array_equal(tree.nodes, twin.nodes)
            np.testing.assert_array_equal(tree.values, twin.values)
            np.testing.assert_array_equal(tree.gradients, twin.gradients)
            np.testing.assert_array_equal(tree.gains, twin.gains)
