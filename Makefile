PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: help demo test test-oldest bench coverage-models clean

help:
	@echo "make demo         explain real photographs with a real ImageNet model; pictures go to demo/"
	@echo "make test         everything CI runs: lint, types, doctests, tests"
	@echo "make test-oldest  the tests on the oldest supported TensorFlow and Keras"
	@echo "make coverage-models"
	@echo "                  write docs/model-coverage.md: methods with rules on 40 models (about 40 minutes)"
	@echo "make bench        speed, memory and what Integrated Gradients cost (about 40 minutes)"

# One stamp per set of extras: a second run finds it newer than the metadata and reuses the environment.
$(VENV)/.%: setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(subst +,$(comma),$*)]' $(CONSTRAINTS)
	touch $@

comma := ,

demo: $(VENV)/.demo
	$(BIN)/tfsaliency demo --out demo --force

test: $(VENV)/.demo+test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

test-oldest:
	$(MAKE) tests-only VENV=.venv-oldest CONSTRAINTS='--constraint tests/oldest.txt'

.PHONY: tests-only
tests-only: $(VENV)/.demo+test
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

bench: $(VENV)/.demo
	$(BIN)/python -m benchmarks

coverage-models: $(VENV)/.demo
	$(BIN)/python -m tests.coverage_models

clean:
	rm -rf .venv .venv-oldest build dist demo *.egg-info
