"""Checks of an experiment's settings against one another.

Each group of settings checks itself when it is made. Here is what spans several groups: that names
are known, that every path of phases can be trained, and that what is compared is there. Every error
names the key and says what to change.
"""

import dataclasses
import importlib.util
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from data_pipelines.recipes import check_source
from data_pipelines.settings.registry import MAKERS, SETTINGS
from data_pipelines.sources import WRITER_SEEDS_PER_SEED, SourceConfig
from msm_jax.base.checks import (
  NON_NEGATIVE,
  SHARE,
  check_run_name,
  hint_for,
  one_of,
  shown,
  within,
)
from msm_jax.base.errors import ConfigError
from msm_jax.config.phases import path_of
from msm_jax.config.training import TokenizerConfig

if TYPE_CHECKING:
  from msm_jax.config import ExperimentConfig

# Bytes of the name of a phase or a source. With the rest of its folder's name it must fit into the
# 255 bytes that file systems allow.
MAX_NAME_BYTES = 150
# JAX makes keys from seeds of 32 bits, signed or unsigned.
SEEDS = (-(2**31), 2**32 - 1)
# What the names of phases and sources, which become names of folders, may not hold. Orbax takes
# brackets, backslashes and two stars for a pattern, and then cannot read what it has saved.
NOT_IN_NAMES = ('/', '\\', '[', ']', '**')


def check_experiment(c: 'ExperimentConfig') -> None:
  """Checks all settings of an experiment.

  Args:
    c: the settings.

  Raises:
    ConfigError: a setting cannot work, by itself or beside the others.
    DataError: the recipe of a source cannot be followed.
  """
  # The order of the checks matters where one relies on another: paths must name known phases
  # before anything follows a path.
  _check_setting_and_replicates(c)
  _check_measures(c)
  _check_names(c)
  _check_arms_name_phases(c)
  _check_sources(c)
  _check_needed_models(c)
  _check_imports(c)
  within('', c, loss_chunk=NON_NEGATIVE, max_skipped=NON_NEGATIVE)
  within('', c, max_skipped_share=SHARE, max_left_out=SHARE)
  _check_amounts_of_text(c)
  _check_groups_of_settings(c)
  _check_phases(c)
  _check_tokenizer_sources(c)
  _check_contexts(c)
  _check_effects(c)
  _check_dose_curves(c)
  _check_tensorboard(c)
  if not c.arms:
    raise ConfigError('arms is empty; name at least one, such as base="pretrain"')


def _check_setting_and_replicates(c: 'ExperimentConfig') -> None:
  """Raises ConfigError for an unknown setting, and for names or seeds that cannot be."""
  one_of('setting', c.setting, tuple(SETTINGS))
  if c.custom.items and c.setting != 'custom':
    raise ConfigError(
      f"custom.items is set and setting={c.setting!r} does not ask it; set setting='custom'"
    )
  distinct_names = {assistant.casefold() for assistant in c.assistants}
  if len(distinct_names) != len(c.assistants):
    raise ConfigError(f'assistants={c.assistants} must name each replicate once')
  if not c.seeds or len(set(c.seeds)) != len(c.seeds):
    raise ConfigError(f'seeds={c.seeds} must name at least one seed, each once')
  for seed in c.seeds:
    if not SEEDS[0] <= seed <= SEEDS[1]:
      raise ConfigError(f'seeds={shown(c.seeds)} must lie from {SEEDS[0]} to {SEEDS[1]}')
  varies = c.corpora_by_seed or c.world_seeds
  if varies and min(c.seeds) < 0:
    raise ConfigError(
      f'seeds={shown(c.seeds)}: corpora and worlds that follow the seed need seeds of at least 0'
    )


# Settings of the evaluation that only experiments with some settings read.
_EVALS_OF = {
  'rival': ('world', 'english'),
  'spare_items': ('world',),
  'gate_scenes': ('office',),
  'stated': ('world', 'office', 'english'),
}


def _check_measures(c: 'ExperimentConfig') -> None:
  """Raises ConfigError for a setting of the evaluation that would change nothing."""
  for key, settings in _EVALS_OF.items():
    value = getattr(c.evals, key)
    if value and c.setting not in settings:
      raise ConfigError(
        f'evals.{key}={shown(value)} is for setting={" or ".join(settings)}, and this is '
        f'setting={c.setting!r}; leave it out'
      )


