"""Raw columns in a graph, beside the TabularEncoder whose `transform` it is."""

import numpy as np
import onnx
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from onnx import TensorProto, helper
from onnxruntime import InferenceSession
from scipy.stats import norm

from mtbert.columns import ColumnRoles
from mtbert.onnx.columns import add_columns
from mtbert.onnx.network import CATEGORICAL, NUMERIC
from mtbert.onnx.table import Table
from mtbert.tabular import TabularEncoder

# Of numbers that differ by next to nothing, scales are beyond float32.
FLOATS = (
    st.floats(-1e6, 1e6).map(lambda x: round(x, 6))
    | st.sampled_from([0.0, 1.0, 1.5, -2.0])
    | st.just(np.nan)
)


def fit_encoder(table, roles, **parameters):
    encoder = TabularEncoder(**parameters)
    encoder.fit_transform(table, roles, np.arange(len(table))[:, None] % 2.0)
    return encoder


def run(encoder, table):
    """The numeric matrix and the codes, by onnxruntime."""
    columns = add_columns(encoder, reserved=["probabilities"])
    outputs = [
        helper.make_tensor_value_info(name, kind, ["n_rows", width])
        for name, kind, width in (
            (NUMERIC, TensorProto.FLOAT, encoder.n_numeric_),
            (CATEGORICAL, TensorProto.INT64, len(encoder.cardinalities_)),
        )
        if width
    ]
    graph = helper.make_graph(columns.nodes, "columns", columns.inputs, outputs, columns.constants)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 5)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, feed(columns, table))
    return dict(zip([output.name for output in outputs], found, strict=True))


def feed(columns, table):
    read = Table(table, list(table.columns))
    cells = {name: read.numbers(name) for name in columns.numeric}
    for column in columns.categorical:
        name = column["name"]
        is_text = column["kind"] == "text"
        cells[name] = (
            read.categories(name, column["missing"]) if is_text else read.numbered_categories(name)
        )
    return cells


@given(st.lists(FLOATS, min_size=3, max_size=40), st.lists(FLOATS, min_size=1, max_size=10))
@pytest.mark.parametrize("scaling", ["quantile", "standard"])
@settings(deadline=None, max_examples=15)
def test_numbers(scaling, learned, scored):
    """At, between, just beside and beyond the values that were learned; constant columns too."""
    learned = pd.DataFrame({"a": learned, "b": np.arange(len(learned)) // 2 + 0.5})
    if learned["a"].isna().all():
        learned.loc[0, "a"] = 3.0
    encoder = fit_encoder(learned, ColumnRoles((), ("a", "b"), ()), scaling=scaling)
    beside = [*scored, *learned["a"], *(learned["a"] + 5e-8), *np.nextafter(learned["a"], 9e9)]
    table = pd.DataFrame({"a": beside, "b": np.linspace(-1, len(learned), len(beside))})
    found = run(encoder, table)[NUMERIC]
    assert_allclose(found, encoder.transform(table)[0], rtol=2e-6, atol=2e-6)


@pytest.mark.filterwarnings("error")
def test_quantiles_closer_than_the_least_normal_number():
    table = pd.DataFrame({"a": [0.0, 0.0, 2e-311]})
    encoder = fit_encoder(table, ColumnRoles((), ("a",), ()))
    assert np.isfinite(run(encoder, table)[NUMERIC]).all()


def test_a_uniform_column_becomes_normal():
    """The rational functions, beside scipy's, from one end to the other."""
    table = pd.DataFrame({"a": np.arange(1001.0)})
    encoder = fit_encoder(table, ColumnRoles((), ("a",), ()))
    shares = np.linspace(0, 1, 1001)[1:-1]
    assert_allclose(run(encoder, table)[NUMERIC][1:-1, 0], norm.ppf(shares), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("category_encoding", ["both", "risk", "embedding"])
@pytest.mark.parametrize(
    ("learned", "scored"),
    [
        (["a", "b", "a", None, "b", "c"], ["b", "c", "new", None, "", "a"]),
        (["a", "", "a", None, "", ""], ["", None, "b", "a", "", None]),
        ([1, 2, 1, 2, 2, 3], [3, 1, 2, 99, 2, 1]),
        ([1.5, None, 1.5, 2.0, 2.0, 3.0], [2, None, 1.5, 7, 3, 1.5]),
        ([True, False, True, True, False, True], [True, False, True, False, True, True]),
    ],
)
def test_categories(category_encoding, learned, scored):
    """Unseen, missing and rare ones; an empty text that is a category is not a missing one."""
    roles = ColumnRoles((), (), ("own", "other"))
    learned = pd.DataFrame({"own": learned, "other": list("xyxyxy")})
    encoder = fit_encoder(learned, roles, category_encoding=category_encoding)
    table = pd.DataFrame({"own": scored, "other": list("yxzyxx")})
    numeric, codes = encoder.transform(table)
    found = run(encoder, table)
    assert_array_equal(found.get(NUMERIC, np.empty((6, 0))), numeric)
    assert_array_equal(found.get(CATEGORICAL, np.empty((6, 0))), codes)


def test_cells_of_another_kind_count_as_unseen():
    learned = pd.DataFrame({"text": list("aabb"), "number": [1, 1, 2, 2]})
    encoder = fit_encoder(learned, ColumnRoles((), (), ("text", "number")))
    table = pd.DataFrame({"text": ["a", 1, 2.5, None], "number": [1, "1", 2, "b"]}, dtype=object)
    numeric, codes = encoder.transform(table)
    found = run(encoder, table)
    assert_array_equal(found[NUMERIC], numeric)
    assert_array_equal(found[CATEGORICAL], codes)
    assert codes[:, 1].tolist() == [1, 0, 2, 0]


def test_numbers_and_text_as_categories():
    learned = pd.DataFrame({"mixed": ["a", 1, "a", 1]})
    encoder = fit_encoder(learned, ColumnRoles((), (), ("mixed",)))
    with pytest.raises(ValueError, match="column 'mixed' has numbers and text as categories"):
        add_columns(encoder, reserved=[])


def test_a_column_with_the_name_of_an_output():
    learned = pd.DataFrame({"probabilities": [1.0, 2.0, 3.0]})
    encoder = fit_encoder(learned, ColumnRoles((), ("probabilities",), ()))
    with pytest.raises(ValueError, match="column named 'probabilities' cannot be an input"):
        add_columns(encoder, reserved=["probabilities"])
