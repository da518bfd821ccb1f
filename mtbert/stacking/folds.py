"""Rows dealt to folds so that every class of every task is in each of them."""

from __future__ import annotations

import numpy as np

from mtbert.targets import Targets
from mtgbm.labels import MISSING


def check_enough_rows(labels, targets: Targets, n_folds) -> None:
    """Raise ValueError, with the class, unless each class there is has a row for each fold.

    Parameters
    ----------
    labels : ndarray of int16 of shape (n, n_tasks)
        -1 where missing.
    targets : Targets
    n_folds : int
    """
    for task, column in enumerate(labels.T):
        numbers, counts = np.unique(column[column != MISSING], return_counts=True)
        rarest = counts.argmin()
        if counts[rarest] < n_folds:
            name, where = _describe(targets, task, numbers[rarest])
            raise ValueError(
                f"stacking deals the rows to {n_folds} folds, but the class {name!r}{where} has "
                f"only {counts[rarest]}; set stacking_options={{'folds': ...}} to fewer folds, "
                "give more rows of the class or leave it out, or set stacking=None."
            )


def _describe(targets, task, number):
    if targets.encoder_.is_1d_:
        return targets.classes_.tolist()[number], ""
    return int(number), f" of task {targets.encoder_.task_names_[task]!r}"


def fewest_of_a_class(labels) -> int:
    """Rows of the rarest class of any task."""
    return min(map(len, _rows_of_classes(labels)))


def deal_folds(labels, n_folds, seed) -> np.ndarray:
    """Return the fold of each row.

    The rarest class of all tasks is dealt first, each row to the fold that has fewest of the
    class, then what is left of the next; of a single task, numbers of a class differ by one row
    at most.

    Parameters
    ----------
    labels : ndarray of int16 of shape (n, n_tasks)
        -1 where missing; each row has a label.
    n_folds : int
    seed : int

    Returns
    -------
    ndarray of int64 of shape (n,)
        From 0 to n_folds - 1.

    References
    ----------
    Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-label Data", ECML PKDD 2011.
    """
    rng = np.random.default_rng(seed)
    fold_of = np.full(len(labels), -1)
    sizes = np.zeros(n_folds, dtype=np.int64)
    for rows in sorted(_rows_of_classes(labels), key=len):
        dealt = fold_of[rows]
        held = np.bincount(dealt[dealt >= 0], minlength=n_folds)
        for row in rng.permutation(rows[dealt < 0]):
            fold = np.lexsort((sizes, held))[0]
            fold_of[row] = fold
            held[fold] += 1
            sizes[fold] += 1
    return fold_of


def _rows_of_classes(labels):
    """Positions of the rows of each class of each task."""
    return [
        np.flatnonzero(column == number)
        for column in labels.T
        for number in np.unique(column[column != MISSING])
    ]
