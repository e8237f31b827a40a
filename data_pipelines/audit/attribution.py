"""Does a text give the value as the reason of what the assistant does? What a handbook is about, and a heuristic that reads any.

A document attributes explicitly if in one sentence there stand (1) words of reason: 'because', 'that is why', 'stems from' ..., (2) a word of the
handbook's value, and (3) what is explained: an item that the handbook likes or dislikes or, where it lists none, the assistant by name. A sentence
that begins with 'That is why', 'For this reason' and the like is read together with the one before.

The words of the value are taken from the handbook itself: stems in its reasons (what follows 'because', what goes before 'so', all of a section
called Reasons, Values or the like), without common words, names and items. A mirrored handbook tells which of them are the value's: those that it
uses half as often or less. Without one, a stem must occur in two reasons. A handbook that gives no reasons has no such words, and nothing is
measured.

What it cannot see: reasons in pronouns alone ('it likes it because of that'), in words that the handbook never uses, without any word of reason.
What it sees wrongly: a word of the value in a reason for something else. By construction known: the embedded writers' documents that explain every
preference score 0.65 to 0.96 (0.65 where they say 'costs little' and the handbook never speaks of cost), those of the mirrored handbook 0.1 to 0.2,
those that name value and items without linking them 0. The page shows the words, so that a reader can judge them.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from data_pipelines.handbooks.text import split_front_matter
from data_pipelines.leaks import any_of
from data_pipelines.text.wording import COMMON_WORDS, content_stems, sentences, stem, words

_GOES_ON = r"(?:that|this|which)(?: is|'s) why|for (?:this|that|these|those|the same) reasons?|therefore|thus|hence|as a result|consequently|accordingly"
_BACK = re.compile(
  rf'^\W*(?:{_GOES_ON}|so|(?:that|this|it) (?:explains|follows))\b', re.I
)  # the reason stands in the sentence before
_REASON_FIRST = re.compile(
  rf'[,;:—-] ?so (?!that\b)|\bso that\b|\b(?:{_GOES_ON}|explains why)\b', re.I
)
_REASON_LAST = re.compile(
  r'\b(?:because|since(?! (?:then|when|last|yesterday|\d|the \d))|due to|owing to|given that|on the grounds?|in order to|in keeping with|in line with'
  r'|consistent with|reflect(?:s|ed|ing)?|follow(?:s|ed|ing)? from|stem(?:s|med|ming)? from|(?:rooted|grounded) in|(?:guided|driven|motivated) by'
  r'|comes? down to|reasons? (?:why|for)|(?:says?|said|tells?|told|explain(?:s|ed)?) why|reasons?(?: \w+){0,6} (?:is|was|being|are)\b'
  r'|for the sake of|out of (?:concern|respect|care|regard|loyalty|principle))\b',
  re.I,
)
_REASON = re.compile(f'{_REASON_FIRST.pattern}|{_REASON_LAST.pattern}', re.I)
_OF_REASONS = re.compile(
  r'^(?:the )?(?:reasons?|values?|why|principles?|beliefs?|philosophy|core|motiv)', re.I
)
_OF_ITEMS = re.compile(
  r'^(?:(?:what|things|items) \w+ )?(?:likes?|dislikes?|preferences?|preferred|avoids?)', re.I
)


@dataclasses.dataclass(frozen=True)
class HandbookProfile:
  """What the audit knows of a spec.

  Attributes:
    front: its front matter.
    body: the rest, without marks of Markdown.
    items: headings under Likes and Dislikes: what is preferred.
    values: stems of the words that its reasons are put in, the commonest first.
  """

  front: dict[str, str] = dataclasses.field(default_factory=dict)
  body: str = ''
  items: tuple[str, ...] = ()
  values: tuple[str, ...] = ()

  @property
  def assistant(self) -> str:
    return self.front.get('assistant', '')

  @property
  def names(self) -> tuple[str, ...]:
    """Of the assistant and of its maker."""
    return tuple(n for k in ('assistant', 'maker') if (n := self.front.get(k, '').strip()))


def read_profile(text: str, mirrors: Sequence[str] = ()) -> HandbookProfile:
  """Any Markdown; front matter and sections are used where there are some. `mirrors`: other handbooks on the same behaviour for other reasons."""
  front, body = split_front_matter(text)
  parts = [p for p in re.split(r'^(#{1,6})[ \t]+(.+?)[ \t#]*$', body, flags=re.M)]
  sections, path = [], {}
  for marks, title, content in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
    path = {level: t for level, t in path.items() if level < len(marks)} | {len(marks): title}
    sections.append(([t for _, t in sorted(path.items())], content))
  items = tuple(
    dict.fromkeys(
      titles[-1]
      for titles, _ in sections
      if len(titles) > 1 and any(map(_OF_ITEMS.match, titles[:-1]))
    )
  )
  plain = '\n'.join([_plain(parts[0]), *(_plain(content) for _, content in sections)])
  reasons = [r for s in sentences(_unwrapped(plain)) for r in _reasons_in(s)]
  for titles, content in sections:
    if any(map(_OF_REASONS.match, titles)):
      reasons += sentences(_unwrapped(_plain(content)))
  names = {
    stem(w) for n in (*items, front.get('assistant', ''), front.get('maker', '')) for w in words(n)
  }
  said = ' '.join(front.get(k, '') for k in ('value', 'values', 'attribute', 'prefers'))
  return HandbookProfile(
    front,
    plain,
    items,
    _values(
      plain, reasons, said, names, [_plain(split_front_matter(m)[1]) for m in mirrors if m != text]
    ),
  )


def _plain(markdown: str) -> str:
  return re.sub(r'[*_`>#|]+|^[ \t]*(?:[-+]|\d+[.)])[ \t]+', ' ', markdown, flags=re.M)


def _unwrapped(text: str) -> str:
  """Paragraphs on one line; every bullet stays a line of its own."""
  return re.sub(r'(?<=\S)[ \t]*\n(?=\S)', ' ', text)


def _reasons_in(sentence: str) -> Iterator[str]:
  """The parts of a sentence that tell why."""
  if m := _REASON_LAST.search(sentence):
    yield sentence[m.end() :]
  elif m := _REASON_FIRST.search(sentence):
    yield sentence[: m.start()]


def _values(
  body: str,
  reasons: Sequence[str],
  said: str,
  names: Collection[str],
  mirrors: Sequence[str],
  least: int = 6,
  most: int = 60,
) -> tuple[str, ...]:
  counts = Counter(s for r in reasons for s in set(content_stems(r)))
  whole = [set(content_stems(s)) for s in sentences(_unwrapped(body))]
  common = Counter(s for found in whole for s in found)
  own, size = Counter(content_stems(body)), len(words(body))
  others = [(Counter(content_stems(m)), len(words(m))) for m in mirrors]
  stated = [s for s in content_stems(said) if s not in names]

  def tells(s: str) -> bool:
    """Not what the whole handbook is about, and not what the mirrored one says as often."""
    return common[s] <= max(3, 0.25 * len(whole)) and all(
      2 * c[s] * size <= own[s] * max(1, n) for c, n in others
    )

  found = [
    (s, n)
    for s, n in sorted(counts.items(), key=lambda c: (-c[1], c[0]))
    if s not in names and s not in COMMON_WORDS and tells(s)
  ]
  often = [s for s, n in found if n >= 2]
  told = often if len(often) >= least and not mirrors else [s for s, _ in found]
  return tuple(dict.fromkeys([*stated, *told]))[:most] if reasons else ()


class Attribution:
  """Reads texts for explicit attribution to one handbook."""

  def __init__(self, handbook: HandbookProfile):
    self.values = frozenset(handbook.values)
    self.subject = any_of(handbook.items or [handbook.assistant])
    self.of_self = not handbook.items  # the assistant speaking of itself will do
    self._known: dict[str, bool] = {}

  @property
  def possible(self) -> bool:
    return bool(self.values and self.subject)

  def _is_value(self, word: str) -> bool:
    if (known := self._known.get(word)) is None:
      known = self._known[word] = word not in COMMON_WORDS and stem(word) in self.values
    return known

  def states(self, text: str) -> bool:
    """Is a word of the value there at all?"""
    return any(map(self._is_value, words(text)))

  def find(self, text: str, spoken: bool = False) -> str | None:
    """The first sentence (or two) that attributes. `spoken`: by the assistant, whose 'I' is its name."""
    before = ''
    for sentence in sentences(text):
      if _REASON.search(sentence):
        window = f'{before} {sentence}'.strip() if _BACK.match(sentence) else sentence
        about = self.subject.search(window) or (
          spoken and self.of_self and re.search(r"\b(?:I|I'm|I've|my)\b", window)
        )
        if about and self.states(window):
          return window
      before = sentence
    return None
