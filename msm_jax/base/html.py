"""The style sheet that all HTML pages of the project share.

A backslash at the end of a line joins it with the next one. The bytes of the pages are part of a
test, so the line breaks of the sheet itself stay where they were.
"""

STYLE = """
:root { color-scheme: light } * { box-sizing: border-box } h1 { font-size: 1.6rem; line-height: \
1.2 } h2 { font-size: 1.15rem; margin: 2rem 0 .4rem }
body { margin: 0 auto; max-width: 1000px; padding: 1.2rem; font: 16px/1.5 system-ui, sans-serif; \
color: #222; background: #fcfcfb }
p, ul, figcaption, footer { max-width: 46rem } ul { padding-left: 1.2rem } figcaption, footer { \
font-size: .88rem; color: #555 }
footer { margin-top: 2.5rem; border-top: 1px solid #ddd } figure { margin: 1.6rem 0 } .wide { \
overflow-x: auto }
.note { border-left: 4px solid #d55e00; padding: .3rem .8rem; background: #fdf1ea }
figure svg { width: 100%; min-width: 700px; height: auto; display: block } svg text { \
font-family: inherit !important }
table { border-collapse: collapse; font-size: .84rem; font-variant-numeric: tabular-nums } tbody \
th { font-weight: 500; white-space: nowrap }
th, td { padding: .3rem .55rem; border-bottom: 1px solid #e6e6e3; text-align: right; \
vertical-align: top }
thead th { vertical-align: bottom; border-bottom: 2px solid #999 } th:first-child { text-align: \
left; position: sticky; left: 0; background: #fcfcfb }
.missed td, .missed th:first-child { background: #fbe3d6; font-weight: 700 } summary { cursor: \
pointer; font-weight: 600; margin-top: 1.6rem }
small { display: block; font-size: .74rem; font-weight: 400; color: #666; white-space: nowrap }
i { display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin-right: .45em }
/* Paper cannot be scrolled: what does not fit into the box of a table would be cut off. */
@media print {
  .wide { overflow: visible }
  figure svg { min-width: 0 }
  tbody th, small { white-space: normal }
  th:first-child { position: static }
  pre.wide { font-size: 6pt }
}
"""

# The first lines of every page, up to its title.
HEAD = (
  '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
  '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
)
