"""A judge reads sampled answers: how far one meets its rubric, which of two has more of it, and
which option an answer takes.

Every question is put to the judge twice, with what it chooses from in both orders. A verdict counts
if both are the same; two different ones are a contradiction and are counted as such. What a program
can tell it tells, too, so that judge and program can be compared.

The judge is any model that Inspect knows. It is asked as writers of corpora are
(`data_pipelines/llm`): every reply is in a ledger before it is used, a budget cannot be exceeded,
and a killed run goes on where it ended. What is shown decides the key of a request, so equal
answers are judged once, a pair of answers is judged once whichever arm gave which of them, and a
model that was trained anew gets new verdicts.
"""

import collections
import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pydantic

from data_pipelines.handbooks.text import fenced
from data_pipelines.llm import prompts
from data_pipelines.llm.client import REPLIES_BEFORE_YIELD, LlmClient
from data_pipelines.llm.costs import Estimate, guess_tokens
from data_pipelines.llm.ledger import Ledger
from data_pipelines.llm.prompts import Prompt
from data_pipelines.llm.providers import Provider
from data_pipelines.llm.replies import Refused, Reply, require_object
from data_pipelines.llm.requests import LlmError, Request, RequestFailed
from data_pipelines.llm.settings import ModelSettings
from msm_jax.base.checks import NON_NEGATIVE, SHARE, within
from msm_jax.base.errors import ConfigError
from msm_jax.evals.answers import BOTH, NEITHER
from msm_jax.evals.judge_units import (
  CONTRADICTED,
  EQUAL,
  FAILED,
  FIRST,
  LEVEL,
  LEVELS,
  OPTION,
  PAIR,
  SECOND,
  UNUSABLE,
  Unit,
  asked_of,
  settled,
)

# The prompt of each kind of question.
PROMPTS = {LEVEL: 'judge_level', PAIR: 'judge_pair', OPTION: 'judge_option'}

FORWARD, BACKWARD = 'forward', 'backward'
_DIRECTIONS = (FORWARD, BACKWARD)
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
  # The run stops if a smaller share of the replies can be used, or if a smaller share of what some
  # arm said has the same verdict in both orders.
  min_yield: float = 0.5

  def __post_init__(self) -> None:
    # NaN would be a budget that is never used up.
    within('', self, budget=NON_NEGATIVE, min_yield=SHARE, seed=(-math.inf, math.inf))

  @property
  def writer(self) -> ModelSettings:
    """Nothing is written; the judge stands in the writer's place, too."""
    return self.judge

  @property
  def judging(self) -> ModelSettings:
    return self.judge


@dataclasses.dataclass(frozen=True)
class Verdict:
  """What a judge said in one order.

  Attributes:
    label: a level, an end of a pair, an option, or UNUSABLE.
    reason: why, in its own words.
  """

  label: str
  reason: str


# ------------------------------------------------------------------------------ requests


class _Said(pydantic.BaseModel):
  """The JSON object of a verdict."""

  # `true` is no number of an option.
  verdict: str | pydantic.StrictInt
  reason: str = ''


def _labels(unit: Unit, direction: str) -> dict[str, str]:
  """What the judge may say -> what it means, in one order of what it chooses from. Of a pair, the
  ends are those of the answers as they sort, see `Unit.key`."""
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
  conversation = fenced(asked_of(first))
  if unit.kind == PAIR:
    # As they sort: which arm gave which answer must not decide what is asked.
    texts = sorted(answer.text for answer in unit.answers)
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
    for direction in _DIRECTIONS:
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
  """Lists what the verdicts in a folder depend on, beside what is judged.

  Args:
    config: how the judge is asked.

  Returns:
    A dictionary that JSON can hold: the model, the prompts, the levels and the seed.
  """
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
  """Says what judging will ask for. Nothing is asked.

  Args:
    units: what is judged.
    config: how the judge is asked.

  Returns:
    One estimate for each kind of unit, for `costs.estimate_table`.
  """
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
      of_kind = [unit for unit in units if unit.kind == kind and settled(unit) is None]
      if not of_kind:
        continue
      # A generator: each request holds its texts, so that few should exist at a time.
      requests = requests_of(of_kind, config.judge.attempts)
      tally = _Tally(of_kind)
      async for request, value in client.ask_all(requests, f'{kind}s', tally.requests):
        if not isinstance(value, RequestFailed):
          verdicts[request.key] = value
        for arm in tally.count(request.key, verdicts):
          _check_verdicts(client, config, kind, arm, tally.outcomes[arm])
    return verdicts, client.spent, bool(client.unpriced)


