"""The data sets of `benchmarks.quality`: real tables, made ones, and those scikit-learn brings.

Each is cut by a seed into training, validation and test rows. Whole tables are cut 64 : 16 : 20. A
name such as flights_5k says how many thousand rows train; a quarter as many validate and up to
20,000 of the others test, so that little of what is measured is chance. Made tables are cut so too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from sklearn import datasets as sklearn_datasets

from benchmarks.parts import cut_rows, encode_parts
from mtgbm.datasets import load_flights, load_movies

TEST_ROWS = 20_000
FACTORS, FEATURES_OF_FACTOR, USELESS_FEATURES = 8, 3, 6
#: Standard deviation of the signal in units of the noise's scale, and share of missing cells.
SIGNAL, MISSING_CELLS = 2.5, 0.05
#: Share of the labels that a scarce task lacks in training and validation rows.
MISSING_LABELS = 0.9


@dataclass(frozen=True)
class Table:
    """One cut of a data set.

    Attributes
    ----------
    task_names : list of str
    parts : list of (X, Y)
        Training, validation and test rows: X float32 with NaN, Y float with NaN where a label is
        missing.
    """

    task_names: list[str]
    parts: list

    def keep(self, names):
        """The same rows and features with these tasks only."""
        columns = [self.task_names.index(name) for name in names]
        return Table(list(names), [(X, Y[:, columns]) for X, Y in self.parts])


@dataclass(frozen=True)
class QualitySet:
    """A data set and what it is to show.

    Attributes
    ----------
    make : callable
        `make(seed)` returns a `Table`.
    main_task : str or None
        The task that the others are to help: it is learned alone as well.
    noise_task : str or None
        The task that must not harm the others: they are learned without it as well.
    scarce_task : str or None
        The task with few labels.
    is_whole : bool
        Whether all rows of a large real table are used.
    """

    make: Callable[[int], Table]
    main_task: str | None = None
    noise_task: str | None = None
    scarce_task: str | None = None
    is_whole: bool = False

    @property
    def learned(self):
        """What mtgbm learns: "all" tasks, and where it is to show something some "kept" alone."""
        has_kept = self.main_task is not None or self.noise_task is not None
        return ("all", "kept") if has_kept else ("all",)

    def kept_tasks(self, task_names):
        """The main task alone, or all tasks but the noise."""
        if self.main_task is not None:
            return [self.main_task]
        return [name for name in task_names if name != self.noise_task]


def ends_of_parts(n_rows, n_train=None):
    """Where training, validation and test rows end."""
    if n_train is None:
        return [int(share * n_rows) for share in (0.64, 0.8, 1)]
    with_validation = n_train + n_train // 4
    return [n_train, with_validation, min(n_rows, with_validation + TEST_ROWS)]


@lru_cache(maxsize=1)
def loaded(loader, **options):
    """What a loader returns; seeds that follow each other read the files once."""
    return loader(**options)


def make_real(seed, *, loader, n_train=None, **options):
    """A table with string columns, which become risks of all tasks."""
    bunch = loaded(loader, **options)
    rows = cut_rows(len(bunch.data), ends_of_parts(len(bunch.data), n_train), seed)
    return Table(bunch.target_names, encode_parts(bunch.data, bunch.target, rows, seed))


def make_related(seed, *, weights, prevalences, n_train=8000):
    r"""Tasks that are weighted sums of nonlinear factors of the same features.

    There are 30 standard normal features, of which factor k sees three, a, b and c, and six are of
    no use::

        f_k = sin(2 a) + a b + [c > 0] |b|      scaled to mean 0 and variance 1
        signal_t = sum_k w_tk f_k               scaled to variance 1
        y_t = 1 where 2.5 signal_t + logistic noise is among the highest of all rows

    Afterwards 5 % of the cells become NaN.

    Parameters
    ----------
    seed : int
    weights : callable
        `weights(rng)` draws the array w of shape (tasks, 8).
    prevalences : sequence of float
        Share of positive labels, one a task.
    n_train : int

    Returns
    -------
    Table
    """
    rng = np.random.default_rng(seed)
    n_rows = ends_of_parts(np.inf, n_train)[-1]
    n_features = FACTORS * FEATURES_OF_FACTOR + USELESS_FEATURES
    X = rng.standard_normal((n_rows, n_features), dtype=np.float32)
    signals = standardised(factors(X) @ weights(rng).T)
    noisy = SIGNAL * signals + rng.logistic(size=signals.shape)
    thresholds = [np.quantile(y, 1 - share) for y, share in zip(noisy.T, prevalences, strict=True)]
    Y = (noisy > thresholds).astype(float)
    X[rng.random(X.shape, dtype=np.float32) < MISSING_CELLS] = np.nan
    return made_table(X, Y, n_train)


def factors(X):
    """The values f_k of each row: (n_rows, 8)."""
    useful = X[:, : FACTORS * FEATURES_OF_FACTOR].reshape(len(X), FACTORS, FEATURES_OF_FACTOR)
    a, b, c = np.moveaxis(useful, 2, 0)
    return standardised(np.sin(2 * a) + a * b + (c > 0) * np.abs(b))


def standardised(columns):
    return (columns - columns.mean(axis=0)) / columns.std(axis=0)


def made_table(X, Y, n_train):
    """The rows are independent, so that their order needs no shuffling."""
    ends = ends_of_parts(len(X), n_train)
    parts = list(zip(np.split(X, ends)[:3], np.split(Y, ends)[:3], strict=True))
    return Table([f"task_{task}" for task in range(Y.shape[1])], parts)


def agreeing(rng):
    """Four tasks with most of their weights in common: correlations of the signals are about .8."""
    return rng.normal(size=FACTORS) + 0.5 * rng.normal(size=(4, FACTORS))


def opposed(rng):
    """Two pairs of tasks; in each pair one wants nearly the opposite of the other."""
    first, second = rng.normal(size=(2, FACTORS))
    return np.array([first, -first, second, -second]) + 0.3 * rng.normal(size=(4, FACTORS))


def unrelated(rng):
    """Four tasks with two factors each, so with features of their own."""
    weights = np.zeros((4, FACTORS))
    for task in range(4):
        weights[task, 2 * task : 2 * task + 2] = rng.uniform(0.5, 1.5, size=2)
    return weights


def make_with_noise(seed):
    """Three tasks that agree, as in `make_related`, and one of labels drawn by lot: 10 % are 1."""
    table = make_related(seed, weights=agreeing, prevalences=(0.3, 0.1, 0.03, 0.1))
    rng = np.random.default_rng([seed, 1])
    for _, Y in table.parts:
        Y[:, 3] = rng.random(len(Y)) < 0.1
    return Table([*table.task_names[:3], "noise"], table.parts)


def make_scarce(seed):
    """Tasks that agree, as in `make_related`; 90 % of task_1 is not known before the test."""
    table = make_related(seed, weights=agreeing, prevalences=(0.3, 0.1, 0.2, 0.03))
    rng = np.random.default_rng([seed, 1])
    for _, Y in table.parts[:2]:
        Y[rng.random(len(Y)) < MISSING_LABELS, 1] = np.nan
    return table


def make_digits(seed):
    """Handwritten digits, 8 x 8 grey values: is it a 0, is it a 1, ...?"""
    X, digit = sklearn_datasets.load_digits(return_X_y=True)
    return bundled(seed, X, {f"is_{value}": digit == value for value in range(10)})


def make_digit_traits(seed):
    """The same pictures: is the digit even, at least five, a prime, drawn with a closed loop?"""
    X, digit = sklearn_datasets.load_digits(return_X_y=True)
    tasks = {
        "even": digit % 2 == 0,
        "at_least_5": digit >= 5,
        "prime": np.isin(digit, (2, 3, 5, 7)),
        "loop": np.isin(digit, (0, 6, 8, 9)),
    }
    return bundled(seed, X, tasks)


def make_breast_cancer(seed):
    """Is the tumour malignant, and are three of its worst values above their median?

    The ten columns of worst values are no features; the means and their errors are.
    """
    bunch = sklearn_datasets.load_breast_cancer()
    names = list(bunch.feature_names)
    is_worst = np.array([name.startswith("worst") for name in names])
    tasks = {"malignant": bunch.target == 0}
    for trait in ("texture", "area", "concavity"):
        values = bunch.data[:, names.index(f"worst {trait}")]
        tasks[f"high_{trait}"] = values > np.median(values)
    return bundled(seed, bunch.data[:, ~is_worst], tasks)


def make_diabetes(seed):
    """Is the progression after a year above the first, second and third quartile?"""
    X, progression = sklearn_datasets.load_diabetes(return_X_y=True)
    quartiles = np.quantile(progression, (0.25, 0.5, 0.75))
    return bundled(
        seed, X, {f"above_q{n}": progression > limit for n, limit in enumerate(quartiles, start=1)}
    )


def bundled(seed, X, tasks):
    """A table of numbers and its labels, cut."""
    X, Y = X.astype(np.float32), np.column_stack([*tasks.values()]).astype(float)
    parts = cut_rows(len(X), ends_of_parts(len(X)), seed)
    return Table(list(tasks), [(X[rows], Y[rows]) for rows in parts])


def flights(**options):
    make = partial(make_real, loader=load_flights, full=True, **options)
    return QualitySet(make, main_task="arr_late_15", is_whole=not options)


def films(**options):
    make = partial(make_real, loader=load_movies, **options)
    return QualitySet(make, main_task="Drama", is_whole=not options)


def related(weights, prevalences, **options):
    make = partial(make_related, weights=weights, prevalences=prevalences, **options)
    return QualitySet(make)


SHARES = (0.3, 0.1, 0.03, 0.01)

#: By the names under which they are chosen and printed; the fast ones first.
SETS = {
    "diabetes": QualitySet(make_diabetes),
    "breast_cancer": QualitySet(make_breast_cancer),
    "digit_traits": QualitySet(make_digit_traits),
    "digits": QualitySet(make_digits),
    "films_4k": films(n_train=4000),
    "flights_5k": flights(n_train=5000),
    "agree": related(agreeing, SHARES),
    "opposed": related(opposed, (0.3, 0.1, 0.2, 0.03)),
    "unrelated": related(unrelated, SHARES),
    "noise": QualitySet(make_with_noise, noise_task="noise"),
    "scarce": QualitySet(make_scarce, scarce_task="task_1"),
    "flights_20k": flights(n_train=20_000),
    "films": films(),
    "agree_64k": related(agreeing, SHARES, n_train=64_000),
    "flights": flights(),
}
