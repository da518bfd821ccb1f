"""From raw features to bins: which thresholds, which categories, what is missing."""

import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import sparse

from mtgbm.engine._isa import load_kernel

_binning = load_kernel("mtgbm.engine._binning")

#: Rows that are made dense, or have their categories encoded, at a time.
BLOCK_ROWS = 65_536

#: Columns that are taken from the sampled rows at a time: half a cache line of float32.
BLOCK_COLUMNS = 8


@dataclass
class BinnedMatrix:
    """The bins of a table, uint8, in the two orders in which the grower reads them.

    Attributes
    ----------
    by_row : ndarray of shape (n_rows, n_features)
        For histograms, which take whole rows.
    by_column : ndarray of shape (n_features, n_rows), or (n_features, 0) if it was not asked for
        For partitions, which take one feature.
    """

    by_row: np.ndarray
    by_column: np.ndarray


class BinMapper:
    """Learns up to `max_bin` bins a feature and maps tables to them.

    Missing values (NaN) get a bin of their own, number ``n_bins_[feature]``. In a categorical
    feature the bins are the most frequent categories; the others, and those unknown at fit, count
    as missing.

    Parameters
    ----------
    max_bin : int
        Bins of present values, 2 to 255.
    subsample : int
        Rows on which quantiles and category counts are taken.
    is_categorical : ndarray of bool of shape (n_features,)
    rng : numpy.random.Generator
        Draws the subsample.
    n_threads : int
    """

    def __init__(self, max_bin, subsample, is_categorical, rng, n_threads):
        self.max_bin = max_bin
        self.subsample = subsample
        self.is_categorical = np.asarray(is_categorical, dtype=np.uint8)
        self.rng = rng
        self.n_threads = n_threads

    def fit(self, X):
        """Find thresholds and categories.

        Parameters
        ----------
        X : ndarray of shape (n_rows, n_features), or scipy CSR matrix
            float32 or float64, NaN for missing, no infinity.
        """
        rows = self._draw(X.shape[0])
        if sparse.issparse(X):
            X_drawn, rows = (X if rows is None else X[rows]).tocsc(), None
        else:
            X_drawn = X
        with ThreadPoolExecutor(self.n_threads) as pool:
            blocks = pool.map(
                partial(self._fit_block, X_drawn, rows), range(0, X.shape[1], BLOCK_COLUMNS)
            )
            columns = [column for block in blocks for column in block]
        self.categories_ = {
            feature: bins for feature, bins in enumerate(columns) if self.is_categorical[feature]
        }
        thresholds = [
            np.empty(0) if categorical else column
            for column, categorical in zip(columns, self.is_categorical, strict=True)
        ]
        self.n_bins_ = np.array(
            [
                len(column) + (not categorical)
                for column, categorical in zip(columns, self.is_categorical, strict=True)
            ],
            dtype=np.int32,
        )
        self.thresholds_ = _pad(thresholds)
        self.has_missing_ = self._find_missing(X)
        return self

    def for_more_rows(self, X):
        """The same bins for training on X: features that miss values only there may do so."""
        mapper = copy.copy(self)
        mapper.has_missing_ = self.has_missing_ | self._find_missing(X)
        return mapper

    def _draw(self, n_rows):
        """A sample of the rows, None for all if they are few."""
        if n_rows <= self.subsample:
            return None
        return np.sort(self.rng.choice(n_rows, self.subsample, replace=False))

    def _fit_block(self, X, rows, first):
        """Bins of some columns; a few at a time, so that the sample is never copied as a whole."""
        block = X[:, first : first + BLOCK_COLUMNS]
        if sparse.issparse(block):
            block = block.toarray()
        if rows is not None:
            block = block[rows]
        return [self._fit_column(column, first + i) for i, column in enumerate(block.T)]

    def _fit_column(self, column, feature):
        present = column[~np.isnan(column)].astype(np.float64)
        values, counts = np.unique(present, return_counts=True)
        if self.is_categorical[feature]:
            return frequent_categories(values, counts, self.max_bin)
        return quantile_thresholds(values, counts, self.max_bin)

    def _find_missing(self, X):
        """Which features have values without a bin anywhere in X, not only in the sample."""
        found = np.zeros(X.shape[1], dtype=bool)
        for _, block in self.blocks(X, always=True):
            found |= np.isnan(block).any(axis=0)
        return found

    def transform(self, X, *, by_column=True):
        """Bin every cell.

        Parameters
        ----------
        X : as in `fit`
        by_column : bool
            Whether the copy by columns is wanted.

        Returns
        -------
        BinnedMatrix
        """
        n_rows, n_features = X.shape
        by_row = np.empty((n_rows, n_features), dtype=np.uint8)
        columns = np.empty((n_features, n_rows if by_column else 0), dtype=np.uint8)
        for rows, block in self.blocks(X):
            _binning.map_to_bins(
                block,
                self.thresholds_,
                self.n_bins_,
                self.is_categorical,
                by_row[rows],
                columns[:, rows],
                self.n_threads,
            )
        return BinnedMatrix(by_row, columns)

    def blocks(self, X, *, always=False):
        """Yield (rows, dense block with categories encoded); one block if that needs no copy."""
        step = X.shape[0]
        if always or sparse.issparse(X) or self.categories_:
            step = BLOCK_ROWS
        for first in range(0, X.shape[0], max(step, 1)):
            rows = slice(first, first + step)
            block = X[rows].toarray() if sparse.issparse(X) else X[rows]
            yield rows, self.encode_categories(block)

    def encode_categories(self, X):
        """Replace categories by their bin numbers, unknown ones by NaN.

        Returns X itself if no feature is categorical, else a copy.
        """
        if not self.categories_:
            return X
        X = X.copy()
        for feature, categories in self.categories_.items():
            order = np.argsort(categories)
            at = np.searchsorted(categories, X[:, feature], sorter=order)
            bins = order[np.minimum(at, len(categories) - 1)] if len(categories) else at
            known = len(categories) > 0 and categories[bins] == X[:, feature]
            X[:, feature] = np.where(known, bins, np.nan)
        return X


