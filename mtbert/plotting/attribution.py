"""One row explained: its text in coloured words, and bars for its columns."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from mtbert.explanation import Attribution
from mtbert.plotting.wrapping import Line, longest_start, shorten, wrap
from mtgbm.parameters import check_number
from mtgbm.plotting.canvas import load_pyplot

#: Inches: a new figure, the room around its content, the labels of bars, the key of colours.
WIDTH, MARGIN, LABELS, KEY = 8.0, 0.25, 2.7, 1.5
#: Points: letters, and the smallest that an axes of the user may shrink them to.
FONT_SIZE, SMALLEST = 10.0, 4.0
#: Sizes relative to letters: from line to line, a coloured box, a bar, room before a part.
LINE, BOX, BAR, PART = 1.62, 1.4, 0.62, 0.9
#: How far from the middle of the colour map the strongest colour is; black stays legible on it.
REACH = 0.3
#: Letters on a screen are a little wider than in print, where their width is measured.
LOOSENESS = 1.015
MOST_BARS = 15


def plot_attribution(
    attribution: Attribution, ax: Any = None, *, max_lines: int = 30, cmap: Any = "RdBu"
) -> Any:
    """Draw the words of a row in colours and its columns as bars.

    Blue words and bars speak for the target, red ones against it. All words have one scale, and so
    have all bars; the bar of a text is the sum of its words.

    Parameters
    ----------
    attribution : Attribution
        One of those that ``model.explain(X)`` gives.
    ax : matplotlib Axes, optional
        Where to draw, letters as small as they must be; by default those of a new figure, as large
        as the content needs.
    max_lines : int, default=30
        Lines of each text. Of longer ones those whose words matter most are shown.
    cmap : str or Colormap, default="RdBu"
        From against to for the target, the middle is 0.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ImportError
        If matplotlib is missing.
    ValueError
        If `max_lines` is below 1.
    """
    check_number("max_lines", max_lines, Integral, 1, None)
    pyplot = load_pyplot()
    if ax is None:
        page = _Page(attribution, WIDTH, FONT_SIZE, max_lines)
        figure = pyplot.figure(figsize=(WIDTH, page.height))
        ax = figure.add_axes((0, 0, 1, 1))
    else:
        page = _fit(attribution, ax, max_lines)
    _Artist(ax, page, pyplot.colormaps.get_cmap(cmap)).draw()
    return ax


def _fit(attribution, ax, max_lines):
    """The page of the largest letters that the user's axes have room for."""
    extent = ax.get_window_extent()
    width, height = (size / ax.figure.dpi for size in (extent.width, extent.height))
    for size in np.arange(FONT_SIZE, SMALLEST, -0.5):
        page = _Page(attribution, width, float(size), max_lines)
        if page.height <= height:
            break
    page.height = max(height, page.height)
    return page


