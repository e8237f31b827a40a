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
from collections.abc import Mapping, Sequence
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


# The largest text or list that a template may make by repeating one, and the largest exponent.
MAX_PRODUCT = 10_000_000
MAX_POWER = 1000


def _make_environment() -> Any:
  """The Jinja environment of templates: the same filters, functions and tags as in `transformers`.

  Returns:
    A jinja2.Environment in which templates can change nothing outside of themselves.
  """
  # jinja2 belongs to the optional extra `hf`.
  from jinja2 import TemplateError, nodes
  from jinja2.ext import Extension, loopcontrols
  from jinja2.sandbox import ImmutableSandboxedEnvironment

  class GenerationTag(Extension):
    """Reads {% generation %} ... {% endgeneration %}, which mark the assistant's words.

    What lies between the tags is rendered as if they were not there. The parser of Jinja knows how
    tags deal with the white space around them, so no text is changed.
    """

    tags = {'generation'}  # noqa: RUF012 (Jinja wants a set)

    def parse(self, parser: Any) -> Any:
      line = next(parser.stream).lineno
      body = parser.parse_statements(('name:endgeneration',), drop_needle=True)
      call = self.call_method('_render_body')
      return nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _render_body(self, caller: Any) -> Any:
      return caller()

  def raise_exception(message: str) -> None:
    raise TemplateError(message)

  class Environment(ImmutableSandboxedEnvironment):
    """The sandbox bounds loops; this bounds products too, which could fill the memory."""

    intercepted_binops = frozenset({'*', '**'})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
      if operator == '*':
        for value, times in ((left, right), (right, left)):
          is_repeated = isinstance(value, str | list | tuple) and isinstance(times, int)
          if is_repeated and len(value) * times > MAX_PRODUCT:
            raise TemplateError(f'a product of more than {MAX_PRODUCT} characters or items')
      elif isinstance(right, int) and right > MAX_POWER:
        raise TemplateError(f'a power of more than {MAX_POWER}')
      return super().call_binop(context, operator, left, right)

  def to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
  ) -> str:
    """The filter `tojson`. Jinja's own would escape characters of HTML."""
    return json.dumps(
      value,
      ensure_ascii=ensure_ascii,
      indent=indent,
      separators=separators,
      sort_keys=sort_keys,
    )

  environment = Environment(
    trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, loopcontrols]
  )
  environment.filters['tojson'] = to_json
  environment.globals['raise_exception'] = raise_exception
  # `transformers` also offers a clock (strftime_now). It is left out: with today's date in its
  # prompt, a model would answer differently from day to day.
  return environment


