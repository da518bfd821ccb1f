"""Distillation: tasks that learn from a teacher's probabilities as well as from their labels.

With mixing m, a row with the label y and the teacher's probability t has the target
(1 - m) y + m t instead of y. The log loss with such a target keeps its hessian, and its gradient

    w (p - (1 - m) y - m t)  =  w (p - y)  +  w m (y - t)

is that of the label and a correction that does not depend on the model: it is worked out once, and
added in every round. w is the weight of the row, times that of a positive label.

Hinton, Vinyals & Dean, "Distilling the Knowledge in a Neural Network" (2015), arXiv:1503.02531.
"""

from numbers import Integral, Real

import numpy as np

from mtgbm.engine._isa import load_kernel
from mtgbm.engine.threads import threads_for
from mtgbm.parameters import check_number
from mtgbm.weighting.base import Distillation

_gradients = load_kernel("mtgbm.objectives._gradients")


def soft_probabilities(objective, task, raw, temperature):
    """A teacher's scores of one task as probabilities.

    Parameters
    ----------
    objective : TaskObjectives
    task : int
    raw : ndarray of float64 of shape (n_rows, n_outputs of the task)
    temperature : float
        By which scores are divided before the link: above 1 takes certainty away.

    Returns
    -------
    ndarray of float64 of shape (n_rows, n_outputs of the task)
    """
    return objective.of_task(task).probabilities(raw / temperature)


def corrections(objective, task, labels, weights, probabilities, mixing):
    """What soft targets add to the gradients of one task, w m (y - t).

    Parameters
    ----------
    objective : TaskObjectives
    task : int
    labels : ndarray of int16 of shape (n_rows, n_tasks)
    weights : ndarray of float32 of shape (n_rows, n_tasks) or None
    probabilities : ndarray of shape (n_rows, n_outputs of the task)
    mixing : float, or ndarray of shape (n_rows,)

    Returns
    -------
    ndarray of float32 of shape (n_outputs of the task, n_rows)
        0 where the label is missing.
    """
    part = objective.of_task(task)
    factor = mixing * part.label_weights(task, labels, weights)
    difference = part.targets(task, labels) - probabilities
    return np.ascontiguousarray((factor[:, None] * difference).T, dtype=np.float32)


class SoftTargets(Distillation):
    """What all distillations share: corrections of some outputs, added in every round."""

    def check(self, tasks, main_task):
        """Raise if `mixing` or `temperature` is out of range."""
        check_number("mixing of the distillation", self.mixing, Real, 0, 1)
        check_number("temperature of the distillation", self.temperature, Real, (0,), None)

    def start(self, round):
        """No task has a teacher yet."""
        self.distilled = {}
        self._outputs_of_task = round.objective.outputs_of_task
        self._columns = np.empty((0, len(round.training.labels)), dtype=np.float32)

    def soften(self, round):
        """Add the corrections to the gradients."""
        threads = threads_for(self._columns.size, round.n_threads)
        _gradients.add_corrections(self._columns, self._outputs(), round.vectors, threads)

    def _outputs(self):
        """The outputs of the distilled tasks, one for each column of corrections."""
        outputs = [output for task in self.distilled for output in self._outputs_of_task[task]]
        return np.array(outputs, dtype=np.int32)

    def _teach(self, task, n_rounds, columns):
        """From now on, add `columns` to the gradients of a task."""
        self.distilled[task] = n_rounds
        self._columns = np.concatenate([self._columns, columns])

    def get_state(self):
        """The tasks and rounds of `distilled`, and the corrections."""
        return {
            "distilled": [[task, rounds] for task, rounds in self.distilled.items()],
            "columns": self._columns,
        }

    def set_state(self, state):
        """Go on from a dict of `get_state`, after `start`.

        Raises
        ------
        ValueError
            If it is of other tasks or rows.
        """
        distilled = {int(task): int(rounds) for task, rounds in state["distilled"]}
        columns = np.ascontiguousarray(state["columns"], dtype=np.float32)
        n_tasks, n_rows = len(self._outputs_of_task), self._columns.shape[1]
        known = all(0 <= task < n_tasks for task in distilled)
        n_outputs = sum(len(self._outputs_of_task[task]) for task in distilled) if known else -1
        if columns.shape != (n_outputs, n_rows):
            raise ValueError(
                f"the saved state of the distillation has corrections of shape {columns.shape} "
                f"for the tasks {sorted(distilled)}, which does not fit {n_tasks} tasks and "
                f"{n_rows} rows; start the training anew."
            )
        self.distilled, self._columns = distilled, columns


class StallWatch:
    """Tells which tasks have not improved for some rounds.

    Parameters
    ----------
    patience : int
    n_tasks : int

    Attributes
    ----------
    n_seen : int
        Scores seen so far.
    best_round : ndarray of int of shape (n_tasks,)
        Which of them, from 1, was each task's best: the first one of several.
    """

    def __init__(self, patience, n_tasks):
        self.patience = patience
        self.n_seen = 0
        self.best_round = np.zeros(n_tasks, dtype=int)
        self._best = np.full(n_tasks, -np.inf)

    def observe(self, scores):
        """Take the scores of one more round, of which larger ones are better; NaN is none.

        Returns
        -------
        ndarray of bool of shape (n_tasks,)
            True where the best score is `patience` rounds old or older.
        """
        self.n_seen += 1
        better = scores > self._best
        self._best[better] = scores[better]
        self.best_round[better] = self.n_seen
        return (self.best_round > 0) & (self.n_seen - self.best_round >= self.patience)


