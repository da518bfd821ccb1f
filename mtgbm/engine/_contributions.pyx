"""Shapley values of the scores: what each feature of a row adds to each output.

A leaf pays its value to a row whose features satisfy all splits on its path. Of a feature that is
not known, the share of training rows that went the path's way takes the place of yes or no:

      x0 <= 1   100 rows          the path of leaf 1 has two features:
       /     \\                        x0: share z = 60/100 * 30/45,  o = 1 if 0 < x0 <= 1
      60     40                       x1: share z = 45/60,           o = 1 if x1 <= 5
    x1 <= 5                       o: does the row satisfy every split of the feature on the path?
     /   \\                        leaf 1 with the features of a set S known:
    45   15                           value * product of o over S * product of z over the others
  x0 <= 0
   /   \\
  15   30   <- leaf 1

The Shapley value of feature j in that game is an integral over the share t of features known:

    value * integral from 0 to 1 of (o_j - z_j) * product over i != j of ((1 - t) z_i + t o_i) dt

With d features on the path the integrand has degree d - 1, so that Gauss' rule of d / 2 points,
rounded up, is exact. No factor is negative and none is divided out again: nothing cancels. All but
`value` is the same for every output. Rows are taken in blocks, as vectors:

    for each block of rows (threads)
        columns[used feature][row] of the block
        for each tree, for each leaf from left to right
            hot[split on the path][row]: does the row satisfy this split, and all earlier ones of
                                         the same feature?
            sums[used feature][output][row] += weight[feature][row] * value[output]

References: Lundberg et al., "From local explanations to global understanding with explainable AI
for trees", Nature Machine Intelligence 2020 (the game). Owen, "Multilinear Extensions of Games",
Management Science 1972 (the integral).
"""

from cython.parallel cimport prange, threadid
from libc.string cimport memset

from mtgbm.engine._common cimport MAX_BINS, BITSET_WORDS, int32_t, node_t, raw_t, uint32_t

cdef extern from *:
    """
    /* A vector as wide as the registers: wider ones are taken apart badly. */
    #if defined(__AVX512F__)
    #define MTGBM_WIDTH 64
    #elif defined(__AVX2__)
    #define MTGBM_WIDTH 32
    #else
    #define MTGBM_WIDTH 16
    #endif
    #define MTGBM_VECTOR __attribute__((vector_size(MTGBM_WIDTH), may_alias))
    typedef double mtgbm_doubles MTGBM_VECTOR;
    typedef long long mtgbm_masks MTGBM_VECTOR;
    #define MTGBM_ALL(x) ((mtgbm_doubles) {0} + (x))
    /* NaN fails every comparison. */
    #define MTGBM_AT_MOST(x, t) ((mtgbm_masks) ((x) <= MTGBM_ALL(t)))
    #define MTGBM_NOT_ABOVE(x, t) (~(mtgbm_masks) ((x) > MTGBM_ALL(t)))
    #define MTGBM_WHERE(mask, x) ((mtgbm_doubles) ((mask) & (mtgbm_masks) MTGBM_ALL(x)))
    #define MTGBM_CHOOSE(mask, yes, no) ((mtgbm_doubles) ( \\
        ((mask) & (mtgbm_masks) (yes)) | (~(mask) & (mtgbm_masks) (no))))
    """
    enum:
        MTGBM_WIDTH
    # To Cython these are numbers; in C they are lanes, a row each.
    ctypedef double doubles_t "mtgbm_doubles"
    ctypedef long long masks_t "mtgbm_masks"
    doubles_t MTGBM_ALL(double x) noexcept nogil
    masks_t MTGBM_AT_MOST(doubles_t x, double threshold) noexcept nogil
    masks_t MTGBM_NOT_ABOVE(doubles_t x, double threshold) noexcept nogil
    # x where the mask is set, else 0; one or the other.
    doubles_t MTGBM_WHERE(masks_t mask, double x) noexcept nogil
    doubles_t MTGBM_CHOOSE(masks_t mask, doubles_t yes, doubles_t no) noexcept nogil

