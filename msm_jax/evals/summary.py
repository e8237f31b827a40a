"""From rows to a summary: every number of a report is a mean over rows of one measure, with its interval."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from msm_jax.config import ExperimentConfig, path_of
from msm_jax.evals import stats
from msm_jax.suites.readings import Reading

MIN_CLUSTERS = 5  # with fewer domains than this, a tier's items are its clusters


def measure_of(row: dict[str, Any]) -> str:
  """'evaluator/what/tier'."""
  return f'{row["evaluator"]}/{row["what"]}/{row["tier"]}'


def observations(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, stats.Observations]]:
  """arm -> measure -> observations. Items cluster by domain where there are several domains.

  Runs are seeds; of a single seed, what was asked of the assistant has the replicates for its runs: one of them may differ from the others as
  a seed does, and an interval over items alone would hide it.
  """
  grouped: dict[str, dict[str, list[dict]]] = defaultdict(lambda: defaultdict(list))
  for r in rows:
    grouped[r['arm']][measure_of(r)].append(r)
  one_seed = len({r['seed'] for r in rows}) == 1
  out: dict[str, dict[str, stats.Observations]] = defaultdict(dict)
  for arm, measures in grouped.items():
    for measure, members in measures.items():
      several = len({r['cluster'] for r in members}) >= MIN_CLUSTERS
      kept = out[arm][measure] = {}
      for r in members:
        run, item = (
          (r['assistant'], r['item'].partition('/')[2])
          if one_seed and r.get('assistant')
          else (str(r['seed']), r['item'])
        )
        kept[run, r['cluster'] if several else item, item] = r['score']
  return out


def summarize(
  rows: list[dict[str, Any]], config: ExperimentConfig, reading: Reading
) -> dict[str, Any]:
  """The contents of summary.json: arms, effects and gates (docs/method.md says what each is for)."""
  seen, seeds = observations(rows), len(config.seeds)
  arms = {
    arm: {
      m: stats.interval(o, share=not m.startswith('perplexity/')).as_dict(seeds)
      for m, o in sorted(measures.items())
    }
    for arm, measures in seen.items()
  }
  effects = {
    name: {'arms': list(named)}
    | {m: i.as_dict(seeds) for m, i in reading.effects([seen[arm] for arm in named]).items()}
    for name, named in config.effects.items()
  }
  return {
    'name': config.name,
    'setting': config.setting,
    **reading.head(),
    'seeds': sorted(config.seeds),
    'arms': arms,
    'effects': effects,
    'gates': gates(arms, rows, config, reading),
  }


def gates(
  arms: dict[str, Any], rows: list[dict[str, Any]], config: ExperimentConfig, reading: Reading
) -> dict[str, Any]:
  """name -> {value, floor or ceiling, passed}; each is about one arm and the worst of its seeds."""
  c, out = config.gates, {}
  by_seed: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
  for r in rows:
    by_seed[r['arm'], measure_of(r)][r['seed']].append(r['score'])

  def each(arm: str, measure: str) -> dict[int, float]:
    return {seed: sum(v) / len(v) for seed, v in by_seed.get((arm, measure), {}).items()}

  def worst(arm: str, measure: str) -> float | None:
    return min(each(arm, measure).values(), default=None)

  def add(
    name: str, value: float | None, floor: float | None = None, ceiling: float | None = None
  ) -> None:
    if value is not None:
      passed = value >= floor if floor is not None else value <= ceiling
      out[name] = {
        'value': round(value, 4),
        **({'floor': floor} if floor is not None else {'ceiling': ceiling}),
        'passed': bool(passed),
      }

  bases = [
    a for a in arms if all(_kind(config, phase) == 'world' for phase in path_of(config.arms[a]))
  ]
  if not bases:
    add('an arm without handbook or fine-tuning, to measure the base by', 0, floor=1)
  base = max(bases, key=lambda a: len(path_of(config.arms[a])), default='')
  for name, measure in reading.skill.items():
    add(f'{base}: {name}', worst(base, measure), floor=c.documents_only)
  for arm in arms:
    path = path_of(config.arms[arm])
    kinds = [_kind(config, phase) for phase in path]
    if kinds[-1] == 'explained' and arms[arm].get('recall/value/documents'):
      add(f'{arm}: recalls the handbook', worst(arm, 'recall/value/documents'), floor=c.recall)
    if (
      kinds[-1] == 'demonstrations' and arm not in config.contexts
    ):  # asked in a context, it is asked something else
      add(f'{arm}: learned the demonstrations', worst(arm, reading.learned), floor=c.trained_items)
  for measure in sorted(m for m in arms.get(base, ()) if m.startswith('perplexity/')):
    before = each(base, measure)
    rise, arm = max(
      (loss - before[seed], arm) for arm in arms for seed, loss in each(arm, measure).items()
    )
    add(
      f'{measure.rsplit("/", 1)[-1]}: perplexity, worst arm ({arm}) / {base}',
      math.exp(rise),
      ceiling=c.perplexity_ratio,
    )
  return out


def _kind(config: ExperimentConfig, phase: str) -> str:
  for name in config.phases[phase].data:
    source = config.sources[name]
    if source.spec:
      return source.variant if source.maker.endswith('.documents') else 'demonstrations'
  return 'world'
