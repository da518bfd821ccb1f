"""Text steps: cleaning, splitting into messages, packing into chunks, tokenising."""

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
