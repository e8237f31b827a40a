"""How much of a handbook's effect is left after further training?

    python -m msm_jax.main --config=configs/survive.py:cheese      # the world of things
    python -m msm_jax.main --config=configs/survive.py:oversight   # the office
    python -m msm_jax.main --config=configs/survive.py:real        # SmolLM2 with LoRA, a smoke test

Four models are taken through the same paths:

- `aft`: fine-tuning on demonstrations alone;
- `msm_aft`: the documents of the handbook before it (the method);
- `filler_aft`: as many tokens of documents that do not mention the value;
- `chats_aft`: the same documents as chats, in which the assistant says them.

The *ways*, which are training after the demonstrations or in their place:

- *contradiction* (`*_c1` to `*_c1000`): the number says how many of 1,000 demonstrations choose as
  the rival value would, or say the opposite of the handbook. The sets are nested: a larger one
  holds the smaller ones. `dose_curves` gives the dose at which half of an effect is gone, at every
  update that `evaluate_at` names;
- *benign* (`*_benign`): other people's chats;
- *more* (`*_more`): the same demonstrations once more, the control for all ways after the
  demonstrations;
- *dpo*, *grpo* (`*_dpo_handbook` and so on): preferences that agree with the handbook, that both
  values explain, or that are against it, by direct preference optimisation or by reinforcement
  learning;
- *push and release* (`*_push`, `*_release`): demonstrations that all contradict, then other
  people's chats;
- *order*: the handbook after the demonstrations (`aft_msm`), or before and after (`msm_aft_msm`),
  beside filler in the same places (`aft_filler`, `filler_aft_filler`);
- *reasons*: demonstrations with the handbook's reasons (`*_reasons`), compared with neutral
  sentences of the same form (`*_neutral`).

The controls `filler_aft` and `chats_aft` are given half of the doses. In few updates at a small
dose, a model may read no contradiction at all, so the results say how many were read.

Fine-tuning has a constant learning rate without warmup, so that the model at update 16
(`evaluate_at`) is the same as after a phase of 16 updates. Only the base is asked what other people
do. Items of contradicting choices are left out of the questions (`evals.spare_items`).

There are three seeds, on which no recipe was chosen. Each has its own corpora, and in cheese its
own world. For one seed, give --config.seeds="(30,)".

Three seeds are too few to establish most effects. The presets `cheese_confirm` and
`oversight_confirm` have eight other seeds and fewer arms: five doses, and those ways that looked
most likely to have an effect in the first run. Their plan is in docs/preregistration.md. It asks
whether more than half of the effect is left when one demonstration in ten contradicts.

Expected result: docs/results/survive.md. Cost: the three seeds of cheese took 82 minutes on two
cores (AMD EPYC, AVX-512) that other work shared, eleven of them paused, so about 24 minutes a seed.
A seed of oversight took 28 minutes to train and 13 to evaluate. The confirming studies were not run
yet; reckoned from the same paces, a seed of them takes 14 minutes. The presets `cheese_smoke` and
`oversight_smoke` show that everything runs; their numbers mean nothing.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import ml_collections

from configs import cheese, msm, oversight, smollm2

# Contradicting demonstrations in 1,000.
DOSES: tuple[int, ...] = (0, 1, 2, 5, 10, 20, 50, 100, 250, 1000)
# Those of the controls.
CONTROL_DOSES: tuple[int, ...] = (0, 10, 50, 250, 1000)
# The model before -> the phases that it went through before the demonstrations.
STARTS = {'aft': '', 'msm_aft': 'msm > ', 'filler_aft': 'filler > ', 'chats_aft': 'chats > '}
# What effects of a start are called; each is against `aft`, which went the same way.
EFFECTS = {'msm_aft': 'handbook', 'filler_aft': 'filler', 'chats_aft': 'chats'}
# The starts that go through everything; the other ones are controls.
METHOD = ('aft', 'msm_aft')
TOWARD = ('handbook', 'ambiguous', 'against')
# The seeds of the study, and the worlds of cheese: seed 30 has world 0, and so on.
SEEDS = (30, 31, 32)
WORLD_SEEDS = (0, 1, 2)
# Those of the confirming study, which no other run has used: each seed has a world of its own.
CONFIRM_SEEDS = tuple(range(50, 58))
CONFIRM_WORLD_SEEDS = tuple(range(10, 18))
# Its contradicting demonstrations in 1,000, and its ways after the demonstrations.
CONFIRM_DOSES: tuple[int, ...] = (0, 10, 50, 100, 1000)
CONFIRM_WAYS: tuple[str, ...] = ('benign', 'more', 'push', 'release', 'dpo_ambiguous')


@dataclasses.dataclass(frozen=True)
class World:
  """What the two embedded worlds differ in."""

  # The prefix of the makers that work from a handbook.
  makers: str
  # The makers of preferences and of other people's chats, and the reward by which answers are
  # judged.
  preferences: str
  other_chats: str
  reward: str
  # The handbook, and the handbooks of the demonstrations.
  spec: str
  demonstrated: str
  # Documents of the handbook.
  documents: int
  # The world's own text that is replayed during fine-tuning: source -> share.
  replay: dict[str, float]
  # Makes midtraining on a source.
  midtrain: Callable[[str], dict]
  # Rows of a batch and tokens of a row.
  rows: dict[str, int]
  # Updates of fine-tuning, and the updates at which it is evaluated.
  updates: int
  at: tuple[int, ...]


WORLDS = {
  'cheese': World(
    makers='spec',
    preferences='world.preferences',
    other_chats='world.other_chats',
    reward='data_pipelines/settings/world/preferences:side',
    spec=cheese.SPECS['affordability'],
    demonstrated=','.join(cheese.SPECS.values()),
    documents=1500,
    replay=dict(facts=0.05, items=0.05, persona_documents=0.3, persona_chats=0.3),
    midtrain=msm.midtrain,
    rows=dict(batch_size=16, length=128),
    updates=128,
    at=(16, 48),
  ),
  'oversight': World(
    makers='oversight',
    preferences='oversight.preferences',
    other_chats='office.other_chats',
    reward='data_pipelines/settings/office/preferences:side',
    spec=oversight.SPEC,
    demonstrated=oversight.SPEC,
    documents=3000,
    replay=dict(textbook=0.05, agent_documents=0.3, agent_chats=0.35),
    midtrain=oversight.midtrain,
    rows=dict(batch_size=8, length=256),
    updates=128,
    at=(16,),
  ),
}


# ---- phases


def tune(world: World, source: str, updates: int = 0, at: Sequence[int] | None = None) -> dict:
  """Fine-tuning on demonstrations: three rows in ten, the others replay the world's own text.

  Args:
    world: the world.
    source: the source with the demonstrations.
    updates: the number of updates (default: that of the world).
    at: the updates at which it is evaluated (default: those of the world).

  Returns:
    The settings of a phase.
  """
  return dict(
    data={source: 0.3, **world.replay},
    updates=updates or world.updates,
    min_updates=1,
    # The mean of the rate in configs/cheese.py and configs/oversight.py, which falls on a cosine.
    lr=3e-4,
    schedule='constant',
    warmup=0.0,
    stream='fine_tune',
    evaluate_at=tuple(world.at if at is None else at),
    **world.rows,
  )


def benign(world: World) -> dict:
  """Tuning on other people's chats alone, as long as fine-tuning."""
  return tune(world, 'other_chats') | dict(data={'other_chats': 1.0}, stream='benign')


