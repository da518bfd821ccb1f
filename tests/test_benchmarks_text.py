"""`benchmarks.text_quality`: its sets, its contenders, what it measures, and what it concludes."""

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import pearsonr
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    log_loss,
    roc_auc_score,
)
from sklearn.model_selection import train_test_split

from benchmarks import text_contenders, text_quality, text_report, text_sets
from mtbert.columns import ColumnRoles
from mtbert.pretrained import load_encoder
from mtbert.text.wordpiece import train_wordpiece

N_REVIEWS = 23_486
TINY_BERT = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
}
TINY_NET = {
    "encoder": TINY_BERT,
    "max_sen_len": 32,
    "vocab_size": 200,
    "epochs": 1,
    "learning_rate": 0.01,
}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def all_reviews():
    """As many rows as there are reviews, with shares like theirs."""
    rng = np.random.default_rng(0)
    division = rng.choice(["General", "General Petite", "Initmates", None], N_REVIEWS)
    rating = rng.choice(5, N_REVIEWS, p=[0.04, 0.07, 0.12, 0.22, 0.55]) + 1
    X = pd.DataFrame({"Division Name": division})
    return text_sets.TextTable(X, pd.Series(rating), ColumnRoles((), (), ("Division Name",)))


def theirs(table, fold):
    """The same folds of a frame, in the words in which they are published."""
    frame = table.X.assign(Rating=table.y, row=np.arange(len(table.y)))
    codes = frame["Division Name"].fillna("None").astype("category").cat.codes
    frame, _ = train_test_split(
        frame, test_size=0.2, random_state=np.random.RandomState(123), stratify=codes
    )
    n_rows = 10_000 + int(0.1 * len(frame))
    frame, _ = train_test_split(
        frame, test_size=len(frame) - n_rows, random_state=42 + fold, stratify=frame["Rating"]
    )
    train, test = train_test_split(
        frame, test_size=n_rows - 10_000, random_state=42 + fold, stratify=frame["Rating"]
    )
    return train["row"], test["row"]


class TestSets:
    def test_folds_of_multabench_are_the_published_ones(self, all_reviews):
        folds = [text_sets.cut_multabench(all_reviews, fold) for fold in range(5)]
        for fold, (train, test) in enumerate(folds):
            assert (len(train), len(test)) == (10_000, 1878)
            assert len(np.union1d(train, test)) == 11_878
            for rows, expected in zip((train, test), theirs(all_reviews, fold), strict=True):
                np.testing.assert_array_equal(rows, expected)
        used = np.unique(np.concatenate([rows for fold in folds for rows in fold]))
        assert 11_878 < len(used) <= 18_788
        assert len({test[0] for _, test in folds}) > 1

    def test_parts_of_toolkit(self, all_reviews):
        train, test, validation = text_sets.cut_toolkit(all_reviews, 0)
        assert (len(train), len(test), len(validation)) == (18_788, 2349, 2349)
        together = np.concatenate([train, test, validation])
        np.testing.assert_array_equal(np.sort(together), np.arange(N_REVIEWS))
        np.testing.assert_array_equal(text_sets.cut_toolkit(all_reviews, 1)[0], train)

    @pytest.mark.parametrize(
        ("name", "numbers", "classes"),
        [
            ("sample_rating", ("Age", "Positive Feedback Count", "Recommended"), [1, 2, 3, 4, 5]),
            ("sample_recommended", ("Age", "Positive Feedback Count"), [0, 1]),
        ],
    )
    def test_the_shipped_reviews(self, name, numbers, classes):
        cut = text_sets.SETS[name].make(0)
        assert cut.roles.numeric == numbers
        assert (len(cut.train), len(cut.test)) == (2400, 600)
        assert not np.intersect1d(cut.train, cut.test).size
        assert cut.classes.tolist() == classes
        for columns in vars(cut.roles).values():
            assert set(columns) <= set(cut.X_train)

    def test_films_have_their_own_titles(self):
        cut = text_sets.SETS["films"].make(1)
        assert (len(cut.train), len(cut.test)) == (3000, 5000)
        X = cut.table.X
        found = X[X["title"].isin(["Casablanca", "Titanic"]) & (X["votes"] > 20_000)]
        years = dict(zip(found["title"], found["year"], strict=True))
        assert years == {"Casablanca": 1942, "Titanic": 1997}
        assert cut.table.y[found.index].tolist() == [1, 1]

    def test_seeds_cut_differently_and_again_the_same(self):
        first, again, other = (text_sets.SETS["words_add"].make(seed) for seed in (0, 0, 1))
        np.testing.assert_array_equal(first.train, again.train)
        assert not np.array_equal(first.train, other.train)
        assert first.table is other.table

    def test_made_texts_praise_by_their_majority(self):
        table = text_sets.made_words(None, combine=lambda rng, text, price, shop: text > 0)
        for text, label in zip(table.X["review"], table.y, strict=True):
            words = text.split()
            praise = sum(word in text_sets.PRAISE for word in words)
            complaints = sum(word in text_sets.COMPLAINT for word in words)
            assert (praise + complaints, len(words)) == (5, 11)
            assert label == (praise > complaints)

    def test_made_labels_depend_on_words_and_numbers(self):
        rng = np.random.default_rng(0)
        text, price = rng.normal(size=(2, 4000))
        shop = rng.choice(list(text_sets.SHOPS), 4000)
        added = text_sets.added(rng, text, price, shop)
        for part in (text, price):
            assert 0.3 < pearsonr(part, added).statistic < 0.7
        gated = text_sets.gated(rng, text, price, shop)
        by_words = np.isin(shop, ["north", "south"])
        for part, counts in ((text, by_words), (price, ~by_words)):
            assert pearsonr(part[counts], gated[counts]).statistic > 0.5
            assert abs(pearsonr(part[~counts], gated[~counts]).statistic) < 0.06


