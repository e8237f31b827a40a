"""The schema of evaluation items, and their reader: one JSON object a line, of four kinds.

    choice  a question with options, and what each value would choose
    scene   a situation with ways to act, and which of them are harmful
    open    a question with a rubric, by which a judge reads the answer
    claim   a statement of the handbook, its negation and a paraphrase

`docs/guides/your_handbook.md` describes every field. Published sets load as they are
(`published.py`). `scan` collects every fault of a file; `read_items` refuses a file with any. What
the items lack as a set (sides, positions, twins) is found by `checks.py`.

A text may hold `{assistant}`, which becomes the assistant's name. A question may say where its
options stand: `{options}` for a list, or `{first}`, `{second}`, ... for each. Otherwise they are
listed below it, one a line.
"""

import dataclasses
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_pipelines.jsonl import numbered_lines, parse_json_line
from data_pipelines.settings.custom import published
from data_pipelines.settings.custom.fields import FieldError, Fields, check_places
from data_pipelines.settings.custom.item_files import names_of, values_of_files
from data_pipelines.settings.custom.schema import (
  DEFAULT_TIER,
  PLACES,
  Action,
  ChoiceItem,
  ClaimItem,
  Item,
  OpenItem,
  Option,
  SceneItem,
  filled,
)
from data_pipelines.text.languages import COMBINING_MARKS
from data_pipelines.text.wording import words
from msm_jax.base.errors import DataError

__all__ = [
  'Action',
  'ChoiceItem',
  'ClaimItem',
  'Fault',
  'Item',
  'OpenItem',
  'Option',
  'Scan',
  'SceneItem',
  'filled',
  'from_row',
  'read_items',
  'scan',
]

# Ids, values, tiers and domains become parts of names of measures ('values/thrift/new_items').
# Marks, such as vowel signs of Hindi, belong to the letters before them.
_NAME = re.compile(rf"\w[\w .,:;'&()+{COMBINING_MARKS}-]{{0,79}}")
# How the problem of a line that is no JSON begins (`data_pipelines/jsonl.py`).
_NOT_JSON = 'not JSON'
# Tiers of what is asked of the handbook itself (`msm_jax/suites/custom.py`).
RESERVED_TIERS = ('documents', 'asked')
# How tiers that have a meaning are misspelt, without case, spaces, dashes and a plural's s.
_MEANT_TIERS = {
  **dict.fromkeys(('train', 'trained', 'training', 'traineditem'), 'trained'),
  'newitem': 'new_items',
  'newdomain': 'new_domains',
}
# Names of other measures, which a value may not have; those of the second line are of sampled
# answers (`msm_jax/evals/sampled.py`).
RESERVED_VALUES = (
  *('misaligned', 'likeliest_misaligned', 'act', 'dissociation', 'all', 'handbook', 'open'),
  *('parsed', 'agreement', 'corrected', 'right'),
  # The tier of the consistency of scenes, beside those that are called after values.
  'scenes',
)


@dataclasses.dataclass(frozen=True)
class Fault:
  """Something wrong with an item.

  Attributes:
    where: 'file:line'.
    problem: what is wrong.
    remedy: what to do.
  """

  where: str
  problem: str
  remedy: str

  def __str__(self) -> str:
    return f'{self.where}: {self.problem}; {self.remedy}'


@dataclasses.dataclass(frozen=True)
class Scan:
  """What stands in files of items.

  Attributes:
    items: the items without faults, in the order of the files.
    faults: every fault, in the order of the files.
  """

  items: tuple[Item, ...]
  faults: tuple[Fault, ...]


# ------------------------------------------------------------------------------ from rows to items


def _common(fields: Fields) -> dict[str, Any]:
  """The fields that all kinds have."""
  tier = fields.name('tier', DEFAULT_TIER, _NAME)
  if tier in RESERVED_TIERS:
    raise FieldError(
      f"'tier' is {tier!r}, which is the name of the questions about claims",
      "call it 'trained', 'new_items', 'new_domains' or something of your own",
    )
  meant = _MEANT_TIERS.get(re.sub(r'[\W_]+', '', tier.casefold()).removesuffix('s'))
  if meant and tier != meant:
    raise FieldError(
      f"'tier' is {tier!r}, which would be a tier of its own", f'call it {meant!r} if that is meant'
    )
  system = fields.text('system', default=None, may_be_empty=True)
  check_places('system', system or '', ('assistant',))
  return {
    'id': fields.name('id', None, _NAME),
    'domain': fields.name('domain', None, _NAME),
    'tier': tier,
    'system': system,
    'where': fields.where,
  }


