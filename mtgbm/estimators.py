"""The scikit-learn estimator. It reads tables and labels; the engine does the learning."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from mtgbm import explanation, model_state
from mtgbm.checkpoint import open_checkpoint
from mtgbm.continuation import (
    TaskColumns,
    check_any_label,
    of_partial_fit,
    of_warm_start,
    validation_labels,
)
from mtgbm.diagnostics import task_affinity
from mtgbm.engine.threads import effective_n_threads, threads_for_jobs
from mtgbm.features import FeatureReader
from mtgbm.io.lightgbm_text import to_lightgbm
from mtgbm.io.native import save_model
from mtgbm.io.onnx import to_onnx
from mtgbm.io.tree_table import trees_to_dataframe
from mtgbm.labelled_rows import LabelledRows
from mtgbm.labels import LabelEncoder, check_tasks
from mtgbm.parameters import check_parameters, choose, find_task
from mtgbm.sample_weights import row_weights, without_weightless_rows
from mtgbm.sklearn_callbacks import CallbackSupportMixin, with_callbacks
from mtgbm.task_hierarchy import TaskHierarchy
from mtgbm.training import Training
from mtgbm.validation import hold_out

#: Rows whose probabilities are computed at a time, so that the copies stay in the cache.
LINK_ROWS = 16_384


def _has_one_task(estimator):
    return getattr(estimator, "n_tasks_", 1) == 1


class MultiTaskLGBMClassifier(CallbackSupportMixin, ClassifierMixin, BaseEstimator):
    """Gradient boosted trees that learn several labels of the same rows together.

    All tasks share the structure of each tree; every leaf holds one value per task. Parameters
    that LightGBM has bear its names and defaults.

    Parameters
    ----------
    n_estimators : int, default=100
        Rounds; one tree each, for all tasks.
    learning_rate : float, default=0.1
        Factor on every leaf value.
    num_leaves : int, default=31
        Most leaves of a tree, at least 2.
    max_depth : int, default=-1
        Most splits above a leaf; no limit if not positive.
    min_child_samples : int, default=20
        Fewest rows of a leaf, labelled or not. Rows are counted; LightGBM estimates this number
        from hessians.
    min_child_weight : float, default=1e-3
        A task has a say in a split only if both sides hold this much of its hessian. Also the
        least hessian by which the gradient of a task is divided in a leaf.
    min_split_gain : float, default=0.0
        A split must gain more than this.
    reg_alpha : float, default=0.0
        L1 penalty on each task's leaf values.
    reg_lambda : float or "auto", default="auto"
        L2 penalty on each task's leaf values. "auto": 10 for several tasks, whose leaves are not
        made for one of them alone (docs/quality.rst has the measurements), and LightGBM's 0 for
        one.
    max_delta_step : float, default=0.0
        Largest absolute leaf value before `learning_rate`; 0 for no limit.
    subsample : float, default=1.0
        Share of the rows of each bag; acts only if `subsample_freq` is positive.
    subsample_freq : int, default=0
        Draw a new bag every so many rounds; all tasks use the same rows.
    colsample_bytree : float, default=1.0
        Share of the features of each tree, for all tasks the same.
    max_bin : int, default=255
        Most bins of a feature, 2 to 255; missing values have one more.
    subsample_for_bin : int, default=200000
        Rows from which bins are made.
    objective : None, {"binary", "multiclass"}, list or dict, default=None
        Kind of each task: one for all, a list, or a dict by task name. None: binary for the
        columns of a 2-d Y, and what the labels say for a 1-d y.
    scale_pos_weight : float, list or dict, default=None
        Factor on the weight of positive rows, for all tasks, each, or some by name.
    monotone_constraints : list of int, or dict, default=None
        -1, 0 or 1 for each feature: for all tasks, or by task name. Needs
        ``split_criterion="gain_sum"`` and binary tasks.
    categorical_feature : "auto" or list, default="auto"
        Names or positions of categorical features; "auto" takes DataFrame columns of categorical
        dtype.
    cat_smooth, cat_l2 : float, default=10.0
        Smoothing of the order of categories, and their extra L2 penalty.
    max_cat_threshold, max_cat_to_onehot, min_data_per_group : int, default=32, 4, 100
        Most categories on the left side, features with so few are split one against the rest,
        fewest rows between two candidate subsets.
    weighting : None, str or Weighting, default="auto"
        How much each task has to say about the structure of the trees; leaf values do not depend
        on it. One of the objects of :mod:`mtgbm.weighting`, or its name: "fixed" (None means the
        same), "adaptive" (or "auto_weight"), "adaptive_kd" (or "auto_weight_KD": with
        ``distillation="self"`` unless another is given), "inverse_distance", "affinity",
        "uncertainty", "focus", or "auto": the best that was measured, at present "fixed".
    distillation : None, "self", "main_task" or distillation object, default=None
        Whether tasks learn from soft targets too: a task that stops improving from its own best
        round or from the main task, or any from a teacher; see
        :class:`mtgbm.weighting.SelfDistillation`, :class:`mtgbm.weighting.MainTaskDistillation`
        and :class:`mtgbm.weighting.TeacherDistillation`. Scores are always those of the labels.
    split_criterion : {"gain_sum", "gradient_sum"}, default="gain_sum"
        Add up the tasks' weighted gains, or take the gain of their weighted gradients (MT-GBM).
    sketch_outputs : int, None or "auto", default="auto"
        Most outputs (tasks, or classes of multiclass tasks) that choose the structure of a tree,
        drawn anew in each round; None for all. "auto": half of those of several tasks, but 2 to 7,
        since trees that serve a few tasks at a time serve all of them better; 7 of one task; all
        with `monotone_constraints`. Of several tasks one leads, drawn by the weights, and others
        are heard as far as the leaves of earlier trees show that they have something in common with
        it. Leaf values are those of all outputs always.
    main_task : int or str, default=0
        Position or name of the task that weightings favour and early stopping watches.
    task_hierarchy : dict, default=None
        Child to parent, by name or position, where a positive child implies a positive parent:
        ``{"late_60": "late_15"}``. Predictions then have P(child) <= P(parent), see
        :class:`mtgbm.task_hierarchy.TaskHierarchy`; scores and training stay as they are.
    use_quantized_grad : bool, default=True
        Choose splits by integer gradients of up to 16 bits, which is up to twice as fast; leaf
        values always come from the gradients themselves. False: by float sums, as LightGBM does.
    early_stopping_rounds : int or None, default=None
        Stop when the validation score has not improved for so many rounds, and keep the best.
    early_stopping_task : None, "mean", int, str or dict, default=None
        Whose score decides: the main task's, the mean of all, one task's, or a mean with the
        weights of a dict by task name.
    early_stopping_min_delta : float, default=0.0
        Smaller improvements do not count.
    eval_metric : {"logloss", "auc", "average_precision"}, default="logloss"
        The validation score of each task.
    validation_fraction : float, default=0.1
        Share of the rows held out for early stopping if `fit` gets no `X_val`.
    best_round_per_task : bool, default=False
        Each task keeps the rounds up to its own best, and training goes on until no deciding task
        improves. Needs early stopping.
    track_training_score : bool, default=False
        Score the training rows in every round too, for learning curves.
    importance_type : {"split", "gain"}, default="split"
        What `feature_importances_` holds.
    warm_start : bool, default=False
        `fit` adds rounds to the model it finds, up to `n_estimators`; Y may have new tasks after
        the old ones.
    checkpoint_path : str or path-like, default=None
        A file in which `fit` keeps its state, and from which it goes on, to the same model as
        without an interruption, if the file is there and of the same data and parameters
        (`n_estimators` may be larger). Each fit needs a file of its own; `partial_fit` of a fitted
        model writes none.
    checkpoint_interval : int, default=10
        Write it after every so many rounds, and at the end.
    random_state : int, RandomState or None, default=None
    n_jobs : int or None, default=None
        Threads; None and -1 mean all cores that joblib and OpenMP allow.
    verbose : int, default=0
        1 shows a progress bar with the validation score; 2 also a table, at the end, of the time
        that each phase took.

    Attributes
    ----------
    classes_ : ndarray, or list of ndarray
        ``[0, 1]`` for each task, of shape (n_tasks, 2); the classes of a 1-d y; a list if a task
        of a 2-d Y is multiclass.
    task_names_ : list of str
        Columns of Y, or task_0, task_1, ...
    n_tasks_ : int
    best_iteration_ : int
        Rounds kept.
    best_iteration_per_task_ : dict
        Rounds kept for each task.
    distilled_rounds_ : dict
        Name of each distilled task: how many rounds had learned from its labels alone when it got
        soft targets, 0 if it had them from the start. Early stopping may keep fewer.
    evals_result_ : dict
        ``{"validation": {"<task>:<metric>": [one value a round]}}``, also "training" if tracked.
    weight_evolution_ : ndarray of shape (n_rounds, n_tasks)
        The weights of each round's split search.
    forest_ : Forest
        The trees.
    n_features_in_, feature_names_in_ :
        As in every scikit-learn estimator.

    References
    ----------
    Ying et al., "MT-GBM: A Multi-Task Gradient Boosting Machine with Shared Decision Trees"
    (2022), arXiv:2201.06239. Ke et al., "LightGBM: A Highly Efficient Gradient Boosting Decision
    Tree", NIPS 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from mtgbm import MultiTaskLGBMClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 4))
    >>> Y = np.column_stack([X[:, 0] > 0, X[:, 0] + X[:, 1] > 1]).astype(float)
    >>> Y[:250, 1] = np.nan  # the second label is not known for every row
    >>> model = MultiTaskLGBMClassifier(n_estimators=20).fit(X, Y)
    >>> model.predict_proba(X).shape
    (500, 2)
    """

    def __init__(
        self,
        *,
        n_estimators=100,
        learning_rate=0.1,
        num_leaves=31,
        max_depth=-1,
        min_child_samples=20,
        min_child_weight=1e-3,
        min_split_gain=0.0,
        reg_alpha=0.0,
        reg_lambda="auto",
        max_delta_step=0.0,
        subsample=1.0,
        subsample_freq=0,
        colsample_bytree=1.0,
        max_bin=255,
        subsample_for_bin=200_000,
        objective=None,
        scale_pos_weight=None,
        monotone_constraints=None,
        categorical_feature="auto",
        cat_smooth=10.0,
        cat_l2=10.0,
        max_cat_threshold=32,
        max_cat_to_onehot=4,
        min_data_per_group=100,
        weighting="auto",
        distillation=None,
        split_criterion="gain_sum",
        sketch_outputs="auto",
        main_task=0,
        task_hierarchy=None,
        use_quantized_grad=True,
        early_stopping_rounds=None,
        early_stopping_task=None,
        early_stopping_min_delta=0.0,
        eval_metric="logloss",
        validation_fraction=0.1,
        best_round_per_task=False,
        track_training_score=False,
        importance_type="split",
        warm_start=False,
        checkpoint_path=None,
        checkpoint_interval=10,
        random_state=None,
        n_jobs=None,
        verbose=0,
    ):
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.max_depth = max_depth
        self.min_child_samples = min_child_samples
        self.min_child_weight = min_child_weight
        self.min_split_gain = min_split_gain
        self.reg_alpha = reg_alpha
        self.reg_lambda = reg_lambda
        self.max_delta_step = max_delta_step
        self.subsample = subsample
        self.subsample_freq = subsample_freq
        self.colsample_bytree = colsample_bytree
        self.max_bin = max_bin
        self.subsample_for_bin = subsample_for_bin
        self.objective = objective
        self.scale_pos_weight = scale_pos_weight
        self.monotone_constraints = monotone_constraints
        self.categorical_feature = categorical_feature
        self.cat_smooth = cat_smooth
        self.cat_l2 = cat_l2
        self.max_cat_threshold = max_cat_threshold
        self.max_cat_to_onehot = max_cat_to_onehot
        self.min_data_per_group = min_data_per_group
        self.weighting = weighting
        self.distillation = distillation
        self.split_criterion = split_criterion
        self.sketch_outputs = sketch_outputs
        self.main_task = main_task
        self.task_hierarchy = task_hierarchy
        self.use_quantized_grad = use_quantized_grad
        self.early_stopping_rounds = early_stopping_rounds
        self.early_stopping_task = early_stopping_task
        self.early_stopping_min_delta = early_stopping_min_delta
        self.eval_metric = eval_metric
        self.validation_fraction = validation_fraction
        self.best_round_per_task = best_round_per_task
        self.track_training_score = track_training_score
        self.importance_type = importance_type
        self.warm_start = warm_start
        self.checkpoint_path = checkpoint_path
        self.checkpoint_interval = checkpoint_interval
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.classifier_tags.multi_class = True
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        return tags

    @with_callbacks
    def fit(
        self,
        X,
        Y=None,
        sample_weight=None,
        *,
        y=None,
        X_val=None,
        y_val=None,
        label_mask=None,
        task_weight=None,
    ):
        """Learn all tasks.

        Parameters
        ----------
        X : array-like, CSR matrix or DataFrame of shape (n_rows, n_features)
            Numbers, NaN where missing; categorical columns in a DataFrame.
        Y : array-like or DataFrame of shape (n_rows,) or (n_rows, n_tasks)
            Labels; NaN where a row is not labelled for a task.
        sample_weight : array-like of shape (n_rows,), optional
            Weight of each row for all tasks.
        y : array-like, optional
            Y under the name that scikit-learn's tools call it by.
        X_val, y_val : optional
            Validation rows for early stopping and `evals_result_`.
        label_mask : array-like of bool of the shape of Y, optional
            False where a label is to be treated as missing.
        task_weight : array-like of shape (n_rows, n_tasks), optional
            Weight of each row for each task, on top of `sample_weight`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For parameters out of range, infinite features, labels outside those of a task, a task
            without labels, tables that do not fit together.
        """
        Y = self._one_target(Y, y)
        self._check(X_val, y_val)
        return self._fit(X, Y, sample_weight, X_val, y_val, label_mask, task_weight)

    @with_callbacks
    def partial_fit(
        self,
        X,
        Y=None,
        sample_weight=None,
        *,
        y=None,
        classes=None,
        X_val=None,
        y_val=None,
        label_mask=None,
        task_weight=None,
    ):
        """Add `n_estimators` rounds that learn from these rows alone, and tasks if Y has new ones.

        The first call is `fit`. Later ones keep trees, bins and categories; categories that were
        not seen in the first call count as missing. Learn a few rounds of a small learning rate
        from each part of the data: no tree is forgotten, but the last parts have the last word.

        Columns of a DataFrame are matched with the tasks by name, those of an array by position.
        Tasks without a column are not labelled here, and learn nothing. Columns beyond the known
        tasks become new tasks: their score starts from the share of positives in these rows, and
        the trees that are there already say nothing about them. A DataFrame in the first call
        therefore needs two columns at least: one is a 1-d y, to which no tasks can be added.

        Parameters
        ----------
        X, Y, sample_weight, y, X_val, y_val, label_mask, task_weight
            As in `fit`.
        classes : array-like, or list of one array-like for each task, optional
            All classes, in the first call, if its Y does not hold them all.

        Returns
        -------
        self
            `evals_result_` holds the rounds of this call. Only the first call writes checkpoints.

        Raises
        ------
        ValueError
            As `fit`; for a label of a class that the first call did not know, or no label at all.

        Examples
        --------
        >>> import numpy as np
        >>> import pandas as pd
        >>> from mtgbm import MultiTaskLGBMClassifier
        >>> X = np.random.default_rng(0).normal(size=(600, 3))
        >>> Y = pd.DataFrame({"view": X[:, 0] > -1, "click": X[:, 0] > 0, "buy": X[:, 0] > 1})
        >>> model = MultiTaskLGBMClassifier(n_estimators=10)
        >>> model.partial_fit(X[:300], Y[["view", "click"]][:300]).task_names_
        ['view', 'click']
        >>> model.partial_fit(X[300:], Y[300:]).task_names_
        ['view', 'click', 'buy']
        >>> model.best_iteration_
        20
        """
        Y = self._one_target(Y, y)
        self._check(X_val, y_val)
        if hasattr(self, "forest_"):
            return self._continue(X, Y, sample_weight, X_val, y_val, label_mask, task_weight)
        return self._fit(X, Y, sample_weight, X_val, y_val, label_mask, task_weight, classes)

    def _fit(self, X, Y, sample_weight, X_val, y_val, label_mask, task_weight, classes=None):
        """Start anew, or from what `warm_start` finds."""
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        checkpoint = open_checkpoint(self, int(seed))
        rng = np.random.default_rng(seed if checkpoint is None else checkpoint.seed)
        reader = FeatureReader(self.categorical_feature)
        encoder = LabelEncoder(self.objective)
        matrix = reader.fit_transform(self, X)
        labels = encoder.fit_transform(Y, label_mask, classes)
        training = _learnable_rows(matrix, labels, sample_weight, task_weight)
        before = of_warm_start(self, reader, encoder)
        training, validation = self._split(training, reader, encoder, X_val, y_val, rng)
        constant = check_tasks(training.labels, encoder.tasks_)
        self._warn_of_contradictions(training.labels, encoder.tasks_)
        session = Training(self, reader, encoder, constant, rng, checkpoint, before)
        return self._run(session, training, validation, X, Y)

    def _continue(self, X, Y, sample_weight, X_val, y_val, label_mask, task_weight):
        """Go on from the fitted model with other rows."""
        n_old = self.n_tasks_
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        # The same draws in each call would show it the same few features.
        rng = np.random.default_rng([seed, len(self.forest_.trees)])
        columns = TaskColumns(self._encoder, Y)
        columns.warn_of_missing()
        spread = columns.spread(Y, np.nan)
        encoder = columns.encoder(spread, self.objective)
        matrix = self._reader.transform(self, X)
        labels = encoder.transform(spread, columns.spread(label_mask, False))
        check_any_label(labels)
        weights = columns.spread(task_weight, 1.0)
        training = _learnable_rows(matrix, labels, sample_weight, weights)
        y_val = validation_labels(encoder, y_val)
        training, validation = self._split(training, self._reader, encoder, X_val, y_val, rng)
        constant = np.zeros(len(encoder.tasks_), dtype=bool)
        constant[n_old:] = check_tasks(training.labels[:, n_old:], encoder.tasks_[n_old:])
        self._warn_of_contradictions(training.labels, encoder.tasks_)
        before = of_partial_fit(self)
        session = Training(self, self._reader, encoder, constant, rng, before=before)
        return self._run(session, training, validation, X, Y)

    def _run(self, session, training, validation, X, Y):
        session.run(training, validation, {"X": X, "y": Y})
        for name, value in session.fitted_attributes().items():
            setattr(self, name, value)
        return self

    def _warn_of_contradictions(self, labels, tasks):
        if self.task_hierarchy is not None:
            TaskHierarchy(self.task_hierarchy, tasks).warn_of_contradictions(labels)

    def _one_target(self, Y, y):
        if Y is not None and y is not None:
            raise TypeError("fit got both Y and y, which mean the same; give one of them.")
        if Y is None and y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None."
            )
        return y if Y is None else Y

    def _check(self, X_val, y_val):
        check_parameters(self)
        choose("importance_type", self.importance_type, {"split": 0, "gain": 1})
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val belong together: give both or neither.")
        if self.best_round_per_task and self.early_stopping_rounds is None:
            raise ValueError("best_round_per_task needs early_stopping_rounds; set it, to 50 say.")

    def _split(self, training, reader, encoder, X_val, y_val, rng):
        """Training and validation rows."""
        if X_val is not None:
            matrix, labels = reader.transform(self, X_val), encoder.transform(y_val)
            check_consistent_length(matrix, labels)
            return training, LabelledRows(matrix, labels)
        if self.early_stopping_rounds is None:
            return training, None
        main = find_task("main_task", self.main_task, encoder.task_names_)
        return hold_out(training, self.validation_fraction, main, int(rng.integers(2**31)))

    def raw_predict(self, X):
        """Scores before the link, log odds for binary tasks.

        Parameters
        ----------
        X : array-like, CSR matrix or DataFrame of shape (n_rows, n_features)

        Returns
        -------
        ndarray of float64 of shape (n_rows, n_outputs)
            One column per binary task, C for a multiclass one, in the order of the tasks.
        """
        matrix = self._read(X)
        raw = np.empty((matrix.shape[0], self.forest_.n_outputs))
        threads = self._threads(len(raw))
        for rows, block in self._mapper.blocks(matrix):
            self.forest_.raw_predict(block, threads, out=raw[rows])
        return raw

    def staged_raw_predict(self, X):
        """Yield `raw_predict` after each round."""
        matrix = self._read(X)
        threads = self._threads(matrix.shape[0])
        yield from self.forest_.staged_raw_predict(matrix, threads, self._mapper.blocks)

    def predict_proba(self, X):
        """Probabilities of the tasks.

        Returns
        -------
        ndarray of float64
            (n_rows, n_tasks), P(label = 1), for several binary tasks; (n_rows, n_classes) for a
            1-d y. A list of (n_rows, n_classes) arrays if a task of several is multiclass.
        """
        return self._probabilities(self.raw_predict(X))

    def staged_predict_proba(self, X):
        """Yield `predict_proba` after each round."""
        yield from map(self._probabilities, self.staged_raw_predict(X))

    def predict(self, X):
        """The most probable class of each task: (n_rows,) for a 1-d y, else (n_rows, n_tasks)."""
        return self._classes_of(self.raw_predict(X))

    def staged_predict(self, X):
        """Yield `predict` after each round."""
        yield from map(self._classes_of, self.staged_raw_predict(X))

    @available_if(_has_one_task)
    def decision_function(self, X):
        """Scores of a model of one task: (n_rows,) if binary, else (n_rows, n_classes)."""
        raw = self.raw_predict(X)
        return raw[:, 0] if raw.shape[1] == 1 else raw

    def _read(self, X):
        if not hasattr(self, "forest_"):  # the check itself takes as long as the walks of a row
            check_is_fitted(self)
        return self._reader.transform(self, X)

    def _threads(self, n_rows):
        return threads_for_jobs(self.forest_.prediction_steps(n_rows), self.n_jobs)

    def _link(self, raw):
        """Probability of each output, those of children not above those of their parents."""
        probabilities = self._unrelated_probabilities(raw)
        if self.task_hierarchy is not None:
            hierarchy = TaskHierarchy(self.task_hierarchy, self._encoder.tasks_)
            hierarchy.correct(probabilities, self._objective.outputs_of_task)
        return probabilities

    def _unrelated_probabilities(self, raw):
        """Probability of each output; many rows are shared out among the threads."""
        parts = -(-len(raw) // LINK_ROWS)
        if parts <= 1:
            return self._objective.probabilities(raw)
        probabilities = np.empty_like(raw)

        def fill(part, rows):
            part[:] = self._objective.probabilities(rows)

        with ThreadPoolExecutor(effective_n_threads(self.n_jobs)) as pool:
            list(pool.map(fill, np.array_split(probabilities, parts), np.array_split(raw, parts)))
        return probabilities

    def _probabilities(self, raw):
        probabilities = self._link(raw)
        if not (self._encoder.is_1d_ or isinstance(self.classes_, list)):
            return probabilities
        per_class = [
            _both_classes(probabilities[:, outputs], len(classes))
            for outputs, classes in zip(
                self._objective.outputs_of_task, self._encoder.classes_, strict=True
            )
        ]
        return per_class[0] if self._encoder.is_1d_ else per_class

    def _classes_of(self, raw):
        probabilities = self._link(raw)
        columns = [
            self._encoder.decode(
                task, _both_classes(probabilities[:, outputs], size).argmax(axis=1)
            )
            for task, (outputs, size) in enumerate(
                zip(
                    self._objective.outputs_of_task,
                    map(len, self._encoder.classes_),
                    strict=True,
                )
            )
        ]
        return columns[0] if self._encoder.is_1d_ else np.column_stack(columns)

    def task_importances(self, importance_type=None):
        """What each feature did for each task.

        Parameters
        ----------
        importance_type : {"split", "gain"}, optional
            The number of splits from which the task gained, or its summed gains; the estimator's
            own by default.

        Returns
        -------
        ndarray of float64 of shape (n_tasks, n_features)
        """
        check_is_fitted(self)
        kind = choose(
            "importance_type",
            self.importance_type if importance_type is None else importance_type,
            {"split": "split", "gain": "gain"},
        )
        per_output = self.forest_.importances(kind)
        reduce = np.sum if kind == "gain" else np.max
        return np.array(
            [reduce(per_output[outputs], axis=0) for outputs in self._objective.outputs_of_task]
        )

    @property
    def feature_importances_(self):
        """Splits on each feature, or the summed gain of all tasks; see `importance_type`."""
        check_is_fitted(self)
        if self.importance_type == "split":
            return self.forest_.split_counts()
        return self.forest_.importances("gain").sum(axis=0)

    @property
    def task_affinity_(self):
        """How far tasks want the same of the trees: (n_tasks, n_tasks), from -1 to 1.

        See :func:`mtgbm.diagnostics.task_affinity`.
        """
        check_is_fitted(self)
        return task_affinity(self.forest_, self._objective.outputs_of_task)

    def pred_contrib(self, X):
        """What each feature contributes to each score: exact Shapley values of the trees.

        Parameters
        ----------
        X : array-like, CSR matrix or DataFrame of shape (n_rows, n_features)

        Returns
        -------
        ndarray of float64 of shape (n_rows, n_outputs, n_features + 1)
            The last column is the expected score; rows sum to `raw_predict`.

        See Also
        --------
        mtgbm.explanation.pred_contrib : The method and its references.
        """
        return explanation.pred_contrib(self, X)

    def shap_explainer(self, data=None):
        """A callable that shap's plots understand; see `mtgbm.explanation.shap_explainer`."""
        return explanation.shap_explainer(self, data)

    def to_lightgbm(self):
        """The same model as a `lightgbm.Booster`; see `mtgbm.io.lightgbm_text.to_lightgbm`."""
        return to_lightgbm(self)

    def to_onnx(self, path=None, *, dtype="float64"):
        """Write the model as an ONNX file; see `mtgbm.io.onnx.to_onnx`, which takes pipelines too.

        Parameters
        ----------
        path : str or path-like, optional
        dtype : {"float64", "float32"}
            Of the numbers in the inputs.

        Returns
        -------
        onnx.ModelProto
        """
        return to_onnx(self, path, dtype=dtype)

    def trees_to_dataframe(self):
        """Every node of every tree as a row; see `mtgbm.io.tree_table.trees_to_dataframe`."""
        return trees_to_dataframe(self)

    def save_model(self, path):
        """Write the fitted model to one file without pickle; `mtgbm.load_model` reads it.

        Parameters
        ----------
        path : str or path-like

        See Also
        --------
        mtgbm.io.native.save_model : What the file can hold, and the errors.
        """
        save_model(self, path)

    def __getstate__(self):
        return model_state.stamp(super().__getstate__())

    def __setstate__(self, state):
        super().__setstate__(model_state.check(state, type(self).__name__))


def _learnable_rows(matrix, labels, sample_weight, task_weight):
    """The rows, with their weights, that have any."""
    check_consistent_length(matrix, labels)
    weights = row_weights(sample_weight, task_weight, labels.shape)
    return without_weightless_rows(LabelledRows(matrix, labels, weights, np.arange(len(labels))))


def _both_classes(probabilities, n_classes):
    """A column for each class: a binary task has one output, a task with one class is certain."""
    if n_classes == 1:
        return np.ones((len(probabilities), 1))
    if probabilities.shape[1] == 1:
        return np.hstack([1 - probabilities, probabilities])
    return probabilities
