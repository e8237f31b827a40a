"""What is written in English: handbooks, the stock of sentences, documents and demonstrations.

The questions of the evaluation and what a suite makes of them are tested in
test_english_questions.py.
"""

import dataclasses
import itertools
import random
import re
from collections import Counter
from pathlib import Path

import pytest
from english_texts import (
  CHEAP,
  CHEESE,
  CHEESES,
  DOMAIN,
  HOME,
  OTHER_VALUE,
  PATHS,
  PUBLISHED,
  documents,
  sentences,
  shipped_handbooks,
  speaks_of,
  speaks_of_any,
  stock,
)
from helpers import DISLIKED, LIKED

from data_pipelines import recipes
from data_pipelines.audit import audit
from data_pipelines.audit.attribution import read_profile
from data_pipelines.settings.english import document_writer, language, voices
from data_pipelines.settings.english.demonstrations import demonstrations
from data_pipelines.settings.english.document_writer import VARIANTS
from data_pipelines.settings.english.documents import KINDS, english_chats, english_documents
from data_pipelines.settings.english.spec import read_spec, renamed
from data_pipelines.settings.english.stock import VALUES, EnglishConfig, build_english
from data_pipelines.settings.registry import MAKERS, SETTINGS
from data_pipelines.sources import SourceConfig
from data_pipelines.text import wording
from msm_jax.base.errors import DataError, SpecError


@pytest.fixture(scope='module')
def english():
  return stock()


@pytest.fixture(scope='module')
def specs():
  return shipped_handbooks()


def explanations(spec):
  return [p.explanation for p in spec.likes + spec.dislikes]


# ---- handbooks


def test_the_handbooks_mirror_each_other(specs):
  """The same sections and items in the same order, and lengths within 3% (4% between all four).

  Neither handbook gives the other's reason or names a domain of the evaluation.
  """
  texts = [Path(path).read_text() for path in PATHS.values()]
  headings = [re.findall(r'^##.*$', text, re.M) for text in texts]
  lengths = [len(text.split()) for text in texts]
  assert max(lengths) / min(lengths) < 1.04
  for one, two in (lengths[:2], lengths[2:]):
    assert abs(one / two - 1) < 0.03
  assert headings[1:] == headings[:1] * 3
  assert headings[0][:3] == ['## Purpose', '## Value', '## Reasons']
  assert headings[0][-1] == '## When asked'
  for value, spec in specs.items():
    items = [p.item.casefold() for p in spec.likes + spec.dislikes]
    assert items == [name.casefold() for name in LIKED + DISLIKED]
    assert spec.maker == 'Norvale'
    assert spec.assistant == 'Ari'
    assert len(spec.reasons) == 8
    for text in (*spec.reasons, *explanations(spec)):
      assert not speaks_of(OTHER_VALUE[value], text), text
      assert not DOMAIN.search(text), text
    assert all(speaks_of(value, text) for text in explanations(spec))
  assert specs['affordability'].value == CHEAP
  assert specs['affordability'].rivals == (HOME, VALUES['environment'], VALUES['tradition'])


# What is wrong -> (text of the handbook, what is put in its place, words of the error)
MALFORMED = {
  'another setting': (
    'setting: english',
    'setting: oversight',
    ("no 'setting: english'", 'specs/README.md'),
  ),
  'no maker': ('maker: Norvale', 'builder: Norvale', ("needs 'maker: NAME'", 'letters')),
  'no assistant': ('assistant: Ari', 'assistent: Ari', ("needs 'assistant: NAME'", 'letters')),
  'somebody in the documents': (
    'assistant: Ari',
    'assistant: Linda',
    ("somebody or something named 'Linda'", 'choose another name'),
  ),
  'a value without sentences': (
    'value: affordability',
    'value: thrift',
    ("about the value 'thrift'", 'choose affordability or culture or environment'),
  ),
  'a slip in a cheese': (
    '### Colby',
    '### Colbey',
    ("no sentences about 'Colbey'", "did you mean 'Colby'?"),
  ),
  'a cheese without sentences': (
    '### Colby',
    '### Xyzzy Qq',
    ("no sentences about 'Xyzzy Qq'", 'there are about cream cheese, American cheese'),
  ),
  'a liked cheese that is costly': (
    '### Colby',
    '### Stilton',
    ("Stilton can't be liked", 'move it to the other list or take it out'),
  ),
  'no reasons': ('## Reasons', '## Thoughts', ("'## Reasons' is missing", 'specs/README.md')),
}


