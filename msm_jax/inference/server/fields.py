"""Reads single fields of a request's body. A field that is missing or null has its default."""

from collections.abc import Mapping
from typing import Any

from msm_jax.base.errors import UserError

# OpenAI's roles -> those of the tokenizer.
ROLES = {'system': 'system', 'developer': 'system', 'user': 'user', 'assistant': 'assistant'}

# Fields of a message that change no answer. Versions of lm-evaluation-harness write the last one.
NEUTRAL_OF_MESSAGES = frozenset(['role', 'content', 'name', 'type'])
# Fields with which a message of the assistant calls tools: the second is the older name.
CALLS = ('tool_calls', 'function_call')

# The largest number of stop strings, and the characters of the longest.
MAX_STOPS = 16
MAX_STOP_LENGTH = 1024
Body = Mapping[str, Any]


class InvalidRequest(UserError, ValueError):
  """An HTTP request that gets an error as its answer.

  Attributes:
    param: the field that is wrong, if it is one field.
    status: the HTTP status.
    code: OpenAI's name of the error, if it has one.
  """

  def __init__(
    self, message: str, param: str | None = None, status: int = 400, code: str | None = None
  ) -> None:
    super().__init__(message)
    self.param = param
    self.status = status
    self.code = code


def read_number(body: Body, name: str, default: float, low: float, high: float) -> float:
  """Reads a number.

  Args:
    body: the fields.
    name: the field.
    default: its value if it is not given.
    low: the smallest value.
    high: the largest value.

  Returns:
    The number.

  Raises:
    InvalidRequest: it is no number, or out of bounds.
  """
  value = body.get(name)
  if value is None:
    return default
  # JSON's true and false are numbers for Python. The comparison refuses NaN, too.
  is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
  if not is_number or not low <= value <= high:
    raise InvalidRequest(f'{name} must be a number from {low:g} to {high:g}', name)
  return value


def read_integer(body: Body, name: str, default: int, low: int, high: int) -> int:
  """Reads an integer.

  Args:
    body: the fields.
    name: the field.
    default: its value if it is not given.
    low: the smallest value.
    high: the largest value.

  Returns:
    The integer.

  Raises:
    InvalidRequest: it is no integer, or out of bounds.
  """
  value = body.get(name)
  if value is None:
    return default
  is_integer = isinstance(value, int) and not isinstance(value, bool)
  if not is_integer or not low <= value <= high:
    raise InvalidRequest(f'{name} must be an integer from {low} to {high}', name)
  return value


def read_flag(body: Body, name: str) -> bool:
  """Reads true or false (the default). Raises InvalidRequest for anything else."""
  value = body.get(name)
  if not isinstance(value, bool | None):
    raise InvalidRequest(f'{name} must be true or false', name)
  return bool(value)


def check_text(value: Any, name: str) -> str:
  """Checks that a value is a text.

  Args:
    value: the value.
    name: what error messages call it.

  Returns:
    The value.

  Raises:
    InvalidRequest: it is no string, or a string that cannot be written as UTF-8.
  """
  if not isinstance(value, str):
    raise InvalidRequest(f'{name} must be a string', name)
  try:
    value.encode()
  except UnicodeEncodeError:
    raise InvalidRequest(
      f'{name} holds half a character (a lone surrogate), which no UTF-8 text has', name
    ) from None
  return value


def read_messages(value: Any) -> list[tuple[str, str]]:
  """Reads the messages of a chat.

  Args:
    value: the field `messages`.

  Returns:
    (role, text) pairs, with the roles of the tokenizer.

  Raises:
    InvalidRequest: the messages are malformed, or hold anything but text.
  """
  if not isinstance(value, list) or not value:
    raise InvalidRequest('messages must be a list with at least one {role, content}', 'messages')
  pairs = []
  for n, message in enumerate(value):
    where = f'messages[{n}]'
    if not isinstance(message, dict):
      raise InvalidRequest(f'{where} must be an object with role and content', where)
    role = message.get('role')
    if not isinstance(role, str) or role not in ROLES:
      raise InvalidRequest(f'{where}.role must be one of {", ".join(ROLES)}', f'{where}.role')
    content = message.get('content')
    if isinstance(content, list):
      content = _join_parts(content, where)
    _check_message_fields(message, where)
    pairs.append((ROLES[role], check_text(content, f'{where}.content')))
  return pairs


def _check_message_fields(message: Body, where: str) -> None:
  """Raises InvalidRequest for a field of a message that would be passed over, such as `prefix` or
  `reasoning_content` of other servers. What is empty asks for nothing."""
  for name, value in message.items():
    if name in NEUTRAL_OF_MESSAGES or not value:
      continue
    # An assistant's message may come from another model, which called tools.
    if name in CALLS:
      raise InvalidRequest(f'{where}.{name}: no tools are called here', f'{where}.{name}')
    check_text(name, f'the name of a field of {where}')
    raise InvalidRequest(f'{where}.{name[:100]} is not known here; leave it out', where)


def _join_parts(parts: list[Any], where: str) -> str:
  """Joins the parts of a message, which must all be text, with line breaks."""
  texts = []
  for k, part in enumerate(parts):
    text = None
    if isinstance(part, dict) and part.get('type') == 'text':
      text = part.get('text')
    texts.append(check_text(text, f'{where}.content[{k}] (only text is understood)'))
  return '\n'.join(texts)


def _is_token_ids(value: Any) -> bool:
  """Says whether a value is a list of at least one integer that could be a token id."""
  if not isinstance(value, list) or not value:
    return False
  for i in value:
    if not isinstance(i, int) or isinstance(i, bool) or not 0 <= i < 2**31:
      return False
  return True


def read_token_ids(body: Body, name: str) -> list[int]:
  """Reads a list of token ids, which may be empty. Raises InvalidRequest for anything else."""
  value: Any = body.get(name)
  if value == [] or _is_token_ids(value):
    return list(value)
  raise InvalidRequest(f'{name} must be a list of token ids', name)


def read_prompts(value: Any) -> list[str | list[int]]:
  """Reads the prompts of a text completion.

  Args:
    value: the field `prompt`: one text or several, or one list of token ids or several.

  Returns:
    The prompts.

  Raises:
    InvalidRequest: a prompt is neither a text nor a list of token ids.
  """
  # A list of token ids is one prompt; any other list holds several.
  prompts = [value]
  if isinstance(value, list) and value and not _is_token_ids(value):
    prompts = value
  for n, prompt in enumerate(prompts):
    if not _is_token_ids(prompt):
      check_text(prompt, f'prompt[{n}]' if len(prompts) > 1 else 'prompt')
  return prompts


def read_stops(body: Body) -> tuple[str, ...]:
  """Reads the strings that end an answer.

  Args:
    body: the fields; `stop` is one string or a list.

  Returns:
    The strings.

  Raises:
    InvalidRequest: there are too many, or one of them is empty, too long, or no string.
  """
  value = body.get('stop')
  if value is None:
    return ()
  stops = [value] if isinstance(value, str) else value
  is_good = isinstance(stops, list) and len(stops) <= MAX_STOPS
  if is_good:
    for stop in stops:
      is_good = 0 < len(check_text(stop, 'stop')) <= MAX_STOP_LENGTH
      if not is_good:
        break
  if not is_good:
    raise InvalidRequest(
      f'stop must be a string or a list of at most {MAX_STOPS}, none empty or longer than '
      f'{MAX_STOP_LENGTH} characters',
      'stop',
    )
  return tuple(stops)
