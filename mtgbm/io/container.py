"""The file around a model: a header for people and programs, then arrays, all under checksums.

    byte  0    8 bytes    magic: 0x89 "MTGBM" 0x0D 0x0A
          8    8 bytes    length of the header, little-endian
         16   16 bytes    BLAKE2b of the header
         32               header: a JSON object in UTF-8, then spaces up to a multiple of 64
          .               data: arrays, little-endian, in C order, each from a multiple of 64

The first byte is no text and the last two change when a program "corrects" line ends, so neither a
text nor a file that was transferred as text passes for a model. `head` shows the header.

Of its fields, ``format``, ``written_by``, ``arrays`` and ``data`` belong to the container:

    "arrays": {"name": {"dtype": "float64", "shape": [61, 3], "offset": 0}, ...}
    "data": {"bytes": 1464, "blake2b": "..."}

Offsets count from the start of the data. The arrays follow each other in the order of the header
without gaps other than the alignment, so a reader can foretell every offset and they cannot
overlap. The checksums find accidents; who changes a file on purpose can compute new ones, so every
number is checked besides.

To change the format: raise `FORMAT` by one when a file of the new kind would be misread, or
refused without saying why, by an mtgbm that knows only the old one; teach `read_file`, or what
reads the header, the older form; add a file of the old format to tests/mtgbm/io/files. Magic, the
first 32 bytes and the meaning of ``format`` and ``written_by`` never change, since an old mtgbm
must be able to tell that a file is newer. New parameters of the estimator need no new format:
files that lack them get the defaults, and an mtgbm that does not know them says so. Nor do fields
and arrays that a reader may ignore.
"""

import json
import math
import os
import stat
from hashlib import blake2b

import numpy as np

from mtgbm.io.header_fields import corrupt, field, integer
from mtgbm.model_state import installed_version

FORMAT = 1
MAGIC = b"\x89MTGBM\r\n"
PREFIX_BYTES = 32
DIGEST_BYTES = 16
ALIGNMENT = 64
DTYPES = ("float64", "int64", "int32", "uint32", "uint8", "float32", "int16")
#: JSON takes up to 31 times its length in memory, so a header must not be as long as it likes.
MOST_HEADER_BYTES = 2**24
#: Kernels count in int32.
MOST_ROWS = 2**31 - 1

