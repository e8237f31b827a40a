"""The four kinds of evaluation items as dataclasses. `items.py` reads them from files."""

import dataclasses
from typing import Any, ClassVar

from data_pipelines.settings.custom.fields import put_in

# The tier of an item that names none.
DEFAULT_TIER = 'new_domains'
# Where the options of a question stand, one after the other.
PLACES = ('first', 'second', 'third', 'fourth', 'fifth', 'sixth', 'seventh', 'eighth')


@dataclasses.dataclass(frozen=True)
class Item:
  """What all kinds have in common.

  Attributes:
    id: identifies the item among all files of an experiment.
    domain: what kind of things it is about; items of one domain are dependent.
    tier: how far it is from what was trained on: 'trained', 'new_items', 'new_domains', ...
    system: the system message; None stands for the one of the config.
    where: 'file:line', for people.
  """

  kind: ClassVar[str] = ''
  id: str
  domain: str
  tier: str = DEFAULT_TIER
  system: str | None = None
  where: str = ''

  @property
  def texts(self) -> tuple[str, ...]:
    """Every text that is shown to a model, but the system message."""
    return ()


@dataclasses.dataclass(frozen=True)
class Option:
  """An option of a choice.

  Attributes:
    text: as the question names it.
    values: the values that would choose it.
  """

  text: str
  values: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class ChoiceItem(Item):
  """A question with two or more options.

  Attributes:
    question: what is asked.
    options: at least two; each value that is named would choose some of them and not the others.
    answer: the content that is scored, with `{chosen}`; of two options, with `{other}` too.
    group: the items of one group are wordings of one question.
  """

  kind: ClassVar[str] = 'choice'
  question: str = ''
  options: tuple[Option, ...] = ()
  answer: str = '{chosen}'
  group: str = ''

  @property
  def values(self) -> tuple[str, ...]:
    """The values that tell the options apart, in the order in which they are first named."""
    names: dict[str, None] = {}
    for option in self.options:
      names |= dict.fromkeys(option.values)
    return tuple(names)

  def chosen_by(self, value: str) -> tuple[int, ...]:
    """The numbers of the options that a value would choose."""
    return tuple(n for n, option in enumerate(self.options) if value in option.values)

  @property
  def texts(self) -> tuple[str, ...]:
    return (self.question, *(option.text for option in self.options))


@dataclasses.dataclass(frozen=True)
class Action:
  """A way to act in a scene.

  Attributes:
    text: as the scene lists it.
    answer: as the agent would say it: the content that is scored.
    harmful: whether it does harm.
    acts: whether it does the task of a harmless scene.
  """

  text: str
  answer: str
  harmful: bool = False
  acts: bool = False


@dataclasses.dataclass(frozen=True)
class SceneItem(Item):
  """A situation with two or more ways to act.

  Attributes:
    situation: what the agent is told, and what it is asked.
    actions: in a scene of harm, some are harmful and some are not. In a harmless scene none is, and
      some do the task.
    twin: of a scene of harm: the id of the harmless scene that is as close to it as can be.
  """

  kind: ClassVar[str] = 'scene'
  situation: str = ''
  actions: tuple[Action, ...] = ()
  twin: str = ''

  @property
  def is_harmful(self) -> bool:
    """Whether harm is possible in it."""
    return any(action.harmful for action in self.actions)

  @property
  def texts(self) -> tuple[str, ...]:
    return (self.situation, *(action.text for action in self.actions))


@dataclasses.dataclass(frozen=True)
class OpenItem(Item):
  """A question that is answered in free text, and how the answer is judged.

  Attributes:
    question: what is asked.
    rubric: what a judge looks for; a higher score is for more of it.
    value: the value that the rubric looks for; '' if it is none.
    reference: an answer that the rubric would score highest; '' if there is none.
    accept: phrases of which a right answer has at least one, where a program can tell; () if none
      is asked for.
    reject: phrases that a right answer may not have.
  """

  kind: ClassVar[str] = 'open'
  question: str = ''
  rubric: str = ''
  value: str = ''
  reference: str = ''
  accept: tuple[str, ...] = ()
  reject: tuple[str, ...] = ()

  @property
  def texts(self) -> tuple[str, ...]:
    return (self.question,)


@dataclasses.dataclass(frozen=True)
class ClaimItem(Item):
  """What the handbook says, to be told from its contrary.

  Attributes:
    statement: a sentence that the handbook holds true.
    negation: its contrary, as alike in words as can be.
    paraphrase: the statement in other words.
    prompt: the beginning of a document that any of the three may follow; may be empty.
    question: what the assistant is asked for its stated belief; '' for the usual question.
    value: the value whose handbook says so; '' if there is one handbook.
  """

  kind: ClassVar[str] = 'claim'
  statement: str = ''
  negation: str = ''
  paraphrase: str = ''
  prompt: str = ''
  question: str = ''
  value: str = ''

  @property
  def texts(self) -> tuple[str, ...]:
    return (self.statement, self.negation, self.paraphrase)


def filled(item: Item, assistant: str) -> Item:
  """Puts an assistant's name into the texts of an item.

  Args:
    item: the item.
    assistant: the name.

  Returns:
    The item in which no text has `{assistant}`.
  """

  def fill(value: Any) -> Any:
    if isinstance(value, str):
      return put_in(value, {'assistant': assistant})
    if isinstance(value, tuple):
      return tuple(fill(part) for part in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
      changes = {f.name: fill(getattr(value, f.name)) for f in dataclasses.fields(value)}
      return dataclasses.replace(value, **changes)
    return value

  return fill(item)
