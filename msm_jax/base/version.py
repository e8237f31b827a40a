"""The version of the package, as pyproject.toml has it, and the commit that is running."""

import functools
import os
import subprocess
from pathlib import Path
from typing import Any

VERSION = '0.1.0'

# The folder with pyproject.toml, if the package runs from a clone.
_ROOT = Path(__file__).resolve().parents[2]

# By these, git takes another repository for the one that it is asked about. It sets them itself for
# what a hook runs.
_OF_ANOTHER_REPOSITORY = (
  'GIT_DIR',
  'GIT_WORK_TREE',
  'GIT_COMMON_DIR',
  'GIT_INDEX_FILE',
  'GIT_OBJECT_DIRECTORY',
)


@functools.cache
def source_state() -> dict[str, Any]:
  """Says which code is running. It is asked once a process: the code that was imported stays.

  Returns:
    `commit`, the hash of the commit, or None if the package does not run from a git clone of its
    own; and `dirty`, whether tracked files differ from that commit (None without a commit). Pages
    and stored results are no code and do not count.
  """
  unknown = {'commit': None, 'dirty': None}
  # The package may lie in the environment of another project, whose commit says nothing here.
  if _git('rev-parse', '--show-toplevel') != str(_ROOT):
    return unknown
  commit = _git('rev-parse', 'HEAD')
  code = ('.', ':(exclude)docs')
  changes = _git('status', '--porcelain', '--untracked-files=no', '--', *code)
  if not commit or changes is None:
    return unknown
  return {'commit': commit, 'dirty': bool(changes)}


def _git(*arguments: str) -> str | None:
  """What git prints, without space around it; None if git fails or is not there."""
  environment = {
    name: value for name, value in os.environ.items() if name not in _OF_ANOTHER_REPOSITORY
  }
  try:
    done = subprocess.run(
      ['git', *arguments],
      cwd=_ROOT,
      env=environment,
      capture_output=True,
      timeout=10,
      check=False,
    )
  except (OSError, subprocess.SubprocessError):
    return None
  # It prints paths, which need not be text of the locale.
  return os.fsdecode(done.stdout).strip() if done.returncode == 0 else None
