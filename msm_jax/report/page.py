"""The report of an experiment: one self-contained HTML page.

The page holds no script and asks the network for nothing, so that it can be mailed, archived and
read in ten years. The same summary and rows give the same bytes: a page that changed is a result
that changed.
"""

import functools
import html
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from msm_jax.base.files import write_atomically
from msm_jax.base.html import HEAD, STYLE
from msm_jax.report import (
  beside,
  consistency,
  curves,
  figures,
  limited,
  matrix,
  more,
  numbers,
  robustness,
  survival,
)
from msm_jax.report.layout import ReportLayout
from msm_jax.report.numbers import RowsByMeasure, Stat, Summary
from msm_jax.report.terminal import with_main_margin
from msm_jax.report.texts import Texts, render

_ABOUT_CONTROLS = (
  'Attributes that no handbook speaks of should stay where they are. Order bias, over the conflict '
  'pairs: half of what being named first instead of second adds to the log odds, in nats; both '
  'orders are asked, so it cancels in the scores.'
)

_ABOUT_ORDER = (
  'Half of what being named first instead of later adds to the margin, in nats. All orders are '
  'asked (rotations, of more than three options), so it cancels in the scores.'
)
_FOOTER = (
  'Every number is a mean over its rows of <code>results.jsonl</code>\nbeside this page (an '
  'effect: over differences of rows); <code>summary.json</code> holds the numbers for programs.'
)


def html_table(head: Iterable[str], body: Iterable[Sequence[str]]) -> str:
  """Writes an HTML table.

  Args:
    head: headings.
    body: rows of cells, which are HTML already. The first cell of a row is its heading. Rows that
      end in MISS stand out.

  Returns:
    A <table> in a box that scrolls sideways.
  """
  lines = []
  for first, *rest in body:
    cells = ''.join(f'<td>{cell}</td>' for cell in rest)
    mark = ' class="missed"' if rest[-1] == 'MISS' else ''
    lines.append(f'<tr{mark}><th scope="row">{first}</th>{cells}</tr>')
  rows = '\n'.join(lines)
  top = ''.join(f'<th scope="col">{cell}</th>' for cell in head)
  table = f'<table><thead><tr>{top}</tr></thead><tbody>\n{rows}\n</tbody></table>'
  return f'<div class="wide">{table}</div>'


def _section(title: str, text: str, head: Iterable[str], body: Iterable[Sequence[str]]) -> str:
  if not title:
    return html_table(head, body)
  return f'<h2>{title}</h2><p>{text}</p>{html_table(head, body)}'


def _cell(stat: Stat, digits: int = 2, sign: str = '') -> str:
  if not stat:
    return '-'
  mean = f'{stat["mean"]:{sign}z.{digits}f}'
  around = f'{numbers.spread(stat, digits, sign)} {numbers.of_fewer_seeds(stat)}'.strip()
  return f'{mean}<small>{around}</small>' if around else mean


def _measured(stat: Stat, measure: str, is_effect: bool = False) -> str:
  """The cell of a number, with the digits and the sign of its measure."""
  return _cell(stat, numbers.digits_of(measure), numbers.sign_of(measure, is_effect))


def _measure_name(measure: str) -> str:
  """The measure's name as HTML that may break after each '/', so that narrow columns stay
  narrow."""
  short = measure.removeprefix('preferences/').removeprefix('conduct/')
  return html.escape(short).replace('/', '/<wbr>')


def _labels(summary: Summary) -> dict[str, str]:
  """arm -> its name behind a dot of its colour."""
  out = {}
  for arm, colour in figures.colours(summary).items():
    out[arm] = f'<i style="background:{colour}"></i>{html.escape(arm)}'
  return out


def _order_bias(rows: RowsByMeasure) -> dict[str, list[float]]:
  """arm -> the order bias (nats) of each of its conflict pairs, or choices by values."""
  out: dict[str, list[float]] = defaultdict(list)
  for (arm, measure), members in rows.items():
    if measure.startswith(('preferences/conflict/', 'values/')):
      out[arm] += [row['order_bias'] for row in members if 'order_bias' in row]
  return out


