"""Emoji go, everything else in Unicode stays."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtbert.text import EmojiRemover

FACE = "\U0001f600"
# Blocks in which Unicode has emoji that are emoji without a selector, as its code charts name them.
EMOJI_BLOCKS = [
    (0x2300, 0x23FF),  # Miscellaneous Technical
    (0x25A0, 0x25FF),  # Geometric Shapes
    (0x2600, 0x27BF),  # Miscellaneous Symbols, Dingbats
    (0x2B00, 0x2BFF),  # Miscellaneous Symbols and Arrows
    (0x1F000, 0x1F02F),  # Mahjong Tiles
    (0x1F0A0, 0x1F2FF),  # Playing Cards, Enclosed Alphanumerics and Ideographs
    (0x1F300, 0x1F6FF),  # pictographs, emoticons, transport
    (0x1F780, 0x1F7FF),  # Geometric Shapes Extended
    (0x1F900, 0x1F9FF),  # Supplemental Symbols and Pictographs
    (0x1FA70, 0x1FAFF),  # Symbols and Pictographs Extended-A
]


def remove(text):
    (text,) = EmojiRemover().transform([text])
    return text


def removed_characters():
    """Each character of Unicode alone on its line, so that none is part of a sequence."""
    characters = [chr(code) for code in range(sys.maxunicode + 1) if chr(code) not in "\n "]
    left = remove("\n".join(characters)).split("\n")
    return [c for c, line in zip(characters, left, strict=True) if line != c]


def test_only_symbols_in_emoji_blocks_go():
    """Over all of Unicode: no letter, mark, digit, punctuation, sign, control or selector goes."""
    removed = removed_characters()
    assert 1300 < len(removed) < 1600
    for character in removed:
        in_block = any(low <= ord(character) <= high for low, high in EMOJI_BLOCKS)
        assert in_block, hex(ord(character))
        # Cn: assigned by a version of Unicode that is newer than this Python's
        assert unicodedata.category(character) in ("So", "Sk", "Sm", "Cn"), hex(ord(character))


def test_every_emoticon_goes():
    assert not remove("".join(map(chr, range(0x1F600, 0x1F650)))).strip()


@pytest.mark.parametrize(
    "emoji",
    [
        "😀",
        "👍🏽",
        "☝🏻",
        "❤️",
        "❤\u200d🔥",
        "❤️\u200d🔥",
        "☎️",
        "Ⓜ️",
        "㊗️",
        "👩\u200d👩\u200d👧\u200d👦",
        "🏳️\u200d🌈",
        "🏃🏾\u200d♀️",
        "🏃\u200d♀",
        "🇩🇪",
        "🇩",
        "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "1️⃣",
        "#⃣",
        "🌡",
        "🏿",
        "⌚",
        "🫠",
        "😀😀👍🏽🇩🇪",
    ],
)
def test_an_emoji_becomes_one_space(emoji):
    assert remove(emoji) == " "
    assert remove(f"a{emoji}b") == "a b"


@pytest.mark.parametrize(
    "text",
    [
        "0123456789#*",
        "1\ufe0f 2 # *",
        "© ® ™ ❤ ☎ ↔ ‼ 〰 ㊗ Ⓜ ✔ ★ ☆ → € ♥",
        "⌚\ufe0e ❤\ufe0e",
        "©®x",
        "漢字 かな カナ 한글 العربية हिन्दी עברית ไทย",
        "ﷺ ﻻ 豈 ｱ Ａ 㐀 𠀀 𝒜",
        "e\u0301 葛\U000e0100 ︀ ᠠ\u180b x\ufe0f क\u094d\u200dष",
        ":-) ;) <3 ^_^ ( ͡° ͜ʖ ͡°)",
        "🀀 🂡 🄰",
    ],
)
def test_text_stays(text):
    assert remove(text) == text


def test_a_skin_tone_goes_from_what_takes_none():
    assert remove("©🏻") == "© "


ORDINARY = st.text(
    st.characters(
        exclude_categories=("So", "Sk", "Sm", "Cn", "Cs", "Co"), exclude_characters="\u20e3"
    ),
    max_size=20,
)


@given(ORDINARY)
def test_text_of_any_script_stays(text):
    if "\u200d" not in text and "\ufe0f" not in text:
        assert remove(text) == text


@given(ORDINARY.filter(lambda text: not set(text) & set("\u200d\ufe0f\ufe0e")))
def test_what_stands_around_an_emoji_stays(text):
    assert remove(f"{text}{FACE}{text}") == f"{text} {text}"


@given(st.text(st.characters(), max_size=30))
def test_removing_twice_changes_nothing_more_than_spaces(text):
    assert remove(remove(text)).split() == remove(text).split()
