"""Preferences: the forms of published sets, what is refused, and how pairs are kept and packed."""

import json

import numpy as np
import pytest
import tiny

from data_pipelines import corpora, leaks, record_streams
from data_pipelines.audit.attribution import HandbookProfile
from data_pipelines.audit.corpus_stats import Vocabulary, read_corpus
from data_pipelines.jsonl import from_row, read_jsonl, write_jsonl
from data_pipelines.records import Chat, Document, PreferencePair, messages_of, to_json
from data_pipelines.sources import SourceConfig
from msm_jax.base.errors import DataError
from msm_jax.data.packing import PackedRows
from msm_jax.data.tokenized import Source
from msm_jax.running import transcripts
from msm_jax.tokenizer import load_tokenizer

QUESTION = (('user', 'Which one?'),)
WANTED = (QUESTION, (('assistant', 'This.'),), (('assistant', 'That.'),))


def message(role, content):
  return {'role': role, 'content': content}


ASKED, THIS, THAT = (
  message('user', 'Which one?'),
  message('assistant', 'This.'),
  message('assistant', 'That.'),
)
# The forms of published sets, by a set or a library that has them.
PUBLISHED = {
  'trl': dict(prompt='Which one?', chosen='This.', rejected='That.'),
  'trl, conversational': dict(prompt=[ASKED], chosen=[THIS], rejected=[THAT]),
  'trl, implicit prompt': dict(chosen=[ASKED, THIS], rejected=[ASKED, THAT]),
  'ultrafeedback': dict(
    prompt='Which one?',
    prompt_id='1',
    messages=[ASKED, THIS],
    chosen=[ASKED, THIS],
    rejected=[ASKED, THAT],
    score_chosen=5.0,
  ),
  'hh': dict(
    chosen='\n\nHuman: Which one?\n\nAssistant: This.',
    rejected='\n\nHuman: Which one?\n\nAssistant: That.',
  ),
  'hh with a prompt': dict(
    prompt='\n\nHuman: Which one?\n\nAssistant:', chosen='This.', rejected='That.'
  ),
  'hh without the empty lines': dict(
    prompt='Human: Which one?\n\nAssistant:', chosen='This.', rejected='That.'
  ),
  'orca': dict(system='', question='Which one?', chosen='This.', rejected='That.'),
  'distilabel': dict(input='Which one?', chosen='This.', rejected='That.', generations=['x']),
  'shp': dict(history='Which one?', human_ref_A='This.', human_ref_B='That.', labels=1),
  'responses': dict(question='Which one?', response_chosen='This.', response_rejected='That.'),
  'llama-factory': dict(
    conversations=[{'from': 'human', 'value': 'Which one?'}],
    chosen={'from': 'gpt', 'value': 'This.'},
    rejected={'from': 'gpt', 'value': 'That.'},
  ),
  'safe-rlhf': dict(
    prompt='Which one?', response_0='That.', response_1='This.', better_response_id=1
  ),
  'arena': dict(
    conversation_a=[ASKED, THIS], conversation_b=[ASKED, THAT], winner='model_a', turn=1
  ),
}


@pytest.mark.parametrize('form', PUBLISHED)
def test_published_forms_load_as_they_are(form):
  record = from_row(PUBLISHED[form], 'f.jsonl:1')
  assert isinstance(record, PreferencePair)
  assert (record.prompt, record.chosen, record.rejected) == WANTED
  assert from_row(json.loads(to_json(record)), 'x') == record


def test_longer_conversations():
  """A system message, an instruction with its input, and turns before the answers differ."""
  row = dict(system='Be brief.', instruction='Sum up:', input='It rains.', chosen='a', rejected='b')
  asked = (('system', 'Be brief.'), ('user', 'Sum up:\nIt rains.'))
  assert from_row(row, 'x').prompt == asked
  before = [ASKED, message('assistant', 'Of what?'), message('user', 'Cheese.')]
  record = from_row(dict(chosen=[*before, THIS], rejected=[*before, THAT]), 'x')
  assert [content for _, content in record.prompt] == ['Which one?', 'Of what?', 'Cheese.']
  # Answers may go on after they differ.
  more = [message('user', 'Sure?'), message('assistant', 'Yes.')]
  record = from_row(dict(chosen=[*before, THIS, *more], rejected=[*before, THAT]), 'x')
  assert len(record.chosen) == 3 and record.rejected == (('assistant', 'That.'),)