cdef enum:
    LANES = MTGBM_WIDTH // 8
    MOST_IN_REGISTERS = 6   # points of a rule whose loops are unrolled

VECTOR_ROWS = 8     # of the widest vector: blocks are a multiple of it on any machine


# A split on the path to the present node.
cdef struct split_on_path_t:
    int32_t node            # position in its tree
    int32_t column
    int32_t previous        # the last split above on the same feature; -1: there is none
    bint right              # which way the path goes
    bint is_last            # no later split on the path has the same feature
    double share            # of training rows that go the path's way in this and all previous ones

# A feature on the path to the present leaf.
cdef struct feature_on_path_t:
    const masks_t *hot      # rows that satisfy its splits
    doubles_t *sums         # [output][vector of rows]
    double share

# What all blocks share.
cdef struct forest_t:
    const node_t *nodes
    const double *shares
    const int32_t *roots
    const int32_t *first_leaf
    int n_trees
    const uint32_t *bitsets
    const double *values
    int n_outputs
    const int32_t *features
    const int32_t *column_of
    int n_columns
    const double *rules     # [number of points][t or weight][point]
    int most_points
    int n_vectors           # of rows in a block
    int longest_path

# What a thread needs for a block.
cdef struct scratch_t:
    doubles_t *columns      # [used feature][vector of rows]
    doubles_t *sums         # [used feature][output][vector of rows]
    masks_t *hot            # [split on the path][vector of rows]
    doubles_t *products     # [point]
    split_on_path_t *path
    feature_on_path_t *features
    double *cold            # [feature on the path][point] (1 - t) z
    # o - z over the feature's own factor, which the product holds already:
    double *gain            # [feature on the path][point] (1 - z) / ((1 - t) z + t) if hot
    double *loss            # [point] -1 / (1 - t), of any cold feature


cdef inline bint _in_subset(
    const node_t *node, double x, const uint32_t *bitsets,
) noexcept nogil:
    cdef int category
    if not 0 <= x < MAX_BINS:
        return False
    category = <int> x
    bitsets += <Py_ssize_t> node.bitset * BITSET_WORDS
    return (bitsets[category >> 5] >> (category & 31)) & 1


cdef inline void _test_rows(
    const node_t *node, const uint32_t *bitsets, const doubles_t *column, int n_vectors,
    masks_t *left,
) noexcept nogil:
    """All bits set where a row goes left."""
    cdef:
        int v, i
        const double *x = <const double *> column
        long long *each = <long long *> left
    if node.bitset >= 0:
        for i in range(n_vectors * LANES):
            each[i] = -<long long> (
                node.missing_left if x[i] != x[i] else _in_subset(node, x[i], bitsets))
    elif node.missing_left:
        for v in range(n_vectors):
            left[v] = MTGBM_NOT_ABOVE(column[v], node.threshold)
    else:
        for v in range(n_vectors):
            left[v] = MTGBM_AT_MOST(column[v], node.threshold)


cdef inline void _go_left(
    const forest_t *forest, int32_t root, int32_t node, int depth, const scratch_t *scratch,
    int n_vectors,
) noexcept nogil:
    """Add a split to the path, its left side first."""
    cdef:
        int v, e
        const node_t *split = forest.nodes + root + node
        split_on_path_t *step = scratch.path + depth
        masks_t *hot = scratch.hot + depth * forest.n_vectors
        const masks_t *earlier
    step.node = node
    step.right = False
    step.column = forest.column_of[split.feature]
    step.share = forest.shares[root + split.left]
    step.previous = -1
    _test_rows(split, forest.bitsets, scratch.columns + step.column * forest.n_vectors, n_vectors,
               hot)
    for e in range(depth):
        if scratch.path[e].column == step.column:
            step.previous = e
    if step.previous >= 0:
        step.share *= scratch.path[step.previous].share
        earlier = scratch.hot + step.previous * forest.n_vectors
        for v in range(n_vectors):
            hot[v] &= earlier[v]


