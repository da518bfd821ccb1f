"""All tasks of a model as one objective, so that the training loop need not know their kinds."""

from dataclasses import dataclass

import numpy as np

from mtgbm.objectives.binary import BinaryObjective
from mtgbm.objectives.multiclass import MulticlassObjective


@dataclass(frozen=True)
class Task:
    """One label: its name, its kind and how many classes it has."""

    name: str
    kind: str = "binary"
    n_classes: int = 2

    @property
    def n_outputs(self):
        return self.n_classes if self.kind == "multiclass" else 1


class TaskObjectives:
    """The objectives of a list of tasks, which own the outputs in their order.

    Parameters
    ----------
    tasks : list of Task
    positive_weights : ndarray of shape (n_tasks,)
        Factor on the positive rows of each binary task.
    """

    def __init__(self, tasks, positive_weights):
        self.tasks = list(tasks)
        sizes = [task.n_outputs for task in self.tasks]
        self.n_outputs = sum(sizes)
        ends = np.cumsum(sizes)
        self.outputs_of_task = [
            list(range(end - size, end)) for end, size in zip(ends, sizes, strict=True)
        ]
        self.task_of_output = np.repeat(np.arange(len(self.tasks)), sizes)
        self.position_in_task = np.concatenate([np.arange(n, dtype=np.int32) for n in sizes])
        self._parts = list(self._build(positive_weights))

    def _build(self, positive_weights):
        binary = [number for number, task in enumerate(self.tasks) if task.kind == "binary"]
        if binary:
            outputs = [self.outputs_of_task[number][0] for number in binary]
            yield BinaryObjective(binary, outputs, positive_weights)
        for number, task in enumerate(self.tasks):
            if task.kind == "multiclass":
                yield MulticlassObjective(number, self.outputs_of_task[number])

    def of_task(self, task):
        """The objective that covers a task."""
        return next(part for part in self._parts if task in part.tasks)

    def base_scores(self, labels, weights):
        scores = np.zeros(self.n_outputs)
        for part in self._parts:
            scores[part.outputs] = part.base_scores(labels, weights)
        return scores

    def gradients(self, raw, labels, weights, vectors, n_threads):
        for part in self._parts:
            part.gradients(raw, labels, weights, vectors, n_threads)

    def probabilities(self, raw):
        probabilities = np.empty_like(raw)
        for part in self._parts:
            probabilities[:, part.outputs] = part.probabilities(raw[:, part.outputs])
        return probabilities

    def losses(self, raw, labels, weights):
        losses = np.empty(len(self.tasks))
        for part in self._parts:
            losses[part.tasks] = part.losses(raw, labels, weights)
        return losses
