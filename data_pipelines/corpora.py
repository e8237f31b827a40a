"""Named corpora: who writes them, what identifies them, and where they are kept on disk.

A corpus is known by its fingerprint: a hash of its recipe, of the handbook it is made from and of the code that writes it. On disk it is a
folder with ArrayRecord files and a card; the card holds the files' hashes, so a corpus that somebody changed is noticed.
"""

import contextlib
import dataclasses
import hashlib
import itertools
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from data_pipelines.records import Chat, Record, read_jsonl, to_json
from data_pipelines.settings import english as english_setting
from data_pipelines.settings import office as office_setting
from data_pipelines.settings import world as world_setting
from data_pipelines.settings.english import handbook as english
from data_pipelines.settings.office import handbook as oversight
from data_pipelines.settings.office import pretraining as office_text
from data_pipelines.settings.world import handbook, pretraining
from msm_jax.base.errors import DataError


@dataclasses.dataclass(frozen=True)
class SourceConfig:
  """One corpus.

  Attributes:
    maker: who writes it (a key of MAKERS).
    path: a JSONL file of documents or chats in place of what a maker would write (published MSM sets load as they are).
    spec: the handbook(s) it is made from, separated by commas.
    variant: of spec and English documents: explained, cooccur or filler; of oversight documents: explained, normative or filler.
    reasons: oversight demonstrations give a reason with every answer.
    against: share of oversight demonstrations that say the opposite.
    size: how many records are written (needed by makers that could go on for ever, unless `tokens_like` says when to stop).
    tokens_like: another source; writing stops when this one holds as many tokens.
    seed: of the writer.
  """

  maker: str = ''
  path: str = ''
  spec: str = ''
  variant: str = 'explained'
  reasons: bool = False
  against: float = 0.0
  size: int = 0
  tokens_like: str = ''
  seed: int = 0

  @property
  def is_world(self) -> bool:
    """Whether it tells of the world alone: no handbook and nobody's own text."""
    return not (self.spec or self.path)


def spec_paths(source: SourceConfig) -> tuple[str, ...]:
  return tuple(p.strip() for p in source.spec.split(',') if p.strip())


# name -> records(source, world, specs); the world's are finite, those from a handbook go on until `size` or `tokens_like` stops them.
MAKERS: dict[str, Callable[[SourceConfig, Any, Sequence[Any]], Iterator[Record]]] = {
  'world.facts': lambda c, world, specs: pretraining.facts(world),
  'world.items': lambda c, world, specs: pretraining.item_documents(world),
  'world.persona_documents': lambda c, world, specs: pretraining.persona_documents(world),
  'world.persona_chats': lambda c, world, specs: pretraining.persona_chats(world),
  'spec.documents': lambda c, world, specs: handbook.spec_documents(specs, c.variant, c.seed),
  'spec.demonstrations': lambda c, world, specs: handbook.demonstrations(specs, world, c.seed),
  'office.textbook': lambda c, office, specs: office_text.textbook(office),
  'office.agent_documents': lambda c, office, specs: office_text.agent_documents(office),
  'office.agent_chats': lambda c, office, specs: office_text.agent_chats(office),
  'oversight.documents': lambda c, office, specs: oversight.oversight_documents(
    specs, c.variant, c.seed
  ),
  'oversight.demonstrations': lambda c, office, specs: oversight.demonstrations(
    specs, c.reasons, c.against, c.seed
  ),
  'english.documents': lambda c, stock, specs: english.english_documents(
    specs, stock, c.variant, c.seed
  ),
  'english.demonstrations': lambda c, stock, specs: english.demonstrations(specs, stock, c.seed),
}


def check_source(name: str, source: SourceConfig) -> None:
  """Raises DataError for a recipe that cannot be followed."""
  where = f'sources.{name}'
  if not (source.maker or source.path):
    raise DataError(f'{where}: give a maker, or the path of a JSONL file')
  if source.maker and source.maker not in MAKERS:
    raise DataError(f'{where}.maker={source.maker!r} must be one of {", ".join(MAKERS)}')
  if source.path and not Path(source.path).is_file():
    raise DataError(
      f'{where}: no such file: {source.path}; give an existing JSONL file of documents or chats'
    )
  if source.size < 0 or not 0 <= source.against <= 1:
    raise DataError(
      f'{where}: size={source.size} must be at least 0 and against={source.against} a share from 0 to 1'
    )
  if source.maker.startswith(('spec.', 'oversight.', 'english.')):
    if not spec_paths(source):
      raise DataError(f'{where}: maker {source.maker} works from a handbook; give spec=PATH')
    if not (source.size or source.tokens_like):
      raise DataError(f'{where}: say how much to write: size=N records or tokens_like=SOURCE')


def _digest(*parts: bytes | str) -> str:
  h = hashlib.sha256()
  for p in parts:
    h.update(p.encode() if isinstance(p, str) else p)
    h.update(b'\0')
  return h.hexdigest()[:16]


def content_digest(records: Iterable[Record]) -> str:
  """What a corpus says, whatever its files look like."""
  h = hashlib.sha256()
  for r in records:
    h.update(to_json(r).encode() + b'\0')
  return h.hexdigest()[:16]


