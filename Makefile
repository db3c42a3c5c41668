# Every target installs what it needs into .venv, from the package registries only.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TOOLS := $(VENV)/.tools
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps
LOCK := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help chat demo serve judging sweeping test test-slow check fix bench bench-peers bench-terminal utterances proto docs lock clean

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Whet needs Python 3.11 or later; say which: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(BIN)/python || { echo "Making .venv ..."; $(PYTHON) -m venv $(VENV); }
	@echo "Installing what Whet needs (a minute or so, once) ..."
	@$(INSTALL) --require-hashes -r requirements.lock
	@$(INSTALL) --no-build-isolation --editable .
	@touch $@

$(TOOLS): $(READY) requirements-dev.lock
	@echo "Installing the tools that check Whet (once) ..."
	@$(INSTALL) --require-hashes -r requirements-dev.lock
	@touch $@

chat: $(READY) ## Chat in the terminal, on an embedded server
	@$(BIN)/whet

demo: $(READY) ## Run a scripted conversation without a screen
	@$(BIN)/whet demo

judging: $(READY) ## Take a judge from its first verdict to the gate, on the local and on simulated judges
	@$(BIN)/python -m whet_eval.judging

sweeping: $(READY) ## Search a better prompt on the local model, and a planted optimum on simulated ones
	@$(BIN)/python -m whet_eval.sweeping

serve: $(READY) ## Run a server on its own
	@$(BIN)/whet serve

test: $(TOOLS) ## Run the tests
	@$(BIN)/python -m pytest -m "not slow" -q -n 2 --dist loadfile

test-slow: $(TOOLS) ## Run the long kills, fuzz and soak tests
	@$(BIN)/python -m pytest -m slow -q

check: $(TOOLS) ## Lint, types, floors and the contract
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	@if tag=$$(git describe --tags --abbrev=0 2>/dev/null); then buf breaking --against ".git#tag=$$tag"; else echo "no release yet: no contract to break"; fi
	@rm -rf $(VENV)/proto-check && $(BIN)/python proto/generate.py $(VENV)/proto-check && diff -r -x __pycache__ proto/gen $(VENV)/proto-check && echo "generated code is fresh"

fix: $(TOOLS) ## Format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/buf format -w

bench: $(TOOLS) ## Measure, as ratios in one run
	@$(BIN)/python -m whet_eval.bench

bench-peers: $(TOOLS) ## Install other libraries beside us and measure them in the same run
	@$(BIN)/python -m whet_eval.bench.peers

bench-terminal: $(TOOLS) ## Run other agent terminals through the same pseudo-terminal
	@$(BIN)/python -m whet_eval.bench.terminal_peers

utterances: $(TOOLS) ## Say what people say to the agent, and count what it understands
	@$(BIN)/python -m whet_eval.utterances

proto: $(TOOLS) ## Generate the Python of the contract
	@$(BIN)/python proto/generate.py proto/gen

docs: $(TOOLS) ## Write the tables in the documents anew from the contract
	@$(BIN)/python -m whet_tui.docs

lock: $(TOOLS) ## Resolve the dependencies anew
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile pyproject.toml --group build --group weights $(LOCK) --output-file requirements.lock
	@$(BIN)/uv pip compile pyproject.toml --group build --group weights --group dev $(LOCK) --constraint requirements.lock --output-file requirements-dev.lock

clean: ## Remove what was installed
	rm -rf $(VENV)
