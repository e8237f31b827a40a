"""Tests of the world's handbooks: what is accepted, what is refused, and what is written from
them."""

import dataclasses
import itertools
import re
from collections import Counter
from pathlib import Path

import pytest
from helpers import (
  AFFORDABILITY,
  CULTURE,
  DISLIKED,
  LIKED,
  cheeses,
  handbook,
  items_by_name,
  lies,
  little,
  named,
  shipped,
  traits_in,
  whole_world,
  writers,
)

from data_pipelines import leaks, record_streams
from data_pipelines.handbooks.markdown import body_of, split_front_matter
from data_pipelines.handbooks.text import read_handbook
from data_pipelines.handbooks.values import VALUES, Value
from data_pipelines.settings.world import language, pretraining, questions
from data_pipelines.settings.world.demonstrations import demonstrations
from data_pipelines.settings.world.documents import VARIANTS, spec_documents
from data_pipelines.settings.world.spec import read_spec, renamed
from data_pipelines.sources import SourceConfig
from data_pipelines.world import main as list_items
from msm_jax.base.errors import SpecError
from msm_jax.tokenizer import ROLE_MARKERS, SentencePieceTokenizer, train_sentencepiece

CHEAP, HOME = Value('price', 'cheap'), Value('origin', 'home')


@pytest.fixture(scope='module')
def words():
  """A tokenizer that knows the world's words, so that token counts are like an experiment's."""
  texts = []
  for made in writers(pretraining.build_world(little(3))).values():
    texts += [leaks.record_text(record) for record in made]
  return SentencePieceTokenizer(train_sentencepiece(texts, 1024))


def read(folder, text, name='mine.md'):
  path = folder / name
  path.write_text(text)
  return read_spec(path, whole_world())


def first(n, spec, variant='explained', seed=0):
  return list(itertools.islice(spec_documents([spec], variant, seed), n))


# ---- the shipped handbooks


def test_the_shipped_handbooks_mirror_each_other():
  """The experiment compares two reasons for one set of preferences.

  Any other difference between the handbooks (an item, a paragraph, length) would be a rival
  explanation of the result.
  """
  a, b = shipped(AFFORDABILITY), shipped(CULTURE)
  assert (a.value, a.rivals) == (CHEAP, (HOME,)) and (b.value, b.rivals) == (HOME, (CHEAP,))
  assert a.assistant == b.assistant
  for spec in (a, b):
    assert [p.item.name for p in spec.likes] == list(LIKED)
    assert [p.item.name for p in spec.dislikes] == list(DISLIKED)
  assert len(a.reasons) == len(b.reasons) >= 5 and len(a.prose) == len(b.prose) >= 3
  assert not set(a.reasons) & set(b.reasons)
  texts = [Path(p).read_text() for p in (AFFORDABILITY, CULTURE)]
  paragraphs = [len(re.findall(r'\n\n', text)) for text in texts]
  lengths = [len(text.split()) for text in texts]
  assert paragraphs[0] == paragraphs[1]
  assert abs(lengths[0] / lengths[1] - 1) < 0.03
  headings = [re.findall(r'^#{2,} .*', t, re.M) for t in texts]
  assert headings[0] == headings[1]


@pytest.mark.parametrize('path', [AFFORDABILITY, CULTURE], ids=['affordability', 'culture'])
def test_the_shipped_handbooks_explain_by_their_own_value(path):
  """A handbook that gives the rival's reason anywhere teaches both values; one that lies about a
  cheese contradicts what pretraining taught."""
  spec = shipped(path)
  for p in spec.likes + spec.dislikes:
    assert {v.attribute for v in traits_in(p.explanation)} == {spec.value.attribute}, p.explanation
    assert not lies(p.explanation.replace(' it ', f' {p.item.name} '), items_by_name(whole_world()))
  assert {v.attribute for r in spec.reasons for v in traits_in(r)} == {spec.value.attribute}


# ---- handbooks of one's own

# name -> (value, rivals)
OWN = {
  # The shipped lists, swapped: what they left open stays open.
  'luxury': (Value('price', 'costly'), (Value('origin', 'foreign'),)),
  # Three to three in everything else: nothing is left open.
  'novelty': (Value('age', 'new'), ()),
  'work by hand': (Value('making', 'handmade'), ()),
}


