"""Walks: from a row to its leaf, one walk a tree for all outputs.

All trees of a forest stand in one array of nodes; `roots` says where each starts and children are
counted from there. Rows are taken in blocks small enough to stay in the cache while every tree
passes over them:

    for each block of rows (threads)
        for each tree
            for each row of the block: walk, then scores[row] += values[leaf]

Walks serve single rows, trees of many leaves and binned rows; `_scorer.pyx` does the rest.
"""

from cython.parallel cimport prange

from mtgbm.engine._common cimport (
    BITSET_WORDS, MAX_BINS, int32_t, node_t, raw_t, uint8_t, uint32_t,
)

cdef enum:
    BLOCK_ROWS = 128


cdef inline bint _in_subset(
    const node_t *node, int category, const uint32_t *bitsets,
) noexcept nogil:
    cdef const uint32_t *bitset = bitsets + <Py_ssize_t> node.bitset * BITSET_WORDS
    return (bitset[category >> 5] >> (category & 31)) & 1


cdef inline int32_t _walk(
    const node_t *tree, const uint32_t *bitsets, const raw_t *row, Py_ssize_t stride,
) noexcept nogil:
    """The leaf of a raw row: NaN goes the way the node says, categories are bin numbers."""
    cdef:
        const node_t *node = tree
        double x
        bint left
    while node.leaf < 0:
        x = row[node.feature * stride]
        if x != x:
            left = node.missing_left
        elif node.bitset < 0:
            left = x <= node.threshold
        else:
            left = 0 <= x < MAX_BINS and _in_subset(node, <int> x, bitsets)
        node = tree + (node.left if left else node.right)
    return node.leaf


cdef inline int32_t _walk_binned(
    const node_t *tree, const uint32_t *bitsets, const uint8_t *row,
) noexcept nogil:
    """The leaf of a binned row."""
    cdef:
        const node_t *node = tree
        int bin
        bint left
    while node.leaf < 0:
        bin = row[node.feature]
        if bin == node.missing_bin:
            left = node.missing_left
        elif node.bitset < 0:
            left = bin <= node.bin_threshold
        else:
            left = _in_subset(node, bin, bitsets)
        node = tree + (node.left if left else node.right)
    return node.leaf


cdef inline void _add_block(
    const raw_t *X, Py_ssize_t row_stride, Py_ssize_t column_stride, Py_ssize_t n_rows,
    const node_t *nodes, const int32_t *roots, const int32_t *first_leaf, int n_trees,
    const uint32_t *bitsets, const double *values, int n_outputs, double *scores,
) noexcept nogil:
    cdef:
        int t, k
        Py_ssize_t i
        const double *value
    for t in range(n_trees):
        for i in range(n_rows):
            value = values + n_outputs * <Py_ssize_t> (first_leaf[t] + _walk(
                nodes + roots[t], bitsets, X + i * row_stride, column_stride))
            for k in range(n_outputs):
                scores[i * n_outputs + k] += value[k]


def add_forest(
    const raw_t[:, :] X,               # IN (n_rows, n_features) raw values, any strides
    const node_t[::1] nodes,           # IN the nodes of all trees
    const int32_t[::1] roots,          # IN (n_trees,) position of each root in `nodes`
    const int32_t[::1] first_leaf,     # IN (n_trees,) row of each tree's leaf 0 in `values`
    const uint32_t[:, ::1] bitsets,    # IN (n_category_splits or 1, BITSET_WORDS)
    const double[:, ::1] values,       # IN (n_leaves, n_outputs)
    double[:, ::1] scores,             # IN OUT (n_rows, n_outputs)
    int n_threads,
):
    """Add every tree's values to the scores of raw rows."""
    cdef:
        Py_ssize_t n_rows = X.shape[0]
        Py_ssize_t n_blocks = (n_rows + BLOCK_ROWS - 1) // BLOCK_ROWS
        Py_ssize_t block, first
        Py_ssize_t row_stride = X.strides[0] // <Py_ssize_t> sizeof(raw_t)
        Py_ssize_t column_stride = X.strides[1] // <Py_ssize_t> sizeof(raw_t)
        int n_trees = roots.shape[0], n_outputs = values.shape[1]
    if n_rows == 0 or n_trees == 0:
        return
    for block in prange(n_blocks, nogil=True, schedule="static", num_threads=n_threads):
        first = block * BLOCK_ROWS
        _add_block(&X[0, 0] + first * row_stride, row_stride, column_stride,
                   min(<Py_ssize_t> BLOCK_ROWS, n_rows - first), &nodes[0], &roots[0],
                   &first_leaf[0], n_trees, &bitsets[0, 0], &values[0, 0], n_outputs,
                   &scores[first, 0])


def add_tree_binned(
    const uint8_t[:, ::1] binned,      # IN (n_rows, n_features)
    const node_t[::1] nodes,           # IN one tree
    const uint32_t[:, ::1] bitsets,    # IN (n_category_splits or 1, BITSET_WORDS)
    const double[:, ::1] values,       # IN (n_leaves, n_outputs)
    double[:, ::1] scores,             # IN OUT (n_rows, n_outputs)
    int n_threads,
):
    """Add one tree's values to the scores of binned rows."""
    cdef:
        Py_ssize_t i
        int k
        int32_t leaf
    for i in prange(binned.shape[0], nogil=True, schedule="static", num_threads=n_threads):
        leaf = _walk_binned(&nodes[0], &bitsets[0, 0], &binned[i, 0])
        for k in range(values.shape[1]):
            scores[i, k] += values[leaf, k]


def predict_leaves(
    const raw_t[:, :] X,               # IN (n_rows, n_features)
    const node_t[::1] nodes,
    const int32_t[::1] roots,
    const uint32_t[:, ::1] bitsets,
    int32_t[:, ::1] leaves,            # OUT (n_rows, n_trees)
    int n_threads,
):
    """The leaf of each row in each tree."""
    cdef:
        Py_ssize_t i, t
        Py_ssize_t column_stride = X.strides[1] // <Py_ssize_t> sizeof(raw_t)
    for i in prange(X.shape[0], nogil=True, schedule="static", num_threads=n_threads):
        for t in range(roots.shape[0]):
            leaves[i, t] = _walk(&nodes[roots[t]], &bitsets[0, 0], &X[i, 0], column_stride)