def quantile_thresholds(values, counts, max_bin):
    """Thresholds between at most `max_bin` bins of about equal numbers of rows.

    A value that holds more than its share of the rows gets a bin to itself, and the others share
    what is left: otherwise one frequent value would eat the bins of the rest.

    Parameters
    ----------
    values : ndarray of float64
        Distinct, ascending.
    counts : ndarray of int
        Rows of each value.
    max_bin : int

    Returns
    -------
    ndarray of float64
        Ascending, each between two neighbouring values (at the lower one if nothing lies between).
    """
    if len(values) <= max_bin:
        last_of_bin = np.arange(len(values) - 1)
    else:
        heavy = counts > counts.sum() / max_bin
        light = np.where(heavy, 0, counts)
        share = light.sum() / max(1, max_bin - 2 * heavy.sum())
        # Light values are cut where their running count passes a multiple of the share.
        quantile = (np.cumsum(light) - light / 2) // max(share, 1)
        cut = (np.diff(quantile) > 0) | heavy[:-1] | heavy[1:]
        last_of_bin = _thin(np.flatnonzero(cut), counts, max_bin - 1)
    lower, upper = values[last_of_bin], values[last_of_bin + 1]
    middle = lower / 2 + upper / 2
    return np.where((middle > lower) & (middle < upper), middle, lower)


def _thin(last_of_bin, counts, most):
    """Drop the cuts that gain least where heavy values asked for more than `most`."""
    while len(last_of_bin) > most:
        rows = np.diff(np.cumsum(counts)[last_of_bin], prepend=0)
        pairs = rows[:-1] + rows[1:]
        last_of_bin = np.delete(last_of_bin, np.argmin(pairs))
    return last_of_bin


def frequent_categories(values, counts, max_bin):
    """The `max_bin` most frequent categories, most frequent first; equals in ascending order."""
    order = np.argsort(-counts, kind="stable")[:max_bin]
    return values[order]


def _pad(thresholds):
    """Stack threshold arrays of different lengths, filled with infinity."""
    width = max([1, *map(len, thresholds)])
    table = np.full((len(thresholds), width), np.inf)
    for row, column in zip(table, thresholds, strict=True):
        row[: len(column)] = column
    return table
