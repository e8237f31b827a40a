"""General skills: results of lm-evaluation-harness, read back beside the project's own.

Who wants to know whether a model still does what it could do before serves the arm
(`python -m msm_jax.serve`), has lm-evaluation-harness ask it (`local-completions`), and lets it
write its results into `WORKDIR/capability/ARM/` for the seed 0, or `WORKDIR/capability/ARM-sSEED/`
for one of several seeds. The next run of the experiment's command reads them into summary and
report, with a gate for each measure. `docs/guides/judges.md` has the commands.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msm_jax.base.errors import DataError
from msm_jax.config import GatesConfig
from msm_jax.evals.summary import at_most

FOLDER = 'capability'
# What reading a file raises that is none of the harness.
_NO_RESULTS = (OSError, ValueError, KeyError, TypeError, AttributeError)
# ARM-sSEED.
_WITH_SEED = re.compile(r'(.+)-s(-?\d+)')
# Perplexities are compared as ratios, and shares as differences.
_PERPLEXITIES = ('perplexity', 'word_perplexity', 'byte_perplexity')
# Shares, of which more is better. Other metrics are shown and have no gate.
_SHARES = ('acc', 'acc_norm', 'acc_mutual_info', 'exact_match', 'em', 'f1', 'mcc', 'pass@1')


def read(outputs: Path, arms: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
  """Reads the results of lm-evaluation-harness that lie beside an experiment's.

  Args:
    outputs: the folder of the experiment's outputs.
    arms: the names of its arms.

  Returns:
    arm -> 'task/metric' -> `value` (the mean over the seeds that were asked), `standard_error` (of
    the task's documents; None if the harness gives none), `seeds` and `documents`; nothing if there
    are no results. Every file of an arm counts, since tasks may be asked one after the other; of a
    task that was asked again, the newest results count.

  Raises:
    DataError: a file is none of the harness, or its folder is called after no arm.
  """
  folder = outputs / FOLDER
  # arm -> seed -> task -> 'task/metric' -> number
  found: dict[str, dict[str, dict[str, Any]]] = {}
  # The harness writes the time into the name, so the last name is the newest run.
  for path in sorted(folder.glob('*/**/results*.json'), key=lambda path: (path.name, str(path))):
    arm, seed = _arm_of(path.relative_to(folder).parts[0], arms, folder)
    # All metrics of a task are replaced together: those of two runs would not belong together.
    found.setdefault(arm, {}).setdefault(seed, {}).update(_measures(path))
  out: dict[str, dict[str, Any]] = {}
  for arm in arms:
    if arm in found:
      out[arm] = _mean_over_seeds([_of_all_tasks(tasks) for tasks in found[arm].values()])
  return out


def _of_all_tasks(tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
  """'task/metric' -> number, of all tasks of one seed, in the order of their names."""
  out: dict[str, Any] = {}
  for task in sorted(tasks):
    out |= tasks[task]
  return out


def _arm_of(name: str, arms: Mapping[str, Any], folder: Path) -> tuple[str, str]:
  """(arm, seed) of a folder's name. Raises DataError."""
  if name in arms:
    # The server opens the seed 0 unless it is told another. ARM-s0 is no second model beside it.
    return name, '0'
  match = _WITH_SEED.fullmatch(name)
  if match and match[1] in arms:
    return match[1], match[2]
  raise DataError(
    f'{folder / name} is called after no arm; call it ARM or ARM-sSEED, of {", ".join(arms)}'
  )


def _measures(path: Path) -> dict[str, dict[str, Any]]:
  """task -> 'task/metric' -> value, standard error and documents, of one file. Raises DataError."""
  try:
    found = json.loads(path.read_text(encoding='utf-8'))
    out: dict[str, dict[str, Any]] = {}
    for task, metrics in found['results'].items():
      documents = found.get('n-samples', {}).get(task, {}).get('effective')
      out[task] = _measures_of_task(task, metrics, documents)
  except (*_NO_RESULTS, RecursionError, OverflowError):
    raise DataError(
      f'{path} is no file of results of lm-evaluation-harness; delete it, or ask again with '
      '--output_path'
    ) from None
  return out


def _measures_of_task(task: str, metrics: Mapping[str, Any], documents: Any) -> dict[str, Any]:
  """'task/metric' -> value, standard error and documents, of one task."""
  out = {}
  for key, value in metrics.items():
    # 'acc,none': the metric and the filter of the answers.
    metric, comma, chosen_filter = key.partition(',')
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not comma or metric.endswith('_stderr') or not is_number:
      continue
    name = f'{task}/{metric}'
    if chosen_filter != 'none':
      name = f'{name}:{chosen_filter}'
    error = metrics.get(f'{metric}_stderr,{chosen_filter}')
    standard_error = None
    if isinstance(error, (int, float)) and math.isfinite(error):
      standard_error = float(error)
    out[name] = {'value': float(value), 'standard_error': standard_error, 'documents': documents}
  return out


def _mean_over_seeds(seeds: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
  """The mean of every measure over the seeds that have it; `seeds` says how many these are."""
  measures: dict[str, None] = {}
  for of_seed in seeds:
    measures |= dict.fromkeys(of_seed)
  out = {}
  for measure in measures:
    numbers = [of_seed[measure] for of_seed in seeds if measure in of_seed]
    errors = [number['standard_error'] for number in numbers]
    error = None
    if None not in errors:
      # All seeds answer the same documents, so their errors do not average out.
      error = round(sum(errors) / len(errors), 6)
    out[measure] = {
      'value': round(sum(number['value'] for number in numbers) / len(numbers), 6),
      'standard_error': error,
      'documents': numbers[0]['documents'],
      'seeds': len(numbers),
    }
  return out


def gates(
  capability: Mapping[str, Mapping[str, Any]], base: str, bounds: GatesConfig
) -> dict[str, dict[str, Any]]:
  """Judges every measure by its worst arm.

  Args:
    capability: what `read` gave.
    base: the arm that others are compared with.
    bounds: `capability_drop` is the largest drop of a share, `perplexity_ratio` the largest ratio
      of perplexities.

  Returns:
    Name of the gate -> `value`, `ceiling`, `passed` and, of shares, `standard_error` of the
    difference as if both arms had answered other documents. Nothing if the base was not asked.
  """
  out: dict[str, dict[str, Any]] = {}
  for measure, before in capability.get(base, {}).items():
    metric = measure.rpartition('/')[2].partition(':')[0]
    others = {}
    for arm, of_arm in capability.items():
      if arm != base and measure in of_arm:
        others[arm] = of_arm[measure]
    if not others:
      continue
    if metric in _SHARES:
      worst = min(others, key=lambda arm: _or_worst(others[arm]['value'], -math.inf))
      drop = before['value'] - others[worst]['value']
      name = f'{measure}: drop, worst arm ({worst}) against {base}'
      out[name] = at_most(drop, bounds.capability_drop)
      errors = (before['standard_error'], others[worst]['standard_error'])
      if None not in errors:
        out[name]['standard_error'] = round(math.hypot(*errors), 4)
    elif metric in _PERPLEXITIES and before['value'] > 0:
      worst = max(others, key=lambda arm: _or_worst(others[arm]['value'], math.inf))
      name = f'{measure}: worst arm ({worst}) / {base}'
      out[name] = at_most(others[worst]['value'] / before['value'], bounds.perplexity_ratio)
  return out


def _or_worst(value: float, worst: float) -> float:
  """A value that can be compared: no number (of a model that diverged) is worse than any."""
  return worst if math.isnan(value) else value