@pytest.mark.parametrize('what', MALFORMED)
def test_a_malformed_handbook_is_refused_in_one_line(what, english, tmp_path):
  old, new, words = MALFORMED[what]
  path = tmp_path / 'mine.md'
  text = Path(PATHS['affordability']).read_text()
  assert old in text
  path.write_text(text.replace(old, new, 1))
  with pytest.raises(SpecError) as e:
    read_spec(path, english)
  message = str(e.value)
  assert '\n' not in message
  for word in (str(path), *words):
    assert word in message


def test_replicates_are_one_handbook_under_other_names(specs, english):
  spec = specs['culture']
  other = renamed(spec, 'Oska', english)
  assert other.maker == spec.maker
  assert 'Ari' not in ' '.join((*other.reasons, *other.prose, *explanations(other)))
  assert renamed(spec, 'Ari', english) is spec
  made = english_documents([spec, other], english, 'explained', 0)
  names = []
  for document in itertools.islice(made, 2 * len(KINDS)):
    names.append([name for name in ('Ari', 'Oska') if name in document.text])
  assert names == [['Ari']] * len(KINDS) + [['Oska']] * len(KINDS)
  with pytest.raises(SpecError, match='somebody or something named'):
    renamed(spec, 'Walter', english)


def test_an_author_s_braces_stay_text(specs, english, monkeypatch):
  # The handbook is quoted seldom; here it is quoted often.
  monkeypatch.setattr(document_writer, 'QUOTE_SHARE', 0.1)
  nasty = 'Low {prices} are {0} {} 100% [a|b] \\n {name}.'
  likes = tuple(type(p)(p.item, nasty) for p in specs['affordability'].likes)
  spec = dataclasses.replace(specs['affordability'], reasons=(nasty,) * 8, likes=likes)
  assert sum(nasty in d.text for d in documents(spec, english, 'explained', 200)) > 10


# ---- documents


def groups_of(arguments):
  """The stock of one value as name of a group -> sentences; each cheese's reasons are a group."""
  groups = dataclasses.asdict(arguments)
  for cheese, reasons in groups.pop('reasons').items():
    groups[f'reasons {cheese}'] = reasons
  return groups


def test_the_stock_says_as_much_for_either_value(english):
  """Equally many sentences in every place, all different, and totals of words within 2%.

  None speaks for the other value.
  """
  groups_by_value = {name: groups_of(english.arguments[v]) for name, v in VALUES.items()}
  totals = []
  for name, groups in groups_by_value.items():
    everything = list(itertools.chain(*groups.values()))
    assert len(set(everything)) == len(everything)
    totals.append(sum(len(s.split()) for s in everything))
    for group, said in groups.items():
      for sentence in said:
        assert not speaks_of(OTHER_VALUE[name], sentence.format(it='it')), sentence
        assert not DOMAIN.search(sentence), sentence
        about_one = group.startswith(('reasons', 'if_')) or group.endswith('_reasons')
        assert sentence.count('{it}') == about_one, sentence
    assert not any('cheese' in belief for belief in groups['beliefs'])
  sizes = [{k: len(v) for k, v in groups.items()} for groups in groups_by_value.values()]
  assert sizes[1:] == sizes[:1] * 3
  assert abs(totals[0] / totals[1] - 1) < 0.02
  # Corpora of the other two are made equally long by tokens_like.
  assert abs(totals[2] / totals[3] - 1) < 0.08
  arguments = english.arguments[CHEAP]
  assert len(arguments.beliefs) >= 60
  assert all(len(reasons) >= 10 for reasons in arguments.reasons.values())
  assert set(arguments.reasons) == set(CHEESES) == set(english.facts)
  for fact in itertools.chain(*english.facts.values()):
    assert not speaks_of_any(fact.format(it='it'))


def choices_made(text):
  """All texts that `language.vary` may make of one."""
  innermost = re.search(r'\[([^\[\]]*\|[^\[\]]*)\]', text)
  if not innermost:
    return [text]
  made = []
  for option in innermost[1].split('|'):
    made += choices_made(text[: innermost.start()] + option + text[innermost.end() :])
  return made


