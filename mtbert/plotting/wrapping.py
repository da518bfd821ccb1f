"""Words with values, wrapped to lines of a given width."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field

from mtbert.explanation import TextAttribution


@dataclass(frozen=True)
class Piece:
    """A stretch of text that is drawn with one colour.

    Attributes
    ----------
    text : str
    value : float
    width : float
        In the unit of the line.
    after_space : bool
        Whether there is a space before it, at which a line may end.
    """

    text: str
    value: float
    width: float
    after_space: bool


@dataclass
class Line:
    """Pieces side by side, or instead of them a note on what is left out."""

    chunk: int = 0
    pieces: list[tuple[float, Piece]] = field(default_factory=list)
    end: float = 0.0
    note: str = ""

    @property
    def weight(self) -> float:
        """Sum of the absolute values."""
        return sum(abs(piece.value) for _, piece in self.pieces)

    def add(self, units: list[Piece], space: float) -> None:
        """Put pieces that belong together at the end."""
        for piece in units:
            start = self.end + (space if piece.after_space and self.pieces else 0.0)
            self.pieces.append((start, piece))
            self.end = start + piece.width


def wrap(text: TextAttribution, width: float, measure: Callable[[str], float]) -> list[Line]:
    """Return the lines of a text; each chunk begins a new one.

    Parameters
    ----------
    text : TextAttribution
    width : float
        Of a line. Only a word that is longer by itself is cut.
    measure : callable
        From a str to its width, in the same unit.
    """
    space = measure("n n") - measure("nn")
    lines: list[Line] = []
    for chunk, unit in _units(text, width, measure):
        size = sum(piece.width for piece in unit)
        needs_line = not lines or lines[-1].chunk != chunk
        if needs_line or lines[-1].end + space + size > width:
            lines.append(Line(chunk))
        lines[-1].add(unit, space)
    return lines


def _units(text: TextAttribution, width, measure):
    """Words with what touches them, such as punctuation: (chunk, list of Piece)."""
    unit: list[Piece] = []
    chunk_before, end_before = 0, 0
    for (start, end), value, chunk in zip(text.spans, text.values, text.chunks, strict=True):
        after_space = start > end_before
        for part in _cut(text.text[start:end], width, measure):
            piece = Piece(part, float(value), measure(part), after_space)
            is_full = sum(p.width for p in unit) + piece.width > width
            if unit and (after_space or is_full or chunk != chunk_before):
                yield chunk_before, unit
                unit = []
            unit.append(piece)
            chunk_before, after_space = chunk, False
        end_before = max(end_before, end)
    if unit:
        yield chunk_before, unit


def _cut(word, width, measure):
    """A word in parts that fit a line."""
    while len(word) > 1 and measure(word) > width:
        n_fitting = len(longest_start(word, width, measure)) or 1
        yield word[:n_fitting]
        word = word[n_fitting:]
    yield word


def longest_start(text: str, width: float, measure: Callable[[str], float]) -> str:
    """Return as much of a text as fits a width."""
    starts = range(1, len(text) + 1)
    return text[: bisect_right(starts, width, key=lambda n: measure(text[:n]))]


def shorten(lines: list[Line], most: int) -> list[Line]:
    """Keep the lines of most weight, in order, and say where others were left out.

    Parameters
    ----------
    lines : list of Line
    most : int
        The most lines to keep, notes not counted.
    """
    if len(lines) <= most:
        return lines
    ranked = sorted(range(len(lines)), key=lambda number: -lines[number].weight)
    kept = set(ranked[:most])
    shown: list[Line] = []
    n_left_out = 0
    for number, line in enumerate(lines):
        if number in kept:
            shown += [*_note(n_left_out, line.chunk), line]
            n_left_out = 0
        else:
            n_left_out += len(line.pieces)
    return [*shown, *_note(n_left_out, lines[-1].chunk)]


def _note(n_words, chunk):
    return [Line(chunk, note=f"… {n_words} words …")] if n_words else []
