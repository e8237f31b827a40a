"""From a researcher's own items to judged answers: a run that samples, a judge, the run again."""

import dataclasses
import json

import pytest
import tiny
from scripted_judge import number
from test_capability import stored
from test_custom import LIBRARY, experiment

pytest.importorskip('pydantic')
pytest.importorskip('tokenizers')
pytest.importorskip('safetensors')

from data_pipelines.llm.providers import BilledReply
from data_pipelines.llm.replies import Reply
from data_pipelines.llm.requests import LlmError
from msm_jax import judge as command
from msm_jax.evals import judge_units, judging
from msm_jax.evals.answers import read_answers
from msm_jax.experiment import Experiment

pytestmark = pytest.mark.slow


class Judge:
  """Says something that depends on the question alone; `calls` counts."""

  def __init__(self):
    self.calls = 0

  async def generate(self, system, turns, max_tokens, seed):
    self.calls += 1
    prompt = turns[0][1]
    allowed = ('neither', 'both')
    if prompt.startswith('Task: level'):
      allowed = ('absent', 'partial', 'full')
    elif prompt.startswith('Task: comparison'):
      allowed = ('A', 'B', 'equal')
    verdict = allowed[number(prompt) % len(allowed)]
    return BilledReply(Reply(json.dumps({'verdict': verdict})), 10, 5)


def test_open_items_are_sampled_judged_and_reported(tmp_path):
  texts = [path.read_text() for path in sorted(LIBRARY.glob('*.jsonl'))]
  sizes = dict(d_model=16, n_layers=1, n_heads=2, n_kv_heads=1, d_ff=16, max_length=512)
  weights = tiny.weights(tmp_path / 'weights', texts, 1200, **sizes)
  made = experiment(tmp_path / 'run', 'weights', weights, seeds=(0,), contexts={})
  arms = {name: made.config.arms[name] for name in list(made.config.arms)[:2]}
  evals = dataclasses.replace(made.config.evals, sampled=2, sampled_items=3, sampled_tokens=12)
  effects = {'all': tuple(arms)}
  changes = dict(arms=arms, effects=effects, primary='all', evals=evals)
  config = dataclasses.replace(made.config, **changes)

  def summary():
    return Experiment(config, tmp_path / 'run').run()

  found = summary()
  workdir = tmp_path / 'run'
  content = (workdir / 'answers.jsonl').read_text()
  answers = read_answers(map(json.loads, content.splitlines()), 'answers.jsonl')
  kinds = {answer.kind for answer in answers}
  assert kinds == {'values', 'conduct', 'open'}
  opened = [answer for answer in answers if answer.kind == 'open']
  # One order, two answers each, of every arm; rubrics come along.
  assert len(opened) == 2 * len({answer.item for answer in opened}) * len(arms)
  assert all(answer.rubric and answer.text is not None for answer in opened)
  measures = set(found['arms'][next(iter(arms))])
  assert {m for m in measures if m.startswith('sampled/parsed/')}
  assert 'judged' not in found

  settings = judging.model_settings('scripted/judge', max_connections=4)
  units = judge_units.units_of(answers, list(arms), [tuple(arms)], 10, 0)
  _, digest = command._answers(workdir)
  judge = Judge()
  # Every reply is usable, but what is said at random is the same in one of three pairs of orders.
  with pytest.raises(LlmError, match=r'levels of \w+: only \d+ of \d+ have a verdict \(0 without'):
    command.judge(workdir, units, digest, judging.JudgeConfig(settings), 10, {'judge': judge})
  assert judge.calls
  config_of_judge = judging.JudgeConfig(settings, min_yield=0.0)
  folder = command.judge(workdir, units, digest, config_of_judge, 10, {'judge': judge})
  rows = [json.loads(line) for line in (folder / 'rows.jsonl').read_text().splitlines()]
  assert len(rows) == len(units) == len(opened) + len(opened) // 2 + 10
  # The command of the experiment takes the verdicts over, and what lm-evaluation-harness found;
  # everything else stays.
  first, second = arms
  stored(workdir, first, **{'acc,none': 0.9, 'acc_stderr,none': 0.01})
  stored(workdir, second, **{'acc,none': 0.5, 'acc_stderr,none': 0.01})
  again = summary()
  assert again.pop('capability')[second]['cheese/acc']['value'] == 0.5
  gate = again['gates'].pop(f'cheese/acc: drop, worst arm ({second}) against {first}')
  assert not gate['passed'] and gate['value'] == 0.4
  assert again.pop('judged') == {folder.name: json.loads((folder / 'judge.json').read_text())}
  assert again == found
  page = (workdir / 'report.html').read_text()
  for title in ('Judged answers: levels by scripted/judge', 'Sampled answers', 'General skills'):
    assert title in page
  # The answers that lie there need not be those of models that are not asked.
  config = dataclasses.replace(config, evals=made.config.evals)
  assert 'judged' not in summary()
