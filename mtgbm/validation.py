"""Validation during training: which rows, which score, which tasks decide."""

import warnings

import numpy as np
from sklearn.model_selection import train_test_split

from mtgbm.labels import MISSING
from mtgbm.metrics import SingleClassWarning, average_precision, roc_auc
from mtgbm.parameters import choose, find_task

RANKING_METRICS = {"auc": roc_auc, "average_precision": average_precision}
METRICS = ("logloss", *RANKING_METRICS)


class RoundScorer:
    """Scores every task on some rows after a round.

    Parameters
    ----------
    metric : {"logloss", "auc", "average_precision"}
    objective : TaskObjectives

    Attributes
    ----------
    sign : int
        1 if larger is better, else -1.
    """

    def __init__(self, metric, objective):
        self.metric = choose("eval_metric", metric, {name: name for name in METRICS})
        self.objective = objective
        self.sign = -1 if metric == "logloss" else 1
        kinds = {task.kind for task in objective.tasks}
        if metric != "logloss" and kinds != {"binary"}:
            raise ValueError(
                f"eval_metric={metric!r} ranks binary tasks only; use 'logloss' for a model with "
                "multiclass tasks."
            )

    def __call__(self, raw, labels, weights):
        """Return the score of each task, (n_tasks,); NaN where it is not defined."""
        if self.metric == "logloss":
            return self.objective.losses(raw, labels, weights)
        known = np.where(labels == MISSING, np.nan, labels)
        with warnings.catch_warnings():
            # The curve shows NaN; the metric would say it anew in every round.
            warnings.simplefilter("ignore", SingleClassWarning)
            return RANKING_METRICS[self.metric](known, raw, sample_weight=weights)


def deciding_weights(choice, main_task, task_names):
    """Weights of the tasks in the score that early stopping watches.

    Parameters
    ----------
    choice : None, str, int or dict
        None is the main task, "mean" all tasks alike, a name or position one task, a dict the
        weights of some tasks by name.
    main_task : int
    task_names : list of str

    Returns
    -------
    ndarray of float64 of shape (n_tasks,), summing to 1
    """
    weights = np.zeros(len(task_names))
    if choice is None:
        weights[main_task] = 1.0
    elif isinstance(choice, dict):
        for task, weight in choice.items():
            weights[find_task("early_stopping_task", task, task_names)] = weight
    elif choice == "mean" and "mean" not in task_names:
        weights[:] = 1.0
    else:
        weights[find_task("early_stopping_task", choice, [*task_names])] = 1.0
    if (weights < 0).any() or not weights.any() or not np.isfinite(weights).all():
        raise ValueError(
            "early_stopping_task weights must be finite, not negative and not all 0, "
            f"got {choice!r}."
        )
    return weights / weights.sum()


def check_decidable(scores, weights, task_names, metric):
    """Refuse validation rows on which a deciding task has no score."""
    for name, score, weight in zip(task_names, scores, weights, strict=True):
        if weight > 0 and np.isnan(score):
            raise ValueError(
                f"early stopping watches {metric} of task {name!r}, which the validation rows do "
                "not define (no labels, or one class); give other validation rows or another "
                "early_stopping_task."
            )


def hold_out(table, fraction, main_task, seed):
    """Split rows at random, stratified by the main task's labels, missing ones included.

    Parameters
    ----------
    table : LabelledRows
    fraction : float
        Share of the rows that is held out.
    main_task : int
    seed : int

    Returns
    -------
    training, validation : LabelledRows
    """
    strata = table.labels[:, main_task]
    counts = np.unique(strata, return_counts=True)[1]
    rows = np.arange(len(strata))
    train, held = train_test_split(
        rows,
        test_size=fraction,
        random_state=seed,
        stratify=strata if counts.min() > 1 and len(rows) * fraction >= len(counts) else None,
    )
    return table.take(np.sort(train)), table.take(np.sort(held))
