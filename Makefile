# make run      the main job: one handbook, midtrained and fine-tuned, with its report
#               (CONFIG=configs/cheese.py for the whole experiment, ARGS for more flags)
# make quick    the fast tests
# make test     lint, types and all tests
# make docs     the documentation site, in site/
# make tables   fills in the tables of README.md and docs/ from docs/results/data
# make parity   adds transformers, peft and other peers; the tests then compare with them, live
# make bench    the training step beside PyTorch
# The environment is made first, once, in .venv.

PYTHON ?= python3
CONFIG ?= configs/msm.py
ARGS ?=
# The tests of one file run in one process, and this many files run at a time.
WORKERS ?= 2
# tests/conftest.py orders the files.
PYTEST = .venv/bin/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
export JAX_PLATFORMS ?= cpu

PIP = .venv/bin/python -m pip install -q --disable-pip-version-check

.PHONY: run test tests quick lint types docs tables bench parity clean

run: .venv/ready
	.venv/bin/python -m msm_jax.main --config=$(CONFIG) $(ARGS)

# The types are checked beside the tests, since they take a quarter of a minute of one core.
test: .venv/ready lint
	@$(MAKE) --no-print-directory --jobs=2 types tests

tests: .venv/ready
	$(PYTEST)

quick: .venv/ready
	$(PYTEST) -m 'not slow'

lint: .venv/ready
	.venv/bin/ruff check . && .venv/bin/ruff format --check .

types: .venv/ready
	.venv/bin/mypy

docs: .venv/ready
	$(PIP) -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict -q

tables: .venv/ready
	.venv/bin/python docs/tables.py

parity: .venv/ready
	$(PIP) 'torch==2.13.0'
	$(PIP) -c constraints.txt -e '.[report,test,parity]'

bench: .venv/ready
	$(PIP) 'torch==2.13.0'
	.venv/bin/python benchmarks/step.py

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed; give one with make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(PIP) -c constraints.txt -e '.[report,test]'
	@touch $@

clean:
	rm -rf .venv runs site
