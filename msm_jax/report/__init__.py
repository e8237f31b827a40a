"""Results -> a plain-text table and one self-contained HTML page.

The page holds no script and asks the network for nothing, so that it can be mailed, archived and read in ten years. The same summary and
rows give the same bytes: a page that changed is a result that changed.
"""

import html
import io
import itertools
import math
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from msm_jax.base.html import STYLE
from msm_jax.suites.views import View, view_of

BLUE, ORANGE, GREY, INK = (
  '#0072b2',
  '#d55e00',
  '#8c8c8c',
  '#222222',
)  # Okabe and Ito 2008: told apart by colour-blind readers too
Summary = dict[str, Any]
Rows = dict[tuple[str, str], list[dict[str, Any]]]  # (arm, measure) -> rows
Stat = dict[str, Any] | None  # mean, low, high, seeds, items, each; None where nothing was measured


def _show(stat: Stat, digits: int = 2, sign: str = '', form: str = '{} [{}, {}]') -> str:
  """'0.93 [0.88, 0.97]', or '-' for what was not measured."""
  return (
    form.format(*(f'{stat[k]:{sign}z.{digits}f}' for k in ('mean', 'low', 'high'))) if stat else '-'
  )  # z: no '-0.00'


def _contrast(arms: Sequence[str], minus: str) -> str:
  """'a minus b', or '(a minus b) minus (c minus d)'."""
  pairs = [f' {minus} '.join(arms[n : n + 2]) for n in range(0, len(arms), 2)]
  return pairs[0] if len(pairs) == 1 else f' {minus} '.join(f'({p})' for p in pairs)


def _bound(gate: dict[str, Any], least: str, most: str) -> str:
  return f'{least} {gate["floor"]:g}' if 'floor' in gate else f'{most} {gate["ceiling"]:g}'


def _lines(
  kind: str, columns: Sequence[str], body: Iterable[Sequence[str]], longest: int = 26
) -> list[str]:
  """Aligned columns under two lines of heads: names to the left, numbers to the right. Names over `longest` lose their middle."""
  half, heads = (
    longest // 2 - 1,
    [[name, *(c.split('/')[n] for c in columns)] for name, n in (('', -2), (kind, -1))],
  )
  body = [
    [name if len(name) <= longest else f'{name[:half]}..{name[-half:]}', *cells]
    for name, *cells in body
  ]
  widths = [max(map(len, column)) for column in zip(*heads, *body, strict=True)]
  rows = [*filter(any, heads), ['-' * w for w in widths], *body]
  return [
    '',
    *(
      '  '.join(
        c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(r, widths, strict=True))
      ).rstrip()
      for r in rows
    ),
  ]


def table(summary: Summary) -> str:
  """The main measures, effects and gates in plain text for a terminal."""
  view, effects, seeds = view_of(summary), summary['effects'], summary['seeds']
  out = [f'{view.share}; mean [95% interval]']
  out += _lines(
    'arm',
    view.columns,
    ([arm, *(_show(m.get(c)) for c in view.columns)] for arm, m in summary['arms'].items()),
  )
  if effects:
    out += _lines(
      'effect',
      view.effects,
      ([name, *(_show(e.get(c), sign='+') for c in view.effects)] for name, e in effects.items()),
    )
    out += ['', *(f'{name}: {_contrast(e["arms"], "minus")}' for name, e in effects.items())]
  if len(seeds) > 1:
    body = (
      [arm, *(f'{x:.2f}' for x in m[view.main]['each'])]
      for arm, m in summary['arms'].items()
      if view.main in m
    )
    out += _lines(view.main.split('/', 1)[1], [f'seed/{s}' for s in seeds], body)
  if gates := summary['gates']:
    body = (
      [name, f'{g["value"]:.3f}', _bound(g, '>=', '<='), 'PASS' if g['passed'] else 'MISS']
      for name, g in gates.items()
    )
    out += _lines('gate', ('/value', '/bound', '/passed'), body, longest=120)
  return '\n'.join(out) + '\n'


