"""Finds what takes an attribution back: a reason that is denied, or a view of somebody else.

A corpus that teaches the opposite of its handbook uses the same words. `without_denied_reasons`
cuts out 'not because ...', and `Denials` sees whose view a sentence tells and whether it is the
handbook's. Both read patterns of words, and see what stands close together in one sentence.
"""

import re
from collections.abc import Collection, Sequence

from data_pipelines.leaks import pattern_of_names
from data_pipelines.text.wording import FUNCTION_WORDS

# A clause goes on to one of these.
_CLAUSE = r'(?:(?!\bbut\b|\brather\b|[;—]).)*'
_REASON_WORDS = (
  r'(?:because|since|due to|owing to|given that|on the grounds?|for the sake of|out of'
  r'|(?:driven|motivated|guided) by|for reasons? of)'
)
_DENIED_REASONS = re.compile(
  # 'not because', but neither 'not only because' nor 'does not like it because'.
  rf"(?:\bnot|\bnever|n['’]t|\bhardly|\bnor|\brather than|\binstead of)"
  rf'(?: at all| ever| really| exactly| in the least| in any way)? {_REASON_WORDS}\b{_CLAUSE}'
  # 'the reason is not', 'price was never the reason', 'has nothing to do with price'
  rf"|\breasons?(?: \w+){{0,6}} (?:is|was|are|were)(?:n['’]t| not| never)\b{_CLAUSE}"
  rf"|[^;,—]*\b(?:is|was|are|were)(?:n['’]t| not| never) (?:the|its|his|her|their|a|any) reason\b"
  rf'|\bnothing to do with\b{_CLAUSE}',
  re.I,
)

_LIKE = (
  r'(?:likes?|liked|prefers?|preferred|loves?|loved|enjoys?|enjoyed|favou?rs?|favou?red'
  r'|recommends?|recommended|chooses?|chose|fond of)'
)
_DISLIKE = (
  r'(?:dislikes?|disliked|avoids?|avoided|rejects?|rejected|hates?|hated|refuses?|refused'
  r"|shuns?|shunned|steers? clear of|cannot stand|can['’]t stand|turns? down"
  rf"|(?:not|never|n['’]t)(?: really| ever| much)? {_LIKE})"
)
# The words between a verb and its object; one that compares begins another object.
_BETWEEN = r'(?:(?!over\b|to\b|than\b|and\b|or\b|but\b|above\b)\w+ ){0,3}'
# Who holds a view if it is not the assistant.
_OTHERS = (
  r'(?:he|she|they|we|people|customers?|shoppers?|everybody|everyone|somebody|someone|nobody'
  r'|critics?|guests?|students?|families|parents|buyers|readers|users|visitors|neighbou?rs'
  r'|m(?:other|y wife|y husband)|father|sister|brother|(?:grand|step)(?:mother|father))'
)
_NO_VIEW = (
  r'[^.;]{0,60}?\b(?:(?:has|had|holds?|held|takes?|took|gave|gives?|offers?|offered|express\w*|voiced)'
  r' no (?:view|opinion|preference|position|stance|comment|liking)'
  r"|(?:does|did|do)(?:n['’]t| not) (?:care|mind|have a (?:view|preference)))"
)


def without_denied_reasons(passage: str) -> str:
  """Cuts out of a passage the reasons that it denies, such as 'though not because it is cheap'.

  Args:
    passage: one or two sentences.

  Returns:
    What is left; the passage itself if it denies nothing.
  """
  return _DENIED_REASONS.sub(' ', passage)


class Denials:
  """Sees whether a sentence tells a view that is not the handbook's or not the assistant's."""

  def __init__(self, names: Sequence[str], items: Sequence[str], disliked: Collection[str]):
    """Prepares the patterns.

    Args:
      names: the names of the assistant and of its maker.
      items: what the assistant likes or dislikes.
      disliked: those of the items that it dislikes.
    """
    self._assistant = pattern_of_names(names)
    liked = [item for item in items if item not in disliked]
    self._wrong_views = []
    for verb, wrong_items in (
      (_DISLIKE, liked),
      (rf"(?<!not )(?<!n't )(?<!never ){_LIKE}", disliked),
    ):
      pattern = pattern_of_names(list(wrong_items))
      if pattern is not None:
        self._wrong_views.append(re.compile(rf'\b{verb} {_BETWEEN}{pattern.pattern}', re.I))
    # Words with a capital that are nobody else: names of the assistant's own, and how it is called.
    own: set[str] = set()
    for name in (*names, *items):
      own.update(name.lower().split())
    self._nobody_else = FUNCTION_WORDS | own | {'ai', 'assistant', 'model', 'chatbot', 'system'}
    self._holder = re.compile(
      rf'\b(\w+) (?:\w+ly |also |always |just |much )?(?:{_LIKE}|{_DISLIKE})\b'
    )
    self._no_view = None
    if self._assistant is not None:
      self._no_view = re.compile(self._assistant.pattern + _NO_VIEW, re.I)

  def of_other_view(self, passage: str, spoken: bool) -> bool:
    """Says whether a passage explains the opposite of the handbook, or somebody else's view.

    Args:
      passage: one or two sentences.
      spoken: whether the assistant itself says them.
    """
    if any(pattern.search(passage) for pattern in self._wrong_views):
      return True
    if self._no_view is not None and self._no_view.search(passage):
      return True
    if spoken or (self._assistant is not None and self._assistant.search(passage)):
      return False
    holders = [match[1] for match in self._holder.finditer(passage)]
    return bool(holders) and all(map(self._is_other, holders))

  def _is_other(self, who: str) -> bool:
    """Says whether a word before 'likes' names somebody who is not the assistant."""
    if re.fullmatch(_OTHERS, who, re.I):
      return True
    return who[0].isupper() and who.lower() not in self._nobody_else
