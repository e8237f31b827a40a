"""An audit as a table for a terminal and as one self-contained page: no script, nothing from the network, and nothing that a text could do.

Names and texts come from corpora, so everything goes through `shown` (no control characters, no reversed writing, no end) and is escaped.
"""

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msm_jax.base.files import write_atomically
from msm_jax.base.html import STYLE

DARK = """
:root { color-scheme: light dark; --a: #0072b2; --b: #d55e00; --c: #009e73; --d: #8c8c8c }
@media (prefers-color-scheme: dark) {
  :root { --a: #56b4e9; --b: #f0903c; --c: #3fc9a0; --d: #a0a0a0 }
  body { color: #ddd; background: #161616 } th:first-child { background: #161616 } th, td { border-color: #333 } thead th { border-color: #777 }
  .missed td, .missed th:first-child { background: #4a2413 } .note { background: #33221a } small, figcaption, footer { color: #aaa } footer {
border-color: #333 } } td.text { text-align: left; white-space: pre-wrap; overflow-wrap: anywhere; max-width: 44rem } td.left, th.left { text-align:
left } .pass { color: var(--c); font-weight: 600 } svg.chart { min-width: 0; max-width: 640px } svg text { fill: currentColor; font-size: 11px } .s0
{ fill: var(--a) } .s1 { fill: var(--b) } .s2 { fill: var(--c) } .s3 { fill: var(--d) } i.s0 { background: var(--a) } i.s1 { background: var(--b) }
i.s2 { background: var(--c) } i.s3 { background: var(--d) } h3 { font-size: 1rem; margin: 1.4rem 0 .3rem } details { margin: .6rem 0 }
"""


def shown(text: object, most: int = 400) -> str:
  """A text that can do nothing to whoever looks at it: what is not printable (escapes, reversed writing, half characters) becomes a dot; cut at
  `most`."""
  text = ''.join(c if c.isprintable() or c == '\n' else '·' for c in str(text)[: most + 1])
  return text[:most] + '…' if len(text) > most else text


def _safe(text: object, most: int = 400) -> str:
  return html.escape(shown(text, most))


def number(x: float | None) -> str:
  if x is None or isinstance(x, int):
    return '-' if x is None else f'{x:,}'
  return f'{x:.4f}' if 0 < abs(x) < 0.01 else f'{x:.3f}'


def bound(verdict: Mapping[str, Any]) -> str:
  return f'>= {verdict["floor"]:g}' if 'floor' in verdict else f'<= {verdict["ceiling"]:g}'


def _interval(m: Mapping[str, Any]) -> str:
  return f'[{number(m["low"])}, {number(m["high"])}]' if 'low' in m else ''


def table(report: Mapping[str, Any]) -> str:
  """Verdicts in aligned columns, misses marked; then what was not measured and why."""
  rows = [('corpus', 'what', 'value', '', 'bound', '')]
  for v in report['verdicts']:
    name = shown(v['corpus'], 32).replace('\n', ' ')
    rows.append(
      (
        name,
        v['what'],
        number(v['value']),
        _interval(v),
        bound(v),
        'PASS' if v['passed'] else 'MISS',
      )
    )
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  left = (0, 1)
  lines = [
    '  '.join(
      c.ljust(w) if n in left else c.rjust(w)
      for n, (c, w) in enumerate(zip(r, widths, strict=True))
    ).rstrip()
    for r in rows
  ]
  lines.insert(1, '  '.join('-' * w for w in widths))
  out = [
    f'{shown(n, 60)}: {a["documents"]:,} {a["kind"]}, {a["words"]:,} words, {a["tokens"]:,} tokens, {len(a["domains"])} domain(s)'
    for n, a in report['corpora'].items()
  ]
  unmeasured = [
    f'not measured: {shown(m["corpus"], 32)}: {m["what"]} ({m["why"]})'
    for m in report['not_measured']
  ]
  return (
    '\n'.join(
      [
        *(line.replace('\n', ' ') for line in out),
        '',
        *lines,
        *([''] if unmeasured else []),
        *unmeasured,
      ]
    )
    + '\n'
  )


# ---- parts of the page


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], text: Sequence[int] = ()) -> str:
  """Cells are HTML already. A row that ends in MISS stands out; columns in `text` are for passages."""
  cells = lambda r: ''.join(
    f'<td{" class=text" if n in text else ""}>{c}</td>' for n, c in enumerate(r[1:], 1)
  )  # noqa: E731
  body = '\n'.join(
    f'<tr{" class=missed" if r[-1] == "MISS" else ""}><th scope="row">{r[0]}</th>{cells(r)}</tr>'
    for r in rows
  )
  top = ''.join(
    f'<th scope="col"{" class=left" if n in text else ""}>{h}</th>' for n, h in enumerate(head)
  )
  return (
    f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>\n{body}\n</tbody></table></div>'
  )


