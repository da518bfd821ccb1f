"""Markup goes, the text that a browser would show stays."""

from mtbert.text.markup import remove_markup
from mtbert.text.row_transformer import MessageTransformer


class HtmlNormalizer(MessageTransformer):
    """Take the markup out of HTML; text that is not HTML stays as it is.

    Tags and comments go, and so do scripts, styles and SVG drawings with what is in them. A block
    element (``<p>``, ``<br>``, ``<td>``, ...) leaves one space, an inline element (``<b>``,
    ``<a>``, ...) nothing. Character references become characters: ``&amp;`` is &.

    A tag must have a name that HTML knows, attributes that look like attributes, and an end.
    ``a < b``, ``<3``, ``List<String>`` and ``<me@example.com>`` are text and stay.

    Notes
    -----
    White space is not collapsed; that is the work of :class:`TextNormalizer`.

    Examples
    --------
    >>> from mtbert.text import HtmlNormalizer
    >>> HtmlNormalizer().transform(["Size&nbsp;<b>M</b><br>I <3 it, 5 < 6"])
    ['Size\\xa0M I <3 it, 5 < 6']
    """

    def _transform_message(self, message):
        return remove_markup(message)
