"""The same bits from any instruction set, any number of threads and any run."""

import hashlib
import os
import subprocess
import sys

import joblib
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from mtgbm.engine import _openmp, _spinning
from mtgbm.engine._common import supported_instruction_sets
from mtgbm.engine._isa import ENVIRONMENT_VARIABLE, INSTRUCTION_SET, choose_instruction_set
from mtgbm.engine.boosting import Sampling
from mtgbm.engine.threads import effective_n_threads
from mtgbm.objectives import Task

#: Runs in a process of its own; prints a hash of everything the kernels computed.
PROGRAM = """
import hashlib
import numpy as np
from mtgbm.engine._isa import INSTRUCTION_SET
from mtgbm.engine.binning import BinMapper
from mtgbm.engine.boosting import Boosting, LabelledTable, Sampling
from mtgbm.engine.criteria import CRITERIA, GainSum
from mtgbm.engine.grower import GrowthRules, TreeGrower
from mtgbm.engine.quantization import ExactGradients, QuantizedGradients
from mtgbm.engine.tree import Forest
from mtgbm.objectives import Task, TaskObjectives
from mtgbm.weighting import FixedWeighting

rng = np.random.default_rng(0)
X = rng.normal(size=(3000, 6))
X[:, 5] = rng.integers(0, 30, size=3000)
X[rng.random(X.shape) < 0.05] = np.nan
digest = hashlib.sha256()
for n_tasks in (1, 3, 9):
    noise = rng.normal(size=(3000, n_tasks))
    labels = (np.nan_to_num(X[:, :1]) + noise > 0).astype(np.int16)
    labels[rng.random(labels.shape) < 0.2] = -1
    multiclass = rng.integers(0, 3, size=(3000, 1)).astype(np.int16)
    labels = np.hstack([labels, multiclass])
    tasks = [Task(str(t)) for t in range(n_tasks)] + [Task("m", "multiclass", 3)]
    mapper = BinMapper(63, 200_000, np.arange(6) == 5, rng, 2).fit(X)
    binned = mapper.transform(X)
    objective = TaskObjectives(tasks, np.ones(len(tasks)))
    exact, quantized = ExactGradients(), QuantizedGradients()
    cases = [(criterion, None, p) for criterion in CRITERIA.values() for p in (exact, quantized)]
    cases += [(GainSum, 2, exact), (GainSum, 2, quantized)]
    for criterion, most_outputs, precision in cases:
        forest = Forest(objective.base_scores(labels, None), 6)
        seen = criterion(objective.position_in_task, most_outputs, rng)
        Boosting(objective, seen, precision, FixedWeighting(), 0, 0.3, Sampling(), rng, 2).run(
            forest, TreeGrower(binned, mapper, GrowthRules(reg_lambda=1.0), 2),
            LabelledTable(binned, labels), 3)
        assert len(forest.trees) == 3
        for tree in forest.trees:
            for array in (tree.nodes, tree.bitsets, tree.values, tree.gains):
                digest.update(np.ascontiguousarray(array).tobytes())
        digest.update(forest.raw_predict(mapper.encode_categories(X), 2).tobytes())
print(INSTRUCTION_SET, digest.hexdigest())
"""


