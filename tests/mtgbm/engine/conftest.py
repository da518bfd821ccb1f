"""What the engine's tests share: kernels by instruction set, row vectors, grown trees, forests.

The fixtures are functions that build things, one for the whole session, so that hypothesis may
call them as often as it likes. Trees and forests are grown in both precisions: what a test asks of
one must hold for the other.
"""

import importlib
from dataclasses import dataclass

import numpy as np
import pytest

from mtgbm.engine._common import supported_instruction_sets
from mtgbm.engine.binning import BinMapper, BinnedMatrix
from mtgbm.engine.boosting import Boosting, LabelledTable, Sampling
from mtgbm.engine.criteria import CRITERIA
from mtgbm.engine.grower import GrowthRules, Structure, TreeGrower
from mtgbm.engine.quantization import ExactGradients, QuantizedGradients
from mtgbm.engine.tree import Forest, Tree
from mtgbm.engine.vectors import empty_vectors
from mtgbm.objectives import Task, TaskObjectives
from mtgbm.weighting import FixedWeighting


@dataclass
class Grown:
    """A tree with what it was grown from."""

    tree: Tree
    structure: Structure
    mapper: BinMapper
    binned: BinnedMatrix

    def leaf_of_rows(self):
        """The leaf of every training row, from the structure alone."""
        leaves = np.full(len(self.binned.by_row), -1)
        structure = self.structure
        for number, node in enumerate(structure.leaves):
            leaves[structure.rows[structure.starts[node] : structure.stops[node]]] = number
        return leaves


class SamePhases(QuantizedGradients):
    """Every lane and every round is rounded alike.

    So models with other tasks beside the same one can be compared bit by bit, and gradients that
    are whole numbers stay what they are as long as there are few rows.
    """

    def rounding_phases(self, n_lanes):
        return np.zeros(n_lanes, dtype=np.uint32)


@pytest.fixture(scope="session", params=supported_instruction_sets())
def variant(request):
    """Imports the variant of a kernel for one instruction set, for each that this machine has."""
    return lambda name: importlib.import_module(f"{name}_{request.param}")


@pytest.fixture(scope="session", params=["exact", "quantized"])
def make_precision(request):
    """Makes what `grow` and `boost` turn gradients into histograms' numbers with."""
    if request.param == "exact":
        return ExactGradients
    return SamePhases


@pytest.fixture(scope="session")
def row_vectors():
    """Row vectors of given gradients and hessians, both (n_rows, n_outputs)."""

    def build(g, h):
        n_rows, n_outputs = np.shape(g)
        vectors = empty_vectors(n_rows, n_outputs)
        vectors[:, :n_outputs] = g
        vectors[:, n_outputs : 2 * n_outputs] = h
        return vectors

    return build


@pytest.fixture(scope="session")
def fit_mapper():
    """A fitted `BinMapper`; `categorical` lists the columns that hold categories."""

    def fit(X, categorical=(), max_bin=255, subsample=200_000, n_threads=1):
        is_categorical = np.isin(np.arange(X.shape[1]), categorical)
        rng = np.random.default_rng(0)
        return BinMapper(max_bin, subsample, is_categorical, rng, n_threads).fit(X)

    return fit


@pytest.fixture(scope="session")
def grow(row_vectors, fit_mapper, make_precision):
    """Grows one tree on given gradients, with rules that forbid nothing unless told otherwise."""

    def build(
        X,
        g,
        h=None,
        *,
        weights=None,
        criterion="gain_sum",
        categorical=(),
        mapper=None,
        monotone=None,
        rows=None,
        columns=None,
        learning_rate=1.0,
        n_threads=1,
        **rules,
    ):
        g = np.asarray(g, dtype=np.float32)
        vectors = row_vectors(g, np.ones_like(g) if h is None else h)
        mapper = mapper or fit_mapper(X, categorical)
        binned = mapper.transform(X)
        free = {"min_child_samples": 1, "min_child_weight": 0.0}
        grower = TreeGrower(binned, mapper, GrowthRules(**(free | rules)), n_threads, monotone)
        weights = np.ones(g.shape[1]) if weights is None else np.asarray(weights, dtype=float)
        positions = np.zeros(len(weights), np.int32)
        seen = CRITERIA[criterion](positions).structure(vectors, weights, n_threads)
        numbers = make_precision().row_vectors(seen, n_threads)
        rows = np.array(range(len(X)) if rows is None else rows, dtype=np.int32)
        columns = np.array(range(X.shape[1]) if columns is None else columns, dtype=np.int32)
        structure = grower.grow(numbers, seen, rows, columns)
        tree = grower.finish(structure, vectors, g.shape[1], learning_rate)
        return Grown(tree, structure, mapper, binned)

    return build


@pytest.fixture(scope="session")
def boost(fit_mapper, make_precision):
    """Trains a forest on labels, -1 where missing, a task per column; returns it and its mapper."""

    def train(
        X,
        labels,
        *,
        tasks=None,
        row_weights=None,
        n_rounds=5,
        learning_rate=0.3,
        criterion="gain_sum",
        most_outputs=None,
        weighting=None,
        sampling=None,
        categorical=(),
        mapper=None,
        monotone=None,
        callbacks=(),
        validation=None,
        n_threads=1,
        **rules,
    ):
        labels = np.ascontiguousarray(labels, dtype=np.int16)
        tasks = tasks or [Task(f"task {number}") for number in range(labels.shape[1])]
        objective = TaskObjectives(tasks, np.ones(len(tasks)))
        mapper = mapper or fit_mapper(X, categorical)
        binned = mapper.transform(X)
        forest = Forest(objective.base_scores(labels, row_weights), X.shape[1])
        rules = GrowthRules(**({"min_child_samples": 1} | rules))
        Boosting(
            objective=objective,
            criterion=CRITERIA[criterion](
                objective.position_in_task, most_outputs, np.random.default_rng(1)
            ),
            precision=make_precision(),
            weighting=weighting or FixedWeighting(),
            main_task=0,
            learning_rate=learning_rate,
            sampling=sampling or Sampling(),
            rng=np.random.default_rng(0),
            n_threads=n_threads,
            callbacks=list(callbacks),
        ).run(
            forest,
            TreeGrower(binned, mapper, rules, n_threads, monotone),
            LabelledTable(binned, labels, row_weights),
            n_rounds,
            validation and LabelledTable(mapper.transform(validation[0]), validation[1]),
        )
        return forest, mapper

    return train
