# For a new machine with Python 3.11 and nothing else: `make setup`, `make quickstart` and `make test`.
PYTHON ?= $(shell command -v python3.11 || echo python3)
VENV ?= .venv
MODEL ?= smollm2
BIN := $(VENV)/bin
LINT := $(VENV)-lint/bin
# Two processes of two spinning threads each on two cores wait for each other, up to ten times as long.
TWO_AT_A_TIME := OMP_NUM_THREADS=1 pytest -n 2
RUN := PATH="$(abspath $(BIN)):$$PATH"

.DEFAULT_GOAL := help
.PHONY: help setup quickstart test test-all everyday e2e thorough test-fast mutants lint lock dist benchmark clean

help:  ## Show this text
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  make \1\t/'

setup: $(VENV)/.installed  ## Make .venv with pinned versions and this project's wheel in it (about 2 minutes)

$(VENV)/.ready: requirements-cpu.txt recipes/setup_cpu.sh
	@PYTHON=$(PYTHON) VENV=$(VENV) bash recipes/setup_cpu.sh

# The wheel, not the checkout: what is tested is what users install.
$(VENV)/.installed: $(VENV)/.ready pyproject.toml $(shell find frpo_verl -name '*.py' -o -name '*.yaml' -o -name '*.html')
	@rm -rf build dist && $(BIN)/pip wheel -qq --disable-pip-version-check --no-deps --no-build-isolation -w dist .
	@$(BIN)/pip install -qq --disable-pip-version-check --no-deps --force-reinstall dist/frpo_verl-*.whl
	@touch $@

quickstart: setup  ## Train with FRPO on this machine's CPU and show what was learned (MODEL=tiny: the small model)
	@$(RUN) python -P -m frpo_verl quickstart --model $(MODEL)

test: everyday  ## Everything that needs no GPU but what test-all adds
	@echo "make test: all passed. Left to make test-all: mutants, verl's own tests on the patches, other releases of verl, the long fuzz, more runs"

test-all: everyday mutants thorough  ## The same, the mutants, and what runs on a schedule or when its inputs change
	@echo "make test-all: all passed, with mutants, verl's own tests on the patches, other releases of verl, the long fuzz and more runs"

everyday:
	@$(MAKE) --no-print-directory -j 2 setup lint
	@$(RUN) $(TWO_AT_A_TIME) --durations=25
	@$(RUN) $(TWO_AT_A_TIME) -m "slow and not thorough" --dist loadfile --no-loadscope-reorder --durations=40

e2e: setup  ## The runs of the real trainer
	@$(RUN) pytest -m "slow and not thorough" --durations=0 tests/e2e

thorough: setup  ## What runs on a schedule: verl's own tests on the patches, other releases of verl, the long fuzz, more runs
	@$(RUN) $(TWO_AT_A_TIME) -m thorough --durations=0 --dist loadfile --ignore=tests/e2e
	@$(RUN) pytest -m thorough --durations=0 tests/e2e

test-fast: setup  ## Unit tests only
	@$(RUN) $(TWO_AT_A_TIME)

mutants: setup  ## Check that the tests notice each of many mistakes in the mathematics
	@$(RUN) PYTHONPATH=tests python -P -m mutants

lint: $(VENV)-lint/.ready  ## Style, docstrings, recipes, Dockerfile and workflow
	@$(LINT)/ruff check -q . && $(LINT)/ruff format -q --check . && $(LINT)/pydoclint -q frpo_verl
	@$(LINT)/shellcheck recipes/*.sh recipes/lib/*.sh
	@$(LINT)/hadolint Dockerfile
	@test ! -d .github || $(LINT)/check-jsonschema -q --builtin-schema vendor.github-workflows .github/workflows/*.yml

# Its own environment: pydoclint's fork of docstring-parser and the package of that name overwrite each other.
$(VENV)-lint/.ready: requirements-lint.txt
	@$(PYTHON) -m venv $(VENV)-lint
	@$(VENV)-lint/bin/pip install -qq --disable-pip-version-check -r $<
	@touch $@

# Twice: the first keeps the versions of today where it can, the second names the files of one platform.
LOCKED := pyproject.toml --extra test --extra megatron --group cpu-environment --python-version 3.11 \
	--python-platform x86_64-manylinux_2_31 --no-header --no-annotate --quiet
lock: $(VENV)-lint/.ready  ## Resolve requirements-cpu.txt again (UPGRADE=--upgrade: the newest of everything)
	@mkdir -p build && cp requirements-cpu.txt build/requirements-cpu.txt && rm -f build/pylock.toml
	@$(LINT)/uv pip compile $(LOCKED) $(UPGRADE) --output-file build/requirements-cpu.txt
	@$(LINT)/uv pip compile $(LOCKED) --constraint build/requirements-cpu.txt --output-file build/pylock.toml
	@$(LINT)/python tests/lock.py build/pylock.toml requirements-cpu.txt

dist: $(VENV)-lint/.ready  ## Build dist/*.whl and dist/*.tar.gz, the wheel from the sdist, and check their metadata
	@rm -rf build dist && $(LINT)/python -m build . > build.log 2>&1 || { tail -n 20 build.log >&2; exit 1; }
	@rm build.log && $(LINT)/twine check --strict dist/*

benchmark: setup  ## Time and memory of the advantage against verl's grpo and memory copies
	@$(RUN) python tests/benchmarks/advantage.py
	@$(RUN) python tests/benchmarks/process_sets.py

clean:  ## Remove .venv and caches; runs/ stays
	rm -rf $(VENV) $(VENV)-lint build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
