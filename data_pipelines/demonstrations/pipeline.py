"""Writes a corpus of demonstrations, from its config to its data card.

The steps of `make`: check the config; write, filter and judge demonstrations in rounds until the
plan is filled (conversations.py, preferences.py); audit each set against each handbook; store.
Every reply is in the ledger before it is used, so the same command again continues where the last
one ended and comes to the same files.

Files in the workdir: ledger.sqlite, corpus/SET.jsonl, corpus/SET/ (ArrayRecord, only if the audit
lets it pass), refused.jsonl, datacard.md, audit_*.html, audit_*.json.
"""

import asyncio
import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_pipelines import audit
from data_pipelines.demonstrations import (
  conversation_requests,
  conversations,
  preference_requests,
  preferences,
  reason_filter,
)
from data_pipelines.demonstrations.card import Demonstrations, datacard
from data_pipelines.demonstrations.common import TRIES, Tally
from data_pipelines.demonstrations.slots import read_likes
from data_pipelines.documents.storage import store
from data_pipelines.handbooks.text import Handbook, read_handbooks
from data_pipelines.llm import costs, prompts
from data_pipelines.llm.client import LlmClient
from data_pipelines.llm.ledger import Ledger
from data_pipelines.llm.providers import Provider
from data_pipelines.llm.settings import CorpusConfig, ModelSettings
from data_pipelines.llm.tokens import counter
from data_pipelines.records import Chat, to_json
from msm_jax.base.errors import ConfigError
from msm_jax.base.files import locked, write_atomically


def _prompt_versions(config: CorpusConfig) -> dict[str, str]:
  """From the name of each prompt that a corpus comes from to the hash of its file."""
  if config.kind == 'preferences':
    return prompts.versions(preference_requests.PROMPTS)
  return prompts.versions(conversation_requests.prompts_of(config.talk))


def _model_identity(settings: ModelSettings) -> dict[str, Any]:
  made: dict[str, Any] = {
    'model': settings.model,
    'temperature': settings.temperature,
    'reasoning_tokens': settings.reasoning_tokens,
  }
  if settings.reasoning_effort:
    # Only where it is set, so that folders that were begun before the setting existed continue.
    made['reasoning_effort'] = settings.reasoning_effort
  return made


def identity(config: CorpusConfig, handbooks: Sequence[Handbook]) -> dict[str, Any]:
  """Lists what the replies in a folder depend on; the ledger refuses a folder with another
  identity.

  How fast replies come and what they may cost are not part of it.

  Args:
    config: the corpus's config.
    handbooks: its handbooks.

  Returns:
    A dictionary that JSON can hold.
  """
  made: dict[str, Any] = {
    'kind': config.kind,
    'specs': [[h.stem, h.sha256] for h in handbooks],
    # The number of conversations too: rounds, balance and the final cut depend on it.
    'plan': dataclasses.asdict(config.talk) | {'conversations': config.conversations},
    'prompts': _prompt_versions(config),
    'model': {
      'writer': _model_identity(config.writer),
      'judge': _model_identity(config.judging),
    },
    'seed': config.seed,
  }
  if config.kind == 'preferences':
    made['filter'] = reason_filter.VERSION
  return made


def validate(config: CorpusConfig) -> tuple[Handbook, ...]:
  """Checks everything that would otherwise stop the run after its replies were paid for.

  Args:
    config: the corpus's config.

  Returns:
    The handbooks.

  Raises:
    ConfigError: if the settings cannot work together.
    DataError: if a handbook or the tokenizer cannot be used.
  """
  if config.kind == 'documents':
    raise ConfigError(
      f'{config.name} is a corpus of documents; write it with python -m data_pipelines.write'
    )
  if min(config.writer.attempts, config.judging.attempts) < TRIES:
    raise ConfigError(
      f'attempts must be at least {TRIES} for {config.kind}: a reply that is still refused then is '
      'lost for good'
    )
  if config.kind == 'conversations':
    conversations.check(config)
  # The following lines read their files for the errors alone.
  audit.Thresholds.from_mapping(config.audit)
  counter(config.tokenizer)
  handbooks = read_handbooks(config.specs)
  if config.kind == 'preferences':
    read_likes(handbooks)
    preferences.check(handbooks)
  return handbooks


