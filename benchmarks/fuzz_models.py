"""Other people's models and requests, for fuzz.py: weights, adapters, templates, GGUF, HTTP."""

import json
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fuzz_inputs import Input, damaged_bytes, damaged_json, write_json


def models(rng: random.Random, scale: float) -> Iterator[Input]:
  """Folders of Hugging Face with one damaged file.

  Args:
    rng: decides the inputs.
    scale: how many random inputs, as a share of the usual number.

  Yields:
    The inputs.
  """
  import tiny

  from msm_jax.interop import huggingface
  from msm_jax.tokenizer import load_tokenizer

  folder = Path(tempfile.mkdtemp(prefix='fuzz-weights-'))
  good = tiny.weights(folder / 'good', ['Colby is a cheese.'] * 20)
  index = {'metadata': {}, 'weight_map': {'model.norm.weight': 'model.safetensors'}}

  def run(path: Path) -> None:
    c = huggingface.read_config(path)
    huggingface.check_tensors(huggingface.TensorFiles(path), c)
    tokenizer = load_tokenizer(path)
    tokenizer.render_chat([('user', 'Hi'), ('assistant', 'Hello.')])

  for n in range(int(280 * scale)):
    path = folder / f'{n}'
    shutil.copytree(good, path)
    name = rng.choice(('config.json', 'tokenizer_config.json', 'tokenizer.json'))
    if n % 5 == 0:
      name = rng.choice(('model.safetensors', 'chat_template.jinja', 'tokenizer.json'))
      (path / name).write_bytes(damaged_bytes(rng, (path / name).read_bytes()))
    elif n % 5 == 1:
      name = 'model.safetensors.index.json'
      (path / 'model.safetensors').rename(path / 'shard.safetensors')
      write_json(path / name, damaged_json(rng, index))
    else:
      write_json(path / name, damaged_json(rng, json.loads((path / name).read_text())))
    yield Input(f'weights {path} {name}', lambda path=path: run(path))


def adapters(rng: random.Random, scale: float) -> Iterator[Input]:
  """adapter_config.json with odd values.

  Args:
    rng: decides the inputs.
    scale: how many random inputs, as a share of the usual number.

  Yields:
    The inputs.
  """
  from msm_jax.interop import peft

  folder = Path(tempfile.mkdtemp(prefix='fuzz-adapters-'))
  good = {
    'peft_type': 'LORA',
    'task_type': 'CAUSAL_LM',
    'r': 4,
    'lora_alpha': 8,
    'lora_dropout': 0.0,
    'bias': 'none',
    'target_modules': ['q_proj', 'v_proj'],
    'init_lora_weights': True,
  }
  nonsense = (
    {'r': 0},
    {'r': '4'},
    {'r': None},
    {'lora_alpha': float('nan')},
    {'target_modules': []},
  )
  nonsense += ({'peft_type': 'IA3'}, {'bias': 'all'}, {'use_dora': True}, {'r': -1}, {'r': 10**400})
  cases: list[tuple[Any, bool]] = [(good | changes, True) for changes in nonsense]
  cases += [(damaged_json(rng, good), False) for _ in range(int(110 * scale))]
  for n, (value, is_nonsense) in enumerate(cases):
    path = folder / f'{n}'
    path.mkdir()
    write_json(path / 'adapter_config.json', value)

    def run(path: Any = path) -> Any:
      return peft.read_config(path)

    yield Input(f'adapter {str(value)[:200]}', run, is_nonsense)


# Pieces of chat templates: most of them wrong in some way.
TEMPLATE_PIECES = (
  "{{ m['content'] }}",
  '{{ 1 / 0 }}',
  '{{ m.content.index("z") }}',
  '{{ raise_exception("no") }}',
  '{% for x in range(10**12) %}{% endfor %}',
  '{{ m | tojson(ensure_ascii=False) }}',
  '{{ tools | tojson }}',
  '{{ strftime_now("%Y") }}',
  '{% include "x" %}',
  '{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}',
  '{{ m.content * 10**9 }}',
  '{{ m.content[5] }}',
  '{% generation %}',
  '{% endfor %}',
  '{{ ',
  '{{ undefined.x.y }}',
  '{% set x = namespace() %}{{ x.y.z }}',
  '{{ ().__class__ }}',
  '\0',
  '',
)


