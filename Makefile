# `make demo` and `make test` are all a fresh machine with Python >= 3.11 needs: both make .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: venv demo test lint format

venv: .venv/installed

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable ".[experiments,test,dev]"
	touch $@

demo: venv  # trains on real digits and draws a table and a figure, in minutes on a laptop
	$(BIN)/python -m experiments.demo

test: venv
	$(BIN)/pytest -n auto --dist worksteal

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: venv
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
