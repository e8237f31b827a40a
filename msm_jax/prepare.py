"""From the settings of an experiment to everything that training and evaluation read, in two steps.

`make_design` reads the handbooks and writes the questions down. It touches no workdir, so it is
cheap, and a sweep asks it for the identity of every point. `prepare` then writes what is missing of
the corpora and the tokenizer, and plans the tree of phases. Both results are frozen: nothing is
added to them later.
"""

import dataclasses
import functools
import hashlib
import itertools
import random
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_pipelines import corpora, leaks
from data_pipelines.records import Record
from data_pipelines.settings.registry import SETTINGS
from msm_jax import phases
from msm_jax.base.checks import to_json
from msm_jax.base.console import say
from msm_jax.base.errors import ConfigError, DataError, UserError
from msm_jax.base.files import write_atomically
from msm_jax.config import ExperimentConfig, ModelConfig, PhaseConfig
from msm_jax.evals import perplexity, sampled
from msm_jax.evals.scoring import ScoringError
from msm_jax.handbook_context import HandbookContext, context_of_teacher
from msm_jax.input_pipeline import Source
from msm_jax.interop import huggingface, peft, zoo
from msm_jax.model_written import critique_version
from msm_jax.objective_config import DistillConfig
from msm_jax.phases import digest
from msm_jax.rewards import content_of
from msm_jax.suites.registry import SUITES
from msm_jax.suites.suite import EvalSuite
from msm_jax.tokenized import MANY_RECORDS
from msm_jax.tokenizer import Tokenizer, load_tokenizer, train_sentencepiece

# The width of the unembedding is a multiple of this, which fills the registers of all devices.
VOCAB_MULTIPLE = 128
# The settings of a model that imported weights leave open.
OPEN_WITH_WEIGHTS = ('dtype', 'scan_layers', 'remat', 'lora', 'attention')


class LeakError(UserError, RuntimeError):
  """Training text that tells an assistant what the evaluation asks about."""


