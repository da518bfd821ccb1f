"""The network as an ONNX graph, for any number of rows, chunks and tokens."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import nn

from mtbert.onnx.silence import silenced
from mtbert.pretrained import count_positions

#: What the exporter of torch writes, and onnxruntime reads since 1.21.
OPSET, IR_VERSION = 20, 10
#: In front of the names of all tensors within the network, which so are no names of columns.
PREFIX = "network/"
NUMERIC, CATEGORICAL, LOGITS, EMBEDDING = (
    PREFIX + name for name in ("numeric", "categorical", "logits", "fused_embedding")
)
#: Shape of the batch that the network is traced with; no two sizes are equal, and none is 0 or 1,
#: which the tracer would take for constants.
N_ROWS, N_CHUNKS, LENGTH = 2, 3, 5


class DictInput(nn.Module):
    """A network that takes its batch as one dict, for the exporter names each argument.

    Parameters
    ----------
    network : FusionNet
    """

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits, and the fused embedding.

        Parameters
        ----------
        batch : dict of str to tensor
        """
        embedding = self.network.embed(**batch)
        return self.network.head(embedding), embedding


class OnnxLstm(nn.Module):
    """LSTM layers as operators of ONNX; the exporter itself unrolls them to one length.

    Parameters
    ----------
    lstm : LSTM
        In one direction, batch first. Its gates are in the order input, forget, cell, output;
        those of ONNX are input, output, forget, cell.
    """

    def __init__(self, lstm):
        super().__init__()
        self.hidden_size = lstm.hidden_size
        self.layers = nn.ModuleList(_layer_weights(*weights) for weights in lstm.all_weights)

    def forward(self, values):
        """Return the states, and None for the last ones.

        Parameters
        ----------
        values : tensor of shape (n, length, input_size)

        Returns
        -------
        states : tensor of shape (n, length, hidden_size)
        """
        states = values.transpose(0, 1)
        for layer in self.layers:
            length, n, _ = states.shape
            (found,) = torch.onnx.ops.symbolic_multi_out(
                "LSTM",
                (states, *layer),
                {"hidden_size": self.hidden_size},
                dtypes=(states.dtype,),
                shapes=((length, 1, n, self.hidden_size),),
                version=OPSET,
            )
            states = found.squeeze(1)
        return states.transpose(0, 1), None


def _layer_weights(input_weight, hidden_weight, input_bias, hidden_bias):
    both = torch.cat([_reorder_gates(input_bias), _reorder_gates(hidden_bias)])
    return nn.ParameterList(
        values.detach().unsqueeze(0)
        for values in (_reorder_gates(input_weight), _reorder_gates(hidden_weight), both)
    )


def _reorder_gates(values):
    entered, forgotten, cell, output = values.chunk(4)
    return torch.cat([entered, output, forgotten, cell])


def text_inputs(field: str) -> tuple[str, str]:
    """Return the names of the inputs of a text field: token ids and mask."""
    return f"{field}_ids", f"{field}_mask"


def export_network(network, pad_ids: dict[str, int], n_numeric: int, n_categorical: int):
    """Return a network as an ONNX model that gives logits and the fused embedding.

    Parameters
    ----------
    network : FusionNet
        Stays as it is.
    pad_ids : dict of str to int
        Text fields, and what their chunks are filled with.
    n_numeric, n_categorical : int
        Columns of the inputs numeric and categorical; inputs of none are left out.

    Returns
    -------
    onnx.ModelProto
        Its inputs are those of :func:`text_inputs`, `NUMERIC` and `CATEGORICAL`, its outputs are
        `LOGITS` and `EMBEDDING`.
    """
    batch, sizes = _example(network, pad_ids, n_numeric, n_categorical)
    with silenced("torch.onnx"):
        program: Any = torch.onnx.export(
            DictInput(_for_export(network)).eval(),
            kwargs={"batch": batch},
            input_names=[
                name if name.startswith(tuple(pad_ids)) else PREFIX + name for name in batch
            ],
            output_names=[LOGITS, EMBEDDING],
            dynamic_shapes={"batch": sizes},
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    model = program.model_proto
    model.ir_version = IR_VERSION
    _transpose_weights(model.graph)
    _put_prefix(model.graph)
    return model


def _transpose_weights(graph):
    """Weights as products take them; the exporter leaves that to each run, or start of a runtime.

    Weights of a matrix that the network uses several times stay one.
    """
    from onnx import numpy_helper

    weights = {tensor.name: tensor for tensor in graph.initializer if len(tensor.dims) == 2}
    turned: dict[str, str] = {}
    kept = []
    for node in graph.node:
        if node.op_type == "Transpose" and node.input[0] in weights:
            turned[node.output[0]] = f"{node.input[0]}_transposed"
        else:
            kept.append(node)
    for node in kept:
        node.input[:] = [turned.get(name, name) for name in node.input]
    for name in {new.removesuffix("_transposed") for new in turned.values()}:
        values = np.ascontiguousarray(numpy_helper.to_array(weights[name]).T)
        graph.initializer.append(numpy_helper.from_array(values, f"{name}_transposed"))
    used = {name for node in kept for name in node.input}
    tensors = [tensor for tensor in graph.initializer if tensor.name in used]
    # Shapes in between are found again by whoever needs them.
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(kept)
    graph.initializer.extend(tensors)


def _put_prefix(graph):
    """In front of all names but those of the inputs and the output."""
    kept = {value.name for value in (*graph.input, *graph.output)} | {""}

    def renamed(name):
        return name if name in kept else PREFIX + name

    for node in graph.node:
        node.name = PREFIX + node.name
        node.input[:] = map(renamed, node.input)
        node.output[:] = map(renamed, node.output)
    for tensor in graph.initializer:
        tensor.name = renamed(tensor.name)


def _example(network, pad_ids, n_numeric, n_categorical):
    """A batch, and which of its sizes are free."""
    rows = torch.export.Dim("n_rows")
    batch, sizes = {}, {}
    for field, pad_id in pad_ids.items():
        ids, mask = text_inputs(field)
        batch[ids] = torch.full((N_ROWS, N_CHUNKS, LENGTH), pad_id)
        batch[mask] = torch.ones_like(batch[ids], dtype=torch.bool)
        sizes[ids] = sizes[mask] = {
            0: rows,
            1: torch.export.Dim(f"{field}_chunks"),
            2: torch.export.Dim(f"{field}_length", max=_longest(network.encoder_of(field))),
        }
    for name, width, dtype in (
        ("numeric", n_numeric, torch.float32),
        ("categorical", n_categorical, torch.int64),
    ):
        if width and network.tabular is not None:
            batch[name] = torch.zeros((N_ROWS, width), dtype=dtype)
            sizes[name] = {0: rows}
    return batch, sizes


def _longest(encoder):
    """Most tokens of a chunk, None for no limit."""
    model = getattr(encoder, "model", None)
    return None if model is None else count_positions(model.config)


def _for_export(network):
    """A copy on the CPU, whose LSTMs are operators of ONNX."""
    network = copy.deepcopy(network).cpu().eval()
    for module in list(network.modules()):
        for name, part in list(module.named_children()):
            if isinstance(part, nn.LSTM):
                setattr(module, name, OnnxLstm(part))
    return network
