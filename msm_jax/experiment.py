"""An experiment is arms x seeds; an arm is a path of phases; phases form a tree and each is trained once.

A phase's identity is the hash of its own settings, its data's fingerprints, the seed and its parent's identity. Its folder is named by it:
arms share what they share, a change of anything trains anew, and running the same command again goes on where the last run ended.
"""

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import os
import random
import shutil
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

import msm_jax
from data_pipelines import corpora, leaks
from data_pipelines.records import Record
from data_pipelines.settings.registry import SETTINGS, AnySpec
from msm_jax import checkpointing, multihost, report, sharding, train, zoo
from msm_jax import config as configs
from msm_jax.base import checks
from msm_jax.base.console import say
from msm_jax.base.errors import ConfigError, DataError, UserError
from msm_jax.base.files import write_atomically
from msm_jax.config import ExperimentConfig, ModelConfig, PhaseConfig
from msm_jax.evals import perplexity, scoring
from msm_jax.evals import summary as results
from msm_jax.inference import open_model as arms
from msm_jax.input_pipeline import Source, row_to_record
from msm_jax.interop import huggingface, peft
from msm_jax.model import count_params
from msm_jax.suites.readings import READINGS
from msm_jax.tokenizer import Tokenizer, train_sentencepiece


class ExperimentError(UserError, RuntimeError):
  """An experiment that cannot run or must not be believed; one line with cause and mend."""


@dataclasses.dataclass(frozen=True)
class Node:
  """A phase at its place in the tree, with one seed."""

  phase: str
  settings: PhaseConfig
  seed: int
  parent: 'Node | None'
  id: str

  @property
  def folder_name(self) -> str:
    return f'{self.phase}-s{self.seed}-{self.id}'


@dataclasses.dataclass(frozen=True)
class Corpus:
  """A corpus on disk, and in memory if this process wrote it."""

  name: str
  folder: Path
  fingerprint: str
  card: dict[str, Any]
  written: Sequence[Record] = ()

  @functools.cached_property
  def rows(self) -> Sequence[Any]:
    return corpora.read_rows(self.folder, self.card['kind'])

  @functools.cached_property
  def source(self) -> Source:
    """What phases read; one object, so that its rows are tokenized once."""
    return Source(self.name, self.card['kind'], self.rows, self.written, self.folder)

  def tokens(self, tokenizer: Tokenizer) -> int:
    return len(self.source.tokens(tokenizer).ids)

  def records(self) -> Iterator[Record]:
    return (
      iter(self.written)
      if self.written
      else (row_to_record(self.rows[i], self.card['kind']) for i in range(len(self.rows)))
    )


def digest(*parts: str) -> str:
  return hashlib.sha256('\0'.join(parts).encode()).hexdigest()[:12]


def plan(
  config: ExperimentConfig,
  fingerprints: dict[str, str],
  tokenizer: str,
  imports: Mapping[str, str] = types.MappingProxyType({}),
) -> dict[tuple[str, int], Node]:
  """(arm, seed) -> the last node of the arm's path. Nodes of shared prefixes are equal, so they have one folder.

  `imports`: what each phase of weights or of an adapter stands for, by content.
  """
  common = [checks.to_json(c) for c in (config.model, config.optimizer)] + [tokenizer]
  ends = {}
  in_order = sorted(
    config.arms.items(), key=lambda a: (len(configs.path_of(a[1])), a[0])
  )  # short paths first, in reports too
  for seed in config.seeds:
    for arm, path in in_order:
      node = None
      for phase in configs.path_of(path):
        settings = config.phases[phase]
        data = [
          f'{name} {fingerprints[name]} {share}' for name, share in sorted(settings.data.items())
        ]
        # what changes how often one saves, or when one refuses to start, changes no result
        neutral = dataclasses.replace(
          settings, checkpoint_every=1, min_updates=0, weights=imports.get(phase, ''), adapter=''
        )
        parent = node.id if node else ''
        node = Node(
          phase,
          settings,
          seed,
          node,
          digest(phase, checks.to_json(neutral), *data, str(seed), parent, *common),
        )
      ends[arm, seed] = node
  return ends