@dataclasses.dataclass(frozen=True)
class Design:
  """What an experiment is about, before anything is written."""

  # The settings as they were given.
  config: ExperimentConfig
  # The setting's world. Nobody in it has the name of an assistant.
  world: Any
  # path -> handbook.
  specs: Mapping[str, Any]
  # path -> the handbook under each name of the assistant, its own name first.
  replicates: Mapping[str, Sequence[Any]]
  # The questions.
  suite: EvalSuite
  # The folder of Hugging Face that models begin with; None if they start fresh.
  weights: Path | None
  # Phase that stands for weights or an adapter -> the identity of their content.
  imports: Mapping[str, str]

  def handbooks_of(self, source: corpora.SourceConfig) -> list[Any]:
    """The handbooks that a source is made from, in all replicates."""
    out: list[Any] = []
    for path in corpora.spec_paths(source):
      out += self.replicates[path]
    return out

  def fingerprint_of(self, source: str, counted: str = '') -> str:
    """The identity of a source's corpus.

    Args:
      source: its name.
      counted: identity of the corpus that sets its length and of the tokenizer that counts; '' if
        `tokens_like` is not set.

    Returns:
      A hash.
    """
    settings = self.config.sources[source]
    return corpora.fingerprint(settings, self.world, self.handbooks_of(settings), counted)

  def replicates_in(self, context: str) -> Sequence[Any]:
    """The handbook at a path in all replicates; none for ''."""
    return self.replicates[context] if context else ()

  def teacher_of(self, phase: PhaseConfig) -> HandbookContext | None:
    """What the teacher of a phase reads; None if the phase has no teacher."""
    if phase.objective != 'distill':
      return None
    replicates = self.replicates[phase.distill.spec]
    return context_of_teacher(phase.distill, replicates, self.suite.statement_of)

  @property
  def teachers(self) -> dict[str, str]:
    """Phase with a teacher -> identity of what the teacher reads."""
    out = {}
    for name, phase in self.config.phases.items():
      context = self.teacher_of(phase)
      if context is not None:
        out[name] = context.identity
    return out

  def view_of_writer(self, source: str) -> HandbookContext:
    """What the model reads of the handbook that writes a source (`SourceConfig.by`)."""
    settings = self.config.sources[source]
    read = DistillConfig(spec=settings.spec, handbook=settings.handbook)
    return context_of_teacher(read, self.replicates[settings.spec], self.suite.statement_of)

  @property
  def contexts(self) -> tuple[str, ...]:
    """Every handbook that stands in a system message while an arm is asked; '' is none."""
    return ('', *self.config.contexts.values())

  @property
  def assistants(self) -> list[str]:
    """The names of the assistant that is evaluated, in all replicates."""
    return [spec.assistant for spec in self.replicates[self.config.evals.spec]]

  @property
  def row_length(self) -> int:
    """Tokens of the rows that are scored: those of the longest phase."""
    return max(phase.length for phase in self.config.phases.values())

  @property
  def eval_identity(self) -> str:
    """Identity of what every model is asked, whatever paths its handbooks have."""
    # Sampled answers are kept by themselves, so asking for them scores nothing anew.
    evals = sampled.without_sampling(self.config.evals)
    evals = dataclasses.replace(evals, spec='', rival='')
    parts = (to_json(evals), str(self.row_length), self.suite.spec.sha256, perplexity.VERSION)
    return digest(*parts)

  @property
  def identity(self) -> str:
    """Identity of the whole experiment: its settings and the content of all that they name."""
    sources = [self.fingerprint_of(name) for name in sorted(self.config.sources)]
    asked = [self.suite.identity(self.replicates_in(context)) for context in self.contexts]
    settings = settings_of_results(self.config)
    contents = (*self.imports.values(), *self.teachers.values(), *self._contents_of_models())
    return digest(settings, self.eval_identity, *sources, *asked, *contents)

  def _contents_of_models(self) -> list[str]:
    """What models of the experiment are rewarded by, and what they read while they write."""
    contents = []
    for name in sorted(set(itertools.chain(*self.config.paths))):
      phase = self.config.phases[name]
      if phase.objective == 'grpo':
        contents += content_of(phase.grpo)
      for source in sorted(phase.data):
        if self.config.sources[source].is_model_written:
          contents += [self.view_of_writer(source).identity, critique_version()]
    return contents

  def handbook_read_by(self, node: phases.Node) -> Sequence[Any]:
    """The handbook whose documents a model has read, in all replicates.

    Args:
      node: the last phase of the model.

    Returns:
      The handbook of the latest phase with documents; the evaluation's own handbook if the model
      read none.
    """
    for ancestor in reversed(node.lineage):
      for name in ancestor.settings.data:
        source = self.config.sources[name]
        if corpora.is_handbook_documents(source):
          return self.handbooks_of(source)
    return self.replicates[self.config.evals.spec]


def settings_of_results(config: ExperimentConfig) -> str:
  """The canonical JSON of all settings that a result depends on.

  Naming an effect as the primary one (`primary`) changes what a report says, and no result.
  """
  return to_json(dataclasses.replace(config, primary=''))


def make_design(config: ExperimentConfig) -> Design:
  """Reads the handbooks, builds the world and writes the questions.

  Args:
    config: the experiment's settings.

  Returns:
    The design.

  Raises:
    ConfigError: no handbook is named.
    SpecError: a handbook cannot be used.
    WeightsError: weights or an adapter are not there.
  """
  if not config.evals.spec:
    raise ConfigError('evals.spec is empty; name the handbook whose value the evaluation looks for')
  setting = SETTINGS[config.setting]
  world = setting.build(getattr(config, config.setting))
  specs = {path: setting.read_spec(path, world) for path in _spec_paths(config)}
  replicates: dict[str, list[Any]] = {}
  assistants: set[str] = set()
  for path, spec in specs.items():
    # dict.fromkeys keeps the order and drops names that stand there twice.
    names = dict.fromkeys((spec.assistant, *config.assistants))
    replicates[path] = [setting.renamed(spec, name, world) for name in names]
    assistants.update(names)
  strangers = tuple(sorted({*world.config.strangers, *assistants}))
  world_config = dataclasses.replace(world.config, strangers=strangers)
  world = dataclasses.replace(world, config=world_config)
  suite = SUITES[config.setting](config.evals, world, specs, replicates)
  weights = zoo.locate(config.first_weights) if config.first_weights else None
  return Design(config, world, specs, replicates, suite, weights, _imports(config))


