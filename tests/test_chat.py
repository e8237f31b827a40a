"""Tests of the chat: over a pipe, with Ctrl-C, and in columns."""

import os
import signal

import pytest
from serving import ENDLESS, make_sampler, run_chat

from msm_jax.inference.chat_session import AnswerUpdate, ChatSession, Interrupts
from msm_jax.inference.chat_terminal import format_columns
from msm_jax.inference.completion import CompletionRequest

# Left out of `make quick`.
pytestmark = pytest.mark.slow


def answers_to(samplers, questions):
  """What the chat prints after the last of some questions."""
  lines = []
  for arm, sampler in samplers.items():
    history = [('system', 'You are Ari.')]
    for question in questions:
      history.append(('user', question))
      prompt = sampler.tokenizer.prompt(history)
      (completion,) = sampler.generate([CompletionRequest(prompt, max_tokens=8)])
      history.append(('assistant', completion.text))
    lines.append(f'{arm}: {completion.text}\n')
  return ''.join(lines)


def test_chat_over_a_pipe(tiny_workdir):
  """Every line is a question, and the conversation goes on until it is reset.

  A question that is too long is refused, and the next one is answered.
  """
  questions = [
    'Do you like Colby?',
    '',
    'And?',
    '/reset',
    'And?',
    'Hi ' * 300,
    '/nonsense',
    '/help',
    'Ünd? 🧀',
  ]
  done = run_chat(
    '\n'.join(questions),
    f'--workdir={tiny_workdir}',
    '--arm=base',
    '--compare=base,tuned',
    '--system=You are Ari.',
    '--max_tokens=8',
  )
  assert done.returncode == 0, done.stderr
  assert 'it must fit into 128' in done.stderr
  assert 'Traceback' not in done.stderr
  assert len(done.stderr.splitlines()) == 1
  samplers = {arm: make_sampler(tiny_workdir, arm) for arm in ('base', 'tuned')}
  rest = done.stdout
  for conversation in (
    ['Do you like Colby?'],
    ['Do you like Colby?', 'And?'],
    ['And?'],
    ['And?', 'Ünd? 🧀'],
  ):
    expected = answers_to(samplers, conversation)
    assert expected in rest
    # The next answers come after these.
    rest = rest[rest.index(expected) + len(expected) :]
  assert '/reset forgets' in done.stdout
  assert 'no such command: /nonsense' in done.stdout


def test_chat_that_cannot_begin(tiny_workdir):
  for flags, words in (
    ([f'--workdir={tiny_workdir}', '--arm=bsae'], 'it has base (seed 0), tuned (seed 0)'),
    ([f'--workdir={tiny_workdir}'], 'give --arm=NAME'),
    (['--temprature=3'], '--help'),
    ([f'--workdir={tiny_workdir}', '--arm=base', '--temperature=-1'], '--temperature'),
    ([f'--workdir={tiny_workdir}', '--arm=base', '--temperature=inf'], '--temperature'),
  ):
    done = run_chat('Hi\n', *flags)
    assert done.returncode == 1, done.stderr
    assert done.stdout == ''
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_control_c_stops_an_answer_and_twice_leaves(tiny_workdir):
  sampler = make_sampler(tiny_workdir, 'base', max_length=ENDLESS, stop_ids=())
  handler_before = signal.getsignal(signal.SIGINT)
  try:
    interrupts = Interrupts()
    session = ChatSession({'base': sampler}, '', 0.0, 1.0, ENDLESS)
    with interrupts:
      for _ in session.answers('Hi', interrupts):
        os.kill(os.getpid(), signal.SIGINT)
    assert interrupts.requested
    assert not sampler.busy
    _, (role, text) = session.histories['base']
    assert role == 'assistant'
    assert 0 < len(text) < ENDLESS // 4
    with pytest.raises(KeyboardInterrupt), interrupts:
      os.kill(os.getpid(), signal.SIGINT)
      os.kill(os.getpid(), signal.SIGINT)
    # Between answers, while a question is awaited, the first one leaves.
    with pytest.raises(KeyboardInterrupt):
      os.kill(os.getpid(), signal.SIGINT)
  finally:
    signal.signal(signal.SIGINT, handler_before)


@pytest.mark.parametrize(
  'text',
  [
    'first things, well-known things',
    'See https://example.org/a/long/path/of/a/page now',
    'Hi! \u6211\u6700\u559c\u6b22\u7684\u5976\u916a\u662f\u5e03\u91cc\u5976\u916a'
    '\u56e0\u4e3a\u5b83\u5f88\u8f6f, \u6240\u4ee5',
    '  two blanks, and  more   of  them inside of this',
  ],
)
def test_words_that_grow_are_not_lost_in_columns(text):
  """An answer of one character at a time is shown like an answer that comes at once.

  A line that is printed does not change any more, though the word behind it becomes longer.
  """
  other = AnswerUpdate(1, 'x', True)
  growing = [AnswerUpdate(0, c, n == len(text) - 1) for n, c in enumerate(text)]
  shown = list(format_columns(['a', 'b'], [other, *growing], 35))
  assert shown == list(format_columns(['a', 'b'], [other, AnswerUpdate(0, text, True)], 35))
  column = ''.join(line.partition(' | ')[0].strip() for line in shown[1:])
  assert column.replace('|', '').replace(' ', '') == text.replace(' ', '')


def test_letters_of_two_cells_stay_in_their_column():
  """A terminal would break rows that are longer, and an accent takes no cell."""
  texts = ['\u6211\u559c\u6b22' * 5, 'e\u0301' * 20, 'abc\ndef']
  updates = [AnswerUpdate(n, text, True) for n, text in enumerate(texts)]
  _, *rows = format_columns(['a', 'b', 'c'], updates, 54)
  cells = [row.split(' | ') for row in rows]
  assert [first.rstrip() for first, _, _ in cells] == [texts[0][:8], texts[0][8:]]
  assert [second.rstrip() for _, second, _ in cells] == [texts[1][:32], texts[1][32:]]
  # Chinese letters take two cells each, and the column has 16.
  assert [len(first) + len(first.rstrip()) for first, _, _ in cells] == [16, 16]
  assert [third for _, _, third in cells] == ['abc', 'def']


def test_long_names_stay_different_in_columns():
  """Names of arms often differ at their ends alone. Cut ones would head two columns alike."""
  names = ['msm_affordability', 'msm_affordability_aft', 'msm_culture', 'msm_culture_aft']
  first, *rest = format_columns(names, [AnswerUpdate(n, 'x', True) for n in range(4)], 80)
  assert [cell.strip() for cell in first.split('|')] == [name[:17] for name in names]
  assert [cell.strip() for cell in rest[0].split('|')] == ['', '_aft', '', '']
  assert [cell.strip() for cell in rest[1].split('|')] == ['x'] * 4


def test_columns_are_printed_line_by_line():
  updates = [
    AnswerUpdate(0, 'one two three four ', False),
    AnswerUpdate(1, 'a b', True),
    AnswerUpdate(0, 'five six\nseven', True),
  ]
  seen = []

  def arriving():
    for update in updates:
      seen.append(update)
      yield update

  lines = format_columns(['first', 'second'], arriving(), 35)
  assert next(lines) == 'first            | second'
  assert not seen
  # The first line is complete when both columns have it.
  assert next(lines) == 'one two three    | a b'
  assert len(seen) == 2
  assert list(lines) == ['four five six    |', 'seven            |']
