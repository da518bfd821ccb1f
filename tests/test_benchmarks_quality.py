"""`benchmarks.quality`: its sets, its contenders, what it measures, and what it concludes."""

import importlib
import io
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score
from sklearn.tree import DecisionTreeClassifier

from mtgbm.metrics import log_loss

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module", autouse=True)
def benchmarks():
    """The folder of the benchmarks, which are no part of the installed package."""
    sys.path.insert(0, str(ROOT))
    yield
    sys.path.remove(str(ROOT))


def module(name):
    return importlib.import_module(f"benchmarks.{name}")


def run(*arguments):
    """What the command prints on stdout and stderr, and how it exits, in this process."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            module("quality").main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
    return SimpleNamespace(stdout=out.getvalue(), stderr=err.getvalue(), returncode=code or 0)


def printed_by(*arguments):
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestSets:
    @pytest.mark.parametrize("name", ["diabetes", "breast_cancer", "digits", "digit_traits"])
    def test_bundled_tables_are_cut_64_16_20_by_seed(self, name):
        make = module("quality_sets").SETS[name].make
        table, again, other = make(0), make(0), make(1)
        shares = [len(X) for X, _ in table.parts]
        np.testing.assert_allclose(np.divide(shares, sum(shares)), [0.64, 0.16, 0.2], atol=0.005)
        for (X, Y), (X_again, Y_again) in zip(table.parts, again.parts, strict=True):
            assert X.dtype == np.float32
            assert Y.shape == (len(X), len(table.task_names))
            np.testing.assert_array_equal(X, X_again)
            np.testing.assert_array_equal(Y, Y_again)
        assert not np.array_equal(table.parts[0][0], other.parts[0][0])

    def test_digits_are_exclusive_and_their_traits_are_right(self):
        sets = module("quality_sets")
        one_hot, traits = (
            np.vstack([Y for _, Y in make(3).parts])
            for make in (sets.make_digits, sets.make_digit_traits)
        )
        digit = one_hot.argmax(axis=1)
        assert (one_hot.sum(axis=1) == 1).all()
        even, at_least_5, prime, loop = traits.T
        np.testing.assert_array_equal(even, 1 - digit % 2)
        np.testing.assert_array_equal(at_least_5, digit > 4)
        assert set(digit[prime == 1]) == {2, 3, 5, 7}
        assert set(digit[loop == 1]) == {0, 6, 8, 9}

    def test_breast_cancer_hides_the_worst_values_from_the_features(self):
        table = module("quality_sets").make_breast_cancer(0)
        assert table.parts[0][0].shape[1] == 20
        labels = np.vstack([Y for _, Y in table.parts])
        np.testing.assert_allclose(labels.mean(axis=0), [0.373, 0.5, 0.5, 0.5], atol=0.01)

    def test_diabetes_thresholds_are_nested(self):
        labels = np.vstack([Y for _, Y in module("quality_sets").make_diabetes(0).parts])
        assert (np.diff(labels, axis=1) <= 0).all()
        np.testing.assert_allclose(labels.mean(axis=0), [0.75, 0.5, 0.25], atol=0.01)

    def test_flights_of_few_training_rows_keep_their_missing_labels(self):
        sets = module("quality_sets")
        table = sets.make_real(0, loader=sets.load_flights, n_train=1000)
        (X, Y), (X_val, _), (X_test, _) = table.parts
        assert [len(X), len(X_val)] == [1000, 250]
        assert len(X_test) > 5000
        assert np.isnan(Y).any()
        assert np.isnan(X).any()
        together = np.vstack([X, X_val, X_test])
        assert np.isfinite(together[:, 0]).all()

    def test_real_rows_are_in_one_part_only(self):
        rows = module("parts").cut_rows(1000, [600, 700, 900], seed=4)
        assert [len(part) for part in rows] == [600, 100, 200]
        assert len(np.unique(np.concatenate(rows))) == 900

    @pytest.mark.parametrize("n_train", [400, 4000])
    def test_made_tables_have_the_shares_that_were_asked_for(self, n_train):
        sets = module("quality_sets")
        prevalences = (0.3, 0.1, 0.03, 0.01)
        table = sets.make_related(
            1, weights=sets.agreeing, prevalences=prevalences, n_train=n_train
        )
        assert [len(X) for X, _ in table.parts] == [n_train, n_train // 4, 20_000]
        X, Y = (np.vstack(part) for part in zip(*table.parts, strict=True))
        np.testing.assert_allclose(Y.mean(axis=0), prevalences, rtol=0.02)
        assert np.isnan(X).mean() == pytest.approx(0.05, abs=0.002)

    def test_factors_are_the_formula(self):
        sets = module("quality_sets")
        X = np.random.default_rng(0).normal(size=(500, 30))
        values = sets.factors(X)
        for k, column in enumerate(values.T):
            a, b, c = X[:, 3 * k], X[:, 3 * k + 1], X[:, 3 * k + 2]
            expected = np.sin(2 * a) + a * b + np.where(c > 0, np.abs(b), 0)
            assert np.corrcoef(column, expected)[0, 1] == pytest.approx(1)
        np.testing.assert_allclose(values.std(axis=0), 1)

    def test_weights_of_the_tasks_relate_them_as_named(self):
        sets = module("quality_sets")
        draws = [np.corrcoef(sets.agreeing(np.random.default_rng(s))) for s in range(200)]
        assert np.mean([draw[0, 1] for draw in draws]) > 0.6
        opposed = [np.corrcoef(sets.opposed(np.random.default_rng(s))) for s in range(200)]
        assert np.mean([draw[0, 1] for draw in opposed]) < -0.8
        assert np.mean([draw[2, 3] for draw in opposed]) < -0.8
        assert abs(np.mean([draw[0, 2] for draw in opposed])) < 0.2
        apart = sets.unrelated(np.random.default_rng(0))
        np.testing.assert_array_equal((apart != 0).sum(axis=0), 1)

    def test_noise_is_unrelated_and_left_out_of_the_kept_tasks(self):
        sets = module("quality_sets")
        table = sets.SETS["noise"].make(0)
        X_test, Y_test = table.parts[2]
        assert Y_test[:, 3].mean() == pytest.approx(0.1, abs=0.01)
        correlations = [
            np.corrcoef(np.nan_to_num(column), Y_test[:, 3])[0, 1] for column in X_test.T
        ]
        assert np.abs(correlations).max() < 0.03
        kept = table.keep(sets.SETS["noise"].kept_tasks(table.task_names))
        assert kept.task_names == ["task_0", "task_1", "task_2"]
        np.testing.assert_array_equal(kept.parts[0][1], table.parts[0][1][:, :3])
        assert kept.parts[0][0] is table.parts[0][0]

    def test_the_scarce_task_is_scarce_until_the_test(self):
        table = module("quality_sets").SETS["scarce"].make(0)
        for X, Y in table.parts[:2]:
            missing = np.isnan(Y).mean(axis=0)
            np.testing.assert_allclose(missing, [0, 0.9, 0, 0], atol=0.02)
            assert len(X) == len(Y)
        assert not np.isnan(table.parts[2][1]).any()


class StumpLibrary:
    """One tree for all tasks: its stages are depths, and a depth is a number of rounds."""

    def __init__(self):
        self.seen = []

    def fit(self, train, validation, shared):
        self.seen.append((train[1], validation[1]))
        X, Y = train
        depths = range(1, shared["n_estimators"] + 1)
        trees = (DecisionTreeClassifier(max_depth=d, min_samples_leaf=20) for d in depths)
        return [tree.set_params(random_state=0).fit(X, Y) for tree in trees]

    def stages(self, model, X, n_tasks):
        for rounds in range(1, len(model) + 1):
            yield self.predict(model, X, rounds)[:, -n_tasks:]

    def predict(self, model, X, rounds):
        """Never certain: a pure leaf would cost an infinite log loss."""
        probabilities = model[rounds - 1].predict_proba(X)
        if isinstance(probabilities, list):
            probabilities = np.column_stack([of_task[:, 1] for of_task in probabilities])
        return 0.05 + 0.9 * probabilities


def parts_of(rng, n_tasks, missing):
    """Three parts of tasks that depend on the sign of a feature each."""
    parts = []
    for n_rows in (400, 300, 200):
        X = rng.normal(size=(n_rows, n_tasks))
        Y = ((X + 0.7 * rng.normal(size=X.shape)) > 0).astype(float)
        Y[rng.random(Y.shape) < missing] = np.nan
        parts.append((X, Y))
    return parts


class TestContenders:
    def test_task_losses_are_log_loss_of_the_labelled_rows(self):
        rng = np.random.default_rng(0)
        Y = rng.integers(0, 2, size=(300, 3)).astype(float)
        Y[rng.random(Y.shape) < 0.4] = np.nan
        P = rng.random(Y.shape)
        np.testing.assert_allclose(
            module("quality_contenders").task_losses(Y, P), log_loss(Y, P), rtol=1e-12
        )

    def test_each_task_keeps_its_own_best_round(self):
        Y = np.array([[1, 0], [0, np.nan], [1, 1.0]])
        right, wrong, half = Y.copy(), 1 - Y, np.full(Y.shape, 0.5)
        right[1, 1] = wrong[1, 1] = 0.0  # unlabelled: must not matter
        stages = [
            np.column_stack([half[:, 0], right[:, 1]]),
            np.column_stack([wrong[:, 0], half[:, 1]]),
            np.column_stack([right[:, 0], wrong[:, 1]]),
        ]
        assert module("quality_contenders").best_rounds(iter(stages), Y) == [3, 1]

    def test_joint_models_see_the_rows_labelled_for_all_tasks(self):
        contenders, library = module("quality_contenders"), StumpLibrary()
        parts = parts_of(np.random.default_rng(0), 3, missing=0.2)
        probabilities, rounds, seconds = contenders.fit_complete(
            parts, {"n_estimators": 6}, library
        )
        for (_, Y), seen in zip(parts[:2], library.seen[0], strict=True):
            np.testing.assert_array_equal(seen, Y[~np.isnan(Y).any(axis=1)])
        assert len(library.seen) == 1
        assert seconds > 0
        X_test, Y_test = parts[2]
        for task in range(3):
            known = ~np.isnan(Y_test[:, task])
            assert roc_auc_score(Y_test[known, task], probabilities[known, task]) > 0.7
        model = library.fit(
            *(contenders.complete_rows(*p, [0, 1, 2]) for p in parts[:2]), {"n_estimators": 6}
        )
        for task, kept in enumerate(rounds):
            expected = library.predict(model, X_test, kept)[:, task]
            np.testing.assert_array_equal(probabilities[:, task], expected)

    def test_a_task_that_loses_a_class_gets_a_model_of_its_own(self):
        """As cancelled flights, which no delay is known of."""
        contenders, library = module("quality_contenders"), StumpLibrary()
        parts = parts_of(np.random.default_rng(1), 3, missing=0.0)
        for _, Y in parts[:2]:
            Y[Y[:, 1] == 1, 0] = np.nan
        probabilities, rounds, _ = contenders.fit_complete(parts, {"n_estimators": 4}, library)
        assert [seen[0].shape[1:] for seen in library.seen] == [(2,), ()]
        assert len(library.seen[1][0]) == 400
        assert roc_auc_score(parts[2][1][:, 1], probabilities[:, 1]) > 0.7
        assert len(rounds) == 3

    def test_our_models_of_one_task_each(self):
        contenders = module("quality_contenders")
        parts = parts_of(np.random.default_rng(2), 3, missing=0.3)
        shared = {"n_estimators": 20, "learning_rate": 0.1, "num_leaves": 4, "n_jobs": 1}
        dedicated = contenders.CONTENDERS["dedicated mtgbm"](parts, shared)
        joint = contenders.CONTENDERS["mtgbm"](parts, shared)
        for probabilities, rounds, seconds in (dedicated, joint):
            assert probabilities.shape == parts[2][1].shape
            assert len(rounds) == 3
            assert seconds > 0
        alone = [(X, Y[:, [1]]) for X, Y in parts]
        alone[:2] = [(X[~np.isnan(y[:, 0])], y[~np.isnan(y[:, 0])]) for X, y in alone[:2]]
        probabilities, rounds, _ = contenders.CONTENDERS["mtgbm"](alone, shared)
        np.testing.assert_array_equal(probabilities[:, 0], dedicated[0][:, 1])
        assert rounds == [dedicated[1][1]]

    def test_options_reach_the_model(self):
        variant = module("quality_contenders").variant
        parts = parts_of(np.random.default_rng(3), 2, missing=0.0)
        shared = {"n_estimators": 20, "learning_rate": 0.1, "num_leaves": 4, "n_jobs": 1}
        name, fit = variant("n_estimators=1,  learning_rate = 1e-9")
        assert name == "mtgbm n_estimators=1, learning_rate=1e-09"
        probabilities, rounds, _ = fit(parts, shared)
        assert rounds == [1, 1]
        np.testing.assert_allclose(probabilities, parts[0][1].mean(axis=0)[None].repeat(200, 0))
        _, fit = variant("weighting=FixedWeighting(main_weight=2.0, sub_weight=[0.0])")
        weighting = fit.keywords["options"]["weighting"]
        assert (weighting.main_weight, weighting.sub_weight) == (2.0, [0.0])

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("reg_lamda=5", "did you mean 'reg_lambda'"),
            ("5", "takes name=value"),
            ("reg_lambda=", "takes name=value"),
            ("**{}", "takes name=value"),
            ("weighting=print(end=1)", "weightings with named arguments"),
        ],
    )
    def test_other_options_are_refused(self, text, said):
        with pytest.raises(ValueError, match=said.replace("(", r"\(")):
            module("quality_contenders").variant(text)


TINY = ("--sets", "diabetes", "noise", "--seeds", 1, "--rounds", 5, "--threads", 1)
NAMES = ["lightgbm", "mtgbm", "mtgbm reg_lambda=5"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A file of results, the table for the documentation, and what was printed."""
    folder = tmp_path_factory.mktemp("quality")
    file, rst = folder / "results.jsonl", folder / "table.rst"
    printed = printed_by(
        *("--results", file, *TINY, "--contenders", "lightgbm", "mtgbm"),
        *("--ours", "reg_lambda=5", "--rst", rst),
    )
    return file, rst, printed