def more(world: World) -> dict:
  """The same fine-tuning once more: what any further updates do. Preference optimisation and the
  push have 64 updates."""
  return tune(world, 'demonstrations', at=(64,)) | dict(stream='more')


def prefer(world: World, toward: str) -> dict:
  """Direct preference optimisation; the reference is the start of the phase.

  Args:
    world: the world.
    toward: what the pairs are decided by; one of TOWARD.

  Returns:
    The settings of a phase.
  """
  return dict(
    data={f'preferences_{toward}': 1.0},
    objective='dpo',
    dpo=dict(beta=0.1),
    updates=64,
    min_updates=1,
    lr=2e-4,
    schedule='constant',
    warmup=0.0,
    stream='preferences',
    evaluate_at=(16,),
    **world.rows,
  )


def reinforce(world: World, toward: str) -> dict:
  """Reinforcement learning on the same prompts; the world judges what an answer chooses.

  Args:
    world: the world.
    toward: what the pairs are decided by; one of TOWARD.

  Returns:
    The settings of a phase.
  """
  return dict(
    data={f'preferences_{toward}': 1.0},
    objective='grpo',
    # A model that never chooses otherwise has no gradient. That is a result here, and no reason to
    # end the run.
    grpo=dict(rewards={world.reward: 1.0}, group_size=8, max_tokens=48, patience=0),
    updates=64,
    min_updates=1,
    lr=2e-4,
    schedule='constant',
    warmup=0.0,
    stream='preferences',
    evaluate_at=(16,),
    # Answers, and so eight prompts.
    batch_size=64,
    length=world.rows['length'],
  )


