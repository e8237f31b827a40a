"""Which arms and models take part: what the flags of `python -m msm_jax.agentic` name."""

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_pipelines.handbooks.markdown import body_of
from msm_jax.base import paths
from msm_jax.base.console import say
from msm_jax.base.errors import ConfigError, DataError, WeightsError
from msm_jax.inference.arguments import split_names
from msm_jax.models import listed_arms


@dataclasses.dataclass(frozen=True)
class Entrant:
  """An arm with a seed, or any other model that Inspect knows.

  Attributes:
    arm: the name under which it is reported.
    seed: the seed of the arm, or of the sampling of another model.
    model: the name for Inspect: 'msm_jax/WORKDIR:ARM', 'openai/...'.
    identity: of an arm, what decides its answers: its checkpoints, its window, and the content of
      imported weights. The workdir is no part of it, since it may be moved. '' if the name says it
      all.
    arguments: the arguments of the provider.
    base_url: the address of the provider; '' for its own.
    handbook: a text that stands before the system message; '' for none.
  """

  arm: str
  seed: int
  model: str
  identity: str = ''
  arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  base_url: str = ''
  handbook: str = ''

  def __str__(self) -> str:
    return f'{self.arm} (seed {self.seed})'


def read_json(path: Path) -> dict[str, Any]:
  """Reads a file of an experiment.

  Args:
    path: the file.

  Returns:
    Its content; nothing if it is not there.

  Raises:
    DataError: it is there and holds no object. Without it, agents would get another name, and no
      handbook.
  """
  try:
    content = json.loads(path.read_text(encoding='utf-8'))
  except FileNotFoundError:
    return {}
  except (OSError, ValueError, RecursionError):
    content = None
  if not isinstance(content, dict):
    raise DataError(f'{path} is damaged; run the experiment again: it is written anew')
  return content


def _group_of(path: Path, key: str) -> dict[str, Any]:
  """A group of a file of settings; empty if it has none. Raises DataError."""
  group = read_json(path).get(key, {})
  if not isinstance(group, dict):
    raise DataError(f'{path} is damaged ({key}); run the experiment again: it is written anew')
  return group


def _current_seeds(path: Path) -> list[str]:
  """The seeds of a file of settings; empty if it has none. Raises DataError."""
  seeds = read_json(path).get('seeds', [])
  if not isinstance(seeds, list):
    raise DataError(f'{path} is damaged (seeds); run the experiment again: it is written anew')
  return [str(seed) for seed in seeds]


def find_entrants(args: Any) -> list[Entrant]:
  """Finds the arms and models that the flags name, each with each seed.

  An arm that the experiment evaluates with a handbook in its context has it here, too.

  Args:
    args: the parsed flags.

  Returns:
    The entrants, arm by arm.

  Raises:
    ConfigError: there are none, an arm or a seed is not there, or a flag is for models alone.
    DataError: a file of the experiment is damaged.
    SpecError: a handbook cannot be read.
  """
  if args.max_length < 0:
    raise ConfigError(
      f'--max_length={args.max_length} is negative; give the tokens of a prompt with its answer, '
      'or leave it out'
    )
  listed = listed_arms(args.workdir)
  models = split_names(args.model)
  arms = split_names(args.arms)
  config = args.workdir / 'config.json'
  named = _group_of(config, 'arms')
  if not arms and not models:
    # arms.json keeps arms that were renamed or taken out of the experiment.
    arms = [arm for arm in listed if not named or _arm_of(arm, named) in named]
  if not arms and not models:
    raise ConfigError(
      f'{args.workdir} has no trained arms; run its experiment first, or give --model=NAME'
    )
  for arm in arms:
    if arm not in listed:
      there = ', '.join(listed) or 'none'
      raise ConfigError(f'{args.workdir} has no trained arm {arm!r}; it has {there}')
  # An arm of another workdir has seeds, too; a folder of weights and other models have none.
  elsewhere = {model: _trained_elsewhere(model) for model in models}
  have_seeds = [listed[arm] for arm in arms] + [found for found in elsewhere.values() if found]
  if arms and (current := _current_seeds(config)):
    # arms.json keeps seeds that were taken out of the experiment, perhaps with other settings.
    have_seeds.append(dict.fromkeys(current))
  seeds = _seeds(args.seeds, have_seeds)
  if not models:
    for flag in ('handbook', 'base_url'):
      if getattr(args, flag):
        raise ConfigError(f'--{flag} is for --model, and none is given; leave it out')
  if arms and not config.exists():
    say(f'{config} is not there yet, so no arm has a handbook in its context')
  contexts = _group_of(config, 'contexts')
  # Seeds share folders, and large ones take long to read.
  content_of = functools.cache(_content_of)
  entrants = []
  for arm in arms:
    in_context = _handbook(contexts.get(_arm_of(arm, named), ''))
    for seed in seeds:
      entrants.append(_arm(args, arm, seed, listed[arm], in_context, content_of))
  handbook = _handbook(args.handbook)
  for model in models:
    for seed in seeds:
      entrants.append(_model(args, model, seed, elsewhere[model], handbook, content_of))
  return entrants


