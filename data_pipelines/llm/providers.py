"""One call of one model: the protocol, and the provider that uses Inspect.

Inspect (inspect-ai) knows the interfaces of all common providers. Tests and benchmarks put their
own providers in its place.
"""

import asyncio
import contextvars
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

# HTTP statuses with which providers refuse what one request says: bad request, too large,
# unprocessable.
_CONTENT_STATUSES = (400, 413, 422)

# What providers call an account without money, in the body of a 429 or 403. Such an error looks
# like a rate limit, but waiting does not help.
_NO_MONEY_CODES = (
  'insufficient_quota',
  'insufficient_balance',
  'insufficient_funds',
  'insufficient_credits',
  'billing_hard_limit_reached',
  'billing_not_active',
  'billing_error',
  'access_terminated',
)
# What stands in the message of a 400 that has the type of any other bad request, though the account
# is at fault and not what one request says. Anthropic reports so that there is no money or that the
# account is closed, Google and xAI that the key is wrong, Google that the place is.
_ACCOUNT_MESSAGES = (
  'credit balance is too low',
  'reached your specified api usage limits',
  'organization has been disabled',
  'api_key_invalid',
  'api key not valid',
  'api key expired',
  'incorrect api key provided',
  'user location is not supported',
)
# What providers call a prompt that their filter holds back.
_FILTER_CODES = ('content_filter', 'content_policy_violation', 'responsibleaipolicyviolation')
# What OpenRouter adds to the 403 of a prompt that its moderation holds back.
_FLAGGED = 'flagged_input'


