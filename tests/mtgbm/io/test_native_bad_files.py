"""Files that are no sound models: an error that says why, whatever is in them; never a crash."""

import contextlib
import gzip
import json
import os
import pickle
import tracemalloc
import warnings
from hashlib import blake2b
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from mtgbm import MultiTaskLGBMClassifier
from mtgbm.io.native import load_model, save_model
from mtgbm.weighting import FixedWeighting

MAGIC = b"\x89MTGBM\r\n"


# Files as tests write them: a second writer, made from the description of the format -----------


def digest(content):
    return blake2b(content, digest_size=16).digest()


def seal(header, data):
    """A file whose checksums are right, whatever is in it."""
    if isinstance(header, dict):
        header = json.dumps(header).encode()
    header += b" " * (-(32 + len(header)) % 64)
    return MAGIC + len(header).to_bytes(8, "little") + digest(header) + header + data


def unseal(content):
    """Header and data of a file."""
    end = 32 + int.from_bytes(content[8:16], "little")
    assert content[:8] == MAGIC
    assert end % 64 == 0
    header = json.loads(content[32:end])
    assert bytes.fromhex(header["data"]["blake2b"]) == digest(content[end:])
    return header, content[end:]


def reseal(header, data):
    header["data"] = {"bytes": len(data), "blake2b": digest(data).hex()}
    return seal(header, data)


def array_of(header, data, name):
    entry = header["arrays"][name]
    length = int(np.prod(entry["shape"])) * np.dtype(entry["dtype"]).itemsize
    array = np.frombuffer(data[entry["offset"] :][:length], entry["dtype"])
    return array.reshape(entry["shape"])


def make_tables(make_data):
    """Columns of numbers and of categories of every kind; tasks with missing labels."""
    X, Y = make_data(missing=0.2)
    frame = pd.DataFrame(X, columns=["a", "b b", "ç", "d", "e"]).assign(
        text=pd.Categorical(np.where(X[:, 0] > 0, "red", "blü")),
        number=pd.Categorical(np.digitize(X[:, 1], [-1, 0, 1])),
        half=pd.Categorical(np.digitize(X[:, 2], [0]) / 2),
        flag=pd.Categorical(X[:, 1] > 0),
    )
    frame.loc[::9, "text"] = None
    return frame, pd.DataFrame(Y, columns=["x", "y y", "ž"])


@pytest.fixture(scope="module")
def saved(make_data, tmp_path_factory):
    """A file with categories, missing labels, curves; its model; some rows."""
    X, Y = make_tables(make_data)
    model = MultiTaskLGBMClassifier(
        n_estimators=3,
        num_leaves=4,
        max_bin=7,
        min_data_per_group=5,
        weighting=FixedWeighting(),
        early_stopping_rounds=2,
        random_state=0,
        n_jobs=1,
    ).fit(X, Y)
    path = tmp_path_factory.mktemp("saved") / "model.mtgbm"
    save_model(model, path)
    return path.read_bytes(), model, X[:20]


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """Loads a model from bytes."""
    path = tmp_path_factory.mktemp("changed") / "model.mtgbm"

    def write_and_load(content):
        path.write_bytes(content)
        return load_model(path)

    return write_and_load


def test_the_arrays_are_where_the_header_says(saved):
    content, model, _ = saved
    header, data = unseal(content)
    trees = model.forest_.trees
    assert [tree.n_leaves for tree in trees] == array_of(header, data, "trees/sizes")[:, 1].tolist()
    for name, key in {"values": "leaves/values", "gains": "nodes/gains"}.items():
        expected = np.concatenate([getattr(tree, name) for tree in trees])
        assert_array_equal(array_of(header, data, key), expected)
    for field in ("threshold", "missing_left", "bitset"):
        expected = np.concatenate([tree.nodes[field] for tree in trees])
        assert_array_equal(array_of(header, data, f"nodes/{field}"), expected)
    assert all(entry["offset"] % 64 == 0 for entry in header["arrays"].values())


def test_a_sealed_file_is_read(saved, load):
    content, model, X = saved
    assert_array_equal(load(reseal(*unseal(content))).raw_predict(X), model.raw_predict(X))


