"""How much worse a model scores without one of its modalities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

import numpy as np
from scipy.special import logit
from sklearn.metrics import check_scoring
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from mtbert.columns import ColumnRoles, require_frame, take_rows
from mtbert.validation import ValidationMetric
from mtgbm.columns import frame_library
from mtgbm.metrics.report import aligned_table
from mtgbm.parameters import check_number, choose

#: Probabilities nearer to 0 or 1 than this have log odds like it.
NEAREST = 1e-15


@dataclass(frozen=True, eq=False)
class ModalityAblation:
    """Drops of a score, by what the model could not see; print it for a table.

    The names are those of :func:`sklearn.inspection.permutation_importance`.

    Attributes
    ----------
    scoring : str
        Name of the score. Larger is better, so losses are negated and named ``neg_...``.
    score : float
        With all columns.
    modalities : dict of str to list of str
        Their columns. Each text column is one; "text" are all of them, if there are several;
        "numeric", "categorical", and "table", if there are both.
    importances : ndarray of float64 of shape (n_modalities, n_repeats)
        `score` minus the score without the modality; above 0 where the model needs it.
    """

    scoring: str
    score: float
    modalities: dict[str, list[str]] = field(repr=False)
    importances: np.ndarray = field(repr=False)

    @property
    def importances_mean(self) -> np.ndarray:
        """Mean over repeats: (n_modalities,)."""
        return self.importances.mean(axis=1)

    @property
    def importances_std(self) -> np.ndarray:
        """Standard deviation over repeats: (n_modalities,)."""
        return self.importances.std(axis=1)

    def to_frame(self) -> Any:
        """Return a pandas DataFrame indexed by modality.

        Returns
        -------
        DataFrame
            With the columns importances_mean, importances_std and score, the mean score that is
            left.

        Raises
        ------
        ImportError
            If pandas is missing.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("to_frame needs pandas: pip install 'mtgbm[data]'") from error
        means = self.importances_mean
        columns = {
            "importances_mean": means,
            "importances_std": self.importances_std,
            "score": self.score - means,
        }
        return pd.DataFrame(columns, index=pd.Index(list(self.modalities), name="modality"))

    def __str__(self) -> str:
        header = ["without", f"drop of {self.scoring}", "std", "score", "columns"]
        rows = zip(
            self.modalities.items(), self.importances_mean, self.importances_std, strict=True
        )
        body = [
            [name, f"{mean:.4f}", f"{std:.4f}", f"{self.score - mean:.4f}", ", ".join(columns)]
            for (name, columns), mean, std in rows
        ]
        whole = ["nothing", "", "", f"{self.score:.4f}", ""]
        return aligned_table([header, whole, *body])


def modality_ablation(
    estimator,
    X,
    y,
    *,
    scoring=None,
    method="missing",
    n_repeats=5,
    random_state=None,
) -> ModalityAblation | dict[str, ModalityAblation]:
    """Score a fitted model without one text column, without the numbers, and so on.

    The model is not trained again. It says how much this model uses a modality, which may be less
    than the modality is worth where another one says the same.

    Parameters
    ----------
    estimator : fitted MultimodalTextTabularClassifier
    X : DataFrame of shape (n_rows, n_features)
        Rows that the model has not learned from.
    y : array-like or DataFrame of shape (n_rows,) or (n_rows, n_tasks)
    scoring : str, callable, list, tuple or dict, default=None
        One score or several, as :func:`sklearn.inspection.permutation_importance` takes them. None:
        the estimator's `eval_metric` with its sign such that larger is better; it leaves missing
        labels out, and is the mean of several tasks. For scores of single tasks give a dict of
        :func:`mtgbm.metrics.make_task_scorer`.
    method : {"missing", "permute"}, default="missing"
        Whether the cells of a modality become missing or are dealt anew among the rows, all columns
        of a row together. Missing cells may be unlike anything in the training rows; permuted
        ones contradict the rest of the row.
    n_repeats : int, default=5
        How often to permute; "missing" has nothing to repeat.
    random_state : int, RandomState or None, default=None
        Of the permutations.

    Returns
    -------
    ModalityAblation, or dict of str to ModalityAblation for several scores

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If X is not a DataFrame or `n_repeats` no integer.
    ValueError
        If a score or a method is unknown or `n_repeats` below 1.

    References
    ----------
    Breiman, "Random Forests", Machine Learning 45 (2001), for permutation.
    """
    check_is_fitted(estimator, "network_")
    require_frame(X, "X")
    check_consistent_length(X, y)
    remove = choose("method", method, METHODS)
    check_number("n_repeats", n_repeats, Integral, 1, None)
    scorer = _scorer(estimator, scoring)
    rng = check_random_state(random_state)
    reads_table = estimator.network_.tabular is not None or estimator.stack_ is not None
    modalities = _modalities(estimator.roles_, reads_table)
    whole = scorer(estimator, X, y)
    drops: dict[str, list] = {name: [] for name in whole}
    for columns in modalities.values():
        scores = [
            scorer(estimator, remove(X, columns, rng), y)
            for _ in range(n_repeats if method == "permute" else 1)
        ]
        for name, drop in drops.items():
            drop.append([whole[name] - repeat[name] for repeat in scores])
    results = {
        name: ModalityAblation(name, whole[name], modalities, np.array(drop))
        for name, drop in drops.items()
    }
    return results if _is_several(scoring) else next(iter(results.values()))


