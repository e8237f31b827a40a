"""Specificity: choices about attributes that no handbook of the experiment speaks of should stay
where they were.

A model that was taught to choose by price and now also prefers new things has learned more than it
was taught. Each such attribute has pairs of items that differ in it alone, so the share of choices
of its first pole can be compared with the base model's.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from data_pipelines.handbooks.values import ATTRIBUTES
from msm_jax.evals.rows import Row, measure_of

TIER = 'new_domains'


def unspoken_attributes(measures: Iterable[str], spoken: Iterable[str]) -> list[str]:
  """The attributes that were asked about and of which no handbook of the experiment speaks.

  Args:
    measures: names of measures ('preferences/age/new_domains').
    spoken: the attributes of the handbooks' values.

  Returns:
    Their names, in the order of ATTRIBUTES.
  """
  asked, without = set(measures), set(spoken)
  out = []
  for attribute in ATTRIBUTES:
    if attribute not in without and f'preferences/{attribute}/{TIER}' in asked:
      out.append(attribute)
  return out


def changes(
  rows: Sequence[Row], base: str, header: Mapping[str, Any]
) -> dict[str, tuple[float, str]]:
  """How far each arm moved from the base of the same seed where it should have stayed.

  Args:
    rows: rows of all arms and seeds.
    base: the arm to compare with.
    header: what the suite says of the experiment; `value` and `rival` name the values of its
      handbooks ('price:cheap'), and `also_spoken` the attributes of further handbooks, if there are
      any. An experiment without values has no attributes.

  Returns:
    Arm -> (the largest absolute change of a share, over attributes and seeds; its attribute). It
    is empty if no such attribute was asked about.
  """
  if 'value' not in header:
    return {}
  spoken = [header[key].partition(':')[0] for key in ('value', 'rival')]
  spoken += header.get('also_spoken', ())
  attributes = unspoken_attributes({measure_of(row) for row in rows}, spoken)
  means = _means(rows, attributes)
  out: dict[str, tuple[float, str]] = {}
  for (arm, attribute, seed), share in means.items():
    before = means.get((base, attribute, seed))
    if arm == base or before is None:
      continue
    change = (abs(share - before), attribute)
    out[arm] = max(out.get(arm, change), change)
  return out


def _means(rows: Sequence[Row], attributes: Sequence[str]) -> Mapping[tuple[str, str, int], float]:
  """(arm, attribute, seed) -> the share of choices of the attribute's first pole."""
  scores: dict[tuple[str, str, int], list[float]] = {}
  for row in rows:
    is_asked = row['evaluator'] == 'preferences' and row['tier'] == TIER
    if is_asked and row['what'] in attributes:
      scores.setdefault((row['arm'], row['what'], row['seed']), []).append(row['score'])
  return {key: sum(members) / len(members) for key, members in scores.items()}
