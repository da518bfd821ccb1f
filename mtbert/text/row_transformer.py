"""Steps that look at one row at a time, as transformers of scikit-learn."""

from __future__ import annotations

from sklearn.base import BaseEstimator, TransformerMixin

from mtbert.text.rows import Row, read_rows


class RowTransformer(TransformerMixin, BaseEstimator):
    """A step that learns nothing: each row becomes another, whatever the other rows are.

    A subclass has `_transform_row` and, if it has parameters, `_check_parameters`.
    """

    def fit(self, X, y=None):
        """Check the parameters and the rows; there is nothing to learn.

        Parameters
        ----------
        X : sequence, Series or array of length n
            Texts, or lists of messages.
        y : None
            Ignored.

        Returns
        -------
        self
        """
        self._check_parameters()
        read_rows(X)
        return self

    def transform(self, X) -> list:
        """Return the changed rows; works without `fit`.

        Parameters
        ----------
        X : sequence, Series or array of length n
            Texts, or lists of messages; a missing one is an empty text.

        Returns
        -------
        rows : list of length n

        Raises
        ------
        TypeError
            If X is not one column of texts or lists of messages.
        ValueError
            If X has two dimensions, or a parameter is out of its range.
        """
        self._check_parameters()
        return [self._transform_row(row) for row in read_rows(X)]

    def _check_parameters(self):
        """Raise for a parameter out of its range; here there is none."""

    def _transform_row(self, row: Row) -> Row:
        raise NotImplementedError

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return describe_input(tags)


class MessageTransformer(RowTransformer):
    """A step that changes each message by itself: a text stays a text, a list stays a list.

    A subclass has `_transform_message`.
    """

    def _transform_row(self, row):
        if isinstance(row, str):
            return self._transform_message(row)
        return [self._transform_message(message) for message in row]

    def _transform_message(self, message: str) -> str:
        raise NotImplementedError


def describe_input(tags):
    """Say in an estimator's tags that it reads one column of texts."""
    tags.input_tags.two_d_array = False
    tags.input_tags.one_d_array = True
    tags.input_tags.string = True
    tags.input_tags.allow_nan = True
    return tags
