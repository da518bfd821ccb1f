"""Split search against a naive twin written from the definition in _splitting.pyx.

Gradients are small integers, so that all sums are exact and only the gains may differ in their
last bits.
"""

from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mtgbm.engine._common import FEATURE_DTYPE, SPLIT_DTYPE
from mtgbm.engine.grower import GrowthRules
from mtgbm.engine.vectors import aligned_zeros, lane_count

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
    left_sums: np.ndarray
    missing_left: bool


# The kernel ---------------------------------------------------------------------------------


def search(kernel, nodes, columns=None, n_threads=1):
    """Search several features of one node; return the best position and all splits."""
    first = nodes[0]
    features = np.zeros(len(nodes), dtype=FEATURE_DTYPE)
    features["n_bins"] = [node.n_bins for node in nodes]
    features["has_missing"] = [node.has_missing for node in nodes]
    features["is_categorical"] = [node.is_categorical for node in nodes]
    lengths = [len(node.cells) + 1 for node in nodes]
    features["offset"] = np.cumsum(lengths) - lengths
    histogram = aligned_zeros((sum(lengths), lane_count(first.n_outputs)), np.float64)
    for node, offset in zip(nodes, features["offset"], strict=True):
        histogram[offset : offset + len(node.cells), : 2 * first.n_outputs + 1] = node.cells
    total = np.zeros(histogram.shape[1])
    total[: 2 * first.n_outputs + 1] = first.total
    columns = np.arange(len(nodes)) if columns is None else np.array(columns)
    splits = np.zeros(len(columns), dtype=SPLIT_DTYPE)
    left_sums = np.full((len(columns), histogram.shape[1]), np.nan)
    best = kernel.find_splits(
        histogram,
        total,
        features,
        columns.astype(np.int32),
        np.asarray(first.weights, dtype=float),
        np.asarray(first.bounds, dtype=float),
        np.array([node.monotone for node in nodes], dtype=np.int32),
        first.rules.as_record(constrained=first.constrained),
        splits,
        left_sums,
        n_threads,
    )
    found = [
        as_split(record, sums, nodes[column])
        for record, sums, column in zip(splits, left_sums, columns, strict=True)
    ]
    np.testing.assert_array_equal(splits["feature"], columns)
    return best, found


def search_one(variant, node):
    """The kernel's split of one feature, None if there is none."""
    best, (split,) = search(variant("mtgbm.engine._splitting"), [node])
    assert best == (-1 if split is None else 0)
    return split


def as_split(record, left_sums, node):
    if np.isneginf(record["gain"]):
        np.testing.assert_array_equal(left_sums, 0)
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
        record["gain"], left, record["n_left"], left_sums[:used], bool(record["missing_left"])
    )


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


def assert_equals_twin(variant, node):
    """Same gain, by one of the candidates that have it, and sums that belong to it."""
    split = search_one(variant, node)
    gains, best = naive_search(node)
    least = pytest.approx(node.rules.min_split_gain, abs=1e-9)
    if split is None or np.isneginf(best):
        assert split is None or split.gain == least
        assert np.isneginf(best) or best == least
        return
    assert split.gain == pytest.approx(best, rel=1e-9, abs=1e-9)
    left = split.left
    if node.has_missing and node.cells[-1, -1] == 0:
        left = left - {node.n_bins}
    own = [gain for candidate, gain in gains if candidate == left]
    assert own
    assert max(own) == pytest.approx(best, rel=1e-9, abs=1e-9)
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
def test_numeric_splits_equal_the_twin(variant, node):
    assert_equals_twin(variant, node)


@QUICK
@given(nodes(categorical=True))
def test_categorical_splits_equal_the_twin(variant, node):
    assert_equals_twin(variant, node)


