"""What training and evaluation read of an experiment: its corpora, its tokenizer, its tree.

prepare.py makes a `Prepared`. It is frozen: nothing is added to it later.
"""

import dataclasses
import functools
import random
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_pipelines import corpora, leaks, recipes
from data_pipelines.records import Record
from msm_jax import phases
from msm_jax.base.console import say
from msm_jax.base.errors import DataError
from msm_jax.config import ExperimentConfig, PhaseConfig
from msm_jax.data.handbook_context import HandbookContext
from msm_jax.data.tokenized import Source
from msm_jax.evals import perplexity
from msm_jax.rl.answers import prompt_of
from msm_jax.running.design import Design
from msm_jax.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True)
class Corpus:
  """A corpus on disk, and in memory if this process wrote it."""

  name: str
  folder: Path
  fingerprint: str
  # The contents of card.json: kind, number of records, hashes.
  card: dict[str, Any]
  # Its records, if this process wrote them and they are few.
  written: Sequence[Record] = ()
  # What a teacher reads, and the length of its rows -> the corpus as pairs of student and teacher.
  _in_context: dict[tuple[HandbookContext, int], Source] = dataclasses.field(
    default_factory=dict, repr=False
  )

  @functools.cached_property
  def rows(self) -> Sequence[Any]:
    return corpora.read_rows(self.folder, self.card['kind'])

  @functools.cached_property
  def source(self) -> Source:
    """What phases read. It is one object, so that its rows are tokenized once."""
    return Source(self.name, self.card['kind'], self.rows, self.written, self.folder)

  def source_for(self, context: HandbookContext, teacher_length: int) -> Source:
    """What phases read whose teacher reads a handbook in rows of a length."""
    key = (context, teacher_length)
    if key not in self._in_context:
      self._in_context[key] = self.source.in_context(context, teacher_length)
    return self._in_context[key]

  def tokens(self, tokenizer: Tokenizer) -> int:
    """How many tokens the corpus has."""
    return len(self.source.tokens(tokenizer).ids)

  def records(self) -> Iterator[Record]:
    """Every record, from memory or from disk."""
    yield from self.source.all_records()


