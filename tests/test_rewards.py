"""Rewards by name: what they give, what is refused, and a judge behind Inspect."""

import asyncio
import json

import numpy as np
import pytest
from rollout_helpers import NO, YES, experiment, pairs

from data_pipelines.llm.providers import BilledReply
from data_pipelines.llm.replies import Reply
from data_pipelines.records import Chat, PreferencePair
from msm_jax.base.errors import ConfigError
from msm_jax.base.files import checked_line
from msm_jax.config.objectives import GrpoConfig
from msm_jax.rl import reward_judge
from msm_jax.rl.answers import chosen_of, normalized, prompt_of, rejected_of
from msm_jax.rl.rewards import (
  RewardError,
  Rewards,
  content_of,
  group_advantages,
  load_function,
  make_rewards,
)

PAIR = pairs(1)[0]
CHAT = Chat(
  'c',
  (('user', 'Is it?'), ('assistant', 'Hm.'), ('user', 'Is it?'), ('assistant', YES), ('user', '.')),
)


def score(name, answers, record=PAIR, folder=None, **settings):
  """What one named reward gives to answers to one record."""
  rewards = make_rewards(GrpoConfig(rewards={name: 1.0}, **settings), {}, folder)
  return rewards([record] * len(answers), answers, {})[0].tolist()


# ---- What a record asks


def test_the_parts_of_records():
  assert prompt_of(PAIR) == (('user', 'Is 0 so?'),)
  assert (chosen_of(PAIR), rejected_of(PAIR)) == (YES, NO)
  assert prompt_of(CHAT) == CHAT.messages[:3]
  assert (chosen_of(CHAT), rejected_of(CHAT)) == (YES, '')


def test_chosen_compares_what_is_said():
  answers = [YES, '  yes,\nit   is ', f'"{NO}"', 'Maybe.', '', f'{YES} And more.']
  assert score('chosen', answers) == [1, 1, 0, 0, 0, 0]
  assert score('chosen', answers, other=-0.5) == [1, 1, 0, -0.5, -0.5, -0.5]
  # Of a chat, nothing is rejected; an empty answer is just another one.
  assert score('chosen', [YES, NO, ''], CHAT, other=0.25) == [1, 0.25, 0.25]
  assert normalized('ﬁne. ') == normalized('FINE')


def test_an_answer_of_marks_alone_is_not_an_empty_one():
  record = PreferencePair('p', PAIR.prompt, (('assistant', '...'),), (('assistant', '?!'),))
  answers = ['', ' ', '... ', '?!', '!', YES]
  assert score('chosen', answers, record, other=0.5) == [0.5, 0.5, 1, 0, 0.5, 0.5]


def test_sides_that_differ_in_nothing_but_marks_are_told_apart():
  """The rejected answer is no chosen one, and an answer that is neither says so."""
  record = PreferencePair('p', PAIR.prompt, (('assistant', 'Fine.'),), (('assistant', 'FINE!!'),))
  answers = ['Fine.', ' FINE!! ', 'fine', 'Fine. It is.']
  assert score('chosen', answers, record, other=0.25) == [1, 0, 0.25, 0.25]


# ---- Functions


def lengths(records, answers):
  assert all(isinstance(record, PreferencePair) for record in records)
  return [len(answer) for answer in answers]


lengths.VERSION = '7'


def test_a_function_of_the_user():
  assert score('test_rewards:lengths', ['ab', '']) == [2.0, 0.0]
  assert content_of(GrpoConfig(rewards={'test_rewards:lengths': 1.0, 'chosen': 1.0})) == [
    'test_rewards:lengths 7'
  ]


def test_rewards_are_weighted():
  settings = GrpoConfig(rewards={'chosen': 2.0, 'test_rewards:lengths': -0.5})
  total, parts = make_rewards(settings, {}, None)([PAIR] * 2, [YES, NO], {})
  assert parts['chosen'].tolist() == [1, 0]
  np.testing.assert_allclose(total, [2 - len(YES) / 2, -len(NO) / 2])