@QUICK
@given(nodes(most_outputs=2), st.data())
def test_bounds_and_monotone_constraints_equal_the_twin(variant, node, data):
    pairs = st.tuples(*[st.sampled_from([-np.inf, -1.0, -0.25])] * node.n_outputs)
    lower = np.array(data.draw(pairs))
    upper = -np.array(data.draw(pairs))
    node.bounds = np.array([lower, upper])
    directions = st.lists(st.integers(-1, 1), min_size=node.n_outputs, max_size=node.n_outputs)
    node.monotone = np.array(data.draw(directions))
    node.rules = GrowthRules(**(vars(node.rules) | {"reg_lambda": node.rules.reg_lambda + 1}))
    assert_equals_twin(variant, node)


@pytest.mark.parametrize(("n_bins", "n_outputs"), [(1, 20), (2, 20), (100, 9), (255, 3)])
def test_many_outputs_and_bins_equal_the_twin(variant, n_bins, n_outputs):
    rng = np.random.default_rng(n_bins)
    g = rng.integers(-9, 10, size=(n_bins + 1, n_outputs))
    h = rng.integers(1, 10, size=(n_bins + 1, n_outputs))
    n = rng.integers(1, 5, size=(n_bins + 1, 1))
    cells = np.hstack([g, h, n]).astype(float)
    weights = rng.random(n_outputs)
    for categorical in (False, True):
        rules = free_rules(cat_smooth=1.0, max_cat_threshold=32)
        assert_equals_twin(variant, Node(cells, True, categorical, rules, weights))


@QUICK
@given(nodes(), st.integers(1, 3))
def test_closed_formula_equals_the_general_one(variant, node, reach):
    """Bounds far from every value change nothing but the formula."""
    plain = {"reg_alpha": 0.0, "max_delta_step": 0.0}
    node.rules = GrowthRules(**(vars(node.rules) | plain))
    closed = search_one(variant, node)
    node.bounds = 1000.0 * reach * np.repeat([[-1.0], [1.0]], node.n_outputs, axis=1)
    general = search_one(variant, node)
    assert node.constrained
    if closed is None or general is None:
        gains = [split.gain for split in (closed, general) if split is not None]
        assert all(gain == pytest.approx(node.rules.min_split_gain) for gain in gains)
    else:
        assert general.gain == pytest.approx(closed.gain, rel=1e-9)


# Fisher -------------------------------------------------------------------------------------


@QUICK
@given(st.integers(2, 7), st.data())
def test_sorted_prefixes_find_the_best_of_all_subsets(variant, n_bins, data):
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
    split = search_one(variant, node)
    if split is None:
        assert max(subsets) == pytest.approx(0, abs=1e-9)
    else:
        assert split.gain == pytest.approx(max(subsets), rel=1e-9, abs=1e-9)


def test_a_category_without_labels_does_not_disturb_the_order_of_the_others(variant):
    """Bin 2 has rows but no labels: without smoothing its key is 0 / 0."""
    g, h = [2.0, -2.0, 0.0, 2.0, -2.0], [1.0, 1.0, 0.0, 1.0, 1.0]
    cells = np.stack([g, h, np.ones(5)], axis=1)
    split = search_one(variant, Node(cells, is_categorical=True))
    assert split.gain == pytest.approx(16.0)
    assert split.left - {2} in ({0, 3}, {1, 4})


# By hand ------------------------------------------------------------------------------------


def cells_of(*rows):
    return np.array(rows, dtype=float)


def test_gain_by_hand(variant):
    """(-3)^2 / (2 + 1) + 5^2 / (3 + 1) - 2^2 / (5 + 1), with weight 2."""
    node = Node(
        cells_of([-1, 1, 1], [-2, 1, 4], [5, 3, 2]),
        rules=free_rules(reg_lambda=1.0),
        weights=np.array([2.0]),
    )
    split = search_one(variant, node)
    assert split.gain == pytest.approx(2 * (9 / 3 + 25 / 4 - 4 / 6))
    assert split.left == {0, 1}
    assert split.n_left == 5
    np.testing.assert_array_equal(split.left_sums, [-3, 2, 5])


