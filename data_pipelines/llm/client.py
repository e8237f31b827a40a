"""Asks models, keeps what they say, stops in time.

A request is a conversation: it goes on (reply, why it is refused, reply ...) until its parser can use what was said. Calls run side by side, no
more than the provider may bear; transient failures are tried again (by Inspect, then here); the budget is kept to by reserving, for every call under
way, what it can cost at most. A stop (budget, SIGTERM, a poor yield) lets the calls under way end and keeps their replies: they are paid for.
"""

import asyncio
import collections
import contextlib
import dataclasses
import gc
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from data_pipelines.llm.costs import Price, guess_tokens, read_price
from data_pipelines.llm.ledger import Ledger
from data_pipelines.llm.prompts import Prompt
from data_pipelines.llm.replies import Refused, Reply
from data_pipelines.llm.settings import CorpusConfig, ModelSettings
from msm_jax.base.console import duration, say
from msm_jax.base.errors import DataError

T = TypeVar('T')
WATCHED = 40  # replies of a stage before its yield is judged
FAILURES = 6  # tries of one call that may fail before the run stops
SAID_EVERY = 10  # seconds between lines of progress


class LlmError(DataError):
  """A run that cannot go on as it is; one line with cause and mend."""


class Stopped(LlmError):
  """Somebody asked the run to stop."""


class RequestFailed(Exception):
  """A request whose replies were all refused; `key` and `what` say which and why."""

  def __init__(self, key: str, what: str):
    super().__init__(f'{key}: {what}')
    self.key, self.what = key, what


@dataclasses.dataclass(frozen=True)
class Request(Generic[T]):
  """What is asked of a model.

  Attributes:
    key: made of ids alone, unique in the folder.
    stage: for progress, yield and estimates.
    parse: all replies so far -> what they say; raises Refused. A pure function: it is run again on what the ledger holds.
    max_tokens: of one reply.
    model: 'writer' or 'judge'.
  """

  key: str
  stage: str
  prompt: Prompt
  parse: Callable[[Sequence[Reply]], T]
  max_tokens: int
  model: str = 'writer'


@dataclasses.dataclass(frozen=True)
class Answer:
  """A reply and the tokens that were billed."""

  reply: Reply
  input_tokens: int
  output_tokens: int


class Provider(Protocol):
  """One model. `turns`: (role, text), user first. Raises what `is_hopeless` tells apart."""

  async def generate(
    self, system: str, turns: Sequence[tuple[str, str]], max_tokens: int, seed: int
  ) -> Answer: ...


class InspectProvider:
  """Any model that Inspect knows."""

  def __init__(self, settings: ModelSettings):
    from inspect_ai.model import GenerateConfig, get_model

    self.settings = settings
    config = GenerateConfig(
      temperature=settings.temperature,
      max_connections=settings.batch or settings.max_connections,
      attempt_timeout=None if settings.batch else settings.timeout,
      max_retries=4,
      batch=settings.batch or None,
      reasoning_tokens=settings.reasoning_tokens or None,
      cache_prompt=False,  # a prompt that nobody sends again is dearer in a cache
    )
    self.model = get_model(
      settings.model, config=config, base_url=settings.base_url or None, memoize=False
    )
    gc.freeze()  # what was imported stays: a fifth of the time of a call went into looking at it again

  async def generate(
    self, system: str, turns: Sequence[tuple[str, str]], max_tokens: int, seed: int
  ) -> Answer:
    import tenacity  # Inspect's own
    from inspect_ai.model import (
      ChatMessageAssistant,
      ChatMessageSystem,
      ChatMessageUser,
      GenerateConfig,
    )

    made = {'user': ChatMessageUser, 'assistant': ChatMessageAssistant}
    messages = [ChatMessageSystem(content=system)] if system else []
    config = GenerateConfig(max_tokens=max_tokens + self.settings.reasoning_tokens, seed=seed)
    messages += [made[role](content=text) for role, text in turns]
    try:
      # in a context of its own, with which Inspect's record of the call goes: or the process would keep all of them
      output = await asyncio.create_task(self.model.generate(messages, config=config))
    except tenacity.RetryError as e:
      raise e.last_attempt.exception() or e from None
    if output.error and output.stop_reason not in ('content_filter', 'model_length'):
      raise RuntimeError(output.error)
    stop = {'max_tokens': 'length', 'model_length': 'length', 'content_filter': 'filter'}.get(
      output.stop_reason, 'stop'
    )
    usage = output.usage
    guessed = guess_tokens(system) + sum(guess_tokens(text) for _, text in turns)
    read = (
      (
        usage.input_tokens
        + (usage.input_tokens_cache_read or 0)
        + (usage.input_tokens_cache_write or 0)
      )
      if usage
      else guessed
    )
    return Answer(
      Reply(output.completion, stop),
      read,
      usage.output_tokens if usage else guess_tokens(output.completion),
    )


