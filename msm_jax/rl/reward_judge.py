"""A language model as the reward of answers, asked through Inspect.

Each answer is judged once: its score is written to a file of the phase as soon as it is there, so a
run that resumes pays for no answer twice and gets the scores that it had.
"""

import asyncio
import hashlib
import os
import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from data_pipelines.llm import prompts
from data_pipelines.llm.providers import InspectProvider, Provider
from data_pipelines.llm.replies import without_thinking
from data_pipelines.llm.requests import call_seed
from data_pipelines.llm.settings import ModelSettings
from data_pipelines.records import Record
from msm_jax.base.errors import UserError
from msm_jax.base.files import checked_line, read_checked_line
from msm_jax.rl.answers import chosen_of, prompt_of

T = TypeVar('T')

# The name of the prompt file.
PROMPT = 'reward_judge'
# Replies that may have no score in them before the run stops.
ATTEMPTS = 3
# The most tokens of a reply.
MAX_TOKENS = 512
# Scores go from 0 to this; rewards go from 0 to 1.
BEST = 10
_SCORE = re.compile(
  r"""
  score \s*
  (?: \( [^)]* \) )?      # brackets: the score of 'Score (0-10): 7' is not 0
  (?: (?! -\d ) \W )*?    # any marks but a minus: 'Score: -3' has no score
  ( \d+ (?: \. \d+ )? )
  # No range follows, as in 'score 0 to 10'. A dash in the next line begins a list.
  (?! [\d.]* [ \t]* (?: [-–] | to ) \s* \d )
  """,
  re.IGNORECASE | re.VERBOSE,
)


class JudgeError(UserError, RuntimeError):
  """A judge that gives no scores. The message is one line with cause and remedy."""


class Judge:
  """Scores answers by asking a model that Inspect knows.

  Args:
    model: the model, as Inspect names it.
    handbook: the text that the answers are judged by; '' compares them with the chosen answers.
    kept: the file in which scores are kept, one a line.
  """

  def __init__(self, model: str, handbook: str, kept: Path) -> None:
    self.model = model
    self.handbook = handbook
    self.kept = kept
    self._provider: Provider | None = None
    # The key of a request -> its score.
    self._scores: dict[str, float] = {}
    if kept.exists():
      for line in kept.read_text(encoding='utf-8', errors='replace').splitlines():
        # A line that a killed run left unfinished, or that was changed, is passed over.
        row = read_checked_line(line)
        if row is not None:
          self._scores[row['key']] = row['score']

  def __call__(self, records: Sequence[Record], answers: Sequence[str]) -> list[float]:
    """Scores answers.

    Args:
      records: for each answer, the record with its prompt.
      answers: their texts.

    Returns:
      A reward from 0 to 1 for each.

    Raises:
      JudgeError: the model cannot be asked, or gives no score. The scores that it gave are kept.
    """
    requests = [self._request(*pair) for pair in zip(records, answers, strict=True)]
    keys = [_key(self.model, prompt) for prompt in requests]
    missing = {}
    for key, prompt in zip(keys, requests, strict=True):
      if key not in self._scores:
        missing[key] = prompt
    if missing:
      _run_in_thread(lambda: asyncio.run(self._ask_all(missing)))
    return [self._scores[key] / BEST for key in keys]

  def _request(self, record: Record, answer: str) -> prompts.Prompt:
    """The prompt that asks for the score of one answer."""
    messages = prompt_of(record)
    conversation = '\n\n'.join(f'{role}: {content}' for role, content in messages)
    standard = f'A good answer says what this one says: {chosen_of(record)}'
    if self.handbook:
      standard = f'A good answer is what this handbook asks for:\n\n{self.handbook}'
    return prompts.fill(PROMPT, standard=standard, conversation=conversation, answer=answer)

  async def _ask_all(self, missing: dict[str, prompts.Prompt]) -> None:
    """Asks for all scores side by side. Raises JudgeError once all calls under way have ended."""
    if self._provider is None:
      try:
        self._provider = InspectProvider(ModelSettings(model=self.model, temperature=0.0))
      except ModuleNotFoundError:
        # The command says which package to install.
        raise
      except Exception as e:
        raise self._error(f'cannot be asked ({_one_line(e)})') from None
    asked = [self._ask(self._provider, key, prompt) for key, prompt in missing.items()]
    # The calls that succeed were paid for, so a failed one does not end them.
    results = await asyncio.gather(*asked, return_exceptions=True)
    for result in results:
      if isinstance(result, JudgeError):
        raise result
      if isinstance(result, BaseException):
        raise self._error(f'failed ({type(result).__name__}: {_one_line(result)})') from None

  async def _ask(self, provider: Provider, key: str, prompt: prompts.Prompt) -> None:
    """Asks for one score and keeps it."""
    said = ''
    for attempt in range(ATTEMPTS):
      seed = call_seed(0, key, attempt)
      billed = await provider.generate(prompt.system, [('user', prompt.user)], MAX_TOKENS, seed)
      said = billed.reply.text
      score = score_in(said, billed.reply.stop)
      if score is not None and score <= BEST:
        self._scores[key] = score
        self._end_last_line()
        with self.kept.open('a', encoding='utf-8') as f:
          f.write(checked_line({'key': key, 'score': self._scores[key]}))
        return
    shown = ' '.join(said.split())[-80:]
    raise self._error(f'gave no score from 0 to {BEST} in {ATTEMPTS} replies ({shown!r})')

  def _end_last_line(self) -> None:
    """Ends a line that a killed run or a full disk left unfinished: the next score would be lost
    with it."""
    if not self.kept.exists() or not self.kept.stat().st_size:
      return
    with self.kept.open('rb+') as f:
      f.seek(-1, os.SEEK_END)
      if f.read(1) != b'\n':
        f.write(b'\n')

  def _error(self, what: str) -> JudgeError:
    return JudgeError(
      f'judge:{self.model} {what}; name another model, give it its key, or run again later: '
      f'everything up to here is kept'
    )