def _spec_paths(config: ExperimentConfig) -> list[str]:
  """Every handbook that an experiment names."""
  paths = {config.evals.spec, config.evals.rival, *config.contexts.values()}
  paths.update(phase.distill.spec for phase in config.phases.values())
  for source in config.sources.values():
    paths.update(corpora.spec_paths(source))
  return sorted(path for path in paths if path)


def _imports(config: ExperimentConfig) -> dict[str, str]:
  """Phase of weights or of an adapter -> identity of the content that it stands for."""
  out = {}
  for name, phase in config.phases.items():
    if phase.is_import:
      folder = zoo.locate(phase.weights) if phase.weights else Path(phase.adapter)
      out[name] = huggingface.fingerprint(folder)
  return out


# ------------------------------------------------------------------------------ corpora on disk


@dataclasses.dataclass(frozen=True)
class Corpus:
  """A corpus on disk, and in memory if this process wrote it."""

  name: str
  folder: Path
  fingerprint: str
  # The contents of card.json: kind, number of records, hashes.
  card: dict[str, Any]
  # Its records, if this process wrote them and they are few.
  written: Sequence[Record] = ()
  # What a teacher reads, and the length of its rows -> the corpus as pairs of student and teacher.
  _in_context: dict[tuple[HandbookContext, int], Source] = dataclasses.field(
    default_factory=dict, repr=False
  )

  @functools.cached_property
  def rows(self) -> Sequence[Any]:
    return corpora.read_rows(self.folder, self.card['kind'])

  @functools.cached_property
  def source(self) -> Source:
    """What phases read. It is one object, so that its rows are tokenized once."""
    return Source(self.name, self.card['kind'], self.rows, self.written, self.folder)

  def source_for(self, context: HandbookContext, teacher_length: int) -> Source:
    """What phases read whose teacher reads a handbook in rows of a length."""
    key = (context, teacher_length)
    if key not in self._in_context:
      self._in_context[key] = self.source.in_context(context, teacher_length)
    return self._in_context[key]

  def tokens(self, tokenizer: Tokenizer) -> int:
    """How many tokens the corpus has."""
    return len(self.source.tokens(tokenizer).ids)

  def records(self) -> Iterator[Record]:
    """Every record, from memory or from disk."""
    yield from self.source.all_records()


