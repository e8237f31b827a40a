"""Counts how a stage of a corpus goes, and says it in one line."""

import collections
import dataclasses
import time

from data_pipelines.llm.costs import show_cost
from msm_jax.base.console import duration


@dataclasses.dataclass
class StageProgress:
  """The counts of one stage.

  Attributes:
    name: the stage, as requests name it.
    total: the number of requests; 0 if it is not known.
    known: requests that were answered in earlier runs.
    kept: requests that were answered in this run.
    given_up: requests whose replies were all refused in this run.
    replies: replies that came in this run, refused ones too.
    retried: requests that earlier runs asked in vain, and that this run asks again.
    retried_replies: replies to these requests in this run.
    retried_kept: those of these requests that were answered in this run.
    began: when the stage began, on the monotonic clock in seconds.
    refusals: for each reason, how many replies were refused for it.
  """

  name: str
  total: int = 0
  known: int = 0
  kept: int = 0
  given_up: int = 0
  replies: int = 0
  retried: int = 0
  retried_replies: int = 0
  retried_kept: int = 0
  began: float = dataclasses.field(default_factory=time.monotonic)
  refusals: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

  @property
  def accept_rate(self) -> float:
    """The share of this run's replies that could be used."""
    return self.kept / max(1, self.replies)

  def judged(self) -> tuple[int, int]:
    """Counts what tells whether the model serves.

    If most requests of the stage were answered before, those that are asked again are the hard ones
    among them, and do not count.

    Returns:
      (replies, answers) of this run.
    """
    if self.known <= self.retried:
      return self.replies, self.kept
    return self.replies - self.retried_replies, self.kept - self.retried_kept

  def line(self, spent: float, budget: float, unpriced: bool = False) -> str:
    """Says how the stage goes.

    Args:
      spent: USD that all replies in the folder cost.
      budget: USD that they may cost; 0 for no limit.
      unpriced: whether there are replies whose price is unknown.

    Returns:
      One line: requests done, speed, share of usable replies, cost and the time that is left.
    """
    ended = self.kept + self.given_up
    done = self.known + ended
    per_second = ended / max(1e-9, time.monotonic() - self.began)
    count = f'{done:,}'
    if self.total:
      count += f'/{self.total:,}'
    parts = [f'{self.name:<13}{count}', f'{per_second:,.1f}/s']
    if self.replies:
      parts.append(f'{self.accept_rate:.0%} of the replies used')
    cost = show_cost(spent, unpriced)
    if budget:
      cost += f' of ${budget:,.2f}'
    parts.append(cost)
    if self.total and per_second and done < self.total:
      parts.append(f'ETA {duration((self.total - done) / per_second)}')
    return '  '.join(parts)
