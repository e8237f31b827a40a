"""An experiment that begins with weights of Hugging Face: full fine-tuning and adapters, resume, import of an adapter, what is refused."""

import dataclasses

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
import tiny
from helpers import AFFORDABILITY, little, small_corpora

from msm_jax import checkpointing
from msm_jax.base.checks import from_mapping
from msm_jax.base.errors import ConfigError, WeightsError
from msm_jax.config import ExperimentConfig
from msm_jax.experiment import Experiment, plan, tree_order
from msm_jax.interop import peft

pytest.importorskip('tokenizers')
pytest.importorskip('safetensors')
pytest.importorskip('jinja2')

PHASE = dict(updates=6, min_updates=1, batch_size=8, length=64, checkpoint_every=2, lr=1e-2)
LORA = dict(rank=4, alpha=8.0)


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
  """A folder as one downloads it."""
  return tiny.weights(
    tmp_path_factory.mktemp('weights') / 'folder',
    ['Ari prefers what is cheap.', 'The plan is cheap. ' * 3, 'It is so so so.'],
  )


@pytest.fixture(scope='module')
def files(tmp_path_factory):
  return small_corpora(tmp_path_factory.mktemp('files'))


def settings(weights, files, **changes):
  phases = {
    'start': dict(weights=str(weights)),
    'midtrain': dict(PHASE, data=dict(documents=1.0)),
    'tune': dict(PHASE, data=dict(chats=1.0)),
  }
  phases |= changes.pop('phases', {})
  return (
    dict(
      name='test',
      world=dataclasses.asdict(little()),
      sources={n: dict(path=str(files / f'{n}.jsonl')) for n in ('documents', 'chats')},
      phases=phases,
      arms=dict(base='start', tuned='start > tune', both='start > midtrain > tune'),
      evals=dict(spec=AFFORDABILITY, pairs_per_domain=1, rows=8),
    )
    | changes
  )


def run(c, workdir, stop=lambda: False):
  e = Experiment(from_mapping(ExperimentConfig, c), workdir, stop)
  summary = e.run()
  ends = plan(
    e.config, {n: x.fingerprint for n, x in e.corpora.items()}, e.tokenizer.fingerprint, e.imports
  )
  return e, summary, {arm: node for (arm, _), node in ends.items()}


@pytest.mark.parametrize('lora', [None, LORA])
def test_from_weights_to_results(weights, files, tmp_path, lora):
  """Every arm is scored; the base's parameters are the folder's; with adapters, a checkpoint holds nothing else and the folder's stay."""
  length = max(256, PHASE['length'])
  c = settings(weights, files, model=dict(lora=lora) if lora else {})
  for p in ('midtrain', 'tune'):
    c['phases'][p] = c['phases'][p] | dict(length=length)
  e, summary, nodes = run(c, tmp_path)
  assert set(summary['arms']) == {'base', 'tuned', 'both'}
  base, both = (
    jax.device_get(e.load_params(nodes['base'])),
    jax.device_get(e.load_params(nodes['both'])),
  )
  from safetensors.numpy import load_file

  stored = load_file(weights / 'model.safetensors')
  np.testing.assert_array_equal(base['embed'], stored['model.embed_tokens.weight'])
  np.testing.assert_array_equal(base['wq'][1], stored['model.layers.1.self_attn.q_proj.weight'].T)
  assert np.array_equal(base['wq'], both['wq']) == bool(lora)
  if lora:
    assert (
      not base['wq_b'].any()
      and both['wq_b'].any()
      and not np.array_equal(base['wq_a'], both['wq_a'])
    )
    kept = ocp.StandardCheckpointer().metadata(
      e.folder(nodes['both']) / 'checkpoints' / str(PHASE['updates']) / 'params'
    )
    assert set(
      kept.item_metadata.tree if hasattr(kept.item_metadata, 'tree') else kept.item_metadata
    ) == {k for k in both if k.endswith(('_a', '_b'))}

  rows = (tmp_path / 'results.jsonl').read_bytes()
  run(c, tmp_path)
  assert (tmp_path / 'results.jsonl').read_bytes() == rows