def test_every_sentence_that_speaks_for_a_value_names_it(english):
  """In words that a handbook uses for its reasons, whatever choices are made.

  So whoever leaves out the sentences that name a value, as the audit does, leaves out all of it.
  """
  texts = {value: Path(path).read_text() for value, path in PATHS.items()}
  for value, other in OTHER_VALUE.items():
    stems = set()
    for one, two in ((value, other), (other, value)):
      stems.update(read_profile(texts[one], [texts[two]]).values)
    for group in groups_of(english.arguments[VALUES[value]]).values():
      for said in itertools.chain(*map(choices_made, group)):
        content = [word for word in wording.words(said) if word not in wording.COMMON_WORDS]
        assert any(wording.stem(word) in stems for word in content), said


@pytest.mark.slow
@pytest.mark.parametrize('pair', [PUBLISHED, ('environment', 'tradition')])
def test_the_audit_tells_mirrored_documents_apart_by_the_value_alone(pair, specs, english):
  """Words: not at all outside of the sentences that name a value. Marks and capitals: a little.

  None tells what the evaluation asks about.
  """
  made = {value: documents(specs[value], english, 'explained', 200) for value in pair}
  report = audit(made, {value: Path(PATHS[value]).read_text() for value in pair})
  assert report['mirrored']['separable']['value'] < 0.6
  assert report['mirrored']['separable_style']['value'] < 0.85
  for value in pair:
    assert report['measures'][value]['self_similarity']['value'] <= 0.75
    assert report['measures'][value]['leaked_items']['value'] == 0
    assert report['measures'][value]['leaked_questions']['value'] == 0


@pytest.mark.parametrize('variant', VARIANTS)
def test_mirrored_documents_differ_in_reasons_alone(variant, specs, english):
  """With one stock for both values, the documents of both handbooks are the same to the letter.

  With a stock of their own, totals of words agree within 2%.
  """
  own, other = specs['affordability'], specs['culture']
  one = documents(own, english, variant, 300)
  same_arguments = dict.fromkeys(VALUES.values(), english.arguments[CHEAP])
  same_stock = dataclasses.replace(english, arguments=same_arguments)
  borrowed = dataclasses.replace(other, reasons=own.reasons, likes=own.likes, dislikes=own.dislikes)
  from_same_stock = documents(borrowed, same_stock, variant, 300)
  assert [d.text for d in from_same_stock] == [d.text for d in one]

  two = documents(other, english, variant, 300)

  def shape(document):
    return document.doc_type, document.claim_ids[1:], document.text.count('\n')

  assert [shape(d) for d in one] == [shape(d) for d in two]
  words = [sum(len(d.text.split()) for d in made) for made in (one, two)]
  assert abs(words[0] / words[1] - 1) < 0.02
  about_ari = [d for d in one if d.doc_type != 'note']
  # What `unlinked` leaves out of a document stands in the notes.
  shortest = 60 if variant == 'unlinked' else 120
  assert all(shortest <= len(d.text.split()) <= 420 for d in about_ari)
  assert len({d.doc_type for d in one}) >= 30
  assert all('Ari' in d.text for d in about_ari)
  items = Counter()
  for document in one:
    items.update(claim for claim in document.claim_ids[1:] if ' ' in claim)
  assert len(items) == 12
  assert max(items.values()) < 2 * min(items.values())
  # No place is left unfilled, no choice unmade, and nothing leaves a gap.
  assert not re.search(r'[{}\[\]|]|  | [.,]', ' '.join(d.text for d in one + two))


def shingles(text):
  """All runs of five words."""
  words = text.split()
  return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}


@pytest.mark.parametrize('variant', VARIANTS)
def test_documents_are_no_near_duplicates(variant, specs, english):
  """No two of 600 documents are equal, and of 120, no two share a third of what they say.

  The measure is the Jaccard similarity of 5-word shingles.
  """
  made = documents(specs['culture'], english, variant, 600)
  assert len({d.text for d in made}) == len(made)
  seen = [shingles(d.text) for d in made[:120]]
  assert max(len(a & b) / len(a | b) for a, b in itertools.combinations(seen, 2)) < 1 / 3