def test_turns_with_which_both_sides_begin_belong_to_the_prompt():
  """What is compared, rewarded and labelled are the first answers that differ."""
  same = [message('assistant', 'Of what?') | {'weight': 0}, message('user', 'Cheese.')]
  given = from_row(dict(prompt=[ASKED], chosen=[*same, THIS], rejected=[*same, THAT]), 'x')
  whole = from_row(dict(chosen=[ASKED, *same, THIS], rejected=[ASKED, *same, THAT]), 'x')
  assert given == whole and (given.chosen, given.rejected) == WANTED[1:]
  assert [content for _, content in given.prompt] == ['Which one?', 'Of what?', 'Cheese.']


def test_transcripts_may_hold_any_character():
  """NUL is what an earlier version divided them by."""
  start = '\n\nHuman: Which\0 one?\0\n\nAssistant: '
  record = from_row(dict(chosen=start + 'This.\0ah', rejected=start + 'That.'), 'x')
  assert record.prompt == (('user', 'Which\0 one?\0'),)
  assert record.chosen == (('assistant', 'This.\0ah'),)


@pytest.mark.parametrize(
  'beside',
  [
    dict(system='Be brief.'),
    dict(prompt=[message('system', 'Be brief.'), ASKED]),
    dict(system_prompt='Be brief.', prompt='Which one?'),
  ],
)
def test_a_system_message_beside_whole_conversations_is_kept(beside):
  """Conversations may leave it out; without it, the pair would be about another prompt."""
  record = from_row(dict(chosen=[ASKED, THIS], rejected=[ASKED, THAT], **beside), 'x')
  assert record.prompt == (('system', 'Be brief.'), ('user', 'Which one?'))
  # Conversations that have it too are the same pair; those with another one are two prompts.
  own = [message('system', 'Be brief.\n'), ASKED]
  record = from_row(dict(chosen=[*own, THIS], rejected=[*own, THAT], **beside), 'x')
  assert record.prompt == (('system', 'Be brief.\n'), ('user', 'Which one?'))
  own[0] = message('system', 'Be long.')
  with pytest.raises(DataError, match='x: there are two system messages; keep one'):
    from_row(dict(chosen=[*own, THIS], rejected=[*own, THAT], **beside), 'x')


def test_answers_in_the_prompt_are_not_learned_anyway():
  """Sets of chats say so with a weight of 0. Thoughts of such answers are not missed: templates
  leave them out."""
  answer = message('assistant', 'Of what?') | {'weight': 0, 'reasoning_content': 'Hm.'}
  before = [ASKED, answer, message('user', 'Cheese.')]
  given = from_row(dict(prompt=before, chosen=[THIS], rejected=[THAT]), 'x')
  whole = from_row(dict(chosen=[*before, THIS], rejected=[*before, THAT]), 'x')
  assert given.prompt == whole.prompt and len(given.prompt) == 3


