"""Where one message of a dialogue ends and the next begins."""

from __future__ import annotations

import re

from mtbert.text.rows import Row, messages_of

MARKS = re.compile(r"\[bom\]|\[eom\]")


def split_messages(row: Row, min_length: int = 1) -> list[str]:
    """Return the messages of a row; see :class:`mtbert.text.DialogueSplitter`."""
    parts = [part.strip() for message in messages_of(row) for part in MARKS.split(message)]
    return [part for part in parts if len(part) >= min_length] or [""]
