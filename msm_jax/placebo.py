"""Judges a finished placebo study (configs/placebo.py).

  python -m msm_jax.placebo --workdir=runs/placebo

It prints how many intervals of pairs that differ in nothing that matters exclude zero, and writes
placebo.json into the workdir, which `python docs/tables.py store` takes along. The exit code is 1
if more of the intervals of the main margin exclude zero than the bar allows.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any, cast

from msm_jax.base.command import Parser, run_command
from msm_jax.base.errors import UserError
from msm_jax.base.files import write_atomically
from msm_jax.evals import placebo
from msm_jax.evals.rows import Row
from msm_jax.report.numbers import margin_of
from msm_jax.running.results import ResultRow, load_results
from msm_jax.suites.registry import layout_of

# The keys that every row has.
_FIELDS = [field for field in dataclasses.fields(ResultRow) if field.name != 'more']


class PlaceboError(UserError, ValueError):
  """A run that is no placebo study."""


def _plain(row: ResultRow) -> Row:
  """The row as results.jsonl has it."""
  values: dict[str, Any] = {field.name: getattr(row, field.name) for field in _FIELDS}
  return cast(Row, {**values, **row.more})


def main(arguments: list[str]) -> int:
  """Runs the command.

  Args:
    arguments: of the command line.

  Returns:
    The exit code: 1 if the bar is missed.

  Raises:
    PlaceboError: the run has no pairs of arms.
  """
  parser = Parser(prog='python -m msm_jax.placebo', description=__doc__.splitlines()[0])
  parser.add_argument('--workdir', type=Path, default=Path('runs/placebo'))
  workdir = parser.parse_args(arguments).workdir
  results = load_results(workdir)
  summary = results.summary
  pairs = [effect['arms'] for effect in summary['effects'].values()]
  if not pairs or any(len(arms) != 2 for arms in pairs):
    raise PlaceboError(
      f'{workdir} is no placebo study: every effect must compare two arms; run configs/placebo.py'
    )
  judged = placebo.judge(summary, [_plain(row) for row in results.rows])
  write_atomically(workdir / 'placebo.json', (json.dumps(judged, indent=1) + '\n').encode())
  layout = layout_of(summary)
  margin = margin_of(layout.main)
  if margin not in judged['measures']:
    raise PlaceboError(f'the effects of {workdir} have no {margin}; run the same command again')
  margins = [margin_of(measure) for measure in layout.effects]
  # As dict keys, measures keep their order and stand there once.
  shown = dict.fromkeys([margin, *margins, layout.main])
  print(placebo.table(judged, [measure for measure in shown if measure in judged['measures']]))
  print(f'\n{placebo.verdict(judged, margin)}')
  return int(not placebo.meets_bar(judged, margin))


if __name__ == '__main__':
  run_command(main)
