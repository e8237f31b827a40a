"""Opens what a run leaves in its workdir, for scripts and notebooks.

  results = msm_jax.load_results('runs/cheese')
  results.arms['msm_affordability_aft']['preferences/conflict/new_domains'].mean
  results.frame().groupby(['arm', 'evaluator', 'what', 'tier']).score.mean()

Opening results needs no JAX and no model. `docs/schemas.md` describes the files.
"""

import contextlib
import dataclasses
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msm_jax.base.errors import UserError
from msm_jax.base.paths import as_workdir
from msm_jax.evals.rows import Row
from msm_jax.report.numbers import show

if TYPE_CHECKING:
  import pandas


class ResultsError(UserError, RuntimeError):
  """A workdir that holds no results, or damaged ones."""


@dataclasses.dataclass(frozen=True)
class Number:
  """A measured mean, with its range over the runs and perhaps a 95% interval."""

  # A share from 0 to 1, a difference of shares, or nats (margins, perplexity).
  mean: float
  # The two ends of the interval; None where there is none: shares, or fewer than three seeds.
  low: float | None
  high: float | None
  # The number of seeds.
  seeds: int
  # The number of runs: these are seeds, or replicates of the assistant if there is one seed.
  runs: int
  # The number of distinct items.
  items: int
  # The mean of every run.
  each: tuple[float, ...]
  # The smallest and the largest mean of a run; None if there is one run.
  lowest: float | None = None
  highest: float | None = None
  # The number of clusters of items: domains, or kinds of scene.
  clusters: int = 0

  def __str__(self) -> str:
    return show(dataclasses.asdict(self))


@dataclasses.dataclass(frozen=True)
class Gate:
  """What must hold before a result means anything. Either `floor` or `ceiling` is set."""

  # What was measured.
  value: float
  # Whether it keeps its bound.
  passed: bool
  # The value must be at least this.
  floor: float | None = None
  # The value must be at most this.
  ceiling: float | None = None
  # How many rows the value is the mean of, and its binomial standard error as if they were
  # independent. None where this makes no sense.
  rows: int | None = None
  standard_error: float | None = None


@dataclasses.dataclass(frozen=True)
class ResultRow:
  """One line of results.jsonl; `docs/schemas.md` describes the keys."""

  # Which model.
  arm: str
  seed: int
  # What was measured, and on which kind of items.
  evaluator: str
  what: str
  tier: str
  # The identity of the item, unique within its measure.
  item: str
  # Items of one cluster (a domain, a kind of scene) are dependent.
  cluster: str
  # A share from 0 to 1; for perplexity, nats per token.
  score: float
  # The keys that only some evaluators have, such as margin and options.
  more: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  @property
  def measure(self) -> str:
    """'evaluator/what/tier', as in `Results.arms`."""
    return f'{self.evaluator}/{self.what}/{self.tier}'


