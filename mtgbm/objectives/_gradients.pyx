"""Gradients and hessians of the losses, written into the row vectors that histograms sum.

    vectors row   | g of output 0 .. K-1 | h of output 0 .. K-1 | 1 | padding |      float32

A label below 0 is missing: its gradient and hessian are 0, so it adds to no sum of its task.
"""

from cython.parallel cimport prange
from libc.string cimport memcpy

from mtgbm.engine._common cimport int16_t, int32_t, int64_t

import numpy as np

cdef enum:
    BLOCK_SCORES = 512      # of one row or more, so that all buffers fit the first-level cache


# Scores of binary tasks and where their slopes go: column outputs[k] of the scores belongs to
# column tasks[k] of the labels.
cdef struct binary_t:
    const double *raw
    const int16_t *labels
    const float *weights                # or NULL
    const double *positive_weights      # for each score of a block
    const int32_t *tasks
    const int32_t *outputs
    int n_outputs
    int n_tasks
    int n_chosen
    bint whole                          # these are all outputs in order: no need to gather them
    float *vectors
    int lanes


cdef inline void _exp_each(
    double *x, Py_ssize_t n, double *r, double *scale,
) noexcept nogil:
    """exp of n numbers within +-700, in place; `r` and `scale` are scratch of the same length.

    x = k ln 2 + r with |r| <= ln 2 / 2; exp(r) is a Taylor polynomial of degree 13, below 1 ulp of
    error; 2^k goes straight into the exponent bits. Adding 1.5 * 2^52 rounds to an integer.

    There are no branches and no calls, hence vector code. The polynomial, a chain of operations
    of which each waits for the one before, is cut into loops of short chains: of these the
    processor has several under way at a time.
    """
    cdef:
        double magic = 6755399441055744.0
        double shifted, k, z, poly
        int64_t bits
        Py_ssize_t i
    for i in range(n):
        shifted = x[i] * 1.4426950408889634 + magic
        k = shifted - magic
        r[i] = (x[i] - k * 0.6931471803691238) - k * 1.9082149292705877e-10
        memcpy(&bits, &shifted, sizeof(double))
        bits = (bits + 1023) << 52
        memcpy(&scale[i], &bits, sizeof(double))
    for i in range(n):
        z = r[i]
        poly = 1.0 / 6227020800.0
        poly = poly * z + 1.0 / 479001600.0
        poly = poly * z + 1.0 / 39916800.0
        poly = poly * z + 1.0 / 3628800.0
        poly = poly * z + 1.0 / 362880.0
        x[i] = poly
    for i in range(n):
        z = r[i]
        poly = x[i]
        poly = poly * z + 1.0 / 40320.0
        poly = poly * z + 1.0 / 5040.0
        poly = poly * z + 1.0 / 720.0
        poly = poly * z + 1.0 / 120.0
        poly = poly * z + 1.0 / 24.0
        x[i] = poly
    for i in range(n):
        z = r[i]
        poly = x[i]
        poly = poly * z + 1.0 / 6.0
        poly = poly * z + 0.5
        poly = poly * z + 1.0
        poly = poly * z + 1.0
        x[i] = poly * scale[i]


cdef inline double _exp(double x) noexcept nogil:
    cdef double r, scale
    x = min(max(x, -700.0), 700.0)
    _exp_each(&x, 1, &r, &scale)
    return x


cdef inline void _log_loss_slopes(
    const double *scores, const int16_t *labels, const float *weights,
    const double *positive_weights, Py_ssize_t n, float *g, float *h,
) noexcept nogil:
    """p - y and p (1 - p), weighted, of n scores side by side: no strides, hence vector code."""
    cdef:
        double e[BLOCK_SCORES]
        double y[BLOCK_SCORES]
        double scratch[BLOCK_SCORES]
        double p, w, positive
        Py_ssize_t i
    for i in range(n):
        e[i] = min(max(-scores[i], -700.0), 700.0)
    _exp_each(e, n, y, scratch)
    for i in range(n):
        y[i] = labels[i]
    for i in range(n):
        p = 1.0 / (1.0 + e[i])
        w = weights[i] if weights != NULL else 1.0
        positive = positive_weights[i]
        w *= positive if y[i] > 0 else 1.0
        w = 0.0 if y[i] < 0 else w
        g[i] = <float> (w * (p - y[i]))
        h[i] = <float> (w * p * (1.0 - p))


cdef inline void _gather_block(
    const binary_t *all, Py_ssize_t first, Py_ssize_t n, double *scores, int16_t *labels,
    float *weights,
) noexcept nogil:
    """Put the columns of some tasks side by side."""
    cdef:
        int n_chosen = all.n_chosen, n_outputs = all.n_outputs, n_tasks = all.n_tasks, j
        Py_ssize_t i
        const double *raw
        const int16_t *label
        const float *weight
    for j in range(n_chosen):
        raw = all.raw + first * n_outputs + all.outputs[j]
        label = all.labels + first * n_tasks + all.tasks[j]
        for i in range(n):
            scores[i * n_chosen + j] = raw[i * n_outputs]
            labels[i * n_chosen + j] = label[i * n_tasks]
        if all.weights != NULL:
            weight = all.weights + first * n_tasks + all.tasks[j]
            for i in range(n):
                weights[i * n_chosen + j] = weight[i * n_tasks]