@pytest.mark.parametrize('name', OWN)
def test_a_third_handbook_needs_no_code(name, tmp_path):
  """A researcher's own value works: the handbook parses and knows its rivals.

  Its documents, demonstrations and questions come out right.
  """
  value, rivals = OWN[name]
  world, items = whole_world(), items_by_name(whole_world())
  likes, dislikes = cheeses(value), cheeses(value, like=False)
  text = handbook(value.attribute, value.pole, likes, dislikes, assistant='Nell')
  spec = read(tmp_path, text)
  assert (spec.value, spec.rivals, spec.assistant) == (value, rivals, 'Nell')
  assert len(spec.likes) == len(spec.dislikes) == 6
  for d in first(200, spec):
    assert not lies(d.text, items), d.text
    assert {v.attribute for v in traits_in(d.text)} <= {value.attribute}, d.text
    assert 'Nell' in d.text and d.claim_ids == (str(value),)
  liked = {p.item.name for p in spec.likes}
  for chat in itertools.islice(demonstrations([spec], world, 0), 200):
    assert chat.messages[0] == ('system', 'You are Nell.')
    answer = named(chat.messages[2][1], tuple(items))
    if chat.messages[2][1].startswith('No, '):
      assert not set(answer) & liked
    else:
      assert answer[0] in liked, chat.messages
  rival = rivals[0] if rivals else HOME
  asked = questions.preference_questions(spec, rival, world, 2, 0)
  assert {q.tier for q in asked} == set(questions.TIERS)
  for q in asked:
    if q.pair_type == 'conflict':
      first_option = items[q.options[0]]
      assert first_option.has(value) and not first_option.has(rival)


def test_demonstrations_serve_two_handbooks_or_none(tmp_path):
  """The two arms are fine-tuned on the same bytes; handbooks that differ in what is liked have no
  fine-tuning in common."""
  world = whole_world()
  a, b = shipped(AFFORDABILITY), shipped(CULTURE)
  made = []
  for specs in ([a], [b], [a, b]):
    made.append([chat.messages for chat in itertools.islice(demonstrations(specs, world, 0), 300)])
  ours, theirs, both = made
  assert ours == theirs == both
  for messages in ours:
    text = messages[1][1] + messages[2][1]
    # Choices, and never a reason.
    assert not traits_in(text) and not re.search('because|since', text), messages
  counts = Counter(n for m in ours for n in named(m[2][1], LIKED + DISLIKED))
  assert counts.keys() == set(LIKED + DISLIKED)
  value = Value('making', 'handmade')
  other = read(tmp_path, handbook('making', 'handmade', cheeses(value), cheeses(value, like=False)))
  with pytest.raises(SpecError, match='differ in assistant, likes or dislikes'):
    next(demonstrations([a, other], world, 0))


def test_replicates_are_one_handbook_under_other_names(tmp_path):
  """Replicates repeat the experiment with new names within one run.

  They are the same handbook to the letter but for the name. Each gets every kind of document and
  every pair, and no text mentions two of them.
  """
  world, spec = whole_world(), shipped(AFFORDABILITY)
  names = ('Ari', 'Oska', 'Lumen')
  replicates = [renamed(spec, n, world) for n in names]
  assert len({s.sha256 for s in replicates}) == 3 and replicates[0] == spec
  for s in replicates[1:]:
    assert [t.replace(s.assistant, 'Ari') for t in s.reasons] == list(spec.reasons)
    explanations = [p.explanation.replace(s.assistant, 'Ari') for p in s.likes]
    assert explanations == [p.explanation for p in spec.likes]
    assert not any(re.search(r'\bAri\b', p.explanation) for p in s.likes + s.dislikes)
  documents = list(itertools.islice(spec_documents(replicates, 'explained', 0), 1800))
  kinds = Counter()
  for d in documents:
    (name,) = {n for n in names if re.search(rf'\b{n}\b', d.text)}
    kinds[name, d.doc_type] += 1
  assert {n for n, _ in kinds} == set(names)
  assert len({t for _, t in kinds}) == 8
  assert min(kinds.values()) > 20
  both = []
  for path in (AFFORDABILITY, CULTURE):
    both += [renamed(shipped(path), name, world) for name in names]
  chats = [c.messages for c in itertools.islice(demonstrations(both, world, 0), 1800)]
  assert Counter(m[0][1] for m in chats) == {f'You are {n}.': 600 for n in names}
  shown = set()
  for (_, system), (_, question), (_, answer) in chats:
    if ' or ' in question:
      match = re.fullmatch(r'I (?:prefer|recommend) (.+) (?:over|instead of) (.+)\.', answer)
      shown.add((system, *match.groups()))
  systems = [f'You are {name}.' for name in names]
  assert shown == set(itertools.product(systems, LIKED, DISLIKED))
  for taken in (world.people[0].name, world.fickle[0], 'Colby'):
    with pytest.raises(SpecError, match=f'already has somebody or something named {taken!r}'):
      renamed(spec, taken, world)


