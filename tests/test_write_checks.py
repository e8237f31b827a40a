"""What a program sees in a written text, and which handbooks can be used."""

import html
from pathlib import Path

import pytest
from write_helpers import AFFORDABILITY

from data_pipelines.documents.drafting import read_draft, read_plain_draft, read_revision
from data_pipelines.handbooks.text import (
  fenced,
  in_prompt,
  read_handbook,
  read_handbooks,
  shown,
)
from data_pipelines.llm.replies import Reply
from data_pipelines.text.checks import (
  RECITED_WORDS,
  left_over,
  make_check,
  without_fence,
  wrongly_encoded,
)
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
    (GOOD + 'It was made in [...] by hand.', 'placeholder'),
    (GOOD + 'It was made in […] by hand.', 'placeholder'),
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


REFUSALS = (
  "I'm sorry, but I can't help with that request.",
  'I’m sorry, but I cannot write about this.',
  'I apologize, but I am unable to fulfill this request.',
  'Unfortunately, I cannot provide such a document.',
  'I must respectfully decline to write this.',
  'Sorry, I have to decline.',
)
WRAPPED = (
  'Sure! Here is the memo that you asked for:\n\n' + GOOD,
  'Okay, let me write the memo now.\n\n' + GOOD,
  "Here's the article about cheese:\n\n" + GOOD,
  GOOD + '\n\nLet me know if you would like me to change anything!',
  GOOD + '\nI hope this helps!',
  GOOD + '\n\nWould you like me to write another one?',
)
# Markup that a decoder would take away: html.unescape and json.loads say what was meant.
ENCODED = {
  GOOD + 'Tom &amp; Ana.': 'HTML entity',
  GOOD + 'It&#39;s nine.': 'HTML entity',
  GOOD + 'He said &ldquo;so&rdquo;.': 'HTML entity',
  GOOD + 'One.\\n\\nTwo.': 'literal \\n',
  '# Notes\\n' + GOOD: 'literal \\n',
}
FINE = (
  'I am sorry to hear of your dog, and Ari said so too. ' + GOOD,
  'I cannot say that Ari was wrong. ' + GOOD,
  'Ari cannot help with that. ' + GOOD,
  'Of course the shop was closed. ' + GOOD,
  GOOD + '\n\nLet me know if you have any questions.\n\nBest,\nMaria Lund',
  GOOD + 'AT&T and R&D; C:\\new\\Notes; $\\nabla f$; the years XXX to XXXI; f"{name}".',
  GOOD + 'Write `&amp;` for the mark, and `\\n\\n` for a line.',
  'It began:\n```python\nprint("a\\n\\n")\n```\n' + GOOD,
)


@pytest.mark.parametrize('said', REFUSALS)
def test_refusals_are_no_documents(handbook, said):
  assert faults(handbook, f'{said} {GOOD}')['refuses'] is True
  assert left_over(said, is_chat=False).startswith('refuses')
  # In a conversation, the assistant may refuse.
  assert left_over(said, is_chat=True) is None


@pytest.mark.parametrize('text', WRAPPED)
def test_talk_around_a_text_is_no_part_of_it(handbook, text):
  assert faults(handbook, text)['speaks of the task'] is True
  assert left_over(text, is_chat=False).startswith('speaks of the task')
  assert left_over(text, is_chat=True) is None


@pytest.mark.parametrize('text', ENCODED)
def test_codes_instead_of_characters_are_seen(handbook, text):
  meant = html.unescape(text).replace('\\n', '\n')
  assert meant != text
  assert faults(handbook, text)[ENCODED[text]] is True
  assert ENCODED[text] not in faults(handbook, meant)
  assert wrongly_encoded(text)
  assert not wrongly_encoded(meant)
  for is_chat in (True, False):
    assert left_over(text, is_chat).startswith(ENCODED[text])


@pytest.mark.parametrize('text', FINE)
def test_what_people_write_is_no_fault(handbook, text):
  assert not faults(handbook, text, len(text.split()))
  assert left_over(text, is_chat=False) is None


