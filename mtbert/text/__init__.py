"""Text steps: cleaning, splitting into messages, packing into chunks, tokenising.

What a step does to a row is a function of its own module without scikit-learn, such as
:mod:`mtbert.text.markup`; the transformers wrap these functions.
"""

from typing import TYPE_CHECKING

from mtbert.lazy_names import import_on_demand

if TYPE_CHECKING:
    from mtbert.text.chunker import DialogueChunker
    from mtbert.text.emoji_remover import EmojiRemover
    from mtbert.text.html_normalizer import HtmlNormalizer
    from mtbert.text.padding import pad_chunks
    from mtbert.text.pipeline import NAMED_STEPS, make_text_pipeline
    from mtbert.text.splitter import DialogueSplitter
    from mtbert.text.text_normalizer import TextNormalizer
    from mtbert.text.tokenizer import Tokenizer

__all__ = [
    "NAMED_STEPS",
    "DialogueChunker",
    "DialogueSplitter",
    "EmojiRemover",
    "HtmlNormalizer",
    "TextNormalizer",
    "Tokenizer",
    "make_text_pipeline",
    "pad_chunks",
]

__getattr__ = import_on_demand(
    __name__,
    {
        "NAMED_STEPS": "pipeline",
        "DialogueChunker": "chunker",
        "DialogueSplitter": "splitter",
        "EmojiRemover": "emoji_remover",
        "HtmlNormalizer": "html_normalizer",
        "TextNormalizer": "text_normalizer",
        "Tokenizer": "tokenizer",
        "make_text_pipeline": "pipeline",
        "pad_chunks": "padding",
    },
)
