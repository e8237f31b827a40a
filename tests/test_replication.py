"""Corpora and worlds that follow the seed."""

import dataclasses
import json

import pytest
from helpers import AFFORDABILITY, little

from data_pipelines.sources import WRITER_SEEDS_PER_SEED
from msm_jax.base.checks import from_mapping, to_json
from msm_jax.base.errors import ConfigError
from msm_jax.config import ExperimentConfig
from msm_jax.experiment import Experiment
from msm_jax.running.outputs import without_model
from msm_jax.running.replication import config_of_seed, what_varies

PHASE = dict(updates=2, min_updates=1, batch_size=8, length=128)


def settings(**changes):
  """A small experiment whose makers write every corpus."""
  documents = dict(maker='spec.documents', spec=AFFORDABILITY, size=60)
  return from_mapping(
    ExperimentConfig,
    dict(
      name='replicated',
      world=dataclasses.asdict(little()),
      sources=dict(facts=dict(maker='world.facts'), documents=documents),
      tokenizer=dict(vocab_size=400, sources=('facts',)),
      model=dict(d_model=32, n_layers=1, n_heads=2, n_kv_heads=2, head_dim=8, d_ff=48),
      phases=dict(read=dict(PHASE, data=dict(facts=1)), msm=dict(PHASE, data=dict(documents=1))),
      arms=dict(base='read', msm='read > msm'),
      evals=dict(spec=AFFORDABILITY, pairs_per_domain=1, held_out=5, others_of='base', rows=64),
      seeds=(0, 1, 2),
    )
    | changes,
  )


def test_without_variation_all_seeds_share_their_settings():
  config = settings()
  assert config_of_seed(config, 2) is config
  # Experiments that do not vary their texts keep their identity.
  assert 'corpora_by_seed' not in to_json(config) and 'world_seeds' not in to_json(config)
  assert what_varies(config) == ['initialisation', 'order of rows']


def test_seed_0_has_the_corpora_of_an_experiment_without_variation(tmp_path):
  varied = Experiment(settings(corpora_by_seed=True), tmp_path)
  plain = Experiment(settings(), tmp_path)
  for source in ('facts', 'documents'):
    assert varied.designs[0].fingerprint_of(source) == plain.design.fingerprint_of(source)


def test_the_seed_of_an_experiment_is_no_setting_of_a_recipe():
  """Makers of pretraining text refuse a seed of their own, and what is added for a seed of the
  experiment stays: the identities of stored corpora hold it."""
  varied = config_of_seed(settings(corpora_by_seed=True), 2)
  seeds = {source.seed for source in varied.sources.values()}
  assert seeds == {2 * WRITER_SEEDS_PER_SEED}


@pytest.mark.slow
def test_every_seed_reads_corpora_of_its_own(tmp_path):
  # Most of the time of a run is that of its questions, of which few people get few.
  world = dataclasses.asdict(little(1))
  config = settings(corpora_by_seed=True, world_seeds=(0, 1), world=world)
  made = Experiment(config, tmp_path)
  prints = {s: design.fingerprint_of('documents') for s, design in made.designs.items()}
  assert len(set(prints.values())) == 3
  # Seeds 0 and 2 share a world; it is told differently.
  worlds = [made.designs[seed].world for seed in (0, 1, 2)]
  assert worlds[0].people == worlds[2].people != worlds[1].people
  summary = made.run()
  assert summary['seeds'] == [0, 1, 2]
  assert summary['what_varies'][2:] == ['corpora', 'world (seeds 0, 1)']
  contents = []
  for seed in (0, 1, 2):
    records = list(made.prepared_by_seed[seed].corpora['documents'].records())
    contents.append([record.text for record in records])
  assert contents[0] != contents[1] != contents[2] != contents[0]
  # A second run finds everything trained and measured.
  again = Experiment(config, tmp_path)
  again.train = lambda *_: pytest.fail('a finished phase was trained again')
  assert again.run() == summary


def test_corpora_of_files_do_not_vary(tmp_path):
  file = tmp_path / 'mine.jsonl'
  file.write_text(json.dumps({'text': 'Ari looks at prices.'}))
  of_file = dict(path=str(file))
  base = settings(corpora_by_seed=True)
  made = {name: dataclasses.asdict(source) for name, source in base.sources.items()}
  assert 'corpora' in what_varies(base)
  # One that no arm reads says nothing.
  unread = made | {'unread': of_file}
  assert 'corpora' in what_varies(settings(corpora_by_seed=True, sources=unread))
  mixed = made | {'documents': of_file}
  assert 'corpora (facts)' in what_varies(settings(corpora_by_seed=True, sources=mixed))
  varies = what_varies(settings(corpora_by_seed=True, sources=dict.fromkeys(made, of_file)))
  assert varies == ['initialisation', 'order of rows']


