"""Split search against a naive twin written from the definition in _splitting.pyx.

Everything is tried on float64 cells and on int32 cells. Gradients are small integers, so that all
sums are exact in both and only the gains may differ in their last bits, of a double or a float.
"""

from dataclasses import dataclass, field, replace
from itertools import combinations
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mtgbm.engine._common import FEATURE_DTYPE
from mtgbm.engine.grower import GrowthRules, HistogramPool
from mtgbm.engine.vectors import lane_count

QUICK = settings(deadline=None, max_examples=60)
FREE = {
    "min_child_samples": 1,
    "min_child_weight": 0.0,
    "cat_smooth": 0.0,
    "cat_l2": 0.0,
    "max_cat_to_onehot": 0,
    "min_data_per_group": 0,
    "max_cat_threshold": 255,
}


def free_rules(**rules):
    """Rules that forbid nothing, but for those given."""
    return GrowthRules(**(FREE | rules))


@dataclass
class Node:
    """One feature of one node: cells (n_bins, 2 K + 1), the last perhaps the missing bin."""

    cells: np.ndarray
    has_missing: bool = False
    is_categorical: bool = False
    rules: GrowthRules = field(default_factory=free_rules)
    weights: np.ndarray = None
    bounds: np.ndarray = None
    monotone: np.ndarray = None

    def __post_init__(self):
        if self.weights is None:
            self.weights = np.ones(self.n_outputs)
        if self.bounds is None:
            self.bounds = np.repeat([[-np.inf], [np.inf]], self.n_outputs, axis=1)
        if self.monotone is None:
            self.monotone = np.zeros(self.n_outputs, dtype=int)

    @property
    def n_outputs(self):
        return self.cells.shape[1] // 2

    @property
    def n_bins(self):
        return len(self.cells) - self.has_missing

    @property
    def total(self):
        return self.cells.sum(axis=0)

    @property
    def constrained(self):
        return bool(self.monotone.any() or np.isfinite(self.bounds).any())


@dataclass
class Split:
    """What either search found; `left` are bins."""

    gain: float
    left: set
    n_left: int
    left_sums: list
    missing_left: bool


# The kernel ---------------------------------------------------------------------------------

#: In the cells of a strip that no bin has: they must neither be read nor written.
UNUSED = 99


def units(n_outputs):
    """What a unit of each lane of an integer cell is worth: powers of 2, 1 for the count."""
    scales = np.ones(lane_count(n_outputs))
    scales[: 2 * n_outputs] = 0.5 ** (1 + np.arange(2 * n_outputs) % 5)
    return scales