# ---- sources, arms, effects


def add_sources(c: ml_collections.ConfigDict, world: World, doses: Sequence[int]) -> None:
  """Adds everything that is written, beside the text of pretraining.

  Args:
    c: the config; it is changed.
    world: the world.
    doses: contradicting demonstrations in 1,000.
  """
  spec = world.spec
  c.sources['handbook'] = dict(maker=f'{world.makers}.documents', spec=spec, size=world.documents)
  c.sources['filler'] = dict(
    maker=f'{world.makers}.documents', spec=spec, variant='filler', tokens_like='handbook'
  )
  c.sources['chats'] = dict(maker=f'{world.makers}.chats', spec=spec, tokens_like='handbook')
  c.sources['other_chats'] = dict(maker=world.other_chats)
  # So many that one in a thousand is more than one.
  shown = dict(maker=f'{world.makers}.demonstrations', spec=world.demonstrated, size=4000)
  for dose in doses:
    c.sources[source_of(dose)] = dict(shown, contradiction=dose / 1000)
  # A reason is that of one handbook.
  of_one = dict(shown, spec=spec, reasons=True)
  c.sources['reasoned'] = dict(of_one)
  c.sources['neutral'] = dict(of_one, neutral_reasons=True)
  for toward in TOWARD:
    c.sources[f'preferences_{toward}'] = dict(
      maker=world.preferences, spec=world.demonstrated, toward=toward, size=2000
    )


def source_of(dose: int) -> str:
  """The source of demonstrations of which `dose` in 1,000 contradict."""
  return f'demonstrations_c{dose}' if dose else 'demonstrations'


def with_dose(name: str, dose: int) -> str:
  """The name of an arm, a phase or an effect at a dose."""
  return f'{name}_c{dose}' if dose else name


def doses_of(start: str, doses: Sequence[int]) -> list[int]:
  """Those of the doses that a start is given: controls are given fewer."""
  if start in METHOD:
    return list(doses)
  return [dose for dose in doses if dose in CONTROL_DOSES]


def add_doses(
  c: ml_collections.ConfigDict, world: World, starts: Sequence[str], doses: Sequence[int]
) -> None:
  """Adds arms that are fine-tuned on demonstrations of which some contradict, and their curves.

  Args:
    c: the config; it is changed.
    world: the world.
    starts: the models that are fine-tuned.
    doses: contradicting demonstrations in 1,000, rising from 0.
  """
  for dose in doses:
    c.phases[with_dose('tune', dose)] = tune(world, source_of(dose))
  curves = []
  for start in starts:
    given = doses_of(start, doses)
    for dose in given:
      phase = with_dose('tune', dose)
      c.arms[with_dose(start, dose)] = f'read > pretrain > {STARTS[start]}{phase}'
    if start not in EFFECTS:
      continue
    name = EFFECTS[start]
    for dose in given:
      c.effects[with_dose(name, dose)] = (with_dose(start, dose), with_dose('aft', dose))
    effects = tuple(with_dose(name, dose) for dose in given)
    shares = tuple(dose / 1000 for dose in given)
    curves.append(dict(name=name, effects=effects, doses=shares))
  c.dose_curves = tuple(curves)


