"""Texts as frequencies of words and runs of words."""

from __future__ import annotations

from functools import cached_property

from sklearn.feature_extraction.text import TfidfVectorizer

from mtbert.text.rows import as_one_text
from mtbert.text_fields import read_texts

#: A run of letters and digits, or one other sign: no text is without any.
TERM = r"(?u)\w+|[^\w\s]"


class TermFrequencies:
    """Logarithms of the counts of terms, weighted by how rare they are (TF-IDF), of length 1.

    Parameters
    ----------
    columns : tuple of str
        Text columns; their texts are taken as one.
    ngram_range : tuple of int
        Fewest and most words of a term.
    max_features : int
        Most terms; the most frequent are kept.

    Attributes
    ----------
    terms_ : list of str
        In the order of the columns of the frequencies.
    idf_ : ndarray of float64 of shape (n_terms,)
    """

    def __init__(self, columns, *, ngram_range, max_features):
        self.columns = columns
        self.ngram_range = ngram_range
        self.max_features = max_features

    def fit_transform(self, X):
        """Choose the terms of a table, which know no labels, and count them.

        Returns
        -------
        sparse matrix of float64 of shape (n, n_terms)

        Raises
        ------
        ValueError
            If the texts are shorter than any term.
        """
        vectorizer = self._new_vectorizer()
        texts = self._texts(X)
        if not any(map(vectorizer.build_analyzer(), texts)):
            raise ValueError(
                f"no text of {', '.join(map(repr, self.columns))} has {self.ngram_range[0]} words "
                "in a row; let ngram_range of stacking_options['text_model'] begin with fewer."
            )
        frequencies = vectorizer.fit_transform(texts)
        self.terms_ = vectorizer.get_feature_names_out().tolist()
        self.idf_ = vectorizer.idf_
        return frequencies

    def transform(self, X):
        """Return the frequencies of other rows, sparse, float64 of shape (n, n_terms)."""
        return self._vectorizer.transform(self._texts(X))

    @cached_property
    def _vectorizer(self):
        vectorizer = self._new_vectorizer(vocabulary=self.terms_)
        vectorizer.idf_ = self.idf_
        return vectorizer

    def _new_vectorizer(self, **known):
        return TfidfVectorizer(
            token_pattern=TERM,
            ngram_range=tuple(self.ngram_range),
            max_features=self.max_features,
            sublinear_tf=True,
            **known,
        )

    def _texts(self, X):
        return as_one_text([read_texts(X, name) for name in self.columns])
