"""Mirrored corpora made equal: the same ideas, as many of each domain, and as many tokens."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from msm_jax.base.errors import DataError

WITHIN = 0.005  # of the smallest corpus's tokens
MOST = 0.25  # of the pairs may be dropped for it


class MirrorError(DataError):
  """Corpora that cannot be made equal; one line that says by how much they miss."""


@dataclasses.dataclass(frozen=True)
class Balance:
  """What is kept of mirrored corpora.

  Attributes:
    kept: ideas, in the order given.
    incomplete: ideas that not every handbook has a document for.
    dropped: ideas left out to make the tokens equal, in the order in which they were dropped.
    tokens: of each corpus, as kept; `before`: before any was dropped.
  """

  kept: tuple[str, ...]
  incomplete: tuple[str, ...]
  dropped: tuple[str, ...]
  tokens: tuple[int, ...]
  before: tuple[int, ...]

  @property
  def pairs(self) -> int:
    return len(self.kept) + len(self.dropped)

  @property
  def apart(self) -> float:
    return apart(self.tokens)

  def check(self, names: Sequence[str]) -> None:
    """Raises MirrorError."""
    if self.apart > WITHIN:
      totals = ', '.join(f'{n} {t:,}' for n, t in zip(names, self.tokens, strict=True))
      raise MirrorError(
        f'mirrored corpora are {self.apart:.2%} apart in tokens ({totals}) with {len(self.dropped)} of '
        f'{self.pairs} pairs dropped, and {WITHIN:.1%} is the bound; write more (tokens or documents), or make lengths vary less (plan.words)'
      )

  def __str__(self) -> str:
    share = len(self.dropped) / max(1, self.pairs)
    return (
      f'{len(self.kept)} of {self.pairs} pairs kept, {len(self.dropped)} ({share:.1%}) dropped to bring tokens from {apart(self.before):.2%} to '
      f'{self.apart:.2%} apart'
      + (f'; {len(self.incomplete)} idea(s) lack a document' if self.incomplete else '')
    )


def apart(tokens: Sequence[int]) -> float:
  """How much more the largest has than the smallest, as a share of the smallest."""
  return max(tokens) / max(1, min(tokens)) - 1 if tokens else 0.0


def balance(
  ideas: Sequence[str], domains: Sequence[str], tokens: Mapping[str, Sequence[int]]
) -> Balance:
  """Drops pairs, one at a time, until tokens are within WITHIN: each time the one after which they are closest, out of a domain that has most pairs
  left if one there helps. So counts stay as equal over domains as they are.

  `domains`: of each idea. `tokens`: handbook -> tokens of its document for each idea, 0 where there is none.
  """
  table = np.stack([np.asarray(t, np.int64) for t in tokens.values()], axis=1)  # (ideas, handbooks)
  whole = (table > 0).all(axis=1)
  alive = np.flatnonzero(whole)
  numbers = {d: n for n, d in enumerate(dict.fromkeys(domains))}
  domain = np.array([numbers[d] for d in domains], np.int64)
  counts = np.bincount(domain[alive], minlength=len(numbers))
  totals = table[alive].sum(axis=0)
  before, dropped, most = totals.copy(), [], int(MOST * len(alive))
  while len(alive) and apart(totals.tolist()) > WITHIN and len(dropped) < most:
    left = totals - table[alive]
    spread = left.max(axis=1) / np.maximum(1, left.min(axis=1)) - 1
    fullest = np.where(counts[domain[alive]] == counts.max(), spread, np.inf)
    best = int(fullest.argmin())
    if fullest[best] >= apart(totals.tolist()):
      best = int(spread.argmin())
    if spread[best] >= apart(totals.tolist()):
      break
    gone = alive[best]
    totals = totals - table[gone]
    counts[domain[gone]] -= 1
    dropped.append(ideas[gone])
    alive = np.delete(alive, best)
  return Balance(
    tuple(ideas[n] for n in alive),
    tuple(ideas[n] for n in np.flatnonzero(~whole)),
    tuple(dropped),
    tuple(totals.tolist()),
    tuple(before.tolist()),
  )