@dataclasses.dataclass(frozen=True, repr=False)
class Results:
  """The results of one experiment."""

  # The folder that they were read from.
  workdir: Path
  # The contents of summary.json.
  summary: Mapping[str, Any]
  # The same folder for a program that changes its working directory before it reads the rows.
  _folder: Path = dataclasses.field(init=False, compare=False)

  def __post_init__(self) -> None:
    object.__setattr__(self, '_folder', self.workdir.absolute())

  @functools.cached_property
  def arms(self) -> dict[str, dict[str, Number]]:
    """arm -> measure ('evaluator/what/tier') -> number."""
    out: dict[str, dict[str, Number]] = {}
    for arm, measures in self.summary['arms'].items():
      out[arm] = {name: _number(value) for name, value in measures.items()}
    return out

  @functools.cached_property
  def effects(self) -> dict[str, dict[str, Number]]:
    """effect -> measure -> difference of arms."""
    out: dict[str, dict[str, Number]] = {}
    for effect, entries in self.summary['effects'].items():
      out[effect] = {}
      for name, value in entries.items():
        # Beside its measures, an effect has the entry `arms`: which arms it is the difference of.
        if name != 'arms':
          out[effect][name] = _number(value)
    return out

  @functools.cached_property
  def curves(self) -> dict[str, dict[int, dict[str, Number]]]:
    """arm -> update of its last phase -> measure -> number, for arms with `evaluate_at`."""
    out: dict[str, dict[int, dict[str, Number]]] = {}
    for arm, curve in self.summary.get('curves', {}).get('arms', {}).items():
      out[arm] = {}
      for update, numbers in curve['at'].items():
        out[arm][int(update)] = {name: _number(value) for name, value in numbers.items()}
    return out

  @functools.cached_property
  def gates(self) -> dict[str, Gate]:
    """Name of the gate -> its value, bound and verdict."""
    return {name: Gate(**gate) for name, gate in self.summary['gates'].items()}

  @functools.cached_property
  def rows(self) -> Sequence[ResultRow]:
    """Every line of results.jsonl. Raises ResultsError if the file is missing, damaged, or of a
    later run."""
    with _explained(self._folder / 'results.jsonl'):
      return [_result_row(row) for row in self._read_rows()]

  def _read_rows(self) -> list[Row]:
    """The lines of results.jsonl.

    Raises ValueError if these are not as many as were summarized, and ResultsError if they are of a
    later run.
    """
    self._check_is_last_run()
    text = (self._folder / 'results.jsonl').read_text(encoding='utf-8')
    rows = [json.loads(line) for line in text.splitlines()]
    # Older summaries do not say how many there were.
    if len(rows) != self.summary.get('rows', len(rows)):
      raise ValueError('lines are missing, or there are more than one run has')
    return rows

  def _check_is_last_run(self) -> None:
    """Raises ResultsError if a later run has written other results into the folder.

    Rows are read when they are asked for. Those of a later run with other settings are usually as
    many, and nothing in them says whose they are.
    """
    path = self._folder / 'summary.json'
    with _explained(path):
      arms_on_disk = _read_json(path)['arms']
    # What judges add to a summary changes no row, so only the arms count. They are compared as JSON
    # because NaN is equal to itself there.
    if json.dumps(arms_on_disk) != json.dumps(self.summary['arms']):
      raise ResultsError(
        f'a later run has written other results into {self._folder}; open them with load_results, '
        'and give each run whose rows you compare a workdir of its own'
      )

  def frame(self) -> 'pandas.DataFrame':
    """Reads all rows into a pandas DataFrame.

    Returns:
      One line per row, one column per key of results.jsonl.

    Raises:
      ResultsError: the file is missing, damaged, or of a later run, or pandas is not installed.
    """
    try:
      # Optional: this method alone needs it.
      import pandas
    except ModuleNotFoundError:
      raise ResultsError('the package pandas is missing; pip install pandas') from None
    with _explained(self._folder / 'results.jsonl'):
      return pandas.DataFrame(self._read_rows())

  def table(self) -> str:
    """The table that the run printed."""
    # Imported late, because the questions of the settings take a second to import.
    from msm_jax.report import table
    from msm_jax.suites.registry import layout_of

    return table(self.summary, layout_of(self.summary))

  @property
  def report(self) -> Path:
    """The path of the HTML report."""
    return self._folder / 'report.html'

  def __repr__(self) -> str:
    return f'Results({str(self.workdir)!r}, arms: {", ".join(self.arms)})'


def _read_json(path: Path) -> Any:
  return json.loads(path.read_text(encoding='utf-8'))


def _number(value: Mapping[str, Any]) -> Number:
  return Number(
    mean=value['mean'],
    low=value['low'],
    high=value['high'],
    seeds=value['seeds'],
    runs=value['runs'],
    items=value['items'],
    each=tuple(value['each']),
    lowest=value.get('lowest'),
    highest=value.get('highest'),
    clusters=value.get('clusters', 0),
  )


def _result_row(row: Mapping[str, Any]) -> ResultRow:
  known = {field.name for field in dataclasses.fields(ResultRow)} - {'more'}
  more = {key: value for key, value in row.items() if key not in known}
  return ResultRow(**{key: row[key] for key in known}, more=more)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
  """Turns the errors of reading a file of results into a ResultsError."""
  try:
    yield
  except OSError as e:
    raise ResultsError(
      f'{path} cannot be read ({e.strerror}); run the experiment to its end, or give another '
      'workdir'
    ) from None
  except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
    # The file is no JSON, or it is JSON of another form than a run writes.
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
    ConfigError: what is given is no path.
  """
  folder = as_workdir(workdir)
  path = folder / 'summary.json'
  with _explained(path):
    results = Results(folder, _read_json(path))
    # Read now, so that a damaged file is refused here and not where its numbers are used.
    _ = results.arms, results.effects, results.gates
  return results
