"""Says what a seed decides beside initialisation and the order of rows.

With one draw of each corpus and one world, an interval over seeds says nothing about another draw
or another world. So a config can let both follow the seed: `corpora_by_seed` gives every seed
corpora of its own, and `world_seeds` gives it one of several worlds. The settings of one seed are
then an experiment of their own, with the seed's own sources and world; this module makes them.
"""

import dataclasses
from typing import Any

from data_pipelines.sources import WRITER_SEEDS_PER_SEED
from msm_jax.config import ExperimentConfig, path_of

# Tellings per seed: one is trained on, and the next one is held-out text.
TELLINGS_PER_SEED = 2


def config_of_seed(config: ExperimentConfig, seed: int) -> ExperimentConfig:
  """Makes the settings that one seed is run with.

  Args:
    config: the settings of the whole experiment.
    seed: one of its seeds.

  Returns:
    The settings themselves if every seed reads the same texts. Otherwise, the settings with this
    seed alone, in which the corpora and the world are those of the seed. Corpora that are read
    from files stay as they are. Seed 0 has the corpora of an experiment that does not vary them.
  """
  if not (config.corpora_by_seed or config.world_seeds):
    return config
  sources = dict(config.sources)
  world: Any = getattr(config, config.setting)
  if config.corpora_by_seed:
    for name, source in sources.items():
      if not source.path:
        writer_seed = source.seed + WRITER_SEEDS_PER_SEED * seed
        sources[name] = dataclasses.replace(source, seed=writer_seed)
    if hasattr(world, 'telling'):
      telling = world.telling + TELLINGS_PER_SEED * seed
      world = dataclasses.replace(world, telling=telling)
  if config.world_seeds:
    world_seed = config.world_seeds[seed % len(config.world_seeds)]
    world = dataclasses.replace(world, seed=world_seed)
  varied = {'sources': sources, 'seeds': (seed,), config.setting: world}
  return dataclasses.replace(config, **varied)


def worlds_of_seeds(config: ExperimentConfig) -> list[int]:
  """The seed of the world of every seed, in the order of the seeds; empty if all share one."""
  if not config.world_seeds:
    return []
  # Summaries list seeds in their order as numbers.
  return [config.world_seeds[seed % len(config.world_seeds)] for seed in sorted(config.seeds)]


def what_varies(config: ExperimentConfig) -> list[str]:
  """Lists what differs between the seeds of an experiment, for summaries and reports.

  Args:
    config: the settings of the experiment.

  Returns:
    Phrases such as 'initialisation'. What is not listed is the same for all seeds.
  """
  out = ['order of rows']
  if not config.first_weights:
    out.insert(0, 'initialisation')
  elif config.model.lora:
    out.insert(0, 'initialisation of adapters')
  if config.corpora_by_seed:
    out += _varied_corpora(config)
  else:
    out += _texts_of_models(config)
  worlds = sorted(set(worlds_of_seeds(config)))
  if len(worlds) > 1:
    out.append(f'world (seeds {", ".join(str(seed) for seed in worlds)})')
  return out


def _sources_read(config: ExperimentConfig) -> set[str]:
  """The sources that some model is trained on."""
  read: set[str] = set()
  for path in config.paths:
    for phase in path:
      read |= set(config.phases[phase].data)
  return read


def _texts_of_models(config: ExperimentConfig) -> list[str]:
  """Says which corpora a trained model writes: each seed has a writer of its own.

  Weights and adapters from outside are the same for every seed, and so is what they write.
  """
  names = []
  for name in sorted(_sources_read(config)):
    source = config.sources[name]
    if not source.is_model_written:
      continue
    if not all(config.phases[phase].is_import for phase in path_of(source.by)):
      names.append(name)
  return [f'texts that models write ({", ".join(names)})'] if names else []


def _varied_corpora(config: ExperimentConfig) -> list[str]:
  """Says which corpora follow the seed; those of files are the same for every seed."""
  read = _sources_read(config)
  varied = sorted(name for name in read if not config.sources[name].path)
  if not varied:
    return []
  return ['corpora'] if len(varied) == len(read) else [f'corpora ({", ".join(varied)})']
