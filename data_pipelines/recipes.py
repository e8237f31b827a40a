"""What follows from the recipe of a corpus: whether it can be followed, by whom, and its identity.

A corpus is known by its fingerprint: a hash of its recipe (`SourceConfig`), of the handbook that it
is made from and of the declared version of its setting's texts. `record_streams.py` follows a
recipe, and `corpora.py` stores what comes of it.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from data_pipelines.hashes import digest_of, digest_of_file
from data_pipelines.jsonl import read_jsonl
from data_pipelines.records import Document, Record
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
from msm_jax.base.errors import DataError

# Settings of a recipe that only some makers read (`Maker.optional_settings`).
_OF_SOME_MAKERS = ('variant', 'reasons', 'neutral_reasons', 'against', 'toward')
# Settings that only makers of `MODEL_MAKERS` read.
_OF_MODEL_MAKERS = (
  'handbook',
  'instruction',
  'revise',
  'opening',
  'answers_in_view',
  'temperature',
  'max_tokens',
  'attempts',
)
# Of these, settings that only some makers of `MODEL_MAKERS` read. Labels sample no answer.
_SAMPLING = ('model.revisions', 'model.reasoned')
_READERS = {
  'revise': ('model.revisions',),
  'opening': ('model.reasoned',),
  'answers_in_view': ('model.reasoned',),
  'temperature': _SAMPLING,
  'max_tokens': _SAMPLING,
  'attempts': _SAMPLING,
}


def check_source(name: str, source: SourceConfig, added_seed: int = 0) -> None:
  """Checks that a recipe can be followed.

  Args:
    name: the corpus's name in the config; errors name it.
    source: the recipe.
    added_seed: what the seed of the recipe has from the experiment's own seed (`corpora_by_seed`);
      0 if nothing.

  Raises:
    DataError: if it names no maker and no file, if the maker or the file does not exist, if a
      number is out of range, if a maker that works from a handbook lacks the handbook or an amount,
      if one that works from none has a handbook, or if a setting would change nothing of what the
      maker writes.
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
      f'{where}: no such file: {source.path}; '
      f'give an existing JSONL file of documents, chats or preferences'
    )
  _check_numbers(where, source)
  if source.toward not in ('', *TOWARD):
    raise DataError(f'{where}.toward={source.toward!r} must be one of {", ".join(TOWARD)}')
  if source.neutral_reasons and not source.reasons:
    raise DataError(f'{where}: neutral_reasons says what reasons speak of; set reasons=True too')
  _check_nothing_ignored(where, source)
  _check_seed_is_read(where, source, added_seed)
  if source.maker:
    _check_maker(where, source)


def _check_numbers(where: str, source: SourceConfig) -> None:
  """Raises DataError for a number that is out of range, or for contradiction that nobody writes."""
  if source.size < 0 or not 0 <= source.against <= 1:
    raise DataError(
      f'{where}: size={source.size} must be at least 0 '
      f'and against={source.against} a share from 0 to 1'
    )
  if source.seed < 0:
    # `world.other_chats` adds the seed to the telling of the world: the sum could be the telling of
    # pretraining, or that of held-out text.
    raise DataError(f'{where}.seed={source.seed} must be at least 0')
  if not 0 <= source.contradiction <= 1:
    raise DataError(f'{where}.contradiction={source.contradiction} must be a share from 0 to 1')
  if source.contradiction and not _can_contradict(source):
    able = ' or '.join(name for name, (_, maker) in MAKERS.items() if maker.contradicts)
    raise DataError(
      f'{where}: {_writer_of(source)} knows no contradiction; leave it out, or let {able} write '
      f'the records'
    )


def _check_maker(where: str, source: SourceConfig) -> None:
  """Raises DataError if a recipe lacks what its maker needs, or has a handbook that it ignores."""
  _, maker = MAKERS[source.maker]
  if source.maker.endswith('.preferences') and not source.toward:
    raise DataError(f'{where}: say what the pairs are decided by: toward={" or ".join(TOWARD)}')
  if source.spec and not maker.from_handbook and not source.path:
    # The source would count as text about a handbook, and no perplexity be measured on it.
    raise DataError(
      f'{where}: maker {source.maker} works from no handbook and ignores spec={source.spec!r}; '
      f'leave it out'
    )
  if maker.from_handbook:
    if not spec_paths(source):
      raise DataError(f'{where}: maker {source.maker} works from a handbook; give spec=PATH')
    # A file has its own end, also where the config names the maker that it replaces.
    if not (source.size or source.tokens_like or source.path):
      raise DataError(f'{where}: say how much to write: size=N records or tokens_like=SOURCE')


