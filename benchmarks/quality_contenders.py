"""The contenders of `benchmarks.quality`: they get the same parts and return test probabilities.

A contender is called with the parts, [(X, Y), ...] of training, validation and test rows, and with
the parameters that all share, under LightGBM's names. It returns the probabilities of the test rows
(n_rows, n_tasks), the rounds that each task keeps, and the seconds of fitting.

lightgbm         a model for each task, of the rows labelled for it
xgboost          one model with trees of vectors (multi_output_tree), 31 leaves, its own penalty
catboost         one model with MultiLogloss, its own symmetric trees of depth 6
mtgbm            one model of all rows, with its defaults or other options
dedicated mtgbm  mtgbm as lightgbm: a model for each task

XGBoost and CatBoost take no missing labels: they learn from the rows that are labelled for all
tasks. A task of which these rows show only one class gets a model of its own, of the rows labelled
for it. They stop by their own mean log loss over the validation rows labelled for all tasks; each
task then keeps the round at which its own labelled validation rows have the least log loss, as
mtgbm does.
"""

import ast
from functools import partial

import numpy as np

from benchmarks.flights import PATIENCE, fit_dedicated, fit_joint
from benchmarks.measure import timed
from benchmarks.parts import labelled
from mtgbm import MultiTaskLGBMClassifier, weighting
from mtgbm.parameters import suggest

OURS = "mtgbm"
PEERS = ("lightgbm", "xgboost", "catboost")


def fit_ours(parts, shared, options):
    """One label is given as a vector, for which two columns of probabilities come back."""
    n_tasks = parts[0][1].shape[1]
    if n_tasks == 1:
        parts = [(X, Y[:, 0]) for X, Y in parts]
    probabilities, rounds, seconds = fit_joint(parts, {**shared, **options})
    return probabilities[:, -n_tasks:], rounds, seconds


def fit_ours_dedicated(parts, shared):
    """mtgbm with one task at a time."""
    outcomes = []
    for task in range(parts[0][1].shape[1]):
        known = [labelled(*part, task) for part in parts[:2]]
        own = [(X, y[:, np.newaxis]) for X, y in known]
        outcomes.append(fit_ours([*own, parts[2]], shared, {}))
    columns, rounds, seconds = zip(*outcomes, strict=True)
    return np.hstack(columns), [kept for (kept,) in rounds], sum(seconds)


class XGBoostTrees:
    """Trees whose leaves hold a value for each task."""

    def fit(self, train, validation, shared):
        import xgboost

        model = xgboost.XGBClassifier(
            n_estimators=shared["n_estimators"],
            learning_rate=shared["learning_rate"],
            max_leaves=shared["num_leaves"],
            max_depth=0,
            tree_method="hist",
            grow_policy="lossguide",
            multi_strategy="multi_output_tree",
            eval_metric="logloss",
            early_stopping_rounds=PATIENCE,
            n_jobs=shared["n_jobs"],
            random_state=shared["random_state"],
        )
        return model.fit(*train, eval_set=[validation], verbose=False)

    def stages(self, model, X, n_tasks):
        """Yield the probabilities (n_rows, n_tasks) after each round."""
        import xgboost

        booster = model.get_booster()
        # The first tree is added to the model's base score, the others to nothing.
        table = xgboost.DMatrix(X)
        logits = 0.0
        for round_ in range(booster.num_boosted_rounds()):
            one = (round_, round_ + 1)
            tree = booster.predict(table, output_margin=True, iteration_range=one)
            logits = logits + tree.reshape(len(X), n_tasks)
            yield 1 / (1 + np.exp(-logits))
            if round_ == 0:
                table = xgboost.DMatrix(X, base_margin=np.zeros((len(X), n_tasks)))

    def predict(self, model, X, rounds):
        return model.predict_proba(X, iteration_range=(0, rounds))


class CatBoostTrees:
    """Symmetric trees, the only ones that it grows for several tasks."""

    def fit(self, train, validation, shared):
        import catboost

        model = catboost.CatBoostClassifier(
            iterations=shared["n_estimators"],
            learning_rate=shared["learning_rate"],
            loss_function="Logloss" if train[1].ndim == 1 else "MultiLogloss",
            early_stopping_rounds=PATIENCE,
            use_best_model=False,
            thread_count=shared["n_jobs"],
            random_state=shared["random_state"],
            verbose=False,
            allow_writing_files=False,
        )
        return model.fit(*train, eval_set=validation)

    def stages(self, model, X, n_tasks):
        """Yield the probabilities (n_rows, n_tasks) after each round."""
        for probabilities in model.staged_predict_proba(X):
            yield probabilities[:, -n_tasks:]

    def predict(self, model, X, rounds):
        return model.predict_proba(X, ntree_end=rounds)


