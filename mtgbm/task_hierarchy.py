"""Tasks of which one implies another: a flight an hour late is also a quarter of an hour late."""

import warnings

import numpy as np

from mtgbm.parameters import find_task


class TaskHierarchy:
    """Probabilities that respect "a positive child has a positive parent".

    Each task is predicted on its own, so P(child) may come out above P(parent). From the top down
    each child then gets the smaller of its own and its parent's (corrected) probability; tasks
    without a parent keep theirs. This is the algorithm HTD of Notaro et al., "Prediction of Human
    Phenotype Ontology terms by means of hierarchical ensemble methods", BMC Bioinformatics 18
    (2017).

    Parameters
    ----------
    links : dict
        Child to parent, by name or position; a child has one parent.
    tasks : list of Task

    Raises
    ------
    TypeError
        If `links` is no dict.
    ValueError
        If a task does not exist, is multiclass, or is its own ancestor.
    """

    def __init__(self, links, tasks):
        if not isinstance(links, dict):
            raise TypeError(
                "task_hierarchy must be a dict of child and parent, such as "
                f"{{'late by an hour': 'late'}}, got {links!r}."
            )
        names = [task.name for task in tasks]
        self._names = names
        self._parents = {
            find_task("task_hierarchy", child, names): find_task("task_hierarchy", parent, names)
            for child, parent in links.items()
        }
        for task in {*self._parents, *self._parents.values()}:
            if tasks[task].kind != "binary":
                raise ValueError(
                    f"task_hierarchy names {names[task]!r}, which is multiclass; only binary tasks "
                    "can imply each other."
                )
        depths = {child: len(self._path(child)) for child in self._parents}
        self._children = sorted(depths, key=depths.__getitem__)

    def links(self):
        """Pairs of child and parent, positions of tasks, from the top down."""
        return [(child, self._parents[child]) for child in self._children]

    def _path(self, task):
        """A task and its ancestors; a walk that comes back to a task is an error."""
        path = [task]
        while path[-1] in self._parents:
            path.append(self._parents[path[-1]])
            if path[-1] in path[:-1]:
                cycle = path[path.index(path[-1]) :]
                raise ValueError(
                    "task_hierarchy has a cycle, "
                    f"{' -> '.join(self._names[task] for task in cycle)}: a task cannot be its own "
                    "ancestor; leave out one of these links."
                )
        return path

    def correct(self, probabilities, outputs_of_task):
        """Lower the probabilities of children to those of their parents, in place.

        Parameters
        ----------
        probabilities : ndarray of float64 of shape (n_rows, n_outputs)
        outputs_of_task : list of list of int
        """
        for child, parent in self.links():
            (own,), (above,) = outputs_of_task[child], outputs_of_task[parent]
            np.minimum(probabilities[:, own], probabilities[:, above], out=probabilities[:, own])

    def warn_of_contradictions(self, labels):
        """Warn, once, of rows where a child is labelled 1 and its parent 0.

        Parameters
        ----------
        labels : ndarray of int16 of shape (n_rows, n_tasks)
            -1 where missing.
        """
        counts = {
            (child, parent): int(((labels[:, child] == 1) & (labels[:, parent] == 0)).sum())
            for child, parent in self._parents.items()
        }
        found = [
            f"{count} rows are {self._names[child]!r} but not {self._names[parent]!r}"
            for (child, parent), count in counts.items()
            if count
        ]
        if found:
            warnings.warn(
                f"Y contradicts task_hierarchy: {', '.join(found)}. The model learns from these "
                "labels as they are.",
                UserWarning,
                stacklevel=6,
            )