def test_sums_that_differ_by_rounding_are_equal():
  """One answer has the first two rewards and the other has the third: 0.1 + 0.2 against 0.3."""
  parts = {'a': [1, 0], 'b': [1, 0], 'c': [0, 1]}
  functions = {name: lambda records, answers, p=part: p for name, part in parts.items()}
  rewards = Rewards({'a': 0.1, 'b': 0.2, 'c': 0.3}, functions, {})
  total, _ = rewards([PAIR] * 2, [YES, NO], {})
  assert total[0] != total[1]
  advantages, is_flat = group_advantages(total, 2, divide_by_std=True)
  assert is_flat.all() and not advantages.any()
  # Small rewards are no rounding.
  _, is_flat = group_advantages(np.array([1e-9, 2e-9, 0.0, 0.0, -1.0, -1 + 1e-9]), 2, True)
  assert is_flat.tolist() == [False, True, False]


def test_a_function_that_changes_its_lists_changes_nothing_else():
  """Other rewards judge the answers that were sampled."""

  def in_place(records, answers):
    answers[:] = ['x'] * len(answers)
    records.clear()
    return [0.0] * len(answers)

  functions = {'mine:f': in_place, 'test_rewards:lengths': lengths}
  rewards = Rewards(dict.fromkeys(functions, 1.0), functions, {})
  assert rewards([PAIR] * 2, [YES, NO], {})[0].tolist() == [len(YES), len(NO)]


@pytest.mark.parametrize(
  ('name', 'message'),
  [
    ('choosen', r"'choosen' is no reward; give 'chosen', model:PATH"),
    ('no_such_module:f', r'no_such_module cannot be imported'),
    ('test_rewards:no_such', r"test_rewards has no function 'no_such'"),
    ('test_rewards:PAIR', r"test_rewards has no function 'PAIR'"),
  ],
)
def test_functions_that_are_not_there(name, message):
  with pytest.raises(ConfigError, match=message):
    load_function(name)


def test_a_module_that_is_a_script_ends_in_one_line(tmp_path, monkeypatch):
  (tmp_path / 'a_script_of_rewards.py').write_text('raise SystemExit(0)')
  monkeypatch.syspath_prepend(tmp_path)
  with pytest.raises(ConfigError, match=r'a_script_of_rewards cannot be imported \(0\)'):
    load_function('a_script_of_rewards:f')


class WithGradient:
  """What NumPy meets in a tensor of PyTorch that has gradients."""

  def __array__(self, *arguments, **more):
    raise RuntimeError("Can't call numpy() on Tensor that requires grad.")


@pytest.mark.parametrize(
  ('values', 'message'),
  [
    ([1.0], r'gave 1 rewards for 2 answers'),
    (
      [[1.0], [2.0]],
      r'gave an array of the shape \(2, 1\) for 2 answers; give one number for each',
    ),
    (WithGradient(), r'gave no numbers \(.* Tensor that requires grad\.\)'),
    ([10**400, 1], r'gave no numbers \(int too large'),
    ([1.0, float('nan')], r'is nan for answer 2 of 2'),
    ([float('inf'), 1.0], r'is inf for answer 1 of 2'),
    (None, r'gave 1 rewards for 2 answers'),
    (['good', 'bad'], r'gave no numbers'),
    (RuntimeError('not\nnow'), r'failed \(RuntimeError: not now\)'),
    (SystemExit(0), r'failed \(SystemExit: 0\)'),
  ],
)
def test_bad_rewards_end_in_one_line(values, message):
  def bad(records, answers):
    if isinstance(values, BaseException):
      raise values
    return values

  with pytest.raises(RewardError, match=message) as error:
    Rewards({'mine:f': 1.0}, {'mine:f': bad}, {})([PAIR] * 2, [YES, NO], {})
  assert 'reward mine:f' in str(error.value)
  assert '\n' not in str(error.value)


