"""An asynchronous client for language models, with concurrency limits, retries, a budget and a
ledger.

A request is a conversation. A parser reads the replies; if it refuses them, the model is told why
and replies again, until the parser can use what was said or the attempts are used up. Calls run
side by side, at most as many as the settings allow. Transient failures are tried again, first by
Inspect and then here. The budget cannot be exceeded: every call reserves what it can cost at most
before it starts.

When a run has to stop (budget, SIGTERM, too few usable replies), no new call starts. The calls
under way end and their replies are kept, since they are paid for.
"""

import asyncio
import collections
import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from data_pipelines.llm.costs import Price, read_price
from data_pipelines.llm.ledger import Ledger
from data_pipelines.llm.progress import StageProgress
from data_pipelines.llm.providers import (
  BilledReply,
  InspectProvider,
  Provider,
  is_hopeless,
  refuses_content,
)
from data_pipelines.llm.replies import NO_ROOM, Refused, Reply, Unanswered
from data_pipelines.llm.requests import (
  LlmError,
  Request,
  RequestFailed,
  Stopped,
  call_seed,
  max_input_tokens,
  next_turns,
)
from data_pipelines.llm.settings import AskingSettings, ModelSettings
from msm_jax.base.console import say

T = TypeVar('T')

# Replies of a stage that must have come before its yield is judged.
REPLIES_BEFORE_YIELD = 40
# Tries of one call that may fail before the run stops.
MAX_FAILURES = 6
# Seconds between two lines of progress.
PROGRESS_SECONDS = 10
# The longest pause between two tries of one call, in seconds.
MAX_PAUSE_SECONDS = 30.0
# Answers that may wait for the caller of `ask_all`; then the workers wait too.
MAX_WAITING_ANSWERS = 1000
# Requests in a row, with no answer in between, that may fail in all their tries before the run
# stops. One alone is the request's own fault.
MAX_FAILED_REQUESTS = 3


