"""scikit-learn's callbacks (version 1.9 and later), where the installed version has them."""

import copy
from dataclasses import replace

from mtgbm.callbacks import Callback

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands in where scikit-learn has no callbacks: there are none to set."""

    def with_callbacks(method):
        """Return `method` as it is."""
        return method


class SklearnCallbacks(Callback):
    """Tells the callbacks set with ``estimator.set_callbacks`` about each round.

    Parameters
    ----------
    estimator : estimator with CallbackSupportMixin
    n_rounds : int
    fitted_attributes : callable
        ``fitted_attributes(round) -> dict``: what makes the estimator usable at this point.
    data : dict
        ``X`` and ``y`` as they came to `fit`.
    """

    def __init__(self, estimator, n_rounds, fitted_attributes, data):
        self.estimator = estimator
        self.n_rounds = n_rounds
        self.fitted_attributes = fitted_attributes
        self.data = data

    def on_train_begin(self, round):
        self._fit = self.estimator._init_callback_context(max_subtasks=self.n_rounds)
        self._fit.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    def on_round_end(self, round):
        task = self._fit.subcontext(task_name=f"round {round.number}")
        task.call_on_fit_task_begin(estimator=self.estimator, **self.data)
        return bool(
            task.call_on_fit_task_end(
                estimator=self.estimator,
                reconstruction_attributes=lambda: self._snapshot(round),
                **self.data,
            )
        )

    def on_train_end(self, round):
        self._fit.call_on_fit_task_end(
            estimator=self.estimator,
            reconstruction_attributes=lambda: self._snapshot(round),
            **self.data,
        )

    def _snapshot(self, round):
        """The model of this moment, which later rounds must not reach."""
        attributes = self.fitted_attributes(round)
        forest = attributes["forest_"]
        return {
            **attributes,
            "forest_": replace(forest, trees=list(forest.trees)),
            "evals_result_": copy.deepcopy(attributes["evals_result_"]),
        }


def has_callbacks(estimator):
    """Whether any of scikit-learn's callbacks are set on `estimator`."""
    return bool(getattr(estimator, "_skl_callbacks", None))
