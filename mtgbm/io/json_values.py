"""Python values as JSON and back without loss: parameters, classes, categories.

None, bool, int, str, finite float and list are themselves. Everything else is an object of one
entry that says what it is:

    {"float": "nan"}                                         also "inf" and "-inf"
    {"tuple": [...]}, {"set": [...]}, {"frozenset": [...]}
    {"dict": [[key, value], ...]}                            keys may be other than text
    {"array": {"dtype": "<i8", "shape": [2], "values": [0, 1]}}
    {"scalar": {...}}                                        one number of numpy, like an array
    {"weighting": {"class": "FixedWeighting", "parameters": {...}}}

Paths become text.

There is no way to name any other class, so nothing in a file can make a reader import or call
anything else.
"""

import math
import os
import re
from inspect import signature
from reprlib import repr as short

import numpy as np

from mtgbm import weighting
from mtgbm.io.header_fields import corrupt, field, list_of, typed

PLAIN = (type(None), bool, int, str)
SEQUENCES = {"tuple": tuple, "set": set, "frozenset": frozenset}
NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
ARRAY_DTYPE = re.compile(r"[<>|](b1|[iu][1248]|f[248]|U\d{1,9})")
#: Short texts in a wide dtype would take more memory than the file has bytes.
MOST_TEXT_BYTES = 2**26


def weighting_classes():
    """The classes that a file may name: what mtgbm.weighting makes public."""
    found = {name: getattr(weighting, name) for name in weighting.__all__}
    return {name: value for name, value in found.items() if isinstance(value, type)}


# Writing ----------------------------------------------------------------------------------------


def to_json(value, name):
    """Return what JSON can hold of a value.

    Parameters
    ----------
    value : object
    name : str
        What to call it in an error.

    Raises
    ------
    TypeError
        If there is no form for an object of its class.
    """
    kind = type(value)
    if kind in PLAIN:
        return value
    if kind is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if kind is list:
        return _items_to_json(value, name)
    if kind is dict:
        return {"dict": [_items_to_json(pair, name) for pair in value.items()]}
    if kind.__name__ in SEQUENCES and kind is SEQUENCES[kind.__name__]:
        return {kind.__name__: _items_to_json(value, name)}
    if kind is np.ndarray:
        return {"array": array_to_json(value, name)}
    if isinstance(value, np.generic):
        return {"scalar": array_to_json(np.asarray(value), name)}
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if weighting_classes().get(kind.__name__) is kind:
        return {"weighting": _weighting_to_json(value, name)}
    raise TypeError(
        f"{name} is {short(value)} of class {kind.__module__}.{kind.__qualname__}, which a model "
        "file cannot hold: it takes numbers, text, lists, tuples, sets, dicts, arrays and the "
        f"weightings {', '.join(weighting_classes())}. Set another value, or use joblib.dump."
    )


def _items_to_json(items, name):
    return [to_json(item, f"{name}: an item") for item in items]


def _weighting_to_json(value, name):
    parameters = value.get_params(deep=False)
    return {
        "class": type(value).__name__,
        "parameters": {key: to_json(item, f"{name}.{key}") for key, item in parameters.items()},
    }


def array_to_json(array, name):
    """An array with its dtype; one of objects if these are plain values."""
    if array.dtype != object and not ARRAY_DTYPE.fullmatch(array.dtype.str):
        raise TypeError(
            f"{name} is an array of {array.dtype}, which a model file cannot hold: it takes "
            "booleans, numbers and text. Convert it, or use joblib.dump."
        )
    return {
        "dtype": array.dtype.str,
        "shape": list(array.shape),
        "values": [_cell_to_json(cell, name) for cell in array.ravel().tolist()],
    }


def _cell_to_json(cell, name):
    if type(cell) not in (*PLAIN, float):
        raise TypeError(
            f"{name} is an array with {short(cell)} of class {type(cell).__name__} in it, which a "
            "model file cannot hold: it takes booleans, numbers and text. Convert it, or use "
            "joblib.dump."
        )
    return to_json(cell, name)


# Reading ----------------------------------------------------------------------------------------


