"""The scorer: tables of any kind, errors, and what it does not import."""

import json
import subprocess
import sys

import numpy as np
import onnx
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from onnx import helper

from mtbert import OnnxScorer
from mtgbm import MultiTaskLGBMClassifier

BLOCKED = ("sklearn", "scipy", "torch", "transformers", "skorch", "pandas", "mtgbm", "onnx")


@pytest.fixture(scope="module")
def file(tmp_path_factory, make_parcels):
    """A model of three classes, and its file."""
    from mtbert import MultimodalTextTabularClassifier

    X, y = make_parcels()
    model = MultimodalTextTabularClassifier(
        text_columns=["review", "title"],
        categorical_columns=["shop", "size"],
        architecture="multimodal_cnn",
        network_options={"text__embedding_dim": 8, "text__n_filters": 4},
        epochs=1,
        random_state=0,
    ).fit(X, np.array(["keep", "return", "swap"])[y])
    path = tmp_path_factory.mktemp("scorer") / "model.onnx"
    model.to_onnx(path)
    return model, path


@pytest.fixture
def scorer(file):
    return OnnxScorer(file[1], n_threads=1)


def as_cells(table):
    """None where a cell is missing."""
    return table.astype(object).where(table.notna(), None)


TABLES = {
    "pandas": lambda table: table,
    "nullable dtypes": lambda table: table.convert_dtypes(),
    "a category": lambda table: table.astype({"shop": "category"}),
    "dict of lists": lambda table: as_cells(table).to_dict("list"),
    "dict of arrays": lambda table: {name: table[name].to_numpy() for name in table},
    "rows": lambda table: as_cells(table).to_dict("records"),
    "polars": lambda table: pl.DataFrame(
        {name: as_cells(table)[name].tolist() for name in table}, strict=False
    ),
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables(kind, scorer, file, others):
    others = others.drop(index=2)  # polars holds no halves of surrogate pairs
    table = TABLES[kind](others.assign(unused=1).iloc[:, ::-1])
    assert_allclose(scorer.predict_proba(table), file[0].predict_proba(others), rtol=0, atol=1e-6)
    assert_array_equal(scorer.predict(table), file[0].predict(others))


def test_one_row_and_its_class(scorer, file, others):
    row = as_cells(others).to_dict("records")[6]
    assert scorer.predict([row]).tolist() == file[0].predict(others.iloc[[6]]).tolist()
    assert scorer.classes_.tolist() == ["keep", "return", "swap"]


def test_lists_of_messages(scorer, file, make_parcels):
    table = make_parcels(3)[0].astype({"review": object})
    table["review"] = [["lovely", None, "coat"], (), np.array(["dull"], dtype=object)]
    assert_allclose(scorer.predict_proba(table), file[0].predict_proba(table), rtol=0, atol=1e-6)


def test_inputs_for_another_runtime(scorer, file, others):
    (found,) = scorer.session_.run(None, scorer.inputs(others))
    assert_allclose(found, file[0].predict_proba(others), rtol=0, atol=1e-6)


def test_batches_of_other_sizes(file, others):
    small = OnnxScorer(file[1], n_threads=1, batch_size=3)
    want = file[0].predict_proba(others)
    assert_allclose(small.predict_proba(others), want, rtol=0, atol=1e-6)


def test_nothing_heavy_is_imported(file, make_parcels):
    """In a process in which importing it would fail."""
    rows = as_cells(make_parcels(5)[0]).to_dict("records")
    program = (
        "import json, sys\n"
        f"sys.modules.update(dict.fromkeys({BLOCKED!r}))\n"
        "from mtbert import OnnxScorer\n"
        f"scorer = OnnxScorer({str(file[1])!r}, n_threads=1)\n"
        "print(json.dumps(scorer.predict_proba(json.load(sys.stdin)).tolist()))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(rows),
        capture_output=True,
        text=True,
        check=True,
    )
    want = file[0].predict_proba(make_parcels(5)[0])
    assert_allclose(json.loads(result.stdout), want, rtol=0, atol=1e-6)


# Refused ----------------------------------------------------------------------------------------


def test_a_missing_column(scorer, others):
    with pytest.raises(ValueError, match="the table has no column 'shop'; did you call it 'shops'"):
        scorer.predict_proba(others.rename(columns={"shop": "shops"}))
    rows = as_cells(others).to_dict("records")
    del rows[4]["review"]
    with pytest.raises(ValueError, match=r"row 4 has no column 'review'\. The model reads review,"):
        scorer.predict_proba(rows)


@pytest.mark.parametrize(
    ("cells", "error", "message"),
    [
        ({"price": "12"}, ValueError, "column 'price' must hold numbers, got '12'"),
        ({"price": np.inf}, ValueError, "column 'price' contains infinity"),
        ({"price": np.datetime64("2020-01-01")}, ValueError, "'price' must hold numbers"),
        ({"review": 3}, TypeError, "text column 'review': Row 0 must be text"),
        ({"shop": [1]}, TypeError, "column 'shop': each category must be a string or a number"),
        ({"size": [1]}, ValueError, "column 'size' must hold numbers"),
    ],
)
def test_cells(cells, error, message, scorer, make_parcels):
    row = as_cells(make_parcels(1)[0]).to_dict("records")[0] | cells
    with pytest.raises(error, match=message):
        scorer.predict_proba([row])


def test_other_tables(scorer, make_parcels):
    columns = as_cells(make_parcels(4)[0]).to_dict("list")
    with pytest.raises(TypeError, match=r"table must be a dict of columns, a list .* got str"):
        scorer.predict_proba("review")
    with pytest.raises(TypeError, match="row 0 must be a dict, got str"):
        scorer.predict_proba(["review"])
    with pytest.raises(TypeError, match="column 'review' must hold a cell for each row, got str"):
        scorer.predict_proba(columns | {"review": "one"})
    with pytest.raises(ValueError, match=r"unequal lengths: .*'title': 3"):
        scorer.predict_proba(columns | {"title": ["a", "b", "c"]})
    with pytest.raises(ValueError, match="no row"):
        scorer.predict_proba([])
    with pytest.raises(ValueError, match="no row"):
        scorer.predict_proba({name: [] for name in columns})


def test_other_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*absent\.onnx"):
        OnnxScorer(tmp_path / "absent.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ValueError, match=r"text\.onnx cannot be read as an ONNX file"):
        OnnxScorer(tmp_path / "text.onnx")
    X = np.arange(40.0).reshape(-1, 1)
    MultiTaskLGBMClassifier(n_estimators=1).fit(X, X[:, 0] > 9).to_onnx(tmp_path / "trees.onnx")
    with pytest.raises(ValueError, match="is of format None, version None; OnnxScorer reads 'mtb"):
        OnnxScorer(tmp_path / "trees.onnx")


def test_a_file_of_a_later_version(file, tmp_path):
    proto = onnx.load(file[1])
    metadata = {entry.key: entry.value for entry in proto.metadata_props} | {"format_version": "99"}
    del proto.metadata_props[:]
    helper.set_model_props(proto, metadata)
    onnx.save(proto, tmp_path / "later.onnx")
    with pytest.raises(
        ValueError, match="version 99; OnnxScorer reads 'mtbert-onnx' up to version"
    ):
        OnnxScorer(tmp_path / "later.onnx")


def test_a_missing_package(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match="onnxruntime: pip install onnxruntime tokenizers"):
        OnnxScorer(file[1])