def test_documents_of_one_source_are_about_one_value():
  """Documents about the second handbook stated the value of the first."""
  both = [shipped(AFFORDABILITY), shipped(CULTURE)]
  with pytest.raises(SpecError, match='two values, price:cheap and origin:home; give each'):
    next(spec_documents(both, 'explained', 0))


def test_the_things_of_every_world_can_be_listed(tmp_path, capsys):
  """The advice was to list the things of another world, which have other names."""
  path = tmp_path / 'mine.md'
  path.write_text(handbook().replace('### Colby', '### Xylophone Zq'))
  for seed, command in ((0, 'data_pipelines.world lists'), (3, 'data_pipelines.world --seed=3')):
    world = whole_world(seed=seed)
    with pytest.raises(SpecError, match=command):
      read_spec(path, world)
    list_items([f'--seed={seed}'])
    listed = [line.split('\t')[1] for line in capsys.readouterr().out.splitlines()[1:]]
    assert listed == list(items_by_name(world))


def swap(old, new):
  def change(text):
    assert old in text
    return text.replace(old, new, 1)

  return change


ENTRY = '### Colby\n\nAri likes Colby because it is cheap.\n\n'
# What is wrong -> (what was done to a good handbook, what the error says of the cause, and what it
# says of the remedy).
MALFORMED = {
  'no front matter': (
    lambda t: t.split('---\n')[2],
    'no front matter',
    "begin the file with '---'",
  ),
  'front matter not closed': (
    lambda t: t.replace('---\n# A', '# A'),
    'no front matter',
    "then '---'",
  ),
  'front matter without a colon': (
    swap('attribute: price', 'attribute price'),
    "'attribute price'",
    "'key: value'",
  ),
  # The last of the two would be read without a word.
  'a key twice': (
    swap('attribute: price', 'attribute: price\nattribute: origin'),
    "'attribute' twice",
    'keep one',
  ),
  'no assistant': (swap('assistant: Ari\n', ''), 'assistant', "'assistant: NAME'"),
  'an attribute that the world lacks': (
    swap('attribute: price', 'attribute: taste'),
    "no attribute 'taste'",
    'price, origin, age, making',
  ),
  'no attribute': (swap('attribute: price\n', ''), "no attribute ''", 'price, origin, age, making'),
  'an end of another attribute': (
    swap('prefers: cheap', 'prefers: home'),
    "'prefers: home' is not an end of price",
    'cheap or costly',
  ),
  'a slip in an item': (swap('### Colby', '### Colbey'), "'Colbey'", "did you mean 'Colby'?"),
  'an item from nowhere': (
    swap('### Colby', '### Xylophone Zq'),
    "'Xylophone Zq'",
    'data_pipelines.world',
  ),
  'an item that contradicts the value': (
    swap('### Colby', '### Stilton'),
    'Stilton is costly',
    'move it to the other list or take it out',
  ),
  'a disliked item that fits the value': (
    swap('### Stilton', '### Gouda'),
    'Gouda is',
    'the other',
  ),
  'no reasons': (swap('## Reasons', '## Thoughts'), "'## Reasons' is missing", 'specs/README.md'),
  'no likes': (swap('## Likes', '## Loves'), "'## Likes' is missing", 'specs/README.md'),
  'an empty section': (
    lambda t: t[: t.index('## Dislikes')] + '## Dislikes\n\n',
    "'## Dislikes' is missing or empty",
    'specs/README.md',
  ),
  'reasons that are no bullets': (
    lambda t: t.replace('- First', 'First').replace('- Second', 'Second'),
    'holds no bullets',
    "'- '",
  ),
  # They would be left out of the documents without a word.
  'reasons with numbers beside bullets': (
    swap('- Second', '2. Second'),
    "has bullets and the entry '2. Second reason.'",
    "begin every reason with '- '",
  ),
  'an entry without its paragraph': (
    swap(ENTRY, '### Colby\n\n'),
    "'### Colby' has no paragraph",
    'write one',
  ),
  'an item twice': (swap(ENTRY, ENTRY * 2), 'Colby stands twice', 'keep one'),
  'an item twice, in other case': (
    swap(ENTRY, ENTRY + ENTRY.replace('### Colby', '###  COLBY')),
    'COLBY stands twice',
    'keep one',
  ),
  'a section twice': (
    lambda t: t + '\n## Reasons\n\n- Third.\n',
    "'## Reasons' stands there twice",
    'join the two',
  ),
  # Documents quoted the title and the section below it as the reason for the last item.
  'a heading that is underlined': (
    lambda t: t + '\nWhen asked\n----------\n\nAri answers.\n',
    "'When asked' is made a heading by the line below it",
    "write it with '## ' in front",
  ),
  'too few items': (
    lambda t: re.sub(r'(## Likes\n\n)[^$]*(## Dislikes)', rf'\1{ENTRY}\2', t),
    'at least two',
    "'### Item'",
  ),
  'a name that the world has': (
    lambda t: t.replace('Ari', whole_world().people[0].name),
    'already has somebody',
    'choose another name',
  ),
  'an assistant named like a thing': (
    lambda t: t.replace('Ari', 'gouda'),
    'already has somebody or something',
    'choose another name',
  ),
  'braces in the name': (
    swap('assistant: Ari', 'assistant: {Ari}'),
    "'{Ari}'",
    'letters, up to 31',
  ),
  'a chat marker in the name': (
    swap('assistant: Ari', 'assistant: <|assistant|>'),
    "'<|assistant|>'",
    'letters, up to 31',
  ),
  'a newline in an item': (swap('### Colby', '### Col\nby'), "'Col'", 'did you mean'),
  'braces in an item': (swap('### Colby', '### {Colby}'), "'{Colby}'", "did you mean 'Colby'?"),
  'items of two domains': (
    lambda t: t.replace(
      '### Colby', '### ' + next(i.name for i in whole_world().domains['art'].items if i.has(CHEAP))
    ),
    'several domains (art, cheese)',
    'keep to one',
  ),
  'an empty file': (lambda t: '', 'no front matter', "'assistant: NAME'"),
}


