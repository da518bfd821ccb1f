"""What LightGBM has no field for: the estimator around the trees, in lines that it does not read.

They stand behind LightGBM's parameters, where its parser has stopped:

    mtgbm:
    header={"model": ...}       what the header of a native file says, see `model_header.py`
    n_bins=3 2                  then the bins, curves and weights, end to end
    ...
    base_score=-0.9 -0.2        in the trees they are added to the first round
    first_values=0.1 -0.1 ...   leaf values of the first round without them; none if it has no tree
    gradients=...               of each tree: inner nodes, then leaves, an output next to the other
    end of mtgbm
"""

import json

import numpy as np

from mtgbm.engine.tree import Forest
from mtgbm.io import native
from mtgbm.io._lightgbm_build import build_forest, node_order, threshold_table
from mtgbm.io._lightgbm_parse import integers, numbers
from mtgbm.io._lightgbm_scan import LightGBMFormatError
from mtgbm.io._lightgbm_write import join_numbers, leaf_nodes
from mtgbm.io.header_fields import list_of
from mtgbm.io.model_arrays import MOST_BINS, bins_from_arrays, bins_to_arrays, forest_to_arrays
from mtgbm.io.model_header import describe

START, END = "mtgbm:", "end of mtgbm"


def state_lines(estimator):
    """The lines for a fitted estimator.

    Raises
    ------
    TypeError
        If a parameter or class label is an object that no text can hold; the message names it.
    """
    forest = estimator.forest_
    bins = bins_to_arrays(estimator._mapper)
    curves = [curve for table in estimator.evals_result_.values() for curve in table.values()]
    fields = {
        "header": json.dumps(describe(estimator), allow_nan=False),
        "n_bins": join_numbers(bins["bins/n_bins"]),
        "is_categorical": join_numbers(bins["bins/is_categorical"]),
        "has_missing": join_numbers(bins["bins/has_missing"]),
        "thresholds": join_numbers(_own_thresholds(bins)),
        "categories": join_numbers(bins["bins/categories"]),
        "curves": join_numbers([score for curve in curves for score in curve]),
        "weights_history": join_numbers(np.ravel(estimator.weight_evolution_)),
        "base_score": join_numbers(forest.base_score),
    }
    if forest.trees:
        fields["first_values"] = join_numbers(forest.trees[0].values.ravel())
        fields["gradients"] = join_numbers(np.concatenate([*map(_gradients, forest.trees)]))
    lines = [f"{name}={text}" for name, text in fields.items()]
    return "\n".join([START, *lines, END, "\n"])


def _own_thresholds(bins):
    """The thresholds without what fills their table up."""
    n_thresholds = _n_thresholds(bins["bins/n_bins"], bins["bins/is_categorical"])
    table = bins["bins/thresholds"]
    return table[np.arange(table.shape[1]) < n_thresholds[:, None]]


def _n_thresholds(n_bins, is_categorical):
    return np.where(is_categorical > 0, 0, n_bins - 1)


def _gradients(tree):
    inner = np.flatnonzero(tree.nodes["leaf"] < 0)
    return tree.gradients[np.concatenate([inner, leaf_nodes(tree)])].ravel()


def build_estimator(section, rounds, parsed):
    """The estimator of which `state_lines` wrote the section.

    Parameters
    ----------
    section : Section
    rounds : list of list of TextTree
    parsed : Header
        Of the text model.

    Raises
    ------
    LightGBMFormatError
        If the section does not hold together, or not with the trees.
    """
    header_field = section["header"]
    bins = _read_bins(section, len(parsed.names))
    try:
        header = json.loads(header_field.text, parse_constant=_refuse_constant)
        if not isinstance(header, dict):
            raise ValueError(f"expected an object, got a {type(header).__name__}.")
        mapper = bins_from_arrays(bins, len(parsed.names), MOST_BINS, 1, 1)
        forest = _read_forest(section, rounds, mapper, parsed.n_outputs)
        rows = _rows_of(section["weights_history"], len(list_of(header, "tasks", dict)))
        arrays = {
            **forest_to_arrays(forest),
            **bins,
            "curves": _all_numbers(section["curves"], may_be_nan=True),
            "weights_history": rows,
        }
        return native.build_model(header, arrays)
    except LightGBMFormatError:
        raise
    except ValueError as error:
        raise header_field.error(str(error)) from None
    except RecursionError:
        raise header_field.error("it is nested too deeply.") from None


def _refuse_constant(name):
    raise ValueError(f"{name} is not JSON.")


def _all_numbers(field, *, may_be_nan=False):
    """As many numbers as there are."""
    length = len(field.text.split(" ")) if field.text else 0
    return numbers(field, length, may_be_nan=may_be_nan)


def _rows_of(field, width):
    values = _all_numbers(field)
    if not width or len(values) % width:
        raise field.error(f"expected rows of {width} numbers, one per task, got {len(values)}.")
    return values.reshape(-1, width)


def _read_bins(section, n_features):
    """The bins as `model_arrays` lays them out."""
    n_bins = integers(section["n_bins"], n_features, 0, MOST_BINS)
    is_categorical = integers(section["is_categorical"], n_features, 0, 1)
    n_thresholds = np.maximum(_n_thresholds(n_bins, is_categorical), 0)
    thresholds = numbers(section["thresholds"], int(n_thresholds.sum()))
    n_categories = int(n_bins[is_categorical > 0].sum())
    return {
        "bins/n_bins": n_bins.astype(np.int32),
        "bins/is_categorical": is_categorical.astype(np.uint8),
        "bins/has_missing": integers(section["has_missing"], n_features, 0, 1).astype(np.uint8),
        "bins/thresholds": threshold_table(np.split(thresholds, np.cumsum(n_thresholds)[:-1])),
        "bins/categories": numbers(section["categories"], n_categories),
    }


def _read_forest(section, rounds, mapper, n_outputs):
    """The forest with its base scores apart, and the gradients."""
    base = numbers(section["base_score"], n_outputs)
    first = rounds[0][0]
    if "first_values" not in section.fields:
        if len(rounds) > 1 or first.n_leaves > 1:
            raise section["base_score"].error(
                "without 'first_values', expected a model of no tree."
            )
        _check_base(section["base_score"], base[None], rounds[0])
        return Forest(base, len(mapper.n_bins_))
    field = section["first_values"]
    values = numbers(field, first.n_leaves * n_outputs).reshape(-1, n_outputs)
    _check_base(field, base + values, rounds[0])
    forest = build_forest(rounds, mapper, base)
    forest.trees[0].values = values
    _fill_gradients(section["gradients"], rounds, forest)
    return forest


def _check_base(field, sums, first_round):
    """The trees that LightGBM reads must be those to which this section belongs."""
    written = np.column_stack([tree.values for tree in first_round])
    if not np.array_equal(sums, written):
        raise field.error(
            "with 'base_score', it does not give the leaf values of the first round: the trees "
            "were changed. Take out the lines from 'mtgbm:' on, and read it with from_lightgbm."
        )


def _fill_gradients(field, rounds, forest):
    sizes = [tree.gradients.size for tree in forest.trees]
    parts = np.split(numbers(field, sum(sizes)), np.cumsum(sizes)[:-1])
    for part, (first, *_), tree in zip(parts, rounds, forest.trees, strict=True):
        order = node_order(first)[0]
        place = np.where(order >= 0, order, first.n_inner + ~order)
        tree.gradients = part.reshape(tree.gradients.shape)[place]
