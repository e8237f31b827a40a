"""GGUF files in: tokenizers, which are rebuilt from the metadata, give the ids of the model's own.

They are compared with the tokenizer that a file was made of, with transformers' loader of GGUF, and
with what transformers reads from the folder that was written.
"""

import io
import json

import numpy as np
import pytest

pytest.importorskip('gguf')
pytest.importorskip('tokenizers')
pytest.importorskip('safetensors')
from gguf_files import (
  BYTES,
  CHATML,
  CORPUS,
  MARKS,
  TEXTS,
  byte_level,
  byte_level_metadata,
  write_gguf,
)
from tokenizers import trainers

from msm_jax.interop import gguf as ours
from msm_jax.tokenizer import HuggingFaceTokenizer

# Left out of `make quick`.
pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def vocabulary():
  return byte_level_metadata(byte_level('smollm'), 'smollm')


def convert(folder, metadata, arch='llama', name='m', **changes):
  """Writes a file with this metadata, and returns the folder that it is converted to."""
  write_gguf(folder / 'm.gguf', arch, metadata, shape=dict(layers=1), **changes)
  ours.convert(folder / 'm.gguf', folder / name)
  return folder / name


def their_tokenizer(folder, **file):
  """The tokenizer that transformers loads from a folder, or from a GGUF file in it."""
  return pytest.importorskip('transformers').AutoTokenizer.from_pretrained(folder, **file)


@pytest.mark.parametrize('pre', ours.SPLITS)
def test_byte_level_tokenizers(tmp_path, pre):
  """The ids are those of the tokenizer that the file was made of.

  They are also those of transformers' loader, where that cuts text as the models do.
  """
  made = byte_level(pre)
  found = HuggingFaceTokenizer(convert(tmp_path, byte_level_metadata(made, pre)))
  made.encode_special_tokens = True
  for text in TEXTS:
    ids = found.encode(text)
    assert ids == made.encode(text, add_special_tokens=False).ids, text
    # Qwen composes letters first.
    composed = text.replace('\u2126', '\u03a9') if pre == 'qwen2' else text
    assert found.decode(ids) == composed
  again = their_tokenizer(tmp_path / 'm')
  theirs = their_tokenizer(tmp_path, gguf_file='m.gguf')
  made.encode_special_tokens = False
  for text in TEXTS:
    assert again(text)['input_ids'] == made.encode(text).ids, text
    # Their loader cuts SmolLM's text as GPT-2's, whose white space before a digit is cut otherwise.
    if pre != 'smollm' or 'spaces' in text or not any(c.isnumeric() for c in text):
      assert theirs(text)['input_ids'] == made.encode(text).ids, text
  special = (again.bos_token_id, again.eos_token_id, again.pad_token_id, again.unk_token_id)
  assert special == (1, 2, 2, 0)
  assert again.decode(found.encode('naïve 12')) == 'naïve 12'


@pytest.mark.parametrize(
  ('pre', 'text', 'parts'),
  [
    # SmolLM cuts at digits first.
    ('smollm', 'a\n\n1', ['a', '\n\n', '1']),
    # Qwen composes letters.
    ('qwen2', 'cafe\u0301', ['caf\u00e9']),
  ],
)
def test_what_transformers_leaves_out_of_a_file(tmp_path, pre, text, parts):
  """Where transformers' loader and a model's own tokenizer differ, the model's own counts."""
  made = byte_level(pre)
  trainer = trainers.BpeTrainer(
    vocab_size=420, special_tokens=MARKS, initial_alphabet=BYTES, show_progress=False
  )
  made.train_from_iterator([CORPUS, text * 50], trainer)
  found = HuggingFaceTokenizer(convert(tmp_path, byte_level_metadata(made, pre)))
  of_parts = []
  for part in parts:
    of_parts += found.encode(part)
  assert found.encode(text) == made.encode(text).ids == of_parts


@pytest.mark.parametrize(('pre', 'is_whole'), [('llama-bpe', True), ('gpt-2', False)])
def test_words_that_no_merges_make(tmp_path, pre, is_whole):
  """In Llama 3 a word that is a token becomes that token, though no merges make it."""
  metadata = byte_level_metadata(byte_level(pre), pre)
  tokens = metadata['tokenizer.ggml.tokens']
  tokens[-1] = '\u0120zebra'
  metadata['tokenizer.ggml.merges'] = metadata['tokenizer.ggml.merges'][:-1]
  found = HuggingFaceTokenizer(convert(tmp_path, metadata))
  assert (found.encode(' zebra') == [len(tokens) - 1]) is is_whole


# ---- SentencePiece