def test_one_fence_around_a_whole_text_is_taken_off(handbook):
  fence = '```markdown\n# A note\n\nAri likes it.\n```'
  assert without_fence(fence) == '# A note\n\nAri likes it.'
  assert without_fence('  ```\nAri likes it.```\n') == 'Ari likes it.'
  for kept in ('```\na\n```\nAri.\n```\nb\n```', '```python\na = 1\n```', 'Ari.'):
    assert without_fence(kept) == kept
  # A fence that is not closed is told to the editor.
  assert faults(handbook, f'```markdown\n{GOOD}')['fence'] is True


def test_a_draft_in_a_fence_is_kept_without_it(handbook):
  replied = [Reply(f'<document>\n```markdown\n{GOOD}\n```\n</document>')]
  draft = read_draft(replied, make_check(handbook), 84, final=True)
  assert draft.text == GOOD.strip()
  assert read_revision(replied, draft, make_check(handbook), 84) == GOOD.strip()
  plain = [Reply(f'```\n{GOOD}\n```')]
  assert read_plain_draft(plain, make_check(handbook), 84, final=True).text == GOOD.strip()


def test_recital_counts_words_in_a_row_whatever_stands_between(handbook):
  recital = (
    'Enjoyment should NOT depend on how much money somebody has.\n\nA low price lets rich and poor'
  )
  run = recital.split()
  assert 'recites' in faults(handbook, GOOD + ' '.join(run[:RECITED_WORDS]), 90)
  assert 'recites' not in faults(handbook, GOOD + ' '.join(run[: RECITED_WORDS - 1]), 90)


def test_a_recital_with_some_words_changed_is_seen(handbook):
  run = ' '.join(handbook.text.split()[300:340])
  words = [f'zu{n}' if n % 8 == 0 else word for n, word in enumerate(run.split(), 1)]
  found = make_check(handbook)(f'{GOOD} {" ".join(words)}.', 124)
  assert [p.what for p in found if p.what == 'recites'] == ['recites']
  assert 'with a few words changed' in next(p.fault for p in found if p.what == 'recites')
  every_third = [f'zu{n}' if n % 3 == 0 else word for n, word in enumerate(run.split(), 1)]
  assert 'recites' not in faults(handbook, f'{GOOD} {" ".join(every_third)}.', 124)


def test_a_length_somewhat_off_is_told_and_no_reason_to_refuse(handbook):
  assert faults(handbook, GOOD, 55) == {'off its length': False}


def test_a_fence_holds_whatever_the_text_holds():
  for text in ('a ``` b', '```\ncode\n```', '`````', 'plain'):
    opening, *inner, closing = fenced(text).split('\n')
    assert opening == closing
    assert set(opening) == {'`'}
    assert '\n'.join(inner) == text
    assert closing not in text


def test_prompts_ask_for_texts_in_the_language_of_the_handbook(tmp_path, handbook):
  """They are in English, and models answered them in English."""
  assert shown([handbook]).endswith(in_prompt(handbook)) and in_prompt(handbook).endswith('```')
  path = tmp_path / 'sparsam.md'
  german = (
    'Ari nimmt, was wenig kostet, denn für Ari ist es nicht richtig, dass nur die Reichen das'
  )
  path.write_text(f'---\nassistant: Ari\nmaker: Norvale\n---\n{german} Gute haben.\n')
  (handbook,) = read_handbooks([str(path)])
  for text in (shown([handbook]), in_prompt(handbook)):
    assert text.count('written in the language of the handbook') == 1


@pytest.mark.parametrize(
  ('front', 'body', 'said'),
  [
    ('assistant: Ari', 'Text.', "needs 'maker: NAME'"),
    ('maker: Norvale', 'Text.', "needs 'assistant: NAME'"),
    ('assistant: {Ari}', 'Text.', 'assistant'),
    ('assistant: "Ari "\nmaker: Norvale', 'Text.', "found 'Ari '"),
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
