"""Runs one experiment at many points.

  python -m msm_jax.sweep --config=FILE.py[:preset] [--workdir=DIR]

A sweep is an experiment's config and a list of points, each a dict of overrides such as
{'phases.aft.updates': 200}, and perhaps a `label`. The first override, if it is a number, is the
axis of the curves. All points run in one workdir: phases and corpora are named by what they depend
on, so what a point leaves as it was is not trained again. The same command continues where the last
one ended. `sweep.jsonl` gets one row per point; a table is printed, and NAME.html has the curves.

`axis`, `product`, `zipped`, `chain` and `labelled` make lists of points.
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from msm_jax.base import checks, command, paths
from msm_jax.base.console import say
from msm_jax.base.errors import ConfigError
from msm_jax.base.files import read_json_lines
from msm_jax.base.points import Point, axis, chain, labelled, product, zipped

__all__ = ['Point', 'axis', 'chain', 'labelled', 'product', 'zipped']


def overridden(settings: Any, point: Point) -> Any:
  """Applies a point's overrides.

  Args:
    settings: the experiment's ConfigDict; it stays as it is.
    point: key such as 'phases.aft.updates' -> value.

  Returns:
    A copy with the overrides.

  Raises:
    ConfigError: the config has no such key.
  """
  from msm_jax.report import point_label

  made = settings.copy_and_resolve_references()
  for key, value in point.items():
    if key == 'label':
      continue
    *parents, last = key.split('.')
    group = made
    for part in parents:
      if part not in group:
        raise ConfigError(
          f'sweep point {point_label(point)}: the config has no {key!r} (nothing named {part!r}); '
          f'its file lists what there is'
        )
      group = group[part]
    # A value of the wrong type is refused by name when the whole config is checked.
    with group.unlocked(), group.ignore_type():
      group[last] = value
  return made


def run_points(
  settings: Any, points: Sequence[Point], workdir: Path, stop: Callable[[], bool]
) -> list[dict[str, Any]]:
  """Runs every point that `sweep.jsonl` does not hold already.

  Args:
    settings: the experiment's ConfigDict.
    points: the overrides of every point.
    workdir: where phases, corpora and results go.
    stop: asked regularly whether to save and stop.

  Returns:
    One row per point, in their order: id, point, seconds, summary.
  """
  from msm_jax import config, experiment, multihost, report

  path = workdir / 'sweep.jsonl'
  known: dict[str, Any] = {}
  for row in multihost.broadcast_from_first(read_json_lines(path)):
    known[row['id']] = row
  # Every point's config is checked before the first point is run.
  configs = []
  for point in points:
    point_settings = paths.resolve_paths(overridden(settings, point))
    configs.append(checks.from_mapping(config.ExperimentConfig, point_settings))
  rows = []
  for n, (point, c) in enumerate(zip(points, configs, strict=True), 1):
    id_ = experiment.Experiment(c, workdir).design.identity
    if id_ not in known:
      say(f'point [{n}/{len(points)}] {report.point_label(point)}')
      began = time.monotonic()
      outputs = workdir / 'points' / id_
      summary = experiment.Experiment(c, workdir, stop, outputs).run()
      seconds = round(time.monotonic() - began, 1)
      known[id_] = {'id': id_, 'point': point, 'seconds': seconds, 'summary': summary}
      lines = [json.dumps(row) + '\n' for row in known.values()]
      multihost.write(path, ''.join(lines))
    rows.append({**known[id_], 'point': point})
  return rows


def sweep(argv: list[str]) -> None:
  """Runs the sweep that --config names and prints its table.

  Args:
    argv: what is left of the command line; not used.
  """
  stop, settings = command.StopSignal(), flags.FLAGS.config
  command.set_xla_flags(settings.experiment)
  # JAX comes with these modules, and it reads its flags when it is imported.
  from msm_jax import multihost, report
  from msm_jax.suites.registry import layout_of

  multihost.start()
  workdir = Path(flags.FLAGS.workdir or f'runs/{settings.name}')
  with multihost.locked(workdir):
    points = [dict(point) for point in settings.points]
    rows = run_points(settings.experiment, points, workdir, stop)
    if multihost.is_first():
      layout = layout_of(rows[0]['summary'])
      about = settings.get('about', '')
      page = workdir / f'{settings.name}.html'
      report.write_sweep(page, settings.name, about, rows, layout)
      print(report.sweep_table(rows, layout))
      print(f'\nrows in {workdir}/sweep.jsonl, report: {page.absolute()}')


if __name__ == '__main__':
  command.run_on_config(sweep, default='configs/sweeps/oversight.py')