def _writer_of(source: SourceConfig) -> str:
  """What error messages say of the origin of the records: their file, or else their maker."""
  return f'the file {source.path}' if source.path else f'maker {source.maker}'


def _can_contradict(source: SourceConfig) -> bool:
  """Whether the records follow `contradiction`; those of a file are what they are."""
  if source.path or not source.maker:
    return False
  _, maker = MAKERS[source.maker]
  return maker.contradicts


def _check_nothing_ignored(where: str, source: SourceConfig) -> None:
  """Raises DataError for a setting that is not the default and changes nothing.

  An experiment would run without a word, and its result be taken for one of another corpus. A file
  is what it is, so what its config says about the maker whose place it takes may stay.
  """
  settings: tuple[str, ...] = (*_OF_SOME_MAKERS, *_OF_MODEL_MAKERS)
  read: tuple[str, ...] = ()
  if source.path:
    settings = ('against',)
  elif source.is_model_written:
    read = _model_settings_of(source.maker)
  else:
    _, maker = MAKERS[source.maker]
    read = maker.optional_settings
  for key in settings:
    value = getattr(source, key)
    if key in read or value == getattr(SourceConfig, key):
      continue
    raise DataError(
      f'{where}: {_writer_of(source)} ignores {key}={value!r}; leave it out, or let '
      f'{" or ".join(_makers_that_read(key))} write the records'
    )


def _check_seed_is_read(where: str, source: SourceConfig, added_seed: int) -> None:
  """Raises DataError for a seed of a maker that writes the same with every seed.

  What a seed of the experiment adds (`corpora_by_seed`) is no setting of the recipe, and may stay.
  """
  # The settings of the whole experiment have nothing added yet, so 0 is right there, too.
  if source.path or source.seed in (0, added_seed):
    return
  setting, maker = MAKERS[source.maker]
  if maker.reads_seed:
    return
  remedy = 'leave it out'
  if hasattr(setting.config, 'telling'):
    remedy += f', or set {setting.name}.telling, which decides how all such text is told'
  raise DataError(f'{where}: maker {source.maker} ignores seed={source.seed}; {remedy}')


def _model_settings_of(maker: str) -> tuple[str, ...]:
  """The settings that a maker of `MODEL_MAKERS` reads, of those that only some read."""
  return tuple(key for key in _OF_MODEL_MAKERS if maker in _READERS.get(key, (maker,)))


def _makers_that_read(key: str) -> list[str]:
  """The names of the makers that read a setting of `_OF_SOME_MAKERS` or `_OF_MODEL_MAKERS`."""
  able = [name for name, (_, maker) in MAKERS.items() if key in maker.optional_settings]
  able += [name for name in MODEL_MAKERS if key in _model_settings_of(name)]
  return able


def _check_model_written(where: str, source: SourceConfig) -> None:
  """Checks the recipe of a corpus that a model of the experiment writes. Raises DataError."""
  if not (source.by and source.prompts):
    raise DataError(
      f'{where}: maker {source.maker} needs by=PATH (the phases of the writing model) and '
      f'prompts=SOURCE'
    )
  if len(spec_paths(source)) != 1:
    raise DataError(f'{where}: maker {source.maker} has one handbook in view; give spec=PATH')
  if source.contradiction:
    raise DataError(f'{where}: maker {source.maker} knows no contradiction; leave it out')
  if source.path or source.tokens_like:
    raise DataError(
      f'{where}: maker {source.maker} answers the prompts of another source; leave path and '
      f'tokens_like out'
    )
  for key, options in (('handbook', HANDBOOK_FORMS), ('revise', REVISIONS)):
    if getattr(source, key) not in options:
      raise DataError(f'{where}.{key}={getattr(source, key)!r} must be one of {", ".join(options)}')
  _check_nothing_ignored(where, source)
  if not source.answers_in_view and (source.instruction or not source.opening):
    raise DataError(
      f'{where}: with answers_in_view=False, what is shown of the handbook stands in the opening '
      "alone, and nobody reads an instruction; give opening='{statement}' and leave instruction out"
    )
  within(
    f'{where}.',
    source,
    size=NON_NEGATIVE,
    seed=NON_NEGATIVE,
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
    content = digest_of_file(Path(source.path))
    version = ''
  else:
    # The whole world follows from its settings, so their hash stands for it.
    content = json.dumps(as_recorded(world.config))
    version = version_of(source.maker)
  # The order matters: the replicates of a handbook take turns.
  spec_hashes = [spec.sha256 for spec in specs]
  return digest_of((json.dumps(recipe, sort_keys=True), content, like, *spec_hashes, version))