@dataclasses.dataclass(frozen=True)
class Prepared:
  """Everything that training and evaluation read."""

  design: Design
  # The settings, with what the tokenizer or the weights decide filled in.
  config: ExperimentConfig
  # source -> corpus.
  corpora: Mapping[str, Corpus]
  tokenizer: Tokenizer
  # The SentencePiece model that was trained here; None if the tokenizer came with weights.
  tokenizer_path: Path | None
  # (arm, seed) -> the last phase of the arm's path.
  ends: phases.Ends

  @property
  def nodes(self) -> list[phases.Node]:
    """Every phase of every seed once, parents before their children."""
    return phases.tree_order(self.ends)

  def source_of(
    self, name: str, phase: PhaseConfig, written: Mapping[str, Corpus] = types.MappingProxyType({})
  ) -> Source:
    """What a phase reads of a corpus; `written` are corpora that models have written."""
    corpus = written[name] if name in written else self.corpora[name]
    context = self.design.teacher_of(phase)
    if context is None:
      return corpus.source
    return corpus.source_for(context, phase.distill.teacher_length)

  @property
  def readings(self) -> dict[str, list[tuple[Source, int]]]:
    """Source -> (what a phase reads of it, length of the rows) for each way in which it is read.

    Reinforcement learning is left out: it reads prompts (rl/prompt_order.py).
    """
    out: dict[str, list[tuple[Source, int]]] = {}
    seen = set()
    for node in self.nodes:
      if node.settings.objective == 'grpo':
        continue
      for name in node.settings.data:
        # What a model writes is checked when it is written.
        if name not in self.corpora:
          continue
        source, length = self.source_of(name, node.settings), node.settings.length
        if (name, id(source), length) not in seen:
          seen.add((name, id(source), length))
          out.setdefault(name, []).append((source, length))
    return out

  def trained_on(self, name: str) -> dict[str, Any]:
    """What the models are trained on of a corpus, as summary.json has it.

    Args:
      name: the name of the corpus.

    Returns:
      `kind`, `records` and `tokens`, without the chats that fit into the rows of no phase; their
      number is `left_out`, which is missing if there are none.
    """
    corpus = self.corpora[name]
    kind = corpus.card['kind']
    try:
      tokens = corpus.tokens(self.tokenizer)
    except DataError:
      if kind == 'documents':
        raise
      # Reinforcement learning and models that write read prompts alone, so it is no fault there if
      # the chat template leaves out a part of an answer.
      tokens = _count_prompt_tokens(corpus, self.tokenizer)
    found = {'kind': kind, 'records': corpus.card['records'], 'tokens': tokens}
    # Only the tokenizer reads a corpus that no phase names.
    readings = self.readings.get(name)
    if readings:
      counts = [source.count_fitting(self.tokenizer, length) for source, length in readings]
      fitting, tokens = max(counts)
      if fitting < found['records']:
        left_out = found['records'] - fitting
        found |= {'records': fitting, 'tokens': tokens, 'left_out': left_out}
    return found

  def held_out(self) -> dict[str, list[Record]]:
    """Makes pretraining text that no model was trained on: the same world told with another seed.

    Returns:
      source -> records; nothing where a text can be told in one way only. A record that stands in
      another source, which is said, stays: without it, arms that are evaluated later would be
      measured on other text than those before.

    Raises:
      DataError: no record of a source has a token that perplexity measures.
    """
    evals = self.config.evals
    if not evals.held_out:
      return {}
    rng = random.Random(evals.seed)
    out = {}
    for name in self.config.tokenizer.sources:
      source = self.config.sources[name]
      if not source.is_world:
        continue
      unseen = self._told_differently(name)
      if not unseen:
        continue
      if len(unseen) < evals.held_out:
        say(f'data       {name}: {len(unseen):,} unseen records are fewer than evals.held_out')
      out[name] = rng.sample(unseen, min(evals.held_out, len(unseen)))
      self._check_heard(name, out[name])
    self._say_what_others_hold(out)
    return out

  def _say_what_others_hold(self, held_out: Mapping[str, Sequence[Record]]) -> None:
    """Says how many held-out records stand word for word in another source that a phase reads.

    A file may hold anything, and the short chats of two tellings may be alike.
    """
    texts: set[str] = set()
    for records in held_out.values():
      texts.update(map(leaks.record_text, records))
    if not texts:
      return
    for other in self.readings:
      seen = texts.intersection(map(leaks.record_text, self.corpora[other].records()))
      for name, records in held_out.items():
        # Its own text was left out before.
        if name == other:
          continue
        read = [record.id for record in records if leaks.record_text(record) in seen]
        if read:
          say(
            f'data       {name}: {len(read):,} of {len(records):,} held-out records, such as '
            f'{read[0]}, stand word for word in {other}; the perplexity of arms that read '
            f'{other} is too low'
          )

  def _check_heard(self, name: str, records: Sequence[Record]) -> None:
    """Says how many held-out records have nothing to measure; raises DataError if none has."""
    length = self.design.row_length
    silent = perplexity.count_silent(records, self.tokenizer, length)
    if not silent:
      return
    what = f'{name}: {silent} of {len(records)} held-out records have no answer in their first'
    if silent == len(records):
      raise DataError(
        f'{what} {length} tokens, so there is no perplexity; raise the length of a phase, or set '
        'evals.held_out=0'
      )
    say(f'data       {what} {length} tokens; perplexity leaves them out')

  def _told_differently(self, name: str) -> list[Record]:
    world = self.design.world
    # English texts and those of one's own handbook have no world that could be told anew.
    if not hasattr(world.config, 'telling'):
      return []
    telling = world.config.telling + 1
    other = dataclasses.replace(world, config=dataclasses.replace(world.config, telling=telling))
    known = {leaks.record_text(record) for record in self.corpora[name].records()}
    records = recipes.write_records(self.config.sources[name], other, ())
    return [record for record in records if leaks.record_text(record) not in known]


def _count_prompt_tokens(corpus: Corpus, tokenizer: Tokenizer) -> int:
  total = 0
  for record in corpus.records():
    total += len(tokenizer.prompt(prompt_of(record)))
  return total
