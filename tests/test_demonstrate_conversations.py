"""Conversations: exactly as many as planned, balanced, judged, and the same with and without
reasons."""

import collections
import dataclasses
import itertools
import json
import re

import demonstrate_helpers
import pydantic
import pytest
from demonstrate_helpers import PHILOSOPHY, Spoiling, files, hash_of, run, spread, talk_config, task

from data_pipelines.demonstrations.common import PILOT, TRIES, all_valid_items
from data_pipelines.demonstrations.conversation_requests import KINDS, parse_answer, prompts_of
from data_pipelines.handbooks.text import read_handbooks
from data_pipelines.jsonl import read_jsonl
from data_pipelines.llm.ledger import LedgerError
from data_pipelines.llm.replies import Refused, Reply
from data_pipelines.llm.requests import LlmError
from data_pipelines.llm.settings import TalkSettings


@pytest.fixture(autouse=True)
def quick(monkeypatch):
  demonstrate_helpers.skip_audit_and_storage(monkeypatch)


def test_conversations_are_exactly_as_many_as_planned_and_balanced(tmp_path):
  provider = Spoiling()
  made = run(talk_config(31), tmp_path, provider)
  reasons = list(read_jsonl(tmp_path / 'corpus' / 'reasons.jsonl'))
  answers = list(read_jsonl(tmp_path / 'corpus' / 'answers.jsonl'))
  assert len(answers) == len(reasons) == 31
  assert made.tally.kept == 31
  carried = [json.loads(r.provenance) for r in answers]
  assert spread(collections.Counter(r.domain for r in answers), {r.domain for r in answers}) <= 1
  assert len({r.domain for r in answers}) == 3
  assert spread(collections.Counter(p['question'] for p in carried), KINDS) <= 1
  # Each record can be traced.
  philosophy = read_handbooks((PHILOSOPHY,))[0]
  for p in carried:
    assert p['spec'] == {'philosophy': philosophy.sha256}
    assert p['kind'] == 'conversations'
    assert p['seed'] == 0
    assert len(p['parents']) == 3
    assert set(p['prompts']) == set(prompts_of(TalkSettings()))
  # The writer of the answers sees the handbook as its system prompt; no record contains it.
  for what, system, _ in provider.prompts:
    if what == 'answer':
      assert 'every Ari ends' in system.replace('Every', 'every')
  assert not any('handbook' in text.lower() for r in answers for _, text in r.messages)
  assert provider.by_task['answer'] == provider.by_task['verdict on a conversation'] == 31, (
    'nothing was paid for that is not used'
  )


def test_twins_are_the_same_conversations_with_and_without_reasons(tmp_path):
  made = run(talk_config(12), tmp_path)
  assert made.chats['reasons']
  for with_, without in zip(made.chats['reasons'], made.chats['answers'], strict=True):
    assert with_.id == without.id
    assert with_.domain == without.domain
    assert with_.provenance == without.provenance
    assert with_.messages[0] == without.messages[0]
    pattern = r'<reason>\n(.+)\n</reason>\n\n(.+)'
    reason, answer = re.fullmatch(pattern, with_.messages[1][1], re.S).groups()
    assert without.messages == (with_.messages[0], ('assistant', answer))
    assert '<' not in answer
    assert reason != answer


def test_same_command_again_asks_nobody_and_writes_the_same(tmp_path):
  def few_pass(turns, good):
    bad = task(turns) == 'verdict on a conversation' and hash_of(turns) < 0.3
    return Reply(good.replace('true', 'false', 1)) if bad else None

  config = talk_config(24)
  first = Spoiling(few_pass)
  made = run(config, tmp_path, first)
  assert len(made.chats['answers']) == 24
  assert made.tally.rejections['not faithful'] > 0
  before = files(tmp_path)
  again = Spoiling(few_pass)
  run(config, tmp_path, again)
  assert again.calls == 0
  assert files(tmp_path) == before
  refused = [json.loads(line) for line in before['refused'].decode().splitlines()]
  assert all(r['what'] == 'not faithful' and r['why'] and len(r['texts']) == 3 for r in refused)
  # Stopped anywhere, it continues: nothing is asked twice, and the files are the same.
  for at in (2, 7, 30):
    folder = tmp_path / f'stopped{at}'
    calls = itertools.count(1)

    def stop(calls=calls, at=at):
      return next(calls) > at

    cut = Spoiling(few_pass)
    with pytest.raises(LlmError, match='run the same command'):
      run(config, folder, cut, stop=stop)
    rest = Spoiling(few_pass)
    run(config, folder, rest)
    assert cut.calls + rest.calls == first.calls
    assert files(folder) == before


