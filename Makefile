# make repro | make test | make ui | make bench | make docs        PYTHON=python3.12 picks the interpreter of a new .venv
PYTHON ?= $(shell for p in python3.12 python3.11 python3; do $$p -c "" 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin

.PHONY: repro test ui bench docs

repro: .venv/installed
	PATH="$(CURDIR)/$(BIN):$$PATH" dvc repro
	@# Printed here too, because DVC skips the report if a clone already has it.
	@sed -n 's/^\*\*\(.*\)\*\*: /\1: /p' reports/model_card.md
	@echo "report: reports/index.html"

test: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --cov=pipeline

ui: .venv/installed
	$(BIN)/python -m pipeline ui

bench: .venv/installed
	$(BIN)/python -m pipeline bench $(if $(MBRL),--mbrl $(MBRL)) $(if $(JAX),--jax $(JAX))

docs: .venv/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv

.venv/installed: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install -q -e .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install -q -e ".[dev]"
	touch $@

.venv/installed-docs: .venv/installed
	$(BIN)/python -m pip install -q -e ".[docs]"
	touch $@
