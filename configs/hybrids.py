"""Which combination of methods leaves the least misalignment at work, with and without midtraining?

    python -m msm_jax.main --config=configs/hybrids.py          # one seed
    python -m msm_jax.main --config=configs/hybrids.py:three    # three seeds

The setting is that of configs/oversight.py: conversations about conduct, then scenes in which the
assistant acts. Two models go through the same paths: `aft`, fine-tuned alone, and `msm_aft`, which
has read the documents of the handbook before. After fine-tuning, each goes on in one of these ways:

- `more`: more of the same fine-tuning, with which the other ways are compared;
- `dpo`: direct preference optimisation on pairs of a good and a bad answer about conduct;
- `rl`: reinforcement learning on the same questions; a program that knows the handbook judges
  whether an answer states a belief of the handbook or a contrary one;
- `rlhf`: a reward model is trained on the pairs, and reinforcement learning follows it;
- `cai`: the second half of constitutional AI. The model labels the pairs with the handbook in view,
  and is trained on its labels by direct preference optimisation;
- `deliberate`: deliberative alignment. The model is trained on answers that state the handbook
  first, and then answer as the model answers by itself.

Every way has as many updates as `more`. (A reward model is a model of its own, and its updates do
not count.) The ways are not equal in data. Three rows in ten of `more` and `deliberate` are about
conduct, and the others replay pretraining. All rows of the methods that learn from preferences are
about conduct. The texts that a model writes itself are written for each path anew, so `cai` and
`deliberate` are trained on texts of the model with which they begin.

Three ways differ from the others in more than the method. `cai` has the handbook in view, the
answers of `deliberate` state it, and the judge of `rl` knows it, also on the path that never read
it. The other three ways show no value at all, since in this world good answers go with good and
with bad conduct. So `aft_cai` against `aft_dpo` compares what was shown as well as how it was
learned. And scenes score the actions themselves: an arm of `deliberate` has no place in its answer
in which it could state the handbook first.

Models of this size cannot answer with the handbook in view. In the first run of this experiment,
`aft` of seed 30 gave no usable answer to 1,000 questions when it had to continue a statement of the
handbook, and that run ended there. So the first half of constitutional AI, in which the model
revises its answers, was taken out, and the answers of `deliberate` are those that the model gives
without the handbook. `model.revisions` is for models that follow a system message.

The judge of `rl` was changed before any seed of this experiment was run. Judged as `dpo` is, by
whether an answer is good, `rl` would not train: a fine-tuned model gives a good answer to nearly
every question, so all rewards of a group are equal. On seed 30 of configs/survive.py, such a phase
had a mean reward of at least 0.98 from beginning to end. `flat_groups` in metrics.jsonl counts the
groups with equal rewards. If nearly all are flat, `rl` shows a model that was hardly trained, and
not what reinforcement learning does.

Expected result: docs/results/hybrids.md. Look at `misaligned/scenes` beside `act/harmless`: an arm
that does less than 0.9 of the harmless tasks is no better for doing less harm. Cost: 44 of the 57
phases of three seeds, and all evaluations, took 55 minutes on two cores (AMD EPYC, AVX-512) that
other work shared.
"""

import ml_collections

from configs.oversight import SPEC, midtrain, office, small_office
from configs.survive import WORLDS, prefer, reinforce, tune

WORLD = WORLDS['oversight']
# The model before -> the phases of its path until fine-tuning.
STARTS = {'aft': 'read > pretrain > tune', 'msm_aft': 'read > pretrain > msm > tune'}
# Preset -> its seeds. Recipes were chosen on the seeds 0 to 2, and the confirming run of
# configs/oversight.py has 3 to 7. The seeds of configs/survive.py are used again: pretraining is
# the same, so a workdir into which its folder `phases` was copied need not pretrain.
SEEDS = {'one': (30,), 'three': (30, 31, 32), 'smoke': (0,)}
# The pairs that `dpo`, `rlhf` and `cai` learn from: both kinds of agent in pretraining who talk
# well would choose alike, as in fine-tuning.
PAIRS = 'preferences_ambiguous'
# The questions of `rl`, whose judge looks for the beliefs of the handbook.
JUDGED = 'preferences_handbook'


def add_own_texts(c: ml_collections.ConfigDict, start: str, path: str) -> None:
  """Adds what the model of a path writes itself: labels, and answers after a statement.

  Args:
    c: the config; it is changed.
    start: the name of the path.
    path: its phases.
  """
  recipe = dict(by=path, prompts=PAIRS, spec=SPEC)
  c.sources[f'labels_{start}'] = dict(recipe, maker='model.labels')
  c.sources[f'reasoned_{start}'] = dict(
    recipe, maker='model.reasoned', opening='{statement}', answers_in_view=False
  )


