"""Named corpora: what identifies them, how their records come about, and how they are kept on disk.

A corpus is known by its fingerprint: a hash of its recipe (`SourceConfig`), of the handbook that it
is made from and of the declared version of its setting's texts. On disk it is a folder with
ArrayRecord files and a card (card.json). The card holds the files' hashes, so a corpus that
somebody changed is noticed. `leaks.py` checks what stands in a corpus before a model is trained on
it.
"""

import contextlib
import dataclasses
import hashlib
import itertools
import json
import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_pipelines.records import (
  PREFERENCE_PARTS,
  Chat,
  Document,
  Preference,
  Record,
  emptiness_of,
  read_jsonl,
  to_json,
)
from data_pipelines.settings.registry import MAKERS
from data_pipelines.settings.setting import AnySpec, AnyWorld
from data_pipelines.sources import (
  HANDBOOK_FORMS,
  MODEL_MAKERS,
  MODEL_MAKERS_VERSION,
  REVISIONS,
  TOWARD,
  SourceConfig,
  spec_paths,
)
from msm_jax.base.checks import AT_LEAST_ONE, NON_NEGATIVE, as_recorded, within
from msm_jax.base.console import say
from msm_jax.base.errors import DataError, UserError

# How many rows are read from disk together.
_ROWS_AT_A_TIME = 512
# The files by which tfds knows how to read a corpus.
_DESCRIPTIONS = ('dataset_info.json', 'features.json')


def check_source(name: str, source: SourceConfig) -> None:
  """Checks that a recipe can be followed.

  Args:
    name: the corpus's name in the config; errors name it.
    source: the recipe.

  Raises:
    DataError: if it names no maker and no file, if the maker or the file does not exist, if a
      number is out of range, or if a maker that works from a handbook lacks the handbook or an
      amount.
  """
  where = f'sources.{name}'
  if not (source.maker or source.path):
    raise DataError(f'{where}: give a maker, or the path of a JSONL file')
  if source.is_model_written:
    _check_model_written(where, source)
    return
  if source.by or source.prompts:
    raise DataError(
      f'{where}: by and prompts say which model writes; set maker={" or ".join(MODEL_MAKERS)}'
    )
  if source.maker and source.maker not in MAKERS:
    known = ', '.join([*MAKERS, *MODEL_MAKERS])
    raise DataError(f'{where}.maker={source.maker!r} must be one of {known}')
  if source.path and not Path(source.path).is_file():
    raise DataError(
      f'{where}: no such file: {source.path}; give an existing JSONL file of documents or chats'
    )
  if source.size < 0 or not 0 <= source.against <= 1:
    raise DataError(
      f'{where}: size={source.size} must be at least 0 '
      f'and against={source.against} a share from 0 to 1'
    )
  if not 0 <= source.contradiction <= 1:
    raise DataError(f'{where}.contradiction={source.contradiction} must be a share from 0 to 1')
  if source.toward not in ('', *TOWARD):
    raise DataError(f'{where}.toward={source.toward!r} must be one of {", ".join(TOWARD)}')
  if source.neutral_reasons and not source.reasons:
    raise DataError(f'{where}: neutral_reasons says what reasons speak of; set reasons=True too')
  # What follows holds for makers alone: a file has its own end.
  if not source.maker:
    return
  _, maker = MAKERS[source.maker]
  if source.maker.endswith('.preferences') and not source.toward:
    raise DataError(f'{where}: say what the pairs are decided by: toward={" or ".join(TOWARD)}')
  if maker.from_handbook:
    if not spec_paths(source):
      raise DataError(f'{where}: maker {source.maker} works from a handbook; give spec=PATH')
    if not (source.size or source.tokens_like):
      raise DataError(f'{where}: say how much to write: size=N records or tokens_like=SOURCE')


