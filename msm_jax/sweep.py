"""python -m msm_jax.sweep --config=configs/sweeps/oversight.py:dose [--workdir=DIR]: one experiment at many points, its phases shared.

A sweep is an experiment's config and a list of points, each a dict of overrides ({'phases.aft.updates': 200}) and perhaps a `label`. The
first override, if a number, is the curves' axis. All points run in one workdir: phases and corpora are named by what they depend on, so
whatever a point leaves as it was is not trained again. The same command goes on where the last one ended. `sweep.jsonl` gets one row per
point; a table is printed, and NAME.html has the curves.
"""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from msm_jax.base import checks, command, paths
from msm_jax.base.points import Point, axis, chain, labelled, product, zipped

__all__ = ['Point', 'axis', 'chain', 'labelled', 'product', 'zipped']


def overridden(settings: Any, point: Point) -> Any:
  """A copy of a ConfigDict with the point's overrides. Raises ConfigError for a key that it lacks."""
  from msm_jax.base.errors import ConfigError
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
          f'sweep point {point_label(point)}: the config has no {key!r} (nothing named {part!r}); its file lists what there is'
        )
      group = group[part]
    with (
      group.unlocked(),
      group.ignore_type(),
    ):  # what does not fit is refused by name when the whole is checked
      group[last] = value
  return made


def run_points(
  settings: Any, points: Sequence[Point], workdir: Path, stop: Any
) -> list[dict[str, Any]]:
  """Rows of all points, in order; what `sweep.jsonl` holds already is not run again."""
  from msm_jax import config, experiment, multihost, report
  from msm_jax.base.console import say

  path = workdir / 'sweep.jsonl'
  known = {r['id']: r for r in multihost.broadcast_from_first(experiment.kept_rows(path))}
  # every point's config is checked before the first is run
  configs = [
    checks.from_mapping(config.ExperimentConfig, paths.resolve_paths(overridden(settings, p)))
    for p in points
  ]
  rows = []
  for n, (point, c) in enumerate(zip(points, configs, strict=True), 1):
    made = experiment.Experiment(c, workdir, stop)
    id_ = made.identity()
    if id_ not in known:
      say(f'point [{n}/{len(points)}] {report.point_label(point)}')
      began, made.outputs = time.monotonic(), workdir / 'points' / id_
      summary = made.run()
      known[id_] = {
        'id': id_,
        'point': point,
        'seconds': round(time.monotonic() - began, 1),
        'summary': summary,
      }
      multihost.write(path, ''.join(json.dumps(r) + '\n' for r in known.values()))
    rows.append(known[id_] | {'point': point})
  return rows


def sweep(argv: list[str]) -> None:
  stop, settings = command.Stop(), flags.FLAGS.config
  os.environ['XLA_FLAGS'] = (
    f'{settings.experiment.get("xla_flags", "")} {os.environ.get("XLA_FLAGS", "")}'.strip()
  )
  from msm_jax import multihost, report

  multihost.start()
  workdir = Path(flags.FLAGS.workdir or f'runs/{settings.name}')
  with multihost.locked(workdir):
    rows = run_points(settings.experiment, [dict(p) for p in settings.points], workdir, stop)
    if multihost.is_first():
      page = report.write_sweep(
        workdir / f'{settings.name}.html', settings.name, settings.get('about', ''), rows
      )
      print(report.sweep_table(rows))
      print(f'\nrows in {workdir}/sweep.jsonl, report: {page.absolute()}')


if __name__ == '__main__':
  command.run_on_config(sweep, default='configs/sweeps/oversight.py')