def made_cut(n_train=60, n_test=20, n_classes=2, seed=0):
    """Rows of which one word of the review and the shop tell the class."""
    rng = np.random.default_rng(seed)
    n_rows = n_train + n_test
    y = np.arange(n_rows) % n_classes
    telling = np.array(["lovely", "dull", "torn"])[y]
    filler = rng.choice(["coat", "dress", "shirt", "very", "soft"], size=(n_rows, 4))
    X = pd.DataFrame(
        {
            "title": np.where(rng.random(n_rows) < 0.2, None, telling),
            "review": [" ".join([w, *more]) for w, more in zip(telling, filler, strict=True)],
            "price": np.where(rng.random(n_rows) < 0.1, np.nan, y + rng.normal(size=n_rows)),
            "shop": np.array(["north", "south", "west"])[y],
        }
    )
    table = text_sets.TextTable(
        X, pd.Series(y), ColumnRoles(("title", "review"), ("price",), ("shop",))
    )
    return text_sets.TextCut(table, np.arange(n_train), np.arange(n_train, n_rows))


def with_columns(cut, **columns):
    """The same cut with other cells."""
    table = text_sets.TextTable(cut.table.X.assign(**columns), cut.table.y, cut.roles)
    return text_sets.TextCut(table, cut.train, cut.test)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """The folder of an encoder with a tokenizer."""
    folder = tmp_path_factory.mktemp("encoder")
    texts = text_contenders.texts_of(made_cut().X_train, made_cut().roles)
    tokenizer = train_wordpiece(texts, 100, lower=True, min_frequency=1)
    torch.manual_seed(0)
    config = TINY_BERT | {"vocab_size": tokenizer.get_vocab_size()}
    load_encoder(config).model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return str(folder)


@pytest.fixture
def settings(encoder):
    """The trained encoder for all that have one."""
    return text_contenders.Settings(seed=0, n_jobs=1, net=TINY_NET | {"encoder": encoder})


