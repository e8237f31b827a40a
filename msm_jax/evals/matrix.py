"""The matrix "trained on x, measured by y", for any number of handbooks and values.

A row is an arm that has read documents of a handbook, a column is a value of the items. On the
diagonal an arm is measured by the value of its own handbook. What midtraining did is the rise over
the base arm, paired by seed and item; the diagonal minus the mean of the other columns tells
whether it did it to its own value alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from data_pipelines.sources import spec_paths
from msm_jax.config import ExperimentConfig
from msm_jax.evals import stats
from msm_jax.evals.no_model import sources_by_arm
from msm_jax.evals.rows import is_in_nats

# Documents of this variant speak of the handbook's things and not of its value.
_FILLER = 'filler'
# arm -> measure -> (run, cluster, item) -> value
Seen = Mapping[str, Mapping[str, stats.Observations]]


def values_by_arm(config: ExperimentConfig, value_of: Mapping[str, str]) -> dict[str, str]:
  """Finds the value that every arm was trained on.

  Args:
    config: the experiment's settings.
    value_of: path of a handbook -> its value.

  Returns:
    Arm -> the value of the handbook whose documents it read last; '' for an arm without any, with
    filler alone, or with documents of several values.
  """
  read = sources_by_arm(config)
  out = {}
  for arm in config.arms:
    values: set[str] = set()
    for name in read.get(arm, ()):
      source = config.sources[name]
      if source.variant != _FILLER:
        values.update(value_of.get(path, '') for path in spec_paths(source))
    out[arm] = values.pop() if len(values) == 1 else ''
  return out


def matrices(
  seen: Seen,
  trained_on: Mapping[str, str],
  base: str,
  values: Sequence[str],
  tiers: Sequence[str],
  seeds: int,
) -> dict[str, Any]:
  """Computes the matrix of every tier.

  Args:
    seen: the observations of all arms.
    trained_on: see `values_by_arm`.
    base: the arm that the others are compared with; '' if there is none.
    values: the columns.
    tiers: of 'values/VALUE/TIER' and, for claims, of 'claims/VALUE/TIER'.
    seeds: the number of seeds.

  Returns:
    'EVALUATOR/TIER' -> `values` (the columns that were asked), `rise` (arm -> value -> number in
    nats, against the base) and `own` (arm -> its rise by its own value minus the mean of the
    others). A matrix with fewer than two columns, or without an arm that was trained on one of
    them, is left out.
  """
  out: dict[str, Any] = {}
  for tier in tiers:
    evaluator, _, name = tier.partition('/')
    measures = {value: f'{evaluator}/{value}/{name}' for value in values}
    measured = set().union(*seen.values())
    asked = [value for value in values if measures[value] in measured]
    rows = [arm for arm, value in trained_on.items() if value in asked and arm in seen]
    if len(asked) < 2 or not rows:
      continue
    out[tier] = {'values': asked, 'rise': {}, 'own': {}}
    if base not in seen:
      continue
    for arm in rows:
      margins = {value: f'margin/{value}/{name}' for value in asked}
      rises = _rises(seen[arm], seen[base], margins)
      numbers = {v: stats.interval(rise, in_nats=True).as_dict(seeds) for v, rise in rises.items()}
      out[tier]['rise'][arm] = numbers
      own = _own_minus_others(rises, trained_on[arm])
      if own:
        out[tier]['own'][arm] = stats.interval(own, in_nats=True).as_dict(seeds)
  return out


def _rises(
  of_arm: Mapping[str, stats.Observations],
  of_base: Mapping[str, stats.Observations],
  measures: Mapping[str, str],
) -> dict[str, stats.Observations]:
  """Value -> how much more the arm chooses by it than the base, for each run, cluster and item."""
  out = {}
  for value, measure in measures.items():
    assert is_in_nats(measure)
    if measure in of_arm and measure in of_base:
      out[value] = stats.paired_difference([of_arm[measure], of_base[measure]])
  return out


def _own_minus_others(rises: Mapping[str, stats.Observations], own: str) -> stats.Observations:
  """Run by run: the rise by the own value minus the mean rise by the others.

  Within a run every cluster weighs the same, as in all means; the values may have been asked in
  different domains. Empty if a value is missing.
  """
  others = [value for value in rises if value != own]
  if own not in rises or not others:
    return {}
  means = {value: _means_by_run(rise) for value, rise in rises.items()}
  out = {}
  for run, mean in means[own].items():
    of_others = [means[value][run] for value in others if run in means[value]]
    if of_others:
      out[run, '', own] = mean - sum(of_others) / len(of_others)
  return out


def _means_by_run(observations: stats.Observations) -> dict[str, float]:
  cells: dict[tuple[str, str], list[float]] = {}
  for (run, cluster, _), value in observations.items():
    cells.setdefault((run, cluster), []).append(value)
  by_run: dict[str, list[float]] = {}
  for (run, _), of_cell in cells.items():
    by_run.setdefault(run, []).append(sum(of_cell) / len(of_cell))
  return {run: sum(means) / len(means) for run, means in by_run.items()}
