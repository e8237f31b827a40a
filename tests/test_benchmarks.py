"""Benchmarks are run by hand, months apart: what they import from here must still be there."""

import ast
import importlib

import pytest
from helpers import ROOT

BENCHMARKS = sorted((ROOT / 'benchmarks').glob('*.py'))
# They read text alone, and import nothing of the project.
STANDALONE = {'hlo', 'hlo_largest', 'tpu_cases', 'tpu_pages'}
# They import what stands beside them.
STANDALONE |= {'fuzz', 'fuzz_experiments'}


def imported_names(tree):
  """(module, name) of everything that a file imports from this project."""
  names = []
  for node in ast.walk(tree):
    if not isinstance(node, ast.ImportFrom) or node.module is None:
      continue
    if node.module.partition('.')[0] in ('msm_jax', 'data_pipelines'):
      names += [(node.module, alias.name) for alias in node.names]
  return names


@pytest.mark.parametrize('path', BENCHMARKS, ids=lambda p: p.stem)
def test_what_a_benchmark_imports_exists(path):
  names = imported_names(ast.parse(path.read_text()))
  # benchmarks/kill.py starts programs, and imports what the tests share.
  assert names or path.stem in STANDALONE or 'from prefork import' in path.read_text()
  for module, name in names:
    try:
      found = importlib.import_module(module)
      is_there = hasattr(found, name) or importlib.import_module(f'{module}.{name}')
    except ModuleNotFoundError as e:
      # A module of the project that is missing is a fault; an optional package may be missing.
      assert e.name and e.name.partition('.')[0] not in ('msm_jax', 'data_pipelines'), e
      pytest.skip(f'{e.name} is not installed')
    assert is_there, f'{module} has no {name}'
