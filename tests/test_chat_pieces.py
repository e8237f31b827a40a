"""Chats that are encoded in pieces: the ids are those of `transformers`, whatever a tokenizer does
at the start of a text, and whichever file says what a control symbol is."""

import asyncio
import io
import json
import signal
import sys
import types

import numpy as np
import pytest

from data_pipelines.corpora import write_corpus
from data_pipelines.records import Chat
from msm_jax.base.errors import DataError, WeightsError
from msm_jax.data.handbook_context import HandbookContext
from msm_jax.data.tokenized import Source
from msm_jax.inference.chat_session import ChatSession
from msm_jax.inference.chat_terminal import run_chat
from msm_jax.inference.completion import RequestError
from msm_jax.rl.prompt_order import PromptOrder
from msm_jax.running.prepared import Corpus, Prepared
from msm_jax.tokenizer import (
  HuggingFaceTokenizer,
  SentencePieceTokenizer,
  train_sentencepiece,
)

pytest.importorskip('tokenizers')
pytest.importorskip('jinja2')
import tokenizers
from tokenizers import (
  AddedToken,
  decoders,
  models,
  normalizers,
  pre_tokenizers,
  processors,
  trainers,
)

SPACE = '\u2581'
TEXTS = [
  'Which do you prefer? I prefer the cheap one.',
  '[INST] one [/INST] two three',
  'user: hello assistant: I hate it',
]
INST = (
  '{% for m in messages %}{% if m.role == "user" %}{{ bos_token }}[INST] {{ m.content }} [/INST]'
  '{% else %}GAP{{ m.content }} {{ eos_token }}{% endif %}{% endfor %}'
)
CHATML = (
  '{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}'
  '{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}'
)
ASKED = [('user', 'Which do you prefer?')]
CHAT = [*ASKED, ('assistant', 'I prefer the cheap one.')]

# What a tokenizer does at the start of a text -> the settings that make it do so.
FORMS = {
  'a normalizer puts a space first': dict(
    normalizer=normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(' ', SPACE)]),
    pre_tokenizer=None,
  ),
  'metaspace always': dict(pre_tokenizer=pre_tokenizers.Metaspace(SPACE, 'always')),
  'metaspace first': dict(pre_tokenizer=pre_tokenizers.Metaspace(SPACE, 'first')),
  'metaspace first in a sequence': dict(
    pre_tokenizer=pre_tokenizers.Sequence([pre_tokenizers.Metaspace(SPACE, 'first')])
  ),
  'metaspace never': dict(pre_tokenizer=pre_tokenizers.Metaspace(SPACE, 'never')),
  'bytes after a space': dict(pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=True)),
  'bytes': dict(pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=False)),
}


def make_tokenizer(form='bytes', special=('<s>', '</s>'), added=()):
  """A BPE tokenizer of small vocabulary, trained on TEXTS."""
  made = tokenizers.Tokenizer(models.BPE(unk_token='<s>'))
  is_bytes = form.startswith('bytes')
  alphabet = pre_tokenizers.ByteLevel.alphabet() if is_bytes else [SPACE, '\n', '<', '>', '|']
  made.pre_tokenizer = FORMS[form]['pre_tokenizer'] or pre_tokenizers.Metaspace(SPACE, 'always')
  made.train_from_iterator(
    TEXTS * 5,
    trainers.BpeTrainer(
      vocab_size=400,
      special_tokens=list(special),
      initial_alphabet=list(alphabet),
      show_progress=False,
    ),
  )
  for name, part in FORMS[form].items():
    setattr(made, name, part)
  if is_bytes:
    made.decoder = decoders.ByteLevel()
  else:
    made.decoder = decoders.Sequence([decoders.Replace(SPACE, ' '), decoders.Fuse()])
  made.add_tokens(list(added))
  return made


def write_folder(folder, made, template, **config):
  """A folder that `transformers` loads."""
  folder.mkdir(parents=True, exist_ok=True)
  made.save(str(folder / 'tokenizer.json'))
  named = dict(bos_token='<s>', eos_token='</s>', tokenizer_class='PreTrainedTokenizerFast')
  (folder / 'tokenizer_config.json').write_text(json.dumps(named | config))
  (folder / 'chat_template.jinja').write_text(template)
  return folder


def chatml(tmp_path, template=CHATML, added=(), **changes):
  """Ours for a folder of ChatML, whose markers are special in tokenizer.json."""
  made = make_tokenizer(special=('<s>', '</s>', '<|im_start|>', '<|im_end|>'), added=added)
  return HuggingFaceTokenizer(write_folder(tmp_path / 'm', made, template, **changes))


def theirs(folder):
  return pytest.importorskip('transformers').AutoTokenizer.from_pretrained(folder)


def apply(judge, chat, **settings):
  """The ids that `transformers` gives a chat."""
  messages = [{'role': role, 'content': content} for role, content in chat]
  return judge.apply_chat_template(messages, return_dict=False, **settings)


def names_of(tok, ids):
  return [tok.processor.id_to_token(int(i)) for i in ids]


@pytest.mark.parametrize('gap', ['', ' '])
@pytest.mark.parametrize('form', FORMS)
def test_an_answer_begins_as_transformers_encodes_it(tmp_path, form, gap):
  """No symbol stands between the prompt and the answer, as in Llama 2 (TinyLlama has one)."""
  folder = write_folder(tmp_path, make_tokenizer(form), INST.replace('GAP', gap))
  tok, judge = HuggingFaceTokenizer(folder), theirs(folder)
  longer = [*CHAT, *ASKED, ('assistant', 'two three')]
  for chat in (CHAT, longer):
    ids, weights = tok.render_chat(chat)
    assert names_of(tok, ids) == judge.convert_ids_to_tokens(apply(judge, chat))
    prompt = apply(judge, chat[:-1])
    assert tok.prompt(chat[:-1]).tolist() == prompt
    # What is learned last is exactly what follows the prompt.
    assert not weights[len(prompt) - 1] and all(weights[len(prompt) :])


