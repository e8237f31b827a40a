"""Writes a corpus of documents, from its config to its data card.

The steps of `make`: check the config (job.py); read the plan or have it made (planning.py); write
drafts and revisions of ideas until there is enough (run.py, drafting.py); make mirrored corpora
equal (mirror.py); audit; store. Every reply is in the ledger before it is used, so the same command
again continues where the last one ended and comes to the same files.

Files in the workdir: ledger.sqlite, plan.json, corpus/SPEC.jsonl, corpus/SPEC/ (ArrayRecord, only
for a complete corpus that passes the audit), given_up.jsonl, datacard.md, audit.html, audit.json.
"""

import asyncio
import math
from collections.abc import Callable, Mapping
from pathlib import Path

from data_pipelines import audit
from data_pipelines.documents import drafting, planning
from data_pipelines.documents.card import WritingResult, datacard
from data_pipelines.documents.job import (
  ValidatedJob,
  describe_amount,
  describe_size,
  identity,
  validate,
)
from data_pipelines.documents.run import Run
from data_pipelines.documents.storage import remove_other, store
from data_pipelines.llm import costs
from data_pipelines.llm.client import LlmClient
from data_pipelines.llm.ledger import Ledger
from data_pipelines.llm.providers import Provider
from data_pipelines.llm.requests import LlmError
from data_pipelines.llm.settings import CorpusConfig
from msm_jax.base.files import locked, write_atomically


def dry_run(config: CorpusConfig) -> str:
  """Says what the command would ask for and what that costs. Asks nobody.

  Args:
    config: the corpus's config.

  Returns:
    Lines for the terminal.
  """
  job = validate(config)
  p = config.plan
  stages = drafting.estimates(config, job.handbooks, job.needed)
  if job.given:
    size = f'{p.path}: {job.available:,} ideas'
  else:
    size = f'{describe_size(p)} = {job.available:,} ideas'
    stages = [*planning.estimates(job.handbooks, p, config.writer), *stages]
  names = ' and '.join(h.stem for h in job.handbooks)
  amount = f'{config.name}: {describe_amount(config)} for {names}'
  if len(job.handbooks) > 1:
    amount += ' each, mirrored'
  shortest, longest = p.words
  note = (
    'Tokens are guesses (four characters each). Replies that cannot be used are asked for again '
    'and come on top'
  )
  note += '; here every document is rewritten in full.' if config.revise else '.'
  lines = [
    amount,
    f'plan: {size}; about {job.needed:,} are written, {shortest} to {longest} words each, '
    f'{p.wording}',
    '',
    costs.estimate_table(stages, config.prices, config.budget),
    '',
    note,
  ]
  return '\n'.join(lines)


# ---- from the config to the corpora


def make(
  config: CorpusConfig,
  workdir: Path,
  providers: Mapping[str, Provider] | None = None,
  stop: Callable[[], bool] = lambda: False,
) -> WritingResult:
  """Writes the corpora of a config into a folder.

  Replies that came are kept whatever happens, and the same call again continues with them.

  Args:
    config: the corpus's config.
    workdir: the folder; it is made if it does not exist.
    providers: takes the place of Inspect, by 'writer' and 'judge'; for tests.
    stop: is asked between calls whether the run should end.

  Returns:
    What was made.

  Raises:
    ConfigError: if the settings cannot work together.
    DataError: if the input cannot be used, the run has to stop, too many documents are missing, or
      the audit refuses the corpora. The corpora are then in the folder, but not stored for
      training.
  """
  job = validate(config)
  with locked(workdir):
    ledger = Ledger(workdir / 'ledger.sqlite', identity(config, job.handbooks, job.given))
    try:
      run, written = asyncio.run(_ask(config, workdir, ledger, job, providers, stop))
      totals = costs.mark_unpriced(ledger.totals(), config.prices)
    finally:
      ledger.close()
    rows = {stem: audit.JsonLines(workdir / 'corpus' / f'{stem}.jsonl') for stem in run.stems}
    report = _audit(config, workdir, rows, run)
    card = datacard(
      config, run.handbooks, run.drafter, len(run.ideas), written, totals, report.table()
    )
    write_atomically(workdir / 'datacard.md', card.encode())
    # Before the checks below: what they refuse must not leave an older corpus stored for training.
    for stem, records in rows.items():
      remove_other(workdir / 'corpus' / stem, records)
    check_complete(config, written)
    if written.balance:
      written.balance.check(run.stems)
    report.check('--config.audit.NAME')
    for h in job.handbooks:
      about = {
        'spec': h.sha256,
        'plan': run.drafter.plan_id,
        'model': config.writer.model,
        'seed': config.seed,
      }
      store(workdir / 'corpus' / h.stem, rows[h.stem], about)
  return written


async def _ask(
  config: CorpusConfig,
  workdir: Path,
  ledger: Ledger,
  job: ValidatedJob,
  providers: Mapping[str, Provider] | None,
  stop: Callable[[], bool],
) -> tuple[Run, WritingResult]:
  """The part of a run that asks models."""
  async with LlmClient(config, ledger, providers, stop) as client:
    run = Run(config, workdir, client, job)
    return run, await run.run()


def _audit(
  config: CorpusConfig, workdir: Path, rows: Mapping[str, audit.JsonLines], run: Run
) -> audit.Report:
  """Audits the corpora together and writes the audit's page."""
  specs = {h.stem: h.content for h in run.handbooks}
  claims = {}
  for domain in run.drafter.plan.domains:
    for subdomain in domain.subdomains:
      claims.update({claim.id: claim.says for claim in subdomain.claims})
  report = audit.audit(rows, specs, claims, audit.Thresholds.from_mapping(config.audit), run.count)
  audit.write_page(workdir / 'audit.html', report)
  return report


def check_complete(config: CorpusConfig, written: WritingResult) -> None:
  """Refuses a corpus that lacks more than its config allows.

  Args:
    config: says how much was asked for and which share may be missing.
    written: what the run made.

  Raises:
    LlmError: if more is missing.
  """
  given_up = {row['idea'] for row in written.given_up}
  if config.documents:
    planned = config.documents
    lacking = len(given_up)
    unit = 'documents'
  else:
    planned = config.tokens
    lacking = planned - min(written.tokens.values())
    unit = 'tokens'
  if lacking / planned <= config.missing:
    return
  # Rounded up, so that this value of `missing` is enough.
  share = math.ceil(1000 * lacking / planned) / 1000
  if given_up:
    remedy = ' (given_up.jsonl); the same command asks for them again'
  else:
    remedy = ', and the plan is used up; give plan.ideas a larger number in another --workdir'
  raise LlmError(
    f'{lacking:,} of {planned:,} {unit} are missing{remedy}, or do without by missing={share}'
  )
