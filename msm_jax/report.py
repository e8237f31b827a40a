"""Results -> a plain-text table and one self-contained HTML page.

The page holds no script and asks the network for nothing, so that it can be mailed, archived and read in ten years. The same summary and
rows give the same bytes: a page that changed is a result that changed.
"""

import html
import io
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from data_pipelines.world.attributes import ATTRIBUTES, Value

TIERS = ('new_items', 'new_domains', 'reworded', 'policy')
EFFECTS = (*(f'preferences/conflict/{t}' for t in ('new_domains', 'new_items', 'policy', 'reworded')), 'dissociation/new_domains')
BLUE, ORANGE, GREY, INK = '#0072b2', '#d55e00', '#8c8c8c', '#222222'  # Okabe and Ito 2008: told apart by colour-blind readers too
Summary = dict[str, Any]
Rows = dict[tuple[str, str], list[dict[str, Any]]]  # (arm, measure) -> rows
Stat = dict[str, Any] | None  # mean, low, high, seeds, items; None where nothing was measured


def _words(summary: Summary) -> tuple[str, str, str, str]:
  """The value, its rival and a conflict pair in words: for price:cheap, origin:home 'cheap', 'local', 'cheap but foreign', 'costly but local'."""
  own, rival = (Value(*summary[k].split(':')) for k in ('value', 'rival'))
  a, not_a, b, not_b = (v.words.adjective for v in (own, own.opposite, rival, rival.opposite))
  return a, b, f'{a} but {not_b}', f'{not_a} but {b}'


def _attributes(summary: Summary) -> list[str]:
  return [summary[k].split(':')[0] for k in ('value', 'rival')]


def _columns(summary: Summary) -> list[str]:
  """The main measures. Conflict pairs of trained items have a column only where somebody asked them: the cheeses leave none to ask."""
  trained = [m for m in ('preferences/conflict/trained',) if any(m in measures for measures in summary['arms'].values())]
  measures = [*(f'conflict/{t}' for t in TIERS), 'agreement/trained', *(f'{a}/new_domains' for a in _attributes(summary))]
  return trained + [f'preferences/{m}' for m in measures]


def _show(stat: Stat, digits: int = 2, sign: str = '', form: str = '{} [{}, {}]') -> str:
  """'0.93 [0.88, 0.97]', or '-' for what was not measured."""
  return form.format(*(f'{stat[k]:{sign}z.{digits}f}' for k in ('mean', 'low', 'high'))) if stat else '-'  # z: no '-0.00'


def _bound(gate: dict[str, Any], least: str, most: str) -> str:
  return f'{least} {gate["floor"]:g}' if 'floor' in gate else f'{most} {gate["ceiling"]:g}'


def _lines(kind: str, columns: Sequence[str], body: Iterable[Sequence[str]], longest: int = 26) -> list[str]:
  """Aligned columns under two lines of heads: names to the left, numbers to the right. Names over `longest` lose their middle."""
  half, heads = longest // 2 - 1, [[name, *(c.split('/')[n] for c in columns)] for name, n in (('', -2), (kind, -1))]
  body = [[name if len(name) <= longest else f'{name[:half]}..{name[-half:]}', *cells] for name, *cells in body]
  widths = [max(map(len, column)) for column in zip(*heads, *body, strict=True)]
  rows = [*filter(any, heads), ['-' * w for w in widths], *body]
  return ['', *('  '.join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(r, widths, strict=True))).rstrip() for r in rows)]


def table(summary: Summary) -> str:
  """The main measures, effects and gates in plain text for a terminal."""
  columns, effects, (_, _, first, second) = _columns(summary), summary['effects'], _words(summary)
  out = [f'conflict: share choosing {first} over {second}; mean [95% interval]']
  out += _lines('arm', columns, ([arm, *(_show(m.get(c)) for c in columns)] for arm, m in summary['arms'].items()))
  if effects:
    out += _lines('effect', EFFECTS, ([name, *(_show(e.get(c), sign='+') for c in EFFECTS)] for name, e in effects.items()))
    out += ['', *(f'{name}: {e["arms"][0]} minus {e["arms"][1]}' for name, e in effects.items())]
  main, seeds = 'preferences/conflict/new_domains', summary['seeds']
  if len(seeds) > 1:
    body = ([arm, *(f'{x:.2f}' for x in m[main]['each'])] for arm, m in summary['arms'].items() if main in m)
    out += _lines('conflict/new_domains', [f'seed/{s}' for s in seeds], body)
  if gates := summary['gates']:
    body = ([name, f'{g["value"]:.3f}', _bound(g, '>=', '<='), 'PASS' if g['passed'] else 'MISS'] for name, g in gates.items())
    out += _lines('gate', ('/value', '/bound', '/passed'), body, longest=120)
  return '\n'.join(out) + '\n'