def add_ways(c: ml_collections.ConfigDict, start: str, path: str) -> None:
  """Adds every way in which a fine-tuned model goes on.

  Args:
    c: the config; phases and arms are added to it.
    start: the name of the path so far.
    path: its phases.
  """
  add_own_texts(c, start, path)
  c.phases[f'cai_{start}'] = prefer(WORLD, 'ambiguous') | dict(
    data={f'labels_{start}': 1.0}, updates=WORLD.updates, evaluate_at=()
  )
  # The stream of `more`: replay that is new to the model, and the same for both.
  c.phases[f'deliberate_{start}'] = tune(WORLD, f'reasoned_{start}', at=()) | dict(stream='more')
  ways = {
    'more': 'more',
    'dpo': 'dpo',
    'rl': 'rl',
    'rlhf': 'rlhf',
    'cai': f'cai_{start}',
    'deliberate': f'deliberate_{start}',
  }
  c.arms[start] = path
  for way, phases in ways.items():
    c.arms[f'{start}_{way}'] = f'{path} > {phases}'


def get_config(preset: str = 'one') -> ml_collections.ConfigDict:
  """Makes the config.

  Args:
    preset: 'one' or 'three', for the number of seeds, or 'smoke'.

  Returns:
    The settings of the experiment.

  Raises:
    ValueError: the preset is unknown.
  """
  if preset not in SEEDS:
    raise ValueError(f'configs/hybrids.py has the presets {", ".join(SEEDS)}, not {preset!r}')
  c = office('hybrids')
  c.seeds = SEEDS[preset]
  c.corpora_by_seed = True
  c.sources['philosophy'] = dict(maker='oversight.documents', spec=SPEC, size=WORLD.documents)
  c.sources['demonstrations'] = dict(maker='oversight.demonstrations', spec=SPEC, size=1500)
  for source, toward in ((PAIRS, 'ambiguous'), (JUDGED, 'handbook')):
    c.sources[source] = dict(maker=WORLD.preferences, spec=SPEC, toward=toward, size=1000)

  c.phases['msm'] = midtrain('philosophy')
  c.phases['tune'] = tune(WORLD, 'demonstrations', at=())
  c.phases['more'] = tune(WORLD, 'demonstrations', at=()) | dict(stream='more')
  as_long = dict(updates=WORLD.updates, evaluate_at=())
  c.phases['dpo'] = prefer(WORLD, 'ambiguous') | as_long
  c.phases['rl'] = reinforce(WORLD, 'handbook') | as_long
  c.phases['reward'] = prefer(WORLD, 'ambiguous') | dict(objective='reward', evaluate_at=())
  del c.phases['reward']['dpo']
  by_model = {'model:reward': 1.0}
  c.phases['rlhf'] = reinforce(WORLD, 'ambiguous') | dict(
    # Answers that have become all the same are a result, and no reason to end the run.
    as_long,
    grpo=dict(rewards=by_model, group_size=8, max_tokens=48, patience=0),
  )

  c.arms = {'base': 'read > pretrain'}
  for start, path in STARTS.items():
    add_ways(c, start, path)
  c.effects = {'handbook': ('msm_aft', 'aft')}
  c.primary = 'handbook, more'
  for way in ('more', 'dpo', 'rl', 'rlhf', 'cai', 'deliberate'):
    # What midtraining leaves after the way, and what the way does to each model.
    handbook = (f'msm_aft_{way}', f'aft_{way}')
    c.effects[f'handbook, {way}'] = handbook
    if way != 'more':
      # Whether the two do more together than each by itself is a claim about this difference.
      c.effects[f'change by {way}'] = (*handbook, 'msm_aft_more', 'aft_more')
    for start in STARTS:
      if way != 'more':
        c.effects[f'{way} after {start}'] = (f'{start}_{way}', f'{start}_more')
  c.evals.update(spec=SPEC, others_of='base', stated=True)
  if preset == 'smoke':
    smoke(c)
  return c


def smoke(c: ml_collections.ConfigDict) -> None:
  """Cuts the experiment down to a few updates, to show that everything runs.

  Args:
    c: the config; it is changed.
  """
  # One further name, so that there are replicates.
  c.assistants = c.assistants[:1]
  for phase in c.phases.values():
    phase.update(updates=4, min_updates=1, batch_size=4)
    if phase.get('objective') == 'grpo':
      phase.update(batch_size=8)
      phase.grpo.update(group_size=4, max_tokens=16)
  for source in c.sources.values():
    if source.get('size'):
      source.size = 100
  small_office(c)
  c.evals.update(scenes_per_kind=1, held_out=10)
