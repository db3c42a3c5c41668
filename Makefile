# Every target installs what it needs into .venv, from the package registries only.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help chat demo serve test test-slow check fix bench bench-peers proto docs lock clean

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Whet needs Python 3.11 or later; say which: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(BIN)/python || { echo "Making .venv ..."; $(PYTHON) -m venv $(VENV); }
	@echo "Installing what Whet needs (a minute or two, once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

chat: $(READY) ## Chat in the terminal, on an embedded server
	@$(BIN)/whet

demo: $(READY) ## Run a scripted conversation without a screen
	@$(BIN)/whet demo

serve: $(READY) ## Run a server on its own
	@$(BIN)/whet serve

test: $(READY) ## Run the tests
	@$(BIN)/python -m pytest -m "not slow" -q

test-slow: $(READY) ## Run the long kills, fuzz and soak tests
	@$(BIN)/python -m pytest -m slow -q

check: $(READY) ## Lint, types, floors and the contract
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	@rm -rf $(VENV)/proto-check && $(BIN)/python proto/generate.py $(VENV)/proto-check && diff -r -x __pycache__ proto/gen $(VENV)/proto-check && echo "generated code is fresh"

fix: $(READY) ## Format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/buf format -w

bench: $(READY) ## Measure, as ratios in one run
	@$(BIN)/python -m whet_eval.bench

bench-peers: $(READY) ## Install other libraries beside us and measure them in the same run
	@$(BIN)/python -m whet_eval.bench.peers

proto: $(READY) ## Generate the Python of the contract
	@$(BIN)/python proto/generate.py proto/gen

docs: $(READY) ## Write the tables in the documents anew from the contract
	@$(BIN)/python -m whet_tui.docs

lock: $(READY) ## Resolve the dependencies anew
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile pyproject.toml --group dev --group weights --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet --output-file requirements.lock

clean: ## Remove what was installed
	rm -rf $(VENV)