def fingerprint(forest):
    digest = hashlib.sha256()
    for tree in forest.trees:
        for array in vars(tree).values():
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def problem():
    """More rows than one chunk of the leaf sums, with values whose sums depend on their order."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20_000, 4))
    X[:, 3] = rng.integers(0, 20, size=20_000)
    X[rng.random(X.shape) < 0.05] = np.nan
    labels = (np.nan_to_num(X[:, :2]) + rng.normal(size=(20_000, 2)) > 0).astype(np.int16)
    labels[rng.random(labels.shape) < 0.2] = -1
    labels = np.hstack([labels, rng.integers(0, 3, size=(20_000, 1))])
    tasks = [Task("a"), Task("b"), Task("m", "multiclass", 3)]
    options = {"tasks": tasks, "categorical": [3], "n_rounds": 2, "num_leaves": 8}
    weights = rng.random(labels.shape).astype(np.float32)
    return X, labels, options | {"row_weights": weights}


#: What chooses the structures: all outputs, all in one, or two of them drawn in each round.
CRITERIA = {
    "gain_sum": {},
    "gradient_sum": {"criterion": "gradient_sum"},
    "sketch": {"most_outputs": 2},
}


@pytest.fixture(scope="module")
def expected(boost, problem):
    """The fingerprints on one thread, by criterion."""
    X, labels, options = problem
    return {
        name: fingerprint(boost(X, labels, **criterion, **options)[0])
        for name, criterion in CRITERIA.items()
    }


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("n_threads", [1, 2, 3, 7])
def test_threads_and_runs_change_no_bit(boost, problem, expected, n_threads, criterion):
    X, labels, options = problem
    forest, mapper = boost(X, labels, n_threads=n_threads, **CRITERIA[criterion], **options)
    assert len(forest.trees) == 2
    assert fingerprint(forest) == expected[criterion]
    raw = mapper.encode_categories(X)
    np.testing.assert_array_equal(forest.raw_predict(raw, n_threads), forest.raw_predict(raw, 1))


@pytest.mark.parametrize("n_threads", [2, 3])
def test_bags_are_the_same_for_any_number_of_threads(boost, problem, n_threads):
    X, labels, options = problem
    options = options | {"sampling": Sampling(0.7, 2, 0.5)}
    one, many = (boost(X, labels, n_threads=n, **options)[0] for n in (1, n_threads))
    assert fingerprint(one) == fingerprint(many)


def test_fingerprints_tell_forests_apart(boost, problem, expected):
    X, labels, options = problem
    other, _ = boost(X, labels, learning_rate=0.3 + 1e-12, **options)
    assert fingerprint(other) != expected["gain_sum"]
    assert len(set(expected.values())) == len(CRITERIA)


def run(program, isa):
    """Run in a process of its own, whose idle threads sleep: spinning ones starve each other."""
    environment = os.environ | {
        ENVIRONMENT_VARIABLE: isa,
        "OMP_WAIT_POLICY": "passive",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )


def test_instruction_sets_change_no_bit():
    lines = []
    for isa in supported_instruction_sets():
        done = run(PROGRAM, isa)
        assert done.returncode == 0, done.stderr
        lines.append(done.stdout.split())
    assert [name for name, _ in lines] == supported_instruction_sets()
    assert len({digest for _, digest in lines}) == 1


def test_an_unknown_instruction_set_is_refused_at_import():
    done = run("import mtgbm.engine.tree", "sse9")
    assert done.returncode != 0
    assert "MTGBM_ISA='sse9': this machine runs baseline" in done.stderr


def test_the_widest_instruction_set_is_taken():
    assert choose_instruction_set(None, ["baseline", "avx2"]) == "avx2"
    assert choose_instruction_set("", ["baseline", "avx2"]) == "avx2"
    assert choose_instruction_set("baseline", ["baseline", "avx2"]) == "baseline"
    with pytest.raises(ValueError, match=r"avx512.*runs baseline, avx2.*Unset"):
        choose_instruction_set("avx512", ["baseline", "avx2"])
    assert INSTRUCTION_SET in supported_instruction_sets()
    assert supported_instruction_sets()[0] == "baseline"


# Threads ------------------------------------------------------------------------------------


@pytest.fixture
def six_cores(monkeypatch):
    monkeypatch.setattr(joblib, "cpu_count", lambda: 6)
    monkeypatch.setattr("mtgbm.engine.threads.max_threads", lambda: 8)
    monkeypatch.setattr("mtgbm.engine.threads.has_openmp", lambda: True)


@pytest.mark.usefixtures("six_cores")
@pytest.mark.parametrize(
    ("n_jobs", "n_threads"),
    [(None, 6), (-1, 6), (-2, 5), (-6, 1), (-7, 1), (-100, 1), (1, 1), (3, 3), (20, 20)],
)
def test_n_jobs_as_scikit_learn_means_it(n_jobs, n_threads):
    assert effective_n_threads(n_jobs) == n_threads


@pytest.mark.usefixtures("six_cores")
def test_openmp_has_its_own_limit(monkeypatch):
    monkeypatch.setattr("mtgbm.engine.threads.max_threads", lambda: 2)
    assert effective_n_threads(None) == 2
    monkeypatch.setattr("mtgbm.engine.threads.has_openmp", lambda: False)
    assert effective_n_threads(4) == 1


def test_zero_jobs_are_refused():
    with pytest.raises(ValueError, match="n_jobs must not be 0; use 1"):
        effective_n_threads(0)


def test_limits_of_threadpoolctl_are_kept():
    with threadpool_limits(1, user_api="openmp"):
        assert _openmp.max_threads() == 1
        assert effective_n_threads(-1) == 1


@pytest.mark.parametrize(
    ("chosen", "seen"),
    [
        ({}, _spinning.SPIN_COUNT),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "active"}, None),
    ],
)
def test_openmp_is_loaded_with_short_spinning_unless_the_user_chose(monkeypatch, chosen, seen):
    for name in _spinning.USER_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    at_load = []
    monkeypatch.setattr(
        _spinning.importlib,
        "import_module",
        lambda name: at_load.append((name, os.environ.get("GOMP_SPINCOUNT"))),
    )
    _spinning.load_openmp()
    assert at_load == [("mtgbm.engine._openmp", seen)]
    assert dict(os.environ) == before
