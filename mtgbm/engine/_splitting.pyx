"""The best split of a node: for each feature, scan its histogram.

The histogram holds row vectors (see _histogram.pyx). For S outputs a split into left and right has

    gain = sum over outputs k of w_k * (score(G_left, H_left) + score(G_right, H_right)
                                        - score(G_node, H_node))        score(G, H) = G^2/(H + l2)

An output votes on a split only if both sides hold at least `min_child_weight` of its hessian: one
that has no labelled rows on one side has nothing to say about it. A split needs one vote at least.

A numeric feature is scanned in three plain loops over contiguous bins, which the compiler turns
into vector code for any number of outputs:

    1. prefix      left[lane][bin] = sum of the cells 0 .. bin
    2. per output  gain[bin] += w_k * (...)
    3. choice      the first bin with the largest gain that respects min_child_samples

Where the node has missing values, this is done with them on the right, then on the left.

Cells are float64 and gains too, or cells are int32 in units of `scales` (see quantization.py): then
sums and differences are taken of the integers, without rounding, and only gains are float32.
Two children are searched in one go, feature by feature, while their cells are in the cache:

    larger child = parent - smaller child      in the parent's memory
"""

from cython.parallel cimport prange
from libc.math cimport INFINITY, fabs
from libc.string cimport memset

from mtgbm.engine._common import SPLIT_DTYPE

from mtgbm.engine._common cimport MAX_BINS, feature_t, int32_t, split_t, uint32_t

import numpy as np

cdef extern from *:
    """
    typedef int mtgbm_int4 __attribute__((vector_size(16), aligned(4), may_alias));

    typedef int mtgbm_int8 __attribute__((vector_size(32), aligned(4), may_alias));

    /* Running sums of 8 lanes, 4 bins at a time, turned over so that bins become neighbours; the
       picture shows 4 lanes, the other 4 go the same way in the upper halves of the registers:

           sums a0 a1 a2 a3   of bin 0                lane 0   a0 b0 c0 d0
                b0 b1 b2 b3          1        ->           1   a1 b1 c1 d1
                c0 c1 c2 c3          2                     2   a2 b2 c2 d2
                d0 d1 d2 d3          3                     3   a3 b3 c3 d3            */
    #define MTGBM_STORE_LANE(lane, x) \\
        *(mtgbm_int4 *)(left + lane * row + bin) = __builtin_shufflevector(x, x, 0, 1, 2, 3); \\
        *(mtgbm_int4 *)(left + (lane + 4) * row + bin) = __builtin_shufflevector(x, x, 4, 5, 6, 7)
    static void mtgbm_prefix_sums8(const int *cells, int n_bins, int lanes, const int *start,
                                   int *left, int row) {
        mtgbm_int8 sum = {0, 0, 0, 0, 0, 0, 0, 0};
        int bin = 0, lane;
        if (start) sum = *(const mtgbm_int8 *)start;
        for (; bin + 4 <= n_bins; bin += 4, cells += 4 * lanes) {
            mtgbm_int8 a = sum + *(const mtgbm_int8 *)cells;
            mtgbm_int8 b = a + *(const mtgbm_int8 *)(cells + lanes);
            mtgbm_int8 c = b + *(const mtgbm_int8 *)(cells + 2 * lanes);
            mtgbm_int8 d = sum = c + *(const mtgbm_int8 *)(cells + 3 * lanes);
            mtgbm_int8 ab01 = __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13);
            mtgbm_int8 ab23 = __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15);
            mtgbm_int8 cd01 = __builtin_shufflevector(c, d, 0, 8, 1, 9, 4, 12, 5, 13);
            mtgbm_int8 cd23 = __builtin_shufflevector(c, d, 2, 10, 3, 11, 6, 14, 7, 15);
            mtgbm_int8 lane0 = __builtin_shufflevector(ab01, cd01, 0, 1, 8, 9, 4, 5, 12, 13);
            mtgbm_int8 lane1 = __builtin_shufflevector(ab01, cd01, 2, 3, 10, 11, 6, 7, 14, 15);
            mtgbm_int8 lane2 = __builtin_shufflevector(ab23, cd23, 0, 1, 8, 9, 4, 5, 12, 13);
            mtgbm_int8 lane3 = __builtin_shufflevector(ab23, cd23, 2, 3, 10, 11, 6, 7, 14, 15);
            MTGBM_STORE_LANE(0, lane0);
            MTGBM_STORE_LANE(1, lane1);
            MTGBM_STORE_LANE(2, lane2);
            MTGBM_STORE_LANE(3, lane3);
        }
        for (; bin < n_bins; bin++, cells += lanes) {
            sum += *(const mtgbm_int8 *)cells;
            for (lane = 0; lane < 8; lane++) left[lane * row + bin] = sum[lane];
        }
    }

    /* The same for 4 lanes. */
    static void mtgbm_prefix_sums4(const int *cells, int n_bins, int lanes, const int *start,
                                   int *left, int row) {
        mtgbm_int4 sum = {0, 0, 0, 0};
        int bin = 0, lane;
        if (start) sum = *(const mtgbm_int4 *)start;
        for (; bin + 4 <= n_bins; bin += 4, cells += 4 * lanes) {
            mtgbm_int4 a = sum + *(const mtgbm_int4 *)cells;
            mtgbm_int4 b = a + *(const mtgbm_int4 *)(cells + lanes);
            mtgbm_int4 c = b + *(const mtgbm_int4 *)(cells + 2 * lanes);
            mtgbm_int4 d = sum = c + *(const mtgbm_int4 *)(cells + 3 * lanes);
            mtgbm_int4 ab01 = __builtin_shufflevector(a, b, 0, 4, 1, 5);
            mtgbm_int4 ab23 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
            mtgbm_int4 cd01 = __builtin_shufflevector(c, d, 0, 4, 1, 5);
            mtgbm_int4 cd23 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
            mtgbm_int4 *to = (mtgbm_int4 *)(left + bin);
            to[0] = __builtin_shufflevector(ab01, cd01, 0, 1, 4, 5);
            to[row / 4] = __builtin_shufflevector(ab01, cd01, 2, 3, 6, 7);
            to[row / 2] = __builtin_shufflevector(ab23, cd23, 0, 1, 4, 5);
            to[row / 4 * 3] = __builtin_shufflevector(ab23, cd23, 2, 3, 6, 7);
        }
        for (; bin < n_bins; bin++, cells += lanes) {
            sum += *(const mtgbm_int4 *)cells;
            for (lane = 0; lane < 4; lane++) left[lane * row + bin] = sum[lane];
        }
    }

    /* The first of the largest of n floats; -1 if none is above 0. The bits of floats above 0 are
       ordered as integers, and maxima and minima of integers are vector code. */
    static int mtgbm_first_largest(const float *x, int n) {
        int largest = 0, first = n, bits, i;
        for (i = 0; i < n; i++) {
            memcpy(&bits, x + i, sizeof bits);
            largest = bits > largest ? bits : largest;
        }
        if (largest == 0) return -1;
        for (i = 0; i < n; i++) {
            memcpy(&bits, x + i, sizeof bits);
            bits = bits == largest ? i : n;
            first = bits < first ? bits : first;
        }
        return first;
    }
    """
    void mtgbm_prefix_sums8(const void *cells, int n_bins, int lanes, const void *start, void *left,
                            int row) noexcept nogil
    void mtgbm_prefix_sums4(const void *cells, int n_bins, int lanes, const void *start, void *left,
                            int row) noexcept nogil
    int mtgbm_first_largest(const void *x, int n) noexcept nogil


