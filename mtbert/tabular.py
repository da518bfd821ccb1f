"""The columns beside the text become numbers and codes of categories."""

from __future__ import annotations

import numpy as np
from sklearn.preprocessing import QuantileTransformer, StandardScaler

from mtbert.columns import ColumnRoles, cells_of, take_columns
from mtgbm.columns import as_floats, factorize
from mtgbm.parameters import choose
from mtgbm.preprocessing import MissingValueImputer, RiskTableEncoder

SCALINGS = {"quantile": QuantileTransformer, "standard": StandardScaler}
CATEGORY_ENCODINGS = {"both": ("risk", "codes"), "risk": ("risk",), "embedding": ("codes",)}
#: Most quantiles that a column's distribution is described by.
MOST_QUANTILES = 1000
#: Categories of fewer rows share the code of unseen ones, which is so trained.
FEWEST_ROWS = 2
#: Most folds from which the risk of a row's category is learned without the row.
MOST_FOLDS = 5
#: What a scaler has learned, by class.
LEARNED = {
    "quantile": ("quantiles_", "references_"),
    "standard": ("mean_", "var_", "scale_"),
}


class TabularEncoder:
    """Learns fills, scales, risks and codes from the training rows.

    The numeric matrix holds, in this order: the numeric columns, filled and scaled; for each that
    had missing cells 1 where one is missing; the risks of the categories, standardised.

    Parameters
    ----------
    scaling : {"quantile", "standard"}
        "quantile" maps each column to a normal distribution, which outliers cannot stretch.
    category_encoding : {"both", "risk", "embedding"}
        Whether the net gets the risks of categories, or their codes to embed, or both.
    seed : int
        Of the folds from which risks are learned.

    Attributes
    ----------
    cardinalities_ : list of int
        Codes of each categorical column, code 0 for missing, unseen and rare ones included; empty
        with ``category_encoding="risk"``.
    n_numeric_ : int
        Columns of the numeric matrix.
    """

    def __init__(self, scaling="quantile", category_encoding="both", seed=0):
        self.scaling = choose("scaling", scaling, {name: name for name in SCALINGS})
        self.category_encoding = category_encoding
        self.uses = choose("category_encoding", category_encoding, CATEGORY_ENCODINGS)
        self.seed = seed

    def fit_transform(self, X, roles: ColumnRoles, labels):
        """Learn from training rows and encode them, risks out of fold.

        Parameters
        ----------
        X : DataFrame
        roles : ColumnRoles
        labels : ndarray of float64 of shape (n, n_tasks)
            Class numbers, NaN where missing.

        Returns
        -------
        numeric : ndarray of float32 of shape (n, n_numeric_)
        codes : ndarray of int64 of shape (n, n_categorical)
        """
        self.roles_ = roles
        self._learn_numbers(X)
        self._learn_categories(X)
        parts = self._numbers(X)
        if self._has_risks:
            encoder = self._risk_encoder(len(labels))
            risks = _matrix(encoder.fit_transform(take_columns(X, roles.categorical), labels))
            self.risk_encoder_ = encoder
            self.risk_scaler_ = StandardScaler().fit(risks)
            parts.append(self.risk_scaler_.transform(risks))
        numeric = _side_by_side(parts, len(labels))
        self.n_numeric_ = numeric.shape[1]
        return numeric, self._codes(X)

    def transform(self, X):
        """Encode rows that took no part in `fit_transform`."""
        parts = self._numbers(X)
        if self._has_risks:
            risks = self.risk_encoder_.transform(take_columns(X, self.roles_.categorical))
            parts.append(self.risk_scaler_.transform(_matrix(risks)))
        return _side_by_side(parts, len(X)), self._codes(X)

    def transform_training(self, X, labels):
        """Encode rows to learn from again: their own labels take no part in their risks."""
        parts = self._numbers(X)
        if self._has_risks:
            columns = take_columns(X, self.roles_.categorical)
            risks = _matrix(self._risk_encoder(len(labels)).fit_transform(columns, labels))
            parts.append(self.risk_scaler_.transform(risks))
        return _side_by_side(parts, len(X)), self._codes(X)

    @property
    def columns_(self) -> tuple[str, ...]:
        """The columns of the table that are encoded, numbers first."""
        return (*self.roles_.numeric, *self.roles_.categorical)

    @property
    def sources_(self) -> list[str]:
        """The column of the table behind each column of the numeric matrix, then of the codes."""
        n_risks = len(self.risk_encoder_.prior_) if self._has_risks else 0
        risks = [name for name in self.roles_.categorical for _ in range(n_risks)]
        return [*self.roles_.numeric, *self.indicated_, *risks, *self.categories_]

    def baseline(self):
        """Encode a row about which nothing is known.

        Returns
        -------
        numeric : ndarray of float32 of shape (1, n_numeric_)
            Numbers are at the means of the training rows and not marked as missing, risks are those
            of an unknown category.
        codes : ndarray of int64 of shape (1, n_categorical)
            0.
        """
        parts = []
        if self.roles_.numeric:
            means = [[self.imputer_.impute_dict_[name] for name in self.roles_.numeric]]
            parts += [self.scaler_.transform(means), np.zeros((1, len(self.indicated_)))]
        if self._has_risks:
            prior = [*self.risk_encoder_.prior_.values()] * len(self.roles_.categorical)
            parts.append(self.risk_scaler_.transform([prior]))
        return _side_by_side(parts, 1), np.zeros((1, len(self.categories_)), dtype=np.int64)

    @property
    def _has_risks(self):
        return "risk" in self.uses and bool(self.roles_.categorical)

    def _risk_encoder(self, n_rows):
        return RiskTableEncoder(
            list(self.roles_.categorical), cv=min(MOST_FOLDS, n_rows), random_state=self.seed
        )

    def _learn_numbers(self, X):
        names = self.roles_.numeric
        self.indicated_: list[str] = []
        if not names:
            return
        columns = take_columns(X, names)
        self.imputer_ = MissingValueImputer().fit(columns)
        raw = _raw_numbers(X, names)
        self.indicated_ = [n for n, c in zip(names, raw.T, strict=True) if np.isnan(c).any()]
        self.scaler_ = self._new_scaler(len(raw)).fit(_matrix(self.imputer_.transform(columns)))

    def _new_scaler(self, n_rows):
        if self.scaling == "standard":
            return StandardScaler()
        return QuantileTransformer(
            n_quantiles=min(MOST_QUANTILES, n_rows),
            output_distribution="normal",
            random_state=self.seed,
        )

    def _numbers(self, X):
        """Scaled numbers and the indicators of missing ones."""
        names = self.roles_.numeric
        if not names:
            return []
        missing = np.isnan(_raw_numbers(X, names))
        indicated = [position for position, name in enumerate(names) if name in self.indicated_]
        filled = _matrix(self.imputer_.transform(take_columns(X, names)))
        return [self.scaler_.transform(filled), missing[:, indicated]]

    def _learn_categories(self, X):
        self.categories_: dict[str, list] = {}
        for name in self.roles_.categorical if "codes" in self.uses else ():
            codes, categories = factorize(cells_of(X, name), f"column {name!r}")
            counts = np.bincount(codes[codes >= 0], minlength=len(categories))
            self.categories_[name] = [
                category
                for category, count in zip(categories, counts, strict=True)
                if count >= FEWEST_ROWS
            ]

    @property
    def cardinalities_(self):
        return [len(categories) + 1 for categories in self.categories_.values()]

    def _codes(self, X):
        codes = np.zeros((len(X), len(self.categories_)), dtype=np.int64)
        for position, (name, known) in enumerate(self.categories_.items()):
            code_of = {category: code for code, category in enumerate(known, start=1)}
            cells, categories = factorize(cells_of(X, name), f"column {name!r}")
            table = np.array([*(code_of.get(category, 0) for category in categories), 0])
            codes[:, position] = table[cells]  # the code -1 of a missing cell reads the last
        return codes

    def to_state(self):
        """Return what was learned, as a dict that JSON can hold."""
        state = {
            "scaling": self.scaling,
            "category_encoding": self.category_encoding,
            "seed": self.seed,
            "roles": [self.roles_.text, self.roles_.numeric, self.roles_.categorical],
            "indicated": self.indicated_,
            "categories": list(self.categories_.items()),
            "n_numeric": self.n_numeric_,
        }
        if self.roles_.numeric:
            state["imputer"] = self.imputer_.to_dict()
            state["scaler"] = _learned(self.scaler_, self.scaling)
        if self._has_risks:
            state["risk_encoder"] = self.risk_encoder_.to_dict()
            state["risk_scaler"] = _learned(self.risk_scaler_, "standard")
        return state

    @classmethod
    def from_state(cls, state):
        """Return the encoder that `to_state` describes."""
        encoder = cls(state["scaling"], state["category_encoding"], state["seed"])
        encoder.roles_ = ColumnRoles(*(tuple(names) for names in state["roles"]))
        encoder.indicated_ = state["indicated"]
        encoder.categories_ = dict(state["categories"])
        encoder.n_numeric_ = state["n_numeric"]
        if "imputer" in state:
            encoder.imputer_ = MissingValueImputer.from_dict(state["imputer"])
            n_quantiles = len(state["scaler"].get("references_", ()))
            encoder.scaler_ = _restore(encoder._new_scaler(n_quantiles), state["scaler"])
        if "risk_encoder" in state:
            encoder.risk_encoder_ = RiskTableEncoder.from_dict(state["risk_encoder"])
            encoder.risk_scaler_ = _restore(StandardScaler(), state["risk_scaler"])
        return encoder


def _raw_numbers(X, names):
    return np.column_stack([as_floats(cells_of(X, name), f"column {name!r}") for name in names])


def _matrix(frame):
    return np.column_stack([np.asarray(frame[name], dtype=np.float64) for name in frame.columns])


def _side_by_side(parts, n_rows):
    matrix = np.hstack([np.empty((n_rows, 0)), *parts]).astype(np.float32)
    if not np.isfinite(matrix).all():
        raise ValueError("a number is too large for 32-bit floats; scale the numeric columns.")
    return matrix


def _learned(scaler, scaling):
    return {name: getattr(scaler, name).tolist() for name in LEARNED[scaling]}


def _restore(scaler, learned):
    arrays = {name: np.array(values) for name, values in learned.items()}
    for name, array in arrays.items():
        setattr(scaler, name, array)
    scaler.n_features_in_ = next(iter(arrays.values())).shape[-1]
    if "quantiles_" in arrays:
        scaler.n_quantiles_ = len(arrays["references_"])
    return scaler
