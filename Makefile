# Everything from a fresh machine that has Python 3.10 to 3.12 with venv, or uv, or conda:
#   make demo                       code real photographs, print a table, write demo-out/index.html
#   make demo IMAGE="a.jpg b.png"   the same with your own pictures
#   make serve                      a page to try it in a browser, http://localhost:8000
#   make test                       lint and the whole test suite
#   make mutants MODULE=coding/rans plant small bugs in a module, and see which its tests notice
#   make docs                       build the documentation site, site/index.html
#   make matrix                     golden files under every condition, with the oldest torch and with the newest
# PYTHON=... picks another interpreter, ARGS="-m my.json" goes to the demo, ARGS="--port 8001" to the server.

SHELL := /bin/bash
# The tested set of constraints.txt was made with 3.11, and every dependency has wheels for 3.10 to 3.12.
# Asked when an environment is made, and not before: it may have to be downloaded.
PYTHON ?= $$(./find-python.sh)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo serve test mutants lint docs matrix clean help
.DELETE_ON_ERROR:

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

demo: $(VENV)/.demo
	$(BIN)/icm demo $(IMAGE) -o demo-out $(ARGS)

serve: $(VENV)/.serve
	$(BIN)/icm serve $(ARGS)

test: lint
	$(BIN)/python -m pytest

mutants: $(VENV)/.mutants
	OMP_NUM_THREADS=1 $(BIN)/python -W ignore benchmarks/mutants.py $(MODULE) $(ARGS)

# Two environments of their own, a few GB each; ARGS=--fast changes one condition at a time.
matrix: .venv-oldest/.made .venv-newest/.made
	for place in oldest newest; do \
		.venv-$$place/bin/python -c 'import torch; print("torch", torch.__version__)' && \
		.venv-$$place/bin/python tests/golden/matrix.py $(ARGS) && \
		.venv-$$place/bin/python -m pytest -q tests/golden || exit 1; \
	done

# The oldest that pyproject.toml allows, by hand: pip has no option for it.
.venv-oldest/.made: TORCH := torch==2.4.0 torchvision==0.19.0
.venv-newest/.made: TORCH := torch torchvision
.venv-oldest/.made .venv-newest/.made: pyproject.toml
	rm -rf $(@D)
	python="$(PYTHON)" && "$$python" -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check $(TORCH) --editable '.[test]'
	@touch $@

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.docs
	$(BIN)/python -m mkdocs build --quiet --strict -d site

# A changed dependency starts the environment anew; a stamp says which extras are in it.
$(VENV)/.made: pyproject.toml constraints.txt
	@python="$(PYTHON)" && \
	{ "$$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' || \
		{ echo "$$python is not Python 3.10, 3.11 or 3.12; say PYTHON=..." >&2; exit 2; }; } && \
	rm -rf $(VENV) && "$$python" -m venv $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.made
	@echo "installing into $(VENV); the first time this takes a few minutes"
	$(PIP) --editable '.[demo]'
	@touch $@

$(VENV)/.serve: $(VENV)/.made
	@echo "installing into $(VENV); the first time this takes a few minutes"
	$(PIP) --editable '.[serve]'
	@touch $@

$(VENV)/.test: $(VENV)/.made
	@echo "installing into $(VENV); the first time this takes a few minutes"
	$(PIP) --editable '.[test,lint]'
	@touch $@

$(VENV)/.mutants: $(VENV)/.made
	@echo "installing into $(VENV); the first time this takes a few minutes"
	$(PIP) --editable '.[mutants]'
	@touch $@

$(VENV)/.docs: $(VENV)/.made
	@echo "installing into $(VENV); the first time this takes a few minutes"
	$(PIP) --editable '.[docs,evaluate,train]'
	@touch $@

clean:
	rm -rf $(VENV) .venv-oldest .venv-newest demo-out .python site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
