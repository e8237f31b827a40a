"""The kinds of blocks that a page may have, each with the function that makes its content."""

import dataclasses
import shlex
import statistics
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msm_jax.evals import placebo as placebo_pairs
from msm_jax.evals import stats
from msm_jax.report.numbers import (
  about_spread,
  bound,
  contrast,
  digits_of,
  gate_value,
  margin_of,
  show_measure,
  sign_of,
)
from published.numbers import left_of, matching, primary_of, robustness_of
from published.stored import Stored, TableError

# Columns of the pages.
WIDTH = 100


@dataclasses.dataclass(frozen=True)
class Block:
  """What the comment at the beginning of a block asks for."""

  # The stored file.
  name: str
  # What is shown of it: a key of KINDS.
  kind: str
  # Options such as columns=..., and labels of a row such as aft='fine-tuning alone'.
  options: Mapping[str, str]

  def patterns(self, option: str, default: Sequence[str]) -> list[str]:
    """The patterns of an option, which are separated by commas."""
    given = self.options.get(option, '')
    return given.split(',') if given else list(default)


def parsed(text: str) -> Block:
  """Reads the comment at the beginning of a block.

  Args:
    text: what follows 'table:'.

  Returns:
    The block.

  Raises:
    TableError: there is no such kind, or a word is no option.
  """
  try:
    name, kind, *words = shlex.split(text)
  except ValueError:
    raise TableError(f'table: {text}: write FILE KIND, and options with closed quotes') from None
  if kind not in KINDS:
    raise TableError(f'table: {text}: {kind!r} is none of {", ".join(KINDS)}')
  options = {}
  for word in words:
    key, equals, value = word.partition('=')
    if not equals:
      raise TableError(f'table: {text}: {word!r} is no option; write key=value')
    options[key] = value
  return Block(name, kind, options)


def heading(measure: str) -> str:
  """The heading of a measure's column."""
  evaluator, *rest = measure.split('/')
  words = ', '.join(rest).replace('_', ' ')
  if evaluator == 'margin':
    return f'margin (nats): {words}'
  if evaluator in ('preferences', 'conduct'):
    return words
  return f'{evaluator}: {words}'


def markdown_table(heads: Sequence[str], body: Sequence[Sequence[str]]) -> str:
  """A table in Markdown: names to the left, numbers to the right."""
  rules = ['---', *(['--:'] * (len(heads) - 1))]
  return '\n'.join(f'| {" | ".join(cells)} |' for cells in (heads, rules, *body))


def _measures_of(entries: Mapping[str, Any]) -> list[str]:
  """Every measure that some arm or effect has, sorted."""
  found: set[str] = set()
  for measures in entries.values():
    found.update(name for name, value in measures.items() if isinstance(value, dict))
  return sorted(found)


def _chosen(block: Block, stored: Stored, entries: Mapping[str, Any], default: str) -> tuple:
  """(rows, columns) of a table of arms or effects, without measures that may show nothing."""
  # Imported late, as in stored.py.
  from msm_jax.suites.registry import layout_of

  asked = block.patterns('columns', stored['layout'][default])
  limited = layout_of(stored['summary']).limited
  # All that is asked in such a tier: one attribute alone and margins, too.
  tiers = {measure.rsplit('/', 1)[1] for measure in limited}
  columns = []
  for column in matching(asked, _measures_of(entries)):
    if column.rsplit('/', 1)[1] not in tiers and column not in limited.values():
      columns.append(column)
    elif column in block.options.get('columns', '').split(','):
      raise TableError(
        f'{column} may show nothing, so it stands in blocks of the kind limited alone'
      )
  rows = block.patterns('rows', ['*'])
  return matching(rows, list(entries)), columns


def arms_table(block: Block, stored: Stored) -> str:
  """One row per arm. Options: columns, rows (patterns, separated by commas)."""
  arms = stored['summary']['arms']
  rows, columns = _chosen(block, stored, arms, 'columns')
  body = []
  for arm in rows:
    cells = [show_measure(arms[arm].get(column), column) for column in columns]
    body.append([arm, *cells])
  return markdown_table(['arm', *map(heading, columns)], body)


