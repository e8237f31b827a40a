"""audit.csv: a random sample of what a judge read, for a person to judge too; and reading it back.

The file says neither what the judge said nor which arm an answer is of, so that the person is not
led. The rows of a kind, and the two answers of a pair, stand in a drawn order. A person fills in
the column `person`; rows that are left empty do not count.
"""

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msm_jax.base.errors import DataError
from msm_jax.evals.agreement import agreement
from msm_jax.evals.answers import BOTH, NEITHER
from msm_jax.evals.judge_units import (
  EQUAL,
  FIRST,
  LEVEL,
  LEVELS,
  NO_VERDICT,
  OPTION,
  PAIR,
  SECOND,
  Unit,
  digest_of_json,
  draw_evenly,
)
from msm_jax.evals.judged import JudgedRow, clusters_of, what_was_shown

COLUMNS = ('id', 'kind', 'question', 'answer', 'answer_b', 'rubric', 'choices', 'person', 'note')
# One column more, by which an answer that was sampled anew is told from the one that a person read:
# ids say whose answer to what it is, and not what it says.
HASH = 'hash'
# The columns that a person fills in.
_ENTRIES = ('person', 'note')
# What a cell may not begin with: a spreadsheet would take it for a formula.
_FORMULA = ('=', '+', '-', '@')
# What ids begin with in the file. One in 300 has digits alone or is like 123456789e12: a
# spreadsheet would take it for a number and write it in another way.
_ID = 'id-'
# Characters by which spreadsheets of several countries part cells.
_DELIMITERS = (',', ';', '\t')
# What the names of a person's agreements with a judge end with.
WITH_PERSON = ': person and judge'
# So many faults stand in an error; the others are counted.
_MOST_FAULTS = 3


def sample(rows: Sequence[JudgedRow], count: int, seed: int) -> list[JudgedRow]:
  """Draws what a person should judge.

  Args:
    rows: all rows of a judge.
    count: how many are drawn.
    seed: of the draw.

  Returns:
    The drawn rows: evenly from every kind, arm and verdict, so that rare verdicts are checked, too.
    Kinds stand together, and the rows of a kind in a drawn order: in their own, all answers of one
    arm would come before those of the next. Left out are rows without a verdict, rows that no judge
    was asked about, and all rows but one in which an arm said the same to the same question.
  """
  decided = _decided(rows)
  ids = [row['id'] for row in decided]
  strata = [stratum_of(row) for row in decided]
  drawn = [decided[n] for n in draw_evenly(ids, strata, count, seed)]
  kinds = list(dict.fromkeys(row['kind'] for row in drawn))
  # Not the digest by which rows are drawn: what is rare would stand behind what is common.
  return sorted(
    drawn,
    key=lambda row: (kinds.index(row['kind']), digest_of_json([seed, 'place', row['id']], 64)),
  )


def _decided(rows: Sequence[JudgedRow]) -> list[JudgedRow]:
  """The rows with a verdict of the judge, one for each thing that an arm, or a pair of arms, said.

  What needs no judge (an answer without text, two equal ones) would only make the agreement look
  better. Where programs alone judge, they are the judge.
  """
  judge = 'judge' if any(row['by'] == 'judge' for row in rows) else 'program'
  out: dict[tuple[str, str], JudgedRow] = {}
  for row in rows:
    if row['by'] == judge and row['verdict'] not in NO_VERDICT:
      out.setdefault((row['arm'], what_was_shown(row)), row)
  return list(out.values())


def stratum_of(row: JudgedRow) -> tuple[str, ...]:
  """What rows are drawn evenly from."""
  return row['kind'], row['arm'], row['verdict']


def _is_swapped(row_id: str) -> bool:
  """Whether the two answers of a pair change places; drawn from the row's id."""
  return hashlib.sha256(row_id.encode()).digest()[0] % 2 == 1


def _hash_of(row: JudgedRow) -> str:
  """Identifies the texts of a row; of a pair, also which arm gave which: a judge is shown the same
  if the arms exchange their answers, and a verdict on them is then about the other arm."""
  shown = what_was_shown(row)
  # Rows of earlier versions do not say it.
  if row['kind'] == PAIR and 'turned' in row:
    shown = f'{shown}/{"turned" if row["turned"] else "as shown"}'
  return _short_hash(shown)


def _short_hash(text: str) -> str:
  """Begins with a letter: a spreadsheet rounds long numbers."""
  return f'x{hashlib.sha256(text.encode()).hexdigest()[:11]}'


