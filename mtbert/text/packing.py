"""Messages are packed into chunks of at most so many tokens, in order.

The row is one text, its messages with a space between them, and one list of tokens. A chunk is a
stretch of that text. All that is needed of a token is where in the text it starts and ends.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from mtbert.text.rows import Row, messages_of

TRUNCATE = {"newest": slice, "oldest": lambda most: slice(-most, None)}


class Stretch(NamedTuple):
    """Half-open ranges of the same stretch of text, in tokens and in characters."""

    first_token: int
    end_token: int
    start: int
    end: int


def pack_rows(
    rows: Sequence[Row],
    find_spans: Callable[[list[str]], Iterable],
    room: int,
    max_total_chunks: int | None = None,
    truncate: str = "newest",
) -> list[list[str]]:
    """Return the chunks of each row; see :class:`mtbert.text.DialogueChunker`.

    Parameters
    ----------
    rows : list of length n
        As :func:`mtbert.text.rows.read_rows` gives them.
    find_spans : callable
        Takes a list of texts and gives for each the characters of its tokens, (start, end).
    room : int
        Tokens that a chunk can hold, at least 1.
    max_total_chunks : int or None
    truncate : {"newest", "oldest"}

    Returns
    -------
    list of length n
        Of lists of chunks, one or more.
    """
    messages_by_row = [[text for text in messages_of(row) if text.strip()] for row in rows]
    joined = [" ".join(messages) for messages in messages_by_row]
    kept = slice(None) if max_total_chunks is None else TRUNCATE[truncate](max_total_chunks)
    return [
        pack(messages, text, spans, room)[kept] or [""]
        for messages, text, spans in zip(messages_by_row, joined, find_spans(joined), strict=True)
    ]


def pack(
    messages: Sequence[str], text: str, spans: Sequence[tuple[int, int]], room: int
) -> list[str]:
    """Return the chunks of a row: as few as keep the order of messages and their pieces.

    A message is cut only if it is longer than a chunk; its last piece may share a chunk with the
    messages that follow.

    Parameters
    ----------
    messages : list of str
    text : str
        ``" ".join(messages)``.
    spans : list of (start, end)
        The characters of each token of `text`, in order.
    room : int
        Tokens that a chunk can hold, at least 1.

    Returns
    -------
    chunks : list of str
        None of them is blank.
    """
    if len(spans) <= room:
        return [text] if text.strip() else []
    pieces = [
        piece
        for message in _find_messages(messages, [end for _, end in spans])
        for piece in _cut(message, text, spans, room)
    ]
    chunks = (text[chunk.start : chunk.end].strip() for chunk in _join(pieces, room))
    return [chunk for chunk in chunks if chunk]


def _find_messages(messages, token_ends) -> Iterator[Stretch]:
    # A token may begin with the space before its word, so it is its end that tells its message.
    start = 0
    for message in messages:
        end = start + len(message)
        yield Stretch(bisect_right(token_ends, start), bisect_right(token_ends, end), start, end)
        start = end + 1


def _cut(message: Stretch, text, spans, room) -> Iterator[Stretch]:
    first, end_token, start, end = message
    while end_token - first > room:
        cut = _find_cut(text, spans, first, end_token, room)
        if cut == end_token:
            break
        yield Stretch(first, cut, start, spans[cut][0])
        first, start = cut, spans[cut][0]
    yield Stretch(first, end_token, start, end)


def _find_cut(text, spans, first, end_token, room):
    """Token before which to cut: the last that begins a word, else the last that can be cut at."""
    candidates = range(first + room, first, -1)
    for cut in candidates:
        if _begins_word(text, spans, cut):
            return cut
    for cut in candidates:
        if _begins_character(spans, cut):
            return cut
    # A single character of more tokens than there is room for stays whole.
    later = range(first + room + 1, end_token)
    return next((cut for cut in later if _begins_character(spans, cut)), end_token)


def _begins_word(text, spans, token):
    start = spans[token][0]
    space_before = text[start - 1].isspace() or text[start : start + 1].isspace()
    return space_before and _begins_character(spans, token)


def _begins_character(spans, token):
    """Bytes of one character can be tokens of their own, all with the span of the character."""
    return spans[token][0] >= spans[token - 1][1]


def _join(pieces, room) -> list[Stretch]:
    chunks: list[Stretch] = []
    for piece in pieces:
        if chunks and piece.end_token - chunks[-1].first_token <= room:
            chunks[-1] = chunks[-1]._replace(end_token=piece.end_token, end=piece.end)
        else:
            chunks.append(piece)
    return chunks


def read_spans(spans) -> list[tuple[int, int]]:
    """Return the result of a user's tokenizer as a list of ascending (start, end).

    Raises
    ------
    TypeError
        If it holds something other than pairs of integers.
    ValueError
        If a token starts or ends before the one in front of it does.
    """
    try:
        pairs = [(int(start), int(end)) for start, end in spans]
    except (TypeError, ValueError) as error:
        raise TypeError(
            "tokenizer(text) must return a (start, end) pair of character positions for each "
            f"token, got {spans!r:.80}."
        ) from error
    starts, ends = [start for start, _ in pairs], [end for _, end in pairs]
    if starts != sorted(starts) or ends != sorted(ends):
        raise ValueError(f"tokenizer(text) must return tokens in order, got {pairs!r:.80}.")
    return pairs