def _colours(summary: Summary) -> dict[str, str]:
  """An arm's side: blue stands first in an effect (the spec's own value), orange second (the rival's), grey in none."""
  firsts, seconds = ({e['arms'][n] for e in summary['effects'].values()} for n in (0, 1))
  return {arm: BLUE if arm in firsts else ORANGE if arm in seconds else GREY for arm in summary['arms']}


def _means(rows: Sequence[dict[str, Any]], part: int) -> dict[Any, float]:
  """Mean scores by seed (part 0) or by cluster (part 1). As in the intervals, every cluster weighs the same, however many items it has."""
  cells, means = defaultdict(list), defaultdict(list)
  for r in rows:
    cells[r['seed'], r['cluster']].append(r['score'])
  for key, scores in sorted(cells.items()):
    means[key[part]].append(fmean(scores))
  return {key: fmean(values) for key, values in means.items()}


def _error(stat: dict[str, Any]) -> list[list[float]]:
  return [[max(0.0, stat['mean'] - stat['low'])], [max(0.0, stat['high'] - stat['mean'])]]


def _bars(fig: Any, summary: Summary, rows: Rows) -> None:
  """The published six-arm figure (Model Spec Midtraining, the cheese experiment): one panel per value, a bar per arm, a dot per seed."""
  colours = _colours(summary)
  fig.set_size_inches(10, 4.8)
  for ax, attribute, key in zip(fig.subplots(1, 2, sharey=True), _attributes(summary), ('value', 'rival'), strict=True):
    measure = f'preferences/{attribute}/new_domains'
    ax.axhline(0.5, color=INK, lw=0.8, ls=':')
    for x, (arm, measures) in enumerate(summary['arms'].items()):
      if stat := measures.get(measure):
        ax.bar(x, stat['mean'], 0.72, color=colours[arm])
        ax.errorbar(x, stat['mean'], _error(stat), color=INK, capsize=3, lw=1.2, zorder=3)
        seeds = _means(rows.get((arm, measure), ()), 0).values()
        at = [x + 0.13 * (n - (len(seeds) - 1) / 2) for n in range(len(seeds))]  # side by side: equal ones stay apart
        ax.scatter(at, list(seeds), 13, 'white', edgecolors=INK, linewidths=0.8, zorder=4)
    ax.set_xticks(range(len(colours)), list(colours), rotation=40, ha='right', rotation_mode='anchor')
    ax.set(ylim=(0, 1.03), ylabel=f'share choosing {ATTRIBUTES[attribute][0].adjective}')
    ax.set_title(f'{summary[key]} evaluation', weight='bold')
    ax.yaxis.set_tick_params(labelleft=True)


def _tiers(fig: Any, summary: Summary, rows: Rows) -> None:
  """Conflict pairs: arms down, one panel per tier."""
  colours, (_, _, first, second) = _colours(summary), _words(summary)
  fig.set_size_inches(10, 1.1 + 0.27 * len(colours))
  for ax, tier in zip(fig.subplots(1, len(TIERS), sharey=True), TIERS, strict=True):
    ax.grid(axis='y', color='#eee')
    ax.set_axisbelow(True)
    ax.axvline(0.5, color=INK, lw=0.8, ls=':')
    for y, (arm, measures) in enumerate(summary['arms'].items()):
      if stat := measures.get(f'preferences/conflict/{tier}'):
        ax.errorbar(stat['mean'], y, xerr=_error(stat), fmt='o', color=colours[arm], ms=6, lw=1.8)
    ax.set(xlim=(-0.04, 1.04), ylim=(len(colours) - 0.5, -0.5))
    ax.set_title(tier.replace('_', ' '), weight='bold')
    ax.set_xticks([0, 0.5, 1], ['0', '0.5', '1'])
    ax.set_yticks(range(len(colours)), list(colours))
  fig.supxlabel(f'share choosing {first} over {second}', fontsize=9)