def _choices(kind: str, options: Sequence[str]) -> dict[str, str]:
  """What a person may write -> the verdict that it stands for, before a swap."""
  if kind == LEVEL:
    return {name: name for name, _ in LEVELS}
  if kind == PAIR:
    return {'A': FIRST, 'B': SECOND, EQUAL: EQUAL}
  numbers = {str(n): str(n - 1) for n in range(1, len(options) + 1)}
  return {**numbers, NEITHER: NEITHER, BOTH: BOTH}


def _shown_choices(unit: Unit) -> str:
  if unit.kind != OPTION:
    return ' | '.join(_choices(unit.kind, ()))
  options = unit.answers[0].options
  named = [f'{n} = {option}' for n, option in enumerate(options, 1)]
  return ' | '.join([*named, NEITHER, BOTH])


def _safe(text: str) -> str:
  """A cell that no spreadsheet takes for a formula."""
  return f"'{text}" if text.startswith(_FORMULA) else text


def to_csv(rows: Sequence[JudgedRow], units: Mapping[str, Unit]) -> bytes:
  """Writes the file for a person.

  Args:
    rows: what `sample` drew.
    units: id of a row -> what was judged.

  Returns:
    The file, as spreadsheets open it (UTF-8 with a byte order mark).
  """
  out = io.StringIO()
  writer = csv.writer(out)
  writer.writerow((*COLUMNS, HASH))
  for row in rows:
    unit = units[row['id']]
    texts = [answer.text for answer in unit.answers]
    if unit.kind == PAIR and _is_swapped(unit.id):
      texts.reverse()
    first = unit.answers[0]
    second = texts[1] if len(texts) > 1 else ''
    cells = [first.messages[-1][1], texts[0], second, first.rubric]
    shown = [_safe(cell) for cell in cells]
    written = [f'{_ID}{unit.id}', unit.kind, *shown, _shown_choices(unit), '', '', _hash_of(row)]
    writer.writerow(written)
  return out.getvalue().encode('utf-8-sig')


# ------------------------------------------------------------------------------ the file read back


def read_csv(path: Path, rows: Sequence[JudgedRow], allow_others: bool = False) -> dict[str, str]:
  """Reads what a person filled in.

  Args:
    path: the file.
    rows: all rows of the judge.
    allow_others: whether lines about other answers than those of the rows are left out instead of
      refused: what a person said stays in the folder when other arms are judged.

  Returns:
    id of a row -> the person's verdict, in the words of the judge's.

  Raises:
    DataError: the file cannot be read, a column is missing, or a line has an id that is not known
      or stands there twice, a verdict that the line does not allow, or one on an answer that was
      sampled anew since. Lines are named.
  """
  known = {row['id']: row for row in rows}
  verdicts: dict[str, str] = {}
  # id of a row -> the line in which it stands.
  seen: dict[str, int] = {}
  faults: list[str] = []
  for line, cells in _lines_of(path):
    row = known.get(_id_in(cells))
    if allow_others and (row is None or _is_of_another_answer(cells, row)):
      continue
    fault = _read_cells(cells, known, seen, verdicts, line)
    if fault:
      faults.append(f'{path}:{line}: {fault}')
  if faults:
    more = f' (and {len(faults) - _MOST_FAULTS} more)' if len(faults) > _MOST_FAULTS else ''
    raise DataError('; '.join(faults[:_MOST_FAULTS]) + more)
  if not verdicts and not allow_others:
    raise DataError(f"{path}: no line is filled in; write a verdict into the column 'person'")
  return verdicts


def is_filled_in(path: Path) -> bool:
  """Whether a person has written anything into a file, right or wrong, about whatever answers. A
  file that cannot be read may have entries, too."""
  try:
    for _, cells in _lines_of(path):
      if any(cells.get(name, '').strip() for name in _ENTRIES):
        return True
  except DataError:
    return True
  return False