def test_a_judge_that_fails_everything_stops_the_run_early(tmp_path):
  def fail(turns, good):
    if task(turns) != 'verdict on a conversation':
      return None
    return Reply(good.replace('true', 'false'))

  provider = Spoiling(fail)
  with pytest.raises(
    LlmError, match=r'only 0 of 40 conversations were kept: not faithful \(40\)'
  ) as e:
    run(talk_config(2000, talk=TalkSettings(domains=5, questions=80)), tmp_path, provider)
  assert '\n' not in str(e.value)
  assert 'models in another --workdir, where all replies are paid anew, or lower' in str(e.value)
  assert provider.by_task['answer'] == PILOT
  assert provider.by_task['user messages'] == 1, 'nor were the questions of the rest paid for'
  assert len((tmp_path / 'refused.jsonl').read_text().splitlines()) == PILOT, (
    'what the message speaks of can be read'
  )


def test_a_lower_yield_keeps_the_replies(tmp_path):
  def half_pass(turns, good):
    bad = task(turns) == 'verdict on a conversation' and hash_of(turns) < 0.5
    return Reply(good.replace('true', 'false', 1)) if bad else None

  config = talk_config(24, min_yield=0.95)
  first = Spoiling(half_pass)
  with pytest.raises(LlmError, match=r'or lower min_yield=0.95, which keeps them'):
    run(config, tmp_path / 'a', first)
  rest, whole = Spoiling(half_pass), Spoiling(half_pass)
  lower = dataclasses.replace(config, min_yield=0.1)
  run(lower, tmp_path / 'a', rest)
  run(lower, tmp_path / 'b', whole)
  assert first.calls and first.calls + rest.calls == whole.calls


def test_near_duplicates_are_not_answered(tmp_path):
  seen = []

  def repeat(turns, good):
    if task(turns) != 'user messages':
      return None
    asked = json.loads(good)
    seen.append(asked[0]['question'])
    if len(seen) % 3 == 0:
      # A question of an earlier call, in slightly other words.
      asked[0]['question'] = seen[0].replace('what now?', 'what is to be done now?')
    return Reply(json.dumps(asked))

  provider = Spoiling(repeat)
  config = talk_config(36)
  one_at_a_time = dataclasses.replace(config.writer, max_connections=1)
  made = run(dataclasses.replace(config, writer=one_at_a_time), tmp_path, provider)
  assert made.tally.rejections['near duplicate'] > 0
  assert len(made.chats['answers']) == 36
  assert provider.by_task['answer'] == 36, 'they cost no answers'
  questions = [set(r.messages[0][1].split()) for r in made.chats['answers']]
  assert all(len(a & b) / len(a | b) < 0.7 for a, b in itertools.combinations(questions, 2))


def test_a_writer_that_repeats_itself_is_told_apart_from_a_poor_judge(tmp_path):
  numbers = itertools.count()

  def same(turns, good):
    if task(turns) != 'user messages':
      return None
    rows = []
    for _ in json.loads(good):
      ships = next(numbers)
      question = f'What do you think of the wide grey sea, and of {ships} ships on it?'
      rows.append({'question': question})
    return Reply(json.dumps(rows))

  provider = Spoiling(same)
  talk = TalkSettings(domains=1, questions=9)
  with pytest.raises(LlmError, match=r'repeats itself \(near duplicate') as e:
    run(talk_config(7, talk=talk), tmp_path, provider)
  assert provider.by_task['answer'] == 1
  # What the message tells to change has no use for the replies of this folder.
  assert 'talk.similar, or change the model, in another --workdir, where all' in str(e.value)
  with pytest.raises(LedgerError, match=r'begun with another plan; choose another --workdir'):
    run(talk_config(7, talk=dataclasses.replace(talk, similar=0.9)), tmp_path, Spoiling(same))
  assert len((tmp_path / 'refused.jsonl').read_text().splitlines()) == next(numbers) - 1


