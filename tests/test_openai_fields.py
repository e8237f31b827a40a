"""What clients send and read: the fields of OpenAI's schema, and the bytes of tokens."""

import json
import typing

import jax
import pytest
from serving import CHAT_BODY, make_sampler

from msm_jax.base.errors import ConfigError
from msm_jax.config import ModelConfig
from msm_jax.inference.completion import Completion, CompletionRequest, Piece
from msm_jax.inference.open_model import open_samplers
from msm_jax.inference.sampling import Sampler
from msm_jax.inference.server.fields import InvalidRequest
from msm_jax.inference.server.requests import parse_request
from msm_jax.inference.server.responses import ResponseFormat
from msm_jax.inference.token_bytes import token_bytes
from msm_jax.model import init_params
from msm_jax.tokenizer import load_tokenizer

# Left out of `make quick`: the workdir of the fixture is trained first.
pytestmark = pytest.mark.slow

# Three and four bytes a character, so that tokens are parts of characters.
TEXT = 'Käse: 🧀 日本 e\u0301!'


@pytest.fixture(scope='module')
def samplers(tiny_workdir):
  return {'base': make_sampler(tiny_workdir, 'base')}


def test_null_asks_for_nothing(samplers):
  """The judge is the client's own list of fields."""
  pytest.importorskip('openai')
  from openai.types import completion_create_params as text
  from openai.types.chat import completion_create_params as chat

  bodies = {
    True: (chat.CompletionCreateParamsBase, CHAT_BODY),
    False: (text.CompletionCreateParamsBase, {'model': 'base', 'prompt': 'Hi'}),
  }
  for is_chat, (schema, body) in bodies.items():
    fields = typing.get_type_hints(schema)
    assert len(fields) > 15
    nulls = dict.fromkeys(set(fields) - set(body))
    plain = parse_request(body | {'seed': 1}, samplers, is_chat)
    parsed = parse_request(body | nulls | {'seed': 1}, samplers, is_chat)
    assert [str(r) for r in parsed.requests] == [str(r) for r in plain.requests]


@pytest.mark.parametrize('is_chat', [True, False])
def test_parts_of_a_stream_have_usage_if_it_was_asked_for(samplers, is_chat):
  """OpenAI: "all other chunks will also include a usage field, but with a null value"."""
  bodies = {True: CHAT_BODY, False: {'model': 'base', 'prompt': 'Hi'}}
  sampler = samplers['base']
  for options, keys in (({'include_usage': True}, {'usage'}), (None, set())):
    body = bodies[is_chat] | {'stream': True, 'stream_options': options}
    parsed = parse_request(body, samplers, is_chat)
    answer = sampler.new_completion(parsed.requests[0])
    shape = ResponseFormat(parsed, is_chat, sampler.token_text, sampler.token_bytes)
    part = shape.chunk(0, Piece('x', (), ''), answer, True)
    assert part.keys() & {'usage'} == keys
    assert part.get('usage') is None
    assert shape.usage_chunk([answer])['usage']['completion_tokens'] == 0


ASKS = {
  'reasoning_effort': 'high',
  'verbosity': 'low',
  'audio': {'voice': 'x', 'format': 'wav'},
  'prediction': {'type': 'content', 'content': 'x'},
  'web_search_options': {},
  'function_call': {'name': 'f'},
}


@pytest.mark.parametrize('name', ASKS)
def test_what_is_not_done_is_refused_by_name(name, samplers):
  with pytest.raises(InvalidRequest, match=f'{name}=.* is not done here; leave it out'):
    parse_request(CHAT_BODY | {name: ASKS[name]}, samplers, True)


def test_options_of_a_stream_that_are_not_done(samplers):
  """vLLM has the first one, and the second is a slip. Neither may be passed over."""
  body = CHAT_BODY | {'stream': True}
  for name in ('continuous_usage_stats', 'include_usge'):
    with pytest.raises(InvalidRequest, match=f'stream_options.{name} is not known here'):
      parse_request(body | {'stream_options': {name: True}}, samplers, True)
  asks_for_nothing = {'continuous_usage_stats': False, 'include_obfuscation': True}
  parsed = parse_request(body | {'stream_options': asks_for_nothing}, samplers, True)
  assert parsed.stream and not parsed.usage


