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
"""

from cython.parallel cimport prange
from libc.math cimport INFINITY, fabs
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from mtgbm.engine._common cimport MAX_BINS, feature_t, int32_t, split_t, uint32_t

import numpy as np


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


# What the search of one feature reads of its node.
cdef struct node_view:
    const double *total         # (lanes,) sums of the node
    const double *weights       # (n_outputs,)
    const double *lower         # (n_outputs,) bounds of the node's leaf values, for monotonicity
    const double *upper
    const int32_t *monotone     # (n_outputs,) -1, 0 or 1 for this feature
    int n_outputs
    int lanes


# Scratch of one feature's search; MAX_BINS wide rows.
cdef struct scratch_t:
    double *left                # (lanes, MAX_BINS) prefix sums, lane by lane
    double *gain                # (MAX_BINS,)
    double *votes               # (MAX_BINS,) > 0 where any output votes
    double *allowed             # (MAX_BINS,) 0 where a monotone constraint forbids the split
    double *key                 # (MAX_BINS,) sort keys of categories
    double *sums                # (2 * n_outputs + 1,) left sums of a category subset
    double *best_sums           # (2 * n_outputs + 1,) left sums of the best split so far


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
    const double *cells, int n_bins, const double *start, const node_view *node, double *left,
) noexcept nogil:
    """left[lane][bin]: the cells 0 .. bin, on top of `start` (the missing bin, or nothing).

    Four lanes at a time, since each addition must wait for the one before it in its lane.
    """
    cdef:
        int lane, bin
        double a, b, c, d
        const double *cell
        double *to
    for lane in range(0, node.lanes, 4):
        to = left + lane * MAX_BINS
        a = start[lane] if start != NULL else 0.0
        b = start[lane + 1] if start != NULL else 0.0
        c = start[lane + 2] if start != NULL else 0.0
        d = start[lane + 3] if start != NULL else 0.0
        for bin in range(n_bins):
            cell = cells + bin * node.lanes + lane
            a += cell[0]
            b += cell[1]
            c += cell[2]
            d += cell[3]
            to[bin] = a
            to[MAX_BINS + bin] = b
            to[2 * MAX_BINS + bin] = c
            to[3 * MAX_BINS + bin] = d


cdef void _add_output_gains(
    int k, int n_bins, const node_view *node, const rules_t *rules, scratch_t *scratch,
) noexcept nogil:
    """Add output k's share to the gain of each threshold at which it votes."""
    cdef:
        const double *g_left = scratch.left + k * MAX_BINS
        const double *h_left = scratch.left + (node.n_outputs + k) * MAX_BINS
        double *gain = scratch.gain
        double *votes = scratch.votes
        double g_node = node.total[k], h_node = node.total[node.n_outputs + k]
        double weight = node.weights[k], base = _node_score(k, node, rules)
        double floor = _vote_floor(h_node, rules), l2 = rules.l2
        double gl, hl, gr, hr, share, vote
        int bin
    if rules.plain:
        for bin in range(n_bins):
            gl = g_left[bin]
            hl = h_left[bin]
            gr = g_node - gl
            hr = h_node - hl
            vote = 1.0 if (hl >= floor) & (hr >= floor) else 0.0
            share = gl * gl / (hl + l2) + gr * gr / (hr + l2) - base
            gain[bin] += weight * share if vote > 0 else 0.0
            votes[bin] += vote
        return
    for bin in range(n_bins):
        gl = g_left[bin]
        hl = h_left[bin]
        gr = g_node - gl
        hr = h_node - hl
        share = _pair_gain(gl, hl, gr, hr, k, node, rules, l2, &scratch.allowed[bin]) - base
        if hl >= floor and hr >= floor:
            gain[bin] += weight * share
            votes[bin] += 1.0


cdef void _scan_thresholds(
    const double *cells, int n_bins, bint missing_left, const double *start,
    const node_view *node, const rules_t *rules, scratch_t *scratch, split_t *best,
) noexcept nogil:
    """Try every threshold of a numeric feature, missing values on one side; keep the best."""
    cdef:
        const double *n_left = scratch.left + 2 * node.n_outputs * MAX_BINS
        double n_node = node.total[2 * node.n_outputs]
        double fewest = rules.min_child_samples
        int k, bin, lane
    _prefix_sums(cells, n_bins, start, node, scratch.left)
    for bin in range(n_bins):
        scratch.gain[bin] = 0.0
        scratch.votes[bin] = 0.0
        scratch.allowed[bin] = 1.0
    for k in range(node.n_outputs):
        if node.weights[k] != 0 or node.monotone[k] != 0:
            _add_output_gains(k, n_bins, node, rules, scratch)
    for bin in range(n_bins):
        if (scratch.gain[bin] > best.gain and scratch.votes[bin] > 0 and scratch.allowed[bin] > 0
                and n_left[bin] >= fewest and n_node - n_left[bin] >= fewest):
            best.gain = scratch.gain[bin]
            best.bin_threshold = bin
            best.n_left = <int32_t> n_left[bin]
            best.missing_left = missing_left
            for lane in range(2 * node.n_outputs + 1):
                scratch.best_sums[lane] = scratch.left[lane * MAX_BINS + bin]


