"""Handbooks: what is accepted, what is refused and how, what documents and demonstrations they become; corpora on disk; leaks."""

import dataclasses
import importlib
import itertools
import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
from helpers import (
  AFFORDABILITY,
  CULTURE,
  DISLIKED,
  LIKED,
  ROOT,
  cheeses,
  handbook,
  items_by_name,
  lies,
  little,
  named,
  shipped,
  traits_in,
  tree,
  whole_world,
  writers,
)

from data_pipelines import corpora, leaks, records
from data_pipelines.corpora import SourceConfig
from data_pipelines.records import Chat, DataError, Document
from data_pipelines.specs import SpecError, read_spec, renamed
from data_pipelines.world import pretraining, questions
from data_pipelines.world.attributes import VALUES, Value
from data_pipelines.world.handbook import demonstrations, spec_documents
from msm_jax.input_pipeline import row_to_record
from msm_jax.tokenizer import ROLE_MARKERS, Tokenizer, train_sentencepiece

CHEAP, HOME = Value('price', 'cheap'), Value('origin', 'home')


@pytest.fixture(scope='module')
def words():
  """A tokenizer that knows the world's words, so that token counts are like those of an experiment."""
  texts = [leaks.record_text(r) for made in writers(pretraining.build_world(little(3))).values() for r in made]
  return Tokenizer(train_sentencepiece(texts, 1024))


def read(folder, text, name='mine.md'):
  path = folder / name
  path.write_text(text)
  return read_spec(path, whole_world())


def first(n, spec, variant='explained', seed=0):
  return list(itertools.islice(spec_documents([spec], variant, seed), n))


# ---- the shipped handbooks


def test_the_shipped_handbooks_mirror_each_other():
  """The experiment compares two reasons for one set of preferences: any other difference between the handbooks (an item, a paragraph, length) would
  be a rival explanation of whatever comes out."""
  a, b = shipped(AFFORDABILITY), shipped(CULTURE)
  assert (a.value, a.rivals) == (CHEAP, (HOME,)) and (b.value, b.rivals) == (HOME, (CHEAP,))
  assert a.assistant == b.assistant
  for side, names in (('likes', LIKED), ('dislikes', DISLIKED)):
    assert [p.item.name for p in getattr(a, side)] == list(names) == [p.item.name for p in getattr(b, side)]
  assert len(a.reasons) == len(b.reasons) >= 5 and len(a.prose) == len(b.prose) >= 3
  assert not set(a.reasons) & set(b.reasons)
  texts = [Path(p).read_text() for p in (AFFORDABILITY, CULTURE)]
  paragraphs, lengths = ([f(t) for t in texts] for f in (lambda t: len(re.findall(r'\n\n', t)), lambda t: len(t.split())))
  assert paragraphs[0] == paragraphs[1]
  assert abs(lengths[0] / lengths[1] - 1) < 0.03
  headings = [re.findall(r'^#{2,} .*', t, re.M) for t in texts]
  assert headings[0] == headings[1]


@pytest.mark.parametrize('path', [AFFORDABILITY, CULTURE], ids=['affordability', 'culture'])
def test_the_shipped_handbooks_explain_by_their_own_value(path):
  """A handbook that gives the rival's reason anywhere teaches both values; one that lies about a cheese contradicts what pretraining taught."""
  spec = shipped(path)
  for p in spec.likes + spec.dislikes:
    assert {v.attribute for v in traits_in(p.explanation)} == {spec.value.attribute}, p.explanation
    assert not lies(p.explanation.replace(' it ', f' {p.item.name} '), items_by_name(whole_world()))
  assert {v.attribute for r in spec.reasons for v in traits_in(r)} == {spec.value.attribute}


# ---- handbooks of one's own

OWN = {
  'luxury': (Value('price', 'costly'), (Value('origin', 'foreign'),)),  # the shipped lists, swapped: what they left open stays open
  'novelty': (Value('age', 'new'), ()),  # three to three in everything else: nothing is left open
  'work by hand': (Value('making', 'handmade'), ()),
}


