# `make run` and `make test` need Python 3.11+ and nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test lint types bench wheel clean

run: $(VENV)/.embedded
	@echo "Serving on http://localhost:3000 (Ctrl-C stops it)"
	$(BIN)/twistd -n x121

test: $(VENV)/.test
	$(BIN)/python -m pytest

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test
	$(BIN)/mypy

bench: $(VENV)/.test
	$(BIN)/python -m bench

wheel: $(VENV)/.test
	$(BIN)/python -m build --outdir dist .

clean:
	rm -rf $(VENV) build dist *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "x121 needs Python 3.11 or newer; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.embedded: $(VENV)/bin/python setup.py
	$(BIN)/python -m pip install --quiet --editable '.[embedded,fast]'
	@touch $@

$(VENV)/.test: $(VENV)/bin/python setup.py
	$(BIN)/python -m pip install --quiet --editable '.[embedded,fast,test]'
	@touch $@