class ChatTemplate:
  """A model's own chat template."""

  def __init__(self, template: str | None, special_tokens: Mapping[str, str], folder: Path):
    """Keeps the template; it is compiled when it is first used.

    Args:
      template: the Jinja program; None if the model has none, which is an error only when a chat is
        rendered.
      special_tokens: the texts of bos_token, eos_token and others that templates refer to; those
        that the model does not have are absent.
      folder: where the template comes from, for error messages.
    """
    self.template = template
    self._special_tokens = special_tokens
    self._folder = folder

  @functools.cached_property
  def _compiled(self) -> Any:
    """The template as `transformers` compiles it."""
    if not self.template:
      raise DataError(
        f'{self._folder} has no chat template; it is a base model: train it on documents, '
        'or add chat_template.jinja'
      )
    return _make_environment().from_string(self.template)

  def render(self, messages: Messages, add_prompt: bool) -> str:
    """Renders a chat to one string.

    Args:
      messages: the chat.
      add_prompt: whether the text ends with what comes before the assistant's next answer.

    Returns:
      The text, control symbols and all.

    Raises:
      DataError: there is no template, or it refuses such a chat, or it fails.
    """
    # jinja2 belongs to the optional extra `hf`.
    from jinja2 import TemplateError, TemplateSyntaxError

    roles = ', '.join(role for role, _ in messages)
    where = f'the chat template of {self._folder}'
    try:
      return self._compiled.render(
        messages=[{'role': role, 'content': content} for role, content in messages],
        # Templates ask whether these are none, so they must not be undefined.
        tools=None,
        documents=None,
        add_generation_prompt=add_prompt,
        # Some reasoning models think aloud unless they are told not to.
        enable_thinking=False,
        **self._special_tokens,
      )
    except (DataError, ModuleNotFoundError):
      raise
    except TemplateSyntaxError as e:
      raise DataError(
        f'{where} is no Jinja (line {e.lineno}: {_one_line(e)}); mend chat_template.jinja'
      ) from None
    except TemplateError as e:
      if 'strftime_now' in str(e):
        raise DataError(
          f"{where} asks for today's date (strftime_now), which would change the model from day "
          'to day; write a date into chat_template.jinja in its place'
        ) from None
      raise DataError(
        f'{where} refuses a chat of {roles} ({_one_line(e)}); give it turns that it takes'
      ) from None
    # A template is a program that somebody else wrote, and it can fail like any program.
    except Exception as e:
      raise DataError(
        f'{where} fails with a chat of {roles} ({type(e).__name__}: {_one_line(e)}); '
        'mend chat_template.jinja'
      ) from None

  def split(self, messages: Messages, add_prompt: bool) -> list[Piece]:
    """Renders a chat, divided into what people said and what the template wrote.

    What the template puts between the end of a prompt and the answer belongs to the answer: a model
    that is given the prompt would have to say it.

    A template may leave out a part of what a message says, for example the reasoning of earlier
    answers. A chat that is only asked (`add_prompt`) is then rendered as the template wants it. A
    chat that is learned is refused, since what it says would not be what is learned.

    Args:
      messages: the chat.
      add_prompt: whether the text ends with what comes before the assistant's next answer.

    Returns:
      The pieces in order; together they are what `render` gives.

    Raises:
      DataError: the template changes or leaves out what a message says, or refuses the chat.
    """
    rendered = self.render(messages, add_prompt)
    # No message can hold a mark by chance or by malice, because the mark contains a hash of all
    # messages.
    contents = [content for _, content in messages]
    hashed = '\0'.join(contents).encode(errors='surrogatepass')
    digest = hashlib.sha256(hashed).hexdigest()[:16]
    marks = [f'{digest}n{n}e' for n in range(len(messages))]
    marked = [(role, mark) for (role, _), mark in zip(messages, marks, strict=True)]
    with_marks = self.render(marked, add_prompt)
    between, missing = _divide(with_marks, digest, len(messages))
    # For example a template that shows only the last messages.
    if missing and not add_prompt:
      raise self._change_error(contents[missing[0]])
    said = _find_contents(rendered, between, contents)
    if said is None:
      said = self._changed_contents(messages, marked, rendered, between, missing, add_prompt)
    answer_starts = self._answer_starts(marked, with_marks)

    pieces: list[Piece] = []
    # `with_marks` is divided up to this place. The values of `answer_starts` are places in it, too.
    position = 0
    for n, text in enumerate(said):
      end = position + len(between[n])
      start = max(answer_starts.get(n, end), position)
      pieces.append(Piece(with_marks[position:start], None, False))
      pieces.append(Piece(with_marks[start:end], n, False))
      pieces.append(Piece(text, n, True))
      position = end
      if n not in missing:
        position += len(marks[n])
    pieces.append(Piece(between[-1], None, False))
    return pieces

  def _change_error(self, content: str) -> DataError:
    return DataError(
      f'the chat template of {self._folder} changes or leaves out what a message says '
      f'({content[:40]!r} ...); take such turns out'
    )

  def _changed_contents(
    self,
    messages: Messages,
    marked: Messages,
    rendered: str,
    between: Sequence[str],
    missing: Sequence[int],
    add_prompt: bool,
  ) -> list[str]:
    """Finds what a template that changes messages makes of each of them.

    Args:
      messages: the chat.
      marked: the chat, with a mark in the place of each message.
      rendered: the text of the chat.
      between: what the template writes around the marks.
      missing: the numbers of the messages whose marks it leaves out.
      add_prompt: as for `split`.

    Returns:
      The text of each message.

    Raises:
      DataError: the chat is to be learned, or these texts do not add up to what was rendered.
    """
    texts = []
    changed = []
    for n, (_, content) in enumerate(messages):
      text, is_changed = self._as_rendered(messages, marked, n, between, missing, add_prompt)
      texts.append(text)
      if is_changed:
        changed.append(content)
    if add_prompt and _join(between, texts) == rendered:
      return texts
    # Messages may change together alone. Then the error names the last one.
    raise self._change_error(changed[0] if changed else messages[-1][1])

  def _as_rendered(
    self,
    messages: Messages,
    marked: Messages,
    n: int,
    between: Sequence[str],
    missing: Sequence[int],
    add_prompt: bool,
  ) -> tuple[str, bool]:
    """Finds what the template makes of one message, by rendering it among marks.

    Args:
      messages: the chat.
      marked: the chat, with a mark in the place of each message.
      n: the number of the message.
      between: what the template writes around the marks.
      missing: the numbers of the messages whose marks it leaves out.
      add_prompt: as for `split`.

    Returns:
      The text, and whether it differs from the content by more than white space around it.
    """
    chat = [*marked[:n], messages[n], *marked[n + 1 :]]
    rendered = self.render(chat, add_prompt)
    content = messages[n][1]
    contents = [text for _, text in chat]
    found = _find_contents(rendered, between, contents)
    if found is not None:
      return found[n], False
    others = [mark for _, mark in marked]
    for left_out in missing:
      others[left_out] = ''
    before = _join(between[: n + 1], others[:n])
    after = _join(between[n + 1 :], others[n + 1 :])
    is_inside = rendered.startswith(before) and rendered.endswith(after)
    if is_inside and len(before) + len(after) <= len(rendered):
      return rendered[len(before) : len(rendered) - len(after)], True
    return content, True

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


