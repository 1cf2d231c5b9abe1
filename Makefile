# Everything a person does here, one target each. Needs make and Python 3.11 or later; the rest is installed into .venv,
# pinned and hashed by requirements/dev.lock. Works with GNU Make 3.81, which macOS ships.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
CONFIG ?= config/gateway.yaml
# Further words for pytest: make test ARGS="tests/kube -k escape"
ARGS ?=
# Test processes at once
JOBS ?= 2
QUICK := not slow and not long and not bench

# The first Python that is new enough; PYTHON=/some/python3.12 chooses another.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$python"; break; }; done)

PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install
UV_COMPILE := $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock"

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{ printf "  make %-10s %s\n", $$1, $$2 }'

.PHONY: venv
venv: $(VENV)/.installed ## Create or refresh the environment in .venv

.PHONY: test
test: venv ## Run the quick tests (some minutes; with Go, on real API servers too); ARGS="tests/kube -k name" runs some
	$(BIN)/pytest -n $(JOBS) -m "$(QUICK)" $(ARGS)

.PHONY: test-slow
test-slow: venv ## Run the tests that need containers or more time, one by one
	$(BIN)/pytest -m slow $(ARGS)

.PHONY: coverage
coverage: venv ## Run the quick tests and report what they did not reach (htmlcov/)
	$(BIN)/pytest -n $(JOBS) -m "$(QUICK)" --cov --cov-report=term --cov-report=html $(ARGS)

.PHONY: bench
bench: venv ## Measure speed, memory and start beside a floor, in some minutes; ARGS="--only hot,list --rounds 5"
	$(BIN)/python -m tests.bench.run $(ARGS)

.PHONY: fuzz
fuzz: venv ## Fuzz every boundary with a million inputs and write the figures into docs/security.md; ARGS="--runs 50000"
	$(BIN)/python -m tests.attacks.fuzz --document $(ARGS)

.PHONY: reliability
reliability: venv ## Measure what the gateway withstands (half an hour); ARGS="--only neighbours", ARGS=--document
	$(BIN)/python -m tests.bench.reliability $(ARGS)

.PHONY: serve
serve: venv ## Run the gateway with CONFIG=config/gateway.yaml
	$(BIN)/kube-mcp-gateway serve --config $(CONFIG)

.PHONY: demo
demo: venv ## Try it without a cluster: a short tour on two embedded ones; ARGS="--call east resource_types {}"
	$(BIN)/kube-mcp-gateway demo $(if $(ARGS),$(ARGS),--once)

.PHONY: docs
docs: venv ## Write the pages of docs/ that are made from the code
	$(BIN)/python -m tests.documents
	$(BIN)/python -m tests.attacks.limits
	$(BIN)/python -m gateway.tools.diagnose.handbook > docs/diagnosis.md

.PHONY: format
format: venv ## Rewrite the code in the project's format, with ruff's safe fixes
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

.PHONY: lint
lint: venv ## Check format, rules, types and the rooms' import directions
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: lock
lock: venv ## Resolve the lock files again; UPGRADE=1 takes newer versions
	$(UV_COMPILE) $(if $(UPGRADE),--upgrade) --extra fast --extra shared --extra tracing --group dev --output-file requirements/dev.lock
	$(UV_COMPILE) --extra fast --extra shared --extra tracing --constraint requirements/dev.lock --output-file requirements/runtime.lock
	$(UV_COMPILE:pyproject.toml=) --group build --constraint requirements/dev.lock --output-file requirements/build.lock

.PHONY: clean
clean: ## Remove the environment and everything the tools made
	rm -rf $(VENV) build dist htmlcov .coverage .coverage.* .hypothesis .*_cache
	find gateway tests -name __pycache__ -type d -prune -exec rm -rf {} +

# A lock whose text changed makes the environment anew, so that nothing stays in it that is no longer locked.
$(VENV)/.locked: requirements/dev.lock
	@cmp -s $< $@ && { touch $@; exit; }; \
	[ -n "$(PYTHON)" ] || { \
		echo "No Python 3.11 or later was found. Install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }; \
	"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "PYTHON=$(PYTHON) is not a Python 3.11 or later." >&2; exit 1; }; \
	"$(PYTHON)" -c 'import ensurepip, venv' || { \
		echo "$(PYTHON) lacks the venv module; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }; \
	echo "Creating $(VENV) with $$("$(PYTHON)" --version)"; \
	"$(PYTHON)" -m venv --clear $(VENV); \
	$(PIP) --only-binary :all: --require-hashes --requirement $<; \
	cp $< $@

# Only the gateway's own metadata (version, commands) hangs on pyproject.toml; its code is read from the work tree.
$(VENV)/.installed: $(VENV)/.locked pyproject.toml
	@$(PIP) --no-deps --no-build-isolation --no-index --editable .
	@touch $@