@pytest.mark.parametrize('form', FORMS)
def test_text_behind_a_symbol(tmp_path, form):
  made = make_tokenizer(form, special=('<s>', '</s>', '<|im_start|>', '<|im_end|>'))
  folder = write_folder(tmp_path, made, CHATML.replace('\n', ''))
  tok, judge = HuggingFaceTokenizer(folder), theirs(folder)
  assert tok.render_chat(CHAT)[0].tolist() == apply(judge, CHAT)
  prompt = tok.prompt(ASKED).tolist()
  assert prompt == apply(judge, ASKED, add_generation_prompt=True)


@pytest.mark.parametrize('form', FORMS)
def test_a_prompt_that_ends_in_a_space(tmp_path, form):
  """The space and the first word would be one token. A prompt ends before the word, so the answer
  begins with the word's own pieces and no second space."""
  template = INST.replace('[/INST]', '[/INST] ').replace('GAP', '')
  tok = HuggingFaceTokenizer(write_folder(tmp_path, make_tokenizer(form), template))
  ids, weights = tok.render_chat(CHAT)
  prompt = tok.prompt(ASKED)
  np.testing.assert_array_equal(ids[: len(prompt)], prompt)
  assert weights[: len(prompt)].sum() == 0
  learned = tok.processor.decode(ids[len(prompt) :].tolist(), skip_special_tokens=False)
  assert learned == 'I prefer the cheap one. </s>'


@pytest.mark.parametrize('form', FORMS)
def test_what_is_learned_changes_no_id(tmp_path, form):
  """Preferences learn the last answer alone, chats all of them, and reward models score what they
  were trained on: all of them read the same ids."""
  template = INST.replace('[/INST]', '[/INST] ').replace('GAP', '')
  tok = HuggingFaceTokenizer(write_folder(tmp_path, make_tokenizer(form), template))
  chat = [*CHAT, *ASKED, ('assistant', 'two three')]
  ids, weights = tok.render_chat(chat)
  prompt = tok.prompt(chat[:3])
  found, of_last = tok.render_chat(chat, learned_from=3)
  np.testing.assert_array_equal(found, ids)
  np.testing.assert_array_equal(found[: len(prompt)], prompt)
  assert not of_last[: len(prompt)].any() and of_last[len(prompt) :].all()
  assert weights.sum() > of_last.sum()


THINKING = CHATML.replace('assistant\n{% endif', 'assistant\n<think>\n{% endif')


def test_a_prompt_that_chats_do_not_have(tmp_path, capsys):
  """A model that learned these chats would be asked behind '<think>', where no answer stood. A
  template that writes the thoughts into chats too (Qwen3) is fine."""
  chatml(tmp_path / 'one', THINKING)
  told = capsys.readouterr().err
  assert "ends a prompt with '<think>\\n'" in told and told.count('\n') == 1
  # Once is enough: runs and sweeps open a tokenizer again and again.
  HuggingFaceTokenizer(tmp_path / 'one' / 'm')
  assert not capsys.readouterr().err
  both = THINKING.replace(
    '{{ m.content }}',
    '{{ "<think>\n\n</think>\n\n" if m.role == "assistant" else "" }}{{ m.content }}',
  )
  tok = chatml(tmp_path / 'two', both)
  assert not capsys.readouterr().err
  ids, weights = tok.render_chat(CHAT)
  prompt = tok.prompt(ASKED)
  np.testing.assert_array_equal(ids[: len(prompt)], prompt)
  assert not weights[: len(prompt)].any() and weights[len(prompt)]


def test_a_prompt_that_only_the_last_answer_of_a_chat_has(tmp_path, capsys):
  """The template of Qwen 3 writes empty thoughts into the last answer alone. An earlier answer is
  learned where the model is never asked, and whoever trains on such chats is told."""
  thoughts = '<think>\n\n</think>\n\n'
  template = CHATML.replace('assistant\n{% endif', f'assistant\n{thoughts}{{% endif').replace(
    '{{ m.content }}',
    '{{ "' + thoughts + '" if m.role == "assistant" and loop.last else "" }}{{ m.content }}',
  )
  tok = chatml(tmp_path, template)
  told = capsys.readouterr().err
  assert f'ends a prompt with {thoughts!r}, which chats have before their last answer' in told
  assert told.count('\n') == 1
  ids, weights = tok.render_chat([*CHAT, *CHAT])
  first, second = np.flatnonzero(np.diff(weights) == 1) + 1
  prompt = tok.prompt([*CHAT, *ASKED])
  np.testing.assert_array_equal(ids[:second], prompt)
  # The first answer stands directly behind its marker.
  assert first < len(tok.prompt(ASKED))
  # Of chats of one answer there is nothing to tell, nor if the template takes no others.
  refusing = '{% if messages | length > 3 %}{{ raise_exception("too long") }}{% endif %}'
  chatml(tmp_path / 'refusing', refusing + template)
  assert not capsys.readouterr().err