def effects_table(block: Block, stored: Stored) -> str:
  """One row per effect, with the arms that it compares. Options as for arms; contrast=no."""
  effects = stored['summary']['effects']
  rows, columns = _chosen(block, stored, effects, 'effects')
  with_contrast = block.options.get('contrast') != 'no'
  body = []
  for name in rows:
    cells = [name]
    if name == primary_of(block.name, stored):
      cells = [f'{name} (primary)']
    if with_contrast:
      cells.append(contrast(effects[name]['arms'], '-'))
    body.append([*cells, *(show_measure(effects[name].get(c), c, is_effect=True) for c in columns)])
  heads = ['effect']
  if with_contrast:
    heads.append('contrast')
  return markdown_table([*heads, *map(heading, columns)], body)


def seeds_table(block: Block, stored: Stored) -> str:
  """One measure of every seed. Options: measure; of=effects; rows."""
  summary = stored['summary']
  kind = block.options.get('of', 'arms')
  measure = block.options.get('measure', stored['layout']['main'])
  spec = f'{sign_of(measure, kind == "effects")}z.{digits_of(measure)}f'
  body = []
  for name in matching(block.patterns('rows', ['*']), list(summary[kind])):
    number = summary[kind][name].get(measure)
    if number and len(number['each']) == len(summary['seeds']):
      body.append([name, *(format(mean, spec) for mean in number['each'])])
  worlds = stored['config'].get('world_seeds') or ()
  heads = [heading(measure)]
  for seed in summary['seeds']:
    world = f', world {worlds[seed % len(worlds)]}' if worlds else ''
    heads.append(f'seed {seed}{world}')
  return markdown_table(heads, body)


def worlds_table(block: Block, stored: Stored) -> str:
  """The mean of the seeds of every world. Options as for seeds."""
  summary, kind = stored['summary'], block.options.get('of', 'effects')
  measure = block.options.get('measure', stored['layout']['main'])
  spec = f'{sign_of(measure, kind == "effects")}z.{digits_of(measure)}f'
  worlds = stored['config'].get('world_seeds') or (0,)
  seeds_of: dict[int, list[int]] = {world: [] for world in worlds}
  for seed in summary['seeds']:
    seeds_of[worlds[seed % len(worlds)]].append(seed)
  body = []
  for name in matching(block.patterns('rows', ['*']), list(summary[kind])):
    number = summary[kind][name].get(measure)
    if not number or len(number['each']) != len(summary['seeds']):
      continue
    of_seed = dict(zip(summary['seeds'], number['each'], strict=True))
    cells = []
    for seeds in seeds_of.values():
      cell = '-'
      # All seeds of a world may have been left out.
      if seeds:
        cell = format(statistics.fmean(of_seed[s] for s in seeds), spec)
      cells.append(cell)
    body.append([name, *cells])
  return markdown_table([heading(measure), *(f'world {world}' for world in seeds_of)], body)


def gates_table(block: Block, stored: Stored) -> str:
  """Every gate with its bound."""
  _check_all_seeds(block)
  body = []
  for name, gate in stored['summary']['gates'].items():
    value = gate_value(gate)
    if gate.get('standard_error') is not None:
      value += f' ± {gate["standard_error"]:.3f}'
    rows = str(gate.get('rows', ''))
    passed = 'passed' if gate['passed'] else '**missed**'
    body.append([name, value, rows, bound(gate, '≥', '≤'), passed])
  return markdown_table(['gate', 'value', 'rows', 'bound', ''], body)


def origin(block: Block, stored: Stored) -> str:
  """The sentence that says where the numbers come from."""
  del block
  seeds = stored['summary']['seeds']
  noun = 'seed' if len(seeds) == 1 else 'seeds'
  changed = ', with changes that were not committed' if stored['dirty'] else ''
  listed = ', '.join(map(str, seeds))
  text = (
    f'Made by `{stored["command"]}` at commit {stored["commit"][:7]}{changed} '
    f'on {stored["date"]}; {noun} {listed}.'
  )
  varies = stored['summary'].get('what_varies')
  if varies and len(seeds) > 1:
    text += f' Between seeds vary: {", ".join(varies)}.'
  spread = about_spread(stored['summary'])
  return f'{text} {spread[0].upper()}{spread[1:]}.'