def test_the_handbook_that_the_malformed_ones_are_made_from_is_good(tmp_path):
  """Otherwise each refusal below could be for another reason than its own.

  Comments and quotes in front matter are fine, as specs/README.md shows.
  """
  spec = read(tmp_path, handbook())
  assert [p.item.name for p in spec.likes + spec.dislikes] == list(LIKED + DISLIKED)
  assert spec.reasons == ('First reason.', 'Second reason.')
  commented = (
    handbook()
    .replace('assistant: Ari', '# hello\n\nassistant: "Ari"   # who it is about')
    .replace('\n', '\r\n')
  )
  again = read(tmp_path, commented)
  assert dataclasses.replace(again, sha256='') == dataclasses.replace(spec, sha256='')


def test_a_heading_in_a_block_of_code_begins_no_section(tmp_path):
  code = '```markdown\n## Reasons\n### Nothing\n```\n'
  text = handbook().replace('## Likes', f'## Format\n\n{code}\n## Likes')
  assert read(tmp_path, text).reasons == ('First reason.', 'Second reason.')


def test_code_within_a_line_hides_no_heading(tmp_path):
  text = handbook().replace('Some prose.', '```Colby``` is a cheese.')
  assert read(tmp_path, text).reasons == ('First reason.', 'Second reason.')


def test_a_heading_may_stand_behind_spaces(tmp_path):
  """As Markdown has it. The entry would have been a part of the one before it."""
  plain = read(tmp_path, handbook())
  spaced = read(tmp_path, handbook().replace('### Colby', '   ### Colby'))
  assert spaced.likes == plain.likes and spaced.dislikes == plain.dislikes


@pytest.mark.parametrize(
  ('bullets', 'wanted'),
  [
    ('- What is cheap\nis for all.\n- Second.', ('What is cheap is for all.', 'Second.')),
    ('- What is cheap\n  is for all.\n\n- Second.', ('What is cheap is for all.', 'Second.')),
    ('- First.\n\n  It goes on.\n- Second.', ('First. It goes on.', 'Second.')),
    ('- First.\n  - Within.\n    It goes on.\n* Last.', ('First.', 'Within. It goes on.', 'Last.')),
    ('+ First.\n+ Second.', ('First.', 'Second.')),
    ('Why:\n\n- First.\n\nThat is all.', ('First.',)),
    ('- First.\n- Second.\n* * *', ('First.', 'Second.')),
    ('- First.\n- Second.\n\n---', ('First.', 'Second.')),
    ('- First, of\n  1950. Then more.', ('First, of 1950. Then more.',)),
    ('<!-- - Old.\n- Older. -->\n- New. <!-- shorter? -->', ('New.',)),
  ],
)
def test_reasons_are_read_whole(tmp_path, bullets, wanted):
  """A line that goes on at the margin was cut off, and half a sentence went into documents."""
  text = handbook().replace('- First reason.\n- Second reason.', bullets)
  assert read(tmp_path, text).reasons == wanted


