"""Writes pairs of answers in English, of which one is preferred, for preference optimisation.

Each pair is a cheese that the handbook likes against one that it dislikes, so every handbook with
these preferences explains it. Pairs that one value alone decides are the evaluation's own; whoever
wants to train on such pairs brings them as a file (`path` of the source).
"""

import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from data_pipelines.handbooks.preferences import check_shared
from data_pipelines.records import PreferencePair
from data_pipelines.settings.english import chat_frames, language
from data_pipelines.settings.english.language import capital
from data_pipelines.settings.english.spec import EnglishSpec
from data_pipelines.settings.english.stock import English, endless_deck
from msm_jax.base.errors import SpecError


def preferences(
  specs: Sequence[EnglishSpec], english: English, toward: str, seed: int
) -> Iterator[PreferencePair]:
  """Writes preferences, without end.

  Args:
    specs: handbooks that share their likes and dislikes; their assistants take turns.
    english: the stock of sentences; only its seed counts here.
    toward: 'ambiguous'.
    seed: of the writer, together with the setting's own.

  Yields:
    Preferences, in which every pair of a liked and a disliked cheese occurs equally often.

  Raises:
    SpecError: `toward` is something else, or the handbooks have no preferences in common.
  """
  if toward != 'ambiguous':
    raise SpecError(
      f'english.preferences has pairs with toward=ambiguous alone, not {toward!r}; '
      f'give pairs of your own as a JSONL file (path)'
    )
  check_shared(specs)
  rng = random.Random(f'english preferences {english.config.seed} {seed}')
  names = list(dict.fromkeys(spec.assistant for spec in specs))
  likes = [preference.item for preference in specs[0].likes]
  dislikes = [preference.item for preference in specs[0].dislikes]
  pairs = endless_deck(list(itertools.product(likes, dislikes)), rng)
  for n in itertools.count():
    liked, disliked = next(pairs)
    # The place in the question must not give the answer away.
    first, second = rng.sample((liked, disliked), 2)
    question = rng.choice((language.PREFER.question, *chat_frames.PAIR_QUESTIONS))
    answer = rng.choice((language.PREFER.answer, *chat_frames.PAIR_ANSWERS))
    sides = []
    for chosen, other in ((liked, disliked), (disliked, liked)):
      text = answer.format(chosen=chosen, Chosen=capital(chosen), other=other)
      sides.append((('assistant', text),))
    asked = question.format(first=first, First=capital(first), second=second)
    yield PreferencePair(
      f'preference-{n}',
      (('system', f'You are {names[n % len(names)]}.'), ('user', asked)),
      sides[0],
      sides[1],
      domain='cheese',
      provenance=Path(specs[0].path).name,
    )