def sentencepiece_metadata(texts, prefix=True):
  """(processor, metadata) of a small model of SentencePiece, as llama.cpp's converter writes it."""
  import sentencepiece

  model = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(texts),
    model_writer=model,
    vocab_size=480,
    model_type='bpe',
    byte_fallback=True,
    normalization_rule_name='identity',
    remove_extra_whitespaces=False,
    add_dummy_prefix=prefix,
    split_digits=True,
    allow_whitespace_only_pieces=True,
    character_coverage=0.98,
    pad_id=-1,
    unk_id=0,
    bos_id=1,
    eos_id=2,
    control_symbols=['[INST]', '[/INST]'],
    num_threads=1,
    minloglevel=2,
    max_sentence_length=2**20,
  )
  p = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
  ids = range(p.vocab_size())

  def token_type(i):
    if p.is_unknown(i):
      return 2
    if p.is_control(i):
      return 3
    if p.is_byte(i):
      return 6
    return 1

  metadata = {
    'tokenizer.ggml.model': 'llama',
    'tokenizer.ggml.pre': 'default',
    'tokenizer.ggml.tokens': [p.id_to_piece(i) for i in ids],
    'tokenizer.ggml.scores': [p.get_score(i) for i in ids],
    'tokenizer.ggml.token_type': [token_type(i) for i in ids],
    'tokenizer.ggml.unknown_token_id': np.uint32(0),
    'tokenizer.ggml.bos_token_id': np.uint32(1),
    'tokenizer.ggml.eos_token_id': np.uint32(2),
    'tokenizer.ggml.add_space_prefix': prefix,
    'tokenizer.chat_template': (
      '{{ bos_token }}{% for m in messages %}'
      "{% if m['role'] == 'user' %}{{ '[INST]' + m['content'] + ' [/INST]' }}"
      "{% else %}{{ m['content'] + eos_token }}{% endif %}{% endfor %}"
    ),
  }
  return p, metadata


@pytest.mark.parametrize('prefix', [True, False])
def test_sentencepiece_tokenizers(tmp_path, prefix):
  """The ids are those of SentencePiece itself, and of transformers' loader.

  transformers' loader puts a space first, whatever the file says. And it puts no space before a
  text that begins with one, which SentencePiece does.
  """
  processor, metadata = sentencepiece_metadata(CORPUS.split('\n') + TEXTS[:4], prefix)
  found = HuggingFaceTokenizer(convert(tmp_path, metadata))
  assert found.document_start == [1] and found.document_end == [2]
  plain = [t for t in TEXTS if '\u2581' not in t]
  for text in plain:
    if not (prefix and text.startswith(' ')):
      ids = found.encode(text)
      assert ids == processor.encode(text), text
      assert found.decode(ids) == text
  again = their_tokenizer(tmp_path / 'm')
  theirs = their_tokenizer(tmp_path, gguf_file='m.gguf') if prefix else again
  for text in plain:
    if '<s>' not in text and '</s>' not in text:
      assert again(text)['input_ids'] == theirs(text)['input_ids'] == [1, *found.encode(text)], text


def test_chats_of_sentencepiece_tokenizers(tmp_path):
  """Chats are rendered as transformers renders them, also where text follows a control symbol.

  The space that SentencePiece puts first stands before a text alone and behind no control symbol,
  also in transformers' loader of GGUF. (In llama.cpp each text behind a control symbol gets one.)
  """
  pytest.importorskip('transformers')
  _, metadata = sentencepiece_metadata(CORPUS.split('\n') + TEXTS[:4])
  folder = convert(tmp_path, metadata)
  found = HuggingFaceTokenizer(folder)
  theirs = their_tokenizer(folder)
  chat = [
    ('user', 'The quick brown fox?'),
    ('assistant', 'It jumps over 13 dogs.'),
    ('user', 'They are lazy.'),
    ('assistant', 'Yes!'),
  ]
  messages = [{'role': role, 'content': content} for role, content in chat]
  wanted = theirs.apply_chat_template(messages, tokenize=True, return_dict=False)
  assert found.render_chat(chat)[0].tolist() == wanted
  of_file = their_tokenizer(tmp_path, gguf_file='m.gguf')
  assert of_file.apply_chat_template(messages, tokenize=True, return_dict=False) == wanted
  first_turn = found.render_chat(chat[:1])[0]
  assert first_turn.tolist() == wanted[: len(first_turn)]


