"""Makes mirrored corpora equal: the same ideas, equally many of each domain, and equally many
tokens.

Mirrored corpora are written from one plan, one corpus for each handbook. A pair is the documents of
one idea, one for each handbook. Models write somewhat more about some handbooks than about others;
a few pairs are dropped so that an effect cannot come from the number of tokens.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from msm_jax.base.errors import DataError

# The gap in tokens between corpora that is allowed, as a share of the smallest.
MAX_GAP = 0.005
# The share of all pairs that may be dropped to get there.
MAX_DROPPED_SHARE = 0.25


class MirrorError(DataError):
  """Corpora that cannot be made equal; the message is one line that says by how much they miss."""


@dataclasses.dataclass(frozen=True)
class Balance:
  """What is kept of mirrored corpora.

  Attributes:
    kept: ids of the ideas that are kept, in the order given.
    incomplete: ideas for which some handbook has no document.
    dropped: ideas left out to make the tokens equal, in the order in which they were dropped.
    tokens: tokens of each corpus, as kept.
    before: tokens of each corpus before any pair was dropped.
  """

  kept: tuple[str, ...]
  incomplete: tuple[str, ...]
  dropped: tuple[str, ...]
  tokens: tuple[int, ...]
  before: tuple[int, ...]

  @property
  def pairs(self) -> int:
    """How many complete pairs there are, dropped ones included."""
    return len(self.kept) + len(self.dropped)

  @property
  def gap(self) -> float:
    """The relative gap in tokens between the corpora, as kept."""
    return relative_gap(self.tokens)

  def check(self, names: Sequence[str]) -> None:
    """Refuses corpora that are not equal enough.

    Args:
      names: what the corpora are called, in the order of `tokens`.

    Raises:
      MirrorError: if the gap is over the bound.
    """
    if self.gap > MAX_GAP:
      totals = ', '.join(f'{n} {t:,}' for n, t in zip(names, self.tokens, strict=True))
      raise MirrorError(
        f'mirrored corpora are {self.gap:.2%} apart in tokens ({totals}) with '
        f'{len(self.dropped)} of {self.pairs} pairs dropped, and {MAX_GAP:.1%} is '
        'the bound; write more (tokens or documents), or make lengths vary less (plan.words)'
      )

  def __str__(self) -> str:
    share = len(self.dropped) / max(1, self.pairs)
    text = (
      f'{len(self.kept)} of {self.pairs} pairs kept, {len(self.dropped)} ({share:.1%}) dropped '
      f'to bring tokens from {relative_gap(self.before):.2%} to {self.gap:.2%} apart'
    )
    if self.incomplete:
      text += f'; {len(self.incomplete)} idea(s) lack a document'
    return text


def relative_gap(tokens: Sequence[int]) -> float:
  """How much more the largest has than the smallest, as a share of the smallest."""
  if not tokens:
    return 0.0
  return max(tokens) / max(1, min(tokens)) - 1


def balance(
  ideas: Sequence[str], domains: Sequence[str], tokens: Mapping[str, Sequence[int]]
) -> Balance:
  """Drops pairs, one at a time, until the corpora are equal in tokens.

  Each step drops the pair after which the gap is smallest. It takes that pair out of a domain that
  has most pairs left, if one there makes the gap smaller; so domains stay as even as they are. The
  search ends when the gap is at most MAX_GAP, when MAX_DROPPED_SHARE of the pairs are dropped, or
  when no pair makes the gap smaller.

  Args:
    ideas: ids of the ideas that were written.
    domains: the domain of each idea.
    tokens: from a handbook to the tokens of its document for each idea, 0 where there is none.

  Returns:
    What is kept and dropped; `Balance.check` tells whether the gap is small enough.
  """
  # Shapes: I ideas, H handbooks, K ideas that are kept so far, D domains.
  tokens_IH = np.stack([np.asarray(t, np.int64) for t in tokens.values()], axis=1)
  is_complete_I = (tokens_IH > 0).all(axis=1)
  kept_K = np.flatnonzero(is_complete_I)
  domain_numbers = {domain: n for n, domain in enumerate(dict.fromkeys(domains))}
  domain_I = np.array([domain_numbers[domain] for domain in domains], np.int64)
  count_D = np.bincount(domain_I[kept_K], minlength=len(domain_numbers))
  total_H = tokens_IH[kept_K].sum(axis=0)
  before_H = total_H.copy()
  dropped: list[str] = []
  most_dropped = int(MAX_DROPPED_SHARE * len(kept_K))
  while len(kept_K) and len(dropped) < most_dropped:
    gap = relative_gap(total_H.tolist())
    if gap <= MAX_GAP:
      break
    # The gap after each single pair is dropped.
    left_KH = total_H - tokens_IH[kept_K]
    gap_K = left_KH.max(axis=1) / np.maximum(1, left_KH.min(axis=1)) - 1
    is_fullest_K = count_D[domain_I[kept_K]] == count_D.max()
    best = int(np.where(is_fullest_K, gap_K, np.inf).argmin())
    if gap_K[best] >= gap:
      # No pair of the fullest domains helps: look at all domains.
      best = int(gap_K.argmin())
    if gap_K[best] >= gap:
      break
    idea = int(kept_K[best])
    total_H = total_H - tokens_IH[idea]
    count_D[domain_I[idea]] -= 1
    dropped.append(ideas[idea])
    kept_K = np.delete(kept_K, best)
  return Balance(
    kept=tuple(ideas[n] for n in kept_K.tolist()),
    incomplete=tuple(ideas[n] for n in np.flatnonzero(~is_complete_I).tolist()),
    dropped=tuple(dropped),
    tokens=tuple(total_H.tolist()),
    before=tuple(before_H.tolist()),
  )