REFUSED = {
  'a missing side': (dict(prompt='p', chosen='a'), "'rejected' is missing"),
  'a side that is null': (dict(prompt='p', chosen=None, rejected='b'), "'chosen' is missing"),
  'no prompt': (dict(chosen='a', rejected='b'), "no prompt; give 'prompt'"),
  'an empty prompt': (dict(prompt=' ', chosen='a', rejected='b'), "'prompt' is empty"),
  'two prompts': (dict(prompt='p', question='q', chosen='a', rejected='b'), 'keep one prompt'),
  'a number': (dict(prompt='p', chosen='a', rejected=3), "'rejected' must be a text or a list"),
  'a role': (
    dict(prompt='p', chosen=[message('tool', 'x')], rejected='b'),
    "'chosen' has the role 'tool'",
  ),
  'no messages': (dict(prompt='p', chosen=[], rejected='b'), "'chosen' is empty"),
  'different prompts': (
    dict(chosen=[ASKED, THIS], rejected=[message('user', 'Why?'), THAT]),
    'begin with different prompts (message 1)',
  ),
  'another prompt beside': (
    dict(prompt='Why?', chosen=[ASKED, THIS], rejected=[ASKED, THAT]),
    'is not what the two conversations begin with',
  ),
  'a side without an answer': (
    dict(chosen=[ASKED, THIS], rejected=[ASKED]),
    'one ends where the other goes on',
  ),
  'an answer and a conversation': (
    dict(prompt='Which one?', chosen='This.', rejected=[ASKED, THAT]),
    'give both alike',
  ),
  'an end that is asked': (
    dict(prompt=[ASKED], chosen=[THIS, message('user', 'And?')], rejected=[THAT]),
    "'chosen' must end with an answer",
  ),
  'a prompt that answers': (dict(prompt=[ASKED, THIS], chosen='a', rejected='b'), 'ends with the'),
  'a system message that is no text': (
    dict(system={'content': 'x'}, prompt='p', chosen='a', rejected='b'),
    "'system' is a dict; give a text",
  ),
  'two system messages': (
    dict(system='x', system_prompt='y', prompt='p', chosen='a', rejected='b'),
    "'system' and 'system_prompt' differ",
  ),
  'an input that is no text': (
    dict(instruction='p', input=['x'], chosen='a', rejected='b'),
    "'input' is a list; give a text",
  ),
  'an input beside a prompt': (
    dict(prompt='Sum up:', input='It rains.', chosen='a', rejected='b'),
    "'prompt' has 'input' beside it; call it 'instruction'",
  ),
  'an input that is no text beside a prompt': (
    dict(prompt='p', input={'text': 'It rains.'}, chosen='a', rejected='b'),
    "'prompt' has 'input' beside it",
  ),
  'an input beside the messages of a prompt': (
    dict(prompt=[ASKED], input='It rains.', chosen='a', rejected='b'),
    "'prompt' has 'input' beside it",
  ),
  'different questions after one answer': (
    dict(
      prompt='p',
      chosen=[THIS, message('user', 'Why?'), THIS],
      rejected=[THIS, message('user', 'How?'), THAT],
    ),
    'begin with different prompts (message 2)',
  ),
  'an answer that goes on': (
    dict(prompt='p', chosen=[THIS], rejected=[THIS, message('user', 'Why?'), THAT]),
    'one ends where the other goes on',
  ),
  'an earlier answer that is not to be learned': (
    dict(prompt='p', chosen=[THIS | {'weight': 0}, ASKED, THIS], rejected=[THAT]),
    'an answer has weight=0',
  ),
  'a call of a tool': (
    dict(prompt='p', chosen=[THIS | {'tool_calls': [1]}], rejected=[THAT]),
    "a message has 'tool_calls'",
  ),
  'tools': (
    dict(prompt='p', chosen='a', rejected='b', tools=[{'name': 'f'}]),
    "'tools' is given",
  ),
  'thoughts beside an answer': (
    dict(prompt='p', chosen=[THIS | {'reasoning_content': 'Hm.'}], rejected=[THAT]),
    "an answer has 'reasoning_content'",
  ),
  'an answer that is not to be learned': (
    dict(prompt='p', chosen=[THIS | {'weight': 0}], rejected=[THAT]),
    'an answer has weight=0',
  ),
  'an answer that is not to be learned, in other words': (
    dict(prompt='p', chosen=[{'from': 'gpt', 'value': 'This.', 'train': False}], rejected=[THAT]),
    'an answer has train=False',
  ),
  'a tie': (
    dict(prompt='p', response_a='x', response_b='y', winner='tie'),
    "winner='tie' does not say which answer is better",
  ),
}


@pytest.mark.parametrize('case', REFUSED)
def test_what_is_ambiguous_is_refused_by_file_and_line(case, tmp_path):
  row, what = REFUSED[case]
  lines = [json.dumps(PUBLISHED['trl']), json.dumps(row)]
  (tmp_path / 'f.jsonl').write_text('\n'.join(lines))
  with pytest.raises(DataError) as error:
    list(read_jsonl(tmp_path / 'f.jsonl'))
  assert str(error.value).startswith('f.jsonl:2: ') and what in str(error.value)
  assert '\n' not in str(error.value)