cdef packed struct rules_t:
    double l1
    double l2
    double max_delta_step       # 0: no limit
    double min_child_weight
    double min_split_gain
    double cat_l2
    double cat_smooth
    int32_t min_child_samples
    int32_t max_cat_threshold
    int32_t max_cat_to_onehot
    int32_t min_data_per_group
    int32_t plain               # no l1, no max_delta_step, no bounds: the closed formula holds
    int32_t padding


RULES_DTYPE = np.dtype([
    ("l1", np.float64),
    ("l2", np.float64),
    ("max_delta_step", np.float64),
    ("min_child_weight", np.float64),
    ("min_split_gain", np.float64),
    ("cat_l2", np.float64),
    ("cat_smooth", np.float64),
    ("min_child_samples", np.int32),
    ("max_cat_threshold", np.int32),
    ("max_cat_to_onehot", np.int32),
    ("min_data_per_group", np.int32),
    ("plain", np.int32),
    ("padding", np.int32),
])
assert RULES_DTYPE.itemsize == sizeof(rules_t)


ctypedef fused cell_t:
    double
    int32_t

# Gains: double for double cells, float for integers.
ctypedef fused real_t:
    double
    float

cdef enum:
    MAX_GROUPS = 64         # threads of one search
    ROW = MAX_BINS + 16     # of scratch; not a power of 2, which would crowd the cache


# What one output of a node brings to the gain of a split, in units of its cells.
cdef struct output_t:
    double g                    # sums of the node
    double h
    double weight
    double base                 # score of the node
    double floor                # hessian that a side needs for a vote
    double l2


