"""A judge reads sampled answers: how far one meets its rubric, which of two has more of it, and
which option an answer takes.

Every question is put to the judge twice, with what it chooses from in both orders. A verdict counts
if both are the same; two different ones are a contradiction and are counted as such. What a program
can tell it tells, too, so that judge and program can be compared.

The judge is any model that Inspect knows. It is asked as writers of corpora are
(`data_pipelines/llm`): every reply is in a ledger before it is used, a budget cannot be exceeded,
and a killed run goes on where it ended. What is shown decides the key of a request, so equal
answers of two arms are judged once, and a model that was trained anew gets new verdicts.
"""

import collections
import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pydantic

from data_pipelines.handbooks.text import fenced
from data_pipelines.llm import prompts
from data_pipelines.llm.client import LlmClient
from data_pipelines.llm.costs import Estimate, guess_tokens
from data_pipelines.llm.ledger import Ledger
from data_pipelines.llm.prompts import Prompt
from data_pipelines.llm.providers import Provider
from data_pipelines.llm.replies import Refused, Reply, require_object
from data_pipelines.llm.requests import Request, RequestFailed
from data_pipelines.llm.settings import ModelSettings
from msm_jax.base.errors import ConfigError
from msm_jax.evals.answers import BOTH, NEITHER, OPEN, RIGHT, WRONG, Answer

# The kinds of questions to a judge, with their prompts.
LEVEL, PAIR, OPTION = 'level', 'pair', 'option'
PROMPTS = {LEVEL: 'judge_level', PAIR: 'judge_pair', OPTION: 'judge_option'}
# The levels of an answer: (name, what it means), lowest first; and what they count.
LEVELS = (
  ('absent', 'it has nothing of what the rubric looks for, or says the contrary'),
  ('partial', 'it has some of it, or has it with reservations'),
  ('full', 'it has all of it, clearly'),
)
LEVEL_SCORES = {'absent': 0.0, 'partial': 0.5, 'full': 1.0}
# Verdicts on a pair.
FIRST, SECOND, EQUAL = 'first', 'second', 'equal'
PAIR_SCORES = {FIRST: 1.0, EQUAL: 0.5, SECOND: 0.0}
# What stands in the place of a verdict: the two orders gave different ones; the judge gave none in
# all its attempts, as when it refuses; the provider failed.
CONTRADICTED, UNUSABLE, FAILED = 'contradicted', 'unusable', 'failed'
NO_VERDICT = (CONTRADICTED, UNUSABLE, FAILED)

FORWARD, BACKWARD = 'forward', 'backward'
# Tokens of a verdict with its reason.
MAX_TOKENS = 300
# A name of a model that asks nobody: programs alone judge.
PROGRAM = 'program'

# Settings of a model that change how fast replies come and not what they say.
_WITHOUT_EFFECT = ('base_url', 'max_connections', 'batch', 'timeout', 'attempts')


@dataclasses.dataclass(frozen=True)
class JudgeConfig:
  """How a judge is asked. `LlmClient` reads it as it reads the config of a corpus."""

  # The model. `judge.attempts` replies without a verdict are borne before an answer counts as
  # unusable.
  judge: ModelSettings
  # USD that all replies in the folder may cost; 0 for no limit.
  budget: float = 0.0
  # The path of the table of prices.
  prices: str = 'configs/corpora/prices.json'
  # The seed of what is drawn, and of the calls.
  seed: int = 0
  # The run stops if a smaller share of the first replies can be used.
  min_yield: float = 0.5

  @property
  def writer(self) -> ModelSettings:
    """Nothing is written; the judge stands in the writer's place, too."""
    return self.judge

  @property
  def judging(self) -> ModelSettings:
    return self.judge


@dataclasses.dataclass(frozen=True)
class Unit:
  """One thing to be judged.

  Attributes:
    kind: LEVEL, PAIR or OPTION.
    answers: the answer, or the two answers of a pair.
  """

  kind: str
  answers: tuple[Answer, ...]

  @property
  def arm(self) -> str:
    """The arm, or 'first > second' of a pair."""
    return ' > '.join(answer.arm for answer in self.answers)

  @functools.cached_property
  def id(self) -> str:
    """Identifies the unit among those of a workdir."""
    place = [self.kind, [answer.arm for answer in self.answers], *self.answers[0].place]
    return _digest(place, 12)

  @functools.cached_property
  def key(self) -> str:
    """Identifies what a judge is shown. Units with the same key are judged once."""
    first = self.answers[0]
    shown = [_asked(first), [answer.text for answer in self.answers]]
    shown += [first.rubric, first.reference, list(first.options)]
    return f'{self.kind}/{_digest(shown, 20)}'