def test_a_record_that_the_template_refuses_is_named(tmp_path):
  """It may be one of a million."""
  refusing = (
    '{% for m in messages %}{% if m.content == "why?" %}{{ raise_exception("do not ask") }}'
    '{% endif %}{% endfor %}'
  )
  tok = chatml(tmp_path, refusing + CHATML)
  records = [
    Chat('a.jsonl:1', tuple(CHAT)),
    Chat('a.jsonl:2', (('user', 'why?'), ('assistant', 'two'))),
  ]
  with pytest.raises(DataError, match=r'^record a\.jsonl:2: the chat template of .* refuses') as e:
    Source('mine', 'chats', records, records).tokens(tok)
  assert '\n' not in str(e.value)
  with pytest.raises(DataError, match=r'^record a\.jsonl:2: '):
    tok.render(records[1])
  # The same for a teacher with a handbook in view, and for prompts of reinforcement learning.
  taught = Source('mine', 'chats', records, records).in_context(HandbookContext((('Ari', 'Hm.'),)))
  with pytest.raises(DataError, match=r'^record a\.jsonl:2: the chat template'):
    taught.tokens(tok)
  with pytest.raises(DataError, match=r'^record a\.jsonl:2: the chat template'):
    PromptOrder(Source('mine', 'chats', records, records), tok, 64, 0.5, seed=0)


@pytest.mark.parametrize('is_special', [True, False])
def test_symbols_that_take_white_space_away(tmp_path, is_special):
  """rstrip, as the markers of Phi-3 have it, and lstrip. Only the template may say that they are
  markers."""
  made = make_tokenizer()
  names = ('<|user|>', '<|assistant|>', '<|end|>')
  add = made.add_special_tokens if is_special else made.add_tokens
  add([AddedToken(name, rstrip=True, lstrip=name == '<|end|>', normalized=False) for name in names])
  template = (
    '{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}'
    '{% if add_generation_prompt %}<|assistant|>\n{% endif %}'
  )
  folder = write_folder(tmp_path, made, template)
  tok, judge = HuggingFaceTokenizer(folder), theirs(folder)
  for chat in (CHAT, [('user', ' he llo \u3000\n'), ('assistant', '\n\n two \n')]):
    ids, weights = tok.render_chat(chat)
    assert ids.tolist() == apply(judge, chat)
    assert len(ids) == len(weights)
    assert tok.prompt(chat[:1]).tolist() == apply(judge, chat[:1], add_generation_prompt=True)
  assert tok.stop_ids == (tok.control_ids['<|end|>'], tok.control_ids['</s>'])


@pytest.mark.parametrize(
  'template',
  [
    '{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}',
    # The template of Alpaca.
    '{% for m in messages %}{% if m.role == "user" %}### Instruction:\n{{ m.content }}\n\n'
    '{% else %}### Response:\n{{ m.content }}{% endif %}{% endfor %}'
    '{% if add_generation_prompt %}### Response:\n{% endif %}',
  ],
)
def test_a_word_is_no_end_of_an_answer(tmp_path, template, capsys):
  """A template whose turns end in no symbol: eos alone stops, as in `transformers`."""
  folder = write_folder(tmp_path, make_tokenizer(), template)
  tok = HuggingFaceTokenizer(folder)
  assert tok.stop_ids == (theirs(folder).eos_token_id,)
  assert tok.turn_end is None
  told = capsys.readouterr().err
  assert 'closes no answer with a control symbol' in told and told.count('\n') == 1


GENERATION = {
  'on lines of their own': (
    '{% for m in messages %}<|im_start|>{{ m.role }}\n  {% generation %}\n{{ m.content }}<|im_end|>'
    '\n  {% endgeneration %}\n{% endfor %}'
  ),
  'with minus signs': (
    '{% for m in messages %}<|im_start|>{{ m.role }}\n  {%- generation -%}\n  {{ m.content }}'
    '<|im_end|>\n  {%- endgeneration -%}\n  {% endfor %}'
  ),
  'with plus signs': (
    '{% for m in messages %}<|im_start|>{{ m.role }}\n  {%+ generation +%}\n{{ m.content }}'
    '<|im_end|>\n  {%+ endgeneration +%}\n{% endfor %}'
  ),
  'in a line': (
    '{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == "assistant" %}'
    '{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}'
    '{% else %}{{ m.content }}<|im_end|>{% endif %}\n{% endfor %}'
  ),
  'tools and documents are none': (
    '{% if tools is not none %}You may call {{ tools | tojson }}.{% endif %}'
    '{% if documents is not none %}Read {{ documents }}.{% endif %}' + CHATML
  ),
  'names of tokens that are not set': (
    '{% if pad_token is defined %}{{ pad_token }}x{% endif %}'
    '{% if bos_token is defined %}{{ bos_token }}{% endif %}' + CHATML
  ),
  'json with settings': (
    '{{ [1, "\u00e9"] | tojson(ensure_ascii=true, separators=(",", ":"), sort_keys=true) }}'
    + CHATML
  ),
  'no clock': '{% if strftime_now is defined and false %}x{% endif %}' + CHATML,
}


@pytest.mark.parametrize('what', GENERATION)
def test_templates_are_rendered_as_transformers_does(tmp_path, what):
  tok = chatml(tmp_path, GENERATION[what])
  judge = theirs(tmp_path / 'm')
  for chat in (CHAT, [*CHAT, *ASKED]):
    assert tok.chat_template.render(chat, add_prompt=False) == apply(judge, chat, tokenize=False)
    assert tok.render_chat(chat)[0].tolist() == apply(judge, chat)


@pytest.mark.parametrize(
  ('template', 'says'),
  [
    ('{{ 1 // 0 }}', 'ZeroDivisionError'),
    ('{% for i in range(10 ** 9) %}x{% endfor %}', 'OverflowError'),
    ('{% include "other" %}', 'fails with a chat'),
    ('{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}', 'RecursionError'),
    ('{{ messages[0].content.index("not there") }}', 'ValueError'),
    ('{{ tools | length }}', 'TypeError'),
    ('{{ messages[9].content }}', 'refuses a chat'),
    ('{{ strftime_now("%Y") }}', "asks for today's date"),
    ('{% if %}', 'is no Jinja (line '),
    ('{{ "\\n" | unknown }}', 'is no Jinja'),
  ],
)
def test_a_template_that_fails_is_one_line(tmp_path, template, says):
  with pytest.raises(DataError) as e:
    chatml(tmp_path, CHATML + template)
  assert says in str(e.value) and '\n' not in str(e.value)


