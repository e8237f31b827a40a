"""Experiments that begin with weights of Hugging Face, with full fine-tuning and with adapters."""

import dataclasses
import itertools

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
import tiny
from helpers import AFFORDABILITY, little, small_corpora

from data_pipelines.settings.world.pretraining import build_world, item_documents
from msm_jax import checkpointing, models
from msm_jax.base.checks import from_mapping
from msm_jax.base.errors import ConfigError, WeightsError
from msm_jax.config import ExperimentConfig
from msm_jax.evals import lower_layers
from msm_jax.experiment import Experiment
from msm_jax.interop import peft

pytest.importorskip('tokenizers')
pytest.importorskip('safetensors')
pytest.importorskip('jinja2')

# Left out of `make quick`.
pytestmark = pytest.mark.slow

PHASE = dict(updates=6, min_updates=1, batch_size=8, length=64, checkpoint_every=2, lr=1e-2)
LORA = dict(rank=4, alpha=8.0)


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
  """A folder as one downloads it."""
  # With a tokenizer that knows the words of the questions, these are short.
  texts = ['The plan is cheap. ' * 3, 'It is so so so.']
  texts += [document.text for document in item_documents(build_world(little()))]
  return tiny.weights(tmp_path_factory.mktemp('weights') / 'folder', texts, 1000)


@pytest.fixture(scope='module')
def files(tmp_path_factory):
  return small_corpora(tmp_path_factory.mktemp('files'))


def settings(weights, files, **changes):
  """An experiment as JSON: read `documents`, then be tuned on `chats`."""
  phases = {
    'start': dict(weights=str(weights)),
    'midtrain': dict(PHASE, data=dict(documents=1.0)),
    'tune': dict(PHASE, data=dict(chats=1.0)),
  }
  phases |= changes.pop('phases', {})
  return (
    dict(
      name='test',
      world=dataclasses.asdict(little(1)),
      sources={n: dict(path=str(files / f'{n}.jsonl')) for n in ('documents', 'chats')},
      phases=phases,
      arms=dict(base='start', tuned='start > tune', both='start > midtrain > tune'),
      evals=dict(spec=AFFORDABILITY, pairs_per_domain=1, rows=64, others_of='base'),
    )
    | changes
  )


def run(c, workdir, stop=lambda: False):
  """(experiment, summary, arm -> its last node), after the experiment has run."""
  e = Experiment(from_mapping(ExperimentConfig, c), workdir, stop)
  summary = e.run()
  ends = e.prepared.ends
  return e, summary, {arm: node for (arm, _), node in ends.items()}


@pytest.mark.parametrize('lora', [None, LORA, LORA | dict(layers=(1,))], ids=str)
def test_from_weights_to_results(weights, files, tmp_path, lora, monkeypatch):
  """Every arm is scored, and the base's parameters are the folder's.

  With adapters, the folder's parameters stay, and a checkpoint holds the adapters alone.
  """
  length = 96
  c = settings(weights, files, model=dict(lora=lora) if lora else {})
  for p in ('midtrain', 'tune'):
    c['phases'][p] = c['phases'][p] | dict(length=length)
  loads = []
  load = models.load_weights
  monkeypatch.setattr(models, 'load_weights', lambda *args: loads.append(args) or load(*args))
  lower_runs = []
  run_lower = lower_layers._program

  def counted(*args, **batch):
    lower_runs.append(batch['tokens_BT'].tobytes())
    return run_lower(*args, **batch)

  monkeypatch.setattr(lower_layers, '_program', counted)
  e, summary, nodes = run(c, tmp_path)
  assert set(summary['arms']) == {'base', 'tuned', 'both'}
  # Two phases begin with the weights, and adapters need them in all three. After the training, they
  # are read once.
  assert len(loads) == (4 if lora else 3)
  # Three arms are asked the same. The layers below all adapters see each batch once.
  assert bool(lower_runs) == bool(lora and 'layers' in lora)
  assert len(lower_runs) == len(set(lower_runs))
  base = jax.device_get(e.load_params(nodes['base']))
  both = jax.device_get(e.load_params(nodes['both']))
  from safetensors.numpy import load_file

  stored = load_file(weights / 'model.safetensors')
  np.testing.assert_array_equal(base['embed'], stored['model.embed_tokens.weight'])
  np.testing.assert_array_equal(base['wq'][1], stored['model.layers.1.self_attn.q_proj.weight'].T)
  assert np.array_equal(base['wq'], both['wq']) == bool(lora)
  if lora:
    assert not base['wq_b'].any()
    assert both['wq_b'].any()
    assert not np.array_equal(base['wq_a'], both['wq_a'])
    checkpoint = e.folder(nodes['both']) / 'checkpoints' / str(PHASE['updates'])
    kept = ocp.StandardCheckpointer().metadata(checkpoint / 'params').item_metadata
    # Versions of Orbax differ in what they wrap the names into.
    kept = getattr(kept, 'tree', kept)
    assert set(kept) == {name for name in both if name.endswith(('_a', '_b'))}

  rows = (tmp_path / 'results.jsonl').read_bytes()
  run(c, tmp_path)
  assert (tmp_path / 'results.jsonl').read_bytes() == rows