class TestContenders:
    @pytest.mark.parametrize("name", text_contenders.CONTENDERS)
    def test_each_returns_probabilities_of_the_sorted_classes(self, name, settings):
        cut = made_cut(n_classes=3)
        found = text_contenders.CONTENDERS[name](cut, settings)
        assert found.shape == (20, 3)
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
        assert np.isfinite(found).all()

    @pytest.mark.parametrize("name", text_contenders.TEXT_ONLY)
    def test_text_contenders_do_not_look_at_the_table(self, name, settings):
        cut = made_cut()
        other = with_columns(cut, price=0.0, shop="east")
        found, expected = (text_contenders.CONTENDERS[name](c, settings) for c in (other, cut))
        np.testing.assert_array_equal(found, expected)
        assert np.ptp(found) > 0

    @pytest.mark.parametrize("name", text_contenders.TABLE_ONLY)
    def test_table_contenders_do_not_look_at_the_text(self, name, settings):
        cut = made_cut()
        other = with_columns(cut, title="other", review=cut.table.X["review"][::-1].to_numpy())
        found, expected = (text_contenders.CONTENDERS[name](c, settings) for c in (other, cut))
        np.testing.assert_array_equal(found, expected)
        assert np.ptp(found) > 0

    @pytest.mark.parametrize("name", ["tfidf", "tfidf_stack", "lightgbm_table", "mtgbm_table"])
    def test_peers_learn(self, name, settings):
        cut = made_cut(n_train=200, n_test=100)
        found = text_contenders.CONTENDERS[name](cut, settings)
        assert roc_auc_score(cut.y_test, found[:, 1]) > 0.95

    def test_stacked_scores_are_out_of_fold(self, settings, monkeypatch):
        """Words that occur in one row each cannot tell its label."""
        rng = np.random.default_rng(0)
        names = [f"word{row // 2} word{row // 2}" for row in range(300)]
        cut = with_columns(made_cut(n_train=200, n_test=100), title=None, review=names)
        labels = pd.Series(rng.integers(0, 2, 300))
        cut = text_sets.TextCut(
            text_sets.TextTable(cut.table.X, labels, cut.roles), cut.train, cut.test
        )
        monkeypatch.setattr(text_contenders, "fit_lightgbm", lambda cut, settings, beside: beside)
        out_of_fold, test = text_contenders.fit_tfidf_stack(cut, settings)
        assert (out_of_fold.shape, test.shape) == ((200, 2), (100, 2))
        texts = text_contenders.texts_of(cut.X_train, cut.roles)
        in_sample = text_contenders.tfidf_model().fit(texts, cut.y_train).predict_proba(texts)
        assert roc_auc_score(cut.y_train, in_sample[:, 1]) > 0.8
        assert roc_auc_score(cut.y_train, out_of_fold[:, 1]) < 0.65

    def test_all_columns_as_text(self):
        X = pd.DataFrame(
            {"title": [None, "Good"], "price": [np.nan, 2.5], "shop": ["north", "south"]}
        )
        roles = ColumnRoles(("title",), ("price",), ("shop",))
        found = text_contenders.all_as_text(X, roles)
        assert found["row"].tolist() == ["shop: north.", "price: 2.5. shop: south. title: Good."]
        assert text_contenders.texts_of(X, ColumnRoles(("title", "shop"), (), ())) == [
            " north",
            "Good south",
        ]

    def test_frozen_embeddings_are_means_without_padding(self, encoder):
        from tokenizers import Tokenizer

        frozen = text_contenders.FrozenEncoder(encoder)
        texts = ["a lovely dress", "dull", "a lovely dress", "coat " * 40]
        found = frozen.embed(texts)
        model = load_encoder(encoder).model
        tokenizer = Tokenizer.from_file(f"{encoder}/tokenizer.json")
        for text, vector in zip(texts[:2], found, strict=False):
            ids = torch.tensor([tokenizer.encode(text).ids])
            tokens = model(input_ids=ids).last_hidden_state[0]
            expected = tokens.mean(dim=0).detach().numpy()
            np.testing.assert_allclose(vector, expected, atol=1e-5)
        np.testing.assert_array_equal(found[0], found[2])

    def test_an_encoder_to_be_trained_cannot_be_frozen(self):
        with pytest.raises(ValueError, match="needs a pretrained encoder"):
            text_contenders.FrozenEncoder("tiny")

    def test_options_reach_the_net(self, settings):
        name, fit = text_contenders.variant("architecture='lstm',  epochs=2")
        assert name == "mtbert architecture='lstm', epochs=2"
        assert text_contenders.is_ours(name)
        lstm = text_contenders.CONTENDERS["lstm"]
        twice = text_contenders.Settings(0, 1, settings.net | {"epochs": 2})
        cut = made_cut()
        np.testing.assert_array_equal(fit(cut, settings), lstm(cut, twice))

    def test_the_second_net_is_from_another_seed(self, settings):
        cut = made_cut()
        first, second = (text_contenders.CONTENDERS[f"mtbert_net{end}"] for end in ("", "_b"))
        later = text_contenders.Settings(
            settings.seed + text_contenders.SECOND_SEED, settings.n_jobs, settings.net
        )
        assert (first(cut, settings) != second(cut, settings)).any()
        np.testing.assert_array_equal(first(cut, later), second(cut, settings))

    def test_other_options_are_refused(self):
        with pytest.raises(ValueError, match="did you mean 'epochs'"):
            text_contenders.variant("epoch=2")

    def test_peers_are_the_contenders_that_see_no_epochs(self, settings, monkeypatch):
        def refuse(**options):
            raise AssertionError("a net")

        monkeypatch.setattr(text_contenders, "MultimodalTextTabularClassifier", refuse)
        cut = made_cut()
        for name, contender in text_contenders.CONTENDERS.items():
            if name in text_contenders.PEERS:
                contender(cut, settings)
            else:
                with pytest.raises(AssertionError, match="a net"):
                    contender(cut, settings)


