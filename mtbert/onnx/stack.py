"""A stack as ONNX nodes: words are counted, trees see what they did in `fit`, scores are joined.

    text_words_0, ... --> frequencies --> text_scores, text_topics --+
    network ------------> logits, embedding -------------------------+--> trees --> joint logits
    columns ------------> scaled numbers, risks, codes --------------+   (with those of the net)

All arithmetic is in float64, as in :class:`mtbert.stacking.Stack`.
"""

from __future__ import annotations

import numpy as np

from mtbert.onnx.names import words_input
from mtbert.onnx.network import CATEGORICAL, EMBEDDING, NUMERIC
from mtbert.stacking.terms import TERM, TermFrequencies
from mtgbm.io._onnx_graph import Column, Graph
from mtgbm.io.onnx import add_forest


def describe_words(stack) -> list[dict]:
    """Return what :class:`mtbert.onnx.words.WordNumbers` takes, for each input of words."""
    return [
        {"columns": list(terms.columns), "pattern": TERM, "vocabulary": _vocabulary(terms)}
        for terms in ([] if stack is None else stack.terms_)
    ]


def add_stack(graph: Graph, stack, logits: str, n_numeric: int, n_categorical: int) -> str:
    """Append the nodes of a fitted stack.

    Parameters
    ----------
    graph : Graph
        Takes inputs of words, `EMBEDDING`, `NUMERIC` and `CATEGORICAL` from nodes in front of it.
    stack : Stack
    logits : str
        Those of the network, float64.
    n_numeric, n_categorical : int
        Columns of `NUMERIC` and `CATEGORICAL`.

    Returns
    -------
    str
        The joint logits, float64 of shape (n_rows, n_outputs).
    """
    frequencies = [
        _add_frequencies(graph, words_input(number), terms)
        for number, terms in enumerate(stack.terms_)
    ]
    makers = {
        "net_scores": lambda: logits,
        "net_embedding": lambda: _add_places(graph, stack.axes_),
        "text_scores": lambda: _add_text_scores(graph, frequencies, stack.text_scores_),
        "text_topics": lambda: _add_topics(graph, frequencies[0], stack.text_topics_),
    }
    seen = stack.options.features
    blocks = [Column(name, makers[name](), "number") for name in seen if name in makers]
    codes: list[Column] = []
    if "columns" in seen and n_numeric:
        blocks.append(Column("numbers", _as_doubles(graph, NUMERIC), "number"))
    if "columns" in seen and n_categorical:
        codes = _split_codes(graph, n_categorical)
    scores = add_forest(graph, stack.trees_.model_, blocks, codes)
    return scores if stack.blend_ is None else _add_blend(graph, stack.blend_, [logits, scores])


def _add_frequencies(graph, words: str, terms: TermFrequencies):
    """Logarithms of counts, times the rarity of each term, of length 1: (n_rows, n_terms)."""
    counts = _as_doubles(graph, graph.add("TfIdfVectorizer", words, **_count_attributes(terms)))
    one = graph.constant(np.array(1.0))
    logarithms = graph.add("Log", graph.add("Max", counts, one))
    damped = graph.add("Add", logarithms, graph.add("Min", counts, one))  # 0 stays 0
    weighted = graph.add("Mul", damped, graph.constant(terms.idf_))
    squares = graph.add("ReduceSumSquare", weighted, graph.constant(np.array([1])))
    # A row without a known term stays 0.
    smallest = graph.constant(np.array(np.finfo(np.float64).tiny))
    return graph.add("Div", weighted, graph.add("Max", graph.add("Sqrt", squares), smallest))


def _count_attributes(terms: TermFrequencies):
    """Terms, runs of word numbers, ordered by their length as the operator wants them."""
    numbers = {word: number for number, word in enumerate(_vocabulary(terms), start=1)}
    runs = [[numbers[word] for word in term.split(" ")] for term in terms.terms_]
    shortest, longest = terms.ngram_range
    order = sorted(range(len(runs)), key=lambda term: len(runs[term]))
    lengths = np.array([len(run) for run in runs])
    return {
        "mode": "TF",
        "min_gram_length": shortest,
        "max_gram_length": longest,
        "max_skip_count": 0,
        "pool_int64s": [number for term in order for number in runs[term]],
        "ngram_counts": [int(lengths[lengths < n].sum()) for n in range(1, longest + 1)],
        "ngram_indexes": order,
    }


def _vocabulary(terms: TermFrequencies) -> list[str]:
    """The words that terms are made of, sorted."""
    return sorted({word for term in terms.terms_ for word in term.split(" ")})


def _add_text_scores(graph, frequencies, text_scores):
    """Those of all linear models side by side."""
    found = []
    for of_text, scores in zip(frequencies, text_scores, strict=True):
        products = graph.add("MatMul", of_text, graph.constant(_turned(scores.coef_)))
        found.append(graph.add("Add", products, graph.constant(scores.intercept_)))
    return graph.add("Concat", *found, axis=1)


def _add_topics(graph, frequencies, topics):
    axes = graph.constant(_turned(topics.components_))  # float32, half of the file
    return graph.add("MatMul", frequencies, _as_doubles(graph, axes))


def _add_places(graph, axes):
    """The place of the embedding on the axes."""
    embedding = _as_doubles(graph, EMBEDDING)
    centred = graph.add("Sub", embedding, graph.constant(axes.mean_))
    return graph.add("MatMul", centred, graph.constant(_turned(axes.axes_)))


def _split_codes(graph, n_columns):
    codes = _as_doubles(graph, CATEGORICAL)
    return [
        Column(f"code {n}", graph.add("Gather", codes, graph.constant(np.array([n])), axis=1))
        for n in range(n_columns)
    ]


def _add_blend(graph, blend, sources):
    """``sum of factor * logits + bias``."""
    total = graph.constant(blend.bias_)
    for source, factors in zip(sources, blend.factors_, strict=True):
        total = graph.add("Add", total, graph.add("Mul", source, graph.constant(factors)))
    return total


def _as_doubles(graph, values):
    from onnx import TensorProto

    return graph.add("Cast", values, to=TensorProto.DOUBLE)


def _turned(matrix):
    return np.ascontiguousarray(matrix.T)
