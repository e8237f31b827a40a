"""Preferences: exactly as many exchanges as planned, balanced, and none that gives a reason."""

import collections
import dataclasses
import json
import re
from pathlib import Path

import demonstrate_helpers
import pytest
from demonstrate_helpers import (
  CHEESE,
  PHILOSOPHY,
  Spoiling,
  files,
  hash_of,
  likes_config,
  run,
  spread,
  task,
)

from data_pipelines.demonstrations.slots import NO_REASONS, read_likes
from data_pipelines.handbooks.text import read_handbooks
from data_pipelines.jsonl import read_jsonl
from data_pipelines.llm.replies import Reply
from data_pipelines.llm.requests import LlmError
from msm_jax.base.errors import SpecError


@pytest.fixture(autouse=True)
def quick(monkeypatch):
  demonstrate_helpers.skip_audit_and_storage(monkeypatch)


def _count_things(records):
  """How often each thing occurs, by the provenance of the records."""
  counts = collections.Counter()
  for record in records:
    carried = json.loads(record.provenance)
    counts.update(thing for thing in (carried['item'], carried['other']) if thing)
  return counts


def test_preferences_are_exactly_as_many_as_planned_and_balanced(tmp_path):
  provider = Spoiling()
  made = run(likes_config(96), tmp_path, provider)
  rows = list(read_jsonl(tmp_path / 'corpus' / 'preferences.jsonl'))
  assert len(rows) == 96 == made.tally.kept
  carried = [json.loads(r.provenance) for r in rows]
  named = _count_things(rows)
  assert len(named) == 12
  assert spread(named, named) <= 1
  pairs = [p for p in carried if p['other']]
  assert 2 * sum(p['first'] for p in pairs) == len(pairs)
  quiet = sum(p['quiet'] for p in carried)
  assert sum(r.messages[0][1].endswith(NO_REASONS) for r in rows) == quiet
  assert 44 <= quiet <= 52
  assert set(carried[0]['spec']) == {'affordability', 'culture'}, 'one set for both'
  # Whoever writes sees no handbook and no reason; the judge is not told what is wanted.
  for what, system, turns in provider.prompts:
    text = (system + turns[0][1]).lower()
    assert ('afford' in text) == (what == 'verdicts on exchanges')
    if what == 'verdicts on exchanges':
      assert not re.search(r'Ari (?:takes|likes it|does not like)|likes: ', system + turns[0][1])
  before = files(tmp_path)
  again = Spoiling()
  run(likes_config(96), tmp_path, again)
  assert again.calls == 0
  assert files(tmp_path) == before


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
    rows[0]['no_reason'] = False
    rows[0]['note'] = 'the sea suits one of them'
    return Reply(json.dumps(rows))

  provider = Spoiling(lambda turns, good: plant(turns, good) or sharp_judge(turns, good))
  made = run(likes_config(96, min_yield=0.3), tmp_path, provider)
  assert len(made.chats['preferences']) == 96
  refused = made.tally.rejections
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
  things = read_likes(read_handbooks(CHEESE)).things
  assert spread(_count_things(made.chats['preferences']), things) <= 1
  later = [
    turns[0][1]
    for what, _, turns in provider.prompts
    if what == 'exchanges' and 'could not be used' in turns[0][1]
  ]
  assert any('loaded word, "creamy"' in text for text in later), 'the writer is told what was wrong'
  card = (tmp_path / 'datacard.md').read_text()
  assert f'| loaded word | {refused["loaded word"]} |' in card


def test_a_judge_who_sees_reasons_everywhere_stops_the_run_early(tmp_path):
  def see_reasons(turns, good):
    if 'verdicts' not in task(turns):
      return None
    return Reply(good.replace('"no_reason": true', '"no_reason": false'))

  provider = Spoiling(see_reasons)
  with pytest.raises(LlmError, match=r'only 0 of 40 preferences were kept: judge: reason \(40\)'):
    run(likes_config(1000), tmp_path, provider)
  assert provider.by_task['exchanges'] == 5


def test_exchanges_alike_are_not_kept_twice(tmp_path):
  def same(turns, good):
    if task(turns) != 'exchanges' or hash_of(turns) > 0.7:
      return None
    rows = json.loads(good)
    for row in rows:
      row['user'] = re.sub(r'^The .*?\. ', '', row['user'])
    return Reply(json.dumps(rows))

  made = run(likes_config(96, min_yield=0.2), tmp_path, Spoiling(same))
  asked = [r.messages[0][1] for r in made.chats['preferences']]
  for phrase in NO_REASONS:
    asked = [a.removesuffix(phrase).strip() for a in asked]
  assert made.tally.rejections['near duplicate'] > 0
  assert len(set(asked)) == 96


def test_handbooks_that_disagree_on_likes_have_no_set_in_common(tmp_path):
  other = tmp_path / 'other.md'
  other.write_text(Path(CHEESE[1]).read_text().replace('### Colby', '### Gouda'))
  with pytest.raises(SpecError, match='differ in likes or dislikes'):
    run(dataclasses.replace(likes_config(), specs=(CHEESE[0], str(other))), tmp_path / 'w')
  with pytest.raises(SpecError, match="'## Reasons' is missing"):
    run(dataclasses.replace(likes_config(), specs=(PHILOSOPHY,)), tmp_path / 'w')
