# `make` sets everything up; `make demo` shows it; `make up` serves what the demo left; `make test` tests it.
# `make help` lists all targets.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST := $(BIN)/python -m pytest --durations=15 --durations-min=1
# Many tests wait, so three processes use two cores best. The tests of a file share their servers,
# so they stay in one process. In the order of their names the longest files, which have few tests,
# do not come last.
PARALLEL := --numprocesses 3 --dist loadfile --no-loadscope-reorder
PIP := $(BIN)/python -m pip --disable-pip-version-check install --no-compile --quiet --constraint constraints.txt

# Where this is set, every process compiles torch and the service anew: 6 s of a core for each start
# in place of 3. pip compiles nothing, so that only what is used is compiled, once.
unexport PYTHONDONTWRITEBYTECODE

export TANDEMCAL_DATA_DIR ?= $(CURDIR)/.tandemcal

.DEFAULT_GOAL := venv
.PHONY: help venv demo up unit integration e2e browser chaos fuzz test coverage check lint types format docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(READY) ## install everything into .venv (the default)
	@echo "$(VENV) is ready. 'make help' lists what can be made."

# The build backend is pinned like everything else, so it is installed first and not isolated.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Tandemcal needs Python 3.11 or later, but '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." \
	       "Install one and name it: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments;" \
	       "install the venv package that belongs to it (on Debian: python3-venv)." >&2; exit 1; }
	@echo "Setting up $(VENV); the first time this takes some minutes."
	$(PYTHON) -m venv $(VENV)
	$(PIP) hatchling editables
	$(PIP) --no-build-isolation --editable '.[dev]'
	@touch $@

demo: $(READY) ## calibrate five simulated chips over REST
	$(BIN)/tandemcal demo

up: $(READY) ## start the service, with what the demo left
	$(BIN)/tandemcal up

# tests/README.md says which test belongs where.
unit: $(READY) ## run the tests without processes, servers or training
	$(PYTEST) $(PARALLEL) tests/unit

integration: $(READY) ## run the tests of the service, its database, its jobs, and of learning
	$(PYTEST) $(PARALLEL) tests/contract tests/integration tests/hostile

e2e: $(READY) ## run the demo, `tandemcal up` and the wheel as a user does
	$(PYTEST) tests/e2e

# Without Chromium they are skipped: on Debian, apt-get install chromium.
browser: $(READY) ## run the tests of the pages in Chromium
	$(PYTEST) tests/browser

# 200 jobs on 20 chips while everything dies or freezes now and then; `make test` has the short form.
# Other faults: TANDEMCAL_CHAOS_SEED=2 make chaos
chaos: $(READY) ## run the long fault-injection test
	TANDEMCAL_CHAOS=long $(PYTEST) --log-cli-level=INFO tests/chaos

# Some 7,500 requests, which are counted, with a key of each scope; `make test` has the short form.
# Other requests: TANDEMCAL_FUZZ_SEED=2 make fuzz
fuzz: $(READY) ## compare the answers of the API with its OpenAPI document
	TANDEMCAL_FUZZ=long $(PYTEST) --log-cli-level=WARNING tests/fuzz

test: $(READY) ## run all tests, chaos in its short form
	$(PYTEST) $(PARALLEL)

coverage: $(READY) ## run all tests and show which branches of the packages they take
	$(PYTEST) $(PARALLEL) --cov --cov-report=term:skip-covered

# Types and the documentation take longest, a core each.
check: $(READY) ## check format, lint, types, imports, weaknesses, pinned packages and the documentation
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target types docs lint

lint: $(READY)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/lint-imports
	$(BIN)/bandit --configfile pyproject.toml --quiet --recursive chip_sim ltl_core service tandemcal
	$(BIN)/python -m tests.audit

types: $(READY)
	$(BIN)/mypy

format: $(READY) ## format the code and mend what the linter can mend
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

# Warnings are errors; a broken link is a warning.
docs: $(READY) ## build the documentation site into docs/_build/html
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --fresh-env --write-all \
	  --builder html docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

clean: ## remove the environment, the caches and what was built
	rm -rf $(VENV) .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist docs/_build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