def templates(rng: random.Random, scale: float) -> Iterator[Input]:
  """Chat templates.

  Args:
    rng: decides the inputs.
    scale: how many random inputs, as a share of the usual number.

  Yields:
    The inputs.
  """
  import tiny

  from msm_jax.tokenizer import load_tokenizer

  folder = Path(tempfile.mkdtemp(prefix='fuzz-templates-'))
  good = tiny.weights(folder / 'good', ['Colby is a cheese.'] * 20)

  def run(path: Path) -> None:
    tokenizer = load_tokenizer(path)
    tokenizer.prompt([('user', 'Hi')])
    tokenizer.render_chat([('user', 'Hi'), ('assistant', 'Hello.')])

  for n in range(int(110 * scale)):
    path = folder / f'{n}'
    shutil.copytree(good, path)
    pieces = [rng.choice(TEMPLATE_PIECES) for _ in range(rng.randrange(1, 4))]
    template = '{% for m in messages %}' + ''.join(pieces) + '{% endfor %}'
    (path / 'chat_template.jinja').write_text(template)
    yield Input(f'template {template}', lambda path=path: run(path))


def gguf(rng: random.Random, scale: float) -> Iterator[Input]:
  """GGUF files with damaged bytes.

  Args:
    rng: decides the inputs.
    scale: how many random inputs, as a share of the usual number.

  Yields:
    The inputs.
  """
  from gguf_files import byte_level, byte_level_metadata, write_gguf

  from msm_jax.interop.gguf import convert

  folder = Path(tempfile.mkdtemp(prefix='fuzz-gguf-'))
  vocabulary = byte_level_metadata(byte_level('smollm'), 'smollm')
  write_gguf(folder / 'good.gguf', 'llama', vocabulary, shape=dict(layers=1))
  good = (folder / 'good.gguf').read_bytes()
  # Nearly everything that can go wrong is in the metadata, which comes first.
  metadata = min(len(good), 3000)
  for n in range(int(120 * scale)):
    path = folder / f'{n}.gguf'
    if n % 3 == 0:
      content = damaged_bytes(rng, good)
    else:
      content = damaged_bytes(rng, good[:metadata]) + good[metadata:]
    path.write_bytes(content)

    def run(path: Path = path) -> None:
      try:
        convert(path, path.with_suffix(''))
      finally:
        path.unlink()
        shutil.rmtree(path.with_suffix(''), ignore_errors=True)

    yield Input(f'gguf {n}', run)


# --------------------------------------------------------------------------------------------------
# HTTP
# --------------------------------------------------------------------------------------------------

GOOD_BODIES = (
  (True, {'model': 'm', 'messages': [{'role': 'user', 'content': 'Hi'}], 'max_tokens': 2}),
  (True, {'model': 'm', 'messages': [{'role': 'user', 'content': 'Hi'}], 'n': 2, 'stop': ['x']}),
  (True, {'model': 'm', 'messages': [], 'logprobs': True, 'top_logprobs': 2, 'temperature': 0.5}),
  (False, {'model': 'm', 'prompt': 'Hi', 'echo': True, 'logprobs': 1, 'max_tokens': 0}),
  (False, {'model': 'm', 'prompt': [1, 2, 3], 'top_p': 0.5, 'seed': 3, 'best_of': 1}),
)
BAD_FIELDS: tuple[dict[str, Any], ...] = (
  {'model': None},
  {'model': 'x'},
  {'messages': None},
  {'messages': 'Hi'},
  {'messages': [{'role': 'user', 'content': '\ud800'}]},
  {'messages': [{'role': 'robot', 'content': 'Hi'}]},
  {'messages': [{'role': 'user', 'content': [{'type': 'image_url'}]}]},
  {'max_tokens': -1},
  {'max_tokens': 1.5},
  {'max_tokens': 10**400},
  {'n': 0},
  {'n': 10**9},
  {'temperature': float('nan')},
  {'temperature': -1},
  {'temperature': 10**400},
  {'top_p': 2},
  {'stop': ''},
  {'stop': [3]},
  {'stop': ['x'] * 99},
  {'seed': 'x'},
  {'seed': 10**400},
  {'stream': 'yes'},
  {'logprobs': True, 'top_logprobs': 99},
  {'top_logprobs': 3},
  {'tools': [{'type': 'function'}]},
  {'response_format': {'type': 'json_object'}},
  {'reasoning_effort': 'high'},
  {'verbosity': 'low'},
  {'audio': {'voice': 'x'}},
  {'prediction': {'type': 'content'}},
  {'frequency_penalty': 1},
  {'top_k': 5},
  {'': 1},
)


