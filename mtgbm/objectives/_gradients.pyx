"""Gradients and hessians of the losses, written into the row vectors that histograms sum.

    vectors row   | g of output 0 .. K-1 | h of output 0 .. K-1 | 1 | padding |      float32

A label below 0 is missing: its gradient and hessian are 0, so it adds to no sum of its task.
"""

from cython.parallel cimport prange
from libc.string cimport memcpy

from mtgbm.engine._common cimport int16_t, int32_t, int64_t

import numpy as np

cdef enum:
    BLOCK_ROWS = 256


cdef inline double _exp(double x) noexcept nogil:
    """exp(x) without a branch or a call, so that loops over it become vector code.

    x = n ln 2 + r with |r| <= ln 2 / 2; exp(r) is a Taylor polynomial of degree 13, below 1 ulp of
    error; 2^n goes straight into the exponent bits. Adding 1.5 * 2^52 rounds to an integer.
    """
    cdef:
        double magic = 6755399441055744.0
        double shifted, n, r, poly, scale
        int64_t bits
    x = min(max(x, -700.0), 700.0)
    shifted = x * 1.4426950408889634 + magic
    n = shifted - magic
    r = (x - n * 0.6931471803691238) - n * 1.9082149292705877e-10
    poly = 1.0 / 6227020800.0
    poly = poly * r + 1.0 / 479001600.0
    poly = poly * r + 1.0 / 39916800.0
    poly = poly * r + 1.0 / 3628800.0
    poly = poly * r + 1.0 / 362880.0
    poly = poly * r + 1.0 / 40320.0
    poly = poly * r + 1.0 / 5040.0
    poly = poly * r + 1.0 / 720.0
    poly = poly * r + 1.0 / 120.0
    poly = poly * r + 1.0 / 24.0
    poly = poly * r + 1.0 / 6.0
    poly = poly * r + 0.5
    poly = poly * r + 1.0
    poly = poly * r + 1.0
    memcpy(&bits, &shifted, sizeof(double))
    bits = (bits + 1023) << 52
    memcpy(&scale, &bits, sizeof(double))
    return poly * scale


cdef inline void _binary_block(
    const double *raw, int n_raw, const int16_t *labels, int n_labels,
    const float *weights, int n_weights, double positive_weight,
    Py_ssize_t n, float *g, float *h, int lanes,
) noexcept nogil:
    """One task's column of a block: p - y and p (1 - p), weighted."""
    cdef:
        double p[BLOCK_ROWS]
        double w
        Py_ssize_t i
        int16_t label
    for i in range(n):
        p[i] = raw[i * n_raw]
    for i in range(n):
        p[i] = 1.0 / (1.0 + _exp(-p[i]))
    for i in range(n):
        label = labels[i * n_labels]
        w = weights[i * n_weights] if weights != NULL else 1.0
        w *= positive_weight if label > 0 else 1.0
        w = 0.0 if label < 0 else w
        g[i * lanes] = <float> (w * (p[i] - label))
        h[i * lanes] = <float> (w * p[i] * (1.0 - p[i]))


def binary_gradients(
    const double[:, ::1] raw,          # IN (n_rows, n_outputs) scores
    const int16_t[:, ::1] labels,      # IN (n_rows, n_tasks) 0, 1 or -1 (missing)
    weights,                           # IN (n_rows, n_tasks) float32 or None
    const double[::1] positive_weight,  # IN (n_tasks,)
    const int32_t[::1] tasks,          # IN columns of labels to differentiate
    const int32_t[::1] outputs,        # IN their columns of raw
    float[:, ::1] vectors,             # OUT lanes `outputs` and `n_outputs + outputs`
    int n_threads,
):
    """Gradient and hessian of the log loss, -y log p - (1 - y) log(1 - p), in the score."""
    cdef:
        const float[:, ::1] weight_view
        const float *weight = NULL
        Py_ssize_t n_rows = raw.shape[0], block, first, n
        Py_ssize_t n_blocks = (n_rows + BLOCK_ROWS - 1) // BLOCK_ROWS
        int n_tasks = labels.shape[1], n_outputs = raw.shape[1], lanes = vectors.shape[1]
        int j, task, output
    if weights is not None:
        weight_view = weights
        weight = &weight_view[0, 0]
    for block in prange(n_blocks, nogil=True, schedule="static", num_threads=n_threads):
        first = block * BLOCK_ROWS
        n = min(<Py_ssize_t> BLOCK_ROWS, n_rows - first)
        for j in range(tasks.shape[0]):
            task = tasks[j]
            output = outputs[j]
            _binary_block(
                &raw[first, output], n_outputs, &labels[first, task], n_tasks,
                weight + first * n_tasks + task if weight != NULL else NULL, n_tasks,
                positive_weight[task], n, &vectors[first, output],
                &vectors[first, n_outputs + output], lanes)


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


def exp_blockwise(const double[::1] x):
    """exp of every element by the kernel's own polynomial, for its tests."""
    cdef:
        double[::1] view = np.empty(x.shape[0])
        Py_ssize_t i
    for i in range(x.shape[0]):
        view[i] = _exp(x[i])
    return np.asarray(view)
