"""One call of one model: the protocol, and the provider that uses Inspect.

Inspect (inspect-ai) knows the interfaces of all common providers. Tests and benchmarks put their
own providers in its place.
"""

import asyncio
import dataclasses
import gc
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from data_pipelines.llm.costs import guess_tokens
from data_pipelines.llm.replies import Reply
from data_pipelines.llm.settings import ModelSettings

if TYPE_CHECKING:
  from inspect_ai.model import ModelOutput

# How often Inspect repeats a call by itself, before the client counts a failure.
INSPECT_RETRIES = 4

# Inspect's reasons why a reply ended -> ours; all others are 'stop'.
_STOPS = {'max_tokens': 'length', 'model_length': 'length', 'content_filter': 'filter'}

# HTTP statuses of the 400s that another try may cure: timeout, conflict, too early, rate limit.
_TRANSIENT_STATUSES = (408, 409, 425, 429)


@dataclasses.dataclass(frozen=True)
class Answer:
  """A reply and the tokens that the provider charges for it.

  Attributes:
    reply: what the model said.
    input_tokens: the tokens that it read.
    output_tokens: the tokens that it wrote.
  """

  reply: Reply
  input_tokens: int
  output_tokens: int


class Provider(Protocol):
  """One model."""

  async def generate(
    self, system: str, turns: Sequence[tuple[str, str]], max_tokens: int, seed: int
  ) -> Answer:
    """Asks the model once.

    Args:
      system: the system message; '' for none.
      turns: (role, text) of the conversation so far; roles are 'user' and 'assistant', and the
        first and the last turn are the user's.
      max_tokens: the most tokens that the reply may have.
      seed: the seed of sampling, for providers that take one.

    Returns:
      The reply and its tokens.

    Raises:
      Exception: whatever the provider raises; `is_hopeless` tells which errors will come again.
    """
    ...


class InspectProvider:
  """Any model that Inspect knows."""

  def __init__(self, settings: ModelSettings):
    # Imported here: inspect-ai is an optional package and takes seconds to import.
    from inspect_ai.model import GenerateConfig, get_model

    self.settings = settings
    # In batch mode, one attempt may take hours.
    timeout = None if settings.batch else settings.timeout
    config = GenerateConfig(
      temperature=settings.temperature,
      max_connections=settings.batch or settings.max_connections,
      attempt_timeout=timeout,
      max_retries=INSPECT_RETRIES,
      batch=settings.batch or None,
      reasoning_tokens=settings.reasoning_tokens or None,
      # Writing a prompt into a provider's cache costs extra, and no prompt is sent twice.
      cache_prompt=False,
    )
    self.model: Any = get_model(
      settings.model, config=config, base_url=settings.base_url or None, memoize=False
    )
    # The imported modules stay for good. Without this, the garbage collector looks at them again
    # and again, which took a fifth of the time of a call.
    gc.freeze()

  async def generate(
    self, system: str, turns: Sequence[tuple[str, str]], max_tokens: int, seed: int
  ) -> Answer:
    """Asks the model once; see `Provider.generate`.

    Args:
      system: the system message; '' for none.
      turns: (role, text) of the conversation so far.
      max_tokens: the most tokens that the reply may have, beside those of reasoning.
      seed: the seed of sampling.

    Returns:
      The reply and its tokens. They are guessed if the provider reports none.

    Raises:
      RuntimeError: Inspect reports an error of the model instead of raising it.
      Exception: whatever the provider raised at the last of Inspect's tries.
    """
    # tenacity is the library with which Inspect tries again. Both are optional packages.
    import tenacity
    from inspect_ai.model import GenerateConfig

    config = GenerateConfig(max_tokens=max_tokens + self.settings.reasoning_tokens, seed=seed)
    call = self.model.generate(_messages(system, turns), config=config)
    try:
      # A task has a context of its own. Inspect records every call in the context that makes it;
      # without the task, the process would keep the records of all calls.
      output = await asyncio.create_task(call)
    except tenacity.RetryError as e:
      # RetryError hides the cause, which decides whether to try again.
      raise e.last_attempt.exception() or e from None
    # A reply that was filtered or too long is no failure of the model: `stop` says what it is.
    if output.error and output.stop_reason not in ('content_filter', 'model_length'):
      raise RuntimeError(output.error)
    reply = Reply(output.completion, _STOPS.get(output.stop_reason, 'stop'))
    return Answer(reply, _input_tokens(output, system, turns), _output_tokens(output))


def _messages(system: str, turns: Sequence[tuple[str, str]]) -> list[Any]:
  """The conversation in Inspect's classes."""
  from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser

  messages: list[Any] = []
  if system:
    messages.append(ChatMessageSystem(content=system))
  for role, text in turns:
    if role == 'user':
      messages.append(ChatMessageUser(content=text))
    else:
      messages.append(ChatMessageAssistant(content=text))
  return messages


def _input_tokens(output: 'ModelOutput', system: str, turns: Sequence[tuple[str, str]]) -> int:
  """The tokens that the model read, as reported or, without a report, as guessed."""
  usage = output.usage
  if usage is None:
    return guess_tokens(system) + sum(guess_tokens(text) for _, text in turns)
  # Inspect counts the tokens that went through a provider's cache apart.
  from_cache = usage.input_tokens_cache_read or 0
  into_cache = usage.input_tokens_cache_write or 0
  return usage.input_tokens + from_cache + into_cache


def _output_tokens(output: 'ModelOutput') -> int:
  if output.usage is None:
    return guess_tokens(output.completion)
  return output.usage.output_tokens


def is_hopeless(error: BaseException) -> bool:
  """Says whether another try would fail in the same way.

  So it is with a wrong key, an unknown model, a missing package or a request that the provider
  refuses as such.
  """
  if type(error).__name__ in ('PrerequisiteError', 'ModuleNotFoundError'):
    return True
  status = getattr(error, 'status_code', None)
  if not isinstance(status, int):
    return False
  return 400 <= status < 500 and status not in _TRANSIENT_STATUSES
