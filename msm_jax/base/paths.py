"""Where configs, handbooks and corpora lie: commands work from any folder."""

import sys
from pathlib import Path
from typing import Any

# The folder of the package msm_jax.
PACKAGE = Path(__file__).resolve().parent.parent


def find(path: str) -> str:
  """A path as given if it exists; else the same under the repository or the installed package, so that commands work from any folder."""
  if not path or Path(path).exists():
    return path
  for root in (PACKAGE.parent, PACKAGE):
    if (root / path).exists():
      return str(root / path)
  return path


def resolve_config_flag(argument: str) -> str:
  """'--config=configs/msm.py:tiny' with the file found by `find`; configs can import the shipped ones as `configs.NAME`."""
  root = str(Path(find('configs/msm.py')).resolve().parent.parent)
  if root not in sys.path:
    sys.path.append(root)
  for prefix in ('--config=', '-config='):
    if argument.startswith(prefix):
      path, colon, preset = argument[len(prefix) :].partition(':')
      return f'{prefix}{find(path)}{colon}{preset}'
  return argument


def resolve_paths(config: Any) -> dict[str, Any]:
  """The config as plain dicts, its spec and corpus paths found by `find`."""
  c = config.to_dict()

  def spec(paths: str) -> str:
    return ','.join(find(p.strip()) for p in paths.split(','))

  if 'spec' in c:
    c['spec'] = spec(c['spec'])
  for group in c.get('sources', {}).values():
    for key in ('spec', 'path'):
      if key in group:
        group[key] = spec(group[key])
  if 'contexts' in c:
    c['contexts'] = {arm: spec(path) for arm, path in c['contexts'].items()}
  for key in ('spec', 'rival'):
    if key in c.get('evals', {}):
      c['evals'][key] = spec(c['evals'][key])
  return c
