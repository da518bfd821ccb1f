"""White space, Unicode form, invisible characters and case."""

import re
import unicodedata

from mtbert.text.rows import MessageTransformer
from mtgbm.parameters import choose

# Controls other than white space, soft hyphens, word joiners, byte order marks, and halves of
# surrogate pairs, which no encoding can write. Joiners and marks of direction shape letters: kept.
INVISIBLE = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u2060\ufeff\ud800-\udfff]+")
FORMS = dict.fromkeys(("NFC", "NFKC"))


class TextNormalizer(MessageTransformer):
    """Write the same text in the same characters.

    Invisible characters (controls, soft hyphens, word joiners, byte order marks, unpaired
    surrogates) go, the text takes one Unicode form, and white space of any kind and length becomes
    one space between words, none at the ends.

    Parameters
    ----------
    lower : bool, default=False
        Whether to write small letters. In front of a tokenizer leave it False: an uncased one does
        it by itself, and a cased one needs the capitals.
    form : {"NFC", "NFKC", None}, default="NFC"
        Unicode form. "NFKC" also replaces variants by the plain character: ﬁ by fi, ½ by 1⁄2,
        full-width letters by narrow ones. None leaves the form as it is.

    Examples
    --------
    >>> from mtbert.text import TextNormalizer
    >>> TextNormalizer(lower=True, form="NFKC").transform([" Ｇｏｏｄ\\u200b\\n ﬁt\\x00 "])
    ['good fit']
    """

    def __init__(self, lower=False, *, form="NFC"):
        self.lower = lower
        self.form = form

    def _check_parameters(self):
        if not isinstance(self.lower, bool):
            raise TypeError(f"lower must be True or False, got {self.lower!r}.")
        if self.form is not None:
            choose("form", self.form, FORMS)

    def _transform_message(self, message):
        message = INVISIBLE.sub("", message).replace("\u200b", " ")  # a space of no width
        message = self._take_form(message)
        if self.lower:  # which may leave the form, and has to see the capitals the form brings
            message = self._take_form(message.lower())
        return " ".join(message.split())

    def _take_form(self, message):
        return message if self.form is None else unicodedata.normalize(self.form, message)
