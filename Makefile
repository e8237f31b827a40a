# make run   the main job: one handbook, midtrained and fine-tuned, with its report     (CONFIG=configs/cheese.py for the whole experiment)
# make test  the tests
# Both make the environment first, once, in .venv.
# make parity  adds transformers, peft and other peers to it (PyTorch 2.13.0, CPU): the tests then compare with them, live

PYTHON ?= python3
CONFIG ?= configs/msm.py
ARGS ?=
export JAX_PLATFORMS ?= cpu

.PHONY: run test lint bench parity clean

run: .venv/ready
	.venv/bin/python -m msm_jax.main --config=$(CONFIG) $(ARGS)

test: .venv/ready lint
	.venv/bin/python -m pytest

lint: .venv/ready
	.venv/bin/ruff check . && .venv/bin/ruff format --check .

parity: .venv/ready
	.venv/bin/python -m pip install -q --disable-pip-version-check 'torch==2.13.0'
	.venv/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[report,test,parity]'

bench: .venv/ready
	.venv/bin/python -m pip install -q --disable-pip-version-check 'torch==2.13.0'
	.venv/bin/python benchmarks/step.py

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed; give one with make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[report,test]'
	@touch $@

clean:
	rm -rf .venv runs