def test_adapters_resume_to_the_bit(weights, files, tmp_path):
  """Stopped at every phase's third update and gone on, the adapters end as undisturbed."""
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
      calls = iter(range(10**6))
      e = Experiment(
        from_mapping(ExperimentConfig, c),
        workdir,
        lambda calls=calls, every=every: bool(every) and next(calls) == every - 1,
      )
      e.prepare_data()
      nodes = tree_order(
        plan(
          e.config,
          {n: x.fingerprint for n, x in e.corpora.items()},
          e.tokenizer.fingerprint,
          e.imports,
        )
      )
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
  """What one experiment exports, another starts from: its parameters are the same, and fine-tuning continues the same adapter."""
  c = settings(weights, files, model=dict(lora=LORA), arms=dict(msm='start > midtrain'))
  e = Experiment(from_mapping(ExperimentConfig, c), tmp_path / 'one')
  e.prepare_data()
  nodes = tree_order(
    plan(
      e.config, {n: x.fingerprint for n, x in e.corpora.items()}, e.tokenizer.fingerprint, e.imports
    )
  )
  e.train(nodes[-1], '')
  params = e.load_params(nodes[-1])
  peft.export(tmp_path / 'adapter', e.config.model, params, str(weights))

  phases = {'published': dict(adapter=str(tmp_path / 'adapter'))}
  c = settings(
    weights,
    files,
    model=dict(lora=LORA),
    arms=dict(msm='start > published', both='start > published > tune'),
    phases=phases,
  )
  two = Experiment(from_mapping(ExperimentConfig, c), tmp_path / 'two')
  two.prepare_data()
  ends = plan(
    two.config,
    {n: x.fingerprint for n, x in two.corpora.items()},
    two.tokenizer.fingerprint,
    two.imports,
  )
  loaded = two.load_params(ends['msm', 0])
  jax.tree.map(np.testing.assert_array_equal, jax.device_get(loaded), jax.device_get(params))
  two.train(ends['both', 0], '')
  tuned = two.load_params(ends['both', 0])
  assert np.abs(tuned['wq_b'] - params['wq_b']).max() > 0
  assert checkpointing.Checkpoints(two.folder(ends['msm', 0]) / 'checkpoints').latest() is None

  (tmp_path / 'adapter' / 'adapter_config.json').write_text(
    (tmp_path / 'adapter' / 'adapter_config.json')
    .read_text()
    .replace('"lora_alpha": 8.0', '"lora_alpha": 16.0')
  )
  with pytest.raises(ConfigError, match='make them alike'):
    Experiment(from_mapping(ExperimentConfig, c), tmp_path / 'three').prepare_data()


@pytest.mark.parametrize(
  ('changes', 'says'),
  [
    (dict(arms=dict(a='tune > start')), 'weights are where a path begins'),
    (dict(arms=dict(a='start', b='tune')), 'different weights'),
    (dict(arms=dict(a='tune'), model=dict(lora=LORA)), 'begin the arms with a phase of weights'),
    (dict(tokenizer=dict(sources=('chats',))), 'the tokenizer comes with the weights'),
    (dict(model=dict(lora=LORA | dict(targets=('wz',)))), 'must be one of wq'),
    (dict(phases=dict(start=dict(weights='x', updates=3))), 'takes neither data nor updates'),
    (dict(phases=dict(more=dict(adapter='x')), arms=dict(a='start > more')), 'set model.lora'),
  ],
)
def test_paths_that_cannot_be(weights, files, changes, says):
  with pytest.raises(ConfigError, match=says):
    from_mapping(ExperimentConfig, settings(weights, files, **changes))


def test_settings_that_come_with_the_weights(weights, files, tmp_path):
  c = settings(weights, files, model=dict(d_model=64))
  with pytest.raises(ConfigError, match=r'model\.d_model comes with the weights'):
    Experiment(from_mapping(ExperimentConfig, c), tmp_path).prepare_data()
  c = settings(tmp_path / 'nothing', files)
  with pytest.raises(WeightsError, match=r'is no folder with a config\.json'):
    Experiment(from_mapping(ExperimentConfig, c), tmp_path).prepare_data()


def test_an_exported_arm_chooses_alike_elsewhere(weights, files, tmp_path):
  """Exported after both trainings, `transformers` gives every option of the whole evaluation the same log-likelihood; the adapter alone, too."""
  torch, transformers, theirs = (
    pytest.importorskip('torch'),
    pytest.importorskip('transformers'),
    pytest.importorskip('peft'),
  )
  from msm_jax import export
  from msm_jax.evals import scoring

  c = settings(weights, files, model=dict(lora=LORA), arms=dict(both='start > midtrain > tune'))
  for p in ('midtrain', 'tune'):
    c['phases'][p] = c['phases'][p] | dict(length=256)
  e, _, nodes = run(c, tmp_path / 'run')
  asked = [(q, q.question.format(first=q.options[0], second=q.options[1])) for q in e.reading.asked]
  prompts = [[('system', q.system), ('user', text)] for q, text in asked]
  options = [
    [q.answer.format(chosen=a, other=b) for a, b in (q.options, q.options[::-1])] for q, _ in asked
  ]
  params = e.load_params(nodes['both'])
  ours = np.array(
    scoring.make_logprobs(e.config.model, params, e.tokenizer, 256, 8)(prompts, options)
  )
  assert len(ours) > 50

  for kind, flags in (('merged', []), ('adapter', ['--adapter'])):
    export.main([f'--workdir={tmp_path / "run"}', '--arm=both', f'--out={tmp_path / kind}', *flags])
  model = transformers.AutoModelForCausalLM.from_pretrained(
    tmp_path / 'merged', attn_implementation='eager'
  ).eval()
  base = transformers.AutoModelForCausalLM.from_pretrained(weights, attn_implementation='eager')
  adapted = theirs.PeftModel.from_pretrained(base, tmp_path / 'adapter').eval()
  tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / 'merged')

  def told(model, messages, option):
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
    found = np.array(
      [
        [told(other, p, o) for o in opts]
        for p, opts in zip(prompts[:60], options[:60], strict=True)
      ]
    )
    np.testing.assert_allclose(found, ours[:60], atol=1e-3)
    np.testing.assert_array_equal(found.argmax(1), ours[:60].argmax(1))