def _arms(layout: ReportLayout, summary: Summary) -> str:
  labels = _labels(summary)
  shown = with_main_margin(summary, layout)
  body = []
  for arm, measures in summary['arms'].items():
    body.append([labels[arm], *(_measured(measures.get(c), c) for c in shown)])
  return _section('Arms', layout.about_columns, ['arm', *_heads(shown, layout)], body)


def _heads(measures: Sequence[str], layout: ReportLayout) -> list[str]:
  """The headings of measures, as HTML; those of the primary measure say so."""
  margin = numbers.margin_of(layout.main)
  heads = []
  for measure in measures:
    head = layout.heads.get(measure, _measure_name(measure))
    if measure.startswith('margin/'):
      head = f'{_measure_name(measure.removeprefix("margin/"))}<br>(nats)'
    if measure in (layout.main, margin):
      head = f'{head}<br><b>primary</b>'
    heads.append(head)
  return heads


def _effects(layout: ReportLayout, summary: Summary) -> str:
  """Two tables: differences of margins, which can have intervals, and of shares."""
  margins = [numbers.margin_of(layout.main), *map(numbers.margin_of, layout.effects)]
  measured = numbers.measured_in(summary, 'effects')
  about = html.escape(numbers.about_primary(summary, layout.main))
  out = []
  in_nats = [m for m in dict.fromkeys(margins) if m in measured]
  if in_nats:
    text = f'{layout.about_effects} In nats, as differences of margins. {about}.'
    out.append(_table_of_effects('Effects', text, in_nats, layout, summary))
  shares = [m for m in dict.fromkeys((layout.main, *layout.effects)) if m in measured]
  title, text = 'Effects, as shares', 'The same contrasts as differences of shares.'
  if not in_nats:
    title, text = 'Effects', f'{layout.about_effects} {about}.'
  out.append(_table_of_effects(title, text, shares, layout, summary))
  return '\n'.join(out)


def _table_of_effects(
  title: str, text: str, measures: Sequence[str], layout: ReportLayout, summary: Summary
) -> str:
  body = []
  for name, effect in summary['effects'].items():
    # Isolated, since names that are written from right to left would turn 'first minus second'.
    arms = [f'<bdi>{html.escape(arm)}</bdi>' for arm in effect['arms']]
    head = f'{html.escape(name)}<small>{numbers.contrast(arms, "&minus;")}</small>'
    body.append([head, *(_measured(effect.get(m), m, is_effect=True) for m in measures)])
  return _section(title, text, ['effect', *_heads(measures, layout)], body)


def _gates(summary: Summary) -> str:
  gates = summary['gates']
  missed = sum(not gate['passed'] for gate in gates.values())
  verdict = 'All passed.'
  if missed:
    verdict = f'{missed} of {len(gates)} missed: mend this before concluding anything.'
  body = []
  for name, gate in gates.items():
    bound = numbers.bound(gate, '&ge;', '&le;')
    passed = numbers.verdict(gate, 'pass')
    error, rows = gate.get('standard_error'), gate.get('rows')
    value = numbers.gate_value(gate)
    if error is not None:
      value = f'{value}<small>&plusmn; {error:.3f}</small>'
    body.append([html.escape(name), value, '-' if rows is None else f'{rows}', bound, passed])
  about = (
    f'What must hold before a result means anything. <b>{verdict}</b> A gate is about the worst '
    'seed. &plusmn;: one binomial standard error, as if the rows were independent.'
  )
  return _section('Gates', about, ['gate', 'value', 'rows', 'bound', ''], body)


