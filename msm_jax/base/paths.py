"""Finds the configs, handbooks and corpora that a path in a config or on the command line means.

A path may be relative to the current folder, to the repository or to the installed package. So
the shipped configs and handbooks are found from any folder.
"""

import os
import re
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from msm_jax.base.checks import shown
from msm_jax.base.errors import ConfigError
from msm_jax.base.references import check_given

# The folder of the package msm_jax.
PACKAGE = Path(__file__).resolve().parent.parent

# The two spellings of the flag whose value `resolve_config_flag` changes.
_CONFIG_FLAGS = ('--config=', '-config=')

# The address of a folder that is not on this machine. `Path` makes one slash of two.
_ADDRESS = re.compile(r'[a-zA-Z][a-zA-Z0-9+.-]+://|(gs|s3|hf|hdfs):/')


def find(path: str) -> str:
  """Finds a file or folder.

  Args:
    path: a path as the user gave it; may be empty.

  Returns:
    The path itself if it exists; otherwise the path in a home directory (`~`), under the repository
    or under the installed package, if it exists there. A path that exists nowhere is returned
    unchanged, for the reader of the file to name in its error.
  """
  if not path or _exists(Path(path)):
    return path
  at_home = with_home(path)
  if _exists(Path(at_home)):
    return at_home
  for root in (PACKAGE.parent, PACKAGE):
    if _exists(root / path):
      return str(root / path)
  return path


def with_home(path: str) -> str:
  """Replaces a tilde at the beginning of a path by the home directory.

  A shell does not do that in `--workdir=~/FOLDER`, nor does Python: a folder of the name `~` would
  be made, and whoever deletes it by that name deletes everything at home.

  Args:
    path: a path as the user gave it.

  Returns:
    The path. One that exists as it was given is returned unchanged.
  """
  if not path.startswith('~') or _exists(Path(path)):
    return path
  return os.path.expanduser(path)


def check_is_local(path: str) -> None:
  """Checks that a path is no address, such as gs://BUCKET/FOLDER.

  A run would make a folder of the name `gs:` below the current one. Everything would go there, and
  be lost with the machine.

  Args:
    path: a path as the user gave it.

  Raises:
    ConfigError: it is an address.
  """
  if _ADDRESS.match(path):
    raise ConfigError(
      f'{shown(path)} is an address, and files are read and written in folders of this machine '
      f'alone; mount it (a bucket by gcsfuse, for instance) and give the path of the mounted folder'
    )


def as_workdir(value: object) -> Path:
  """Turns what a script gives for a workdir into a path.

  Args:
    value: the path, as a text or a `Path`. It may begin with `~`.

  Returns:
    The path. Nothing need be there.

  Raises:
    ConfigError: it is something else, a text that can be no path, or an address such as gs://NAME.
  """
  text: object = ''
  if isinstance(value, (str, os.PathLike)):
    text = os.fspath(value)
  if not isinstance(text, str) or not text or '\0' in text:
    raise ConfigError(
      f"workdir={shown(value)} is no folder; give its path as a text, such as 'runs/cheese'"
    )
  check_is_local(text)
  return Path(with_home(text))


def _exists(path: Path) -> bool:
  """Whether there is something at a path; False for a text that can be no path."""
  try:
    return path.exists()
  except (OSError, ValueError):
    # A name that is too long, or one with NUL.
    return False


def split_preset(config: str) -> tuple[str, str]:
  """Splits 'FILE.py:preset' into the file and the preset.

  Args:
    config: a path, perhaps with a preset. Both may have colons: a folder may be called after the
      time of day.

  Returns:
    (the path up to the first colon behind which it is a file, the rest); the whole text if that is
    a file. Without a file, the text is split behind the last slash. The preset is '' if there is
    none.
  """
  if _is_file(find(config)):
    return config, ''
  for colon in re.finditer(':', config):
    if _is_file(find(config[: colon.start()])):
      return config[: colon.start()], config[colon.end() :]
  folder, slash, name = config.rpartition('/')
  name, _, preset = name.partition(':')
  return f'{folder}{slash}{name}', preset


def _is_file(path: str) -> bool:
  try:
    return Path(path).is_file()
  except (OSError, ValueError):
    # As in `_exists`.
    return False


