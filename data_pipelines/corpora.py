"""Corpora on disk: written once, read by row, and checked for changes.

A corpus is a folder with ArrayRecord files and a card (card.json). The card holds the files'
hashes, so a corpus that somebody changed is noticed. `recipes.py` says what identifies a corpus,
and `record_streams.py` how its records come about. `leaks.py` checks what stands in it before a
model is trained on it.
"""

import contextlib
import hashlib
import itertools
import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_pipelines.hashes import add_part, digest_of, digest_of_file
from data_pipelines.records import (
  PREFERENCE_PARTS,
  Chat,
  Document,
  PreferencePair,
  Record,
  kind_of,
  to_json,
)
from msm_jax.base.errors import DataError, UserError

# How many rows are read from disk together.
_ROWS_AT_A_TIME = 512
# The files by which tfds knows how to read a corpus.
_DESCRIPTIONS = ('dataset_info.json', 'features.json')


def content_digest(records: Iterable[Record]) -> str:
  """Hashes what a corpus says, whatever its files look like. Returns 16 hexadecimal digits."""
  return digest_of(to_json(record) for record in records)


class _Described:
  """Passes records on and describes them for the card: their kind, number and content.

  An error of whoever writes the records is kept for later: tfds would hide it in one of its own.
  """

  def __init__(self, records: Iterable[Record]):
    self._rest = iter(records)
    # The kind must be known before the first record is stored.
    first = next(self._rest, None)
    if first is None:
      raise DataError('a corpus needs a record')
    self._first = first
    self.kind = kind_of([first])
    self.count = 0
    self.error: UserError | None = None
    self._digest = hashlib.sha256()

  def __iter__(self) -> Iterator[Record]:
    try:
      for record in itertools.chain([self._first], self._rest):
        self.count += 1
        add_part(self._digest, to_json(record))
        yield record
    except UserError as error:
      self.error = error

  @property
  def content(self) -> str:
    """What `content_digest` gives for the records that have passed."""
    return self._digest.hexdigest()[:16]


def write_corpus(folder: Path, records: Iterable[Record], card: dict[str, Any]) -> dict[str, Any]:
  """Writes a corpus to disk: ArrayRecord files and card.json.

  The folder appears at once and complete: it is written under another name and then renamed, so a
  process that is killed leaves no half corpus behind. A corpus that is there already is replaced.

  Args:
    folder: where the corpus is kept.
    records: all documents, all chats or all preferences; they are read once and not held.
    card: what is known of the corpus, as JSON. The number of records, their kind and hashes are
      added.

  Returns:
    The card as it was written.

  Raises:
    DataError: if the disk is full, or the folder cannot be written.
    UserError: what reading the records raises.
  """
  described = _Described(records)
  # The process id keeps two processes that write the same corpus apart.
  temporary = folder.with_name(f'{folder.name}.writing-{os.getpid()}')
  shutil.rmtree(temporary, ignore_errors=True)
  temporary.mkdir(parents=True)
  # tfds reports its progress through absl's log and on stdout; the console is ours.
  absl_logger = logging.getLogger('absl')
  level = absl_logger.level
  absl_logger.setLevel(logging.ERROR)
  try:
    # Slow to import, see `_builder`.
    from data_pipelines.builders.corpus_builder import rows_are_text_in_order

    with contextlib.redirect_stdout(None), rows_are_text_in_order():
      _builder(temporary, described.kind, described).download_and_prepare()
  except (OSError, RuntimeError) as e:  # tfds raises either on a full disk
    shutil.rmtree(temporary, ignore_errors=True)
    reason = ' '.join(str(e).split())[:200]
    raise DataError(
      f'cannot write {folder} ({reason}); '
      'free some space or choose another --workdir, then run again'
    ) from e
  finally:
    absl_logger.setLevel(level)
  if described.error:
    shutil.rmtree(temporary, ignore_errors=True)
    raise described.error
  # tfds may leave this folder behind, even though nothing is downloaded.
  shutil.rmtree(temporary / 'downloads', ignore_errors=True)
  # The bytes of the files differ from process to process (the maps of protobuf have no order);
  # their content does not. So the card has a hash of the content for identity, and checksums of
  # the files to notice changes on disk.
  card = {
    **card,
    'kind': described.kind,
    'records': described.count,
    'content': described.content,
    'files': _file_checksums(temporary),
  }
  card['card'] = _card_checksum(card)
  (temporary / 'card.json').write_text(json.dumps(card, indent=1, sort_keys=True) + '\n')
  # os.replace is atomic, but does not replace a folder that holds files.
  shutil.rmtree(folder, ignore_errors=True)
  os.replace(temporary, folder)
  return card


