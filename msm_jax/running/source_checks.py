"""Checks that every phase can read its sources, before the first phase is trained."""

from data_pipelines.sources import MODEL_MAKERS
from msm_jax import phases
from msm_jax.base.checks import exceeds_share
from msm_jax.base.console import say
from msm_jax.base.errors import DataError
from msm_jax.data.tokenized import Source
from msm_jax.objectives.registry import OBJECTIVES
from msm_jax.rl.prompt_order import PromptOrder, prompt_room
from msm_jax.running.prepared import Prepared


def check_sources_fit(prepared: Prepared) -> None:
  """Checks that every phase reads nearly all of its sources, and says what it leaves out.

  Each source is checked by itself: in a mixture, the others would hide that one of them is empty.

  Args:
    prepared: corpora, tokenizer and phases.

  Raises:
    DataError: a source has another kind of records than the objective of a phase reads, too many
      chats of a source are longer than the rows of a phase, or nothing is learned from too many of
      its records.
  """
  for node in prepared.nodes:
    _check_kinds(prepared, node)
  for readings in prepared.readings.values():
    for source, length in sorted(readings, key=lambda reading: reading[1]):
      check_source_fits(prepared, source, length)
      if source.context is not None:
        _check_taught(prepared, source)
  _check_prompts_fit(prepared)


def _check_kinds(prepared: Prepared, node: phases.Node) -> None:
  """Raises DataError if the objective of a phase does not read the records of a source."""
  reads = OBJECTIVES[node.settings.objective].reads
  for name in node.settings.data:
    source = prepared.config.sources[name]
    if source.is_model_written:
      kind = MODEL_MAKERS[source.maker]
    else:
      kind = prepared.corpora[name].card['kind']
    if kind in reads:
      continue
    raise DataError(
      f'phases.{node.phase}.objective={node.settings.objective!r} reads {" or ".join(reads)}, and '
      f'sources.{name} has {kind}; give another source or another objective'
    )


def _check_prompts_fit(prepared: Prepared) -> None:
  """Checks the sources of reinforcement learning. Raises DataError."""
  checked = set()
  for node in prepared.nodes:
    if node.settings.objective != 'grpo':
      continue
    room = prompt_room(node.settings)
    for name in node.settings.data:
      is_there = name in prepared.corpora
      if is_there and (name, room) not in checked:
        checked.add((name, room))
        source = prepared.source_of(name, node.settings)
        limit = prepared.config.max_left_out
        order = PromptOrder(source, prepared.tokenizer, room, limit, seed=0)
        if order.left_out:
          say(
            f'data       {name}: {order.left_out:,} prompts have over {room} tokens and are left '
            f'out of phase {node.phase}'
          )


def _check_taught(prepared: Prepared, source: Source) -> None:
  """Says how many chats a teacher reads with the handbook. Raises DataError if there are none."""
  assert source.context is not None
  taught = source.count_taught(prepared.tokenizer)
  names = ', '.join(name for name, _ in source.context.statements)
  if not taught:
    raise DataError(
      f'sources.{source.name}: no chat is with {names}, so the teacher never reads the handbook; '
      f'give chats whose system message names the assistant, or chats without a system message'
    )
  total = len(source.rows)
  if taught < total:
    say(f'data       {source.name}: {taught:,} of {total:,} chats are with {names}')


def check_source_fits(prepared: Prepared, source: Source, length: int) -> None:
  """Checks a source for the phases that read it so, with rows of this length. Raises DataError."""
  limit, kind, total = prepared.config.max_left_out, source.kind, len(source.rows)
  silent = source.count_silent(prepared.tokenizer)
  # Whatever share may be left out, something must be left to read.
  if exceeds_share(silent, total, limit) or silent == total:
    remedy = 'chats with assistant turns and documents with text'
    if kind == 'preferences':
      remedy = 'two answers of the assistant'
    raise DataError(
      f'sources.{source.name}: {silent:,} of {total:,} {kind} have no supervised token; '
      f'give {remedy}'
    )
  fitting, _ = source.count_fitting(prepared.tokenizer, length)
  left_out = total - fitting
  if not left_out:
    return
  what, rows, longer = kind, f'length={length}', 'raise their length'
  if source.context is not None:
    what = f'{kind}, read without and with the handbook,'
    # With the handbook, a chat has to fit into a row of the teacher.
    if source.teacher_length:
      rows = f'{rows} and distill.teacher_length={source.teacher_length}'
      longer = f'{longer} or distill.teacher_length'
  share = f'{left_out:,} of {total:,} {what} ({left_out / total:.1%})'
  found = f'{share} do not fit into {rows}'
  if not fitting:
    raise DataError(
      f'sources.{source.name}: {found} of the phases that read it, so nothing is left; {longer} or '
      f'shorten the {kind}'
    )
  if exceeds_share(left_out, total, limit):
    raise DataError(
      f'sources.{source.name}: {found} of the phases that read it; {longer}, '
      f'shorten the {kind}, or raise config.max_left_out (now {limit:g})'
    )
  say(f'data       {source.name}: {found} and are left out')
