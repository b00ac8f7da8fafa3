# `make demo` and `make test` are all a fresh machine with Python >= 3.11 needs: both make .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: venv demo test test-optimized test-all bench lint format docs dist

venv: .venv/installed

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable ".[experiments,curvature,bench,test,dev,docs]"
	touch $@

demo: venv  # trains on real digits and draws a table and a figure, in minutes on a laptop
	$(BIN)/python -m experiments.demo

bench: venv  # what a step costs on this machine, beside the gradients it is made of
	$(BIN)/python -m benchmarks.run

test: venv
	$(BIN)/pytest -n auto --dist worksteal -m "not slow"

test-optimized: venv  # the numerical tests with XLA's default optimizations, as users compile
	JAX_DISABLE_MOST_OPTIMIZATIONS=0 $(BIN)/pytest -n auto --dist worksteal -m "not slow" \
		tests/library/test_golden.py tests/library/test_variants_golden.py \
		tests/library/test_lookbehind.py tests/library/test_multistep.py tests/laws

test-all: venv  # the slow ones too: processes that are killed, processes that train together
	$(BIN)/pytest -n auto --dist worksteal

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: venv
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: venv  # the site, in docs/_build/html; a warning or a broken link within the site is an error
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --fresh-env docs docs/_build/html

dist: venv  # wheel and sdist in dist/, checked as the package index checks them
	rm -rf build dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*