@dataclasses.dataclass(frozen=True)
class BilledReply:
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
  ) -> BilledReply:
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
      # The type of Inspect's setting lists the levels; ModelSettings has checked them.
      reasoning_effort=settings.reasoning_effort or None,
      # Writing a prompt into a provider's cache costs extra, and no prompt is sent twice.
      cache_prompt=False,
    )
    self.model: Any = get_model(
      settings.model, config=config, base_url=settings.base_url or None, memoize=False
    )
    self._spare_hopeless_retries()
    # The imported modules stay for good. Without this, the garbage collector looks at them again
    # and again, which took a fifth of the time of a call.
    gc.freeze()

  def _spare_hopeless_retries(self) -> None:
    """Keeps Inspect from repeating calls that will fail again.

    Inspect repeats every 429. One that says that the quota is used up would take minutes.
    """
    api = getattr(self.model, 'api', None)
    if api is None:
      return
    should_retry = api.should_retry

    def should_retry_unless_hopeless(error: BaseException) -> Any:
      return not is_hopeless(error) and should_retry(error)

    api.should_retry = should_retry_unless_hopeless

  async def generate(
    self, system: str, turns: Sequence[tuple[str, str]], max_tokens: int, seed: int
  ) -> BilledReply:
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
      Exception: whatever the provider raised, at the last of Inspect's tries if there were several.
    """
    # tenacity is the library with which Inspect tries again. Both are optional packages.
    import tenacity
    from inspect_ai.model import GenerateConfig

    config = GenerateConfig(max_tokens=max_tokens + self.settings.reasoning_tokens, seed=seed)
    call = self.model.generate(_messages(system, turns), config=config)
    try:
      # Inspect records every call in the transcript of the context that makes it. In a context of
      # its own, a call leaves nothing behind; otherwise the process would keep all calls.
      output = await asyncio.create_task(call, context=contextvars.Context())
    except tenacity.RetryError as e:
      # RetryError hides the cause, which decides whether to try again.
      raise _as_raised(e.last_attempt.exception() or e) from None
    except RuntimeError as e:
      raise _as_raised(e) from None
    # A reply that was filtered or too long is no failure of the model: `stop` says what it is.
    if output.error and output.stop_reason not in ('content_filter', 'model_length'):
      raise RuntimeError(output.error)
    reply = Reply(output.completion, _STOPS.get(output.stop_reason, 'stop'))
    input_tokens = _input_tokens(output, system, turns)
    return BilledReply(reply, input_tokens, _output_tokens(output, input_tokens))


def _as_raised(error: BaseException) -> BaseException:
  """The error as the provider's client raised it.

  Inspect wraps what a provider refuses (400, 403, 413, 422) in a RuntimeError. Its message begins
  with the whole request, and it has neither the body nor the codes that tell the causes apart.
  """
  if isinstance(error, RuntimeError) and error.__cause__ is not None:
    return error.__cause__
  return error


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


def _output_tokens(output: 'ModelOutput', input_tokens: int) -> int:
  """The tokens that the model wrote, those of its thinking included.

  Some providers (xAI) report thinking apart and not among the output tokens, but in the total.
  """
  usage = output.usage
  if usage is None:
    return guess_tokens(output.completion)
  # Thinking that has more tokens than the output cannot be a part of it.
  return max(usage.output_tokens, usage.total_tokens - input_tokens, usage.reasoning_tokens or 0)


def is_hopeless(error: BaseException) -> bool:
  """Says whether another try would fail in the same way.

  So it is with a wrong key, an unknown model, a missing package, an account without money or a
  request that the provider refuses as such.

  Args:
    error: what the provider raised.

  Returns:
    Whether it is of these kinds.
  """
  if type(error).__name__ in ('PrerequisiteError', 'ModuleNotFoundError'):
    return True
  if _is_of_account(error):
    return True
  status = _status_of(error)
  if status is None:
    return False
  return 400 <= status < 500 and status not in _TRANSIENT_STATUSES


def refuses_content(error: BaseException, has_answered: bool) -> bool:
  """Says whether the provider refuses what one request says, and not how it is asked.

  Args:
    error: what the provider raised.
    has_answered: whether the model has answered other requests. If it has not, the settings may be
      wrong, unless the error itself names a filter.

  Returns:
    Whether the run can go on without this request.
  """
  # Taken for refused content, it would use up the attempts of one request after the other.
  if _is_of_account(error):
    return False
  if _is_flagged(error):
    return True
  if _status_of(error) not in _CONTENT_STATUSES:
    return False
  return has_answered or not _error_codes(error).isdisjoint(_FILTER_CODES)


def _status_of(error: BaseException) -> int | None:
  """The HTTP status of an error; None if it has none."""
  # Google's client calls it `code`; other clients have words there.
  candidates = [getattr(error, 'status_code', None), getattr(error, 'code', None)]
  for part in _parts_of_body(error):
    candidates.append(part.get('code'))
  for status in candidates:
    if isinstance(status, int):
      return status
  return None


def _is_of_account(error: BaseException) -> bool:
  """Whether the provider says that the account cannot be used: it has no money left, reached its
  limit or is closed, or the key is wrong."""
  if not _error_codes(error).isdisjoint(_NO_MONEY_CODES):
    return True
  message = str(error).lower()
  return any(words in message for words in _ACCOUNT_MESSAGES)


def _is_flagged(error: BaseException) -> bool:
  """Whether the body of an HTTP error says that moderation flagged the prompt."""
  for part in _parts_of_body(error):
    metadata = part.get('metadata')
    if isinstance(metadata, dict) and _FLAGGED in metadata:
      return True
  return False


def _error_codes(error: BaseException) -> set[str]:
  """The codes and types by which the body of an HTTP error names its cause, in lower case."""
  found: set[str] = set()
  fields = vars(error) if hasattr(error, '__dict__') else {}
  for part in (fields, *_parts_of_body(error)):
    for key in ('code', 'type'):
      if isinstance(part.get(key), str):
        found.add(part[key].lower())
  return found


def _parts_of_body(error: BaseException) -> list[dict[str, Any]]:
  """The body of an HTTP error, and what stands in it under the key 'error'."""
  # Clients keep the body as they got it, or only that part of it. OpenRouter also sends errors with
  # the status 200; Inspect keeps the part as `response`, where other errors have an object.
  body = getattr(error, 'body', None)
  parts = [body, getattr(error, 'response', None)]
  if isinstance(body, dict):
    parts.append(body.get('error'))
  return [part for part in parts if isinstance(part, dict)]