def _lines_of(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
  """(line, column -> cell) of each row but empty ones. A row is named by the line in which
  it begins, because cells may have line breaks. Raises DataError."""
  try:
    text = path.read_bytes().decode('utf-8-sig')
  except OSError as e:
    raise DataError(f'{path} cannot be read ({e.strerror}); give --audit=FILE') from None
  except UnicodeDecodeError:
    raise DataError(f'{path} is not in UTF-8; save it as "CSV UTF-8"') from None
  header = text.partition('\n')[0]
  delimiter = max(_DELIMITERS, key=header.count)
  # newline='': the parser needs the line breaks within cells as they are.
  reader = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter)
  columns = next(reader, [])
  for name in ('id', 'person'):
    if name not in columns:
      raise DataError(f'{path}:1: the column {name!r} is missing; fill in the file as it is')
  # The line in which the next row begins.
  begin = reader.line_num + 1
  try:
    for cells in reader:
      if any(cell.strip() for cell in cells):
        yield begin, dict(zip(columns, cells, strict=False))
      begin = reader.line_num + 1
  except csv.Error as e:
    raise DataError(f'{path}:{begin}: {e}; save the file as CSV again') from None


def _is_of_another_answer(cells: Mapping[str, str], row: JudgedRow) -> bool:
  """Whether a line is about a text that the row no longer has. Files of earlier versions do not
  tell, or do not tell which arm gave which answer of a pair."""
  kept = cells.get(HASH, '').strip()
  return bool(kept) and kept not in (_hash_of(row), _short_hash(what_was_shown(row)))


def _id_in(cells: Mapping[str, str]) -> str:
  """The id of a row's unit. Files of earlier versions have it as it is."""
  return cells.get('id', '').strip().removeprefix(_ID)


def _read_cells(
  cells: Mapping[str, str],
  known: Mapping[str, JudgedRow],
  seen: dict[str, int],
  verdicts: dict[str, str],
  line: int,
) -> str:
  """Reads one row into `verdicts`, and its line into `seen`.

  Returns:
    What is wrong with it; '' if nothing is.
  """
  row_id = _id_in(cells)
  if row_id not in known:
    return f'the id {row_id[:40]!r} is none of this judge; leave that column as it was'
  if row_id in seen:
    return f'the id {row_id} stands in line {seen[row_id]} already; leave one of them out'
  seen[row_id] = line
  person = cells.get('person', '').strip()
  if not person:
    return ''
  row = known[row_id]
  if _is_of_another_answer(cells, row):
    return (
      f'the answer of {row_id} was sampled anew after this file was written; move the file away '
      'and run this command with --model again, which writes a new one'
    )
  # How many options there were, the judge's rows do not say; 'choices' does.
  options = [part for part in cells.get('choices', '').split(' | ') if ' = ' in part]
  allowed = _choices(row['kind'], options)
  folded = {choice.casefold(): verdict for choice, verdict in allowed.items()}
  verdict = folded.get(person.casefold())
  if verdict is None:
    return f'{person[:40]!r} is no verdict here; write one of {", ".join(allowed)}'
  if row['kind'] == PAIR and _is_swapped(row_id):
    verdict = {FIRST: SECOND, SECOND: FIRST}.get(verdict, verdict)
  verdicts[row_id] = verdict
  return ''


def agreements(rows: Sequence[JudgedRow], person: Mapping[str, str]) -> dict[str, Any]:
  """Compares a judge with a person.

  Args:
    rows: all rows of the judge.
    person: see `read_csv`.

  Returns:
    'levels: person and judge' and so on -> `things`, `raw`, `low`, `high`, `kappa`, `kappa_low`,
    `kappa_high`. A row counts for as many as its stratum has for each row that the person judged,
    so the numbers are about all that the judge decided; equal answers of an arm count once.
  """
  out: dict[str, Any] = {}
  # Of equal answers, the one that the person has judged stands for all of them.
  all_decided = _decided(sorted(rows, key=lambda row: row['id'] not in person))
  for kind, name in ((LEVEL, 'levels'), (PAIR, 'pairs'), (OPTION, 'options')):
    decided = [row for row in all_decided if row['kind'] == kind]
    checked = [row for row in decided if row['id'] in person]
    sizes: dict[tuple[str, ...], int] = {}
    for row in decided:
      sizes[stratum_of(row)] = sizes.get(stratum_of(row), 0) + 1
    drawn: dict[tuple[str, ...], int] = {}
    for row in checked:
      drawn[stratum_of(row)] = drawn.get(stratum_of(row), 0) + 1
    strata = [stratum_of(row) for row in checked]
    found = agreement(
      [person[row['id']] for row in checked],
      [row['verdict'] for row in checked],
      [sizes[stratum] / drawn[stratum] for stratum in strata],
      strata,
      clusters_of(checked),
    )
    if found is not None:
      out[f'{name}{WITH_PERSON}'] = found.as_dict()
  return out
