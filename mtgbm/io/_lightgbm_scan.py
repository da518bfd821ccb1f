"""Scan: LightGBM's text model as sections of named fields.

Nothing is converted here. The scanner knows lines only:

    tree                        the first line
    version=v4                  the header, name=text
    ...
    tree_sizes=612 598          bytes of each tree, from its first line to the next one's

    Tree=0                      a tree; an empty line ends its fields
    num_leaves=7
    ...

    end of trees
    ...                         what LightGBM's predictor does not read, see `Scan.block`
"""

import re
from dataclasses import dataclass
from itertools import pairwise

TREE, END = "Tree=", "end of trees"
PARAMETERS, END_OF_PARAMETERS = "parameters:", "end of parameters"
PARAMETER = re.compile(r"\[\w+: .*\]")
#: Lines of a tree that LightGBM reads; it passes over more without a word.
MOST_FIELDS = 22


class LightGBMFormatError(ValueError):
    """A text model that does not hold together; the message names the line and the field."""


@dataclass(frozen=True)
class Field:
    """One ``name=text`` and the number of its line, from 1."""

    name: str
    text: str
    line: int

    def error(self, problem):
        """The error that this field is at fault for."""
        return LightGBMFormatError(f"line {self.line}, field {self.name!r}: {problem}")


@dataclass(frozen=True)
class Section:
    """The header or a tree.

    Attributes
    ----------
    name : str
        As errors call it.
    line : int
        Number of its first line.
    n_bytes : int
        From its first line to the first of the next section.
    fields : dict of Field
    """

    name: str
    line: int
    n_bytes: int
    fields: dict

    def __getitem__(self, name):
        """The field of this name; an error if there is none."""
        if name not in self.fields:
            raise LightGBMFormatError(
                f"line {self.line}: {self.name} has no field {name!r}; the file is incomplete."
            )
        return self.fields[name]


@dataclass(frozen=True)
class Scan:
    """A scanned file.

    Attributes
    ----------
    header : Section
    trees : list of Section
    trailer : list of (int, str)
        Numbers and texts of the lines after the trees.
    """

    header: Section
    trees: list
    trailer: list

    def line_after(self, prefix):
        """The rest of the one trailing line that starts like this as a Field, None without one."""
        found = [(number, text) for number, text in self.trailer if text.startswith(prefix)]
        if len(found) > 1:
            raise LightGBMFormatError(f"line {found[1][0]}: a second line {prefix!r}; keep one.")
        return Field(prefix, found[0][1][len(prefix) :], found[0][0]) if found else None

    def block(self, start, end):
        """The trailing lines from `start` to `end` as a Section, None without such a start."""
        texts = [text for _, text in self.trailer]
        if start not in texts:
            return None
        first = texts.index(start)
        if end not in texts[first:]:
            raise LightGBMFormatError(
                f"line {self.trailer[-1][0]}: the file ends before {end!r}; it is truncated, copy "
                "it again."
            )
        line = self.trailer[first][0]
        return _section(f"the section {start!r}", line, texts[first : texts.index(end, first)], 0)


def scan(content):
    """Divide the bytes of a text model into sections.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    Scan

    Raises
    ------
    LightGBMFormatError
        If it is empty, no text model, not UTF-8, truncated, or has a line that is no field, or a
        field twice.
    """
    raw = content.split(b"\n")
    lines = _decode(raw)
    if END not in lines:
        raise LightGBMFormatError(
            f"line {len(lines)}: the file ends before {END!r}; it is truncated, copy it again."
        )
    end = lines.index(END)
    bounds = [0, *(number for number in range(end) if lines[number].startswith(TREE)), end]
    header, *trees = [
        _section(
            f"tree {index - 1}" if index else "the header",
            first + 1,
            lines[first:last],
            sum(len(line) + 1 for line in raw[first:last]),
        )
        for index, (first, last) in enumerate(pairwise(bounds))
    ]
    for index, tree in enumerate(trees):
        _check_tree(index, tree, lines[bounds[index + 1]], lines[bounds[index + 2] - 1])
    trailer = list(enumerate(lines[end + 1 :], end + 2))
    _check_parameters(trailer)
    return Scan(header, trees, trailer)


def _decode(raw):
    """The lines as text, without the line ends of Windows."""
    if not any(map(bytes.strip, raw)):
        raise LightGBMFormatError("the model is empty; expected a LightGBM text model.")
    if raw[0].rstrip(b"\r") != b"tree":
        raise LightGBMFormatError(
            "line 1: expected 'tree', with which a LightGBM text model starts, got "
            f"{raw[0][:40]!r}; binary and JSON models are not read."
        )
    lines = []
    for number, line in enumerate(raw, 1):
        try:
            lines.append(line.decode().rstrip("\r"))
        except UnicodeDecodeError as error:
            raise LightGBMFormatError(
                f"line {number}: expected text in UTF-8, got the byte 0x{line[error.start]:02x}."
            ) from None
    return lines


def _check_tree(index, tree, first_line, last_line):
    """Number and end of a tree: without the empty line LightGBM would read on in the next one."""
    if first_line != f"{TREE}{index}":
        raise LightGBMFormatError(
            f"line {tree.line}: expected '{TREE}{index}', got {first_line[:40]!r}."
        )
    if len(tree.fields) > MOST_FIELDS or last_line:
        raise LightGBMFormatError(
            f"line {tree.line}: expected {tree.name} to have up to {MOST_FIELDS} fields and then "
            f"an empty line, got {len(tree.fields)} fields."
        )


def _check_parameters(trailer):
    """The training parameters are not kept, but LightGBM ends the process over bad ones."""
    inside = False
    for number, text in trailer:
        if inside and text == END_OF_PARAMETERS:
            return
        if inside and text and not PARAMETER.fullmatch(text):
            raise LightGBMFormatError(
                f"line {number}: expected a parameter, '[name: value]', or {END_OF_PARAMETERS!r}, "
                f"got {text[:40]!r}."
            )
        inside = inside or text == PARAMETERS
    if inside:
        raise LightGBMFormatError(
            f"line {trailer[-1][0]}: the file ends before {END_OF_PARAMETERS!r}; it is truncated, "
            "copy it again."
        )


def _section(name, line, lines, n_bytes):
    """The fields below a first line; only the header may have empty lines and flags without '='."""
    is_header = name == "the header"
    fields, ended = {}, False
    for number, text in enumerate(lines[1:], line + 1):
        ended = ended or not text
        if not text:
            continue
        key, equals, value = text.partition("=")
        if not is_header and (ended or not equals):
            raise LightGBMFormatError(
                f"line {number}: expected a field of {name} or an empty line, got {text[:40]!r}."
            )
        if key in fields:
            raise LightGBMFormatError(f"line {number}: {name} has the field {key[:40]!r} twice.")
        fields[key] = Field(key, value, number)
    return Section(name, line, n_bytes, fields)
