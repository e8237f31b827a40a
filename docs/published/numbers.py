"""Numbers of stored results: those that were stored, and those that are computed from them."""

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msm_jax.evals import robustness, stats
from msm_jax.evals import survival as effect_survival
from msm_jax.report.numbers import margin_of, show
from published.stored import Stored, TableError

# The primary effects of runs that were stored before their settings named them, as
# docs/preregistration.md has them.
PRIMARY = {'cheese_confirm': 'explained', 'oversight_confirm': 'midtraining'}


def matching(patterns: Sequence[str], names: Sequence[str]) -> list[str]:
  """Finds what patterns stand for.

  Args:
    patterns: names, or patterns with '*'.
    names: what there is.

  Returns:
    The names that match, in the order of the patterns, each once.

  Raises:
    TableError: a name that is no pattern does not exist. A column must not vanish unnoticed.
  """
  out: list[str] = []
  for pattern in patterns:
    found = fnmatch.filter(names, pattern)
    if not found and '*' not in pattern:
      raise TableError(f'{pattern!r} is none of {", ".join(names)}')
    out += [name for name in found if name not in out]
  return out


def with_range(number: Mapping[str, Any], digits: int = 2, sign: str = '') -> str:
  """Writes a number with its range over seeds or names, also if it has an interval."""
  return show({**number, 'low': None, 'high': None}, digits, sign)


def only_seeds(stored: Stored, seeds: Sequence[int]) -> dict[str, Any]:
  """Takes some seeds of a stored result.

  Args:
    stored: the result; with several seeds, every number has the mean of each.
    seeds: the seeds that stay.

  Returns:
    The same with means, ranges and intervals over these seeds. Gates stay as they are. A number
    that is not defined for every seed is left out.

  Raises:
    TableError: a seed was not run.
  """
  summary = stored['summary']
  missing = sorted(set(seeds) - set(summary['seeds']))
  if missing:
    raise TableError(f'seeds {missing} were not run; there are {summary["seeds"]}')
  places = [summary['seeds'].index(seed) for seed in seeds]

  def reduced(number: Any) -> Any:
    if not isinstance(number, dict):
      return number
    if len(number['each']) != len(summary['seeds']):
      # The number is not defined for some seed, and nothing says for which.
      return None
    each = [number['each'][place] for place in places]
    # One cluster and one item: the mean of a seed is all that is known of it.
    observations = {(str(n), '', ''): mean for n, mean in enumerate(each)}
    found = stats.interval(observations, in_nats=number['low'] is not None)
    asked = {key: number[key] for key in ('items', 'clusters') if key in number}
    return {**number, **found.as_dict(len(seeds)), **asked}

  out = dict(summary, seeds=list(seeds))
  for part in ('arms', 'effects'):
    out[part] = {}
    for name, measures in summary[part].items():
      out[part][name] = {}
      for measure, number in measures.items():
        left = reduced(number)
        if left is not None:
          out[part][name][measure] = left
  return {**stored, 'summary': out}


def numbers_in(value: Any) -> Iterator[Mapping[str, Any]]:
  """Finds every measured number in a stored file, wherever it stands."""
  if isinstance(value, list):
    for part in value:
      yield from numbers_in(part)
  elif isinstance(value, dict):
    if isinstance(value.get('mean'), int | float):
      yield value
    for part in value.values():
      yield from numbers_in(part)


def primary_of(name: str, stored: Stored) -> str:
  """The primary effect of a stored result; '' if it names none."""
  return stored['summary'].get('primary') or PRIMARY.get(name, '')


def robustness_of(name: str, stored: Stored) -> dict[str, Any]:
  """How firm the effects of a stored result are, see `msm_jax/evals/robustness.py`.

  Args:
    name: the name of the stored file.
    stored: its contents, perhaps without some seeds.

  Returns:
    What `robustness.of_effects` returns. It is computed here, since results may have been stored
    before summaries had it, and without some seeds it is another.
  """
  summary = stored['summary']
  of_seeds = stored['config'].get('world_seeds') or ()
  worlds = [of_seeds[seed % len(of_seeds)] for seed in summary['seeds'] if of_seeds]
  measure = margin_of(stored['layout']['main'])
  return robustness.of_effects(summary['effects'], measure, primary_of(name, stored), worlds)


def left_of(name: str, stored: Stored, before: str, rows: Sequence[str] = ('*',)) -> dict[str, Any]:
  """Whether more than half of an effect is left after each way, see `survival.half_left`.

  It is computed here, since results may have been stored before summaries had it.

  Args:
    name: the name of the stored file.
    stored: its contents, perhaps without some seeds.
    before: the effect.
    rows: patterns of the changes to show; p values are corrected for their number.

  Returns:
    What `half_left` returns.
  """
  effects = stored['summary']['effects']
  asked = {name: effects[name] for name in (before, *matching(rows, list(effects)))}
  measure = margin_of(stored['layout']['main'])
  return effect_survival.half_left(asked, before, measure, primary_of(name, stored))


def figures_of(name: str, stored: Stored) -> set[str]:
  """Every way in which a page may write the numbers of a stored file, with 0 to 3 digits."""
  out = set()
  numbers = [*numbers_in(stored)]
  # The numbers that are computed when a table is made may stand in text, too.
  numbers += numbers_in(robustness_of(name, stored))
  for curve in stored['summary'].get('survival', {}).values():
    numbers += numbers_in(left_of(name, stored, curve['effects'][0]))
  for number in numbers:
    for digits in range(4):
      for sign in ('', '+'):
        out.add(show(number, digits, sign))
        out.add(with_range(number, digits, sign))
  return out
