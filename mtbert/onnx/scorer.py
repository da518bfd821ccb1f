"""Probabilities from an ONNX file: no torch, no transformers, no scikit-learn, no pandas."""

from __future__ import annotations

import importlib
import json
import os

import numpy as np

from mtbert.batching import sorted_batches
from mtbert.onnx.names import PROBABILITIES, words_input
from mtbert.onnx.table import Table
from mtbert.onnx.text_steps import Encoder
from mtbert.onnx.words import WordNumbers, pad_words
from mtbert.text.padding import pad_chunks
from mtbert.text.rows import read_rows

FORMAT = "mtbert-onnx"
VERSION = 2


class OnnxScorer:
    """Scores rows with a file that `MultimodalTextTabularClassifier.to_onnx` wrote.

    The file holds the network, the preparation of the columns, the tokenizer and the text steps;
    of a stacked model the trees too.
    Needs onnxruntime, tokenizers and numpy, and is used like the estimator::

        OnnxScorer("model.onnx").predict([{"review": "soft and warm", "price": 20.0}])

    Parameters
    ----------
    path : str or path-like
    n_threads : int or None, default=None
        Threads for one batch; None leaves it to onnxruntime.
    batch_size : int, default=32
        Rows that go through the network at once; rows of like length go together.

    Attributes
    ----------
    classes_ : ndarray
        As in the estimator: the classes of a 1-d y, else (n_tasks, 2).
    task_names_ : list of str
    column_names_ : list of str
        The columns that a table must have: text, numbers, categories.
    session_ : onnxruntime.InferenceSession
    description_ : dict
        What the file says of itself, see :mod:`mtbert.onnx.description`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If onnxruntime or tokenizers is missing.
    ValueError
        If `to_onnx` did not write the file, or one of a later version did.
    """

    def __init__(self, path, *, n_threads=None, batch_size=32):
        if not os.path.isfile(path):
            raise FileNotFoundError(f"there is no file {os.fspath(path)!r}.")
        self.batch_size = batch_size
        self.session_ = _open_session(path, n_threads)
        self.description_ = _read_description(self.session_, path)
        targets = self.description_["targets"]
        self._is_1d = targets["is_1d"]
        self.classes_ = np.array(targets["classes"], dtype=targets["dtype"])
        self.task_names_ = targets["task_names"]
        self._texts = {
            field["column"]: (field, Encoder(field["steps"], field["tokenizer"]))
            for field in self.description_["text_fields"]
        }
        self._word_inputs = [
            (words["columns"], WordNumbers(words["pattern"], words["vocabulary"]))
            for words in self.description_["words"]
        ]
        self._numeric = self.description_["numeric_columns"]
        self._categorical = self.description_["categorical_columns"]
        names = [*self._texts, *self._numeric]
        self.column_names_ = names + [column["name"] for column in self._categorical]

    def predict_proba(self, table) -> np.ndarray:
        """Probabilities of the classes, or of the tasks.

        Parameters
        ----------
        table : dict of columns, list of dicts, or DataFrame of pandas or polars
            With the columns of `column_names_`, whose cells are as in the estimator's tables: None
            and NaN are missing. Other columns are ignored.

        Returns
        -------
        ndarray of float64
            (n_rows, n_classes) for a 1-d y, else (n_rows, n_tasks), P(label = 1).

        Raises
        ------
        TypeError
            If the table or a cell is of another type.
        ValueError
            If a column is missing, has another length, or holds text where numbers belong.
        """
        columns, texts, words = self._read(table)
        tokens = [[len(row) * max(map(len, row)) for row in rows] for rows in texts.values()]
        sizes = np.sum(tokens, axis=0)
        batches = sorted_batches(sizes, self.batch_size)
        parts = [self._run(self._feed(columns, texts, words, batch)) for batch in batches]
        found = np.empty((len(sizes), parts[0].shape[1]))
        found[np.concatenate(batches)] = np.concatenate(parts)
        return found

    def predict(self, table) -> np.ndarray:
        """The most probable class of each task: (n_rows,) for a 1-d y, else (n_rows, n_tasks)."""
        found = self.predict_proba(table)
        if self._is_1d:
            return self.classes_[found.argmax(axis=1)]
        return (found > 0.5).astype(self.classes_.dtype)

    def inputs(self, table) -> dict[str, np.ndarray]:
        """What the file takes for all rows of a table as one batch, for another runtime.

        Parameters
        ----------
        table : dict of columns, list of dicts, or DataFrame of pandas or polars

        Returns
        -------
        dict of str to ndarray
            By the name of the input.
        """
        columns, texts, words = self._read(table)
        n_rows = len(next(iter(texts.values())))
        return self._feed(columns, texts, words, np.arange(n_rows))

    def _read(self, table):
        """Arrays of columns, chunks of token ids of texts by column, and inputs of words."""
        table = Table(table, self.column_names_)
        columns = self._read_columns(table)
        rows = {column: self._read_text(table, column) for column in self._texts}
        texts = {column: encode(rows[column]) for column, (_, encode) in self._texts.items()}
        words = [number([rows[name] for name in names]) for names, number in self._word_inputs]
        return columns, texts, words

    def _read_columns(self, table):
        """Arrays of shape (n, 1) by the name of the input."""
        columns = {name: table.numbers(name) for name in self._numeric}
        for column in self._categorical:
            name = column["name"]
            if column["kind"] == "text":
                columns[name] = table.categories(name, column["missing"])
            else:
                columns[name] = table.numbered_categories(name)
        return columns

    def _read_text(self, table, column):
        try:
            return read_rows(table.cells(column))
        except TypeError as error:
            raise TypeError(f"text column {column!r}: {error}") from error

    def _feed(self, columns, texts, words, rows):
        feed = {name: cells[rows] for name, cells in columns.items()}
        for number, of_text in enumerate(words):
            feed[words_input(number)] = pad_words([of_text[row] for row in rows])
        for column, (field, _) in self._texts.items():
            chunks = [texts[column][row] for row in rows]
            ids, mask, _ = pad_chunks(chunks, field["pad_id"])
            feed[field["ids"]], feed[field["mask"]] = ids, mask.astype(bool)
        return feed

    def _run(self, feed):
        (found,) = self.session_.run([PROBABILITIES], feed)
        if not np.isfinite(found).all():
            raise ValueError("a number is too large for 32-bit floats; scale the numeric columns.")
        return found


def _open_session(path, n_threads):
    for package in ("onnxruntime", "tokenizers"):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise ImportError(
                f"OnnxScorer needs the package {package}: pip install onnxruntime tokenizers"
            ) from error
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    if n_threads is not None:
        options.intra_op_num_threads = n_threads
    try:
        return InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the package has no class for damaged files
        raise ValueError(f"{path} cannot be read as an ONNX file: {error}") from error


def _read_description(session, path):
    metadata = session.get_modelmeta().custom_metadata_map
    if metadata.get("format") != FORMAT or int(metadata["format_version"]) > VERSION:
        raise ValueError(
            f"{path} is of format {metadata.get('format')!r}, version "
            f"{metadata.get('format_version')}; OnnxScorer reads {FORMAT!r} up to version "
            f"{VERSION}, which MultimodalTextTabularClassifier.to_onnx writes."
        )
    description = json.loads(metadata["description"])
    for field in description["text_fields"]:
        field["tokenizer"] = metadata[field["tokenizer"]]
    return description
