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
from mtgbm.engine.relatedness import Relatedness
from mtgbm.engine.threads import effective_n_threads
from mtgbm.engine.tree import Forest
from mtgbm.fingerprint import data_fingerprint
from mtgbm.labels import MISSING
from mtgbm.objectives import TaskObjectives
from mtgbm.parameters import (
    check_number,
    choose,
    find_task,
    per_task,
    resolve_reg_lambda,
    suggest,
)
from mtgbm.sklearn_callbacks import SklearnCallbacks, has_callbacks
from mtgbm.training_state import TrainingState
from mtgbm.validation import RoundScorer, check_decidable, deciding_weights
from mtgbm.weighting import NAMED_DISTILLATIONS, NAMED_WEIGHTINGS, Distillation, Weighting

#: Weightings whose published form distils too.
DISTILLING_WEIGHTINGS = ("adaptive_kd", "auto_weight_KD")
#: Outputs that choose the structure of a tree, if there are as many: no fewer of several tasks, and
#: no more than fit in 16 lanes.
LEAST_OUTPUTS, MOST_OUTPUTS = 2, 7


class Training:
    """One call of `fit`: builds the parts of the engine from the estimator and runs them."""

    def __init__(self, estimator, reader, encoder, constant, rng, checkpoint=None, before=None):
        self.estimator = estimator
        self.reader = reader
        self.encoder = encoder
        self.constant = constant
        self.rng = rng
        self.before = before
        self.checkpoint = checkpoint
        self.resumed = None if checkpoint is None else checkpoint.resumed
        self.n_threads = effective_n_threads(estimator.n_jobs)
        names = encoder.task_names_
        self.main_task = find_task("main_task", estimator.main_task, names)
        positive_weights = per_task("scale_pos_weight", estimator.scale_pos_weight, names, 1.0)
        self.objective = TaskObjectives(encoder.tasks_, _check_positive(positive_weights))
        self.scorer = RoundScorer(estimator.eval_metric, self.objective)
        self.deciding = deciding_weights(estimator.early_stopping_task, self.main_task, names)
        self.criterion = self._resolve_criterion()
        self.weighting = self._resolve_weighting()
        self.distillation = self._resolve_distillation()
        self.monotone = self._resolve_monotone(len(reader.is_categorical_))

    def _resolve_criterion(self):
        """What chooses the structure; all outputs must be heard where leaves have constraints."""
        estimator = self.estimator
        most = estimator.sketch_outputs
        if most == "auto":
            most = self._drawn_outputs() if estimator.monotone_constraints is None else None
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
        has_tasks = len(self.encoder.tasks_) > 1
        related = Relatedness(self.objective.n_outputs) if has_tasks and most is not None else None
        return criterion(self.objective.position_in_task, most, self.rng.spawn(1)[0], related)

    def _drawn_outputs(self):
        """Half of the outputs of several tasks: each round then serves some of them well."""
        if len(self.encoder.tasks_) == 1:
            return MOST_OUTPUTS
        return min(max(LEAST_OUTPUTS, self.objective.n_outputs // 2), MOST_OUTPUTS)

    def _resolve_weighting(self):
        """A fresh weighting: names become objects, objects are cloned, None is "fixed"."""
        weighting = self.estimator.weighting
        weighting = "fixed" if weighting is None else weighting
        if isinstance(weighting, Weighting):
            weighting = clone(weighting)
        else:
            weighting = choose("weighting", weighting, NAMED_WEIGHTINGS)()
        weighting.check(self.encoder.tasks_, self.main_task)
        return weighting

    def _resolve_distillation(self):
        """A fresh distillation or None, as `_resolve_weighting`; some weightings bring one."""
        distillation = self.estimator.distillation
        weighting = self.estimator.weighting
        if distillation is None and isinstance(weighting, str):
            distillation = "self" if weighting in DISTILLING_WEIGHTINGS else None
        if distillation is None:
            return None
        if isinstance(distillation, Distillation):
            distillation = clone(distillation)
        else:
            distillation = choose("distillation", distillation, NAMED_DISTILLATIONS)()
        distillation.check(self.encoder.tasks_, self.main_task)
        return distillation

    def _check_watched(self, validation):
        """Refuse a weighting or distillation that watches what there is not."""
        for part in filter(None, (self.weighting, self.distillation)):
            if part.needs_validation and validation is None:
                raise ValueError(
                    f"{type(part).__name__} watches validation scores, but there are no "
                    "validation rows; give fit X_val and y_val, or set early_stopping_rounds, for "
                    "which a part of the rows is held out."
                )
        watches_log_loss = self.weighting.needs_validation and self.weighting.needs_log_loss
        if watches_log_loss and self.scorer.metric != "logloss":
            raise ValueError(
                f"{type(self.weighting).__name__} compares validation log losses, but eval_metric "
                f"is {self.scorer.metric!r}; set eval_metric='logloss'."
            )

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
        """Bin the tables and boost.

        Parameters
        ----------
        training, validation : LabelledRows
            The latter may be None.
        data : dict
            What `fit` was given, as scikit-learn's callbacks see it: "X" and "y".
        """
        self._check_watched(validation)
        if self.distillation is not None:
            self.distillation.prepare(data["X"], training.numbers, self.encoder.tasks_)
        if self.checkpoint is not None:
            self.checkpoint.check_data(self._fingerprint(training, validation))
        matrix, labels, weights, _ = training
        if self.constant.any():
            labels = np.where(self.constant, np.int16(MISSING), labels)
        profile = Profile()
        with profile("binning"):
            self._start(matrix, training)
            release_free_memory()
            table = LabelledTable(self.mapper.transform(matrix), labels, weights)
            held = None
            if validation is not None:
                binned = self.mapper.transform(validation.matrix, by_column=False)
                held = LabelledTable(binned, validation.labels, validation.weights)
        first = 0 if self.resumed is None else self.resumed.iteration
        self.n_earlier = len(self.forest.trees) - first
        n_rounds = self.before.n_rounds if self.before else self.estimator.n_estimators
        grower = TreeGrower(
            table.binned,
            self.mapper,
            self._rules(),
            self.n_threads,
            self.monotone,
            profile=profile,
        )
        boosting = self._boosting(n_rounds, held, data, profile)
        boosting.run(self.forest, grower, table, n_rounds, held, self.resumed)
        self._keep_best()
        if self.estimator.verbose > 1:
            print(profile, file=sys.stderr)

    def _fingerprint(self, training, validation):
        """Checksums of everything that this fit learns from."""
        return data_fingerprint(
            {"training": training, "validation": validation},
            {} if self.distillation is None else self.distillation.prepared(),
            self.reader,
            self.encoder,
        )

    def _start(self, matrix, training):
        """The forest and bins to go on from, or new ones."""
        estimator = self.estimator
        if self.resumed is not None:
            self.mapper, self.forest = self.resumed.mapper, self.resumed.forest
            return
        base_scores = self._base_scores(training.labels, training.weights)
        if self.before is not None:
            self.mapper = self.before.mapper.for_more_rows(matrix)
            self.forest = self.before.widened_forest(base_scores)
            return
        self.mapper = BinMapper(
            estimator.max_bin,
            estimator.subsample_for_bin,
            self.reader.is_categorical_,
            self.rng,
            self.n_threads,
        ).fit(matrix)
        self.forest = Forest(base_scores, matrix.shape[1])

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
        rules = {field.name: getattr(self.estimator, field.name) for field in fields(GrowthRules)}
        penalty = resolve_reg_lambda(self.estimator.reg_lambda, len(self.encoder.tasks_))
        return GrowthRules(**rules | {"reg_lambda": penalty})

    def _boosting(self, n_rounds, validation, data, profile):
        estimator = self.estimator
        self.history = History(
            self.scorer,
            estimator.eval_metric,
            training=estimator.track_training_score,
            results=self._earlier_results(),
            weights=self._earlier_weights(),
        )
        boosting = Boosting(
            objective=self.objective,
            criterion=self.criterion,
            precision=self._precision(),
            weighting=self.weighting,
            distillation=self.distillation,
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
        if self.checkpoint is not None:
            self.checkpoint.capture = lambda round: self._state(boosting, round)
            boosting.callbacks.append(self.checkpoint)
        return boosting

    def _state(self, boosting, round):
        """All that it takes to go on from this round."""
        return TrainingState(
            iteration=len(self.forest.trees) - self.n_earlier,
            ended=round.ended,
            seed=self.checkpoint.seed,
            kept_rounds=self._best_rounds()[self.objective.task_of_output],
            evals_result=self.history.results_,
            weight_evolution=self.history.weight_evolution(len(self.encoder.tasks_)),
            parts=boosting.get_state(round),
            forest=self.forest,
            mapper=self.mapper,
        )

    def _earlier_weights(self):
        """The weights of the rounds that this fit goes on from."""
        if self.resumed is not None:
            return self.resumed.weight_evolution
        return self.before.weights_of(len(self.encoder.tasks_)) if self.before else ()

    def _earlier_results(self):
        """The curves of the rounds that this fit goes on from."""
        if self.resumed is not None:
            return self.resumed.evals_result
        return self.before.curves_of(self.encoder.task_names_) if self.before else None

    def _other_callbacks(self, n_rounds, validation, data):
        estimator = self.estimator
        self.early_stopping = None
        if estimator.early_stopping_rounds is not None:
            start = np.tile(self.forest.base_score, (len(validation.labels), 1))
            scores = self.scorer(start, validation.labels, validation.weights)
            names = self.encoder.task_names_
            check_decidable(scores, self.deciding, names, estimator.eval_metric)
            self.early_stopping = EarlyStopping(
                estimator.early_stopping_rounds,
                self.deciding,
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
        self.rounds_per_task = self._best_rounds()
        if self.early_stopping is not None and self.forest.trees:
            self.forest.keep_rounds(self.rounds_per_task[self.objective.task_of_output])

    def _best_rounds(self):
        """Number of rounds that each task keeps; all without early stopping."""
        rounds = np.full(len(self.encoder.tasks_), len(self.forest.trees))
        if self.early_stopping is not None and self.forest.trees:
            overall, own = self.early_stopping.best_rounds()
            rounds[:] = own if self.estimator.best_round_per_task else overall
        return rounds

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
            "weight_evolution_": self.history.weight_evolution(len(names)),
            "best_iteration_": n_rounds,
            "best_iteration_per_task_": dict(zip(names, map(int, rounds), strict=True)),
            "distilled_rounds_": self._distilled_rounds(),
        }

    def _distilled_rounds(self):
        if self.distillation is None:
            return {}
        names = self.encoder.task_names_
        return {names[task]: rounds for task, rounds in self.distillation.distilled.items()}

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
