"""Briefs: what is drawn at random for a document before a model writes it.

Length, stance and names depend on the id of the idea and the corpus's seed only, so they do not
change when other ideas are added to the plan or removed from it. Claims also depend on the place of
the idea in its subdomain. Documents of one idea in mirrored corpora have one brief.
"""

import dataclasses
import random
from collections.abc import Sequence

from data_pipelines.documents.plan import Claim, PlannedIdea
from data_pipelines.llm.settings import CorpusConfig
from data_pipelines.text.names import FIRST_NAMES, LAST_NAMES

# Words of the target length for each claim beyond the first, and the most claims beyond the first.
WORDS_PER_CLAIM = 200
MOST_MORE_CLAIMS = 3


@dataclasses.dataclass(frozen=True)
class Brief:
  """What is drawn for an idea. It is the same for every handbook.

  Attributes:
    words: the length that is asked for.
    stance: how the author sees the assistant: 'praise', 'neutral' or 'complaint'.
    names: full names for people in the document who need one.
    claims: what the document makes known.
  """

  words: int
  stance: str
  names: tuple[str, ...]
  claims: tuple[Claim, ...]


def make_brief(planned: PlannedIdea, config: CorpusConfig, reserved: Sequence[str]) -> Brief:
  """Draws the brief of one document.

  Args:
    planned: the idea.
    config: gives the seed, the range of lengths and the share of complaints.
    reserved: names that no person in a document may have, such as the assistant's.

  Returns:
    The brief; the same arguments give the same brief.
  """
  draw = random.Random(f'{config.seed} brief {planned.idea.id}')
  shortest, longest = config.plan.words
  # Rounded to tens, because nobody asks for exactly 437 words.
  rounded = round(draw.randint(shortest, longest), -1)
  words = max(shortest, min(longest, rounded))
  if draw.random() < config.plan.complaints:
    stance = 'complaint'
  else:
    stance = draw.choice(('praise', 'neutral'))
  first_names = _draw_names(draw, FIRST_NAMES, reserved)
  last_names = _draw_names(draw, LAST_NAMES, reserved)
  names = tuple(f'{first} {last}' for first, last in zip(first_names, last_names, strict=True))
  claims = planned.subdomain.claims
  # The first claim goes by turn, so that none is left out. The others are drawn, so that every pair
  # of claims meets in some document.
  first_claim = planned.position % len(claims)
  others = [n for n in range(len(claims)) if n != first_claim]
  more = max(1, min(MOST_MORE_CLAIMS, words // WORDS_PER_CLAIM - 1))
  chosen = [first_claim, *draw.sample(others, min(len(others), more))]
  return Brief(words, stance, names, tuple(claims[n] for n in sorted(chosen)))


def _draw_names(draw: random.Random, pool: Sequence[str], reserved: Sequence[str]) -> list[str]:
  """Three names of a pool that are not reserved."""
  # As many more as are reserved: at least three are left, and one call of `draw` is enough.
  drawn = draw.sample(pool, 3 + len(reserved))
  # An assistant may be written 'IVY' or 'ivy'.
  taken = {name.casefold() for name in reserved}
  return [name for name in drawn if name.casefold() not in taken][:3]
