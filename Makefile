# Two commands on a fresh machine: `make serve` and `make test`. Needs Python 3.11 or newer.

PYTHON ?= python3
VENV ?= .venv
MODEL ?= demo
HOST ?= 127.0.0.1
PORT ?= 8000
MINUTES ?= 10
ARGS ?=

BIN := $(VENV)/bin
PACKAGES := core plugin_sdk platforms/cpu
TESTED := platforms/cuda platforms/rocm platforms/tpu platforms/xpu
MANIFESTS := $(PACKAGES:%=%/pyproject.toml)
KERNELS := $(wildcard platforms/cpu/dovetail_cpu/native/source/*)

.PHONY: serve chat test chaos lint format types clean

serve: $(VENV)/.serve
	$(BIN)/dovetail serve $(MODEL) --host $(HOST) --port $(PORT) $(ARGS)

chat: $(VENV)/.serve
	$(BIN)/dovetail chat $(MODEL) $(ARGS)

test: $(VENV)/.test
	$(MAKE) --no-print-directory lint types
	$(BIN)/python -m pytest $(ARGS)

chaos: $(VENV)/.test
	$(BIN)/python ci/chaos --minutes $(MINUTES) $(ARGS)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.test
	$(BIN)/mypy core/dovetail plugin_sdk/dovetail_sdk $(wildcard platforms/*/dovetail_*) ci

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Dovetail needs Python 3.11 or newer, not " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.serve: $(VENV)/bin/python $(MANIFESTS) $(KERNELS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PACKAGES:%=-e %)
	touch $@

# torch first: a build for the CPU that is already chosen keeps later installs from fetching another.
$(VENV)/.test: $(VENV)/.serve ci/requirements.txt $(TESTED:%=%/pyproject.toml)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r ci/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TESTED:%=-e %)
	touch $@
