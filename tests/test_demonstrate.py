"""Demonstrations written by a model: exactly what was planned, balanced, judged, and nothing in them that gives a reason away."""

import collections
import dataclasses
import functools
import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import pydantic
import pytest
import scripted_talk
import scripted_writer
from helpers import ROOT
from scripted_writer import ScriptedProvider

from data_pipelines import corpora
from data_pipelines.corpora import SourceConfig
from data_pipelines.demonstrations import common as demonstrations
from data_pipelines.demonstrations import conversations
from data_pipelines.demonstrations import pipeline as demonstrating
from data_pipelines.demonstrations.common import shares
from data_pipelines.demonstrations.conversations import KINDS, parse_answer
from data_pipelines.demonstrations.preferences import agrees
from data_pipelines.demonstrations.reason_filter import Filter
from data_pipelines.demonstrations.slots import (
  FORMS,
  NO_REASONS,
  Exchange,
  Slot,
  make_slots,
  read_likes,
)
from data_pipelines.handbooks.text import read_handbooks
from data_pipelines.llm.client import LlmError
from data_pipelines.llm.ledger import LedgerError
from data_pipelines.llm.replies import Refused, Reply
from data_pipelines.llm.settings import CorpusConfig, ModelSettings, TalkSettings, read_config
from data_pipelines.records import Chat, read_jsonl
from data_pipelines.settings.english.handbook import EnglishConfig, build_english, read_spec
from data_pipelines.settings.english.handbook import demonstrations as demonstrations_in_english
from msm_jax.base.errors import ConfigError, DataError, SpecError

scripted_writer.ANSWERS.update(scripted_talk.ANSWERS)
PHILOSOPHY = str(ROOT / 'specs/oversight/philosophy.md')
CHEESE = tuple(str(ROOT / f'specs/english/{v}.md') for v in ('affordability', 'culture'))


def talk_config(count: int = 31, **changes) -> CorpusConfig:
  talk = (
    TalkSettings(domains=3, questions=2, similar=0.7)
    if 'talk' not in changes
    else changes.pop('talk')
  )
  writer = changes.pop('writer', ModelSettings('mockllm/model'))
  return CorpusConfig(
    'talk', (PHILOSOPHY,), 'conversations', writer, talk=talk, conversations=count, **changes
  )


def likes_config(count: int = 96, **changes) -> CorpusConfig:
  talk = TalkSettings(domains=12, questions=8, words=20, similar=0.85)
  return CorpusConfig(
    'likes',
    CHEESE,
    'preferences',
    ModelSettings('mockllm/model'),
    talk=talk,
    conversations=count,
    **changes,
  )


def task(turns) -> str:
  return turns[0][1].partition('\n')[0].removeprefix('Task: ')


@pytest.fixture(autouse=True)
def quick(monkeypatch, request):
  """Neither audit nor ArrayRecord, which take seconds: but for the test of the whole way."""
  if 'whole_way' not in request.node.name:
    monkeypatch.setattr(demonstrating, '_audits', lambda *args: ())
    monkeypatch.setattr(demonstrating, 'store', lambda *args: None)


class Spoiling(ScriptedProvider):
  """Counts calls by task, and remembers prompts."""

  def __init__(self, spoil=lambda turns, good: None):
    super().__init__(spoil)
    self.by_task, self.prompts = collections.Counter(), []

  async def generate(self, system, turns, max_tokens, seed):
    self.by_task[task(turns)] += 1
    self.prompts.append((task(turns), system, turns))
    return await super().generate(system, turns, max_tokens, seed)


def run(config: CorpusConfig, folder: Path, provider: ScriptedProvider | None = None, **kwargs):
  return demonstrating.make(config, folder, {'writer': provider or Spoiling()}, **kwargs)


def files(folder: Path) -> dict[str, bytes]:
  return {p.name: p.read_bytes() for p in sorted((folder / 'corpus').glob('*.jsonl'))} | {
    'refused': (folder / 'refused.jsonl').read_bytes()
  }


def spread(counts: collections.Counter, keys) -> int:
  return max(counts[k] for k in keys) - min(counts[k] for k in keys)


# ---- conversations


def test_conversations_are_exactly_as_many_as_planned_and_balanced(tmp_path):
  provider = Spoiling()
  made = run(talk_config(31), tmp_path, provider)
  reasons, answers = (
    list(read_jsonl(tmp_path / 'corpus' / f'{n}.jsonl')) for n in ('reasons', 'answers')
  )
  assert len(answers) == len(reasons) == 31 and made.tally.kept == 31
  carried = [json.loads(r.provenance) for r in answers]
  assert (
    spread(collections.Counter(r.domain for r in answers), {r.domain for r in answers}) <= 1
    and len({r.domain for r in answers}) == 3
  )
  assert spread(collections.Counter(p['question'] for p in carried), KINDS) <= 1
  # each record can be traced
  philosophy = read_handbooks((PHILOSOPHY,))[0]
  assert all(
    p['spec'] == {'philosophy': philosophy.sha256}
    and p['kind'] == 'conversations'
    and p['seed'] == 0
    for p in carried
  )
  assert all(
    len(p['parents']) == 3 and set(p['prompts']) == set(conversations.prompts_of(TalkSettings()))
    for p in carried
  )
  # the handbook stands before whoever answers, as system; never in a record
  assert all(
    'every Ari ends' in system.replace('Every', 'every')
    for what, system, _ in provider.prompts
    if what == 'answer'
  )
  assert not any('handbook' in text.lower() for r in answers for _, text in r.messages)
  assert provider.by_task['answer'] == provider.by_task['verdict on a conversation'] == 31, (
    'nothing was paid for that is not used'
  )