class StalledDistillation(SoftTargets):
    """Gives a teacher, once, to each task whose validation score has stopped improving."""

    needs_validation = True

    def check(self, tasks, main_task):
        """Raise if a parameter is out of range."""
        super().check(tasks, main_task)
        check_number("patience of the distillation", self.patience, Integral, 1, None)

    def start(self, round):
        """No task has a teacher yet; `soften` looks at the scores of earlier fits."""
        super().start(round)
        self._watch = StallWatch(self.patience, len(round.tasks))

    def soften(self, round):
        """Look at the scores that came since the last time, then add the corrections."""
        without_scores = len(round.forest.trees) - len(round.scores)
        for scores in round.scores[self._watch.n_seen :]:
            stalled = np.flatnonzero(self._watch.observe(round.score_sign * scores))
            for task in map(int, stalled):
                if task not in self.distilled and self._can_learn(round, task):
                    best = without_scores + int(self._watch.best_round[task])
                    self._swap(round, task, best, without_scores + self._watch.n_seen)
        super().soften(round)

    def _can_learn(self, round, task):
        """A task of a single class trains without labels, and stays constant."""
        return bool((round.training.labels[:, task] >= 0).any())

    def _swap(self, round, task, best, n_rounds):
        """Give the task its teacher after `n_rounds`, of which `best` was its best."""
        raw = self._teacher_scores(round, task, best, n_rounds)
        soft = soft_probabilities(round.objective, task, raw, self.temperature)
        table = round.training
        columns = corrections(round.objective, task, table.labels, table.weights, soft, self.mixing)
        self._teach(task, n_rounds, columns)


def scores_after(round, n_rounds, outputs):
    """Training scores of some outputs after the first `n_rounds` trees of the forest.

    The later trees are taken off the present scores, which are few where a task has just stalled.
    """
    later = np.zeros_like(round.raw)
    for tree in round.forest.trees[n_rounds:]:
        tree.add_binned(round.training.binned.by_row, later, round.n_threads)
    return round.raw[:, outputs] - later[:, outputs]


class SelfDistillation(StalledDistillation):
    """A task that has stopped improving learns from the predictions of its own best round.

    When the validation score of a task has not improved for `patience` rounds, its labels are
    swapped, once, for its predictions of the training rows after the best round.

    Parameters
    ----------
    patience : int, default=10
        Rounds without improvement. The `early_stopping_rounds` of a fit should be more, or the
        training may end before the task that decides can be distilled.
    mixing : float, default=1.0
        Share of the prediction in the target, 0 to 1; the rest is the label.
    temperature : float, default=1.0
        Divides the scores of the best round: above 1 for softer targets, below for harder ones.

    References
    ----------
    Hinton, Vinyals & Dean, "Distilling the Knowledge in a Neural Network" (2015),
    arXiv:1503.02531. Furlanello et al., "Born-Again Neural Networks", ICML 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from mtgbm import MultiTaskLGBMClassifier
    >>> from mtgbm.weighting import SelfDistillation
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(600, 4))
    >>> Y = X[:, :2] + rng.normal(size=(600, 2)) > 0
    >>> model = MultiTaskLGBMClassifier(distillation=SelfDistillation(patience=3), random_state=0)
    >>> model = model.fit(X[:400], Y[:400], X_val=X[400:], y_val=Y[400:])
    >>> sorted(model.distilled_rounds_)
    ['task_0', 'task_1']
    """

    def __init__(self, patience=10, mixing=1.0, temperature=1.0):
        self.patience = patience
        self.mixing = mixing
        self.temperature = temperature

    def _teacher_scores(self, round, task, best, n_rounds):
        return scores_after(round, best, round.objective.outputs_of_task[task])


class MainTaskDistillation(StalledDistillation):
    """A task that has stopped improving learns from the predictions of the main task.

    When the validation score of a task has not improved for `patience` rounds, its targets become,
    once, a mixture of its labels and the main task's predictions of that moment. This makes sense
    where a task is a noisy or rare version of the main one, about as frequent: both should say yes
    to the same rows. Where the tasks exclude each other, or one is far more frequent, it teaches
    what is wrong. All tasks must be binary.

    Parameters
    ----------
    patience : int, default=10
        Rounds without improvement.
    mixing : float, default=0.5
        Share of the main task's prediction in the target, 0 to 1; the rest is the label.
    temperature : float, default=1.0
        Divides the main task's scores: above 1 for softer targets, below for harder ones.

    See Also
    --------
    SelfDistillation : The teacher is the task itself.
    TeacherDistillation : The teacher is another model.
    """

    def __init__(self, patience=10, mixing=0.5, temperature=1.0):
        self.patience = patience
        self.mixing = mixing
        self.temperature = temperature

    def check(self, tasks, main_task):
        """Raise if a parameter is out of range, a task is not binary, or there is only one."""
        super().check(tasks, main_task)
        if len(tasks) < 2:
            raise ValueError(
                "distillation from the main task needs a second task to learn from it, got only "
                f"{tasks[0].name!r}; use 'self'."
            )
        other = next((task for task in tasks if task.kind != "binary"), None)
        if other is not None:
            raise ValueError(
                "distillation from the main task needs binary tasks only, but "
                f"{other.name!r} is {other.kind}; use 'self'."
            )

    def _can_learn(self, round, task):
        return task != round.main_task and super()._can_learn(round, task)

    def _teacher_scores(self, round, task, best, n_rounds):
        main = round.objective.outputs_of_task[round.main_task]
        return scores_after(round, n_rounds, main)
