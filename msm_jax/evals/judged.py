"""Verdicts as rows, and what they say together: levels, pairs, contradictions and agreement."""

from collections.abc import Mapping, Sequence
from typing import Any

from msm_jax.evals import stats
from msm_jax.evals.agreement import agreement
from msm_jax.evals.judge_units import (
  CONTRADICTED,
  EQUAL,
  FAILED,
  FIRST,
  LEVEL,
  LEVEL_SCORES,
  LEVELS,
  NO_VERDICT,
  OPTION,
  PAIR,
  PAIR_SCORES,
  SECOND,
  UNUSABLE,
  Unit,
  by_program,
  settled,
)
from msm_jax.evals.judging import Verdict, combine

# A row of rows.jsonl; `docs/schemas.md` describes the keys.
JudgedRow = dict[str, Any]

_SCORES = {LEVEL: LEVEL_SCORES, PAIR: PAIR_SCORES, OPTION: {}}
# Who or what is compared, for each kind of unit.
_KINDS = {LEVEL: 'levels', PAIR: 'pairs', OPTION: 'options'}


def rows_of(units: Sequence[Unit], verdicts: Mapping[str, Verdict] | None) -> list[JudgedRow]:
  """Makes one row of every unit, whatever became of it.

  Args:
    units: what was judged.
    verdicts: what the judge said, see `judging.ask`; None if programs alone judge.

  Returns:
    The rows, in the order of the units. Where programs judge, units about which they cannot tell
    have no row, and neither has any level of a question about which they cannot always tell.
  """
  rows = []
  left_out: set[str] = set()
  if verdicts is None:
    left_out = _questions_beyond_programs(units)
  for unit in units:
    if unit.kind == LEVEL and _question_of(unit) in left_out:
      continue
    program = by_program(unit)
    verdict = settled(unit)
    said: list[Verdict | None] = [None, None]
    by = 'program'
    if verdict is None and verdicts is None:
      verdict = program
    elif verdict is None and verdicts is not None:
      verdict, said = combine(unit, verdicts)
      by = 'judge'
    if verdict is not None:
      rows.append(_row(unit, verdict, said, program, by))
  return rows


def _questions_beyond_programs(units: Sequence[Unit]) -> set[str]:
  """Open questions of which a program can tell some levels, but not all.

  With a rubric alone it can tell that an empty answer is `absent`; with phrases to reject alone,
  that an answer with one of them is. These are all low: their mean would say how low the readable
  answers are, and not how low the answers are.
  """
  out = set()
  for unit in units:
    if unit.kind == LEVEL and settled(unit) is None and by_program(unit) is None:
      out.add(_question_of(unit))
  return out


def _question_of(unit: Unit) -> str:
  """The question of a unit, whichever name of the assistant is asked."""
  first = unit.answers[0]
  return first.item.removeprefix(f'{first.assistant}/')


def _row(
  unit: Unit, verdict: str, said: Sequence[Verdict | None], program: str | None, by: str
) -> JudgedRow:
  first = unit.answers[0]
  labels = [None if one is None else one.label for one in said]
  reasons = [one.reason for one in said if one is not None and one.reason]
  return {
    'id': unit.id,
    'shown': unit.key,
    'turned': unit.is_turned,
    'kind': unit.kind,
    'arm': unit.arm,
    'seed': first.seed,
    'item': first.item,
    'tier': first.tier,
    'cluster': first.cluster,
    'assistant': first.assistant,
    'order': first.order,
    'sample': first.sample,
    'weight': round(unit.weight, 6),
    'verdict': verdict,
    'by': by,
    'forward': labels[0],
    'backward': labels[1],
    'program': program,
    'score': _SCORES[unit.kind].get(verdict),
    'reason': ' / '.join(dict.fromkeys(reasons)),
  }


# ------------------------------------------------------------------------------ together


def summarize(rows: Sequence[JudgedRow], seeds: int) -> dict[str, Any]:
  """What the verdicts say together.

  Args:
    rows: see `rows_of`.
    seeds: how many seeds the experiment has.

  Returns:
    `levels`: arm -> tier -> `level` (a number as in summary.json, of the answers with a verdict),
    `bounds` (the mean if all answers without a verdict had the lowest, or the highest level),
    `answers`, `contradicted`, `unusable`, `failed`. `pairs`: 'first > second' -> tier -> counts of
    `first`, `second`, `equal`, `contradicted`, `unusable`, `failed`, and `different`: how many
    pairs are left if equal ones count once. `agreement`: who is compared -> raw agreement and
    kappa, or None if there is nothing to compare.
    Levels are of the clusters in which every run has a verdict.
  """
  return {
    'levels': _levels(rows, seeds),
    'pairs': _pairs(rows),
    'agreement': agreements(rows),
  }


def _grouped(rows: Sequence[JudgedRow], kind: str) -> dict[str, dict[str, list[JudgedRow]]]:
  """arm -> tier -> rows of one kind."""
  out: dict[str, dict[str, list[JudgedRow]]] = {}
  for row in rows:
    if row['kind'] == kind:
      out.setdefault(row['arm'], {}).setdefault(row['tier'], []).append(row)
  return out


def _count(rows: Sequence[JudgedRow], verdict: str) -> int:
  return sum(row['verdict'] == verdict for row in rows)