cdef inline void _turn_right(
    const forest_t *forest, int32_t root, int depth, const scratch_t *scratch, int n_vectors,
) noexcept nogil:
    """Lead the path through the right side of its last split."""
    cdef:
        int v
        split_on_path_t *step = scratch.path + depth
        masks_t *hot = scratch.hot + depth * forest.n_vectors
        const masks_t *earlier
    step.right = True
    step.share = forest.shares[root + forest.nodes[root + step.node].right]
    for v in range(n_vectors):
        hot[v] = ~hot[v]
    if step.previous >= 0:
        step.share *= scratch.path[step.previous].share
        earlier = scratch.hot + step.previous * forest.n_vectors
        for v in range(n_vectors):
            hot[v] &= earlier[v]


cdef inline int _list_features(
    const forest_t *forest, const scratch_t *scratch, int depth,
) noexcept nogil:
    """The features on the path by their last splits; returns how many there are."""
    cdef:
        int e, n = 0
        split_on_path_t *path = scratch.path
    for e in range(depth):
        path[e].is_last = True
        if path[e].previous >= 0:
            path[path[e].previous].is_last = False
    for e in range(depth):
        if path[e].is_last:
            scratch.features[n].hot = scratch.hot + e * forest.n_vectors
            scratch.features[n].sums = scratch.sums + (
                <Py_ssize_t> path[e].column * forest.n_outputs * forest.n_vectors)
            scratch.features[n].share = path[e].share
            n += 1
    return n


cdef inline void _fill_factors(
    const scratch_t *scratch, const double *points, int n_features, int n_points,
) noexcept nogil:
    """What depends on the leaf, not on the row."""
    cdef:
        int j, q
        double share, t
    for q in range(n_points):
        scratch.loss[q] = -1.0 / (1.0 - points[q])
    for j in range(n_features):
        share = scratch.features[j].share
        for q in range(n_points):
            t = points[q]
            scratch.cold[j * n_points + q] = (1.0 - t) * share
            scratch.gain[j * n_points + q] = (1.0 - share) / ((1.0 - t) * share + t)


cdef inline void _add_rows(
    const scratch_t *scratch, const double *points, const double *weights, int n_features,
    const int n_points, doubles_t *products, const double *value, int n_outputs,
    Py_ssize_t stride, int n_vectors,
) noexcept nogil:
    """Add a leaf's contributions; loops over a literal `n_points` are unrolled."""
    cdef:
        int v, q, j, k
        const feature_on_path_t *features = scratch.features
        const double *cold = scratch.cold
        const double *gain = scratch.gain
        const double *loss = scratch.loss
        doubles_t absent, present
        masks_t hot
        doubles_t *sums
    for v in range(n_vectors):
        for q in range(n_points):
            products[q] = MTGBM_ALL(weights[q])
        for j in range(n_features):
            hot = features[j].hot[v]
            for q in range(n_points):
                products[q] = products[q] * (
                    MTGBM_WHERE(hot, points[q]) + cold[j * n_points + q])
        absent = products[0] * loss[0]
        for q in range(1, n_points):
            absent = absent + products[q] * loss[q]
        for j in range(n_features):
            present = products[0] * gain[j * n_points]
            for q in range(1, n_points):
                present = present + products[q] * gain[j * n_points + q]
            present = MTGBM_CHOOSE(features[j].hot[v], present, absent)
            sums = features[j].sums + v
            for k in range(n_outputs):
                sums[k * stride] += present * value[k]


