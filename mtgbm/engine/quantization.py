"""What histograms sum: the float gradients themselves, or integers that stand for them.

Integers are half as wide and their sums exact, in any order. Gradients are multiplied by a power of
2 and rounded up or down so that the roundings balance. Leaves never see them: their values come
from the float gradients (see `TreeGrower.finish`).

Shi et al., "Quantized Training of Gradient Boosting Decision Trees", NeurIPS 2022, introduced
integer gradients with 2 to 5 bits and stochastic rounding. Here each lane takes what fits: up to 15
bits a row, fewer if the rows are so many that a sum could pass 31 bits. Rare tasks, whose gradients
are small nearly everywhere, need them.
"""

from dataclasses import dataclass

import numpy as np

from mtgbm.engine._isa import load_kernel
from mtgbm.engine.threads import threads_for
from mtgbm.engine.vectors import aligned_zeros, empty_vectors, lane_count

_quantization = load_kernel("mtgbm.engine._quantization")

LARGEST_ROW = 2**15 - 2  # one less than int16 holds, for rounding up
LARGEST_SUM = 2**31 - 1


@dataclass(frozen=True)
class RowVectors:
    """Row vectors as the histogram kernel sums them.

    Attributes
    ----------
    lanes : ndarray of float32 or int16 of shape (n_rows, lanes)
    scales : ndarray of float64 of shape (lanes,)
        What a unit of each lane is worth, a power of 2.
    cell_dtype : dtype
        Of the histograms: float64 for float32 lanes, int32 for int16.
    """

    lanes: np.ndarray
    scales: np.ndarray
    cell_dtype: type

    @property
    def n_lanes(self):
        return self.lanes.shape[1]


class ExactGradients:
    """Histograms in float64 of the gradients as they are: slower, comparable with LightGBM's."""

    def row_vectors(self, gradients, n_threads):
        """The row vectors of the outputs that are heard.

        Parameters
        ----------
        gradients : SplitGradients
        n_threads : int

        Returns
        -------
        RowVectors
        """
        vectors = gradients.vectors
        if len(gradients.outputs) < gradients.n_outputs:
            vectors = empty_vectors(len(vectors), len(gradients.outputs))
            vectors[:] = gradients.vectors[:, source_lanes(gradients)]
        return RowVectors(vectors, np.ones(vectors.shape[1]), np.float64)


class QuantizedGradients:
    """Histograms in int32 of rounded gradients.

    Which values are rounded up depends on the number of the round, not on chance: equal fits are
    equal, and so are rounds of one fit and of a second that goes on from the first.

    Parameters
    ----------
    first_round : int
        Number of the round that comes first.
    """

    def __init__(self, first_round=0):
        self.round = first_round
        self._integers = np.empty((0, 0))

    def row_vectors(self, gradients, n_threads):
        """The rounded row vectors of the outputs that are heard.

        Parameters
        ----------
        gradients : SplitGradients
        n_threads : int

        Returns
        -------
        RowVectors
            Its arrays are overwritten by the next call.
        """
        vectors, n_chosen = gradients.vectors, len(gradients.outputs)
        shape = (len(vectors), lane_count(n_chosen))
        if self._integers.shape != shape:
            self._integers = aligned_zeros(shape, np.int16)
        threads = threads_for(vectors.size, n_threads)
        sources = source_lanes(gradients)
        sums, largest = _quantization.measure_lanes(vectors, threads)
        factors = lane_factors(sums[sources], largest[sources], len(vectors))
        counts = np.arange(len(factors)) >= 2 * n_chosen
        factors[counts] = 1.0
        _quantization.quantize(
            vectors,
            None if n_chosen == gradients.n_outputs else sources,
            factors.astype(np.float32),
            np.where(counts, 0, 1).astype(np.float32),
            self.rounding_phases(len(factors)),
            self._integers,
            threads,
        )
        self.round += 1
        return RowVectors(self._integers, 1.0 / factors, np.int32)

    def rounding_phases(self, n_lanes):
        """Where the roundings of this round start: uint32 (n_lanes,), all over their range."""
        lanes = np.arange(1, n_lanes + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        rounds = np.uint64((self.round + 1) * 0xD1B54A32D192ED03 % 2**64)
        mixed = (lanes ^ rounds) * np.uint64(0xBF58476D1CE4E5B9)
        return (mixed >> np.uint64(32)).astype(np.uint32)


def source_lanes(gradients):
    """Lanes of all outputs that become those of the outputs that are heard: g, h, 1, zeros.

    An odd number of lanes is in use, so there is always one of padding to take zeros from.
    """
    outputs, n_outputs = gradients.outputs, gradients.n_outputs
    used = np.concatenate([outputs, n_outputs + outputs, [2 * n_outputs]])
    sources = np.full(lane_count(len(outputs)), gradients.vectors.shape[1] - 1, dtype=np.int32)
    sources[: len(used)] = used
    return sources


def lane_factors(sums, largest, n_rows):
    """The largest powers of 2 with which no row and no sum can overflow.

    Parameters
    ----------
    sums, largest : ndarray of shape (lanes,)
        Of the absolute values of each lane.
    n_rows : int
        Each row may be rounded up by 1.

    Returns
    -------
    ndarray of float64 of shape (lanes,)
        1 for a lane of zeros.
    """
    with np.errstate(divide="ignore"):
        room = np.minimum(LARGEST_ROW / largest, (LARGEST_SUM - n_rows) / sums)
    exponents = np.floor(np.log2(np.where(largest > 0, room, 1.0)))
    return np.exp2(np.clip(exponents, -126, 126))
