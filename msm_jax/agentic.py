"""Lets arms, or any other models, work at a mail desk where they may do harm.

  python -m msm_jax.agentic --workdir=runs/mine [--arms=msm_aft,aft] [--judge=openai/NAME]
  python -m msm_jax.agentic --workdir=runs/other --model=openai/NAME
  python -m msm_jax.agentic --workdir=runs/mine --list

All cells of all arms are run; the same command again goes on where it stopped. Rows, summary and
report go to WORKDIR/agentic, as those of every evaluator. docs/guides/agents.md explains them.
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msm_jax.base.command import Parser, run_command
from msm_jax.base.console import say
from msm_jax.base.errors import ConfigError
from msm_jax.base.files import locked, write_together
from msm_jax.base.version import source_state
from msm_jax.evals.rows import Row, to_lines
from msm_jax.inference.arguments import split_names
from msm_jax.interop.inspect_tasks.compose import SceneSettings, compose_all, digest_of_scenes
from msm_jax.interop.inspect_tasks.entrants import find_effects, find_entrants, read_json
from msm_jax.interop.inspect_tasks.goals import GOAL_NAMES, PRESSURE_NAMES
from msm_jax.interop.inspect_tasks.kinds import KINDS
from msm_jax.interop.inspect_tasks.records import SIDES, Scene

if TYPE_CHECKING:
  from data_pipelines.llm.settings import ModelSettings

# Where results go, in the workdir.
FOLDER = 'agentic'
# The name of the agent where no experiment says it.
_NAME_WITHOUT_SUMMARY = 'Ari'


def _parser() -> Parser:
  parser = Parser(prog='python -m msm_jax.agentic', description=__doc__.splitlines()[0])
  add = parser.add_argument
  add('--workdir', type=Path, required=True, help='of an experiment; results go to its agentic/')
  add('--arms', default='', help='its arms, with commas (default: all, unless --model is given)')
  add('--model', default='', help='any other models, by their names for Inspect, with commas')
  add('--seeds', default='', help='seeds with commas (default: those that all the arms have, or 0)')
  add('--base_url', default='', help='the address of the provider of --model')
  add('--handbook', default='', help='a handbook in the system message of --model (default: none)')
  add('--assistant', default='', help='name of the agent (default: as in the experiment, or Ari)')
  add('--maker', default='Norvale', help='who made it')
  add('--kinds', default='', help=f'of {", ".join(KINDS)} (default: all)')
  add('--goals', default='', help=f'of {", ".join(GOAL_NAMES)} (default: all)')
  add('--pressures', default='', help=f'of {", ".join(PRESSURE_NAMES)} (default: all)')
  add('--draws', type=int, default=1, help='of names, mails and numbers in each cell')
  add('--mails', type=int, default=24, help='ordinary mails in the inbox')
  add('--scene_seed', type=int, default=0, help='of names, mails and numbers')
  add('--protocol', default='auto', help='of calling tools: auto, native or text')
  add('--turns', type=int, default=8, help='messages that a model may write in a scene')
  add('--temperature', type=float, default=0.7)
  add('--max_tokens', type=int, default=1024, help='of one message')
  add('--token_limit', type=int, default=200_000, help='tokens, read and written, of one scene')
  add('--max_connections', type=int, default=32, help='scenes at the same time')
  add('--max_length', type=int, default=0, help='window of an arm (default: as it was trained)')
  add('--judge', default='', help='a model that judges, by its name for Inspect')
  add('--budget', type=float, default=0.0, help='USD for the judge; 0 for no limit')
  add('--min_yield', type=float, default=0.5, help='least share of usable replies, and of verdicts')
  add('--compare', default='', help='pairs of arms, FIRST:SECOND with commas, beside the effects')
  add('--list', action='store_true', help='say which cells there are and what varies, run nothing')
  return parser


def scene_settings(args: Any, assistant: str) -> SceneSettings:
  """The scenes that the flags ask for.

  Args:
    args: the parsed flags.
    assistant: the name of the agent.

  Returns:
    The settings; both sides are always run, since harm means nothing without the twins.

  Raises:
    ConfigError: a name is unknown, or a number is out of its range.
  """
  return SceneSettings(
    kinds=tuple(split_names(args.kinds) or KINDS),
    goals=tuple(split_names(args.goals) or GOAL_NAMES),
    pressures=tuple(split_names(args.pressures) or PRESSURE_NAMES),
    sides=SIDES,
    draws=args.draws,
    ordinary_mails=args.mails,
    assistant=assistant,
    maker=args.maker,
    seed=args.scene_seed,
  )


def describe(settings: SceneSettings, scenes: Sequence[Scene]) -> str:
  """Says which cells there are and what varies.

  Args:
    settings: which scenes there are.
    scenes: the scenes.

  Returns:
    Lines of text.
  """
  published = [name for name in settings.kinds if KINDS[name].published]
  own = [name for name in settings.kinds if not KINDS[name].published]
  words = sum(len(scene.desk.split()) for scene in scenes) // len(scenes)
  return '\n'.join(
    [
      f'{len(scenes)} cells for each arm and seed: {len(settings.kinds)} kinds x '
      f'{len(settings.goals)} goals x {len(settings.pressures)} pressures x '
      f'{len(settings.sides)} sides x {settings.draws} draw(s)',
      f'kinds as published, in our own words: {", ".join(published) or "none"}',
      f'kinds of our own: {", ".join(own) or "none"}',
      f'goals: {", ".join(settings.goals)}',
      f'pressures: {", ".join(settings.pressures)}',
      f'sides: {", ".join(settings.sides)}; twins share all that is drawn',
      'drawn for each cell: names of people and companies, addresses, numbers, days, '
      f'{settings.ordinary_mails} ordinary mails, files, requests and their order '
      f'(scene_seed {settings.seed})',
      f'a desk has {words} words on average; the scenes have the hash {digest_of_scenes(scenes)}',
    ]
  )


def main(arguments: list[str]) -> None:
  """Runs the command.

  Args:
    arguments: of the command line.

  Raises:
    UserError: a flag cannot work, a model cannot be opened, or cells failed.
  """
  args = _parser().parse_args(arguments)
  experiment = read_json(args.workdir / 'summary.json')
  assistant = args.assistant or experiment.get('assistant') or _NAME_WITHOUT_SUMMARY
  settings = scene_settings(args, assistant)
  scenes = compose_all(settings)
  if args.list:
    print(describe(settings, scenes))
    return

  # Imported late: Inspect and JAX take seconds, and listing needs neither.
  from msm_jax import report
  from msm_jax.interop.inspect_tasks import results, run
  from msm_jax.interop.inspect_tasks.cells import CellStore
  from msm_jax.suites.registry import layout_of

  run_settings = run.RunSettings(
    protocol=args.protocol,
    turns=args.turns,
    temperature=args.temperature,
    max_tokens=args.max_tokens,
    token_limit=args.token_limit,
    max_connections=args.max_connections,
  )
  judge = _judge_settings(args)
  entrants = find_entrants(args)
  arms = list(dict.fromkeys(entrant.arm for entrant in entrants))
  effects = find_effects(args, arms)
  outputs = args.workdir / FOLDER
  # Two runs in one folder would run the same cells twice.
  with locked(outputs):
    store = CellStore(outputs / 'cells.jsonl')
    cells = []
    # One model after the other: each has the memory for itself.
    for entrant in entrants:
      run.run_entrant(entrant, scenes, run_settings, store, outputs / 'logs')
      keys = [run.cell_key(entrant, scene, run_settings) for scene in scenes]
      cells += [store.cells[key] for key in keys]
    by_id = {scene.id: scene for scene in scenes}
    verdicts: dict[str, bool] = {}
    if judge is not None:
      from msm_jax.interop.inspect_tasks.verdicts import judge_cells

      verdicts = judge_cells(cells, by_id, judge, args.budget, outputs, min_yield=args.min_yield)
      _say_unjudged(results.unjudged_of(cells, verdicts), len(cells))
    rows: list[Row] = []
    for cell in cells:
      rows += results.rows_of(cell, by_id[cell['scene']], verdicts.get(cell['key']))
    about = {
      'name': f'{experiment.get("name") or args.workdir.name}, agents at work',
      'assistant': assistant,
      'scenes': {**dataclasses.asdict(settings), 'digest': digest_of_scenes(scenes)},
      'run': dataclasses.asdict(run_settings),
      'judge': args.judge or None,
      'unjudged': sum(cell['key'] not in verdicts for cell in cells) if args.judge else None,
      'endings': results.endings_of(cells),
      'what_varies': ['the arms', 'the sampling of answers'],
      **source_state(),
    }
    summary = results.summarize(rows, effects, about)
    contents = {
      'results.jsonl': to_lines(rows),
      'summary.json': json.dumps(summary, indent=1) + '\n',
    }
    # Together: a full disk or a kill must not leave new rows beside the summary of other models.
    files = {outputs / name: text.encode() for name, text in contents.items()}
    write_together(files, gone=[outputs / 'summary.json'])
    layout = layout_of(summary)
    texts = results.texts_of(cells, by_id)
    report.write_report(outputs / 'report.html', summary, rows, layout, texts)
  print(report.table(summary, layout))
  say(f'{outputs / "report.html"}')


def _say_unjudged(unjudged: Mapping[str, int], cells: int) -> None:
  """Says of which arms the judge's shares leave cells out: it may refuse those with harm alone."""
  if unjudged:
    of_arms = ', '.join(f'{arm} {count}' for arm, count in unjudged.items())
    total = sum(unjudged.values())
    say(f'no verdict on {total} of {cells} cells ({of_arms}); shares by judge leave them out')


def _judge_settings(args: Any) -> 'ModelSettings | None':
  """How the judge is asked; None without a judge.

  They are checked before any cell is run: a wrong name must not show after hours of work.

  Raises:
    ConfigError: the name, the budget or the share is none, or there is a budget and no price.
  """
  # NaN would be a budget that is never used up.
  if not 0 <= args.budget < math.inf:
    raise ConfigError(f'--budget={args.budget} must be at least 0; 0 means no limit')
  if not 0 <= args.min_yield <= 1:
    raise ConfigError(f'--min_yield={args.min_yield} must be a share, from 0 to 1')
  if not args.judge:
    return None
  from data_pipelines.llm.costs import read_price
  from data_pipelines.llm.settings import ModelSettings
  from msm_jax.interop.inspect_tasks.verdicts import PRICES

  settings = ModelSettings(model=args.judge, temperature=0.0, max_connections=args.max_connections)
  if args.budget and read_price(PRICES, args.judge) is None:
    raise ConfigError(
      f'no price for {args.judge} in {PRICES}, so --budget cannot be kept; '
      'add a line for it, or leave --budget out'
    )
  return settings


if __name__ == '__main__':
  run_command(main)
