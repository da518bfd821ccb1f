"""Parse: the fields of a scanned text model as numbers of the right type, count and range.

Every length is compared with the numbers that are really there before an array is made, so what
a file declares costs nothing.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from mtgbm.io._lightgbm_scan import LightGBMFormatError

INTEGER = re.compile(r"-?[0-9]{1,18}")
NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,5})?|[-+]?inf")
NUMBER_OR_NAN = re.compile(f"nan|{NUMBER.pattern}")
VERSIONS = ("v3", "v4")
#: Bits of `decision_type`.
CATEGORICAL, DEFAULT_LEFT, MISSING_SHIFT = 1, 2, 2
#: What `decision_type` says of missing values: as 0, zeros are missing too, NaN is missing.
MISSING_NONE, MISSING_ZERO, MISSING_NAN = range(3)
MOST_INT = 2**31 - 1
#: Fields that trees of one round have in common.
STRUCTURE = ("feature", "threshold", "decision", "left", "right")


@dataclass(frozen=True)
class Header:
    """The header of a text model.

    Attributes
    ----------
    n_outputs : int
        Trees of a round.
    objective : str or None
        Its first word, "binary", "multiclassova" or "multiclass"; None without one.
    names, infos : list of str, one per feature
    """

    n_outputs: int
    objective: str | None
    names: list
    infos: list


class TextTree:
    """A tree of a text model; fields are converted when they are asked for, and then kept.

    Inner nodes are numbered from 0, the root; a child below 0 is the leaf ``~child``.

    Parameters
    ----------
    section : Section
    n_features : int
    """

    def __init__(self, section, n_features):
        self.section = section
        self.n_features = n_features
        # One leaf takes one number of the file; more are compared with leaf_value at once.
        self.n_leaves = integer(section["num_leaves"], 1, MOST_INT)
        self.values = numbers(section["leaf_value"], self.n_leaves)
        self.n_categorical = integer(section["num_cat"], 0, self.n_leaves - 1)
        if "is_linear" in section.fields and integer(section["is_linear"], 0, 1):
            raise section["is_linear"].error(
                "trees with linear leaves cannot be read; train with linear_tree=false."
            )

    @property
    def n_inner(self):
        return self.n_leaves - 1

    def _inner(self, name, least, most):
        return integers(self.section[name], self.n_inner, least, most)

    @cached_property
    def feature(self):
        return self._inner("split_feature", 0, self.n_features - 1)

    @cached_property
    def decision(self):
        decision = self._inner("decision_type", 0, 15)
        if (decision >> MISSING_SHIFT == 3).any():
            raise self.section["decision_type"].error("no kind of missing values has number 3.")
        return decision

    @cached_property
    def left(self):
        return self._inner("left_child", -self.n_leaves, self.n_inner - 1)

    @cached_property
    def right(self):
        return self._inner("right_child", -self.n_leaves, self.n_inner - 1)

    @cached_property
    def threshold(self):
        """Of category splits the position in `categories`; infinity for the largest float."""
        field = self.section["threshold"]
        threshold = numbers(field, self.n_inner, finite=False)
        if (threshold == -np.inf).any():
            raise field.error("expected thresholds above -inf.")
        position = threshold[self.is_categorical]
        if not np.isin(position, np.arange(self.n_categorical)).all():
            raise field.error(
                f"expected category splits numbered from 0 to {self.n_categorical - 1}."
            )
        return np.where(threshold == np.finfo(np.float64).max, np.inf, threshold)

    @property
    def is_categorical(self):
        return (self.decision & CATEGORICAL) != 0

    @cached_property
    def categories(self):
        """The categories that go left, ascending, of each category split: list of ndarray."""
        if not self.n_categorical:
            return []
        bounds = integers(self.section["cat_boundaries"], self.n_categorical + 1, 0, MOST_INT)
        if bounds[0] != 0 or (np.diff(bounds) < 0).any():
            raise self.section["cat_boundaries"].error("expected ascending numbers from 0.")
        words = integers(self.section["cat_threshold"], int(bounds[-1]), 0, 2**32 - 1)
        bits = [words[a:b].astype("<u4") for a, b in pairwise(bounds)]
        return [np.flatnonzero(np.unpackbits(w.view(np.uint8), bitorder="little")) for w in bits]

    @cached_property
    def gains(self):
        return numbers(self.section["split_gain"], self.n_inner)

    def weights(self):
        """Sums of hessians of the inner nodes, then of the leaves; 0 if not written."""
        return self._nodes("internal_weight", "leaf_weight", numbers)

    def counts(self):
        """Rows of the inner nodes, then of the leaves; 0 if not written."""

        def counts(field, length):
            return integers(field, length, 0, MOST_INT)

        return self._nodes("internal_count", "leaf_count", counts)

    def _nodes(self, inner, leaf, read):
        """LightGBM writes neither of a tree of one leaf."""
        if self.n_leaves == 1 and not (leaf in self.section.fields and self.section[leaf].text):
            return np.zeros(1)
        inner = read(self.section[inner], self.n_inner) if self.n_inner else np.empty(0)
        return np.concatenate([inner, read(self.section[leaf], self.n_leaves)])

    def check(self):
        """Convert every field, also those not kept: LightGBM ends the process over a bad one."""
        self.weights()
        self.counts()
        if self.n_inner:
            numbers(self.section["internal_value"], self.n_inner)
            for name in (*STRUCTURE, "categories", "gains"):
                getattr(self, name)
        if "shrinkage" in self.section.fields:
            numbers(self.section["shrinkage"], 1)

    def shares_structure(self, other):
        """Whether only the values differ."""
        if (self.n_leaves, self.n_categorical) != (other.n_leaves, other.n_categorical):
            return False
        if self.n_leaves == 1:
            return True
        return all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in STRUCTURE
        ) and all(map(np.array_equal, self.categories, other.categories))


def parse_header(scan):
    """The header, checked against the trees that follow it.

    Parameters
    ----------
    scan : Scan

    Returns
    -------
    Header
    """
    header = scan.header
    version = header["version"]
    if version.text not in VERSIONS:
        raise version.error(f"expected one of {', '.join(VERSIONS)}, got {version.text[:40]!r}.")
    if "average_output" in header.fields:
        raise header["average_output"].error(
            "a random forest averages its trees, which cannot be read; expected boosting."
        )
    n_outputs = integer(header["num_class"], 1, MOST_INT)
    if integer(header["num_tree_per_iteration"], 1, MOST_INT) != n_outputs:
        raise header["num_tree_per_iteration"].error(f"expected num_class, {n_outputs}.")
    if not scan.trees or len(scan.trees) % n_outputs:
        raise header["num_class"].error(
            f"expected one or more rounds of {n_outputs} trees, got {len(scan.trees)} trees."
        )
    _check_tree_sizes(header["tree_sizes"], scan.trees)
    integer(header["label_index"], -1, MOST_INT)
    n_features = integer(header["max_feature_idx"], 0, MOST_INT) + 1
    return Header(
        n_outputs,
        _parse_objective(header, n_outputs),
        _words(header["feature_names"], n_features),
        _words(header["feature_infos"], n_features),
    )


def _check_tree_sizes(field, trees):
    sizes = integers(field, len(trees), 0, 10**15)
    found = np.array([tree.n_bytes for tree in trees])
    if not np.array_equal(sizes, found):
        tree = int(np.argmax(sizes != found))
        raise field.error(
            f"tree {tree} should have {sizes[tree]} bytes but has {found[tree]}; the file was "
            "edited, truncated or transferred with other line ends."
        )


def _words(field, length):
    words = field.text.split(" ")
    if len(words) != length or "" in words:
        raise field.error(f"expected {length} words, one per feature, got {len(words)}.")
    return words


def _parse_objective(header, n_outputs):
    """The objective's name; its numbers must be those that the links of mtgbm stand for."""
    if "objective" not in header.fields:
        return None
    field = header["objective"]
    name, *settings = field.text.split(" ")
    expected = {
        "binary": {"sigmoid:1"},
        "multiclassova": {f"num_class:{n_outputs}", "sigmoid:1"},
        "multiclass": {f"num_class:{n_outputs}"},
    }
    if name not in expected:
        raise field.error(
            f"expected a binary, multiclassova or multiclass model, got {name[:40]!r}; other "
            "objectives have no counterpart in mtgbm."
        )
    if set(settings) != expected[name] or (name == "binary" and n_outputs != 1):
        raise field.error(
            f"expected {name!r} with {', '.join(sorted(expected[name]))} and as many trees a "
            f"round, got {field.text[:80]!r} and {n_outputs}."
        )
    return name