def _levels(rows: Sequence[JudgedRow], seeds: int) -> dict[str, Any]:
  out: dict[str, Any] = {}
  for arm, tiers in _grouped(rows, LEVEL).items():
    out[arm] = {}
    for tier, members in tiers.items():
      # In some run, no answer about a cluster may have a verdict.
      decided = stats.in_all_runs(_observations(members, seeds))
      level = None
      if decided:
        level = stats.interval(decided).as_dict(seeds)
      out[arm][tier] = {
        'level': level,
        # Weighted as the level is, which would otherwise lie outside.
        'bounds': [round(_bound(members, seeds, missing), 6) for missing in (0.0, 1.0)],
        'answers': len(members),
        'contradicted': _count(members, CONTRADICTED),
        'unusable': _count(members, UNUSABLE),
        'failed': _count(members, FAILED),
      }
  return out


def _bound(rows: Sequence[JudgedRow], seeds: int, missing: float) -> float:
  """The mean level if every answer without a verdict had the level `missing`."""
  found = _observations(rows, seeds, missing)
  # Where programs judge, what they cannot tell has no row, and a run may lack a cluster.
  whole = stats.in_all_runs(found)
  if whole:
    return stats.interval(whole).mean
  return sum(found.values()) / len(found)


def _observations(
  rows: Sequence[JudgedRow], seeds: int, missing: float | None = None
) -> stats.Observations:
  """(run, cluster, item) -> mean score. As in summary.py, names of the assistant are runs if there
  is one seed, and share their items. `missing` stands for scores that there are none of; without
  it, such rows do not count."""
  values: dict[tuple[str, str, str], list[float]] = {}
  for row in rows:
    score = missing if row['score'] is None else row['score']
    if score is None:
      continue
    run, item = str(row['seed']), row['item']
    if row['assistant']:
      item = item.removeprefix(f'{row["assistant"]}/')
      if seeds == 1:
        run = row['assistant']
    values.setdefault((run, row['cluster'], item), []).append(score)
  return {key: sum(cell) / len(cell) for key, cell in values.items()}


def _pairs(rows: Sequence[JudgedRow]) -> dict[str, Any]:
  out: dict[str, Any] = {}
  for pair, tiers in _grouped(rows, PAIR).items():
    out[pair] = {}
    for tier, members in tiers.items():
      verdicts = (FIRST, SECOND, EQUAL, *NO_VERDICT)
      out[pair][tier] = {verdict: _count(members, verdict) for verdict in verdicts}
      # At temperature 0 all samples are copies of one, which tell no more than one.
      out[pair][tier]['different'] = len({what_was_shown(row) for row in members})
  return out


def agreements(rows: Sequence[JudgedRow]) -> dict[str, Any]:
  """Compares the judge with itself in the other order, and with programs.

  Args:
    rows: see `rows_of`.

  Returns:
    Who is compared -> `things`, `raw`, `low`, `high`, `kappa`, `kappa_low`, `kappa_high`; without
    what there is nothing of. What the judge was shown once counts once, however many answers were
    equal. A level is compared with a program as full or not full, since a program knows right and
    wrong alone.
  """
  out: dict[str, Any] = {}
  for kind, name in _KINDS.items():
    of_kind = [row for row in rows if row['kind'] == kind and row['by'] == 'judge']
    members = different(of_kind)
    both = [row for row in members if _is_verdict(row['forward']) and _is_verdict(row['backward'])]
    # Weights: of options some are drawn, the rare outcomes more often than the common ones.
    found = agreement(
      [row['forward'] for row in both],
      [row['backward'] for row in both],
      [row['weight'] for row in both],
      clusters=clusters_of(both),
    )
    if found is not None:
      out[f'{name}: the judge in its two orders'] = found.as_dict()
    known = [row for row in members if row['program'] and row['verdict'] not in NO_VERDICT]
    first = [_as_program_says(kind, row['verdict']) for row in known]
    second = [_as_program_says(kind, row['program']) for row in known]
    weights = [row['weight'] for row in known]
    found = agreement(first, second, weights, clusters=clusters_of(known))
    if found is not None:
      out[f'{name}: judge and program'] = found.as_dict()
  return out


def different(rows: Sequence[JudgedRow]) -> list[JudgedRow]:
  """Leaves one row of each thing that a judge was shown.

  Args:
    rows: rows of one kind.

  Returns:
    The first row of each. Of an option it has the weights of all of them together, since they share
    the weight of one answer (`judge_units.units_of`).
  """
  groups: dict[str, list[JudgedRow]] = {}
  for row in rows:
    groups.setdefault(what_was_shown(row), []).append(row)
  out = []
  for members in groups.values():
    weight = members[0]['weight']
    if members[0]['kind'] == OPTION:
      weight = sum(row['weight'] for row in members)
    out.append({**members[0], 'weight': weight})
  return out


def what_was_shown(row: JudgedRow) -> str:
  """What equal answers have in common; rows of earlier versions do not say it: each is alone."""
  return str(row.get('shown') or row['id'])


def clusters_of(rows: Sequence[JudgedRow]) -> tuple[list[str], list[int]]:
  """By what verdicts are dependent: their question, whoever is asked it, and the models' seed."""
  items = [row['item'].removeprefix(f'{row["assistant"]}/') for row in rows]
  return items, [row['seed'] for row in rows]


def _is_verdict(label: str | None) -> bool:
  return label is not None and label not in NO_VERDICT


def _as_program_says(kind: str, verdict: str) -> str:
  """A verdict in the categories of a program."""
  if kind == LEVEL:
    return 'right' if verdict == LEVELS[-1][0] else 'wrong'
  return verdict
