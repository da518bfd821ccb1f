"""Objectives: what each kind of task minimises. One file per kind, one protocol for all.

An objective covers some columns of the label matrix (its tasks) and some columns of the score
matrix (its outputs), and offers

``base_scores(labels, weights)``
    The scores before the first tree, one per output.
``gradients(raw, labels, weights, vectors, n_threads)``
    Writes g and h of its outputs into the row vectors.
``probabilities(raw)``
    The link: scores to probabilities, same shape.
``losses(raw, labels, weights)``
    Mean loss of each of its tasks over the rows labelled for it.
``targets(task, labels)`` and ``label_weights(task, labels, weights)``
    y and w of the gradients w (p - y) of one task, from which distillation makes soft targets.

A new kind of task, say regression, is one more file with these and one more line in
`TaskObjectives._build`. Labels are int16, -1 where missing; weights are None or float32, a column
per task; scores are float64 in C order.
"""

from mtgbm.objectives.composite import Task, TaskObjectives

__all__ = ["Task", "TaskObjectives"]
