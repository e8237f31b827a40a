"""Has a judge read the sampled answers of an experiment.

  python -m msm_jax.judge --workdir=runs/mine --arms=base,tuned --model=PROVIDER/MODEL
  python -m msm_jax.judge --workdir=runs/mine --audit=FILE.csv

The experiment has sampled the answers (`evals.sampled`). Open answers are put on a level of their
rubric, the answers of two arms to the same prompt are compared, and of the answers to questions
with options some are read, to compare the judge with the program that reads them all. Everything is
asked in both orders. The same command again continues where the last one ended, and asks for
nothing that it has. --dry_run says what it would ask for and what that costs.

WORKDIR/judge/MODEL-ID/:
  ledger.sqlite   every reply
  rows.jsonl      one line for everything that was judged
  judge.json      what the verdicts say together; the experiment's command puts it into its summary
  judge.html      the same as a page
  audit.csv       a random sample for a person to judge, too
  audited.csv     what a person filled in, after --audit
"""

import argparse
import asyncio
import hashlib
import html
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msm_jax.base import command
from msm_jax.base.console import say
from msm_jax.base.errors import ConfigError, DataError
from msm_jax.base.files import (
  locked,
  read_checked,
  read_json_lines,
  write_atomically,
  write_with_checksum,
)
from msm_jax.inference.arguments import split_names

if TYPE_CHECKING:
  from data_pipelines.llm.providers import Provider
  from msm_jax.evals.judge_units import Unit
  from msm_jax.evals.judging import JudgeConfig

# A folder's name keeps what every file system allows.
_REPLACED_IN_NAMES = re.compile(r'[^A-Za-z0-9.-]+')


def _parser() -> argparse.ArgumentParser:
  parser = command.Parser(
    prog='python -m msm_jax.judge', description='A judge reads sampled answers.'
  )
  add = parser.add_argument
  add('--workdir', required=True, type=Path, help='of an experiment with sampled answers')
  add('--model', default='', help="any model that Inspect knows; 'program' asks nobody")
  add('--arms', default='', help='A,B,...: whose answers are judged (default: all)')
  add('--pairs', default='', help='A:B,...: compared (default: the effects of two arms)')
  add('--options', type=int, default=100, help='answers with options that the judge reads too')
  add('--budget', type=float, default=0.0, help='USD that all replies may cost; 0 for no limit')
  add('--prices', default='configs/corpora/prices.json', help='the table of prices')
  add('--seed', type=int, default=0, help='of what is drawn, and of the calls')
  add('--temperature', type=float, default=0.0)
  add('--base_url', default='', help="the provider's address, if it is not its usual one")
  add('--max_connections', type=int, default=20, help='calls at a time')
  add('--batch', type=int, default=0, help="size of the provider's batches; 0 for none")
  add('--attempts', type=int, default=4, help='replies without a verdict before one is given up')
  add('--min_yield', type=float, default=0.5, help='least share of usable replies, and of verdicts')
  add('--reasoning_tokens', type=int, default=0)
  add('--reasoning_effort', default='')
  add('--audit_rows', type=int, default=50, help='lines of audit.csv')
  add('--audit', type=Path, help='audit.csv with verdicts of a person; nobody is asked')
  add('--dry_run', action='store_true', help='say what would be asked and what it costs')
  return parser


def main(argv: list[str]) -> None:
  """Runs the command.

  Args:
    argv: the flags.

  Raises:
    ConfigError: the flags do not go together.
    DataError: there are no sampled answers, the run has to stop, or the file of a person has
      faults.
  """
  args = _parser().parse_args(argv)
  if args.audit is not None:
    folder = read_audit(args.workdir, args.audit)
    print(_table(json.loads((folder / 'judge.json').read_text(encoding='utf-8'))))
    return
  # Loaded now, since a missing optional package (pydantic) should show before anything is read.
  from data_pipelines.llm import costs
  from msm_jax.evals import judge_units, judging

  config = _config(args)
  answers, answers_digest = _answers(args.workdir)
  arms, pairs = _arms_and_pairs(args, sorted({answer.arm for answer in answers}))
  units = judge_units.units_of(answers, arms, pairs, args.options, args.seed)
  if not units:
    raise DataError(
      f'{args.workdir}/answers.jsonl has nothing to judge of {", ".join(arms)}; give --arms, or '
      'sample open questions'
    )
  if args.dry_run:
    stages = judging.estimates(units, config)
    print(costs.estimate_table(stages, config.prices, config.budget))
    return
  stop = command.StopSignal()
  folder = judge(args.workdir, units, answers_digest, config, args.audit_rows, stop=stop)
  print(_table(json.loads((folder / 'judge.json').read_text(encoding='utf-8'))))
  print(f'{folder}: judge.html, rows.jsonl, audit.csv for a person')
  print("the experiment's own command puts this into its summary and report")


