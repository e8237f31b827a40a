"""An audit as one self-contained HTML page.

The page has no script and loads nothing from the network. Names and texts of a corpus cannot do
anything on it, since all of them are escaped.
"""

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_pipelines.audit.formatting import (
  escaped,
  format_bound,
  format_interval,
  format_number,
  format_value,
  printable,
)
from data_pipelines.audit.html_parts import bar_chart, code_list, histogram, html_table, legend
from msm_jax.base.files import write_atomically
from msm_jax.base.html import STYLE

# The report, or a part of it: a dict that goes into JSON.
Json = Mapping[str, Any]

_MAX_CLAIMS_SHOWN = 15
_MAX_DOMAINS_SHOWN = 30

# What this page adds to the style sheet of all pages: dark colours, passages and charts.
_STYLE = """
:root { color-scheme: light dark; --a: #0072b2; --b: #d55e00; --c: #009e73; --d: #8c8c8c }
@media (prefers-color-scheme: dark) {
  :root { --a: #56b4e9; --b: #f0903c; --c: #3fc9a0; --d: #a0a0a0 }
  body { color: #ddd; background: #161616 }
  th:first-child { background: #161616 }
  th, td { border-color: #333 }
  thead th { border-color: #777 }
  .missed td, .missed th:first-child { background: #4a2413 }
  .note { background: #33221a }
  small, figcaption, footer { color: #aaa }
  footer { border-color: #333 }
}
td.text { text-align: left; white-space: pre-wrap; overflow-wrap: anywhere; max-width: 44rem }
td.left, th.left { text-align: left }
.pass { color: var(--c); font-weight: 600 }
svg.chart { min-width: 0; max-width: 640px }
svg text { fill: currentColor; font-size: 11px }
.s0 { fill: var(--a) } .s1 { fill: var(--b) } .s2 { fill: var(--c) } .s3 { fill: var(--d) }
i.s0 { background: var(--a) } i.s1 { background: var(--b) }
i.s2 { background: var(--c) } i.s3 { background: var(--d) }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem }
details { margin: .6rem 0 }
"""

# What a reader should see passages of -> the title above them, in the order of the page.
_EXAMPLE_TITLES = {
  'duplicates': 'Near duplicates',
  'recited': 'Recites the handbook',
  'formats': 'In the form of a question of an evaluation',
  'leaked_items': 'Tells the assistant about what its evaluation asks about',
  'leaked_questions': 'Holds a question of an evaluation',
  'unfinished': 'Empty, cut, refused, left-over marks',
  'languages': 'In another language',
  'loops': 'Goes round in circles',
  'unattributed': 'Without an explicit reason (how they begin)',
  'attribution': 'Counted as an explicit reason',
}

# Measures whose commonest words are drawn -> what the chart says of them.
_COMMONEST = {
  'openings': 'begin with these words',
  'names': 'hold this name',
  'dates': 'hold this day',
  'years': 'hold this year',
}


