"""Chooses a recipe for each size from a finished sweep (configs/sweeps/sizes.py).

  python -m msm_jax.choose --workdir=runs/sizes --out=configs/recipes/cheese.json

It prints every recipe with the base's gates and the primary effect of each seed, and which recipe
the rule of `msm_jax/evals/recipes.py` chooses. With --out it writes the chosen rates, updates and
numbers of documents, which the preset `confirm` of the sweep runs on other seeds. Points of other
seeds in the same workdir are left out (--seeds), and so are those of a sweep that has not come to
its end, also if it had come to it before and is run anew.
"""

import json
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from msm_jax.base.command import Parser, run_command
from msm_jax.base.console import say
from msm_jax.base.files import read_json_lines, write_atomically
from msm_jax.evals.recipes import Candidate, RecipeError, candidates, choose
from msm_jax.report.numbers import margin_of
from msm_jax.report.terminal import aligned
from msm_jax.suites.registry import layout_of


def main(arguments: list[str]) -> None:
  """Runs the command.

  Args:
    arguments: of the command line.

  Raises:
    RecipeError: the workdir has no sweep with these seeds, or no recipes can be chosen from it.
  """
  parser = Parser(prog='python -m msm_jax.choose', description=__doc__.splitlines()[0])
  parser.add_argument('--workdir', type=Path, default=Path('runs/sizes'))
  parser.add_argument('--seeds', default='40,41', help='the seeds to choose on')
  parser.add_argument('--out', type=Path, help='where the chosen recipes are written')
  given = parser.parse_args(arguments)
  try:
    # Summaries list seeds in their order as numbers.
    seeds = sorted(int(seed) for seed in given.seeds.split(','))
  except ValueError:
    raise RecipeError(f'--seeds={given.seeds} must be whole numbers, such as 40,41') from None
  path = given.workdir / 'sweep.jsonl'
  of_all_seeds = read_json_lines(path)
  rows = [row for row in of_all_seeds if row['summary']['seeds'] == seeds]
  if not rows:
    raise RecipeError(
      f'{path} has no points with the seeds {given.seeds}; run configs/sweeps/sizes.py first'
    )
  rows = _of_finished_sweeps(given.workdir, rows, {row['id'] for row in of_all_seeds})
  _check_one_primary(given.workdir, rows)
  layout = layout_of(rows[0]['summary'])
  found = candidates(rows, margin_of(layout.main), layout.better)
  chosen = choose(found)
  print(table(found, chosen))
  if given.out:
    # A sweep of days may go on at a later commit.
    commits = sorted({row['summary'].get('commit') or '' for row in rows})
    recipes: dict[str, Any] = {'seeds': seeds, 'commits': commits, 'recipes': {}}
    for size, candidate in chosen.items():
      entry = {'recipe': candidate.recipe, 'settings': dict(candidate.settings)}
      recipes['recipes'][size] = entry
    given.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(given.out, (json.dumps(recipes, indent=1) + '\n').encode())
    print(f'\nwritten to {given.out}; commit it before the recipes are confirmed on other seeds')


def _of_finished_sweeps(
  workdir: Path, rows: Sequence[dict[str, Any]], ids: Set[str]
) -> list[dict[str, Any]]:
  """Leaves out points of sweeps that have not come to their end.

  Of half a sweep, the best recipe may be one that was not tried yet. A sweep that comes to its end
  lists its points in NAME.json.

  Args:
    workdir: the folder of the sweep.
    rows: the rows of sweep.jsonl with the seeds to choose on.
    ids: the points of all rows of sweep.jsonl.

  Returns:
    The rows of finished sweeps.

  Raises:
    RecipeError: there are none.
  """
  listed: set[str] = set()
  for path in workdir.glob('*.json'):
    try:
      points = json.loads(path.read_text(encoding='utf-8'))['points']
      of_sweep = {point['id'] for point in points}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
      # Another file of the workdir.
      continue
    # A list that an earlier run left stays while the sweep is run anew, after sweep.jsonl was
    # deleted or damaged. Then some of its points have no row.
    if of_sweep <= ids:
      listed |= of_sweep
  finished = [row for row in rows if row['id'] in listed]
  if not finished:
    raise RecipeError(
      f'the sweep in {workdir} has not come to its end; run the same sweep again: it goes on'
    )
  if len(finished) < len(rows):
    left_out = len(rows) - len(finished)
    say(f'without {left_out} point(s) of a sweep that has not come to its end, or has them no more')
  return finished


def _check_one_primary(workdir: Path, rows: Sequence[dict[str, Any]]) -> None:
  """Raises RecipeError if points were summarised with different primary effects or measures.

  Recipes would be compared by different numbers. No identity depends on what is primary, so a sweep
  that was killed after it was changed has the points of both.
  """
  for key, meaning in (('primary', 'primary effects'), ('primary_measure', 'primary measures')):
    primaries = sorted({row['summary'].get(key, '') for row in rows})
    if len(primaries) > 1:
      named = ', '.join(map(repr, primaries))
      raise RecipeError(
        f'the points in {workdir} have different {meaning} ({named}); run the same sweep to its '
        'end, or give every sweep a workdir of its own'
      )


def table(found: Sequence[Candidate], chosen: Mapping[str, Candidate]) -> str:
  """Writes all candidates for a terminal.

  Args:
    found: the candidates.
    chosen: size -> the chosen one.

  Returns:
    Lines of text.
  """
  body: list[list[Any]] = []
  for candidate in found:
    gate = 'PASS' if candidate.passes else 'MISS'
    each = ', '.join(f'{mean:+.1f}' for mean in candidate.each)
    mark = 'chosen' if chosen[candidate.size] is candidate else ''
    cells = [f'{candidate.slack:+.3f}', gate, f'{candidate.effect:+.1f}', each, mark]
    body.append([f'{candidate.size}: {candidate.recipe}', *cells])
  heads = ('/slack', '/base', '/effect', '/each', '/ ')
  note = (
    'slack: by how much the base passes its worst gate; effect: in nats, larger is better; too '
    'large for chosen recipes, since it is the largest of several'
  )
  return '\n'.join([note, *aligned('recipe', heads, body, 60)])


if __name__ == '__main__':
  run_command(main)