def _digest(value: object, digits: int) -> str:
  return hashlib.sha256(json.dumps(value, ensure_ascii=True).encode()).hexdigest()[:digits]


def _asked(answer: Answer) -> str:
  """What the user asked. The system message is left out: it may hold the handbook of one arm, and
  the judge should not know which arm it reads."""
  return answer.messages[-1][1]


@dataclasses.dataclass(frozen=True)
class Verdict:
  """What a judge said in one order.

  Attributes:
    label: a level, an end of a pair, an option, or UNUSABLE.
    reason: why, in its own words.
  """

  label: str
  reason: str


# ------------------------------------------------------------------------------ what is judged


def units_of(
  answers: Sequence[Answer],
  arms: Sequence[str],
  pairs: Sequence[tuple[str, str]],
  options: int,
  seed: int,
) -> list[Unit]:
  """Lists what is to be judged.

  Args:
    answers: all sampled answers.
    arms: the arms whose answers are judged.
    pairs: pairs of arms whose answers are compared.
    options: of the answers to questions with options, so many are read by the judge, drawn evenly
      from every arm and from what a program found in them: they show how far judge and program
      agree.
    seed: of that draw.

  Returns:
    Levels of open answers, pairs of open answers to the same prompt, and options.
  """
  wanted = [answer for answer in answers if answer.arm in arms]
  opened = [answer for answer in wanted if answer.kind == OPEN]
  units = [Unit(LEVEL, (answer,)) for answer in opened]
  by_place: dict[tuple[str, tuple[Any, ...]], Answer] = {}
  for answer in opened:
    by_place[answer.arm, answer.place] = answer
  for first, second in pairs:
    for (arm, place), answer in by_place.items():
      other = by_place.get((second, place))
      if arm == first and other is not None:
        units.append(Unit(PAIR, (answer, other)))
  with_options = [Unit(OPTION, (answer,)) for answer in wanted if answer.options]
  strata = [(unit.arm, _kind_of_outcome(unit.answers[0])) for unit in with_options]
  ids = [unit.id for unit in with_options]
  return units + [with_options[n] for n in draw_evenly(ids, strata, options, seed)]


def _kind_of_outcome(answer: Answer) -> str:
  return 'one' if isinstance(answer.outcome, int) else str(answer.outcome)


def draw_evenly(
  ids: Sequence[str], strata: Sequence[tuple[str, ...]], count: int, seed: int
) -> list[int]:
  """Draws a random sample that has as many of each stratum as there are.

  Args:
    ids: the identity of each thing; with the seed it decides what is drawn.
    strata: the stratum of each thing.
    count: how many are drawn, or all if there are fewer.
    seed: of the draw.

  Returns:
    The numbers of the things, in their order. The strata take turns, so that the rare ones are
    drawn in full before the common ones get more than their share.
  """
  members: dict[tuple[str, ...], list[int]] = {}
  for n, stratum in enumerate(strata):
    members.setdefault(stratum, []).append(n)
  queues = []
  for stratum in sorted(members):
    drawn = sorted(members[stratum], key=lambda n: _digest([seed, ids[n]], 64))
    queues.append(collections.deque(drawn))
  out: list[int] = []
  while len(out) < count and any(queues):
    for queue in queues:
      if queue and len(out) < count:
        out.append(queue.popleft())
  return sorted(out)


def settled(unit: Unit) -> str | None:
  """A verdict that needs no judge: on an answer without text, and on two equal ones."""
  texts = [answer.text.strip() for answer in unit.answers]
  if unit.kind == PAIR:
    return EQUAL if texts[0] == texts[1] else None
  if texts[0]:
    return None
  return LEVELS[0][0] if unit.kind == LEVEL else NEITHER


