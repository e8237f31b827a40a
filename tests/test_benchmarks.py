"""Benchmarks are run by hand, months apart: what they import from here must still be there."""

import ast
import importlib

import pytest
from helpers import ROOT

BENCHMARKS = sorted((ROOT / 'benchmarks').glob('*.py'))


@pytest.mark.parametrize('path', BENCHMARKS, ids=lambda p: p.stem)
def test_what_a_benchmark_imports_exists(path):
  names = [
    (node.module, alias.name)
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, ast.ImportFrom)
    and (node.module or '').partition('.')[0] in ('msm_jax', 'data_pipelines')
    for alias in node.names
  ]
  assert names
  for module, name in names:
    found = importlib.import_module(module)
    assert hasattr(found, name) or importlib.import_module(f'{module}.{name}'), (
      f'{module} has no {name}'
    )