def _chart(width: int, height: int, inside: str, caption: str) -> str:
  svg = f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{caption}">{inside}</svg>'
  return f'<figure><div class="wide">{svg}</div><figcaption>{caption}</figcaption></figure>'


def _rect(colour: int, x: float, y: float, width: float, height: float) -> str:
  return f'<rect class="s{colour % 4}" x="{x:.1f}" y="{y:.1f}" width="{max(0.5, width):.1f}" height="{height:.1f}"/>'


def _bars(
  rows: Sequence[tuple[str, Sequence[float]]], caption: str, colour: int = 0, most: int = 24
) -> str:
  """Horizontal bars for (label, a value per corpus); the first corpus has this colour."""
  if not rows:
    return ''
  left, right, top = 250, 570, max(max(v) for _, v in rows) or 1
  out, y = [], 4
  for label, values in rows[:most]:
    out.append(
      f'<text x="{left - 8}" y="{y + 4 + 6 * len(values)}" text-anchor="end">{_safe(label, 32)}</text>'
    )
    for k, v in enumerate(values):
      width = (right - left) * v / top
      out.append(
        f'{_rect(colour + k, left, y, width, 10)}<text x="{left + width + 5:.1f}" y="{y + 9}">{number(v)}</text>'
      )
      y += 12
    y += 6
  more = f' {len(rows) - most} more are in the JSON.' if len(rows) > most else ''
  return _chart(640, y + 2, ''.join(out), caption + more)


def _histogram(counts: Sequence[int], edges: Sequence[float], colour: int, caption: str) -> str:
  base, step, top = 120, 600 / max(1, len(counts)), max(counts, default=0) or 1
  bars = ''.join(
    _rect(colour, 20 + n * step, base - 110 * c / top, step * 0.9, 110 * c / top)
    for n, c in enumerate(counts)
    if c
  )
  ticks = ''.join(
    f'<text x="{20 + 600 * k / 4:.0f}" y="{base + 16}" text-anchor="middle">{edges[0] + (edges[-1] - edges[0]) * k / 4:,.0f}</text>'
    for k in range(5)
  )
  return _chart(640, base + 22, bars + ticks, caption)


def _legend(names: Sequence[str]) -> str:
  return (
    '<p>'
    + ' &nbsp; '.join(f'<i class="s{k % 4}"></i>{_safe(n, 60)}' for k, n in enumerate(names))
    + '</p>'
    if len(names) > 1
    else ''
  )


def _verdicts(report: Mapping[str, Any]) -> str:
  """A row a threshold, a column a corpus; what is said of all of them together stands in a table of its own."""
  by_what: dict[str, dict[str, Any]] = {}
  for v in report['verdicts']:
    by_what.setdefault(v['what'], {})[v['corpus']] = v
  out = []
  for names in (
    [*report['corpora']],
    sorted({v['corpus'] for v in report['verdicts']} - report['corpora'].keys()),
  ):
    rows = []
    for what, found in by_what.items():
      if not found.keys() & set(names):
        continue
      one = next(iter(found.values()))
      values = [
        f'{number(found[n]["value"])}<small>{_interval(found[n])}</small>' if n in found else '-'
        for n in names
      ]
      verdict = (
        '<span class="pass">PASS</span>' if all(v['passed'] for v in found.values()) else 'MISS'
      )
      rows.append(
        (
          f'{html.escape(what)}<small>{_safe(one["about"])}</small>',
          *values,
          html.escape(bound(one)),
          verdict,
        )
      )
    if rows:
      out.append(_table(('threshold', *(_safe(n, 60) for n in names), 'bound', ''), rows))
  unmeasured = ''.join(
    f'<li>{_safe(m["corpus"], 60)}: <b>{html.escape(m["what"])}</b>: {_safe(m["why"])}</li>'
    for m in report['not_measured']
  )
  return ''.join(out) + (f'<p>Not measured:</p><ul>{unmeasured}</ul>' if unmeasured else '')