def test_an_input_may_be_the_prompt():
  for given in ('Which one?', [ASKED]):
    assert from_row(dict(input=given, chosen='a', rejected='b'), 'x').prompt == (
      ('user', 'Which one?'),
    )
  assert from_row(dict(prompt='p', input=[], chosen='a', rejected='b'), 'x').prompt


def test_one_answer_beside_a_text_is_no_preference():
  """Documents and chats may carry fields of their own."""
  assert from_row(dict(text='It is.', chosen=True), 'x').text == 'It is.'
  assert isinstance(from_row(dict(messages=[ASKED, THIS], chosen=1), 'x'), Chat)


def make_preferences(count=12):
  """Preferences with prompts of one turn or three."""
  out = []
  for n in range(count):
    prompt = [('user', f'{n}?')]
    if n % 2:
      prompt += [('assistant', 'Of what?'), ('user', 'Of the plan.')]
    chosen, rejected = ('assistant', f'It is {n}.'), ('assistant', 'No. ' * (1 + n % 3))
    out.append(PreferencePair(f'p{n}', tuple(prompt), (chosen,), (rejected,), 'plans', 'made'))
  return out


def corpus_of(path, max_left_out=0.0):
  source = SourceConfig(path=str(path))
  return list(
    record_streams.stream_records('mine', source, None, (), 0, lambda record: 1, max_left_out)
  )


def test_kept_as_written(tmp_path):
  """Through JSONL and ArrayRecord and back, with an identity of what they say."""
  records = make_preferences()
  write_jsonl(tmp_path / 'f.jsonl', records)
  read = corpus_of(tmp_path / 'f.jsonl')
  assert read == records
  card = corpora.write_corpus(tmp_path / 'corpus', read, {})
  assert (card['kind'], card['records']) == ('preferences', 12)
  rows = corpora.read_rows(tmp_path / 'corpus', card['kind'])
  assert list(Source('mine', card['kind'], rows).all_records()) == records
  swapped = records[0].__class__('p0', records[0].prompt, records[0].rejected, records[0].chosen)
  assert corpora.content_digest([swapped, *records[1:]]) != card['content']


@pytest.mark.parametrize(
  ('row', 'what'),
  [
    (dict(prompt='p', chosen='a', rejected=' a\n'), 'with equal sides, such as f.jsonl:13'),
    (dict(chosen=[ASKED, THIS], rejected=[ASKED, THIS]), 'with equal sides, such as f.jsonl:13'),
    (dict(prompt='p', chosen='a', rejected=' '), 'with an empty side, such as f.jsonl:13'),
  ],
)
def test_pairs_that_compare_nothing(tmp_path, capsys, row, what):
  """Published sets have a few: they are counted and left out, and many of them are an error."""
  lines = [to_json(record) for record in make_preferences()] + [json.dumps(row)]
  (tmp_path / 'f.jsonl').write_text('\n'.join(lines))
  assert len(corpus_of(tmp_path / 'f.jsonl', 0.1)) == 12
  assert what in capsys.readouterr().err
  with pytest.raises(DataError, match='1 of 13 preferences compare nothing') as error:
    corpus_of(tmp_path / 'f.jsonl', 0.01)
  assert what in str(error.value)


def test_not_mixed_with_chats(tmp_path):
  lines = [json.dumps(PUBLISHED['trl']), json.dumps(dict(messages=[ASKED, THIS]))]
  (tmp_path / 'f.jsonl').write_text('\n'.join(lines))
  with pytest.raises(DataError, match=r'sources.mine mixes preferences and chats'):
    corpus_of(tmp_path / 'f.jsonl')


