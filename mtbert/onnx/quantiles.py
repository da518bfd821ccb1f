"""What QuantileTransformer does with an output distribution "normal", as ONNX nodes."""

from __future__ import annotations

import numpy as np

#: As in scikit-learn: so near to the ends, a number counts as beyond them.
BOUNDS_THRESHOLD = 1e-7
MOST_EXTREME = BOUNDS_THRESHOLD - np.spacing(1.0)
# Wichura, "Algorithm AS 241: The Percentage Points of the Normal Distribution", Applied Statistics
# 37, 1988: two rational functions, numerator and denominator from the constant upwards. Its third
# one is for probabilities below 1e-10, which do not occur.
NEAR_HALF = (
    (
        3.3871328727963666080,
        133.14166789178437745,
        1971.5909503065514427,
        13731.693765509461125,
        45921.953931549871457,
        67265.770927008700853,
        33430.575583588128105,
        2509.0809287301226727,
    ),
    (
        1.0,
        42.313330701600911252,
        687.18700749205790830,
        5394.1960214247511077,
        21213.794301586595867,
        39307.895800092710610,
        28729.085735721942674,
        5226.4952788528545610,
    ),
)
IN_TAILS = (
    (
        1.42343711074968357734,
        4.63033784615654529590,
        5.76949722146069140550,
        3.64784832476320460504,
        1.27045825245236838258,
        0.241780725177450611770,
        0.0227238449892691845833,
        7.74545014278341407640e-4,
    ),
    (
        1.0,
        2.05319162663775882187,
        1.67638483018380384940,
        0.689767334985100004550,
        0.148103976427480074590,
        0.0151986665636164571966,
        5.47593808499534494600e-4,
        1.05075007164441684324e-9,
    ),
)


def add_normal_quantiles(graph, values: str, quantiles: np.ndarray, references: np.ndarray) -> str:
    """Map each column to a normal distribution.

    Parameters
    ----------
    graph : Graph
    values : str
        A tensor of float64 of shape (n, n_columns), none missing.
    quantiles : ndarray of shape (n_quantiles, n_columns)
        Ascending in each column.
    references : ndarray of shape (n_quantiles,)
        The share of values below each.

    Returns
    -------
    str
        A tensor of the same shape.
    """
    return _add_normal_inverse(graph, _add_shares(graph, values, quantiles, references))


def _add_shares(graph, values, quantiles, references):
    """Share of values below each, linear between the quantiles.

    At a quantile that comes several times scikit-learn takes the middle of the shares there.
    """
    from onnx import TensorProto

    steps = [_Steps(column, references) for column in quantiles.T]
    most = max(len(step.starts) for step in steps)
    starts = np.array([_padded(step.starts, most, np.inf) for step in steps])
    wide = graph.add("Unsqueeze", values, graph.constant(np.array([2])))
    passed = graph.add("GreaterOrEqual", wide, graph.constant(starts))
    counted = graph.add("Cast", passed, to=TensorProto.INT64)
    step = graph.add("ReduceSum", counted, graph.constant(np.array([2])), keepdims=0)
    # Step k lies behind the k-th distinct quantile; step 0 in front of the first, where, as behind
    # the last, the bounds below decide.
    row = graph.add("Add", step, graph.constant(np.arange(len(steps)) * (most + 1)))

    def look_up(name):
        table = [_padded([0.0, *getattr(own, name)], most + 1, 0.0) for own in steps]
        return graph.add("Gather", graph.constant(np.concatenate(table)), row)

    start = look_up("starts")
    rise = graph.add("Mul", look_up("slopes"), graph.add("Sub", values, start))
    between = graph.add("Add", look_up("shares"), rise)
    at_start = graph.add("Equal", values, start)
    inside = graph.add("Where", at_start, look_up("middles"), between)
    return _add_bounds(graph, values, inside, quantiles)


def _add_bounds(graph, values, inside, quantiles):
    """0 and 1 from the first and the last quantile on."""
    threshold = graph.constant(np.array(BOUNDS_THRESHOLD))
    zero, one = graph.constant(np.array(0.0)), graph.constant(np.array(1.0))
    above = graph.add("Greater", graph.add("Add", values, threshold), graph.constant(quantiles[-1]))
    below = graph.add("Less", graph.add("Sub", values, threshold), graph.constant(quantiles[0]))
    return graph.add("Where", below, zero, graph.add("Where", above, one, inside))


class _Steps:
    """The stretches between the distinct quantiles of a column.

    Attributes
    ----------
    starts, shares, slopes : ndarray of shape (n_distinct,)
        Where each begins, and the share of values just behind its start and its rise.
    middles : ndarray of shape (n_distinct,)
        The share at the start itself.
    """

    def __init__(self, quantiles, references):
        self.starts, first = np.unique(quantiles, return_index=True)
        last = np.append(first[1:], len(quantiles)) - 1
        lowest, self.shares = references[first], references[last]
        self.middles = 0.5 * (lowest + self.shares)
        self.slopes = np.zeros(len(self.starts))
        widths, rises = np.diff(self.starts), lowest[1:] - self.shares[:-1]
        # In a stretch narrower than the least normal number a slope would not be finite.
        is_wide = widths >= np.finfo(np.float64).tiny
        np.divide(rises, widths, out=self.slopes[:-1], where=is_wide)


def _padded(values, length, filler):
    return np.append(values, np.full(length - len(values), filler))


def _add_normal_inverse(graph, shares):
    """The number below which a normal variable lies with this probability."""
    lowest, highest = graph.constant(np.array(MOST_EXTREME)), np.array(1 - MOST_EXTREME)
    share = graph.add("Max", graph.add("Min", shares, graph.constant(highest)), lowest)
    half = graph.constant(np.array(0.5))
    q = graph.add("Sub", share, half)
    squared = graph.add("Sub", graph.constant(np.array(0.180625)), graph.add("Mul", q, q))
    central = graph.add("Mul", q, _add_rational(graph, squared, NEAR_HALF))
    rest = graph.add("Min", share, graph.add("Sub", graph.constant(np.array(1.0)), share))
    root = graph.add("Sqrt", graph.add("Neg", graph.add("Log", rest)))
    depth = graph.add("Sub", root, graph.constant(np.array(1.6)))
    tail = graph.add("Mul", graph.add("Sign", q), _add_rational(graph, depth, IN_TAILS))
    is_central = graph.add("LessOrEqual", graph.add("Abs", q), graph.constant(np.array(0.425)))
    return graph.add("Where", is_central, central, tail)


def _add_rational(graph, values, coefficients):
    """One polynomial over another, by Horner's rule."""
    numerator, denominator = (_add_polynomial(graph, values, own) for own in coefficients)
    return graph.add("Div", numerator, denominator)


def _add_polynomial(graph, values, coefficients):
    *others, highest = coefficients
    total = graph.constant(np.array(highest))
    for coefficient in reversed(others):
        product = graph.add("Mul", total, values)
        total = graph.add("Add", product, graph.constant(np.array(coefficient)))
    return total
