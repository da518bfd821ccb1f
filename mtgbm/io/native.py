"""The native model file: all of a fitted estimator, and nothing that runs when it is read.

`container.py` is the file around it, `model_header.py` what its header says, `json_values.py` the
form of parameters and classes there, `model_arrays.py` the forest and the bins.
"""

import json

import numpy as np
from sklearn.utils.validation import check_is_fitted

from mtgbm.io.container import read_file
from mtgbm.io.container_writer import json_text, write_file
from mtgbm.io.header_fields import field, integer
from mtgbm.io.model_arrays import (
    bins_from_arrays,
    bins_to_arrays,
    forest_from_arrays,
    forest_to_arrays,
    take,
)
from mtgbm.io.model_header import (
    MODEL,
    curves_from_header,
    describe,
    distilled_from_header,
    encoder_from_header,
    estimator_from_header,
    features_from_header,
    public_classes,
)
from mtgbm.objectives import TaskObjectives
from mtgbm.task_hierarchy import TaskHierarchy

#: What `fit` leaves, beside the parameters. All of it is in the file or follows from it.
ATTRIBUTES = {
    "_encoder",
    "_mapper",
    "_objective",
    "_reader",
    "best_iteration_",
    "best_iteration_per_task_",
    "classes_",
    "distilled_rounds_",
    "evals_result_",
    "feature_names_in_",
    "forest_",
    "n_features_in_",
    "n_tasks_",
    "task_names_",
    "weight_evolution_",
}


def save_model(estimator, path):
    """Write a fitted estimator to one file, without pickle.

    The file is read back in memory before anything is written, and takes the place of an older one
    in one step: an interrupted save leaves the old file as it was.

    Parameters
    ----------
    estimator : MultiTaskLGBMClassifier
        Fitted. Its parameters must be numbers, text, lists, tuples, sets, dicts, arrays, or
        weightings of `mtgbm.weighting`.
    path : str or path-like
        Any name; ``.mtgbm`` is usual.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If it is no MultiTaskLGBMClassifier, or has a parameter, label or attribute that the file
        cannot hold; the text names it.
    ValueError
        If a parameter is out of range, or the model does not hold together.
    OSError
        If the file cannot be written.

    See Also
    --------
    load_model

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from mtgbm import MultiTaskLGBMClassifier
    >>> from mtgbm.io.native import load_model, save_model
    >>> X, y = [[number] for number in range(100)], ["low"] * 50 + ["high"] * 50
    >>> model = MultiTaskLGBMClassifier(n_estimators=5).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_model(model, Path(folder, "model.mtgbm"))
    ...     loaded = load_model(Path(folder, "model.mtgbm"))
    >>> loaded.predict([[3], [80]])
    array(['low', 'high'], dtype='<U4')
    """
    _check_savable(estimator)
    header, arrays = describe(estimator), _arrays(estimator)
    build_model(json.loads(json_text(header)), arrays)
    write_file(path, header, arrays)


def load_model(path):
    """Read the estimator that `save_model` wrote.

    Nothing in the file is executed, so files from others may be read: a damaged or forged one gives
    an error, never a crash. (Who forges a file still decides what the model predicts.)

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    MultiTaskLGBMClassifier
        Predicts the same bits as the saved one, has the same parameters, and can be explained,
        refitted, and continued with ``warm_start``.

    Raises
    ------
    ValueError
        If it is no model file, is truncated, damaged, or of a newer mtgbm.
    OSError
        If there is no such file or it may not be read.
    """
    try:
        return build_model(*read_file(path))
    except ValueError as error:
        raise ValueError(f"cannot load a model from {path}: {error}") from None
    except RecursionError:
        raise ValueError(f"cannot load a model from {path}: it is nested too deeply.") from None


def _check_savable(estimator):
    """Refuse what is no fitted classifier, or is more than one."""
    kind = type(estimator)
    if (kind.__module__, kind.__name__) != ("mtgbm.estimators", MODEL):
        raise TypeError(
            f"a model file holds a {MODEL}, got a {kind.__module__}.{kind.__qualname__}; use "
            "joblib.dump for other estimators."
        )
    check_is_fitted(estimator)
    if getattr(estimator, "_skl_callbacks", None):
        raise TypeError(
            "a model file cannot hold callbacks; take them off with set_callbacks() before you "
            "save the model."
        )
    known = ATTRIBUTES | set(estimator.get_params(deep=False))
    unknown = sorted(set(vars(estimator)) - known)
    if unknown:
        raise TypeError(
            f"a model file cannot hold the attributes {', '.join(unknown)}, which fit does not "
            "set; delete them, or use joblib.dump."
        )


def _arrays(estimator):
    """The arrays of a fitted estimator."""
    curves = [curve for table in estimator.evals_result_.values() for curve in table.values()]
    return {
        **forest_to_arrays(estimator.forest_),
        **bins_to_arrays(estimator._mapper),
        "curves": np.concatenate([np.empty(0), *curves]),
        "weights_history": np.ascontiguousarray(estimator.weight_evolution_, dtype=np.float64),
    }


def build_model(header, arrays):
    """The fitted estimator; every field is checked, since anyone may have written the file."""
    estimator = estimator_from_header(header)
    encoder, best_rounds = encoder_from_header(header, estimator.objective)
    _check_hierarchy(estimator.task_hierarchy, encoder.tasks_)
    # Factors on positive rows matter in training only, which makes an objective of its own.
    objective = TaskObjectives(encoder.tasks_, np.ones(len(encoder.tasks_)))
    mapper = _build_mapper(header, arrays, estimator.n_jobs)
    reader, names = features_from_header(header, estimator.categorical_feature, mapper)
    forest = forest_from_arrays(arrays, objective.n_outputs, mapper)
    attributes = {
        "_reader": reader,
        "_encoder": encoder,
        "_objective": objective,
        "_mapper": mapper,
        "forest_": forest,
        "classes_": public_classes(encoder),
        "task_names_": encoder.task_names_,
        "n_tasks_": len(encoder.tasks_),
        "evals_result_": curves_from_header(header, take(arrays, "curves", np.float64, None)),
        "weight_evolution_": take(arrays, "weights_history", np.float64, None, len(encoder.tasks_)),
        "best_iteration_": len(forest.trees),
        "best_iteration_per_task_": best_rounds,
        "distilled_rounds_": distilled_from_header(header, encoder.task_names_),
        "n_features_in_": len(mapper.n_bins_),
    }
    if names is not None:
        attributes["feature_names_in_"] = names
    for name, value in attributes.items():
        setattr(estimator, name, value)
    return estimator


def _check_hierarchy(links, tasks):
    """Refuse links that predictions could not follow."""
    try:
        TaskHierarchy({} if links is None else links, tasks)
    except TypeError as error:
        raise ValueError(str(error)) from None


def _build_mapper(header, arrays, n_jobs):
    n_features = integer(field(header, "features", dict), "number", 1, 2**31 - 1, "'features'")
    bins = field(header, "bins", dict)
    return bins_from_arrays(
        arrays,
        n_features,
        integer(bins, "max_bin", 2, 255, "'bins'"),
        integer(bins, "subsample", 1, 2**63 - 1, "'bins'"),
        n_jobs,
    )
