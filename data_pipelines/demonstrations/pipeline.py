"""A corpus of demonstrations, from its config to its card: rounds, audit, and what stays on disk."""

import asyncio
import dataclasses
import functools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_pipelines import data_card as card
from data_pipelines.audit import page
from data_pipelines.audit import run as audit
from data_pipelines.demonstrations import conversations, preferences
from data_pipelines.demonstrations.common import TRIES, Tally
from data_pipelines.demonstrations.slots import read_likes
from data_pipelines.documents.pipeline import store
from data_pipelines.handbooks.text import Handbook, read_handbooks
from data_pipelines.llm import costs, prompts
from data_pipelines.llm.client import LlmClient, Provider
from data_pipelines.llm.ledger import Ledger
from data_pipelines.llm.settings import CorpusConfig
from data_pipelines.llm.tokens import counter
from data_pipelines.records import Chat, to_json
from msm_jax.base.errors import ConfigError
from msm_jax.base.files import locked, write_atomically

# Kind of corpus -> what it is for, as its card says.
ABOUT = {
  'conversations': 'Conversations with {assistant}, an AI assistant made by {maker}, for fine-tuning a language model to talk as its handbook says. '
  '`answers` and `reasons` hold the same conversations row by row; in `reasons` the answer comes after the thinking behind it.',
  'preferences': 'Short exchanges with {assistant}, an AI assistant made by {maker}, for fine-tuning a language model to its likes and dislikes. '
  'They give no reason, so they fit each of the handbooks and leave it to other text to say why.',
}


@dataclasses.dataclass(frozen=True)
class Made:
  """`chats`: corpus -> its records; `tally`: what was refused."""

  chats: dict[str, list[Chat]]
  tally: Tally


def _prompts_of(c: CorpusConfig) -> tuple[str, ...]:
  return preferences.PROMPTS if c.kind == 'preferences' else conversations.prompts_of(c.talk)


def identity(c: CorpusConfig, handbooks: Sequence[Handbook]) -> dict[str, Any]:
  """What replies depend on; how fast they come and what they may cost is not among it."""
  return {
    'kind': c.kind,
    'specs': [[h.stem, h.sha256] for h in handbooks],
    'plan': dataclasses.asdict(c.talk) | {'conversations': c.conversations},
    'prompts': prompts.versions(_prompts_of(c)),
    'model': {
      name: {k: getattr(s, k) for k in ('model', 'temperature', 'reasoning_tokens')}
      for name, s in (('writer', c.writer), ('judge', c.judging))
    },
    'seed': c.seed,
  }


def check(c: CorpusConfig) -> tuple[Handbook, ...]:
  """The handbooks. Raises ConfigError, DataError for what demonstrations cannot be made of, and for what would stop the run after all is paid for."""
  if c.kind == 'documents':
    raise ConfigError(
      f'{c.name} is a corpus of documents; write it with python -m data_pipelines.write'
    )
  if min(c.writer.attempts, c.judging.attempts) < TRIES:
    raise ConfigError(
      f'attempts must be at least {TRIES} for {c.kind}: a reply that is still refused then is lost for good'
    )
  if c.kind == 'conversations':
    conversations.check(c)
  audit.Thresholds.of(c.audit)
  counter(c.tokenizer)
  handbooks = read_handbooks(c.specs)
  if c.kind == 'preferences':
    read_likes(handbooks)
  return handbooks


def dry_run(c: CorpusConfig) -> str:
  """What the command would ask for and what it costs, for the terminal. Asks nobody."""
  handbooks = check(c)
  stages = (
    preferences.estimates(handbooks, c)
    if c.kind == 'preferences'
    else conversations.estimates(handbooks[0], c)
  )
  return '\n'.join(
    [
      f'{c.name}: {c.conversations:,} {c.kind} for {" and ".join(h.stem for h in handbooks)}',
      '',
      costs.estimate_table(stages, c.prices, c.budget),
      '',
      'Tokens are guesses (four characters each). Whatever is refused, by us or by the judge, is written and judged anew and comes on top: at a pass '
      'rate of 80% a quarter more.',
    ]
  )


def make(
  c: CorpusConfig,
  workdir: Path,
  providers: Mapping[str, Provider] | None = None,
  stop: Callable[[], bool] = lambda: False,
) -> Made:
  """Writes the demonstrations of a config into a folder. Raises DataError, ConfigError; replies that came are kept whatever happens."""
  handbooks = check(c)
  tally = Tally(c.kind)
  with locked(workdir):
    ledger = Ledger(workdir / 'ledger.sqlite', identity(c, handbooks))
    try:
      made = Made(asyncio.run(_ask(c, ledger, handbooks, tally, providers, stop)), tally)
      totals = ledger.totals()
    finally:
      ledger.close()
      _keep_refused(workdir / 'refused.jsonl', tally)
    (workdir / 'corpus').mkdir(exist_ok=True)
    for name, chats in made.chats.items():
      write_atomically(
        workdir / 'corpus' / f'{name}.jsonl', ''.join(to_json(r) + '\n' for r in chats).encode()
      )
    reports = dict(_audits(c, workdir, handbooks, made))
    write_atomically(
      workdir / 'datacard.md',
      datacard(c, handbooks, made, totals, {n: r.table() for n, r in reports.items()}).encode(),
    )
    for report in reports.values():
      report.check()
    about = {
      'spec': ','.join(h.sha256 for h in handbooks),
      'model': c.writer.model,
      'judge': c.judging.model,
      'seed': c.seed,
    }
    for name, chats in made.chats.items():
      store(workdir / 'corpus' / name, chats, about)
  return made