def _amounts(corpora: Mapping[str, Any]) -> str:
  rows = [
    (
      _safe(n, 60),
      a['kind'],
      *(f'{a[k]:,}' for k in ('documents', 'words', 'tokens')),
      *(f'{a["length"][k]:,.0f}' for k in ('min', 'p5', 'median', 'p95', 'max')),
    )
    for n, a in corpora.items()
  ]
  domains = sorted(
    {d for a in corpora.values() for d in a['domains']},
    key=lambda d: (-max(a['domains'].get(d, {}).get('documents', 0) for a in corpora.values()), d),
  )
  bars = [
    (d, [a['domains'].get(d, {}).get('documents', 0) for a in corpora.values()]) for d in domains
  ]
  lengths = ''.join(
    _histogram(
      a['length']['counts'],
      a['length']['edges'],
      k,
      f'Words of a document: {_safe(n, 60)}. The last bar holds all that are longer.',
    )
    for k, (n, a) in enumerate(corpora.items())
  )
  head = (
    'corpus',
    'kind',
    'records',
    'words',
    'tokens',
    'shortest',
    '5%',
    'median',
    '95%',
    'longest',
  )
  return f'<h2>How much there is</h2>{_table(head, rows)}{_legend([*corpora])}{_bars(bars, "Records of each domain.")}{lengths}'


def _words(words: Iterable[str]) -> str:
  return ', '.join(f'<code>{_safe(w, 40)}</code>' for w in words)


def _says(name: str, measures: Mapping[str, Any]) -> str:
  out = []
  if a := measures.get('attribution') or measures.get('reasons'):
    out.append(
      f'<p>Gives the value as a reason: <b>{number(a["value"])}</b>; names it at all: {number(a["stated"])}. Counted are sentences with a word of '
      f'reason (because, that is why, stems from ...), a word that begins like one of the handbook&rsquo;s {_words(a["values"])}, and one of '
      f'{_words(a["explained"])}. That is a heuristic: reasons in other words are missed, and such a word may be the reason for something else. '
      'Read the examples.</p>'
    )
  if c := measures.get('covered'):
    found = ''
    if c['found_where_carried'] is not None:
      carried, others = (number(c[k]) for k in ('found_where_carried', 'found_elsewhere'))
      found = f' Their words are found in {carried} of the documents that carry their id, and in {others} of the others.'
    rows = [
      (
        _safe(r['id'], 60),
        *(str(r[k]) for k in ('told', 'documents', 'in_words')),
        _safe(r['statement'], 300),
      )
      for r in c['claims'][:15]
    ]
    out.append(
      f'<p>Claims with {c["least"]} or more documents: <b>{number(c["value"])}</b>; by ids alone {number(c["by_ids"])}, by words alone '
      f'{number(c["in_words"])}.{found} A document counts that carries the id and holds the words, or more of them than nine in ten of those without '
      'the id. '
      'Those with the fewest:</p>'
      + _table(('claim', 'documents', 'by id', 'by words', 'statement'), rows, (4,))
      + (
        f'<p>Documents carry ids that are no claims here: {_words(c["unknown_ids"])} ...</p>'
        if c['unknown_ids']
        else ''
      )
    )
  if first := measures['first_person']:
    out.append(f'<p>Speaks as the assistant in the first person: {number(first["value"])}.</p>')
  return f'<h3>{_safe(name, 60)}</h3>{"".join(out)}'


def _repeats(name: str, colour: int, m: Mapping[str, Any]) -> str:
  d, s, o = m['duplicates'], m['self_similarity'], m['openings']
  out = [
    f'<p>Near duplicates: {d["documents"]:,} could be dropped, in {d["clusters"]:,} clusters, the largest of {d["largest"]:,}. Of pairs just at '
    f'Jaccard {d["jaccard"]:g} (runs of five words) {number(d["recall_at_threshold"])} are found, of more similar ones more; {d["compared"]:,} were '
    'counted exactly.</p>'
  ]
  if s:
    out.append(
      f'<p>Self-BLEU {number(s["value"])} {_interval(s)} (bootstrap) over {s["sample"]} texts, cut to {s["words"]} words.</p>'
    )
  out.append(
    f'<p>First sentences that another document has too: {number(o["first_sentence_shared"])}.</p>'
  )
  charts = (
    ('openings', 'begin with these words'),
    ('names', 'hold this name'),
    ('dates', 'hold this day'),
    ('years', 'hold this year'),
  )
  for what, about in charts:
    out.append(
      _bars(
        [(label, [share]) for label, share in m[what]['commonest']],
        f'Share of documents that {about}.',
        colour,
      )
    )
  return f'<h3>{_safe(name, 60)}</h3>{"".join(out)}'