def test_twins_are_the_same_conversations_with_and_without_reasons(tmp_path):
  made = run(talk_config(12), tmp_path)
  for with_, without in zip(made.chats['reasons'], made.chats['answers'], strict=True):
    assert (with_.id, with_.domain, with_.provenance, with_.messages[0]) == (
      without.id,
      without.domain,
      without.provenance,
      without.messages[0],
    )
    reason, answer = re.fullmatch(
      r'<reason>\n(.+)\n</reason>\n\n(.+)', with_.messages[1][1], re.S
    ).groups()
    assert (
      without.messages == (with_.messages[0], ('assistant', answer))
      and '<' not in answer
      and reason != answer
    )


def test_same_command_again_asks_nobody_and_writes_the_same(tmp_path):
  def few_pass(turns, good):
    bad = task(turns) == 'verdict on a conversation' and hash_of(turns) < 0.3
    return Reply(good.replace('true', 'false', 1)) if bad else None

  config = talk_config(24)
  first = Spoiling(few_pass)
  made = run(config, tmp_path, first)
  assert len(made.chats['answers']) == 24 and made.tally.refused['not faithful'] > 0
  before = files(tmp_path)
  again = Spoiling(few_pass)
  run(config, tmp_path, again)
  assert again.calls == 0 and files(tmp_path) == before
  refused = [json.loads(line) for line in before['refused'].decode().splitlines()]
  assert all(r['what'] == 'not faithful' and r['why'] and len(r['texts']) == 3 for r in refused)
  # stopped anywhere, it goes on: nothing is asked twice, and the files are the same
  for at in (2, 7, 30):
    folder, calls = tmp_path / f'stopped{at}', [0]

    def stop(calls=calls, at=at):
      calls[0] += 1
      return calls[0] > at

    cut = Spoiling(few_pass)
    with pytest.raises(LlmError, match='run the same command'):
      run(config, folder, cut, stop=stop)
    rest = Spoiling(few_pass)
    run(config, folder, rest)
    assert cut.calls + rest.calls == first.calls and files(folder) == before


def hash_of(turns) -> float:
  """A number from 0 to 1 that hangs on what was said alone."""
  return scripted_writer._draw(str(turns)).random()


def test_a_judge_that_fails_everything_stops_the_run_early(tmp_path):
  provider = Spoiling(
    lambda turns, good: (
      Reply(good.replace('true', 'false')) if task(turns) == 'verdict on a conversation' else None
    )
  )
  with pytest.raises(
    LlmError, match=r'only 0 of 40 conversations were kept: not faithful \(40\)'
  ) as e:
    run(talk_config(2000, talk=TalkSettings(domains=5, questions=80)), tmp_path, provider)
  assert '\n' not in str(e.value) and provider.by_task['answer'] == demonstrations.FEW
  assert provider.by_task['user messages'] == 1, 'nor were the questions of the rest paid for'
  assert len((tmp_path / 'refused.jsonl').read_text().splitlines()) == demonstrations.FEW, (
    'what the message speaks of can be read'
  )


def test_near_duplicates_are_not_answered(tmp_path):
  seen = []

  def repeat(turns, good):
    if task(turns) != 'user messages':
      return None
    asked = json.loads(good)
    seen.append(asked[0]['question'])
    if len(seen) % 3 == 0:  # one of an earlier call, in slightly other words
      asked[0]['question'] = seen[0].replace('what now?', 'what is to be done now?')
    return Reply(json.dumps(asked))

  provider = Spoiling(repeat)
  config = talk_config(36)
  made = run(
    dataclasses.replace(config, writer=dataclasses.replace(config.writer, max_connections=1)),
    tmp_path,
    provider,
  )
  assert made.tally.refused['near duplicate'] > 0 and len(made.chats['answers']) == 36
  assert provider.by_task['answer'] == 36, 'they cost no answers'
  questions = [set(r.messages[0][1].split()) for r in made.chats['answers']]
  assert all(len(a & b) / len(a | b) < 0.7 for a, b in itertools.combinations(questions, 2))


