# make demo, demo-text and test need nothing but Python, make and a C compiler: they install the rest.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
KERNELS := $(wildcard mtgbm/*/*.pyx mtgbm/*/*.pxd)

# Let idle OpenMP threads sleep: spinning ones take the cores that others wait for.
export OMP_WAIT_POLICY ?= passive

.PHONY: demo demo-text test lint docs clean

demo: $(INSTALLED)
	$(BIN)/python examples/flights.py

demo-text: $(INSTALLED)
	$(BIN)/python examples/reviews.py

test: $(INSTALLED)
	$(BIN)/pytest -q -n 2

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	PATH="$(CURDIR)/$(BIN):$$PATH" cython-lint mtgbm  # calls pycodestyle by name
	$(BIN)/mypy

docs: $(INSTALLED)
	$(BIN)/sphinx-build -q -W docs docs/_build/html
	@echo "docs: docs/_build/html/index.html"

# Compiles the kernels in place. A newer kernel or setup.py makes the next command do it again.
$(INSTALLED): pyproject.toml setup.py $(KERNELS)
	@echo "Installing into $(VENV) and compiling the kernels; this takes some minutes."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build docs/_build docs/api .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find mtgbm -name '*.so' -delete
