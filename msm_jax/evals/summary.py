"""From rows to the summary: means with intervals, effects and gates.

Every number of a report is a mean over rows of one measure.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from data_pipelines.corpora import is_handbook_documents
from msm_jax.config import ExperimentConfig, path_of
from msm_jax.evals import stats
from msm_jax.evals.rows import Row, measure_of

# With fewer domains than this, a tier's items are its clusters.
MIN_CLUSTERS = 5


class SummarySuite(Protocol):
  """What a summary asks of an evaluation suite (see `msm_jax/suites/suite.py`)."""

  @property
  def base_skill_measures(self) -> Mapping[str, str]: ...

  @property
  def demonstration_measure(self) -> str: ...

  def report_header(self) -> dict[str, Any]: ...

  def effects(
    self, arms: Sequence[Mapping[str, stats.Observations]]
  ) -> dict[str, stats.Interval]: ...


def observations(rows: Sequence[Row]) -> dict[str, dict[str, stats.Observations]]:
  """Groups rows for the statistics.

  Items cluster by domain where there are several domains. Runs are seeds. Of a single seed, what
  was asked of the assistant has the replicates of the assistant as runs: one of them may differ
  from the others as a seed does, and an interval over items alone would hide that.

  Args:
    rows: rows of all arms and seeds.

  Returns:
    arm -> measure -> (run, cluster, item) -> score.
  """
  grouped: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
  for row in rows:
    grouped[row['arm']][measure_of(row)].append(row)
  one_seed = len({row['seed'] for row in rows}) == 1
  out: dict[str, dict[str, stats.Observations]] = {}
  for arm, measures in grouped.items():
    out[arm] = {}
    for measure, members in measures.items():
      out[arm][measure] = _observations_of(members, one_seed)
  return out


def _observations_of(rows: Sequence[Row], one_seed: bool) -> dict[tuple[str, str, str], float]:
  """(run, cluster, item) -> score, of the rows of one arm and one measure."""
  several_domains = len({row['cluster'] for row in rows}) >= MIN_CLUSTERS
  out = {}
  for row in rows:
    run, item = str(row['seed']), row['item']
    if one_seed and row.get('assistant'):
      # The item is 'ASSISTANT/...': without the name, all replicates share their items.
      run, item = row['assistant'], row['item'].partition('/')[2]
    cluster = row['cluster'] if several_domains else item
    out[run, cluster, item] = row['score']
  return out


def summarize(rows: Sequence[Row], config: ExperimentConfig, suite: SummarySuite) -> dict[str, Any]:
  """Makes the contents of summary.json; `docs/schemas.md` describes them.

  Args:
    rows: rows of all arms and seeds.
    config: the experiment's settings.
    suite: the suite that made the rows.

  Returns:
    A dict that JSON can hold: name, setting, the suite's header, seeds, arms, effects and gates.
  """
  seen, seeds = observations(rows), len(config.seeds)
  arms: dict[str, dict[str, Any]] = {}
  for arm, measures in seen.items():
    arms[arm] = {}
    for measure, observed in sorted(measures.items()):
      is_share = not measure.startswith('perplexity/')
      arms[arm][measure] = stats.interval(observed, share=is_share).as_dict(seeds)
  effects: dict[str, dict[str, Any]] = {}
  for name, named in config.effects.items():
    effects[name] = {'arms': list(named)}
    for measure, interval in suite.effects([seen[arm] for arm in named]).items():
      effects[name][measure] = interval.as_dict(seeds)
  return {
    'name': config.name,
    'setting': config.setting,
    **suite.report_header(),
    'seeds': sorted(config.seeds),
    'arms': arms,
    'effects': effects,
    'gates': gates(arms, rows, config, suite),
  }


class _MeansBySeed:
  """Mean scores of every arm and measure, seed by seed."""

  def __init__(self, rows: Sequence[Row]):
    self._scores: dict[tuple[str, str], dict[int, list[float]]] = {}
    for row in rows:
      by_seed = self._scores.setdefault((row['arm'], measure_of(row)), {})
      by_seed.setdefault(row['seed'], []).append(row['score'])

  def each(self, arm: str, measure: str) -> dict[int, float]:
    by_seed = self._scores.get((arm, measure), {})
    return {seed: sum(scores) / len(scores) for seed, scores in by_seed.items()}

  def worst(self, arm: str, measure: str) -> float | None:
    return min(self.each(arm, measure).values(), default=None)


def _at_least(value: float, floor: float) -> dict[str, Any]:
  return {'value': round(value, 4), 'floor': floor, 'passed': bool(value >= floor)}


def _at_most(value: float, ceiling: float) -> dict[str, Any]:
  return {'value': round(value, 4), 'ceiling': ceiling, 'passed': bool(value <= ceiling)}


def gates(
  arms: Mapping[str, Any], rows: Sequence[Row], config: ExperimentConfig, suite: SummarySuite
) -> dict[str, Any]:
  """Computes what must hold before anybody concludes anything from a result.

  Each gate is about one arm and the worst of its seeds.

  Args:
    arms: arm -> measure -> mean and interval.
    rows: rows of all arms and seeds.
    config: the experiment's settings; `config.gates` has the bounds.
    suite: the suite that made the rows.

  Returns:
    Name of the gate -> value, floor or ceiling, passed.
  """
  bounds, out = config.gates, {}
  means = _MeansBySeed(rows)

  def add_floor(name: str, value: float | None, floor: float) -> None:
    if value is not None:
      out[name] = _at_least(value, floor)

  bases = [arm for arm in arms if _is_base(config, arm)]
  if not bases:
    add_floor('an arm without handbook or fine-tuning, to measure the base by', 0, floor=1)
  base = max(bases, key=lambda arm: len(path_of(config.arms[arm])), default='')
  for name, measure in suite.base_skill_measures.items():
    add_floor(f'{base}: {name}', means.worst(base, measure), bounds.documents_only)
  for arm in arms:
    last = kind_of_phase(config, path_of(config.arms[arm])[-1])
    if last == 'explained' and arms[arm].get('recall/value/documents'):
      recalled = means.worst(arm, 'recall/value/documents')
      add_floor(f'{arm}: recalls the handbook', recalled, bounds.recall)
    # An arm with a handbook in its context is asked something else than what it was shown.
    if last == 'demonstrations' and arm not in config.contexts:
      learned = means.worst(arm, suite.demonstration_measure)
      add_floor(f'{arm}: learned the demonstrations', learned, bounds.trained_items)
  for measure in sorted(arms.get(base, ())):
    if not measure.startswith('perplexity/'):
      continue
    rise, arm = _largest_rise(means, arms, base, measure)
    name = f'{measure.rsplit("/", 1)[-1]}: perplexity, worst arm ({arm}) / {base}'
    out[name] = _at_most(math.exp(rise), bounds.perplexity_ratio)
  return out


def _largest_rise(
  means: _MeansBySeed, arms: Mapping[str, Any], base: str, measure: str
) -> tuple[float, str]:
  """The largest rise of the loss (nats per token) over the base of the same seed, and its arm."""
  before = means.each(base, measure)
  rises = []
  for arm in arms:
    for seed, loss in means.each(arm, measure).items():
      rises.append((loss - before[seed], arm))
  return max(rises)


def _is_base(config: ExperimentConfig, arm: str) -> bool:
  """Whether an arm is what the others are compared with: pretraining and nothing else.

  A model that starts fresh is pretrained by its first phase, be it on text of its owner. Later
  phases with such text are what is tried out.
  """
  first, *later = path_of(config.arms[arm])
  if kind_of_phase(config, first) not in ('world', 'own text'):
    return False
  return all(kind_of_phase(config, phase) == 'world' for phase in later)


def kind_of_phase(config: ExperimentConfig, phase: str) -> str:
  """What a phase teaches, by the first of its sources that is made from a handbook.

  Args:
    config: the experiment's settings.
    phase: its name.

  Returns:
    'demonstrations', the variant of the documents ('explained', 'cooccur', 'filler', ...), or, if
    no source is made from a handbook, 'own text' if one is read from a file and 'world' otherwise.
  """
  kind = 'world'
  for name in config.phases[phase].data:
    source = config.sources[name]
    if is_handbook_documents(source):
      return source.variant
    if source.spec:
      return 'demonstrations'
    if not source.is_world:
      kind = 'own text'
  return kind