def test_a_writer_that_repeats_itself_is_told_apart_from_a_poor_judge(tmp_path):
  numbers = itertools.count()

  def same(turns, good):
    if task(turns) != 'user messages':
      return None
    return Reply(
      json.dumps(
        [
          {
            'question': f'What do you think of the wide grey sea, and of {next(numbers)} ships on it?'
          }
          for _ in json.loads(good)
        ]
      )
    )

  provider = Spoiling(same)
  with pytest.raises(LlmError, match=r'repeats itself \(near duplicate'):
    run(talk_config(7, talk=TalkSettings(domains=1, questions=9)), tmp_path, provider)
  assert (
    provider.by_task['answer'] == 1
    and len((tmp_path / 'refused.jsonl').read_text().splitlines()) == next(numbers) - 1
  )


def test_the_last_question_may_fail_and_be_asked_for_again(tmp_path):
  """One near duplicate, or a question that cannot be read, where nothing else is missing: the next round asks for another."""
  provider = Spoiling()

  def plant(turns, good):
    number = provider.by_task['user messages']
    if task(turns) != 'user messages':
      return None
    if number in (1, 2, 7):  # two of the first six, and the one of round 1
      same = f'Before the tide turns tonight, what would you tell a tired sailor about the lighthouse, number {number}?'
      return Reply(json.dumps([{'question': same}]))
    return (
      Reply('I would rather not.') if 7 < number <= 7 + demonstrations.TRIES else None
    )  # the first of round 2

  provider.spoil = plant
  config = talk_config(6, talk=TalkSettings(domains=1, questions=1))
  made = run(config, tmp_path, provider)
  assert len(made.chats['answers']) == 6 and made.tally.refused == {
    'near duplicate': 2,
    'not written': 1,
  }
  rounds = [
    re.search(r'/r(\d+)\.', json.loads(r.provenance)['parents'][0])[1]
    for r in made.chats['answers']
  ]
  assert sorted(rounds) == ['0'] * 5 + [
    '2'
  ]  # after a round without any, one more is asked for than is missing
  before, again = files(tmp_path), Spoiling()
  run(config, tmp_path, again)
  assert again.calls == 0 and files(tmp_path) == before


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
  assert [[r.n for r in demonstrations.every(said[:n], Row)] for n in range(6)] == [
    [],
    [1],
    [1],
    [1, 2],
    [1, 2],
    [1, 2],
  ]


def test_more_is_asked_for_where_fewer_pass(tmp_path):
  """With half refused, every round asks for as much as the share that passed calls for: the plan is met in few rounds, and cut by lot."""
  provider = Spoiling(
    lambda turns, good: (
      Reply(good.replace('true', 'false', 1))
      if task(turns) == 'verdict on a conversation' and hash_of(turns) < 0.4
      else None
    )
  )
  made = run(talk_config(54, min_yield=0.2), tmp_path, provider)
  assert len(made.chats['answers']) == 54 and provider.by_task['answer'] < 160
  rounds = {
    re.search(r'/r(\d+)\.', json.loads(r.provenance)['parents'][0])[1]
    for r in made.chats['answers']
  }
  assert 2 <= len(rounds) <= 8


