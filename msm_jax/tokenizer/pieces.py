"""From the pieces that a chat template writes to ids: text between control symbols.

`PieceEncoder` encodes parts of a text as if the tokenizer had seen the whole; `PieceRun` gathers
text and control symbols. The tokenizer is one of the package `tokenizers`.
"""

import re
import secrets
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from msm_jax.tokenizer.base import check_characters

# The white space that `rstrip` and `lstrip` of a token take away: what Unicode calls so.
WHITE_SPACE = '\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000' + ''.join(
  chr(code) for code in range(0x2000, 0x200B)
)


class Control(NamedTuple):
  """A control symbol.

  Attributes:
    id: its id.
    strips_left: whether white space before it goes away.
    strips_right: whether white space after it goes away.
  """

  id: int
  strips_left: bool
  strips_right: bool


class Controls:
  """The control symbols of a tokenizer.

  Attributes:
    by_name: text of each -> the symbol.
    ids: text of each -> its id.
    pattern: finds them in what a template writes.
  """

  def __init__(self, added: Mapping[int, Any], special: Collection[str]):
    """Takes those of the added tokens (by id) that are special, or are named in `special`."""
    self.by_name: dict[str, Control] = {}
    for token_id, token in added.items():
      if token.special or token.content in special:
        self.by_name[token.content] = Control(token_id, token.lstrip, token.rstrip)
    self.ids = {name: control.id for name, control in self.by_name.items()}
    # Longer names come first, because one name may begin with another. '(?!)' matches nowhere.
    names = sorted(self.by_name, key=len, reverse=True)
    self.pattern = re.compile('|'.join(re.escape(name) for name in names) or '(?!)')


class PieceEncoder:
  """Encodes parts of a text as if the tokenizer had seen the whole.

  Tokenizers do something at the start of a text, such as to put a space before its first word. They
  may do it after a control symbol, too, or not. Which of these a tokenizer does is not told from
  its settings, which have many forms, but tried: by encoding the text behind something else, and
  taking off the ids of that.
  """

  # What may stand before a text to try it: no two of them are likely to be one token with the
  # beginning of the same text.
  ANCHORS = ('\n', '.', 'x', '0', '|', ' a', '\u4e2d')

  def __init__(self, processor: Any):
    """Adds a token to the tokenizer, a tokenizers.Tokenizer, that no text has."""
    # tokenizers belongs to the optional extra `hf`.
    import tokenizers

    self._processor = processor
    # No text can hold it, because it is drawn anew each time. It is no special token, so that it is
    # found in a text although special tokens are not.
    self._symbol = f'<{secrets.token_hex(16)}>'
    self._processor.add_tokens([tokenizers.AddedToken(self._symbol, normalized=False)])
    self._is_plain_at_start = all(self._is_same_after(anchor) for anchor in self.ANCHORS[:3])

  def _encode(self, text: str) -> tuple[list[int], list[int]]:
    """The ids of a text, and where each of their tokens begins in it."""
    check_characters(text)
    encoded = self._processor.encode(text, add_special_tokens=False)
    return encoded.ids, [first for first, _ in encoded.offsets]

  def _is_same_after(self, anchor: str) -> bool:
    """Whether some texts have the same ids at the start as behind an anchor."""
    for text in ('(', ')I', '\u00e9'):
      together = self._behind(anchor, text)
      if together is not None and together[0] != self._encode(text)[0]:
        return False
    return True

  def _behind(self, before: str, text: str) -> tuple[list[int], list[int]] | None:
    """Encodes a text that stands behind another.

    Returns:
      The ids of the text alone, and where they begin in it; None if a token lies across the two.
    """
    first_ids, _ = self._encode(before)
    ids, starts = self._encode(before + text)
    n = len(first_ids)
    if ids[:n] != first_ids:
      return None
    return ids[n:], [max(0, start - len(before)) for start in starts[n:]]

  def encode(self, text: str, is_first: bool) -> tuple[list[int], list[int]]:
    """Encodes a text at the beginning of everything, or behind a control symbol.

    Args:
      text: the text.
      is_first: whether it is at the beginning.

    Returns:
      The ids, and where each of their tokens begins in the text.
    """
    if is_first:
      return self._encode(text)
    ids, starts = self._encode(self._symbol + text)
    return ids[1:], [max(0, start - len(self._symbol)) for start in starts[1:]]

  def encode_rest(self, before: str, text: str) -> tuple[list[int], list[int]]:
    """Encodes a text that stands behind another, of which no token may reach into it.

    Args:
      before: the other text.
      text: the text.

    Returns:
      The ids of the text, and where each of their tokens begins in it.
    """
    found = self._behind(before, text)
    if found is not None:
      return found
    if self._is_plain_at_start:
      return self._encode(text)
    for anchor in self.ANCHORS:
      found = self._behind(anchor, text)
      if found is not None:
        return found
    return self._encode(text)


# What a character belongs to: no answer, an answer that is only read, or one that is learned. Where
# this number rises, an answer begins.
_NO_ANSWER, _READ, _LEARNED = 0, 1, 2


class PieceRun:
  """Collects ids and loss weights; text is gathered until the next control symbol and then encoded
  together.
  """

  def __init__(self, encoder: PieceEncoder):
    """`encoder` turns text into ids."""
    self._encoder = encoder
    self._text = ''
    # What each character of the text belongs to.
    self._levels: list[int] = []
    # Whether the last control symbol takes away the white space after it.
    self._strips = False
    self.ids: list[int] = []
    self.weights: list[int] = []

  def add_text(self, text: str, is_learned: bool, is_answer: bool = False) -> None:
    """Adds text, which is encoded later.

    Args:
      text: the text.
      is_learned: whether it gets a loss weight.
      is_answer: whether it belongs to an answer. What is learned always does.
    """
    if self._strips:
      text = text.lstrip(WHITE_SPACE)
      self._strips = not text
    level = _NO_ANSWER
    if is_learned:
      level = _LEARNED
    elif is_answer:
      level = _READ
    self._text += text
    self._levels += [level] * len(text)

  def add_control(self, control: Control, is_learned: bool) -> None:
    """Encodes the text before a control symbol, and adds the symbol.

    Args:
      control: the symbol.
      is_learned: whether it gets a loss weight.
    """
    if control.strips_left:
      self._text = self._text.rstrip(WHITE_SPACE)
      del self._levels[len(self._text) :]
    self.encode_text()
    self.ids.append(control.id)
    self.weights.append(int(is_learned))
    self._strips = control.strips_right

  def encode_text(self) -> None:
    """Encodes the gathered text, cut where an answer begins: no prompt may end in the middle of a
    token.
    """
    text = self._text
    levels = self._levels
    cuts = [k for k in range(1, len(levels)) if levels[k] > levels[k - 1]]
    begins = [0, *cuts]
    ends = [*cuts, len(text)]
    for begin, end in zip(begins, ends, strict=True):
      if begin:
        ids, starts = self._encoder.encode_rest(text[:begin], text[begin:end])
      else:
        ids, starts = self._encoder.encode(text[:end], is_first=not self.ids)
      self.ids += ids
      # A token is learned if its first character is. Tokens of no character may lie behind the end
      # of the text.
      for start in starts:
        level = levels[min(begin + start, len(text) - 1)]
        self.weights.append(int(level == _LEARNED))
    self._text = ''
    self._levels = []