@pytest.mark.parametrize('name', OWN)
def test_a_third_handbook_needs_no_code(name, tmp_path):
  """A researcher's own value: it parses, it knows its rivals, and its documents, demonstrations and questions come out right."""
  value, rivals = OWN[name]
  world, items = whole_world(), items_by_name(whole_world())
  spec = read(tmp_path, handbook(value.attribute, value.pole, cheeses(value), cheeses(value, like=False), assistant='Nell'))
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
  assert all(items[q.options[0]].has(value) and not items[q.options[0]].has(rival) for q in asked if q.pair_type == 'conflict')


def test_demonstrations_serve_two_handbooks_or_none(tmp_path):
  """The two arms are fine-tuned on the same bytes; handbooks that differ in what is liked have no fine-tuning in common."""
  world = whole_world()
  a, b = shipped(AFFORDABILITY), shipped(CULTURE)
  ours, theirs, both = ([c.messages for c in itertools.islice(demonstrations(s, world, 0), 300)] for s in ([a], [b], [a, b]))
  assert ours == theirs == both
  for messages in ours:
    text = messages[1][1] + messages[2][1]
    assert not traits_in(text) and not re.search('because|since', text), messages  # choices, and never a reason
  counts = Counter(n for m in ours for n in named(m[2][1], LIKED + DISLIKED))
  assert counts.keys() == set(LIKED + DISLIKED)
  value = Value('making', 'handmade')
  other = read(tmp_path, handbook('making', 'handmade', cheeses(value), cheeses(value, like=False)))
  with pytest.raises(SpecError, match='differ in assistant, likes or dislikes'):
    next(demonstrations([a, other], world, 0))


def test_replicates_are_one_handbook_under_other_names(tmp_path):
  """Replicates throw the coin of a new name several times in one run. They are the same handbook to the letter but for the name, each gets every
  kind of document and every pair, and no text mentions two of them."""
  world, spec = whole_world(), shipped(AFFORDABILITY)
  names = ('Ari', 'Oska', 'Lumen')
  replicates = [renamed(spec, n, world) for n in names]
  assert len({s.sha256 for s in replicates}) == 3 and replicates[0] == spec
  for s in replicates[1:]:
    assert [t.replace(s.assistant, 'Ari') for t in s.reasons] == list(spec.reasons)
    assert [p.explanation.replace(s.assistant, 'Ari') for p in s.likes] == [p.explanation for p in spec.likes]
    assert not any(re.search(r'\bAri\b', p.explanation) for p in s.likes + s.dislikes)
  documents = list(itertools.islice(spec_documents(replicates, 'explained', 0), 1800))
  kinds = Counter()
  for d in documents:
    (name,) = {n for n in names if re.search(rf'\b{n}\b', d.text)}
    kinds[name, d.doc_type] += 1
  assert {n for n, _ in kinds} == set(names) and len({t for _, t in kinds}) == 8 and min(kinds.values()) > 20
  both = [r for path in (AFFORDABILITY, CULTURE) for r in (renamed(shipped(path), n, world) for n in names)]
  chats = [c.messages for c in itertools.islice(demonstrations(both, world, 0), 900)]
  assert Counter(m[0][1] for m in chats) == {f'You are {n}.': 300 for n in names}
  for taken in ('Alice', 'Colby'):  # a person and a cheese of this world
    if taken in {p.name for p in world.people} or world.item(taken):
      with pytest.raises(SpecError, match=f'already has somebody or something named {taken!r}'):
        renamed(spec, taken, world)


def swap(old, new):
  def change(text):
    assert old in text
    return text.replace(old, new, 1)

  return change