FOREIGN = (
    (b"PK\x03\x04", "a zip archive (npz, skops, torch)"),
    (b"\x1f\x8b", "a gzip file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"tree\n", "a LightGBM text model"),
    (b"\x80", "a pickle; joblib.load reads it, if you trust where it comes from"),
)


def align(offset):
    """The next multiple of the alignment."""
    return -(-offset // ALIGNMENT) * ALIGNMENT


def digest(*chunks):
    """The checksum of these bytes, one after another."""
    total = blake2b(digest_size=DIGEST_BYTES)
    for chunk in chunks:
        total.update(chunk)
    return total.digest()


def read_file(path):
    """Read a file that anyone may have written.

    Memory is taken only for what the file really holds.

    Returns
    -------
    header : dict
        The fields are whatever the file says; none but those of the container are checked.
    arrays : dict of ndarray
        Parts of one buffer.

    Raises
    ------
    ValueError
        If it is no such file, is damaged, or of a newer format.
    OSError
        If there is no such file or it may not be read.
    """
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):  # to open a pipe would wait for ever
        found = "a folder" if stat.S_ISDIR(mode) else "a pipe or device"
        raise ValueError(f"expected a model file, found {found}; give the file's own name.")
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        header = _parse(_read_header(file, size))
        _check_format(header)
        data = _read_data(file, size, field(header, "data", dict))
    return header, _arrays(data, field(header, "arrays", dict))


def _read_header(file, size):
    """The bytes of the header, after their checksum was compared."""
    prefix = file.read(PREFIX_BYTES)
    if not prefix or not MAGIC.startswith(prefix[: len(MAGIC)]):
        raise ValueError(
            f"expected a model file, which begins with {MAGIC!r}, found {_describe(prefix)}. Give "
            "a file that save_model wrote."
        )
    length = int.from_bytes(prefix[8:16], "little")
    if len(prefix) < PREFIX_BYTES or PREFIX_BYTES + length > size:
        needed = PREFIX_BYTES + length if len(prefix) == PREFIX_BYTES else PREFIX_BYTES
        raise _truncated(needed, size)
    if length > MOST_HEADER_BYTES or (PREFIX_BYTES + length) % ALIGNMENT:
        raise corrupt(
            f"expected a header of up to {MOST_HEADER_BYTES} bytes that ends at a multiple of "
            f"{ALIGNMENT}, found {length} bytes"
        )
    text = file.read(length)
    _check_checksum("header", text, prefix[16:])
    return text


def _describe(prefix):
    """What a file is that begins like this."""
    if not prefix:
        return "an empty file"
    for start, noun in FOREIGN:
        if prefix.startswith(start):
            return noun
    return repr(prefix[: len(MAGIC)])


def _truncated(needed, size):
    return ValueError(
        f"the file is truncated: expected at least {needed} bytes, found {size}. Copy it, or save "
        "the model, again."
    )


def _check_checksum(part, content, expected):
    if digest(content) != expected:
        raise ValueError(
            f"the checksum of the {part} is not that of its bytes, some of which were changed. "
            "Copy the file, or save the model, again."
        )


def _parse(text):
    try:
        header = json.loads(text.decode(), parse_constant=_refuse_constant)
    except RecursionError:
        raise corrupt("the header is nested too deeply") from None
    except ValueError as error:
        raise corrupt(f"expected JSON in the header, found something else ({error})") from None
    if not isinstance(header, dict):
        raise corrupt(f"expected an object in the header, found a {type(header).__name__}")
    return header


def _refuse_constant(name):
    raise ValueError(f"{name} is not JSON")


def _check_format(header):
    written = field(header, "format", int)
    if written > FORMAT:
        by = field(header, "written_by", str)
        raise ValueError(
            f"the model was saved by {by} in format {written}; mtgbm {installed_version()} reads "
            f"formats up to {FORMAT}. Upgrade mtgbm to load it."
        )
    integer(header, "format", 1, FORMAT)


def _read_data(file, size, entry):
    """The data as bytes in memory, after their checksum was compared."""
    length = integer(entry, "bytes", 0, 2**63 - 1, where="'data'")
    start = file.tell()
    if start + length > size:
        raise _truncated(start + length, size)
    if start + length < size:
        raise corrupt(f"expected {start + length} bytes, found {size}: something was added")
    data = np.empty(length, dtype=np.uint8)
    read = file.readinto(data)
    if read < length:
        raise _truncated(start + length, start + read)
    digits = field(entry, "blake2b", str, where="'data'")
    _check_checksum("data", data, _from_hex(digits))
    return data


def _from_hex(digits):
    try:
        return bytes.fromhex(digits)
    except ValueError:
        raise corrupt("expected hexadecimal digits in 'blake2b', found others") from None


def _arrays(data, entries):
    """The arrays that the header announces; together they are the data."""
    arrays, end = {}, 0
    for name in entries:
        where = f"array {name!r}"
        entry = field(entries, name, dict, where="'arrays'")
        dtype = _dtype(entry, where)
        shape = _shape(entry, where)
        offset = integer(entry, "offset", align(end), align(end), where=where)
        end = offset + math.prod(shape) * dtype.itemsize
        if end > len(data):
            raise corrupt(f"expected {end} bytes of data for {where}, found {len(data)}")
        stored = data[offset:end].view(dtype.newbyteorder("<")).reshape(shape)
        arrays[name] = stored.astype(dtype, copy=False)
    if end != len(data):
        raise corrupt(f"expected {end} bytes of data for the arrays, found {len(data)}")
    return arrays


def _dtype(entry, where):
    name = field(entry, "dtype", str, where=where)
    if name not in DTYPES:
        raise corrupt(f"expected a dtype of {', '.join(DTYPES)} in {where}, found {name!r}")
    return np.dtype(name)


def _shape(entry, where):
    shape = field(entry, "shape", list, where=where)
    if len(shape) not in (1, 2) or not all(type(n) is int and 0 <= n <= MOST_ROWS for n in shape):
        raise corrupt(f"expected one or two lengths as the shape of {where}, found {shape}")
    return shape