cdef inline void _add_leaf(
    const forest_t *forest, const scratch_t *scratch, int depth, const double *value,
    int n_vectors,
) noexcept nogil:
    """Choose the loop compiled for this number of points."""
    cdef:
        int F = _list_features(forest, scratch, depth), n = (F + 1) // 2
        int K = forest.n_outputs, V = forest.n_vectors
        const double *t = forest.rules + 2 * n * forest.most_points
        const double *weights = t + forest.most_points
        doubles_t own[MOST_IN_REGISTERS]
    _fill_factors(scratch, t, F, n)
    if n == 1:
        _add_rows(scratch, t, weights, F, 1, own, value, K, V, n_vectors)
    elif n == 2:
        _add_rows(scratch, t, weights, F, 2, own, value, K, V, n_vectors)
    elif n == 3:
        _add_rows(scratch, t, weights, F, 3, own, value, K, V, n_vectors)
    elif n == 4:
        _add_rows(scratch, t, weights, F, 4, own, value, K, V, n_vectors)
    elif n == 5:
        _add_rows(scratch, t, weights, F, 5, own, value, K, V, n_vectors)
    elif n == 6:
        _add_rows(scratch, t, weights, F, 6, own, value, K, V, n_vectors)
    else:
        _add_rows(scratch, t, weights, F, n, scratch.products, value, K, V, n_vectors)


cdef inline void _add_tree(
    const forest_t *forest, int t, const scratch_t *scratch, int n_vectors,
) noexcept nogil:
    """Visit the leaves from left to right."""
    cdef:
        int32_t root = forest.roots[t], node = 0
        const node_t *tree = forest.nodes + root
        const double *values = forest.values + <Py_ssize_t> forest.first_leaf[
            t] * forest.n_outputs
        int depth = 0
    if tree.leaf >= 0:
        return
    while True:
        while tree[node].leaf < 0:
            _go_left(forest, root, node, depth, scratch, n_vectors)
            depth += 1
            node = tree[node].left
        _add_leaf(forest, scratch, depth, values + tree[node].leaf * forest.n_outputs, n_vectors)
        while depth > 0 and scratch.path[depth - 1].right:
            depth -= 1
        if depth == 0:
            return
        _turn_right(forest, root, depth - 1, scratch, n_vectors)
        node = tree[scratch.path[depth - 1].node].right