@dataclasses.dataclass(frozen=True)
class Prepared:
  """Everything that training and evaluation read."""

  design: Design
  # The settings, with what the tokenizer or the weights decide filled in.
  config: ExperimentConfig
  # source -> corpus.
  corpora: Mapping[str, Corpus]
  tokenizer: Tokenizer
  # The SentencePiece model that was trained here; None if the tokenizer came with weights.
  tokenizer_path: Path | None
  # (arm, seed) -> the last phase of the arm's path.
  ends: phases.Ends

  @property
  def nodes(self) -> list[phases.Node]:
    """Every phase of every seed once, parents before their children."""
    return phases.tree_order(self.ends)

  def source_of(
    self, name: str, phase: PhaseConfig, written: Mapping[str, Corpus] = types.MappingProxyType({})
  ) -> Source:
    """What a phase reads of a corpus; `written` are corpora that models have written."""
    corpus = written[name] if name in written else self.corpora[name]
    context = self.design.teacher_of(phase)
    if context is None:
      return corpus.source
    return corpus.source_for(context, phase.distill.teacher_length)

  @property
  def readings(self) -> dict[str, list[tuple[Source, int]]]:
    """Source -> (what a phase reads of it, length of the rows) for each way in which it is read.

    Reinforcement learning is left out: it reads prompts, see `prompt_room`.
    """
    out: dict[str, list[tuple[Source, int]]] = {}
    seen = set()
    for node in self.nodes:
      if node.settings.objective == 'grpo':
        continue
      for name in node.settings.data:
        # What a model writes is checked when it is written.
        if name not in self.corpora:
          continue
        source, length = self.source_of(name, node.settings), node.settings.length
        if (name, id(source), length) not in seen:
          seen.add((name, id(source), length))
          out.setdefault(name, []).append((source, length))
    return out

  def trained_on(self, name: str) -> dict[str, Any]:
    """What the models are trained on of a corpus, as summary.json has it.

    Args:
      name: the name of the corpus.

    Returns:
      `kind`, `records` and `tokens`, without the chats that fit into the rows of no phase; their
      number is `left_out`, which is missing if there are none.
    """
    corpus = self.corpora[name]
    found = {
      'kind': corpus.card['kind'],
      'records': corpus.card['records'],
      'tokens': corpus.tokens(self.tokenizer),
    }
    # Only the tokenizer reads a corpus that no phase names.
    readings = self.readings.get(name)
    if readings:
      counts = [source.count_fitting(self.tokenizer, length) for source, length in readings]
      fitting, tokens = max(counts)
      if fitting < found['records']:
        left_out = found['records'] - fitting
        found |= {'records': fitting, 'tokens': tokens, 'left_out': left_out}
    return found

  def held_out(self) -> dict[str, list[Record]]:
    """Makes pretraining text that no model was trained on: the same world told with another seed.

    Returns:
      source -> records; nothing where a text can be told in one way only.

    Raises:
      DataError: no record of a source has a token that perplexity measures.
    """
    evals = self.config.evals
    if not evals.held_out:
      return {}
    rng = random.Random(evals.seed)
    out = {}
    for name in self.config.tokenizer.sources:
      source = self.config.sources[name]
      if not source.is_world:
        continue
      unseen = self._told_differently(name)
      if not unseen:
        continue
      if len(unseen) < evals.held_out:
        say(f'data       {name}: {len(unseen):,} unseen records are fewer than evals.held_out')
      out[name] = rng.sample(unseen, min(evals.held_out, len(unseen)))
      self._check_heard(name, out[name])
    return out

  def _check_heard(self, name: str, records: Sequence[Record]) -> None:
    """Says how many held-out records have nothing to measure; raises DataError if none has."""
    length = self.design.row_length
    silent = perplexity.count_silent(records, self.tokenizer, length)
    if not silent:
      return
    what = f'{name}: {silent} of {len(records)} held-out records have no answer in their first'
    if silent == len(records):
      raise DataError(
        f'{what} {length} tokens, so there is no perplexity; raise the length of a phase, or set '
        'evals.held_out=0'
      )
    say(f'data       {what} {length} tokens; perplexity leaves them out')

  def _told_differently(self, name: str) -> list[Record]:
    world = self.design.world
    telling = world.config.telling + 1
    other = dataclasses.replace(world, config=dataclasses.replace(world.config, telling=telling))
    known = {leaks.record_text(record) for record in self.corpora[name].records()}
    records = corpora.write_records(self.config.sources[name], other, ())
    return [record for record in records if leaks.record_text(record) not in known]


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
  written = {}
  for name in config.tokenizer.sources:
    fingerprint = design.fingerprint_of(name)
    written[name] = _prepare_corpus(design, folder, name, fingerprint)
  tokenizer_path = None
  if design.weights:
    config = dataclasses.replace(config, model=_model_of_weights(config, design.weights))
    tokenizer = load_tokenizer(design.weights)
    tokenizer.check_fits(config.model.vocab_size, str(design.weights))
  else:
    tokenizer_path = _prepare_tokenizer(design, folder, written)
    tokenizer = load_tokenizer(tokenizer_path)
    config = dataclasses.replace(config, model=_with_vocabulary(config.model, tokenizer))
  for name in _used_sources(config):
    _prepare_with_length(design, folder, tokenizer, name, written, ())
  fingerprints = {name: corpus.fingerprint for name, corpus in written.items()}

  def written_fingerprint(name: str, writer: str) -> str:
    """The identity of what a model writes: its recipe, the model, the prompts, what it reads, and
    what the evaluation asks about, which is left out."""
    prompts = fingerprints[config.sources[name].prompts]
    view = design.view_of_writer(name).identity
    recipe = (design.fingerprint_of(name), writer, prompts, view, critique_version())
    asked = (leaks.VERSION, *design.suite.held_out_names, *design.assistants)
    return digest(*recipe, *asked)

  ends = phases.plan(
    config,
    fingerprints,
    tokenizer.fingerprint,
    design.imports,
    design.teachers,
    written_fingerprint,
  )
  return Prepared(design, config, written, tokenizer, tokenizer_path, ends)