def _config(args: argparse.Namespace) -> 'JudgeConfig':
  from msm_jax.evals import judging

  name = args.model
  # A program needs no provider; the name only stands for one.
  settings = judging.model_settings(
    f'{name}/{name}' if name == judging.PROGRAM else name,
    base_url=args.base_url,
    temperature=args.temperature,
    max_connections=args.max_connections,
    batch=args.batch,
    attempts=args.attempts,
    reasoning_tokens=args.reasoning_tokens,
    reasoning_effort=args.reasoning_effort,
  )
  if args.options < 0 or args.audit_rows < 0:
    raise ConfigError('--options and --audit_rows are at least 0')
  return judging.JudgeConfig(settings, args.budget, args.prices, args.seed, args.min_yield)


def _answers(workdir: Path) -> tuple[list[Any], str]:
  """The sampled answers of an experiment, and the hash of their file. Raises DataError."""
  from msm_jax.evals.answers import read_answers

  path = workdir / 'answers.jsonl'
  if path.exists() and _samples_nothing(workdir):
    raise DataError(
      f'{path} is of an earlier run, and the last one sampled nothing; run the experiment with '
      '--config.evals.sampled=1 or more'
    )
  try:
    content = path.read_bytes()
    rows = [json.loads(line) for line in content.decode().splitlines()]
  except OSError:
    raise DataError(
      f'{path} is not there; run the experiment with --config.evals.sampled=1 or more'
    ) from None
  except (ValueError, RecursionError):
    raise DataError(f'{path} is damaged; run the experiment again: it is written anew') from None
  return read_answers(rows, str(path)), hashlib.sha256(content).hexdigest()


def _samples_nothing(workdir: Path) -> bool:
  """Whether config.json says that the last run sampled no answers."""
  try:
    config = json.loads((workdir / 'config.json').read_text(encoding='utf-8'))
    # Settings that were added later are left out while they have their defaults.
    return not config['evals'].get('sampled', 0)
  except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
    # The next run of the experiment writes it anew.
    return False


def _arms_and_pairs(
  args: argparse.Namespace, known: Sequence[str]
) -> tuple[list[str], list[tuple[str, str]]]:
  """The arms that are judged, and the pairs that are compared. Raises ConfigError."""
  # Each once: a pair of an arm with itself would be judged as equal throughout.
  arms = split_names(args.arms) or list(known)
  pairs = _given_pairs(args.pairs)
  for name in (*arms, *itertools.chain.from_iterable(pairs)):
    if name not in known:
      raise ConfigError(f'no answers of {name!r} were sampled; there are {", ".join(known)}')
  for pair in pairs:
    if pair[0] == pair[1] or not set(pair) <= set(arms):
      raise ConfigError(
        f'--pairs={args.pairs}: {":".join(pair)} must be two different arms of --arms '
        f'({", ".join(arms)})'
      )
  # Without --pairs, the effects say what is compared; without these, two arms are one pair.
  pairs = _each_once(pairs) or _pairs_of_effects(args.workdir, arms)
  if not pairs and len(arms) == 2:
    pairs = [(arms[0], arms[1])]
  return arms, pairs


def _given_pairs(given: str) -> list[tuple[str, str]]:
  """The pairs of the flag --pairs, 'A:B,C:D'. Raises ConfigError."""
  pairs: list[tuple[str, str]] = []
  for text in given.split(','):
    if not text.strip():
      continue
    first, colon, second = text.strip().partition(':')
    if not (colon and first and second):
      raise ConfigError(f'--pairs={given}: write ARM:ARM, with commas between pairs')
    pairs.append((first, second))
  return pairs


def _pairs_of_effects(workdir: Path, arms: Sequence[str]) -> list[tuple[str, str]]:
  """The effects of two arms that are judged."""
  try:
    effects = json.loads((workdir / 'summary.json').read_text(encoding='utf-8'))['effects']
    found = [tuple(effect['arms']) for effect in effects.values()]
  except (OSError, ValueError, KeyError, TypeError, AttributeError):
    return []
  return _each_once([pair for pair in found if len(pair) == 2 and set(pair) <= set(arms)])


