"""The rounds: differentiate, weight, grow, update, and ask the callbacks whether to go on."""

from dataclasses import dataclass, field

import numpy as np

from mtgbm.engine.binning import BinnedMatrix
from mtgbm.engine.profile import Profile
from mtgbm.engine.threads import threads_for
from mtgbm.engine.tree import Forest
from mtgbm.engine.vectors import empty_vectors


@dataclass
class LabelledTable:
    """Binned rows with their labels.

    Attributes
    ----------
    binned : BinnedMatrix
    labels : ndarray of int16 of shape (n_rows, n_tasks)
        Class numbers, -1 where missing.
    weights : ndarray of float32 of shape (n_rows, n_tasks) or None
    """

    binned: BinnedMatrix
    labels: np.ndarray
    weights: np.ndarray | None = None


@dataclass
class Sampling:
    """Which rows and features a round may use. Names are LightGBM's."""

    subsample: float = 1.0
    subsample_freq: int = 0
    colsample_bytree: float = 1.0

    @property
    def bags(self):
        return self.subsample_freq > 0 and self.subsample < 1.0

    def bag(self, number, n_rows, rng, previous):
        """Rows of round `number`, ascending; drawn anew every `subsample_freq` rounds.

        None for all.
        """
        if not self.bags:
            return None
        if previous is not None and number % self.subsample_freq:
            return previous
        size = max(1, int(n_rows * self.subsample))
        return np.sort(rng.choice(n_rows, size, replace=False)).astype(np.int32)

    def columns(self, n_features, rng):
        """Features of a round, ascending."""
        if self.colsample_bytree >= 1.0:
            return np.arange(n_features, dtype=np.int32)
        size = max(1, round(n_features * self.colsample_bytree))
        return np.sort(rng.choice(n_features, size, replace=False)).astype(np.int32)


@dataclass
class Round:
    """What weightings and callbacks see of the training.

    Attributes
    ----------
    number : int
        0 for the first round of this fit.
    tasks : list of Task
    main_task : int
    forest : Forest
        With the tree of this round from the moment it is grown.
    labels : ndarray of shape (n_rows, n_tasks)
    raw : ndarray of shape (n_rows, n_outputs)
        Training scores.
    vectors : ndarray of shape (n_rows, lanes)
        g and h of every output; see `mtgbm.engine.vectors`.
    validation : LabelledTable or None
    validation_raw : ndarray or None
    weights : ndarray of shape (n_tasks,)
        What the split search used.
    """

    number: int
    tasks: list
    main_task: int
    forest: Forest
    labels: np.ndarray
    raw: np.ndarray
    vectors: np.ndarray
    validation: LabelledTable | None = None
    validation_raw: np.ndarray | None = None
    weights: np.ndarray | None = None


@dataclass
class Boosting:
    """Gradient boosting of one forest for all tasks.

    Attributes
    ----------
    objective : TaskObjectives
    criterion : GainSum or GradientSum
        What the split search sees.
    precision : ExactGradients or QuantizedGradients
        In which numbers the histograms are summed.
    weighting : object with ``weights(round)``
    main_task : int
    learning_rate : float
    sampling : Sampling
    rng : numpy.random.Generator
    n_threads : int
    callbacks : list of mtgbm.callbacks.Callback
    profile : Profile
        Is told where the time goes; the grower may share it.
    """

    objective: object
    criterion: object
    precision: object
    weighting: object
    main_task: int
    learning_rate: float
    sampling: Sampling
    rng: np.random.Generator
    n_threads: int
    callbacks: list = field(default_factory=list)
    profile: Profile = field(default_factory=Profile)

    def run(self, forest, grower, training, n_rounds, validation=None):
        """Add up to `n_rounds` trees to `forest`, in place.

        Training ends early when a callback says so, or when no split is left to be made.

        Parameters
        ----------
        forest : Forest
        grower : TreeGrower
            On the rows of `training`.
        training, validation : LabelledTable
        n_rounds : int
        """
        state = self._start(forest, training, validation)
        bag = None
        for callback in self.callbacks:
            callback.on_train_begin(state)
        for number in range(n_rounds):
            state.number = number
            with self.profile("gradients"):
                self._differentiate(state, training)
            with self.profile("weighting"):
                state.weights = self.weighting.weights(state)
            bag = self.sampling.bag(number, len(state.raw), self.rng, bag)
            tree, structure = self._grow(grower, state, bag)
            if tree.n_leaves == 1:
                break
            forest.trees.append(tree)
            with self.profile("update"):
                self._update(state, tree, structure, training)
            del structure  # and its rows, before the next ones
            with self.profile("callbacks"):
                ended = [callback.on_round_end(state) for callback in self.callbacks]
            if any(ended):
                break
        for callback in self.callbacks:
            callback.on_train_end(state)

    def _start(self, forest, training, validation):
        return Round(
            number=0,
            tasks=self.objective.tasks,
            main_task=self.main_task,
            forest=forest,
            labels=training.labels,
            raw=self._scores(forest, training),
            vectors=empty_vectors(len(training.labels), self.objective.n_outputs),
            validation=validation,
            validation_raw=None if validation is None else self._scores(forest, validation),
        )

    def _scores(self, forest, table):
        """Scores of a table under the trees that are there already."""
        scores = np.tile(forest.base_score, (len(table.labels), 1))
        for tree in forest.trees:
            tree.add_binned(table.binned.by_row, scores, self.n_threads)
        return scores

    def _differentiate(self, state, training):
        threads = threads_for(10 * state.raw.size, self.n_threads)
        self.objective.gradients(
            state.raw, training.labels, training.weights, state.vectors, threads
        )

    def _grow(self, grower, state, bag):
        """The structure from what the criterion sees, the leaves from every output."""
        rows = np.arange(len(state.raw), dtype=np.int32) if bag is None else bag.copy()
        weights = np.asarray(state.weights, dtype=np.float64)[self.objective.task_of_output]
        gradients = self.criterion.structure(state.vectors, weights, self.n_threads)
        with self.profile("quantization"):
            vectors = self.precision.row_vectors(gradients, self.n_threads)
        columns = self.sampling.columns(state.forest.n_features, self.rng)
        structure = grower.grow(vectors, gradients, rows, columns)
        with self.profile("leaves"):
            tree = grower.finish(
                structure, state.vectors, self.objective.n_outputs, self.learning_rate
            )
        return tree, structure

    def _update(self, state, tree, structure, training):
        """Add the new tree's values to all scores; rows outside the bag must be walked."""
        if self.sampling.bags:
            tree.add_binned(training.binned.by_row, state.raw, self.n_threads)
        else:
            structure.add_values(state.raw, tree.values, self.n_threads)
        if state.validation is not None:
            tree.add_binned(state.validation.binned.by_row, state.validation_raw, self.n_threads)