# What the search of one feature reads of its node.
cdef struct node_view:
    const output_t *outputs     # (n_outputs,)
    const double *total         # (lanes,) sums of the node
    const double *scales        # (lanes,) what a cell's unit is worth; 1 for float64 cells
    const double *weights       # (n_outputs,)
    const double *lower         # (n_outputs,) bounds of the node's leaf values, for monotonicity
    const double *upper
    const int32_t *monotone     # (n_outputs,) -1, 0 or 1 for this feature
    int n_outputs
    int lanes


# Scratch of one feature's search, in rows of ROW numbers.
cdef struct scratch_t:
    void *left                  # (lanes, ROW) prefix sums, lane by lane; cell_t
    void *gain                  # (ROW,) real_t
    double *key                 # (ROW,) sort keys of categories
    double *cells               # (MAX_BINS, lanes) cells of a categorical feature as float64
    double *sums                # (lanes,) left sums of a category subset
    double *best_sums           # (lanes,) left sums of the best split so far


cdef inline double _shrink(double g, double l1) noexcept nogil:
    """Soft threshold: the gradient that is left after the L1 penalty."""
    return (fabs(g) - l1 if fabs(g) > l1 else 0.0) * (1.0 if g > 0 else -1.0)


cdef inline double _leaf_value(
    double g, double h, double lower, double upper, const rules_t *rules, double l2,
) noexcept nogil:
    """The value that minimises the loss's second order expansion, within its limits."""
    cdef double value = -_shrink(g, rules.l1) / (h + l2)
    if rules.max_delta_step > 0:
        value = min(max(value, -rules.max_delta_step), rules.max_delta_step)
    return min(max(value, lower), upper)


cdef inline double _score_at(
    double g, double h, double value, const rules_t *rules, double l2,
) noexcept nogil:
    """Twice the loss that a leaf with this value takes away; G^2/(H + l2) at the free optimum."""
    return -(2.0 * _shrink(g, rules.l1) * value + (h + l2) * value * value)


cdef inline double _pair_gain(
    double gl, double hl, double gr, double hr, int k, const node_view *node,
    const rules_t *rules, double l2, double *allowed,
) noexcept nogil:
    """score(left) + score(right) of output k; `allowed` turns 0 where monotonicity forbids it."""
    cdef double left, right
    if rules.plain:
        return gl * gl / (hl + l2) + gr * gr / (hr + l2)
    left = _leaf_value(gl, hl, node.lower[k], node.upper[k], rules, l2)
    right = _leaf_value(gr, hr, node.lower[k], node.upper[k], rules, l2)
    if node.monotone[k] * (right - left) < 0:
        allowed[0] = 0.0
    return _score_at(gl, hl, left, rules, l2) + _score_at(gr, hr, right, rules, l2)


cdef inline double _vote_floor(double h_node, const rules_t *rules) noexcept nogil:
    """Hessian that a side needs: more than the rounding that subtraction leaves of an empty one."""
    return max(rules.min_child_weight, 1e-10 * h_node)


cdef inline double _node_score(
    int k, const node_view *node, const rules_t *rules,
) noexcept nogil:
    cdef:
        double g = node.total[k], h = node.total[node.n_outputs + k]
        double value
    if h <= 0:
        return 0.0
    if rules.plain:
        return g * g / (h + rules.l2)
    value = _leaf_value(g, h, node.lower[k], node.upper[k], rules, rules.l2)
    return _score_at(g, h, value, rules, rules.l2)


cdef void _prefix_sums(
    const cell_t *cells, int n_bins, const cell_t *start, int lanes, cell_t *left,
) noexcept nogil:
    """left[lane][bin]: the cells 0 .. bin, on top of `start` (the missing bin, or nothing)."""
    cdef int lane
    if cell_t is int32_t:
        if lanes == 4:
            mtgbm_prefix_sums4(cells, n_bins, lanes, start, left, ROW)
            return
        for lane in range(0, lanes, 8):
            mtgbm_prefix_sums8(cells + lane, n_bins, lanes, start + lane if start != NULL else NULL,
                               left + lane * ROW, ROW)
    else:
        for lane in range(0, lanes, 4):
            _prefix_sums_of_doubles(cells + lane, n_bins, start + lane if start != NULL else NULL,
                                    lanes, left + lane * ROW)