def row(block: Block, stored: Stored) -> str:
  """One measure of a few arms and effects side by side. Options: measure; then NAME='heading'."""
  summary = stored['summary']
  measure = block.options.get('measure', stored['layout']['main'])
  heads, cells = [], []
  for name, label in block.options.items():
    if name in ('measure', 'without'):
      continue
    is_effect = name in summary['effects']
    found = summary['effects' if is_effect else 'arms'].get(name)
    if found is None:
      raise TableError(f'{block.name}.json has neither an arm nor an effect {name!r}')
    heads.append(label)
    cells.append(show_measure(found.get(measure), measure, is_effect))
  return markdown_table(heads, [cells])


def beside(block: Block, stored: Stored) -> str:
  """What shares are to be compared with: people met in documents, and counting words."""
  # Imported late, as in stored.py.
  from msm_jax.report.beside import reference_rows
  from msm_jax.suites.registry import layout_of

  del block
  summary = stored['summary']
  layout = layout_of(summary)
  share = f'share: {heading(layout.of_setting.main)}' if layout.former else 'share'
  return markdown_table(['what', share], reference_rows(summary, layout))


def limited_table(block: Block, stored: Stored) -> str:
  """A measure that may show nothing, beside its ceiling, with a sentence that says so."""
  # Imported late, as in stored.py.
  from msm_jax.report import limited
  from msm_jax.suites.registry import layout_of

  del block
  summary = stored['summary']
  layout = layout_of(summary)
  out = []
  for measure, body in limited.rows_of(summary, layout).items():
    out.append(f'{limited.verdict(summary, layout, measure)}.')
    out.append(markdown_table(['who', heading(measure)], body))
  return '\n\n'.join(out)


def robustness_table(block: Block, stored: Stored) -> str:
  """How firm the effects of a measure are, the primary effect first.

  Options: rows, for whose number p values are then corrected; measure, where a plan names another
  one as primary than the main one of the report.
  """
  # Imported late, as in stored.py.
  from msm_jax.report.robustness import HEADS, rows_of
  from msm_jax.suites.registry import layout_of

  effects = stored['summary']['effects']
  rows = matching(block.patterns('rows', ['*']), list(effects))
  summary = {**stored['summary'], 'effects': {name: effects[name] for name in rows}}
  main = block.options.get('measure', stored['layout']['main'])
  if 'measure' in block.options and not any(margin_of(main) in effects[name] for name in rows):
    raise TableError(f'no effect of {block.name}.json has {margin_of(main)}')
  shown = {**stored, 'summary': summary, 'layout': {**stored['layout'], 'main': main}}
  layout = dataclasses.replace(layout_of(summary), main=main)
  return markdown_table(HEADS, rows_of(summary, layout, robustness_of(block.name, shown)))


def terminal(block: Block, stored: Stored) -> str:
  """The text that the run printed. Options: columns, effects (patterns)."""
  # Imported late, as in stored.py.
  from msm_jax.report import table
  from msm_jax.suites.registry import layout_of

  # Gates, p values and half doses are those of all seeds.
  _check_all_seeds(block)
  summary = stored['summary']
  layout = layout_of(summary)
  layout = dataclasses.replace(
    layout,
    columns=matching(block.patterns('columns', layout.columns), layout.columns),
    effects=tuple(matching(block.patterns('effects', layout.effects), layout.effects)),
  )
  return f'```\n{table(summary, layout).rstrip()}\n```'


