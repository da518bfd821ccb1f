"""Raw columns to what the network takes, as ONNX nodes: the `transform` of TabularEncoder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtbert.onnx.network import CATEGORICAL, NUMERIC
from mtbert.onnx.quantiles import add_normal_quantiles
from mtbert.tabular import TabularEncoder
from mtgbm.io._onnx_graph import Graph
from mtgbm.io._onnx_preprocessing import category_numbers


@dataclass(frozen=True)
class ColumnGraph:
    """Nodes that make the inputs `NUMERIC` and `CATEGORICAL` of the network.

    Attributes
    ----------
    inputs : list of onnx.ValueInfoProto
        One of shape (n_rows, 1) for each column: float64, NaN where missing, or text.
    nodes : list of onnx.NodeProto
    constants : list of onnx.TensorProto
    numeric, categorical : list
        What the file says of its columns.
    """

    inputs: list
    nodes: list
    constants: list
    numeric: list[str]
    categorical: list[dict]

    def names(self) -> list[str]:
        """Names of all tensors that are no inputs."""
        made = [name for node in self.nodes for name in node.output]
        return made + [tensor.name for tensor in self.constants]


def add_columns(tabular: TabularEncoder, reserved: list[str]) -> ColumnGraph:
    """Return the nodes for the columns of a fitted encoder.

    Parameters
    ----------
    tabular : TabularEncoder
    reserved : list of str
        Names of other inputs and outputs, which no column may have.

    Raises
    ------
    ValueError
        If a column has both numbers and text as categories, or one of these names.
    """
    from onnx import TensorProto

    roles = tabular.roles_
    names = [*roles.numeric, *roles.categorical]
    graph = Graph(names, len(names), "float64", reserved)
    n_numeric = len(roles.numeric)
    numeric = _add_numbers(graph, tabular, graph.columns[:n_numeric])
    codes, described = [], []
    for position, column in enumerate(graph.columns[n_numeric:]):
        risks, code, missing = _add_category(graph, tabular, position, column)
        numeric += risks
        codes += code
        described.append({"name": column.label, "kind": column.kind, "missing": missing})
    if numeric:
        joined = graph.add("Concat", *numeric, axis=1)
        graph.add("Cast", joined, to=TensorProto.FLOAT, output=NUMERIC)
    if codes:
        graph.add("Concat", *codes, axis=1, output=CATEGORICAL)
    inputs, nodes, constants = graph.parts()
    return ColumnGraph(inputs, nodes, constants, list(roles.numeric), described)


def _add_numbers(graph, tabular, columns):
    """Scaled numbers, and where some were missing: float64."""
    from onnx import TensorProto

    if not columns:
        return []
    raw = graph.matrix(columns, "the scaling")
    missing = graph.add("IsNaN", raw)
    names = [column.label for column in columns]
    fills = graph.constant(np.array([tabular.imputer_.impute_dict_[name] for name in names]))
    filled = graph.add("Where", missing, fills, raw)
    parts = [_add_scaling(graph, tabular, filled)]
    if tabular.indicated_:
        chosen = graph.constant(np.array([names.index(name) for name in tabular.indicated_]))
        indicated = graph.add("Gather", missing, chosen, axis=1)
        parts.append(graph.add("Cast", indicated, to=TensorProto.DOUBLE))
    return parts


def _add_scaling(graph, tabular, filled):
    scaler = tabular.scaler_
    if tabular.scaling == "quantile":
        return add_normal_quantiles(graph, filled, scaler.quantiles_, scaler.references_)
    centred = graph.add("Sub", filled, graph.constant(scaler.mean_))
    return graph.add("Div", centred, graph.constant(scaler.scale_))


def _add_category(graph, tabular, position, column):
    """Standardised risks and code of a category: lists of one tensor or none.

    Also what stands for a missing cell of text: one that is no category, so it counts as unseen,
    as missing ones do.
    """
    from onnx import TensorProto

    name = column.label
    risks = tabular.risk_encoder_.risk_tables_[name] if tabular._has_risks else {}
    known = tabular.categories_.get(name, [])
    categories = list(next(iter(risks.values()))) if risks else known
    numbers = {category: number for number, category in enumerate(categories)}
    found = category_numbers(graph, column, numbers, len(categories), "the encoding of categories")
    found = graph.add("Cast", found, to=TensorProto.INT64)
    risk_columns, codes = [], []
    if risks:
        table = graph.constant(_risk_table(tabular, risks, position))
        looked_up = graph.add("Gather", table, found, axis=0)
        risk_columns = [graph.add("Squeeze", looked_up, graph.constant(np.array([1])))]
    if name in tabular.categories_:
        code_of = {category: code for code, category in enumerate(known, start=1)}
        table = graph.constant(np.array([*(code_of.get(own, 0) for own in categories), 0]))
        codes = [graph.add("Gather", table, found, axis=0)]
    return risk_columns, codes, _unused_text(categories)


def _risk_table(tabular, risks, position):
    """Standardised risks by category, the last row for all others: (n_categories + 1, n_risks)."""
    priors = tabular.risk_encoder_.prior_.values()
    table = np.array(
        [[*own.values(), prior] for own, prior in zip(risks.values(), priors, strict=True)]
    ).T
    scaler, width = tabular.risk_scaler_, table.shape[1]
    own = slice(position * width, (position + 1) * width)
    return (table - scaler.mean_[own]) / scaler.scale_[own]


def _unused_text(categories):
    text = ""
    while text in categories:
        text += "?"
    return text