def read_card(folder: Path) -> dict[str, Any] | None:
  """Reads the card of a corpus and compares its files with it.

  Args:
    folder: where the corpus is kept.

  Returns:
    The card, or None if there is no complete corpus.

  Raises:
    DataError: if the card is damaged, or if the files are not those that were written.
  """
  path = folder / 'card.json'
  # The card is written last, so a folder without one is no complete corpus.
  if not path.exists():
    return None
  damaged = f'{path} is damaged; delete {folder} and run again: it is written anew'
  try:
    card = json.loads(path.read_text(encoding='utf-8'))
  except (ValueError, RecursionError):
    raise DataError(damaged) from None
  needed = {'files', 'content', 'kind', 'records'}
  if not isinstance(card, dict) or not needed <= card.keys():
    raise DataError(damaged)
  # Cards of version 0.1.0 have no checksum of their own, and none of the files that describe the
  # data.
  if 'card' in card and card['card'] != _card_checksum(card):
    raise DataError(damaged)
  checksums = _file_checksums(folder)
  if 'card' not in card:
    checksums = {name: sum_ for name, sum_ in checksums.items() if 'array_record' in name}
  if card['files'] != checksums:
    raise DataError(
      f'the data in {folder} changed after it was written; '
      'delete that folder and run again: it is written anew, as it was'
    )
  return card


def read_rows(folder: Path, kind: str) -> Sequence[Any]:
  """Opens a corpus for random access.

  Args:
    folder: where the corpus is kept.
    kind: 'documents', 'chats' or 'preferences'.

  Returns:
    A sequence of rows as tfds stores them (dicts of bytes and arrays); rows are read when they are
    asked for.

  Raises:
    DataError: if tfds cannot read the folder.
  """
  try:
    return _builder(folder, kind).as_data_source('train')
  except Exception as e:  # tfds raises KeyError, ParseError, AssertionError and others
    raise DataError(
      f'the corpus in {folder} cannot be read ({type(e).__name__}); '
      'delete that folder and run again: it is written anew'
    ) from e


def is_on_disk(rows: Sequence[Any]) -> bool:
  """Whether rows are those of a corpus on disk, as `read_rows` opens it."""
  return hasattr(rows, 'dataset_info')


def rows_in_order(rows: Sequence[Any], start: int = 0, stop: int | None = None) -> Iterator[Any]:
  """Yields neighbouring rows several times as fast as one by one, in bounded memory.

  Args:
    rows: what `read_rows` has opened, or any other sequence of rows.
    start: the number of the first row.
    stop: the number of the last row, plus one; None means up to the end.

  Yields:
    The same rows, with lists in place of arrays.
  """
  if stop is None:
    stop = len(rows)
  if not is_on_disk(rows):
    yield from (rows[n] for n in range(start, stop))
    return
  # Imported here for the reason given in `_builder`.
  from tensorflow_datasets.core.features import Text
  from tensorflow_datasets.proto import tf_example_pb2

  # tfds itself turns every field of every row into arrays of NumPy.
  disk: Any = rows
  features = disk.dataset_info.features
  for first in range(start, stop, _ROWS_AT_A_TIME):
    numbers = range(first, min(first + _ROWS_AT_A_TIME, stop))
    for content in disk.data_source.__getitems__(numbers):
      stored = tf_example_pb2.Example.FromString(content).features.feature
      row = {}
      for name, feature in features.items():
        values = stored[name].bytes_list.value
        row[name] = values[0] if isinstance(feature, Text) else list(values)
      yield row


def row_to_record(row: Mapping[str, Any], kind: str) -> Record:
  """Converts a row as tfds returns it, with text as bytes, into a record.

  Args:
    row: the row.
    kind: 'documents', 'chats' or 'preferences'.

  Returns:
    A record of that kind.
  """
  text = {key: value.decode() for key, value in row.items() if isinstance(value, bytes)}
  if kind == 'chats':
    return Chat(messages=_decode_messages(row['roles'], row['contents']), **text)
  if kind == 'preferences':
    prompt, chosen, rejected = (
      _decode_messages(row[f'{part}_roles'], row[f'{part}_contents']) for part in PREFERENCE_PARTS
    )
    return PreferencePair(prompt=prompt, chosen=chosen, rejected=rejected, **text)
  claim_ids = tuple(claim_id.decode() for claim_id in row['claim_ids'])
  return Document(claim_ids=claim_ids, **text)


def _decode_messages(roles: Any, contents: Any) -> tuple[tuple[str, str], ...]:
  """The messages of a stored row, whose roles and contents are parallel lists of bytes."""
  pairs = zip(roles, contents, strict=True)
  return tuple((role.decode(), content.decode()) for role, content in pairs)


def _builder(folder: Path, kind: str, records: Iterable[Record] = ()) -> Any:
  """Returns the tfds builder that writes or reads the corpus in a folder."""
  # Imported here because tfds takes seconds to import, and a finished experiment does not need it.
  import tensorflow_datasets as tfds

  from data_pipelines.builders.corpus_builder import CorpusBuilder

  tfds.disable_progress_bar()
  return CorpusBuilder(data_dir=str(folder), kind=kind, records=records)


def _card_checksum(card: dict[str, Any]) -> str:
  """The checksum of everything that a card says beside this checksum."""
  rest = {key: value for key, value in card.items() if key != 'card'}
  return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _file_checksums(folder: Path) -> dict[str, str]:
  """Checksums of the files of a corpus: the data, and the descriptions by which tfds reads them.

  Args:
    folder: where the corpus is kept.

  Returns:
    Path within the folder -> checksum. The card is left out, and so are kept tokens, which come
    later and have checksums of their own.
  """
  checksums = {}
  for path in sorted(folder.rglob('*')):
    is_of_tfds = 'array_record' in path.name or path.name in _DESCRIPTIONS
    if is_of_tfds and path.is_file():
      name = str(path.relative_to(folder))
      checksums[name] = digest_of_file(path)
  return checksums