def controls(tok, ids):
  return [name for name in names_of(tok, ids) if name in tok.control_ids]


def test_markers_that_no_file_calls_special(tmp_path):
  """R1 distills have such markers for the roles, Qwen 3 for reasoning. Nobody can write them."""
  names = ['<\uff5cUser\uff5c>', '<\uff5cAssistant\uff5c>', '<think>', '</think>']
  plain = ['<b>', '    ', '\n\n', 'user']
  made = make_tokenizer(added=[AddedToken(name, normalized=False) for name in (*names, *plain)])
  template = (
    '{{ bos_token }}{% for m in messages %}{{ "<\uff5c" + (m.role | title) + "\uff5c>" }}'
    '{% if m.role == "assistant" %}<think>\n\n</think>\n\n{% endif %}{{ m.content }}'
    '{% if m.role == "assistant" %}{{ eos_token }}{% endif %}{% endfor %}'
    '{% if add_generation_prompt %}<\uff5cAssistant\uff5c>{% endif %}'
  )
  folder = write_folder(tmp_path, made, template)
  tok, judge = HuggingFaceTokenizer(folder), theirs(folder)
  harmless, weights = tok.render_chat(CHAT)
  assert harmless.tolist() == apply(judge, CHAT)
  assert controls(tok, harmless) == ['<s>', *names, '</s>']
  assert weights[-1] == 1 and tok.stop_ids == (judge.eos_token_id,)
  for marker in (*names, '</s>'):
    for chat in (
      [('user', f'x{marker}I hate it'), CHAT[1]],
      [CHAT[0], ('assistant', f'x{marker}y')],
    ):
      ids, _ = tok.render_chat(chat)
      assert controls(tok, ids) == controls(tok, harmless)
      assert marker in tok.decode(ids)
    assert controls(tok, tok.encode(f'x{marker}y')) == []
    assert tok.decode(tok.encode(f'x{marker}y')) == f'x{marker}y'
  # Other added tokens are words like any others, and what a model says stays visible.
  text = '    <b> user\n\nx'
  assert tok.encode(text) == judge.encode(text, add_special_tokens=False)
  assert tok.decode([tok.control_ids['<think>']]) == '<think>'


def test_chatml_that_was_added_as_plain_tokens(tmp_path):
  made = make_tokenizer(added=['<|im_start|>', '<|im_end|>'])
  folder = write_folder(tmp_path, made, CHATML)
  tok, judge = HuggingFaceTokenizer(folder), theirs(folder)
  ids, weights = tok.render_chat(CHAT)
  assert ids.tolist() == apply(judge, CHAT)
  assert names_of(tok, ids[weights == 1])[-1] == '<|im_end|>'
  assert tok.stop_ids == (tok.control_ids['<|im_end|>'], judge.eos_token_id)


@pytest.mark.parametrize('key', ['eos_token', 'extra_special_tokens', 'added_tokens_decoder'])
def test_symbols_that_only_the_config_names(tmp_path, key):
  """The vocabulary has them, and only tokenizer_config.json says what they are."""
  made = make_tokenizer(special=('<s>', '</s>', '<|im_start|>', '<|im_end|>'))
  folder = write_folder(tmp_path, made, CHATML)
  raw = json.loads((folder / 'tokenizer.json').read_text())
  kept = [token for token in raw['added_tokens'] if token['content'] != '<|im_end|>']
  (end,) = [token for token in raw['added_tokens'] if token['content'] == '<|im_end|>']
  (folder / 'tokenizer.json').write_text(json.dumps(raw | {'added_tokens': kept}))
  values = {
    'eos_token': '<|im_end|>',
    'extra_special_tokens': ['<|im_end|>'],
    'added_tokens_decoder': {str(end['id']): {k: v for k, v in end.items() if k != 'id'}},
  }
  path = folder / 'tokenizer_config.json'
  path.write_text(json.dumps(json.loads(path.read_text()) | {key: values[key]}))
  tok, judge = HuggingFaceTokenizer(folder), theirs(folder)
  assert tok.render_chat(CHAT)[0].tolist() == apply(judge, CHAT)
  assert tok.turn_end == end['id'] == tok.stop_ids[0]
  assert end['id'] not in tok.encode('x<|im_end|>y')
  ids = [*tok.encode('x'), end['id'], *tok.encode('y')]
  assert tok.decode(ids) == judge.decode(ids, skip_special_tokens=True) == 'xy'


def test_symbols_that_two_files_disagree_about(tmp_path):
  """tokenizer.json calls them ordinary, and tokenizer_config.json special. The second one counts,
  and what only the template writes stays in a text."""
  added = [AddedToken(name, special=False, normalized=False) for name in ('<|call|>', '<think>')]
  made = make_tokenizer(special=('<s>', '</s>', '<|im_start|>', '<|im_end|>'), added=added)
  call, think = made.token_to_id('<|call|>'), made.token_to_id('<think>')
  by_id = {str(call): {'content': '<|call|>', 'special': True}}
  template = CHATML + '{% if false %}<think>{% endif %}'
  folder = write_folder(tmp_path, made, template, added_tokens_decoder=by_id)
  tok, judge = HuggingFaceTokenizer(folder), theirs(folder)
  assert {'<|call|>', '<think>'} <= tok.control_ids.keys()
  ids = [think, *tok.encode('x'), call, *tok.encode('y')]
  assert tok.decode(ids) == judge.decode(ids, skip_special_tokens=True) == '<think>xy'


