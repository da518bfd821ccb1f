"""From a DataFrame to rows of token ids, numbers and codes."""

from __future__ import annotations

import numpy as np

from mtbert.batching import Rows
from mtbert.columns import ColumnRoles
from mtbert.tabular import TabularEncoder
from mtbert.text_fields import TextFields


class TableReader:
    """Learns how to read a table: its tokenizers and what its columns hold.

    Parameters
    ----------
    text_fields : TextFields
    tabular : TabularEncoder

    Attributes
    ----------
    roles_ : ColumnRoles
    fields_ : dict of str to str
        Text column to the name that the network knows it by: text_0, text_1, ...
    """

    def __init__(self, text_fields: TextFields, tabular: TabularEncoder):
        self.text_fields = text_fields
        self.tabular = tabular

    def fit_transform(self, X, roles: ColumnRoles, labels, tokenizers=None) -> Rows:
        """Learn from training rows and read them.

        Parameters
        ----------
        X : DataFrame
        roles : ColumnRoles
        labels : ndarray of int16 of shape (n, n_tasks)
            Class numbers, -1 where missing.
        tokenizers : dict or None
            Those of text columns; see :meth:`mtbert.text_fields.TextFields.fit`.
        """
        self.roles_ = roles
        self.text_fields.fit(X, roles.text, tokenizers)
        return self._rows(X, self.tabular.fit_transform(X, roles, as_floats(labels)))

    def transform(self, X) -> Rows:
        """Read rows that took no part in `fit_transform`."""
        return self._rows(X, self.tabular.transform(X))

    def transform_training(self, X, labels) -> Rows:
        """Read rows to learn from again; their own labels take no part in their risks."""
        return self._rows(X, self.tabular.transform_training(X, as_floats(labels)))

    @property
    def fields_(self):
        return {column: f"text_{number}" for number, column in enumerate(self.roles_.text)}

    def _rows(self, X, matrices):
        text = self.text_fields.transform(X)
        named = {field: text[column] for column, field in self.fields_.items()}
        pad_ids = {f: self.text_fields.pad_ids_[column] for column, f in self.fields_.items()}
        return Rows(named, *matrices, pad_ids=pad_ids)


def as_floats(labels):
    """Class numbers as floats, NaN where missing."""
    return np.where(labels < 0, np.nan, labels)
