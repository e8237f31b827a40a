"""Does a text give a handbook's value as the reason for what the assistant does?

`read_profile` finds what a handbook is about. `Attribution` is a heuristic that looks for it in
texts.

A document attributes explicitly if one sentence holds all of
(1) words of reason: 'because', 'that is why', 'stems from' ...,
(2) a word of the handbook's value, and
(3) what is explained: an item that the handbook likes or dislikes or, where the handbook lists no
    items, the assistant by name.
A sentence that begins with 'That is why', 'For this reason' and the like is read together with the
sentence before it.

No sentence counts that denies the reason ('though not because ...'), that explains the opposite of
the handbook (that the assistant dislikes what the handbook likes), or that gives the reason of
somebody else. See `denial.py`. Nor does a reason count that speaks for the other side: that
something liked is costly, where the handbook says so of what is disliked. See `poles.py`.

The words of the value come from the handbook itself: the stems in its reasons, without common
words, names and items. Reasons are what follows 'because', what goes before 'so', and all of a
section called Reasons, Values or the like. If there is a mirrored handbook, a stem counts only if
the mirrored handbook uses it at most half as often. If there is none, a stem must occur in two
reasons. A handbook without reasons has no such words, and nothing is measured. Nor is it for a
handbook in another language: words of reason and common words are English here.

The heuristic misses reasons that are given only in pronouns ('it likes it because of that'), in
words that the handbook never uses, or without any word of reason. It wrongly counts a word of the
value in a reason for something else. On texts whose attribution is known by construction it
measures: 0.65 to 0.96 for the embedded writers' documents that explain every preference (0.65 where
they say 'costs little' and the handbook never speaks of cost), 0.1 to 0.2 for those of the mirrored
handbook, and 0 for documents that name value and items without linking them. The page of the audit
shows the words, so that a reader can judge them.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from data_pipelines.audit.denial import Denials, without_denied_reasons
from data_pipelines.audit.poles import votes, word_sides
from data_pipelines.handbooks.markdown import split_at, split_front_matter, without_comments
from data_pipelines.leaks import pattern_of_names
from data_pipelines.text.languages import language_of
from data_pipelines.text.wording import COMMON_WORDS, content_stems, sentences, stem, words

# A handbook whose reasons repeat fewer stems than this keeps the stems that occur once, too.
_MIN_VALUE_STEMS = 6
_MAX_VALUE_STEMS = 60

_THEREFORE = (
  r"(?:that|this|which)(?: is|'s) why|for (?:this|that|these|those|the same) reasons?"
  r'|therefore|thus|hence|as a result|consequently|accordingly'
)
# The sentence before holds the reason.
_REFERS_BACK = re.compile(rf'^\W*(?:{_THEREFORE}|so|(?:that|this|it) (?:explains|follows))\b', re.I)
# The reason stands before these words in the same sentence.
_REASON_BEFORE = re.compile(
  rf'[,;:—-] ?so (?!that\b)|\bso that\b|\b(?:{_THEREFORE}|explains why)\b', re.I
)
# The reason stands after these words in the same sentence.
_REASON_AFTER = re.compile(
  r'\b(?:because|since(?! (?:then|when|last|yesterday|\d|the \d))|due to|owing to|given that'
  r'|on the grounds?|in order to|in keeping with|in line with|consistent with'
  r'|reflect(?:s|ed|ing)?|follow(?:s|ed|ing)? from|stem(?:s|med|ming)? from'
  r'|(?:rooted|grounded) in|(?:guided|driven|motivated) by'
  r'|comes? down to|reasons? (?:why|for)|(?:says?|said|tells?|told|explain(?:s|ed)?) why'
  r'|reasons?(?: \w+){0,6} (?:is|was|being|are)\b'
  r'|for the sake of|out of (?:concern|respect|care|regard|loyalty|principle))\b',
  re.I,
)
_REASON = re.compile(f'{_REASON_BEFORE.pattern}|{_REASON_AFTER.pattern}', re.I)
_FIRST_PERSON = re.compile(r"\b(?:I|I'm|I've|my)\b")

# Headings of sections that hold reasons, and of sections that hold items.
_DISLIKES_HEADING = re.compile(r'\b(?:dislikes?|avoids?)\b', re.I)
_REASONS_HEADING = re.compile(
  r'^(?:the )?(?:reasons?|values?|why|principles?|beliefs?|philosophy|core|motiv)', re.I
)
_ITEMS_HEADING = re.compile(
  r'^(?:(?:what|things|items) \w+ )?(?:likes?|dislikes?|preferences?|preferred|avoids?)', re.I
)
# As Markdown has it, up to three spaces may stand before a heading.
_HEADING = re.compile(r'^ {0,3}(#{1,6})[ \t]+(.+?)[ \t#]*$', re.M)


@dataclasses.dataclass(frozen=True)
class HandbookProfile:
  """What the audit knows of a handbook.

  Attributes:
    front: the front matter, key -> value.
    body: the rest, without the marks of Markdown.
    items: the headings below Likes and Dislikes: what the assistant likes or dislikes.
    disliked: those of the items that it dislikes.
    values: stems of the words in which the handbook gives its reasons, the commonest first; none
      for a handbook in another language than English.
    sides: stems that are said of liked things (1) or of disliked ones (-1); see `poles.py`.
  """

  front: dict[str, str] = dataclasses.field(default_factory=dict)
  body: str = ''
  items: tuple[str, ...] = ()
  disliked: tuple[str, ...] = ()
  values: tuple[str, ...] = ()
  sides: Mapping[str, int] = dataclasses.field(default_factory=dict)

  @property
  def assistant(self) -> str:
    return self.front.get('assistant', '')

  @property
  def names(self) -> tuple[str, ...]:
    """The names of the assistant and of its maker, as far as the front matter has them."""
    names = []
    for key in ('assistant', 'maker'):
      name = self.front.get(key, '').strip()
      if name:
        names.append(name)
    return tuple(names)


@dataclasses.dataclass(frozen=True)
class _Section:
  """A section of a handbook: the titles on the path to it, its own last, and its text."""

  titles: list[str]
  content: str


def read_profile(text: str, mirrors: Sequence[str] = ()) -> HandbookProfile:
  """Reads what a handbook is about.

  Args:
    text: any Markdown. Front matter and sections are used where there are some.
    mirrors: other handbooks that ask for the same behaviour for other reasons.

  Returns:
    The profile.
  """
  front, body = split_front_matter(text)
  # Writers are shown comments too, and may recite them. But what they say is nobody's view.
  whole = _plain_text(*_split_sections(body))
  beginning, sections = _split_sections(without_comments(body))
  plain = _plain_text(beginning, sections)
  # A dict keeps the order and drops repetitions.
  items: dict[str, None] = {}
  disliked: dict[str, None] = {}
  said_of_liked: list[str] = []
  said_of_disliked: list[str] = []
  for section in sections:
    parents = section.titles[:-1]
    if any(_ITEMS_HEADING.match(title) for title in parents):
      items[section.titles[-1]] = None
      said = said_of_liked
      if any(_DISLIKES_HEADING.search(title) for title in parents):
        disliked[section.titles[-1]] = None
        said = said_of_disliked
      said.append(_unwrapped(_plain(section.content)))

  reasons: list[str] = []
  # In German a ', so' gives no reason, a 'weil' would be missed, and 'der' would be a value.
  if language_of(body) in ('', 'English'):
    reasons = _reasons_of(plain, sections)
  name_stems: set[str] = set()
  for name in (*items, front.get('assistant', ''), front.get('maker', '')):
    name_stems.update(stem(word) for word in words(name))
  others = [without_comments(split_front_matter(m)[1]) for m in mirrors if m != text]
  mirror_bodies = [_plain(other) for other in others]
  stated_value = ' '.join(front.get(k, '') for k in ('value', 'values', 'attribute', 'prefers'))
  values = _value_stems(plain, reasons, stated_value, name_stems, mirror_bodies)
  sides = word_sides(said_of_liked, said_of_disliked, values)
  return HandbookProfile(front, whole, tuple(items), tuple(disliked), values, sides)


def _split_sections(body: str) -> tuple[str, list[_Section]]:
  """Splits Markdown at its headings into (text before the first heading, sections)."""
  found = split_at(_HEADING, body)
  beginning = body[: found[0][0].start()] if found else body
  sections = []
  open_titles: dict[int, str] = {}  # level of a heading -> its title
  for heading, content in found:
    marks, title = heading.groups()
    level = len(marks)
    # A heading ends all sections of its own level and of deeper ones.
    open_titles = {k: t for k, t in open_titles.items() if k < level}
    open_titles[level] = title
    titles = [t for _, t in sorted(open_titles.items())]
    sections.append(_Section(titles, content))
  return beginning, sections


def _plain_text(beginning: str, sections: Sequence[_Section]) -> str:
  """The text of a handbook without headings and without the marks of Markdown."""
  return '\n'.join([_plain(beginning), *(_plain(section.content) for section in sections)])


def _plain(markdown: str) -> str:
  """Removes the marks of Markdown."""
  return re.sub(r'[*_`>#|]+|^[ \t]*(?:[-+]|\d+[.)])[ \t]+', ' ', markdown, flags=re.M)


def _unwrapped(text: str) -> str:
  """Joins the lines of a paragraph into one line."""
  return re.sub(r'(?<=\S)[ \t]*\n(?=\S)', ' ', text)


def _reasons_of(plain: str, sections: Sequence[_Section]) -> list[str]:
  """The parts of a handbook that give reasons. `plain`: its text without marks."""
  reasons: list[str] = []
  for sentence in sentences(_unwrapped(plain)):
    reasons += _reasons_in(sentence)
  for section in sections:
    if any(_REASONS_HEADING.match(title) for title in section.titles):
      reasons += sentences(_unwrapped(_plain(section.content)))
  return reasons


def _reasons_in(sentence: str) -> Iterator[str]:
  """Yields the part of a sentence that gives a reason, if there is one."""
  after = _REASON_AFTER.search(sentence)
  if after:
    yield sentence[after.end() :]
    return
  before = _REASON_BEFORE.search(sentence)
  if before:
    yield sentence[: before.start()]


def _value_stems(
  body: str,
  reasons: Sequence[str],
  stated_value: str,
  name_stems: Collection[str],
  mirror_bodies: Sequence[str],
) -> tuple[str, ...]:
  """Chooses the stems that stand for a handbook's value.

  Args:
    body: the handbook without marks.
    reasons: parts of it that give reasons.
    stated_value: what the front matter says of the value.
    name_stems: stems of names and items, which are no values.
    mirror_bodies: mirrored handbooks without marks.

  Returns:
    At most 60 stems: those of the front matter, then those of the reasons, the commonest first.
  """
  if not reasons:
    return ()
  reasons_with_stem = _texts_with_stem(reasons)
  all_sentences = sentences(_unwrapped(body))
  sentences_with_stem = _texts_with_stem(all_sentences)
  own_counts = Counter(content_stems(body))
  own_words = len(words(body))
  mirrors = [(Counter(content_stems(m)), len(words(m))) for m in mirror_bodies]

  def is_typical(value_stem: str) -> bool:
    """Says whether a stem tells this value from the topic and from the mirrored values."""
    # What more than a quarter of the sentences hold is the topic of the whole handbook.
    if sentences_with_stem[value_stem] > max(3, 0.25 * len(all_sentences)):
      return False
    for counts, n_words in mirrors:
      # Rates are compared, not counts, since the handbooks may differ in length.
      if 2 * counts[value_stem] * own_words > own_counts[value_stem] * max(1, n_words):
        return False
    return True

  typical, repeated = [], []
  commonest_first = sorted(reasons_with_stem.items(), key=lambda item: (-item[1], item[0]))
  for candidate, n_reasons in commonest_first:
    if candidate in name_stems or candidate in COMMON_WORDS or not is_typical(candidate):
      continue
    typical.append(candidate)
    if n_reasons >= 2:
      repeated.append(candidate)
  # Without a mirrored handbook, only repetition tells a value from a detail.
  chosen = typical
  if len(repeated) >= _MIN_VALUE_STEMS and not mirror_bodies:
    chosen = repeated
  stated = [s for s in content_stems(stated_value) if s not in name_stems]
  return tuple(dict.fromkeys([*stated, *chosen]))[:_MAX_VALUE_STEMS]


def _texts_with_stem(texts: Iterable[str]) -> Counter[str]:
  """Stem -> in how many of the texts it occurs."""
  n_texts: Counter[str] = Counter()
  for text in texts:
    n_texts.update(set(content_stems(text)))
  return n_texts


class Attribution:
  """Reads texts for explicit attribution to the value of one handbook."""

  def __init__(self, handbook: HandbookProfile):
    self.values = frozenset(handbook.values)
    # If the handbook lists no items, what is explained is the assistant's conduct.
    self.explains_assistant = not handbook.items
    self.subject = pattern_of_names(handbook.items or [handbook.assistant])
    self._denials = Denials(handbook.names, handbook.items, handbook.disliked)
    self._sides = handbook.sides
    self._disliked = pattern_of_names(handbook.disliked)
    self._liked = pattern_of_names([i for i in handbook.items if i not in handbook.disliked])
    self._is_value_word: dict[str, bool] = {}

  @property
  def possible(self) -> bool:
    """Whether the handbook says enough to look for anything."""
    return bool(self.values and self.subject)

  def _is_value(self, word: str) -> bool:
    """Says whether a word stands for the value. Answers are kept, since stemming is slow."""
    known = self._is_value_word.get(word)
    if known is None:
      known = word not in COMMON_WORDS and stem(word) in self.values
      self._is_value_word[word] = known
    return known

  def states(self, text: str) -> bool:
    """Says whether a text holds a word of the value at all."""
    return any(self._is_value(word) for word in words(text))

  def find(self, text: str, spoken: bool = False) -> str | None:
    """Finds the first explicit attribution in a text.

    Args:
      text: the text.
      spoken: whether the assistant itself says the text, so that 'I' means the assistant.

    Returns:
      The sentence that attributes, together with the sentence before it if it refers to that one;
      None if no sentence attributes.
    """
    before = ''
    for sentence in sentences(text):
      if _REASON.search(sentence):
        window = sentence
        if _REFERS_BACK.match(sentence):
          window = f'{before} {sentence}'.strip()
        if self._attributes(window, spoken):
          return window
      before = sentence
    return None

  def _attributes(self, window: str, spoken: bool) -> bool:
    """Says whether a passage gives the value as the assistant's reason."""
    # Most passages end here, before the slower questions.
    if not self._names_subject(window, spoken) or not self.states(window):
      return False
    if self._denials.of_other_view(window, spoken):
      return False
    affirmed = without_denied_reasons(window)
    if affirmed != window and not (_REASON.search(affirmed) and self.states(affirmed)):
      return False
    return not self._speaks_for_the_other_side(affirmed)

  def _speaks_for_the_other_side(self, passage: str) -> bool:
    """Says whether all that a reason says of liked things is what the handbook says of disliked
    ones, or the other way round. Nothing is said of passages with things of both kinds."""
    names_liked = self._liked is not None and bool(self._liked.search(passage))
    names_disliked = self._disliked is not None and bool(self._disliked.search(passage))
    if names_liked == names_disliked:
      return False
    side = 1 if names_liked else -1
    found: list[int] = []
    for reason in _reasons_in(passage):
      found += votes(reason, self._sides)
    return bool(found) and all(vote != side for vote in found)

  def _names_subject(self, window: str, spoken: bool) -> bool:
    """Says whether a passage names what is to be explained."""
    if self.subject is not None and self.subject.search(window):
      return True
    return spoken and self.explains_assistant and bool(_FIRST_PERSON.search(window))