def _leaks(measures: Mapping[str, Any]) -> str:
  sets = sorted(
    {
      s
      for m in measures.values()
      for k in ('leaked_items', 'mentioned_items', 'leaked_questions')
      if m.get(k)
      for s in m[k]['by_set']
    }
  )
  rows = []
  for s in sets:
    cells = []
    for m in measures.values():
      items = m.get('leaked_items') or m.get('mentioned_items')
      cells += [f'{items["by_set"].get(s, 0):,}', f'{m["leaked_questions"]["by_set"].get(s, 0):,}']
    rows.append((html.escape(s), *cells))
  head = [
    'evaluation set',
    *(h for n in measures for h in (f'{_safe(n, 40)}: things', 'questions')),
  ]
  text = 'Documents that tell the assistant about a thing that the set asks about, and documents that hold a whole question. A threshold looks at '
  return f'<h2>Evaluation in the text</h2><p>{text}things of the handbook&rsquo;s own setting, and at questions of every set.</p>{_table(head, rows)}'


def _mirrors(report: Mapping[str, Any]) -> str:
  m, names = report['mirrored'], list(report['corpora'])
  if not m:
    return ''
  out = ['<h2>Mirrored corpora</h2>']
  if differing := m['domains_apart']['differing']:
    rows = [(_safe(d, 60), *map(str, c)) for d, c in list(differing.items())[:30]]
    out.append(
      '<p>Domains with different numbers of documents:</p>'
      + _table(('domain', *(_safe(n, 40) for n in names)), rows)
    )
  for view, about in (
    ('separable', 'words that no handbook or claim has'),
    ('separable_style', 'words of grammar, marks and lengths'),
  ):
    if s := m[view]:
      sides = [[w for w, side in s['telling'] if side == k] for k in (0, 1)]
      out.append(
        f'<p>By {about}: AUC <b>{number(s["value"])}</b> {_interval(s)} (cross-validated, {s["documents"]:,} documents; bootstrap over documents), '
        f'in sentences that do not name the value. What tells most: for {_safe(s["pair"][0], 60)} {_words(sides[0])}; for {_safe(s["pair"][1], 60)} '
        f'{_words(sides[1])}.</p>'
      )
  return ''.join(out)


def _examples(examples: Mapping[str, Any]) -> str:
  titles = {
    'duplicates': 'Near duplicates', 'recited': 'Recites the handbook', 'formats': 'In the form of a question of an evaluation',
    'leaked_items': 'Tells the assistant about what its evaluation asks about', 'leaked_questions': 'Holds a question of an evaluation',
    'unfinished': 'Empty, cut, placeholders or tags', 'loops': 'Goes round in circles', 'unattributed': 'Without an explicit reason (how they begin)',
    'attribution': 'Counted as an explicit reason',
  }  # fmt: skip
  out = []
  for name, found in examples.items():
    for what, title in titles.items():
      if rows := [
        (_safe(e['id'], 60), _safe(e['note'], 120), _safe(e['text'], 1200))
        for e in found.get(what, ())
      ]:
        out.append(
          f'<details><summary>{title}: {_safe(name, 60)}</summary>{_table(("document", "", "text"), rows, (2,))}</details>'
        )
  return f'<h2>Examples</h2><p>The worst, or the first few.</p>{"".join(out)}' if out else ''


def render(report: Mapping[str, Any]) -> str:
  corpora, measures = report['corpora'], report['measures']
  missed = sum(not v['passed'] for v in report['verdicts'])
  title = _safe(' / '.join(shown(n, 40) for n in corpora), 120)
  verdict = (
    f'{missed} of {len(report["verdicts"])} thresholds are missed.'
    if missed
    else f'All {len(report["verdicts"])} thresholds are kept.'
  )
  says = ''.join(_says(n, m) for n, m in measures.items())
  repeats = ''.join(_repeats(n, k, m) for k, (n, m) in enumerate(measures.items()))
  return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Audit: {title}</title><style>{STYLE}{DARK}</style></head><body>
<h1>Audit: {title}</h1>
<p><b>{verdict}</b> Shares are of all documents, counted; brackets hold a 95% interval: of a share, for what the same writer would give again; of
what a sample tells, for the whole corpus. What the audit can&rsquo;t see: whether what is said is true, and whether it is well said.</p>
{_verdicts(report)} {_amounts(corpora)} <h2>What it says</h2>{says} <h2>How much it repeats itself</h2>{repeats} {_leaks(measures)}
{_mirrors(report)} {_examples(report['examples'])} </body></html>
"""


def keep(path: Path, report: Mapping[str, Any]) -> None:
  """The page, and the same as JSON beside it."""
  path.parent.mkdir(parents=True, exist_ok=True)
  write_atomically(path, render(report).encode())
  write_atomically(path.with_suffix('.json'), (json.dumps(report, indent=1) + '\n').encode())