@pytest.mark.parametrize(
  'name, call', [('tool_calls', [{'id': 'x'}]), ('function_call', {'name': 'f'})]
)
def test_calls_of_another_model_are_refused(name, call, samplers):
  """Under either name. The model would read a chat without them."""
  hi = {'role': 'user', 'content': 'Hi'}
  for value, is_refused in ((call, True), (None, False)):
    body = CHAT_BODY | {'messages': [hi, {'role': 'assistant', 'content': 'So', name: value}, hi]}
    if is_refused:
      with pytest.raises(InvalidRequest, match=f'1.*{name}: no tools are called here'):
        parse_request(body, samplers, True)
    else:
      assert len(parse_request(body, samplers, True).requests) == 1


def test_fields_of_messages_that_are_not_done(samplers):
  """The first two would change the answer elsewhere: DeepSeek and Mistral go on with the message,
  and others show the model what it thought. What is empty comes from answers of servers."""
  hi = {'role': 'user', 'content': 'Hi'}
  said = {'role': 'assistant', 'content': 'So'}
  for name, value in (('prefix', True), ('reasoning_content', 'Hm'), ('refusal', 'No')):
    body = CHAT_BODY | {'messages': [hi, said | {name: value}]}
    with pytest.raises(InvalidRequest, match=rf'messages\[1\]\.{name} is not known here'):
      parse_request(body, samplers, True)
  empty = {'refusal': None, 'annotations': [], 'audio': None, 'prefix': False, 'tool_calls': None}
  # Versions of lm-evaluation-harness write a type.
  typed = hi | {'type': 'text', 'name': 'Mia'}
  plain = parse_request(CHAT_BODY | {'messages': [hi, said, hi]}, samplers, True)
  parsed = parse_request(CHAT_BODY | {'messages': [typed, said | empty, typed]}, samplers, True)
  assert parsed.requests[0].prompt == plain.requests[0].prompt
  with pytest.raises(InvalidRequest, match='half a character'):
    parse_request(CHAT_BODY | {'messages': [hi | {'\ud800': 1}]}, samplers, True)


def test_bounds_are_told_as_whole_numbers(samplers):
  with pytest.raises(InvalidRequest, match='from 1 to 9223372036854775807'):
    parse_request(CHAT_BODY | {'max_tokens': 0}, samplers, True)


def test_bytes_of_tokens_of_sentencepiece(samplers):
  """Joined, they are the text: the definition of the field in OpenAI's schema."""
  sampler = samplers['base']
  ids = sampler.tokenizer.encode(TEXT)
  assert b''.join(bytes(sampler.token_bytes(i)) for i in ids) == TEXT.encode()
  parts = [token_bytes(sampler.tokenizer, i) for i in ids]
  assert any(part is not None and len(part) == 1 and part[0] >= 0x80 for part in parts)
  # What has no text in an answer adds none.
  assert [sampler.token_bytes(int(i)) for i in sampler.stop_ids] == [[]] * len(sampler.stop_ids)


KINDS = ('byte level', 'byte fallback')


