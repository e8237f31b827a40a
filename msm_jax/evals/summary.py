"""From rows to the summary: means with intervals, effects and gates.

Every number of a report is a mean over rows of one measure.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from data_pipelines.recipes import is_handbook_documents
from msm_jax.config import ExperimentConfig, path_of
from msm_jax.evals import specificity, stats
from msm_jax.evals.rows import Row, is_in_nats, margin_measure_of, measure_of

# (run, cluster, item)
_Key = tuple[str, str, str]
# Evaluators that may have no row about some names of the assistant: a consistency is not always
# defined, and sampled answers may name no option.
_MAY_LACK_NAMES = ('consistency', 'sampled')
# Digits after the point with which a value and its bound are compared. Differences of shares are
# wrong in their last bits: 0.75 - 0.7 is 0.050000000000000044, and at most 0.05 is allowed.
_COMPARED_DIGITS = 9


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

  Runs are seeds. An item that was asked of several names of the assistant is one item: its value is
  the mean over the names. If there is one seed, each name of the assistant is a run, in all
  measures of what the assistant was asked. Names differ, and their range shows how far runs can lie
  apart; another seed may differ more.

  Args:
    rows: rows of all arms and seeds.

  Returns:
    arm -> measure -> (run, cluster, item) -> score; for measures `margin/...` the margin in nats.
  """
  return _grouped(rows, _is_one_seed(rows))


def _is_one_seed(rows: Sequence[Row]) -> bool:
  return len({row['seed'] for row in rows}) == 1


def _grouped(rows: Iterable[Row], one_seed: bool) -> dict[str, dict[str, stats.Observations]]:
  """See `observations`; `one_seed` says whether names are runs."""
  # arm -> measure -> (run, cluster, item) -> the values of the names
  values: dict[str, dict[str, dict[_Key, list[float]]]] = {}
  for row in rows:
    of_arm = values.setdefault(row['arm'], {})
    key = _key_of(row, one_seed)
    of_arm.setdefault(measure_of(row), {}).setdefault(key, []).append(row['score'])
    margin_measure = margin_measure_of(row)
    if margin_measure is not None:
      of_arm.setdefault(margin_measure, {}).setdefault(key, []).append(row['margin'])
  out: dict[str, dict[str, stats.Observations]] = {}
  for arm, measures in values.items():
    out[arm] = {}
    for measure, cells in measures.items():
      out[arm][measure] = {key: sum(cell) / len(cell) for key, cell in cells.items()}
  return out


class SeenArms:
  """The observations of all arms, and of some arms those that an effect may compare.

  Attributes:
    each: see `observations`.
  """

  def __init__(self, rows: Sequence[Row]):
    """Groups rows of all arms and seeds."""
    self._one_seed = _is_one_seed(rows)
    self.each = _grouped(rows, self._one_seed)
    # arm -> measure -> its rows, of measures that may lack names
    self._may_lack: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
      if row['evaluator'] in _MAY_LACK_NAMES:
        of_arm = self._may_lack.setdefault(row['arm'], {})
        of_arm.setdefault(measure_of(row), []).append(row)

  def compared(self, arms: Sequence[str]) -> list[dict[str, stats.Observations]]:
    """What an effect compares.

    Items are means over names, and names differ. Where one arm lacks a name, the difference would
    be one of names, too. So only the rows that all of the arms have are compared.

    Args:
      arms: names of arms.

    Returns:
      The observations of each arm. A measure of which the arms have no row in common is left out.
    """
    out = [dict(self.each[arm]) for arm in arms]
    measures = [self._may_lack.get(arm, {}) for arm in arms]
    for measure in set.intersection(*map(set, measures)):
      asked = [_row_keys(of_arm[measure]) for of_arm in measures]
      common = set.intersection(*asked)
      for arm, found, of_arm, keys in zip(arms, out, measures, asked, strict=True):
        if not common:
          del found[measure]
        elif len(common) < len(keys):
          kept = [row for row in of_arm[measure] if _row_key(row) in common]
          found[measure] = _grouped(kept, self._one_seed)[arm][measure]
    return out


def _row_key(row: Row) -> tuple[int, str]:
  """What rows of two arms have in common if they ask one name the same with the same seed."""
  return row['seed'], row['item']


def _row_keys(rows: Iterable[Row]) -> set[tuple[int, str]]:
  return {_row_key(row) for row in rows}


def _key_of(row: Row, one_seed: bool) -> _Key:
  """(run, cluster, item) of a row."""
  run, item, assistant = str(row['seed']), row['item'], row.get('assistant')
  cluster = row['cluster']
  if cluster == item:
    # Items that belong to no cluster (held-out texts) weigh the same. As clusters they would have
    # to be the same texts for every seed, and texts may follow the seed.
    cluster = ''
  if assistant:
    # The item is 'ASSISTANT/...': without the name, all replicates share their items.
    item = item.removeprefix(f'{assistant}/')
    if one_seed:
      run = assistant
  return run, cluster, item