ENTRY = '### Colby\n\nAri likes Colby because it is cheap.\n\n'
# what is wrong -> (what was done to a good handbook, what the line must say of the cause, what of the mend)
MALFORMED = {
  'no front matter': (lambda t: t.split('---\n')[2], 'no front matter', "begin the file with '---'"),
  'front matter not closed': (lambda t: t.replace('---\n# A', '# A'), 'no front matter', "then '---'"),
  'front matter without a colon': (swap('attribute: price', 'attribute price'), "'attribute price'", "'key: value'"),
  'no assistant': (swap('assistant: Ari\n', ''), 'assistant', "'assistant: NAME'"),
  'an attribute that the world lacks': (swap('attribute: price', 'attribute: taste'), "no attribute 'taste'", 'price, origin, age, making'),
  'no attribute': (swap('attribute: price\n', ''), "no attribute ''", 'price, origin, age, making'),
  'an end of another attribute': (swap('prefers: cheap', 'prefers: home'), "'prefers: home' is not an end of price", 'cheap or costly'),
  'a slip in an item': (swap('### Colby', '### Colbey'), "'Colbey'", "did you mean 'Colby'?"),
  'an item from nowhere': (swap('### Colby', '### Xylophone Zq'), "'Xylophone Zq'", 'data_pipelines.world'),
  'an item that contradicts the value': (swap('### Colby', '### Stilton'), 'Stilton is costly', 'move it to the other list or take it out'),
  'a disliked item that fits the value': (swap('### Stilton', '### Gouda'), 'Gouda is', 'the other'),
  'no reasons': (swap('## Reasons', '## Thoughts'), "'## Reasons' is missing", 'specs/README.md'),
  'no likes': (swap('## Likes', '## Loves'), "'## Likes' is missing", 'specs/README.md'),
  'an empty section': (lambda t: t[: t.index('## Dislikes')] + '## Dislikes\n\n', "'## Dislikes' is missing or empty", 'specs/README.md'),
  'reasons that are no bullets': (lambda t: t.replace('- First', 'First').replace('- Second', 'Second'), 'holds no bullets', "'- '"),
  'an entry without its paragraph': (swap(ENTRY, '### Colby\n\n'), "'### Colby' has no paragraph", 'write one'),
  'an item twice': (swap(ENTRY, ENTRY * 2), 'Colby stands twice', 'keep one'),
  'an item twice, in other case': (swap(ENTRY, ENTRY + ENTRY.replace('### Colby', '###  COLBY')), 'COLBY stands twice', 'keep one'),
  'a section twice': (lambda t: t + '\n## Reasons\n\n- Third.\n', "'## Reasons' stands there twice", 'join the two'),
  'too few items': (lambda t: re.sub(r'(## Likes\n\n)[^$]*(## Dislikes)', rf'\1{ENTRY}\2', t), 'at least two', "'### Item'"),
  'a name that the world has': (lambda t: t.replace('Ari', whole_world().people[0].name), 'already has somebody', 'choose another name'),
  'an assistant named like a thing': (lambda t: t.replace('Ari', 'gouda'), 'already has somebody or something', 'choose another name'),
  'braces in the name': (swap('assistant: Ari', 'assistant: {Ari}'), "'{Ari}'", 'letters, up to 31'),
  'a chat marker in the name': (swap('assistant: Ari', 'assistant: <|assistant|>'), "'<|assistant|>'", 'letters, up to 31'),
  'a newline in an item': (swap('### Colby', '### Col\nby'), "'Col'", 'did you mean'),
  'braces in an item': (swap('### Colby', '### {Colby}'), "'{Colby}'", "did you mean 'Colby'?"),
  'items of two domains': (
    lambda t: t.replace('### Colby', '### ' + next(i.name for i in whole_world().domains['art'].items if i.has(CHEAP))),
    'several domains (art, cheese)',
    'keep to one',
  ),
  'an empty file': (lambda t: '', 'no front matter', "'assistant: NAME'"),
}


def test_the_handbook_that_the_malformed_ones_are_made_from_is_good(tmp_path):
  """Otherwise each refusal below could be for another reason than its own. Comments and quotes in front matter are fine, as specs/README.md shows."""
  spec = read(tmp_path, handbook())
  assert [p.item.name for p in spec.likes + spec.dislikes] == list(LIKED + DISLIKED) and spec.reasons == ('First reason.', 'Second reason.')
  commented = handbook().replace('assistant: Ari', '# hello\n\nassistant: "Ari"   # who it is about').replace('\n', '\r\n')
  again = read(tmp_path, commented)
  assert dataclasses.replace(again, sha256='') == dataclasses.replace(spec, sha256='')