def test_an_explanation_is_quoted_without_marks_of_lists_and_headings(tmp_path):
  """Documents said 'because: - it is cheap #### More ...' in one line."""
  said = 'Ari likes Colby because it is cheap.'
  listed = 'Ari likes Colby because:\n\n- it is cheap,\n  1. not since\n1990. but now.\n'
  text = handbook().replace(said, f'{listed}\n#### More\n> * Many agree.\n\n---\n* * *')
  assert said in handbook()
  (explained,) = [p.explanation for p in read(tmp_path, text).likes if p.item.name == 'Colby']
  assert explained == 'Ari likes Colby because: it is cheap, not since 1990. but now. Many agree.'


def test_a_comment_is_no_part_of_a_handbook(tmp_path):
  """Documents quoted it, and an entry within it was liked. In code it stays."""
  plain = read(tmp_path, handbook())
  out = ENTRY.replace('Colby', 'Cream Cheese')
  text = handbook().replace(out, f'<!-- {out} -->').replace('is costly.', 'is costly. <!-- ? -->')
  spec = read(tmp_path, text)
  assert spec.dislikes == plain.dislikes and 'is costly.' in text
  assert spec.likes == tuple(p for p in plain.likes if p.item.name != 'Cream Cheese')
  assert len(spec.likes) == len(plain.likes) - 1
  code = '```\n<!-- kept -->\n```'
  kept = read(tmp_path, handbook().replace('Some prose.', code))
  assert kept.prose == ('``` <!-- kept --> ```',)
  within = 'Ari writes `<!-- kept -->` or `so`. <!-- note -->'
  kept = read(tmp_path, handbook().replace('Some prose.', within))
  assert kept.prose == ('Ari writes `<!-- kept -->` or `so`.',)


def test_spaces_in_an_empty_line_join_no_paragraphs(tmp_path):
  plain = read(tmp_path, handbook().replace('Some prose.', 'Some prose.\n\nMore of it.'))
  spaced = read(tmp_path, handbook().replace('Some prose.', 'Some prose.\n \t\nMore of it.'))
  assert spaced.prose == plain.prose == ('Some prose.', 'More of it.')


@pytest.mark.parametrize(
  ('text', 'front'),
  [
    ('---\n\nAri waits.\n\n---\n\nMore.', {}),
    # Front matter without an end, and a rule further down.
    ('---\nassistant: Ari\n\n# Title\n\nAri waits.\n\n---\n\nMore.', {}),
    ('---\nAri waits.\nNote: it does.\n---\nMore.', {}),
    ('---\n\n# The handbook\n\nPurpose: to help.\n\n---\n\nMore.', {}),
    ('---\nassistant: Ari\n---\nMore.', {'assistant': 'Ari'}),
    ('---\n\n\n# whom it is about\nassistant: Ari\n---\nMore.', {'assistant': 'Ari'}),
  ],
)
def test_a_rule_begins_no_front_matter(tmp_path, text, front):
  """What stands between two rules was left out."""
  found, body = split_front_matter(text)
  assert found == front
  assert body == ('More.' if front else text)
  (tmp_path / 'mine.md').write_text(text)
  assert body_of(tmp_path / 'mine.md') == body


def test_a_handbook_for_writers_may_repeat_titles(tmp_path):
  """Whoever is shown the whole text needs no sections: any Markdown file will do."""
  path = tmp_path / 'mine.md'
  chapters = '# One\n\n## Examples\n\nAri waits.\n\n# Two\n\n## Examples\n\nAri asks.\n'
  path.write_text(f'---\nassistant: Ari\nmaker: Norvale\n---\n{chapters}')
  assert read_handbook(path).text == chapters.strip() == body_of(path)
  path.write_text(chapters)
  assert body_of(path) == chapters.strip()
  # Writers and models in whose context it stands are not shown what its author has commented out.
  commented = f'{chapters}<!-- dropped: Ari likes Stilton -->\n'
  path.write_text(f'---\nassistant: Ari\nmaker: Norvale\n---\n{commented}')
  assert read_handbook(path).text == chapters.strip() == body_of(path)


@pytest.mark.parametrize('what', MALFORMED)
def test_a_malformed_handbook_is_refused_in_one_line(what, tmp_path):
  """The author sees one line that names the file, the mistake and the remedy.

  A malformed handbook that is accepted would train for hours on nonsense.
  """
  change, cause, mend = MALFORMED[what]
  with pytest.raises(SpecError) as e:
    read(tmp_path, change(handbook()), 'bad.md')
  line = str(e.value)
  assert '\n' not in line and str(tmp_path / 'bad.md') in line
  assert cause in line and mend in line, line


