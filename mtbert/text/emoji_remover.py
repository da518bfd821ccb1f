"""Emoji, as Unicode defines them, and nothing else, go."""

from mtbert.text.emoji import remove_emoji
from mtbert.text.row_transformer import MessageTransformer


class EmojiRemover(MessageTransformer):
    """Replace every run of emoji by one space.

    Emoji are pictographs, skin tones, flags, keycaps and sequences of these. Signs that Unicode
    shows as text by default, such as ©, ™ and ❤, are emoji only where a skin tone or the selector
    U+FE0F follows, or a joiner with another emoji; and an emoji followed by the selector U+FE0E
    is text. Digits, letters of all scripts and their marks stay.

    Notes
    -----
    The table of emoji is that of Unicode 18.0.

    Examples
    --------
    >>> from mtbert.text import EmojiRemover
    >>> EmojiRemover().transform(["Great👍🏽fit ❤️ 10/10 ™", "とても良い😀"])
    ['Great fit   10/10 ™', 'とても良い ']
    """

    def _transform_message(self, message):
        return remove_emoji(message)
