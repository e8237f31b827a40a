"""The code stays readable: bounds on what `tests/style.py` counts."""

import style


def total(folders=style.FOLDERS) -> style.Counts:
  out = style.Counts()
  for path in style.source_files(folders):
    out += style.count(path)
  return out


def test_bounds():
  """Lines over 100 columns under 1%, nested comprehensions at most 2 and conditional expressions at
  most 15 per 1,000 lines (docs/design.md, section 7)."""
  found = total()
  assert found.lines > 15_000
  assert found.long_lines < 0.01 * found.lines
  assert found.per_thousand(found.nested) <= 2
  assert found.per_thousand(found.conditionals) <= 15


def test_public_functions_say_what_they_take_give_and_raise():
  found = total()
  assert found.functions > 250
  documented = 1 - len(found.undocumented) / found.functions
  assert documented >= 0.95, '\n'.join(found.undocumented)


def test_what_is_counted(tmp_path, monkeypatch):
  """By hand: two nested comprehensions, one conditional, one function without its sections."""
  monkeypatch.setattr(style, 'ROOT', tmp_path)
  file = tmp_path / 'a.py'
  body = ''.join(f'  x{n} = {n}\n' for n in range(6))
  file.write_text(
    f'def f(a):\n  """Says nothing."""\n{body}  if a:\n    raise ValueError\n  return a\n\n\n'
    'def g(a):\n  return a\n\n\n'
    'y = [[z for z in range(3)] for x in [w for w in range(2)]]\n'
    f'v = 1 if y else 2  # {"long " * 20}\n'
  )
  found = style.count(file)
  assert (found.nested, found.conditionals, found.long_lines, found.functions) == (2, 1, 1, 1)
  assert found.undocumented == ['a.py:1 f lacks Args, Returns, Raises']
