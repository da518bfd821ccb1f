"""The steps in front of a model as nodes: each takes a list of columns and gives another.

Cells of text have no NaN. A text that no table knows counts as missing there, as it does in the
steps themselves, and to the imputer the empty text is missing.
"""

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from mtgbm.io._onnx_graph import Column, tensor
from mtgbm.preprocessing import MissingValueImputer, RiskTableEncoder

SUPPORTED = "RiskTableEncoder, MissingValueImputer, 'passthrough', ColumnTransformer and Pipeline"


def transformed(graph, name, step, columns):
    """The columns after a fitted step.

    Parameters
    ----------
    graph : Graph
    name : str
        The step's name, for errors.
    step : transformer or "passthrough" or None
    columns : list of Column

    Returns
    -------
    list of Column

    Raises
    ------
    TypeError
        If there is no counterpart for a step of its class.
    ValueError
        If two steps read a column as different kinds.
    """
    if _passes_through(step):
        return columns
    for kind, convert in CONVERTERS.items():
        if isinstance(step, kind):
            return convert(graph, name, step, columns)
    raise TypeError(
        f"step {name!r} is a {type(step).__name__}, which has no ONNX counterpart here; expected "
        f"{SUPPORTED}. Apply it before the file's inputs, and export the steps behind it."
    )


def _passes_through(step):
    """Also a FunctionTransformer without a function, for which ColumnTransformer takes the word."""
    if step is None or isinstance(step, str):
        return step in (None, "passthrough")
    return isinstance(step, FunctionTransformer) and step.func is None


def _after_pipeline(graph, name, pipeline, columns):
    for own_name, step in pipeline.steps:
        columns = transformed(graph, f"{name}__{own_name}", step, columns)
    return columns


def _after_column_transformer(graph, name, transformer, columns):
    """The chosen columns of each part, side by side in the order of the parts."""
    labels = list(getattr(transformer, "feature_names_in_", []))
    parts = [
        transformed(
            graph, f"{name}__{own_name}", step, [columns[i] for i in _positions(chosen, labels)]
        )
        for own_name, step, chosen in (
            (own_name, step, _listed(chosen, len(columns)))
            for own_name, step, chosen in transformer.transformers_
        )
        if len(chosen) and not (isinstance(step, str) and step == "drop")
    ]
    return [column for part in parts for column in part]


def _listed(chosen, n_columns):
    """What a part of a ColumnTransformer chooses as a list of names or positions."""
    if isinstance(chosen, slice):
        return list(range(n_columns))[chosen]
    chosen = np.atleast_1d(np.asarray(chosen, dtype=None if len(np.shape(chosen)) else object))
    return (np.flatnonzero(chosen) if chosen.dtype == bool else chosen).tolist()


def _positions(chosen, labels):
    return [labels.index(item) if isinstance(item, str) else item for item in chosen]


def _after_risk_tables(graph, name, encoder, columns):
    """One column for each output in place of an encoded one."""
    out = []
    for column, own_name in zip(columns, encoder._input_names(), strict=True):
        tables = encoder.risk_tables_.get(own_name)
        if tables is None:
            column.read_as("number", f"step {name!r}")
            out.append(column)
        else:
            out += _risks(graph, name, column, tables, encoder.prior_)
    return out


def _risks(graph, name, column, tables, priors):
    """The risks of a column's cells: one search for the category, then one table an output."""
    from onnx import TensorProto

    known = list(next(iter(tables.values())))
    numbers = {category: number for number, category in enumerate(known)}
    found = category_numbers(graph, column, numbers, len(known), f"step {name!r}")
    found = graph.add("Cast", found, to=TensorProto.INT64)
    out = []
    for (output, table), prior in zip(tables.items(), priors.values(), strict=True):
        risks = graph.constant(np.array([*table.values(), prior]))
        label = f"{column.label}_risk_{output}"
        out.append(Column(label, graph.add("Gather", risks, found), "number"))
    return out


def category_numbers(graph, column, numbers, default, step):
    """A column's cells as numbers, in float64.

    Parameters
    ----------
    graph : Graph
    column : Column
    numbers : dict
        The number of each category: a bool, int, float or str.
    default : float
        What all other cells, missing ones too, become.
    step : str
        Who asks, for errors.

    Returns
    -------
    str
        A tensor.

    Raises
    ------
    ValueError
        If the categories are numbers and text, or numbers that float64 merges.
    """
    is_text = all(isinstance(category, str) for category in numbers)
    if not is_text:
        _check_numbers(numbers, column.label)
    cells = column.read_as("text" if is_text else "number", step)
    # A reader needs a key; one that is not known gets the default.
    numbers = numbers or {"": default}
    keys = list(numbers)
    return graph.add(
        "LabelEncoder",
        cells,
        domain="ai.onnx.ml",
        values_tensor=tensor(np.array(list(numbers.values()), dtype=np.float64)),
        default_tensor=tensor(np.array([default], dtype=np.float64)),
        **({"keys_strings": keys} if is_text else {"keys_tensor": tensor(np.array(keys, float))}),
    )


def _check_numbers(categories, label):
    """Refuse what a column of float64 cannot hold."""
    if any(isinstance(category, str) for category in categories):
        raise ValueError(
            f"column {label!r} has numbers and text as categories, but a column of an ONNX input "
            "holds one kind. Make all of them text, and fit again."
        )
    merged = [category for category in categories if float(category) != category]
    if merged:
        raise ValueError(
            f"column {label!r} has the category {merged[0]}, which float64 cannot tell from its "
            "neighbours. Make the categories text, and fit again."
        )


def _after_imputer(graph, name, imputer, columns):
    """Filled columns, and columns of 0.0 and 1.0 that say where, if asked for."""
    filled, indicators = [], []
    fills = imputer.impute_dict_.values()
    for column, fill in zip(columns, fills, strict=True):
        cells, missing = _missing(graph, name, column, isinstance(fill, str))
        value = graph.constant(np.array([fill], dtype=object if isinstance(fill, str) else float))
        filled.append(Column(column.label, graph.add("Where", missing, value, cells), column.kind))
        if imputer.add_indicator:
            indicators.append(_indicator(graph, column, missing))
    return filled + indicators


def _missing(graph, name, column, is_text):
    """A column's cells, and where they are missing."""
    cells = column.read_as("text" if is_text else "number", f"step {name!r}")
    if is_text:
        return cells, graph.add("Equal", cells, graph.constant(np.array([""], dtype=object)))
    return cells, graph.add("IsNaN", cells)


def _indicator(graph, column, missing):
    from onnx import TensorProto

    cells = graph.add("Cast", missing, to=TensorProto.DOUBLE)
    return Column(f"missingindicator_{column.label}", cells, "number")


CONVERTERS = {
    RiskTableEncoder: _after_risk_tables,
    MissingValueImputer: _after_imputer,
    ColumnTransformer: _after_column_transformer,
    Pipeline: _after_pipeline,
}