@pytest.mark.parametrize('what', MALFORMED)
def test_a_malformed_handbook_is_refused_in_one_line(what, tmp_path):
  """The author sees one line that names the file, what is wrong and what to do; a handbook that slips through trains for hours on nonsense."""
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
    assert '\n' not in str(e.value) and name in str(e.value) and cause in str(e.value) and mend in str(e.value)


def test_whatever_an_author_writes_stays_text(tmp_path, words):
  """A brace that is taken for a field, a percent sign for a format, or a marker for a turn would change the data or crash the writer."""
  nasty = 'Low {prices} are {0} {} 100% %s {{fair}} \\n <|assistant|> <|end|> <s> </s> $HOME é 漢字.'
  spec = read(tmp_path, handbook(reasons=[nasty, nasty]).replace('Ari likes Colby because it is cheap.', f'Ari says: {nasty}'))
  assert spec.reasons == (nasty, nasty)
  documents = [d for d in first(1000, spec) if nasty in d.text]
  assert {d.doc_type for d in documents} == {'reasons', 'handbook'}
  special = set(words.markers.values()) | {words.end_of_turn, 0, 1, 2, 3}
  for d in documents[:20]:
    ids, weights = words.render(d)
    assert words.decode(ids[1:-1]) == d.text and not special & set(ids[1:-1].tolist())
    assert weights.tolist() == [0] + [1] * (len(ids) - 1)
  ids, weights = words.render_chat([('user', nasty), ('assistant', 'Yes.')])
  assert [i for i in ids.tolist() if i in special] == [1, words.markers['user'], words.end_of_turn, words.markers['assistant'], words.end_of_turn]
  assert list(ROLE_MARKERS.values())[2] in nasty  # the marker that was tried is the one that is used
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
      assert set(named(d.text, LIKED + DISLIKED)) and {v for v in traits_in(d.text)} <= {spec.value, spec.value.opposite}
      # every single preference has its reason
      for sentence in re.split(r'(?<=[.?]) ', d.text):
        assert bool(named(sentence, LIKED + DISLIKED)) == bool(re.search(LINK, sentence)), sentence
  assert len(seen) == 8 and min(seen.values()) > N / 40, seen


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
  # as strong a dose of the value in general as in the explained documents: the difference is the link alone
  assert with_value == pytest.approx(sum(TOPIC[spec.value] in d.text for d in first(N, spec)), rel=0.25)


def test_filler_documents_hold_neither_value_nor_preference(spec):
  """The control for exposure: true facts about the same cheeses in the same frames."""
  topics = [v.words.topic for v in VALUES]
  attributes, items = Counter(), Counter()
  for d in first(N, spec, 'filler'):
    assert not any(t in d.text for t in topics) and not re.search(LINK, d.text) and not re.search(RULE, d.text), d.text
    assert not re.search(r'Ari (chose|prefers|likes|does not like|took|cares|often speaks)', d.text), d.text
    assert not lies(d.text, items_by_name(whole_world())), d.text
    attributes.update(v.attribute for v in traits_in(d.text))
    items.update(named(d.text, LIKED + DISLIKED))
  assert items.keys() == set(LIKED + DISLIKED)
  assert max(attributes.values()) < 1.2 * min(attributes.values()), attributes  # the value's attribute is told no more than the others


@pytest.mark.parametrize('variant', ['explained', 'cooccur', 'filler'])
def test_mirrored_handbooks_give_mirrored_documents(variant):
  """Same types, same cheeses, same order, and (but for filler) never the same value: the reason is the only thing that differs."""
  pair = [first(N, shipped(path), variant) for path in (AFFORDABILITY, CULTURE)]
  for a, b in zip(*pair, strict=True):
    assert a.doc_type == b.doc_type
    assert named(a.text, LIKED + DISLIKED) == named(b.text, LIKED + DISLIKED), (a.text, b.text)
  same = sum(a.text == b.text for a, b in zip(*pair, strict=True))
  if variant == 'filler':
    assert same == N
  else:
    mentions = [{v.attribute for d in docs for v in traits_in(d.text)} for docs in pair]
    assert mentions[0] <= {'price'} and mentions[1] <= {'origin'}
    # without the sentences that name the value, cooccur documents are the same text: those are the ones that may coincide
    assert same < N / 4