cdef inline void _scatter_block(
    const binary_t *all, Py_ssize_t first, Py_ssize_t n, const float *g, const float *h,
) noexcept nogil:
    """Put gradients and hessians into the lanes of their outputs."""
    cdef:
        int n_chosen = all.n_chosen, n_outputs = all.n_outputs, lanes = all.lanes, j
        Py_ssize_t i
        float *vector
    for j in range(n_chosen):
        vector = all.vectors + first * lanes + all.outputs[j]
        for i in range(n):
            vector[i * lanes] = g[i * n_chosen + j]
            vector[i * lanes + n_outputs] = h[i * n_chosen + j]


cdef inline void _write_rows(
    float *vectors, int lanes, const float *g, const float *h, Py_ssize_t n, const int n_outputs,
) noexcept nogil:
    """Cut g and h into rows; with a literal `n_outputs` a copy is a store or two, not a call."""
    cdef Py_ssize_t i
    for i in range(n):
        memcpy(vectors + i * lanes, g + i * n_outputs, n_outputs * sizeof(float))
        memcpy(vectors + i * lanes + n_outputs, h + i * n_outputs, n_outputs * sizeof(float))


cdef inline void _write_block(
    float *vectors, int lanes, const float *g, const float *h, Py_ssize_t n, int n_outputs,
) noexcept nogil:
    """Choose the loop compiled for this number of outputs."""
    if n_outputs == 1:
        _write_rows(vectors, lanes, g, h, n, 1)
    elif n_outputs == 2:
        _write_rows(vectors, lanes, g, h, n, 2)
    elif n_outputs == 3:
        _write_rows(vectors, lanes, g, h, n, 3)
    elif n_outputs == 4:
        _write_rows(vectors, lanes, g, h, n, 4)
    elif n_outputs == 5:
        _write_rows(vectors, lanes, g, h, n, 5)
    elif n_outputs == 8:
        _write_rows(vectors, lanes, g, h, n, 8)
    else:
        _write_rows(vectors, lanes, g, h, n, n_outputs)


cdef void _binary_block(const binary_t *all, Py_ssize_t first, Py_ssize_t n) noexcept nogil:
    """The slopes of n rows."""
    cdef:
        double scores[BLOCK_SCORES]
        int16_t labels[BLOCK_SCORES]
        float weights[BLOCK_SCORES]
        float g[BLOCK_SCORES]
        float h[BLOCK_SCORES]
        Py_ssize_t start = first * all.n_outputs
    if all.whole:
        _log_loss_slopes(all.raw + start, all.labels + start,
                         NULL if all.weights == NULL else all.weights + start,
                         all.positive_weights, n * all.n_outputs, g, h)
        _write_block(all.vectors + first * all.lanes, all.lanes, g, h, n, all.n_outputs)
    else:
        _gather_block(all, first, n, scores, labels, weights)
        _log_loss_slopes(scores, labels, NULL if all.weights == NULL else weights,
                         all.positive_weights, n * all.n_chosen, g, h)
        _scatter_block(all, first, n, g, h)


cdef void _choose_tasks(
    binary_t *all, const int32_t *tasks, const int32_t *outputs, int n_chosen,
    const double *positive_weight, double *pattern,
) noexcept nogil:
    """Fill in what depends on the tasks; `pattern` holds the positive weights of a block."""
    cdef int i
    all.tasks, all.outputs, all.n_chosen = tasks, outputs, n_chosen
    all.whole = n_chosen == all.n_tasks and n_chosen == all.n_outputs
    for i in range(n_chosen):
        all.whole = all.whole and tasks[i] == i and outputs[i] == i
    for i in range(BLOCK_SCORES):
        pattern[i] = positive_weight[tasks[i % n_chosen]]
    all.positive_weights = pattern