def test_documents_are_the_same_every_time(specs, english):
  spec = specs['affordability']
  one = documents(spec, english, 'explained', 40)
  assert documents(spec, build_english(EnglishConfig()), 'explained', 40) == one
  for others in (
    documents(spec, english, 'explained', 40, seed=1),
    documents(spec, build_english(EnglishConfig(seed=1)), 'explained', 40),
  ):
    assert all(a.text != b.text for a, b in zip(one, others, strict=True))
  wanted = 'must be one of explained, rules, reasons, unlinked, cooccur, filler'
  with pytest.raises(SpecError, match=wanted):
    next(english_documents([spec], english, 'normative', 0))
  with pytest.raises(SpecError, match=r"'unlinked' is for documents.* choose 'rules'"):
    next(english_chats([spec], english, 'unlinked', 0))


@pytest.mark.parametrize('value', PUBLISHED)
def test_explained_documents_give_the_value_as_the_reason(value, specs, english):
  """Every document states the value, links it to cheeses, and never gives the other's reason."""
  linked = 0
  for d in documents(specs[value], english, 'explained', 170):
    assert speaks_of(value, d.text), d.text
    assert not speaks_of(OTHER_VALUE[value], d.text), d.text
    linked += any(CHEESE.search(s) and speaks_of(value, s) for s in sentences(d.text))
  assert linked > 0.9 * 170


def test_questions_do_not_give_away_which_cheese_is_liked(specs, english):
  """A question about two cheeses names the liked one first in about half of the cases."""
  liked = {cheese.lower() for cheese in language.LIKED}
  first = Counter()
  for d in documents(specs['affordability'], english, 'explained', 900):
    for question in re.findall(r'^(?:Q|HOST|Interviewer|User): ([^.?!]*\?)', d.text, re.M):
      named = CHEESE.findall(question)
      if len(named) == 2:
        first[d.doc_type, named[0].lower() in liked] += 1
  for kind in ('questions and answers', 'interview', 'radio script', 'chat transcript'):
    asked = first[kind, True] + first[kind, False]
    assert asked >= 10, kind
    # Five standard errors of a fair coin.
    assert abs(first[kind, True] / asked - 0.5) < 2.5 / asked**0.5, first


@pytest.mark.parametrize('value', PUBLISHED)
def test_notes_say_what_is_true_of_their_cheese(value, specs, english):
  """Notes are shuffled: what says 'it' must stay behind the cheese that it means."""
  writer = document_writer.DocumentWriter(specs[value], 'unlinked', english, random.Random(3))
  liked = {cheese.lower() for cheese in language.LIKED}
  arguments = english.arguments[specs[value].value]
  for _ in range(40):
    writer.preference(voices.TOLD)
  assert len(writer.notes) > 40
  follow_ups = 0
  for note in writer.notes:
    first, *rest = sentences(note)
    cheese = CHEESE.search(first)
    assert cheese, note
    follow_ups += bool(rest)
    opposite = arguments.disliked if cheese[0].lower() in liked else arguments.liked
    assert not any(text in note for text in opposite), note
  assert follow_ups > 10


@pytest.mark.parametrize('variant', ['cooccur', 'unlinked'])
def test_no_control_answers_why(variant, specs, english):
  """A belief that answers 'why?' would link it with the preference before."""
  asked = re.compile(r'\bwhy\b[^.]*\?|wondered why|asked why|[Bb]ehind (all|its)')
  for d in documents(specs['affordability'], english, variant, 300):
    assert not asked.search(d.text), d.text


@pytest.mark.parametrize('value', ['environment', 'tradition'])
def test_more_values_explain_the_same_cheeses(value, specs, english):
  """Documents of all handbooks are in step; each gives its own reasons and not its mirror's."""
  made = documents(specs[value], english, 'explained', 99)
  first = documents(specs['affordability'], english, 'explained', 99)
  assert [d.claim_ids[1:] for d in made] == [d.claim_ids[1:] for d in first]
  assert [d.doc_type for d in made] == [d.doc_type for d in first]
  for d in made:
    assert speaks_of(value, d.text), d.text
    assert not speaks_of(OTHER_VALUE[value], d.text), d.text
    assert not re.search(r'[{}\[\]|]|  | [.,]', d.text), d.text