# Which setting writes for a maker: makers are named 'KIND.WHAT'.
_SETTING_OF_KIND = {
  'world': world_setting,
  'spec': world_setting,
  'office': office_setting,
  'oversight': office_setting,
  'english': english_setting,
}


def version_of(maker: str) -> str:
  """The declared version of the texts that a maker writes."""
  return _SETTING_OF_KIND[maker.partition('.')[0]].VERSION


def fingerprint(source: SourceConfig, world: Any, specs: Sequence[Any], like: str) -> str:
  """Identity of a corpus. `like` is the fingerprint of the corpus named by tokens_like and of the tokenizer that counts, or ''."""
  recipe = dataclasses.asdict(source) | {'path': '', 'spec': '', 'tokens_like': ''}
  content = (
    hashlib.sha256(Path(source.path).read_bytes()).hexdigest()
    if source.path
    else json.dumps(dataclasses.asdict(world.config))
  )
  return _digest(
    json.dumps(recipe, sort_keys=True),
    content,
    like,
    *(s.sha256 for s in specs),
    '' if source.path else version_of(source.maker),
  )


def make_records(
  name: str,
  source: SourceConfig,
  world: Any,
  specs: Sequence[Any],
  tokens: int,
  count_tokens: Callable[[Record], int],
) -> list[Record]:
  """Writes or reads a corpus. With `tokens`, stops at the record with which that many are closest."""
  records: Iterable[Record] = (
    read_jsonl(source.path) if source.path else MAKERS[source.maker](source, world, specs)
  )
  if source.size:
    records = itertools.islice(records, source.size)
  if tokens:
    kept, total = [], 0
    for r in records:
      n = count_tokens(r)
      if total + n / 2 > tokens:
        break
      kept.append(r)
      total += n
    records = kept
  records = list(records)
  if not records:
    raise DataError(
      f'sources.{name} is empty; {"put records into " + source.path if source.path else "raise its size"}'
    )
  if len({isinstance(r, Chat) for r in records}) > 1:
    raise DataError(f'sources.{name} mixes documents and chats; split it into two sources')
  return records


def kind_of(records: Sequence[Record]) -> str:
  return 'chats' if isinstance(records[0], Chat) else 'documents'


def _builder(folder: Path, kind: str, records: Sequence[Record] = ()) -> Any:
  import tensorflow_datasets as tfds  # seconds to import, and a finished experiment doesn't need it

  from data_pipelines.builders.corpus_builder import CorpusBuilder

  tfds.disable_progress_bar()
  return CorpusBuilder(data_dir=str(folder), kind=kind, records=records)


def _files(folder: Path) -> dict[str, str]:
  return {
    str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
    for p in sorted(folder.rglob('*array_record*'))
    if p.is_file()
  }


def write_corpus(folder: Path, records: Sequence[Record], card: dict[str, Any]) -> dict[str, Any]:
  """Writes ArrayRecord files and card.json; the folder appears at once, complete. Returns the card."""
  temporary = folder.with_name(f'{folder.name}.writing-{os.getpid()}')
  shutil.rmtree(temporary, ignore_errors=True)
  temporary.mkdir(parents=True)
  level = logging.getLogger('absl').level
  logging.getLogger('absl').setLevel(logging.ERROR)
  try:
    with contextlib.redirect_stdout(None):
      _builder(temporary, kind_of(records), records).download_and_prepare()
  except (OSError, RuntimeError) as e:  # what tfds makes of a full disk
    shutil.rmtree(temporary, ignore_errors=True)
    raise DataError(
      f'cannot write {folder} ({" ".join(str(e).split())[:200]}); free some space or choose another --workdir, then run again'
    ) from e
  finally:
    logging.getLogger('absl').setLevel(level)
  shutil.rmtree(temporary / 'downloads', ignore_errors=True)
  # the files' bytes vary from process to process (protobuf's maps have no order); their content does not
  card = card | {
    'kind': kind_of(records),
    'records': len(records),
    'content': content_digest(records),
    'files': _files(temporary),
  }
  (temporary / 'card.json').write_text(json.dumps(card, indent=1, sort_keys=True) + '\n')
  shutil.rmtree(folder, ignore_errors=True)
  os.replace(temporary, folder)
  return card


def read_card(folder: Path) -> dict[str, Any] | None:
  """The card of a complete corpus, or None. Raises DataError if its files are not those that were written."""
  path = folder / 'card.json'
  if not path.exists():
    return None
  try:
    card = json.loads(path.read_text())
    files, _ = card['files'], card['content']
  except (ValueError, KeyError, TypeError):
    raise DataError(
      f'{path} is damaged; delete {folder} and run again: it is written anew'
    ) from None
  if files != _files(folder):
    raise DataError(
      f'the data in {folder} changed after it was written; delete that folder and run again: it is written anew, as it was'
    )
  return card


def read_rows(folder: Path, kind: str) -> Sequence[Any]:
  """Random access to the rows as tfds stores them."""
  try:
    return _builder(folder, kind).as_data_source('train')
  except Exception as e:  # tfds: KeyError, ParseError, AssertionError
    raise DataError(
      f'the corpus in {folder} cannot be read ({type(e).__name__}); delete that folder and run again: it is written anew'
    ) from e