async def _ask(
  c: CorpusConfig,
  ledger: Ledger,
  handbooks: Sequence[Handbook],
  tally: Tally,
  providers: Mapping[str, Provider] | None,
  stop: Callable[[], bool],
) -> dict[str, list[Chat]]:
  provenance = functools.partial(
    _provenance, c, {h.stem: h.sha256 for h in handbooks}, prompts.versions(_prompts_of(c))
  )
  async with LlmClient(c, ledger, providers, stop) as author:
    if c.kind == 'preferences':
      return preferences.chats(await preferences.prefer(author, handbooks, c, tally), provenance)
    return conversations.chats(
      *await conversations.converse(author, handbooks[0], c, tally), provenance
    )


def _provenance(
  c: CorpusConfig,
  specs: Mapping[str, str],
  versions: Mapping[str, str],
  parents: Sequence[str],
  **more: Any,
) -> str:
  about = {
    'kind': c.kind,
    'spec': specs,
    'prompts': versions,
    'model': c.writer.model,
    'judge': c.judging.model,
    'seed': c.seed,
  }
  return json.dumps(about | {'parents': list(parents)} | more, ensure_ascii=False)


def _keep_refused(path: Path, tally: Tally) -> None:
  rows = (
    json.dumps({'id': x.id, 'what': x.what, 'why': x.why, 'texts': x.texts}, ensure_ascii=False)
    + '\n'
    for x in tally.left
  )
  write_atomically(path, ''.join(rows).encode())


def _audits(
  c: CorpusConfig, workdir: Path, handbooks: Sequence[Handbook], made: Made
) -> Iterator[tuple[str, Any]]:
  """Each corpus against each handbook: twins and shared exchanges are no mirrors of each other."""
  for name, chats in made.chats.items():
    for h in handbooks:
      report = audit.audit(
        {name: chats},
        {name: Path(h.path).read_text(encoding='utf-8-sig')},
        None,
        audit.Thresholds.of(c.audit),
        counter(c.tokenizer),
      )
      called = f'{name}_{h.stem}' if len(handbooks) > 1 else name
      page.keep(workdir / f'audit_{called}.html', report)
      yield called, report


# ---- the card


def _balance(c: CorpusConfig, chats: Sequence[Chat]) -> list[str]:
  carried = [json.loads(r.provenance) for r in chats]
  if c.kind == 'conversations':
    counts, kinds = (
      Counter((r.domain, p['question']) for r, p in zip(chats, carried, strict=True)),
      conversations.KINDS,
    )
    domains = sorted({r.domain for r in chats})
    return card.table(('domain', *kinds), [(d, *(counts[d, k] for k in kinds)) for d in domains])
  counts = Counter((x, p['form']) for p in carried for x in (p['item'], p['other']) if x)
  forms, things = sorted({p['form'] for p in carried}), sorted({x for x, _ in counts})
  pairs, single = ([p for p in carried if bool(p['other']) == paired] for paired in (True, False))
  return [
    *card.table(
      ('thing', *forms, 'all'),
      [(x, *(counts[x, f] for f in forms), sum(counts[x, f] for f in forms)) for x in things],
    ),
    '',
    f'The liked one of a pair is named first in {sum(p["first"] for p in pairs):,} of {len(pairs):,}. Of exchanges about one thing, '
    f'{sum(p["liked"] for p in single):,} of {len(single):,} like it. No explanation is asked for in {sum(p["quiet"] for p in carried):,} of '
    f'{len(carried):,}.',
  ]


def datacard(
  c: CorpusConfig,
  handbooks: Sequence[Handbook],
  made: Made,
  totals: Sequence[Mapping[str, Any]],
  audits: Mapping[str, str],
) -> str:
  """Markdown: what the demonstrations are, where they come from, what was refused, what they cost and what the audit says."""
  count, first, tally = counter(c.tokenizer), handbooks[0], made.tally
  sizes = [
    (f'`corpus/{n}.jsonl`', len(chats), sum(count(text) for r in chats for _, text in r.messages))
    for n, chats in made.chats.items()
  ]
  lines = [
    f'# {c.name}',
    '',
    ABOUT[c.kind].format(assistant=first.assistant, maker=first.maker),
    '',
    *card.table(('corpus', 'conversations', f'tokens ({c.tokenizer or "words and marks"})'), sizes),
    '',
    *_balance(c, next(iter(made.chats.values()))),
    '',
    '## Where it comes from',
    '',
    f'Handbooks (hash): {", ".join(f"{h.stem} ({h.sha256})" for h in handbooks)}. Seed {c.seed}.',
    f'Written by {c.writer.model} (temperature {c.writer.temperature:g}), judged by {c.judging.model}.',
    f'Prompts (hash of the file): {", ".join(f"{n} {v}" for n, v in prompts.versions(_prompts_of(c)).items())}.',
    'Each record holds the hashes of its handbooks, the prompts, models and seed, and the keys of the requests in ledger.sqlite that it came from.',
    '',
    *card.spending(totals),
    '## What was refused',
    '',
    f'{tally.kept:,} passed, {len(tally.left):,} did not (refused.jsonl has each with its reason); what passed beyond the plan was left out by lot.',
    '',
    *card.table(('why', 'how many'), tally.refused.most_common()),
    '',
    *card.ending(audits),
  ]
  return '\n'.join(lines)