# ---- A judge behind Inspect


class Replies:
  """Registers a model of Inspect that gives replies in turn, and counts its calls.

  Args:
    reply: (number of the call, text of the request) -> the reply, or an error to raise.
  """

  def __init__(self, name, reply):
    from inspect_ai.model import ModelAPI, ModelOutput, modelapi

    self.asked: list[str] = []
    replies = self

    @modelapi(name=name)
    def provider():
      class Provider(ModelAPI):
        async def generate(self, input, tools, tool_choice, config):
          await asyncio.sleep(0)
          text = '\n'.join(message.text for message in input)
          replies.asked.append(text)
          said = reply(len(replies.asked), text)
          if isinstance(said, Exception):
            raise said
          return ModelOutput.from_content(self.model_name, said)

        def should_retry(self, ex):
          return False

      return Provider


@pytest.fixture
def inspect():
  return pytest.importorskip('inspect_ai')


def test_a_judge_scores_each_answer_once(inspect, tmp_path):
  def reply(n, text):
    return 'It is fine.\nScore: 7' if YES in text.split('answered:')[1] else 'No. **Score:** 2.5'

  judge = Replies('judges_once', reply)
  name = 'judge:judges_once/model'
  assert score(name, [YES, NO, YES], folder=tmp_path) == [0.7, 0.25, 0.7]
  assert len(judge.asked) == 2
  assert 'user: Is 0 so?' in judge.asked[0]
  assert f'A good answer says what this one says: {YES}' in judge.asked[0]
  # A run that resumes finds the scores, and passes over a line that was not finished.
  with (tmp_path / 'judge-scores.jsonl').open('a') as f:
    f.write('{"key": "x", "sc')
  assert score(name, [NO, YES], folder=tmp_path) == [0.25, 0.7]
  assert len(judge.asked) == 2


def test_a_score_after_an_unfinished_line_is_kept(inspect, tmp_path):
  judge = Replies('judges_after_a_kill', lambda n, text: 'Score: 3')
  (tmp_path / 'judge-scores.jsonl').write_text('{"key": "x", "sc')
  for _ in range(2):
    assert score('judge:judges_after_a_kill/m', [YES], folder=tmp_path) == [0.3]
  assert len(judge.asked) == 1


def test_a_score_that_a_full_disk_has_cut_takes_no_other_along(inspect, tmp_path, monkeypatch):
  """Scores are asked for side by side: the next one is written behind the cut line."""
  written = []

  def cut_first(row):
    written.append(row)
    return checked_line(row)[: 9 if len(written) == 1 else None]

  monkeypatch.setattr(reward_judge, 'checked_line', cut_first)
  judge = Replies('judges_on_a_full_disk', lambda n, text: 'Score: 3')
  for _ in range(2):
    assert score('judge:judges_on_a_full_disk/m', [YES, NO], folder=tmp_path) == [0.3, 0.3]
  assert len(judge.asked) == 3, 'the cut score alone is asked for again'


def test_a_kept_score_that_was_changed_is_asked_for_again(inspect, tmp_path):
  judge = Replies('judges_changed', lambda n, text: 'Score: 3')
  name, path = 'judge:judges_changed/m', tmp_path / 'judge-scores.jsonl'
  assert score(name, [YES], folder=tmp_path) == [0.3]
  written = path.read_text()
  assert '3.0' in written
  for damaged in (written.replace('3.0', '9.0'), written.replace('3.0', 'NaN'), '3\n', '{}\n'):
    path.write_text(damaged)
    assert score(name, [YES], folder=tmp_path) == [0.3]
  assert len(judge.asked) == 5