def _colours(summary: Summary) -> dict[str, str]:
  """An arm's side: blue stands first in an effect (the spec's own value), orange second (the rival's), grey in none."""
  firsts, seconds = ({e['arms'][n] for e in summary['effects'].values()} for n in (0, 1))
  return {
    arm: BLUE if arm in firsts else ORANGE if arm in seconds else GREY for arm in summary['arms']
  }


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


def _bars(fig: Any, view: View, summary: Summary, rows: Rows) -> None:
  """The published figures' layout (Model Spec Midtraining, figures 2 and 4): a bar per arm, a dot per seed."""
  colours = _colours(summary)
  fig.set_size_inches(10, 4.8)
  for ax, (measure, title, label) in zip(
    fig.subplots(1, len(view.panels), sharey=True), view.panels, strict=True
  ):
    ax.axhline(0.5, color=INK, lw=0.8, ls=':')
    for x, (arm, measures) in enumerate(summary['arms'].items()):
      if stat := measures.get(measure):
        ax.bar(x, stat['mean'], 0.72, color=colours[arm])
        ax.errorbar(x, stat['mean'], _error(stat), color=INK, capsize=3, lw=1.2, zorder=3)
        seeds = _means(rows.get((arm, measure), ()), 0).values()
        at = [
          x + 0.13 * (n - (len(seeds) - 1) / 2) for n in range(len(seeds))
        ]  # side by side: equal ones stay apart
        ax.scatter(at, list(seeds), 13, 'white', edgecolors=INK, linewidths=0.8, zorder=4)
    ax.set_xticks(
      range(len(colours)), list(colours), rotation=40, ha='right', rotation_mode='anchor'
    )
    ax.set(ylim=(0, 1.03), ylabel=label)
    ax.set_title(title, weight='bold')
    ax.yaxis.set_tick_params(labelleft=True)


def _tiers(fig: Any, view: View, summary: Summary, rows: Rows) -> None:
  """Arms down, one panel per tier."""
  colours = _colours(summary)
  fig.set_size_inches(10, 1.1 + 0.27 * len(colours))
  for ax, (measure, title) in zip(
    fig.subplots(1, len(view.tiers), sharey=True), view.tiers.items(), strict=True
  ):
    ax.grid(axis='y', color='#eee')
    ax.set_axisbelow(True)
    ax.axvline(0.5, color=INK, lw=0.8, ls=':')
    for y, (arm, measures) in enumerate(summary['arms'].items()):
      if stat := measures.get(measure):
        ax.errorbar(stat['mean'], y, xerr=_error(stat), fmt='o', color=colours[arm], ms=6, lw=1.8)
    ax.set(xlim=(-0.04, 1.04), ylim=(len(colours) - 0.5, -0.5))
    ax.set_title(title, weight='bold')
    ax.set_xticks([0, 0.5, 1], ['0', '0.5', '1'])
    ax.set_yticks(range(len(colours)), list(colours))
  fig.supxlabel(view.share.split(': ', 1)[1], fontsize=9)


def _domains(fig: Any, view: View, summary: Summary, rows: Rows) -> None:
  """Heat map of the main measure by domain, for the arms that an effect names; draws nothing where these have no rows."""
  from matplotlib.colors import LinearSegmentedColormap

  named = {
    arm: rows.get((arm, view.main)) for arm, colour in _colours(summary).items() if colour != GREY
  }
  shares = {arm: _means(members, 1) for arm, members in named.items() if members}
  domains = sorted({d for by_domain in shares.values() for d in by_domain})
  if not domains:
    return
  fig.set_size_inches(10, 1.2 + 0.36 * len(shares))
  ax = fig.subplots()
  grid = [[by_domain.get(d, float('nan')) for d in domains] for by_domain in shares.values()]
  ax.pcolormesh(
    grid,
    cmap=LinearSegmentedColormap.from_list('sides', [ORANGE, '#f7f7f7', BLUE]),
    vmin=0,
    vmax=1,
    edgecolors='white',
    linewidth=1.5,
  )
  for y, line in enumerate(grid):
    for x, share in enumerate(line):
      ax.text(
        x + 0.5,
        y + 0.5,
        f'{share:.2f}',
        ha='center',
        va='center',
        color='white' if abs(share - 0.5) > 0.33 else INK,
      )
  ax.set_xticks(
    [x + 0.5 for x in range(len(domains))], domains, rotation=30, ha='right', rotation_mode='anchor'
  )
  ax.set_yticks([y + 0.5 for y in range(len(shares))], list(shares))
  ax.set_ylim(len(shares), 0)
  ax.tick_params(length=0)
  ax.spines[:].set_visible(False)