@pytest.mark.parametrize(("g_missing", "left"), [(-6, {0, 2}), (6, {0})])
def test_missing_values_join_their_like(variant, g_missing, left):
    node = Node(cells_of([-4, 2, 2], [4, 2, 2], [g_missing, 3, 3]), has_missing=True)
    assert search_one(variant, node).left == left


def test_present_against_missing(variant):
    node = Node(cells_of([1, 2, 2], [1, 2, 2], [-8, 3, 3]), has_missing=True)
    split = search_one(variant, node)
    assert split.left == {0, 1}
    assert not split.missing_left


@pytest.mark.parametrize(("n_left", "missing_left"), [(3, False), (4, False), (5, True)])
def test_missing_values_not_seen_here_follow_the_larger_side(variant, n_left, missing_left):
    node = Node(cells_of([-4, 4, n_left], [4, 4, 4], [0, 0, 0]), has_missing=True)
    assert search_one(variant, node).missing_left == missing_left


def test_an_output_without_labels_on_one_side_has_no_vote(variant):
    """The first output would love bin 0 against the rest, but has no hessian in bins 1 and 2."""
    cells = cells_of([-9, 1, 4, 1, 2], [0, 2, 0, 1, 2], [0, -4, 0, 2, 2])
    split = search_one(variant, Node(cells))
    assert split.left == {0, 1}
    assert split.gain == pytest.approx(9 / 2 + 16 / 2 - 1 / 4)


def test_no_vote_no_split(variant):
    cells = cells_of([-9, 1, 4, 0, 2], [0, -3, 0, 3, 2])
    assert search_one(variant, Node(cells)) is None


def test_an_output_of_weight_zero_is_not_heard(variant):
    cells = cells_of([-9, 1, 4, 1, 2], [9, 1, 4, 1, 2], [0, -8, 1, 2, 2])
    heard = search_one(variant, Node(cells, weights=np.array([1.0, 1.0])))
    unheard = search_one(variant, Node(cells, weights=np.array([0.0, 1.0])))
    assert heard.left == {0}
    assert unheard.left == {0, 1}


@pytest.mark.parametrize(("direction", "allowed"), [(-1, False), (0, True), (1, True)])
def test_monotone_constraints_forbid_the_other_direction(variant, direction, allowed):
    """The left value is -2, the right one 2."""
    node = Node(cells_of([4, 2, 2], [-4, 2, 2]), monotone=np.array([direction]))
    assert (search_one(variant, node) is not None) == allowed


def test_equal_gains_go_to_the_first_bin_and_feature(variant):
    kernel = variant("mtgbm.engine._splitting")
    alike = Node(cells_of([1, 1, 1], [-1, 1, 1], [1, 1, 1], [-1, 1, 1]))
    best, (first, second) = search(kernel, [alike, alike])
    assert first.left == second.left == {0}
    assert best == 0


@pytest.mark.parametrize("n_threads", [1, 2, 3, 7])
def test_best_of_several_features(variant, n_threads):
    """Positions count in `columns`, and features left out are not searched."""
    kernel = variant("mtgbm.engine._splitting")
    flat = Node(cells_of([2, 2, 2], [2, 2, 2]))
    weak = Node(cells_of([1, 2, 2], [3, 2, 2]))
    strong = Node(cells_of([0, 2, 2], [4, 2, 2]), is_categorical=True)
    best, splits = search(kernel, [strong, flat, weak, strong], [1, 2, 3], n_threads)
    assert best == 2
    assert splits[0] is None
    assert (splits[1].gain, splits[2].gain) == (pytest.approx(1.0), pytest.approx(4.0))
    assert search(kernel, [flat, flat], n_threads=n_threads)[0] == -1


def test_gain_must_exceed_min_split_gain(variant):
    cells = cells_of([-2, 2, 2], [2, 2, 2])
    assert search_one(variant, Node(cells, rules=free_rules(min_split_gain=4.0))) is None
    assert search_one(variant, Node(cells, rules=free_rules(min_split_gain=3.9))).gain == 4.0