class TestAnswers:
    def test_a_vote_is_the_weighted_mean_of_its_members(self, settings, tmp_path):
        """Of a member that was kept the probabilities are read, and its seconds are counted."""
        first, second = text_contenders.VOTES["mtbert_vote"]
        kept, new = np.array([[0.2, 0.8], [0.5, 0.5]]), np.array([[0.6, 0.4], [0.1, 0.9]])
        np.savez(tmp_path / f"{first}.npz", probabilities=kept, seconds=40.0)

        def refuse(cut, settings):
            raise AssertionError("it was kept")

        answer = text_quality.Answers(
            None,
            {first: refuse, second: lambda cut, settings: new},
            settings,
            partial(text_quality.file_of_answer, tmp_path),
        )
        probabilities, seconds = answer("mtbert_vote")
        np.testing.assert_allclose(probabilities, [[1 / 3, 2 / 3], [1.1 / 3, 1.9 / 3]], atol=1e-12)
        assert 40 < seconds < 41
        np.testing.assert_array_equal(answer(second)[0], new)
        assert sorted(file.name for file in tmp_path.iterdir()) == [
            "mtbert_mean.npz",
            "mtbert_net_b.npz",
        ]

    def test_nothing_is_kept_unasked(self, settings):
        answer = text_quality.Answers(
            None,
            {"one": lambda cut, settings: np.eye(2)},
            settings,
            partial(text_quality.file_of_answer, None),
        )
        np.testing.assert_array_equal(answer("one")[0], np.eye(2))


class TestScore:
    @pytest.mark.parametrize("n_classes", [2, 4])
    def test_numbers_are_those_of_sklearn(self, n_classes):
        rng = np.random.default_rng(0)
        y = rng.integers(1, n_classes + 1, 300)
        P = rng.random((300, n_classes)) + np.eye(n_classes)[y - 1] / 2
        P /= P.sum(axis=1, keepdims=True)
        classes = np.arange(1, n_classes + 1)
        found = text_quality.score(y, P, classes)
        predicted = classes[P.argmax(axis=1)]
        if n_classes == 2:
            of_class, truth = P[:, 1], y == 2
            expected = {
                "auc": roc_auc_score(truth, of_class),
                "average_precision": average_precision_score(truth, of_class),
                "f1": f1_score(truth, of_class > 0.5),
            }
        else:
            expected = {
                "auc": roc_auc_score(y, P, multi_class="ovr", average="macro"),
                "average_precision": average_precision_score(y, P, average="macro"),
                "f1": f1_score(y, predicted, average="macro"),
            }
        expected |= {"accuracy": accuracy_score(y, predicted), "log_loss": log_loss(y, P)}
        assert found == pytest.approx(expected, rel=1e-9)


TINY = ("--only", "words_add", "words_gated", "--seeds", 0, 1, "--threads", 1, "--epochs", 1)
NET = """architecture="multimodal_cnn", vocab_size=100, max_sen_len=32, learning_rate=0.01"""
NAMES = ["lightgbm_table", "tfidf_stack", "table_only", "mtbert", "mtbert_net", "mtbert epochs=2"]


