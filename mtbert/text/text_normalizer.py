"""White space, Unicode form, invisible characters and case, as a step."""

from mtbert.text.characters import normalize_characters
from mtbert.text.row_transformer import MessageTransformer
from mtgbm.parameters import choose

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
        return normalize_characters(message, self.lower, self.form)