def _check_names(c: 'ExperimentConfig') -> None:
  """Raises ConfigError for a name that no table can show, or that cannot be part of a path."""
  check_run_name(c.name)
  for kind, names in (('arms', c.arms), ('effects', c.effects)):
    for name in names:
      if not name.strip() or not name.isprintable():
        raise ConfigError(
          f'{kind}: {shown(name)} cannot be shown in a table; give a name of one line'
        )
  for kind, folders in (('sources', c.sources), ('phases', c.phases)):
    for name in folders:
      is_unreadable = not name.strip() or not name.isprintable()
      has_bad_mark = name.startswith('.') or any(mark in name for mark in NOT_IN_NAMES)
      if is_unreadable or has_bad_mark or len(name.encode()) > MAX_NAME_BYTES:
        raise ConfigError(
          f'{kind}: {shown(name)} cannot be the name of a folder; give a name of at most '
          f'{MAX_NAME_BYTES} bytes without any of {" ".join(NOT_IN_NAMES)} or a dot in front'
        )


def _check_arms_name_phases(c: 'ExperimentConfig') -> None:
  """Raises ConfigError for an unknown phase, and for two arms of one name."""
  for arm, path in c.arms.items():
    for phase in path_of(path):
      if phase not in c.phases:
        raise ConfigError(f'arms.{arm} names phase {phase!r}{hint_for(phase, c.phases)}')
    for update in c.phases[path_of(path)[-1]].evaluate_at:
      if f'{arm}@{update}' in c.arms:
        raise ConfigError(
          f'arms.{arm}@{update} is also what {arm} is called at update {update} '
          f'(evaluate_at); give it another name'
        )


def _check_needed_models(c: 'ExperimentConfig') -> None:
  """Raises ConfigError for a model that another one needs and that is not there or no use."""
  for name, source in c.sources.items():
    if source.is_model_written:
      _check_writer(c, name, source)
  for arm, path in c.arms.items():
    for phase in path_of(path):
      if c.phases[phase].objective == 'reward':
        raise ConfigError(
          f'arms.{arm} goes through phase {phase!r}, a reward model, which answers nothing; take '
          f"it out, and name it in the rewards of a phase of objective grpo as 'model:PATH'"
        )
    _check_needs_of(c, path_of(path), ())


def _check_writer(c: 'ExperimentConfig', name: str, source: SourceConfig) -> None:
  """Raises ConfigError unless the prompts of a source and the phases of its writer exist."""
  where = f'sources.{name}'
  for phase in path_of(source.by):
    if phase not in c.phases:
      raise ConfigError(f'{where}.by names phase {phase!r}{hint_for(phase, c.phases)}')
    if c.phases[phase].objective == 'reward':
      raise ConfigError(f'{where}.by goes through {phase!r}, a reward model, which writes nothing')
  if source.prompts not in c.sources:
    raise ConfigError(
      f'{where}.prompts names {source.prompts!r}{hint_for(source.prompts, c.sources)}'
    )
  if c.sources[source.prompts].is_model_written:
    raise ConfigError(
      f'{where}.prompts names {source.prompts!r}, which a model writes; name the source of its '
      f'prompts'
    )
  if name in c.tokenizer.sources:
    raise ConfigError(f'tokenizer.sources names {name!r}, which a trained model writes')


def _check_needs_of(
  c: 'ExperimentConfig', path: tuple[str, ...], waiting: tuple[tuple[str, ...], ...]
) -> None:
  """Checks the models that the phases of a path need, and those that these need.

  `waiting` are the paths that need this one. Raises ConfigError.
  """
  for n in range(len(path)):
    reached = path[: n + 1]
    judges = c.reward_models_of(reached)
    for judge in judges:
      _check_reward_model(c, f'phases.{path[n]}.grpo.rewards', judge)
    for needed in [*judges, *c.writers_of(reached)]:
      # Every phase on the way would wait for this one.
      if reached == needed[: n + 1] or needed in waiting:
        raise ConfigError(
          f'phases.{path[n]} needs the model {" > ".join(needed)!r}, which waits for this very '
          f'phase; name a model that is trained before'
        )
      _check_needs_of(c, needed, (*waiting, needed))


def _check_reward_model(c: 'ExperimentConfig', where: str, path: tuple[str, ...]) -> None:
  """Raises ConfigError unless a path ends in a reward model and goes through no other."""
  for phase in path:
    if phase not in c.phases:
      raise ConfigError(f'{where} names phase {phase!r}{hint_for(phase, c.phases)}')
  shown_path = ' > '.join(path)
  *before, last = path
  if c.phases[last].objective != 'reward':
    raise ConfigError(
      f'{where} names {shown_path!r}, which is no reward model; set phases.{last}.objective='
      f"'reward', or name another phase"
    )
  for phase in before:
    if c.phases[phase].objective == 'reward':
      raise ConfigError(
        f'{where} names {shown_path!r}; nothing can follow the reward model {phase!r}'
      )