def write_tokenizer(kind, folder):
  """Writes a tokenizer of bytes into a folder, and returns it as the package knows it."""
  tokenizers = pytest.importorskip('tokenizers')
  pytest.importorskip('jinja2')
  trainer = dict(vocab_size=400, special_tokens=['<s>'], show_progress=False)
  if kind == 'byte level':
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
      ['some text', '\ufffd'],
      tokenizers.trainers.BpeTrainer(initial_alphabet=alphabet, **trainer),
    )
  else:
    vocabulary = {'<s>': 0}
    for name in [f'<0x{b:02X}>' for b in range(256)] + [*'Käse:!▁\ufffd']:
      vocabulary.setdefault(name, len(vocabulary))
    made = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, [], byte_fallback=True))
    made.normalizer = tokenizers.normalizers.Replace(' ', '▁')
    made.decoder = tokenizers.decoders.Sequence(
      [
        tokenizers.decoders.Replace('▁', ' '),
        tokenizers.decoders.ByteFallback(),
        tokenizers.decoders.Fuse(),
      ]
    )
    made.add_special_tokens(['<s>'])
  made.save(str(folder / 'tokenizer.json'))
  (folder / 'tokenizer_config.json').write_text(json.dumps({'bos_token': '<s>'}))
  return made


@pytest.mark.parametrize('kind', KINDS)
def test_bytes_of_tokens_equal_those_of_tokenizers(kind, tmp_path):
  """The judge is the decoder of the package, which is given every prefix of the ids."""
  made = write_tokenizer(kind, tmp_path)
  ours = load_tokenizer(tmp_path)
  ids = made.encode(TEXT, add_special_tokens=False).ids
  pieces = []
  for i in ids:
    own = token_bytes(ours, i)
    pieces.append(made.decode([i]).encode() if own is None else own)
  assert b''.join(pieces) == TEXT.encode() == made.decode(ids).encode()
  assert any(len(piece) == 1 and piece[0] >= 0x80 for piece in pieces)
  assert token_bytes(ours, made.token_to_id('<s>')) is None


@pytest.mark.parametrize('kind', KINDS)
def test_the_sign_for_a_broken_character_is_a_character(kind, tmp_path):
  """U+FFFD has a token of its own in many vocabularies, and its text is no part of a character."""
  write_tokenizer(kind, tmp_path)
  tokenizer = load_tokenizer(tmp_path)
  c = ModelConfig(
    d_model=8, n_layers=1, n_heads=1, n_kv_heads=1, head_dim=8, d_ff=8, vocab_size=400
  )
  sampler = Sampler(c, init_params(c, jax.random.key(0)), tokenizer)
  (sign,) = tokenizer.encode('\ufffd')
  assert sampler.token_text(sign) == '\ufffd' == tokenizer.decode([sign])
  assert bytes(sampler.token_bytes(sign)) == '\ufffd'.encode()
  # A part of a character has no text of its own.
  first, *_ = tokenizer.encode('\u65e5')
  assert sampler.token_text(first) == f'<|token {first}|>'
  assert bytes(sampler.token_bytes(first)) == '\u65e5'.encode()[:1]


@pytest.mark.parametrize('kind', [*KINDS, 'sentencepiece'])
def test_prompts_are_cut_anywhere(kind, tmp_path, tokenizer):
  """An answer is what it adds to its prompt, though the prompt ends within a character.

  Its context may also begin within one. The judge is the text that was encoded.
  """
  if kind != 'sentencepiece':
    write_tokenizer(kind, tmp_path)
    tokenizer = load_tokenizer(tmp_path)
  # Three bytes a character: the last eight tokens of a prompt begin within one.
  text = 'K\u65e5\u672c\u8a9e\u65e5\u672cKs!'
  ids = tokenizer.encode(text)
  for at in range(1, len(ids)):
    completion = Completion(CompletionRequest(ids[:at]), tokenizer, (), len(ids) - at)
    for token in ids[at:]:
      completion.add(token, -1.0, ())
    in_prompt = b''
    for token in ids[:at]:
      own = token_bytes(tokenizer, token)
      in_prompt += tokenizer.decode([token]).encode() if own is None else own
    # A character that begins in the prompt is whole in the answer alone.
    assert in_prompt.decode(errors='ignore') + completion.text == text, at
  # Bytes of the prompt that never become a character are no part of the answer.
  for at in (2, 3, 12):
    broken = Completion(CompletionRequest(ids[:at]), tokenizer, (), 1)
    broken.add(ids[-1], -1.0, ())
    assert broken.text == '!'


