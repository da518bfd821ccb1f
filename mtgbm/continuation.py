"""What a fit goes on from: the forest, bins and history of an earlier one, for more tasks if asked.

Tasks are only ever added, after the old ones. In the trees that were there before them they have
values, gradients and gains of 0, so that every reader of the forest finds it as if they had always
been there and nothing had been learned of them.
"""

import copy
import warnings
from dataclasses import dataclass, replace

import numpy as np

from mtgbm.columns import check_distinct
from mtgbm.engine.binning import BinMapper
from mtgbm.engine.tree import Forest
from mtgbm.labels import MISSING, task_names


@dataclass
class Continuation:
    """The state of an earlier fit.

    Attributes
    ----------
    forest : Forest
        Of the old tasks.
    mapper : BinMapper
    n_tasks : int
        How many tasks are old.
    curves : dict
        As `evals_result_`; empty if its scores are of other validation rows.
    weights : ndarray of float64 of shape (n_rounds, n_tasks)
        The earlier `weight_evolution_`.
    n_rounds : int
        Rounds to add.
    """

    forest: Forest
    mapper: BinMapper
    n_tasks: int
    curves: dict
    weights: np.ndarray
    n_rounds: int

    def widened_forest(self, base_scores):
        """A copy of the forest with the outputs of the new tasks.

        Parameters
        ----------
        base_scores : ndarray of float64 of shape (n_outputs,)
            Of all tasks, from the new rows; those of old tasks are not used.
        """
        n_old, n_new = self.forest.n_outputs, len(base_scores) - self.forest.n_outputs
        trees = list(self.forest.trees)
        if n_new:
            trees = [_widened_tree(tree, n_new) for tree in trees]
        base_score = np.concatenate([self.forest.base_score, base_scores[n_old:]])
        return Forest(base_score, self.forest.n_features, trees)

    def curves_of(self, names):
        """The curves, with NaN for the tasks that were not there."""
        curves = copy.deepcopy(self.curves)
        for part in curves.values():
            lengths = {key.rpartition(":")[2]: len(curve) for key, curve in part.items()}
            for metric, length in lengths.items():
                for name in names[self.n_tasks :]:
                    part[f"{name}:{metric}"] = [np.nan] * length
        return curves

    def weights_of(self, n_tasks):
        """The weights, 0 for the tasks that were not there."""
        return np.pad(self.weights, [(0, 0), (0, n_tasks - self.n_tasks)])


def _widened_tree(tree, n_new):
    """The tree with outputs of which nothing was learned."""
    names = ("values", "gradients", "hessians", "gains")
    return replace(
        tree, **{name: np.pad(getattr(tree, name), [(0, 0), (0, n_new)]) for name in names}
    )


# A second fit -----------------------------------------------------------------------------------


def of_warm_start(estimator, reader, encoder):
    """What `fit` goes on from with `warm_start`; None if it starts anew.

    Parameters
    ----------
    estimator : MultiTaskLGBMClassifier
    reader : FeatureReader
    encoder : LabelEncoder
        These two fitted to the tables of the second fit.

    Raises
    ------
    ValueError
        If the model is not one that can go on with these tables.
    """
    if not (estimator.warm_start and hasattr(estimator, "forest_")):
        return None
    _check_same_model(estimator, reader, encoder)
    n_rounds = len(estimator.forest_.trees)
    curves = {
        part: {key: curve[:n_rounds] for key, curve in table.items()}
        for part, table in estimator.evals_result_.items()
    }
    return Continuation(
        estimator.forest_,
        estimator._mapper,
        estimator.n_tasks_,
        curves if n_rounds else {},
        estimator.weight_evolution_[:n_rounds],
        estimator.n_estimators - n_rounds,
    )


def _check_same_model(estimator, reader, encoder):
    """Features and old tasks must be as they were; new tasks may follow the old ones."""
    n_rounds = len(estimator.forest_.trees)
    if estimator.n_estimators < n_rounds:
        raise ValueError(
            f"warm_start: n_estimators={estimator.n_estimators} is less than the {n_rounds} rounds "
            "the model has; raise it."
        )
    old = estimator._encoder
    same_tasks = (
        old.tasks_ == encoder.tasks_[: len(old.tasks_)]
        and all(map(np.array_equal, old.classes_, encoder.classes_))
        and old.is_1d_ == encoder.is_1d_
    )
    same_features = estimator._reader.categories_ == reader.categories_ and np.array_equal(
        estimator._reader.is_categorical_, reader.is_categorical_
    )
    if not (same_tasks and same_features):
        raise ValueError(
            "warm_start: tasks, classes, features and categories must be those of the first fit, "
            "except that new tasks may follow the old ones; set warm_start=False to start anew."
        )


# More data --------------------------------------------------------------------------------------


def of_partial_fit(estimator):
    """What `partial_fit` goes on from: all of the model but the curves.

    Scores on other validation rows say nothing about progress, so the curves start anew.
    """
    return Continuation(
        estimator.forest_,
        estimator._mapper,
        estimator.n_tasks_,
        {},
        estimator.weight_evolution_[: len(estimator.forest_.trees)],
        estimator.n_estimators,
    )