def test_texts_of_models_vary():
  """The writer has the seed of whoever reads what it writes."""
  made = {name: dataclasses.asdict(source) for name, source in settings().sources.items()}
  made['shown'] = dict(maker='spec.demonstrations', spec=AFFORDABILITY, size=9)
  made['own'] = dict(
    maker='model.revisions', by='read > msm', prompts='shown', spec=AFFORDABILITY, size=9
  )
  phases = dict(
    read=dict(PHASE, data=dict(facts=1)),
    msm=dict(PHASE, data=dict(documents=1)),
    tune=dict(PHASE, data=dict(own=1)),
  )
  changes = dict(sources=made, phases=phases, arms=dict(base='read', tuned='read > tune'))
  assert what_varies(settings(**changes))[2:] == ['texts that models write (own)']
  assert what_varies(settings(**changes, corpora_by_seed=True))[2:] == ['corpora']
  # One that no arm reads says nothing.
  changes['arms'] = dict(base='read')
  assert what_varies(settings(**changes))[2:] == []
  # Weights from outside write the same for every seed.
  made['own']['by'] = 'start'
  phases = dict(start=dict(weights='folder'), tune=dict(PHASE, data=dict(own=1)))
  arms = dict(base='start', tuned='start > tune')
  over_weights = settings(sources=made, phases=phases, arms=arms, tokenizer={}, model={})
  assert what_varies(over_weights) == ['order of rows']


def test_worlds_vary_only_between_the_seeds_that_run():
  # Seed 0 has the first world, and so has seed 2.
  assert what_varies(settings(world_seeds=(10, 11), seeds=(0, 2)))[2:] == []
  assert what_varies(settings(world_seeds=(10, 11, 12), seeds=(0, 2)))[2:] == [
    'world (seeds 10, 12)'
  ]


def test_imported_weights_do_not_vary():
  weights = dict(
    tokenizer={},
    phases=dict(start=dict(weights='some-weights'), msm=dict(PHASE, data=dict(documents=1))),
    arms=dict(base='start', msm='start > msm'),
  )
  assert what_varies(settings(**weights, model={})) == ['order of rows']
  with_adapters = settings(**weights, model=dict(lora={}))
  assert what_varies(with_adapters) == ['initialisation of adapters', 'order of rows']


def counted(tmp_path, first, second):
  """What counting words gives two arms that read these sources."""
  config = settings(
    sources=dict(
      facts=dict(maker='world.facts'),
      people=dict(maker='world.persona_documents'),
      # No arm reads it, so it is never written.
      chats=dict(maker='world.persona_chats'),
      documents=dict(maker='spec.documents', spec=AFFORDABILITY, size=60),
      filler=dict(maker='spec.documents', spec=AFFORDABILITY, size=60, variant='filler'),
    ),
    tokenizer=dict(vocab_size=400, sources=('facts', 'people')),
    phases=dict(
      read=dict(PHASE, data=dict(facts=1)),
      one=dict(PHASE, data={first: 1}),
      two=dict(PHASE, data={second: 1}),
    ),
    arms=dict(one='read > one', two='read > two'),
    seeds=(0,),
  )
  return without_model(config, Experiment(config, tmp_path).prepared, tmp_path)


def test_kept_answers_of_counting_belong_to_what_an_arm_reads(tmp_path):
  before = counted(tmp_path, 'documents', 'filler')
  assert before['one'] != before['two']
  after = counted(tmp_path, 'filler', 'documents')
  assert after == {'one': before['two'], 'two': before['one']}
  assert counted(tmp_path, 'documents', 'filler') == before


def test_identities_differ(tmp_path):
  identities = set()
  for changes in ({}, dict(corpora_by_seed=True), dict(world_seeds=(0, 1))):
    identities.add(Experiment(settings(**changes), tmp_path).identity)
  assert len(identities) == 3


def test_seeds_below_zero_are_refused():
  with pytest.raises(ConfigError, match='need seeds of at least 0'):
    settings(corpora_by_seed=True, seeds=(-1,))