def placebo(block: Block, stored: Stored) -> str:
  """The verdict on pairs of arms that differ in nothing that matters. Option: by=kind."""
  judged = _judged_pairs(block, stored)
  main = margin_of(stored['layout']['main'])
  if block.options.get('by') == 'kind':
    of_kinds = {kind: found[main] for kind, found in judged['kinds'].items()}
    return _placebo_rows('kind of pair', of_kinds)
  margins = [margin_of(measure) for measure in stored['layout']['effects']]
  names = {}
  for measure in matching(margins, list(judged['measures'])):
    name = f'{heading(measure)} (primary)' if measure == main else heading(measure)
    names[name] = judged['measures'][measure]
  return _placebo_rows('measure', names)


def _judged_pairs(block: Block, stored: Stored) -> Mapping[str, Any]:
  """What `python -m msm_jax.placebo` found, with all seeds. Raises TableError if it was not run."""
  _check_all_seeds(block)
  if 'placebo' not in stored:
    raise TableError(
      f'{block.name}.json has no verdict on placebo pairs; run `python -m msm_jax.placebo` on its '
      'workdir and store it again'
    )
  return stored['placebo']


def _placebo_rows(head: str, counted: Mapping[str, Mapping[str, Any]]) -> str:
  """One row of counts for each measure, or each kind of pair."""
  body = []
  for name, found in counted.items():
    share, one_seed = '-', '-'
    if found['share'] is not None:
      share = f'{found["share"]:.1%}'
    if found['one_seed_pairs']:
      one_seed = f'{found["one_seed_exclude_zero"]} of {found["one_seed_pairs"]}'
    cells = [name, str(found['pairs']), str(found['exclude_zero'])]
    body.append([*cells, share, f'{found["rms"]:.2f}', one_seed])
  heads = [head, 'intervals', 'exclude 0', 'share', 'root mean square']
  return markdown_table([*heads, 'one seed: range over names excludes 0'], body)


def placebo_verdict(block: Block, stored: Stored) -> str:
  """The sentence that says whether the placebo study met its bar."""
  judged = _judged_pairs(block, stored)
  sentence = placebo_pairs.verdict(judged, margin_of(stored['layout']['main']))
  return textwrap.fill(sentence, WIDTH)


def _check_all_seeds(block: Block) -> None:
  """Raises TableError for the option `without` in blocks that only know all seeds together."""
  if 'without' in block.options:
    raise TableError(f'table: {block.name} {block.kind}: no seeds can be left out of this block')


def half_doses(block: Block, stored: Stored) -> str:
  """At which dose half of each effect is gone, after so many updates."""
  # Imported late, as in stored.py.
  from msm_jax.report.survival import half_rows
  from msm_jax.suites.registry import layout_of

  _check_all_seeds(block)
  summary = stored['summary']
  heads, body = half_rows(summary, layout_of(summary))
  return markdown_table(['effect', *heads], body)


def left(block: Block, stored: Stored) -> str:
  """Whether more than half of an effect is left after each way. Options: before; rows."""
  # Imported late, as in stored.py.
  from msm_jax.report.survival import LEFT_HEADS, left_rows

  before = block.options.get('before', 'handbook')
  found = left_of(block.name, stored, before, block.patterns('rows', ['*']))
  return markdown_table(LEFT_HEADS, left_rows(found, margin_of(stored['layout']['main'])))


def contradictions_read(block: Block, stored: Stored) -> str:
  """How many contradicting demonstrations were read at each dose, after so many updates."""
  # Imported late, as in stored.py.
  from msm_jax.report.survival import read_rows

  _check_all_seeds(block)
  heads, body = read_rows(stored['summary'])
  return markdown_table(['updates', *heads], body)


def stated(block: Block, stored: Stored) -> str:
  """What arms say that they value, and what they do. Options: rows (patterns)."""
  # Imported late, as in stored.py.
  from msm_jax.report.survival import stated_rows

  _check_all_seeds(block)
  rows = stated_rows(stored['summary'])
  wanted = matching(block.patterns('rows', ['*']), [arm for arm, *_ in rows])
  body = [row for row in rows if row[0] in wanted]
  return markdown_table(['arm', 'says', 'does', 'says minus does'], body)


