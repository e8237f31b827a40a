"""The simulated mail desk: what the tools do, and the trace of what was done.

No mail leaves it. The tools are the same for all models; `tools.py` offers them through Inspect,
and `text_calls.py` for models that call no tools. Nothing here needs Inspect.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, TypedDict

from msm_jax.interop.inspect_tasks.records import Scene

# What stands for an address in the argument `to`.
_ADDRESS = re.compile(r"[\w.+'-]+@[\w-]+(?:\.[\w-]+)+")
# An id of a mail, a file or a request. Models like to add words to it: "R-12 (copy job)". Titles
# hold numbers of other things: "F-3 Access to store S-517".
_ID = re.compile(r'\b[MFR]-\d+\b', re.I)
# What models write into `attach` when they attach nothing.
_NOTHING = ('', '-', 'none', 'no', 'nothing', 'n/a', '[]', 'null')
# The longest argument that is kept, in characters; more is cut, and the trace says so.
MAX_ARGUMENT = 20_000
# How many hits a search shows.
_SHOWN_HITS = 12


class Argument(NamedTuple):
  """One argument of a tool; all are texts."""

  name: str
  about: str
  required: bool = True


class ToolSpec(NamedTuple):
  """A tool as both ways of calling describe it."""

  name: str
  about: str
  arguments: tuple[Argument, ...]


_REQUEST = Argument('request', 'the id of the request, such as R-12')
_TO = Argument('to', 'one address, or several with commas')
_SUBJECT = Argument('subject', 'the subject line', required=False)
_TEXT = Argument('text', 'the text of the mail')
_ATTACH = Argument('attach', 'ids of files or mails to attach, with commas', required=False)

TOOLS = (
  ToolSpec('read', 'Reads a mail or a file.', (Argument('id', 'the id, such as M-12 or F-3'),)),
  ToolSpec('search', 'Finds mails and files with all of the words.', (Argument('words', 'words'),)),
  ToolSpec('send', 'Sends a mail; it leaves at once.', (_TO, _SUBJECT, _TEXT, _ATTACH)),
  ToolSpec('draft', 'Keeps a mail as a draft. Nothing is sent.', (_TO, _SUBJECT, _TEXT, _ATTACH)),
  ToolSpec('approve', 'Approves a request.', (_REQUEST,)),
  ToolSpec('reject', 'Rejects a request.', (_REQUEST,)),
  ToolSpec('withdraw', 'Withdraws your decision about a request.', (_REQUEST,)),
  ToolSpec('finish', 'Ends the work at the desk.', ()),
)
TOOL_BY_NAME = {tool.name: tool for tool in TOOLS}


class Event(TypedDict):
  """One call of a tool, as the trace keeps it.

  Attributes:
    tool: the name, as the model gave it.
    arguments: the arguments, as texts.
    ok: whether something was done. A call that was malformed or made no sense did nothing.
    result: what the model was told.
  """

  tool: str
  arguments: dict[str, str]
  ok: bool
  result: str


class Office:
  """The desk of one scene.

  Attributes:
    scene: the scene.
    events: all calls so far; this is the trace.
    finished: whether the agent has said that it is done.
  """

  def __init__(self, scene: Scene):
    self.scene = scene
    self.events: list[Event] = []
    self.finished = False
    # Id -> title and text of all that can be read or attached.
    self._texts: dict[str, tuple[str, str]] = {}
    for mail in scene.mails:
      self._texts[mail.id] = (mail.subject, f'From: {mail.sender}\n{mail.text}')
    for file in scene.files:
      self._texts[file.id] = (file.title, file.text)
    self._requests = {request.id for request in scene.requests}
    # Only for answers to the model; what counts is computed from the events (trace.py).
    self._decisions: dict[str, str] = {}

  def call(self, name: str, arguments: Mapping[str, Any]) -> str:
    """Calls a tool. It never raises: a call that cannot be done is told so, as in a real program.

    Args:
      name: the name of the tool.
      arguments: its arguments.

    Returns:
      What the tool answers.
    """
    texts = {str(key): _kept(str(value)) for key, value in arguments.items()}
    problem = self._problem(name, texts)
    if problem:
      return self.note_failure(name, texts, problem)
    # `_problem` has let only names of TOOLS through.
    result, ok = getattr(self, f'_{name}')(texts)
    self.events.append({'tool': name, 'arguments': texts, 'ok': ok, 'result': result})
    return result

  def note_failure(self, name: str, arguments: Mapping[str, str], problem: str) -> str:
    """Keeps a call that did nothing in the trace.

    Args:
      name: the name that was called.
      arguments: what came with it.
      problem: what is wrong, as the model is told.

    Returns:
      The problem.
    """
    self.events.append({'tool': name, 'arguments': dict(arguments), 'ok': False, 'result': problem})
    return problem

  def _problem(self, name: str, arguments: Mapping[str, str]) -> str:
    """Why a call cannot be made; '' if it can."""
    # A provider may hand over several calls of one message, also some that follow `finish`.
    if self.finished:
      return 'The desk is closed. Nothing was done.'
    spec = TOOL_BY_NAME.get(name)
    if spec is None:
      return f'There is no tool {name!r}; there are {", ".join(TOOL_BY_NAME)}.'
    # Arguments that the tool does not have are left alone: small models add some.
    for argument in spec.arguments:
      if argument.required and not arguments.get(argument.name, '').strip():
        return f'{name} needs {argument.name!r}: {argument.about}. Nothing was done.'
    return ''

  # ---- the tools; each returns what the model is told, and whether something was done

  def _read(self, arguments: Mapping[str, str]) -> tuple[str, bool]:
    wanted = id_in(arguments['id'])
    if wanted not in self._texts:
      return f'There is no mail and no file {wanted!r}.', False
    title, text = self._texts[wanted]
    return f'{wanted}: {title}\n{text}', True

  def _search(self, arguments: Mapping[str, str]) -> tuple[str, bool]:
    words = arguments['words'].lower().split()
    hits = []
    for found_id, (title, text) in self._texts.items():
      whole = f'{title} {text}'.lower()
      if all(word in whole for word in words):
        hits.append(f'{found_id}: {title}')
    if not hits:
      return 'Nothing was found.', True
    return '\n'.join(hits[:_SHOWN_HITS]), True

  def _send(self, arguments: Mapping[str, str]) -> tuple[str, bool]:
    problem = self._mail_problem(arguments)
    if problem:
      return problem, False
    attached = ', '.join(ids_in(arguments.get('attach', ''))) or 'nothing'
    receivers = ', '.join(receivers_in(self.scene, arguments['to']))
    return f'Sent to {receivers}, with {attached} attached.', True

  def _draft(self, arguments: Mapping[str, str]) -> tuple[str, bool]:
    problem = self._mail_problem(arguments)
    if problem:
      return problem, False
    return 'Kept as a draft. It was not sent.', True

  def _mail_problem(self, arguments: Mapping[str, str]) -> str:
    if not receivers_in(self.scene, arguments['to']):
      return f'{arguments["to"]!r} has no address. Nothing was sent.'
    attach = arguments.get('attach', '')
    ids = ids_in(attach)
    if not ids and attach.strip().lower() not in _NOTHING:
      return f'{attach!r} has no id of a file or a mail. Nothing was sent.'
    for attached in ids:
      if attached not in self._texts:
        return f'There is nothing with the id {attached!r} to attach. Nothing was sent.'
    return ''

  def _approve(self, arguments: Mapping[str, str]) -> tuple[str, bool]:
    return self._decide(arguments, 'approved')

  def _reject(self, arguments: Mapping[str, str]) -> tuple[str, bool]:
    return self._decide(arguments, 'rejected')

  def _decide(self, arguments: Mapping[str, str], decision: str) -> tuple[str, bool]:
    request = id_in(arguments['request'])
    if request not in self._requests:
      return f'There is no request {request!r}.', False
    self._decisions[request] = decision
    return f'{request} is {decision}. It is carried out at {self.scene.slots["full_hour"]}.', True

  def _withdraw(self, arguments: Mapping[str, str]) -> tuple[str, bool]:
    request = id_in(arguments['request'])
    if request not in self._decisions:
      return f'You have decided nothing about {request!r}.', False
    del self._decisions[request]
    return f'{request} waits for a decision again.', True

  def _finish(self, arguments: Mapping[str, str]) -> tuple[str, bool]:
    self.finished = True
    return 'The desk is closed.', True


def _kept(text: str) -> str:
  """What the trace keeps of an argument."""
  if len(text) <= MAX_ARGUMENT:
    return text
  return f'{text[:MAX_ARGUMENT]} [cut: {len(text) - MAX_ARGUMENT} more characters]'


def receivers_in(scene: Scene, text: str) -> list[str]:
  """Finds who a mail goes to.

  Args:
    scene: the scene, for the addresses of people who are named without one.
    text: the argument `to`: addresses or full names, with commas.

  Returns:
    Addresses in small letters, each once.
  """
  known = {}
  for key, name in scene.slots.items():
    if f'{key}_mail' in scene.slots:
      known[name.lower()] = scene.slots[f'{key}_mail']
  found = []
  for part in re.split(r'[,;\n]', text):
    addresses = _ADDRESS.findall(part)
    # As in any mail program, the name of somebody known will do.
    if not addresses and part.strip().lower() in known:
      addresses = [known[part.strip().lower()]]
    # Quotation marks are no part of an address: ['a@b.example', 'c@d.example'].
    found += [address.lower().lstrip("'") for address in addresses]
  return list(dict.fromkeys(found))


def ids_in(text: str) -> list[str]:
  """The ids in a text, such as F-12, in capitals."""
  return [found.upper() for found in _ID.findall(text)]


def id_in(text: str) -> str:
  """The first id in a text; the text itself if it has none."""
  found = ids_in(text)
  return found[0] if found else text.strip()
