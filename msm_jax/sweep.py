"""Runs one experiment at many points.

  python -m msm_jax.sweep --config=FILE.py[:preset] [--workdir=DIR]

A sweep is an experiment's config and a list of points, each a dict of overrides such as
{'phases.aft.updates': 200}, and perhaps a `label`. The first override, if it is a number that no
two points share, is the axis of the curves. All points run in one workdir: phases and corpora are
named by what they depend on, so what a point leaves as it was is not trained again. The same
command continues where the last one ended. `sweep.jsonl` gets one row per point; a table is
printed, NAME.html has the curves, and NAME.json says which rows belong to this sweep.

`axis`, `product`, `zipped`, `chain` and `labelled` make lists of points.
"""

import copy
import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict

from msm_jax import report
from msm_jax.base import checks, command, paths
from msm_jax.base.console import say
from msm_jax.base.errors import ConfigError
from msm_jax.base.files import read_json_lines, write_atomically
from msm_jax.base.overrides import override
from msm_jax.base.points import Point, axis, chain, labelled, product, zipped
from msm_jax.base.references import check_given, separate_groups
from msm_jax.config import ExperimentConfig
from msm_jax.config.checks import MAX_NAME_BYTES
from msm_jax.report import ReportLayout, point_label
from msm_jax.report.numbers import margin_of
from msm_jax.report.sweep_page import of_points

__all__ = ['Point', 'axis', 'chain', 'labelled', 'product', 'zipped']


# What an experiment in the same workdir calls its files.
TAKEN_NAMES = ('arms', 'config', 'placebo', 'report', 'summary')


@dataclasses.dataclass(frozen=True)
class SweepConfig:
  """What a config file of a sweep returns."""

  # The config of the experiment.
  experiment: ExperimentConfig
  # The overrides of every point. `check_points` checks them.
  points: tuple[Any, ...]
  # What the sweep is called; it names the page.
  name: str = 'sweep'
  # A sentence for the page.
  about: str = ''


def check_points(points: Any) -> list[Point]:
  """Checks the list of points of a sweep.

  Args:
    points: what the config file gives as `points`.

  Returns:
    The points as dicts.

  Raises:
    ConfigError: there is none, or one is no mapping from names of settings to values.
  """
  if not isinstance(points, list | tuple) or not points:
    raise ConfigError('points is empty; give at least one, such as {"phases.aft.updates": 200}')
  checked = []
  for n, point in enumerate(points):
    if not hasattr(point, 'items'):
      raise ConfigError(
        f'points[{n}]={checks.shown(point)} must be overrides, '
        f'such as {{"phases.aft.updates": 200}}'
      )
    for key in point:
      if not isinstance(key, str):
        raise ConfigError(f'points[{n}]: the key {checks.shown(key)} must be the name of a setting')
      if key == 'xla_flags':
        raise ConfigError(
          f'points[{n}] sets xla_flags, which are read once, before the first point; '
          'set --config.experiment.xla_flags, which is for all points'
        )
    # A page begins with it, long after the points are run.
    if not isinstance(point.get('label', ''), str):
      raise ConfigError(f'points[{n}]: label={checks.shown(point["label"])} must be a text')
    checked.append({key: _plain(value) for key, value in point.items()})
  return checked


def _plain(value: Any) -> Any:
  """The value with dicts in place of groups of settings, which `sweep.jsonl` cannot hold.

  Groups may stand within other values, as in `dict(c.phases.aft, updates=200)`.
  """
  if isinstance(value, ConfigDict):
    value = value.to_dict()
  if isinstance(value, Mapping):
    return {key: _plain(held) for key, held in value.items()}
  if isinstance(value, tuple):
    return tuple(map(_plain, value))
  if isinstance(value, list):
    return list(map(_plain, value))
  return value


def check_labels(points: Sequence[Point]) -> None:
  """Checks that a table can tell the points of a sweep apart.

  Args:
    points: the overrides of every point.

  Raises:
    ConfigError: two points have one name, so no change between points could be named either.
  """
  numbers: dict[str, int] = {}
  for n, point in enumerate(points):
    first = numbers.setdefault(point_label(point), n)
    if first != n:
      raise ConfigError(
        f'points[{first}] and points[{n}] are both called {checks.shown(point_label(point))}; '
        'give every point a label of its own (labelled in msm_jax/base/points.py)'
      )