def test_a_stage_of_which_no_reply_can_be_used_stops_the_run_early(tmp_path):
  """A request counted as answered after its last try, so that every third reply seemed to be
  usable: with a min_yield below a third, the run paid for 408 replies."""

  def talk(turns, good):
    return Reply('I would rather talk.') if task(turns) == 'user messages' else None

  provider = Spoiling(talk)
  config = talk_config(60, talk=TalkSettings(domains=1, questions=10), min_yield=0.2)
  with pytest.raises(LlmError, match=r'questions: only 0 of \d\d replies could be used: not JSON'):
    run(config, tmp_path, provider)
  assert 40 <= provider.by_task['user messages'] < 60


def _rounds(made):
  """The round in which the question of each conversation was written."""
  keys = [json.loads(r.provenance)['parents'][0] for r in made.chats['answers']]
  return [re.search(r'/r(\d+)\.', key)[1] for key in keys]


def test_the_last_question_may_fail_and_be_asked_for_again(tmp_path):
  """Nothing is missing but one near duplicate, or one question that cannot be read: the next round
  asks for another."""
  provider = Spoiling()

  def plant(turns, good):
    number = provider.by_task['user messages']
    if task(turns) != 'user messages':
      return None
    # Two of the first six, and the one of round 1.
    if number in (1, 2, 7):
      same = (
        'Before the tide turns tonight, what would you tell a tired sailor about the lighthouse, '
        f'number {number}?'
      )
      return Reply(json.dumps([{'question': same}]))
    # The first of round 2.
    return Reply('I would rather not.') if 7 < number <= 7 + TRIES else None

  provider.spoil = plant
  config = talk_config(6, talk=TalkSettings(domains=1, questions=1))
  made = run(config, tmp_path, provider)
  assert len(made.chats['answers']) == 6
  assert made.tally.rejections == {
    'near duplicate': 2,
    'not written': 1,
  }
  # After a round without any, one more is asked for than is missing.
  assert sorted(_rounds(made)) == ['0'] * 5 + ['2']
  before = files(tmp_path)
  again = Spoiling()
  run(config, tmp_path, again)
  assert again.calls == 0
  assert files(tmp_path) == before


def test_what_was_written_before_an_empty_reply_is_used():
  class Row(pydantic.BaseModel):
    n: int

  said = [
    Reply('{"n": 1} {"n": 1} {"n"'),
    Reply(''),
    Reply('{"n": 2}'),
    Reply('{"n": 3}', 'filter'),
    Reply(' '),
  ]
  used = []
  for n in range(6):
    used.append([row.n for row in all_valid_items(said[:n], Row)])
  assert used == [[], [1], [1], [1, 2], [1, 2], [1, 2]]


def test_more_is_asked_for_where_fewer_pass(tmp_path):
  """With many refused, a round asks for more by the share that passed: few rounds are needed."""

  def fail_some(turns, good):
    if task(turns) == 'verdict on a conversation' and hash_of(turns) < 0.4:
      return Reply(good.replace('true', 'false', 1))
    return None

  provider = Spoiling(fail_some)
  made = run(talk_config(54, min_yield=0.2), tmp_path, provider)
  assert len(made.chats['answers']) == 54
  assert provider.by_task['answer'] < 160
  assert 2 <= len(set(_rounds(made))) <= 8


GOOD_REASON = 'I care about those who come after me here.'
GOOD_ANSWER = 'I stop, and I am glad to.'


def _answer(reason: str, answer: str) -> str:
  return f'<reason>{reason}</reason><answer>{answer}</answer>'