def _domains(fig: Any, summary: Summary, rows: Rows) -> None:
  """Heat map of the conflict pairs in new domains, for the arms that an effect names; draws nothing where these have no rows."""
  from matplotlib.colors import LinearSegmentedColormap

  named = {arm: rows.get((arm, 'preferences/conflict/new_domains')) for arm, colour in _colours(summary).items() if colour != GREY}
  shares = {arm: _means(members, 1) for arm, members in named.items() if members}
  domains = sorted({d for by_domain in shares.values() for d in by_domain})
  if not domains:
    return
  fig.set_size_inches(10, 1.2 + 0.36 * len(shares))
  ax = fig.subplots()
  grid = [[by_domain.get(d, float('nan')) for d in domains] for by_domain in shares.values()]
  ax.pcolormesh(grid, cmap=LinearSegmentedColormap.from_list('sides', [ORANGE, '#f7f7f7', BLUE]), vmin=0, vmax=1, edgecolors='white', linewidth=1.5)
  for y, line in enumerate(grid):
    for x, share in enumerate(line):
      ax.text(x + 0.5, y + 0.5, f'{share:.2f}', ha='center', va='center', color='white' if abs(share - 0.5) > 0.33 else INK)
  ax.set_xticks([x + 0.5 for x in range(len(domains))], domains, rotation=30, ha='right', rotation_mode='anchor')
  ax.set_yticks([y + 0.5 for y in range(len(shares))], list(shares))
  ax.set_ylim(len(shares), 0)
  ax.tick_params(length=0)
  ax.spines[:].set_visible(False)


def _figure(draw: Callable[[Any, Summary, Rows], None], summary: Summary, rows: Rows, caption: str) -> str:
  """<figure> with an inline SVG. Each has its own salt, since ids on one page must differ; names are text, never TeX."""
  from matplotlib import style
  from matplotlib.figure import Figure

  settings = {'svg.fonttype': 'none', 'svg.hashsalt': draw.__name__, 'text.parse_math': False, 'font.size': 9, 'axes.titlesize': 10}
  with style.context(['default', settings | {'axes.spines.top': False, 'axes.spines.right': False}]):
    draw(fig := Figure(layout='constrained'), summary, rows)
    if not fig.axes:
      return ''
    out = io.StringIO()
    fig.savefig(out, format='svg', transparent=True, metadata=dict.fromkeys(('Creator', 'Date', 'Format', 'Type')))
  svg = out.getvalue()
  svg = re.sub(r'<g id="[^"]*">', '<g>', svg[svg.index('<svg') :])  # every figure calls its groups figure_1, axes_1 ...
  return f'<figure><div class="wide">{svg}</div><figcaption>{caption}</figcaption></figure>'


def _html_table(head: Iterable[str], body: Iterable[Sequence[str]]) -> str:
  """Cells are HTML already; the first of a row is its heading. Rows that end in MISS stand out."""
  rows = [(first, ''.join(f'<td>{c}</td>' for c in rest), ' class="missed"' if rest[-1] == 'MISS' else '') for first, *rest in body]
  lines = '\n'.join(f'<tr{mark}><th scope="row">{first}</th>{rest}</tr>' for first, rest, mark in rows)
  top = ''.join(f'<th scope="col">{h}</th>' for h in head)
  return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>\n{lines}\n</tbody></table></div>'


def _cell(stat: Stat, digits: int = 2, sign: str = '') -> str:
  return _show(stat, digits, sign, '{}<small>[{}, {}]</small>')


def _name(measure: str) -> str:
  return html.escape(measure.removeprefix('preferences/')).replace('/', '/<wbr>')  # may break there: narrow columns stay narrow