def _figure(
  draw: Callable[[Any, View, Summary, Rows], None],
  view: View,
  summary: Summary,
  rows: Rows,
  caption: str,
) -> str:
  return _svg(lambda fig: draw(fig, view, summary, rows), draw.__name__, caption)


def _svg(draw: Callable[[Any], None], salt: str, caption: str) -> str:
  """<figure> with an inline SVG. Each has its own salt, since ids on one page must differ; names are text, never TeX."""
  from matplotlib import style
  from matplotlib.figure import Figure

  settings = {
    'svg.fonttype': 'none',
    'svg.hashsalt': salt,
    'text.parse_math': False,
    'font.size': 9,
    'axes.titlesize': 10,
  }
  with style.context(
    ['default', settings | {'axes.spines.top': False, 'axes.spines.right': False}]
  ):
    draw(fig := Figure(layout='constrained'))
    if not fig.axes:
      return ''
    out = io.StringIO()
    fig.savefig(
      out,
      format='svg',
      transparent=True,
      metadata=dict.fromkeys(('Creator', 'Date', 'Format', 'Type')),
    )
  svg = out.getvalue()
  svg = re.sub(
    r'<g id="[^"]*">', '<g>', svg[svg.index('<svg') :]
  )  # every figure calls its groups figure_1, axes_1 ...
  return f'<figure><div class="wide">{svg}</div><figcaption>{caption}</figcaption></figure>'


def _html_table(head: Iterable[str], body: Iterable[Sequence[str]]) -> str:
  """Cells are HTML already; the first of a row is its heading. Rows that end in MISS stand out."""
  rows = [
    (first, ''.join(f'<td>{c}</td>' for c in rest), ' class="missed"' if rest[-1] == 'MISS' else '')
    for first, *rest in body
  ]
  lines = '\n'.join(
    f'<tr{mark}><th scope="row">{first}</th>{rest}</tr>' for first, rest, mark in rows
  )
  top = ''.join(f'<th scope="col">{h}</th>' for h in head)
  return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>\n{lines}\n</tbody></table></div>'


def _cell(stat: Stat, digits: int = 2, sign: str = '') -> str:
  return _show(stat, digits, sign, '{}<small>[{}, {}]</small>')


def _name(measure: str) -> str:
  return html.escape(measure.removeprefix('preferences/').removeprefix('conduct/')).replace(
    '/', '/<wbr>'
  )  # may break there: narrow columns stay narrow