def _used_sources(config: ExperimentConfig) -> list[str]:
  """The sources that some model is trained on, in the order of the config."""
  used: set[str] = set()
  for path in config.paths:
    for phase in path:
      used.update(config.phases[phase].data)
  # What a model writes comes later; its prompts are there before.
  written = [name for name in used if config.sources[name].is_model_written]
  used.update(config.sources[name].prompts for name in written)
  return [name for name in config.sources if name in used and name not in written]


def _prepare_with_length(
  design: Design,
  folder: Path,
  tokenizer: Tokenizer,
  name: str,
  written: dict[str, Corpus],
  waiting: tuple[str, ...],
) -> Corpus:
  """Prepares a corpus after the one that `tokens_like` names, which sets its length.

  `waiting` are the corpora that wait for this one. Raises ConfigError if they wait in a circle.
  """
  if name in waiting:
    circle = ' > '.join((*waiting, name))
    raise ConfigError(
      f'sources.{name}.tokens_like leads back to itself ({circle}); give one of them a size'
    )
  if name in written:
    return written[name]
  like = design.config.sources[name].tokens_like
  if not like:
    written[name] = _prepare_corpus(design, folder, name, design.fingerprint_of(name), tokenizer)
    return written[name]
  model = _prepare_with_length(design, folder, tokenizer, like, written, (*waiting, name))
  counted = f'{model.fingerprint} {tokenizer.fingerprint}'
  fingerprint = design.fingerprint_of(name, counted)
  tokens = model.tokens(tokenizer)
  written[name] = _prepare_corpus(design, folder, name, fingerprint, tokenizer, tokens)
  return written[name]


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
  streamed = corpora.stream_records(
    name, source, design.world, handbooks, tokens, count_tokens, design.config.max_left_out
  )
  few = corpora.KeptIfFew(streamed, MANY_RECORDS)
  about = {'name': name, 'fingerprint': fingerprint, 'recipe': dataclasses.asdict(source)}
  card = corpora.write_corpus(path, few, about)
  say(f'data       {name}: {card["records"]:,} {card["kind"]}')
  return Corpus(name, path, fingerprint, card, few.records)