def dry_run(config: CorpusConfig) -> str:
  """Says what the command would ask for and what that costs. Asks nobody.

  Args:
    config: the corpus's config.

  Returns:
    Lines for the terminal.
  """
  handbooks = validate(config)
  if config.kind == 'preferences':
    stages = preferences.estimates(handbooks, config)
  else:
    stages = conversations.estimates(handbooks[0], config)
  names = ' and '.join(h.stem for h in handbooks)
  lines = [
    f'{config.name}: {config.conversations:,} {config.kind} for {names}',
    '',
    costs.estimate_table(stages, config.prices, config.budget),
    '',
    'Tokens are guesses (four characters each). Whatever is refused, by us or by the judge, is '
    'written and judged anew and comes on top: at a pass rate of 80% a quarter more.',
  ]
  return '\n'.join(lines)


def make(
  config: CorpusConfig,
  workdir: Path,
  providers: Mapping[str, Provider] | None = None,
  stop: Callable[[], bool] = lambda: False,
) -> Demonstrations:
  """Writes the demonstrations of a config into a folder.

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
    DataError: if the input cannot be used, the run has to stop, or the audit refuses a set. The
      sets are then in the folder, but not stored for training.
  """
  handbooks = validate(config)
  tally = Tally(config.kind)
  with locked(workdir):
    ledger = Ledger(workdir / 'ledger.sqlite', identity(config, handbooks))
    try:
      chats = asyncio.run(_ask(config, ledger, handbooks, tally, providers, stop))
      totals = costs.mark_unpriced(ledger.totals(), config.prices)
    finally:
      ledger.close()
      # Also after an error, whose message speaks of this file.
      _write_refused(workdir / 'refused.jsonl', tally)
    made = Demonstrations(chats, tally)
    folder = workdir / 'corpus'
    folder.mkdir(exist_ok=True)
    for name, records in chats.items():
      lines = [to_json(record) + '\n' for record in records]
      write_atomically(folder / f'{name}.jsonl', ''.join(lines).encode())
    reports = dict(_audits(config, workdir, handbooks, made))
    tables = {name: report.table() for name, report in reports.items()}
    card = datacard(config, handbooks, made, _prompt_versions(config), totals, tables)
    write_atomically(workdir / 'datacard.md', card.encode())
    for report in reports.values():
      report.check('--config.audit.NAME')
    about = {
      'spec': ','.join(h.sha256 for h in handbooks),
      'model': config.writer.model,
      'judge': config.judging.model,
      'seed': config.seed,
    }
    for name, records in chats.items():
      store(folder / name, records, about)
  return made


async def _ask(
  config: CorpusConfig,
  ledger: Ledger,
  handbooks: Sequence[Handbook],
  tally: Tally,
  providers: Mapping[str, Provider] | None,
  stop: Callable[[], bool],
) -> dict[str, list[Chat]]:
  """The part of a run that asks models; returns the sets by name."""
  specs = {h.stem: h.sha256 for h in handbooks}
  provenance = functools.partial(_provenance, config, specs, _prompt_versions(config))
  async with LlmClient(config, ledger, providers, stop) as client:
    if config.kind == 'preferences':
      exchanges = await preferences.prefer(client, handbooks, config, tally)
      return preferences.chats(exchanges, provenance)
    kept, domains = await conversations.converse(client, handbooks[0], config, tally)
    return conversations.chats(kept, domains, provenance)


def _provenance(
  config: CorpusConfig,
  specs: Mapping[str, str],
  versions: Mapping[str, str],
  parents: Sequence[str],
  **more: Any,
) -> str:
  """Everything that a record depends on, as JSON; `parents` are the keys of its requests."""
  about = {
    'kind': config.kind,
    'spec': specs,
    'prompts': versions,
    'model': config.writer.model,
    'judge': config.judging.model,
    'seed': config.seed,
    'parents': list(parents),
  }
  return json.dumps(about | more, ensure_ascii=False)


def _write_refused(path: Path, tally: Tally) -> None:
  lines = []
  for x in tally.rejected:
    row = {'id': x.id, 'what': x.what, 'why': x.why, 'texts': x.texts}
    lines.append(json.dumps(row, ensure_ascii=False) + '\n')
  write_atomically(path, ''.join(lines).encode())


def _audits(
  config: CorpusConfig, workdir: Path, handbooks: Sequence[Handbook], made: Demonstrations
) -> Iterator[tuple[str, audit.Report]]:
  """Audits each set against each handbook by itself; yields (name, report).

  The two sets of conversations are equal by design, and so is a set that serves two handbooks. They
  are no mirrored corpora, so the audit must not compare them.
  """
  thresholds = audit.Thresholds.from_mapping(config.audit)
  count = counter(config.tokenizer)
  for name, records in made.chats.items():
    for h in handbooks:
      report = audit.audit({name: records}, {name: h.content}, None, thresholds, count)
      label = f'{name}_{h.stem}' if len(handbooks) > 1 else name
      audit.write_page(workdir / f'audit_{label}.html', report)
      yield label, report