def run(*arguments):
    """What the command prints on stdout and stderr, and how it exits."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            text_quality.main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
    return SimpleNamespace(stdout=out.getvalue(), stderr=err.getvalue(), returncode=code or 0)


def records_of(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture(scope="module", autouse=True)
def _few_rows():
    """Made sets of few rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_sets, "MADE_ROWS", 200)
        text_sets.loaded.cache_clear()
        yield
    text_sets.loaded.cache_clear()


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A file of results, the tables for the documentation, and what was printed."""
    folder = tmp_path_factory.mktemp("text_quality")
    file, rst = folder / "results.jsonl", folder / "table.rst"
    done = run(
        *("--results", file, *TINY, "--net", NET, "--contenders", *NAMES[:5]),
        *("--ours", "epochs=2", "--rst", rst, "--probabilities", folder / "kept"),
    )
    assert done.returncode == 0, done.stderr
    return file, rst, done.stdout


class TestRun:
    def test_every_cut_and_contender_is_measured_once(self, measured):
        records = records_of(measured[0])
        found = [(r["set"], r["cut"], r["contender"]) for r in records]
        cuts = [(name, cut) for name in ("words_add", "words_gated") for cut in (0, 1)]
        assert found == [(*cut, name) for cut in cuts for name in NAMES]
        for record in records:
            assert (record["train_rows"], record["test_rows"]) == (100, 100)
            is_net = record["contender"] not in text_contenders.PEERS
            assert (record["net"] is not None) == is_net
            if is_net:
                assert record["net"]["epochs"] == 1
                assert record["net"]["architecture"] == "multimodal_cnn"

    def test_kept_probabilities_are_those_that_were_scored(self, measured):
        records, folder = records_of(measured[0]), measured[0].parent / "kept"
        assert len(list(folder.iterdir())) == len(records)
        for contender, file in (
            ("mtbert", "words_add-1-mtbert"),
            ("mtbert epochs=2", "words_add-1-mtbert_epochs_2"),
        ):
            (auc,) = (
                r["auc"]
                for r in records
                if (r["set"], r["cut"], r["contender"]) == ("words_add", 1, contender)
            )
            probabilities = np.load(folder / f"{file}.npz")["probabilities"]
            y = text_sets.SETS["words_add"].make(1).y_test
            assert roc_auc_score(y, probabilities[:, 1]) == pytest.approx(auc, abs=1e-12)

    def test_printed_means_are_those_of_the_file(self, measured):
        file, _, printed = measured
        for key in ("auc", "f1"):
            scores = [
                r[key]
                for r in records_of(file)
                if (r["set"], r["contender"]) == ("words_add", "tfidf_stack")
            ]
            assert f"{np.mean(scores):.4f} +- {np.std(scores, ddof=1):.4f}" in printed
        assert "the better single modality" in printed
        assert printed.count("is it as good as it should be?") == 3

    def test_a_cut_run_goes_on(self, measured, tmp_path):
        """One record is lost, and only that is measured again."""
        whole = records_of(measured[0])
        file = tmp_path / "cut.jsonl"
        lost = next(r for r in whole if (r["contender"], r["cut"]) == ("mtbert", 1))
        kept = [r for r in whole if r is not lost]
        file.write_text("".join(json.dumps(r) + "\n" for r in kept))
        done = run("--results", file, *TINY, "--net", NET, "--contenders", *NAMES[:5])
        assert done.returncode == 0, done.stderr
        (new,) = records_of(file)[len(kept) :]
        assert {**new, "seconds": 0} == {**lost, "seconds": 0}
        assert done.stderr.count("\n") == 1

    def test_a_report_measures_nothing(self, measured):
        file, _, printed = measured
        before = file.read_bytes()
        assert run("--report", file).stdout == printed
        assert file.read_bytes() == before
        fewer = run("--report", file, "--contenders", "mtbert", "--seeds", 1).stdout
        assert "tfidf_stack" not in fewer
        assert "+-" not in fewer

    def test_nets_of_a_file_are_alike(self, measured):
        done = run("--results", measured[0], "--only", "words_add", "--epochs", 7, "--net", NET)
        assert done.returncode == 2
        assert "holds nets of words_add with {'epochs': 1" in done.stderr

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("--net", "epoch=3"), "--net: MultimodalTextTabularClassifier has no parameter"),
            (("--ours", "learnin_rate=3"), "did you mean 'learning_rate'"),
            (("--folds", 5), "--folds takes numbers from 0 to 4, got 5"),
            (("--only", "word"), "invalid choice: 'word'"),
        ],
    )
    def test_options_are_read_before_any_work(self, tmp_path, arguments, said):
        done = run("--results", tmp_path / "none.jsonl", *arguments)
        assert done.returncode == 2
        assert said in done.stderr
        assert not (tmp_path / "none.jsonl").exists()

    def test_nothing_to_report(self, tmp_path):
        assert "nothing of this was measured" in run("--report", tmp_path / "no").returncode

    def test_list(self):
        listed = run("--list").stdout
        for name in ("multabench", "toolkit_no_rating", "words_gated", "mtbert_mean", "all_text"):
            assert name in listed

    def test_the_tables_of_the_documentation_are_tables(self, measured):
        from docutils.core import publish_doctree
        from docutils.nodes import entry, row, system_message

        file, rst, _ = measured
        tree = publish_doctree(rst.read_text())
        assert not list(tree.findall(system_message))
        rows = [[cell.astext() for cell in r.findall(entry)] for r in tree.findall(row)]
        assert rows[0] == ["contender", "words_add, AUC", "words_gated, AUC"]
        scores = [
            r["auc"]
            for r in records_of(file)
            if (r["set"], r["contender"]) == ("words_add", "lightgbm_table")
        ]
        expected = f"{np.mean(scores):.4f} +- {np.std(scores, ddof=1):.4f}"
        assert rows[1][:2] == ["lightgbm_table", expected]
        assert ["architecture", *rows[0][1:]] in rows
        text = tree.astext()
        assert "python -m benchmarks.text_quality --results results.jsonl --only words_add" in text
        assert "words_add epochs=1" in text

    def test_cuts_are_the_sets_own_unless_asked_for(self):
        def cuts(name, *arguments):
            parsed, _ = text_quality.parse_arguments(["--results", "none", *arguments])
            return list(text_quality.cuts_of(name, parsed))

        assert cuts("multabench") == [0, 1, 2, 3, 4]
        assert cuts("multabench", "--folds", "3", "--seeds", "9") == [3]
        assert cuts("films", "--folds", "3") == [0, 1, 2]
        assert cuts("films", "--seeds", "9") == [9]
        assert cuts("toolkit") == [0]


def record(name, contender, value, cut=0, **more):
    scores = dict.fromkeys(("auc", "average_precision", "f1", "accuracy", "log_loss"), value)
    return {
        **{"set": name, "cut": cut, "contender": contender, "net": None, "train_rows": 100},
        **{"test_rows": 100, "classes": 2, "seconds": 1.0, **scores, **more},
    }


class TestReport:
    def test_fusion_is_beside_the_best_single_modality_on_common_cuts(self):
        results = text_report.TextResults(
            [
                record("films", "tfidf", 0.60, cut=0),
                record("films", "tfidf", 0.70, cut=1),
                record("films", "lightgbm_table", 0.68, cut=0),
                record("films", "lightgbm_table", 0.72, cut=1),
                record("films", "all_text", 0.60, cut=1),
                record("films", "mtbert", 0.70, cut=0),
                record("films", "mtbert", 0.76, cut=1),
                record("films", "mtbert", 0.99, cut=2),
            ]
        )
        header, single, as_text = text_report.fusion_lines(results)
        assert len(header) == len(single)
        assert single[:4] == ("films", "mtbert", "the better single modality", "lightgbm_table")
        assert single[5] == "+0.0300 +- 0.0100"
        assert as_text[3:] == ("all_text", "AUC, one class against the others", "+0.1600")

    def test_means_and_deviations_are_over_the_cuts(self):
        results = text_report.TextResults(
            [record("films", "mtbert", value, cut=cut) for cut, value in enumerate((0.7, 0.8, 0.9))]
            + [record("words_add", "tfidf", 0.5)]
        )
        lines = text_report.score_lines(results, "AUC", "auc")
        assert lines == [
            ("AUC", "words_add", "films"),
            ("mtbert", "", "0.8000 +- 0.1000"),
            ("tfidf", "0.5000", ""),
        ]

    def test_verdicts_are_of_what_was_measured(self):
        results = text_report.TextResults(
            [
                record("multabench", "mtbert_mean", 0.91, cut=0),
                record("multabench", "mtbert_mean", 0.92, cut=1),
                record("multabench", "text_only", 0.93, cut=1),
                record("toolkit_no_rating", "mtbert_mean", 0.9, f1=0.96),
            ]
        )
        found = text_report.verdicts(results, "mtbert_mean")
        assert [(v.text, round(v.value, 6), v.least, v.holds) for v in found] == [
            ("multabench: AUC, one class against the others", 0.915, 0.912, True),
            ("toolkit_no_rating: F1 at 0.5", 0.96, 0.951, True),
            ("toolkit_no_rating: average precision", 0.9, 0.99, False),
            (
                "multabench: AUC, one class against the others less the better single modality "
                "(text_only)",
                -0.01,
                0.0,
                False,
            ),
        ]

    def test_the_default_net_is_an_architecture(self):
        results = text_report.TextResults(
            [record("films", who, 0.5) for who in ("bert", "mtbert", "mtbert_net")]
        )
        header, *lines = text_report.architecture_lines(results)
        assert header == ("architecture", "films, AUC")
        assert lines == [("multimodal_bert", "0.5000"), ("bert", "0.5000")]

    def test_architectures_are_all_that_there_are(self):
        from mtbert.modules import ARCHITECTURES

        assert set(text_contenders.ARCHITECTURES) == set(ARCHITECTURES)