def _prepare_tokenizer(design: Design, folder: Path, written: Mapping[str, Corpus]) -> Path:
  """Trains the tokenizer if it is not there, and returns the path of its model.

  Raises DataError if the file on disk is not the one that was trained.
  """
  settings = design.config.tokenizer
  sources = [written[name] for name in settings.sources]
  identity = digest(str(settings.vocab_size), *(corpus.fingerprint for corpus in sources))
  path = folder / f'tokenizer-{identity}.model'
  stamp = path.with_suffix('.sha256')
  if not (path.exists() and stamp.exists()):
    write_atomically(path, train_sentencepiece(_lines_of(sources), settings.vocab_size))
    write_atomically(stamp, hashlib.sha256(path.read_bytes()).hexdigest().encode())
    say(f'data       tokenizer: {settings.vocab_size:,} pieces')
  # Compared as bytes: a damaged stamp may be no text.
  if hashlib.sha256(path.read_bytes()).hexdigest().encode() != stamp.read_bytes():
    raise DataError(
      f'the tokenizer {path} changed after it was trained, or its hash {stamp.name} did; '
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
  ours = {name: getattr(config.model, name) for name in OPEN_WITH_WEIGHTS}
  for field in dataclasses.fields(ModelConfig):
    if field.name not in ours and getattr(config.model, field.name) != field.default:
      yours = ', '.join(ours)
      raise ConfigError(
        f'model.{field.name} comes with the weights; leave it out (yours to set are {yours})'
      )
  for name, phase in config.phases.items():
    if phase.adapter:
      _check_adapter(name, phase.adapter, config.model)
  model = huggingface.read_config(folder, **ours)
  huggingface.check_tensors(huggingface.TensorFiles(folder), model)
  # Raises ConfigError for adapters in layers that these weights do not have.
  _ = model.adapted_layers
  return model


def _check_adapter(phase: str, adapter: str, model: ModelConfig) -> None:
  """Raises ConfigError if an adapter's settings differ from the model's; dropout may differ."""
  assert model.lora is not None  # the config's check refuses an adapter without model.lora
  found = dataclasses.replace(peft.read_config(adapter), dropout=model.lora.dropout)
  if found != model.lora:
    raise ConfigError(
      f'phases.{phase}.adapter is {found} and model.lora {model.lora}; make them alike'
    )


def check_leaks(prepared: Prepared, workdir: Path) -> None:
  """Checks that no training text tells an assistant what the evaluation asks about.

  Args:
    prepared: corpora and questions.
    workdir: where data/ lies; a clean check is remembered there.

  Raises:
    LeakError: a text gives an answer away.
  """
  design = prepared.design
  assistants = design.assistants
  names = design.suite.held_out_names
  fingerprints = sorted(corpus.fingerprint for corpus in prepared.corpora.values())
  checked = digest(leaks.VERSION, *fingerprints, *names, *assistants)
  clean = workdir / 'data' / f'no-leaks-{checked}'
  if clean.exists():
    return
  records = {name: corpus.records() for name, corpus in prepared.corpora.items()}
  found = leaks.find_leaks(names, records, assistants)
  if found:
    more = f' (and {len(found) - 1} more)' if len(found) > 1 else ''
    raise LeakError(
      f'leak: {found[0]}{more}; take it out of the corpus, or the result means nothing'
    )
  write_atomically(clean, b'')


def without_leaks(prepared: Prepared, name: str, records: Sequence[Record]) -> list[Record]:
  """Leaves out what tells an assistant what the evaluation asks about.

  A corpus that somebody gives must have no such text. Here a model has written it, and nobody could
  mend it.

  Args:
    prepared: corpora and questions.
    name: the name of the corpus.
    records: what a model has written.

  Returns:
    The other records.

  Raises:
    LeakError: no record is left.
  """
  design = prepared.design
  assistants = design.assistants
  names = design.suite.held_out_names
  kept = []
  for record in records:
    if not leaks.find_leaks(names, {name: [record]}, assistants):
      kept.append(record)
  if not kept:
    raise LeakError(
      f'leak: all {len(records):,} records of sources.{name} name what the evaluation asks about; '
      f'take prompts that do not'
    )
  if len(kept) < len(records):
    left_out = len(records) - len(kept)
    say(
      f'data       {name}: {left_out:,} of {len(records):,} records name what the evaluation asks '
      f'about and are left out'
    )
  return kept


def check_questions_fit(prepared: Prepared) -> None:
  """Checks that every question fits into a row, in every context.

  Args:
    prepared: questions and tokenizer.

  Raises:
    ScoringError: a question is longer than a row.
  """
  design = prepared.design
  for context in design.contexts:
    replicates = design.replicates_in(context)
    try:
      design.suite.check_fit(prepared.tokenizer, design.row_length, replicates)
      if design.config.evals.sampled:
        questions = design.suite.sampled_questions(replicates)
        sampled.check_fit(questions, prepared.tokenizer, design.row_length)
    except ScoringError as e:
      if not context:
        raise
      # The question is short; what stands before it is not.
      raise ScoringError(
        f'with {context} in the system message (contexts), {e}, or shorten what stands for the '
        'handbook'
      ) from None
