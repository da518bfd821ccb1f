"""Why a model says what it says: what each feature of a row adds to the scores of its tasks.

Everything here takes a fitted :class:`mtgbm.MultiTaskLGBMClassifier`.
"""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from mtgbm.engine.contributions import contributions, expected_scores
from mtgbm.engine.threads import effective_n_threads
from mtgbm.parameters import find_task


def pred_contrib(estimator: Any, X: Any) -> np.ndarray:
    """Shapley values of the scores, for all tasks in one walk.

    They are exact and path-dependent: what the model would say without knowing a feature is taken
    from the training rows in the nodes, as in LightGBM's ``pred_contrib`` and in shap's
    TreeExplainer without background data.

    Parameters
    ----------
    estimator : fitted MultiTaskLGBMClassifier
    X : array-like, CSR matrix or DataFrame of shape (n_rows, n_features)

    Returns
    -------
    ndarray of float64 of shape (n_rows, n_outputs, n_features + 1)
        Outputs as in `raw_predict`: one for each binary task, C for a multiclass one. The last
        column holds the expected score, so that the sum over the last axis is the score.

    Raises
    ------
    ValueError
        If `X` is not a table like that of `fit`, or the trees do not hold the number of training
        rows of their nodes.

    References
    ----------
    Lundberg et al., "From local explanations to global understanding with explainable AI for
    trees", Nature Machine Intelligence 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from mtgbm import MultiTaskLGBMClassifier
    >>> from mtgbm.explanation import pred_contrib
    >>> X = np.random.default_rng(0).normal(size=(200, 4))
    >>> Y = (X[:, :2] + X[:, [2]] > 0).astype(float)
    >>> model = MultiTaskLGBMClassifier(n_estimators=5).fit(X, Y)
    >>> values = pred_contrib(model, X)
    >>> values.shape
    (200, 2, 5)
    >>> bool(np.allclose(values.sum(axis=2), model.raw_predict(X)))
    True
    """
    check_is_fitted(estimator)
    return _contributions_of_matrix(estimator, estimator._read(X))


def _contributions_of_matrix(estimator: Any, matrix: Any) -> np.ndarray:
    forest = estimator.forest_
    n_threads = effective_n_threads(estimator.n_jobs)
    out = np.zeros((matrix.shape[0], forest.n_outputs, forest.n_features + 1))
    for rows, block in estimator._mapper.blocks(matrix):
        contributions(forest, block, n_threads, out=out[rows])
    return out


def output_names(estimator: Any) -> list[str]:
    """A name for each output: the task's, for a multiclass task ``task=class``."""
    names = []
    per_task = zip(
        estimator.task_names_,
        estimator._objective.outputs_of_task,
        estimator._encoder.classes_,
        strict=True,
    )
    for task, outputs, classes in per_task:
        names += [str(task)] if len(outputs) == 1 else [f"{task}={label}" for label in classes]
    return names


def shap_explainer(estimator: Any, data: Any = None) -> "TaskExplainer":
    """Explainer whose results shap's plots can draw (needs shap).

    Parameters
    ----------
    estimator : fitted MultiTaskLGBMClassifier
    data : array-like of shape (n_background, n_features), optional
        Rows that stand in for what is not known, as shap's "interventional" values want them. shap
        itself then computes the values, slowly, and cannot where features are categorical. By
        default the values are those of :func:`pred_contrib`.

    Returns
    -------
    TaskExplainer

    Raises
    ------
    ImportError
        If shap is not installed.
    ValueError
        If there is `data` and the model has splits on categories.
    """
    return TaskExplainer(estimator, data)


class TaskExplainer:
    """Turns rows into a `shap.Explanation` of the scores; made by :func:`shap_explainer`.

    Parameters
    ----------
    estimator : fitted MultiTaskLGBMClassifier
    data : array-like of shape (n_background, n_features), optional

    Attributes
    ----------
    expected_value : ndarray of float64 of shape (n_outputs,)
    output_names : list of str
    feature_names : list of str
    """

    def __init__(self, estimator: Any, data: Any = None):
        check_is_fitted(estimator)
        self._shap = _load_shap()
        self.estimator = estimator
        self.output_names = output_names(estimator)
        n_features = estimator.n_features_in_
        default = [f"x{number}" for number in range(n_features)]
        self.feature_names = list(map(str, getattr(estimator, "feature_names_in_", default)))
        forest = estimator.forest_
        self._background = None
        if data is None or not forest.trees:  # of a constant no feature has a share either way
            self.expected_value = expected_scores(forest)
        else:
            self._background = self._shap.TreeExplainer(
                shap_trees(forest), _dense(estimator._read(data)).astype(np.float64)
            )
            self.expected_value = np.atleast_1d(self._background.expected_value)

    def __call__(self, X: Any, task: Any = None) -> Any:
        """Explain the scores of some rows.

        Parameters
        ----------
        X : array-like, CSR matrix or DataFrame of shape (n_rows, n_features)
        task : str or int, optional
            Explain this task alone.

        Returns
        -------
        shap.Explanation
            Its values have shape (n_rows, n_features, n_outputs), or (n_rows, n_features) for a
            task of one output; shap's plots draw one output at a time, such as
            ``explanation[:, :, "name"]``.
        """
        matrix = self.estimator._read(X)
        values = self._values(matrix)
        outputs = self._chosen(task)
        names: Any = [self.output_names[output] for output in outputs]
        values = values[:, :, outputs]
        base = np.tile(self.expected_value[outputs], (len(values), 1))
        if task is not None and len(outputs) == 1:
            values, base, names = values[:, :, 0], base[:, 0], names[0]
        return self._shap.Explanation(
            values,
            base_values=base,
            data=_dense(matrix),
            display_data=X.to_numpy() if hasattr(X, "to_numpy") else None,
            feature_names=self.feature_names,
            output_names=names,
        )

    def _values(self, matrix: Any) -> np.ndarray:
        if self._background is None:
            return np.moveaxis(_contributions_of_matrix(self.estimator, matrix), 1, 2)[:, :-1]
        values = self._background.shap_values(_dense(matrix).astype(np.float64))
        return values[:, :, None] if values.ndim == 2 else values

    def _chosen(self, task: Any) -> list[int]:
        """Positions of the outputs of a task, of all by default."""
        if task is None:
            return list(range(len(self.output_names)))
        position = find_task("task", task, self.estimator.task_names_)
        return self.estimator._objective.outputs_of_task[position]


