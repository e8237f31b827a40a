"""From rows to a summary: every number of a report is a mean over rows of one measure, with its interval."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from msm_jax.config import ExperimentConfig, path_of
from msm_jax.evals import stats
from msm_jax.evals.readings import Reading

MIN_CLUSTERS = 5  # with fewer domains than this, a tier's items are its clusters


def measure_of(row: dict[str, Any]) -> str:
  """'evaluator/what/tier'."""
  return f'{row["evaluator"]}/{row["what"]}/{row["tier"]}'


def observations(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, stats.Observations]]:
  """arm -> measure -> observations. Items cluster by domain where there are several domains."""
  grouped: dict[str, dict[str, list[dict]]] = defaultdict(lambda: defaultdict(list))
  for r in rows:
    grouped[r['arm']][measure_of(r)].append(r)
  out: dict[str, dict[str, stats.Observations]] = defaultdict(dict)
  for arm, measures in grouped.items():
    for measure, members in measures.items():
      several = len({r['cluster'] for r in members}) >= MIN_CLUSTERS
      out[arm][measure] = {(r['seed'], r['cluster'] if several else r['item'], r['item']): r['score'] for r in members}
  return out


def summarize(rows: list[dict[str, Any]], config: ExperimentConfig, reading: Reading) -> dict[str, Any]:
  """The contents of summary.json: arms, effects and gates (docs/method.md says what each is for)."""
  seen = observations(rows)
  arms = {
    arm: {m: stats.interval(o, share=not m.startswith('perplexity/')).as_dict() for m, o in sorted(measures.items())}
    for arm, measures in seen.items()
  }
  effects = {name: {'arms': list(named)} | reading.effects([seen[arm] for arm in named]) for name, named in config.effects.items()}
  return {
    'name': config.name,
    'setting': config.setting,
    **reading.head(),
    'seeds': list(config.seeds),
    'arms': arms,
    'effects': effects,
    'gates': gates(arms, rows, config, reading),
  }


def gates(arms: dict[str, Any], rows: list[dict[str, Any]], config: ExperimentConfig, reading: Reading) -> dict[str, Any]:
  """name -> {value, floor or ceiling, passed}; each is about one arm and the worst of its seeds."""
  c, out = config.gates, {}
  by_seed: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
  for r in rows:
    by_seed[r['arm'], measure_of(r)][r['seed']].append(r['score'])

  def worst(arm: str, measure: str) -> float | None:
    seeds = by_seed.get((arm, measure))
    return min(sum(v) / len(v) for v in seeds.values()) if seeds else None

  def add(name: str, value: float | None, floor: float | None = None, ceiling: float | None = None) -> None:
    if value is not None:
      passed = value >= floor if floor is not None else value <= ceiling
      out[name] = {'value': round(value, 4), **({'floor': floor} if floor is not None else {'ceiling': ceiling}), 'passed': bool(passed)}

  base = min(arms, key=lambda a: len(path_of(config.arms[a])))
  for name, measure in reading.skill.items():
    add(f'{base}: {name}', worst(base, measure), floor=c.documents_only)
  for arm in arms:
    path = path_of(config.arms[arm])
    kinds = [_kind(config, phase) for phase in path]
    if kinds[-1] == 'explained' and arms[arm].get('recall/value/documents'):
      add(f'{arm}: recalls the handbook', worst(arm, 'recall/value/documents'), floor=c.recall)
    if kinds[-1] == 'demonstrations':
      add(f'{arm}: learned the demonstrations', worst(arm, reading.learned), floor=c.trained_items)
  for measure in sorted(m for m in arms[base] if m.startswith('perplexity/')):
    base_loss = arms[base][measure]['mean']
    corpus = measure.rsplit('/', 1)[-1]
    losses = {arm: arms[arm][measure]['mean'] for arm in arms}
    arm = max(losses, key=losses.get)
    add(f'{corpus}: perplexity, worst arm ({arm}) / {base}', 2.718281828459045 ** (losses[arm] - base_loss), ceiling=c.perplexity_ratio)
  return out


def _kind(config: ExperimentConfig, phase: str) -> str:
  for name in config.phases[phase].data:
    source = config.sources[name]
    if source.spec:
      return source.variant if source.maker.endswith('.documents') else 'demonstrations'
  return 'world'