class _ShippedConfigs:
  """Finds the shipped configs as `configs.NAME` if another package `configs` hides them.

  A project of the user's own may have a folder configs/, too. With an __init__.py, it is the only
  one in which Python looks.

  Attributes:
    root: the folder that holds the shipped `configs/`.
  """

  def __init__(self, root: Path) -> None:
    self.root = root

  def find_spec(
    self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
  ) -> ModuleSpec | None:
    """Finds a module that no other finder has found; see `importlib.abc.MetaPathFinder`."""
    parents, _, _ = name.rpartition('.')
    if parents.partition('.')[0] != 'configs':
      return None
    return PathFinder.find_spec(name, [str(self.root.joinpath(*parents.split('.')))], target)


def _make_importable(root: Path) -> None:
  """Lets Python find the package `configs` of a folder, behind all other modules."""
  if str(root) not in sys.path:
    sys.path.append(str(root))
  known = [finder for finder in sys.meta_path if isinstance(finder, _ShippedConfigs)]
  if root not in [finder.root for finder in known]:
    sys.meta_path.append(_ShippedConfigs(root))


def resolve_config_flag(argument: str) -> str:
  """Replaces the path in a --config flag by the path that `find` returns.

  It also lets Python import the shipped configs as `configs.NAME`, so that a user's own config can
  use them.

  Args:
    argument: one argument of the command line.

  Returns:
    The argument: '--config=PATH[:PRESET]' with PATH found, anything else unchanged.
  """
  # `configs` lies beside msm_jax in a checkout and inside it in an installed copy.
  _make_importable(Path(find('configs/msm.py')).resolve().parent.parent)
  for prefix in _CONFIG_FLAGS:
    if argument.startswith(prefix):
      path, preset = split_preset(argument[len(prefix) :])
      colon = ':' if preset else ''
      return f'{prefix}{find(path)}{colon}{preset}'
  return argument


def _find_each(paths: Any) -> Any:
  """Finds several files that are given as one text with commas between them."""
  if not isinstance(paths, str):
    # The check of the whole config names what is wrong.
    return paths
  return ','.join(find(path.strip()) for path in paths.split(','))


def resolve_paths(config: Any) -> dict[str, Any]:
  """Turns an experiment's ConfigDict into plain dicts in which all paths are found.

  Args:
    config: a ConfigDict of configs/.

  Returns:
    Nested dicts. The paths of handbooks (`spec`, `contexts`, `sources.*.spec`, `evals.spec`,
    `evals.rival`, `phases.*.distill.spec`, `phases.*.grpo.judge_spec`), of adapters
    (`phases.*.adapter`), of corpora (`sources.*.path`) and of items (`custom.items`) are those that
    `find` returns.
  """
  check_given(config)
  settings = config.to_dict()
  _find_in_place(settings, 'spec')
  for source in _as_group(settings.get('sources')).values():
    _find_in_place(source, 'spec')
    _find_one_in_place(source, 'path')
  for phase in _as_group(settings.get('phases')).values():
    _find_in_place(_as_group(phase).get('distill'), 'spec')
    _find_in_place(_as_group(phase).get('grpo'), 'judge_spec')
    _find_one_in_place(phase, 'adapter')
  contexts = _as_group(settings.get('contexts'))
  _find_in_place(contexts, *contexts)
  _find_in_place(settings.get('evals'), 'spec', 'rival')
  custom = _as_group(settings.get('custom'))
  if isinstance(custom.get('items'), (list, tuple)):
    found = []
    for path in custom['items']:
      # Something that is no path is refused by the check of the whole config.
      found.append(find(path) if isinstance(path, str) else path)
    custom['items'] = tuple(found)
  return settings


def _as_group(value: Any) -> dict[str, Any]:
  """The value itself if it is a group of settings; else an empty group.

  Something that is no group is refused by the check of the whole config.
  """
  return value if isinstance(value, dict) else {}


def _find_in_place(group: Any, *keys: str) -> None:
  """Replaces what stands under these keys, where the group has them: paths with commas between."""
  for key in keys:
    if key in _as_group(group):
      group[key] = _find_each(group[key])


def _find_one_in_place(group: Any, key: str) -> None:
  """Replaces the one path under a key, where the group has it. Its name may have commas."""
  if isinstance(_as_group(group).get(key), str):
    group[key] = find(group[key])