def check_any_label(labels):
    """Refuse rows of which nothing can be learned."""
    if not (labels != MISSING).any():
        raise ValueError("Y has no label: all are missing or masked; there is nothing to learn.")


def validation_labels(encoder, y_val):
    """The columns of y_val in the order of the tasks, NaN for those that it leaves out.

    Parameters
    ----------
    encoder : LabelEncoder
        Of all tasks.
    y_val : array-like or DataFrame, or None
    """
    if y_val is None:
        return None
    columns = TaskColumns(encoder, y_val)
    if columns.new:
        raise ValueError(
            f"y_val has the tasks {', '.join(columns.new)}, which Y does not have; the tasks are "
            f"{', '.join(encoder.task_names_)}."
        )
    return columns.spread(y_val, np.nan)


class TaskColumns:
    """Where the columns of another Y belong among the tasks of a model, and which are new.

    The columns of a table with names are matched by name if the model knows names, all others by
    position. What is left over is a new task.

    Parameters
    ----------
    encoder : LabelEncoder
        Of the model.
    Y : array-like or DataFrame of shape (n_rows,) or (n_rows, n_columns)

    Attributes
    ----------
    new : list of str
        Names of the new tasks.
    positions : list of int
        The task of each column.

    Raises
    ------
    ValueError
        If Y can have no place for the columns of the model.
    """

    def __init__(self, encoder, Y):
        self.old = encoder
        n_columns = _number_of_columns(Y, encoder)
        names = task_names(Y, n_columns)
        check_distinct(names, "Two tasks of Y share a name")
        if hasattr(Y, "columns") and encoder._is_named:
            self.new = [name for name in names if name not in encoder.task_names_]
            every = [*encoder.task_names_, *self.new]
            self.positions = [every.index(name) for name in names]
        else:
            self.new = names[len(encoder.tasks_) :]
            self.positions = list(range(n_columns))
            check_distinct([*encoder.task_names_, *self.new], "Two tasks of Y share a name")

    def warn_of_missing(self):
        """Warn where old tasks are missing and new ones appear: a name may be misspelt."""
        missing = [
            name
            for position, name in enumerate(self.old.task_names_)
            if position not in self.positions
        ]
        if missing and self.new:
            warnings.warn(
                f"partial_fit: Y has the new tasks {', '.join(self.new)}, but no column for "
                f"{', '.join(missing)}, which learn nothing from it. Rename the columns if they "
                "are the same tasks.",
                UserWarning,
                stacklevel=5,
            )

    def encoder(self, labels, objective):
        """A label encoder of the old and the new tasks.

        Parameters
        ----------
        labels : ndarray
            Y, spread.
        objective : None, str, list or dict
            The estimator's, for the kinds of the new tasks.
        """
        if not self.new:
            return self.old
        return self.old.with_tasks(self.new, labels[:, len(self.old.tasks_) :], objective)

    def spread(self, table, fill):
        """The columns of a table in the order of the tasks.

        Parameters
        ----------
        table : array-like or DataFrame of shape (n_rows,) or (n_rows, n_columns), or None
        fill : object
            Stands in the columns of tasks that the table does not have.

        Returns
        -------
        ndarray of shape (n_rows,) for the model of a 1-d y, else (n_rows, n_tasks); None for None
        """
        if table is None or self.old.is_1d_:
            return table
        values = np.asarray(table)
        if values.ndim != 2 or values.shape[1] != len(self.positions):
            raise ValueError(
                f"expected {len(self.positions)} columns, one for each column of Y, got a table of "
                f"shape {values.shape}."
            )
        dtype = object if values.dtype.kind in "OU" else np.result_type(values, type(fill))
        n_tasks = len(self.old.tasks_) + len(self.new)
        every = np.full((len(values), n_tasks), fill, dtype=dtype)
        every[:, self.positions] = values
        return every


def _number_of_columns(Y, encoder):
    """The columns of Y, after a check that they can be those of the model."""
    shape = np.shape(Y)
    n_old = len(encoder.tasks_)
    n_columns = shape[1] if len(shape) == 2 else 1
    if encoder.is_1d_ and n_columns > 1:
        raise ValueError(
            f"partial_fit got a Y of {n_columns} columns, but the model was fitted to a 1-d y, to "
            "which no tasks can be added; fit a new model to the columns."
        )
    if not encoder.is_1d_ and len(shape) != 2:
        raise ValueError(
            f"partial_fit got a Y of shape {shape}, expected a column for each of the tasks "
            f"{', '.join(encoder.task_names_)}; a DataFrame may leave some of them out."
        )
    is_named = hasattr(Y, "columns") and encoder._is_named
    if not is_named and n_columns < n_old:
        raise ValueError(
            f"partial_fit got a Y of {n_columns} columns, but the model has the {n_old} tasks "
            f"{', '.join(encoder.task_names_)}; fill the columns of the others with NaN."
        )
    return n_columns
