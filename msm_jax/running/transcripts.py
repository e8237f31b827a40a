"""Collects what a report shows of an experiment's texts: records of its corpora, and answers side
by side.

The answers are the likeliest ones, read off the rows of the evaluation. So they cost nothing, and
they are the answers that the numbers of the report count.
"""

import itertools
from collections.abc import Sequence

from data_pipelines.records import Document, PreferencePair, Record
from msm_jax.evals.rows import Row, measure_of
from msm_jax.report.texts import SHOWN_QUESTIONS, SHOWN_RECORDS, AnsweredQuestion, Texts
from msm_jax.running.prepared import Prepared
from msm_jax.tokenizer import Messages


def collect_texts(prepared: Prepared, rows: Sequence[Row], main: str) -> Texts:
  """Collects texts for the report.

  Args:
    prepared: corpora and questions.
    rows: all rows of the experiment.
    main: the measure whose questions are shown.

  Returns:
    Some records of every corpus, and the answers of all arms of the first seed to some questions.
  """
  corpora = {}
  for name, corpus in prepared.corpora.items():
    records = itertools.islice(corpus.records(), SHOWN_RECORDS)
    corpora[name] = [as_shown(record) for record in records]
  seed = prepared.config.seeds[0]
  about = f'Seed {seed}. {prepared.design.suite.about_answers}'
  return Texts(corpora, _answers(prepared, rows, main, seed), about)


def as_shown(record: Record) -> str:
  """Writes a record for people to read.

  Args:
    record: the record.

  Returns:
    The text of a document; the messages of a chat, each after its role; of a preference the prompt,
    and which answer was chosen.
  """
  if isinstance(record, Document):
    return record.text
  if isinstance(record, PreferencePair):
    sides = (f'[chosen]\n{_said(record.chosen)}', f'[rejected]\n{_said(record.rejected)}')
    return '\n\n'.join((_said(record.prompt), *sides))
  return _said(record.messages)


def _said(messages: Messages) -> str:
  """Messages, each after the role of whoever says it."""
  return '\n'.join(f'{role}: {content}' for role, content in messages)


def _answers(
  prepared: Prepared, rows: Sequence[Row], main: str, seed: int
) -> list[AnsweredQuestion]:
  by_item: dict[str, dict[str, Row]] = {}
  for row in rows:
    if row['seed'] == seed and measure_of(row) == main:
      by_item.setdefault(row['item'], {})[row['arm']] = row
  # One question of each cluster, so that the page shows the breadth of what was asked.
  chosen: dict[str, str] = {}
  for item, by_arm in by_item.items():
    cluster = next(iter(by_arm.values()))['cluster']
    chosen.setdefault(cluster, item)
  suite = prepared.design.suite
  out = []
  for item in list(chosen.values())[:SHOWN_QUESTIONS]:
    question = suite.question_of(item)
    # An experiment may name any measure as its main one, also of what a suite does not show.
    if question:
      answers = {arm: suite.answer_of(row) for arm, row in by_item[item].items()}
      out.append(AnsweredQuestion(question, answers))
  return out
