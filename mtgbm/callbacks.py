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

    def get_state(self):
        """Return what later rounds depend on, as a dict that JSON can hold."""
        return {}

    def set_state(self, state):
        """Go on from a dict of `get_state`, after `on_train_begin`."""


class History(Callback):
    """Keeps the score of every task after every round.

    Parameters
    ----------
    scorer : callable
        ``scorer(raw, labels, weights) -> ndarray of shape (n_tasks,)``.
    metric : str
        Its name, used in the keys of `results_`.
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

    def __init__(self, scorer, metric, *, training=False, results=None, weights=()):
        self.scorer = scorer
        self.metric = metric
        self.training = training
        self.results_ = results or {}
        self.weights_ = list(weights)

    def on_train_begin(self, round):
        """Let the round know the curves of an earlier fit."""
        round.score_sign = self.scorer.sign
        round.scores.extend(self.validation_scores())

    def on_round_end(self, round):
        self.weights_.append(round.weights)
        if self.training:
            self._record("training", round.tasks, round.raw, round.training)
        if round.validation is not None:
            scores = self._record("validation", round.tasks, round.validation_raw, round.validation)
            round.scores.append(scores)
        return False

    def _record(self, part, tasks, raw, table):
        scores = self.scorer(raw, table.labels, table.weights)
        curves = self.results_.setdefault(part, {})
        for task, score in zip(tasks, scores, strict=True):
            curves.setdefault(f"{task.name}:{self.metric}", []).append(float(score))
        return scores

    def weight_evolution(self, n_tasks):
        """The weights of all rounds so far: float64 (n_rounds, n_tasks)."""
        return np.array(self.weights_, dtype=np.float64).reshape(-1, n_tasks)

    def validation_scores(self):
        """Scores of all rounds so far: (n_rounds, n_tasks), (0, 0) before the first."""
        curves = self.results_.get("validation", {}).items()
        watched = [curve for key, curve in curves if key.endswith(f":{self.metric}")]
        return np.array(watched).T if watched else np.empty((0, 0))


class EarlyStopping(Callback):
    """Ends the training when a fixed combination of the validation scores stops improving.

    Comes after the `History` that tells the round its scores, in the list of callbacks. The
    combination has the same weights in every round, so that like is compared with like.

    Parameters
    ----------
    patience : int
        Rounds without improvement after which to stop.
    task_weights : ndarray of shape (n_tasks,)
        Weights of the combination; tasks of weight 0 do not count.
    per_task : bool
        Wait until no task with a weight has improved for `patience` rounds, not only the mean.
    min_delta : float
        An improvement must be larger than this.
    """

    def __init__(self, patience, task_weights, *, per_task=False, min_delta=0.0):
        self.patience = patience
        self.task_weights = task_weights
        self.per_task = per_task
        self.min_delta = min_delta

    def on_train_begin(self, round):
        """Start anew, or from the curves of an earlier fit."""
        n_curves = 1 + len(self.task_weights)
        self._best = np.full(n_curves, -np.inf)
        self._best_round = np.zeros(n_curves, dtype=int)
        earlier = round.scores
        # Rounds of an earlier fit without validation rows count, though they have no score.
        self._n_rounds = len(round.forest.trees) - len(earlier)
        for scores in earlier:
            self._observe(round.score_sign * scores)

    def on_round_end(self, round):
        self._observe(round.score_sign * round.scores[-1])
        watched = np.append(True, (self.task_weights > 0) & self.per_task)
        return self._n_rounds - self._best_round[watched].max() >= self.patience

    def _observe(self, scores):
        """Note which curves reach a new best: that of the combination, and each task's."""
        self._n_rounds += 1
        counted = self.task_weights > 0
        combined = scores[counted] @ self.task_weights[counted]
        curves = np.append(combined, scores)
        better = curves > self._best + self.min_delta
        self._best[better] = curves[better]
        self._best_round[better] = self._n_rounds

    def get_state(self):
        """Return the best of each curve, larger being better, and the rounds since it.

        The combination comes first, then the tasks.
        """
        return {
            "n_rounds": self._n_rounds,
            "best_scores": self._best.tolist(),
            "best_rounds": self._best_round.tolist(),
            "rounds_without_improvement": (self._n_rounds - self._best_round).tolist(),
        }

    def set_state(self, state):
        """Go on from a dict of `get_state`."""
        self._n_rounds = state["n_rounds"]
        self._best = np.array(state["best_scores"], dtype=np.float64)
        self._best_round = np.array(state["best_rounds"], dtype=int)

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
            self._bar = tqdm(
                total=self.n_rounds, initial=round.number, unit="round", file=self.file
            )

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