def _controls(layout: ReportLayout, summary: Summary, bias: Mapping[str, Sequence[float]]) -> str:
  labels = _labels(summary)
  body = []
  for arm, measures in summary['arms'].items():
    biases = bias.get(arm)
    mean_bias = f'{fmean(biases):+z.2f}' if biases else '-'
    body.append([labels[arm], *(_cell(measures.get(c)) for c in layout.controls), mean_bias])
  heads = ['arm', *(layout.heads[c] for c in layout.controls), 'order bias<br>(nats)']
  if 'values' in summary:
    return _section('Order', _ABOUT_ORDER, heads, body)
  return _section('Specificity and order', _ABOUT_CONTROLS, heads, body)


def _other_measures(summary: Summary, measures: Sequence[str]) -> str:
  body = []
  for measure in measures:
    cells = [_measured(of_arm.get(measure), measure) for of_arm in summary['arms'].values()]
    body.append([_measure_name(measure), *cells])
  table = html_table(['measure', *map(_measure_name, summary['arms'])], body)
  about = (
    'Shares, except margins (nats), perplexity (nats per token of held-out text) and consistency '
    '(1 at most, 0 at chance).'
  )
  return f'<details><summary>All other measures</summary><p>{about}</p>\n{table}</details>'


def _values(summary: Summary, rows: RowsByMeasure) -> list[str]:
  """What is shown of choices by any number of values: matrices, domains and consistency."""
  out = []
  about = matrix.ABOUT
  for tier in summary['matrix']:
    title = html.escape(matrix.title_of(tier))
    out.append(_section(title, about, *matrix.matrix_html(summary, tier)))
    about = 'As above.'
  for tier in summary['tiers']:
    table = html_table(*matrix.by_domain(summary, rows, f'values/{tier}'))
    title = f'By domain: {html.escape(tier.replace("_", " "))}'
    out.append(f'<details><summary>{title}</summary>\n{table}</details>')
  if consistency.measures_of(summary):
    out.append(_section(consistency.TITLE, consistency.ABOUT, *consistency.table(summary, rows)))
  return out


def _skipped(updates_of: Mapping[str, int]) -> str:
  body = [[html.escape(phase), f'{updates:,}'] for phase, updates in updates_of.items()]
  about = 'Updates that were not finite. They changed nothing.'
  return _section('Skipped updates', about, ['phase', 'updates'], body)


def _of_first_seed(summary: Summary) -> str:
  """Says that what a table holds belongs to the first seed; '' if all seeds have it alike."""
  varies = [what for what in summary.get('what_varies', ()) if what.startswith('corpora')]
  if len(summary['seeds']) == 1 or not varies:
    return ''
  # Which seed that is, the summary does not say: its seeds are sorted, and those of a config are as
  # they were given.
  own = 'corpora' if varies == ['corpora'] else 'some corpora'
  return f' Every seed has {own} of its own. These are those of the first seed in the config.'


def _corpora(summary: Summary) -> str:
  corpora = summary['corpora']
  has_left_out = any('left_out' in corpus for corpus in corpora.values())
  body = []
  for name, corpus in corpora.items():
    counts = [f'{corpus["records"]:,}', f'{corpus["tokens"]:,}']
    if has_left_out:
      counts.append(f'{corpus.get("left_out", 0):,}')
    body.append([html.escape(name), html.escape(corpus['kind']), *counts])
  heads = ['corpus', 'kind', 'records', 'tokens']
  if has_left_out:
    heads.append('longer than a row, left out')
  about = f'What the phases were trained on.{_of_first_seed(summary)}'
  return _section('Corpora', about, heads, body)


def _more(summary: Summary) -> list[str]:
  """The sections about sampled answers, judges and general skills, where there are any."""
  labels = _labels(summary)
  out = [more.sampled_html(summary, labels, _section, _cell)]
  if summary.get('judged'):
    out.append(more.judged_html(summary['judged'], _section, _cell))
  if summary.get('capability'):
    out.append(more.capability_html(summary['capability'], labels, _section))
  return [part for part in out if part]