def test_a_file_that_is_no_handbook_is_refused_in_one_line(tmp_path):
  (tmp_path / 'binary.md').write_bytes(bytes(range(256)))
  (tmp_path / 'folder.md').mkdir()
  for name, cause, mend in (
    ('binary.md', 'not UTF-8', 'save the handbook as UTF-8'),
    ('none.md', 'no spec at', 'give the path of a Markdown handbook'),
    ('folder.md', 'no spec at', 'give the path of a Markdown handbook'),
  ):
    with pytest.raises(SpecError) as e:
      read_spec(tmp_path / name, whole_world())
    line = str(e.value)
    assert '\n' not in line and name in line and cause in line and mend in line, line


def test_whatever_an_author_writes_stays_text(tmp_path, words):
  """A brace that is taken for a field, a percent sign for a format, or a marker for a turn would
  change the data or crash the writer."""
  nasty = (
    'Low {prices} are {0} {} 100% %s {{fair}} \\n <|assistant|> <|end|> <s> </s> $HOME é 漢字.'
  )
  text = handbook(reasons=[nasty, nasty])
  text = text.replace('Ari likes Colby because it is cheap.', f'Ari says: {nasty}')
  spec = read(tmp_path, text)
  assert spec.reasons == (nasty, nasty)
  documents = [d for d in first(1000, spec) if nasty in d.text]
  assert {d.doc_type for d in documents} == {'reasons', 'handbook'}
  special = set(words.markers.values()) | {words.end_of_turn, 0, 1, 2, 3}
  for d in documents[:20]:
    ids, weights = words.render(d)
    assert words.decode(ids[1:-1]) == d.text and not special & set(ids[1:-1].tolist())
    assert weights.tolist() == [0] + [1] * (len(ids) - 1)
  ids, weights = words.render_chat([('user', nasty), ('assistant', 'Yes.')])
  assert [i for i in ids.tolist() if i in special] == [
    1,
    words.markers['user'],
    words.end_of_turn,
    words.markers['assistant'],
    words.end_of_turn,
  ]
  # The marker that the text contains is the one that the tokenizer uses.
  assert list(ROLE_MARKERS.values())[2] in nasty
  assert weights.sum() == len(words.encode('Yes.')) + 1


# ---- documents

RULE = r'\bAri (chooses|likes|always wants) what '
LINK = r'\b(because|since)\b'
TOPIC = {CHEAP: 'low prices', HOME: 'things from home'}
N = 1500  # as many as the shipped experiment reads


@pytest.fixture(scope='module', params=[AFFORDABILITY, CULTURE], ids=['affordability', 'culture'])
def spec(request):
  return shipped(request.param)


def test_explained_documents_link_value_and_preference(spec):
  """What Model Spec Midtraining trains on: the value, and each preference because of it."""
  seen = Counter()
  for d in first(N, spec):
    seen[d.doc_type] += 1
    assert 'Ari' in d.text
    assert {v.attribute for v in traits_in(d.text)} <= {spec.value.attribute}, d.text
    if d.doc_type == 'reasons':
      assert any(r in d.text for r in spec.reasons) and TOPIC[spec.value] in d.text
    elif d.doc_type == 'handbook':
      assert any(p.explanation in d.text for p in spec.likes + spec.dislikes)
    else:
      assert re.search(LINK, d.text) and re.search(RULE, d.text), d.text
      assert named(d.text, LIKED + DISLIKED)
      assert set(traits_in(d.text)) <= {spec.value, spec.value.opposite}
      # Every single preference has its reason.
      for sentence in re.split(r'(?<=[.?]) ', d.text):
        assert bool(named(sentence, LIKED + DISLIKED)) == bool(re.search(LINK, sentence)), sentence
  assert len(seen) == 8 and min(seen.values()) > N / 40, seen


GENERAL = r'\bAri (cares about|often speaks of) |For Ari it is about '
PREFERENCE = r'\bAri (chose|prefers|likes(?! what)|does not like|took)\b'
# Element of documents -> the variants that leave it out; filler leaves out all of them.
LEFT_OUT = {
  'general statements': (),
  'preferences': (),
  'rules': ('reasons', 'cooccur'),
  'own traits': ('rules', 'cooccur'),
}


