"""The growth of one tree, best leaf first: the loop that calls the kernels.

Of a small table a node takes the kernels less time than Python takes to come to the next one, hence
this loop is compiled. Nodes are numbered as they come:

    number      0: root, 1 and 2: its children, then the children of whichever leaf gains most
    rows        of a node are rows[starts[node]:stops[node]], those of its children a part of them
    slots       where its histogram lies, while it may still be split
"""

import heapq
from time import perf_counter

from libc.math cimport INFINITY

from mtgbm.engine._common cimport int32_t

import numpy as np

from mtgbm.engine.threads import PARALLEL_STEPS

cdef:
    int NO_SLOT = -1
    Py_ssize_t FEWEST_STEPS = PARALLEL_STEPS


cdef class Growth:
    """Chooses the structure of one tree.

    Parameters
    ----------
    rules : GrowthRules
    rows : ndarray of int32
        The rows of the tree; reordered in place.
    pool : HistogramPool
    filler : HistogramFiller
    search : SplitSearch
    partition : RowPartition
    root_total : function
        Of this object; gives the sums of the root, whose histogram is filled, for
        ``search.totals``.
    count_lane : int
        Of ``search.totals``: the number of rows of a node.
    n_outputs : int
        Outputs that choose the structure.
    rows_to_share : int
        Rows of a node from which threads share them out, with `spare`.
    spare : ndarray or None
        Histograms of the other threads.
    n_threads : int
    reduce : function or None
        Adds up a histogram over a cluster's workers, in place.
    limit_children : function or None
        ``limit_children(node, left)`` sets the bounds of the values of two children.
    profile : Profile

    Attributes
    ----------
    starts, stops, depths, left : ndarray of int64 of shape (n_nodes,)
        As in `Structure`.
    slots : ndarray of int32 of shape (n_nodes,)
        -1 for a node without a histogram.
    n_nodes : int
        How many there are so far.
    """
    cdef:
        readonly object rules, rows, pool, filler, search, partition, profile
        readonly object starts, stops, depths, left, slots
        readonly int n_nodes
        object root_total, spare, reduce, limit_children
        long long[::1] start, stop, depth, child
        int32_t[::1] slot
        double[:, ::1] totals
        int count_lane, num_leaves, max_depth, n_threads
        double least_rows
        Py_ssize_t n_columns, cells, rows_to_share
        list heap
        double filling, searching, dividing         # seconds
        long long n_filled, n_searched, n_divided

    def __init__(self, rules, rows, pool, filler, search, partition, *, root_total, count_lane,
                 n_outputs, rows_to_share, spare, n_threads, reduce, limit_children, profile):
        cdef int most = 2 * min(rules.num_leaves, len(rows)) + 1
        self.rules, self.rows, self.pool = rules, rows, pool
        self.filler, self.search, self.partition = filler, search, partition
        self.root_total, self.spare, self.reduce = root_total, spare, reduce
        self.limit_children, self.profile = limit_children, profile
        self.count_lane, self.n_threads = count_lane, n_threads
        self.num_leaves, self.max_depth = rules.num_leaves, rules.max_depth
        self.least_rows = 2 * max(1, rules.min_child_samples)
        self.n_columns = pool.shape[0]
        self.cells = pool.shape[0] * pool.shape[1] * n_outputs
        self.rows_to_share = rows_to_share
        self.totals = search.totals
        self.starts = self.start = np.zeros(most, dtype=np.int64)
        self.stops = self.stop = np.zeros(most, dtype=np.int64)
        self.depths = self.depth = np.zeros(most, dtype=np.int64)
        self.left = self.child = np.full(most, -1, dtype=np.int64)
        self.slots = self.slot = np.full(most, NO_SLOT, dtype=np.int32)
        self.heap = []
        self.n_nodes = 1
        self.stop[0] = len(rows)
        self.slot[0] = pool.take()

    def run(self):
        """Split the leaf that gains most, until there are enough or none gains."""
        cdef int n_leaves = 1, node
        self.search_root()
        while self.heap and n_leaves < self.num_leaves:
            node = heapq.heappop(self.heap)[1]
            self._split(node)
            n_leaves += 1
            if n_leaves < self.num_leaves:
                self._search_children(node)
            self._release(node)
        for node in range(self.n_nodes):
            self._release(node)
        self.profile.add("histograms", self.filling, self.n_filled)
        self.profile.add("splits", self.searching, self.n_searched)
        self.profile.add("partition", self.dividing, self.n_divided)

    def search_root(self):
        """Sum all rows of the tree and find their best split."""
        cdef double began
        self.search.bounds[:, 0], self.search.bounds[:, 1] = -np.inf, np.inf
        self.fill(0)
        self.search.totals[0] = self.root_total(self)
        if self._may_split(0):
            began = perf_counter()
            gain = self.search.find(0, self.slot[0], self._threads_for(self.cells))
            self.searching += perf_counter() - began
            self.n_searched += 1
            self._push(0, gain)

    def fill(self, int node):
        """Sum the node's rows into its slot."""
        cdef Py_ssize_t n_rows = self._n_rows(node)
        cdef double began = perf_counter()
        self.filler.fill(
            self.slot[node], self.start[node], self.stop[node],
            self.spare if n_rows >= self.rows_to_share else None,
            self._threads_for(n_rows * self.n_columns))
        self.filling += perf_counter() - began
        self.n_filled += 1
        if self.reduce is not None:
            self.reduce(self.pool.arrays[self.slot[node]])

    cdef int _search_children(self, int node) except -1:
        """Sum the smaller child; the larger is the parent less the smaller."""
        cdef:
            int smaller = self.child[node], larger = self.child[node] + 1
            double began
        if self._n_rows(larger) < self._n_rows(smaller):
            smaller, larger = larger, smaller
        if not (self._may_split(smaller) or self._may_split(larger)):
            return 0
        self.slot[smaller] = self.pool.take()
        self.slot[larger], self.slot[node] = self.slot[node], NO_SLOT
        self.fill(smaller)
        began = perf_counter()
        gains = self.search.find_pair(smaller, self.slot[smaller], larger, self.slot[larger],
                                      self._threads_for(2 * self.cells))
        self.searching += perf_counter() - began
        self.n_searched += 1
        self._push(smaller, gains[0])
        self._push(larger, gains[1])
        return 0

    cdef int _split(self, int node) except -1:
        """Move the node's rows to two children."""
        cdef:
            long long start = self.start[node], stop = self.stop[node], middle
            int left = self.n_nodes
            double began = perf_counter()
        middle = start + self.partition.split(node, start, stop, self._threads_for(stop - start))
        self.dividing += perf_counter() - began
        self.n_divided += 1
        self.n_nodes += 2
        self.child[node] = left
        self.start[left], self.stop[left] = start, middle
        self.start[left + 1], self.stop[left + 1] = middle, stop
        self.depth[left] = self.depth[left + 1] = self.depth[node] + 1
        self.search.divide(node, left)
        if self.limit_children is not None:
            self.limit_children(node, left)
        return 0

    cdef int _push(self, int node, double gain) except -1:
        """Largest gain first; of equals the older node, so that the order is always the same."""
        if gain > -INFINITY:
            heapq.heappush(self.heap, (-gain, node))
        else:
            self._release(node)
        return 0

    cdef int _release(self, int node) except -1:
        if self.slot[node] != NO_SLOT:
            self.pool.give(self.slot[node])
            self.slot[node] = NO_SLOT
        return 0

    cdef bint _may_split(self, int node):
        cdef bint deep = 0 < self.max_depth <= self.depth[node]
        return not deep and self.totals[node, self.count_lane] >= self.least_rows

    cdef Py_ssize_t _n_rows(self, int node):
        return self.stop[node] - self.start[node]

    cdef int _threads_for(self, Py_ssize_t steps):
        """As `threads.threads_for`."""
        return self.n_threads if steps > FEWEST_STEPS else 1


def sum_upwards(
    const long long[::1] left,         # IN (n_nodes,) the left child; the right comes next; -1
    const long long[::1] leaves,       # IN (n_leaves,) number of each leaf
    const double[:, ::1] leaf_sums,    # IN (n_leaves, lanes)
):
    """Sums of every node from those of the leaves; parents have smaller numbers than children."""
    cdef:
        Py_ssize_t n_nodes = left.shape[0], node, leaf, lane, lanes = leaf_sums.shape[1]
        double[:, ::1] sums = np.zeros((n_nodes, lanes))
    for leaf in range(leaves.shape[0]):
        sums[leaves[leaf]] = leaf_sums[leaf]
    for node in range(n_nodes - 1, -1, -1):
        if left[node] >= 0:
            for lane in range(lanes):
                sums[node, lane] = sums[left[node], lane] + sums[left[node] + 1, lane]
    return np.asarray(sums)
