"""Tables, charts and lists of the audit's page, as HTML and SVG.

Arguments that are called HTML must be escaped already; plain texts are escaped here.
"""

from collections.abc import Iterable, Sequence

from data_pipelines.audit.formatting import escaped, format_number

# The style sheet has classes s0 to s3, one colour each.
_COLOURS = 4

_CHART_WIDTH = 640

# Horizontal bars, in pixels: where labels end and bars begin, where bars end, and heights.
_BARS_LEFT = 250
_BARS_RIGHT = 570
_BAR_HEIGHT = 10
_BAR_STEP = 12
_GROUP_GAP = 6

# Histograms, in pixels: the margin at the left, the width, the base line and the highest bar.
_HISTOGRAM_LEFT = 20
_HISTOGRAM_WIDTH = 600
_HISTOGRAM_BASE = 120
_HISTOGRAM_HEIGHT = 110
_TICKS = 4


def html_table(
  head: Sequence[str], rows: Iterable[Sequence[str]], text_columns: Sequence[int] = ()
) -> str:
  """Makes a table. A row that ends in MISS stands out.

  Args:
    head: the titles of the columns, as HTML.
    rows: the cells of each row, as HTML. The first cell is the row's title.
    text_columns: numbers of the columns that hold passages; they are aligned at the left.

  Returns:
    HTML.
  """
  titles = []
  for n, title in enumerate(head):
    css_class = ''
    if n in text_columns:
      css_class = ' class=left'
    titles.append(f'<th scope="col"{css_class}>{title}</th>')
  lines = []
  for row in rows:
    lines.append(_html_row(row, text_columns))
  body = '\n'.join(lines)
  return (
    f'<div class="wide"><table><thead><tr>{"".join(titles)}</tr></thead>'
    f'<tbody>\n{body}\n</tbody></table></div>'
  )


def _html_row(row: Sequence[str], text_columns: Sequence[int]) -> str:
  cells = []
  for n, cell in enumerate(row[1:], 1):
    css_class = ''
    if n in text_columns:
      css_class = ' class=text'
    cells.append(f'<td{css_class}>{cell}</td>')
  row_class = ''
  if row[-1] == 'MISS':
    row_class = ' class=missed'
  return f'<tr{row_class}><th scope="row">{row[0]}</th>{"".join(cells)}</tr>'


def _chart(height: int, svg: str, caption: str) -> str:
  """Frames a drawing; `svg` and `caption` are HTML."""
  box = f'viewBox="0 0 {_CHART_WIDTH} {height}"'
  drawing = f'<svg class="chart" {box} role="img" aria-label="{caption}">{svg}</svg>'
  return f'<figure><div class="wide">{drawing}</div><figcaption>{caption}</figcaption></figure>'


def _rectangle(colour: int, x: float, y: float, width: float, height: float) -> str:
  # A bar of a very small share must still be seen.
  width = max(0.5, width)
  return (
    f'<rect class="s{colour % _COLOURS}" x="{x:.1f}" y="{y:.1f}" '
    f'width="{width:.1f}" height="{height:.1f}"/>'
  )


def bar_chart(
  rows: Sequence[tuple[str, Sequence[float]]], caption: str, colour: int = 0, max_rows: int = 24
) -> str:
  """Draws horizontal bars.

  Args:
    rows: (label, a value for each corpus). The label is plain text.
    caption: HTML below the chart.
    colour: the colour of the first corpus.
    max_rows: rows after which the chart ends.

  Returns:
    HTML; '' without rows.
  """
  if not rows:
    return ''
  # If all values are zero, any scale will do.
  largest = max(max(values) for _, values in rows) or 1
  parts = []
  y = 4
  for label, values in rows[:max_rows]:
    label_y = y + 4 + 6 * len(values)
    parts.append(
      f'<text x="{_BARS_LEFT - 8}" y="{label_y}" text-anchor="end">{escaped(label, 32)}</text>'
    )
    for n, value in enumerate(values):
      width = (_BARS_RIGHT - _BARS_LEFT) * value / largest
      parts.append(_rectangle(colour + n, _BARS_LEFT, y, width, _BAR_HEIGHT))
      number_x = _BARS_LEFT + width + 5
      parts.append(f'<text x="{number_x:.1f}" y="{y + 9}">{format_number(value)}</text>')
      y += _BAR_STEP
    y += _GROUP_GAP
  if len(rows) > max_rows:
    caption += f' {len(rows) - max_rows} more are in the JSON.'
  return _chart(y + 2, ''.join(parts), caption)


def histogram(counts: Sequence[int], edges: Sequence[float], colour: int, caption: str) -> str:
  """Draws a histogram.

  Args:
    counts: of each bin.
    edges: of the bins, one more than counts.
    colour: of the bars.
    caption: HTML below the chart.

  Returns:
    HTML.
  """
  step = _HISTOGRAM_WIDTH / max(1, len(counts))
  largest = max(counts, default=0) or 1
  parts = []
  for n, count in enumerate(counts):
    if count:
      height = _HISTOGRAM_HEIGHT * count / largest
      x = _HISTOGRAM_LEFT + n * step
      parts.append(_rectangle(colour, x, _HISTOGRAM_BASE - height, step * 0.9, height))
  for k in range(_TICKS + 1):
    x = _HISTOGRAM_LEFT + _HISTOGRAM_WIDTH * k / _TICKS
    value = edges[0] + (edges[-1] - edges[0]) * k / _TICKS
    parts.append(
      f'<text x="{x:.0f}" y="{_HISTOGRAM_BASE + 16}" text-anchor="middle">{value:,.0f}</text>'
    )
  return _chart(_HISTOGRAM_BASE + 22, ''.join(parts), caption)


def legend(names: Sequence[str]) -> str:
  """Says which colour is which corpus; '' for a single corpus.

  Args:
    names: plain names of the corpora, in the order of their colours.

  Returns:
    HTML.
  """
  if len(names) < 2:
    return ''
  entries = []
  for n, name in enumerate(names):
    entries.append(f'<i class="s{n % _COLOURS}"></i>{escaped(name, 60)}')
  return f'<p>{" &nbsp; ".join(entries)}</p>'


def code_list(words: Iterable[str]) -> str:
  """Lists words in a typewriter face, with commas."""
  return ', '.join(f'<code>{escaped(word, 40)}</code>' for word in words)