def test_fields_and_parameters_of_later_versions(saved, load):
    """Unknown fields do not matter, missing parameters get their defaults."""
    content, model, X = saved
    header, data = unseal(content)
    header["later"] = {"than": ["this"]}
    del header["parameters"]["cat_l2"]
    loaded = load(reseal(header, data))
    assert_array_equal(loaded.raw_predict(X), model.raw_predict(X))
    assert loaded.cat_l2 == 10.0


# Damage -----------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_flipped_bit_is_noticed(saved, load, data):
    content = bytearray(saved[0])
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ValueError, match="cannot load a model from"):
        load(bytes(content))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_truncated_file_is_noticed(saved, load, data):
    length = data.draw(st.integers(1, 40) | st.integers(1, len(saved[0]) - 1))
    with pytest.raises(
        ValueError, match=rf"truncated: expected at least \d+ bytes, found {length}"
    ):
        load(saved[0][:length])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_inserted_and_removed_bytes_are_noticed(saved, load, data):
    content = saved[0]
    position = data.draw(st.integers(0, len(content)))
    removed = data.draw(st.integers(0, 100))
    inserted = data.draw(st.binary(max_size=100))
    changed = content[:position] + inserted + content[position + removed :]
    if changed != content:
        with pytest.raises(ValueError, match="cannot load a model from"):
            load(changed)


# Forgery: the checksums are right ---------------------------------------------------------------


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([-1, 0, 1, 2, 3, 255, 256, 2**31 - 1, 2**31, 2**63, 2**64, 10**400]),
    st.integers(-3, 300),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        ["", "x", "nan", "float64", "<U999999999", "|O", "multiclass", "FixedWeighting"]
    ),
    st.sampled_from([[], [1], [[]], [2**40, 0], {}, {"dict": [[[], 1]]}, {"tuple": [{}]}]),
    st.sampled_from([{"set": [[1]]}, {"float": "inf"}, {"weighting": {"class": "Popen"}}]),
)


def places(content):
    """Every place in nested JSON, as its container and key."""
    keys = content if isinstance(content, dict) else range(len(content))
    for key in keys:
        yield content, key
        if isinstance(content[key], (dict, list)):
            yield from places(content[key])


def assert_usable(load, content, X):
    """What can be loaded can be used: at worst the columns are no longer those of X."""
    try:
        model = load(content)
    except ValueError:
        return
    with warnings.catch_warnings(), contextlib.suppress(ValueError):
        warnings.simplefilter("ignore")
        model.predict(X)
        model.predict_proba(pd.concat([X] * 20))
    model.task_importances("gain")
    repr(model)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_forged_header_does_no_harm(saved, load, data):
    header, arrays = unseal(saved[0])
    table, key = data.draw(st.sampled_from(list(places(header))))
    if isinstance(table, dict) and data.draw(st.booleans()):
        del table[key]
    else:
        table[key] = data.draw(JUNK)
    assert_usable(load, seal(header, arrays), saved[2])


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_forged_arrays_do_no_harm(saved, load, data):
    header, arrays = unseal(saved[0])
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from(sorted(header["arrays"])))
        array = array_of(header, arrays, name).copy()
        if array.size:
            numbers = [-(2**31), -2, -1, 0, 1, 2, 3, 5, 7, 8, 200, 2**31 - 1]
            if array.dtype.kind == "f":
                numbers += [np.nan, np.inf, -np.inf, 1e308, 0.5]
            position = data.draw(st.integers(0, array.size - 1))
            number = np.array(data.draw(st.sampled_from(numbers)))
            array.flat[position] = number.astype(array.dtype)
        start = header["arrays"][name]["offset"]
        arrays = arrays[:start] + array.tobytes() + arrays[start + array.nbytes :]
    assert_usable(load, reseal(header, arrays), saved[2])


def change_header(*keys, value):
    def change(header, data):
        table = header
        for key in keys[:-1]:
            table = table[key]
        table[keys[-1]] = value
        return header, data

    return change