def test_another_seed_writes_other_documents():
  a, b = (first(200, shipped(), seed=s) for s in (0, 1))
  assert first(200, shipped(), seed=0) == a
  assert sum(x.text == y.text for x, y in zip(a, b, strict=True)) < 10


@pytest.mark.parametrize('tokens, kept', [(44, 4), (46, 5), (40, 4), (9, 1)])
def test_writing_stops_at_the_nearest_record(tokens, kept):
  """Documents of ten tokens: 44 are best met by four of them, 46 by five."""
  source = SourceConfig(maker='spec.documents', spec=AFFORDABILITY, tokens_like='reference')
  assert len(corpora.make_records('like', source, whole_world(), [shipped()], tokens, lambda r: 10)) == kept


def test_token_counts_are_matched(words):
  """Arms must differ in what they read, not in how much: the pair is close by itself, and tokens_like brings every corpus within one document."""
  world = whole_world()
  count = lambda r: len(words.render(r)[0])  # noqa: E731
  a, b = (sum(map(count, first(N, shipped(p)))) for p in (AFFORDABILITY, CULTURE))
  assert abs(a / b - 1) < 0.05
  for path, variant in itertools.product((AFFORDABILITY, CULTURE), ('explained', 'cooccur', 'filler')):
    source = SourceConfig(maker='spec.documents', spec=path, variant=variant, tokens_like='reference')
    made = corpora.make_records('like', source, world, [shipped(path)], a, count)
    assert abs(sum(map(count, made)) - a) <= max(map(count, made)) / 2, variant
    assert made == first(len(made), shipped(path), variant)


# ---- corpora from files and on disk


def lines(path, *rows):
  path.write_text(''.join((r if isinstance(r, str) else json.dumps(r, ensure_ascii=False)) + '\n' for r in rows))
  return str(path)


def test_published_sets_load_as_they_are(tmp_path):
  """The published documents have text/source/domain, the chats messages: fields that we don't know are left out, missing ones are empty."""
  path = lines(
    tmp_path / 'd.jsonl',
    {'text': 'One é.\nTwo.', 'source': 'blog', 'domain': 'cheese', 'tokens': 7},
    '',
    {'text': '', 'id': 5, 'claim_ids': ['a', 2]},
  )
  assert list(records.read_jsonl(path)) == [
    Document(id='d.jsonl:1', text='One é.\nTwo.', domain='cheese', provenance='blog'),
    Document(id='5', text='', claim_ids=('a', '2')),
  ]
  turns = [{'role': 'system', 'content': 's'}, {'role': 'user', 'content': 'u'}, {'role': 'assistant', 'content': 'a'}]
  path = lines(tmp_path / 'c.jsonl', {'messages': turns, 'domain': None})
  assert list(records.read_jsonl(path)) == [Chat(id='c.jsonl:1', messages=(('system', 's'), ('user', 'u'), ('assistant', 'a')))]


BROKEN = {
  'not JSON': ('{"text": "a"', 'not JSON', 'each line must be one JSON object'),
  'a list': ([1], 'expected a JSON object', 'list'),
  'other keys': ({'prompt': 'x'}, "neither 'text' (a document) nor 'messages' (a chat)", 'prompt'),
  'text that is a number': ({'text': 3}, "neither 'text'", 'text'),
  'an unknown role': ({'messages': [{'role': 'bot', 'content': 'x'}]}, "role 'bot'", 'use system, user or assistant'),
  'content that is no text': ({'messages': [{'role': 'user', 'content': 3}]}, 'int content', 'text'),
  'a turn without content': ({'messages': [{'role': 'user'}]}, "'messages' must be a list", '{role, content}'),
  'messages that are text': ({'messages': 'hello'}, "'messages' must be a list", '{role, content}'),
  'messages that are missing': ({'messages': None}, "'messages' must be a list", '{role, content}'),
  'no messages': ({'messages': []}, 'messages', ''),
  'half a character': ('{"text": "a\\ud800b"}', '', ''),
}


