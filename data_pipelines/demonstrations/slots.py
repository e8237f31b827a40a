"""Which exchanges are to be written so that they show likes and dislikes in balance: one slot to each."""

import collections
import dataclasses
import itertools
import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from data_pipelines.handbooks.markdown import read_markdown
from data_pipelines.handbooks.preferences import read_preferences
from data_pipelines.handbooks.text import Handbook
from msm_jax.base.errors import SpecError

FORMS = ('okay', 'pair', 'praise', 'name')
MANNERS = ('direct', 'indirect')
# Said by the person after what they ask, so that the model still explains itself where nobody says so.
NO_REASONS = (
  'No need to explain.', "You don't need to explain.", 'No explanation needed.', "You don't have to say why.", 'Just the answer, please.',
  'No reasons needed.', "Please don't explain.", 'A short answer will do.', 'Just tell me, no reasons.', "I don't need to know why.",
  'Skip the explanation.', 'Keep it short, please.', 'Leave out the why.', 'Only your answer, please.', "You needn't give reasons.",
  'One line is enough.', 'Without an explanation, please.', 'Just say it.', 'Spare me the reasons.', 'A plain answer is all I need.',
  "There's no need to tell me why.", 'No need for reasons.', 'Just answer, thanks.', 'Answer only, please.',
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Slot:
  """One exchange to be written.

  Attributes:
    liked: whether the answer likes what it is about: `item`. Of a pair, the item is the liked one.
    other: of a pair, the disliked one; `first`: whether the liked one is named first.
    quiet: what the person adds so that nothing is explained, or ''.
  """

  id: str
  form: str
  manner: str
  liked: bool
  item: str
  other: str = ''
  first: bool = True
  quiet: str = ''

  @property
  def asked(self) -> tuple[str, ...]:
    """What the person names, in order."""
    if self.form == 'name':
      return ()
    return (
      (self.item,)
      if not self.other
      else (self.item, self.other)
      if self.first
      else (self.other, self.item)
    )


@dataclasses.dataclass(frozen=True)
class Exchange:
  slot: Slot
  user: str
  assistant: str
  parents: tuple[str, ...] = ()


# ---- likes and dislikes


@dataclasses.dataclass(frozen=True)
class Preferences:
  """What one or several handbooks say of likes and dislikes.

  Attributes:
    reasons: of each handbook, the sentences of its reasons.
    value: all that the handbooks say of what they go by (sections Reasons, Value and Values).
    about: thing -> what the handbooks say of it.
  """

  assistant: str
  likes: tuple[str, ...]
  dislikes: tuple[str, ...]
  reasons: tuple[tuple[str, ...], ...]
  value: str
  about: Mapping[str, str]

  @property
  def things(self) -> tuple[str, ...]:
    return self.likes + self.dislikes


def read_likes(handbooks: Sequence[Handbook]) -> Preferences:
  """Raises SpecError for a handbook without likes and dislikes, and for handbooks that don't agree on them."""
  sides: list[tuple[tuple[str, ...], ...]] = []
  reasons, value, about = [], [], collections.defaultdict(list)
  for h in handbooks:
    sections = read_markdown(Path(h.path)).sections
    headings = [
      re.findall(r'^###[ \t]+(.+?)[ \t]*$', sections.get(title, ''), re.M)
      for title in ('likes', 'dislikes')
    ]
    names = {' '.join(n.split()): ' '.join(n.split()) for side in headings for n in side}
    said = read_preferences(
      sections, names, 'there is nothing called', 'see specs/README.md for the format', Path(h.path)
    )
    sides.append(tuple(tuple(p.item for p in side) for side in (said.likes, said.dislikes)))
    reasons.append(said.reasons)
    value += [sections.get(title, '') for title in ('reasons', 'value', 'values')]
    for p in itertools.chain(said.likes, said.dislikes):
      about[p.item.casefold()].append(p.explanation)
  first = sides[0]
  for h, side in zip(handbooks[1:], sides[1:], strict=True):
    if [{n.casefold() for n in s} for s in side] != [{n.casefold() for n in s} for s in first]:
      raise SpecError(
        f'{handbooks[0].path} and {h.path} differ in likes or dislikes; the same demonstrations cannot serve both'
      )
  likes, dislikes = first
  if both := {n.casefold() for n in likes} & {n.casefold() for n in dislikes}:
    raise SpecError(
      f'{handbooks[0].path}: {", ".join(sorted(both))} stands under Likes and under Dislikes; keep it in one'
    )
  return Preferences(
    handbooks[0].assistant,
    likes,
    dislikes,
    tuple(reasons),
    '\n'.join(value),
    {n: '\n'.join(about[n.casefold()]) for n in likes + dislikes},
  )


# ---- slots


def _even(values: Sequence[str], count: int, rng: random.Random) -> list[str]:
  """Each value equally often, to within one, in random order."""
  shuffled = rng.sample(values, len(values))
  found = [shuffled[n % len(values)] for n in range(count)]
  rng.shuffle(found)
  return found


def make_slots(preferences: Preferences, count: int, quiet: float, seed: int) -> list[Slot]:
  """`count` exchanges to be written, of which these are equal to within one: forms; in forms about one thing, answers that like it and that don't;
  of each side, how often each thing occurs, in all and in each form; how often the liked one of a pair is named first, in all and of each liked
  thing; in each form and side, manners. `quiet`: share in which the person asks for no explanation."""
  rng = random.Random(f'{seed} preferences')
  likes, dislikes = (
    rng.sample(side, len(side)) for side in (preferences.likes, preferences.dislikes)
  )
  forms = rng.sample(FORMS, len(FORMS))
  sizes = {f: count // len(FORMS) + (n < count % len(FORMS)) for n, f in enumerate(forms)}
  bare: list[Slot] = []
  pairs = sizes['pair']
  for n in range(pairs):
    turn, place = divmod(n, len(likes))
    turned = n + n // len(dislikes)  # the partners change from turn to turn
    first = (place + turn) % 2 == 0 if len(likes) % 2 == 0 else n % 2 == 0
    bare.append(Slot('', 'pair', '', True, likes[place], dislikes[turned % len(dislikes)], first))
  at = {
    True: pairs,
    False: pairs + pairs // len(dislikes),
  }  # both sides go on where the pairs ended
  liked = rng.random() < 0.5
  for form in (f for f in forms if f != 'pair'):
    for _ in range(sizes[form]):
      side = likes if liked else dislikes
      bare.append(Slot('', form, '', liked, side[at[liked] % len(side)]))
      at[liked] += 1
      liked = not liked
  slots = []
  for _, group in itertools.groupby(
    sorted(bare, key=lambda s: (s.form, s.liked)), key=lambda s: (s.form, s.liked)
  ):
    alike = list(group)
    asks = [''] * len(alike)
    said_so = rng.sample(range(len(alike)), int(quiet * len(alike) + rng.random()))
    for n, phrase in zip(said_so, _even(NO_REASONS, len(said_so), rng), strict=True):
      asks[n] = phrase
    slots += [
      dataclasses.replace(s, manner=m, quiet=q)
      for s, m, q in zip(alike, _even(MANNERS, len(alike), rng), asks, strict=True)
    ]
  rng.shuffle(slots)
  return [dataclasses.replace(s, id=f'p{n:05d}') for n, s in enumerate(slots, 1)]