def render(report: Json) -> str:
  """Makes the page of an audit.

  Args:
    report: the report of `data_pipelines.audit.report.audit`.

  Returns:
    The HTML document.
  """
  corpora = report['corpora']
  measures = report['measures']
  title = escaped(' / '.join(printable(name, 40) for name in corpora), 120)
  content = ''.join(_content(name, found) for name, found in measures.items())
  repetition = ''
  for n, (name, found) in enumerate(measures.items()):
    repetition += _repetition(name, n, found)
  # The policy of the page forbids scripts and everything from the network, whatever a text holds.
  policy = "default-src 'none'; style-src 'unsafe-inline'"
  return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">\
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>Audit: {title}</title><style>{STYLE}{_STYLE}</style></head><body>
<h1>Audit: {title}</h1>
<p><b>{_verdict_sentence(report)}</b> Shares are of all documents, counted; brackets hold a 95% \
interval: of a share, for what the same writer would give again; of
what a sample tells, for the whole corpus. What the audit can&rsquo;t see: whether what is said \
is true, and whether it is well said.</p>
{_verdicts(report)} {_amounts(corpora)} <h2>What it says</h2>{content} \
<h2>How much it repeats itself</h2>{repetition} {_leaks(measures)}
{_mirrors(report)} {_examples(report['examples'])} </body></html>
"""


def write_page(path: Path, report: Json) -> None:
  """Writes the page of an audit, and the report as JSON beside it (the same name with `.json`)."""
  path.parent.mkdir(parents=True, exist_ok=True)
  write_atomically(path, render(report).encode())
  write_atomically(path.with_suffix('.json'), (json.dumps(report, indent=1) + '\n').encode())


# ---- verdicts


def _verdict_sentence(report: Json) -> str:
  total = len(report['verdicts'])
  missed = sum(not verdict['passed'] for verdict in report['verdicts'])
  if missed:
    return f'{missed} of {total} thresholds are missed.'
  return f'All {total} thresholds are kept.'


def _verdicts(report: Json) -> str:
  """Makes a table with a row for each threshold and a column for each corpus.

  Verdicts about all corpora together (of mirrored corpora) stand in a table of their own.
  """
  verdicts_of: dict[str, dict[str, Json]] = {}  # threshold -> corpus -> verdict
  for verdict in report['verdicts']:
    verdicts_of.setdefault(verdict['what'], {})[verdict['corpus']] = verdict
  judged_names = {verdict['corpus'] for verdict in report['verdicts']}
  corpora = list(report['corpora'])
  all_together = sorted(judged_names - report['corpora'].keys())
  page = ''
  for names in (corpora, all_together):
    rows = []
    for what, verdicts in verdicts_of.items():
      if verdicts.keys() & set(names):
        rows.append(_verdict_row(what, verdicts, names))
    if rows:
      head = ['threshold', *(escaped(name, 60) for name in names), 'bound', '']
      page += html_table(head, rows)
  return page + _not_measured(report)


def _verdict_row(what: str, verdicts: Mapping[str, Json], names: Sequence[str]) -> list[str]:
  """Makes the row of one threshold; `verdicts` goes from corpus to verdict."""
  any_verdict = next(iter(verdicts.values()))
  row = [f'{html.escape(what)}<small>{escaped(any_verdict["about"])}</small>']
  for name in names:
    if name in verdicts:
      verdict = verdicts[name]
      row.append(f'{format_value(verdict)}<small>{format_interval(verdict)}</small>')
    else:
      row.append('-')
  row.append(html.escape(format_bound(any_verdict)))
  if all(verdict['passed'] for verdict in verdicts.values()):
    row.append('<span class="pass">PASS</span>')
  else:
    row.append('MISS')
  return row


def _not_measured(report: Json) -> str:
  entries = ''
  for missing in report['not_measured']:
    name = escaped(missing['corpus'], 60)
    what = html.escape(missing['what'])
    entries += f'<li>{name}: <b>{what}</b>: {escaped(missing["why"])}</li>'
  if not entries:
    return ''
  return f'<p>Not measured:</p><ul>{entries}</ul>'


# ---- how much there is


def _amounts(corpora: Json) -> str:
  head = [
    'corpus', 'kind', 'records', 'words', 'tokens', 'shortest', '5%', 'median', '95%', 'longest'
  ]  # fmt: skip
  rows = []
  lengths = ''
  for n, (name, amounts) in enumerate(corpora.items()):
    row = [escaped(name, 60), amounts['kind']]
    row += [f'{amounts[key]:,}' for key in ('documents', 'words', 'tokens')]
    length = amounts['length']
    row += [f'{length[key]:,.0f}' for key in ('min', 'p5', 'median', 'p95', 'max')]
    rows.append(row)
    caption = f'Words of a document: {escaped(name, 60)}. The last bar holds all that are longer.'
    lengths += histogram(length['counts'], length['edges'], n, caption)
  domains = bar_chart(_documents_of_domains(corpora), 'Records of each domain.')
  table = html_table(head, rows)
  return f'<h2>How much there is</h2>{table}{legend(list(corpora))}{domains}{lengths}'


def _documents_of_domains(corpora: Json) -> list[tuple[str, list[int]]]:
  """Returns (domain, its documents in each corpus), the largest domains first."""
  all_domains = set().union(*(amounts['domains'] for amounts in corpora.values()))
  rows = []
  for domain in all_domains:
    counts = []
    for amounts in corpora.values():
      counts.append(amounts['domains'].get(domain, {}).get('documents', 0))
    rows.append((domain, counts))
  return sorted(rows, key=lambda row: (-max(row[1]), row[0]))


# ---- what it says


def _content(name: str, measures: Json) -> str:
  page = f'<h3>{escaped(name, 60)}</h3>'
  attribution = measures.get('attribution') or measures.get('reasons')
  if attribution:
    page += _attribution(attribution)
  if measures.get('covered'):
    page += _coverage(measures['covered'])
  first_person = measures['first_person']
  if first_person:
    share = format_number(first_person['value'])
    page += f'<p>Speaks as the assistant in the first person: {share}.</p>'
  return page


def _attribution(measure: Json) -> str:
  return (
    f'<p>Gives the value as a reason: <b>{format_number(measure["value"])}</b>; '
    f'names it at all: {format_number(measure["stated"])}. '
    'Counted are sentences with a word of reason (because, that is why, stems from ...), '
    f'a word that begins like one of the handbook&rsquo;s {code_list(measure["values"])}, '
    f'and one of {code_list(measure["explained"])}. '
    'That is a heuristic: reasons in other words are missed, and such a word may be the reason '
    'for something else. Read the examples.</p>'
  )


def _coverage(measure: Json) -> str:
  found = ''
  if measure['found_where_carried'] is not None:
    found = (
      f' Their words are found in {format_number(measure["found_where_carried"])} of the documents '
      f'that carry their id, and in {format_number(measure["found_elsewhere"])} of the others.'
    )
  rows = []
  for claim in measure['claims'][:_MAX_CLAIMS_SHOWN]:
    row = [escaped(claim['id'], 60)]
    row += [str(claim[key]) for key in ('told', 'documents', 'in_words')]
    row.append(escaped(claim['statement'], 300))
    rows.append(row)
  head = ('claim', 'documents', 'by id', 'by words', 'statement')
  page = (
    f'<p>Claims with {measure["least"]} or more documents: '
    f'<b>{format_number(measure["value"])}</b>; '
    f'by ids alone {format_number(measure["by_ids"])}, '
    f'by words alone {format_number(measure["in_words"])}.{found} '
    'A document counts that carries the id and holds the words, or more of them than nine in ten '
    'of those without the id. Those with the fewest:</p>'
  )
  page += html_table(head, rows, text_columns=(4,))
  if measure['unknown_ids']:
    unknown = code_list(measure['unknown_ids'])
    page += f'<p>Documents carry ids that are no claims here: {unknown} ...</p>'
  return page


# ---- how much it repeats itself


def _repetition(name: str, colour: int, measures: Json) -> str:
  duplicates = measures['duplicates']
  page = f'<h3>{escaped(name, 60)}</h3>' + (
    f'<p>Near duplicates: {duplicates["documents"]:,} could be dropped, '
    f'in {duplicates["clusters"]:,} clusters, the largest of {duplicates["largest"]:,}. '
    f'Of pairs just at Jaccard {duplicates["jaccard"]:g} (runs of five words) '
    f'{format_number(duplicates["recall_at_threshold"])} are found, of more similar ones more; '
    f'{duplicates["compared"]:,} were counted exactly.</p>'
  )
  similarity = measures['self_similarity']
  if similarity:
    page += (
      f'<p>Self-BLEU {format_number(similarity["value"])} {format_interval(similarity)} '
      f'(bootstrap) over {similarity["sample"]} texts, cut to {similarity["words"]} words.</p>'
    )
  shared = format_number(measures['openings']['first_sentence_shared'])
  page += f'<p>First sentences that another document has too: {shared}.</p>'
  for what, about in _COMMONEST.items():
    rows = [(label, [share]) for label, share in measures[what]['commonest']]
    page += bar_chart(rows, f'Share of documents that {about}.', colour)
  return page


# ---- the evaluation in the text


def _leaks(measures: Json) -> str:
  """Makes a table with a row for each evaluation set and two columns for each corpus."""
  head = ['evaluation set']
  columns = []  # set -> number of documents, for each column
  for name, found in measures.items():
    items = found.get('leaked_items') or found.get('mentioned_items')
    head += [f'{escaped(name, 40)}: things', 'questions']
    columns += [items['by_set'], found['leaked_questions']['by_set']]
  rows = []
  for set_name in sorted(set().union(*columns)):
    row = [html.escape(set_name)]
    row += [f'{column.get(set_name, 0):,}' for column in columns]
    rows.append(row)
  return (
    '<h2>Evaluation in the text</h2><p>Documents that tell the assistant about a thing that the '
    'set asks about, and documents that hold a whole question. A threshold looks at things of the '
    'handbook&rsquo;s own setting, and at questions of every set.</p>'
    f'{html_table(head, rows)}'
  )


# ---- mirrored corpora


def _mirrors(report: Json) -> str:
  mirrored = report['mirrored']
  if not mirrored:
    return ''
  page = '<h2>Mirrored corpora</h2>'
  differing = mirrored['domains_apart']['differing']
  if differing:
    head = ['domain', *(escaped(name, 40) for name in report['corpora'])]
    rows = []
    for domain, counts in list(differing.items())[:_MAX_DOMAINS_SHOWN]:
      rows.append([escaped(domain, 60), *map(str, counts)])
    page += '<p>Domains with different numbers of documents:</p>' + html_table(head, rows)
  if mirrored['separable']:
    seen = 'words that no handbook or claim has, in sentences that do not name the value'
    page += _separability(mirrored['separable'], seen)
  if mirrored['separable_style']:
    seen = (
      'words of grammar in sentences that do not name the value, and marks, capitals and lengths '
      'of whole documents'
    )
    page += _separability(mirrored['separable_style'], seen)
  return page


def _separability(measure: Json, about: str) -> str:
  first_words = code_list(word for word, side in measure['telling'] if side == 0)
  second_words = code_list(word for word, side in measure['telling'] if side == 1)
  first_name, second_name = (escaped(name, 60) for name in measure['pair'])
  return (
    f'<p>By {about}: AUC <b>{format_number(measure["value"])}</b> {format_interval(measure)} '
    f'(cross-validated, {measure["documents"]:,} documents; bootstrap over documents). '
    f'What tells most: for {first_name} {first_words}; for {second_name} {second_words}.</p>'
  )


# ---- examples


def _examples(examples: Json) -> str:
  page = ''
  for name, found in examples.items():
    for what, title in _EXAMPLE_TITLES.items():
      rows = []
      for example in found.get(what, ()):
        row = [
          escaped(example['id'], 60),
          escaped(example['note'], 120),
          escaped(example['text'], 1200),
        ]
        rows.append(row)
      if rows:
        table = html_table(('document', '', 'text'), rows, text_columns=(2,))
        summary = f'{title}: {escaped(name, 60)}'
        page += f'<details><summary>{summary}</summary>{table}</details>'
  if not page:
    return ''
  return f'<h2>Examples</h2><p>The worst, or the first few.</p>{page}'