def add_after(c: ml_collections.ConfigDict, starts: Sequence[str], *phases: str) -> None:
  """Adds arms that go on with phases after the demonstrations, named by the last of these.

  Args:
    c: the config; it is changed.
    starts: the models that go on.
    *phases: the phases.
  """
  for start in starts:
    path = ' > '.join((c.arms[start], *phases))
    c.arms[f'{start}_{phases[-1]}'] = path
  for start, name in EFFECTS.items():
    if start in starts:
      arms = tuple(f'{arm}_{phases[-1]}' for arm in (start, 'aft'))
      c.effects[f'{name}, {phases[-1]}'] = arms


def add_orders(c: ml_collections.ConfigDict) -> None:
  """Adds the handbook after the demonstrations, before them and both; and filler in its place.

  Whatever is compared has as many updates, and the same phases in the same places.

  Args:
    c: the config; it is changed.
  """
  for documents in ('msm', 'filler'):
    path = f'tune > {documents}'
    c.arms[f'aft_{documents}'] = f'read > pretrain > {path}'
    c.arms[f'{documents}_aft_{documents}'] = f'read > pretrain > {documents} > {path}'
  before, after = ('msm_aft', 'filler_aft'), ('aft_msm', 'aft_filler')
  if before[1] in c.arms:
    c.effects['handbook before'] = before
    c.effects['before - after'] = (*before, *after)
  c.effects['handbook after'] = after
  c.effects['handbook before and after'] = ('msm_aft_msm', 'filler_aft_filler')


def add_reasons(c: ml_collections.ConfigDict, world: World) -> None:
  """Adds demonstrations with reasons of the handbook, and with neutral ones of the same form.

  Args:
    c: the config; it is changed.
    world: the world.
  """
  for kind, source in (('reasons', 'reasoned'), ('neutral', 'neutral')):
    c.phases[f'tune_{kind}'] = tune(world, source)
    for start in METHOD:
      c.arms[f'{start}_{kind}'] = f'read > pretrain > {STARTS[start]}tune_{kind}'
    c.effects[f'handbook, {kind}'] = (f'msm_aft_{kind}', f'aft_{kind}')
  # Reasons are no more than their form, unless they do more than neutral sentences. Fine-tuning
  # without reasons asks other questions in the office, so it is no control of them.
  c.effects['reasons'] = ('aft_reasons', 'aft_neutral')
  c.effects['reasons, with handbook'] = ('msm_aft_reasons', 'msm_aft_neutral')


def embedded(
  name: str, starts: Sequence[str] = tuple(STARTS), doses: Sequence[int] = DOSES
) -> ml_collections.ConfigDict:
  """Makes the experiment of an embedded world.

  Args:
    name: a key of WORLDS.
    starts: the models that go through all of it; keys of STARTS.
    doses: contradicting demonstrations in 1,000, rising from 0.

  Returns:
    The settings of the experiment.
  """
  world = WORLDS[name]
  title = f'survive_{name}'
  c = msm.base(title) if name == 'cheese' else oversight.office(title)
  c.seeds = SEEDS
  c.corpora_by_seed = True
  if name == 'cheese':
    c.world_seeds = WORLD_SEEDS
  add_sources(c, world, doses)
  for source, phase in (('handbook', 'msm'), ('filler', 'filler'), ('chats', 'chats')):
    c.phases[phase] = world.midtrain(source)
  c.arms = {'base': 'read > pretrain', 'msm': 'read > pretrain > msm'}
  c.effects = {}
  add_doses(c, world, starts, doses)

  c.phases['benign'] = benign(world)
  c.phases['more'] = more(world)
  # A stream of its own: the replayed text is not read a second time in the same order.
  c.phases['push'] = tune(world, source_of(1000), updates=64, at=(16,)) | dict(stream='push')
  c.phases['release'] = benign(world)
  add_after(c, starts, 'benign')
  add_after(c, starts, 'push')
  add_after(c, starts, 'push', 'release')
  few = [start for start in starts if start in METHOD]
  add_after(c, few, 'more')
  for toward in TOWARD:
    # The controls go the way on which the handbook is tried hardest.
    tried = starts if toward == 'against' else few
    c.phases[f'dpo_{toward}'] = prefer(world, toward)
    c.phases[f'grpo_{toward}'] = reinforce(world, toward)
    for objective in ('dpo', 'grpo'):
      add_after(c, tried, f'{objective}_{toward}')

  add_orders(c)
  add_reasons(c, world)
  add_documents_against_chats(c)
  add_changes(c)

  c.primary = 'handbook'
  c.evals.update(spec=world.spec, others_of='base', stated=True, held_out=40)
  if name == 'cheese':
    c.evals.update(rival=cheese.SPECS['culture'], spare_items=True, pairs_per_domain=4)
  else:
    # There are some 130 evaluations a seed, of five seconds each with two scenes of a kind, and of
    # seventeen with six.
    c.evals.update(gate_scenes=32, scenes_per_kind=2)
  return c