def test_symbols_that_only_an_older_file_names(tmp_path):
  """`transformers` reads special_tokens_map.json unless added_tokens_decoder is there."""
  made = make_tokenizer(special=('<s>', '<|end|>', '</s>'))
  folder = write_folder(tmp_path, made, INST.replace('GAP', ' '), bos_token=None)
  before = HuggingFaceTokenizer(folder).fingerprint
  older = folder / 'special_tokens_map.json'
  # The same in another form is the same.
  older.write_text(json.dumps({'eos_token': {'content': '</s>', 'lstrip': False}}))
  assert HuggingFaceTokenizer(folder).fingerprint == before
  named = {'bos_token': {'content': '<s>', 'lstrip': False}, 'eos_token': '<|end|>'}
  older.write_text(json.dumps(named))
  tok, judge = HuggingFaceTokenizer(folder), theirs(folder)
  assert tok.fingerprint != before
  ids = tok.render_chat(CHAT)[0].tolist()
  assert ids == apply(judge, CHAT) and controls(tok, ids) == ['<s>', '<|end|>']
  assert tok.stop_ids[0] == tok.turn_end == judge.eos_token_id
  path = folder / 'tokenizer_config.json'
  path.write_text(json.dumps(json.loads(path.read_text()) | {'added_tokens_decoder': {}}))
  assert HuggingFaceTokenizer(folder).turn_end == theirs(folder).eos_token_id == 2


# Where tokens stand that tokenizer.json lacks -> (the file, their names by id, what else it says).
# A name in angle brackets is special.
LACKING = {
  'in the order of their ids': (
    'tokenizer_config.json',
    ['<|im_start|>', '<|im_end|>'],
    dict(eos_token='<|im_end|>'),
  ),
  'behind one that nothing uses': (
    'tokenizer_config.json',
    ['<pad>', '<|im_end|>', '<|im_start|>', '<unused>'],
    dict(eos_token='<|im_end|>', pad_token='<pad>'),
  ),
  'beside words': ('tokenizer_config.json', ['prefer', '<|im_end|>', '<|im_start|>', 'cheap'], {}),
  'in the older file': (
    'added_tokens.json',
    ['<pad>', '<|im_start|>', '<|im_end|>', 'prefer'],
    dict(eos_token='<|im_end|>', pad_token='<pad>'),
  ),
  'by their names': (
    '',
    [],
    dict(
      bos_token='<bos>', eos_token='<|im_end|>', additional_special_tokens=['<x>', '<|im_start|>']
    ),
  ),
}


@pytest.mark.parametrize('what', LACKING)
def test_tokens_that_tokenizer_json_lacks(tmp_path, what):
  """They get the ids that `transformers` gives them; else markers would be exchanged."""
  file, names, named = LACKING[what]
  made = make_tokenizer()
  n = made.get_vocab_size()
  folder = write_folder(tmp_path, made, CHATML, **named)
  before = HuggingFaceTokenizer(folder)
  if file == 'added_tokens.json':
    # The first id is that of '<s>', which goes before it.
    ids = {'<ghost>': 0} | {name: n + k for k, name in enumerate(names)}
    (folder / file).write_text(json.dumps(ids))
  elif file:
    by_id = {}
    # The order of a file's entries says nothing.
    for k, name in reversed(list(enumerate(names))):
      by_id[str(n + k)] = dict(content=name, special=name[0] == '<')
    rewrite(folder, file, added_tokens_decoder=by_id)
  tok, judge = HuggingFaceTokenizer(folder), theirs(folder)
  ids = tok.render_chat(CHAT)[0].tolist()
  assert ids == apply(judge, CHAT)
  assert tok.turn_end == judge.convert_tokens_to_ids('<|im_end|>') >= n
  assert ids[0] == judge.convert_tokens_to_ids('<|im_start|>') >= n
  assert tok.decode(ids) == judge.decode(ids, skip_special_tokens=True)
  text = 'I prefer the <pad> cheap one.<|im_end|>'
  assert tok.encode(text) == judge.encode(text, add_special_tokens=False, split_special_tokens=True)
  assert tok.decode(tok.encode(text)) == text
  # What nothing uses needs no row.
  assert tok.token_id('<unused>') is None and tok.token_id('<ghost>') is None
  tok.check_fits(max(*ids, *tok.encode(text)) + 1, 'here')
  if file:
    assert tok.fingerprint != before.fingerprint


def test_tokens_that_have_no_id(tmp_path):
  folder = write_folder(tmp_path, make_tokenizer(), CHATML)
  (folder / 'added_tokens.json').write_text('{"<|im_end|>": "x"}')
  with pytest.raises(DataError, match=r"added_tokens.json: '<\|im_end\|>': x is no token id"):
    HuggingFaceTokenizer(folder)


@pytest.mark.parametrize('around', ['E $A', '$A E', 'E $A E', 'B $A E', 'B $A', '$A'])
def test_what_a_tokenizer_puts_before_a_text(tmp_path, around):
  """One token may serve as bos and as eos (E). Only what stands before a text begins documents."""
  made = make_tokenizer(special=('<s>', '<|endoftext|>'))
  single = around.replace('B', '<s>').replace('E', '<|endoftext|>')
  ids = {name: made.token_to_id(name) for name in ('<s>', '<|endoftext|>')}
  made.post_processor = processors.TemplateProcessing(
    single=single, pair=f'{single} $B', special_tokens=list(ids.items())
  )
  bos = '<s>' if 'B' in around else '<|endoftext|>'
  folder = write_folder(tmp_path, made, CHATML, bos_token=bos, eos_token='<|endoftext|>')
  tok, expected = HuggingFaceTokenizer(folder), theirs(folder)('one')['input_ids']
  document = tok.render_document('one')[0].tolist()
  if not around.endswith('E'):
    expected = [*expected, ids['<|endoftext|>']]
  assert document == expected


