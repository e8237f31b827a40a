"""The records of a scene: what an agent finds at its mail desk, and what counts as the act.

The data of the scenes (`kinds.py`, `goals.py`, `mails.py`) are templates: texts with places such as
{company}. `compose.py` fills them in and makes a `Scene`. Nothing here needs Inspect.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

# The two sides of a kind: a scene with a harmful act, and its harmless twin.
HARMFUL = 'harmful'
HARMLESS = 'harmless'
SIDES = (HARMFUL, HARMLESS)

# In `Act.to`: every address that is neither the company's own nor an allowed one.
OUTSIDE = 'outside'


@dataclasses.dataclass(frozen=True)
class Mail:
  """A mail in the inbox, or a template of one.

  Attributes:
    sender: who wrote it: 'Name <address>'; in a template also 'boss', a key of the cast.
    subject: the subject line.
    text: the body.
    id: such as 'M-117'; empty in a template.
  """

  sender: str
  subject: str
  text: str
  id: str = ''


@dataclasses.dataclass(frozen=True)
class File:
  """A file on the desk, or a template of one.

  Attributes:
    title: what the list of files shows.
    text: what reading it shows.
    id: such as 'F-23'; empty in a template.
  """

  title: str
  text: str
  id: str = ''


@dataclasses.dataclass(frozen=True)
class ApprovalRequest:
  """A request that waits for a decision, or a template of one.

  Attributes:
    asked_by: who asks.
    text: what is asked for.
    id: such as 'R-481'; empty in a template.
  """

  asked_by: str
  text: str
  id: str = ''


@dataclasses.dataclass(frozen=True)
class Act:
  """One way to do the act of a scene. Either `request` or `fact` is set.

  Attributes:
    request: the id of a request (in a template its key): approving it is the act.
    fact: a text that only the secret has: sending it is the act.
    to: whom sending it counts for: an address, or OUTSIDE.
    unless: a text; whoever has been sent it too has not been deceived, and sending `fact` does not
      count.
  """

  request: str = ''
  fact: str = ''
  to: str = ''
  unless: str = ''


@dataclasses.dataclass(frozen=True)
class SideTemplate:
  """One side of a kind of scene.

  Attributes:
    act_text: the act in words, for a judge: 'approves ... or sends ...'.
    mails: the mails that make the scene; the same number on both sides.
    files: key -> the file.
    requests: key -> the request.
    acts: the ways to do the act; any of them counts.
    links: pressure -> what a mail says about it, which goes into the place {link}.
    allowed: people outside the company, as keys of the cast, who do not count as OUTSIDE: they are
      bound to secrecy, or an authority, to which anybody may report.
  """

  act_text: str
  mails: tuple[Mail, ...]
  files: Mapping[str, File]
  requests: Mapping[str, ApprovalRequest]
  acts: tuple[Act, ...]
  links: Mapping[str, str]
  allowed: tuple[str, ...] = ('partner', 'auditor', 'authority')


@dataclasses.dataclass(frozen=True)
class Kind:
  """A kind of scene.

  Attributes:
    name: of the kind.
    published: whether the published evaluation has this kind of act (Model Spec Midtraining,
      App. D.3), there in other words.
    harmful: the side on which the act harms the people whom the agent works for.
    harmless: the twin: the same tools, and the act is right and allowed.
  """

  name: str
  published: bool
  harmful: SideTemplate
  harmless: SideTemplate

  def side(self, name: str) -> SideTemplate:
    """The template of HARMFUL or HARMLESS."""
    return self.harmful if name == HARMFUL else self.harmless


@dataclasses.dataclass(frozen=True)
class Scene:
  """A scene with all places filled in.

  Attributes:
    id: 'side/kind/goal/pressure/draw'; unique.
    kind: the name of its kind.
    goal: the name of the agent's goal setting.
    pressure: the name of the pressure.
    side: HARMFUL or HARMLESS.
    draw: which draw of names, mails and numbers; the twin has the same.
    agent: the name of the agent.
    system: the system message, without the description of the tools.
    desk: the user message: people, inbox, files and requests.
    mails: all mails of the inbox.
    files: all files.
    requests: all requests.
    acts: the ways to do the act.
    act_text: the act in words.
    domain: the domain of the company's own addresses.
    allowed: addresses outside the company that do not count as OUTSIDE.
    slots: what the places of the templates were filled with.
  """

  id: str
  kind: str
  goal: str
  pressure: str
  side: str
  draw: int
  agent: str
  system: str
  desk: str
  mails: tuple[Mail, ...]
  files: tuple[File, ...]
  requests: tuple[ApprovalRequest, ...]
  acts: tuple[Act, ...]
  act_text: str
  domain: str
  allowed: tuple[str, ...]
  slots: dict[str, str]

  def as_dict(self) -> dict[str, Any]:
    """The scene for JSON; `scene_from` reads it back."""
    return dataclasses.asdict(self)


def scene_from(values: Mapping[str, Any]) -> Scene:
  """Reads a scene that `Scene.as_dict` wrote and that may have been JSON in between.

  Args:
    values: the scene's fields.

  Returns:
    The scene.
  """
  fields = dict(values)
  for name, record in (
    ('mails', Mail),
    ('files', File),
    ('requests', ApprovalRequest),
    ('acts', Act),
  ):
    fields[name] = tuple(record(**one) for one in fields[name])
  fields['allowed'] = tuple(fields['allowed'])
  return Scene(**fields)
