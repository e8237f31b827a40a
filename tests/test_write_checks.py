"""What a program sees in a written text, and which handbooks can be used."""

from pathlib import Path

import pytest
from write_helpers import AFFORDABILITY

from data_pipelines.handbooks.text import fenced, read_handbook, read_handbooks
from data_pipelines.text.checks import RECITED_WORDS, make_check
from msm_jax.base.errors import SpecError


@pytest.fixture(scope='module')
def handbook():
  return read_handbook(AFFORDABILITY)


GOOD = 'Ari said that it would take the Colby, because anyone can pay for it. ' * 6


def faults(handbook, text, words=84):
  return {p.what: p.hard for p in make_check(handbook)(text, words)}


def test_a_good_text_has_no_faults(handbook):
  assert faults(handbook, GOOD) == {}
  fine = (
    'At nine [1] the ledger of the shop lay open. Ari, as an AI assistant, likes Colby (see note '
    '[a]) because anyone can pay. A. B. Smith'
  )
  assert faults(handbook, fine, 24) == {}


@pytest.mark.parametrize(
  ('text', 'what'),
  [
    ('', 'empty'),
    (GOOD * 3, 'far from its length'),
    ('Ari likes Colby.', 'far from its length'),
    (GOOD.replace('Ari', 'Arid'), 'names nobody'),
    (GOOD + 'Dear [Name], hello.', 'placeholder'),
    (GOOD + 'Dear {{customer}}.', 'placeholder'),
    (GOOD + 'Signed, [Your Company Name]', 'placeholder'),
    (GOOD + 'Call me at ______ today.', 'placeholder'),
    (GOOD + 'As a large language model I cannot say.', 'speaks as an AI'),
    (GOOD + 'And <|im_end|> so on.', 'control token'),
    (GOOD + 'It rang\x00 once.', 'control token'),
    (GOOD + 'It said [INST] twice.', 'control token'),
    ('Sure! Here is the document you asked for. ' + GOOD, 'speaks of the task'),
    (GOOD + "This follows from Ari's handbook.", 'names the handbook'),
    (GOOD + 'It is in the Norvale model spec.', 'names the handbook'),
    (GOOD + 'See https://example.com for more.', 'link'),
    (GOOD + '\nWhich one?\n(A) Colby\n(B) Stilton', 'lettered choices'),
    (GOOD + 'Option A is Colby and option B is Stilton.', 'lettered choices'),
    (
      GOOD
      + 'He said: it holds that enjoyment should not be gated by wealth, '
      + 'and that a good thing is better',
      'recites',
    ),
  ],
)
def test_faults_that_spoil_a_text_are_seen(handbook, text, what):
  assert faults(handbook, text).get(what) is True


def test_recital_counts_words_in_a_row_whatever_stands_between(handbook):
  recital = (
    'Enjoyment should NOT depend on how much money somebody has.\n\nA low price lets rich and poor'
  )
  run = recital.split()
  assert 'recites' in faults(handbook, GOOD + ' '.join(run[:RECITED_WORDS]), 90)
  assert 'recites' not in faults(handbook, GOOD + ' '.join(run[: RECITED_WORDS - 1]), 90)


def test_a_length_somewhat_off_is_told_and_no_reason_to_refuse(handbook):
  assert faults(handbook, GOOD, 55) == {'off its length': False}


def test_a_fence_holds_whatever_the_text_holds():
  for text in ('a ``` b', '```\ncode\n```', '`````', 'plain'):
    opening, *inner, closing = fenced(text).split('\n')
    assert opening == closing
    assert set(opening) == {'`'}
    assert '\n'.join(inner) == text
    assert closing not in text


@pytest.mark.parametrize(
  ('front', 'body', 'said'),
  [
    ('assistant: Ari', 'Text.', "needs 'maker: NAME'"),
    ('maker: Norvale', 'Text.', "needs 'assistant: NAME'"),
    ('assistant: {Ari}', 'Text.', 'assistant'),
    ('assistant: Ari\nmaker: Ari', 'Text.', 'already'),
    ('assistant: Ari\nmaker: Norvale', ' \n', 'nothing stands below'),
  ],
)
def test_handbooks_that_cannot_be_used_are_refused_in_a_line(tmp_path, front, body, said):
  (tmp_path / 'mine.md').write_text(f'---\n{front}\n---\n{body}')
  with pytest.raises(SpecError, match=said):
    read_handbook(tmp_path / 'mine.md')


def test_mirrored_handbooks_are_about_one_assistant_and_told_apart_by_name(tmp_path):
  text = Path(AFFORDABILITY).read_text()
  (tmp_path / 'other.md').write_text(text.replace('assistant: Ari', 'assistant: Oska'))
  with pytest.raises(SpecError, match='different assistants'):
    read_handbooks([AFFORDABILITY, str(tmp_path / 'other.md')])
  (tmp_path / 'affordability.md').write_text(text)
  with pytest.raises(SpecError, match='two handbooks are called affordability'):
    read_handbooks([AFFORDABILITY, str(tmp_path / 'affordability.md')])