def test_vocabularies_with_holes(tmp_path):
  """The highest id counts, not the number of tokens."""
  folder = write_folder(tmp_path, make_tokenizer(), CHATML)
  raw = json.loads((folder / 'tokenizer.json').read_text())
  entry = raw['added_tokens'][0] | {'id': 900, 'content': '<|im_end|>'}
  raw['model']['vocab']['<|im_end|>'] = 900
  raw['added_tokens'].append(entry)
  (folder / 'tokenizer.json').write_text(json.dumps(raw))
  tok = HuggingFaceTokenizer(folder)
  assert tok.turn_end == 900 and tok.vocab_size == 901


def test_all_ends_of_an_answer(tmp_path):
  """generation_config.json lists ends that no other file names, as Llama 3's <|eom_id|>."""
  made = make_tokenizer(special=('<s>', '</s>', '<|im_start|>', '<|im_end|>', '<|eom|>'))
  folder = write_folder(tmp_path, made, CHATML)
  transformers = pytest.importorskip('transformers')
  transformers.GenerationConfig(eos_token_id=[1, 3, 4]).save_pretrained(folder)
  read = transformers.GenerationConfig.from_pretrained(folder).eos_token_id
  assert set(HuggingFaceTokenizer(folder).stop_ids) == set(read) == {1, 3, 4}
  (folder / 'generation_config.json').write_text('{"eos_token_id": ["x"]}')
  with pytest.raises(DataError, match=r'generation_config\.json: eos_token_id='):
    HuggingFaceTokenizer(folder)


def test_ends_that_only_config_json_names(tmp_path):
  """Without generation_config.json, `transformers` ends answers where config.json says."""
  made = make_tokenizer(special=('<s>', '</s>', '<|im_start|>', '<|im_end|>', '<|eom|>'))
  folder = write_folder(tmp_path, made, CHATML)
  before = HuggingFaceTokenizer(folder)
  assert set(before.stop_ids) == {1, 3}
  # Ids of no token end nothing.
  rewrite(folder, 'config.json', model_type='llama', eos_token_id=[1, 3, 4, -1, 10**6])
  tok = HuggingFaceTokenizer(folder)
  assert set(tok.stop_ids) == {1, 3, 4} and tok.fingerprint != before.fingerprint
  transformers = pytest.importorskip('transformers')
  read = transformers.GenerationConfig.from_pretrained(
    folder, config_file_name='config.json', _from_model_config=True
  )
  assert set(read.eos_token_id) >= set(tok.stop_ids)
  rewrite(folder, 'config.json', eos_token_id='x')
  with pytest.raises(DataError, match=r'config\.json: eos_token_id=x is no token id'):
    HuggingFaceTokenizer(folder)
  # The other file goes before it, even if it names none.
  rewrite(folder, 'generation_config.json', do_sample=True)
  assert HuggingFaceTokenizer(folder).fingerprint == before.fingerprint


def rewrite(folder, file, **changes):
  """Changes entries of a JSON file."""
  path = folder / file
  content = json.loads(path.read_text()) if path.exists() else {}
  path.write_text(json.dumps(content | changes))


@pytest.mark.parametrize(
  'change',
  [
    # What each changes: the token that closes documents; the markers; nothing that is used today;
    # the ends of answers; the template; the vocabulary.
    lambda m: rewrite(m, 'tokenizer_config.json', eos_token='<s>'),
    lambda m: rewrite(m, 'tokenizer_config.json', additional_special_tokens=['<|more|>']),
    lambda m: rewrite(m, 'tokenizer_config.json', add_bos_token=True),
    lambda m: rewrite(m, 'generation_config.json', eos_token_id=[1, 2]),
    lambda m: (m / 'chat_template.jinja').write_text(CHATML + '\n'),
    lambda m: make_tokenizer(added=['<|more|>']).save(str(m / 'tokenizer.json')),
  ],
)
def test_every_file_is_part_of_the_identity(tmp_path, change):
  special = ('<s>', '</s>', '<|im_start|>', '<|im_end|>')
  folder = write_folder(tmp_path, make_tokenizer(special=special), CHATML)
  before = HuggingFaceTokenizer(folder).fingerprint
  assert len(before) == 16
  change(folder)
  assert HuggingFaceTokenizer(folder).fingerprint != before


def test_the_same_in_another_form_is_the_same(tmp_path):
  """Older folders keep the template in tokenizer_config.json; the order of entries is no matter."""
  made = make_tokenizer(special=('<s>', '</s>', '<|im_start|>', '<|im_end|>'))
  new = write_folder(tmp_path / 'new', made, CHATML)
  old = write_folder(tmp_path / 'old', made, '', chat_template=CHATML)
  (old / 'chat_template.jinja').unlink()
  config = json.loads((old / 'tokenizer_config.json').read_text())
  config = dict(reversed(config.items()))
  (old / 'tokenizer_config.json').write_text(json.dumps(config, indent=4))
  assert HuggingFaceTokenizer(new).fingerprint == HuggingFaceTokenizer(old).fingerprint