cdef void _split_numeric(
    const double *cells, const feature_t *feature, const node_view *node,
    const rules_t *rules, scratch_t *scratch, split_t *best,
) noexcept nogil:
    cdef:
        int count = 2 * node.n_outputs
        const double *missing = cells + feature.n_bins * node.lanes
        bint any_missing = feature.has_missing and missing[count] > 0
    # With missing values on the right, even the last bin is a threshold: present against missing.
    _scan_thresholds(cells, feature.n_bins, False, NULL, node, rules, scratch, best)
    if any_missing:
        _scan_thresholds(cells, feature.n_bins - 1, True, missing, node, rules, scratch, best)
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


cdef double _least_gain(const node_view *node, const rules_t *rules) noexcept nogil:
    """What a split must exceed: min_split_gain, and the rounding of the scores it is made of.

    Where every row of a node has the same gradient, gains are nothing but rounding.
    """
    cdef:
        int k
        double score = 0.0
    for k in range(node.n_outputs):
        score += node.weights[k] * fabs(_node_score(k, node, rules))
    return max(rules.min_split_gain, 1e-11 * score)


cdef void _split_feature(
    const double *histogram, const feature_t *feature, int32_t column, const node_view *node,
    const rules_t *rules, scratch_t *scratch, split_t *best,
) noexcept nogil:
    cdef const double *cells = histogram + <Py_ssize_t> feature.offset * node.lanes
    memset(best, 0, sizeof(split_t))
    best.feature = column
    best.is_categorical = feature.is_categorical
    best.gain = -INFINITY
    if feature.is_categorical:
        _split_categorical(cells, feature, node, rules, scratch, best)
    else:
        _split_numeric(cells, feature, node, rules, scratch, best)
    if best.gain <= _least_gain(node, rules):
        best.gain = -INFINITY


def find_splits(
    const double[:, ::1] histogram,        # IN (total bins, lanes)
    const double[::1] total,               # IN (lanes,) sums of the node
    const feature_t[::1] features,         # IN all features
    const int32_t[::1] columns,            # IN the features to try
    const double[::1] weights,             # IN (n_outputs,)
    const double[:, ::1] bounds,           # IN (2, n_outputs) limits of the node's leaf values
    const int32_t[:, ::1] monotone,        # IN (n_features, n_outputs)
    const rules_t[::1] rules,              # IN one record
    split_t[::1] splits,                   # OUT (len(columns),)
    double[:, ::1] left_sums,              # OUT (len(columns), lanes)
    int n_threads,
):
    """Find each feature's best split and the sums of its left side.

    Returns
    -------
    int
        The position in `columns` of the best of them, the first of equals; -1 if none is allowed.
    """
    cdef:
        int n_columns = columns.shape[0]
        int n_outputs = weights.shape[0]
        int used = 2 * n_outputs + 1
        int n_groups = min(n_threads, n_columns)
        int group, i, best = -1
        double *memory
        Py_ssize_t per_group = (histogram.shape[1] + 4) * MAX_BINS + 2 * used
    memory = <double *> malloc(n_groups * per_group * sizeof(double))
    if memory == NULL:
        raise MemoryError("no memory for the scratch of the split search")
    with nogil:
        for group in prange(n_groups, schedule="static", num_threads=n_threads):
            _split_group(
                group * n_columns // n_groups, (group + 1) * n_columns // n_groups,
                memory + group * per_group, &histogram[0, 0], &total[0], &features[0],
                &columns[0], &weights[0], &bounds[0, 0], &monotone[0, 0], n_outputs,
                histogram.shape[1], &rules[0], &splits[0], &left_sums[0, 0])
    free(memory)
    for i in range(n_columns):
        if splits[i].gain > -INFINITY and (best < 0 or splits[i].gain > splits[best].gain):
            best = i
    return best


cdef void _split_group(
    int first, int last, double *memory, const double *histogram, const double *total,
    const feature_t *features, const int32_t *columns, const double *weights,
    const double *bounds, const int32_t *monotone, int n_outputs, int lanes,
    const rules_t *rules, split_t *splits, double *left_sums,
) noexcept nogil:
    """One thread's share of the features, in its own part of the scratch memory."""
    cdef:
        int i, lane, used = 2 * n_outputs + 1
        node_view node
        scratch_t scratch
    scratch.left = memory
    scratch.gain = memory + lanes * MAX_BINS
    scratch.votes = scratch.gain + MAX_BINS
    scratch.allowed = scratch.votes + MAX_BINS
    scratch.key = scratch.allowed + MAX_BINS
    scratch.sums = scratch.key + MAX_BINS
    scratch.best_sums = scratch.sums + used
    node.total = total
    node.weights = weights
    node.lower = bounds
    node.upper = bounds + n_outputs
    node.n_outputs = n_outputs
    node.lanes = lanes
    for i in range(first, last):
        node.monotone = monotone + <Py_ssize_t> columns[i] * n_outputs
        _split_feature(histogram, &features[columns[i]], columns[i], &node, rules, &scratch,
                       &splits[i])
        for lane in range(lanes):
            left_sums[<Py_ssize_t> i * lanes + lane] = (
                scratch.best_sums[lane] if lane < used and splits[i].gain > -INFINITY else 0.0)