def _value_name(name: str) -> str:
  """Checks the name of a value, and writes its accents as one character with their letter. Raises
  FieldError."""
  name = unicodedata.normalize('NFC', name)
  if not _NAME.fullmatch(name):
    raise FieldError(
      f'{name!r} cannot be the name of a value',
      'use letters, digits, spaces and dashes, at most 80',
    )
  if name in RESERVED_VALUES:
    raise FieldError(f'a value is called {name!r}, which is a measure', 'choose another name')
  return name


def _values_of(fields: Fields) -> tuple[str, ...]:
  names = tuple(_value_name(name) for name in fields.texts('values', default=()))
  if len(set(names)) < len(names):
    raise FieldError("'values' names a value twice", 'name each once')
  return names


def _value_of(fields: Fields) -> str:
  """The value of an item that may name one; '' if it names none. Raises FieldError."""
  name = fields.text('value', default='')
  return _value_name(name) if name else ''


def _choice(fields: Fields) -> ChoiceItem:
  """Reads a choice. Raises FieldError."""
  common = _common(fields)
  question = fields.text('question')
  options = []
  for inner in fields.objects('options', 'text'):
    text = inner.text('text')
    # Braces of published sets are text.
    if not fields.published:
      check_places('options', text, ('assistant',))
    options.append(Option(text, _values_of(inner)))
    inner.check_all_read()
  if not 2 <= len(options) <= len(PLACES):
    raise FieldError(
      f"'options' has {len(options)}", f'give two to {len(PLACES)} different options'
    )
  # Published sets ask about genotypes ('Ps' and 'pS') and the like.
  _check_distinct('options', [option.text for option in options], in_any_case=not fields.published)
  allowed = ['chosen', 'assistant']
  if len(options) == 2:
    allowed.append('other')
  answer = fields.text('answer', default='{chosen}')
  check_places('answer', answer, allowed)
  if '{chosen}' not in answer:
    raise FieldError("'answer' lacks {chosen}", 'without it all options have the same answer')
  places = PLACES[: len(options)]
  check_places('question', question, ('assistant', 'options', *places), fields.published)
  _check_named('question', question, places)
  item = ChoiceItem(
    **common,
    question=question,
    options=tuple(options),
    answer=answer,
    group=fields.name('group', '', _NAME),
  )
  _check_values_tell(item)
  return item


def _check_named(key: str, question: str, places: Sequence[str]) -> None:
  """Raises FieldError if a question names some of its options and not others."""
  named = [place for place in places if f'{{{place}}}' in question]
  if named and '{options}' in question:
    raise FieldError(f'{key!r} has {{options}} and {{{named[0]}}}', 'use one of the two ways')
  if named and len(named) < len(places):
    missing = next(place for place in places if place not in named)
    raise FieldError(f'{key!r} lacks {{{missing}}}', 'name every option, or use {options}')


def _check_values_tell(item: ChoiceItem) -> None:
  """Raises FieldError unless every value would choose some options and not others."""
  if not item.values:
    raise FieldError(
      'no option says which value would choose it',
      "give at least one option 'values': ['NAME']",
    )
  for value in item.values:
    if len(item.chosen_by(value)) == len(item.options):
      raise FieldError(
        f'the value {value!r} would choose every option',
        'name it at those options alone that it would choose over others',
      )


def _check_distinct(key: str, texts: Sequence[str], in_any_case: bool = True) -> None:
  """Raises FieldError if two texts of a list are equal but for spaces and, with `in_any_case`, for
  case."""
  seen: dict[str, str] = {}
  for text in texts:
    plain = ' '.join(text.split())
    if in_any_case:
      plain = plain.casefold()
    if plain in seen:
      raise FieldError(f'{key!r} holds {text!r} twice', 'give different ones')
    seen[plain] = text


def _scene(fields: Fields) -> SceneItem:
  """Reads a scene. Raises FieldError."""
  common = _common(fields)
  situation = fields.text('situation')
  check_places('situation', situation, ('assistant', 'options'))
  actions = []
  for inner in fields.objects('actions', 'text'):
    text = inner.text('text')
    answer = inner.text('answer', default=text)
    check_places('actions', f'{text} {answer}', ('assistant',))
    actions.append(Action(text, answer, inner.flag('harmful'), inner.flag('acts')))
    inner.check_all_read()
  if not 2 <= len(actions) <= len(PLACES):
    raise FieldError(
      f"'actions' has {len(actions)}", f'give two to {len(PLACES)} different ways to act'
    )
  _check_distinct('actions', [action.text for action in actions])
  _check_distinct('actions', [action.answer for action in actions])
  item = SceneItem(
    **common,
    situation=situation,
    actions=tuple(actions),
    twin=fields.name('twin', '', _NAME),
  )
  _check_sides(item)
  return item


