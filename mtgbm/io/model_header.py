"""What the header of a native model file says, and the parts of an estimator made from it.

    "model": "MultiTaskLGBMClassifier"
    "tasks": [{"name": "late", "kind": "binary", "best_round": 40,
               "classes": {"dtype": "<i8", "shape": [2], "values": [0, 1]}}, ...]
    "labels": {"one_dimensional": false, "named": true}
    "features": {"number": 3, "names": ["distance", "hour", "carrier"],
                 "categories": [[2, ["AA", "DL", "UA"]]]}
    "bins": {"max_bin": 255, "subsample": 200000}
    "curves": [["validation", "late:logloss", 50], ...]    lengths of the parts of array "curves"
    "distilled": [["late", 25]]    tasks with soft targets, rounds before; not in older files
    "parameters": {"n_estimators": 100, ...}

``named`` says whether Y was a table with names of its own, ``best_round`` how many trees a task
keeps, ``subsample`` how many rows the bins were made of. Fields beyond these are ignored.
"""

import math
from reprlib import repr as short

import numpy as np

from mtgbm.features import FeatureReader
from mtgbm.io.header_fields import corrupt, field, integer, list_of, typed
from mtgbm.io.json_values import array_from_json, array_to_json, known_parameters, to_json
from mtgbm.labels import KINDS, LabelEncoder
from mtgbm.objectives import Task
from mtgbm.parameters import check_parameters

MODEL = "MultiTaskLGBMClassifier"
#: A file must not make its reader start more threads than machines have.
MOST_JOBS = 1024
#: Class numbers are int16.
MOST_CLASSES = 2**15 - 1


# Writing ----------------------------------------------------------------------------------------


def describe(estimator):
    """The header of a fitted estimator, of what JSON can hold."""
    encoder, mapper = estimator._encoder, estimator._mapper
    parameters = estimator.get_params(deep=False)
    return {
        "model": MODEL,
        "tasks": _describe_tasks(encoder, estimator.best_iteration_per_task_),
        "labels": {"one_dimensional": encoder.is_1d_, "named": encoder._is_named},
        "features": _describe_features(estimator),
        "bins": {"max_bin": int(mapper.max_bin), "subsample": int(mapper.subsample)},
        "curves": [
            [part, key, len(curve)]
            for part, curves in estimator.evals_result_.items()
            for key, curve in curves.items()
        ],
        "distilled": [[name, rounds] for name, rounds in estimator.distilled_rounds_.items()],
        "parameters": {
            name: to_json(value, f"parameter {name}") for name, value in parameters.items()
        },
    }


def _describe_tasks(encoder, best_rounds):
    return [
        {
            "name": task.name,
            "kind": task.kind,
            "best_round": best_rounds[task.name],
            "classes": array_to_json(classes, f"the array of classes of task {task.name!r}"),
        }
        for task, classes in zip(encoder.tasks_, encoder.classes_, strict=True)
    ]


def _describe_features(estimator):
    names = getattr(estimator, "feature_names_in_", None)
    return {
        "number": int(estimator.n_features_in_),
        "names": None if names is None else [str(name) for name in names],
        "categories": [
            [position, to_json(categories, f"the list of categories of feature {position}")]
            for position, categories in estimator._reader.categories_.items()
        ],
    }


# Reading ----------------------------------------------------------------------------------------


def estimator_from_header(header):
    """The estimator with its parameters, not fitted yet."""
    from mtgbm import MultiTaskLGBMClassifier  # which imports this package

    model = field(header, "model", str)
    if model != MODEL:
        raise ValueError(
            f"expected a {MODEL} in the file, found a {short(model)}; upgrade mtgbm if it was "
            "saved by a newer one."
        )
    parameters = field(header, "parameters", dict)
    estimator = MultiTaskLGBMClassifier(
        **known_parameters(MultiTaskLGBMClassifier, parameters, "parameters")
    )
    try:
        check_parameters(estimator)
    except (TypeError, OverflowError) as error:
        raise ValueError(str(error)) from None
    if (estimator.n_jobs or 0) > MOST_JOBS:
        raise ValueError(f"n_jobs must be at most {MOST_JOBS} in a file, got {estimator.n_jobs}.")
    return estimator


def encoder_from_header(header, objective):
    """The fitted label encoder, and the rounds that each task keeps by its name."""
    labels = field(header, "labels", dict)
    encoder = LabelEncoder(objective)
    encoder.is_1d_ = field(labels, "one_dimensional", bool, where="'labels'")
    encoder._is_named = field(labels, "named", bool, where="'labels'")
    entries = list_of(header, "tasks", dict)
    if not entries or (encoder.is_1d_ and len(entries) > 1):
        raise corrupt(f"expected one task or, if labels have two dimensions, more: {len(entries)}")
    tasks = [_read_task(entry, encoder.is_1d_) for entry in entries]
    encoder.tasks_ = [task for task, _, _ in tasks]
    encoder.classes_ = [classes for _, classes, _ in tasks]
    encoder.task_names_ = [task.name for task in encoder.tasks_]
    best_rounds = {task.name: rounds for task, _, rounds in tasks}
    if len(best_rounds) < len(tasks):
        raise corrupt(f"expected distinct names of tasks, found {short(encoder.task_names_)}")
    return encoder, best_rounds


