# Every target does its own set-up: a virtual environment in .venv, installed from pyproject.toml.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install demo test test-all test-wheel lint docs notebooks dist bench device-check clean

help:
	@echo "make demo        a chorale is sung, separated and scored; into demo/"
	@echo "make test        lint, then every test that is not marked slow"
	@echo "make test-all    the slow tests too"
	@echo "make test-wheel  build sdist and wheel, check them, run the demo from the wheel alone"
	@echo "make docs        build the pages of docs/ into site/, and check every link"
	@echo "make notebooks   run the notebooks of docs/, and keep what they print"
	@echo "make dist        sdist and wheel into dist/, checked, for a release"
	@echo "make bench       time every strategy and stage on this machine"
	@echo "make device-check  what is right and how fast on an accelerator, in eight minutes"
	@echo "make lint        ruff and mypy"
	@echo "make clean       remove the environment and the caches"

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[test,lint,midi,plot,docs]"
	touch $@

install: $(STAMP)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -q -n 2 -m "not slow"

test-all: lint
	$(BIN)/python -m pytest -q -n 2

test-wheel:
	PYTHON=$(PYTHON) .ci/test-wheel

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs --quiet build --strict
	$(BIN)/python -m docs_site.check site

notebooks: $(STAMP)
	$(BIN)/python -m docs_site.notebooks docs/notebooks/*.ipynb

dist: $(STAMP)
	$(BIN)/python -m pip install --quiet ".[release]"
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/python -m twine check --strict dist/*

bench: $(STAMP)
	$(BIN)/umss-jax bench --all --out experiments/benchmarks/results

# Of what happens to be installed: an accelerator's own JAX is not replaced.
device-check:
	$(PYTHON) -m experiments.device_check $(CHECK)

demo: $(STAMP)
	$(BIN)/umss-jax demo --overwrite

clean:
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache
