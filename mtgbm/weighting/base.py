"""What a weighting and a distillation are: the protocols by which the rounds meet them."""

from sklearn.base import BaseEstimator


class Weighting(BaseEstimator):
    """How much each task has to say about the structure of the next tree. Subclass it.

    `fit` clones the object it is given, so that parameters are all that is shared between fits.

    Attributes
    ----------
    needs_validation : bool
        Whether it watches validation scores.
    needs_log_loss : bool
        Whether the scores, if it watches any, must be log losses.
    """

    needs_validation = False
    needs_log_loss = False

    def check(self, tasks, main_task):
        """Raise if the parameters do not fit the tasks; called before any work starts.

        Parameters
        ----------
        tasks : list of Task
        main_task : int
            Position of the main task.
        """

    def start(self, round):
        """Forget the last training; called once, before the first round."""

    def weights(self, round):
        """Return the weights of this round's split search.

        Parameters
        ----------
        round : mtgbm.engine.boosting.Round
            The gradients in `round.vectors` are those that the tree will be grown on.

        Returns
        -------
        ndarray of float64 of shape (n_tasks,)
            Not negative, not all 0.
        """
        raise NotImplementedError

    def get_state(self):
        """Return what is kept from round to round, as a dict that JSON can hold."""
        return {}

    def set_state(self, state):
        """Go on from a dict of `get_state`, after `start`."""


class Distillation(BaseEstimator):
    """Which tasks learn from a teacher, beside or instead of their labels. Subclass it.

    Only gradients change: labels stay what they are for every score.

    Attributes
    ----------
    needs_validation : bool
        Whether it watches validation scores.
    distilled : dict
        Position of each task that learns from a teacher: how many rounds it has learned from its
        labels alone. Set by `start` and changed by `soften`.
    """

    needs_validation = False

    def check(self, tasks, main_task):
        """Raise if the parameters do not fit the tasks; called before any work starts."""

    def prepare(self, X, rows, tasks):
        """Look at the table of `fit`; called once, before any work starts.

        Parameters
        ----------
        X : object
            As `fit` got it.
        rows : ndarray of int
            The rows of X that will be trained on, in their order.
        tasks : list of Task
        """

    def prepared(self):
        """Return the arrays that `prepare` made: a dict.

        An interrupted fit goes on only with the same.
        """
        return {}

    def start(self, round):
        """Forget the last training; called once, before the first round."""

    def labels(self, round):
        """Return the labels from which the gradients of each round are taken.

        Returns
        -------
        ndarray of int16 of shape (n_rows, n_tasks)
            Those of `round.training`, or with missing ones filled in.
        """
        return round.training.labels

    def soften(self, round):
        """Change the gradients in `round.vectors`, in place, before the tree of the round."""
        raise NotImplementedError

    def get_state(self):
        """Return what is kept from round to round: a dict of ndarrays and what JSON can hold."""
        return {}

    def set_state(self, state):
        """Go on from a dict of `get_state`, after `start`."""
