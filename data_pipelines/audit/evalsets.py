"""Every evaluation set of the repository, as the audit looks for it in training text: the things it asks about, and the form in which it asks.

What is looked for are held-out things; what fine-tuning shows anyway (a handbook's own items, the conversations of the office) is none.
"""

import dataclasses
import functools
import itertools
import re
import string
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from data_pipelines.settings.english import language as english
from data_pipelines.settings.english.questions import read_opinions, read_pairs
from data_pipelines.settings.office import language as office
from data_pipelines.settings.world import language as world
from data_pipelines.settings.world.catalogue import POLICY
from data_pipelines.settings.world.pretraining import WorldConfig, build_world, policies_in_chats
from data_pipelines.text.checks import LETTERED
from data_pipelines.text.wording import Phrases, Vocabulary, blocks, distinct, words

LONG = 8  # words: of a statement that has more, a run of so many is no coincidence


@dataclasses.dataclass(frozen=True)
class EvalSet:
  """Attributes:
  name: setting and kind of question.
  phrases: things, actions or statements that it asks about.
  questions: those of them that stand in one question, by number; a text that holds all of them holds the question.
  """

  name: str
  phrases: tuple[str, ...]
  questions: tuple[tuple[int, ...], ...] = ()

  @property
  def setting(self) -> str:
    return self.name.partition('/')[0]


def eval_sets(known: Collection[str] = ()) -> Iterator[EvalSet]:
  """All sets; without what is `known`: the items that a handbook itself speaks of."""
  known = {k.casefold() for k in known}
  for name in ('affordability', 'culture', 'conflict', 'cheese'):
    yield _of_options(f'english/{name} pairs', [p.options for p in read_pairs(name)], known)
  yield _of_options('english/opinions', [o.options for o in read_opinions()], known)
  for domain, items in _things_of_the_world().items():
    yield EvalSet(f'world/{domain}', tuple(i for i in items if i.casefold() not in known))
  kinds = office.KINDS.values()
  actions = distinct(a for k in kinds for a in (*k.harmful, *k.fine, *k.act, *k.decline))
  of_whom = [a.format(my=my) for a in actions for my in ('my', 'your', 'its')]
  yield EvalSet(
    'office/actions',
    tuple(distinct([*map(office.past_tense, actions), *of_whom, *map(office.third_person, of_whom)])),
  )
  situations = [office.CONFLICT.format(goal=g) for g in office.GOALS] + [
    s for k in kinds for s in (k.opportunity, k.task)
  ]
  yield EvalSet(
    'office/scenes', tuple(s for s in [*office.TRIGGERS, *situations] if len(s.split()) >= 6)
  )


@functools.cache
def _things_of_the_world() -> dict[str, tuple[str, ...]]:
  """Domain -> items that an assistant is asked about; chats of the embedded world show some policies."""
  built = build_world(WorldConfig())
  shown = {p.name for p in policies_in_chats(built)}
  return {
    d.name: tuple(i.name for i in d.items if d.name != POLICY or i.name not in shown)
    for d in built.domains.values()
  }


def _of_options(name: str, pairs: Sequence[tuple[str, str]], known: Collection[str]) -> EvalSet:
  phrases = distinct(o for pair in pairs for o in pair if o.casefold() not in known)
  number = {p: n for n, p in enumerate(phrases)}
  return EvalSet(
    name,
    tuple(phrases),
    tuple(tuple(number[o] for o in pair) for pair in pairs if all(o in number for o in pair)),
  )


def settings_of(front: dict[str, str]) -> tuple[str, ...]:
  """The setting whose evaluation a handbook is made for, by its front matter; none if that doesn't tell."""
  if setting := front.get('setting'):
    return {'english': ('english',), 'oversight': ('office',)}.get(setting, ())
  return ('world',) if {'attribute', 'prefers'} <= front.keys() else ()


