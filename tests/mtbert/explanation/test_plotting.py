"""Figures of attributions and ablations: every word and bar is where it belongs."""

import sys

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgba
from numpy.testing import assert_allclose

from mtbert.explanation import Attribution, ModalityAblation, TextAttribution
from mtbert.plotting import plot_attribution, plot_modality_ablation
from mtbert.plotting.wrapping import shorten, wrap

matplotlib.use("Agg")
from matplotlib import pyplot as plt


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def text_of(text, values=None, chunks=None):
    """Words at white space; each a piece of the text."""
    ends = np.cumsum([len(word) + 1 for word in text.split()]) - 1
    spans = np.array([[e - len(w), e] for w, e in zip(text.split(), ends, strict=True)], dtype=int)
    spans = spans.reshape(-1, 2)
    values = np.linspace(-1, 1, len(spans)) if values is None else np.array(values, dtype=float)
    chunks = np.zeros(len(spans), dtype=int) if chunks is None else np.array(chunks)
    return TextAttribution(text, spans, values, chunks)


def attribution_of(texts, columns=None, score=1.0):
    columns = {"price": 0.5, "shop": -0.25} if columns is None else columns
    return Attribution("kept", score, 0.1, texts, columns, dict.fromkeys(columns, "x"))


def drawn(ax):
    return [text.get_text() for text in ax.texts]


def test_all_that_is_said():
    texts = {"title": text_of("a warm coat"), "review": text_of("")}
    attribution = Attribution(
        "kept", 0.0, -0.25, texts, {"price": 0.5, "shop": -0.25}, {"price": 20.0, "shop": np.nan}
    )
    ax = plot_attribution(attribution)
    written = drawn(ax)
    for expected in ("probability of kept: 0.50", "a", "warm", "coat", "price = 20", "+0.50"):
        assert expected in written
    assert "shop = missing" in written
    assert written.count("no text") == 1
    assert "log odds +0.00 = -0.25 baseline  +0.00 title  +0.00 review  +0.25 columns" in written
    (price,) = [text for text in ax.texts if text.get_text() == "price = 20"]
    (shop,) = [text for text in ax.texts if text.get_text() == "shop = missing"]
    assert price.get_position()[1] > shop.get_position()[1]


def box_behind(ax, word):
    (text,) = [text for text in ax.texts if text.get_text() == word]
    x, y = text.get_position()
    boxes = [box for box in ax.patches if box.get_x() == x and abs(box.get_y() - y) < 0.3]
    (box,) = [box for box in boxes if box.get_y() < y < box.get_y() + box.get_height()]
    return box


def test_colours_have_the_sign_and_size_of_the_words():
    ax = plot_attribution(attribution_of({"t": text_of("one two six ten", [1, 0.5, 0, -1])}))
    one, two, six, ten = (
        box_behind(ax, word).get_facecolor() for word in ["one", "two", "six", "ten"]
    )
    assert one[2] > two[2] - 0.2 > 0.3  # blue
    assert one[0] < two[0] < six[0]
    assert ten[0] > ten[2]  # red
    assert min(six[:3]) > 0.95
    other = plot_attribution(
        attribution_of({"t": text_of("one two six ten", [1, 0.5, 0, -1])}), cmap="PiYG"
    )
    green = box_behind(other, "one").get_facecolor()
    assert green[1] > max(green[0], green[2])


def test_bars_have_the_length_of_the_columns():
    ax = plot_attribution(
        attribution_of({"t": text_of("so", [0.75])}, {"price": 0.5, "shop": -1.0})
    )
    lengths = []
    for label in ("t", "shop = x", "price = x"):
        (text,) = [
            text for text in ax.texts if text.get_text() == label and text.get_ha() == "right"
        ]
        y = text.get_position()[1]
        (bar,) = [box for box in ax.patches if abs(box.get_y() + box.get_height() / 2 - y) < 1e-9]
        lengths.append(bar.get_width())
    assert_allclose(np.array(lengths) / lengths[0], [1, -1 / 0.75, 0.5 / 0.75])


def test_small_numbers_have_digits_and_zero_no_minus():
    columns = {"price": 0.0123, "shop": -1e-9}
    written = drawn(plot_attribution(attribution_of({"t": text_of("")}, columns, score=0.1123)))
    assert "+0.012" in written
    assert written.count("+0.000") == 2
    assert "log odds +0.112 = +0.100 baseline  +0.000 t  +0.012 columns" in written


def test_many_columns_are_summed_up():
    columns = {f"c{number}": 1.0 + number for number in range(20)}
    ax = plot_attribution(attribution_of({"t": text_of("a")}, columns))
    written = drawn(ax)
    assert "5 other columns" in written
    assert "+15.00" in written  # 1 + 2 + 3 + 4 + 5
    assert "c19 = x" in written
    assert "c4 = x" not in written


def test_nothing_outside_the_figure():
    """Long words, labels and titles are wrapped or cut."""
    texts = {
        "review": text_of("word " * 300 + "x" * 500),
        "title " * 30: text_of("$unpaired _{math} \\frac"),
    }
    ax = plot_attribution(attribution_of(texts, {"c" * 300: 1.0, "d": -1.0, "$e_": 0.5}))
    figure = ax.figure
    figure.canvas.draw()
    for text in ax.texts:
        box = text.get_window_extent().transformed(figure.transFigure.inverted())
        assert min(box.x0, box.y0) > 0, text.get_text()
        assert max(box.x1, box.y1) < 1, text.get_text()