cdef inline void _prefix_sums_of_doubles(
    const double *cells, int n_bins, const double *start, int lanes, double *left,
) noexcept nogil:
    """Four lanes at a time, since each addition must wait for the one before it in its lane."""
    cdef:
        int bin
        double a = 0, b = 0, c = 0, d = 0
    if start != NULL:
        a, b, c, d = start[0], start[1], start[2], start[3]
    for bin in range(n_bins):
        a += cells[0]
        b += cells[1]
        c += cells[2]
        d += cells[3]
        cells += lanes
        left[bin] = a
        left[ROW + bin] = b
        left[2 * ROW + bin] = c
        left[3 * ROW + bin] = d


cdef void _describe_outputs(
    const node_view *node, const rules_t *rules, output_t *outputs,
) noexcept nogil:
    """Put what the search needs of each output into units of the cells."""
    cdef:
        int k
        double g_unit, h_unit, share_unit
    for k in range(node.n_outputs):
        g_unit = node.scales[k]
        h_unit = node.scales[node.n_outputs + k]
        share_unit = g_unit * g_unit / h_unit
        outputs[k].g = node.total[k] / g_unit
        outputs[k].h = node.total[node.n_outputs + k] / h_unit
        outputs[k].weight = node.weights[k] * share_unit
        outputs[k].base = _node_score(k, node, rules) / share_unit
        outputs[k].floor = _vote_floor(node.total[node.n_outputs + k], rules) / h_unit
        # Beyond this the penalty is all that counts, and products leave the range of float32.
        outputs[k].l2 = min(rules.l2 / h_unit, 1e18)


cdef inline real_t _share(
    real_t gl, real_t hl, real_t gr, real_t hr, real_t base,
) noexcept nogil:
    """Score of both sides less that of the node; hessians come with their l2.

    In float32, of integers below 2^31, there is room for one division instead of two.
    """
    if real_t is float:
        return (gl * gl * hr + gr * gr * hl) / (hl * hr) - base
    return gl * gl / hl + gr * gr / hr - base


cdef void _add_output_gains(
    const output_t *output, int n_bins, const cell_t *g_left, const cell_t *h_left,
    real_t *gain,
) noexcept nogil:
    """Add an output's share to the gain of each threshold at which it votes."""
    cdef:
        int bin
        cell_t g_node = <cell_t> output.g, h_node = <cell_t> output.h
        real_t weight = <real_t> output.weight, base = <real_t> output.base
        real_t floor = <real_t> output.floor, l2 = <real_t> output.l2
        real_t gl, hl, gr, hr, share
    for bin in range(n_bins):
        gl = <real_t> g_left[bin]
        hl = <real_t> h_left[bin]
        gr = <real_t> (g_node - g_left[bin])
        hr = <real_t> (h_node - h_left[bin])
        share = weight * _share(gl, hl + l2, gr, hr + l2, base)
        gain[bin] += share if (hl >= floor) & (hr >= floor) else <real_t> 0


cdef void _add_limited_gains(
    int k, int n_bins, const node_view *node, const rules_t *rules,
    const cell_t *left, real_t *gain,
) noexcept nogil:
    """`_add_output_gains` where leaf values are limited, penalised by l1 or monotone."""
    cdef:
        int h = node.n_outputs + k, bin
        double g_node = node.total[k], h_node = node.total[h], gl, hl, share, allowed
        double base = _node_score(k, node, rules), floor = _vote_floor(h_node, rules)
    for bin in range(n_bins):
        gl = left[k * ROW + bin] * node.scales[k]
        hl = left[h * ROW + bin] * node.scales[h]
        allowed = 1.0
        share = _pair_gain(gl, hl, g_node - gl, h_node - hl, k, node, rules, rules.l2, &allowed)
        if allowed == 0:
            gain[bin] = <real_t> -INFINITY
        elif hl >= floor and h_node - hl >= floor:
            gain[bin] += <real_t> (node.weights[k] * (share - base))


cdef int _choose_bin(
    int n_bins, cell_t n_node, cell_t fewest, const cell_t *n_left, real_t *gain,
) noexcept nogil:
    """The first bin with the largest gain of those that are allowed, -1 if none gains.

    Where no output has voted, there is no gain.
    """
    cdef int bin, best = -1
    for bin in range(n_bins):
        gain[bin] = gain[bin] if ((n_left[bin] >= fewest) & (n_node - n_left[bin] >= fewest)
                                  ) else <real_t> 0
    if real_t is float:
        return mtgbm_first_largest(gain, n_bins)
    for bin in range(n_bins):
        if gain[bin] > (gain[best] if best >= 0 else 0):
            best = bin
    return best


