"""What a training is made of after some round: enough to go on as if it had never stopped."""

from dataclasses import dataclass, replace

import numpy as np
from sklearn.utils.validation import check_is_fitted

from mtgbm.engine.binning import BinMapper
from mtgbm.engine.tree import Forest
from mtgbm.io.container import DTYPES
from mtgbm.io.container_writer import json_text, replace_file
from mtgbm.io.header_fields import field, integer, list_of, typed
from mtgbm.io.json_values import from_json, to_json
from mtgbm.io.model_arrays import (
    MOST_BINS,
    bins_from_arrays,
    bins_to_arrays,
    forest_from_arrays,
    forest_to_arrays,
    require,
    take,
)
from mtgbm.io.model_header import curves_from_header

MOST = 2**63 - 1


@dataclass
class TrainingState:
    """A training between two rounds.

    Attributes
    ----------
    iteration : int
        Rounds of this fit that are done; those of a model that it began from do not count.
    ended : bool
        Whether early stopping, a callback or the lack of splits ended it.
    seed : int
        From which all random numbers of the fit come.
    kept_rounds : ndarray of int64 of shape (n_outputs,)
        Trees that each output would keep if training ended here.
    evals_result : dict
        As the estimator's `evals_result_`.
    weight_evolution : ndarray of float64 of shape (n_rounds, n_tasks)
    parts : dict of dict
        What `Boosting.get_state` returned: random generators, the bag, the best scores so far and
        the rounds since then, the states of weighting and distillation.
    forest : Forest
        All trees, those of a model that this fit began from included.
    mapper : BinMapper
    """

    iteration: int
    ended: bool
    seed: int
    kept_rounds: np.ndarray
    evals_result: dict
    weight_evolution: np.ndarray
    parts: dict
    forest: Forest
    mapper: BinMapper

    def kept_forest(self):
        """The forest that `fit` would leave if training ended here."""
        forest = replace(self.forest, trees=list(self.forest.trees))
        if forest.trees:
            forest.keep_rounds(self.kept_rounds)
        return forest

    def to_dict(self):
        """Everything but the arrays, of what JSON can hold."""
        return {
            "iteration": self.iteration,
            "ended": self.ended,
            "seed": self.seed,
            "kept_rounds": [int(rounds) for rounds in self.kept_rounds],
            "bins": {"max_bin": int(self.mapper.max_bin), "subsample": int(self.mapper.subsample)},
            "curves": [[part, key, len(curve)] for part, key, curve in self._curves()],
            "parts": {
                name: {
                    key: to_json(value, f"{key} of the {name}")
                    for key, value in part.items()
                    if not _is_stored(value)
                }
                for name, part in self.parts.items()
            },
        }

    def arrays(self):
        """The arrays that `to_dict` leaves out, by name."""
        return {
            **forest_to_arrays(self.forest),
            **bins_to_arrays(self.mapper),
            "curves": np.concatenate([np.empty(0), *(curve for _, _, curve in self._curves())]),
            "weight_evolution": np.ascontiguousarray(self.weight_evolution, dtype=np.float64),
            **{
                f"parts/{name}/{key}": np.ascontiguousarray(value)
                for name, part in self.parts.items()
                for key, value in part.items()
                if _is_stored(value)
            },
        }

    def _curves(self):
        for part, curves in self.evals_result.items():
            for key, curve in curves.items():
                yield part, key, curve

    @classmethod
    def from_dict(cls, content, arrays, n_jobs=None):
        """Return the state of which `to_dict` and `arrays` gave the two.

        Raises
        ------
        ValueError
            If anything is missing, or does not hold together.
        """
        where = "the training state"
        mapper = _read_mapper(field(content, "bins", dict, where=where), arrays, n_jobs)
        n_outputs = len(take(arrays, "base_score", np.float64, None))
        forest = forest_from_arrays(arrays, n_outputs, mapper)
        n_trees = len(forest.trees)
        kept = np.array(list_of(content, "kept_rounds", int, where=where), dtype=np.int64)
        evolution = take(arrays, "weight_evolution", np.float64, n_trees, None)
        require(
            kept.shape == (n_outputs,) and ((kept >= 0) & (kept <= n_trees)).all(),
            f"up to {n_trees} trees to keep for each of {n_outputs} outputs",
        )
        return cls(
            iteration=integer(content, "iteration", 0, n_trees, where=where),
            ended=field(content, "ended", bool, where=where),
            seed=integer(content, "seed", 0, MOST, where=where),
            kept_rounds=kept,
            evals_result=curves_from_header(content, take(arrays, "curves", np.float64, None)),
            weight_evolution=evolution,
            parts=_read_parts(field(content, "parts", dict, where=where), arrays),
            forest=forest,
            mapper=mapper,
        )


