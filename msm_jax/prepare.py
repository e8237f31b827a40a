"""Writes what is missing of the corpora and the tokenizer of an experiment, and plans its phases.

`design.make_design` has read the handbooks and written the questions before. The result, a
`Prepared`, is what training and evaluation read.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from data_pipelines import corpora, leaks
from data_pipelines.record_streams import KeptIfFew, stream_records
from data_pipelines.records import Record
from msm_jax import phases
from msm_jax.base.console import say
from msm_jax.base.errors import ConfigError, DataError
from msm_jax.base.files import write_atomically
from msm_jax.config import ExperimentConfig, ModelConfig
from msm_jax.data.tokenized import MANY_RECORDS
from msm_jax.interop import huggingface, peft
from msm_jax.phases import digest
from msm_jax.running.design import Design
from msm_jax.running.prepared import Corpus, Prepared
from msm_jax.tokenizer import Tokenizer, load_tokenizer, train_sentencepiece

# The width of the unembedding is a multiple of this, which fills the registers of all devices.
VOCAB_MULTIPLE = 128
# The settings of a model that imported weights leave open.
OPEN_WITH_WEIGHTS = ('dtype', 'scan_layers', 'remat', 'lora', 'attention')


def prepare(design: Design, workdir: Path) -> Prepared:
  """Writes what is missing of the corpora and the tokenizer, and checks what is there.

  Args:
    design: what the experiment is about.
    workdir: where data/ lies.

  Returns:
    What training and evaluation read.

  Raises:
    ConfigError: settings that contradict the tokenizer, the weights or each other.
    DataError: a corpus or a tokenizer that cannot be written, or that was changed on disk.
  """
  config = design.config
  folder = workdir / 'data'
  folder.mkdir(parents=True, exist_ok=True)
  # The text that the tokenizer learns from comes first; no tokens are counted for it.
  ready: dict[str, Corpus] = {}
  for name in config.tokenizer.sources:
    fingerprint = design.fingerprint_of(name)
    ready[name] = _prepare_corpus(design, folder, name, fingerprint)
  tokenizer_path = None
  if design.weights:
    config = dataclasses.replace(config, model=_model_of_weights(config, design.weights))
    tokenizer = load_tokenizer(design.weights)
    tokenizer.check_fits(config.model.vocab_size, str(design.weights))
  else:
    tokenizer_path = _prepare_tokenizer(design, folder, ready)
    tokenizer = load_tokenizer(tokenizer_path)
    config = dataclasses.replace(config, model=_with_vocabulary(config.model, tokenizer))
  for name in _used_sources(config):
    _prepare_with_length(design, folder, tokenizer, name, ready, ())

  def written_fingerprint(name: str, writer: str) -> str:
    prompts = ready[config.sources[name].prompts].fingerprint
    return design.written_fingerprint(name, writer, prompts)

  ends = phases.plan(
    config,
    {name: corpus.fingerprint for name, corpus in ready.items()},
    tokenizer.fingerprint,
    design.imports,
    design.teachers,
    written_fingerprint,
  )
  return Prepared(design, config, ready, tokenizer, tokenizer_path, ends)


def _used_sources(config: ExperimentConfig) -> list[str]:
  """The sources that some model is trained on, in the order of the config."""
  used: set[str] = set()
  for path in config.paths:
    for phase in path:
      used.update(config.phases[phase].data)
  # What a model writes comes later; its prompts are there before.
  by_models = [name for name in used if config.sources[name].is_model_written]
  used.update(config.sources[name].prompts for name in by_models)
  return [name for name in config.sources if name in used and name not in by_models]


def _prepare_with_length(
  design: Design,
  folder: Path,
  tokenizer: Tokenizer,
  name: str,
  ready: dict[str, Corpus],
  waiting: tuple[str, ...],
) -> Corpus:
  """Prepares a corpus after the one that `tokens_like` names, which sets its length.

  `ready` are the corpora that are on disk already; this one is added to them. `waiting` are the
  corpora that wait for this one. Raises ConfigError if they wait in a circle.
  """
  if name in waiting:
    circle = ' > '.join((*waiting, name))
    raise ConfigError(
      f'sources.{name}.tokens_like leads back to itself ({circle}); give one of them a size'
    )
  if name in ready:
    return ready[name]
  other_name = design.config.sources[name].tokens_like
  if not other_name:
    ready[name] = _prepare_corpus(design, folder, name, design.fingerprint_of(name), tokenizer)
    return ready[name]
  other = _prepare_with_length(design, folder, tokenizer, other_name, ready, (*waiting, name))
  counted = f'{other.fingerprint} {tokenizer.fingerprint}'
  fingerprint = design.fingerprint_of(name, counted)
  tokens = other.tokens(tokenizer)
  ready[name] = _prepare_corpus(design, folder, name, fingerprint, tokenizer, tokens)
  return ready[name]


def _prepare_corpus(
  design: Design,
  folder: Path,
  name: str,
  fingerprint: str,
  tokenizer: Tokenizer | None = None,
  tokens: int = 0,
) -> Corpus:
  """Opens a corpus, or writes it: up to `tokens` tokens, if they are given."""
  path = folder / f'{name}-{fingerprint}'
  card = corpora.read_card(path)
  if card is not None:
    return Corpus(name, path, fingerprint, card)

  def count_tokens(record: Record) -> int:
    assert tokenizer is not None  # only corpora that come after the tokenizer are counted
    return len(tokenizer.render(record)[0])

  source = design.config.sources[name]
  handbooks = design.handbooks_of(source)
  streamed = stream_records(
    name, source, design.world, handbooks, tokens, count_tokens, design.config.max_left_out
  )
  few = KeptIfFew(streamed, MANY_RECORDS)
  about = {'name': name, 'fingerprint': fingerprint, 'recipe': dataclasses.asdict(source)}
  card = corpora.write_corpus(path, few, about)
  say(f'data       {name}: {card["records"]:,} {card["kind"]}')
  return Corpus(name, path, fingerprint, card, few.records)


def _prepare_tokenizer(design: Design, folder: Path, ready: Mapping[str, Corpus]) -> Path:
  """Trains the tokenizer if it is not there, and returns the path of its model.

  Raises DataError if the file on disk is not the one that was trained.
  """
  settings = design.config.tokenizer
  sources = [ready[name] for name in settings.sources]
  identity = digest(str(settings.vocab_size), *(corpus.fingerprint for corpus in sources))
  path = folder / f'tokenizer-{identity}.model'
  checksum_path = path.with_suffix('.sha256')
  if not (path.exists() and checksum_path.exists()):
    write_atomically(path, train_sentencepiece(_lines_of(sources), settings.vocab_size))
    write_atomically(checksum_path, hashlib.sha256(path.read_bytes()).hexdigest().encode())
    say(f'data       tokenizer: {settings.vocab_size:,} pieces')
  # Compared as bytes: a damaged checksum may be no text.
  if hashlib.sha256(path.read_bytes()).hexdigest().encode() != checksum_path.read_bytes():
    raise DataError(
      f'the tokenizer {path} changed after it was trained, or its hash {checksum_path.name} did; '
      f'delete it and run again: it is trained anew, as it was'
    )
  return path


def _lines_of(sources: Sequence[Corpus]) -> Iterator[str]:
  for corpus in sources:
    for record in corpus.records():
      yield from leaks.record_text(record).split('\n')


def _with_vocabulary(model: ModelConfig, tokenizer: Tokenizer) -> ModelConfig:
  """The model's settings with the size of the vocabulary filled in. Raises ConfigError."""
  vocab_size = model.vocab_size
  if not vocab_size:
    vocab_size = -(-tokenizer.vocab_size // VOCAB_MULTIPLE) * VOCAB_MULTIPLE
  if vocab_size < tokenizer.vocab_size:
    raise ConfigError(
      f'model.vocab_size={vocab_size} is smaller than the tokenizer '
      f'({tokenizer.vocab_size} pieces); set it to 0 or more'
    )
  return dataclasses.replace(model, vocab_size=vocab_size)


def _model_of_weights(config: ExperimentConfig, folder: Path) -> ModelConfig:
  """The settings of the model that a folder holds.

  Raises ConfigError for a setting that comes with the weights, and WeightsError for weights that
  are not understood.
  """
  for field in dataclasses.fields(ModelConfig):
    is_given = getattr(config.model, field.name) != field.default
    if is_given and field.name not in OPEN_WITH_WEIGHTS:
      raise ConfigError(
        f'model.{field.name} comes with the weights; leave it out '
        f'(yours to set are {", ".join(OPEN_WITH_WEIGHTS)})'
      )
  open_settings = {name: getattr(config.model, name) for name in OPEN_WITH_WEIGHTS}
  model = huggingface.read_config(folder, **open_settings)
  # Phases that no arm goes through are not trained, so their adapters may be of any kind.
  for name in dict.fromkeys(itertools.chain(*config.paths)):
    adapter = config.phases[name].adapter
    if adapter:
      _check_adapter(name, adapter, model)
  huggingface.check_tensors(huggingface.TensorFiles(folder), model)
  # Raises ConfigError for adapters in layers that these weights do not have.
  _ = model.adapted_layers
  return model


def _check_adapter(phase: str, adapter: str, model: ModelConfig) -> None:
  """Raises ConfigError if an adapter's settings differ from the model's; dropout may differ."""
  assert model.lora is not None  # the config's check refuses an adapter without model.lora
  found = dataclasses.replace(peft.read_config(adapter), dropout=model.lora.dropout)
  # Targets may stand in any order, and all layers may be named or left out.
  has_same_targets = set(found.targets) == set(model.lora.targets)
  has_same_layers = (found.layers or tuple(range(model.n_layers))) == model.adapted_layers
  has_same_rest = (found.rank, found.alpha) == (model.lora.rank, model.lora.alpha)
  if not (has_same_targets and has_same_layers and has_same_rest):
    raise ConfigError(
      f'phases.{phase}.adapter is {found} and model.lora {model.lora}; make them alike'
    )
