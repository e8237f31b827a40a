"""The plain-text table that a run prints."""

import textwrap
from collections.abc import Iterable, Sequence

from msm_jax.base.console import width_of
from msm_jax.report import beside, limited, matrix, more, numbers, robustness, survival
from msm_jax.report.layout import ReportLayout
from msm_jax.report.numbers import Summary, show_measure

# A table that is wider than this many characters goes on below.
WIDTH = 140


def _shortened(name: str, longest: int) -> str:
  """The name; if it takes more than `longest` columns, it loses its middle."""
  if width_of(name) <= longest:
    return name
  half = longest // 2 - 1
  first, last = '', ''
  for letter in name:
    if width_of(first + letter) > half:
      break
    first += letter
  for letter in reversed(name):
    if width_of(letter + last) > half:
      break
    last = letter + last
  return f'{first}..{last}'


def _all_shortened(names: Sequence[str], longest: int) -> list[str]:
  """Shortens names, and less than `longest` says where two of them would look alike."""
  out = [_shortened(name, longest) for name in names]
  while len(set(out)) < len(set(names)):
    longest += 2
    out = [_shortened(name, longest) for name in names]
  return out


def _padded(cells: Sequence[str], widths: Sequence[int]) -> str:
  """Names stand to the left of their column, numbers to the right."""
  out = [cells[0] + ' ' * (widths[0] - width_of(cells[0]))]
  for cell, width in zip(cells[1:], widths[1:], strict=True):
    out.append(' ' * (width - width_of(cell)) + cell)
  return '  '.join(out).rstrip()


def aligned(
  kind: str, columns: Sequence[str], body: Iterable[Sequence[str]], longest: int = 26
) -> list[str]:
  """Writes a table in aligned columns.

  Args:
    kind: heading of the first column.
    columns: headings of the others; the last two parts of 'a/b/c' stand in two lines.
    body: rows of cells; the first cell is the row's name.
    longest: longer names lose their middle, but only as far as they still differ.

  Returns:
    Lines, the first of them empty. Columns that do not fit into `WIDTH` characters follow below, as
    further blocks with the same first column.
  """
  upper = [column.split('/')[-2] for column in columns]
  lower = [column.split('/')[-1] for column in columns]
  given = [list(row) for row in body]
  shortened = _all_shortened([row[0] for row in given], longest)
  rows = [[name, *row[1:]] for name, row in zip(shortened, given, strict=True)]
  first_width = max(map(width_of, (kind, *shortened)))
  widths = []
  for n in range(len(columns)):
    cells_of_column = [upper[n], lower[n], *(row[n + 1] for row in rows)]
    widths.append(max(map(width_of, cells_of_column)))
  out: list[str] = []
  for shown in _blocks(first_width, widths):
    block_widths = [first_width, *(widths[n] for n in shown)]
    lines = [['', *(upper[n] for n in shown)], [kind, *(lower[n] for n in shown)]]
    # Where no heading has two parts, the upper line is empty.
    lines = [line for line in lines if any(line)]
    lines.append(['-' * width for width in block_widths])
    for row in rows:
      lines.append([row[0], *(row[n + 1] for n in shown)])
    out.append('')
    for line in lines:
      out.append(_padded(line, block_widths))
  return out


def _blocks(first: int, widths: Sequence[int]) -> list[list[int]]:
  """Divides columns into blocks that fit into a terminal beside the column of names.

  Args:
    first: width of the column of names.
    widths: widths of the other columns.

  Returns:
    The numbers of the columns of each block. A block has at least one column.
  """
  blocks: list[list[int]] = [[]]
  width = first
  for n, of_column in enumerate(widths):
    if blocks[-1] and width + 2 + of_column > WIDTH:
      blocks.append([])
      width = first
    blocks[-1].append(n)
    width += 2 + of_column
  return blocks


def table(summary: Summary, layout: ReportLayout) -> str:
  """Writes the main measures, effects and gates of an experiment.

  Args:
    summary: the contents of summary.json.
    layout: what its setting shows.

  Returns:
    Plain text for a terminal.
  """
  out = [*_notes(summary, layout), *_arms(summary, layout)]
  if references := beside.reference_rows(summary, layout):
    what, tier = layout.of_setting.main.split('/')[-2:]
    name = what if layout.former else 'main'
    out += aligned('to compare with', [f'{name}/{tier}'], references, 120)
  for measure, rows in limited.rows_of(summary, layout).items():
    out += ['', *textwrap.wrap(limited.verdict(summary, layout, measure), WIDTH)]
    out += aligned('beside its ceiling', [_heading(measure, layout)], rows, 120)
  if summary.get('matrix'):
    out += _matrices(summary)
  if measures := more.sampled_measures(summary):
    heads = [measure.removeprefix(more.PREFIX) for measure in measures]
    out += aligned('sampled answers', heads, _numbers_of_arms(summary, measures))
  if summary['effects']:
    out += _effects(summary, layout)
  if firm := robustness.rows_of(summary, layout):
    out += aligned('effect', [f'/{head}' for head in robustness.HEADS[1:]], firm, 60)
  out += _half_doses(summary, layout)
  if said := survival.stated_rows(summary):
    heads = ['/says', '/does', '/says minus does']
    out += ['', 'what arms say that they value, and what they do (shares of the handbook side)']
    out += aligned('arm', heads, said)
  if len(summary['seeds']) > 1:
    out += _each_seed(summary, layout)
  if summary['gates']:
    out += _gates(summary)
  return '\n'.join(out) + '\n'