def records_of(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


class TestRun:
    def test_every_cut_and_contender_is_measured_once(self, measured):
        records = records_of(measured[0])
        found = [(r["set"], r["contender"], r["learned"]) for r in records]
        expected = [("diabetes", name, "all") for name in NAMES] + [
            ("noise", name, learned)
            for name in NAMES
            for learned in ("all", "kept")
            if (name, learned) != ("lightgbm", "kept")
        ]
        assert found == expected
        for record in records:
            assert max(record["rounds"]) <= 5
            for key in ("auc", "average_precision", "log_loss", "calibration_error"):
                assert len(record[key]) == len(record["tasks"])
            if record["set"] == "diabetes":
                assert min(record["auc"]) > 0.6

    def test_printed_means_are_those_of_the_file(self, measured):
        file, _, printed = measured
        for record in records_of(file):
            if record["learned"] == "all":
                assert f"{np.mean(record['auc']):.4f}" in printed
        assert printed.count("is it as good as it should be?") == 2
        for text in ("sign test", "worst task", "average rank", "with a task of noise (noise)"):
            assert text in printed

    def test_a_cut_run_goes_on(self, measured, tmp_path):
        """Two records are lost, and only those are measured again."""
        whole = records_of(measured[0])
        file = tmp_path / "cut.jsonl"
        kept = [r for r in whole if (r["contender"], r["learned"]) != ("mtgbm", "all")]
        file.write_text("".join(json.dumps(r) + "\n" for r in kept))
        done = run("--results", file, *TINY, "--contenders", "lightgbm", "mtgbm")
        assert done.returncode == 0, done.stderr
        new = records_of(file)[len(kept) :]
        lost = [r for r in whole if r not in kept]
        assert done.stderr.count("\n") == len(lost) == 2
        for record, before in zip(new, lost, strict=True):
            assert {**record, "seconds": 0} == {**before, "seconds": 0}

    def test_a_report_measures_nothing(self, measured):
        file, _, printed = measured
        before = file.read_bytes()
        assert printed_by("--report", file) == printed
        assert file.read_bytes() == before
        fewer = printed_by("--report", file, "--contenders", "mtgbm")
        assert "lightgbm" not in fewer
        assert "mtgbm" in fewer

    def test_one_file_is_of_one_number_of_rounds(self, measured):
        done = run("--results", measured[0], "--rounds", 7)
        assert done.returncode == 2
        assert "at most 5 rounds, not 7" in done.stderr

    def test_options_are_read_before_any_work(self, tmp_path):
        done = run("--results", tmp_path / "none.jsonl", "--ours", "num_leafs=3")
        assert done.returncode == 2
        assert "did you mean 'num_leaves'" in done.stderr
        assert not (tmp_path / "none.jsonl").exists()

    def test_help_and_list(self):
        command = [sys.executable, "-m", "benchmarks.quality", "--help"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert "python -m benchmarks.quality " in done.stdout
        listed = printed_by("--list")
        for name in ("flights_5k", "films", "scarce", "digits", "xgboost", "dedicated mtgbm"):
            assert name in listed

    def test_the_table_of_the_documentation_is_a_table(self, measured):
        from docutils.core import publish_doctree
        from docutils.nodes import entry, row, system_message

        file, rst, _ = measured
        tree = publish_doctree(rst.read_text())
        assert not list(tree.findall(system_message))
        rows = [[cell.astext() for cell in r.findall(entry)] for r in tree.findall(row)]
        assert rows[0] == ["set", "training rows", "tasks", *NAMES]
        ours = [r for r in records_of(file) if r["learned"] == "all" and r["set"] == "diabetes"]
        assert rows[1] == ["diabetes", "282", "3", *(f"{np.mean(r['auc']):.4f}" for r in ours)]
        assert "python -m benchmarks.quality --results" in tree.astext()


def record(name, contender, auc, seed=0, learned="all", **more):
    tasks = more.pop("tasks", [f"task_{i}" for i in range(len(auc))])
    scores = {"average_precision": auc, "log_loss": [1 - a for a in auc], "calibration_error": auc}
    return {
        **{"set": name, "seed": seed, "contender": contender, "learned": learned},
        **{"train_rows": 8000, "tasks": tasks, "auc": auc, "seconds": 1.0, **scores, **more},
    }


def verdicts_of(records, ours="mtgbm"):
    report = module("quality_report")
    return {v.text: v for v in report.verdicts(report.Results(records), ours)}


class TestVerdicts:
    def test_beside_dedicated_models_and_the_best_peer(self):
        found = verdicts_of(
            [
                record("agree", "lightgbm", [0.80, 0.70]),
                record("agree", "xgboost", [0.81, 0.73]),
                record("agree", "mtgbm", [0.83, 0.71]),
                record("flights", "lightgbm", [0.60, 0.60], train_rows=215_000),
                record("flights", "xgboost", [0.50, 0.50], train_rows=215_000),
                record("flights", "mtgbm", [0.607, 0.597], train_rows=215_000),
            ]
        )
        values = {text: (round(v.value, 6), v.holds) for text, v in found.items()}
        assert values == {
            "AUC, mean of all sets, less the best peer's (lightgbm)": (0.011, True),
            "AUC, all sets, less lightgbm's": (0.011, True),
            "AUC, sets of at most 8,000 training rows, less lightgbm's": (0.02, True),
            "AUC, whole tables, less lightgbm's": (0.002, True),
            "AUC of the worst task (flights: task_1), less lightgbm's": (-0.003, False),
            "log loss, mean of all sets: lightgbm's less ours": (0.011, True),
            "calibration error, mean of all sets: lightgbm's less ours": (-0.011, False),
        }

    def test_scarce_labels(self):
        found = verdicts_of(
            [
                record("scarce", "lightgbm", [0.80, 0.70]),
                record("scarce", "mtgbm", [0.70, 0.71]),
            ]
        )
        verdict = found["AUC of a task with few labels (scarce), less lightgbm's"]
        assert verdict.value == pytest.approx(0.01)
        assert not verdict.holds

    def test_noise_and_main_task_are_beside_the_same_model_without_the_others(self):
        tasks = ["task_0", "task_1", "noise"]
        found = verdicts_of(
            [
                *(record("noise", "mtgbm", [0.8, 0.7, 0.1], seed=s, tasks=tasks) for s in (0, 1)),
                record("noise", "mtgbm", [0.8015, 0.71], seed=0, learned="kept"),
                record("noise", "mtgbm", [0.8015, 0.69], seed=1, learned="kept"),
                record("films", "mtgbm", [0.6, 0.9], tasks=["Action", "Drama"]),
                record("films", "mtgbm", [0.89], learned="kept", tasks=["Drama"]),
            ]
        )
        values = {text: (round(v.value, 6), v.holds) for text, v in found.items()}
        assert values == {
            "AUC with a task of noise (noise) less without, mean of the others": (-0.00075, True),
            "AUC with a task of noise (noise) less without, worst of the others (task_0)": (
                -0.0015,
                False,
            ),
            "AUC of Drama (films) with the other tasks, less without": (0.01, True),
        }

    def test_cuts_that_a_contender_lacks_are_left_out(self):
        results = module("quality_report").Results(
            [
                record("agree", "lightgbm", [0.5], seed=0),
                record("agree", "lightgbm", [0.9], seed=1),
                record("agree", "mtgbm", [0.6], seed=0),
                record("scarce", "mtgbm", [0.6], seed=0),
            ]
        )
        assert results.n_left_out == 2
        assert results.sets == ["agree"]
        assert results.mean("agree", "lightgbm") == 0.5

    def test_ranks_and_sign_test(self):
        report = module("quality_report")
        results = report.Results(
            [
                record("agree", "lightgbm", [0.5, 0.9, 0.7]),
                record("agree", "mtgbm", [0.6, 0.9, 0.8]),
                record("opposed", "lightgbm", [0.9, 0.5]),
                record("opposed", "mtgbm", [0.8, 0.3]),
            ]
        )
        test = report.sign_test(results, "mtgbm", "lightgbm")
        assert (test.wins, test.losses) == (2, 2)
        assert test.p_value == binomtest(2, 4).pvalue == 1.0
        assert report.SignTest(9, 1).p_value == pytest.approx(22 / 1024)
        assert report.average_ranks(results, "auc", True).tolist() == [1.5, 1.5]
        assert report.average_ranks(results, "log_loss", False).tolist() == [1.5, 1.5]

    def test_standard_error_is_over_the_seeds(self):
        with_error = module("quality_report").with_error
        assert with_error(np.array([0.1, 0.3])) == "+0.2000 +- 0.1000"
        assert with_error(np.array([-0.1])) == "-0.1000"