def change_array(name, value, which=0):
    """Set the first element of an array, or those that `which` finds."""

    def change(header, data):
        array = array_of(header, data, name).copy()
        arrays = {key: array_of(header, data, key) for key in header["arrays"]}
        array[which(arrays) if callable(which) else which] = value
        start = header["arrays"][name]["offset"]
        return header, data[:start] + array.tobytes() + data[start + array.nbytes :]

    return change


def inner(arrays):
    return np.flatnonzero(arrays["nodes/leaf"] < 0)[-1]


def numeric(arrays):
    return np.flatnonzero((arrays["nodes/leaf"] < 0) & (arrays["nodes/bitset"] < 0))[-1]


TREE = "one of its trees does not hold together"
HEADER_FORGERIES = [
    (("format",), 2, r"saved by mtgbm .* in format 2; mtgbm .* reads formats up to 1\. Upgrade"),
    (("format",), 0, "expected 'format' of the header from 1 to 1, found 0"),
    (("format",), "1", "expected 'format' of the header to be an integer, found '1'"),
    (("model",), "Other", "expected a MultiTaskLGBMClassifier in the file, found a 'Other'"),
    (("tasks",), [], "expected one task or"),
    (("tasks", 0, "name"), 3, "expected 'name' of a task to be a text, found 3"),
    (("tasks", 0, "name"), "ž", "expected distinct names of tasks"),
    (("tasks", 0, "kind"), "ranking", "expected task 'x' to be one of binary, multiclass"),
    (("tasks", 0, "classes", "values"), [1, 0], "expected distinct classes of task 'x' in asc"),
    (("tasks", 0, "classes", "values"), [0, 2], "expected two classes of task 'x', found"),
    (("tasks", 0, "classes", "values"), [0, 1.5], "'classes' of task 'x' to hold values of <i8"),
    (("tasks", 0, "classes", "values"), [0, 2**70], "'classes' of task 'x' to be an array of <i8"),
    (("tasks", 0, "classes", "values"), [0], r"have the shape \[2\], found 1 values"),
    (("tasks", 0, "classes", "dtype"), "<M8", "expected a dtype of booleans, numbers or text"),
    (("tasks", 0, "classes", "dtype"), "<U99999999", "would take more than 67108864 bytes"),
    (("tasks", 0, "kind"), "multiclass", "'nodes/gradients' to be float64 of shape"),
    (("labels", "one_dimensional"), True, "expected one task or"),
    (("features", "number"), 7, r"array 'bins/n_bins' to be int32 of shape \(7\), found"),
    (("features", "names"), ["a"], "expected 9 distinct names of features"),
    (("features", "categories"), [], r"expected categories of the features \[5, 6, 7, 8\]"),
    (("features", "categories", 0), [5], r"expected a position and categories, found \[5\]"),
    (("features", "categories", 0, 1), ["b", "b"], "expected distinct numbers and texts as cat"),
    (("features", "categories", 0, 1), [{}], "expected distinct numbers and texts as categories"),
    (("bins", "max_bin"), 256, "expected 'max_bin' of 'bins' from 2 to 255, found 256"),
    (("curves", 0, 2), 10**9, "scores of distinct curves, found"),
    (("curves", 0), ["validation"], "expected part, name and length of a curve"),
    (("parameters", "task_hierarchy"), -5, "task_hierarchy must be a dict of child and parent"),
    (("parameters", "weighting"), {"weighting": {"class": "Popen"}}, "'Popen', which this mtgbm"),
    (("parameters", "weighting"), {"class": "os.system"}, "one of tuple, set, .* found 'class'"),
    (
        ("parameters", "weighting", "weighting", "parameters"),
        {"a": 1},
        r"has no parameters \['a'\]",
    ),
    (("parameters", "alpha"), 1, r"has no parameters \['alpha'\]\. Upgrade"),
    (("parameters", "max_bin"), "x", "max_bin must be an integer, got 'x'"),
    (("parameters", "n_estimators"), 10**400, "int too large to convert to float"),
    (("parameters", "n_jobs"), 10**6, "n_jobs must be at most 1024"),
    (("parameters", "objective"), {"set": [[]]}, "expected parameters.objective to be a set, but"),
    (("parameters", "objective"), {"dict": [[1]]}, "pairs of key and value"),
    (("parameters", "objective"), {"float": "one"}, "one of nan, inf, -inf, found 'one'"),
    (("parameters", "objective"), {"float": "nan", "set": []}, "an object of one entry"),
    (("arrays", "curves", "dtype"), "object", "expected a dtype of float64, int64, .* 'object'"),
    (("arrays", "curves", "shape"), [2**31], "expected one or two lengths as the shape"),
    (("arrays", "curves", "shape"), [-1], "expected one or two lengths as the shape"),
    (("arrays", "curves", "shape"), [2**31 - 1], "bytes of data for array 'curves', found"),
    (("arrays", "curves", "offset"), 0, "expected 'offset' of array 'curves' from"),
    (("arrays",), {}, "bytes of data for the arrays, found"),
    (("data",), {"bytes": 2**62, "blake2b": ""}, "the file is truncated: expected at least 4611"),
    (("data",), {"bytes": 0, "blake2b": ""}, "something was added"),
    (("data", "blake2b"), "xyz", "expected hexadecimal digits"),
    (("data", "blake2b"), "00", "the checksum of the data is not that of its bytes"),
]
ARRAY_FORGERIES = [
    ("nodes/left", 10_000, inner, TREE),
    ("nodes/right", 0, inner, TREE),
    ("nodes/feature", 9, inner, TREE),
    ("nodes/feature", -1, inner, TREE),
    ("nodes/bitset", 1000, inner, TREE),
    ("nodes/threshold", np.nan, inner, TREE),
    ("nodes/leaf", 7, -1, TREE),
    ("nodes/bitset", 0, numeric, "subsets where features are categorical|" + TREE),
    ("nodes/depth", 3, 0, "the distance from the root in 'nodes/depth'"),
    ("nodes/depth", 2**31 - 1, inner, "the distance from the root in 'nodes/depth'"),
    ("nodes/missing_left", 2, inner, "one of its trees does not hold together"),
    ("nodes/missing_bin", 250, inner, "missing values in a last bin"),
    ("nodes/counts", -1, 0, "no negative count of rows"),
    ("nodes/gains", np.nan, 0, "finite gradients and gains"),
    ("leaves/values", np.inf, 0, TREE),
    ("base_score", np.nan, 0, "its base scores are not finite"),
    ("trees/sizes", 0, 0, "a node and a leaf in each tree"),
    ("trees/sizes", 2**62, 0, "a node and a leaf in each tree"),
    ("trees/sizes", 2**31 - 1, 0, "up to 2147483647 nodes"),
    ("trees/sizes", 2**30, 0, "array 'nodes/threshold' to be float64 of shape"),
    ("trees/sizes", 3, 0, "array 'nodes/threshold' to be float64 of shape"),
    ("bins/n_bins", 0, 0, "1 to 255 bins"),
    ("bins/n_bins", 256, 0, "1 to 255 bins"),
    ("bins/n_bins", 255, 0, "a threshold between any two bins"),
    ("bins/n_bins", 100, 5, "array 'bins/categories' to be float64 of shape"),
    ("bins/is_categorical", 2, 0, "0 or 1 as flags"),
    ("bins/has_missing", 2, 0, "0 or 1 as flags"),
    ("bins/thresholds", np.nan, 0, "no NaN among thresholds"),
    ("bins/thresholds", np.inf, (0, 0), "ascending thresholds"),
    ("bins/categories", np.nan, 0, "finite categories"),
]


