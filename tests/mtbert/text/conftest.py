"""Dialogues that look like those of a shop, and a tokenizer trained on them."""

import pytest

from mtbert.text import DialogueSplitter, Tokenizer

DIALOGUES = [
    "[bom] Hi, my parcel #4711 hasn't arrived 😡 [eom][bom]Hello Ana &amp; thank you for writing."
    "<br>I'll check it for you.[eom]\n[bom]ok[eom] [bom]It was sent on <b>Monday</b>.[eom]",
    "[bom]<p>Bonjour, le pull est trop étroit.</p><p>Échange possible ?</p>[eom][bom]Oui ![eom]",
    "Love this dress!! True to size, I'm 5'4\" and < 130 lbs. <3",
    None,
]


@pytest.fixture(scope="session")
def dialogues():
    return DIALOGUES


@pytest.fixture(scope="session")
def trained():
    """A small WordPiece tokenizer, as the fitted step."""
    messages = DialogueSplitter().transform(DIALOGUES)
    return Tokenizer(vocab_size=300, min_frequency=1, max_sen_len=None).fit(messages)
