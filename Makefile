# Everything a developer, a user of the demo or CI types. Needs Python 3.11+ with pip, and make; uses uv where there is one, as it is faster.

SHELL := bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2

.PHONY: help install servers demo dev test slow lint format types bench lock clean

help:  ## what there is to type
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- environment -----------------------------------------------------------------------------------------------------------------------

install: $(VENV)/.installed  ## the environment (.venv), exactly as requirements.lock has it; does nothing when it is up to date

# pip is the last thing that venv makes: where it is missing, the environment is new or half made.
$(BIN)/pip:
	@for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "making $(VENV) with $$("$$python" --version)"; \
	    exec "$$python" -m venv $(VENV); \
	  fi; \
	done; \
	echo "no Python 3.11 or newer found: install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; \
	exit 1

# Bytecode is written once, here: where PYTHONDONTWRITEBYTECODE is set, every process would otherwise compile torch and spaCy anew (10 s).
# Some packages carry templates that are not Python of this version; those files fail to compile, and are not imported.
$(VENV)/.locked: requirements.lock | $(BIN)/pip
	@if command -v uv >/dev/null; then \
	  uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock; \
	else \
	  echo "installing about 3 GB of packages with pip; this takes some minutes"; \
	  $(BIN)/python -m pip install --require-hashes -r requirements.lock; \
	fi
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null 2>&1 || true
	@touch $@

$(VENV)/.installed: $(VENV)/.locked pyproject.toml
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

lock:  ## requirements.lock anew from pyproject.toml (needs uv); UPGRADE=1 takes newer versions
	@command -v uv >/dev/null || { echo "make lock needs uv: pip install uv" >&2; exit 1; }
	@uv pip compile --quiet --universal --python-version 3.11 --extra dev --generate-hashes --no-emit-index-url --no-header \
	  $(if $(UPGRADE),--upgrade) pyproject.toml -o requirements.lock

servers: install  ## real Trino, Weaviate, PostgreSQL and an S3 server, for tests and the live demo; kept in ~/.cache/vector_assets
	@$(BIN)/python -m vector_assets.demo.servers install

clean:  ## removes .venv and caches; never .vector_assets, where the data is
	rm -rf $(VENV) *.egg-info build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find vector_assets vector_assets_tests -name __pycache__ -prune -exec rm -rf {} +

# --- run -------------------------------------------------------------------------------------------------------------------------------

demo: $(if $(filter-out 0,$(LIVE)),servers,install)  ## the guided tour: sample lakehouse, sync, searches, an edit, and a sync of just that; LIVE=1: on real servers
	@$(BIN)/python -m vector_assets.demo $(if $(filter-out 0,$(LIVE)),--live)

dev: install  ## Dagster's UI and daemon on this project
	@home=$$($(BIN)/python -m vector_assets.defs.instance) && DAGSTER_HOME="$$home" exec $(BIN)/dagster dev -w workspace.yaml

# --- check -----------------------------------------------------------------------------------------------------------------------------

test: install  ## all tests that this machine can run; says what it skipped and how to enable it
	@$(BIN)/python -m pytest -n $(WORKERS) -m "not slow" -r fEs
	@echo "Left out: tests marked slow (make slow). Skipped ones are listed above with what they need."

slow: install  ## the tests that take minutes
	@$(BIN)/python -m pytest -m slow -r fEs

lint: install  ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: install  ## ruff: fix and format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: install  ## mypy, strict
	@$(BIN)/mypy

bench: install  ## ratios measured in one run
	@$(BIN)/python -m vector_assets_tests.bench
