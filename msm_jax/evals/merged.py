"""One summary of all points of a sweep.

Each point of a sweep is an experiment with a summary of its own. In the merged summary, the arm
`aft` of the point `size=150` is called `size=150: aft`, and effects, gates and dose curves are
named in the same way. So whatever reads a summary can read a sweep.

What changes from one point to another is a difference within seeds, so points with other seeds are
not compared. Nor are points whose shares are those of another value. These differences are effects
of the merged summary: `size=1500 minus size=150: midtraining`.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from msm_jax.evals import stats

Summary = Mapping[str, Any]
# What a merged summary takes from the first point as it is.
COMMON = (
  'name',
  'setting',
  'value',
  'rival',
  'assistant',
  'seeds',
  'base',
  'what_varies',
  'also_spoken',
  # The layout of the report depends on these in the setting `custom`.
  'own_value',
  'values',
  'tiers',
  'scene_tiers',
  'claims_of',
  # So it does, in every setting, if an experiment has named its main measure.
  'primary_measure',
)


def merged(
  points: Sequence[tuple[str, Summary]],
  measures: Collection[str],
  in_nats: Collection[str],
  reference: str,
) -> dict[str, Any]:
  """Merges the summaries of a sweep's points.

  Args:
    points: (label, contents of summary.json) of each point; labels differ.
    measures: the measures to keep.
    in_nats: those of them that are in nats, which get intervals.
    reference: the label of the point that the other points are compared with.

  Returns:
    A summary with the parts `arms`, `effects`, `gates`, `curves` (of effects alone), `survival` and
    those of COMMON. Effects include the changes from the reference, for every arm and every effect
    of two arms that both points have and that differ between them.

  Raises:
    KeyError: the reference is no point.
  """
  first = points[0][1]
  out: dict[str, Any] = {key: first[key] for key in COMMON if key in first}
  out |= {'arms': {}, 'effects': {}, 'gates': {}, 'curves': {'effects': {}}, 'survival': {}}
  for label, summary in points:
    for arm, numbers in summary['arms'].items():
      out['arms'][_at(label, arm)] = _kept(numbers, measures)
    for name, effect in summary['effects'].items():
      out['effects'][_at(label, name)] = _effect_at(label, effect, measures)
    for name, gate in summary['gates'].items():
      out['gates'][_at(label, name)] = gate
    for name, curve in summary.get('curves', {}).get('effects', {}).items():
      at = {update: _kept(numbers, measures) for update, numbers in curve['at'].items()}
      arms = [_at(label, arm) for arm in curve['arms']]
      out['curves']['effects'][_at(label, name)] = {**curve, 'arms': arms, 'at': at}
    for name, curve in summary.get('survival', {}).items():
      half = _kept(curve['half'], measures)
      effects = [_at(label, effect) for effect in curve['effects']]
      out['survival'][_at(label, name)] = {**curve, 'effects': effects, 'half': half}
  out['effects'] |= changes(points, measures, in_nats, reference)
  return out


def changes(
  points: Sequence[tuple[str, Summary]],
  measures: Collection[str],
  in_nats: Collection[str],
  reference: str,
) -> dict[str, Any]:
  """Computes what changes from one point of a sweep to the others, within seeds.

  Args:
    points: (label, contents of summary.json) of each point.
    measures: the measures.
    in_nats: those of them that are in nats, which get intervals.
    reference: the label of the point that the other points are compared with.

  Returns:
    Change -> its arms and its numbers, for every arm and every effect of two arms that has the same
    arms at both points. Nothing for a point that has other seeds than the reference, or another
    value or rival: there, the same measure is the share of something else.

  Raises:
    KeyError: the reference is no point.
  """
  compared_with = (reference, dict(points)[reference])
  out: dict[str, Any] = {}
  for label, summary in points:
    if label != reference and _what_is_asked(summary) == _what_is_asked(compared_with[1]):
      out |= _changes((label, summary), compared_with, measures, in_nats)
  return out


def _what_is_asked(summary: Summary) -> tuple[Any, ...]:
  """What two points must share to be compared: seeds, and the two values of conflict pairs."""
  return summary['seeds'], summary.get('value'), summary.get('rival')


def _at(label: str, name: str) -> str:
  """The name of an arm, an effect or a gate of one point."""
  return f'{label}: {name}'


def _kept(numbers: Mapping[str, Any], measures: Collection[str]) -> dict[str, Any]:
  """The numbers of some measures."""
  return {measure: number for measure, number in numbers.items() if measure in measures}


def _effect_at(label: str, effect: Mapping[str, Any], measures: Collection[str]) -> dict[str, Any]:
  """An effect of one point, with its arms under their new names."""
  return {'arms': [_at(label, arm) for arm in effect['arms']], **_kept(effect, measures)}


def _changes(
  point: tuple[str, Summary],
  reference: tuple[str, Summary],
  measures: Collection[str],
  in_nats: Collection[str],
) -> dict[str, Any]:
  """What changes from the reference to a point: change -> its arms and its numbers.

  An arm is left out if an effect compares it with an arm that both points share: both changes are
  the same number but for its sign, and a correction for the number of changes would count it twice.
  """
  (label, summary), (other, compared) = point, reference
  # Arm -> the numbers that change; none for an arm that both points share.
  of_arms: dict[str, dict[str, Any]] = {}
  for arm, numbers in summary['arms'].items():
    if arm in compared['arms']:
      of_arms[arm] = _differences(numbers, compared['arms'][arm], measures, in_nats)
  # Effect -> its arms, and the numbers that change.
  of_effects: dict[str, tuple[list[str], dict[str, Any]]] = {}
  for name, effect in summary['effects'].items():
    # The change of a change would have eight arms. Of other arms, it would be no change.
    there = compared['effects'].get(name)
    if there is None or len(effect['arms']) != 2 or there['arms'] != effect['arms']:
      continue
    numbers = _differences(effect, there, measures, in_nats)
    of_effects[name] = effect['arms'], numbers
  covered = _covered_arms(of_arms, of_effects)
  changed = [(arm, [arm], numbers) for arm, numbers in of_arms.items() if arm not in covered]
  changed += [(name, arms, numbers) for name, (arms, numbers) in of_effects.items()]
  out = {}
  for name, arms, numbers in changed:
    if numbers:
      both = [_at(label, arm) for arm in arms] + [_at(other, arm) for arm in arms]
      out[f'{label} minus {other}: {name}'] = {'arms': both, **numbers}
  return out


def _covered_arms(
  of_arms: Mapping[str, Mapping[str, Any]],
  of_effects: Mapping[str, tuple[list[str], dict[str, Any]]],
) -> set[str]:
  """The arms that an effect compares with an arm that both points share; see `_changes`."""
  shared = {arm for arm, numbers in of_arms.items() if not numbers}
  covered: set[str] = set()
  for (first, second), numbers in of_effects.values():
    if numbers and second in shared:
      covered.add(first)
    if numbers and first in shared:
      covered.add(second)
  return covered


def _differences(
  here: Mapping[str, Any],
  there: Mapping[str, Any],
  measures: Collection[str],
  in_nats: Collection[str],
) -> dict[str, Any]:
  """The measures of an arm or an effect that change, with their differences."""
  out = {}
  for measure in measures:
    change = _change(here.get(measure), there.get(measure), measure in in_nats)
    if change is not None:
      out[measure] = change
  return out


def _change(here: Any, there: Any, in_nats: bool) -> dict[str, Any] | None:
  """The difference of two numbers within seeds.

  None if there is none, if a number is not defined for every seed, or if the difference is 0 in
  every seed, as for an arm that the points share.
  """
  if here is None or there is None or len(here['each']) != len(there['each']):
    return None
  # `each` does not say which seeds it lacks. Of one seed, it holds the means of names.
  if here['seeds'] > 1 and len(here['each']) < here['seeds']:
    return None
  each = [a - b for a, b in zip(here['each'], there['each'], strict=True)]
  if not any(each):
    return None
  # One cluster and one item: of a seed, only the mean is known. With one seed, these are the means
  # of names of the assistant, which give no interval.
  observations = {(str(run), '', ''): mean for run, mean in enumerate(each)}
  found = stats.interval(observations, in_nats).as_dict(here['seeds'])
  asked = {key: here[key] for key in ('items', 'clusters') if key in here}
  return {**found, **asked}