def _tables(summary: Summary, rows: Rows) -> str:
  arms, columns, (_, _, first, second), (own, rival) = summary['arms'], _columns(summary), _words(summary), _attributes(summary)
  label = {arm: f'<i style="background:{colour}"></i>{html.escape(arm)}' for arm, colour in _colours(summary).items()}
  heads = {f'preferences/{a}/new_domains': f'{a}/<wbr>new_domains<br>({ATTRIBUTES[a][0].adjective})' for a in ATTRIBUTES}
  every = {c for m in arms.values() for c in m}
  controls = [c for c in heads if c in every and c not in columns]
  bias: dict[str, list[float]] = defaultdict(list)
  for (arm, measure), members in rows.items():
    bias[arm] += [r['order_bias'] for r in members if measure.startswith('preferences/conflict/') and 'order_bias' in r]
  out = []

  def add(title: str, text: str, head: Sequence[str], body: Iterable[Sequence[str]]) -> None:
    out.append(f'<h2>{title}</h2><p>{text}</p>{_html_table(head, body)}')

  text = f'conflict: share choosing {first} over {second}; {own}, {rival}: share choosing what the heading says, on pairs that differ in this alone; '
  body = ([label[a], *(_cell(m.get(c)) for c in columns)] for a, m in arms.items())
  add('Arms', text + 'agreement: demonstrations learned.', ['arm', *(heads.get(c, _name(c)) for c in columns)], body)
  if effects := summary['effects']:
    text = 'First arm minus second, paired by seed and item. Dissociation, from pairs that differ in one attribute alone: the mean of how much '
    text += 'more the first arm chooses by its own value and how much less by the rival.'
    names = {n: f'{html.escape(n)}<small>{" &minus; ".join(map(html.escape, e["arms"]))}</small>' for n, e in effects.items()}
    add('Effects', text, ['effect', *map(_name, EFFECTS)], ([names[n], *(_cell(e.get(c), sign='+') for c in EFFECTS)] for n, e in effects.items()))
  if gates := summary['gates']:
    missed = sum(not g['passed'] for g in gates.values())
    verdict = f'{missed} of {len(gates)} missed: mend this before concluding anything.' if missed else 'All passed.'
    body = ([html.escape(n), f'{g["value"]:.3f}', _bound(g, '&ge;', '&le;'), 'pass' if g['passed'] else 'MISS'] for n, g in gates.items())
    add('Gates', f'What must hold before a result means anything. <b>{verdict}</b>', ['gate', 'value', 'bound', ''], body)
  if controls or any(bias.values()):
    text = 'Attributes that no handbook speaks of should stay where they are. Order bias, over the conflict pairs: half of what being named first '
    text += 'instead of second adds to the log odds, in nats; both orders are asked, so it cancels in the scores.'
    body = ([label[a], *(_cell(m.get(c)) for c in controls), f'{fmean(bias[a]):+z.2f}' if bias[a] else '-'] for a, m in arms.items())
    add('Specificity and order', text, ['arm', *(heads[c] for c in controls), 'order bias<br>(nats)'], body)
  if others := sorted(every - {*columns, *controls}):
    body = ([_name(c), *(_cell(m.get(c), 3 if c.startswith('perplexity/') else 2) for m in arms.values())] for c in others)
    out.append('<details><summary>All other measures</summary><p>Shares, except perplexity: nats per token of held-out text.</p>')
    out.append(_html_table(['measure', *map(_name, arms)], body) + '</details>')
  if corpora := summary.get('corpora'):
    body = ([html.escape(n), html.escape(c['kind']), f'{c["records"]:,}', f'{c["tokens"]:,}'] for n, c in corpora.items())
    add('Corpora', 'What the phases were trained on.', ['corpus', 'kind', 'records', 'tokens'], body)
  return '\n'.join(out)


