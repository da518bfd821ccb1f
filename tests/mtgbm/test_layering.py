"""Imports point one way: kernels, engine, objectives and weighting, estimators; then leaves."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mtgbm

ROOT = Path(mtgbm.__file__).parent
OPTIONAL = (
    *("torch", "pandas", "polars", "lightgbm", "matplotlib", "tqdm", "rich", "pyarrow"),
    *("onnx", "onnxruntime"),
)
LEAVES = ("io", "plotting", "datasets", "metrics")
ESTIMATOR_LAYER = (
    "mtgbm.estimators",
    "mtgbm.training",
    "mtgbm.callbacks",
    "mtgbm.features",
    "mtgbm.labels",
    "mtgbm.validation",
)


def module_name(path):
    """mtgbm.engine.tree for mtgbm/engine/tree.py; a package's __init__ is the package."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(node, package):
    """What an import statement may name, as absolute dotted names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1])
    source = ".".join(filter(None, [base if node.level else "", node.module]))
    return [source, *(f"{source}.{alias.name}" for alias in node.names)]


def statements_at_import_time(tree):
    """Every node that runs when the module is imported: all but the bodies of functions."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(
            child
            for child in ast.iter_child_nodes(node)
            if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        )


def read_imports(path, *, anywhere):
    tree = ast.parse(path.read_text())
    name = module_name(path)
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    nodes = ast.walk(tree) if anywhere else statements_at_import_time(tree)
    return {
        name
        for node in nodes
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in imported(node, package)
    }


MODULES = {module_name(path): path for path in ROOT.rglob("*.py")}


def below(name, *packages):
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def violations(layer, *forbidden, anywhere=True):
    """``importer -> imported`` for what `layer` imports although it must not."""
    return sorted(
        f"{name} -> {target}"
        for name, path in MODULES.items()
        if below(name, layer)
        for target in read_imports(path, anywhere=anywhere)
        if below(target, *forbidden)
    )


def test_the_modules_are_found():
    assert {"mtgbm.engine.tree", "mtgbm.estimators", "mtgbm.metrics"} <= set(MODULES)
    assert "mtgbm.engine.tree.Forest" in read_imports(
        MODULES["mtgbm.engine.boosting"], anywhere=False
    )


def test_relative_imports_are_resolved():
    node = ast.parse("from ..columns import factorize").body[0]
    assert "mtgbm.columns.factorize" in imported(node, "mtgbm.preprocessing")


def test_a_function_body_does_not_run_at_import():
    tree = ast.parse("import a\nif True:\n    import b\ndef f():\n    import c\n")
    imports = [node for node in statements_at_import_time(tree) if isinstance(node, ast.Import)]
    assert {node.names[0].name for node in imports} == {"a", "b"}


def test_engine_knows_no_tables_and_no_scikit_learn():
    assert not violations("mtgbm.engine", "sklearn", *OPTIONAL)


def test_engine_meets_objectives_weighting_and_callbacks_through_protocols():
    upwards = ("mtgbm.objectives", "mtgbm.weighting", "mtgbm.preprocessing", *ESTIMATOR_LAYER)
    assert not violations("mtgbm.engine", *upwards)


@pytest.mark.parametrize("part", ["binning", "tree", "vectors", "threads", "criteria"])
def test_what_is_below_the_grower_does_not_import_it(part):
    above = ("mtgbm.engine.grower", "mtgbm.engine.boosting")
    assert not violations(f"mtgbm.engine.{part}", *above)


def test_the_grower_does_not_import_the_loop():
    assert not violations("mtgbm.engine.grower", "mtgbm.engine.boosting")


@pytest.mark.parametrize("layer", ["mtgbm.objectives", "mtgbm.weighting"])
def test_objectives_and_weighting_do_not_import_estimators(layer):
    assert not violations(layer, *ESTIMATOR_LAYER)


@pytest.mark.parametrize("layer", ["engine", "objectives", "weighting"])
def test_nothing_below_the_estimators_imports_a_leaf(layer):
    assert not violations(f"mtgbm.{layer}", *(f"mtgbm.{leaf}" for leaf in LEAVES))


@pytest.mark.parametrize("leaf", [leaf for leaf in LEAVES if f"mtgbm.{leaf}" in MODULES])
def test_leaves_do_not_import_estimators(leaf):
    assert not violations(f"mtgbm.{leaf}", "mtgbm.estimators", "mtgbm.training")


def test_preprocessing_does_not_import_the_booster():
    assert not violations("mtgbm.preprocessing", "mtgbm.engine", "mtgbm.estimators")


def test_optional_packages_are_imported_inside_functions():
    assert not violations("mtgbm", *OPTIONAL, anywhere=False)


def test_nothing_imports_mtbert():
    assert not violations("mtgbm", "mtbert", "torch")


def test_importing_mtgbm_loads_only_what_it_needs():
    """scikit-learn may bring pandas of its own accord, so it goes first."""
    names = ("torch", "lightgbm", "matplotlib.pyplot", "polars", "tqdm", "mtbert", "pandas")
    program = (
        "import sys, sklearn.base, sklearn.utils.validation, sklearn.model_selection\n"
        "before = set(sys.modules)\n"
        "import mtgbm\n"
        f"print([name for name in {names!r} if name in set(sys.modules) - before])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT.parent,
    )
    assert result.stdout.strip() == "[]"
