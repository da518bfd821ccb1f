"""What happens around the rounds: history, early stopping, progress.

A callback overrides some of three hooks; `on_round_end` returns True to end the training.
"""

import sys

import numpy as np


class Callback:
    """The hooks, doing nothing. Each is given a `mtgbm.engine.boosting.Round`."""

    def on_train_begin(self, round):
        """Before the first round."""

    def on_round_end(self, round):
        """After each tree; return True to make it the last."""
        return False

    def on_train_end(self, round):
        """After the last round, early or not."""


class History(Callback):
    """Keeps the score of every task after every round.

    Parameters
    ----------
    scorer : callable
        ``scorer(raw, labels, weights) -> ndarray of shape (n_tasks,)``.
    metric : str
        Its name, used in the keys of `results_`.
    training_weights : ndarray of shape (n_rows, n_tasks) or None
    training : bool
        Whether the training rows are scored too.
    results : dict or None
        Curves of an earlier fit to go on from.

    Attributes
    ----------
    results_ : dict
        ``{"validation": {"<task>:<metric>": [...]}}``, and "training" likewise.
    weights_ : list of ndarray of shape (n_tasks,)
        What the split search of each round used.
    """

    def __init__(
        self, scorer, metric, training_weights=None, *, training=False, results=None, weights=()
    ):
        self.scorer = scorer
        self.metric = metric
        self.training_weights = training_weights
        self.training = training
        self.results_ = results or {}
        self.weights_ = list(weights)

    def on_round_end(self, round):
        self.weights_.append(round.weights)
        if self.training:
            self._record("training", round, round.raw, round.labels, self.training_weights)
        if round.validation is not None:
            table = round.validation
            self._record("validation", round, round.validation_raw, table.labels, table.weights)
        return False

    def _record(self, part, round, raw, labels, weights):
        curves = self.results_.setdefault(part, {})
        for task, score in zip(round.tasks, self.scorer(raw, labels, weights), strict=True):
            curves.setdefault(f"{task.name}:{self.metric}", []).append(float(score))

    def validation_scores(self):
        """Scores of all rounds so far: (n_rounds, n_tasks), (0, 0) before the first."""
        curves = self.results_.get("validation", {}).items()
        watched = [curve for key, curve in curves if key.endswith(f":{self.metric}")]
        return np.array(watched).T if watched else np.empty((0, 0))


class EarlyStopping(Callback):
    """Ends the training when a fixed combination of the validation scores stops improving.

    The combination has the same weights in every round, so that like is compared with like.

    Parameters
    ----------
    history : History
        Must come before this one in the list of callbacks.
    patience : int
        Rounds without improvement after which to stop.
    task_weights : ndarray of shape (n_tasks,)
        Weights of the combination; tasks of weight 0 do not count.
    sign : {1, -1}
        1 if larger scores are better.
    per_task : bool
        Wait until no task with a weight has improved for `patience` rounds, not only the mean.
    min_delta : float
        An improvement must be larger than this.
    """

    def __init__(self, history, patience, task_weights, sign, *, per_task=False, min_delta=0.0):
        self.history = history
        self.patience = patience
        self.task_weights = task_weights
        self.sign = sign
        self.per_task = per_task
        self.min_delta = min_delta

    def on_train_begin(self, round):
        """Start anew, or from the curves of an earlier fit."""
        n_curves = 1 + len(self.task_weights)
        self._best = np.full(n_curves, -np.inf)
        self._best_round = np.zeros(n_curves, dtype=int)
        earlier = self.history.validation_scores()
        # Rounds of an earlier fit without validation rows count, though they have no score.
        self._n_rounds = len(round.forest.trees) - len(earlier)
        for scores in earlier:
            self._observe(scores)

    def on_round_end(self, round):
        self._observe(self.history.validation_scores()[-1])
        watched = np.append(True, (self.task_weights > 0) & self.per_task)
        return self._n_rounds - self._best_round[watched].max() >= self.patience

    def _observe(self, scores):
        """Note which curves reach a new best: that of the combination, and each task's."""
        self._n_rounds += 1
        counted = self.task_weights > 0
        combined = scores[counted] @ self.task_weights[counted]
        curves = self.sign * np.append(combined, scores)
        better = curves > self._best + self.min_delta
        self._best[better] = curves[better]
        self._best_round[better] = self._n_rounds

    def best_rounds(self):
        """Number of rounds to keep: of the combination, and of each task (its own best).

        A task that never had a score keeps the rounds of the combination.
        """
        has_score = np.isfinite(self._best)
        overall = self._best_round[0] if has_score[0] else self._n_rounds
        return int(overall), np.where(has_score[1:], self._best_round[1:], overall)


class Progress(Callback):
    """A tqdm progress bar with the validation score; lines every tenth of the way without tqdm.

    Parameters
    ----------
    n_rounds : int
    history : History
    """

    def __init__(self, n_rounds, history, file=None):
        self.n_rounds = n_rounds
        self.history = history
        self.file = file

    def on_train_begin(self, round):
        try:
            from tqdm.auto import tqdm
        except ImportError:
            self._bar = None
        else:
            self._bar = tqdm(total=self.n_rounds, unit="round", file=self.file)

    def on_round_end(self, round):
        text = self._score(round)
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update()
        elif (round.number + 1) % max(1, self.n_rounds // 10) == 0:
            line = f"round {round.number + 1} of {self.n_rounds} {text}"
            print(line, file=self.file or sys.stderr)
        return False

    def on_train_end(self, round):
        if self._bar is not None:
            self._bar.close()

    def _score(self, round):
        part = "validation" if round.validation is not None else "training"
        curves = self.history.results_.get(part)
        if not curves:
            return ""
        key = f"{round.tasks[round.main_task].name}:{self.history.metric}"
        return f"{part} {key} {curves[key][-1]:.4f}"