def _measure(size: float):
    """A function from a text to its width in inches, in letters of so many points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=size)

    @functools.cache
    def width(text):
        points = text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]
        return LOOSENESS * points / 72

    return width


@dataclass(frozen=True)
class Bar:
    """What a column of the table, or a whole text, adds to the score."""

    label: str
    value: float


class _Page:
    """What is to be drawn, and how high it is, in inches."""

    def __init__(self, attribution: Attribution, width, size, max_lines):
        self.attribution = attribution
        self.width = width
        self.size = size
        self.measure = _measure(size)
        self.line = LINE * size / 72
        self.gap = PART * size / 72
        room = width - 2 * MARGIN - self.indent
        self.texts = {
            name: shorten(wrap(text, room, self.measure), max_lines)
            for name, text in attribution.texts.items()
        }
        self.bars = list(_bars(attribution))
        n_lines = 2 + sum(1 + max(1, len(lines)) for lines in self.texts.values())
        n_lines += 1 + len(self.bars)
        n_gaps = 1 + len(self.texts)
        self.height = 2 * MARGIN + n_lines * self.line + n_gaps * self.gap

    @property
    def indent(self) -> float:
        """Room for the numbers of chunks, if a text has several."""
        chunks = [text.chunks.max(initial=0) for text in self.attribution.texts.values()]
        return self.measure("00 ") if max(chunks, default=0) else 0.0

    @property
    def strongest(self) -> float:
        """Largest absolute value of a word."""
        values = [np.abs(text.values).max(initial=0) for text in self.attribution.texts.values()]
        return float(max(values, default=0)) or 1.0

    @property
    def largest(self) -> float:
        """Largest absolute value of a bar."""
        return max(abs(bar.value) for bar in self.bars) or 1.0

    def number(self, value) -> str:
        """A value with so many digits that the largest bar has two that count."""
        decimals = int(np.clip(1 - np.floor(np.log10(self.largest)), 2, 5))
        return f"{value:+z.{decimals}f}"

    def fit_label(self, label, width) -> str:
        """A label cut to a width."""
        if self.measure(label) <= width:
            return label
        return longest_start(label, width - self.measure("…"), self.measure) + "…"


def _bars(attribution: Attribution) -> Iterator[Bar]:
    """Texts in their order, then columns, the largest first."""
    for name, text in attribution.texts.items():
        yield Bar(name, text.total)
    ranked = sorted(attribution.columns.items(), key=lambda item: -abs(item[1]))
    for name, value in ranked[:MOST_BARS]:
        yield Bar(f"{name} = {_cell_text(attribution.cells[name])}", value)
    if others := ranked[MOST_BARS:]:
        yield Bar(f"{len(others)} other columns", sum(value for _, value in others))


def _cell_text(cell) -> str:
    if cell is None or cell != cell:  # NaN, of which numpy and pandas have several kinds
        return "missing"
    return f"{cell:.5g}" if isinstance(cell, (float, np.floating)) else str(cell)


class _Artist:
    """Draws a page from top to bottom; the axes' units are inches."""

    def __init__(self, ax, page: _Page, cmap):
        self.ax = ax
        self.page = page
        self.cmap = cmap
        self.top = page.height - MARGIN

    def draw(self):
        page = self.page
        self.ax.set(xlim=(0, page.width), ylim=(0, page.height))
        self.ax.axis("off")
        self._draw_header()
        for name, lines in page.texts.items():
            self._begin_part(name)
            self._draw_text(lines)
        self._begin_part("log odds added by")
        self._draw_bars()

    def _write(self, x, text, y=None, **style):
        """One line of letters, centred at a height; by default in the middle of the next line."""
        y = self.top - self.page.line / 2 if y is None else y
        style = {"va": "center_baseline", "fontsize": self.page.size, "color": "black"} | style
        return self.ax.text(x, y, text, parse_math=False, **style)

    def _begin_part(self, title):
        self.top -= self.page.gap
        title = self.page.fit_label(title, self.page.width - 2 * MARGIN)
        self._write(MARGIN, title, color="0.35", fontsize=0.85 * self.page.size)
        y = self.top - 0.95 * self.page.line
        self.ax.plot([MARGIN, self.page.width - MARGIN], [y, y], color="0.85", linewidth=0.6)
        self.top -= self.page.line

    def _draw_header(self):
        attribution, page = self.page.attribution, self.page
        title = f"probability of {attribution.target}: {attribution.probability:.2f}"
        room = page.width - 2 * MARGIN - self._key_width - 2 * page.size / 72
        self._write(MARGIN, page.fit_label(title, 0.85 * room), weight="bold")
        self._draw_key()
        self.top -= page.line
        parts = [("baseline", attribution.baseline_score)]
        parts += [(name, text.total) for name, text in attribution.texts.items()]
        if attribution.columns:
            parts.append(("columns", sum(attribution.columns.values())))
        sums = "  ".join(f"{page.number(value)} {name}" for name, value in parts)
        text = page.fit_label(f"log odds {page.number(attribution.score)} = {sums}", room / 0.85)
        self._write(MARGIN, text, color="0.35", fontsize=0.85 * page.size)
        self.top -= page.line

    @property
    def _key_width(self):
        return KEY * self.page.size / FONT_SIZE

    def _draw_key(self):
        """What the colours of words stand for, in the upper right corner."""
        page = self.page
        right = page.width - MARGIN
        left, y = right - self._key_width, self.top - page.line / 2
        edges = np.linspace(left, right, 62)
        height = 0.5 * page.line
        for x, end, share in zip(edges, edges[1:], np.linspace(-1, 1, 61), strict=False):
            self._fill(x, y, end - x, height, share)
        style = {"fontsize": 0.75 * page.size, "color": "0.35", "y": y - 0.75 * page.line}
        self._write(left, page.number(-page.strongest), ha="left", **style)
        self._write((left + right) / 2, "each word", ha="center", **style)
        self._write(right, page.number(page.strongest), ha="right", **style)

    def _draw_text(self, lines: list[Line]):
        if not lines:
            self._write(MARGIN, "no text", style="italic", color="0.5")
            self.top -= self.page.line
        is_numbered = any(line.chunk for line in lines)
        left = MARGIN + (self.page.indent if is_numbered else 0.0)
        shown = None
        for line in lines:
            if is_numbered and line.chunk != shown:
                size = 0.7 * self.page.size
                self._write(MARGIN, str(line.chunk + 1), color="0.5", fontsize=size)
            shown = line.chunk
            self._draw_line(left, line)
            self.top -= self.page.line

    def _draw_line(self, left, line: Line):
        if line.note:
            self._write(left, line.note, color="0.5", fontsize=0.85 * self.page.size)
        y = self.top - self.page.line / 2
        for x, piece in line.pieces:
            share = piece.value / self.page.strongest
            self._fill(left + x, y, piece.width, BOX * self.page.size / 72, share)
            self._write(left + x, piece.text)

    def _draw_bars(self):
        page = self.page
        labels = min(LABELS * page.size / FONT_SIZE, 0.38 * page.width)
        numbers = max(page.measure(page.number(bar.value)) for bar in page.bars) + 0.05
        largest = page.largest
        low = min(0.0, *(bar.value for bar in page.bars)) / largest
        high = max(0.0, *(bar.value for bar in page.bars)) / largest
        room = page.width - 2 * MARGIN - labels - 2 * numbers
        inch = room / ((high - low) or 1.0)
        zero = MARGIN + labels + numbers - low * inch
        bottom = self.top - len(page.bars) * page.line
        for bar in page.bars:
            y, length = self.top - page.line / 2, bar.value / largest * inch
            self._write(
                MARGIN + labels, page.fit_label(bar.label, labels), ha="right", color="0.15"
            )
            self._fill(zero, y, length, BAR * page.line, np.sign(bar.value))
            side = {"ha": "left"} if bar.value >= 0 else {"ha": "right"}
            beside = zero + length + (0.05 if bar.value >= 0 else -0.05)
            self._write(beside, page.number(bar.value), fontsize=0.85 * page.size, **side)
            self.top -= page.line
        ends = [self.top + len(page.bars) * page.line, bottom]
        self.ax.plot([zero, zero], ends, color="0.4", linewidth=0.6)

    def _fill(self, x, y, width, height, share):
        """A box around a height, white for a share of 0 and strongest for -1 (red) and 1 (blue)."""
        strongest = np.array(self.cmap(0.5 + REACH * np.sign(share))[:3])
        color = 1 - abs(share) * (1 - strongest)
        box = load_pyplot().Rectangle((x, y - height / 2), width, height, color=color, linewidth=0)
        self.ax.add_patch(box)