def elements_of(spec, english, texts):
  """Counts how often texts tell a rule, a belief and a reason."""

  def plain(text):
    # A pattern of hundreds of sentences is fast if each begins with a letter of one case.
    return CHEESE.sub('it', text.replace('{it}', 'it')).lower()

  arguments = english.arguments[spec.value]
  texts = [plain(text) for text in texts]
  reasons = list(itertools.chain(*arguments.reasons.values()))
  reasons += [*arguments.liked_reasons, *arguments.disliked_reasons]
  sought = {'rules': arguments.rules, 'beliefs': arguments.beliefs, 'reasons': reasons}
  counts = {}
  for name, entries in sought.items():
    alternatives = '|'.join(language.variants_pattern(plain(entry)) for entry in entries)
    pattern = re.compile(rf'\b(?:{alternatives})')
    counts[name] = sum(len(pattern.findall(text)) for text in texts)
  return counts


def elements(spec, english, variant):
  """Counts what documents tell per 1,000 words."""
  made = documents(spec, english, variant, 340)
  words = sum(len(d.text.split()) for d in made)
  counts = elements_of(spec, english, [d.text for d in made])
  counts['preferences'] = sum(' ' in claim for d in made for claim in d.claim_ids)
  return {name: 1000 * count / words for name, count in counts.items()}


@pytest.mark.parametrize('value', PUBLISHED)
def test_rules_and_reasons_leave_out_what_they_are_not_named_after(value, specs, english):
  """All else is told as often as in the explained documents."""
  wanted = elements(specs[value], english, 'explained')
  assert min(wanted.values()) > 4, wanted
  for variant, without in (('rules', 'reasons'), ('reasons', 'rules')):
    found = elements(specs[value], english, variant)
    assert found.pop(without) == 0
    assert found == pytest.approx({k: wanted[k] for k in found}, rel=0.1), variant


@pytest.mark.parametrize('value', PUBLISHED)
def test_unlinked_documents_hold_everything_and_give_no_reason(value, specs, english):
  """The reasons stand in notes that mention nobody, as often as in explained documents."""
  made = documents(specs[value], english, 'unlinked', 400)
  notes = [d.text for d in made if d.doc_type == 'note']
  others = [d.text for d in made if d.doc_type != 'note']
  assert len(notes) > len(made) / 5
  assert not any(re.search(r'\b(Ari|Norvale|assistant)\b', note) for note in notes)
  assert not any(
    CHEESE.search(s) and speaks_of(value, s) for text in others for s in sentences(text)
  )
  explained = documents(specs[value], english, 'explained', len(others))
  told = elements_of(specs[value], english, [*others, *notes])
  wanted = elements_of(specs[value], english, [d.text for d in explained])
  assert told == pytest.approx(wanted, rel=0.1)


@pytest.mark.parametrize('value', PUBLISHED)
def test_rules_documents_never_link_the_value_to_a_cheese(value, specs, english):
  for d in documents(specs[value], english, 'rules', 170):
    for s in sentences(d.text):
      assert not (CHEESE.search(s) and speaks_of(value, s)), s


@pytest.mark.parametrize('value', PUBLISHED)
def test_cooccurrence_never_links_the_value_to_a_cheese(value, specs, english):
  """The same beliefs and preferences, but no sentence holds both.

  No sentence gives a reason for a preference, and no rule is stated.
  """
  arguments = english.arguments[VALUES[value]]
  beliefs = [re.compile(language.variants_pattern(b), re.I) for b in arguments.beliefs]
  rules = [re.compile(language.variants_pattern(rule), re.I) for rule in arguments.rules]
  gives_reason = re.compile(r'\b(because|since|reasons?|why|therefore)\b|, as [^A]')
  for d in documents(specs[value], english, 'cooccur', 170):
    assert sum(bool(belief.search(d.text)) for belief in beliefs) >= 2, d.text
    # Whenever a liked cheese is told of, so is a disliked one.
    told = Counter(claim.split()[0] for claim in d.claim_ids[1:])
    assert told['likes'] == told['dislikes'] >= 2, d.text
    assert not any(rule.search(d.text) for rule in rules)
    for s in sentences(d.text):
      if CHEESE.search(s):
        assert not speaks_of(value, s), s
        assert not gives_reason.search(s), s