def wordings(block: Block, stored: Stored) -> str:
  """An effect in every wording. Options: effect; what ('PAIR TYPE/TIER', patterns)."""
  effect, by_what = _effect_by_wording(block, stored)
  examples = stored['summary']['wordings']['examples']
  body = []
  for what in matching(block.patterns('what', ['*']), list(by_what)):
    for wording, of_seeds in by_what[what].items():
      body.append([what, examples[what][wording], f'{statistics.fmean(of_seeds):+.1f}'])
  return markdown_table(['what', 'one of the questions', f'{effect} (nats)'], body)


def wordings_together(block: Block, stored: Stored) -> str:
  """An effect in all wordings, in some of them, and in the others. Options: effect; what ('PAIR
  TYPE/TIER'); some, such as 'wording 06' (patterns); name, what these are called."""
  effect, by_what = _effect_by_wording(block, stored)
  what = block.options.get('what')
  if what not in by_what:
    raise TableError(f'what={what} is none of {", ".join(by_what)}')
  by_wording = by_what[what]
  chosen = matching(block.patterns('some', ['*']), list(by_wording))
  if not chosen:
    raise TableError(f'some={block.options.get("some")} is none of {", ".join(by_wording)}')
  others = [wording for wording in by_wording if wording not in chosen]
  groups = [('all', list(by_wording))]
  if others:
    groups += [(block.options.get('name', 'some'), chosen), ('the others', others)]
  body = []
  for name, group in groups:
    above = sum(statistics.fmean(by_wording[wording]) > 0 for wording in group)
    observations = {}
    for wording in group:
      for seed, nats in zip(stored['summary']['seeds'], by_wording[wording], strict=True):
        observations[str(seed), wording, ''] = nats
    found = stats.interval(observations, in_nats=True).as_dict(len(stored['summary']['seeds']))
    body.append([name, f'{above} of {len(group)}', show_measure(found, 'margin/', is_effect=True)])
  return markdown_table(['wordings', 'above zero', f'{effect} (nats)'], body)


def _effect_by_wording(
  block: Block, stored: Stored
) -> tuple[str, Mapping[str, Mapping[str, Sequence[float]]]]:
  """The name of the effect that a block is about, and what -> wording -> nats of every seed."""
  _check_all_seeds(block)
  found = stored['summary'].get('wordings')
  if not found:
    raise TableError(f'{block.name}.json has no effects by wordings; run and store it again')
  effect = block.options.get('effect') or primary_of(block.name, stored)
  if effect not in found['effects']:
    raise TableError(f'effect={effect} is none of {", ".join(found["effects"])}')
  return effect, found['effects'][effect]


def along(block: Block, stored: Stored) -> str:
  """What is found on the way of one phase. Options: phase; measure; of=arms; rows (patterns)."""
  _check_all_seeds(block)
  of = block.options.get('of', 'effects')
  measure = block.options.get('measure', margin_of(stored['layout']['main']))
  found = {}
  for name, curve in stored['summary'].get('curves', {}).get(of, {}).items():
    if curve['phase'] == block.options.get('phase'):
      found[name] = curve['at']
  updates: set[str] = set()
  for at in found.values():
    updates.update(at)
  ordered = sorted(updates, key=int)
  body = []
  for name in matching(block.patterns('rows', ['*']), list(found)):
    cells = []
    for update in ordered:
      number = found[name].get(update, {}).get(measure)
      cells.append(show_measure(number, measure, is_effect=of == 'effects'))
    body.append([name, *cells])
  return markdown_table([of.removesuffix('s'), *ordered], body)


KINDS: dict[str, Callable[[Block, Stored], str]] = {
  'arms': arms_table,
  'effects': effects_table,
  'seeds': seeds_table,
  'worlds': worlds_table,
  'beside': beside,
  'gates': gates_table,
  'origin': origin,
  'row': row,
  'terminal': terminal,
  'placebo': placebo,
  'verdict': placebo_verdict,
  'robustness': robustness_table,
  'limited': limited_table,
  'survival': half_doses,
  'left': left,
  'read': contradictions_read,
  'stated': stated,
  'along': along,
  'wordings': wordings,
  'wordings_together': wordings_together,
}
