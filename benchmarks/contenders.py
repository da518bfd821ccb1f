"""The libraries under one interface, each as a user would call it.

All get the same rounds, learning rate, leaves, bins and threads; everything else is their default.
Where defaults differ, so do the models: CatBoost's trees are symmetric (depth 6, so 64 leaves) and
each sees 80 % of the rows; XGBoost penalises leaves and lets one hold few rows.
"""

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

LEARNING_RATE = 0.1
LEAVES = 31
SEED = 0


def all_tasks(Y):
    """One model of all labels, of which a single one is 1-d."""
    return [Y if Y.shape[1] > 1 else Y[:, 0]]


def each_task(Y):
    """A model for each label, one after the other."""
    return list(Y.T)


def first_task(Y):
    """The first label alone."""
    return [Y[:, 0]]


class Library:
    """Trains one model for each target that `targets` makes of the labels.

    The library is imported here, before any clock starts. No other one is: two OpenMP runtimes in
    one process would disturb each other.

    Parameters
    ----------
    rounds, bins, threads : int
    targets : callable
        `all_tasks`, `each_task` or `first_task`.
    options : dict
        More parameters of the estimator.
    """

    module: str

    def __init__(self, rounds, bins, threads, targets, options):
        self.rounds = rounds
        self.bins = bins
        self.threads = threads
        self.targets = targets
        self.options = {"random_state": SEED, **options}
        self.library = import_module(self.module)

    def make(self):
        """A new estimator."""
        raise NotImplementedError

    def fit(self, X, Y):
        targets = self.targets(Y)
        self.n_outputs = targets[0].shape[1] if targets[0].ndim == 2 else 1
        self.models = [self.make().fit(X, target) for target in targets]

    def predict_proba(self, X):
        """P(label = 1), a column for each task that was learned, from the public method."""
        # One label comes as two classes, of which the last is wanted.
        columns = [model.predict_proba(X)[:, -self.n_outputs :] for model in self.models]
        return np.hstack(columns)

    # A library without such a predictor, or which does not bin apart, leaves these at None.

    #: score_row(row): log odds from the barest predictor, which checks little or nothing.
    score_row = None
    #: bin(X, Y): what `fit` does before it grows trees, once for each model.
    bin = None


class Mtgbm(Library):
    module = "mtgbm"

    def make(self):
        return self.library.MultiTaskLGBMClassifier(
            n_estimators=self.rounds,
            learning_rate=LEARNING_RATE,
            num_leaves=LEAVES,
            max_bin=self.bins,
            n_jobs=self.threads,
            **self.options,
        )

    def score_row(self, row):
        return self.models[0].forest_.raw_predict(row, 1)

    def bin(self, X, Y):
        from mtgbm.engine.binning import BinMapper

        numeric = np.zeros(X.shape[1], dtype=bool)
        subsample = self.models[0].subsample_for_bin
        rng = np.random.default_rng(SEED)
        BinMapper(self.bins, subsample, numeric, rng, self.threads).fit(X).transform(X)


class TaughtMtgbm(Mtgbm):
    """Every task learns from soft targets in every round: all that distillation can cost.

    The teacher says the same of every row, so that asking it costs nothing.
    """

    def fit(self, X, Y):
        from sklearn.dummy import DummyClassifier

        from mtgbm.weighting import TeacherDistillation

        teacher = DummyClassifier().fit([[0.0]] * 4, [0, 0, 0, 1])
        tasks = [f"task_{number}" for number in range(Y.shape[1])]
        self.options["distillation"] = TeacherDistillation(dict.fromkeys(tasks, teacher))
        super().fit(X, Y)


class LightGBM(Library):
    module = "lightgbm"

    def make(self):
        return self.library.LGBMClassifier(
            n_estimators=self.rounds,
            learning_rate=LEARNING_RATE,
            num_leaves=LEAVES,
            max_bin=self.bins,
            n_jobs=self.threads,
            verbose=-1,
            **self.options,
        )

    def score_row(self, row):
        return [model.booster_.predict(row, raw_score=True) for model in self.models]

    def bin(self, X, Y):
        for model, target in zip(self.models, self.targets(Y), strict=True):
            self.library.Dataset(X, target, params=model.booster_.params).construct()