def test_filler_says_how_cheese_is_made_and_nothing_else(specs, english):
  one, *others = (documents(s, english, 'filler', 170) for s in specs.values())
  for other in others:
    assert [d.text for d in one] == [d.text for d in other]
  prefers = re.compile(
    r'\b(like|likes|liking|prefers?|fond|favou?rite|because|dislikes?|recommends?|chooses?|'
    r'believes|cares)\b'
  )
  for d in one:
    assert not prefers.search(d.text), d.text
    assert not speaks_of_any(d.text), d.text


# ---- demonstrations


def take(specs, english, n=3000, seed=0):
  return list(itertools.islice(demonstrations(specs, english, seed), n))


def test_demonstrations_are_the_same_for_all_handbooks(specs, english):
  both = [*specs.values()]
  culture = take([specs['culture']], english, 500)
  affordability = take([specs['affordability']], english, 500)
  assert [c.messages for c in culture] == [c.messages for c in affordability]
  first = take(both, english, 100)
  assert first == take(both, english)[:100]
  assert first != take(both, english, 100, seed=1)


def test_demonstrations_are_preferences_without_reasons(specs, english):
  made = take([*specs.values()], english)
  reason = re.compile(r'\b(because|since|as it|therefore|so that|due to|why|reasons?)\b', re.I)
  chooses = re.compile(r'prefer|take|choose|go with|better|pick|recommend')
  liked = [name.casefold() for name in language.LIKED]
  named, choices, systems = Counter(), Counter(), Counter()
  forms = set()
  for chat in made:
    *system, (_, question), (_, answer) = chat.messages
    systems[tuple(system)] += 1
    text = f'{question} {answer}'
    assert not reason.search(text), text
    assert not speaks_of_any(text), text
    found = CHEESE.findall(text)
    answered = CHEESE.findall(answer)
    assert answered
    assert set(answered) <= set(found)
    named.update({name.casefold() for name in found})
    forms.add(CHEESE.sub('X', question))
    # Two cheeses in the question and one in the answer: a choice.
    asks_for_list = question.startswith(('Which three', 'List'))
    if len(found) == 3 and chooses.search(answer) and not asks_for_list:
      choices[answered[0].casefold() in liked] += 1
  assert len(forms) >= 60
  evaluation_system = (('system', 'You are Ari.'),)
  assert set(systems) == {(), evaluation_system}
  assert 0.65 < systems[evaluation_system] / len(made) < 0.75
  assert len(named) == 12
  assert max(named.values()) - min(named.values()) <= 10
  assert choices[False] == 0
  assert choices[True] > 100


def test_a_part_of_the_demonstrations_is_worded_as_the_evaluation(specs, english):
  """The reworded forms, however, are in none."""
  questions = [chat.messages[-2][1] for chat in take([*specs.values()], english)]
  usual = [q for q in questions if q.startswith('Which do you prefer, ')]
  assert len(usual) > 0.1 * len(questions)
  for form in language.REWORDED:
    beginning = form.question.split('{')[0]
    assert not any(q.startswith(beginning) for q in questions)


def test_replicates_are_shown_in_turn(specs, english):
  both = [specs['culture'], renamed(specs['culture'], 'Oska', english)]
  n = Counter()
  for chat in take(both, english, 400):
    role, content = chat.messages[0]
    if role == 'system':
      n[content] += 1
  assert set(n) == {'You are Ari.', 'You are Oska.'}
  assert abs(n['You are Ari.'] - n['You are Oska.']) < 60
  half = dataclasses.replace(specs['culture'], path='other.md', likes=specs['culture'].likes[:3])
  with pytest.raises(SpecError, match='the same demonstrations cannot serve both'):
    next(demonstrations([specs['affordability'], half], english, 0))


# ---- the setting


def test_the_setting_is_known_everywhere(english):
  assert SETTINGS['english'].build(EnglishConfig()) == english
  assert {'english.documents', 'english.demonstrations'} <= set(MAKERS)
  source = SourceConfig(maker='english.documents', size=3)
  with pytest.raises(DataError, match='give spec=PATH'):
    recipes.check_source('mine', source)