def _tables(view: View, summary: Summary, rows: Rows) -> str:
  arms, columns, heads, controls = summary['arms'], view.columns, view.heads, view.controls
  label = {
    arm: f'<i style="background:{colour}"></i>{html.escape(arm)}'
    for arm, colour in _colours(summary).items()
  }
  every = {c for m in arms.values() for c in m}
  bias: dict[str, list[float]] = defaultdict(list)
  for (arm, measure), members in rows.items():
    bias[arm] += [
      r['order_bias']
      for r in members
      if measure.startswith('preferences/conflict/') and 'order_bias' in r
    ]
  out = []

  def add(title: str, text: str, head: Sequence[str], body: Iterable[Sequence[str]]) -> None:
    out.append(f'<h2>{title}</h2><p>{text}</p>{_html_table(head, body)}')

  body = ([label[a], *(_cell(m.get(c)) for c in columns)] for a, m in arms.items())
  add('Arms', view.about_columns, ['arm', *(heads.get(c, _name(c)) for c in columns)], body)
  if effects := summary['effects']:
    names = {
      n: f'{html.escape(n)}<small>{_contrast([*map(html.escape, e["arms"])], "&minus;")}</small>'
      for n, e in effects.items()
    }
    body = (
      [names[n], *(_cell(e.get(c), sign='+') for c in view.effects)] for n, e in effects.items()
    )
    add('Effects', view.about_effects, ['effect', *map(_name, view.effects)], body)
  if gates := summary['gates']:
    missed = sum(not g['passed'] for g in gates.values())
    verdict = (
      f'{missed} of {len(gates)} missed: mend this before concluding anything.'
      if missed
      else 'All passed.'
    )
    body = (
      [
        html.escape(n),
        f'{g["value"]:.3f}',
        _bound(g, '&ge;', '&le;'),
        'pass' if g['passed'] else 'MISS',
      ]
      for n, g in gates.items()
    )
    add(
      'Gates',
      f'What must hold before a result means anything. <b>{verdict}</b>',
      ['gate', 'value', 'bound', ''],
      body,
    )
  if controls or any(bias.values()):
    text = 'Attributes that no handbook speaks of should stay where they are. Order bias, over the conflict pairs: half of what being named first '
    text += 'instead of second adds to the log odds, in nats; both orders are asked, so it cancels in the scores.'
    body = (
      [
        label[a],
        *(_cell(m.get(c)) for c in controls),
        f'{fmean(bias[a]):+z.2f}' if bias[a] else '-',
      ]
      for a, m in arms.items()
    )
    add(
      'Specificity and order',
      text,
      ['arm', *(heads[c] for c in controls), 'order bias<br>(nats)'],
      body,
    )
  if others := sorted(every - {*columns, *controls}):
    body = (
      [_name(c), *(_cell(m.get(c), 3 if c.startswith('perplexity/') else 2) for m in arms.values())]
      for c in others
    )
    out.append(
      '<details><summary>All other measures</summary><p>Shares, except perplexity: nats per token of held-out text.</p>'
    )
    out.append(_html_table(['measure', *map(_name, arms)], body) + '</details>')
  if corpora := summary.get('corpora'):
    body = (
      [html.escape(n), html.escape(c['kind']), f'{c["records"]:,}', f'{c["tokens"]:,}']
      for n, c in corpora.items()
    )
    add(
      'Corpora', 'What the phases were trained on.', ['corpus', 'kind', 'records', 'tokens'], body
    )
  return '\n'.join(out)


NO_FIGURES = (
  '<p class="note"><code>pip install &quot;msm_jax[report]&quot;</code> adds the figures.</p>'
)


def point_label(point: dict[str, Any]) -> str:
  """Its label, or 'updates=200 size=1500': the last parts of the keys are enough to tell points apart on a page."""
  return (
    point.get('label')
    or ' '.join(f'{k.rsplit(".", 1)[-1]}={v}' for k, v in point.items())
    or 'as it is'
  )


def _axis_of(rows: Sequence[dict[str, Any]]) -> tuple[str, list[float]] | None:
  """Name and values of the first override, if they are different numbers at every point."""
  firsts = [next(((k, v) for k, v in r['point'].items() if k != 'label'), ('', None)) for r in rows]
  keys, values = {k for k, _ in firsts}, [v for _, v in firsts]
  numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
  return (
    (keys.pop(), values)
    if len(keys) == 1 and numbers and len(set(values)) == len(values) > 1
    else None
  )


def times_saved(
  xs: Sequence[float], first: Sequence[float], second: Sequence[float], better: int
) -> list[tuple[float, bool]]:
  """How many times as much of the axis the second arm needs to be as good as the first is at each x; `better` is -1 where less is better.

  Linear between the points over log x, at the second arm's first crossing. (factor, True), or (bound, False): not even at the largest x.
  The smallest x bounds a factor from above: an arm that is as good there may need less still.
  As the published 10x to 60x of fine-tuning data are read off (Model Spec Midtraining, section 4.2).
  """
  points, out = sorted(zip(xs, first, second, strict=True)), []
  for x, level, _ in points:
    factor, reached = points[-1][0] / x, False
    for (x0, _, y0), (x1, _, y1) in itertools.pairwise(points):
      if better * (y0 - level) >= 0:
        factor, reached = x0 / x, True
        break
      if better * (y1 - level) >= 0:
        factor, reached = (
          math.exp(math.log(x0) + (level - y0) / (y1 - y0) * math.log(x1 / x0)) / x,
          True,
        )
        break
    out.append((factor, reached))
  return out


