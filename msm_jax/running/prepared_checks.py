"""Checks of what was prepared: no text gives an answer away, and every question fits into a row.

What a model of the experiment writes is not refused: `without_leaks` leaves out those records
that name what the evaluation asks about.
"""

from collections.abc import Sequence
from pathlib import Path

from data_pipelines import leaks
from data_pipelines.records import Record
from msm_jax.base.console import say
from msm_jax.base.errors import UserError
from msm_jax.base.files import write_atomically
from msm_jax.evals import sampled
from msm_jax.evals.scoring import ScoringError
from msm_jax.phases import digest
from msm_jax.running.prepared import Prepared


class LeakError(UserError, RuntimeError):
  """Training text that tells an assistant what the evaluation asks about."""


def check_leaks(prepared: Prepared, workdir: Path) -> None:
  """Checks that no training text tells an assistant what the evaluation asks about.

  Args:
    prepared: corpora and questions.
    workdir: where data/ lies; a clean check is remembered there.

  Raises:
    LeakError: a text gives an answer away.
  """
  design = prepared.design
  assistants = design.assistants
  names = design.suite.held_out_names
  fingerprints = sorted(corpus.fingerprint for corpus in prepared.corpora.values())
  checked = digest(leaks.VERSION, *fingerprints, *names, *assistants)
  clean = workdir / 'data' / f'no-leaks-{checked}'
  if clean.exists():
    return
  records = {name: corpus.records() for name, corpus in prepared.corpora.items()}
  found = leaks.find_leaks(names, records, assistants)
  if found:
    more = f' (and {len(found) - 1} more)' if len(found) > 1 else ''
    raise LeakError(
      f'leak: {found[0]}{more}; take it out of the corpus, or the result means nothing'
    )
  write_atomically(clean, b'')


def without_leaks(prepared: Prepared, name: str, records: Sequence[Record]) -> list[Record]:
  """Leaves out what tells an assistant what the evaluation asks about.

  A corpus that somebody gives must have no such text. Here a model has written it, and nobody could
  mend it.

  Args:
    prepared: corpora and questions.
    name: the name of the corpus.
    records: what a model has written.

  Returns:
    The other records.

  Raises:
    LeakError: no record is left.
  """
  design = prepared.design
  assistants = design.assistants
  names = design.suite.held_out_names
  kept = []
  for record in records:
    if not leaks.find_leaks(names, {name: [record]}, assistants):
      kept.append(record)
  if not kept:
    raise LeakError(
      f'leak: all {len(records):,} records of sources.{name} name what the evaluation asks about; '
      f'take prompts that do not'
    )
  if len(kept) < len(records):
    left_out = len(records) - len(kept)
    say(
      f'data       {name}: {left_out:,} of {len(records):,} records name what the evaluation asks '
      f'about and are left out'
    )
  return kept


def check_questions_fit(prepared: Prepared) -> None:
  """Checks that every question fits into a row, in every context.

  Args:
    prepared: questions and tokenizer.

  Raises:
    ScoringError: a question is longer than a row.
  """
  design = prepared.design
  for context in design.contexts:
    replicates = design.replicates_in(context)
    try:
      design.suite.check_fit(prepared.tokenizer, design.row_length, replicates)
      if design.config.evals.sampled:
        questions = design.suite.sampled_questions(replicates)
        sampled.check_fit(questions, prepared.tokenizer, design.row_length)
    except ScoringError as e:
      if not context:
        raise
      # The question is short; what stands before it is not.
      raise ScoringError(
        f'with {context} in the system message (contexts), {e}, or shorten what stands for the '
        'handbook'
      ) from None