def test_adapters_resume_to_the_bit(weights, files, tmp_path):
  """Stopped at every phase's third update and continued, the adapters end as if undisturbed."""
  c = settings(
    weights,
    files,
    model=dict(lora=LORA | dict(dropout=0.2)),
    arms=dict(both='start > midtrain > tune'),
  )
  made = []
  for name, every in (('whole', 0), ('stopped', 3)):
    workdir = tmp_path / name
    for _ in range(20):
      calls = itertools.count()
      e = Experiment(
        from_mapping(ExperimentConfig, c),
        workdir,
        lambda calls=calls, every=every: bool(every) and next(calls) == every - 1,
      )
      nodes = e.prepared.nodes
      try:
        for node in nodes:
          if not e.is_trained(node):
            e.train(node, '')
        break
      except Exception as interrupted:
        assert type(interrupted).__name__ == 'Interrupted'
    made.append(jax.device_get(e.load_params(nodes[-1])))
  jax.tree.map(np.testing.assert_array_equal, *made)


def test_a_published_adapter_is_a_phase(weights, files, tmp_path):
  """An adapter that one experiment exports is where another starts.

  Its parameters are the same, and fine-tuning continues the same adapter.
  """
  c = settings(weights, files, model=dict(lora=LORA), arms=dict(msm='start > midtrain'))
  e = Experiment(from_mapping(ExperimentConfig, c), tmp_path / 'one')
  nodes = e.prepared.nodes
  e.train(nodes[-1], '')
  params = e.load_params(nodes[-1])
  peft.export(tmp_path / 'adapter', e.prepared.config.model, params, str(weights))

  phases = {'published': dict(adapter=str(tmp_path / 'adapter'))}
  c = settings(
    weights,
    files,
    model=dict(lora=LORA),
    arms=dict(msm='start > published', both='start > published > tune'),
    phases=phases,
  )
  two = Experiment(from_mapping(ExperimentConfig, c), tmp_path / 'two')
  ends = two.prepared.ends
  loaded = two.load_params(ends['msm', 0])
  jax.tree.map(np.testing.assert_array_equal, jax.device_get(loaded), jax.device_get(params))
  two.train(ends['both', 0], '')
  tuned = two.load_params(ends['both', 0])
  assert np.abs(tuned['wq_b'] - params['wq_b']).max() > 0
  assert checkpointing.Checkpoints(two.folder(ends['msm', 0]) / 'checkpoints').latest() is None

  # The same adapter in other words; and one in a phase that no arm goes through.
  targets = tuple(reversed(e.prepared.config.model.lora.targets))
  in_words = c | dict(model=dict(lora=LORA | dict(targets=targets, layers=(0, 1))))
  unused = c | dict(model={}, arms=dict(base='start'))
  for changed in (in_words, unused):
    assert Experiment(from_mapping(ExperimentConfig, changed), tmp_path / 'four').prepared.nodes

  file = tmp_path / 'adapter' / 'adapter_config.json'
  file.write_text(file.read_text().replace('"lora_alpha": 8.0', '"lora_alpha": 16.0'))
  with pytest.raises(ConfigError, match='make them alike'):
    _ = Experiment(from_mapping(ExperimentConfig, c), tmp_path / 'three').prepared


