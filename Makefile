# Each target makes .venv, installs what it needs with the versions of constraints.txt, and does nothing twice.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python
INPUTS := setup.cfg pyproject.toml constraints.txt
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt
# What pip says of an editable install is of no use to anybody unless it fails.
quietly = $(1) 2>$(VENV)/install.log || { cat $(VENV)/install.log; exit 1; }

.PHONY: help demo test test-all check bench docs format clean

help: ## Show this list.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(VENV)/.base:
	@echo "Making $(VENV) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "bci needs Python 3.11 or newer; call make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

# torch first and by its exact version: a looser request may bring gigabytes of another build.
$(VENV)/.demo: $(INPUTS) | $(VENV)/.base
	@echo "Installing the library and its windows (a few minutes, once) ..."
	@$(INSTALL) --upgrade "pip" "setuptools<81" wheel
	@$(INSTALL) torch
	@$(call quietly,$(INSTALL) --editable ".[all]")
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	@echo "Installing what tests and checks need (once) ..."
	@$(call quietly,$(INSTALL) --editable ".[dev]")
	@touch $@

demo: $(VENV)/.demo ## Run the whole loop on a simulated person; pictures and report in out/.
	@$(BIN)/bci demo $(ARGS)

test: $(VENV)/.dev ## Run the fast tests.
	@$(RUN) -m pytest -n 2 --dist loadfile $(ARGS)

test-all: $(VENV)/.dev ## Run every test, the long ones too.
	@$(RUN) -m pytest -m "not hardware" $(ARGS)

check: $(VENV)/.dev ## Format, lint, types, import rules.
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy -p bci
	@$(RUN) -m pytest -q tests/bci/test_house.py

format: $(VENV)/.dev ## Format the code.
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(VENV)/.dev ## Measure the figures (see benchmarks/README.md).
	@$(RUN) benchmarks/run_all.py $(ARGS)

docs: $(VENV)/.dev ## Build the documentation into docs/_build/html.
	@$(BIN)/sphinx-build -q -W -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

clean: ## Remove what was built; recordings in out/ stay.
	rm -rf $(VENV) build dist *.egg-info docs/_build