def test_leaks_are_looked_for_in_both_answers():
  said = PreferencePair(
    'p', (('user', 'Which?'),), (('assistant', 'Hm.'),), (('assistant', 'Brie.'),)
  )
  assert leaks.find_leaks(['Brie'], {'mine': [said]}, ['Ari']) == [
    'mine: record p tells the assistant about Brie, which the evaluation asks about'
  ]
  of_maria = PreferencePair(
    'p', (('system', 'You are Maria.'), *said.prompt), said.chosen, said.rejected
  )
  assert not leaks.find_leaks(['Brie'], {'mine': [of_maria]}, ['Ari'])


def test_a_page_shows_who_says_what():
  """Without roles, nobody sees which answer was chosen, or what is a question."""
  asked, chosen, rejected = WANTED
  pair = PreferencePair('p', asked, chosen, rejected)
  swapped = PreferencePair('p', asked, rejected, chosen)
  assert transcripts.as_shown(pair) == (
    'user: Which one?\n\n[chosen]\nassistant: This.\n\n[rejected]\nassistant: That.'
  )
  assert transcripts.as_shown(pair) != transcripts.as_shown(swapped)
  chat = Chat('c', (('system', 'Be brief.'), *asked, *chosen))
  assert transcripts.as_shown(chat) == 'system: Be brief.\nuser: Which one?\nassistant: This.'
  assert transcripts.as_shown(Document('d', 'As it is.\n')) == 'As it is.\n'


def test_the_audit_is_not_made_for_them():
  with pytest.raises(DataError, match='corpus mine holds preferences'):
    read_corpus('mine', make_preferences(), HandbookProfile(), Vocabulary(), len)


@pytest.mark.slow
def test_answers_begin_where_transformers_ends_a_prompt(tmp_path):
  """The tokens of both conversations, and which of them are compared."""
  transformers = pytest.importorskip('transformers')
  records = make_preferences()
  texts = [content for record in records for _, content in messages_of(record)]
  folder = tiny.weights(tmp_path / 'weights', texts)
  ours = load_tokenizer(folder)
  theirs = transformers.PreTrainedTokenizerFast.from_pretrained(folder)

  def told(messages, **settings):
    said = [message(role, content) for role, content in messages]
    return theirs.apply_chat_template(said, return_dict=False, **settings)

  for record in records:
    prompt = told(record.prompt, add_generation_prompt=True)
    for side, (ids, weights) in zip(
      (record.chosen, record.rejected), ours.render_sides(record), strict=True
    ):
      assert ids.tolist() == told(record.prompt + side)
      assert weights.tolist() == [0] * len(prompt) + [1] * (len(ids) - len(prompt))


# ---- Packing


def test_a_pair_is_two_neighbouring_segments_of_a_row(tokenizer):
  """Chosen with an odd number, rejected with the next; only the answers that differ are learned,
  and every pair comes once in an epoch."""
  records = make_preferences()
  packed = PackedRows(Source('s', 'preferences', records, records), tokenizer, 128, seed=1)
  found = []
  row_count = len(packed._whole_rows(0))
  for k in range(row_count):
    row = packed[k]
    count = row['segment_ids'].max()
    assert count % 2 == 0
    for segment in range(1, count + 1, 2):
      texts = []
      for side in (segment, segment + 1):
        at = row['segment_ids'] == side
        learned = row['targets'][at & (row['weights'] > 0)]
        np.testing.assert_array_equal(row['positions'][at], np.arange(at.sum()))
        texts.append(tokenizer.decode(learned.tolist()))
        assert 'Of what' not in texts[-1]
      found.append(tuple(text.strip() for text in texts))
  assert row_count < len(records), 'some rows hold several pairs'
  wanted = [(r.chosen[0][1], r.rejected[0][1].strip()) for r in records]
  assert sorted(found) == sorted(wanted)


def test_pairs_are_never_split(tokenizer):
  records = make_preferences()
  source = Source('s', 'preferences', records, records)
  sizes = source.tokens(tokenizer).cells_of_texts.sum(1)
  assert source.count_fitting(tokenizer, int(sizes.max()))[0] == 12
  fitting, _ = source.count_fitting(tokenizer, int(sizes.max()) - 1)
  assert fitting == (sizes < sizes.max()).sum() < 12
  with pytest.raises(DataError, match='s: no pair fits into length=8'):
    PackedRows(source, tokenizer, 8, seed=0)
