"""What the net learns: class numbers in the user's order, and a weight for each label."""

from __future__ import annotations

import numpy as np

from mtgbm.labels import MISSING, LabelEncoder, check_tasks
from mtgbm.parameters import per_task
from mtgbm.sample_weights import row_weights


class Targets:
    """Numbers the labels of one task of any classes, or of several binary tasks.

    Parameters
    ----------
    classes : None or list
        The classes of a 1-d y in the order that columns of probabilities shall have; None sorts.

    Attributes
    ----------
    encoder_ : LabelEncoder
        Reads tables of labels; its classes are sorted.
    order_ : ndarray of int
        Position of each class, as the user orders them, among the sorted ones.
    """

    def __init__(self, classes=None):
        self.classes = classes

    def fit_transform(self, y):
        """Learn tasks and classes and number the labels.

        Parameters
        ----------
        y : array-like or DataFrame of shape (n,) or (n, n_tasks)

        Returns
        -------
        ndarray of int16 of shape (n, n_tasks)
            -1 where missing.

        Raises
        ------
        ValueError
            If `classes` has doubles, lacks a class of y or is given for several tasks; if there is
            one class only, or a task has no label.
        """
        encoder = LabelEncoder()
        numbers = encoder.fit_transform(y)
        if self.classes is not None:
            encoder, numbers = self._with_all_classes(encoder, y)
        self._check_several_classes(encoder)
        self.encoder_ = encoder
        self.order_ = self._find_order()
        check_tasks(numbers, encoder.tasks_)
        return self._reorder(numbers)

    def transform(self, y):
        """Number the labels of other rows."""
        return self._reorder(self.encoder_.transform(y))

    def _with_all_classes(self, encoder, y):
        if not encoder.is_1d_:
            raise ValueError(
                f"classes is for a 1-d y; each of the {len(encoder.tasks_)} tasks of y has the "
                "classes 0 and 1."
            )
        given = np.asarray(self.classes)
        if given.ndim != 1 or len(np.unique(given)) != len(given):
            raise ValueError(f"classes must name each class once, got {self.classes!r}.")
        seen = encoder.classes_[0]
        unknown = [label for label in seen.tolist() if label not in given.tolist()]
        if unknown:
            raise ValueError(
                f"classes is {given.tolist()}, but y holds {unknown[0]!r} too; name every class "
                "of y, in the order you want."
            )
        wider = LabelEncoder()
        return wider, wider.fit_transform(y, classes=given)

    def _check_several_classes(self, encoder):
        if encoder.is_1d_ and len(encoder.classes_[0]) < 2:
            held = encoder.classes_[0].tolist()
            raise ValueError(
                f"y must hold two classes or more, got {len(held)} class: {held}; there is "
                "nothing to tell apart."
            )

    def _find_order(self):
        if self.classes is None:
            return np.arange(len(self.encoder_.classes_[0]))
        return np.searchsorted(self.encoder_.classes_[0], np.asarray(self.classes))

    def _reorder(self, numbers):
        if not self.encoder_.is_1d_:
            return numbers
        place = np.argsort(self.order_).astype(np.int16)
        return np.where(numbers == MISSING, np.int16(MISSING), place[numbers])

    @property
    def n_outputs_(self) -> int:
        """Columns of logits: one for each binary task, else one for each class."""
        if self.is_multiclass_:
            return len(self.order_)
        return len(self.encoder_.tasks_)

    @property
    def is_multiclass_(self) -> bool:
        """Whether one task of three classes or more is learned."""
        return self.encoder_.is_1d_ and len(self.order_) > 2

    @property
    def classes_(self):
        """(n_classes,) for a 1-d y, else the classes of each task, (n_tasks, 2)."""
        if self.encoder_.is_1d_:
            return self.encoder_.classes_[0][self.order_]
        return np.array(self.encoder_.classes_)

    def to_state(self):
        """Return what was learned, as a dict that JSON can hold."""
        classes = self.classes_
        return {
            "is_1d": self.encoder_.is_1d_,
            "is_named": self.encoder_._is_named,
            "task_names": self.encoder_.task_names_,
            "classes": classes.tolist(),
            "dtype": "object" if classes.dtype.kind == "O" else classes.dtype.str,
        }

    @classmethod
    def from_state(cls, state):
        """Return the targets that `to_state` describes."""
        classes = np.array(state["classes"], dtype=state["dtype"])
        targets = cls(classes if state["is_1d"] else None)
        encoder = LabelEncoder()
        encoder.is_1d_, encoder._is_named = state["is_1d"], state["is_named"]
        encoder.task_names_ = state["task_names"]
        encoder.classes_ = [np.sort(classes)] if state["is_1d"] else list(classes)
        n_classes = len(encoder.classes_[0])
        encoder._name_tasks(
            ["multiclass" if state["is_1d"] and n_classes > 2 else "binary"] * len(encoder.classes_)
        )
        targets.encoder_ = encoder
        targets.order_ = targets._find_order()
        return targets