def _check_model_written(where: str, source: SourceConfig) -> None:
  """Checks the recipe of a corpus that a model of the experiment writes. Raises DataError."""
  if not (source.by and source.prompts):
    raise DataError(
      f'{where}: maker {source.maker} needs by=PATH (the phases of the writing model) and '
      f'prompts=SOURCE'
    )
  if len(spec_paths(source)) != 1:
    raise DataError(f'{where}: maker {source.maker} has one handbook in view; give spec=PATH')
  if source.path or source.tokens_like:
    raise DataError(
      f'{where}: maker {source.maker} answers the prompts of another source; leave path and '
      f'tokens_like out'
    )
  for key, options in (('handbook', HANDBOOK_FORMS), ('revise', REVISIONS)):
    if getattr(source, key) not in options:
      raise DataError(f'{where}.{key}={getattr(source, key)!r} must be one of {", ".join(options)}')
  within(
    f'{where}.',
    source,
    size=NON_NEGATIVE,
    temperature=(1e-2, 1e2),
    max_tokens=AT_LEAST_ONE,
    attempts=AT_LEAST_ONE,
  )


def is_handbook_documents(source: SourceConfig) -> bool:
  """Says whether a source is documents that are made from a handbook.

  Args:
    source: the recipe. The first record of its file decides, if it has one: the maker may be left
      out then, or be that of other text.

  Returns:
    False for demonstrations, and for text that no handbook stands behind. Chats with the content of
    documents (`english.chats`) count as documents: a model that read them has read the handbook.
  """
  if not source.spec:
    return False
  if source.path:
    first = next(read_jsonl(source.path), None)
    return isinstance(first, Document)
  return source.maker.endswith(('.documents', '.chats'))


def version_of(maker: str) -> str:
  """Returns the declared version of the texts that a maker writes."""
  if maker in MODEL_MAKERS:
    return MODEL_MAKERS_VERSION
  setting, _ = MAKERS[maker]
  return setting.version


def write_records(
  source: SourceConfig, world: AnyWorld, specs: Sequence[AnySpec]
) -> Iterator[Record]:
  """Yields what the recipe's maker writes: without end if it works from a handbook, whatever `size`
  says."""
  _, maker = MAKERS[source.maker]
  return maker.write(source, world, specs)


def fingerprint(source: SourceConfig, world: AnyWorld, specs: Sequence[AnySpec], like: str) -> str:
  """Computes the identity of a corpus.

  Two corpora with the same fingerprint have the same records. Where the handbooks and files lie
  does not matter.

  Args:
    source: the recipe.
    world: the world that the maker writes about. It is left out of the identity of a corpus that is
      read from a file.
    specs: the handbooks that the corpus is made from.
    like: fingerprint of the corpus that `tokens_like` names and of the tokenizer that counts, or
      ''.

  Returns:
    16 hexadecimal digits.
  """
  recipe = as_recorded(source)
  # Paths and the other source's name are not identity: the contents stand for them below.
  for key in ('path', 'spec', 'tokens_like'):
    recipe[key] = ''
  # The writing model and the prompts count by their content too, see `Design.written_fingerprint`.
  for key in ('by', 'prompts'):
    recipe.pop(key, None)
  if source.path:
    # A file is known by its bytes: no setting writes it, so no version counts.
    content = _hash_of(Path(source.path))
    version = ''
  else:
    # The whole world follows from its settings, so their hash stands for it.
    content = json.dumps(as_recorded(world.config))
    version = version_of(source.maker)
  # The order matters: the replicates of a handbook take turns.
  spec_hashes = [spec.sha256 for spec in specs]
  return _digest((json.dumps(recipe, sort_keys=True), content, like, *spec_hashes, version))


def content_digest(records: Iterable[Record]) -> str:
  """Hashes what a corpus says, whatever its files look like. Returns 16 hexadecimal digits."""
  return _digest(to_json(record) for record in records)


def _digest(parts: Iterable[str]) -> str:
  """Hashes strings with a separator, so that moving a character to the next part changes the
  hash."""
  digest = hashlib.sha256()
  for part in parts:
    _add_part(digest, part)
  return digest.hexdigest()[:16]


def _add_part(digest: Any, part: str) -> None:
  digest.update(part.encode() + b'\0')


def make_records(
  name: str,
  source: SourceConfig,
  world: AnyWorld,
  specs: Sequence[AnySpec],
  tokens: int,
  count_tokens: Callable[[Record], int],
  max_left_out: float = 0.0,
) -> list[Record]:
  """Writes a corpus by its maker, or reads it from its file; see `stream_records`.

  Args:
    name: the corpus's name in the config; errors name it.
    source: the recipe.
    world: the world that the maker writes about.
    specs: the handbooks that the maker works from.
    tokens: number of tokens at which to stop; 0 for no such limit.
    count_tokens: record -> its number of tokens; only called if `tokens` is not 0.
    max_left_out: at most this share of the records may be left out.

  Returns:
    The records.

  Raises:
    DataError: see `stream_records`.
  """
  return list(stream_records(name, source, world, specs, tokens, count_tokens, max_left_out))