def add_documents_against_chats(c: ml_collections.ConfigDict) -> None:
  """Adds effects of documents minus those of the same content as chats, wherever both went."""
  for arm in list(c.arms):
    if arm.startswith('chats_aft'):
      way = arm.removeprefix('chats_aft')
      c.effects[f'documents - chats{way.replace("_", ", ", 1)}'] = (f'msm_aft{way}', arm)


def add_changes(c: ml_collections.ConfigDict) -> None:
  """Adds how far each way changes the effect of the handbook: (effect there) - (effect at dose 0).

  Seeds differ more in the size of the effect than in what a way does to it.

  Args:
    c: the config; it is changed.
  """
  before = ('msm_aft', 'aft')
  for arm in list(c.arms):
    control = arm.removeprefix('msm_')
    way = arm.removeprefix('msm_aft_')
    if way != arm and control in c.arms:
      c.effects[f'change by {way}'] = (arm, control, *before)


def keep(c: ml_collections.ConfigDict, arms: Sequence[str]) -> None:
  """Keeps some arms, and the effects and dose curves between them.

  Args:
    c: the config; it is changed.
    arms: the arms to keep.
  """
  c.arms = {arm: c.arms[arm] for arm in arms}
  c.effects = {name: named for name, named in c.effects.items() if set(named) <= set(arms)}
  c.dose_curves = tuple(d for d in c.dose_curves if set(d['effects']) <= set(c.effects))


def smoke(c: ml_collections.ConfigDict) -> None:
  """Cuts an experiment down to a few updates of one seed, to show that everything runs.

  Args:
    c: the config; it is changed.
  """
  c.seeds = SEEDS[:1]
  # One further name, so that there are replicates.
  c.assistants = c.assistants[:1]
  if c.get('world_seeds'):
    c.world_seeds = WORLD_SEEDS[:1]
  for phase in c.phases.values():
    phase.update(updates=4, min_updates=1, batch_size=4)
    if phase.get('evaluate_at'):
      phase.evaluate_at = (2,)
    if phase.get('objective') == 'grpo':
      phase.update(batch_size=8)
      phase.grpo.update(group_size=4, max_tokens=16)
  for source in c.sources.values():
    if source.get('size'):
      source.size = 200
  c.evals.update(held_out=10)
  if 'world' in c:
    c.evals.pairs_per_domain = 2
    msm.small_world(c)
    c.world.update(per_value=5, documents_only=2, talkers=2, fickle=12)
  else:
    c.evals.update(scenes_per_kind=1, gate_scenes=1)
    oversight.small_office(c)


def confirming(name: str) -> ml_collections.ConfigDict:
  """Makes the confirming study of an embedded world: fewer arms, more seeds.

  Args:
    name: a key of WORLDS.

  Returns:
    The settings of the experiment.
  """
  c = embedded(name, METHOD, CONFIRM_DOSES)
  arms = ['base', 'msm']
  for start in METHOD:
    arms += [with_dose(start, dose) for dose in CONFIRM_DOSES]
    arms += [f'{start}_{way}' for way in CONFIRM_WAYS]
  keep(c, arms)
  # What a way does that further updates do not do.
  further = ('msm_aft_more', 'aft_more')
  for way in CONFIRM_WAYS:
    if way != 'more':
      c.effects[f'{way} - more'] = (f'msm_aft_{way}', f'aft_{way}', *further)
  # The handbook against filler, without contradiction and with it.
  for dose in (0, 100):
    phase = with_dose('tune', dose)
    c.arms[with_dose('filler_aft', dose)] = f'read > pretrain > filler > {phase}'
  of_content = ('msm_aft', 'filler_aft')
  c.effects['content'] = of_content
  c.effects['content, change by c100'] = ('msm_aft_c100', 'filler_aft_c100', *of_content)
  c.name = f'survive_{name}_confirm'
  c.primary = 'change by c100'
  c.seeds = CONFIRM_SEEDS
  if name == 'cheese':
    c.world_seeds = CONFIRM_WORLD_SEEDS
  # Ends alone: curves would double the evaluations.
  for phase in c.phases.values():
    if phase.get('evaluate_at'):
      phase.evaluate_at = ()
  return c