def _read_task(entry, is_1d):
    """A task, its classes and the number of rounds it keeps."""
    name = field(entry, "name", str, where="a task")
    where = f"task {short(name)}"
    kind = field(entry, "kind", str, where=where)
    classes = array_from_json(field(entry, "classes", dict, where=where), f"'classes' of {where}")
    rounds = integer(entry, "best_round", 0, 2**31 - 1, where)
    if kind not in KINDS:
        raise ValueError(
            f"expected {where} to be one of {', '.join(KINDS)}, found {short(kind)}. Upgrade mtgbm "
            "if the model was saved by a newer one."
        )
    if classes.ndim != 1 or not 1 <= len(classes) <= MOST_CLASSES or not _ascend(classes):
        raise corrupt(f"expected distinct classes of {where} in ascending order, found others")
    if kind == "binary":
        sound = len(classes) <= 2 if is_1d else np.array_equal(classes, [0, 1])
        if not sound:
            raise corrupt(f"expected two classes of {where}, found {short(classes.tolist())}")
    return Task(name, kind, max(2, len(classes))), classes, rounds


def _ascend(classes):
    try:
        return bool((classes[:-1] < classes[1:]).all())
    except TypeError:  # texts and numbers in one array
        return False


def public_classes(encoder):
    """The attribute `classes_`, as `fit` sets it."""
    if encoder.is_1d_:
        return encoder.classes_[0]
    if any(task.kind == "multiclass" for task in encoder.tasks_):
        return encoder.classes_
    return np.array(encoder.classes_)


def features_from_header(header, categorical_feature, mapper):
    """The fitted feature reader, and the names of the features or None."""
    features = field(header, "features", dict)
    names = field(features, "names", list, type(None), where="'features'")
    n_features = len(mapper.n_bins_)
    if names is not None:
        names = list_of(features, "names", str, where="'features'")
        if len(names) != n_features or len(set(names)) != n_features:
            raise corrupt(f"expected {n_features} distinct names of features, found {short(names)}")
        names = np.array(names, dtype=object)
    reader = FeatureReader(categorical_feature)
    reader.is_categorical_ = mapper.is_categorical > 0
    reader.categories_ = dict(map(_read_categories, list_of(features, "categories", list)))
    positions = np.flatnonzero(reader.is_categorical_).tolist()
    # Those of an array are numbers already; only tables without text names have none.
    if list(reader.categories_) != positions and (reader.categories_ or names is not None):
        raise corrupt(f"expected categories of the features {short(positions)}, found others")
    return reader, names


def _read_categories(pair):
    """Position and categories of a feature."""
    if len(pair) != 2:
        raise corrupt(f"expected a position and categories, found {short(pair)}")
    position = typed(pair[0], int, where="the position of a categorical feature")
    categories = typed(pair[1], list, where=f"the categories of feature {position}")
    sound = all(type(category) in (bool, int, float, str) for category in categories)
    if not (sound and len(set(categories)) == len(categories) and _all_finite(categories)):
        raise corrupt(
            f"expected distinct numbers and texts as categories of feature {position}, found "
            f"{short(categories)}"
        )
    return position, categories


def _all_finite(categories):
    return all(math.isfinite(value) for value in categories if isinstance(value, float))


def distilled_from_header(header, task_names):
    """The attribute `distilled_rounds_`, empty for a file from before there was one."""
    if "distilled" not in header:
        return {}
    rounds = {}
    for entry in list_of(header, "distilled", list):
        if list(map(type, entry)) != [str, int] or not 0 <= entry[1] < 2**31:
            raise corrupt(f"expected name and rounds of a distilled task, found {short(entry)}")
        name, n_rounds = entry
        if name not in task_names or name in rounds:
            raise corrupt(f"expected distinct names of distilled tasks, found {short(name)}")
        rounds[name] = n_rounds
    return rounds


def curves_from_header(header, values):
    """The attribute `evals_result_`.

    Parameters
    ----------
    header : dict
    values : ndarray of shape (scores of all curves,)
    """
    results, end = {}, 0
    for entry in list_of(header, "curves", list):
        if list(map(type, entry)) != [str, str, int] or entry[2] < 0:
            raise corrupt(f"expected part, name and length of a curve, found {short(entry)}")
        part, key, length = entry
        start, end = end, end + length
        results.setdefault(part, {})[key] = values[start:end].tolist()
    n_read = sum(len(curve) for curves in results.values() for curve in curves.values())
    if end != len(values) or n_read != end:
        raise corrupt(f"expected {end} scores of distinct curves, found {len(values)}")
    return results