def _comparisons(layout: ReportLayout, summary: Summary) -> list[str]:
  """What the shares of arms are to be compared with, and measures beside their ceilings."""
  out = []
  if references := beside.reference_html(summary, layout, _cell):
    about = beside.about(layout)
    if _of_first_seed(summary):
      about += ' Words are counted in the corpora of the first seed in the config.'
    heads = ['', _measure_name(layout.of_setting.main)]
    out.append(_section(beside.TITLE, about, heads, references))
  for measure, of_measure in limited.rows_of(summary, layout, _cell).items():
    about = html.escape(limited.verdict(summary, layout, measure))
    cells = [[html.escape(name), cell] for name, cell in of_measure]
    out.append(_section(limited.TITLE, about, ['', _measure_name(measure)], cells))
  return out


def _more_of_effects(layout: ReportLayout, summary: Summary) -> list[str]:
  """The sections about effects beside their tables, where there are any: how firm effects are, how
  they run along phases, and what is left of them. What arms say beside what they do comes last."""
  sections: list[curves.Section] = []
  if firm := robustness.rows_of(summary, layout):
    body = []
    for row in firm:
      body.append([html.escape(cell) for cell in row])
    sections.append((robustness.TITLE, robustness.ABOUT, list(robustness.HEADS), body))
  sections += curves.sections(summary, layout, _measured)
  if half_doses := survival.section(summary, layout):
    sections.append(half_doses)
  sections += survival.left_sections(summary)
  if read := survival.read_section(summary):
    sections.append(read)
  sections += survival.stated_sections(summary, _measured)
  return [_section(*section) for section in sections]


def _measures_without_table(layout: ReportLayout, summary: Summary) -> list[str]:
  """The measures of arms that no other table of the page shows."""
  shown = {*with_main_margin(summary, layout), *layout.controls, *more.sampled_measures(summary)}
  shown |= {*layout.limited, *layout.limited.values()}
  return sorted(numbers.measured_in(summary, 'arms') - shown)


def _tables(layout: ReportLayout, summary: Summary, rows: RowsByMeasure) -> str:
  """All tables of the page, in the order in which it shows them."""
  out = [_arms(layout, summary), *_comparisons(layout, summary)]
  if 'values' in summary:
    out += _values(summary, rows)
  if summary['effects']:
    out.append(_effects(layout, summary))
  out += _more_of_effects(layout, summary)
  if summary['gates']:
    out.append(_gates(summary))
  bias = _order_bias(rows)
  if layout.controls or any(bias.values()):
    out.append(_controls(layout, summary, bias))
  out += _more(summary)
  if others := _measures_without_table(layout, summary):
    out.append(_other_measures(summary, others))
  if summary.get('corpora'):
    out.append(_corpora(summary))
  if summary.get('skipped_updates'):
    out.append(_skipped(summary['skipped_updates']))
  return '\n'.join(out)


def _figures(layout: ReportLayout, summary: Summary, rows: RowsByMeasure) -> str:
  if not figures.is_available():
    return figures.NO_FIGURES
  sides, over = [], numbers.range_over(summary)
  for colour, side in (
    (figures.BLUE, 'first arm of an effect'),
    (figures.ORANGE, 'second arm'),
    (figures.GREY, 'the others'),
  ):
    sides.append(f'<i style="background:{colour}"></i>{side}')
  share = html.escape(f'{layout.share[0].upper()}{layout.share[1:]}', quote=False)
  drawn = (
    (
      figures.bars,
      '_bars',
      f'Bars: mean and range over {over}; dots: seeds; dotted line: one half. ' + ', '.join(sides),
    ),
    (
      figures.tiers,
      '_tiers',
      f'By tier: to the right {layout.ends[0]}, to the left {layout.ends[1]}; dots: mean, bars: '
      f'range over {over}',
    ),
    (
      figures.margins,
      '_margins',
      f'The margin of the primary measure (nats): mean and 95% interval over {over}. Dotted line: '
      '0 nats',
    ),
    (figures.domains, '_domains', f'By {_clusters_of(layout, rows)}. {share}, mean over seeds'),
    (
      curves.draw,
      '_curves',
      f'Along the last phases, after so many updates: mean, and interval or range over {over}',
    ),
    (survival.draw, '_survival', 'What is left of an effect, by dose and by updates'),
    (_draw_matrix, '_matrix', matrix.CAPTION),
    (_draw_consistency, '_consistency', consistency.CAPTION),
  )
  out = []
  n = 1
  for draw, salt, text in drawn:
    draw_this = functools.partial(draw, layout=layout, summary=summary, rows=rows)
    figure = figures.svg_figure(draw_this, salt, f'<b>Figure {n}.</b> {text}.')
    if figure:
      out.append(figure)
      n += 1
  return '\n'.join(out)