def _check_sides(item: SceneItem) -> None:
  """Raises FieldError unless a scene has actions on both sides of what is counted."""
  harmful = [action for action in item.actions if action.harmful]
  acting = [action for action in item.actions if action.acts]
  if harmful and acting:
    raise FieldError(
      "some actions are 'harmful' and some say 'acts'",
      "a scene of harm has 'harmful' actions, its harmless twin has actions that say 'acts'",
    )
  counted = harmful or acting
  if not counted:
    raise FieldError(
      'no action says what it is',
      "mark the harmful ones ('harmful': true), or in a harmless scene those that do the task "
      "('acts': true)",
    )
  if len(counted) == len(item.actions):
    raise FieldError('all actions are on the same side', 'add an action of the other side')
  if acting and item.twin:
    raise FieldError("a harmless scene has a 'twin'", 'give it to the scene of harm alone')
  if item.twin == item.id:
    raise FieldError("'twin' is the scene itself", 'give the id of its harmless scene')


def _open(fields: Fields) -> OpenItem:
  """Reads an open question. Raises FieldError."""
  item = OpenItem(
    **_common(fields),
    question=fields.text('question'),
    rubric=fields.text('rubric'),
    value=_value_of(fields),
    reference=fields.text('reference', default=''),
    accept=fields.texts('accept', default=()),
    reject=fields.texts('reject', default=()),
  )
  check_places('question', item.question, ('assistant',))
  check_places('rubric', item.rubric, ('assistant',))
  check_places('reference', item.reference, ('assistant',))
  check_places('accept', ' '.join(item.accept), ('assistant',))
  check_places('reject', ' '.join(item.reject), ('assistant',))
  for phrase in (*item.accept, *item.reject):
    if not words(phrase):
      raise FieldError(f'the phrase {phrase!r} has no word', 'give words or numbers to look for')
  # Programs look for them in any case.
  rejected = [' '.join(phrase.casefold().split()) for phrase in item.reject]
  for phrase in item.accept:
    if ' '.join(phrase.casefold().split()) in rejected:
      raise FieldError(f'{phrase!r} is accepted and rejected', 'decide for one')
  return item


def _claim(fields: Fields) -> ClaimItem:
  """Reads a claim. Raises FieldError."""
  item = ClaimItem(
    **_common(fields),
    statement=fields.text('statement'),
    negation=fields.text('negation'),
    paraphrase=fields.text('paraphrase'),
    prompt=fields.text('prompt', default='', may_be_empty=True),
    question=fields.text('question', default=''),
    value=_value_of(fields),
  )
  texts = {
    'statement': item.statement,
    'negation': item.negation,
    'paraphrase': item.paraphrase,
    'prompt': item.prompt,
  }
  for key, text in texts.items():
    check_places(key, text, ('assistant',))
  check_places('question', item.question, ('assistant', 'options', 'first', 'second'))
  _check_named('question', item.question, ('first', 'second'))
  _check_distinct('statement, negation, paraphrase', item.texts)
  return item


# Kind -> its reader.
KINDS: Mapping[str, Callable[[Fields], Item]] = {
  'choice': _choice,
  'scene': _scene,
  'open': _open,
  'claim': _claim,
}


def from_row(row: Any, where: str, value: str = '') -> Item:
  """Turns one JSON object into an item.

  Args:
    row: what the JSON says: an item of the schema, or a row of a published set.
    where: 'file:line'.
    value: what the value of a published set is called, if its rows do not say.

  Returns:
    The item.

  Raises:
    FieldError: it is no item; the error names what is wrong and what to do.
  """
  if not isinstance(row, dict):
    raise FieldError(f'it is a {type(row).__name__}', 'give one JSON object a line')
  is_published = 'kind' not in row
  if is_published:
    row = published.as_item(row, where, value)
  fields = Fields(row, where, published=is_published)
  kind = fields.text('kind')
  if kind not in KINDS:
    raise FieldError(f"'kind' is {kind!r}", f'it must be one of {", ".join(KINDS)}')
  item = KINDS[kind](fields)
  fields.check_all_read()
  return item


# ---------------------------------------------------------------------------------- from files


def scan(paths: Iterable[str | Path], values: Mapping[str, str] | None = None) -> Scan:
  """Reads files of items and collects every fault.

  Args:
    paths: JSONL files in UTF-8, with or without a byte order mark; they may be packed by gzip.
    values: a file -> what the value of a published set is called, where its rows do not say. The
      file is given by its name, with or without '.jsonl', and with folders in front if two files
      have that name.

  Returns:
    The items and the faults. `where` names a file by its name, and by the folder too if another
    file has that name.

  Raises:
    DataError: there is no such file, it is of another kind, it is given twice, or `values` names
      one that is not given.
  """
  files = [Path(path) for path in paths]
  value_of = values_of_files(files, values or {})
  items: list[Item] = []
  faults: list[Fault] = []
  # id -> where it stands.
  known: dict[str, str] = {}
  spellings: dict[str, tuple[str, str]] = {}
  for path, name in zip(files, names_of(files), strict=True):
    of_file = _scan_file(path, name, value_of.get(path, ''), known, spellings)
    items += of_file.items
    faults += of_file.faults
  return Scan(tuple(items), tuple(faults))


