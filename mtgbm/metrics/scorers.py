"""Scorers for cross-validation and searches over targets with missing labels."""

from inspect import signature
from typing import Any

from mtgbm.metrics.labelled import LabelledTask, labelled_tasks
from mtgbm.metrics.per_task import TaskMetric
from mtgbm.metrics.predictions import positive_probabilities, task_names_of
from mtgbm.metrics.scores import METRICS


class TaskScorer:
    """A scikit-learn scorer made by :func:`make_task_scorer`; larger is always better.

    Parameters
    ----------
    metric : TaskMetric
    average : "mean", "median", array or dict
    task : str, int or None
    metric_params : dict
    """

    def __init__(self, metric: TaskMetric, average: Any, task: Any, metric_params: dict[str, Any]):
        self.metric = metric
        self.average = average
        self.task = task
        self.metric_params = metric_params

    def __call__(self, estimator: Any, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Score a fitted classifier.

        Parameters
        ----------
        estimator : fitted classifier with predict_proba
        X : array-like of shape (n, n_features)
        y : array-like of shape (n,) or (n, T)
            0, 1, or missing.
        sample_weight : array-like of shape (n,) or (n, T), optional

        Returns
        -------
        float
            The metric, negated if smaller is better.
        """
        tasks = labelled_tasks(
            y,
            positive_probabilities(estimator, X),
            sample_weight=sample_weight,
            task_names=task_names_of(estimator, y),
        )
        if self.task is None:
            value = self.metric.over_tasks(tasks, self.average, **self.metric_params)
        else:
            value = self.metric.over_tasks([self._chosen(tasks)], "mean", **self.metric_params)
        return value if self.metric.greater_is_better else -value

    def _chosen(self, tasks: list[LabelledTask]) -> LabelledTask:
        names = [task.name for task in tasks]
        if self.task in names:
            return tasks[names.index(self.task)]
        if isinstance(self.task, int) and 0 <= self.task < len(tasks):
            return tasks[self.task]
        raise ValueError(
            f"task must be one of {names} or an index below {len(names)}; got {self.task!r}."
        )

    def __repr__(self) -> str:
        share = f"average={self.average!r}" if self.task is None else f"task={self.task!r}"
        params = "".join(f", {name}={value!r}" for name, value in self.metric_params.items())
        return f"make_task_scorer({self.metric.name!r}, {share}{params})"


def make_task_scorer(
    metric: str | TaskMetric, *, average: Any = "mean", task: Any = None, **metric_params: Any
) -> TaskScorer:
    """Make a scorer that respects missing labels.

    Use it as `scoring=` of `cross_val_score` or `GridSearchCV`, with `cv=KFold(...)`: the
    stratified default of scikit-learn rejects targets with NaN. The classifier needs
    `predict_proba`; a list of arrays, as multi-output classifiers return it, is understood.

    Parameters
    ----------
    metric : {"roc_auc", "average_precision", "f1", "log_loss", "calibration_error"} or TaskMetric
        A loss is negated.
    average : {"mean", "median"}, array-like of shape (T,) or dict, default="mean"
        How tasks are averaged; see :func:`mtgbm.metrics.roc_auc`.
    task : str or int, optional
        Score this task alone, by name or by index; `average` then plays no part. Names are the
        columns of `y` or the classifier's `task_names_`.
    **metric_params
        Passed to the metric, such as `threshold=0.2` for "f1".

    Returns
    -------
    TaskScorer
        `scorer(estimator, X, y, sample_weight=None) -> float`. It raises ValueError when no task
        it covers has a value; a search then records `error_score` for that fold.

    Raises
    ------
    ValueError
        If the metric is unknown.
    TypeError
        If the metric has no such parameter.

    Examples
    --------
    >>> make_task_scorer("f1", task="fraud", threshold=0.2)
    make_task_scorer('f1', task='fraud', threshold=0.2)
    """
    if isinstance(metric, str):
        if metric not in METRICS:
            raise ValueError(
                f"metric must be a TaskMetric or one of {sorted(METRICS)}; got {metric!r}."
            )
        metric = METRICS[metric]
    if average is None:
        raise ValueError("A scorer returns one number, so average must not be None.")
    # A misspelt parameter is a TypeError here, not in the first fold.
    signature(metric.of_rows).bind(None, None, **metric_params)
    return TaskScorer(metric, average, task, metric_params)


masked_roc_auc_scorer = make_task_scorer("roc_auc")
masked_average_precision_scorer = make_task_scorer("average_precision")
masked_log_loss_scorer = make_task_scorer("log_loss")
