"""One call of `fit`: the estimator's parameters become parts of the engine, and those are run."""

import sys
from dataclasses import fields
from numbers import Integral

import numpy as np
from sklearn.base import clone

from mtgbm.callbacks import EarlyStopping, History, Progress
from mtgbm.engine._memory import release_free_memory
from mtgbm.engine.binning import BinMapper
from mtgbm.engine.boosting import Boosting, LabelledTable, Sampling
from mtgbm.engine.criteria import CRITERIA, GainSum
from mtgbm.engine.grower import GrowthRules, TreeGrower
from mtgbm.engine.profile import Profile
from mtgbm.engine.quantization import ExactGradients, QuantizedGradients
from mtgbm.engine.threads import effective_n_threads
from mtgbm.engine.tree import Forest
from mtgbm.labels import MISSING
from mtgbm.objectives import TaskObjectives
from mtgbm.parameters import check_number, choose, find_task, per_task, suggest
from mtgbm.sklearn_callbacks import SklearnCallbacks, has_callbacks
from mtgbm.validation import RoundScorer, check_decidable, deciding_weights
from mtgbm.weighting import NAMED_WEIGHTINGS

#: Outputs that choose the structure of a tree if there are more: what fits in 16 lanes.
MOST_OUTPUTS = 7


class Training:
    """One call of `fit`: builds the parts of the engine from the estimator and runs them."""

    def __init__(self, estimator, reader, encoder, constant, rng):
        self.estimator = estimator
        self.reader = reader
        self.encoder = encoder
        self.constant = constant
        self.rng = rng
        self.n_threads = effective_n_threads(estimator.n_jobs)
        names = encoder.task_names_
        self.main_task = find_task("main_task", estimator.main_task, names)
        positive_weights = per_task("scale_pos_weight", estimator.scale_pos_weight, names, 1.0)
        self.objective = TaskObjectives(encoder.tasks_, _check_positive(positive_weights))
        self.scorer = RoundScorer(estimator.eval_metric, self.objective)
        self.deciding = deciding_weights(estimator.early_stopping_task, self.main_task, names)
        self.criterion = self._resolve_criterion()
        self.weighting = self._resolve_weighting()
        self.monotone = self._resolve_monotone(len(reader.is_categorical_))

    def _resolve_criterion(self):
        """What chooses the structure; all outputs must be heard where leaves have constraints."""
        estimator = self.estimator
        most = estimator.sketch_outputs
        if most == "auto":
            most = MOST_OUTPUTS if estimator.monotone_constraints is None else None
        elif isinstance(most, str):
            raise ValueError(
                f"unknown sketch_outputs {most!r}; {suggest(most, ['auto'])} Or give a number of "
                "outputs, or None for all."
            )
        elif most is not None:
            check_number("sketch_outputs", most, Integral, 1, None)
        if most is not None and estimator.monotone_constraints is not None:
            raise ValueError(
                f"sketch_outputs={most}: with monotone_constraints every output must be heard in "
                "every tree; use None."
            )
        criterion = choose("split_criterion", estimator.split_criterion, CRITERIA)
        return criterion(self.objective.position_in_task, most, self.rng.spawn(1)[0])

    def _resolve_weighting(self):
        """A fresh weighting: names become objects, objects are cloned."""
        weighting = self.estimator.weighting
        if hasattr(weighting, "weights") and not isinstance(weighting, type):
            weighting = clone(weighting)
        else:
            weighting = choose("weighting", weighting, NAMED_WEIGHTINGS)()
        if hasattr(weighting, "resolve"):
            weighting.resolve(len(self.encoder.tasks_), self.main_task)
        return weighting

    def _resolve_monotone(self, n_features):
        """Constraints as int32 (n_features, n_outputs), None if there are none."""
        constraints = self.estimator.monotone_constraints
        if constraints is None:
            return None
        if not isinstance(constraints, dict):
            constraints = dict.fromkeys(self.encoder.task_names_, constraints)
        free = np.zeros(n_features, dtype=np.int32)
        columns = per_task("monotone_constraints", constraints, self.encoder.task_names_, free)
        for column in columns:
            if np.shape(column) != (n_features,) or not np.isin(column, (-1, 0, 1)).all():
                raise ValueError(
                    f"monotone_constraints must hold -1, 0 or 1 for each of the {n_features} "
                    f"features, got {column!r}."
                )
        if not isinstance(self.criterion, GainSum) or self.objective.n_outputs != len(columns):
            raise ValueError(
                "monotone_constraints need split_criterion='gain_sum' and binary tasks only."
            )
        return np.ascontiguousarray(np.array(columns, dtype=np.int32).T)

    def run(self, training, validation, data):
        """Bin the tables and boost."""
        matrix, labels, weights = training
        if self.constant.any():
            labels = np.where(self.constant, np.int16(MISSING), labels)
        profile = Profile()
        with profile("binning"):
            self._start(matrix, training)
            release_free_memory()
            table = LabelledTable(self.mapper.transform(matrix), labels, weights)
            held = None
            if validation is not None:
                binned = self.mapper.transform(validation[0], by_column=False)
                held = LabelledTable(binned, validation[1], validation[2])
        n_rounds = self.estimator.n_estimators - len(self.forest.trees)
        grower = TreeGrower(
            table.binned,
            self.mapper,
            self._rules(),
            self.n_threads,
            self.monotone,
            profile=profile,
        )
        boosting = self._boosting(n_rounds, held, weights, data, profile)
        boosting.run(self.forest, grower, table, n_rounds, held)
        self._keep_best()
        if self.estimator.verbose > 1:
            print(profile, file=sys.stderr)

    def _start(self, matrix, training):
        """The forest and bins to go on from, or new ones."""
        estimator = self.estimator
        if estimator.warm_start and hasattr(estimator, "forest_"):
            self._check_same_model()
            self.mapper = estimator._mapper.for_more_rows(matrix)
            self.forest = Forest(
                estimator.forest_.base_score,
                estimator.forest_.n_features,
                list(estimator.forest_.trees),
            )
            return
        self.mapper = BinMapper(
            estimator.max_bin,
            estimator.subsample_for_bin,
            self.reader.is_categorical_,
            self.rng,
            self.n_threads,
        ).fit(matrix)
        self.forest = Forest(self._base_scores(*training[1:]), matrix.shape[1])

    def _check_same_model(self):
        old = self.estimator
        if old.n_estimators < len(old.forest_.trees):
            raise ValueError(
                f"warm_start: n_estimators={old.n_estimators} is less than the "
                f"{len(old.forest_.trees)} rounds the model has; raise it."
            )
        same_tasks = old._encoder.tasks_ == self.encoder.tasks_ and all(
            map(np.array_equal, old._encoder.classes_, self.encoder.classes_)
        )
        same_features = old._reader.categories_ == self.reader.categories_ and np.array_equal(
            old._reader.is_categorical_, self.reader.is_categorical_
        )
        if not (same_tasks and same_features):
            raise ValueError(
                "warm_start: tasks, classes, features and categories must be those of the first "
                "fit; set warm_start=False to start anew."
            )

    def _base_scores(self, labels, weights):
        """Each output's score without trees; a task of one class gets Laplace's rule.

        With n rows all of one class, (n + 1) / (n + number of classes) is its probability.
        """
        scores = self.objective.base_scores(labels, weights)
        for task in np.flatnonzero(self.constant):
            outputs = self.objective.outputs_of_task[task]
            known = labels[:, task][labels[:, task] != MISSING]
            counts = np.bincount(known, minlength=self.objective.tasks[task].n_classes) + 1.0
            scores[outputs] = (
                np.log(counts[1] / counts[0])
                if len(outputs) == 1
                else np.log(counts / counts.sum())
            )
        return scores

    def _precision(self):
        if not self.estimator.use_quantized_grad:
            return ExactGradients()
        return QuantizedGradients(first_round=len(self.forest.trees))

    def _rules(self):
        names = [field.name for field in fields(GrowthRules)]
        return GrowthRules(**{name: getattr(self.estimator, name) for name in names})

    def _boosting(self, n_rounds, validation, weights, data, profile):
        estimator = self.estimator
        self.history = History(
            self.scorer,
            estimator.eval_metric,
            weights,
            training=estimator.track_training_score,
            results=self._earlier_results(),
            weights=estimator.weights_history_[: len(self.forest.trees)]
            if self.forest.trees
            else (),
        )
        return Boosting(
            objective=self.objective,
            criterion=self.criterion,
            precision=self._precision(),
            weighting=self.weighting,
            main_task=self.main_task,
            learning_rate=estimator.learning_rate,
            sampling=Sampling(
                estimator.subsample, estimator.subsample_freq, estimator.colsample_bytree
            ),
            rng=self.rng,
            n_threads=self.n_threads,
            callbacks=[self.history, *self._other_callbacks(n_rounds, validation, data)],
            profile=profile,
        )

    def _earlier_results(self):
        """The curves of the rounds that a warm start goes on from."""
        n_rounds = len(self.forest.trees)
        if not n_rounds:
            return None
        return {
            part: {key: curve[:n_rounds] for key, curve in curves.items()}
            for part, curves in self.estimator.evals_result_.items()
        }

    def _other_callbacks(self, n_rounds, validation, data):
        estimator = self.estimator
        self.early_stopping = None
        if estimator.early_stopping_rounds is not None:
            start = np.tile(self.forest.base_score, (len(validation.labels), 1))
            scores = self.scorer(start, validation.labels, validation.weights)
            names = self.encoder.task_names_
            check_decidable(scores, self.deciding, names, estimator.eval_metric)
            self.early_stopping = EarlyStopping(
                self.history,
                estimator.early_stopping_rounds,
                self.deciding,
                self.scorer.sign,
                per_task=estimator.best_round_per_task,
                min_delta=estimator.early_stopping_min_delta,
            )
            yield self.early_stopping
        if estimator.verbose > 0:
            yield Progress(n_rounds, self.history)
        if has_callbacks(estimator):
            yield SklearnCallbacks(
                estimator, n_rounds, lambda round: self.fitted_attributes(), data
            )

    def _keep_best(self):
        """Cut the forest back to the rounds that early stopping chose."""
        self.rounds_per_task = np.full(len(self.encoder.tasks_), len(self.forest.trees))
        if self.early_stopping is None or not self.forest.trees:
            return
        overall, own = self.early_stopping.best_rounds()
        self.rounds_per_task[:] = own if self.estimator.best_round_per_task else overall
        self.forest.keep_rounds(self.rounds_per_task[self.objective.task_of_output])

    def fitted_attributes(self):
        """What `fit` leaves on the estimator."""
        names = self.encoder.task_names_
        n_rounds = len(self.forest.trees)
        rounds = getattr(self, "rounds_per_task", np.full(len(names), n_rounds))
        return {
            "_reader": self.reader,
            "_encoder": self.encoder,
            "_objective": self.objective,
            "_mapper": self.mapper,
            "forest_": self.forest,
            "classes_": self._classes(),
            "task_names_": names,
            "n_tasks_": len(names),
            "evals_result_": self.history.results_,
            "weights_history_": np.array(self.history.weights_).reshape(-1, len(names)),
            "best_iteration_": n_rounds,
            "best_iteration_per_task_": dict(zip(names, map(int, rounds), strict=True)),
        }

    def _classes(self):
        classes = self.encoder.classes_
        if self.encoder.is_1d_:
            return classes[0]
        if any(task.kind == "multiclass" for task in self.encoder.tasks_):
            return classes
        return np.array(classes)


def _check_positive(weights):
    values = np.array(weights, dtype=np.float64)
    if not np.isfinite(values).all() or (values <= 0).any():
        raise ValueError(f"scale_pos_weight must be above 0, got {weights}.")
    return values
