"""The estimator around a model that LightGBM trained: tasks, classes, names, bins."""

import json

import numpy as np

from mtgbm.io import native
from mtgbm.io._lightgbm_build import bins_of_splits, build_forest
from mtgbm.io.json_values import array_to_json
from mtgbm.io.model_arrays import MOST_BINS, bins_from_arrays, forest_to_arrays
from mtgbm.io.model_header import MODEL

PANDAS = "pandas_categorical:"


def build_foreign(scanned, header, rounds, classes=None):
    """The estimator of a scanned and parsed model.

    Parameters
    ----------
    scanned : Scan
    header : Header
    rounds : list of list of TextTree
    classes : ndarray, optional
        The labels of a binary or multiclass model, ascending; 0, 1, ... by default.

    Raises
    ------
    LightGBMFormatError
        If mtgbm cannot hold the model.
    """
    n_features = len(header.names)
    columns, categories = _frame_categories(scanned, header.infos)
    bins = bins_of_splits(rounds, n_features, columns)
    mapper = bins_from_arrays(bins, n_features, MOST_BINS, 1, 1)
    forest = build_forest(rounds, mapper, np.zeros(header.n_outputs))
    tasks, is_1d = _tasks(header, scanned, classes, len(rounds))
    described = {
        "model": MODEL,
        "tasks": tasks,
        "labels": {"one_dimensional": is_1d, "named": False},
        "features": {"number": n_features, "names": None, "categories": []},
        "bins": {"max_bin": MOST_BINS, "subsample": 200_000},
        "curves": [],
        "parameters": {"n_estimators": len(rounds)},
    }
    arrays = {
        **forest_to_arrays(forest),
        **bins,
        "curves": np.empty(0),
        "weights_history": np.ones((len(rounds), len(tasks))),
    }
    estimator = native.build_model(described, arrays)
    _set_names(estimator, header.names, categories)
    return estimator


def _tasks(header, scanned, classes, n_rounds):
    """The tasks as a native file describes them, and whether labels have one dimension."""
    if header.objective is None:
        scanned.header["objective"]  # says that there is none
    several = header.objective == "multiclassova"
    if several:
        known = [np.array([0, 1])] * header.n_outputs
    else:
        n_classes = header.n_outputs if header.objective == "multiclass" else 2
        known = [np.arange(n_classes) if classes is None else np.asarray(classes)]
    tasks = [
        {
            "name": f"task_{number}",
            "kind": "multiclass" if header.objective == "multiclass" else "binary",
            "best_round": n_rounds,
            "classes": array_to_json(own, "the array of classes"),
        }
        for number, own in enumerate(known)
    ]
    return tasks, not several or len(tasks) == 1


def _frame_categories(scanned, infos):
    """Positions of the categorical features, and the categories of those of a DataFrame.

    The file says for each feature "[least:most]", "0:2:5" or "none", which is a constant one, and
    lists the categories of all categorical columns in their order without saying which these are.
    """
    named = [feature for feature, info in enumerate(infos) if info[0] not in "[n"]
    lists = read_frame_categories(scanned)
    if not lists:
        return named, {}
    constant = [feature for feature, info in enumerate(infos) if info == "none"]
    for columns in (named, sorted(named + constant)):
        if len(columns) == len(lists):
            return columns, dict(zip(columns, lists, strict=True))
    raise scanned.line_after(PANDAS).error(
        f"it lists the categories of {len(lists)} columns, but {len(named)} features have "
        f"categories and {len(constant)} are constant; train without constant columns."
    )


def read_frame_categories(scanned):
    """The lists of categories that LightGBM's Python package keeps; none for arrays."""
    field = scanned.line_after(PANDAS)
    if field is None:
        return []
    try:
        lists = json.loads(field.text)
    except (ValueError, RecursionError):
        raise field.error("expected lists in JSON.") from None
    lists = [] if lists is None else lists
    sound = isinstance(lists, list) and all(
        isinstance(own, list)
        and all(type(value) in (bool, int, float, str) for value in own)
        and len(set(own)) == len(own)
        for own in lists
    )
    if not sound:
        raise field.error("expected lists of distinct numbers and texts.")
    return lists


def _set_names(estimator, names, categories):
    """Names of the features, and what the reader must know to number a DataFrame's categories."""
    if names == [f"Column_{number}" for number in range(len(names))]:
        return
    estimator.feature_names_in_ = np.array(names, dtype=object)
    for feature, known in sorted(estimator._mapper.categories_.items()):
        # Categories that are numbers already stand for themselves.
        numbered = list(range(int(known.max(initial=-1)) + 1))
        estimator._reader.categories_[feature] = categories.get(feature, numbered)
