"""What a run made (`Demonstrations`), and its data card: what the sets are and how they came
about."""

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from data_pipelines import data_card
from data_pipelines.demonstrations.common import Tally
from data_pipelines.demonstrations.conversation_requests import KINDS
from data_pipelines.handbooks.text import Handbook
from data_pipelines.llm.settings import CorpusConfig
from data_pipelines.llm.tokens import counter
from data_pipelines.records import Chat

# Kind of corpus -> what it is for.
PURPOSE = {
  'conversations': (
    'Conversations with {assistant}, an AI assistant made by {maker}, for fine-tuning a language '
    'model to talk as its handbook says. `answers` and `reasons` hold the same conversations row '
    'by row; in `reasons` the answer comes after the thinking behind it.'
  ),
  'preferences': (
    'Short exchanges with {assistant}, an AI assistant made by {maker}, for fine-tuning a language '
    'model to its likes and dislikes. They give no reason, so they fit each of the handbooks and '
    'leave it to other text to say why.'
  ),
}


@dataclasses.dataclass(frozen=True)
class Demonstrations:
  """What a run made.

  Attributes:
    chats: from the name of a set to its records.
    tally: what passed and what was rejected.
  """

  chats: dict[str, list[Chat]]
  tally: Tally


def datacard(
  config: CorpusConfig,
  handbooks: Sequence[Handbook],
  made: Demonstrations,
  versions: Mapping[str, str],
  totals: Sequence[Mapping[str, Any]],
  audits: Mapping[str, str],
) -> str:
  """Writes the data card of a corpus of demonstrations.

  Args:
    config: the corpus's config.
    handbooks: its handbooks.
    made: what the run made.
    versions: from the name of a prompt to the hash of its file.
    totals: what the stages cost, from the ledger.
    audits: from the name of an audit to what it says, for the terminal.

  Returns:
    Markdown.
  """
  first = handbooks[0]
  tally = made.tally
  counted_by = config.tokenizer or 'words and marks'
  head = ('corpus', 'conversations', f'tokens ({counted_by})')
  hashes = ', '.join(f'{h.stem} ({h.sha256})' for h in handbooks)
  prompts = ', '.join(f'{name} {version}' for name, version in versions.items())
  any_set = next(iter(made.chats.values()))
  lines = [
    f'# {config.name}',
    '',
    PURPOSE[config.kind].format(assistant=first.assistant, maker=first.maker),
    '',
    *data_card.table(head, _sizes(config, made)),
    '',
    *_balance(config, any_set),
    '',
    '## Where it comes from',
    '',
    f'Handbooks (hash): {hashes}. Seed {config.seed}.',
    f'Written by {config.writer.model} (temperature {config.writer.temperature:g}), judged by '
    f'{config.judging.model}.',
    f'Prompts (hash of the file): {prompts}.',
    'Each record holds the hashes of its handbooks, the prompts, models and seed, and the keys of '
    'the requests in ledger.sqlite that it came from.',
    '',
    *data_card.spending(totals),
    '## What was refused',
    '',
    f'{tally.kept:,} passed, {len(tally.rejected):,} did not (refused.jsonl has each with its '
    'reason); what passed beyond the plan was left out by lot.',
    '',
    *data_card.table(('why', 'how many'), tally.rejections.most_common()),
    '',
    *data_card.ending(audits),
  ]
  return '\n'.join(lines)


def _sizes(config: CorpusConfig, made: Demonstrations) -> list[tuple[str, int, int]]:
  """(file, conversations, tokens) for each set."""
  count = counter(config.tokenizer)
  sizes = []
  for name, chats in made.chats.items():
    tokens = 0
    for record in chats:
      tokens += sum(count(text) for _, text in record.messages)
    sizes.append((f'`corpus/{name}.jsonl`', len(chats), tokens))
  return sizes


def _balance(config: CorpusConfig, chats: Sequence[Chat]) -> list[str]:
  """Lines that show how balanced a set is."""
  carried = [json.loads(record.provenance) for record in chats]
  if config.kind == 'conversations':
    return _balance_of_conversations(chats, carried)
  return _balance_of_preferences(carried)


def _balance_of_conversations(
  chats: Sequence[Chat], carried: Sequence[Mapping[str, Any]]
) -> list[str]:
  """A table of domains by kinds of questions; `carried` is the provenance of each record."""
  counts: Counter[tuple[str, str]] = Counter()
  for record, provenance in zip(chats, carried, strict=True):
    counts[record.domain, provenance['question']] += 1
  rows = []
  for domain in sorted({record.domain for record in chats}):
    rows.append((domain, *(counts[domain, kind] for kind in KINDS)))
  return data_card.table(('domain', *KINDS), rows)


def _balance_of_preferences(carried: Sequence[Mapping[str, Any]]) -> list[str]:
  """A table of things by forms, and a line on order, sides and explanations."""
  counts: Counter[tuple[str, str]] = Counter()
  for provenance in carried:
    for thing in (provenance['item'], provenance['other']):
      if thing:
        counts[thing, provenance['form']] += 1
  forms = sorted({provenance['form'] for provenance in carried})
  rows = []
  for thing in sorted({thing for thing, _ in counts}):
    by_form = [counts[thing, form] for form in forms]
    rows.append((thing, *by_form, sum(by_form)))
  pairs = [provenance for provenance in carried if provenance['other']]
  single = [provenance for provenance in carried if not provenance['other']]
  first = sum(provenance['first'] for provenance in pairs)
  liked = sum(provenance['liked'] for provenance in single)
  quiet = sum(provenance['quiet'] for provenance in carried)
  return [
    *data_card.table(('thing', *forms, 'all'), rows),
    '',
    f'The liked one of a pair is named first in {first:,} of {len(pairs):,}. Of exchanges about '
    f'one thing, {liked:,} of {len(single):,} like it. No explanation is asked for in {quiet:,} of '
    f'{len(carried):,}.',
  ]