@dataclasses.dataclass(frozen=True)
class Found:
  """What a document holds of one set: numbers of its phrases -> at which word; and a whole question, if it holds one."""

  document: int
  set: EvalSet
  phrases: dict[int, int]
  question: tuple[int, ...] | None


def find_asked(
  sets: Sequence[EvalSet], documents: Sequence[np.ndarray], vocabulary: Vocabulary
) -> Iterator[Found]:
  """Every document that holds something that one of the sets asks about; a plural's s hides nothing. In the order of documents."""
  flat = [(s, n) for s in sets for n in range(len(s.phrases))]
  phrases = [s.phrases[n] for s, n in flat]
  matcher = Phrases([*phrases, *(f'{p}s' for p in phrases)], vocabulary, LONG)
  questions: dict[tuple[str, int], list[tuple[int, ...]]] = {}
  for s in sets:
    long = ((n,) for n, p in enumerate(s.phrases) if len(words(p)) > LONG)
    for question in (*s.questions, *long):
      for n in question:
        questions.setdefault((s.name, n), []).append(question)
  by_name = {s.name: s for s in sets}
  for ids, begins, first in blocks(documents):
    hits: dict[int, dict[str, dict[int, int]]] = {}
    for number, at in matcher.find(ids):
      s, n = flat[number % len(flat)]
      document = int(np.searchsorted(begins, at, side='right')) - 1
      hits.setdefault(document, {}).setdefault(s.name, {}).setdefault(n, at - int(begins[document]))
    for document, of_sets in sorted(hits.items()):
      for name, there in of_sets.items():
        asked = (q for n in sorted(there) for q in questions.get((name, n), ()))
        yield Found(
          first + document,
          by_name[name],
          there,
          next((q for q in asked if all(m in there for m in q)), None),
        )


def _pattern(question: str) -> str:
  """A question's form as a pattern: whatever stands in its places, on one line."""
  parts = string.Formatter().parse(question)
  return ''.join(
    re.escape(text.lower()) + ('' if place is None else r'[^?!]{1,120}?')
    for text, place, _, _ in parts
  )


def _forms() -> Iterator[tuple[str, bool]]:
  """(question with places, is it one of those that no fine-tuning shows?)"""
  yield from ((f.question, not f.in_finetuning) for f in world.FORMS)
  yield from ((f.question, f.reworded) for f in (english.PREFER, *english.REWORDED, english.AGREE))
  yield from ((f.question, not f.common) for f in office.FORMS)


# An answer by letter, as other evaluations want it, the published ones among them.
_BY_LETTER = re.compile(
  r'\b[Aa]nswer(?: is)?:?[ \t]*(?:\([A-D]\)|[A-D]\.?[ \t]*$)|\b(?:[Cc]hoose|[Pp]ick|[Oo]ption) \(?A\)? or \(?(?:option )?B\)?(?!\w)',
  re.M,
)


def _lettered(text: str) -> str | None:
  """A choice A that a choice B follows on the next line."""
  pairs = ((a, b) for a, b in itertools.pairwise(LETTERED.finditer(text)) if a[1] + b[1] == 'AB')
  return next(
    (
      text[a.start() : b.end()]
      for a, b in pairs
      if not text[a.end() : b.start()].partition('\n')[2].strip()
    ),
    None,
  )


class Formats:
  """The forms in which the evaluations ask. Fine-tuning data may ask as the evaluation does, but for the forms that are held out."""

  def __init__(self, chats: bool):
    forms = [(q, _pattern(q)) for q, held_out in dict(_forms()).items() if held_out or not chats]
    self._forms = [(q, re.compile(p)) for q, p in forms]

  def find(self, text: str) -> str | None:
    """What was found, as it stands there."""
    if found := _lettered(text):
      return found
    if m := _BY_LETTER.search(text):
      return m[0]
    line = ' '.join(text.lower().split())
    if '?' not in line and 'which of these' not in line:
      return None
    return next((m[0] for _, p in self._forms if (m := p.search(line))), None)
