"""The smallest experiment and the smallest folder of Hugging Face that programs can open."""

import dataclasses
import functools
import itertools
import json
from pathlib import Path

import jax
import numpy as np
from helpers import AFFORDABILITY, little, small_corpora

from data_pipelines.jsonl import write_jsonl
from data_pipelines.settings.world import pretraining
from msm_jax import model as models
from msm_jax.base.checks import from_mapping
from msm_jax.config import ExperimentConfig, ModelConfig
from msm_jax.experiment import Experiment

PHASE = dict(updates=3, min_updates=1, batch_size=8, length=128, lr=1e-2)
LENGTH = 128
TEMPLATE = """
{{- bos_token }}
{%- for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"""


def experiment(folder: Path, stop=lambda: False, **changes) -> Experiment:
  """Returns the smallest experiment, on two small corpora that it writes into `folder`.

  It has two arms, of which the second continues from the first. `stop` ends the run early, and
  `changes` replaces settings.
  """
  small_corpora(folder)
  documents = pretraining.item_documents(pretraining.build_world(little(2)))
  write_jsonl(folder / 'documents.jsonl', itertools.islice(documents, 300))
  settings = dict(
    name='tiny',
    # Evaluation takes most of the time of a run. It asks about every person, and a tokenizer of
    # 400 pieces would leave room for one question in a row.
    world=dataclasses.asdict(little(1)),
    sources={n: dict(path=str(folder / f'{n}.jsonl')) for n in ('documents', 'chats')},
    tokenizer=dict(vocab_size=600, sources=('documents', 'chats')),
    model=dict(d_model=32, n_layers=1, n_heads=4, n_kv_heads=2, head_dim=8, d_ff=48),
    phases={
      'read': dict(PHASE, data=dict(documents=1.0)),
      'tune': dict(PHASE, data=dict(chats=1.0), length=96),
    },
    arms=dict(base='read', tuned='read > tune'),
    # What people do is asked of the base alone: most of the time of a run goes into questions.
    evals=dict(spec=AFFORDABILITY, pairs_per_domain=1, held_out=0, others_of='base'),
  )
  return Experiment(from_mapping(ExperimentConfig, settings | changes), folder / 'run', stop)


def weights(folder: Path, texts, vocab_size: int = 400, **changes) -> Path:
  """Writes a Llama with random weights, a byte-level tokenizer and a chat template to `folder`.

  It needs the packages tokenizers, safetensors and jinja2. `texts` trains the tokenizer, which has
  `vocab_size` tokens, and `changes` replaces settings of the model.
  """
  import tokenizers
  from safetensors.numpy import save_file

  from msm_jax.interop import huggingface

  marks = ['<|begin|>', '<|end|>', '<|system|>', '<|user|>', '<|assistant|>']
  made = tokenizers.Tokenizer(tokenizers.models.BPE())
  made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
  made.decoder = tokenizers.decoders.ByteLevel()
  trainer = tokenizers.trainers.BpeTrainer(
    vocab_size=vocab_size,
    special_tokens=marks,
    initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    show_progress=False,
  )
  made.train_from_iterator(texts, trainer)
  folder.mkdir(parents=True)
  made.save(str(folder / 'tokenizer.json'))
  (folder / 'tokenizer_config.json').write_text(
    json.dumps({'bos_token': marks[0], 'eos_token': marks[1]})
  )
  (folder / 'chat_template.jinja').write_text(TEMPLATE)
  sizes = dict(
    d_model=32,
    n_layers=2,
    n_heads=4,
    n_kv_heads=2,
    head_dim=8,
    d_ff=48,
    vocab_size=made.get_vocab_size(),
    max_length=128,
  )
  c = ModelConfig(**sizes | changes)
  shapes = jax.eval_shape(functools.partial(models.init_params, c), jax.random.key(0))
  rng = np.random.default_rng(0)
  params = {}
  for name, shape in shapes.items():
    # The weights of norms are near 1, all others near 0.
    mean = 1 if name.endswith('norm') else 0
    params[name] = (mean + rng.normal(0, 0.2, shape.shape)).astype(np.float32)
  save_file(
    dict(huggingface.stored_tensors(c, params, 'float32')),
    folder / 'model.safetensors',
    metadata={'format': 'pt'},
  )
  (folder / 'config.json').write_text(json.dumps(huggingface.config_to_json(c, 'float32', {})))
  return folder