@dataclass(frozen=True)
class Kernel:
    """The variant of an instruction set, and the kind of cells that it searches.

    Units of gradients and hessians may be multiplied by powers of 2.
    """

    module: ModuleType
    cell_dtype: type
    g_unit: float = 1.0
    h_unit: float = 1.0

    @property
    def exact(self):
        return self.cell_dtype is np.float64

    @property
    def tolerance(self):
        return 1e-9 if self.exact else 5e-6

    def scales(self, n_outputs):
        scales = units(n_outputs)
        scales[:n_outputs] *= self.g_unit
        scales[n_outputs : 2 * n_outputs] *= self.h_unit
        return np.ones(len(scales)) if self.exact else scales

    def fill(self, strips, nodes):
        """Write the cells of each node into its strip, (stride, lanes)."""
        strips[:] = UNUSED
        n_outputs = nodes[0].n_outputs
        scales = self.scales(n_outputs)[: 2 * n_outputs + 1]
        for strip, node in zip(strips, nodes, strict=True):
            cells = strip[: len(node.cells)]
            cells[:, len(scales) :] = 0
            cells[:, : len(scales)] = node.cells / scales
            assert (cells[:, : len(scales)] * scales == node.cells).all()

    def prepare(self, families, columns, n_threads=1):
        """A `SplitSearch` of nodes 0, 1, ... and the slots that hold their histograms.

        Each family is a node of the tree: a list of `Node`, one for each feature.
        """
        nodes = families[0]
        features = np.zeros(len(nodes), dtype=FEATURE_DTYPE)
        for name in ("n_bins", "has_missing", "is_categorical"):
            features[name] = [getattr(node, name) for node in nodes]
        columns = np.array(columns, dtype=np.int32)
        n_outputs = nodes[0].n_outputs
        stride = 1 + max(len(node.cells) for node in nodes)
        shape = (len(columns), stride, lane_count(n_outputs))
        pool = HistogramPool(shape, self.cell_dtype, len(families))
        search = self.module.SplitSearch(
            pool.addresses,
            self.exact,
            stride,
            self.scales(n_outputs),
            features,
            columns,
            np.array([len(nodes[column].cells) for column in columns], dtype=np.int32),
            np.asarray(nodes[0].weights, dtype=float),
            np.array([node.monotone for node in nodes], dtype=np.int32),
            nodes[0].rules.as_record(constrained=nodes[0].constrained),
            len(families),
            n_threads,
        )
        for number, family in enumerate(families):
            self.fill(pool.arrays[pool.take()], [family[column] for column in columns])
            search.totals[number, : 2 * n_outputs + 1] = family[0].total
            search.bounds[number] = family[0].bounds
        return search, pool


def search(kernel, nodes, columns=None, n_threads=1):
    """Search several features of one node; return the best position and each one's split."""
    columns = range(len(nodes)) if columns is None else columns
    together, _ = kernel.prepare([nodes], columns, n_threads)
    gain = together.find(0, 0, n_threads)
    assert gain == together.splits["gain"][0]
    alone = [search_column(kernel, nodes, column) for column in columns]
    if np.isneginf(gain):
        return -1, alone
    best = list(columns).index(together.splits["feature"][0])
    assert as_split(together, 0, nodes[columns[best]]) == alone[best]
    return best, alone


def search_column(kernel, nodes, column):
    """The split of one feature, None if there is none."""
    found, _ = kernel.prepare([nodes], [column])
    found.find(0, 0, 1)
    if not np.isneginf(found.splits["gain"][0]):
        assert found.splits["feature"][0] == column
    return as_split(found, 0, nodes[column])


def search_one(kernel, node):
    """The kernel's split of a node that has one feature, None if there is none."""
    best, (split,) = search(kernel, [node])
    assert best == (-1 if split is None else 0)
    return split