def test_gemma_tokenizers(tmp_path):
  """Gemma's vocabularies are read as transformers' loader reads them.

  Their pieces stand in the order of their merges, runs of spaces are spelled as spaces, and some
  pieces are user-defined.
  """
  texts = CORPUS.split('\n') + ['a      b   c    d'] * 9
  _, metadata = sentencepiece_metadata(texts, prefix=False)
  tokens, types = metadata['tokenizer.ggml.tokens'], metadata['tokenizer.ggml.token_type']
  # The user-defined pieces take the places of the rarest.
  for k, piece in enumerate(('\n', '\n\n', '  ', '   ')):
    spelled = piece.replace(' ', '\u2581')
    if spelled in tokens:
      tokens[tokens.index(spelled)] = f'unused{k}'
    tokens[-1 - k] = piece
    types[-1 - k] = 4
  # The symbols and the bytes must still be there.
  assert len(tokens) > 7 + 256
  # The scores of Gemma's files say nothing.
  metadata['tokenizer.ggml.scores'] = [-float(i % 7) for i in range(len(tokens))]
  folder = convert(tmp_path, metadata, 'gemma3')
  found = HuggingFaceTokenizer(folder)
  for text in TEXTS:
    assert found.decode(found.encode(text)) == text.replace('\u2581', ' '), text
  theirs = their_tokenizer(tmp_path, gguf_file='m.gguf')
  again = their_tokenizer(folder)
  for text in TEXTS:
    assert again(text)['input_ids'] == theirs(text)['input_ids'], text
  assert again('\n\n')['input_ids'] == [1, len(tokens) - 2]


def test_merges_of_a_vocabulary():
  """Merges come in the order that transformers makes of scores, also where scores are equal."""
  base = pytest.importorskip('transformers.tokenization_utils_base')
  rng = np.random.default_rng(0)
  tokens = [*'abc']
  for n in rng.integers(2, 7, 400):
    tokens.append(''.join(rng.choice([*'abc'], n)))
  tokens = list(dict.fromkeys(tokens))
  scores = [float(x) for x in rng.integers(-9, 0, len(tokens))]
  found = ours.merges_by_rank(tokens, [1] * len(tokens), scores)
  assert len(found) > 500
  ids = {token: i for i, token in enumerate(tokens)}
  assert found == base.generate_merges(ids, dict(zip(tokens, scores, strict=True)))

  # No text makes a control symbol ('abc' here), whatever its letters.
  with_control = ours.merges_by_rank(
    ['a', 'b', 'c', 'ab', 'bc', 'abc'], [1, 1, 1, 1, 1, 3], [0.0] * 6
  )
  assert with_control == [('a', 'b'), ('b', 'c')]


# ---- special tokens


def test_tokens_that_users_defined(tmp_path, vocabulary):
  """They are kept whole in any text, and are no control symbols."""
  metadata = dict(vocabulary)
  tokens = [*vocabulary['tokenizer.ggml.tokens'][:-1], '<think>']
  metadata['tokenizer.ggml.tokens'] = tokens
  metadata['tokenizer.ggml.token_type'] = [*vocabulary['tokenizer.ggml.token_type'][:-1], 4]
  metadata['tokenizer.ggml.merges'] = metadata['tokenizer.ggml.merges'][:-1]
  found = HuggingFaceTokenizer(convert(tmp_path, metadata))
  text = 'fox <think> dogs <|im_end|>'
  ids = found.encode(text)
  assert ids.count(len(tokens) - 1) == 1
  assert 2 not in ids
  assert found.decode(ids) == text
  theirs = their_tokenizer(tmp_path, gguf_file='m.gguf')
  assert theirs('fox <think> dogs')['input_ids'] == found.encode('fox <think> dogs')


def test_a_character_that_a_file_names_as_its_padding(tmp_path, vocabulary):
  """Some files name '!', which stays a character: an answer that has it is not read without it."""
  place = vocabulary['tokenizer.ggml.tokens'].index('!')
  named = {'tokenizer.ggml.padding_token_id': np.uint32(place)}
  folder = convert(tmp_path, dict(vocabulary), more=named)
  found = HuggingFaceTokenizer(folder)
  assert json.loads((folder / 'config.json').read_text())['pad_token_id'] == place
  assert place in found.encode('no! no!!') and '!' not in found.control_ids
  assert found.decode(found.encode('no! no!!')) == 'no! no!!'


@pytest.mark.parametrize(('pre', 'bos'), [('llama-bpe', [1]), ('qwen2', [])])
def test_bos_where_the_file_is_silent(tmp_path, pre, bos):
  """llama.cpp adds it for Llama 3 and for SentencePiece, and for nobody else."""
  metadata = byte_level_metadata(byte_level(pre), pre)
  folder = convert(tmp_path, metadata, drop=('tokenizer.ggml.add_bos_token',))
  assert HuggingFaceTokenizer(folder).document_start == bos
  config = json.loads((folder / 'tokenizer_config.json').read_text())
  assert config['add_bos_token'] is bool(bos)


def test_ends_of_turns(tmp_path, vocabulary):
  folder = convert(tmp_path, vocabulary, more={'tokenizer.ggml.eot_token_id': np.uint32(0)})
  config = json.loads((folder / 'generation_config.json').read_text())
  assert config == {'bos_token_id': 1, 'eos_token_id': [2, 0], 'pad_token_id': 2}
  assert (folder / 'chat_template.jinja').read_text() == CHATML
