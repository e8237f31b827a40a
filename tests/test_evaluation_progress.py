"""What is said while a model is evaluated."""

import numpy as np
import pytest
from steps import TINY, fresh_params

from msm_jax.base import console
from msm_jax.evals import progress as progresses
from msm_jax.evals import scoring
from msm_jax.evals.progress import EvaluationProgress


@pytest.fixture
def clock(monkeypatch):
  """A clock that stands still until a test sets it."""
  now = [100.0]
  monkeypatch.setattr(progresses.time, 'monotonic', lambda: now[0])
  monkeypatch.setattr(console, 'is_quiet', False)
  return now


def test_long_evaluations_say_how_far_they_are(clock, capsys):
  progress = EvaluationProgress('evaluating [1/2] base (seed 0)', lambda: False)
  for clock[0] in (101, 114, 116, 120, 140):
    progress(100)
  progress.close()
  first, second = capsys.readouterr().err.splitlines()
  assert first == 'evaluating [1/2] base (seed 0)  300 tokens  19 tok/s'
  assert second == 'evaluating [1/2] base (seed 0)  500 tokens  12 tok/s'

  # The next model is asked as much, so it is known how long it will take.
  clock[0] = 200
  progress = EvaluationProgress('evaluating [2/2] aft (seed 0)', lambda: False, expected=500)
  for clock[0] in (220, 250):
    progress(250)
  first, second = capsys.readouterr().err.splitlines()
  assert first == 'evaluating [2/2] aft (seed 0)  250/500 tokens  12 tok/s  ETA 20s'
  # As many tokens as the model before had: nothing more is foretold.
  assert second == 'evaluating [2/2] aft (seed 0)  500 tokens  10 tok/s'


def test_sampling_says_how_many_answers_there_are(clock, capsys):
  """A round of the sampler may finish no answer, and then nobody knows how long one takes."""
  progress = EvaluationProgress('sampling [1/2] base (seed 0)', lambda: False, 40, 'answers')
  for clock[0], finished in ((120, 0), (140, 10), (150, 0), (180, 30)):
    progress(finished)
  progress.close()
  assert capsys.readouterr().err.splitlines() == [
    'sampling [1/2] base (seed 0)  0/40 answers',
    'sampling [1/2] base (seed 0)  10/40 answers  ETA 2m00s',
    'sampling [1/2] base (seed 0)  40 answers',
  ]


def test_a_terminal_shows_one_line(clock, capsys, monkeypatch):
  monkeypatch.setattr(console.sys.stderr, 'isatty', lambda: True, raising=False)
  progress = EvaluationProgress('evaluating', lambda: False)
  for clock[0] in (101, 101.1, 102):
    progress(7)
  progress.close()
  text = capsys.readouterr().err
  assert text.count('\r') == 2
  assert text.endswith('evaluating  21 tokens  10 tok/s\n')
  assert text.count('\n') == 1


def test_every_batch_is_counted():
  params = fresh_params(TINY)
  examples = [np.ones((n, 3), np.int32) for n in (3, 9, 16, 5, 12, 2)]
  counts = []
  told = scoring.score_triples(TINY, params, examples, 16, 2, counts.append)
  assert sum(counts) == sum(map(len, examples))
  assert len(counts) > 1
  np.testing.assert_array_equal(told, scoring.score_triples(TINY, params, examples, 16, 2))