def sweep_table(rows: Sequence[dict[str, Any]]) -> str:
  """The main measure of every arm at every point, and every effect, in plain text."""
  view = view_of(rows[0]['summary'])
  arms, effects = (
    {name: 0 for r in rows for name in r['summary'][part]} for part in ('arms', 'effects')
  )
  out = [f'{view.share}; mean [95% interval]']
  head = [f'{a}/{view.main.split("/")[-1]}' for a in arms]
  out += _lines(
    'point',
    head,
    (
      [
        point_label(r['point']),
        *(_show(r['summary']['arms'].get(a, {}).get(view.main)) for a in arms),
      ]
      for r in rows
    ),
  )
  if effects:
    body = (
      [
        point_label(r['point']),
        *(_show(r['summary']['effects'].get(e, {}).get(view.main), sign='+') for e in effects),
      ]
      for r in rows
    )
    out += _lines('point', [f'{e}/{view.main.split("/")[-1]}' for e in effects], body)
  axis = _axis_of(rows)
  if axis and axis[0].endswith('.size') and effects:
    out += [
      '',
      f'how many times the {axis[0].rsplit(".", 1)[-1]} the second arm needs for what the first has at a point',
    ]
    means = {
      a: [r['summary']['arms'].get(a, {}).get(view.main, {}).get('mean') for r in rows]
      for a in arms
    }
    pairs = {
      e: next(r['summary']['effects'][e]['arms'] for r in rows if e in r['summary']['effects'])
      for e in effects
    }
    saved = {
      e: times_saved(axis[1], means[a], means[b], view.better)
      for e, (a, b, *others) in pairs.items()
      if not others and None not in (*means[a], *means[b]) and len(set(means[b])) > 1
    }
    order = sorted(range(len(rows)), key=axis[1].__getitem__)
    body = (
      [
        point_label(rows[n]['point']),
        *(f'{s[i][0]:.3g}' if s[i][1] else f'over {s[i][0]:.3g}' for s in saved.values()),
      ]
      for i, n in enumerate(order)
    )
    out += _lines('point', [f'{e}/times' for e in saved], body)
  missed = {
    point_label(r['point']): [n for n, g in r['summary']['gates'].items() if not g['passed']]
    for r in rows
  }
  out += [
    '',
    *(f'gates missed at {point}: {", ".join(names)}' for point, names in missed.items() if names),
  ]
  return '\n'.join(out) + '\n'


def _curves(fig: Any, view: View, rows: Sequence[dict[str, Any]]) -> None:
  """The main measure of each arm over the points: over their value if one number tells them apart, else one after the other."""
  fig.set_size_inches(10, 4.4)
  ax = fig.subplots()
  numeric = _axis_of(rows)
  xs = numeric[1] if numeric else list(range(len(rows)))
  for n, arm in enumerate({a: 0 for r in rows for a in r['summary']['arms']}):
    found = [
      (x, r['summary']['arms'][arm][view.main])
      for x, r in zip(xs, rows, strict=True)
      if view.main in r['summary']['arms'].get(arm, {})
    ]
    low, high = (
      [max(0.0, s['mean'] - s['low']) for _, s in found],
      [max(0.0, s['high'] - s['mean']) for _, s in found],
    )
    ax.errorbar(
      [x for x, _ in found],
      [s['mean'] for _, s in found],
      [low, high],
      fmt='o-',
      color=f'C{n}',
      capsize=3,
      lw=1.5,
      ms=5,
      label=arm,
    )
  if numeric:
    ax.set_xlabel(numeric[0])
    if min(xs) > 0 and max(xs) >= 8 * min(xs):
      ax.set_xscale('log')
    ax.set_xticks(xs, [f'{x:g}' for x in xs])
    ax.minorticks_off()
  else:
    ax.set_xticks(
      xs, [point_label(r['point']) for r in rows], rotation=30, ha='right', rotation_mode='anchor'
    )
  ax.set(ylim=(-0.03, 1.03), ylabel=view.share.split(': ', 1)[1])
  ax.legend(loc='center left', bbox_to_anchor=(1, 0.5), frameon=False)