cdef void _scan_thresholds(
    const cell_t *cells, int n_bins, bint missing_left, const cell_t *start,
    const node_view *node, const rules_t *rules, scratch_t *scratch, real_t *gain, split_t *best,
) noexcept nogil:
    """Try every threshold of a numeric feature, missing values on one side; keep the best."""
    cdef:
        int count = 2 * node.n_outputs
        int k, bin, lane
        cell_t *left = <cell_t *> scratch.left
        cell_t *n_left = left + count * ROW
    _prefix_sums(cells, n_bins, start, node.lanes, left)
    memset(gain, 0, n_bins * sizeof(real_t))
    for k in range(node.n_outputs):
        if not rules.plain:
            _add_limited_gains(k, n_bins, node, rules, left, gain)
        elif node.weights[k] != 0:
            _add_output_gains(&node.outputs[k], n_bins, left + k * ROW,
                              left + (node.n_outputs + k) * ROW, gain)
    bin = _choose_bin(n_bins, <cell_t> node.total[count], <cell_t> rules.min_child_samples, n_left,
                      gain)
    if bin >= 0 and gain[bin] > best.gain:
        best.gain = gain[bin]
        best.bin_threshold = bin
        best.n_left = <int32_t> n_left[bin]
        best.missing_left = missing_left
        for lane in range(count + 1):
            scratch.best_sums[lane] = left[lane * ROW + bin] * node.scales[lane]


cdef void _split_numeric(
    const cell_t *cells, const feature_t *feature, const node_view *node,
    const rules_t *rules, scratch_t *scratch, real_t *gain, split_t *best,
) noexcept nogil:
    cdef:
        int count = 2 * node.n_outputs
        const cell_t *missing = cells + feature.n_bins * node.lanes
        bint any_missing = feature.has_missing and missing[count] > 0
        int n_bins = feature.n_bins
    # With missing values on the right, even the last bin is a threshold: present against missing.
    _scan_thresholds(cells, n_bins, False, <const cell_t *> NULL, node, rules, scratch, gain, best)
    if any_missing:
        _scan_thresholds(cells, n_bins - 1, True, missing, node, rules, scratch, gain, best)
    elif 2 * best.n_left > node.total[count]:
        best.missing_left = True        # unseen here: they follow the larger side


cdef double _subset_gain(
    const double *sums, const node_view *node, const rules_t *rules, double l2,
) noexcept nogil:
    """Gain of sending `sums` to the left, -inf if no output votes or a constraint forbids it."""
    cdef:
        int k, n = node.n_outputs
        double gain = 0.0, share, hl, hr, floor, allowed = 1.0
        bint voted = False
    for k in range(n):
        hl = sums[n + k]
        hr = node.total[n + k] - hl
        share = _pair_gain(sums[k], hl, node.total[k] - sums[k], hr, k, node, rules, l2, &allowed)
        floor = _vote_floor(node.total[n + k], rules)
        if hl >= floor and hr >= floor and node.weights[k] != 0:
            gain += node.weights[k] * (share - _node_score(k, node, rules))
            voted = True
    return gain if voted and allowed > 0 else -INFINITY


cdef void _keep_subset(
    const double *sums, double gain, const int *order, int n_taken,
    const node_view *node, scratch_t *scratch, split_t *best,
) noexcept nogil:
    cdef int i, lane, used = 2 * node.n_outputs + 1
    best.gain = gain
    best.n_left = <int32_t> sums[used - 1]
    best.missing_left = False
    memset(best.bitset, 0, sizeof(best.bitset))
    for i in range(n_taken):
        best.bitset[order[i] >> 5] |= (<uint32_t> 1) << (order[i] & 31)
    for lane in range(used):
        scratch.best_sums[lane] = sums[lane]


cdef void _one_against_rest(
    const double *cells, int n_bins, const node_view *node, const rules_t *rules,
    scratch_t *scratch, split_t *best,
) noexcept nogil:
    cdef:
        int bin, count = 2 * node.n_outputs
        const double *cell
        double gain
    for bin in range(n_bins):
        cell = cells + bin * node.lanes
        if (cell[count] < rules.min_child_samples
                or node.total[count] - cell[count] < rules.min_child_samples):
            continue
        gain = _subset_gain(cell, node, rules, rules.l2)
        if gain > best.gain:
            _keep_subset(cell, gain, &bin, 1, node, scratch, best)