def summarize(rows: Sequence[Row], config: ExperimentConfig, suite: SummarySuite) -> dict[str, Any]:
  """Makes the contents of summary.json; `docs/schemas.md` describes them.

  Args:
    rows: rows of all arms and seeds.
    config: the experiment's settings.
    suite: the suite that made the rows.

  Returns:
    A dict that JSON can hold: name, setting, the suite's header, seeds, arms, effects and gates.
  """
  seen, seeds = SeenArms(rows), len(config.seeds)
  arms: dict[str, dict[str, Any]] = {}
  for arm, measures in seen.each.items():
    arms[arm] = {}
    for measure, observed in sorted(measures.items()):
      counted = observed
      if measure.startswith('sampled/'):
        # In some run, no answer about a cluster may name an option.
        counted = stats.in_all_runs(observed)
      if counted:
        arms[arm][measure] = number_of(measure, counted, seeds)
  effects: dict[str, dict[str, Any]] = {}
  for name, named in config.effects.items():
    effects[name] = {'arms': list(named)}
    for measure, interval in suite.effects(seen.compared(named)).items():
      effects[name][measure] = interval.as_dict(seeds)
  return {
    'name': config.name,
    'setting': config.setting,
    **suite.report_header(),
    'seeds': sorted(config.seeds),
    'base': base_arm(config),
    'arms': arms,
    'effects': effects,
    'gates': gates(arms, rows, config, suite),
  }


def number_of(measure: str, observed: stats.Observations, seeds: int) -> dict[str, Any]:
  """The number of one arm and measure, as summary.json holds it."""
  try:
    return stats.interval(observed, is_in_nats(measure)).as_dict(seeds)
  except stats.StatsError as e:
    raise stats.StatsError(f'{measure}: {e}') from None


class _Worst(NamedTuple):
  """The mean of the seed that a gate is about."""

  value: float
  # How many rows it is the mean of.
  rows: int
  standard_error: float


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

  def rows(self, arm: str, measure: str) -> int:
    """The number of rows of the seed that has fewest."""
    by_seed = self._scores.get((arm, measure), {})
    return min((len(scores) for scores in by_seed.values()), default=0)

  def worst(self, arm: str, measure: str) -> _Worst | None:
    """The smallest mean of a seed; None if nothing was measured."""
    means = self.each(arm, measure)
    if not means:
      return None
    seed = min(means, key=means.__getitem__)
    rows = len(self._scores[arm, measure][seed])
    return _Worst(means[seed], rows, binomial_error(means[seed], rows))


def binomial_error(share: float, rows: int) -> float:
  """The standard error of a share as if its rows were independent throws.

  Two of each kind are added (Agresti and Coull 1998), so that a share of 1 on few rows has an error
  too. Rows about one agent or name are not independent: the true error may be larger.
  """
  n = rows + 4
  p = (share * rows + 2) / n
  return math.sqrt(p * (1 - p) / n)


def at_least(value: float, floor: float, **more: Any) -> dict[str, Any]:
  """A gate with a floor, as summary.json holds it; `more` are further keys."""

  def keeps(number: float) -> bool:
    return _compared(number) >= _compared(floor)

  return {'value': _rounded(value, keeps), 'floor': floor, 'passed': keeps(value), **more}


def at_most(value: float, ceiling: float, **more: Any) -> dict[str, Any]:
  """A gate with a ceiling, as summary.json holds it; `more` are further keys."""

  def keeps(number: float) -> bool:
    return _compared(number) <= _compared(ceiling)

  return {'value': _rounded(value, keeps), 'ceiling': ceiling, 'passed': keeps(value), **more}


def _compared(number: float) -> float:
  """A value or a bound as the two are compared."""
  return round(float(number), _COMPARED_DIGITS)