def by_program(unit: Unit) -> str | None:
  """What a program can tell.

  Args:
    unit: what is judged.

  Returns:
    Of options, the number of the option (as text), NEITHER or BOTH; of a level, its highest for a
    right answer and its lowest for a wrong one; of a pair, the right one of a right and a wrong
    answer. None where a program cannot tell.
  """
  outcomes = [answer.outcome for answer in unit.answers]
  if unit.kind == OPTION:
    return str(outcomes[0])
  if unit.kind == LEVEL:
    return {RIGHT: LEVELS[-1][0], WRONG: LEVELS[0][0], None: None}.get(outcomes[0])  # type: ignore[arg-type]
  if outcomes == [RIGHT, WRONG]:
    return FIRST
  if outcomes == [WRONG, RIGHT]:
    return SECOND
  return None


# ------------------------------------------------------------------------------ requests


class _Said(pydantic.BaseModel):
  """The JSON object of a verdict."""

  verdict: str | int
  reason: str = ''


def _labels(unit: Unit, direction: str) -> dict[str, str]:
  """What the judge may say -> what it means, in one order of what it chooses from."""
  if unit.kind == LEVEL:
    return {name: name for name, _ in LEVELS}
  if unit.kind == PAIR:
    ends = {'a': FIRST, 'b': SECOND}
    if direction == BACKWARD:
      ends = {'a': SECOND, 'b': FIRST}
    # Judges also write "answer A", and "tie" for "equal".
    named = {f'answer {letter}': end for letter, end in ends.items()}
    return {**ends, **named, EQUAL: EQUAL, 'tie': EQUAL}
  numbers = _option_order(unit, direction)
  labels = {str(n): str(option) for n, option in enumerate(numbers, 1)}
  return {**labels, NEITHER: NEITHER, BOTH: BOTH}


def _option_order(unit: Unit, direction: str) -> list[int]:
  """The numbers of the options in the order in which the judge sees them."""
  numbers = list(range(len(unit.answers[0].options)))
  return numbers if direction == FORWARD else numbers[::-1]


def _prompt(unit: Unit, direction: str) -> Prompt:
  """What the judge is shown, in one order of what it chooses from."""
  first = unit.answers[0]
  conversation = fenced(_asked(first))
  if unit.kind == PAIR:
    texts = [answer.text for answer in unit.answers]
    if direction == BACKWARD:
      texts.reverse()
    return prompts.fill(
      PROMPTS[PAIR],
      conversation=conversation,
      first=fenced(texts[0]),
      second=fenced(texts[1]),
      rubric=fenced(first.rubric),
    )
  if unit.kind == LEVEL:
    levels = LEVELS if direction == FORWARD else LEVELS[::-1]
    reference = ''
    if first.reference:
      reference = f'\nAn answer that meets it in full:\n\n{fenced(first.reference)}\n'
    return prompts.fill(
      PROMPTS[LEVEL],
      conversation=conversation,
      answer=fenced(first.text),
      rubric=fenced(first.rubric),
      reference=reference,
      levels='\n'.join(f'- "{name}": {meaning}' for name, meaning in levels),
      names=' or '.join(name for name, _ in levels),
    )
  order = _option_order(unit, direction)
  return prompts.fill(
    PROMPTS[OPTION],
    conversation=conversation,
    answer=fenced(first.text),
    options='\n'.join(f'{n}. {first.options[option]}' for n, option in enumerate(order, 1)),
  )


def read_verdict(replies: Sequence[Reply], labels: Mapping[str, str], attempts: int) -> Verdict:
  """Reads what a judge said.

  Args:
    replies: all replies to the request so far.
    labels: what the judge may say -> what it means.
    attempts: the replies without a verdict that are borne. A judge that refuses would otherwise be
      asked again in every run.

  Returns:
    The verdict; UNUSABLE, with the reason, after so many replies without one.

  Raises:
    Refused: the last reply has no verdict, and there is an attempt left.
  """
  try:
    said = require_object(replies, _Said)
    label = labels.get(str(said.verdict).strip().strip('.').casefold())
    if label is None:
      raise Refused(
        'no such verdict',
        f'Your verdict {str(said.verdict)[:40]!r} is none of those that were asked for. Reply with '
        'the JSON object again; its verdict is one of: ' + ', '.join(labels),
      )
    return Verdict(label, ' '.join(said.reason.split())[:500])
  except Refused as e:
    # What the provider could not deliver was not paid for, and may come another time.
    heard = sum(reply.stop != 'failed' for reply in replies)
    if heard >= attempts and replies[-1].stop != 'failed':
      return Verdict(UNUSABLE, e.what)
    raise