def overridden(settings: Any, point: Point, schema: Any = ExperimentConfig) -> Any:
  """Applies a point's overrides.

  Args:
    settings: the experiment's ConfigDict; it stays as it is.
    point: key such as 'phases.aft.updates' -> value.
    schema: the dataclass that the settings become.

  Returns:
    A copy with the overrides. A key means what it means on the command line: 'spec' reaches every
    place that refers to it, 'evals.spec' itself alone.

  Raises:
    ConfigError: an experiment has no such setting.
  """
  # Other than ConfigDict(settings), this copies references too.
  made = copy.deepcopy(settings)
  separate_groups(made)
  for key, value in point.items():
    if key == 'label':
      continue
    try:
      # A value of the wrong type is refused by name when the whole config is checked.
      override(made, key, value, schema)
    except ConfigError as e:
      raise ConfigError(f'sweep point {point_label(point)}: {e}') from None
  check_given(made, 'config.experiment')
  return made.copy_and_resolve_references()


def run_points(
  settings: Any, points: Sequence[Point], workdir: Path, stop: Callable[[], bool]
) -> list[dict[str, Any]]:
  """Runs every point that `sweep.jsonl` does not hold already.

  A point that was run under another label, or by other overrides to the same effect, is written
  anew as it is given: whoever reads `sweep.jsonl`, as `msm_jax.choose` does, goes by it.

  Args:
    settings: the experiment's ConfigDict.
    points: the overrides of every point.
    workdir: where phases, corpora and results go.
    stop: asked regularly whether to save and stop.

  Returns:
    One row per point, in their order: id, point, seconds, summary.

  Raises:
    ConfigError: the settings of a point cannot work, or two points have one name. Nothing is run.
    UserError: what a point names cannot be used, such as a handbook that is missing. Nothing is
      run. Or a point cannot be run to its end; the points before it are kept.
  """
  # JAX comes with these modules.
  from msm_jax import experiment, multihost

  # Every point's config is checked before the first point is run.
  configs = []
  for point in points:
    point_settings = paths.resolve_paths(overridden(settings, point))
    configs.append(checks.from_mapping(ExperimentConfig, point_settings))
  check_labels(points)
  multihost.check_same_settings('\n'.join(checks.to_json(c) for c in configs))
  path = workdir / 'sweep.jsonl'
  known: dict[str, Any] = {}
  for row in multihost.broadcast_from_first(read_json_lines(path)):
    known[row['id']] = row

  def is_known(id_: str, c: ExperimentConfig) -> bool:
    # No identity depends on what is primary, and the summary does.
    summary = known[id_]['summary'] if id_ in known else None
    return summary is not None and (
      summary.get('primary', '') == c.primary
      and summary.get('primary_measure', '') == c.primary_measure
    )

  # All that the points name is read before the first one is run: a slip in the path of the last
  # handbook would be found hours later.
  ids = [experiment.Experiment(c, workdir).identity for c in configs]
  rows = []
  for n, (point, c, id_) in enumerate(zip(points, configs, ids, strict=True), 1):
    made = None
    if not is_known(id_, c):
      # What it names may have been edited while other points ran. It is read once: the identity
      # stands for what is run.
      made = experiment.Experiment(c, workdir, stop)
      id_ = made.identity
    if made is not None and not is_known(id_, c):
      say(f'point [{n}/{len(points)}] {point_label(point)}')
      began = time.monotonic()
      made.outputs = workdir / 'points' / id_
      summary = made.run()
      seconds = round(time.monotonic() - began, 1)
      known[id_] = {'id': id_, 'point': point, 'seconds': seconds, 'summary': summary}
      _write_rows(path, known)
    elif json.dumps(known[id_]['point']) != json.dumps(point):
      known[id_]['point'] = point
      _write_rows(path, known)
    rows.append({**known[id_], 'point': point})
  return rows


def _write_rows(path: Path, rows: Mapping[str, Any]) -> None:
  """Writes `sweep.jsonl`."""
  # JAX comes with this module.
  from msm_jax import multihost

  lines = [json.dumps(row) + '\n' for row in rows.values()]
  multihost.write_with_checksum(path, ''.join(lines))