@pytest.mark.parametrize(("keys", "value", "message"), HEADER_FORGERIES)
def test_each_check_of_the_header(saved, load, keys, value, message):
    header, data = change_header(*keys, value=value)(*unseal(saved[0]))
    with pytest.raises(ValueError, match=message):
        load(seal(header, data))


@pytest.mark.parametrize(("name", "value", "which", "message"), ARRAY_FORGERIES)
def test_each_check_of_the_arrays(saved, load, name, value, which, message):
    header, data = change_array(name, value, which)(*unseal(saved[0]))
    with pytest.raises(ValueError, match=message):
        load(reseal(header, data))


@pytest.mark.parametrize("name", ["tasks", "features", "arrays", "data", "parameters", "curves"])
def test_a_missing_field_is_named(saved, load, name):
    header, data = unseal(saved[0])
    del header[name]
    with pytest.raises(ValueError, match=f"expected the header to have '{name}', .*found no such"):
        load(seal(header, data))


def test_a_missing_array_is_named(saved, load):
    header, data = unseal(saved[0])
    header["arrays"] = {
        {"curves": "other"}.get(name, name): entry for name, entry in header["arrays"].items()
    }
    with pytest.raises(ValueError, match="expected an array 'curves', found none"):
        load(seal(header, data))


@pytest.mark.parametrize("length", [100, 2**24 + 32])
def test_a_header_of_a_wrong_length_is_refused(load, length):
    text = b"{}".ljust(length)
    content = MAGIC + length.to_bytes(8, "little") + digest(text) + text
    with pytest.raises(ValueError, match="expected a header of up to 16777216 bytes that ends at"):
        load(content)