class XGBoost(Library):
    module = "xgboost"

    def make(self):
        return self.library.XGBClassifier(
            n_estimators=self.rounds,
            learning_rate=LEARNING_RATE,
            tree_method="hist",
            grow_policy="lossguide",
            max_leaves=LEAVES,
            max_depth=0,
            max_bin=self.bins,
            n_jobs=self.threads,
            **self.options,
        )

    def score_row(self, row):
        boosters = (model.get_booster() for model in self.models)
        return [booster.inplace_predict(row, predict_type="margin") for booster in boosters]

    def bin(self, X, Y):
        for target in self.targets(Y):
            self.library.QuantileDMatrix(X, target, max_bin=self.bins, nthread=self.threads)


class CatBoost(Library):
    """Trees of a given number of leaves ("Lossguide") it does not grow for several labels."""

    module = "catboost"

    def make(self):
        return self.library.CatBoostClassifier(
            iterations=self.rounds,
            learning_rate=LEARNING_RATE,
            loss_function="Logloss" if self.n_outputs == 1 else "MultiLogloss",
            leaf_estimation_iterations=1,  # as the others; its default is 10
            depth=6,
            border_count=self.bins - 1,
            thread_count=self.threads,
            verbose=False,
            allow_writing_files=False,
            **self.options,
        )

    def score_row(self, row):
        return self.models[0].predict(row, prediction_type="RawFormulaVal", thread_count=1)

    def bin(self, X, Y):
        for target in self.targets(Y):
            pool = self.library.Pool(X, target, thread_count=self.threads)
            pool.quantize(border_count=self.bins - 1)


class ScikitLearn(Library):
    module = "sklearn.ensemble"

    def make(self):
        from threadpoolctl import threadpool_limits

        # It takes as many threads as OpenMP allows, to predict as well: there is no parameter.
        threadpool_limits(self.threads, user_api="openmp")
        return self.library.HistGradientBoostingClassifier(
            max_iter=self.rounds,
            learning_rate=LEARNING_RATE,
            max_leaf_nodes=LEAVES,
            max_bins=self.bins,
            early_stopping=False,
            **self.options,
        )


@dataclass(frozen=True)
class Contender:
    """A library and what it is asked to do."""

    library: type[Library]
    targets: Any
    options: dict[str, Any]

    def make(self, rounds, bins, threads):
        return self.library(rounds, bins, threads, self.targets, self.options)

    @property
    def package(self):
        return self.library.module.partition(".")[0]

    def is_installed(self):
        return find_spec(self.package) is not None


QUANTIZED = {"use_quantized_grad": True}

#: By the names under which they are chosen and printed.
CONTENDERS = {
    "mtgbm": Contender(Mtgbm, all_tasks, {}),
    "mtgbm, float": Contender(Mtgbm, all_tasks, {"use_quantized_grad": False}),
    "mtgbm, adaptive": Contender(Mtgbm, all_tasks, {"weighting": "adaptive"}),
    "mtgbm, taught": Contender(TaughtMtgbm, all_tasks, {}),
    "lightgbm, one task": Contender(LightGBM, first_task, {}),
    "lightgbm, each task": Contender(LightGBM, each_task, {}),
    "lightgbm quantised, one task": Contender(LightGBM, first_task, QUANTIZED),
    "lightgbm quantised, each task": Contender(LightGBM, each_task, QUANTIZED),
    "xgboost, each task": Contender(XGBoost, each_task, {}),
    "xgboost, one model": Contender(XGBoost, all_tasks, {"multi_strategy": "multi_output_tree"}),
    "catboost, one model": Contender(CatBoost, all_tasks, {}),
    "sklearn, each task": Contender(ScikitLearn, each_task, {}),
}
