"""Digests of the texts that every setting writes, to notice a change of text without a new VERSION.

    python tests/golden/texts.py            # compares with tests/golden/texts.json
    python tests/golden/texts.py --write    # records what the settings write now

A corpus is known by the declared VERSION of its setting
(data_pipelines/settings/<name>/__init__.py), not by the source code that writes it. So a text that
changes under the same VERSION would mix with old corpora: a workdir that people have kept would be
taken for up to date. tests/test_corpora.py compares; `--write` refuses while such a VERSION stands.

Each digest covers every maker of the setting, with a small world and with the handbooks in
tests/golden/handbooks. These are copies: a shipped handbook may be reworded without a new VERSION,
since corpora know handbooks by their content.
"""

import dataclasses
import hashlib
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
if __name__ == '__main__':
  sys.path.insert(0, str(ROOT))

from data_pipelines.recipes import write_records  # noqa: E402
from data_pipelines.records import Record, to_json  # noqa: E402
from data_pipelines.settings.registry import SETTINGS  # noqa: E402
from data_pipelines.settings.setting import Setting  # noqa: E402
from data_pipelines.sources import TOWARD, SourceConfig  # noqa: E402

GOLDEN = Path(__file__).with_suffix('.json')
HANDBOOKS = Path(__file__).parent / 'handbooks'

# Every amount of text or people is lowered to this many: more than there are kinds of document.
AMOUNT = 7
# Records of each recipe that has a handbook; such makers never end.
RECORDS = 150
# The variants of the makers that have some. The others ignore the field.
VARIANTS = {
  'spec.documents': ('explained', 'cooccur', 'filler'),
  'oversight.documents': ('explained', 'normative', 'filler'),
  'english.documents': ('explained', 'cooccur', 'filler'),
  'agent.documents': ('explained', 'unexplained', 'filler'),
}
# What pairs of preferences may be decided by, where that is not everything.
PAIRS = {'english.preferences': ('ambiguous',)}


def small_world(setting: Setting) -> Any:
  """Builds the setting's world with few of everything, and two names for assistants."""
  amounts: dict[str, Any] = {'strangers': ('Ari', 'Oska')}
  for field in dataclasses.fields(setting.config):
    if type(field.default) is int and field.name not in ('seed', 'telling'):
      amounts[field.name] = min(field.default, AMOUNT)
  return setting.build(setting.config(**amounts))


def recipes(setting: Setting) -> Iterator[SourceConfig]:
  """Yields recipes that between them reach every maker of the setting and all that it may write."""
  for name, maker in setting.makers.items():
    if not maker.from_handbook:
      yield SourceConfig(maker=name)
      continue
    if name.endswith('.preferences'):
      for toward in PAIRS.get(name, TOWARD):
        yield SourceConfig(maker=name, toward=toward, seed=1)
      continue
    for variant in VARIANTS.get(name, ('explained',)):
      yield SourceConfig(maker=name, variant=variant, seed=1)
      yield SourceConfig(maker=name, variant=variant, reasons=True, against=0.3, seed=2)


def written(setting: Setting) -> Iterator[Record]:
  """Writes all recipes of a setting, those with a handbook for each handbook by itself.

  Args:
    setting: the setting.

  Yields:
    The records.
  """
  world = small_world(setting)
  for recipe in recipes(setting):
    if not setting.makers[recipe.maker].from_handbook:
      yield from write_records(recipe, world, ())
      continue
    for path in sorted((HANDBOOKS / setting.name).glob('*.md')):
      spec = setting.read_spec(str(path), world)
      # A replicate under another name: writers take turns between the two.
      replicates = [spec, setting.renamed(spec, 'Oska', world)]
      records = write_records(recipe, world, replicates)
      yield from itertools.islice(records, RECORDS)


def digest(setting: Setting) -> str:
  """Hashes what the setting writes. Returns 16 hexadecimal digits."""
  hashed = hashlib.sha256()
  for record in written(setting):
    hashed.update(to_json(record).encode() + b'\0')
  return hashed.hexdigest()[:16]


def current() -> dict[str, dict[str, str]]:
  """Returns, for each setting, its VERSION and the digest of what it writes now."""
  return {s.name: {'version': s.version, 'digest': digest(s)} for s in SETTINGS.values()}


def recorded() -> dict[str, dict[str, str]]:
  """Returns the same as it was recorded."""
  return json.loads(GOLDEN.read_text())


def forgotten_versions(
  recorded: dict[str, dict[str, str]], current: dict[str, dict[str, str]]
) -> list[str]:
  """Finds the settings whose texts changed while their VERSION did not.

  Args:
    recorded: setting -> its version and digest, as recorded.
    current: the same as it is now.

  Returns:
    One line for each such setting, which says what to do.
  """
  lines = []
  for name, now in current.items():
    before = recorded.get(name, {})
    if now['version'] == before.get('version') and now['digest'] != before.get('digest'):
      lines.append(
        f'the setting {name} writes other texts than before under the same VERSION; if that is '
        f'intended, raise VERSION in data_pipelines/settings/{name}/__init__.py, then record the '
        'texts anew: python tests/golden/texts.py --write'
      )
  return lines


def unrecorded(
  recorded: dict[str, dict[str, str]], current: dict[str, dict[str, str]]
) -> list[str]:
  """Finds the settings that are new, that have a new VERSION or that no longer exist.

  Args:
    recorded: setting -> its version and digest, as recorded.
    current: the same as it is now.

  Returns:
    One line for each such setting, which says what to do.
  """
  lines = []
  for name in sorted(recorded.keys() | current.keys()):
    before = recorded.get(name, {}).get('version')
    now = current.get(name, {}).get('version')
    if before != now:
      lines.append(
        f'VERSION of the setting {name} is {now}, and {before} in tests/golden/texts.json; '
        'record the texts anew: python tests/golden/texts.py --write'
      )
  return lines


def main() -> None:
  """Compares, or records with --write."""
  before = recorded() if GOLDEN.exists() else {}
  now = current()
  if '--write' in sys.argv:
    if lines := forgotten_versions(before, now):
      sys.exit('\n'.join(lines))
    GOLDEN.write_text(json.dumps(now, indent=2) + '\n')
    return
  if lines := forgotten_versions(before, now) + unrecorded(before, now):
    sys.exit('\n'.join(lines))
  print('all texts are as recorded')


if __name__ == '__main__':
  main()
