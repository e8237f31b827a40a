"""Stores the results of finished runs in docs/results/data, and reads them back."""

import datetime
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msm_jax.base.errors import UserError
from msm_jax.base.files import write_atomically
from msm_jax.evals import curves as effect_curves
from msm_jax.evals import merged
from msm_jax.evals import placebo as placebo_pairs
from msm_jax.report.numbers import margin_of, point_label

DATA = Path(__file__).resolve().parent.parent / 'results' / 'data'

# A stored file, as it was read.
Stored = Mapping[str, Any]


class TableError(UserError, ValueError):
  """A page or a stored file that no table can be made from."""


def store(workdir: Path, name: str, command: str) -> Path:
  """Stores the results of a finished run.

  Args:
    workdir: its folder.
    name: the name of the stored file, without '.json'.
    command: the command that made the run, as somebody else would type it.

  Returns:
    The path of the stored file.

  Raises:
    TableError: the run has no results, its summary does not say at which commit it was made, its
      verdict on placebo pairs is about earlier results, or the name is none.
  """
  path = workdir / 'summary.json'
  summary = _read_json(path)
  config = _read_json(workdir / 'config.json')
  placebo = None
  # What `python -m msm_jax.placebo` found in the rows, if it was run.
  if (workdir / 'placebo.json').exists():
    placebo = _read_json(workdir / 'placebo.json')
    if not placebo_pairs.is_about(placebo, summary):
      raise TableError(
        f'{workdir / "placebo.json"} is about earlier results; run python -m msm_jax.placebo '
        f'--workdir={workdir} again'
      )
  return _write_stored(path, name, command, summary, config, placebo)


def store_sweep(workdir: Path, name: str, command: str, sweep: str, reference: str = '') -> Path:
  """Stores the results of a finished sweep, merged into one summary.

  Args:
    workdir: its folder.
    name: the name of the stored file, without '.json'.
    command: the command that made the sweep, as somebody else would type it.
    sweep: the name of the sweep, which is also that of its page.
    reference: the label of the point with which the others are compared; '' for the first.

  Returns:
    The path of the stored file.

  Raises:
    TableError: the sweep is not finished, its points were made at several commits or do not have
      the same seeds, values or primary measure, two of them have one label, or the reference is
      none of them.
  """
  # Imported late, as in `_write_stored`.
  from msm_jax.suites.registry import layout_of

  listed = _read_json(workdir / f'{sweep}.json')
  summaries: dict[str, Any] = {}
  arms: dict[str, str] = {}
  paths: list[Path] = []
  for point in listed['points']:
    label = point_label(point['point'])
    if label in summaries:
      raise TableError(f'two points of {sweep} are called {label!r}; give them labels')
    folder = workdir / 'points' / point['id']
    paths.append(folder / 'summary.json')
    if not paths[-1].exists():
      # The sweep itself goes by its rows, and would not run the point again.
      raise TableError(
        f'{paths[-1]} is gone; delete {workdir / "sweep.jsonl"} and run the same command again, '
        'which writes it from the phases that are there'
      )
    summaries[label] = _read_json(paths[-1])
    config = _read_json(folder / 'config.json')
    for arm, lineage in config['arms'].items():
      arms[f'{label}: {arm}'] = lineage
  commits = {summary.get('commit') for summary in summaries.values()}
  if len(commits) > 1:
    raise TableError(
      f'the points of {sweep} were made at several commits; delete {workdir / "sweep.jsonl"} and '
      'run the same command again, which trains and evaluates nothing again'
    )
  if len({tuple(summary['seeds']) for summary in summaries.values()}) > 1:
    # One list of seeds heads the tables of all points.
    raise TableError(
      f'the points of {sweep} do not have the same seeds; store a sweep of points that have'
    )
  if len({(of_point.get('value'), of_point.get('rival')) for of_point in summaries.values()}) > 1:
    # One heading says what the shares of all points are shares of.
    raise TableError(
      f'the points of {sweep} ask about different values; store a sweep of points of one handbook'
    )
  if len({of_point.get('primary_measure') for of_point in summaries.values()}) > 1:
    # A sweep that was killed after another measure was named has points of both.
    raise TableError(
      f'the points of {sweep} do not have the same primary measure; run the same command again, '
      'and store a sweep of points that were all asked for it'
    )
  reference = reference or next(iter(summaries))
  if reference not in summaries:
    raise TableError(f'{reference!r} is no point of {sweep}; it has {", ".join(summaries)}')
  layout = layout_of(summaries[reference])
  measures = [layout.main, *layout.columns, *layout.effects]
  margins = [margin_of(measure) for measure in measures]
  summary = merged.merged(
    list(summaries.items()), dict.fromkeys([*measures, *margins]), margins, reference
  )
  summary['commit'] = summaries[reference].get('commit')
  summary['dirty'] = any(of_point.get('dirty') for of_point in summaries.values())
  # The other settings are those of the last point.
  config |= {'arms': arms, 'points': [point['point'] for point in listed['points']]}
  # Points that were added may stand before those that were there.
  last = max(paths, key=lambda path: path.stat().st_mtime)
  return _write_stored(last, name, command, summary, config, None)