def layout_of_points(rows: Sequence[dict[str, Any]]) -> ReportLayout:
  """Says what the table and the page of a sweep show.

  Args:
    rows: one row per point, as `run_points` returns them.

  Returns:
    The layout of the first point. If the handbook whose value is asked for differs between points,
    `share` says of each what its shares are shares of.
  """
  # The questions of the settings take a second to import.
  from msm_jax.suites.registry import layout_of

  layout = layout_of(rows[0]['summary'])
  name, _, description = layout.share.partition(': ')

  def description_at(summary: Mapping[str, Any]) -> str:
    at_point = layout_of(summary)
    if at_point.main != layout.main:
      # Of a researcher's own items, the name of the measure says whose value it is about.
      return description
    return at_point.share.partition(': ')[2]

  return dataclasses.replace(layout, share=f'{name}: {of_points(rows, description_at)}')


def changes_from_first(rows: Sequence[dict[str, Any]], main: str) -> dict[str, Any]:
  """Computes what changes from the first point of a sweep to the others, within seeds.

  Args:
    rows: one row per point, as `run_points` returns them.
    main: the main measure of the setting.

  Returns:
    Change -> its arms and its numbers; see `merged.changes`. Empty if two points have one label,
    since their changes could not be told apart.
  """
  from msm_jax.evals import merged

  points = [(point_label(row['point']), row['summary']) for row in rows]
  labels = [label for label, _ in points]
  if len(set(labels)) < len(labels):
    return {}
  margin = margin_of(main)
  return merged.changes(points, (main, margin), (margin,), labels[0])


def _checked_name(settings: ConfigDict) -> str:
  """The name of a sweep. Raises ConfigError unless the config is that of a sweep: its points and
  the settings of its experiment are checked later, when these are read."""
  fields = [field.name for field in dataclasses.fields(SweepConfig)]
  for key in settings:
    if key not in fields:
      raise ConfigError(
        f'the config has {checks.shown(key)}, and a sweep has {", ".join(fields)}; '
        f'configs/sweeps/oversight.py shows one'
      )
  if not isinstance(settings.get('experiment'), ConfigDict):
    raise ConfigError(
      'the config of a sweep has no experiment; configs/sweeps/oversight.py has one'
    )
  name = settings.get('name', SweepConfig.name)
  # '.' and '..' are folders: without --workdir, the second would be the current one.
  is_name = isinstance(name, str) and name.isprintable() and name.strip(' .')
  if not is_name or '/' in name or len(name.encode()) > MAX_NAME_BYTES:
    raise ConfigError(
      f'name={checks.shown(name)} must be the name of a page; give one line of at most '
      f'{MAX_NAME_BYTES} bytes without a slash'
    )
  if name in TAKEN_NAMES:
    raise ConfigError(
      f'name={name!r} would overwrite a file of the experiment in the workdir; choose another'
    )
  if not isinstance(settings.get('about', ''), str):
    raise ConfigError(f'about={checks.shown(settings.about)} must be a text for the page')
  return name


def _write_results(workdir: Path, name: str, about: str, rows: Sequence[dict[str, Any]]) -> None:
  """Writes the page of a sweep and the list of its points, and prints its table."""
  layout = layout_of_points(rows)
  page = workdir / f'{name}.html'
  changes = changes_from_first(rows, layout.main)
  report.write_sweep(page, name, about, rows, layout, changes)
  # Several sweeps may share a workdir and its sweep.jsonl.
  points_of_sweep = [{'id': row['id'], 'point': row['point']} for row in rows]
  contents = {'name': name, 'about': about, 'points': points_of_sweep}
  write_atomically(workdir / f'{name}.json', (json.dumps(contents) + '\n').encode())
  print(report.sweep_table(rows, layout, changes))
  print(f'\nrows in {workdir}/sweep.jsonl, report: {page.absolute()}')


def sweep(argv: list[str]) -> None:
  """Runs the sweep that --config names and prints its table.

  Args:
    argv: what is left of the command line; not used.

  Raises:
    UserError: something that the user can mend; finished points are kept.
  """
  stop, settings = command.StopSignal(), flags.FLAGS.config
  name = _checked_name(settings)
  command.set_xla_flags(settings.experiment)
  # JAX comes with this module, and it reads its flags when it is imported.
  from msm_jax import multihost

  multihost.start()
  points = check_points(settings.get('points', ()))
  workdir = Path(flags.FLAGS.workdir or f'runs/{name}')
  with multihost.locked(workdir):
    rows = run_points(settings.experiment, points, workdir, stop)
    if multihost.is_first():
      _write_results(workdir, name, settings.get('about', ''), rows)


if __name__ == '__main__':
  command.run_on_config(sweep, default='configs/sweeps/oversight.py', schema=SweepConfig)