def _notes(summary: Summary, layout: ReportLayout) -> list[str]:
  """What the numbers are, and what they can carry."""
  notes = [
    layout.share,
    numbers.about_primary(summary, layout.main),
    numbers.about_spread(summary),
    numbers.few_domains(summary, [*layout.tiers, layout.main]),
  ]
  out = []
  for note in notes:
    out += textwrap.wrap(note, WIDTH)
  return out


def _numbers_of_arms(summary: Summary, measures: Sequence[str]) -> list[list[str]]:
  """One row for each arm: its name and its numbers of some measures."""
  body = []
  for arm, of_arm in summary['arms'].items():
    body.append([arm, *(show_measure(of_arm.get(m), m) for m in measures)])
  return body


def _arms(summary: Summary, layout: ReportLayout) -> list[str]:
  measures = with_main_margin(summary, layout)
  heads = [_heading(measure, layout) for measure in measures]
  return aligned('arm', heads, _numbers_of_arms(summary, measures))


def _matrices(summary: Summary) -> list[str]:
  """The matrices "trained on x, measured by y", one for each tier."""
  out = ['', *textwrap.wrap(matrix.STARS, WIDTH)]
  for tier in summary['matrix']:
    heads, body = matrix.matrix_rows(summary, tier)
    # The title takes the place of the empty line above the table.
    out += ['', matrix.title_of(tier), *aligned('trained on', heads, body)[1:]]
  return out


def _half_doses(summary: Summary, layout: ReportLayout) -> list[str]:
  """The doses at which half of an effect is gone; nothing without dose curves."""
  heads, body = survival.half_rows(summary, layout)
  if not body:
    return []
  columns = [f'/{head}' for head in heads]
  return ['', 'dose at which half of an effect is gone', *aligned('effect', columns, body)]


def with_main_margin(summary: Summary, layout: ReportLayout) -> list[str]:
  """The measures of the table of arms: the main one, its margin, and the layout's others."""
  margin = numbers.margin_of(layout.main)
  measures = [layout.main]
  if any(margin in of_arm for of_arm in summary['arms'].values()):
    measures.append(margin)
  return measures + [m for m in layout.columns if m not in measures]


def effect_measures(summary: Summary, layout: ReportLayout) -> list[str]:
  """The measures of the table of effects.

  Args:
    summary: the contents of summary.json.
    layout: what its setting shows.

  Returns:
    The main share; then margins, which alone can have intervals, and shares of what has no margin.
  """
  measured = numbers.measured_in(summary, 'effects')
  measures = [layout.main]
  for measure in layout.effects:
    margin = numbers.margin_of(measure)
    measures.append(margin if margin in measured else measure)
  # Each measure once; one without a margin may be the main one.
  return list(dict.fromkeys(measures))


def _heading(measure: str, layout: ReportLayout) -> str:
  """The heading of a column: 'conflict (primary)/new_domains', 'conflict, nats/policy'."""
  *_, what, tier = measure.split('/')
  if measure == layout.main:
    return f'{what} (primary)/{tier}'
  if measure == numbers.margin_of(layout.main):
    return f'nats (primary)/{tier}'
  if measure.startswith('margin/'):
    return f'{what}, nats/{tier}'
  return f'{what}/{tier}'


def _effects(summary: Summary, layout: ReportLayout) -> list[str]:
  measures = effect_measures(summary, layout)
  body = []
  for name, effect in summary['effects'].items():
    cells = [show_measure(effect.get(m), m, is_effect=True) for m in measures]
    body.append([name, *cells])
  out = [*aligned('effect', [_heading(m, layout) for m in measures], body), '']
  for name, effect in summary['effects'].items():
    out.append(f'{name}: {numbers.contrast(effect["arms"], "minus")}')
  return out


def _gates(summary: Summary) -> list[str]:
  body = []
  for name, gate in summary['gates'].items():
    bound = numbers.bound(gate, '>=', '<=')
    value, rows = numbers.gate_value(gate), gate.get('rows')
    error = gate.get('standard_error')
    body.append(
      [
        name,
        value,
        '-' if error is None else f'{error:.3f}',
        '-' if rows is None else f'{rows}',
        bound,
        numbers.verdict(gate, 'PASS'),
      ]
    )
  return aligned('gate', ('/value', '/error', '/rows', '/bound', '/passed'), body, longest=90)


def _each_seed(summary: Summary, layout: ReportLayout) -> list[str]:
  """The main measure of every seed, of the arms that have it for every seed."""
  body = []
  for arm, measures in summary['arms'].items():
    each = measures.get(layout.main, {}).get('each', ())
    # Of fewer means, nothing says whose they are.
    if len(each) == len(summary['seeds']):
      body.append([arm, *(f'{mean:.2f}' for mean in each)])
  heads = [f'seed/{seed}' for seed in summary['seeds']]
  return aligned(layout.main.split('/', 1)[1], heads, body)