def _is_stored(value):
    """Whether a value is one of the arrays that a file holds as they are."""
    return type(value) is np.ndarray and value.dtype.name in DTYPES and value.ndim in (1, 2)


def _read_mapper(bins, arrays, n_jobs):
    n_features = len(take(arrays, "bins/n_bins", np.int32, None))
    return bins_from_arrays(
        arrays,
        n_features,
        integer(bins, "max_bin", 2, MOST_BINS, where="'bins'"),
        integer(bins, "subsample", 1, MOST, where="'bins'"),
        n_jobs,
    )


def _read_parts(content, arrays):
    """The states of the parts, each put together from its values and its arrays."""
    parts = {}
    for name, values in content.items():
        prefix = f"parts/{name}/"
        values = typed(values, dict, where=f"the state of the {name}")
        own = {key: array for key, array in arrays.items() if key.startswith(prefix)}
        parts[name] = {
            **{key: from_json(value, f"{key} of the {name}") for key, value in values.items()},
            **{key.removeprefix(prefix): array for key, array in own.items()},
        }
    return parts


# A fitted model ---------------------------------------------------------------------------------


def training_history(estimator):
    """How the training of a model went, of what JSON can hold.

    Parameters
    ----------
    estimator : MultiTaskLGBMClassifier
        Fitted.

    Returns
    -------
    dict
        ``n_rounds`` (before the best were kept), ``best_iteration``, ``best_iteration_per_task``,
        ``best_score_per_task`` (the validation score of each task after the rounds that it keeps,
        None without one), ``task_names``, ``weight_evolution`` (a list of weights for each round)
        and ``evals_result``, in which None stands for NaN.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    """
    check_is_fitted(estimator)
    rounds = estimator.best_iteration_per_task_
    curves = estimator.evals_result_.get("validation", {})
    scores = {task: curves.get(f"{task}:{estimator.eval_metric}", []) for task in rounds}
    return {
        "n_rounds": len(estimator.weight_evolution_),
        "best_iteration": estimator.best_iteration_,
        "best_iteration_per_task": dict(rounds),
        "best_score_per_task": {
            task: _number(scores[task][kept - 1]) if 0 < kept <= len(scores[task]) else None
            for task, kept in rounds.items()
        },
        "task_names": list(estimator.task_names_),
        "weight_evolution": estimator.weight_evolution_.tolist(),
        "evals_result": {
            part: {key: list(map(_number, curve)) for key, curve in table.items()}
            for part, table in estimator.evals_result_.items()
        },
    }


def _number(score):
    return float(score) if np.isfinite(score) else None


def write_training_state(estimator, path):
    """Write `training_history` of a model to a JSON file, in one step.

    Parameters
    ----------
    estimator : MultiTaskLGBMClassifier
        Fitted.
    path : str or path-like
        ``training_state.json`` is usual.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    OSError
        If the file cannot be written; what was at `path` is still there.

    Examples
    --------
    >>> import json, tempfile
    >>> from pathlib import Path
    >>> from mtgbm import MultiTaskLGBMClassifier
    >>> from mtgbm.training_state import write_training_state
    >>> X, y = [[number] for number in range(100)], [0] * 50 + [1] * 50
    >>> model = MultiTaskLGBMClassifier(n_estimators=2).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_training_state(model, Path(folder, "training_state.json"))
    ...     json.loads(Path(folder, "training_state.json").read_text())["weight_evolution"]
    [[1.0], [1.0]]
    """
    replace_file(path, [json_text(training_history(estimator)).encode(), b"\n"])
