"""Markup goes, the text that a browser would show stays.

The standard library's html.parser is no help for text that is only perhaps HTML: it takes any
``<word`` for a tag, and what it does with one that never ends differs between patch releases of
Python. Here a tag is a tag only if HTML knows its name and its attributes look like attributes.
"""

import html
import re

# Elements that a browser shows on lines or in cells of their own: words do not run across them.
BLOCK = """
    address article aside blockquote body br button caption center col colgroup dd details dialog
    dir div dl dt fieldset figcaption figure footer form frame frameset h1 h2 h3 h4 h5 h6 head
    header hgroup hr html iframe input legend li link main map menu meta nav noframes noscript
    object ol optgroup option p pre search section select summary table tbody td template textarea
    tfoot th thead title tr ul video audio canvas script style svg
"""
INLINE = """
    a abbr acronym applet area b base basefont bdi bdo big blink cite code data datalist del dfn em
    embed font i img ins kbd label mark marquee meter nobr output param picture progress q rp rt
    ruby s samp slot small source span strike strong sub sup time track tt u var wbr
    (?:o|v|w|x|m|st1):[a-z]\\w*
"""  # the last is what word processors add to the HTML of a mail
# Attributes that may stand without a value; after any other word, "<b and c>" is no tag.
BOOLEAN = """
    allowfullscreen async autofocus autoplay checked compact controls default defer disabled hidden
    inert ismap itemscope loop multiple muted nohref noresize noshade novalidate nowrap open
    playsinline readonly required reversed selected alt href title class style id
    data-[\\w-]+ aria-[\\w-]+
"""


def _tag(names):
    """Regular expression of a start or end tag with one of the names.

    Possessive quantifiers (``++``, ``*+``) keep the search linear in the length of the text.
    """
    value = r"""(?:"[^"]*+"|'[^']*+'|[^\s<>"']++)"""
    attribute = rf"[^\s<>\"'/=]++\s*+=\s*+{value}"
    attributes = rf"(?:[\s/]*+{attribute}|[\s/]++(?:{'|'.join(BOOLEAN.split())})(?=[\s/>]))*+"
    return rf"</?(?:{'|'.join(names.split())})(?=[\s/>]){attributes}[\s/]*+>"


# As in a browser, a comment, script or style that never ends runs to the end of the text.
MARKUP = re.compile(
    rf"""
      (?P<inline> <!--(?:-?>|.*?(?:--!?>|\Z)) | {_tag(INLINE)} )
    | <(?P<hidden>script|style|svg)(?=[\s/>])[^<>]*+>.*?(?:</(?P=hidden)\s*+>|\Z)
    | <!doctype\b[^<>]*+> | <!\[[^<>]*+> | <\?[a-z][^<>]*+>
    | {_tag(BLOCK)}
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)


def remove_markup(message: str) -> str:
    """Return a message without HTML; see :class:`mtbert.text.HtmlNormalizer`."""
    if "<" not in message:
        return html.unescape(message)
    pieces, end = [], 0
    for markup in MARKUP.finditer(message):
        pieces.append(html.unescape(message[end : markup.start()]))
        pieces.append("" if markup.lastgroup == "inline" else " ")
        end = markup.end()
    return "".join(pieces) + html.unescape(message[end:])