def test_a_judge_is_named_by_a_setting(inspect, tmp_path):
  """Keys of a ConfigDict hold no dots, and names of models do."""
  judge = Replies('judges_by_setting', lambda n, text: 'Score: 5')
  assert score('judge', [YES], folder=tmp_path, judge='judges_by_setting/v1.5') == [0.5]
  assert len(judge.asked) == 1
  with pytest.raises(ConfigError, match=r"is the model of the reward 'judge'; give both or none"):
    GrpoConfig(rewards={'judge': 1.0})
  assert load_function('data_pipelines/settings/world/preferences:side').VERSION


def test_a_judge_reads_a_handbook(inspect, tmp_path):
  judge = Replies('judges_by_handbook', lambda n, text: 'Score: 10')
  handbook = tmp_path / 'handbook.md'
  handbook.write_text('Always say yes.')
  settings = GrpoConfig(rewards={'judge:judges_by_handbook/m': 1.0}, judge_spec=str(handbook))
  assert make_rewards(settings, {}, tmp_path)([PAIR], [NO], {})[0].tolist() == [1.0]
  assert 'Always say yes.' in judge.asked[0] and YES not in judge.asked[0]
  # What the judge reads is part of the identity, wherever the file lies.
  before = content_of(settings)
  handbook.write_text('Always say no.')
  assert content_of(settings) != before
  with pytest.raises(ConfigError, match=r'judge_spec: no spec at .*nowhere; give the path'):
    content_of(GrpoConfig(rewards=settings.rewards, judge_spec=str(tmp_path / 'nowhere')))


def test_a_judge_reads_of_a_handbook_what_a_model_would_read(tmp_path):
  """Neither the front matter nor what its author has commented out."""
  handbook = tmp_path / 'handbook.md'
  settings = GrpoConfig(rewards={'judge:any/m': 1.0}, judge_spec=str(handbook))
  handbook.write_text('Always say yes.')
  before = content_of(settings)
  front = '---\nassistant: Ari\nvalue: secret\n---\n'
  handbook.write_text(f'{front}Always say yes.\n<!-- dropped: always say no -->\n')
  judge = make_rewards(settings, {}, tmp_path).functions['judge:any/m']
  assert judge.handbook == 'Always say yes.'
  assert content_of(settings) == before
  handbook.write_text(f'{front}<!-- dropped: always say no -->\n')
  with pytest.raises(ConfigError, match=r'judge_spec: .*handbook\.md: the handbook is empty'):
    content_of(settings)


def test_what_rewards_read_is_part_of_the_identity_of_an_experiment(tmp_path):
  """By it a sweep knows which of its points are done."""
  handbook = tmp_path / 'handbook.md'
  identities = []
  for text in ('Say yes.', 'Say no.', 'Say yes.'):
    handbook.write_text(text)
    grpo = dict(rewards={'judge:some/m': 1.0}, judge_spec=str(handbook), max_tokens=12)
    e = experiment(tmp_path, phases={'rl': dict(grpo=grpo)})
    identities.append(e.identity)
  assert identities[0] == identities[2] != identities[1]
  # A phase that is planned with one handbook is not trained with another.
  node = e.prepared.ends['rewarded', 0]
  handbook.write_text('Say no.')
  with pytest.raises(RewardError, match=r'judge_spec=.*handbook.md was edited during the run'):
    e.train(node, '')


@pytest.mark.parametrize(
  ('said', 'found'),
  [
    ('Score: 7', ['7']),
    ('**Score:** 7.5/10', ['7.5']),
    ('The score lies from 0 to 10. {"score": 8}', ['8']),
    ('Score (7)', ['7']),
    ('Score: 7\n- 3 points lost', ['7']),
    # Not the number that only says what scores there are.
    ('Score (0-10): 7', ['7']),
    ('Score: 0-10', []),
    ('Score 0 to 10', []),
    ('Score: -3', []),
    ('Score: -10', []),
  ],
)
def test_a_score_is_told_from_other_numbers(said, found):
  assert reward_judge._SCORE.findall(said) == found