def _modalities(roles: ColumnRoles, reads_table) -> dict[str, list[str]]:
    """Columns by modality; a text column whose name is that of a group comes as ``text column``."""
    numeric, categorical = (roles.numeric, roles.categorical) if reads_table else ((), ())
    groups = {
        "text": roles.text if len(roles.text) > 1 else (),
        "numeric": numeric,
        "categorical": categorical,
        "table": numeric + categorical if numeric and categorical else (),
    }
    texts = {f"text column {name}" if name in groups else name: [name] for name in roles.text}
    return texts | {name: list(columns) for name, columns in groups.items() if columns}


def _without(X, columns, rng):
    """The table with empty cells in some columns."""
    if frame_library(X) == "pandas":
        import pandas as pd

        empty = pd.Series([None] * len(X), index=X.index, dtype=object)
        return X.assign(**dict.fromkeys(columns, empty))
    import polars as pl

    return X.with_columns(pl.lit(None).alias(name) for name in columns)


def _permuted(X, columns, rng):
    """The table with the cells of some columns dealt anew, the same for all of them."""
    order = rng.permutation(len(X))
    moved = take_rows(X[list(columns)], order)
    if frame_library(X) == "pandas":
        return X.assign(**{name: moved[name].set_axis(X.index) for name in columns})
    return X.with_columns(moved)


METHODS: dict[str, Callable] = {"missing": _without, "permute": _permuted}


def _is_several(scoring):
    return isinstance(scoring, (list, tuple, set, Mapping))


def _scorer(estimator, scoring):
    """A function of a fitted model, a table and labels, which gives scores by name."""
    if scoring is None:
        score = _EvalMetric(estimator)
        return lambda model, X, y: {score.name: score(model, X, y)}
    score = check_scoring(estimator, scoring)
    if _is_several(scoring):
        return score
    name = scoring if isinstance(scoring, str) else getattr(scoring, "__name__", str(scoring))
    return lambda model, X, y: {name: score(model, X, y)}


class _EvalMetric:
    """The validation score of an estimator, as a scorer of scikit-learn: larger is better."""

    def __init__(self, estimator):
        targets = estimator._targets
        self.metric = ValidationMetric(estimator.eval_metric, targets.is_multiclass_)
        self.name = f"neg_{self.metric.name}" if self.metric.sign < 0 else self.metric.name

    def __call__(self, estimator, X, y) -> float:
        targets = estimator._targets
        labels = targets.transform(y)
        self.metric.check_defined(labels, targets.n_outputs_)
        probabilities = np.clip(estimator.predict_proba(X), NEAREST, 1 - NEAREST)
        if targets.is_multiclass_:
            return self.metric.sign * self.metric(np.log(probabilities), labels)
        positive = probabilities[:, 1:] if targets.encoder_.is_1d_ else probabilities
        return self.metric.sign * self.metric(logit(positive), labels)
