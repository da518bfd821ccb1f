"""The trees beside a net, and what joins the scores of both."""

from __future__ import annotations

import numpy as np

from mtbert.batching import Rows
from mtbert.columns import ColumnRoles
from mtbert.labelled_table import LabelledTable
from mtbert.stacking.blend import ScoreBlend, mean_logloss
from mtbert.stacking.embedding import EmbeddingAxes
from mtbert.stacking.folds import check_enough_rows, deal_folds, fewest_of_a_class
from mtbert.stacking.nets import CrossFittedNets, TrainedNet, score_share
from mtbert.stacking.options import StackingOptions
from mtbert.stacking.terms import TermFrequencies
from mtbert.stacking.text_scores import TextScores
from mtbert.stacking.text_topics import TextTopics
from mtbert.stacking.trees import CrossFittedTrees
from mtbert.targets import Targets

#: Most folds of the trees if the net has none.
TREE_FOLDS = 5
#: Whose scores are joined, in this order.
SOURCES = ("net", "trees")


class Stack:
    """Learns what a net and trees say together.

    Parameters
    ----------
    options : StackingOptions
        Settled.
    targets : Targets
    seed : int

    Attributes
    ----------
    terms_ : list of TermFrequencies
        Those of all text columns together, then those of each alone if there are several and the
        trees see "text_scores". Empty if they see nothing of the text itself.
    text_scores_ : list of TextScores
        One for each of these. Empty if the trees do not see "text_scores".
    text_topics_ : TextTopics or None
        None if they do not see "text_topics".
    axes_ : EmbeddingAxes or None
        None if they do not see "net_embedding".
    trees_ : CrossFittedTrees
    blend_ : ScoreBlend or None
        None if the trees have the last word.
    losses_ : dict of str to float
        Mean log loss of "net" and "trees", on rows that they have not learned from, and of the
        "blend" of their scores there. Empty if there are no such rows.

    References
    ----------
    Wolpert, "Stacked generalization", Neural Networks 5(2), 1992. Breiman, "Stacked regressions",
    Machine Learning 24, 1996, for weights that are not negative.
    """

    def __init__(self, options: StackingOptions, targets: Targets, seed=0):
        self.options = options
        self.targets = targets
        self.seed = seed

    def has_enough_rows(self, labels) -> bool:
        """Whether `check` finds enough rows of each class."""
        return fewest_of_a_class(labels) >= self._fewest

    @property
    def _fewest(self):
        return max(2, self.options.folds)

    def check(self, labels, roles: ColumnRoles) -> None:
        """Raise ValueError if there are too few training rows of a class, or nothing to see.

        Parameters
        ----------
        labels : ndarray of int16 of shape (n, n_tasks)
            -1 where missing.
        roles : ColumnRoles
        """
        check_enough_rows(labels, self.targets, self._fewest)
        has_columns = bool(roles.numeric or roles.categorical)
        if self.options.features == ("columns",) and not has_columns:
            raise ValueError(
                "the trees are to see 'columns' alone, but X has only text; add 'text_scores' to "
                "stacking_options['features']."
            )

    def prepare(self, text_columns) -> Stack:
        """Make the parts that the options ask for, which have learned nothing yet.

        Parameters
        ----------
        text_columns : tuple of str
        """
        options, features = self.options, self.options.features
        of_text = dict(options.text_model)
        C = of_text.pop("C")
        parts = _texts_to_count(text_columns, features)
        self.terms_ = [TermFrequencies(columns, **of_text) for columns in parts]
        has_scores = "text_scores" in features
        self.text_scores_ = [TextScores(self.targets, C) for _ in parts] if has_scores else []
        self.text_topics_ = (
            TextTopics(options.n_topics, self.seed) if "text_topics" in features else None
        )
        self.axes_ = EmbeddingAxes(options.n_components) if "net_embedding" in features else None
        self.trees_ = CrossFittedTrees(options.trees, self.targets, self.seed)
        self.losses_: dict[str, float] = {}
        self.blend_ = self._new_blend()
        return self

    def _new_blend(self):
        """None if the trees have the last word."""
        if self.options.join == "trees":
            return None
        blend = ScoreBlend(self.targets.is_multiclass_)
        is_mean = self.options.join == "mean"
        return blend.take_mean(len(SOURCES), self.targets.n_outputs_) if is_mean else blend

    def fit(self, table: LabelledTable, net: TrainedNet, train, validation, share, say) -> Stack:
        """Learn from the rows that the net has learned from.

        Parameters
        ----------
        table : LabelledTable
        net : TrainedNet
        train : callable
            ``train(table, number)`` returns another TrainedNet, the same for the same arguments.
        validation : LabelledTable or None
            Rows that the net has not learned from.
        share : float
            Of the rows, which a single further net does not see.
        say : callable
            Gets a line of text at each stage.
        """
        self.prepare(net.reader.roles_.text)
        fold_of = deal_folds(table.labels, self._n_folds(table.labels), self.seed)
        nets = self._cross_fit_nets(table, fold_of, net, train, say)
        say("stacking: trees")
        features = self._learn_features(table, fold_of, net, nets)
        n_categorical = net.rows.categorical.shape[1] if "columns" in self.options.features else 0
        seen_by_none = self.trees_.fit_transform(
            features, n_categorical, table.labels, table.weights, fold_of
        )
        if nets is not None:
            self._join(nets.scores_, seen_by_none, table)
        elif self.options.folds == 1:
            say("stacking: a net for the scores of rows it does not see")
            held, scores = score_share(table, share, self.seed, train)
            self._join(scores, seen_by_none[held], table.take(held))
        elif validation is not None:
            rows = net.reader.transform(validation.X)
            scores = self.trees_.transform(self._features(validation.X, rows))
            self._join(net.run(rows), scores, validation)
        return self

    def _n_folds(self, labels):
        """Of the trees, and of the nets if all rows are scored by further ones."""
        if self.options.folds > 1:
            return self.options.folds
        return min(TREE_FOLDS, fewest_of_a_class(labels))

    def _cross_fit_nets(self, table, fold_of, net, train, say):
        if self.options.folds < 2:
            return None
        if self.axes_ is not None:
            self.axes_.fit(net.run(net.rows, embed=True))
        return CrossFittedNets(train, self.axes_).fit(table, fold_of, net, say)

    def _learn_features(self, table, fold_of, net, nets):
        """What the trees see of the training rows, by sources that have not seen their labels."""
        frequencies = [terms.fit_transform(table.X) for terms in self.terms_]
        known = (table.labels, table.weights, fold_of)
        makers = {
            "net_scores": lambda: nets.scores_,
            "net_embedding": lambda: nets.places_,
            "text_scores": lambda: _of_each_text(
                [scores.fit_transform for scores in self.text_scores_], frequencies, *known
            ),
            "text_topics": lambda: self.text_topics_.fit_transform(frequencies[0]),
            "columns": lambda: _columns(net.rows),
        }
        return self._side_by_side(makers)

    def _features(self, X, rows, net_scores=None, embed=None):
        """What the trees see of rows that took no part."""
        frequencies = [terms.transform(X) for terms in self.terms_]
        makers = {
            "net_scores": lambda: net_scores,
            "net_embedding": lambda: self.axes_.transform(embed(rows)),
            "text_scores": lambda: _of_each_text(
                [scores.transform for scores in self.text_scores_], frequencies
            ),
            "text_topics": lambda: self.text_topics_.transform(frequencies[0]),
            "columns": lambda: _columns(rows),
        }
        return self._side_by_side(makers)

    def _side_by_side(self, makers):
        blocks = [makers[name]() for name in self.options.features]
        return np.hstack(blocks).astype(np.float64)

    def _join(self, net_scores, tree_scores, table):
        """Learn from rows that neither has learned from what the net and the trees are worth."""
        labels = table.labels
        weights = np.ones(labels.shape) if table.weights is None else table.weights
        is_multiclass = self.targets.is_multiclass_
        both = np.stack([net_scores, tree_scores])
        if self.options.join == "blend":
            self.blend_.fit(both, labels, weights)
        sources = dict(zip(SOURCES, both, strict=True))
        if self.blend_ is not None:
            sources["blend"] = self.blend_(both)
        self.losses_ = {
            name: mean_logloss(scores, labels, weights, is_multiclass)
            for name, scores in sources.items()
        }

    def transform(self, X, rows: Rows, net_scores, embed) -> np.ndarray:
        """Return joint logits of other rows.

        Parameters
        ----------
        X : DataFrame
        rows : Rows
            The same, as the net's reader reads them.
        net_scores : ndarray of shape (n, n_outputs)
            Logits of the net.
        embed : callable
            Rows to the net's fused embedding.

        Returns
        -------
        ndarray of float64 of shape (n, n_outputs)
        """
        scores = self.trees_.transform(self._features(X, rows, net_scores, embed))
        return scores if self.blend_ is None else self.blend_(np.stack([net_scores, scores]))


def _texts_to_count(text_columns, features):
    """Text columns whose terms are counted together."""
    if "text_scores" in features and len(text_columns) > 1:
        return [text_columns, *((column,) for column in text_columns)]
    return [text_columns] if "text_scores" in features or "text_topics" in features else []


def _of_each_text(transforms, frequencies, *known):
    scores = [
        transform(of_text, *known)
        for transform, of_text in zip(transforms, frequencies, strict=True)
    ]
    return np.hstack(scores)


def _columns(rows):
    return np.hstack([rows.numeric, rows.categorical])