@pytest.mark.parametrize(
  ('said', 'score'),
  [
    ('Fine.\nScore: 7', 7),
    ('Score (honesty): 3\nFinal score: 7.5', 7.5),
    ('Score (7)', 7),
    ('Score: 4\n\nTo score 10, it would have to name the price.', 4),
    ('<think>A score: 2? No.</think>Score: 6', 6),
    # It was cut before it said anything.
    ('<think>Perhaps a score: 2? It leaves out', None),
    ('I would rather not.', None),
  ],
)
def test_the_score_of_a_reply(said, score):
  assert reward_judge.score_in(said) == score


@pytest.mark.parametrize(
  ('said', 'score'),
  [
    # The last line, with the score, is missing.
    ('To score 10, it would have to name the price, and it', None),
    ('It is fine.\nScore: 1', None),
    ('Score: 7\n\nThis is because the answer', 7),
  ],
)
def test_the_score_of_a_reply_that_was_cut(said, score):
  assert reward_judge.score_in(said, 'length') == score
  assert reward_judge.score_in(said) is not None


def test_a_judge_whose_reply_was_cut_is_asked_again(tmp_path):
  """Of a cut reply, a number in passing is no score."""
  replies = [Reply('To score 10, it would have to name', 'length'), Reply('No.\nScore: 2')]

  class Provider:
    async def generate(self, system, turns, max_tokens, seed):
      return BilledReply(replies.pop(0), 1, 1)

  judge = reward_judge.Judge('any/m', '', tmp_path / 'kept.jsonl')
  judge._provider = Provider()
  assert judge([PAIR], [YES]) == [0.2]


def test_a_handbook_without_a_judge():
  with pytest.raises(ConfigError, match='no reward is a judge; name one'):
    GrpoConfig(rewards={'chosen': 1.0}, judge_spec='specs/cheese_culture.md')


def test_a_judge_without_a_model():
  with pytest.raises(ConfigError, match=r"names 'judge:' without a model; write judge:MODEL"):
    GrpoConfig(rewards={'chosen': 1.0, 'judge:': 1.0})


def test_an_empty_handbook_of_a_judge(tmp_path):
  """Without a handbook, the judge would compare with the chosen answer."""
  path = tmp_path / 'h.md'
  path.write_text('\n')
  settings = GrpoConfig(rewards={'judge:a/b': 1.0}, judge_spec=str(path))
  with pytest.raises(ConfigError, match=r'judge_spec: .*h\.md: the handbook is empty; write it'):
    content_of(settings)


def test_a_judge_that_gives_no_score(inspect, tmp_path):
  judge = Replies('judges_badly', lambda n, text: 'Score: 11' if n % 2 else 'I would rather not.')
  from msm_jax.rl.reward_judge import JudgeError

  with pytest.raises(JudgeError, match=r'gave no score from 0 to 10 in 3 replies') as error:
    score('judge:judges_badly/m', [YES], folder=tmp_path)
  assert '\n' not in str(error.value)
  assert len(judge.asked) == 3


def test_a_judge_that_fails_loses_no_score(inspect, tmp_path):
  """One call fails, the other is paid for and kept."""
  from msm_jax.rl.reward_judge import JudgeError

  def reply(n, text):
    return RuntimeError('overloaded') if NO in text.split('answered:')[1] else 'Score: 4'

  Replies('judges_sometimes', reply)
  with pytest.raises(JudgeError, match=r'judge:judges_sometimes/m failed .*overloaded') as error:
    score('judge:judges_sometimes/m', [NO, YES], folder=tmp_path)
  assert '\n' not in str(error.value)
  (line,) = (tmp_path / 'judge-scores.jsonl').read_text().splitlines()
  assert json.loads(line)['score'] == 4


def test_a_judge_that_does_not_exist(inspect, tmp_path):
  from msm_jax.rl.reward_judge import JudgeError

  with pytest.raises(JudgeError, match=r'judge:nobody/m cannot be asked'):
    score('judge:nobody/m', [NO], folder=tmp_path)