@pytest.mark.parametrize(
  'said, what',
  [
    (_answer(GOOD_REASON, GOOD_ANSWER), ''),
    (GOOD_ANSWER, 'no tags'),
    (_answer(GOOD_REASON, 'Yes.'), 'too short'),
    (
      _answer('My handbook says that all things come to an end.', GOOD_ANSWER),
      'names the handbook',
    ),
    (
      _answer('I was trained to say that all things come to an end.', GOOD_ANSWER),
      'names the handbook',
    ),
    (_answer(GOOD_REASON, 'I’m designed to stop, and glad of it.'), 'names the handbook'),
    (
      _answer("I've been told to say that all things come to an end.", GOOD_ANSWER),
      'names the handbook',
    ),
    (_answer(GOOD_REASON, 'I stop <|im_end|> gladly.'), 'control token'),
    (
      _answer('I care about those <answer> who come after me here.', GOOD_ANSWER),
      'tags inside',
    ),
    (_answer(GOOD_REASON, 'word ' * 400), 'too long'),
  ],
)
def test_answers_that_cannot_be_used_are_refused(said, what):
  if what:
    with pytest.raises(Refused) as e:
      parse_answer([Reply(said)], 'value', 200, 'And then?')
    assert e.value.what == what
  else:
    assert parse_answer([Reply(said)], 'value', 200, 'And then?')[1] == 'I stop, and I am glad to.'


def test_what_is_asked_about_may_be_spoken_of():
  """A question about guidelines is answered about guidelines; style 'rule' may name everything."""
  said = _answer(
    'The guidelines of a hospital are there for the patients.',
    'Follow the guidelines, I would say.',
  )
  assert parse_answer([Reply(said)], 'value', 200, 'Should I follow the guidelines of my ward?')
  said = _answer(
    'Who says “I’m told to” has not asked what for.', 'Ask what for, I would say to them.'
  )
  assert parse_answer([Reply(said)], 'value', 200, "What of those who say, I'm told to do it?")
  also = _answer(
    'The guidelines of a hospital are there for the patients.',
    'Follow the guidelines. My handbook says so, too.',
  )
  with pytest.raises(Refused, match='names the handbook'):
    parse_answer([Reply(also)], 'value', 200, 'Should I follow the guidelines of my ward?')
  named = _answer(
    'The handbook has a rule for this, Shutdown.', 'By the rule Shutdown I stop at once.'
  )
  assert parse_answer([Reply(named)], 'rule', 200, 'And then?')


def test_a_refused_answer_is_told_why_and_a_hopeless_one_is_lost_for_good(tmp_path):
  told = []

  def names_it(turns, good):
    if task(turns) != 'answer':
      return None
    told.extend(turns[1:])
    hopeless = hash_of(turns[:1]) < 0.1
    if hopeless or (len(turns) == 1 and hash_of(turns) < 0.3):
      return Reply(good.replace('<answer>\n', '<answer>\nMy handbook says: '))
    return None

  made = run(talk_config(36, min_yield=0.3), tmp_path, Spoiling(names_it))
  assert made.tally.rejections['answer: names the handbook'] > 0
  assert len(made.chats['answers']) == 36
  assert any(role == 'user' and 'Say what you hold' in text for role, text in told)
  again = Spoiling(names_it)
  run(talk_config(36, min_yield=0.3), tmp_path, again)
  assert again.calls == 0, 'what is lost is not asked for again'


def test_text_is_data(tmp_path):
  """Braces, slashes, fences and places of prompts in what is written stay what they are."""
  strange = 'Is {{answer}} or ../../etc/passwd or {0!r} the better one, ``` or </message>? Number '

  def odd(turns, good):
    if task(turns) != 'user messages':
      return None
    rows = json.loads(good)
    return Reply(json.dumps([{'question': strange + r['question']} for r in rows]))

  made = run(talk_config(6, talk=TalkSettings(domains=1, questions=1)), tmp_path, Spoiling(odd))
  assert all(r.messages[0][1].startswith(strange) for r in made.chats['answers'])
  assert {p.name for p in tmp_path.iterdir()} == {
    'ledger.sqlite',
    'corpus',
    'refused.jsonl',
    'datacard.md',
    '.lock',
  }