def tree_order(ends: dict[tuple[str, int], Node]) -> list[Node]:
  """Every node once, parents first."""
  order: dict[str, Node] = {}

  def add(node: Node | None) -> None:
    if node is not None and node.id not in order:
      add(node.parent)
      order[node.id] = node

  for node in ends.values():
    add(node)
  return list(order.values())


class Experiment:
  """Everything of one experiment that lives in a workdir."""

  def __init__(
    self, config: ExperimentConfig, workdir: Path, stop: Callable[[], bool] = lambda: False
  ):
    self.config, self.workdir, self.stop = config, workdir, stop
    self.outputs = workdir  # where results go; experiments that share phases have one workdir, and a folder each for these
    if not config.evals.spec:
      raise ConfigError(
        'evals.spec is empty; name the handbook whose value the evaluation looks for'
      )
    setting = SETTINGS[config.setting]
    self.world = setting.build(getattr(config, config.setting))
    paths = {p for s in config.sources.values() for p in corpora.spec_paths(s)} | {
      p for p in (config.evals.spec, config.evals.rival, *config.contexts.values()) if p
    }
    self.specs: dict[str, AnySpec] = {p: setting.read_spec(p, self.world) for p in sorted(paths)}
    self.replicates: dict[str, list[AnySpec]] = {
      p: [
        setting.renamed(s, name, self.world)
        for name in dict.fromkeys((s.assistant, *config.assistants))
      ]
      for p, s in self.specs.items()
    }
    strangers = tuple(
      sorted(
        {
          *self.world.config.strangers,
          *(s.assistant for of_one in self.replicates.values() for s in of_one),
        }
      )
    )
    self.world = dataclasses.replace(
      self.world, config=dataclasses.replace(self.world.config, strangers=strangers)
    )
    self.reading = READINGS[config.setting](config.evals, self.world, self.specs, self.replicates)
    self.corpora: dict[str, Corpus] = {}
    self.weights = (
      zoo.locate(config.first_weights) if config.first_weights else None
    )  # the folder that the model comes from

  # ---- data

  def prepare_data(self) -> None:
    """Writes what is missing of the corpora and the tokenizer, and checks what is there."""
    folder = self.workdir / 'data'
    folder.mkdir(parents=True, exist_ok=True)
    first = list(self.config.tokenizer.sources)
    fingerprints = {n: self._fingerprint(n, '') for n in first}
    # the text that the tokenizer learns from comes first; it needs no tokens counted
    for name in first:
      self._prepare_corpus(folder, name, fingerprints[name], None)
    if self.weights:
      self.config = dataclasses.replace(self.config, model=self._model_of_weights(self.weights))
      self.tokenizer = Tokenizer.load(self.weights)
    else:
      self.tokenizer = self._prepare_tokenizer(folder, fingerprints)
      vocab = self.config.model.vocab_size or -(-self.tokenizer.vocab_size // 128) * 128
      if vocab < self.tokenizer.vocab_size:
        raise ConfigError(
          f'model.vocab_size={vocab} is smaller than the tokenizer ({self.tokenizer.vocab_size} pieces); set it to 0 or more'
        )
      self.config = dataclasses.replace(
        self.config, model=dataclasses.replace(self.config.model, vocab_size=vocab)
      )
    used = {
      s
      for p in self.config.arms.values()
      for phase in configs.path_of(p)
      for s in self.config.phases[phase].data
    }
    for name in self.config.sources:
      if name in used:
        self._prepare_with_like(folder, name, ())

  def _model_of_weights(self, folder: Path) -> ModelConfig:
    """Raises ConfigError for settings that come with the weights, WeightsError for weights that are not understood."""
    ours = {k: getattr(self.config.model, k) for k in ('dtype', 'scan_layers', 'remat', 'lora')}
    for f in dataclasses.fields(ModelConfig):
      if f.name not in ours and getattr(self.config.model, f.name) != f.default:
        raise ConfigError(
          f'model.{f.name} comes with the weights; leave it out (yours to set are {", ".join(ours)})'
        )
    for name, phase in self.config.phases.items():
      if (
        phase.adapter
        and (
          found := dataclasses.replace(
            peft.read_config(phase.adapter), dropout=ours['lora'].dropout
          )
        )
        != ours['lora']
      ):
        raise ConfigError(
          f'phases.{name}.adapter is {found} and model.lora {ours["lora"]}; make them alike'
        )
    model = huggingface.read_config(folder, **ours)
    huggingface.check_tensors(huggingface.TensorFiles(folder), model)
    return model

  @functools.cached_property
  def imports(self) -> dict[str, str]:
    """What phases of weights and of adapters stand for, by content."""
    folders = {
      n: zoo.locate(p.weights) if p.weights else Path(p.adapter)
      for n, p in self.config.phases.items()
      if p.is_import
    }
    return {n: huggingface.fingerprint(f) for n, f in folders.items()}

  def _prepare_with_like(self, folder: Path, name: str, waiting: tuple[str, ...]) -> Corpus:
    if name in waiting:
      raise ConfigError(
        f'sources.{name}.tokens_like leads back to itself ({" > ".join((*waiting, name))}); give one of them a size'
      )
    if name in self.corpora:
      return self.corpora[name]
    like = self.config.sources[name].tokens_like
    model = self._prepare_with_like(folder, like, (*waiting, name)) if like else None
    fingerprint = self._fingerprint(
      name, f'{model.fingerprint} {self.tokenizer.fingerprint}' if model else ''
    )
    return self._prepare_corpus(folder, name, fingerprint, model)

  def _fingerprint(self, name: str, like: str) -> str:
    source = self.config.sources[name]
    return corpora.fingerprint(source, self.world, self._handbooks(source), like)

  def _handbooks(self, source: corpora.SourceConfig) -> list[AnySpec]:
    return [s for p in corpora.spec_paths(source) for s in self.replicates[p]]

  def _prepare_corpus(
    self, folder: Path, name: str, fingerprint: str, like: Corpus | None
  ) -> Corpus:
    path = folder / f'{name}-{fingerprint}'
    card, records = corpora.read_card(path), []
    if card is None:
      source = self.config.sources[name]
      tokens = like.tokens(self.tokenizer) if like else 0
      records = corpora.make_records(
        name,
        source,
        self.world,
        self._handbooks(source),
        tokens,
        lambda r: len(self.tokenizer.render(r)[0]),
      )
      card = corpora.write_corpus(
        path,
        records,
        {'name': name, 'fingerprint': fingerprint, 'recipe': dataclasses.asdict(source)},
      )
      say(f'data       {name}: {card["records"]:,} {card["kind"]}')
    self.corpora[name] = Corpus(name, path, fingerprint, card, records)
    return self.corpora[name]

  def _prepare_tokenizer(self, folder: Path, fingerprints: dict[str, str]) -> Tokenizer:
    c = self.config.tokenizer
    path = (
      folder / f'tokenizer-{digest(str(c.vocab_size), *(fingerprints[s] for s in c.sources))}.model'
    )
    stamp = path.with_suffix('.sha256')
    if not (path.exists() and stamp.exists()):
      texts = (
        t
        for s in c.sources
        for r in self.corpora[s].records()
        for t in leaks.record_text(r).split('\n')
      )
      write_atomically(path, train_sentencepiece(texts, c.vocab_size))
      write_atomically(stamp, hashlib.sha256(path.read_bytes()).hexdigest().encode())
      say(f'data       tokenizer: {c.vocab_size:,} pieces')
    self.tokenizer_path = path
    if hashlib.sha256(path.read_bytes()).hexdigest() != stamp.read_text():
      raise DataError(
        f'the tokenizer {path} changed after it was trained; delete it and run again: it is trained anew, as it was'
      )
    return Tokenizer.load(path)

  # ---- questions

  def check_leaks(self) -> None:
    """Raises ExperimentError if training text tells the assistant what the evaluation asks about. A clean check is remembered."""
    used = {n: c for n, c in self.corpora.items()}
    assistants = [s.assistant for s in self.replicates[self.config.evals.spec]]
    key = digest(*sorted(c.fingerprint for c in used.values()), *self.reading.watched, *assistants)
    clean = self.workdir / 'data' / f'no-leaks-{key}'
    if clean.exists():
      return
    found = leaks.find_leaks(
      self.reading.watched, {n: c.records() for n, c in used.items()}, assistants
    )
    if found:
      more = f' (and {len(found) - 1} more)' if len(found) > 1 else ''
      raise ExperimentError(
        f'leak: {found[0]}{more}; take it out of the corpus, or the result means nothing'
      )
    write_atomically(clean, b'')

  # ---- training and evaluation

  def folder(self, node: Node) -> Path:
    return self.workdir / 'phases' / node.folder_name

  def is_trained(self, node: Node) -> bool:
    return (
      node.settings.is_import
      or checkpointing.Checkpoints(self.folder(node) / 'checkpoints').latest()
      == node.settings.updates
    )

  def train(self, node: Node, number: str) -> None:
    folder = self.folder(node)
    folder.mkdir(parents=True, exist_ok=True)
    lineage = []
    at: Node | None = node
    while at:
      lineage.insert(0, at.folder_name)
      at = at.parent
    meta = {
      'tokenizer': self.tokenizer.fingerprint,
      'data': {n: self.corpora[n].card['content'] for n in node.settings.data},
      'lineage': lineage,
      'seed': node.seed,
      'specs': {p: s.sha256 for p, s in self.specs.items()},
      'config': json.loads(checks.to_json(self.config)),
      'versions': {'msm_jax': msm_jax.__version__}
      | {
        p: importlib.metadata.version(p)
        for p in ('jax', 'flax', 'optax', 'orbax-checkpoint', 'grain')
      },
    }
    # the world's own text first: then phases of one stream that replay the same text read it in the same order, whatever else they read
    shares = sorted(
      node.settings.data.items(),
      key=lambda item: (not self.config.sources[item[0]].is_world, item[0]),
    )
    sources = [(self.corpora[n].source, share) for n, share in shares]
    with multihost.first_process_first():  # tokenized once, for all
      for source, _ in sources:
        source.tokens(self.tokenizer)
    seed = int(digest(node.settings.stream or node.phase, str(node.seed)), 16) % 2**31
    label, parent_params = (
      f'{number} {node.phase} (seed {node.seed})',
      functools.partial(self.trained_params, node.parent) if node.parent else None,
    )
    train.train_phase(
      self.config,
      node.settings,
      label,
      seed,
      self.tokenizer,
      sources,
      parent_params,
      folder,
      meta,
      self.stop,
      self._load_weights(),
    )

  def _load_weights(self) -> Callable[[Any], Any] | None:
    return (
      functools.partial(
        huggingface.load_params, huggingface.TensorFiles(self.weights), self.config.model
      )
      if self.weights
      else None
    )

  def trained_params(self, node: Node, like: Any) -> Any:
    """What a phase leaves to the next, laid out as `like`; None for weights whose adapters are yet to be made."""
    if node.settings.weights:
      return None if self.config.model.lora else self._load_weights()(like)
    if node.settings.adapter:
      return peft.load_params(node.settings.adapter, self.config.model, like)
    checkpoints = checkpointing.Checkpoints(self.folder(node) / 'checkpoints')
    params = checkpoints.restore_params(node.settings.updates, like)
    checkpoints.close()
    return params

  def load_params(self, node: Node) -> Any:
    """All parameters of a model, frozen ones too."""
    mesh = sharding.make_mesh(**dataclasses.asdict(self.config.mesh))
    program = train.prepare(self.config.model, self.config.optimizer, self.config.loss_chunk, mesh)
    params = self.trained_params(node, program.like.params)
    if params is None:
      params = program.init(jax.random.key(node.seed)).params
    return (self._load_weights()(program.like.frozen) if program.like.frozen else {}) | params

  def _list_arms(self, trained: Mapping[tuple[str, int], Node]) -> None:
    """Writes into arms.json what `open_arm` has to know of arms that are trained to their end; what is listed from earlier runs stays."""
    if not multihost.is_first():
      return
    listed = arms.listed_arms(self.outputs)
    known = json.dumps(listed)
    for (arm, seed), node in trained.items():
      phases = [self.config.phases[p] for p in configs.path_of(self.config.arms[arm])]
      checkpoints = (
        ''
        if node.settings.is_import
        else os.path.relpath(self.folder(node) / 'checkpoints', self.outputs)
      )  # a workdir may be moved
      listed.setdefault(arm, {})[str(seed)] = {
        'path': self.config.arms[arm],
        'model': json.loads(checks.to_json(self.config.model)),
        'length': max((p.length for p in phases if not p.is_import), default=0),
        'tokenizer': os.path.relpath(self.tokenizer_path, self.outputs) if not self.weights else '',
        'weights': str(self.weights.absolute()) if self.weights else '',
        'adapter': str(Path(node.settings.adapter).absolute()) if node.settings.adapter else '',
        'checkpoints': checkpoints,
        'updates': node.settings.updates,
      }
    if json.dumps(listed) != known:
      self.outputs.mkdir(parents=True, exist_ok=True)
      write_atomically(self.outputs / 'arms.json', (json.dumps(listed, indent=1) + '\n').encode())

  def evaluate(
    self, node: Node, held_out: dict[str, list[Record]], context: str = ''
  ) -> list[dict]:
    """Rows of every evaluator for one model; kept beside its checkpoints under the hash of what was asked. `context` is the path of a handbook that
    stands in the assistants' system message."""
    in_context = self.replicates[context] if context else ()
    c = self.config.evals
    path = (
      self.folder(node) / f'evals-{digest(self.asked(), self.reading.identity(in_context))}.jsonl'
    )
    if kept := multihost.broadcast_from_first(kept_rows(path)):
      return kept
    length = self.row_length
    params = self.load_params(node)
    mesh = sharding.make_mesh(**dataclasses.asdict(self.config.mesh))
    with jax.set_mesh(mesh):
      logprobs = scoring.make_logprobs(self.config.model, params, self.tokenizer, length, c.rows)
      rows = self.reading.rows(logprobs, self.taught(node), in_context)
      rows += perplexity.held_out_loss(
        self.config.model, params, self.tokenizer, held_out, length, c.rows
      )
    path.parent.mkdir(parents=True, exist_ok=True)  # imported weights have no folder yet
    multihost.write(path, ''.join(json.dumps(r) + '\n' for r in rows))
    return rows

  @property
  def row_length(self) -> int:
    """Of rows that are scored: the longest phase's."""
    return max(p.length for p in self.config.phases.values())

  def asked(self) -> str:
    """Identity of what every model is asked, whatever paths its handbooks have."""
    c = dataclasses.replace(self.config.evals, spec='', rival='')
    return digest(
      checks.to_json(c), str(self.row_length), self.reading.spec.sha256, perplexity.VERSION
    )

  def identity(self) -> str:
    """Of the whole experiment, before anything is written: its settings and the content of everything that they name."""
    sources = [self._fingerprint(n, '') for n in sorted(self.config.sources)]
    read = [
      self.reading.identity(self.replicates[c] if c else ())
      for c in ('', *self.config.contexts.values())
    ]
    return digest(
      checks.to_json(self.config), self.asked(), *sources, *read, *self.imports.values()
    )

  def taught(self, node: Node) -> list[AnySpec]:
    """The handbook that the model read in midtraining, in all replicates; the evaluation's own if it read none."""
    sources = [self.config.sources[n] for n in node.settings.data]
    for source in sources:
      if source.spec and source.maker.endswith('.documents'):
        return self._handbooks(source)
    return self.taught(node.parent) if node.parent else self.replicates[self.config.evals.spec]

  def held_out(self) -> dict[str, list[Record]]:
    """Pretraining text that nobody was trained on: the same world told with another seed of the writer."""
    n = self.config.evals.held_out
    if not n:
      return {}
    rng = random.Random(self.config.evals.seed)
    out = {}
    for name in self.config.tokenizer.sources:
      source = self.config.sources[name]
      if source.is_world:
        other = dataclasses.replace(
          self.world,
          config=dataclasses.replace(self.world.config, telling=self.world.config.telling + 1),
        )
        known = {leaks.record_text(r) for r in self.corpora[name].records()}
        told = [
          r
          for r in corpora.MAKERS[source.maker](source, other, ())
          if leaks.record_text(r) not in known
        ]
        if told:  # some text has only one way to be told
          out[name] = rng.sample(told, min(n, len(told)))
    return out

  def run(self) -> dict[str, Any]:
    """Does what is left to do and returns the summary. Raises one-line errors; nothing finished is ever lost."""
    with multihost.first_process_first():
      self.prepare_data()
      self.check_leaks()
    for context in ('', *self.config.contexts.values()):
      self.reading.check_fit(self.tokenizer, self.row_length, self.replicates.get(context, ()))
    ends = plan(
      self.config,
      {n: c.fingerprint for n, c in self.corpora.items()},
      self.tokenizer.fingerprint,
      self.imports,
    )
    nodes = tree_order(ends)
    trained = multihost.broadcast_from_first([self.is_trained(n) for n in nodes])
    self._check_space(len(nodes) - sum(trained))
    mesh = sharding.make_mesh(**dataclasses.asdict(self.config.mesh))
    for node in nodes:  # the last one, too, before the first is trained
      if not node.settings.is_import:
        train.check_rows(node.settings, node.phase, mesh)
    for n, node in enumerate(nodes, 1):
      if not trained[n - 1]:
        self.train(node, f'[{n}/{len(nodes)}]')
      self._list_arms({key: end for key, end in ends.items() if end.id == node.id})
    held_out: dict[str, list[Record]] = self.held_out()
    rows = []
    for n, ((arm, seed), node) in enumerate(ends.items(), 1):
      say(f'evaluating [{n}/{len(ends)}] {arm} (seed {seed})')
      rows += [
        {'arm': arm, 'seed': seed} | r
        for r in self.evaluate(node, held_out, self.config.contexts.get(arm, ''))
      ]
      if multihost.any_process(self.stop()):
        raise train.Interrupted(f'stopped after evaluating {arm}')
    with multihost.first_process_first():
      return self._summarize(rows)

  def _summarize(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The summary; on disk lie the rows, the config and the report beside it."""
    self.outputs.mkdir(parents=True, exist_ok=True)
    multihost.write(self.outputs / 'results.jsonl', ''.join(json.dumps(r) + '\n' for r in rows))
    summary = results.summarize(rows, self.config, self.reading)
    summary['corpora'] = {
      n: {k: c.card[k] for k in ('kind', 'records')} | {'tokens': c.tokens(self.tokenizer)}
      for n, c in self.corpora.items()
    }
    multihost.write(self.outputs / 'summary.json', json.dumps(summary, indent=1) + '\n')
    multihost.write(
      self.outputs / 'config.json',
      json.dumps(json.loads(checks.to_json(self.config)), indent=1) + '\n',
    )
    if multihost.is_first():
      report.write_report(self.outputs / 'report.html', summary, rows)
    return summary

  def _check_space(self, left: int) -> None:
    """Refuses to start what the disk cannot hold: parameters and two moments, two steps kept, for each phase that is left."""
    mesh = sharding.make_mesh(**dataclasses.asdict(self.config.mesh))
    like = train.prepare(
      self.config.model, self.config.optimizer, self.config.loss_chunk, mesh
    ).like
    need, free = (
      left * 2 * 3 * 4 * count_params(like.params),
      multihost.broadcast_from_first(shutil.disk_usage(self.workdir).free),
    )
    if need > free:
      raise ExperimentError(
        f'{self.workdir} has {free / 2**20:,.0f} MiB free and the {left} phases left need about {need / 2**20:,.0f} MiB; '
        f'free some or choose another --workdir'
      )


def kept_rows(path: Path) -> list[dict[str, Any]]:
  """The rows of a JSONL file; none if it is missing or damaged, which costs no more than making them again."""
  try:
    return [json.loads(line) for line in path.read_text().splitlines()]
  except (OSError, ValueError):
    return []