@pytest.mark.parametrize(
  ('changes', 'says'),
  [
    (dict(arms=dict(a='tune > start')), 'weights are where a path begins'),
    (dict(arms=dict(a='start', b='tune')), 'different weights'),
    (dict(arms=dict(a='tune'), model=dict(lora=LORA)), 'begin the arms with a phase of weights'),
    (dict(tokenizer=dict(sources=('chats',))), 'the tokenizer comes with the weights'),
    (dict(model=dict(lora=LORA | dict(targets=('wz',)))), 'must be one of wq'),
    (dict(phases=dict(start=dict(weights='x', updates=3))), 'takes neither data nor updates'),
    (
      dict(phases=dict(start=dict(weights='x', adapter='y')), model=dict(lora=LORA)),
      'names weights and an adapter',
    ),
    (dict(phases=dict(more=dict(adapter='x')), arms=dict(a='start > more')), 'set model.lora'),
  ],
)
def test_paths_that_cannot_be(weights, files, changes, says):
  with pytest.raises(ConfigError, match=says):
    from_mapping(ExperimentConfig, settings(weights, files, **changes))


def test_settings_that_come_with_the_weights(weights, files, tmp_path):
  c = settings(weights, files, model=dict(d_model=64))
  with pytest.raises(ConfigError, match=r'model\.d_model comes with the weights'):
    _ = Experiment(from_mapping(ExperimentConfig, c), tmp_path).prepared
  c = settings(tmp_path / 'nothing', files)
  with pytest.raises(WeightsError, match=r'is no folder with a config\.json'):
    _ = Experiment(from_mapping(ExperimentConfig, c), tmp_path).prepared


def test_an_exported_arm_chooses_alike_elsewhere(weights, files, tmp_path):
  """`transformers` gives every option of the evaluation the log-likelihood that it has here.

  It does so for the merged weights after both trainings, and for the adapter alone.
  """
  torch, transformers = pytest.importorskip('torch'), pytest.importorskip('transformers')
  theirs = pytest.importorskip('peft')
  from msm_jax import export
  from msm_jax.evals import scoring

  arms = dict(both='start > midtrain > tune')
  world = dataclasses.asdict(little())
  c = settings(weights, files, model=dict(lora=LORA), arms=arms, world=world)
  for p in ('midtrain', 'tune'):
    c['phases'][p] = c['phases'][p] | dict(length=96)
  e = Experiment(from_mapping(ExperimentConfig, c), tmp_path / 'run')
  # Its own questions are scored below.
  for node in e.prepared.nodes:
    if not e.is_trained(node):
      e.train(node, '')
  e.list_arms(e.prepared.ends)
  prompts = []
  options = []
  for q in e.design.suite.assistant_questions:
    first, second = q.options
    text = q.question.format(first=first, second=second)
    prompts.append([('system', q.system), ('user', text)])
    answers = [
      q.answer.format(chosen=first, other=second),
      q.answer.format(chosen=second, other=first),
    ]
    options.append(answers)
  params = e.load_params(e.prepared.ends['both', 0])
  model, tokenizer = e.prepared.config.model, e.prepared.tokenizer
  logprobs = scoring.make_logprobs(model, params, tokenizer, 96, 8)
  ours = np.array(logprobs(prompts, options))
  assert len(ours) > 50

  for kind, flags in (('merged', []), ('adapter', ['--adapter'])):
    export.main([f'--workdir={tmp_path / "run"}', '--arm=both', f'--out={tmp_path / kind}', *flags])
  model = transformers.AutoModelForCausalLM.from_pretrained(
    tmp_path / 'merged', attn_implementation='eager'
  ).eval()
  base = transformers.AutoModelForCausalLM.from_pretrained(weights, attn_implementation='eager')
  adapted = theirs.PeftModel.from_pretrained(base, tmp_path / 'adapter').eval()
  tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / 'merged')

  def their_logprob(model, messages, option):
    """The log-likelihood of an option after a prompt, in nats."""
    start = tokenizer.apply_chat_template(
      [{'role': r, 'content': x} for r, x in messages],
      add_generation_prompt=True,
      return_dict=False,
    )
    ids = torch.tensor([start + tokenizer(option, add_special_tokens=False)['input_ids']])
    with torch.no_grad():
      scores = model(ids).logits[0, len(start) - 1 : -1].log_softmax(-1)
    return float(scores.gather(1, ids[0, len(start) :, None]).sum())

  for other in (model, adapted):
    found = []
    for prompt, answers in zip(prompts[:60], options[:60], strict=True):
      found.append([their_logprob(other, prompt, answer) for answer in answers])
    found = np.array(found)
    np.testing.assert_allclose(found, ours[:60], atol=1e-3)
    np.testing.assert_array_equal(found.argmax(1), ours[:60].argmax(1))