cdef int _sort_categories(
    const double *cells, int n_bins, int k, bint descending, const node_view *node,
    const rules_t *rules, double *key, int *order,
) noexcept nogil:
    """Categories of enough rows, by output k's smoothed gradient; returns how many."""
    cdef:
        int bin, at, n = 0, count = 2 * node.n_outputs
        const double *cell
        double value, smoothed
    for bin in range(n_bins):
        cell = cells + bin * node.lanes
        if cell[count] < rules.cat_smooth or cell[count] == 0:
            continue
        smoothed = cell[node.n_outputs + k] + rules.cat_smooth
        value = cell[k] / smoothed if smoothed > 0 else 0.0
        if descending:
            value = -value
        at = n
        while at > 0 and key[at - 1] > value:
            key[at] = key[at - 1]
            order[at] = order[at - 1]
            at -= 1
        key[at] = value
        order[at] = bin
        n += 1
    return n


cdef void _scan_subsets(
    const double *cells, const int *order, int n_sorted, const node_view *node,
    const rules_t *rules, scratch_t *scratch, split_t *best,
) noexcept nogil:
    """Grow a left side category by category along `order`; keep the best."""
    cdef:
        int i, lane, used = 2 * node.n_outputs + 1, count = 2 * node.n_outputs
        int longest = min(rules.max_cat_threshold, (n_sorted + 1) // 2)
        double n_right, gain, in_group = 0.0
        double *sums = scratch.sums
        const double *cell
    memset(sums, 0, used * sizeof(double))
    for i in range(min(longest, n_sorted)):
        cell = cells + order[i] * node.lanes
        for lane in range(used):
            sums[lane] += cell[lane]
        in_group += cell[count]
        n_right = node.total[count] - sums[count]
        if n_right < rules.min_child_samples or n_right < rules.min_data_per_group:
            break
        if sums[count] < rules.min_child_samples or in_group < rules.min_data_per_group:
            continue
        in_group = 0.0
        gain = _subset_gain(sums, node, rules, rules.l2 + rules.cat_l2)
        if gain > best.gain:
            _keep_subset(sums, gain, order, i + 1, node, scratch, best)


cdef void _split_categorical(
    const double *cells, const feature_t *feature, const node_view *node,
    const rules_t *rules, scratch_t *scratch, split_t *best,
) noexcept nogil:
    """Fisher's trick (1958): along each output's own order of categories, try every prefix."""
    cdef:
        int order[MAX_BINS]
        int k, n_sorted
        bint descending
    if feature.n_bins <= rules.max_cat_to_onehot:
        _one_against_rest(cells, feature.n_bins, node, rules, scratch, best)
        return
    for k in range(node.n_outputs):
        if node.weights[k] == 0:
            continue
        for descending in range(2):
            n_sorted = _sort_categories(cells, feature.n_bins, k, descending, node, rules,
                                        scratch.key, order)
            _scan_subsets(cells, order, n_sorted, node, rules, scratch, best)


cdef double _least_gain(
    const node_view *node, const rules_t *rules, double rounding,
) noexcept nogil:
    """What a split must exceed: min_split_gain, and the rounding of the scores it is made of.

    Where every row of a node has the same gradient, gains are nothing but rounding.
    """
    cdef:
        int k
        double score = 0.0
    for k in range(node.n_outputs):
        score += node.weights[k] * fabs(_node_score(k, node, rules))
    return max(rules.min_split_gain, rounding * score)


cdef void _split_feature(
    const cell_t *cells, const feature_t *feature, int32_t column, const node_view *node,
    const rules_t *rules, scratch_t *scratch, split_t *best,
) noexcept nogil:
    """Search one strip of a node's histogram."""
    cdef int i, lane
    memset(best, 0, sizeof(split_t))
    best.feature = column
    best.is_categorical = feature.is_categorical
    best.gain = -INFINITY
    if feature.is_categorical:
        for i in range(feature.n_bins):
            for lane in range(node.lanes):
                scratch.cells[i * node.lanes + lane] = (
                    cells[i * node.lanes + lane] * node.scales[lane])
        _split_categorical(scratch.cells, feature, node, rules, scratch, best)
    elif cell_t is double:
        _split_numeric(cells, feature, node, rules, scratch, <double *> scratch.gain, best)
    else:
        _split_numeric(cells, feature, node, rules, scratch, <float *> scratch.gain, best)


# What is the same for all nodes and features of a tree.
cdef struct search_t:
    const feature_t *features       # (n_features,) of the whole table
    const int32_t *columns          # (n_columns,) those of the tree
    const int32_t *lengths          # (n_columns,) the cells that each of them uses
    const double *weights           # (n_outputs,)
    const double *scales            # (lanes,)
    const int32_t *monotone         # (n_features, n_outputs)
    const rules_t *rules
    Py_ssize_t stride               # cells of a strip
    int n_columns
    int n_outputs
    int lanes


# A node to be searched, and what one thread has found for it so far.
cdef struct target_t:
    void *cells                     # its histogram; its parent's, if there is a sibling
    const void *sibling             # NULL, or that of the sibling, to be taken away
    node_view node
    split_t best
    double *best_sums               # (lanes,)


cdef void _search_strip(
    const search_t *search, target_t *target, int j, cell_t *cells, const cell_t *sibling,
    scratch_t *scratch,
) noexcept nogil:
    """Search a node on the j-th feature of the tree; keep the split if it is the best so far."""
    cdef:
        int lane
        Py_ssize_t i, start = j * search.stride * search.lanes
        int32_t column = search.columns[j]
        split_t split
    cells += start
    if sibling != NULL:
        for i in range(search.lengths[j] * search.lanes):
            cells[i] -= sibling[start + i]
    target.node.monotone = search.monotone + <Py_ssize_t> column * search.n_outputs
    _split_feature(cells, &search.features[column], column, &target.node, search.rules, scratch,
                   &split)
    if split.gain > target.best.gain:
        target.best = split
        for lane in range(2 * search.n_outputs + 1):
            target.best_sums[lane] = scratch.best_sums[lane]


cdef void _search_features(
    const search_t *search, target_t *targets, int n_targets, int first, int last,
    double *memory, cell_t unit,
) noexcept nogil:
    """One thread's share of the features, in its own part of the scratch memory.

    `unit` only says of which type the cells are.
    """
    cdef:
        int j, t
        scratch_t scratch
    scratch.left = memory
    scratch.gain = memory + search.lanes * ROW
    scratch.key = memory + (search.lanes + 1) * ROW
    scratch.sums = scratch.key + ROW
    scratch.best_sums = scratch.sums + search.lanes
    scratch.cells = scratch.best_sums + search.lanes
    for t in range(n_targets):
        targets[t].best_sums = scratch.cells + (MAX_BINS + t) * search.lanes
        targets[t].best.gain = -INFINITY
    for j in range(first, last):
        for t in range(n_targets):
            _search_strip(search, &targets[t], j, <cell_t *> targets[t].cells,
                          <const cell_t *> targets[t].sibling, &scratch)


cdef class SplitSearch:
    """Finds the best splits of the nodes of one tree, which are numbered.

    Parameters
    ----------
    slots : ndarray of uintp
        Addresses of histograms of shape (n_columns, stride, lanes).
    exact : bool
        Whether their cells are float64; int32 otherwise.
    stride : int
    scales : ndarray of float64 of shape (lanes,)
        What the unit of a cell is worth.
    features : ndarray of FEATURE_DTYPE of shape (n_features,)
    columns, lengths : ndarray of int32 of shape (n_columns,)
        The features of the tree, and the cells that each of them uses.
    weights : ndarray of float64 of shape (n_outputs,)
    monotone : ndarray of int32 of shape (n_features, n_outputs)
    rules : ndarray of RULES_DTYPE of shape (1,)
    n_nodes : int
        The most there can be.
    most_threads : int

    Attributes
    ----------
    totals : ndarray of float64 of shape (n_nodes, lanes)
        Sums of each node, to be given before it is searched.
    bounds : ndarray of float64 of shape (n_nodes, 2, n_outputs)
        Limits of each node's leaf values, likewise.
    splits : ndarray of SPLIT_DTYPE of shape (n_nodes,)
        The best split of each node that was searched; its gain is -inf if none is allowed.
    left_totals : ndarray of float64 of shape (n_nodes, lanes)
        Sums of its left side.
    """
    cdef:
        readonly object totals, bounds, splits, left_totals
        search_t search
        bint exact
        const size_t[::1] slots
        double[:, ::1] total_view, left_view
        double[:, :, ::1] bound_view
        split_t[::1] split_view
        double[:, ::1] scratch
        double[:, :, ::1] output_view
        tuple memory                    # keeps alive what the pointers point to

    def __init__(self, const size_t[::1] slots, bint exact, Py_ssize_t stride,
                 const double[::1] scales, const feature_t[::1] features,
                 const int32_t[::1] columns, const int32_t[::1] lengths,
                 const double[::1] weights, const int32_t[:, ::1] monotone,
                 const rules_t[::1] rules, int n_nodes, int most_threads):
        cdef int lanes = scales.shape[0], n_outputs = weights.shape[0]
        self.memory = (scales, features, columns, lengths, weights, monotone, rules)
        self.slots, self.exact = slots, exact
        self.search.features, self.search.columns = &features[0], &columns[0]
        self.search.lengths, self.search.weights = &lengths[0], &weights[0]
        self.search.scales, self.search.monotone = &scales[0], &monotone[0, 0]
        self.search.rules, self.search.stride = &rules[0], stride
        self.search.n_columns, self.search.n_outputs = columns.shape[0], n_outputs
        self.search.lanes = lanes
        self.totals = self.total_view = np.zeros((n_nodes, lanes))
        self.left_totals = self.left_view = np.zeros((n_nodes, lanes))
        self.bounds = self.bound_view = np.zeros((n_nodes, 2, n_outputs))
        self.splits = self.split_view = np.zeros(n_nodes, dtype=SPLIT_DTYPE)
        self.scratch = np.empty((most_threads, (lanes + 2) * ROW + (MAX_BINS + 4) * lanes))
        self.output_view = np.empty((2, n_outputs, sizeof(output_t) // sizeof(double)))

    def find(self, int node, int slot, int n_threads):
        """Search one node, whose histogram is in `slot`; return its gain, -inf for no split."""
        cdef target_t target
        target.cells, target.sibling = <void *> self.slots[slot], NULL
        self._find(&target, &node, 1, n_threads)
        return self.split_view[node].gain

    def find_pair(self, int smaller, int slot, int larger, int parent_slot, int n_threads):
        """Search two children.

        The slot of the parent becomes that of the larger child. Returns both gains.
        """
        cdef:
            target_t targets[2]
            int nodes[2]
        nodes[0], nodes[1] = smaller, larger
        targets[0].cells, targets[0].sibling = <void *> self.slots[slot], NULL
        targets[1].cells, targets[1].sibling = <void *> self.slots[parent_slot], targets[0].cells
        self._find(targets, nodes, 2, n_threads)
        return self.split_view[smaller].gain, self.split_view[larger].gain

    def divide(self, int node, int left):
        """Give the totals of a node's best split to its children, `left` and the next."""
        cdef int lane
        for lane in range(self.search.lanes):
            self.total_view[left, lane] = self.left_view[node, lane]
            self.total_view[left + 1, lane] = (
                self.total_view[node, lane] - self.left_view[node, lane])

    cdef void _find(self, target_t *targets, const int *nodes, int n_targets, int n_threads):
        """Each thread searches some of the features; of equal gains the first feature's is kept."""
        cdef:
            target_t found[2 * MAX_GROUPS]
            int n_groups = min(n_threads, self.search.n_columns, MAX_GROUPS)
            int group, t, n_columns = self.search.n_columns
            const search_t *search = &self.search
            bint exact = self.exact
            double *scratch = &self.scratch[0, 0]
            Py_ssize_t per_group = self.scratch.shape[1]
        for t in range(n_targets):
            self._describe(&targets[t].node, nodes[t], t)
            for group in range(n_groups):
                found[2 * group + t] = targets[t]
        for group in prange(n_groups, nogil=True, schedule="static", num_threads=n_groups):
            if exact:
                _search_features(
                    search, found + 2 * group, n_targets, group * n_columns // n_groups,
                    (group + 1) * n_columns // n_groups, scratch + group * per_group, <double> 0)
            else:
                _search_features(
                    search, found + 2 * group, n_targets, group * n_columns // n_groups,
                    (group + 1) * n_columns // n_groups, scratch + group * per_group, <int32_t> 0)
        for t in range(n_targets):
            self._keep_best(&targets[t].node, nodes[t], found + t, n_groups)

    cdef void _describe(self, node_view *node, int number, int t):
        cdef output_t *outputs = <output_t *> &self.output_view[t, 0, 0]
        node.total = &self.total_view[number, 0]
        node.scales, node.weights = self.search.scales, self.search.weights
        node.lower = &self.bound_view[number, 0, 0]
        node.upper = &self.bound_view[number, 1, 0]
        node.n_outputs, node.lanes = self.search.n_outputs, self.search.lanes
        node.outputs = outputs
        _describe_outputs(node, self.search.rules, outputs)

    cdef void _keep_best(self, const node_view *node, int number, const target_t *found,
                         int n_groups):
        """`found` has the splits of every second target: those of this node."""
        cdef:
            int group, lane
            split_t *best = &self.split_view[number]
        best.gain = -INFINITY
        for group in range(n_groups):
            if found[2 * group].best.gain > best.gain:
                best[0] = found[2 * group].best
                for lane in range(2 * node.n_outputs + 1):
                    self.left_view[number, lane] = found[2 * group].best_sums[lane]
        if best.gain <= _least_gain(node, self.search.rules, 1e-11 if self.exact else 1e-6):
            best.gain = -INFINITY