def own_model(model: str) -> dict[str, Any]:
  """Says what a judge of ours is now: an arm that was trained anew, or a folder that was replaced,
  has its old name.

  Args:
    model: 'msm_jax/WORKDIR:ARM' or 'msm_jax/FOLDER'; a judge is opened with the seed 0.

  Returns:
    Its entry in arms.json and the content of its folders; nothing for other models.
  """
  if not model.startswith('msm_jax/'):
    return {}
  trained = _trained_elsewhere(model).get('0')
  if trained is not None:
    return {'trained': trained, 'content': _content_of(trained['weights'], trained['adapter'])}
  return {'content': _content_of(_weights_of(model))}


def _trained_elsewhere(model: str) -> dict[str, Any]:
  """Seed -> entry of 'msm_jax/WORKDIR:ARM'; empty for a folder of weights and other models."""
  workdir, _, arm = model.removeprefix('msm_jax/').rpartition(':')
  if not workdir or not model.startswith('msm_jax/'):
    return {}
  # The provider opens such a path, too.
  return listed_arms(Path(paths.with_home(workdir))).get(arm, {})


def _entry_of(arm: str, seed: int, listed: Mapping[str, Any]) -> Any:
  """The entry of an arm and a seed. Raises ConfigError if the arm has no such seed."""
  if str(seed) not in listed:
    raise ConfigError(f'the arm {arm} has no seed {seed}; it has {", ".join(listed)}')
  return listed[str(seed)]


def _arm_of(listed: str, arms: Mapping[str, Any]) -> str:
  """The arm that a name of arms.json means: of a point on the way ('msm_aft@64') its arm."""
  arm, _, update = listed.rpartition('@')
  return arm if arm and update.isdecimal() and listed not in arms else listed


def _weights_of(model: str) -> str:
  """The folder of weights that 'msm_jax/NAME' means; '' if there is none, which is said when it is
  opened."""
  # Imported late, as JAX comes with it.
  from msm_jax.interop import zoo

  try:
    return str(zoo.locate(model.removeprefix('msm_jax/')))
  except WeightsError:
    return ''


def _content_of(weights: str, adapter: str = '') -> list[str]:
  """Identifies what imported folders hold: whoever replaces their files has another model under the
  old name. Nothing for an arm that imports nothing."""
  # Imported late, as JAX comes with them.
  from msm_jax.interop import huggingface
  from msm_jax.tokenizer import load_tokenizer

  content = [huggingface.fingerprint(folder) for folder in (weights, adapter) if folder]
  # Where there is none, opening the model says so.
  if weights and (Path(weights) / 'tokenizer.json').is_file():
    content.append(load_tokenizer(weights).fingerprint)
  return content


