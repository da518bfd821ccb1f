"""When memory runs out, half the rows go through the network at once."""

from __future__ import annotations

import warnings

import numpy as np
import torch

from mtbert.batching import Rows

#: What the errors say by which torch reports that a CPU has no memory left.
CPU_MESSAGES = ("DefaultCPUAllocator: can't allocate memory", "not enough memory")


class RowsAtOnce:
    """How many rows go through the network at once: half as many whenever memory runs out.

    Parameters
    ----------
    n_rows : int
        The most to begin with.
    accumulate : int, default=None
        Batches of a step, if it is training whose batches are cut.

    Attributes
    ----------
    n_rows : int
        The most by now.
    may_halve : bool
        False leaves errors as they are.
    """

    def __init__(self, n_rows, accumulate=None):
        self.n_rows = n_rows
        self.may_halve = True
        self._rows_of_step = None if accumulate is None else n_rows * accumulate

    def run(self, work, batches: list[Rows]):
        """Return ``work(pieces)``, and do it again, with smaller pieces, if memory runs out.

        Parameters
        ----------
        work : callable
            Takes a list of Rows, and may be called again after it failed.
        batches : list of Rows
            What is cut into pieces.

        Raises
        ------
        MemoryError
            If there is not memory enough for one row.
        """
        while True:
            try:
                return work([piece for batch in batches for piece in self._pieces(batch)])
            except (RuntimeError, MemoryError) as error:
                if not (self.may_halve and is_out_of_memory(error)):
                    raise
                self._halve(max(map(len, batches)), error)
            # Here, where the error is gone, nothing holds the tensors of the failed attempt.
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _pieces(self, batch):
        if len(batch) <= self.n_rows:
            return [batch]
        ends = range(self.n_rows, len(batch), self.n_rows)
        return [batch.take(rows) for rows in np.split(np.arange(len(batch)), ends)]

    def _halve(self, n_most, error):
        n_failed = min(n_most, self.n_rows)
        if n_failed == 1:
            raise MemoryError(
                "there is not memory enough for a single row: lower max_total_chunks or "
                "max_sen_len, take a smaller encoder, or "
                "network_options={'text__gradient_checkpointing': True}."
            ) from error
        self.n_rows = -(-n_failed // 2)
        warnings.warn(self._warning(n_failed), stacklevel=3)

    def _warning(self, n_failed):
        text = f"memory ran out with {n_failed} rows at once; going on with {self.n_rows}"
        if self._rows_of_step is None:
            return f"{text}. Set batch_size={self.n_rows} to begin with that."
        accumulate = -(-self._rows_of_step // self.n_rows)
        return (
            f"{text}, and with accumulate={accumulate}, so that steps remain the same. Set "
            f"batch_size={self.n_rows}, accumulate={accumulate} to begin with these."
        )


def is_out_of_memory(error) -> bool:
    """Whether an error says that the CPU or the GPU has no memory left."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return any(message in str(error) for message in CPU_MESSAGES)
