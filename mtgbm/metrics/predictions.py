"""What a fitted classifier predicts, as one column of scores per task."""

from typing import Any

import numpy as np


def positive_probabilities(estimator: Any, X: Any) -> Any:
    """`predict_proba` with the probability of class 1 of every task.

    Parameters
    ----------
    estimator : fitted classifier
        Its `predict_proba` may return (n, T), (n, 2) for a 1-d target, or, as multi-output
        classifiers of scikit-learn do, a list with one array (n, number of classes) per task.
    X : array-like of shape (n, n_features)

    Returns
    -------
    ndarray of shape (n, T), or (n, 2) for a 1-d target
    """
    probabilities = estimator.predict_proba(X)
    if isinstance(probabilities, list):
        parts = zip(probabilities, estimator.classes_, strict=True)
        return np.column_stack([_class_one(part, classes) for part, classes in parts])
    if np.shape(probabilities)[1] == 1 and np.shape(estimator.classes_) == (1,):
        return _class_one(probabilities, estimator.classes_)
    return probabilities


def _class_one(probabilities: np.ndarray, classes: Any) -> np.ndarray:
    """Column of class 1; zeros where the training rows held no row of class 1."""
    column = np.flatnonzero(np.asarray(classes) == 1)
    return probabilities[:, column[0]] if column.size else np.zeros(len(probabilities))


def fitted_core(estimator: Any) -> Any:
    """The model inside fitted pipelines and searches; other estimators are returned as they are."""
    while True:
        if hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif hasattr(estimator, "steps"):
            estimator = estimator.steps[-1][1]
        else:
            return estimator


def task_names_of(estimator: Any, y: Any) -> Any:
    """Names of the tasks: the columns of `y` if it has any, else those the model was fitted with.

    Returns
    -------
    sequence of str, or None where neither knows them
    """
    if hasattr(y, "columns"):
        return y.columns
    return getattr(fitted_core(estimator), "task_names_", None)