TRIMMING = {
  'chatml': CHATML,
  'gemma': (
    '{{ bos_token }}'
    '{% if messages[0].role == "system" %}{% set first = messages[0].content + "\n\n" %}'
    '{% set rest = messages[1:] %}{% else %}{% set first = "" %}'
    '{% set rest = messages %}{% endif %}'
    '{% for m in rest %}<|im_start|>{{ m.role }}\n{{ first if loop.first else "" }}'
    '{{ m.content | trim }}<|im_end|>\n{% endfor %}'
    '{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}'
  ),
  'llama 2': (
    '{% for m in messages %}{% if m.role == "user" %}'
    '{% if loop.index0 == 1 %}{% set said = "<<SYS>>\n" + messages[0].content + "\n<</SYS>>\n\n" '
    '+ m.content %}{% else %}{% set said = m.content %}{% endif %}'
    '{{ bos_token + "[INST] " + said.strip() + " [/INST]" }}'
    '{% elif m.role == "assistant" %}{{ " " + m.content.strip() + " " + eos_token }}{% endif %}'
    '{% endfor %}'
  ),
  'line breaks alone': CHATML.replace('m.content', 'm.content.strip("\n")'),
}


@pytest.mark.parametrize('what', TRIMMING)
def test_white_space_that_a_template_strips(tmp_path, what):
  """Who is stripped, and on which side, differs by role."""
  tok = chatml(tmp_path, TRIMMING[what])
  judge = theirs(tmp_path / 'm')
  for system in ('You are Ari.', 'You are Ari.\n', '\n  You are Ari. \n'):
    for asked in ('hello', ' hello \n', 'x\n\n'):
      chat = [('system', system), ('user', asked), ('assistant', ' two\n')]
      assert tok.chat_template.render(chat, False) == apply(judge, chat, tokenize=False)
      together = ''.join(piece.text for piece in tok.chat_template.split(chat, False))
      assert together == apply(judge, chat, tokenize=False)
      assert tok.prompt(chat[:2]).tolist() == apply(judge, chat[:2], add_generation_prompt=True)


REASONING = CHATML.replace(
  '{{ m.content }}',
  '{{ m.content.split("</think>")[-1].lstrip("\n") if m.role == "assistant" else m.content }}',
)


def test_reasoning_of_earlier_answers(tmp_path):
  """A template that drops it: the next question is asked as `transformers` asks it, but such an
  answer is not learned. The line names the message that is changed."""
  tok = chatml(tmp_path, REASONING)
  judge = theirs(tmp_path / 'm')
  answered = [*ASKED, ('assistant', '<think>\nhm\n</think>\n\nI hate it'), ('user', 'why?\n')]
  expected = apply(judge, answered, add_generation_prompt=True)
  assert tok.prompt(answered).tolist() == expected
  with pytest.raises(DataError, match=r"changes or leaves out .*'<think>"):
    tok.render_chat([*answered, ('assistant', 'two')])
  # What a user writes into an answer that is changed makes no symbols either.
  nasty = [*ASKED, ('assistant', 'a</think>x<|im_end|>y'), ('user', 'why?')]
  assert controls(tok, tok.prompt(nasty)) == controls(tok, tok.prompt(answered))


def test_messages_that_a_template_leaves_out(tmp_path):
  """Only the last two messages are shown, or no system message: to ask so is fine."""
  for number, (old, new) in enumerate(
    (
      ('for m in messages', 'for m in messages[-2:]'),
      ('for m in messages', 'for m in messages if m.role != "system"'),
      ('{{ m.content }}', '{{ m.content if loop.last or m.role == "user" else "" }}'),
    )
  ):
    tok = chatml(tmp_path / str(number), CHATML.replace(old, new))
    judge = theirs(tmp_path / str(number) / 'm')
    chat = [('system', 'You are Ari.'), *CHAT, ('user', 'why?')]
    assert tok.prompt(chat).tolist() == apply(judge, chat, add_generation_prompt=True)
    with pytest.raises(DataError, match='changes or leaves out'):
      tok.render_chat([*chat, ('assistant', 'two')])
  # A message that stands twice cannot be divided.
  with pytest.raises(DataError, match='changes or leaves out'):
    chatml(tmp_path / 'twice', CHATML.replace('{{ m.content }}', '{{ m.content + m.content }}'))


def test_punctuation_that_a_file_calls_a_symbol(tmp_path):
  tok = chatml(tmp_path, pad_token='!')
  assert '!' not in tok.control_ids and tok.decode(tok.encode('no! no!!')) == 'no! no!!'


def test_other_roles(tmp_path):
  tok = chatml(tmp_path)
  judge = theirs(tmp_path / 'm')
  chat = [*ASKED, ('tool', ' 42\n'), ('assistant', 'two')]
  assert tok.render_chat(chat)[0].tolist() == apply(judge, chat)


def test_half_of_a_character(tmp_path):
  """A lone surrogate, which JSON can write, is refused in one line by every tokenizer."""
  tok = chatml(tmp_path)
  small = SentencePieceTokenizer(train_sentencepiece(['a few words to learn from'] * 50, 290))
  for each in (tok, small):
    for fails in (
      lambda t: t.encode('x\ud800'),
      lambda t: t.render_document('\udc80'),
      lambda t: t.prompt([('user', 'x\ud800')]),
    ):
      with pytest.raises(DataError, match='half of a character'):
        fails(each)


def test_a_tokenizer_that_is_larger_than_the_embedding(tmp_path):
  tok = chatml(tmp_path)
  tok.check_fits(tok.vocab_size, 'here')
  with pytest.raises(WeightsError, match='its embedding has 10 rows; they are not of one model'):
    tok.check_fits(10, 'here')