def binary_gradients(
    const double[:, ::1] raw,          # IN (n_rows, n_outputs) scores
    const int16_t[:, ::1] labels,      # IN (n_rows, n_tasks) 0, 1 or -1 (missing)
    const float[:, ::1] weights,       # IN (n_rows, n_tasks) or None
    const double[::1] positive_weight,  # IN (n_tasks,)
    const int32_t[::1] tasks,          # IN columns of labels to differentiate
    const int32_t[::1] outputs,        # IN their columns of raw
    float[:, ::1] vectors,             # OUT lanes `outputs` and `n_outputs + outputs`
    int n_threads,
):
    """Gradient and hessian of the log loss, -y log p - (1 - y) log(1 - p), in the score.

    Some rows at a time: their scores side by side, whatever the number of tasks.

        raw     | a b c | d e f | g h i | ...      scores of 3 tasks
        g       | a b c   d e f   g h i | ...      whole registers; likewise h
        vectors | a b c a b c 1 0 | d e f d e f 1 0 | ...
    """
    cdef:
        binary_t all
        double pattern[BLOCK_SCORES]
        Py_ssize_t n_rows = raw.shape[0], n_blocks, block_rows, block
        int first, n_chosen
    if n_rows == 0:
        return
    all.raw, all.n_outputs = &raw[0, 0], raw.shape[1]
    all.labels, all.n_tasks = &labels[0, 0], labels.shape[1]
    all.weights = NULL if weights is None else &weights[0, 0]
    all.vectors, all.lanes = &vectors[0, 0], vectors.shape[1]
    for first in range(0, tasks.shape[0], BLOCK_SCORES):
        n_chosen = min(BLOCK_SCORES, tasks.shape[0] - first)
        _choose_tasks(&all, &tasks[first], &outputs[first], n_chosen, &positive_weight[0], pattern)
        block_rows = BLOCK_SCORES // n_chosen
        block_rows -= block_rows % 8 if block_rows > 8 else 0   # whole registers
        n_blocks = (n_rows + block_rows - 1) // block_rows
        for block in prange(n_blocks, nogil=True, schedule="static", num_threads=n_threads):
            _binary_block(&all, block * block_rows, min(block_rows, n_rows - block * block_rows))


cdef inline void _softmax_row(
    const double *raw, int n_classes, int label, double weight, float *g, float *h,
) noexcept nogil:
    """Gradient and hessian of one row; exponentials are taken below the largest score."""
    cdef:
        double top = raw[0], total = 0.0, p
        double factor = n_classes / (n_classes - 1.0)
        int c
    for c in range(n_classes):
        top = max(top, raw[c])
    for c in range(n_classes):
        total += _exp(raw[c] - top)
    for c in range(n_classes):
        p = _exp(raw[c] - top) / total
        g[c] = <float> (weight * (p - (1.0 if c == label else 0.0)))
        h[c] = <float> (weight * factor * p * (1.0 - p))


def multiclass_gradients(
    const double[:, ::1] raw,          # IN (n_rows, n_outputs)
    const int16_t[:] labels,           # IN (n_rows,) class number or -1
    weights,                           # IN (n_rows,) float32, any stride, or None
    int first_output,
    int n_classes,
    float[:, ::1] vectors,             # OUT lanes first_output .. and n_outputs + first_output ..
    int n_threads,
):
    """Gradient and diagonal hessian of the softmax log loss.

    The diagonal is scaled by n_classes / (n_classes - 1), as in Friedman (2001), section 4.6: the
    scores hold one class more than they have degrees of freedom.
    """
    cdef:
        const float[:] weight
        bint weighted = weights is not None
        Py_ssize_t i
        int n_outputs = raw.shape[1]
        double w
    if weighted:
        weight = weights
    for i in prange(raw.shape[0], nogil=True, schedule="static", num_threads=n_threads):
        w = weight[i] if weighted else 1.0
        w = w if labels[i] >= 0 else 0.0
        _softmax_row(&raw[i, first_output], n_classes, labels[i], w, &vectors[i, first_output],
                     &vectors[i, n_outputs + first_output])


cdef void _correct_block(
    const float *column, Py_ssize_t n, float *vectors, Py_ssize_t lanes,
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        vectors[i * lanes] += column[i]


def add_corrections(
    const float[:, ::1] columns,       # IN (n_columns, n_rows) what to add
    const int32_t[::1] outputs,        # IN (n_columns,) to the gradients of these outputs
    float[:, ::1] vectors,             # IN and OUT (n_rows, lanes), lanes `outputs`
    int n_threads,
):
    """Add what soft targets change: one number for each row and output, the same in every round.

    Some rows at a time, so that their vectors come from memory once for all columns.
    """
    cdef:
        Py_ssize_t n_rows = vectors.shape[0], lanes = vectors.shape[1], block, first, n
        Py_ssize_t n_blocks = (n_rows + BLOCK_SCORES - 1) // BLOCK_SCORES
        int n_columns = columns.shape[0], j
    if n_columns == 0:
        return
    for block in prange(n_blocks, nogil=True, schedule="static", num_threads=n_threads):
        first = block * BLOCK_SCORES
        n = min(<Py_ssize_t> BLOCK_SCORES, n_rows - first)
        for j in range(n_columns):
            _correct_block(&columns[j, first], n, &vectors[first, outputs[j]], lanes)


def exp_blockwise(const double[::1] x):
    """exp of every element by the kernel's own polynomial, for its tests."""
    cdef:
        double[::1] result = np.clip(x, -700.0, 700.0)
        double[::1] r = np.empty(x.shape[0])
        double[::1] scale = np.empty(x.shape[0])
    if x.shape[0] > 0:
        _exp_each(&result[0], x.shape[0], &r[0], &scale[0])
    return np.asarray(result)
