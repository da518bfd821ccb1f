"""Splitting, HTML and normalising."""

import unicodedata
from html import escape
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mtbert.text import DialogueSplitter, HtmlNormalizer, TextNormalizer

ANY_TEXT = st.text(st.characters(), max_size=40)  # unpaired surrogates included


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("[bom]a[eom][bom] b [eom]", ["a", "b"]),
        ("no marks", ["no marks"]),
        ("before [bom]a[eom] between [bom]b[eom] after", ["before", "a", "between", "b", "after"]),
        ("[bom]a[bom]b[eom]c[eom]", ["a", "b", "c"]),
        ("[bom]never ends", ["never ends"]),
        ("never begins[eom]", ["never begins"]),
        ("[eom]a[bom]", ["a"]),
        ("[bom] [eom]", [""]),
        ("", [""]),
        ("[bom]two\nlines[eom]", ["two\nlines"]),
        ("[BOM] [b] om]", ["[BOM] [b] om]"]),
    ],
)
def test_dialogues_are_cut_at_every_mark(text, messages):
    assert DialogueSplitter().transform([text]) == [messages]


@given(st.lists(st.sampled_from(["[bom]", "[eom]", "a", "bc", " ", "[", "om]"]), max_size=12))
def test_splitting_loses_nothing_but_marks_and_space(parts):
    text = "".join(parts)
    (messages,) = DialogueSplitter().transform([text])
    unmarked = text.replace("[bom]", " ").replace("[eom]", " ")
    assert "".join(messages).replace(" ", "") == unmarked.replace(" ", "")
    assert DialogueSplitter().transform([messages]) == [messages]


def test_short_messages_are_dropped():
    splitter = DialogueSplitter(min_length=3)
    assert splitter.transform(["[bom]ok[eom][bom] yes [eom]", "[bom]ok[eom]"]) == [["yes"], [""]]


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>a</p><p>b</p>", " a  b "),
        ("a<br>b<BR/>c<br />d", "a b c d"),
        ("<td nowrap>a</td>", " a "),
        ("un<b>believ</b>able", "unbelievable"),
        ('<a href="x>y" title=\'"\' data-id=7>a</a>', "a"),
        ("<a href=http://x.com/?a=1&b=2 target=_blank>a</a>", "a"),
        ("<img src='a.png' alt>a", "a"),
        ("<o:p>a</o:p>", "a"),
        ("a<!-- <b>x</b> -->b<!-->c", "abc"),
        ("a<!-- never ends", "a"),
        ("<script src=x>if (a < b) {}</script>a", " a"),
        ("a<STYLE>b {}</style >c", "a c"),
        ("a<svg><path d='M0'/></svg>b", "a b"),
        ("a<script>never ends", "a "),
        ("<!DOCTYPE html><html>a</html>", "  a "),
        ("<?xml version='1.0'?>a<![if !mso]>b<![endif]>", " a b "),
        ("R&amp;D&nbsp;&#8364;&#x20AC; &hearts;", "R&D\xa0€€ ♥"),
        ("&lt;b&gt; &amp;lt;", "<b> &lt;"),
        ("&am<b></b>p;", "&amp;"),
    ],
)
def test_markup_goes(html, text):
    assert HtmlNormalizer().transform([html]) == [text]


@pytest.mark.parametrize(
    "text",
    [
        "a < b",
        "a<b",
        "a<b and c>d",
        "I <3 it </3",
        "1 <2 & 3>2",
        "x<y and y>z",
        "a <b and c> d",
        "if a <b then",
        "<me@example.com>",
        "List<String>",
        "<http://example.com/a>",
        "<- -> <= =>",
        "<>",
        "AT&T, R & D, &, &;",
        "<",
        "",
    ],
)
def test_text_that_is_not_html_stays(text):
    assert HtmlNormalizer().transform([text]) == [text]


def test_a_tag_that_is_none_does_not_hide_the_next():
    assert HtmlNormalizer().transform(["a <b and 5 <i>x</i>"]) == ["a <b and 5 x"]


