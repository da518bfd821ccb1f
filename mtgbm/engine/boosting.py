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
        0 for the first round of this fit, also if it was interrupted and goes on.
    ended : bool
        Whether training is over, however many rounds are left. A callback sees whether one before
        it in the list has ended it.
    objective : TaskObjectives
    main_task : int
    forest : Forest
        With the tree of this round from the moment it is grown.
    training : LabelledTable
    raw : ndarray of shape (n_rows, n_outputs)
        Training scores: before the tree of this round for weightings, after it for callbacks.
    vectors : ndarray of shape (n_rows, lanes)
        g and h of every output; see `mtgbm.engine.vectors`.
    validation : LabelledTable or None
    validation_raw : ndarray or None
    scores : list of ndarray of shape (n_tasks,)
        Validation scores after each round so far, earlier fits included; empty without
        validation rows.
    score_sign : {1, -1}
        1 if larger scores are better.
    weights : ndarray of shape (n_tasks,)
        What the split search used.
    bag : ndarray of int32 of shape (n_rows_of_the_bag,) or None
        The rows that the tree of this round is grown on, ascending; None for all.
    n_threads : int
    rng : numpy.random.Generator or None
        For weightings and distillations that draw; each spawns its own.
    """

    number: int
    objective: object
    main_task: int
    forest: Forest
    training: LabelledTable
    raw: np.ndarray
    vectors: np.ndarray
    validation: LabelledTable | None = None
    validation_raw: np.ndarray | None = None
    scores: list = field(default_factory=list)
    score_sign: int = -1
    weights: np.ndarray | None = None
    bag: np.ndarray | None = None
    n_threads: int = 1
    rng: np.random.Generator | None = None
    ended: bool = False

    @property
    def tasks(self):
        return self.objective.tasks


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
    weighting : Weighting
        See `mtgbm.weighting`.
    distillation : Distillation or None
        See `mtgbm.weighting`; changes the gradients of tasks that learn from a teacher.
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
    distillation: object | None = None
    callbacks: list = field(default_factory=list)
    profile: Profile = field(default_factory=Profile)

    def run(self, forest, grower, training, n_rounds, validation=None, resumed=None):
        """Add up to `n_rounds` trees to `forest`, in place.

        Training ends early when a callback says so, or when no split is left to be made.

        Parameters
        ----------
        forest : Forest
        grower : TreeGrower
            On the rows of `training`.
        training, validation : LabelledTable
        n_rounds : int
            Those before an interruption count.
        resumed : TrainingState, optional
            What a run came to that was interrupted. Its trees are in `forest`, its scores known to
            the callbacks; `iteration`, `ended` and `parts`, from `get_state`, are read here.
        """
        state = self._start(forest, training, validation)
        if resumed is not None:
            state.number, state.ended = resumed.iteration, resumed.ended
        for callback in self.callbacks:
            callback.on_train_begin(state)
        self.weighting.start(state)
        if self.distillation is not None:
            self.distillation.start(state)
        if resumed is not None:
            self.set_state(state, resumed.parts)
        for number in range(state.number, n_rounds if not state.ended else 0):
            state.number = number
            with self.profile("gradients"):
                self._differentiate(state)
            with self.profile("weighting"):
                state.weights = self.weighting.weights(state)
            state.bag = self.sampling.bag(number, len(state.raw), self.rng, state.bag)
            tree, structure = self._grow(grower, state)
            if tree.n_leaves == 1:
                state.ended = True
                break
            forest.trees.append(tree)
            self.criterion.observe(tree)
            with self.profile("update"):
                self._update(state, tree, structure, training)
            del structure  # and its rows, before the next ones
            with self.profile("callbacks"):
                for callback in self.callbacks:
                    state.ended |= bool(callback.on_round_end(state))
            if state.ended:
                break
        for callback in self.callbacks:
            callback.on_train_end(state)

    def get_state(self, state):
        """Return what the rounds after this one depend on, beside forest and scores.

        Returns
        -------
        dict of dict
            For each part its own state: ndarrays, and what JSON can hold.
        """
        sampling = {
            "generator": self.rng.bit_generator.state,
            "generator_of_round": state.rng.bit_generator.state,
            "bag": state.bag,
        }
        own = {name: part.get_state() for name, part in self._stateful().items()}
        return {"sampling": sampling, **{name: part for name, part in own.items() if part}}

    def set_state(self, state, parts):
        """Go on from what `get_state` returned; parts without a state are not in it."""
        sampling = parts["sampling"]
        self.rng.bit_generator.state = sampling["generator"]
        state.rng.bit_generator.state = sampling["generator_of_round"]
        state.bag = sampling["bag"]
        for name, part in self._stateful().items():
            if name in parts:
                part.set_state(parts[name])

    def _stateful(self):
        """What may remember earlier rounds, by name."""
        parts = {
            "criterion": self.criterion,
            "weighting": self.weighting,
            **{type(callback).__name__: callback for callback in self.callbacks},
        }
        return parts if self.distillation is None else parts | {"distillation": self.distillation}

    def _start(self, forest, training, validation):
        return Round(
            number=0,
            objective=self.objective,
            main_task=self.main_task,
            forest=forest,
            training=training,
            raw=self._scores(forest, training),
            vectors=empty_vectors(len(training.labels), self.objective.n_outputs),
            validation=validation,
            validation_raw=None if validation is None else self._scores(forest, validation),
            n_threads=self.n_threads,
            rng=self.rng.spawn(1)[0],
        )

    def _scores(self, forest, table):
        """Scores of a table under the trees that are there already."""
        scores = np.tile(forest.base_score, (len(table.labels), 1))
        for tree in forest.trees:
            tree.add_binned(table.binned.by_row, scores, self.n_threads)
        return scores

    def _differentiate(self, state):
        table = state.training
        threads = threads_for(10 * state.raw.size, self.n_threads)
        taught = self.distillation is not None
        labels = self.distillation.labels(state) if taught else table.labels
        self.objective.gradients(state.raw, labels, table.weights, state.vectors, threads)
        if taught:
            self.distillation.soften(state)

    def _grow(self, grower, state):
        """The structure from what the criterion sees, the leaves from every output.

        Where a sample of the outputs finds no split, as one that is learned already, all are heard.
        """
        weights = np.asarray(state.weights, dtype=np.float64)[self.objective.task_of_output]
        columns = self.sampling.columns(state.forest.n_features, self.rng)
        gradients = self.criterion.structure(state.vectors, weights, self.n_threads)
        grown = self._grow_tree(grower, state, gradients, columns)
        if grown[0].n_leaves == 1 and gradients.is_sample:
            gradients = self.criterion.structure(
                state.vectors, weights, self.n_threads, sampled=False
            )
            grown = self._grow_tree(grower, state, gradients, columns)
        return grown

    def _grow_tree(self, grower, state, gradients, columns):
        bag = state.bag
        rows = np.arange(len(state.raw), dtype=np.int32) if bag is None else bag.copy()
        with self.profile("quantization"):
            vectors = self.precision.row_vectors(gradients, self.n_threads)
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
