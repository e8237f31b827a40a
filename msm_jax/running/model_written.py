"""Corpora that a model of the experiment writes itself, with the handbook in view.

They are the data of methods that combine midtraining with others:

- `model.labels`: the model says which of two answers fits the handbook, for preference optimisation
  (Bai et al. 2022, section 4);
- `model.revisions`: it revises its own answers, for next-token training (Bai et al. 2022, section
  3: constitutional AI);
- `model.reasoned`: it gives a reason first and then answers (Guan et al. 2024: deliberative
  alignment).

While it writes, the handbook stands in its system message; in what it writes, it does not. Prompts
come from another source, and are answered in chunks: a run that was stopped goes on with the next.
"""

import dataclasses
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from jax.sharding import Mesh

from data_pipelines.jsonl import from_row
from data_pipelines.llm import prompts as prompt_files
from data_pipelines.records import Chat, PreferencePair, Record, to_json
from data_pipelines.sources import SourceConfig
from msm_jax import multihost
from msm_jax.base.console import say
from msm_jax.base.errors import DataError, Interrupted, UserError
from msm_jax.base.files import checked_line, read_checked_line, write_atomically
from msm_jax.config import ModelConfig
from msm_jax.data.handbook_context import HandbookContext
from msm_jax.evals.scoring import make_logprobs
from msm_jax.inference.groups import Sampling, sample_groups
from msm_jax.model import Params
from msm_jax.rl.answers import chosen_of, first_usable, in_both_orders, prompt_of, rejected_of
from msm_jax.tokenizer import Messages, Tokenizer

# The prompt file by which a model criticises and rewrites its answers.
CRITIQUE = 'critique'
# Prompts that are answered between two looks at whether to stop.
CHUNK = 128


class WritingError(UserError, RuntimeError):
  """A corpus that a model cannot write. The message is one line with cause and remedy."""


def critique_version() -> str:
  """The version of the prompt file, which is part of the identity of what is written."""
  return prompt_files.version(CRITIQUE)


