"""Sphinx configuration; `make docs` builds the pages."""

from mtgbm import __version__

project = "mtgbm"
author = "The mtgbm developers"
copyright = "2026, The mtgbm developers"
release = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
]
# Inherited docstrings refer to pages of scikit-learn, which a build without network cannot reach.
suppress_warnings = ["ref.ref"]
exclude_patterns = ["_build"]
autosummary_generate = True
numpydoc_show_class_members = False
html_theme = "alabaster"
html_theme_options = {"description": "Several labels, one model"}