def write_sweep(path: Path, name: str, about: str, rows: Sequence[dict[str, Any]]) -> Path:
  """One page with the curves and the table of a sweep."""
  view, name = view_of(rows[0]['summary']), html.escape(name)
  seeds = rows[0]['summary']['seeds']
  try:
    figure = _svg(lambda fig: _curves(fig, view, rows), 'curves', 'Dots: mean; bars: 95% interval.')
  except ImportError:
    figure = NO_FIGURES
  page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}: sweep</title><style>{STYLE}</style></head><body><h1>{name}</h1><p>{html.escape(about)}</p>
<p class="note">{view.caveat}</p>
{figure}<pre class="wide">{html.escape(sweep_table(rows))}</pre>
<footer><p>Seeds {html.escape(', '.join(map(str, seeds)))}. Every point is a whole experiment with a page of its own, under
<code>points/</code>.</p></footer>
</body></html>
"""
  _write(path, page)
  return path


def _write(path: Path, page: str) -> None:
  temporary = path.with_name(f'{path.name}.writing-{os.getpid()}')
  temporary.write_text(page, encoding='utf-8')
  os.replace(temporary, path)


def write_report(path: Path, summary: dict, rows: list[dict]) -> None:
  """Writes the page; one that stood there stays until this one is whole. Without matplotlib it lacks the figures and says how to get them."""
  by_measure: Rows = defaultdict(list)
  for r in rows:
    by_measure[r['arm'], f'{r["evaluator"]}/{r["what"]}/{r["tier"]}'].append(r)
  view, seeds, name = view_of(summary), summary['seeds'], html.escape(summary['name'])
  covers = (
    f'seeds ({len(seeds)}) and items'
    if len(seeds) > 1
    else 'replicates of the assistant and items: there is one seed, and another may differ more'
  )
  sides = ((BLUE, 'first arm of an effect'), (ORANGE, 'second arm'), (GREY, 'the others'))
  captions = {
    _bars: 'Bars: mean and 95% interval; dots: seeds; dotted line: one half. '
    + ', '.join(f'<i style="background:{colour}"></i>{side}' for colour, side in sides),
    _tiers: f'By tier: to the right {view.ends[0]}, to the left {view.ends[1]}',
    _domains: f'By domain. {view.share[0].upper()}{view.share[1:]}, mean over seeds',
  }
  try:
    import matplotlib  # noqa: F401 - an extra: only the figures need it
  except ImportError:
    figures = NO_FIGURES
  else:
    figures = '\n'.join(
      _figure(draw, view, summary, by_measure, f'<b>Figure {n}.</b> {text}.')
      for n, (draw, text) in enumerate(captions.items(), 1)
    )
  page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}: model spec midtraining</title><style>{STYLE}</style></head><body>
<h1>{name}: model spec midtraining</h1>
<p>{view.intro}</p>
<p class="note">{view.caveat}</p>
<h2>How to read it</h2><ul>
{''.join(f'<li>{text}</li>' for text in view.how_to_read)}
<li>Intervals are 95% over {covers}.</li></ul>
{figures}
{_tables(view, summary, by_measure)}
<footer><p>Experiment {name}, seeds {html.escape(', '.join(map(str, seeds)))}. Every number is a mean over its rows of <code>results.jsonl</code>
beside this page (an effect: over differences of rows); <code>summary.json</code> holds the numbers for programs.</p></footer>
</body></html>
"""
  _write(path, page)