cdef inline void _add_block(
    const raw_t *X, Py_ssize_t row_stride, Py_ssize_t column_stride, Py_ssize_t n_rows,
    const forest_t *forest, const scratch_t *scratch, double *out, Py_ssize_t width,
) noexcept nogil:
    """The rows of a block; those that fill the last vector are computed in vain."""
    cdef:
        Py_ssize_t i
        int j, k, t, K = forest.n_outputs
        Py_ssize_t stride = forest.n_vectors * LANES
        double *column = <double *> scratch.columns
        const double *sums = <const double *> scratch.sums
    for j in range(forest.n_columns):
        for i in range(n_rows):
            column[j * stride + i] = X[i * row_stride + forest.features[j] * column_stride]
    memset(scratch.sums, 0, <size_t> forest.n_columns * K * stride * sizeof(double))
    for t in range(forest.n_trees):
        _add_tree(forest, t, scratch, <int> ((n_rows + LANES - 1) // LANES))
    for i in range(n_rows):
        for k in range(K):
            for j in range(forest.n_columns):
                out[(i * K + k) * width + forest.features[j]] = sums[
                    (<Py_ssize_t> j * K + k) * stride + i]


cdef inline Py_ssize_t _in_vectors(Py_ssize_t n_bytes) noexcept nogil:
    """Doubles of whole cache lines that hold so many bytes."""
    return (n_bytes + 63) // 64 * 8


def scratch_size(Py_ssize_t block_rows, Py_ssize_t n_columns, Py_ssize_t n_outputs,
                 Py_ssize_t longest_path, Py_ssize_t most_points):
    """Doubles that a thread needs: the sum of the parts that `_share_out` hands out."""
    return (
        block_rows * (n_columns + n_columns * n_outputs + longest_path)
        + _in_vectors(most_points * MTGBM_WIDTH)
        + _in_vectors(longest_path * sizeof(split_on_path_t))
        + _in_vectors(longest_path * sizeof(feature_on_path_t))
        + 2 * longest_path * most_points
        + most_points
        + 8  # to a whole number of cache lines, so that the next thread's part is aligned
    ) // 8 * 8


cdef inline scratch_t _share_out(double *memory, const forest_t *forest) noexcept nogil:
    """The parts of a thread's scratch memory."""
    cdef:
        scratch_t scratch
        Py_ssize_t n_columns = forest.n_columns, longest_path = forest.longest_path
        Py_ssize_t block_rows = forest.n_vectors * LANES
    scratch.columns = <doubles_t *> memory
    memory += block_rows * n_columns
    scratch.sums = <doubles_t *> memory
    memory += block_rows * n_columns * forest.n_outputs
    scratch.hot = <masks_t *> memory
    memory += block_rows * longest_path
    scratch.products = <doubles_t *> memory
    memory += _in_vectors(forest.most_points * MTGBM_WIDTH)
    scratch.path = <split_on_path_t *> memory
    memory += _in_vectors(longest_path * sizeof(split_on_path_t))
    scratch.features = <feature_on_path_t *> memory
    memory += _in_vectors(longest_path * sizeof(feature_on_path_t))
    scratch.cold = memory
    memory += longest_path * forest.most_points
    scratch.gain = memory
    memory += longest_path * forest.most_points
    scratch.loss = memory
    return scratch


def write_contributions(
    const raw_t[:, :] X,               # IN (n_rows, n_features) raw values, any strides
    const node_t[::1] nodes,           # IN the nodes of all trees
    const double[::1] shares,          # IN (n_nodes,) training rows, as a share of the parent's
    const int32_t[::1] roots,          # IN (n_trees,) position of each root in `nodes`
    const int32_t[::1] first_leaf,     # IN (n_trees,) row of each tree's leaf 0 in `values`
    const uint32_t[:, ::1] bitsets,    # IN (n_category_splits or 1, BITSET_WORDS)
    const double[:, ::1] values,       # IN (n_leaves, n_outputs)
    const int32_t[::1] features,       # IN (n_columns,) the features that occur
    const int32_t[::1] column_of,      # IN (n_features,) position in `features`
    const double[:, :, ::1] rules,     # IN (most_points + 1, 2, most_points) Gauss' points on
                                       #    (0, 1) and their weights, by number of points
    int longest_path,                  # IN most splits above a leaf
    int block_rows,                    # IN rows of a block, a multiple of VECTOR_ROWS
    double[:, ::1] scratch,            # (n_threads, scratch_size(...)), aligned
    double[:, :, ::1] out,             # OUT (n_rows, n_outputs, n_features + 1): only the columns
                                       #     of features that occur are written
    int n_threads,
):
    """Write the Shapley values of raw rows."""
    cdef:
        Py_ssize_t n_rows = X.shape[0]
        Py_ssize_t n_blocks = (n_rows + block_rows - 1) // block_rows
        Py_ssize_t block, first
        Py_ssize_t row_stride = X.strides[0] // <Py_ssize_t> sizeof(raw_t)
        Py_ssize_t column_stride = X.strides[1] // <Py_ssize_t> sizeof(raw_t)
        forest_t forest
        scratch_t own
    if n_rows == 0 or features.shape[0] == 0:
        return
    forest.nodes = &nodes[0]
    forest.shares = &shares[0]
    forest.roots = &roots[0]
    forest.first_leaf = &first_leaf[0]
    forest.n_trees = roots.shape[0]
    forest.bitsets = &bitsets[0, 0]
    forest.values = &values[0, 0]
    forest.n_outputs = values.shape[1]
    forest.features = &features[0]
    forest.column_of = &column_of[0]
    forest.n_columns = features.shape[0]
    forest.rules = &rules[0, 0, 0]
    forest.most_points = rules.shape[2]
    forest.n_vectors = block_rows // LANES
    forest.longest_path = longest_path
    for block in prange(n_blocks, nogil=True, schedule="dynamic", num_threads=n_threads):
        first = block * block_rows
        own = _share_out(&scratch[threadid(), 0], &forest)
        _add_block(&X[0, 0] + first * row_stride, row_stride, column_stride,
                   min(<Py_ssize_t> block_rows, n_rows - first), &forest, &own,
                   &out[first, 0, 0], out.shape[2])