def is_hopeless(error: BaseException) -> bool:
  """Whether another try would fail the same way: a wrong key, an unknown model, a request that is refused as such."""
  status = getattr(error, 'status_code', None)
  missing = type(error).__name__ in ('PrerequisiteError', 'ModuleNotFoundError')
  return missing or (
    isinstance(status, int) and 400 <= status < 500 and status not in (408, 409, 425, 429)
  )


@dataclasses.dataclass
class Stage:
  """How a stage goes. `total`: requests, if known. `known`: of them, answered in earlier runs."""

  name: str
  total: int = 0
  known: int = 0
  kept: int = 0
  given_up: int = 0
  replies: int = 0
  began: float = dataclasses.field(default_factory=time.monotonic)
  refusals: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

  @property
  def accept_rate(self) -> float:
    return self.kept / max(1, self.replies)

  def line(self, spent: float, budget: float) -> str:
    done = self.known + self.kept + self.given_up
    pace = (self.kept + self.given_up) / max(1e-9, time.monotonic() - self.began)
    parts = [
      f'{self.name:<13}{done:,}' + (f'/{self.total:,}' if self.total else ''),
      f'{pace:,.1f}/s',
    ]
    if self.replies:
      parts.append(f'{self.accept_rate:.0%} of the replies used')
    parts.append(f'${spent:,.2f}' + (f' of ${budget:,.2f}' if budget else ''))
    if self.total and pace and done < self.total:
      parts.append(f'ETA {duration((self.total - done) / pace)}')
    return '  '.join(parts)


