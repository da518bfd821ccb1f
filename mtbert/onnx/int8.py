"""Weights of the text encoders as 8-bit integers."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mtbert.onnx.silence import silenced

#: Products take the time, and gathered embeddings half of the file: ``python -m
#: benchmarks.text_onnx``. Of an LSTM onnxruntime cannot run weights with a scale a channel.
OPERATORS = ("MatMul", "Gather")


def quantize_network(model):
    """Return a network whose text encoders compute with 8-bit integers [1]_.

    The weights of products have a scale for each channel, embeddings have one; inputs of products
    are rounded with a scale that is found at run time. Convolutions, LSTMs, the table's part, the
    fusion and the head are small and stay as they are.

    Parameters
    ----------
    model : onnx.ModelProto

    Returns
    -------
    onnx.ModelProto

    References
    ----------
    .. [1] Jacob et al., "Quantization and Training of Neural Networks for Efficient
       Integer-Arithmetic-Only Inference", CVPR 2018.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder, silenced(None):
        file = Path(folder) / "model.onnx"
        quantize_dynamic(
            model,
            file,
            op_types_to_quantize=list(OPERATORS),
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=_nodes_of_text_encoders(model),
        )
        return onnx.load(file)


def _nodes_of_text_encoders(model):
    """Names of the nodes that the exporter found in the modules of text encoders."""
    return [node.name for node in model.graph.node if _is_in_text_encoder(node)]


def _is_in_text_encoder(node):
    scopes = [entry.value for entry in node.metadata_props if entry.key.endswith("name_scopes")]
    return any("text_encoders" in scope for scope in scopes)