def test_a_file_that_shrinks_while_it_is_read(saved, load, monkeypatch):
    earlier = os.stat_result((0, 0, 0, 0, 0, 0, len(saved[0]), 0, 0, 0))
    monkeypatch.setattr(os, "fstat", lambda descriptor: earlier)
    with pytest.raises(ValueError, match="the file is truncated"):
        load(saved[0][:-1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", "expected JSON in the header"),
        (b"\xff\xfe", "expected JSON in the header"),
        (b"[]", "expected an object in the header, found a list"),
        (b'{"format": NaN}', "NaN is not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"format": ' + b"9" * 5000 + b"}", "expected JSON in the header"),
    ],
)
def test_headers_that_are_none(load, text, message):
    with pytest.raises(ValueError, match=message):
        load(seal(text, b""))


@pytest.mark.parametrize("depth", [450, 900])
def test_deep_nesting_within_a_parameter(saved, load, depth):
    header, data = unseal(saved[0])
    value = []
    for _ in range(depth):
        value = [value]
    header["parameters"]["objective"] = value
    with contextlib.suppress(ValueError):
        assert load(seal(header, data)).objective == value


def test_a_forged_file_takes_no_more_memory_than_it_has_bytes(saved, load):
    contents = [
        MAGIC + (2**62).to_bytes(8, "little") + bytes(100),
        *(
            seal(*change_header(*keys, value=value)(*unseal(saved[0])))
            for keys, value, _ in HEADER_FORGERIES
        ),
        *(
            reseal(*change_array(name, value, which)(*unseal(saved[0])))
            for name, value, which, _ in ARRAY_FORGERIES
        ),
    ]
    tracemalloc.start()
    try:
        for content in contents:
            with contextlib.suppress(ValueError):
                load(content)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 50 * len(saved[0])


# Foreign files ----------------------------------------------------------------------------------


def npz(path):
    with open(path, "wb") as file:
        np.savez(file, a=1)


FOREIGN = {
    "nothing": (Path.touch, "found an empty file"),
    "pickle": (lambda path: path.write_bytes(pickle.dumps([1])), "found a pickle; joblib.load"),
    "joblib": (lambda path: joblib.dump(FixedWeighting(), path), "found a pickle"),
    "npz": (npz, "found a zip archive"),
    "gzip": (lambda path: path.write_bytes(gzip.compress(b"a")), "found a gzip file"),
    "LightGBM": (lambda path: path.write_text("tree\nversion=v4\n"), "found a LightGBM text model"),
    "text": (lambda path: path.write_text("hello"), "found b'hello'"),
    "png": (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n"), "found b'.x89PNG"),
    "text mode": (lambda path: path.write_bytes(b"\x89MTGBM\n" + bytes(60)), "found b'.x89MTGBM"),
    "folder": (Path.mkdir, "found a folder"),
    "pipe": (os.mkfifo, "found a pipe or device"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_file_is_refused(tmp_path, name):
    make, message = FOREIGN[name]
    make(tmp_path / "model")
    with pytest.raises(ValueError, match=f"expected a model file.*{message}"):
        load_model(tmp_path / "model")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "none")