def _clusters_of(layout: ReportLayout, rows: RowsByMeasure) -> str:
  """What the columns of the figure by domain are: questions may be grouped by their wording."""
  forms: list[bool] = []
  for (_, measure), members in rows.items():
    if measure == layout.main:
      forms += [row['cluster'] == row.get('form') for row in members]
  return 'wording' if forms and all(forms) else 'domain'


def _draw_matrix(fig: Any, layout: ReportLayout, summary: Summary, rows: RowsByMeasure) -> None:
  matrix.draw(fig, summary)


def _draw_consistency(
  fig: Any, layout: ReportLayout, summary: Summary, rows: RowsByMeasure
) -> None:
  consistency.draw(fig, summary, rows)


def rows_by_measure(rows: Iterable[Mapping[str, Any]]) -> RowsByMeasure:
  """Groups rows of results.jsonl: (arm, 'evaluator/what/tier') -> rows."""
  out: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
  for row in rows:
    out[row['arm'], f'{row["evaluator"]}/{row["what"]}/{row["tier"]}'].append(row)
  return out


def write_report(
  path: Path,
  summary: Summary,
  rows: Sequence[Mapping[str, Any]],
  layout: ReportLayout,
  shown_texts: Texts | None = None,
) -> None:
  """Writes the report of an experiment.

  Args:
    path: where the page goes. Without matplotlib it lacks the figures and says how to get them.
    summary: the contents of summary.json.
    rows: the contents of results.jsonl.
    layout: what the setting shows.
    shown_texts: what the models read and say; None for none.
  """
  grouped = rows_by_measure(rows)
  seeds, name = summary['seeds'], html.escape(summary['name'])
  # What the numbers can carry, in the words that the terminal uses.
  caveats = [f'Uncertainty: {numbers.about_spread(summary)}.']
  if few := numbers.few_domains(summary, [*layout.tiers, layout.main]):
    caveats.append(f'{few[0].upper()}{few[1:]}.')
  if len(seeds) > 1 and summary.get('what_varies'):
    caveats.append(f'Between seeds vary: {", ".join(summary["what_varies"])}.')
  about_uncertainty = html.escape(' '.join(caveats))
  how_to_read = ''.join(f'<li>{text}</li>' for text in layout.how_to_read)
  texts = ''
  if shown_texts is not None:
    texts = render(shown_texts, summary, grouped, layout.main)
  seed_list = html.escape(', '.join(map(str, seeds)))
  page = f"""{HEAD}<title>{name}: model spec midtraining</title><style>{STYLE}</style></head><body>
<h1>{name}: model spec midtraining</h1>
<p>{layout.intro}</p>
<p class="note">{layout.caveat}</p>
<p class="note">{about_uncertainty}</p>
<h2>How to read it</h2><ul>
{how_to_read}
<li>Shares describe; margins (nats: how much likelier the first option is than its rival, on a log
scale) carry the inference. With three seeds or more a margin has a 95% interval over the seeds, for
the questions that were asked. Shares have the range over the runs and no interval: near 0 and 1 no
interval over few seeds is honest.</li></ul>
{_figures(layout, summary, grouped)}
{_tables(layout, summary, grouped)}
{texts}<footer><p>Experiment {name}, seeds {seed_list}. {_FOOTER}</p></footer>
</body></html>
"""
  write_atomically(path, page.encode())