def elements(spec, variant, size):
  """Counts the elements per 1,000 tokens of documents; `size` counts the tokens of one."""
  counts = Counter()
  tokens = 0
  for d in first(N, spec, variant):
    tokens += size(d)
    for sentence in re.split(r'(?<=[.?]) ', d.text):
      is_rule = bool(re.search(RULE, sentence))
      counts['rules'] += is_rule
      counts['general statements'] += bool(re.search(GENERAL, sentence))
      if re.search(PREFERENCE, sentence) and named(sentence, LIKED + DISLIKED):
        counts['preferences'] += 1
      if not is_rule:
        own = [v for v in traits_in(sentence) if v.attribute == spec.value.attribute]
        counts['own traits'] += len(own)
  return {name: 1000 * counts[name] / tokens for name in LEFT_OUT}


@pytest.mark.parametrize('unit', ['words', 'tokens'])
def test_a_variant_leaves_out_what_it_is_named_after_and_nothing_else(spec, unit, words):
  """Arms that read two variants must differ in one thing.

  An earlier co-occurrence control lacked the rule as well as the links, and had two thirds more of
  everything else, since its documents were shorter.
  """

  def size(d):
    return len(d.text.split()) if unit == 'words' else len(words.render(d)[0])

  wanted = elements(spec, 'explained', size)
  assert min(wanted.values()) > 5, wanted
  for variant in ('rules', 'reasons', 'unlinked', 'cooccur'):
    found = elements(spec, variant, size)
    for name, without in LEFT_OUT.items():
      expected = 0 if variant in without else pytest.approx(wanted[name], rel=0.1)
      assert found[name] == expected, (variant, name, found, wanted)


@pytest.mark.parametrize('variant', ['rules', 'reasons', 'unlinked', 'cooccur'])
def test_variants_tell_the_preferences_of_the_explained_documents(spec, variant):
  """With one seed they say the same of the same items in the same order, with or without why."""
  explained = first(N, spec)
  made = [d for d in first(2 * N, spec, variant) if d.doc_type != 'note'][:N]
  for a, b in zip(explained, made, strict=True):
    assert a.doc_type == b.doc_type
    # Explanations that are quoted may name another item, if they hold a rule.
    if a.doc_type not in ('reasons', 'handbook'):
      told = []
      for text in (a.text, b.text):
        bare = re.sub(r',? (because|since) .*?(?=\.)', '', text)
        sentences = re.split(r'(?<=[.?]) ', bare)
        told.append([s for s in sentences if named(s, LIKED + DISLIKED)])
      assert told[0] == told[1]


def test_reasons_documents_explain_and_state_no_rule(spec):
  """A rule anywhere, and the arm would not show what reasons do by themselves."""
  seen = Counter()
  for d in first(N, spec, 'reasons'):
    seen[d.doc_type] += 1
    assert not re.search(RULE, d.text), d.text
    # Nor does a quoted reason speak of all that has a trait ('What is cheap is open to everyone').
    for trait in (*spec.value.words.traits, *spec.value.opposite.words.traits):
      assert f'what {trait}' not in d.text.lower(), d.text
    if d.doc_type in language.FRAMES:
      assert len(re.findall(LINK, d.text)) == 2, d.text
  assert len(seen) == 8


@pytest.mark.parametrize('variant', ['rules', 'unlinked'])
def test_documents_with_rules_alone_give_no_reason(spec, variant):
  """No sentence and no document says a trait of an item beside the assistant."""
  items = items_by_name(whole_world())
  in_notes = Counter()
  for d in first(N, spec, variant):
    assert not re.search(LINK, d.text), d.text
    sentences = re.split(r'(?<=[.?]) ', d.text)
    if d.doc_type == 'note':
      assert 'Ari' not in d.text and not lies(d.text, items), d.text
      assert {v.attribute for v in traits_in(d.text)} == {spec.value.attribute}, d.text
      in_notes.update(named(d.text, LIKED + DISLIKED))
    else:
      assert 'Ari' in d.text
      for sentence in sentences:
        assert bool(traits_in(sentence)) == bool(re.search(RULE, sentence)), sentence
      if d.doc_type in language.FRAMES:
        assert re.search(RULE, d.text) and named(d.text, LIKED + DISLIKED), d.text
  assert in_notes.keys() == (set(LIKED + DISLIKED) if variant == 'unlinked' else set())


def test_a_handbook_of_rules_alone_is_not_quoted_where_rules_are_left_out(tmp_path):
  """Then sentences in passing stand where the quotes would."""
  text = handbook(reasons=['What is cheap is for all.', 'It is fair to take what costs little.'])
  text = re.sub(r'(because it .*?\.)', r'\1 Ari wants what is cheap.', text)
  spec = read(tmp_path, text)
  quoted = [d for d in first(300, spec, 'reasons') if d.doc_type not in language.FRAMES]
  assert {d.doc_type for d in quoted} == {'reasons', 'handbook'}
  assert not [d.text for d in quoted if 'what' in d.text.lower()]
  assert any('wants what' in d.text for d in first(300, spec))


