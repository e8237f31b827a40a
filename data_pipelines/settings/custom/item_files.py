"""What the files of items are called in messages and ids, and what the values of published sets are
called in each of them."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from data_pipelines.settings.custom.published import stem_of
from msm_jax.base.errors import DataError


def names_of(paths: Sequence[Path]) -> list[str]:
  """Names files so that no two are called alike.

  Args:
    paths: the files.

  Returns:
    The name of each; with as many folders in front as tell it from the others.

  Raises:
    DataError: a file is given twice.
  """
  real = [path.resolve() for path in paths]
  # A link is called by its own name: what it points to may be a hash, as in caches of downloads.
  whole = [_without_links(path) for path in paths]
  names = []
  for path, target in zip(whole, real, strict=True):
    if real.count(target) > 1:
      raise DataError(f'{path.name} is given twice ({target}); name it once')
    parts = 1
    while sum(other.parts[-parts:] == path.parts[-parts:] for other in whole) > 1:
      parts += 1
    names.append('/'.join(path.parts[-parts:]))
  return names


def _without_links(path: Path) -> Path:
  """The whole path, in which '..' is resolved and links are not."""
  return Path(os.path.abspath(path))


def values_of_files(paths: Sequence[Path], values: Mapping[str, str]) -> dict[Path, str]:
  """Finds out which file each value is for.

  Args:
    paths: the files.
    values: a file's name, with or without '.jsonl', perhaps with folders in front -> what its
      aligned options stand for.

  Returns:
    Path -> the value, for the files that have one.

  Raises:
    DataError: a name is that of no file.
  """
  out: dict[Path, str] = {}
  # Whoever names more folders means fewer files, and comes last.
  for named in sorted(values, key=lambda named: len(Path(named).parts)):
    wanted = (*Path(named).parts[:-1], stem_of(Path(named).name))
    found = []
    for path in paths:
      parts = (*_without_links(path).parts[:-1], stem_of(path.name))
      if parts[-len(wanted) :] == wanted:
        found.append(path)
    if not found:
      given = ', '.join(path.name for path in paths)
      raise DataError(
        f'a value is given for {named!r}, which is none of the files of items ({given}); write the '
        'name of one of them'
      )
    out |= dict.fromkeys(found, values[named])
  return out