def fit_complete(parts, shared, library):
    """A model of the rows labelled for all tasks, and one for each task without two classes there.

    Parameters
    ----------
    parts, shared : as for every contender
    library : XGBoostTrees or CatBoostTrees
    """
    n_tasks = parts[0][1].shape[1]
    probabilities, rounds, total = np.empty(parts[2][1].shape), [0] * n_tasks, 0.0
    for tasks in groups_of_tasks(parts[0][1]):
        train, validation = (complete_rows(*part, tasks) for part in parts[:2])
        model, seconds = timed(library.fit, train, validation, shared)
        total += seconds
        X_val, Y_val = parts[1]
        stages = library.stages(model, X_val, len(tasks))
        for column, best in enumerate(best_rounds(stages, Y_val[:, tasks])):
            rounds[tasks[column]] = best
            predicted = library.predict(model, parts[2][0], best)[:, -len(tasks) :]
            probabilities[:, tasks[column]] = predicted[:, column]
    return probabilities, rounds, total


def groups_of_tasks(Y):
    """The tasks with two classes in the rows labelled for all tasks; then each other one alone."""
    complete = Y[~np.isnan(Y).any(axis=1)]
    together = [task for task, y in enumerate(complete.T) if np.unique(y).size == 2]
    alone = [[task] for task in range(Y.shape[1]) if task not in together]
    return [together, *alone] if together else alone


def complete_rows(X, Y, tasks):
    """Features and labels, which are 1-d for a single task."""
    known = ~np.isnan(Y[:, tasks]).any(axis=1)
    return X[known], Y[known, tasks[0]] if len(tasks) == 1 else Y[np.ix_(known, tasks)]


def best_rounds(stages, Y):
    """For each task the number of rounds with the least log loss on its labelled rows."""
    losses = [task_losses(Y, probabilities) for probabilities in stages]
    return [int(best) + 1 for best in np.argmin(losses, axis=0)]


def task_losses(Y, probabilities):
    """Mean log loss of each task, as `mtgbm.metrics.log_loss`, fast enough for every round."""
    least = np.finfo(float).eps
    certain = np.clip(np.where(Y == 1, probabilities, 1.0 - probabilities), least, 1.0)
    return np.nanmean(np.where(np.isnan(Y), np.nan, -np.log(certain)), axis=0)


#: By the names under which they are chosen and printed.
CONTENDERS = {
    "lightgbm": fit_dedicated,
    "xgboost": partial(fit_complete, library=XGBoostTrees()),
    "catboost": partial(fit_complete, library=CatBoostTrees()),
    "dedicated mtgbm": fit_ours_dedicated,
    OURS: partial(fit_ours, options={}),
}


def is_ours(name):
    return name.startswith(OURS)


def variant(text):
    """A contender of other options, written as arguments: 'reg_lambda=5, sketch_outputs=None'.

    Values are literals, or weightings such as FixedWeighting(main_weight=2).

    Returns
    -------
    name : str
    contender : callable

    Raises
    ------
    ValueError
        If the text cannot be read or names no parameter of the estimator.
    """
    written, options = read_options(text, MultiTaskLGBMClassifier())
    return f"{OURS} {written}", partial(fit_ours, options=options)


def read_options(text, estimator):
    """Read parameters of an estimator that are written as arguments.

    Returns
    -------
    written : str
        The same, with one space after each comma.
    options : dict

    Raises
    ------
    ValueError
        If the text cannot be read or names no parameter of the estimator.
    """
    keywords = read_keywords(text)
    known = estimator.get_params(deep=False)
    for name in keywords:
        if name not in known:
            raise ValueError(
                f"{type(estimator).__name__} has no parameter {name!r}; {suggest(name, known)}"
            )
    written = ", ".join(f"{name}={ast.unparse(node)}" for name, node in keywords.items())
    return written, {name: read_value(node) for name, node in keywords.items()}


def read_keywords(text):
    """The values as syntax trees, by name."""
    try:
        call = ast.parse(f"options({text})", mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"takes name=value, name=value; got {text!r}") from error
    keywords = {keyword.arg: keyword.value for keyword in getattr(call, "keywords", ())}
    if not isinstance(call, ast.Call) or call.args or not keywords or None in keywords:
        raise ValueError(f"takes name=value, name=value; got {text!r}")
    return keywords


def read_value(node):
    """A literal, or an object of `mtgbm.weighting` made with literals."""
    if not isinstance(node, ast.Call):
        return ast.literal_eval(node)
    name = ast.unparse(node.func)
    if name not in weighting.__all__ or node.args:
        raise ValueError(
            f"takes literals and weightings with named arguments; got {ast.unparse(node)!r}"
        )
    return getattr(weighting, name)(
        **{keyword.arg: ast.literal_eval(keyword.value) for keyword in node.keywords}
    )