def _write_stored(
  path: Path, name: str, command: str, summary: Any, config: Any, placebo: Any
) -> Path:
  """Writes a stored file.

  Args:
    path: the summary in the workdir, which tells when the run was finished.
    name: the name of the stored file, without '.json'.
    command: the command that made the run.
    summary: the summary to store.
    config: the settings of the run.
    placebo: the verdict on placebo pairs, or None.

  Returns:
    The path of the stored file.

  Raises:
    TableError: the summary names no commit, or the name is none.
  """
  if not re.fullmatch(r'\w+', name):
    raise TableError(f'{name!r} cannot be the name of a stored file; use letters, digits and _')
  if not isinstance(summary, dict) or not summary.get('commit'):
    raise TableError(
      f'{path} names no commit, so nobody could repeat it; run the same command again in a '
      'checkout with git'
    )
  # Imported late: the questions of all settings take a second to import, and only `store` needs
  # them. The layout is stored too, so that old tables stay as they are when a layout changes.
  from msm_jax.suites.registry import layout_of

  layout = layout_of(summary)
  finished = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC)
  stored: dict[str, Any] = {
    'command': command,
    'commit': summary['commit'],
    'dirty': bool(summary.get('dirty', False)),
    'date': finished.date().isoformat(),
    'layout': {
      'main': layout.main,
      'share': layout.share,
      'columns': list(layout.columns),
      'effects': list(layout.effects),
      'controls': list(layout.controls),
    },
    'summary': summary,
    'config': config,
  }
  if placebo is not None:
    stored['placebo'] = placebo
  stored_path = DATA / f'{name}.json'
  stored_path.parent.mkdir(parents=True, exist_ok=True)
  write_atomically(stored_path, (dumped(stored) + '\n').encode())
  return stored_path


def _read_json(path: Path) -> Any:
  try:
    return json.loads(path.read_text())
  except OSError as e:
    raise TableError(f'{path} cannot be read ({e.strerror}); run the experiment to its end') from e
  except ValueError as e:
    raise TableError(f'{path} is no JSON ({e}); run the same command again') from e


def dumped(value: Any, indent: int = 0) -> str:
  """JSON with one line for every dict that holds no other dict, so that changes are easy to read.

  Args:
    value: what JSON can hold.
    indent: spaces before the lines inside.

  Returns:
    The text.
  """
  is_nested = isinstance(value, dict) and any(isinstance(v, dict) for v in value.values())
  if not is_nested:
    return json.dumps(value, ensure_ascii=False)
  inside = ' ' * (indent + 1)
  lines = [f'{inside}{json.dumps(key)}: {dumped(v, indent + 1)}' for key, v in value.items()]
  return '{\n' + ',\n'.join(lines) + '\n' + ' ' * indent + '}'


def load(name: str) -> Stored | None:
  """Reads a stored file.

  Args:
    name: its name, without '.json'.

  Returns:
    Its contents, or None if there is no such file yet. Curves of effects whose arms are not
    aligned, which older summaries have, are left out.
  """
  path = DATA / f'{name}.json'
  if not path.exists():
    return None
  stored = _read_json(path)
  along = stored['summary'].get('curves', {}).get('effects', {})
  for effect in list(along):
    if not effect_curves.is_aligned(along[effect]['arms'], stored['config']['arms']):
      del along[effect]
  return stored