def parse_rounds(scan, header):
    """The trees of each round: list of lists of TextTree that share their structure.

    Raises
    ------
    LightGBMFormatError
        If trees of a round have different structures.
    """
    trees = [TextTree(section, len(header.names)) for section in scan.trees]
    for tree in trees:
        tree.check()
    n = header.n_outputs
    rounds = [trees[first : first + n] for first in range(0, len(trees), n)]
    for number, (first, *others) in enumerate(rounds):
        for tree in others:
            if not first.shares_structure(tree):
                raise LightGBMFormatError(
                    f"line {tree.section.line}: {tree.section.name} and {first.section.name}, both "
                    f"of round {number}, have different splits; mtgbm needs trees that the "
                    "outputs share. Convert a binary model for each output, or train with mtgbm."
                )
    return rounds


def integer(field, least, most):
    """The one integer of a field."""
    if not INTEGER.fullmatch(field.text) or not least <= int(field.text) <= most:
        raise field.error(f"expected an integer from {least} to {most}, got {field.text[:40]!r}.")
    return int(field.text)


def integers(field, length, least, most):
    """The integers of a field: int64 (length,)."""
    words = _numbers_in(field, length, INTEGER, "integers")
    values = np.array([int(word) for word in words], dtype=np.int64)
    outside = (values < least) | (values > most)
    if outside.any():
        raise field.error(
            f"expected integers from {least} to {most}, got {values[np.argmax(outside)]}."
        )
    return values


def numbers(field, length, *, finite=True, may_be_nan=False):
    """The numbers of a field: float64 (length,)."""
    pattern = NUMBER_OR_NAN if may_be_nan else NUMBER
    words = _numbers_in(field, length, pattern, "numbers")
    values = np.array([float(word) for word in words], dtype=np.float64)
    if finite and np.isinf(values).any():
        raise field.error(f"expected finite numbers, got {words[np.argmax(np.isinf(values))]}.")
    return values


def _numbers_in(field, length, pattern, noun):
    words = field.text.split(" ") if field.text else []
    if len(words) != length:
        raise field.error(f"expected {length} {noun}, got {len(words)}.")
    for word in words:
        if not pattern.fullmatch(word):
            raise field.error(f"expected {noun}, got {word[:40]!r}.")
    return words
