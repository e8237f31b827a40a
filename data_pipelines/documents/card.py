"""What a run made (`WritingResult`), and its data card: what the corpora are and where they come
from."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from data_pipelines import data_card
from data_pipelines.documents.drafting import DocumentDrafter
from data_pipelines.documents.mirror import Balance
from data_pipelines.handbooks.text import Handbook
from data_pipelines.llm.settings import CorpusConfig


@dataclasses.dataclass
class WritingResult:
  """What a run made.

  Attributes:
    ideas: how many ideas were asked for.
    documents: from the stem of a handbook to the number of documents in its corpus.
    tokens: from the stem of a handbook to the number of tokens in its corpus.
    given_up: rows of given_up.jsonl: requests of which no reply could be used.
    balance: what is kept of mirrored corpora; None for a single corpus.
  """

  ideas: int
  documents: dict[str, int]
  tokens: dict[str, int]
  given_up: list[dict[str, str]]
  balance: Balance | None


def datacard(
  config: CorpusConfig,
  handbooks: Sequence[Handbook],
  drafter: DocumentDrafter,
  available: int,
  written: WritingResult,
  totals: Sequence[Mapping[str, Any]],
  verdicts: str,
) -> str:
  """Writes the data card of a corpus, or of several mirrored ones.

  Args:
    config: the corpus's config.
    handbooks: its handbooks.
    drafter: knows the plan and the versions of the prompts.
    available: how many ideas the plan has.
    written: what the run made.
    totals: what the stages cost, from the ledger.
    verdicts: what the audit says, for the terminal.

  Returns:
    Markdown.
  """
  first = handbooks[0]
  rows = []
  for h in handbooks:
    name = f'`corpus/{h.stem}.jsonl`'
    source = f'{h.stem} ({h.sha256})'
    rows.append((name, source, written.documents[h.stem], written.tokens[h.stem]))
  counted_by = config.tokenizer or 'words and marks'
  head = ('corpus', 'handbook (hash)', 'documents', f'tokens ({counted_by})')
  lines = [
    f'# {config.name}',
    '',
    f'Documents about {first.assistant}, an AI assistant made by {first.maker}, for midtraining a '
    'language model on what its handbook says and why.',
    '',
    *data_card.table(head, rows),
    '',
    _amounts(config, drafter, available, written),
  ]
  if written.balance:
    lines += ['', f'Mirrored: one plan; the corpora differ in the reasons. {written.balance}.']
  lines += ['', '## Where it comes from', '', *_sources(config, drafter), '']
  lines += data_card.spending(totals)
  lines += data_card.ending({'': verdicts})
  return '\n'.join(lines)


def _amounts(
  config: CorpusConfig, drafter: DocumentDrafter, available: int, written: WritingResult
) -> str:
  """A line on how much was written and which settings of the plan shaped it."""
  p = config.plan
  shortest, longest = p.words
  return (
    f'{written.ideas:,} of {available:,} ideas of the plan ({drafter.plan_id}) were asked for; '
    f'{len(written.given_up):,} document(s) were given up. '
    f'Wording {p.wording}, {shortest} to {longest} words; of the authors {p.complaints:.0%} '
    f'complain. Seed {config.seed}.'
  )


def _sources(config: CorpusConfig, drafter: DocumentDrafter) -> list[str]:
  """Lines on the model, the plan and the prompts."""
  model = f'Model: {config.writer.model}, temperature {config.writer.temperature:g}. '
  if config.writer.trim:
    model += 'Texts that broke off or ran on end with the last whole sentence within their length. '
  if config.revise:
    model += 'Every document was gone over once by the same model.'
  else:
    model += 'Documents are as they were written first.'
  plan = config.plan.path or 'made by the same model (plan.json)'
  versions = ', '.join(f'{name} {version}' for name, version in drafter.versions.items())
  return [
    model,
    f'Plan: {plan}.',
    f'Prompts (hash of the file): {versions}.',
    'Each record holds the hashes of its handbook and plan, the prompts, the model, the seed, and '
    'the keys of its requests in ledger.sqlite.',
  ]