def _each_once(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
  """The pairs without those that are named already, be it the other way round: A:B says all that
  B:A would say."""
  out: dict[frozenset[str], tuple[str, str]] = {}
  for pair in pairs:
    out.setdefault(frozenset(pair), pair)
  return list(out.values())


# ------------------------------------------------------------------------------ judging


def judge(
  workdir: Path,
  units: 'Sequence[Unit]',
  answers_digest: str,
  config: 'JudgeConfig',
  audit_rows: int = 50,
  providers: 'Mapping[str, Provider] | None' = None,
  stop: Any = lambda: False,
) -> Path:
  """Has units judged and writes what the verdicts say.

  Args:
    workdir: the folder of the experiment.
    units: what is judged.
    answers_digest: the hash of answers.jsonl.
    config: how the judge is asked.
    audit_rows: the lines of audit.csv.
    providers: takes the place of Inspect, for 'judge'; for tests.
    stop: is asked between calls whether the run should end.

  Returns:
    The folder with the results.

  Raises:
    LlmError: the run has to stop; the same call again continues.
  """
  from data_pipelines.llm.ledger import Ledger
  from msm_jax.evals import judged, judging

  model = config.judge.model
  is_program = model == f'{judging.PROGRAM}/{judging.PROGRAM}'
  identity = judging.identity(config)
  if model.startswith('msm_jax/'):
    # Imported late, as JAX comes with it.
    from msm_jax.interop.inspect_tasks.entrants import own_model

    # An arm that was trained anew keeps its name and gives other verdicts.
    identity['own model'] = own_model(model)
  # Other settings of the judge are another folder, so that verdicts never mix.
  digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
  name = judging.PROGRAM if is_program else model
  folder = workdir / 'judge' / f'{_REPLACED_IN_NAMES.sub("_", name)}-{digest}'
  with locked(folder):
    verdicts, spent, unpriced = None, 0.0, False
    if not is_program:
      ledger = Ledger(folder / 'ledger.sqlite', identity)
      try:
        verdicts, spent, unpriced = asyncio.run(judging.ask(units, config, ledger, providers, stop))
      finally:
        ledger.close()
    rows = judged.rows_of(units, verdicts)
    seeds = len({row['seed'] for row in rows})
    found = judged.summarize(rows, seeds)
    result = {
      'model': name,
      'answers': answers_digest,
      'identity': identity,
      'rows': len(rows),
      'spent': round(spent, 6),
      'unpriced': unpriced,
      **found,
    }
    # Escaped, because a reason may hold a character at which readers break lines.
    lines = [json.dumps(row) + '\n' for row in rows]
    write_with_checksum(folder / 'rows.jsonl', ''.join(lines).encode())
    _write_audit(folder, rows, units, audit_rows, config.seed)
    _add_person(folder, rows, result)
    _write_result(folder, result)
  return folder


def _write_audit(
  folder: Path, rows: Sequence[dict[str, Any]], units: 'Sequence[Unit]', count: int, seed: int
) -> None:
  """Writes audit.csv, unless a person has begun to fill it in."""
  from msm_jax.evals import audit

  path = folder / 'audit.csv'
  content = audit.to_csv(audit.sample(rows, count, seed), {unit.id: unit for unit in units})
  if path.exists() and path.read_bytes() != content and audit.is_filled_in(path):
    say(f'audit      {path} is filled in and stays as it is; move it away for a new sample')
    return
  write_atomically(path, content)


def _add_person(folder: Path, rows: Sequence[dict[str, Any]], result: dict[str, Any]) -> None:
  """Adds the agreement with a person to a result, if audited.csv is there."""
  from msm_jax.evals import audit

  # What an earlier file said, about kinds that this one says nothing about.
  agreement = result['agreement']
  result['agreement'] = {
    who: numbers for who, numbers in agreement.items() if not who.endswith(audit.WITH_PERSON)
  }
  path = folder / 'audited.csv'
  if path.exists():
    person = audit.read_csv(path, rows, allow_others=True)
    result['agreement'] |= audit.agreements(rows, person)


def read_audit(workdir: Path, file: Path) -> Path:
  """Reads what a person filled in, and adds the agreement with the judge to its results.

  Args:
    workdir: the folder of the experiment.
    file: audit.csv with verdicts.

  Returns:
    The judge's folder.

  Raises:
    DataError: the file has faults, or belongs to no judge of this workdir.
  """
  from msm_jax.evals import audit

  try:
    first = file.read_bytes().decode('utf-8-sig', errors='replace')
  except OSError as e:
    raise DataError(f'{file} cannot be read ({e.strerror}); give --audit=FILE') from None
  folder = _folder_of(workdir, file, first)
  with locked(folder):
    rows = read_json_lines(folder / 'rows.jsonl')
    kept = read_checked(folder / 'judge.json')
    if not rows or kept is None:
      raise DataError(
        f'rows.jsonl or judge.json in {folder} is not as it was written; run this command with '
        '--model again, which asks for nothing that it has'
      )
    # Read before it is copied: a file with faults must not take the place of a good one.
    audit.read_csv(file, rows)
    write_atomically(folder / 'audited.csv', file.read_bytes())
    result = json.loads(kept)
    _add_person(folder, rows, result)
    _write_result(folder, result)
  return folder


def _folder_of(workdir: Path, file: Path, content: str) -> Path:
  """The judge whose rows a file is about. Raises DataError."""
  folders = sorted(path.parent for path in (workdir / 'judge').glob('*/rows.jsonl'))
  if not folders:
    raise DataError(f'{workdir} has no judge yet; run this command with --model first')
  if file.resolve().parent in [folder.resolve() for folder in folders]:
    return file.resolve().parent
  # Ids are made from what was judged, so two judges may have the same ones; the one with most wins.
  counts = {folder: _count_ids(folder, content) for folder in folders}
  most = max(counts.values())
  best = [folder for folder in folders if counts[folder] == most]
  if len(best) > 1:
    raise DataError(
      f'{file} may belong to {len(folders)} judges; put it into the folder of one of them '
      f'({", ".join(str(folder) for folder in folders)})'
    )
  return best[0]


def _count_ids(folder: Path, content: str) -> int:
  """How many ids of a judge's rows stand in the content of a file."""
  rows = (folder / 'rows.jsonl').read_text(encoding='utf-8')
  ids = re.findall(r'"id": "([0-9a-f]+)"', rows)
  return sum(row_id in content for row_id in ids)


# ------------------------------------------------------------------------------ what is shown


def _write_result(folder: Path, result: dict[str, Any]) -> None:
  """Writes judge.json and judge.html."""
  content = json.dumps(result, indent=1, ensure_ascii=False) + '\n'
  write_with_checksum(folder / 'judge.json', content.encode())
  write_atomically(folder / 'judge.html', _page(result).encode())


def _page(result: Mapping[str, Any]) -> str:
  from msm_jax.base.html import HEAD, STYLE
  from msm_jax.report import more
  from msm_jax.report.numbers import show
  from msm_jax.report.page import html_table

  def section(title: str, text: str, head: Iterable[str], body: Iterable[Sequence[str]]) -> str:
    return f'<h2>{title}</h2><p>{text}</p>{html_table(head, body)}'

  name = html.escape(result['model'])
  sections = more.judged_html({'': result}, section, lambda stat: html.escape(show(stat)))
  return (
    f'{HEAD}<title>judged by {name}</title><style>{STYLE}</style></head><body>\n'
    f'<h1>Answers judged by {name}</h1>\n{sections}\n</body></html>\n'
  )


def _table(result: Mapping[str, Any]) -> str:
  """What the verdicts say, for the terminal."""
  from msm_jax.report import more
  from msm_jax.report.terminal import aligned

  cost = 'unknown (no price)' if result['unpriced'] else f'${result["spent"]:,.4f}'
  lines = [f'judged by {result["model"]}: {result["rows"]:,} rows, spent {cost}']
  if levels := _level_rows(result):
    heads = ['mean/level', '/bounds', '/answers', '/contradicted', 'without/verdict']
    lines += aligned('levels', heads, levels, longest=60)
  if pairs := _pair_rows(result):
    heads = ['/first', '/second', '/equal', '/contradicted', 'without/verdict']
    lines += aligned('pairs', heads, pairs, longest=60)
  if agreements := more.agreement_rows(result):
    lines += aligned('agreement', ['/things', '/raw', '/kappa'], agreements, longest=60)
  return '\n'.join(lines)


def _level_rows(result: Mapping[str, Any]) -> list[list[str]]:
  from msm_jax.report.numbers import show

  body = []
  for arm, tiers in result['levels'].items():
    for tier, found in tiers.items():
      without = found['unusable'] + found['failed']
      low, high = found['bounds']
      counts = (found['answers'], found['contradicted'], without)
      shown = [show(found['level']), f'{low:.2f} to {high:.2f}', *map(str, counts)]
      body.append([f'{arm}, {tier}', *shown])
  return body


def _pair_rows(result: Mapping[str, Any]) -> list[list[str]]:
  body = []
  for pair, tiers in result['pairs'].items():
    for tier, found in tiers.items():
      without = found['unusable'] + found['failed']
      counts = [found[name] for name in ('first', 'second', 'equal', 'contradicted')]
      body.append([f'{pair}, {tier}', *map(str, counts), str(without)])
  return body


if __name__ == '__main__':
  command.run_command(main)