def from_json(content, name):
    """Return the value of which `to_json` gave `content`.

    Raises
    ------
    ValueError
        If it is none of the forms above.
    """
    if type(content) in (*PLAIN, float):
        return content
    if type(content) is list:
        return [from_json(item, name) for item in content]
    if len(content) != 1:
        raise corrupt(
            f"expected {name} to be a value or an object of one entry, found {short(content)}"
        )
    (kind,) = content
    if kind in SEQUENCES:
        items = from_json(field(content, kind, list, where=name), name)
        return _collect(SEQUENCES[kind], items, name)
    readers = {
        "float": _float_from_json,
        "dict": _dict_from_json,
        "array": array_from_json,
        "scalar": lambda content, name: array_from_json(content, name)[()],
        "weighting": _weighting_from_json,
    }
    if kind not in readers:
        raise corrupt(
            f"expected {name} to be one of {', '.join([*SEQUENCES, *readers])}, found {kind!r}"
        )
    return readers[kind](content[kind], name)


def _collect(kind, items, name):
    """A tuple, set or dict of the items, whose keys may be such as Python does not take."""
    try:
        return kind(items)
    except TypeError as error:
        raise corrupt(f"expected {name} to be a {kind.__name__}, but {error}") from None


def _float_from_json(content, name):
    if content not in tuple(NOT_FINITE):
        raise corrupt(
            f"expected {name} to be one of {', '.join(NOT_FINITE)}, found {short(content)}"
        )
    return NOT_FINITE[content]


def _dict_from_json(content, name):
    pairs = [
        typed(pair, list, where=f"{name}: a pair") for pair in typed(content, list, where=name)
    ]
    if any(len(pair) != 2 for pair in pairs):
        raise corrupt(f"expected {name} to be pairs of key and value, found other lengths")
    return _collect(dict, from_json(pairs, name), name)


def array_from_json(content, name):
    """Return the array of which `array_to_json` gave `content`."""
    content = typed(content, dict, where=name)
    dtype = field(content, "dtype", str, where=name)
    shape = list_of(content, "shape", int, where=name)
    values = field(content, "values", list, where=name)
    cells = [_cell_from_json(value, name) for value in values]
    if min(shape, default=0) < 0 or math.prod(shape) != len(cells):
        raise corrupt(
            f"expected {name} to have the shape {short(shape)}, found {len(cells)} values"
        )
    try:
        array = _objects(cells) if dtype == "|O" else _numbers_or_text(cells, dtype, name)
        array = array.reshape(shape)
    except (ValueError, TypeError, OverflowError) as error:
        raise corrupt(f"expected {name} to be an array of {dtype}, but {error}") from None
    if array_to_json(array, name) != content:
        raise corrupt(f"expected {name} to hold values of {dtype}, found others")
    return array


def _cell_from_json(value, name):
    return _float_from_json(value.get("float"), name) if isinstance(value, dict) else value


def _objects(cells):
    array = np.empty(len(cells), dtype=object)
    for position, cell in enumerate(cells):
        array[position] = typed(cell, *PLAIN, float, where="a value")
    return array


def _numbers_or_text(cells, dtype, name):
    if not ARRAY_DTYPE.fullmatch(dtype):
        raise corrupt(f"expected a dtype of booleans, numbers or text in {name}, found {dtype!r}")
    dtype = np.dtype(dtype)
    if dtype.kind == "U" and dtype.itemsize * len(cells) > MOST_TEXT_BYTES:
        raise ValueError(f"its {len(cells)} texts would take more than {MOST_TEXT_BYTES} bytes")
    with np.errstate(all="ignore"):
        return np.array(cells, dtype=dtype)


def _weighting_from_json(content, name):
    content = typed(content, dict, where=name)
    cls = weighting_classes().get(field(content, "class", str, where=name))
    if cls is None:
        raise ValueError(
            f"{name} is a {content['class']!r}, which this mtgbm does not have; it has "
            f"{', '.join(weighting_classes())}. Upgrade mtgbm to load it."
        )
    parameters = field(content, "parameters", dict, where=name)
    return cls(**known_parameters(cls, parameters, name))


def known_parameters(cls, parameters, name):
    """Decode the parameters of an object, all of which its class must have."""
    unknown = sorted(set(parameters) - set(signature(cls).parameters))
    if unknown:
        raise ValueError(
            f"{name}: {cls.__name__} of this mtgbm has no parameters {unknown}. Upgrade mtgbm to "
            "load it."
        )
    return {key: from_json(value, f"{name}.{key}") for key, value in parameters.items()}
