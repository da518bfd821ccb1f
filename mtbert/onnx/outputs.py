"""What comes behind the network: the trees of a stack, and probabilities. All is in float64."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from mtbert.onnx.names import PROBABILITIES, words_input
from mtbert.onnx.network import LOGITS
from mtbert.onnx.stack import add_stack
from mtgbm.io._onnx_graph import Graph


def word_inputs(stack) -> list:
    """Return the inputs that the trees of a stack need beside those of network and columns."""
    n_texts = 0 if stack is None else len(stack.terms_)
    return [
        helper.make_tensor_value_info(
            words_input(number), TensorProto.INT64, ["n_rows", f"n_words_{number}"]
        )
        for number in range(n_texts)
    ]


def nodes_behind(estimator, taken: list[str]) -> tuple[list, list]:
    """Return nodes and constants from logits to probabilities, as `predict_proba` computes them.

    Parameters
    ----------
    estimator : MultimodalTextTabularClassifier
    taken : list of str
        Names of tensors that are no part of the network.
    """
    graph = Graph(None, 0, "float64", [*taken, PROBABILITIES])
    logits = graph.add("Cast", LOGITS, to=TensorProto.DOUBLE)
    if estimator.stack_ is not None:
        tabular = estimator._reader.tabular
        sizes = tabular.n_numeric_, len(tabular.cardinalities_)
        logits = add_stack(graph, estimator.stack_, logits, *sizes)
    _add_probabilities(graph, logits, estimator._targets)
    _, nodes, constants = graph.parts()
    return nodes, constants


def _add_probabilities(graph, logits, targets):
    if targets.is_multiclass_:
        graph.add("Softmax", logits, axis=1, output=PROBABILITIES)
    elif not targets.encoder_.is_1d_:
        graph.add("Sigmoid", logits, output=PROBABILITIES)
    else:
        second = graph.add("Sigmoid", logits)
        first = graph.add("Sub", graph.constant(np.array([1.0])), second)
        graph.add("Concat", first, second, axis=1, output=PROBABILITIES)


def probability_output(targets):
    """Return the description of the file's output."""
    width = len(targets.classes_) if targets.encoder_.is_1d_ else targets.n_outputs_
    return helper.make_tensor_value_info(PROBABILITIES, TensorProto.DOUBLE, ["n_rows", width])