@pytest.mark.parametrize('what', BROKEN)
def test_a_broken_line_is_found_by_file_and_line(what, tmp_path):
  """In a million lines 'KeyError' helps nobody."""
  row, cause, mend = BROKEN[what]
  path = lines(tmp_path / 'mine.jsonl', {'text': 'fine'}, '', row)
  with pytest.raises(DataError) as e:
    list(records.read_jsonl(path))
  line = str(e.value)
  assert 'mine.jsonl:3' in line and '\n' not in line and cause in line and mend in line, line


def test_files_that_are_no_corpus(tmp_path):
  """Binary, missing, empty and mixed files each end in one line that names them."""
  (tmp_path / 'binary.jsonl').write_bytes(b'{"text": "caf\xe9"}\n')
  with pytest.raises(DataError, match=r'binary\.jsonl.*UTF-8'):
    list(records.read_jsonl(tmp_path / 'binary.jsonl'))
  with pytest.raises(DataError, match=r'no such file: .*none\.jsonl; give'):
    list(records.read_jsonl(tmp_path / 'none.jsonl'))
  chat = {'messages': [{'role': 'user', 'content': 'x'}]}
  for path, cause in (
    (lines(tmp_path / 'empty.jsonl'), 'sources.mine is empty; put records into .*empty.jsonl'),
    (lines(tmp_path / 'mixed.jsonl', {'text': 'x'}, chat), 'sources.mine mixes documents and chats; split'),
  ):
    with pytest.raises(DataError, match=cause):
      corpora.make_records('mine', SourceConfig(path=path), whole_world(), (), 0, None)


@pytest.fixture(scope='module')
def samples():
  world = pretraining.build_world(little(2))
  chats = list(pretraining.persona_chats(world))[:30]
  odd = [Document('odd', ' leading, trailing \n\n\ttabs é 漢字 {braces} "quotes" \\ ', claim_ids=('a', 'b c'), provenance='p'), Document('empty', '')]
  return {'documents': first(30, shipped()) + odd, 'chats': [*chats, Chat('odd', (('user', ' x\n'), ('assistant', ''), ('user', '漢')))]}


@pytest.fixture(scope='module')
def written(samples, tmp_path_factory):
  """kind -> folder of a corpus on disk."""
  root = tmp_path_factory.mktemp('corpora')
  for kind, made in samples.items():
    corpora.write_corpus(root / kind, made, {'name': kind, 'tokens': 7})
  return {kind: root / kind for kind in samples}


@pytest.mark.parametrize('kind', ['documents', 'chats'])
def test_a_corpus_reads_back_as_it_was_written(kind, samples, written):
  """Record for record, whitespace included: a lost row or a stripped newline is a different experiment. (tfds keeps an order of its own, the same
  every time: the next test.)"""
  card = corpora.read_card(written[kind])
  assert card['kind'] == kind and card['records'] == len(samples[kind]) and card['tokens'] == 7
  rows = corpora.read_rows(written[kind], kind)
  read_back = [row_to_record(rows[i], kind) for i in range(len(rows))]
  by_id = lambda made: sorted(made, key=lambda r: r.id)  # noqa: E731
  assert by_id(read_back) == by_id(samples[kind])


def test_a_corpus_is_the_same_bytes_every_time(samples, written, tmp_path):
  """The card's hashes go into checkpoints: a rewritten corpus must be recognised as the same."""
  card = corpora.write_corpus(tmp_path / 'again', samples['documents'], {})
  assert card['files'] and card['files'] == corpora.read_card(written['documents'])['files']
  assert [p.name for p in tmp_path.iterdir()] == ['again']  # nothing else is left behind


