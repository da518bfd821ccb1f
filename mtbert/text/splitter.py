"""A dialogue is cut into its messages."""

from numbers import Integral

from mtbert.text.dialogue import split_messages
from mtbert.text.row_transformer import RowTransformer
from mtgbm.parameters import check_number


class DialogueSplitter(RowTransformer):
    """Cut a dialogue, whose messages stand between ``[bom]`` and ``[eom]``, into these messages.

    Every mark, of either kind, ends the message before it. So text outside the marks is a message
    of its own, a text without marks is one message, and marks that are nested or lack their partner
    lose nothing: ``[bom]a[bom]b[eom]c`` holds the messages a, b and c.

    Parameters
    ----------
    min_length : int, default=1
        Messages of fewer characters, without the white space around them, are dropped.

    Notes
    -----
    A row always keeps one message: an empty one, if nothing else is left. A row that is a list of
    messages already has each of them cut again.

    Examples
    --------
    >>> from mtbert.text import DialogueSplitter
    >>> DialogueSplitter().transform(["[bom] Where is it? [eom][bom] On its way. [eom]", None])
    [['Where is it?', 'On its way.'], ['']]
    """

    def __init__(self, min_length=1):
        self.min_length = min_length

    def _check_parameters(self):
        check_number("min_length", self.min_length, Integral, 1, None)

    def _transform_row(self, row):
        return split_messages(row, self.min_length)