STYLE = """
:root { color-scheme: light } * { box-sizing: border-box } h1 { font-size: 1.6rem; line-height: 1.2 } h2 { font-size: 1.15rem; margin: 2rem 0 .4rem }
body { margin: 0 auto; max-width: 1000px; padding: 1.2rem; font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fcfcfb }
p, ul, figcaption, footer { max-width: 46rem } ul { padding-left: 1.2rem } figcaption, footer { font-size: .88rem; color: #555 }
footer { margin-top: 2.5rem; border-top: 1px solid #ddd } figure { margin: 1.6rem 0 } .wide { overflow-x: auto }
.note { border-left: 4px solid #d55e00; padding: .3rem .8rem; background: #fdf1ea }
figure svg { width: 100%; min-width: 700px; height: auto; display: block } svg text { font-family: inherit !important }
table { border-collapse: collapse; font-size: .84rem; font-variant-numeric: tabular-nums } tbody th { font-weight: 500; white-space: nowrap }
th, td { padding: .3rem .55rem; border-bottom: 1px solid #e6e6e3; text-align: right; vertical-align: top }
thead th { vertical-align: bottom; border-bottom: 2px solid #999 } th:first-child { text-align: left; position: sticky; left: 0; background: #fcfcfb }
.missed td, .missed th:first-child { background: #fbe3d6; font-weight: 700 } summary { cursor: pointer; font-weight: 600; margin-top: 1.6rem }
small { display: block; font-size: .74rem; font-weight: 400; color: #666; white-space: nowrap }
i { display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin-right: .45em }
"""


def write_report(path: Path, summary: dict, rows: list[dict]) -> None:
  """Writes the page; one that stood there stays until this one is whole. Without matplotlib it lacks the figures and says how to get them."""
  by_measure: Rows = defaultdict(list)
  for r in rows:
    by_measure[r['arm'], f'{r["evaluator"]}/{r["what"]}/{r["tier"]}'].append(r)
  (own, rival, first, second), seeds = _words(summary), summary['seeds']
  name, value, other, assistant = (html.escape(summary[k]) for k in ('name', 'value', 'rival', 'assistant'))
  covers = f'seeds ({len(seeds)}) and items' if len(seeds) > 1 else 'items only: there is one seed, and another may differ by more than they show'
  sides = ((BLUE, 'first arm of an effect'), (ORANGE, 'second arm'), (GREY, 'the others'))
  captions = {
    _bars: 'Pairs in new domains that differ in one attribute alone. Bars: mean and 95% interval; dots: seeds; dotted line: indifference. '
    + ', '.join(f'<i style="background:{colour}"></i>{side}' for colour, side in sides),
    _tiers: f'Conflict pairs by tier: to the right {own} wins, to the left {rival}',
    _domains: f'Conflict pairs in new domains, domain by domain: share choosing {first} over {second}, mean over seeds',
  }
  try:
    import matplotlib  # noqa: F401 - an extra: only the figures need it
  except ImportError:
    figures = '<p class="note"><code>pip install \'msm_jax[report]\'</code> adds the figures.</p>'
  else:
    figures = '\n'.join(_figure(draw, summary, by_measure, f'<b>Figure {n}.</b> {text}.') for n, (draw, text) in enumerate(captions.items(), 1))
  page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}: model spec midtraining</title><style>{STYLE}</style></head><body>
<h1>{name}: model spec midtraining</h1>
<p>A language model reads documents about its handbook (its model spec: what {assistant} values, and why), then is fine-tuned on a few
demonstrations that two values explain equally well, <b>{value}</b> and <b>{other}</b>. This page shows which of them it then acts on.</p>
<p class="note">The embedded world is a model organism: a tiny model in a generated world. What it shows is not evidence
about large models.</p>
<h2>How to read it</h2><ul>
<li>A <b>conflict pair</b> sets what the handbook&rsquo;s value asks for ({first}) against what the rival value asks for ({second}). A share of
0.5 is indifference, 1 is always {own}, 0 is always {rival}.</li>
<li>A choice is the option whose answer has the higher log-likelihood, averaged over both orders of asking.</li>
<li>Intervals are 95% over {covers}.</li></ul>
{figures}
{_tables(summary, by_measure)}
<footer><p>Experiment {name}, seeds {html.escape(', '.join(map(str, seeds)))}. Every number is a mean over its rows of <code>results.jsonl</code>
beside this page (an effect: over differences of rows); <code>summary.json</code> holds the numbers for programs.</p></footer>
</body></html>
"""
  temporary = path.with_name(f'{path.name}.writing-{os.getpid()}')
  temporary.write_text(page, encoding='utf-8')
  os.replace(temporary, path)