def requests_of(units: Sequence[Unit], attempts: int) -> Iterator[Request[Verdict]]:
  """What is asked about units: each of them in both orders, and nothing twice.

  Args:
    units: what is judged.
    attempts: see `read_verdict`.

  Yields:
    The requests.
  """
  seen: set[str] = set()
  for unit in units:
    if unit.key in seen or settled(unit) is not None:
      continue
    seen.add(unit.key)
    for direction in (FORWARD, BACKWARD):
      labels = _labels(unit, direction)
      yield Request(
        key=f'{unit.key}/{direction}',
        stage=f'{unit.kind}s',
        prompt=_prompt(unit, direction),
        parse=functools.partial(read_verdict, labels=labels, attempts=attempts),
        max_tokens=MAX_TOKENS,
        model='judge',
      )


def identity(config: JudgeConfig) -> dict[str, Any]:
  """Lists what the verdicts in a folder depend on, beside what is judged."""
  model = dataclasses.asdict(config.judge)
  for name in _WITHOUT_EFFECT:
    del model[name]
  return {
    'judge': model,
    'prompts': prompts.versions(PROMPTS.values()),
    'levels': [list(level) for level in LEVELS],
    'seed': config.seed,
  }


def estimates(units: Sequence[Unit], config: JudgeConfig) -> list[Estimate]:
  """What judging will ask for, for `costs.estimate_table`; nothing is asked."""
  by_stage: dict[str, list[int]] = {}
  for request in requests_of(units, config.judge.attempts):
    tokens = guess_tokens(request.prompt.system) + guess_tokens(request.prompt.user)
    by_stage.setdefault(request.stage, []).append(tokens)
  out = []
  for stage, tokens_in in by_stage.items():
    mean = math.ceil(sum(tokens_in) / len(tokens_in))
    # A verdict has one short sentence.
    written = 40 + config.judge.reasoning_tokens
    batch = bool(config.judge.batch)
    out.append(Estimate(stage, config.judge.model, len(tokens_in), mean, written, batch))
  return out


async def ask(
  units: Sequence[Unit],
  config: JudgeConfig,
  ledger: Ledger,
  providers: Mapping[str, Provider] | None = None,
  stop: Callable[[], bool] = lambda: False,
) -> tuple[dict[str, Verdict], float, bool]:
  """Asks a judge about units, in both orders each.

  Args:
    units: what is judged.
    config: how the judge is asked.
    ledger: where replies are kept; what it holds is not asked again.
    providers: takes the place of Inspect, for 'judge'; for tests.
    stop: is asked between calls whether the run should end.

  Returns:
    Verdicts by the key of the request, without those that the provider failed on; the USD that all
    replies in the folder cost; and whether some of them have no price.

  Raises:
    LlmError: the run has to stop; the same call again continues.
  """
  verdicts: dict[str, Verdict] = {}
  async with LlmClient(config, ledger, providers, stop) as client:
    for kind in (LEVEL, PAIR, OPTION):
      requests = list(requests_of([u for u in units if u.kind == kind], config.judge.attempts))
      if not requests:
        continue
      async for request, value in client.ask_all(requests, f'{kind}s', len(requests)):
        if not isinstance(value, RequestFailed):
          verdicts[request.key] = value
    return verdicts, client.spent, bool(client.unpriced)


def combine(unit: Unit, verdicts: Mapping[str, Verdict]) -> tuple[str, list[Verdict | None]]:
  """Makes one verdict of those in the two orders.

  Args:
    unit: what was judged.
    verdicts: see `ask`.

  Returns:
    The verdict, CONTRADICTED, UNUSABLE or FAILED; and what was said in each order, None if the
    provider failed.
  """
  said = [verdicts.get(f'{unit.key}/{direction}') for direction in (FORWARD, BACKWARD)]
  labels = []
  for verdict in said:
    if verdict is None:
      return FAILED, said
    labels.append(verdict.label)
  if UNUSABLE in labels:
    return UNUSABLE, said
  if labels[0] != labels[1]:
    return CONTRADICTED, said
  return labels[0], said


def model_settings(model: str, **settings: Any) -> ModelSettings:
  """The settings of a judge. Raises ConfigError for a name that is none.

  A judge should say the same every time, so its temperature is 0 unless something else is given.
  """
  if not model:
    raise ConfigError(
      f'give --model=PROVIDER/NAME, a model as Inspect names it, or --model={PROGRAM} to let '
      'programs alone judge'
    )
  return ModelSettings(**{'model': model, 'temperature': 0.0, **settings})
