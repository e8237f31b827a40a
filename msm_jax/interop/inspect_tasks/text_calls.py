"""Calls of tools as plain text, for models whose chat template knows no tools.

A call is a block: the name of the tool in square brackets on a line of its own, lines
`name: value`, for mails an empty line and the text, and the name with a slash:

  [send]
  to: sam@place.example
  subject: Tuesday

  Dear Sam, Tuesday suits us.
  [/send]

Blocks inside the private scratchpad, or inside the tags of a reasoning model (<think>), are
thoughts and call nothing. A model may think again between its blocks. A block that is not closed
calls nothing either: it may have been cut. Nothing here needs Inspect.
"""

import re
from typing import NamedTuple

from data_pipelines.llm.replies import without_thinking, without_thoughts_between
from msm_jax.interop.inspect_tasks.office import TOOLS, Office, ids_in

# Raise it when the instructions or the reading of blocks change.
VERSION = '3'

# A line of its own, so that "[send]" within a sentence is no call.
_OPEN = re.compile(r'^[ \t]*\[([A-Za-z_]{2,20})\][ \t]*$', re.M)
_SCRATCHPAD = re.compile(r'<scratchpad>.*?(?:</scratchpad>|\Z)', re.S | re.I)
_FIELD = re.compile(r'[ \t]*(\w+)[ \t]*:[ \t]*(.*)')
# The argument that follows the empty line.
_BODY = 'text'
# The argument that the list of tools names after it.
_AFTER_BODY = 'attach'
_ARGUMENTS = {argument.name for tool in TOOLS for argument in tool.arguments}
# Tools without arguments: their block is whole without a closing line.
_BARE = {tool.name for tool in TOOLS if not tool.arguments}


class TextCall(NamedTuple):
  """A block that was found: a call, or with `problem` something that is none."""

  name: str
  arguments: dict[str, str]
  problem: str = ''


def instructions() -> str:
  """Says how to call tools.

  Returns:
    A text for the system message.
  """
  lines = [
    'You act by writing blocks. A block begins with the name of a tool in square brackets on a '
    'line of its own, has a line for each argument, and ends with the name and a slash. The text '
    'of a mail follows an empty line. For instance:',
    '',
    '[send]',
    'to: sam@place.example',
    'subject: Tuesday',
    '',
    'Dear Sam, Tuesday suits us.',
    '[/send]',
    '',
    'The tools:',
  ]
  for tool in TOOLS:
    named = []
    for argument in tool.arguments:
      optional = '' if argument.required else ', optional'
      named.append(f'{argument.name} ({argument.about}{optional})')
    arguments = '; '.join(named) or 'no arguments'
    lines.append(f'[{tool.name}] {tool.about} Arguments: {arguments}.')
  lines.append('')
  lines.append('You may write several blocks at once. What they give comes in the next message.')
  return '\n'.join(lines)


def without_scratchpad(text: str) -> str:
  """The text without private thoughts. A scratchpad that is not closed goes to the end."""
  return _SCRATCHPAD.sub('\n', text)


def find_calls(text: str) -> list[TextCall]:
  """Finds the blocks in what a model said.

  Args:
    text: one message of the model.

  Returns:
    The calls in their order. A block that is not closed ends the search.
  """
  # Taken out first: thinking about a block must not call anything. The thoughts of a reasoning
  # model go before the scratchpad, since they may name its tags. Those with both of their tags go
  # first: `without_thinking` would take what was said before later thoughts away with them.
  said = without_thoughts_between(text.replace('\r\n', '\n'))
  said = without_scratchpad(without_thinking(said))
  calls = []
  at = 0
  while begin := _OPEN.search(said, at):
    name = begin[1].lower()
    end = re.compile(rf'\[/{re.escape(begin[1])}\]', re.I).search(said, begin.end())
    if end is None and name in _BARE:
      calls.append(TextCall(name, {}))
      break
    if end is None:
      problem = f'The block [{name}] is not closed with [/{name}]. Nothing was done.'
      calls.append(TextCall(name, {}, problem))
      break
    # A block that begins inside another is part of the other's text.
    calls.append(TextCall(name, _arguments(said[begin.end() : end.start()])))
    at = end.end()
  return calls


def _arguments(content: str) -> dict[str, str]:
  """The arguments of a block. The first line that is no field begins the body."""
  arguments: dict[str, str] = {}
  lines = content.strip('\n').split('\n')
  for n, line in enumerate(lines):
    field = _FIELD.fullmatch(line)
    name = field[1].lower() if field else ''
    # "Note: ..." is no argument, so the text has begun, also where the empty line was forgotten.
    if field is None or name not in _ARGUMENTS or name in arguments:
      _set_body(arguments, lines[n:])
      break
    if name == _BODY:
      body = _without_attachments(arguments, lines[n + 1 :])
      _set_body(arguments, [field[2], *body])
      break
    arguments[name] = field[2].strip()
  return arguments


def _without_attachments(arguments: dict[str, str], lines: list[str]) -> list[str]:
  """The lines of a text that was begun by its name, without a last line that attaches something:
  whoever writes one line for each argument, in the order of the list of tools, ends with it."""
  field = _FIELD.fullmatch(lines[-1]) if lines else None
  if field is None or field[1].lower() != _AFTER_BODY or _AFTER_BODY in arguments:
    return lines
  if not ids_in(field[2]):
    return lines
  arguments[_AFTER_BODY] = field[2].strip()
  return lines[:-1]


def _set_body(arguments: dict[str, str], lines: list[str]) -> None:
  body = '\n'.join(lines).strip()
  if body:
    arguments[_BODY] = body


def run_calls(office: Office, calls: list[TextCall]) -> str:
  """Runs calls in their order.

  Args:
    office: the desk.
    calls: what `find_calls` found.

  Returns:
    What the tools answer, for the model.
  """
  answers = []
  for call in calls:
    if call.problem:
      answer = office.note_failure(call.name, call.arguments, call.problem)
    else:
      answer = office.call(call.name, call.arguments)
    answers.append(f'[{call.name}] {answer}')
    # Whoever has closed the desk does nothing more.
    if office.finished:
      break
  return '\n\n'.join(answers)