def label_weights(targets: Targets, numbers, sample_weight, class_weight):
    """Return one weight for each label, 1 on average over the labels that there are.

    Parameters
    ----------
    targets : Targets
    numbers : ndarray of int16 of shape (n, n_tasks)
    sample_weight : array-like of shape (n,) or None
    class_weight : None, "balanced", dict or list
        See :class:`mtbert.MultimodalTextTabularClassifier`.

    Returns
    -------
    ndarray of float32 of shape (n, n_tasks)
        0 where a label is missing.
    """
    known = numbers != MISSING
    weights = row_weights(sample_weight, None, numbers.shape)
    weights = np.ones(numbers.shape, np.float32) if weights is None else weights
    weights = np.where(known, weights, 0)
    if class_weight is not None:
        table = _class_weights(targets, numbers, weights, class_weight)
        weights = weights * np.take_along_axis(table.T, np.maximum(numbers, 0), axis=0)
    if not weights.any():
        raise ValueError("no label has a weight above 0: there is nothing to learn from.")
    return (weights / weights[known & (weights > 0)].mean()).astype(np.float32)


def _class_weights(targets, numbers, weights, class_weight):
    """Weight of each class of each task, (n_tasks, n_classes)."""
    tasks = targets.encoder_.tasks_
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(
                f"class_weight must be None, 'balanced', a dict or a list, got {class_weight!r}."
            )
        columns = zip(numbers.T, weights.T, tasks, strict=True)
        return np.array([_balanced(*column) for column in columns])
    if targets.encoder_.is_1d_:
        return _check_weights([_in_class_order(class_weight, targets.classes_)])
    positive = per_task("class_weight", class_weight, targets.encoder_.task_names_, 1.0)
    return _check_weights([[1.0, weight] for weight in positive])


def _balanced(numbers, weights, task):
    totals = np.bincount(np.maximum(numbers, 0), weights, minlength=task.n_classes)
    present = totals > 0
    return np.where(present, totals.sum() / (present.sum() * np.where(present, totals, 1)), 1.0)


def _in_class_order(class_weight, classes):
    labels = classes.tolist()
    if isinstance(class_weight, dict):
        unknown = [label for label in class_weight if label not in labels]
        if unknown:
            raise ValueError(f"class_weight names {unknown[0]!r}; the classes are {labels}.")
        return [class_weight.get(label, 1.0) for label in labels]
    if len(np.atleast_1d(class_weight)) != len(labels):
        raise ValueError(
            f"class_weight has {len(np.atleast_1d(class_weight))} values, expected one for each "
            f"of the {len(labels)} classes {labels}."
        )
    return list(class_weight)


def _check_weights(table):
    weights = np.array(table, dtype=np.float64)
    if not (np.isfinite(weights) & (weights > 0)).all():
        raise ValueError(f"weights of classes must be finite and above 0, got {table}.")
    return weights