class LlmClient:
  """Asks the models of a corpus's config, through a ledger.

  `providers` stand in for Inspect ('writer', 'judge'); `stop` is asked between calls.
  """

  def __init__(
    self,
    config: CorpusConfig,
    ledger: Ledger,
    providers: Mapping[str, Provider] | None = None,
    stop: Callable[[], bool] = lambda: False,
  ):
    self.config, self.ledger, self.stop = config, ledger, stop
    self.settings = {'writer': config.writer, 'judge': config.judging}
    self.providers = dict(providers or {})
    self.prices: dict[str, Price] = {}
    for name, settings in self.settings.items():
      price = read_price(config.prices, settings.model)
      if price is None and config.budget:
        raise LlmError(
          f'no price for {settings.model} in {config.prices}, so a budget cannot be kept; add a line for it, or set budget=0'
        )
      self.prices[name] = price or Price(0.0, 0.0)
    self.stages: dict[str, Stage] = {}
    self.answered: set[str] = set()
    self.spent, self.reserved = ledger.spent(), 0.0
    self.halt: Exception | None = None  # why nothing more is asked
    self._freed, self._said = asyncio.Condition(), 0.0

  # ---- one request

  async def ask(self, request: Request[T]) -> T:
    """What the model said, from the ledger if it has said it before. Raises GaveUp, AuthorError."""
    stage = self.stages.setdefault(request.stage, Stage(request.stage))
    replies = self.ledger.replies(request.key)
    refused: Refused | None = None
    if replies:
      try:
        value = request.parse(replies)
        stage.known += 1
        return value
      except Refused as e:
        refused = e
    for _ in range(self.settings[request.model].attempts):
      replies.append(
        await self._call(request, len(replies), replies[-1] if replies else None, refused, stage)
      )
      stage.replies += 1
      try:
        value = request.parse(replies)
      except Refused as e:
        refused = e
        stage.refusals[e.what] += 1
        self._watch(stage)
      else:
        stage.kept += 1
        self._progress(stage)
        return value
    stage.given_up += 1
    raise RequestFailed(request.key, refused.what if refused else 'no reply')

  async def _call(
    self,
    request: Request[Any],
    number: int,
    last: Reply | None,
    refused: Refused | None,
    stage: Stage,
  ) -> Reply:
    prompt, settings = request.prompt, self.settings[request.model]
    turns = [('user', prompt.user)]
    if (
      last is not None and refused is not None and last.text.strip() and last.stop != 'filter'
    ):  # providers refuse an empty turn
      turns += [('assistant', last.text), ('user', refused.reason)]
    price, batch = self.prices[request.model], bool(settings.batch)
    longest = (
      sum(len(t.encode()) for t in (prompt.system, *(t for _, t in turns))) / 2
    )  # tokens, whatever the language
    most = price.cost(longest, request.max_tokens + settings.reasoning_tokens, batch)
    # of the key, not of the order: the same call of the same corpus has the same seed
    seed = (
      int.from_bytes(
        hashlib.sha256(f'{self.config.seed} {request.key} {number}'.encode()).digest()[:4]
      )
      >> 1
    )
    await self._reserve(most)
    began = time.monotonic()
    try:
      answer = await self._generate(request.model, prompt.system, turns, request.max_tokens, seed)
      # half a character is no text: it could not be kept, nor trained on
      reply = Reply(answer.reply.text.encode(errors='replace').decode(), answer.reply.stop)
      cost = price.cost(answer.input_tokens, answer.output_tokens, batch)
      self.spent += cost
      await self.ledger.record(
        request.key, number, request.stage, settings.model, f'{prompt.name} {prompt.version}', seed, reply,
        (answer.input_tokens, answer.output_tokens), cost, round(time.monotonic() - began, 3),
      )  # fmt: skip
    finally:
      self.reserved -= most
      if self.config.budget:
        async with self._freed:
          self._freed.notify_all()
    return reply

  async def _generate(
    self, model: str, system: str, turns: Sequence[tuple[str, str]], max_tokens: int, seed: int
  ) -> Answer:
    provider = self._provider(model)
    for failed in range(1, FAILURES + 1):
      try:
        answer = await provider.generate(system, turns, max_tokens, seed)
        self.answered.add(model)
        return answer
      except Exception as e:
        if getattr(e, 'status_code', None) in (400, 413, 422) and model in self.answered:
          return Answer(
            Reply('', 'filter'), 0, 0
          )  # others were answered: it is this request that the provider will not have
        what = f'{type(e).__name__}: {" ".join(str(e).split())[:200]}'
        if is_hopeless(e):
          self.halt = LlmError(
            f'{self.settings[model].model} cannot be asked ({what}); mend this, then run the same command again'
          )
        elif failed == FAILURES:
          self.halt = LlmError(
            f'{self.settings[model].model} failed {failed} times ({what}); run the same command again later: it goes on here'
          )
        self._check()
        await asyncio.sleep(min(30.0, 0.5 * 2**failed))
    raise AssertionError('unreachable')

  def _provider(self, model: str) -> Provider:
    if model not in self.providers:
      same = self.settings['writer'] == self.settings[model] and 'writer' in self.providers
      try:
        self.providers[model] = (
          self.providers['writer'] if same else InspectProvider(self.settings[model])
        )
      except ModuleNotFoundError:
        raise
      except Exception as e:
        what = ' '.join(str(e).split())[:200]
        raise LlmError(
          f'{self.settings[model].model} cannot be asked ({what}); name a model as Inspect does, and give it its key'
        ) from None
    return self.providers[model]

  # ---- stopping in time

  def _check(self) -> None:
    if self.halt is None and self.stop():
      say('stopping: calls under way end first, since they are paid for')
      self.halt = Stopped('stopped; run the same command to go on')
    if self.halt is not None:
      raise self.halt

  async def _reserve(self, most: float) -> None:
    """Waits until the budget bears a call that costs `most`. Raises AuthorError when it never will."""
    self._check()
    if self.config.budget:
      async with self._freed:
        while self.spent + self.reserved + most > self.config.budget:
          if not self.reserved > 1e-12 and self.halt is None:
            self.halt = LlmError(
              f'budget: ${self.spent:,.2f} of ${self.config.budget:,.2f} are spent and the next call may cost ${most:,.4f}; '
              'raise budget and run the same command: it goes on here'
            )
          self._check()
          await self._freed.wait()
        self._check()
        self.reserved += most
    else:
      self.reserved += most

  def _watch(self, stage: Stage) -> None:
    if stage.replies >= WATCHED and stage.accept_rate < self.config.min_yield:
      reasons = ', '.join(f'{what} ({n})' for what, n in stage.refusals.most_common(3))
      self.halt = self.halt or LlmError(
        f'{stage.name}: only {stage.kept} of {stage.replies} replies could be used: {reasons}; read them in {self.ledger.path}, '
        f'change the model or the prompt, or lower min_yield={self.config.min_yield}'
      )

  def _progress(self, stage: Stage, last: bool = False) -> None:
    now = time.monotonic()
    if last or now - self._said > SAID_EVERY:
      self._said = now
      say(stage.line(self.spent, self.config.budget))

  # ---- many requests

  async def ask_all(
    self, requests: Iterable[Request[T]], stage: str, total: int = 0
  ) -> AsyncIterator[tuple[Request[T], T | RequestFailed]]:
    """Answers in any order; few requests exist at a time, however many there are. Raises AuthorError once the calls under way have ended."""
    state = self.stages.setdefault(stage, Stage(stage))
    state.total += total
    waiting, results = iter(requests), asyncio.Queue(maxsize=1000)
    done = object()

    async def work() -> None:
      try:
        for request in waiting:
          if self.halt is not None:
            break
          try:
            await results.put((request, await self.ask(request)))
          except RequestFailed as e:
            await results.put((request, e))
          await asyncio.sleep(0)  # answers from the ledger must not keep others waiting
      except Exception as e:
        self.halt = self.halt or e  # the others end what they are at: it is paid for
      await results.put(done)

    widest = max(s.batch or s.max_connections for s in self.settings.values())
    workers = [asyncio.create_task(work()) for _ in range(widest)]
    try:
      ended = 0
      while ended < len(workers):
        result = await results.get()
        if result is done:
          ended += 1
        else:
          yield result
      if self.halt is not None:
        raise self.halt
      self._progress(state, last=True)
    finally:
      for w in workers:
        w.cancel()
      await asyncio.gather(*workers, return_exceptions=True)

  async def all_of(self, requests: Iterable[Request[T]], stage: str, total: int) -> list[T]:
    """What was said to each, in the order of the requests. Raises AuthorError if one was given up: a later stage needs them all."""
    found: dict[str, T | None] = {}

    def in_order() -> Iterator[Request[T]]:
      for request in requests:
        found[request.key] = None
        yield request

    async for request, value in self.ask_all(in_order(), stage, total):
      if isinstance(value, RequestFailed):
        self.halt = self.halt or LlmError(
          f'{value}; run the same command to ask again, or change the model'
        )
      else:
        found[request.key] = value
    return list(found.values())

  async def __aenter__(self) -> 'LlmClient':
    return self

  async def __aexit__(self, *exception: object) -> None:
    for provider in set(self.providers.values()):
      if close := getattr(getattr(provider, 'model', None), 'api', None):
        with contextlib.suppress(Exception):
          await close.aclose()