def _check_sources(c: 'ExperimentConfig') -> None:
  """Raises ConfigError or DataError for a recipe that cannot be followed."""
  # What the settings of a single seed add to the seed of each recipe, see running/replication.py.
  added_seed = 0
  if c.corpora_by_seed and len(c.seeds) == 1:
    added_seed = WRITER_SEEDS_PER_SEED * c.seeds[0]
  for name, source in c.sources.items():
    other = source.tokens_like
    if other and other not in c.sources:
      raise ConfigError(f'sources.{name}.tokens_like names {other!r}{hint_for(other, c.sources)}')
    if other and c.sources[other].is_model_written:
      raise ConfigError(
        f'sources.{name}.tokens_like names {other!r}, which a model writes later; give it a size'
      )
    check_source(name, source, added_seed)
    _check_maker(c, name, source)


def _check_maker(c: 'ExperimentConfig', name: str, source: SourceConfig) -> None:
  """Raises ConfigError for a maker that works with the world and the handbooks of another setting
  than the experiment's."""
  if source.path or source.is_model_written:
    return
  setting, maker = MAKERS[source.maker]
  if setting.name != c.setting and maker.needs_world:
    known = ', '.join(SETTINGS[c.setting].makers)
    raise ConfigError(
      f'sources.{name}.maker={source.maker!r} belongs to setting={setting.name!r}, and this is '
      f'setting={c.setting!r}; take one of {known}, or give the path of a JSONL file'
    )


# ---- Weights and adapters from outside


def _check_imports(c: 'ExperimentConfig') -> None:
  """Raises ConfigError unless all paths begin with one model, in an order that can be trained."""
  paths = c.paths
  if len({c.phases[path[0]].weights for path in paths}) > 1:
    raise ConfigError(
      'arms start from different weights; an experiment has one model, so give each its own'
    )
  for path in paths:
    _check_imports_of_path(c, path)
  _check_lora(c)
  if c.first_weights and c.tokenizer.sources:
    raise ConfigError('tokenizer.sources must be empty: the tokenizer comes with the weights')
  if c.first_weights and c.tokenizer.vocab_size != TokenizerConfig().vocab_size:
    raise ConfigError(
      f'tokenizer.vocab_size={c.tokenizer.vocab_size} changes nothing, since the tokenizer comes '
      'with the weights; leave it out'
    )


def _check_imports_of_path(c: 'ExperimentConfig', path: Sequence[str]) -> None:
  """Raises ConfigError unless weights begin the path and adapters follow weights."""
  for before, phase in itertools.pairwise(path):
    if c.phases[phase].weights:
      raise ConfigError(
        f'phases.{phase} names weights and follows {before!r}; weights are where a path begins'
      )
    if c.phases[phase].adapter and not c.phases[before].weights:
      raise ConfigError(
        f'phases.{phase} names an adapter and follows {before!r}; '
        f'an adapter goes straight over weights'
      )
  first = c.phases[path[0]]
  # A phase with both is refused by its own check, which says what to do.
  if first.adapter and not first.weights:
    raise ConfigError(f'phases.{path[0]} names an adapter; begin the path with a phase of weights')


def _check_lora(c: 'ExperimentConfig') -> None:
  """Raises ConfigError if there are adapters without weights, or imported ones without `lora`, and
  for a learning rate of what adapters leave as it is."""
  if c.model.lora and not c.first_weights:
    raise ConfigError(
      'model.lora trains adapters beside weights that stay as they are; '
      'begin the arms with a phase of weights'
    )
  imports_adapter = any(c.phases[phase].adapter for phase in itertools.chain(*c.paths))
  if imports_adapter and not c.model.lora:
    raise ConfigError('a phase names an adapter; set model.lora to its rank, alpha and targets')
  for name, phase in c.phases.items():
    # Two phases that differ in it would be trained as two, and be taken for a comparison.
    if c.model.lora and phase.embed_lr:
      raise ConfigError(
        f'phases.{name}.embed_lr={phase.embed_lr:g} changes nothing, since model.lora trains '
        f'adapters alone; leave it out'
      )


# ---- Text, phases and tokenizer


def _check_amounts_of_text(c: 'ExperimentConfig') -> None:
  """Raises ConfigError unless amounts are not negative and fractions are shares."""
  for group in ('world', 'office', 'english'):
    amounts = getattr(c, group)
    bounds: dict[str, tuple[float, float]] = {}
    for field in dataclasses.fields(amounts):
      if isinstance(field.default, float):
        bounds[field.name] = SHARE
      elif isinstance(field.default, int):
        bounds[field.name] = NON_NEGATIVE
    within(f'{group}.', amounts, **bounds)


