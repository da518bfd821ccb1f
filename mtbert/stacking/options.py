"""What can be chosen about stacking, and its defaults."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from numbers import Integral, Real
from typing import Any

from mtgbm import MultiTaskLGBMClassifier
from mtgbm.parameters import check_number, check_parameters, choose, suggest

#: What the parameter `stacking` of the estimator can be, beside None.
STACKINGS = ("auto", "gbdt")
#: How the scores of the net and of the trees become one: their mean, a weighted sum, or the trees
#: see both.
JOINS = ("mean", "blend", "trees")
#: What trees can see.
FEATURES = ("net_scores", "net_embedding", "text_scores", "text_topics", "columns")
#: Parts of the rows if trees see scores of nets, which must then be out of fold.
FOLDS_OF_NETS = 3
#: From so many rows on, a share is held out for what joins the scores; of fewer, it costs the net
#: more than a second one costs time.
MANY_ROWS = 4_800
#: Parameters of the trees unless the user gives others.
TREES = {
    "n_estimators": 300,
    "learning_rate": 0.05,
    "num_leaves": 7,
    "colsample_bytree": 0.5,
}
#: Parameters of the trees that stacking itself sets.
SET_HERE = (
    "best_round_per_task",
    "categorical_feature",
    "checkpoint_interval",
    "checkpoint_path",
    "early_stopping_rounds",
    "objective",
    "random_state",
    "warm_start",
)
#: Of the terms of the text, and of the linear model of them.
TEXT_MODEL = {"ngram_range": (1, 2), "max_features": 20_000, "C": 1.0}


@dataclass(frozen=True)
class StackingOptions:
    """The keys of `stacking_options`.

    Attributes
    ----------
    folds : int or None, default=None
        How many further nets score rows that they have not learned from, while the net that
        predicts learns from all. 0: none, so it learns from all but the validation rows. 1: one,
        which does not see a share of the rows, `validation_fraction`. 2 or more: as many as the
        rows have parts, each of which is scored by a net that learned from the others. None: 3 if
        the trees see the net; 1 if scores are blended, `fit` has no validation rows, and fewer than
        4,800 to learn from; else 0.
    join : {"mean", "blend", "trees"}, default="blend"
        "mean": the mean of the logits of the net and the trees; nothing is learned, so that without
        folds no row is held out. "blend": their weighted sum, with the weights that serve rows best
        which neither has learned from: those that further nets have scored or, without folds, the
        validation rows, which are held out if `fit` gets none. "trees": the trees see the scores of
        the net and have the last word.
    features : list of str, default=None
        What the trees see:

        "net_scores"
            The logits of the net.
        "net_embedding"
            Its fused embedding in a few axes.
        "text_scores"
            Those of a linear model of words and pairs of words of all text columns; if there are
            several, of one for each of them, too.
        "text_topics"
            The frequencies of the words of all text columns in a few axes.
        "columns"
            Those that are no text: scaled numbers, risks and codes of categories, as the net sees
            them.

        None: the last three, and with ``join="trees"`` net_scores.
    n_components : int, default=16
        Axes of "net_embedding".
    n_topics : int, default=60
        Axes of "text_topics".
    text_model : dict
        ngram_range and max_features of the words, see
        :class:`mtbert.stacking.terms.TermFrequencies`, and C of "text_scores", see
        :class:`mtbert.stacking.text_scores.TextScores`.
    trees : dict
        Parameters of :class:`mtgbm.MultiTaskLGBMClassifier`. n_estimators is the most rounds; those
        are kept that serve rows best which the trees have not seen.
    """

    folds: int | None = None
    join: str = "blend"
    features: tuple[str, ...] = ()
    n_components: int = 16
    n_topics: int = 60
    text_model: dict[str, Any] = field(default_factory=dict)
    trees: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, options) -> StackingOptions:
        """Check what the user gave and fill in the rest.

        Raises
        ------
        TypeError
            If a value is of the wrong type.
        ValueError
            If a key or value is unknown, out of range, or does not go with another.
        """
        given = _check_keys(options)
        if given.get("folds") is not None:
            check_number("stacking_options['folds']", given["folds"], Integral, 0, None)
        for key in ("n_components", "n_topics"):
            if key in given:
                check_number(f"stacking_options[{key!r}]", given[key], Integral, 1, None)
        choose("stacking_options['join']", given.get("join", cls.join), dict.fromkeys(JOINS, True))
        given["features"] = _read_features(given.get("features"), given.get("join", cls.join))
        given["text_model"] = _read_text_model(given.get("text_model"))
        given["trees"] = _read_trees(given.get("trees"))
        chosen = cls(**given)
        chosen._check_together()
        return chosen

    def settle(self, n_rows: int, has_validation: bool) -> StackingOptions:
        """Choose the folds, if they are left to us.

        Parameters
        ----------
        n_rows : int
            For training, and for validation if rows for it are yet to be held out.
        has_validation : bool
            Whether there are validation rows anyway.
        """
        if self.folds is not None:
            return self
        if self.join == "trees" or _features_of_nets(self.features):
            return replace(self, folds=FOLDS_OF_NETS)
        needs_rows = self.join == "blend" and not has_validation
        return replace(self, folds=int(needs_rows and n_rows < MANY_ROWS))

    @property
    def needs_validation(self) -> bool:
        """Whether what joins the scores is learned from validation rows."""
        return self.folds == 0 and self.join == "blend"

    def _check_together(self):
        wanted = _features_of_nets(self.features)
        scores_all = self.folds is None or self.folds > 1
        if self.join == "trees" and not scores_all:
            raise ValueError(
                f"join='trees' needs scores of the net for all rows, and folds={self.folds} gives "
                "them for few; set folds to 2 or more, or join='blend' or 'mean'."
            )
        if wanted and not scores_all:
            raise ValueError(
                f"the feature {wanted[0]!r} is learned out of fold; set folds to 2 or more, or "
                "leave it out."
            )


def _check_keys(options):
    if options is None:
        return {}
    if not isinstance(options, dict):
        raise TypeError(f"stacking_options must be a dict or None, got {options!r}.")
    names = [item.name for item in fields(StackingOptions)]
    for key in options:
        if key not in names:
            raise ValueError(f"stacking_options has the key {key!r}; {suggest(key, names)}")
    return dict(options)


def _read_features(features, join):
    if features is None:
        usual = ("text_scores", "text_topics", "columns")
        return ("net_scores", *usual) if join == "trees" else usual
    if isinstance(features, str) or not hasattr(features, "__iter__"):
        raise TypeError(f"stacking_options['features'] must be a list of names, got {features!r}.")
    for name in features:
        choose("feature of the trees", name, dict.fromkeys(FEATURES, True))
    if not features:
        raise ValueError(
            f"stacking_options['features'] is empty; name some of {', '.join(FEATURES)}."
        )
    return tuple(name for name in FEATURES if name in features)


def _features_of_nets(features):
    return [name for name in features if name.startswith("net_")]


def _read_text_model(given):
    given = _check_dict("text_model", given)
    for key in given:
        choose("key of stacking_options['text_model']", key, dict.fromkeys(TEXT_MODEL, True))
    chosen = TEXT_MODEL | given
    check_number("C of stacking_options['text_model']", chosen["C"], Real, (0,), None)
    name = "max_features of stacking_options['text_model']"
    check_number(name, chosen["max_features"], Integral, 1, None)
    return chosen | {"ngram_range": _check_lengths(chosen["ngram_range"])}


def _check_lengths(value):
    is_pair = isinstance(value, (list, tuple)) and len(value) == 2
    if not is_pair or not all(type(n) is int for n in value) or not 1 <= value[0] <= value[1]:
        raise ValueError(
            "ngram_range of stacking_options['text_model'] must be the fewest and the most words "
            f"of a term, such as (1, 2), got {value!r}."
        )
    return tuple(value)


def _read_trees(given):
    given = _check_dict("trees", given)
    known = [name for name in MultiTaskLGBMClassifier().get_params() if name not in SET_HERE]
    for key in given:
        if key in SET_HERE:
            raise ValueError(f"stacking_options['trees'] may not set {key}: stacking itself does.")
        if key not in known:
            raise ValueError(f"stacking_options['trees'] has {key!r}; {suggest(key, known)}")
    chosen = TREES | given
    check_parameters(MultiTaskLGBMClassifier(**chosen))
    return chosen


def _check_dict(name, value):
    if value is not None and not isinstance(value, dict):
        raise TypeError(f"stacking_options[{name!r}] must be a dict, got {value!r}.")
    return value or {}