def as_split(found, number, node):
    """What a search found for a node."""
    record, left_sums = found.splits[number], found.left_totals[number]
    if np.isneginf(record["gain"]):
        return None
    if record["is_categorical"]:
        words = record["bitset"]
        left = {bin for bin in range(256) if words[bin // 32] >> np.uint32(bin % 32) & 1}
    else:
        left = {*range(record["bin_threshold"] + 1)}
    if record["missing_left"] and node.has_missing:
        left.add(node.n_bins)
    used = 2 * node.n_outputs + 1
    np.testing.assert_array_equal(left_sums[used:], 0)
    return Split(
        float(record["gain"]),
        left,
        int(record["n_left"]),
        left_sums[:used].tolist(),
        bool(record["missing_left"]),
    )


@pytest.fixture(scope="module", params=[np.float64, np.int32], ids=["exact", "quantized"])
def kernel(variant, request):
    """Every instruction set, on both kinds of cells."""
    return Kernel(variant("mtgbm.engine._splitting"), request.param)


# Its naive twin -----------------------------------------------------------------------------


def leaf_value(g, h, k, node, l2):
    rules = node.rules
    value = -np.sign(g) * max(abs(g) - rules.reg_alpha, 0) / (h + l2) if h + l2 > 0 else 0.0
    if rules.max_delta_step > 0:
        value = np.clip(value, -rules.max_delta_step, rules.max_delta_step)
    return np.clip(value, *node.bounds[:, k])


def score(g, h, value, rules, l2):
    """Twice the fall of g v + (h + l2) v^2 / 2 + l1 |v|, as l1 takes it from the gradient."""
    shrunk = np.sign(g) * max(abs(g) - rules.reg_alpha, 0)
    return -(2 * shrunk * value + (h + l2) * value**2)


def gain_of(left, node, extra_l2=0.0):
    """Gain of sending the bins `left` to the left; -inf where a rule forbids it."""
    rules, n = node.rules, node.n_outputs
    l2 = rules.reg_lambda + extra_l2
    total, sums = node.total, node.cells[sorted(left)].sum(axis=0)
    other = total - sums
    if min(sums[-1], other[-1]) < max(1, rules.min_child_samples):
        return -np.inf
    gain, voted = 0.0, False
    for k in range(n):
        sides = [(side[k], side[n + k]) for side in (sums, other)]
        values = [leaf_value(g, h, k, node, l2) for g, h in sides]
        if node.monotone[k] * (values[1] - values[0]) < 0:
            return -np.inf
        if min(h for _, h in sides) < rules.least_hessian or node.weights[k] == 0:
            continue
        voted = True
        pair = sum(score(*side, v, rules, l2) for side, v in zip(sides, values, strict=True))
        base_value = leaf_value(total[k], total[n + k], k, node, rules.reg_lambda)
        base = score(total[k], total[n + k], base_value, rules, rules.reg_lambda)
        gain += node.weights[k] * (pair - base)
    return gain if voted else -np.inf


def numeric_candidates(node):
    """Thresholds with missing values on the right, then on the left."""
    for bin in range(node.n_bins):
        yield {*range(bin + 1)}, 0.0
    if node.has_missing and node.cells[-1, -1] > 0:
        for bin in range(node.n_bins - 1):
            yield {*range(bin + 1), node.n_bins}, 0.0


def categorical_candidates(node):
    """One category against the rest, or prefixes along each output's order, both ways."""
    rules = node.rules
    if node.n_bins <= rules.max_cat_to_onehot:
        yield from (({bin}, 0.0) for bin in range(node.n_bins))
        return
    counts = node.cells[: node.n_bins, -1]
    kept = [b for b in range(node.n_bins) if counts[b] >= max(rules.cat_smooth, 1)]
    for k in np.flatnonzero(node.weights):
        g, h = node.cells[:, k], node.cells[:, node.n_outputs + k]
        for sign in (1, -1):
            order = sorted(kept, key=lambda b: sign * g[b] / (h[b] + rules.cat_smooth))
            for left in prefixes(order, node):
                yield left, rules.cat_l2


def prefixes(order, node):
    """Prefixes up to the middle, each at least `min_data_per_group` rows longer than the last."""
    rules = node.rules
    counts, n_rows = node.cells[:, -1], node.total[-1]
    in_group = 0
    for length in range(1, min(rules.max_cat_threshold, (len(order) + 1) // 2) + 1):
        left = order[:length]
        in_group += counts[left[-1]]
        n_left = counts[left].sum()
        if n_rows - n_left < max(rules.min_child_samples, rules.min_data_per_group, 1):
            return
        if n_left >= rules.min_child_samples and in_group >= rules.min_data_per_group:
            in_group = 0
            yield {*left}


def naive_search(node):
    """All candidates with their gains, and the largest gain that may be taken."""
    candidates = categorical_candidates if node.is_categorical else numeric_candidates
    gains = [(left, gain_of(left, node, extra)) for left, extra in candidates(node)]
    best = max((gain for _, gain in gains), default=-np.inf)
    return gains, best if best > node.rules.min_split_gain else -np.inf


def rounding(kernel, node, gain):
    """How far a gain may be off: scores of the sides, of the size of gain + base, are rounded."""
    n, total = node.n_outputs, node.total
    base = node.weights @ (total[:n] ** 2 / (total[n : 2 * n] + node.rules.reg_lambda + 1e-9))
    return kernel.tolerance * (1 + abs(gain) + base)


def assert_equals_twin(kernel, node):
    """Same gain, by one of the candidates that have it, and sums that belong to it."""
    split = search_one(kernel, node)
    gains, best = naive_search(node)
    floor = node.rules.min_split_gain
    least = pytest.approx(floor, abs=rounding(kernel, node, floor))
    if split is None or np.isneginf(best):
        assert split is None or split.gain == least
        assert np.isneginf(best) or best == least
        return
    close_to_best = pytest.approx(best, rel=0, abs=rounding(kernel, node, best))
    assert split.gain == close_to_best
    left = split.left
    if node.has_missing and node.cells[-1, -1] == 0:
        left = left - {node.n_bins}
    own = [gain for candidate, gain in gains if candidate == left]
    assert own
    assert max(own) == close_to_best
    sums = node.cells[sorted(left)].sum(axis=0)
    np.testing.assert_array_equal(split.left_sums, sums)
    assert split.n_left == sums[-1]


# Nodes to search ----------------------------------------------------------------------------


@st.composite
def nodes(draw, *, categorical=False, most_outputs=4):
    """Nodes of 1 to 7 bins with every rule drawn."""
    n_outputs = draw(st.integers(1, most_outputs))
    has_missing = draw(st.booleans())
    n_bins = draw(st.integers(1, 7)) + has_missing
    shape = (n_bins, n_outputs)
    g = draw(hnp.arrays(int, shape, elements=st.integers(-4, 4)))
    h = draw(hnp.arrays(int, shape, elements=st.integers(0, 4)))
    n = draw(hnp.arrays(int, (n_bins, 1), elements=st.integers(0, 5)))
    cells = np.where(n > 0, np.hstack([np.where(h > 0, g, 0), h, n]), 0).astype(float)
    rules = GrowthRules(
        min_child_samples=draw(st.integers(1, 4)),
        min_child_weight=draw(st.sampled_from([0.0, 1.0, 3.0])),
        min_split_gain=draw(st.sampled_from([0.0, 2.0])),
        reg_alpha=draw(st.sampled_from([0.0, 1.0])),
        reg_lambda=draw(st.sampled_from([0.0, 1.0, 2.5])),
        max_delta_step=draw(st.sampled_from([0.0, 0.5])),
        cat_smooth=draw(st.sampled_from([1.0, 2.0])),
        cat_l2=draw(st.sampled_from([0.0, 10.0])),
        max_cat_threshold=draw(st.sampled_from([2, 32])),
        max_cat_to_onehot=draw(st.sampled_from([0, 4])),
        min_data_per_group=draw(st.sampled_from([0, 3])),
    )
    choices = st.lists(
        st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=n_outputs, max_size=n_outputs
    )
    weights = np.array(draw(choices.filter(any)))
    return Node(cells, has_missing, categorical, rules, weights)


@QUICK
@given(nodes())
def test_numeric_splits_equal_the_twin(kernel, node):
    assert_equals_twin(kernel, node)


@QUICK
@given(nodes(categorical=True))
def test_categorical_splits_equal_the_twin(kernel, node):
    assert_equals_twin(kernel, node)


@QUICK
@given(nodes(most_outputs=2), st.data())
def test_bounds_and_monotone_constraints_equal_the_twin(kernel, node, data):
    pairs = st.tuples(*[st.sampled_from([-np.inf, -1.0, -0.25])] * node.n_outputs)
    lower = np.array(data.draw(pairs))
    upper = -np.array(data.draw(pairs))
    node.bounds = np.array([lower, upper])
    directions = st.lists(st.integers(-1, 1), min_size=node.n_outputs, max_size=node.n_outputs)
    node.monotone = np.array(data.draw(directions))
    node.rules = GrowthRules(**(vars(node.rules) | {"reg_lambda": node.rules.reg_lambda + 1}))
    assert_equals_twin(kernel, node)


@pytest.mark.parametrize(("n_bins", "n_outputs"), [(1, 20), (2, 20), (100, 9), (255, 3)])
def test_many_outputs_and_bins_equal_the_twin(kernel, n_bins, n_outputs):
    rng = np.random.default_rng(n_bins)
    g = rng.integers(-9, 10, size=(n_bins + 1, n_outputs))
    h = rng.integers(1, 10, size=(n_bins + 1, n_outputs))
    n = rng.integers(1, 5, size=(n_bins + 1, 1))
    cells = np.hstack([g, h, n]).astype(float)
    weights = rng.random(n_outputs)
    for categorical in (False, True):
        rules = free_rules(cat_smooth=1.0, max_cat_threshold=32)
        assert_equals_twin(kernel, Node(cells, True, categorical, rules, weights))


@QUICK
@given(nodes(), st.integers(1, 3))
def test_closed_formula_equals_the_general_one(kernel, node, reach):
    """Bounds far from every value change nothing but the formula."""
    plain = {"reg_alpha": 0.0, "max_delta_step": 0.0}
    node.rules = GrowthRules(**(vars(node.rules) | plain))
    closed = search_one(kernel, node)
    node.bounds = 1000.0 * reach * np.repeat([[-1.0], [1.0]], node.n_outputs, axis=1)
    general = search_one(kernel, node)
    assert node.constrained
    if closed is None or general is None:
        gains = [split.gain for split in (closed, general) if split is not None]
        assert all(gain == pytest.approx(node.rules.min_split_gain) for gain in gains)
    else:
        off = rounding(kernel, node, closed.gain)
        assert general.gain == pytest.approx(closed.gain, rel=0, abs=off)


@pytest.mark.parametrize(
    ("g_unit", "h_unit"), [(2.0**-40, 2.0**-40), (2.0**-30, 2.0**-35), (2.0**20, 2.0**9), (2, 1)]
)
@pytest.mark.parametrize("seed", range(5))
def test_gains_scale_with_the_units(kernel, seed, g_unit, h_unit):
    """Gains are of the order of g^2 / h: powers of 2 change nothing but their exponents."""
    rng = np.random.default_rng(seed)
    g, h = rng.integers(-9, 10, size=(50, 3)), rng.integers(1, 10, size=(50, 3))
    cells = np.hstack([g, h, np.ones((50, 1))]).astype(float)
    small = Node(cells, True, rules=free_rules(reg_lambda=2.0, min_child_weight=8.0))
    rules = free_rules(reg_lambda=2.0 * h_unit, min_child_weight=8.0 * h_unit)
    factors = np.repeat([g_unit, h_unit, 1.0], [3, 3, 1])
    expected = search_one(kernel, small)
    scaled = replace(kernel, g_unit=g_unit, h_unit=h_unit)
    found = search_one(scaled, Node(cells * factors, True, rules=rules))
    assert found.gain == expected.gain * g_unit**2 / h_unit
    assert found.left == expected.left
    assert found.left_sums == (expected.left_sums * factors).tolist()


# Fisher -------------------------------------------------------------------------------------


@QUICK
@given(st.integers(2, 7), st.data())
def test_sorted_prefixes_find_the_best_of_all_subsets(kernel, n_bins, data):
    """Of one output without penalties: Fisher (1958), "On grouping for maximum homogeneity"."""
    g = data.draw(hnp.arrays(int, (n_bins, 1), elements=st.integers(-5, 5)))
    h = data.draw(hnp.arrays(int, (n_bins, 1), elements=st.integers(1, 4)))
    cells = np.hstack([g, h, np.ones((n_bins, 1))]).astype(float)
    node = Node(cells, is_categorical=True)
    subsets = [
        gain_of({*left}, node)
        for size in range(1, n_bins)
        for left in combinations(range(n_bins), size)
    ]
    split = search_one(kernel, node)
    if split is None:
        assert max(subsets) == pytest.approx(0, abs=rounding(kernel, node, 0))
    else:
        off = rounding(kernel, node, max(subsets))
        assert split.gain == pytest.approx(max(subsets), rel=0, abs=off)


def test_a_category_without_labels_does_not_disturb_the_order_of_the_others(kernel):
    """Bin 2 has rows but no labels: without smoothing its key is 0 / 0."""
    g, h = [2.0, -2.0, 0.0, 2.0, -2.0], [1.0, 1.0, 0.0, 1.0, 1.0]
    cells = np.stack([g, h, np.ones(5)], axis=1)
    split = search_one(kernel, Node(cells, is_categorical=True))
    assert split.gain == pytest.approx(16.0)
    assert split.left - {2} in ({0, 3}, {1, 4})


# By hand ------------------------------------------------------------------------------------


def cells_of(*rows):
    return np.array(rows, dtype=float)


def test_gain_by_hand(kernel):
    """(-3)^2 / (2 + 1) + 5^2 / (3 + 1) - 2^2 / (5 + 1), with weight 2."""
    node = Node(
        cells_of([-1, 1, 1], [-2, 1, 4], [5, 3, 2]),
        rules=free_rules(reg_lambda=1.0),
        weights=np.array([2.0]),
    )
    split = search_one(kernel, node)
    assert split.gain == pytest.approx(2 * (9 / 3 + 25 / 4 - 4 / 6))
    assert split.left == {0, 1}
    assert split.n_left == 5
    np.testing.assert_array_equal(split.left_sums, [-3, 2, 5])


@pytest.mark.parametrize(("g_missing", "left"), [(-6, {0, 2}), (6, {0})])
def test_missing_values_join_their_like(kernel, g_missing, left):
    node = Node(cells_of([-4, 2, 2], [4, 2, 2], [g_missing, 3, 3]), has_missing=True)
    assert search_one(kernel, node).left == left


def test_present_against_missing(kernel):
    node = Node(cells_of([1, 2, 2], [1, 2, 2], [-8, 3, 3]), has_missing=True)
    split = search_one(kernel, node)
    assert split.left == {0, 1}
    assert not split.missing_left


@pytest.mark.parametrize(("n_left", "missing_left"), [(3, False), (4, False), (5, True)])
def test_missing_values_not_seen_here_follow_the_larger_side(kernel, n_left, missing_left):
    node = Node(cells_of([-4, 4, n_left], [4, 4, 4], [0, 0, 0]), has_missing=True)
    assert search_one(kernel, node).missing_left == missing_left


def test_an_output_without_labels_on_one_side_has_no_vote(kernel):
    """The first output would love bin 0 against the rest, but has no hessian in bins 1 and 2."""
    cells = cells_of([-9, 1, 4, 1, 2], [0, 2, 0, 1, 2], [0, -4, 0, 2, 2])
    split = search_one(kernel, Node(cells))
    assert split.left == {0, 1}
    assert split.gain == pytest.approx(9 / 2 + 16 / 2 - 1 / 4)


def test_no_vote_no_split(kernel):
    cells = cells_of([-9, 1, 4, 0, 2], [0, -3, 0, 3, 2])
    assert search_one(kernel, Node(cells)) is None


def test_an_output_of_weight_zero_is_not_heard(kernel):
    cells = cells_of([-9, 1, 4, 1, 2], [9, 1, 4, 1, 2], [0, -8, 1, 2, 2])
    heard = search_one(kernel, Node(cells, weights=np.array([1.0, 1.0])))
    unheard = search_one(kernel, Node(cells, weights=np.array([0.0, 1.0])))
    assert heard.left == {0}
    assert unheard.left == {0, 1}


@pytest.mark.parametrize(("direction", "allowed"), [(-1, False), (0, True), (1, True)])
def test_monotone_constraints_forbid_the_other_direction(kernel, direction, allowed):
    """The left value is -2, the right one 2."""
    node = Node(cells_of([4, 2, 2], [-4, 2, 2]), monotone=np.array([direction]))
    assert (search_one(kernel, node) is not None) == allowed


def test_equal_gains_go_to_the_first_bin_and_feature(kernel):
    alike = Node(cells_of([1, 1, 1], [-1, 1, 1], [1, 1, 1], [-1, 1, 1]))
    best, (first, second) = search(kernel, [alike, alike])
    assert first.left == second.left == {0}
    assert best == 0


@pytest.mark.parametrize("n_threads", [1, 2, 3, 7])
def test_best_of_several_features(kernel, n_threads):
    """Positions count in `columns`, and features left out are not searched."""
    flat = Node(cells_of([2, 2, 2], [2, 2, 2]))
    weak = Node(cells_of([1, 2, 2], [3, 2, 2]))
    strong = Node(cells_of([0, 2, 2], [4, 2, 2]), is_categorical=True)
    best, splits = search(kernel, [strong, flat, weak, strong], [1, 2, 3], n_threads)
    assert best == 2
    assert splits[0] is None
    assert (splits[1].gain, splits[2].gain) == (pytest.approx(1.0), pytest.approx(4.0))
    assert search(kernel, [flat, flat], n_threads=n_threads)[0] == -1


def test_gain_must_exceed_min_split_gain(kernel):
    cells = cells_of([-2, 2, 2], [2, 2, 2])
    assert search_one(kernel, Node(cells, rules=free_rules(min_split_gain=4.0))) is None
    assert search_one(kernel, Node(cells, rules=free_rules(min_split_gain=3.9))).gain == 4.0


# Two children in one go ---------------------------------------------------------------------


def siblings(seed, n_outputs):
    """Two children of one node, each a list of features: numeric, with missing, categorical."""
    rng = np.random.default_rng(seed)
    kinds = [(40, False, False), (7, True, False), (12, True, True), (1, False, False)]
    weights = rng.random(n_outputs)
    children = []
    for n_rows in (60, 500):
        rows = np.hstack(
            [
                rng.integers(-9, 10, size=(n_rows, n_outputs)),
                rng.integers(1, 10, size=(n_rows, n_outputs)),
                np.ones((n_rows, 1), int),
            ]
        )
        family = []
        for n_bins, has_missing, is_categorical in kinds:
            cells = np.zeros((n_bins + has_missing, 2 * n_outputs + 1))
            np.add.at(cells, rng.integers(0, len(cells), size=n_rows), rows)
            rules = free_rules(cat_smooth=1.0, min_child_samples=2)
            family.append(Node(cells, has_missing, is_categorical, rules, weights))
        children.append(family)
    return children


def united(one, other):
    """The parent: the sums of its children's cells."""
    return [
        Node(a.cells + b.cells, a.has_missing, a.is_categorical, a.rules, a.weights)
        for a, b in zip(one, other, strict=True)
    ]


@pytest.mark.parametrize("n_threads", [1, 2, 3, 7])
@pytest.mark.parametrize("columns", [[0, 1, 2, 3], [1, 3], [2]], ids=str)
@pytest.mark.parametrize("n_outputs", [1, 2, 9])
def test_a_pair_is_searched_as_each_of_the_two_alone(kernel, n_outputs, columns, n_threads):
    smaller, larger = siblings(n_outputs, n_outputs)
    apart, expected = kernel.prepare([smaller, larger], columns)
    gains = [apart.find(number, number, 1) for number in (0, 1)]
    assert np.isfinite(gains).all()
    pair, pool = kernel.prepare([smaller, larger, united(smaller, larger)], columns, n_threads)
    lengths = [len(larger[column].cells) for column in columns]
    assert pair.find_pair(0, 0, 1, 2, n_threads) == tuple(gains)
    np.testing.assert_array_equal(pair.splits[:2], apart.splits)
    np.testing.assert_array_equal(pair.left_totals[:2], apart.left_totals)
    np.testing.assert_array_equal(pool.arrays[0], expected.arrays[0])
    for found, sibling, length in zip(pool.arrays[2], expected.arrays[1], lengths, strict=True):
        np.testing.assert_array_equal(found[:length], sibling[:length])
        np.testing.assert_array_equal(found[length:], UNUSED)


@QUICK
@given(nodes(), nodes(), st.booleans())
def test_a_child_that_cannot_be_split_leaves_the_other_alone(kernel, node, other, swap):
    """Any two nodes that fit together, one of them of a single row perhaps."""
    bins = min(len(node.cells), len(other.cells))
    lanes = min(node.cells.shape[1], other.cells.shape[1])
    outputs = lanes // 2
    children = []
    for cells in (node.cells, other.cells):
        n = cells.shape[1] // 2
        kept = [*range(outputs), *range(n, n + outputs), 2 * n]
        children.append(Node(cells[:bins][:, kept], rules=node.rules))
    children = children[::-1] if swap else children
    alone = [search_one(kernel, child) for child in children]
    parent = united(children[:1], children[1:])
    pair, _ = kernel.prepare([children[:1], children[1:], parent], [0])
    pair.find_pair(0, 0, 1, 2, 1)
    assert [as_split(pair, number, children[0]) for number in (0, 1)] == alone


# Sums that fill 32 bits ---------------------------------------------------------------------


def full_cells(seed, n_bins, n_outputs):
    """Cells whose absolute values sum to all that int32 holds, in units of integer cells."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(n_bins, 0.5), size=2 * n_outputs).T
    cells = np.floor(shares * (2**31 - 1))
    cells[-1] += 2**31 - 1 - cells.sum(axis=0)
    cells[:, :n_outputs] *= rng.choice([-1, 1], size=(n_bins, n_outputs))
    counts = rng.integers(1, 9, size=(n_bins, 1))
    return np.hstack([cells * units(n_outputs)[: 2 * n_outputs], counts])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("categorical", [False, True])
@pytest.mark.parametrize(("n_bins", "n_outputs"), [(2, 1), (9, 2), (200, 7)])
def test_sums_up_to_the_largest_integer_are_exact(kernel, seed, categorical, n_bins, n_outputs):
    """Beyond the 24 bits of a float; also those of a sibling that is taken away."""
    rules = free_rules(cat_smooth=1.0)
    whole = full_cells(seed, n_bins, n_outputs)
    node = Node(whole, False, categorical, rules)
    assert_equals_twin(kernel, node)
    rng = np.random.default_rng(seed)
    unit = np.append(units(n_outputs)[: 2 * n_outputs], 1)
    part = np.floor(whole / unit * rng.random((n_bins, 1))) * unit
    part[:, -1] = 1
    smaller, larger = (Node(c, False, categorical, rules) for c in (part, whole - part))
    pair, _ = kernel.prepare([[smaller], [larger], [node]], [0])
    pair.find_pair(0, 0, 1, 2, 1)
    for number, child in enumerate((smaller, larger)):
        assert as_split(pair, number, child) == search_one(kernel, child)


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_largest_gradient_may_stand_against_its_opposite(kernel, sign):
    """Left and right are as far apart as integers can be without their absolutes overflowing."""
    half = 2.0**30 - 1
    cells = cells_of([sign * half, half, 3], [-sign * half, half, 4]) * [*units(1)[:2], 1]
    split = search_one(kernel, Node(cells))
    g, h = half * units(1)[:2]
    assert split.gain == pytest.approx(2 * g * g / h, rel=kernel.tolerance)
    assert split.left_sums == [sign * g, h, 3]
