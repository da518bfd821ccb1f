"""A fitted classifier becomes one ONNX file: columns, network, trees, probabilities."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

from sklearn.utils.validation import check_is_fitted

from mtbert.onnx.description import as_metadata, describe_text
from mtbert.onnx.names import PROBABILITIES
from mtgbm.io.container_writer import replace_file, temporary_name
from mtgbm.parameters import choose

QUANTIZATIONS = (None, "int8")
#: `LabelEncoder` takes tensors since version 4; mtgbm writes 5 too.
ML_OPSET = 5
LARGEST_FILE = 2**31 - 1  # bytes, which protobuf holds


def write_onnx(estimator, path, quantize=None) -> None:
    """Write a fitted classifier as one ONNX file.

    Parameters
    ----------
    estimator : MultimodalTextTabularClassifier
    path : str or path-like
        A file that is there is replaced in one step.
    quantize : None or "int8"
        See :meth:`mtbert.MultimodalTextTabularClassifier.to_onnx`.

    Raises
    ------
    ImportError, NotFittedError, OSError, TypeError, ValueError
        See there.
    """
    check_is_fitted(estimator, "network_")
    if quantize is not None:
        choose("quantize", quantize, {"int8": "int8"})
    _require_packages(quantize)
    _check_writable(path)
    model = build_model(estimator, quantize)
    if model.ByteSize() > LARGEST_FILE:
        raise ValueError(
            f"the model takes {model.ByteSize():,} bytes, but one ONNX file holds up to 2 GiB; "
            "quantize='int8' makes it smaller."
        )
    replace_file(path, [model.SerializeToString()])


def build_model(estimator, quantize=None):
    """Return the onnx.ModelProto that :func:`write_onnx` writes."""
    import onnx.checker

    from mtbert.onnx.columns import ColumnGraph, add_columns
    from mtbert.onnx.int8 import quantize_network
    from mtbert.onnx.network import export_network, text_inputs
    from mtbert.onnx.outputs import word_inputs
    from mtbert.onnx.stack import describe_words

    reader, network = estimator._reader, estimator.network_
    fields, tokenizers = describe_text(reader, text_inputs)
    reserved = [field[name] for field in fields for name in ("ids", "mask")]
    reserved += [words.name for words in word_inputs(estimator.stack_)]
    tabular = reader.tabular
    columns = ColumnGraph([], [], [], [], [])
    if _reads_columns(estimator):
        columns = add_columns(tabular, [*reserved, PROBABILITIES])
    pad_ids = {field: pad_id for field, (_, pad_id) in estimator._plan.fields.items()}
    model = export_network(network, pad_ids, tabular.n_numeric_, len(tabular.cardinalities_))
    if quantize is not None:
        model = quantize_network(model)
    _join(model, columns, estimator)
    description = {
        "architecture": estimator._plan.architecture,
        "quantize": quantize,
        "text_fields": fields,
        "words": describe_words(estimator.stack_),
        "numeric_columns": columns.numeric,
        "categorical_columns": columns.categorical,
        "targets": estimator._targets.to_state(),
    }
    _add_metadata(model, description, tokenizers)
    onnx.checker.check_model(model)
    return model


def _reads_columns(estimator):
    """Whether the network or the trees see any column but texts."""
    roles, stack = estimator._reader.roles_, estimator.stack_
    by_trees = stack is not None and "columns" in stack.options.features
    return estimator.network_.tabular is not None or (
        by_trees and bool(roles.numeric or roles.categorical)
    )


def _require_packages(quantize):
    needed = ["onnx", "onnxscript", *(["onnxruntime"] if quantize else [])]
    for package in needed:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise ImportError(
                f"to_onnx needs the package {package}: pip install 'mtgbm[onnx]'"
            ) from error


def _check_writable(path):
    """Raise before the work what writing would raise after it."""
    path = Path(os.path.realpath(os.fsdecode(path)))
    if path.is_dir():
        raise IsADirectoryError(f"cannot write a model to {path}: it is a folder; name a file.")
    probe = temporary_name(path)
    try:
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise type(error)(
            f"cannot write a model to {path} ({error.strerror}); name a file in a folder that "
            "exists and may be written to."
        ) from error


def _join(model, columns, estimator):
    """The columns in front of the network, trees and probabilities behind it."""
    from onnx import helper

    from mtbert.onnx.network import CATEGORICAL, NUMERIC
    from mtbert.onnx.outputs import nodes_behind, probability_output, word_inputs

    graph = model.graph
    text = [value for value in graph.input if value.name not in (NUMERIC, CATEGORICAL)]
    inputs = [*text, *word_inputs(estimator.stack_), *columns.inputs]
    taken = [*(value.name for value in inputs), *columns.names()]
    nodes, constants = nodes_behind(estimator, taken)
    joined = helper.make_graph(
        [*columns.nodes, *graph.node, *nodes],
        "mtbert",
        inputs,
        [probability_output(estimator._targets)],
        initializer=[*columns.constants, *graph.initializer, *constants],
    )
    graph.CopyFrom(joined)
    if all(own.domain != "ai.onnx.ml" for own in model.opset_import):
        model.opset_import.append(helper.make_opsetid("ai.onnx.ml", ML_OPSET))


def _add_metadata(model, description, tokenizers):
    from onnx import helper

    from mtbert.io.folder import package_versions

    versions = package_versions()
    model.producer_name, model.producer_version = "mtgbm", versions["mtgbm"]
    del model.metadata_props[:]
    helper.set_model_props(model, as_metadata(description, tokenizers, versions))