def shap_trees(forest: Any) -> dict[str, Any]:
    """A forest in the form in which shap's TreeExplainer takes trees of its own.

    Raises
    ------
    ValueError
        If a split is on categories, for which that form has no words.
    """
    if any(len(tree.bitsets) for tree in forest.trees):
        raise ValueError(
            "shap has no splits on sets of categories; leave out `data` to explain this model by "
            "its own Shapley values, or encode the categories with mtgbm.RiskTableEncoder."
        )
    return {
        "trees": [_shap_tree(tree) for tree in forest.trees],
        "base_offset": forest.base_score,
        "internal_dtype": np.float64,
        "input_dtype": np.float64,
        "tree_output": "raw_value",
    }


def _shap_tree(tree: Any) -> dict[str, np.ndarray]:
    nodes = tree.nodes
    inner = nodes["leaf"] < 0
    values = np.zeros((len(nodes), tree.values.shape[1]))
    values[~inner] = tree.values[nodes["leaf"][~inner]]
    left, right = (np.where(inner, nodes[side], -1) for side in ("left", "right"))
    return {
        "children_left": left,
        "children_right": right,
        "children_default": np.where(nodes["missing_left"], left, right),
        "features": np.where(inner, nodes["feature"], -1),
        "thresholds": nodes["threshold"].copy(),
        "values": values,
        "node_sample_weight": tree.counts.astype(np.float64),
    }


class SingleTask(ClassifierMixin, BaseEstimator):
    """One task of a fitted model as a classifier of its own.

    Tools that know only one target, such as those of :mod:`sklearn.inspection` and
    :mod:`sklearn.calibration`, take it where they would refuse the model of several. It learns
    nothing; the model stays as it is.

    Parameters
    ----------
    estimator : fitted MultiTaskLGBMClassifier
    task : str or int
        Name or position.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.inspection import partial_dependence
    >>> from mtgbm import MultiTaskLGBMClassifier
    >>> from mtgbm.explanation import SingleTask
    >>> X = np.random.default_rng(0).normal(size=(200, 4))
    >>> Y = (X[:, :2] + X[:, [2]] > 0).astype(float)
    >>> model = MultiTaskLGBMClassifier(n_estimators=5).fit(X, Y)
    >>> result = partial_dependence(SingleTask(model, task=1), X, [0], grid_resolution=7)
    >>> result["average"].shape
    (1, 7)
    """

    def __init__(self, estimator: Any, task: Any = 0):
        self.estimator = estimator
        self.task = task

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self.estimator, "forest_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    @property
    def classes_(self) -> np.ndarray:
        return np.asarray(self.estimator._encoder.classes_[self._position])

    @property
    def n_features_in_(self) -> int:
        return self.estimator.n_features_in_

    @property
    def feature_names_in_(self) -> np.ndarray:
        return self.estimator.feature_names_in_

    @property
    def _position(self) -> int:
        return find_task("task", self.task, self.estimator.task_names_)

    def fit(self, X: Any = None, y: Any = None) -> "SingleTask":
        """Nothing is learned: the model is fitted already."""
        check_is_fitted(self.estimator)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the task's classes: (n_rows, n_classes)."""
        probabilities = self.estimator.predict_proba(X)
        if isinstance(probabilities, list):
            return probabilities[self._position]
        if self.estimator._encoder.is_1d_:
            return probabilities
        positive = probabilities[:, self._position]
        return np.column_stack([1 - positive, positive])

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row: (n_rows,)."""
        predicted = self.estimator.predict(X)
        return predicted if predicted.ndim == 1 else predicted[:, self._position]


def _dense(matrix: Any) -> np.ndarray:
    return matrix.toarray() if hasattr(matrix, "toarray") else matrix


def _load_shap() -> Any:
    try:
        import shap
    except ImportError as error:
        raise ImportError("shap_explainer needs shap: pip install shap.") from error
    return shap