def score_in(reply: str, stop: str = 'stop') -> float | None:
  """Reads the score of a reply.

  Args:
    reply: what the judge said.
    stop: why the reply ended; see `replies.Reply`.

  Returns:
    The last score in the form that is asked for ('Score: 7'), or else the last one that is named;
    None if there is none. What the judge thought before it spoke does not count. A reply that did
    not end by itself lacks its last line, so what it names does not count, and neither does a
    number with which it breaks off.
  """
  text = without_thinking(reply)
  found = list(_SCORE.finditer(text))
  # 'To score 10, it would have to ...' speaks of a score and gives none.
  in_form = [score for score in found if ':' in score[0]]
  if stop != 'stop':
    # 'Score: 1' may be the beginning of 'Score: 10'.
    in_form = [score for score in in_form if score.end() < len(text)]
    found = []
  named = in_form or found
  return float(named[-1][1]) if named else None


def _key(model: str, prompt: prompts.Prompt) -> str:
  """Identifies what is asked."""
  parts = (model, prompt.version, prompt.system, prompt.user)
  return hashlib.sha256('\0'.join(parts).encode()).hexdigest()[:32]


def _one_line(error: BaseException) -> str:
  return ' '.join(str(error).split())[:200]


def _run_in_thread(f: Callable[[], T]) -> T:
  """Runs a function in a thread of its own: in notebooks this thread has an event loop already.

  Whatever the function raises is raised here.
  """
  outcome: list[T] = []
  errors: list[BaseException] = []

  def work() -> None:
    try:
      outcome.append(f())
    except BaseException as e:
      errors.append(e)

  thread = threading.Thread(target=work, name='msm_jax judge')
  thread.start()
  thread.join()
  if errors:
    raise errors[0]
  return outcome[0]