class LlmClient:
  """Asks the models of a config and keeps every reply in a ledger.

  Attributes:
    config: the settings, of a corpus or of a judge.
    ledger: where replies are kept.
    settings: for 'writer' and 'judge', the settings of the model.
    providers: for 'writer' and 'judge', the provider; made when it is first needed.
    prices: for 'writer' and 'judge', the price; 0 where the table has none.
    unpriced: which of 'writer' and 'judge' have no price, so that what they cost is unknown.
    stages: the progress of every stage, by name.
    spent: USD that all replies in the folder cost.
    reserved: USD that the calls under way can cost at most.
    halt: why no new call starts; None while the run goes on.
  """

  def __init__(
    self,
    config: AskingSettings,
    ledger: Ledger,
    providers: Mapping[str, Provider] | None = None,
    stop: Callable[[], bool] = lambda: False,
  ):
    """Makes a client.

    Args:
      config: the settings, of a corpus or of a judge.
      ledger: an open ledger.
      providers: providers to use instead of Inspect, for 'writer' and 'judge'.
      stop: asked before every call; True ends the run.

    Raises:
      LlmError: there is a budget, but no price for a model.
    """
    self.config = config
    self.ledger = ledger
    self.stop = stop
    self.settings = {'writer': config.writer, 'judge': config.judging}
    self.providers: dict[str, Provider] = dict(providers or {})
    self.prices: dict[str, Price] = {}
    self.unpriced: set[str] = set()
    for name, settings in self.settings.items():
      price = read_price(config.prices, settings.model)
      if price is None and config.budget:
        raise LlmError(
          f'no price for {settings.model} in {config.prices}, so a budget cannot be kept; '
          'add a line for it, or set budget=0'
        )
      if price is None:
        self.unpriced.add(name)
      self.prices[name] = price or Price(0.0, 0.0)
    self.stages: dict[str, StageProgress] = {}
    self.spent = ledger.spent() + self._cost_of_unpriced_replies()
    self.reserved = 0.0
    # Calls that have reserved something. Rounding may leave a rest of the amounts, so it is not
    # the amounts that say whether there are such calls.
    self._under_way = 0
    self.halt: Exception | None = None
    # For each model ('writer', 'judge'), the calls that may run side by side. The two may share a
    # provider, and their limits may differ.
    self._slots: dict[str, asyncio.Semaphore] = {}
    for name, settings in self.settings.items():
      self._slots[name] = asyncio.Semaphore(_calls_at_a_time(settings))
    # Models ('writer', 'judge') that have answered in this run.
    self._has_answered: set[str] = set()
    # Models -> requests that failed in all their tries since the model's last answer.
    self._failed_in_a_row: collections.Counter[str] = collections.Counter()
    # Models -> the most output tokens beyond its bound that a call ever had. Some providers do not
    # count thinking against the bound, and the next call may take as many.
    self._excess_tokens: collections.Counter[str] = collections.Counter()
    # Models of which somebody was told that a reply had no room for its text.
    self._told_no_room: set[str] = set()
    # Notified whenever a call ends and what it had reserved is free again.
    self._budget_freed = asyncio.Condition()
    # When progress, and a failure, were last said, on the monotonic clock in seconds.
    self._progress_said = 0.0
    self._failure_said = -math.inf

  def _cost_of_unpriced_replies(self) -> float:
    """USD that replies cost that came before the table had a price for their model."""
    cost = 0.0
    for model, input_tokens, output_tokens in self.ledger.unpriced_tokens():
      price = read_price(self.config.prices, model)
      if price is not None:
        # Whether they came in batch mode is not known, so the full price is taken.
        cost += price.cost(input_tokens, output_tokens)
    return cost

  # ---- one request

  async def ask(self, request: Request[T]) -> T:
    """Gets a usable answer to one request.

    The replies that the ledger holds are read first, so what was answered before is not asked
    again. In a new run, a request that was given up has all its attempts again.

    Args:
      request: what to ask.

    Returns:
      What the request's parser made of the replies.

    Raises:
      RequestFailed: all replies were refused.
      LlmError: the run has to stop.
    """
    stage = self.stages.setdefault(request.stage, StageProgress(request.stage))
    replies = self.ledger.replies(request.key)
    refused: Refused | None = None
    if replies:
      if self.config.budget:
        # What an earlier run learned of thinking holds in this one, too.
        self._note_excess(request, self.ledger.most_output_tokens(request.key))
      try:
        value = request.parse(replies)
      except Refused as e:
        refused = e
      else:
        stage.known += 1
        return value
    is_retried = bool(replies)
    stage.retried += is_retried
    for _ in range(self.settings[request.model].attempts):
      async with self._slots[request.model]:
        reply = await self._call(request, replies, refused)
      replies.append(reply)
      stage.replies += 1
      stage.retried_replies += is_retried
      try:
        value = request.parse(replies)
      except Refused as e:
        refused = e
        stage.refusals[e.what] += 1
        self._tell_no_room(request.model, e.what)
        self._check_yield(stage, request.model)
      else:
        if isinstance(value, Unanswered):
          # This reply is no better than those that were refused, but no other is wanted.
          stage.given_up += 1
          stage.refusals[value.what] += 1
          self._tell_no_room(request.model, value.what)
          self._check_yield(stage, request.model)
        else:
          stage.kept += 1
          stage.retried_kept += is_retried
        self._say_progress(stage)
        return value
    stage.given_up += 1
    what = refused.what if refused else 'no reply'
    raise RequestFailed(request.key, what)

  async def _call(
    self, request: Request[Any], replies: Sequence[Reply], refused: Refused | None
  ) -> Reply:
    """Makes one call within the budget and keeps the reply.

    Args:
      request: what to ask.
      replies: the replies to the request so far.
      refused: why they cannot be used.

    Returns:
      The new reply, once it is on disk.
    """
    prompt = request.prompt
    settings = self.settings[request.model]
    price = self.prices[request.model]
    batch = bool(settings.batch)
    number = len(replies)
    turns = next_turns(request, replies, refused)
    seed = call_seed(self.config.seed, request.key, number)
    expected_output = self._max_output(request) + self._excess_tokens[request.model]
    max_cost = price.cost(max_input_tokens(prompt.system, turns), expected_output, batch)
    await self._reserve(max_cost)
    began = time.monotonic()
    try:
      # A request that failed before gets one more try and not all of them.
      failed_before = bool(replies) and replies[-1].stop == 'failed'
      max_failures = 1 if failed_before else MAX_FAILURES
      billed = await self._generate(
        request.model, prompt.system, turns, request.max_tokens, seed, max_failures
      )
      reply = Reply(_encodable(billed.reply.text), billed.reply.stop)
      self._note_excess(request, billed.output_tokens)
      cost = price.cost(billed.input_tokens, billed.output_tokens, batch)
      # Counted before it is written: a reply that cannot be written was paid for as well.
      self.spent += cost
      await self.ledger.record(
        request.key,
        number,
        request.stage,
        settings.model,
        f'{prompt.name} {prompt.version}',
        seed,
        reply,
        (billed.input_tokens, billed.output_tokens),
        cost,
        round(time.monotonic() - began, 3),
      )
    finally:
      self._count_reserved(-max_cost, calls=-1)
      if self.config.budget:
        async with self._budget_freed:
          self._budget_freed.notify_all()
    return reply

  def _max_output(self, request: Request[Any]) -> int:
    """The most tokens that a reply to a request may have, those of thinking included."""
    return request.max_tokens + self.settings[request.model].reasoning_tokens

  def _note_excess(self, request: Request[Any], output_tokens: int) -> None:
    """Remembers by how much a reply went beyond its bound."""
    excess = output_tokens - self._max_output(request)
    self._excess_tokens[request.model] = max(self._excess_tokens[request.model], excess)

  async def _generate(
    self,
    model: str,
    system: str,
    turns: Sequence[tuple[str, str]],
    max_tokens: int,
    seed: int,
    max_failures: int,
  ) -> BilledReply:
    """Asks the provider, and again after failures that may pass.

    Returns an empty reply that says 'filter' or 'failed' if the provider answers other requests,
    but not this one. Raises LlmError if the run has to stop.
    """
    provider = self._provider(model)
    name = self.settings[model].model
    for failures in range(1, max_failures + 1):
      try:
        billed = await provider.generate(system, turns, max_tokens, seed)
      except Exception as e:
        # If the model has answered other requests, now or in an earlier run, the provider refuses
        # what this one says, and the run can go on without it. If it has not, the settings are
        # wrong.
        answers_others = model in self._has_answered or self.ledger.has_answer(name)
        if refuses_content(e, answers_others):
          return BilledReply(Reply('', 'filter'), 0, 0)
        cause = f'{type(e).__name__}: {_one_line(e)}'
        if is_hopeless(e):
          self.halt = LlmError(
            f'{name} cannot be asked ({cause}); mend this, then run the same command again'
          )
        elif failures == max_failures:
          # Further tries of a request that failed before are not counted again.
          if max_failures == MAX_FAILURES:
            self._failed_in_a_row[model] += 1
          if answers_others and self._failed_in_a_row[model] < MAX_FAILED_REQUESTS:
            say(f'{name} failed {failures} time(s) on one request ({cause}); going on without it')
            return BilledReply(Reply('', 'failed'), 0, 0)
          self.halt = LlmError(
            f'{name} failed {failures} times ({cause}); run the same command again later: '
            'it goes on here'
          )
        self._raise_if_halted()
        self._say_failure(f'{name} failed ({cause}); asking again')
        await asyncio.sleep(min(MAX_PAUSE_SECONDS, 0.5 * 2**failures))
      else:
        self._has_answered.add(model)
        self._failed_in_a_row[model] = 0
        return billed
    raise AssertionError('the last failure halts the run')

  def _say_failure(self, line: str) -> None:
    """Says that a call failed, at most once in PROGRESS_SECONDS."""
    now = time.monotonic()
    if now - self._failure_said > PROGRESS_SECONDS:
      self._failure_said = now
      say(line)

  def _tell_no_room(self, model: str, what: str) -> None:
    """Says once for each model that its thinking left no room for the text."""
    if what == NO_ROOM and model not in self._told_no_room:
      self._told_no_room.add(model)
      say(f'{self.settings[model].model}: a reply was {NO_ROOM}; {_more_room(model)}')

  def _provider(self, model: str) -> Provider:
    """The provider of 'writer' or 'judge'; it is made when it is first needed."""
    if model not in self.providers:
      # A judge with the writer's settings shares the writer's connections.
      if self.settings['writer'] == self.settings[model] and 'writer' in self.providers:
        self.providers[model] = self.providers['writer']
      else:
        self.providers[model] = self._inspect_provider(model)
    return self.providers[model]

  def _inspect_provider(self, model: str) -> Provider:
    settings = self.settings[model]
    try:
      return InspectProvider(settings)
    except ModuleNotFoundError:
      # The command says which package to install.
      raise
    except Exception as e:
      raise LlmError(
        f'{settings.model} cannot be asked ({_one_line(e)}); name a model as Inspect does, '
        'and give it its key'
      ) from None

  # ---- when to stop

  def _raise_if_halted(self) -> None:
    if self.halt is None and self.stop():
      say('stopping: calls under way end first, since they are paid for')
      self.halt = Stopped('stopped; run the same command to go on')
    if self.halt is not None:
      raise self.halt

  async def _reserve(self, max_cost: float) -> None:
    """Waits until the budget allows a call that costs at most `max_cost` USD, and reserves that.

    Raises LlmError if the budget will never allow it.
    """
    self._raise_if_halted()
    if self.config.budget:
      async with self._budget_freed:
        while self.spent + self.reserved + max_cost > self.config.budget:
          # Calls under way may cost less than they have reserved. If there are none, waiting
          # frees nothing.
          if not self._under_way and self.halt is None:
            self.halt = LlmError(
              f'budget: ${self.spent:,.2f} of ${self.config.budget:,.2f} are spent and the next '
              f'call may cost ${max_cost:,.4f}; raise budget and run the same command: '
              'it goes on here'
            )
          self._raise_if_halted()
          await self._budget_freed.wait()
        # The run may have been halted while this call waited.
        self._raise_if_halted()
        self._count_reserved(max_cost, calls=1)
    else:
      self._count_reserved(max_cost, calls=1)

  def _count_reserved(self, cost: float, calls: int) -> None:
    """Adds a call with what it reserves, or takes both away (negative numbers)."""
    self._under_way += calls
    self.reserved += cost
    if not self._under_way:
      self.reserved = 0.0

  def _check_yield(self, stage: StageProgress, model: str) -> None:
    """Halts the run if too few replies of a stage can be used: the rest would be paid in vain."""
    replies, kept = stage.judged()
    if replies < REPLIES_BEFORE_YIELD or kept / replies >= self.config.min_yield:
      return
    if self.halt is None:
      reasons = ', '.join(f'{what} ({n})' for what, n in stage.refusals.most_common(3))
      remedy = 'change the model or the prompt'
      if stage.refusals.most_common(1)[0][0] == NO_ROOM:
        remedy = _more_room(model)
      self.halt = LlmError(
        f'{stage.name}: only {kept} of {replies} replies could be used: {reasons}; '
        f'read them in {self.ledger.path}, {remedy}, '
        f'or lower min_yield={self.config.min_yield}'
      )

  def _say_progress(self, stage: StageProgress, last: bool = False) -> None:
    now = time.monotonic()
    if last or now - self._progress_said > PROGRESS_SECONDS:
      self._progress_said = now
      say(stage.line(self.spent, self.config.budget, bool(self.unpriced)))

  # ---- many requests

  async def ask_all(
    self, requests: Iterable[Request[T]], stage: str, total: int = 0
  ) -> AsyncIterator[tuple[Request[T], T | RequestFailed]]:
    """Asks many requests side by side.

    Workers take one request after the other from the iterable, so that few requests exist at a
    time, however many there are.

    Args:
      requests: what to ask.
      stage: the stage whose progress is said.
      total: the number of requests, for progress; 0 if it is not known.

    Yields:
      (request, value), in the order in which the answers come; the value is a RequestFailed for a
      request that was given up.

    Raises:
      LlmError: the run has to stop; raised once the calls under way have ended.
    """
    progress = self.stages.setdefault(stage, StageProgress(stage))
    progress.total += total
    waiting = iter(requests)
    # Each worker puts its answers here, and None when it ends.
    answers: asyncio.Queue[tuple[Request[T], T | RequestFailed] | None] = asyncio.Queue(
      maxsize=MAX_WAITING_ANSWERS
    )

    async def work() -> None:
      try:
        for request in waiting:
          if self.halt is not None:
            break
          value: T | RequestFailed
          try:
            value = await self.ask(request)
          except RequestFailed as e:
            value = e
          await answers.put((request, value))
          # Answers from the ledger come without waiting; without this, one worker would take them
          # all and keep the others from their calls.
          await asyncio.sleep(0)
      except Exception as e:
        # The other workers end the calls that they have begun: these are paid for.
        self.halt = self.halt or e
      await answers.put(None)

    worker_count = max(map(_calls_at_a_time, self.settings.values()))
    workers = [asyncio.create_task(work()) for _ in range(worker_count)]
    try:
      ended = 0
      while ended < len(workers):
        answer = await answers.get()
        if answer is None:
          ended += 1
        else:
          yield answer
      if self.halt is not None:
        raise self.halt
      self._say_progress(progress, last=True)
    finally:
      for worker in workers:
        worker.cancel()
      await asyncio.gather(*workers, return_exceptions=True)

  async def all_of(self, requests: Iterable[Request[T]], stage: str, total: int) -> list[T]:
    """Asks many requests of which a later stage needs every answer.

    Args:
      requests: what to ask.
      stage: the stage whose progress is said.
      total: the number of requests, for progress.

    Returns:
      The answers, in the order of the requests.

    Raises:
      LlmError: a request was given up, or the run has to stop; raised once the calls under way
        have ended.
    """
    answers: dict[str, Any] = {}

    def in_order() -> Iterator[Request[T]]:
      """Gives each request its place among the answers when it is taken."""
      for request in requests:
        answers[request.key] = None
        yield request

    async for request, value in self.ask_all(in_order(), stage, total):
      if not isinstance(value, RequestFailed):
        answers[request.key] = value
      elif self.halt is None:
        # `ask_all` raises this after the calls under way have ended.
        remedy = 'run the same command to ask again, or change the model'
        if value.what == NO_ROOM:
          remedy = _more_room(request.model)
        self.halt = LlmError(f'{value}; {remedy}')
    return list(answers.values())

  async def __aenter__(self) -> 'LlmClient':
    return self

  async def __aexit__(self, *exception: object) -> None:
    """Closes the connections of Inspect's providers."""
    for provider in set(self.providers.values()):
      api = getattr(getattr(provider, 'model', None), 'api', None)
      if api:
        # An error here would hide why the run ends.
        with contextlib.suppress(Exception):
          await api.aclose()


def _calls_at_a_time(settings: ModelSettings) -> int:
  return settings.batch or settings.max_connections


def _encodable(text: str) -> str:
  """The text with a question mark for every half of a character (a lone surrogate), which could
  neither be kept on disk nor trained on."""
  return text.encode(errors='replace').decode()


def _more_room(model: str) -> str:
  """What to do if thinking leaves no room for a text; `model` is 'writer' or 'judge'."""
  return (
    f'raise {model}.reasoning_tokens, or lower {model}.reasoning_effort where the model has one '
    '(a corpus then needs another --workdir)'
  )


def _one_line(error: Exception) -> str:
  """The beginning of an error's message in one line."""
  return ' '.join(str(error).split())[:200]
