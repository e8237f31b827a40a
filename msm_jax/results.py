"""What a run leaves in its workdir, opened for scripts and notebooks.

results = msm_jax.load_results('runs/cheese')
results.arms['msm_affordability_aft']['preferences/conflict/new_domains'].mean
results.frame().groupby(['arm', 'tier']).score.mean()
"""

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msm_jax.base.errors import UserError
from msm_jax.evals.rows import Row

if TYPE_CHECKING:
  import pandas


class ResultsError(UserError, RuntimeError):
  """A workdir that holds no results, or damaged ones."""


@dataclasses.dataclass(frozen=True)
class Number:
  """A measured mean with its 95% interval."""

  mean: float
  low: float
  high: float
  # How many seeds, runs (seeds, or replicates of a single seed) and distinct items it rests on.
  seeds: int
  runs: int
  items: int
  # The mean of every run.
  each: tuple[float, ...]

  def __str__(self) -> str:
    return f'{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]'


@dataclasses.dataclass(frozen=True)
class Gate:
  """What must hold before a result means anything."""

  value: float
  passed: bool
  # One of the two is set.
  floor: float | None = None
  ceiling: float | None = None


@dataclasses.dataclass(frozen=True)
class ResultRow:
  """One line of results.jsonl; `docs/schemas.md` describes the keys."""

  arm: str
  seed: int
  evaluator: str
  what: str
  tier: str
  item: str
  cluster: str
  score: float
  # The keys that only some evaluators have, such as margin and options.
  more: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  @property
  def measure(self) -> str:
    return f'{self.evaluator}/{self.what}/{self.tier}'


@dataclasses.dataclass(frozen=True)
class Results:
  """The results of one experiment."""

  workdir: Path
  # The contents of summary.json.
  summary: Mapping[str, Any]

  @functools.cached_property
  def arms(self) -> dict[str, dict[str, Number]]:
    """arm -> measure ('evaluator/what/tier') -> number."""
    out = {}
    for arm, measures in self.summary['arms'].items():
      out[arm] = {name: _number(value) for name, value in measures.items()}
    return out

  @functools.cached_property
  def effects(self) -> dict[str, dict[str, Number]]:
    """effect -> measure -> difference of arms."""
    out = {}
    for effect, measures in self.summary['effects'].items():
      numbers = {name: value for name, value in measures.items() if name != 'arms'}
      out[effect] = {name: _number(value) for name, value in numbers.items()}
    return out

  @functools.cached_property
  def gates(self) -> dict[str, Gate]:
    """Name of the gate -> its value, bound and verdict."""
    return {name: Gate(**gate) for name, gate in self.summary['gates'].items()}

  @functools.cached_property
  def rows(self) -> Sequence[ResultRow]:
    """Every line of results.jsonl."""
    return [_result_row(row) for row in _read_lines(self.workdir / 'results.jsonl')]

  def frame(self) -> 'pandas.DataFrame':
    """All rows as a pandas DataFrame, with one column per key of results.jsonl."""
    import pandas  # optional: this method alone needs it

    return pandas.DataFrame(_read_lines(self.workdir / 'results.jsonl'))

  def table(self) -> str:
    """The table that the run printed."""
    from msm_jax.report import table
    from msm_jax.suites.registry import layout_of  # its questions take a second to import

    return table(self.summary, layout_of(self.summary))

  @property
  def report(self) -> Path:
    """The HTML report."""
    return self.workdir / 'report.html'


def _number(value: Mapping[str, Any]) -> Number:
  return Number(
    mean=value['mean'],
    low=value['low'],
    high=value['high'],
    seeds=value['seeds'],
    runs=value['runs'],
    items=value['items'],
    each=tuple(value['each']),
  )


def _result_row(row: Mapping[str, Any]) -> ResultRow:
  known = {field.name for field in dataclasses.fields(ResultRow)} - {'more'}
  more = {key: value for key, value in row.items() if key not in known}
  return ResultRow(**{key: row[key] for key in known}, more=more)


def _read_lines(path: Path) -> list[Row]:
  """The rows of a JSONL file. Raises ResultsError if it is missing or damaged."""
  try:
    return [json.loads(line) for line in path.read_text().splitlines()]
  except OSError as e:
    raise ResultsError(
      f'{path} cannot be read ({e.strerror}); run the experiment, or give another workdir'
    ) from None
  except ValueError:
    raise ResultsError(
      f'{path} is damaged; run the same command again: it is written anew'
    ) from None


def load_results(workdir: str | Path) -> Results:
  """Opens the results of a finished run.

  Args:
    workdir: the folder of the experiment, or of one point of a sweep.

  Returns:
    The results.

  Raises:
    ResultsError: the folder holds no results, or damaged ones.
  """
  path = Path(workdir) / 'summary.json'
  try:
    summary = json.loads(path.read_text())
  except OSError as e:
    raise ResultsError(
      f'{path} cannot be read ({e.strerror}); run the experiment to its end, or give another workdir'
    ) from None
  except ValueError:
    raise ResultsError(
      f'{path} is damaged; run the same command again: it is written anew'
    ) from None
  return Results(Path(workdir), summary)
