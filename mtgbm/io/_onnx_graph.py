"""An ONNX graph while it is written: inputs, nodes, constants, and names that do not collide.

A table is a list of columns, tensors of shape (n_rows, 1). Whether an input holds numbers or text
is known when the first step reads it, so inputs are declared last.
"""

from dataclasses import dataclass

import numpy as np

#: What `TreeEnsemble` and double tensors in `LabelEncoder` need; onnxruntime 1.21 knows both.
OPSETS = {"": 21, "ai.onnx.ml": 5}
IR_VERSION = 10
#: The one input of a model whose features have no names.
MATRIX = "X"
NOUNS = {"number": "numbers", "text": "text"}


@dataclass
class Column:
    """A column of the table at some step.

    Attributes
    ----------
    label : str
        What to call it in an error.
    tensor : str
    kind : {"number", "text"} or None
        None for an input that no step has read yet.
    """

    label: str
    tensor: str
    kind: str | None = None

    def read_as(self, kind, step):
        """The tensor, for a step that takes this kind.

        Raises
        ------
        ValueError
            If the column holds the other kind.
        """
        if self.kind is None:
            self.kind = kind
        elif self.kind != kind:
            raise ValueError(
                f"column {self.label!r} holds {NOUNS[self.kind]} here, but {step} reads it as "
                f"{NOUNS[kind]}. Make all values of the column text, or all numbers, and fit again."
            )
        return self.tensor


class Graph:
    """Collects nodes in the order in which they run.

    Parameters
    ----------
    names : list of str or None
        Of the input columns; None if they have none.
    n_columns : int
    dtype : {"float64", "float32"}
        Of numbers in the inputs; within the graph they are float64 always.
    outputs : list of str
        Names that the outputs will have.
    """

    def __init__(self, names, n_columns, dtype, outputs):
        self.named = names is not None
        self.dtype = dtype
        self.outputs = outputs
        labels = [f"x{number}" for number in range(n_columns)] if names is None else list(names)
        _check_names(labels, outputs)
        self._taken = {*labels, *outputs, MATRIX}
        self._nodes, self._constants = [], []
        self.columns = [Column(label, self._fresh(f"{label}_column")) for label in labels]

    def add(self, operator, *inputs, domain="", output=None, **attributes):
        """Append a node with one output and return the output's name."""
        from onnx import helper

        output = self._fresh(operator.lower()) if output is None else output
        self._nodes.append(
            helper.make_node(operator, list(inputs), [output], domain=domain, **attributes)
        )
        return output

    def constant(self, value):
        """The name of a tensor that holds this array: floats, integers or text."""
        name = self._fresh("constant")
        self._constants.append(tensor(value, name))
        return name

    def matrix(self, columns, step):
        """The columns side by side, numbers of shape (n_rows, n_columns)."""
        tensors = [column.read_as("number", step) for column in columns]
        if columns is self.columns and not self.named:
            return self._matrix_input()
        return self.add("Concat", *tensors, axis=1)

    def finish(self, sizes, metadata):
        """The model.

        Parameters
        ----------
        sizes : dict
            Columns of each output by its name.
        metadata : dict of str
        """
        from onnx import TensorProto, helper

        inputs, nodes, constants = self.parts()
        outputs = [
            helper.make_tensor_value_info(name, TensorProto.DOUBLE, ["n_rows", size])
            for name, size in sizes.items()
        ]
        graph = helper.make_graph(nodes, "mtgbm", inputs, outputs, initializer=constants)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid(*opset) for opset in OPSETS.items()],
            ir_version=IR_VERSION,
            producer_name="mtgbm",
            producer_version=metadata["mtgbm_version"],
        )
        helper.set_model_props(model, metadata)
        return model

    def parts(self):
        """Inputs, nodes in the order in which they run, and constants, as protocol buffers."""
        inputs, first_nodes = self._declare_inputs()
        return inputs, [*first_nodes, *self._nodes], self._constants

    def _matrix_input(self):
        """The input of all columns in float64."""
        return MATRIX if self.dtype == "float64" else f"{MATRIX}_float64"

    def _declare_inputs(self):
        """The inputs, and the nodes that make the columns of them."""
        if not self.named and all(column.kind != "text" for column in self.columns):
            return self._declare_matrix()
        read = [column for column in self.columns if column.kind is not None]
        inputs = [self._input(column.label, column.kind, 1) for column in read]
        nodes = [self._converted(column.label, column.tensor, column.kind) for column in read]
        return inputs, nodes

    def _declare_matrix(self):
        """One tensor for all columns, cut up if a step reads single ones."""
        from onnx import helper

        width = len(self.columns)
        tensors = [column.tensor for column in self.columns]
        used = {name for node in self._nodes for name in node.input}
        nodes = []
        if self._matrix_input() != MATRIX:
            nodes.append(self._converted(MATRIX, self._matrix_input(), "number"))
        if used.intersection(tensors):
            nodes.append(
                helper.make_node(
                    "Split", [self._matrix_input()], tensors, axis=1, num_outputs=width
                )
            )
        return [self._input(MATRIX, "number", width)], nodes

    def _input(self, name, kind, width):
        from onnx import TensorProto, helper

        number = TensorProto.DOUBLE if self.dtype == "float64" else TensorProto.FLOAT
        element = TensorProto.STRING if kind == "text" else number
        return helper.make_tensor_value_info(name, element, ["n_rows", width])

    def _converted(self, source, target, kind):
        """The node that gives an input its name, and its type, within the graph."""
        from onnx import TensorProto, helper

        if kind == "text":
            return helper.make_node("Identity", [source], [target])
        return helper.make_node("Cast", [source], [target], to=TensorProto.DOUBLE)

    def _fresh(self, stem):
        """A name that no other tensor has."""
        number, name = 0, stem
        while name in self._taken:
            number += 1
            name = f"{stem}_{number}"
        self._taken.add(name)
        return name


def tensor(value, name="values"):
    """An array as an ONNX tensor: float64, int64, uint8, or text."""
    from onnx import numpy_helper

    value = np.asarray(value)
    return numpy_helper.from_array(value.astype(object) if value.dtype.kind == "U" else value, name)


def _check_names(labels, outputs):
    """Inputs and outputs share one space of names in ONNX, where the empty one means "none"."""
    for label in labels:
        if label == "" or label in outputs:
            raise ValueError(
                f"a column named {label!r} cannot be an input of an ONNX file, whose outputs are "
                f"{', '.join(outputs)}; rename the column and fit again."
            )
