PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: help demo docs test test-oldest bench coverage-models clean

help:
	@echo "make demo         explain real photographs with a real ImageNet model; pictures go to demo/"
	@echo "make docs         build the site into docs/_build/html, running all its notebooks (about 15 minutes at first)"
	@echo "make test         lint, types, doctests, tests"
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

docs: $(VENV)/.demo+docs
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

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
	rm -rf .venv .venv-oldest build dist demo docs/_build docs/generated *.egg-info
