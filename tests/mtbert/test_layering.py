"""mtbert loads heavy packages only where it needs them, and reaches into no inner part of mtgbm."""

import ast
import subprocess
import sys
from pathlib import Path

import mtbert

ROOT = Path(mtbert.__file__).parent


def imported_modules():
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                yield node.module
            elif isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)


def test_mtbert_uses_no_engine_of_mtgbm():
    modules = set(imported_modules())
    assert "mtgbm.parameters" in modules
    inner = ("mtgbm.engine", "mtgbm.objectives", "mtgbm.weighting", "mtgbm.training")
    assert not [module for module in modules if module.startswith(inner)]


def test_importing_mtbert_loads_only_what_it_needs():
    """scikit-learn may bring pandas of its own accord, so it goes first."""
    names = ("torch", "transformers", "tokenizers", "pandas", "polars", "lightgbm", "matplotlib")
    program = (
        "import sys, sklearn.pipeline, sklearn.utils.validation, sklearn.model_selection\n"
        "before = set(sys.modules)\n"
        "from mtbert import *\n"
        "from mtbert.text import *\n"
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