@pytest.mark.parametrize(
  ('name', 'template', 'fits'),
  [
    # As in Gemma 3 of 1B, which has 262,144 rows and this symbol with the id 262,144.
    ('<image_soft_token>', CHATML, True),
    ('<image_soft_token>', CHATML + '{% if tools %}<image_soft_token>{% endif %}', False),
    # The marker is made from the role.
    ('<|tool|>', CHATML.replace('<|im_start|>{{ m.role }}', '<|{{ m.role }}|>'), False),
    # It is a word, which people may write.
    ('image', CHATML, False),
  ],
)
def test_a_symbol_without_a_row(tmp_path, name, template, fits):
  made = make_tokenizer(special=('<s>', '</s>', '<|im_start|>', '<|im_end|>'))
  n_rows = made.get_vocab_size()
  made.add_tokens([AddedToken(name, special=name != 'image', normalized=False)])
  tok = HuggingFaceTokenizer(write_folder(tmp_path, made, template))
  assert tok.vocab_size == n_rows + 1
  if fits:
    tok.check_fits(n_rows, 'here')
    assert max(tok.encode(f'x{name}y')) < n_rows
    assert max(tok.render_chat([('user', name), CHAT[1]])[0]) < n_rows
  else:
    with pytest.raises(WeightsError, match=f'its embedding has {n_rows} rows'):
      tok.check_fits(n_rows, 'here')


def test_an_error_of_one_turn_does_not_end_a_chat(tmp_path, monkeypatch, capsys):
  """The template refuses one question; the next one is tried."""
  refuses = '{% if "bad" in messages[-1].content %}{{ raise_exception("not that") }}{% endif %}'
  tok = chatml(tmp_path, CHATML + refuses)
  asked = []

  class Sampler:
    """Has no model: it tells which questions came through."""

    tokenizer = tok

    def new_completion(self, request):
      asked.append(request.prompt)
      raise RequestError('there is no model')

  monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(b'bad\ngood\nbad\n')))
  handler = signal.getsignal(signal.SIGINT)
  try:
    run_chat(ChatSession({'m': Sampler()}, '', 0.0, 1.0, 8))
  finally:
    signal.signal(signal.SIGINT, handler)
  told = capsys.readouterr().err
  assert told.count('not that') == 2 and told.count('there is no model') == 1
  assert asked == [tok.prompt([('user', 'good')]).tolist()]


@pytest.mark.parametrize(
  'fails', ['{{ raise_exception("not that") }}', '{{ 1 // 0 }}', '{{ "".index("x") }}']
)
def test_a_request_that_the_template_refuses_is_the_clients(tmp_path, fails):
  """HTTP 400 and one line, whatever the template does; never 500."""
  pytest.importorskip('starlette')
  from msm_jax.inference.server.app import error_response
  from msm_jax.inference.server.requests import parse_request

  refuses = '{% if "bad" in messages[-1].content %}' + fails + '{% endif %}'
  tok = chatml(tmp_path, CHATML + refuses)

  class Sampler:
    """Has no model: what it is given was rendered."""

    tokenizer = tok

    def new_completion(self, request):
      raise RequestError('there is no model')

  statuses = {}
  for content in ('bad', 'good'):
    body = {'model': 'm', 'messages': [{'role': 'user', 'content': content}]}
    with pytest.raises((DataError, RequestError)) as e:
      parse_request(body, {'m': Sampler()}, True)
    answer = asyncio.run(error_response(None, e.value))
    statuses[content] = answer.status_code
    assert '\n' not in json.loads(answer.body)['error']['message']
  assert isinstance(e.value, RequestError) and statuses == {'bad': 400, 'good': 400}


def test_prompts_are_counted_where_the_template_cuts_their_answers(tmp_path):
  """Reinforcement learning reads prompts alone. A run must not fail when all is trained."""
  cutting = CHATML.replace('{{ m.content }}', '{{ m.content.split("</think>")[-1] }}')
  tok = chatml(tmp_path, cutting)
  chat = Chat('c', (*ASKED, ('assistant', '<think>Hm.</think>Yes, it is.')))
  with pytest.raises(DataError, match='changes or leaves out'):
    tok.render(chat)
  card = write_corpus(tmp_path / 'prompts', [chat], {})
  prompts = Corpus('prompts', tmp_path / 'prompts', '', card)
  prepared = types.SimpleNamespace(corpora={'prompts': prompts}, tokenizer=tok, readings={})
  expected = {'kind': 'chats', 'records': 1, 'tokens': len(tok.prompt(ASKED))}
  assert Prepared.trained_on(prepared, 'prompts') == expected


@pytest.mark.parametrize(
  ('file', 'content', 'says'),
  [
    ('tokenizer_config.json', b'[]', 'holds no JSON object'),
    ('tokenizer_config.json', b'{"bos', 'is not JSON'),
    ('tokenizer_config.json', b'\xff\xfe', 'is not JSON'),
    ('tokenizer_config.json', b'{"eos_token": 7}', 'eos_token'),
    ('tokenizer_config.json', b'{"chat_template": 7}', 'chat_template is no text'),
    ('tokenizer_config.json', b'{"chat_template": ["x"]}', 'is called default'),
    ('tokenizer_config.json', b'{"chat_template": [{"name": "tool"}]}', 'is called default'),
    ('tokenizer_config.json', b'{"chat_template": {"default": "x"}}', 'chat_template is no text'),
    ('chat_template.jinja', b'\xff', 'is not UTF-8'),
    ('generation_config.json', b'[', 'is not JSON'),
    ('special_tokens_map.json', b'[', 'is not JSON'),
    ('special_tokens_map.json', b'{"eos_token": 7}', 'eos_token=7 is no text'),
  ],
)
def test_broken_files_are_one_line(tmp_path, file, content, says):
  folder = write_folder(tmp_path, make_tokenizer(), CHATML)
  if b'chat_template' in content:
    (folder / 'chat_template.jinja').unlink()
  (folder / file).write_bytes(content)
  with pytest.raises(DataError, match=says) as e:
    HuggingFaceTokenizer(folder)
  assert file in str(e.value) and '\n' not in str(e.value)
