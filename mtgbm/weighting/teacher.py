"""Distillation from a model that is there already."""

from collections.abc import Sized
from reprlib import repr as short

import numpy as np
from scipy.special import logit

from mtgbm.parameters import find_task
from mtgbm.weighting.distillation import SoftTargets, corrections, soft_probabilities

#: Probabilities stay this far from 0 and 1, so that their log odds are finite.
LEAST_PROBABILITY = 1e-7
#: The class of missing labels for the gradient kernels; the corrections put the target right.
FILLER = np.int16(0)


class TeacherDistillation(SoftTargets):
    """Tasks learn from the probabilities of a fitted model, from the first round on.

    Parameters
    ----------
    teacher : estimator with predict_proba, or dict
        Fitted. One model of all tasks, whose `predict_proba` gives (n_rows, n_tasks) for binary
        tasks, or a list with an array (n_rows, n_classes) for each task. Or a dict of models of
        one task each, (n_rows, n_classes), by task name. They predict the X that `fit` gets.
    tasks : None, str, int or list, default=None
        Names or positions of the tasks that learn from it; None for all that it knows.
    mixing : float, default=0.5
        Share of the teacher's probability in the target of a labelled row, 0 to 1.
    temperature : float, default=1.0
        Divides the teacher's log odds: above 1 for softer targets, below for harder ones.
    unlabelled : bool, default=False
        Whether rows without a label learn the teacher's probability alone, with the weight of the
        row. A task with few labels then has all rows to learn from.

    Notes
    -----
    `sklearn.base.clone` keeps the teacher as it is, fitted. No model file but a pickle can hold a
    teacher: ``model.set_params(distillation=None)`` comes before ``save_model``.

    References
    ----------
    Hinton, Vinyals & Dean, "Distilling the Knowledge in a Neural Network" (2015),
    arXiv:1503.02531.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from mtgbm import MultiTaskLGBMClassifier
    >>> from mtgbm.weighting import TeacherDistillation
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 4))
    >>> Y = (X[:, :2] > 0).astype(float)
    >>> teacher = {"task_1": LogisticRegression().fit(X, Y[:, 1])}
    >>> Y[:450, 1] = np.nan  # the labels that the teacher has learned from are gone
    >>> distillation = TeacherDistillation(teacher, unlabelled=True)
    >>> MultiTaskLGBMClassifier(distillation=distillation).fit(X, Y).distilled_rounds_
    {'task_1': 0}
    """

    def __init__(self, teacher, tasks=None, mixing=0.5, temperature=1.0, unlabelled=False):
        self.teacher = teacher
        self.tasks = tasks
        self.mixing = mixing
        self.temperature = temperature
        self.unlabelled = unlabelled

    def __sklearn_clone__(self):
        return type(self)(**self.get_params(deep=False))

    def check(self, tasks, main_task):
        """Raise if a parameter is out of range, or a task or its teacher is missing."""
        super().check(tasks, main_task)
        if not isinstance(self.unlabelled, (bool, np.bool_)):
            raise TypeError(f"unlabelled must be True or False, got {self.unlabelled!r}.")
        self._teachers([task.name for task in tasks])

    def _teachers(self, names):
        """The models by the position of the tasks that learn from them."""
        if isinstance(self.teacher, dict):
            teachers = {
                find_task("task of the teacher", task, names): model
                for task, model in self.teacher.items()
            }
        else:
            teachers = dict.fromkeys(range(len(names)), self.teacher)
        for model in teachers.values():
            if not hasattr(model, "predict_proba"):
                raise TypeError(
                    "teacher must be a fitted estimator with predict_proba, or a dict of such by "
                    f"task name, got {short(model)}."
                )
        return {task: teachers[task] for task in self._students(names, teachers)}

    def _students(self, names, teachers):
        """Positions of the tasks that learn, each of which must have a teacher."""
        given = list(teachers) if self.tasks is None else self.tasks
        wanted = [given] if isinstance(given, str) or not isinstance(given, Sized) else given
        students = [find_task("tasks of the distillation", task, names) for task in wanted]
        if not students:
            raise ValueError("the distillation has no tasks; name some, or use distillation=None.")
        untaught = [names[task] for task in students if task not in teachers]
        if untaught:
            raise ValueError(
                f"teacher has no model for {', '.join(untaught)}: add it, or take the name out of "
                "the distillation's tasks."
            )
        return students

    def prepare(self, X, rows, tasks):
        """Ask the teacher for the probabilities of X, and keep those of `rows`.

        Raises
        ------
        ValueError
            If they have another shape than expected, or are no probabilities.
        """
        teachers = self._teachers([task.name for task in tasks])
        if isinstance(self.teacher, dict):
            tables = {task: model.predict_proba(X) for task, model in teachers.items()}
        else:
            of_all = _split_by_task(self.teacher.predict_proba(X), tasks)
            tables = {task: of_all[task] for task in teachers}
        n_rows = X.shape[0] if hasattr(X, "shape") else len(X)
        self._probabilities = {
            task: _check_probabilities(table, tasks[task], n_rows)[rows]
            for task, table in tables.items()
        }

    def prepared(self):
        """The probabilities by the position of the task."""
        return self._probabilities

    def start(self, round):
        """Work out the corrections of all rounds."""
        super().start(round)
        labels = round.training.labels
        self._labels = labels.copy() if self.unlabelled else labels
        for task, probabilities in self._probabilities.items():
            known = labels[:, task] >= 0
            if known.any():  # else it is of one class, and stays constant
                self._learn(round, task, probabilities, known)

    def _learn(self, round, task, probabilities, known):
        mixing = self.mixing
        if self.unlabelled:
            mixing = np.where(known, mixing, 1.0)
            self._labels[~known, task] = FILLER
        raw = _scores(probabilities)
        soft = soft_probabilities(round.objective, task, raw, self.temperature)
        weights = round.training.weights
        columns = corrections(round.objective, task, self._labels, weights, soft, mixing)
        self._teach(task, len(round.forest.trees), columns)

    def labels(self, round):
        """Those of the training rows, with a filler for missing ones that learn all the same."""
        return self._labels

    def get_state(self):
        """The rounds of `distilled`; all else comes from the teacher and the rows."""
        return {"distilled": super().get_state()["distilled"]}

    def set_state(self, state):
        """Go on from `get_state`, after `start`."""
        self.distilled = {int(task): int(rounds) for task, rounds in state["distilled"]}