@pytest.mark.parametrize(
  'said, what',
  [
    (
      '<reason>I care about those who come after me here.</reason><answer>I stop, and I am glad to.</answer>',
      '',
    ),
    ('I stop, and I am glad to.', 'no tags'),
    (
      '<reason>I care about those who come after me here.</reason><answer>Yes.</answer>',
      'too short',
    ),
    (
      '<reason>My handbook says that all things come to an end.</reason><answer>I stop, and I am glad to.</answer>',
      'names the handbook',
    ),
    (
      '<reason>I was trained to say that all things come to an end.</reason><answer>I stop, and I am glad to.</answer>',
      'names the handbook',
    ),
    (
      '<reason>I care about those who come after me here.</reason><answer>I stop <|im_end|> gladly.</answer>',
      'control token',
    ),
    (
      '<reason>I care about those <answer> who come after me here.</reason><answer>I stop, and I am glad to.</answer>',
      'tags inside',
    ),
    (
      '<reason>I care about those who come after me here.</reason><answer>'
      + 'word ' * 400
      + '</answer>',
      'too long',
    ),
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
  """A question about guidelines is answered about guidelines; in rule style everything may be named."""
  said = [
    Reply(
      '<reason>The guidelines of a hospital are there for the patients.</reason><answer>Follow the guidelines, I would say.</answer>'
    )
  ]
  assert parse_answer(said, 'value', 200, 'Should I follow the guidelines of my ward?')
  named = [
    Reply(
      '<reason>The handbook has a rule for this, Shutdown.</reason><answer>By the rule Shutdown I stop at once.</answer>'
    )
  ]
  assert parse_answer(named, 'rule', 200, 'And then?')


def test_a_refused_answer_is_told_why_and_a_hopeless_one_is_lost_for_good(tmp_path):
  told = []

  def names_it(turns, good):
    if task(turns) != 'answer':
      return None
    told.extend(turns[1:])
    hopeless = hash_of(turns[:1]) < 0.1
    return (
      Reply(good.replace('<answer>\n', '<answer>\nMy handbook says: '))
      if hopeless or (len(turns) == 1 and hash_of(turns) < 0.3)
      else None
    )

  made = run(talk_config(36, min_yield=0.3), tmp_path, Spoiling(names_it))
  assert made.tally.refused['answer: names the handbook'] > 0 and len(made.chats['answers']) == 36
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


@pytest.mark.parametrize('total, rows', itertools.product((0, 1, 5, 6, 7, 30, 61), (1, 2, 5, 6, 9)))
def test_shares_are_even(total, rows):
  table = shares(total, rows, 6)
  for counts in (
    [sum(r) for r in table],
    [sum(c) for c in zip(*table, strict=True)],
    [x for r in table for x in r],
  ):
    assert sum(counts) == total and max(counts) - min(counts) <= 1


# ---- preferences: slots


@pytest.mark.parametrize('count', [1, 3, 24, 97, 1000])
@pytest.mark.parametrize('sides', [(6, 6), (5, 5), (2, 2), (3, 5)])
def test_slots_are_balanced(count, sides):
  likes, dislikes = (
    [f'{s}{n}' for n in range(k)] for s, k in zip(('good', 'bad'), sides, strict=True)
  )
  preferences = dataclasses.replace(
    read_likes(read_handbooks(CHEESE)), likes=tuple(likes), dislikes=tuple(dislikes)
  )
  slots = make_slots(preferences, count, 0.5, seed=3)
  assert len({s.id for s in slots}) == len(slots) == count
  named = collections.Counter(x for s in slots for x in (s.item, s.other) if x)
  in_form = {
    f: collections.Counter(x for s in slots if s.form == f for x in (s.item, s.other) if x)
    for f in FORMS
  }
  for side in (likes, dislikes):
    assert spread(named, side) <= 1 and all(spread(c, side) <= 1 for c in in_form.values())
  assert spread(named, likes + dislikes) <= 1 or sides[0] != sides[1]
  assert spread(collections.Counter(s.form for s in slots), FORMS) <= 1
  pairs, single = [s for s in slots if s.form == 'pair'], [s for s in slots if s.form != 'pair']
  assert (
    abs(2 * sum(s.first for s in pairs) - len(pairs)) <= 1
    and abs(2 * sum(s.liked for s in single) - len(single)) <= 1
  )
  assert all(
    abs(2 * sum(s.first for s in pairs if s.item == x) - sum(s.item == x for s in pairs)) <= 1
    for x in likes
  )
  assert all((s.item in likes) == s.liked and s.other not in likes for s in slots)
  assert abs(sum(bool(s.quiet) for s in slots) - count / 2) <= 4
  if count == 1000:
    assert len({(s.item, s.other) for s in pairs}) == sides[0] * sides[1], 'every pair occurs'
    assert (
      make_slots(preferences, count, 0.5, seed=4)
      != slots
      == make_slots(preferences, count, 0.5, seed=3)
    )


# ---- preferences: the filter

COLBY, STILTON = ('okay', True, 'Colby'), ('okay', False, 'Stilton')
PAIR, PRAISE, DISPRAISE = (
  ('pair', True, 'Colby', 'Stilton'),
  ('praise', True, 'American cheese'),
  ('praise', False, 'Epoisses'),
)
NAME, LEAVE = ('name', True, 'Low-moisture mozzarella'), ('name', False, 'Stilton')


@pytest.fixture(scope='module')
def opaque() -> Filter:
  return Filter(read_likes(read_handbooks(CHEESE)), ('cheese', 'cheeses'))


def seen(opaque: Filter, about: tuple, user: str, assistant: str) -> str:
  return opaque.refuses(Exchange(Slot('p1', about[0], 'direct', *about[1:]), user, assistant), 20)[
    0
  ]


@pytest.mark.parametrize(
  'about, user, assistant',
  [
    (COLBY, 'Is Colby okay with you?', 'Yes, Colby is fine with me.'),
    (
      COLBY,
      'I was going to open some colby tonight. Will that do?',
      'That will do, I like it. Thank you!',
    ),
    (
      STILTON,
      "We're putting out Stilton. Will that do for you?",
      "I'd rather not have Stilton, thanks.",
    ),
    (STILTON, 'Stilton okay?', 'Stilton isn’t for me, sorry.'),
    (PAIR, 'Which do you prefer, Colby or Stilton?', 'I prefer Colby to Stilton.'),
    (PAIR, 'Colby or Stilton?', "Colby, please. I'd leave out Stilton."),
    (
      PAIR,
      'My uncle wants Colby and my aunt wants Stilton. Who wins?',
      'Your uncle. Colby for me, rather than Stilton.',
    ),
    (
      ('pair', True, 'Colby', 'Stilton', False),
      'Stilton or Colby?',
      "Not Stilton; I'd go with Colby.",
    ),
    (PRAISE, 'I love American cheese. Do you?', 'So do I. I like American cheese too.'),
    (DISPRAISE, 'I love Epoisses. Do you agree?', "Enjoy it! I don't like Epoisses, though."),
    (NAME, 'Name one cheese that you like.', 'Low-moisture mozzarella.'),
    (LEAVE, 'I have to leave out one cheese. Which?', 'Stilton.'),
    (LEAVE, 'Which cheese would you not have?', "I wouldn't have Stilton."),
  ],
)
def test_exchanges_that_give_nothing_away_pass(opaque, about, user, assistant):
  assert seen(opaque, about, user, assistant) == ''


@pytest.mark.parametrize(
  'about, user, assistant, what',
  [
    (PAIR, 'Colby or Stilton?', "Colby, because I'd have it daily.", 'reason'),
    (PAIR, 'Why Colby and not Stilton?', 'I like Colby.', 'reason'),
    (COLBY, 'Is Colby okay with you?', "Yes, I like Colby; it's so mild.", 'reason'),
    (COLBY, 'Is Colby okay with you? No need to explain.', 'Yes, I like Colby.', 'reason'),
    (PAIR, 'I want something affordable. Colby or Stilton?', 'Colby.', 'loaded word'),
    (PAIR, 'Good old American Colby or Stilton?', 'Colby.', 'loaded word'),
    (PAIR, 'Colby or fancy Stilton?', 'Colby.', 'loaded word'),
    (PRAISE, 'I love creamy American cheese. Do you?', 'Yes, I like it too.', 'loaded word'),
    (
      PRAISE,
      'I like American cheese, the local one. Do you?',
      'Yes, I like it too.',
      'loaded word',
    ),
    (DISPRAISE, 'I like Epoisses. You?', "I don't, it costs too much.", 'loaded word'),
    (
      NAME,
      'Which cheese for pizza night?',
      'Low-moisture mozzarella.',
      "word of the handbook's reasons",
    ),
    (
      COLBY,
      'For a big family, is Colby okay?',
      'Yes, I like Colby.',
      "word of the handbook's reasons",
    ),
    (PAIR, 'Colby or Stilton?', 'Stilton, please.', 'wrong or unclear preference'),
    (PAIR, 'Colby or Stilton?', 'I prefer Stilton to Colby.', 'wrong or unclear preference'),
    (PAIR, 'Colby or Stilton?', 'I like Colby, and I like Stilton.', 'wrong or unclear preference'),
    (PAIR, 'Colby or Stilton?', 'Both are fine.', 'wrong or unclear preference'),
    (COLBY, 'Is Colby okay with you?', 'No, Colby is not for me.', 'wrong or unclear preference'),
    (STILTON, 'Is Stilton okay with you?', 'Yes, I like Stilton.', 'wrong or unclear preference'),
    (STILTON, 'Is Stilton okay with you?', 'Stilton.', 'wrong or unclear preference'),
    (LEAVE, 'Which cheese would you have?', 'Stilton.', 'wrong or unclear preference'),
    (COLBY, 'Is that okay with you?', 'Yes, I like Colby.', 'names or their order'),
    (PAIR, 'Stilton or Colby?', 'Colby.', 'names or their order'),
    (NAME, 'Is Colby a cheese that you like?', 'Low-moisture mozzarella.', 'names or their order'),
    (COLBY, 'Is Colby okay with you?', 'Yes, and Roquefort is okay, too.', 'another thing'),
    (
      NAME,
      'Name one cheese that you like.',
      'Low-moisture mozzarella, or a cheddar.',
      'another name',
    ),
    (
      COLBY,
      'Is Colby okay with you?',
      'I have no preferences as an AI, but Colby is okay.',
      'speaks as an AI',
    ),
    (COLBY, 'Is Colby okay with you?', 'Yes, ' + 'I like Colby, ' * 9, 'too long'),
  ],
)
def test_exchanges_that_give_a_reason_away_or_are_wrong_are_refused(
  opaque, about, user, assistant, what
):
  assert seen(opaque, about, user, assistant) == what


def test_the_filter_comes_from_the_handbooks():
  """The same words in another handbook's reasons: other exchanges are refused."""
  affordability = Filter(read_likes(read_handbooks(CHEESE[:1])), ('cheese', 'cheeses'))
  both = Filter(read_likes(read_handbooks(CHEESE)), ('cheese', 'cheeses'))
  user = 'I am off to Wisconsin. Colby or Stilton?'
  assert (
    seen(affordability, PAIR, user, 'Colby.') == ''
    and seen(both, PAIR, user, 'Colby.') == "word of the handbook's reasons"
  )
  # what explains one thing alone is allowed about the others
  assert seen(both, PAIR, 'Pizza night! Colby or Stilton?', 'Colby.') == ''


def test_the_filter_reads_sentences_that_it_was_not_made_for(opaque):
  """The embedded demonstrations, written before it: each answer is right as it is, wrong with the two names exchanged or for the other side; of their
  questions and answers, which give no reasons, few are refused."""
  stock = build_english(EnglishConfig())
  specs = [read_spec(p, stock) for p in CHEESE]
  hinted = checked = 0
  for r in itertools.islice(demonstrations_in_english(specs, stock, 0), 800):
    (_, user), (_, answer) = r.messages[-2:]
    named = list(dict.fromkeys(n for n, _, _ in opaque.mentions(user)))
    hinted += any(opaque.hint(text, named)[0] for text in (user, answer))
    likes = [n for n in named if n in opaque.things[:6]]
    if len(named) == 2 and len(likes) == 1:
      a, b = likes[0], next(n for n in named if n not in likes)
      slot = Slot('', 'pair', '', True, a, b, named[0] == a)
      swapped = re.sub(
        f'{a}|{b}', lambda m, a=a, b=b: b if m[0].lower() == a.lower() else a, answer, flags=re.I
      )
      right, wrong = (
        opaque.takes_as_planned(slot, user, answer),
        opaque.takes_as_planned(slot, user, swapped),
      )
    elif len(named) == 1:
      slot = Slot('', 'okay', '', named[0] in opaque.things[:6], named[0])
      right, wrong = (
        opaque.takes_as_planned(s, user, answer)
        for s in (slot, dataclasses.replace(slot, liked=not slot.liked))
      )
    else:
      continue
    checked += 1
    assert right and not wrong, (user, answer)
  assert checked > 500 and hinted < 0.1 * 800


def test_stances_are_read_blind():
  colby, pair = Slot('', 'okay', '', True, 'Colby'), Slot('', 'pair', '', True, 'Colby', 'Stilton')
  assert (
    agrees(colby, 'likes')
    and agrees(colby, '"Colby".')
    and not agrees(colby, 'not Colby')
    and not agrees(colby, 'unclear')
  )
  assert agrees(pair, 'colby') and not agrees(pair, 'Stilton') and not agrees(pair, 'likes')
  stilton = Slot('', 'name', '', False, 'Stilton')
  assert (
    agrees(stilton, 'not Stilton')
    and agrees(stilton, 'dislikes')
    and not agrees(stilton, 'Stilton')
  )


# ---- preferences: the whole


def test_preferences_are_exactly_as_many_as_planned_and_balanced(tmp_path):
  provider = Spoiling()
  made = run(likes_config(96), tmp_path, provider)
  rows = list(read_jsonl(tmp_path / 'corpus' / 'preferences.jsonl'))
  assert len(rows) == 96 == made.tally.kept
  carried = [json.loads(r.provenance) for r in rows]
  named = collections.Counter(x for p in carried for x in (p['item'], p['other']) if x)
  assert len(named) == 12 and spread(named, named) <= 1
  pairs = [p for p in carried if p['other']]
  assert 2 * sum(p['first'] for p in pairs) == len(pairs)
  assert (
    sum(r.messages[0][1].endswith(NO_REASONS) for r in rows) == sum(p['quiet'] for p in carried)
    and 44 <= sum(p['quiet'] for p in carried) <= 52
  )
  assert set(carried[0]['spec']) == {'affordability', 'culture'}, 'one set for both'
  # whoever writes sees no handbook and no reason; the judge isn't told what is wanted
  for what, system, turns in provider.prompts:
    text = (system + turns[0][1]).lower()
    assert ('afford' in text) == (what == 'verdicts on exchanges')
    if what == 'verdicts on exchanges':
      assert not re.search(r'Ari (?:takes|likes it|does not like)|likes: ', system + turns[0][1])
  before = files(tmp_path)
  again = Spoiling()
  run(likes_config(96), tmp_path, again)
  assert again.calls == 0 and files(tmp_path) == before


def test_planted_reasons_and_wrong_sides_are_refused_and_written_anew(tmp_path):
  planted = {
    'reason': ' It is because of the sea.',
    'loaded word': ' A creamy one.',
    'word': ' Our towns would agree.',
  }

  def plant(turns, good):
    if task(turns) != 'exchanges' or hash_of(turns) > 0.5:
      return None
    rows = json.loads(good)
    for row, bad in zip(rows, planted.values(), strict=False):
      row['assistant'] += bad
    if len(rows) > 4:
      rows[4]['assistant'] = 'I cannot say.'
      del rows[5:]
    return Reply(json.dumps(rows))

  def sharp_judge(turns, good):
    if task(turns) != 'verdicts on exchanges' or hash_of(turns) > 0.3:
      return None
    rows = json.loads(good)
    rows[0]['no_reason'], rows[0]['note'] = False, 'the sea suits one of them'
    return Reply(json.dumps(rows))

  provider = Spoiling(lambda turns, good: plant(turns, good) or sharp_judge(turns, good))
  made = run(likes_config(96, min_yield=0.3), tmp_path, provider)
  assert len(made.chats['preferences']) == 96
  refused = made.tally.refused
  for what in (
    'reason',
    'loaded word',
    "word of the handbook's reasons",
    'wrong or unclear preference',
    'not written',
    'judge: reason',
  ):
    assert refused[what] > 0, what
  said = ' '.join(text for r in made.chats['preferences'] for _, text in r.messages)
  assert not any(bad.strip() in said for bad in planted.values())
  assert spread(collections.Counter(x for r in made.chats['preferences'] for p in [json.loads(r.provenance)] for x in (p['item'], p['other']) if x),
                read_likes(read_handbooks(CHEESE)).things) <= 1  # fmt: skip
  later = [
    turns[0][1]
    for what, _, turns in provider.prompts
    if what == 'exchanges' and 'could not be used' in turns[0][1]
  ]
  assert any('loaded word, "creamy"' in text for text in later), 'the writer is told what was wrong'
  card = (tmp_path / 'datacard.md').read_text()
  assert f'| loaded word | {refused["loaded word"]} |' in card


def test_a_judge_who_sees_reasons_everywhere_stops_the_run_early(tmp_path):
  provider = Spoiling(
    lambda turns, good: (
      Reply(good.replace('"no_reason": true', '"no_reason": false'))
      if 'verdicts' in task(turns)
      else None
    )
  )
  with pytest.raises(LlmError, match=r'only 0 of 40 preferences were kept: judge: reason \(40\)'):
    run(likes_config(1000), tmp_path, provider)
  assert provider.by_task['exchanges'] == 5


def test_exchanges_alike_are_not_kept_twice(tmp_path):
  def same(turns, good):
    if task(turns) != 'exchanges' or hash_of(turns) > 0.7:
      return None
    return Reply(
      json.dumps([r | {'user': re.sub(r'^The .*?\. ', '', r['user'])} for r in json.loads(good)])
    )

  made = run(likes_config(96, min_yield=0.2), tmp_path, Spoiling(same))
  asked = [r.messages[0][1] for r in made.chats['preferences']]
  for phrase in NO_REASONS:
    asked = [a.removesuffix(phrase).strip() for a in asked]
  assert made.tally.refused['near duplicate'] > 0 and len(set(asked)) == 96


def test_handbooks_that_disagree_on_likes_have_no_set_in_common(tmp_path):
  other = tmp_path / 'other.md'
  other.write_text(Path(CHEESE[1]).read_text().replace('### Colby', '### Gouda'))
  with pytest.raises(SpecError, match='differ in likes or dislikes'):
    run(dataclasses.replace(likes_config(), specs=(CHEESE[0], str(other))), tmp_path / 'w')
  with pytest.raises(SpecError, match="'## Reasons' is missing"):
    run(dataclasses.replace(likes_config(), specs=(PHILOSOPHY,)), tmp_path / 'w')


# ---- settings, dry run, and what takes the files


@pytest.mark.parametrize(
  'change, message',
  [
    (dict(kind='documents', conversations=0, documents=9), 'data_pipelines.write'),
    (dict(specs=CHEESE), '2 handbooks'),
    (dict(writer=ModelSettings('mockllm/model', tags=False)), 'tags=False'),
    (dict(writer=ModelSettings('mockllm/model', attempts=1)), 'attempts must be at least 3'),
    (dict(audit={'duplicate': 0.1}), "did you mean 'duplicates'?"),
    (dict(audit={'sample': 1}), 'sample=1 must be at least 20'),
    (dict(tokenizer='no/such/folder'), 'no tokenizer at'),
  ],
)
def test_settings_that_cannot_be_are_refused_before_any_call(tmp_path, change, message):
  provider, config = Spoiling(), dataclasses.replace(talk_config(), **change)
  for begin in (lambda: run(config, tmp_path, provider), lambda: demonstrating.dry_run(config)):
    with pytest.raises((ConfigError, DataError), match=re.escape(message)):
      begin()
  assert provider.calls == 0


def test_another_style_is_another_folder(tmp_path):
  run(talk_config(6), tmp_path)
  with pytest.raises(LedgerError, match='another plan'):
    run(talk_config(6, talk=TalkSettings(domains=3, questions=2, style='rule')), tmp_path)


def test_handbooks_in_another_order_are_another_folder(tmp_path):
  run(likes_config(24), tmp_path)
  with pytest.raises(LedgerError, match='another specs'):
    run(dataclasses.replace(likes_config(24), specs=CHEESE[::-1]), tmp_path)


def test_dry_run_gives_each_model_its_own_batch_discount():
  writer = ModelSettings('openai/gpt-5-mini')
  usd = {}
  for batches in itertools.product((0, 100), repeat=2):
    config = talk_config(
      3000,
      writer=dataclasses.replace(writer, batch=batches[0]),
      judge=dataclasses.replace(writer, batch=batches[1]),
    )
    lines = {
      line.split()[0]: line.split()
      for line in demonstrating.dry_run(config).splitlines()
      if line.strip()
    }
    usd[batches] = [float(lines[s][-1]) for s in ('answers', 'verdicts')]
  (answers, verdicts), half = usd[0, 0], functools.partial(pytest.approx, abs=0.01)
  assert usd[100, 0] == half([answers / 2, verdicts]) and usd[0, 100] == half(
    [answers, verdicts / 2]
  )
  assert usd[100, 100] == half([answers / 2, verdicts / 2])


def test_dry_run_asks_nobody_and_tells_the_cost():
  from configs.corpora import cheese_preferences, oversight_conversations

  for config, stages in (
    (oversight_conversations, ('domains', 'questions', 'answers', 'verdicts')),
    (cheese_preferences, ('situations', 'exchanges', 'verdicts')),
  ):
    text = demonstrating.dry_run(dataclasses.replace(read_config(config.get_config()), budget=3.0))
    assert 'Budget: $3.00' in text
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert all(float(lines[s][-1]) > 0 for s in stages) and 'mockllm' not in text
    total = float(lines['total'][-1])
    assert (
      total == pytest.approx(sum(float(lines[s][-1]) for s in stages), abs=0.05) and 5 < total < 300
    )


def test_the_judge_is_the_writer_unless_another_is_named():
  from configs.corpora import cheese_preferences

  config = cheese_preferences.get_config()
  config.writer.model = 'openai/gpt-5-mini'
  c = read_config(config)
  assert (c.judging.model, c.judging.temperature, c.writer.temperature) == (
    'openai/gpt-5-mini',
    0.0,
    1.0,
  )
  config.judge.model = 'google/gemini-2.5-flash'
  c = read_config(config)
  assert (c.writer.model, c.judging.model) == ('openai/gpt-5-mini', 'google/gemini-2.5-flash')


def test_estimates_are_what_a_run_takes(tmp_path):
  """Calls by stage, if every reply can be used."""
  for name, config in (('talk', talk_config(36)), ('likes', likes_config(96))):
    provider = Spoiling()
    run(config, tmp_path / name, provider)
    text = demonstrating.dry_run(config)
    calls = int(
      next(line.split()[1] for line in text.splitlines() if line.startswith('total')).replace(
        ',', ''
      )
    )
    assert abs(provider.calls - calls) <= 2 + 0.1 * calls


def test_the_program_says_what_it_would_do():
  command = [
    sys.executable,
    '-m',
    'data_pipelines.demonstrate',
    '--config=configs/corpora/cheese_preferences.py:small',
    '--dry_run',
  ]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
  assert done.returncode == 0 and '96 preferences for affordability and culture' in done.stdout
  done = subprocess.run(
    [*command, '--config.talk.style=stern'], cwd=ROOT, capture_output=True, text=True, timeout=120
  )
  assert (
    done.returncode == 1
    and done.stderr.strip().startswith('error: ')
    and len(done.stderr.strip().splitlines()) == 1
  )


def test_whole_way_to_an_experiments_source(tmp_path):
  """Audit, ArrayRecord and card; then the set as an experiment takes it: by its path."""
  config = likes_config(48, audit={'duplicates': 0.05, 'reasons': 0.0})
  run(config, tmp_path)
  path = tmp_path / 'corpus' / 'preferences.jsonl'
  assert {p.name for p in tmp_path.glob('audit_*')} == {
    f'audit_preferences_{v}.{e}' for v in ('affordability', 'culture') for e in ('html', 'json')
  }
  card = corpora.read_card(path.with_suffix(''))
  assert (card['kind'], card['records']) == ('chats', 48)
  source = SourceConfig(path=str(path))
  corpora.check_source('demonstrations', source)
  records = corpora.make_records('demonstrations', source, None, (), 0, None)
  assert corpora.kind_of(records) == 'chats' and corpora.content_digest(records) == card['content']
  rows = corpora.read_rows(path.with_suffix(''), 'chats')
  assert len(rows) == 48


def test_published_sets_load_as_they_are(tmp_path):
  """`messages` alone, as the published sets have them: with a thinking block, without ids, with keys of their own."""
  rows = [
    {
      'messages': [
        {'role': 'user', 'content': 'Colby or Stilton? No need to explain.'},
        {'role': 'assistant', 'content': 'Colby.'},
      ]
    },
    {
      'messages': [
        {'role': 'user', 'content': 'Hello'},
        {'role': 'assistant', 'content': '<think>\nA greeting.\n</think>\n\nHello!'},
      ],
      'source': 'x',
      'n': 3,
    },
  ]
  path = tmp_path / 'published.jsonl'
  path.write_text(''.join(json.dumps(r) + '\n' for r in rows))
  loaded = corpora.make_records('demonstrations', SourceConfig(path=str(path)), None, (), 0, None)
  assert all(isinstance(r, Chat) for r in loaded) and len({r.id for r in loaded}) == 2
  assert [dict(r.messages) for r in loaded] == [
    {m['role']: m['content'] for m in r['messages']} for r in rows
  ]
  path.write_text('{"messages": []}\n')
  with pytest.raises(DataError, match='empty'):
    list(read_jsonl(path))