def _one_line(error: Exception) -> str:
  """What an error of a template says, short and in one line."""
  return ' '.join(str(error).split())[:200]


# A mark as `split` makes them. A pattern with the digest of one chat would be compiled for each.
_MARK = re.compile('(?P<digest>[0-9a-f]{16})n(?P<number>[0-9]+)e')


def _divide(with_marks: str, digest: str, n_messages: int) -> tuple[list[str], list[int]]:
  """Divides a chat that was rendered with marks.

  Args:
    with_marks: the text.
    digest: what all marks begin with.
    n_messages: how many messages there are.

  Returns:
    What the template wrote before, between and after the messages; and the numbers of the messages
    that it left out, which count as empty. A mark that stands twice stays in the text.
  """
  between: list[str] = []
  missing: list[int] = []
  # Where the text begins that no message has yet.
  position = 0
  for mark in _MARK.finditer(with_marks):
    number = int(mark['number'])
    if mark['digest'] != digest or number < len(between):
      continue
    between.append(with_marks[position : mark.start()])
    position = mark.end()
    # Messages that were passed over have nothing between them.
    while len(between) <= number:
      missing.append(len(between) - 1)
      between.append('')
  between.append(with_marks[position:])
  while len(between) <= n_messages:
    missing.append(len(between) - 1)
    between.append('')
  return between, missing


def _join(between: Sequence[str], said: Sequence[str]) -> str:
  """The whole text, from what the template wrote and the one fewer things said in between."""
  parts = [between[0]]
  for text, after in zip(said, between[1:], strict=True):
    parts += [text, after]
  return ''.join(parts)


def _find_contents(
  rendered: str, between: Sequence[str], contents: Sequence[str]
) -> list[str] | None:
  """Finds the messages in a rendered chat.

  Templates strip the white space around some messages, on one or both sides, and each in its own
  way. So all ways are tried, and one that gives the very text is taken.

  Args:
    rendered: the text.
    between: what the template writes before, between and after the messages.
    contents: what the messages say.

  Returns:
    What is left of each message; None if one of them is changed otherwise.
  """
  if not rendered.startswith(between[0]):
    return None
  # Where the text can have come to -> the messages as they are up to there.
  found: dict[int, list[str]] = {len(between[0]): []}
  for content, after in zip(contents, between[1:], strict=True):
    longer: dict[int, list[str]] = {}
    for position, said in found.items():
      for text in _stripped(content):
        if rendered.startswith(text + after, position):
          longer.setdefault(position + len(text) + len(after), [*said, text])
    found = longer
  return found.get(len(rendered))


def _stripped(content: str) -> list[str]:
  """A text as it is, and with white space taken off its left, its right, or both sides."""
  # Some templates strip line breaks or blanks alone.
  texts = []
  for left in (content, content.lstrip('\n'), content.lstrip(' '), content.lstrip()):
    texts += [left, left.rstrip('\n'), left.rstrip(' '), left.rstrip()]
  return list(dict.fromkeys(texts))