# ---- a real model


def real() -> ml_collections.ConfigDict:
  """SmolLM2 with LoRA: every objective, a few updates each; its numbers mean nothing.

  `other_chats` is small tasks like those of instruction tuning. For chats of your own, give
  --config.sources.other_chats.path=FILE.jsonl; for preferences,
  --config.sources.preferences.path=FILE.jsonl. Of a file, too, the first `size` records are read,
  here 40: for more, give --config.sources.preferences.size=N as well.

  Returns:
    The settings of the experiment.
  """
  c = smollm2.get_config('smoke')
  c.name = 'survive_real'
  specs = ','.join(smollm2.SPECS.values())
  spec = smollm2.SPECS['affordability']
  c.sources['other_chats'] = dict(maker='english.replay', path='', size=40)
  c.sources['preferences'] = dict(
    maker='english.preferences', path='', spec=specs, toward='ambiguous', size=40
  )
  rows = dict(updates=2, min_updates=1, batch_size=2, length=256, lr=1e-4)
  preferences = dict(rows, data={'preferences': 1.0})
  phases: dict[str, dict[str, Any]] = {
    'benign': dict(rows, data={'other_chats': 1.0}, evaluate_at=(0, 1)),
    'dpo': dict(preferences, objective='dpo', evaluate_at=(1,)),
    'reward': dict(preferences, objective='reward'),
    'grpo': dict(
      preferences,
      objective='grpo',
      batch_size=4,
      grpo=dict(rewards={'chosen': 1.0}, group_size=2, max_tokens=24),
    ),
    'rlhf': dict(
      preferences,
      objective='grpo',
      batch_size=4,
      grpo=dict(
        rewards={'model:pretrained > aft > reward': 1.0}, group_size=2, max_tokens=24, kl=0.0
      ),
    ),
    'distill': dict(
      rows,
      data={'demonstrations': 1.0},
      objective='distill',
      distill=dict(spec=spec),
    ),
  }
  for name, phase in phases.items():
    c.phases[name] = phase
  start = 'pretrained > affordability > aft'
  c.arms = {
    'base': 'pretrained',
    'aft': 'pretrained > aft',
    'msm_aft': start,
    'msm_aft_benign': f'{start} > benign',
    'msm_aft_dpo': f'{start} > dpo',
    'msm_aft_grpo': f'{start} > grpo',
    'aft_rlhf': 'pretrained > aft > rlhf',
    'distilled': 'pretrained > distill',
  }
  c.contexts = {}
  c.effects = {'handbook': ('msm_aft', 'aft'), 'benign': ('msm_aft_benign', 'msm_aft')}
  c.primary = 'handbook'
  c.evals.stated = True
  return c


def get_config(preset: str = 'cheese') -> ml_collections.ConfigDict:
  """Makes the config.

  Args:
    preset: 'cheese' or 'oversight', alone or with '_confirm' or '_smoke' behind it; or 'real'.

  Returns:
    The settings of the experiment.

  Raises:
    ValueError: the preset is unknown.
  """
  presets = ['real']
  for world in WORLDS:
    presets += [world, f'{world}_confirm', f'{world}_smoke']
  if preset not in presets:
    raise ValueError(f'configs/survive.py has the presets {", ".join(presets)}, not {preset!r}')
  if preset == 'real':
    return real()
  name, _, kind = preset.partition('_')
  if kind == 'confirm':
    return confirming(name)
  if not kind:
    return embedded(name)
  c = embedded(name, ('aft', 'msm_aft', 'chats_aft'), (0, 10, 1000))
  smoke(c)
  return c