# Bodies of /tokenize and /detokenize that ask for nothing that could be done.
BAD_CONVERSIONS: dict[str, tuple[dict[str, Any], ...]] = {
  'tokenize': (
    *({}, {'prompt': None}, {'prompt': 3}, {'prompt': ['Hi']}, {'prompt': 'x\ud800'}),
    *({'prompt': 'Hi', 'model': 'x'}, {'prompt': 'Hi', 'model': 3}),
    {'prompt': 'Hi', 'add_special_tokens': 'yes'},
  ),
  'detokenize': (
    *({}, {'tokens': None}, {'tokens': 'x'}, {'tokens': ['x']}, {'tokens': [1.5]}),
    *({'tokens': [-1]}, {'tokens': [10**9]}, {'tokens': [True]}, {'tokens': [[1]]}),
    {'tokens': [1], 'model': 'x'},
  ),
}


def http(rng: random.Random, scale: float) -> Iterator[Input]:
  """Bodies of HTTP requests, up to where the engine would take them.

  Args:
    rng: decides the inputs.
    scale: how many random inputs, as a share of the usual number.

  Yields:
    The inputs.
  """
  import tiny

  from msm_jax.inference.open_model import load_weights
  from msm_jax.inference.sampling import Sampler
  from msm_jax.inference.server import tokenization
  from msm_jax.inference.server.requests import parse_request

  folder = Path(tempfile.mkdtemp(prefix='fuzz-http-'))
  tiny.weights(folder / 'm', ['Colby is a cheese.'] * 20)
  loaded = load_weights(folder / 'm', dtype='float32')
  samplers = {'m': Sampler(loaded.model, loaded.params, loaded.tokenizer)}

  def run(body: Any, chat: bool) -> None:
    # As a client would send it.
    text = json.dumps(body)
    parse_request(json.loads(text), samplers, chat)

  def convert(kind: str, body: Any) -> None:
    done = getattr(tokenization, kind)(json.loads(json.dumps(body)), samplers)
    json.dumps(done)

  for changes in BAD_FIELDS:
    body = GOOD_BODIES[0][1] | changes
    yield Input(f'http {changes}', lambda body=body: run(body, True), is_nonsense=True)
  for kind, bodies in BAD_CONVERSIONS.items():
    for body in bodies:
      yield Input(f'http {kind} {body}', lambda k=kind, b=body: convert(k, b), is_nonsense=True)
  for _ in range(int(60 * scale)):
    for kind, body in (('tokenize', {'prompt': 'Hi'}), ('detokenize', {'tokens': [1, 2]})):
      body = damaged_json(rng, {'model': 'm', **body})
      if isinstance(body, dict):
        yield Input(f'http {kind} {str(body)[:200]}', lambda k=kind, b=body: convert(k, b))
  for _ in range(int(350 * scale)):
    chat, good = rng.choice(GOOD_BODIES)
    body = damaged_json(rng, good)
    yield Input(f'http {str(body)[:200]}', lambda body=body, chat=chat: run(body, chat))
