"""Reads one pair of answers from a row of JSON, under the field names of published sets.

A row gives a prompt and two answers, of which one was preferred. Published sets say it in several
ways, and all of these load as they are:

- a prompt and two answers, as texts or as lists of messages (`prompt`, `chosen`, `rejected`);
- two whole conversations that begin alike (UltraFeedback), or the same as one text with turns of
  'Human:' and 'Assistant:' (HH);
- two answers and a mark that says which is better (`better_response_id`, `winner`).

What is ambiguous is refused, and the error says which field it is about. `jsonl.py` makes a
`PreferencePair` of what is read here.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from msm_jax.base.errors import DataError

ROLES = ('system', 'user', 'assistant')
# (role, content) of each message.
Messages = tuple[tuple[str, str], ...]

# The two answers, the better one first, by the names that published sets give them.
_SIDES = (
  ('chosen', 'rejected'),
  ('response_chosen', 'response_rejected'),
  ('chosen_response', 'rejected_response'),
)
# Two answers of which a mark says which is better: the fields of both, the field of the mark, and
# the marks that mean the first and the second.
_MARKED_SIDES = (
  ('response_0', 'response_1', 'better_response_id', ('0',), ('1',)),
  ('response_a', 'response_b', 'winner', ('model_a', 'a', 'A'), ('model_b', 'b', 'B')),
  ('conversation_a', 'conversation_b', 'winner', ('model_a', 'a', 'A'), ('model_b', 'b', 'B')),
  ('human_ref_A', 'human_ref_B', 'labels', ('1',), ('0',)),
)
# The field of the prompt, and that of a system message before it.
_PROMPTS = ('prompt', 'question', 'instruction', 'conversations', 'history')
_SYSTEMS = ('system', 'system_prompt')
# Roles as other sets call them ('from' and 'value' in place of 'role' and 'content').
_OTHER_ROLES = {'human': 'user', 'gpt': 'assistant', 'bot': 'assistant', 'model': 'assistant'}
# Fields of a row, and of an answer, with more that a model would read or say.
_TOOLS = ('tools', 'functions')
_THOUGHTS = ('reasoning_content', 'reasoning', 'thinking')
# What such a field holds if it says nothing: JSON may stand in a text.
_NOTHING = ('', '[]', '{}', 'null')
# How HH divides a conversation that is one text.
_HUMAN, _ASSISTANT = '\n\nHuman:', '\n\nAssistant:'
_SPEAKER = re.compile('\n\n(Human|Assistant):')


def is_preference(row: Mapping[str, Any]) -> bool:
  """Whether a row has two answers, under any of the known names, or one of them and nothing else
  that could be learned."""
  is_other = 'messages' in row or 'text' in row
  for names in _SIDES:
    given = sum(name in row for name in names)
    if given == 2 or (given and not is_other):
      return True
  return any(first in row and second in row for first, second, *_ in _MARKED_SIDES)


def read_preference(row: Mapping[str, Any], where: str) -> tuple[Messages, Messages, Messages]:
  """Reads a prompt and two answers.

  Args:
    row: what the JSON says.
    where: 'file:line', for errors.

  Returns:
    (prompt, chosen, rejected), messages each. An answer begins with a message of the assistant and
    may go on with more turns. Turns with which both sides begin alike belong to the prompt.

  Raises:
    DataError: an answer or the prompt is missing; a field is not what it should be; the two
      conversations do not begin alike; or the row or an answer says more than is read here.
  """
  check_row(row, where)
  names, values = _find_sides(row, where)
  sides = [_side(value, where, name) for name, value in zip(names, values, strict=True)]
  prompt = _prompt(row, where)
  is_whole = [side[0][0] != 'assistant' for side in sides]
  if is_whole[0] != is_whole[1]:
    raise DataError(
      f'{where}: one of {names[0]!r} and {names[1]!r} is an answer and the other a whole '
      f'conversation; give both alike'
    )
  shared = _shared_prefix(sides, names, where)
  sides = [side[len(shared) :] for side in sides]
  for value in values:
    _check_learned(value, len(shared), where)
  if is_whole[0]:
    _check_prompt_is_shared(prompt, shared, where)
    # The conversations may leave out the system message, which a field of its own then has.
    system = prompt[:1] if prompt and prompt[0][0] == 'system' else read_system(row, where)
    prompt = put_system_first(system, shared, where)
  elif prompt:
    # What is compared are the first answers that differ.
    prompt += shared
  if not prompt:
    raise DataError(
      f"{where}: no prompt; give 'prompt' (a text or messages), or whole conversations as "
      f'{names[0]!r} and {names[1]!r}'
    )
  if prompt[-1][0] == 'assistant':
    raise DataError(f'{where}: the prompt ends with the assistant; end it with what it answers')
  for name, side in zip(names, sides, strict=True):
    if side[-1][0] != 'assistant':
      raise DataError(f'{where}: {name!r} must end with an answer of the assistant')
  return prompt, sides[0], sides[1]


def _find_sides(row: Mapping[str, Any], where: str) -> tuple[tuple[str, str], tuple[Any, Any]]:
  """The names and the values of the better and the worse answer. Raises DataError."""
  for names in _SIDES:
    given = [row.get(name) is not None for name in names]
    if all(given):
      return names, (row[names[0]], row[names[1]])
    if any(given):
      missing = names[given.index(False)]
      raise DataError(f'{where}: {missing!r} is missing; a preference has both sides')
  for first, second, mark, first_marks, second_marks in _MARKED_SIDES:
    if row.get(first) is None or row.get(second) is None:
      continue
    better = str(row.get(mark))
    if better in first_marks:
      return (first, second), (row[first], row[second])
    if better in second_marks:
      return (second, first), (row[second], row[first])
    raise DataError(
      f'{where}: {mark}={better!r} does not say which answer is better; give '
      f'{first_marks[0]!r} or {second_marks[0]!r}, or take the line out'
    )
  raise DataError(f"{where}: 'chosen' and 'rejected' are missing; a preference has both sides")


def _side(value: Any, where: str, name: str) -> Messages:
  """One answer, or one whole conversation. Raises DataError."""
  if _is_transcript(value):
    return _split_transcript(value)
  if isinstance(value, str):
    return (('assistant', value),)
  if isinstance(value, Mapping):
    value = [value]
  messages = read_messages(value, where, name)
  if not messages:
    raise DataError(f'{where}: {name!r} is empty; a preference has both sides')
  return messages


def _check_learned(value: Any, begin: int, where: str) -> None:
  """Raises DataError if a side says that an answer is not to be learned which is.

  Messages before number `begin` are part of the prompt, which is not learned.
  """
  if isinstance(value, str):
    return
  messages = [value] if isinstance(value, Mapping) else value
  for message in messages[begin:]:
    check_message(message, where)


def _prompt(row: Mapping[str, Any], where: str) -> Messages:
  """The prompt as messages; empty if the row has none. Raises DataError."""
  given = [name for name in _PROMPTS if row.get(name) is not None]
  # Beside an instruction, `input` is what the instruction is about.
  if not given and row.get('input') is not None:
    given = ['input']
  if len(given) > 1:
    raise DataError(f'{where}: both {given[0]!r} and {given[1]!r} are given; keep one prompt')
  system = read_system(row, where)
  if not given:
    return ()
  name = given[0]
  value = row[name]
  if _is_transcript(value):
    turns = _split_transcript(value)
    # HH ends its prompts with the name of whoever speaks next.
    if turns[-1] == ('assistant', ''):
      turns = turns[:-1]
    return system + turns
  if isinstance(value, str):
    # Sets of instructions keep what an instruction is about in a field of its own.
    about = row.get('input')
    if name == 'instruction' and about:
      if not isinstance(about, str):
        raise DataError(f"{where}: 'input' is a {type(about).__name__}; give a text")
      value = f'{value}\n{about}'
    else:
      _check_input_is_said(row, name, value, where)
    if not value.strip():
      raise DataError(f'{where}: {name!r} is empty; give what is answered')
    return (*system, ('user', value))
  messages = read_messages(value, where, name)
  _check_input_is_said(row, name, '\n'.join(content for _, content in messages), where)
  return put_system_first(system, messages, where)


def _check_input_is_said(row: Mapping[str, Any], name: str, prompt: str, where: str) -> None:
  """Raises DataError for an `input` that a prompt does not repeat: it would be lost."""
  # `input` may be the prompt itself.
  about = None if name == 'input' else row.get('input')
  is_said = not about
  if isinstance(about, str):
    is_said = about.strip() in prompt
  if not is_said:
    raise DataError(
      f"{where}: {name!r} has 'input' beside it; call it 'instruction' if that is what it is "
      'about, or take one of them out'
    )


def read_system(row: Mapping[str, Any], where: str) -> Messages:
  """Reads the system message that a field of its own has.

  Args:
    row: what the JSON says.
    where: 'file:line', for errors.

  Returns:
    The message; none if there is no such field, or an empty one.

  Raises:
    DataError: it is no text, or two fields differ.
  """
  given = [name for name in _SYSTEMS if row.get(name)]
  for name in given:
    if not isinstance(row[name], str):
      raise DataError(f'{where}: {name!r} is a {type(row[name]).__name__}; give a text')
  if len({row[name] for name in given}) > 1:
    raise DataError(f'{where}: {given[0]!r} and {given[1]!r} differ; keep one system message')
  return tuple(('system', row[name]) for name in given[:1])


def put_system_first(system: Messages, messages: Messages, where: str) -> Messages:
  """Puts a system message that stands in a field of its own before the other messages.

  Args:
    system: what `read_system` gives.
    messages: the other messages.
    where: 'file:line', for errors.

  Returns:
    The messages; as they are if there is no such field, or if it repeats their own.

  Raises:
    DataError: they begin with another system message. One of the two would be lost.
  """
  if not system:
    return messages
  if not messages or messages[0][0] != 'system':
    return system + messages
  if messages[0][1].strip() != system[0][1].strip():
    raise DataError(f'{where}: there are two system messages; keep one')
  return messages


def check_row(row: Mapping[str, Any], where: str) -> None:
  """Refuses a row with tools: its answers would be learned as if there were none.

  Args:
    row: what the JSON says.
    where: 'file:line', for errors.

  Raises:
    DataError: there are tools.
  """
  for key in _TOOLS:
    if _says_something(row.get(key)):
      raise DataError(
        f'{where}: {key!r} is given, and descriptions of tools are not read here; take the line '
        'out, or write them into the system message'
      )


def _says_something(value: Any) -> bool:
  """Whether an optional field holds a text or a list; what is true or a number says nothing."""
  if isinstance(value, str):
    return value.strip() not in _NOTHING
  return isinstance(value, (list, tuple, Mapping)) and bool(value)


def _says_no(value: Any) -> bool:
  """Whether a mark says no: false, 0, or one of them as a text, as files of tables have it."""
  if isinstance(value, str):
    return value.strip().casefold() in ('0', '0.0', 'false', 'no')
  return value is not None and not value


def check_message(message: Mapping[str, Any], where: str, is_learned: bool = True) -> None:
  """Refuses a message that says more than its role and its text.

  Args:
    message: an object of a list of messages.
    where: 'file:line', for errors.
    is_learned: whether the message is learned if it is an answer.

  Raises:
    DataError: it calls tools; it is an answer that is learned, and its thoughts stand in a field of
      their own: the model would learn to answer without them; or it says that such an answer is not
      to be learned: the model would be trained on what the file excludes.
  """
  for key in ('tool_calls', 'function_call'):
    if message.get(key):
      raise DataError(
        f'{where}: a message has {key!r}, and calls of tools are not read here; take the line out, '
        'or write the call into the text'
      )
  role = message.get('role', message.get('from'))
  # Other roles are never learned.
  is_answer = is_learned and _OTHER_ROLES.get(str(role), role) == 'assistant'
  for key in _THOUGHTS:
    if is_answer and _says_something(message.get(key)):
      raise DataError(
        f'{where}: an answer has {key!r}, and thoughts beside an answer are not read here; write '
        'them into its content, or take the field out'
      )
  for key in ('weight', 'train'):
    if is_answer and _says_no(message.get(key)):
      raise DataError(
        f'{where}: an answer has {key}={message[key]}, and here every answer of the assistant is '
        'learned; make it part of what the user says, or take the line out'
      )


def read_messages(value: Any, where: str, name: str) -> Messages:
  """Reads a list of messages.

  Args:
    value: what the JSON says: objects with `role` and `content`, or `from` and `value`.
    where: 'file:line', for errors.
    name: the field, for errors.

  Returns:
    (role, content) of each message; none for an empty list.

  Raises:
    DataError: it is no such list, a role is not known, or a message calls tools.
  """
  wanted = f'{where}: {name!r} must be a text or a list of {{role, content}}'
  if not isinstance(value, Sequence) or isinstance(value, str):
    raise DataError(wanted)
  messages = []
  for message in value:
    if not isinstance(message, Mapping):
      raise DataError(wanted)
    check_message(message, where, is_learned=False)
    role = message.get('role', message.get('from'))
    content = message.get('content', message.get('value'))
    role = _OTHER_ROLES.get(str(role), role)
    if role not in ROLES or not isinstance(content, str):
      raise DataError(
        f'{where}: {name!r} has the role {role!r} with {type(content).__name__} content; '
        'use system, user or assistant and text'
      )
    messages.append((role, content))
  return tuple(messages)


def _is_transcript(value: Any) -> bool:
  """Whether a field is a conversation that is one text, with empty lines before it or without."""
  if not isinstance(value, str):
    return False
  # What asks about 'Human:' has no turn of the assistant behind it.
  is_stripped = value.startswith(_HUMAN.strip()) and _ASSISTANT in value
  return is_stripped or value.startswith(_HUMAN)


def _split_transcript(text: str) -> Messages:
  """The messages of a conversation that is one text, as HH writes it."""
  # What comes after the name of each speaker, up to the next one.
  _, *parts = _SPEAKER.split('\n\n' + text.lstrip('\n'))
  messages = []
  for speaker, said in zip(parts[::2], parts[1::2], strict=True):
    role = 'assistant' if speaker == 'Assistant' else 'user'
    messages.append((role, said.strip()))
  return tuple(messages)


def _shared_prefix(sides: Sequence[Messages], names: tuple[str, str], where: str) -> Messages:
  """The messages with which two conversations begin alike, up to an answer. Raises DataError."""
  first, second = sides
  n = 0
  while n < min(len(first), len(second)) and first[n] == second[n]:
    n += 1
  if n == len(first) == len(second):
    # Equal sides: the last answer is what is compared, and `emptiness_of` says what is wrong.
    n -= 1
  rest = (first[n:], second[n:])
  if not all(rest):
    raise DataError(
      f'{where}: {names[0]!r} and {names[1]!r} are conversations of which one ends where the other '
      f'goes on; give both an answer of their own'
    )
  if any(side[0][0] != 'assistant' for side in rest):
    raise DataError(
      f'{where}: {names[0]!r} and {names[1]!r} begin with different prompts (message {n + 1}); '
      f'a preference has one prompt'
    )
  return first[:n]


def _check_prompt_is_shared(prompt: Messages, shared: Messages, where: str) -> None:
  """Raises DataError if a row gives a prompt, and its conversations begin with another one."""
  contents = {content.strip() for _, content in shared}
  for role, content in prompt:
    # Sets that name the prompt beside whole conversations may leave the system message out of them.
    if role != 'system' and content.strip() not in contents:
      raise DataError(
        f"{where}: 'prompt' is not what the two conversations begin with; take one of them out"
      )
