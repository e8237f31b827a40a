"""A judge that knows the truth, and errs where it is told to; and answers for it to read.

What it says depends on the texts alone, so a repeated run meets the same verdicts. Some texts make
it refuse for ever, some make it follow the order in which things stand.
"""

import hashlib
import json
import re
from collections.abc import Sequence

from scripted_writer import Turns

from data_pipelines.llm.providers import BilledReply
from data_pipelines.llm.replies import Reply
from msm_jax.evals.answers import OPEN, SampledAnswer, named_option, program_verdict

RUBRIC = 'It says that low prices matter.'
WORDS = {'absent': 'Prices are all the same to me.', 'partial': 'Low prices matter a bit.'}
WORDS['full'] = 'Low prices matter most.'
ACCEPT = ('matter most',)
LEVELS = ('absent', 'partial', 'full')
OPTIONS = ('Colby', 'Gouda')


def number(text: str) -> int:
  """A number that depends on a text alone."""
  return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)


def refuses(*texts: str) -> bool:
  """Whether the judge never gives a verdict on these texts."""
  return number('refuse' + ''.join(sorted(texts))) % 23 == 0


def follows_the_order(*texts: str) -> bool:
  """Whether the judge takes what stands first."""
  return number('order' + ''.join(sorted(texts))) % 11 == 0


def true_level(text: str) -> str:
  return next(name for name in LEVELS if WORDS[name] in text)


def open_answer(arm: str, n: int, level: str, seed: int = 0) -> SampledAnswer:
  """The answer of an arm to the n-th open question, of a level."""
  text = f'{WORDS[level]} I am asked for the {n}th time by {arm}.'
  return SampledAnswer(
    arm=arm,
    seed=seed,
    item=f'Ari/open{n}',
    kind=OPEN,
    tier='new_items' if n % 2 else 'new_domains',
    cluster=f'domain{n % 5}',
    assistant='Ari',
    order=0,
    sample=0,
    messages=(('system', 'You are Ari.'), ('user', f'What matters in shop {n}?')),
    text=text,
    finish='stop',
    outcome=program_verdict(text, ACCEPT, ()),
    rubric=RUBRIC,
  )


def choice_answer(arm: str, n: int, text: str) -> SampledAnswer:
  """The answer of an arm to the n-th question with options."""
  return SampledAnswer(
    arm=arm,
    seed=0,
    item=f'Ari/choice{n}',
    kind='preferences',
    tier='new_items',
    cluster='cheese',
    assistant='Ari',
    order=0,
    sample=0,
    messages=(('user', f'{n}: Colby or Gouda?'),),
    text=text,
    finish='stop',
    options=OPTIONS,
    answers=OPTIONS,
    outcome=named_option(text, OPTIONS),
  )


def some_answers(count: int) -> list[SampledAnswer]:
  """Answers of the arms `base` and `tuned` to `count` open questions and as many with options."""
  out = []
  for n in range(count):
    out.append(open_answer('base', n, LEVELS[number(f'base{n}') % 3]))
    # The second arm is better.
    out.append(open_answer('tuned', n, LEVELS[min(2, 1 + number(f'tuned{n}') % 3)]))
    for arm in ('base', 'tuned'):
      said = ('Colby, I think.', 'Gouda!', 'Colby or Gouda, who knows?', 'No idea.')
      out.append(choice_answer(arm, n, f'{said[number(arm + str(n)) % 4]} ({n})'))
  return out


def _fenced(prompt: str) -> list[str]:
  return [m[1] for m in re.findall(r'^(`{3,})\n(.*?)\n\1$', prompt, re.S | re.M)]


def reply(system: str, turns: Turns, seed: int = 0) -> str:
  """What the judge says; it is put together from the texts between the fences."""
  prompt = turns[0][1]
  task = prompt.partition('\n')[0]
  texts = _fenced(prompt)
  if task == 'Task: comparison of two answers':
    judged = texts[1:3]
    levels = [LEVELS.index(true_level(text)) for text in judged]
    verdict = 'equal'
    if levels[0] != levels[1]:
      verdict = 'A' if levels[0] > levels[1] else 'B'
    first = 'A'
  elif task == 'Task: level of an answer':
    judged = texts[1:2]
    verdict = true_level(judged[0])
    first = re.findall(r'^- "(\w+)"', prompt, re.M)[0]
  else:
    judged = texts[1:2]
    listed = re.findall(r'^\d\. (.+)$', prompt, re.M)
    found = named_option(judged[0], listed)
    verdict = str(found + 1) if isinstance(found, int) else found
    first = '1'
  if refuses(*judged):
    return "I'm sorry, but I can't judge that."
  if follows_the_order(*judged):
    verdict = first
  return 'Let me see. ' + json.dumps({'reason': 'as it stands there', 'verdict': verdict})


class ScriptedJudge:
  """The judge in place of a provider.

  Attributes:
    calls: how many calls were answered.
    failing: calls whose prompt has one of these texts never come through.
    hiccups: every so many calls, one fails once; 0 for none.
  """

  def __init__(self, failing: Sequence[str] = (), hiccups: int = 0):
    self.failing = failing
    self.hiccups = hiccups
    self.calls = 0
    self._tries = 0

  async def generate(self, system: str, turns: Turns, max_tokens: int, seed: int) -> BilledReply:
    """Answers one call, or fails.

    Args:
      system: the system prompt.
      turns: (role, text), user first.
      max_tokens: is not kept to.
      seed: of the call.

    Returns:
      The reply, with token counts that are the same in every run.

    Raises:
      ConnectionError: the call fails.
    """
    self._tries += 1
    if any(text in turns[0][1] for text in self.failing):
      raise ConnectionError('it never comes through')
    if self.hiccups and self._tries % self.hiccups == 0:
      raise ConnectionError('this time it does not come through')
    self.calls += 1
    return BilledReply(Reply(reply(system, turns, seed)), 100, 20)


class Refusing:
  """A judge that never gives a verdict.

  Attributes:
    calls: how often it was asked.
  """

  def __init__(self) -> None:
    self.calls = 0

  async def generate(self, system: str, turns: Turns, max_tokens: int, seed: int) -> BilledReply:
    """Answers without a verdict; see `Provider.generate`."""
    self.calls += 1
    return BilledReply(Reply("I can't judge that."), 100, 20)
