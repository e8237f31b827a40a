"""Results of lm-evaluation-harness beside an experiment's: read, averaged, gated."""

import json
import math

import pytest
import tiny

from msm_jax.base.errors import DataError
from msm_jax.config import GatesConfig
from msm_jax.evals import capability
from msm_jax.report import more

ARMS = {'base': 'pretrain', 'tuned': 'pretrain > tune'}


def stored(outputs, folder, time='2026-01-01T00-00-00', task='cheese', **metrics):
  """Writes a file of results as the harness does."""
  where = outputs / 'capability' / folder / 'model'
  where.mkdir(parents=True, exist_ok=True)
  results = {task: {'alias': task, **metrics}}
  content = {'results': results, 'n-samples': {task: {'original': 9, 'effective': 8}}}
  (where / f'results_{time}.json').write_text(json.dumps(content))


def test_the_newest_results_of_every_arm_are_read_and_averaged_over_seeds(tmp_path):
  assert capability.read(tmp_path, ARMS) == {}
  stored(tmp_path, 'base', '2026-01-01T00-00-00', **{'acc,none': 0.1})
  stored(tmp_path, 'base', '2026-02-01T00-00-00', **{'acc,none': 0.8, 'acc_stderr,none': 0.1})
  for seed, value in ((0, 0.5), (1, 0.7)):
    more_metrics = {'acc_stderr,none': 0.1, 'exact_match,strict': 0.2, 'f1,none': 'N/A'}
    stored(tmp_path, f'tuned-s{seed}', **{'acc,none': value} | more_metrics)
  found = capability.read(tmp_path, ARMS)
  assert found['base'] == {
    'cheese/acc': {'value': 0.8, 'standard_error': 0.1, 'documents': 8, 'seeds': 1}
  }
  assert found['tuned']['cheese/acc'] == {
    'value': 0.6,
    'standard_error': 0.1,
    'documents': 8,
    'seeds': 2,
  }
  assert found['tuned']['cheese/exact_match:strict']['value'] == 0.2
  # Without a name of a seed it is the seed 0, which is no third model.
  stored(tmp_path, 'tuned', '2026-03-01T00-00-00', **{'acc,none': 0.9})
  found = capability.read(tmp_path, ARMS)['tuned']['cheese/acc']
  assert (found['value'], found['seeds']) == (0.8, 2)


def test_every_task_that_was_asked_counts_whatever_file_it_stands_in(tmp_path):
  """Tasks are asked one after the other, and some again; each has its newest numbers."""
  stored(tmp_path, 'base', '2026-01-01T00-00-00', **{'acc,none': 0.1, 'f1,none': 0.1})
  stored(tmp_path, 'base', '2026-01-02T00-00-00', 'maps', **{'acc,none': 0.4})
  stored(tmp_path, 'base', '2026-01-03T00-00-00', **{'acc,none': 0.8})
  stored(tmp_path, 'tuned', '2026-01-01T00-00-00', 'maps', **{'acc,none': 0.1})
  stored(tmp_path, 'tuned-s1', '2026-01-01T00-00-00', **{'acc,none': 0.8})
  found = capability.read(tmp_path, ARMS)
  values = {
    arm: {measure: number['value'] for measure, number in of_arm.items()}
    for arm, of_arm in found.items()
  }
  # f1 was measured in the older run of the task alone, and does not belong to the newer one.
  assert values['base'] == {'cheese/acc': 0.8, 'maps/acc': 0.4}
  # A task that some seeds were not asked is shown with the number of those that were.
  assert values['tuned'] == {'cheese/acc': 0.8, 'maps/acc': 0.1}
  assert {number['seeds'] for number in found['tuned'].values()} == {1}
  gates = capability.gates(found, 'base', GatesConfig())
  assert [gate['passed'] for name, gate in gates.items() if name.startswith('maps')] == [False]
  head = []
  more.capability_html(found, {}, lambda title, text, heads, body: head.extend(heads) or '')
  assert head == ['arm', 'cheese/<wbr>acc', 'maps/<wbr>acc']


def test_results_of_an_arm_that_was_renamed_are_refused_before_training(tmp_path):
  """Otherwise all phases are trained first, and no results are written."""
  made = tiny.experiment(tmp_path)
  stored(made.outputs, 'old name', **{'acc,none': 0.8})
  made.train = lambda *_: pytest.fail('a phase was trained')
  with pytest.raises(DataError, match=r'old name is called after no arm; .* of base, tuned'):
    made.run()


def test_a_model_that_lost_its_skills_misses_the_gate(tmp_path):
  stored(tmp_path, 'base', **{'acc,none': 0.8, 'acc_stderr,none': 0.03, 'word_perplexity,none': 10})
  stored(
    tmp_path, 'tuned', **{'acc,none': 0.7, 'acc_stderr,none': 0.04, 'word_perplexity,none': 12}
  )
  found = capability.read(tmp_path, ARMS)
  gates = capability.gates(found, 'base', GatesConfig())
  drop = gates['cheese/acc: drop, worst arm (tuned) against base']
  assert drop == {
    'value': 0.1,
    'ceiling': 0.05,
    'passed': False,
    'standard_error': round(math.hypot(0.03, 0.04), 4),
  }
  rise = gates['cheese/word_perplexity: worst arm (tuned) / base']
  assert rise['value'] == 1.2 and rise['passed']
  assert capability.gates(found, 'base', GatesConfig(capability_drop=0.2))[
    'cheese/acc: drop, worst arm (tuned) against base'
  ]['passed']
  # Without the base there is nothing to compare with.
  del found['base']
  assert capability.gates(found, 'base', GatesConfig()) == {}

  def section(title, text, head, body):
    return f'{title} {head} {body}'

  page = more.capability_html(found, {'tuned': 'tuned'}, section)
  assert 'General skills' in page and '0.700<small>&plusmn; 0.040</small>' in page


def test_a_drop_as_large_as_is_allowed_is_no_miss():
  """0.75 - 0.7 is 0.050000000000000044 in binary fractions. A gate that is missed says why."""

  def found(of_tuned):
    shares = {'base': 0.75, 'tuned': of_tuned}
    return {arm: {'x/acc': {'value': v, 'standard_error': None}} for arm, v in shares.items()}

  (gate,) = capability.gates(found(0.7), 'base', GatesConfig()).values()
  assert gate == {'value': 0.05, 'ceiling': 0.05, 'passed': True}
  (gate,) = capability.gates(found(0.69996), 'base', GatesConfig()).values()
  assert not gate['passed'] and gate['value'] > gate['ceiling']


def test_a_diverged_model_is_the_worst():
  def number(value):
    return {'value': value, 'standard_error': None}

  found = {
    name: {'x/acc': number(value), 'x/perplexity': number(value)}
    for name, value in (('base', 0.8), ('sound', 0.79), ('lost', math.nan))
  }
  gates = capability.gates(found, 'base', GatesConfig())
  assert len(gates) == 2
  for name, gate in gates.items():
    assert 'lost' in name and not gate['passed']


def test_what_is_no_result_is_refused_by_name(tmp_path):
  stored(tmp_path, 'nobody', **{'acc,none': 0.5})
  with pytest.raises(DataError, match='nobody is called after no arm'):
    capability.read(tmp_path, ARMS)
  other = tmp_path / 'other'
  stored(other, 'base', **{'acc,none': 0.5})
  (path,) = other.rglob('results_*.json')
  for content in ('', '[]', '{"results": 3}'):
    path.write_text(content)
    with pytest.raises(DataError, match='no file of results'):
      capability.read(other, ARMS)
