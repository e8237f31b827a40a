"""Chooses one recipe for each size from a finished sweep, by a rule that was fixed before.

The label of every point is 'SIZE: RECIPE'. Of each size, only recipes whose base passes its own
gates are considered (the gates of the base say whether it makes behaviour of documents at all). If
none passes, the recipe with the best base is chosen. Among those that pass, it is the one with the
largest primary effect, in the direction that the setting calls better.

The effect of a chosen recipe is too large on average, since it is the largest of several. So it
stands in no result, and other seeds have to confirm it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from msm_jax.base.errors import UserError


class RecipeError(UserError, ValueError):
  """A sweep that no recipes can be chosen from."""


@dataclasses.dataclass(frozen=True)
class Candidate:
  """One point of the sweep."""

  size: str
  recipe: str
  # The overrides of the point, without its label.
  settings: Mapping[str, Any]
  # Whether the base passes its gates on every seed, and by how much the worst of them is passed.
  passes: bool
  slack: float
  # The mean of the primary effect, and that of every seed. Larger is better.
  effect: float
  each: tuple[float, ...]


def candidates(rows: Sequence[Mapping[str, Any]], measure: str, better: int) -> list[Candidate]:
  """Reads the points of a sweep.

  Args:
    rows: rows of sweep.jsonl.
    measure: the primary measure.
    better: 1 if more of the measure is better, else -1.

  Returns:
    One candidate for each row.

  Raises:
    RecipeError: a label is not 'SIZE: RECIPE' or stands there twice, or a summary lacks the primary
      effect or gates of its base.
  """
  out: list[Candidate] = []
  labels: set[str] = set()
  for row in rows:
    label, summary = row['point'].get('label', ''), row['summary']
    size, colon, recipe = label.partition(': ')
    if not colon:
      raise RecipeError(
        f"the point {row['point']} has no label such as '1.1M: width'; "
        'configs/sweeps/sizes.py has some'
      )
    if label in labels:
      raise RecipeError(
        f'two points are labelled {label!r}, of two experiments or of two versions of one; '
        'give every sweep a workdir of its own'
      )
    labels.add(label)
    number = summary['effects'].get(summary.get('primary', ''), {}).get(measure)
    if not number:
      raise RecipeError(
        f'{label}: the summary has no primary effect on {measure}; name an effect as `primary` in '
        'the config and run the same sweep again'
      )
    gates = _gates_of_base(summary)
    if not gates:
      raise RecipeError(f'{label}: the summary has no gates of its base {summary["base"]!r}')
    settings = {key: value for key, value in row['point'].items() if key != 'label'}
    out.append(
      Candidate(
        size=size,
        recipe=recipe,
        settings=settings,
        # Values are rounded in a summary: 0.89996 misses a floor of 0.9.
        passes=all(gate['passed'] for gate in gates),
        slack=min(gate['value'] - gate['floor'] for gate in gates),
        effect=better * number['mean'],
        each=tuple(better * mean for mean in number['each']),
      )
    )
  return out


def _gates_of_base(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
  """The gates with a floor that the base has to pass, each on the worst seed."""
  prefix = f'{summary["base"]}: '
  out = []
  for name, gate in summary['gates'].items():
    if name.startswith(prefix) and 'floor' in gate:
      out.append(gate)
  return out


def choose(found: Sequence[Candidate]) -> dict[str, Candidate]:
  """Applies the rule.

  Args:
    found: the candidates of all sizes.

  Returns:
    size -> the chosen candidate, in the order in which sizes appear.
  """
  by_size: dict[str, list[Candidate]] = {}
  for candidate in found:
    by_size.setdefault(candidate.size, []).append(candidate)
  out = {}
  for size, members in by_size.items():
    passing = [candidate for candidate in members if candidate.passes]
    if passing:
      out[size] = max(passing, key=lambda candidate: candidate.effect)
    else:
      out[size] = max(members, key=lambda candidate: candidate.slack)
  return out