@pytest.mark.parametrize('kind', [*KINDS, 'sentencepiece'])
def test_offsets_of_a_prompt_that_ends_within_a_character(kind, tmp_path, tokenizer):
  """They are places in the text that is repeated, which has signs for the half character."""
  if kind != 'sentencepiece':
    write_tokenizer(kind, tmp_path)
    tokenizer = load_tokenizer(tmp_path)
  whole = tokenizer.encode('Ks')
  ids = [*whole, *tokenizer.encode('\u65e5')]
  for n_bytes in range(4):
    prompt = ids[: len(whole) + n_bytes]
    completion = Completion(CompletionRequest(prompt, 0, echo=True), tokenizer, (), 0)
    completion.score_prompt([(-1.0, ())] * (len(prompt) - 1))
    repeated = tokenizer.decode(prompt)
    places = [token.start + len(repeated) for token in completion.prompt_tokens]
    assert places[0] == 0
    assert places[len(whole) :] == [2] * n_bytes


def test_equal_prompts_without_a_seed(samplers):
  """They get answers of their own. With a seed, each gets the answer that it gets alone."""
  body = {'model': 'base', 'prompt': ['Hi', 'Hi', 'Hi']}
  drawn = [request.seed for request in parse_request(body, samplers, False).requests]
  assert len(set(drawn)) == 3
  given = parse_request(body | {'seed': 5}, samplers, False).requests
  assert [request.seed for request in given] == [5, 5, 5]


def test_too_many_prompts_are_not_encoded(samplers, monkeypatch):
  """A body has room for a million, and encoding them would take the server's time."""
  encoded = []
  monkeypatch.setattr(samplers['base'].tokenizer, 'encode', encoded.append)
  for body in ({'prompt': ['a'] * 200_000}, {'prompt': ['a'] * 65, 'n': 2}):
    with pytest.raises(InvalidRequest, match='ask for more than 128 answers'):
      parse_request({'model': 'base'} | body, samplers, False)
  assert not encoded


def test_a_folder_without_a_name_has_one(texts, tmp_path, monkeypatch):
  """`serve --weights=.`"""
  pytest.importorskip('tokenizers')
  pytest.importorskip('safetensors')
  import tiny

  monkeypatch.chdir(tiny.weights(tmp_path / 'little', texts[:50]))
  samplers, _ = open_samplers(None, [], 0, '.')
  assert list(samplers) == ['little']


def test_a_negative_length_is_refused(tiny_workdir):
  with pytest.raises(ConfigError, match='max_length=-5 is negative'):
    open_samplers(str(tiny_workdir), ['base'], 0, None, max_length=-5)


# Settings of Inspect that would be ignored otherwise -> a value that asks for something.
OF_INSPECT = {
  'reasoning_effort': 'high',
  'effort': 'high',
  'verbosity': 'low',
  'reasoning_tokens': 100,
  'max_tokens': 0,
  'num_choices': 0,
  'top_logprobs': 2,
}


@pytest.mark.parametrize('name', OF_INSPECT)
def test_inspect_is_told_what_is_not_done(name, tiny_workdir):
  pytest.importorskip('inspect_ai')
  import asyncio

  from inspect_ai.model import ChatMessageUser, GenerateConfig

  from msm_jax.interop.inspect_provider import MsmJaxAPI

  api = MsmJaxAPI(f'{tiny_workdir}:base')
  config = GenerateConfig(**{name: OF_INSPECT[name]})
  with pytest.raises(ConfigError, match=name):
    asyncio.run(api.generate([ChatMessageUser(content='Hi')], [], 'auto', config))


def test_inspect_messages_of_half_a_character():
  pytest.importorskip('inspect_ai')
  from inspect_ai.model import ChatMessageUser

  from msm_jax.base.errors import DataError
  from msm_jax.interop.inspect_provider import role_and_text

  with pytest.raises(DataError, match='surrogate'):
    role_and_text(ChatMessageUser(content='x\ud800'))
