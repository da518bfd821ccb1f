"""Whether two fits are the same: their data as checksums, their parameters as plain values."""

import math
from hashlib import blake2b

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator

from mtgbm.io.model_arrays import forest_to_arrays

DIGEST_BYTES = 16
#: Rows of a table that are copied at a time if they do not lie one after another.
BLOCK_ROWS = 16_384


def data_fingerprint(tables, soft, reader, encoder):
    """Checksums of everything that a fit learns from.

    Parameters
    ----------
    tables : dict of str to LabelledRows or None
        By what to call them, as "training" and "validation".
    soft : dict of ndarray
        What a distillation teaches, see `Distillation.prepared`.
    reader : FeatureReader
        Fitted.
    encoder : LabelEncoder
        Fitted.

    Returns
    -------
    dict of str
        ``{"features of the training rows": "a0..", ...}``; what there is none of is "none".
    """
    prints = {
        "tasks and classes": _digest_values(encoder.tasks_, encoder.classes_, encoder.is_1d_),
        "categories": _digest_values(reader.is_categorical_, reader.categories_),
        "predictions of the teacher": digest_array(*soft.values()) if soft else "none",
    }
    for name, table in tables.items():
        fields = {} if table is None else table._asdict()
        for field in ("matrix", "labels", "weights", "numbers"):
            noun = {"matrix": "features"}.get(field, field)
            prints[f"{noun} of the {name} rows"] = digest_array(fields.get(field))
    return prints


def forest_fingerprint(forest):
    """The checksum of a forest: str."""
    return digest_array(*forest_to_arrays(forest).values())


def _digest_values(*values):
    """The checksum of small things that `repr` tells apart."""
    plain = [_plain(value) for value in values]
    return blake2b(repr(plain).encode(errors="replace"), digest_size=DIGEST_BYTES).hexdigest()


def _plain(value):
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return (value.dtype.str, value.tolist()) if isinstance(value, np.ndarray) else value


def digest_array(*arrays):
    """The checksum of arrays or sparse matrices with their shapes, in any layout.

    Parameters
    ----------
    *arrays : ndarray or sparse matrix
        Or None alone.

    Returns
    -------
    str
        "none" for None.
    """
    if arrays[0] is None:
        return "none"
    total = blake2b(digest_size=DIGEST_BYTES)
    for array in arrays:
        total.update(f"{array.dtype.str} {array.shape}".encode())
        for part in _dense_parts(array):
            for first in range(0, len(part), BLOCK_ROWS):
                total.update(np.ascontiguousarray(part[first : first + BLOCK_ROWS]))
    return total.hexdigest()


def _dense_parts(array):
    return (array.data, array.indices, array.indptr) if sparse.issparse(array) else (array,)


def comparable(value, name):
    """What JSON can hold of a parameter, enough to tell whether it is the same.

    Numbers of numpy become Python's, tuples lists, arrays checksums. A random generator is only
    known to be one: what it draws changes from call to call.

    Parameters
    ----------
    value : object
    name : str
        What to call it in an error.

    Raises
    ------
    TypeError
        If objects of its class cannot be compared with those of another process.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, (list, tuple)):
        return [comparable(item, name) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((comparable(item, name) for item in value), key=repr)
    if isinstance(value, dict):
        return {str(key): comparable(item, f"{name}[{key!r}]") for key, item in value.items()}
    if isinstance(value, np.ndarray) and value.dtype != object:
        return {"array": list(value.shape), "checksum": digest_array(value)}
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, BaseEstimator):
        own = value.get_params(deep=False)
        return {kind: {key: comparable(item, f"{name}__{key}") for key, item in own.items()}}
    if isinstance(value, np.random.RandomState):
        return {kind: {}}
    raise TypeError(
        f"{name} is a {kind}, which a checkpoint cannot compare with that of another process: it "
        "takes numbers, text, lists, tuples, sets, dicts, arrays and objects with get_params. Set "
        "another value, or checkpoint_path=None."
    )