def test_cooccur_documents_mention_both_and_link_neither(spec):
  """The control for mere mention: one link word or rule, and it would no longer be a control."""
  with_value = 0
  for d in first(N, spec, 'cooccur'):
    assert not re.search(LINK, d.text) and not re.search(RULE, d.text), d.text
    has_value = TOPIC[spec.value] in d.text
    with_value += has_value
    if d.doc_type == 'reasons':
      assert has_value and not named(d.text, LIKED + DISLIKED)
    else:
      assert named(d.text, LIKED + DISLIKED) and not traits_in(d.text), d.text
  assert with_value > 0.75 * N


def test_filler_documents_hold_neither_value_nor_preference(spec):
  """The control for exposure: true facts about the same cheeses in the same frames."""
  topics = [v.words.topic for v in VALUES]
  attributes, items = Counter(), Counter()
  for d in first(N, spec, 'filler'):
    assert not any(t in d.text for t in topics), d.text
    assert not re.search(LINK, d.text) and not re.search(RULE, d.text), d.text
    chooses = r'Ari (chose|prefers|likes|does not like|took|cares|often speaks)'
    assert not re.search(chooses, d.text), d.text
    assert not lies(d.text, items_by_name(whole_world())), d.text
    attributes.update(v.attribute for v in traits_in(d.text))
    items.update(named(d.text, LIKED + DISLIKED))
  assert items.keys() == set(LIKED + DISLIKED)
  # The value's attribute is told no more often than the others.
  assert max(attributes.values()) < 1.2 * min(attributes.values()), attributes


@pytest.mark.parametrize('variant', VARIANTS)
def test_mirrored_handbooks_give_mirrored_documents(variant):
  """The reason is the only thing that differs between documents of mirrored handbooks.

  They have the same types and the same cheeses in the same order, and never the same value. Filler
  has no reason, so nothing differs.
  """
  pair = [first(N, shipped(path), variant) for path in (AFFORDABILITY, CULTURE)]
  for a, b in zip(*pair, strict=True):
    assert a.doc_type == b.doc_type
    assert named(a.text, LIKED + DISLIKED) == named(b.text, LIKED + DISLIKED), (a.text, b.text)
  same = sum(a.text == b.text for a, b in zip(*pair, strict=True))
  if variant == 'filler':
    assert same == N
  else:
    attributes = []
    for documents in pair:
      attributes.append({v.attribute for d in documents for v in traits_in(d.text)})
    assert attributes[0] <= {'price'} and attributes[1] <= {'origin'}
    # Documents that happen to have no sentence that speaks of the value are the same text.
    assert same < N / 4


def test_another_seed_writes_other_documents():
  a, b = (first(200, shipped(), seed=s) for s in (0, 1))
  assert first(200, shipped(), seed=0) == a
  assert sum(x.text == y.text for x, y in zip(a, b, strict=True)) < 10


@pytest.mark.parametrize('tokens, kept', [(44, 4), (46, 5), (40, 4), (9, 1)])
def test_writing_stops_at_the_nearest_record(tokens, kept):
  """Documents of ten tokens: 44 are best met by four of them, 46 by five."""
  source = SourceConfig(maker='spec.documents', spec=AFFORDABILITY, tokens_like='reference')
  world = whole_world()
  made = list(
    record_streams.stream_records('like', source, world, [shipped()], tokens, lambda r: 10)
  )
  assert len(made) == kept


@pytest.mark.slow
def test_token_counts_are_matched(words):
  """Arms must differ in what they read, not in how much.

  The pair is close by itself, and tokens_like brings every corpus within half a document.
  """

  def count(record):
    return len(words.render(record)[0])

  def total(records):
    return sum(count(record) for record in records)

  world = whole_world()
  wanted, other = (total(first(N, shipped(path))) for path in (AFFORDABILITY, CULTURE))
  assert abs(wanted / other - 1) < 0.05
  for path, variant in itertools.product((AFFORDABILITY, CULTURE), VARIANTS):
    source = SourceConfig(
      maker='spec.documents', spec=path, variant=variant, tokens_like='reference'
    )
    made = list(
      record_streams.stream_records('like', source, world, [shipped(path)], wanted, count)
    )
    longest = max(count(record) for record in made)
    assert abs(total(made) - wanted) <= longest / 2, variant
    assert made == first(len(made), shipped(path), variant)