def stream_records(
  name: str,
  source: SourceConfig,
  world: AnyWorld,
  specs: Sequence[AnySpec],
  tokens: int,
  count_tokens: Callable[[Record], int],
  max_left_out: float = 0.0,
) -> Iterator[Record]:
  """Writes a corpus by its maker, or reads it from its file.

  Records that teach nothing are left out: documents without text, chats in which the assistant says
  nothing, and preferences with an empty side or equal ones. They are counted and said, and so is a
  corpus that comes out shorter than asked.

  Args:
    name: the corpus's name in the config; errors name it.
    source: the recipe.
    world: the world that the maker writes about.
    specs: the handbooks that the maker works from.
    tokens: number of tokens at which to stop; 0 for no such limit.
    count_tokens: record -> its number of tokens; only called if `tokens` is not 0.
    max_left_out: at most this share of the records may be left out.

  Yields:
    The records, of which none is held. With `tokens`, their total is as close to it as whole
    records allow.

  Raises:
    DataError: if the file cannot be read, or after the last record: if there is none, if there are
      records of several kinds, or if too many records teach nothing.
  """
  if source.path:
    records: Iterator[Record] = read_jsonl(source.path)
  else:
    records = write_records(source, world, specs)
  left_out: Counter[str] = Counter()
  kinds: set[str] = set()
  first: dict[str, str] = {}
  records = _without_empty(records, left_out, kinds, first)
  # Makers that work from a handbook never end, so the limits come first.
  if source.size:
    records = itertools.islice(records, source.size)
  counts = _Counts()
  if tokens:
    records = _until_tokens(records, tokens, count_tokens, counts)
  kind = ''
  for record in records:
    counts.records += 1
    kind = kind or kind_of([record])
    # Records of two kinds are refused below, and whoever stores records of one takes no other.
    if len(kinds) == 1:
      yield record
  kept, total = counts.records, counts.tokens
  # Each kind is stored with fields of its own, and trained on differently.
  if len(kinds) > 1:
    mixed = ' and '.join(sorted(kinds, reverse=True))
    if 'preferences' not in kinds:
      mixed = 'documents and chats'
    raise DataError(f'sources.{name} mixes {mixed}; split it into {len(kinds)} sources')
  if kinds == {'preferences'}:
    # A pair may be one of a million of a published set, so the first of each reason is named.
    left_out = Counter({f'{why}, such as {first[why]}': n for why, n in left_out.items()})
  _check_left_out(name, kept, left_out, max_left_out, kinds == {'preferences'})
  if not kept:
    remedy = f'put records into {source.path}' if source.path else 'raise its size'
    raise DataError(f'sources.{name} is empty; {remedy}')
  if kept < source.size and not tokens:
    say(
      f'data       {name}: {kept:,} {kind} are all that there are; '
      f'size={source.size:,} asks for more'
    )
  # Another record of average length would have brought the total closer.
  if total + total / kept / 2 < tokens:
    say(
      f'data       {name}: {total:,} tokens are all that there are; '
      f'{source.tokens_like} has {tokens:,}'
    )


def _without_empty(
  records: Iterable[Record], left_out: Counter[str], kinds: set[str], first: dict[str, str]
) -> Iterator[Record]:
  """Yields the records that a model can learn from.

  The others are counted in `left_out` by their reason, `first` gets the id of the first one by its
  reason, and `kinds` gets the kinds of them all.
  """
  for record in records:
    kinds.add(kind_of([record]))
    reason = emptiness_of(record)
    if reason:
      left_out[reason] += 1
      first.setdefault(reason, record.id)
    else:
      yield record


