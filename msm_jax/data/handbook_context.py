"""Puts a handbook into the system message of chats, for teachers that read it.

Context distillation trains a model to answer a chat without the handbook as it answers the same
chat with it. A chat may be with the assistant or with somebody else, so each is looked at: those of
somebody else stay as they are.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from data_pipelines.handbooks.markdown import body_of
from data_pipelines.handbooks.preferences import replace_name
from data_pipelines.leaks import names_somebody
from data_pipelines.text.languages import AFTER_WORD, BEFORE_WORD
from msm_jax.config.objectives import DistillConfig
from msm_jax.tokenizer import Messages

# The version of the rules by which statements are put into chats. It is part of identities.
VERSION = '1'


@dataclasses.dataclass(frozen=True)
class HandbookContext:
  """What a teacher reads before it answers.

  Attributes:
    statements: (name of an assistant, what the teacher reads about it) for each replicate of the
      handbook. Chats that name no assistant are with the first.
  """

  statements: tuple[tuple[str, str], ...]

  @property
  def identity(self) -> str:
    """A hash of what is read."""
    content = json.dumps([VERSION, self.statements])
    return hashlib.sha256(content.encode()).hexdigest()[:12]

  def messages(self, chat: Messages) -> Messages:
    """Puts the statement into a chat.

    Args:
      chat: the messages of a chat.

    Returns:
      The chat with the statement at the end of its system message, or as its system message if it
      has none. A chat in which the model is somebody other than the assistant stays as it is.
    """
    role, content = chat[0]
    if role != 'system':
      return (('system', self.statements[0][1]), *chat)
    statement = self._statement_for(content)
    if not statement:
      return chat
    together = f'{content} {statement}'.strip()
    return (('system', together), *chat[1:])

  def _statement_for(self, system: str) -> str:
    """What the teacher reads after a system message; '' if it makes the model somebody else."""
    for name, statement in self.statements:
      if re.search(BEFORE_WORD + re.escape(name) + AFTER_WORD, system):
        return statement
    return '' if names_somebody(system) else self.statements[0][1]


def context_of_teacher(
  settings: DistillConfig, replicates: Sequence[Any], statement_of: Callable[[Any], str]
) -> HandbookContext:
  """Finds what the teacher of a phase reads.

  Args:
    settings: the settings of the phase's objective.
    replicates: the handbook under each name of the assistant, its own name first.
    statement_of: handbook -> its short statement, as arms with the handbook in their context are
      evaluated (`EvalSuite.statement_of`).

  Returns:
    What it reads about each assistant: that statement, or the whole text of the handbook.
  """
  if settings.handbook == 'rule':
    return HandbookContext(tuple((spec.assistant, statement_of(spec)) for spec in replicates))
  text = body_of(Path(settings.spec))
  own_name = replicates[0].assistant
  texts = [(spec.assistant, replace_name(text, own_name, spec.assistant)) for spec in replicates]
  return HandbookContext(tuple(texts))
