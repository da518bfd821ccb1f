"""Writing the file that `container.py` describes and reads."""

import json
import os
import re
import secrets
from itertools import chain
from pathlib import Path

import numpy as np

from mtgbm.io.container import (
    ALIGNMENT,
    FORMAT,
    MAGIC,
    MOST_HEADER_BYTES,
    PREFIX_BYTES,
    align,
    digest,
)
from mtgbm.model_state import installed_version


def write_file(path, header, arrays):
    """Write a file in one step: whoever reads `path` sees the old file or the new one.

    Parameters
    ----------
    path : str or path-like
        A symbolic link is followed.
    header : dict
        Of what JSON can hold.
    arrays : dict of ndarray
        C order, of `DTYPES`.

    Raises
    ------
    ValueError
        If the header is too long or holds text that UTF-8 cannot.
    OSError
        If the file cannot be written; what was at `path` is still there.
    """
    replace_file(path, chain([_header_bytes(header, arrays)], _chunks(arrays)))


def replace_file(path, chunks):
    """Write these bytes to a file in one step, as `write_file` does.

    Parameters
    ----------
    path : str or path-like
        A symbolic link is followed.
    chunks : iterable of bytes or ndarray of uint8

    Raises
    ------
    OSError
        If the file cannot be written; what was at `path` is still there.
    """
    path = Path(os.path.realpath(os.fsdecode(path)))
    if path.is_dir():
        raise IsADirectoryError(f"cannot save a model to {path}: it is a folder; name a file.")
    temporary = temporary_name(path)
    try:
        with open(temporary, "xb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def temporary_name(path):
    """A name, beside that of a file, under which it can be written before it is complete."""
    return path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.tmp")


def remove_leftovers(path):
    """Remove what writers of this file left behind that were killed; none may be at work."""
    name = re.compile(re.escape(f".{path.name[:200]}.") + r"[0-9a-f]{8}\.tmp")
    for entry in list(os.scandir(path.parent)):
        if name.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
            Path(entry.path).unlink(missing_ok=True)


def _header_bytes(header, arrays):
    """Everything before the data."""
    entries, length = _layout(arrays)
    checksum = digest(*_chunks(arrays)).hex()
    content = {
        "format": FORMAT,
        "written_by": f"mtgbm {installed_version()}",
        **header,
        "arrays": entries,
        "data": {"bytes": length, "blake2b": checksum},
    }
    try:
        text = json_text(content).encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            "a model file holds text that UTF-8 can express; a name, label or category of this "
            f"model is none: {error.object[error.start : error.end]!r}. Rename it."
        ) from None
    text += b" " * (-(PREFIX_BYTES + len(text)) % ALIGNMENT)
    if len(text) > MOST_HEADER_BYTES:
        raise ValueError(
            f"the names, categories and parameters of this model take {len(text)} bytes; a model "
            f"file holds up to {MOST_HEADER_BYTES}. Use joblib.dump, or fewer categories."
        )
    return MAGIC + len(text).to_bytes(8, "little") + digest(text) + text


def json_text(content):
    """JSON with a line for each field, and for each entry of a field."""
    return _block("{}", [f"{_dump(name)}: {_dump_field(content[name])}" for name in content])


def _dump_field(value):
    if isinstance(value, dict) and value:
        return _block("{}", [f"{_dump(name)}: {_dump(value[name])}" for name in value])
    if isinstance(value, list) and value:
        return _block("[]", map(_dump, value))
    return _dump(value)


def _block(brackets, lines):
    return brackets[0] + "\n" + ",\n".join(lines) + "\n" + brackets[1]


def _dump(value):
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _layout(arrays):
    """Each array's entry in the header, and the length of the data."""
    entries, end = {}, 0
    for name, array in arrays.items():
        offset = align(end)
        entries[name] = {"dtype": array.dtype.name, "shape": list(array.shape), "offset": offset}
        end = offset + array.nbytes
    return entries, end


def _chunks(arrays):
    """The data, piece by piece."""
    end = 0
    for array in arrays.values():
        yield bytes(align(end) - end)
        yield array.astype(array.dtype.newbyteorder("<"), copy=False).reshape(-1).view(np.uint8)
        end = align(end) + array.nbytes


def _sync_folder(folder):
    """Make the new name last through a power cut, where the system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