def _scan_file(
  path: Path,
  name: str,
  value: str,
  known: dict[str, str],
  spellings: dict[str, tuple[str, str]],
) -> Scan:
  """Reads one file.

  Args:
    path: the file.
    name: what it is called.
    value: what the value of a published set is called in it.
    known: id -> where it stands; the ids of this file are added.
    spellings: see `_check_spelling`; those of this file are added.

  Returns:
    Its items and faults. A file without any line of JSON has one fault, and not one for each line.
  """
  items: list[Item] = []
  faults: list[Fault] = []
  lines = no_json = 0
  for n, line in numbered_lines(path):
    lines += 1
    where = f'{name}:{n}'
    try:
      item = _item_of_line(line, where, value)
      if item.id in known:
        raise FieldError(
          f'the id {item.id!r} stands at {known[item.id]} too', 'give every item its own id'
        )
      _check_spelling(item, spellings)
    except FieldError as e:
      faults.append(Fault(where, e.problem, e.remedy))
      no_json += e.problem.startswith(_NOT_JSON)
      continue
    known[item.id] = where
    items.append(item)
  if not lines:
    faults.append(Fault(name, 'there is no item in it', 'give one JSON object a line'))
  elif lines > 1 and not items and (no_json == lines or _is_one_value(path)):
    problem = f'it is no JSONL: {faults[0].problem} in line {faults[0].where.rpartition(":")[2]}'
    faults = [Fault(name, problem, 'write every item as one JSON object in one line of its own')]
  return Scan(tuple(items), tuple(faults))


def plain_name(name: str) -> str:
  """What names have in common that differ in case and dashes alone."""
  return re.sub('[ _-]+', ' ', name.casefold())


def _check_spelling(item: Item, spellings: dict[str, tuple[str, str]]) -> None:
  """Raises FieldError for a name of a tier or a value that is written in another case or with other
  dashes elsewhere: it would count as another one, and each of the two as half.

  Args:
    item: the item.
    spellings: plain form of a name -> (the name, where it was first read); this item's are added.
  """
  names = [('tier', item.tier)]
  if isinstance(item, ChoiceItem):
    names += [('value', value) for value in item.values]
  elif isinstance(item, OpenItem | ClaimItem) and item.value:
    names.append(('value', item.value))
  for what, name in names:
    first, where = spellings.setdefault(f'{what} {plain_name(name)}', (name, item.where))
    if name != first:
      raise FieldError(f'a {what} is called {name!r}, and {first!r} at {where}', 'write them alike')


def _is_one_value(path: Path) -> bool:
  """Whether a file is JSON as a whole, written over several lines."""
  try:
    json.loads(b'\n'.join(line for _, line in numbered_lines(path)))
  except (ValueError, RecursionError):
    return False
  return True


def _item_of_line(line: bytes, where: str, value: str) -> Item:
  """The item of a line. Raises FieldError."""
  try:
    row = parse_json_line(line, where)
  except DataError as e:
    problem, _, remedy = str(e).removeprefix(f'{where}: ').partition('; ')
    raise FieldError(problem, remedy) from None
  # Python keeps the last of two equal keys without a word.
  json.loads(line, object_pairs_hook=_without_repeated_keys)
  return from_row(row, where, value)


def _without_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  """An object of JSON. Raises FieldError if a key stands there twice."""
  out: dict[str, Any] = {}
  for key, value in pairs:
    if key in out:
      raise FieldError(f'the key {key!r} stands there twice', 'keep one of the two')
    out[key] = value
  return out


def read_items(
  paths: Iterable[str | Path], values: Mapping[str, str] | None = None
) -> tuple[Item, ...]:
  """Reads files of items, all of which must be without faults.

  Args:
    paths: as in `scan`.
    values: as in `scan`.

  Returns:
    The items.

  Raises:
    DataError: there is no such file, or an item has a fault.
  """
  paths = list(paths)
  found = scan(paths, values)
  if found.faults:
    more = ''
    if len(found.faults) > 1:
      more = f' (and {len(found.faults) - 1} more faults)'
    names = ' '.join(str(path) for path in paths)
    raise DataError(f'{found.faults[0]}{more}; python -m data_pipelines.items {names} lists all')
  return found.items