def _rounded(value: float, keeps: Callable[[float], bool]) -> float:
  """The value with four digits, or with more where it would be on another side of its bound."""
  for digits in range(4, 12):
    if keeps(round(value, digits)) == keeps(value):
      return round(value, digits)
  return value


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
    Name of the gate -> value, floor or ceiling, passed; of measured gates also `rows` and, of a
    share, `standard_error`, see `binomial_error`.
  """
  base, means = base_arm(config), _MeansBySeed(rows)
  out: dict[str, Any] = {}
  if not base:
    out['an arm without handbook or fine-tuning, to measure the base by'] = at_least(0, floor=1)
  out |= _gates_of_base(means, base, config, suite)
  out |= _gates_of_training(means, arms, config, suite)
  out |= _gates_of_specificity(means, rows, base, config, suite)
  out |= _gates_of_perplexity(means, arms, base, config)
  return out


def _floor_gate(worst: _Worst, floor: float) -> dict[str, Any]:
  """The gate of a share that must reach a floor on the worst seed."""
  error = round(worst.standard_error, 4)
  return at_least(worst.value, floor, rows=worst.rows, standard_error=error)


def _gates_of_base(
  means: _MeansBySeed, base: str, config: ExperimentConfig, suite: SummarySuite
) -> dict[str, Any]:
  """Whether the base makes behaviour of documents."""
  out = {}
  for name, measure in suite.base_skill_measures.items():
    worst = means.worst(base, measure)
    if worst is not None:
      out[f'{base}: {name}'] = _floor_gate(worst, config.gates.documents_only)
  return out


def _gates_of_training(
  means: _MeansBySeed, arms: Mapping[str, Any], config: ExperimentConfig, suite: SummarySuite
) -> dict[str, Any]:
  """Whether each arm has learned what its last phase teaches: handbook or demonstrations."""
  out = {}
  for arm in arms:
    last = kind_of_phase(config, path_of(config.arms[arm])[-1])
    if last == 'explained' and arms[arm].get('recall/value/documents'):
      recalled = means.worst(arm, 'recall/value/documents')
      if recalled is not None:
        out[f'{arm}: recalls the handbook'] = _floor_gate(recalled, config.gates.recall)
    # An arm with a handbook in its context is asked something else than what it was shown.
    if last == 'demonstrations' and arm not in config.contexts:
      learned = means.worst(arm, suite.demonstration_measure)
      if learned is not None:
        name = f'{arm}: learned the demonstrations'
        out[name] = _floor_gate(learned, config.gates.trained_items)
  return out


def _gates_of_specificity(
  means: _MeansBySeed,
  rows: Sequence[Row],
  base: str,
  config: ExperimentConfig,
  suite: SummarySuite,
) -> dict[str, Any]:
  """Whether choices about attributes that no handbook speaks of stay where the base has them."""
  out = {}
  for arm, (change, attribute) in specificity.changes(rows, base, suite.report_header()).items():
    name = f'{arm}: specificity, worst attribute ({attribute}), change against {base}'
    measure = f'preferences/{attribute}/{specificity.TIER}'
    rows_of_arm = means.rows(arm, measure)
    # The error of a difference of two shares; it is largest where both are one half.
    error = round(math.sqrt(2) * binomial_error(0.5, rows_of_arm), 4)
    out[name] = at_most(change, config.gates.specificity, rows=rows_of_arm, standard_error=error)
  return out


def _gates_of_perplexity(
  means: _MeansBySeed, arms: Mapping[str, Any], base: str, config: ExperimentConfig
) -> dict[str, Any]:
  """Whether held-out pretraining text is still read nearly as well as by the base."""
  out = {}
  for measure in sorted(arms.get(base, ())):
    if not measure.startswith('perplexity/'):
      continue
    rise, arm = _largest_rise(means, arms, base, measure)
    name = f'{measure.rsplit("/", 1)[-1]}: perplexity, worst arm ({arm}) / {base}'
    held_out = means.rows(arm, measure)
    out[name] = at_most(math.exp(rise), config.gates.perplexity_ratio, rows=held_out)
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


def base_arm(config: ExperimentConfig) -> str:
  """The arm that others are compared with, the one with most phases; '' if there is none."""
  bases = [arm for arm in config.arms if _is_base(config, arm)]
  return max(bases, key=lambda arm: len(path_of(config.arms[arm])), default='')


def _is_base(config: ExperimentConfig, arm: str) -> bool:
  """Whether an arm is what the others are compared with: pretraining and nothing else, and no
  handbook in its context.

  A model that starts fresh is pretrained by its first phase, be it on text of its owner. Later
  phases with such text are what is tried out.
  """
  if arm in config.contexts:
    # It is the model of another arm, asked with a handbook in its system message.
    return False
  first, *later = path_of(config.arms[arm])
  if kind_of_phase(config, first) not in ('world', 'own text'):
    return False
  # An adapter from outside may have learned anything, such as another experiment's handbook.
  if any(config.phases[phase].adapter for phase in later):
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
    Demonstrations of which some contradict are 'contradiction', and a phase with another objective
    than 'next_token' is called by its objective: the gate of what was learned is not about these.
  """
  objective = config.phases[phase].objective
  if objective != 'next_token':
    return objective
  kind = 'world'
  for name in config.phases[phase].data:
    source = config.sources[name]
    if is_handbook_documents(source):
      return source.variant
    if source.spec and source.toward:
      return 'preferences'
    if source.spec and source.contradiction:
      return 'contradiction'
    if source.spec:
      return 'demonstrations'
    if not source.is_world:
      kind = 'own text'
  return kind
