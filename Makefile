# Plain `make` lists the commands. The first one that needs Python makes the environment itself.
# To use an environment of your own instead: make test PYTHON=/path/to/python

VENV := .venv
RUNS := runs/demo
# Networks of this size are faster in one thread than in several.
export OMP_NUM_THREADS := 1
export PYTHONUNBUFFERED := 1

ifeq ($(origin PYTHON),command line)
READY :=
else
PYTHON := $(VENV)/bin/python
READY := $(VENV)/.installed
endif

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all test-pythons wheel-test sanitize check lint types imports \
  format bench docs clean

help: ## list the commands
	@echo "metarl: agents that learn a new maze within one trial"; echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv with the pinned packages (the others do it when needed)

$(VENV)/.installed: pyproject.toml constraints.txt
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "metarl needs Python 3.11 or newer, but python3 is: $$(python3 --version 2>&1)."; \
	  echo "Install a newer one, or name it: make PYTHON=/path/to/python ..."; exit 1; }
	@echo "==> Setting up: a virtual environment in $(VENV)/, then the packages that"
	@echo "    constraints.txt pins. This happens once and takes a minute or more."
	@python3 -m venv $(VENV)
	@if [ -t 1 ]; then quiet=; else quiet=-qq; fi; \
	$(VENV)/bin/python -m pip install $$quiet --disable-pip-version-check \
	  --constraint constraints.txt --editable ".[dev]"
	@touch $@
	@echo "==> Set-up done."

demo: $(READY) ## train a small agent (minutes), test it in mazes it has never seen, film it
	@echo "==> Demo 1/4: training in random mazes into $(RUNS)/ (an earlier demo there is replaced)"
	@if [ -n "$$(ls -A $(RUNS) 2>/dev/null)" ] && [ ! -f $(RUNS)/config.json ]; then \
	  echo "$(RUNS) holds something else than a run: name another folder, RUNS=..."; exit 1; fi
	@rm -rf $(RUNS)
	@$(PYTHON) -m experiments.maze train --preset demo --run-dir $(RUNS)
	@echo "==> Demo 2/4: evaluating the trained agent in mazes that it has never seen"
	@$(PYTHON) -m experiments.maze evaluate $(RUNS)
	@echo "==> Demo 3/4: filming it in one of them, beside the untrained agent"
	@$(PYTHON) -m experiments.maze render $(RUNS) --seed 2 --side-by-side --output $(RUNS)/before-and-after.gif
	@$(PYTHON) -m experiments.maze render $(RUNS) --seed 2 --finds 1 2 3 6 --output $(RUNS)/finds-1-2-3-6.png
	@echo "==> Demo 4/4: drawing the learning curve"
	@$(PYTHON) -m experiments.plot $(RUNS) --output $(RUNS)/curves.png
	@echo; echo "Done. Look at:"
	@echo "  $(RUNS)/before-and-after.gif  untrained and trained in a maze that neither has seen"
	@echo "  $(RUNS)/finds-1-2-3-6.png     the way to the first find beside those to later ones"
	@echo "  $(RUNS)/finds.png             learning to learn: steps from find to find"
	@echo "  $(RUNS)/curves.png            the learning curve"
	@echo "  $(RUNS)/summary.json          the numbers"

test: $(READY) ## run the tests, but not the slow ones
	@echo "==> Tests (without the slow ones; make test-all runs those too)"
	@$(PYTHON) -m pytest -n 2 -q -m "not slow"

test-all: $(READY) ## run all tests, the slow ones too
	@echo "==> All tests, the slow ones too"
	@$(PYTHON) -m pytest -n 2 -q

test-pythons: $(READY) ## run the tests on every Python that is found, each in a fresh environment
	@$(PYTHON) -m tests.packaging.pythons

wheel-test: $(READY) ## build wheel and sdist, install each afresh, run a newcomer's commands
	@echo "==> Wheel and source distribution, on every Python that is found"
	@$(PYTHON) -m tests.packaging.clean_install

sanitize: $(READY) ## run the tests of native kernels under sanitizers (addresses, undefined, threads)
	@echo "==> Native kernels under sanitizers"
	@$(PYTHON) -m tests.metarl.native.builds

check: lint types imports test ## all that CI runs: lint, types, imports, tests

lint: $(READY) ## check style and formatting (ruff)
	@echo "==> Lint"
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .

types: $(READY) ## check the types (mypy)
	@echo "==> Types"
	@$(PYTHON) -m mypy metarl envs experiments $(if $(wildcard benchmarks/*.py),benchmarks)

imports: $(READY) ## check which package may import which (import-linter)
	@echo "==> Imports"
	@$(PYTHON) -c 'from importlinter.cli import lint_imports_command; lint_imports_command(["--no-logo"])'

format: $(READY) ## format the code and mend what ruff can mend
	@$(PYTHON) -m ruff check --fix .
	@$(PYTHON) -m ruff format .

bench: $(READY) ## measure the speed on this machine
	@echo "==> Benchmarks"
	@$(PYTHON) -m benchmarks

docs: $(READY) ## build the documentation into site/ (needs no network)
	@echo "==> Documentation"
	@NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict
	@echo "Done: open site/index.html"

clean: ## remove caches and build products (keeps runs/ and .venv/)
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist site *.egg-info
	@find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "Removed caches and build products."