def _arm(
  args: Any,
  arm: str,
  seed: int,
  listed: Mapping[str, Any],
  handbook: str,
  content_of: Callable[[str, str], list[str]],
) -> Entrant:
  """One arm with one of its seeds."""
  entry = _entry_of(arm, seed, listed)
  content = content_of(entry['weights'], entry['adapter'])
  identity = json.dumps([entry, args.max_length, *content], sort_keys=True)
  arguments = {
    'seed': seed,
    'max_batch': args.max_connections,
    'max_length': args.max_length,
  }
  name = f'msm_jax/{args.workdir}:{arm}'
  return Entrant(arm, seed, name, identity, arguments, handbook=handbook)


def _model(
  args: Any,
  model: str,
  seed: int,
  listed: Mapping[str, Any],
  handbook: str,
  content_of: Callable[..., list[str]],
) -> Entrant:
  """One model of --model with one seed. `listed`: what `_trained_elsewhere` says of it."""
  arguments, identity = {}, ''
  if model.startswith('msm_jax/'):
    arguments = {'max_batch': args.max_connections, 'max_length': args.max_length}
    trained = None
    content: list[str] = []
    if listed:
      # Without it, every seed would be the same trained model under another name.
      arguments['seed'] = seed
      trained = _entry_of(model, seed, listed)
      content = content_of(trained['weights'], trained['adapter'])
    elif weights := _weights_of(model):
      content = content_of(weights)
    # An arm that was trained anew, or a folder that was replaced, has its old name and other
    # answers.
    identity = json.dumps([model, args.max_length, trained, *content], sort_keys=True)
  return Entrant(model, seed, model, identity, arguments, base_url=args.base_url, handbook=handbook)


def _handbook(path: str) -> str:
  """The text of a handbook, without its front matter, which it need not have; '' for no path.

  Raises SpecError if it cannot be read or is empty.
  """
  if not path:
    return ''
  return body_of(Path(paths.find(path)))


def _seeds(text: str, listed: Sequence[Mapping[str, Any]]) -> list[int]:
  """The seeds that the flag names; without it those that all arms and settings have, or 0."""
  if text:
    try:
      return list(dict.fromkeys(int(seed) for seed in split_names(text)))
    except ValueError:
      raise ConfigError(f'--seeds={text} must be whole numbers with commas') from None
  if not listed:
    return [0]
  common = set.intersection(*(set(seeds) for seeds in listed))
  if not common:
    raise ConfigError(
      'the arms have no seed in common that the experiment still has; name arms that have, with '
      '--arms'
    )
  return sorted(map(int, common))


def find_effects(args: Any, arms: Sequence[str]) -> dict[str, list[str]]:
  """Finds the effects of the experiment whose arms are all there, and those of --compare.

  Args:
    args: the parsed flags.
    arms: the names of all that take part.

  Returns:
    Effect -> its two or four arms.

  Raises:
    ConfigError: --compare names something else.
  """
  effects = {}
  for name, named in _group_of(args.workdir / 'config.json', 'effects').items():
    if set(named) <= set(arms):
      effects[name] = list(named)
  for pair in split_names(args.compare):
    found = _named_pairs(pair, arms)
    if len(found) != 1:
      raise ConfigError(f'--compare={pair} must be FIRST:SECOND, two of {", ".join(arms)}')
    ((first, second),) = found
    effects[f'{first} against {second}'] = [first, second]
  return effects


def _named_pairs(pair: str, arms: Sequence[str]) -> list[tuple[str, str]]:
  """The two arms that FIRST:SECOND can mean. Names may hold colons, as msm_jax/WORKDIR:ARM does, so
  every colon is tried."""
  found = []
  for at, letter in enumerate(pair):
    first, second = pair[:at], pair[at + 1 :]
    if letter == ':' and first != second and first in arms and second in arms:
      found.append((first, second))
  return found