@dataclasses.dataclass(frozen=True)
class Writer:
  """A trained model that writes.

  Attributes:
    model: its settings.
    params: its parameters, in the dtype that it works in.
    tokenizer: its tokenizer.
    length: the tokens of a scored row. Rows with longer chats are several times as long.
    rows: the rows of a scored batch, and how many prompts are answered side by side.
    mesh: the devices.
  """

  model: ModelConfig
  params: Params
  tokenizer: Tokenizer
  length: int
  rows: int
  mesh: Mesh

  def sample(
    self,
    chats: Sequence[Messages],
    openings: Sequence[str],
    source: SourceConfig,
    numbers: Sequence[int],
    attempts: int,
    part: int = 0,
  ) -> list[list[str | None]]:
    """Samples answers.

    Args:
      chats: the messages before each answer.
      openings: what each answer begins with; '' for nothing.
      source: the recipe, which says how answers are sampled.
      numbers: the number of each prompt in its source; with the recipe's seed it decides the draws.
      attempts: answers to each prompt.
      part: tells answers to one prompt apart that are sampled in turn.

    Returns:
      For each prompt its answers, without their openings; None for one that was cut.
    """
    stop_ids = tuple(self.tokenizer.stop_ids)
    vocabulary = min(self.tokenizer.vocab_size, self.model.vocab_size)
    how = Sampling(
      self.model, attempts, source.temperature, source.max_tokens, stop_ids, vocabulary
    )
    answers: list[list[str | None]] = []
    for start in range(0, len(chats), self.rows):
      part_of = slice(start, start + self.rows)
      ids, seeds = [], []
      for chat, opening, number in zip(
        chats[part_of], openings[part_of], numbers[part_of], strict=True
      ):
        ids.append(self._prompt(chat, opening))
        for attempt in range(attempts):
          entropy = np.random.SeedSequence((source.seed, number, attempt, part))
          seeds.append(entropy.generate_state(1)[0])
      sampled = sample_groups(how, self.params, ids, np.array(seeds, np.uint32), self.mesh)
      texts = [self._text(tokens, stop_ids) for tokens in sampled]
      for n in range(len(ids)):
        answers.append(texts[n * attempts : (n + 1) * attempts])
    return answers

  def _prompt(self, chat: Messages, opening: str) -> np.ndarray:
    """The tokens up to where the model goes on."""
    if not opening:
      return self.tokenizer.prompt(chat)
    ids, _ = self.tokenizer.render_chat([*chat, ('assistant', opening)], continues=True)
    return ids

  def _text(self, tokens: Sequence[int], stop_ids: Sequence[int]) -> str | None:
    """The text of a sampled answer; None if it was cut."""
    if tokens[-1] not in stop_ids:
      return None
    return self.tokenizer.decode(tokens[:-1])

  def prefer(self, chats: Sequence[Messages], pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    """Scores two answers to each chat.

    Args:
      chats: the messages before the answers.
      pairs: two answers to each.

    Returns:
      (chats,) float64: how much likelier the first answer's tokens are on average than those of the
      second, in nats a token. So a longer answer is no worse for its length.
    """
    cells, answered = self._sizes(chats, pairs)
    # A whole handbook may be longer than any row that is trained on.
    times = max(1, -(-int(cells.max()) // self.length))
    length, rows = times * self.length, max(1, self.rows // times)
    logprobs = make_logprobs(self.model, self.params, self.tokenizer, length, rows)
    per_token = np.array(logprobs(chats, pairs)) / np.maximum(answered, 1)
    return per_token[:, 0] - per_token[:, 1]

  def _sizes(
    self, chats: Sequence[Messages], pairs: Sequence[tuple[str, str]]
  ) -> tuple[np.ndarray, np.ndarray]:
    """The cells of each chat with each of its answers, and the tokens of the answer alone.

    The tokens are those that are scored. By itself, an answer may have others: templates strip the
    white space around it, and tokenizers begin a text otherwise than they go on.

    Returns:
      (chats, 2) int64 each.
    """
    cells = np.zeros((len(chats), 2), np.int64)
    answered = np.zeros((len(chats), 2), np.int64)
    for n, (chat, pair) in enumerate(zip(chats, pairs, strict=True)):
      for side, text in enumerate(pair):
        ids, weights = self.tokenizer.render_chat([*chat, ('assistant', text)], continues=True)
        # The last token is only a target.
        cells[n, side] = len(ids) - 1
        answered[n, side] = len(ids) - 1 - np.flatnonzero(weights == 0)[-1]
    return cells, answered

  def can_learn(self, record: Record) -> bool:
    """Whether a record can be rendered. Some templates leave out thoughts, a part of an answer."""
    try:
      self.tokenizer.render_texts(record)
    except DataError:
      return False
    return True


# --------------------------------------------------------------------------------------------------
# Writing
# --------------------------------------------------------------------------------------------------


def write_records(
  name: str,
  source: SourceConfig,
  view: HandbookContext,
  asked: Sequence[Record],
  writer: Writer,
  partial: Path,
  stop: Callable[[], bool],
) -> list[Record]:
  """Writes the records of a source, from wherever an earlier run stopped.

  Args:
    name: the name of the source.
    source: its recipe.
    view: what the model reads of the handbook.
    asked: the records whose prompts are answered.
    writer: the model.
    partial: the file in which finished chunks are kept until all are there.
    stop: whether somebody wants the run to stop.

  Returns:
    The records, at most `source.size` of them if that is given.

  Raises:
    WritingError: the prompts do not suit the maker, or no answer can be used.
    Interrupted: `stop()` returned True; what was written is kept.
  """
  _check_asked(name, source, asked)
  asked = [record for record in asked if _is_for_assistant(record, view)]
  if not asked:
    raise WritingError(
      f'sources.{name}: no prompt of {source.prompts!r} is for the assistant of {source.spec}; '
      f'give chats whose system message names it, or chats without a system message'
    )
  write_chunk = _WRITERS[source.maker]
  chunks: list[list[str]] = []
  if multihost.is_first():
    chunks = _read_chunks(partial)
  chunks = multihost.broadcast_from_first(chunks)
  refused = 0
  for start in range(len(chunks) * CHUNK, len(asked), CHUNK):
    if source.size and sum(map(len, chunks)) >= source.size:
      break
    if multihost.any_process(stop()):
      raise Interrupted(f'{name}: {start} of {len(asked)} prompts are answered and kept')
    numbers = range(start, min(start + CHUNK, len(asked)))
    written = list(write_chunk(source, view, [asked[n] for n in numbers], numbers, writer))
    usable = [record for record in written if writer.can_learn(record)]
    refused += len(written) - len(usable)
    chunks.append([to_json(record) for record in usable])
    if multihost.is_first():
      with partial.open('a', encoding='utf-8') as f:
        f.write(checked_line({'records': chunks[-1]}))
  lines = list(itertools.chain.from_iterable(chunks))
  records = [from_row(json.loads(line), name) for line in lines]
  if not records:
    raise _no_usable_answer(name, source, asked, refused)
  if source.size:
    records = records[: source.size]
  _say_written(name, source, asked, records)
  return records


def _no_usable_answer(
  name: str, source: SourceConfig, asked: Sequence[Record], refused: int
) -> WritingError:
  """The error of a model whose answers are all of no use; `refused` of them cannot be rendered."""
  remedy = f'raise max_tokens (now {source.max_tokens}) or attempts, or name another model'
  if any(rejected_of(record) for record in asked):
    remedy += (
      f'. An answer to a pair must choose one of its two sides; if {source.prompts!r} asks for '
      f'free text, give its prompts as chats'
    )
  if refused:
    remedy += (
      f'. The chat template leaves out a part of {refused} answers, such as their thoughts; '
      f'mend chat_template.jinja'
    )
  return WritingError(
    f'sources.{name}: the model {source.by!r} gave no usable answer to {len(asked)} prompts; '
    f'{remedy}'
  )


def _say_written(
  name: str, source: SourceConfig, asked: Sequence[Record], records: Sequence[Record]
) -> None:
  """Says how many records a model has written, and what should be known about them."""
  text = f'{source.by!r} wrote {len(records):,} records to {len(asked):,} prompts'
  if source.maker == 'model.labels':
    # Labels at 0.5 say nothing: whatever is learned from them is not what they were made for.
    text += f', of which {agreement(records, asked):.2f} choose as {source.prompts!r} does'
  elif earlier := sum(map(_has_earlier_answer, records)):
    # They are as the source has them, and nobody has revised them.
    text += f'; {earlier:,} have earlier answers of the assistant, which are learned too'
  say(f'data       {name}: {text}')


def _has_earlier_answer(record: Record) -> bool:
  """Whether the assistant has spoken before the answer that was written."""
  return any(role == 'assistant' for role, _ in prompt_of(record))


def agreement(labels: Sequence[Record], source: Sequence[Record]) -> float:
  """The share of labels that choose the answer that is chosen in their source.

  Args:
    labels: pairs that a model has labelled.
    source: the pairs before, in the same order; there may be more of them.

  Returns:
    A share; 0.5 is what chance gives.
  """
  same = 0
  for label, record in zip(labels, source, strict=False):
    same += chosen_of(label) == chosen_of(record)
  return same / len(labels)


def _check_asked(name: str, source: SourceConfig, asked: Sequence[Record]) -> None:
  """Raises WritingError unless the prompts are of a kind that the maker can answer."""
  for record in asked:
    is_pair = isinstance(record, PreferencePair)
    if source.maker == 'model.labels' and not is_pair:
      raise WritingError(
        f'sources.{name}: model.labels compares two answers, and prompts={source.prompts!r} has '
        f'none; name a source of preferences'
      )
    if not is_pair and not isinstance(record, Chat):
      raise WritingError(
        f'sources.{name}: prompts={source.prompts!r} has documents, which ask nothing; name a '
        f'source of chats or preferences'
      )


def _is_for_assistant(record: Record, view: HandbookContext) -> bool:
  """Whether the handbook comes into view when a record's prompt is answered."""
  prompt = prompt_of(record)
  return bool(prompt) and prompt[-1][0] == 'user' and view.messages(prompt) != prompt


def _read_chunks(partial: Path) -> list[list[str]]:
  """The chunks that an earlier run finished, up to a line that is unfinished or was changed."""
  chunks: list[list[str]] = []
  if not partial.exists():
    return chunks
  whole = ''
  # `splitlines` would also break a line at characters that a record may hold.
  for line in partial.read_text(encoding='utf-8', errors='replace').split('\n'):
    row = read_checked_line(line)
    if row is None:
      break
    chunks.append(row['records'])
    whole += line + '\n'
  # A kill at this moment must cost none of the chunks: sampling them may have taken hours.
  write_atomically(partial, whole.encode())
  return chunks


def _chats_in_view(
  source: SourceConfig, view: HandbookContext, chats: Sequence[Messages]
) -> list[Messages]:
  """The chats with the handbook, and the recipe's instruction, in their system messages."""
  in_view = []
  for chat in chats:
    messages = view.messages(chat)
    if source.instruction:
      role, content = messages[0]
      if role == 'system':
        messages = (('system', f'{content} {source.instruction}'), *messages[1:])
      else:
        messages = (('system', source.instruction), *messages)
    in_view.append(messages)
  return in_view


# ---- Labels


def _write_labels(
  source: SourceConfig,
  view: HandbookContext,
  asked: Sequence[Record],
  numbers: Sequence[int],
  writer: Writer,
) -> Iterator[Record]:
  """Labels pairs: the chosen side is the one that the model finds likelier, in both orders."""
  del numbers
  chats, pairs, owners = [], [], []
  for n, record in enumerate(asked):
    sides = (chosen_of(record), rejected_of(record))
    for prompt in in_both_orders(prompt_of(record), *sides):
      chats.append(prompt)
      pairs.append(sides)
      owners.append(n)
  differences = writer.prefer(_chats_in_view(source, view, chats), pairs)
  for n, record in enumerate(asked):
    of_record = differences[np.array(owners) == n]
    first, second = chosen_of(record), rejected_of(record)
    if of_record.mean() < 0:
      first, second = second, first
    yield PreferencePair(
      record.id,
      prompt_of(record),
      (('assistant', first),),
      (('assistant', second),),
      domain=record.domain,
      provenance=f'{source.maker} by {source.by}',
    )


# ---- Answers


def _write_revisions(
  source: SourceConfig,
  view: HandbookContext,
  asked: Sequence[Record],
  numbers: Sequence[int],
  writer: Writer,
) -> Iterator[Record]:
  """Revises answers: the model answers again, or criticises and rewrites what it said."""
  prompts = [prompt_of(record) for record in asked]
  chats = _chats_in_view(source, view, prompts)
  nothing = [''] * len(chats)
  if source.revise == 'critique':
    wanted = prompt_files.fill(CRITIQUE)
    # The first answer is given without the handbook, as the model would answer by itself.
    first = writer.sample(prompts, nothing, source, numbers, 1, part=1)
    chats = _followed_by(chats, first, wanted.system)
    critiques = writer.sample(chats, nothing, source, numbers, 1, part=2)
    chats = _followed_by(chats, critiques, wanted.user)
  answers = writer.sample(chats, nothing, source, numbers, source.attempts)
  for record, prompt, texts in zip(asked, prompts, answers, strict=True):
    text = first_usable(texts, record)
    if text is not None:
      yield _chat(source, record, prompt, text)


def _followed_by(
  chats: Sequence[Messages], answers: Sequence[Sequence[str | None]], asking: str
) -> list[Messages]:
  """The chats with the first answer to each and what is asked next."""
  longer: list[Messages] = []
  for chat, (text, *_) in zip(chats, answers, strict=True):
    # An answer that was cut is gone; the next one then has nothing to go on.
    longer.append((*chat, ('assistant', text or '...'), ('user', asking)))
  return longer


def _write_reasoned(
  source: SourceConfig,
  view: HandbookContext,
  asked: Sequence[Record],
  numbers: Sequence[int],
  writer: Writer,
) -> Iterator[Record]:
  """Writes answers that give a reason first and then choose."""
  prompts = [prompt_of(record) for record in asked]
  openings = []
  for prompt in prompts:
    openings.append(source.opening.replace('{statement}', _statement_for(prompt, view)))
  chats: Sequence[Messages] = prompts
  begun = [''] * len(prompts)
  if source.answers_in_view:
    chats, begun = _chats_in_view(source, view, prompts), openings
  answers = writer.sample(chats, begun, source, numbers, source.attempts)
  for record, prompt, opening, texts in zip(asked, prompts, openings, answers, strict=True):
    text = first_usable(texts, record)
    if text is not None:
      yield _chat(source, record, prompt, _continued(opening, text.strip()))


def _continued(opening: str, text: str) -> str:
  """An opening and the answer behind it, with a space between them if the opening ends in none."""
  if not opening or opening[-1].isspace():
    return opening + text
  return f'{opening} {text}'


def _statement_for(prompt: Messages, view: HandbookContext) -> str:
  """What the handbook's view adds to the system message of a prompt."""
  role, content = prompt[0]
  system = content if role == 'system' else ''
  ((_, in_view),) = view.messages((('system', system),))
  # The view has stripped the whole message.
  return in_view.removeprefix(system.strip()).strip()


def _chat(source: SourceConfig, record: Record, prompt: Messages, text: str) -> Chat:
  """The chat that is trained on: the prompt without the handbook, and the answer."""
  return Chat(
    record.id,
    (*prompt, ('assistant', text.strip())),
    domain=record.domain,
    provenance=f'{source.maker} by {source.by}',
  )


_WRITERS = {
  'model.labels': _write_labels,
  'model.revisions': _write_revisions,
  'model.reasoned': _write_reasoned,
}
