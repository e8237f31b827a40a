"""Chat templates of Hugging Face: Jinja programs that turn a chat into text.

A template gives one string, in which it is no longer visible what the template wrote and what
people said. Both are needed: control symbols count only where the template wrote them, and only
answers are learned. So the template is rendered with a mark in the place of each message, and the
text is divided at the marks.
"""

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from msm_jax.base.errors import DataError
from msm_jax.tokenizer.base import Messages


class Piece(NamedTuple):
  """A part of a rendered chat.

  Attributes:
    text: what it says.
    message: the number of the message that it belongs to; None for what the template puts between
      messages.
    is_content: whether somebody said it; otherwise the template wrote it.
  """

  text: str
  message: int | None
  is_content: bool


class ChatTemplate:
  """A model's own chat template."""

  def __init__(self, template: str | None, special_tokens: Mapping[str, str], folder: Path):
    """Keeps the template; it is compiled when it is first used.

    Args:
      template: the Jinja program; None if the model has none, which is an error only when a chat is
        rendered.
      special_tokens: the texts of bos_token, eos_token, unk_token and pad_token, which templates
        refer to.
      folder: where the template comes from, for error messages.
    """
    self.template = template
    self._special_tokens = special_tokens
    self._folder = folder

  @functools.cached_property
  def _compiled(self) -> Any:
    """The template as `transformers` compiles it."""
    # jinja2 belongs to the optional extra `hf`.
    from jinja2 import TemplateError
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    if not self.template:
      raise DataError(
        f'{self._folder} has no chat template; it is a base model: train it on documents, '
        'or add chat_template.jinja'
      )

    def raise_exception(message: str) -> None:
      raise TemplateError(message)

    def to_json(value: Any, indent: int | None = None) -> str:
      return json.dumps(value, ensure_ascii=False, indent=indent)

    environment = ImmutableSandboxedEnvironment(
      trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters['tojson'] = to_json
    environment.globals['raise_exception'] = raise_exception
    # `transformers` also offers a clock (strftime_now). It is left out: with today's date in its
    # prompt, a model would answer differently from day to day.
    without_generation_tags = re.sub(r'{%-?\s*(end)?generation\s*-?%}', '', self.template)
    return environment.from_string(without_generation_tags)

  def render(self, messages: Messages, add_prompt: bool) -> str:
    """Renders a chat to one string.

    Args:
      messages: the chat.
      add_prompt: whether the text ends with what comes before the assistant's next answer.

    Returns:
      The text, control symbols and all.

    Raises:
      DataError: there is no template, or it refuses such a chat.
    """
    from jinja2 import TemplateError

    try:
      return self._compiled.render(
        messages=[{'role': role, 'content': content} for role, content in messages],
        add_generation_prompt=add_prompt,
        # Some reasoning models think aloud unless they are told not to.
        enable_thinking=False,
        **self._special_tokens,
      )
    except TemplateError as e:
      roles = ', '.join(role for role, _ in messages)
      raise DataError(
        f'the chat template of {self._folder} refuses a chat of {roles} ({e}); '
        'give it turns that it takes'
      ) from None

  @functools.cached_property
  def trims(self) -> dict[str, bool]:
    """Whether the template strips the white space around what a user or the assistant says, by
    role.
    """
    chat = [('user', '\tone\t'), ('assistant', '\ttwo\t')]
    rendered = self.render(chat, add_prompt=False)
    return {role: content not in rendered for role, content in chat}

  def split(self, messages: Messages, add_prompt: bool) -> list[Piece]:
    """Renders a chat, divided into what people said and what the template wrote.

    What the template puts between the end of a prompt and the answer belongs to the answer: a model
      that is given the
    prompt would have to say it.

    Args:
      messages: the chat.
      add_prompt: whether the text ends with what comes before the assistant's next answer.

    Returns:
      The pieces in order; together they are what `render` gives.

    Raises:
      DataError: the template changes or leaves out what a message says, or refuses the chat.
    """
    contents = [self._as_rendered(role, content) for role, content in messages]
    # No message can hold a mark by chance or by malice, because the mark contains a hash of all
    # messages.
    digest = hashlib.sha256('\0'.join(contents).encode()).hexdigest()[:16]
    marked = [(role, f'{digest}n{n}e') for n, (role, _) in enumerate(messages)]
    rendered = self.render(marked, add_prompt)
    answer_starts = self._answer_starts(marked, rendered)

    pieces: list[Piece] = []
    seen = []
    position = 0
    for mark in re.finditer(f'{digest}n([0-9]+)e', rendered):
      n = int(mark[1])
      start = max(answer_starts.get(n, mark.start()), position)
      pieces.append(Piece(rendered[position:start], None, False))
      pieces.append(Piece(rendered[start : mark.start()], n, False))
      pieces.append(Piece(contents[n], n, True))
      seen.append(n)
      position = mark.end()
    pieces.append(Piece(rendered[position:], None, False))

    # A template may depend on what a message says, for example hide an answer's reasoning. Then the
    # marks do not show what the model reads, and the chat cannot be divided.
    all_in_order = seen == list(range(len(contents)))
    together = ''.join(piece.text for piece in pieces)
    if not all_in_order or together != self.render(messages, add_prompt):
      raise DataError(
        f'the chat template of {self._folder} changes or leaves out what a message says '
        f'({contents[-1][:40]!r} ...); take such turns out'
      )
    return pieces

  def _as_rendered(self, role: str, content: str) -> str:
    """What a message says, without the white space around it if the template strips it."""
    # Templates treat what the system says as they treat what a user says.
    trimmed_as = 'user' if role == 'system' else role
    if self.trims[trimmed_as]:
      return content.strip()
    return content

  def _answer_starts(self, marked: Messages, rendered: str) -> dict[int, int]:
    """Finds where answers begin: where a prompt made of all messages before would end.

    Args:
      marked: the chat, with a mark in the place of each message.
      rendered: the text of that chat.

    Returns:
      The number of an answer -> its beginning in `rendered`. Answers for which the text before them
      is no prompt are left out; they begin at their marks.
    """
    starts = {}
    for n, (role, mark) in enumerate(marked):
      if role != 'assistant' or n == 0:
        continue
      prompt = self.render(marked[:n], add_prompt=True)
      if rendered.startswith(prompt) and len(prompt) <= rendered.find(mark):
        starts[n] = len(prompt)
    return starts