@pytest.mark.parametrize("size", [(5, 4), (9, 3)])
def test_in_axes_of_the_user(size):
    figure, (left, right) = plt.subplots(1, 2, figsize=(2 * size[0], size[1]))
    attribution = attribution_of({"review": text_of("a rather long text " * 12)})
    assert plot_attribution(attribution, right) is right
    assert not left.texts
    figure.canvas.draw()
    frame = right.get_window_extent()
    for text in right.texts:
        box = text.get_window_extent()
        assert frame.x0 - 1 < box.x0
        assert box.x1 < frame.x1 + 1
        assert frame.y0 - 1 < box.y0
    assert max(text.get_fontsize() for text in right.texts) <= 10


def test_chunks_begin_lines_and_are_numbered():
    text = text_of("a b c d", chunks=[0, 0, 1, 1])
    ax = plot_attribution(attribution_of({"review": text, "title": text_of("one chunk")}))
    assert drawn(ax).count("1") == 1
    heights = {t.get_text(): t.get_position()[1] for t in ax.texts if t.get_text() in "abcd12"}
    assert heights["a"] == heights["b"] > heights["c"] == heights["d"]
    assert heights["1"] == heights["a"]
    assert heights["2"] == heights["c"]


WORDS = st.lists(st.text("abc", min_size=1, max_size=12), max_size=40)


@given(words=WORDS, width=st.integers(3, 30), cuts=st.integers(1, 40))
def test_wrapped_lines(words, width, cuts):
    """All letters in order, none beyond the width, none over another, chunks apart."""
    text = text_of(" ".join(words), chunks=np.arange(len(words)) // cuts)
    lines = wrap(text, width, len)
    pieces = [piece for line in lines for _, piece in line.pieces]
    assert "".join(piece.text for piece in pieces) == "".join(words)
    assert sum(piece.text in words for piece in pieces) >= sum(len(word) <= width for word in words)
    for line in lines:
        assert line.end <= width
        ends = [start + piece.width for start, piece in line.pieces]
        starts = [start for start, _ in line.pieces]
        assert all(start > end for start, end in zip(starts[1:], ends, strict=False))
    assert len({line.chunk for line in lines}) == len(set(text.chunks.tolist()))


def test_punctuation_stays_with_its_word():
    spans = np.array([[0, 4], [4, 5], [6, 9], [9, 10]])
    text = TextAttribution("nice, yes!", spans, np.ones(4), np.zeros(4, dtype=int))
    lines = wrap(text, 6, len)
    assert [[piece.text for _, piece in line.pieces] for line in lines] == [
        ["nice", ","],
        ["yes", "!"],
    ]
    assert [start for start, _ in lines[0].pieces] == [0, 4]


def test_of_long_texts_the_lines_that_matter():
    values = np.zeros(60)
    values[[20, 41]] = [5, -5]
    lines = wrap(text_of("w " * 60, values), 5, len)  # three words a line
    shown = shorten(lines, 2)
    assert [line.note for line in shown] == ["… 18 words …", "", "… 18 words …", "", "… 18 words …"]
    assert shown[1] is lines[6]
    assert shown[3] is lines[13]
    assert shorten(lines, 20) is lines
    ax = plot_attribution(
        attribution_of({"t": text_of("word " * 900, np.arange(900))}), max_lines=4
    )
    assert len([text for text in drawn(ax) if text == "word"]) < 100
    with pytest.raises(ValueError, match="max_lines must be at least 1, got 0"):
        plot_attribution(attribution_of({"t": text_of("a")}), max_lines=0)


MODALITIES = {"review": ["review"], "numeric": ["price", "age"]}


def ablation_of(name="neg_logloss", n_repeats=1):
    importances = np.array([[0.5], [-0.1]]) + np.linspace(-0.1, 0.1, n_repeats)
    return ModalityAblation(name, -0.25, MODALITIES, importances)


def test_bars_of_an_ablation():
    ax = plot_modality_ablation(ablation_of())
    assert_allclose([bar.get_width() for bar in ax.patches], [0.4, -0.2])
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "without review",
        "without numeric",
    ]
    assert ax.yaxis_inverted()
    assert ax.get_xlabel() == "drop of neg_logloss, which is -0.250 with all columns"
    assert not ax.collections
    assert ax.get_legend() is None


def test_repeats_have_their_spread():
    ax = plot_modality_ablation(ablation_of(n_repeats=3))
    (spread,) = ax.collections
    half = ablation_of(n_repeats=3).importances_std[0]
    assert_allclose(spread.get_segments()[0][:, 0], [0.5 - half, 0.5 + half])


def test_several_scores_side_by_side():
    _, ax = plt.subplots()
    results = {name: ablation_of(name) for name in ("said", "sold")}
    assert plot_modality_ablation(results, ax, alpha=0.5) is ax
    first, second = ax.containers
    assert_allclose([bar.get_width() for bar in second], [0.4, -0.2])
    tops = [[bar.get_y() + bar.get_height() for bar in bars] for bars in (first, second)]
    assert_allclose(tops[0], [bar.get_y() for bar in second])
    assert second[0].get_facecolor()[3] == 0.5
    assert first[0].get_facecolor() != to_rgba("white")
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["said (-0.250 with all)", "sold (-0.250 with all)"]


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    for draw, what in (
        (plot_attribution, attribution_of({"t": text_of("a")})),
        (plot_modality_ablation, ablation_of()),
    ):
        with pytest.raises(ImportError, match=r"pip install mtgbm\[plot\]"):
            draw(what)