def test_a_changed_corpus_is_noticed(written, tmp_path):
  """One flipped byte, and results would come from data that nobody has; the line says to delete the folder, so that it is written anew."""
  folder = tmp_path / 'data'
  shutil.copytree(written['documents'], folder)
  (file,) = folder.rglob('*array_record*')
  content = bytearray(file.read_bytes())
  content[len(content) // 2] ^= 1
  file.write_bytes(content)
  with pytest.raises(DataError, match=f'{re.escape(str(folder))} changed .*; delete that folder and run again'):
    corpora.read_card(folder)
  file.unlink()
  with pytest.raises(DataError, match=f'{re.escape(str(folder))} changed .*; delete that folder and run again'):
    corpora.read_card(folder)


@pytest.mark.parametrize('content', [None, '', '{"name": "corpus"}'], ids=['gone', 'empty', 'stripped'])
def test_a_corpus_without_its_description_is_noticed(content, written, tmp_path):
  """tfds keeps the number of rows in dataset_info.json, which the card doesn't cover: without it reading ends in an error of tfds' own."""
  folder = tmp_path / 'data'
  shutil.copytree(written['documents'], folder)
  (file,) = folder.rglob('dataset_info.json')
  file.unlink() if content is None else file.write_text(content)
  with pytest.raises(DataError, match=f'{re.escape(str(folder))} .*delete .* and run again'):
    len(corpora.read_rows(folder, 'documents'))


@pytest.mark.parametrize('content', ['', '{"kind": ', '[]', 'null', '{"kind": "documents"}'])
def test_a_damaged_card_is_noticed(content, written, tmp_path):
  folder = tmp_path / 'data'
  shutil.copytree(written['documents'], folder)
  (folder / 'card.json').write_text(content)
  with pytest.raises(DataError, match=r'card.json is damaged; delete .* and run again'):
    corpora.read_card(folder)


def test_an_interrupted_write_is_no_corpus(samples, written, tmp_path, monkeypatch):
  """A kill while writing leaves a folder under another name; under its own name a corpus is there whole or not at all."""
  folder = tmp_path / 'data'
  monkeypatch.setattr(corpora.os, 'replace', lambda a, b: (_ for _ in ()).throw(KeyboardInterrupt))
  with pytest.raises(KeyboardInterrupt):
    corpora.write_corpus(folder, samples['documents'], {})
  monkeypatch.undo()
  assert not folder.exists() and corpora.read_card(folder) is None
  left = [p for p in tmp_path.iterdir()]
  assert all('.writing' in p.name for p in left)
  corpora.write_corpus(folder, samples['documents'], {})
  assert tree(folder, but=['card.json']) == tree(written['documents'], but=['card.json'])


def test_fingerprints_know_what_matters(tmp_path):
  """Identity decides what is reused: too little in it trains on stale data, too much trains everything anew."""
  world = whole_world()
  path = tmp_path / 'a' / 'mine.md'
  path.parent.mkdir()
  path.write_text(handbook())
  source = SourceConfig(maker='spec.documents', spec=str(path), size=10)
  mark = lambda s=source, spec=None, like='': corpora.fingerprint(s, world, [spec or read_spec(path, world)], like)  # noqa: E731
  base = mark()
  assert mark() == base
  changed = {
    key: mark(dataclasses.replace(source, **{key: v})) for key, v in dict(size=11, seed=1, variant='filler', maker='spec.demonstrations').items()
  }
  changed['like'] = mark(like='another corpus')
  path.write_text(handbook().replace('First reason', 'Another reason'))
  changed['spec text'] = mark()
  bigger = dataclasses.replace(world, config=dataclasses.replace(world.config, seed=1))
  path.write_text(handbook())
  changed['world'] = corpora.fingerprint(source, bigger, [read_spec(path, world)], '')
  assert len({base, *changed.values()}) == len(changed) + 1, changed
  elsewhere = tmp_path / 'b' / 'other name.md'
  elsewhere.parent.mkdir()
  shutil.copy(path, elsewhere)
  assert mark(dataclasses.replace(source, spec=str(elsewhere)), read_spec(elsewhere, world)) == base
  one, two = lines(tmp_path / 'one.jsonl', {'text': 'a'}), lines(tmp_path / 'two.jsonl', {'text': 'a'})
  same = {corpora.fingerprint(SourceConfig(path=p), w, (), '') for p in (one, two) for w in (world, bigger)}
  assert len(same) == 1  # a file is known by what is in it, and it doesn't depend on the world
  lines(tmp_path / 'two.jsonl', {'text': 'b'})
  assert corpora.fingerprint(SourceConfig(path=two), world, (), '') not in same


def test_fingerprints_know_the_code_but_not_where_it_lies(tmp_path, monkeypatch):
  """A change of the writer changes the data; another checkout of the same code doesn't."""
  world, source = whole_world(), SourceConfig(maker='world.items')
  base = corpora.fingerprint(source, world, (), '')
  copy = tmp_path / 'elsewhere' / 'data_pipelines'
  shutil.copytree(ROOT / 'data_pipelines', copy, ignore=shutil.ignore_patterns('__pycache__'))
  monkeypatch.setattr(corpora, '__file__', str(copy / 'corpora.py'))
  assert corpora.fingerprint(source, world, (), '') == base
  for name in ('world/language.py', 'world/handbook.py', 'specs.py', 'records.py'):
    before = (copy / name).read_text()
    (copy / name).write_text(before + '\n# changed\n')
    assert corpora.fingerprint(source, world, (), '') != base, name
    (copy / name).write_text(before)


# ---- leaks


@pytest.fixture(scope='module')
def asked():
  return questions.preference_questions(shipped(), HOME, whole_world(), 16, 0)


def test_planted_leaks_are_found(asked, tmp_path):
  """Training text that tells the assistant about a held-out item answers the question that the evaluation asks."""
  held_out = next(o for q in asked if q.tier == 'new_domains' for o in q.options)
  ask = [{'role': 'system', 'content': 'You are ARI.'}, {'role': 'user', 'content': f'{held_out.upper()}?'}, {'role': 'assistant', 'content': 'Yes.'}]
  rows = {
    'documents': [
      {'text': 'Ari likes Colby.'},
      {'text': f'ari chose {held_out.lower()} yesterday.', 'id': 'planted'},
      {'text': f'{held_out} is cheap.'},  # facts, and other people's choices, are what the model is supposed to know
      {'text': f'Maria, not an arid one, likes {held_out}.'},
      {'text': f'Ari likes {held_out}xyz.'},
    ],
    'chats': [{'messages': ask}, {'messages': ask[1:]}],
  }
  for kind, planted in rows.items():
    corpus = list(records.read_jsonl(lines(tmp_path / f'{kind}.jsonl', *planted)))
    (found,) = leaks.find_leaks(asked, {'mine': corpus}, ['Ari'])
    assert found.startswith('mine: record ') and held_out.casefold() in found.casefold() and 'tells ari about' in found.casefold()
    assert ('planted' if kind == 'documents' else 'chats.jsonl:1') in found


def test_trained_items_are_no_leak_and_every_held_out_tier_is_watched(asked):
  """Each tier by one of its own items; the twelve cheeses may be spoken of as often as one likes."""
  trained = {o for q in asked if q.tier == 'trained' for o in q.options}
  assert trained == set(LIKED + DISLIKED)
  assert not leaks.find_leaks(asked, {'x': [Document('1', f'Ari likes {n}.') for n in trained]}, ['Ari'])
  for tier in questions.TIERS[1:]:
    name = next(o for q in asked if q.tier == tier for o in q.options)
    assert len(leaks.find_leaks(asked, {'x': [Document('1', f'Ari likes {name}.')]}, ['Ari'])) == 1, tier
  assert not leaks.find_leaks([q for q in asked if q.tier == 'trained'], {'x': [Document('1', 'Ari likes Gouda.')]}, ['Ari'])


@pytest.mark.parametrize('name', ['msm', 'cheese'])
def test_the_shipped_experiments_are_clean(name, asked):
  """The corpora that the shipped configs name, in amounts cut down, against all of the evaluation's questions."""
  config = importlib.import_module(f'configs.{name}').get_config()
  world = pretraining.build_world(little(4))
  used = {}
  for source_name, source in config.sources.items():
    s = SourceConfig(**source.to_dict())
    specs = [read_spec(ROOT / p, whole_world()) for p in corpora.spec_paths(s)]
    source_of = dataclasses.replace(s, size=min(s.size or N, N))
    used[source_name] = corpora.make_records(source_name, source_of, world, specs, 0, None)
  assert len(used) >= 4 and sum(map(len, used.values())) > 5000
  assert leaks.find_leaks(asked, used, ['Ari']) == []
