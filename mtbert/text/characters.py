"""White space, Unicode form, invisible characters and case."""

from __future__ import annotations

import re
import unicodedata

# Controls other than white space, soft hyphens, word joiners, byte order marks, and halves of
# surrogate pairs, which no encoding can write. Joiners and marks of direction shape letters: kept.
INVISIBLE = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u2060\ufeff\ud800-\udfff]+")


def normalize_characters(message: str, lower: bool = False, form: str | None = "NFC") -> str:
    """Return a message in the usual characters; see :class:`mtbert.text.TextNormalizer`."""
    message = INVISIBLE.sub("", message).replace("\u200b", " ")  # a space of no width
    message = _take_form(message, form)
    if lower:  # which may leave the form, and has to see the capitals the form brings
        message = _take_form(message.lower(), form)
    return " ".join(message.split())


def _take_form(message, form):
    return message if form is None else unicodedata.normalize(form, message)