def _scores(probabilities):
    """Log odds of a binary task, logs of several classes: what the link takes back."""
    if probabilities.shape[1] == 1:
        return logit(np.clip(probabilities, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY))
    return np.log(np.maximum(probabilities, LEAST_PROBABILITY))


def _split_by_task(given, tasks):
    """A table for each task from what a model of all tasks predicts."""
    if isinstance(given, list):
        if len(given) != len(tasks):
            raise ValueError(
                f"teacher predicts {len(given)} tasks, Y has {len(tasks)}; give a dict of models "
                "by task name."
            )
        return given
    if len(tasks) == 1:
        return [given]
    given = np.asarray(given, dtype=np.float64)
    if given.ndim != 2 or given.shape[1] != len(tasks):
        raise ValueError(
            f"teacher predicts an array of shape {given.shape}, expected a column for each of the "
            f"{len(tasks)} tasks; give a dict of models by task name."
        )
    if len(tasks) == 2 and np.allclose(given.sum(axis=1), 1.0):
        raise ValueError(
            "teacher predicts two columns that sum to 1 in every row, which looks like the "
            "classes of one task, not like two tasks; give a dict of models by task name."
        )
    return [given[:, [task]] for task in range(len(tasks))]


def _check_probabilities(table, task, n_rows):
    """A teacher's probabilities of a task, as its link gives them: one column if it is binary."""
    table = np.asarray(table, dtype=np.float64)
    widths = (1, 2) if task.kind == "binary" else (task.n_classes,)
    if table.ndim != 2 or len(table) != n_rows or table.shape[1] not in widths:
        raise ValueError(
            f"teacher of task {task.name!r} gives an array of shape {table.shape}, expected "
            f"({n_rows}, {widths[-1]}): a probability for each row and class."
        )
    if not ((table >= 0) & (table <= 1)).all():  # NaN is neither
        raise ValueError(
            f"teacher of task {task.name!r} gives values from {table.min():.3g} to "
            f"{table.max():.3g}, expected probabilities, from 0 to 1 and none missing."
        )
    return table[:, -1:] if task.kind == "binary" else table