class ShownText(HTMLParser):
    """The standard library's reading of a document."""

    def __init__(self, document):
        super().__init__(convert_charrefs=True)
        self.text, self.hidden = "", False
        self.feed(document)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.hidden = tag in ("script", "style")

    def handle_endtag(self, tag):
        self.hidden = False

    def handle_data(self, data):
        self.text += "" if self.hidden else data


WORDS = st.text("ab<>&\"' 3é", max_size=6).map(escape)
ATTRIBUTES = st.sampled_from(["", " class='a b'", ' href="x>y"', " id=z", " hidden", " a=1 b='2'"])
NODES = st.recursive(
    st.one_of(WORDS, st.sampled_from(["<br>", "<!-- x -->", "<script>a<b</script>", "<hr />"])),
    lambda inner: st.builds(
        lambda name, attributes, parts: f"<{name}{attributes}>{''.join(parts)}</{name}>",
        st.sampled_from(["b", "p", "DIV", "span", "td"]),
        ATTRIBUTES,
        st.lists(inner, max_size=3),
    ),
    max_leaves=8,
)


@given(NODES)
def test_well_formed_html_is_read_as_html_parser_reads_it(document):
    (text,) = HtmlNormalizer().transform([document])
    assert text.replace(" ", "") == ShownText(document).text.replace(" ", "")


@given(ANY_TEXT)
def test_text_without_tags_and_references_stays(text):
    text = text.replace("<", "").replace("&", "")
    assert HtmlNormalizer().transform([text]) == [text]


@pytest.mark.parametrize(
    "part", ["<a ", "<b x=", "<!--", "<script>", "<script ", '<a b="', "<p a='b'"]
)
def test_damaged_markup_takes_no_more_than_linear_time(part):
    """100,000 repetitions would take hours if each looked to the end of the text."""
    (text,) = HtmlNormalizer().transform([part * 100_000])
    assert text.strip() in ("", (part * 100_000).strip())


@pytest.mark.parametrize(
    ("parameters", "text", "expected"),
    [
        ({}, " a\t\r\n b\xa0\u3000c\u2028d ", "a b c d"),
        ({}, "a\x00b\x7f\x9f\ufeff", "ab"),
        ({}, "un\xadbe\u2060liev\u200bable", "unbeliev able"),
        ({}, "\ud83dx", "x"),
        ({}, "e\u0301É", "éÉ"),
        ({"form": None}, "e\u0301", "e\u0301"),
        ({"form": "NFKC"}, "ｆｕｌｌ ﬁt ½ ™", "full fit 1⁄2 TM"),
        ({"lower": True}, "ÀB ΣΣ", "àb σς"),
        ({"lower": True, "form": "NFKC"}, "™ 𝐀", "tm a"),
        ({}, "می\u200cخواهم क\u094d\u200dष \u200f", "می\u200cخواهم क\u094d\u200dष \u200f"),
    ],
)
def test_text_is_normalised(parameters, text, expected):
    assert TextNormalizer(**parameters).transform([text]) == [expected]


@given(ANY_TEXT, st.booleans(), st.sampled_from(["NFC", "NFKC", None]))
@example("İ", True, "NFC")
@settings(max_examples=300)
def test_normalising_twice_changes_nothing_more(text, lower, form):
    step = TextNormalizer(lower, form=form)
    once = step.transform([text])
    assert step.transform(once) == once
    assert "  " not in once[0]
    assert once[0] == once[0].strip()
    assert not any(unicodedata.category(c) in ("Cc", "Cs") for c in once[0])
    if form is not None:
        assert unicodedata.is_normalized(form, once[0])


@pytest.mark.parametrize(
    ("step", "error", "message"),
    [
        (DialogueSplitter(0), ValueError, "min_length must be at least 1, got 0"),
        (DialogueSplitter("2"), TypeError, "min_length must be an integer"),
        (TextNormalizer("yes"), TypeError, "lower must be True or False, got 'yes'"),
        (TextNormalizer(form="NFKCC"), ValueError, "unknown form 'NFKCC'; did you mean 'NFKC'"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "transform"])
def test_bad_parameters(step, method, error, message):
    with pytest.raises(error, match=message):
        getattr(step, method)(["a"])