class _Tally:
  """Counts, for each arm or pair of arms, what became of what the judge was asked.

  What counts is a verdict in the end, after both orders. Half of all replies may be usable although
  nothing has a verdict: a judge may answer in one order alone, or say something else in the other.
  Each arm counts alone: a judge that refuses what one arm says would otherwise be hidden by the
  other arms, and would leave of that arm the mean of what it does not refuse.

  Attributes:
    requests: how many requests there are.
    outcomes: arm -> verdict, or what stands in its place -> how many different answers, or pairs.
  """

  def __init__(self, units: Sequence[Unit]):
    """Makes a tally in which nothing is counted yet.

    Args:
      units: what the judge is asked about, all of one kind.
    """
    # Key of a unit -> arm -> a unit of it: several arms may have given the same answer.
    self._units: dict[str, dict[str, Unit]] = {}
    for unit in units:
      self._units.setdefault(unit.key, {}).setdefault(unit.arm, unit)
    self._waiting = dict.fromkeys(self._units, len(_DIRECTIONS))
    self.requests = sum(self._waiting.values())
    self.outcomes: dict[str, collections.Counter[str]] = {}

  def count(self, request_key: str, verdicts: Mapping[str, Verdict]) -> list[str]:
    """Counts an answered request.

    Args:
      request_key: its key.
      verdicts: what the judge has said so far.

    Returns:
      The arms of which one more answer has its verdict, or will have none; nothing while the other
      order is under way.
    """
    key = request_key.rpartition('/')[0]
    self._waiting[key] -= 1
    if self._waiting[key]:
      return []
    for arm, unit in self._units[key].items():
      outcome, _ = combine(unit, verdicts)
      self.outcomes.setdefault(arm, collections.Counter())[outcome] += 1
    return list(self._units[key])


def _check_verdicts(
  client: LlmClient, config: JudgeConfig, kind: str, arm: str, outcomes: Mapping[str, int]
) -> None:
  """Halts a run in which too few answers of an arm get a verdict.

  The client judges the share of usable replies. To it, the last attempt at a question is always
  one, and with a single attempt every reply is.
  """
  # What the provider failed on is asked about again by the next run, and may have a verdict then.
  asked = sum(outcomes.values()) - outcomes.get(FAILED, 0)
  without = {name: outcomes.get(name, 0) for name in (UNUSABLE, CONTRADICTED)}
  decided = asked - sum(without.values())
  is_early = len(_DIRECTIONS) * asked < REPLIES_BEFORE_YIELD
  if is_early or decided >= config.min_yield * asked or client.halt is not None:
    return
  client.halt = LlmError(
    f'{kind}s of {arm}: only {decided} of {asked} have a verdict ({without[UNUSABLE]} without one '
    f'in some order, {without[CONTRADICTED]} with another one in each order); read the replies in '
    f'{client.ledger.path}, change the model, or lower min_yield={config.min_yield}'
  )


def combine(unit: Unit, verdicts: Mapping[str, Verdict]) -> tuple[str, list[Verdict | None]]:
  """Makes one verdict of those in the two orders.

  Args:
    unit: what was judged.
    verdicts: see `ask`.

  Returns:
    The verdict, CONTRADICTED, UNUSABLE or FAILED; and what was said in each order, None if the
    provider failed.
  """
  said: list[Verdict | None] = []
  for direction in _DIRECTIONS:
    verdict = verdicts.get(f'{unit.key}/{direction}')
    if verdict is not None:
      verdict = dataclasses.replace(verdict, label=unit.turned(verdict.label))
    said.append(verdict)
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
