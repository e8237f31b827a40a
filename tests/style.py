"""Measures how readable the code is; `tests/test_style.py` holds the bounds.

python tests/style.py [FILE ...]     # what is over the bounds, file by file
"""

import ast
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ('msm_jax', 'data_pipelines', 'configs', 'benchmarks')
WIDTH = 100
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
# A public function with a longer body than this says what it takes, gives and raises.
SHORT_BODY = 6


@dataclasses.dataclass
class Counts:
  """What is counted in one file, or summed over many.

  Attributes:
    lines: lines of the file.
    long_lines: lines over WIDTH columns.
    nested: comprehensions inside another comprehension.
    conditionals: conditional expressions (`a if b else c`).
    functions: public functions over SHORT_BODY lines.
    undocumented: those of them whose docstring lacks a section, with what it lacks.
  """

  lines: int = 0
  long_lines: int = 0
  nested: int = 0
  conditionals: int = 0
  functions: int = 0
  undocumented: list[str] = dataclasses.field(default_factory=list)

  def __add__(self, other: 'Counts') -> 'Counts':
    total = Counts()
    for field in dataclasses.fields(Counts):
      setattr(total, field.name, getattr(self, field.name) + getattr(other, field.name))
    return total

  def per_thousand(self, count: int) -> float:
    return 1000 * count / max(1, self.lines)


def source_files(folders: Sequence[str] = FOLDERS) -> list[Path]:
  files: list[Path] = []
  for folder in folders:
    files += sorted((ROOT / folder).rglob('*.py'))
  return files


def _public_functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
  """Functions of the module and methods of its public classes, without those that begin with
  '_'."""
  for node in tree.body:
    members = [node]
    if isinstance(node, ast.ClassDef) and not node.name.startswith('_'):
      members = node.body
    for member in members:
      is_function = isinstance(member, (ast.FunctionDef, ast.AsyncFunctionDef))
      if is_function and not member.name.startswith('_'):
        yield member


def _own_nodes(function: ast.AST) -> Iterator[ast.AST]:
  """The nodes of a function, without those of functions and classes inside it."""
  stack = list(ast.iter_child_nodes(function))
  while stack:
    node = stack.pop()
    yield node
    inner = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
    if not isinstance(node, inner):
      stack += ast.iter_child_nodes(node)


def _body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
  body = function.body
  if ast.get_docstring(function) is not None:
    body = body[1:]
  if not body:
    return 0
  return body[-1].end_lineno - body[0].lineno + 1


def missing_sections(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
  """Which of Args, Returns (or Yields) and Raises a function's docstring lacks."""
  decorators = {ast.unparse(d) for d in function.decorator_list}
  if decorators & {'property', 'functools.cached_property', 'override'}:
    return []
  text = ast.get_docstring(function)
  if text is None:
    return ['a docstring']
  lacking = []
  arguments = function.args
  every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
  names = [a.arg for a in every if a.arg not in ('self', 'cls')]
  if names and 'Args:' not in text:
    lacking.append('Args')
  nodes = list(_own_nodes(function))
  returns = any(isinstance(n, ast.Return) and n.value is not None for n in nodes)
  yields = any(isinstance(n, (ast.Yield, ast.YieldFrom)) for n in nodes)
  if (returns or yields) and not ('Returns:' in text or 'Yields:' in text):
    lacking.append('Returns')
  raised = [n for n in nodes if isinstance(n, ast.Raise) and n.exc is not None]
  raised = [n for n in raised if 'NotImplementedError' not in ast.unparse(n.exc)]
  if raised and 'Raises:' not in text:
    lacking.append('Raises')
  return lacking


def count(path: Path) -> Counts:
  """Counts one Python file."""
  text = path.read_text(encoding='utf-8')
  tree = ast.parse(text)
  lines = text.splitlines()
  found = Counts(lines=len(lines), long_lines=sum(len(line) > WIDTH for line in lines))
  for node in ast.walk(tree):
    if isinstance(node, ast.IfExp):
      found.conditionals += 1
    if isinstance(node, COMPREHENSIONS):
      inner = [n for n in ast.walk(node) if n is not node and isinstance(n, COMPREHENSIONS)]
      found.nested += len(inner)
  for function in _public_functions(tree):
    if _body_lines(function) > SHORT_BODY:
      found.functions += 1
      if lacking := missing_sections(function):
        name = f'{path.relative_to(ROOT)}:{function.lineno} {function.name}'
        found.undocumented.append(f'{name} lacks {", ".join(lacking)}')
  return found


def main(arguments: Sequence[str]) -> None:
  files = [Path(a).resolve() for a in arguments] or source_files()
  total = Counts()
  print(f'{"lines":>6} {"long":>5} {"nested":>6} {"cond":>5} {"undoc":>5}')
  for path in files:
    found = count(path)
    total += found
    row = (found.lines, found.long_lines, found.nested, found.conditionals)
    cells = ' '.join(f'{n:5}' for n in row)
    print(f'{cells} {len(found.undocumented):5}  {path.relative_to(ROOT)}')
  if arguments:
    print('\n'.join(total.undocumented))
  print(
    f'{total.lines:,} lines; over {WIDTH} columns {100 * total.long_lines / total.lines:.2f}%; '
    f'per 1,000 lines: {total.per_thousand(total.nested):.2f} nested comprehensions, '
    f'{total.per_thousand(total.conditionals):.2f} conditional expressions; '
    f'{len(total.undocumented)} of {total.functions} public functions lack a section'
  )


if __name__ == '__main__':
  main(sys.argv[1:])
