"""Three ways to see in a round how much one task has to give to another.

A measure offers

``start(round)``
    Once, before the first round.
``observe(round)``
    What was seen since the last round: (n_tasks, n_tasks), entry (i, j) what i gains from j, NaN
    where nothing was seen; None if this round sees nothing.
``explored(round)``
    The task whose gain alone chooses the structure of this round to learn from it, or None.

None has a state: the same round shows the same, also after an interruption.
"""

import numpy as np

from mtgbm.weighting.samples import paired_rows
from mtgbm.weighting.task_cosines import task_cosines


class GradientCosine:
    """Do the gradients of two tasks agree, row by row?"""

    def __init__(self, weighting):
        self.period = weighting.update_frequency
        self.sample_rows = weighting.sample_rows

    def start(self, round):
        labels = round.training.labels
        self._rows = paired_rows(labels, self.sample_rows)
        self._known = labels[self._rows] >= 0

    def observe(self, round):
        if round.number % self.period:
            return None
        gradients = round.vectors[self._rows, : round.objective.n_outputs].astype(np.float64)
        return task_cosines(gradients, self._known, round.objective.outputs_of_task)

    def explored(self, round):
        return None


class LeafCosine:
    """Do the leaves of the latest trees move two tasks in the same direction?"""

    def __init__(self, weighting):
        self.period = weighting.update_frequency

    def start(self, round):
        pass

    def observe(self, round):
        trees = round.forest.trees[-self.period :]
        if round.number % self.period or not trees:
            return None
        hessians = np.concatenate([tree.hessians[tree.nodes["leaf"] >= 0] for tree in trees])
        outputs = round.objective.outputs_of_task
        known = np.column_stack([(hessians[:, own] > 0).all(axis=1) for own in outputs])
        steps = np.concatenate([tree.standardized_gradients() for tree in trees])
        return task_cosines(steps, known, outputs)

    def explored(self, round):
        return None


class Lookahead:
    """Does the validation loss of one task fall when another chooses the tree?

    Of every `update_frequency` rounds the last explores one task, each in turn. It is compared
    with the two ordinary rounds just before, since falls become smaller from round to round.
    """

    def __init__(self, weighting):
        self.period = weighting.update_frequency

    def start(self, round):
        pass

    def observe(self, round):
        turn, phase = divmod(round.number, self.period)
        if phase or round.number < 4:
            return None
        first, _, before, after = round.scores[-4:]
        usual_fall = (first - before) / 2
        gained = np.full(len(after), np.nan)
        np.divide(before - after, usual_fall, out=gained, where=usual_fall > 0)
        seen = np.full((len(after), len(after)), np.nan)
        seen[:, (turn - 1) % len(after)] = np.clip(gained, -1.0, 1.0)
        return seen

    def explored(self, round):
        turn, phase = divmod(round.number, self.period)
        return turn % len(round.tasks) if phase == self.period - 1 else None


MEASURES = {
    "gradient_cosine": GradientCosine,
    "leaf_cosine": LeafCosine,
    "lookahead": Lookahead,
}
