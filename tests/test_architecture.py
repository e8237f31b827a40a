"""Who may import whom (docs/design.md, section 3), lazy imports included; and no cycle."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import ROOT

PACKAGES = ('msm_jax', 'data_pipelines', 'configs')
COMMANDS = {
  'msm_jax.main',
  'msm_jax.sweep',
  'msm_jax.chat',
  'msm_jax.serve',
  'msm_jax.export',
  'msm_jax.zoo',
  'msm_jax.placebo',
  'msm_jax.choose',
  'msm_jax.judge',
  'msm_jax.agentic',
  'data_pipelines.write',
  'data_pipelines.demonstrate',
  'data_pipelines.audit.__main__',
  'data_pipelines.world',
  'data_pipelines.items',
}


def module_name(path: Path) -> str:
  parts = list(path.relative_to(ROOT).with_suffix('').parts)
  if parts[-1] == '__init__':
    parts.pop()
  return '.'.join(parts)


FILES = {module_name(p): p for package in PACKAGES for p in sorted((ROOT / package).rglob('*.py'))}


def is_for_types_only(node: ast.AST) -> bool:
  return isinstance(node, ast.If) and ast.unparse(node.test).endswith('TYPE_CHECKING')


def nodes_of(tree: ast.AST) -> Iterator[ast.AST]:
  """Every node, without what stands under `if TYPE_CHECKING`."""
  for node in ast.iter_child_nodes(tree):
    if is_for_types_only(node):
      continue
    yield node
    yield from nodes_of(node)


def imports_of(path: Path) -> set[str]:
  """The modules of the project that a file imports, at its top or inside functions."""
  found: set[str] = set()
  for node in nodes_of(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      found.update(alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert not node.level, f'{path} has a relative import'
      for alias in node.names:
        full = f'{node.module}.{alias.name}'
        found.add(full if full in FILES else node.module)
  return {name for name in found if name in FILES}


@functools.cache
def graph() -> dict[str, set[str]]:
  """Module -> the modules that it imports."""
  return {name: imports_of(path) for name, path in FILES.items()}


def test_the_graph_is_not_empty():
  assert len(graph()) > 100
  assert 'msm_jax.base.errors' in graph()['msm_jax.train']
  # a lazy import
  assert 'msm_jax.experiment' in graph()['msm_jax.main']


def in_package(module: str, package: str) -> bool:
  return module == package or module.startswith(package + '.')


@pytest.mark.parametrize('module', sorted(FILES))
def test_directions(module):
  """The rules of the design, one line each."""
  imported = graph()[module]
  ours = {name for name in imported if name != module}
  if in_package(module, 'msm_jax.base'):
    assert all(in_package(name, 'msm_jax.base') for name in ours)
  if in_package(module, 'data_pipelines'):
    allowed = ('data_pipelines', 'msm_jax.base')
    assert all(any(in_package(name, a) for a in allowed) for name in ours), ours
  if in_package(module, 'configs'):
    allowed = ('configs', 'msm_jax.base')
    assert all(any(in_package(name, a) for a in allowed) for name in ours), ours
  if in_package(module, 'msm_jax.config'):
    allowed = ('msm_jax.config', 'msm_jax.base', 'data_pipelines')
    assert all(any(in_package(name, a) for a in allowed) for name in ours), ours
  if in_package(module, 'msm_jax.data'):
    ours_allowed = ('data', 'config', 'tokenizer', 'base')
    allowed = ('data_pipelines', *(f'msm_jax.{name}' for name in ours_allowed))
    assert all(any(in_package(name, a) for a in allowed) for name in ours), ours
  if in_package(module, 'msm_jax.training'):
    others = ('msm_jax.evals', 'msm_jax.suites', 'msm_jax.report', 'msm_jax.rl', 'msm_jax.running')
    assert not any(in_package(name, other) for other in others for name in ours), ours
  if in_package(module, 'msm_jax.report'):
    allowed = ('msm_jax.report', 'msm_jax.base')
    assert all(any(in_package(name, a) for a in allowed) for name in ours), ours
  if in_package(module, 'msm_jax.evals'):
    assert not any(in_package(name, 'data_pipelines.settings') for name in ours), ours
    assert not any(in_package(name, 'msm_jax.suites') for name in ours), ours
  allowed_commands = {'msm_jax.zoo'} if module == 'msm_jax.zoo' else set()
  if module == 'data_pipelines.demonstrate':
    # The two writing commands share their frame.
    allowed_commands = {'data_pipelines.write'}
  assert not (ours & COMMANDS) - allowed_commands, ours & COMMANDS
  assert 'msm_jax' not in ours, 'the package itself is the door for users'


def test_no_cycles():
  """Depth-first search; a module that is met again on its own path closes a cycle."""
  done: set[str] = set()

  def visit(module: str, path: tuple[str, ...]) -> None:
    assert module not in path, ' > '.join((*path, module))
    if module in done:
      return
    for name in sorted(graph()[module]):
      visit(name, (*path, module))
    done.add(module)

  for module in sorted(graph()):
    visit(module, ())


def test_a_cycle_and_a_wrong_direction_are_found(tmp_path, monkeypatch):
  """The checks above can fail."""
  file = tmp_path / 'errors.py'
  file.write_text('def f():\n  from msm_jax import train\n')
  monkeypatch.setitem(graph(), 'msm_jax.base.errors', imports_of(file))
  with pytest.raises(AssertionError):
    test_directions('msm_jax.base.errors')
  with pytest.raises(AssertionError, match='>'):
    test_no_cycles()