def _check_groups_of_settings(c: 'ExperimentConfig') -> None:
  """Raises ConfigError for a group of settings that would change nothing, since the experiment is
  of another setting, and for a world that cannot be."""
  for group in SETTINGS:
    given = getattr(c, group)
    default = type(given)()
    if group == c.setting or given == default:
      continue
    changed = []
    for field in dataclasses.fields(given):
      value = getattr(given, field.name)
      if value != getattr(default, field.name):
        changed.append(f'{group}.{field.name}={shown(value)}')
    raise ConfigError(
      f'{changed[0]} is for setting={group!r}, and this is setting={c.setting!r}; leave it out'
    )
  if min(c.world_seeds, default=0) < 0:
    raise ConfigError(f'world_seeds={shown(c.world_seeds)} must be at least 0')
  if c.world_seeds and c.setting == 'custom':
    # The summary would say that worlds vary, and intervals would be read as those over worlds.
    raise ConfigError(
      f"world_seeds={shown(c.world_seeds)} is set and setting='custom' has no world; leave it out"
    )


def _check_phases(c: 'ExperimentConfig') -> None:
  """Raises ConfigError for a phase that cannot be trained or reads an unknown source."""
  for name, phase in c.phases.items():
    phase.check(name)
    for source in phase.data:
      if source not in c.sources:
        raise ConfigError(
          f'phases.{name}.data names source {source!r}{hint_for(source, c.sources)}'
        )


def _check_tokenizer_sources(c: 'ExperimentConfig') -> None:
  """Raises ConfigError if the tokenizer is to be trained on text that is not there yet."""
  for source in c.tokenizer.sources:
    if source not in c.sources:
      raise ConfigError(f'tokenizer.sources names {source!r}{hint_for(source, c.sources)}')
    if c.sources[source].tokens_like:
      raise ConfigError(
        f'sources.{source}.tokens_like: the tokenizer that would count is trained on this text '
        f'(tokenizer.sources); give it a size'
      )


# ---- What is compared and reported


def _check_contexts(c: 'ExperimentConfig') -> None:
  """Raises ConfigError for an unknown arm with a handbook in its context, and for no handbook."""
  for arm, handbook in c.contexts.items():
    if arm not in c.arms:
      raise ConfigError(f'contexts names arm {arm!r}{hint_for(arm, c.arms)}')
    if not handbook.strip():
      raise ConfigError(f'contexts.{arm} is empty; name the handbook, or leave the arm out of it')


def _check_effects(c: 'ExperimentConfig') -> None:
  """Raises ConfigError for an effect that cannot be computed, and for an unknown primary effect."""
  for effect, arms in c.effects.items():
    if len(arms) not in (2, 4):
      raise ConfigError(
        f'effects.{effect} names {len(arms)} arms; give two (first - second) '
        f'or four ((first - second) - (third - fourth))'
      )
    for arm in arms:
      if arm not in c.arms:
        raise ConfigError(f'effects.{effect} names arm {arm!r}{hint_for(arm, c.arms)}')
    _check_difference(c, effect, arms)
  if c.primary and c.primary not in c.effects:
    raise ConfigError(f'primary names effect {c.primary!r}{hint_for(c.primary, c.effects)}')
  measure = c.primary_measure
  if measure and (measure.count('/') < 1 or measure.startswith('margin/')):
    raise ConfigError(
      f'primary_measure={measure!r} is the name of no share; give one of the summary, such as '
      "'preferences/conflict/kinds'"
    )


def _check_dose_curves(c: 'ExperimentConfig') -> None:
  """Raises ConfigError for a dose curve that cannot be drawn, and for two of one name."""
  names = [curve.name for curve in c.dose_curves]
  for curve in c.dose_curves:
    curve.check(c.effects)
    if names.count(curve.name) > 1:
      raise ConfigError(f'dose_curves: two are called {curve.name!r}; give each its own name')


def _check_difference(c: 'ExperimentConfig', effect: str, arms: Sequence[str]) -> None:
  """Raises ConfigError for an effect that is zero whatever the models do."""
  models = [(path_of(c.arms[arm]), c.contexts.get(arm, '')) for arm in arms]
  if len(models) == 2:
    is_zero = models[0] == models[1]
  else:
    # (a - b) - (c - d) is zero if the same models are added as are taken away.
    is_zero = sorted((models[0], models[3])) == sorted((models[1], models[2]))
  if is_zero:
    raise ConfigError(
      f'effects.{effect}={tuple(arms)} compares a model with itself, which is zero in any case; '
      'name arms that differ'
    )


def _check_tensorboard(c: 'ExperimentConfig') -> None:
  """Raises ConfigError if the optional package is missing."""
  if c.tensorboard and importlib.util.find_spec('tensorboardX') is None:
    raise ConfigError(
      "tensorboard=True needs tensorboardX; pip install 'msm_jax[tensorboard]' or set it to False"
    )