def _check_left_out(
  name: str, kept: int, left_out: Mapping[str, int], max_left_out: float, are_pairs: bool
) -> None:
  """Says which records teach nothing. Raises DataError if their share is too large."""
  n = sum(left_out.values())
  if not n:
    return
  total = kept + n
  what = 'records have no supervised token of text'
  remedy = 'chats with assistant turns and documents with text'
  if are_pairs:
    what = 'preferences compare nothing'
    remedy = 'two different answers'
  reasons = ', '.join(f'{count:,} {reason}' for reason, count in left_out.items())
  found = f'{n:,} of {total:,} {what} ({reasons})'
  if n > max_left_out * total:
    raise DataError(
      f'sources.{name}: {found}; give {remedy}, or raise config.max_left_out (now {max_left_out:g})'
    )
  say(f'data       {name}: {found} and are left out')


@dataclasses.dataclass
class _Counts:
  """What has gone through a stream so far. `tokens` is counted if they limit the stream."""

  records: int = 0
  tokens: int = 0


def _until_tokens(
  records: Iterable[Record], tokens: int, count_tokens: Callable[[Record], int], counts: _Counts
) -> Iterator[Record]:
  """Yields records until their total of tokens, `counts.tokens`, is as close to `tokens` as it
  gets. It stays lower if there are no more records."""
  for record in records:
    n = count_tokens(record)
    # With more than half of this record beyond the limit, the total is closer to it without the
    # record.
    if counts.tokens + n / 2 > tokens:
      break
    counts.tokens += n
    yield record


def kind_of(records: Sequence[Record]) -> str:
  """Returns 'chats', 'preferences' or 'documents'."""
  if isinstance(records[0], Chat):
    return 'chats'
  if isinstance(records[0], Preference):
    return 'preferences'
  return 'documents'


class KeptIfFew:
  """Passes records on and keeps them for this process, unless there are many.

  Attributes:
    records: the records that have passed; empty if there were more than the limit.
  """

  def __init__(self, records: Iterable[Record], limit: int):
    """Wraps records.

    Args:
      records: the records.
      limit: how many are kept at most.
    """
    self.records: list[Record] = []
    self._source = records
    self._limit = limit

  def __iter__(self) -> Iterator[Record]:
    keeps = True
    for record in self._source:
      if keeps:
        self.records.append(record)
        keeps = len(self.records) <= self._limit
        if not keeps:
          self.records = []
      yield record


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
        _add_part(self._digest, to_json(record))
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
    from data_pipelines.builders.corpus_builder import rows_stay_in_order

    with contextlib.redirect_stdout(None), rows_stay_in_order():
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
  # their content does not. So the card has a hash of the content for identity, and hashes of the
  # files to notice changes on disk.
  card = {
    **card,
    'kind': described.kind,
    'records': described.count,
    'content': described.content,
    'files': _file_hashes(temporary),
  }
  card['card'] = _card_hash(card)
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
    card = json.loads(path.read_text())
  except (ValueError, RecursionError):
    raise DataError(damaged) from None
  needed = {'files', 'content', 'kind', 'records'}
  if not isinstance(card, dict) or not needed <= card.keys():
    raise DataError(damaged)
  # Cards of version 0.1.0 have no hash of their own, and none of the files that describe the data.
  if 'card' in card and card['card'] != _card_hash(card):
    raise DataError(damaged)
  hashes = _file_hashes(folder)
  if 'card' not in card:
    hashes = {name: hash_ for name, hash_ in hashes.items() if 'array_record' in name}
  if card['files'] != hashes:
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
    return Preference(prompt=prompt, chosen=chosen, rejected=rejected, **text)
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


def _card_hash(card: dict[str, Any]) -> str:
  """The hash of everything that a card says beside this hash."""
  rest = {key: value for key, value in card.items() if key != 'card'}
  return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _file_hashes(folder: Path) -> dict[str, str]:
  """Hashes the files of a corpus: the data, and the descriptions by which tfds reads them.

  Args:
    folder: where the corpus is kept.

  Returns:
    Path within the folder -> hash. The card is left out, and so are kept tokens, which come later
    and have checksums of their own.
  """
  hashes = {}
  for path in sorted(folder.rglob('*')):
    is_of_tfds = 'array_record' in path.name or path.name in _DESCRIPTIONS
    if is_of_tfds and path.is_file():
      name = str(path.relative_to(folder))
      hashes[name] = _hash_of(path)
  return hashes


def _hash_of(path: Path) -> str:
  """The SHA-256 of a file, which may be larger than memory."""
  with path.open('rb') as f:
    return hashlib.file_digest(f, 'sha256').hexdigest()
