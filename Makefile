# `make run` and `make test` need Python 3.11+ and nothing else.  PYTHON=... says which Python.

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
    $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null </dev/null \
    && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# make test TESTS=tests/ws: only these; nothing that the environment happens to have.
TESTS :=
# Each process has a reactor and a PostgreSQL of its own, and whole files of tests.
PARALLEL := -n auto --maxprocesses=4 --dist loadfile
# What a package manager sets for itself would change what is tested here.
unexport PYTHONPATH PYTHONHOME

comma := ,

.PHONY: run dev hooks test lint types conformance bench lock wheel clean

run: $(VENV)/.run
	@echo "==> Starting the server; Ctrl-C stops it"
	$(BIN)/twistd -n x121

dev: $(VENV)/.dev
	@echo "==> Starting the server, and anew after every change; Ctrl-C stops it"
	@$(BIN)/python -m x121.commands.dev $(BIN)/twistd -n x121

hooks: $(VENV)/.test
	@echo "==> Having git check every commit first"
	$(BIN)/pre-commit install

test: $(VENV)/.test
	@echo "==> Running $(or $(TESTS),the tests$(comma) which takes some minutes)"
ifneq ($(TESTS),)
	$(BIN)/python -m pytest $(TESTS)
else
	$(BIN)/python -m pytest $(PARALLEL) --ignore=tests/abuse
	$(BIN)/python -m pytest tests/abuse  # alone: how long others wait is what it measures
endif

lint: $(VENV)/.test
	@echo "==> Looking for faults of style"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test
	@echo "==> Checking the types"
	$(BIN)/mypy

conformance: $(VENV)/.test
	@echo "==> Asking the Autobahn Testsuite, which needs a Python 2.7"
	$(BIN)/python -m tests.conformance

bench: $(VENV)/.test $(VENV)-bench/.peers
	@echo "==> Measuring this server and its peers, which takes 10 to 30 minutes"
	$(BIN)/python -m bench

# With the oldest Python: what that needs is enough for the others.
lock: $(VENV)/.test
	@echo "==> Pinning what a deployment installs, in deploy/requirements.lock"
	@$(PIP) install --quiet 'pip-tools>=7.5'
	@CUSTOM_COMPILE_COMMAND="make lock PYTHON=python3.11" $(BIN)/pip-compile --quiet --upgrade \
		--generate-hashes --extra fast --strip-extras --no-emit-index-url --no-emit-find-links \
		--no-emit-trusted-host --no-emit-options --output-file deploy/requirements.lock setup.py

wheel: $(VENV)/.test
	@echo "==> Building a source archive, and a wheel from that, in dist"
	rm -rf dist
	$(BIN)/python -m build --outdir dist .

clean:
	rm -rf $(VENV) $(VENV)-conformance $(VENV)-bench build dist *.egg-info

# Half a virtual environment, as Debian's Python leaves where python3-venv is missing, would be
# taken for a whole one the next time.
$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "x121 needs Python 3.11 or newer: install it, or say where it is with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "x121 needs Python 3.11 or newer, and %s is %s: set PYTHON=..." % (sys.executable, sys.version.split()[0]))'
	@echo "==> Making a virtual environment in $(VENV) with `$(PYTHON) --version`"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)-bench/.peers: bench/requirements.txt bench/requirements-optional.txt | $(BIN)/python
	@echo "==> Installing the peers to measure in $(VENV)-bench"
	@$(BIN)/python -m venv $(VENV)-bench || { rm -rf $(VENV)-bench; exit 1; }
	@$(VENV)-bench/bin/python -m pip --disable-pip-version-check install --quiet -r bench/requirements.txt
	@for peer in $$(grep -v '^#' bench/requirements-optional.txt); do \
		$(VENV)-bench/bin/python -m pip --disable-pip-version-check install --quiet -r bench/requirements.txt "$$peer" \
		|| echo "==> $$peer can't be installed here: the benchmark goes on without it"; \
	done
	@touch $@

$(VENV)/.run: $(BIN)/python setup.py
	@echo "==> Installing x121 in $(VENV)"
	@$(PIP) install --quiet --use-pep517 --editable '.[embedded,fast]'
	@touch $@

$(VENV)/.dev: $(BIN)/python setup.py
	@echo "==> Installing x121 in $(VENV), and what watches its source"
	@$(PIP) install --quiet --use-pep517 --editable '.[embedded,fast,dev]'
	@touch $(VENV)/.run $@

$(VENV)/.test: $(BIN)/python setup.py
	@echo "==> Installing x121 and what its tests need in $(VENV)"
	@$(PIP) install --quiet --use-pep517 --editable '.[embedded,fast,test]'
	@touch $(VENV)/.run $(VENV)/.dev $@
